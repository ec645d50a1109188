"""The simulator: runs a Program to the bit as Loihi, and Lava's `fixed_pt` models, would, many sequences at once.

This file holds `Simulator`, which packs the program for the loops in `simulator.kernels`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, mapping, refuse, whole
from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.program import FULL_DECAY, SHIFT, WEIGHT_STEP, ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.kernels import CONV, DENSE, LINE, SOURCE, SPARSE, Neurons, Synapses, run_sequences
from muspike.hardware.threads import in_threads
from muspike.hardware.weights import Conv, Sparse, Weights

Part = tuple[slice, slice]  # the sources and the targets of a part of a matrix

_TABLES = {"dense": DENSE, "sparse": SPARSE, "conv": CONV}
_LARGEST_SUM = 2**30  # of graded spikes; binary ones may add as much
_WORTH_JOINING = 1.5  # how much larger than two parts together their joint matrix may be
_WORTH_LISTS = 16  # so many weights of a row are added in the time of one synapse of a list


@dataclass(frozen=True, eq=False)
class Run:
    """What happened in the ticks of one call of `Simulator.run`. Every attribute is a dict by population name.

    Attributes:
        spikes: uint8 `[ticks, batch, size]` of every `lif` and `input` population; of graded inputs, their values as
            uint16.
        membrane: int32 `[ticks, batch, size]`, v after the tick, of every `li` population; with `record_membranes`, of
            every `lif` population too.
        current: the same for u; empty without `record_membranes`.
        overflows: how often (neurons x ticks x sequences) the synaptic input left the chip's 16-bit accumulator. The
            figures are the chip's only if this is 0. The simulator wraps the sum at 24 bits, in u. Lava agrees up to an
            input of 2^18; beyond that, Lava wraps only once.
        readout_resets: of every `li` population, how often a membrane crossed the threshold that it should never reach,
            and was reset.
        active: with `record_activity`, which updates of every `lif` and `li` population were active: uint64 `[ticks,
            batch, words]`, bit j % 64 of word j // 64 for neuron j. An update is active if u or v is not 0 before or
            after it, or if a `lif` neuron spikes. Else empty.
    """

    spikes: Mapping[str, npt.NDArray[Any]]
    membrane: Mapping[str, npt.NDArray[np.int32]]
    current: Mapping[str, npt.NDArray[np.int32]]
    overflows: Mapping[str, int]
    readout_resets: Mapping[str, int]
    active: Mapping[str, npt.NDArray[np.uint64]] = field(default_factory=dict)


class Simulator:
    """The integer dynamics of a Program, for `batch` independent sequences. State is kept between calls of `run`.

    In each tick t, counted from 0 at the last `reset()`, every neuron does the following. Here dec(x, d) is
    sign(x) * ((|x| * (4096 - d)) >> 12).

        u = v = 0  where t % reset_interval == reset_offset
        a = sum over synapses of (weight @ spikes[t - delay]) << weight_exp
        u = wrap24(dec(u, min(du + 1, 4096)) + (a << 6))
        v = clip(dec(v, dv) + u + bias, -(2^23) + 1, 2^23 - 1)
        s = v > (v_threshold << 6);  v = 0 where s

    A spike is 0 or 1; of an input with `graded_bits`, a whole number, which multiplies the weights.

    Source: the models `PyLifModelBitAcc` and `PyLifResetModelFixed` of lava-nc 0.10.0. The tests hold the simulator
    equal to them in every s, u and v. Synaptic work is only done for spikes. A convolution is never unrolled.

    Args:
        program: the program to run.
        batch: the number of sequences.

    Raises:
        BadInput: the batch is not a positive integer.
    """

    def __init__(self, program: Program, batch: int = 1) -> None:
        self.program = instance("simulator: program", program, Program, "a Program, such as compile_graph(...).program")
        self.batch = check_batch(batch)
        neurons = [*(p for p in program.populations if p.kind == "lif"), *program.readouts]
        # The columns of the spikes are: inputs, lif, li. The columns of u and v leave the inputs out.
        self._columns, self._width = _columns([*program.inputs, *neurons])
        self._first_neuron = self._columns[neurons[0].name].start if neurons else self._width
        self._first_readout = self._columns[program.readouts[0].name].start if program.readouts else self._width
        self._neurons = [p.name for p in neurons]
        self._parameters = _neurons(neurons, self._columns, self._first_neuron, self._width)
        packing = _Packing()
        for p in program.populations:
            outgoing = [s for s in program.synapses if s.source == p.name]
            if outgoing:
                firsts = [self._columns[s.target].start - self._first_neuron for s in outgoing]
                packing.add(self._columns[p.name], list(zip(outgoing, firsts, strict=True)), bool(p.graded_bits))
        self._synapses = packing.packed()
        self.reset()

    def reset(self) -> None:
        """Go back to silence before tick 0: every u, v and pending input is 0."""
        n = self._width - self._first_neuron
        self._u = _zeros((self.batch, n), np.int32)
        self._v = _zeros((self.batch, n), np.int32)
        self._pending = _zeros((self.batch, self.program.max_delay + 1, n), np.int32)
        self._tick = 0

    def run(
        self,
        inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record_membranes: bool = False,
        record_activity: bool = False,
    ) -> Run:
        """Run as many ticks as `inputs` has.

        An input can be run in parts, one after another; the result is that of the whole.

        Args:
            inputs: 0 or 1, or whole numbers of at most `graded_bits` bits for an input that has them, `[ticks, batch,
                size]`: one array with the input populations side by side in their order, or a dict of arrays by
                population name.
            record_membranes: record u and v of every `lif` and `li` population, instead of v of the readouts alone.
            record_activity: record which updates were active, a bit for each.

        Raises:
            BadInput: a shape does not fit, a value is not a spike of its input, a population is missing or unknown, or
                graded spikes could bring a synaptic sum beyond the 32 bits that it is counted in.
        """
        ticks, given = as_inputs(self.program, self.batch, inputs)
        check_sums(self.program, given)
        # The loops' arrays are [batch, ticks, ...], so a sequence is in one piece. Inputs and results are turned.
        spikes = _zeros((self.batch, ticks, self._width), np.uint8)
        turned = spikes.swapaxes(0, 1)
        graded = [p.name for p in self.program.inputs if p.graded_bits]
        values = _zeros((self.batch, ticks, self._first_neuron if graded else 0), np.uint16)
        turned_values = values.swapaxes(0, 1)
        first = {"v": self._first_readout, "u": self._width}
        if record_membranes:
            first = dict.fromkeys("uv", self._first_neuron)
        recorded = {x: np.empty((self.batch, ticks, self._width - first[x]), np.int32) for x in "uv"}
        overflows = np.zeros((self.batch, self._width - self._first_neuron), np.int64)
        lines = (self._width - self._first_neuron) // LINE if record_activity else 0
        active = np.empty((self.batch, ticks, lines), np.uint64)
        out = (spikes, values, recorded["u"], recorded["v"], active, overflows)
        state = (self._u, self._v, self._pending)

        def work(begin: int, end: int) -> None:
            for p in self.program.inputs:
                part = given[p.name][:, begin:end]
                turned[:, begin:end, self._columns[p.name]] = part != 0 if p.graded_bits else part
            for name in graded:
                turned_values[:, begin:end, self._columns[name]] = given[name][:, begin:end]
            found = np.empty(self._width * (2 if graded else 1), np.int64)
            last = self._first_readout
            run_sequences(begin, end, out, state, self._tick, last, self._parameters, self._synapses, found)

        in_threads(self.batch, ticks, work)
        self._tick += ticks

        def states(x: str) -> dict[str, npt.NDArray[np.int32]]:
            at = {name: self._columns[name] for name in self._neurons if self._columns[name].start >= first[x]}
            values = recorded[x].swapaxes(0, 1)
            return {name: values[:, :, c.start - first[x] : c.stop - first[x]] for name, c in at.items()}

        start = self._first_neuron
        at = {name: self._columns[name] for name in self._neurons}
        fired = {p.name: turned[:, :, self._columns[p.name]] for p in self.program.populations if p.kind != "li"}
        return Run(
            spikes=fired | {name: turned_values[:, :, self._columns[name]] for name in graded},
            membrane=states("v"),
            current=states("u"),
            overflows={name: int(overflows[:, c.start - start : c.stop - start].sum()) for name, c in at.items()},
            readout_resets={p.name: int(spikes[:, :, at[p.name]].sum()) for p in self.program.readouts},
            active={
                name: active.swapaxes(0, 1)[:, :, (c.start - start) // LINE : (c.stop - start + LINE - 1) // LINE]
                for name, c in at.items()
                if record_activity
            },
        )


def as_inputs(
    program: Program, batch: int, inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike]
) -> tuple[int, dict[str, npt.NDArray[np.uint8 | np.uint16]]]:
    """Check inputs as `Simulator.run` takes them.

    Returns:
        ticks: their number.
        given: the spikes of each input population by name, `[ticks, batch, size]`: uint8, or uint16 if it is graded.

    Raises:
        BadInput: see `Simulator.run`.
    """
    sizes = {p.name: p.size for p in program.inputs}
    if not isinstance(inputs, Mapping):
        joined = _integers("inputs", inputs, batch, sum(sizes.values()))
        if not any(p.graded_bits for p in program.inputs):
            joined = _spikes("inputs", joined, 0)
        parts = np.split(joined, np.cumsum(list(sizes.values()))[:-1], axis=2) if sizes else []
        sides = zip(program.inputs, parts, strict=True)
        return len(joined), {p.name: _spikes(f"inputs of {p.name!r}", part, p.graded_bits) for p, part in sides}
    mapping("inputs", inputs, "a dict by the name of the input")
    if set(inputs) != set(sizes) or not inputs:
        raise BadInput(f"inputs: given for {sorted(inputs)}; the input populations are {sorted(sizes)}")
    given = {}
    for p in program.inputs:
        where = f"inputs of {p.name!r}"
        given[p.name] = _spikes(where, _integers(where, inputs[p.name], batch, p.size), p.graded_bits)
    if len({len(array) for array in given.values()}) > 1:
        lengths = ", ".join(f"{name!r} {len(array)}" for name, array in given.items())
        raise BadInput(f"inputs: they must last equally many ticks, and last {lengths}")
    return len(next(iter(given.values()))), given


def check_batch(batch: object) -> int:
    """The number of sequences, checked.

    Raises:
        BadInput: it is not a whole number from 1 to 2^31 - 1.
    """
    return whole("simulator: batch", batch, 1, 2**31 - 1)


def _columns(populations: Sequence[ChipPopulation]) -> tuple[dict[str, slice], int]:
    """The columns of each population, which begin at a new cache line, and the number of all columns."""
    columns: dict[str, slice] = {}
    end = 0
    for p in populations:
        columns[p.name] = slice(end, end + p.size)
        end += -(-p.size // LINE) * LINE
    return columns, end


def check_sums(program: Program, given: Mapping[str, npt.NDArray[np.uint8 | np.uint16]]) -> None:
    """Refuse graded spikes that could bring a synaptic sum beyond 30 bits, as if all of a tick met the largest weight.

    The simulators add in 32 bits, so sums up to there are exact, and those that leave the chip's 16 bits are counted.

    Raises:
        BadInput: names the input and the population that it leads to.
    """
    graded = [p.name for p in program.inputs if p.graded_bits]
    most = {name: int(given[name].sum(axis=2, dtype=np.int64).max(initial=0)) for name in graded}
    reached: dict[str, int] = {}
    for s in program.synapses:
        if s.source in most:
            largest = int(np.abs(w.values(s.weight).astype(np.int64)).max(initial=0)) << s.weight_exp
            reached[s.target] = reached.get(s.target, 0) + largest * most[s.source]
            if reached[s.target] > _LARGEST_SUM:
                raise BadInput(
                    f"inputs of {s.source!r}: spikes of together {most[s.source]:,} in a tick could bring a sum of "
                    f"{s.target!r} to {reached[s.target]:,}; at most {_LARGEST_SUM:,} is counted, and the chip's sum "
                    "has 16 bits"
                )


def _integers(where: str, given: npt.ArrayLike, batch: int, size: int) -> npt.NDArray[Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:  # lists of unequal length
        raise refuse(where, given, f"an array [ticks, {batch}, {size}]") from error
    if array.ndim != 3 or array.shape[1:] != (batch, size):
        raise BadInput(f"{where}: shape {list(array.shape)}, not [ticks, batch, size] = [ticks, {batch}, {size}]")
    if array.dtype.kind not in "biu":
        raise BadInput(f"{where}: dtype {array.dtype}; spikes are integers, 0 and 1 or those of a graded input")
    return array


def _spikes(where: str, array: npt.NDArray[Any], graded_bits: int) -> npt.NDArray[np.uint8 | np.uint16]:
    if graded_bits:
        largest = (1 << graded_bits) - 1
        if array.size and (array.max() > largest or (array.dtype.kind == "i" and array.min() < 0)):
            bad = array[(array < 0) | (array > largest)][0]
            raise BadInput(f"{where}: holds {bad}; graded spikes of {graded_bits} bits are 0 to {largest}")
        return array.astype(np.uint16, copy=False)
    if array.size and (array.max() > 1 or (array.dtype.kind == "i" and array.min() < 0)):
        bad = array[(array != 0) & (array != 1)][0]
        raise BadInput(f"{where}: holds {bad}; spikes are 0 or 1")
    return array.astype(np.uint8, copy=False)


def _zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Zeros that start at a cache line. The loops are a fifth slower if their vectors straddle lines."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + size].view(dtype).reshape(shape)


def _neurons(neurons: Sequence[ChipPopulation], columns: Mapping[str, slice], first: int, width: int) -> Neurons:
    keep_u, keep_v, bias, threshold = _zeros((4, width - first), np.int32)
    resets = []
    for p in neurons:
        at = slice(columns[p.name].start - first, columns[p.name].stop - first)
        keep_u[at] = FULL_DECAY - np.minimum(p.du + 1, FULL_DECAY)
        keep_v[at] = FULL_DECAY - p.dv
        bias[at] = p.bias
        threshold[at] = p.v_threshold << SHIFT
        if p.reset_interval:
            resets.append((at.start, at.stop, p.reset_interval, p.reset_offset))
    return Neurons(keep_u, keep_v, bias, threshold, np.array(resets, np.int64).reshape(-1, 4))


class _Pool:
    """Arrays that are joined into one. Each array is found by its offset in the joined array."""

    def __init__(self, dtype: npt.DTypeLike) -> None:
        self._parts: list[npt.NDArray[Any]] = [np.zeros(0, dtype)]
        self._size = 0

    def add(self, array: npt.NDArray[Any]) -> int:
        """Add an array, flattened; returns its offset."""
        self._parts.append(array.astype(self._parts[0].dtype, copy=False).ravel())
        self._size += array.size
        return self._size - array.size

    def joined(self) -> npt.NDArray[Any]:
        return np.concatenate(self._parts, out=_zeros((self._size,), self._parts[0].dtype))


class _Packing:
    """The synapses of a program, collected source by source."""

    def __init__(self) -> None:
        self._sources: dict[bool, list[tuple[int, ...]]] = {False: [], True: []}  # by whether they are graded
        self._groups: dict[str, list[tuple[int, ...]]] = {name: [] for name in _TABLES}
        self._pools = {"starts": _Pool(np.int64), "targets": _Pool(np.int32), "reach": _Pool(np.int32)}
        self._pools["weights"] = _Pool(np.int8)
        self._scratch = np.zeros(2, np.int64)

    def add(self, column: slice, outgoing: Sequence[tuple[ChipSynapses, int]], graded: bool) -> None:
        """Add all synapses from the population whose spikes stand in `column`, each with its first target neuron."""
        by_sources: dict[tuple[int, int], list[tuple[Weights, tuple[int, ...]]]] = {}
        for s, first in outgoing:
            for sources, targets, weight in _as_walked(s.weight):
                common = first + targets.start, targets.stop - targets.start, s.delay, WEIGHT_STEP << s.weight_exp
                by_sources.setdefault((sources.start, sources.stop), []).append((weight, common))
        for (start, stop), groups in by_sources.items():
            begin = [len(table) for table in self._groups.values()]
            for group in groups:
                self._add(*group)
            ranges = zip(begin, map(len, self._groups.values()), strict=True)
            lines = column.start + start, -(-(column.start + stop) // LINE) * LINE
            self._sources[graded].append((*lines, *itertools.chain(*ranges)))

    def _add(self, weight: Weights, common: tuple[int, ...]) -> None:
        halves = self._pools["weights"].add(_halves(weight))
        if isinstance(weight, Conv):
            self._groups["conv"].append((*common, halves, *self._geometry(weight)))
        elif isinstance(weight, Sparse):
            lists = self._pools["starts"].add(weight.starts), self._pools["targets"].add(weight.targets)
            self._groups["sparse"].append((*common, halves, *lists))
        else:
            self._groups["dense"].append((*common, halves))

    def _geometry(self, conv: Conv) -> tuple[int, ...]:
        reach = (self._pools["reach"].add(_reach(conv, axis)) for axis in (0, 1))
        self._scratch = np.maximum(self._scratch, (conv.shape[0], conv.output_shape[1]))
        c_out, g_in, *taps = conv.kernel.shape
        return *reach, *conv.input_shape[1:], *conv.output_shape[1:], *taps, g_in, c_out // conv.groups

    def packed(self) -> Synapses:
        groups = {name: np.array(rows, _TABLES[name]) for name, rows in self._groups.items()}
        pools = {name: pool.joined() for name, pool in self._pools.items()}
        sources, graded = (np.array(self._sources[graded], SOURCE) for graded in (False, True))
        return Synapses(sources=sources, graded=graded, **groups, **pools, scratch=self._scratch)


def _as_walked(weight: Weights) -> list[tuple[slice, slice, Weights]]:
    """The parts of a matrix, each with its sources, its targets and its weights, as the loops are quickest."""
    whole = slice(0, weight.shape[1]), slice(0, weight.shape[0])
    if isinstance(weight, Conv):
        return [(*whole, weight)]
    if isinstance(weight, Sparse):
        if weight.values.size * _WORTH_LISTS < weight.shape[0] * weight.shape[1]:
            return [(*whole, weight)]
        weight = np.asarray(weight.columns.toarray())
    weight = np.pad(weight, ((0, -weight.shape[0] % LINE), (0, 0)))
    parts = _parts(weight)
    if np.count_nonzero(weight) * _WORTH_LISTS < sum(map(_area, parts)):
        return [(*whole, Sparse.of(weight[whole[1]]))]
    return [(s, t, weight[t, s]) for s, t in parts]


def _parts(weight: npt.NDArray[Any]) -> list[Part]:
    """Runs of sources that reach about the same targets, each run with these targets. Both are whole lines."""
    parts: list[Part] = []
    for begin in range(0, weight.shape[1], LINE):
        used = np.flatnonzero((weight[:, begin : begin + LINE] != 0).any(axis=1))
        if not len(used):
            continue
        part = slice(begin, min(begin + LINE, weight.shape[1])), _in_lines(used[0], used[-1])
        if parts:
            last = parts[-1]
            low = min(last[1].start, part[1].start)
            both = slice(last[0].start, part[0].stop), slice(low, max(last[1].stop, part[1].stop))
            if _area(both) <= _WORTH_JOINING * (_area(last) + _area(part)):
                part = both
                parts.pop()
        parts.append(part)
    return parts


def _in_lines(first: int, last: int) -> slice:
    return slice(int(first) // LINE * LINE, (int(last) // LINE + 1) * LINE)


def _area(part: Part) -> int:
    return math.prod(s.stop - s.start for s in part)


def _halves(weight: Weights) -> npt.NDArray[np.int8]:
    """The weights divided by their step (2), in the order in which the loops walk them."""
    numbers = w.values(weight)
    if isinstance(weight, Conv):
        c_out, g_in, y, x = numbers.shape
        by_group = numbers.reshape(weight.groups, c_out // weight.groups, g_in, y, x)
        numbers = by_group.transpose(0, 2, 3, 4, 1)  # [groups, g_in, y, x, g_out]
    elif not isinstance(weight, Sparse):
        numbers = numbers.T
    return np.ascontiguousarray(numbers // WEIGHT_STEP).astype(np.int8)


def _reach(conv: Conv, axis: int) -> npt.NDArray[np.int32]:
    """For one axis, the output that a tap takes an input to, `[inputs, taps]`; -1 if there is none."""
    table = np.full((conv.input_shape[axis + 1], conv.kernel.shape[axis + 2]), -1, np.int32)
    for tap in range(table.shape[1]):
        outputs, inputs = conv.reached(axis, tap)
        table[inputs, tap] = np.arange(outputs.start, outputs.stop)
    return table


def words(active: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    """`[ticks, batch, size]` as `Run.active` has it, `[ticks, batch, words]`."""
    padded = np.pad(active, ((0, 0), (0, 0), (0, -active.shape[2] % 64)))
    packed = np.ascontiguousarray(np.packbits(padded, axis=2, bitorder="little"))
    return packed.view("<u8").astype(np.uint64, copy=False)
