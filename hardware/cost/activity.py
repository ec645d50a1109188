"""Count what Intel's profiler counts, per core and tick, from recorded spikes and the Program alone.

Nothing is simulated here. A spike of a neuron touches a fixed number of synapses on a fixed set of cores. So every
count is a matrix product of the spikes with a matrix that depends on the Program only, and is exact. These matrices are
sparse `[source neuron, core]`; no matrix of weights is made dense, and no convolution is unrolled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array, csr_array, hstack

from muspike.arguments import instance, mapping, refuse
from muspike.errors import BadInput
from muspike.hardware.graph import by_end
from muspike.hardware.program import ChipPopulation, ChipSynapses, Layout, Program
from muspike.hardware.weights import Conv, Sparse

Array = npt.NDArray[Any]

# Rows of (tick, sequence) multiplied at once. This bounds the float copy of the spikes to some 100 MB.
_ROWS_AT_ONCE = 1 << 15
# BLAS multiplies a matrix of at most so many entries. A larger matrix stays sparse.
_DENSE_ENTRIES = 1 << 20
_LAYOUTS: tuple[Layout, ...] = get_args(Layout)
# What arrives on a core: synaptic operations by layout, those of graded spikes, axon events, the graded ones of these.
_ARRIVING = (*_LAYOUTS, "graded", "spikes_in", "spikes_in_graded")
_GRADED, _SPIKES_IN, _SPIKES_IN_GRADED = (_ARRIVING.index(name) for name in _ARRIVING[-3:])


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
) -> Counts:
    """Count the events on each core in each tick.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import Simulator, compile_graph, count
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> program = compile_graph(graph, "loihi1", dt_s=1e-3).program
    >>> run = Simulator(program).run(np.ones((10, 1, 2), np.uint8))
    >>> int(count(program, run.spikes).synops.sum())  # two inputs, nine ticks of which arrive, two synapses each
    36

    Args:
        program: the deployed network.
        spikes: uint8 `[ticks, batch, size]` in chip time, for every `input` and `lif` population; of graded inputs, the
            values as integers.
        ticks: the length of each sequence, `[batch]`, if the batch is padded; None: all are as long as the arrays.
        currents: int32 `[ticks, batch, size]` for every mapped population (`Run.current`). With `currents` and
            `membranes`, active updates are exact; the sequences must start at rest.
        membranes: int32 `[ticks, batch, size]` for every mapped population (`Run.membrane`).

    Raises:
        BadInput: a population's spikes are missing or have another shape, or a length exceeds the run.
    """
    instance("count: program", program, Program, "a Program, such as compile_graph(...).program")
    run_ticks, batch = next(iter(_checked(program, spikes).values())).shape[:2]
    for what, states in (("currents", currents), ("membranes", membranes)):
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
    return Counter(program, batch, lengths).count(spikes, currents=currents, membranes=membranes)


class Counter:
    """Counts a run that comes part by part, from rest. Events in flight between two parts are carried over.

    Args:
        program: the deployed network.
        batch: number of sequences.
        ticks: the length of each sequence in all parts together, `[batch]`; None: until the last part ends.
    """

    def __init__(self, program: Program, batch: int = 1, ticks: Array | None = None) -> None:
        self._program = program
        self._lengths = np.full(batch, np.iinfo(np.int64).max) if ticks is None else ticks
        self._core_xy = np.asarray(program.core_xy, np.int32)
        cores = len(self._core_xy)
        leaving = by_end(program.synapses, "source")
        self._ways = [_ways(program, p, leaving[p.name], self._core_xy) for p in program.populations if p.kind != "li"]
        self._mapped = {p.name: _on_core(p, cores) for p in program.populations if p.kind != "input"}
        self._begun = 0
        # Events that arrive after the parts so far, by tick; then events that arrived after the end of their sequence.
        self._in_flight = np.zeros((len(_ARRIVING), program.max_delay, batch, cores), np.int64)
        self._too_late = np.zeros((len(_ARRIVING), batch, cores), np.int64)
        self._moved = {name: np.zeros((batch, on_core.shape[0]), bool) for name, on_core in self._mapped.items()}

    def count(
        self,
        spikes: Mapping[str, Array],
        *,
        currents: Mapping[str, Array] | None = None,
        membranes: Mapping[str, Array] | None = None,
    ) -> Counts:
        """Count the next ticks. Arguments and errors are as for the function `count`.

        The result's pending events are those after this part. `Counts.joined(parts, "ticks")` gives the counts of the
        whole.
        """
        recorded = _checked(self._program, spikes)
        run_ticks, batch = next(iter(recorded.values())).shape[:2]
        cores = len(self._core_xy)
        lengths = np.clip(self._lengths - self._begun, 0, run_ticks)
        inside = np.arange(run_ticks)[:, None] < lengths  # [ticks, batch]

        # Counted in the tick of the spike, by the core of the neuron: spikes, messages, hops x, hops y.
        sent = np.zeros((4, run_ticks, batch, cores), np.int64)
        # Counted in the tick of arrival, by the target core.
        arrived = np.zeros((len(_ARRIVING), run_ticks + self._program.max_delay, batch, cores), np.int64)
        arrived[:, : self._program.max_delay] = self._in_flight
        host_messages = np.zeros((run_ticks, batch), np.int64)
        messages_between = np.zeros((cores, cores), np.int64)
        for ways in self._ways:
            fired = (recorded[ways.source.name] != 0) & inside[:, :, None]
            for delay, kind, fan_out, first in ways.arrivals:
                synops, spikes_in = _product(fired, [fan_out, first])
                arrived[kind, delay : delay + run_ticks] += synops
                arrived[_SPIKES_IN, delay : delay + run_ticks] += spikes_in
                if kind == _GRADED:
                    arrived[_SPIKES_IN_GRADED, delay : delay + run_ticks] += spikes_in
            if ways.source.kind == "input":
                host_messages += _product(fired, ways.per_spike)[0, :, :, 0]
            else:
                on_core = _on_core(ways.source, cores, fired.sum((0, 1)))
                messages_between += (on_core.T @ ways.reached).toarray()
                sent += _product(fired, ways.per_spike)

        neuron_updates = inside[:, :, None] * sum((m.sum(0) for m in self._mapped.values()), np.zeros(cores, np.int64))
        known = currents is not None and membranes is not None
        active = neuron_updates
        if currents is not None and membranes is not None:
            active = np.zeros_like(neuron_updates)
            for name, on_core in self._mapped.items():
                population = self._program.population(name)
                like = (run_ticks, batch)
                u, v = (_state(states, name, population, like) for states in (currents, membranes))
                after = (u != 0) | (v != 0)
                state = np.concatenate([self._moved[name][None], after])
                self._moved[name] = state[-1].copy()
                moving = state[:-1] | state[1:]
                if population.kind == "lif":
                    moving |= recorded[name] != 0
                active += _product(moving & inside[:, :, None], [on_core])[0]

        self._begun += run_ticks
        self._in_flight = arrived[:, run_ticks:].copy()
        acted = arrived[:, :run_ticks] * inside[None, :, :, None]
        self._too_late += (arrived[:, :run_ticks] - acted).sum(1)
        pending = self._in_flight.sum(1) + self._too_late
        synops_of = acted[:_SPIKES_IN]
        return Counts(
            chip=self._program.chip,
            synops=np.sum(synops_of, axis=0),
            synops_sparse=synops_of[_LAYOUTS.index("sparse")],
            synops_conv=synops_of[_LAYOUTS.index("conv")],
            synops_graded=synops_of[_GRADED],
            neuron_updates=neuron_updates,
            active_updates=active,
            neuron_spikes=sent[0],
            spikes_in=acted[_SPIKES_IN],
            spikes_in_graded=acted[_SPIKES_IN_GRADED],
            messages_out=sent[1],
            hops_x=sent[2],
            hops_y=sent[3],
            host_messages=host_messages,
            pending_synops=pending[:_SPIKES_IN].sum(0),
            pending_spikes_in=pending[_SPIKES_IN],
            ticks=lengths,
            core_xy=self._core_xy,
            messages_between=messages_between,
            activity_known=known,
        )


@dataclass(frozen=True, eq=False)
class _Ways:
    """What a spike of each neuron of `source` causes, as matrices `[size, cores]`.

    Attributes:
        source: the population that spikes.
        arrivals: for each group of synapses: delay, index in `_ARRIVING` of its operations, synapses touched, and axon
            events.
        reached: 1 if there is a message from the neuron to the core.
        per_spike: if the source is an input: the host's messages, `[size, 1]`. Else, on the neuron's own core: spikes,
            messages, hops x and hops y.
    """

    source: ChipPopulation
    arrivals: tuple[tuple[int, int, Any, Any], ...]
    reached: Any
    per_spike: tuple[Any, ...]


def _ways(program: Program, source: ChipPopulation, leaving: Sequence[ChipSynapses], core_xy: Array) -> _Ways:
    cores = len(core_xy)
    arrivals = []
    reached = csr_array((source.size, cores), dtype=np.int64)
    for synapses in sorted(leaving, key=lambda synapses: synapses.delay):
        fan_out = _fan_out(synapses, program.population(synapses.target), cores)
        present = fan_out.sign()
        first = present - present.multiply(reached)
        reached = reached + first
        kind = _GRADED if source.graded_bits else _LAYOUTS.index(synapses.layout)
        arrivals.append((synapses.delay, kind, fan_out, first))
    messages = reached.sum(1)
    if source.kind == "input":
        return _Ways(source, tuple(arrivals), reached, (csr_array(messages[:, None]),))
    numbers = (np.ones_like(messages), messages, *_hops(source, reached, core_xy))
    return _Ways(source, tuple(arrivals), reached, tuple(_on_core(source, cores, number) for number in numbers))


def _checked(program: Program, spikes: Mapping[str, Array]) -> dict[str, Array]:
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
        raise BadInput("the program has no input and no spiking population: there is nothing to count")
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


def _on_core(population: ChipPopulation, cores: int, number: Array | None = None) -> Any:
    """Place a number (default: 1) for each neuron on the neuron's core: SciPy's `csr_array` `[size, cores]`.

    Neurons of the host have no core and so no entry.
    """
    core = np.asarray(population.core)
    mapped = core >= 0
    number = np.ones(population.size, np.int64) if number is None else number
    starts = np.concatenate([[0], np.cumsum(mapped)])
    return csr_array((number[mapped], core[mapped], starts), shape=(population.size, cores))


def _fan_out(synapses: ChipSynapses, target: ChipPopulation, cores: int) -> Any:
    """The number of stored synapses of each source neuron on each core: `csr_array` `[source, cores]` of int64."""
    weight = synapses.weight
    if isinstance(weight, Conv):
        return _conv_fan_out(weight, np.asarray(target.core), cores)
    on_core = _on_core(target, cores)
    if synapses.layout == "dense":
        return csr_array(np.ones((weight.shape[1], 1), np.int64)) @ csr_array(on_core.sum(0)[None])
    if not isinstance(weight, Sparse):  # float32 is exact below 2^24, and BLAS multiplies it
        stored = (weight != 0).T.astype(np.float32)
        return csr_array((stored @ on_core.toarray().astype(np.float32)).astype(np.int64))
    present = (weight.values != 0).astype(np.int64)
    return csc_array((present, weight.targets, weight.starts), shape=weight.shape).T @ on_core


def _conv_fan_out(conv: Conv, core: Array, cores: int) -> Any:
    """`_fan_out` of a convolution: the number of taps that land on each core, zero weights included.

    It is computed tap by tap, and once for all input channels of a group.
    """
    _, height, width = conv.input_shape
    pixels = np.arange(conv.groups * height * width).reshape(conv.groups, height, width)
    core = core.reshape(conv.groups, -1, *conv.output_shape[1:])  # [groups, channels of a group, y, x]
    total = csr_array((pixels.size, cores), dtype=np.int64)
    for a, b in np.ndindex(conv.kernel.shape[2:]):
        (y, from_y), (x, from_x) = conv.reached(0, a), conv.reached(1, b)
        lands = core[:, :, y, x]
        source = np.broadcast_to(pixels[:, None, from_y, from_x], lands.shape)
        taps = np.ones(lands.size, np.int64)
        total = total + csr_array((taps, (source.ravel(), lands.ravel())), shape=total.shape)
    return total[np.repeat(pixels, conv.kernel.shape[1], axis=0).ravel()]


def _hops(source: ChipPopulation, reached: Any, core_xy: Array) -> Array:
    """The number of links that a spike of each neuron crosses to all cores that it reaches, `[xy, size]`."""
    ways = reached.tocoo()
    distance = np.abs(core_xy[np.asarray(source.core)[ways.row]] - core_xy[ways.col]).astype(np.int64)
    hops = np.zeros((source.size, 2), np.int64)
    np.add.at(hops, ways.row, distance * ways.data[:, None])
    return hops.T


def _product(fired: Array, matrices: Sequence[Any]) -> Array:
    """`fired` `[ticks, batch, size]` times each sparse `[size, columns]`: int64 `[n, ticks, batch, columns]`.

    BLAS works in floats: float32 is exact while no sum reaches 2^24, float64 up to 2^53.
    """
    ticks, batch, size = fired.shape
    n, columns = len(matrices), matrices[0].shape[1]
    rows = fired.reshape(ticks * batch, size)
    out = np.empty((n, len(rows), columns), np.int64)
    parts = [slice(begin, begin + _ROWS_AT_ONCE) for begin in range(0, len(rows), _ROWS_AT_ONCE)]
    if size * n * columns > _DENSE_ENTRIES:
        for part in parts:
            spikes = csr_array(rows[part])
            for i, matrix in enumerate(matrices):
                out[i, part] = (spikes @ matrix).toarray()
    else:
        flat = hstack(matrices).toarray()
        flat = flat.astype(np.float32 if flat.sum(0).max(initial=0) < 1 << 24 else np.float64)
        for part in parts:
            out[:, part] = (rows[part].astype(flat.dtype) @ flat).reshape(-1, n, columns).transpose(1, 0, 2)
    return out.reshape(n, ticks, batch, columns)
