"""S-CNN: causal dilated convolution over tokens. A tap k tokens back is a synapse with a delay of k periods.

    input -> layer1 -> layer2 -> ... ;  each arrow: `taps` synapses, `dilation` periods apart;  every layer -> readout

After WaveNet's causal dilated convolution (van den Oord et al. 2016).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from muspike.architectures.common import direct_synapses, draw_weights, timing
from muspike.host import input_axons
from muspike.labels import Labels
from muspike.network import Network, Population, Synapse
from muspike.ranges import between, check, setting
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS


@dataclass(frozen=True)
class Config:
    """Settings of an S-CNN.

    The network sees 1 + (taps - 1) * sum(dilations) tokens, and a little more through its membranes.

    Attributes:
        width: neurons per layer.
        dilations: for each layer, the distance d of its taps in tokens: the layer reads the layer before it 0, d, ...,
            (taps - 1) d tokens ago.
        taps: tokens that a neuron reads.
        ticks: ticks for which a token is presented.
        tau: time constant of the layers in ticks.
        v_threshold: threshold of the layers.
        tau_readout: time constant of the readout in ticks.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        direct: groups of these whose axons also reach the readout without a neuron between.
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.

    Raises:
        BadInput: a setting is out of its range.
    """

    width: int = setting(256, between(1, 8192))
    dilations: tuple[int, ...] = setting((1, 2, 4, 8), between(1, 4096), count=between(1, 64))
    taps: int = setting(3, between(1, 64))
    ticks: int = setting(4, between(1, 64))
    tau: float = 2.0
    v_threshold: float = 0.5
    tau_readout: float = 4.0
    hears: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "S-CNN")


def build(config: Config) -> Network:
    """Build the network of `config`, with weights drawn from torch's random state."""
    layers = [f"layer{k}" for k in range(1, len(config.dilations) + 1)]
    clock, hearing, labels = timing(config.ticks, depth=len(layers)), Hearing(config.hears), Labels.of(config.labels)
    populations = [
        Population("input", input_axons(hearing=hearing, labels=labels), "input"),
        *(Population(name, config.width, "lif", config.tau, config.v_threshold) for name in layers),
        Population("readout", N_AXONS, "li", config.tau_readout),
    ]
    synapses = [
        Synapse(source, target, tap * dilation * clock.period)
        for source, target, dilation in zip(["input", *layers[:-1]], layers, config.dilations, strict=True)
        for tap in range(config.taps)
    ]
    synapses += [Synapse(name, "readout") for name in layers]
    synapses += direct_synapses(config.direct, hearing)
    network = Network(populations, synapses, clock, hearing=hearing, labels=labels)
    draw_weights(network, forward=5.0)
    return network
