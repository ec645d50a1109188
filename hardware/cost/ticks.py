"""The loops that count a run as it comes and time its ticks, a block of ticks at a time.

Spikes are kept as words of bits, `[words, ticks]`. Totals are counted bit by bit over many ticks at once. For times,
the ticks of a block lie side by side (`lanes`). The time of every core is added up from signals first (`signals`). Only
of cores that can be the slowest one in some case, the counts are found too, and timed in all cases. Counts are whole
numbers far below 2^53, so they are exact in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.cpython.unsafe import numbers

from muspike.hardware.cost.kernels import bits_of, byte_at, gathered_at, word_at
from muspike.hardware.cost.lanes import (
    LANES,
    add,
    end_ticks,
    raise_peak,
    reaches,
    replace_slowest,
    sum_terms,
    tally,
)
from muspike.hardware.simulator.kernels import LINE, borrowed
from muspike.jit import njit

Array = npt.NDArray[Any]

BLOCK = LANES
"""Ticks that are timed at once."""
CHUNK = 256
"""Ticks whose spikes are at hand at once, beside those whose spikes are on their way. A whole number of blocks."""
PLANES = 44
"""Bits of a total."""
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_trailing_zeros: Any = numbers.trailing_zeros  # its type is for calls from Python, which nobody can make

SCAN = np.dtype([(name, np.int64) for name in ("delay", "word", "word_end", "classes", "rows", "at", "width")])
"""Spikes of a population, some ticks ago, that are found one by one: their words, where the class of each neuron and
the rows of the classes begin, and where a row is added."""

# What the times of a tick are made of, by index: of a core, its synapses, neurons and spikes; then of the chip.
SYNAPSES, NEURONS, SPIKES, MESH, BARRIER, FLOOR = range(6)
# What a case changes: nothing on the cores, all prices to one end, one price by a difference, or the active updates.
PLAIN, ALL, ONE, FEWEST = range(4)

CASE = np.dtype(
    [("kind", np.int64), ("event", np.int64), ("end", np.int64)]
    + [(name, np.float64) for name in ("transit", "barrier", "floor")]
)
"""A case of the prices of time: what it changes on the cores, and the times of a tick beside them, in ns."""
EVENT = np.dtype(
    [("row", np.int64), ("group", np.int64), ("least", np.int64)]
    + [(name, np.float64) for name in ("value", "low", "high", "to_low", "to_high")]
)
"""An event that takes time: its row of counts, whose time it takes, its row if there are as few as there can be, its
price in ns, and what a change of this price alone to either end of its band adds."""
METER = np.dtype(
    [
        (name, np.int64)
        for name in ("column", "width", "side_by_side", "event", "event_end", "case", "case_end", "sends", "floored")
    ]
    + [("one_by_one", np.int64), ("banded", np.int64), ("share", np.float64)]
)
"""A price list on the cores of one mapping: its columns of the counts, its events and cases, whether synapses and
neurons work side by side, whether messages take time, whether there is a floor, whether there are cases of single
events, and whether prices have bands. A core that takes less than `share` of the time of the slowest one at the values
is not the slowest one in any case."""

# The rows of what is known of the slowest core so far: its time and parts, then the times in other cases.
_BUSY, _SYNAPSES, _NEURONS, _SPIKES, _LOW, _HIGH, _FEWEST, _EVENTS = range(8)


class Parts(NamedTuple):
    """Signals: the parts of signal s are `starts[s]` to `starts[s + 1]`, each some bits of a word."""

    starts: Array  # int64 [signals + 1]
    word: Array  # int64 [parts]
    mask: Array  # uint64 [parts]


class Rough(NamedTuple):
    """The least and the most time of each core at the values, as sums of terms.

    The terms of column c from `starts[c]` to `middle[c]` are sure. Those up to `starts[c + 1]` are the most that rows
    can add, and `slack` is what all updates take, active or not.
    """

    starts: Array  # int64 [columns + 1]
    middle: Array  # int64 [columns]
    offset: Array  # as in Tables
    moving: Array
    price: Array  # float64 [2, meters, terms]: of synapses (with all else, unless side by side), and of the rest
    most: Array  # float64 [meters, terms]: both
    constants: Array  # float64 [2, meters, columns]
    slack: Array  # float64 [meters, columns]


class Tables(NamedTuple):
    """What the counts of each column in a tick are made of: sums of terms, which are signals times numbers."""

    delayed: Parts  # signals of classes of neurons, by words of spikes; they count some ticks later
    spiking: Parts  # of spikes on a core, by words of spikes
    starts: Array  # int64 [columns x rows + 1]: the terms of each count
    offset: Array  # int64: where the signal of each term begins among the values
    moving: Array  # int64: 1 if the signal is kept for all ticks at hand, 0 if for those of a block
    number: Array  # float64
    constants: Array  # float64 [rows, columns]: what is counted in every tick
    scan: Array  # SCAN
    classes: Array  # int32
    rows: Array  # whole numbers
    added: Array  # whole numbers [BLOCK, places], scratch
    kept_starts: Array  # int64 [programs + 1]
    kept: Array  # int64: the columns of each program that can be the slowest
    senders: Parts  # of each program, the neurons whose spikes are messages
    rough: Rough
    active: Array  # int64 [1]: the row of active updates, if they are known and priced; else -1


class Sources(NamedTuple):
    """The populations that spike."""

    word: Array  # int64 [sources + 1]: where the words of each begin
    pairs: Array  # int64 [sources + 1]: where the delays of each begin
    delay: Array  # int64: rising delays of each
    first: Array  # int64: where the late spikes of each neuron begin, by delay


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


class Scratch(NamedTuple):
    """What a thread needs to time blocks. Rows have the ticks of a block."""

    counts: Array  # float64 [rows x BLOCK]: of a core
    live: Array  # bool [rows]: which of them are not all 0
    peaks: Array  # float64 [(7 + 2 x events) x BLOCK]: of the slowest core so far, by case
    slowest: Array  # int64 [BLOCK]: its column
    times: Array  # float64 [8 x BLOCK]
    roughly: Array  # float64 [columns x BLOCK]: the time of each core at the values
    best: Array  # float64 [BLOCK]: the largest of these
    sends: Array  # float64 [BLOCK]
    inside: Array  # float64 [BLOCK]


def scratch(rows: int, columns: int, meters: Meters) -> Scratch:
    """Scratch for some meters, and as many rows and columns of counts."""
    events = int((meters.meter["event_end"] - meters.meter["event"]).max(initial=0))
    return Scratch(
        np.zeros(rows * BLOCK),
        np.ones(rows, np.bool_),
        np.zeros((_EVENTS + 2 * events) * BLOCK),
        np.zeros(BLOCK, np.int64),
        np.zeros(8 * BLOCK),
        np.zeros(columns * BLOCK),
        np.zeros(BLOCK),
        np.zeros(BLOCK),
        np.zeros(BLOCK),
    )


def with_scratch(tables: Tables) -> Tables:
    """The same tables with scratch of their own, for a thread."""
    return tables._replace(added=np.zeros_like(tables.added))


def room(tables: Tables, of_recent: tuple[int, ...], active: int) -> tuple[Array, ...]:
    """What a thread needs to count ticks.

    Args:
        tables: what is counted.
        of_recent: the number of words of spikes, and the longest delay.
        active: the number of words of active updates; 0: they are not known.
    """
    words, longest = of_recent
    now = len(tables.spiking.starts) - 1 + tables.added.shape[1]
    return (
        np.zeros((words, longest + CHUNK), np.uint64),
        np.zeros((len(tables.delayed.starts) - 1) * (longest + CHUNK) + now * BLOCK),
        np.zeros((active, BLOCK), np.uint64),
        np.zeros((words, PLANES), np.uint64),
        np.zeros((active, PLANES), np.uint64),
    )


@njit(nogil=True)
def _time_core(column, meter, events, known, scratch):  # type: ignore[no-untyped-def]
    """Time a core in the ticks of a block, and keep the times of the slowest core so far in each case.

    Of cores that are equally slow, the first one is kept.
    """
    x, live, peaks, times = scratch.counts, scratch.live, scratch.peaks, scratch.times
    banded = meter.banded or not known
    # Rows of times: synapses, neurons and spikes at the values; synapses, and the others, low; the same high; busy.
    times[:] = 0.0
    for e in range(meter.event, meter.event_end):
        event = events[e]
        beside = event.group != SYNAPSES
        if live[event.row]:
            add(times, event.group * BLOCK, event.value, x, event.row * BLOCK)
            if banded:
                add(times, (5 + beside) * BLOCK, event.high, x, event.row * BLOCK)
        least = event.row if known else event.least
        if banded and live[least]:
            add(times, (3 + beside) * BLOCK, event.low, x, least * BLOCK)
    replace_slowest(times, 0, meter.side_by_side != 0, peaks, _BUSY * BLOCK, scratch.slowest, column)
    if banded:
        for end in range(2):
            first, second = (3 + 2 * end) * BLOCK, (4 + 2 * end) * BLOCK
            _together(meter.side_by_side, peaks, (_LOW + end) * BLOCK, times, first, second)
    if not meter.one_by_one:
        return
    for e in range(meter.event, meter.event_end):
        event = events[e]
        for end in range(2):
            change = event.to_high if end else event.to_low
            if change == 0:
                continue
            at = (_EVENTS + 2 * (e - meter.event) + end) * BLOCK
            if not live[event.row]:
                change = 0.0
            if not meter.side_by_side:
                raise_peak(peaks, at, times, 7 * BLOCK, change, x, event.row * BLOCK)
            else:
                changed, beside_it = (0, 7 * BLOCK) if event.group == SYNAPSES else (7 * BLOCK, 0)
                raise_peak(peaks, at, times, changed, change, x, event.row * BLOCK)
                raise_peak(peaks, at, times, beside_it, 0.0, times, beside_it)
    if not known:
        times[3 * BLOCK : 5 * BLOCK] = 0.0
        for e in range(meter.event, meter.event_end):
            event = events[e]
            if live[event.least]:
                part = (3 + (event.group != SYNAPSES)) * BLOCK
                add(times, part, event.value, x, event.least * BLOCK)
        _together(meter.side_by_side, peaks, _FEWEST * BLOCK, times, 3 * BLOCK, 4 * BLOCK)


@njit(nogil=True)
def _together(side_by_side, peaks, at, times, first, second):  # type: ignore[no-untyped-def]
    """Raise a peak to the time of a core, which is the sum of two times or the larger of them."""
    if side_by_side:
        raise_peak(peaks, at, times, first, 0.0, times, first)
        raise_peak(peaks, at, times, second, 0.0, times, second)
    else:
        raise_peak(peaks, at, times, first, 1.0, times, second)


@njit(nogil=True)
def _begin_block(scratch):  # type: ignore[no-untyped-def]
    scratch.peaks[:] = 0.0
    scratch.peaks[:BLOCK] = -1.0
    scratch.slowest[:] = 0


@njit(nogil=True)
def _end_block(lanes, meter, events, cases, known, sends, inside, first_core, scratch, sums, longest, waited, slowest):  # type: ignore[no-untyped-def]
    """Add the times of the first `lanes` ticks of a block, which are `inside`; `sends` says where there are messages.

    Both are 0 or 1 for each tick.
    """
    peaks, at = scratch.peaks, scratch.slowest
    banded = meter.banded or not known
    for k in range(meter.case, meter.case_end):
        case = cases[k]
        path = _BUSY
        if case.kind == ONE:
            event = events[case.event]
            if (event.to_high if case.end == 2 else event.to_low) != 0:
                path = _EVENTS + 2 * (case.event - meter.event) + (case.end == 2)
        elif case.kind == ALL and banded:
            path = _LOW if case.end == 1 else _HIGH
        elif case.kind == FEWEST and not known:
            path = _FEWEST
        total, most = end_ticks(peaks, path * BLOCK, case.transit, sends, case.barrier, case.floor, inside)
        sums[k] += total
        longest[k] = max(longest[k], most)
    # What the ticks wait for. A tick below the floor waits for the floor, whatever fills a part of it.
    value = cases[meter.case]
    for i in range(lanes):
        s, n, p = peaks[_SYNAPSES * BLOCK + i], peaks[_NEURONS * BLOCK + i], peaks[_SPIKES * BLOCK + i]
        mesh = value.transit * sends[i]
        time = s + n + p + mesh + value.barrier
        if meter.floored and value.floor > time:
            time = value.floor
            waited[FLOOR] += time
        else:
            waited[SYNAPSES] += s
            waited[NEURONS] += n
            waited[SPIKES] += p
            waited[MESH] += mesh
            waited[BARRIER] += value.barrier
        slowest[first_core + at[i] - meter.column] += time


@njit(nogil=True)
def time_counts(ticks, meters, known, scratch, spent):  # type: ignore[no-untyped-def]
    """Time ticks whose counts are given, float64 `[ticks, rows, columns]`, with one meter, as one sequence.

    The last row of counts is 1 where there are messages.
    """
    meter = meters.meter[0]
    rows = ticks.shape[1] - 1
    sends, inside = np.zeros(BLOCK), np.zeros(BLOCK)
    for start in range(0, len(ticks), BLOCK):
        lanes = min(BLOCK, len(ticks) - start)
        _begin_block(scratch)
        for c in range(meter.width):
            for r in range(rows):
                for i in range(lanes):
                    scratch.counts[r * BLOCK + i] = ticks[start + i, r, c]
            _time_core(c, meter, meters.event, known, scratch)
        for i in range(BLOCK):
            sends[i] = ticks[start + i, rows, 0] if i < lanes else 0.0
            inside[i] = i < lanes
        _end_block(
            lanes, meter, meters.event, meters.case, known, sends, inside, 0, scratch,
            spent.sums[0], spent.longest[0], spent.waited[0, 0], spent.slowest[0],
        )  # fmt: skip


@njit(nogil=True)
def _gather(address, size, words, first, at):  # type: ignore[no-untyped-def]
    """Write the spikes among the `size` bytes at an address, bit by bit, to column `at` of `words`, from `first` on."""
    if size >= LINE:
        for line in range(0, size, LINE):
            # The last line ends with the last spike, so nothing behind the array is read.
            over = max(line + LINE - size, 0)
            words[first + line // LINE, at] = gathered_at(address + line - over) >> np.uint64(over)
        return
    word = _ZERO
    j = 0
    while j + 8 <= size:
        eight = word_at(address + j)
        low = np.uint64(0x7F7F7F7F7F7F7F7F)
        marks = ((((eight & low) + low) | eight) & ~low) >> np.uint64(7)  # 1 in each byte that is not 0
        word |= ((marks * np.uint64(0x0102040810204080)) >> np.uint64(56)) << np.uint64(j)
        j += 8
    while j < size:
        word |= np.uint64(byte_at(address + j) != 0) << np.uint64(j)
        j += 1
    words[first, at] = word


@njit(nogil=True, inline="always")
def _carry(a, b, c):  # type: ignore[no-untyped-def]
    """The upper and the lower bits of the sums of three bits."""
    both = a ^ b
    return (a & b) | (both & c), both ^ c


@njit(nogil=True)
def _total(words, w, at, planes):  # type: ignore[no-untyped-def]
    """Add the bits of word `w` in the ticks of the block from `at` on to its totals, whose bits are `planes`."""
    of = planes[w]
    row = words[w, at : at + BLOCK]
    ones, twos, fours, eights = of[0], of[1], of[2], of[3]
    a, ones = _carry(ones, row[0], row[1])
    b, ones = _carry(ones, row[2], row[3])
    c, twos = _carry(twos, a, b)
    a, ones = _carry(ones, row[4], row[5])
    b, ones = _carry(ones, row[6], row[7])
    d, twos = _carry(twos, a, b)
    e, fours = _carry(fours, c, d)
    a, ones = _carry(ones, row[8], row[9])
    b, ones = _carry(ones, row[10], row[11])
    c, twos = _carry(twos, a, b)
    a, ones = _carry(ones, row[12], row[13])
    b, ones = _carry(ones, row[14], row[15])
    d, twos = _carry(twos, a, b)
    f, fours = _carry(fours, c, d)
    carry, eights = _carry(eights, e, f)
    of[0], of[1], of[2], of[3] = ones, twos, fours, eights
    p = 4
    while carry:
        following = of[p] & carry
        of[p] ^= carry
        carry = following
        p += 1


@njit(nogil=True)
def _late(words, end, sources, late):  # type: ignore[no-untyped-def]
    """Add the spikes of each neuron that arrive after tick `end` of `words`, for each delay, to `late`."""
    for s in range(len(sources.word) - 1):
        begin, stop = sources.pairs[s], sources.pairs[s + 1]
        if begin == stop:
            continue
        for back in range(1, sources.delay[stop - 1] + 1):
            for w in range(sources.word[s], sources.word[s + 1]):
                bits = words[w, end - back]
                while bits:
                    j = (w - sources.word[s]) * LINE + np.int64(_trailing_zeros(bits))
                    bits &= bits - _ONE
                    for q in range(begin, stop):
                        if sources.delay[q] >= back:
                            late[sources.first[q] + j] += 1


@njit(nogil=True)
def _tally_all(parts, words, stride, at, values, place, step):  # type: ignore[no-untyped-def]
    """Write each signal in the ticks of a block to `values`, one signal every `step` values from `place` on."""
    for s in range(len(parts.starts) - 1):
        tally(parts.starts[s], parts.starts[s + 1], parts.word, parts.mask, words, stride, at, values, place + s * step)


@njit(nogil=True)
def _find_rows(lanes, at, tables, words, values, place):  # type: ignore[no-untyped-def]
    """Add up what single spikes bring in the ticks of a block, and write it to `values` from `place` on."""
    added = tables.added
    added[:, :] = 0
    for scan in tables.scan:
        for i in range(lanes):
            to = added[i, scan.at : scan.at + scan.width]
            for w in range(scan.word, scan.word_end):
                bits = words[w, at + i - scan.delay]
                while bits:
                    j = (w - scan.word) * LINE + np.int64(_trailing_zeros(bits))
                    bits &= bits - _ONE
                    begin = scan.rows + tables.classes[scan.classes + j] * scan.width
                    row = tables.rows[begin : begin + scan.width]
                    for k in range(scan.width):
                        to[k] += row[k]
    for k in range(added.shape[1]):
        for i in range(BLOCK):
            values[place + k * BLOCK + i] = added[i, k]


@njit(nogil=True)
def _time_block(  # type: ignore[no-untyped-def]
    lanes, at, tables, parts, words, acting, values, stride, meters, of_program, first_cores, known, scratch, spent, b
):
    """Time the ticks of a block, whose spikes begin at column `at` of `words`, in all meters."""
    x, live, roughly, best, times = scratch.counts, scratch.live, scratch.roughly, scratch.best, scratch.times
    place = (len(tables.delayed.starts) - 1) * stride
    flat, of_active = words.reshape(-1), acting.reshape(-1)
    _tally_all(tables.spiking, flat, stride, at, values, place, BLOCK)
    place += (len(tables.spiking.starts) - 1) * BLOCK
    found = len(tables.scan) == 0  # whether rows are added up
    rows = len(live)
    starts, offset, moving, constants, rough = (
        tables.starts, tables.offset, tables.moving, tables.constants, tables.rough
    )  # fmt: skip
    sends, inside = scratch.sends, scratch.inside
    for i in range(BLOCK):
        inside[i] = i < lanes
    for m in range(len(of_program) - 1):
        if of_program[m] == of_program[m + 1]:
            continue
        sends[:] = 0.0
        for part in range(tables.senders.starts[m], tables.senders.starts[m + 1]):
            of, mask = words[tables.senders.word[part]], tables.senders.mask[part]
            for i in range(BLOCK):
                if of[at + i] & mask:
                    sends[i] = 1.0
        first, end = tables.kept_starts[m], tables.kept_starts[m + 1]
        for k in range(of_program[m], of_program[m + 1]):
            meter = meters.meter[k]
            share = meter.share if known else 0.0
            best[:] = 0.0
            for n in range(end - first):
                c = tables.kept[first + n]
                begin, stop = rough.starts[c], rough.middle[c]
                sum_terms(
                    rough.constants[0, k, c], begin, stop, rough.offset, rough.moving, rough.price[0, k], at, values,
                    roughly, n * BLOCK,
                )  # fmt: skip
                if meter.side_by_side:
                    sum_terms(
                        rough.constants[1, k, c], begin, stop, rough.offset, rough.moving, rough.price[1, k], at,
                        values, times, 0,
                    )  # fmt: skip
                    raise_peak(roughly, n * BLOCK, times, 0, 0.0, times, 0)
                raise_peak(best, 0, roughly, n * BLOCK, 0.0, best, 0)
            _begin_block(scratch)
            for n in range(end - first):
                c = tables.kept[first + n]
                begin, stop = rough.middle[c], rough.starts[c + 1]
                if begin < stop:
                    sum_terms(
                        0.0, begin, stop, rough.offset, rough.moving, rough.most[k], at, values, times, 0
                    )  # fmt: skip
                    add(roughly, n * BLOCK, 1.0, times, 0)
                if not reaches(roughly, n * BLOCK, rough.slack[k, c], best, 0, share):
                    continue
                if begin < stop and not found:
                    _find_rows(lanes, at, tables, words, values, place)
                    found = True
                for r in range(rows):
                    begin, stop = starts[c * rows + r], starts[c * rows + r + 1]
                    live[r] = begin < stop or constants[r, c] != 0
                    if live[r]:
                        sum_terms(constants[r, c], begin, stop, offset, moving, tables.number, at, values, x, r * BLOCK)
                if tables.active[0] >= 0:
                    live[tables.active[0]] = True
                    tally(
                        parts.starts[c], parts.starts[c + 1], parts.word, parts.mask, of_active, BLOCK, 0,
                        x, tables.active[0] * BLOCK,
                    )  # fmt: skip
                _time_core(c, meter, meters.event, known, scratch)
            _end_block(
                lanes, meter, meters.event, meters.case, known, sends, inside, first_cores[k], scratch,
                spent.sums[b], spent.longest[b], spent.waited[b, k], spent.slowest[b],
            )  # fmt: skip


@njit(nogil=True)
def account_ticks(  # type: ignore[no-untyped-def]
    begin,  # the first sequence
    end,  # the one after the last
    lengths,  # int64 [sequences]: how many of the ticks are a sequence's own
    spikes,  # kernels.WHERE of each source
    active,  # kernels.WHERE of each mapped population, or of none
    sources,  # Sources
    parts,  # kernels.Active
    tables,  # Tables
    meters,  # Meters
    of_program,  # int64 [programs + 1]: where the meters of each begin
    first_cores,  # int64 [meters]: where the cores of each meter begin in what is spent
    recent,  # uint64 [sequences, words, longest delay]: the spikes that may be on their way
    fired,  # int64 [neurons]: spikes of each neuron
    before,  # int64: spikes of each neuron that were on their way before these ticks, by delay
    after,  # int64: the same after them
    acted,  # int64 [columns]: active updates
    spent,  # Spent
    scratch,  # Scratch
    room,  # scratch: words of spikes, values of signals, words of active updates, and both totals
):
    """Count and time some ticks of the sequences `begin` to `end - 1`, and keep totals only."""
    lengths, spikes, active, of_program, first_cores = borrowed((lengths, spikes, active, of_program, first_cores))
    sources, parts, tables, meters, spent = (
        borrowed(sources), borrowed(parts), borrowed(tables), borrowed(meters), borrowed(spent)
    )  # fmt: skip
    recent, fired, before, after, acted = borrowed((recent, fired, before, after, acted))
    scratch = borrowed(scratch)
    words, values, acting, totals, acted_totals = borrowed(room)
    longest, stride = recent.shape[2], words.shape[1]
    flat = words.reshape(-1)
    known = len(active) > 0
    timed = len(meters.meter) > 0
    for b in range(begin, end):
        words[:, :longest] = recent[b]
        _late(words, longest, sources, before)
        if timed:
            for t in range(0, longest, BLOCK):
                _tally_all(tables.delayed, flat, stride, t, values, t, stride)
        length = lengths[b]
        if length == 0:
            _late(words, longest, sources, after)
        for start in range(0, length, CHUNK):
            n = min(CHUNK, length - start)
            whole = (n + BLOCK - 1) // BLOCK * BLOCK
            for t in range(n):
                for s in range(len(spikes)):
                    of = spikes[s]
                    _gather(
                        of.address + b * of.of_sequence + (start + t) * of.of_tick, of.size, words, sources.word[s],
                        longest + t,
                    )  # fmt: skip
            words[:, longest + n : longest + whole] = _ZERO
            if timed:
                for t in range(longest, longest + whole, BLOCK):
                    _tally_all(tables.delayed, flat, stride, t, values, t, stride)
            for block in range(0, n, BLOCK):
                lanes = min(BLOCK, n - block)
                for w in range(len(words)):
                    _total(words, w, longest + block, totals)
                for p in range(len(active)):
                    of = active[p]
                    address = of.address + b * of.of_sequence + (start + block) * of.of_tick
                    for w in range(of.size):
                        row = acting[of.first + w]
                        for i in range(lanes):
                            row[i] = word_at(address + 8 * w + i * of.of_tick)
                        for i in range(lanes, BLOCK):
                            row[i] = _ZERO
                        _total(acting, of.first + w, 0, acted_totals)
                if timed:
                    _time_block(
                        lanes, longest + block, tables, parts, words, acting, values, stride, meters, of_program,
                        first_cores, known, scratch, spent, b,
                    )  # fmt: skip
            if start + n == length:
                _late(words, longest + n, sources, after)
            for w in range(len(words)):
                for t in range(longest):
                    words[w, t] = words[w, t + n]
            if timed:
                for s in range(len(tables.delayed.starts) - 1):
                    for t in range(s * stride, s * stride + longest):
                        values[t] = values[t + n]
        recent[b] = words[:, :longest]
    for s in range(len(spikes)):
        of = spikes[s]
        for j in range(of.size):
            planes = totals[sources.word[s] + j // LINE]
            number = np.int64(0)
            for p in range(PLANES):
                number |= np.int64((planes[p] >> np.uint64(j % LINE)) & _ONE) << p
            fired[of.first + j] += number
    if known:
        for c in range(len(acted)):
            for part in range(parts.starts[c], parts.starts[c + 1]):
                for p in range(PLANES):
                    acted[c] += np.int64(bits_of(acted_totals[parts.word[part], p] & parts.mask[part])) << p


@njit(nogil=True)
def sum_rows(times, rows, total):  # type: ignore[no-untyped-def]
    """Add each of the `rows`, times a whole number, to `total`."""
    for j in range(len(times)):
        if times[j]:
            for c in range(len(total)):
                total[c] += times[j] * rows[j, c]
