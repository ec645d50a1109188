"""A built corpus on disk: shards of words, an index of pieces, and the lock file.

    lock.json       what the corpus was made from and by, and the SHA-256 of the other files
    manifest.csv    a row for each file of the source: what became of it, and why
    index.json      a column for each property of the pieces: where its words are, its split, key, song and labels
    words-00000.npy ...   uint8 [tokens, 7]

Every feature of a word fits a byte. Shards are mapped into memory, so a piece is read from disk when it is asked for.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from muspike import tokens
from muspike.corpora.corpus import SPLITS, Corpus, Piece, StoredPieces
from muspike.errors import BadInput, one_line, printable
from muspike.files import check_file
from muspike.tokens import Words

FORMAT = 1
LOCK, INDEX, MANIFEST = "lock.json", "index.json", "manifest.csv"
SHARD_WORDS = 8_000_000
"""The most words in a shard, unless one piece alone has more: 56 MB."""
_LARGEST_LOCK = 2**20  # bytes
_CHECKED_BYTES = 64 * 2**20  # a corpus of so many bytes is checked by its hashes whenever it is loaded
_WIDTH = len(tokens.FEATURES)
_SHARD = re.compile(r"words-\d{5,}\.npy")
_ANY = None  # every key of a table
_COUNTS = {_ANY: int}
_KINDS: Mapping[str, Any] = {
    "format": int, "corpus": str, "title": str, "licence": str, "digest": str,
    "muspike": str, "tokens": int, "version": int,
    "source": {"files": int, "sha256": str, "url": (str, NoneType)},
    "packages": {_ANY: str}, "pieces": int, "bars": int,
    "splits": dict.fromkeys(SPLITS, int), "totals": {"notes": int, "words": int},
    "metres": _COUNTS, "keys": _COUNTS, "methods": _COUNTS, "losses": _COUNTS, "left_out": _COUNTS,
    "features": {feature: [int] for feature in tokens.FEATURES},
    "files": {_ANY: {"bytes": int, "sha256": str}},
}  # fmt: skip
"""What a lock holds, and of what kind it is."""
COLUMNS = ("name", "split", "shard", "first", "words", "notes", "song", "fifths", "minor", "tempo_assumed")


def plan(lengths: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """How pieces of so many words go into shards: the shard and first word of each piece, the words of each shard."""
    shard, first, sizes = [], [], [0]
    for length in lengths:
        if sizes[-1] and sizes[-1] + length > SHARD_WORDS:
            sizes.append(0)
        shard.append(len(sizes) - 1)
        first.append(sizes[-1])
        sizes[-1] += length
    return shard, first, sizes


def begin(path: Path, n_words: int) -> BinaryIO:
    """A file to which the words of a shard are written, uint8, one piece after the other. The caller closes it."""
    file = path.open("wb")
    header = {"descr": "|u1", "fortran_order": False, "shape": (n_words, _WIDTH)}
    np.lib.format.write_array_header_1_0(file, header)
    return file


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_line(file: str, sha256: str) -> bytes:
    """What a file adds to the SHA-256 of a source: its path, as the bytes of its name, and the SHA-256 of its bytes."""
    return f"{file}\0{sha256}\n".encode(errors="surrogateescape")


def read_lock(folder: Path) -> dict[str, Any]:
    """The content of the lock file of a built corpus.

    Raises:
        BadInput: there is none, or it is damaged or of another format.
    """
    return _lock(folder / LOCK)


def _lock(path: Path) -> dict[str, Any]:
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        if lock["format"] != FORMAT:
            raise BadInput(f"{path}: has the format {lock['format']}, expected {FORMAT}")
        _check_kinds(lock, _KINDS, "")
        for name in lock["files"]:
            if name not in (INDEX, MANIFEST) and not _SHARD.fullmatch(name):
                raise ValueError(f"files has {printable(name)}, which is no file of a corpus")
    except LookupError as error:
        raise BadInput(f"{path}: is no lock file of a corpus: it lacks {error}") from error
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: is no lock file of a corpus ({one_line(error)})") from error
    return dict(lock)


def _check_kinds(found: Any, kinds: Any, where: str) -> None:
    """Refuse a part of a lock that is not of its kind in `_KINDS`."""
    if isinstance(kinds, dict):
        if not isinstance(found, dict):
            raise ValueError(f"{where or 'it'} is no table")
        for key, kind in kinds.items():
            for name in found if key is _ANY else (key,):
                _check_kinds(found[name], kind, f"{where}.{name}" if where else name)
    elif isinstance(kinds, list):
        if not isinstance(found, list):
            raise ValueError(f"{where} is no list")
        for number, value in enumerate(found):
            _check_kinds(value, kinds[0], f"{where}[{number}]")
    elif not isinstance(found, kinds) or isinstance(found, bool):
        raise ValueError(f"{where} is {one_line(ValueError(repr(found)))[:40]}")


def lock_in(path: Path) -> dict[str, Any]:
    """The content of a lock file that somebody else may have written.

    Raises:
        BadInput: it is none.
    """
    if path.name != LOCK and path.is_dir():
        return read_lock(path)
    check_file(path, _LARGEST_LOCK)
    return _lock(path)


def difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """In what a corpus differs from the one of another lock file, in words; "": its bytes are the same."""
    if found["files"] == wanted["files"]:
        return ""
    causes = ("corpus", "version", "tokens", "packages", "shares", "near_duplicates", "muspike", "digest")
    if found["source"]["sha256"] != wanted["source"].get("sha256"):
        counts = [f"{lock['source'].get('files', 0):,}" for lock in (found, wanted)]
        return f"its files are others ({counts[0]} here, {counts[1]} there; manifest.csv has the SHA-256 of each)"
    for key in causes:
        if found.get(key) != wanted.get(key):
            return f"{key} is {found.get(key)}, there {wanted.get(key)}"
    return "its files on disk differ"


def check(folder: Path, hashes: bool) -> dict[str, Any]:
    """Check that the files of a built corpus are there and whole. Return the lock.

    Args:
        folder: the corpus.
        hashes: whether to read all files and check their hashes; otherwise their sizes alone.

    Raises:
        BadInput: a file is missing, or is not the one that was built.
    """
    lock = read_lock(folder)
    small = sum(file["bytes"] for file in lock["files"].values()) <= _CHECKED_BYTES
    for name, built in lock["files"].items():
        path = folder / name
        try:
            if (size := path.stat().st_size) != built["bytes"]:
                raise BadInput(f"{path}: has {size:,} bytes; {built['bytes']:,} were built")
            if (hashes or small) and sha256_of(path) != built["sha256"]:
                raise BadInput(f"{path}: is not the file that was built; its SHA-256 differs")
        except OSError as error:
            raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    if lock["tokens"] != tokens.VERSION:
        raise BadInput(f"{folder}: has words of version {lock['tokens']}, expected {tokens.VERSION}")
    return lock


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        words: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise BadInput(f"{path}: is damaged ({one_line(error)})") from error
    if words.dtype != np.uint8 or words.ndim != 2 or words.shape[1] != _WIDTH:
        raise BadInput(f"{path}: is damaged: holds {words.dtype} {list(words.shape)}, expected uint8 [words, {_WIDTH}]")
    return words


class Stored(StoredPieces):
    """The pieces of a built corpus."""

    def __init__(self, index: Mapping[str, Any], shards: Sequence[Path]) -> None:
        self._index, self._shards = index, shards
        self.names: Sequence[str] = index["name"]

    @functools.cached_property
    def _mapped(self) -> list[NDArray[np.uint8]]:
        return [_mapped(path) for path in self._shards]

    def __len__(self) -> int:
        return len(self.names)

    def length(self, place: int) -> int:
        """The number of words of a piece."""
        return int(self._index["words"][place])

    def labels(self, place: int) -> dict[str, str]:
        """What the source says of a piece, by the name of the label."""
        return {name: values[place] for name, values in self._index["labels"].items()}

    def words(self, place: int) -> Words:
        """The words of a piece, int16 `[tokens, 7]`."""
        first = self._index["first"][place]
        words: Words = self._mapped[self._index["shard"][place]][first : first + self.length(place)].astype(np.int16)
        return words

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Piece]: ...
    def __getitem__(self, index: int | slice) -> Piece | Sequence[Piece]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        of, fifths = self._index, self._index["fifths"][place]
        return Piece(
            name=self.names[place],
            words=self.words(place),
            key=None if fifths is None else (fifths, of["minor"][place]),
            tempo_assumed=of["tempo_assumed"][place],
            song=of["song"][place],
            labels=self.labels(place),
        )


def open_corpus(folder: Path) -> Corpus:
    """The built corpus in `folder`.

    Raises:
        BadInput: a file is missing or damaged, or the words are of another version.
    """
    lock = check(folder, hashes=False)
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        lengths = {len(index[column]) for column in COLUMNS} | {len(values) for values in index["labels"].values()}
        if len(lengths) != 1:
            raise ValueError(f"columns of {sorted(lengths)} pieces")
        splits: dict[str, list[str]] = {split: [] for split in SPLITS}
        for name, split in zip(index["name"], index["split"], strict=True):
            splits[split].append(name)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(f"{folder / INDEX}: is damaged ({error})") from error
    shards = sorted(name for name in lock["files"] if name.startswith("words-"))
    pieces = Stored(index, [folder / name for name in shards])
    return Corpus(lock["corpus"], pieces, splits, lock["licence"], lock["digest"])


def described(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size and SHA-256 of files, by name."""
    return {path.name: {"bytes": path.stat().st_size, "sha256": sha256_of(path)} for path in paths}
