"""The command line. Exit status 0: done; 1: it failed; 2: bad use or bad input. Errors are one line on stderr."""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from muspike import __version__
from muspike.errors import BadInput, Failed, MuspikeError, printable
from muspike.files import check_file, check_target, make_folder

if TYPE_CHECKING:
    import torch

    from muspike import adversarial, training
    from muspike.checkpoint import Model
    from muspike.corpora import Corpus
    from muspike.hardware.graph import SpikingGraph
    from muspike.hardware.program import Program
    from muspike.hardware.running.spikes import InputSpikes
    from muspike.processes import Team

CHIPS = ("loihi1", "loihi2")
# Every random state here takes as much.
LARGEST_SEED = 2**32 - 1
# The ticks of a MIDI file are 32 bits: so many words of the longest bars still fit.
LONGEST_PIECE = 100_000
LONGEST_RUN = 2**31 - 1
RANDOM_TICKS = 100
_WORKER_HELP = """{}
needs nothing of muspike, only a Python that has lava-nc 0.10.0:
  python lava_worker.py PROGRAM.npz INPUTS.npy OUTPUT.npz [--membranes]
INPUTS.npy is uint8 [ticks, batch, size], the inputs side by side in the program's order. OUTPUT.npz holds, for the
program's population i, spikes_<i>, and v_<i> and u_<i>."""
_NO_CHANGES: Mapping[str, Any] = {}
# Arguments of `train` that an ablation leaves to the preset.
_AS_PRESET = {
    "learning_rate": None,
    "target_rate": None,
    "precision": "auto",
    "init": None,
    "quantise": None,
    "teacher": None,
}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="muspike",
        description="Train spiking music generators, put them on neuromorphic chips, and report what they cost there.",
        epilog="example: muspike generate s-rnn -n 4 --length 128 -o pieces --seed 0 --on loihi",
    )
    parser.add_argument("--version", action="version", version=f"muspike {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, run: Callable[[argparse.Namespace], int], what: str, example: str
    ) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=what, description=what, epilog=f"example: {example}")
        sub.set_defaults(run=run)
        return sub

    train = command("train", _train, "Train a generator.", "muspike train s-rnn --data jsb --preset small")
    train.add_argument(
        "architecture", help="s-cnn, s-rnn, s-lstm, s-gan, s-transformer; or ann-cnn, ...: the twin that does not spike"
    )
    train.add_argument("--data", default="jsb", help="the data set (default: jsb)")
    train.add_argument(
        "--preset", default="small", help="network and training settings: tiny, small, base or paper (default: small)"
    )
    train.add_argument(
        "-o", "--output", type=Path, help="folder of the run (default: runs/ARCHITECTURE-DATA-PRESET-SEED, and -CHIP)"
    )
    train.add_argument("--seed", type=_whole(0, LARGEST_SEED), default=0)
    train.add_argument(
        "--steps", type=_whole(1), help="at most so many, instead of the preset's; adversarial ones after a warm-up too"
    )
    train.add_argument(
        "--learning-rate", type=_above_0, help="instead of the preset's; after a warm-up only where it is lower"
    )
    train.add_argument(
        "--target-rate", type=_share, help="discourage firing rates above this many spikes per neuron and tick"
    )
    train.add_argument(
        "--init",
        metavar="MODEL",
        help="start from the weights of this model, of the same network; adversarial training then needs no warm-up",
    )
    train.add_argument(
        "--teacher",
        metavar="MODEL",
        help="learn from the distributions of this model, of any architecture, as well as from the data",
    )
    train.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA where torch sees it"
    )
    train.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of matrix products; auto: bfloat16 on CUDA where it computes that, else the preset's, float32",
    )
    train.add_argument(
        "--quantise",
        choices=CHIPS,
        help="train with the weights rounded as this chip will hold them; with --init a fine-tuning: a tenth of the "
        "preset's steps and learning rate, on a cosine schedule",
    )
    train.add_argument("--json", action="store_true", help="print the result as JSON")

    generate = command(
        "generate",
        _generate,
        "Compose pieces with a trained model.",
        "muspike generate s-rnn -n 16 --length 128 -o pieces --seed 0",
    )
    _add_model(generate)
    generate.add_argument("-n", "--pieces", type=_whole(1), default=4, help="how many (default: 4)")
    generate.add_argument(
        "--length", type=_whole(4, LONGEST_PIECE), default=128, help="compound words per piece (default: 128)"
    )
    generate.add_argument("-o", "--output", type=Path, required=True, help="folder for the MIDI files")
    generate.add_argument("--seed", type=_whole(0, LARGEST_SEED), default=0, help="the same seed gives the same files")
    generate.add_argument("--temperature", type=_temperature, default=0.9, help="below 1: safer choices (default: 0.9)")
    generate.add_argument(
        "--top-p", type=_share, default=0.8, help="choose among the likeliest of this mass (default: 0.8)"
    )
    generate.add_argument(
        "--on",
        choices=("torch", "loihi", *CHIPS),
        default="torch",
        help="what computes the network: torch, or the integer network of a chip; loihi is loihi1 (default: torch)",
    )
    generate.add_argument("--json", action="store_true", help="print the files written as JSON")

    export = command(
        "export", _export, "Write a model in another format and prove it equal.", "muspike export s-rnn --to nir"
    )
    _add_model(export)
    export.add_argument(
        "--to", choices=("nir", "lava"), required=True, help="nir: a .nir file; lava: a chip program, run in Lava"
    )
    export.add_argument("--chip", choices=CHIPS, default="loihi1", help="for lava (default: loihi1)")
    export.add_argument("-o", "--output", type=Path, help="file to write (default: MODEL.nir or MODEL-CHIP.npz)")
    export.add_argument(
        "--tokens", type=_whole(1, 10_000), default=16, help="compound words to compare on (default: 16)"
    )
    export.add_argument("--python", help="for lava: an interpreter that has it (see muspike lava --help)")
    export.add_argument("--json", action="store_true", help="print the comparison as JSON")

    lava = command(
        "lava",
        _lava,
        "Make or check the environment in which Lava runs. Lava needs packages of its own, so it lives in a virtual "
        "environment in the user's cache folder, made on first use. To use another one, name its interpreter with "
        "--python or in MUSPIKE_LAVA_PYTHON; it must have lava-nc 0.10.0.",
        "muspike lava --python ~/lava/bin/python",
    )
    lava.add_argument("--python", help="an interpreter that has Lava, instead of the environment that muspike makes")
    lava.add_argument("--json", action="store_true", help="print what was found as JSON")

    bench = command(
        "bench",
        _bench,
        "Quality, activity and cost of a model as it would be deployed, in one report.",
        "muspike bench --quick -o report",
    )
    bench.add_argument("model", nargs="*", help="model folders or shipped models (default: all shipped models)")
    bench.add_argument("-o", "--output", type=Path, required=True, help="folder for report.html and bench.json")
    bench.add_argument("--quick", action="store_true", help="fewer pieces: a few minutes")
    bench.add_argument("--no-lava", action="store_true", help="leave out the check against Lava; the report says so")
    bench.add_argument("--python", help="an interpreter that has Lava (see muspike lava --help)")
    bench.add_argument("--seed", type=_whole(0, LARGEST_SEED), default=0)
    bench.add_argument("--json", action="store_true", help="print bench.json as well")

    mapping = command(
        "map",
        _map,
        "How the network of a NIR file fits a chip, and what the chip's integers do to it. Status 1: it does not fit.",
        "muspike map network.nir --chip loihi2 --dt 0.001",
    )
    mapping.add_argument("file", metavar="FILE.nir", type=Path, help="a network written by any tool that writes NIR")
    mapping.add_argument("--chip", default="loihi1", help="loihi1, loihi2 or a chip's .toml file (default: loihi1)")
    mapping.add_argument("--dt", type=_seconds, help="seconds per tick, where the file's metadata do not say")
    _add_reset(mapping)
    mapping.add_argument(
        "--fill",
        type=_share,
        default=1.0,
        help="the share of each core's neurons and synaptic memory to use (default: 1, the fewest cores)",
    )
    _add_input(mapping, "also run the integers and the float network on it, and say how they agree")
    mapping.add_argument("-o", "--output", type=Path, help="write the chip's program to this .npz file")
    mapping.add_argument("--json", action="store_true", help="print the report as JSON")

    simulate = command(
        "simulate",
        _simulate,
        "Run a network as the integers of a chip on given spikes: every spike, what each core does, what it costs, and "
        "how it follows the float network.",
        "muspike simulate network.nir --chip loihi1 --input spikes.npz -o out.npz",
    )
    simulate.add_argument(
        "file", metavar="FILE.nir|PROGRAM.npz", type=Path, help="a network, or a program written by map or export"
    )
    _add_input(simulate, "the spikes to run on")
    simulate.add_argument("--chip", help="loihi1, loihi2 or a chip's .toml file (default: loihi1, or the program's)")
    simulate.add_argument("--dt", type=_seconds, help="seconds per tick, where a .nir file's metadata do not say")
    _add_reset(simulate)
    simulate.add_argument("--no-float", action="store_true", help="leave out the float network of a .nir file")
    simulate.add_argument(
        "--device",
        help="cuda: multiply matrices there, for large batches (it has not run on a GPU yet); cpu: the same on the "
        "CPU, where the default, which works only where there are spikes, is faster",
    )
    simulate.add_argument(
        "--picture",
        type=Path,
        help="draw the spikes of the first sequence, the float network's beside: .png, .svg, .pdf",
    )
    _add_output(simulate)
    simulate.add_argument("--json", action="store_true", help="print the result as JSON")

    run_lava = command(
        "run-lava",
        _run_lava,
        "Run a chip's program in Lava's fixed-point models and hold every spike, u and v against the simulator's. "
        "Status 1: they differ.",
        "muspike run-lava program.npz --input spikes.npz --python ~/lava/bin/python",
    )
    run_lava.add_argument(
        "program", metavar="PROGRAM.npz", type=Path, nargs="?", help="a program written by map or export"
    )
    _add_input(run_lava, "the spikes to run on")
    run_lava.add_argument("--python", help="an interpreter that has Lava (see muspike lava --help)")
    run_lava.add_argument(
        "--worker", action="store_true", help="only say where the script is that runs a program without muspike"
    )
    _add_output(run_lava)
    run_lava.add_argument("--json", action="store_true", help="print the comparison as JSON")

    metrics = command(
        "metrics",
        _metrics,
        "Objective metrics of MIDI files: a row per file and their mean.",
        "muspike metrics pieces --words 128",
    )
    metrics.add_argument("files", nargs="+", metavar="FILE", type=Path, help="MIDI files, or folders of them")
    metrics.add_argument(
        "--words", type=_whole(4, LONGEST_PIECE), help="of the first so many compound words of each (default: all)"
    )
    metrics.add_argument("--json", action="store_true", help="print the rows as JSON")

    ablate = command(
        "ablate",
        _ablate,
        "Train a network for each value of one of its settings and tabulate what the value does. Runs that were "
        "stopped are taken up.",
        "muspike ablate v_threshold --preset small",
    )
    ablate.add_argument(
        "field", metavar="SETTING", help="a number of the network's settings, such as v_threshold, width, ticks or tau"
    )
    ablate.add_argument("architecture", nargs="*", help="spiking architectures (default: s-rnn)")
    ablate.add_argument(
        "--values", nargs="+", type=_finite_number, metavar="VALUE", help="default for v_threshold: 0.3 0.5 0.7"
    )
    ablate.add_argument(
        "--init",
        metavar="MODEL",
        help="do not train: this model, whose network the values change, with its weights as they are",
    )
    ablate.add_argument("--data", default="jsb", help="the data set (default: jsb)")
    ablate.add_argument("--preset", default="small", help="network and training settings (default: small)")
    ablate.add_argument("--steps", type=_whole(1), help="at most so many, instead of the preset's")
    ablate.add_argument("--seed", type=_whole(0, LARGEST_SEED), default=0, help="of training and of composing")
    ablate.add_argument("--chip", choices=CHIPS, default="loihi2", help="that composes and is priced (default: loihi2)")
    ablate.add_argument("-n", "--pieces", type=_whole(1), default=64, help="how many to compose (default: 64)")
    ablate.add_argument(
        "-o", "--output", type=Path, default=Path("runs"), help="folder for a run per value (default: runs)"
    )
    ablate.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA where torch sees it"
    )
    ablate.add_argument("--json", action="store_true", help="print the table as JSON")

    models = command("models", _models, "List the models that come with muspike.", "muspike models")
    models.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser


def _add_reset(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reset-every",
        type=_whole(1, 2**31 - 1),
        metavar="TICKS",
        help="bring every neuron to rest after so many ticks, for samples that follow one another (default: never)",
    )


def _add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "model",
        metavar="MODEL",
        help="the folder of a model or of a training run, or a shipped model (see muspike models)",
    )


def _add_input(sub: argparse.ArgumentParser, what: str) -> None:
    given = sub.add_mutually_exclusive_group()
    given.add_argument("--input", metavar="SPIKES", type=Path, help=f"{what}: .npz, .npy or NIR data")
    given.add_argument("--random", metavar="RATE", type=_share, help="instead: so many spikes per neuron and tick")
    sub.add_argument(
        "--ticks",
        type=_whole(1, LONGEST_RUN),
        help=f"ticks of input: cut, or followed by silence (default: all of the file; {RANDOM_TICKS} at random); of a "
        "network without input, of the run",
    )
    sub.add_argument("--seed", type=_whole(0, LARGEST_SEED), default=0, help="of --random (default: 0)")


def _add_output(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("-o", "--output", type=Path, help="write spikes and readouts to this .npz file")
    sub.add_argument("--events", action="store_true", help="write spikes as events instead of dense arrays")
    sub.add_argument("--membranes", action="store_true", help="write current and membrane of every population too")


def _whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text[:20]) <= most:
            limits = f"of at least {least}" if most == 2**63 - 1 else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number {limits}")
        return int(text)

    return parse


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _finite_number(text: str) -> float:
    if not math.isfinite(value := _number(text)):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number")
    return value


def _temperature(text: str) -> float:
    # Below, logits divided by it can leave the range of a float.
    if not 0.001 <= (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of at least 0.001")
    return value


def _share(text: str) -> float:
    if not 0 < (value := _number(text)) <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0 and at most 1")
    return value


def _above_0(text: str) -> float:
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _seconds(text: str) -> float:
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds above 0")
    return value


def _say(text: str) -> None:
    """Print. A reader that has gone away (`muspike ... | head`) is no error.

    Raises:
        Failed: standard output takes no more (a full disk).
    """
    if not sys.stdout:  # closed by the caller (`>&-`)
        return
    encoding = sys.stdout.encoding
    try:
        # A file's name may hold what the terminal's encoding does not.
        print(printable(text, "\n").encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failed(f"standard output: cannot be written: {error.strerror}") from error


def _say_json(value: Any) -> None:
    _say(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    """JSON has no nan and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _train(args: argparse.Namespace) -> int:
    from muspike import processes

    device = processes.find_device(args.device)
    with processes.joined(device) as team:
        run, model = _trained(args, device, team)
    if team.rank > 0:
        return 0
    keys = ("validation_bits_per_note", "validation_firing_rate")
    result = {"model": str(run.model_folder), "steps": run.progress.step, "step": model.training["step"]}
    result |= {key: model.training.get(key) for key in keys}
    found = [point for point in run.progress.history if point.get("collapsed")]
    if check := model.training.get("check"):
        result |= {"check": check, "collapsed_validations": len(found), "validations": len(run.progress.history)}
    if args.json:
        _say_json(result)
    else:
        bits, rate = (result[key] for key in keys)
        firing = "" if rate is None else f", {rate:.4f} spikes per neuron and tick"
        (kept,) = [point for point in run.progress.history if point["step"] == result["step"]]
        also = run.told(kept) + (f"; {len(found)} of {result['validations']} validations collapsed" if check else "")
        _say(f"{run.model_folder}: {bits:.3f} bits per note{firing} on validation (step {result['step']}){also}")
    return 0


def _trained(
    args: argparse.Namespace, device: torch.device, team: Team, changed: Mapping[str, Any] = _NO_CHANGES
) -> tuple[training.Run, Model]:
    """The run that the arguments of `train` ask for, done, and its model; `changed`: settings of the network."""
    from muspike import adversarial, training
    from muspike.checkpoint import load_model
    from muspike.export.training_grid import TrainingGrid

    network, settings, against, folder, corpus, initial = team.decided(lambda: _train_inputs(args, device.type))
    network, name = {**network, **changed}, args.architecture
    grid = TrainingGrid(args.quantise) if args.quantise else None
    teacher = team.decided(lambda: load_model(args.teacher)) if args.teacher else None
    if against is None:
        run = training.Run(
            folder, name, network, settings, corpus,
            device=device, initial=initial, teacher=teacher, team=team, grid=grid,
        )  # fmt: skip
        return run, _train_shown(run)
    if initial is not None and teacher is not None:
        raise BadInput("train --teacher: teaches the likelihood warm-up alone, which --init leaves out")
    if initial is None and (folder / "state.safetensors").exists():
        # Past its warm-up: that is not trained on, whatever was asked for.
        team.decided(lambda: adversarial.refuse_without_warmup(folder))
        initial = team.decided(lambda: load_model(folder / adversarial.WARMUP / "model"))
    if initial is None:
        team.decided(lambda: adversarial.refuse_without_warmup(folder))
        warmup = training.Run(
            folder / adversarial.WARMUP, name, network, settings, corpus, device=device, teacher=teacher, team=team
        )
        initial = _train_shown(warmup, "warm-up ")
    run = adversarial.Run(folder, name, network, against, corpus, device=device, initial=initial, team=team, grid=grid)
    return run, _train_shown(run)


def _train_inputs(
    args: argparse.Namespace, device: str
) -> tuple[dict[str, Any], training.Settings, adversarial.Settings | None, Path, Corpus, Model | None]:
    """Settings of network, training and adversarial training, the run's folder, the corpus, the model to start from."""
    import dataclasses

    import torch

    from muspike import adversarial, architectures, corpora, training
    from muspike.checkpoint import load_model

    preset = architectures.preset(args.architecture, args.preset)
    where = f"preset {args.preset} of {args.architecture}"
    for table in preset:
        if table not in ("network", "training", "adversarial"):
            raise BadInput(f"{where}: unknown table [{table}]; known are [network], [training] and [adversarial]")
    settings: training.Settings = architectures.configured(
        training.Settings, preset.get("training", {}), f"{where}, [training]"
    )
    changes = {"seed": args.seed, "steps": args.steps, "learning_rate": args.learning_rate}
    if args.target_rate is not None and args.architecture.startswith("ann-"):
        raise BadInput(f"train --target-rate: {args.architecture} does not spike")
    if args.quantise and args.architecture.startswith("ann-"):
        raise BadInput(
            f"train --quantise: {args.architecture} does not spike: it cannot be trained on the grid of a chip"
        )
    if args.target_rate is not None:
        changes |= {"target_rate": args.target_rate, "rate_weight": settings.rate_weight or training.RATE_WEIGHT}
    if args.precision != "auto":
        changes["precision"] = args.precision
    elif device == "cuda" and torch.cuda.is_bf16_supported():
        changes["precision"] = "bfloat16"
    changes = {key: value for key, value in changes.items() if value is not None}
    tuning = args.init and args.quantise
    settings = dataclasses.replace(training.fine_tuning(settings) if tuning else settings, **changes)
    initial = load_model(args.init) if args.init else None
    against: adversarial.Settings | None = None
    if "adversarial" in preset:
        # The table says in what it differs from [training].
        table = preset.get("training", {}) | preset["adversarial"]
        against = architectures.configured(adversarial.Settings, table, f"{where}, [adversarial]")
        if not initial:
            # They are for the warm-up; after it they lower what the preset has.
            for key in {"steps", "learning_rate"} & set(changes):
                changes[key] = min(changes[key], getattr(against, key))
        against = dataclasses.replace(training.fine_tuning(against) if tuning else against, **changes)
    corpus = corpora.load(args.data)
    name = f"{args.architecture}-{args.data}-{args.preset}-{args.seed}"
    folder = args.output or Path("runs", f"{name}-{args.quantise}" if args.quantise else name)
    return preset.get("network", {}), settings, against, make_folder(folder), corpus, initial


def _train_shown(run: training.Run, part: str = "") -> Model:
    """Train, with a bar and a line per validation on stderr in the first process; `part` of the training is named."""
    from tqdm import tqdm

    first, steps = run.team.rank == 0, run.settings.steps
    best, kept = run.progress.best_bits, run.progress.step
    with tqdm(total=steps, initial=kept, unit="step", disable=None if first else True) as bar:

        def firing(rate: float | None) -> str:
            return "" if rate is None else f", firing rate {rate:.3f}"

        def report(step: int, bits: float, validated: float | None) -> None:
            nonlocal best, kept
            now = f"{bits:.2f} bits per note{firing(run.firing_rate)}, learning rate {run.learning_rate:.2g}"
            bar.set_postfix_str(now, refresh=False)
            bar.update(step - bar.n)
            if validated is None:
                return
            best, kept = run.progress.best_bits, step
            if first:
                left = bar.format_interval(run.progress.seconds / step * (steps - step))
                line = f"training {bits:.3f}, validation {validated:.3f}, best {best:.3f} bits per note"
                point = run.progress.history[-1]
                more = firing(point["firing_rate"]) + run.told(point)
                bar.write(f"{part}step {step}: {line}{more}; {left} left at most", file=sys.stderr)

        try:
            return run.train(report)
        except KeyboardInterrupt as stop:
            raise type(stop)(
                f"stopped at {part}step {run.progress.step}; the same command goes on from step {kept}"
            ) from None


def _generate(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model
    from muspike.export.loihi import ChipRunner, compile_model
    from muspike.generation import Sampling, generate, piece_files, write_pieces

    model = load_model(args.model)
    chip = "loihi1" if args.on == "loihi" else args.on
    sampling = Sampling(temperature=args.temperature, top_p=args.top_p)
    runner = model.network.runner() if chip == "torch" else ChipRunner(compile_model(model, chip).program)
    make_folder(args.output)
    piece_files(args.output, args.pieces)  # refuse before the work, not after
    pieces = generate(runner, args.pieces, args.length, args.seed, sampling, progress=True)
    files = write_pieces(pieces, args.output)
    if args.json:
        _say_json({"on": chip, "seed": args.seed, "files": [str(f) for f in files]})
    else:
        several = f"{len(files)} pieces in {args.output}: {files[0].name} ... {files[-1].name}"
        _say(several if len(files) > 1 else str(files[0]))
    return 0


def _export(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model
    from muspike.export import verify

    model = load_model(args.model)
    folder = Path(args.model).resolve()
    name = folder.parent.name if folder.name == "model" else folder.name
    if args.to == "nir":
        proof = verify.export_nir(model, args.output or Path(f"{name}.nir"), args.tokens)
    else:
        output = args.output or Path(f"{name}-{args.chip}.npz")
        proof = verify.export_lava(model, output, args.chip, args.tokens, args.python)
    if args.json:
        _say_json(proof.to_dict())
    else:
        _say(proof.table())
    return 0 if proof.holds else 1


def _lava(args: argparse.Namespace) -> int:
    from muspike.export import lava_runner

    lava_runner.find_lava_python(args.python)
    report = lava_runner.environment_report(args.python)
    if args.json:
        _say_json(report)
    else:
        _say("\n".join(f"{key}: {value}" for key, value in report.items()))
    return 1 if "error" in report else 0


def _bench(args: argparse.Namespace) -> int:
    from muspike.bench.suite import bench

    results, page = bench(
        args.model,
        args.output,
        quick=args.quick,
        with_lava=not args.no_lava,
        python=args.python,
        seed=args.seed,
    )
    if args.json:
        _say_json(results)
        print(f"report: {page}", file=sys.stderr)
    else:
        _say(f"report: {page}")
    return 0


def _map(args: argparse.Namespace) -> int:
    from muspike.hardware.chip import load_chip
    from muspike.hardware.mapping.compile import compile_graph
    from muspike.hardware.running.report import mapping, mapping_text
    from muspike.hardware.running.simulate import agreement_lines, input_shapes, simulate

    _check_npz(args.output, "a chip program")
    chip = load_chip(args.chip)
    graph = _network(args.file, args.dt)
    given = None
    if args.input or args.random:
        given = _spikes(args, input_shapes(graph), graph.dt_s)
    elif args.ticks:
        raise BadInput("map: --ticks is about spikes, and there is neither --input nor --random")
    with _about(args.file):
        compiled = compile_graph(graph, chip, must_fit=False, fill=args.fill, reset_every=args.reset_every)
        run = None
        if given:
            with _ticks_bar(compiled.program, given.ticks, graph) as progress:
                run = simulate(
                    compiled.program, given.spikes, graph=graph, reset_every=args.reset_every, progress=progress
                )
    agreements = run.agreements if run else None
    if args.json:
        more = {} if agreements is None else {"agreement": [row.to_dict() for row in agreements]}
        _say_json({"file": str(args.file), **mapping(compiled), **more})
    else:
        lines = [] if agreements is None else ["", *agreement_lines(agreements)]
        _say("\n".join([f"{args.file} on {mapping_text(compiled)}", *lines]))
    if not compiled.use.fits:
        raise Failed(f"{args.file}: does not fit {chip.name}: {compiled.use.problems[0]}")
    if args.output:
        compiled.program.save(args.output)
    return 0


def _simulate(args: argparse.Namespace) -> int:
    from muspike.hardware.chip import load_chip
    from muspike.hardware.mapping.compile import compile_graph
    from muspike.hardware.program import Program
    from muspike.hardware.running.raster import check_picture, write_raster
    from muspike.hardware.running.simulate import arrays, input_shapes, simulate, simulation_dict, simulation_text
    from muspike.hardware.running.spikes import write_spikes

    _check_outputs(args)
    if args.picture:
        check_picture(args.picture)
        check_target(args.picture)
    graph, misfit, risks = None, None, None
    if _is_program(args.file):
        for name, given in (("--dt", args.dt), ("--reset-every", args.reset_every)):
            if given is not None:
                raise BadInput(f"{args.file}: is a program, which has its {name[2:]} in it; leave out {name}")
        program = Program.load(args.file)
        with _about(args.file):
            chip = load_chip(args.chip or program.chip)
        if chip.name != program.chip:
            raise BadInput(f"{args.file}: is a program for {program.chip}, not for {chip.name}")
    else:
        chip = load_chip(args.chip or "loihi1")
        graph = _network(args.file, args.dt)
        with _about(args.file):
            compiled = compile_graph(graph, chip, must_fit=False, reset_every=args.reset_every)
        program = compiled.program
        misfit = next((f"does not fit {chip.name}: {problem}" for problem in compiled.use.problems), None)
        # Those of the run first: the ones of quantisation are many, and `map` shows them beside what they come from.
        risks = tuple(sorted(compiled.risks, key=set(compiled.quantisation.risks).__contains__))
    given = _spikes(args, input_shapes(graph or program), program.dt_s)
    beside = None if args.no_float else graph
    with _about(args.file), _ticks_bar(program, given.ticks, beside) as progress:
        found = simulate(
            program,
            given.spikes,
            chip,
            graph=beside,
            ticks=given.ticks,
            misfit=misfit,
            risks=risks,
            record_membranes=args.membranes,
            reset_every=args.reset_every,
            device=args.device,
            progress=progress,
        )
    if args.output:
        more = arrays(program, found.membranes, found.currents, args.membranes)
        write_spikes(args.output, found.spikes, args.events, program.dt_s, more)
    if args.picture:
        write_raster(found, args.picture)
    if args.json:
        _say_json({"file": str(args.file), "notes": list(given.notes), **simulation_dict(found)})
    else:
        _say(f"{args.file} on {simulation_text(found)}")
    return 0


def _run_lava(args: argparse.Namespace) -> int:
    import dataclasses

    from muspike.export import lava_runner
    from muspike.hardware.program import Program
    from muspike.hardware.running.report import table
    from muspike.hardware.running.simulate import arrays, delayed, input_shapes
    from muspike.hardware.running.spikes import write_spikes
    from muspike.hardware.simulator.events import as_inputs

    if args.worker:
        _say(_WORKER_HELP.format(Path(lava_runner.__file__).with_name("lava_worker.py")))
        return 0
    if args.program is None:
        raise BadInput("run-lava: a PROGRAM.npz is needed (see muspike run-lava --help)")
    _check_outputs(args)
    program = Program.load(args.program)
    read = _spikes(args, input_shapes(program), program.dt_s)
    given = delayed(program, read.spikes, read.ticks)
    rows, run = lava_runner.verify(program, given, args.python)
    if args.output:
        lif = [p.name for p in program.populations if p.kind == "lif"]
        spikes = as_inputs(program, read.batch, given)[1] | {name: run.spikes[name] for name in lif}
        more = arrays(program, run.membrane, run.current, args.membranes)
        write_spikes(args.output, spikes, args.events, program.dt_s, more)
    equal = all(row.exact for row in rows)
    if args.json:
        told = {"equal": equal, "seconds_per_tick": run.seconds_per_tick, "versions": dict(run.versions)}
        _say_json({"file": str(args.program), **told, "populations": [dataclasses.asdict(row) for row in rows]})
    else:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        titles = ("population", "neuron-ticks", "spikes", "different spikes", "different u or v", "first at tick")
        cells = [dataclasses.astuple(row) for row in rows]
        lines = table(titles, [[name, *("–" if n is None else f"{n:,}" for n in numbers)] for name, *numbers in cells])
        _say("\n".join([f"{args.program}: the simulator against Lava ({versions})", *lines]))
        _say("equal in every spike, u and v" if equal else "NOT EQUAL")
    return 0 if equal else 1


@contextlib.contextmanager
def _ticks_bar(program: Program, ticks: int, graph: SpikingGraph | None) -> Iterator[Callable[[int], object]]:
    """A bar on stderr over the ticks of a chip's run on `ticks` of input, and of the float network's beside it."""
    from tqdm import tqdm

    from muspike.hardware.running.simulate import deepest

    total = ticks + deepest(program) + (ticks if graph else 0)
    with tqdm(unit="tick", total=total, disable=None, leave=False) as bar:
        yield bar.update


def _check_npz(output: Path | None, what: str) -> None:
    if output and output.suffix != ".npz":
        raise BadInput(f"{output}: {what} ends in .npz")
    if output:
        check_target(output)


def _check_outputs(args: argparse.Namespace) -> None:
    if not args.output and (args.events or args.membranes):
        raise BadInput(f"{'--events' if args.events else '--membranes'} is about what -o writes; there is no -o")
    _check_npz(args.output, "a file of spikes")


@contextlib.contextmanager
def _about(file: Path) -> Iterator[None]:
    """Names the file in what is wrong with its content."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def _network(file: Path, dt_s: float | None) -> SpikingGraph:
    from muspike.hardware.reader.file import read_nir
    from muspike.hardware.reader.from_nir import from_nir

    graph = read_nir(file)
    with _about(file):
        return from_nir(graph, dt_s)


def _is_program(file: Path) -> bool:
    """By its first bytes, or where it has none its name."""
    check_file(file)
    with file.open("rb") as opened:
        first = opened.read(2)
    return first == b"PK" or (not first and file.suffix == ".npz")


def _spikes(args: argparse.Namespace, shapes: Mapping[str, Sequence[int]], dt_s: float) -> InputSpikes:
    """What --input or --random gives the inputs of these shapes, or --ticks where there are none; notes to stderr."""
    from muspike.hardware.running.spikes import InputSpikes, random_spikes, read_spikes

    if not shapes and args.input is None and not args.random:
        if not args.ticks:
            raise BadInput("the network has no input; --ticks says how long it is to run")
        return InputSpikes(args.ticks, 1, {})
    if args.random:
        return random_spikes(shapes, args.random, args.ticks or RANDOM_TICKS, args.seed)
    if args.input is None:
        raise BadInput("no spikes: give --input SPIKES, or --random RATE")
    given = read_spikes(args.input, shapes, dt_s, args.ticks)
    for note in given.notes:
        print(f"muspike: {args.input}: {note}", file=sys.stderr)
    return given


def _metrics(args: argparse.Namespace) -> int:
    from muspike.metrics.files import evaluate_files, midi_files, table

    rows = evaluate_files(midi_files(args.files), args.words)
    if args.json:
        _say_json({"words": args.words, **rows})
    else:
        _say(table(rows))
    return 0


def _ablate(args: argparse.Namespace) -> int:
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise BadInput("ablate: runs in one process; start it without torchrun")
    from muspike import architectures, corpora, processes
    from muspike.bench.ablation import DEFAULT_VALUES, Variant, ablate, table, variants
    from muspike.checkpoint import load_model

    values = args.values or DEFAULT_VALUES.get(args.field)
    if not values:
        raise BadInput(f"ablate {args.field}: has no default values; give some, such as --values 1 2 4")
    if args.init:
        if args.architecture or args.steps:
            raise BadInput("ablate: --init trains nothing; leave out architectures and --steps")
        initial = load_model(args.init)
        found = variants(initial.architecture, initial.settings, args.field, values)

        def model_of(variant: Variant) -> Model:
            return variant.with_weights_of(initial)
    else:
        device = processes.find_device(args.device)
        found = []
        for name in dict.fromkeys(args.architecture or ["s-rnn"]):
            network = architectures.preset(name, args.preset).get("network", {})
            found += variants(name, network, args.field, values)

        def model_of(variant: Variant) -> Model:
            asked = argparse.Namespace(**vars(args) | _AS_PRESET)
            asked.architecture = variant.architecture
            run = f"{variant.architecture}-{args.data}-{args.preset}-{args.seed}-{variant.name}"
            asked.output = args.output / run
            with processes.joined(device) as team:
                return _trained(asked, device, team, {args.field: variant.network[args.field]})[1]

    results = ablate(found, model_of, corpora.load(args.data), args.chip, args.pieces, args.seed)
    about = {"preset": None if args.init else args.preset, "initial": args.init}
    if args.json:
        _say_json(about | results)
    else:
        _say(table(results))
    return 0


def _models(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model, shipped_models

    rows = []
    for name in shipped_models():
        model = load_model(name)
        rows.append(
            {
                "name": name,
                "architecture": model.architecture,
                "corpus": model.training["corpus"],
                "parameters": sum(p.numel() for p in model.network.parameters()),
                "validation_bits_per_note": model.training["validation_bits_per_note"],
                "validation_firing_rate": model.training.get("validation_firing_rate"),
                "steps": model.steps,
            }
        )
    if args.json:
        _say_json(rows)
    else:
        lines = [f"{'model':<18}{'data':<6}{'parameters':>11}{'bits per note':>15}{'firing rate':>13}{'steps':>7}"]
        for row in rows:
            bits, rate = row["validation_bits_per_note"], row["validation_firing_rate"]
            about = f"{row['name']:<18}{row['corpus']:<6}{row['parameters']:>11,}"
            firing = "-" if rate is None else f"{rate:.3f}"
            lines.append(f"{about}{bits:>15.3f}{firing:>13}{row['steps']:>7}")
        _say("\n".join(lines))
    return 0


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: nothing half-written is left."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    def stop(*_: object) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # where Python takes no signals
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(what: object, status: int) -> int:
    line = printable(" ".join(str(what).split()))
    with contextlib.suppress(OSError):  # when stderr takes nothing, the exit status still tells
        print(f"muspike: {line}", file=sys.stderr)
    return status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Without `argv`, the process's own arguments."""
    if sys.stderr is None:  # closed by the caller (`2>&-`)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # as long as the process
    with _terminable():
        try:
            args = _parser().parse_args(argv)
            return int(args.run(args))
        except MuspikeError as error:
            return _complain(error, error.exit_status)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return _complain(f"{where}{error.strerror or error}", 1)
        except MemoryError as error:
            return _complain(f"out of memory: {error}", 1)
        except KeyboardInterrupt as stop:
            # 128 + the signal's number, as shells report it.
            return _complain(str(stop) or "interrupted", 143 if isinstance(stop, _Terminated) else 130)


if __name__ == "__main__":
    sys.exit(main())
