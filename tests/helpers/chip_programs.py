"""Chip programs by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from muspike.hardware.program import ChipPopulation, ChipSynapses, Program


def population(name: str, size: int, kind: str = "lif", **fields: Any) -> ChipPopulation:
    """A population whose fields are given, or usual; a single number holds for every neuron.

    Usual is: level 0, half of the membrane stays and nothing of the current, threshold 100, no bias, scale 1, core 0.
    """
    usual: dict[str, Any] = {"level": 0, "du": 4095, "dv": 2048, "v_threshold": 100, "bias_mant": 0, "bias_exp": 0}
    usual |= {"scale": 1.0, "core": -1 if kind == "input" else 0}
    single = ("level", "reset_interval", "reset_offset", "graded_bits")
    made = {
        key: np.full(size, value) if np.isscalar(value) and key not in single else value
        for key, value in (usual | fields).items()
    }
    return ChipPopulation(name=name, size=size, kind=kind, **made)  # type: ignore[arg-type]


def program(populations: Sequence[ChipPopulation], synapses: Sequence[ChipSynapses]) -> Program:
    """A program on the one core of a Loihi 1."""
    return Program("loihi1", 1e-3, populations, synapses, np.zeros((1, 2), int))
