"""A program run on given spikes: what fired, what each core did, what it costs, and how it follows the float network.

As data, JSON and text. The chip is run until its deepest population has heard the last tick of the input, so for
`ticks` of the input and the largest level more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware import activity, energy, interpreter
from muspike.hardware.agreement import ReadoutAgreement, SpikeAgreement, agreement
from muspike.hardware.chip import Chip
from muspike.hardware.energy import Energy, Quantity
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.program import Program
from muspike.hardware.report import table
from muspike.hardware.simulator import Simulator
from muspike.hardware.spikes import LARGEST_BYTES
from muspike.hardware.weights import Conv

if TYPE_CHECKING:
    from muspike.hardware.dense_simulator import DenseSimulator

Array = npt.NDArray[Any]
Agreements = tuple[SpikeAgreement | ReadoutAgreement, ...]

# Cells (neurons x sequences x ticks) between two reports of progress.
_CELLS_AT_ONCE = 1 << 24
# Currents and membranes tell which updates move a state. Beyond so many bytes they are not kept for that alone, and the
# number of active updates is an upper bound.
_STATES_BYTES = 1 << 28


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a program did.

    Attributes:
        input_ticks: of the input; the run has `ticks`.
        spikes: uint8 `[ticks, batch, size]` in chip time, of every `input` and `lif` population.
        membranes, currents: int32 `[ticks, batch, size]`; of every population on the chip where they were asked for
            or cheap, else membranes of readouts alone.
        overflows, readout_resets: as in `simulator.Run`.
        energies: of the run, one for each cost set of the chip; empty where `no_energy` says why there is none.
        ideal: spikes and membranes of the float network, as `interpreter.run` gives them, None where it was not run.
        agreements: with the float network.
        seconds: that the simulator took.
    """

    program: Program
    input_ticks: int
    spikes: Mapping[str, Array]
    membranes: Mapping[str, Array]
    currents: Mapping[str, Array]
    overflows: Mapping[str, int]
    readout_resets: Mapping[str, int]
    counts: activity.Counts
    energies: tuple[Energy, ...]
    no_energy: str | None
    ideal: tuple[Mapping[str, Array], Mapping[str, Array]] | None
    agreements: Agreements | None
    seconds: float

    @property
    def relays(self) -> frozenset[str]:
        """The populations that only make a delay longer."""
        return frozenset(self.program.metadata.get("relays", ()))

    @property
    def ticks(self) -> int:
        return int(self.counts.synops.shape[0])

    @property
    def batch(self) -> int:
        return int(self.counts.synops.shape[1])


def input_shapes(network: SpikingGraph | Program) -> dict[str, tuple[int, ...]]:
    """The shape of each input: its own, where it has one; of a program, that of a convolution that hears it."""
    if isinstance(network, SpikingGraph):
        return {p.name: p.shape for p in network.populations if p.kind == "input"}
    heard = {s.source: s.weight.input_shape for s in network.synapses if isinstance(s.weight, Conv)}
    return {p.name: heard.get(p.name, (p.size,)) for p in network.inputs}


def delayed(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs, and silence behind them until the deepest population has heard their last tick."""
    deepest = max(p.level for p in program.populations)
    return {name: np.pad(spikes, ((0, deepest), (0, 0), (0, 0))) for name, spikes in inputs.items()}


def simulate(
    program: Program,
    inputs: Mapping[str, Array],
    chip: Chip | None = None,
    *,
    graph: SpikingGraph | None = None,
    misfit: str | None = None,
    record_membranes: bool = False,
    reset_every: int | None = None,
    device: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Simulation:
    """Run a program from silence on spikes, count, price and compare.

    Args:
        inputs: uint8 `[ticks, batch, size]` of every input.
        chip: that prices the counts; None: nothing is priced.
        graph: the float network that the program was made of, to run beside it; None: it is not.
        misfit: the limit that the program exceeds; what does not fit has no energy.
        record_membranes: keep current and membrane of every population.
        reset_every: what the program was compiled with, for the float network.
        device: where torch multiplies matrices, "cuda" or "cpu"; None: the event-driven simulator.
        progress: called with the ticks done since it was called last.

    Raises:
        BadInput: the inputs do not fit the program, or the run is too long to hold all of its spikes.
    """
    given = delayed(program, inputs)
    if not given:
        raise BadInput("the program has no input to give spikes to")
    ticks, batch = next(iter(given.values())).shape[:2]
    cells = ticks * batch * sum(p.size for p in program.populations)
    if cells > 2 * LARGEST_BYTES:
        raise BadInput(
            f"{ticks:,} ticks x {batch:,} sequences x {cells // ticks // batch:,} neurons: "
            f"at most {2 * LARGEST_BYTES:,} spikes can be held; run fewer ticks at a time"
        )
    keep = record_membranes or 8 * cells <= _STATES_BYTES
    simulator = Simulator(program, batch) if device is None else _dense(program, batch, device)
    run = _run(simulator, given, keep, progress or (lambda _: None))
    states = (run.current, run.membrane) if keep else (None, None)
    counts = activity.count(program, run.spikes, currents=states[0], membranes=states[1])
    energies, no_energy = _priced(counts, chip, misfit)
    ideal, agreements = None, None
    if graph is not None:
        ideal = interpreter.run(graph, inputs, reset_every=reset_every)
        agreements = agreement(program, *ideal, run.spikes, run.membrane)
    return Simulation(
        program=program,
        input_ticks=ticks - max(p.level for p in program.populations),
        spikes=run.spikes,
        membranes=run.membrane,
        currents=run.current,
        overflows=run.overflows,
        readout_resets=run.readout_resets,
        counts=counts,
        energies=energies,
        no_energy=no_energy,
        ideal=ideal,
        agreements=agreements,
        seconds=run.seconds,
    )


def _dense(program: Program, batch: int, device: str) -> DenseSimulator:
    from muspike.hardware.dense_simulator import DenseSimulator  # torch takes seconds to import

    return DenseSimulator(program, batch, device)


def _priced(counts: activity.Counts, chip: Chip | None, misfit: str | None) -> tuple[tuple[Energy, ...], str | None]:
    if chip is None or misfit:
        return (), misfit or "no chip was named to price it"
    try:
        return energy.price_all(counts, chip), None
    except BadInput as error:  # more cores on a tile than it has, an event without a price: the spikes stand
        return (), str(error)


@dataclass(frozen=True, eq=False)
class _Recorded:
    spikes: dict[str, Array]
    membrane: dict[str, Array]
    current: dict[str, Array]
    overflows: dict[str, int]
    readout_resets: dict[str, int]
    seconds: float


def _run(
    simulator: Simulator | DenseSimulator, given: Mapping[str, Array], keep: bool, progress: Callable[[int], None]
) -> _Recorded:
    """All ticks, some at a time."""
    ticks, batch = next(iter(given.values())).shape[:2]
    at_once = max(1, _CELLS_AT_ONCE // (batch * sum(p.size for p in simulator.program.populations)))
    simulator.run({name: spikes[:1] for name, spikes in given.items()}, keep)  # compiles what the timing leaves out
    simulator.reset()
    recorded: dict[str, dict[str, Array]] = {"spikes": {}, "membrane": {}, "current": {}}
    totals: dict[str, dict[str, int]] = {"overflows": {}, "readout_resets": {}}
    seconds = 0.0
    for start in range(0, ticks, at_once):
        part = slice(start, min(start + at_once, ticks))
        started = time.perf_counter()
        run = simulator.run({name: spikes[part] for name, spikes in given.items()}, keep)
        seconds += time.perf_counter() - started
        for kind, arrays in recorded.items():
            for name, array in getattr(run, kind).items():
                whole = arrays.setdefault(name, np.empty((ticks, *array.shape[1:]), array.dtype))
                whole[part] = array
        for kind, numbers in totals.items():
            for name, number in getattr(run, kind).items():
                numbers[name] = numbers.get(name, 0) + number
        progress(part.stop - part.start)
    return _Recorded(**recorded, **totals, seconds=seconds)  # type: ignore[arg-type]


# --- for programs and for people --------------------------------------------------------------------------------


def arrays(
    program: Program, membranes: Mapping[str, Array], currents: Mapping[str, Array], every: bool
) -> dict[str, Array]:
    """What is written beside the spikes: `<name>.membrane` of each readout, with `<name>.scale`, the chip's membrane
    units per unit of the float membrane; with `every`, these and `<name>.current` of every population."""
    out: dict[str, Array] = {}
    for p in program.populations:
        if p.name in membranes and (every or p.kind == "li"):
            out |= {f"{p.name}.membrane": membranes[p.name], f"{p.name}.scale": p.scale}
        if p.name in currents and every:
            out[f"{p.name}.current"] = currents[p.name]
    return out


def warnings(simulation: Simulation) -> Iterator[str]:
    """What makes the figures other than the chip's."""
    for name, n in simulation.overflows.items():
        if n:
            yield f"{name}: {n:,} sums left the chip's 16-bit accumulator: from there on this is not the chip's run"
    for name, n in simulation.readout_resets.items():
        if n:
            yield f"{name}: a readout whose membrane reached the largest threshold and was reset {n:,} times"


def simulation_dict(simulation: Simulation) -> dict[str, Any]:
    """JSON-able but for infinities; energy (uJ) and time (us) are of the whole run, all sequences one after another."""
    program, ticks, batch = simulation.program, simulation.ticks, simulation.batch
    populations = [_population(simulation, p.name) for p in program.populations]
    found = simulation.agreements
    return {
        "chip": program.chip,
        "program": program.digest,
        "dt_s": program.dt_s,
        "input_ticks": simulation.input_ticks,
        "ticks": ticks,
        "sequences": batch,
        "populations": populations,
        "cores": {name: column.tolist() for name, column in simulation.counts.profile().items()},
        "warnings": list(warnings(simulation)),
        "energy": [_energy(e) for e in simulation.energies],
        "no_energy": simulation.no_energy,
        "agreement": None if found is None else [row.to_dict() for row in found],
        "seconds": simulation.seconds,
        "ticks_per_second": ticks / simulation.seconds,
    }


def _population(simulation: Simulation, name: str) -> dict[str, Any]:
    p = simulation.program.population(name)
    row: dict[str, Any] = {"name": name, "kind": p.kind, "size": p.size, "level": p.level, "spikes": None, "rate": None}
    if name in simulation.spikes:
        spikes = int(np.count_nonzero(simulation.spikes[name]))
        row |= {"spikes": spikes, "rate": spikes / simulation.spikes[name].size}
    counted = {"overflows": simulation.overflows, "readout_resets": simulation.readout_resets}
    return row | {kind: numbers.get(name) for kind, numbers in counted.items()}


def _energy(priced: Energy) -> dict[str, Any]:
    def quantity(value: Quantity, unit: str) -> dict[str, Any]:
        return dict(vars(value.to(unit)))

    return {
        "chip": priced.chip,
        "costs": priced.costs,
        "description": priced.description,
        "boundary": energy.BOUNDARY,
        "chips": priced.chips,
        "total": quantity(priced.total, "uJ"),
        "dynamic": quantity(priced.dynamic, "uJ"),
        "static": quantity(priced.static, "uJ"),
        "latency": quantity(priced.latency, "us"),
        "slowest_tick": quantity(priced.slowest_tick, "us"),
        "bottleneck": dict(vars(priced.bottleneck)),
        "components": [
            {
                "name": row.name,
                "status": row.status,
                "count": row.count,
                "energy": None if row.energy is None else quantity(row.energy, "uJ"),
                "source": row.constant and row.constant.source,
                "note": row.note,
            }
            for row in priced.rows
        ],
        "unbanded": list(priced.unbanded),
        "time_sources": list(priced.time_sources),
    }


def simulation_text(simulation: Simulation) -> str:
    """The same for people."""
    return "\n".join(_lines(simulation))


def _lines(simulation: Simulation) -> Iterator[str]:
    program, ticks, batch = simulation.program, simulation.ticks, simulation.batch
    behind = ticks - simulation.input_ticks
    yield (
        f"{program.chip}: {_many(simulation.input_ticks, 'tick')} of {program.dt_s:g} s"
        + (f" and {behind} more until the deepest population has heard them" if behind else "")
        + f", {_many(batch, 'sequence')}, {program.n_neurons:,} neurons on {_many(program.n_cores, 'core')}"
    )
    yield ""
    rows = [_population(simulation, p.name) for p in program.populations]
    names = ("kind", "level", "size", "spikes", "rate", "overflows", "readout_resets")
    titles = ("population", "kind", "level", "neurons", "spikes", "spikes per neuron and tick", "overflows", "resets")
    yield from table(titles, [[row["name"], *(_cell(row[name]) for name in names)] for row in rows])
    for line in warnings(simulation):
        yield f"WARNING: {line}"
    yield ""
    yield from _cores(simulation.counts)
    yield ""
    yield from _costs(simulation)
    if simulation.agreements is not None:
        yield ""
        yield from agreement_lines(simulation.agreements)
    yield ""
    yield f"simulated {ticks / simulation.seconds:,.0f} ticks of {_many(batch, 'sequence')} per second"


def _cores(counts: activity.Counts) -> Iterator[str]:
    totals = counts.profile()
    rows = [[str(core), *(f"{column[core]:,}" for column in totals.values())] for core in range(len(counts.core_xy))]
    rows.append(["all", *(f"{column.sum():,}" for column in totals.values())])
    yield from table(("core", *totals), rows)


def _costs(simulation: Simulation) -> Iterator[str]:
    if not simulation.energies:
        yield f"no energy: {simulation.no_energy}"
        return
    first, *others = simulation.energies
    batch = simulation.batch
    yield f"modelled on {first.chip}, per sequence, with the cost set {first.costs}: {first.description}"
    yield f"boundary: {energy.BOUNDARY}"
    rows = [
        [
            row.name,
            "–" if row.count is None else f"{row.count / batch:,.0f}",
            *(_band(row.energy / batch, "uJ") if row.energy is not None else (row.status, "", "")),
        ]
        for row in first.rows
    ]
    rows += [[name, "", *_band(getattr(first, name) / batch, "uJ")] for name in ("dynamic", "static", "total")]
    yield from table(("component", "events", "µJ", "band", "tag"), rows)
    value, band, tag = _band(first.latency / batch, "us")
    bottleneck = first.bottleneck
    yield (
        f"latency: {value} µs ({band}, {tag}); it waits for: {bottleneck.resource}, "
        f"{100 * bottleneck.share:.0f} % of the time"
    )
    for other in others:
        (total, total_band, _), (latency, *_) = _band(other.total / batch, "uJ"), _band(other.latency / batch, "us")
        yield f"with the cost set {other.costs}: {total} µJ ({total_band}), {latency} µs"


def _band(quantity: Quantity, unit: str) -> tuple[str, str, str]:
    q = quantity.to(unit)
    band = f"{q.low:.3g} – {q.high:.3g}" + ("" if q.band_known else " or wider")
    return f"{q.value:.4g}", band, q.tag


def agreement_lines(agreements: Agreements) -> Iterator[str]:
    """The integers beside the float network, for people."""
    spiking = [row for row in agreements if isinstance(row, SpikeAgreement)]
    readouts = [row for row in agreements if isinstance(row, ReadoutAgreement)]
    if spiking:
        yield from table(
            ("float against integers", "float spikes", "chip's", "in both", "agreement", "rate change"),
            [
                [
                    row.population,
                    f"{row.float_spikes:,}",
                    f"{row.chip_spikes:,}",
                    f"{row.both:,}",
                    "–" if row.agreement is None else f"{100 * row.agreement:.1f} %",
                    "–" if row.rate_change is None else f"{100 * row.rate_change:+.1f} %",
                ]
                for row in spiking
            ],
        )
    if readouts:
        yield from table(
            ("readout against float", "largest difference", "rms difference", "rms of the float membrane"),
            [
                [
                    row.population,
                    f"{row.largest_difference:.3g}",
                    f"{row.rms_difference:.3g}",
                    f"{row.rms_float:.3g}",
                ]
                for row in readouts
            ],
        )


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
