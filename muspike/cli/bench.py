"""`bench`: a report on models."""

from __future__ import annotations

import argparse
import sys

from muspike.cli.options import (
    Commands,
    add_chip,
    add_json,
    add_lava_python,
    add_seed,
    find_chip,
    folder,
    named,
    refuse_unused,
)
from muspike.cli.output import say, say_json, waiting
from muspike.files import owned_folder


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
    add_seed(bench, "seed of the composed pieces (default: 0)")
    add_json(bench, "the content of bench.json too,")


def _bench(args: argparse.Namespace) -> int:
    if args.no_lava:
        refuse_unused(args, "with --no-lava", "python")
    with owned_folder(args.output):  # before torch is loaded, which takes seconds
        pass
    with waiting("loading torch"):
        from muspike.bench.suite import bench

    results, page = bench(
        args.model,
        args.output,
        chips=[find_chip(name) for name in args.chip or ()],
        quick=args.quick,
        with_lava=not args.no_lava,
        python=args.python,
        seed=args.seed,
    )
    if args.json:
        say_json(results)
        print(f"report: {page}", file=sys.stderr)
    else:
        say(f"report: {page}")
    return 0
