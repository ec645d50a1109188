"""S-RNN: recurrent LIF layers.

input -> layer1 -> layer2 -> ... ;  layer_k -> layer_k after each recurrent delay
the last layer, or every layer -> readout
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from muspike.architectures.common import direct_synapses, draw_weights, in_ticks, timing
from muspike.host import SILENT, Noise, input_axons
from muspike.labels import Labels
from muspike.network import Network, Population, Synapse
from muspike.ranges import at_least, between, check, setting
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS


@dataclass(frozen=True)
class Config:
    """Settings of an S-RNN.

    Attributes:
        width: neurons per layer.
        layers: number of layers.
        ticks: ticks for which a token is presented.
        recurrent_delays: delays of each layer's synapses onto itself, in ticks or as text: `"1 period"` is one token
            ago, `"4 periods"` four.
        tau: time constants in ticks, dealt out evenly over the neurons of a layer.
        v_threshold: threshold of the layers.
        tau_readout: time constant of the readout in ticks.
        skip: whether every layer reaches the readout. False: only the last one does.
        hears: groups of axons for what sounds that the network hears beside the words (`sounding.GROUPS`).
        direct: groups of these whose axons also reach the readout without a neuron between.
        labels: labels of a piece that the network hears, values by name (`labels.Labels`). Training takes the values
            from its corpus.

    Raises:
        BadInput: a setting is out of its range.
    """

    width: int = setting(512, between(1, 8192))
    layers: int = setting(2, between(1, 64))
    ticks: int = setting(4, between(1, 64))
    recurrent_delays: tuple[int | str, ...] = (1,)
    tau: tuple[float, ...] = setting((2.0,), count=at_least(1))
    v_threshold: float = 0.5
    tau_readout: float = 2.0
    skip: bool = False
    hears: tuple[str, ...] = ()
    direct: tuple[str, ...] = ()
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self, "S-RNN")


def build(config: Config, noise: Noise = SILENT) -> Network:
    """Build the network of `config`, with weights drawn from torch's random state.

    Args:
        noise: random input, on axons after the token's own.

    Raises:
        BadInput: a recurrent delay is neither a number of periods nor a whole number of ticks of at least 1, or the
            labels have no values.
    """
    clock, hearing = timing(config.ticks, depth=config.layers), Hearing(config.hears)
    labels = Labels.of(config.labels)
    delays = [in_ticks(delay, clock, "S-RNN: recurrent delay") for delay in config.recurrent_delays]
    # Neurons with the same time constant are neighbours.
    tau = tuple(config.tau[i * len(config.tau) // config.width] for i in range(config.width))
    names = [f"layer{k}" for k in range(1, config.layers + 1)]
    populations = [
        Population("input", input_axons(noise, hearing, labels), "input"),
        *(Population(name, config.width, "lif", tau, config.v_threshold) for name in names),
        Population("readout", N_AXONS, "li", config.tau_readout),
    ]
    synapses = [Synapse(a, b) for a, b in zip(["input", *names[:-1]], names, strict=True)]
    synapses += [Synapse(name, name, delay) for name in names for delay in delays]
    synapses += [Synapse(name, "readout") for name in (names if config.skip else names[-1:])]
    synapses += direct_synapses(config.direct, hearing, noise)
    network = Network(populations, synapses, clock, noise=noise, hearing=hearing, labels=labels)
    draw_weights(network, forward=5.0, by_tau=True)
    return network
