"""The times of ticks, case by case on whole arrays: the plain reference for `hardware.cost.timing`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware.chip import BARRIER, GRADED_EVENTS, CostSet
from muspike.hardware.constant import Constant
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.events import EVENTS
from muspike.hardware.cost.timing import ACTIVE, ALL, Bound, Case

Array = npt.NDArray[Any]


class PlainTiming:
    """The times of the ticks added so far, case by case: all latencies at their values, or some at an end."""

    def __init__(self, core_xy: Array, costs: CostSet, chips: int, barrier: Constant | None) -> None:
        self.costs = costs
        self.events = [name for name, event in EVENTS.items() if name in costs.latency and event.group != "mesh"]
        extent = np.ptp(core_xy, axis=0) if len(core_xy) else np.zeros(2, int)
        self.route = {"hop_x": int(extent[0]), "hop_y": int(extent[1])}  # tiles; XY routing
        self.constants: dict[str, Constant] = {name: costs.latency[name] for name in self.events}
        self.constants |= {name: costs.latency[name] for name in self.route if name in costs.latency}
        if barrier:
            self.constants[BARRIER] = barrier
        floor = "step_floor" if chips == 1 else "step_floor_several_chips"
        if floor in costs.latency:
            self.constants["step floor"] = costs.latency[floor]
        self.activity_known = True
        self.graded = False  # whether there were graded spikes; if not, their times have no part in the run
        ends: tuple[Bound, Bound] = ("low", "high")
        # A case says which constants are at which bound: all of them, or one with the others at their values.
        named = [(name, end) for name in (ALL, *self.constants, ACTIVE) for end in ends]
        self.cases: list[Case] = [(ALL, "value"), *named]
        self.sums = dict.fromkeys(self.cases, 0.0)
        self.longest = dict.fromkeys(self.cases, 0.0)
        self.waited: dict[str, float] = {}  # time that each resource takes on the critical path, at the values
        self.slowest = np.zeros(max(len(core_xy), 1))  # time for which each core was the slowest, at the values

    def add(self, counts: Counts) -> None:
        inside = np.arange(counts.synops.shape[0])[:, None] < counts.ticks  # [ticks, batch]
        if not inside.any():
            return
        self.activity_known &= counts.activity_known
        events = {name: EVENTS[name].count(counts)[inside] for name in self.events}  # [ticks inside, cores]
        self.graded |= any(events[name].any() for name in GRADED_EVENTS if name in events)
        least = events if counts.activity_known else events | {"neuron_update": counts.neuron_spikes[inside]}
        sends = np.asarray(counts.messages_out[inside].any(1))
        for case in self.cases:
            name, bound = case
            fewest = bound == "low" and name in (ALL, ACTIVE)
            path, time, slowest = self._ticks(case, least if fewest else events, sends)
            self.sums[case] += float(time.sum())
            self.longest[case] = max(self.longest[case], float(time.max()))
            if bound == "value":
                self._wait(path, time, slowest)

    def _ticks(self, case: Case, events: Mapping[str, Array], sends: Array) -> tuple[dict[str, Array], Array, Array]:
        """The time per resource on the critical path, the time of the tick, and the slowest core.

        Each array is `[ticks inside]`; times are in ns.
        """
        of, bound = case
        ns = {
            name: float(getattr(constant, bound if of in (ALL, name) else "value"))
            for name, constant in self.constants.items()
        }
        shape = next(iter(events.values())).shape if events else (len(sends), 1)
        groups = {group: np.zeros(shape) for group in ("synapses", "neurons", "spikes")}
        for name in self.events:
            groups[EVENTS[name].group] += ns[name] * events[name]
        if self.costs.core_time == "max":
            # Synapses and neurons work side by side. Handing spikes over counts with the neurons.
            neurons = groups["neurons"] + groups["spikes"]
            ahead = groups["synapses"] > neurons
            groups["synapses"] = np.where(ahead, groups["synapses"], 0)
            groups["neurons"] = np.where(ahead, 0, groups["neurons"])
            groups["spikes"] = np.where(ahead, 0, groups["spikes"])
        busy = groups["synapses"] + groups["neurons"] + groups["spikes"]
        slowest = busy.argmax(1)
        path: dict[str, Array] = {
            group: np.take_along_axis(time, slowest[:, None], 1)[:, 0] for group, time in groups.items()
        }
        transit = sum(ns.get(name, 0.0) * tiles for name, tiles in self.route.items())
        path["mesh"] = np.where(sends, transit, 0.0)
        path[BARRIER] = np.full(len(slowest), ns.get(BARRIER, 0.0))
        path["step floor"] = np.maximum(ns.get("step floor", 0.0) - np.sum(list(path.values()), axis=0), 0)
        return path, np.sum(list(path.values()), axis=0), slowest

    def _wait(self, path: dict[str, Array], time: Array, slowest: Array) -> None:
        if "step floor" in self.constants:
            # A tick below the floor waits for the floor, whatever fills a part of it.
            floored = path["step floor"] > 0
            path = {name: np.where(floored, 0, spent) for name, spent in path.items()}
            path["step floor"] = np.where(floored, time, 0)
        for name, spent in path.items():
            self.waited[name] = self.waited.get(name, 0.0) + float(spent.sum())
        self.slowest += np.bincount(slowest, weights=time, minlength=len(self.slowest))
