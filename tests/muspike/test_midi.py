"""Scores from and to MIDI files and miditoolkit objects, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import miditoolkit
import numpy as np
import pytest

from muspike import midi
from muspike.errors import BadInput
from muspike.midi import KEY_SIGNATURE, NOTE, TEMPO, TIME_SIGNATURE, ChordMark, Score, Track, table

DATA = Path(__file__).parents[2].parent / "shared" / "data"


def make_score() -> Score:
    return Score(
        ticks_per_beat=96,
        notes=table(
            [(96, 48, 60, 80, 0), (0, 96, 55, 70, 0), (0, 96, 67, 1, 0), (0, 12, 36, 127, 1), (96, 24, 60, 90, 1)], NOTE
        ),
        tempos=table([(0, 100.0), (96, 60.0)], TEMPO),
        time_signatures=table([(0, 1, 4), (96, 6, 8)], TIME_SIGNATURE),
        key_signatures=table([(0, -3, True), (96, 4, False)], KEY_SIGNATURE),
        tracks=[Track("Piano", 3), Track("Kit", 0, True)],
        name="example",
    )


def assert_same(found: Score, wanted: Score) -> None:
    assert found.ticks_per_beat == wanted.ticks_per_beat
    assert found.notes.tolist() == wanted.notes.tolist()
    assert found.time_signatures.tolist() == wanted.time_signatures.tolist()
    assert found.key_signatures.tolist() == wanted.key_signatures.tolist()
    assert found.tempos["tick"].tolist() == wanted.tempos["tick"].tolist()
    assert found.tempos["bpm"] == pytest.approx(wanted.tempos["bpm"], rel=1e-5)  # MIDI holds whole microseconds
    assert list(found.tracks) == list(wanted.tracks)


def test_notes_are_sorted_by_onset_then_descending_pitch() -> None:
    notes = make_score().notes
    assert notes[["onset", "pitch"]].tolist() == [(0, 67), (0, 55), (0, 36), (96, 60), (96, 60)]
    assert notes["track"].tolist()[-2:] == [0, 1]  # equal ones keep their order


@pytest.mark.parametrize("note", [(0, 1, 128, 80, 0), (0, 1, -1, 80, 0), (-1, 1, 60, 80, 0), (0, -1, 60, 80, 0)])
def test_impossible_notes_are_refused(note: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match=r"tune: .*(pitch|negative)"):
        Score(480, table([(0, 1, 60, 80, 0), note], NOTE), name="tune")


@pytest.mark.parametrize(
    ("column", "row", "message"),
    [
        ("time_signatures", (0, 0, 4), "a time signature of 0/4; a numerator of at least 1"),
        ("time_signatures", (0, 4, 0), "a time signature of 4/0"),
        ("time_signatures", (0, 3, 5), "a time signature of 3/5; .* a power of two"),
        ("time_signatures", (-1, 3, 4), "a time signature at tick -1; ticks are counted from 0"),
        ("tempos", (0, 0), "a tempo of 0 bpm; a finite number above 0"),
        ("tempos", (0, float("nan")), "a tempo of nan bpm"),
        ("tempos", (-5, 90), "a tempo at tick -5"),
        ("key_signatures", (-1, 0, False), "a key signature at tick -1"),
    ],
)
def test_what_no_music_has_is_refused(column: str, row: tuple[float, ...], message: str) -> None:
    dtype = {"time_signatures": TIME_SIGNATURE, "tempos": TEMPO, "key_signatures": KEY_SIGNATURE}[column]
    rows: dict[str, Any] = {column: table([row], dtype)}
    with pytest.raises(BadInput, match=f"^tune: {message}"):
        Score(480, table([], NOTE), **rows, name="tune")


def test_a_velocity_above_127_is_refused() -> None:
    with pytest.raises(BadInput, match="velocities 80 to 128, not 0 to 127"):
        Score(480, table([(0, 1, 60, 80, 0), (1, 1, 60, 128, 0)], NOTE))


def test_tracks_and_chords_may_be_any_iterable() -> None:
    score = Score(
        480,
        table([(0, 1, 60, 80, 1)], NOTE),
        tracks=(Track(name) for name in ("a", "b")),  # type: ignore[arg-type]
        chords=(ChordMark(tick, "C_M") for tick in (9, 0)),  # type: ignore[arg-type]
    )
    assert [track.name for track in score.tracks] == ["a", "b"]
    assert score.chords == [ChordMark(0, "C_M"), ChordMark(9, "C_M")]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"ticks_per_beat": 2**15}, "32768 ticks per beat; a MIDI file holds 1 to 32767"),
        ({"tempos": table([(0, 3.5)], TEMPO)}, "3.5 bpm; a MIDI file holds 3.576.* to 6e"),
        ({"time_signatures": table([(0, 256, 4)], TIME_SIGNATURE)}, "256 as the numerator"),
        ({"time_signatures": table([(0, 4, 256)], TIME_SIGNATURE)}, "256 as the denominator"),
        ({"key_signatures": table([(0, -8, False)], KEY_SIGNATURE)}, "-8 sharps"),
    ],
)
def test_what_a_midi_file_cannot_hold_is_not_written(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    score = Score(**{"ticks_per_beat": 480, "notes": table([(0, 1, 60, 80, 0)], NOTE), **changed})
    with pytest.raises(BadInput, match=message):
        midi.write(score, tmp_path / "tune.mid")
    assert not list(tmp_path.iterdir())


def test_file_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "example.mid"
    midi.write(make_score(), path)
    found = midi.read(path)
    assert_same(found, make_score())
    assert found.name == "example"
    assert [entry.name for entry in tmp_path.iterdir()] == ["example.mid"]


def test_miditoolkit_round_trip_and_its_files(tmp_path: Path) -> None:
    score = make_score()
    score.chords = [ChordMark(0, "C_m")]
    handed_out = score.to_miditoolkit()
    assert isinstance(handed_out, miditoolkit.MidiFile)
    assert [(marker.time, marker.text) for marker in handed_out.markers] == [(0, "C_m")]
    assert_same(Score.from_miditoolkit(handed_out), score)
    handed_out.dump(str(tmp_path / "toolkit.mid"))
    assert_same(midi.read(tmp_path / "toolkit.mid"), score)


def test_read_equals_miditoolkit_on_real_files() -> None:
    files = sorted((DATA / "pop909").glob("POP909/*/*.mid"))[:4] + sorted((DATA / "emopia/midis").glob("*.mid"))[:4]
    if not files:
        pytest.skip("shared/data is not here")
    for path in files:
        ours, theirs = midi.read(path), Score.from_miditoolkit(miditoolkit.MidiFile(str(path)))
        columns = ["onset", "pitch", "velocity", "duration"]
        assert sorted(ours.notes[columns].tolist()) == sorted(theirs.notes[columns].tolist())
        assert ours.tempos["bpm"] == pytest.approx(theirs.tempos["bpm"], rel=1e-6)
        assert ours.time_signatures.tolist() == theirs.time_signatures.tolist()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    midi.write(make_score(), tmp_path / "whole.mid")
    content = (tmp_path / "whole.mid").read_bytes()
    cut = tmp_path / "cut.mid"
    for length in range(len(content)):
        cut.write_bytes(content[:length])
        with pytest.raises(BadInput, match=r"cut\.mid: (truncated|not a MIDI file)") as error:
            midi.read(cut)
        assert "\n" not in str(error.value)


def test_bad_files_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.mid").write_text("no music")
    midi.write(Score(480, np.empty(0, NOTE)), tmp_path / "silent.mid")
    midi.write(make_score(), tmp_path / "smpte.mid")
    content = bytearray((tmp_path / "smpte.mid").read_bytes())
    content[12] = 0xE7  # frames per second instead of ticks per quarter note
    (tmp_path / "smpte.mid").write_bytes(content)
    for name, reason in (
        ("missing.mid", "No such file"),
        (".", "directory"),
        ("text.mid", "not a MIDI file"),
        ("silent.mid", "no notes"),
        ("smpte.mid", "time division"),
    ):
        with pytest.raises(BadInput, match=reason) as error:
            midi.read(tmp_path / name)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_malformed_real_files_are_refused() -> None:
    files = [DATA / "lakh/clean_midi" / f"{name}.mid" for name in MALFORMED]
    if not all(path.exists() for path in files):
        pytest.skip("shared/data is not here")
    for path in files:
        with pytest.raises(BadInput, match=path.name):
            midi.read(path)


MALFORMED = ("911b24af443bc1c5232b40cf34705b2d", "b108bcc72af2218bf3637ac337902346")
