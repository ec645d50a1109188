"""Why a reader of NIR differs: which other meaning of the graph gives exactly what the reader gave.

A cause is a change of the graph, of its tick or of how neurons reset, after which muspike's interpreter gives what the
reader gave, in every tick. Nothing is named that does not do so. `found` tries single causes, then pairs.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from muspike.errors import BadInput
from muspike.hardware import interpreter
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.readings import READINGS, Reading

Array = np.ndarray[Any, np.dtype[Any]]
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Meaning:
    """One meaning of a graph."""

    graph: nir.NIRGraph
    dt_s: float
    reading: Reading = READINGS["nir"]
    forgets: bool = False

    def run(self, inputs: Array) -> dict[str, Array]:
        """What every neuron gives, by name, and what the Output gives, as `output`; `[ticks, batch, size]`."""
        metadata = {**getattr(self.graph, "metadata", {}), "dt": self.dt_s}
        graph = nir.NIRGraph(self.graph.nodes, self.graph.edges, metadata=metadata, type_check=False)
        read = from_nir(graph)
        spikes, membranes = interpreter.run(read, inputs, reading=self.reading, reset_every=1 if self.forgets else None)
        (output,) = read.outputs
        return {**spikes, **membranes, "output": (membranes | spikes)[output]}


Change = Callable[[Meaning], Iterator[tuple[str, Meaning]]]


def _with(meaning: Meaning, name: str, node: Any) -> Meaning:
    nodes = {**meaning.graph.nodes, name: node}
    return replace(meaning, graph=nir.NIRGraph(nodes, list(meaning.graph.edges), type_check=False))


def _edges(meaning: Meaning, edges: list[tuple[str, str]], nodes: dict[str, Any] | None = None) -> Meaning:
    return replace(meaning, graph=nir.NIRGraph(nodes or dict(meaning.graph.nodes), edges, type_check=False))


def _field(meaning: Meaning, name: str, value: Callable[[Any, float], Any]) -> Meaning | None:
    """All nodes that have a field, with another value in it; None: none has it, or it is the same."""
    changed, found = meaning, False
    for key, node in meaning.graph.nodes.items():
        if hasattr(node, name):
            other = copy.copy(node)
            new = np.broadcast_to(np.asarray(value(node, meaning.dt_s), float), np.shape(getattr(node, name)))
            found |= not np.allclose(new, getattr(node, name))
            setattr(other, name, new.copy())
            changed = _with(changed, key, other)
    return changed if found else None


def _parameters(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    ignored = (
        ("r is ignored", "r", lambda node, dt: 1.0),
        ("w_in is ignored", "w_in", lambda node, dt: 1.0),
        ("v_leak is ignored", "v_leak", lambda node, dt: 0.0),
        ("the input is not scaled by dt / tau", "r", lambda node, dt: getattr(node, "tau", 0 * node.r + dt) / dt),
        (
            "a membrane at the threshold fires",
            "v_threshold",
            lambda node, dt: np.asarray(node.v_threshold) * (1 - 1e-9),
        ),
    )
    for told, name, value in ignored:
        changed = _field(meaning, name, value)
        if changed is not None:
            yield told, changed

    told = "the threshold is scaled by dt / tau of one neuron, and not of each"

    def scaled_alike(node: Any, dt: float) -> Any:
        tau = getattr(node, "tau", np.ones(1))
        return node.v_threshold * tau.max() / tau

    scaled = _field(meaning, "v_threshold", scaled_alike)
    if scaled is not None:
        yield told, scaled
    taken = _field(meaning, "tau", lambda node, dt: (1 + node.r) * dt)
    if taken is not None:
        plain = _field(taken, "r", lambda node, dt: 1.0)
        yield "dt is taken as tau / (1 + r)", plain or taken


def _ticks(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    for dt_s in (1e-4, 1e-3, 1.0):
        if not np.isclose(dt_s, meaning.dt_s):
            yield f"dt is {dt_s:g} s", replace(meaning, dt_s=dt_s)


def _resets(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    subtracts = READINGS["snntorch-subtract"]
    yield "a spike subtracts the threshold", replace(meaning, reading=replace(subtracts, delayed=False))
    yield "a spike subtracts the threshold, a tick later", replace(meaning, reading=subtracts)
    sinabs = replace(READINGS["sinabs"], refuses=lambda p: None, leak=lambda p: -np.expm1(-1 / p.tau))
    told = "exp(-1 / tau) of a membrane stays, a spike subtracts the threshold, a neuron fires several times in a tick"
    yield told, replace(meaning, reading=replace(sinabs, gain=lambda p: p.gain))
    told += ", the input is not scaled"
    yield told, replace(meaning, reading=replace(sinabs, gain=lambda p: np.ones(p.size)))
    leaks = replace(subtracts, delayed=False, leak=lambda p: np.where(np.isinf(p.tau), 0.1, 1 / p.tau))
    yield (
        "a tick leaves 0.9 of a membrane without a leak, a spike subtracts the threshold",
        replace(meaning, reading=leaks),
    )
    floor = replace(sinabs, reset=lambda v, spikes, threshold: np.maximum(v - spikes * threshold, -threshold))
    told = "a spike subtracts the threshold, a neuron fires several times in a tick, no membrane is below -v_threshold"
    yield told, replace(meaning, reading=floor)
    yield "the state is lost after every tick", replace(meaning, forgets=True)


def _cycles(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    edges = list(meaning.graph.edges)
    after = {a: [y for x, y in edges if x == a] for a, _ in edges}

    def reaches(a: str, b: str) -> bool:
        seen, waiting = set(), [a]
        while waiting:
            for name in after.get(waiting.pop(), ()):
                if name == b:
                    return True
                if name not in seen:
                    seen.add(name)
                    waiting.append(name)
        return False

    for a, b in edges:
        if reaches(b, a):
            yield f"the edge from {a} to {b} has no effect", _edges(meaning, [e for e in edges if e != (a, b)])
    for a, b in edges:
        if (b, a) in edges:  # what snnTorch makes of a neuron and the weights of its cycle
            entering = [(x, y) for x, y in edges if y == a and x != b]
            moved = [(x, b if (x, y) in entering else y) for x, y in edges]
            yield f"what enters {a} goes through {b}", _edges(meaning, moved)


def _joins(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    edges = list(meaning.graph.edges)
    for a, b in edges:
        if sum(y == b for _, y in edges) > 1 and a in meaning.graph.nodes:
            node = meaning.graph.nodes[a]
            sizes = list((getattr(node, "output_type", None) or {}).values())
            if not sizes or sizes[0] is None:
                continue
            delay = nir.Delay(np.full(tuple(np.ravel(sizes[0]).astype(int)), meaning.dt_s))
            nodes = {**meaning.graph.nodes, "late": delay}
            moved = [e for e in edges if e != (a, b)] + [(a, "late"), ("late", b)]
            yield f"what {a} gives to {b} comes a tick late", _edges(meaning, moved, nodes)


def _left_out(meaning: Meaning) -> Iterator[tuple[str, Meaning]]:
    for name, node in meaning.graph.nodes.items():
        if isinstance(node, nir.Input | nir.Output):
            continue
        edges = list(meaning.graph.edges)
        before, after = [a for a, b in edges if b == name], [b for a, b in edges if a == name]
        joined = [e for e in edges if name not in e] + list(itertools.product(before, after))
        nodes = {key: value for key, value in meaning.graph.nodes.items() if key != name}
        yield f"{type(node).__name__} is left out", _edges(meaning, joined, nodes)
        if hasattr(node, "bias") and np.any(node.bias):
            other = copy.copy(node)
            other.bias = np.zeros_like(node.bias)
            yield "the bias is ignored", _with(meaning, name, other)


CHANGES: tuple[Change, ...] = (_parameters, _left_out, _ticks, _cycles, _joins, _resets)


def same(found: dict[str, Array], wanted: dict[str, Array]) -> bool:
    """Whether a reader gave what is wanted, wherever both can be compared."""
    return first_difference(found, wanted) is None


def first_difference(found: dict[str, Array], wanted: dict[str, Array]) -> tuple[str, int, int] | None:
    """The first node, tick and neuron that differ; None: none does."""
    first: tuple[str, int, int] | None = None
    for name, array in found.items():
        if name not in wanted:
            continue
        if array.shape != wanted[name].shape:
            return name, 0, 0
        wrong = np.argwhere(~np.isclose(array, wanted[name], rtol=TOLERANCE, atol=TOLERANCE))
        if len(wrong) and (first is None or wrong[0][0] < first[1]):
            first = name, int(wrong[0][0]), int(wrong[0][2])
    return first


def cause(meaning: Meaning, inputs: Array, found: dict[str, Array], two: bool = True) -> str | None:
    """What makes the graph mean what the reader gave; None: no cause known here does, nor, with `two`, any
    two of them."""
    wanted = meaning.run(inputs)
    neurons = {name: array for name, array in found.items() if name in wanted and name != "output"}
    if neurons and same(neurons, wanted):
        return "the neurons are equal, but what the graph gives is not what its Output reads"
    found = neurons or found
    singles = [pair for change in CHANGES for pair in change(meaning)]
    if told := _first_that_fits(singles, inputs, found):
        return told
    if not two:
        return None
    pairs = [
        (f"{told}; {also}", both)
        for told, once in singles
        for change in CHANGES
        for also, both in change(once)
        if also != told
    ]
    if told := _first_that_fits(pairs, inputs, found):
        return told
    if "output" in found and wanted["output"].shape == found["output"].shape:
        added = found["output"] - wanted["output"]
        if np.allclose(added, added[:1, :1], atol=TOLERANCE):
            return f"a constant is added that the file does not hold: {added[0, 0, 0]:.3f} to neuron 0"
    return None


def _first_that_fits(meanings: list[tuple[str, Meaning]], inputs: Array, found: dict[str, Array]) -> str | None:
    for told, meaning in meanings:
        try:
            made = meaning.run(inputs)
        except BadInput:  # the changed graph has no meaning
            continue
        if found.keys() <= made.keys() and same(found, made):
            return told
    return None
