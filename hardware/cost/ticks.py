"""The loops that count a run as it comes and time its ticks, a block of ticks at a time.

Spikes are kept as words of bits, `[words, ticks]`. Totals are counted bit by bit over many ticks at once. For times, the
counts of a core in the ticks of a block lie side by side, so that a core costs a few vector operations for each price
(`signals.tables`). Counts are whole numbers far below 2^53, so they are exact in float64.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba.cpython.unsafe import numbers

from muspike.hardware.cost.kernels import bits_of, byte_at, gathered_at, word_at
from muspike.hardware.simulator.kernels import LINE, borrowed
from muspike.jit import njit

Array = npt.NDArray[Any]

BLOCK = 16
"""Ticks that are timed at once."""
CHUNK = 256
"""Ticks whose spikes are at hand at once, beside those whose spikes are still on their way. A whole number of blocks."""
PLANES = 44
"""Bits of a total."""
_ONE = np.uint64(1)
_ZERO = np.uint64(0)
_trailing_zeros: Any = numbers.trailing_zeros  # its type is for calls from Python, which nobody can make

DELAYED, SPIKING, ACTIVE = range(3)
"""What a term counts: a class of neurons some ticks ago; spikes, or active updates, in the tick itself."""
TERM = np.dtype(
    [(name, np.int64) for name in ("column", "row", "kind", "signal", "delay")] + [("number", np.float64)]
)
"""A signal times a number, which is added to a count."""
CELL = np.dtype([(name, np.int64) for name in ("column", "row", "at")])
"""A count to which the rows of single neurons add, and its place in `Tables.added`."""
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
    + [("one_by_one", np.int64)]
)
"""A price list on the cores of one mapping: its columns of the counts, its events and cases, whether synapses and
neurons work side by side, whether messages take time, whether there is a floor, and whether there are cases of single
events."""

# The rows of what is known of the slowest core so far: its time and parts, then the times in other cases.
_BUSY, _SYNAPSES, _NEURONS, _SPIKES, _LOW, _HIGH, _FEWEST, _EVENTS = range(8)


class Parts(NamedTuple):
    """Signals: the parts of signal s are `starts[s]` to `starts[s + 1]`, each some bits of a word."""

    starts: Array  # int64 [signals + 1]
    word: Array  # int64 [parts]
    mask: Array  # uint64 [parts]


class Tables(NamedTuple):
    """What the counts of each column in a tick are made of."""

    delayed: Parts  # classes of neurons, by words of spikes
    spiking: Parts  # spikes on a core, by words of spikes
    acting: Parts  # active updates on a core, by words of active updates
    term_starts: Array  # int64 [columns + 1]
    term: Array  # TERM
    cell_starts: Array  # int64 [columns + 1]
    cell: Array  # CELL
    constants: Array  # float64 [rows, columns]: what is counted in every tick
    scan: Array  # SCAN
    classes: Array  # int32
    rows: Array  # whole numbers
    added: Array  # whole numbers [BLOCK, places], scratch
    kept_starts: Array  # int64 [programs + 1]
    kept: Array  # int64: the columns of each program that can be the slowest
    senders: Parts  # of each program, the neurons whose spikes are messages


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
    """What a thread needs to time blocks."""

    counts: Array  # float64 [rows, BLOCK]: of a core
    peaks: Array  # float64 [meters, 7 + 2 x events, BLOCK]: of the slowest core so far, by case
    slowest: Array  # int64 [meters, BLOCK]: its column
    times: Array  # float64 [8, BLOCK]


def scratch(rows: int, meters: Meters) -> Scratch:
    """Scratch for some meters and as many rows of counts."""
    events = (meters.meter["event_end"] - meters.meter["event"]).max(initial=0)
    n = len(meters.meter)
    return Scratch(
        np.zeros((rows, BLOCK)),
        np.zeros((n, _EVENTS + 2 * int(events), BLOCK)),
        np.zeros((n, BLOCK), np.int64),
        np.zeros((8, BLOCK)),
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
    now = len(tables.spiking.starts) + len(tables.acting.starts) - 2
    return (
        np.zeros((words, longest + CHUNK), np.uint64),
        np.zeros((len(tables.delayed.starts) - 1, longest + CHUNK), np.float32),
        np.zeros((now, BLOCK)),
        np.zeros((active, BLOCK), np.uint64),
        np.zeros((words, PLANES), np.uint64),
        np.zeros((active, PLANES), np.uint64),
    )


@njit(nogil=True)
def _time_column(x, column, meter, events, known, peaks, slowest, times):  # type: ignore[no-untyped-def]
    """Time a core in the ticks of a block, and keep the times of the slowest core so far in each case.

    `x` has its counts, float64 `[rows, BLOCK]`. Of cores that are equally slow, the first one is kept.
    """
    times[:, :] = 0.0
    for e in range(meter.event, meter.event_end):
        event = events[e]
        count = x[event.row]
        least = count if known else x[event.least]
        beside = event.group != SYNAPSES
        value, low, high = times[event.group], times[3 + beside], times[5 + beside]
        price, low_price, high_price = event.value, event.low, event.high
        for i in range(BLOCK):
            value[i] += price * count[i]
            low[i] += low_price * least[i]
            high[i] += high_price * count[i]
    synapses, neurons, spikes, others = times[0], times[1], times[2], times[7]
    best, best_synapses, best_neurons, best_spikes = (
        peaks[_BUSY], peaks[_SYNAPSES], peaks[_NEURONS], peaks[_SPIKES]
    )  # fmt: skip
    lowest, highest = peaks[_LOW], peaks[_HIGH]
    if meter.side_by_side:
        for i in range(BLOCK):
            others[i] = neurons[i] + spikes[i]
            ahead = synapses[i] > others[i]
            time = synapses[i] if ahead else others[i]
            more = time > best[i]
            best[i] = time if more else best[i]
            slowest[i] = column if more else slowest[i]
            best_synapses[i] = (synapses[i] if ahead else 0.0) if more else best_synapses[i]
            best_neurons[i] = (0.0 if ahead else neurons[i]) if more else best_neurons[i]
            best_spikes[i] = (0.0 if ahead else spikes[i]) if more else best_spikes[i]
        for i in range(BLOCK):
            low = max(times[3, i], times[4, i])
            lowest[i] = max(lowest[i], low)
            high = max(times[5, i], times[6, i])
            highest[i] = max(highest[i], high)
    else:
        for i in range(BLOCK):
            time = synapses[i] + neurons[i] + spikes[i]
            others[i] = time
            more = time > best[i]
            best[i] = time if more else best[i]
            slowest[i] = column if more else slowest[i]
            best_synapses[i] = synapses[i] if more else best_synapses[i]
            best_neurons[i] = neurons[i] if more else best_neurons[i]
            best_spikes[i] = spikes[i] if more else best_spikes[i]
        for i in range(BLOCK):
            lowest[i] = max(lowest[i], times[3, i] + times[4, i])
            highest[i] = max(highest[i], times[5, i] + times[6, i])
    if not meter.one_by_one:
        return
    for e in range(meter.event, meter.event_end):
        event = events[e]
        count = x[event.row]
        at = _EVENTS + 2 * (e - meter.event)
        down, up = peaks[at], peaks[at + 1]
        to_low, to_high = event.to_low, event.to_high
        if not meter.side_by_side:
            for i in range(BLOCK):
                down[i] = max(down[i], others[i] + to_low * count[i])
                up[i] = max(up[i], others[i] + to_high * count[i])
        else:
            changed = synapses if event.group == SYNAPSES else others
            beside_it = others if event.group == SYNAPSES else synapses
            for i in range(BLOCK):
                down[i] = max(down[i], max(changed[i] + to_low * count[i], beside_it[i]))
                up[i] = max(up[i], max(changed[i] + to_high * count[i], beside_it[i]))
    if not known:
        times[3:5] = 0.0
        for e in range(meter.event, meter.event_end):
            event = events[e]
            least, price = x[event.least], event.value
            part = times[3 + (event.group != SYNAPSES)]
            for i in range(BLOCK):
                part[i] += price * least[i]
        fewest = peaks[_FEWEST]
        for i in range(BLOCK):
            a, b = times[3, i], times[4, i]
            fewest[i] = max(fewest[i], max(a, b) if meter.side_by_side else a + b)


@njit(nogil=True)
def _begin_block(peaks, slowest):  # type: ignore[no-untyped-def]
    peaks[:, :] = 0.0
    peaks[_BUSY] = -1.0
    slowest[:] = 0


@njit(nogil=True, fastmath={"reassoc", "nnan", "nsz"})
def _end_block(lanes, meter, cases, known, sends, first_core, peaks, at, times, sums, longest, waited, slowest):  # type: ignore[no-untyped-def]
    """Add the times of the first `lanes` ticks of a block. `sends` says in which of them there are messages, 0 or 1."""
    time, inside = times[0], times[1]
    for i in range(BLOCK):
        inside[i] = 1.0 if i < lanes else 0.0
    peak = peaks[_BUSY]
    for k in range(meter.case, meter.case_end):
        case = cases[k]
        path = peak
        if case.kind == ONE:
            path = peaks[_EVENTS + 2 * (case.event - meter.event) + (case.end == 2)]
        elif case.kind == ALL:
            path = peaks[_LOW] if case.end == 1 else peaks[_HIGH]
        elif case.kind == FEWEST and not known:
            path = peaks[_FEWEST]
        transit, barrier, floor = case.transit, case.barrier, case.floor
        total, most = 0.0, 0.0
        for i in range(BLOCK):
            taken = path[i] + transit * sends[i] + barrier
            taken = (taken if taken > floor else floor) * inside[i]
            total += taken
            most = taken if taken > most else most
        sums[k] += total
        longest[k] = most if most > longest[k] else longest[k]
    # What the ticks wait for. A tick below the floor waits for the floor, whatever fills a part of it.
    value = cases[meter.case]
    for i in range(lanes):
        s, n, p = peaks[_SYNAPSES, i], peaks[_NEURONS, i], peaks[_SPIKES, i]
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
    x, times = scratch.counts, scratch.times
    meter = meters.meter[0]
    sends = np.zeros(BLOCK)
    for start in range(0, len(ticks), BLOCK):
        lanes = min(BLOCK, len(ticks) - start)
        _begin_block(scratch.peaks[0], scratch.slowest[0])
        for c in range(meter.width):
            for r in range(len(x)):
                for i in range(lanes):
                    x[r, i] = ticks[start + i, r, c]
            _time_column(x, c, meter, meters.event, known, scratch.peaks[0], scratch.slowest[0], times)
        for i in range(lanes):
            sends[i] = ticks[start + i, len(x), 0]
        _end_block(
            lanes, meter, meters.case, known, sends, 0, scratch.peaks[0], scratch.slowest[0], times,
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
def _find_signals(parts, words, begin, end, signals):  # type: ignore[no-untyped-def]
    """Write how many bits of each signal are set in the columns `begin` to `end - 1`."""
    for s in range(len(parts.starts) - 1):
        row = signals[s]
        first = parts.starts[s]
        if parts.starts[s + 1] - first == 1:
            of, mask = words[parts.word[first]], parts.mask[first]
            for t in range(begin, end):
                row[t] = bits_of(of[t] & mask)
            continue
        for t in range(begin, end):
            row[t] = 0
        for part in range(first, parts.starts[s + 1]):
            of, mask = words[parts.word[part]], parts.mask[part]
            for t in range(begin, end):
                row[t] += bits_of(of[t] & mask)


@njit(nogil=True)
def _time_block(  # type: ignore[no-untyped-def]
    lanes, at, tables, words, acting, signals, now, meters, of_program, first_cores, known, scratch, spent, b
):
    """Time the ticks of a block, whose spikes begin at column `at` of `words`, in all meters."""
    x, peaks, slowest = scratch.counts, scratch.peaks, scratch.slowest
    spiking = len(tables.spiking.starts) - 1
    for s in range(spiking):
        row = now[s]
        row[:] = 0.0
        for part in range(tables.spiking.starts[s], tables.spiking.starts[s + 1]):
            of, mask = words[tables.spiking.word[part]], tables.spiking.mask[part]
            for i in range(BLOCK):
                row[i] += bits_of(of[at + i] & mask)
    if known:
        for s in range(len(tables.acting.starts) - 1):
            row = now[spiking + s]
            row[:] = 0.0
            for part in range(tables.acting.starts[s], tables.acting.starts[s + 1]):
                of, mask = acting[tables.acting.word[part]], tables.acting.mask[part]
                for i in range(BLOCK):
                    row[i] += bits_of(of[i] & mask)
    added = tables.added
    if len(tables.scan):
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
    sends = np.zeros(BLOCK)
    for m in range(len(of_program) - 1):
        if of_program[m] == of_program[m + 1]:
            continue
        sends[:] = 0.0
        for part in range(tables.senders.starts[m], tables.senders.starts[m + 1]):
            of, mask = words[tables.senders.word[part]], tables.senders.mask[part]
            for i in range(BLOCK):
                sends[i] = 1.0 if of[at + i] & mask else sends[i]
        for k in range(of_program[m], of_program[m + 1]):
            _begin_block(peaks[k], slowest[k])
        for place in range(tables.kept_starts[m], tables.kept_starts[m + 1]):
            c = tables.kept[place]
            for r in range(len(x)):
                x[r] = tables.constants[r, c]
            for j in range(tables.term_starts[c], tables.term_starts[c + 1]):
                term = tables.term[j]
                number = term.number
                count = x[term.row]
                if term.kind == DELAYED:
                    source = signals[term.signal, at - term.delay : at - term.delay + BLOCK]
                    for i in range(BLOCK):
                        count[i] += number * source[i]
                else:
                    instant = now[term.signal + (spiking if term.kind == ACTIVE else 0)]
                    for i in range(BLOCK):
                        count[i] += number * instant[i]
            for j in range(tables.cell_starts[c], tables.cell_starts[c + 1]):
                cell = tables.cell[j]
                count = x[cell.row]
                for i in range(BLOCK):
                    count[i] += added[i, cell.at]
            for k in range(of_program[m], of_program[m + 1]):
                _time_column(x, c, meters.meter[k], meters.event, known, peaks[k], slowest[k], scratch.times)
        for k in range(of_program[m], of_program[m + 1]):
            _end_block(
                lanes, meters.meter[k], meters.case, known, sends, first_cores[k], peaks[k], slowest[k], scratch.times,
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
    room,  # scratch: words of spikes, signals of classes and of the tick, active updates, and both totals
):
    """Count and time some ticks of the sequences `begin` to `end - 1`, and keep totals only."""
    lengths, spikes, active, of_program, first_cores = borrowed((lengths, spikes, active, of_program, first_cores))
    sources, parts, tables, meters, spent = (
        borrowed(sources), borrowed(parts), borrowed(tables), borrowed(meters), borrowed(spent)
    )  # fmt: skip
    recent, fired, before, after, acted = borrowed((recent, fired, before, after, acted))
    scratch = borrowed(scratch)
    words, signals, now, acting, totals, acted_totals = borrowed(room)
    longest = recent.shape[2]
    known = len(active) > 0
    timed = len(meters.meter) > 0
    for b in range(begin, end):
        words[:, :longest] = recent[b]
        _late(words, longest, sources, before)
        if timed:
            _find_signals(tables.delayed, words, 0, longest, signals)
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
                _find_signals(tables.delayed, words, longest, longest + whole, signals)
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
                        lanes, longest + block, tables, words, acting, signals, now, meters, of_program, first_cores,
                        known, scratch, spent, b,
                    )  # fmt: skip
            if start + n == length:
                _late(words, longest + n, sources, after)
            for w in range(len(words)):
                for t in range(longest):
                    words[w, t] = words[w, t + n]
            if timed:
                for s in range(len(signals)):
                    for t in range(longest):
                        signals[s, t] = signals[s, t + n]
        recent[b] = words[:, :longest]
    for s in range(len(spikes)):
        of = spikes[s]
        for j in range(of.size):
            planes = totals[sources.word[s] + j // LINE]
            number = 0
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
