"""The test of Yan et al. against the numbers that the paper publishes, and against sums by hand.

The published numbers are second-hand: a reader's notes on arXiv 2409.08290, versions 4 to 6. Constants of `yan.toml`
were inferred from them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chip_programs
from muspike.errors import BadInput
from muspike.hardware.cost.bill import constants_of, values_of
from muspike.hardware.cost.inference import Inferences
from muspike.hardware.cost.yan import Group, Layout, middle_density, sensitivity, twin_bits, yan
from muspike.hardware.program import ChipSynapses

SLACK = 0.02
"""How far a published rate may be off, of itself: what its rounding and the inferred constants leave."""

PRICES = values_of(constants_of("yan"))


@pytest.mark.parametrize(
    ("ticks", "weight_bits", "fan_in", "published"),
    [
        (5, 4, 4096, 0.057),  # the abstract of versions 4 to 6
        (5, 4, 64, 0.054),
        (3, 8, 4096, 0.082),
        (2, 4, 4096, 0.104),
        (2, 8, 4096, 0.123),
    ],
)
def test_break_even_rates_are_the_published_ones(ticks: int, weight_bits: int, fan_in: int, published: float) -> None:
    found = Layout.uniform(ticks, 0.01, weight_bits, fan_in).break_even()
    assert found == pytest.approx(published, rel=SLACK)


def test_the_break_even_rate_moves_as_the_papers_sensitivity_study_has_it() -> None:
    layout, constants = Layout.uniform(5, 0.01, 4, 4096), constants_of("yan")
    moves = sensitivity(layout, constants, ["move_sparse", "move_dense", "weight_bit"])
    assert moves == pytest.approx((0.0341, 0.1080), rel=SLACK)
    assert sensitivity(layout, constants, ["weight_bit"]) == pytest.approx((0.0539, 0.0608), rel=SLACK)
    low, high = sensitivity(layout, constants, ["accumulate", "mac_bits"])
    assert high - low < 0.0011  # published: at most 0.05 percentage points each way


@pytest.mark.parametrize(("reads_once", "published"), [(False, 0.46), (True, 0.67)])
def test_parity_in_hops_is_the_published_one(reads_once: bool, published: float) -> None:
    low, high = 0.01, 3.0
    for _ in range(50):
        hops = (low + high) / 2
        layout = Layout.uniform(4, 0.1, 8, 4096, hops, reads_once)
        low, high = (hops, high) if layout.ratio().value < 1 else (low, hops)
    assert low == pytest.approx(published, rel=SLACK)


def test_spikes_are_moved_densely_above_the_published_rates() -> None:
    """12 to 17 %, depending on the width of a weight."""

    def moved_densely(rate: float, bits: int) -> bool:
        return "move_dense" in Layout.uniform(5, rate, bits, 4096).spiking(PRICES).counts

    assert not moved_densely(0.10, 2) and moved_densely(0.12, 2)
    assert not moved_densely(0.16, 8) and moved_densely(0.18, 8)


def test_a_twin_has_a_level_for_each_number_of_spikes() -> None:
    assert [twin_bits(ticks) for ticks in (1, 2, 3, 4, 5, 7, 8, 15)] == [1, 2, 2, 3, 3, 3, 4, 4]
    with pytest.raises(BadInput, match="twin_bits: ticks"):
        twin_bits(0)
    # Theorem 2: with a density d, the rate per tick is between d / T and d.
    for ticks in (1, 3, 8):
        rate = 0.05
        assert rate <= middle_density(ticks, rate * ticks) <= rate * ticks + 1e-12
    assert middle_density(4, 4) == 1


def test_the_bills_of_a_small_layout_by_hand() -> None:
    layout = Layout(3, (Group(10, 0.15, 0.1), Group(4, 2.7, 1.0)), 2, 0.9, weight_bits=8, hops=2)
    found = layout.spiking(PRICES).counts
    # The first group goes event by event, the second densely: 0.9 spikes per tick.
    assert found == pytest.approx(
        {
            "compare": 6,
            "subtract": 0.9,
            "weight_bit": 2 * 6 * 8 + 10 * 0.15 * 8 + 4 * 3 * 8,
            "accumulate": 10 * 0.15 + 4 * 2.7,
            "move_sparse": 10 * 0.15 * 2,
            "move_dense": 4 * 3 * 2,
        }
    )
    assert layout.twin().counts == pytest.approx(
        {
            "compare": 2,
            "mac_bits": (10 * 0.1 + 4) * 8 * 2,
            "move_dense": 14 * 2 * 2,
            "weight_bit": 14 * 8,
        }
    )
    host = replace(layout, groups=(replace(layout.groups[0], from_host=True), layout.groups[1]))
    assert host.twin() == layout.twin() and layout.twin(PRICES) == layout.twin()
    assert host.twin(PRICES).counts == pytest.approx(
        {
            "compare": 2,
            "accumulate": 10 * 0.1,
            "move_sparse": 10 * 0.1 * 2,
            "weight_bit": 10 * 0.1 * 8 + 4 * 8,
            "mac_bits": 4 * 8 * 2,
            "move_dense": 4 * 2 * 2,
        }
    )
    assert layout.rate == pytest.approx((10 * 0.15 + 4 * 2.7) / (14 * 3))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.sampled_from([2, 4, 8]), st.integers(4, 5000), st.floats(0.001, 0.3))
def test_below_the_break_even_rate_the_network_is_cheaper_and_above_it_dearer(
    ticks: int, bits: int, fan_in: int, rate: float
) -> None:
    layout = Layout.uniform(ticks, rate, bits, fan_in)
    even = layout.break_even()
    if 0.001 < even < 0.99:
        assert layout.scaled(even / layout.rate * 0.99).ratio().value < 1 + 1e-9
        assert layout.scaled(even / layout.rate * 1.01).ratio().value > 1 - 1e-9
    elif even == 0:
        assert layout.scaled(0.0).ratio().value >= 1


def ratios_inside(layout: Layout, seed: int, number: int) -> list[float]:
    """The ratios to both twins with the constants drawn in their bands, most of them inside."""
    random, found = np.random.default_rng(seed), []
    for _ in range(number):
        places = np.clip(random.uniform(-0.5, 1.5, len(PRICES)), 0, 1)  # half of them at an end
        prices = {
            name: c.low + (c.high - c.low) * float(place)
            for (name, c), place in zip(constants_of("yan").items(), places, strict=True)
        }
        spent = layout.spiking(prices).at(prices)
        found += [spent / layout.twin().at(prices), spent / layout.twin(prices).at(prices)]
    return found


groups = st.builds(
    lambda connections, rate, density, from_host: (connections, rate, max(rate, density), from_host),
    st.integers(1, 5000),
    st.floats(0.01, 0.5),
    st.floats(0.01, 1),
    st.booleans(),
)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.lists(groups, min_size=1, max_size=4), st.booleans(), st.integers(0, 2**32))
def test_no_constants_inside_their_bands_give_a_ratio_outside_its_band(
    ticks: int, of: list[tuple[int, float, float, bool]], once: bool, seed: int
) -> None:
    made = tuple(Group(number, rate * ticks, density, host) for number, rate, density, host in of)
    layout = Layout(ticks, made, 10, 10 * ticks * 0.1, 8, reads_once=once)
    found = layout.ratio()
    inside = ratios_inside(layout, seed, 40)
    assert found.low * (1 - 1e-9) <= min(inside) and max(inside) <= found.high * (1 + 1e-9)


def test_the_extreme_inside_the_bands_is_found() -> None:
    """With T = 1 the ratio rises with the price of a dense move up to where spikes are moved event by event."""
    layout = Layout(1, (Group(1000, 0.2, 0.2),), 1, 0.2, 8)
    constants = {name: replace(c, low=c.value, high=c.value) for name, c in constants_of("yan").items()}
    band = constants_of("yan")["move_dense"]
    constants["move_dense"] = band

    def at(price: float) -> float:
        prices = PRICES | {"move_dense": price}
        return layout.spiking(prices).at(prices) / layout.twin().at(prices)

    # Event by event and densely cost the same: 0.2 (3 + 8 w) = d + 8 w, with w = 0.0394.
    turn = 0.2 * (3 + 8 * 0.0394) - 8 * 0.0394
    assert band.low < turn < band.high and at(turn) > max(at(band.low), at(band.high)) * 1.001
    assert layout.ratio(constants).high == pytest.approx(at(turn))


def test_a_network_is_counted_by_inference_and_by_the_level_of_its_populations() -> None:
    populations = [
        chip_programs.population("in", 2, "input"),
        chip_programs.population("a", 3, level=2),
        chip_programs.population("out", 1, "li", level=3),
    ]
    synapses = [
        ChipSynapses("1", "in", "a", np.full((3, 2), 2, np.int16), 0, 2),
        ChipSynapses("2", "a", "out", np.full((1, 3), 2, np.int16), 0, 1),
    ]
    program = chip_programs.program(populations, synapses)
    spikes = {"in": np.zeros((10, 1, 2), np.uint8), "a": np.zeros((10, 1, 3), np.uint8)}
    spikes["in"][[0, 1, 5], 0, 0] = 1
    spikes["a"][[1, 2, 3, 6, 7], 0, 1] = 1  # tick 1 is before the first inference, 7 is of the second
    found = yan(program, spikes, Inferences(2, 5, (10,)))
    # Two inferences. Source 0 of the input: 2 and 1 spikes; of a's neuron 1: 3 (ticks 2, 3, 6) and 1.
    inputs, hidden = found.layout.groups
    assert (inputs.connections, inputs.spikes, inputs.density) == (6, 3 / 2 / 2, 0.5)
    assert hidden.connections == 3 and hidden.spikes == pytest.approx(4 / 3 / 2)
    assert hidden.density == pytest.approx(1 / 3)
    assert (found.bits, found.layout.neurons, found.layout.neuron_spikes) == (2, 4, 2)
    assert found.fan_in == 9 / 4 and (inputs.from_host, hidden.from_host) == (True, False)
    for twin in (found.layout.twin(), found.layout.twin(PRICES)):
        assert found.ratio.low <= found.layout.spiking(PRICES).at(PRICES) / twin.at(PRICES) <= found.ratio.high
    assert found.rate == pytest.approx((6 * 0.75 + 3 * 2 / 3) / (9 * 2))
    assert found.break_even_low <= found.break_even <= found.break_even_high
    assert found.ratio.low <= found.ratio.value <= found.ratio.high
    assert found.to_dict()["break_even_rate"]["value"] == found.break_even


def test_a_silent_network_has_no_break_even_rate() -> None:
    with pytest.raises(BadInput, match="no neuron spikes"):
        Layout(3, (Group(10, 0.0, 0.0),), 2, 0.0).break_even()


@pytest.mark.parametrize(
    ("ticks", "period", "lengths", "said"),
    [
        (0, 3, (6,), "ticks"),
        (4, 3, (6,), "ticks"),
        (1, 0, (6,), "period"),
        (1, 7, (6, 2), "has 6 ticks; one inference"),
    ],
)
def test_inferences_that_do_not_fit_a_run_are_refused(
    ticks: int, period: int, lengths: tuple[int, ...], said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        Inferences(ticks, period, lengths)
