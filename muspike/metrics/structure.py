"""How bars repeat: a piece compared with itself, after the self-similarity matrices of Foote (ACM Multimedia 1999).

A bar is 16 sixteenths from tick 0, and is the set of its onsets: position and pitch. The similarity of two bars is the
cosine of their sets, |A and B| / sqrt(|A| |B|): 1 if they are equal, 0 if they share no onset. Bars in which no note
begins are left out. The metrics here are our own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import N_PITCHES, POSITIONS_PER_BAR, Grid, on_grid
from muspike.midi import Score

MEMORY = 64
"""How many bars `bar_repetition` looks back."""


def bar_similarity(music: Score | Grid) -> float:
    """Mean similarity of all pairs of bars, 0 to 1; nan for fewer than two bars."""
    bars, mean, _ = on_grid(music).once(_compared)
    return mean if bars > 1 else math.nan


def bar_repetition(music: Score | Grid) -> float:
    """Mean, over all bars but the first, of the similarity to the most similar one of the `MEMORY` bars before it.

    It is 1 if each bar has been heard before, and nan for fewer than two bars.
    """
    bars, _, mean = on_grid(music).once(_compared)
    return mean if bars > 1 else math.nan


def _compared(grid: Grid) -> tuple[int, float, float]:
    """The number of bars with onsets, `bar_similarity` and `bar_repetition`."""
    bars, mean, repetition = _compare(grid.onset, grid.pitch)
    return int(bars), float(mean), float(repetition)


@njit
def _compare(onset: NDArray[np.int64], pitch: NDArray[np.int64]) -> tuple[int, float, float]:
    n_cells = POSITIONS_PER_BAR * N_PITCHES
    total = np.zeros(n_cells)  # the sum of all bars' vectors of length 1
    latest = np.full(n_cells, -1, np.int64)  # the latest entry of each cell
    before = np.empty(len(onset), np.int64)  # the entry of the same cell before this one
    bar_of, cells = np.empty(len(onset), np.int64), np.empty(len(onset), np.int64)
    sizes, shared = np.zeros(MEMORY, np.int64), np.zeros(MEMORY, np.int64)
    bars = note = size = 0
    repeated = 0.0
    while note < len(onset):
        number, first = onset[note] // POSITIONS_PER_BAR, size
        while note < len(onset) and onset[note] // POSITIONS_PER_BAR == number:
            cell = onset[note] % POSITIONS_PER_BAR * N_PITCHES + pitch[note]
            if latest[cell] < first:  # else the bar has it already
                before[size], bar_of[size], cells[size] = latest[cell], bars, cell
                latest[cell] = size
                size += 1
            note += 1
        shared[:] = 0
        for entry in range(first, size):
            total[cells[entry]] += 1 / np.sqrt(size - first)
            other = before[entry]
            while other >= 0 and bar_of[other] >= bars - MEMORY:
                shared[bar_of[other] % MEMORY] += 1
                other = before[other]
        if bars:
            best = 0.0
            for slot in range(min(bars, MEMORY)):
                best = max(best, shared[slot] / np.sqrt(sizes[slot] * (size - first)))
            repeated += best
        sizes[bars % MEMORY] = size - first
        bars += 1
    if bars < 2:
        return bars, 0.0, 0.0
    # The sum over all ordered pairs, and each bar with itself, is the square of the sum.
    mean = ((total * total).sum() - bars) / (bars * (bars - 1))
    return bars, min(max(mean, 0.0), 1.0), repeated / (bars - 1)
