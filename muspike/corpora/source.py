"""What a corpus is made from: `Source`, and what reading one of its files gives.

A corpus is a module with a `SOURCE` and a row in `corpora.CORPORA`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from muspike.errors import BadInput
from muspike.midi import Score


class LeftOut(BadInput):
    """A file that holds no piece for the corpus. `kind` is why, in a few words that many files share."""

    def __init__(self, kind: str, reason: str = "") -> None:
        super().__init__(reason or kind)
        self.kind = kind


@dataclass(frozen=True)
class Archive:
    """A file that the authors of a corpus publish.

    Attributes:
        url: its address.
        name: its name on disk.
        size: its number of bytes; None: not published.
        md5: its MD5 as hex; None: not published.
    """

    url: str
    name: str
    size: int | None = None
    md5: str | None = None


@dataclass(frozen=True)
class Taken:
    """What a file of a source says.

    Attributes:
        score: the music, on its beat, with chords if the source has them.
        song: the song that it is of; pieces of one song are never in two splits. "": a song of its own.
        key: number of sharps (negative: flats), and whether it is minor; None: unknown.
        tempo_assumed: whether the source gives no tempo.
        labels: what the source says of the piece, by the names of `Source.labels`.
        remarks: what was changed on the way, in sentences.
        method: how the beat was found, such as "as written".
    """

    score: Score
    song: str = ""
    key: tuple[int, bool] | None = None
    tempo_assumed: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    method: str = "as written"


def without_ending(file: str) -> str:
    """A path without its ending."""
    return PurePosixPath(file).with_suffix("").as_posix()


def stem(file: str) -> str:
    """The name of a file without folders and ending."""
    return PurePosixPath(file).stem


@dataclass(frozen=True)
class Source:
    """Where the files of a corpus come from, and how each is read.

    Attributes:
        version: rises whenever the corpus would have other pieces.
        title: what it is, in words.
        licence: its licence, in words.
        read: gives what a file says, from the folder of the source and the path of the file. Raises LeftOut if the
            file has no piece for this corpus.
        files: the files of the pieces in the folder of the source, in any order.
        archive: what is downloaded; None: nothing.
        how: where the files are had if nothing is downloaded, as the end of a sentence.
        folder: finds the files on this machine if they come with an installed package; None: they do not.
        labels: the names of the labels.
        shares: of the pieces in train, validation and test.
        name: the name of the piece of a file, from its path in the folder of the source.
        packages: the packages on whose version the pieces depend.
        song_of: the song of a piece by its name, if the files themselves do not say.
        keep_alike: whether pieces that are nearly alike are kept. They are if songs tell them apart already.
        slow: whether a file takes much longer to read than a MIDI file.
    """

    version: int
    title: str
    licence: str
    read: Callable[[Path, Path], Taken]
    files: Callable[[Path], Iterable[Path]]
    archive: Archive | None = None
    how: str = ""
    folder: Callable[[], Path] | None = None
    labels: tuple[str, ...] = ()
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    name: Callable[[str], str] = without_ending
    packages: tuple[str, ...] = ()
    song_of: Mapping[str, str] = field(default_factory=dict)
    keep_alike: bool = False
    slow: bool = False


MIDI_SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
