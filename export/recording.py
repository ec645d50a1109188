"""What a network did on given input spikes: what every execution of it gives, so that any two can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Spikes = npt.NDArray[np.uint8 | np.uint16]
"""0 or 1, uint8; of graded inputs whole numbers, uint16."""
Array = npt.NDArray[Any]

LOGITS = "logits"


@dataclass(frozen=True, eq=False)
class Recording:
    """What a network did.

    Attributes:
        spikes: of each population that fires, by name, uint8 `[ticks, batch, size]`.
        answers: what the host reads, by name: `logits`, `[words, batch, N_AXONS]`, of a network that reads words; else
            the membrane of each readout, `[ticks, batch, size]`, in float units.
        membrane, current: v and u after each tick, int32 `[ticks, batch, size]`, of a chip's neurons; else empty.
    """

    spikes: Mapping[str, Spikes]
    answers: Mapping[str, Array] = field(default_factory=dict)
    membrane: Mapping[str, Array] = field(default_factory=dict)
    current: Mapping[str, Array] = field(default_factory=dict)
