"""EMOPIA: piano performances of pop songs, each clip with one of four emotions (Hung et al. 2021).

Emotions are the quadrants of Russell's circumplex: Q1 happy, Q2 angry, Q3 sad, Q4 calm. They stand in the names of the
files, and so does the song: `Q1_0vLPYiPN7qY_2.mid` is clip 2 of the song 0vLPYiPN7qY. The clips were transcribed from
recordings at a nominal 120 bpm and have no beat of their own; `muspike.beats` finds one.
"""

from __future__ import annotations

import re
from pathlib import Path

from muspike.corpora.folder import midi_files, read_midi
from muspike.corpora.source import Archive, LeftOut, Source, Taken, stem

_NAME = re.compile(r"Q([1-4])_(.{11})_(\d+)")


def read(root: Path, path: Path) -> Taken:
    """A clip, with its song and its emotion.

    Raises:
        LeftOut: the name of the file says neither.
        BadInput: it cannot be read.
    """
    if not (found := _NAME.fullmatch(path.stem)):
        raise LeftOut("no clip's name", f"{path.name}: expected QUADRANT_SONG_CLIP.mid, such as Q1_0vLPYiPN7qY_2.mid")
    quadrant, song, _ = found.groups()
    return read_midi(path, song, {"emotion": f"Q{quadrant}"})


SOURCE = Source(
    version=1,
    title="EMOPIA",
    licence="CC BY-NC-SA 4.0: not for commercial use",
    read=read,
    files=midi_files,
    archive=Archive(
        "https://zenodo.org/records/5257995/files/EMOPIA_2.2.zip?download=1",
        "EMOPIA_2.2.zip",
        md5="bad5171786a4898f37fc2678e99afd94",
    ),
    labels=("emotion",),
    name=stem,
)
