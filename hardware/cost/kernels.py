"""The loops that count what spikes cause and how long a chip's ticks take, a sequence and a tick at a time.

What a spike causes on the cores is a row of numbers that depends on the program alone (`plan.Plan`). Most neurons of a
population share their row. So the spikes of a tick are counted by rows first, and each row is added once. Counts are
float64: they are whole numbers far below 2^53, so they are exact, and times are made of them without converting.
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

from muspike.hardware.simulator.kernels import LINE, borrowed
from muspike.jit import njit

Array = npt.NDArray[Any]

LANES = 8
"""Cores are timed so many at a time: the columns of a mapping are a whole number of these."""
_ONE = np.uint64(1)
_trailing_zeros: Any = numbers.trailing_zeros  # its type is for calls from Python, which nobody can make

# What the times of a tick are made of, by index: of a core, its synapses, neurons and spikes; then of the chip.
SYNAPSES, NEURONS, SPIKES, MESH, BARRIER, FLOOR = range(6)
# What a case changes: nothing on the cores, all prices to one end, one price by a difference, or the active updates.
PLAIN, ALL, ONE, FEWEST = range(4)

WHERE = np.dtype([(name, np.int64) for name in ("address", "of_sequence", "of_tick", "size", "first")])
"""Where the spikes of a population lie, or its words of active neurons.

`address` is that of the first tick of the first sequence; `of_sequence` and `of_tick` are bytes from one to the next;
`size` is how many spikes or words a tick has; `first` is the place of the population's first one among all of them.
"""
GROUP = np.dtype([(name, np.int64) for name in ("delay", "classes", "rows")])
"""Numbers that spikes of one population add in one tick. `classes` is where the class of each neuron begins among all
classes, or -1 if all neurons are of one class; `rows` is where the rows of the classes begin."""
CASE = np.dtype(
    [("kind", np.int64), ("event", np.int64), ("end", np.int64)]
    + [(name, np.float64) for name in ("change", "transit", "barrier", "floor")]
)
"""A case of the prices of time: what it changes on the cores, and the times of a tick beside them, in ns."""
EVENT = np.dtype(
    [("row", np.int64), ("group", np.int64), ("least", np.int64)]
    + [(name, np.float64) for name in ("value", "low", "high")]
)
"""An event that takes time: its row of counts, whose time it takes, its row if there are as few as there can be, and
its price in ns."""
METER = np.dtype(
    [
        (name, np.int64)
        for name in ("column", "width", "side_by_side", "event", "event_end", "case", "case_end", "messages", "floored")
    ]
)
"""A price list on the cores of one mapping: its columns of the counts, its events and cases, the row of messages (-1:
none), and whether synapses and neurons work side by side, and whether there is a floor."""


class Rows(NamedTuple):
    """What the spikes of each population cause: groups of each source, rows of each group, entries of each row."""

    groups: Array  # int64 [sources + 1]: where the groups of each source begin in `group`
    group: Array  # GROUP
    classes: Array  # int32: the class of each neuron of each group that has several
    entries: Array  # int64: where the entries of each row begin; one more at the end of each group
    cell: Array  # int32 [entries]: row of counts x width + column
    number: Array  # float64 [entries]
    scratch: Array  # int64 [2]: the most classes of a group, the most neurons of a source


class Active(NamedTuple):
    """Which bits of which words are neurons of a core: the parts of column c are `starts[c]` to `starts[c + 1]`."""

    starts: Array  # int64 [columns + 1]
    word: Array  # int64 [parts]
    mask: Array  # uint64 [parts]


class Meters(NamedTuple):
    """The prices of time: three tables, of which a meter has rows that lie together."""

    meter: Array  # METER
    event: Array  # EVENT
    case: Array  # CASE


class Spent(NamedTuple):
    """The time that each sequence took, in ns: the first axis is the sequence."""

    sums: Array  # float64 [sequences, cases]
    longest: Array  # float64 [sequences, cases]: the longest tick
    waited: Array  # float64 [sequences, meters, 6]: what the ticks waited for, at the values
    slowest: Array  # float64 [sequences, columns of all meters]: how long each core was the slowest one


def _loading(kind: Any) -> Any:
    def at(_context, address):  # type: ignore[no-untyped-def]
        """What lies at an address."""

        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            bits = ir.IntType(kind.bitwidth)
            return builder.load(builder.inttoptr(arguments[0], bits.as_pointer()), align=1)

        return kind(types.int64), generate

    return at


def _gathering(_context, address):  # type: ignore[no-untyped-def]
    """The line of spikes at an address, as the bits of a 64-bit word. The first spike is the lowest bit."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        line = ir.VectorType(ir.IntType(8), LINE)
        values = builder.load(builder.inttoptr(arguments[0], line.as_pointer()), align=1)
        return builder.bitcast(builder.icmp_unsigned("!=", values, ir.Constant(line, None)), ir.IntType(64))

    return types.uint64(types.int64), generate


def _counting(_context, word):  # type: ignore[no-untyped-def]
    """The number of bits of a word that are set."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _peaking(_context, first, second, row, low, high):  # type: ignore[no-untyped-def]
    """The largest max(first + low x row, second) and the largest max(first + high x row, second), and at least 0.

    The arrays have a whole number of `LANES`. LLVM makes no vectors of a loop that looks for the largest float.
    """

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        arrays = [make_array(signature.args[i])(context, builder, arguments[i]) for i in range(3)]
        count = builder.extract_value(arrays[0].shape, 0)
        lanes, index = ir.VectorType(ir.DoubleType(), LANES), ir.IntType(32)
        zeros, nothing = ir.Constant(lanes, [0.0] * LANES), ir.Constant(lanes, ir.Undefined)

        def spread(number: Any) -> Any:
            places = ir.Constant(ir.VectorType(index, LANES), None)
            return builder.shuffle_vector(builder.insert_element(nothing, number, index(0)), nothing, places)

        def larger(a: Any, b: Any) -> Any:
            return builder.select(builder.fcmp_ordered(">", a, b), a, b)

        changes = [spread(arguments[i]) for i in (3, 4)]
        before, loop, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)

        builder.position_at_end(loop)
        at = builder.phi(count.type)
        best = [builder.phi(lanes) for _ in changes]
        a, b, x = (
            builder.load(builder.bitcast(builder.gep(array.data, [at]), lanes.as_pointer()), align=8)
            for array in arrays
        )
        found = [
            larger(larger(builder.fadd(a, builder.fmul(change, x)), b), old)
            for change, old in zip(changes, best, strict=True)
        ]
        following = builder.add(at, count.type(LANES))
        for phi, start, new in ((at, count.type(0), following), *zip(best, (zeros, zeros), found, strict=True)):
            phi.add_incoming(start, before)
            phi.add_incoming(new, loop)
        builder.cbranch(builder.icmp_unsigned("<", following, count), loop, after)

        builder.position_at_end(after)
        whole = []
        for each in found:
            half = LANES // 2
            while half:  # the upper half of what is left against the lower half
                places = [(i + half) % LANES for i in range(LANES)]
                moved = builder.shuffle_vector(each, nothing, ir.Constant(ir.VectorType(index, LANES), places))
                each = larger(each, moved)
                half //= 2
            whole.append(builder.extract_element(each, index(0)))
        return context.make_tuple(builder, signature.return_type, whole)

    return types.UniTuple(types.float64, 2)(first, second, row, low, high), generate


_byte_at: Any = intrinsic(_loading(types.uint8))
_word_at: Any = intrinsic(_loading(types.uint64))
_gathered_at: Any = intrinsic(_gathering)
_bits_of: Any = intrinsic(_counting)
_peaks: Any = intrinsic(_peaking)


@njit(nogil=True)
def _find(address, size, found):  # type: ignore[no-untyped-def]
    """Write the indices of the spikes among the `size` bytes at an address to `found`. Returns how many there are."""
    count = 0
    if size < LINE:
        for j in range(size):
            if _byte_at(address + j):
                found[count] = j
                count += 1
        return count
    for line in range(0, size, LINE):
        # The last line ends with the last spike, so nothing behind the array is read.
        over = max(line + LINE - size, 0)
        spiked = _gathered_at(address + line - over) >> np.uint64(over)
        while spiked:
            found[count] = line + np.int64(_trailing_zeros(spiked))
            count += 1
            spiked &= spiked - _ONE
    return count


@njit(nogil=True)
def _add_row(rows, row, times, cells):  # type: ignore[no-untyped-def]
    for e in range(np.uint64(rows.entries[row]), np.uint64(rows.entries[row + 1])):
        cells[np.uint64(rows.cell[e])] += rows.number[e] * times


@njit(nogil=True)
def _add_spikes(b, t, where, rows, arriving, filled, slot, fired, found, many, met):  # type: ignore[no-untyped-def]
    """Add what the spikes of a tick cause to the cells of the ticks in which it happens.

    `arriving` is `[depth, cells]`, a tick's cells at its number modulo the depth; `filled` marks the ticks that are not
    all 0. `fired` counts the spikes of each neuron. The rest is scratch.
    """
    depth = len(arriving)
    for s in range(len(where)):
        source = where[s]
        count = _find(source.address + b * source.of_sequence + t * source.of_tick, source.size, found)
        if count == 0:
            continue
        for i in range(count):
            fired[source.first + found[i]] += 1
        for g in range(rows.groups[s], rows.groups[s + 1]):
            group = rows.group[g]
            at = (slot + group.delay) % depth
            cells = arriving[at]
            filled[at] = 1
            if group.classes < 0:
                _add_row(rows, group.rows, np.float64(count), cells)
                continue
            classes = rows.classes[group.classes :]
            kinds = 0
            for i in range(count):
                of = classes[found[i]]
                met[kinds] = of  # kept if new; a branch here would often be mispredicted
                kinds += many[of] == 0
                many[of] += 1
            for i in range(kinds):
                _add_row(rows, group.rows + met[i], np.float64(many[met[i]]), cells)
                many[met[i]] = 0


@njit(nogil=True)
def _add_active(b, t, where, active, words, cells):  # type: ignore[no-untyped-def]
    """Write the number of active neurons of each column to `cells`. `words` is scratch, as many as there are words."""
    for p in range(len(where)):
        of = where[p]
        address = of.address + b * of.of_sequence + t * of.of_tick
        for i in range(of.size):
            words[of.first + i] = _word_at(address + 8 * i)
    for c in range(len(cells)):
        n = 0
        for part in range(np.uint64(active.starts[c]), np.uint64(active.starts[c + 1])):
            n += _bits_of(words[np.uint64(active.word[part])] & active.mask[part])
        cells[c] = n


@njit(nogil=True)
def _core_times(cells, meter, events, known, times):  # type: ignore[no-untyped-def]
    """Write the times of each core, float64 `[7, columns]`.

    They are those of synapses, neurons and spikes at their values, and those of synapses, and of neurons and spikes
    together, with all prices low, and then high. With low prices there are as few active updates as there can be.
    """
    width = meter.width
    times[:7, :width] = 0
    for e in range(meter.event, meter.event_end):
        event = events[e]
        row = cells[event.row, meter.column : meter.column + width]
        fewest = row if known else cells[event.least, meter.column : meter.column + width]
        beside = event.group != SYNAPSES
        value, low, high = times[event.group, :width], times[3 + beside, :width], times[5 + beside, :width]
        for c in range(width):
            value[c] += event.value * row[c]
            low[c] += event.low * fewest[c]
            high[c] += event.high * row[c]


@njit(nogil=True)
def _fewest_peak(cells, meter, events, times):  # type: ignore[no-untyped-def]
    """The time of the slowest core at the values, with as few active updates as there can be."""
    width = meter.width
    synapses, others = times[3, :width], times[4, :width]
    synapses[:] = 0
    others[:] = 0
    for e in range(meter.event, meter.event_end):
        event = events[e]
        row = cells[event.least, meter.column : meter.column + width]
        time = synapses if event.group == SYNAPSES else others
        for c in range(width):
            time[c] += event.value * row[c]
    return _together(synapses, others, times[7, :width], meter.side_by_side)


@njit(nogil=True)
def _together(synapses, others, none, side_by_side):  # type: ignore[no-untyped-def]
    """The time of the slowest core, from those of its synapses and of its neurons and spikes. `none` is all 0."""
    if side_by_side:
        return _peaks(synapses, others, none, 0.0, 0.0)[0]
    return _peaks(synapses, none, others, 1.0, 1.0)[0]


@njit(nogil=True)
def _time_tick(cells, m, meters, known, quiet, first_core, times, sums, longest, waited, slowest):  # type: ignore[no-untyped-def]
    """Add the time of one tick on the cores of meter `m`, in each of its cases.

    Args:
        cells: float64 `[rows, columns]`, the counts of the tick.
        known: whether active updates are exact; else there may have been as few as `least` says.
        quiet: whether nothing but updates happened.
        first_core: where the meter's cores begin in `slowest`.
        times: scratch, float64 `[10, columns]`; the one but two before the end is all 0 and stays so.
    """
    meter = meters.meter[m]
    width = meter.width
    events, cases = meters.event, meters.case
    sends = False
    if meter.messages >= 0 and not quiet:
        for c in range(meter.column, meter.column + width):
            sends |= cells[meter.messages, c] > 0
    # The times at the values are added in the order of events, so that cores that are equally slow stay so.
    _core_times(cells, meter, events, known, times)
    synapses, neurons, spikes = times[0, :width], times[1, :width], times[2, :width]
    none, others, busy = times[7, :width], times[8, :width], times[9, :width]
    if meter.side_by_side:
        for c in range(width):
            others[c] = neurons[c] + spikes[c]
            busy[c] = max(synapses[c], others[c])
    else:
        for c in range(width):
            busy[c] = synapses[c] + neurons[c] + spikes[c]
    most = _peaks(busy, none, none, 0.0, 0.0)[0]
    at = 0
    while busy[at] != most:
        at += 1
    s, n, p = synapses[at], neurons[at], spikes[at]
    if meter.side_by_side:
        if s > n + p:
            n, p = 0.0, 0.0
        else:
            s = 0.0
    peak = s + n + p
    lowest = _together(times[3, :width], times[4, :width], none, meter.side_by_side)
    highest = _together(times[5, :width], times[6, :width], none, meter.side_by_side)
    low = high = peak  # of the event that a case and the next one change
    for k in range(meter.case, meter.case_end):
        case = cases[k]
        path = peak
        if case.kind == ONE:
            event = events[case.event]
            if case.end == 1:
                low = high = peak
                if not quiet or event.row >= len(cells) - 2:
                    row = cells[event.row, meter.column : meter.column + width]
                    change = case.change
                    following = cases[k + 1].change
                    if not meter.side_by_side:
                        low, high = _peaks(busy, none, row, change, following)
                    elif event.group == SYNAPSES:
                        low, high = _peaks(synapses, others, row, change, following)
                    else:
                        low, high = _peaks(others, synapses, row, change, following)
            path = low if case.end == 1 else high
        elif case.kind == ALL:
            path = lowest if case.end == 1 else highest
        elif case.kind == FEWEST and not known:
            path = _fewest_peak(cells, meter, events, times)
        time = path + (case.transit if sends else 0.0) + case.barrier
        time += max(case.floor - time, 0.0)
        sums[k] += time
        longest[k] = max(longest[k], time)
    # What the tick waits for. A tick below the floor waits for the floor, whatever fills a part of it.
    value = cases[meter.case]
    mesh = value.transit if sends else 0.0
    time = s + n + p + mesh + value.barrier
    short = max(value.floor - time, 0.0)
    time += short
    if meter.floored and short > 0:
        waited[FLOOR] += time
    else:
        waited[SYNAPSES] += s
        waited[NEURONS] += n
        waited[SPIKES] += p
        waited[MESH] += mesh
        waited[BARRIER] += value.barrier
    slowest[first_core + at] += time


@njit(nogil=True)
def count_ticks(begin, end, lengths, spikes, active, rows, parts, arriving, fired, scratch):  # type: ignore[no-untyped-def]
    """Count the ticks of the sequences `begin` to `end - 1`, each up to its length, and keep the counts of every tick.

    `arriving` is float64 `[sequences, ticks and as many more as the longest delay, rows, columns]`. The active updates
    are written to its last row but one, if there are words of them. `fired` is int64 `[sequences, neurons]`.
    """
    found, many, met, words = borrowed(scratch)
    rows, parts, spikes, active, fired = (
        borrowed(rows),
        borrowed(parts),
        borrowed(spikes),
        borrowed(active),
        borrowed(fired),
    )
    for b in range(begin, end):
        flat = arriving[b - begin].reshape(arriving.shape[1], arriving.shape[2] * arriving.shape[3])
        filled = np.zeros(len(flat), np.uint8)
        for t in range(lengths[b]):
            _add_spikes(b, t, spikes, rows, flat, filled, t, fired[b], found, many, met)
            if len(words):
                _add_active(b, t, active, parts, words, arriving[b - begin, t, arriving.shape[2] - 2])


@njit(nogil=True)
def account_ticks(  # type: ignore[no-untyped-def]
    begin,  # the first sequence
    end,  # the one after the last
    ticks,  # how many
    tick,  # the number of the first one
    lengths,  # int64 [sequences]: how many of the ticks are a sequence's own
    spikes,  # WHERE of each source
    active,  # WHERE of each mapped population, or of none
    rows,  # Rows
    parts,  # Active
    meters,  # Meters
    first_cores,  # int64 [meters]: where the cores of each meter begin in what is spent
    arriving,  # float64 [sequences, depth, rows, columns]: what arrives now and in the next ticks
    filled,  # uint8 [sequences, depth]: whether a tick's counts are not all 0
    totals,  # float64 [2, sequences, rows, columns]: what happened in time, and what arrived too late
    fired,  # int64 [sequences, neurons]: spikes of each neuron
    spent,  # Spent
    scratch,  # int64 arrays for _add_spikes and _add_active, and times for _time_tick
):
    """Count and time some ticks, and keep totals only. The last two rows of counts are active updates and updates."""
    found, many, met, words, times = borrowed(scratch)
    lengths, spikes, active, first_cores = borrowed((lengths, spikes, active, first_cores))
    rows, parts, meters, spent = borrowed(rows), borrowed(parts), borrowed(meters), borrowed(spent)
    arriving, filled, totals, fired = borrowed((arriving, filled, totals, fired))
    depth, n_rows, width = arriving.shape[1:]
    known = len(words) > 0
    for b in range(begin, end):
        own = arriving[b]
        flat = own.reshape(depth, n_rows * width)
        happened, late = totals[0, b].reshape(n_rows * width), totals[1, b].reshape(n_rows * width)
        ordinary = (n_rows - 2) * width
        for t in range(ticks):
            slot = (tick + t) % depth
            if t >= lengths[b]:
                if filled[b, slot]:
                    late[:ordinary] += flat[slot, :ordinary]
                    flat[slot, :ordinary] = 0
                    filled[b, slot] = 0
                continue
            _add_spikes(b, t, spikes, rows, flat, filled[b], slot, fired[b], found, many, met)
            if known:
                _add_active(b, t, active, parts, words, own[slot, n_rows - 2])
            for m in range(len(meters.meter)):
                _time_tick(
                    own[slot], m, meters, known, filled[b, slot] == 0, first_cores[m], times,
                    spent.sums[b], spent.longest[b], spent.waited[b, m], spent.slowest[b],
                )  # fmt: skip
            for i in range(ordinary, n_rows * width):
                happened[i] += flat[slot, i]
            if filled[b, slot]:
                for i in range(ordinary):
                    happened[i] += flat[slot, i]
                    flat[slot, i] = 0
                filled[b, slot] = 0


@njit(nogil=True)
def time_counts(ticks, meters, known, times, spent):  # type: ignore[no-untyped-def]
    """Time ticks whose counts are given, float64 `[ticks, rows, columns]`, with one meter, as one sequence."""
    for t in range(len(ticks)):
        _time_tick(
            ticks[t], 0, meters, known, False, 0, times,
            spent.sums[0], spent.longest[0], spent.waited[0, 0], spent.slowest[0],
        )  # fmt: skip


@njit
def count_lists(starts, targets, stored, columns, width):  # type: ignore[no-untyped-def]
    """The number of stored synapses of each source in each column.

    Args:
        starts, targets: the targets of source j are `targets[starts[j]:starts[j + 1]]`.
        stored: whether each of them is a synapse.
        columns: int64 `[mappings, targets]`: the column of each target in each mapping.
        width: number of columns.

    Returns:
        The rows in SciPy's form, with rising columns: where each row begins, columns, numbers.
    """
    n = len(starts) - 1
    row = np.zeros(width, np.int64)
    begins = np.zeros(n + 1, np.int64)
    total = 0
    for fill in range(2):
        if fill:
            where, numbers = np.empty(total, np.int64), np.empty(total, np.int64)
        total = 0
        for j in range(n):
            for i in range(starts[j], starts[j + 1]):
                if stored[i]:
                    for m in range(len(columns)):
                        row[columns[m, targets[i]]] += 1
            for c in range(width):
                if row[c]:
                    if fill:
                        where[total], numbers[total] = c, row[c]
                    row[c] = 0
                    total += 1
            begins[j + 1] = total
    return begins, where, numbers


@njit
def classes_of(starts, columns, numbers):  # type: ignore[no-untyped-def]
    """Which rows of a sparse matrix are equal: the class of each row, and the first row of each class.

    Classes are numbered in the order of their first rows. Rows are compared number by number; a hash only says where to
    look.
    """
    n = len(starts) - 1
    size = 16
    while size < 2 * n:
        size *= 2
    table = np.full(size, -1, np.int64)
    classes, firsts = np.empty(n, np.int32), np.empty(n, np.int64)
    found = 0
    for j in range(n):
        begin, end = starts[j], starts[j + 1]
        mixed = np.uint64(end - begin)
        for i in range(begin, end):
            for part in (columns[i], numbers[i]):
                mixed = (mixed ^ np.uint64(part)) * np.uint64(0x9E3779B97F4A7C15)
                mixed ^= mixed >> np.uint64(29)
        at = np.int64(mixed & np.uint64(size - 1))
        while True:
            of = table[at]
            if of < 0:
                table[at] = found
                firsts[found] = j
                classes[j] = found
                found += 1
                break
            other = starts[firsts[of]]
            same = starts[firsts[of] + 1] - other == end - begin
            i = 0
            while same and i < end - begin:
                same = columns[other + i] == columns[begin + i] and numbers[other + i] == numbers[begin + i]
                i += 1
            if same:
                classes[j] = of
                break
            at = (at + 1) & (size - 1)
    return classes, firsts[:found]
