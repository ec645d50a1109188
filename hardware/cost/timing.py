"""How long the ticks of a run take on a chip, by the latencies of a cost set: at their values, and at their ends.

The equations are those of `cost.energy`. The loops are in `cost.ticks`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.chip import BARRIER, GRADED_EVENTS, CostSet
from muspike.hardware.constant import Constant
from muspike.hardware.cost import ticks
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.events import EVENTS
from muspike.hardware.cost.quantity import Quantity, weakest

Array = npt.NDArray[Any]
Bound = Literal["value", "low", "high"]

ALL = "all"
ACTIVE = "count: active updates"
Case = tuple[str, Bound]
"""Which constants are at which bound: all of them, or one with the others at their values."""

STEP_FLOOR = "step floor"
_ROUTE = ("hop_x", "hop_y")
_WAITED = ("synapses", "neurons", "spikes", "mesh", BARRIER, STEP_FLOOR)  # by the indices that the loops have for them
_CELLS_AT_ONCE = 1 << 18  # of given counts, timed at a time


@dataclass(frozen=True)
class Bottleneck:
    """What the run waits for.

    Attributes:
        resource: the resource with the largest share of the time on the critical path.
        share: that share, 0 to 1.
        core: the core that is the slowest one for more time than any other.
        core_share: the share of the time for which it is the slowest, 0 to 1.
    """

    resource: str
    share: float
    core: int
    core_share: float


class Timing:
    """The times of the ticks added so far, in each case.

    Args:
        core_xy: the place of each core, as in `Counts`.
        costs: the cost set.
        chips: number of chips.
        one_by_one: whether there are cases for single constants, beside those of all together.

    Attributes:
        constants: the latencies that count, by name.
        barrier_extrapolated: whether the barrier is beyond the published numbers of tiles.
        activity_known: whether all active updates so far are exact.
        one_by_one: whether there are cases for single constants.
        sums: the time of all ticks in ns, by case.
    """

    def __init__(self, core_xy: Array, costs: CostSet, chips: int, one_by_one: bool = True) -> None:
        self.costs = costs
        self._events = [name for name, event in EVENTS.items() if name in costs.latency and event.group != "mesh"]
        extent = np.ptp(core_xy, axis=0) if len(core_xy) else np.zeros(2, int)
        self._route = {"hop_x": int(extent[0]), "hop_y": int(extent[1])}  # tiles; XY routing
        self.constants: dict[str, Constant] = {name: costs.latency[name] for name in self._events}
        self.constants |= {name: costs.latency[name] for name in self._route if name in costs.latency}
        tiles = len(np.unique(core_xy, axis=0))
        self.barrier_extrapolated = bool(costs.barrier) and tiles > costs.barrier[-1].tiles
        if costs.barrier:
            self.constants[BARRIER] = _barrier(costs, tiles)
        floor = "step_floor" if chips == 1 else "step_floor_several_chips"
        if floor in costs.latency:
            self.constants[STEP_FLOOR] = costs.latency[floor]
        self.activity_known = True
        self.one_by_one = one_by_one
        self._graded = False  # whether there were graded spikes; if not, their times have no part in the run
        ends: tuple[Bound, Bound] = ("low", "high")
        single = (*self.constants, ACTIVE) if one_by_one else ()
        self.cases: list[Case] = [(ALL, "value"), *((name, end) for name in (ALL, *single) for end in ends)]
        self.sums = dict.fromkeys(self.cases, 0.0)
        self._longest = dict.fromkeys(self.cases, 0.0)
        self._waited = dict.fromkeys(_WAITED, 0.0)  # time that each resource takes on the critical path, at the values
        self._slowest = np.zeros(max(len(core_xy), 1))  # time for which each core was the slowest, at the values

    @property
    def cores(self) -> int:
        """The number of cores, at least 1."""
        return len(self._slowest)

    @property
    def sends(self) -> bool:
        """Whether messages take time on the mesh."""
        return any(name in self.constants for name in _ROUTE)

    @property
    def rows(self) -> list[str]:
        """The rows of counts (`plan.Plan`) that the times need."""
        names = [EVENTS[name].row for name in self._events]
        if "neuron_update" in self._events:
            names.append("neuron_spikes")  # the fewest active updates
        if self.sends:
            names.append("messages_out")
        return list(dict.fromkeys(names))

    def table(self, names: Sequence[str], column: int, width: int) -> tuple[tuple[Any, ...], list[Any], list[Any]]:
        """What the loops need to know: the fields of METER that describe it, rows of EVENT and rows of CASE.

        Args:
            names: the rows of counts; an event that has none does not occur.
            column: the first of the columns of the cores.
            width: number of these columns, at least that of the cores; the others hold nothing.
        """
        row = {name: i for i, name in enumerate(names)}
        present = [name for name in self._events if EVENTS[name].row in row]
        events = []
        for name in present:
            of, constant = EVENTS[name], self.constants[name]
            least = row["neuron_spikes" if name == "neuron_update" else of.row]
            group = ("synapses", "neurons", "spikes").index(of.group)
            value = float(constant.value)
            prices = (value, constant.low, constant.high, constant.low - value, constant.high - value)
            events.append((row[of.row], group, least, *prices))
        cases = []
        for name, bound in self.cases:

            def at(constant: str, name: str = name, bound: Bound = bound) -> float:
                if constant not in self.constants:
                    return 0.0
                return float(getattr(self.constants[constant], bound if name in (ALL, constant) else "value"))

            beside = (sum(at(hop) * tiles for hop, tiles in self._route.items()), at(BARRIER), at(STEP_FLOOR))
            end = ("value", "low", "high").index(bound)
            if name == ALL and end:
                cases.append((ticks.ALL, 0, end, *beside))
            elif (name, bound) == (ACTIVE, "low"):
                cases.append((ticks.FEWEST, 0, end, *beside))
            elif name in present:
                cases.append((ticks.ONE, present.index(name), end, *beside))
            else:
                cases.append((ticks.PLAIN, 0, end, *beside))
        side_by_side, floored = self.costs.core_time == "max", STEP_FLOOR in self.constants
        return (column, width, side_by_side, self.sends, floored), events, cases

    def slowest_share(self, names: Sequence[str]) -> tuple[bool, float]:
        """Whether the prices of the rows `names` have bands, and the share of the time of the slowest core.

        At the values, another core must reach that share to be the slowest one in any case.
        """
        constants = [self.constants[name] for name in self._events if EVENTS[name].row in names]
        banded = any(c.low != c.value or c.high != c.value for c in constants)
        shares = [1.0]
        for bound in ("low", "high"):
            ends = [(float(getattr(c, bound)), float(c.value)) for c in constants]
            ratios = [end / value if value else math.inf for end, value in ends if end or value]
            if ratios:
                least, most = min(ratios), max(ratios)
                shares.append(least / most if math.isfinite(most) and most else 0.0)
                if self.one_by_one:
                    shares.append(min(1.0, least) / max(1.0, most))
        return banded, min(shares) * (1 - 1e-9)  # more than the rounding of sums

    def take(self, spent: ticks.Spent, known: bool, graded: bool) -> None:
        """Add what the loops found, of this meter alone.

        Args:
            spent: each array `[sequences, ...]`, with one meter.
            known: whether the active updates were exact.
            graded: whether there were events of graded spikes.
        """
        self.activity_known &= known
        self._graded |= graded and any(name in self._events for name in GRADED_EVENTS)
        for case, total, longest in zip(self.cases, spent.sums.sum(0), spent.longest.max(0), strict=True):
            self.sums[case] += float(total)
            self._longest[case] = max(self._longest[case], float(longest))
        for name, waited in zip(_WAITED, spent.waited.sum((0, 1)), strict=True):
            self._waited[name] += float(waited)
        self._slowest += spent.slowest.sum(0)[: self.cores]

    def add(self, counts: Counts) -> None:
        """Add the ticks of counts that are given for each tick."""
        inside = np.arange(counts.synops.shape[0])[:, None] < counts.ticks  # [ticks, batch]
        if not inside.any():
            return
        names = self.rows
        arrays = {EVENTS[name].row: EVENTS[name].count(counts)[inside] for name in self._events}
        arrays |= {name: getattr(counts, name)[inside] for name in names if name not in arrays}
        n, cores = int(inside.sum()), counts.synops.shape[2]
        meters = tables([self], names, [0], [max(cores, 1)])
        spent = nothing_spent(meters)
        scratch = ticks.scratch(len(names), 0, meters)
        at_once = max(1, _CELLS_AT_ONCE // max(cores * (len(names) + 1), 1) // ticks.BLOCK) * ticks.BLOCK
        for start in range(0, n, at_once):
            part = slice(start, start + at_once)
            cells = np.zeros((min(at_once, n - start), len(names) + 1, max(cores, 1)))
            for i, name in enumerate(names):
                cells[:, i, :cores] = arrays[name][part]
            if self.sends:
                cells[:, -1] = arrays["messages_out"][part].any(1, keepdims=True)
            ticks.time_counts(cells, meters, counts.activity_known, scratch, spent)
        graded = any(arrays[EVENTS[name].row].any() for name in GRADED_EVENTS if name in self._events)
        self.take(spent, counts.activity_known, graded)

    @property
    def playing(self) -> dict[str, Constant]:
        """The constants that have a part in the run."""
        left_out = () if self._graded else GRADED_EVENTS
        return {name: constant for name, constant in self.constants.items() if name not in left_out}

    def _quantity(self, of: Mapping[Case, float]) -> Quantity:
        value, low, high = (of[ALL, bound] for bound in ("value", "low", "high"))
        tag = weakest(constant.tag for constant in self.playing.values())
        known = all(constant.band_known for constant in self.playing.values())
        return Quantity(value, low, high, "ns", tag, known)

    def latency(self) -> Quantity:
        """The time of all ticks."""
        if not self.constants:
            raise BadInput(f"cost set {self.costs.name!r}: no latency at all, so static energy cannot be priced")
        return self._quantity(self.sums)

    def slowest_tick(self) -> Quantity:
        """The longest time of a tick."""
        return self._quantity(self._longest)

    def bottleneck(self) -> Bottleneck:
        """What the ticks wait for."""
        resource = max(self._waited, key=lambda name: self._waited[name])
        share = self._waited[resource] / self.sums[ALL, "value"]
        core_share = self._slowest.max() / self._slowest.sum()
        return Bottleneck(resource, share, int(self._slowest.argmax()), float(core_share))


def tables(
    timings: Sequence[Timing], names: Sequence[str], columns: Sequence[int], widths: Sequence[int]
) -> ticks.Meters:
    """The tables of some meters for the loops.

    Args:
        timings: the meters.
        names, columns, widths: as for `Timing.table`; columns and widths of each meter.
    """
    meter: list[Any] = []
    event: list[Any] = []
    case: list[Any] = []
    for timing, column, width in zip(timings, columns, widths, strict=True):
        described, events, cases = timing.table(names, column, width)
        begin = len(event), len(event) + len(events), len(case), len(case) + len(cases)
        # The loops find an event by its place among the events of all meters.
        case += [(kind, len(event) + of, *rest) for kind, of, *rest in cases]
        event += events
        first, cells, side_by_side, sends, floored = described
        meter.append(
            (first, cells, side_by_side, *begin, sends, floored, timing.one_by_one, *timing.slowest_share(names))
        )
    return ticks.Meters(np.array(meter, ticks.METER), np.array(event, ticks.EVENT), np.array(case, ticks.CASE))


def nothing_spent(meters: ticks.Meters, sequences: int = 1) -> ticks.Spent:
    """Room for the times that some meters take."""
    return ticks.Spent(
        sums=np.zeros((sequences, len(meters.case))),
        longest=np.zeros((sequences, len(meters.case))),
        waited=np.zeros((sequences, len(meters.meter), len(_WAITED))),
        slowest=np.zeros((sequences, int(meters.meter["width"].sum()))),
    )


def of_meter(spent: ticks.Spent, meters: ticks.Meters, m: int, first: int) -> ticks.Spent:
    """What meter `m` alone spent, whose cores begin at `first`."""
    meter = meters.meter[m]
    cases = slice(int(meter["case"]), int(meter["case_end"]))
    return ticks.Spent(
        spent.sums[:, cases],
        spent.longest[:, cases],
        spent.waited[:, m : m + 1],
        spent.slowest[:, first : first + int(meter["width"])],
    )


def _barrier(costs: CostSet, tiles: int) -> Constant:
    """The barrier for a number of tiles.

    Between published numbers of tiles the barrier follows a straight line. Beyond them the line is continued, and the
    result is tagged `assumed`.

    Raises:
        BadInput: there are more tiles than the only published number.
    """
    rows, last = costs.barrier, costs.barrier[-1]
    known = all(row.latency.band_known for row in rows)
    tag, source = weakest(row.latency.tag for row in rows), last.latency.source
    if tiles > last.tiles:
        if len(rows) < 2:
            raise BadInput(
                f"cost set {costs.name!r}: {tiles} tiles, barrier known for {last.tiles} only; needs another row"
            )
        tag = "assumed"
        source = f"extrapolated from {rows[-2].tiles} and {last.tiles} tiles to {tiles}, in a straight line"

    def at(bound: Bound) -> float:
        ends = [float(getattr(row.latency, bound)) for row in rows]
        if tiles <= last.tiles:
            return float(np.interp(tiles, [row.tiles for row in rows], ends))
        return ends[-1] + (tiles - last.tiles) / (last.tiles - rows[-2].tiles) * (ends[-1] - ends[-2])

    return Constant(at("value"), at("low"), at("high"), last.latency.unit, tag, source, known)
