"""Where one machine takes less energy per note than another: over the batch, the demand, and the wait for the host.

Three questions, for machines of three kinds:

    batch  pieces composed together, as fast as the machine runs
    demand notes a second that somebody wants, with the machine on all the time
    wait   ms that the host takes to sample a word, with the machine on meanwhile

| machine | batch B | demand R | wait h |
|---|---|---|---|
| chip | D + P t | D + P n / R | D + P (t + w h) |
| measured | E + I / r | the least of E + I n / R over B | E(1) + I (1 / r(1) + w h) |
| bound | its energy | – | – |

D is the dynamic energy of a chip per note, P the static power of whole chips, t the time per note, w the words per
note. A measured machine takes E(B) above idle, at rate r(B) and idle power I. n is the number of machines that reach
the demand, at least 1. A chip composes its pieces one after another, so a batch changes nothing for it. A bound is
the energy of a machine that works at its largest rate all the time, so no batch goes below it. A chip is cheaper than
that machine where its whole band lies below the bound, and nothing is known elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from muspike.errors import BadInput
from muspike.hardware.cost.quantity import Quantity

Axis = Literal["batch", "demand", "wait"]
AXES: dict[Axis, tuple[str, tuple[float, float]]] = {
    "batch": ("pieces composed together", (1, 4096)),
    "demand": ("notes wanted per second", (0.1, 100_000)),
    "wait": ("ms of the host for each word", (0.001, 100)),
}
"""What the axes are, and their ends."""

POINTS = 97


class Band(NamedTuple):
    """An energy in uJ per note, between `low` and `high`. A `high` without an end is infinite.

    `known` is False if something in it has no published spread; the true band is wider then.
    """

    value: float
    low: float
    high: float
    known: bool = True


class Machine(Protocol):
    """What one machine takes for a note of one network, in uJ. `label` names both, for people."""

    @property
    def label(self) -> str: ...

    def batch(self, pieces: float) -> Band:
        """With so many pieces composed together."""

    def demand(self, notes_per_s: float) -> Band:
        """With so many notes wanted per second."""

    def wait(self, ms: float) -> Band:
        """With so many ms of waiting for the host for each word."""


@dataclass(frozen=True)
class OnChip:
    """A network on a chip, modelled.

    Attributes:
        label: network and chip, for people.
        dynamic: uJ per note.
        power: static power of the whole chips, mW.
        time: ms per note, running freely.
        words: words per note.
    """

    label: str
    dynamic: Quantity
    power: Quantity
    time: Quantity
    words: float

    def batch(self, pieces: float) -> Band:
        """A batch changes nothing: the pieces follow one another."""
        return self._over(lambda _, time: time)

    def demand(self, notes_per_s: float) -> Band:
        """Chips that are on all the time, as many as the demand needs."""
        wanted = 1e3 / notes_per_s  # ms per note
        return self._over(lambda _, time: max(math.ceil(time / wanted - 1e-9), 1) * wanted)

    def wait(self, ms: float) -> Band:
        """The chip waits at static power."""
        return self._over(lambda _, time: time + self.words * ms)

    def _over(self, powered_ms: Callable[[str, float], float]) -> Band:
        """The energy with the chip powered for so many ms per note, all at the same end of their bands."""
        ends = {
            end: getattr(self.dynamic, end) + getattr(self.power, end) * powered_ms(end, getattr(self.time, end))
            for end in ("value", "low", "high")
        }
        return Band(**ends, known=self.dynamic.band_known and self.power.band_known and self.time.band_known)


class Point(NamedTuple):
    """A measured batch.

    Attributes:
        batch: pieces together.
        above_idle: uJ per note beyond idle.
        rate: notes per second, of all pieces together.
    """

    batch: int
    above_idle: Band
    rate: Band


@dataclass(frozen=True)
class OnMachine:
    """A network on a machine that was measured.

    Attributes:
        label: network and machine, for people.
        idle_w: idle power, W.
        points: the measured batches, by rising batch.
        words: words per note.

    Raises:
        BadInput: there is no point, or no batch of 1.
    """

    label: str
    idle_w: Band
    points: tuple[Point, ...]
    words: float

    def __post_init__(self) -> None:
        if not self.points or self.points[0].batch != 1:
            raise BadInput(f"{self.label}: measured at no batch of 1; a crossover begins there")

    def batch(self, pieces: float) -> Band:
        """A measured batch; between two of them, all that lies between theirs; above the largest, its own."""
        around = [point for point in self.points if point.batch <= pieces][-1:]
        around += [point for point in self.points if point.batch > pieces][:1]
        if around[0].batch == pieces or len(around) == 1:
            return self._at(around[0], lambda rate: 1 / rate)
        found = [self._at(point, lambda rate: 1 / rate) for point in around]
        low, high = min(band.low for band in found), max(band.high for band in found)
        share = math.log(pieces / around[0].batch) / math.log(around[1].batch / around[0].batch)
        return Band(found[0].value ** (1 - share) * found[1].value ** share, low, high)

    def demand(self, notes_per_s: float) -> Band:
        """The batch that takes the least, among those that reach the demand; else several machines."""

        def seconds(rate: float) -> float:
            return max(math.ceil(notes_per_s / rate - 1e-9), 1) / notes_per_s

        found = [self._at(point, seconds) for point in self.points]
        return min(found, key=lambda band: band.value)

    def wait(self, ms: float) -> Band:
        """One piece at a time; the machine idles while the host samples."""
        return self._at(self.points[0], lambda rate: 1 / rate + self.words * ms * 1e-3)

    def _at(self, point: Point, powered_s: Callable[[float], float]) -> Band:
        above, idle, rate = point.above_idle, self.idle_w, point.rate
        return Band(
            above.value + idle.value * powered_s(rate.value) * 1e6,
            above.low + idle.low * powered_s(rate.high) * 1e6,
            above.high + idle.high * powered_s(rate.low) * 1e6,
        )


@dataclass(frozen=True)
class Bound:
    """The least energy of a machine that works at its largest rate all the time. It has no idle power and no wait.

    So it is held against a chip over the batch alone, where no batch goes below it.

    Attributes:
        label: network and machine, for people.
        energy: uJ per note.
    """

    label: str
    energy: Quantity

    def batch(self, pieces: float) -> Band:
        """The mark."""
        return Band(self.energy.value, self.energy.low, math.inf)

    def demand(self, notes_per_s: float) -> Band:
        """Nothing is known."""
        return Band(math.nan, 0, math.inf)

    wait = demand


Winner = Literal["first", "second", "open"]


def winner(first: Band, second: Band) -> Winner:
    """Who takes less, whatever the bands hold; "open": the bands overlap."""
    if first.high < second.low:
        return "first"
    return "second" if second.high < first.low else "open"


@dataclass(frozen=True)
class Crossing:
    """Two machines over one axis.

    Attributes:
        axis: a key of `AXES`.
        first, second: the labels of the machines.
        at: places on the axis, rising.
        bands: the energies of the two at each place.
    """

    axis: Axis
    first: str
    second: str
    at: tuple[float, ...]
    bands: tuple[tuple[Band, Band], ...]

    @property
    def regions(self) -> list[tuple[float, float, Winner]]:
        """Stretches of the axis, each with who takes less there."""
        found: list[tuple[float, float, Winner]] = []
        for place, (one, other) in zip(self.at, self.bands, strict=True):
            who = winner(one, other)
            if found and found[-1][2] == who:
                found[-1] = (found[-1][0], place, who)
            else:
                found.append((place, place, who))
        return found

    def sentence(self) -> str:
        """Who takes less where, in words."""
        what, _ = AXES[self.axis]
        known = all(band.known for pair in self.bands for band in pair)
        without = "" if known else " (unpublished spreads are left out)"
        names = {"first": self.first, "second": self.second, "open": "open"}
        if len(self.regions) == 1:
            return f"{what}: {names[self.regions[0][2]]}, from {self.at[0]:g} to {self.at[-1]:,g}{without}"
        parts = [f"{names[who]} from {low:.3g} to {high:.3g}" for low, high, who in self.regions]
        return f"{what}: {'; '.join(parts)}{without}"

    def to_dict(self) -> dict[str, Any]:
        """The crossing as a JSON-able dict, apart from infinities. Energies are uJ per note."""
        return {
            "axis": self.axis,
            "what": AXES[self.axis][0],
            "first": self.first,
            "second": self.second,
            "at": list(self.at),
            "energy_uj_per_note": [{"first": one._asdict(), "second": other._asdict()} for one, other in self.bands],
            "regions": [{"from": low, "to": high, "cheaper": who} for low, high, who in self.regions],
        }


def crossing(axis: Axis, first: Machine, second: Machine, points: int = POINTS) -> Crossing:
    """Hold two machines against each other over one axis."""
    _, (low, high) = AXES[axis]
    at = [float(place) for place in np.geomspace(low, high, points)]
    bands = tuple((getattr(first, axis)(place), getattr(second, axis)(place)) for place in at)
    return Crossing(axis, first.label, second.label, tuple(at), bands)


def crossover_map(machines: Sequence[Machine], others: Sequence[Machine]) -> list[Crossing]:
    """Every machine against every other one, over each axis; a bound over the batch alone."""
    return [
        crossing(axis, first, second)
        for first in machines
        for second in others
        for axis in AXES
        if axis == "batch" or not isinstance(second, Bound)
    ]
