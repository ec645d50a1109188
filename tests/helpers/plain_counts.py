"""Counts as dense and sparse matrix products of recorded spikes: the plain reference for `hardware.cost`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array, hstack

from muspike.hardware.cost.activity import Counts
from muspike.hardware.graph import by_end
from muspike.hardware.program import ChipPopulation, ChipSynapses, Layout, Program
from muspike.hardware.weights import Conv, Sparse

Array = npt.NDArray[Any]

# Rows of (tick, sequence) multiplied at once. This bounds the float copy of the spikes to some 100 MB.
_ROWS_AT_ONCE = 1 << 15
# BLAS multiplies a matrix of at most so many entries. A larger matrix stays sparse.
_DENSE_ENTRIES = 1 << 20
_LAYOUTS: tuple[Layout, ...] = get_args(Layout)
# What arrives on a core: synaptic operations by layout, those of graded spikes, axon events, the graded ones of these.
_ARRIVING = (*_LAYOUTS, "graded", "spikes_in", "spikes_in_graded")
_GRADED, _SPIKES_IN, _SPIKES_IN_GRADED = (_ARRIVING.index(name) for name in _ARRIVING[-3:])


def count(program: Program, spikes: Mapping[str, Array], ticks: Any = None, **states: Any) -> Counts:
    """As `activity.count`."""
    run_ticks, batch = next(iter(spikes.values())).shape[:2]
    lengths = np.full(batch, run_ticks, np.int64) if ticks is None else np.asarray(ticks, np.int64)
    return Counter(program, batch, lengths).count(spikes, **states)


class Counter:
    """As `activity.Counter`."""

    def __init__(self, program: Program, batch: int = 1, ticks: Array | None = None) -> None:
        self._program = program
        self._lengths = np.full(batch, np.iinfo(np.int64).max) if ticks is None else ticks
        self._core_xy = np.asarray(program.core_xy, np.int32)
        cores = len(self._core_xy)
        leaving = by_end(program.synapses, "source")
        self._ways = [_ways(program, p, leaving[p.name], self._core_xy) for p in program.populations if p.kind != "li"]
        self._mapped = {p.name: _on_core(p, cores) for p in program.populations if p.kind != "input"}
        self._begun = 0
        # Events that arrive after the parts so far, by tick; then events that arrived after the end of their sequence.
        self._in_flight = np.zeros((len(_ARRIVING), program.max_delay, batch, cores), np.int64)
        self._too_late = np.zeros((len(_ARRIVING), batch, cores), np.int64)
        self._moved = {name: np.zeros((batch, on_core.shape[0]), bool) for name, on_core in self._mapped.items()}

    def count(
        self,
        spikes: Mapping[str, Array],
        *,
        currents: Mapping[str, Array] | None = None,
        membranes: Mapping[str, Array] | None = None,
    ) -> Counts:
        recorded = {p.name: np.asarray(spikes[p.name]) for p in self._program.populations if p.kind != "li"}
        run_ticks, batch = next(iter(recorded.values())).shape[:2]
        cores = len(self._core_xy)
        lengths = np.clip(self._lengths - self._begun, 0, run_ticks)
        inside = np.arange(run_ticks)[:, None] < lengths  # [ticks, batch]

        # Counted in the tick of the spike, by the core of the neuron: spikes, messages, hops x, hops y.
        sent = np.zeros((4, run_ticks, batch, cores), np.int64)
        # Counted in the tick of arrival, by the target core.
        arrived = np.zeros((len(_ARRIVING), run_ticks + self._program.max_delay, batch, cores), np.int64)
        arrived[:, : self._program.max_delay] = self._in_flight
        host_messages = np.zeros((run_ticks, batch), np.int64)
        messages_between = np.zeros((cores, cores), np.int64)
        for ways in self._ways:
            fired = (recorded[ways.source.name] != 0) & inside[:, :, None]
            for delay, kind, fan_out, first in ways.arrivals:
                synops, spikes_in = _product(fired, [fan_out, first])
                arrived[kind, delay : delay + run_ticks] += synops
                arrived[_SPIKES_IN, delay : delay + run_ticks] += spikes_in
                if kind == _GRADED:
                    arrived[_SPIKES_IN_GRADED, delay : delay + run_ticks] += spikes_in
            if ways.source.kind == "input":
                host_messages += _product(fired, ways.per_spike)[0, :, :, 0]
            else:
                on_core = _on_core(ways.source, cores, fired.sum((0, 1)))
                messages_between += (on_core.T @ ways.reached).toarray()
                sent += _product(fired, ways.per_spike)

        neuron_updates = inside[:, :, None] * sum((m.sum(0) for m in self._mapped.values()), np.zeros(cores, np.int64))
        known = currents is not None and membranes is not None
        active = neuron_updates
        if currents is not None and membranes is not None:
            active = np.zeros_like(neuron_updates)
            for name, on_core in self._mapped.items():
                population = self._program.population(name)
                u, v = currents[name], membranes[name]
                after = (u != 0) | (v != 0)
                state = np.concatenate([self._moved[name][None], after])
                self._moved[name] = state[-1].copy()
                moving = state[:-1] | state[1:]
                if population.kind == "lif":
                    moving |= recorded[name] != 0
                active += _product(moving & inside[:, :, None], [on_core])[0]

        self._begun += run_ticks
        self._in_flight = arrived[:, run_ticks:].copy()
        acted = arrived[:, :run_ticks] * inside[None, :, :, None]
        self._too_late += (arrived[:, :run_ticks] - acted).sum(1)
        pending = self._in_flight.sum(1) + self._too_late
        synops_of = acted[:_SPIKES_IN]
        return Counts(
            chip=self._program.chip,
            synops=np.sum(synops_of, axis=0),
            synops_sparse=synops_of[_LAYOUTS.index("sparse")],
            synops_conv=synops_of[_LAYOUTS.index("conv")],
            synops_graded=synops_of[_GRADED],
            neuron_updates=neuron_updates,
            active_updates=active,
            neuron_spikes=sent[0],
            spikes_in=acted[_SPIKES_IN],
            spikes_in_graded=acted[_SPIKES_IN_GRADED],
            messages_out=sent[1],
            hops_x=sent[2],
            hops_y=sent[3],
            host_messages=host_messages,
            pending_synops=pending[:_SPIKES_IN].sum(0),
            pending_spikes_in=pending[_SPIKES_IN],
            ticks=lengths,
            core_xy=self._core_xy,
            messages_between=messages_between,
            activity_known=known,
        )


@dataclass(frozen=True, eq=False)
class _Ways:
    """What a spike of each neuron of `source` causes, as matrices `[size, cores]`.

    Attributes:
        source: the population that spikes.
        arrivals: for each group of synapses: delay, index in `_ARRIVING` of its operations, synapses touched, and axon
            events.
        reached: 1 if there is a message from the neuron to the core.
        per_spike: if the source is an input: the host's messages, `[size, 1]`. Else, on the neuron's own core: spikes,
            messages, hops x and hops y.
    """

    source: ChipPopulation
    arrivals: tuple[tuple[int, int, Any, Any], ...]
    reached: Any
    per_spike: tuple[Any, ...]


def _ways(program: Program, source: ChipPopulation, leaving: Sequence[ChipSynapses], core_xy: Array) -> _Ways:
    cores = len(core_xy)
    arrivals = []
    reached = csr_array((source.size, cores), dtype=np.int64)
    for synapses in sorted(leaving, key=lambda synapses: synapses.delay):
        fan_out = _fan_out(synapses, program.population(synapses.target), cores)
        present = fan_out.sign()
        first = present - present.multiply(reached)
        reached = reached + first
        kind = _GRADED if source.graded_bits else _LAYOUTS.index(synapses.layout)
        arrivals.append((synapses.delay, kind, fan_out, first))
    messages = reached.sum(1)
    if source.kind == "input":
        return _Ways(source, tuple(arrivals), reached, (csr_array(messages[:, None]),))
    numbers = (np.ones_like(messages), messages, *_hops(source, reached, core_xy))
    return _Ways(source, tuple(arrivals), reached, tuple(_on_core(source, cores, number) for number in numbers))


def _on_core(population: ChipPopulation, cores: int, number: Array | None = None) -> Any:
    """Place a number (default: 1) for each neuron on the neuron's core: SciPy's `csr_array` `[size, cores]`.

    Neurons of the host have no core and so no entry.
    """
    core = np.asarray(population.core)
    mapped = core >= 0
    number = np.ones(population.size, np.int64) if number is None else number
    starts = np.concatenate([[0], np.cumsum(mapped)])
    return csr_array((number[mapped], core[mapped], starts), shape=(population.size, cores))


def _fan_out(synapses: ChipSynapses, target: ChipPopulation, cores: int) -> Any:
    """The number of stored synapses of each source neuron on each core: `csr_array` `[source, cores]` of int64."""
    weight = synapses.weight
    if isinstance(weight, Conv):
        return _conv_fan_out(weight, np.asarray(target.core), cores)
    on_core = _on_core(target, cores)
    if synapses.layout == "dense":
        return csr_array(np.ones((weight.shape[1], 1), np.int64)) @ csr_array(on_core.sum(0)[None])
    if not isinstance(weight, Sparse):  # float32 is exact below 2^24, and BLAS multiplies it
        stored = (weight != 0).T.astype(np.float32)
        return csr_array((stored @ on_core.toarray().astype(np.float32)).astype(np.int64))
    present = (weight.values != 0).astype(np.int64)
    return csc_array((present, weight.targets, weight.starts), shape=weight.shape).T @ on_core


def _conv_fan_out(conv: Conv, core: Array, cores: int) -> Any:
    """`_fan_out` of a convolution: the number of taps that land on each core, zero weights included.

    It is computed tap by tap, and once for all input channels of a group.
    """
    _, height, width = conv.input_shape
    pixels = np.arange(conv.groups * height * width).reshape(conv.groups, height, width)
    core = core.reshape(conv.groups, -1, *conv.output_shape[1:])  # [groups, channels of a group, y, x]
    total = csr_array((pixels.size, cores), dtype=np.int64)
    for a, b in np.ndindex(conv.kernel.shape[2:]):
        (y, from_y), (x, from_x) = conv.reached(0, a), conv.reached(1, b)
        lands = core[:, :, y, x]
        source = np.broadcast_to(pixels[:, None, from_y, from_x], lands.shape)
        taps = np.ones(lands.size, np.int64)
        total = total + csr_array((taps, (source.ravel(), lands.ravel())), shape=total.shape)
    return total[np.repeat(pixels, conv.kernel.shape[1], axis=0).ravel()]


def _hops(source: ChipPopulation, reached: Any, core_xy: Array) -> Array:
    """The number of links that a spike of each neuron crosses to all cores that it reaches, `[xy, size]`."""
    ways = reached.tocoo()
    distance = np.abs(core_xy[np.asarray(source.core)[ways.row]] - core_xy[ways.col]).astype(np.int64)
    hops = np.zeros((source.size, 2), np.int64)
    np.add.at(hops, ways.row, distance * ways.data[:, None])
    return hops.T


def _product(fired: Array, matrices: Sequence[Any]) -> Array:
    """`fired` `[ticks, batch, size]` times each sparse `[size, columns]`: int64 `[n, ticks, batch, columns]`.

    BLAS works in floats: float32 is exact while no sum reaches 2^24, float64 up to 2^53.
    """
    ticks, batch, size = fired.shape
    n, columns = len(matrices), matrices[0].shape[1]
    rows = fired.reshape(ticks * batch, size)
    out = np.empty((n, len(rows), columns), np.int64)
    parts = [slice(begin, begin + _ROWS_AT_ONCE) for begin in range(0, len(rows), _ROWS_AT_ONCE)]
    if size * n * columns > _DENSE_ENTRIES:
        for part in parts:
            spikes = csr_array(rows[part])
            for i, matrix in enumerate(matrices):
                out[i, part] = (spikes @ matrix).toarray()
    else:
        flat = hstack(matrices).toarray()
        flat = flat.astype(np.float32 if flat.sum(0).max(initial=0) < 1 << 24 else np.float64)
        for part in parts:
            out[:, part] = (rows[part].astype(flat.dtype) @ flat).reshape(-1, n, columns).transpose(1, 0, 2)
    return out.reshape(n, ticks, batch, columns)
