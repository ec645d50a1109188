"""Reading the files of a source: one worker reads some files in a row and writes what it found as a part.

What becomes of a file is a `FileRecord`. A file that cannot be read, or holds no piece, never stops a build.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muspike import tokens
from muspike.corpora import duplicates, shards
from muspike.corpora.source import LeftOut, Source
from muspike.errors import BadInput, Failed, one_line
from muspike.files import check_file, write_whole
from muspike.tokens import Words

FEWEST_NOTES = 16
"""Pieces with fewer notes are left out: they are signals and tests, not music."""

LOSSES = (
    "drum_notes", "moved", "triplets", "thirty_seconds", "fused_onsets", "shortened_notes", "shortened_silences",
    "slow_tempi", "fast_tempi",
)  # fmt: skip
"""What is counted of the things that words cannot say, by the names of `tokens.Losses`."""


@dataclass
class FileRecord:
    """What became of one file of a source.

    Attributes:
        file: its path in the folder of the source.
        sha256: of its bytes, as hex.
        bytes: its size.
        kind: why it is left out, as a few words that many files share; "": it is kept.
        reason: the same in full.
        song: the song that it is of.
        key: number of sharps (negative: flats), and whether it is minor; None: unknown.
        tempo_assumed: whether the source gives no tempo.
        labels: what the source says of it.
        words: number of its compound words.
        notes: number of its notes.
        method: how its beat was found.
        losses: what the words cannot say, as counts by name.
        remarks: what was changed on the way, in sentences.
    """

    file: str
    sha256: str = ""
    bytes: int = 0
    kind: str = ""
    reason: str = ""
    song: str = ""
    key: tuple[int, bool] | None = None
    tempo_assumed: bool = False
    labels: dict[str, str] = field(default_factory=dict)
    words: int = 0
    notes: int = 0
    method: str = ""
    losses: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """What a worker found in some files.

    Attributes:
        records: one for each file, in their order.
        words: of the pieces that are kept so far, one after the other, uint8 `[tokens, 7]`.
        sketches: of the same pieces, uint32 `[pieces, HASHES]`.
    """

    records: list[FileRecord]
    words: NDArray[np.uint8]
    sketches: NDArray[np.uint32]

    @classmethod
    def of(cls, records: list[FileRecord], words: Sequence[Words]) -> Part:
        """The part of these records, and of the words of those that are kept."""
        none = np.zeros((0, len(tokens.FEATURES)), np.uint8)
        sketches = np.array([duplicates.sketch(piece) for piece in words], np.uint32)
        return cls(
            records,
            np.concatenate([none, *(piece.astype(np.uint8) for piece in words)]),
            sketches.reshape(len(words), duplicates.HASHES),
        )

    @classmethod
    def joined(cls, parts: Sequence[Part]) -> Part:
        """Parts one after the other."""
        return cls(
            [record for part in parts for record in part.records],
            np.concatenate([part.words for part in parts]),
            np.concatenate([part.sketches for part in parts]),
        )

    def save(self, path: Path) -> None:
        """Write the part, whole or not at all."""
        with write_whole(path) as temporary:
            told = json.dumps([vars(record) for record in self.records]).encode()
            np.savez(temporary, records=np.frombuffer(told, np.uint8), words=self.words, sketches=self.sketches)

    @staticmethod
    def load_records(path: Path) -> list[FileRecord]:
        """The records of the part in a file, without its words."""
        with np.load(path) as stored:
            return [FileRecord(**record) for record in json.loads(stored["records"].tobytes())]

    @staticmethod
    def load_sketches(path: Path) -> NDArray[np.uint32]:
        """The sketches of the part in a file, without its words."""
        with np.load(path) as stored:
            return np.asarray(stored["sketches"])

    @classmethod
    def load(cls, path: Path) -> Part:
        """The part in a file that `save` wrote."""
        with np.load(path) as stored:
            return cls(cls.load_records(path), stored["words"], stored["sketches"])


@dataclass(frozen=True)
class Chunk:
    """Some files of a source, for one worker.

    Attributes:
        source: the name of the corpus in `CORPORA`, or "" for a folder of MIDI files.
        root: the folder of the source.
        files: paths in this folder.
        part: where to write what is found.
    """

    source: str
    root: str
    files: tuple[str, ...]
    part: str


def read_chunk(chunk: Chunk) -> None:
    """Read the files of a chunk and write what they hold as a part."""
    from muspike.corpora import source_of

    source, root = source_of(chunk.source), Path(chunk.root)
    records, kept = [], []
    for file in chunk.files:
        record, words = read_file(source, root, file)
        records.append(record)
        if words is not None:
            kept.append(words)
    Part.of(records, kept).save(Path(chunk.part))


def read_file(source: Source, root: Path, file: str) -> tuple[FileRecord, Words | None]:
    """What becomes of one file, and its words if it is kept so far."""
    record, path = FileRecord(file), root / file

    def left_out(kind: str, why: Exception | str) -> tuple[FileRecord, None]:
        said = str(why) or type(why).__name__
        for own in (f"{path}: ", f"{path.stem}: "):  # where the file lies is not what is wrong with it
            said = said.removeprefix(own)
        record.kind, record.reason = kind, one_line(ValueError(said))
        return record, None

    try:
        check_file(path)  # a pipe could be waited for without end
        record.bytes, record.sha256 = path.stat().st_size, shards.sha256_of(path)
        taken = source.read(root, path)
    except LeftOut as error:
        return left_out(error.kind, error)
    except (BadInput, Failed) as error:
        return left_out("cannot be read", error)
    except OSError as error:
        return left_out("cannot be read", error.strerror or error)
    except (ValueError, TypeError, ArithmeticError, LookupError) as error:  # of a reader that met the unexpected
        return left_out("cannot be read", f"{type(error).__name__}: {error}")
    score = taken.score
    record.notes = len(score.pitched_notes)
    if record.notes < FEWEST_NOTES:
        return left_out(
            f"fewer than {FEWEST_NOTES} notes", f"{record.notes} notes, and {len(score.notes) - record.notes} of drums"
        )
    try:
        words = tokens.encode(score)
    except BadInput as error:
        return left_out("too long for words", error)
    record.song, record.key, record.tempo_assumed = taken.song, taken.key, taken.tempo_assumed
    record.labels, record.method = dict(taken.labels), taken.method
    lost = tokens.losses(score)
    record.losses = {name: count for name, count in vars(lost).items() if name in LOSSES and count}
    record.remarks = [*score.remarks, *taken.remarks, *lost.sentences()]
    record.words, record.notes = len(words), int((words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())
    return record, words
