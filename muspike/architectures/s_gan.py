"""S-GAN: the generator, a recurrent spiking network that hears noise beside each token.

Noise is spikes on axons of its own: with every token, `noise_draws` times one of `noise_values` axons, drawn evenly by
the host. The critic (`muspike.adversarial`) trains with it and is not deployed.
"""

from __future__ import annotations

from dataclasses import dataclass

from muspike.architectures import s_rnn
from muspike.errors import BadInput
from muspike.network import Network, Noise


@dataclass(frozen=True)
class Config(s_rnn.Config):
    """Sizes of the generator: those of an S-RNN, and of its noise."""

    noise_draws: int = 4
    noise_values: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, least, most in (("noise_draws", 1, 64), ("noise_values", 2, 1024)):
            if not least <= getattr(self, name) <= most:
                raise BadInput(f"S-GAN: {name} {getattr(self, name)} must lie between {least} and {most}")


def build(config: Config) -> Network:
    """The generator of `config`; see `s_rnn.build`."""
    return s_rnn.build(config, Noise(config.noise_draws, config.noise_values))
