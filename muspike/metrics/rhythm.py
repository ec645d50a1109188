"""Rhythm metrics on `Grid`: MusPy's (Dong et al., ISMIR 2020, version 0.5.0) and mgeval's (Yang & Lerch 2020).

Beats are quarters and bars are 16 sixteenths. Both are counted from tick 0, whatever the written metre is: MusPy's
definitions know only one length of bar, and values for bars of different lengths cannot be compared. For a piece in
another metre, pass its own `positions_per_bar` (12 for 3/4).

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
