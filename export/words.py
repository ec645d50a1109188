"""Words on which to try an exported network."""

from __future__ import annotations

import numpy as np

from muspike.checkpoint import Model
from muspike.generation import SHORTEST, generate
from muspike.tokens import Words


def example_words(model: Model, count: int, batch: int = 4) -> Words:
    """Words `[count, batch, 7 + draws]` that the model composes itself: input as in use, without a data set."""
    runner = model.network.runner()
    pieces = generate(runner, batch, max(count, SHORTEST), seed=0, ended=False)
    return runner.noise.behind(np.stack(pieces, axis=1)[:count])
