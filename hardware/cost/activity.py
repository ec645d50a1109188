"""Count what Intel's profiler counts, per core and tick, from recorded spikes and the Program alone.

Nothing is simulated here. A spike of a neuron touches a fixed number of synapses on a fixed set of cores (`plan.Plan`).
So every count is a sum over spikes, and is exact. `account.Account` counts in the same way, and keeps totals only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, mapping, refuse
from muspike.errors import BadInput
from muspike.hardware.cost import kernels
from muspike.hardware.cost.plan import ARRIVING, SENT, Plan, places
from muspike.hardware.program import ChipPopulation, Program
from muspike.hardware.simulator.events import words as as_words
from muspike.hardware.threads import in_threads

Array = npt.NDArray[Any]

NOTHING_SPIKES = "the program has no input and no spiking population: there is nothing to count"
_CELLS_AT_ONCE = 1 << 22  # of counts of several sequences, in float64, beside the result


@dataclass(frozen=True)
class Counts:
    """What happened on each core in each tick. Arrays are int64 `[ticks, batch, cores]` unless said otherwise.

    A neuron has one axon per target core. So a spike becomes one message to each core on which the neuron has stored
    synapses, its own core included.

    A synaptic operation counts in the tick in which it acts, `t + delay`. An axon event (`spikes_in`) counts with the
    first of its synapses. Events that act after the end of the run are not in these arrays but in `pending_synops` and
    `pending_spikes_in`, so arrays plus pending hold every event once.

    Spikes that the host injects are not neuron spikes. They cross no mesh here, because where they enter depends on the
    board. They are counted as `host_messages` (one per target core), which are host input; at the target core they are
    axon events and synaptic operations like any other.

    A graded spike is one message and one operation for each synapse, whatever its value. What carries or multiplies a
    value is counted apart too, because it may cost more.

    Attributes:
        chip: the name of the chip that the program was made for.
        synops: stored synapses touched, zero weights included, except in sparse lists, which store none.
        synops_sparse: the part of `synops` that is stored in sparse lists, without `synops_graded`.
        synops_conv: the part of `synops` that is stored in lists which the axons of a convolution share, without
            `synops_graded`.
        synops_graded: the part of `synops` that graded spikes touch, in lists of any kind.
        neuron_updates: updates of mapped neurons: every neuron in every tick.
        active_updates: updates of a neuron that spikes, or whose current or membrane is not 0 before or after the
            update. Every sequence starts at rest. If `activity_known` is false: all updates.
        neuron_spikes: spikes, by the core of the neuron.
        spikes_in: axon events, by the core on which they arrive.
        spikes_in_graded: the part of `spikes_in` that carries the value of a graded spike.
        messages_out: messages to cores, the own core included, by the core of the neuron.
        hops_x: links between tiles that these messages cross east-west, by the core of the neuron (XY routing).
        hops_y: links that they cross north-south.
        host_messages: messages of the host, `[ticks, batch]`.
        pending_synops: synaptic operations after the end, `[batch, cores]`.
        pending_spikes_in: axon events after the end, `[batch, cores]`.
        ticks: the length of each sequence, `[batch]`. After its length, a sequence is zero in every array.
        core_xy: the place of each core, int32 `[cores, 2]`.
        messages_between: messages of the whole run from each core (row) to each core (column), `[cores, cores]`.
        activity_known: whether membranes were given, so that `active_updates` is exact and not an upper bound.
    """

    chip: str
    synops: Array
    synops_sparse: Array
    synops_conv: Array
    synops_graded: Array
    neuron_updates: Array
    active_updates: Array
    neuron_spikes: Array
    spikes_in: Array
    spikes_in_graded: Array
    messages_out: Array
    hops_x: Array
    hops_y: Array
    host_messages: Array
    pending_synops: Array
    pending_spikes_in: Array
    ticks: Array
    core_xy: Array
    messages_between: Array
    activity_known: bool

    def profile(self) -> dict[str, Array]:
        """The totals of the run for each core, int64 `[cores]`, under the names of Intel's profiler.

        `hops` are the links between tiles that the core's messages crossed, on both axes of the mesh.
        """
        events = {
            "syn_ops": self.synops,
            "dendrite_updates": self.neuron_updates,
            "spikes_in": self.spikes_in,
            "axon_out": self.messages_out,
            "hops": self.hops_x + self.hops_y,
        }
        return {name: array.sum((0, 1)) for name, array in events.items()}

    @classmethod
    def joined(cls, parts: Sequence[Counts], along: Literal["batch", "ticks"] = "batch") -> Counts:
        """Join the counts of several runs, or of several parts of one run.

        Args:
            parts: counts of one program.
            along: "batch": the runs have the same number of ticks, and their sequences are put side by side. "ticks":
                the parts follow one another, as a `Counter` counted them.
        """
        if along == "ticks":
            whole = {name: np.concatenate([getattr(p, name) for p in parts]) for name in _PER_TICK}
            last = {name: getattr(parts[-1], name) for name in _PENDING}
            arrays = whole | last | {"ticks": np.sum([p.ticks for p in parts], axis=0)}
        else:
            arrays = {name: np.concatenate([getattr(p, name) for p in parts], axis=1) for name in _PER_TICK}
            arrays |= {name: np.concatenate([getattr(p, name) for p in parts]) for name in (*_PENDING, "ticks")}
        return cls(
            chip=parts[0].chip,
            **arrays,
            core_xy=parts[0].core_xy,
            messages_between=np.sum([p.messages_between for p in parts], axis=0),
            activity_known=all(p.activity_known for p in parts),
        )

    def totals(self) -> Counts:
        """The same events as if all happened in one tick of one sequence.

        `ticks` then has the number of ticks of all sequences.
        """
        summed = {name: getattr(self, name).sum((0, 1))[None, None] for name in _PER_TICK}
        pending = {name: getattr(self, name).sum(0)[None] for name in _PENDING}
        return replace(self, **summed, **pending, ticks=self.ticks.sum()[None])

    @classmethod
    def summed(cls, parts: Sequence[Counts]) -> Counts:
        """The `totals` of all parts together."""
        return cls.joined([p.totals() for p in parts], "ticks").totals()


_PENDING = ("pending_synops", "pending_spikes_in")
_OF_RUN = ("chip", "ticks", "core_xy", "messages_between", "activity_known")
_PER_TICK = tuple(field.name for field in fields(Counts) if field.name not in (*_PENDING, *_OF_RUN))


def count(
    program: Program,
    spikes: Mapping[str, Array],
    ticks: npt.ArrayLike | None = None,
    *,
    currents: Mapping[str, Array] | None = None,
    membranes: Mapping[str, Array] | None = None,
    active: Mapping[str, Array] | None = None,
) -> Counts:
    """Count the events on each core in each tick.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import Simulator, compile_graph, count
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> program = compile_graph(graph, "loihi1", dt_s=1e-3).program
    >>> run = Simulator(program).run(np.ones((10, 1, 2), np.uint8))
    >>> int(count(program, run.spikes).synops.sum())  # two inputs, nine ticks of which arrive, a synapse each
    18

    Args:
        program: the deployed network.
        spikes: uint8 `[ticks, batch, size]` in chip time, for every `input` and `lif` population; of graded inputs, the
            values as integers.
        ticks: the length of each sequence, `[batch]`, if the batch is padded; None: all are as long as the arrays.
        currents: int32 `[ticks, batch, size]` for every mapped population (`Run.current`). With `currents` and
            `membranes`, active updates are exact; the sequences must start at rest.
        membranes: int32 `[ticks, batch, size]` for every mapped population (`Run.membrane`).
        active: which updates of every mapped population were active (`Run.active`); then neither currents nor membranes
            are needed, and active updates are exact too.

    Raises:
        BadInput: a population's spikes are missing or have another shape, or a length exceeds the run.
    """
    instance("count: program", program, Program, "a Program, such as compile_graph(...).program")
    run_ticks, batch = next(iter(checked_spikes(program, spikes).values())).shape[:2]
    for what, states in (("currents", currents), ("membranes", membranes), ("active", active)):
        if states is not None:
            mapping(f"count: {what}", states, "a dict of arrays by population, as Run has it")
    try:
        lengths = np.full(batch, run_ticks, np.int64) if ticks is None else np.asarray(ticks)
        if lengths.dtype.kind not in "iu":
            raise TypeError
    except (TypeError, ValueError) as error:
        raise refuse("count: ticks", ticks, f"a list of {batch} whole numbers, the length of each sequence") from error
    lengths = lengths.astype(np.int64)
    if lengths.shape != (batch,) or (batch and (lengths.min() < 0 or lengths.max() > run_ticks)):
        raise BadInput(f"ticks: {lengths.tolist()} for {batch} sequences; need a length of 0..{run_ticks} for each")
    return Counter(program, batch, lengths).count(spikes, currents=currents, membranes=membranes, active=active)


class Counter:
    """Counts a run that comes part by part, from rest. Events in flight between two parts are carried over.

    Args:
        program: the deployed network.
        batch: number of sequences.
        ticks: the length of each sequence in all parts together, `[batch]`; None: until the last part ends.
    """

    def __init__(self, program: Program, batch: int = 1, ticks: Array | None = None) -> None:
        self._program = program
        self._plan = Plan([program])
        self._lengths = np.full(batch, np.iinfo(np.int64).max) if ticks is None else ticks
        self._core_xy = np.asarray(program.core_xy, np.int32)
        self._begun = 0
        # Events that arrive after the parts so far, by tick; then events that arrived after the end of their sequence.
        names, cores = self._plan.names, len(self._core_xy)
        self._in_flight = np.zeros((len(names), program.max_delay, batch, cores), np.int64)
        self._too_late = np.zeros((len(names), batch, cores), np.int64)
        self._moved = {p.name: np.zeros((batch, p.size), bool) for p in self._plan.mapped}

    def count(
        self,
        spikes: Mapping[str, Array],
        *,
        currents: Mapping[str, Array] | None = None,
        membranes: Mapping[str, Array] | None = None,
        active: Mapping[str, Array] | None = None,
    ) -> Counts:
        """Count the next ticks. Arguments and errors are as for the function `count`.

        The result's pending events are those after this part. `Counts.joined(parts, "ticks")` gives the counts of the
        whole.
        """
        plan, recorded = self._plan, checked_spikes(self._program, spikes)
        run_ticks, batch = next(iter(recorded.values())).shape[:2]
        lengths = np.clip(self._lengths - self._begun, 0, run_ticks)
        inside = np.arange(run_ticks)[:, None] < lengths  # [ticks, batch]
        if active is not None:
            marked = {p.name: _marks(active, p, (run_ticks, batch)) for p in plan.mapped}
        elif currents is not None and membranes is not None:
            marked = self._active(recorded, currents, membranes, (run_ticks, batch))
        else:
            marked = {}
        counted, fired = self._counted(recorded, marked, lengths)
        # What arrives in flight from the parts before, and in the ticks of this part or after them.
        late = self._program.max_delay
        counted[:, :late] += self._in_flight
        self._begun += run_ticks
        self._in_flight = counted[:, run_ticks:].copy()
        acted = counted[:, :run_ticks] * inside[None, :, :, None]
        self._too_late += (counted[:, :run_ticks] - acted).sum(1)
        pending = dict(zip(plan.names, self._in_flight.sum(1) + self._too_late, strict=True))
        found = dict(zip(plan.names, acted, strict=True))
        neuron_updates = inside[:, :, None] * plan.updates[plan.columns[0]].astype(np.int64)
        return Counts(
            chip=self._program.chip,
            **arriving(found, np.zeros_like(neuron_updates)),
            neuron_updates=neuron_updates,
            active_updates=found["active_updates"] if marked or not plan.mapped else neuron_updates,
            **{name: found[name] for name in SENT if name != "host_messages"},
            host_messages=found["host_messages"].sum(2),
            **waiting(pending, np.zeros_like(self._too_late[0])),
            ticks=lengths,
            core_xy=self._core_xy,
            messages_between=plan.messages(0, fired)[0],
            activity_known=active is not None or (currents is not None and membranes is not None),
        )

    def _counted(
        self, recorded: Mapping[str, Array], marked: Mapping[str, Array], lengths: Array
    ) -> tuple[Array, Array]:
        """The counts of each tick, and of those after the part in which something arrives, int64 `[rows, ticks, batch,
        cores]`; and the spikes of each neuron."""
        plan = self._plan
        ticks, batch = next(iter(recorded.values())).shape[:2]
        after, cores = self._program.max_delay, len(self._core_xy)
        counted = np.zeros((len(plan.names), ticks + after, batch, cores), np.int64)
        fired = np.zeros((batch, plan.neurons), np.int64)
        where, kept = places(recorded, [source.population for source in plan.sources])
        words, kept_words = places(marked, plan.mapped if marked else [])
        shape = ticks + after, len(plan.names), plan.width
        at_once = max(1, _CELLS_AT_ONCE // max(math.prod(shape), 1))

        def work(begin: int, end: int) -> None:
            scratch = plan.scratch(bool(marked))
            for start in range(begin, end, at_once):
                stop = min(start + at_once, end)
                cells = np.zeros((stop - start, *shape))
                kernels.count_ticks(start, stop, lengths, where, words, plan.rows, plan.active, cells, fired, scratch)
                counted[:, :, start:stop] = cells[..., :cores].transpose(2, 1, 0, 3)

        in_threads(batch, ticks, work)
        del kept, kept_words  # the loops knew their addresses
        return counted, fired.sum(0)

    def _active(
        self,
        recorded: Mapping[str, Array],
        currents: Mapping[str, Array],
        membranes: Mapping[str, Array],
        like: tuple[int, int],
    ) -> dict[str, Array]:
        """Which updates were active, as `Run.active` has it, from the states after each tick."""
        found = {}
        for population in self._plan.mapped:
            name = population.name
            u, v = (_state(states, name, population, like) for states in (currents, membranes))
            state = np.concatenate([self._moved[name][None], (u != 0) | (v != 0)])
            self._moved[name] = state[-1].copy()
            moving = state[:-1] | state[1:]
            if population.kind == "lif":
                moving |= recorded[name] != 0
            found[name] = as_words(moving)
        return found


def arriving(found: Mapping[str, Array], none: Array) -> dict[str, Array]:
    """The fields of `Counts` for what arrives, from the rows of a `Plan`; `none` stands for rows that it lacks."""
    of = {name: found.get(name, none) for name in ARRIVING}
    return {
        "synops": of["dense"] + of["sparse"] + of["conv"] + of["graded"],
        "synops_sparse": of["sparse"],
        "synops_conv": of["conv"],
        "synops_graded": of["graded"],
        "spikes_in": of["spikes_in_binary"] + of["spikes_in_graded"],
        "spikes_in_graded": of["spikes_in_graded"],
    }


def waiting(found: Mapping[str, Array], none: Array) -> dict[str, Array]:
    """The fields of `Counts` for what is pending, from the same rows."""
    whole = arriving(found, none)
    return {"pending_synops": whole["synops"], "pending_spikes_in": whole["spikes_in"]}


def checked_spikes(program: Program, spikes: Mapping[str, Array]) -> dict[str, Array]:
    """The spikes of every spiking population. All have the same number of ticks and of sequences."""
    recorded: dict[str, Array] = {}
    mapping("spikes", spikes, "a dict of arrays [ticks, batch, size] by population, as Run.spikes")
    for population in program.populations:
        if population.kind == "li":
            continue
        if population.name not in spikes:
            raise BadInput(f"{population.name}: no spikes recorded; need those of every input and lif population")
        try:
            array = np.asarray(spikes[population.name])
        except ValueError as error:  # lists of unequal length
            wanted = f"an array [ticks, batch, {population.size}]"
            raise refuse(f"{population.name}: spikes", spikes[population.name], wanted) from error
        recorded[population.name] = array
        like = next(iter(recorded.values())).shape[:2]
        if array.ndim != 3 or array.shape[2] != population.size or array.shape[:2] != like:
            raise BadInput(
                f"{population.name}: spikes have shape {array.shape}; need [ticks, batch, {population.size}], "
                "the same ticks and batch for every population"
            )
        if population.graded_bits and array.dtype.kind in "biu":
            if array.size and not 0 <= array.min() <= array.max() <= population.largest_spike:
                bad = array[(array < 0) | (array > population.largest_spike)][0]
                raise BadInput(f"{population.name}: spikes hold {bad}; each is 0 to {population.largest_spike}")
            continue
        if array.dtype.kind not in "biuf":
            raise BadInput(f"{population.name}: spikes are of {array.dtype}; each is 0 or 1")
        if array.size and (array.max() > 1 or array.dtype.kind in "if") and not np.isin(array, (0, 1)).all():
            wrong = array[~np.isin(array, (0, 1))]
            raise BadInput(f"{population.name}: spikes hold {wrong[0]}; each is 0 or 1")
    if not recorded:
        raise BadInput(NOTHING_SPIKES)
    return recorded


def _state(recorded: Mapping[str, Array], name: str, population: ChipPopulation, like: tuple[int, ...]) -> Array:
    if name not in recorded:
        raise BadInput(f"{name}: no state recorded; run the simulator with record_membranes=True")
    state = np.asarray(recorded[name])
    if state.shape != (*like, population.size):
        raise BadInput(
            f"{name}: its recorded state has shape {list(state.shape)}; need that of the run, "
            f"{[*like, population.size]}"
        )
    return state


def _marks(active: Mapping[str, Array], population: ChipPopulation, like: tuple[int, int]) -> Array:
    if population.name not in active:
        raise BadInput(f"{population.name}: no activity recorded; run the simulator with record_activity=True")
    marks = np.asarray(active[population.name])
    wanted = (*like, -(-population.size // 64))
    if marks.shape != wanted or marks.dtype != np.uint64:
        raise BadInput(
            f"{population.name}: its recorded activity is {marks.dtype} {list(marks.shape)}; need that of the run, "
            f"uint64 {list(wanted)}"
        )
    return marks
