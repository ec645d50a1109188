"""A NIR graph as one reader of NIR executes it: `rewrite`.

The graph is read as populations and synapses, and written anew in few kinds of nodes: one Input, Linear and Affine, LIF
and CubaLIF, one Output. So what a reader does not know (Scale, Delay, Conv2d, Threshold, LI ...) is gone.

Numbers. Weights carry r, w_in and, where the reader wants it, the gain of a neuron. A threshold that must be shared is
1, and the weights are divided by the neuron's own. A threshold that a reader takes for "at least" is the next float32
above the one that is meant. A readout is a LIF that never fires; its membrane is what is read.

Time. The reader's tick is the network's tick, and the metadata's `dt` is the one that the reader assumes.

Delays. A cycle takes one tick in every reader, if its nodes are ordered so. A population of 2n relays, LIF of one tick,
passes n spikes on one tick later: its first half repeats its source at once, and a cycle leads from the first half to
the second. A delay of d ticks is a chain of d such populations. A synapse against the order of nodes is a cycle itself,
so it needs one fewer.

Order. Readers order the nodes of a tick by name or along edges. So names begin with a number, `n0003_layer1`. Where the
order follows edges, a Linear of zeros leads from each node to the next.
"""

from __future__ import annotations

import graphlib
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from muspike.errors import BadInput
from muspike.export.readers.dialects import DIALECTS, NEVER, NO_LEAK_TICKS, Dialect
from muspike.hardware import weights as w
from muspike.hardware.graph import Population, SpikingGraph
from muspike.hardware.reader.from_nir import from_nir

Doubles = npt.NDArray[np.float64]

MOST_WEIGHTS = 2**27
"""The most weights of a rewritten graph: 512 MB in a reader. A file is far smaller, because most of them are 0."""
MOST_NODES = 1600
"""The most nodes of a rewritten graph. NIRTorch 2.6 takes a time that grows with their third power."""
DEEPEST = 900
"""The longest way that a reader follows by recursion; Python ends it at 1,000 calls."""
LARGEST_RELAY = 192
"""The most neurons of a source that share a population of relays; a larger source has several chains."""
_RELAY_THRESHOLD = 0.5


def rewrite(graph: nir.NIRGraph, reader: str) -> nir.NIRGraph:
    """The network of `graph` as a graph that the tool `reader` executes equally.

    Returns:
        The graph, with the metadata of `graph` and the reader's `dt`. `populations_of` gives the populations of its
        nodes.

    Raises:
        BadInput: the reader cannot execute the network. The message names the node and the reason.
    """
    if reader not in DIALECTS:
        raise BadInput(f"reader {reader!r} is not known; known are {', '.join(DIALECTS)}")
    return _Writer(from_nir(graph), DIALECTS[reader]).graph()


def populations_of(graph: nir.NIRGraph) -> dict[str, str]:
    """The nodes of a rewritten graph that are spiking populations of the network, with their names there.

    Relays and readouts are none of them.
    """
    kept = json.loads(graph.metadata["populations"])
    return {name: str(kept[name]) for name in graph.nodes if name in kept}


@dataclass(eq=False)
class _Part:
    """A node, the nodes that it hears, and whether it leads back to an earlier one."""

    name: str
    node: Any
    sources: list[_Part] = field(default_factory=list)
    leads_back: bool = False


@dataclass(frozen=True)
class _Tap:
    """Relays that hold what part of a population fired some ticks ago.

    Attributes:
        part: the population of relays.
        first, size: which neurons of the population; the relays' second half holds their spikes.
    """

    part: _Part
    first: int
    size: int


class _Writer:
    """One rewriting.

    Attributes:
        source: the network.
        dialect: what the reader does.
        order: the populations, in the order of a tick.
        parts: the nodes, in the order of a tick.
        made: the node of each population.
        taps: by population, the relays after each number of ticks, from 1 on.
    """

    def __init__(self, source: SpikingGraph, dialect: Dialect) -> None:
        self.source = source
        self.dialect = dialect
        self.order = _order(source)
        self.rank = {p.name: i for i, p in enumerate(self.order)}
        self.parts: list[_Part] = []
        self.made: dict[str, _Part] = {}
        self.taps: dict[str, list[list[_Tap]]] = {}

    def graph(self) -> nir.NIRGraph:
        self._check()
        incoming = {p.name: into for p, into in self.source.with_incoming()}
        longest = self._longest_delays()
        self._check_size(longest)
        against = defaultdict(list)  # synapses whose source comes later, by source
        for p in self.order:
            sources: list[_Part] = []
            if p.kind == "input":
                part = self._add(p.name, nir.Input(np.array([p.size])))
            else:
                gain = self._gain(p)
                bias: Doubles | None = gain * p.bias if p.bias.any() else None
                for s in incoming[p.name]:
                    if self.rank[s.source] >= self.rank[p.name]:
                        against[s.source].append(s)
                        continue
                    matrix = gain[:, None] * w.dense(s.weight)
                    for piece, heard in self._heard(s.source, s.delay, matrix):
                        sources.append(self._linear(s.name, piece, heard, bias))
                        bias = None
                if bias is not None or not sources:
                    # A bias acts from the first tick on; through a cycle it would come one tick later.
                    nothing = np.zeros((p.size, self.order[0].size))
                    sources.append(self._linear(f"{p.name}.bias", nothing, self.parts[0], bias))
                part = self._add(p.name, self._neuron(p), *sources)
            self.made[p.name] = part
            self._relays(p, longest.get(p.name, 0))
            for s in against[p.name]:
                target = self.source.population(s.target)
                matrix = self._gain(target)[:, None] * w.dense(s.weight)
                for piece, heard in self._heard(s.source, s.delay - 1, matrix):
                    self.made[s.target].sources.append(self._back(s.name, piece, heard))
        output = self.source.outputs[0]
        self._add("output", nir.Output(np.array([self.source.population(output).size])), self.made[output])
        return self._assembled()

    def _check(self) -> None:
        name, inputs = self.dialect.name, [p for p in self.order if p.kind == "input"]
        if len(inputs) != 1:
            raise BadInput(
                f"node {inputs[1].name if inputs else '(none)'!r}: {name} reads one Input, not {len(inputs)}"
            )
        if len(self.source.outputs) != 1:
            outputs = self.source.outputs
            raise BadInput(f"node {(*outputs, '(none)')[-1]!r}: {name} reads one Output, not {len(outputs)}")
        for p in self.order:
            if p.kind == "input":
                continue
            if not self.dialect.spikes_once:
                raise BadInput(
                    f"node {p.name!r}: {name} keeps exp(-1 / tau) of a membrane, takes the threshold off after a spike "
                    "and fires several times in a tick; in NIR the membrane becomes 0 and a neuron fires once"
                )
            for what, values in (("tau", p.tau), ("tau_syn", p.tau_syn)):
                if what in self.dialect.uniform and len(np.unique(values)) > 1:
                    raise BadInput(
                        f"node {p.name!r}: {what} holds {len(np.unique(values))} values; {name} reads one for all "
                        "neurons of a node"
                    )
            if p.kind == "lif" and self._shares_threshold(p) and (p.v_threshold <= 0).any():
                raise BadInput(
                    f"node {p.name!r}: v_threshold holds 0 and other values; {name} reads one for all neurons"
                )
            if (p.tau_syn != 1).any() and np.isinf(p.tau).any():
                raise BadInput(f"node {p.name!r}: a filtered input and no leak; {name} has no such neuron")

    def _shares_threshold(self, p: Population) -> bool:
        return "threshold" in self.dialect.uniform and p.kind == "lif" and len(np.unique(p.v_threshold)) > 1

    def _longest_delays(self) -> dict[str, int]:
        """By population, the most ticks that relays have to hold its spikes."""
        longest: dict[str, int] = defaultdict(int)
        for s in self.source.synapses:
            held = s.delay - (self.rank[s.source] >= self.rank[s.target])
            longest[s.source] = max(longest[s.source], held)
        return longest

    def _longest_told(self) -> str:
        """Where most relays come from, as the beginning of an error; nothing if there are none."""
        longest = self._longest_delays()
        name = max(longest, key=lambda n: longest[n], default="")
        return f"node {name!r}: its spikes are needed {longest[name]} ticks later; " if longest.get(name) else ""

    def _check_size(self, longest: Mapping[str, int]) -> None:
        for name, ticks in longest.items():
            size = self.source.population(name).size
            chains = math.ceil(size / LARGEST_RELAY)
            weights = 8 * ticks * size * math.ceil(size / chains)
            nodes = 4 * ticks * chains
            if weights > MOST_WEIGHTS or nodes > MOST_NODES:
                raise BadInput(
                    f"node {name!r}: its spikes are needed {ticks} ticks later; the relays for them would be {nodes:,} "
                    f"nodes with {weights:,} weights, at most {MOST_NODES:,} and {MOST_WEIGHTS:,} are written"
                )

    def _heard(self, source: str, delay: int, matrix: Doubles) -> Iterable[tuple[Doubles, _Part]]:
        """What a matrix on a population's spikes `delay` ticks ago is on nodes: pieces of it, each with its node."""
        if delay == 0:
            yield matrix, self.made[source]
            return
        for tap in self.taps[source][delay - 1]:
            piece = np.zeros((len(matrix), 2 * tap.size))
            piece[:, tap.size :] = matrix[:, tap.first : tap.first + tap.size]
            yield piece, tap.part

    def _relays(self, p: Population, ticks: int) -> None:
        """Write the relays that hold a population's spikes for 1 to `ticks` ticks."""
        chains = math.ceil(p.size / LARGEST_RELAY)
        taps: list[list[_Tap]] = [[] for _ in range(ticks)]
        for c, columns in enumerate(np.array_split(np.arange(p.size), chains)):
            size = len(columns)
            heard, piece = self.made[p.name], np.eye(p.size)[columns]
            for t in range(ticks):
                name = f"{p.name}.{t + 1}.{c}"
                into = self._linear(f"{name}.in", np.vstack([piece, np.zeros_like(piece)]), heard)
                heard = self._add(name, self._neuron(_relay_population(name, 2 * size)), into)
                first_half = np.eye(size, 2 * size)
                heard.sources.append(self._back(f"{name}.cycle", np.eye(2 * size, size, -size), heard, first_half))
                piece = np.hstack([np.zeros((size, size)), np.eye(size)])
                taps[t].append(_Tap(heard, int(columns[0]), size))
        self.taps[p.name] = taps

    def _back(self, name: str, matrix: Doubles, source: _Part, before: Doubles | None = None) -> _Part:
        """The Linear of `matrix @ before` that leads from a later to an earlier node, which hears it a tick later."""
        if self.dialect.swallows_cycles:  # two nodes between a neuron and itself are no cycle that it looks for
            before = np.eye(matrix.shape[1]) if before is None else before
            part = self._linear(name, matrix, self._linear(f"{name}.before", before, source))
        else:
            part = self._linear(name, matrix if before is None else matrix @ before, source)
        part.leads_back = True
        return part

    def _linear(self, name: str, matrix: Doubles, source: _Part, bias: Doubles | None = None) -> _Part:
        weight = matrix.astype(np.float32)
        node: Any = nir.Linear(weight) if bias is None else nir.Affine(weight, bias.astype(np.float32))
        return self._add(name, node, source)

    def _add(self, name: str, node: Any, *sources: _Part) -> _Part:
        self.parts.append(_Part(name, node, list(sources)))
        return self.parts[-1]

    def _gain(self, p: Population) -> Doubles:
        """What the weights that lead to a population are multiplied with."""
        gain = p.gain / p.tau_syn if self.dialect.gain_in_weights else np.ones(p.size)
        return gain / p.v_threshold if self._shares_threshold(p) else gain

    def _threshold(self, p: Population) -> Doubles:
        if p.kind == "li":
            return np.full(p.size, NEVER)
        threshold = np.ones(p.size) if self._shares_threshold(p) else p.v_threshold
        if not self.dialect.at_threshold:
            return threshold
        return np.nextafter(threshold.astype(np.float32), np.float32(np.inf)).astype(np.float64)

    def _neuron(self, p: Population) -> Any:
        tau = np.where(np.isinf(p.tau), NO_LEAK_TICKS, p.tau)
        zero, one = np.zeros(p.size), np.ones(p.size)
        threshold, tau_s = self._threshold(p), self.dialect.tau_s(tau)
        if np.isinf(p.tau).all() and self.dialect.name in ("norse", "spikingjelly"):
            r = one / self.dialect.dt_s if self.dialect.gain_in_weights else one
            return nir.IF(r=r, v_threshold=threshold, v_reset=zero)
        if np.isinf(p.tau).any() and not self.dialect.gain_in_weights:
            raise BadInput(f"node {p.name!r}: some neurons leak and some do not; {self.dialect.name} reads one kind")
        weighted = self.dialect.gain_in_weights
        memoryless = (p.tau == 1).all() and not self.dialect.memoryless_lif
        if (p.tau_syn != 1).any() or memoryless:
            syn_s = self.dialect.tau_s(p.tau_syn)
            return nir.CubaLIF(
                tau_mem=tau_s,
                tau_syn=syn_s,
                r=tau_s / self.dialect.dt_s if weighted else one,
                w_in=syn_s / self.dialect.dt_s if weighted else one,
                v_leak=zero,
                v_threshold=threshold,
                v_reset=zero,
            )
        r = tau_s / self.dialect.dt_s if weighted else one
        return nir.LIF(tau=tau_s, r=r, v_leak=zero, v_threshold=threshold, v_reset=zero)

    def _assembled(self) -> nir.NIRGraph:
        """The graph, whose nodes a reader runs in the order of `parts`."""
        if self.dialect.ordered_by == "edges":
            self._thread()
        if len(self.parts) > MOST_NODES or sum(_n_weights(part.node) for part in self.parts) > MOST_WEIGHTS:
            total = sum(_n_weights(part.node) for part in self.parts)
            raise BadInput(
                f"{self._longest_told()}the graph for {self.dialect.name} would have {len(self.parts):,} nodes with "
                f"{total:,} weights, at most {MOST_NODES:,} and {MOST_WEIGHTS:,} are written"
            )
        names = {id(part): f"n{i:04d}_{part.name.replace('.', '-')}" for i, part in enumerate(self.parts)}
        nodes = {names[id(part)]: part.node for part in self.parts}
        rank = {id(part): i for i, part in enumerate(self.parts)}
        # Depth first, the first edge of a node is followed first: it leads to the next node.
        joined = [(source, part) for part in self.parts for source in part.sources]
        joined.sort(key=lambda edge: (rank[id(edge[0])], rank[id(edge[1])] != rank[id(edge[0])] + 1, rank[id(edge[1])]))
        edges = [(names[id(source)], names[id(part)]) for source, part in joined]
        spiking = {p.name for p in self.order if p.kind == "lif"}
        told = {names[id(part)]: part.name for part in self.parts if part.name in spiking}
        about = {
            **self.source.metadata,
            "dt": self.dialect.dt_s,
            "reader": self.dialect.name,
            "populations": json.dumps(told),
        }
        return nir.NIRGraph(nodes, edges, metadata=about, type_check=False)

    def _thread(self) -> None:
        """Lead from each node to the next by a Linear of zeros, where no edge does.

        Nodes that lead back are run when the way along the others has come to its end, so they stand behind them.
        """
        threaded: list[_Part] = []
        for part in self.parts:
            if part.leads_back:
                continue
            if threaded and threaded[-1] not in part.sources and not isinstance(part.node, nir.Output):
                last = threaded[-1]
                zeros = np.zeros((_n_in(part.node), _n_out(last.node)), np.float32)
                step = _Part(f"{part.name}.order", nir.Linear(zeros), [last])
                part.sources.append(step)
                threaded.append(step)
            threaded.append(part)
        if len(threaded) > DEEPEST:
            raise BadInput(
                f"{self._longest_told()}the graph for {self.dialect.name} would have a way of {len(threaded):,} nodes, "
                f"at most {DEEPEST} are written; the reader follows it by recursion"
            )
        self.parts = threaded + [part for part in self.parts if part.leads_back]


def _relay_population(name: str, size: int) -> Population:
    one = np.ones(size)
    return Population(name, "lif", size, tau=one, tau_syn=one, v_threshold=one * _RELAY_THRESHOLD, bias=one * 0)


def _n_in(node: Any) -> int:
    return int(node.weight.shape[1]) if isinstance(node, nir.Linear | nir.Affine) else _n_out(node)


def _n_out(node: Any) -> int:
    if isinstance(node, nir.Linear | nir.Affine):
        return int(node.weight.shape[0])
    shape = node.input_type["input"] if isinstance(node, nir.Input | nir.Output) else node.v_threshold.shape
    return int(np.prod(shape))


def _n_weights(node: Any) -> int:
    return int(node.weight.size) if isinstance(node, nir.Linear | nir.Affine) else 0


def _order(graph: SpikingGraph) -> list[Population]:
    """The populations so that a synapse leads against the order only inside a cycle, and then has a delay.

    The input comes first.
    """
    names = [p.name for p in graph.populations]
    index = {name: i for i, name in enumerate(names)}
    rows = [index[s.source] for s in graph.synapses]
    columns = [index[s.target] for s in graph.synapses]
    joined = csr_array((np.ones(len(rows)), (rows, columns)), (len(names), len(names)))
    component = connected_components(joined, connection="strong")[1]
    before: dict[str, set[str]] = {name: set() for name in names}
    for s in graph.synapses:
        if s.delay == 0 or component[index[s.source]] != component[index[s.target]]:
            before[s.target].add(s.source)
    # Inputs first, then in layers: a tie is broken by the order of the graph.
    inputs = [p.name for p in graph.populations if p.kind == "input"]
    for name in names:
        if name not in inputs:
            before[name].update(inputs)
    sorter = graphlib.TopologicalSorter(before)
    sorter.prepare()
    ordered: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=index.__getitem__)
        ordered += ready
        sorter.done(*ready)
    return [graph.population(name) for name in ordered]
