"""`bench`: a report on models, and the table of the benchmark over several corpora."""

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
    path,
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
        "Quality, activity and cost of a model as it would be deployed, in one report. With several corpora, the music "
        "of every architecture on each of them in one table, beside the values that the MuSpike paper publishes.",
        "muspike bench --data jsb,pop909,emopia -o benchmark",
    )
    bench.add_argument(
        "model",
        nargs="*",
        type=named,
        help="model folders or shipped models (default: all shipped models of the corpora)",
    )
    folder(bench, "folder for report.html and bench.json, or for benchmark.html, benchmark.md and benchmark.json")
    bench.add_argument(
        "--data",
        type=_names,
        metavar="CORPUS,...",
        help="the corpora whose models are measured, such as jsb,pop909,emopia (default: jsb, or those of the models "
        "that are named). With several, the music alone is measured",
    )
    bench.add_argument(
        "--models",
        type=path,
        metavar="FOLDER",
        help="a folder of model folders or training runs, which are measured too, each on the corpus that it was "
        "trained on; they take the place of shipped models of the same architecture and corpus",
    )
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
        help="seeds of the composed pieces; the report is of the first, sweep.html of all (default: 0). With several "
        "corpora, the table is of all pieces together",
    )
    add_json(bench, "the content of bench.json or benchmark.json too,")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names with commas between them")
    return names


def _seeds(text: str) -> list[int]:
    return [whole(SEED)(part.strip()) for part in text.split(",")]


def _bench(args: argparse.Namespace) -> int:
    if args.no_lava:
        refuse_unused(args, "with --no-lava", "python")
    if args.data is not None and len(args.data) > 1:
        refuse_unused(args, "with several corpora, of which the music alone is measured", "chip", "no_lava", "python")
    with owned_folder(args.output):  # before torch is loaded, which takes seconds
        pass
    return _benchmark(args) if args.data is not None and len(args.data) > 1 else _report(args)


def _report(args: argparse.Namespace) -> int:
    chosen = _chosen(args)
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


def _chosen(args: argparse.Namespace) -> list[str]:
    """The models that are asked for; empty: all shipped ones of the default corpus."""
    if args.only is None and args.data is None and args.models is None:
        return list(args.model)
    with waiting("loading torch"):
        from muspike.bench import benchmark, suite

    named_only = bool(args.model) and args.data is None and args.models is None
    corpora = [model.corpus for model in map(benchmark.Chosen.of, args.model)] if named_only else None
    wanted = args.data or corpora or [suite.DATA]
    found = benchmark.only(benchmark.choose(args.model, args.models, wanted), args.only)
    if not found:
        raise BadInput(
            f"bench: there is no model of {', '.join(wanted)} here; {benchmark.remedy('s-rnn', wanted[0])} trains one"
        )
    return [model.model for model in found]


def _benchmark(args: argparse.Namespace) -> int:
    with waiting("loading torch"):
        from muspike.bench.benchmark import FILES, TITLE, benchmark, notes, tables
        from muspike.tables import written

    results = benchmark(
        args.data,
        args.output,
        names=args.model,
        models=args.models,
        chosen_only=args.only,
        quick=args.quick,
        seeds=args.seeds or [0],
        resume=args.resume,
        cluster=args.cluster,
    )
    files = f"{TITLE}: {', '.join(str(args.output / file) for file in FILES)}"
    if args.json:
        say_json(results)
        print(files, file=sys.stderr)
    else:
        say("\n".join([written(tables(results), "table"), "", *notes(results), "", files]))
    return 0
