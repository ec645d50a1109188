"""The table of the benchmark: our values are those that one computes by hand, the paper's stand beside them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from html_page import Page
from muspike import corpora, metrics, tokens
from muspike.bench import benchmark as module
from muspike.bench import suite
from muspike.bench.benchmark import FILES, NO_CORPUS, NO_MODEL, NOT_KNOWN, benchmark, choose, notes, tables
from muspike.bench.paper import VALUES, PaperValue, paper_values
from muspike.checkpoint import load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.generation import generate
from muspike.tables import Table
from noise_corpus import noise_corpus
from small_model import small_model

NOT_BUILT = "corpus lakh is not built here; muspike data build lakh downloads it (1,768 MB) and builds it"
VALUES_OF_TEST = {
    ("jsb", "data", "pitch_count"): PaperValue(22.8, "measured", "a paper"),
    ("jsb", "s-rnn", "pitch_count"): PaperValue(43.1, "measured", "a paper"),
    ("pop909", "s-gan", "empty_beat_rate"): PaperValue(0.256, "inferred", "a paper"),
    ("lakh", "data", "pitch_count"): PaperValue(30.0, "measured", "a paper"),
    ("emopia", "data", "pitch_count"): PaperValue(31.0, "measured", "a paper"),
}


LOAD = corpora.load


@pytest.fixture(scope="module")
def here() -> dict[str, Corpus]:
    return {
        "jsb": noise_corpus((60, 128, 140, 150), train=0, validation=0, name="jsb"),
        "pop909": noise_corpus((129, 135), train=0, validation=0, name="pop909"),
    }


@pytest.fixture(autouse=True)
def loaded(here: dict[str, Corpus], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, progress: bool = True) -> Corpus:
        if name not in here:
            raise BadInput(NOT_BUILT if name == "lakh" else f"corpus {name!r}: there is no such corpus or folder")
        return here[name]

    monkeypatch.setattr(corpora, "load", load)
    monkeypatch.setattr(module, "shipped_models", dict)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model for each of the two corpora, one of them in the folder of its run."""
    save_model(small_model("jsb"), tmp_path / "models" / "first")
    save_model(small_model("pop909"), tmp_path / "models" / "run" / "model")
    return tmp_path / "models"


@pytest.fixture
def results(models: Path, tmp_path: Path) -> dict[str, Any]:
    return benchmark(
        ["jsb", "pop909", "lakh"], tmp_path / "out", models=models, quick=True, seeds=[3, 4], values=VALUES_OF_TEST
    )


def mean(values: np.ndarray) -> float:
    return float(np.nanmean(values))


def test_our_values_are_of_excerpts_of_one_length_on_the_chip(
    results: dict[str, Any], here: dict[str, Corpus], models: Path
) -> None:
    excerpts = [piece.words[:128] for piece in here["jsb"].split("test") if len(piece.words) >= 128]
    runner = ChipRunner(compile_model(load_model(models / "first"), "loihi1").program)
    composed = [words for seed in (3, 4) for words in generate(runner, 16, 128, seed, ended=False)]
    assert {len(words) for words in [*excerpts, *composed]} == {128} and (len(excerpts), len(composed)) == (3, 32)
    of = results["corpora"]["jsb"]
    assert of["excerpts"] == 3 and of["models"]["s-rnn"]["pieces"] == 32
    assert of["models"]["s-rnn"]["composed_by"] == "loihi1"
    for found, pieces in ((of["data"], excerpts), (of["models"]["s-rnn"]["metrics"], composed)):
        scores = [dataclasses.replace(tokens.decode(words), chords=None) for words in pieces]
        expected = metrics.evaluate_set(scores, list(results["metrics"]))
        for name, values in expected.items():
            if np.isfinite(values).any():
                assert found[name]["mean"] == pytest.approx(mean(values)), name
            else:
                assert found[name]["mean"] is None, name
    # What is measured on the end of a piece says nothing of a piece that is cut.
    assert "ends_in_cadence" not in results["metrics"] and "pitch_count" in results["metrics"]


def row(table: Table, name: str) -> dict[str, str]:
    (cells,) = [cells for cells in table.rows if cells[0] == name]
    return dict(zip((title.replace("\n", " ") for title in table.titles), cells, strict=True))


def test_the_papers_value_stands_beside_ours_and_a_cell_without_one_says_so(results: dict[str, Any]) -> None:
    paper, jsb, pop909, missing = tables(results)
    pitch = row(jsb, "pitch_count")
    ours = results["corpora"]["jsb"]["models"]["s-rnn"]["metrics"]["pitch_count"]["mean"]
    assert (pitch["data, paper"], pitch["s-rnn, paper"], pitch["s-rnn, ours"]) == ("22.8", "43.1", f"{ours:.3g}")
    assert pitch["s-gan, paper"] == NOT_KNOWN and pitch["s-gan, ours"] == NO_MODEL
    assert row(pop909, "empty_beat_rate")["s-gan, paper"] == "0.256"
    assert row(pop909, "pitch_count")["data, paper"] == NOT_KNOWN
    assert [cells[:5] for cells in paper.rows] == [
        ["jsb", "data", "pitch_count", "22.8", pitch["data, ours"]],
        ["jsb", "s-rnn", "pitch_count", "43.1", pitch["s-rnn, ours"]],
        ["pop909", "s-gan", "empty_beat_rate", "0.256", NO_MODEL],
        ["lakh", "data", "pitch_count", "30", NO_CORPUS],
    ]
    assert paper.rows[2][5:] == ["inferred", "a paper"]
    assert "128 words each" in jsb.caption and "3 excerpts" in jsb.caption and "32 pieces" in jsb.caption
    assert any("how long the paper's excerpts are is not known" in note for note in notes(results))
    assert ["", "lakh", NOT_BUILT] in missing.rows
    assert ["s-gan", "jsb", "python -m muspike.bench.shipped train s-gan-0"] in missing.rows
    assert ["s-rnn", "pop909"] not in [cells[:2] for cells in missing.rows]


def test_the_files_hold_the_same_tables(results: dict[str, Any], tmp_path: Path) -> None:
    page, markdown, data = (tmp_path / "out" / name for name in FILES)
    assert json.loads(data.read_text(encoding="utf-8")) == results
    text = markdown.read_text(encoding="utf-8")
    html = Page(page.read_text(encoding="utf-8"))
    assert html.tables == 4 and html.open == [] and html.addresses == ["#content"]
    shown = html.text
    assert NOT_BUILT in text and "corpus lakh is not built here" in shown
    assert "43.1" in shown and NOT_KNOWN in shown and "train s-gan-0" in shown
    for table in tables(results):
        assert f"{table.caption}:" in text
        assert all(f"| {' | '.join(cells)} |" in text for cells in table.rows)


def test_a_model_that_the_queue_does_not_train_is_trained_by_hand() -> None:
    assert module.remedy("s-cnn", "emopia") == "python -m muspike.bench.shipped train s-cnn-emopia-0"
    assert module.remedy("s-cnn", "xmidi") == "muspike train s-cnn --data xmidi"


def test_without_any_corpus_the_reason_is_the_error(models: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^corpus lakh is not built here; .* and builds it$"):
        benchmark(["lakh"], tmp_path / "out", models=models)
    with pytest.raises(BadInput, match="corpus 'songs': there is no such corpus"):
        benchmark(["jsb", "songs"], tmp_path / "out", models=models)
    with pytest.raises(BadInput, match="bench: corpora are jsb, jsb; expected each once"):
        benchmark(["jsb", "jsb"], tmp_path / "out", models=models)


def test_a_model_of_ones_own_takes_the_place_of_the_shipped_one(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(small_model("jsb"), tmp_path / "shipped")
    monkeypatch.setattr(module, "shipped_models", lambda: {str(tmp_path / "shipped"): tmp_path / "shipped"})
    wanted = ["jsb", "pop909"]
    assert [(of.model, of.corpus) for of in choose([], None, wanted)] == [(str(tmp_path / "shipped"), "jsb")]
    own = [(str(models / "first"), "jsb"), (str(models / "run"), "pop909")]
    assert [(of.model, of.corpus) for of in choose([], models, wanted)] == own
    assert [of.model for of in choose([], models, ["pop909"])] == [str(models / "run")]
    named = choose([str(tmp_path / "shipped")], models, wanted)
    assert [of.model for of in named] == [str(tmp_path / "shipped"), *(model for model, _ in own)]
    with pytest.raises(BadInput, match=r"first: was trained on jsb, which is not among the corpora pop909, emopia$"):
        choose([str(models / "first")], None, ["pop909", "emopia"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"--models .*empty: holds no model folder"):
        choose([], tmp_path / "empty", wanted)
    with pytest.raises(BadInput, match=r"--models .*none: is no folder"):
        choose([], tmp_path / "none", wanted)


def test_two_models_of_one_architecture_have_columns_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_model(small_model("jsb"), tmp_path / name)
    found = benchmark(
        ["jsb", "lakh"], tmp_path / "out", names=[str(tmp_path / "a"), str(tmp_path / "b")], quick=True, values={}
    )
    assert list(found["corpora"]["jsb"]["models"]) == ["s-rnn", str(tmp_path / "b")]
    assert found["missing"] == {}  # of models that are named, none is missing
    (table, _) = tables(found)
    assert row(table, "pitch_count")["s-rnn, ours"] == row(table, "pitch_count")[f"{tmp_path / 'b'}, ours"]


def test_a_stopped_benchmark_goes_on(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []
    real = module.measure

    def measure(job: module.Job) -> dict[str, Any]:
        measured.append(job.corpus)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return real(job)

    monkeypatch.setattr(module, "measure", measure)
    again = {"models": models, "quick": True, "values": {}}
    with pytest.raises(KeyboardInterrupt):
        benchmark(["jsb", "pop909"], tmp_path / "out", **again)  # type: ignore[arg-type]
    benchmark(["jsb", "pop909"], tmp_path / "out", resume=True, **again)  # type: ignore[arg-type]
    assert measured == ["jsb", "pop909", "pop909"]
    assert "s-rnn, jsb: as measured before" in capsys.readouterr().err
    (part,) = (tmp_path / "out" / "parts").glob("jsb-*.json")
    part.write_text("{}")
    with pytest.raises(BadInput, match=r"jsb-.*\.json: damaged, or no part of a benchmark: .*; delete it"):
        benchmark(["jsb", "pop909"], tmp_path / "out", resume=True, **again)  # type: ignore[arg-type]


def test_the_command_prints_the_tables(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "--data", "jsb,lakh", "--models", str(models), "--quick", "-o", str(tmp_path / "out")]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert "JSB chorales (jsb): means over 3 excerpts of the test split and over 16 pieces" in out
    assert "MuSpike, arXiv 2508.19251" in out and NOT_BUILT in out
    assert main([*command, "--resume", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "benchmark.json").read_text(encoding="utf-8"))
    assert main([*command, "--chip", "loihi1"]) == 2
    assert "--chip is not used with several corpora" in capsys.readouterr().err


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[list[str]]]:
    """The models that the report was asked for."""
    asked: list[list[str]] = []

    def bench(names: list[str], folder: Path, **options: Any) -> tuple[dict[str, Any], Path]:
        asked.append(names)
        return {}, folder / "report.html"

    monkeypatch.setattr(suite, "bench", bench)
    yield asked


def test_with_one_corpus_it_is_the_report_on_its_models(
    models: Path, tmp_path: Path, reported: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    own = ["--models", str(models)]
    for options in (["--data", "pop909", *own], own, ["--data", "jsb", *own, "--only", "s-rnn"], [str(models / "run")]):
        assert main(["bench", *options, "-o", str(tmp_path / "out")]) == 0
    assert reported == [[str(models / "run")], [str(models / "first")], [str(models / "first")], [str(models / "run")]]
    capsys.readouterr()
    assert main(["bench", "--data", "emopia", *own, "-o", str(tmp_path / "out")]) == 2
    assert "there is no model of emopia here; python -m muspike.bench.shipped train s-rnn-emopia-0 trains one" in (
        capsys.readouterr().err
    )


def test_every_known_value_of_the_paper_has_a_source_and_a_tag() -> None:
    found = paper_values()
    assert {key: of.value for key, of in found.items()} == {
        ("jsb", "data", "pitch_count"): 22.8,
        ("jsb", "s-rnn", "pitch_count"): 43.1,
        ("jsb", "s-transformer", "pitch_in_scale_rate"): 0.87,
        ("emopia", "data", "empty_beat_rate"): 0.004,
        ("emopia", "s-gan", "empty_beat_rate"): 0.256,
    }
    assert all("arXiv 2508.19251" in of.source for of in found.values())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[jsb.data.pitch_count]", "[jsc.data.pitch_count]", r"'jsc' is no corpus; known are jsb"),
        ("[jsb.data.pitch_count]", "[jsb.s-rnm.pitch_count]", r"jsb: 's-rnm' is no network; known are data, s-cnn"),
        ("[jsb.data.pitch_count]", "[jsb.data.pitch]", r"jsb: data: 'pitch' is no metric; known are pitch_count"),
        ('tag = "measured"', 'tag = "told"', r"tag is 'told', expected one of measured"),
        ("value = 22.8", 'value = "22.8"', r"value is '22.8', expected a number"),
        ('source = "muspike"', 'source = "memory"', r"source 'memory' is not in \[sources\]"),
        ("value = 22.8", "value = 22.8\nyear = 1", r"unknown key 'year'"),
    ],
)
def test_a_file_of_values_that_is_none_is_refused(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = VALUES.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "values.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        paper_values(tmp_path / "values.toml")


@pytest.mark.parametrize("name", ["pop909", "emopia"])
def test_the_real_data_have_every_metric(
    name: str, here: dict[str, Corpus], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        corpus = LOAD(name)
    except BadInput as error:
        pytest.skip(str(error))
    monkeypatch.setattr(corpora, "load", lambda asked: corpus if asked == name else here[asked])
    found = benchmark([name, "jsb"], tmp_path / "out", quick=True)
    data = found["corpora"][name]["data"]
    assert all(data[metric]["mean"] is not None for metric in found["metrics"])
    assert found["corpora"][name]["excerpts"] >= 40
    assert 0.95 < data["pitch_in_scale_rate"]["mean"] <= 1 and data["empty_beat_rate"]["mean"] < 0.03
    assert 17 < data["pitch_count"]["mean"] < 22
