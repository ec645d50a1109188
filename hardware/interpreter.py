"""The meaning of a SpikingGraph in floating point, tick by tick, in ideal time: the reference for all integer runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights
from muspike.hardware.graph import Population, SpikingGraph

Floats = npt.NDArray[np.floating[Any]]
Spikes = npt.NDArray[np.uint8]


def run(
    graph: SpikingGraph,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    dtype: npt.DTypeLike = np.float64,
    reset_every: int | None = None,
    progress: Callable[[int], object] | None = None,
) -> tuple[dict[str, Spikes], dict[str, Floats]]:
    """Run the graph from silence, as many ticks as `spikes` has.

    In each tick, populations are updated in the order of their synapses without delay (`SpikingGraph.update_order`), by
    the equations of `muspike.hardware.graph`. A spike of tick t crosses a synapse of delay d and arrives in tick t + d.

    Args:
        graph: the network.
        spikes: 0 or 1, `[ticks, batch, size]`: the spikes of the input population. For several input populations, a
            dict of arrays by name. For none, an array of size 0.
        dtype: float64 or float32; everything is computed in it.
        reset_every: before each tick that is a multiple of this number, every current and membrane becomes 0; None:
            never.
        progress: called after each tick, with 1.

    Returns:
        spikes: by name, uint8 `[ticks, batch, size]`, of every `input` and `lif` population.
        membranes: by name, `dtype` `[ticks, batch, size]`, of every `li` population.

    Raises:
        BadInput: an input is missing, unknown, of another shape or not 0 or 1; the graph has a cycle without delay.
    """
    ticks, batch, given = _inputs(graph, spikes)
    order = [p for p in graph.update_order() if p.kind != "input"]
    states = {p.name: _State(p, batch, dtype) for p in order}
    incoming = {
        p.name: [(s.source, s.delay, weights.astype(s.weight, dtype)) for s in into]
        for p, into in graph.with_incoming()
    }
    fired = given | {p.name: np.zeros((ticks, batch, p.size), np.uint8) for p in order if p.kind == "lif"}
    membranes = {p.name: np.zeros((ticks, batch, p.size), dtype) for p in order if p.kind == "li"}
    for t in range(ticks):
        if reset_every and t % reset_every == 0:
            states = {p.name: _State(p, batch, dtype) for p in order}
        for p in order:
            total = np.zeros((batch, p.size), dtype)
            for source, delay, weight in incoming[p.name]:
                if t >= delay:
                    total += weights.applied(weight, fired[source][t - delay].astype(dtype))
            state = states[p.name]
            state.step(total)
            if p.kind == "lif":
                fired[p.name][t] = state.fire()
            else:
                membranes[p.name][t] = state.v
        if progress:
            progress(1)
    return fired, membranes


class _State:
    """The state of one population: current `i` and membrane `v`, `[batch, size]`."""

    def __init__(self, population: Population, batch: int, dtype: npt.DTypeLike) -> None:
        self.filters = bool((population.tau_syn != 1).any())
        self.k = (1 / population.tau_syn).astype(dtype)
        self.leak, self.gain, self.bias, self.threshold = (
            array.astype(dtype) for array in (population.leak, population.gain, population.bias, population.v_threshold)
        )
        self.i = np.zeros((batch, population.size), dtype)
        self.v = np.zeros((batch, population.size), dtype)

    def step(self, x: Floats) -> None:
        self.i = (1 - self.k) * self.i + self.k * x if self.filters else x
        if (self.leak == self.gain).all():
            self.v = self.v + self.gain * (self.i + self.bias - self.v)  # NIR's form, and its rounding
        else:
            self.v = self.v - self.leak * self.v + self.gain * (self.i + self.bias)

    def fire(self) -> npt.NDArray[np.bool_]:
        s = self.v > self.threshold
        self.v = np.where(s, 0, self.v).astype(self.v.dtype)
        return s


def _inputs(
    graph: SpikingGraph, spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike]
) -> tuple[int, int, dict[str, Spikes]]:
    """Check the inputs of `run`. Returns the ticks, the sequences, and the spikes of each input by name."""
    sizes = {p.name: p.size for p in graph.populations if p.kind == "input"} or {"": 0}
    if not isinstance(spikes, Mapping):
        if len(sizes) != 1:
            raise BadInput(f"spikes: the graph has the inputs {', '.join(sizes)}, expected a dict of spikes by name")
        spikes = {next(iter(sizes)): spikes}
    if spikes.keys() != sizes.keys():
        raise BadInput(f"spikes: given for {sorted(spikes)}, expected for {sorted(sizes)}")
    arrays = {name: np.asarray(value) for name, value in spikes.items()}
    ticks, batch = (*next(iter(arrays.values())).shape, 0, 0)[:2]
    for name, array in arrays.items():
        if array.ndim != 3 or array.shape != (ticks, batch, sizes[name]):
            expected = f"[ticks, batch, {sizes[name]}], ticks and batch the same for all"
            raise BadInput(f"spikes of {name!r}: shape {list(array.shape)}, expected {expected}")
        if not ((array == 0) | (array == 1)).all():
            raise BadInput(f"spikes of {name!r}: holds {array[~np.isin(array, (0, 1))].flat[0]}, expected 0 or 1")
    return ticks, batch, {name: array.astype(np.uint8) for name, array in arrays.items() if sizes[name]}
