"""`muspike evaluate`: sets beside each other, on the command line: references, forms, pictures, what goes wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest

from muspike import corpora, metrics, midi, tokens
from muspike.cli import main
from muspike.corpora.folder import read_midi
from muspike.metrics.distance import distance
from noise_corpus import noise_corpus

WORDS = 16


def write_pieces(folder: Path, number: int, seed: int = 0) -> list[Path]:
    folder.mkdir()
    rng = np.random.default_rng(seed)
    files = [folder / f"piece-{n}.mid" for n in range(number)]
    for file in files:
        pitches = rng.integers(50, 80, size=int(rng.integers(20, 30)))
        rows = [(480 * beat, 480, int(pitch) - below, 80, 0) for beat, pitch in enumerate(pitches) for below in (0, 12)]
        midi.write(midi.Score(480, midi.table(rows, midi.NOTE)), file)
    return files


@pytest.fixture
def sets(here: Path) -> tuple[list[Path], list[Path]]:
    return write_pieces(here / "pieces", 5), write_pieces(here / "others", 7, seed=1)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], list[str]]:
    """The JSON of `evaluate` on the arguments, and the lines on stderr."""
    status = main(["evaluate", "pieces", "--length", str(WORDS), "--draws", "20", *arguments, "--json"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out), captured.err.splitlines()


def excerpts(files: list[Path]) -> list[midi.Score]:
    return [tokens.decode(tokens.encode(midi.read(file))[:WORDS]) for file in files]


def test_numbers_are_those_of_equal_excerpts(
    sets: tuple[list[Path], list[Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    found, lines = told(capsys, "--reference", "others")
    assert lines == []
    mine, theirs = (metrics.evaluate_set(excerpts(files)) for files in sets)
    assert found["pieces"] == {"generated": 5, "reference": 7, "training": 7}
    assert list(found["metrics"]) == [*metrics.METRICS, *metrics.HISTOGRAMS]
    for name in ("pitch_range", "pitch_entropy", "pitch_class_histogram"):
        row = found["metrics"][name]
        assert row["overlapping_area"]["value"] == pytest.approx(distance(mine[name], theirs[name]).overlapping_area)
        assert row["pieces"] == [5, 7]
    assert found["metrics"]["pitch_range"]["generated"]["value"] == pytest.approx(mine["pitch_range"].mean())
    assert found["metrics"]["drum_pattern_consistency"]["generated"]["value"] is None
    assert [piece["file"] for piece in found["pieces_measured"]["files"]] == [f"pieces/piece-{n}.mid" for n in range(5)]
    assert found["length"] == WORDS


def test_one_broken_file_costs_only_its_row(
    sets: tuple[list[Path], list[Path]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, _ = told(capsys, "--reference", "others")
    (here / "pieces" / "broken.mid").write_bytes(b"MThd, but no more")
    (here / "others" / "empty.mid").write_bytes(b"")
    found, lines = told(capsys, "--reference", "others")
    assert found["metrics"] == wanted["metrics"] and found["copying"] == wanted["copying"]
    assert [entry["file"] for entry in found["pieces_measured"]["failed"]] == ["pieces/broken.mid"]
    assert [entry["file"] for entry in found["failed_of_reference"]] == ["others/empty.mid"]
    assert lines[0].startswith("muspike: pieces/broken.mid: ") and lines[1].startswith("muspike: 1 of 6 pieces could")
    assert lines[2].startswith("muspike: others/empty.mid: ") and len(lines) == 4


def test_a_corpus_is_a_reference_and_its_training_split_may_be_copied(
    sets: tuple[list[Path], list[Path]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = noise_corpus([40] * 12, train=5, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    midi.write(tokens.decode(made.split("train")[2].words), "pieces/copy.mid")
    found, _ = told(capsys, "--reference", "jsb")
    assert found["pieces"] == {"generated": 6, "reference": 5, "training": 5}
    files = [piece["file"] for piece in found["pieces_measured"]["files"]]
    matches = dict(zip(files, found["copying"]["texture"]["generated"], strict=True))
    copy = matches.pop("pieces/copy.mid")
    assert copy["training_piece"] == f"jsb/{made.splits['train'][2]}"
    assert copy["notes"] > max(match["notes"] for match in matches.values())
    assert copy["notes"] > max(match["notes"] for match in found["copying"]["texture"]["reference"])


def test_a_copy_of_the_end_of_a_training_piece_is_found(
    sets: tuple[list[Path], list[Path]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Excerpts are measured; training pieces are searched whole, and those that are shorter than an excerpt, too."""
    rng = np.random.default_rng(8)
    pitches = rng.integers(40, 90, 60)

    def write(name: str, some: np.ndarray) -> None:
        rows = [(480 * i, 480, int(pitch), 80, 0) for i, pitch in enumerate(some)]
        midi.write(midi.Score(480, midi.table(rows, midi.NOTE)), here / name)

    (here / "train").mkdir()
    write("train/long.mid", pitches)
    write("train/short.mid", pitches[:4])
    write("pieces/copy.mid", pitches[-20:])
    write("pieces/other.mid", np.append(pitches[:4] + 2, rng.integers(40, 90, 20)))
    found, lines = told(capsys, "--reference", "others", "--training", "train")
    assert lines == [] and found["pieces"]["training"] == 2
    files = [piece["file"] for piece in found["pieces_measured"]["files"]]
    matches = dict(zip(files, found["copying"]["melody"]["generated"], strict=True))
    assert matches["pieces/copy.mid"]["training_piece"] == "train/long.mid"
    assert matches["pieces/copy.mid"]["notes"] >= 6  # all but the last one of its excerpt
    assert matches["pieces/other.mid"]["training_piece"] in ("train/long.mid", "train/short.mid")
    assert main(["evaluate", "pieces", "--reference", "others", "--training", "train", "--length", str(WORDS)]) == 0
    assert "notes of pieces/copy.mid, from sixteenth 0 on, stand in train/long.mid" in capsys.readouterr().out


def test_a_folder_is_read_as_a_corpus_of_it_is(
    sets: tuple[list[Path], list[Path]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the folders in it, and on the beat that is found."""
    (here / "others" / "below").mkdir()
    (here / "others" / "piece-0.mid").rename(here / "others" / "below" / "piece-0.mid")
    files = sorted((here / "others").rglob("*.mid"))
    for file in files:
        score = midi.read(file)
        score.notes["onset"] += 200  # of 480 ticks
        midi.write(score, file)
    found, _ = told(capsys, "--reference", "others")
    on_their_beat = [tokens.decode(tokens.encode(read_midi(file).score)[:WORDS]) for file in files]
    assert found["pieces"]["reference"] == 7
    wanted = metrics.evaluate_set(on_their_beat)
    for name in ("pitch_range", "pitch_entropy", "bar_similarity"):
        assert found["metrics"][name]["reference"]["value"] == pytest.approx(np.nanmean(wanted[name]))
    assert main(["evaluate", "pieces", "--reference", "others", "--length", str(WORDS), "--draws", "10"]) == 0
    assert "7 of 7 reference files were brought onto a beat that was found" in capsys.readouterr().out


def test_a_built_corpus_is_a_reference_by_its_name(
    sets: tuple[list[Path], list[Path]],
    here: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: here / "cache")
    write_pieces(here / "many", 30, seed=5)
    built = corpora.build("many", progress=False)
    found, lines = told(capsys, "--reference", built.name)
    assert lines == [] and found["pieces"] == {"generated": 5, "reference": 3, "training": 24}
    assert main(["evaluate", "pieces", "--reference", built.name, "--length", str(WORDS), "--draws", "10"]) == 0
    assert "there are no floors, because a half of 3 pieces is too small; 6 pieces" in capsys.readouterr().out


@pytest.mark.parametrize("ending", ["csv", "md", "tex", "txt", "html", "json"])
def test_every_form_has_every_metric(
    sets: tuple[list[Path], list[Path]], here: Path, ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = here / f"out.{ending}"
    options = ["--reference", "others", "--length", str(WORDS), "--draws", "10", "-o", str(file)]
    assert main(["evaluate", "pieces", *options]) == 0
    text = file.read_text(encoding="utf-8")
    for name in [*metrics.METRICS, *metrics.HISTOGRAMS]:
        assert (name.replace("_", r"\_") if ending == "tex" else name) in text
    assert "no floors" not in text
    if ending == "html":
        assert '<th scope="col" class="text">unit</th>' in text  # above the left side of its column
        groups = {metric.group for metric in metrics.METRICS.values()}
        assert text.count("data:image/svg+xml") == len(groups)
    if ending == "csv":
        rows = [row for row in csv.reader(text.splitlines()) if row and row[0] == "pitch_range"]
        assert len(rows) == 1 and len(rows[0]) == 8


def test_pictures_by_group(sets: tuple[list[Path], list[Path]], here: Path) -> None:
    options = ["--reference", "others", "--length", str(WORDS), "--draws", "10", "--pictures", "drawn"]
    assert main(["evaluate", "pieces", *options]) == 0
    groups = {metric.group for metric in metrics.METRICS.values()}
    assert {file.stem for file in (here / "drawn").glob("*.svg")} == groups
    assert all(b"<svg" in file.read_bytes() for file in (here / "drawn").glob("*.svg"))


def test_metrics_and_an_embedding_of_ones_own(
    sets: tuple[list[Path], list[Path]], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "own.py").write_text(
        "from muspike.metrics import Metric, add, on_grid\n"
        "def last_pitch(music): return float(on_grid(music).pitch[-1])\n"
        "add(Metric('last_pitch', last_pitch, 'MIDI pitch', 'the last pitch', 'here'))\n"
        "def embed(score): return [score.notes['pitch'].mean(), score.notes['pitch'].std()]\n"
    )
    found, _ = told(capsys, "--reference", "others", "--metrics", "own.py", "--embedding", "own.py")
    assert "last_pitch" not in metrics.METRICS  # it held for one command
    assert found["units"]["last_pitch"] == "MIDI pitch"
    mean = np.mean([score.notes["pitch"][-1] for score in excerpts(sets[0])])
    assert found["metrics"]["last_pitch"]["generated"]["value"] == pytest.approx(mean)
    assert found["frechet_distance"]["embedding"]["value"] > 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--reference", "nosuch"], "corpus 'nosuch': there is no such corpus or folder; known are jsb"),
        (["--reference", "empty"], "empty: holds no MIDI files"),
        (["--reference", "others", "--length", "99"], "0 could be measured in excerpts of 99 words; 3 are wanted"),
        (["--reference", "others", "--metrics", "bad.py"], "bad.py: ZeroDivisionError: "),
        (["--reference", "others", "--metrics", "gone.py"], "gone.py: cannot be read: "),
        (["--reference", "others", "--metrics", "exits.py"], "exits.py: SystemExit: 7"),
        (["--reference", "others", "--metrics", "fails.py"], "fails.py: metric fails: KeyError: 'x'"),
        (["--reference", "others", "--metrics", "text.py"], "text.py: metric text: ValueError: could not convert"),
        (["--reference", "others", "--metrics", "shapes.py"], "metric shapes: gives arrays of the shapes ("),
        (
            ["--reference", "others", "--embedding", "embed-fails.py"],
            "embed-fails.py: embed: ZeroDivisionError: division by zero",
        ),
        (
            ["--reference", "others", "--embedding", "embed-text.py"],
            "embed-text.py: embed: ValueError: could not convert",
        ),
        (["--reference", "others", "--embedding", "embed-shapes.py"], "embedding: gives shape ("),
        (["--reference", "others", "--embedding", "none.py"], "none.py: has no function embed"),
        (["--reference", "others", "-o", "out.xyz"], "out.xyz: ends in none of"),
    ],
)
def test_what_is_wrong_is_said(
    sets: tuple[list[Path], list[Path]],
    here: Path,
    arguments: list[str],
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "bad.py").write_text("1 / 0")
    (here / "none.py").write_text("")
    (here / "empty").mkdir()
    (here / "exits.py").write_text("import sys; sys.exit(7)")
    functions = {
        "fails": ("{}['x']", "1 / 0"),
        "text": ("'much'", "'text'"),
        "shapes": ("[0] * int(on_grid(music).pitch[-1])", "[1] * int(music.notes['pitch'][-1])"),
    }
    for name, (metric, vector) in functions.items():
        (here / f"{name}.py").write_text(
            "from muspike.metrics import Metric, add, on_grid\n"
            f"def {name}(music): return {metric}\n"
            f"add(Metric('{name}', {name}, '', '', ''), histogram={name == 'shapes'})\n"
        )
        (here / f"embed-{name}.py").write_text(f"def embed(music): return {vector}\n")
    assert (
        main(["evaluate", "pieces", *(["--length", str(WORDS)] if "--length" not in arguments else []), *arguments])
        == 2
    )
    captured = capsys.readouterr()
    assert captured.out == "" and what in captured.err
    assert not (here / "out.xyz").exists()
