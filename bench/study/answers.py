"""The answers of a study as three tables: what the server exports, the simulation makes and the report reads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from muspike.errors import BadInput
from muspike.files import check_file, path_error, write_whole

LISTENERS = {
    "listener": "int64",  # a number without meaning, from 1
    "group": "string",  # by the rules of the questionnaire
    "language": "string",
    "list": "int64",  # index into Study.lists
    "started": "string",  # UTC, ISO 8601, to the minute
    "finished": "boolean",  # all trials are answered
    "headphones": "boolean",  # passed the screening; missing: not screened
    "attention_asked": "int64",  # attention checks answered
    "attention_missed": "int64",  # of these, with another point than the one asked for
}
"""Columns of the table of listeners; also `background_ID` (string) for each background question. Who withdrew is not in
it."""

RATINGS = {
    "listener": "int64",
    "group": "string",
    "trial": "int64",  # index into the list, from 0: the order in which pieces were heard
    "stimulus": "string",
    "source": "string",
    "item": "string",
    "rating": "int64",  # from 1; as chosen: items with `reverse` are not turned round yet
    "repeat": "boolean",  # the second hearing of the same piece
    "plays": "int64",  # how often the piece was heard
}
"""Columns of the table of ratings, a row for each listener, trial and item. Attention checks are not in it."""

TURING = {
    "listener": "int64",
    "group": "string",
    "trial": "int64",
    "form": "string",  # single or pair
    "stimulus": "string",  # single: the piece; pair: the human one
    "source": "string",  # single: of the piece; pair: of the other piece, which no human composed
    "other": "string",  # pair: the other piece; else missing
    "similarity": "Float64",  # pair: of the two; else missing
    "first": "boolean",  # pair: the human piece was offered first; else missing
    "said_human": "boolean",  # single: the listener says a human composed it; pair: the human piece was chosen
    "confidence": "int64",  # 1 (a guess) to 5 (sure)
    "why": "string",  # free text, may be missing
}
"""Columns of the table of Turing answers, a row for each listener and trial."""


@dataclass(frozen=True)
class Answers:
    """The answers of a study, without those of listeners who withdrew.

    Attributes:
        listeners: columns `LISTENERS`.
        ratings: columns `RATINGS`.
        turing: columns `TURING`.
    """

    listeners: pd.DataFrame
    ratings: pd.DataFrame
    turing: pd.DataFrame


BACKGROUND = "background_"
_MAYBE = {"headphones", "first", "similarity"}
"""Columns, other than texts, whose values may be missing."""
_LARGEST_WHOLE = 2**31 - 1
_FILES = {"listeners": LISTENERS, "ratings": RATINGS, "turing": TURING}
_LARGEST = 1_000_000_000


def typed(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The columns in this order and of these types.

    Raises:
        ValueError, TypeError: a value is not of its column's type, or is missing where none may be.
    """
    return table.reindex(columns=list(columns)).astype(dict(columns))


def write(folder: str | os.PathLike[str], answers: Answers) -> None:
    """Write listeners.csv, ratings.csv and turing.csv into a folder, which must be there. Missing values are empty.

    None of them appears before all are written: tables of different moments contradict each other.

    Raises:
        BadInput, Failed: a file cannot be written.
    """
    with contextlib.ExitStack() as files:
        for name in _FILES:
            path = Path(folder) / f"{name}.csv"
            temporary = files.enter_context(write_whole(path))
            try:
                getattr(answers, name).to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
            except OSError as error:
                raise path_error(f"{path}: cannot be written", error) from error


def read(folder: str | os.PathLike[str]) -> Answers:
    """The answers in a folder, as `write` writes them.

    Raises:
        BadInput: a file is missing, is no such table, lacks a column, or has a value of another type.
    """
    found = {}
    for name, columns in _FILES.items():
        path = Path(folder) / f"{name}.csv"
        check_file(path, _LARGEST)
        try:
            # "NA" is a text that a listener may have written.
            table = pd.read_csv(path, dtype="string", keep_default_na=False, na_values=[""], encoding="utf-8")
        except ValueError as error:  # not UTF-8, not a table, empty
            raise BadInput(f"{path}: no table of answers: {str(error).splitlines()[0]}") from error
        if missing := [column for column in columns if column not in table.columns]:
            raise BadInput(f"{path}: column {missing[0]} is missing; found {', '.join(table.columns) or 'none'}")
        more = [column for column in table.columns if name == "listeners" and column.startswith(BACKGROUND)]
        found[name] = _read_columns(table, columns | dict.fromkeys(more, "string"), path)
    return Answers(**found)


def _read_columns(table: pd.DataFrame, columns: Mapping[str, str], path: Path) -> pd.DataFrame:
    made = {}
    for column, kind in columns.items():
        texts = table[column]
        if kind == "boolean":
            values = texts.str.lower().map({"true": True, "false": False, "1": True, "0": False}).astype("boolean")
            wrong = texts.notna() & values.isna()
        elif kind == "string":
            values, wrong = texts, pd.Series(False, index=texts.index)
        else:
            values = pd.to_numeric(texts, errors="coerce").astype("Float64")
            # A larger one would become another number without a word.
            within = values.between(0, _LARGEST_WHOLE) & (values % 1 == 0) if kind == "int64" else values.between(0, 1)
            wrong = texts.notna() & ~within.fillna(False)
        if kind != "string" and column not in _MAYBE:
            wrong |= texts.isna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            text = "nothing" if pd.isna(texts.iloc[row]) else repr(texts.iloc[row])
            raise BadInput(f"{path}: line {row + 2}, {column}: found {text:.60}, expected {_WORDS[kind]}")
        made[column] = values.astype(kind)
    return pd.DataFrame(made)


_WORDS = {
    "boolean": "True or False",
    "int64": f"a whole number from 0 to {_LARGEST_WHOLE}",
    "Float64": "a number from 0 to 1",
}
