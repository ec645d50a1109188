"""How large a network is: its parameters, and the bytes that they take in floats."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple

import nir
import numpy as np
import numpy.typing as npt
from torch import nn

from muspike.export.subject import Subject
from muspike.hardware import weights as w
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.program import Program

_SINGLE = 4  # bytes of a number in single precision
_PARAMETERS = ("weight", "bias")  # fields of NIR's nodes


class Size(NamedTuple):
    """How large a network is.

    Attributes:
        parameters: the number of its parameters.
        footprint_bytes: NeuroBench's footprint (Yik et al. 2025): what parameters and buffers take; None: the network
            is known as a chip's integers alone.
        of: what these are of, in words.
    """

    parameters: int
    footprint_bytes: int | None
    of: str


def size_of_module(module: nn.Module) -> Size:
    """The size of a torch module, as NeuroBench counts it: every parameter and every buffer, in the type it has.

    A library may keep a state in a buffer. It then counts as large as it is now.
    """
    parameters = list(module.parameters())
    arrays = [*parameters, *module.buffers()]
    return Size(
        sum(p.numel() for p in parameters),
        sum(a.numel() * a.element_size() for a in arrays),
        "parameters and buffers of the torch module",
    )


def size_of(subject: Subject) -> Size:
    """The size of a network.

    - Of a model: that of its torch module.
    - Of a NIR graph: its parameters are weights and biases. With all other constants, such as those of neurons, each
      takes the 4 bytes of single precision.
    - Of a program, or a network of lava-dl: its integer weights, relays left out. Its footprint in floats is not known.
    """
    given = subject.given
    if isinstance(given, Program):
        relays = given.roles.relays
        own = [s.weight for s in given.synapses if s.target not in relays]
        return Size(sum(w.values(weight).size for weight in own), None, "integer weights of the program")
    if isinstance(given, SpikingGraph):
        return Size(sum(w.values(s.weight).size for s in given.synapses), None, "integer weights of the network")
    if isinstance(given, nir.NIRGraph):
        arrays = list(_arrays(given))
        return Size(
            sum(array.size for name, array in arrays if name in _PARAMETERS),
            _SINGLE * sum(array.size for _, array in arrays),
            "weights, biases and constants of the graph, in single precision",
        )
    return size_of_module(given.network)


def _arrays(graph: nir.NIRGraph) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The arrays of floats in the nodes of a graph, by the name of their field."""
    for node in graph.nodes.values():
        if isinstance(node, nir.NIRGraph):
            yield from _arrays(node)
            continue
        for field in dataclasses.fields(node):
            array = getattr(node, field.name)
            if isinstance(array, np.ndarray) and array.dtype.kind == "f":
                yield field.name, array
