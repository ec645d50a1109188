"""`chips`: the chips that muspike knows, and a file to describe another one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muspike.cli.options import Commands, add_json, chips, refuse_unused
from muspike.cli.output import say, say_json
from muspike.errors import BadInput
from muspike.files import check_target, write_whole
from muspike.tables import text_table

if TYPE_CHECKING:
    from muspike.hardware.chip import Chip, Limit

_LIMITS = ("cores_per_chip", "neurons_per_core", "synaptic_memory_bits_per_core", "synaptic_delay")
_FROM = "loihi1"


def add(commands: Commands) -> None:
    """Add the command."""
    found = commands.add(
        "chips",
        _chips,
        "List the chips that muspike knows, or write a chip's file, with every key explained, to change into a chip of "
        "your own. Every command that takes a chip takes such a file.",
        "muspike chips --template loihi2 -o mine.toml",
    )
    found.add_argument(
        "--template",
        nargs="?",
        const=_FROM,
        metavar="NAME",
        help=f"write the file of this chip ({', '.join(chips())}; default: {_FROM}), explained, instead of the list",
    )
    found.add_argument("-o", "--output", type=Path, help="with --template: the .toml file to write (default: print it)")
    add_json(found, "the list")


def _chips(args: argparse.Namespace) -> int:
    from muspike.hardware.chip import load_chip
    from muspike.hardware.chip_template import chip_template

    if args.template is not None:
        refuse_unused(args, "with --template", "json")
        text = chip_template(args.template)
        if args.output is None:
            say(text.rstrip("\n"))
            return 0
        if args.output.suffix != ".toml":
            raise BadInput(f"{args.output}: a chip's file ends in .toml")
        check_target(args.output)
        with write_whole(args.output) as temporary:
            temporary.write_text(text, encoding="utf-8")
        say(f"{args.output}: {args.template}, to change")
        return 0
    refuse_unused(args, "without --template", "output")
    known = [load_chip(name) for name in chips()]
    if args.json:
        say_json([_row(chip) for chip in known])
    else:
        titles = ("chip", "", "cores", "neurons\nper core", "synaptic\nmemory per core", "longest delay,\nticks")
        rows = [[chip.name, chip.title, *_cells(chip), f"{_costs(chip)}"] for chip in known]
        say("\n".join(text_table((*titles, "prices: how they came to be"), rows, left=(0, 1, 6))))
    return 0


def _row(chip: Chip) -> dict[str, Any]:
    return {
        "name": chip.name,
        "title": chip.title,
        **{name: getattr(chip.limits, name).value for name in _LIMITS},
        "largest": {name: high for name in _LIMITS if (high := getattr(chip.limits, name).high) is not None},
        "default_costs": chip.default_costs,
        "costs": {costs.name: costs.description for costs in chip.costs.values()},
        "static_power": {key: getattr(chip.static_power, key) for key in ("value", "low", "high", "unit", "tag")},
    }


def _cells(chip: Chip) -> list[str]:
    """The limits; two numbers where the sources disagree."""
    cores, neurons, bits, delay = (getattr(chip.limits, name) for name in _LIMITS)
    told: list[tuple[Limit, Callable[[int], str]]] = [
        (cores, "{:,}".format),
        (neurons, "{:,}".format),
        (bits, lambda n: f"{n / 8192:g} KiB"),
        (delay, lambda n: f"{n + 1}"),
    ]
    return [
        "not published"
        if limit.value is None
        else tell(limit.value) + ("" if limit.high is None else f" to {tell(limit.high)}")
        for limit, tell in told
    ]


def _costs(chip: Chip) -> str:
    from muspike.hardware.chip import GRADED_EVENTS
    from muspike.hardware.cost.energy import weakest

    found = []
    for costs in chip.costs.values():
        tags = [constant.tag for event, constant in costs.energy.items() if event not in GRADED_EVENTS]
        tag = weakest(tags) if tags else "none"
        found.append(costs.name if costs.name == tag else f"{costs.name}: {tag}")
    return ", ".join(found)
