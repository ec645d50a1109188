"""`muspike chips`, and a chip's own file in every command that takes a chip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from html_page import Page
from muspike import corpora
from muspike.checkpoint import load_model, save_model
from muspike.cli import main
from muspike.export import lava_runner, to_lava
from muspike.export.references import chip_reference
from muspike.hardware.chip import known_chips, load_chip
from muspike.hardware.chip_template import chip_template
from muspike.hardware.price_list import known_price_lists
from muspike.hardware.program import Program
from muspike.model_folder import shipped_models
from noise_corpus import noise_corpus
from small_model import small_model
from small_nir import chain, graph, lif


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model, a network, and a chip with a price that does not have its own source; we are in it."""
    monkeypatch.chdir(tmp_path)
    made = noise_corpus([40, 40, 40, 130, 130, 130], train=3, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    save_model(small_model("jsb"), Path("small"))
    nodes = {"input": 2, "in": nir.Linear(np.eye(2)), "lif": lif(2), "output": 2}
    nir.write("net.nir", graph(nodes, chain(*nodes)))
    Path("mine.toml").write_text(chip_template("loihi2").replace("value = 12, low", "value = 13, low", 1))
    return tmp_path


WARNING = (
    "mine.toml: costs.inferred.energy.synop_dense: value is 13 (12 in loihi2), and its source is still 'energy'; name "
    "the source of the new number"
)


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Mapping[str, Any]:
    """The JSON of a command; what it has to say against the chip is on stderr, and there once."""
    capsys.readouterr()
    status = main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert status == 0, err
    assert err.count(f"muspike: warning: {WARNING}\n") == 1
    found: Mapping[str, Any] = json.loads(out)
    assert found["chip_warnings"] == [WARNING]
    return found


def test_map_and_simulate_take_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys, "map", "net.nir", "--chip", "mine.toml", "-o", "net.npz")["chip"] == "my-loihi2"
    for file in ("net.nir", "net.npz"):
        run = told(capsys, "simulate", file, "--random", "0.5", "--chip", "mine.toml")
        assert run["chip"] == run["energy"][0]["chip"] == "my-loihi2"
        (price,) = (r["price_per_event"]["value"] for r in run["energy"][0]["components"] if "dense" in r["name"])
        assert price == 13


def test_a_page_names_the_file_of_the_chip_and_what_is_doubtful_in_it(here: Path) -> None:
    file = next(here.glob("*.toml"))
    assert main(["map", "net.nir", "--chip", str(file), "--report", "fit.html"]) == 0
    page = Page((here / "fit.html").read_text(encoding="utf-8"))
    assert f"file of the chip {file.name}" in page.text
    assert hashlib.sha256(file.read_bytes()).hexdigest() in page.text
    assert "The chip's numbers are in doubt." in page.text and "name the source of the new number" in page.text


def test_generate_takes_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["generate", "small", "-n", "1", "--length", "8", "-o", "pieces", "--on", "mine.toml"]
    assert told(capsys, *command)["on"] == "my-loihi2"


def test_bench_reports_on_the_chips_that_it_is_given(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "./small", "--quick", "--no-lava", "-o", "report", "--chip", "loihi1", "--chip", "mine.toml"]
    results = told(capsys, *command)
    assert list(results["architectures"]["s-rnn"]["chip"]) == ["loihi1", "my-loihi2"]
    assert list(results["architectures"]["s-rnn"]["quality"]["nll_bits_per_note"]["chip"]) == ["loihi1", "my-loihi2"]
    assert "value is 13 (12 in loihi2)" in Path("report/report.html").read_text(encoding="utf-8")
    assert main(["bench", "./small", "--no-lava", "-o", "twice", "--chip", "loihi1", "--chip", "loihi1"]) == 2
    assert "two chips are called loihi1" in capsys.readouterr().err
    assert not Path("twice").exists()


def test_train_takes_a_file_and_goes_on_for_the_same_registers_only(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["train", "s-rnn", "--preset", "tiny", "--steps", "1", "-o", "run", "--quantise", "mine.toml"]
    assert told(capsys, *command)["model"] == "run/model"
    told(capsys, *command)  # goes on
    narrow = Path("mine.toml").read_text().replace("low = -256, high = 254", "low = -128, high = 126")
    Path("mine.toml").write_text(narrow)
    assert main(command) == 2
    assert "run" in capsys.readouterr().err.splitlines()[-1]


def test_ablate_takes_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["ablate", "v_threshold", "--init", "small", "--values", "0.5", "-n", "1", "--chip", "mine.toml"]
    assert told(capsys, *command)["chip"] == "my-loihi2"
    assert main(command) == 0
    assert "on my-loihi2" in capsys.readouterr().out


def test_export_takes_a_file(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lava_runner, "find_lava_python", lambda python: None)
    monkeypatch.setattr(to_lava, "run", lambda path, inputs, _: chip_reference(Program.load(path), inputs))
    told(capsys, "export", "small", "--to", "lava", "--chip", "mine.toml")
    assert Program.load(Path("small-mine.npz")).chip == "my-loihi2"


@pytest.mark.parametrize(
    "command",
    [
        "map net.nir --chip",
        "simulate net.nir --random 0.5 --chip",
        "export small --to lava --chip",
        "bench ./small -o report --chip",
        "generate small -o pieces --on",
        "train s-rnn -o run --quantise",
        "ablate v_threshold --chip",
        "chips --template",
    ],
)
def test_a_wrong_name_lists_the_known_ones(here: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    before = sorted(here.iterdir())
    for wrong in ("loihi9", "", "nosuch.txt"):
        assert main([*command.split(), wrong]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        not_known = f"chip {wrong!r} is not known; known: loihi1, loihi2"
        assert not_known in line or (not wrong and "'' is no name" in line)
    if not command.startswith("chips"):
        assert main([*command.split(), "nosuch.toml"]) == 2
        assert "nosuch.toml: cannot be read: No such file or directory" in capsys.readouterr().err
    assert sorted(here.iterdir()) == before


def test_generate_says_that_it_takes_torch_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "small", "-o", "pieces", "--on", "troch"]) == 2
    assert capsys.readouterr().err.endswith("or give the path of a .toml file, or torch\n")


def test_chips_lists_the_chips_with_what_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chips", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    rows = told["chips"]
    assert tuple(row["name"] for row in told["price_lists"]) == known_price_lists()
    assert tuple(row["name"] for row in rows) == known_chips()
    for row in rows:
        chip = load_chip(row["name"])
        assert row["title"] == chip.title and row["neurons_per_core"] == chip.limits.neurons_per_core.value
        assert row["costs"] == {name: costs.description for name, costs in chip.costs.items()}
    assert main(["chips"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in out[5:7]] == ["loihi1", "loihi2"]
    assert "Intel Loihi 2" in out[6] and "8,192" in out[6] and "inferred" in out[6]
    assert [line.split()[0] for line in out[-len(known_price_lists()) :]] == list(known_price_lists())


@pytest.mark.parametrize(
    ("ending", "opens"),
    [
        ("csv", "# chips and price lists\n\n# chips onto"),
        ("md", "# chips and price lists\n\nchips onto"),
        ("tex", "% chips and price lists\n\n\\begin{table}"),
        ("json", "{"),
        ("html", "<!doctype html>"),
    ],
)
def test_chips_are_listed_in_the_form_that_the_file_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str, opens: str
) -> None:
    file = tmp_path / f"list.{ending}"
    assert main(["chips", "-o", str(file)]) == 0
    text = file.read_text(encoding="utf-8")
    assert text.startswith(opens) and "truenorth" in text
    assert capsys.readouterr().out == f"{file}: chips and price lists\n"
    if ending == "html":
        page = Page(text)
        assert page.addresses == ["#content"] and page.tables == 2 and page.open == []


@pytest.mark.parametrize("name", [None, "loihi1", "loihi2"])
def test_a_template_can_be_used_as_it_stands(here: Path, capsys: pytest.CaptureFixture[str], name: str | None) -> None:
    chosen = ["--template"] if name is None else ["--template", name]
    assert main(["chips", *chosen, "-o", "new/mine.toml"]) == 0
    assert main(["chips", *chosen]) == 0
    assert Path("new/mine.toml").read_text(encoding="utf-8") in capsys.readouterr().out
    assert main(["map", "net.nir", "--chip", "new/mine.toml"]) == 0
    out, err = capsys.readouterr()
    assert f"net.nir on my-{name or 'loihi1'}: fits" in out and err == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("chips -o mine.toml", "mine.toml: only --template writes a .toml file; add it, with a name from the list"),
        (
            "chips -o list.xml",
            "list.xml: ends in none of .txt, .csv, .md, .tex, .json, .html, .htm; --format says what it is to be",
        ),
        ("chips --json --format csv", "--json is not used with --format csv; leave it out"),
        (
            "chips --template tpu",
            "chip 'tpu' is not known; known: " + ", ".join([*known_chips(), *known_price_lists()]),
        ),
        ("chips --template --json", "--json is not used with --template; leave it out"),
        ("chips --template loihi1 -o mine.txt", "mine.txt: a chip's file ends in .toml"),
        ("chips --template -o small.toml", "small.toml: is a folder; a file is wanted"),
    ],
)
def test_chips_refuses(here: Path, capsys: pytest.CaptureFixture[str], command: str, message: str) -> None:
    Path("small.toml").mkdir()
    assert main(command.split()) == 2
    assert capsys.readouterr().err == f"muspike: {message}\n"


@pytest.mark.parametrize(
    ("command", "file", "what"),
    [
        ("bench", "net.nir", "a NIR file"),
        ("bench", "nosuch.nir", "a NIR file"),
        ("bench", "net.npz", "a chip program"),
        ("generate", "net.nir", "a NIR file"),
    ],
)
def test_a_network_given_as_a_model_is_told_its_commands(
    here: Path, capsys: pytest.CaptureFixture[str], command: str, file: str, what: str
) -> None:
    assert main([command, file, "-o", "out"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{file}: is {what}, not a model that composes; muspike simulate {file} --random 0.1" in line
    assert ("muspike map" in line) == (what == "a NIR file")


def test_models_shows_the_bits_of_both_splits(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    (rnn,) = (row for row in rows if row["name"] == "s-rnn")
    told = json.loads((shipped_models()["s-rnn"] / "model.json").read_text())["training"]
    bits = {split: told[f"{split}_bits_per_note"] for split in ("validation", "test")}
    assert {split: rnn[f"{split}_bits_per_note"] for split in bits} == bits
    assert main(["models"]) == 0
    *heads, _, _, _, line, _ = capsys.readouterr().out.splitlines()
    shown = {split: f"{value:.3f}" for split, value in bits.items()}
    rate = f"{told['validation_firing_rate']:.3f}"
    parameters = sum(weights.numel() for weights in load_model("s-rnn").network.parameters())
    assert line.split() == ["s-rnn", "jsb", f"{parameters:,}", str(told["step"]), *shown.values(), rate]
    validation, test = (line.index(value) + len(value) for value in shown.values())
    for ending, titles in ((validation, ("bits per note,", "validation")), (test, ("bits per note,", "test"))):
        assert [head[:ending].endswith(title) for head, title in zip(heads, titles, strict=False)] == [True, True]
