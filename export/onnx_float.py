"""A network in floats as an ONNX graph: a step with explicit state, or the same over time as one Scan.

A step takes a network through one period: the ticks of one word, or a single tick if the network does not read words.
The input spikes in the first `ticks` of them. All ticks are written out, so a step needs no control flow.

    inputs      <input>                      uint8 [batch, size]          the axons that spike
                past.<population>.v          [batch, size]                the membrane after the last step
                past.<population>.i          [batch, size]                the synaptic current, if it is filtered
                past.<population>.spikes     uint8 [slots, batch, size]   the latest spikes, oldest first
    outputs     logits                       [batch, 466]                 of a network that reads words
                membrane.<readout>           [batch, size]                of any other network
                spikes.<population>          uint8 [slots, batch, size]   the spikes of this step
                present.<population>.v, ...                               the state after the step, as in `past`

At the start, all of `past` is 0. A slot is a tick of the period in which a population can spike. A LIF without a bias
spikes only in a tick in which a spike can reach it, and most ticks of a word's period bring none.

A Scan has the same outputs with an axis of words or ticks before them. It starts at rest, and so needs no `past`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from muspike.export.onnx_graph import CLOCK, Builder, Product, tensor
from muspike.export.presentation import Presentation
from muspike.export.recording import LOGITS
from muspike.hardware.graph import Population, SpikingGraph, Synapses, by_end

BATCH = "batch"
Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Reach:
    """How the spikes of a source reach a target in one tick of a step.

    Attributes:
        tick: the tick of the step, from 0.
        slot: the number of the source's slot in which it spiked.
        steps_ago: 0: in this step.
    """

    tick: int
    slot: int
    steps_ago: int


class StepPlan:
    """Which spikes a step computes when. A step has `period` ticks, and the input spikes in the first `ticks`.

    Attributes:
        slots: by population, the ticks of the period in which it can spike.
        steps_kept: by population, the number of past steps whose spikes are needed.
        groups: the populations in the order in which they are computed. Those of a group hear each other within a
            step, so they are computed tick by tick.
    """

    def __init__(self, graph: SpikingGraph, ticks: int, period: int) -> None:
        self.graph, self.ticks, self.period = graph, ticks, period
        self.slots = self._slots()
        self._index = {name: {tick: n for n, tick in enumerate(ticks)} for name, ticks in self.slots.items()}
        self.reaches = {s.name: self._reaches(s) for s in graph.synapses}
        self.steps_kept = {
            name: max((r.steps_ago for s in into for r in self.reaches[s.name]), default=0)
            for name, into in ((p.name, by_end(graph.synapses, "source")[p.name]) for p in graph.populations)
        }
        self.groups = self._groups()

    def _slots(self) -> dict[str, tuple[int, ...]]:
        found: dict[str, set[int]] = {}
        for p in self.graph.populations:
            always = p.kind == "lif" and bool(p.bias.any() or (p.tau_syn != 1).any() or (p.v_threshold < 0).any())
            found[p.name] = set(range(self.period if always else self.ticks if p.kind == "input" else 0))
        grown = True
        while grown:
            grown = False
            for s in self.graph.synapses:
                if self.graph.population(s.target).kind == "lif":
                    reached = {(tick + s.delay) % self.period for tick in found[s.source]}
                    grown |= not reached <= found[s.target]
                    found[s.target] |= reached
        # A population that nothing drives gets one slot all the same, in which it is silent.
        return {name: tuple(sorted(ticks)) or (0,) for name, ticks in found.items()}

    def _reaches(self, s: Synapses) -> list[Reach]:
        found = []
        for tick in range(self.period):
            steps, phase = divmod(tick - s.delay, self.period)
            if phase in self._index[s.source]:
                found.append(Reach(tick, self._index[s.source][phase], -steps))
        return found

    def within(self, s: Synapses) -> bool:
        """Whether a spike can cross these synapses within a step."""
        return any(r.steps_ago == 0 for r in self.reaches[s.name])

    def _groups(self) -> list[list[Population]]:
        order = [p for p in self.graph.update_order() if p.kind != "input"]
        place = {p.name: n for n, p in enumerate(order)}
        joins = [
            (place[s.source], place[s.target]) for s in self.graph.synapses if s.source in place and self.within(s)
        ]
        sources, targets = (np.array([join[end] for join in joins], np.int64) for end in (0, 1))
        edges = csr_array((np.ones(len(joins)), (sources, targets)), shape=(len(order), len(order)))
        group_of = connected_components(edges, connection="strong")[1] if order else np.zeros(0, np.int64)
        before: dict[int, set[int]] = {int(g): set() for g in group_of}
        for source, target in joins:
            if group_of[source] != group_of[target]:
                before[int(group_of[target])].add(int(group_of[source]))
        return [[p for n, p in enumerate(order) if group_of[n] == g] for g in TopologicalSorter(before).static_order()]


class Step:
    """The nodes of one step, added to a builder.

    Args:
        to: what the nodes are added to.
        plan: the plan of the step.
        kind: how products are computed.
        dtype: of membranes and currents, `float32` or `float64`.
        past: the names of the tensors that hold the past: by (population, `v`, `i` or `spikes`).
        inputs: the names of the tensors of the inputs, uint8 `[batch, size]`, by population.
    """

    def __init__(
        self,
        to: Builder,
        plan: StepPlan,
        kind: Product,
        dtype: str,
        past: Mapping[tuple[str, str], str],
        inputs: Mapping[str, str],
    ) -> None:
        self.to, self.plan, self.kind, self.dtype, self.past = to, plan, kind, dtype, past
        self.spikes: dict[str, str] = {}  # by population, in the type of products, [slots, batch, size]
        self.membrane: dict[tuple[str, int], str] = {}  # of readouts, by name and tick, [1, batch, size]
        self.present: dict[tuple[str, str], str] = {}
        self._zero = to.constant(0, dtype)
        self._into = by_end(plan.graph.synapses, "target")
        for name, value in inputs.items():
            shown = to.add("Unsqueeze", value, to.constant([0], np.int64), name=f"{name}.shown")
            cast = to.cast(shown, kind.spikes) if kind.spikes != "uint8" else shown
            count = len(plan.slots[name])
            self.spikes[name] = cast if count == 1 else to.add("Concat", *[cast] * count, axis=0, name=f"{name}.slots")
        for group in plan.groups:
            self._compute(group)
        for p in plan.graph.populations:
            if plan.steps_kept[p.name]:
                self._keep(p)

    def _heard(self, source: str) -> str:
        """The past and present spikes of a population, oldest first, as far as they are computed."""
        parts = []
        if self.plan.steps_kept[source]:
            past = self.past[source, "spikes"]
            parts.append(self.to.cast(past, self.kind.spikes) if self.kind.spikes != "uint8" else past)
        if source in self.spikes:
            parts.append(self.spikes[source])
        return parts[0] if len(parts) == 1 else self.to.add("Concat", *parts, axis=0, name=f"{source}.heard")

    def _compute(self, group: Sequence[Population]) -> None:
        to, plan, members = self.to, self.plan, {p.name for p in group}
        state = {p.name: self._before(p) for p in group}
        currents: dict[tuple[str, int], list[str]] = {}  # by population and tick
        for p in group:
            for s in self._into[p.name]:
                inside = s.source in members
                reaches = [r for r in plan.reaches[s.name] if not (inside and r.steps_ago == 0)]
                if not reaches:
                    continue
                per_step, kept = len(plan.slots[s.source]), plan.steps_kept[s.source]
                places = [(kept - r.steps_ago) * per_step + r.slot for r in reaches]
                heard = self._heard(s.source)
                whole = per_step * (kept + (s.source in self.spikes))
                picked = heard if places == list(range(whole)) else to.slots(heard, places, f"{s.name}.heard")
                product = to.product(picked, s.weight, s.name, self.kind)
                for n, r in enumerate(reaches):
                    one = product if len(reaches) == 1 else to.slots(product, [n], f"{s.name}.{r.tick}")
                    currents.setdefault((p.name, r.tick), []).append(one)
        fired: dict[tuple[str, int], str] = {}  # by population and tick
        for tick in range(plan.period):
            for p in group:
                into = currents.get((p.name, tick), [])
                for s in self._into[p.name]:
                    for r in plan.reaches[s.name]:
                        if s.source in members and r.steps_ago == 0 and r.tick == tick:
                            spikes = fired[s.source, plan.slots[s.source][r.slot]]
                            into = [*into, to.product(spikes, s.weight, f"{s.name}.{tick}", self.kind)]
                v, i = self._moved(p, tick, into, *state[p.name])
                if p.kind == "lif" and tick in plan.slots[p.name]:
                    above = to.add("Greater", v, self._held(p.v_threshold), name=f"{p.name}.{tick}.above")
                    v = to.add("Where", above, self._zero, v, name=f"{p.name}.{tick}.v")
                    fired[p.name, tick] = to.cast(above, self.kind.spikes)
                elif p.kind == "li":
                    self.membrane[p.name, tick] = v
                state[p.name] = v, i
        for p in group:
            for part, value in zip(("v", "i"), state[p.name], strict=True):
                if value is not None:
                    self.present[p.name, part] = to.add(
                        "Squeeze", value, to.constant([0], np.int64), name=f"{p.name}.{part}"
                    )
            if p.kind == "lif":
                each = [fired[p.name, tick] for tick in plan.slots[p.name]]
                self.spikes[p.name] = (
                    each[0] if len(each) == 1 else to.add("Concat", *each, axis=0, name=f"{p.name}.spikes")
                )

    def _before(self, p: Population) -> tuple[str, str | None]:
        """The membrane and the current of the last step, `[1, batch, size]`."""
        axis = self.to.constant([0], np.int64)
        found = [
            self.to.add("Unsqueeze", self.past[p.name, part], axis, name=f"{p.name}.before.{part}")
            if (p.name, part) in self.past
            else None
            for part in ("v", "i")
        ]
        assert found[0] is not None
        return found[0], found[1]

    def _moved(self, p: Population, tick: int, into: Sequence[str], v: str, i: str | None) -> tuple[str, str | None]:
        """The membrane and the current after a tick, before any reset, by the equations of `hardware.graph`."""
        to, where = self.to, f"{p.name}.{tick}"
        x: str | None = None
        for current in into:
            x = current if x is None else to.add("Add", x, current, name=f"{where}.x")
        if i is not None:
            k = 1 / p.tau_syn
            i = to.add("Mul", self._held(1 - k), i, name=f"{where}.i")
            if x is not None:
                i = to.add("Add", i, to.add("Mul", self._held(k), x, name=f"{where}.kx"), name=f"{where}.i")
            x = i
        if p.bias.any():
            bias = self._held(p.bias)
            x = bias if x is None else to.add("Add", x, bias, name=f"{where}.biased")
        gain, leak = self._held(p.gain), self._held(p.leak)
        if (p.leak == p.gain).all():
            if x is None:
                return to.add("Sub", v, to.add("Mul", gain, v, name=f"{where}.lost"), name=f"{where}.left"), i
            drive = to.add("Mul", gain, to.add("Sub", x, v, name=f"{where}.drive"), name=f"{where}.dv")
            return to.add("Add", v, drive, name=f"{where}.moved"), i
        if p.leak.any():
            v = to.add("Sub", v, to.add("Mul", leak, v, name=f"{where}.lost"), name=f"{where}.left")
        if x is not None:
            v = to.add("Add", v, to.add("Mul", gain, x, name=f"{where}.gained"), name=f"{where}.moved")
        return v, i

    def _held(self, values: Any) -> str:
        """A constant per neuron, in the type of membranes; a single number where all are equal."""
        array = np.asarray(values, np.float64)
        return self.to.constant(array[0] if (array == array[0]).all() else array, self.dtype)

    def _keep(self, p: Population) -> None:
        """The latest spikes, as many as are needed."""
        to, kept, per_step = self.to, self.plan.steps_kept[p.name], len(self.plan.slots[p.name])
        now = self.narrow(p.name)
        if kept > 1:
            older = to.slots(self.past[p.name, "spikes"], list(range(per_step, kept * per_step)), f"{p.name}.older")
            now = to.add("Concat", older, now, axis=0, name=f"{p.name}.kept")
        self.present[p.name, "spikes"] = now

    def narrow(self, name: str) -> str:
        """The spikes of a population in this step, uint8 `[slots, batch, size]`."""
        return self.spikes[name] if self.kind.spikes == "uint8" else self.to.cast(self.spikes[name], "uint8")


def float_graph(
    graph: SpikingGraph, presentation: Presentation | None, kind: Product, dtype: str, over_time: bool
) -> tuple[Any, dict[str, Any]]:
    """A step of a network, or with `over_time` the Scan of its steps, and what muspike has to know about it.

    Raises:
        BadInput: a population or an input has a name that another tensor has; or a matrix is too large.
    """
    ticks, period = (1, 1) if presentation is None else (presentation.ticks, presentation.period)
    plan = StepPlan(graph, ticks, period)
    inputs = [p for p in graph.populations if p.kind == "input"]
    state: dict[tuple[str, str], tuple[str, Shape]] = {}  # type and shape, by population and part
    for p in graph.populations:
        if p.kind != "input":
            state[p.name, "v"] = dtype, (BATCH, p.size)
            if (p.tau_syn != 1).any():
                state[p.name, "i"] = dtype, (BATCH, p.size)
        if slots := plan.steps_kept[p.name] * len(plan.slots[p.name]):
            state[p.name, "spikes"] = "uint8", (slots, BATCH, p.size)
    outer = Builder()
    # A body may not use a name of the graph around it.
    to, of = (Builder(outer), "step.") if over_time else (outer, "")
    sizes = {p.name: p.size for p in inputs} or {CLOCK: 0}
    names = list(sizes)
    names += [f"spikes.{p.name}" if p.kind == "lif" else f"membrane.{p.name}" for p in graph.populations]
    names += [f"{when}.{name}.{part}" for name, part in state for when in ("past", "present")]
    outer.reserve(names)
    if over_time:
        to.reserve(f"{of}{name}" for name in names)
    past = {(name, part): f"{of}past.{name}.{part}" for name, part in state}
    step = Step(to, plan, kind, dtype, past, {p.name: f"{of}{p.name}" for p in inputs})
    outputs: list[tuple[str, str, Shape]] = []
    for p in graph.populations:
        if p.kind == "lif":
            to.called(f"{of}spikes.{p.name}", step.narrow(p.name))
            outputs.append((f"spikes.{p.name}", "uint8", (len(plan.slots[p.name]), BATCH, p.size)))
        elif p.kind == "li":
            answer, name = step.membrane[p.name, ticks - 1], f"membrane.{p.name}"
            if presentation is not None:
                name = LOGITS
                answer = to.add("Add", answer, to.constant(presentation.bias, dtype), name="answer")
            to.called(f"{of}{name}", to.add("Squeeze", answer, to.constant([0], np.int64), name=f"{p.name}.answer"))
            outputs.append((name, dtype, (BATCH, p.size)))
    for (name, part), value in step.present.items():
        to.called(f"{of}present.{name}.{part}", value)
    about = {
        "form": "scan" if over_time else "step",
        "dtype": dtype,
        "dt_s": graph.dt_s,
        "ticks": ticks,
        "period": period,
        "inputs": sizes,
        "slots": {p.name: list(plan.slots[p.name]) for p in graph.populations if p.kind == "lif"},
        "state": {f"{name}.{part}": [kind_of, list(shape)] for (name, part), (kind_of, shape) in state.items()},
    }
    takes = [tensor(past[key], *about_it) for key, about_it in state.items()]
    gives = [tensor(f"{of}present.{name}.{part}", *about_it) for (name, part), about_it in state.items()]
    shown = [tensor(f"{of}{name}", "uint8", (BATCH, size)) for name, size in sizes.items()]
    told = [tensor(f"{of}{name}", dtype_of, shape) for name, dtype_of, shape in outputs]
    if not over_time:
        return to.graph("step", [*shown, *takes], [*told, *gives]), about
    body = to.graph("body", [*takes, *shown], [*gives, *told])
    return _over_time(outer, body, sizes, state, outputs), about


def _over_time(
    outer: Builder,
    body: Any,
    inputs: Mapping[str, int],
    state: Mapping[tuple[str, str], tuple[str, Shape]],
    outputs: Sequence[tuple[str, str, Shape]],
) -> Any:
    """The graph of a Scan from rest, with an axis `steps` before the inputs and the outputs."""
    shape = outer.add("Shape", next(iter(inputs)), name="shape")
    batch = outer.slots(shape, [1], "batch")
    starts = []
    for (name, part), (dtype, axes) in state.items():
        parts = [batch if axis == BATCH else outer.constant([axis], np.int64) for axis in axes]
        whole = outer.add("Concat", *parts, axis=0, name=f"{name}.{part}.shape")
        starts.append(outer.zeros(whole, dtype, f"{name}.{part}.rest"))
    ends = [f"end.{name}.{part}" for name, part in state]
    outer.scan(body, [*starts, *inputs], [*ends, *(name for name, _, _ in outputs)], len(inputs))
    shown = [tensor(name, "uint8", ("steps", BATCH, size)) for name, size in inputs.items()]
    told = [tensor(name, dtype, ("steps", *axes)) for name, dtype, axes in outputs]
    return outer.graph("scan", shown, told)
