"""Corpora on disk, of words and of MIDI files that are made here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from muspike import corpora, midi
from muspike.corpora.building import Plan, assemble
from muspike.corpora.reading import FileRecord, Part
from muspike.midi import NOTE, Score, Track, table
from muspike.tokens import BAR_BEAT, BarBeat, Words


def store(pieces: Mapping[str, Words], cache: Path, name: str = "jsb") -> None:
    """Put a corpus of these pieces where `corpora.load(name)` finds it, if `cache` is the user's cache folder."""
    source = replace(corpora.source_of(name), song_of={}, packages=(), keep_alike=True)
    folder = cache / "corpora" / f"{name}-{source.version}"
    work = folder.with_name("parts")
    work.mkdir(parents=True)
    records = [
        FileRecord(
            file,
            sha256=hashlib.sha256(file.encode()).hexdigest(),
            words=len(words),
            notes=int((words[:, BAR_BEAT] == BarBeat.NOTE).sum()),
        )
        for file, words in pieces.items()
    ]
    Part.of(records, list(pieces.values())).save(work / "part.npz")
    assemble(Plan(name, name, source, work, list(pieces), work, folder), [work / "part.npz"])


def write_midi(path: Path, seed: int, notes: int = 40, drums: bool = False) -> Path:
    """Write a small piece of random notes on the beat; the same seed gives the same bytes."""
    random = np.random.default_rng(seed)
    rows = [(120 * 2 * n, 240, int(random.integers(48, 84)), 80, 0) for n in range(notes)]
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write(Score(480, table(rows, NOTE), tracks=[Track("", 0, drums)]), path)
    return path


def write_folder(folder: Path, seeds: Sequence[int]) -> Path:
    """Write a folder of such pieces, `00.mid`, `01.mid` ..."""
    for number, seed in enumerate(seeds):
        write_midi(folder / f"{number:02}.mid", seed)
    return folder
