"""The command line of the queue: `python -m muspike.bench.shipped train`, `list`, `measure` or `tables`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from muspike.cli import guarded
from muspike.cli.options import Parser, path, whole
from muspike.errors import BadInput
from muspike.ranges import from_to


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    parser = Parser(
        prog="python -m muspike.bench.shipped",
        description="Train the models that come with muspike, and their twins: what recipes.toml names and is missing. "
        "Several of these commands can run at once, also on several machines that share the folder. One that is "
        "stopped, or killed, goes on from the last validation when it is started again.",
        epilog="example: nice -n 19 python -m muspike.bench.shipped train --threads 1",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    train = commands.add_parser("train", help="train what is missing, in order; measure it; keep its result")
    train.add_argument("names", nargs="*", metavar="NAME", help="only these, such as s-rnn-0 (default: all)")
    train.add_argument("--threads", type=whole(from_to(1, 1024)), default=1, help="threads of torch (default: 1)")
    train.add_argument("--device", default="cpu", help="where torch computes: cpu, cuda or auto (default: cpu)")
    listed = commands.add_parser("list", help="what is not finished, and an estimate of the time that it takes")
    measured = commands.add_parser("measure", help="measure again the finished models whose weights are here")
    for command in (train, listed, measured):
        command.add_argument("--recipes", type=path, metavar="FILE", help="other recipes (default: recipes.toml)")
        command.add_argument("--runs", type=path, metavar="FOLDER", help="where runs are put (default: runs/models)")
        command.add_argument("--to", type=path, metavar="FOLDER", help="put results, logs and models there instead")
    commands.add_parser("tables", help="make the tables of README.md and docs/models.md from the results")
    return guarded(lambda: _run(parser.parse_args(arguments)))


def _run(args: argparse.Namespace) -> int:
    import torch

    from muspike.bench.shipped import queue, tables
    from muspike.bench.shipped.recipes import RECIPES, read_recipes
    from muspike.processes import find_device

    if args.command == "tables":
        place = queue.Place.of_checkout()
        entries = read_recipes()
        families = list(dict.fromkeys(entry.family for entry in entries))
        for page in tables.fill(Path(__file__).parents[2], tables.read_results(place, families), entries):
            print(page)
        return 0
    entries = read_recipes(args.recipes or RECIPES)
    if args.to is None:
        place = queue.Place.of_checkout()
    else:
        place = queue.Place(args.to / "runs", args.to / "results", args.to / "logs", args.to / "models")
    if args.runs is not None:
        place = dataclasses.replace(place, runs=args.runs)
    if args.command == "list":
        queue.print_left(entries, place)
        return 0
    if args.command == "measure":
        if not queue.measure_again(entries, place, said=lambda line: print(line, flush=True)):
            raise BadInput(
                f"{place.results}: no model was measured; results are wanted there, and their weights in "
                f"{place.models} or {place.runs}"
            )
        return 0
    known = {entry.name: entry for entry in entries}
    for name in args.names:
        if name not in known:
            raise BadInput(f"{name}: there is no such model in the queue; known are {', '.join(known)}")
    torch.set_num_threads(args.threads)
    chosen = [known[name] for name in dict.fromkeys(args.names)] or entries
    queue.work(chosen, place, device=find_device(args.device), said=lambda line: print(line, flush=True))
    queue.print_left(chosen, place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
