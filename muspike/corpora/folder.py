"""A folder of MIDI files as a corpus. The corpora that are such folders read their files with `read_midi` too."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muspike import midi
from muspike.beat import on_beat
from muspike.corpora.source import MIDI_SUFFIXES, Source, Taken


def midi_files(folder: Path) -> list[Path]:
    """All MIDI files below `folder`, by their endings. Hidden files and folders are left out."""
    found = []
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith((".", "__MACOSX")) for part in path.relative_to(folder).parts)
        if path.suffix.lower() in MIDI_SUFFIXES and not hidden and path.is_file():
            found.append(path)
    return found


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
    version=1,
    title="MIDI files",
    licence="as the owner of the files says",
    read=_read,
    files=midi_files,
)
