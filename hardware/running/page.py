"""What every HTML page of muspike is made with: the templates, and numbers as people read them.

A page is one file that asks for nothing outside it. Its template extends `templates/page.html`, the frame and the
style, and takes what it repeats from `templates/macros.html`. Whatever a template prints is escaped.
"""

from __future__ import annotations

import numbers
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from muspike.errors import BadInput, printable

ENDINGS = (".html", ".htm")


def check_page(path: Path) -> None:
    """Refuse a name that is not that of a page.

    Raises:
        BadInput: the name does not end in one of `ENDINGS`.
    """
    if path.suffix not in ENDINGS:
        raise BadInput(f"{path}: a report ends in {', '.join(ENDINGS)}")


def environment(*packages: str) -> jinja2.Environment:
    """The templates of packages, beside those that all pages share, with the filters below."""
    made = jinja2.Environment(
        loader=jinja2.ChoiceLoader([jinja2.PackageLoader(name) for name in (*packages, "muspike.hardware.running")]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"number": number, "percent": percent, "thousands": _thousands, "fact": _fact, "unit": _unit}
    made.filters |= {"sentence": _sentence, "together": _together, "sources": _sources, "plain": _plain}
    return made


def _shown(value: Any) -> Any:
    """A text without control characters and lone surrogates, which the name of a file or a node may hold."""
    if type(value) is not str or value.isprintable():
        return value
    return "".join(printable(c) if unicodedata.category(c)[0] == "C" and c != "\n" else c for c in value)


def number(value: Any, digits: int = 3) -> str:
    """A figure for people: `digits` significant digits, thin spaces between thousands, an en dash for None."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded figure
    if exponent < -4:
        return Markup(f"{value / 10.0**exponent:.{digits - 1}f} × 10<sup>{exponent}</sup>")
    places = 0 if isinstance(value, numbers.Integral) else digits - 1 - exponent
    return f"{round(value, places):,.{max(places, 0)}f}".replace(",", "\u202f")


def _fact(value: Any) -> str:
    """A setting as it was given, except that large integers get thin spaces and fractions are cut short."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10_000:
        return number(value)
    return "–" if value is None else str(value)


def percent(value: float | None, digits: int = 3) -> str:
    """A share as a percentage."""
    return "–" if value is None else f"{number(float(value) * 100, digits)} %"


def _thousands(cell: str) -> str:
    """A cell of a `Table`, whose numbers have commas between thousands, with the thin spaces of a page."""
    return re.sub(r"(?<=\d),(?=\d{3})", "\u202f", cell)


def _together(cell: str) -> str:
    """A figure whose interval, comparison or per cent is not parted where the cell wraps."""
    return re.sub(r"\[[^]]*\]|\([^)]*\)|[<>=] \S+| %", lambda part: part[0].replace(" ", "\u00a0"), cell)


def _sentence(text: str) -> str:
    """A text with a capital at its start."""
    return text[:1].upper() + text[1:]


def _plain(caption: str) -> str:
    """The first sentence of a caption, as the name of what it is the caption of."""
    return re.split(r"(?<=[^A-Z])[.:;] ", caption, maxsplit=1)[0].rstrip(".")


def _unit(unit: str) -> str:
    return unit.replace("u", "µ", 1) if unit[:1] == "u" else unit


def _sources(components: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each source once, in the order of the rows. A source's place in the list is the number of its footnote."""
    return list(dict.fromkeys(row["source"] for row in components if row["source"]))
