"""What the host knows of a network that reads words: how long a word lasts, which axons it has, what computes it.

Nothing here needs torch, so that an exported network can be fed where there is no torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from muspike.arguments import seconds, whole
from muspike.errors import BadInput
from muspike.labels import UNLABELLED, Labels, of_words
from muspike.sounding import DEAF, Hearing, State
from muspike.tokens import FEATURES, N_AXONS, OFFSETS, Words


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
        """The first axon of each column of a token without labels: of its seven features, then of each draw."""
        return (*OFFSETS, *(N_AXONS + k * self.values for k in range(self.draws)))

    def drawn(self, seed: int, pieces: Iterable[int], length: int) -> Words:
        """Draws for `length` tokens of each of `pieces`: int16 `[length, pieces, draws]`.

        The draws of piece i depend on (seed, i) alone. They are independent of anything else drawn from (seed, i).
        """
        streams = (np.random.default_rng([seed, piece]).spawn(1)[0] for piece in pieces)
        shape, values = (length, self.draws), max(1, self.values)  # integers() refuses 0 values, even for 0 draws
        return np.stack([stream.integers(values, size=shape, dtype=np.int16) for stream in streams], axis=1)

    def behind(self, words: Words, seed: int = 0) -> Words:
        """`words` `[tokens, pieces, columns]` followed by the draws of `drawn`, `[tokens, pieces, columns + draws]`."""
        length, pieces, _ = words.shape
        return np.concatenate([words, self.drawn(seed, range(pieces), length)], axis=2)


SILENT = Noise()
"""No random input."""


def input_axons(noise: Noise = SILENT, hearing: Hearing = DEAF, labels: Labels = UNLABELLED) -> int:
    """Axons of a network's input: those of a token, of the noise, of what sounds, and of the labels, in this order."""
    return N_AXONS + noise.axons + hearing.axons + labels.axons


class Reader(Protocol):
    """What reads words with labels and noise beside them: a network, a runner, or a file. It may have `labels`."""

    @property
    def noise(self) -> Noise:
        """The noise that the host draws for each token."""


def labels_of(reader: Reader) -> Labels:
    """The labels that `reader` hears; one that has no attribute `labels` hears none."""
    labels: Labels = getattr(reader, "labels", UNLABELLED)
    return labels


def check_columns(columns: int, noise: Noise, labels: Labels) -> None:
    """Check that words have seven columns, or those of the labels too, or those of labels and noise.

    Raises:
        BadInput: they have another number.
    """
    labelled = len(FEATURES) + len(labels.axes)
    known = dict.fromkeys((len(FEATURES), labelled, labelled + noise.draws))
    if columns not in known:
        raise BadInput(
            f"words: have {columns} columns; this network reads {' or '.join(map(str, known))}: "
            f"{len(FEATURES)} features, {len(labels.axes)} labels, {noise.draws} draws of noise"
        )


def completed(words: Words, reader: Reader, seed: int = 0) -> Words:
    """`words` with all columns that `reader` reads, int16 `[tokens, pieces, 7 + labels + draws]`.

    Args:
        words: `[tokens, pieces, 7]`, whose labels are then unknown, or with labels `[tokens, pieces, 7 + labels]`.
        reader: the network, or its runner or presentation.
        seed: of the noise, as in `Noise.drawn`.

    Raises:
        BadInput: `words` have another number of columns.
    """
    noise, labels = reader.noise, labels_of(reader)
    check_columns(words.shape[2], noise, labels)
    if words.shape[2] == len(FEATURES):
        words = labels.behind(words)
    return noise.behind(words, seed) if words.shape[2] == len(FEATURES) + len(labels.axes) else words


def without_labels(words: npt.NDArray[np.integer], labels: Labels) -> npt.NDArray[np.integer]:
    """`words` `[..., 7 + labels + draws]` without the columns of the labels: the columns of `Noise.offsets`."""
    first = len(FEATURES)
    return np.concatenate([words[..., :first], words[..., first + len(labels.axes) :]], axis=-1) if labels else words


def context_axons(
    words: npt.NDArray[np.integer], noise: Noise, hearing: Hearing, labels: Labels, heard: State
) -> npt.NDArray[np.int64]:
    """The axons that spike for what sounds and for the labels, int64 `[tokens, batch, columns]`.

    Columns without a spike hold `sounding.NONE`.

    Args:
        words: `[tokens, batch, 7 + labels + draws]`.
        noise, hearing, labels: what the network hears.
        heard: what has sounded before the words; it is brought up to date.
    """
    first = N_AXONS + noise.axons
    sounds = hearing.hear(np.asarray(words, np.int16), heard, first)
    return np.concatenate([sounds, labels.spiking(of_words(words, labels), first + hearing.axons)], axis=-1)


class Runner(Reader, Protocol):
    """A generator as its host sees it: tokens go in and logits come out, for several pieces side by side.

    It may have the attribute `labels`, the `Labels` that it hears.
    """

    def reset(self, batch: int) -> None:
        """Bring the network to rest and get it ready for `batch` pieces side by side."""

    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        """Logits `[batch, N_AXONS]` for the next word of each piece, after `words` `[batch, 7 + labels + draws]`."""
