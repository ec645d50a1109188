"""The metrics of MIDI files: which files, their values, the means, and the distance from reference files."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muspike import metrics, midi, tokens
from muspike.errors import BadInput
from muspike.files import path_error
from muspike.metrics.distance import Distance, distances
from muspike.tables import text_table

ENDINGS = (".mid", ".midi")


@dataclass(frozen=True)
class Measured:
    """Files and the values of their pieces.

    Attributes:
        files: the files that could be measured.
        values: for each metric in `metrics.METRICS` its values, float64 `[files]`; nan where it is not defined.
        remarks: for each file what reading and shortening it had to change or leave out.
        failed: for each file that could not be measured, the error, which names the file.
    """

    files: list[Path]
    values: dict[str, np.ndarray[Any, np.dtype[np.float64]]]
    remarks: list[tuple[str, ...]]
    failed: dict[Path, str]

    def means(self) -> dict[str, float]:
        """The mean of each metric over the files for which it is defined; nan if there are none."""
        return {
            name: float(known.mean()) if len(known := values[~np.isnan(values)]) else math.nan
            for name, values in self.values.items()
        }

    def counts(self) -> dict[str, int]:
        """For each metric, the number of files for which it is defined."""
        return {name: int((~np.isnan(values)).sum()) for name, values in self.values.items()}

    def to_dict(self) -> dict[str, Any]:
        """JSON-able except for nan: a row for each file, the means, and what failed."""
        named = zip(self.files, self.remarks, strict=True)
        rows = [
            {"file": str(file), "remarks": list(remarks), **{name: float(v[i]) for name, v in self.values.items()}}
            for i, (file, remarks) in enumerate(named)
        ]
        failed = [{"file": str(file), "error": error} for file, error in self.failed.items()]
        return {"files": rows, "mean": self.means(), "files_in_mean": self.counts(), "failed": failed}

    def lines(self) -> Iterator[str]:
        """A table: a row for each file; if there are several, one with the means and one with the files in them."""
        names = list(self.values)
        rows = [[str(file), *(_cell(self.values[n][i]) for n in names)] for i, file in enumerate(self.files)]
        if len(self.files) > 1:
            means, counts = self.means(), self.counts()
            rows.append(["mean", *(_cell(means[n]) for n in names)])
            rows.append(["files in the mean", *(f"{counts[n]:,}" for n in names)])
        # Long names stand on several lines, a word on each.
        return text_table(["file", *(n.replace("_", "\n") for n in names)], rows)


@dataclass(frozen=True)
class Compared:
    """Measured files beside reference files.

    Attributes:
        measured: the files.
        reference: the reference files.
        distances: for each metric, how far the files are from the reference files.
    """

    measured: Measured
    reference: Measured
    distances: dict[str, Distance]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able except for nan: what stands beside the means of the files."""
        return {
            "files": len(self.reference.files),
            "mean": self.reference.means(),
            "files_in_mean": self.reference.counts(),
            "overlapping_area": {name: found.overlapping_area for name, found in self.distances.items()},
            "kl_divergence_nats": {name: found.kl_divergence for name, found in self.distances.items()},
            "failed": [{"file": str(file), "error": error} for file, error in self.reference.failed.items()],
        }

    def lines(self) -> Iterator[str]:
        """A table: a row for each metric with both means and the overlapping area."""
        titles = ["metric", "unit", "mean", "files", "reference\nmean", "reference\nfiles", "overlapping\narea"]
        sides = [(side.means(), side.counts()) for side in (self.measured, self.reference)]
        rows = [
            [
                name,
                metrics.METRICS[name].unit,
                *(cell for means, counts in sides for cell in (_cell(means[name]), f"{counts[name]:,}")),
                _cell(found.overlapping_area),
            ]
            for name, found in self.distances.items()
        ]
        return text_table(titles, rows, left=(0, 1))


def midi_files(paths: Sequence[Path]) -> list[Path]:
    """The MIDI files of `paths`. A folder stands for its files that end in .mid or .midi, sorted by name.

    A folder without such files stands for itself, so that `measure` names it among what cannot be measured.
    """
    files: list[Path] = []
    for path in paths:
        try:
            files += _inside(path) if path.is_dir() else [path]
        except (BadInput, OSError):  # reading it will say why
            files.append(path)
    return files


def _inside(folder: Path) -> list[Path]:
    """The MIDI files of a folder, sorted by name.

    Raises:
        BadInput: it cannot be read, or has none.
    """
    try:
        # A name that starts with a dot is not the user's: it is an unfinished file of ours, or macOS's extra file.
        found = [f for f in folder.iterdir() if f.suffix.lower() in ENDINGS and not f.name.startswith(".")]
        found = [f for f in found if not f.is_dir()]
    except OSError as error:
        raise path_error(f"{folder}: cannot be read", error) from error
    if not found:
        raise BadInput(f"{folder}: holds no MIDI files ({' or '.join(ENDINGS)})")
    return sorted(found)


def measure(
    files: Sequence[Path],
    words: int | None = None,
    *,
    strict: bool = False,
    progress: Callable[[], object] | None = None,
) -> Measured:
    """The values of all `metrics.METRICS` for each file.

    Args:
        files: paths of MIDI files.
        words: measure only the first `words` compound words of each file, because most metrics grow with the length.
            None: measure the whole file as written, without rounding to the grid of compound words.
        strict: whether the first file that cannot be measured ends the work. Else it stands in `failed`.
        progress: is called after each file.

    Raises:
        BadInput: `strict`, and a file is not a MIDI file, has no notes, or has fewer than `words` compound words.
    """
    found, failed = [], {}
    for file in files:
        try:
            found.append((file, *_measure(file, words)))
        except BadInput as error:
            if strict:
                raise
            failed[file] = str(error)
        if progress:
            progress()
    values = {name: np.array([row[name] for _, row, _ in found], np.float64) for name in metrics.METRICS}
    return Measured([file for file, _, _ in found], values, [remarks for _, _, remarks in found], failed)


def compare(measured: Measured, reference: Measured) -> Compared:
    """Measured files beside reference files, which were measured alike."""
    return Compared(measured, reference, distances(measured.values, reference.values))


def _measure(file: Path, words: int | None) -> tuple[dict[str, float], tuple[str, ...]]:
    if os.path.isdir(file):  # noqa: PTH112  # Path.is_dir raises if this user may not look
        _inside(file)
    score = midi.read(file)
    if not len(score.pitched_notes):
        raise BadInput(f"{file}: holds notes of drums alone; the metrics are those of pitched notes")
    remarks = list(score.remarks)
    try:
        values = metrics.evaluate(score if words is None else _excerpt(score, words, remarks))
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
    return values, tuple(remarks)


def _excerpt(score: midi.Score, words: int, remarks: list[str]) -> midi.Score:
    whole = tokens.encode(score, remarks)
    if len(whole) < words:
        raise BadInput(f"has {len(whole)} compound words; an excerpt of {words} needs more")
    return tokens.decode(whole[:words])


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
