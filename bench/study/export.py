"""Answers as CSV and JSON."""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import Any

import pandas as pd

from muspike.bench.study.answers import Answers

TABLES = tuple(field.name for field in fields(Answers))
"""The names of the tables."""


def csv(table: pd.DataFrame) -> bytes:
    """A table as CSV (RFC 4180, UTF-8); missing values are empty.

    Free text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    safe = table.copy()
    if "why" in safe:
        # The wide forms too: a spreadsheet in Japanese or Chinese takes them for the others.
        safe["why"] = safe["why"].str.replace(r"^(?=[=+\-@\t\r\n＝＋－＠])", "'", regex=True)
    written = io.StringIO()
    safe.to_csv(written, index=False, lineterminator="\r\n")
    return written.getvalue().encode()


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as rows; missing values are None."""
    found: list[dict[str, Any]] = json.loads(table.to_json(orient="records", force_ascii=False, double_precision=15))
    return found


def tables(answers: Answers) -> dict[str, list[dict[str, Any]]]:
    """All tables as rows, by name."""
    return {name: records(getattr(answers, name)) for name in TABLES}
