"""A folder of MIDI files as a corpus. The corpora that are such folders read their files with `read_midi` too."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from muspike import midi
from muspike.beat import on_beat
from muspike.corpora.source import MIDI_SUFFIXES, Source, Taken
from muspike.errors import BadInput, printable

_HIDDEN = (".", "__MACOSX")


def midi_files(folder: Path) -> Iterator[Path]:
    """All MIDI files below `folder`, by their endings, in any order.

    Hidden files and folders are left out, and links to folders are not followed. What a link or a name leads to need
    not be a file: reading it says so.

    Raises:
        BadInput: a folder below cannot be read.
    """
    for place, folders, files in os.walk(folder, onerror=_refused):
        folders[:] = [name for name in folders if not name.startswith(_HIDDEN)]
        for name in files:
            if name.lower().endswith(MIDI_SUFFIXES) and not name.startswith(_HIDDEN):
                yield Path(place, name)


def _refused(error: OSError) -> None:
    raise BadInput(f"{printable(error.filename)}: cannot be read: {error.strerror}") from error


def read_midi(path: Path, song: str = "", labels: Mapping[str, str] | None = None) -> Taken:
    """A MIDI file, brought onto its beat.

    Args:
        path: the file.
        song: the song that it is of.
        labels: what is known of it.

    Raises:
        BadInput: as `midi.read`.
    """
    score = midi.read(path)
    found, keys = on_beat(score), score.key_signatures
    return Taken(
        score=found.score,
        song=song,
        key=(int(keys[0]["fifths"]), bool(keys[0]["minor"])) if len(keys) else None,
        tempo_assumed=not len(score.tempos),
        labels=labels or {},
        remarks=(found.sentence,),
        method=found.method,
    )


def _read(root: Path, path: Path) -> Taken:
    return read_midi(path)


SOURCE = Source(
    version=2,
    title="MIDI files",
    licence="as the owner of the files says",
    read=_read,
    files=midi_files,
)
