"""Price counted activity on a chip: energy and latency, modelled and never measured.

Each figure has a band, a tag and a source:

    energy of a row = count x energy per event, for each event that the cost set prices
    time of a core  = synapse time + neuron time, or the larger of the two (`core_time` of the cost set)
    time of a tick  = slowest core + longest route between used tiles + barrier, but at least the step floor
    static energy   = static power x whole chips x the sum of the tick times

A tick ends when its slowest core is done and all cores are synchronised. The sequences of a batch stand for runs of the
chip one after another.

Boundary: the chip alone, running freely, so every input is there when its tick begins. Host, board, off-chip memory,
links between chips, and input and output are outside. A network that reads what its host samples from its output waits
for the host in between, at static power. How long it waits depends on the host alone, so a row of its own names that
power, without a price.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, whole
from muspike.errors import BadInput
from muspike.hardware.chip import BARRIER, GRADED_EVENTS, Chip, CostSet, as_chip
from muspike.hardware.constant import TAGS, Constant, Tag
from muspike.hardware.cost.activity import Counts

Array = npt.NDArray[Any]
Bound = Literal["value", "low", "high"]

BOUNDARY = (
    "the chip alone, running freely: it never waits for its host; cores, mesh and static power; "
    "no host, board, off-chip memory, input or output"
)

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


@dataclass(frozen=True)
class Row:
    """One component of the energy.

    Attributes:
        name: the component, in words.
        count: number of events; None for the static row and for what is not counted.
        count_low: the least number of events there can have been, if only bounds are known (active updates); else
            `count`.
        energy: in pJ; None unless `status` is `priced`.
        constant: the price of one event, or the static power.
        status: `priced`; `covered`: contained in the prices of other rows; `unpriced`: no price is published, which
            does not mean 0.
        note: what the row contains and leaves out.
    """

    name: str
    count: int | None
    count_low: int | None
    energy: Quantity | None
    constant: Constant | None
    status: Literal["priced", "covered", "unpriced"]
    note: str

    def to_dict(self, shares: int, per: str) -> dict[str, Any]:
        """The row as a JSON-able dict; `shares` and `per` are as in `Energy.to_dict`.

        `price_per_event` is the constant of a row that is counted; the constant of static power is `power`.
        """
        constant = self.constant
        price = constant and {k: getattr(constant, k) for k in ("value", "low", "high", "unit", "band_known")}
        return {
            "name": self.name,
            "status": self.status,
            f"count_per_{per}": None if self.count is None else self.count / shares,
            f"energy_uj_per_{per}": self.energy and self.energy.to_dict("uJ", shares),
            "price_per_event" if self.count is not None or constant is None else "power": price,
            "source": constant and constant.source,
            "note": self.note,
        }


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


@dataclass(frozen=True)
class Influence:
    """How much one input moves the total energy, with all other inputs at their values.

    Attributes:
        name: the input.
        low: the total in pJ with the input at the low end of its band.
        high: the total in pJ with the input at the high end.
    """

    name: str
    low: float
    high: float

    @property
    def width(self) -> float:
        """How far the input moves the total, in pJ."""
        return self.high - self.low

    def to_dict(self, shares: int, per: str) -> dict[str, Any]:
        """The influence as a JSON-able dict; `shares` and `per` are as in `Energy.to_dict`."""
        low, high = (end / shares * 1e-6 for end in (self.low, self.high))
        return {"name": self.name, f"energy_uj_per_{per}": {"low": low, "high": high, "unit": "uJ"}}


@dataclass(frozen=True)
class Energy:
    """The cost of a run: energies in pJ, times in ns.

    Attributes:
        chip: the chip's name.
        costs: the name of the cost set.
        description: what the cost set is.
        rows: the components.
        total: dynamic plus static energy.
        dynamic: the sum of all priced events.
        static: static power of the whole chips for the time of the run.
        latency: the time of the run, all sequences one after another.
        tick_latency: the average time of a tick.
        slowest_tick: the longest time of a tick.
        waiting: static power of the whole chips in mW; that is also the uJ for each ms of waiting for the host.
        bottleneck: what the run waits for.
        uncertainty: what the band of the total comes from, widest first.
        unbanded: inputs without a published spread, which the band therefore leaves out.
        time_sources: where the latencies come from, each source once.
        chips: number of whole chips whose static power is paid.
    """

    chip: str
    costs: str
    description: str
    rows: tuple[Row, ...]
    total: Quantity
    dynamic: Quantity
    static: Quantity
    latency: Quantity
    tick_latency: Quantity
    slowest_tick: Quantity
    waiting: Quantity
    bottleneck: Bottleneck
    uncertainty: tuple[Influence, ...]
    unbanded: tuple[str, ...]
    time_sources: tuple[str, ...]
    chips: int

    def to_dict(self, shares: int, per: str, time_unit: str = "us") -> dict[str, Any]:
        """The cost as a JSON-able dict. Every figure says in its name what it is per.

        Args:
            shares: how many of `per` there are in the run; counts, energies and latency are divided by it.
            per: what a figure is per, such as "sequence" or "note".
            time_unit: the unit of the latency and of the slowest tick.
        """
        return {
            "chip": self.chip,
            "costs": self.costs,
            "description": self.description,
            "boundary": BOUNDARY,
            "chips": self.chips,
            f"energy_uj_per_{per}": {
                name: getattr(self, name).to_dict("uJ", shares) for name in ("total", "dynamic", "static")
            },
            f"latency_{time_unit}_per_{per}": self.latency.to_dict(time_unit, shares),
            f"slowest_tick_{time_unit}": self.slowest_tick.to_dict(time_unit),
            "static_uj_per_ms_of_waiting": self.waiting.to_dict("mW") | {"unit": "uJ"},  # a mW is a uJ per ms
            "bottleneck": dict(vars(self.bottleneck)),
            "components": [row.to_dict(shares, per) for row in self.rows],
            "uncertainty": [influence.to_dict(shares, per) for influence in self.uncertainty],
            "unbanded": list(self.unbanded),
            "time_sources": list(self.time_sources),
        }


@dataclass(frozen=True)
class _Event:
    """An event that a cost set may price.

    Attributes:
        name: the name of its row.
        group: whose time it takes.
        count: finds its count in the counts of a run.
        note: what the count contains.
    """

    name: str
    group: Literal["synapses", "neurons", "spikes", "mesh"]
    count: Callable[[Counts], Array]
    note: str


_EVENTS: Mapping[str, _Event] = {
    "synop_dense": _Event(
        "synaptic operations, dense lists",
        "synapses",
        lambda counts: counts.synops - counts.synops_sparse - counts.synops_conv - counts.synops_graded,
        "every stored synapse of an arriving spike, zero weights included",
    ),
    "synop_sparse": _Event(
        "synaptic operations, sparse lists",
        "synapses",
        lambda counts: counts.synops_sparse,
        "every stored synapse of an arriving spike",
    ),
    "synop_conv": _Event(
        "synaptic operations, shared lists",
        "synapses",
        lambda counts: counts.synops_conv,
        "every tap of a convolution that an arriving spike meets, zero weights included",
    ),
    "synop_graded": _Event(
        "synaptic operations of graded spikes",
        "synapses",
        lambda counts: counts.synops_graded,
        "every stored synapse of an arriving graded spike, whatever its value, in lists of any kind",
    ),
    "neuron_access": _Event(
        "neuron updates, access", "neurons", lambda counts: counts.neuron_updates, "every mapped neuron, every tick"
    ),
    "neuron_update": _Event(
        "neuron updates, active",
        "neurons",
        lambda counts: counts.active_updates,
        "added to the access if the state is not 0 before or after the update, or if the neuron spikes",
    ),
    "neuron_spike": _Event("spikes", "neurons", lambda counts: counts.neuron_spikes, "on top of the update"),
    "message_out": _Event(
        "messages out",
        "spikes",
        lambda counts: counts.messages_out,
        "one per spike and target core, the neuron's own core included",
    ),
    "spike_in": _Event(
        "axon events in",
        "spikes",
        lambda counts: counts.spikes_in - counts.spikes_in_graded,
        "one per spike and target core, spikes of the host included",
    ),
    "spike_in_graded": _Event(
        "axon events in, graded",
        "spikes",
        lambda counts: counts.spikes_in_graded,
        "one per graded spike and target core, whatever its value",
    ),
    "hop_x": _Event(
        "hops east-west", "mesh", lambda counts: counts.hops_x, "between tiles, without messages of the host"
    ),
    "hop_y": _Event(
        "hops north-south", "mesh", lambda counts: counts.hops_y, "between tiles, without messages of the host"
    ),
}
_ALL = "all"
_ACTIVE = "count: active updates"
_Case = tuple[str, Bound]
_ACTIVE_BOUND = "; upper bound, at least the spikes: membranes were not recorded"


def price(
    counts: Counts,
    chip: Chip | str | os.PathLike[str],
    constants: str | CostSet | None = None,
    *,
    reads: int | None = None,
) -> Energy:
    """Price counted activity on a chip.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import Simulator, compile_graph, count, price
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> compiled = compile_graph(graph, "loihi1", dt_s=1e-3)
    >>> run = Simulator(compiled.program).run(np.ones((10, 1, 2), np.uint8))
    >>> price(count(compiled.program, run.spikes), compiled.chip).total.unit
    'pJ'

    Args:
        counts: the counts of the deployed network, from `activity.count`. Events pending after the end are not priced.
        chip: the chip that the counted program was made for: a `Chip`, the name of a known one, or the path of its TOML
            file.
        constants: a cost set, or the name of one of the chip's cost sets; None: the chip's default. Sets are never
            mixed.
        reads: number of membranes that the host reads in the run (readout neurons x answers); None: not counted.

    Raises:
        BadInput: the program was made for another chip, or does not fit the chip; the run is empty; there is no such
            cost set; or the set has no latency, or neither prices nor covers a kind of synaptic operation that
            occurred.
    """
    instance("price: counts", counts, Counts, "what count gives")
    meter = Meter(counts.core_xy, as_chip(chip), constants)
    meter.add(counts)
    return meter.energy(reads=reads)


class Meter:
    """Prices a run whose counts come part by part (`activity.Counter`). Its memory does not grow with the run.

    Raises what `price` raises.

    Args:
        core_xy: the place of each core, as in `Counts`.
        chip: the chip.
        constants: as for `price`.
    """

    def __init__(self, core_xy: Array, chip: Chip, constants: str | CostSet | None = None) -> None:
        self._chip = chip
        self._costs = constants if isinstance(constants, CostSet) else chip.cost_set(constants)
        self._chips = _chips(core_xy, chip)
        self._timing = _Timing(core_xy, self._costs, self._chips)
        self._totals: Counts | None = None

    def add(self, counts: Counts) -> None:
        """Add the counts of the next ticks of the run, or of further sequences."""
        if counts.chip != self._chip.name:
            raise BadInput(
                f"price: the counts are of a program for {counts.chip}, which {self._chip.name} cannot price"
            )
        self._timing.add(counts)
        self._totals = Counts.summed([self._totals, counts] if self._totals else [counts])

    def energy(self, *, reads: int | None = None) -> Energy:
        """The cost of everything that was added; `reads` and errors as for `price`."""
        if reads is not None:
            reads = whole("price: reads", reads, 0)
        counts, chip, chips, timing, costs = self._totals, self._chip, self._chips, self._timing, self._costs
        if counts is None or not counts.ticks.sum():
            raise BadInput("the run has no tick: there is nothing to price")
        latency = timing.latency()
        rows = [_row(event, counts, costs) for event in _EVENTS if _is_shown(event, counts, costs)]
        power = Quantity.of(chip.static_power) * chips
        static = power.times(latency, "pJ")
        note = f"of whole chips: {chips}, for the time of the run"
        static_row = Row("static", None, None, static, chip.static_power, "priced", note)
        dynamic = _sum(row.energy for row in rows if row.energy is not None)
        return Energy(
            chip=chip.name,
            costs=costs.name,
            description=costs.description,
            rows=(*rows, _barrier_row(costs, timing), static_row, *_outside(counts, chip, chips, power, reads)),
            total=dynamic + static,
            dynamic=dynamic,
            static=static,
            latency=latency,
            tick_latency=latency / int(counts.ticks.sum()),
            slowest_tick=timing.slowest_tick(),
            waiting=power,
            bottleneck=timing.bottleneck(),
            uncertainty=_uncertainty(rows, chip, chips, timing),
            unbanded=_unbanded(rows, chip, timing),
            time_sources=tuple(dict.fromkeys(constant.source for constant in timing.playing.values())),
            chips=chips,
        )


def price_all(counts: Counts, chip: Chip, *, reads: int | None = None) -> tuple[Energy, ...]:
    """Price with each of the chip's cost sets, the default one first. Arguments and errors are as for `price`."""
    found = meters(counts.core_xy, chip)
    for meter in found:
        meter.add(counts)
    return tuple(meter.energy(reads=reads) for meter in found)


def meters(core_xy: Array, chip: Chip) -> tuple[Meter, ...]:
    """A meter for each of the chip's cost sets, the default one first."""
    names = sorted(chip.costs, key=lambda name: name != chip.default_costs)
    return tuple(Meter(core_xy, chip, name) for name in names)


def _barrier_row(costs: CostSet, timing: _Timing) -> Row:
    name, barrier = "barrier and time step", timing.constants.get(BARRIER)
    if BARRIER in costs.covers:
        return Row(name, None, None, None, None, "covered", "its time is in the latency, and so in static")
    note = "no price is published; its time is in the latency, and so in static"
    if barrier is not None and timing.barrier_extrapolated:
        note += f"; that time is {barrier.source}"
    return Row(name, None, None, None, None, "unpriced", note)


def _outside(counts: Counts, chip: Chip, chips: int, power: Quantity, reads: int | None) -> list[Row]:
    """The rows for what is outside the boundary: counted if possible, without a price."""

    def row(name: str, count: int | None, note: str) -> Row:
        return Row(name, count, count, None, None, "unpriced", note)

    waiting = f"{power.value:.4g} µJ ({power.low:.4g} to {power.high:.4g}) per ms of waiting"
    rows = [
        row("static while the host samples", None, f"{waiting}; here the chip never waits for its host"),
        row("host input", int(counts.host_messages.sum()), "messages from the host, without their way to the core"),
        row("host output", reads, "membranes that the host reads"),
    ]
    if chips > 1:
        note = "links between chips crossed by messages; priced and timed as hops within a chip, no more is published"
        rows.append(row("chip-to-chip links", _crossings(counts, chip), note))
    return rows


def _crossings(counts: Counts, chip: Chip) -> int:
    """The number of borders between chips that messages cross, with chips side by side and XY routing."""
    on = counts.core_xy // np.array([chip.mesh.tiles_x, chip.mesh.tiles_y])
    borders = np.abs(on[:, None, :] - on[None, :, :]).sum(axis=2).astype(np.int64)
    return int((borders * counts.messages_between).sum())


def _sum(quantities: Iterable[Quantity]) -> Quantity:
    first, *rest = quantities
    return sum(rest, start=first)


def _chips(core_xy: Array, chip: Chip) -> int:
    """The number of whole chips that the cores lie on (meshes side by side).

    Raises:
        BadInput: the program has more cores on a tile or a chip than there are.
    """
    mesh, most = chip.mesh, chip.limits.cores_per_chip.value
    tiles = Counter((int(x), int(y)) for x, y in core_xy)
    of_chip: Counter[tuple[int, int]] = Counter()
    for (x, y), cores in tiles.items():
        of_chip[x // mesh.tiles_x, y // mesh.tiles_y] += cores
        if cores > mesh.cores_per_tile:
            raise BadInput(
                f"{chip.name}: {cores} cores on tile ({x}, {y}), which has {mesh.cores_per_tile}; "
                "a program that does not fit has no energy"
            )
    for cores in of_chip.values():
        if most is not None and cores > most:
            raise BadInput(
                f"{chip.name}: {cores} cores on a chip that has {most}; a program that does not fit has no energy"
            )
    return max(len(of_chip), 1)


def _is_shown(event: str, counts: Counts, costs: CostSet) -> bool:
    """Whether the event gets a row: synaptic operations for each kind of list in use, graded spikes if there are any,
    all other events always.

    Raises:
        BadInput: synaptic operations occurred that the cost set neither prices nor covers.
    """
    if not event.startswith("synop") and event not in GRADED_EVENTS:
        return True
    used = bool(_EVENTS[event].count(counts).any())
    if used and event.startswith("synop") and event not in costs.energy and event not in costs.covers:
        raise BadInput(f"cost set {costs.name!r}: no price for {event}, of which the run has some")
    return used or event == "synop_dense"


def _row(name: str, counts: Counts, costs: CostSet) -> Row:
    event = _EVENTS[name]
    count = int(event.count(counts).sum())
    bounded = name == "neuron_update" and not counts.activity_known
    low = int(counts.neuron_spikes.sum()) if bounded else count
    note = event.note + (_ACTIVE_BOUND if bounded else "")
    constant = costs.energy.get(name)
    if constant is None:
        covered = name in costs.covers
        note += "" if covered else "; no price is published"
        return Row(event.name, count, low, None, None, "covered" if covered else "unpriced", note)
    known = constant.band_known or not count
    energy = Quantity(
        constant.value * count, constant.low * low, constant.high * count, constant.unit, constant.tag, known
    )
    return Row(event.name, count, low, energy, constant, "priced", note)


class _Timing:
    """The times of the ticks added so far, case by case: all latencies at their values, or some at an end."""

    def __init__(self, core_xy: Array, costs: CostSet, chips: int) -> None:
        self.costs = costs
        self.events = [name for name, event in _EVENTS.items() if name in costs.latency and event.group != "mesh"]
        extent = np.ptp(core_xy, axis=0) if len(core_xy) else np.zeros(2, int)
        self.route = {"hop_x": int(extent[0]), "hop_y": int(extent[1])}  # tiles; XY routing
        self.constants: dict[str, Constant] = {name: costs.latency[name] for name in self.events}
        self.constants |= {name: costs.latency[name] for name in self.route if name in costs.latency}
        tiles = len(np.unique(core_xy, axis=0))
        self.barrier_extrapolated = bool(costs.barrier) and tiles > costs.barrier[-1].tiles
        if costs.barrier:
            self.constants[BARRIER] = _barrier(costs, tiles)
        floor = "step_floor" if chips == 1 else "step_floor_several_chips"
        if floor in costs.latency:
            self.constants["step floor"] = costs.latency[floor]
        self.activity_known = True
        self.graded = False  # whether there were graded spikes; if not, their times have no part in the run
        ends: tuple[Bound, Bound] = ("low", "high")
        # A case says which constants are at which bound: all of them, or one with the others at their values.
        named = [(name, end) for name in (_ALL, *self.constants, _ACTIVE) for end in ends]
        self.cases: list[_Case] = [(_ALL, "value"), *named]
        self.sums = dict.fromkeys(self.cases, 0.0)
        self.longest = dict.fromkeys(self.cases, 0.0)
        self.waited: dict[str, float] = {}  # time that each resource takes on the critical path, at the values
        self.slowest = np.zeros(max(len(core_xy), 1))  # time for which each core was the slowest, at the values

    def add(self, counts: Counts) -> None:
        inside = np.arange(counts.synops.shape[0])[:, None] < counts.ticks  # [ticks, batch]
        if not inside.any():
            return
        self.activity_known &= counts.activity_known
        events = {name: _EVENTS[name].count(counts)[inside] for name in self.events}  # [ticks inside, cores]
        self.graded |= any(events[name].any() for name in GRADED_EVENTS if name in events)
        least = events if counts.activity_known else events | {"neuron_update": counts.neuron_spikes[inside]}
        sends = np.asarray(counts.messages_out[inside].any(1))
        for case in self.cases:
            name, bound = case
            fewest = bound == "low" and name in (_ALL, _ACTIVE)
            path, time, slowest = self._ticks(case, least if fewest else events, sends)
            self.sums[case] += float(time.sum())
            self.longest[case] = max(self.longest[case], float(time.max()))
            if bound == "value":
                self._wait(path, time, slowest)

    def _ticks(self, case: _Case, events: Mapping[str, Array], sends: Array) -> tuple[dict[str, Array], Array, Array]:
        """The time per resource on the critical path, the time of the tick, and the slowest core.

        Each array is `[ticks inside]`; times are in ns.
        """
        of, bound = case
        ns = {
            name: float(getattr(constant, bound if of in (_ALL, name) else "value"))
            for name, constant in self.constants.items()
        }
        shape = next(iter(events.values())).shape if events else (len(sends), 1)
        groups = {group: np.zeros(shape) for group in ("synapses", "neurons", "spikes")}
        for name in self.events:
            groups[_EVENTS[name].group] += ns[name] * events[name]
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

    @property
    def playing(self) -> dict[str, Constant]:
        """The constants that have a part in the run."""
        left_out = () if self.graded else GRADED_EVENTS
        return {name: constant for name, constant in self.constants.items() if name not in left_out}

    def _quantity(self, of: Mapping[_Case, float]) -> Quantity:
        value, low, high = (of[_ALL, bound] for bound in ("value", "low", "high"))
        tag = weakest(constant.tag for constant in self.playing.values())
        known = all(constant.band_known for constant in self.playing.values())
        return Quantity(value, low, high, "ns", tag, known)

    def latency(self) -> Quantity:
        if not self.constants:
            raise BadInput(f"cost set {self.costs.name!r}: no latency at all, so static energy cannot be priced")
        return self._quantity(self.sums)

    def slowest_tick(self) -> Quantity:
        return self._quantity(self.longest)

    def bottleneck(self) -> Bottleneck:
        resource = max(self.waited, key=lambda name: self.waited[name])
        share, core_share = self.waited[resource] / self.sums[_ALL, "value"], self.slowest.max() / self.slowest.sum()
        return Bottleneck(resource, share, int(self.slowest.argmax()), float(core_share))


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


def _uncertainty(rows: Iterable[Row], chip: Chip, chips: int, timing: _Timing) -> tuple[Influence, ...]:
    """For each input, the total with that input at the ends of its band and the others at their values."""
    priced = [(row, row.constant, row.count, row.count_low) for row in rows if row.constant is not None]

    def total(name: str, bound: Bound) -> float:
        time = timing.sums.get((name.removeprefix("time: "), bound), timing.sums[_ALL, "value"])
        power = getattr(chip.static_power, bound if name == "static power" else "value")
        energy = power * chips * time
        for row, constant, count, count_low in priced:
            price_pj = getattr(constant, bound if name == f"energy: {row.name}" else "value")
            energy += price_pj * (count_low if (name, bound) == (_ACTIVE, "low") else count)
        return float(energy)

    names = [f"energy: {row.name}" for row, *_ in priced]
    names += ["static power", *(f"time: {name}" for name in timing.playing)]
    if not timing.activity_known:
        names.append(_ACTIVE)
    found = (Influence(_readable(name), total(name, "low"), total(name, "high")) for name in names)
    return tuple(sorted(found, key=lambda influence: -influence.width))


def _unbanded(rows: Iterable[Row], chip: Chip, timing: _Timing) -> tuple[str, ...]:
    """The inputs whose spread nobody has published, without those that play no part."""
    inputs = [(f"energy: {row.name}", row.constant) for row in rows if row.constant is not None and row.count]
    inputs += [("static power", chip.static_power), *((f"time: {name}", c) for name, c in timing.playing.items())]
    return tuple(_readable(name) for name, constant in inputs if not constant.band_known)


def _readable(name: str) -> str:
    kind, _, event = name.partition(": ")
    return f"{kind}: {_EVENTS[event].name}" if event in _EVENTS else name
