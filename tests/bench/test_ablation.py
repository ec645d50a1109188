"""Ablations: each row is what one measures by hand on the network of that value; stopped runs are taken up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import architectures, corpora, evaluation, metrics, tokens, training
from muspike.bench import ablation
from muspike.bench.workload import read_after_pad
from muspike.checkpoint import Model, load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.generation import generate
from muspike.hardware.chip import load_chip
from muspike.hardware.cost import activity, energy
from muspike.network import Generator
from noise_corpus import noise_corpus
from small_model import SETTINGS, small_model


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus((40, 41, 60, 128, 130), train=2, validation=3)


@pytest.fixture
def here(tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and we are in it; every data set is the small one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: corpus)
    return tmp_path


@pytest.fixture
def model() -> Model:
    return small_model(step=7)


def of(field: str, *values: float, architecture: str = "s-rnn") -> list[ablation.Variant]:
    network = SETTINGS if architecture == "s-rnn" else architectures.preset(architecture, "tiny")["network"]
    return ablation.variants(architecture, network, field, values)


def test_a_row_is_what_is_measured_by_hand(model: Model, corpus: Corpus) -> None:
    results = ablation.ablate(
        of("v_threshold", 0.3, 0.7), lambda v: v.with_weights_of(model), corpus, "loihi2", pieces=3, seed=5
    )
    assert [(row["architecture"], row["value"], row["step"]) for row in results["rows"]] == [
        ("s-rnn", 0.3, 7), ("s-rnn", 0.7, 7),
    ]  # fmt: skip
    whole = [piece.words for piece in corpus.split("validation")]
    excerpts = np.stack([words[:128] for words in whole if len(words) >= 128], axis=1)
    assert excerpts.shape[1] == results["data"]["excerpts"] == 2
    notes = int((excerpts[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())

    def empty(pieces: Any) -> float:
        return float(
            np.mean([metrics.evaluate(tokens.decode(w), ["empty_beat_rate"])["empty_beat_rate"] for w in pieces])
        )

    assert results["data"]["empty_beat_rate"] == pytest.approx(empty(excerpts.swapaxes(0, 1)))
    for row in results["rows"]:
        network = architectures.build("s-rnn", SETTINGS | {"v_threshold": row["value"]})
        network.load_state_dict(model.network.state_dict())
        by_hand = Model("s-rnn", SETTINGS | {"v_threshold": row["value"]}, network, model.training)

        def in_torch(words: torch.Tensor, network: Generator = network) -> torch.Tensor:
            logits: torch.Tensor = network(words)[0]
            return logits

        on_torch = evaluation.likelihood(in_torch, whole)
        assert row["nll_bits_per_note"]["torch"] == pytest.approx(on_torch.bits_per_note)
        assert row["firing_rate"] == pytest.approx(evaluation.firing_rate(network, whole))
        program = compile_model(by_hand, "loihi2").program
        runner = ChipRunner(program)

        def logits(words: torch.Tensor, runner: ChipRunner = runner) -> torch.Tensor:
            runner.reset(words.shape[1])
            return torch.from_numpy(runner.run(words.numpy())[0])

        assert row["nll_bits_per_note"]["chip"] == pytest.approx(evaluation.likelihood(logits, whole).bits_per_note)
        assert row["empty_beat_rate"] == pytest.approx(empty(generate(runner, 3, 128, 5, ended=False)))
        runner.reset(excerpts.shape[1])
        _, run = runner.run(read_after_pad(excerpts), record_membranes=True)
        counts = activity.count(program, run.spikes, currents=run.current, membranes=run.membrane)
        total = energy.price(counts, load_chip("loihi2")).total
        found = row["chip"]["energy_uj_per_note"]["total"]
        for end in ("value", "low", "high"):
            assert found[end] == pytest.approx(getattr(total.to("uJ"), end) / notes)
        assert found["tag"] == total.tag
    low, high = results["rows"]
    # The same weights behind a higher threshold: fewer spikes, which cost less.
    assert low["firing_rate"] > high["firing_rate"] > 0
    parts = [row["chip"]["energy_uj_per_note"]["dynamic"]["value"] for row in (low, high)]
    assert parts[0] > parts[1]


def test_the_table_holds_what_was_found(model: Model, corpus: Corpus) -> None:
    results = ablation.ablate(of("v_threshold", 0.3), lambda v: v.with_weights_of(model), corpus, "loihi1", pieces=2)
    (row,) = results["rows"]
    head, line, data, _, *notes = ablation.table(results).splitlines()
    assert head.split()[:2] == ["v_threshold", "step"] and "on loihi1" in head
    total = row["chip"]["energy_uj_per_note"]["total"]
    wanted = [row["nll_bits_per_note"]["torch"], row["nll_bits_per_note"]["chip"], row["firing_rate"]]
    wanted += [row["empty_beat_rate"], total["value"]]
    assert line.split()[:8] == ["s-rnn", "0.3", "7", *(f"{value:.4g}" for value in wanted)]
    assert total["tag"] in line and f"{total['low']:.4g} to {total['high']:.4g}" in line
    assert data.split() == ["data", f"{results['data']['empty_beat_rate']:.4g}"]
    assert len(notes) == 1 and "the whole validation split of" in notes[0]
    row["chip"]["accumulator_overflows"] = 3
    assert "a chip would give other figures: 3 synaptic sums left its 16-bit accumulator" in ablation.table(results)


def test_what_does_not_fit_has_no_energy(model: Model, corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        fits, problems = False, ("core 0 is full",)

    compiled = compile_model(model, "loihi2")
    monkeypatch.setattr(
        ablation, "compile_model", lambda *_, **__: type("C", (), {"use": Full, "program": compiled.program})
    )
    results = ablation.ablate(of("v_threshold", 0.5), lambda _: model, corpus, "loihi2", pieces=1)
    (row,) = results["rows"]
    assert row["chip"] == {"fits": False, "reason": "core 0 is full"} and row["nll_bits_per_note"]["chip"] is None
    assert row["nll_bits_per_note"]["torch"] > 0 and row["empty_beat_rate"] >= 0
    assert "s-rnn, v_threshold 0.5: does not fit: core 0 is full; torch composed its pieces" in ablation.table(results)


def test_any_number_of_the_settings_can_be_varied() -> None:
    assert [v.network["width"] for v in of("width", 8, 24.0)] == [8, 24]
    assert [v.network["tau"] for v in of("tau", 2, 4.5)] == [[2.0], [4.5]]
    assert [v.network["ticks"] for v in of("ticks", 1, 3, 1)] == [1, 3]
    assert [v.network["tau"] for v in of("tau", 3, architecture="s-lstm")] == [3.0]
    (wide,) = of("width", 24)
    assert wide.built().spiking.populations["layer1"].size == 24


@pytest.mark.parametrize(
    ("field", "value", "architecture", "words"),
    [
        ("colour", 1, "s-rnn", "'colour': s-rnn has no number of that name; it has width, layers, ticks"),
        ("skip", 1, "s-rnn", "'skip': s-rnn has no number"),
        ("attention", 1, "s-transformer", "'attention': s-transformer has no number"),
        ("width", 1.5, "s-rnn", "width 1.5: s-rnn takes a whole number"),
        ("width", 0, "s-rnn", "S-RNN: width 0 must lie between 1 and"),
        ("tau", 0.5, "s-rnn", "tau 0.5 is not at least one tick"),
        ("width", 8, "ann-rnn", "ann-rnn: does not spike"),
    ],
)
def test_values_that_make_no_network_are_refused(field: str, value: float, architecture: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        of(field, value, architecture=architecture)


def test_weights_of_another_shape_are_refused(model: Model) -> None:
    (wide,) = of("width", 24)
    with pytest.raises(BadInput, match="width 24: makes a network of other synapses"):
        wide.with_weights_of(model)


def test_a_stopped_ablation_is_taken_up(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = "--values 0.3 0.6 --preset tiny --steps 3 -n 1 --device cpu --json -o out"
    command = ["ablate", "v_threshold", *options.split()]
    step, done = training.Run.step, 0

    def counted(run: training.Run, *rest: Any) -> float:
        nonlocal done
        done += 1
        if done == 5:
            raise KeyboardInterrupt
        return step(run, *rest)

    monkeypatch.setattr(training.Run, "step", counted)
    assert main(command) == 130
    assert "stopped at step 1" in capsys.readouterr().err
    assert main(command) == 0
    assert done == 5 + 3  # the first value had been trained
    told = json.loads(capsys.readouterr().out)
    assert [row["value"] for row in told["rows"]] == [0.3, 0.6] and told["preset"] == "tiny"
    for row in told["rows"]:
        kept = load_model(here / "out" / f"s-rnn-jsb-tiny-0-v_threshold-{row['value']:g}")
        assert kept.settings["v_threshold"] == row["value"] and kept.training["step"] == row["step"] == 3
        bits = kept.training["validation_bits_per_note"]
        assert row["nll_bits_per_note"]["torch"] == pytest.approx(bits, rel=1e-5)
    assert main(command) == 0
    assert done == 8 and json.loads(capsys.readouterr().out) == told


def test_a_trained_model_is_varied_without_training(
    here: Path, model: Model, capsys: pytest.CaptureFixture[str]
) -> None:
    save_model(model, here / "trained")
    assert main(["ablate", "v_threshold", "--init", "trained", "--values", "0.5", "-n", "1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:3] == ["s-rnn", "0.5", "7"]
    assert [path.name for path in here.iterdir()] == ["trained"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("ablate colour --values 1", "'colour': s-rnn has no number of that name"),
        ("ablate width", "ablate width: has no default values; give some"),
        ("ablate v_threshold --values low", "'low' must be a number"),
        ("ablate v_threshold --values nan", "'nan' must be a number"),
        ("ablate v_threshold --values -1", "v_threshold -1.0 is not at least 0"),
        ("ablate v_threshold --chip loihi9", "chip 'loihi9' is not known; known: loihi1, loihi2"),
        ("ablate v_threshold ann-rnn", "'v_threshold': ann-rnn has no number of that name"),
        ("ablate width ann-rnn --values 8", "ann-rnn: does not spike"),
        ("ablate v_threshold s-xyz", "architecture 's-xyz' is not known"),
        ("ablate v_threshold --preset huge", "s-rnn: preset 'huge' is not known"),
        ("ablate v_threshold --init nosuch", "nosuch: neither a model folder nor a shipped model"),
        ("ablate v_threshold s-rnn --init nosuch", "ARCHITECTURE is not used with --init, which trains nothing"),
        ("ablate v_threshold --init nosuch --preset small", "--preset is not used with --init"),
        ("ablate v_threshold --init nosuch -o runs", "--output is not used with --init"),
        ("train s-rnn --preset tiny --quantise loihi9", "chip 'loihi9' is not known; known: loihi1, loihi2"),
        ("train ann-rnn --preset tiny --quantise loihi2 -o run", "ann-rnn does not spike"),
    ],
)
def test_bad_use_is_one_line_and_status_2(
    here: Path, capsys: pytest.CaptureFixture[str], arguments: str, words: str
) -> None:
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("muspike: ") and err.count("\n") == 1 and words in err


def test_train_quantise_fine_tunes_a_model(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", "s-rnn", "--preset", "tiny", "--device", "cpu", "--json"]
    assert main([*base, "--steps", "3"]) == 0
    assert main([*base, "--init", "runs/s-rnn-jsb-tiny-0", "--quantise", "loihi2"]) == 0
    told = json.loads("{" + capsys.readouterr().out.split("\n{", 1)[1])
    assert told["model"] == "runs/s-rnn-jsb-tiny-0-loihi2/model" and told["steps"] == 2  # a tenth of the preset's 20
    tuned = load_model(told["model"])
    assert tuned.training["quantise"] == "loihi2" and tuned.training["settings"]["schedule"] == "cosine"
    assert tuned.training["settings"]["learning_rate"] == pytest.approx(training.Settings().learning_rate / 10)


def test_excerpts_must_be_long_enough(model: Model) -> None:
    with pytest.raises(BadInput, match="no piece of its validation split has 128 compound words"):
        short = noise_corpus((40, 41, 60, 127), train=2, validation=2)
        ablation.ablate(of("v_threshold", 0.5), lambda _: model, short, "loihi2", pieces=1)
