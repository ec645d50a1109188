"""The metrics of MIDI files and of the pieces of a corpus: which pieces, their values, the means."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muspike import metrics, midi, tokens
from muspike.errors import BadInput
from muspike.files import path_error
from muspike.metrics.grid import Grid
from muspike.tables import Table

ENDINGS = (".mid", ".midi")
MOST_COLUMNS = 6
"""Files that have a column each in the table of `MeasuredFiles`."""


@dataclass(frozen=True)
class MeasuredFiles:
    """Pieces and their values.

    Attributes:
        files: the files, or the names of the pieces, that were measured.
        values: for each metric in `metrics.METRICS` its values, float64 `[files]`; nan where it is not defined.
        histograms: for each metric in `metrics.HISTOGRAMS` its values, float64 `[files, ...]`; empty unless asked for.
        grids: what was measured of each piece; empty unless asked for with the histograms.
        remarks: for each file what reading and shortening it had to change or leave out.
        failed: for each file that could not be measured, the error, which names the file.
    """

    files: list[str]
    values: dict[str, np.ndarray[Any, np.dtype[np.float64]]]
    histograms: dict[str, np.ndarray[Any, np.dtype[np.float64]]]
    grids: list[Grid]
    remarks: list[tuple[str, ...]]
    failed: dict[str, str]

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
            {"file": file, "remarks": list(remarks), **{name: float(v[i]) for name, v in self.values.items()}}
            for i, (file, remarks) in enumerate(named)
        ]
        failed = [{"file": file, "error": error} for file, error in self.failed.items()]
        return {"files": rows, "mean": self.means(), "files_in_mean": self.counts(), "failed": failed}

    def table(self) -> Table:
        """A row for each metric. Columns: each file, if there are at most `MOST_COLUMNS`; the mean; the files in it.

        If there are more files, the lowest and the highest value stand there instead.
        """
        each = len(self.files) <= MOST_COLUMNS
        titles = ["metric", "unit", *(self.files if each else ("lowest", "highest"))]
        several_files = len(self.files) > 1
        titles += ["mean", "files in\nthe mean"] if several_files else []
        means, counts = self.means(), self.counts()
        rows = []
        for name, values in self.values.items():
            known = values[~np.isnan(values)]
            shown = values.tolist() if each else [known.min(initial=np.inf), known.max(initial=-np.inf)]
            shown = [value if math.isfinite(value) else math.nan for value in shown]
            row = [name, metrics.METRICS[name].unit, *map(_cell, shown)]
            rows.append([*row, *([_cell(means[name]), f"{counts[name]:,}"] if several_files else [])])
        return Table("metrics", titles, rows, left=(0, 1))


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
    histograms: bool = False,
    progress: Callable[[], object] | None = None,
) -> MeasuredFiles:
    """The values of all `metrics.METRICS` for each file.

    Args:
        files: paths of MIDI files.
        words: measure only the first `words` compound words of each file, because most metrics grow with the length.
            None: measure the whole file as written, without rounding to the grid of compound words. Metrics that are
            `whole` are measured on the whole file in any case.
        strict: whether the first file that cannot be measured ends the work. Else it stands in `failed`.
        histograms: whether to compute `metrics.HISTOGRAMS` too, and to keep the grids.
        progress: is called after each file.

    Raises:
        BadInput: `strict`, and a file is not a MIDI file, has no notes, or has fewer than `words` compound words.
    """
    pieces = [(str(file), lambda remarks, file=file: _read(file, remarks)) for file in files]
    return _measure_all(pieces, words, strict, histograms, progress)


Open = Callable[[list[str]], midi.Score]
"""Gives a piece, and puts what had to be changed into the list."""


def measure_pieces(
    pieces: Sequence[tuple[str, Open]], words: int | None = None, *, progress: Callable[[], object] | None = None
) -> MeasuredFiles:
    """As `measure`, with histograms, for pieces of any kind by name, such as those of a corpus."""
    return _measure_all(pieces, words, False, True, progress)


def _measure_all(
    pieces: Sequence[tuple[str, Open]],
    words: int | None,
    strict: bool,
    histograms: bool,
    progress: Callable[[], object] | None,
) -> MeasuredFiles:
    found, failed = [], {}
    for name, opened in pieces:
        try:
            found.append((name, *_measure(name, opened, words, histograms)))
        except BadInput as error:
            if strict:
                raise
            failed[name] = str(error)
        if progress:
            progress()
    values = {of: np.array([row[of] for _, row, *_ in found], np.float64) for of in metrics.METRICS}
    vectors = {of: _stacked(of, [row[of] for _, row, *_ in found]) for of in metrics.HISTOGRAMS if histograms}
    grids = [grid for _, _, grid, _ in found] if histograms else []
    return MeasuredFiles([name for name, *_ in found], values, vectors, grids, [row[-1] for row in found], failed)


def _stacked(name: str, arrays: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The values of a histogram, `[files, ...]`."""
    shapes = sorted({np.shape(array) for array in arrays})
    if len(shapes) > 1:
        raise BadInput(f"metric {name}: gives arrays of the shapes {shapes[0]} and {shapes[1]}; one shape is wanted")
    return np.array(arrays, np.float64)


def _read(file: Path, remarks: list[str]) -> midi.Score:
    if os.path.isdir(file):  # noqa: PTH112  # Path.is_dir raises if this user may not look
        _inside(file)
    score = pitched(midi.read(file), file)
    remarks += score.remarks
    return score


def pitched(score: midi.Score, file: Path) -> midi.Score:
    """The score of a file.

    Raises:
        BadInput: it has no notes outside the drums.
    """
    if not len(score.pitched_notes):
        raise BadInput(f"{file}: holds notes of drums alone; the metrics are those of pitched notes")
    return score


def _measure(
    name: str, opened: Open, words: int | None, histograms: bool
) -> tuple[dict[str, Any], Grid, tuple[str, ...]]:
    remarks: list[str] = []
    score = opened(remarks)
    try:
        whole = grid = metrics.on_grid(score)
        if words is not None:
            grid = metrics.on_grid(_excerpt(score, words, remarks))
        known = metrics.METRICS | (metrics.HISTOGRAMS if histograms else {})
        values = {of: metric.function(whole if metric.whole else grid) for of, metric in known.items()}
    except BadInput as error:
        raise BadInput(f"{name}: {error}") from error
    return values, grid, tuple(remarks)


def _excerpt(score: midi.Score, words: int, remarks: list[str]) -> midi.Score:
    whole = tokens.encode(score, remarks)
    if len(whole) < words:
        raise BadInput(f"has {len(whole)} compound words; an excerpt of {words} needs more")
    # Chords are recognised in what is measured, whether or not the piece has some.
    return dataclasses.replace(tokens.decode(whole[:words]), chords=None)


def _cell(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"
