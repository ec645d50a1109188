"""How a melody fits its chords: Yeh et al., "Automatic melody harmonization with triad chords", JNMR 50, 2021.

The melody is the skyline, the highest pitch that sounds in each sixteenth. The chords are the argument `chords` if it
is given, else the annotated chords of the score, else the chords that `muspike.chords` recognises. Sixteenths in which
no chord holds (`N`, or before the first chord) are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muspike import chords as chord_names
from muspike.metrics.grid import POSITIONS_PER_BEAT, Grid, on_grid
from muspike.midi import ChordMark, Score

CONSONANCE = np.array([1, -1, -1, 1, 1, 0, -1, 1, 1, 1, -1, -1])
"""Score of each interval from a chord tone up to the melody, modulo 12: +1 consonant, 0 fourth, -1 dissonant."""

STEP = 2
"""Largest interval, in semitones, from a proper non-chord tone to the next melody note."""


def pitch_consonance_score(music: Score | Grid, chords: Sequence[ChordMark] | None = None) -> float:
    """Pitch consonance score (PCS of Yeh et al. 2021), -1 to 1.

    It is the mean `CONSONANCE` of the melody with each tone of the chord that holds, over all sixteenths. Rests are not
    counted. The result is nan if melody and chord never sound together. PCS assumes that the melody lies above the
    chord: the interval is (melody - chord tone) mod 12, not its absolute value.
    """
    melody, chord, width = _together(music, chords)
    n_pairs = (_TONES_OF[chord] * width).sum()
    return float((_CONSONANCE_OF[chord, melody % 12] * width).sum() / n_pairs) if n_pairs else math.nan


def chord_tone_ratio(music: Score | Grid, chords: Sequence[ChordMark] | None = None) -> float:
    """Chord-tone to non-chord-tone ratio (CTnCTR of Yeh et al. 2021): (n_c + n_p) / (n_c + n_n) of the melody's notes.

    n_c counts chord tones, n_n counts non-chord tones, and n_p counts those non-chord tones whose next melody note is
    at most two semitones away. A note is judged by the chord at its onset. The result is nan if no chord holds at the
    onset of any melody note.
    """
    grid = on_grid(music)
    onset, pitch = _melody_notes(grid)
    chord = _chord_at(*chord_marks(grid, chords), onset)
    is_chord_tone = TONES[chord, pitch % 12]
    is_non_chord_tone = (_TONES_OF[chord] > 0) & ~is_chord_tone
    moves_by_step = np.append(np.abs(np.diff(pitch)) <= STEP, False)[: len(pitch)]
    n_chord = np.count_nonzero(is_chord_tone)
    n_non_chord = np.count_nonzero(is_non_chord_tone)
    n_proper = np.count_nonzero(is_non_chord_tone & moves_by_step)
    return (n_chord + n_proper) / (n_chord + n_non_chord) if n_chord + n_non_chord else math.nan


def melody_chord_tonal_distance(music: Score | Grid, chords: Sequence[ChordMark] | None = None) -> float:
    """Mean distance of the melody from its chord (MCTD of Yeh et al. 2021), weighted by time.

    It is the Euclidean distance between the tonal centroids of the melody's tone and of the chord's tones (`centroid`),
    over the sixteenths in which both sound. The result is nan if they never do. The code of Yeh et al. squares the sum
    of the differences instead of summing their squares; the formula of their paper is computed here.
    """
    melody, chord, width = _together(music, chords)
    sounding = _TONES_OF[chord] > 0
    weights = width[sounding]
    distances = _DISTANCE[chord[sounding], melody[sounding] % 12]
    return float((distances * weights).sum() / weights.sum()) if len(weights) else math.nan


def centroid(tones: NDArray[Any]) -> NDArray[np.float64]:
    """The tonal centroid of pitch classes, `[6]`: their mean on the circles of fifths, minor and major thirds.

    This is the space of Harte, Sandler & Gasser, "Detecting harmonic change in musical audio" (AMCMM 2006): the circles
    have radius 1, 1 and 1/2.

    Args:
        tones: the weight of each pitch class, `[12]`; not all are 0.
    """
    steps = np.arange(12)
    circles = [
        radius * turn(steps * angle)
        for radius, angle in ((1.0, 7 * np.pi / 6), (1.0, 3 * np.pi / 2), (0.5, 2 * np.pi / 3))
        for turn in (np.sin, np.cos)
    ]
    found: NDArray[np.float64] = np.array(circles) @ tones / np.sum(tones)
    return found


def _together(
    music: Score | Grid, chords: Sequence[ChordMark] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pitch of the melody, index of the chord (`NO_CHORD`: none) and width in sixteenths, where a melody sounds."""
    grid = on_grid(music)
    return grid.once(_together_without) if chords is None else _together_with(grid, chords)


def _together_without(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    return _together_with(grid, None)


def _together_with(
    grid: Grid, chords: Sequence[ChordMark] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    start, index = chord_marks(grid, chords)
    # Melody and chord hold from one of these times to the next.
    times = np.union1d(grid.spans.start, start[start < grid.length])
    width = np.diff(times, append=grid.length)
    melody, chord = _melody_at(grid, times), _chord_at(start, index, times)
    sounding = melody >= 0
    return melody[sounding], chord[sounding], width[sounding]


def _melody_notes(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Onsets and pitches, in order, of the notes that are the highest sounding pitch at their onset."""
    sounds = grid.end > grid.onset
    onset, pitch = grid.onset[sounds], grid.pitch[sounds]
    on_top = pitch == _melody_at(grid, onset)
    onset, first = np.unique(onset[on_top], return_index=True)  # voices in unison are one note
    return onset, pitch[on_top][first]


def _melody_at(grid: Grid, times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The highest pitch that sounds at each of `times`, all before the end; -1 if none does."""
    return grid.spans.highest[np.searchsorted(grid.spans.start, times, side="right") - 1]


def chord_marks(grid: Grid, chords: Sequence[ChordMark] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each chord starts, in sixteenths and ascending, and its index."""
    score = grid.score
    marks = chords if chords is not None else score.chords
    if marks is None:
        return grid.recognised
    ordered = sorted(marks, key=lambda mark: mark[0])
    start = np.rint(np.array([tick for tick, _ in ordered]) * (POSITIONS_PER_BEAT / score.ticks_per_beat))
    return start.astype(np.int64), np.array([chord_names.index(symbol) for _, symbol in ordered], np.int64)


def _chord_at(start: NDArray[np.int64], index: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """The index of the chord that holds at each of `times`."""
    return np.concatenate(([chord_names.NO_CHORD], index))[np.searchsorted(start, times, side="right")]


def _tone_table() -> NDArray[np.bool_]:
    """The pitch classes of each chord of `muspike.chords`, bool `[chords, 12]`."""
    table = np.zeros((len(chord_names.SYMBOLS), 12), dtype=bool)
    for root in range(12):
        for quality in chord_names.QUALITIES:
            tones = [(root + interval) % 12 for interval in chord_names.TONES[quality]]
            table[chord_names.index(f"{chord_names.ROOTS[root]}_{quality}"), tones] = True
    return table


TONES = _tone_table()
"""The pitch classes of each chord of `muspike.chords`, bool `[chords, 12]`."""

_TONES_OF = TONES.sum(axis=1)  # how many a chord has

# The sum of `CONSONANCE` over the tones of a chord, [chord, pitch class of the melody].
_CONSONANCE_OF = np.array(
    [[CONSONANCE[(melody - np.flatnonzero(tones)) % 12].sum() for melody in range(12)] for tones in TONES]
)

# The distance of each chord's tonal centroid from that of each pitch class, [chord, pitch class].
_DISTANCE = np.array(
    [
        [np.linalg.norm(centroid(tones) - centroid(tone)) if tones.any() else math.nan for tone in np.eye(12)]
        for tones in TONES
    ]
)
