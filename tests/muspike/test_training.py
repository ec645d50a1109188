"""Training: the loss is the one described, a killed run goes on to the same weights, bad folders are refused."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import architectures, corpora, evaluation, sounding, tokens, training
from muspike.checkpoint import load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus, Piece
from muspike.errors import BadInput, Failed
from muspike.network import Generator, Network
from noise_corpus import noise_corpus

TINY = architectures.preset("s-rnn", "tiny")["network"]
SMALL_ATTENTION = {"blocks": 1, "heads": 2, "rows": 3, "values": 4, "mlp": 8}
SETTINGS = training.Settings(steps=12, batch=3, tokens=24, warmup=2, validate_every=4, dropout=0.1, rate_weight=0.1)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus([40] * 10, train=6, validation=2)


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
    validations = [float(point["validation"] or 0) for point in run.progress.history]
    assert 0 < validations[-1] < 0.9 * validations[0]


def test_likelihood_is_the_sum_over_predicted_features(corpus: Corpus) -> None:
    """Against a plain loop: uniform logits cost log2(size) bits for each feature predicted on a word."""
    pieces = [piece.words for piece in corpus.pieces]
    found = evaluation.likelihood(lambda words: torch.zeros(*words.shape[:2], tokens.N_AXONS), pieces, at_once=100)
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
    words, wanted = evaluation.lined_up([piece, piece], [0, 5], 12)
    assert (words[0, 0] == 0).all()
    assert np.array_equal(words[1:, 0], piece[:11])
    assert np.array_equal(wanted[:, 0], tokens.targets(piece)[:12])
    assert np.array_equal(words[:, 1], piece[4:16])
    assert np.array_equal(wanted[:, 1], tokens.targets(piece)[5:17])


def test_batches_are_transposed_excerpts_that_start_at_a_bar(corpus: Corpus) -> None:
    pieces = [piece.words for piece in corpus.pieces]
    settings = dataclasses.replace(SETTINGS, batch=32)
    _, wanted, _ = training.draw_batch(pieces, settings, step=3)
    assert (wanted[0, :, tokens.BAR_BEAT] == tokens.BarBeat.BAR).all()
    _, again, _ = training.draw_batch(pieces, settings, step=3)
    _, other, _ = training.draw_batch(pieces, settings, step=4)
    assert torch.equal(wanted, again) and not torch.equal(wanted, other)


def test_an_excerpt_is_heard_as_in_its_piece(corpus: Corpus) -> None:
    """What a bar begins with, such as its number, does not start anew with an excerpt."""
    piece = corpus.pieces[0].words
    settings = dataclasses.replace(SETTINGS, batch=8, transpose=0, tokens=24)
    words, _, before = training.draw_batch([piece], settings, step=1)
    network = architectures.build("s-rnn", TINY | {"hears": list(sounding.GROUPS)})
    assert isinstance(network, Network)
    whole = network.axons(torch.from_numpy(piece[:, None]))[:, 0]
    later = 0
    for b, excerpt in enumerate(network.axons(words, before).unbind(1)):
        given = words[:, b].numpy()
        (start,) = [s for s in range(len(piece)) if np.array_equal(piece[s : s + 12], given[1:13])][:1]
        later += start > 0
        length = min(len(given), len(piece) - start + 1)
        assert torch.equal(excerpt[1:length], whole[start : start + length - 1])
    assert later > 0


def test_parallels_are_unlikely_in_the_loss() -> None:
    """A fifth below a voice that moves from 67 to 69; the lower voice was at 60, so 62 would be a parallel."""
    rows = [[0, 0, 1, 16, 0, 4, 0], [1, 1, 2, 0, 0, 0, 0], [1, 1, 3, 0, 68, 4, 40], [1, 1, 3, 0, 61, 4, 40]]
    rows += [[1, 1, 2, 4, 0, 0, 0], [1, 1, 3, 4, 70, 4, 40], [1, 1, 3, 4, 60, 4, 40]]
    pieces = [np.array(rows, np.int16), np.array([*rows[:-1], [1, 1, 3, 4, 63, 4, 40]], np.int16)]
    words, wanted = evaluation.lined_up(pieces, [0, 0], 7)
    logits = torch.randn(7, 2, tokens.N_AXONS, generator=torch.Generator().manual_seed(0), requires_grad=True)
    silence = sounding.silence(2)
    loss = evaluation.parallel_losses(logits, wanted, words, silence)
    start = tokens.OFFSETS[tokens.PITCH]
    chance = logits[6, 0, start : start + tokens.SIZES[tokens.PITCH]].softmax(0)[63]
    assert torch.isclose(loss, -torch.log(1 - chance)), "of the piece that has another pitch there, and of no other"
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[6, 0, start + 63] > 0 and gradient[:, 1].abs().sum() == 0
    assert np.array_equal(silence, sounding.silence(2)), "what was heard before is as it was"
    nothing = evaluation.parallel_losses(logits[:3], wanted[:3], words[:3], silence)
    assert nothing == 0 and torch.autograd.grad(nothing, logits)[0].abs().sum() == 0


@pytest.mark.parametrize("step", [5, 6, 7])
@pytest.mark.parametrize("what", ["loss", "gradient of bias", "network.bias"])
def test_what_is_no_number_stops_the_run_and_keeps_the_last_good_state(
    tmp_path: Path, corpus: Corpus, step: int, what: str
) -> None:
    """Also at step 7, whose weights would be validated and kept."""
    run = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)

    def spoil(done: int, *_: object) -> None:
        assert isinstance(run.network, Network)
        if done != step:
            return
        if what == "loss":
            run.network.register_forward_hook(lambda network, words, found: (found[0] * float("nan"), found[1]))
        elif what == "network.bias":
            with torch.no_grad():
                run.network.bias[0] = float("nan")
        else:
            run.network.bias.register_hook(lambda grad: grad * float("nan"))  # type: ignore[no-untyped-call]

    with pytest.raises(Failed, match=f"{what} is nan at step {step}; the same command .* goes on from step 4") as error:
        run.train(spoil)
    assert "a --learning-rate below 0.002" in str(error.value) and "\n" not in str(error.value)
    again = training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, learning_rate=0.001), corpus)
    assert again.progress.step == 4
    assert all(torch.isfinite(value).all() for value in again.network.state_dict().values())
    assert again.train().training["history"][-1]["rate"] == 0.001


def test_a_gradient_whose_square_is_no_float_is_shortened_like_any_other(tmp_path: Path, corpus: Corpus) -> None:
    """One exploding gradient costs its step and no more."""
    run = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    used = []

    def explode(done: int, *_: object) -> None:
        if done == 5:
            run.network.bias.register_hook(lambda gradient: gradient * 1e30)  # type: ignore[no-untyped-call]
        elif done > 5:
            assert run.network.bias.grad is not None
            used.append(float(run.network.bias.grad.norm()))

    told = run.train(explode).training
    assert told["step"] == SETTINGS.steps and math.isfinite(told["validation_bits_per_note"])
    assert used == pytest.approx([SETTINGS.clip] * (SETTINGS.steps - 5), rel=1e-4)


@pytest.mark.parametrize("what", ["network.", "optimiser.exp_avg."])
def test_a_state_that_is_not_finite_is_not_kept(tmp_path: Path, corpus: Corpus, what: str) -> None:
    """A membrane that is no number does not fire, so that the validation's NLL is finite all the same."""
    run = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    (name,) = [n for n, _ in run.network.named_parameters() if "layer1_to_layer1" in n]
    update = run._update

    def spoil() -> None:
        update()
        if run.progress.step == 7:
            run.tensors()[what + name][3, 5] = float("nan")
            assert math.isfinite(run._evaluate([corpus.pieces[0].words])[0])

    run._update = spoil  # type: ignore[method-assign]
    with pytest.raises(Failed, match=f"the {what}{name} is nan at step 8; .* goes on from step 4"):
        run.train()
    assert training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus).progress.step == 4
    assert load_model(tmp_path).training["step"] == 4


def test_what_a_killed_run_left_half_written_is_removed(tmp_path: Path, corpus: Corpus) -> None:
    half = tmp_path / ".state-4yx2zk_m.safetensors"
    half.write_bytes(b"half")
    other = tmp_path / ".notes-of-mine.txt"
    other.write_bytes(b"")
    training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    assert list(tmp_path.iterdir()) == [other]


def test_a_run_that_fails_before_it_kept_anything_can_start_anew(tmp_path: Path, corpus: Corpus) -> None:
    run = training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    assert isinstance(run.network, Network)
    with torch.no_grad():
        run.network.bias[0] = float("inf")
    with pytest.raises(
        Failed, match=r"network.bias is inf at step 0; .* below 0.002 starts anew: no state was kept yet"
    ):
        run.train()
    assert list(tmp_path.iterdir()) == []
    training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus).train()


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
        monkeypatch.setattr(run, "_evaluate", lambda _, bits=bits: (bits, 0.1))
        run._validate([], 0.0, True)
        assert run.progress.halved == halved, bits


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 0}, "batch 0 must be at least 1"),
        ({"steps": 0}, "steps 0 must be from 1 to 100000000"),
        ({"steps": 1.5}, "steps 1.5 must be a whole number and be from 1 to 100000000"),
        ({"seed": 2**32}, "seed 4294967296 must be from 0 to 4294967295"),
        ({"tokens": -3}, "tokens -3 must be at least 1"),
        ({"warmup": 0}, "warmup 0 must be at least 1"),
        ({"validate_every": 0}, "validate_every 0 must be at least 1"),
        ({"patience": 0}, "patience 0 must be at least 1"),
        ({"halvings": -1}, "halvings -1 must be at least 0"),
        ({"learning_rate": -1e-3}, "learning_rate -0.001 must be from 1e-12 to 1000"),
        ({"learning_rate": math.inf}, "learning_rate inf must be from 1e-12 to 1000"),
        ({"clip": math.nan}, "clip nan must be from 1e-30 to 1e+30"),
        ({"dropout": 1.0}, "dropout 1.0 must be at least 0 and below 1"),
        ({"weight_decay": math.inf}, "weight_decay inf must be at least 0"),
        ({"target_rate": 1.5}, "target_rate 1.5 must be from 0 to 1"),
        ({"transpose": 128}, "transpose 128 must be from 0 to 127"),
        ({"precision": "int8"}, "precision int8 must be one of float32, bfloat16"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"^training: {re.escape(words)}"):
        dataclasses.replace(SETTINGS, **changes)


def test_a_corpus_without_validation_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    one = Corpus("one", corpus.pieces[:1], {"train": ["piece0"], "validation": [], "test": []})
    with pytest.raises(BadInput, match=r"corpus one: its split validation holds no notes, in 0 pieces \(of 1\)"):
        training.Run(tmp_path, "s-rnn", TINY, SETTINGS, one)
    silent = Piece("silent", np.array([[0, 0, 1, 16, 0, 0, 0], [0, 0, 4, 0, 0, 0, 0]], np.int16), (0, False))
    rest = Corpus("rest", [*corpus.pieces, silent], {"train": ["silent"], "validation": ["piece0"], "test": []})
    with pytest.raises(BadInput, match="corpus rest: its split train holds no notes, in 1 pieces"):
        training.Run(tmp_path, "s-rnn", TINY, SETTINGS, rest)
    assert list(tmp_path.iterdir()) == []
    # Beside others, a piece without notes, far shorter than an excerpt, is no harm.
    mixed = Corpus("mixed", rest.pieces, {"train": ["silent", "piece1"], "validation": ["piece0"], "test": []})
    training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, tokens=1000, steps=2), mixed).train()
    _, wanted, _ = training.draw_batch([silent.words], SETTINGS, 0)
    assert (wanted[2:] == 0).all() and wanted[1, :, tokens.BAR_BEAT].eq(tokens.BarBeat.END).all()


def test_the_firing_rate_is_that_of_the_pieces_tick_by_tick(tmp_path: Path, corpus: Corpus) -> None:
    """Against `Network.tick`: spikes per neuron and tick over all populations, while each piece lasts."""
    network = architectures.build("s-rnn", {**TINY, "layers": 2, "recurrent_delays": ["1 period"]})
    assert isinstance(network, Network)
    pieces = [corpus.pieces[0].words, corpus.pieces[1].words[:17]]
    spikes = ticks = 0.0
    for piece in pieces:
        words, _ = evaluation.lined_up([piece], [0], len(piece))
        state = network.at_rest(1)
        for word in words:
            for after in network.period(word, state):
                spikes += sum(float(network.firing(after, name).detach().sum()) for name in ("layer1", "layer2"))
                ticks += 1
            state = after
    rate = evaluation.firing_rate(network, pieces)
    assert rate is not None and rate > 0
    assert rate == pytest.approx(spikes / (ticks * 2 * TINY["width"]), rel=1e-3)


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
def test_every_spiking_architecture_has_a_firing_rate(corpus: Corpus, name: str) -> None:
    torch.manual_seed(0)
    network = architectures.build(name, architectures.preset(name, "tiny")["network"])
    rate = evaluation.firing_rate(network, [piece.words for piece in corpus.pieces[:2]])
    assert rate is None if name.startswith("ann-") else rate is not None and 0 < rate < 1


def test_padding_does_not_fire(corpus: Corpus) -> None:
    """Pieces of unlike length count as they do one by one; of like length, the longer one's end is left out."""
    network = architectures.build("s-rnn", TINY)
    piece = corpus.pieces[0].words
    one = [evaluation.firing_rate(network, [piece[:n]]) or 0 for n in (20, 40)]
    assert evaluation.firing_rate(network, [piece[:40], piece[:20]]) == pytest.approx(np.average(one, weights=[20, 40]))
    assert evaluation.firing_rate(network, [piece[:20], piece[:21]]) == pytest.approx(one[0], rel=1e-5)


def test_a_target_rate_lowers_the_firing_rate(tmp_path: Path, corpus: Corpus) -> None:
    settings = dataclasses.replace(SETTINGS, steps=30, validate_every=30, learning_rate=0.02)
    rates = []
    held = dataclasses.replace(settings, rate_weight=100.0, target_rate=0.01)
    for name, chosen in (("free", dataclasses.replace(settings, rate_weight=0.0)), ("held", held)):
        run = training.Run(tmp_path / name, "s-rnn", TINY, chosen, corpus)
        told = run.train().training
        rates.append(told["validation_firing_rate"])
        network, pieces = load_model(tmp_path / name).network, [piece.words for piece in corpus.split("validation")]

        def in_torch(words: torch.Tensor, network: Generator = network) -> torch.Tensor:
            logits: torch.Tensor = network(words)[0]
            return logits

        found = evaluation.likelihood(in_torch, pieces)
        assert told["validation_firing_rate"] == pytest.approx(evaluation.firing_rate(network, pieces))
        assert told["validation_bits_per_note"] == pytest.approx(found.bits_per_note)
    assert rates[1] < 0.7 * rates[0]


@pytest.mark.parametrize("floor_weight", [0.0, 0.1])
def test_a_floor_under_the_rates_wakes_silent_neurons(tmp_path: Path, corpus: Corpus, floor_weight: float) -> None:
    """What the neurons hear holds them below the threshold. Most stay silent without a floor, none does with it."""
    settings = dataclasses.replace(SETTINGS, steps=40, validate_every=40, learning_rate=0.02, rate_weight=0.0)
    settings = dataclasses.replace(settings, floor_rate=0.02, floor_weight=floor_weight)
    run = training.Run(tmp_path, "s-rnn", TINY, settings, corpus)
    network = run.network
    assert isinstance(network, Network)
    with torch.no_grad():
        network.weights["input_to_layer1"].fill_(-0.5)

    def silent() -> int:
        words = torch.from_numpy(corpus.split("train")[0].words[:, None])
        with torch.no_grad():
            return int((network(words, ["layer1"])[1]["layer1"].sum((0, 1, 2)) == 0).sum())

    assert silent() == TINY["width"]
    run.train()
    assert silent() == 0 if floor_weight else silent() > TINY["width"] / 2


def test_the_floor_is_priced_by_neuron(tmp_path: Path, corpus: Corpus) -> None:
    """The loss with the floor exceeds the loss without by weight * sum((1 - rate / floor)^2) of those below it."""
    settings = dataclasses.replace(SETTINGS, dropout=0.0, rate_weight=0.0)
    plain = training.Run(tmp_path / "plain", "s-transformer", SMALL_ATTENTION, settings, corpus)
    held = dataclasses.replace(settings, floor_rate=0.3, floor_weight=0.5)
    floored = training.Run(tmp_path / "floored", "s-transformer", SMALL_ATTENTION, held, corpus)
    floored.network.load_state_dict(plain.network.state_dict())
    pieces = [piece.words for piece in corpus.split("train")]
    batch = plain._draw(pieces)
    network = plain.network
    assert isinstance(network, Network)
    names = ["q1", "k1", "v1", "hidden1"]
    _, spikes = network(batch.words, names, heard=batch.heard)
    assert spikes["q1"].shape[1] == network.timing.ticks < network.timing.period
    priced = 0.0
    for name in names:
        counts = spikes[name].sum((0, 1, 2)) / (batch.words.shape[0] * batch.words.shape[1] * network.timing.period)
        priced += 0.5 * sum(max(0.0, 1 - rate / 0.3) ** 2 for rate in counts.tolist())
    difference = floored.loss(batch)[0] - plain.loss(batch)[0]
    assert priced > 1 and float(difference.detach()) == pytest.approx(priced, rel=1e-5)


@pytest.mark.parametrize(("architecture", "network"), [("ann-rnn", {"width": 16, "layers": 1}), ("s-lstm", {})])
def test_a_floor_for_no_neuron_is_refused(
    tmp_path: Path, corpus: Corpus, architecture: str, network: dict[str, Any]
) -> None:
    """A twin does not spike; the cells of an S-LSTM keep their spikes to themselves."""
    settings = dataclasses.replace(SETTINGS, floor_weight=0.1)
    with pytest.raises(BadInput, match=f"floor_weight 0.1: {architecture} has no spiking neurons outside composites"):
        training.Run(tmp_path / "run", architecture, network, settings, corpus)


@pytest.mark.parametrize(("architecture", "network"), [("ann-rnn", {"width": 16, "layers": 1}), ("s-rnn", TINY)])
def test_bfloat16_trains_near_float32_and_is_another_run(
    tmp_path: Path, corpus: Corpus, architecture: str, network: dict[str, Any]
) -> None:
    low = dataclasses.replace(SETTINGS, precision="bfloat16")
    exact = training.Run(tmp_path / "exact", architecture, network, SETTINGS, corpus)
    rounded = training.Run(tmp_path / "rounded", architecture, network, low, corpus)
    one, two = exact.train().training, rounded.train().training
    assert two["validation_bits_per_note"] != one["validation_bits_per_note"]
    assert two["validation_bits_per_note"] == pytest.approx(one["validation_bits_per_note"], rel=0.01)
    assert all(parameter.dtype == torch.float32 for parameter in rounded.network.parameters())
    with pytest.raises(BadInput, match="holds a run with training precision bfloat16, the recipe has float32"):
        training.Run(tmp_path / "rounded", architecture, network, SETTINGS, corpus)


def test_denormals_are_kept_afterwards_as_they_were_before() -> None:
    def flushed() -> bool:
        return not (torch.tensor(1e-38) * 0.1).any()

    try:
        for before in (False, True):
            torch.set_flush_denormal(before)
            with training.without_denormals():
                assert flushed()
            assert flushed() == before
    finally:
        torch.set_flush_denormal(False)


def test_a_run_may_start_from_the_weights_of_a_model(tmp_path: Path, corpus: Corpus) -> None:
    first = training.Run(tmp_path / "first", "s-rnn", TINY, SETTINGS, corpus).train()
    other = dataclasses.replace(SETTINGS, seed=3)
    run = training.Run(tmp_path / "fine", "s-rnn", TINY, other, corpus, initial=first)
    for name, value in first.network.state_dict().items():
        assert torch.equal(run.network.state_dict()[name], value)
    tuned = run.train()
    assert tuned.training["initial"] and first.training["initial"] is None
    assert (
        training.Run(tmp_path / "fine", "s-rnn", TINY, other, corpus, initial=first).train().training == tuned.training
    )
    with pytest.raises(BadInput, match=r"holds a run with initial .*, the recipe has None"):
        training.Run(tmp_path / "fine", "s-rnn", TINY, other, corpus)
    for name, network, words in (
        ("s-rnn", {**TINY, "width": 31}, "the initial model has network width 32, the recipe has 31"),
        ("ann-rnn", {"width": 32}, "the initial model has architecture s-rnn, the recipe has ann-rnn"),
    ):
        with pytest.raises(BadInput, match=words):
            training.Run(tmp_path / "none", name, network, SETTINGS, corpus, initial=first)
    assert not (tmp_path / "none").exists()


def test_a_folder_with_another_architecture_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    run = training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus)
    run.train()
    with pytest.raises(
        BadInput, match="holds a run with architecture s-rnn, the recipe has ann-rnn; choose another folder"
    ):
        training.Run(tmp_path, "ann-rnn", {"width": 8}, SETTINGS, corpus)
    with pytest.raises(BadInput, match="is the folder of a model; choose another folder"):
        training.Run(run.model_folder, "s-rnn", TINY, SETTINGS, corpus)
    # What a run was killed over before it kept a state is replaced; another model is not.
    (tmp_path / "state.safetensors").unlink()
    training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus)
    with pytest.raises(BadInput, match="holds a trained model of architecture s-rnn, the recipe has ann-rnn, which"):
        training.Run(tmp_path, "ann-rnn", {"width": 8}, SETTINGS, corpus)
    assert load_model(tmp_path).architecture == "s-rnn"


def test_a_run_from_before_a_setting_was_known_is_taken_up(tmp_path: Path, corpus: Corpus) -> None:
    run = training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus)
    run.train()
    settings: Any = run.identity["training"]
    del run.identity["initial"], settings["precision"]
    settings["learning_rate"] = 5.0
    run._keep()
    assert training.Run(tmp_path, "s-rnn", TINY, SETTINGS, corpus).progress.step == 4


def test_a_folder_with_another_run_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, steps=4), corpus).train()
    with pytest.raises(BadInput, match="holds a run with training batch 3, the recipe has 6; choose another folder"):
        training.Run(tmp_path, "s-rnn", TINY, dataclasses.replace(SETTINGS, batch=6), corpus)
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
    with pytest.raises(BadInput, match="is of format 99; this muspike reads format 2"):
        load_model(model_folder)
    with pytest.raises(BadInput, match="neither a model folder nor a shipped model"):
        load_model(model_folder / "nothing")


@pytest.mark.parametrize("missing", ["model.json", "weights"])
def test_half_a_model_is_refused(model_folder: Path, missing: str) -> None:
    next(f for f in model_folder.iterdir() if f.name.startswith(missing)).unlink()
    with pytest.raises(BadInput, match="cannot be read: No such file"):
        load_model(model_folder)


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture
def command(corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """`muspike train` of the smallest preset, in an empty folder."""
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    monkeypatch.chdir(tmp_path)
    return ["train", "s-rnn", "--preset", "tiny", "--steps", "2"]


def test_what_the_command_says_overrides_the_preset(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--target-rate", "0.05", "--learning-rate", "0.01", "--device", "cpu", "--precision", "bfloat16"]
    assert main([*command, "-o", "first"]) == 0
    assert main([*command, *options[:4], "--init", "first", "-o", "run", "--json"]) == 0
    out, err = capsys.readouterr()
    told, training_of = json.loads(out.partition("\n")[2]), load_model("run").training
    settings = training_of["settings"]
    assert (settings["target_rate"], settings["rate_weight"]) == (0.05, training.RATE_WEIGHT)
    assert (settings["learning_rate"], settings["precision"], settings["batch"]) == (0.01, "float32", 4)
    assert training_of["initial"]
    for key in ("validation_bits_per_note", "validation_firing_rate"):
        assert told[key] == training_of[key] > 0
    assert f"firing rate {told['validation_firing_rate']:.3f}; 00:00 left at most\n" in err
    assert "spikes per neuron and tick on validation (step 2)" in out.partition("\n")[0]
    assert main([*command, *options[:2], "--rate-weight", "7", "-o", "heavier"]) == 0
    assert load_model("heavier").training["settings"]["rate_weight"] == 7
    capsys.readouterr()
    twin = ["train", "ann-rnn", *command[2:], *options[4:], "-o", "twin", "--json"]
    assert main(twin) == 0
    assert json.loads(capsys.readouterr().out)["validation_firing_rate"] is None
    assert load_model("twin").training["settings"]["precision"] == "bfloat16"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--learning-rate 0", "'0' must be a number from 1e-12 to 1000"),
        ("--learning-rate 1e-320", "'1e-320' must be a number from 1e-12 to 1000"),
        ("--learning-rate 1e30", "'1e30' must be a number from 1e-12 to 1000"),
        ("--steps 999999999999", "'999999999999' must be a whole number from 1 to 100000000"),
        ("--init=", "--init: '' is no name"),
        ("--target-rate 0", "'0' must be a number above 0 and at most 1"),
        ("--device tpu", "invalid choice: 'tpu'"),
        ("--device cuda", "device cuda: torch "),
        ("--precision float16", "invalid choice: 'float16'"),
        ("--init nosuch", "nosuch: neither a model folder nor a shipped model"),
    ],
)
def test_bad_options(
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    words: str,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main([*command, *options.split()]) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ({"network": {"wdith": 9}, "training": {}}, "architecture s-rnn: unknown key 'wdith'; known are width,"),
        ({"network": {}, "training": {"step": 9}}, "[training]: unknown key 'step'; known are steps,"),
        (
            {"network": {}, "trainign": {"steps": 9}},
            "unknown table [trainign]; known are [network], [training] and [adversarial]",
        ),
        ({"network": {}, "training": {"batch": 0}}, "training: batch 0 must be at least 1"),
    ],
)
def test_a_preset_that_is_not_right(
    command: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    preset: dict[str, Any],
    words: str,
) -> None:
    monkeypatch.setattr(architectures, "preset", lambda *_: preset)
    assert main(command) == 2
    err = capsys.readouterr().err
    assert words in err and err.count("\n") == 1


def test_models_are_listed_with_their_firing_rates(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Models from before the rate was kept are listed without."""
    assert main([*command, "-o", "new", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    model = load_model("new")
    del model.training["validation_firing_rate"]
    save_model(model, Path("old"))
    monkeypatch.setattr("muspike.model_folder.shipped_models", lambda: {n: Path(n) for n in ("new/model", "old")})
    assert main(["models"]) == 0
    *_, new, old = capsys.readouterr().out.splitlines()
    assert new.split()[-1] == f"{told['validation_firing_rate']:.3f}" and old.split()[-1] == "–"
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["validation_firing_rate"] for row in rows] == [told["validation_firing_rate"], None]


def test_a_teacher_is_learned_from(corpus: Corpus, tmp_path: Path) -> None:
    """Against a teacher alone the loss is least where the student says what the teacher says."""
    random = torch.Generator().manual_seed(0)
    words = corpus.split("train")[0].words[:12]
    _, wanted = evaluation.lined_up([words], [0], 12)
    teacher = torch.randn(12, 1, tokens.N_AXONS, generator=random)
    student = torch.randn(12, 1, tokens.N_AXONS, generator=random)
    entropy = evaluation.feature_losses(teacher, wanted, teacher)
    assert (evaluation.feature_losses(student, wanted, teacher) > entropy).sum() >= 5
    sure = torch.zeros_like(teacher)
    for f, (start, size) in enumerate(zip(tokens.OFFSETS, tokens.SIZES, strict=True)):
        sure[..., start : start + size] = 50.0 * torch.nn.functional.one_hot(wanted[..., f].long(), size)
    torch.testing.assert_close(
        evaluation.feature_losses(student, wanted, sure),
        evaluation.feature_losses(student, wanted),
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_run_says_who_taught_it(corpus: Corpus, tmp_path: Path) -> None:
    settings = dataclasses.replace(SETTINGS, steps=2, validate_every=2)
    plain = training.Run(tmp_path / "a", "s-rnn", TINY, settings, corpus).train()
    taught = training.Run(tmp_path / "b", "s-rnn", TINY, settings, corpus, teacher=plain).train()
    assert plain.training["teacher"] is None and len(taught.training["teacher"]) == 64
    weights = [model.network.state_dict() for model in (plain, taught)]
    assert any(not torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    with pytest.raises(BadInput, match="teacher"):
        training.Run(tmp_path / "b", "s-rnn", TINY, settings, corpus)


def test_a_teacher_that_does_not_spike_computes_in_the_precision_of_the_settings(
    corpus: Corpus, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, steps=2, validate_every=2)
    twin = architectures.preset("ann-transformer", "tiny")["network"]
    teachers = {
        "twin": training.Run(tmp_path / "twin", "ann-transformer", twin, settings, corpus).train(),
        "spiking": training.Run(tmp_path / "spiking", "s-rnn", TINY, settings, corpus).train(),
    }
    found = {}
    for name, teacher in teachers.items():
        for precision in training.PRECISIONS:
            own = dataclasses.replace(settings, precision=precision)
            run = training.Run(tmp_path / f"{name}-{precision}", "s-rnn", TINY, own, corpus, teacher=teacher)
            batch = run._draw([piece.words for piece in corpus.split("train")])
            found[name, precision] = run.loss(batch)[0].item()
    assert found["spiking", "float32"] == found["spiking", "bfloat16"]
    assert found["twin", "float32"] != found["twin", "bfloat16"]
    assert found["twin", "float32"] == pytest.approx(found["twin", "bfloat16"], rel=1e-2)
