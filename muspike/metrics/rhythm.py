"""Rhythm metrics on `Grid`: MusPy's (Dong et al., ISMIR 2020, version 0.5.0) and mgeval's (Yang & Lerch 2020).

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
    onsets = np.unique(grid.onset)
    earlier = onsets[onsets < positions_per_bar * (n_bars - 1)]  # all but the last bar's, to compare with
    later = onsets[onsets >= positions_per_bar]  # all but the first bar's
    n_equal = len(np.intersect1d(earlier, later - positions_per_bar, assume_unique=True))
    n_different = len(earlier) + len(later) - 2 * n_equal
    return float(1 - n_different / (positions_per_bar * (n_bars - 1)))


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
    # What is longer than a whole note is nearest to it. So there are few different lengths.
    sixteenths = np.bincount(np.minimum(grid.end - grid.onset, POSITIONS_PER_BAR))
    length = np.arange(len(sixteenths)) * (NOTE_LENGTHS["whole"] // POSITIONS_PER_BAR)
    nearest = np.abs(length[:, None] - _CLASS_LENGTHS).argmin(axis=1)
    return np.bincount(nearest, weights=sixteenths, minlength=len(_CLASS_LENGTHS)) / len(grid)


def _empty_rate(grid: Grid, positions: int) -> float:
    if grid.length < 1:
        return math.nan
    n_spans = grid.length // positions + 1
    first, last = grid.onset // positions, grid.end // positions  # that a note touches; `first` ascends
    before = np.concatenate(([-1], np.maximum.accumulate(last)[:-1]))  # the last that an earlier note touches
    n_touched = np.maximum(last - np.maximum(first - 1, before), 0).sum()
    return float((n_spans - n_touched) / n_spans)
