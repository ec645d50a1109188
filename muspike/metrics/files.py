"""The metrics of MIDI files: which files, their values, and a table of these."""

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
    """The MIDI files of `paths`. A folder stands for its files that end in .mid or .midi, sorted by name.

    Raises:
        BadInput: a folder has no such file.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        # A name that starts with a dot is not the user's: it is an unfinished file of ours, or macOS's extra file.
        found = [f for f in path.iterdir() if f.suffix.lower() in ENDINGS and not f.name.startswith(".")]
        if not found:
            raise BadInput(f"{path}: holds no MIDI files ({' or '.join(ENDINGS)})")
        files += sorted(found)
    return files


def evaluate_files(files: Sequence[Path], words: int | None = None) -> dict[str, Any]:
    """The values of all `metrics.METRICS` for each file.

    Args:
        files: paths of MIDI files.
        words: evaluate only the first `words` compound words of each file, because most metrics grow with the length.
            None: evaluate the whole file as written, without rounding to the grid of compound words.

    Returns:
        A table, JSON-able except for nan: `files` has a row for each file, `mean` has the mean of each metric over the
        files for which it is defined.

    Raises:
        BadInput: a file is not a MIDI file, has no notes, or has fewer than `words` compound words.
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
        raise BadInput(f"has {len(whole)} compound words; an excerpt of {words} needs more")
    return tokens.decode(whole[:words])


def table(results: Mapping[str, Any]) -> str:
    """The result of `evaluate_files` as text: a line for each file, and a line with the mean if there are several."""
    rows = [(row["file"], row) for row in results["files"]]
    if len(rows) > 1:
        rows.append(("mean", results["mean"]))
    # Long names stand on several lines, a word on each.
    titles = ["file", *(name.replace("_", "\n") for name in metrics.METRICS)]
    cells = [[label, *("–" if math.isnan(row[n]) else f"{row[n]:.4g}" for n in metrics.METRICS)] for label, row in rows]
    return "\n".join(text_table(titles, cells))
