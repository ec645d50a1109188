"""What a spike of each neuron causes on the cores, as tables for the loops in `cost.kernels`.

A spike of a neuron touches a fixed number of synapses on a fixed set of cores. So what it causes is a row of numbers,
which depends on the Program alone. Most neurons of a population have equal rows, and a row is kept once. No matrix of
weights is made dense, and no convolution is unrolled.

Several mappings of one network are counted together: their cores lie side by side as the columns of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.cost import kernels
from muspike.hardware.graph import by_end
from muspike.hardware.program import ChipPopulation, ChipSynapses, Layout, Program
from muspike.hardware.weights import Conv, Sparse

Array = npt.NDArray[Any]

LAYOUTS: tuple[Layout, ...] = get_args(Layout)
# What arrives on a core: synaptic operations by layout, those of graded spikes, and axon events of either kind.
ARRIVING = (*LAYOUTS, "graded", "spikes_in_binary", "spikes_in_graded")
# What a neuron's spike is on its own core, and what one of an input is to the host: that stands in the first column.
SENT = ("neuron_spikes", "messages_out", "hops_x", "hops_y", "host_messages")
# What the cores do in every tick.
UPDATES = ("active_updates", "neuron_updates")
_WORD = 64  # bits


@dataclass(frozen=True, eq=False)
class _Classed:
    """A number per neuron and column, by classes of neurons with equal rows.

    Attributes:
        classes: the class of each neuron; None: all neurons are of class 0.
        rows: int64 `[classes, columns]`.
    """

    classes: Array | None
    rows: Array

    def joined(self, other: _Classed) -> tuple[Array | None, Array, Array]:
        """Classes of neurons that are alike in both, and the class of each in one and in the other."""
        if self.classes is None or other.classes is None:
            classes = other.classes if self.classes is None else self.classes
            every = np.arange(max(len(self.rows), len(other.rows)))
            ours, theirs = (every if of.classes is not None else np.zeros_like(every) for of in (self, other))
            return classes, ours, theirs
        labels = self.classes.astype(np.int64) * len(other.rows) + other.classes
        found, classes = np.unique(labels, return_inverse=True)
        return classes, found // len(other.rows), found % len(other.rows)


@dataclass(frozen=True, eq=False)
class Source:
    """What the spikes of one population reach.

    Attributes:
        population: the population, as the first program has it.
        first: the place of its first neuron among those of all sources.
        reached: 1 where there is a message from a neuron to a core.
    """

    population: ChipPopulation
    first: int
    reached: _Classed


@dataclass(frozen=True, eq=False)
class Group:
    """What the spikes of one population bring in one tick through some of its synapses.

    Attributes:
        source: the index of the population among `Plan.sources`.
        delay: the ticks until then.
        touches: of each program, the row of counts of the synaptic operations.
        arrives: the row of counts of the axon events.
        classes: the class of each neuron; None: all neurons are of class 0.
        touched: synaptic operations of a spike, int64 `[classes, columns]`.
        arriving: whether there is an axon event, bool `[classes, columns]`.
    """

    source: int
    delay: int
    touches: tuple[str, ...]
    arrives: str
    classes: Array | None
    touched: Array
    arriving: Array


class Plan:
    """The tables for one network on the cores of one or several mappings.

    Args:
        programs: the same network, mapped in different ways.
        sent: which of `SENT` are counted in each tick.

    Attributes:
        names: the rows of counts. The last two are `UPDATES`.
        columns: of each program, its cores among the columns.
        width: number of columns.
        depth: the ticks for which counts are kept while spikes are on their way.
        sources: the populations that spike, in the order of the program.
        groups: what their spikes bring, in the order of sources and delays.
        mapped: the populations that are on cores, in the order of the program.

    Raises:
        BadInput: the programs are not of one network.
    """

    def __init__(self, programs: Sequence[Program], sent: Sequence[str] = SENT) -> None:
        self.programs = tuple(programs)
        self.program = first = self.programs[0]
        for other in self.programs[1:]:
            _check_same(first, other)
        self.columns: list[slice] = []
        self.width = 0
        for program in self.programs:
            self.columns.append(slice(self.width, self.width + len(program.core_xy)))
            self.width += max(len(program.core_xy), 1)
        used: set[str] = {s.layout for program in self.programs for s in program.synapses}
        graded = any(p.graded_bits for p in first.inputs)
        used |= {"spikes_in_binary"} | ({"graded", "spikes_in_graded"} if graded else set())
        arriving = [name for name in ARRIVING if name in used]
        self.names = (*arriving, *sent, *UPDATES)
        self.depth = first.max_delay + 1
        self.mapped = [p for p in first.populations if p.kind != "input"]
        self.neurons = sum(p.size for p in first.populations if p.kind != "li")
        self._cores = {  # the column of each neuron, [programs, size]
            p.name: np.stack(
                [
                    np.asarray(program.population(p.name).core, np.int64) + column.start
                    for program, column in zip(self.programs, self.columns, strict=True)
                ]
            )
            for p in first.populations
        }
        self.updates = np.zeros(self.width)
        for p in self.mapped:
            for of in self._cores[p.name]:
                self.updates += np.bincount(of, minlength=self.width)
        self._sent = tuple(sent)
        self._host_messages: dict[tuple[int, str], Array] = {}  # of a spike of each class, by program and input
        self._groups()
        self._parts()

    def row(self, name: str) -> int:
        """The row of counts of that name."""
        return self.names.index(name)

    def _groups(self) -> None:
        by_source = [by_end(program.synapses, "source") for program in self.programs]
        self.sources: list[Source] = []
        self.groups: list[Group] = []
        first = 0
        for p in (p for p in self.program.populations if p.kind != "li"):
            reached = _Classed(None, np.zeros((1, self.width), np.int64))
            outgoing = zip(*(of[p.name] for of in by_source), strict=True)
            for synapses in sorted(outgoing, key=lambda synapses: synapses[0].delay):
                fan_out = self._fan_out(synapses)
                classes, ours, theirs = fan_out.joined(reached)
                touched, before = fan_out.rows[ours], reached.rows[theirs]
                arriving = (touched > 0) & (before == 0)
                names = tuple("graded" if p.graded_bits else of.layout for of in synapses)
                self.groups.append(
                    Group(
                        source=len(self.sources),
                        delay=synapses[0].delay,
                        touches=names,
                        arrives="spikes_in_graded" if p.graded_bits else "spikes_in_binary",
                        classes=classes,
                        touched=touched,
                        arriving=arriving,
                    )
                )
                reached = _Classed(classes, before + arriving)
            self.sources.append(Source(p, first, reached))
            first += p.size

    @cached_property
    def rows(self) -> kernels.Rows:
        """What the spikes of each population cause, as the loops need it that count every tick."""
        pools: dict[str, list[Any]] = {"groups": [0], "group": []}
        pools |= {"classes": [], "entries": [], "cell": [], "number": []}
        most_classes = 1

        def add(delay: int, classes: Array | None, cells: Array, numbers: Array, per_row: Array) -> None:
            """A group, whose rows are given one behind the other, each `per_row` entries long."""
            nonlocal most_classes
            pooled = -1 if classes is None else sum(map(len, pools["classes"]))
            pools["group"].append((delay, pooled, sum(map(len, pools["entries"]))))
            if classes is not None:
                pools["classes"].append(classes.astype(np.int32))
            so_far = sum(map(len, pools["cell"]))
            pools["entries"].append(so_far + np.concatenate([[0], np.cumsum(per_row)]))
            pools["cell"].append(cells.astype(np.int32))
            pools["number"].append(numbers.astype(np.float64))
            most_classes = max(most_classes, len(per_row))

        for s, source in enumerate(self.sources):
            p, reached = source.population, source.reached
            for group in (group for group in self.groups if group.source == s):
                cells = np.zeros((len(group.touched), 2, self.width), np.int64)
                numbers = np.stack([group.touched, group.arriving.astype(np.int64)], axis=1)
                for name, column in zip(group.touches, self.columns, strict=True):
                    cells[:, 0, column] = self.row(name) * self.width
                cells[:, 1] = self.row(group.arrives) * self.width
                cells += np.arange(self.width)
                there = numbers > 0
                add(group.delay, group.classes, cells[there], numbers[there], there.sum((1, 2)))
            if p.kind == "lif":
                self._add_sent(p, reached, [name for name in self._sent if name != "host_messages"], add)
            elif "host_messages" in self._sent:
                messages = np.stack([reached.rows[:, column].sum(1) for column in self.columns], axis=1)
                cells = np.array([self.row("host_messages") * self.width + column.start for column in self.columns])
                there = messages > 0
                add(0, reached.classes, np.broadcast_to(cells, there.shape)[there], messages[there], there.sum(1))
            pools["groups"].append(len(pools["group"]))
        joined = {
            name: np.concatenate([np.zeros(0, kind), *pools[name]]).astype(kind)
            for name, kind in (("classes", np.int32), ("entries", np.int64), ("cell", np.int32), ("number", np.float64))
        }
        most = max((s.population.size for s in self.sources), default=1)
        return kernels.Rows(
            groups=np.array(pools["groups"], np.int64),
            group=np.array(pools["group"], kernels.GROUP),
            **joined,
            scratch=np.array([most_classes, most]),
        )

    def _add_sent(self, p: ChipPopulation, reached: _Classed, sent: Sequence[str], add: Any) -> None:
        """A group without delay: what a spike is on the neuron's own core."""
        if not sent:
            return
        own = _as_classes(self._cores[p.name].T)
        classes, ours, theirs = own.joined(reached)
        home, messages = own.rows[ours], reached.rows[theirs]
        cells, numbers = [], []
        for m, (program, column) in enumerate(zip(self.programs, self.columns, strict=True)):
            core = home[:, m] - column.start
            to = messages[:, column]
            distance = np.abs(program.core_xy[core][:, None] - program.core_xy[None]).astype(np.int64)
            found = {
                "neuron_spikes": np.ones(len(core), np.int64),
                "messages_out": to.sum(1),
                "hops_x": (distance[..., 0] * to).sum(1),
                "hops_y": (distance[..., 1] * to).sum(1),
            }
            for name in sent:
                cells.append(self.row(name) * self.width + home[:, m])
                numbers.append(found[name])
        every = np.stack(numbers, axis=1)
        there = every > 0
        add(0, classes, np.stack(cells, axis=1)[there], every[there], there.sum(1))

    def _fan_out(self, synapses: Sequence[ChipSynapses]) -> _Classed:
        """The number of stored synapses of each source neuron in each column."""
        weight, target = synapses[0].weight, self._cores[synapses[0].target]
        listed = [m for m, of in enumerate(synapses) if of.layout == "sparse"]
        found = _Classed(None, np.zeros((1, self.width), np.int64))
        if isinstance(weight, Conv):
            for program, column, of in zip(self.programs, self.columns, synapses, strict=True):
                core = np.asarray(program.population(of.target).core)
                taps = conv_fan_out(weight, core, len(program.core_xy))
                taps.sort_indices()
                classes, firsts = kernels.classes_of(taps.indptr, taps.indices, taps.data)
                rows = np.zeros((len(firsts), self.width), np.int64)
                rows[:, column] = taps[firsts].toarray()
                found = _sum(found, _Classed(classes if len(firsts) > 1 else None, rows))
            return found
        if listed:
            if isinstance(weight, Sparse):
                starts, targets, stored = weight.starts, weight.targets.astype(np.int64), weight.values != 0
            else:
                sources, targets = np.nonzero(weight.T)
                starts = np.concatenate([[0], np.cumsum(np.bincount(sources, minlength=weight.shape[1]))])
                stored = np.ones(len(targets), bool)
            begins, columns, numbers = kernels.count_lists(starts, targets, stored, target[listed], self.width)
            classes, firsts = kernels.classes_of(begins, columns, numbers)
            lists = csr_array((numbers, columns, begins), shape=(len(begins) - 1, self.width))
            rows = np.asarray(lists[firsts].toarray()) if len(firsts) else np.zeros((1, self.width), np.int64)
            found = _Classed(classes if len(firsts) > 1 else None, rows)
        for m in set(range(len(synapses))) - set(listed):
            found.rows[:] += np.bincount(target[m], minlength=self.width)
        return found

    def _parts(self) -> None:
        """Which bits of which words are neurons of each column. Each population begins at a new word."""
        words, bits, columns = [], [], []
        begin = 0
        for p in self.mapped:
            place = np.arange(p.size)
            for of in self._cores[p.name]:
                words.append(begin + place // _WORD)
                bits.append(place % _WORD)
                columns.append(of)
            begin += -(-p.size // _WORD)
        self.words = begin
        word, bit, column = (np.concatenate([np.zeros(0, np.int64), *of]) for of in (words, bits, columns))
        key = column * max(begin, 1) + word
        order = np.argsort(key, kind="stable")
        starts = np.flatnonzero(np.diff(key[order], prepend=-1))
        of_part = key[order][starts]
        mask = np.left_shift(np.uint64(1), bit[order].astype(np.uint64))
        masks = np.bitwise_or.reduceat(mask, starts) if len(starts) else np.zeros(0, np.uint64)
        per_column = np.bincount(of_part // max(begin, 1), minlength=self.width)
        self.active = kernels.Active(
            starts=np.concatenate([[0], np.cumsum(per_column)]).astype(np.int64),
            word=(of_part % max(begin, 1)).astype(np.int64),
            mask=masks.astype(np.uint64),
        )

    def span(self, m: int) -> int:
        """The number of columns from the first of program `m` to that of the next one."""
        ends = [*(int(column.start) for column in self.columns[1:]), self.width]
        return ends[m] - int(self.columns[m].start)

    def scratch(self, with_active: bool) -> tuple[Array, ...]:
        """What a thread of the loops needs beside the tables."""
        classes, most = self.rows.scratch
        kinds = (most, classes, classes + 1)  # the loops write one behind the last class met
        return *(np.zeros(n, np.int64) for n in kinds), np.zeros(self.words if with_active else 0, np.uint64)

    def core_columns(self, name: str) -> Array:
        """The column of each neuron of a population on cores, int64 `[programs, size]`."""
        return self._cores[name]

    def spikes(self, m: int, fired: Array) -> Array:
        """The spikes of each core of program `m`, of the spikes `fired` of each neuron of all sources."""
        column = self.columns[m]
        total = np.zeros(column.stop - column.start, np.int64)
        for source in self.sources:
            if source.population.kind == "lif":
                own = fired[source.first : source.first + source.population.size]
                np.add.at(total, self._cores[source.population.name][m] - column.start, own)
        return total

    def messages(self, m: int, fired: Array) -> tuple[Array, int]:
        """Of the same spikes: the messages from each core to each core of program `m`, and the messages of the host."""
        column = self.columns[m]
        cores = column.stop - column.start
        between, host = np.zeros((cores, cores), np.int64), 0
        for source in self.sources:
            p, reached = source.population, source.reached.rows[:, column]
            own = fired[source.first : source.first + p.size]
            classes = np.zeros(p.size, np.int64) if source.reached.classes is None else source.reached.classes
            if p.kind == "input":
                if (m, p.name) not in self._host_messages:
                    self._host_messages[m, p.name] = reached.sum(1)
                host += int(np.bincount(classes, own, len(reached)).astype(np.int64) @ self._host_messages[m, p.name])
                continue
            core = self._cores[p.name][m] - column.start
            by_class = csr_array((own, (core, classes)), shape=(cores, len(reached)))
            between += by_class @ reached
        return between, host


def places(arrays: Mapping[str, Array], populations: Sequence[ChipPopulation]) -> tuple[Array, list[Array]]:
    """Where the spikes of some populations lie, as the loops need it, and the arrays that must live on until then.

    Args:
        arrays: `[ticks, batch, size]`, or `[ticks, batch, words]` of uint64.
    """
    rows, kept, first = [], [], 0
    for p in populations:
        array = np.asarray(arrays[p.name])
        if array.dtype == np.uint64:
            array = array if array.strides[2] == 8 else np.ascontiguousarray(array)
        elif array.dtype.itemsize != 1 or (array.size and array.strides[2] != 1):
            array = np.ascontiguousarray(array != 0)
        kept.append(array)
        ticks, sequences, _ = array.strides
        rows.append((array.ctypes.data, sequences, ticks, array.shape[2], first))
        first += array.shape[2]
    return np.array(rows, kernels.WHERE), kept


def conv_fan_out(conv: Conv, core: Array, cores: int) -> Any:
    """The number of taps of each input neuron that land on each core, zero weights included: `csr_array`.

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


def _sum(one: _Classed, other: _Classed) -> _Classed:
    classes, ours, theirs = one.joined(other)
    return _Classed(classes, one.rows[ours] + other.rows[theirs])


def _as_classes(numbers: Array) -> _Classed:
    """Rows `[neurons, columns]` as classes."""
    starts = np.arange(len(numbers) + 1) * numbers.shape[1]
    columns = np.tile(np.arange(numbers.shape[1]), len(numbers))
    classes, firsts = kernels.classes_of(starts, columns, np.ascontiguousarray(numbers).ravel())
    return _Classed(classes if len(firsts) > 1 else None, numbers[firsts])


def _check_same(one: Program, other: Program) -> None:
    """Refuse programs that are not of one network: their spikes, and what these reach, could differ."""
    neurons = [[(p.name, p.size, p.kind, p.graded_bits) for p in program.populations] for program in (one, other)]
    links = [[(s.source, s.target, s.delay) for s in program.synapses] for program in (one, other)]
    if (
        neurons[0] != neurons[1]
        or links[0] != links[1]
        or not all(_same(s.weight, t.weight) for s, t in zip(one.synapses, other.synapses, strict=True))
    ):
        raise BadInput("the programs to count together are not of one network: populations, synapses or delays differ")


def _same(one: w.Weights, other: w.Weights) -> bool:
    if one is other:
        return True
    if type(one) is not type(other) or one.shape != other.shape or not np.array_equal(w.values(one), w.values(other)):
        return False
    if isinstance(one, Sparse) and isinstance(other, Sparse):
        return np.array_equal(one.starts, other.starts) and np.array_equal(one.targets, other.targets)
    if isinstance(one, Conv) and isinstance(other, Conv):
        of = [(c.input_shape, c.output_shape, c.stride, c.padding, c.dilation, c.groups) for c in (one, other)]
        return of[0] == of[1]
    return True
