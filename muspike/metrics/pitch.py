"""Pitch metrics, each equal to MusPy's (Dong et al., "MusPy", ISMIR 2020, version 0.5.0) on the notes of `Grid`."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from muspike.metrics.grid import N_PITCHES, Grid, on_grid
from muspike.midi import Score

_MAJOR = np.array([1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1])
_NATURAL_MINOR = np.array([1, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0])
SCALES = np.array([np.roll(scale, root) for scale in (_MAJOR, _NATURAL_MINOR) for root in range(12)])
"""Pitch classes (0 or 1) of the 12 major scales and then the 12 natural minor scales, `[24, 12]`."""


def pitch_count(music: Score | Grid) -> int:
    """Number of different pitches; 0 if there are no notes. MusPy `n_pitches_used`."""
    return int(np.count_nonzero(_pitch_histogram(on_grid(music))))


def pitch_classes_used(music: Score | Grid) -> int:
    """Number of different pitch classes; 0 if there are no notes. MusPy `n_pitch_classes_used`."""
    return int(np.count_nonzero(_pitch_class_histogram(on_grid(music))))


def pitch_range(music: Score | Grid) -> int:
    """Highest minus lowest pitch in semitones; 0 if there are no notes. MusPy `pitch_range`."""
    pitch = on_grid(music).pitch
    return int(np.ptp(pitch)) if len(pitch) else 0


def pitch_entropy(music: Score | Grid) -> float:
    """Shannon entropy of the histogram of pitches, in bits. Each note counts once. nan if there are no notes."""
    return _entropy(_pitch_histogram(on_grid(music)))


def pitch_class_entropy(music: Score | Grid) -> float:
    """Shannon entropy of the histogram of pitch classes, in bits. Each note counts once. nan if there are no notes."""
    return _entropy(_pitch_class_histogram(on_grid(music)))


def best_scale_rate(music: Score | Grid) -> float:
    """Share of the notes in the best fitting of the 24 major and natural minor scales; nan if there are no notes.

    This is MusPy's `scale_consistency` (Mogren 2016). We take MuSpike's "pitch-in-scale rate" (arXiv 2508.19251) to be
    the same metric, because its value of 0.87 on JSB chorales fits no other reading.
    """
    histogram = _pitch_class_histogram(on_grid(music))
    n_notes = histogram.sum()
    return float((SCALES @ histogram).max() / n_notes) if n_notes else math.nan


def polyphony(music: Score | Grid) -> float:
    """Mean number of sounding pitches, over the sixteenths in which any sounds; nan if none ever sounds."""
    spans = on_grid(music).spans
    n_active = spans.width[spans.polyphony > 0].sum()
    return float((spans.polyphony * spans.width).sum() / n_active) if n_active else math.nan


def polyphony_rate(music: Score | Grid, threshold: int = 2) -> float:
    """Share of all sixteenths in which more than `threshold` pitches sound; nan if the piece has length 0.

    This is MusPy's `polyphony_rate` with MusPy's default threshold. More than two must sound, so a piece in two voices
    has rate 0.
    """
    grid = on_grid(music)
    above = grid.spans.width[grid.spans.polyphony > threshold].sum()
    return float(above / grid.length) if grid.length else math.nan


def _pitch_histogram(grid: Grid) -> NDArray[np.int64]:
    return np.bincount(grid.pitch, minlength=N_PITCHES)


def _pitch_class_histogram(grid: Grid) -> NDArray[np.int64]:
    return np.bincount(grid.pitch % 12, minlength=12)


def _entropy(histogram: NDArray[np.int64]) -> float:
    counts = histogram[histogram > 0]
    if not len(counts):
        return math.nan
    probability = counts / counts.sum()
    return float(0.0 - (probability * np.log2(probability)).sum())  # 0 - x: a single pitch gives 0.0, not -0.0
