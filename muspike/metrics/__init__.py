"""Objective metrics of symbolic music, each equal to its reference implementation if it has one.

`METRICS` holds the metrics that are numbers, `HISTOGRAMS` those that are arrays, by name; `add` adds one. All metrics
read the notes as `grid.Grid` gives them: pitched tracks only, in sixteenths. `groove_consistency_by_bar` also reads the
bar lines, and `drum_pattern_consistency` the drums. If a metric is not defined (for example without notes, or in one
bar; see its docstring), it is nan and not an error. Only excerpts of equal length can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muspike.arguments import instance, listed, one_of
from muspike.errors import BadInput
from muspike.metrics import harmony, pitch, progression, rhythm, structure, voices
from muspike.metrics.distance import Distance, distance, distances
from muspike.metrics.grid import Grid, on_grid
from muspike.midi import Score

__all__ = [
    "HISTOGRAMS",
    "METRICS",
    "Distance",
    "Grid",
    "Metric",
    "add",
    "distance",
    "distances",
    "evaluate",
    "evaluate_set",
    "on_grid",
]

_MUSDR = "MusDr (Wu & Yang 2020)"
_MUSPY = "MusPy 0.5.0 (Dong et al. 2020)"
_MGEVAL = "mgeval (Yang & Lerch 2020)"
_YEH = "Yeh et al. 2021"


@dataclass(frozen=True)
class Metric:
    """A property of a piece.

    Attributes:
        name: its name, as in `METRICS`.
        function: computes it from a `Score` or a `Grid`.
        unit: its unit, in words.
        meaning: one line on what it is.
        source: where it is defined.
        whole: whether it is measured on the whole piece where the other metrics are measured on an excerpt.
    """

    name: str
    function: Callable[[Score | Grid], Any]
    unit: str
    meaning: str
    source: str
    whole: bool = False

    @property
    def group(self) -> str:
        """What the metric is about: the name of the module of its function, such as "pitch"."""
        return str(self.function.__module__).rpartition(".")[2]


def _by_name(*metrics: Metric) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS = _by_name(
    Metric("pitch_count", pitch.pitch_count, "pitches", "number of different pitches", _MUSPY),
    Metric("pitch_classes_used", pitch.pitch_classes_used, "classes", "number of different pitch classes", _MUSPY),
    Metric("pitch_range", pitch.pitch_range, "semitones", "highest minus lowest pitch", _MUSPY),
    Metric("pitch_entropy", pitch.pitch_entropy, "bits", "entropy of the pitch histogram", _MUSPY),
    Metric("pitch_class_entropy", pitch.pitch_class_entropy, "bits", "entropy of the pitch-class histogram", _MUSPY),
    Metric(
        "pitch_in_scale_rate",
        pitch.best_scale_rate,
        "share of notes",
        "notes in the best fitting of the 24 major and minor scales",
        f"{_MUSPY}, scale_consistency",
    ),
    Metric("polyphony", pitch.polyphony, "pitches", "mean number of pitches that sound where any does", _MUSPY),
    Metric(
        "polyphony_rate", pitch.polyphony_rate, "share of time", "time in which three or more pitches sound", _MUSPY
    ),
    Metric(
        "pitch_interval", pitch.pitch_interval, "semitones", "mean absolute interval from a note to the next", _MGEVAL
    ),
    Metric(
        "key_clarity",
        pitch.key_clarity,
        "-1..1",
        "best correlation of the pitch classes with the profile of a key",
        "Krumhansl & Kessler 1982",
    ),
    Metric("note_count", rhythm.note_count, "notes", "number of notes", _MGEVAL),
    Metric("empty_beat_rate", rhythm.empty_beat_rate, "share of beats", "beats in which no note sounds", _MUSPY),
    Metric("empty_measure_rate", rhythm.empty_measure_rate, "share of bars", "bars in which no note sounds", _MUSPY),
    Metric(
        "groove_consistency",
        rhythm.groove_consistency,
        "share of positions",
        "likeness of neighbouring bars in where notes start, at 16 positions per bar",
        _MUSPY,
    ),
    Metric(
        "groove_consistency_by_bar",
        rhythm.groove_consistency_by_bar,
        "share of positions",
        "the same over the written bars, up to the last onset's: equal bars give 1",
        "muspike",
    ),
    Metric(
        "grooving_similarity",
        rhythm.grooving_similarity,
        "share of positions",
        "likeness of all pairs of bars in where notes start",
        _MUSDR,
    ),
    Metric("inter_onset_interval", rhythm.inter_onset_interval, "beats", "mean time from a note to the next", _MGEVAL),
    Metric(
        "drum_pattern_consistency",
        rhythm.drum_pattern_consistency,
        "share of drum notes",
        "drum notes on the quarters of a beat, or on its thirds if these are more",
        _MUSPY,
        whole=True,
    ),
    Metric(
        "pitch_consonance_score",
        harmony.pitch_consonance_score,
        "-1..1",
        "consonance of the melody with the tones of its chords",
        _YEH,
    ),
    Metric(
        "chord_tone_ratio",
        harmony.chord_tone_ratio,
        "share of melody notes",
        "melody notes that are chord tones or move on by a step",
        _YEH,
    ),
    Metric(
        "melody_chord_tonal_distance",
        harmony.melody_chord_tonal_distance,
        "centroid distance",
        "distance of the melody from its chords in the space of Harte 2006",
        _YEH,
    ),
    Metric(
        "chord_histogram_entropy",
        progression.chord_histogram_entropy,
        "nats",
        "entropy of the beats that each chord holds",
        _YEH,
    ),
    Metric("chord_coverage", progression.chord_coverage, "chords", "number of different chords", _YEH),
    Metric(
        "chord_tonal_distance",
        progression.chord_tonal_distance,
        "centroid distance",
        "distance of neighbouring beats' chords in the space of Harte 2006",
        _YEH,
    ),
    Metric(
        "chord_transition_entropy",
        progression.chord_transition_entropy,
        "bits per change",
        "entropy of the next chord given the chord, without repeats",
        "Cover & Thomas 2006",
    ),
    Metric(
        "chord_pair_entropy",
        progression.chord_pair_entropy,
        "bits",
        "entropy of pairs of neighbouring chords, without repeats",
        "Cover & Thomas 2006",
    ),
    Metric(
        "chord_progression_irregularity",
        progression.chord_progression_irregularity,
        "share of runs",
        "different ones among the runs of three chords",
        _MUSDR,
    ),
    Metric(
        "ends_in_cadence",
        progression.ends_in_cadence,
        "share of pieces",
        "whether the last two chords are dominant and tonic",
        "muspike",
        whole=True,
    ),
    Metric(
        "parallel_rate",
        voices.parallel_rate,
        "share of transitions",
        "transitions between sonorities in which two voices move in parallel fifths or octaves",
        "muspike",
    ),
    Metric(
        "parallel_fifths",
        voices.parallel_fifths,
        "per 100 transitions",
        "transitions in which two voices move in parallel fifths",
        "muspike",
    ),
    Metric(
        "parallel_octaves",
        voices.parallel_octaves,
        "per 100 transitions",
        "transitions in which two voices move in parallel octaves or unisons",
        "muspike",
    ),
    Metric(
        "voice_crossings",
        voices.voice_crossings,
        "per 100 transitions",
        "transitions in which a voice moves past the place that its neighbour had",
        "muspike",
    ),
    Metric(
        "voice_leaps",
        voices.voice_leaps,
        "per 100 transitions",
        "transitions in which a voice moves by more than a sixth, octaves aside",
        "muspike",
    ),
    Metric(
        "bar_similarity",
        structure.bar_similarity,
        "0..1",
        "mean likeness of all pairs of bars, note by note",
        "muspike",
    ),
    Metric(
        "bar_repetition",
        structure.bar_repetition,
        "0..1",
        "mean likeness of a bar to the most alike of the 64 before it",
        "muspike",
    ),
)

HISTOGRAMS = _by_name(
    Metric(
        "pitch_class_histogram",
        pitch.pitch_class_histogram,
        "share of time",
        "how long each pitch class sounds, C first",
        _MGEVAL,
    ),
    Metric(
        "pitch_class_transition_matrix",
        pitch.pitch_class_transition_matrix,
        "share of transitions",
        "transitions from each pitch class to each other where a note ends and one begins",
        _MGEVAL,
    ),
    Metric(
        "note_length_histogram",
        rhythm.note_length_histogram,
        "share of notes",
        "notes in each of the 12 classes of rhythm.NOTE_LENGTHS",
        _MGEVAL,
    ),
    Metric(
        "note_length_transition_matrix",
        rhythm.note_length_transition_matrix,
        "share of transitions",
        "transitions from each class of rhythm.NOTE_LENGTHS to each from a note to the next",
        _MGEVAL,
    ),
)


def add(metric: Metric, *, histogram: bool = False) -> None:
    """Add a metric of your own to `METRICS`, or to `HISTOGRAMS`. Everything that lists or computes metrics has it then.

    `muspike evaluate --metrics FILE.py` executes a file that calls this.

    >>> from muspike import metrics
    >>> lowest = lambda music: float(metrics.on_grid(music).pitch.min(initial=127))
    >>> metrics.add(metrics.Metric("lowest", lowest, "MIDI pitch", "the lowest pitch", "this example"))
    >>> metrics.METRICS.pop("lowest").unit
    'MIDI pitch'

    Args:
        metric: the metric. Its function takes a `Score` or a `Grid`, and gives nan where it is not defined.
        histogram: whether its function gives an array, always of one shape, instead of a number.

    Raises:
        BadInput: it is no `Metric`, or there is another one of that name.
    """
    instance("metrics.add: metric", metric, Metric, "a Metric")
    if (METRICS | HISTOGRAMS).get(metric.name, metric) != metric:
        raise BadInput(f"metrics.add: there is a metric {metric.name!r} already; another name is wanted")
    (HISTOGRAMS if histogram else METRICS)[metric.name] = metric


def evaluate(score: Score | Grid, names: Iterable[str] | None = None) -> dict[str, float]:
    """Metrics of one piece by name; nan if a metric is not defined for the piece.

    >>> from muspike import Score, evaluate, midi
    >>> c_major = midi.table([(0, 480, pitch, 80, 0) for pitch in (60, 64, 67)], midi.NOTE)
    >>> evaluate(Score(480, c_major), ["pitch_count", "polyphony"])
    {'pitch_count': 3.0, 'polyphony': 3.0}

    Args:
        score: the piece.
        names: names in `METRICS`; None: all of them.

    Raises:
        BadInput: a name is not in `METRICS`, or `score` is no piece.
    """
    functions = _functions("evaluate", names, METRICS)
    grid = on_grid(score)
    return {name: float(function(grid)) for name, function in functions.items()}


def evaluate_set(scores: Iterable[Score | Grid], names: Iterable[str] | None = None) -> dict[str, NDArray[np.float64]]:
    """Metrics and histograms of many pieces by name, in the order of the pieces.

    Args:
        scores: the pieces.
        names: names in `METRICS` or `HISTOGRAMS`; None: all of both.

    Returns:
        For each name a float64 array, `[pieces]` for a metric and `[pieces, classes]` for a histogram.

    Raises:
        BadInput: a name is in neither, or one of the pieces is none.
    """
    functions = _functions("evaluate_set", names, METRICS | HISTOGRAMS)
    grids = [on_grid(score) for score in listed("evaluate_set: scores", scores, "a list of Score")]
    return {name: np.array([function(grid) for grid in grids], np.float64) for name, function in functions.items()}


def _functions(where: str, names: Iterable[str] | None, metrics: dict[str, Metric]) -> dict[str, Callable[..., Any]]:
    """The functions of the metrics called `names`, by name; None: of all."""
    if isinstance(names, str):
        raise BadInput(f"{where}: names is the text {names!r}; expected a list of names, [{names!r}]")
    asked = list(names) if isinstance(names, Mapping) else names
    chosen = metrics if asked is None else listed(f"{where}: names", asked, "a list of names")
    return {name: metrics[one_of("metric", name, metrics)].function for name in chosen}
