"""Pitch metrics on the notes of `Grid`: MusPy's, mgeval's, and the clarity of the key.

MusPy is that of Dong et al. (ISMIR 2020), version 0.5.0; mgeval is that of Yang & Lerch (Neural Computing and
Applications 32, 2020).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import N_PITCHES, Grid, on_grid
from muspike.midi import Score

_NUMBERS = np.arange(N_PITCHES + 1)
_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
_NATURAL_MINOR = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0])
SCALES = np.array([np.roll(scale, root) for scale in (_MAJOR, _NATURAL_MINOR) for root in range(12)])
"""Pitch classes (0 or 1) of the 12 major scales and then the 12 natural minor scales, `[24, 12]`."""


def pitch_count(music: Score | Grid) -> int:
    """Number of different pitches; 0 if there are no notes. MusPy `n_pitches_used`."""
    return int(np.count_nonzero(on_grid(music).pitch_counts))


def pitch_classes_used(music: Score | Grid) -> int:
    """Number of different pitch classes; 0 if there are no notes. MusPy `n_pitch_classes_used`."""
    return int(np.count_nonzero(on_grid(music).pitch_class_counts))


def pitch_range(music: Score | Grid) -> int:
    """Highest minus lowest pitch in semitones; 0 if there are no notes. MusPy `pitch_range`."""
    used = on_grid(music).pitch_counts.nonzero()[0]
    return int(used[-1] - used[0]) if len(used) else 0


def pitch_entropy(music: Score | Grid) -> float:
    """Shannon entropy of the histogram of pitches, in bits. Each note counts once. nan if there are no notes."""
    return float(_entropy(on_grid(music).pitch_counts))


def pitch_class_entropy(music: Score | Grid) -> float:
    """Shannon entropy of the histogram of pitch classes, in bits. Each note counts once. nan if there are no notes."""
    return float(_entropy(on_grid(music).pitch_class_counts))


def best_scale_rate(music: Score | Grid) -> float:
    """Share of the notes in the best fitting of the 24 major and natural minor scales; nan if there are no notes.

    This is MusPy's `scale_consistency` (Mogren 2016). We take MuSpike's "pitch-in-scale rate" (arXiv 2508.19251) to be
    the same metric, because its value of 0.87 on JSB chorales fits no other reading.
    """
    return float(_best_share(on_grid(music).pitch_class_counts))


def polyphony(music: Score | Grid) -> float:
    """Mean number of sounding pitches, over the sixteenths in which any sounds; nan if none ever sounds."""
    times = on_grid(music).polyphony_times
    n_active = times[1:].sum()
    return float(times @ _NUMBERS / n_active) if n_active else math.nan


def polyphony_rate(music: Score | Grid, threshold: int = 2) -> float:
    """Share of all sixteenths in which more than `threshold` pitches sound; nan if the piece has length 0.

    This is MusPy's `polyphony_rate` with MusPy's default threshold. More than two must sound, so a piece in two voices
    has rate 0.
    """
    grid = on_grid(music)
    return float(grid.polyphony_times[threshold + 1 :].sum() / grid.length) if grid.length else math.nan


def pitch_interval(music: Score | Grid) -> float:
    """Mean absolute interval from each note to the next one, in semitones; nan if there are fewer than two notes.

    Notes follow each other by onset, and those of one onset from the highest down, over all pitched tracks together.
    This is mgeval's `avg_pitch_shift`, which leaves the order within an onset to the file.
    """
    pitch = on_grid(music).pitch
    return float(np.abs(np.diff(pitch)).mean()) if len(pitch) > 1 else math.nan


def pitch_class_histogram(music: Score | Grid) -> NDArray[np.float64]:
    """Share of each pitch class, C first, weighted by the length of its notes, `[12]`; nan if no note sounds.

    This is mgeval's `total_pitch_class_histogram` over all pitched tracks. mgeval reads the first track alone, and
    sums a piano roll of velocities, so that its shares also depend on the loudness.
    """
    lengths = on_grid(music).pitch_class_lengths
    total = lengths.sum()
    return lengths / total if total else np.full(12, math.nan)


def pitch_class_transition_matrix(music: Score | Grid) -> NDArray[np.float64]:
    """Share of each transition from one pitch class to another among all transitions, `[12, 12]`: [from, to].

    A transition leads from a note to each note of the same track that begins where this one ends. The result is nan if
    there are no transitions. This is mgeval's `pitch_class_transition_matrix(normalize=2)`, which is pretty_midi's
    `get_pitch_class_transition_matrix`, on the grid of sixteenths. There, a note shorter than half a sixteenth has no
    length; it has no transitions, while pretty_midi counts one from it to itself.
    """
    grid = on_grid(music)
    counts: NDArray[np.float64] = _transitions(
        grid.onset, grid.end, grid.pitch, grid.track, np.lexsort((grid.end, grid.track))
    )
    total = counts.sum()
    return counts / total if total else np.full((12, 12), math.nan)


@njit
def _best_share(counts: NDArray[np.int64]) -> float:
    n_notes, best = counts.sum(), 0
    for scale in SCALES:
        fitting = 0
        for pitch_class in range(12):
            fitting += scale[pitch_class] * counts[pitch_class]
        best = max(best, fitting)
    return best / n_notes if n_notes else math.nan


_KEYS = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
"""How well each tone, from the tonic up, fits a major and a minor key (ratings of Krumhansl & Kessler 1982)."""


def key_clarity(music: Score | Grid) -> float:
    """How clearly the piece is in one key, -1 to 1: its best correlation with the profile of a key.

    The length that each pitch class sounds in all is correlated with the 24 profiles of Krumhansl & Kessler, "Tracing
    the dynamic changes in perceived tonal organization in a spatial representation of musical keys" (Psychological
    Review 89, 1982), as in the key-finding algorithm of Krumhansl & Schmuckler (Krumhansl, Cognitive Foundations of
    Musical Pitch, 1990). The result is nan if no note sounds, or all pitch classes sound alike.
    """
    found = key(music)
    return math.nan if found is None else found[2]


def key(music: Score | Grid) -> tuple[int, bool, float] | None:
    """The key that `key_clarity` finds: tonic (C is 0), whether it is minor, and the correlation. None: there is none.

    Of equally good keys it is a major one, and of these the one with the lowest tonic.
    """
    return on_grid(music).once(_key)


def _key(grid: Grid) -> tuple[int, bool, float] | None:
    away = grid.pitch_class_lengths - grid.pitch_class_lengths.mean()
    size = math.sqrt(away @ away)
    if size == 0:
        return None
    correlations = _PROFILES @ away / size
    best = int(correlations.argmax())
    return best % 12, best >= 12, float(correlations[best])


def _profiles() -> NDArray[np.float64]:
    """The profiles of the 12 major and then the 12 minor keys, each with mean 0 and length 1, `[24, 12]`."""
    profiles: NDArray[np.float64] = np.array(
        [np.roll(profile, tonic) for profile in _KEYS.values() for tonic in range(12)]
    )
    away: NDArray[np.float64] = profiles - profiles.mean(axis=1, keepdims=True)
    profiles = away / np.sqrt((away**2).sum(axis=1, keepdims=True))
    return profiles


_PROFILES = _profiles()


@njit
def _transitions(onset, end, pitch, track, by_end):  # type: ignore[no-untyped-def]
    """Counts of the transitions between pitch classes, float64 `[12, 12]`. `by_end` orders by track, then end."""
    counts = np.zeros((12, 12))
    by_onset = np.argsort(track, kind="mergesort")  # notes ascend by onset already
    ending, beginning = np.zeros(12), np.zeros(12)
    i = j = 0
    while i < len(onset) and j < len(onset):
        last, first = by_end[i], by_onset[j]
        if track[last] < track[first] or (track[last] == track[first] and end[last] < onset[first]):
            i += 1
        elif track[first] < track[last] or onset[first] < end[last]:
            j += 1
        else:
            part, time = track[last], end[last]
            ending[:], beginning[:] = 0, 0
            while i < len(onset) and track[by_end[i]] == part and end[by_end[i]] == time:
                ending[pitch[by_end[i]] % 12] += end[by_end[i]] > onset[by_end[i]]
                i += 1
            while j < len(onset) and track[by_onset[j]] == part and onset[by_onset[j]] == time:
                beginning[pitch[by_onset[j]] % 12] += end[by_onset[j]] > onset[by_onset[j]]
                j += 1
            for one in range(12):
                if ending[one]:
                    counts[one] += ending[one] * beginning
    return counts


@njit
def _entropy(counts: NDArray[np.int64]) -> float:
    n_notes = counts.sum()
    if not n_notes:
        return math.nan
    bits = 0.0  # a single pitch leaves it at 0, not -0
    for count in counts:
        if count:
            bits -= count / n_notes * math.log2(count / n_notes)
    return bits
