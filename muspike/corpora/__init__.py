"""The corpora by name: `load("jsb")` gives a `Corpus` of pieces as compound words, with its splits.

A corpus is a row in `CORPORA` and the module that the row names. The module has `VERSION` and `build(progress) ->
Corpus`. A corpus is built from its source once and then read from a cache file. `VERSION` is part of the file's name:
raise it whenever `build` would give other pieces.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from muspike.arguments import one_of
from muspike.cache import cache_folder
from muspike.errors import Doubt, Failed, MuspikeError
from muspike.files import check_file, write_whole
from muspike.tokens import Words

CORPORA: Mapping[str, str] = {
    "jsb": "muspike.corpora.jsb",
}
"""The module that builds each corpus, by the corpus's name."""
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Piece:
    """One piece of a corpus.

    Attributes:
        name: its name in the corpus.
        words: its compound words, `[tokens, 7]`.
        key: (fifths, minor): number of sharps, negative for flats; and whether the key is minor.
        tempo_assumed: whether the source gives no tempo.
    """

    name: str
    words: Words
    key: tuple[int, bool]
    tempo_assumed: bool = False


@dataclass(frozen=True)
class Corpus:
    """Pieces and their splits.

    Attributes:
        name: the name in `CORPORA`.
        pieces: all pieces.
        splits: the names of the pieces of each split: train, validation and test.
    """

    name: str
    pieces: list[Piece]
    splits: Mapping[str, list[str]]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all words and splits. It tells on which edition of the corpus a model was trained."""
        sha256 = hashlib.sha256(json.dumps({k: list(v) for k, v in self.splits.items()}).encode())
        for piece in self.pieces:
            sha256.update(f"{piece.name} {piece.words.shape}".encode() + piece.words.astype("<i2").tobytes())
        return sha256.hexdigest()

    def split(self, name: str) -> list[Piece]:
        """The pieces of one split, in the order of the split."""
        by_name = {piece.name: piece for piece in self.pieces}
        return [by_name[piece] for piece in self.splits[name]]


def load(name: str, progress: bool = True) -> Corpus:
    """The corpus called `name`, from the cache; or built, and then put into the cache.

    Args:
        name: a name in `CORPORA`.
        progress: whether to show a bar on stderr while building.

    Raises:
        BadInput: there is no such corpus.
    """
    one_of("corpus", name, CORPORA)
    module = importlib.import_module(CORPORA[name])
    try:
        cache = cache_path(name)
    except Failed as error:
        warnings.warn(f"corpus {name} is not cached: {error}", Doubt, stacklevel=2)
        return cast(Corpus, module.build(progress))
    try:
        if os.path.lexists(cache):
            check_file(cache)
            return _read(name, cache)
    except (
        MuspikeError,
        OSError,
        ValueError,
        LookupError,
        EOFError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        warnings.warn(f"{cache}: damaged ({error}); building the corpus again", Doubt, stacklevel=2)
    corpus: Corpus = module.build(progress)
    try:
        with write_whole(cache) as temporary:
            _write(corpus, temporary)
    except MuspikeError as error:
        warnings.warn(f"corpus {name} is not cached: {error}", Doubt, stacklevel=2)
    return corpus


def cache_path(name: str) -> Path:
    """The cache file of the corpus called `name`.

    Raises:
        Failed: as `cache.cache_folder`.
    """
    module = importlib.import_module(CORPORA[name])
    return cache_folder() / f"{name}-{module.VERSION}.npz"


def _write(corpus: Corpus, path: Path) -> None:
    pieces = corpus.pieces
    split_of = {piece: number for number, split in enumerate(SPLITS) for piece in corpus.splits[split]}
    np.savez_compressed(
        path,
        words=np.concatenate([piece.words for piece in pieces]),
        lengths=np.array([len(piece.words) for piece in pieces]),
        names=np.array([piece.name for piece in pieces]),
        fifths=np.array([piece.key[0] for piece in pieces]),
        minor=np.array([piece.key[1] for piece in pieces]),
        tempo_assumed=np.array([piece.tempo_assumed for piece in pieces]),
        split=np.array([split_of[piece.name] for piece in pieces]),
    )


def _read(name: str, path: Path) -> Corpus:
    # The file is opened here because np.load does not close a damaged file.
    with path.open("rb") as file, np.load(file) as stored:
        tables = {key: stored[key] for key in stored.files}
    if tables["lengths"].sum() != len(tables["words"]):
        raise ValueError(f"{len(tables['words'])} tokens for pieces of {tables['lengths'].sum()}")
    words = np.split(tables["words"], np.cumsum(tables["lengths"])[:-1])
    columns = [tables[key].tolist() for key in ("names", "fifths", "minor", "tempo_assumed", "split")]
    pieces, splits = [], {split: [] for split in SPLITS}  # type: tuple[list[Piece], dict[str, list[str]]]
    for piece_words, piece, fifths, minor, assumed, split in zip(words, *columns, strict=True):
        pieces.append(Piece(piece, piece_words, (fifths, minor), assumed))
        splits[SPLITS[split]].append(piece)
    return Corpus(name, pieces, splits)
