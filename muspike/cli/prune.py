"""`prune` makes a model cheaper on a chip."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from muspike.cli.options import (
    Commands,
    add_chip,
    add_device,
    add_json,
    add_model,
    add_seed,
    find_chip,
    named,
    number,
    path,
    whole,
)
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput, Failed
from muspike.files import check_target, owned_folder, write_whole
from muspike.ranges import ENERGY_UJ, LEARNING_RATE, RATE, STEPS, share_below_1


def add(commands: Commands) -> None:
    """Add the command."""
    prune = commands.add(
        "prune",
        _prune,
        "Set more and more weights of a model to 0, and train what is left, until its energy per note on a chip is at "
        "or below a target. A stopped run is continued.",
        "muspike prune s-rnn --target-uj 20 -o pruned",
    )
    add_model(prune)
    prune.add_argument(
        "--target-uj", type=number(ENERGY_UJ), metavar="UJ", help="the energy per note in µJ at which the rounds end"
    )
    prune.add_argument(
        "--front", action="store_true", help="make every round, also those after the target, or without a target"
    )
    prune.add_argument(
        "--sparsities",
        nargs="+",
        type=number(share_below_1()),
        metavar="SHARE",
        help="the share of weights that are 0 after each round (default: 0.5 0.7 0.8 0.87 0.92 0.95)",
    )
    prune.add_argument("--steps", type=whole(STEPS), help="training steps of each round (default: 500)")
    prune.add_argument(
        "--learning-rate",
        type=number(LEARNING_RATE),
        help="learning rate (default: 0.3 of that of the model's training)",
    )
    prune.add_argument(
        "--target-rate",
        type=number(RATE),
        help="discourage firing rates above this many spikes per neuron and tick (default: as in the model's training)",
    )
    prune.add_argument(
        "--teacher",
        metavar="MODEL",
        type=named,
        help="learn from the distributions of this model as well as from the data, such as those of MODEL itself",
    )
    add_seed(prune, "seed of batches and noise (default: 0)")
    add_chip(prune, "loihi1", "chip that is measured on")
    prune.add_argument(
        "-o", "--output", type=path, help="folder of the rounds and the model (default: runs/MODEL-pruned)"
    )
    prune.add_argument(
        "--picture", type=path, metavar="FILE", help="draw bits per note over energy per note there (.svg)"
    )
    add_device(prune)
    add_json(prune, "the points")


def _prune(args: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput("prune: runs in one process; start it without torchrun")
    if args.target_uj is None and not args.front:
        raise BadInput("prune: give the energy to reach (--target-uj UJ), or --front for all rounds")
    if args.picture:
        if args.picture.suffix != ".svg":
            raise BadInput(f"{args.picture}: the picture of a front is an SVG; a name that ends in .svg is wanted")
        check_target(args.picture)
    from muspike.recipe import RUNS

    folder = args.output or RUNS / f"{Path(args.model).name}-pruned"
    with owned_folder(folder):  # before torch is loaded, which takes seconds
        pass
    with waiting("loading torch"):
        from muspike import corpora, processes
        from muspike.bench import pruning
        from muspike.checkpoint import load_model
        from muspike.cli.train import watched

    chip = find_chip(args.chip)
    model = load_model(args.model)
    given = {key: getattr(args, key) for key in ("target_uj", "steps", "learning_rate", "target_rate", "seed")}
    given["sparsities"] = args.sparsities and tuple(args.sparsities)
    plan = pruning.Plan(all_rounds=args.front, **{key: value for key, value in given.items() if value is not None})
    device = processes.find_device(args.device or "auto")
    corpus = corpora.load(model.training["corpus"])
    teacher = load_model(args.teacher) if args.teacher else None
    results = pruning.prune(model, plan, corpus, chip, folder, teacher=teacher, device=device, report=watched)
    if args.picture:
        with write_whole(args.picture) as temporary:
            temporary.write_bytes(pruning.picture(results).svg)
    if args.json:
        say_json(results)
    else:
        say(pruning.table(results))
    if args.target_uj is not None and results["kept"] is None:
        least = pruning.least_energy(results)
        far = "no point fits the chip" if least is None else f"the least that was reached is {least:.3g} µJ per note"
        raise Failed(
            f"prune: {args.target_uj:g} µJ per note on {chip.name} is out of reach of these rounds: {far}; "
            "more rounds (--sparsities) go on from there"
        )
    if results["kept"] == 0:
        note(f"{args.model} meets {args.target_uj:g} µJ per note as it is; no model is written")
    return 0
