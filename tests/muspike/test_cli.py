"""The command line: what each command gives, and one line with the right exit status for everything that is wrong."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import io
import json
import os
import re
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from muspike import architectures, corpora, midi, tokens, training
from muspike.checkpoint import load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.export import lava_runner
from muspike.hardware.program import Program
from noise_corpus import noise_corpus
from small_model import small_model


def noise(name: str = "jsb", progress: bool = True) -> Corpus:
    return noise_corpus([40] * 6, train=3, validation=2, name=name)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(small_model("jsb"), folder)
    return folder


@pytest.fixture(scope="module")
def graph(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("graphs") / "small.nir"
    assert main(["export", str(model), "--to", "nir", "-o", str(file), "--tokens", "4"]) == 0
    return file


@pytest.fixture(scope="module")
def pieces(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pieces") / "Stücke 曲"
    assert main(["generate", str(model), "-n", "3", "--length", "40", "-o", str(folder)]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def complaint(text: str) -> str:
    """The one line of an error."""
    assert text.startswith("muspike: ") and text.endswith("\n") and text.count("\n") == 1, text
    return text


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A command that must end with a status and one line, and leave the folder as it was."""

    def run(arguments: Sequence[object], status: int) -> str:
        before = contents(here)
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert contents(here) == before
        return complaint(err)

    return run


# --- what commands give ----------------------------------------------------------------------------------------


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        "",
        "train",
        "prune",
        "generate",
        "export",
        "lava",
        "bench",
        "map",
        "metrics",
        "ablate",
        "models",
        "chips",
    ):
        with pytest.raises(SystemExit) as end:
            main([*command.split(), "--help"])
        out = capsys.readouterr().out
        assert end.value.code == 0 and f"example: muspike {command}".strip() in out


@pytest.mark.parametrize("on", ["torch", "loihi"])
def test_the_same_seed_gives_the_same_pieces_on_torch_and_on_the_chip(
    model: Path, here: Path, capsys: pytest.CaptureFixture[str], on: str
) -> None:
    command = ["generate", str(model), "-n", "2", "--length", "20", "--seed", "7", "--on", on, "--json"]
    assert main([*command, "-o", "a"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["files"] == ["a/piece-000.mid", "a/piece-001.mid"]
    assert all(4 <= words <= 20 for words in told["words"]) and told["ended_by_itself"] == [False, False]
    assert told["on"] == {"torch": "torch", "loihi": "loihi1"}[on]
    assert main([*command, "-o", "b"]) == 0
    assert contents(here / "a") == contents(here / "b")
    assert main([*command, "-o", "c", "--seed", "8"]) == 0
    assert contents(here / "a") != contents(here / "c")
    assert len(midi.read("a/piece-000.mid").notes) > 0


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A MIDI file with a melody above chords, five bars long."""
    melody = [(480 * beat, 480, 72 + beat % 5, 80, 0) for beat in range(17)]
    chords = [(1920 * bar, 1920, pitch, 80, 1) for bar in range(4) for pitch in (60, 64, 67)]
    file = tmp_path_factory.mktemp("songs") / "song.mid"
    tracks = [midi.Track("melody"), midi.Track("chords")]
    midi.write(midi.Score(480, midi.table(melody + chords, midi.NOTE), tracks=tracks), file)
    return file


def notes(file: Path | str) -> list[tuple[int, ...]]:
    """Onset, duration, pitch and velocity of the notes of a file; decoded pieces have 480 ticks in a beat."""
    score = midi.read(file)
    assert score.ticks_per_beat == 480
    return [tuple(note) for note in score.notes[["onset", "duration", "pitch", "velocity"]].tolist()]


@pytest.mark.parametrize("on", ["torch", "loihi1", "loihi2", "onnx"])
def test_pieces_go_on_from_a_prompt_or_harmonise_a_melody(
    model: Path, song: Path, here: Path, capsys: pytest.CaptureFixture[str], on: str
) -> None:
    network = [str(model), "--on", on]
    if on == "onnx":
        pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
        assert main(["export", str(model), "--to", "onnx", "-o", "small.onnx", "--tokens", "4"]) == 0
        network = ["small.onnx"]
        capsys.readouterr()
    command = ["generate", *network, "-n", "2", "--seed", "3", "--json"]

    assert main([*command, "--prompt", str(song), "--bars", "2", "--length", "60", "-o", "on"]) == 0
    told = json.loads(capsys.readouterr().out)
    begun = [note for note in notes(song) if note[0] < 2 * 1920]
    assert told["prompt"] == str(song) and told["prompt_words"] == 2 + 8 + len(begun)
    for file in told["files"]:
        assert notes(file)[: len(begun)] == begun
        assert all(onset >= 2 * 1920 for onset, *_ in notes(file)[len(begun) :])
        assert len(notes(file)) > len(begun)

    assert main([*command, "--melody", str(song), "-o", "to"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["melody"] == str(song) and "ended_by_itself" not in told
    melody = [note for note in notes(song) if note[2] >= 72]
    for file in told["files"]:
        assert set(melody) <= set(notes(file)) and len(notes(file)) > len(melody)
        assert {onset: max(n[2] for n in notes(file) if n[0] == onset) for onset, *_ in melody} == {
            onset: pitch for onset, _, pitch, _ in melody
        }
    assert main([*command, "--melody", str(song), "-o", "again"]) == 0
    assert contents(here / "to") == contents(here / "again")


def test_the_melody_can_be_a_track(model: Path, song: Path, here: Path) -> None:
    assert main(["generate", str(model), "-n", "1", "--melody", str(song), "--track", "1", "-o", "p"]) == 0
    assert max(note[2] for note in notes("p/piece-000.mid")) == 67


def test_audio_writes_the_sound_of_each_piece(
    model: Path,
    refused: Callable[..., str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
    pytest.importorskip("pretty_midi", reason="the extra audio is not installed")
    command = ["generate", str(model), "-n", "2", "--length", "20", "-o", "p", "--audio"]
    assert main([*command, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["audio"] == ["p/piece-000.mp3", "p/piece-001.mp3"]
    for number in range(2):
        wave, rate = soundfile.read(f"p/piece-{number:03}.mp3")
        piece = midi.read(f"p/piece-{number:03}.mid")
        ends = (piece.notes["onset"] + piece.notes["duration"]).max() / 480
        assert len(wave) / rate > ends * 60 / piece.tempos["bpm"].max() and abs(wave).max() > 0.3

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    assert "--audio: pretty_midi, soundfile are not installed (pip install 'muspike[audio]')" in refused(
        ["generate", model, "-o", "q", "--audio"], 2
    )


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_map_reports_the_use_of_the_chip_and_the_rounding(
    graph: Path, here: Path, capsys: pytest.CaptureFixture[str], chip: str
) -> None:
    assert main(["map", str(graph), "--chip", chip, "-o", "program.npz", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    program = Program.load("program.npz")
    assert told["chip"] == program.chip == chip and told["fits"] is True
    assert told["use"]["neurons"] == program.n_neurons == 16 + tokens.N_AXONS
    assert len(told["use"]["cores"]) == program.n_cores
    for report in told["quantisation"]["synapses"]:
        (synapses,) = [s for s in program.synapses if s.name == report["name"]]
        assert report["zero_fraction"] == pytest.approx(np.mean(synapses.weight == 0))
        assert 0 < report["rms_error"] < 0.1
    assert main(["map", str(graph), "--chip", chip]) == 0
    text = capsys.readouterr().out
    assert f"{graph} on {chip}: fits" in text
    assert "482 neurons (0 of them relays)" in text and f"nearest to its limit: {told['use']['binding']}" in text
    for report in told["quantisation"]["synapses"]:
        assert f"{100 * report['rms_error']:.2f} %" in text


def test_map_spreads_the_network_over_more_cores(graph: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["map", str(graph), "--json"]) == 0
    fewest = json.loads(capsys.readouterr().out)
    assert main(["map", str(graph), "--fill", "0.25", "-o", "program.npz", "--json"]) == 0
    spread = json.loads(capsys.readouterr().out)
    assert (fewest["fill"], spread["fill"]) == (1, 0.25)
    assert len(spread["use"]["cores"]) == Program.load("program.npz").n_cores > len(fewest["use"]["cores"])
    assert max(core["neurons"] for core in fewest["use"]["cores"]) > 256  # a quarter of Loihi's 1,024
    for core in spread["use"]["cores"]:
        assert core["neurons"] <= 256 and core["per_cent"]["synaptic_memory_bits_per_core"] <= 25
    assert spread["quantisation"] == fewest["quantisation"]
    assert main(["map", str(graph), "--fill", "0.25"]) == 0
    assert "filled up to 25 %" in capsys.readouterr().out


def test_what_does_not_fit_ends_with_status_1_and_no_program(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A delay beyond the chip's is made of relays: 5,000 inputs exceed the axons of every core instead."""
    n = 5000
    one = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([n])),
        "weights": nir.Linear(np.ones((2, n), np.float32)),
        "neurons": nir.LIF(tau=one * 2e-3, r=one, v_leak=0 * one, v_threshold=one, v_reset=0 * one),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "weights"), ("weights", "neurons"), ("neurons", "output")]
    nir.write("wide.nir", nir.NIRGraph(nodes, edges))
    assert main(["map", "wide.nir", "--dt", "0.001", "-o", "program.npz"]) == 1
    out, err = capsys.readouterr()
    assert "wide.nir on loihi1: does not fit" in out
    assert "5000 input axons, loihi1 holds 4096 on a core" in complaint(err)
    assert not Path("program.npz").exists()


def test_shipped_models_are_listed(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("muspike.model_folder.shipped_models", lambda: {"small": model})
    assert main(["models", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["name"] == "small" and row["corpus"] == "jsb" and row["validation_bits_per_note"] == 30.0
    assert row["parameters"] == sum(p.numel() for p in load_model(model).network.parameters())
    assert main(["models"]) == 0
    assert "small" in capsys.readouterr().out


def test_training_goes_on_where_it_was_and_gives_a_model(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(corpora, "load", noise)
    command = ["train", "s-rnn", "--preset", "tiny", "--steps", "2", "--json"]
    assert main(command) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["model"] == "runs/s-rnn-jsb-tiny-0/model" and told["steps"] == 2
    before = contents(here)
    assert main(command) == 0  # nothing is left to do
    assert json.loads(capsys.readouterr().out) == told and contents(here) == before
    assert load_model(told["model"]).training["step"] == told["step"]


# --- bad use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("sing", "invalid choice: 'sing'"),
        ("generate MODEL", "the following arguments are required: -o/--output"),
        ("generate MODEL -o p -n 0", "'0' must be a whole number from 1 to 100000"),
        ("generate MODEL -o p -n 99999999999", "must be a whole number from 1 to 100000"),
        ("generate MODEL -o p -n -1", "'-1' must be a whole number"),
        ("generate MODEL -o p -n many", "'many' must be a whole number"),
        ("generate MODEL -o p --length 3", "'3' must be a whole number from 4 to 100000"),
        ("generate MODEL -o p --length 1e30", "'1e30' must be a whole number"),
        ("generate MODEL -o p --length 999999999999999999999999", "must be a whole number from 4"),
        ("generate MODEL -o p --temperature nan", "'nan' must be a number from 0.001 to 1000"),
        ("generate MODEL -o p --temperature 0", "'0' must be a number from 0.001 to 1000"),
        ("generate MODEL -o p --temperature -1", "'-1' must be a number from 0.001 to 1000"),
        ("generate MODEL -o p --temperature inf", "'inf' must be a number from 0.001 to 1000"),
        ("generate MODEL -o p --temperature 1e308", "'1e308' must be a number from 0.001 to 1000"),
        ("generate MODEL -o p --temperature warm", "'warm' must be a number"),
        ("generate MODEL -o p --top-p 0", "'0' must be a number above 0 and at most 1"),
        ("generate MODEL -o p --top-p 1.01", "'1.01' must be a number above 0 and at most 1"),
        ("generate MODEL -o p --end-bias nan", "'nan' must be a number from -100"),
        ("generate MODEL -o p --parallels-bias -1000", "'-1000' must be a number from -100"),
        ("generate MODEL -o p --seed -5", "'-5' must be a whole number from 0 to 4294967295"),
        ("generate MODEL -o p --seed 4294967296", "from 0 to 4294967295"),
        ("generate MODEL -o p --on tpu", "chip 'tpu' is not known; known: loihi1, loihi2"),
        ("generate nosuch -o p", "nosuch: neither a model folder nor a shipped model"),
        ("generate empty -o p", "model.json: cannot be read: No such file"),
        ("generate MODEL -o file", "file: is a file; a folder is wanted"),
        ("generate MODEL -o p --prompt nosuch.mid", "nosuch.mid: cannot be read: No such file"),
        ("generate MODEL -o p --prompt file", "file: not a MIDI file"),
        ("generate MODEL -o p --prompt SONG --bars 6", "song.mid: has 5 bars; a prompt of 6 needs more"),
        ("generate MODEL -o p --prompt SONG --bars 0", "'0' must be a whole number from 1"),
        ("generate MODEL -o p --prompt SONG --length 53", "prompt has 51 words; --length 53 must be at least 55, or"),
        (
            "generate MODEL -o p --prompt SONG --melody SONG",
            "--melody is not used with --prompt; leave one of",
        ),
        ("generate MODEL -o p --bars 2", "--bars is not used without --prompt; leave it out"),
        ("generate MODEL -o p --track 0", "--track is not used without --melody; leave it out"),
        ("generate MODEL -o p --melody SONG --bars 2", "--bars is not used without --prompt; leave it out"),
        ("generate MODEL -o p --melody nosuch.mid", "nosuch.mid: cannot be read: No such file"),
        (
            "generate MODEL -o p --melody SONG --track 2",
            "has no track 2; its tracks are 0 'melody', 1 'chords'",
        ),
        (
            "generate MODEL -o p --melody SONG --length 39",
            "the melody alone takes 40 words; --length 39 must be",
        ),
        ("generate MODEL -o p --melody DRUMS", "drums.mid: no notes to encode, expected at least one outside the drum"),
        ("generate MODEL -o p --prompt DRUMS", "drums.mid: no notes to encode, expected at least one outside the drum"),
        ("train s-xyz", "architecture 's-xyz' is not known; known are s-cnn, s-rnn"),
        ("train s-rnn --preset enormous", "preset 'enormous' is not known; known are"),
        ("train s-rnn --preset tiny --data bach", "corpus 'bach': there is no such corpus or folder; known are jsb, "),
        ("train s-rnn --preset tiny --steps 0", "'0' must be a whole number from 1 to 100000000"),
        ("train s-rnn --preset tiny -o file", "file: is a file; a folder is wanted"),
        (
            "export MODEL --to nir --chip loihi2",
            "--chip is not used with --to nir, only with --to onnx, --to lava, --to lava-dl; leave it out",
        ),
        (
            "export MODEL --to nir --python /nowhere",
            "--python names an interpreter that has the tool of --for; give --for too, or leave it out",
        ),
        ("bench MODEL --no-lava --python /nowhere -o report", "--python is not used with --no-lava"),
        ("export MODEL --to tflite", "invalid choice: 'tflite'"),
        ("export MODEL --to nir -o model.h5", "model.h5: a NIR file ends in .nir"),
        ("export MODEL --to lava -o model.nir", "model.nir: a chip program ends in .npz"),
        ("export MODEL --to nir --tokens 1000000", "must be a whole number from 1 to 10000"),
        ("bench nosuch -o report", "nosuch: neither a model folder nor a shipped model"),
        ("bench MODEL --no-lava -o file", "file: is a file; a folder is wanted"),
        ("map nosuch.nir", "nosuch.nir: cannot be read: No such file"),
        ("map empty", "empty: cannot be read: Is a directory"),
        ("map file", "file: damaged, or not a NIR file"),
        ("map GRAPH --chip loihi9", "chip 'loihi9' is not known; known: loihi1, loihi2"),
        ("map GRAPH --chip nosuch.toml", "nosuch.toml: cannot be read: No such file"),
        ("map GRAPH --dt 0", "'0' must be a number of seconds above 0"),
        ("map GRAPH --dt 0.5", "dt was given as 0.5 s, but the graph's metadata says 0.001 s"),
        ("map GRAPH --fill 0", "'0' must be a number above 0 and at most 1"),
        ("map GRAPH --fill 1.5", "'1.5' must be a number above 0 and at most 1"),
        ("map GRAPH -o program.bin", "program.bin: a chip program ends in .npz"),
        ("metrics", "the following arguments are required: FILE"),
        ("metrics nosuch.mid", "nosuch.mid: cannot be read: No such file"),
        ("metrics empty", "empty: holds no MIDI files"),
        ("metrics file", "file: not a MIDI file: it looks like text, which starts with b'some text'"),
        ("metrics PIECES --words 41 --strict", "compound words; an excerpt of 41 needs more"),
    ],
)
def test_bad_use_is_one_line_and_status_2(
    refused: Callable[..., str],
    model: Path,
    graph: Path,
    pieces: Path,
    song: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    words: str,
) -> None:
    if "--data" not in arguments:
        monkeypatch.setattr(corpora, "load", noise)
    (here / "empty").mkdir()
    (here / "file").write_text("some text")
    drums = midi.Score(480, midi.table([(0, 480, 36, 80, 0)], midi.NOTE), tracks=[midi.Track("", is_drum=True)])
    midi.write(drums, "drums.mid")
    known = {"MODEL": model, "GRAPH": graph, "PIECES": pieces, "SONG": song, "DRUMS": "drums.mid"}
    assert words in refused([known.get(word, word) for word in arguments.split()], 2)


def test_a_preset_with_an_unknown_key(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", noise)
    for changed, words in (
        ({"network": {"wdith": 9}, "training": {}}, "unknown key 'wdith'; known are width,"),
        ({"network": {}, "training": {"step": 9}}, "[training]: unknown key 'step'; known are steps,"),
        ({"network": {}, "training": {"steps": "9"}}, "steps = '9' must be of type int"),
    ):
        monkeypatch.setattr(architectures, "preset", lambda *_, changed=changed: changed)
        # (the run's folder is made before its network is built)
        Path("run").mkdir(exist_ok=True)
        assert words in refused(["train", "s-rnn", "-o", "run"], 2)


def test_two_runs_in_one_folder(refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", noise)
    command = ["train", "s-rnn", "--preset", "tiny", "-o", "run", "--steps"]
    assert main([*command, "1"]) == 0
    assert "run: holds a run with training" in refused([*command, "1", "--seed", "1"], 2)
    (state,) = Path("run").glob("state.*")
    state.write_bytes(state.read_bytes()[:-9])
    assert "state.safetensors: is damaged" in refused([*command, "1"], 2)


# --- bad files -------------------------------------------------------------------------------------------------


def test_midi_files_that_are_not_whole(refused: Callable[..., str], pieces: Path, here: Path) -> None:
    whole = (pieces / "piece-000.mid").read_bytes()
    silent = midi.Score(480, np.empty(0, midi.NOTE))
    midi.write(silent, "silent.mid")
    for name, content, words in (
        ("cut.mid", whole[:-20], "cut.mid: truncated MIDI file"),
        ("head.mid", whole[:10], "head.mid: truncated MIDI file: 10 bytes"),
        ("empty.mid", b"", "empty.mid: not a MIDI file"),
        ("text.mid", b"Dear diary", "text.mid: not a MIDI file: it looks like text, which starts with b'Dear diary'"),
        ("smpte.mid", whole[:12] + b"\xe7\x28" + whole[14:], "smpte.mid: its time division is 0xe728"),
    ):
        (here / name).write_bytes(content)
        assert words in refused(["metrics", name], 2)
        (here / name).unlink()
    assert "silent.mid: holds no notes" in refused(["metrics", "silent.mid"], 2)


@pytest.fixture
def damaged(model: Path, tmp_path: Path) -> Callable[..., Path]:
    """A copy of the model, its `model.json` (parsed) changed by a function and signed anew, or its weights replaced."""
    number = iter(range(100))

    def make(change: Callable[[Any], Any] = lambda header: header, weights: bytes | None = None) -> Path:
        header = json.loads((model / "model.json").read_text())
        folder = tmp_path / f"damaged{next(number)}"
        folder.mkdir()
        blob = (model / header["weights"]["file"]).read_bytes() if weights is None else weights
        (folder / header["weights"]["file"]).write_bytes(blob)
        header["weights"]["sha256"] = hashlib.sha256(blob).hexdigest()
        header = change(header) or header
        if isinstance(header, dict):
            unsigned = {k: v for k, v in header.items() if k != "digest"}
            header["digest"] = hashlib.sha256(json.dumps(unsigned, sort_keys=True).encode()).hexdigest()
        (folder / "model.json").write_text(json.dumps(header))
        return folder

    return make


def test_the_copy_itself_is_good(damaged: Callable[..., Path], here: Path) -> None:
    assert main(["generate", str(damaged()), "-n", "1", "--length", "8", "-o", "p"]) == 0


def put(*keys_and_value: Any) -> Callable[[Any], None]:
    *keys, last, value = keys_and_value

    def change(header: Any) -> None:
        for key in keys:
            header = header[key]
        if value is ...:
            del header[last]
        else:
            header[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda header: ["a", "list"], "is of format 'list'; this muspike reads format 2"),
        (put("format", 3), "is of format 3; this muspike reads format 2"),
        (put("format", 1), "is of format 1, for other compound words; this muspike reads format 2"),
        (put("architecture", 7), "architecture is 7; a value of type str is wanted"),
        (put("architecture", "s-future"), "architecture 's-future' is not known"),
        (put("settings", []), r"settings is \[\]; a value of type dict is wanted"),
        (put("settings", "wdith", 3), "model.json: architecture s-rnn: unknown key 'wdith'"),
        (put("settings", "width", "16"), "width = '16' must be of type int"),
        (put("settings", "width", 20), r"weights-\w+.safetensors: does not fit s-rnn: size mismatch"),
        (put("settings", "width", -3), "width -3 must lie between 1 and"),
        (put("settings", "width", 10**12), "width 1000000000000 must lie between 1 and"),
        (put("settings", "tau", []), "S-RNN: tau has no values"),
        (put("settings", "ticks", 0), "ticks 0 must lie between 1 and"),
        (put("settings", "recurrent_delays", ["soon"]), "recurrent delay 'soon' must be such as"),
        (put("training", None), "training is None; a value of type dict is wanted"),
        (put("training", "corpus", ...), "training.corpus is None; a value of type str is wanted"),
        (put("training", "step", True), "training.step is True; a value of type int is wanted"),
        (put("weights", ...), "weights is None; a value of type dict is wanted"),
        (put("weights", "file", "../../secret"), "its weights are in '../../secret'; a file beside it is wanted"),
        (put("weights", "file", "nosuch"), "nosuch: cannot be read: No such file"),
        (put("weights", "sha256", "0" * 64), "is damaged: its sha256 begins"),
    ],
)
def test_a_model_of_the_wrong_shape_is_refused(
    refused: Callable[..., str], damaged: Callable[..., Path], change: Callable[[Any], Any], words: str
) -> None:
    """Also where its digest is right: a program made it, not a flipped byte."""
    assert re.search(words, refused(["generate", damaged(change), "-o", "p"], 2))


def safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"\x08",
        safetensors(b"{}", length=2**63),  # a header said to be of 8 exabytes
        safetensors(b"{}", length=100_000_001),
        safetensors(b'{"bias":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}'),
        safetensors(
            b'{"bias":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}', b"1234"
        ),
        safetensors(b'{"bias":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}}', b"1234"),
        safetensors(b'{"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"1234"),
        safetensors(b"not json"),
        safetensors(b"[" * 10_000),
        safetensors(b"{}"),
    ],
)
def test_weights_that_are_none_are_refused(
    refused: Callable[..., str], damaged: Callable[..., Path], blob: bytes
) -> None:
    assert "does not fit s-rnn" in refused(["generate", damaged(weights=blob), "-o", "p"], 2)


def test_weights_that_are_not_finite_are_refused(refused: Callable[..., str], model: Path, tmp_path: Path) -> None:
    loaded = load_model(model)
    with torch.no_grad():
        loaded.spiking.bias[3] = float("nan")
    save_model(loaded, tmp_path / "nan")
    assert "bias holds values that are not finite" in refused(["generate", tmp_path / "nan", "-o", "p"], 2)


def test_nonsense_in_model_json_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    for text in (b"", b"{", b"\xff\xfe", b"[" * 100_000, b"null", b"NaN"):
        (tmp_path / "model" / "model.json").write_bytes(text)
        assert "model.json: is" in refused(["generate", tmp_path / "model", "-o", "p"], 2)


def test_nir_files_that_hold_no_graph(refused: Callable[..., str], graph: Path, here: Path) -> None:
    """Cut short, HDF5 of something else, of a later version, without a parameter, a node alone."""
    import h5py

    whole = graph.read_bytes()
    (here / "cut.nir").write_bytes(whole[: len(whole) // 2])
    assert "cut.nir: damaged, or not a NIR file" in refused(["map", "cut.nir"], 2)
    with h5py.File("other.nir", "w") as file:
        file["voltage"] = [1.0]
    assert "other.nir: damaged, or not a NIR file" in refused(["map", "other.nir"], 2)
    (here / "later.nir").write_bytes(whole)
    with h5py.File("later.nir", "a") as file:
        del file["version"]
        file["version"] = "99.1"
    assert "later.nir: is of NIR version 99.1; the nir installed here" in refused(["map", "later.nir"], 2)
    with h5py.File("later.nir", "a") as file:
        file["version"][()] = "1.0"
        del file["node"]["nodes"]["layer1"]["tau"]
    assert "later.nir: damaged, or not a NIR file" in refused(["map", "later.nir"], 2)
    nir.write("node.nir", nir.Linear(np.ones((2, 2))))
    assert "node.nir: damaged, or not a NIR file" in refused(["map", "node.nir"], 2)


def test_no_python_that_runs_lava(
    refused: Callable[..., str], model: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = here / "python"
    without.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named lava' >&2; exit 1\n")
    without.chmod(0o755)
    for python, words in (
        ("/nonexistent", "/nonexistent: does not start: No such file"),
        ("./python", "ModuleNotFoundError: No module named lava"),
    ):
        assert words in refused(["lava", "--python", python], 1)
        assert words in refused(["bench", model, "--python", python, "-o", "report"], 1)
        assert words in refused(["export", model, "--to", "lava", "--python", python, "-o", "program.npz"], 1)
        monkeypatch.setenv(lava_runner.VARIABLE, python)
        assert lava_runner.VARIABLE in refused(["lava"], 1)
        assert words in refused(["export", model, "--to", "lava", "-o", "program.npz"], 1)


# --- a disk that is full, a reader that goes away, a signal ------------------------------------------------------


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("arguments", "limit"),
    [
        ("generate MODEL -n 1 -o .", 50),
        ("export MODEL --to nir -o small.nir", 5000),
        ("export MODEL --to lava -o small.npz", 5000),
        ("map GRAPH -o small.npz", 5000),
        ("train s-rnn --preset tiny --steps 1 -o .", 5000),  # the model does not fit
        ("train s-rnn --preset tiny --steps 1 -o .", 200_000),  # the model fits, the optimiser's state does not
    ],
)
def test_a_full_disk_is_one_line_and_status_1(
    model: Path,
    graph: Path,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: str,
    limit: int,
) -> None:
    monkeypatch.setattr(corpora, "load", noise)
    monkeypatch.setattr(lava_runner, "find_lava_python", lambda python: python)
    known = {"MODEL": str(model), "GRAPH": str(graph)}
    command = [known.get(word, word) for word in arguments.split()]
    with no_file_above(limit):
        assert main(command) == 1
    err = capsys.readouterr().err.splitlines(keepends=True)
    assert "cannot be written: File too large" in complaint(err[-1]) and "Traceback" not in "".join(err)
    files = [path for path in here.rglob("*") if path.is_file()]
    if limit == 200_000:
        load_model("model")  # whole, because it was
    else:
        assert files == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_can_go_on(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    status: int,
) -> None:
    def draw_batch(pieces: Any, settings: Any, step: int, *more: Any) -> Any:
        if step == 13:
            signal.raise_signal(number)
        return drawn(pieces, settings, step, *more)

    drawn = training.draw_batch
    monkeypatch.setattr(corpora, "load", noise)
    command = ["train", "s-rnn", "--preset", "tiny", "-o", "run"]
    with monkeypatch.context() as stopping:
        stopping.setattr(training, "draw_batch", draw_batch)
        # A process that was started in the background may ignore Ctrl-C.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            assert main(command) == status
        finally:
            signal.signal(signal.SIGINT, before)
    err = capsys.readouterr().err.splitlines(keepends=True)
    assert complaint(err[-1]) == "muspike: stopped at step 13; the same command goes on from step 10\n"
    assert [path.name for path in here.rglob("*") if path.name.startswith(".")] == []
    assert load_model("run/model").training["step"] == 10
    assert main(command) == 0
    assert main([*command[:-1], "whole"]) == 0  # never stopped
    assert contents(here / "run" / "model") == contents(here / "whole" / "model")


def test_sigterm_is_as_before_when_a_command_ends() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["nosuch"]) == 2
    assert signal.getsignal(signal.SIGTERM) is before


def muspike(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, because Python writes what is left in the buffer when it ends."""
    command = [sys.executable, "-m", "muspike", *arguments]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **options)


@pytest.mark.parametrize("command", ["models", "--help", "train --help", "--version"])
def test_a_reader_that_goes_away_ends_the_command_without_a_word(command: str) -> None:
    """As SIGPIPE would: not with status 0, because nobody has read the result."""
    reading, writing = os.pipe()
    os.close(reading)
    ended = muspike(*command.split(), stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["models --json", "--help", "train --help", "--version"])
def test_output_that_takes_no_more_is_an_error(command: str) -> None:
    with Path("/dev/full").open("w") as full:
        ended = muspike(*command.split(), stdout=full)
    assert ended.returncode == 1
    assert "standard output: cannot be written: No space left" in complaint(ended.stderr)


@pytest.mark.parametrize("command", ["models", "--help", "generate s-rnn -o pieces"])
def test_closed_output_is_an_error_before_the_work(command: str, here: Path) -> None:
    """`>&-`: Python then has no standard output at all."""
    ended = muspike(*command.split(), preexec_fn=lambda: os.close(1))
    assert ended.returncode == 1 and list(here.iterdir()) == []
    assert "standard output: is closed" in complaint(ended.stderr)


def test_a_name_that_is_no_text_can_be_printed(
    pieces: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Linux lets a name be any bytes; and a terminal may know ASCII alone."""
    name = os.fsdecode(b"St\xfcck.mid")
    try:
        Path(name).write_bytes((pieces / "piece-000.mid").read_bytes())
    except OSError:
        pytest.skip("this file system takes only names that are text")
    with monkeypatch.context() as terminal:
        terminal.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
        assert main(["metrics", name, str(pieces)]) == 0
        sys.stdout.seek(0)
        out = sys.stdout.read()
    assert "St\\udcfcck.mid" in out and "St\\xfccke \\u66f2" in out
    assert main(["metrics", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"][0]["file"] == name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ann-rnn", "--target-rate", "0.1"], "ann-rnn does not spike"),
        (["s-gan", "--init", "s-gan", "--teacher", "s-rnn"], "teaches the likelihood warm-up alone"),
    ],
)
def test_what_training_would_ignore_is_refused(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = ["--preset", "small" if arguments[0] == "s-gan" else "tiny"]
    assert main(["train", *arguments, *preset, "-o", str(tmp_path / "run")]) == 2
    assert message in capsys.readouterr().err
