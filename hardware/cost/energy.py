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
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, whole
from muspike.errors import BadInput
from muspike.hardware.chip import BARRIER, GRADED_EVENTS, Chip, CostSet, as_chip
from muspike.hardware.constant import Constant
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.events import EVENTS
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.cost.timing import ACTIVE, ALL, STEP_FLOOR, Bottleneck, Bound, Timing

Array = npt.NDArray[Any]
BOUNDARY = (
    "the chip alone, running freely: it never waits for its host; cores, mesh and static power; "
    "no host, board, off-chip memory, input or output"
)


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
        warnings: what is known to be wrong with these costs for this run, in sentences; mostly none.
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
    warnings: tuple[str, ...] = ()

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
        influences: whether to find how much each input moves the total; else `uncertainty` is empty, and pricing is
            several times quicker.

    Attributes:
        timing: the times of the ticks so far.
    """

    def __init__(
        self, core_xy: Array, chip: Chip, constants: str | CostSet | None = None, *, influences: bool = True
    ) -> None:
        self._chip = chip
        self._costs = constants if isinstance(constants, CostSet) else chip.cost_set(constants)
        self._chips = _chips(core_xy, chip)
        self.timing = Timing(core_xy, self._costs, self._chips, one_by_one=influences)
        self._influences = influences
        self._totals: Counts | None = None

    def add(self, counts: Counts) -> None:
        """Add the counts of the next ticks of the run, or of further sequences."""
        if counts.chip != self._chip.name:
            raise BadInput(
                f"price: the counts are of a program for {counts.chip}, which {self._chip.name} cannot price"
            )
        self.timing.add(counts)
        self.add_totals(counts)

    def add_totals(self, counts: Counts) -> None:
        """Add counts of ticks whose times were added to `timing` already."""
        self._totals = Counts.summed([self._totals, counts] if self._totals else [counts])

    def energy(self, *, reads: int | None = None) -> Energy:
        """The cost of everything that was added; `reads` and errors as for `price`."""
        if reads is not None:
            reads = whole("price: reads", reads, 0)
        counts, chip, chips, timing, costs = self._totals, self._chip, self._chips, self.timing, self._costs
        if counts is None or not counts.ticks.sum():
            raise BadInput("the run has no tick: there is nothing to price")
        latency = timing.latency()
        rows = [_row(event, counts, costs) for event in EVENTS if _is_shown(event, counts, costs)]
        power = Quantity.of(chip.static_power) * chips
        static = power.times(latency, "pJ")
        note = f"of whole chips: {chips}, for the time of the run"
        static_row = Row("static", None, None, static, chip.static_power, "priced", note)
        dynamic = _sum(row.energy for row in rows if row.energy is not None)
        bottleneck = timing.bottleneck()
        floored = bottleneck.resource == STEP_FLOOR and chips == 1 and costs.at_step_floor
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
            bottleneck=bottleneck,
            uncertainty=_uncertainty(rows, chip, chips, timing) if self._influences else (),
            unbanded=_unbanded(rows, chip, timing),
            time_sources=tuple(dict.fromkeys(constant.source for constant in timing.playing.values())),
            chips=chips,
            warnings=(f"{chip.name}: {costs.at_step_floor}",) if floored else (),
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


def _barrier_row(costs: CostSet, timing: Timing) -> Row:
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
    used = bool(EVENTS[event].count(counts).any())
    if used and event.startswith("synop") and event not in costs.energy and event not in costs.covers:
        raise BadInput(f"cost set {costs.name!r}: no price for {event}, of which the run has some")
    return used or event == "synop_dense"


def _row(name: str, counts: Counts, costs: CostSet) -> Row:
    event = EVENTS[name]
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


def _uncertainty(rows: Iterable[Row], chip: Chip, chips: int, timing: Timing) -> tuple[Influence, ...]:
    """For each input, the total with that input at the ends of its band and the others at their values."""
    priced = [(row, row.constant, row.count, row.count_low) for row in rows if row.constant is not None]

    def total(name: str, bound: Bound) -> float:
        time = timing.sums.get((name.removeprefix("time: "), bound), timing.sums[ALL, "value"])
        power = getattr(chip.static_power, bound if name == "static power" else "value")
        energy = power * chips * time
        for row, constant, count, count_low in priced:
            price_pj = getattr(constant, bound if name == f"energy: {row.name}" else "value")
            energy += price_pj * (count_low if (name, bound) == (ACTIVE, "low") else count)
        return float(energy)

    names = [f"energy: {row.name}" for row, *_ in priced]
    names += ["static power", *(f"time: {name}" for name in timing.playing)]
    if not timing.activity_known:
        names.append(ACTIVE)
    found = (Influence(_readable(name), total(name, "low"), total(name, "high")) for name in names)
    return tuple(sorted(found, key=lambda influence: -influence.width))


def _unbanded(rows: Iterable[Row], chip: Chip, timing: Timing) -> tuple[str, ...]:
    """The inputs whose spread nobody has published, without those that play no part."""
    inputs = [(f"energy: {row.name}", row.constant) for row in rows if row.constant is not None and row.count]
    inputs += [("static power", chip.static_power), *((f"time: {name}", c) for name, c in timing.playing.items())]
    return tuple(_readable(name) for name, constant in inputs if not constant.band_known)


def _readable(name: str) -> str:
    kind, _, event = name.partition(": ")
    return f"{kind}: {EVENTS[event].name}" if event in EVENTS else name
