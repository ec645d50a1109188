"""Bills: their energies, and the band of a ratio whose two sides have the same constants."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware.constant import Constant
from muspike.hardware.cost.bill import Bill, Ratio, constants_of, parse_model, ratio, total


def constant(value: float, low: float, high: float, known: bool = True) -> Constant:
    return Constant(value, low, high, "pJ", "fitted", "a test", known)


CONSTANTS = {"a": constant(2, 1, 4), "b": constant(10, 10, 10, False), "c": constant(3, 2, 5)}
numbers = st.floats(0, 1e3)


def test_an_energy_is_counts_times_constants() -> None:
    bill = total([Bill({"a": 2}), Bill({"a": 1, "b": 4})])
    found = bill.energy(CONSTANTS)
    assert (found.value, found.low, found.high, found.band_known) == (46, 43, 52, False)
    assert Bill({"a": 2, "b": 0}).energy(CONSTANTS).band_known
    assert total([]).energy(CONSTANTS).value == 0


def test_what_both_sides_have_in_common_does_not_widen_a_ratio() -> None:
    assert ratio(Bill({"a": 6}), Bill({"a": 3}), CONSTANTS) == Ratio(2, 2, 2, "fitted")
    # By the ratio of two bands it would be 0.2 to 4.
    found = ratio(Bill({"a": 3}), Bill({"a": 3, "c": 1}), CONSTANTS)
    assert (found.low, found.high) == (3 / (3 + 5), 12 / (12 + 2))


@settings(max_examples=60)
@given(st.lists(numbers, min_size=3, max_size=3), st.lists(numbers, min_size=3, max_size=3), st.integers(0, 2**32))
def test_no_constants_inside_their_bands_give_a_ratio_outside_its_band(
    of: list[float], to: list[float], seed: int
) -> None:
    names = list(CONSTANTS)
    bills = [Bill(dict(zip(names, counts, strict=True))) for counts in (of, [count + 1 for count in to])]
    found = ratio(bills[0], bills[1], CONSTANTS)
    random = np.random.default_rng(seed)
    for _ in range(20):
        prices = {name: float(random.uniform(c.low, c.high)) for name, c in CONSTANTS.items()}
        inside = bills[0].at(prices) / bills[1].at(prices)
        assert found.low * (1 - 1e-9) <= inside <= found.high * (1 + 1e-9)
    corners = itertools.product(*((c.low, c.high) for c in CONSTANTS.values()))
    at_ends = [bills[0].at(p) / bills[1].at(p) for p in (dict(zip(names, corner, strict=True)) for corner in corners)]
    assert math.isclose(found.high, max(at_ends)) and math.isclose(found.low, min(at_ends))


def test_a_ratio_to_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="costs nothing"):
        ratio(Bill({"a": 1}), Bill({}), CONSTANTS)


def test_a_ratio_says_its_band_and_takes_in_another() -> None:
    one, other = Ratio(1, 0.5, 2, "fitted"), Ratio(0.9, 0.25, 1.5, "assumed", False)
    assert one.band == "0.5 – 2" and other.band == "0.25 – 1.5 or wider"
    assert one.with_(other) == Ratio(1, 0.25, 2, "assumed", False)


@pytest.mark.parametrize("model", ["lemaire", "yan"])
def test_every_constant_has_a_band_a_tag_and_a_source(model: str) -> None:
    for name, c in constants_of(model).items():
        assert 0 <= c.low <= c.value <= c.high and c.source, name
        assert c.band_known or c.low == c.value == c.high


FILE = """
[sources]
paper = "a paper"
[prices]
a = { value = 1, low = 1, high = 3, unit = "pJ", tag = "fitted", source = "paper" }
[sizes]
b = { value = 8, band = "unknown", unit = "bits", tag = "assumed", source = "paper: a remark" }
[citations]
paper = "yan2024"
"""


def test_the_file_of_a_model_has_prices_sizes_and_citations() -> None:
    found = parse_model(FILE, "m.toml")
    assert found.constants["a"] == Constant(1, 1, 3, "pJ", "fitted", "a paper")
    assert found.constants["b"] == Constant(8, 8, 8, "bits", "assumed", "a paper (a remark)", False)
    assert list(found.citations) == ["paper"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("low = 1", "low = 2", "prices: a: expected 0 <= low <= value <= high"),
        ('"fitted"', '"guessed"', "tag is 'guessed', expected one of measured"),
        ('source = "paper" }', 'source = "nobody" }', r"source 'nobody' is not in \[sources\]"),
        ("low = 1, ", "", "prices: a: low is missing"),
        ("low = 1, ", "low = 1, note = 1, ", "unknown key 'note'"),
        ('"bits"', '"pJ"', "unit is 'pJ', expected one of words, bits"),
        ("[sizes]", "[size]", "sizes is missing"),
    ],
)
def test_a_wrong_entry_is_named(old: str, new: str, said: str) -> None:
    with pytest.raises(BadInput, match=f"^m.toml.*{said}"):
        parse_model(FILE.replace(old, new), "m.toml")
