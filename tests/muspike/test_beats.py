"""The beat in the notes: the written grid is left alone, a shifted one is found, a performance is tracked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muspike import beat as beat_package
from muspike import midi, tokens
from muspike.beat import Found, bars, on_annotated_beats, on_beat, tracking
from muspike.errors import BadInput

DATA = Path(__file__).parents[2].parent / "shared" / "data"
RESOLUTION = 480
SIXTEENTH = RESOLUTION // 4
CHORDS = ((48, 64, 67, 72), (45, 60, 64, 69), (41, 57, 60, 65), (43, 59, 62, 67))


def song(n_bars: int = 24, beats: int = 4, pickup: int = 0) -> NDArray[Any]:
    """Bars of `beats` beats with a chord and a low note on each downbeat, and eighths over it; ticks on the grid.

    `pickup` eighths come before the first bar, which begins as late as needed.
    """
    start = 2 * pickup * SIXTEENTH
    rows = [(2 * k * SIXTEENTH, 2 * SIXTEENTH, 67 + k % 3, 70, 0) for k in range(pickup)]
    for bar in range(n_bars):
        bass, *chord = CHORDS[bar % 4]
        at = start + bar * beats * RESOLUTION
        rows += [(at, beats * RESOLUTION, pitch, 80, 0) for pitch in (bass, *chord)]
        rows += [(at + 2 * k * SIXTEENTH, 2 * SIXTEENTH, 72 + (k * 5 + bar) % 7, 75, 0) for k in range(1, 2 * beats)]
    return midi.table(rows, midi.NOTE)


def shifted(notes: NDArray[Any], ticks: int) -> NDArray[Any]:
    moved = notes.copy()
    moved["onset"] += ticks
    return moved


def bar_lengths(score: midi.Score) -> list[int]:
    words = tokens.encode(score)
    lengths: list[int] = words[words[:, tokens.BAR_BEAT] == tokens.BarBeat.BAR, tokens.POSITION].tolist()
    return lengths


def play(notes: NDArray[Any], beat_s: NDArray[np.float64]) -> midi.Score:
    """The notes with each beat at its time, written at the nominal 120 bpm."""
    at = np.arange(len(beat_s))
    onsets = np.interp(notes["onset"] / RESOLUTION, at, beat_s)
    ends = np.interp((notes["onset"] + notes["duration"]) / RESOLUTION, at, beat_s)
    played = notes.copy()
    played["onset"], played["duration"] = np.rint(960 * onsets), np.maximum(1, np.rint(960 * (ends - onsets)))
    return midi.Score(RESOLUTION, played)


def test_a_score_on_its_written_grid_stays_the_same_object() -> None:
    score = midi.Score(RESOLUTION, song(), time_signatures=midi.table([(0, 3, 4)], midi.TIME_SIGNATURE))
    found = on_beat(score)
    assert found.method == "as written"
    assert found.score is score, "the written bars are believed, even where the notes speak for others"
    assert found.error == found.error_before == 0


def test_too_few_notes_tell_nothing() -> None:
    score = midi.Score(RESOLUTION, shifted(song()[:8], 50))
    assert on_beat(score).score is score


@pytest.mark.parametrize("offset", [37, 90, 150, 307, 411])
@pytest.mark.parametrize("beats", [3, 4])
def test_a_shifted_grid_and_its_bars_are_found(offset: int, beats: int) -> None:
    found = on_beat(midi.Score(RESOLUTION, shifted(song(beats=beats), offset)))
    assert found.method == "phase"
    assert found.offset_sixteenths == pytest.approx(offset / SIXTEENTH, abs=0.01)
    assert found.beats_per_bar == beats
    assert found.error < 0.001 < found.error_before
    assert np.array_equal(found.score.notes, midi.Score(RESOLUTION, song(beats=beats)).notes)
    assert set(bar_lengths(found.score)) == {4 * beats}
    assert found.sentence in found.score.remarks


def test_bars_of_one_beat_are_not_believed() -> None:
    score = midi.Score(RESOLUTION, song(), time_signatures=midi.table([(0, 1, 4)], midi.TIME_SIGNATURE))
    assert set(bar_lengths(score)) == {4}
    found = on_beat(score)
    assert (found.method, found.offset_sixteenths, found.beats_per_bar) == ("phase", 0, 4)
    assert set(bar_lengths(found.score)) == {16}


def test_a_pickup_that_is_written_as_a_bar_of_one_beat_leaves_the_other_bars_as_they_are() -> None:
    signatures = midi.table([(0, 1, 4), (RESOLUTION, 3, 4)], midi.TIME_SIGNATURE)
    score = midi.Score(RESOLUTION, song(pickup=2), time_signatures=signatures)
    assert bar_lengths(score)[:3] == [4, 12, 12]
    assert on_beat(score).score is score


def test_the_written_beat_moves_only_where_notes_speak_plainly_against_it() -> None:
    late = on_beat(midi.Score(RESOLUTION, shifted(song(), 3 * SIXTEENTH)))
    assert (late.method, late.offset_sixteenths) == ("phase", 3)
    # Eighths between the beats as heavy as those on them are syncopation.
    rows = [(240 * k, 240, 60 + k % 5, 80, 0) for k in range(64)]
    assert on_beat(midi.Score(RESOLUTION, midi.table(rows, midi.NOTE))).method == "as written"


def test_a_pickup_is_a_short_first_bar() -> None:
    found = on_beat(midi.Score(RESOLUTION, shifted(song(pickup=2), 53)))
    assert found.first_bar_beats == 1
    assert found.score.time_signatures.tolist() == [(0, 1, 4), (RESOLUTION, 4, 4)]
    assert bar_lengths(found.score)[:3] == [4, 16, 16]
    assert "pickup of 1" in found.sentence


def test_a_note_a_little_before_the_first_downbeat_begins_the_piece() -> None:
    notes = shifted(song(), 500)
    notes["onset"][0] -= 9
    found = on_beat(midi.Score(RESOLUTION, notes))
    assert found.score.notes["onset"][:2].tolist() == [0, 0]
    assert bar_lengths(found.score)[0] == 16


def test_a_file_written_at_half_its_tempo_gets_two_beats_for_one() -> None:
    # Beats on written eighths, and thirty-seconds in all beats.
    rows = [(60 * k + 31, 60, 60 + k % 7, 90 if k % 4 == 0 else 50, 0) for k in range(256)]
    score = midi.Score(RESOLUTION, midi.table(rows, midi.NOTE), tempos=midi.table([(0, 60.0)], midi.TEMPO))
    found = on_beat(score)
    assert (found.method, found.tempo_factor) == ("phase", 2)
    assert found.bpm == pytest.approx(120)
    assert found.score.tempos["bpm"].tolist() == [120]
    assert np.diff(found.score.notes["onset"]).tolist() == [SIXTEENTH] * 255


def test_triplets_have_a_beat_as_well() -> None:
    rows = [(160 * k + 71, 150, 60 + k % 7, 100 if k % 3 == 0 else 50, 0) for k in range(192)]
    found = on_beat(midi.Score(RESOLUTION, midi.table(rows, midi.NOTE)))
    assert (found.method, found.parts_per_beat) == ("phase", 6)
    assert (found.score.notes["onset"][::3] % RESOLUTION == 0).all()
    assert tokens.losses(found.score).triplets == 128
    assert on_beat(midi.Score(RESOLUTION, shifted(midi.table(rows, midi.NOTE), -71))).method == "as written"


def test_tempos_keys_and_chords_move_with_the_notes() -> None:
    score = midi.Score(
        RESOLUTION,
        shifted(song(), 100),
        tempos=midi.table([(0, 90.0), (100 + 8 * RESOLUTION, 110.0)], midi.TEMPO),
        key_signatures=midi.table([(100 + 4 * RESOLUTION, 2, False)], midi.KEY_SIGNATURE),
        chords=[midi.ChordMark(100 + 4 * RESOLUTION, "A_m")],
    )
    moved = on_beat(score).score
    assert moved.tempos.tolist() == [(0, 90.0), (8 * RESOLUTION, 110.0)]
    assert moved.key_signatures["tick"].tolist() == [4 * RESOLUTION]
    assert moved.chords == [midi.ChordMark(4 * RESOLUTION, "A_m")]


@pytest.mark.parametrize("mean_s", [0.5, 0.6, 0.75])
def test_a_performance_is_tracked_through_its_tempo_curve(mean_s: float) -> None:
    rng = np.random.default_rng(1)
    steps = mean_s * (1 + 0.12 * np.sin(np.arange(130) / 9) + 0.01 * rng.standard_normal(130))
    beat_s = np.cumsum(steps)
    score = play(song(32), beat_s)
    found = on_beat(score)
    assert found.method == "tracked"
    assert found.bpm == pytest.approx(60 / mean_s, rel=0.1)
    assert found.error_before > 0.2
    assert found.error < 0.06
    begins = beat_package.retime.seconds(score, score.notes["onset"])
    lasts = beat_package.retime.seconds(score, score.notes["onset"] + score.notes["duration"]) - begins
    pitches, velocities = score.notes["pitch"].astype(np.int64), score.notes["velocity"].astype(np.int64)
    beats = tracking.track(begins, tracking.salience(begins, lasts, pitches, velocities))
    assert np.median(np.abs(beats[:, None] - beat_s).min(axis=1)) < 0.03
    # The notes still sound when they did: tempos of bars keep the bar lines in time.
    before = beat_package.retime.seconds(score, score.notes["onset"])
    after = beat_package.retime.seconds(found.score, found.score.notes["onset"])
    assert np.abs((after - after[0]) - (before - before[0])).max() < 0.5


def test_tracking_needs_two_times() -> None:
    assert len(tracking.track(np.array([1.0]), np.ones(1))) == 0
    rows = [(7, 100, 40 + k, 80, 0) for k in range(20)]
    assert on_beat(midi.Score(RESOLUTION, midi.table(rows, midi.NOTE))).score.notes["onset"].max() <= 7


def test_far_notes_cost_no_time() -> None:
    notes = shifted(song(4), 41)
    notes["onset"][-1] = midi.LAST_TICK - 1000
    found = on_beat(midi.Score(RESOLUTION, notes))
    assert found.score.notes["onset"].max() <= midi.LAST_TICK


def test_an_inserted_half_bar_is_followed() -> None:
    notes = song(32)
    later = notes["onset"] >= 16 * 4 * RESOLUTION
    notes["onset"][later] += 2 * RESOLUTION
    found = on_beat(midi.Score(RESOLUTION, shifted(notes, 77)))
    assert bar_lengths(found.score) in ([16] * 15 + [24] + [16] * 16, [16] * 16 + [8] + [16] * 16)


def test_bars_without_any_evidence_are_whole() -> None:
    found = bars.find(np.array([0]), np.array([4]), np.array([60]), 1)
    assert found.downbeats.tolist() == [0]


def test_annotated_beats_become_beats_and_bars() -> None:
    beats = [100 + 500 * k + 7 * (k % 2) for k in range(12)]
    rows = [(round(at), 200, 60, 80, 0) for at in beats]
    score = midi.Score(RESOLUTION, midi.table(rows, midi.NOTE), tempos=midi.table([(0, 100.0)], midi.TEMPO))
    moved = on_annotated_beats(score, [(at, k in (1, 4, 8)) for k, at in enumerate(beats)])
    assert moved.notes["onset"].tolist() == [RESOLUTION * k for k in range(12)]
    assert moved.time_signatures.tolist() == [(0, 1, 4), (480, 3, 4), (4 * 480, 4, 4), (8 * 480, 3, 4)][: len(
        moved.time_signatures
    )]  # fmt: skip
    assert bar_lengths(moved)[:3] == [4, 12, 16]
    assert moved.tempos["bpm"][0] == pytest.approx(100 * 480 / 500, rel=0.02)


@pytest.mark.parametrize(
    ("beats", "message"),
    [
        ([(0, True)], "at least two beats"),
        ([(0, False), (480, False)], "0 downbeats"),
        ([(0, True), (480, False), (480, False)], "beat 2 at tick 480"),
        ([0, 480], "beats"),
    ],
)
def test_wrong_beats_are_refused(beats: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        on_annotated_beats(midi.Score(RESOLUTION, song(2)), beats)


def test_losses_are_counted() -> None:
    rows = [
        (0, 480, 60, 80, 0), (160, 80, 60, 80, 0), (540, 60, 60, 80, 0), (545, 60, 62, 80, 0), (960, 80, 60, 80, 0),
        (1000, 80, 61, 80, 0), (0, 10, 36, 80, 1), (480, 10, 36, 80, 1),
    ]  # fmt: skip
    score = midi.Score(
        480,
        midi.table(rows, midi.NOTE),
        tracks=(midi.Track(), midi.Track(is_drum=True)),
        tempos=midi.table([(0, 20.0), (480, 100.0), (960, 300.0)], midi.TEMPO),
    )
    found = tokens.losses(score)
    assert (found.notes, found.drum_notes, found.tempi, found.tempi_out_of_range) == (6, 2, 3, 2)
    assert (found.moved, found.triplets, found.thirty_seconds) == (4, 1, 2)
    assert found.fused_onsets == 1
    said: list[str] = []
    tokens.encode(score, said)
    assert said == found.sentences()


def pop909(names: tuple[str, ...]) -> list[tuple[midi.Score, NDArray[Any]]]:
    folder = DATA / "pop909" / "POP909"
    if not folder.exists():
        pytest.skip("shared/data is not here")
    return [(midi.read(folder / name / f"{name}.mid"), np.loadtxt(folder / name / "beat_midi.txt")) for name in names]


def test_pop909_comes_onto_its_annotated_beat_without_its_annotations() -> None:
    near = 0
    for score, table in pop909(tuple(f"{k:03}" for k in range(1, 909, 45))):
        beats = beat_package.retime.ticks(score, table[:, 0])
        found = on_beat(score)
        position = beat_package.retime.beat_position(found.score.notes["onset"], RESOLUTION * np.arange(4000.0))
        annotated = beat_package.retime.beat_position(score.notes["onset"], beats)
        on = np.abs(annotated - np.rint(annotated)) < 0.1
        near += bool(np.mean(np.abs(position[on] - np.rint(position[on])) < 0.125) > 0.95)
    assert near >= 19, "of 21 files"


def test_annotated_bars_of_pop909_come_back() -> None:
    for score, table in pop909(("003", "010", "026")):
        beats = beat_package.retime.ticks(score, table[:, 0])
        down = np.flatnonzero(table[:, 2])
        moved = on_annotated_beats(score, list(zip(beats.tolist(), (table[:, 2] == 1).tolist(), strict=True)))
        lengths = np.array(bar_lengths(moved))
        first = np.searchsorted(beats[down], score.notes["onset"][0] + SIXTEENTH / 2, side="right") - 1
        expected = 4 * np.diff(down)[max(first, 0) :]
        start = 0 if first >= 0 else 1
        n = min(len(lengths) - start, len(expected))
        assert n > 40
        assert lengths[start : start + n - 1].tolist() == expected[: n - 1].tolist()


def test_chorales_keep_their_written_grid() -> None:
    files = sorted((DATA / "jsb" / "music21_midi").glob("*.mid"))[::12]
    if not files:
        pytest.skip("shared/data is not here")
    assert {on_beat(midi.read(file)).method for file in files} == {"as written"}


def test_emopia_comes_nearer_to_a_grid() -> None:
    files = sorted((DATA / "emopia" / "midis").glob("*.mid"))[::40]
    if not files:
        pytest.skip("shared/data is not here")
    found: list[Found] = [on_beat(midi.read(file)) for file in files]
    tracked = [one for one in found if one.method == "tracked"]
    assert len(tracked) > 0.8 * len(found)
    assert np.mean([one.error for one in tracked]) < 0.5 * np.mean([one.error_before for one in tracked])


def test_the_fastest_tempo_has_ticks_for_every_second() -> None:
    score = midi.Score(RESOLUTION, song(2), tempos=midi.table([(0, 1e6), (960, 20.0), (1440, 3e6)], midi.TEMPO))
    times_s = np.linspace(0, 20, 400)
    at = beat_package.retime.ticks(score, times_s)
    assert (np.diff(at) > 0).all()
    assert beat_package.retime.seconds(score, at) == pytest.approx(times_s)
