"""What inputs lose on a chip, against counting by hand."""

from __future__ import annotations

import dataclasses
import json

import numpy as np

from muspike.hardware.running.merged import Merged


def test_events_that_share_a_tick_are_counted() -> None:
    counts = np.zeros((7, 2, 3), np.uint16)
    counts[0, 0, 0], counts[1, 1, 2], counts[2, 0, 0], counts[6, 1, 1] = 1, 4, 2, 1
    merged = Merged.of("in", "events", counts, 1e-3)
    assert merged == Merged("in", "events", events=8, merged=4, shared=2, most=4, ticks=7, dt_s=1e-3)
    assert merged.share == 0.5 and json.loads(json.dumps(merged.to_dict()))["share"] == 0.5
    assert merged.told == (
        "in: 4 of 8 events (50 %) are left out: their neuron has another event in the same tick, and "
        "a neuron spikes at most once in a tick (ticks of 0.001 s, at most 4 events in one)"
    )
    assert "(99 %)" in dataclasses.replace(merged, events=1000, merged=999).told
    assert "(0.1 %)" in dataclasses.replace(merged, events=1000, merged=1).told
    assert "counts several in one tick" in Merged.of("in", "counts", counts, 1e-3).told
    large = np.full((70, 1, 1000), 65535, np.uint16)  # a sum that 32 bits do not hold
    assert Merged.of("in", "counts", large, 1.0).events == 70_000 * 65535
