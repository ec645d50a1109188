"""A NIR graph to populations and synapses: `from_nir`.

`reader.neurons` says what each neuron node means, `reader.connections` what each connection node means. Here, all
connections on a path between two neurons are folded into one matrix and one delay. Nested graphs are taken apart first.
Matrices are multiplied in float64.

Cycles. A cycle that holds a Delay is taken literally. A cycle without a Delay gets one tick. More exactly: take each
strongly connected component of the synapses without delay. Of the synapses inside the component, those that do not lead
forward get a delay of one tick. Forward means from a lower to a higher (number of synapses from the nearest input,
name). So a self-loop without a Delay always takes one tick. Other tools that break cycles (NIRTorch) also use one tick.

Outputs. If weights lead to an Output, or several nodes do, the Output reads a sum. The sum becomes a population of its
own, named after the Output: an integrator that forgets at once (tau of one tick).

Biases. The bias of a connection is added to the bias of the neuron that it leads to, and acts from the first tick on.
If a delay or a synaptic filter lies in between, the bias becomes synapses from a neuron that fires in every tick.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from muspike.arguments import instance
from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.graph import Population, SpikingGraph, Synapses, always_firing
from muspike.hardware.reader.connections import CONNECTIONS, Given, Port, Step
from muspike.hardware.reader.neurons import NEURONS, Neuron, own_shape, read_neuron, shape_for
from muspike.hardware.reader.node import MOST_VALUES, Shape, declared_shape, end_of_size
from muspike.hardware.reader.tick import tick_of
from muspike.hardware.weights import Weights

# A file of few bytes can ask for much memory and time. These limits bound: the weights of one path between two neurons
# once they are multiplied out, the number of paths, the connections on one path, and graphs within graphs.
MOST_WEIGHTS = 2**27
MOST_PATHS = 10_000
LONGEST_PATH = 1_000
DEEPEST_NESTING = 64


@dataclass(frozen=True)
class _Signal:
    """What travels along a path from a neuron: `weights @ spikes` of the source, `delay` ticks ago.

    Attributes:
        weights: `[size, source neurons]`; None: the spikes themselves.
        shape: how the `size` values are arranged.
        delay: in ticks.
        via: the connections passed so far.
        named: those of the connections in `via` that hold weights.
    """

    weights: Weights | None
    shape: Shape
    delay: int = 0
    via: tuple[str, ...] = ()
    named: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def given(self) -> Given:
        return Given(self.shape, self.via[-1] if self.via else None)

    def matrix(self) -> Weights:
        return w.identity(self.size) if self.weights is None else self.weights


def from_nir(graph: nir.NIRGraph, dt_s: float | None = None) -> SpikingGraph:
    """Read a NIR graph as populations and synapses.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import from_nir
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> [(p.name, p.kind, p.size) for p in from_nir(graph, dt_s=1e-3).populations]
    [('input', 'input', 2), ('if', 'lif', 2)]

    Args:
        graph: any graph of the primitives in `NEURONS` and `CONNECTIONS`. It may hold nested graphs and cycles.
        dt_s: seconds per tick; None: `graph.metadata["dt"]`. dt is never guessed.

    Raises:
        BadInput: dt is missing, or `dt_s` and the metadata differ; a primitive is not supported; a parameter, shape or
            edge makes no sense; the graph exceeds a limit of this module. The message names the node.
    """
    if isinstance(graph, str | os.PathLike):
        raise BadInput(f"from_nir: {os.fspath(graph)} is the name of a file; give what read_nir reads from it")
    instance("from_nir: graph", graph, nir.NIRGraph, "a nir.NIRGraph")
    metadata = _plain(getattr(graph, "metadata", None) or {})
    return _Reader(graph, tick_of(graph, metadata, dt_s)).read(metadata)


class _Reader:
    """The reading of one graph.

    Attributes:
        dt_s: seconds per tick.
        nodes: all nodes by name, without nested graphs.
        after: the nodes that each node leads to.
        own_shapes: the shape that each neuron node states; None: its parameters stand for any shape.
        steps: the connections read so far, by name and by the shape that reaches them.
        paths_walked: edges followed so far.
        neurons: the populations by name; `_output` and `_add_biases` add some and replace some.
    """

    def __init__(self, graph: nir.NIRGraph, dt_s: float) -> None:
        self.dt_s = dt_s
        self.nodes, edges = _flatten(graph)
        _check_edges(self.nodes, edges)
        self.after: dict[str, list[str]] = defaultdict(list)
        # Each edge counts once, because NIR defines edges as a set; files of older tools repeat edges.
        for source, target in dict.fromkeys(edges):
            self.after[source].append(target)
        self.steps: dict[tuple[str, Shape], Step] = {}
        self.paths_walked = 0
        for name, node in self.nodes.items():
            if type(node) not in NEURONS and type(node) not in CONNECTIONS and not isinstance(node, nir.Output):
                supported = sorted(kind.__name__ for kind in (*NEURONS, *CONNECTIONS) if kind is not Port)
                raise BadInput(
                    f"node {name!r}: {type(node).__name__} is not supported; supported: {', '.join(supported)}, Output"
                )
        self.own_shapes = {name: own_shape(name, node) for name, node in self.nodes.items() if type(node) in NEURONS}
        self.neurons = self._read_neurons()

    def read(self, metadata: Mapping[str, Any]) -> SpikingGraph:
        synapses: list[Synapses] = []
        into_output: dict[str, list[tuple[str, _Signal]]] = defaultdict(list)
        for source, neuron in self.neurons.items():
            start = _Signal(None, neuron.population.shape)
            for target, signal in self._paths(source, start):
                if target in self.neurons:
                    _check_source(source, neuron, target)
                    synapses.append(_synapses(source, self.neurons[target], signal))
                else:
                    into_output[target].append((source, signal))
        walked = {name for name, _ in self.steps}
        if stray := [name for name in self.nodes if type(self.nodes[name]) in CONNECTIONS and name not in walked]:
            raise BadInput(f"node {stray[0]!r}: no Input or neuron leads to it")

        outputs = {self._output(name, arriving, synapses) for name, arriving in into_output.items()}
        self._add_biases(synapses)
        populations = [neuron.population for neuron in self.neurons.values()]
        ordered, rank = _ordered(populations, synapses)
        synapses.sort(key=lambda s: (rank[s.target], rank[s.source], s.name, s.delay))
        return SpikingGraph(
            populations=ordered,
            synapses=_named_apart(_broken_cycles(synapses, rank)),
            dt_s=self.dt_s,
            outputs=tuple(sorted(outputs, key=rank.__getitem__)),
            metadata=metadata,
        )

    def _step(self, name: str, given: Given) -> Step:
        key = name, given.shape
        if key not in self.steps:
            node = self.nodes[name]
            self.steps[key] = CONNECTIONS[type(node)](name, node, given, self.dt_s)
        return self.steps[key]

    def _input_shape(self, name: str) -> Shape:
        """The shape of an Input, without the dimensions of batch and time that some tools put before it.

        It is the longest end of the declared shape that fits all that follows the Input; if none fits, the declared
        shape.
        """
        declared = self.own_shapes[name]
        assert declared is not None
        ends = (declared[k:] for k in range(len(declared)))
        # If none fits, the error is raised by the node that the declared shape does not fit.
        return next((shape for shape in ends if self._shapes_after({name: shape})[1] is None), declared)

    def _shapes_after(self, inputs: Mapping[str, Shape]) -> tuple[dict[str, Shape], BadInput | None]:
        """Follow Inputs of these shapes through the graph.

        If several shapes reach a neuron whose parameters fit them all, it takes the one with the most dimensions: the
        others have come through a Linear, which flattens.

        Returns:
            shapes: the shape of each Input and of each neuron that they reach.
            misfit: the first node that its input does not fit; None: all fit.
        """
        shapes = dict(inputs)
        waiting = deque(inputs)
        misfits: dict[str, BadInput | None] = {}  # what each Input and neuron, in its latest shape, does not fit
        while waiting:
            source = waiting.popleft()
            reached, misfits[source] = self._shapes_from(source, shapes[source])
            for name, shape in reached:
                if name not in shapes or len(shape) > len(shapes[name]):
                    shapes[name] = shape
                    waiting.append(name)
        return shapes, next((misfit for misfit in misfits.values() if misfit), None)

    def _shapes_from(self, source: str, shape: Shape) -> tuple[list[tuple[str, Shape]], BadInput | None]:
        """Follow connections from an Input or neuron to the next neurons and Outputs.

        Returns:
            reached: each neuron, with the shape that it takes.
            misfit: the first node that does not fit; None: all fit. The same error is raised when the graph is read
                for good.
        """
        reached: list[tuple[str, Shape]] = []
        waiting, seen = [(source, shape)], {(source, shape)}
        misfit: BadInput | None = None
        while waiting:
            at, shape = waiting.pop()
            for name in self.after[at]:
                node, given = self.nodes[name], Given(shape, at)
                try:
                    if type(node) in NEURONS:
                        reached.append((name, self._neuron_shape(name, given)))
                    elif type(node) not in CONNECTIONS:
                        _check_output(name, node, given)
                    elif (after := (name, self._step(name, given).shape)) not in seen:
                        seen.add(after)
                        waiting.append(after)
                except BadInput as error:
                    misfit = misfit or error
        return reached, misfit

    def _neuron_shape(self, name: str, given: Given) -> Shape:
        own = self.own_shapes[name]
        shape = shape_for(name, self.nodes[name], own, given.shape)
        if shape is None:
            given.fits(name, math.prod(own or ()))
            raise BadInput(f"node {name!r}: its parameters do not fit {list(given.shape)}")
        return shape

    def _paths(self, start: str, signal: _Signal) -> Iterator[tuple[str, _Signal]]:
        """Follow `signal` along every path to the next neuron or Output; give each of these, and what reaches it."""
        waiting = [(start, signal)]
        while waiting:
            at, signal = waiting.pop()
            for name in reversed(self.after[at]):
                self._count_path(start)
                if type(self.nodes[name]) not in CONNECTIONS:
                    yield name, signal
                    continue
                if name in signal.via:
                    way = " -> ".join(signal.via[signal.via.index(name) :])
                    raise BadInput(f"node {name!r}: a cycle through {way} holds no neuron")
                if len(signal.via) == LONGEST_PATH:
                    raise BadInput(f"node {name!r}: more than {LONGEST_PATH} connections in a row, without a neuron")
                waiting += [(name, after) for after in self._stepped(name, signal, at)]

    def _count_path(self, start: str) -> None:
        self.paths_walked += 1
        if self.paths_walked > (most := MOST_PATHS + 2 * sum(map(len, self.after.values()))):
            raise BadInput(
                f"node {start!r}: the graph has more than {most} ways from one neuron to the next; expected fewer"
            )

    def _read_neurons(self) -> dict[str, Neuron]:
        """Read every neuron node, each in the shape that `_shapes_after` finds for it, or else in its own."""
        inputs = {name: self._input_shape(name) for name in self.own_shapes if isinstance(self.nodes[name], nir.Input)}
        shapes, misfit = self._shapes_after(inputs)
        self.steps.clear()  # they hold shapes that were only tried
        neurons = {}
        for name, own in self.own_shapes.items():
            shape = shapes.get(name, own)
            if shape is None:
                raise misfit or BadInput(
                    f"node {name!r}: its parameters are single numbers, and nothing that has a shape leads to it"
                )
            neurons[name] = read_neuron(name, self.nodes[name], shape, self.dt_s)
        if (total := sum(n.population.size for n in neurons.values())) > MOST_VALUES:
            raise BadInput(f"the NIR graph has {total} neurons, expected at most {MOST_VALUES}")
        return neurons

    def _stepped(self, name: str, signal: _Signal, by: str) -> Iterator[_Signal]:
        """What comes out of a connection that the node `by` leads to: a signal for each length of its delays."""
        step = self._step(name, Given(signal.shape, by))
        via = (*signal.via, name)
        if step.weights is not None:
            weights = step.weights if signal.weights is None else _composed(name, step.weights, signal.weights)
            yield replace(signal, weights=weights, shape=step.shape, via=via, named=(*signal.named, name))
        elif step.delays is None:
            yield replace(signal, shape=step.shape, via=via)
        else:
            lengths = np.unique(step.delays)
            if len(lengths) * signal.size > MOST_VALUES:
                raise BadInput(
                    f"node {name!r}: {len(lengths)} different delays of {signal.size} values, expected at most "
                    f"{MOST_VALUES // signal.size}"
                )
            for n in lengths.tolist():
                late = replace(signal, shape=step.shape, delay=signal.delay + n, via=via)
                if len(lengths) > 1:
                    late = replace(late, weights=w.rows_scaled(late.matrix(), (step.delays == n).astype(np.float32)))
                yield late

    def _output(self, name: str, arriving: Sequence[tuple[str, _Signal]], synapses: list[Synapses]) -> str:
        """The name of the population that an Output reads. For a sum, make that population and its synapses."""
        for source, signal in arriving:
            _check_output(name, self.nodes[name], _given(signal, source))
            _given(signal, source).fits(name, arriving[0][1].size)
        source, signal = arriving[0]
        if len(arriving) == 1 and signal.weights is None and not signal.delay:
            return source
        for source, signal in arriving:
            if self.neurons[source].population.kind == "li":
                by = signal.via[-1] if signal.via else source
                raise BadInput(
                    f"node {by!r}: leads from the integrator {source!r} to {name!r}, which is not that alone; only "
                    "spikes travel on a chip, so let an Output read the integrator itself"
                )
        shape = arriving[0][1].shape
        n = math.prod(shape)
        unit, zero = np.ones(n), np.zeros(n)
        self.neurons[name] = Neuron(Population(name, "li", n, unit, unit, np.full(n, np.inf), zero, shape), unit)
        synapses += [_synapses(source, self.neurons[name], signal) for source, signal in arriving]
        return name

    def _add_biases(self, synapses: list[Synapses]) -> None:
        """Add the biases of connections to the neurons that the connections lead to."""
        always = None
        biased = {name: step for (name, _), step in self.steps.items() if step.bias is not None and step.bias.any()}
        for name, step in biased.items():
            assert step.bias is not None
            started = _Signal(step.bias[:, None], step.shape, via=(name,), named=(f"{name}.bias",))
            for target, signal in self._paths(name, started):
                neuron = self.neurons[target]
                p = neuron.population
                if signal.delay or (p.tau_syn != 1).any():
                    always = always or self._always_firing()
                    synapses.append(_synapses(always, neuron, signal))
                    continue
                signal.given.fits(target, p.size)
                assert signal.weights is not None
                bias = p.bias + neuron.input_factor * w.dense(signal.weights)[:, 0].astype(np.float64)
                self.neurons[target] = replace(neuron, population=replace(p, bias=bias))

    def _always_firing(self) -> str:
        """Make a neuron that fires in every tick, from the first on, and give its name."""
        name = "bias"
        while name in self.neurons:
            name += "_"
        self.neurons[name] = Neuron(always_firing(name), np.ones(1))
        return name


def _composed(name: str, outer: Weights, inner: Weights) -> Weights:
    try:
        return w.composed(w.astype(outer, np.float64), w.astype(inner, np.float64), MOST_WEIGHTS)
    except BadInput as error:
        raise BadInput(f"node {name!r}: {error}; put a neuron between them") from None


def _plain(value: Any) -> Any:
    """Metadata as plain Python values. A file holds numbers as NumPy scalars and texts as bytes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _flatten(graph: nir.NIRGraph, prefix: str = "", depth: int = 0) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """All nodes and edges, with the nested graphs taken apart.

    A node of a nested graph is called `outer.inner`. The nested graph's Inputs and Outputs become `Port`s. An edge to a
    nested graph leads to its one Input, an edge from it comes from its one Output. If there are several, the edge has
    to name one as `outer.inner`.
    """
    if depth > DEEPEST_NESTING:
        raise BadInput(f"node {prefix[:60]!r}: more than {DEEPEST_NESTING} graphs within graphs")
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    # The nodes that an edge of this graph may begin or end at, by the name that the edge uses.
    begin: dict[str, str] = {}
    end: dict[str, str] = {}

    def add(name: str, node: Any) -> None:
        if name in nodes:
            raise BadInput(f"node {name!r}: the name is taken more than once")
        nodes[name] = node

    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        if not isinstance(node, nir.NIRGraph):
            add(name, node)
            begin[name] = end[name] = name
            continue
        inner, inner_edges = _flatten(node, f"{name}.", depth + 1)
        for kind, ends in ((nir.Input, end), (nir.Output, begin)):
            ports = [f"{name}.{k}" for k, n in node.nodes.items() if isinstance(n, kind)]
            inner |= {port: Port() for port in ports}
            ends |= {port: port for port in ports}
            if len(ports) == 1:
                ends[name] = ports[0]
        for inner_name, inner_node in inner.items():
            add(inner_name, inner_node)
        edges += inner_edges
    nested = {f"{prefix}{key}" for key, node in graph.nodes.items() if isinstance(node, nir.NIRGraph)}
    for a, b in graph.edges:
        source, target = f"{prefix}{a}", f"{prefix}{b}"
        for name, ends in ((source, begin), (target, end)):
            if name not in ends:
                if name in nested:
                    what = "is a nested graph without one port that this could be; name one as graph.port"
                else:
                    what = "is inside a nested graph" if name in nodes else "is not there"
                raise BadInput(f"edge {source!r} -> {target!r}: {name!r} {what}")
        edges.append((begin[source], end[target]))
    return nodes, edges


def _check_edges(nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> None:
    fed, feeding = {b for _, b in edges}, {a for a, _ in edges}
    if not any(isinstance(node, nir.Input) for node in nodes.values()):
        raise BadInput("the NIR graph has no Input node")
    for name, node in nodes.items():
        if isinstance(node, nir.Input):
            if name in fed:
                raise BadInput(f"node {name!r}: an Input with an edge into it")
        elif name not in fed:
            raise BadInput(f"node {name!r}: nothing leads to it")
        if isinstance(node, nir.Output) and name in feeding:
            raise BadInput(f"node {name!r}: an Output with an edge out of it")
        if type(node) in CONNECTIONS and name not in feeding and not isinstance(node, Port):
            raise BadInput(f"node {name!r}: {type(node).__name__} leads nowhere")


def _check_output(name: str, node: nir.Output, given: Given) -> None:
    """Check that an Output takes what reaches it. The shape may stand behind dimensions of batch and time."""
    declared = declared_shape(name, node.output_type, "output")
    if declared is not None and end_of_size(declared, given.size) is None:
        given.fits(name, math.prod(declared))


def _given(signal: _Signal, source: str) -> Given:
    return signal.given if signal.via else Given(signal.shape, source)


def _check_source(source: str, neuron: Neuron, target: str) -> None:
    if neuron.population.kind == "li":
        raise BadInput(
            f"node {source!r}: an integrator that feeds {target!r}; "
            "only spikes travel between neurons, so it must lead to an Output"
        )


def _synapses(source: str, target: Neuron, signal: _Signal) -> Synapses:
    name = target.population.name
    _given(signal, source).fits(name, target.population.size)
    weight = signal.matrix()
    if (target.input_factor != 1).any():
        weight = w.rows_scaled(weight, target.input_factor)
    if not np.isfinite(w.values(weight)).all():
        raise BadInput(f"node {name!r}: the weights through {' -> '.join(signal.via)} overflow {weight.dtype}")
    return Synapses("+".join(signal.named) or f"{source}->{name}", source, name, weight, signal.delay)


def _ordered(
    populations: Sequence[Population], synapses: Sequence[Synapses]
) -> tuple[list[Population], dict[str, tuple[float, str]]]:
    """The populations, sorted by (number of synapses from the nearest input, name), and this rank of each by name.

    So the order does not depend on the order of nodes in a file.
    """
    targets: dict[str, set[str]] = defaultdict(set)
    for s in synapses:
        targets[s.source].add(s.target)
    distance: dict[str, float] = {p.name: 0 for p in populations if p.kind == "input"}
    queue = deque(distance)
    while queue:
        name = queue.popleft()
        for target in targets[name]:
            if target not in distance:
                distance[target] = distance[name] + 1
                queue.append(target)
    rank = {p.name: (distance.get(p.name, math.inf), p.name) for p in populations}
    return sorted(populations, key=lambda p: rank[p.name]), rank


def _broken_cycles(synapses: Sequence[Synapses], rank: Mapping[str, tuple[float, str]]) -> list[Synapses]:
    """Give a delay of one tick to the synapses that do not lead forward inside a cycle without delay."""
    index = {name: i for i, name in enumerate(rank)}
    at_once = [(index[s.source], index[s.target]) for s in synapses if s.delay == 0]
    row, column = (np.array(ends, dtype=np.int64) for ends in (zip(*at_once, strict=True) if at_once else ([], [])))
    links = csr_array((np.ones(len(row)), (row, column)), shape=(len(index), len(index)))
    _, component = connected_components(links, directed=True, connection="strong")

    def closes(s: Synapses) -> bool:
        same = component[index[s.source]] == component[index[s.target]]
        return bool(s.delay == 0 and same and rank[s.target] <= rank[s.source])

    return [replace(s, delay=1) if closes(s) else s for s in synapses]


def _named_apart(synapses: Sequence[Synapses]) -> list[Synapses]:
    """Synapses with unique names.

    If several paths share a node with weights, source and target are added to its name. If names are still the same,
    the delay is added; after that, a number.
    """

    def apart(items: Sequence[Synapses], longer: Callable[[Synapses], str]) -> list[Synapses]:
        taken = Counter(s.name for s in items)
        return [replace(s, name=longer(s)) if taken[s.name] > 1 else s for s in items]

    named = apart(synapses, lambda s: f"{s.source}->{s.name}->{s.target}")
    named = apart(named, lambda s: f"{s.name}@{s.delay}")
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(1))
    return apart(named, lambda s: f"{s.name}#{next(numbers[s.name])}")
