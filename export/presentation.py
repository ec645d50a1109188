"""How words go into a network and logits come out of it: what the host must know beside the network.

A graph and a program carry this in their metadata, so that a file is the whole model.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike import tokens
from muspike.errors import BadInput
from muspike.network import Network, Noise, Timing
from muspike.tokens import Words


@dataclass(frozen=True, eq=False)
class Presentation:
    """How words go into a network and logits come out of it.

    Attributes:
        ticks: ticks in which a word is presented.
        period: ticks from the start of a word to the start of the next one.
        noise: random input beside each word, on axons after the word's own.
        bias: float64 `[N_AXONS]`, a constant per logit. The host adds it to the membrane of the readout.

    Raises:
        BadInput: `ticks` is not from 1 to `period`.
    """

    ticks: int
    period: int
    noise: Noise
    bias: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        Timing(self.ticks, self.period)  # checks ticks and period

    @classmethod
    def of(cls, network: Network) -> Presentation:
        """The presentation of a network."""
        bias = network.bias.detach().numpy().astype(np.float64)
        return cls(network.timing.ticks, network.timing.period, network.noise, bias)

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Presentation:
        """The presentation of a graph or a program, from its metadata. Without an entry `noise` there is no noise.

        Raises:
            BadInput: an entry is missing or wrong. The message names it.
        """
        ticks, period = (_integer(name, _entry(metadata, name)) for name in ("ticks", "period"))
        noise = metadata.get("noise", [])
        if not isinstance(noise, list) or len(noise) not in (0, 2):
            raise BadInput(f"metadata: noise is {noise!r:.60}; expected [draws, values]")
        bias = _entry(metadata, "bias")
        if not isinstance(bias, list) or len(bias) != tokens.N_AXONS or not all(map(_is_finite, bias)):
            raise BadInput(f"metadata: bias is {bias!r:.60}; expected {tokens.N_AXONS} finite numbers")
        return cls(ticks, period, Noise(*(_integer("noise", n) for n in noise)), np.array(bias, np.float64))

    def to_metadata(self) -> dict[str, Any]:
        """The entries that `read` reads. `bias` is still an array."""
        return {
            "ticks": self.ticks,
            "period": self.period,
            "noise": [self.noise.draws, self.noise.values],
            "bias": self.bias,
        }

    def spikes(self, words: Words) -> npt.NDArray[np.uint8]:
        """The input spikes `[tokens * period, batch, axons]` of `words` `[tokens, batch, 7 + draws of noise]`.

        One axon per column spikes, in the first `ticks` ticks of each period.

        Raises:
            BadInput: `words` does not have one column per feature and per draw of noise.
        """
        count, batch, columns = words.shape
        offsets = self.noise.offsets
        if columns != len(offsets):
            raise BadInput(f"words: have {columns} columns; this network reads {len(offsets)}, its noise included")
        axons = words.astype(np.int64) + np.asarray(offsets)
        spikes = np.zeros((count, self.period, batch, tokens.N_AXONS + self.noise.axons), np.uint8)
        n, b, _ = np.ogrid[:count, :batch, :columns]
        for t in range(self.ticks):
            spikes[n, t, b, axons] = 1
        return spikes.reshape(count * self.period, batch, -1)


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
