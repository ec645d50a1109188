"""Words on which to try an exported network."""

from __future__ import annotations

import numpy as np

from muspike.checkpoint import Model
from muspike.generation import SHORTEST, generate
from muspike.host import Noise, Runner
from muspike.tokens import N_AXONS, Words


def example_words(model: Model, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + draws]` that the model composes itself: input as in use, without a data set."""
    return _words(model.network.runner(), count, batch)


def drawn_words(noise: Noise, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + draws]` within the grammar, drawn from random logits, for a network with this noise."""
    return _words(_Dice(noise), count, batch)


def _words(runner: Runner, count: int, batch: int) -> Words:
    pieces = generate(runner, batch, max(count, SHORTEST), seed=0, ended=False)
    return runner.noise.behind(np.stack(pieces, axis=1)[:count])


class _Dice:
    """A runner that knows nothing: its logits are random."""

    def __init__(self, noise: Noise) -> None:
        self.noise = noise

    def reset(self, batch: int) -> None:
        self.random = np.random.default_rng(batch)

    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        logits: np.ndarray[tuple[int, int], np.dtype[np.float32]] = self.random.standard_normal(
            (len(words), N_AXONS), np.float32
        )
        return logits
