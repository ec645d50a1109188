"""What the host knows of a network that reads words: how long a word lasts, which axons it has, what computes it.

Nothing here needs torch, so that an exported network can be fed where there is no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from muspike.arguments import seconds, whole
from muspike.errors import BadInput
from muspike.sounding import DEAF, Hearing
from muspike.tokens import N_AXONS, OFFSETS, Words


@dataclass(frozen=True)
class Timing:
    """How long a token lasts.

    Attributes:
        ticks: ticks in which the token is presented as input.
        period: ticks from the start of the token to the start of the next one, at least `ticks`.
        dt_s: seconds per tick.

    Raises:
        BadInput: `ticks` or `period` is no whole number, `ticks` is not from 1 to `period`, or `dt_s` is no time.
    """

    ticks: int
    period: int
    dt_s: float = 1e-3

    def __post_init__(self) -> None:
        whole("timing: ticks", self.ticks, 1)
        whole("timing: period", self.period, 1)
        seconds("timing: dt_s", self.dt_s)
        if not 1 <= self.ticks <= self.period:
            raise BadInput(f"timing: ticks {self.ticks} must lie between 1 and the period, {self.period}")


@dataclass(frozen=True)
class Noise:
    """Random input beside a token, on axons after the token's own.

    Attributes:
        draws: number of axons that spike with each token, each from a group of its own.
        values: number of axons in a group; the host draws one of them, each with the same chance.

    Raises:
        BadInput: `draws` is negative, or `values` is not from 1 to 2^15 (0 is allowed if there are no draws).
    """

    draws: int = 0
    values: int = 0

    def __post_init__(self) -> None:
        if self.draws < 0 or not min(1, self.draws) <= self.values <= 2**15:
            raise BadInput(f"noise: {self.draws} draws of one of {self.values} values; expected 1 to {2**15} values")

    @property
    def axons(self) -> int:
        return self.draws * self.values

    @property
    def offsets(self) -> tuple[int, ...]:
        """The first axon of each column of a token: of its seven features, then of each draw."""
        return (*OFFSETS, *(N_AXONS + k * self.values for k in range(self.draws)))

    def drawn(self, seed: int, pieces: Iterable[int], length: int) -> Words:
        """Draws for `length` tokens of each of `pieces`: int16 `[length, pieces, draws]`.

        The draws of piece i depend on (seed, i) alone. They are independent of anything else drawn from (seed, i).
        """
        streams = (np.random.default_rng([seed, piece]).spawn(1)[0] for piece in pieces)
        shape, values = (length, self.draws), max(1, self.values)  # integers() refuses 0 values, even for 0 draws
        return np.stack([stream.integers(values, size=shape, dtype=np.int16) for stream in streams], axis=1)

    def behind(self, words: Words, seed: int = 0) -> Words:
        """`words` `[tokens, pieces, 7]` followed by the draws of `drawn`, `[tokens, pieces, 7 + draws]`."""
        length, pieces, _ = words.shape
        return np.concatenate([words, self.drawn(seed, range(pieces), length)], axis=2)


SILENT = Noise()
"""No random input."""


def input_axons(noise: Noise = SILENT, hearing: Hearing = DEAF) -> int:
    """Axons of a network's input: those of a token, then those of the noise, then those of what sounds."""
    return N_AXONS + noise.axons + hearing.axons


class Runner(Protocol):
    """A generator as its host sees it: tokens go in and logits come out, for several pieces side by side."""

    @property
    def noise(self) -> Noise:
        """The noise that the host draws for each token."""

    def reset(self, batch: int) -> None:
        """Bring the network to rest and get it ready for `batch` pieces side by side."""

    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the next word of each piece, after `words` `[batch, 7 + draws of noise]`."""
