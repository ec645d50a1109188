"""Training: the loss is the one described, a killed run goes on to the same weights, bad folders are refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import architectures, tokens, training
from muspike.checkpoint import load_model, save_model
from muspike.corpora import Corpus, Piece
from muspike.errors import BadInput, Failed
from muspike.generation import generate

TINY = architectures.preset("s-rnn", "tiny")["network"]
SETTINGS = training.Settings(steps=12, batch=3, tokens=24, warmup=2, validate_every=4, dropout=0.1, rate_weight=0.1)


class Noise:
    """Random logits: a corpus of valid pieces without music."""

    random = np.random.default_rng(0)

    def reset(self, batch: int) -> None:
        self.batch = batch

    def step(self, words: Any) -> Any:
        return self.random.standard_normal((self.batch, tokens.N_AXONS)).astype(np.float32)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    words = generate(Noise(), 10, 40, seed=0)
    pieces = [Piece(f"piece{i}", w, (0, False)) for i, w in enumerate(words)]
    names = [p.name for p in pieces]
    return Corpus("noise", pieces, {"train": names[:6], "validation": names[6:8], "test": names[8:]})


def weights(run: training.Run) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in run.network.state_dict().items()}


class Killed(Exception):
    pass


@pytest.mark.parametrize("when", [3, 4, 5, 11])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, corpus: Corpus, when: int) -> None:
    whole = training.Run(tmp_path / "whole", "s-rnn", TINY, SETTINGS, corpus)
    best = whole.train()

    def kill(step: int, *_: object) -> None:
        if step == when:
            raise Killed

    with pytest.raises(Killed):
        training.Run(tmp_path / "killed", "s-rnn", TINY, SETTINGS, corpus).train(kill)
    again = training.Run(tmp_path / "killed", "s-rnn", TINY, SETTINGS, corpus)
    assert again.progress.step == when // 4 * 4
    resumed = again.train()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    assert best.training == resumed.training


def test_training_learns(tmp_path: Path, corpus: Corpus) -> None:
    names = corpus.splits["train"]
    by_heart = Corpus("noise by heart", corpus.pieces, {"train": names, "validation": names, "test": []})
    settings = dataclasses.replace(SETTINGS, steps=40, validate_every=10, learning_rate=0.01, transpose=0)
    run = training.Run(tmp_path, "s-rnn", TINY, settings, by_heart)
    run.train()
    assert np.float32(1e-40) * np.float32(1) > 0, "training left the processor without denormal numbers"
    validations = [point["validation"] for point in run.progress.history]
    assert validations[-1] < 0.9 * validations[0]


def test_likelihood_is_the_sum_over_predicted_features(corpus: Corpus) -> None:
    """Against a plain loop: uniform logits cost log2(size) bits for each feature predicted on a word."""
    pieces = [piece.words for piece in corpus.pieces]
    found = training.likelihood(lambda words: torch.zeros(*words.shape[:2], tokens.N_AXONS), pieces, at_once=100)
    bits = dict.fromkeys(tokens.FEATURES, 0.0)
    notes = 0
    for words in pieces:
        for word in words:
            kind = word[tokens.BAR_BEAT]
            notes += int(kind == tokens.BarBeat.NOTE)
            for f, name in enumerate(tokens.FEATURES):
                if tokens.PREDICTED[kind, f]:
                    bits[name] += math.log2(tokens.SIZES[f])
    assert found.notes == notes
    assert found.words == sum(map(len, pieces))
    assert found.bits_by_feature == pytest.approx(bits)
    assert found.bits_per_note == pytest.approx(sum(bits.values()) / notes)


def test_inputs_are_the_words_before_the_targets(corpus: Corpus) -> None:
    piece = corpus.pieces[0].words
    words, wanted = training.lined_up([piece, piece], [0, 5], 12)
    assert (words[0, 0] == 0).all()
    assert np.array_equal(words[1:, 0], piece[:11])
    assert np.array_equal(wanted[:, 0], tokens.targets(piece)[:12])
    assert np.array_equal(words[:, 1], piece[4:16])
    assert np.array_equal(wanted[:, 1], tokens.targets(piece)[5:17])


def test_batches_are_transposed_excerpts_that_start_at_a_bar(corpus: Corpus) -> None:
    pieces = [piece.words for piece in corpus.pieces]
    settings = dataclasses.replace(SETTINGS, batch=32)
    _, wanted = training.draw_batch(pieces, settings, step=3)
    assert (wanted[0, :, tokens.BAR_BEAT] == tokens.BarBeat.BAR).all()
    _, again = training.draw_batch(pieces, settings, step=3)
    _, other = training.draw_batch(pieces, settings, step=4)
    assert torch.equal(wanted, again) and not torch.equal(wanted, other)


@pytest.mark.parametrize("step", [5, 6, 7])
@pytest.mark.parametrize("what", ["loss", "norm of the gradient"])
def test_what_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    tmp_path: Path, corpus: Corpus, step: int, what: str
) -> None:
    """Also at step 7, whose weights would be validated and kept."""
    run = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)

    def spoil(done: int, *_: object) -> None:
        if done == step and what == "loss":
            with torch.no_grad():
                run.network.bias[0] = float("nan")
        elif done == step:
            run.network.bias.register_hook(lambda grad: grad * float("nan"))

    with pytest.raises(Failed, match=f"{what} is nan at step {step}; the last good state is kept"):
        run.train(spoil)
    again = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    assert again.progress.step == 4
    assert all(torch.isfinite(value).all() for value in again.network.state_dict().values())


def test_a_run_may_be_taken_up_for_more_steps(tmp_path: Path, corpus: Corpus) -> None:
    whole = training.Run(tmp_path / "whole", "s-rnn", TINY, SETTINGS, corpus)
    whole.train()
    training.Run(tmp_path / "parts", "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=6), corpus).train()
    parts = training.Run(tmp_path / "parts", "s-rnn", TINY, SETTINGS, corpus)
    parts.train()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(parts)[name]), name


def test_the_rate_halves_after_validations_without_a_gain_in_all(
    tmp_path: Path, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small gains add up; the rate halves only where a thousandth is not gained in `patience` validations."""
    run = training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, patience=3), corpus)
    gains = [20.0 * 0.9994**n for n in range(11)]
    for bits, halved in [*zip(gains, [0] * 11, strict=True), (30.0, 0), (30.0, 0), (30.0, 1), (30.0, 1)]:
        found = training.Likelihood({"pitch": bits}, notes=1, words=1)
        monkeypatch.setattr(training, "likelihood", lambda *_, found=found: found)
        run._validate([], 0.0, True)
        assert run.progress.halved == halved, bits


def test_a_folder_with_another_run_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus).train()
    with pytest.raises(BadInput, match=r"holds a run with training .* choose another folder"):
        training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, batch=5), corpus)
    reordered = Corpus(corpus.name, corpus.pieces, {**corpus.splits, "train": corpus.splits["test"]})
    with pytest.raises(BadInput, match=r"holds a run with corpus \['noise', .* choose another folder"):
        training.Run(tmp_path, "s-rnn", TINY, SETTINGS, reordered)
    state = tmp_path / "state.safetensors"
    whole = state.read_bytes()
    for at in np.linspace(0, len(whole) - 1, 40).astype(int):
        damaged = bytearray(whole)
        damaged[at] ^= 0x10
        state.write_bytes(bytes(damaged))
        with pytest.raises(BadInput):
            training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus)
    state.write_bytes(b"\x08" + bytes(100))
    with pytest.raises(BadInput, match="is damaged"):
        training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)


@pytest.fixture
def model_folder(tmp_path: Path, corpus: Corpus) -> Path:
    run = training.Run(tmp_path / "run", "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus)
    run.train()
    return run.model_folder


def test_a_model_comes_back_as_it_was_saved(model_folder: Path, tmp_path: Path) -> None:
    model = load_model(model_folder)
    save_model(model, tmp_path / "copy")
    copy = load_model(tmp_path / "copy")
    assert (copy.architecture, copy.settings, copy.training) == (model.architecture, model.settings, model.training)
    for name, value in model.network.state_dict().items():
        assert torch.equal(value, copy.network.state_dict()[name])


def test_half_precision_models_are_the_rounded_weights(model_folder: Path, tmp_path: Path) -> None:
    model = load_model(model_folder)
    save_model(model, tmp_path / "half", torch.float16)
    half = load_model(tmp_path / "half").network.state_dict()
    for name, value in model.network.state_dict().items():
        assert torch.equal(half[name], value.half().float())
    assert len(list((tmp_path / "half").glob("weights-*"))) == 1


def test_every_flipped_byte_is_noticed(model_folder: Path) -> None:
    for file in sorted(model_folder.iterdir()):
        whole = file.read_bytes()
        for at in np.linspace(0, len(whole) - 1, 25).astype(int):
            damaged = bytearray(whole)
            damaged[at] ^= 0x10
            file.write_bytes(bytes(damaged))
            with pytest.raises(BadInput):
                load_model(model_folder)
        file.write_bytes(whole)
    load_model(model_folder)


def test_a_model_of_another_format_is_refused(model_folder: Path) -> None:
    header = json.loads((model_folder / "model.json").read_text())
    (model_folder / "model.json").write_text(json.dumps(header | {"format": 99}))
    with pytest.raises(BadInput, match="is of format 99; this muspike reads format 1"):
        load_model(model_folder)
    with pytest.raises(BadInput, match="neither a model folder nor a shipped model"):
        load_model(model_folder / "nothing")


@pytest.mark.parametrize("missing", ["model.json", "weights"])
def test_half_a_model_is_refused(model_folder: Path, missing: str) -> None:
    next(f for f in model_folder.iterdir() if f.name.startswith(missing)).unlink()
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        load_model(model_folder)
