"""A training from its recipe: a preset of an architecture, a data set, and what is to differ from the preset.

An architecture with the table `[adversarial]` in its preset is trained by likelihood first (the warm-up, a run of its
own in the folder `warmup`), then adversarially. A recipe with `initial` starts from the weights of that model, and so
needs no warm-up; on the grid of a chip it is then a fine-tuning (`training.fine_tuning`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from muspike import adversarial, architectures, corpora, training
from muspike.checkpoint import Model, load_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import CPU
from muspike.files import make_folder
from muspike.processes import ALONE, Team

RUNS = Path("runs")
"""Where the folders of runs are made by default."""

Report = Callable[[int, float, float | None], None]
"""Called after each step with its number, bits per note in training, and in validation where it was validated."""
Watch = Callable[[training.Run, str], contextlib.AbstractContextManager[Report]]
"""Entered around a run, with the part of the training that it is ("" or "warm-up "); gives what the run reports to."""


@contextlib.contextmanager
def unwatched(run: training.Run, part: str) -> Iterator[Report]:
    """A `Watch` that tells nobody."""
    yield lambda step, bits, validated: None


@dataclass(frozen=True)
class Recipe:
    """What to train.

    Attributes:
        architecture: its name, as in `architectures.ARCHITECTURES`.
        data: the name of the data set.
        preset: the name of the settings of network and training: `tiny`, `small`, `base`, and others.
        folder: of the run; None: `runs/ARCHITECTURE-DATA-PRESET-SEED`, and `-CHIP` on the grid of a chip.
        seed: of weights, batches and noise.
        steps: at most so many; None: the preset's. After a warm-up it bounds the adversarial steps too.
        learning_rate: None: the preset's. After a warm-up it counts only where it is below the preset's.
        target_rate: spikes per neuron and tick above which firing costs; None: the preset's.
        precision: of matrix products, as in `training.Settings`; None: bfloat16 on CUDA where it computes that, else
            the preset's.
        initial: a model, by name or folder, whose weights the training starts from; None: they are drawn.
        teacher: a model, by name or folder, of any architecture, whose distributions are learned beside the data.
        network: settings of the network that differ from the preset's.
    """

    architecture: str
    data: str = "jsb"
    preset: str = "small"
    folder: Path | None = None
    seed: int = 0
    steps: int | None = None
    learning_rate: float | None = None
    target_rate: float | None = None
    precision: str | None = None
    initial: str | Path | None = None
    teacher: str | Path | None = None
    network: Mapping[str, Any] = field(default_factory=dict)


class Trained(NamedTuple):
    """A training that is done: its last run, and the best model of that."""

    run: training.Run
    model: Model


class _Plan(NamedTuple):
    """What a recipe comes to: `against` are the settings of the adversarial part, None where there is none."""

    network: dict[str, Any]
    settings: training.Settings
    against: adversarial.Settings | None
    folder: Path
    corpus: Corpus
    initial: Model | None


def train(
    recipe: Recipe,
    team: Team = ALONE,
    report: Watch = unwatched,
    *,
    device: torch.device = CPU,
    grid: training.Grid | None = None,
) -> Trained:
    """Train as `recipe` says, or go on with the run that is in its folder.

    >>> from muspike import Recipe, train
    >>> run, model = train(Recipe("s-rnn", preset="tiny", steps=2, seed=1))
    >>> str(run.model_folder), model.training["step"] <= 2
    ('runs/s-rnn-jsb-tiny-1/model', True)

    Args:
        team: the processes that train together.
        report: what watches the run, and the run of a warm-up before it.
        device: where torch computes.
        grid: the weights that a chip can hold, to train with; None: any.

    Raises:
        BadInput: there is no such architecture, preset, data set or model; a setting is out of its range, or would have
            no effect; the folder holds another run.
        Failed: a number that is not finite came up, or the disk refuses.
    """
    plan = team.decided(lambda: _planned(recipe, device, grid))
    teacher = team.decided(lambda: _loaded(recipe.teacher))
    about = (recipe.architecture, plan.network)
    if plan.against is None:
        run = training.Run(
            plan.folder, *about, plan.settings, plan.corpus,
            device=device, initial=plan.initial, teacher=teacher, team=team, grid=grid,
        )  # fmt: skip
        return _watched(run, "", report)
    initial = plan.initial
    if initial is not None and teacher is not None:
        raise BadInput("teacher: teaches the likelihood warm-up alone, which a model to start from leaves out")
    warmup = plan.folder / adversarial.WARMUP
    if initial is None:
        team.decided(lambda: adversarial.refuse_without_warmup(plan.folder))
        if (plan.folder / "state.safetensors").exists():
            # Past its warm-up: that is not trained on, whatever was asked for.
            initial = team.decided(lambda: load_model(warmup / "model"))
        else:
            first = training.Run(warmup, *about, plan.settings, plan.corpus, device=device, teacher=teacher, team=team)
            initial = _watched(first, "warm-up ", report).model
    run = adversarial.Run(
        plan.folder, *about, plan.against, plan.corpus, device=device, initial=initial, team=team, grid=grid
    )
    return _watched(run, "", report)


def _watched(run: training.Run, part: str, report: Watch) -> Trained:
    with report(run, part) as told:
        return Trained(run, run.train(told))


def _loaded(model: str | Path | None) -> Model | None:
    return None if model is None else load_model(model)


def _planned(recipe: Recipe, device: torch.device, grid: training.Grid | None) -> _Plan:
    preset = architectures.preset(recipe.architecture, recipe.preset)
    where = f"preset {recipe.preset} of {recipe.architecture}"
    for table in preset:
        if table not in ("network", "training", "adversarial"):
            raise BadInput(f"{where}: unknown table [{table}]; known are [network], [training] and [adversarial]")
    settings: training.Settings = architectures.configured(
        training.Settings, preset.get("training", {}), f"{where}, [training]"
    )
    changes = _changes(recipe, settings, device, grid)
    tuning = recipe.initial is not None and grid is not None
    settings = dataclasses.replace(training.fine_tuning(settings) if tuning else settings, **changes)
    initial = _loaded(recipe.initial)
    against: adversarial.Settings | None = None
    if "adversarial" in preset:
        # The table says in what it differs from [training].
        table = preset.get("training", {}) | preset["adversarial"]
        against = architectures.configured(adversarial.Settings, table, f"{where}, [adversarial]")
        if initial is None:
            # They are for the warm-up; after it they lower what the preset has.
            for key in {"steps", "learning_rate"} & set(changes):
                changes[key] = min(changes[key], getattr(against, key))
        against = dataclasses.replace(training.fine_tuning(against) if tuning else against, **changes)
    corpus = corpora.load(recipe.data)
    name = f"{recipe.architecture}-{recipe.data}-{recipe.preset}-{recipe.seed}"
    folder = recipe.folder or RUNS / (f"{name}-{grid.chip}" if grid else name)
    network = {**preset.get("network", {}), **recipe.network}
    return _Plan(network, settings, against, make_folder(folder), corpus, initial)


def _changes(
    recipe: Recipe, settings: training.Settings, device: torch.device, grid: training.Grid | None
) -> dict[str, Any]:
    """The settings of training that the recipe changes; `settings` are the preset's."""
    spikes = architectures.find(recipe.architecture).spikes
    if recipe.target_rate is not None and not spikes:
        raise BadInput(f"target rate {recipe.target_rate:g}: {recipe.architecture} does not spike")
    if grid is not None and not spikes:
        raise BadInput(
            f"grid of {grid.chip}: {recipe.architecture} does not spike: it cannot be trained on the grid of a chip"
        )
    changes: dict[str, Any] = {"seed": recipe.seed, "steps": recipe.steps, "learning_rate": recipe.learning_rate}
    if recipe.target_rate is not None:
        changes |= {"target_rate": recipe.target_rate, "rate_weight": settings.rate_weight or training.RATE_WEIGHT}
    if recipe.precision is not None:
        changes["precision"] = recipe.precision
    elif device.type == "cuda" and torch.cuda.is_bf16_supported():
        changes["precision"] = "bfloat16"
    return {key: value for key, value in changes.items() if value is not None}
