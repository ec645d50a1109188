"""How chords follow each other: Yeh et al. 2021, Wu & Yang 2020 (MusDr), the entropy of transitions, the last cadence.

The chords are the argument `chords` if it is given, else the annotated chords of the score, else the chords that
`muspike.chords` recognises. A piece has one chord per beat, a quarter: the one that holds where the beat begins. Beats
without a chord (`N`, or before the first chord) are left out. `chord_changes` are these chords without repeats.

Yeh et al. is "Automatic melody harmonization with triad chords: A comparative study", JNMR 50, 2021. They have one
chord per half bar; a finer grid adds repeats, which makes `chord_tonal_distance` smaller, and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from muspike import chords as chord_names
from muspike.metrics.grid import POSITIONS_PER_BEAT, Grid, on_grid
from muspike.metrics.harmony import TONES, centroid, chord_marks
from muspike.metrics.pitch import key
from muspike.midi import ChordMark, Score

Marks = Sequence[ChordMark] | None


def chord_histogram_entropy(music: Score | Grid, chords: Marks = None) -> float:
    """Entropy of the shares of the beats that each chord holds, in nats; nan without chords. CHE of Yeh et al. 2021.

    It is -sum_i p_i ln p_i. Their code adds 1e-6 inside the logarithm, which moves a value by less than 0.0002.
    """
    index, beats = _held(music, chords)
    if not len(index):
        return math.nan
    shares = np.bincount(index, weights=beats)
    shares = shares[shares > 0] / beats.sum()
    return float(0.0 - (shares * np.log(shares)).sum())


def chord_coverage(music: Score | Grid, chords: Marks = None) -> int:
    """Number of different chords; 0 without chords. CC of Yeh et al. 2021."""
    return len(np.unique(_held(music, chords)[0]))


def chord_tonal_distance(music: Score | Grid, chords: Marks = None) -> float:
    """Mean distance between the chords of neighbouring beats; nan for fewer than two beats. CTD of Yeh et al. 2021.

    The distance of two chords is the Euclidean one between the tonal centroids of their tones, in the 6-dimensional
    space of Harte, Sandler & Gasser, "Detecting harmonic change in musical audio" (AMCMM 2006).
    """
    index, beats = _held(music, chords)
    pairs = beats.sum() - 1
    if pairs < 1:
        return math.nan
    centres = _CENTRES[index]
    return float(np.sqrt(((centres[1:] - centres[:-1]) ** 2).sum(axis=1)).sum() / pairs)


def chord_transition_entropy(music: Score | Grid, chords: Marks = None) -> float:
    """Entropy of the next chord given the chord, in bits per change; nan without changes. Repeats are removed.

    It is the entropy rate -sum_i pi_i sum_j p(j|i) log2 p(j|i) of a Markov chain (Cover & Thomas, Elements of
    Information Theory, theorem 4.2.4), with the observed shares: pi_i of the changes leave chord i, p(j|i) of these
    for chord j.
    """
    changes = chord_changes(music, chords)
    if len(changes) < 2:
        return math.nan
    return max(_entropy_bits(_pairs(changes)) - _entropy_bits(changes[:-1]), 0.0)


def chord_pair_entropy(music: Score | Grid, chords: Marks = None) -> float:
    """Entropy of the pairs of neighbouring chords, in bits; nan without changes. Repeats are removed.

    It is the joint form of `chord_transition_entropy`: -sum_ij p(i, j) log2 p(i, j).
    """
    changes = chord_changes(music, chords)
    return _entropy_bits(_pairs(changes)) if len(changes) > 1 else math.nan


def chord_progression_irregularity(music: Score | Grid, chords: Marks = None) -> float:
    """Share of different ones among the runs of three chords, 0 to 1; nan for fewer than three chords.

    Repeats are removed. This is the CPI of Wu & Yang, "The Jazz Transformer on the Front Line" (ISMIR 2020). Their code
    MusDr leaves the last run out, and gives 1 for fewer than four chords.
    """
    changes = chord_changes(music, chords)
    if len(changes) < 3:
        return math.nan
    size = len(chord_names.SYMBOLS)
    runs = (changes[:-2] * size + changes[1:-1]) * size + changes[2:]
    return len(np.unique(runs)) / len(runs)


def ends_in_cadence(music: Score | Grid, chords: Marks = None) -> float:
    """1 if the last two chords are the dominant and the tonic of the key, else 0; nan for fewer than two chords.

    The tonic is a major or minor chord on the tonic of `pitch.key`; the dominant is a major or dominant seventh chord
    a fifth above (Caplin, Classical Form, 1998: the authentic cadence). The mean over pieces is the share of pieces
    that end so. This metric is our own. It is measured on whole pieces: an excerpt has no end.
    """
    grid = on_grid(music)
    changes = chord_changes(grid, chords)
    found = key(grid)
    if len(changes) < 2 or found is None:
        return math.nan
    tonic, dominant = found[0], (found[0] + 7) % 12
    ends = {chord_names.index(f"{chord_names.ROOTS[tonic]}_{quality}") for quality in ("M", "m")}
    leads = {chord_names.index(f"{chord_names.ROOTS[dominant]}_{quality}") for quality in ("M", "7")}
    return float(int(changes[-1]) in ends and int(changes[-2]) in leads)


def chord_changes(music: Score | Grid, chords: Marks = None) -> NDArray[np.int64]:
    """The chords of a piece in their order, without repeats, as indices of `muspike.chords`."""
    index, _ = _held(music, chords)
    return index[np.append(True, index[1:] != index[:-1])] if len(index) else index


def _held(music: Score | Grid, chords: Marks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chords in their order, and how many beats each holds, 1 or more."""
    grid = on_grid(music)
    return grid.once(_held_without) if chords is None else _held_with(grid, chords)


def _held_without(grid: Grid) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return _held_with(grid, None)


def _held_with(grid: Grid, chords: Marks) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    start, index = chord_marks(grid, chords)
    n_beats = -(-grid.length // POSITIONS_PER_BEAT)
    first = np.minimum(-(-start // POSITIONS_PER_BEAT), n_beats)  # the first beat that begins in the chord
    beats = np.diff(first, append=n_beats)
    held = (beats > 0) & (index > chord_names.NO_CHORD)
    return index[held], beats[held]


def _pairs(changes: NDArray[np.int64]) -> NDArray[np.int64]:
    return changes[:-1] * len(chord_names.SYMBOLS) + changes[1:]


def _entropy_bits(values: NDArray[np.int64]) -> float:
    counts = np.unique(values, return_counts=True)[1]
    share = counts / counts.sum()
    return float(0.0 - (share * np.log2(share)).sum())


_CENTRES = np.array([centroid(tones) if tones.any() else np.zeros(6) for tones in TONES])
