"""`generate` and `metrics`: compose pieces with a model, and measure pieces."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from muspike.cli import onnx
from muspike.cli.options import (
    Commands,
    add_chip,
    add_json,
    add_model,
    add_seed,
    find_chip,
    folder,
    number,
    path,
    refuse_unused,
    whole,
)
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput
from muspike.files import owned_folder
from muspike.ranges import LENGTH, PIECES, TEMPERATURE, TOP_P

if TYPE_CHECKING:
    from muspike.host import Runner
    from muspike.tokens import Words


def add(commands: Commands) -> None:
    """Add the commands."""
    generate = commands.add(
        "generate",
        _generate,
        "Compose pieces with a trained model.",
        "muspike generate s-rnn -n 16 --length 128 -o pieces --seed 0",
    )
    add_model(generate, "; or an ONNX file written by muspike export, which needs no torch")
    generate.add_argument("-n", "--pieces", type=whole(PIECES), default=4, help="how many (default: 4)")
    generate.add_argument(
        "--length", type=whole(LENGTH), default=512, help="the most compound words of a piece (default: 512)"
    )
    folder(generate, "folder for the MIDI files")
    add_seed(generate, "the same seed gives the same files")
    generate.add_argument(
        "--temperature", type=number(TEMPERATURE), default=0.9, help="below 1: safer choices (default: 0.9)"
    )
    generate.add_argument(
        "--top-p",
        type=number(TOP_P),
        default=0.8,
        help="keep the likeliest values that make up this share (default: 0.8)",
    )
    add_chip(
        generate,
        None,
        "what computes the network: torch (default), or the integer network of a chip (loihi is loihi1)",
        flag="--on",
    )
    add_json(generate, "the files written")

    metrics = commands.add(
        "metrics",
        _metrics,
        "Objective metrics of MIDI files, and their mean. A file that cannot be measured is named, and the others are "
        "measured. Status 2: no file could be. `muspike evaluate` judges a set of pieces beside another set.",
        "muspike metrics pieces --words 128",
    )
    metrics.add_argument("files", nargs="+", metavar="FILE", type=path, help="MIDI files, or folders of them")
    metrics.add_argument(
        "--words",
        type=whole(LENGTH),
        help="measure only the first WORDS words of each file; shorter files are not measured (default: all)",
    )
    metrics.add_argument(
        "--strict", action="store_true", help="end with status 2 at the first file that cannot be measured"
    )
    add_json(metrics, "the rows")


def _generate(args: argparse.Namespace) -> int:
    # The folder is checked first, and owned to the end. The rest takes time already when it is imported.
    with owned_folder(args.output) as folder:
        from muspike.generation import Sampling, ended_by_itself, generate_files, piece_files

        piece_files(folder, args.pieces)
        sampling = Sampling(temperature=args.temperature, top_p=args.top_p)
        runner: Runner
        chip = None
        if onnx.is_onnx(args.model):
            refuse_unused(args, f"for an ONNX file ({args.model})", "on")
            on, runner = "onnxruntime", onnx.runner(Path(args.model))
        else:
            on = {None: "torch", "loihi": "loihi1"}.get(args.on, args.on)
            with waiting("loading torch"):
                from muspike.checkpoint import load_model
                from muspike.export.loihi import ChipRunner, compile_model

            chip = None if on == "torch" else find_chip(on, "torch")
            model = load_model(args.model)
            with waiting(f"putting the network on {on}"):
                runner = model.network.runner() if chip is None else ChipRunner(compile_model(model, chip).program)
        lengths, by_itself = list[int](), list[bool]()

        def told(words: Words) -> None:
            lengths.append(len(words))
            by_itself.append(ended_by_itself(words, args.length, sampling))

        files = generate_files(runner, folder, args.pieces, args.length, args.seed, sampling, progress=True, told=told)
    if args.json:
        warnings = {} if chip is None else {"chip_warnings": list(chip.warnings)}
        say_json(
            {
                "on": on if chip is None else chip.name,
                **warnings,
                "seed": args.seed,
                "files": [str(f) for f in files],
                "words": lengths,
                "ended_by_itself": by_itself,
            }
        )
    else:
        several = f"{len(files)} pieces in {args.output}: {files[0].name} ... {files[-1].name}"
        say(several if len(files) > 1 else str(files[0]))
        if ended := len(files) - sum(by_itself):
            which = f"{ended} of them" if ended < len(files) else "all of them" if ended > 1 else "it"
            others = ", the others by themselves" if ended < len(files) else ""
            say(f"{which} ended at the limit of {args.length} words (--length){others}")
    return 0


def _metrics(args: argparse.Namespace) -> int:
    with waiting("loading the metrics"):
        from muspike.metrics import METRICS
        from muspike.metrics.files import measure, midi_files
        from muspike.progress import bar
        from muspike.tables import written

    files = midi_files(args.files)
    with bar(len(files), "file") as shown:
        found = measure(files, args.words, strict=args.strict, progress=shown.advance)
    for file, remarks in zip(found.files, found.remarks, strict=True):
        if remarks:
            note(f"{file}: {'; '.join(remarks)}")
    for error in found.failed.values():
        note(error)
    if found.failed and len(files) > 1:
        note(f"{len(found.failed):,} of {len(files):,} files could not be measured")
    if not found.files:
        return BadInput.exit_status
    if args.json:
        units = {name: metric.unit for name, metric in METRICS.items()}
        say_json({"words": args.words, "units": units, **found.to_dict()})
    else:
        say(written([found.table()], "table"))
    return 0
