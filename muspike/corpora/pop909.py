"""POP909: 909 pop songs as piano arrangements, with annotated beats, chords and keys (Wang et al. 2020).

Beats, bars and chords are those that the authors extracted from the MIDI files (`beat_midi.txt`, `chord_midi.txt`).
Their files give times in seconds. The metres of the MIDI files are not used: 617 are written in 1/4.

- A bar has four beats (third column of `beat_midi.txt`). Songs whose third column counts in six have bars of three
  (second column).
- Chords become those of the words: tensions and basses that the words cannot say are dropped (`maj6/5` is M).
- The key is the first one of `key_audio.txt`, which was extracted from the recording.
- Files below `versions/` are other arrangements of the same songs, and are not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muspike import midi
from muspike.beat import on_annotated_beats
from muspike.beat.retime import ticks
from muspike.corpora.source import Archive, LeftOut, Source, Taken, stem
from muspike.errors import BadInput
from muspike.midi import ChordMark, Score

# The qualities of the annotations, without what stands behind "/" or in brackets, as those of the words.
_QUALITIES = {
    "maj": "M", "min": "m", "7": "7", "maj7": "M7", "min7": "m7", "dim": "o", "dim7": "o7", "hdim7": "/o7", "aug": "+",
    "sus2": "sus2", "sus4": "sus4", "maj6": "M", "min6": "m", "minmaj7": "m",
}  # fmt: skip
_LATEST_S = 86_400.0  # of an annotation
_PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def read(root: Path, path: Path) -> Taken:
    """A song, on its annotated beats and with its annotated chords.

    Raises:
        LeftOut: an annotation is missing or damaged.
        BadInput: the MIDI file cannot be read.
    """
    score = midi.read(path)
    score = replace(score, chords=_chords(path.with_name("chord_midi.txt"), score))
    table = np.array(_numbers(path.with_name("beat_midi.txt"), 3))
    downbeats = table[:, 2] > 0
    lengths = np.diff(np.flatnonzero(downbeats))
    if len(lengths) and np.bincount(lengths).argmax() == 6:
        downbeats = table[:, 1] > 0
    at = ticks(score, table[:, 0])
    try:
        on_beats = on_annotated_beats(score, list(zip(at.tolist(), downbeats.tolist(), strict=True)))
    except BadInput as error:
        raise LeftOut("annotation cannot be used", str(error)) from error
    return Taken(on_beats, song=path.stem, key=_key(path.with_name("key_audio.txt")), method="annotated")


def _numbers(path: Path, columns: int) -> list[list[float]]:
    try:
        return [[float(field) for field in row] for row in _rows(path, columns)]
    except ValueError as error:
        raise LeftOut("no annotation", f"{path.name}: {error}") from error


def _rows(path: Path, columns: int) -> list[list[str]]:
    """The rows of an annotation; the first columns of each.

    Raises:
        LeftOut: there is no such file, it is empty, or a row is too short or begins with no number.
    """
    try:
        rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        for row in rows:
            if len(row) < columns or not 0 <= float(row[0]) < _LATEST_S:
                raise ValueError(f"a row {' '.join(row)!r}")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise LeftOut("no annotation", f"{path.name}: {why}") from error
    if not rows:
        raise LeftOut("no annotation", f"{path.name}: is empty")
    return [row[:columns] for row in rows]


def _chords(path: Path, score: Score) -> list[ChordMark]:
    rows = _rows(path, 3)
    at: NDArray[np.float64] = ticks(score, np.array([float(row[0]) for row in rows]))
    return [ChordMark(round(tick), symbol(row[2])) for tick, row in zip(at.tolist(), rows, strict=True)]


def symbol(chord: str) -> str:
    """A chord of the annotations, such as "Bb:min7/b7", as a symbol of `chords`, such as "A#_m7".

    Raises:
        LeftOut: it is none.
    """
    if chord == "N":
        return "N"
    root, _, quality = chord.partition(":")
    found = _QUALITIES.get(quality.partition("/")[0].partition("(")[0])
    if found is None or not root or root[0] not in _PITCH_CLASSES:
        raise LeftOut("annotation cannot be used", f"chord {chord!r}: expected ROOT:QUALITY, such as Bb:min7")
    return f"{root}_{found}"


def _key(path: Path) -> tuple[int, bool] | None:
    """The first annotated key; one that is never written, such as D# major, as the one that sounds like it. None: there
    is none.
    """
    try:
        name, _, mode = _rows(path, 3)[0][2].partition(":")
    except LeftOut:
        return None
    if not name or name[0] not in _PITCH_CLASSES:
        return None
    minor = mode.startswith("min")
    written, name_of = (midi.MINOR_KEYS, f"{name}m") if minor else (midi.MAJOR_KEYS, name)
    if name_of in written:
        return written.index(name_of) - 7, minor
    pitch_class = _PITCH_CLASSES[name[0]] + name.count("#") - name.count("b") + (3 if minor else 0)
    return (7 * pitch_class + 5) % 12 - 5, minor


def files(root: Path) -> Iterable[Path]:
    """The MIDI file of each song: `NNN/NNN.mid`, at any depth."""
    return [path for path in root.rglob("*.mid") if path.stem == path.parent.name]


SOURCE = Source(
    version=1,
    title="POP909",
    licence="MIT; the songs have owners",
    read=read,
    files=files,
    archive=Archive(
        "https://github.com/music-x-lab/POP909-Dataset/archive/d83e6edba6872a704f5d3b8b32f5cb540088dae6.zip",
        "POP909-d83e6ed.zip",
    ),
    name=stem,
)
