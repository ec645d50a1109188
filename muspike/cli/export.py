"""`export` and `lava`: write a model in another format and prove it equal; make the environment in which Lava runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from muspike.cli.given import PYTHON_HELP, add_python, python_file, read_module
from muspike.cli.options import (
    Commands,
    add_json,
    add_lava_python,
    add_model,
    find_chip,
    named,
    path,
    refuse_unused,
    seconds,
    whole,
)
from muspike.cli.output import say, say_json, waiting
from muspike.files import check_target
from muspike.ranges import whole as whole_numbers


def add(commands: Commands) -> None:
    """Add the commands."""
    from muspike.export.targets import TARGETS

    export = commands.add(
        "export", _export, "Write a model in another format and prove it equal.", "muspike export s-rnn --to nir"
    )
    files = "; or a .nir file of any tool, a .net of lava-dl, a chip program (.npz), or FILE.py:FUNCTION, "
    add_model(export, files + PYTHON_HELP)
    add_python(export)
    export.add_argument(
        "--to",
        choices=tuple(TARGETS),
        required=True,
        help="; ".join(f"{name}: {target.what} ({target.suffix})" for name, target in TARGETS.items()),
    )
    export.add_argument(
        "-o",
        "--output",
        type=path,
        help="file to write (default: MODEL, or MODEL-CHIP, with the target's ending)",
    )
    export.add_argument(
        "--tokens",
        type=whole(whole_numbers(1, 10_000)),
        default=16,
        help="compound words to compare on, or 4 ticks for each of a network that reads none (default: 16)",
    )
    export.add_argument("--dt", type=seconds, help="seconds per tick of a .nir or .net file that does not say them")
    for name in _options():
        takers = {to: target.options[name] for to, target in TARGETS.items() if name in target.options}
        told = [f"{to} (default: {option.default})" if option.default else to for to, option in takers.items()]
        what = next(iter(takers.values())).what
        export.add_argument(f"--{name}", metavar=name.upper(), type=named, help=f"for {', '.join(told)}: {what}")
    add_json(export, "the comparison")

    verify = commands.add(
        "verify",
        _verify,
        "Prove an exported file again, from the file and the .expected.npz beside it: nothing was changed, and what "
        "runs the file here gives every spike that is expected. Status 1: it differs.",
        "muspike verify s-rnn.onnx",
    )
    verify.add_argument("file", metavar="FILE", type=path, help="a file written by muspike export")
    add_lava_python(verify)
    add_json(verify, "the comparison")

    targets = commands.add(
        "targets",
        _targets,
        "Export networks to every target, and say for each pair whether it is proved, or refused and why. Nothing is "
        "kept. What runs the files of other tools is installed on first use, in environments of its own, if --to names "
        "none that is at hand. Status 1: a file is not equal to its network, or what runs it is missing or stopped.",
        "muspike targets s-rnn --to onnx",
    )
    targets.add_argument(
        "models",
        metavar="MODEL",
        nargs="*",
        type=named,
        help="models and files, as for export (default: the models that come with muspike)",
    )
    targets.add_argument("--to", action="append", choices=tuple(TARGETS), help="only this target; may be repeated")
    add_json(targets, "the cells")

    lava = commands.add(
        "lava",
        _lava,
        "Make or check the environment in which Lava runs. Lava needs packages of its own, so it lives in a virtual "
        "environment in the user's cache folder, made on first use. To use another one, name its interpreter with "
        "--python or in MUSPIKE_LAVA_PYTHON. The interpreter needs lava-nc 0.10.0.",
        "muspike lava --python ~/lava/bin/python",
    )
    lava.add_argument(
        "--python", type=named, help="an interpreter that has Lava, instead of the environment that muspike makes"
    )
    add_json(lava, "what was found")


def _options() -> list[str]:
    """The options that any target takes."""
    from muspike.export.targets import TARGETS

    return list(dict.fromkeys(name for target in TARGETS.values() for name in target.options))


def _export(args: argparse.Namespace) -> int:
    from muspike.export.targets import TARGETS

    target = TARGETS[args.to]
    for name in _options():
        if name not in target.options:
            takers = ", ".join(f"--to {to}" for to, other in TARGETS.items() if name in other.options)
            refuse_unused(args, f"with --to {args.to}, only with {takers}", name)
    options = target.chosen(vars(args))
    warnings: dict[str, list[str]] = {}
    chip = ""
    if options.get("chip") is not None:
        chip = f"-{Path(options['chip']).stem}"
        options["chip"] = find_chip(options["chip"])
        warnings = {"chip_warnings": list(options["chip"].warnings)}
    folder = Path(args.model).resolve()
    name = folder.parent.name if folder.name == "model" else folder.name.replace(":", "-")
    output = args.output or Path(f"{name}{chip}{target.suffix}")
    check_target(output)  # before torch is loaded, which takes seconds
    with waiting("loading torch"):
        from muspike.export.subject import Subject
        from muspike.export.targets import export

        python = python_file(Path(args.model))
        if python is None:
            refuse_unused(args, f"for {args.model}, only for a .py file", "sample", "per_tick", "allow")
            subject = Subject.of(args.model, args.dt)
        else:
            subject = Subject(args.model, read_module(args, python).graph)
    proof = export(subject, args.to, output, args.tokens, **options)
    if args.json:
        say_json({**proof.to_dict(), **warnings})
    else:
        say(proof.table())
    return 0 if proof.holds else 1


def _verify(args: argparse.Namespace) -> int:
    from muspike.export.targets import verify

    with waiting("running the file"):
        proof = verify(args.file, python=args.python)
    if args.json:
        say_json(proof.to_dict())
    else:
        say(proof.table())
    return 0 if proof.holds else 1


def _targets(args: argparse.Namespace) -> int:
    with waiting("loading torch"):
        from muspike.export import matrix
        from muspike.export.subject import Subject
        from muspike.model_folder import shipped_models
        from muspike.progress import bar

        subjects = [Subject.of(name) for name in args.models or shipped_models()]
    with bar(len(subjects) * len(matrix.columns(args.to)), "pair") as shown:
        cells = matrix.try_all(subjects, args.to, lambda _: shown.advance(1))
    if args.json:
        say_json([cell.to_dict() for cell in cells])
    else:
        say("\n".join(matrix.table(cells)))
    return 0 if all(cell.outcome in ("proved", "refused", "not run") for cell in cells) else 1


def _lava(args: argparse.Namespace) -> int:
    from muspike.export import lava_runner

    lava_runner.find_lava_python(args.python)
    report = lava_runner.environment_report(args.python)
    if args.json:
        say_json(report)
    else:
        say("\n".join(f"{key}: {value}" for key, value in report.items()))
    return 1 if "error" in report else 0
