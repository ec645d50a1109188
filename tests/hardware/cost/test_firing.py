"""Rates, dead and saturated neurons, and membrane updates, against spikes and membranes that were laid by hand."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chip_programs
from muspike.errors import BadInput
from muspike.hardware.cost.firing import SATURATED, FiringMeter, Presented
from muspike.hardware.program import Program

Arrays = dict[str, Any]
SIZES = {"in": 2, "a": 3, "b": 4, "out": 2}
LEVELS = {"in": 0, "a": 1, "b": 3, "out": 4}


def program(relays: tuple[str, ...] = ()) -> Program:
    kinds = {"in": "input", "out": "li"}
    populations = [
        chip_programs.population(name, size, kinds.get(name, "lif"), level=LEVELS[name]) for name, size in SIZES.items()
    ]
    made = chip_programs.program(populations, [])
    return Program(made.chip, made.dt_s, made.populations, (), made.core_xy, {"relays": list(relays)})


def nothing(ticks: int, batch: int) -> Arrays:
    return {name: np.zeros((ticks + 4, batch, size), np.uint8) for name, size in SIZES.items() if name != "out"}


def test_a_neuron_that_never_fires_is_dead_and_one_that_fires_whenever_it_could_is_saturated() -> None:
    spikes = nothing(ticks=10, batch=2)
    spikes["a"][[1, 2, 6, 7], :, 0] = 1  # the presented ticks of a, which is at level 1
    spikes["a"][[1, 2, 6], :, 1] = 1  # one less
    spikes["a"][0] = 1  # before ideal time begins
    meter = FiringMeter(program(), 10, Presented(2, 5))
    meter.add(spikes)
    _, a, b = meter.firings()
    assert a.dead.tolist() == [False, False, True] and a.saturated.tolist() == [True, False, False]
    assert b.dead.all() and not b.saturated.any()
    assert (a.spikes, a.chances, a.batch) == (14, 8, 2)
    assert a.rate == pytest.approx(14 / (3 * 20)) and a.sparsity == pytest.approx(1 - 14 / (3 * 20))
    assert a.presented_rate == pytest.approx(14 / (3 * 8))
    assert a.rate_of_neuron.tolist() == [1, 6 / 8, 0]
    assert a.rate_of_sequence.tolist() == pytest.approx([7 / 30, 7 / 30])


def test_a_spike_of_a_thousand_missing_is_still_saturated_and_a_hundredth_and_more_is_not() -> None:
    few, many = int(1000 * (1 - SATURATED)), int(1000 * (1 - SATURATED)) + 1
    spikes = nothing(ticks=1000, batch=1)
    spikes["in"][few:1000, 0, 0] = 1
    spikes["in"][many:1000, 0, 1] = 1
    meter = FiringMeter(program(), 1000)
    meter.add(spikes)
    assert meter.firings()[0].saturated.tolist() == [True, False]


def test_rates_over_the_ticks_of_a_token_and_over_the_tokens() -> None:
    spikes = nothing(ticks=6, batch=1)
    spikes["b"][3, 0, :] = 1  # tick 0 of the first token, in ideal time
    spikes["b"][7, 0, :2] = 1  # tick 1 of the second
    meter = FiringMeter(program(), 6, Presented(1, 3))
    meter.add(spikes)
    b = meter.firings()[2]
    assert b.rate_of_tick.tolist() == [1 / 2, 1 / 4, 0]
    assert b.rate_of_period.tolist() == pytest.approx([1 / 3, 1 / 6])


def test_without_periods_a_neuron_could_fire_in_every_tick() -> None:
    spikes = nothing(ticks=6, batch=1)
    spikes["b"][3:9, 0, 0] = 1
    meter = FiringMeter(program(), 6)
    meter.add(spikes)
    b = meter.firings()[2]
    assert b.chances == 6 and b.saturated.tolist() == [True, False, False, False]
    assert b.rate_of_tick.tolist() == [1 / 4] * 6 and b.rate_of_period.tolist() == [1 / 4]


def test_relays_are_told_apart() -> None:
    meter = FiringMeter(program(relays=("a",)), 5)
    meter.add(nothing(5, 1))
    assert [(of.name, of.relay) for of in meter.firings()] == [("in", False), ("a", True), ("b", False)]


def test_a_membrane_update_is_a_change_and_the_first_tick_counts_whole() -> None:
    spikes = nothing(ticks=5, batch=1)
    membranes = {name: np.zeros((9, 1, SIZES[name]), np.int32) for name in ("a", "b", "out")}
    membranes["b"][:, 0, 0] = [7, 7, 7, 7, 8, 8, 0, 0, 9]  # at level 3: ticks 3 to 7 count, of which 3 is the first
    meter = FiringMeter(program(), 5)
    meter.add(spikes, membranes)
    assert meter.membrane_updates() == {"a": 3, "b": 4 + 2, "out": 2}


def test_membranes_that_are_not_recorded_are_not_guessed() -> None:
    meter = FiringMeter(program(), 5)
    meter.add(nothing(5, 1))
    assert meter.membrane_updates() is None


@given(st.integers(0, 2**32 - 1))
def test_a_run_in_parts_is_counted_as_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    ticks, batch = 12, 3
    spikes = {name: (rng.random(array.shape) < 0.3).astype(np.uint8) for name, array in nothing(ticks, batch).items()}
    membranes = {name: rng.integers(0, 2, (ticks + 4, batch, SIZES[name])) for name in ("a", "b", "out")}
    whole = FiringMeter(program(), ticks, Presented(2, 4))
    whole.add(spikes, membranes)
    parts = FiringMeter(program(), ticks, Presented(2, 4))
    for sequences in (slice(0, 1), slice(1, 3)):
        cuts = [0, *sorted(rng.integers(0, ticks + 4, 3).tolist()), ticks + 4]
        parts.begin()
        for begin, end in pairwise(cuts):
            if begin == end:
                continue
            some = [{name: a[begin:end, sequences] for name, a in of.items()} for of in (spikes, membranes)]
            parts.add(*some)
    assert parts.membrane_updates() == whole.membrane_updates()
    for one, other in zip(parts.firings(), whole.firings(), strict=True):
        level = LEVELS[one.name]
        answer = spikes[one.name][level : level + ticks]
        assert one.of_neuron.tolist() == other.of_neuron.tolist() == answer.sum((0, 1)).tolist()
        assert one.of_tick.tolist() == other.of_tick.tolist() == answer.sum((1, 2)).tolist()
        assert one.of_sequence.tolist() == other.of_sequence.tolist() == answer.sum((0, 2)).tolist()
        presented = answer[np.arange(ticks) % 4 < 2]
        assert one.of_neuron_presented.tolist() == presented.sum((0, 1)).tolist()
    for name in ("a", "b", "out"):
        v = membranes[name][LEVELS[name] - 1 : LEVELS[name] + ticks]
        changes = int((v[1:] != v[:-1])[1:].sum()) + batch * SIZES[name]
        found = whole.membrane_updates()
        assert found is not None and found[name] == changes


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(BadInput, match="10 ticks are no multiple of the period, 4"):
        FiringMeter(program(), 10, Presented(1, 4))
    with pytest.raises(BadInput, match="no tick"):
        FiringMeter(program(), 10).firings()
