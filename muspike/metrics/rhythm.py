"""Rhythm metrics on `Grid`: MusPy's (Dong et al., ISMIR 2020, version 0.5.0), mgeval's (Yang & Lerch 2020), MusDr's.

Beats are quarters and bars are 16 sixteenths. Both are counted from tick 0, whatever the written metre is: MusPy's
definitions know only one length of bar, and values for bars of different lengths cannot be compared. For a piece in
another metre, pass its own `positions_per_bar` (12 for 3/4). `groove_consistency_by_bar` alone uses the written bars.

As in MusPy, there are `length // positions + 1` beats or bars: a piece that ends on a bar line has one more bar after
it. A note touches every beat or bar from its onset to its end. This includes a beat or bar that starts where the note
ends.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import POSITIONS_PER_BAR, POSITIONS_PER_BEAT, Grid, on_grid
from muspike.midi import Score

NOTE_LENGTHS = {
    "whole": 96,
    "half": 48,
    "quarter": 24,
    "eighth": 12,
    "sixteenth": 6,
    "dotted half": 72,
    "dotted quarter": 36,
    "dotted eighth": 18,
    "dotted sixteenth": 9,
    "half triplet": 32,
    "quarter triplet": 16,
    "eighth triplet": 8,
}
"""Classes of `note_length_histogram` in mgeval's order, in 96ths of a whole note."""

_CLASS_LENGTHS = np.array(list(NOTE_LENGTHS.values()))
# The class nearest to each length from 0 to a whole note, in sixteenths.
_NEAREST = np.abs(
    np.arange(POSITIONS_PER_BAR + 1)[:, None] * (NOTE_LENGTHS["whole"] // POSITIONS_PER_BAR) - _CLASS_LENGTHS
).argmin(axis=1)


def note_count(music: Score | Grid) -> int:
    """Number of notes in all pitched tracks. mgeval `total_used_note`."""
    return len(on_grid(music))


def empty_beat_rate(music: Score | Grid) -> float:
    """Share of the beats that no note touches; nan if the piece has length 0. MusPy `empty_beat_rate`."""
    return _empty_rate(on_grid(music), POSITIONS_PER_BEAT)


def empty_measure_rate(music: Score | Grid, positions_per_bar: int = POSITIONS_PER_BAR) -> float:
    """Share of the bars that no note touches; nan if the piece has length 0. MusPy `empty_measure_rate`."""
    return _empty_rate(on_grid(music), positions_per_bar)


def groove_consistency(music: Score | Grid, positions_per_bar: int = POSITIONS_PER_BAR) -> float:
    """1 minus the mean normalised Hamming distance between the onset patterns of neighbouring bars.

    The result is nan if there are fewer than two bars. Only values with the same `positions_per_bar` can be compared.
    MusPy `groove_consistency` (after Wu & Yang, "The Jazz Transformer on the Front Line", ISMIR 2020).

    Equal bars do not always give 1, as in MusPy: a piece that ends on a bar line is compared with the silence after it,
    and a piece in 3/4 is cut into bars of 4/4. `groove_consistency_by_bar` does without both.
    """
    grid = on_grid(music)
    n_bars = grid.length // positions_per_bar + 1
    if n_bars < 2:
        return math.nan
    n_different = _differences(grid.onset, positions_per_bar, positions_per_bar * (n_bars - 1))
    return float(1 - n_different / (positions_per_bar * (n_bars - 1)))


@njit
def _differences(onset: NDArray[np.int64], positions: int, last_bar: int) -> int:
    """How many onsets have no equal in the bar after theirs, or in the bar before. `last_bar` is where the last begins.

    Onsets ascend; equal ones count once.
    """
    later = count = 0
    for i in range(len(onset)):
        if i and onset[i] == onset[i - 1]:
            continue
        if onset[i] < last_bar:
            while later < len(onset) and onset[later] < onset[i] + positions:
                later += 1
            # Alone here counts for this bar and the next; a pair is one onset less in each of both.
            count += 1
            if later < len(onset) and onset[later] == onset[i] + positions:
                count -= 2
        if onset[i] >= positions:
            count += 1
    return count


def grooving_similarity(music: Score | Grid) -> float:
    """1 minus the mean normalised Hamming distance of the onset patterns of all pairs of bars, at 16 positions per bar.

    Bars are counted from the bar of the first onset to that of the last. The result is nan if that is one bar. This is
    the grooving pattern similarity GS of MusDr (Wu & Yang, "The Jazz Transformer on the Front Line", ISMIR 2020). MusDr
    has 64 positions per bar, and draws 1,000 pairs at random if a piece has more.
    """
    onset = on_grid(music).onset
    if not len(onset):
        return math.nan
    n_bars = int(onset[-1] // POSITIONS_PER_BAR - onset[0] // POSITIONS_PER_BAR + 1)
    if n_bars < 2:
        return math.nan
    first = np.append(True, onset[1:] != onset[:-1])
    # A position that k of n bars have is different in k (n - k) pairs.
    count = np.bincount(onset[first] % POSITIONS_PER_BAR, minlength=POSITIONS_PER_BAR).astype(np.float64)
    n_different = (count * (n_bars - count)).sum()
    return float(1 - n_different / (POSITIONS_PER_BAR * n_bars * (n_bars - 1) / 2))


def inter_onset_interval(music: Score | Grid) -> float:
    """Mean time from each onset to the next one in beats; nan if there are fewer than two notes.

    Notes that begin together are 0 beats apart. This is mgeval's `avg_IOI` in beats instead of seconds, without drums.
    """
    onset = on_grid(music).onset
    return float((onset[-1] - onset[0]) / (len(onset) - 1) / POSITIONS_PER_BEAT) if len(onset) > 1 else math.nan


DRUM_POSITIONS = 24
"""Positions per beat of `drum_pattern_consistency`: MusPy's own, which halves, quarters and thirds of a beat divide."""


def drum_pattern_consistency(music: Score | Grid) -> float:
    """Share of the drum notes that begin in the better one of two patterns; nan if there are no drum notes.

    The patterns are the quarters of a beat (duple) and its thirds (triple). This is MusPy's `drum_pattern_consistency`
    (after Dong et al., "MuseGAN", AAAI 2018) at 24 positions per beat. At four positions per beat, every note would be
    in the duple pattern.
    """
    score = on_grid(music).score
    if not any(track.is_drum for track in score.tracks):
        return math.nan
    is_drum = np.array([track.is_drum for track in score.tracks])
    onset = score.notes["onset"][is_drum[score.notes["track"]]]
    if not len(onset):
        return math.nan
    position = np.rint(onset * (DRUM_POSITIONS / score.ticks_per_beat)).astype(np.int64) % DRUM_POSITIONS
    return float(max((position % (DRUM_POSITIONS // parts) == 0).mean() for parts in (4, 3)))


def groove_consistency_by_bar(music: Score | Grid) -> float:
    """As `groove_consistency`, but over the bars that the piece writes, from its first onset's to its last onset's.

    Equal bars give exactly 1, in any metre. A bar starts at each bar line of the time signatures (4/4 before the
    first), and a time signature inside a bar ends that bar. Onsets are rounded to sixteenths from the bar line. The
    distance of two bars is divided by the number of sixteenths in the longer one. The result is nan if all onsets lie
    in one bar, or if there are none. This metric is our own.
    """
    grid = on_grid(music)
    bars = _Bars(grid.score)
    bar, position = bars.of(grid.score.pitched_notes["onset"].astype(np.int64))
    if not len(bar) or bar.min() == bar.max():
        return math.nan
    first, last = int(bar.min()), int(bar.max())
    longest = int(position.max()) + 1
    onsets = np.unique(bar * longest + position)
    earlier, later = onsets[onsets < last * longest], onsets[onsets >= (first + 1) * longest] - longest
    before = np.setxor1d(earlier, later, assume_unique=True) // longest  # the earlier bar of each difference
    sixteenths = np.maximum(bars.sixteenths(before), bars.sixteenths(before + 1))
    return float(1 - (1 / sixteenths).sum() / (last - first))


class _Bars:
    """The bars that a score writes, counted from tick 0. No bar is made one by one, however many there are."""

    def __init__(self, score: Score) -> None:
        metres = score.time_signatures
        self._ticks_per_beat = score.ticks_per_beat
        self._tick = np.concatenate(([0], metres["tick"])).astype(np.int64)  # 4/4 holds before the first
        self._unit = np.concatenate(([4], metres["denominator"])).astype(np.int64)
        # Of a bar, in ticks / unit: so that no bar line is rounded.
        self._length = 4 * score.ticks_per_beat * np.concatenate(([4], metres["numerator"])).astype(np.int64)
        lasting = np.diff(self._tick) * self._unit[:-1]  # ticks / unit that each metre but the last holds for
        self._cut = np.append(lasting % self._length[:-1], 0)  # of its last bar; 0: it is whole
        self._first = np.concatenate(([0], np.cumsum(-(-lasting // self._length[:-1]))))  # bar of each metre

    def of(self, ticks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The bar of each of `ticks`, and the sixteenth in it: the nearest, or the next bar line if that is nearer."""
        metre = np.searchsorted(self._tick, ticks, side="right") - 1
        whole, rest = np.divmod((ticks - self._tick[metre]) * self._unit[metre], self._length[metre])
        bar, half = self._first[metre] + whole, self._unit[metre] * self._ticks_per_beat
        position = (8 * rest + half) // (2 * half)
        after = 4 * (self._lengths(bar) - rest) <= np.abs(4 * rest - position * half)
        return bar + after, np.where(after, 0, position)

    def sixteenths(self, bar: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many sixteenths each of these bars has, a broken one included."""
        return -(-4 * self._lengths(bar) // (self._unit[self._metres(bar)] * self._ticks_per_beat))

    def _lengths(self, bar: NDArray[np.int64]) -> NDArray[np.int64]:
        """The length of each of these bars, in ticks / unit."""
        metre = self._metres(bar)
        is_last = np.append(self._first[1:], -1)[metre] == bar + 1
        return np.where(is_last & (self._cut[metre] > 0), self._cut[metre], self._length[metre])

    def _metres(self, bar: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._first, bar, side="right") - 1


def note_length_histogram(music: Score | Grid) -> NDArray[np.float64]:
    """Share of the notes in each class of `NOTE_LENGTHS`, `[12]`; nan if there are no notes.

    A note belongs to the nearest class; of two equally near classes, to the earlier one. This is mgeval's
    `note_length_hist` (Yang & Lerch 2020) with a bar of 4/4 and without rests.
    """
    grid = on_grid(music)
    if not len(grid):
        return np.full(len(_CLASS_LENGTHS), math.nan)
    return np.bincount(_length_classes(grid), minlength=len(_CLASS_LENGTHS)) / len(grid)


def note_length_transition_matrix(music: Score | Grid) -> NDArray[np.float64]:
    """Share of each transition between the classes of `NOTE_LENGTHS` among all, `[12, 12]`: [from, to].

    A transition leads from a note to the next one of its track. Notes follow each other by onset, and those of one
    onset from the highest down. The result is nan if no track has two notes. This is mgeval's
    `note_length_transition_matrix(normalize=2)` with a bar of 4/4 and without rests, summed over the tracks; mgeval
    reads one track, and leaves the order within an onset to the file.
    """
    grid = on_grid(music)
    by_track = np.argsort(grid.track, kind="stable")
    classes, track = _length_classes(grid)[by_track], grid.track[by_track]
    size = len(_CLASS_LENGTHS)
    follows = track[1:] == track[:-1]
    counts = np.bincount(classes[:-1][follows] * size + classes[1:][follows], minlength=size**2).reshape(size, size)
    total = counts.sum()
    return counts / total if total else np.full((size, size), math.nan)


def _length_classes(grid: Grid) -> NDArray[np.int64]:
    """The number of each note's class of `NOTE_LENGTHS`."""
    # What is longer than a whole note is nearest to it.
    classes: NDArray[np.int64] = _NEAREST[np.minimum(grid.end - grid.onset, POSITIONS_PER_BAR)]
    return classes


def _empty_rate(grid: Grid, positions: int) -> float:
    if grid.length < 1:
        return math.nan
    n_spans = grid.length // positions + 1
    return float((n_spans - _touched(grid.onset, grid.end, positions)) / n_spans)


@njit
def _touched(onset: NDArray[np.int64], end: NDArray[np.int64], positions: int) -> int:
    """How many stretches of `positions` a note touches. Onsets ascend."""
    count, reached = 0, -1
    for i in range(len(onset)):
        first, last = onset[i] // positions, end[i] // positions
        count += max(last - max(first - 1, reached), 0)
        reached = max(reached, last)
    return count
