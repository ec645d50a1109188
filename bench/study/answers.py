"""The answers of a study as three tables: what the server exports, the simulation makes and the report reads."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

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
