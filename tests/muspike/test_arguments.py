"""Checks of arguments at the edges that other tests of bad use do not draw."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from muspike.arguments import mapping, number
from muspike.errors import BadInput


@pytest.mark.parametrize("value", [10**400, math.inf, math.nan, -1, "1", True, None])
def test_what_is_no_number_of_the_range_is_refused(value: Any) -> None:
    with pytest.raises(BadInput, match=r"^rate is .*; expected a rate$"):
        number("rate", value, "a rate", 0, math.inf)


@pytest.mark.parametrize("value", [0, 2.5, np.float32(2.5), np.int8(3), Fraction(1, 4)])
def test_numbers_of_any_kind_become_floats(value: Any) -> None:
    found = number("rate", value, "a rate", 0, math.inf)
    assert type(found) is float and found == value


@pytest.mark.parametrize("key", [0, None, b"a", b""])
def test_names_are_texts(key: Any) -> None:
    assert mapping("inputs", {"": 1}, "a dict") == {"": 1}
    with pytest.raises(BadInput, match=r"a name in inputs is .*; expected a text"):
        mapping("inputs", {key: 1}, "a dict")
