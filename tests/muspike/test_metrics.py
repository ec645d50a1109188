"""Metrics on pieces small enough to check by ear, on pieces where they are not defined, and the registry."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from muspike.errors import BadInput
from muspike.metrics import HISTOGRAMS, METRICS, Metric, add, evaluate, evaluate_set, harmony, on_grid, pitch, rhythm
from muspike.midi import NOTE, TIME_SIGNATURE, ChordMark, Score, Track, table

BEAT = 480
PIANO, DRUMS = (Track(),), (Track(is_drum=True),)
BAR = 4 * BEAT


def piece(
    *notes: tuple[float, float, int], chords: Sequence[ChordMark] | None = None, tracks: Sequence[Track] = PIANO
) -> Score:
    """Notes as (onset, duration, pitch) in beats, on the first track."""
    rows = [(round(onset * BEAT), round(duration * BEAT), key, 64, 0) for onset, duration, key in notes]
    return Score(BEAT, table(rows, NOTE), chords=chords, tracks=tracks)


C_MAJOR_SCALE = piece(*((beat, 1, key) for beat, key in enumerate((60, 62, 64, 65, 67, 69, 71, 72))))


def test_a_scale() -> None:
    found = evaluate(C_MAJOR_SCALE)
    assert found["pitch_count"] == 8
    assert found["pitch_classes_used"] == 7
    assert found["pitch_range"] == 12
    assert found["pitch_entropy"] == 3
    assert found["pitch_class_entropy"] == pytest.approx(6 / 8 * 3 + 1 / 4 * 2)
    assert found["pitch_in_scale_rate"] == 1
    assert found["polyphony"] == 1
    assert found["polyphony_rate"] == 0
    assert found["note_count"] == 8


def test_one_chromatic_note_lowers_the_scale_rate() -> None:
    score = piece(*((beat, 1, key) for beat, key in enumerate((60, 62, 64, 65, 67, 69, 71, 61))))
    assert pitch.best_scale_rate(score) == 7 / 8


def test_polyphony_rate_counts_more_than_two() -> None:
    two, three = piece((0, 4, 60), (0, 4, 64)), piece((0, 4, 60), (0, 4, 64), (2, 2, 67))
    assert pitch.polyphony_rate(two) == 0
    assert pitch.polyphony_rate(three) == 0.5
    assert pitch.polyphony_rate(two, threshold=1) == 1
    assert pitch.polyphony(three) == 2.5


def test_unisons_sound_as_one_pitch() -> None:
    assert pitch.polyphony(piece((0, 2, 60), (1, 2, 60))) == 1


def test_a_note_touches_the_beat_in_which_it_ends() -> None:
    # Beats 0 and 1 (it ends where that starts), not 2; beat 3 is played, and 4 is touched by its end.
    assert rhythm.empty_beat_rate(piece((0, 1, 60), (3, 1, 60))) == 1 / 5
    assert rhythm.empty_beat_rate(piece((0, 0.75, 60), (3, 0.75, 60))) == 2 / 4


def test_empty_bars() -> None:
    assert rhythm.empty_measure_rate(piece((0, 1, 60), (13, 1, 60))) == 2 / 4
    assert rhythm.empty_measure_rate(piece((0, 1, 60), (10, 1, 60)), positions_per_bar=12) == 2 / 4


def test_groove() -> None:
    same = piece(*((beat, 0.5, 60) for beat in range(8)))
    moved = piece(*((beat, 0.5, 60) for beat in (0, 1, 2, 3, 4.5, 5, 6, 7)))
    assert rhythm.groove_consistency(same) == 1
    assert rhythm.groove_consistency(moved) == 1 - 2 / 16
    assert rhythm.groove_consistency(moved, positions_per_bar=8) == 1 - (0 + 2 + 2) / (8 * 3)


@pytest.mark.parametrize("metre", [(4, 4), (3, 4), (2, 2), (6, 8), (7, 16), (7, 32), (5, 64), (13, 4)])
@pytest.mark.parametrize("ticks_per_beat", [480, 1024, 97])
@pytest.mark.parametrize("fills", [False, True], ids=["short", "to the bar line"])
def test_equal_bars_have_the_same_groove(metre: tuple[int, int], ticks_per_beat: int, fills: bool) -> None:
    """In any metre and resolution, also if the last note ends on a bar line, and behind a pickup and silence."""
    bar = 4 * ticks_per_beat * metre[0] / metre[1]
    pattern = [0, 0.3, 0.55]
    rows = [
        (round(ticks_per_beat + (n + at) * bar), max(1, round((0.45 if fills else 0.2) * bar)), 60, 80, 0)
        for n in range(2, 10)
        for at in pattern
    ]
    metres = table([(0, 1, 4), (ticks_per_beat, *metre)], TIME_SIGNATURE)
    assert rhythm.groove_consistency_by_bar(Score(ticks_per_beat, table(rows, NOTE), time_signatures=metres)) == 1


def test_the_groove_of_written_bars() -> None:
    assert rhythm.groove_consistency(piece((0, 4, 60), (4, 4, 60))) == 1 - 1 / (2 * 16)  # and the silence after them
    assert rhythm.groove_consistency_by_bar(piece((0, 4, 60), (4, 4, 60))) == 1
    assert rhythm.groove_consistency_by_bar(piece((0, 1, 60), (4, 1, 60), (5, 1, 60))) == 1 - 1 / 16
    # 3/4 and a bar of 2/4: pairs of 12 sixteenths, one onset is in neither neighbour.
    waltz = piece((0, 1, 60), (3, 1, 60), (4, 1, 60), (6, 1, 60))
    waltz.time_signatures = table([(0, 3, 4), (6 * BEAT, 2, 4)], TIME_SIGNATURE)
    assert rhythm.groove_consistency_by_bar(waltz) == 1 - (1 / 12 + 1 / 12) / 2
    # A time signature ends a bar of 4/4 after its first beat: 4 sixteenths, then 8.
    cut = piece((0, 1, 60), (1, 1, 60), (2, 1, 60))
    cut.time_signatures = table([(BEAT, 2, 4)], TIME_SIGNATURE)
    assert rhythm.groove_consistency_by_bar(cut) == 1 - 1 / 8
    # An onset that is rounded to the bar line belongs to the bar after it.
    assert rhythm.groove_consistency_by_bar(piece((0, 1, 60), (3.99, 1, 60), (8, 1, 60))) == 1
    assert math.isnan(rhythm.groove_consistency_by_bar(piece((0, 1, 60), (2, 2, 60))))


def test_note_lengths() -> None:
    found = rhythm.note_length_histogram(piece((0, 1, 60), (1, 1, 62), (2, 0.25, 64), (3, 1.5, 65)))
    names = dict(zip(rhythm.NOTE_LENGTHS, found, strict=True))
    assert {name: share for name, share in names.items() if share} == {
        "quarter": 0.5,
        "sixteenth": 0.25,
        "dotted quarter": 0.25,
    }


@pytest.mark.parametrize(
    ("key", "score"),
    [
        (72, 2 / 3),  # C over C, E, G: unison, sixth, and a fourth above G (a fifth if one folded the interval)
        (76, 1),
        (77, -2 / 3),
        (70, -1 / 3),  # B flat: seventh, tritone, minor third
    ],
)
def test_consonance_over_c_major(key: int, score: float) -> None:
    assert harmony.pitch_consonance_score(piece((0, 4, key), chords=[ChordMark(0, "C_M")])) == pytest.approx(score)


def test_consonance_is_weighted_by_duration_and_skips_rests_and_no_chord() -> None:
    score = piece((0, 3, 76), (3, 1, 77), (8, 1, 77))
    marks = [ChordMark(0, "C_M"), ChordMark(8 * BEAT, "N")]
    assert harmony.pitch_consonance_score(score, marks) == pytest.approx((3 * 3 + 1 * -2) / 12)
    assert math.isnan(harmony.pitch_consonance_score(score, [ChordMark(0, "N")]))


def test_the_melody_is_the_highest_sounding_note() -> None:
    score = piece((0, 4, 76), (1, 1, 61), (2, 1, 77), chords=[ChordMark(0, "C_M")])
    spans = on_grid(score).spans
    np.testing.assert_array_equal(np.repeat(spans.highest, spans.width), [76] * 8 + [77] * 4 + [76] * 4)
    assert harmony.chord_tone_ratio(score) == 1 / 2  # 76 and 77; 61 begins below the held 76


@pytest.mark.parametrize(
    ("keys", "ratio"), [((72, 74, 76), 1), ((72, 74, 79), 2 / 3), ((76, 72, 73), 2 / 3), ((74,), 0)]
)
def test_non_chord_tones_that_move_on_by_step_are_proper(keys: Sequence[int], ratio: float) -> None:
    melody = piece(*((beat, 1, key) for beat, key in enumerate(keys)))
    assert harmony.chord_tone_ratio(melody, [ChordMark(0, "C_M")]) == pytest.approx(ratio)


def test_chord_tones_are_those_of_the_chord_at_the_onset() -> None:
    melody = piece((0, 1, 72), (1, 1, 77), (2, 1, 72))
    assert harmony.chord_tone_ratio(melody, [ChordMark(0, "C_M"), ChordMark(BEAT, "F_M")]) == 1
    assert harmony.chord_tone_ratio(melody, [ChordMark(0, "C_M"), ChordMark(2 * BEAT, "F_M")]) == 2 / 3


@pytest.mark.parametrize(
    ("quality", "tones"),
    [
        ("M", "C E G"),
        ("m", "C D# G"),
        ("o", "C D# F#"),
        ("+", "C E G#"),
        ("7", "C E G A#"),
        ("M7", "C E G B"),
        ("m7", "C D# G A#"),
        ("o7", "C D# F# A"),
        ("/o7", "C D# F# A#"),
        ("sus2", "C D G"),
        ("sus4", "C F G"),
    ],
)
def test_chord_tones(quality: str, tones: str) -> None:
    names = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
    chord_tones = [
        name
        for key, name in enumerate(names)
        if harmony.chord_tone_ratio(piece((0, 1, 60 + key)), [ChordMark(0, f"C_{quality}")]) == 1
    ]
    assert chord_tones == tones.split()


def test_chords_are_annotated_ones_else_recognised() -> None:
    triad = [(0, 4, 48), (0, 4, 52), (0, 4, 55), (0, 4, 72)]
    recognised = harmony.pitch_consonance_score(piece(*triad))
    assert recognised == pytest.approx(2 / 3)
    assert harmony.pitch_consonance_score(piece(*triad, chords=[ChordMark(0, "D_M")])) != pytest.approx(recognised)


def test_an_unknown_chord_is_named() -> None:
    with pytest.raises(BadInput, match="C_blue"):
        harmony.pitch_consonance_score(C_MAJOR_SCALE, [ChordMark(0, "C_blue")])


COUNTS = {"pitch_count": 0, "pitch_classes_used": 0, "pitch_range": 0, "note_count": 0, "chord_coverage": 0}


@pytest.mark.parametrize(
    "score", [piece(), piece((0, 1, 36), (1, 1, 38), tracks=DRUMS), Score(BEAT, table([], NOTE), tracks=())]
)
def test_without_pitched_notes_counts_are_zero_and_the_rest_nan(score: Score) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(score)
        histograms = [metric.function(score) for metric in HISTOGRAMS.values()]
    drums = found.pop("drum_pattern_consistency")
    assert drums == 1 if len(score.notes) else math.isnan(drums)
    assert found == {name: COUNTS.get(name, pytest.approx(math.nan, nan_ok=True)) for name in METRICS if name in found}
    assert all(np.isnan(histogram).all() for histogram in histograms)


VOICES = [name for name, metric in METRICS.items() if metric.group == "voices"]


def test_one_note_is_defined_but_for_what_needs_two() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(piece((0, 1, 60), chords=[ChordMark(0, "C_M")]))
    assert found["pitch_entropy"] == 0
    assert math.copysign(1, found["pitch_entropy"]) == 1
    assert found["pitch_in_scale_rate"] == found["polyphony"] == found["chord_tone_ratio"] == 1
    assert [name for name, value in found.items() if math.isnan(value)] == [
        "pitch_interval",
        "groove_consistency",
        "groove_consistency_by_bar",
        "grooving_similarity",
        "inter_onset_interval",
        "drum_pattern_consistency",
        "chord_tonal_distance",
        "chord_transition_entropy",
        "chord_pair_entropy",
        "chord_progression_irregularity",
        "ends_in_cadence",
        *VOICES,
        "bar_similarity",
        "bar_repetition",
    ]


def test_groove_of_one_bar_is_nan_and_of_a_full_bar_that_against_the_silence_after_it() -> None:
    assert math.isnan(rhythm.groove_consistency(piece((0, 1, 60), (2, 1.75, 60))))
    assert rhythm.groove_consistency(piece((0, 1, 60), (2, 2, 60))) == 1 - 2 / 16


def test_notes_too_short_for_the_grid_are_counted_but_never_sound() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(piece((0, 0.05, 60)))
    assert found["note_count"] == found["pitch_count"] == 1
    assert math.isnan(found["polyphony"])
    assert math.isnan(found["empty_beat_rate"])


def test_drums_are_left_out() -> None:
    rows = [*C_MAJOR_SCALE.notes.tolist(), *((tick, 120, 36, 100, 1) for tick in range(0, 4 * BAR, 240))]
    found = evaluate(Score(BEAT, table(rows, NOTE), tracks=(Track(), *DRUMS)))
    assert found.pop("drum_pattern_consistency") == 1
    wanted = evaluate(C_MAJOR_SCALE)
    assert math.isnan(wanted.pop("drum_pattern_consistency"))
    assert found == pytest.approx(wanted, nan_ok=True)


def test_ticks_per_beat_do_not_matter() -> None:
    notes = C_MAJOR_SCALE.notes.copy()
    notes["onset"] //= 5
    notes["duration"] //= 5
    assert evaluate(Score(96, notes)) == pytest.approx(evaluate(C_MAJOR_SCALE), nan_ok=True)


def test_a_set_is_one_array_per_metric_in_order() -> None:
    scores = [C_MAJOR_SCALE, piece(), piece((0, 1, 60))]
    found = evaluate_set(iter(scores))
    assert list(found) == [*METRICS, *HISTOGRAMS]
    for name in METRICS:
        np.testing.assert_array_equal(found[name], [evaluate(score)[name] for score in scores])
    assert found["note_length_histogram"].shape == (3, 12)
    assert list(evaluate_set(scores, ["polyphony"])) == ["polyphony"]


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(BadInput, match="swing"):
        evaluate(C_MAJOR_SCALE, ["swing"])
    with pytest.raises(BadInput, match="swing"):
        evaluate_set([], ["swing"])


@pytest.mark.parametrize(("key", "metric"), [*METRICS.items(), *HISTOGRAMS.items()])
def test_every_metric_says_what_it_is(key: str, metric: Any) -> None:
    assert metric.name == key
    assert metric.unit
    assert metric.source
    assert metric.meaning
    assert "\n" not in metric.meaning
    assert not {"better", "higher", "lower", "good", "bad"} & set(metric.meaning.split())


UNDEFINED = ("drum_pattern_consistency",)


def test_a_far_note_costs_no_time_and_memory() -> None:
    beats = 2**20
    far = piece((0, 4, 60), (4, 4, 64), (beats, 4, 67))
    assert len(on_grid(far).spans.start) == 4
    values = evaluate(far)
    assert values["polyphony"] == 1
    assert values["empty_beat_rate"] == 1 - 14 / (beats + 5)
    assert values["empty_measure_rate"] == 1 - 5 / (beats // 4 + 2)
    assert values["groove_consistency"] == 1 - 3 / (16 * (beats // 4 + 1))
    assert values["groove_consistency_by_bar"] == 1 - 2 / (16 * (beats // 4))
    assert values["chord_tone_ratio"] == 1
    assert {name for name, value in values.items() if not math.isfinite(value)} == {*UNDEFINED, *VOICES}


def test_the_longest_score_has_metrics() -> None:
    rows = table([(0, 2**31 - 1, 60, 80, 0), (2**31 - 2, 1, 72, 80, 0)], NOTE)
    values = evaluate(Score(1, rows))
    assert values["empty_beat_rate"] == values["empty_measure_rate"] == 0
    assert values["polyphony"] == pytest.approx(1, abs=1e-8)
    assert {name for name, value in values.items() if not math.isfinite(value)} >= {*UNDEFINED, *VOICES}


def chords_in_a_row(*sonorities: Sequence[int]) -> Score:
    rows = [(480 * i, 480, pitch, 80, 0) for i, pitches in enumerate(sonorities) for pitch in pitches]
    return Score(480, table(rows, NOTE))


@pytest.mark.parametrize(
    ("sonorities", "rate"),
    [
        ([(48, 55), (50, 57)], 1.0),  # fifths
        ([(48, 60), (50, 62)], 1.0),  # octaves
        ([(48, 67), (50, 69)], 1.0),  # a fifth and an octave apart
        ([(48, 55), (43, 50), (50, 57), (52, 55)], 2 / 3),
        ([(48, 55), (60, 67)], 1.0),
        ([(48, 55), (48, 55)], 0.0),  # repeated
        ([(48, 55), (55, 60)], 0.0),  # another interval
        ([(48, 60), (50, 57)], 0.0),
        ([(48, 55), (36, 79)], 0.0),  # apart
        ([(48, 52, 55), (50, 57)], math.nan),  # of other numbers of voices
        ([(48,), (50,)], math.nan),
        ([(48, 52, 55, 60), (47, 55, 62, 67), (48, 52, 55, 60)], 0.0),
    ],
)
def test_parallels(sonorities: list[tuple[int, ...]], rate: float) -> None:
    assert METRICS["parallel_rate"].function(chords_in_a_row(*sonorities)) == pytest.approx(rate, nan_ok=True)


def test_a_held_voice_moves_in_no_parallel() -> None:
    held = [(0, 960, 48, 80, 0), (0, 480, 55, 80, 0), (480, 480, 60, 80, 0)]
    assert METRICS["parallel_rate"].function(Score(480, table(held, NOTE))) == 0


@pytest.mark.parametrize(
    ("roots", "cadence"),
    [
        (["C", "F", "G", "C"], 1),  # V-I in C
        (["C", "G", "F", "C"], 0),  # IV-I
        (["C", "F", "C", "G"], 0),  # ends on the dominant
    ],
)
def test_a_cadence_is_dominant_and_tonic(roots: list[str], cadence: float) -> None:
    tones = {"C": (48, 60, 64, 67), "F": (53, 60, 65, 69), "G": (43, 59, 62, 67)}
    score = piece(*((4 * bar, 4, key) for bar, root in enumerate(roots) for key in tones[root]))
    assert METRICS["ends_in_cadence"].function(score) == cadence


def test_chords_of_a_progression() -> None:
    marks = [ChordMark(bar * BAR, symbol) for bar, symbol in enumerate(("C_M", "G_7", "C_M", "N", "C_M", "F_M"))]
    found = evaluate(piece((0, 24, 72), chords=marks))
    assert found["chord_coverage"] == 3
    assert found["chord_histogram_entropy"] == pytest.approx(
        -(0.6 * math.log(0.6) + 2 * 0.2 * math.log(0.2))
    )  # 12 beats of C, 4 of G and of F
    # C G C F: two changes leave C, for G and for F; the one that leaves G is sure.
    assert found["chord_transition_entropy"] == pytest.approx(2 / 3)
    assert found["chord_pair_entropy"] == pytest.approx(math.log2(3))
    assert found["chord_progression_irregularity"] == 1


def test_the_tonal_distance_of_a_fifth() -> None:
    """C and G major share a tone; the distances of their centroids were computed by hand from Harte's equation."""
    marks = [ChordMark(0, "C_M"), ChordMark(BEAT, "G_M")]
    turn = [(1, 7 * math.pi / 6), (1, 3 * math.pi / 2), (0.5, 2 * math.pi / 3)]

    def at(tones: Sequence[int]) -> list[float]:
        return [sum(r * f(t * a) for t in tones) / 3 for r, a in turn for f in (math.sin, math.cos)]

    wanted = math.dist(at((0, 4, 7)), at((7, 11, 2)))
    assert evaluate(piece((0, 2, 72), chords=marks))["chord_tonal_distance"] == pytest.approx(wanted)


def test_repeated_bars() -> None:
    again = piece(*((beat, 1, 60 + beat % 4) for beat in range(12)))
    other = piece(*((beat, 1, 60 + beat) for beat in range(8)))
    assert evaluate(again, ["bar_similarity", "bar_repetition"]) == pytest.approx(
        {"bar_similarity": 1, "bar_repetition": 1}
    )
    assert evaluate(other, ["bar_similarity", "bar_repetition"]) == {"bar_similarity": 0, "bar_repetition": 0}


def test_a_metric_of_ones_own_is_found_by_its_name() -> None:
    mine = Metric("mine", lambda music: float(len(on_grid(music))), "notes", "the notes", "this test")
    add(mine)
    try:
        assert evaluate(C_MAJOR_SCALE, ["mine"]) == {"mine": 8}
        add(mine)  # the same again changes nothing
        with pytest.raises(BadInput, match="there is a metric 'mine' already"):
            add(Metric("mine", pitch.pitch_count, "pitches", "other", "this test"))
    finally:
        del METRICS["mine"]
    with pytest.raises(BadInput, match="pitch_count"):
        add(Metric("pitch_count", pitch.pitch_range, "pitches", "other", "this test"))
