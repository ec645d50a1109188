"""Quantised populations by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from muspike.hardware.mapping.quantise import IntegerPopulation


def population(
    name: str, kind: str = "lif", size: int = 1, dv: Any = 2048, v_threshold: Any = 100
) -> IntegerPopulation:
    """Without filter and bias; `dv` and `v_threshold` are one number for all neurons, or one for each."""
    du, dv, v_threshold, zero = (
        np.broadcast_to(np.asarray(value, np.int32), size).copy() for value in (4095, dv, v_threshold, 0)
    )
    return IntegerPopulation(name, kind, size, du, dv, v_threshold, zero, zero, np.ones(size))  # type: ignore[arg-type]
