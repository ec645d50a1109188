"""`measure`: what a network takes on this machine, in time and, where a counter can be read, in joules."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from muspike.cli.options import Commands, add_json, add_model, add_seed, named, number, path, refuse_unused, whole
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput
from muspike.ranges import WINDOW_S, WINDOWS
from muspike.ranges import whole as whole_range


def add(commands: Commands) -> None:
    """Add the command."""
    measure = commands.add(
        "measure",
        _measure,
        "Measure what a model takes on this machine, in several forms, at batch 1 and at the best batch. Only models "
        "are measured: what runs is a network that reads and composes music, not a NIR file or a chip's program.",
        "muspike measure s-rnn --on cpu --quick -o measured/s-rnn.json",
    )
    add_model(measure)
    measure.add_argument("--on", choices=("cpu", "cuda"), default="cpu", help="what is measured (default: cpu)")
    measure.add_argument(
        "--what",
        metavar="FORM,...",
        type=_forms,
        help="forms of the network: eager, compiled, onnx, onnx-int8; forms of its twin, which does not spike: "
        "twin-float, twin-compiled, twin-onnx, twin-half, twin-int8 (default: all that run there)",
    )
    measure.add_argument("--runs", type=whole(WINDOWS), help="windows of each form and batch (default: 5)")
    measure.add_argument(
        "--window-s", type=number(WINDOW_S), help="least seconds of a window, 0.05 to 3600 (default: 5)"
    )
    measure.add_argument("--threads", type=whole(whole_range(1, 1024)), help="threads on the CPU (default: all cores)")
    measure.add_argument(
        "--largest-batch", type=whole(whole_range(1, 2**20)), help="largest batch to try (default: 1024; cuda: 65536)"
    )
    measure.add_argument("--twin", metavar="MODEL", type=named, help="a trained twin (default: an untrained one)")
    measure.add_argument(
        "--quick", action="store_true", help="windows of 1 s and batches up to 64: time only, in some minutes"
    )
    measure.add_argument(
        "-o", "--output", metavar="FILE.json", type=path, help="keep every window; go on if it is there"
    )
    add_seed(measure, "seed of the order of the windows (default: 0)")
    add_json(measure, "the record with its figures")


def _forms(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names with commas between them")
    return names


def _measure(args: argparse.Namespace) -> int:
    if args.quick:
        refuse_unused(args, "with --quick", "runs", "window_s", "largest_batch")
    if args.output is not None and args.output.suffix != ".json":
        raise BadInput(f"{args.output}: a recorded measurement ends in .json")
    with waiting("loading torch"):
        from muspike.bench import machines
        from muspike.checkpoint import load_model
        from muspike.hardware.meter.counters import TimeOnly
        from muspike.hardware.meter.windows import Settings
        from muspike.model_folder import NETWORKS

    if not Path(args.model).is_dir() and (what := NETWORKS.get(Path(args.model).suffix)):
        raise BadInput(
            f"{args.model}: is {what}; muspike measure takes models only (a folder, or one of muspike models); "
            f"muspike profile {args.model} says what it costs on a chip"
        )
    model = load_model(args.model)
    twin = None if args.twin is None else load_model(args.twin)
    meter = machines.meter_of(args.on)
    refused = ""
    if isinstance(meter, TimeOnly):
        note(f"time only: {meter.why}")
        refused = meter.why if meter.refused else ""
    elif args.quick:
        meter = TimeOnly(f"--quick has windows that are too short for the {meter.name}")
        note(f"time only: {meter.why}")
    settings = machines.QUICK if args.quick else Settings(runs=args.runs or 5, window_s=args.window_s or 5.0)
    record = machines.measure_network(
        model,
        args.model,
        args.on,
        meter,
        what=args.what,
        settings=replace(settings, seed=args.seed),
        threads=args.threads,
        most_batch=machines.QUICK_MOST_BATCH if args.quick else args.largest_batch,
        look_s=machines.QUICK_LOOK_S if args.quick else machines.LOOK_S,
        path=args.output,
        twin=twin,
        told=lambda line: print(line, file=sys.stderr, flush=True),
    )
    if args.json:
        say_json(record.to_json() | {"figures": _figures(record)})
    else:
        table = machines.table(record)
        say("\n".join((table.caption, "", *table.lines(), "", *machines.remarks(record))))
    # A counter that is there and refuses is not what was asked for, even though the times are.
    return BadInput.exit_status if refused and args.on == "cuda" else 0


def _figures(record: Any) -> list[dict[str, Any]]:
    rows = []
    for entry in record.entries:
        found = record.measured(entry)
        row: dict[str, Any] = {"form": entry.form, "batch": entry.batch, "role": entry.role}
        if found is not None:
            row |= {
                "seconds_per_word": vars(found.time),
                "words_per_second": vars(found.rate),
                "cpu_seconds_per_word": vars(found.cpu_time),
                "joules_per_word": found.energy and vars(found.energy),
                "joules_per_word_above_idle": found.energy_above_idle and vars(found.energy_above_idle),
                "seconds_per_call": {str(q): value for q, value in found.call_s.items()},
                "idle_drift_w": found.drift_w,
                "doubts": list(found.doubts),
            }
        rows.append(row)
    return rows
