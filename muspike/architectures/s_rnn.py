"""S-RNN: recurrent LIF layers, read out together.

input -> layer1 -> layer2 -> ... ;  layer_k -> layer_k after each recurrent delay;  every layer -> readout
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch

from muspike.errors import BadInput
from muspike.network import Network, Noise, Population, Synapse, Timing
from muspike.tokens import FEATURES, N_AXONS

_SILENT = Noise()


@dataclass(frozen=True)
class Config:
    """Sizes of an S-RNN.

    `recurrent_delays`: ticks, or `"1 period"`, `"4 periods"` (the value so many tokens ago); `tau`: time constants in
    ticks, dealt out evenly over the neurons of a layer; `skip`: every layer reaches the readout, not only the last.
    """

    width: int = 512
    layers: int = 2
    ticks: int = 4
    recurrent_delays: tuple[int | str, ...] = (1,)
    tau: tuple[float, ...] = (2.0,)
    v_threshold: float = 0.5
    tau_readout: float = 2.0
    skip: bool = False

    def __post_init__(self) -> None:
        if not self.tau:
            raise BadInput("S-RNN: tau has no values; one at least is wanted")
        for name, most in {"width": 8192, "layers": 64, "ticks": 64}.items():
            if not 1 <= getattr(self, name) <= most:
                raise BadInput(f"S-RNN: {name} {getattr(self, name)} must lie between 1 and {most}")


def build(config: Config, noise: Noise = _SILENT) -> Network:
    """The network of `config`, with weights drawn from torch's random state; `noise`: axons behind those of a token.

    Raises:
        BadInput: a recurrent delay that is neither a number of periods nor a whole number of ticks of at least 1.
    """
    # The answer is out before the next token goes in: each layer and the readout cost the chip one tick.
    timing = Timing(config.ticks, config.ticks + config.layers + 1)
    delays = [_in_ticks(delay, timing) for delay in config.recurrent_delays]
    # Neurons of one time constant stand together.
    tau = tuple(config.tau[i * len(config.tau) // config.width] for i in range(config.width))
    names = [f"layer{k}" for k in range(1, config.layers + 1)]
    populations = [
        Population("input", N_AXONS + noise.axons, "input"),
        *(Population(name, config.width, "lif", tau, config.v_threshold) for name in names),
        Population("readout", N_AXONS, "li", config.tau_readout),
    ]
    synapses = [Synapse(a, b) for a, b in zip(["input", *names[:-1]], names, strict=True)]
    synapses += [Synapse(name, name, delay) for name in names for delay in delays]
    synapses += [Synapse(name, "readout") for name in (names if config.skip else names[-1:])]
    network = Network(populations, synapses, timing, noise=noise)
    _draw(network, config, torch.tensor(tau))
    return network


def _in_ticks(delay: int | str, timing: Timing) -> int:
    if isinstance(delay, str) and (match := re.fullmatch(r"([1-9]\d*) periods?", delay)):
        return int(match[1]) * timing.period
    if isinstance(delay, int) and delay >= 1:
        return delay
    raise BadInput(f'S-RNN: recurrent delay {delay!r} must be such as "2 periods", or a whole number of ticks >= 1')


def _draw(network: Network, config: Config, tau: torch.Tensor) -> None:
    """Draw weights so that a neuron of any `tau` starts out firing now and then."""
    # A membrane of time constant tau sums a noisy current over about tau ticks: its spread falls as 1/sqrt(tau).
    reach = (tau / 2).sqrt()[:, None]
    for synapse in network.synapses:
        weight = network.weights[synapse.name]
        if synapse.source == network.input:
            spread = 1.2 * config.v_threshold / math.sqrt(len(FEATURES)) * reach
        elif synapse.target == network.readout:
            spread = torch.tensor(1 / math.sqrt(config.width))
        else:
            # Spikes are few: a forward synapse starts strong, so that every layer has something to learn from; a loop
            # starts weak, so that gradients through it do not grow.
            gain = 0.6 if synapse.source == synapse.target else 5.0
            spread = gain * config.v_threshold / math.sqrt(config.width) * reach
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * spread)
