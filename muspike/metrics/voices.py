"""How voices move from one sonority to the next.

A sonority is the set of pitches that sound where at least one note begins. The k-th highest pitch of a sonority and the
k-th highest of the next one are taken as one voice, so crossing voices are not followed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import N_PITCHES, Grid, on_grid
from muspike.midi import Score


def parallel_rate(music: Score | Grid) -> float:
    """Share of transitions with parallel fifths or octaves, 0 to 1.

    A transition leads from a sonority to the next one, if both have the same number of pitches, at least two. It counts
    if two of its voices move in the same direction and are a fifth, an octave or a unison apart, whole octaves aside,
    before and after. Counterpoint forbids this (Fux, Gradus ad Parnassum, 1725); the chorales of Bach have it in one of
    150 transitions. The result is nan without transitions.
    """
    grid = on_grid(music)
    found, transitions = _parallels(grid.onset, grid.end, grid.pitch)
    return found / transitions if transitions else math.nan


@njit
def _parallels(onset: NDArray[np.int64], end: NDArray[np.int64], pitch: NDArray[np.int64]) -> tuple[int, int]:
    """Transitions with parallels, and transitions in all."""
    ends = np.full(N_PITCHES, -1, np.int64)
    before, now = np.empty(N_PITCHES, np.int64), np.empty(N_PITCHES, np.int64)
    n_before = found = transitions = note = 0
    while note < len(onset):
        time = onset[note]
        begins = False
        while note < len(onset) and onset[note] == time:
            ends[pitch[note]] = max(ends[pitch[note]], end[note])
            begins |= end[note] > time
            note += 1
        if not begins:
            continue
        n_now = 0
        for p in range(N_PITCHES):
            if ends[p] > time:
                now[n_now] = p
                n_now += 1
        if n_now == n_before and n_now >= 2:
            transitions += 1
            found += _has_parallels(before[:n_now], now[:n_now])
        before[:n_now] = now[:n_now]
        n_before = n_now
    return found, transitions


@njit
def _has_parallels(before: NDArray[np.int64], now: NDArray[np.int64]) -> bool:
    for low in range(len(now)):
        for high in range(low + 1, len(now)):
            interval = (now[high] - now[low]) % 12
            if (interval == 0 or interval == 7) and (before[high] - before[low]) % 12 == interval:
                moves_low, moves_high = now[low] - before[low], now[high] - before[high]
                if moves_low * moves_high > 0:
                    return True
    return False
