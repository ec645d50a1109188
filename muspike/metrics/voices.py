"""How voices move from one sonority to the next.

A sonority is the set of pitches that sound where at least one note begins. The k-th highest pitch of a sonority and the
k-th highest of the next one are taken as one voice, because the words of a piece do not say which voice a note belongs
to. A transition leads from a sonority to the next one, if both have the same number of pitches, at least two. Every
metric here is nan without transitions.

The rules are those of counterpoint (Fux, Gradus ad Parnassum, 1725). The counts are our own.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import Grid, on_grid
from muspike.midi import Score

WIDEST_STEP = 9
"""The widest interval, in semitones, that is not a leap: a major sixth. An octave is none either."""

_FIFTH, _OCTAVE = 7, 0


def parallel_rate(music: Score | Grid) -> float:
    """Share of transitions with parallel fifths or octaves, 0 to 1.

    A transition counts if two of its voices move in the same direction and are a fifth, an octave or a unison apart,
    whole octaves aside, before and after. Counterpoint forbids this; the chorales of Bach have it in one of 150
    transitions.
    """
    return _share(music, _EITHER)


def parallel_fifths(music: Score | Grid) -> float:
    """Transitions with parallel fifths, per 100 transitions: as `parallel_rate`, for fifths alone."""
    return 100 * _share(music, _FIFTHS)


def parallel_octaves(music: Score | Grid) -> float:
    """Transitions with parallel octaves or unisons, per 100 transitions: as `parallel_rate`, for these alone."""
    return 100 * _share(music, _OCTAVES)


def voice_crossings(music: Score | Grid) -> float:
    """Transitions in which a voice moves past the place that its neighbour had, per 100 transitions.

    That is a voice which moves above the note that the next higher voice leaves, or below the one that the next lower
    voice leaves. Voices that cross are heard so, too.
    """
    return 100 * _share(music, _CROSSINGS)


def voice_leaps(music: Score | Grid) -> float:
    """Transitions in which a voice leaps, per 100 transitions.

    A leap is wider than `WIDEST_STEP` semitones, a major sixth, and no octave.
    """
    return 100 * _share(music, _LEAPS)


_TRANSITIONS, _EITHER, _FIFTHS, _OCTAVES, _CROSSINGS, _LEAPS = range(6)


def _share(music: Score | Grid, what: int) -> float:
    """The share of the transitions that have `what`."""
    found = on_grid(music).once(_moves)
    return float(found[what] / found[_TRANSITIONS]) if found[_TRANSITIONS] else math.nan


def _moves(grid: Grid) -> NDArray[np.int64]:
    """The number of transitions, and of those that have each of the things counted here, `[6]`."""
    found: NDArray[np.int64] = _counted(grid.sonorities.start, grid.sonorities.pitch)
    return found


@njit
def _counted(start: NDArray[np.int64], pitch: NDArray[np.int64]) -> NDArray[np.int64]:
    found = np.zeros(6, np.int64)
    for i in range(1, len(start) - 1):
        before, now = pitch[start[i - 1] : start[i]], pitch[start[i] : start[i + 1]]
        if len(now) != len(before) or len(now) < 2:
            continue
        found[_TRANSITIONS] += 1
        fifths = _has_parallels(before, now, _FIFTH)
        octaves = _has_parallels(before, now, _OCTAVE)
        crosses = leaps = False
        for voice in range(len(now)):
            moves = abs(now[voice] - before[voice])
            leaps |= moves > WIDEST_STEP and moves != 12
            if voice:
                crosses |= now[voice] < before[voice - 1] or now[voice - 1] > before[voice]
        found[_EITHER] += fifths or octaves
        found[_FIFTHS] += fifths
        found[_OCTAVES] += octaves
        found[_CROSSINGS] += crosses
        found[_LEAPS] += leaps
    return found


@njit
def _has_parallels(before: NDArray[np.int64], now: NDArray[np.int64], interval: int) -> bool:
    for low in range(len(now)):
        for high in range(low + 1, len(now)):
            if (now[high] - now[low]) % 12 == interval and (before[high] - before[low]) % 12 == interval:
                moves_low, moves_high = now[low] - before[low], now[high] - before[high]
                if moves_low * moves_high > 0:
                    return True
    return False
