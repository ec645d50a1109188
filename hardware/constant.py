"""Numbers with a band, a tag and a source, and the checked reading of the TOML files in which they stand.

Chips and price lists are such files: every number names its source by a key of the file's table `[sources]`.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.files import check_file

Tag = Literal["measured", "fitted", "simulated", "inferred", "assumed"]
TAGS: tuple[Tag, ...] = ("measured", "fitted", "simulated", "inferred", "assumed")
"""How a constant came to be, from the strongest to the weakest."""

LARGEST_FILE = 1 << 20
"""The most bytes of a chip's file or a price list. A larger one is refused before it is read."""

_LARGEST_WHOLE = 2**40  # products of three counts and a number of neurons still fit into a float exactly enough
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Constant:
    """A number with its band, unit, tag and source.

    Attributes:
        value: the number.
        low, high: the band that the true value lies in; `low <= value <= high`.
        unit: its unit.
        tag: how it came to be, one of `TAGS`.
        source: where it comes from.
        band_known: false if nobody has published how far the value may be off; `low` and `high` are then the value.
    """

    value: float
    low: float
    high: float
    unit: str
    tag: Tag
    source: str
    band_known: bool = True


def text_of(path: Path) -> str:
    """The text of a file of at most `LARGEST_FILE` bytes.

    Raises:
        BadInput: it cannot be read, is larger, or is not UTF-8.
    """
    check_file(path)
    try:
        if (size := path.stat().st_size) > LARGEST_FILE:
            raise BadInput(f"{path}: {size:,} bytes; such a file has at most {LARGEST_FILE:,}")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}: byte {error.start} is {error.object[error.start]:#04x}; such a file is UTF-8 text"
        ) from error


def read_toml(text: str, where: str) -> dict[str, Any]:
    """What a TOML text says. `where` names the file in errors.

    Raises:
        BadInput: the text is not TOML.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # Its messages name a line, but neither the key nor the value there.
        at = re.search(r"\(at line (\d+), column \d+\)", str(error))
        line = text.splitlines()[int(at[1]) - 1].strip() if at else ""
        raise BadInput(f"{where}: not TOML: {error}{f': {line[:80]}' if line else ''}") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; tables in tables in tables
        raise BadInput(f"{where}: not TOML as it is needed here: {error}") from error


class FileTable:
    """A TOML table that knows its place in the file and which of its keys have been used.

    Attributes:
        entries: keys and values.
        where: the file and the table, for error messages.
        sources: the file's [sources] by key.
        used: the keys used so far; `close` refuses all others.
    """

    def __init__(self, entries: Mapping[str, Any], where: str, sources: Mapping[str, str]) -> None:
        self.entries = entries
        self.where = where
        self.sources = sources
        self.used: set[str] = set()

    def take(self, key: str, kind: type | tuple[type, ...], named: str) -> Any:
        if key not in self.entries:
            raise BadInput(f"{self.where}: {key} is missing (expected {named})")
        value = self.entries[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected {named}")
        self.used.add(key)
        return value

    def table(self, key: str) -> FileTable:
        return FileTable(self.take(key, dict, "a table"), f"{self.where}: {key}", self.sources)

    def text(self, key: str) -> str:
        value = str(self.take(key, str, "a text"))
        if not value.strip():
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected a text that is not empty")
        return value

    def name(self, key: str) -> str:
        """A name that can be part of a file's name."""
        value = self.text(key)
        if not _NAME.fullmatch(value):
            raise BadInput(
                f"{self.where}: {key} is {shown(value)}, expected at most 64 letters, digits, dots, hyphens and "
                "underscores, a letter or digit first"
            )
        return value

    def choice(self, key: str, choices: Collection[str]) -> str:
        value = self.take(key, str, f"one of {', '.join(choices)}")
        if value not in choices:
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected one of {', '.join(choices)}")
        return str(value)

    def whole(self, key: str, least: int = -_LARGEST_WHOLE) -> int:
        value = int(self.take(key, int, "a whole number"))
        if value < least:
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected at least {least}")
        if value > _LARGEST_WHOLE:
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected at most {_LARGEST_WHOLE}")
        return value

    def count(self, key: str) -> int:
        return self.whole(key, 1)

    def number(self, key: str) -> float:
        value = self.take(key, (int, float), "a number")
        if not -1e30 <= value <= 1e30:  # NaN too is refused here
            raise BadInput(f"{self.where}: {key} is {shown(value)}, expected a finite number of at most 1e30")
        return float(value)

    def flag(self, key: str) -> bool:
        if type(value := self.entries.get(key)) is not bool:
            found = f"is {shown(value)}" if key in self.entries else "is missing"
            raise BadInput(f"{self.where}: {key} {found}, expected true or false")
        self.used.add(key)
        return value

    def source(self) -> str:
        """The source of the table: a key of [sources], optionally followed by `: ` and a remark."""
        key, _, remark = self.text("source").partition(": ")
        if key not in self.sources:
            listed = ", ".join(self.sources) or "none"
            raise BadInput(f"{self.where}: source {shown(key)} is not in [sources], which has {listed}")
        return f"{self.sources[key]} ({remark})" if remark else self.sources[key]

    def close(self) -> None:
        unknown = [key for key in self.entries if key not in self.used]
        if unknown:
            raise BadInput(f"{self.where}: unknown key {shown(unknown[0])}; known here: {', '.join(sorted(self.used))}")


def sourced(text: str, where: str) -> FileTable:
    """The tables of a TOML text whose table `[sources]` names the sources of its numbers. `where` names the file.

    Raises:
        BadInput: the text is not TOML, or has no such table.
    """
    raw = read_toml(text, where)
    sources = FileTable(raw, where, {}).table("sources")
    top = FileTable(raw, where, {key: sources.text(key) for key in sources.entries})
    top.used.add("sources")
    return top


def constant_of(table: FileTable, unit: str) -> Constant:
    """The constant that a table of the file holds, in `unit`.

    Raises:
        BadInput: an entry is missing, unknown or impossible, such as a negative price.
    """
    value = table.number("value")
    unknown = "band" in table.entries and table.choice("band", ("unknown",)) == "unknown"
    constant = Constant(
        value=value,
        low=value if unknown else table.number("low"),
        high=value if unknown else table.number("high"),
        band_known=not unknown,
        unit=table.choice("unit", (unit,)),
        tag=cast(Tag, table.choice("tag", TAGS)),
        source=table.source(),
    )
    if not 0 <= constant.low <= value <= constant.high:
        raise BadInput(
            f"{table.where}: expected 0 <= low <= value <= high, found {constant.low}, {value}, {constant.high}"
        )
    if constant.low == constant.high and not unknown:
        raise BadInput(f'{table.where}: low and high are both {value}; a number without a spread says band = "unknown"')
    table.close()
    return constant
