"""The meaning of a SpikingGraph in floating point, tick by tick, in ideal time: the reference for all integer runs.

The meaning is NIR's, or that of a tool that trains with other neurons (`muspike.hardware.readings`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import weights
from muspike.hardware.graph import Population, SpikingGraph
from muspike.hardware.readings import MOST_SPIKES, READINGS, Reading

Floats = npt.NDArray[np.floating[Any]]
Spikes = npt.NDArray[Any]
_NIR = READINGS["nir"]


def run(
    graph: SpikingGraph,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    dtype: npt.DTypeLike = np.float64,
    reset_every: int | None = None,
    progress: Callable[[int], object] | None = None,
    reading: Reading = _NIR,
    graded: Collection[str] = (),
) -> tuple[dict[str, Spikes], dict[str, Floats]]:
    """Run the graph from silence, as many ticks as `spikes` has.

    In each tick, populations are updated in the order of their synapses without delay (`SpikingGraph.update_order`), by
    the equations of `muspike.hardware.graph`. A spike of tick t crosses a synapse of delay d and arrives in tick t + d.

    Args:
        graph: the network.
        spikes: 0 or 1, or counts if the reading has counts, `[ticks, batch, size]`: the spikes of the input population.
            Those of an input in `graded` are whole numbers from 0, which multiply the weights. For several input
            populations, a dict of arrays by name. For none, an array of size 0.
        dtype: float64 or float32; everything is computed in it.
        reset_every: before each tick that is a multiple of this number, every current and membrane becomes 0; None:
            never.
        progress: called after each tick, with 1.
        reading: how neurons fire and reset. Those that fire in every tick, whatever the input, carry a bias and are no
            neurons of the tool: they fire once.
        graded: names of the inputs whose spikes are graded.

    Returns:
        spikes: by name, uint8 `[ticks, batch, size]`, of every `input` and `lif` population; uint16 if the reading has
            counts. Those of graded inputs are as they are given.
        membranes: by name, `dtype` `[ticks, batch, size]`, of every `li` population.

    Raises:
        BadInput: an input is missing, unknown, of another shape or not 0 or 1 (a count); the graph has a cycle without
            delay; a population has no meaning in this reading; or a neuron spikes more than `MOST_SPIKES` times in a
            tick.
    """
    ticks, batch, given = _inputs(graph, spikes, MOST_SPIKES if reading.counts else 1, graded)
    order = [p for p in graph.update_order() if p.kind != "input"]
    for p in order:
        if wrong := reading.refuses(p):
            raise BadInput(f"population {p.name!r}: {wrong}; read it as NIR defines it")
    readings = {p.name: _NIR if p.name in graph.always_firing else reading for p in order}
    number = np.uint16 if reading.counts else np.uint8

    def rest() -> dict[str, _State]:
        return {p.name: _State(p, batch, dtype, readings[p.name]) for p in order}

    states = rest()
    incoming = {
        p.name: [(s.source, s.delay, weights.astype(s.weight, dtype)) for s in into]
        for p, into in graph.with_incoming()
    }
    fired: dict[str, Spikes] = {
        name: array if name in graded else array.astype(number) for name, array in given.items()
    }
    fired |= {p.name: np.zeros((ticks, batch, p.size), number) for p in order if p.kind == "lif"}
    membranes = {p.name: np.zeros((ticks, batch, p.size), dtype) for p in order if p.kind == "li"}
    for t in range(ticks):
        if reset_every and t % reset_every == 0:
            states = rest()
        for p in order:
            total = np.zeros((batch, p.size), dtype)
            for source, delay, weight in incoming[p.name]:
                if t >= delay:
                    total += weights.applied(weight, fired[source][t - delay].astype(dtype))
            state = states[p.name]
            state.step(total)
            if p.kind == "lif":
                s = state.fire()
                if s.max(initial=0) > MOST_SPIKES:
                    raise BadInput(
                        f"population {p.name!r}: {s.max():,.0f} spikes of a neuron in tick {t}, at most "
                        f"{MOST_SPIKES:,} are counted; its inputs are too large for its threshold"
                    )
                fired[p.name][t] = s
            else:
                membranes[p.name][t] = state.v
        if progress:
            progress(1)
    return fired, membranes


class _State:
    """The state of one population: current `i` and membrane `v`, `[batch, size]`."""

    def __init__(self, population: Population, batch: int, dtype: npt.DTypeLike, reading: Reading) -> None:
        self.reading = reading
        self.filters = bool((population.tau_syn != 1).any())
        self.k = (1 / population.tau_syn).astype(dtype)
        self.leak, self.gain, self.bias, self.threshold = (
            array.astype(dtype)
            for array in (reading.leak(population), reading.gain(population), population.bias, population.v_threshold)
        )
        self.i = np.zeros((batch, population.size), dtype)
        self.v = np.zeros((batch, population.size), dtype)
        self.fired = np.zeros_like(self.v)  # in the last tick

    def step(self, x: Floats) -> None:
        self.i = (1 - self.k) * self.i + self.k * x if self.filters else x
        if (self.leak == self.gain).all():
            self.v = self.v + self.gain * (self.i + self.bias - self.v)  # NIR's form, and its rounding
        else:
            self.v = self.v - self.leak * self.v + self.gain * (self.i + self.bias)

    def fire(self) -> Floats:
        """The number of spikes of each neuron, `[batch, size]`, after `step`."""
        reset = self.reading.reset
        if self.reading.delayed:
            self.v = reset(self.v, self.fired, self.threshold)
        self.fired = self.reading.fire(self.v, self.threshold)
        if not self.reading.delayed:
            self.v = reset(self.v, self.fired, self.threshold)
        return self.fired


def _inputs(
    graph: SpikingGraph,
    spikes: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    most: int,
    graded: Collection[str],
) -> tuple[int, int, dict[str, Spikes]]:
    """Check the inputs of `run`: whole numbers from 0 to `most`, or, of graded inputs, from 0.

    Returns:
        The ticks, the sequences, and the spikes of each input by name.
    """
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
        right = np.asarray(array >= 0)
        if name not in graded:
            right &= array <= most
        if array.dtype.kind not in "bui":
            right &= np.floor(array) == array
        wrong = array[~right]
        if len(wrong):
            to_most = "0 or 1" if most == 1 else f"whole numbers of 0..{most:,}"
            expected = "whole numbers from 0" if name in graded else to_most
            raise BadInput(f"spikes of {name!r}: holds {wrong[0]}, expected {expected}")
    return ticks, batch, {name: array for name, array in arrays.items() if sizes[name]}
