"""How words go into a network and logits come out of it: what the host must know beside the network.

A graph and a program carry this in their metadata, so that a file is the whole model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muspike import sounding, tokens
from muspike.errors import BadInput
from muspike.host import Noise, Timing, context_axons, input_axons, without_labels
from muspike.labels import UNLABELLED, Labels
from muspike.sounding import DEAF, Hearing
from muspike.tokens import Words

if TYPE_CHECKING:
    from muspike.network import Generator


MOST_TICKS = 10_000
"""The most ticks from a word to the next one."""


@dataclass(frozen=True, eq=False)
class Presentation:
    """How words go into a network and logits come out of it.

    Attributes:
        ticks: ticks in which a word is presented.
        period: ticks from the start of a word to the start of the next one.
        noise: random input beside each word, on axons after the word's own.
        bias: float64 `[N_AXONS]`, a constant per logit. The host adds it to the membrane of the readout.
        hearing: what sounds, for which the host also spikes, on axons after those of the noise.
        labels: labels of a piece, for which the host also spikes, on the last axons.

    Raises:
        BadInput: `ticks` is not from 1 to `period`.
    """

    ticks: int
    period: int
    noise: Noise
    bias: npt.NDArray[np.float64]
    hearing: Hearing = DEAF
    labels: Labels = UNLABELLED

    def __post_init__(self) -> None:
        Timing(self.ticks, self.period)  # checks ticks and period

    @classmethod
    def of(cls, network: Generator) -> Presentation:
        """The presentation of a network, spiking or not."""
        bias = network.bias.detach().numpy().astype(np.float64)
        timing = network.timing
        return cls(timing.ticks, timing.period, network.noise, bias, network.hearing, network.labels)

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Presentation:
        """The presentation of a graph or a program, from its metadata.

        `noise`, `hears` and `labels` may be missing: none.

        Raises:
            BadInput: an entry is missing or wrong, or the words are those of another version. The message names it.
        """
        ticks, period = (_integer(name, _entry(metadata, name)) for name in ("ticks", "period"))
        if period > MOST_TICKS:
            raise BadInput(f"metadata: period is {period} ticks; a word lasts at most {MOST_TICKS:,}")
        words = metadata.get("words", 1)
        if words != tokens.VERSION:
            raise BadInput(
                f"metadata: words is {words!r:.60}; this muspike composes words {tokens.VERSION}: export the model anew"
            )
        noise = metadata.get("noise", [])
        if not isinstance(noise, list) or len(noise) not in (0, 2):
            raise BadInput(f"metadata: noise is {noise!r:.60}; expected [draws, values]")
        hears = metadata.get("hears", "")
        if not isinstance(hears, str):
            raise BadInput(f"metadata: hears is {hears!r:.60}; expected names of groups of axons in one text")
        labels = metadata.get("labels", "")
        if not isinstance(labels, str):
            raise BadInput(
                f"metadata: labels is {labels!r:.60}; expected a table of values by name, as JSON in one text"
            )
        bias = _entry(metadata, "bias")
        if not isinstance(bias, list) or len(bias) != tokens.N_AXONS or not all(map(_is_finite, bias)):
            raise BadInput(f"metadata: bias is {bias!r:.60}; expected {tokens.N_AXONS} finite numbers")
        beside = Noise(*(_integer("noise", n) for n in noise))
        hearing = Hearing(tuple(hears.split()))
        return cls(ticks, period, beside, np.array(bias, np.float64), hearing, Labels.read(labels))

    @staticmethod
    def is_in(metadata: Mapping[str, Any]) -> bool:
        """Whether a graph or a program says that it reads words."""
        return "words" in metadata or "ticks" in metadata

    def to_metadata(self) -> dict[str, Any]:
        """The entries that `read` reads. `bias` is still an array. There is no entry for labels if there are none."""
        labels = {"labels": self.labels.written()} if self.labels else {}
        return {
            "words": tokens.VERSION,
            "ticks": self.ticks,
            "period": self.period,
            "noise": [self.noise.draws, self.noise.values],
            "bias": self.bias,
            "hears": " ".join(self.hearing.groups),
            **labels,
        }

    def answer_tick(self, name: str, level: int) -> int:
        """The chip tick of each period at which the readout `name`, `level` ticks behind ideal time, holds the logits.

        Raises:
            BadInput: the next word goes in before that.
        """
        tick = self.ticks - 1 + level
        if tick >= self.period:
            raise BadInput(
                f"{name}: its logits are out {tick + 1} ticks after a token goes in, the next one goes in after "
                f"{self.period}; the period must be at least {tick + 1}"
            )
        return tick

    def to_json(self) -> dict[str, Any]:
        """`to_metadata` as plain numbers, lists and texts."""
        return {**self.to_metadata(), "bias": self.bias.tolist()}

    def answers(self, membrane: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The logits `[tokens, batch, N_AXONS]` in the membrane `[ticks, batch, N_AXONS]` of the readout."""
        logits: npt.NDArray[np.float64] = membrane[self.ticks - 1 :: self.period] + self.bias
        return logits

    def spikes(self, words: Words, heard: sounding.State | None = None) -> npt.NDArray[np.uint8]:
        """The input spikes `[tokens * period, batch, axons]` of `words` `[tokens, batch, 7 + labels + draws of noise]`.

        One axon per column spikes, and the axons of what sounds, in the first `ticks` ticks of each period. For a label
        that is unknown, none spikes.

        Args:
            words: the words, with their labels and noise, as `host.completed` gives them.
            heard: what has sounded before the words; it is brought up to date. None: silence.

        Raises:
            BadInput: `words` does not have one column per feature, label and draw of noise.
        """
        count, batch, columns = words.shape
        offsets, expected = self.noise.offsets, len(self.noise.offsets) + len(self.labels.axes)
        if columns != expected:
            raise BadInput(
                f"words: have {columns} columns; this network reads {expected}, its labels and its noise included"
            )
        axons = without_labels(words, self.labels).astype(np.int64) + np.asarray(offsets)
        size = input_axons(self.noise, self.hearing, self.labels)
        if self.hearing or self.labels:
            state = sounding.silence(batch) if heard is None else heard
            more = context_axons(words, self.noise, self.hearing, self.labels, state)
            axons = np.concatenate([axons, np.where(more < 0, size, more)], axis=2)
        spikes = np.zeros((count, self.period, batch, size + 1), np.uint8)  # the last axon is none
        n, b, _ = np.ogrid[:count, :batch, : axons.shape[2]]
        for t in range(self.ticks):
            spikes[n, t, b, axons] = 1
        return np.ascontiguousarray(spikes[..., :size]).reshape(count * self.period, batch, size)


def _entry(metadata: Mapping[str, Any], name: str) -> Any:
    if name not in metadata:
        raise BadInput(f"metadata: {name} is missing; a network that reads words says its ticks, period and bias")
    return metadata[name]


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise BadInput(f"metadata: {name} is {value!r:.60}; expected a whole number")
    return value


def _is_finite(value: object) -> bool:
    # Compared, because a whole number of any size is no float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
