"""The command line. Exit status 0: done; 1: it failed; 2: bad use or bad input. Errors are one line on stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from muspike import __version__
from muspike.errors import BadInput, MuspikeError

CHIPS = ("loihi1", "loihi2")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise BadInput(f"{self.prog}: {message} (see {self.prog} --help)")


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
    train.add_argument("architecture", help="the architecture, such as s-rnn")
    train.add_argument("--data", default="jsb", help="the data set (default: jsb)")
    train.add_argument("--preset", default="small", help="network and training settings (default: small)")
    train.add_argument(
        "-o", "--output", type=Path, help="folder of the run (default: runs/ARCHITECTURE-DATA-PRESET-SEED)"
    )
    train.add_argument("--seed", type=_whole(0), default=0)
    train.add_argument("--steps", type=_whole(1), help="at most so many steps, instead of the preset's")
    train.add_argument("--json", action="store_true", help="print the result as JSON")

    generate = command(
        "generate",
        _generate,
        "Compose pieces with a trained model.",
        "muspike generate s-rnn -n 16 --length 128 -o pieces --seed 0",
    )
    _add_model(generate)
    generate.add_argument("-n", "--pieces", type=_whole(1), default=4, help="how many (default: 4)")
    generate.add_argument("--length", type=_whole(4), default=128, help="compound words per piece (default: 128)")
    generate.add_argument("-o", "--output", type=Path, required=True, help="folder for the MIDI files")
    generate.add_argument("--seed", type=_whole(0), default=0, help="the same seed gives the same files")
    generate.add_argument("--temperature", type=_positive, default=1.0, help="below 1: safer choices (default: 1)")
    generate.add_argument(
        "--top-p", type=_share, default=0.95, help="choose among the likeliest of this mass (default: 0.95)"
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
    export.add_argument("--tokens", type=_whole(1), default=16, help="compound words to compare on (default: 16)")
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
    bench.add_argument("--seed", type=_whole(0), default=0)
    bench.add_argument("--json", action="store_true", help="print bench.json as well")

    models = command("models", _models, "List the models that come with muspike.", "muspike models")
    models.add_argument("--json", action="store_true", help="print the list as JSON")
    return parser


def _add_model(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("model", metavar="MODEL", help="a model folder, or a shipped model (see muspike models)")


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least or int(text) >= 2**63:
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of at least {least}")
        return int(text)

    return parse


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number above 0")
    return value


def _share(text: str) -> float:
    value = _positive(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be at most 1")
    return value


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1))


def _train(args: argparse.Namespace) -> int:
    import dataclasses

    from tqdm import tqdm

    from muspike import architectures, corpora, training

    preset = architectures.preset(args.architecture, args.preset)
    settings = architectures.configured(
        training.Settings, preset["training"], f"preset {args.preset} of {args.architecture}, [training]"
    )
    settings = dataclasses.replace(settings, seed=args.seed, steps=args.steps or settings.steps)
    folder = args.output or Path("runs", f"{args.architecture}-{args.data}-{args.preset}-{args.seed}")
    corpus = corpora.load(args.data)
    run = training.Run(folder, args.architecture, preset["network"], settings, corpus)
    best = run.progress.best_bits
    with tqdm(total=settings.steps, initial=run.progress.step, unit="step", disable=None) as bar:

        def report(step: int, bits: float, validated: float | None) -> None:
            nonlocal best
            bar.update(step - bar.n)
            if validated is not None:
                best = min(best, validated)
                line = f"step {step}: training {bits:.3f}, validation {validated:.3f}, best {best:.3f} bits per note"
                bar.write(line, file=sys.stderr)

        try:
            model = run.train(report)
        except KeyboardInterrupt:
            raise SystemExit(
                f"stopped at step {run.progress.step}; the same command goes on from the last state"
            ) from None
    result = {"model": str(run.model_folder), "steps": run.progress.step, "step": model.training["step"]}
    result["validation_bits_per_note"] = model.training["validation_bits_per_note"]
    if args.json:
        _print_json(result)
    else:
        bits = result["validation_bits_per_note"]
        print(f"{run.model_folder}: {bits:.3f} bits per note on validation (step {result['step']})")
    return 0


def _generate(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model
    from muspike.export.loihi import ChipRunner, compile_model
    from muspike.generation import Sampling, generate, write_pieces
    from muspike.network import TorchRunner

    model = load_model(args.model)
    chip = "loihi1" if args.on == "loihi" else args.on
    sampling = Sampling(temperature=args.temperature, top_p=args.top_p)
    runner = TorchRunner(model.network) if chip == "torch" else ChipRunner(compile_model(model, chip).program)
    pieces = generate(runner, args.pieces, args.length, args.seed, sampling, progress=True)
    files = write_pieces(pieces, args.output)
    if args.json:
        _print_json({"on": chip, "seed": args.seed, "files": [str(f) for f in files]})
    else:
        print(
            f"{len(files)} pieces in {args.output}: {files[0].name} ... {files[-1].name}"
            if len(files) > 1
            else files[0]
        )
    return 0


def _export(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model
    from muspike.export import verify

    model = load_model(args.model)
    name = Path(args.model).name
    if args.to == "nir":
        proof = verify.export_nir(model, args.output or Path(f"{name}.nir"), args.tokens)
    else:
        output = args.output or Path(f"{name}-{args.chip}.npz")
        proof = verify.export_lava(model, output, args.chip, args.tokens, args.python)
    if args.json:
        _print_json(proof.to_dict())
    else:
        print(proof.table())
    return 0 if proof.holds else 1


def _lava(args: argparse.Namespace) -> int:
    from muspike.export import lava

    report = lava.environment_report(args.python)
    if args.json:
        _print_json(report)
    else:
        for key, value in report.items():
            print(f"{key}: {value}")
    return 0


def _bench(args: argparse.Namespace) -> int:
    from muspike.bench.suite import bench

    results, page = bench(
        args.model, args.output, quick=args.quick, with_lava=not args.no_lava, python=args.python, seed=args.seed
    )
    if args.json:
        _print_json(results)
    print(f"report: {page}", file=sys.stderr if args.json else sys.stdout)
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
                "steps": model.training["step"],
            }
        )
    if args.json:
        _print_json(rows)
    else:
        print(f"{'model':<14}{'data':<6}{'parameters':>11}{'bits per note':>15}{'steps':>7}")
        for row in rows:
            bits = row["validation_bits_per_note"]
            print(f"{row['name']:<14}{row['corpus']:<6}{row['parameters']:>11,}{bits:>15.3f}{row['steps']:>7}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit status. Without `argv`, the process's own arguments."""
    try:
        args = _parser().parse_args(argv)
        return int(args.run(args))
    except MuspikeError as error:
        print(f"muspike: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # The reader of our output went away (`muspike ... | head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"muspike: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("muspike: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
