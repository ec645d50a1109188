"""What a network does in torch, tick by tick, in float64: what other executions of it are held against."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch

from muspike.network import Network, Words

Spikes = npt.NDArray[np.uint8]


def float_run(network: Network, words: Words) -> tuple[dict[str, Spikes], npt.NDArray[np.float64]]:
    """Every tick of `network` in float64: spikes `[ticks, batch, size]` of each LIF population, and all logits.

    The logits, `[tokens, batch, N_AXONS]`, are the readout's membrane at the answering tick of each word, and the
    constants that the host adds.
    """
    exact = copy.deepcopy(network).double()
    timing = exact.timing
    layers = [p.name for p in exact.populations.values() if p.kind == "lif"]
    record: dict[str, list[Spikes]] = {name: [] for name in layers}
    logits = []
    state = exact.at_rest(words.shape[1])
    with torch.no_grad():
        for word in torch.from_numpy(words):
            for t, state in enumerate(exact.period(word, state)):  # noqa: B020  # each period starts where one ended
                for name in layers:
                    record[name].append(exact.firing(state, name).numpy().astype(np.uint8))
                if t == timing.ticks - 1:
                    logits.append((state[exact.readout] + exact.bias).numpy())
    return {name: np.stack(spikes) for name, spikes in record.items()}, np.stack(logits)
