"""The loops that count what spikes cause in each tick, a sequence and a tick at a time.

What a spike causes on the cores is a row of numbers that depends on the program alone (`plan.Plan`). Most neurons of a
population share their row. So the spikes of a tick are counted by rows first, and each row is added once. Counts are
float64: they are whole numbers far below 2^53, so they are exact.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.cpython.unsafe import numbers
from numba.extending import intrinsic

from muspike.hardware.simulator.kernels import LINE, borrowed
from muspike.jit import njit

Array = npt.NDArray[Any]

_ONE = np.uint64(1)
_trailing_zeros: Any = numbers.trailing_zeros  # its type is for calls from Python, which nobody can make

WHERE = np.dtype([(name, np.int64) for name in ("address", "of_sequence", "of_tick", "size", "first")])
"""Where the spikes of a population lie, or its words of active neurons.

`address` is that of the first tick of the first sequence; `of_sequence` and `of_tick` are bytes from one to the next;
`size` is how many spikes or words a tick has; `first` is the place of the population's first one among all of them.
"""
GROUP = np.dtype([(name, np.int64) for name in ("delay", "classes", "rows")])
"""Numbers that spikes of one population add in one tick. `classes` is where the class of each neuron begins among all
classes, or -1 if all neurons are of one class; `rows` is where the rows of the classes begin."""


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


byte_at: Any = intrinsic(_loading(types.uint8))
word_at: Any = intrinsic(_loading(types.uint64))
gathered_at: Any = intrinsic(_gathering)
bits_of: Any = intrinsic(_counting)


@njit(nogil=True)
def _find(address, size, found):  # type: ignore[no-untyped-def]
    """Write the indices of the spikes among the `size` bytes at an address to `found`. Returns how many there are."""
    count = 0
    if size < LINE:
        for j in range(size):
            if byte_at(address + j):
                found[count] = j
                count += 1
        return count
    for line in range(0, size, LINE):
        # The last line ends with the last spike, so nothing behind the array is read.
        over = max(line + LINE - size, 0)
        spiked = gathered_at(address + line - over) >> np.uint64(over)
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
            words[of.first + i] = word_at(address + 8 * i)
    for c in range(len(cells)):
        n = 0
        for part in range(np.uint64(active.starts[c]), np.uint64(active.starts[c + 1])):
            n += bits_of(words[np.uint64(active.word[part])] & active.mask[part])
        cells[c] = n


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
