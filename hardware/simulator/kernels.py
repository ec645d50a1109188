"""The loops of the simulator: one sequence through its ticks, and the synapses packed in the order the loops walk them.

Synaptic work is only done for spikes. What a spike adds goes to the inputs that are pending for the tick in which the
spike arrives. A spike adds its row of dense weights, its list of sparse synapses, or its taps of a convolution.

A graded spike of an input multiplies what it adds. It is delivered once for each bit of its value that is set: a spike
of 5 as a spike times 4 and a spike times 1. So all spikes that have a bit are one delivery, and the sums are exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

from muspike.hardware.program import SHIFT, STATE
from muspike.jit import njit

Array = npt.NDArray[Any]

LINE = 64
"""Bytes in a cache line. Spikes are a byte each, and the loops look for them a line at a time.

Each population starts at a new line. A row of weights is a whole number of lines.
"""

_STATE_MAX = np.int32(STATE["current"][1])  # u and v are 24 bits wide
_ACCUMULATOR_MAX = np.int32(2**15)  # the synaptic input of one tick is 16 bits wide
_AHEAD = 4  # how many lists are fetched from memory while one is added
_BLOCK = 255  # how many int8 weights a sum of int16 holds without overflow
_trailing_zeros: Any = numbers.trailing_zeros  # its type is for calls from Python, which nobody can make
_ONE = np.uint64(1)

_GROUP = [(name, np.int64) for name in ("target", "size", "delay", "factor", "weights")]
_RANGES = ("first", "end", "dense", "dense_end", "sparse", "sparse_end", "conv", "conv_end")
SOURCE = np.dtype([(name, np.int64) for name in _RANGES])
"""A run of source neurons: the lines of their spikes (`first` to `end`), and their rows in each of the three tables."""
DENSE = np.dtype(_GROUP)
"""A group of dense synapses: a row of weights for each source, each row a whole number of lines."""
SPARSE = np.dtype([*_GROUP, ("starts", np.int64), ("targets", np.int64)])
"""A group of sparse synapses: a list for each source, as in `weights.Sparse`."""
CONV = np.dtype(
    [
        *_GROUP,
        *((name, np.int64) for name in ("reach_y", "reach_x", "in_y", "in_x", "out_y", "out_x")),
        *((name, np.int64) for name in ("taps_y", "taps_x", "g_in", "g_out")),
    ]
)
"""A convolution: a kernel `[c_in, taps_y, taps_x, g_out]`, and a table `reach` `[inputs, taps]` for each axis.

A table holds the output that a tap takes an input to, or -1 if there is none. `g_in` and `g_out` are the channels of a
group.
"""


class Synapses(NamedTuple):
    """All synapses of a program: four tables, and the arrays that the tables' offsets point into.

    A row of `dense`, `sparse` or `conv` is a group of synapses. Its `target` is the first neuron that the group
    reaches, its `size` the number of these neurons, and its `delay` is in ticks. A weight is stored as half its value;
    `factor` is what a stored weight is multiplied with.
    """

    sources: Array  # SOURCE, of sources whose spikes are 0 or 1
    graded: Array  # SOURCE, of graded inputs
    dense: Array  # DENSE
    sparse: Array  # SPARSE
    conv: Array  # CONV
    starts: Array  # int64
    targets: Array  # int32
    reach: Array  # int32
    weights: Array  # int8, of all three tables
    scratch: Array  # int64 [2]: the most values, and the most rows, that the output of a convolution has


class Neurons(NamedTuple):
    """The parameters of all neurons, int32 `[neurons]`, and the resets."""

    keep_u: Array  # what is kept of u per tick, in 1/4096
    keep_v: Array  # what is kept of v per tick, in 1/4096
    bias: Array  # what is added to v per tick
    threshold: Array  # in membrane units
    resets: Array  # int64 [populations that are reset, 4]: first neuron, end, interval, offset


def _borrowing(_context, arrays):  # type: ignore[no-untyped-def]
    """The same array, or tuples of arrays, without a reference count. The caller keeps their memory alive.

    numba counts the owners of every slice with locked instructions, some of them on counters that all threads share.
    That takes a tenth of the time of a small network.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        def bare(kind: Any, value: Any) -> Any:
            if isinstance(kind, types.BaseTuple):
                for i, each in enumerate(kind.types):
                    value = builder.insert_value(value, bare(each, builder.extract_value(value, i)), i)
                return value
            array = make_array(kind)(context, builder, value)
            array.meminfo = ir.Constant(array.meminfo.type, None)
            array.parent = ir.Constant(array.parent.type, None)
            return array._getvalue()

        return bare(signature.args[0], arguments[0])

    return arrays(arrays), generate


def _gathering(_context, spikes, first):  # type: ignore[no-untyped-def]
    """A line of spikes, from `first` on, as the bits of a 64-bit word. The first spike is the lowest bit."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        spikes = make_array(signature.args[0])(context, builder, arguments[0]).data
        line = ir.VectorType(ir.IntType(8), LINE)
        values = builder.load(_vector_at(builder, spikes, arguments[1], line), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", values, ir.Constant(line, None)), ir.IntType(64))

    return types.uint64(spikes, first), generate


def _gathering_states(_context, u, v, first):  # type: ignore[no-untyped-def]
    """Which of a line of neurons, from `first` on, have u or v other than 0, as the bits of a 64-bit word."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        line = ir.VectorType(ir.IntType(32), LINE)
        u, v = (
            builder.load(
                _vector_at(builder, make_array(kind)(context, builder, array).data, arguments[2], line), align=4
            )
            for kind, array in zip(signature.args[:2], arguments[:2], strict=True)
        )
        moved = builder.icmp_unsigned("!=", builder.or_(u, v), ir.Constant(line, None))
        return builder.bitcast(moved, ir.IntType(64))

    return types.uint64(u, v, first), generate


def _adding_rows(_context, weights, stride, rows, factor, arriving, at):  # type: ignore[no-untyped-def]
    """Add one line of the `rows` of int8 weights, times `factor`, to the line of `arriving` that starts at `at`.

    There must be at least one row. The 16-bit sums stay in registers. A loop over arrays would store them every row or
    few rows.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arrays = [make_array(signature.args[i])(context, builder, arguments[i]) for i in (0, 2, 4)]
        weights, rows, arriving = (a.data for a in arrays)
        count = builder.extract_value(arrays[1].shape, 0)
        stride, factor, at = (arguments[i] for i in (1, 3, 5))
        as8, as16, as32 = (ir.VectorType(ir.IntType(bits), LINE) for bits in (8, 16, 32))
        first = builder.gep(weights, [at])
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)

        builder.position_at_end(loop)
        r, sums = builder.phi(count.type), builder.phi(as16)
        offset = builder.mul(builder.load(builder.gep(rows, [r])), stride)
        row = builder.load(_vector_at(builder, first, offset, as8), align=1)
        next_r, next_sums = builder.add(r, count.type(1)), builder.add(sums, builder.sext(row, as16))
        for phi, start, following in ((r, count.type(0), next_r), (sums, ir.Constant(as16, None), next_sums)):
            phi.add_incoming(start, before)
            phi.add_incoming(following, loop)
        builder.cbranch(builder.icmp_unsigned("<", next_r, count), loop, after)

        builder.position_at_end(after)
        place = _vector_at(builder, arriving, at, as32)
        nothing = ir.Constant(as32, ir.Undefined)
        factors = builder.insert_element(nothing, factor, ir.IntType(32)(0))
        factors = builder.shuffle_vector(factors, nothing, ir.Constant(as32, None))
        added = builder.mul(builder.sext(next_sums, as32), factors)
        builder.store(builder.add(builder.load(place, align=4), added), place, align=4)
        return context.get_dummy_value()

    return types.void(weights, stride, rows, factor, arriving, at), generate


def _prefetching(_context, array, index):  # type: ignore[no-untyped-def]
    """Prefetch the cache line of `array[index]`, without waiting for it."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        data = make_array(signature.args[0])(context, builder, arguments[0]).data
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        call = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        place = builder.bitcast(builder.gep(data, [arguments[1]]), byte)
        function = builder.module.declare_intrinsic("llvm.prefetch", [byte], call)
        builder.call(function, [place, number(0), number(3), number(1)])  # for reading, into every cache level, as data
        return context.get_dummy_value()

    return types.void(array, index), generate


def _vector_at(builder: Any, data: Any, index: Any, kind: Any) -> Any:
    return builder.bitcast(builder.gep(data, [index]), kind.as_pointer())


borrowed: Any = intrinsic(_borrowing)
_gathered: Any = intrinsic(_gathering)
_gathered_states: Any = intrinsic(_gathering_states)
_add_rows: Any = intrinsic(_adding_rows)
_prefetch: Any = intrinsic(_prefetching)


@njit(nogil=True, inline="always")
def _decay(x, keep):  # type: ignore[no-untyped-def]
    # sign(x) * ((|x| * keep) >> 12) within 32 bits: x = 4096 high + low, and only low * keep is rounded, towards 0.
    high, low = np.int32(x >> np.int32(12)), np.int32(x & np.int32(4095))
    up = np.int32(np.int32(x >> np.int32(31)) & np.int32(4095))
    return np.int32(np.int32(high * keep) + np.int32(np.int32(np.int32(low * keep) + up) >> np.int32(12)))


@njit(nogil=True)
def _update(a_in, u, v, keep_u, keep_v, bias, threshold, spikes):  # type: ignore[no-untyped-def]
    """One tick of all neurons. Returns the largest max(a, ~a) of the inputs a: an input fits 16 bits up to 2^15 - 1."""
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


@njit(nogil=True)
def _mark_states(u, v, marks):  # type: ignore[no-untyped-def]
    """Write for each line of neurons which of them have u or v other than 0."""
    for line in range(len(marks)):
        marks[line] = _gathered_states(u, v, line * LINE)


@njit(nogil=True)
def _mark_active(u, v, spikes, before, active):  # type: ignore[no-untyped-def]
    """Write for each line of neurons which of them were active in this tick: state before or after, or a spike.

    `before` are the marks of the states before the tick, and then those after it. `spikes` are those of the lines whose
    spikes count.
    """
    for line in range(len(active)):
        after = _gathered_states(u, v, line * LINE)
        moved = before[line] | after
        if line * LINE < len(spikes):
            moved |= _gathered(spikes, line * LINE)
        active[line] = moved
        before[line] = after


@njit(nogil=True)
def _find(spikes, found):  # type: ignore[no-untyped-def]
    """Write the indices of the spikes to `found`. Returns how many there are."""
    count = np.uint64(0)
    for line in range(0, len(spikes), LINE):
        spiked = _gathered(spikes, line)
        while spiked:
            found[count] = line + np.int64(_trailing_zeros(spiked))
            count += _ONE
            spiked &= spiked - _ONE
    return np.int64(count)


@njit(nogil=True)
def _with_bit(values, bit, found, having):  # type: ignore[no-untyped-def]
    """Write those of the indices `found` whose value has the bit to `having`. Returns how many there are."""
    count = 0
    for j in found:
        if (np.int64(values[j]) >> bit) & 1:
            having[count] = j
            count += 1
    return count


@njit(nogil=True)
def _deliver_rows(found, weights, factor, arriving):  # type: ignore[no-untyped-def]
    """Add the weights of the neurons `found`, row by row, to `arriving`, which is a whole number of lines."""
    for block in range(0, len(found), _BLOCK):
        rows = found[block : block + _BLOCK]
        for x in range(0, len(arriving), LINE):
            _add_rows(weights, len(arriving), rows, factor, arriving, x)


@njit(nogil=True)
def _deliver_lists(found, starts, targets, weights, factor, arriving):  # type: ignore[no-untyped-def]
    """Add the lists of synapses of the neurons `found` to `arriving`."""
    # The lists of a large network lie in memory, not in a cache. Most of the time is spent waiting for one list after
    # the other: 1.9 ms a tick, and 0.6 ms with prefetching (2,170 spikes, each of four lists of 25).
    n = len(found)
    for r in range(-_AHEAD, n):
        if r + 2 * _AHEAD < n:
            _prefetch(starts, found[r + 2 * _AHEAD])
        if r + _AHEAD < n:
            j = found[r + _AHEAD]
            for i in range(starts[j], starts[j + 1], LINE // 4):
                _prefetch(targets, i)
            for i in range(starts[j], starts[j + 1], LINE):
                _prefetch(weights, i)
        if r >= 0:
            j = found[r]
            for i in range(np.uint64(starts[j]), np.uint64(starts[j + 1])):
                arriving[np.uint64(targets[i])] += np.int32(weights[i]) * factor


@njit(nogil=True)
def _deliver_taps(found, group, reach_y, reach_x, kernel, factor, sums, touched, arriving):  # type: ignore[no-untyped-def]
    """Add the taps of the neurons `found` to `arriving`. `sums` [y, x, channel] and `touched` [y] are scratch, all 0.

    The inner loop runs over the output channels of a tap, so the sums of all channels of a pixel lie side by side. At
    the end they are brought into the order of neurons, in the rows that were touched.
    """
    g_in, g_out, out_y, out_x = group.g_in, group.g_out, group.out_y, group.out_x
    taps_y, taps_x, in_x = group.taps_y, group.taps_x, group.in_x
    plane = group.in_y * in_x
    c_out = group.size // (out_y * out_x)
    for j in found:
        channel, place = j // plane, j % plane
        from_y, from_x = place // in_x, place % in_x
        first = np.uint64(channel // g_in * g_out)
        for a in range(taps_y):
            y = reach_y[from_y * taps_y + a]
            if y < 0:
                continue
            touched[y] = 1
            for b in range(taps_x):
                x = reach_x[from_x * taps_x + b]
                if x < 0:
                    continue
                at = np.uint64((y * out_x + x) * c_out) + first
                tap = np.uint64(((channel * taps_y + a) * taps_x + b) * g_out)
                for o in range(np.uint64(g_out)):
                    sums[at + o] += kernel[tap + o]
    n_x, n_c = np.uint64(out_x), np.uint64(c_out)
    for y in range(np.uint64(out_y)):
        if touched[y] == 0:
            continue
        touched[y] = 0
        for c in range(n_c):
            to, row = (c * np.uint64(out_y) + y) * n_x, y * n_x * n_c + c
            for x in range(n_x):
                arriving[to + x] += sums[row + x * n_c] * factor
        sums[y * n_x * n_c : (y + np.uint64(1)) * n_x * n_c] = 0


@njit(nogil=True)
def _deliver(spiked, source, synapses, pending, slot, shift, tap_sums, touched):  # type: ignore[no-untyped-def]
    """Add what the spikes of the neurons `spiked` of a run of sources bring, shifted left, to what is pending."""
    depth = len(pending)
    starts, targets, reach, weights = synapses.starts, synapses.targets, synapses.reach, synapses.weights
    for g in range(source.dense, source.dense_end):
        group = synapses.dense[g]
        arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
        _deliver_rows(spiked, weights[group.weights :], np.int32(group.factor << shift), arriving)
    for g in range(source.sparse, source.sparse_end):
        group = synapses.sparse[g]
        arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
        _deliver_lists(
            spiked, starts[group.starts :], targets[group.targets :], weights[group.weights :],
            np.int32(group.factor << shift), arriving,
        )  # fmt: skip
    for g in range(source.conv, source.conv_end):
        group = synapses.conv[g]
        arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
        _deliver_taps(
            spiked, group, reach[group.reach_y :], reach[group.reach_x :], weights[group.weights :],
            np.int32(group.factor << shift), tap_sums, touched, arriving,
        )  # fmt: skip


@njit(nogil=True)
def _deliver_graded(spikes, values, synapses, pending, slot, tap_sums, touched, found):  # type: ignore[no-untyped-def]
    """Add what the graded spikes of a tick bring: the spikes of each bit of their values together."""
    for source in synapses.graded:
        having = found[_find(spikes[source.first : source.end], found) :]
        spiked = found[: len(found) - len(having)]
        of_source = values[source.first : source.end]
        together = np.int64(0)  # the bits that any of the values has
        for j in spiked:
            together |= np.int64(of_source[j])
        bit = 0
        while together >> bit:
            count = _with_bit(of_source, bit, spiked, having)
            if count:
                _deliver(having[:count], source, synapses, pending, slot, bit, tap_sums, touched)
            bit += 1


@njit(nogil=True)
def _run_sequence(  # type: ignore[no-untyped-def]
    spikes,  # uint8 [ticks, width]: the columns of the inputs are given, those of the neurons are written
    values,  # uint16 [ticks, columns of the inputs]: the spikes of graded inputs; without such inputs no columns
    current,  # int32 [ticks, recorded neurons]: u is written for the last neurons
    membrane,  # int32 [ticks, recorded neurons]: v is written for the last neurons
    active,  # uint64 [ticks, lines of neurons]: a bit for each neuron is written; not recorded: no lines
    overflows,  # int64 [neurons]: counted up when the input leaves 16 bits
    u,  # int32 [neurons]
    v,  # int32 [neurons]
    pending,  # int32 [depth, neurons]: what arrives in this tick, and in the next ones
    tick,  # the number of the first tick
    last,  # the column after the last one whose spikes make an update active: readouts have none
    neurons,  # Neurons
    synapses,  # Synapses
    found,  # scratch, int64 [width]; if there are graded inputs, twice as long
):
    depth, n = pending.shape
    first = spikes.shape[1] - n
    tap_sums, touched = np.zeros(synapses.scratch[0], np.int32), np.zeros(synapses.scratch[1], np.uint8)
    starts, targets, reach, weights = synapses.starts, synapses.targets, synapses.reach, synapses.weights
    before = np.empty(active.shape[1], np.uint64)
    _mark_states(u, v, before)
    for t in range(len(spikes)):
        slot = (tick + t) % depth
        a_in = pending[slot]
        for begin, end, interval, offset in neurons.resets:
            if (tick + t) % interval == offset:
                u[begin:end] = 0
                v[begin:end] = 0
        peak = _update(
            a_in, u, v, neurons.keep_u, neurons.keep_v, neurons.bias, neurons.threshold, spikes[t, first:]
        )  # fmt: skip
        if peak >= _ACCUMULATOR_MAX:
            for j in range(n):
                overflows[j] += a_in[j] >= _ACCUMULATOR_MAX or a_in[j] < -_ACCUMULATOR_MAX
        a_in[:] = 0
        current[t] = u[n - current.shape[1] :]
        membrane[t] = v[n - membrane.shape[1] :]
        if len(before):
            _mark_active(u, v, spikes[t, first:last], before, active[t])
        for source in synapses.sources:
            count = _find(spikes[t, source.first : source.end], found)
            if count == 0:
                continue
            spiked = found[:count]
            # As in `_deliver`. To call it here, inlined or not, takes a tenth of the time of a small network.
            for g in range(source.dense, source.dense_end):
                group = synapses.dense[g]
                arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
                _deliver_rows(spiked, weights[group.weights :], np.int32(group.factor), arriving)
            for g in range(source.sparse, source.sparse_end):
                group = synapses.sparse[g]
                arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
                _deliver_lists(
                    spiked, starts[group.starts :], targets[group.targets :], weights[group.weights :],
                    np.int32(group.factor), arriving,
                )  # fmt: skip
            for g in range(source.conv, source.conv_end):
                group = synapses.conv[g]
                arriving = pending[(slot + group.delay) % depth, group.target : group.target + group.size]
                _deliver_taps(
                    spiked, group, reach[group.reach_y :], reach[group.reach_x :], weights[group.weights :],
                    np.int32(group.factor), tap_sums, touched, arriving,
                )  # fmt: skip
        if len(synapses.graded):
            _deliver_graded(spikes[t], values[t], synapses, pending, slot, tap_sums, touched, found)


@njit(nogil=True)
def run_sequences(begin, end, out, state, tick, last, neurons, synapses, found):  # type: ignore[no-untyped-def]
    """Run the sequences `begin` to `end - 1`, for as many ticks as the spikes in `out` have. `tick` is the first tick,
    `last` the column of the first readout.

    `out` holds spikes, the values of graded spikes, recorded u, recorded v, active neurons and overflows; `state` holds
    u, v and pending. The first axis of each of these arrays is the sequence. `found` is scratch: int64, as long as the
    spikes of a tick, and twice as long if there are graded inputs.
    """
    spikes, values, current, membrane, active, overflows = borrowed(out)
    u, v, pending = borrowed(state)
    neurons, synapses, found = borrowed(neurons), borrowed(synapses), borrowed(found)
    for b in range(begin, end):
        _run_sequence(
            spikes[b], values[b], current[b], membrane[b], active[b], overflows[b],
            u[b], v[b], pending[b], tick, last, neurons, synapses, found,
        )  # fmt: skip
