"""The content of a small report that was made up."""

from __future__ import annotations

from typing import Any

import numpy as np

from muspike.bench.report import chip_entry
from muspike.hardware.chip import load_chip
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.energy import price_all

USE = [{"core": core, "percent": {"neurons": 10.0 + core, "synaptic memory": 95.0}} for core in range(2)]


def made_counts(chip: str = "loihi1") -> Counts:
    rng = np.random.default_rng(3)

    def some(high: int) -> np.ndarray:
        return rng.integers(0, high, (20, 1, 2))

    return Counts(
        chip=chip,
        synops=some(3000),
        synops_sparse=np.zeros((20, 1, 2), np.int64),
        synops_conv=np.zeros((20, 1, 2), np.int64),
        synops_graded=np.zeros((20, 1, 2), np.int64),
        neuron_updates=np.full((20, 1, 2), 64),
        active_updates=np.full((20, 1, 2), 64),
        neuron_spikes=some(20),
        spikes_in=some(30),
        spikes_in_graded=np.zeros((20, 1, 2), np.int64),
        messages_out=some(30),
        hops_x=some(30),
        hops_y=some(30),
        host_messages=np.full((20, 1), 7),
        pending_synops=np.zeros((1, 2), np.int64),
        pending_spikes_in=np.zeros((1, 2), np.int64),
        ticks=np.array([20]),
        core_xy=np.array([[0, 0], [1, 0]]),
        messages_between=np.array([[8, 2], [2, 5]]),
        activity_known=False,
    )


def made_chip(name: str) -> dict[str, Any]:
    first, *others = price_all(made_counts(name), load_chip(name), reads=466)
    return chip_entry(
        first,
        4,
        2,
        "synaptic_memory",
        USE,
        others=others,
        mappings=[(1.0, 2, first), (0.5, 5, first), (0.25, 9, first)],
    )


def made_architecture() -> dict[str, Any]:
    moments = {"mean": 22.5, "std": 3.25}
    return {
        "model": {"parameters": 690_000, "preset": "paper", "trained_on": "made up for the test"},
        "quality": {
            "nll_bits_per_note": {"torch": 5.25, "chip": {"loihi1": 5.355, "loihi2": None}},
            "metrics": {"pitch_count": {"generated": moments, "reference": moments, "overlapping_area": 0.75}},
        },
        "activity": {
            "spikes_per_note": 480.0,
            "populations": {"rnn": {"size": 64, "firing_rate": 0.05, "sparsity": 0.95}},
            "synops_per_note": {"dense": 1e6, "effective": 5e4, "chip": 6e4},
        },
        "chip": {name: made_chip(name) for name in ("loihi1", "loihi2")},
        "agreement": {
            "lava_fixed_spikes": 123_456,
            "lava_fixed_differences": 0,
            "float_integer": {"rate_change": 0.01},
        },
    }
