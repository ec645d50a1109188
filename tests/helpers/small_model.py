"""The smallest S-RNN that fires: one layer of 16 neurons, untrained."""

from __future__ import annotations

import torch

from muspike import architectures
from muspike.checkpoint import Model

SETTINGS = {"width": 16, "layers": 1, "ticks": 2, "recurrent_delays": [1]}


def small_model(corpus: str = "noise", step: int = 0) -> Model:
    """The same weights each time; it says of itself that it was trained on `corpus` for so many steps."""
    torch.manual_seed(0)
    about = {"corpus": corpus, "step": step, "validation_bits_per_note": 30.0}
    return Model("s-rnn", SETTINGS, architectures.build("s-rnn", SETTINGS), about)
