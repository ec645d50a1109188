"""Tables of results in the Markdown pages of the documentation.

A table stands between `<!-- table NAME -->` and `<!-- end -->`, and is made anew from results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from muspike.errors import BadInput
from muspike.files import write_whole

Tables = Mapping[str, Callable[[], str]]
"""By the name of a table, what makes it, in Markdown without a line break at its end."""

_BEGIN, _CLOSE, _END = "<!-- table ", " -->", "<!-- end -->"


def filled(text: str, tables: Tables, where: str, *, every: bool = False) -> str:
    """A page with its tables made anew.

    Args:
        text: the page.
        tables: the tables that are known.
        where: the name of the page, for errors.
        every: whether the page must have a place for each of the tables.

    Raises:
        BadInput: a mark names no table or has no end, or a table that must have a place has none.
    """
    first, *parts = text.split(_BEGIN)
    made, placed = [first], set()
    for part in parts:
        name, _, rest = part.partition(_CLOSE)
        if name not in tables:
            raise BadInput(f"{where}: there is no table {name!r}; known are {', '.join(tables)}")
        _, mark, after = rest.partition(_END)
        if not mark:
            raise BadInput(f"{where}: the table {name} has no {_END}")
        made.append(f"{_BEGIN}{name}{_CLOSE}\n{tables[name]()}\n{_END}{after}")
        placed.add(name)
    if every and (missing := [name for name in tables if name not in placed]):
        raise BadInput(f"{where}: has no place for the table {missing[0]}: {_BEGIN}{missing[0]}{_CLOSE} and {_END}")
    return "".join(made)


def fill(page: Path, tables: Tables, where: str, *, every: bool = False) -> bool:
    """Make the tables of a page anew, and say whether it changed. Arguments and errors are those of `filled`."""
    text = page.read_text(encoding="utf-8")
    new = filled(text, tables, where, every=every)
    if new == text:
        return False
    with write_whole(page) as temporary:
        temporary.write_text(new, encoding="utf-8")
    return True
