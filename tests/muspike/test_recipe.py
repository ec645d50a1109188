"""A training as a function call: what the recipe decides, what watches it, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from muspike import adversarial, architectures, corpora, training
from muspike.checkpoint import load_model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.training_grid import TrainingGrid
from muspike.files import owned_folder
from muspike.recipe import Recipe, train
from noise_corpus import noise_corpus


@pytest.fixture(autouse=True)
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Found by any name; the working folder is empty."""
    made = noise_corpus([40] * 6, train=3, validation=2, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    monkeypatch.chdir(tmp_path)
    return made


Told = list[tuple[str, int, bool]]


def teller(told: Told) -> Callable[..., Any]:
    """A watch that notes the part of the training, the step, and whether it was validated."""

    @contextlib.contextmanager
    def watch(run: training.Run, part: str) -> Iterator[Callable[[int, float, float | None], None]]:
        yield lambda step, bits, validated: told.append((part, step, validated is not None))

    return watch


def test_a_recipe_is_trained_and_taken_up_where_it_was() -> None:
    told: Told = []
    run, model = train(Recipe("s-rnn", preset="tiny", seed=3, steps=2, network={"width": 20}), report=teller(told))
    assert run.folder == Path("runs/s-rnn-jsb-tiny-3") and run.progress.step == 2
    assert told == [("", 1, False), ("", 2, True)]
    assert model.settings == architectures.preset("s-rnn", "tiny")["network"] | {"width": 20}
    assert model.training["settings"]["seed"] == 3
    assert load_model("runs/s-rnn-jsb-tiny-3").training == model.training

    told.clear()
    again = train(Recipe("s-rnn", preset="tiny", seed=3, steps=2, network={"width": 20}), report=teller(told))
    assert told == [] and again.model.training == model.training
    with pytest.raises(BadInput, match="holds a run with network width 20"):
        train(Recipe("s-rnn", preset="tiny", seed=3, steps=2))


def test_what_differs_from_the_preset_reaches_the_settings(tmp_path: Path) -> None:
    recipe = Recipe(
        "s-rnn",
        preset="tiny",
        folder=tmp_path / "run",
        steps=1,
        learning_rate=0.5,
        target_rate=0.01,
        rate_weight=300.0,
        precision="bfloat16",
    )
    settings = train(recipe).run.settings
    assert (settings.steps, settings.learning_rate, settings.target_rate) == (1, 0.5, 0.01)
    assert settings.rate_weight == 300.0 and settings.precision == "bfloat16"


@pytest.mark.parametrize("architecture", ["s-rnn", "s-gan"])
def test_a_run_keeps_the_precision_in_which_it_was_begun(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another device would take another one; also a run that was stopped in its warm-up."""
    recipe = Recipe(architecture, preset="tiny", folder=tmp_path / "run", steps=12)
    step = training.Run.step

    def stopped(self: training.Run, pieces: Any) -> float:
        if self.progress.step == 11:
            raise KeyboardInterrupt
        return step(self, pieces)

    with monkeypatch.context() as patched:
        patched.setattr(training.Run, "step", stopped)
        patched.setattr(training, "precision_on", lambda *about: "bfloat16")
        with pytest.raises(KeyboardInterrupt):
            train(recipe)
    monkeypatch.setattr(training, "precision_on", lambda *about: "float32")
    assert train(recipe).run.settings.precision == "bfloat16"
    with pytest.raises(BadInput, match="holds a run with training precision bfloat16, the recipe has float32"):
        train(dataclasses.replace(recipe, precision="float32"))


def test_a_trained_model_is_tuned_on_the_grid_of_a_chip() -> None:
    start = train(Recipe("s-rnn", preset="tiny", steps=1)).run
    run, model = train(Recipe("s-rnn", preset="tiny", steps=1, initial=start.folder), grid=TrainingGrid("loihi2"))
    assert run.folder == Path("runs/s-rnn-jsb-tiny-0-loihi2")
    assert model.training["quantise"] == "loihi2"
    assert run.settings.schedule == "cosine"
    assert run.settings.learning_rate == pytest.approx(start.settings.learning_rate / 10)


def test_adversarial_training_warms_up_first_and_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "network": {"width": 16, "layers": 1, "ticks": 2, "recurrent_delays": [1]},
        "training": {"steps": 2, "batch": 2, "tokens": 16, "validate_every": 1, "warmup": 1},
        "adversarial": {"steps": 1, "critic_width": 8, "check_pieces": 2, "check_tokens": 16},
    }
    monkeypatch.setattr(architectures, "preset", lambda name, which: small)
    told: Told = []
    run, model = train(Recipe("s-gan"), report=teller(told))
    assert isinstance(run, adversarial.Run)
    assert [(part, step) for part, step, _ in told] == [("warm-up ", 1), ("warm-up ", 2), ("", 1)]
    assert model.training["warmup"]["step"] in (1, 2)

    told.clear()
    train(Recipe("s-gan"), report=teller(told))
    assert told == []


@pytest.mark.parametrize(
    ("recipe", "grid", "words"),
    [
        (Recipe("s-xyz"), None, "architecture 's-xyz' is not known"),
        (Recipe("s-rnn", preset="huge"), None, "s-rnn: preset 'huge' is not known; known are paper, small"),
        (Recipe("s-rnn", preset="tiny", precision="float8"), None, "precision float8 must be one of"),
        (Recipe("s-rnn", preset="tiny", network={"wdith": 3}), None, "unknown key 'wdith'"),
        (Recipe("s-rnn", preset="tiny", teacher="nosuch"), None, "nosuch: neither a model folder nor a shipped"),
        (
            Recipe("ann-rnn", preset="tiny", target_rate=0.1),
            None,
            r"target_rate 0.1 \(--target-rate\): ann-rnn does not spike",
        ),
        (
            Recipe("s-rnn", preset="tiny", rate_weight=3.0),
            None,
            r"rate_weight 3 \(--rate-weight\): preset tiny has no target rate; give one with target_rate",
        ),
        (Recipe("ann-rnn", preset="tiny", rate_weight=3.0), None, r"rate_weight 3 \(--rate-weight\): ann-rnn does not"),
        (Recipe("ann-rnn", preset="tiny"), "loihi1", r"grid of loihi1 \(--quantise\): ann-rnn does not spike"),
    ],
)
def test_what_a_recipe_cannot_mean_is_refused(recipe: Recipe, grid: str | None, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        train(recipe, grid=TrainingGrid(grid) if grid else None)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ({"steps": 0}, "steps 0 must be from 1 to 100000000"),
        ({"steps": 1.5}, "steps 1.5 must be a whole number and be from 1 to 100000000"),
        ({"seed": 2**40}, "seed 1099511627776 must be from 0 to 4294967295"),
        ({"seed": -1}, "seed -1 must be from 0 to 4294967295"),
        ({"learning_rate": 1e-320}, r"learning_rate 1e-320 must be from 1e-12 to 1000"),
        ({"rate_weight": 0.0}, r"rate_weight 0.0 must be from 1e-30 to 1e\+30"),
        ({"target_rate": 0.0}, "target_rate 0.0 must be above 0 and at most 1"),
    ],
)
def test_numbers_out_of_range_are_refused(number: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=f"^recipe: {words}"):
        Recipe("s-rnn", **number)


def test_a_folder_is_refused_before_the_work_and_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "load", lambda *_: pytest.fail("the corpus is loaded"))
    recipe = Recipe("s-rnn", preset="tiny", steps=2, folder=tmp_path / "run")
    with owned_folder(tmp_path / "run"), pytest.raises(BadInput, match="run: another muspike command is at work"):
        train(recipe)
    (tmp_path / "run").touch()
    with pytest.raises(BadInput, match="run: is a file"):
        train(recipe)
    (tmp_path / "run").unlink()
    with pytest.raises(BadInput, match="nosuch: neither a model folder"):
        train(dataclasses.replace(recipe, initial="nosuch"))
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_a_state_is_not_replaced(tmp_path: Path) -> None:
    """Only a run that was killed at its first validation is begun again: it makes the same model."""
    recipe = Recipe("s-rnn", preset="tiny", steps=2, folder=tmp_path)
    train(recipe)
    (tmp_path / "state.safetensors").unlink()
    before = (tmp_path / "model" / "model.json").read_bytes()
    with pytest.raises(BadInput, match=r"model: holds a trained model, and no state\.safetensors beside it"):
        train(dataclasses.replace(recipe, seed=1))
    assert (tmp_path / "model" / "model.json").read_bytes() == before
    train(recipe)
    assert (tmp_path / "model" / "model.json").read_bytes() == before

    model = load_model(tmp_path)
    twice = {**model.training, "history": model.training["history"] * 2}
    save_model(dataclasses.replace(model, training=twice), tmp_path / "model")
    (tmp_path / "state.safetensors").unlink()
    with pytest.raises(BadInput, match="holds a trained model"):
        train(recipe)


@pytest.mark.parametrize("kind", ["pipe", "huge"])
def test_a_state_that_cannot_be_read_whole_is_refused(tmp_path: Path, kind: str) -> None:
    state = tmp_path / "state.safetensors"
    if kind == "pipe":
        os.mkfifo(state)
    else:
        with state.open("wb") as file:
            file.truncate(2**40)
    with pytest.raises(BadInput, match=r"state.safetensors: (is a pipe|has 1,099,511,627,776 bytes)"):
        train(Recipe("s-rnn", preset="tiny", steps=2, folder=tmp_path))


@pytest.mark.parametrize(
    ("capability", "wanted", "taken"),
    [("AVX2", "bfloat16", "float32"), ("AVX512", "bfloat16", "bfloat16"), ("AVX512", "float32", "float32")],
)
def test_a_cpu_without_avx_512_trains_in_float32(
    monkeypatch: pytest.MonkeyPatch, capability: str, wanted: str, taken: str
) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert training.precision_on(torch.device("cpu"), wanted) == taken
