"""`export` and `lava`: a model in another format, proved equal, and the environment in which Lava judges."""

from __future__ import annotations

import argparse
from pathlib import Path

from muspike.cli.options import Commands, add_json, add_model, chips, refuse_unused, whole
from muspike.cli.output import say, say_json


def add(commands: Commands) -> None:
    """Add the commands."""
    export = commands.add(
        "export", _export, "Write a model in another format and prove it equal.", "muspike export s-rnn --to nir"
    )
    add_model(export)
    export.add_argument(
        "--to", choices=("nir", "lava"), required=True, help="nir: a .nir file; lava: a chip program, run in Lava"
    )
    export.add_argument("--chip", choices=chips(), help="for lava (default: loihi1)")
    export.add_argument("-o", "--output", type=Path, help="file to write (default: MODEL.nir or MODEL-CHIP.npz)")
    export.add_argument(
        "--tokens", type=whole(1, 10_000), default=16, help="compound words to compare on (default: 16)"
    )
    export.add_argument("--python", help="for lava: an interpreter that has it (see muspike lava --help)")
    add_json(export, "the comparison")

    lava = commands.add(
        "lava",
        _lava,
        "Make or check the environment in which Lava runs. Lava needs packages of its own, so it lives in a virtual "
        "environment in the user's cache folder, made on first use. To use another one, name its interpreter with "
        "--python or in MUSPIKE_LAVA_PYTHON; it must have lava-nc 0.10.0.",
        "muspike lava --python ~/lava/bin/python",
    )
    lava.add_argument("--python", help="an interpreter that has Lava, instead of the environment that muspike makes")
    add_json(lava, "what was found")


def _export(args: argparse.Namespace) -> int:
    from muspike.checkpoint import load_model
    from muspike.export import verify

    if args.to == "nir":
        refuse_unused(args, "with --to nir", "chip", "python")
    model = load_model(args.model)
    folder = Path(args.model).resolve()
    name = folder.parent.name if folder.name == "model" else folder.name
    if args.to == "nir":
        proof = verify.export_nir(model, args.output or Path(f"{name}.nir"), args.tokens)
    else:
        chip = args.chip or "loihi1"
        proof = verify.export_lava(model, args.output or Path(f"{name}-{chip}.npz"), chip, args.tokens, args.python)
    if args.json:
        say_json(proof.to_dict())
    else:
        say(proof.table())
    return 0 if proof.holds else 1


def _lava(args: argparse.Namespace) -> int:
    from muspike.export import lava_runner

    lava_runner.find_lava_python(args.python)
    report = lava_runner.environment_report(args.python)
    if args.json:
        say_json(report)
    else:
        say("\n".join(f"{key}: {value}" for key, value in report.items()))
    return 1 if "error" in report else 0
