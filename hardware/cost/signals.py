"""What the counts of a core in a tick are made of, as tables for the loops in `cost.ticks`.

Neurons whose spikes bring the same are a class. How many of a class spiked in a tick is a signal, and so is how many
updates of a core were active. A count of a core in a tick is a sum of signals, now or some ticks ago, each times a
number that depends on the program alone. A signal is found by counting bits in words of spikes.

Some sources have nearly as many classes as neurons. What their spikes bring is added row by row instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware.cost import ticks
from muspike.hardware.cost.plan import Group, Plan

Array = npt.NDArray[Any]

WORD = 64  # bits
_WORTH_ROWS = 8  # so many neurons are worth a part of a class: bits are counted faster than spikes are found
_DELAYED, _SPIKING, _ADDED = range(3)  # kinds of signals
_LANES = 8  # rows of numbers have a whole number of these


class _Parts:
    """Signals: each a list of words, and of the bits that count."""

    def __init__(self) -> None:
        self._known: dict[bytes, int] = {}
        self.word: list[Array] = []
        self.mask: list[Array] = []

    def add(self, word: Array, mask: Array) -> int:
        """The index of a signal; the words rise."""
        key = word.tobytes() + mask.tobytes()
        if key not in self._known:
            self._known[key] = len(self.word)
            self.word.append(word)
            self.mask.append(mask)
        return self._known[key]

    def __len__(self) -> int:
        return len(self.word)

    def joined(self) -> ticks.Parts:
        starts = np.concatenate([[0], np.cumsum([len(word) for word in self.word])])
        return ticks.Parts(
            starts.astype(np.int64),
            np.concatenate([np.zeros(0, np.int64), *self.word]).astype(np.int64),
            np.concatenate([np.zeros(0, np.uint64), *self.mask]).astype(np.uint64),
        )


def first_words(sizes: Sequence[int]) -> Array:
    """Where the words of each population begin if each begins at a new word, and the number of all words."""
    return np.concatenate([[0], np.cumsum([-(-size // WORD) for size in sizes])]).astype(np.int64)


def as_parts(first: int, classes: Array) -> list[tuple[Array, Array]]:
    """The words and bits of each class.

    Args:
        first: the first word of the population.
        classes: the class of each neuron; those below 0 have none.
    """
    neuron = np.flatnonzero(classes >= 0)
    if not len(neuron):
        return []
    of, words = classes[neuron].astype(np.int64), first + neuron // WORD
    order = np.argsort(of, kind="stable")
    neuron, of, words = neuron[order], of[order], words[order]
    starts = np.flatnonzero((np.diff(of, prepend=-1) != 0) | (np.diff(words, prepend=-1) != 0))
    bits = np.left_shift(np.uint64(1), (neuron % WORD).astype(np.uint64))
    masks = np.bitwise_or.reduceat(bits, starts)
    part_of, part_word = of[starts], words[starts]
    ends = np.searchsorted(part_of, np.arange(int(part_of[-1]) + 1), side="right")
    begins = np.concatenate([[0], ends[:-1]])
    return [(part_word[a:b], masks[a:b]) for a, b in zip(begins, ends, strict=True)]


def compact(rows: Array) -> Array:
    """Whole numbers in as few bytes as hold them, each row a whole number of lanes."""
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % _LANES)))
    return np.ascontiguousarray(padded.astype(np.uint16 if rows.max(initial=0) < 1 << 16 else np.int64))


def tables(plan: Plan, names: Sequence[Sequence[str]], meters: ticks.Meters, known: bool) -> ticks.Tables:
    """The tables for the counts that the meters of each program price.

    Args:
        plan: the network on its cores.
        names: of each program, the rows of counts that are needed.
        meters: the prices of all meters.
        known: whether active updates are known; else every update counts.
    """
    firsts = first_words([source.population.size for source in plan.sources])
    delayed, spiking = _Parts(), _Parts()
    terms: list[tuple[int, int, int, int, int, float]] = []  # column, row, kind of signal, signal, delay, number
    scanned: dict[tuple[int, int], list[list[tuple[int, int]]]] = {}  # by the same: their columns and rows of counts
    scans: dict[tuple[int, int], list[tuple[Array, Array]]] = {}  # by source and delay: classes and rows

    def bring(group: Group, name: str, m: int, rows: Array) -> None:
        """Rows of a group on the cores of one program, `[classes, columns]`."""
        column, row = plan.columns[m], plan.row(name)
        used = np.flatnonzero(rows.any(0))
        if not len(used):
            return
        source = plan.sources[group.source]
        size, first = source.population.size, int(firsts[group.source])
        if group.classes is None:
            classes, of_class = np.zeros(size, np.int64), rows[:, used]
        else:
            classes, of_class = group.classes, rows[:, used]
            if len(rows) <= size // _WORTH_ROWS:  # else there is hardly a class of several neurons
                of_class, inverse = np.unique(of_class, axis=0, return_inverse=True)
                classes = inverse.ravel()[classes]
        heard: Array = np.asarray(of_class.any(1))
        classes = np.where(heard[classes], classes, -1)
        parts = as_parts(first, classes)
        if sum(len(word) for word, _ in parts) <= size // _WORTH_ROWS + _WORTH_ROWS:
            for (word, mask), numbers in zip(parts, of_class, strict=False):
                if len(word):
                    signal = delayed.add(word, mask)
                    terms.extend(
                        (column.start + int(c), row, _DELAYED, signal, group.delay, float(n))
                        for c, n in zip(used, numbers, strict=True)
                        if n
                    )
            return
        scans.setdefault((group.source, group.delay), []).append((classes, of_class))
        scanned.setdefault((group.source, group.delay), []).append([(column.start + int(c), row) for c in used])

    for group in plan.groups:
        for m, column in enumerate(plan.columns):
            if group.touches[m] in names[m]:
                bring(group, group.touches[m], m, group.touched[:, column])
            if group.arrives in names[m]:
                bring(group, group.arrives, m, group.arriving[:, column].astype(np.int64))

    bounds: list[tuple[int, int, int, int, int, float]] = []  # the most that rows can add, as terms
    scan, pools, class_at = [], [], []
    so_far = classes_so_far = rows_so_far = most = 0
    for (source, delay), of in sorted(scans.items()):
        size = plan.sources[source].population.size
        # Neurons that are alike in all of them are one class.
        joined = np.zeros(size, np.int64)
        for classes, numbers in of:
            _, joined = np.unique(joined * (len(numbers) + 1) + classes + 1, return_inverse=True)
        firsts_of = np.unique(joined, return_index=True)[1]
        rows = np.concatenate(
            [
                np.where(classes[firsts_of, None] >= 0, numbers[classes[firsts_of]], 0).astype(np.int64)
                for classes, numbers in of
            ],
            axis=1,
        )
        at, all_of = so_far, delayed.add(*as_parts(int(firsts[source]), np.zeros(size, np.int64))[0])
        for part in scanned[source, delay]:
            terms += [(c, row, _ADDED, at + i, 0, 1.0) for i, (c, row) in enumerate(part)]
            most_of = rows[:, at - so_far : at - so_far + len(part)].max(0)
            bounds += [(c, row, _DELAYED, all_of, delay, float(n)) for (c, row), n in zip(part, most_of, strict=True)]
            at += len(part)
        compact_rows = compact(rows)
        pools.append(compact_rows)
        class_at.append(joined.astype(np.int32))
        scan.append(
            (delay, firsts[source], firsts[source + 1], classes_so_far, rows_so_far, so_far, compact_rows.shape[1])
        )
        most = max(most, int(compact_rows.max(initial=0)) * size)
        classes_so_far += size
        rows_so_far += compact_rows.size
        so_far += compact_rows.shape[1]
    kind = np.int64 if any(of.dtype == np.int64 for of in pools) else np.uint16
    width = so_far

    constants = np.zeros((len(plan.names), plan.width))
    for m, column in enumerate(plan.columns):
        if "neuron_updates" in names[m]:
            constants[plan.row("neuron_updates"), column] = plan.updates[column]
        if "active_updates" in names[m] and not known:
            constants[plan.row("active_updates"), column] = plan.updates[column]
        for name in ("neuron_spikes", "messages_out"):
            if name in names[m]:
                for c, (word, mask), number in _sent(plan, m, firsts, name):
                    signal = spiking.add(word, mask)
                    terms.append((c, plan.row(name), _SPIKING, signal, 0, float(number)))

    terms.sort()
    kept = [_kept(plan, m, names[m], terms, constants, known) for m in range(len(plan.programs))]
    senders = [_senders(plan, m, firsts) if "messages_out" in names[m] else [] for m in range(len(plan.programs))]
    stride, block = plan.depth - 1 + ticks.CHUNK, ticks.BLOCK
    begins = {_DELAYED: 0, _SPIKING: len(delayed) * stride}
    begins[_ADDED] = begins[_SPIKING] + len(spiking) * block

    def place(kind: int, signal: int, delay: int) -> int:
        return begins[kind] + signal * (stride if kind == _DELAYED else block) - delay

    row = np.array([c * len(plan.names) + r for c, r, *_ in terms], np.int64)
    return ticks.Tables(
        delayed=delayed.joined(),
        spiking=spiking.joined(),
        starts=np.searchsorted(row, np.arange(plan.width * len(plan.names) + 1)).astype(np.int64),
        offset=np.array([place(kind, signal, delay) for _, _, kind, signal, delay, _ in terms], np.int64),
        moving=np.array([kind == _DELAYED for _, _, kind, *_ in terms], np.int64),
        number=np.array([n for *_, n in terms], np.float64),
        constants=constants,
        scan=np.array(scan, ticks.SCAN),
        classes=np.concatenate([np.zeros(0, np.int32), *class_at]),
        rows=np.concatenate([np.zeros(0, kind), *(of.astype(kind).ravel() for of in pools)]),
        added=np.zeros((ticks.BLOCK, width), np.int32 if most < 1 << 31 else np.int64),
        kept_starts=np.concatenate([[0], np.cumsum([len(of) for of in kept])]).astype(np.int64),
        kept=np.concatenate([np.zeros(0, np.int64), *kept]).astype(np.int64),
        senders=ticks.Parts(
            np.concatenate([[0], np.cumsum([len(of) for of in senders])]).astype(np.int64),
            np.array([word for of in senders for word, _ in of], np.int64),
            np.array([mask for of in senders for _, mask in of], np.uint64),
        ),
        rough=_roughly(plan, meters, terms, bounds, constants, known, place),
        active=np.array([plan.row("active_updates") if known and any("active_updates" in of for of in names) else -1]),
    )


def _roughly(
    plan: Plan,
    meters: ticks.Meters,
    terms: list[tuple[int, int, int, int, int, float]],
    bounds: list[tuple[int, int, int, int, int, float]],
    constants: Array,
    known: bool,
    place: Callable[[int, int, int], int],
) -> ticks.Rough:
    """What the time of each core is made of at the values, where each signal stands once."""
    prices = _prices(plan, meters)  # [2, meters, rows]
    starts: list[int] = [0]
    middle: list[int] = []
    offset: list[int] = []
    moving: list[int] = []
    numbers: list[Array] = []
    by_column: list[tuple[dict[Any, Array], dict[Any, Array]]] = [({}, {}) for _ in range(plan.width)]
    for side, of in enumerate((terms, bounds)):
        for c, row, kind, signal, delay, number in of:
            if kind != _ADDED:
                found = by_column[c][side]
                found[kind, signal, delay] = found.get((kind, signal, delay), 0.0) + number * prices[:, :, row]
    for sure, most in by_column:
        for part in (sure, most):
            for key, in_all in part.items():
                offset.append(place(*key))
                moving.append(key[0] == _DELAYED)
                numbers.append(in_all)
            (middle if part is sure else starts).append(len(offset))
    slack = np.zeros((len(meters.meter), plan.width))
    if known:
        slack += prices[:, :, plan.row("active_updates")].sum(0)[:, None] * plan.updates
    return ticks.Rough(
        starts=np.array(starts, np.int64),
        middle=np.array(middle, np.int64),
        offset=np.array(offset, np.int64),
        moving=np.array(moving, np.int64),
        price=np.ascontiguousarray(np.stack(numbers, axis=-1)) if numbers else np.zeros((2, len(meters.meter), 0)),
        most=np.ascontiguousarray(np.stack(numbers, axis=-1).sum(0)) if numbers else np.zeros((len(meters.meter), 0)),
        constants=prices @ constants,
        slack=slack,
    )


def _prices(plan: Plan, meters: ticks.Meters) -> Array:
    """The prices of each row of counts at the values, `[2, meters, rows]`: of synapses, and of the rest.

    Where a core's time is the sum of both, all are among the first.
    """
    found = np.zeros((2, len(meters.meter), len(plan.names)))
    for k, meter in enumerate(meters.meter):
        for event in meters.event[meter["event"] : meter["event_end"]]:
            apart = bool(meter["side_by_side"]) and event["group"] != ticks.SYNAPSES
            found[int(apart), k, event["row"]] += event["value"]
    return found


def _messages(plan: Plan, m: int, s: int) -> Array:
    """The messages of a spike of each neuron of a source in program `m`."""
    source = plan.sources[s]
    per_class = source.reached.rows[:, plan.columns[m]].sum(1)
    if source.reached.classes is None:
        return np.broadcast_to(per_class[0], (source.population.size,))
    return np.asarray(per_class[source.reached.classes])


def _sent(plan: Plan, m: int, firsts: Array, name: str) -> list[tuple[int, tuple[Array, Array], int]]:
    """What spikes are on their own cores: column, the neurons, and how much of the row each of their spikes is."""
    found: dict[tuple[int, int], list[tuple[Array, Array]]] = {}
    for s, source in enumerate(plan.sources):
        if source.population.kind != "lif":
            continue
        number = np.ones(source.population.size, np.int64) if name == "neuron_spikes" else _messages(plan, m, s)
        pairs = np.stack([plan.core_columns(source.population.name)[m], number], axis=1)
        kinds, classes = np.unique(pairs, axis=0, return_inverse=True)
        for (c, n), part in zip(kinds, as_parts(int(firsts[s]), classes.ravel()), strict=True):
            if n:
                found.setdefault((int(c), int(n)), []).append(part)
    joined = ((np.concatenate([w for w, _ in of]), np.concatenate([b for _, b in of])) for of in found.values())
    return [(c, part, n) for (c, n), part in zip(found, joined, strict=True)]


def _senders(plan: Plan, m: int, firsts: Array) -> list[tuple[int, int]]:
    """The words and bits of the neurons whose spikes are messages in program `m`."""
    found = []
    for s, source in enumerate(plan.sources):
        if source.population.kind == "lif":
            for word, mask in as_parts(int(firsts[s]), np.where(_messages(plan, m, s) > 0, 0, -1)):
                found += list(zip(word.tolist(), mask.tolist(), strict=True))
    return found


def _kept(plan: Plan, m: int, names: Sequence[str], terms: list[Any], constants: Array, known: bool) -> Array:
    """The columns of program `m`, without those that are never slower than one before them, whatever the prices."""
    column, rows = plan.columns[m], sorted({plan.row(name) for name in names if name in plan.names})
    of_terms: dict[int, dict[Any, float]] = {c: {} for c in range(column.start, column.stop)}
    for c, row, kind, signal, delay, number in terms:
        if c in of_terms:
            key = row, kind, signal, delay
            of_terms[c][key] = of_terms[c].get(key, 0.0) + number
    kept: list[int] = []
    by_signals: dict[Any, list[int]] = {}
    for c in range(column.start, column.stop):
        alike = by_signals.setdefault(frozenset(of_terms[c]), [])
        counted = known and "active_updates" in names and plan.updates[c] > 0  # in each tick, by no term
        below = not counted and any(
            all(of_terms[c][key] <= of_terms[other][key] for key in of_terms[c])
            and all(constants[row, c] <= constants[row, other] for row in rows)
            for other in alike
        )
        if not below:
            kept.append(c)
            alike.append(c)
    return np.array(kept, np.int64)
