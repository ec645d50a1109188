"""Float populations by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from muspike.hardware.graph import Population


def population(
    name: str,
    kind: str,
    size: int = 1,
    tau: Any = 2.0,
    tau_syn: Any = 1.0,
    v_threshold: Any = 0.5,
    bias: Any = 0.0,
) -> Population:
    """Each parameter is one number for all neurons, or one for each; only a LIF has a threshold."""
    arrays = (
        np.broadcast_to(np.asarray(value, float), size).copy()
        for value in (tau, tau_syn, v_threshold if kind == "lif" else np.inf, bias)
    )
    return Population(name, kind, size, *arrays)  # type: ignore[arg-type]
