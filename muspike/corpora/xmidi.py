"""XMIDI: songs with an emotion and a genre each (Tian et al. 2025). The labels stand in the names of the files:
`XMIDI_<emotion>_<genre>_<id>.midi`.

The archive lies on Google Drive, which gives no checksum and no address that a program could rely on. So it is taken
with `--from`. muspike has been run on files of this form, not on the archive itself.
"""

from __future__ import annotations

import re
from pathlib import Path

from muspike.corpora.folder import midi_files, read_midi
from muspike.corpora.source import LeftOut, Source, Taken, stem

_NAME = re.compile(r"XMIDI_([^_]+)_([^_]+)_([^_]+)")


def read(root: Path, path: Path) -> Taken:
    """A song, with its emotion and its genre.

    Raises:
        LeftOut: the name of the file does not say them.
        BadInput: it cannot be read.
    """
    if not (found := _NAME.fullmatch(path.stem)):
        raise LeftOut("no song's name", f"{path.name}: expected XMIDI_EMOTION_GENRE_ID.midi")
    emotion, genre, song = found.groups()
    return read_midi(path, song, {"emotion": emotion, "genre": genre})


SOURCE = Source(
    version=2,
    title="XMIDI",
    licence="as its page says: github.com/xmusic-project/XMIDI_Dataset",
    read=read,
    files=midi_files,
    how="download it from github.com/xmusic-project/XMIDI_Dataset",
    labels=("emotion", "genre"),
    name=stem,
)
