"""How many listeners a study needs, and what so many can find.

A listener rates several pieces, and a piece is rated by many listeners, so ratings are not independent. The variance of
a rating is made of that between listeners, between pieces of a source, of the taste of listeners for a source, and of
the rest. The difference of two sources, rated by n listeners with k of E pieces each, then has the variance

    2 taste / n + 2 rest / (n k) + 2 piece / E        in units of the variance of a rating

(Westfall, Kenny & Judd, "Statistical power and optimal design in experiments in which samples of participants respond
to samples of stimuli", J. Experimental Psychology: General 143, 2014). Its last part does not fall with listeners: only
more pieces make a finding hold for a source in general. Without it, the finding holds for the pieces that were heard.
The test is t, two-sided. Its degrees of freedom are those of the listeners or of the pieces, whichever are fewer; those
of Satterthwaite lie between, so this is on the safe side. Levels are those of one comparison of the families that the
plan corrects (`analysis.toml`). The power of t comes from statsmodels.

In the Turing test a group tells human pieces from others, over all sources: the share of right answers, to which human
pieces and others contribute one half each, is not that of chance. The plan tests d', which moves with it.

What a study with no ratings yet cannot know is assumed: `power.toml` says so and gives a band.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from scipy.optimize import brentq
from scipy.stats import norm

from muspike.errors import BadInput
from muspike.hardware.constant import Constant, constant_of, sourced
from muspike.tables import Table

FEWEST_LISTENERS, MOST_LISTENERS = 3, 10_000
"""Listeners of a group. Fewer have no spread that is worth the name; more are not looked for."""

PAPER = {"MuSpike's experts": 26, "MuSpike's other listeners": 50, "MuSpike's listeners": 76, "a hundred experts": 100}
"""Numbers of listeners of which the table tells what they find. MuSpike had 76: 26 experts, 50 normal and amateur
listeners together (arXiv 2508.19251)."""

CHANCE = 0.5


@dataclass(frozen=True)
class Assumed:
    """What is assumed of ratings and answers. Shares are of the variance.

    Attributes:
        sd: standard deviation of a rating, in points of the scale.
        listener, taste, piece: shares of the variance of a rating; see `power.toml`.
        turing_listener, turing_piece: shares of the variance of an answer to the Turing question.
    """

    sd: float
    listener: float
    taste: float
    piece: float
    turing_listener: float
    turing_piece: float

    @property
    def rest(self) -> float:
        """The share of the variance of a rating that is in none of the others."""
        return 1 - self.listener - self.taste - self.piece


@cache
def constants() -> dict[str, Constant]:
    """The constants of `power.toml`, by the names of `Assumed`."""
    path = Path(__file__).with_name("power.toml")
    top = sourced(path.read_text(encoding="utf-8"), path.name)
    ratings, turing = top.table("ratings"), top.table("turing")
    found = {name: constant_of(ratings.table(name), "share") for name in ("listener", "taste", "piece")}
    found["sd"] = constant_of(ratings.table("sd"), "points")
    for name in ("listener", "piece"):
        found[f"turing_{name}"] = constant_of(turing.table(name), "share")
    for table in (ratings, turing, top):
        table.close()
    return found


def assumed() -> Assumed:
    """The values of `power.toml`."""
    return Assumed(**{name: constant.value for name, constant in constants().items()})


@dataclass(frozen=True)
class Design:
    """The numbers of a study that decide its power.

    Attributes:
        sources: sources, the human one included.
        excerpts: excerpts of each source.
        per_source: how many of them a listener rates.
        turing_answers: answers to the Turing question by a listener about pieces of one source, or about pairs with it.
        turing_pieces: different pieces, or pairs, that these are about.
        turing_pairs: whether the Turing test is about pairs; else about single pieces.
        groups: of listeners.
        alpha: the probability of a false finding, over all comparisons of a family together.
        power: the probability to find what is there.
        assumed: what is assumed.
    """

    sources: int
    excerpts: int
    per_source: int
    turing_answers: int
    turing_pieces: int
    turing_pairs: bool = False
    groups: int = 3
    alpha: float = 0.05
    power: float = 0.8
    assumed: Assumed = field(default_factory=assumed)

    @property
    def alpha_of_one(self) -> float:
        """The level of one comparison of a source with the human one within a group. Holm's correction is at least as
        powerful as this, which is Bonferroni's.
        """
        return self.alpha / (self.groups * max(1, self.sources - 1))

    @property
    def alpha_of_turing(self) -> float:
        """The level of one test of the Turing answers: each group has two, of d' and of the criterion."""
        return self.alpha / (2 * self.groups)

    @property
    def design_effect(self) -> float:
        """How much larger the variance of a mean rating is than if all ratings of a listener were independent:
        1 + (m - 1) times the intraclass correlation, for m ratings of one source by a listener.
        """
        return 1 + (self.per_source - 1) * (self.assumed.listener + self.assumed.taste)


def power_of_difference(design: Design, effect: float, listeners: int, *, general: bool = True) -> float:
    """The probability to find a difference between two sources in one group of listeners.

    Args:
        design: the study.
        effect: the difference, in standard deviations of a rating (Cohen's d).
        listeners: of the group.
        general: whether the finding is about the sources in general; else about the pieces that were heard.
    """
    if listeners < FEWEST_LISTENERS:
        return 0.0
    of = design.assumed
    by_listeners = (2 * of.taste + 2 * of.rest / design.per_source) / listeners
    by_pieces = 2 * of.piece / design.excerpts if general else 0.0
    freedom = listeners - 1
    if by_pieces:
        freedom = min(freedom, 2 * (design.excerpts - 1))
    return _power_of_t(abs(effect) / math.sqrt(by_listeners + by_pieces), listeners, design.alpha_of_one, freedom)


def power_between_groups(design: Design, effect: float, listeners: int) -> float:
    """The probability to find that a difference between two sources is larger in one group than in another.

    Both groups hear the same pieces, so what pieces have in common for both cancels. That a group makes something of
    its own of a piece is not assumed; where it does, more is needed. The level is that of one of all comparisons
    between two groups.

    Args:
        design: the study.
        effect: by how much it is larger, in standard deviations of a rating.
        listeners: of each of the two groups.
    """
    from statsmodels.stats.power import TTestIndPower

    if listeners < FEWEST_LISTENERS:
        return 0.0
    of = design.assumed
    size = abs(effect) / math.sqrt(2 * of.taste + 2 * of.rest / design.per_source)
    found = float(TTestIndPower().power(size, listeners, design.alpha / max(1, math.comb(design.groups, 2))))
    return 1.0 if math.isnan(found) else found


def power_of_turing(design: Design, share: float, listeners: int, *, general: bool = True) -> float:
    """The probability to find that a group's share of right answers is not that of chance, 0.5.

    Args:
        design: the study.
        share: the true share, of human pieces and of others, or of pairs.
        listeners: of the group.
        general: whether the finding is about the sources in general; else about the pieces that were heard.
    """
    if not design.turing_answers or listeners < FEWEST_LISTENERS:
        return 0.0
    of, others = design.assumed, design.sources - 1
    rest = 1 - of.turing_listener - of.turing_piece
    sides = [others] if design.turing_pairs else [1, others]  # so many sources make one side of the share
    answers, pieces = (
        sum(1 / (number * side) for side in sides) / len(sides) ** 2
        for number in (design.turing_answers, design.turing_pieces)
    )
    parts = of.turing_listener / listeners + rest * answers / listeners
    freedom = listeners - 1
    if general and of.turing_piece:
        parts += of.turing_piece * pieces
        freedom = min(freedom, sum(design.turing_pieces * side - 1 for side in sides))
    error = math.sqrt(share * (1 - share) * parts)
    if not error:
        return 1.0
    return _power_of_t(abs(share - CHANCE) / error, listeners, design.alpha_of_turing, freedom)


def _power_of_t(distance: float, listeners: int, alpha: float, freedom: int) -> float:
    """The probability that t is significant if its mean is so many standard errors from 0."""
    from statsmodels.stats.power import TTestPower

    if freedom < 1:
        return 0.0  # one piece of a source says nothing of others
    found = float(TTestPower().power(distance / math.sqrt(listeners), listeners, alpha, df=freedom))
    # scipy's noncentral t is not a number for sizes with which the power is 1 in all 16 digits.
    return 1.0 if math.isnan(found) else found


def listeners_for(power: Callable[[int], float], wanted: float) -> int | None:
    """The fewest listeners with which a power is reached; None if `MOST_LISTENERS` do not reach it."""
    low, high = 0, MOST_LISTENERS
    if power(high) < wanted:
        return None
    while high - low > 1:  # more listeners have more power
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= wanted else (middle, high)
    return high


def smallest_difference(design: Design, listeners: int, *, general: bool = True) -> float | None:
    """The smallest difference of two sources that so many listeners find, in standard deviations of a rating."""
    return _smallest(lambda d: power_of_difference(design, d, listeners, general=general) - design.power, 10.0)


def smallest_share(design: Design, listeners: int, *, general: bool = True) -> float | None:
    """The smallest share above chance that so many listeners show; the largest below chance is as far away."""
    found = _smallest(
        lambda more: power_of_turing(design, CHANCE + more, listeners, general=general) - design.power, 0.4999
    )
    return None if found is None else CHANCE + found


def d_prime(share: float, pairs: bool) -> float:
    """The d' of an observer without bias: 2 z(share) for single pieces, root 2 z(share) for pairs.

    Source: Macmillan & Creelman, "Detection theory", 2nd edition, 2005, chapters 1 and 7.
    """
    return float((math.sqrt(2) if pairs else 2) * norm.ppf(share))


def _smallest(excess: Callable[[float], float], most: float) -> float | None:
    high = 1e-3
    while excess(high) < 0:  # from below: far above the goal, scipy's noncentral t is not a number
        if high >= most:
            return None
        high = min(2 * high, most)
    return float(brentq(excess, high / 2, high, xtol=1e-4)) if high > 1e-3 else high


@dataclass(frozen=True)
class Row:
    """What a number of listeners in a group finds. None: nothing that a study can have.

    Attributes:
        who: whom the number is of.
        listeners: the number.
        difference: smallest difference of two sources, in standard deviations of a rating.
        difference_here: the same, for the pieces that are heard.
        share: smallest share of right answers above chance.
        share_here: the same, for the pieces that are heard.
    """

    who: str
    listeners: int
    difference: float | None
    difference_here: float | None
    share: float | None
    share_here: float | None


@dataclass(frozen=True)
class Analysis:
    """The power analysis of a study.

    Attributes:
        design: the study.
        effect: the difference of two sources that is to be found, in standard deviations of a rating.
        accuracy: the share of right answers that is to be told from chance; None: there is no Turing test.
        listeners: how many each group needs for the difference; None: none suffices with these pieces.
        listeners_here: the same, for the pieces that are heard.
        together: how many each group needs to find the difference over all groups together, which is the main
            comparison of the plan; None: none suffices with these pieces.
        together_here: the same, for the pieces that are heard.
        between: how many each of two groups needs to show that the difference is larger in one by as much; None: more
            than are looked for, or there is one group.
        excerpts: excerpts of each source with which twice `listeners_here` suffice, if `listeners` is None.
        turing: how many each group needs for the share of right answers.
        turing_here: the same, for the pieces that are heard.
        turing_pieces: pieces with which twice `turing_here` suffice, if `turing` is None.
        rows: what MuSpike's numbers of listeners, and a hundred experts, find.
    """

    design: Design
    effect: float
    accuracy: float | None
    listeners: int | None
    listeners_here: int | None
    together: int | None
    together_here: int | None
    between: int | None
    excerpts: int | None
    turing: int | None
    turing_here: int | None
    turing_pieces: int | None
    rows: tuple[Row, ...]

    @property
    def wanted(self) -> int:
        """Listeners of each group: for both aims in general; where that is out of reach, for the pieces that are heard,
        and for the difference in general over all groups together, if that is within reach.

        Raises:
            BadInput: not even that is within reach.
        """
        aims = [(self.listeners, self.listeners_here, f"--effect {self.effect:g}")]
        if self.accuracy is not None:
            aims.append((self.turing, self.turing_here, f"--accuracy {self.accuracy:g}"))
        numbers = []
        for general, here, option in aims:
            number = general if general is not None else here
            if number is None:
                raise BadInput(
                    f"{option}: {MOST_LISTENERS:,} listeners in a group do not find it; expected a larger one"
                )
            numbers.append(number)
        return max(*numbers, self.together or 0)

    def sentences(self) -> list[str]:
        """What to know where listeners alone do not suffice."""
        told = []
        for general, here, pieces, had, what in (
            (self.listeners, self.listeners_here, self.excerpts, self.design.excerpts, "a difference within a group"),
            (self.turing, self.turing_here, self.turing_pieces, self.design.turing_pieces, "the Turing test"),
        ):
            if general is None and here is not None:
                enough = f"; with {pieces}, {2 * here} listeners do" if pieces is not None else ""
                told.append(
                    f"{what}: with {had} pieces of each source, no number of listeners shows it in general{enough}. "
                    f"The wanted number is for the pieces that are heard"
                )
        if told and self.listeners is None and self.together is not None:
            told.append(f"all groups together show a difference in general with {self.together:,} listeners of each")
        return told

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        found = {
            **asdict(self),
            "wanted_per_group": self.wanted,
            "alpha_of_one": self.design.alpha_of_one,
            "alpha_of_turing": self.design.alpha_of_turing,
            "design_effect": self.design.design_effect,
            "tags": {name: constant.tag for name, constant in constants().items()},
        }
        found["rows"] = [asdict(row) for row in self.rows]
        return found

    def tables(self) -> list[Table]:
        """For people: what is wanted, what numbers of listeners find, what is assumed."""
        sd, pairs = self.design.assumed.sd, self.design.turing_pairs
        wanted = [
            [
                f"a difference of {self.effect:g} SD ({self.effect * sd:.2g} points) between two sources in a group",
                _number(self.listeners_here),
                _number(self.listeners),
            ]
        ]
        if self.design.groups > 1:
            wanted.append(["the same over all groups together", _number(self.together_here), _number(self.together)])
        if self.between is not None:
            label = f"that this difference is larger in one group by {self.effect:g} SD"
            wanted.append([label, _number(self.between), _number(self.between)])
        if self.accuracy is not None:
            label = f"{self.accuracy:.0%} right in the Turing test (d' {d_prime(self.accuracy, pairs):.2f})"
            wanted.append([label, _number(self.turing_here), _number(self.turing)])
        found = []
        for row in self.rows:
            cells = [row.who, str(row.listeners), _size(row.difference_here, sd), _size(row.difference, sd)]
            found.append(
                [*cells, *([_share(row.share_here, pairs), _share(row.share, pairs)] if self.accuracy else [])]
            )
        names = ["smallest difference,\nthese pieces", "smallest difference,\nin general"]
        names += ["Turing test,\nthese pieces", "Turing test,\nin general"] if self.accuracy else []
        level = f"power {self.design.power:g}, alpha {self.design.alpha_of_one:.3g} for each comparison"
        if self.accuracy is not None:
            level += f" and {self.design.alpha_of_turing:.3g} in the Turing test"
        constants_ = [
            [name, f"{c.value:g}", f"{c.low:g} to {c.high:g}", c.unit, c.tag] for name, c in constants().items()
        ]
        return [
            Table(
                f"listeners that each group needs ({level})",
                ["to find", "for these\npieces", "in general"],
                wanted,
            ),
            Table("what a group of so many listeners finds", ["as many as", "listeners", *names], found),
            Table("assumed", ["what", "value", "band", "unit", "tag"], constants_, left=(0, 3, 4)),
        ]


def analyse(
    design: Design,
    effect: float,
    accuracy: float | None,
    numbers: Sequence[tuple[str, int]] = tuple(PAPER.items()),
) -> Analysis:
    """The power analysis of a study.

    Args:
        design: the study.
        effect: the difference of two sources that is to be found, in standard deviations of a rating.
        accuracy: the share of right answers that is to be told from chance; None: there is no Turing test.
        numbers: numbers of listeners of which is told what they find, with a name each.
    """

    def difference(general: bool, of: Design = design) -> Callable[[int], float]:
        return lambda n: power_of_difference(of, effect, n, general=general)

    def in_all_groups(general: bool) -> Callable[[int], float]:
        return lambda n: difference(general, replace(design, groups=1))(n * design.groups)

    def turing(general: bool, of: Design = design) -> Callable[[int], float]:
        return lambda n: power_of_turing(of, accuracy or CHANCE, n, general=general)

    wanted = design.power
    listeners, here = (listeners_for(difference(general), wanted) for general in (True, False))
    together, together_here = (listeners_for(in_all_groups(general), wanted) for general in (True, False))
    excerpts = turing_pieces = None
    if listeners is None and here is not None:
        excerpts = _fewest(lambda n: difference(True, replace(design, excerpts=n))(2 * here) >= wanted)
    shown, shown_here = (listeners_for(turing(general), wanted) if accuracy else None for general in (True, False))
    if accuracy and shown is None and shown_here is not None:
        turing_pieces = _fewest(lambda n: turing(True, replace(design, turing_pieces=n))(2 * shown_here) >= wanted)
    between = None
    if design.groups > 1:
        between = listeners_for(lambda n: power_between_groups(design, effect, n), wanted)
    rows = []
    for who, number in numbers:
        differences = [smallest_difference(design, number, general=general) for general in (True, False)]
        shares = [smallest_share(design, number, general=general) if accuracy else None for general in (True, False)]
        rows.append(Row(who, number, *differences, *shares))
    return Analysis(
        design=design,
        effect=effect,
        accuracy=accuracy,
        listeners=listeners,
        listeners_here=here,
        together=together,
        together_here=together_here,
        between=between,
        excerpts=excerpts,
        turing=shown,
        turing_here=shown_here,
        turing_pieces=turing_pieces,
        rows=tuple(rows),
    )


def _fewest(suffice: Callable[[int], bool]) -> int | None:
    return next((number for number in range(1, 1001) if suffice(number)), None)


def _number(listeners: int | None) -> str:
    return "none suffices" if listeners is None else f"{listeners:,}"


def _size(difference: float | None, sd: float) -> str:
    return "–" if difference is None else f"{difference:.2f} SD ({difference * sd:.2f} points)"


def _share(share: float | None, pairs: bool) -> str:
    return "–" if share is None else f"{share:.0%} (d' {d_prime(share, pairs):.2f})"
