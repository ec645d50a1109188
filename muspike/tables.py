"""Tables as text, for people."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from muspike.errors import printable


@dataclass(frozen=True)
class Table:
    """A table for people, on a terminal or on a page.

    Attributes:
        caption: what the table is of, and what its numbers are per.
        titles: one for each column.
        rows: the cells of each row, one for each title.
        left: numbers of the columns that are flush left, from 0.
    """

    caption: str
    titles: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: Collection[int] = (0,)

    def lines(self) -> Iterator[str]:
        """The lines of the table, without its caption, as `text_table` makes them."""
        return text_table(self.titles, self.rows, self.left)


def several(number: int, noun: str, nouns: str = "") -> str:
    """A number of things, in words: "1 note", "2,000 notes". `nouns` is the plural if it is not `noun` and an s."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


def text_table(titles: Sequence[str], rows: Sequence[Sequence[str]], left: Collection[int] = (0,)) -> Iterator[str]:
    """The lines of a table: the titles, then a line for each row.

    A column is as wide as its widest cell. Characters that a terminal would act on are escaped, because a cell may hold
    the name of a file or a neuron.

    Args:
        titles: one for each column. A title with line breaks stands on several lines, its last line above the rows.
        rows: the cells of each row, one for each title.
        left: numbers of the columns that are flush left, from 0. The others are flush right.

    Raises:
        ValueError: a row does not have a cell for each title.
    """
    heads = list(zip_longest(*(title.split("\n")[::-1] for title in titles), fillvalue=""))[::-1]
    cells = [[printable(cell) for cell in row] for row in (*heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        sized = enumerate(zip(row, widths, strict=True))
        yield "  ".join(cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in sized).rstrip()
