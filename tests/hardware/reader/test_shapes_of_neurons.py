"""Parameters of neurons in every shape that a tool may write: one element beside arrays, and too few dimensions."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

from muspike.errors import BadInput
from muspike.hardware import compile_graph
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from small_nir import chain, graph

NEURONS = (nir.I, nir.IF, nir.LI, nir.LIF, nir.CubaLI, nir.CubaLIF, nir.Threshold)
VALUES = {"v_leak": 0.0, "v_reset": 0.0, "tau": 0.004, "tau_mem": 0.004, "tau_syn": 0.004}


def neuron(kind: type[nir.NIRNode], *shape: int) -> nir.NIRNode:
    return kind(**{name: np.full(shape, VALUES.get(name, 1.0)) for name in fields(kind)})


def fields(kind: type[nir.NIRNode]) -> list[str]:
    return [f.name for f in dataclasses.fields(kind) if f.name not in ("input_type", "output_type", "metadata")]


@pytest.mark.parametrize("shape", [(), (1,), (1, 1)])
@pytest.mark.parametrize(("kind", "field"), [(kind, field) for kind in NEURONS for field in fields(kind)])
def test_one_element_beside_arrays_stands_for_all(
    kind: type[nir.NIRNode], field: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    nodes: dict[str, Any] = {"in": nir.Input(np.array([3])), "w": nir.Linear(np.ones((6, 3)))}
    nodes |= {"n": neuron(kind, 6), "o": nir.Output(np.array([6]))}
    path = tmp_path / "n.nir"
    nir.write(path, graph(nodes, chain(*nodes), dt=1e-3))
    whole = compile_graph(read_nir(path), "loihi1").program
    with h5py.File(path, "a") as file:
        group = file["node/nodes/n"]
        value = group[field][0]
        del group[field]
        group[field] = np.full(shape, value)
    assert compile_graph(read_nir(path), "loihi1").program.digest == whole.digest


@pytest.mark.parametrize("kind", [kind for kind in NEURONS if kind not in (nir.I, nir.LI, nir.CubaLI)])
@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4,), "node 'n': takes 4 values, but 'c' gives 144"),
        ((4, 3), "node 'n': takes 12 values, but 'c' gives 144"),
        ((144,), "node 'c2': takes [4, y, x], but 'n' gives [144]"),
        ((9, 4, 4), "node 'c2': takes [4, y, x], but 'n' gives [9, 4, 4]"),
    ],
)
def test_neurons_of_another_shape_are_named(kind: type[nir.NIRNode], shape: tuple[int, ...], message: str) -> None:
    def conv(to: int, of: int) -> nir.Conv2d:
        return nir.Conv2d(None, np.ones((to, of, 1, 1)), 1, 0, 1, 1, np.zeros(to))

    nodes: dict[str, Any] = {"in": nir.Input(np.array([1, 6, 6])), "c": conv(4, 1), "n": neuron(kind, *shape)}
    nodes |= {"c2": conv(2, 4), "n2": neuron(kind, 2, 6, 6), "o": nir.Output(np.array([2, 6, 6]))}
    with pytest.raises(BadInput) as error:
        from_nir(nir.NIRGraph(nodes, chain(*nodes), metadata={"dt": 1e-3}, type_check=False))
    assert str(error.value) == message
