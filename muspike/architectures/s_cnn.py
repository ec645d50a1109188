"""S-CNN: causal dilated convolution over tokens; a tap k tokens back is a synapse with a delay of k periods.

input -> layer1 -> layer2 -> ... ;  each arrow `taps` synapses, `dilation` periods apart;  every layer -> readout
(van den Oord et al. 2016, WaveNet: causal dilated convolution.)
"""

from __future__ import annotations

from dataclasses import dataclass

from muspike.architectures.common import draw_weights, timing
from muspike.network import Network, Population, Synapse
from muspike.ranges import between, check, setting
from muspike.tokens import N_AXONS


@dataclass(frozen=True)
class Config:
    """Sizes of an S-CNN: layer k hears the layer before it 0, d, ..., (taps - 1) d tokens ago, d = `dilations[k]`.

    It sees 1 + (taps - 1) * sum(dilations) tokens, and a little more through membranes. `tau_readout` in ticks.
    """

    width: int = setting(256, between(1, 8192))
    dilations: tuple[int, ...] = setting((1, 2, 4, 8), between(1, 4096), count=between(1, 64))
    taps: int = setting(3, between(1, 64))
    ticks: int = setting(4, between(1, 64))
    tau: float = 2.0
    v_threshold: float = 0.5
    tau_readout: float = 4.0

    def __post_init__(self) -> None:
        check(self, "S-CNN")


def build(config: Config) -> Network:
    """The network of `config`, with weights drawn from torch's random state."""
    layers = [f"layer{k}" for k in range(1, len(config.dilations) + 1)]
    clock = timing(config.ticks, depth=len(layers))
    populations = [
        Population("input", N_AXONS, "input"),
        *(Population(name, config.width, "lif", config.tau, config.v_threshold) for name in layers),
        Population("readout", N_AXONS, "li", config.tau_readout),
    ]
    synapses = [
        Synapse(source, target, tap * dilation * clock.period)
        for source, target, dilation in zip(["input", *layers[:-1]], layers, config.dilations, strict=True)
        for tap in range(config.taps)
    ]
    synapses += [Synapse(name, "readout") for name in layers]
    network = Network(populations, synapses, clock)
    draw_weights(network, forward=5.0)
    return network
