"""Untrained networks of every architecture and variant that a target has to hold, and one with all that there is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from muspike import architectures
from muspike.checkpoint import Model
from muspike.host import Noise, Timing
from muspike.network import Network, Population, Synapse, and_gate, or_gate
from muspike.tokens import N_AXONS


def by_hand(width: int = 12) -> Network:
    """A cell of gates in loops of one period, noise, delays that take relays, wires of every kind and a plain cycle."""
    noise, period = Noise(draws=2, values=5), 8
    gates = ("forget", "candidate", "write_gate", "output_gate")
    populations = [
        Population("input", N_AXONS + noise.axons, "input"),
        *(Population(gate, width) for gate in gates),
        and_gate("keep", width),
        and_gate("write", width),
        or_gate("cell", width),
        and_gate("hidden", width),
        Population("late", width, tau=(1.0, 2.0, 16.0) * (width // 3), v_threshold=0.25),
        Population("readout", N_AXONS, "li", tau=4.0),
    ]
    mixing = np.roll(np.eye(width, dtype=np.float32), 1, axis=0) - 0.25
    synapses = [
        *(Synapse("input", gate) for gate in gates),
        *(Synapse("hidden", gate, period) for gate in gates),
        Synapse("forget", "keep", wires=1.0),
        Synapse("cell", "keep", period, wires=1.0),
        Synapse("write_gate", "write", wires=1.0),
        Synapse("candidate", "write", wires=1.0),
        Synapse("keep", "cell", wires=1.0),
        Synapse("write", "cell", wires=1.0),
        Synapse("output_gate", "hidden", wires=1.0),
        Synapse("cell", "hidden", wires=1.0),
        Synapse("input", "late", 2 * period),
        Synapse("cell", "late", 1, wires=mixing),
        Synapse("late", "late", 1, wires=-0.5),
        Synapse("late", "late", 20 * period),
        Synapse("hidden", "readout"),
        Synapse("late", "readout"),
    ]
    return Network(populations, synapses, Timing(3, period), noise=noise)


def preset(name: str, **settings: Any) -> Callable[[], Network]:
    def build() -> Network:
        network = architectures.build(name, {**architectures.preset(name, "tiny")["network"], **settings})
        assert isinstance(network, Network)
        return network

    return build


LONG = "s-cnn, 20 tokens back"
HEARS = ["before", "now", "next_end", "parallel", "parallel_motion", "bars"]
DIRECT = ["parallel_motion", "before"]
LABELS = {"emotion": ["sad", "happy", 'größer "1"'], "genre": ["rock", "jazz"]}
NETWORKS: Mapping[str, Callable[[], Network]] = {
    **{name: preset(name) for name in architectures.ARCHITECTURES if not name.startswith("ann-")},
    "s-transformer, windowed": preset("s-transformer", attention="windowed", window=3),
    "s-rnn, hearing": preset("s-rnn", hears=HEARS, direct=DIRECT),
    "s-gan, hearing": preset("s-gan", hears=HEARS, direct=DIRECT),
    "s-lstm, hearing": preset("s-lstm", hears=HEARS),
    "s-lstm, embedding": preset("s-lstm", embedding=24),
    "s-transformer, hearing": preset("s-transformer", hears=HEARS, direct=DIRECT),
    "s-rnn, labels": preset("s-rnn", labels=LABELS),
    "s-gan, hearing and labels": preset("s-gan", hears=HEARS, labels=LABELS),
    "by hand": by_hand,
    # The second tap takes relays of the input.
    LONG: preset("s-cnn", dilations=(20, 1)),
}


def made(name: str) -> Model:
    """An untrained network, in which nearly every population fires."""
    torch.manual_seed(4)
    network = NETWORKS[name]()
    with torch.no_grad():
        network.bias.copy_(torch.randn(N_AXONS))
        for s in network.synapses:
            if s.part is not None:  # its weights start at 0
                network.weights[s.name].copy_(torch.randn_like(network.weights[s.name]))
        if name == "by hand":
            for synapse, weight in network.weights.items():
                spread = 1.0 / 7**0.5 if synapse.startswith("input") else 2.0 / weight.shape[1] ** 0.5
                weight.copy_(torch.randn_like(weight) * spread)
    return Model(name, {}, network.eval(), {})
