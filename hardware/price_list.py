"""Prices of single operations on a machine onto which muspike maps no network, read from `price_lists/<name>.toml`.

A chip of `chip.py` has limits, and a network that fits them is mapped, run and counted there. A price list knows no
limits. It prices the operations that the network needs on any machine, so a figure made with it says nothing about
whether the network fits, how long it takes, or what moves between cores.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from pathlib import Path

from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.hardware.changed_numbers import changes
from muspike.hardware.citations import citations_of
from muspike.hardware.constant import Constant, constant_of, sourced, text_of

OPERATIONS: Mapping[str, str] = {
    "synop": "a connection whose weight is not 0 and whose source spikes: an accumulation",
    "synop_graded": "the same for a spike that carries a value: a multiplication and an accumulation",
    "neuron_update": "an update of a neuron of the network, every neuron in every tick",
    "mac": "a connection of a network that does not spike: a multiplication and an accumulation",
}
"""The operations that a price list may price, in pJ each, and what they are."""


@dataclass(frozen=True)
class PriceList:
    """What operations cost on a machine.

    Attributes:
        name: the name that `--on` takes.
        title: the name for people.
        precision: the numbers that the machine computes with.
        boundary: what is in the prices, and what is left out.
        all_in: whether the prices contain everything that happens on the machine, idle power included. Operations
            without a price are then covered by the others; else they are unpriced.
        energy: pJ for each operation that is priced, by a key of `OPERATIONS`.
        citations: the BibTeX entries of its sources.
        warnings: what is doubtful about the file, in sentences for people: numbers that were changed and kept their old
            source, or the name of another list. Empty for the lists that come with muspike.
    """

    name: str
    title: str
    precision: str
    boundary: str
    all_in: bool
    energy: Mapping[str, Constant]
    citations: Mapping[str, str] = field(default_factory=dict, repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def prices_spikes(self) -> bool:
        """Whether a network that spikes can be priced."""
        return "synop" in self.energy

    @property
    def prices_dense(self) -> bool:
        """Whether a network that does not spike can be priced."""
        return "mac" in self.energy


def known_price_lists() -> tuple[str, ...]:
    """The names of the price lists that come with the package, sorted.

    >>> from muspike.hardware.price_list import known_price_lists
    >>> "spinnaker2" in known_price_lists()
    True
    """
    folder = resources.files("muspike.hardware") / "price_lists"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_price_list(name_or_path: str | os.PathLike[str]) -> PriceList:
    """Load a price list by name, or from a TOML file of the same form.

    `PriceList.warnings` says what is doubtful about a file.

    >>> from muspike.hardware.price_list import load_price_list
    >>> load_price_list("truenorth").energy["synop"].value
    26.0

    Raises:
        BadInput: there is no such list or file, or the file has a missing, unknown or impossible entry.
    """
    name = str(os.fspath(name_or_path))
    if name in known_price_lists():
        return _load_known(name)
    path = Path(name)
    if path.suffix != ".toml":
        raise BadInput(
            f"price list {shown(name)} is not known; known: {', '.join(known_price_lists())}, or give the path of a "
            ".toml file"
        )
    text = text_of(path)
    prices = parse_price_list(text, str(path))
    shipped = {known: tomllib.loads(text_of_known(known)) for known in known_price_lists()}
    doubts = changes(tomllib.loads(text), shipped, "price list")
    return replace(prices, warnings=tuple(f"{path}: {doubt}" for doubt in doubts))


def text_of_known(name: str) -> str:
    """The text of the file of the price list `name`, one of `known_price_lists`."""
    return (resources.files("muspike.hardware") / "price_lists" / f"{name}.toml").read_text(encoding="utf-8")


@cache
def _load_known(name: str) -> PriceList:
    return parse_price_list(text_of_known(name), f"{name}.toml")


def parse_price_list(text: str, where: str) -> PriceList:
    """Read a price list from the text of a TOML file. `where` names the file in errors.

    Raises:
        BadInput: the text is not TOML, or has a missing, unknown or impossible entry.
    """
    top = sourced(text, where)
    prices = top.table("energy")
    all_in = prices.flag("all_in")
    energy = {name: constant_of(prices.table(name), "pJ") for name in prices.entries if name in OPERATIONS}
    prices.close()
    made = PriceList(
        name=top.name("name"),
        title=top.text("title"),
        precision=top.text("precision"),
        boundary=top.text("boundary"),
        all_in=all_in,
        energy=energy,
        citations=citations_of(top.table("citations")) if "citations" in top.entries else {},
    )
    top.close()
    if not (made.prices_spikes or made.prices_dense):
        raise BadInput(f"{where}: energy: neither synop nor mac has a price; expected at least one of the two")
    return made
