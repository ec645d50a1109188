"""Tables, for people: as text, and in the forms in which other programs take them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from muspike.arguments import one_of
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


def written(tables: Sequence[Table], form: str, title: str = "") -> str:
    """Tables one after another, in one of `FORMS`.

    >>> from muspike.tables import Table, written
    >>> print(written([Table("spikes per note", ["model", "spikes"], [["s-rnn", "1,024"]])], "csv"))
    # spikes per note
    model,spikes
    s-rnn,1024

    Args:
        tables: the tables.
        form: a key of `FORMS`.
        title: a line above the tables, which says what they are of; "": none. In CSV and LaTeX it is a comment, as a
            program that reads the table expects.

    Raises:
        BadInput: there is no such form.
    """
    write = FORMS[one_of("format", form, FORMS)]
    told = [f"{_TITLE.get(form, '')}{printable(title)}"] if title else []
    return "\n\n".join([*told, *("\n".join(write(table)) for table in tables)])


def _text(table: Table) -> Iterator[str]:
    yield f"{printable(table.caption)}:"
    yield from table.lines()


def _csv(table: Table) -> Iterator[str]:
    yield f"# {printable(table.caption)}"
    for row in (_one_line(table.titles), *table.rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="").writerow([_COMMAS.sub("", printable(cell)) for cell in row])
        yield line.getvalue()


def _markdown(table: Table) -> Iterator[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(printable(cell).replace('|', chr(92) + '|') for cell in cells)} |"

    yield f"{printable(table.caption)}:"
    yield ""
    yield line(_one_line(table.titles))
    yield f"|{'|'.join('---' if i in table.left else '---:' for i in range(len(table.titles)))}|"
    yield from map(line, table.rows)


def _latex(table: Table) -> Iterator[str]:
    def line(cells: Sequence[str]) -> str:
        return f"{' & '.join(_escaped(printable(cell)) for cell in cells)} \\\\"

    yield "\\begin{table}"
    yield f"\\caption{{{_escaped(printable(table.caption))}}}"
    yield f"\\begin{{tabular}}{{{''.join('l' if i in table.left else 'r' for i in range(len(table.titles)))}}}"
    yield "\\toprule"
    yield line(_one_line(table.titles))
    yield "\\midrule"
    yield from map(line, table.rows)
    yield "\\bottomrule"
    yield "\\end{tabular}"
    yield "\\end{table}"


FORMS: Mapping[str, Callable[[Table], Iterator[str]]] = {
    "table": _text,
    "csv": _csv,
    "markdown": _markdown,
    "latex": _latex,
}
"""The forms of `written`, by name.

| form | a table is |
|---|---|
| `table` | text with aligned columns, as on a terminal |
| `csv` | RFC 4180 after a line `# caption`; numbers have no commas between thousands |
| `markdown` | a pipe table, as GitHub and Pandoc read it |
| `latex` | a `table` in the style of the package booktabs |
"""

_TITLE = {"csv": "# ", "markdown": "# ", "latex": "% "}  # what opens the line of a title
_COMMAS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "µ": r"\textmu{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def _one_line(titles: Sequence[str]) -> list[str]:
    return [title.replace("\n", " ") for title in titles]


def _escaped(cell: str) -> str:
    return "".join(_LATEX.get(mark, mark) for mark in cell)
