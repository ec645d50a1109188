"""Who takes less where: the machines' energies against plain arithmetic, and the regions between them."""

from __future__ import annotations

import math

import pytest

from muspike.bench.crossover import AXES, Band, Bound, OnChip, OnMachine, Point, crossing, crossover_map, winner
from muspike.errors import BadInput
from muspike.hardware.cost.quantity import Quantity


def quantity(value: float, unit: str, spread: float = 0.0) -> Quantity:
    return Quantity(value, value * (1 - spread), value * (1 + spread), unit, "inferred")


def chip(dynamic: float = 10.0, power: float = 200.0, time: float = 0.05, spread: float = 0.1) -> OnChip:
    return OnChip("chip", quantity(dynamic, "uJ", spread), quantity(power, "mW"), quantity(time, "ms"), words=2.0)


def gpu() -> OnMachine:
    def band(value: float) -> Band:
        return Band(value, 0.9 * value, 1.1 * value)

    points = [(1, 2000.0, 500.0), (64, 60.0, 20_000.0), (1024, 6.0, 250_000.0)]
    found = tuple(Point(batch, band(energy), Band(rate, rate, rate)) for batch, energy, rate in points)
    return OnMachine("gpu", Band(100.0, 100.0, 100.0), found, words=2.0)


def test_a_chip_pays_its_static_power_while_it_runs_waits_or_idles() -> None:
    one = chip()
    assert one.batch(64).value == pytest.approx(10 + 200 * 0.05)  # mW x ms = uJ
    assert one.wait(3).value == pytest.approx(10 + 200 * (0.05 + 2 * 3))
    assert one.demand(100).value == pytest.approx(10 + 200 * 10)  # a note every 10 ms
    assert one.demand(50_000).value == pytest.approx(10 + 3 * 200 * 0.02)  # 20 us per note need three chips
    assert one.demand(20_000).value == pytest.approx(10 + 200 * 0.05)  # exactly full


def test_a_measured_machine_gets_cheaper_with_its_batch() -> None:
    machine = gpu()
    assert machine.batch(1).value == pytest.approx(2000 + 100 / 500 * 1e6)
    between = machine.batch(63)
    assert between.low == machine.batch(64).low and between.high == machine.batch(1).high
    assert machine.batch(64).value < between.value < machine.batch(1).value
    assert machine.batch(2000).value == pytest.approx(6 + 100 / 250_000 * 1e6)
    assert machine.demand(1e6).value == pytest.approx(6 + 4 * 100 / 1e6 * 1e6)  # four machines
    assert machine.demand(10).value == pytest.approx(6 + 100 / 10 * 1e6)  # idle all the time, the best batch at times
    assert machine.wait(1).value == pytest.approx(2000 + 100 * (1 / 500 + 2e-3) * 1e6)


def test_bands_go_to_the_ends_that_widen_them() -> None:
    band = gpu().batch(64)
    assert band.low == pytest.approx(0.9 * 60 + 100 / 20_000 * 1e6)
    assert band.high == pytest.approx(1.1 * 60 + 100 / 20_000 * 1e6)


@pytest.mark.parametrize(
    ("first", "second", "who"),
    [
        (Band(1, 0.5, 1.5), Band(3, 2, 4), "first"),
        (Band(3, 2, 4), Band(1, 0.5, 1.5), "second"),
        (Band(1, 0.5, 2.5), Band(3, 2, 4), "open"),
        (Band(9, 8, 10), Band(1, 1, math.inf), "open"),
        (Band(0.5, 0.4, 0.9), Band(1, 1, math.inf), "first"),
    ],
)
def test_who_takes_less_is_open_where_bands_overlap(first: Band, second: Band, who: str) -> None:
    assert winner(first, second) == who


def test_a_gpu_wins_over_a_chip_from_some_batch_on_and_the_regions_say_from_which() -> None:
    fast = OnMachine("gpu", Band(0.1, 0.1, 0.1), gpu().points, 2.0)
    found = crossing("batch", chip(), fast)
    assert [who for *_, who in found.regions] == ["first", "open", "second"]
    assert 900 < found.regions[2][0] <= 1100 and found.regions[2][1] == pytest.approx(4096)
    assert found.sentence().startswith("pieces composed together: chip from 1 to ")


def test_nothing_is_known_above_a_bound() -> None:
    bound = Bound("peak", quantity(12, "uJ"))
    assert {who for *_, who in crossing("demand", chip(), bound).regions} == {"open"}
    assert [of.axis for of in crossover_map([chip()], [bound])] == ["batch"]
    assert crossing("batch", chip(1, 1, 1), bound).sentence().endswith("chip, from 1 to 4,096")


def test_the_map_has_every_pair_over_every_axis() -> None:
    found = crossover_map([chip(), chip(5)], [gpu()])
    assert [of.axis for of in found] == [*AXES, *AXES]
    told = found[0].to_dict()
    assert len(told["at"]) == len(told["energy_uj_per_note"]) and told["regions"][0]["cheaper"] == "first"


def test_a_crossover_begins_at_a_batch_of_one() -> None:
    with pytest.raises(BadInput, match="gpu: measured at no batch of 1"):
        OnMachine("gpu", Band(1, 1, 1), gpu().points[1:], 2.0)


def test_the_sentence_says_that_unpublished_spreads_are_left_out() -> None:
    unknown = OnChip("chip", Quantity(1, 1, 1, "uJ", "inferred", False), quantity(1, "mW"), quantity(1, "ms"), 2.0)
    told = crossing("batch", unknown, Bound("peak", quantity(12, "uJ"))).sentence()
    without = "(unpublished spreads are left out)"
    assert told == f"pieces composed together: chip, from 1 to 4,096 {without}"
