"""Figures with bands and tags: energies, times, powers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from muspike.errors import BadInput
from muspike.hardware.constant import TAGS, Constant, Tag

_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12}
_UNIT = re.compile(r"([munp]?)([JsW])")


@dataclass(frozen=True)
class Quantity:
    """A figure with its band and tag.

    Bands add and multiply as intervals of numbers that are not negative.

    Attributes:
        value: the figure.
        low, high: its band: `low <= value <= high`.
        unit: its unit, such as pJ.
        tag: the weakest tag of everything that went into the figure.
        band_known: False if something in the figure has no published spread; then the true band is wider than `low` to
            `high`.
    """

    value: float
    low: float
    high: float
    unit: str
    tag: Tag
    band_known: bool = True

    @property
    def band(self) -> str:
        """The band in words, without the unit: "1.44 – 1.83", "30 – 97.3 or wider" or "band unknown"."""
        if self.low == self.high and not self.band_known:
            return "band unknown"
        return f"{self.low:.3g} – {self.high:.3g}{'' if self.band_known else ' or wider'}"

    @classmethod
    def of(cls, constant: Constant) -> Quantity:
        """The constant as a quantity."""
        return cls(constant.value, constant.low, constant.high, constant.unit, constant.tag, constant.band_known)

    def __add__(self, other: Quantity) -> Quantity:
        if self.unit != other.unit:
            raise BadInput(f"cannot add {other.unit} to {self.unit}; bring both to one unit first")
        tag, known = weakest((self.tag, other.tag)), self.band_known and other.band_known
        return Quantity(self.value + other.value, self.low + other.low, self.high + other.high, self.unit, tag, known)

    def __mul__(self, factor: float) -> Quantity:
        if factor < 0:
            raise BadInput(f"cannot multiply a quantity by {factor}; counts are not negative")
        return replace(self, value=self.value * factor, low=self.low * factor, high=self.high * factor)

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Quantity:
        return self * (1 / divisor)

    def times(self, other: Quantity, unit: str) -> Quantity:
        """The product, in `unit`. The caller knows that `unit` is the product of the two units (mW x ns = pJ)."""
        tag, known = weakest((self.tag, other.tag)), self.band_known and other.band_known
        return Quantity(self.value * other.value, self.low * other.low, self.high * other.high, unit, tag, known)

    def to(self, unit: str) -> Quantity:
        """The same quantity in another unit of the same kind, such as uJ for pJ.

        Raises:
            BadInput: the two units are not of the same kind.
        """
        old, new = _UNIT.fullmatch(self.unit), _UNIT.fullmatch(unit)
        if not old or not new or old[2] != new[2]:
            raise BadInput(f"cannot express {self.unit} in {unit}")
        return replace(self * (_PREFIX[old[1]] / _PREFIX[new[1]]), unit=unit)

    def to_dict(self, unit: str, shares: int = 1) -> dict[str, Any]:
        """One of `shares` equal shares of the quantity as a JSON-able dict, in `unit` (of the same kind)."""
        return dict(vars((self / shares).to(unit)))


def weakest(tags: Iterable[Tag]) -> Tag:
    """The weakest of the tags, in the order measured > fitted > simulated > inferred > assumed."""
    return max(tags, key=TAGS.index)
