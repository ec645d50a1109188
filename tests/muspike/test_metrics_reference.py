"""Every metric against its reference on real files: MusPy, pretty_midi and music21 themselves, and published formulas.

mgeval, MusDr and the code of Yeh et al. 2021 are no packages that install. Their formulas stand in
tests/helpers/plain_metrics.py, note by note.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import muspy
import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings

import plain_metrics as plain
from muspike import chords, midi
from muspike.metrics import HISTOGRAMS, METRICS, evaluate, harmony
from muspike.metrics.pitch import key
from muspike.midi import ChordMark, Score, Track

DATA = Path(__file__).parents[2].parent / "shared" / "data"
REAL_FILES = [
    path
    for pattern, wanted in (
        ("jsb/boulanger_midi/test/*.mid", 30),
        ("jsb/music21_midi/*.mid", 40),
        ("pop909/POP909/*/*.mid", 8),
        ("emopia/midis/*.mid", 20),
        ("lakh/clean_midi/[3-6]*.mid", 12),
    )
    for path in sorted(DATA.glob(pattern))[:: max(1, len(sorted(DATA.glob(pattern))) // wanted)][:wanted]
]

MUSPY = {
    "pitch_count": muspy.n_pitches_used,
    "pitch_classes_used": muspy.n_pitch_classes_used,
    "pitch_range": muspy.pitch_range,
    "pitch_entropy": muspy.pitch_entropy,
    "pitch_class_entropy": muspy.pitch_class_entropy,
    "pitch_in_scale_rate": muspy.scale_consistency,
    "polyphony": muspy.polyphony,
    "polyphony_rate": muspy.polyphony_rate,
    "empty_beat_rate": muspy.empty_beat_rate,
    "empty_measure_rate": lambda music: muspy.empty_measure_rate(music, 16),
    "groove_consistency": lambda music: muspy.groove_consistency(music, 16),
}


def muspy_values(music: muspy.Music) -> dict[str, float]:
    """What MusPy says of the pitched notes on a grid of sixteenths."""
    music.tracks = [track for track in music.tracks if not track.is_drum]
    for track in music.tracks:  # MusPy lets pedals and lyrics after the last note lengthen the piece
        track.annotations, track.lyrics = [], []
    music.adjust_resolution(4)
    return {name: float(function(music)) for name, function in MUSPY.items()}


def drum_pattern_consistency(path: Path) -> float:
    """MusPy's, at its own resolution of 24 positions per beat."""
    music = muspy.read_midi(path)
    music.adjust_resolution(24)
    return float(muspy.drum_pattern_consistency(music))


def as_muspy(score: Score) -> muspy.Music:
    tracks = [
        muspy.Track(
            is_drum=track.is_drum,
            notes=[
                muspy.Note(int(note["onset"]), int(note["pitch"]), int(note["duration"]), int(note["velocity"]))
                for note in score.notes[score.notes["track"] == number]
            ],
        )
        for number, track in enumerate(score.tracks)
    ]
    return muspy.Music(resolution=score.ticks_per_beat, tracks=tracks)


notes = st.tuples(
    st.integers(0, 6000), st.integers(1, 2500), st.integers(21, 108), st.integers(1, 127), st.integers(0, 2)
)
chord_marks = st.lists(
    st.builds(ChordMark, st.integers(0, 6000), st.sampled_from(chords.SYMBOLS[1:])), min_size=1, max_size=8
)


def score_of(rows: list[tuple[int, ...]], ticks_per_beat: int = 480, **more: Any) -> Score:
    return Score(ticks_per_beat, np.array(rows, midi.NOTE), tracks=(Track(), Track(), Track(is_drum=True)), **more)


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_equal_to_muspy_on_real_files(path: Path) -> None:
    expected = muspy_values(muspy.read_midi(path))
    found = evaluate(midi.read(path), expected)
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_real_files_are_there() -> None:
    if not DATA.is_dir():
        pytest.skip("the data sets are not on this machine")
    assert len(REAL_FILES) >= 100


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(notes, min_size=1, max_size=30), st.sampled_from([96, 100, 480]))
def test_equal_to_muspy_on_any_notes(rows: list[tuple[int, ...]], ticks_per_beat: int) -> None:
    score = score_of([*rows, (0, 240, 60, 64, 0)], ticks_per_beat)
    expected = muspy_values(as_muspy(score))
    assert evaluate(score, expected) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def in_sixteenths(tick: int, ticks_per_beat: int) -> int:
    return round(tick * (4 / ticks_per_beat))


@settings(max_examples=50, deadline=None)
@given(st.lists(notes, min_size=1, max_size=30))
def test_note_lengths_as_mgeval(rows: list[tuple[int, ...]]) -> None:
    # mgeval core.py: full, half, quarter, 8th, 16th, their dotted forms but the full one's, three triplets.
    units = [96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8]
    expected = np.zeros(12)
    for onset, duration, _, _, track in rows:
        if track < 2:
            ticks = 120 * (in_sixteenths(onset + duration, 480) - in_sixteenths(onset, 480))
            expected[int(np.argmin([abs(unit * 4 * 480 / 96 - ticks) for unit in units]))] += 1
    score = score_of(rows)
    assert evaluate(score, ["note_count"]) == {"note_count": expected.sum()}
    if expected.sum():
        np.testing.assert_allclose(
            HISTOGRAMS["note_length_histogram"].function(score), expected / expected.sum(), atol=1e-15
        )


def by_sixteenths(score: Score, marks: Sequence[ChordMark]) -> list[tuple[list[int], list[int], list[int]]]:
    """Sounding pitches, starting pitches and chord tones (pitch classes) of every sixteenth."""
    sixteenths = []
    pitched = [row for row in score.notes.tolist() if not score.tracks[row[4]].is_drum]
    per_beat = score.ticks_per_beat
    spans = [
        (in_sixteenths(onset, per_beat), in_sixteenths(onset + duration, per_beat), pitch)
        for onset, duration, pitch, _, _ in pitched
    ]
    for position in range(max((end for _, end, _ in spans), default=0)):
        tones: list[int] = []
        for tick, symbol in sorted(marks, key=lambda mark: mark[0]):
            if in_sixteenths(tick, per_beat) <= position:
                root, _, quality = symbol.partition("_")
                steps = chords.TONES[quality] if quality else ()
                tones = [(chords.ROOTS.index(root) + step) % 12 for step in steps] if quality else []
        sounding = [pitch for onset, end, pitch in spans if onset <= position < end]
        starting = [pitch for onset, end, pitch in spans if onset == position < end]
        sixteenths.append((sounding, starting, tones))
    return sixteenths


def consonance_by_hand(score: Score, marks: Sequence[ChordMark]) -> float:
    values = []
    for sounding, _, tones in by_sixteenths(score, marks):
        for tone in tones if sounding else ():
            interval = (max(sounding) - tone) % 12
            values.append(1 if interval in (0, 3, 4, 7, 8, 9) else 0 if interval == 5 else -1)
    return sum(values) / len(values) if values else math.nan


def chord_tone_ratio_by_hand(score: Score, marks: Sequence[ChordMark]) -> float:
    melody = [
        (max(starting), tones)
        for sounding, starting, tones in by_sixteenths(score, marks)
        if starting and max(starting) == max(sounding)
    ]
    n_c = n_n = n_p = 0
    for number, (pitch, tones) in enumerate(melody):
        if not tones:
            continue
        if pitch % 12 in tones:
            n_c += 1
        else:
            n_n += 1
            n_p += number + 1 < len(melody) and abs(melody[number + 1][0] - pitch) <= 2
    return (n_c + n_p) / (n_c + n_n) if n_c + n_n else math.nan


@settings(max_examples=80, deadline=None)
@given(st.lists(notes, min_size=1, max_size=30), chord_marks)
def test_harmony_as_yeh_on_any_notes(rows: list[tuple[int, ...]], marks: Sequence[ChordMark]) -> None:
    score = score_of(rows, chords=marks)
    found = evaluate(score, ["pitch_consonance_score", "chord_tone_ratio"])
    expected = [consonance_by_hand(score, marks), chord_tone_ratio_by_hand(score, marks)]
    assert list(found.values()) == pytest.approx(expected, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("path", REAL_FILES[::4], ids=lambda path: path.stem)
def test_harmony_as_yeh_on_real_files(path: Path) -> None:
    score = midi.read(path)
    short = Score(score.ticks_per_beat, score.notes[:250], tracks=score.tracks)
    marks = chords.recognised_marks(short)
    assert harmony.pitch_consonance_score(short) == pytest.approx(consonance_by_hand(short, marks), abs=1e-12)
    assert harmony.chord_tone_ratio(short) == pytest.approx(chord_tone_ratio_by_hand(short, marks), abs=1e-12)


def test_jsb_test_split_has_the_known_means() -> None:
    paths = sorted((DATA / "jsb/boulanger_midi/test").glob("*.mid"))
    if not paths:
        pytest.skip("the JSB chorales are not on this machine")
    values = [evaluate(midi.read(path), ["pitch_count", "pitch_in_scale_rate"]) for path in paths]
    assert np.mean([value["pitch_count"] for value in values]) == pytest.approx(26.7, abs=0.3)
    assert np.mean([value["pitch_in_scale_rate"] for value in values]) == pytest.approx(0.93, abs=0.005)


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_equal_to_the_published_formulas_on_real_files(path: Path) -> None:
    """mgeval, MusDr, Yeh et al. and our own, each as its docstring says it, on all notes of the file."""
    score = midi.read(path)
    notes, beats = plain.notes_of(score), plain.chord_of_each_beat(score)
    changes = plain.without_repeats(beats)
    similarity, repetition = plain.bar_similarities(notes)
    expected = {
        "note_count": len(notes),
        "pitch_interval": plain.pitch_interval(notes),
        "inter_onset_interval": plain.inter_onset_interval(notes),
        "grooving_similarity": plain.grooving_similarity(notes),
        "chord_histogram_entropy": plain.chord_histogram_entropy(beats),
        "chord_coverage": len(set(beats)),
        "chord_tonal_distance": plain.chord_tonal_distance(beats),
        "chord_transition_entropy": plain.transition_entropy(changes),
        "chord_pair_entropy": plain.pair_entropy(changes),
        "chord_progression_irregularity": plain.progression_irregularity(changes),
        "bar_similarity": similarity,
        "bar_repetition": repetition,
        **plain.voice_leading(notes),
    }
    assert evaluate(score, expected) == pytest.approx(expected, abs=1e-9, nan_ok=True)
    np.testing.assert_allclose(
        HISTOGRAMS["note_length_transition_matrix"].function(score), plain.note_length_transitions(notes), atol=1e-12
    )


@pytest.mark.parametrize("path", REAL_FILES[::3], ids=lambda path: path.stem)
def test_the_distance_of_melody_and_chords_as_yeh_on_real_files(path: Path) -> None:
    score = midi.read(path)
    short = Score(score.ticks_per_beat, score.pitched_notes[:300], tracks=score.tracks)
    expected = plain.melody_chord_tonal_distance(plain.notes_of(short), short)
    assert harmony.melody_chord_tonal_distance(short) == pytest.approx(expected, abs=1e-9)


def on_the_grid(score: Score) -> pretty_midi.PrettyMIDI:
    """The notes that sound, in sixteenths of 1/8 s, all of one loudness, as pretty_midi's."""
    made = pretty_midi.PrettyMIDI()
    for track in range(len(score.tracks)):
        instrument = pretty_midi.Instrument(0)
        instrument.notes = [
            pretty_midi.Note(80, pitch, onset / 8, end / 8)
            for onset, end, pitch, of in plain.notes_of(score)
            if of == track and end > onset
        ]
        made.instruments.append(instrument)
    return made


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_pitch_classes_as_pretty_midi_on_real_files(path: Path) -> None:
    """mgeval's histogram and transitions of pitch classes are pretty_midi's."""
    score = midi.read(path)
    reference = on_the_grid(score)
    transitions = reference.get_pitch_class_transition_matrix()
    for name, expected in (
        ("pitch_class_histogram", reference.get_pitch_class_histogram(use_duration=True)),
        ("pitch_class_transition_matrix", transitions / transitions.sum()),
    ):
        np.testing.assert_allclose(HISTOGRAMS[name].function(score), expected, atol=1e-9)


@pytest.mark.parametrize("path", REAL_FILES, ids=lambda path: path.stem)
def test_the_clarity_of_the_key_as_music21_on_real_files(path: Path) -> None:
    """music21's KrumhanslKessler is given the same notes."""
    from music21 import analysis, note, stream

    score = midi.read(path)
    short = Score(score.ticks_per_beat, score.pitched_notes[:300], tracks=score.tracks)
    untyped: Any = stream
    part = untyped.Part()
    for onset, end, pitch, _ in plain.notes_of(short):
        if end > onset:
            part.insert(onset / 4, note.Note(pitch, quarterLength=(end - onset) / 4))
    finder: Any = analysis.discrete.KrumhanslKessler
    found = finder(part).getSolution(part)
    assert METRICS["key_clarity"].function(short) == pytest.approx(found.correlationCoefficient, abs=1e-9)
    own = key(short)
    assert own is not None and (own[0], own[1]) == (found.tonic.pitchClass, found.mode == "minor")


DRUMS = [path for path in REAL_FILES if "lakh" in path.parts] + [
    path for path in sorted(DATA.glob("lakh/clean_midi/*.mid"))[::2] if path not in REAL_FILES
]


@pytest.mark.nightly
def test_drums_as_muspy_on_real_files() -> None:
    if not DRUMS:
        pytest.skip("the data sets are not on this machine")
    found, expected = [], []
    for path in DRUMS:
        try:
            expected.append(drum_pattern_consistency(path))
        except Exception:  # MusPy refuses some damaged files, in many ways
            continue
        found.append(METRICS["drum_pattern_consistency"].function(midi.read(path)))
    assert np.isfinite(expected).sum() > 50
    assert found == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_every_metric_is_compared() -> None:
    """With MusPy, or by the tests above; or it is too simple for a reference and has tests of its own."""
    muspy_s = {name for name, metric in METRICS.items() if "MusPy" in metric.source}
    assert muspy_s == {*MUSPY, "drum_pattern_consistency"}
