"""`generate` and `metrics`: compose pieces with a model, and measure pieces."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from muspike.ranges import BARS, BIAS, LENGTH, MOST_WORDS, PIECES, TEMPERATURE, TOP_P, TRACK

if TYPE_CHECKING:
    from muspike.generation import Sampling
    from muspike.host import Runner
    from muspike.midi import Score
    from muspike.tokens import Words

_MOST_SECONDS = 600.0
"""The most seconds of a piece that become sound."""


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
        "--length",
        type=whole(LENGTH),
        help="the most compound words of a piece, those of a prompt included (default: 512; with --melody as many as "
        "the pieces take)",
    )
    generate.add_argument(
        "--prompt", metavar="FILE", type=path, help="a MIDI file that the pieces begin with and go on from"
    )
    generate.add_argument(
        "--bars",
        type=whole(BARS),
        help="how many bars of the prompt, a pickup being one (default: all)",
    )
    generate.add_argument(
        "--melody",
        metavar="FILE",
        type=path,
        help="a MIDI file; its highest voice is the highest voice of the pieces, and the model composes the others",
    )
    generate.add_argument(
        "--track",
        type=whole(TRACK),
        help="the track that is the melody, from 0 (default: the highest notes of all tracks)",
    )
    generate.add_argument(
        "--label",
        metavar="NAME=VALUE",
        action="append",
        type=_label,
        help="a label of the pieces, such as emotion=Q1, for a model that was trained with --labels; may be repeated",
    )
    folder(generate, "folder for the MIDI files")
    add_seed(generate, "the same seed gives the same files")
    generate.add_argument(
        "--temperature",
        type=number(TEMPERATURE),
        default=0.9,
        help="below 1: safer choices of pitches, lengths and so on (default: 0.9)",
    )
    generate.add_argument(
        "--top-p",
        type=number(TOP_P),
        default=0.8,
        help="keep the likeliest values that make up this share (default: 0.8)",
    )
    generate.add_argument(
        "--end-bias",
        type=number(BIAS),
        default=5.0,
        help="is added to the logit of the end of a piece at --length words, and a share of it before; 0: the network "
        "alone decides (default: 5)",
    )
    generate.add_argument(
        "--parallels-bias",
        type=number(BIAS),
        default=-2.0,
        help="is added to the logits of pitches that make parallel fifths or octaves; 0: the network alone decides "
        "(default: -2)",
    )
    add_chip(
        generate,
        None,
        "what computes the network: torch (default), or the integer network of a chip (loihi is loihi1)",
        flag="--on",
    )
    generate.add_argument(
        "--audio",
        action="store_true",
        help="also write each piece as sound, an MP3 beside the MIDI file (the extra audio)",
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
    if args.prompt and args.melody:
        raise BadInput("--melody is not used with --prompt; leave one of them out")
    if not args.prompt:
        refuse_unused(args, "without --prompt", "bars")
    if not args.melody:
        refuse_unused(args, "without --melody", "track")
    # The folder is checked first, and owned to the end. The rest takes time already when it is imported.
    with owned_folder(args.output) as folder:
        from muspike.generation import Sampling, ended_by_itself, generate_files, piece_files
        from muspike.host import labels_of

        piece_files(folder, args.pieces)
        sampling = Sampling(
            temperature=args.temperature,
            top_p=args.top_p,
            end_bias=args.end_bias,
            parallels_bias=args.parallels_bias,
        )
        mp3 = _sound() if args.audio else None
        given = _given(args, sampling)
        labels = _labels(args)
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
            model.network.labels.row(labels, str(args.model))  # before the network is put on a chip
            with waiting(f"putting the network on {on}"):
                runner = model.network.runner() if chip is None else ChipRunner(compile_model(model, chip).program)
        known = labels_of(runner)
        known.row(labels, str(args.model))
        lengths, by_itself = list[int](), list[bool]()

        def told(words: Words) -> None:
            lengths.append(len(words))
            by_itself.append(ended_by_itself(words, given.length, sampling))

        files = generate_files(
            runner,
            folder,
            args.pieces,
            given.length,
            args.seed,
            sampling,
            progress=True,
            told=told,
            prompt=given.prompt,
            melody=given.melody,
            mp3=mp3,
            labels=labels,
        )
    if args.json:
        more: dict[str, object] = {} if chip is None else {"chip_warnings": list(chip.warnings)}
        if given.prompt is not None:
            more |= {"prompt": str(args.prompt), "prompt_words": len(given.prompt)}
        if given.melody is not None:
            more["melody"] = str(args.melody)
        else:
            more["ended_by_itself"] = by_itself
        if known:
            more["labels"] = {name: labels.get(name) for name in known.names}
        if args.audio:
            more["audio"] = [str(file.with_suffix(".mp3")) for file in files]
        say_json(
            {
                "on": on if chip is None else chip.name,
                "seed": args.seed,
                "files": [str(f) for f in files],
                "words": lengths,
                **more,
            }
        )
    else:
        several = f"{len(files)} pieces in {args.output}: {files[0].name} ... {files[-1].name}"
        say(several if len(files) > 1 else str(files[0]))
        if known:
            heard = [f"{name} {labels[name]}" for name in known.names if name in labels]
            could = ", ".join(f"{name} ({', '.join(values)})" for name, values in known.axes if name not in labels)
            say("; ".join([*heard, f"without a value of {could}"] if could else heard))
        if given.melody is None and (ended := len(files) - sum(by_itself)):
            which = f"{ended} of them" if ended < len(files) else "all of them" if ended > 1 else "it"
            others = ", the others by themselves" if ended < len(files) else ""
            say(f"{which} ended at the limit of {given.length} words (--length){others}")
    return 0


def _label(text: str) -> tuple[str, str]:
    """A label and its value, `NAME=VALUE`."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is no label; NAME=VALUE is wanted, such as emotion=Q1")
    return name, value


def _labels(args: argparse.Namespace) -> dict[str, str]:
    """The labels of `--label`, values by name.

    Raises:
        BadInput: one has two values.
    """
    found: dict[str, str] = {}
    for name, value in args.label or ():
        if found.setdefault(name, value) != value:
            raise BadInput(f"--label {name}={value}: {name} is {found[name]} already; give one value")
    return found


class _Given(NamedTuple):
    """What the pieces are composed to, and the most words of one."""

    length: int
    prompt: Words | None = None
    melody: Words | None = None


def _given(args: argparse.Namespace, sampling: Sampling) -> _Given:
    """Read the file of `--prompt` or `--melody`, and check that it has room in `--length`."""
    file = args.prompt or args.melody
    length = 512 if args.length is None else args.length
    if file is None:
        return _Given(length)
    with waiting(f"reading {file}"):
        from muspike import midi, tokens
        from muspike.beat import on_beat
        from muspike.generation import SHORTEST, first_bars
        from muspike.melody import Melody, melody_of

        score = replace(on_beat(midi.read(file)).score, name=str(file))
        remarks = list(score.remarks)
        if args.prompt:
            prompt = first_bars(tokens.encode(score, remarks), args.bars, str(file))
        else:
            words = melody_of(score, args.track)
    for remark in remarks:
        note(f"{file}: {remark}")
    if args.prompt:
        if length < len(prompt) + SHORTEST:
            raise BadInput(
                f"{file}: the prompt has {len(prompt)} words; --length {length} must be at least "
                f"{len(prompt) + SHORTEST}, or --bars less"
            )
        return _Given(length, prompt=prompt)
    melody = Melody.of(words)
    if args.length is None:
        length = min(melody.most_words(sampling.chord), MOST_WORDS)
    melody.demand_room(length, str(file), "--length")
    return _Given(length, melody=words)


def _sound() -> Callable[[Score], bytes]:
    """What makes an MP3 of a piece.

    Raises:
        BadInput: a package for sound is missing.
    """
    from muspike.bench import audio

    if why := audio.missing():
        raise BadInput(f"--audio: {why}")
    return partial(audio.mp3, seconds=_MOST_SECONDS)


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
