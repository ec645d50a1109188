"""`bench`: a report on models."""

from __future__ import annotations

import argparse
import sys

from muspike.cli.options import (
    Commands,
    add_chip,
    add_json,
    add_lava_python,
    find_chip,
    folder,
    named,
    refuse_unused,
    whole,
)
from muspike.cli.output import say, say_json, waiting
from muspike.errors import BadInput
from muspike.files import owned_folder
from muspike.ranges import SEED


def add(commands: Commands) -> None:
    """Add the command."""
    bench = commands.add(
        "bench",
        _bench,
        "Quality, activity and cost of a model as it would be deployed, in one report.",
        "muspike bench --quick -o report",
    )
    bench.add_argument(
        "model", nargs="*", type=named, help="model folders or shipped models (default: all shipped models)"
    )
    folder(bench, "folder for report.html and bench.json")
    add_chip(bench, None, "a chip to report on; give it several times for several (default: all known)", several=True)
    bench.add_argument("--quick", action="store_true", help="16 pieces instead of 64; takes a few minutes")
    bench.add_argument("--no-lava", action="store_true", help="leave out the check against Lava; the report says so")
    add_lava_python(bench)
    bench.add_argument(
        "--only",
        type=_names,
        metavar="NAME,...",
        help="only these of the models, by name, such as s-rnn,s-cnn",
    )
    bench.add_argument(
        "--resume",
        action="store_true",
        help="take what a stopped or earlier run measured of the same models with the same settings, and go on",
    )
    bench.add_argument(
        "--cluster",
        type=named,
        metavar="ADDRESS",
        help="measure side by side on the Ray cluster there, such as 10.0.0.1:6379, or auto for the one that this "
        "machine belongs to; every node needs the same muspike",
    )
    bench.add_argument(
        "--seeds",
        type=_seeds,
        metavar="SEED,...",
        help="seeds of the composed pieces; the report is of the first, sweep.html of all (default: 0)",
    )
    add_json(bench, "the content of bench.json too,")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names with commas between them")
    return names


def _seeds(text: str) -> list[int]:
    return [whole(SEED)(part.strip()) for part in text.split(",")]


def _chosen(args: argparse.Namespace) -> list[str]:
    """The models that are asked for; empty: all shipped ones."""
    if args.only is None:
        return list(args.model)
    from muspike.model_folder import shipped_models

    known = list(args.model or shipped_models())
    if strangers := [name for name in args.only if name not in known]:
        raise BadInput(f"--only {strangers[0]}: is none of the models: {', '.join(known) or 'there are none'}")
    return [name for name in known if name in args.only]


def _bench(args: argparse.Namespace) -> int:
    if args.no_lava:
        refuse_unused(args, "with --no-lava", "python")
    chosen = _chosen(args)
    with owned_folder(args.output):  # before torch is loaded, which takes seconds
        pass
    with waiting("loading torch"):
        from muspike.bench.suite import bench

    results, page = bench(
        chosen,
        args.output,
        chips=[find_chip(name) for name in args.chip or ()],
        quick=args.quick,
        with_lava=not args.no_lava,
        python=args.python,
        seeds=args.seeds or [0],
        resume=args.resume,
        cluster=args.cluster,
    )
    if args.json:
        say_json(results)
        print(f"report: {page}", file=sys.stderr)
    else:
        say(f"report: {page}")
    return 0
