"""S-CNN: causal dilated convolution over tokens; a tap k tokens back is a synapse with a delay of k periods.

input -> layer1 -> layer2 -> ... ;  each arrow `taps` synapses, `dilation` periods apart;  every layer -> readout
(van den Oord et al. 2016, WaveNet: causal dilated convolution.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from muspike.errors import BadInput
from muspike.network import Network, Population, Synapse, Timing
from muspike.tokens import FEATURES, N_AXONS


@dataclass(frozen=True)
class Config:
    """Sizes of an S-CNN: layer k hears the layer before it 0, d, ..., (taps - 1) d tokens ago, d = `dilations[k]`.

    It sees 1 + (taps - 1) * sum(dilations) tokens, and a little more through membranes. `tau_readout` in ticks.
    """

    width: int = 256
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    taps: int = 3
    ticks: int = 4
    tau: float = 2.0
    v_threshold: float = 0.5
    tau_readout: float = 4.0

    def __post_init__(self) -> None:
        for name, value, most in (
            ("width", self.width, 8192),
            ("layers", len(self.dilations), 64),
            ("taps", self.taps, 64),
            ("ticks", self.ticks, 64),
            *(("dilation", d, 4096) for d in self.dilations),
        ):
            if not 1 <= value <= most:
                raise BadInput(f"S-CNN: {name} {value} must lie between 1 and {most}")


def build(config: Config) -> Network:
    """The network of `config`, with weights drawn from torch's random state."""
    layers = [f"layer{k}" for k in range(1, len(config.dilations) + 1)]
    # The answer is out before the next token goes in: each layer and the readout cost the chip one tick.
    timing = Timing(config.ticks, config.ticks + len(layers) + 1)
    populations = [
        Population("input", N_AXONS, "input"),
        *(Population(name, config.width, "lif", config.tau, config.v_threshold) for name in layers),
        Population("readout", N_AXONS, "li", config.tau_readout),
    ]
    synapses = [
        Synapse(source, target, tap * dilation * timing.period)
        for source, target, dilation in zip(["input", *layers[:-1]], layers, config.dilations, strict=True)
        for tap in range(config.taps)
    ]
    synapses += [Synapse(name, "readout") for name in layers]
    network = Network(populations, synapses, timing)
    _draw(network, config)
    return network


def _draw(network: Network, config: Config) -> None:
    """Draw weights so that every layer fires now and then: spikes are few, so forward synapses start strong."""
    for synapse in network.synapses:
        weight = network.weights[synapse.name]
        if synapse.source == network.input:
            spread = 1.2 * config.v_threshold / math.sqrt(len(FEATURES) * config.taps)
        elif synapse.target == network.readout:
            spread = 1 / math.sqrt(config.width)
        else:
            spread = 5.0 * config.v_threshold / math.sqrt(config.width * config.taps)
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * spread)
