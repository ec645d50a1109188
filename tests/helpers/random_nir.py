"""Random NIR graphs over every primitive of nir 1.0.8, as any tool might write them: small, legal, and alive.

Loops, nested graphs, several inputs and outputs, shared sources, delays, parameters per neuron or as single numbers,
convolutions with strides, paddings, dilations and groups. `random_graph(seed)` is deterministic.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import nir
import numpy as np
from hypothesis import strategies as st

DT_S = 1e-3
Shape = tuple[int, ...]
T = TypeVar("T")


def random_graph(seed: int, gentle: bool = False) -> nir.NIRGraph:
    """A graph with its dt in the metadata.

    Args:
        gentle: only what a chip computes as the float network does: no leak or all of it, weights on the chip's grid.
    """
    return _Maker(np.random.default_rng(seed), gentle).graph()


def graphs(gentle: bool = False) -> st.SearchStrategy[nir.NIRGraph]:
    """The same, drawn."""
    return st.builds(random_graph, st.integers(0, 2**32 - 1), st.just(gentle))


def primitives(graph: nir.NIRGraph) -> set[str]:
    """The names of the primitives in a graph."""
    found = {type(node).__name__ for node in graph.nodes.values()}
    return found.union(*(primitives(node) for node in graph.nodes.values() if isinstance(node, nir.NIRGraph)))


def loosened(graph: nir.NIRGraph, seed: int) -> nir.NIRGraph:
    """The same graph as a sloppier tool might write it.

    Either dimensions of batch and time stand before the shapes of Input and Output, or one element stands for equal
    parameters of all neurons, and equal rows of a batch stand before others.
    """
    rng = np.random.default_rng(seed)
    # Where single numbers stand for neurons of any shape, nothing may say what of an Input's shape is the batch.
    fixed = not any(isinstance(node, nir.LIF) and not np.ndim(node.v_threshold) for node in _every_node(graph))
    before = tuple(rng.integers(2, 12, rng.integers(1, 3)).tolist()) if fixed and rng.random() < 0.6 else ()
    return _loosened(graph, rng, before, int(rng.integers(1, 4)))


def _every_node(graph: nir.NIRGraph) -> Iterator[Any]:
    for node in graph.nodes.values():
        yield from _every_node(node) if isinstance(node, nir.NIRGraph) else [node]


def _loosened(graph: nir.NIRGraph, rng: np.random.Generator, before: Shape, rows: int) -> nir.NIRGraph:
    nodes: dict[str, Any] = {}
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            nodes[name] = _loosened(node, rng, before, rows)
        elif isinstance(node, nir.Input | nir.Output) and any(name in edge for edge in graph.edges):
            shape = next(iter((node.input_type or node.output_type).values()))
            nodes[name] = type(node)(np.array((*before, *shape.tolist())))
        elif before or not isinstance(node, (*ONE_PER_NEURON, nir.Scale, nir.Delay)):
            nodes[name] = node
        else:
            nodes[name] = loose = copy.copy(node)
            for field in vars(node).keys() - {"input_type", "output_type", "metadata"}:
                setattr(loose, field, _loose(getattr(node, field), rng, rows, isinstance(node, ONE_PER_NEURON)))
    return nir.NIRGraph(nodes, graph.edges, metadata=graph.metadata, type_check=False)


def _loose(values: Any, rng: np.random.Generator, rows: int, of_neurons: bool) -> Any:
    """A parameter in another form. Neurons in rows keep the arrangement that a convolution behind them may need."""
    if rng.random() < 0.3:
        return values
    if values.size and (values == values.flat[0]).all() and not (of_neurons and values.ndim > 1):
        return np.full((1,) * rng.integers(0, 4), values.flat[0])
    return np.broadcast_to(values, (rows, *values.shape))


ONE_PER_NEURON = (nir.LIF, nir.CubaLIF, nir.IF, nir.Threshold, nir.LI, nir.CubaLI, nir.I)


class _Maker:
    def __init__(self, rng: np.random.Generator, gentle: bool) -> None:
        self.rng, self.gentle = rng, gentle
        self.differ = False
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.spiking: list[tuple[str, Shape]] = []  # what others can hear, and its shape

    def graph(self) -> nir.NIRGraph:
        for _ in range(self.upto(1, 2)):
            shape = self.pick([(self.upto(2, 6),), (self.upto(1, 2), self.upto(4, 7)), self.image()])
            self.spiking.append((self.add("input", nir.Input(np.array(shape))), shape))
        for _ in range(self.upto(1, 3)):
            self.layer()
        for _ in range(self.upto(1, 2)):
            self.output()
        return nir.NIRGraph(self.nodes, self.edges, metadata={"dt": DT_S}, type_check=False)

    def image(self) -> Shape:
        return self.upto(1, 3), self.upto(4, 7), self.upto(4, 7)

    # --- drawing ---

    def upto(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.upto(0, len(choices) - 1)]

    def add(self, kind: str, node: Any, *sources: str) -> str:
        name = f"{kind}{len(self.nodes)}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def weights(self, *shape: int) -> Any:
        fan_in = math.prod(shape[1:])
        if self.gentle:
            return 2.0 * self.rng.integers(-2, 5, shape)
        weight = self.rng.normal(0.35, 1.0, shape) / math.sqrt(fan_in)
        return weight.astype(np.float32) if self.chance(0.5) else weight

    def per_neuron(self, shape: Shape, low: float, high: float) -> Any:
        """One value for all, or, where the neurons are to differ, one for each."""
        return self.rng.uniform(low, high, shape) if self.differ else np.full(shape, self.rng.uniform(low, high))

    # --- connections ---

    def way(self, target: Shape | None) -> tuple[str, Shape]:
        """A chain of connections from something that spikes: its last node, and what shape comes out.

        `target`: the shape that must come out; None: any.
        """
        at, shape = self.pick(self.spiking)
        if self.chance(0.25):
            at = self.wait(at, shape)
        for _ in range(self.upto(0, 2)):
            at, shape = self.shaped(at, shape)
        if target is not None and shape != target:
            at, shape = self.dense(at, shape, target)
        elif self.chance(0.5):
            at, shape = self.scaled(at, shape)
        return at, shape

    def shaped(self, at: str, shape: Shape) -> tuple[str, Shape]:
        if len(shape) == 3:
            return self.pick([self.conv2d, self.conv2d, self.pooled, self.flat])(at, shape)
        if len(shape) == 2:
            return self.pick([self.conv1d, self.flat])(at, shape)
        return self.dense(at, shape, (self.upto(2, 6),))

    def dense(self, at: str, shape: Shape, target: Shape) -> tuple[str, Shape]:
        if len(shape) > 1:
            at, shape = self.flat(at, shape)
        weight = self.weights(math.prod(target), shape[0])
        if self.chance(0.4):
            bias = self.rng.integers(-3, 8, len(weight)) if self.gentle else self.rng.normal(0, 0.1, len(weight))
            return self.add("affine", nir.Affine(weight, bias.astype(float)), at), target
        return self.add("linear", nir.Linear(weight), at), target

    def scaled(self, at: str, shape: Shape) -> tuple[str, Shape]:
        scale = self.rng.integers(1, 3, shape).astype(float) if self.gentle else self.rng.uniform(0.5, 2.0, shape)
        return self.add("scale", nir.Scale(scale), at), shape

    def wait(self, at: str, shape: Shape) -> str:
        ticks = self.rng.integers(0, 5, shape) if self.chance(0.5) else np.full(shape, self.upto(0, 70))
        return self.add("delay", nir.Delay(ticks * DT_S), at)

    def flat(self, at: str, shape: Shape) -> tuple[str, Shape]:
        return self.add("flatten", nir.Flatten({"input": np.array(shape)}, 0, -1), at), (math.prod(shape),)

    def pooled(self, at: str, shape: Shape) -> tuple[str, Shape]:
        kernel, stride = (np.array([self.upto(1, 2), self.upto(1, 3)]) for _ in range(2))
        padding = np.array([self.upto(0, kernel[0] // 2), self.upto(0, kernel[1] // 2)])
        kind = nir.SumPool2d if self.gentle else self.pick([nir.SumPool2d, nir.AvgPool2d])
        out = (np.array(shape[1:]) + 2 * padding - kernel) // stride + 1
        if out.min() < 1:
            return self.flat(at, shape)
        return self.add("pool", kind(kernel, stride, padding), at), (shape[0], *map(int, out))

    def conv2d(self, at: str, shape: Shape) -> tuple[str, Shape]:
        return self.convolved(at, shape, nir.Conv2d)

    def conv1d(self, at: str, shape: Shape) -> tuple[str, Shape]:
        return self.convolved(at, shape, nir.Conv1d)

    def convolved(self, at: str, shape: Shape, kind: Any) -> tuple[str, Shape]:
        dims = len(shape) - 1
        groups = self.pick([g for g in (1, 2, 3) if shape[0] % g == 0])
        c_out = groups * self.upto(1, 2)
        kernel, stride, dilation = ([self.upto(1, high) for _ in range(dims)] for high in (3, 2, 2))
        padding: Any = [self.upto(0, 2) for _ in range(dims)]
        whole = [2 * p for p in padding]
        if self.chance(0.3):
            padding, stride = "same", [1] * dims
            whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        elif self.chance(0.2):
            padding, whole = "valid", [0] * dims
        sizes = zip(shape[1:], whole, dilation, kernel, stride, strict=True)
        out = [(n + p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in sizes]
        if min(out) < 1:
            return self.flat(at, shape)
        bias = np.zeros(c_out)
        if self.chance(0.3):
            bias = self.rng.integers(-3, 8, c_out).astype(float) if self.gentle else self.rng.normal(0, 0.1, c_out)
        arguments = [x if isinstance(x, str) else tuple(x) for x in (stride, padding, dilation)]
        if dims == 1:
            arguments = [x if isinstance(x, str) else x[0] for x in arguments]
        weight = self.weights(c_out, shape[0] // groups, *kernel)
        return self.add("conv", kind(None, weight, *arguments, groups, bias), at), (c_out, *out)

    # --- neurons ---

    def layer(self) -> None:
        at, shape = self.way(None)
        sources = [at] + [self.way(shape)[0] for _ in range(self.upto(0, 1))]
        if self.chance(0.2):
            sources.append(self.pick([name for name, _ in self.spiking]))  # shared, if it has the size
            if dict(self.spiking)[sources[-1]] != shape:
                sources.pop()
        if self.chance(0.25):
            name = self.add("nested", self.nested(shape), *dict.fromkeys(sources))
        else:
            name = self.add("neuron", self.neuron(shape), *dict.fromkeys(sources))
            if self.chance(0.4):
                self.loop(name, shape)
        self.spiking.append((name, shape))

    def loop(self, name: str, shape: Shape) -> None:
        """From a population back to itself: at once (one tick), or after a delay; of one synapse, or a convolution."""
        at = name
        if self.chance(0.5):
            at = self.add("delay", nir.Delay(np.full(shape, self.upto(1, 6) * DT_S)), at)
        kind = self.pick(["scale", "dense"] + ["conv"] * (len(shape) == 3))
        if kind == "scale":
            node = nir.Scale(np.full(shape, 2.0) if self.gentle else self.rng.normal(0, 0.5, shape))
            self.edges.append((self.add("scale", node, at), name))
        elif kind == "conv":
            weight = self.weights(shape[0], shape[0], 3, 3)
            node = nir.Conv2d(None, weight, 1, "same", 1, 1, np.zeros(shape[0]))
            self.edges.append((self.add("conv", node, at), name))
        else:
            self.edges.append((self.dense(at, shape, shape)[0], name))

    def nested(self, shape: Shape) -> nir.NIRGraph:
        inner = _Maker(self.rng, self.gentle)
        entry = inner.add("input", nir.Input(np.array(shape)))
        name = inner.add("neuron", inner.neuron(shape), entry)
        inner.loop(name, shape)
        inner.add("output", nir.Output(np.array(shape)), name)
        return nir.NIRGraph(inner.nodes, inner.edges, type_check=False)

    def neuron(self, shape: Shape, fires: bool = True) -> Any:
        if self.gentle:
            return self.gentle_neuron(shape, fires)
        self.differ = self.chance(0.3)
        tau, tau_syn = (self.per_neuron(shape, 1.0, high) * DT_S for high in (8.0, 5.0))
        r, w_in = self.per_neuron(shape, 0.5, 2.5), self.per_neuron(shape, 0.5, 3.0)
        v_leak = self.per_neuron(shape, -0.05, 0.1) if self.chance(0.3) else np.zeros(shape)
        threshold, zero = self.per_neuron(shape, 0.1, 0.7), np.zeros(shape)
        if not fires:
            li = nir.LI(tau, r, v_leak)
            cuba = nir.CubaLI(tau_mem=tau, tau_syn=tau_syn, r=r, v_leak=v_leak, w_in=w_in)
            return self.pick([li, cuba, nir.I(r / 20)])
        if self.chance(0.1):  # as norse writes it: nothing says how many there are
            return nir.LIF(*(np.array(x) for x in (3 * DT_S, 1.5, 0.0, 0.3, 0.0)))
        return self.pick(
            [
                nir.LIF(tau, r, v_leak, threshold, zero),
                nir.CubaLIF(tau_syn, tau, r, v_leak, threshold, zero, w_in),
                nir.IF(r, 2 * threshold, zero),
                nir.Threshold(threshold),
            ]
        )

    def gentle_neuron(self, shape: Shape, fires: bool) -> Any:
        one, zero = np.ones(shape), np.zeros(shape)
        threshold = np.full(shape, float(self.upto(4, 30)))
        if not fires:
            return self.pick([nir.I(one), nir.LI(DT_S * one, one, zero)])
        return self.pick(
            [nir.IF(one, threshold, zero), nir.Threshold(threshold), nir.LIF(DT_S * one, one, zero, threshold, zero)]
        )

    def output(self) -> None:
        """An integrator, a population that fires, or the bare sum of synapses."""
        kind = self.pick(["integrator", "spikes", "sum"])
        if kind == "spikes" and len(self.spiking) > 1:
            at, shape = self.spiking[-1]
        else:
            at, shape = self.dense(*self.way(None), (self.upto(1, 4),))
            if kind == "integrator":
                at = self.add("readout", self.neuron(shape, fires=False), at)
        self.add("output", nir.Output(np.array(shape)), at)
