"""Compare two spiking graphs in every number."""

from __future__ import annotations

import numpy as np

from muspike.hardware.graph import SpikingGraph
from muspike.hardware.weights import dense


def check_equal_graphs(found: SpikingGraph, expected: SpikingGraph) -> None:
    """Both have the same populations, synapses and outputs; only how neurons are arranged may differ."""
    assert found.outputs == expected.outputs
    assert [(p.name, p.kind, p.size) for p in found.populations] == [
        (p.name, p.kind, p.size) for p in expected.populations
    ]
    for p, of in zip(found.populations, expected.populations, strict=True):
        for field in ("tau", "tau_syn", "v_threshold", "bias"):
            np.testing.assert_array_equal(getattr(p, field), getattr(of, field))
    for s, like in zip(found.synapses, expected.synapses, strict=True):
        assert (s.name, s.source, s.target, s.delay) == (like.name, like.source, like.target, like.delay)
        np.testing.assert_array_equal(dense(s.weight), dense(like.weight))
