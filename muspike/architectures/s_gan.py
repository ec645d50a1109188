"""S-GAN: the generator, a recurrent spiking network that hears noise beside each token.

Noise is spikes on axons of its own: with every token, `noise_draws` times one of `noise_values` axons, drawn evenly by
the host. The critic (`muspike.adversarial`) trains with it and is not deployed.
"""

from __future__ import annotations

from dataclasses import dataclass

from muspike.architectures import s_rnn
from muspike.network import Network, Noise
from muspike.ranges import between, check, setting


@dataclass(frozen=True)
class Config(s_rnn.Config):
    """Sizes of the generator: those of an S-RNN, and of its noise."""

    noise_draws: int = setting(4, between(1, 64))
    noise_values: int = setting(16, between(2, 1024))

    def __post_init__(self) -> None:
        check(self, "S-GAN")


def build(config: Config) -> Network:
    """The generator of `config`; see `s_rnn.build`."""
    return s_rnn.build(config, Noise(config.noise_draws, config.noise_values))
