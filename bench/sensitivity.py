"""Which conclusions survive the bands of the constants, and which single constant turns one over.

A conclusion is that one network on one machine takes less energy than another. It holds if it does so whatever values
the constants have within their bands. If both are on one chip with one set of costs, a constant moves both at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, NamedTuple

from muspike.hardware.cost.quantity import Quantity

_TRIALS = 50  # Dinkelbach's method takes a handful


class Ends(NamedTuple):
    """A total with one constant at the low and at the high end of its band, the others at their values."""

    low: float
    high: float


@dataclass(frozen=True)
class Priced:
    """An energy and how its constants move it. All energies have one unit, and are per one thing.

    Attributes:
        label: network and machine, for people.
        prices: chip and cost set, or price list; constants of one name are one constant where this is equal.
        total: the energy with its band.
        moves: the total with each constant at its ends, by name.
        unbanded: names of the constants in it that have no published spread.
    """

    label: str
    prices: str
    total: Quantity
    moves: Mapping[str, Ends]
    unbanded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conclusion:
    """That `first` takes less than `second`, which it does with every constant at its value.

    Attributes:
        first, second: their labels.
        ratio: energy of `second` by energy of `first`.
        low, high: the ratio's ends, over the bands of all constants.
        band_known: whether every constant that moves the ratio has a published spread; if not, the true band is wider.
        flips: each constant that alone turns the conclusion over within its band.
        unbanded: each constant that moves the ratio and has no published spread.
    """

    first: str
    second: str
    ratio: float
    low: float
    high: float
    band_known: bool
    flips: tuple[str, ...]
    unbanded: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether it holds over the bands."""
        return self.low > 1

    def to_dict(self) -> dict[str, Any]:
        """The conclusion as a JSON-able dict."""
        return {**vars(self), "flips": list(self.flips), "unbanded": list(self.unbanded), "holds": self.holds}


def conclusions(priced: Sequence[Priced]) -> list[Conclusion]:
    """The conclusion of each pair, the surest first. Pairs of equal energy have none."""
    found = [_conclude(*pair) for pair in combinations(priced, 2) if pair[0].total.value != pair[1].total.value]
    return sorted(found, key=lambda of: -of.low)


def _conclude(one: Priced, other: Priced) -> Conclusion:
    first, second = sorted((one, other), key=lambda of: of.total.value)
    a, b = first.total, second.total
    shared = first.prices == second.prices
    low, high = _shared_ends(first, second) if shared else (_ratio(b.low, a.high), _ratio(b.high, a.low))
    known = _band_known(first, second, shared)
    return Conclusion(
        first=first.label,
        second=second.label,
        ratio=_ratio(b.value, a.value),
        low=low,
        high=high,
        band_known=known,
        flips=tuple(_flips(first, second, shared)),
        unbanded=() if known else tuple(_unbanded(first, second, shared)),
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("inf")


def _shared_ends(first: Priced, second: Priced) -> tuple[float, float]:
    """The least and the largest ratio over all values of the constants that the two share.

    Both energies are taken as linear in each constant, which they are but for static power, that multiplies times. The
    extremes of a ratio of linear functions over a box are found exactly (Dinkelbach 1967): for a trial ratio, each
    constant goes to the end at which it moves `second - ratio x first` most; the ratio there is the next trial.
    """
    steps = []
    for name in {**first.moves, **second.moves}:
        (x_low, x_high), (y_low, y_high) = (
            of.moves.get(name, Ends(of.total.value, of.total.value)) for of in (first, second)
        )
        a, b = first.total.value, second.total.value
        steps.append(((0.0, 0.0), (x_low - a, y_low - b), (x_high - a, y_high - b)))

    def extreme(better: Callable[..., tuple[float, float]]) -> float:
        ratio = _ratio(second.total.value, first.total.value)
        for _ in range(_TRIALS):
            chosen = [better(ends, key=lambda move, r=ratio: move[1] - r * move[0]) for ends in steps]
            below = first.total.value + sum(x for x, _ in chosen)
            above = second.total.value + sum(y for _, y in chosen)
            if below <= 0:
                return math.inf
            if math.isclose(above / below, ratio, rel_tol=1e-12):
                break
            ratio = above / below
        return ratio

    return extreme(min), extreme(max)


def _band_known(first: Priced, second: Priced, shared: bool) -> bool:
    """Whether every constant that moves the ratio has a published spread.

    A price that both networks pay for everything cancels: then the ratio is known although the price is not.
    """
    if first.total.band_known and second.total.band_known:
        return True
    return shared and len({*first.moves, *second.moves}) == 1


def _unbanded(first: Priced, second: Priced, shared: bool) -> list[str]:
    """The constants without a published spread, each once."""
    if shared:
        return list(dict.fromkeys([*first.unbanded, *second.unbanded]))
    return [f"{name} of {one.prices}" for one in (first, second) for name in one.unbanded]


def _flips(first: Priced, second: Priced, shared: bool) -> list[str]:
    found = []
    for name in {**first.moves, **second.moves}:
        ends = [of.moves.get(name, Ends(of.total.value, of.total.value)) for of in (first, second)]
        if shared:
            turned = any(x > y for x, y in zip(*ends, strict=True))
            if turned:
                found.append(name)
            continue
        if max(ends[0]) > second.total.value:
            found.append(f"{name} of {first.prices}")
        if min(ends[1]) < first.total.value:
            found.append(f"{name} of {second.prices}")
    return found
