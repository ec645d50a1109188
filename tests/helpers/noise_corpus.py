"""Corpora without music: random logits compose their pieces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from muspike.corpora import Corpus, Piece
from muspike.generation import Logits, generate
from muspike.host import Noise as NoiseAxons
from muspike.tokens import BAR_BEAT, N_AXONS, BarBeat, Words


class Noise:
    """A runner without a network: its random logits visit every corner of the grammar, the same after each reset."""

    noise = NoiseAxons()

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        self.seed, self.scale = seed, scale

    def reset(self, batch: int) -> None:
        self.batch, self.random = batch, np.random.default_rng(self.seed)

    def step(self, words: Words) -> Logits:
        return (self.random.standard_normal((self.batch, N_AXONS)) * self.scale).astype(np.float32)


def whole_pieces(count: int, length: int) -> list[Words]:
    """Pieces of exactly `length` words, END included: those of many cut ones that happen to be cut after a NOTE."""
    cut = generate(Noise(), 12 * count, length - 1, seed=length, batch=12 * count, ended=False)
    pieces = [words for words in cut if words[-1, BAR_BEAT] == BarBeat.NOTE][:count]
    assert len(pieces) == count
    return [np.vstack([words, [[*words[-1, :2], BarBeat.END, 0, 0, 0, 0]]]).astype(np.int16) for words in pieces]


def noise_corpus(
    lengths: Sequence[int],
    train: int,
    validation: int,
    name: str = "noise",
    labels: Mapping[str, Sequence[str]] | None = None,
) -> Corpus:
    """Pieces `piece0`, `piece1`, ... of so many words each; `train` and `validation` of them, the rest is the test.

    The values of `labels`, by name, are dealt out to the pieces in turn.
    """
    composed = {n: iter(whole_pieces(count, n)) for n, count in Counter(lengths).items()}
    dealt = [{name: values[i % len(values)] for name, values in (labels or {}).items()} for i in range(len(lengths))]
    pieces = [Piece(f"piece{i}", next(composed[n]), (0, False), labels=dealt[i]) for i, n in enumerate(lengths)]
    names = [piece.name for piece in pieces]
    splits = {"train": names[:train], "validation": names[train:][:validation], "test": names[train + validation :]}
    return Corpus(name, pieces, splits)
