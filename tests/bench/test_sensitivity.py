"""Conclusions against a search over the corners of the bands."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from muspike.bench.sensitivity import Ends, Priced, conclusions
from muspike.hardware.cost.quantity import Quantity

PRICES = {"synop": (10.0, 5.0, 20.0), "neuron": (100.0, 80.0, 150.0), "static": (30.0, 20.0, 50.0)}


def energy(counts: dict[str, float], at: dict[str, float]) -> float:
    return sum(count * at[name] for name, count in counts.items())


def priced(label: str, counts: dict[str, float], prices: str = "chip") -> Priced:
    value, low, high = ({name: of[i] for name, of in PRICES.items()} for i in range(3))
    moves = {
        name: Ends(energy(counts, value | {name: low[name]}), energy(counts, value | {name: high[name]}))
        for name in counts
    }
    total = Quantity(energy(counts, value), energy(counts, low), energy(counts, high), "pJ", "inferred")
    return Priced(label, prices, total, moves)


def test_two_chips_are_compared_at_the_ends_of_both_bands() -> None:
    one, other = priced("a", {"synop": 10, "neuron": 1}), priced("b", {"synop": 100, "neuron": 1}, "another")
    (found,) = conclusions([other, one])
    assert (found.first, found.second) == ("a", "b")
    assert found.ratio == pytest.approx(1100 / 200)
    assert found.low == pytest.approx((500 + 80) / (200 + 150)) and found.holds
    assert found.high == pytest.approx((2000 + 150) / (50 + 80))
    assert found.flips == ()


def test_a_constant_that_both_pay_cannot_separate_them_twice() -> None:
    """Overlapping bands, and still the conclusion holds, because the same price moves both."""
    one, other = priced("a", {"synop": 100}), priced("b", {"synop": 120})
    (found,) = conclusions([one, other])
    assert found.holds and found.low == pytest.approx(1.2) and found.high == pytest.approx(1.2)
    (apart,) = conclusions([one, priced("b", {"synop": 120}, "another")])
    assert not apart.holds and apart.flips == ("synop of chip", "synop of another")


def test_a_constant_that_turns_a_conclusion_over_is_named() -> None:
    one, other = priced("many synops", {"synop": 50, "neuron": 1}), priced("many neurons", {"synop": 10, "neuron": 6.2})
    (found,) = conclusions([one, other])
    assert found.first == "many synops" and not found.holds
    assert found.flips == ("synop",)


def test_the_ends_of_a_shared_ratio_are_those_of_all_corners() -> None:
    random = np.random.default_rng(3)
    for _ in range(200):
        counts = [dict(zip(PRICES, random.integers(1, 200, 3).tolist(), strict=True)) for _ in range(2)]
        found = conclusions([priced(label, of) for label, of in zip("ab", counts, strict=True)])
        if not found:
            continue
        first, second = (counts["ab".index(label)] for label in (found[0].first, found[0].second))
        ratios = [
            energy(second, at) / energy(first, at)
            for corner in product((1, 2), repeat=3)
            for at in [{name: PRICES[name][end] for name, end in zip(PRICES, corner, strict=True)}]
        ]
        assert found[0].low == pytest.approx(min(ratios), rel=1e-9)
        assert found[0].high == pytest.approx(max(ratios), rel=1e-9)


def test_the_surest_conclusion_comes_first_and_equals_have_none() -> None:
    one, same, other = (priced(label, {"synop": n}) for label, n in (("a", 10), ("b", 10), ("c", 90)))
    assert [(of.first, of.second) for of in conclusions([one, same, other])] == [("a", "c"), ("b", "c")]
    assert conclusions([one, same]) == []
