"""`Corpus`: pieces as compound words, with their splits. The pieces may lie in memory or in files."""

from __future__ import annotations

import functools
import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar, overload

import numpy as np

from muspike.errors import BadInput
from muspike.tokens import Words

T = TypeVar("T")
SPLITS = ("train", "validation", "test")
EVALUATED_WORDS = 100_000
"""A figure of a split that has more words is taken of about so many, from pieces all over the split."""


@dataclass(frozen=True)
class Piece:
    """One piece of a corpus.

    Attributes:
        name: its name in the corpus.
        words: its compound words, int16 `[tokens, 7]`.
        key: (fifths, minor): number of sharps, negative for flats; and whether the key is minor. None: unknown.
        tempo_assumed: whether the source gives no tempo.
        song: the song it is of; pieces of one song are never in two splits.
        labels: what the source says of it, such as an emotion, by the name of the label.
    """

    name: str
    words: Words
    key: tuple[int, bool] | None = None
    tempo_assumed: bool = False
    song: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Corpus:
    """Pieces and their splits.

    Attributes:
        name: the name that `corpora.load` finds it by.
        pieces: all pieces. In files, a piece is read when it is asked for.
        splits: the names of the pieces of each split: train, validation and test.
        licence: the licence of the data, in words.
        built_digest: the digest that the build computed; "": it is computed when it is asked for.
    """

    name: str
    pieces: Sequence[Piece]
    splits: Mapping[str, Sequence[str]]
    licence: str = ""
    built_digest: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all words and splits. It tells on which edition of the corpus a model was trained."""
        if self.built_digest:
            return self.built_digest
        sha256 = digest_of(self.splits)
        for piece in self.pieces:
            add_to_digest(sha256, piece.name, piece.words)
        return sha256.hexdigest()

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        names: Iterable[str]
        names = self.pieces.names if isinstance(self.pieces, StoredPieces) else (piece.name for piece in self.pieces)
        return {name: place for place, name in enumerate(names)}

    def split(self, name: str) -> Sequence[Piece]:
        """The pieces of one split, in the order of the split. Each is read when it is asked for."""
        return _Each(self.pieces.__getitem__, self._in(name))

    def words(self, split: str) -> Sequence[Words]:
        """The compound words of the pieces of one split, in the order of the split; each is read when asked for."""
        return _Each(lambda place: self.pieces[place].words, self._in(split))

    def evaluated(self, split: str) -> list[Words]:
        """The compound words of the pieces of one split that figures are taken of: all, or, of a very large split,
        pieces at equal distances over it that have about `EVALUATED_WORDS` together.
        """
        return list(self.words(split)[:: self._stride(split)])

    def labels(self, split: str) -> Sequence[Mapping[str, str]]:
        """The labels of the pieces of one split, in the order of the split; no words are read."""
        return _Each(self._labels, self._in(split))

    def evaluated_labels(self, split: str) -> Sequence[Mapping[str, str]]:
        """The labels of the pieces of `evaluated`."""
        return self.labels(split)[:: self._stride(split)]

    def label_values(self, name: str) -> list[str]:
        """The values that a label has in the training pieces, sorted.

        Raises:
            BadInput: no training piece has this label. The message says which labels there are.
        """
        found: dict[str, set[str]] = {}
        for labels in self.labels("train"):
            for label, value in labels.items():
                if value:
                    found.setdefault(label, set()).add(value)
        if name not in found:
            known = f"it has {', '.join(sorted(found))}" if found else "it has no labels"
            raise BadInput(f"corpus {self.name}: its training pieces have no label {name!r:.60}; {known}")
        return sorted(found[name])

    def _stride(self, split: str) -> int:
        """The distance of the pieces that figures are taken of."""
        total = sum(self._length(place) for place in self._in(split))
        return max(1, round(total / EVALUATED_WORDS))

    def _in(self, split: str) -> list[int]:
        """The places of the pieces of a split."""
        return [self._places[piece] for piece in self.splits[split]]

    def _length(self, place: int) -> int:
        if isinstance(self.pieces, StoredPieces):
            return self.pieces.length(place)
        return len(self.pieces[place].words)

    def _labels(self, place: int) -> Mapping[str, str]:
        return self.pieces.labels(place) if isinstance(self.pieces, StoredPieces) else self.pieces[place].labels


class StoredPieces(Sequence[Piece]):
    """Pieces that lie in files. A subclass says their names, lengths and labels without reading them."""

    names: Sequence[str]

    @abstractmethod
    def length(self, place: int) -> int:
        """The number of words of a piece."""

    @abstractmethod
    def labels(self, place: int) -> Mapping[str, str]:
        """What the source says of a piece."""


class _Each(Sequence[T]):
    """What a function gives for each of some places, when it is asked for."""

    def __init__(self, get: Callable[[int], T], places: Sequence[int]) -> None:
        self._get, self._places = get, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return _Each(self._get, self._places[index])
        return self._get(self._places[index])


def digest_of(splits: Mapping[str, Sequence[str]]) -> hashlib._Hash:
    """The beginning of a digest. The pieces follow, in their order, with `add_to_digest`."""
    return hashlib.sha256(json.dumps({split: list(names) for split, names in splits.items()}).encode())


def add_to_digest(sha256: hashlib._Hash, name: str, words: Words) -> None:
    """Add a piece to a digest."""
    sha256.update(f"{name} {words.shape}".encode() + np.ascontiguousarray(words, "<i2").tobytes())


def split_by_song(names: Sequence[str], song_of: Mapping[str, str], shares: Sequence[float]) -> dict[str, list[str]]:
    """Split pieces by shares: names by split. Pieces of one song are in one split.

    The pieces are ordered by the SHA-256 of their song and cut. A cut never divides a song: it falls after it. So the
    result is the same on every machine. Three pieces or more that are songs of their own leave no split empty.

    Args:
        names: the pieces.
        song_of: the song of each piece; a piece that is missing here is a song of its own.
        shares: of train, validation and test. They sum to 1.

    Raises:
        BadInput: the shares do not sum to 1.
    """
    if len(shares) != len(SPLITS) or abs(sum(shares) - 1) > 1e-9 or min(shares) < 0:
        raise BadInput(f"splits: shares {list(shares)}; expected {len(SPLITS)} shares that sum to 1")
    song = {name: song_of.get(name) or name for name in names}
    ordered = sorted(names, key=lambda name: (hashlib.sha256(song[name].encode()).digest(), name))
    cuts = [0]
    for left, share in zip((2, 1), np.cumsum(shares)[:-1], strict=True):
        cut = max(round(share * len(ordered)), cuts[-1])
        if len(ordered) >= len(SPLITS):  # no split of few pieces is empty
            cut = min(max(cut, cuts[-1] + 1), len(ordered) - left)
        while 0 < cut < len(ordered) and song[ordered[cut]] == song[ordered[cut - 1]]:
            cut += 1
        cuts.append(cut)
    bounds = zip(SPLITS, cuts, [*cuts[1:], len(ordered)], strict=True)
    return {split: sorted(ordered[start:end]) for split, start, end in bounds}
