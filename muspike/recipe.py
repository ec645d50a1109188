"""A training from its recipe: a preset of an architecture, a data set, and the differences from the preset.

If a preset has the table `[adversarial]`, its network is trained by likelihood first and adversarially afterwards. The
first part is the warm-up, a run of its own in the folder `warmup`. A recipe with `initial` starts from the weights of
that model and needs no warm-up. On the grid of a chip, such a recipe is a fine-tuning (`training.fine_tuning`).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from muspike import adversarial, architectures, corpora, training
from muspike.arguments import instance, listed, refuse
from muspike.checkpoint import Model, load_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.files import owned_folder
from muspike.processes import ALONE, CPU, Team, find_device
from muspike.ranges import LEARNING_RATE, RATE, SEED, STEPS, above_0, check, from_to, setting

RUNS = Path("runs")
"""The folder in which runs are put by default."""

StepReport = Callable[[int, float, float | None], None]
"""Called after each step with its number, the training bits per note, and the validation bits per note.

The last is None if the step had no validation.
"""
Report = Callable[[training.Run, str], contextlib.AbstractContextManager[StepReport]]
"""Called with a run and its part of the training ("" or "warm-up "); returns a context manager.

The context surrounds the run, and its value is the function to which the run reports.
"""


@contextlib.contextmanager
def untold(run: training.Run, part: str) -> Iterator[StepReport]:
    """A `Report` that tells nobody."""
    yield lambda step, bits, validated: None


@dataclass(frozen=True)
class Recipe:
    """What to train.

    Attributes:
        architecture: name of the architecture, as in `architectures.ARCHITECTURES`.
        data: name of the data set.
        preset: name of the preset, the settings of network and training: `tiny`, `small`, `base`, and others.
        folder: where the run is put. None: `runs/ARCHITECTURE-DATA-PRESET-SEED`, followed by `-LABEL` for each of
            `labels`, and by `-CHIP` on the grid of a chip.
        seed: of weights, batches and noise.
        steps: the most steps. None: the preset's. In the adversarial part after a warm-up, the smaller of this number
            and the preset's holds.
        learning_rate: the largest learning rate. None: the preset's. In the adversarial part after a warm-up, the
            smaller of this value and the preset's holds.
        target_rate: firing above this rate, in spikes per neuron and tick, is penalised. None: the preset's.
        rate_weight: weight of this penalty, as in `training.Settings`. None: the preset's; with a `target_rate`, 10 if
            the preset's is 0.
        precision: of matrix products, as in `training.Settings`. None: that of the run that is continued; for a new
            run, what is quick on the device (`training.precision_on`).
        initial: name or folder of a model whose weights the training starts with. None: they are drawn.
        teacher: name or folder of a model, of any architecture, whose distributions are learned beside the data.
        labels: names of labels of the corpus that the network hears, such as "emotion"; it knows the values that the
            training pieces have. None: the preset's, or those of `initial`.
        label_dropout: the share of excerpts that are read without some of their labels, as in `training.Settings`.
            None: the preset's.
        network: settings of the network that differ from the preset's.

    Raises:
        BadInput: a number is outside its range.
    """

    architecture: str
    data: str = "jsb"
    preset: str = "small"
    folder: Path | None = None
    seed: int = setting(0, SEED)
    steps: int | None = setting(None, STEPS)
    learning_rate: float | None = setting(None, LEARNING_RATE)
    target_rate: float | None = setting(None, RATE)
    rate_weight: float | None = setting(None, above_0())
    precision: str | None = None
    initial: str | Path | None = None
    teacher: str | Path | None = None
    labels: Sequence[str] | None = None
    label_dropout: float | None = setting(None, from_to(0, 1))
    network: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "recipe")
        if self.labels is not None:
            listed("recipe: labels", self.labels, "a list of names")


class Trained(NamedTuple):
    """A finished training: its last run, and the best model of that run."""

    run: training.Run
    model: Model


class _Plan(NamedTuple):
    """A recipe, checked and completed.

    Attributes:
        network: settings of the network.
        settings: settings of the training by likelihood.
        against: settings of the adversarial part, None if there is none.
        corpus: the data.
        initial: the model to start from, None if weights are drawn.
    """

    network: dict[str, Any]
    settings: training.Settings
    against: adversarial.Settings | None
    corpus: Corpus
    initial: Model | None


def train(
    recipe: Recipe,
    team: Team = ALONE,
    report: Report = untold,
    *,
    device: torch.device | str = CPU,
    grid: training.Grid | None = None,
) -> Trained:
    """Train as `recipe` says, or continue the run in its folder, which no second command may use meanwhile.

    >>> from muspike import Recipe, train
    >>> run, model = train(Recipe("s-rnn", preset="tiny", steps=2, seed=1))
    >>> str(run.model_folder), model.training["step"] <= 2
    ('runs/s-rnn-jsb-tiny-1/model', True)

    Args:
        team: the processes that train together.
        report: watches the run, and the run of a warm-up before it.
        device: where torch computes: a torch device, or "auto", "cpu" or "cuda".
        grid: the weights that a chip can hold; training rounds the weights to it. None: weights are not rounded.

    Raises:
        BadInput: there is no such architecture, preset, data set or model; a setting is out of its range or would have
            no effect; the folder holds another run, is in use, or cannot be written.
        Failed: a loss, gradient or weight is not finite, or the disk refuses a write.
    """
    instance("train: recipe", recipe, Recipe, 'a Recipe, such as Recipe("s-rnn")')
    if not isinstance(device, torch.device):
        device = find_device(device)
    if grid is not None and not (hasattr(grid, "rounding") and hasattr(grid, "chip")):
        raise refuse("train: grid", grid, "a muspike.export.training_grid.TrainingGrid, which takes a chip, or None")
    preset = team.decided(lambda: architectures.preset(recipe.architecture, recipe.preset))
    name = "-".join([recipe.architecture, recipe.data, recipe.preset, str(recipe.seed), *(recipe.labels or ())])
    folder = recipe.folder or RUNS / (f"{name}-{grid.chip}" if grid else name)
    with _owned(folder, team):
        return _trained(recipe, preset, folder, team, report, device, grid)


@contextlib.contextmanager
def _owned(folder: Path, team: Team) -> Iterator[None]:
    """The first process owns the folder."""
    with contextlib.ExitStack() as held:
        team.decided(lambda: held.enter_context(owned_folder(folder)))
        yield


def _trained(
    recipe: Recipe,
    preset: Mapping[str, Any],
    folder: Path,
    team: Team,
    report: Report,
    device: torch.device,
    grid: training.Grid | None,
) -> Trained:
    plan = team.decided(lambda: _planned(recipe, preset, folder, device, grid))
    teacher = team.decided(lambda: _loaded(recipe.teacher))
    about = (recipe.architecture, plan.network)
    if plan.against is None:
        run = training.Run(
            folder, *about, plan.settings, plan.corpus,
            device=device, initial=plan.initial, teacher=teacher, team=team, grid=grid,
        )  # fmt: skip
        return _watched(run, "", report)
    initial = plan.initial
    if initial is not None and teacher is not None:
        raise BadInput(
            "teacher (--teacher): teaches the likelihood warm-up alone; without a warm-up, after --init, leave it out"
        )
    warmup = folder / adversarial.WARMUP
    if initial is None:
        team.decided(lambda: adversarial.refuse_without_warmup(folder))
        if (folder / "state.safetensors").exists():
            # The adversarial part has begun: the warm-up is not continued, even if more steps are asked for.
            initial = team.decided(lambda: load_model(warmup / "model"))
        else:
            about_warmup = (warmup, *about, plan.settings, plan.corpus)
            with _owned(warmup, team):
                first = training.Run(*about_warmup, device=device, teacher=teacher, team=team)
                initial = _watched(first, "warm-up ", report).model
    run = adversarial.Run(
        folder, *about, plan.against, plan.corpus, device=device, initial=initial, team=team, grid=grid
    )
    return _watched(run, "", report)


def _watched(run: training.Run, part: str, report: Report) -> Trained:
    with report(run, part) as told:
        return Trained(run, run.train(told))


def _loaded(model: str | Path | None) -> Model | None:
    return None if model is None else load_model(model)


def _planned(
    recipe: Recipe, preset: Mapping[str, Any], folder: Path, device: torch.device, grid: training.Grid | None
) -> _Plan:
    where = f"preset {recipe.preset} of {recipe.architecture}"
    for table in preset:
        if table not in ("network", "training", "adversarial"):
            raise BadInput(f"{where}: unknown table [{table}]; known are [network], [training] and [adversarial]")
    settings: training.Settings = architectures.configured(
        training.Settings, preset.get("training", {}), f"{where}, [training]"
    )
    changes = _changes(recipe, settings, folder, device, grid)
    tuning = recipe.initial is not None and grid is not None
    settings = dataclasses.replace(training.fine_tuning(settings) if tuning else settings, **changes)
    initial = _loaded(recipe.initial)
    against: adversarial.Settings | None = None
    if "adversarial" in preset:
        # [adversarial] holds only the differences from [training].
        table = preset.get("training", {}) | preset["adversarial"]
        against = architectures.configured(adversarial.Settings, table, f"{where}, [adversarial]")
        if initial is None:
            # These settings are the warm-up's. In the adversarial part they can only lower the preset's.
            for key in {"steps", "learning_rate"} & set(changes):
                changes[key] = min(changes[key], getattr(against, key))
        against = dataclasses.replace(training.fine_tuning(against) if tuning else against, **changes)
    corpus = corpora.load(recipe.data)
    network = {**preset.get("network", {}), **recipe.network}
    _add_labels(network, recipe.labels, corpus, initial)
    if recipe.label_dropout is not None and not network.get("labels"):
        raise BadInput(f"label_dropout {recipe.label_dropout:g} (--label-dropout): there are no labels; leave it out")
    return _Plan(network, settings, against, corpus, initial)


def _add_labels(network: dict[str, Any], names: Sequence[str] | None, corpus: Corpus, initial: Model | None) -> None:
    """Put the labels that a network hears into its settings, values by name.

    Args:
        network: its settings, in which labels may be names alone. They are then completed.
        names: of the labels; None: those in the settings, or else those of `initial`.
        corpus: gives the values.
        initial: the model that the training starts from, whose values the network keeps.

    Raises:
        BadInput: the corpus has no label of a name.
    """
    if names is not None:
        network["labels"] = list(names)
    found = network.get("labels", ())
    known = initial.settings.get("labels") if initial else None
    if known and (not found or sorted(found) == sorted(known)):
        network["labels"] = known
    elif found and not isinstance(found, Mapping):
        network["labels"] = {name: corpus.label_values(name) for name in found}


def refuse_rates_without_spikes(recipe: Recipe) -> None:
    """Refuse a recipe that sets firing rates of an architecture that does not spike.

    Raises:
        BadInput: it does.
    """
    for key in ("target_rate", "rate_weight"):
        value = getattr(recipe, key)
        if value is not None and not architectures.find(recipe.architecture).spikes:
            option = "--" + key.replace("_", "-")
            raise BadInput(f"{key} {value:g} ({option}): {recipe.architecture} does not spike; leave it out")


def _changes(
    recipe: Recipe, settings: training.Settings, folder: Path, device: torch.device, grid: training.Grid | None
) -> dict[str, Any]:
    """The settings of training that `recipe` changes, by name. `settings` are the preset's."""
    spikes = architectures.find(recipe.architecture).spikes
    refuse_rates_without_spikes(recipe)
    if grid is not None and not spikes:
        raise BadInput(
            f"grid of {grid.chip} (--quantise): {recipe.architecture} does not spike, it goes on no chip; leave it out"
        )
    changes: dict[str, Any] = {"seed": recipe.seed, "steps": recipe.steps, "learning_rate": recipe.learning_rate}
    if recipe.target_rate is not None:
        changes |= {"target_rate": recipe.target_rate, "rate_weight": settings.rate_weight or training.RATE_WEIGHT}
    if recipe.rate_weight is not None:
        if recipe.target_rate is None and settings.target_rate >= 1:
            raise BadInput(
                f"rate_weight {recipe.rate_weight:g} (--rate-weight): preset {recipe.preset} has no target rate; give "
                "one with target_rate (--target-rate)"
            )
        changes["rate_weight"] = recipe.rate_weight
    if recipe.label_dropout is not None:
        changes["label_dropout"] = recipe.label_dropout
    if recipe.precision is not None:
        changes["precision"] = recipe.precision
    else:
        kept = training.kept_in(folder) or training.kept_in(folder / adversarial.WARMUP)
        own = kept and kept.settings.get("precision")
        changes["precision"] = own or training.precision_on(device, settings.precision)
    return {key: value for key, value in changes.items() if value is not None}
