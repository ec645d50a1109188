"""The metrics of MIDI files, for people who have some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muspike import metrics, midi, tokens
from muspike.errors import BadInput
from muspike.tables import text_table

ENDINGS = (".mid", ".midi")


def midi_files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and those in its folders that end in .mid or .midi, sorted in each folder.

    Raises:
        BadInput: a folder without any.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        # Names with a dot in front are not the user's: our own unfinished files, or what macOS lays beside others.
        found = [f for f in path.iterdir() if f.suffix.lower() in ENDINGS and not f.name.startswith(".")]
        if not found:
            raise BadInput(f"{path}: holds no MIDI files ({' or '.join(ENDINGS)})")
        files += sorted(found)
    return files


def evaluate_files(files: Sequence[Path], words: int | None = None) -> dict[str, Any]:
    """All of `metrics.METRICS` of each file, JSON-able but for nan: `files`, a row each, and the `mean` of the rows.

    The mean is over the files for which a metric is defined.

    Args:
        words: read only the first so many compound words of each, because most metrics grow with the length; None: all
            of the file as it is, without the grid of compound words.

    Raises:
        BadInput: a file is no MIDI file, has no notes, or fewer than `words` compound words.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        score = midi.read(file)
        try:
            values = metrics.evaluate(score if words is None else _excerpt(score, words))
        except BadInput as error:
            raise BadInput(f"{file}: {error}") from error
        rows.append({"file": str(file), **values})
    mean = {}
    for name in metrics.METRICS:
        known = [row[name] for row in rows if not math.isnan(row[name])]
        mean[name] = float(np.mean(known)) if known else math.nan
    return {"files": rows, "mean": mean}


def _excerpt(score: midi.Score, words: int) -> midi.Score:
    whole = tokens.encode(score)
    if len(whole) < words:
        raise BadInput(f"has {len(whole)} compound words, asked for is an excerpt of {words}")
    return tokens.decode(whole[:words])


def table(results: Mapping[str, Any]) -> str:
    """What `evaluate_files` gives, for people: a line per file, and the mean under it where there are several."""
    rows = [(row["file"], row) for row in results["files"]]
    if len(rows) > 1:
        rows.append(("mean", results["mean"]))
    # Long names stand on several lines, a word on each.
    titles = ["file", *(name.replace("_", "\n") for name in metrics.METRICS)]
    cells = [[label, *("–" if math.isnan(row[n]) else f"{row[n]:.4g}" for n in metrics.METRICS)] for label, row in rows]
    return "\n".join(text_table(titles, cells))
