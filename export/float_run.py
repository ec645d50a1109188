"""Run a network in float64, tick by tick: in torch, or as a graph by the interpreter of `hardware`."""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt
import torch

from muspike.errors import BadInput
from muspike.export.presentation import Presentation
from muspike.export.recording import LOGITS, Recording, Spikes
from muspike.hardware import interpreter
from muspike.hardware.graph import SpikingGraph
from muspike.network import Network
from muspike.tokens import Words


def float_run(network: Network, words: Words) -> tuple[dict[str, Spikes], npt.NDArray[np.float64]]:
    """Run `network` on `words` in float64.

    Returns:
        The spikes of each LIF population, `[ticks, batch, size]`, and the logits, `[tokens, batch, N_AXONS]`: the
        readout's membrane at the answering tick of each word, plus the constants that the host adds.
    """
    exact = copy.deepcopy(network).double()
    timing = exact.timing
    layers = [p.name for p in exact.populations.values() if p.kind == "lif"]
    record: dict[str, list[Spikes]] = {name: [] for name in layers}
    logits = []
    state = exact.at_rest(words.shape[1])
    with torch.no_grad():
        for word in torch.from_numpy(words):
            for t, state in enumerate(exact.period(word, state)):  # noqa: B020  # each period starts in the state in which the last one ended
                for name in layers:
                    record[name].append(exact.firing(state, name).numpy().astype(np.uint8))
                if t == timing.ticks - 1:
                    logits.append((state[exact.readout] + exact.bias).numpy())
    return {name: np.stack(spikes) for name, spikes in record.items()}, np.stack(logits)


def interpreted(graph: SpikingGraph, inputs: Spikes) -> Recording:
    """Run a graph on input spikes `[ticks, batch, size]`, its inputs side by side, by the interpreter of `hardware`."""
    given, first = {}, 0
    for p in graph.populations:
        if p.kind == "input":
            given[p.name] = inputs[..., first : first + p.size]
            first += p.size
    spikes, membranes = interpreter.run(graph, given or inputs)
    fired = {p.name: spikes[p.name] for p in graph.populations if p.kind == "lif"}
    if not Presentation.is_in(graph.metadata):
        return Recording(fired, membranes)
    if len(membranes) != 1:
        raise BadInput(f"network: reads words, and has {len(membranes)} readouts; expected one, for the logits")
    (readout,) = membranes.values()
    return Recording(fired, {LOGITS: Presentation.read(graph.metadata).answers(readout)})
