"""Small NIR graphs by hand, with a tick of 1 ms."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import nir
import numpy as np

DT = 1e-3


def lif(
    n: int | tuple[int, ...],
    tau: float = 2.0,
    v_threshold: float = 0.5,
    r: float = 1.0,
    v_leak: float = 0.0,
    v_reset: float = 0.0,
) -> nir.LIF:
    """`n` neurons, or neurons of that shape, that are alike; `tau` in ticks."""
    values = {"tau": tau * DT, "r": r, "v_leak": v_leak, "v_threshold": v_threshold, "v_reset": v_reset}
    return nir.LIF(**{name: np.full(n, float(value)) for name, value in values.items()})


def li(n: int, tau: float = 4.0) -> nir.LI:
    """`n` integrators that are alike; `tau` in ticks."""
    return nir.LI(tau=np.full(n, tau * DT), r=np.ones(n), v_leak=np.zeros(n))


def chain(*names: str) -> list[tuple[str, str]]:
    """The edges from each to the next."""
    return list(itertools.pairwise(names))


def graph(nodes: Mapping[str, Any], edges: Iterable[tuple[str, str]], **metadata: Any) -> nir.NIRGraph:
    """Nodes and edges; `input` and `output` may be given as their number of neurons."""
    ports = {"input": nir.Input, "output": nir.Output}
    made = {
        name: ports[name](np.array([node])) if name in ports and isinstance(node, int) else node
        for name, node in nodes.items()
    }
    return nir.NIRGraph(made, list(edges), metadata={"dt": DT} | metadata, type_check=False)
