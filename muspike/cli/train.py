"""`train` carries out a recipe; `ablate` carries out one for each value of a setting."""

from __future__ import annotations

import argparse
import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muspike.cli.options import (
    Commands,
    add_chip,
    add_data,
    add_device,
    add_json,
    add_seed,
    find_chip,
    finite_number,
    named,
    number,
    path,
    refuse_unused,
    whole,
)
from muspike.cli.output import say, say_json, waiting
from muspike.errors import BadInput
from muspike.files import owned_folder
from muspike.ranges import LEARNING_RATE, PIECES, RATE, STEPS, above_0, from_to

if TYPE_CHECKING:
    from muspike import training
    from muspike.bench.ablation import Variant
    from muspike.checkpoint import Model
    from muspike.evaluation import LabelEffect

PRESET = "small"


def add(commands: Commands) -> None:
    """Add the commands."""
    train = commands.add("train", _train, "Train a generator.", "muspike train s-rnn --data jsb --preset small")
    train.add_argument(
        "architecture",
        help="such as s-rnn, or ann-rnn, its twin that does not spike; the answer to a wrong name lists them all",
    )
    add_data(train)
    train.add_argument(
        "--preset",
        default=PRESET,
        help=f"network and training settings: tiny, small, base or paper (default: {PRESET})",
    )
    train.add_argument(
        "-o",
        "--output",
        type=path,
        help="folder of the run (default: runs/ARCHITECTURE-DATA-PRESET-SEED, with -LABEL and -CHIP)",
    )
    add_seed(train, "seed of weights, batches and noise (default: 0)")
    train.add_argument(
        "--steps",
        type=whole(STEPS),
        help="most steps (default: the preset's); also of adversarial training after a warm-up",
    )
    train.add_argument(
        "--learning-rate",
        type=number(LEARNING_RATE),
        help="learning rate (default: the preset's); after a warm-up it counts only if it is lower",
    )
    train.add_argument(
        "--target-rate", type=number(RATE), help="discourage firing rates above this many spikes per neuron and tick"
    )
    train.add_argument(
        "--rate-weight",
        type=number(above_0()),
        help="weight of the penalty on firing rates (default: the preset's; with --target-rate, 10 if that is 0)",
    )
    train.add_argument(
        "--init",
        metavar="MODEL",
        type=named,
        help="start from the weights of this model, of the same network; adversarial training then needs no warm-up",
    )
    train.add_argument(
        "--teacher",
        metavar="MODEL",
        type=named,
        help="learn from the distributions of this model, of any architecture, as well as from the data",
    )
    train.add_argument(
        "--labels",
        metavar="NAME",
        nargs="+",
        type=named,
        help="labels of the corpus that the network hears, such as emotion; `generate --label` then takes their values",
    )
    train.add_argument(
        "--label-dropout",
        type=number(from_to(0, 1)),
        metavar="SHARE",
        help="share of excerpts read without some label, so that the model composes without one too (default: 0.1)",
    )
    add_device(train)
    train.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of matrix products; auto: bfloat16 on CUDA if CUDA computes it; the preset's on a CPU with AVX-512; else "
        "float32 (default: auto)",
    )
    add_chip(
        train,
        None,
        "train with the weights rounded as this chip will hold them; with --init a fine-tuning: a tenth of the "
        "preset's steps and learning rate, on a cosine schedule",
        flag="--quantise",
    )
    add_json(train, "the result")

    ablate = commands.add(
        "ablate",
        _ablate,
        "Train a network for each value of one of its settings and show what the value does. A stopped run is "
        "continued.",
        "muspike ablate v_threshold --preset small",
    )
    ablate.add_argument(
        "field", metavar="SETTING", help="a number of the network's settings, such as v_threshold, width, ticks or tau"
    )
    ablate.add_argument(
        "architecture", metavar="ARCHITECTURE", nargs="*", default=[], help="spiking architectures (default: s-rnn)"
    )
    ablate.add_argument(
        "--values",
        nargs="+",
        type=finite_number,
        metavar="VALUE",
        help="values to try (default for v_threshold: 0.3 0.5 0.7)",
    )
    ablate.add_argument(
        "--init",
        metavar="MODEL",
        type=named,
        help="train nothing: change the setting of this model and keep its weights",
    )
    add_data(ablate)
    ablate.add_argument("--preset", help=f"network and training settings (default: {PRESET})")
    ablate.add_argument("--steps", type=whole(STEPS), help="most training steps (default: the preset's)")
    add_seed(ablate, "seed of training and of composing (default: 0)")
    add_chip(ablate, "loihi2", "chip that composes and is priced")
    ablate.add_argument("-n", "--pieces", type=whole(PIECES), default=64, help="how many to compose (default: 64)")
    ablate.add_argument("-o", "--output", type=path, help="folder for a run per value (default: runs)")
    add_device(ablate)
    add_json(ablate, "the table")


def _train(args: argparse.Namespace) -> int:
    if args.output and os.environ.get("RANK", "0") == "0":  # before torch is loaded, which takes seconds
        with owned_folder(args.output):
            pass
    with waiting("loading torch"):
        from muspike import processes
        from muspike.export.training_grid import TrainingGrid
        from muspike.recipe import Recipe, train

    recipe = Recipe(
        architecture=args.architecture,
        data=args.data,
        preset=args.preset,
        folder=args.output,
        seed=args.seed,
        steps=args.steps,
        learning_rate=args.learning_rate,
        target_rate=args.target_rate,
        rate_weight=args.rate_weight,
        precision=None if args.precision == "auto" else args.precision,
        initial=args.init,
        teacher=args.teacher,
        labels=args.labels,
        label_dropout=args.label_dropout,
    )
    chip = None if args.quantise is None else find_chip(args.quantise)
    grid = None if chip is None else TrainingGrid(chip)
    device = processes.find_device(args.device or "auto")
    with processes.joined(device) as team:
        run, model = train(recipe, team, watched, device=device, grid=grid)
    if team.rank > 0:
        return 0
    keys = ("validation_bits_per_note", "validation_firing_rate")
    result = {"model": str(run.model_folder), "steps": run.progress.step, "step": model.training["step"]}
    result |= {key: model.training.get(key) for key in keys}
    if chip is not None:
        result["chip_warnings"] = list(chip.warnings)
    effect = _label_effect(run, model)
    if effect is not None:
        result |= {"labels": model.network.labels.table, "label_effect": effect.to_dict()}
    found = [point for point in run.progress.history if point.get("collapsed")]
    if check := model.training.get("check"):
        result |= {"check": check, "collapsed_validations": len(found), "validations": len(run.progress.history)}
    if args.json:
        say_json(result)
    else:
        bits, rate = (result[key] for key in keys)
        firing = "" if rate is None else f", {rate:.4f} spikes per neuron and tick"
        (kept,) = [point for point in run.progress.history if point["step"] == result["step"]]
        also = run.told(kept) + (f"; {len(found)} of {result['validations']} validations collapsed" if check else "")
        say(f"{run.model_folder}: {bits:.3f} bits per note{firing} on validation (step {result['step']}){also}")
        if effect is not None:
            say(f"{', '.join(model.network.labels.names)}: {effect.told()}")
    return 0


def _label_effect(run: training.Run, model: Model) -> LabelEffect | None:
    """What the labels tell the model about the validation pieces; None: it knows no labels."""
    rows = run.labels["validation"]
    if rows is None:
        return None
    with waiting("measuring what the labels do"):
        from muspike.evaluation import label_effect

        return label_effect(model.network, run.corpus.evaluated("validation"), rows)


@contextlib.contextmanager
def watched(run: training.Run, part: str) -> Iterator[Callable[[int, float, float | None], None]]:
    """Show a training: a bar, and a line per validation on stderr, in the first process. This is a `recipe.Report`."""
    from muspike import progress

    first, steps = run.team.rank == 0, run.settings.steps
    best, kept = run.progress.best_bits, run.progress.step
    with progress.bar(steps, "step", done=kept, what=part.strip(), shown=first, stays=True) as bar:

        def firing(rate: float | None) -> str:
            return "" if rate is None else f", firing rate {rate:.3f}"

        def report(step: int, bits: float, validated: float | None) -> None:
            nonlocal best, kept
            now = f"{bits:.2f} bits per note{firing(run.firing_rate)}, learning rate {run.learning_rate:.2g}"
            bar.note(now)
            bar.advance(step - bar.done)
            if validated is None:
                return
            best, kept = run.progress.best_bits, step
            if first:
                left = progress.interval(run.progress.seconds / step * (steps - step))
                so_far = f", best {best:.3f}" if best < math.inf else ""  # pruning keeps no model before its zeros
                line = f"training {bits:.3f}, validation {validated:.3f}{so_far} bits per note"
                point = run.progress.history[-1]
                more = firing(point["firing_rate"]) + run.told(point)
                bar.write(f"{part}step {step}: {line}{more}; {left} left at most")

        try:
            yield report
        except KeyboardInterrupt as stop:
            raise type(stop)(
                f"stopped at {part}step {run.progress.step}; the same command goes on from step {kept}"
            ) from None


def _ablate(args: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput("ablate: runs in one process; start it without torchrun")
    if args.init:
        refuse_unused(args, "with --init, which trains nothing", "ARCHITECTURE", "preset", "steps", "output", "device")
    with waiting("loading torch"):
        from muspike import architectures, corpora
        from muspike.bench.ablation import DEFAULT_VALUES, ablate, table, variants
        from muspike.checkpoint import load_model

    chip = find_chip(args.chip)
    values = args.values or DEFAULT_VALUES.get(args.field)
    if not values:
        raise BadInput(f"ablate {args.field}: has no default values; give some, such as --values 1 2 4")
    preset = args.preset or PRESET
    if args.init:
        initial = load_model(args.init)
        found = variants(initial.architecture, initial.settings, args.field, values)

        def with_weights(variant: Variant) -> Model:
            return variant.with_weights_of(initial)

        model_of: Callable[[Variant], Model] = with_weights
    else:
        found = []
        for name in dict.fromkeys(args.architecture or ["s-rnn"]):
            network = architectures.preset(name, preset).get("network", {})
            found += variants(name, network, args.field, values)
        model_of = _trainer(args, preset, found)

    results = ablate(found, model_of, corpora.load(args.data), chip, args.pieces, args.seed)
    about = {"preset": None if args.init else preset, "initial": args.init}
    if args.json:
        say_json(about | results)
    else:
        say(table(results))
    return 0


def _trainer(args: argparse.Namespace, preset: str, found: Sequence[Variant]) -> Callable[[Variant], Model]:
    """A function that trains a variant with the arguments of `ablate`.

    Raises:
        BadInput: the folder of one of the variants `found` cannot be written, or is in use.
    """
    from muspike import processes
    from muspike.recipe import RUNS, Recipe, train

    device = processes.find_device(args.device or "auto")

    def folder_of(variant: Variant) -> Path:
        name = f"{variant.architecture}-{args.data}-{preset}-{args.seed}-{variant.name}"
        return Path((args.output or RUNS) / name)

    for variant in found:  # before the first is trained
        with owned_folder(folder_of(variant)):
            pass

    def model_of(variant: Variant) -> Model:
        recipe = Recipe(
            architecture=variant.architecture,
            data=args.data,
            preset=preset,
            folder=folder_of(variant),
            seed=args.seed,
            steps=args.steps,
            network={variant.field: variant.network[variant.field]},
        )
        return train(recipe, report=watched, device=device).model

    return model_of
