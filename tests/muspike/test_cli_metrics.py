"""`muspike metrics`: values, means, files that cannot be measured."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muspike import metrics, midi, tokens
from muspike.cli import main


def write(file: Path, *notes: tuple[float, float, int]) -> None:
    """Notes as (onset, duration, pitch) in beats."""
    rows = [(round(on * 480), round(long * 480), pitch, 80, 0) for on, long, pitch in notes]
    midi.write(midi.Score(480, midi.table(rows, midi.NOTE)), file)


def write_pieces(folder: Path, number: int, seed: int = 0) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    files = [folder / f"piece-{n}.mid" for n in range(number)]
    for file in files:
        write(file, *((beat, 1, int(rng.integers(50, 80))) for beat in range(int(rng.integers(10, 30)))))
    return files


@pytest.fixture
def pieces(tmp_path: Path) -> Path:
    write_pieces(tmp_path / "Stücke 曲", 3)
    return tmp_path / "Stücke 曲"


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[dict[str, Any], list[str]]:
    """The JSON of `metrics` on the arguments, and the lines on stderr."""
    assert main(["metrics", *map(str, arguments), "--json"]) == 0
    captured = capsys.readouterr()
    return json.loads(captured.out), captured.err.splitlines()


def test_metrics_of_files(pieces: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each row is what `metrics.evaluate` says of the file; the mean is over the rows."""
    (here / "one.MIDI").write_bytes((pieces / "piece-1.mid").read_bytes())
    (here / ".half.mid").write_bytes(b"MTh")  # what a killed writer leaves is no piece
    assert main(["metrics", str(pieces), ".", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    files = [*sorted(pieces.glob("*.mid")), Path("one.MIDI")]
    assert [row["file"] for row in told["files"]] == [str(f) for f in files]
    for row, file in zip(told["files"], files, strict=True):
        wanted = metrics.evaluate(midi.read(file))
        assert {n: row[n] for n in wanted} == {n: None if np.isnan(v) else v for n, v in wanted.items()}
        assert set(row) == {"file", "remarks", *metrics.METRICS}
    counts = [row["note_count"] for row in told["files"]]
    assert told["mean"]["note_count"] == pytest.approx(sum(counts) / 4)

    assert main(["metrics", str(pieces), "--words", "20", "--json"]) == 0
    excerpts = json.loads(capsys.readouterr().out)
    assert excerpts["words"] == 20
    for row, file in zip(excerpts["files"], files, strict=False):
        assert row["note_count"] == (tokens.encode(midi.read(file))[:20, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum()

    assert main(["metrics", str(pieces)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[3:]] == list(metrics.METRICS)
    assert all(str(pieces / f"piece-{n}.mid") in lines[2] for n in range(3)) and "the mean" in lines[2]


def test_many_files_have_a_row_with_the_lowest_and_the_highest_value(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pieces(here / "many", 9)
    found, _ = told(capsys, "many")
    counts = [row["note_count"] for row in found["files"]]
    assert main(["metrics", "many"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split() == ["metric", "unit", "lowest", "highest", "mean", "the", "mean"]
    (row,) = [line for line in lines if line.startswith("note_count ")]
    assert row.split()[2:] == [f"{min(counts):g}", f"{max(counts):g}", f"{sum(counts) / 9:.4g}", "9"]


def test_a_metric_that_is_not_defined_is_null_and_not_in_the_mean(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groove consistency needs two bars."""
    for name, ends in (("one.mid", (1, 2)), ("two.mid", (1, 6))):
        notes = [((end - 1) * 480, 480, 60, 80, 0) for end in ends]
        midi.write(midi.Score(480, midi.table(notes, midi.NOTE)), name)
    assert main(["metrics", ".", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    one, two = (row["groove_consistency"] for row in told["files"])
    assert one is None and two is not None and told["mean"]["groove_consistency"] == two
    assert main(["metrics", "one.mid"]) == 0
    assert "–" in capsys.readouterr().out


def test_one_bad_file_costs_only_its_row(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named on stderr and in the JSON; the others are measured as if it were not there."""
    write(here / "a.mid", (0, 1, 60))
    write(here / "short.mid", *((beat, 1, 60) for beat in range(9)))
    (here / "b.mid").write_bytes(b"MThd, but no more")
    (here / "c.mid").symlink_to("nowhere")
    found, lines = told(capsys, ".")
    assert [row["file"] for row in found["files"]] == ["a.mid", "short.mid"]
    assert [entry["file"] for entry in found["failed"]] == ["b.mid", "c.mid"]
    assert lines == [*(f"muspike: {entry['error']}" for entry in found["failed"]), lines[-1]]
    assert all(entry["error"].startswith(f"{entry['file']}: ") for entry in found["failed"])
    assert lines[-1] == "muspike: 2 of 4 files could not be measured"
    assert found["mean"]["note_count"] == 5

    found, lines = told(capsys, "a.mid", "short.mid", "--words", "8")
    assert [row["file"] for row in found["files"]] == ["short.mid"]
    assert lines[0] == "muspike: a.mid: has 4 compound words; an excerpt of 8 needs more"

    assert main(["metrics", "."]) == 0
    captured = capsys.readouterr()
    assert "a.mid" in captured.out and "b.mid" not in captured.out and "b.mid" in captured.err

    assert main(["metrics", ".", "--strict"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("muspike: b.mid: ") and captured.err.count("\n") == 1

    assert main(["metrics", "b.mid", "c.mid", "gone.mid"]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 4
    assert "gone.mid: cannot be read" in captured.err
    assert captured.err.endswith("muspike: 3 of 3 files could not be measured\n")


def test_paths_that_cannot_be_measured_cost_only_themselves(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Folders without files, pipes that nobody writes to, names that no file can have, drums alone."""
    write(here / "a.mid", (0, 1, 60))
    (here / "empty").mkdir()
    os.mkfifo(here / "pipe.mid")
    (here / "folder.mid").mkdir()  # is no file, so "." does not stand for it
    drums = midi.Score(480, midi.table([(0, 480, 36, 80, 0)], midi.NOTE), tracks=[midi.Track(is_drum=True)])
    midi.write(drums, here / "drums.mid")
    far = "x" * 300 + ".mid"
    found, lines = told(capsys, ".", "empty", far, "folder.mid")
    assert [row["file"] for row in found["files"]] == ["a.mid"]
    assert lines == [
        "muspike: drums.mid: holds notes of drums alone; the metrics are those of pitched notes",
        "muspike: pipe.mid: not a MIDI file: it is empty",
        "muspike: empty: holds no MIDI files (.mid or .midi)",
        f"muspike: {far}: cannot be read: File name too long",
        "muspike: folder.mid: holds no MIDI files (.mid or .midi)",
        "muspike: 5 of 6 files could not be measured",
    ]


def test_what_reading_had_to_change_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(here / "sound.mid", (0, 1, 60))
    write(here / "far.mid", (0, 1, 60), (5000, 1, 60))
    track = bytes.fromhex("00 90 3c 50  83 60 ff 2f 00")  # a note-on, and the end 480 ticks later
    head = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, 480)
    (here / "hanging.mid").write_bytes(head + struct.pack(">4sI", b"MTrk", len(track)) + track)
    found, lines = told(capsys, "hanging.mid", "sound.mid")
    assert [row["remarks"] for row in found["files"]] == [[lines[0].split(": ", 2)[2]], []]
    assert lines == ["muspike: hanging.mid: no note-off for 1 note: 1 lasts to the end of the track"]
    found, lines = told(capsys, "far.mid", "--words", "4")
    assert lines == ["muspike: far.mid: 1 silence shortened to 4096 sixteenths, in whole bars"]


def test_the_json_says_the_unit_of_each_metric_and_the_files_in_each_mean(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(here / "one.mid", (0, 1, 60))
    write(here / "two.mid", (0, 1, 60), (5, 1, 60))
    found, _ = told(capsys, ".")
    assert found["units"] == {name: metric.unit for name, metric in metrics.METRICS.items()}
    assert found["files_in_mean"]["groove_consistency"] == 1 and found["files_in_mean"]["note_count"] == 2
