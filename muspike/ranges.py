"""Ranges of settings. A field states its range beside its default, and `check` checks all fields of an instance.

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
    """The values that a setting may have.

    Attributes:
        holds: whether a value is in the range.
        words: the range in words, the end of the sentence "width 0 must ...".
    """

    holds: Callable[[Any], bool]
    words: str


def between(low: float, high: float) -> Range:
    """From `low` to `high`, both included. The words suit a size: "lie between 1 and 64"."""
    return Range(lambda value: low <= value <= high, f"lie between {low} and {high}")


def from_to(low: float, high: float) -> Range:
    """From `low` to `high`, both included. The words suit other numbers: "be from 0 to 1"."""
    return Range(lambda value: low <= value <= high, f"be from {low} to {high}")


def at_least(low: float) -> Range:
    """Finite numbers from `low` upwards."""
    return Range(lambda value: low <= value < math.inf, f"be at least {low}")


def above_0() -> Range:
    """Positive numbers up to 1e30, which fit into float32. Optimisers compute in float32."""
    return Range(lambda value: 0 < value <= 1e30, "be above 0 and at most 1e30")


def share_below_1() -> Range:
    """Numbers from 0 to below 1: shares of a whole, but never the whole."""
    return Range(lambda value: 0 <= value < 1, "be at least 0 and below 1")


def one_of(names: Sequence[str]) -> Range:
    """One of the texts `names`."""
    return Range(lambda value: value in names, f"be one of {', '.join(names)}")


def setting(default: T, values: Range | None = None, count: Range | None = None) -> T:
    """A field of a dataclass, with a default and a range that `check` checks.

    Args:
        default: the default of the field.
        values: range of the value; of each entry, if the value is a tuple. None: any value.
        count: range of the number of entries of a tuple. None: any number.
    """
    found: T = dataclasses.field(default=default, metadata={_RANGE: values, _COUNT: count})
    return found


def check(settings: Any, what: str) -> None:
    """Check every `setting` of `settings`, an instance of a dataclass. An error message begins with `what`.

    Raises:
        BadInput: a value, or a number of entries, is outside its range.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        values, count = field.metadata.get(_RANGE), field.metadata.get(_COUNT)
        if count and not count.holds(len(value)):
            raise BadInput(f"{what}: {field.name} has {len(value) or 'no'} values; their number must {count.words}")
        for entry in value if isinstance(value, tuple) else (value,):
            if values and not values.holds(entry):
                raise BadInput(f"{what}: {field.name} {entry} must {values.words}")
