"""What made-up listeners do: the effects of a simulated study, as data (`scenarios/*.toml`, or a user's own file).

Means and shares are what a file states, because they are what a report estimates. They hold for all listeners and all
pieces of a kind, not for those of one study.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from muspike.errors import BadInput
from muspike.files import check_file
from muspike.ranges import Range, at_least, between, from_to

FORMAT = 1
HUMAN, GENERATED = "human", "generated"
MEAN = Range(lambda value: 1 < value < 5, "lie between 1 and 5, both excluded")
SHARE = Range(lambda value: 0 < value < 1, "lie between 0 and 1, both excluded")
_LARGEST = 1_000_000


@dataclass(frozen=True)
class Group:
    """What a group of listeners does.

    Attributes:
        mean: the mean rating on a scale of 5 points, by `human` and `generated`.
        said_human: the share of answers that a human composed the piece, by `human` and `generated`.
        taste: a factor of the spread of judgements of one piece within the group.
    """

    mean: Mapping[str, float]
    said_human: Mapping[str, float]
    taste: float = 1.0


@dataclass(frozen=True)
class Item:
    """How an item differs from the item without a shift.

    Attributes:
        shift: in logits.
        share: the share of the gap between sources that it shows.
        metrics: objective metrics that it follows: logits for each standard deviation over the pieces of the study, by
            name.
    """

    shift: float = 0.0
    share: float = 1.0
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Spreads:
    """Standard deviations, in logits: by how much ratings differ by chance.

    Attributes:
        listener: how high a listener rates.
        piece: how good a piece is.
        listener_source: how much a listener likes a source.
        piece_group: what a group makes of a piece, beyond what all make of it.
        taste: what a listener thinks of a piece; a second hearing has the same.
        listener_item, piece_item: what a listener or a piece has in one item alone.
    """

    listener: float = 0.7
    piece: float = 0.5
    listener_source: float = 0.4
    piece_group: float = 0.0
    taste: float = 0.5
    listener_item: float = 0.4
    piece_item: float = 0.2


@dataclass(frozen=True)
class Turing:
    """The listener as a detector, whose noise has a standard deviation of 1.

    Attributes:
        listener: the standard deviation of the criterion over listeners.
        piece: the standard deviation of how human a piece sounds, beyond its source.
        pair_gain: how much more a pair of similarity 1 tells than one of similarity 0, in d'. At 0.5 it is nothing.
        reasons: the share of answers with a reason in words.
    """

    listener: float = 0.4
    piece: float = 0.4
    pair_gain: float = 0.8
    reasons: float = 0.3


@dataclass(frozen=True)
class Care:
    """How carefully people take part.

    Attributes:
        careless: the share of listeners who answer at random.
        slips: the share of attention checks that careful listeners miss.
        without_headphones: the share of listeners who fail the screening.
        leaving: the share of listeners who stop before the end.
    """

    careless: float = 0.04
    slips: float = 0.02
    without_headphones: float = 0.05
    leaving: float = 0.05


@dataclass(frozen=True)
class Effects:
    """A scenario.

    Attributes:
        id: its name.
        about: what it is, for people.
        default: what a group without an entry does.
        groups: by id.
        spread: of sources that are not human, in logits, from the first to the last.
        items: by id.
        spreads, turing, care: as above.
    """

    id: str
    about: str
    default: Group
    groups: Mapping[str, Group] = field(default_factory=dict)
    spread: float = 0.0
    items: Mapping[str, Item] = field(default_factory=dict)
    spreads: Spreads = Spreads()
    turing: Turing = Turing()
    care: Care = Care()

    def group(self, id: str) -> Group:
        """What this group does."""
        return self.groups.get(id, self.default)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The objective metrics that some item follows."""
        return tuple(dict.fromkeys(name for item in self.items.values() for name in item.metrics))


def known() -> tuple[str, ...]:
    """The names of the scenarios that come with muspike."""
    folder = resources.files("muspike.bench.study") / "scenarios"
    return tuple(sorted(file.name.removesuffix(".toml") for file in folder.iterdir() if file.name.endswith(".toml")))


def load(name_or_path: str) -> Effects:
    """A scenario by name, or from a file that ends in .toml.

    Raises:
        BadInput: there is none of that name, or an entry of the file is missing, unknown or out of its range.
    """
    if name_or_path in known():
        file = resources.files("muspike.bench.study") / "scenarios" / f"{name_or_path}.toml"
        return _effects(name_or_path, tomllib.loads(file.read_text(encoding="utf-8")), name_or_path)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise BadInput(f"{name_or_path}: there is no such scenario; known are {', '.join(known())}, or a .toml file")
    check_file(path, _LARGEST)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # not TOML, not UTF-8
        raise BadInput(f"{path}: not TOML: {error}") from error
    return _effects(path.stem, content, os.fspath(path))


_TOP = {"format", "about", "mean", "said_human", "sources", "groups", "items", "spreads", "turing", "care"}


def _effects(id: str, content: Mapping[str, Any], where: str) -> Effects:
    _no_others(content, _TOP, where)
    if content.get("format") != FORMAT:
        raise BadInput(f"{where}: format is {content.get('format')!r}; this version of muspike reads format {FORMAT}")
    for name in ("about", "mean", "said_human"):
        if name not in content:
            raise BadInput(f"{where}: {name} is missing")
    if not isinstance(content["about"], str):
        raise BadInput(f"{where}: about is {content['about']!r}; expected a sentence")
    default = Group(
        _kinds(content["mean"], MEAN, f"{where}: mean"),
        _kinds(content["said_human"], SHARE, f"{where}: said_human"),
    )
    sources = _table(content.get("sources", {}), f"{where}: sources")
    _no_others(sources, {"spread"}, f"{where}: sources")
    return Effects(
        id=id,
        about=content["about"],
        default=default,
        groups={
            group: _group(entry, default, f"{where}: groups.{group}")
            for group, entry in _table(content.get("groups", {}), f"{where}: groups").items()
        },
        spread=_number(sources.get("spread", 0.0), between(0, 10), f"{where}: sources.spread"),
        items={
            item: _item(entry, f"{where}: items.{item}")
            for item, entry in _table(content.get("items", {}), f"{where}: items").items()
        },
        spreads=_numbers(Spreads, content.get("spreads", {}), between(0, 10), f"{where}: spreads"),
        turing=_numbers(
            Turing, content.get("turing", {}), between(0, 10), f"{where}: turing", {"reasons": from_to(0, 1)}
        ),
        care=_numbers(Care, content.get("care", {}), from_to(0, 1), f"{where}: care"),
    )


def _group(entry: Any, default: Group, where: str) -> Group:
    table = _table(entry, where)
    _no_others(table, {"mean", "said_human", "taste"}, where)
    return dataclasses.replace(
        default,
        mean=_kinds(table["mean"], MEAN, f"{where}.mean") if "mean" in table else default.mean,
        said_human=(
            _kinds(table["said_human"], SHARE, f"{where}.said_human") if "said_human" in table else default.said_human
        ),
        taste=_number(table.get("taste", 1.0), between(0, 10), f"{where}.taste"),
    )


def _item(entry: Any, where: str) -> Item:
    table = _table(entry, where)
    _no_others(table, {"shift", "share", "metrics"}, where)
    metrics = _table(table.get("metrics", {}), f"{where}.metrics")
    return Item(
        _number(table.get("shift", 0.0), between(-10, 10), f"{where}.shift"),
        _number(table.get("share", 1.0), between(-10, 10), f"{where}.share"),
        {name: _number(value, between(-10, 10), f"{where}.metrics.{name}") for name, value in metrics.items()},
    )


def _kinds(entry: Any, values: Range, where: str) -> dict[str, float]:
    table = _table(entry, where)
    _no_others(table, {HUMAN, GENERATED}, where)
    for name in (HUMAN, GENERATED):
        if name not in table:
            raise BadInput(f"{where}: {name} is missing")
    return {name: _number(table[name], values, f"{where}.{name}") for name in (HUMAN, GENERATED)}


def _numbers(kind: type[Any], entry: Any, values: Range, where: str, other: Mapping[str, Range] | None = None) -> Any:
    table = _table(entry, where)
    _no_others(table, {one.name for one in dataclasses.fields(kind)}, where)
    return kind(
        **{name: _number(value, (other or {}).get(name, values), f"{where}.{name}") for name, value in table.items()}
    )


def _table(entry: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(entry, Mapping):
        raise BadInput(f"{where}: found {entry!r:.60}, expected a table")
    return entry


def _no_others(table: Mapping[str, Any], names: set[str], where: str) -> None:
    if strange := sorted(set(table) - names):
        raise BadInput(f"{where}: {strange[0]} is unknown; known are {', '.join(sorted(names))}")


def _number(value: Any, values: Range, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not at_least(-1e9).holds(value):
        raise BadInput(f"{where}: found {value!r:.60}, expected a number")
    if not values.holds(value):
        raise BadInput(f"{where} {value} must {values.words}")
    return float(value)
