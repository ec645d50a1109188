"""The models that come with muspike are what their `model.json` says, on the chip too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from muspike import corpora, evaluation
from muspike.checkpoint import load_model
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.targets import export
from muspike.model_folder import shipped_models

MODELS = shipped_models()
each = pytest.mark.parametrize("name", MODELS)


def test_there_is_one() -> None:
    assert "s-rnn" in MODELS


@each
def test_it_is_small(name: str) -> None:
    assert sum(file.stat().st_size for file in MODELS[name].iterdir()) < 3_000_000


@each
def test_its_likelihood_is_the_one_it_claims_and_rounding_costs_it_less_than_a_hundredth(name: str) -> None:
    model = load_model(name)
    corpus = corpora.load(model.training["corpus"], progress=False)
    assert corpus.digest == model.training["measured_on"], "its figures are of another edition of the corpus"
    pieces = [piece.words for piece in corpus.split("test")]
    found = evaluation.likelihood(lambda words: model.network(words)[0], pieces).bits_per_note
    assert found == pytest.approx(model.training["test_bits_per_note"], rel=1e-3)
    some = pieces[::4]
    as_trained = evaluation.likelihood(lambda words: model.network(words)[0], some).bits_per_note
    for chip in ("loihi1", "loihi2"):
        runner = ChipRunner(compile_model(model, chip).program)

        def on_chip(words: torch.Tensor, runner: ChipRunner = runner) -> torch.Tensor:
            runner.reset(words.shape[1])
            return torch.from_numpy(runner.run(runner.noise.behind(words.numpy()))[0])

        assert evaluation.likelihood(on_chip, some, at_once=1500).bits_per_note < 1.01 * as_trained
        assert (runner.overflows, runner.readout_resets) == (0, 0)


@each
def test_its_nir_file_is_proved_equal(name: str, tmp_path: Path) -> None:
    proof = export(load_model(name), "nir", tmp_path / "model.nir")
    assert proof.holds, proof.table()


@pytest.mark.parametrize(
    "name", [name if name in ("s-rnn", "s-cnn") else pytest.param(name, marks=pytest.mark.nightly) for name in MODELS]
)
def test_lava_agrees_over_sixteen_words(name: str, tmp_path: Path, python: Path) -> None:
    proof = export(load_model(name), "lava", tmp_path / "program.npz", python=python)
    assert proof.holds, proof.table()
