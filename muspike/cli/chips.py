"""`chips`: the chips and price lists that muspike knows, and a file to describe another one."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from muspike.cli.formats import add_format, put
from muspike.cli.options import Commands, chips, refuse_unused
from muspike.cli.output import say
from muspike.errors import BadInput
from muspike.files import check_target, write_whole
from muspike.tables import Table

if TYPE_CHECKING:
    from muspike.hardware.chip import Chip, Limit
    from muspike.hardware.price_list import PriceList

_LIMITS = ("cores_per_chip", "neurons_per_core", "synaptic_memory_bits_per_core", "synaptic_delay")
_FROM = "loihi1"


def add(commands: Commands) -> None:
    """Add the command."""
    found = commands.add(
        "chips",
        _chips,
        "List the chips onto which muspike maps networks, and the machines whose operations it prices without mapping; "
        "or write the file of one, with every key explained, to change into one of your own. Every command that takes "
        "a chip takes such a file.",
        "muspike chips --template loihi2 -o mine.toml",
    )
    found.add_argument(
        "--template",
        nargs="?",
        const=_FROM,
        metavar="NAME",
        help=f"write the file of this chip or price list (default: {_FROM}), explained, instead of the list",
    )
    add_format(found, "the list, or with --template the .toml file,")


def _chips(args: argparse.Namespace) -> int:
    from muspike.hardware.chip import load_chip
    from muspike.hardware.chip_template import chip_template
    from muspike.hardware.price_list import OPERATIONS, known_price_lists, load_price_list

    if args.template is not None:
        refuse_unused(args, "with --template", "json", "format")
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
    if args.output is not None and args.output.suffix == ".toml":
        raise BadInput(f"{args.output}: only --template writes a .toml file; add it, with a name from the list")
    known = [load_chip(name) for name in chips()]
    priced = [load_price_list(name) for name in known_price_lists()]
    titles = ("chip", "", "cores", "neurons\nper core", "synaptic\nmemory per core", "longest delay,\nticks")
    mapped = Table(
        "chips onto which networks are mapped",
        (*titles, "prices: how they came to be"),
        [[chip.name, chip.title, *_cells(chip), _costs(chip)] for chip in known],
        left=(0, 1, 6),
    )
    operations = Table(
        "machines whose operations are priced, without mapping: pJ of each, and how the price came to be",
        ("machine", "", *(name.replace("_", " ") for name in OPERATIONS), "in the prices"),
        [
            [of.name, of.title, *(_price(of, name) for name in OPERATIONS), of.boundary.partition(";")[0]]
            for of in priced
        ],
        left=(0, 1, 6),
    )
    data = {"chips": [_row(chip) for chip in known], "price_lists": [_prices(of) for of in priced]}
    put(args, "chips and price lists", [mapped, operations], [], data)
    return 0


def _price(of: PriceList, operation: str) -> str:
    price = of.energy.get(operation)
    if price is None:
        return "covered" if of.all_in and of.prices_dense == (operation == "mac") else "–"
    return f"{price.value:,g} {price.tag}"


def _prices(of: PriceList) -> dict[str, Any]:
    return {
        "name": of.name,
        "title": of.title,
        "precision": of.precision,
        "boundary": of.boundary,
        "all_in": of.all_in,
        "energy_pj": {operation: dict(vars(price)) for operation, price in of.energy.items()},
    }


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
    from muspike.hardware.cost.quantity import weakest

    found = []
    for costs in chip.costs.values():
        tags = [constant.tag for event, constant in costs.energy.items() if event not in GRADED_EVENTS]
        tag = weakest(tags) if tags else "none"
        found.append(costs.name if costs.name == tag else f"{costs.name}: {tag}")
    return ", ".join(found)
