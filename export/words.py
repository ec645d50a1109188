"""Words for an exported network: some to try it on, and the spikes that they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike import tokens
from muspike.checkpoint import Model
from muspike.errors import BadInput
from muspike.generation import SHORTEST, generate
from muspike.network import Noise, Words


def example_words(model: Model, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + draws]` that the model composes itself: what it meets in use, without a data set."""
    runner = model.network.runner()
    pieces = generate(runner, batch, max(count, SHORTEST), seed=0)
    return runner.noise.behind(np.stack(pieces, axis=1)[:count])


def presented(words: Words, metadata: Mapping[str, Any]) -> npt.NDArray[np.uint8]:
    """The input spikes `[tokens * period, batch, axons]` of `words` `[tokens, batch, 7 + draws of noise]`.

    One axon per column, for `ticks` of the ticks of a `period`, as the metadata of a graph or program say.

    Raises:
        BadInput: the draws of noise are missing, or there are others.
    """
    noise, ticks, period = noise_of(metadata), int(metadata["ticks"]), int(metadata["period"])
    count, batch, columns = words.shape
    if columns != len(noise.offsets):
        raise BadInput(f"words: have {columns} columns; this network reads {len(noise.offsets)}, its noise included")
    axons = words.astype(np.int64) + np.asarray(noise.offsets)
    spikes = np.zeros((count, period, batch, tokens.N_AXONS + noise.axons), np.uint8)
    n, b, _ = np.ogrid[:count, :batch, :columns]
    for t in range(ticks):
        spikes[n, t, b, axons] = 1
    return spikes.reshape(count * period, batch, -1)


def noise_of(metadata: Mapping[str, Any]) -> Noise:
    """The noise of a graph or program, of its metadata `[draws, values]`; none where they do not say."""
    return Noise(*map(int, metadata.get("noise", ())))
