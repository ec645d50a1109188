"""The ranges of settings: each stated beside the default of its field, all checked when the settings are made.

@dataclass(frozen=True)
class Config:
    width: int = setting(512, between(1, 8192))

    def __post_init__(self) -> None:
        check(self, "S-RNN")
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from muspike.errors import BadInput

T = TypeVar("T")
_RANGE, _COUNT = "range", "count"


@dataclass(frozen=True)
class Range:
    """What a value may be: `holds` tells, and `words` end the sentence "width 0 must ..."."""

    holds: Callable[[Any], bool]
    words: str


def between(low: float, high: float) -> Range:
    """A size, both ends included."""
    return Range(lambda value: low <= value <= high, f"lie between {low} and {high}")


def from_to(low: float, high: float) -> Range:
    """A number, both ends included."""
    return Range(lambda value: low <= value <= high, f"be from {low} to {high}")


def at_least(low: float) -> Range:
    """A finite number from `low` on."""
    return Range(lambda value: low <= value < math.inf, f"be at least {low}")


def above_0() -> Range:
    """A positive number that float32, in which optimisers compute, can hold."""
    return Range(lambda value: 0 < value <= 1e30, "be above 0 and at most 1e30")


def share_below_1() -> Range:
    """A part of a whole, never all of it."""
    return Range(lambda value: 0 <= value < 1, "be at least 0 and below 1")


def one_of(names: Sequence[str]) -> Range:
    """One of these texts."""
    return Range(lambda value: value in names, f"be one of {', '.join(names)}")


def setting(default: T, values: Range | None = None, count: Range | None = None) -> T:
    """A field of a dataclass with its default.

    Args:
        values: what the value may be; of a tuple, each of its entries.
        count: of a tuple, how many entries it may have.
    """
    found: T = dataclasses.field(default=default, metadata={_RANGE: values, _COUNT: count})
    return found


def check(settings: Any, what: str) -> None:
    """Check every `setting` of a dataclass's instance; `what` it is begins the error.

    Raises:
        BadInput: a value is outside its range.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        values, count = field.metadata.get(_RANGE), field.metadata.get(_COUNT)
        if count and not count.holds(len(value)):
            raise BadInput(f"{what}: {field.name} has {len(value) or 'no'} values; their number must {count.words}")
        for entry in value if isinstance(value, tuple) else (value,):
            if values and not values.holds(entry):
                raise BadInput(f"{what}: {field.name} {entry} must {values.words}")
