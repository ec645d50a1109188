"""Run a network on its chip on given spikes.

The result tells what fired, what each core did, what it costs, and how the chip's spikes follow the float network's, as
data, JSON and text. The run lasts until the deepest population has received the last tick of the input: the input's
ticks plus the largest level.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, mapping, one_of, refuse, whole
from muspike.errors import BadInput, printable
from muspike.hardware import interpreter
from muspike.hardware.chip import Chip, as_chip, load_chip
from muspike.hardware.cost import activity, energy
from muspike.hardware.cost.account import Account
from muspike.hardware.cost.energy import Energy, Meter, Row
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.mapping.compile import Compiled
from muspike.hardware.mapping.fit import use_of
from muspike.hardware.program import Program
from muspike.hardware.readings import READINGS
from muspike.hardware.running.agreement import ReadoutAgreement, SpikeAgreement, agreement
from muspike.hardware.running.merged import Merged
from muspike.hardware.running.report import float_network, graded_inputs, graded_line, reading_lines
from muspike.hardware.running.spikes import LARGEST_BYTES, InputSpikes
from muspike.hardware.running.tick_lengths import what_shorter_ticks_change
from muspike.hardware.simulator.events import Run, Simulator, as_inputs
from muspike.hardware.simulator.kernels import LINE
from muspike.hardware.weights import Conv
from muspike.tables import Table, several, text_table

if TYPE_CHECKING:
    from muspike.hardware.simulator.dense import DenseSimulator

Array = npt.NDArray[Any]
Agreements = tuple[SpikeAgreement | ReadoutAgreement, ...]

# How much is simulated, counted and priced at a time. This bounds the memory that a run takes beside its spikes.
_CELLS_AT_ONCE = 1 << 24  # neurons x sequences x ticks
_DEVICES = ("cpu", "cuda")
_MOST_LINES = 10  # of problems, and of risks, printed at most
_EVENTS = ("overflows", "readout_resets")  # what a run counts beside spikes, by their names in `Run`


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a program did.

    Attributes:
        program: the program.
        input_ticks: ticks of the input.
        ticks: ticks of the run.
        batch: number of sequences.
        run: what the chip did, in chip time: spikes, and membranes of readouts. If asked for: current and membrane of
            every population.
        counts: totals of the run, for each core.
        energies: the cost of the run, one for each cost set of the chip; empty if `no_energy` says why there is none.
        no_energy: why there is no energy; None: there is.
        problems: every limit and register of the chip that the program exceeds, in sentences; None: the program is for
            an unknown chip.
        ideal: spikes and membranes of the float network, as `interpreter.run` gives them; None: it was not run.
        agreements: how the run agrees with the float network; None: it was not run.
        risks: what is known to make the chip's spikes differ from the float network's (`Compiled.risks`): first what
            this run brings, then what rounding does. None for a bare program, which does not tell.
        seconds: time that the simulator took.
        merged: what each input loses, because a neuron spikes at most once in a tick. Empty: nothing is lost, or the
            inputs were given as arrays, which do not tell.
        reads_as: how the float network was read, a key of `READINGS`.
        shorter_ticks: if shorter ticks would keep events apart that were merged: what they mean to the network, in
            sentences.
    """

    program: Program
    input_ticks: int
    ticks: int
    batch: int
    run: Run
    counts: activity.Counts
    energies: tuple[Energy, ...]
    no_energy: str | None
    problems: tuple[str, ...] | None
    ideal: tuple[Mapping[str, Array], Mapping[str, Array]] | None
    agreements: Agreements | None
    risks: tuple[str, ...] | None
    seconds: float
    merged: tuple[Merged, ...] = ()
    reads_as: str = "nir"
    shorter_ticks: tuple[str, ...] = ()

    def ideal_ticks(self, name: str) -> slice:
        """The ticks of the run in which a population answers to the ticks of the input."""
        level = self.program.population(name).level
        return slice(level, level + self.input_ticks)


def input_shapes(network: SpikingGraph | Program) -> dict[str, tuple[int, ...]]:
    """The shape of each input, by name.

    A graph's inputs have a shape. An input of a program has the shape that a convolution reads it in, else its size.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph, input_shapes
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> input_shapes(compile_graph(graph, "loihi1", dt_s=1e-3).program)
    {'input': (2,)}
    """
    instance("input_shapes: network", network, (SpikingGraph, Program), "a SpikingGraph or a Program")
    if isinstance(network, SpikingGraph):
        return {p.name: p.shape for p in network.populations if p.kind == "input"}
    heard = {s.source: s.weight.input_shape for s in network.synapses if isinstance(s.weight, Conv)}
    return {p.name: heard.get(p.name, (p.size,)) for p in network.inputs}


def given_to(program: Program, given: InputSpikes) -> dict[str, Array]:
    """What `simulate` takes as inputs: of a graded input the counts of events if there are any, else its spikes."""
    counts: Mapping[str, Array] = given.counts or {}
    graded = graded_inputs(program)
    return {name: counts.get(name, fired) if name in graded else fired for name, fired in given.spikes.items()}


def deepest(program: Program) -> int:
    """The ticks by which a run is longer than its input: until the deepest population has received all of it."""
    return max(p.level for p in program.populations)


def delayed(program: Program, inputs: Mapping[str, Array], ticks: int | None = None) -> Array:
    """The inputs side by side, `[ticks, batch, size]`, followed by as many silent ticks as `deepest` says.

    They are uint8, or uint16 if an input is graded.

    Args:
        ticks: number of ticks for a program without inputs.

    Raises:
        BadInput: an input is missing or has another shape; or the program has no inputs and no ticks are given.
    """
    if not program.inputs:
        if not ticks:
            raise BadInput("the program has no input: how many ticks it is to run must be given")
        return np.zeros((ticks + deepest(program), 1, 0), np.uint8)
    batch = next((a.shape[1] for a in inputs.values() if isinstance(a, np.ndarray) and a.ndim == 3), 1)
    _, given = as_inputs(program, batch, inputs)
    joined = np.concatenate([given[p.name] for p in program.inputs], axis=2)
    return np.pad(joined, ((0, deepest(program)), (0, 0), (0, 0)))


def simulate(
    network: Compiled | Program,
    inputs: Mapping[str, Array] | InputSpikes,
    chip: Chip | str | os.PathLike[str] | None = None,
    *,
    beside_float: bool = True,
    reads_as: str = "nir",
    ticks: int | None = None,
    record_membranes: bool = False,
    device: str | None = None,
    progress: Callable[[int], object] | None = None,
    watch: Callable[[Run], object] | None = None,
) -> Simulation:
    """Run a network on its chip, from silence, on spikes; count, price and compare.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph, simulate
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> spikes = {"input": np.ones((10, 1, 2), np.uint8)}
    >>> found = simulate(compile_graph(graph, "loihi1", dt_s=1e-3), spikes)
    >>> int(found.run.spikes["if"].sum())  # both neurons, in each of the ten ticks
    20
    >>> found.energies[0].total.to("uJ").tag
    'assumed'

    A network or program that does not fit its chip is run but not priced; so is a program for an unknown chip.

    Args:
        network: a network as `compile_graph` gives it, or a program alone.
        inputs: uint8 `[ticks, batch, size]` for every input, by name, or whole numbers of at most `graded_bits` bits
            for an input that has them (`compile_graph(..., graded=True)`); or what `read_spikes` gives, which also
            tells what was merged, and has the counts for a float network that is read with counts.
        chip: the chip that a program is held against (`use_of`) and that prices it: a `Chip`, the name of a known one,
            or the path of its TOML file. None: the known chip that the program names. A compiled network has its own
            chip, and no other can be given.
        beside_float: whether to run the float network of a compiled network too. A program has none.
        reads_as: how the float network fires and resets, a key of `READINGS`: as NIR says, which is what the chip does,
            or as the tool that trained it, so that the comparison shows what is lost against that.
        ticks: number of ticks for a program without inputs.
        record_membranes: whether to keep current and membrane of every population.
        device: where torch multiplies matrices, "cuda" or "cpu"; None: the event-driven simulator.
        progress: called with the number of ticks done since its last call: first all ticks of the chip, then those of
            the float network, which are `deepest` fewer.
        watch: called with each part of the chip's run in turn, with all its membranes. These are not kept, so that the
            run may be long.

    Raises:
        BadInput: the inputs do not fit the program; the run is too long to hold all its spikes; there is no such chip,
            device or reading; the network has no meaning in that reading; or another chip is given than the one that
            the network was made for.
    """
    if not isinstance(network, Compiled | Program):
        raise BadInput(f"simulate: {type(network).__name__} cannot run; compile_graph makes a network of a graph")
    compiled, program = (network, network.program) if isinstance(network, Compiled) else (None, network)
    chip = None if chip is None else as_chip(chip)
    if compiled and chip and chip != compiled.chip:
        raise BadInput(f"simulate: chip {chip.name} is given for a network that is compiled for {compiled.chip.name}")
    if device is not None:
        one_of("simulate: device", device, _DEVICES)
    one_of("simulate: reads_as", reads_as, READINGS)
    if ticks is not None:
        ticks = whole("simulate: ticks", ticks, 1)
    if progress is not None and not callable(progress):
        raise refuse("simulate: progress", progress, "a function of a number of ticks, or None")
    if watch is not None and not callable(watch):
        raise refuse("simulate: watch", watch, "a function of a part of the run, or None")
    merged: tuple[Merged, ...] = ()
    given_counts: Mapping[str, Array] | None = None
    if isinstance(inputs, InputSpikes):
        graded = graded_inputs(program)
        merged = tuple(of for of in inputs.merged if of.input not in graded)  # a graded input carries its counts
        given_counts, inputs = inputs.counts, given_to(program, inputs)
    elif program.inputs:
        mapping("simulate: inputs", inputs, "a dict of arrays [ticks, batch, size] by the name of the input")
    if chip and chip.name != program.chip:
        raise BadInput(f"simulate: chip {chip.name} is given for a program for {program.chip}")
    given = delayed(program, inputs, ticks)
    run_ticks, batch, _ = given.shape
    input_ticks = run_ticks - deepest(program)
    if not input_ticks:
        raise BadInput("simulate: the inputs have 0 ticks; expected at least one")
    beside = compiled if beside_float else None
    reading = READINGS[reads_as]
    _check_memory(program, run_ticks, batch, record_membranes, beside is not None, 2 if reading.counts else 1)
    meters, no_energy, problems = _meters(compiled, program, chip)
    simulator = Simulator(program, batch) if device is None else _dense(program, batch, device)
    run, counts, seconds = _run(simulator, given, record_membranes, meters, progress or (lambda _: None), watch)
    apart = any(of.lengths is not None and of.lengths.apart_s is not None for of in merged)
    energies: tuple[Energy, ...] = ()
    try:
        energies = tuple(meter.energy() for meter in meters)
    except BadInput as error:  # an event without a price; the spikes are valid
        no_energy = str(error)
    ideal, agreements = None, None
    if beside:
        whole_input = given_counts if given_counts is not None and reading.counts else inputs
        shown: Array | Mapping[str, Array] = whole_input if program.inputs else given[:input_ticks]
        ideal = interpreter.run(
            beside.graph,
            shown,
            reset_every=beside.reset_every,
            progress=progress,
            reading=reading,
            graded=graded_inputs(program),
        )
        agreements = agreement(program, *ideal, run.spikes, run.membrane)
    return Simulation(
        program=program,
        input_ticks=input_ticks,
        ticks=run_ticks,
        batch=batch,
        run=run,
        counts=counts,
        energies=energies,
        no_energy=no_energy,
        problems=problems,
        ideal=ideal,
        agreements=agreements,
        risks=_risks(compiled) if compiled else None,
        seconds=seconds,
        merged=merged,
        reads_as=reads_as,
        shorter_ticks=tuple(what_shorter_ticks_change(compiled.graph if compiled else None)) if apart else (),
    )


def _check_memory(
    program: Program, ticks: int, batch: int, record_membranes: bool, with_float: bool, bytes_per_count: int
) -> None:
    neurons, readouts = program.n_neurons, sum(p.size for p in program.readouts)
    inputs = sum(p.size * (2 if p.graded_bits else 1) for p in program.inputs)  # bytes of a tick
    spiking = neurons - readouts
    states = 8 * neurons if record_membranes else 4 * readouts  # int32 u and v, or v alone
    kept = inputs + spiking + states + (bytes_per_count * (inputs + spiking) + 8 * readouts if with_float else 0)
    together = neurons + sum(p.size for p in program.inputs)
    working = 4 * neurons * (program.max_delay + 3) + together * program.max_delay // 8  # states, pending input, spikes
    run = f"{ticks:,} ticks x {batch:,} sequences x {together:,} neurons on {program.n_cores:,} cores"
    most = f"{2 * LARGEST_BYTES:,} bytes can be held"
    if batch * working > 2 * LARGEST_BYTES:
        raise BadInput(f"{run}: {batch * working:,} bytes for one tick, at most {most}; run fewer sequences at a time")
    if ticks * batch * kept > 2 * LARGEST_BYTES:
        without = [what for what, there in (("membranes", record_membranes), ("float network", with_float)) if there]
        raise BadInput(
            f"{run}: {ticks * batch * kept:,} bytes of spikes and membranes, at most {most}; run fewer ticks or "
            "sequences at a time" + (f", or without {' and '.join(without)}" if without else "")
        )


def _dense(program: Program, batch: int, device: str) -> DenseSimulator:
    from muspike.hardware.simulator.dense import DenseSimulator  # importing torch takes seconds

    return DenseSimulator(program, batch, device)


def _meters(
    compiled: Compiled | None, program: Program, chip: Chip | None
) -> tuple[tuple[Meter, ...], str | None, tuple[str, ...] | None]:
    """The meters that price the run, why there are none (else None), and what exceeds the chip (`Simulation`)."""
    try:
        chip = compiled.chip if compiled else chip or load_chip(program.chip)
    except BadInput as error:  # no such chip; the spikes are valid
        return (), str(error), None
    use = compiled.use if compiled else use_of(program, chip)
    return () if use.misfit else energy.meters(program.core_xy, chip), use.misfit, use.problems


def _risks(compiled: Compiled) -> tuple[str, ...]:
    # The risks of the run come first: those of quantisation are many, and `map` shows them beside their causes.
    return tuple(sorted(compiled.risks, key=set(compiled.quantisation.risks).__contains__))


def _run(
    simulator: Simulator | DenseSimulator,
    given: Array,
    record_membranes: bool,
    meters: Sequence[Meter],
    progress: Callable[[int], object],
    watch: Callable[[Run], object] | None = None,
) -> tuple[Run, activity.Counts, float]:
    """Run all ticks, some at a time; each part is counted and priced before the next one.

    Returns:
        The run, its counts, and the seconds that the simulator took.
    """
    program, (ticks, batch, _) = simulator.program, given.shape
    width = sum(-(-p.size // LINE) * LINE for p in program.populations)  # width of the simulator's arrays
    at_once = max(1, _CELLS_AT_ONCE // (batch * width))
    every = record_membranes or watch is not None
    readouts = {p.name for p in program.readouts}
    simulator.run(given[:1], every, record_activity=True)  # compiles the loops before they are timed
    simulator.reset()
    account = Account([program], [meters], batch)
    recorded: dict[str, dict[str, Array]] = {"spikes": {}, "membrane": {}, "current": {}}
    totals: dict[str, dict[str, int]] = {"overflows": {}, "readout_resets": {}}
    seconds = 0.0
    for start in range(0, ticks, at_once):
        part = slice(start, min(start + at_once, ticks))
        started = time.perf_counter()
        run = simulator.run(given[part], every, record_activity=True)
        seconds += time.perf_counter() - started
        if watch is not None:
            watch(run)
        account.add(run.spikes, run.active)
        for kind, arrays in recorded.items():
            for name, array in getattr(run, kind).items():
                if kind == "spikes" or record_membranes or (kind == "membrane" and name in readouts):
                    whole = arrays.setdefault(name, np.empty((ticks, *array.shape[1:]), array.dtype))
                    whole[part] = array
        for kind, numbers in totals.items():
            for name, number in getattr(run, kind).items():
                numbers[name] = numbers.get(name, 0) + number
        progress(part.stop - part.start)
    return Run(**recorded, **totals), account.totals[0], seconds  # type: ignore[arg-type]


# --- for programs and for people --------------------------------------------------------------------------------


def arrays(
    program: Program, membranes: Mapping[str, Array], currents: Mapping[str, Array], every: bool
) -> dict[str, Array]:
    """The arrays that are written beside the spikes, by name.

    They are `<name>.membrane` of each readout, and `<name>.scale`: the chip's membrane units per unit of the float
    membrane. With `every`, they are these arrays and `<name>.current` of every population.
    """
    out: dict[str, Array] = {}
    for p in program.populations:
        if p.name in membranes and (every or p.kind == "li"):
            out |= {f"{p.name}.membrane": membranes[p.name], f"{p.name}.scale": p.scale}
        if p.name in currents and every:
            out[f"{p.name}.current"] = currents[p.name]
    return out


def warnings(simulation: Simulation) -> Iterator[str]:
    """A sentence for each reason why the run's figures are not those of the chip: events, and costs that do not fit."""
    for name, n in simulation.run.overflows.items():
        if n:
            yield f"{name}: {n:,} sums left the chip's 16-bit accumulator: from then on the chip would differ"
    for name, n in simulation.run.readout_resets.items():
        if n:
            yield f"{name}: a readout whose membrane reached the largest threshold and was reset {n:,} times"
    for cost in simulation.energies:
        yield from cost.warnings


def simulation_dict(simulation: Simulation) -> dict[str, Any]:
    """The result as a dict, JSON-able apart from infinities.

    Every figure says in its name, or in that of what holds it, what it is per. `ticks_per_second` counts the ticks that
    the simulator did for all sequences at once; `sequence_ticks_per_second` is their product with the number of
    sequences. The spikes per neuron and tick are those of the ticks in which the population answers to the input, which
    start at its level.
    """
    program, ticks, batch = simulation.program, simulation.ticks, simulation.batch
    populations = [_population(simulation, p.name) for p in program.populations]
    found = simulation.agreements
    return {
        "chip": program.chip,
        "program": program.digest,
        "dt_s": program.dt_s,
        "graded_bits_of_inputs": graded_inputs(program),
        "input_ticks": simulation.input_ticks,
        "ticks": ticks,
        "sequences": batch,
        **inputs_dict(simulation),
        "populations": populations,
        "cores_in_all_sequences": {name: column.tolist() for name, column in simulation.counts.profile().items()},
        "warnings": list(warnings(simulation)),
        "risks": None if simulation.risks is None else list(simulation.risks),
        "energy": [
            e.to_dict(batch, "sequence") | {"components": [row.to_dict(batch, "sequence") for row in shown_rows(e)]}
            for e in simulation.energies
        ],
        "no_energy": simulation.no_energy,
        "problems": None if simulation.problems is None else list(simulation.problems),
        "reads_as": None if simulation.ideal is None else simulation.reads_as,
        "agreement_in_all_sequences": None if found is None else [row.to_dict() for row in found],
        "seconds": simulation.seconds,
        "ticks_per_second": ticks / simulation.seconds,
        "sequence_ticks_per_second": batch * ticks / simulation.seconds,
    }


def _population(simulation: Simulation, name: str) -> dict[str, Any]:
    p = simulation.program.population(name)
    row: dict[str, Any] = {"name": name, "kind": p.kind, "size": p.size, "level": p.level}
    row |= {"spikes_in_all_sequences": None, "spikes_per_neuron_and_tick": None}
    if name in simulation.run.spikes:
        fired = simulation.run.spikes[name]
        answered = fired[simulation.ideal_ticks(name)]
        row["spikes_in_all_sequences"] = int(np.count_nonzero(fired))
        row["spikes_per_neuron_and_tick"] = np.count_nonzero(answered) / answered.size
    return row | {f"{kind}_in_all_sequences": getattr(simulation.run, kind).get(name) for kind in _EVENTS}


def shown_rows(priced: Energy) -> Iterator[Row]:
    """All rows, except unpriced rows without events: those are what a host would do, if there were one."""
    return (row for row in priced.rows if row.status != "unpriced" or row.count)


def simulation_text(simulation: Simulation) -> str:
    """The same as text."""
    return "\n".join(_lines(simulation))


def _lines(simulation: Simulation) -> Iterator[str]:
    program, ticks, batch = simulation.program, simulation.ticks, simulation.batch
    behind = ticks - simulation.input_ticks
    yield (
        f"{program.chip}: {several(simulation.input_ticks, 'tick')} of {program.dt_s:g} s"
        + (f" and {behind} more until the deepest population has received them" if behind else "")
        + f", {several(batch, 'sequence')}, {program.n_neurons:,} neurons on {several(program.n_cores, 'core')}"
    )
    yield from input_lines(simulation)
    if simulation.ideal is not None:
        yield from reading_lines(simulation.reads_as)
    if told := graded_line(program):
        yield printable(told)
    if simulation.batch > simulation.input_ticks:
        length = several(simulation.input_ticks, "tick")
        yield f"{several(batch, 'sequence')} of {length}: spikes are [ticks, batch, size]"
    yield ""
    populations = populations_table(simulation)
    yield f"{populations.caption}:"
    yield from populations.lines()
    for line in warnings(simulation):
        yield f"WARNING: {printable(line)}"
    yield from first_lines("problem", simulation.problems or ())
    yield from first_lines("risk", simulation.risks or ())
    yield ""
    cores = core_events_table(simulation)
    yield f"{cores.caption}:"
    yield from cores.lines()
    yield ""
    yield from _costs(simulation)
    if simulation.agreements is not None:
        yield ""
        yield from agreement_lines(simulation)
    yield ""
    speed = ticks / simulation.seconds
    at_once = f" of {batch:,} sequences at once, {batch * speed:,.0f} ticks of a sequence" if batch > 1 else ""
    yield f"simulated {speed:,.0f} ticks per second{at_once}"


def first_lines(title: str, sentences: Sequence[str]) -> Iterator[str]:
    """A line for each of the first sentences, and one that says how many more there are."""
    yield from (f"{title}: {printable(line)}" for line in sentences[:_MOST_LINES])
    if len(sentences) > _MOST_LINES:
        yield f"{title}: {len(sentences) - _MOST_LINES:,} more, which --json lists"


def input_lines(simulation: Simulation) -> Iterator[str]:
    """What the inputs lose, for people: a report says it before anything that it bears on."""
    yield from (f"WARNING: {printable(merged.told)}" for merged in simulation.merged)
    yield from (printable(merged.remedy) for merged in simulation.merged)
    yield from simulation.shorter_ticks


def inputs_dict(simulation: Simulation) -> dict[str, Any]:
    """The same as a JSON-able dict."""
    return {
        "merged_inputs": [merged.to_dict() for merged in simulation.merged],
        "shorter_ticks": list(simulation.shorter_ticks),
    }


def populations_table(simulation: Simulation) -> Table:
    """What each population did."""
    behind = simulation.ticks - simulation.input_ticks
    rows = [_population(simulation, p.name) for p in simulation.program.populations]
    of_run = "spikes" if not behind else "spikes in the\nwhole run"
    titles = ("population", "kind", "neurons", "level", of_run, "spikes per\nneuron and tick", "overflows", "resets")
    since = " from the population's level on" if behind else ""
    caption = (
        f"on the chip: spikes, overflows and resets of {_whole_run(simulation)}; rates of the "
        f"{several(simulation.input_ticks, 'tick')}{since} that answer to the input"
    )
    return Table(caption, titles, [[row["name"], *map(_cell, list(row.values())[1:])] for row in rows])


def core_events_table(simulation: Simulation) -> Table:
    """What each core did, under the names of Intel's profiler."""
    counts = simulation.counts
    totals = counts.profile()
    rows = [[str(core), *(f"{column[core]:,}" for column in totals.values())] for core in range(len(counts.core_xy))]
    rows.append(["all", *(f"{column.sum():,}" for column in totals.values())])
    return Table(f"cores: events of {_whole_run(simulation)}", ("core", *totals), rows)


def _whole_run(simulation: Simulation) -> str:
    together = f", {several(simulation.batch, 'sequence')} together" if simulation.batch > 1 else ""
    return f"the whole run ({several(simulation.ticks, 'tick')}{together})"


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
        for row in shown_rows(first)
    ]
    rows += [[name, "", *_band(getattr(first, name) / batch, "uJ")] for name in ("dynamic", "static", "total")]
    yield from text_table(("component", "events", "µJ", "band", "tag"), rows)
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
    return f"{q.value:.4g}", q.band, q.tag


def agreement_lines(simulation: Simulation) -> Iterator[str]:
    """Tables, for people, of how the integers agree with the float network."""
    for table in agreement_tables(simulation):
        yield f"{table.caption}:"
        yield from table.lines()


def agreement_tables(simulation: Simulation) -> Iterator[Table]:
    """How the integers agree with the float network: a table of what spikes, and one of readouts."""
    agreements = simulation.agreements or ()
    name = float_network(simulation.reads_as).removeprefix("the ")
    spiking = [row for row in agreements if isinstance(row, SpikeAgreement)]
    readouts = [row for row in agreements if isinstance(row, ReadoutAgreement)]
    if spiking:
        yield Table(
            f"{name.removesuffix(' network')} against integers: spikes of the ticks that answer to the input, all "
            "sequences together",
            (
                "population",
                "float network's\nspikes",
                "chip's spikes\nin these ticks",
                "in both",
                "agreement",
                "rate change",
                "same winner",
            ),
            [
                [
                    row.population,
                    f"{row.float_spikes:,}",
                    f"{row.chip_spikes:,}",
                    f"{row.both:,}",
                    "–" if row.agreement is None else f"{100 * row.agreement:.1f} %",
                    "–" if row.rate_change is None else f"{100 * row.rate_change:+.1f} %",
                    f"{row.same_winner:,} of {row.sequences:,}",
                ]
                for row in spiking
            ],
        )
    if readouts:
        yield Table(
            "readouts against float: membranes in units of yours, over neurons, ticks and sequences",
            ("population", "largest difference", "rms difference", "rms of the float membrane"),
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


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
