"""Adversarial training: what the critic reads, what the generator learns from it, and when one has collapsed."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from muspike import adversarial, architectures, corpora, tokens, training
from muspike.adversarial import Composed, Critic, PlainCritic, Settings, SpikingCritic
from muspike.checkpoint import Model, load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.network import Generator, Network
from muspike.neurons import LIFParameters, LIFState, lif_step
from muspike.processes import Team
from noise_corpus import noise_corpus

GENERATORS = ["s-gan", "ann-gan"]
SETTINGS = Settings(
    steps=6, batch=2, tokens=16, warmup=1, validate_every=3, dropout=0.1, rate_weight=0.1, schedule="cosine",
    critic_width=8, critic_layers=2, check_pieces=2, check_tokens=24,
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus([40] * 20, train=6, validation=13)


def generator(name: str) -> Generator:
    torch.manual_seed(5)
    return architectures.build(name, architectures.preset(name, "tiny")["network"])


def model(name: str, network: Generator | None = None) -> Model:
    about = {"corpus": "noise", "step": 0, "validation_bits_per_note": 30.0, "history": []}
    return Model(name, architectures.preset(name, "tiny")["network"], network or generator(name), about)


def biased(name: str, **wanted: tuple[int, float]) -> Generator:
    """A generator whose constants per logit want a value of some features."""
    network = generator(name)
    bias: Any = network.bias if isinstance(network, Network) else network.head.bias  # type: ignore[union-attr]
    with torch.no_grad():
        for feature, (value, weight) in wanted.items():
            bias[tokens.OFFSETS[tokens.FEATURES.index(feature)] + value] += weight
    return network


def run_of(folder: Path, name: str, corpus: Corpus, settings: Settings = SETTINGS, **more: Any) -> adversarial.Run:
    more = {"initial": model(name)} | more
    return adversarial.Run(folder, name, more["initial"].settings, settings, corpus, **more)


def chosen_by(network: Generator, length: int = 40, batch: int = 3) -> Composed:
    random = np.random.default_rng(1)
    gumbel = random.gumbel(size=(length, batch, tokens.N_AXONS)).astype(np.float32)
    noise = network.runner().noise
    draws = random.integers(noise.values, size=(length, batch, noise.draws), dtype=np.int16)
    return adversarial.composed(network.runner(), gumbel, draws)


@pytest.mark.parametrize("name", GENERATORS)
def test_teacher_forcing_gives_the_logits_that_composed(name: str) -> None:
    network = generator(name)
    chosen = chosen_by(network)
    with torch.no_grad():
        logits, _ = network.train()(chosen.read)
    runner = network.runner()
    runner.reset(chosen.words.shape[1])
    stepped = np.stack([runner.step(row.numpy()) for row in chosen.read])
    np.testing.assert_allclose(logits.numpy(), stepped, atol=2e-5)
    assert torch.equal(chosen.read[1:, :, :7], chosen.words[:-1]) and (chosen.read[0, :, :7] == 0).all()
    assert len(chosen.read[..., 7:].unique()) == 4, "noise is heard"  # type: ignore[no-untyped-call]

    # The words are the largest of the same logits, noise added, among what is allowed; 0 keeps tempo and chord.
    best = torch.stack(
        [
            part.argmax(-1)
            for part in torch.split(
                (logits + chosen.gumbel).masked_fill(~chosen.allowed, -torch.inf), list(tokens.SIZES), -1
            )
        ],
        -1,
    )
    words, read = chosen.words.long(), chosen.read.long()
    predicted = torch.as_tensor(tokens.PREDICTED)[words[..., tokens.BAR_BEAT]]
    kept = torch.where((best == 0) & (words != 0), read[..., :7], best)
    assert torch.equal(kept[predicted], words[predicted])
    assert (best == 0)[predicted].any() and len(words[..., tokens.BAR_BEAT].unique()) == 3  # type: ignore[no-untyped-call]


def test_the_gumbel_maximum_is_a_draw_from_the_softmax() -> None:
    random = np.random.default_rng(0)
    logits = np.tile(np.array([[0.0, 1.0, 2.0, 3.0, -1.0]], np.float32), (20_000, 1))
    gumbel = np.zeros((1, len(logits), tokens.N_AXONS), np.float32)
    axons = slice(tokens.OFFSETS[tokens.BAR_BEAT], tokens.OFFSETS[tokens.BAR_BEAT] + 5)
    gumbel[0, :, axons] = random.gumbel(size=logits.shape)
    allowed = np.tile([True, True, False, True, True], (len(logits), 1))
    values = adversarial._GumbelMax(gumbel)(0, tokens.BAR_BEAT, logits, allowed)
    chances = np.where(allowed[0], np.exp(logits[0]), 0) / np.exp(logits[0])[allowed[0]].sum()
    np.testing.assert_allclose(np.bincount(values, minlength=5) / len(values), chances, atol=0.015)


@pytest.mark.parametrize("name", GENERATORS)
def test_forward_the_composed_words_backward_soft_choices(name: str) -> None:
    """The gradient against a plain loop: what a linear critic would expect of each choice, completed by the host."""
    network = generator(name)
    chosen = chosen_by(network, length=16, batch=2)
    logits = network(chosen.read)[0].detach().requires_grad_()
    temperature = 0.7
    rows = adversarial.straight_through(logits, chosen, temperature)
    assert torch.equal(rows.detach(), adversarial.hard_rows(chosen.words))
    assert torch.equal(rows.detach().sum(-1), torch.full(rows.shape[:2], 7.0))
    for feature, start in enumerate(tokens.OFFSETS):
        hot = rows.detach()[..., start : start + tokens.SIZES[feature]].argmax(-1)
        assert torch.equal(hot, chosen.words[..., feature].long())

    worth = torch.randn(tokens.N_AXONS, generator=torch.Generator().manual_seed(0))
    (rows * worth).sum().backward()  # type: ignore[no-untyped-call]
    plain = logits.detach().clone().requires_grad_()
    expected = plain.new_zeros(())
    scores = (plain + chosen.gumbel) / temperature
    for b in range(2):
        state = tokens.State.start(1)
        for n in range(16):
            word = chosen.words[n, b].numpy()
            kind = word[tokens.BAR_BEAT]
            for feature in np.flatnonzero(tokens.PREDICTED[kind]).tolist():
                start = tokens.OFFSETS[feature]
                allowed = torch.nonzero(chosen.allowed[n, b, start : start + tokens.SIZES[feature]])[:, 0]
                chances = scores[n, b, start + allowed].softmax(-1)
                for value, chance in zip(allowed.tolist(), chances, strict=True):
                    other = word.copy()
                    other[feature] = value
                    if feature != tokens.BAR_BEAT:
                        other = dataclasses.replace(state).complete(other[None])[0]
                    expected = expected + chance * worth[start + other[feature]]
            state.complete(word[None])
    expected.backward()
    assert logits.grad is not None and plain.grad is not None
    torch.testing.assert_close(logits.grad, plain.grad, atol=1e-6, rtol=1e-4)
    assert (logits.grad != 0).any(-1).all(), "every word has a choice"


@pytest.mark.parametrize("name", GENERATORS)
def test_the_critic_alone_moves_every_weight_of_the_generator(name: str) -> None:
    network = generator(name).train()
    chosen = chosen_by(network)
    critic = adversarial.critic_of(network, SETTINGS)
    assert isinstance(critic, SpikingCritic if isinstance(network, Network) else PlainCritic)
    critic(adversarial.straight_through(network(chosen.read)[0], chosen, 1.0)).sum().backward()
    for parameter, value in network.named_parameters():
        assert value.grad is not None and value.grad.abs().max() > 1e-9, parameter


def rows(length: int = 20, batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    columns = [torch.randint(0, size, (length, batch), generator=generator) for size in tokens.SIZES]
    return adversarial.hard_rows(torch.stack(columns, -1))


@pytest.mark.parametrize("kind", [SpikingCritic, PlainCritic])
def test_a_critic_sees_the_past_alone_and_all_of_its_taps(kind: type[Critic]) -> None:
    torch.manual_seed(0)
    critic = kind(dataclasses.replace(SETTINGS, critic_width=64, critic_taps=3))
    read = rows()
    other = read.clone()
    other[8, 1] = other[9, 1]
    answers, moved = (torch.cat(critic.answers(x), -1) for x in (read, other))
    assert torch.equal(answers[:8], moved[:8]) and torch.equal(answers[:, [0, 2]], moved[:, [0, 2]])
    assert (answers != moved)[[8, 9, 10, 11, 14, 16], 1].any(-1).all()
    read.requires_grad_()
    critic(read)[0].backward()
    assert read.grad is not None
    assert (read.grad[:, 0].abs().amax(-1) > 0).all() and (read.grad[:, 1:] == 0).all()


def test_the_spiking_critic_is_its_neurons_tick_by_tick() -> None:
    torch.manual_seed(0)
    critic = SpikingCritic(dataclasses.replace(SETTINGS, critic_width=12, critic_layers=2, critic_ticks=3))
    read, ticks = rows(), 3
    p = LIFParameters(torch.tensor(2.0), torch.tensor(0.5))
    below = read.repeat_interleave(ticks, 0)
    for layer, answers in enumerate(critic.answers(read)):
        state, membrane = LIFState(torch.zeros(3, 12)), torch.zeros(3, 12)
        spikes, seen = [], []
        for t in range(len(below)):
            current = torch.zeros(3, 12)
            for tap in range(3):
                past = t - tap * 3**layer * ticks
                if past >= 0:
                    current = current + below[past] @ critic.layers[layer][tap].t()
            fired, state = lif_step(current, state, p)
            membrane = membrane + 0.5 * (fired - membrane)
            spikes.append(fired)
            seen.append(membrane)
        below = torch.stack(spikes)
        assert 0.02 < below.mean() < 0.7
        torch.testing.assert_close(answers, torch.stack(seen)[ticks - 1 :: ticks], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_the_critic_learns_and_the_generator_learns_to_please_it(
    name: str, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A generator that likes one velocity too much, and each of the two alone."""
    settings = dataclasses.replace(
        SETTINGS, steps=1000, batch=8, weight=100.0, learning_rate=0.03, critic_learning_rate=0.01, critic_width=16
    )
    run = run_of(tmp_path, name, corpus, settings, initial=model(name, biased(name, velocity=(10, 6.0))))
    pieces = [piece.words for piece in corpus.split("train")]
    monkeypatch.setattr(run, "_update", lambda: None)
    losses, scores = [], []
    for run.progress.step in range(15):
        run.step(pieces)
        losses.append(run.critic_loss or 0.0)
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])

    monkeypatch.undo()
    monkeypatch.setattr(run, "_teach_critic", lambda *_: None)
    for run.progress.step in range(15, 30):
        run.step(pieces)
        with torch.no_grad():
            scores.append(float(run.critic(adversarial.hard_rows(run._composed.words)).mean()))
    assert np.mean(scores[-3:]) > np.mean(scores[:3]) + 0.2


class Killed(Exception):
    pass


def tensors(run: adversarial.Run) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in run.tensors().items()}


@pytest.mark.parametrize("name", GENERATORS)
def test_a_killed_run_goes_on_to_the_same_weights(name: str, corpus: Corpus, tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole", name, corpus)
    best = whole.train()

    def kill(step: int, *_: object) -> None:
        if step == 5:
            raise Killed

    with pytest.raises(Killed):
        run_of(tmp_path / "killed", name, corpus).train(kill)
    torch.rand(3)
    again = run_of(tmp_path / "killed", name, corpus)
    assert again.progress.step == 3
    resumed = again.train()
    assert tensors(whole).keys() == tensors(again).keys()
    for key, value in tensors(whole).items():
        assert torch.equal(value, tensors(again)[key]), key
    assert best.training == resumed.training
    first = run_of(tmp_path / "new", name, corpus)
    changed = [key for key, value in tensors(first).items() if not torch.equal(value, tensors(whole)[key])]
    assert any(key.startswith("network.") for key in changed) and any(key.startswith("critic.") for key in changed)


def test_a_run_of_another_critic_is_refused(corpus: Corpus, tmp_path: Path) -> None:
    run_of(tmp_path, "s-gan", corpus).train()
    with pytest.raises(BadInput, match="training critic_width 8, the recipe has 9; choose another folder"):
        run_of(tmp_path, "s-gan", corpus, dataclasses.replace(SETTINGS, critic_width=9))


def test_processes_share_the_excerpts_of_one(corpus: Corpus, tmp_path: Path) -> None:
    run = run_of(tmp_path, "s-gan", corpus, dataclasses.replace(SETTINGS, batch=4))
    real, chosen = run._excerpts()
    for rank in range(2):
        run.team = Team(rank, 2)
        part, mine = run._excerpts()
        assert torch.equal(part, real[:, run.team.share(4)])
        for one, all_ in zip(mine, chosen, strict=True):
            assert torch.equal(one, all_[:, run.team.share(4)])
    run.team = Team()
    run.progress.step = 1
    assert not torch.equal(run._excerpts()[0], real)


def test_real_excerpts_are_starts_of_pieces_transposed(corpus: Corpus, tmp_path: Path) -> None:
    run = run_of(tmp_path, "s-gan", corpus, dataclasses.replace(SETTINGS, batch=8, transpose=2))
    real = run._excerpts()[0].numpy()
    moves = set()
    for excerpt in real.swapaxes(0, 1):
        starts = [piece.words[:16] for piece in corpus.split("train")]
        (start,) = [start for start in starts if np.array_equal(start[:, tokens.DURATION], excerpt[:, tokens.DURATION])]
        notes = start[:, tokens.PITCH] > 0
        (move,) = set((excerpt - start)[notes, tokens.PITCH].tolist())
        assert np.array_equal(tokens.transpose(start, move), excerpt)
        moves.add(move)
    assert len(moves) > 2 and moves <= {-2, -1, 0, 1, 2}


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize(
    ("why", "wanted"),
    [
        ("pitch_count", {"pitch": (61, 40.0), "bar_beat": (tokens.BarBeat.BEAT, 10.0)}),
        ("empty_beat_rate", {"position": (31, 40.0), "duration": (1, 40.0), "bar_beat": (tokens.BarBeat.BAR, 3.0)}),
    ],
)
def test_a_poisoned_generator_has_collapsed(
    name: str, why: str, wanted: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    settings = dataclasses.replace(SETTINGS, steps=1, check_pieces=8, check_tokens=36)
    sound = run_of(tmp_path / "sound", name, corpus, settings)
    trained = sound.train()
    assert [point["collapsed"] for point in sound.progress.history] == [False, False]
    assert "COLLAPSED" not in sound.told(sound.progress.history[0])

    spoiled = run_of(tmp_path / "spoiled", name, corpus, settings, initial=model(name, biased(name, **wanted)))
    found = spoiled.train()
    point: dict[str, Any] = dict(spoiled.progress.history[0])
    data = spoiled.of_data
    assert point["collapsed"] is True and spoiled.told(point).endswith("COLLAPSED")
    assert (point[why] or 0) < data[why] / 2 if why == "pitch_count" else (point[why] or 0) > data[why] + 0.1
    check = found.training["check"]
    assert check["collapsed"] and check["data"] == data and check["composed"][why] == found.training["history"][0][why]
    assert not trained.training["check"]["collapsed"]
    assert point["distance"] > (sound.progress.history[0]["distance"] or 0)


def test_the_watched_qualities_are_those_of_the_metrics(corpus: Corpus) -> None:
    pieces = [piece.words for piece in corpus.pieces]
    found = adversarial.qualities(pieces)
    pitches = [set(words[words[:, tokens.PITCH] > 0, tokens.PITCH].tolist()) for words in pieces]
    assert found["pitch_count"] == pytest.approx(np.mean([len(p) for p in pitches]))
    assert found["distinct_pitches"] == len(set().union(*pitches))
    assert not adversarial.collapsed(found, found) and adversarial.distance(found, found) == 0


DATA = {"pitch_count": 20.0, "distinct_pitches": 40.0, "empty_beat_rate": 0.01, "pitch_in_scale_rate": 0.9}


@pytest.mark.parametrize(
    ("change", "is_collapsed", "far"),
    [
        ({}, False, 0.0),
        ({"pitch_count": 10.0}, False, 0.5 / 3),
        ({"pitch_count": 9.9}, True, 0.505 / 3),
        ({"distinct_pitches": 19.0}, True, 0.0),
        ({"empty_beat_rate": 0.11}, False, 5.0 / 3),
        ({"empty_beat_rate": 0.12}, True, 5.5 / 3),
        ({"pitch_in_scale_rate": 0.45, "pitch_count": 40.0}, False, 1.5 / 3),
    ],
)
def test_what_is_collapsed_and_how_far_it_is(change: dict[str, float], is_collapsed: bool, far: float) -> None:
    assert adversarial.collapsed(DATA | change, DATA) is is_collapsed
    assert adversarial.distance(DATA | change, DATA) == pytest.approx(far)


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([(30.0, 0.5, False)], 0),
        ([(30.0, 0.5, True)], 0),
        ([(30.0, 0.5, False), (31.4, 0.4, False), (30.5, 0.45, False)], 1),
        ([(30.0, 0.5, False), (31.6, 0.1, False), (29.0, 0.2, True)], 0),
        ([(30.0, 0.1, True), (31.0, 0.4, False), (31.0, 0.4, False), (31.0, 0.3, False)], 3),
    ],
)
def test_the_model_kept_is_the_nearest_that_is_sound(points: list[tuple[float, float, bool]], kept: int) -> None:
    history = [dict(zip(("validation", "distance", "collapsed"), point, strict=True)) for point in points]
    assert [n for n in range(len(history)) if adversarial.is_best(history[: n + 1])][-1] == kept


@pytest.mark.parametrize(("split", "change"), [("train", {"tokens": 40}), ("validation", {"check_tokens": 40})])
def test_pieces_too_short_to_compare_with_are_refused(
    split: str, change: dict[str, Any], corpus: Corpus, tmp_path: Path
) -> None:
    message = f"corpus noise: its split {split} has no piece of more than 40 words, .* its longest has 40"
    with pytest.raises(BadInput, match=message):
        run_of(tmp_path, "s-gan", corpus, dataclasses.replace(SETTINGS, **change))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("weight", -0.1, "weight -0.1 must be from 0 to"),
        ("temperature", 0.0, "temperature 0.0 must be from 0.001 to 1000"),
        ("critic_learning_rate", float("nan"), "critic_learning_rate nan must be from 1e-12 to 1000"),
        ("critic_layers", 0, "critic_layers 0 must be from 1 to 8"),
        ("check_tokens", 3, "check_tokens 3 must be from 4 to 10000"),
        ("batch", 0, "batch 0 must be at least 1"),
    ],
)
def test_settings_outside_their_range_are_refused(key: str, value: float, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        architectures.configured(Settings, {key: value}, "a test")


@pytest.mark.parametrize("name", GENERATORS)
def test_presets_are_settings_of_adversarial_training(name: str) -> None:
    for preset in architectures.presets(name).values():
        found = architectures.configured(Settings, preset["training"] | preset["adversarial"], name)
        assert found.steps <= preset["training"]["steps"]


@pytest.fixture
def data(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", lambda _: corpus)


def stop_after(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps of both parts count."""
    left = [steps]
    step = training.Run.step

    def counted(self: training.Run, pieces: Any) -> float:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return step(self, pieces)

    monkeypatch.setattr(training.Run, "step", counted)


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("name", GENERATORS)
def test_the_command_trains_both_parts_and_goes_on_in_either(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    command = ["train", name, "--preset", "tiny", "--json", "-o"]
    assert main([*command, str(whole)]) == 0
    result = json.loads(capsys.readouterr().out)
    with safe_open(whole / "state.safetensors", "pt") as file:
        history = json.loads(file.metadata()["muspike"])["progress"]["history"]
    assert [point["step"] for point in history] == [0, 3, 6]
    assert result["validations"] == 3 and result["collapsed_validations"] == sum(p["collapsed"] for p in history)
    assert set(result["check"]) == {"composed", "data", "collapsed", "distance"}
    kept = load_model(whole)
    assert kept.training["check"] == result["check"]
    assert [point["step"] for point in kept.training["warmup"]["history"]] in ([10], [10, 20])
    # The first validation is of the warm-up's model.
    assert kept.training["history"][0]["validation"] == pytest.approx(
        load_model(whole / "warmup").training["validation_bits_per_note"], rel=0.02
    )

    for steps, said in (
        (13, "stopped at warm-up step 13; .* goes on from step 10"),
        (15, "stopped at step 5; .* step 3"),
    ):
        with monkeypatch.context() as patch:
            stop_after(steps, patch)
            assert main([*command, str(parts)]) != 0
        assert re.search(said, capsys.readouterr().err)
    assert main([*command, str(parts)]) == 0
    one, other = (load_file(folder / "state.safetensors") for folder in (whole, parts))
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.equal(value, other[key]), key
    assert main([*command[:-2], "-o", str(parts)]) == 0
    assert re.search(r"; composed: .* in all .*; \d of 3 validations collapsed", capsys.readouterr().out)
    pieces = str(tmp_path / "pieces")
    assert main(["generate", str(parts), "-n", "1", "--length", "16", "-o", pieces]) == 0


@pytest.mark.usefixtures("data")
def test_a_given_model_needs_no_warmup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(model("s-gan"), tmp_path / "initial")
    command = ["train", "s-gan", "--preset", "tiny", "-o", str(tmp_path / "run")]
    given = ["--init", str(tmp_path / "initial"), "--steps", "8", "--learning-rate", "0.01", "--json"]
    assert main([*command, *given]) == 0
    assert json.loads(capsys.readouterr().out)["steps"] == 8
    assert not (tmp_path / "run" / "warmup").exists()
    assert load_model(tmp_path / "run").training["settings"]["learning_rate"] == 0.01
    assert main(command) == 2
    assert "holds state.safetensors and no warmup; choose another folder" in capsys.readouterr().err


@pytest.mark.usefixtures("data")
def test_after_a_warmup_steps_and_rate_are_only_lowered(tmp_path: Path) -> None:
    command = ["train", "s-gan", "--preset", "tiny", "-o", str(tmp_path), "--steps", "4", "--learning-rate", "0.5"]
    assert main(command) == 0
    found = load_model(tmp_path).training
    assert found["history"][-1]["step"] <= 4 and found["settings"]["learning_rate"] == 2e-3
    assert found["warmup"]["settings"]["learning_rate"] == 0.5 and found["warmup"]["step"] == 4


def test_adversarial_training_overrides_only_what_a_run_says_may_be_overridden() -> None:
    overridden = {name for name in vars(adversarial.Run) if not name.startswith("__") and hasattr(training.Run, name)}
    stated = set(re.findall(r"^ {4}(\w+) {2,}\w", inspect.cleandoc(training.Run.__doc__ or ""), re.MULTILINE))
    assert {"step", "loss", "is_best"} <= overridden <= stated
