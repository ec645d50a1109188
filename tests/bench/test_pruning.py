"""Pruning in rounds: what a point says is what one measures by hand, and a stopped command goes on."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from muspike import architectures, corpora, pruning, tokens
from muspike.bench import pruning as rounds
from muspike.bench.workload import read_after_pad
from muspike.checkpoint import Model, load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.hardware.chip import Limit, load_chip
from muspike.hardware.cost import activity, energy
from muspike.hardware.mapping.compile import spread_over
from muspike.training import tensors_digest
from noise_corpus import noise_corpus
from small_model import small_model


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus((40, 41, 128, 130, 131, 135), train=2, validation=2)


@pytest.fixture
def here(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a model, and we are in it; every data set is the small one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: corpus)
    save_model(small_model(), tmp_path / "small")
    return tmp_path


def plan(**changes: object) -> rounds.Plan:
    return rounds.Plan(**{"sparsities": (0.5, 0.9), "steps": 4, "all_rounds": True, **changes})  # type: ignore[arg-type]


def test_a_point_is_what_is_measured_by_hand(here: Path, corpus: Corpus) -> None:
    results = rounds.prune(small_model(), plan(), corpus, "loihi1", here / "out")
    dense, half, most = results["points"]
    assert (dense["sparsity"], half["sparsity"]) == (0, pytest.approx(0.5, abs=1e-3))
    assert most["sparsity"] == pytest.approx(0.9, abs=1e-3) and results["kept"] == 2
    kept = load_model(here / "out")
    assert pruning.sparsity(kept.spiking) == most["sparsity"] == kept.training["pruned"]["sparsity"]
    assert kept.training["pruned"]["chip"] == "loihi1" and kept.steps == most["steps"]

    chip, compiled = load_chip("loihi1"), compile_model(kept, "loihi1")
    assert {s.layout for s in compiled.program.synapses} == {"sparse"}
    words = np.stack([piece.words[:128] for piece in corpus.split("test") if len(piece.words) >= 128], axis=1)
    notes = int((words[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())
    runner = ChipRunner(compiled.program)
    runner.reset(words.shape[1])
    _, run = runner.run(read_after_pad(words), record_membranes=True)
    found = []
    for mapping in spread_over(compiled):
        counts = activity.count(mapping.program, run.spikes, currents=run.current, membranes=run.membrane)
        found.append(energy.price(counts, chip).total.to("uJ").value / notes)
    assert most["test"]["notes"] == notes
    assert most["test"]["fewest_cores"]["energy_uj_per_note"]["value"] == pytest.approx(found[0])
    assert most["test"]["energy_uj_per_note"]["value"] == pytest.approx(min(found))
    assert most["test"]["synops_per_note"] == most["test"]["sparse_synops_per_note"]
    assert most["test"]["synops_per_note"] < dense["test"]["synops_per_note"] / 2


COMMAND = ["prune", "small", "--sparsities", "0.5", "0.9", "--steps", "4", "-o", "out"]


def test_rounds_end_at_the_target_and_a_stopped_command_goes_on(
    here: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    every = rounds.prune(small_model(), plan(), corpus, "loihi1", here / "all")["points"]
    energies = [point["validation"]["energy_uj_per_note"]["value"] for point in every]
    assert energies[0] > energies[1] > energies[2]
    target = str((energies[0] + energies[1]) / 2)
    train = pruning.Run.train

    def stopped(run: pruning.Run, report: object) -> Model:
        raise KeyboardInterrupt

    monkeypatch.setattr(pruning.Run, "train", stopped)
    assert main([*COMMAND, "--target-uj", target]) == 130
    monkeypatch.setattr(pruning.Run, "train", train)
    assert not (here / "out" / "model").exists()
    capsys.readouterr()
    assert main([*COMMAND, "--target-uj", target, "--json"]) == 0
    out, err = capsys.readouterr()
    results = json.loads(out)
    assert len(results["points"]) == 2 and results["kept"] == 1, "the second round was not needed"
    for point, wanted in zip(results["points"], every, strict=False):
        assert {k: v for k, v in point.items() if k != "on_front"} == json.loads(
            json.dumps({k: v for k, v in wanted.items() if k != "on_front"})
        )
    assert "50 % of the weights become 0" in err
    monkeypatch.setattr(pruning.Run, "step", lambda *_: pytest.fail("trained twice"))
    assert main([*COMMAND, "--target-uj", target, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == results
    model = load_model("out")
    assert model.training["pruned"]["target_uj"] == float(target)
    energy_of_model = model.training["pruned"]["energy_uj_per_note"]["value"]
    assert energy_of_model == pytest.approx(energies[1]) and energy_of_model <= float(target)


def test_choices_are_made_on_the_validation_split(here: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test split is read when the last round is over, and not before."""
    read: list[str] = []
    measured, train = rounds._measured, pruning.Run.train

    def noted(model: Model, data: Corpus, split: str, chip: object) -> object:
        read.append(split)
        return measured(model, data, split, chip)  # type: ignore[arg-type]

    def trained(run: pruning.Run, report: object) -> Model:
        read.append("round")
        return train(run, report)  # type: ignore[arg-type]

    monkeypatch.setattr(rounds, "_measured", noted)
    monkeypatch.setattr(pruning.Run, "train", trained)
    rounds.prune(small_model(), plan(), corpus, "loihi1", here / "out")
    assert read == ["validation", *["round", "validation"] * 2, *["test"] * 3]


def test_a_cpu_without_avx_512_prunes_in_float32_whatever_the_model_was_trained_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    model = small_model()
    trained = {**model.training, "settings": {"precision": "bfloat16", "batch": 3}}
    settings = plan().settings(dataclasses.replace(model, training=trained), 0.5)
    assert (settings.precision, settings.batch) == ("float32", 3)


def test_a_target_out_of_reach_is_told_with_how_far_it_came(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--target-uj", "1e-6"]) == 1
    out, err = capsys.readouterr()
    head, *lines = out.splitlines()
    assert "µJ per note" in head and [line.split()[0] for line in lines[:3]] == ["0.0", "50.0", "90.0"]
    assert "1e-06 µJ per note on loihi1 is out of reach of these rounds: the least that was reached is" in err
    assert not (here / "out" / "model").exists()


def test_a_target_that_is_met_already_writes_no_model_and_says_so(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*COMMAND, "--target-uj", "1e6"]) == 0
    assert "meets 1e+06 µJ per note as it is; no model is written" in capsys.readouterr().err
    assert not (here / "out" / "model").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--target-uj", "-3"], "argument --target-uj: '-3' must be a number from"),
        (["--target-uj", "few"], "argument --target-uj: 'few' must be a number from"),
        (["--target-uj", "nan"], "argument --target-uj: 'nan' must be a number from"),
        ([], "give the energy to reach"),
        (["--front", "--sparsities", "0.5", "1"], "'1' must be a number at least 0 and below 1"),
        (["--front", "--sparsities", "0.5", "0.4"], "must rise from round to round"),
        (["--front", "--picture", "front.png"], "front.png: the picture of a front is an SVG"),
        (["--front", "--steps", "0"], "must be a whole number"),
    ],
)
def test_bad_use_is_one_line_and_status_2(
    here: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "small", *options]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1 and not (here / "runs").exists()


def test_what_does_not_spike_is_refused(here: Path, corpus: Corpus) -> None:
    settings = architectures.preset("ann-rnn", "tiny")["network"]
    twin = Model("ann-rnn", settings, architectures.build("ann-rnn", settings), small_model().training)
    with pytest.raises(BadInput, match="ann-rnn does not spike"):
        rounds.prune(twin, plan(), corpus, "loihi1", here / "out")


def test_the_front_has_what_no_point_beats() -> None:
    def point(energy: float | None, bits: float) -> dict[str, object]:
        fits = energy is not None
        return {"validation": {"fits": fits, "energy_uj_per_note": {"value": energy}, "bits_per_note": bits}}

    points = [point(4, 2), point(3, 1.9), point(2, 2.5), point(None, 1), point(2.5, 2.6), point(3, 1.9), point(1, 9)]
    assert rounds.front(points) == [1, 2, 5, 6]


def test_the_table_and_the_picture_hold_what_was_found(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--front", "--picture", "front.svg"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert main([*COMMAND, "--front", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)
    dense, _, most = results["points"]
    for line, point in zip(table[1:4], results["points"], strict=True):
        test = point["test"]
        for wanted in (f"{point['validation']['bits_per_note']:.3f}", f"{test['bits_per_note']:.3f}"):
            assert wanted in line.split()
        energy_of = test["energy_uj_per_note"]
        assert (
            f"{energy_of['value']:.3g}" in line.split() and f"{energy_of['low']:.3g} to {energy_of['high']:.3g}" in line
        )
        assert f"{test['synops_per_note']:,.0f}" in line.split() and str(test["cores"]) in line.split()
    change = 100 * (most["test"]["bits_per_note"] / dense["test"]["bits_per_note"] - 1)
    less = dense["test"]["energy_uj_per_note"]["value"] / most["test"]["energy_uj_per_note"]["value"]
    assert f"{change:+.2f} %" in table[3] and f"{less:.2f}x less" in table[3] and table[3].endswith("kept")
    assert "of the cheapest mapping" in table[5]
    svg = (here / "front.svg").read_text(encoding="utf-8")
    assert "µJ per note on loihi1" in svg and "90 %" in svg and "the fewest cores" in svg
    assert list(rounds.SPARSITIES) == sorted(rounds.SPARSITIES)


def test_a_point_that_does_not_fit_has_no_energy(here: Path, corpus: Corpus) -> None:
    known = load_chip("loihi1")
    small = dataclasses.replace(
        known, limits=dataclasses.replace(known.limits, input_axons_per_core=Limit(300, "test"))
    )
    results = rounds.prune(small_model(), plan(sparsities=(0.97,)), corpus, small, here / "out")
    dense, pruned = results["points"]
    assert not dense["validation"]["fits"] and dense["validation"]["energy_uj_per_note"] is None
    assert "input axons" in dense["validation"]["reason"]
    assert pruned["validation"]["fits"] and results["points"][1]["on_front"] and not dense["on_front"]
    assert "0.0 % zeros, test: does not fit" in rounds.table(results)
    assert rounds.least_energy(results) == pruned["validation"]["energy_uj_per_note"]["value"]
    rounds.picture(results)


def test_a_teacher_is_learned_from(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["prune", "small", "--sparsities", "0.5", "--steps", "2", "--front"]
    assert main([*command, "-o", "alone"]) == 0
    assert main([*command, "-o", "taught", "--teacher", "small"]) == 0
    alone, taught = load_model("alone"), load_model("taught")
    assert alone.training["teacher"] is None
    assert taught.training["teacher"] == tensors_digest(load_model("small").network.state_dict())
    name = "input_to_layer1"
    assert not torch.equal(alone.spiking.weights[name], taught.spiking.weights[name])
    assert main([*command, "-o", "alone", "--teacher", "small"]) == 2
    assert "holds a run with teacher None" in capsys.readouterr().err
