"""Graphs that something has been done to: each is read and compiled, or refused with BadInput, and nothing else."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware.mapping.compile import compile_graph
from random_nir import random_graph

FIELDS = (
    "weight", "bias", "tau", "tau_mem", "tau_syn", "r", "v_leak", "v_threshold", "v_reset", "w_in", "threshold",
    "scale", "delay", "stride", "padding", "dilation", "groups", "kernel_size", "start_dim", "end_dim", "input_shape",
    "input_type", "output_type",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    np.nan, -np.inf, 0, -1, 1e300, 1e-300, 2**62, 2.5, "same", "nonsense", b"valid", None, [], [[]], {},
    {"input": None}, {"input": [0]}, {"input": [-3, 2]}, {"input": [2**40]}, {"input": "x"}, np.zeros(0),
    np.ones((1, 1)), np.ones(7), np.ones((2, 3, 4, 5, 6)), np.array(3), np.array(["a"]), np.array([1 + 2j]),
    np.array([None]), True, object(),
)  # fmt: skip


def numbers(node: Any, rng: np.random.Generator) -> None:
    """A field of the node with one number changed, or another type or shape."""
    arrays = ((name, getattr(node, name, None)) for name in FIELDS)
    names = [
        name for name, array in arrays if isinstance(array, np.ndarray) and array.size and array.dtype.kind in "fiuc"
    ]
    if not names:
        return
    name = names[rng.integers(len(names))]
    array = np.array(getattr(node, name)).real.astype(float)
    kind = rng.integers(4)
    if kind == 0:
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, -np.inf, 0, -1, 1e200, -1e30, 1e-200])
    elif kind == 1:
        array = array[..., :-1] if array.ndim else array
    elif kind == 2:
        array = array[None]
    else:
        array = array * rng.choice([-1, 0, 1e-9, 1e9, 1e40])
    setattr(node, name, array)


def field(node: Any, rng: np.random.Generator) -> None:
    names = [name for name in FIELDS if hasattr(node, name)]
    if names:
        setattr(node, names[rng.integers(len(names))], VALUES[rng.integers(len(VALUES))])


def edges(graph: nir.NIRGraph, rng: np.random.Generator) -> None:
    names = [*graph.nodes, "ghost"]
    kind = rng.integers(3)
    if kind == 0 and graph.edges:
        graph.edges = [e for i, e in enumerate(graph.edges) if i != rng.integers(len(graph.edges))]
    elif kind == 1:
        graph.edges = [*graph.edges, (names[rng.integers(len(names))], names[rng.integers(len(names))])]
    else:
        del graph.nodes[names[rng.integers(len(graph.nodes))]]


def swap(graph: nir.NIRGraph, rng: np.random.Generator) -> None:
    """Two nodes change places."""
    names = list(graph.nodes)
    a, b = names[rng.integers(len(names))], names[rng.integers(len(names))]
    graph.nodes[a], graph.nodes[b] = graph.nodes[b], graph.nodes[a]


def broken(seed: int) -> nir.NIRGraph:
    rng = np.random.default_rng(seed)
    graph = random_graph(int(rng.integers(200)))
    for _ in range(rng.integers(1, 4)):
        if not graph.nodes:
            break
        inner = [n for n in graph.nodes.values() if isinstance(n, nir.NIRGraph) and n.nodes]
        where = inner[0] if inner and rng.random() < 0.3 else graph
        node = list(where.nodes.values())[rng.integers(len(where.nodes))]
        what = rng.integers(5)
        if what == 0:
            numbers(node, rng)
        elif what == 1:
            field(node, rng)
        elif what == 2:
            edges(where, rng)
        elif what == 3:
            swap(where, rng)
        else:
            graph.metadata = [{}, {"dt": -1}, {"dt": "x"}, {"dt": np.nan}, {"dt": 1e-9}, {"dt": [1]}, {"dt": 1e9}][
                rng.integers(7)
            ]
    return graph


def check(seed: int) -> bool:
    with np.errstate(all="raise", under="ignore"):
        try:
            compile_graph(broken(seed), "loihi1", must_fit=False)
        except BadInput as error:
            assert str(error) and "\n" not in str(error)
            return False
    return True


def test_broken_graphs_are_read_or_refused() -> None:
    read = [check(seed) for seed in range(300)]
    assert 30 < sum(read) < 270


@pytest.mark.nightly
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32 - 1))
def test_many_broken_graphs(seed: int) -> None:
    check(seed)
