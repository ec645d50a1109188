"""A traced module as a NIR graph: which layer feeds which, how many ticks later, and in which order of its values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import nir
import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from torch import nn

from muspike.errors import BadInput
from muspike.export.from_torch import layers
from muspike.export.from_torch.neuron import Neuron
from muspike.export.from_torch.trace import Call, Integers, Trace

Doubles = npt.NDArray[np.float64]
Shape = tuple[int, ...]

MOST_CHOSEN = 2**27
"""The most entries of the matrix that stands for a choice of values, such as a crop or a permutation."""


@dataclass(frozen=True)
class Rows:
    """Where the values of a layer lie in the tensors that its calls give.

    Attributes:
        call: `[ticks, batch]`, the number of the call.
        row: `[ticks, batch]`, which of the call's rows.
        port: which of the tensors that a call gives.
        size: values in a row.
        first: the first tick that has values.
    """

    call: Integers
    row: Integers
    port: int
    size: int
    first: int = 0

    def of(self, outputs: Sequence[Sequence[torch.Tensor]]) -> Doubles:
        """The values, `[ticks, batch, size]`, 0 before the first tick."""
        found = {
            c: outputs[c][self.port].double().numpy().reshape(-1, self.size) for c in np.unique(self.call).tolist()
        }
        ticks, batch = self.call.shape
        values = np.zeros((self.first + ticks, batch, self.size))
        for t in range(ticks):
            for b in range(batch):
                values[self.first + t, b] = found[int(self.call[t, b])][self.row[t, b]]
        return values


@dataclass(frozen=True)
class Place:
    """Where the inputs of the network lie in a sample.

    Attributes:
        base: `[ticks, batch]`, the number of the first value of a tick, in C order.
        items: `[size]`, what is added to it for each input.
        shape: how the inputs are arranged.
    """

    base: Integers
    items: Integers
    shape: Shape

    def of(self, sample: torch.Tensor) -> Doubles:
        """The inputs `[ticks, batch, size]` in a sample."""
        flat = sample.detach().double().cpu().numpy().ravel()
        return np.asarray(flat[self.base[:, :, None] + self.items])


@dataclass(eq=False)
class Wired:
    """The graph and what is needed to compare it with the module.

    Attributes:
        graph: the NIR graph.
        place: where its inputs lie in a sample.
        judged: by population of the graph, the layer whose values it has to equal, and where they lie.
        outputs: the populations that are read.
        remarks: what was left out, in sentences.
    """

    graph: nir.NIRGraph
    place: Place
    judged: Mapping[str, tuple[str, Rows]]
    outputs: Sequence[str]
    remarks: Sequence[str]


@dataclass(eq=False)
class _Node:
    """A layer in the graph. `shape` is what it gives, `given` what it takes; `sources` are edges into it."""

    name: str
    path: str
    given: Shape
    shape: Shape
    sources: list[_Edge] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class _Edge:
    """Values of `source`, `delay` ticks ago; `chosen[i]` is the value that is the i-th here, -1 for none."""

    source: _Node
    delay: int
    chosen: Integers


def wire(
    module: nn.Module, trace: Trace, neurons: Mapping[str, Neuron], sample_shape: Shape, dt_s: float, shown: Any
) -> Wired:
    """Build the graph of a traced module.

    Args:
        module: the module.
        trace: its run.
        neurons: its layers of neurons by path.
        sample_shape: the shape of the sample of the run.
        dt_s: seconds per tick.
        shown: gives a path as errors name it.

    Raises:
        BadInput: something between or in the layers cannot be followed, or a layer is none that a chip has.
    """
    return _Wiring(module, trace, neurons, sample_shape, dt_s, shown).wired()


class _Wiring:
    def __init__(
        self,
        module: nn.Module,
        trace: Trace,
        neurons: Mapping[str, Neuron],
        sample_shape: Shape,
        dt_s: float,
        shown: Any,
    ) -> None:
        self.module, self.trace, self.neurons, self.dt_s, self.shown = module, trace, neurons, dt_s, shown
        self.sample_shape = sample_shape
        blocks = trace.blocks
        self.b_number, self.b_port, self.b_start = (
            np.array([getattr(b, name) for b in blocks]) for name in ("number", "port", "start")
        )
        paths = list(dict.fromkeys(b.path for b in blocks))
        self.path_of_block = np.array([paths.index(b.path) for b in blocks])
        self.paths = paths
        self.nodes: dict[tuple[Any, ...], _Node] = {}
        self.rows: dict[str, tuple[str, Rows]] = {}
        self.inputs: list[tuple[_Edge_Input, _Node]] = []
        self.remarks: list[str] = []
        self.names: set[str] = {"input", "output"}
        self.input = _Node("input", "", (), ())
        self.ticks = self._ticks()

    # --- time ---------------------------------------------------------------------------------------------------

    def _ticks(self) -> int:
        ticks: dict[str, int] = {}
        for path, neuron in self.neurons.items():
            calls = self.trace.calls[path]
            if not calls:
                continue
            shape = calls[0].shape
            if neuron.layout == "tick":
                ticks[path] = len(calls)
                continue
            if len(calls) > 1:
                raise BadInput(
                    f"module {self.shown(path)!r}: takes all ticks at once and was called {len(calls)} times; a layer "
                    "is one population: give each place a layer of its own"
                )
            if neuron.layout == "merged":
                ticks[path] = -neuron.batch if neuron.batch < 0 else shape[0] // neuron.batch
            else:
                ticks[path] = shape[0 if neuron.layout == "time first" else 1]
        if not ticks:
            raise BadInput(
                "the module ran without calling a layer of neurons of Norse, snnTorch, SpikingJelly or sinabs"
            )
        if len(set(ticks.values())) > 1:
            told = ", ".join(f"{self.shown(path)!r} {n}" for path, n in ticks.items())
            raise BadInput(f"the layers ran for different numbers of ticks: {told}; each must run once in a tick")
        return next(iter(ticks.values()))

    def _shapes(self, path: str) -> tuple[int, Shape]:
        """Sequences in the data of a layer of neurons, and the shape of one of them."""
        neuron, call = self.neurons[path], self.trace.calls[path][-1]
        shape = call.shape
        if neuron.layout == "batch first":
            return shape[0], shape[2:]
        if neuron.layout == "merged":
            return shape[0] // self.ticks, shape[1:]
        if neuron.layout == "time first":
            shape = shape[1:]
        if len(shape) > 1 and not self._whole(call, len(shape)):
            return shape[0], shape[1:]
        return 1, shape

    def _whole(self, call: Call, dims: int) -> bool:
        """Whether the data of a neuron layer is one sequence, because it is what one row of a layer gives."""
        for numbers in call.sources:
            blocks = np.unique(self.trace.block_of(numbers))
            for block in blocks[blocks >= 0]:
                path = self.trace.blocks[block].path
                if path and path not in self.neurons:
                    known = layers.dimensions(self.module.get_submodule(path), self.trace.calls[path][0].shape)
                    return known == dims and known > 1
        return False

    # --- from a layer to its sources ------------------------------------------------------------------------------

    def wired(self) -> Wired:
        for path in self.neurons:
            if self.trace.calls[path]:
                self._neuron(path)
        for path, neuron in self.neurons.items():
            node = self.nodes.get((path,))
            if node is None:
                self.remarks.append(f"{self.shown(path)}: was not called, and is left out")
                continue
            batch, shape = self._shapes(path)
            for source, numbers in self._data(path, neuron, batch, math.prod(shape)).items():
                self._lead(node, source, numbers)
        trailing = self._trailing()
        return self._graph(trailing)

    def _neuron(self, path: str) -> None:
        neuron = self.neurons[path]
        batch, shape = self._shapes(path)
        for given in self.trace.calls[path]:
            if given.state:
                raise BadInput(
                    f"module {self.shown(path)!r}: {given.state}; a neuron on a chip keeps its state and starts at "
                    "rest: pass on what the layer returned, and begin with zeros or nothing"
                )
            if neuron.state_given and given.number and not given.states:
                raise BadInput(
                    f"module {self.shown(path)!r}: is called without the state that it returned the tick before, so it "
                    "starts anew in every tick; pass the state on (norse's SequentialState does)"
                )
        made = shape
        if neuron.weights is not None:
            made = (len(neuron.weights),)
        self.nodes[path,] = _Node(self._name(path), path, shape, made)
        size = math.prod(made)
        t, b = np.meshgrid(np.arange(self.ticks), np.arange(batch), indexing="ij")
        if neuron.layout == "tick":
            call, row = t, b
        elif neuron.layout == "time first":
            call, row = 0 * t, t * batch + b
        else:
            call, row = 0 * t, b * self.ticks + t
        port = 0
        if neuron.threshold is None:
            port = neuron.membrane % len(self.trace.outputs[path][0])
        self.rows[self.nodes[path,].name] = (path, Rows(call, row, port, size))

    def _data(self, path: str, neuron: Neuron, batch: int, size: int) -> dict[str, Integers]:
        """By source, the numbers `[ticks, batch, size]` of what a layer of neurons takes."""
        calls = self.trace.calls[path]
        for call in calls:
            self._check_followed(call)
        if neuron.layout == "tick":
            if any(math.prod(call.shape) != batch * size for call in calls):
                raise BadInput(f"module {self.shown(path)!r}: its input has different sizes in different ticks")
            parts = [self._by_source(call, (batch, size)) for call in calls]
            names = dict.fromkeys(name for part in parts for name in part)
            nothing = np.full((batch, size), -1)
            return {name: np.stack([part.get(name, nothing) for part in parts]) for name in names}
        if neuron.layout == "time first":
            return self._by_source(calls[0], (self.ticks, batch, size))
        found = self._by_source(calls[0], (batch, self.ticks, size))
        return {name: numbers.swapaxes(0, 1) for name, numbers in found.items()}

    def _check_followed(self, call: Call) -> None:
        if call.computed:
            raise self._computed(call)

    def _computed(self, call: Call) -> BadInput:
        added = "adding numbers that are no layer's, or one layer twice"
        by = f"torch's {call.names}" if call.names else added
        return BadInput(
            f"module {self.shown(call.path)!r}: its input is computed by {by} between the layers, which a chip does "
            "not do: neurons see sums of weighted spikes. Make it a layer (Linear, Conv, AvgPool), or leave it out"
        )

    def _by_source(self, call: Call, shape: Shape) -> dict[str, Integers]:
        found: dict[str, Integers] = {}
        for numbers in call.sources:
            blocks = self.trace.block_of(numbers)
            owner = np.where(blocks < 0, -1, self.path_of_block[blocks])
            for index in np.unique(owner[owner >= 0]).tolist():
                path = self.paths[index]
                part = np.where(owner == index, numbers, -1).reshape(shape)
                before = found.get(path)
                found[path] = part if before is None else np.where(part >= 0, part, before)
        return found

    def _lead(self, target: _Node, source: str, numbers: Integers) -> None:
        """Add the edges from a source into a node, whose inputs are `numbers` `[ticks, batch, size]` of the source."""
        if source == "":
            self.inputs.append((_Edge_Input(numbers), target))
        elif source in self.neurons:
            target.sources.append(self._from_neuron(target, source, numbers))
        else:
            target.sources += self._from_layer(target, source, numbers)

    def _from_neuron(self, target: _Node, source: str, numbers: Integers) -> _Edge:
        node, neuron = self.nodes[source,], self.neurons[source]
        _, rows = self.rows[node.name]
        there = numbers >= 0
        block = np.where(there, self.trace.block_of(numbers), 0)
        if neuron.threshold is None:
            raise BadInput(
                f"module {self.shown(source)!r}: {self.shown(target.path)!r} depends on it, but it is a readout, "
                "without a threshold or a reset: a layer on a chip hears spikes. Give it both, or end with it"
            )
        if (self.b_port[block][there] != 0).any():
            raise BadInput(
                f"module {self.shown(source)!r}: {self.shown(target.path)!r} is given its membrane or current; a layer "
                "on a chip hears spikes alone: pass on the spikes"
            )
        row, place = np.divmod(numbers - self.b_start[block], rows.size)
        call = self.b_number[block]
        ticks, batch, _ = numbers.shape
        layout = neuron.layout
        batches = rows.call.shape[1]
        if layout == "tick":
            tick, sequence = call, row
        elif layout == "time first":
            tick, sequence = np.divmod(row, batches)
        else:
            sequence, tick = np.divmod(row, self.ticks)
        late = np.arange(ticks)[:, None, None] - tick
        if batch != batches or (sequence != np.arange(batch)[None, :, None])[there].any():
            raise BadInput(
                f"module {self.shown(target.path)!r}: mixes the sequences of a batch of {self.shown(source)!r}; "
                "sequences on a chip are apart"
            )
        delay = int(late[there].min())
        columns = there.any((0, 1))
        steady = (there[delay:] == columns).all() and not there[:delay].any() and (late[there] == delay).all()
        chosen = np.where(columns, place[-1, 0], -1)
        if not steady or (place[delay:] != chosen)[there[delay:]].any():
            self._irregular(target, source)
        return _Edge(node, delay, chosen)

    def _from_layer(self, target: _Node, source: str, numbers: Integers) -> Iterator[_Edge]:
        module = self.module.get_submodule(source)
        calls = self.trace.calls[source]
        dims = layers.dimensions(module, calls[0].shape)
        if dims is None:
            raise BadInput(
                f"module {self.shown(source)!r}: {type(module).__name__} {layers.WHY}; {self.shown(target.path)!r} "
                f"depends on it{_advice(module)}"
            )
        there = numbers >= 0
        block = np.where(there, self.trace.block_of(numbers), 0)
        call = self.b_number[block]
        columns = np.flatnonzero(there[-1, 0])
        if not np.array_equal(there.any((0, 1)), there[-1, 0]):
            self._irregular(target, source)
        # A layer without a state may be called in several places, each of which is a node.
        for last in np.unique(call[-1, 0, columns]).tolist():
            given = calls[last].shape[len(calls[last].shape) - dims :]
            _, shape = layers.node_of(self.shown(source), module, given)
            row, place = np.divmod(numbers - self.b_start[block], math.prod(shape))
            of_call = columns[call[-1, 0, columns] == last]
            for kind in np.unique(row[-1, 0, of_call]).tolist():
                mine = of_call[row[-1, 0, of_call] == kind]
                first = int(there[:, 0, mine[0]].argmax())
                whose = np.s_[first:, :, mine]
                same = (
                    there[whose].all()
                    and not there[:first][:, :, mine].any()
                    and (call[whose] == call[first:, :, mine[:1]]).all()
                    and (row[whose] == row[first:, :, mine[:1]]).all()
                    and (place[whose] == place[-1, 0, mine]).all()
                    and all(calls[c].shape[-dims:] == given for c in np.unique(call[whose]).tolist())
                )
                if not same:
                    self._irregular(target, source)
                node = self._layer(source, given, shape, call[first:, :, mine[0]], row[first:, :, mine[0]])
                chosen = np.full(numbers.shape[2], -1)
                chosen[mine] = place[-1, 0, mine]
                yield _Edge(node, first, chosen)

    def _irregular(self, target: _Node, source: str) -> NoReturn:
        """Refuse what is not the same in every tick, or what a function made so."""
        self._check_names(target)
        raise BadInput(
            f"module {self.shown(target.path)!r}: hears {self.shown(source) or 'the sample'!r} otherwise in some ticks "
            "or sequences than in others, or from several rows at once; the wiring of a chip is the same in every tick"
        )

    def _check_names(self, target: _Node) -> None:
        for call in self.trace.calls[target.path]:
            if call.names:
                raise self._computed(call)

    def _layer(self, path: str, given: Shape, shape: Shape, call: Integers, row: Integers) -> _Node:
        """The node of a layer whose values in a tick are those of these calls and rows, `[ticks, batch]`."""
        key = (path, int(call[0, 0]), int(row[0, 0]))
        if key in self.nodes:
            return self.nodes[key]
        node = self.nodes[key] = _Node(self._name(path), path, given, shape)
        size = math.prod(given)
        tables: dict[int, dict[str, Integers]] = {}
        for c in np.unique(call).tolist():
            of_call = self.trace.calls[path][c]
            self._check_followed(of_call)
            tables[c] = self._by_source(of_call, (-1, size))
        for source in dict.fromkeys(name for table in tables.values() for name in table):
            numbers = np.full((*call.shape, size), -1)
            for c, table in tables.items():
                if source in table:
                    numbers[call == c] = table[source][row[call == c]]
            self._lead(node, source, numbers)
        return node

    def _trailing(self) -> list[_Node]:
        """The layers behind the last neurons: their sums are read."""
        seen = {key[0] for key in self.nodes}
        used = {
            self.trace.blocks[block].path
            for calls in self.trace.calls.values()
            for call in calls
            for numbers in call.sources
            for block in np.unique(self.trace.block_of(numbers)).tolist()
            if block >= 0
        }
        found = []
        batch = next(iter(self.rows.values()))[1].call.shape[1]
        for path, calls in self.trace.calls.items():
            if path in seen or path in used or not calls:
                continue
            module = self.module.get_submodule(path)
            dims = layers.dimensions(module, calls[0].shape)
            if dims is None or any(call.computed for call in calls):
                self.remarks.append(f"{self.shown(path)}: works on what the network gives, and is left to the host")
                continue
            given = calls[0].shape[len(calls[0].shape) - dims :]
            rows = math.prod(calls[0].shape) // math.prod(given)
            t, b = np.meshgrid(np.arange(self.ticks), np.arange(batch), indexing="ij")
            if len(calls) == self.ticks and rows == batch:
                call, row = t, b
            elif len(calls) == 1 and rows == self.ticks * batch:
                first = next(iter(self.neurons.values())).layout in ("batch first", "merged")
                call, row = 0 * t, (b * self.ticks + t if first else t * batch + b)
            else:
                self.remarks.append(f"{self.shown(path)}: does not run once in a tick, and is left to the host")
                continue
            _, shape = layers.node_of(self.shown(path), module, given)
            node = self._layer(path, given, shape, call, row)
            self.rows[node.name] = (path, Rows(call, row, 0, math.prod(shape)))
            found.append(node)
        return found

    # --- the graph -------------------------------------------------------------------------------------------------

    def _name(self, path: str) -> str:
        name = base = self.shown(path).replace(".", "_").replace("/", "_") or "network"
        number = 2
        while name in self.names:
            name, number = f"{base}_{number}", number + 1
        self.names.add(name)
        return name

    def _place(self) -> Place:
        """Where the inputs lie in the sample, and the edges from the input."""
        if not self.inputs:
            raise BadInput("nothing in the network depends on the sample; give the module's input as the sample")
        place: Place | None = None
        items: list[Integers] = []
        varies = np.zeros(len(self.sample_shape), bool)
        coordinates = []
        for edge, target in self.inputs:
            numbers = edge.numbers
            if (numbers < 0).any((0, 1)).any() and not ((numbers < 0).all((0, 1)) | (numbers >= 0).all((0, 1))).all():
                self._irregular(target, "")
            columns = np.flatnonzero((numbers >= 0).all((0, 1)))
            where = np.stack(np.unravel_index(numbers[:, :, columns], self.sample_shape))  # [dims, ticks, batch, n]
            varies |= (where != where[..., :1]).any((1, 2, 3))
            coordinates.append((columns, where))
        shape = tuple(n for n, varied in zip(self.sample_shape, varies, strict=True) if varied) or (1,)
        strides = np.array([math.prod(self.sample_shape[k + 1 :]) for k in range(len(self.sample_shape))])
        inside = np.array([math.prod(shape[k + 1 :]) for k in range(len(shape))])
        for (edge, target), (columns, where) in zip(self.inputs, coordinates, strict=True):
            outer = where[~varies]
            inner = where[varies]
            if (outer != outer[..., :1]).any() or (inner != inner[:, :1, :1]).any():
                self._check_names(target)
                raise BadInput(
                    f"module {self.shown(target.path)!r}: takes other parts of the sample in some ticks or sequences "
                    "than in others; give the sample as [ticks, batch, ...] or as the library has it"
                )
            base = (
                np.tensordot(strides[~varies], outer[..., 0], 1) if (~varies).any() else np.zeros(where.shape[1:3], int)
            )
            item = np.tensordot(inside, inner[:, 0, 0], 1) if varies.any() else np.zeros(len(columns), int)
            chosen = np.full(edge.numbers.shape[2], -1)
            chosen[columns] = item
            delay = 0
            if place is None:
                grid = np.stack(np.unravel_index(np.arange(math.prod(shape)), shape))
                offsets = np.tensordot(strides[varies], grid, 1) if varies.any() else np.zeros(1, int)
                place = Place(np.asarray(base, np.int64), np.asarray(offsets, np.int64), shape)
            else:
                ticks = len(base)
                fits = (d for d in range(ticks) if np.array_equal(base[d:], place.base[: ticks - d]))
                delay = next(fits, -1)
                if delay < 0 or (delay and len(np.unique(base)) > 1):
                    raise BadInput(
                        f"module {self.shown(target.path)!r}: takes the sample at other ticks than other layers"
                    )
            items.append(item)
            target.sources.append(_Edge(self.input, delay, chosen))
        assert place is not None
        self.input.shape = self.input.given = place.shape
        return place

    def _graph(self, trailing: list[_Node]) -> Wired:
        place = self._place()
        nodes: dict[str, nir.NIRNode] = {"input": nir.Input(np.array(place.shape))}
        edges: list[tuple[str, str]] = []
        everything = list(self.nodes.values())
        for node in everything:
            nodes |= self._made(node, edges)
        for node in everything:
            into = node.name
            neuron = self.neurons.get(node.path)
            if neuron is not None and neuron.weights is not None:
                into = f"{node.name}_input"
            for number, edge in enumerate(node.sources):
                self._join(nodes, edges, node, into, edge, number)
        _fold_batch_norms(nodes, edges, {n.name: self.module.get_submodule(n.path) for n in everything})
        ends = self._ends(everything, trailing)
        outputs = []
        for node in ends:
            name = "output" if len(ends) == 1 else self._name(f"{node.name}_output")
            nodes[name] = nir.Output(np.array(node.shape))
            edges.append((node.name, name))
            outputs.append(node.name if node.path in self.neurons else name)
        judged = {}
        for node in everything:
            if node.path in self.neurons:
                judged[node.name] = self.rows[node.name]
            elif node in trailing:
                judged[outputs[ends.index(node)]] = self.rows[node.name]
        graph = nir.NIRGraph(nodes, edges, metadata={"dt": self.dt_s}, type_check=False)
        return Wired(graph, place, judged, outputs, self.remarks)

    def _ends(self, everything: Sequence[_Node], trailing: Sequence[_Node]) -> list[_Node]:
        """The layers that are read: those that lead to nothing else; of a loop through several, the returned ones."""
        place = {id(node): number for number, node in enumerate(everything)}
        pairs = [
            (place[id(e.source)], place[id(n)]) for n in everything for e in n.sources if e.source is not self.input
        ]
        ways = np.array(pairs or [(0, 0)]).T
        joined = csr_array((np.ones(len(ways[0]), bool), tuple(ways)), shape=(len(everything), len(everything)))
        _, loop = connected_components(joined, connection="strong")
        leads_on = {int(loop[source]) for source, target in pairs if loop[source] != loop[target]}
        own = {
            self.trace.blocks[block].path
            for numbers in self.trace.returned
            for block in np.unique(self.trace.block_of(numbers)).tolist()
            if block >= 0
        }
        found = []
        for number in dict.fromkeys(loop.tolist()):
            if number in leads_on:
                continue
            inside = [n for n in everything if loop[place[id(n)]] == number]
            inside = [n for n in inside if n.path in self.neurons or n in trailing]
            found += [n for n in inside if n.path in own] or inside
        return sorted(found, key=lambda node: place[id(node)])

    def _made(self, node: _Node, edges: list[tuple[str, str]]) -> dict[str, nir.NIRNode]:
        """The NIR nodes of a layer."""
        neuron = self.neurons.get(node.path)
        if neuron is None:
            return {
                node.name: layers.node_of(self.shown(node.path), self.module.get_submodule(node.path), node.given)[0]
            }
        made = {node.name: neuron.node(node.shape, self.dt_s)}
        if neuron.weights is not None:
            made[f"{node.name}_input"] = nir.Linear(neuron.weights)
            edges.append((f"{node.name}_input", node.name))
        if neuron.recurrent is not None:
            back = f"{node.name}_recurrent"
            if isinstance(neuron.recurrent, nn.Module):
                made[back], _ = layers.node_of(self.shown(node.path), neuron.recurrent, self._taken(neuron, node.shape))
            else:
                made[back] = nir.Scale(np.broadcast_to(neuron.recurrent, node.shape).copy())
            if neuron.recurrent_late and getattr(neuron.recurrent, "bias", None) is not None:
                made[f"{back}_delay"] = nir.Delay(np.full(node.shape, self.dt_s))
                edges += [(node.name, back), (back, f"{back}_delay"), (f"{back}_delay", node.name)]
            else:
                edges += [(node.name, back), (back, node.name)]
        return made

    @staticmethod
    def _taken(neuron: Neuron, shape: Shape) -> Shape:
        return (math.prod(shape),) if isinstance(neuron.recurrent, nn.Linear) else shape

    def _join(
        self,
        nodes: dict[str, nir.NIRNode],
        edges: list[tuple[str, str]],
        target: _Node,
        into: str,
        edge: _Edge,
        number: int,
    ) -> None:
        """Add the way from a source into a node: a Delay, a choice of values, a Flatten, as far as they are needed."""
        source, at = edge.source, edge.source.name
        size, wanted = math.prod(source.shape), math.prod(target.given)
        same = size == wanted and np.array_equal(edge.chosen, np.arange(wanted))
        if edge.delay:
            name = self._name(f"{into}_{source.name}_delay")
            nodes[name] = nir.Delay(np.full(source.shape, edge.delay * self.dt_s))
            edges.append((at, name))
            at = name
        if not same:
            if size * wanted > MOST_CHOSEN:
                raise BadInput(
                    f"module {self.shown(target.path)!r}: takes {wanted:,} values in another order, or a part, of the "
                    f"{size:,} of {self.shown(source.path) or 'the sample'!r}; as a matrix that is too large: pass "
                    "them on as they are"
                )
            matrix = np.zeros((wanted, size), np.float32)
            there = np.flatnonzero(edge.chosen >= 0)
            matrix[there, edge.chosen[there]] = 1
            name = self._name(f"{into}_{source.name}_order")
            nodes[name] = nir.Linear(matrix)
            edges.append((at, name))
            at = name
        elif len(source.shape) > 1 and len(target.given) == 1:
            name = self._name(f"{into}_flatten")
            nodes[name] = nir.Flatten({"input": np.array(source.shape)}, 0, -1)
            edges.append((at, name))
            at = name
        edges.append((at, into))


@dataclass(frozen=True, eq=False)
class _Edge_Input:
    """Values of the sample that a node takes, `[ticks, batch, size]`."""

    numbers: Integers


def _fold_batch_norms(
    nodes: dict[str, nir.NIRNode], edges: list[tuple[str, str]], modules: Mapping[str, nn.Module]
) -> None:
    """Make a Linear or convolution and the batch norm behind it one node, where nothing else hears the first."""
    for name, module in modules.items():
        if not isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            continue
        before = [source for source, target in edges if target == name]
        if len(before) != 1 or sum(source == before[0] for source, _ in edges) != 1:
            continue
        if before[0] in modules and (folded := layers.with_batch_norm(nodes[before[0]], module)) is not None:
            nodes[before[0]] = folded
            del nodes[name]
            edges[:] = [(before[0] if source == name else source, target) for source, target in edges if target != name]


def _advice(module: nn.Module) -> str:
    kind = type(module).__name__
    if "MaxPool" in kind:
        return ". A maximum is no sum: use AvgPool2d, sinabs' SumPool2d, or a stride, and train again"
    if kind in ("ReLU", "Sigmoid", "Tanh", "GELU", "SiLU", "LeakyReLU"):
        return ". The neurons are the nonlinearity: leave it out, and train again"
    if "Norm" in kind:
        return ". Use BatchNorm, which becomes part of the weights"
    return ""
