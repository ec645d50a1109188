"""Runs a Program bit-exactly: what Loihi, and Lava's `fixed_pt` models, would spike, many sequences at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from muspike.errors import BadInput
from muspike.hardware.program import FULL_DECAY, SHIFT, STATE, ChipPopulation, Program

_STATE_MAX = np.int32(STATE["current"][1])  # u and v are 24 bits wide
_ACCUMULATOR_MAX = np.int32(2**15)  # the synaptic input of one tick is 16 bits wide
_WORD = 8  # spikes are looked for eight at a time, as one 64-bit word; populations start at whole words
_BLOCK = 252  # rows of int8 weights that an int16 sum holds, in fours
_WORTH_THREADS = 1024  # ticks x sequences from which starting threads pays


@dataclass(frozen=True, eq=False)
class Run:
    """What happened in the ticks of one call of `Simulator.run`.

    Attributes:
        spikes: uint8 `[ticks, batch, size]` of every `lif` and `input` population.
        membrane: int32 `[ticks, batch, size]`, v after the tick, of every `li`; of all with `record_membranes`.
        current: the same for u, empty without `record_membranes`.
        overflows: per population, how often (neurons x ticks x sequences) the synaptic input left the chip's 16-bit
            accumulator. The figures are the chip's only where this is 0. Here the sum wraps at 24 bits in u;
            Lava agrees up to an input of 2^18 and beyond it wraps once only.
        readout_resets: per `li`, how often a membrane crossed the threshold it was never to reach, and was reset.
    """

    spikes: Mapping[str, npt.NDArray[np.uint8]]
    membrane: Mapping[str, npt.NDArray[np.int32]]
    current: Mapping[str, npt.NDArray[np.int32]]
    overflows: Mapping[str, int]
    readout_resets: Mapping[str, int]


class Simulator:
    """The integer dynamics of a Program for `batch` independent sequences; state is kept between calls of `run`.

    In each tick, for every neuron, with dec(x, d) = sign(x) * ((|x| * (4096 - d)) >> 12):

        a = sum over synapses of (weight @ spikes[t - delay]) << weight_exp
        u = wrap24(dec(u, min(du + 1, 4096)) + (a << 6))
        v = clip(dec(v, dv) + u + bias, -(2^23) + 1, 2^23 - 1)
        s = v > (v_threshold << 6);  v = 0 where s

    Source: the model `PyLifModelBitAcc` of lava-nc 0.10.0, to which the tests hold it equal in every s, u and v.
    Only spikes cost work: a spike adds its row of weights to the inputs pending for the tick it arrives in.

    Raises:
        BadInput: the batch is not a positive integer.
    """

    def __init__(self, program: Program, batch: int = 1) -> None:
        if isinstance(batch, bool) or not isinstance(batch, int | np.integer) or batch < 1:
            raise BadInput(f"simulator: batch is {batch!r}; it is an integer of at least 1")
        self.program = program
        self.batch = int(batch)
        neurons = [*(p for p in program.populations if p.kind == "lif"), *program.readouts]
        # Columns of the spikes: inputs, lif, li. A neuron's u and v stand in its column less that of the first neuron.
        self._columns, self._width = _columns([*program.inputs, *neurons])
        self._first_neuron = self._columns[neurons[0].name].start if neurons else self._width
        self._first_readout = self._columns[program.readouts[0].name].start if program.readouts else self._width
        self._neurons = [p.name for p in neurons]
        self._parameters = _parameters(neurons, self._columns, self._first_neuron, self._width)
        self._synapses = _pack(program, self._columns, self._first_neuron)
        self._depth = program.max_delay + 1
        self.reset()

    def reset(self) -> None:
        """Back to silence: every u, v and pending input is 0."""
        n = self._width - self._first_neuron
        self._u = np.zeros((self.batch, n), np.int32)
        self._v = np.zeros((self.batch, n), np.int32)
        self._pending = np.zeros((self.batch, self._depth, n), np.int32)
        self._slot = 0  # of `pending`, that of the next tick

    def run(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike], record_membranes: bool = False) -> Run:
        """Run as many ticks as `inputs` has.

        Args:
            inputs: 0 or 1, `[ticks, batch, size]`; the input populations side by side in their order, or a dict of
                them by name.
            record_membranes: keep u and v of every population, not only v of the readouts.

        Raises:
            BadInput: a shape does not fit, a value is not 0 or 1, a population is missing or unknown.
        """
        given = self._given(inputs)
        ticks = len(next(iter(given.values())))
        # The kernel's arrays are [batch, ticks, ...], a sequence in one piece; what is given and handed out is turned.
        spikes = np.zeros((self.batch, ticks, self._width), np.uint8)
        turned = spikes.swapaxes(0, 1)
        for name, column in self._columns.items():
            if name in given:
                turned[:, :, column] = given[name]
        first = {"v": self._first_readout, "u": self._width}
        if record_membranes:
            first = dict.fromkeys("uv", self._first_neuron)
        recorded = {x: np.empty((self.batch, ticks, self._width - first[x]), np.int32) for x in "uv"}
        overflows = np.zeros((self.batch, self._width - self._first_neuron), np.int64)
        _run_all(
            self.batch,
            ticks,
            (spikes, spikes.view(np.uint64), recorded["u"], recorded["v"], overflows),
            (self._u, self._v, self._pending),
            self._slot,
            self._parameters,
            self._synapses,
        )
        self._slot = (self._slot + ticks) % self._depth

        def states(x: str) -> dict[str, npt.NDArray[np.int32]]:
            at = {name: self._columns[name] for name in self._neurons if self._columns[name].start >= first[x]}
            values = recorded[x].swapaxes(0, 1)
            return {name: values[:, :, c.start - first[x] : c.stop - first[x]] for name, c in at.items()}

        start = self._first_neuron
        at = {name: self._columns[name] for name in self._neurons}
        return Run(
            spikes={p.name: turned[:, :, self._columns[p.name]] for p in self.program.populations if p.kind != "li"},
            membrane=states("v"),
            current=states("u"),
            overflows={name: int(overflows[:, c.start - start : c.stop - start].sum()) for name, c in at.items()},
            readout_resets={p.name: int(spikes[:, :, at[p.name]].sum()) for p in self.program.readouts},
        )

    def _given(self, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> dict[str, npt.NDArray[np.uint8]]:
        sizes = {p.name: p.size for p in self.program.inputs}
        if not isinstance(inputs, Mapping):
            joined = _binary("inputs", np.asarray(inputs), self.batch, sum(sizes.values()))
            if not sizes:
                return {"": joined}
            parts = np.split(joined, np.cumsum(list(sizes.values()))[:-1], axis=2)
            return dict(zip(sizes, parts, strict=True))
        if set(inputs) != set(sizes) or not inputs:
            raise BadInput(f"inputs: given for {sorted(inputs)}; the input populations are {sorted(sizes)}")
        given = {n: _binary(f"inputs of {n!r}", np.asarray(inputs[n]), self.batch, size) for n, size in sizes.items()}
        if len({len(array) for array in given.values()}) > 1:
            lengths = ", ".join(f"{name!r} {len(array)}" for name, array in given.items())
            raise BadInput(f"inputs: they must last equally many ticks, and last {lengths}")
        return given


def _columns(populations: Sequence[ChipPopulation]) -> tuple[dict[str, slice], int]:
    columns: dict[str, slice] = {}
    end = 0
    for p in populations:
        columns[p.name] = slice(end, end + p.size)
        end += -(-p.size // _WORD) * _WORD
    return columns, end


def _binary(where: str, array: npt.NDArray[Any], batch: int, size: int) -> npt.NDArray[np.uint8]:
    if array.ndim != 3 or array.shape[1:] != (batch, size):
        raise BadInput(f"{where}: shape {list(array.shape)}, not [ticks, batch, size] = [ticks, {batch}, {size}]")
    if array.dtype.kind not in "biu":
        raise BadInput(f"{where}: dtype {array.dtype}; spikes are the integers 0 and 1")
    if array.size and (array.max() > 1 or array.min() < 0):
        bad = array[(array != 0) & (array != 1)][0]
        raise BadInput(f"{where}: holds {bad}; spikes are 0 or 1")
    return array.astype(np.uint8, copy=False)


def _parameters(
    neurons: Sequence[ChipPopulation], columns: Mapping[str, slice], first: int, width: int
) -> tuple[npt.NDArray[np.int32], ...]:
    """Per neuron: what is kept of u and of v in 1/4096, the bias, the threshold in membrane units."""
    keep_u, keep_v, bias, threshold = np.zeros((4, width - first), np.int32)
    for p in neurons:
        at = slice(columns[p.name].start - first, columns[p.name].stop - first)
        keep_u[at] = FULL_DECAY - np.minimum(p.du + 1, FULL_DECAY)
        keep_v[at] = FULL_DECAY - p.dv
        bias[at] = p.bias
        threshold[at] = p.v_threshold << SHIFT
    return keep_u, keep_v, bias, threshold


def _pack(program: Program, columns: Mapping[str, slice], first_neuron: int) -> tuple[npt.NDArray[Any], ...]:
    """The synapses as the kernel walks them: source population by source population.

    Returns:
        sources: int64 `[sources, 4]`: first word of the spikes, end of the words, first group, end of the groups.
        groups: int64 `[groups, 6]`: offset into `weights`, offset into `spans`, first target neuron, target neurons,
            delay, factor; one per ChipSynapses.
        spans: int64 `[rows, 2]`: in each row of weights, the first that is not zero and the end of those.
        weights: int8, half of every weight, a row `[target]` per source neuron.
    """
    sources: list[tuple[int, ...]] = []
    groups: list[tuple[int, ...]] = []
    spans: list[npt.NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    weights: list[npt.NDArray[np.int8]] = [np.zeros(0, np.int8)]
    n_weights = n_rows = 0
    for p in program.populations:
        outgoing = [s for s in program.synapses if s.source == p.name]
        column = columns[p.name]
        if outgoing:
            words = column.start // _WORD, -(-column.stop // _WORD)
            sources.append((*words, len(groups), len(groups) + len(outgoing)))
        for s in outgoing:
            rows = np.ascontiguousarray(s.weight.T)
            used = rows != 0
            empty = ~used.any(axis=1)
            start = np.where(empty, rows.shape[1], used.argmax(axis=1))
            stop = np.where(empty, 0, rows.shape[1] - used[:, ::-1].argmax(axis=1))
            target = columns[s.target].start - first_neuron
            groups.append((n_weights, n_rows, target, rows.shape[1], s.delay, 2 << s.weight_exp))
            spans.append(np.stack([start, stop], axis=1))
            weights.append((rows >> 1).astype(np.int8).ravel())
            n_weights += rows.size
            n_rows += len(rows)
    return (
        np.array(sources, np.int64).reshape(-1, 4),
        np.array(groups, np.int64).reshape(-1, 6),
        np.concatenate(spans).astype(np.int64),
        np.concatenate(weights),
    )


@njit(cache=True, nogil=True, inline="always")
def _decay(x, keep):  # type: ignore[no-untyped-def]
    # sign(x) * ((|x| * keep) >> 12) within 32 bits: |x| = 4096 high + low, and only low * keep is rounded.
    magnitude = np.int32(abs(x))
    high = np.int32(magnitude >> np.int32(12))
    low = np.int32(magnitude & np.int32(4095))
    kept = np.int32(np.int32(high * keep) + np.int32(np.int32(low * keep) >> np.int32(12)))
    return kept if x >= 0 else np.int32(-kept)


@njit(cache=True, nogil=True)
def _update(a_in, u, v, keep_u, keep_v, bias, threshold, spikes):  # type: ignore[no-untyped-def]
    """One tick of all neurons; gives the largest input, as the larger of a and ~a: at most 2^15 - 1 fits 16 bits."""
    peak = np.int32(0)
    for j in range(len(u)):
        a = a_in[j]
        peak = max(peak, np.int32(a if a >= 0 else ~a))
        x = np.int32(_decay(u[j], keep_u[j]) + np.int32(a << np.int32(SHIFT)))
        x = np.int32(np.int32(x << np.int32(8)) >> np.int32(8))
        x = np.int32(_STATE_MAX if x == -_STATE_MAX else x)
        y = np.int32(_decay(v[j], keep_v[j]) + x + bias[j])
        y = np.int32(min(max(y, np.int32(1 - _STATE_MAX)), np.int32(_STATE_MAX - 1)))
        fired = y > threshold[j]
        u[j] = x
        v[j] = np.int32(0) if fired else y
        spikes[j] = fired
    return peak


@njit(cache=True, nogil=True)
def _find(words, spikes, found):  # type: ignore[no-untyped-def]
    """Write the indices of the spikes to `found`; gives how many."""
    count = 0
    for word in range(len(words)):
        if words[word] != 0:
            for j in range(_WORD * word, _WORD * (word + 1)):
                found[count] = j  # kept if j spiked: a branch here would be mispredicted at every spike
                count += spikes[j]
    return count


@njit(cache=True, nogil=True)
def _deliver(found, weights, spans, factor, sums, arriving):  # type: ignore[no-untyped-def]
    """Add the rows of the neurons `found`, times `factor`, to `arriving`; `sums` is int16 scratch, all 0."""
    # Unsigned indices: numba then leaves out its test for negative ones, and the loops over x become vector code.
    n = np.uint64(len(arriving))
    for block in range(0, len(found), _BLOCK):
        rows = found[block : block + _BLOCK]
        low, high = n, np.uint64(0)
        fours = len(rows) // 4 * 4
        for r in range(0, fours, 4):
            i, j, k, m = np.uint64(rows[r]), np.uint64(rows[r + 1]), np.uint64(rows[r + 2]), np.uint64(rows[r + 3])
            start = np.uint64(min(min(spans[i, 0], spans[j, 0]), min(spans[k, 0], spans[m, 0])))
            stop = np.uint64(max(max(spans[i, 1], spans[j, 1]), max(spans[k, 1], spans[m, 1])))
            low, high = min(low, start), max(high, stop)
            i, j, k, m = i * n, j * n, k * n, m * n
            for x in range(start, stop):
                sums[x] += weights[i + x] + weights[j + x] + weights[k + x] + weights[m + x]
        for r in range(fours, len(rows)):
            i = np.uint64(rows[r])
            start, stop = np.uint64(spans[i, 0]), np.uint64(spans[i, 1])
            low, high = min(low, start), max(high, stop)
            i = i * n
            for x in range(start, stop):
                sums[x] += weights[i + x]
        for x in range(low, high):
            arriving[x] += np.int32(sums[x]) * factor
            sums[x] = 0


@njit(cache=True, nogil=True)
def _run_sequence(  # type: ignore[no-untyped-def]
    spikes,  # uint8 [ticks, width]: the inputs are given, the neurons written
    words,  # the same memory as uint64
    current,
    membrane,
    overflows,
    u,
    v,
    pending,  # int32 [depth, neurons]: what arrives in this tick, and in the next ones
    slot,
    parameters,
    synapses,
):
    keep_u, keep_v, bias, threshold = parameters
    sources, groups, spans, weights = synapses
    depth, n = pending.shape
    first = spikes.shape[1] - n
    found = np.empty(spikes.shape[1], np.int64)
    sums = np.zeros(n, np.int16)
    for t in range(len(spikes)):
        a_in = pending[slot]
        peak = _update(a_in, u, v, keep_u, keep_v, bias, threshold, spikes[t, first:])
        if peak >= _ACCUMULATOR_MAX:
            for j in range(n):
                overflows[j] += a_in[j] >= _ACCUMULATOR_MAX or a_in[j] < -_ACCUMULATOR_MAX
        a_in[:] = 0
        current[t] = u[n - current.shape[1] :]
        membrane[t] = v[n - membrane.shape[1] :]
        for source in range(len(sources)):
            begin, end = sources[source, 0], sources[source, 1]
            count = _find(words[t, begin:end], spikes[t, _WORD * begin : _WORD * end], found)
            if count == 0:
                continue
            for g in range(sources[source, 2], sources[source, 3]):
                first_weight, first_span = groups[g, 0], groups[g, 1]
                target, size, delay, factor = groups[g, 2], groups[g, 3], groups[g, 4], groups[g, 5]
                arrival = slot + delay
                if arrival >= depth:
                    arrival -= depth
                _deliver(
                    found[:count],
                    weights[first_weight:],
                    spans[first_span:],
                    np.int32(factor),
                    sums,
                    pending[arrival, target : target + size],
                )
        slot = slot + 1 if slot + 1 < depth else 0


@njit(cache=True, nogil=True)
def _run_sequences(begin, end, out, state, slot, parameters, synapses):  # type: ignore[no-untyped-def]
    spikes, words, current, membrane, overflows = out
    u, v, pending = state
    for b in range(begin, end):
        _run_sequence(
            spikes[b], words[b], current[b], membrane[b], overflows[b],
            u[b], v[b], pending[b], slot, parameters, synapses,
        )  # fmt: skip


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run_all(batch: int, ticks: int, *arguments: Any) -> None:
    # Threads of our own, not numba's parallel loop: at its end OpenMP's threads spin for each other, which on a machine
    # that has other work to do makes a short call 30 times slower (7 ticks of 16 sequences: 8 ms instead of 0.26 ms).
    threads = min(batch, _cores())
    if threads == 1 or batch * ticks < _WORTH_THREADS:
        _run_sequences(0, batch, *arguments)
        return
    bounds = np.linspace(0, batch, min(batch, 4 * threads) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda begin, end: _run_sequences(begin, end, *arguments), bounds[:-1], bounds[1:]))
