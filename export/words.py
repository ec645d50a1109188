"""Words on which to try an exported network."""

from __future__ import annotations

import numpy as np

from muspike.checkpoint import Model
from muspike.generation import SHORTEST, generate
from muspike.host import Noise, Runner, completed, labels_of
from muspike.labels import Labels
from muspike.tokens import N_AXONS, Words


def example_words(model: Model, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + labels + draws]` that the model composes itself: input as in use, without a data set.

    Labels change from word to word, so that few words try all axons, and none.
    """
    return _words(model.network.runner(), count, batch)


def drawn_words(noise: Noise, labels: Labels, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + labels + draws]` within the grammar, drawn from random logits.

    They are for a network with this noise and these labels, which change from word to word.
    """
    return _words(_Dice(noise, labels), count, batch)


def _words(runner: Runner, count: int, batch: int) -> Words:
    pieces = generate(runner, batch, max(count, SHORTEST), seed=0, ended=False)
    words, labels = np.stack(pieces, axis=1)[:count], labels_of(runner)
    n, b = np.ogrid[: len(words), :batch]
    columns = [(n + b) % (len(values) + 1) - 1 for _, values in labels.axes]
    beside = np.stack(columns, axis=2).astype(np.int16) if columns else words[..., :0]
    return completed(np.concatenate([words, beside], axis=2), runner)


class _Dice:
    """A runner that knows nothing: its logits are random."""

    def __init__(self, noise: Noise, labels: Labels) -> None:
        self.noise, self.labels = noise, labels

    def reset(self, batch: int) -> None:
        self.random = np.random.default_rng(batch)

    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] = self.random.standard_normal(
            (len(words), N_AXONS), np.float32
        )
        return logits
