"""Tables on stdout or into a file, in the form that the user asks for."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike.cli.options import path, refuse_unused
from muspike.cli.output import finite, say
from muspike.errors import BadInput
from muspike.files import check_target, write_whole
from muspike.tables import FORMS, Table, written

JSON, HTML = "json", "html"
# What the ending of a file says about its form.
_ENDINGS = {
    ".txt": "table",
    ".csv": "csv",
    ".md": "markdown",
    ".tex": "latex",
    ".json": JSON,
    ".html": HTML,
    ".htm": HTML,
}


def add_format(sub: argparse.ArgumentParser, what: str) -> None:
    """Add `--format`, `--json` and `-o`, which say in which form and where `what` is written."""
    known = (*FORMS, JSON, HTML)
    sub.add_argument("--format", choices=known, help=f"the form of {what} (default: by the ending of -o, else table)")
    sub.add_argument("--json", action="store_true", help="the same as --format json")
    sub.add_argument(
        "-o", "--output", type=path, metavar="FILE", help=f"write {what} to this file ({', '.join(_ENDINGS)})"
    )


def form_of(args: argparse.Namespace) -> str:
    """The form that the options of `add_format` ask for, checked before the work begins.

    Raises:
        BadInput: `--json` and another `--format`, or a file whose ending names no form.
    """
    output: Path | None = args.output
    if args.json and args.format is not None:
        refuse_unused(args, f"with --format {args.format}", "json")
    if output is not None:
        check_target(output)
    form = JSON if args.json else args.format
    if form is None and output is not None:
        if output.suffix.lower() not in _ENDINGS:
            raise BadInput(f"{output}: ends in none of {', '.join(_ENDINGS)}; --format says what it is to be")
        form = _ENDINGS[output.suffix.lower()]
    return form or "table"


def put(
    args: argparse.Namespace, title: str, tables: Sequence[Table], notes: Sequence[str], data: Mapping[str, Any]
) -> None:
    """Print or write tables and notes, or the data that they were made of, as the options of `add_format` say.

    Args:
        args: the arguments of the command.
        title: what the tables are of: the heading of a page, and the first line of a text.
        tables: what people read.
        notes: sentences that stand below the tables, in every form that has room for them.
        data: the same for programs, JSON-able apart from infinities.
    """
    form = form_of(args)
    text = _text(form, title, tables, notes, data)
    if args.output is None:
        say(text)
        return
    with write_whole(args.output) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    say(f"{args.output}: {title}")


def _text(form: str, title: str, tables: Sequence[Table], notes: Sequence[str], data: Mapping[str, Any]) -> str:
    if form == JSON:
        return json.dumps(finite(data), indent=1, ensure_ascii=False, allow_nan=False)
    if form == HTML:
        from muspike.hardware.running.page import environment

        template = environment("muspike.hardware.running").get_template("tables.html")
        return template.render(title=title, tables=tables, notes=notes).rstrip("\n")
    text = written(tables, form, title)
    if not notes:
        return text
    mark = {"csv": "# ", "latex": "% ", "markdown": "- "}.get(form, "")
    return "\n".join([text, "", *(f"{mark}{note}" for note in notes)])
