"""S-GAN: the generator, an S-RNN that reads noise beside each token.

Noise is spikes on additional axons: with every token, the host draws one of `noise_values` axons, `noise_draws` times
and each with the same chance. The critic (`muspike.adversarial`) trains the generator and is not deployed.
"""

from __future__ import annotations

from dataclasses import dataclass

from muspike.architectures import s_rnn
from muspike.host import Noise
from muspike.network import Network
from muspike.ranges import between, check, setting


@dataclass(frozen=True)
class Config(s_rnn.Config):
    """Settings of the generator: those of an S-RNN, and its noise.

    Attributes:
        noise_draws: noise axons that spike with each token, one out of each group.
        noise_values: axons in a group.

    Raises:
        BadInput: a setting is out of its range.
    """

    noise_draws: int = setting(4, between(1, 64))
    noise_values: int = setting(16, between(2, 1024))

    def __post_init__(self) -> None:
        check(self, "S-GAN")


def build(config: Config) -> Network:
    """Build the generator of `config`; see `s_rnn.build`."""
    return s_rnn.build(config, Noise(config.noise_draws, config.noise_values))
