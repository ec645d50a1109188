"""Ranges of settings, for the command line and for Python alike.

A field states its range beside its default, and `check` checks all fields of an instance.

@dataclass(frozen=True)
class Config:
    width: int = setting(512, between(1, 8192))

    def __post_init__(self) -> None:
        check(self, "S-RNN")
"""

from __future__ import annotations

import dataclasses
import math
import numbers
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
        whole: whether the value must be a whole number.
    """

    holds: Callable[[Any], bool]
    words: str
    whole: bool = False


def between(low: float, high: float) -> Range:
    """From `low` to `high`, both included. The words suit a size: "lie between 1 and 64"."""
    return Range(lambda value: low <= value <= high, f"lie between {low} and {high}")


def from_to(low: float, high: float) -> Range:
    """From `low` to `high`, both included. The words suit other numbers: "be from 0 to 1"."""
    return Range(lambda value: low <= value <= high, f"be from {low} to {high}")


def at_least(low: float) -> Range:
    """Finite numbers from `low` upwards."""
    return Range(lambda value: low <= value < math.inf, f"be at least {low}")


def whole(low: int, high: int) -> Range:
    """The whole numbers from `low` to `high`, both included."""
    return dataclasses.replace(from_to(low, high), whole=True)


def above_0() -> Range:
    """Positive numbers that float32 holds in full precision. Optimisers compute in float32."""
    return from_to(1e-30, 1e30)


def share() -> Range:
    """Numbers above 0 and up to 1: shares of a whole, but never nothing."""
    return Range(lambda value: 0 < value <= 1, "be above 0 and at most 1")


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
        BadInput: a value, or a number of entries, is outside its range; or a value is no number, or no whole number,
            where the default is one. The default None may stay.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        values, count = field.metadata.get(_RANGE), field.metadata.get(_COUNT)
        if value is None and field.default is None:
            continue
        if count and not count.holds(len(value)):
            raise BadInput(f"{what}: {field.name} has {len(value) or 'no'} values; their number must {count.words}")
        default = field.default[0] if isinstance(field.default, tuple) and field.default else field.default
        whole = isinstance(default, int) and not isinstance(default, bool)
        for entry in value if isinstance(value, tuple) else (value,):
            if values:
                demand(entry, dataclasses.replace(values, whole=values.whole or whole), f"{what}: {field.name}")


def demand(value: Any, values: Range, what: str) -> None:
    """Check that `value` is in a range. An error message begins with `what`, the name of the value.

    Raises:
        BadInput: it is not, or is not of the range's type.
    """
    if values.whole and (isinstance(value, bool) or not isinstance(value, numbers.Integral)):
        raise BadInput(f"{what} {value} must be a whole number and {values.words}")
    try:
        inside = values.holds(value)
    except TypeError:  # a text compared with a number
        inside = False
    if not inside:
        raise BadInput(f"{what} {value} must {values.words}")


# --- the ranges that options of the command line share with arguments in Python ---------------------------------------

SEED = whole(0, 2**32 - 1)
"""Every random state that muspike uses takes these seeds."""
PIECES = whole(1, 100_000)
"""How many pieces are composed."""
MOST_WORDS = 100_000
LENGTH = whole(4, MOST_WORDS)
"""Compound words of a piece.

The shortest is BAR, BEAT, NOTE, END. The ticks of a MIDI file have 32 bits: so many words fit even if every bar is as
long as possible.
"""
BARS = whole(1, MOST_WORDS)
"""Bars of a prompt."""
TRACK = whole(0, 2**16 - 1)
"""The number of a track. A Standard MIDI File has at most so many."""
STEPS = whole(1, 10**8)
"""Steps of a training. More would take years."""
TICKS = whole(1, 10**8)
"""Ticks of a run. Lava takes some milliseconds for each."""
WINDOWS = whole(2, 1000)
"""Windows in which a work is measured. One has no spread."""
WINDOW_S = from_to(0.05, 3600.0)
"""Least seconds of such a window. Some forms at two batches each, in five windows of more than an hour, take days."""
PAUSE_S = from_to(0, 3600)
"""Seconds of warming up before such a window, or of idling before and after all of them."""
LEARNING_RATE = from_to(1e-12, 1000.0)
TEMPERATURE = from_to(0.001, 1000.0)
"""What divides logits. Divided by less, they could leave the range of a float; by more, nothing is left of them."""
TOP_P = share()
BIAS = from_to(-100.0, 100.0)
"""What is added to a logit."""
ENERGY_UJ = above_0()
"""An energy that is asked for, in uJ."""
RATE = share()
"""A firing rate that is asked for, in spikes per neuron and tick."""
