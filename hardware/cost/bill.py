"""What a published energy model counts, priced by the model's own constants.

A `Bill` says how many of each priced thing there are. A model's constants are in a TOML file beside its module. Two
bills by the same constants are compared by `ratio`: a constant that is wrong is wrong for both, so the band of a ratio
is narrower than the ratio of two bands.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from muspike.errors import BadInput
from muspike.hardware.citations import citations_of
from muspike.hardware.constant import TAGS, Constant, Tag, constant_of, sourced
from muspike.hardware.cost.quantity import Quantity, weakest


@dataclass(frozen=True)
class Ratio:
    """A ratio of two energies.

    Attributes:
        value: the ratio with every constant at its value.
        low, high: the least and the greatest ratio with every constant somewhere in its band, the same for both.
        tag: the weakest tag of the constants that play a part.
        band_known: False if one of them has no published spread; then the true band is wider.
    """

    value: float
    low: float
    high: float
    tag: Tag
    band_known: bool = True

    @property
    def band(self) -> str:
        """The band in words: "0.31 – 1.2", or "0.31 – 1.2 or wider"."""
        return f"{self.low:.3g} – {self.high:.3g}{'' if self.band_known else ' or wider'}"

    def with_(self, other: Ratio) -> Ratio:
        """This ratio, with the band wide enough for the other one's too."""
        tag, known = weakest((self.tag, other.tag)), self.band_known and other.band_known
        return Ratio(self.value, min(self.low, other.low), max(self.high, other.high), tag, known)


@dataclass(frozen=True)
class Bill:
    """How many of each priced thing there are.

    Attributes:
        counts: by the name of its constant; none is negative.
    """

    counts: Mapping[str, float]

    def __add__(self, other: Bill) -> Bill:
        names = dict.fromkeys((*self.counts, *other.counts))
        return Bill({name: self.counts.get(name, 0.0) + other.counts.get(name, 0.0) for name in names})

    def energy(self, constants: Mapping[str, Constant]) -> Quantity:
        """The energy in pJ, with its band."""
        played = [(count, constants[name]) for name, count in self.counts.items() if count]
        return Quantity(
            sum(count * constant.value for count, constant in played),
            sum(count * constant.low for count, constant in played),
            sum(count * constant.high for count, constant in played),
            "pJ",
            weakest(constant.tag for _, constant in played) if played else TAGS[0],
            all(constant.band_known for _, constant in played),
        )

    def at(self, prices: Mapping[str, float]) -> float:
        """The energy at given prices."""
        return sum(count * prices[name] for name, count in self.counts.items() if count)


def ratio(of: Bill, to: Bill, constants: Mapping[str, Constant]) -> Ratio:
    """The ratio of two bills that the same constants price.

    The ratio rises or falls all along each constant's band. So its extremes lie where every constant is at an end.

    Raises:
        BadInput: the second bill costs nothing.
    """
    played = {name: constants[name] for name in (of + to).counts if (of + to).counts[name]}
    return ratio_at(lambda prices: of.at(prices) / _positive(to.at(prices)), played)


def ratio_at(
    quotient: Callable[[Mapping[str, float]], float],
    played: Mapping[str, Constant],
    turns: Sequence[Callable[[Mapping[str, float]], float]] = (),
) -> Ratio:
    """The ratio that `quotient` gives for the constants' values, and its extremes at `corners` of the bands.

    Args:
        quotient: the ratio at given prices.
        played: the constants that play a part.
        turns: as for `corners`.
    """
    value = quotient(values_of(played))
    found = [quotient(corner) for corner in corners(played, turns)]
    tag = weakest(constant.tag for constant in played.values())
    known = all(constant.band_known for constant in played.values())
    return Ratio(value, min(value, *found), max(value, *found), tag, known)


def corners(
    played: Mapping[str, Constant], turns: Sequence[Callable[[Mapping[str, float]], float]] = ()
) -> Iterator[dict[str, float]]:
    """Prices where a ratio may have an extreme.

    They are those where every constant is at an end of its band; and, between two of these that differ in one constant,
    those where one of `turns` is 0.

    Args:
        played: the constants.
        turns: functions of the prices, each linear in every single constant. Where one changes its sign, a ratio may
            turn from rising to falling.
    """
    ends = {name: (c.low, c.high) if c.low < c.high else (c.value,) for name, c in played.items()}
    for corner in itertools.product(*ends.values()):
        yield dict(zip(ends, corner, strict=True))
    for moved, pair in ends.items():
        if len(pair) == 1:
            continue
        others = {name: found for name, found in ends.items() if name != moved}
        for corner in itertools.product(*others.values()):
            low, high = ({**dict(zip(others, corner, strict=True)), moved: end} for end in pair)
            for turn in turns:
                before, after = turn(low), turn(high)
                if before * after < 0:
                    yield low | {moved: pair[0] + (pair[1] - pair[0]) * before / (before - after)}


def values_of(constants: Mapping[str, Constant]) -> dict[str, float]:
    """The value of each constant."""
    return {name: constant.value for name, constant in constants.items()}


def _positive(energy: float) -> float:
    if energy <= 0:
        raise BadInput("ratio: the network to compare with costs nothing; expected at least one synapse")
    return energy


def total(bills: Iterable[Bill]) -> Bill:
    """The sum of bills; of none, an empty bill."""
    return sum(bills, start=Bill({}))


@dataclass(frozen=True)
class CostModel:
    """The file of a published model.

    Attributes:
        constants: prices in pJ, and sizes in words or bits, by name.
        citations: the BibTeX entries of its sources.
    """

    constants: Mapping[str, Constant]
    citations: Mapping[str, str]


@cache
def model_of(name: str) -> CostModel:
    """The file `hardware/cost/<name>.toml`."""
    text = (resources.files("muspike.hardware.cost") / f"{name}.toml").read_text(encoding="utf-8")
    return parse_model(text, f"{name}.toml")


def constants_of(name: str) -> Mapping[str, Constant]:
    """The constants of a model, by name."""
    return model_of(name).constants


def parse_model(text: str, where: str) -> CostModel:
    """Read a model from the text of a TOML file. `where` names the file in errors.

    Raises:
        BadInput: the text is not TOML, or has a missing, unknown or impossible entry.
    """
    top = sourced(text, where)
    prices, sizes = top.table("prices"), top.table("sizes")
    constants = {name: constant_of(prices.table(name), "pJ") for name in prices.entries}
    for name in sizes.entries:
        size = sizes.table(name)
        constants[name] = constant_of(size, size.choice("unit", ("words", "bits")))
    citations = citations_of(top.table("citations"))
    top.close()
    return CostModel(constants, citations)
