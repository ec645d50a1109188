"""Ranges of settings: both ends, what an error says, and where the ranges of a subclass come from."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from muspike.errors import BadInput
from muspike.ranges import (
    Range,
    above_0,
    at_least,
    between,
    check,
    demand,
    from_to,
    one_of,
    setting,
    share,
    share_below_1,
    whole,
)


@dataclass(frozen=True)
class Sizes:
    width: int = setting(4, between(1, 8))
    taps: tuple[int, ...] = setting((1, 2), between(1, 16), count=between(1, 3))
    free: int = 7

    def __post_init__(self) -> None:
        check(self, "sizes")


@dataclass(frozen=True)
class More(Sizes):
    rate: float = setting(0.5, from_to(0, 1))
    steps: int | None = setting(None, whole(1, 9))
    name: str = setting("a", one_of(("a", "b")))

    def __post_init__(self) -> None:
        check(self, "more")


def test_defaults_are_those_of_the_fields() -> None:
    assert (Sizes().width, Sizes().taps, Sizes.width, More().rate) == (4, (1, 2), 4, 0.5)
    assert [f.default for f in dataclasses.fields(Sizes)] == [4, (1, 2), 7]
    assert dataclasses.asdict(dataclasses.replace(More(), width=8)) == {
        "width": 8, "taps": (1, 2), "free": 7, "rate": 0.5, "steps": None, "name": "a",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Sizes, {"width": 0}, "sizes: width 0 must lie between 1 and 8"),
        (Sizes, {"width": 9}, "sizes: width 9 must lie between 1 and 8"),
        (Sizes, {"taps": (3, 17)}, "sizes: taps 17 must lie between 1 and 16"),
        (Sizes, {"taps": ()}, "sizes: taps has no values; their number must lie between 1 and 3"),
        (Sizes, {"taps": (1, 1, 1, 1)}, "sizes: taps has 4 values; their number must lie between 1 and 3"),
        (More, {"width": 0}, "more: width 0 must lie between 1 and 8"),
        (More, {"rate": 1.5}, "more: rate 1.5 must be from 0 to 1"),
        (More, {"rate": "high"}, "more: rate high must be from 0 to 1"),
        (More, {"rate": None}, "more: rate None must be from 0 to 1"),
        (More, {"name": 1}, "more: name 1 must be one of a, b"),
        (More, {"steps": 10}, "more: steps 10 must be from 1 to 9"),
        (More, {"steps": 1.5}, "more: steps 1.5 must be a whole number and be from 1 to 9"),
        (Sizes, {"width": 2.0}, "sizes: width 2.0 must be a whole number and lie between 1 and 8"),
        (Sizes, {"width": True}, "sizes: width True must be a whole number and lie between 1 and 8"),
        (Sizes, {"width": "4"}, "sizes: width 4 must be a whole number and lie between 1 and 8"),
        (Sizes, {"taps": (1, 2.5)}, "sizes: taps 2.5 must be a whole number and lie between 1 and 16"),
    ],
)
def test_what_is_outside_is_named(kind: type[Sizes], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=f"^{re.escape(message)}$"):
        kind(**settings)


@pytest.mark.parametrize(
    ("values", "inside", "outside"),
    [
        (between(1, 8), (1, 8), (0, 9, math.nan)),
        (from_to(0, 1), (0, 0.5, 1), (-0.1, 1.1, math.nan, math.inf)),
        (at_least(1), (1, 2**70), (0, math.inf, math.nan)),
        (above_0(), (1e-30, 1e30), (0, -1, 1e-320, 1e31, math.inf, math.nan)),
        (whole(1, 8), (1, 8), (0, 9)),
        (share(), (1e-9, 1), (0, 1.1, math.nan)),
        (share_below_1(), (0, 0.99), (-0.1, 1, math.nan)),
        (one_of(("a", "b")), ("a", "b"), ("c", "", "ab")),
    ],
)
def test_ends_are_included_where_the_words_say_so(values: Range, inside: tuple[Any, ...], outside: Any) -> None:
    assert [value for value in inside if not values.holds(value)] == []
    assert [value for value in outside if values.holds(value)] == []


def test_a_value_alone() -> None:
    demand(np.int64(3), whole(1, 3), "pieces")
    demand(np.float32(0.5), share(), "share")
    for value, words in ((0, "pieces 0 must be from 1 to 3"), (np.float64(1), "pieces 1.0 must be a whole number and")):
        with pytest.raises(BadInput, match=words):
            demand(value, whole(1, 3), "pieces")
