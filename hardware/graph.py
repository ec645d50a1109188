"""A NIR graph as populations of neurons and the synapses between them, in ideal time.

Everything between two populations (Linear, Affine, Delay, nested graphs, ...) is folded into one weight matrix, one
delay and a bias; everything a neuron can be is one equation. With x the synaptic input of a tick:

    i += (x - i) / tau_syn            tau_syn = 1: no synaptic filter
    v += (i + bias - v) / tau         tau = inf: v += i + bias
    s  = v > v_threshold;  v = 0 where s        (li: never)

This is forward Euler on the equations in NIR's docstrings (Pedersen et al., Nature Communications 2024), with time in
ticks of dt. A filtered current acts on the membrane in the tick in which it changes, as on Loihi. IF and I
(dv/dt = R I), which have no time constant to hold against dt, are read as the tools that write them mean them: a spike
brings its whole charge, v += R I, whatever dt (snnTorch pull request 452).

A cycle that holds a delay is taken literally. A cycle without one breaks at one tick: of the synapses inside such a
cycle (more exactly: inside a strongly connected component of the synapses without delay), those that do not lead
forward get a delay of one tick, where forward means from a lower to a higher (synapses from the nearest input, name).
So a self-loop always takes one tick. Other tools that break cycles (NIRTorch) also use one tick.
"""

from __future__ import annotations

import functools
import math
import os
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import nir
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from muspike.errors import BadInput

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["input", "lif", "li"]

# Times in a file are often float32: within this relative error a time is the whole number of ticks beside it.
TICK_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that share a name and a kind; every array is float64 `[size]`.

    `tau` and `tau_syn` in ticks, at least 1 (`tau` inf: no leak); `v_threshold` inf unless `kind` is lif; `bias` in
    units of the synaptic input.
    """

    name: str
    kind: Kind
    size: int
    tau: npt.NDArray[np.float64]
    tau_syn: npt.NDArray[np.float64]
    v_threshold: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    @property
    def leak(self) -> npt.NDArray[np.float64]:
        """Part of the membrane that is lost per tick."""
        return np.asarray(1 / self.tau)

    @property
    def gain(self) -> npt.NDArray[np.float64]:
        """What one unit of input adds to the membrane in its tick."""
        return np.where(np.isinf(self.tau), 1.0, 1 / self.tau)


@dataclass(frozen=True, eq=False)
class Synapses:
    """All synapses of one path from a population to another: `weight` `[target, source]`, `delay` in ideal ticks."""

    name: str
    source: str
    target: str
    weight: Floats
    delay: int


@dataclass(frozen=True, eq=False)
class SpikingGraph:
    """A spiking network in ideal time.

    Args:
        populations: ordered from the inputs on; names unique.
        synapses: ordered by target, source, name; names unique.
        dt_s: seconds per tick.
        outputs: populations that the graph's Output nodes read.
        metadata: that of the NIR graph, as plain Python values.

    Raises:
        BadInput: a name is doubled or unknown, or a shape does not fit.
    """

    populations: Sequence[Population]
    synapses: Sequence[Synapses]
    dt_s: float
    outputs: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for what, names in (("population", self.populations), ("synapses", self.synapses)):
            doubled = [n for n, count in Counter(x.name for x in names).items() if count > 1]
            if doubled:
                raise BadInput(f"{what} {doubled[0]!r}: the name is taken more than once")
        sizes = {p.name: p.size for p in self.populations}
        for s in self.synapses:
            for end in (s.source, s.target):
                if end not in sizes:
                    raise BadInput(f"synapses {s.name!r}: no population is called {end!r}")
            if s.weight.shape != (sizes[s.target], sizes[s.source]):
                expected = [sizes[s.target], sizes[s.source]]
                raise BadInput(f"synapses {s.name!r}: weight has shape {list(s.weight.shape)}, not {expected}")
            if s.delay < 0:
                raise BadInput(f"synapses {s.name!r}: delay is {s.delay} ticks, expected at least 0")

    def population(self, name: str) -> Population:
        """The population called `name`; KeyError when there is none."""
        return self._by_name[name]

    @functools.cached_property
    def _by_name(self) -> dict[str, Population]:
        return {p.name: p for p in self.populations}

    def update_order(self) -> list[Population]:
        """Populations such that every synapse without delay leads from an earlier to a later one.

        Raises:
            BadInput: synapses without delay form a cycle.
        """
        waiting = {
            p.name: {s.source for s in self.synapses if s.target == p.name and s.delay == 0} for p in self.populations
        }
        order: list[Population] = []
        while waiting:
            ready = next((name for name, sources in waiting.items() if not sources & waiting.keys()), None)
            if ready is None:
                raise BadInput(
                    f"a cycle without delay runs through {', '.join(waiting)}; one synapse of it needs a tick"
                )
            del waiting[ready]
            order.append(self.population(ready))
        return order


def read_nir(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """The graph in the NIR file (HDF5) at `path`; its shapes are for `from_nir` to check.

    Raises:
        BadInput: no such file, not a NIR file, damaged, or of a version that the installed `nir` does not know.
    """
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    try:
        version = nir.serialization.read_version(path)
        if int(version.split(".")[0]) > int(nir.version.split(".")[0]):
            raise BadInput(f"{path}: is of NIR version {version}; the nir installed here reads up to {nir.version}")
        graph = nir.read(path, type_check=False)
    except BadInput:
        raise
    except MemoryError as error:
        raise BadInput(f"{path}: an array of it does not fit the memory: {error}") from error
    except Exception as error:  # h5py and nir raise nearly everything, and each means that they cannot make sense of it
        cause = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{path}: damaged, or not a NIR file: {cause}") from error
    return graph


# --- what the nodes of a NIR graph mean -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Signal:
    """What travels along a path: `weight @ source spikes` of `delay` ticks ago (`weight` None: the identity)."""

    weight: Floats | None
    size: int
    delay: int = 0
    via: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    """Those of the nodes in `via` that hold weights."""

    def matrix(self) -> Floats:
        return np.eye(self.size, dtype=np.float32) if self.weight is None else self.weight


@dataclass(frozen=True)
class _Neuron:
    """A population, and the factor from what reaches its node to the input that its equation means."""

    population: Population
    input_factor: npt.NDArray[np.float64]


def _array(name: str, node: Any, field_name: str) -> npt.NDArray[Any]:
    array = np.asarray(getattr(node, field_name))
    if array.dtype.kind not in "fiu":
        raise BadInput(f"node {name!r}: {field_name} has dtype {array.dtype}, expected real numbers")
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)].flat[0]
        raise BadInput(f"node {name!r}: {field_name} holds {bad}, expected finite numbers")
    return array


def _vector(name: str, node: Any, field_name: str) -> npt.NDArray[np.float64]:
    return _array(name, node, field_name).astype(np.float64).ravel()


def _ticks(seconds: npt.NDArray[np.float64], dt_s: float) -> npt.NDArray[np.float64]:
    ticks = seconds / dt_s
    whole = np.round(ticks)
    return np.where(np.abs(ticks - whole) <= TICK_TOLERANCE * np.maximum(whole, 1), whole, ticks)


def _tau(name: str, node: Any, field_name: str, dt_s: float) -> npt.NDArray[np.float64]:
    seconds = _vector(name, node, field_name)
    if (seconds <= 0).any():
        raise BadInput(f"node {name!r}: {field_name} holds {seconds.min():g} s, expected more than 0")
    ticks = _ticks(seconds, dt_s)
    if (ticks < 1).any():
        raise BadInput(
            f"node {name!r}: {field_name} holds {seconds.min():g} s, below dt = {dt_s:g} s; "
            "forward Euler needs dt <= tau, so export with a smaller dt"
        )
    return ticks


def _threshold(name: str, node: Any, field_name: str = "v_threshold") -> npt.NDArray[np.float64]:
    threshold = _vector(name, node, field_name)
    if (threshold < 0).any():
        raise BadInput(f"node {name!r}: {field_name} holds {threshold.min():g}, expected at least 0")
    return threshold


def _no_reset_value(name: str, node: Any) -> None:
    v_reset = _vector(name, node, "v_reset")
    if (v_reset != 0).any():
        bad = v_reset[v_reset != 0][0]
        raise BadInput(f"node {name!r}: v_reset holds {bad:g}; the chip resets a membrane to 0 and nothing else")


def _neuron(
    name: str,
    kind: Kind,
    *,
    tau: npt.NDArray[np.float64],
    tau_syn: npt.NDArray[np.float64] | None = None,
    v_threshold: npt.NDArray[np.float64] | None = None,
    bias: npt.NDArray[np.float64] | None = None,
    input_factor: npt.NDArray[np.float64] | None = None,
) -> _Neuron:
    n = len(tau)
    arrays = {
        "tau": tau,
        "tau_syn": np.ones(n) if tau_syn is None else tau_syn,
        "v_threshold": np.full(n, np.inf) if v_threshold is None else v_threshold,
        "bias": np.zeros(n) if bias is None else bias,
    }
    factor = np.ones(n) if input_factor is None else input_factor
    for what, array in (*arrays.items(), ("input factor", factor)):
        if array.shape != (n,):
            raise BadInput(f"node {name!r}: {what} has {array.size} values, expected {n}")
    if n == 0:
        raise BadInput(f"node {name!r}: has no neurons, expected at least one")
    return _Neuron(Population(name, kind, n, **arrays), factor)


def _input(name: str, node: Any, dt_s: float) -> _Neuron:
    shape = (node.input_type or {}).get("input")
    if shape is None:
        raise BadInput(f"node {name!r}: Input without a shape")
    return _neuron(name, "input", tau=np.ones(int(np.prod(shape))))


def _spiking(neuron: _Neuron, *, v_threshold: npt.NDArray[np.float64]) -> _Neuron:
    """A spiking neuron from an integrator."""
    p = neuron.population
    return _neuron(
        p.name,
        "lif",
        tau=p.tau,
        tau_syn=p.tau_syn,
        v_threshold=v_threshold,
        bias=p.bias,
        input_factor=neuron.input_factor,
    )


def _lif(name: str, node: Any, dt_s: float) -> _Neuron:
    _no_reset_value(name, node)
    return _spiking(_li(name, node, dt_s), v_threshold=_threshold(name, node))


def _li(name: str, node: Any, dt_s: float) -> _Neuron:
    tau = _tau(name, node, "tau", dt_s)
    return _neuron(name, "li", tau=tau, bias=_vector(name, node, "v_leak"), input_factor=_vector(name, node, "r"))


def _cuba_lif(name: str, node: Any, dt_s: float) -> _Neuron:
    _no_reset_value(name, node)
    return _spiking(_cuba_li(name, node, dt_s), v_threshold=_threshold(name, node))


def _cuba_li(name: str, node: Any, dt_s: float) -> _Neuron:
    return _neuron(
        name,
        "li",
        tau=_tau(name, node, "tau_mem", dt_s),
        tau_syn=_tau(name, node, "tau_syn", dt_s),
        bias=_vector(name, node, "v_leak"),
        input_factor=_vector(name, node, "r") * _vector(name, node, "w_in"),
    )


def _if(name: str, node: Any, dt_s: float) -> _Neuron:
    _no_reset_value(name, node)
    return _spiking(_i(name, node, dt_s), v_threshold=_threshold(name, node))


def _i(name: str, node: Any, dt_s: float) -> _Neuron:
    r = _vector(name, node, "r")
    return _neuron(name, "li", tau=np.full(len(r), np.inf), input_factor=r)


def _threshold_unit(name: str, node: Any, dt_s: float) -> _Neuron:
    threshold = _threshold(name, node, "threshold")
    return _neuron(name, "lif", tau=np.ones(len(threshold)), v_threshold=threshold)


def _linear(name: str, node: Any, signal: _Signal, dt_s: float) -> list[_Signal]:
    weight = _array(name, node, "weight")
    if weight.ndim != 2:
        raise BadInput(f"node {name!r}: weight has shape {list(weight.shape)}, expected [output, input]")
    _fits(name, weight.shape[1], signal)
    if weight.dtype.kind != "f":
        weight = weight.astype(np.float64)
    product = weight if signal.weight is None else weight @ signal.weight
    return [replace(signal, weight=product, size=len(weight), named=(*signal.named, name))]


def _scale(name: str, node: Any, signal: _Signal, dt_s: float) -> list[_Signal]:
    scale = _array(name, node, "scale").ravel()
    _fits(name, len(scale), signal)
    return [replace(signal, weight=scale[:, None] * signal.matrix(), named=(*signal.named, name))]


def _same(name: str, node: Any, signal: _Signal, dt_s: float) -> list[_Signal]:
    return [signal]


def _delay(name: str, node: Any, signal: _Signal, dt_s: float) -> list[_Signal]:
    seconds = _vector(name, node, "delay")
    _fits(name, len(seconds), signal)
    if (seconds < 0).any():
        raise BadInput(f"node {name!r}: delay holds {seconds.min():g} s, expected at least 0")
    ticks = _ticks(seconds, dt_s)
    broken = ticks != np.round(ticks)
    if broken.any():
        raise BadInput(
            f"node {name!r}: delay holds {seconds[broken][0]:g} s, which is {ticks[broken][0]:.6g} ticks "
            f"of {dt_s:g} s; expected a whole number of ticks"
        )
    lengths = np.unique(ticks)
    if len(lengths) == 1:
        return [replace(signal, delay=signal.delay + int(lengths[0]))]
    matrix = signal.matrix()
    return [
        replace(signal, weight=np.where((ticks == n)[:, None], matrix, 0), delay=signal.delay + int(n)) for n in lengths
    ]


def _fits(name: str, size: int, signal: _Signal) -> None:
    if size != signal.size:
        before = f"{signal.via[-1]!r} gives {signal.size}" if signal.via else f"it is given {signal.size}"
        raise BadInput(f"node {name!r}: takes {size} values, but {before}")


NEURONS: dict[type, Callable[[str, Any, float], _Neuron]] = {
    nir.Input: _input,
    nir.LIF: _lif,
    nir.LI: _li,
    nir.CubaLIF: _cuba_lif,
    nir.CubaLI: _cuba_li,
    nir.IF: _if,
    nir.I: _i,
    nir.Threshold: _threshold_unit,
}
"""Primitives with a state of their own, or that fire: each becomes a population."""

CONNECTIONS: dict[type, Callable[[str, Any, _Signal, float], list[_Signal]]] = {
    nir.Linear: _linear,
    nir.Affine: _linear,
    nir.Scale: _scale,
    nir.Delay: _delay,
    nir.Flatten: _same,
}
"""Primitives that are linear in the spikes: each is folded into the synapses of the paths through it."""


class _Port(nir.NIRNode):  # type: ignore[misc]
    """Where a nested graph begins or ends."""

    def __init__(self) -> None:
        pass


CONNECTIONS[_Port] = _same


# --- from nodes and edges to populations and synapses -----------------------------------------------------------


def from_nir(graph: nir.NIRGraph, dt_s: float | None = None) -> SpikingGraph:
    """The populations and synapses that a NIR graph means.

    Args:
        graph: any graph of the primitives in `NEURONS` and `CONNECTIONS`, nested graphs and cycles included.
        dt_s: seconds per tick; None: `graph.metadata["dt"]`. It is never guessed.

    Raises:
        BadInput: no dt, or two that differ; a primitive that is not supported; a parameter, shape or edge that makes
            no sense. The message names the node.
    """
    metadata = _plain(getattr(graph, "metadata", None) or {})
    dt_s = _dt(metadata, dt_s)
    nodes, edges = _flatten(graph)
    _check_edges(nodes, edges)
    after: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        after[source].append(target)

    neurons: dict[str, _Neuron] = {}
    for name, node in nodes.items():
        if type(node) in NEURONS:
            neurons[name] = NEURONS[type(node)](name, node, dt_s)
        elif type(node) not in CONNECTIONS and not isinstance(node, nir.Output):
            supported = sorted(kind.__name__ for kind in (*NEURONS, *CONNECTIONS) if kind is not _Port)
            raise BadInput(
                f"node {name!r}: {type(node).__name__} is not supported; supported: {', '.join(supported)}, Output"
            )

    walked: set[str] = set()

    def paths(start: str, signal: _Signal) -> Iterator[tuple[str, _Signal]]:
        """Every neuron or Output that can be reached through connections alone, and what reaches it."""
        for name in after[start]:
            node = nodes[name]
            if name in neurons or isinstance(node, nir.Output):
                yield name, signal
                continue
            if name in signal.via:
                raise BadInput(f"node {name!r}: a cycle through {' -> '.join(signal.via)} holds no neuron")
            walked.add(name)
            for result in CONNECTIONS[type(node)](name, node, signal, dt_s):
                yield from paths(name, replace(result, via=(*signal.via, name)))

    synapses: list[Synapses] = []
    outputs: list[str] = []
    for source, neuron in neurons.items():
        for target, signal in paths(source, _Signal(None, neuron.population.size)):
            if target in neurons:
                _check_source(source, neuron, target)
                synapses.append(_synapses(source, neurons[target], signal))
            else:
                _check_output(source, nodes[target], target, signal)
                outputs.append(source)

    if stray := [name for name in nodes if type(nodes[name]) in CONNECTIONS and name not in walked]:
        raise BadInput(f"node {stray[0]!r}: no Input or neuron leads to it")

    biases: dict[str, npt.NDArray[np.float64]] = {}
    for name, node in nodes.items():
        if isinstance(node, nir.Affine) and (bias := _vector(name, node, "bias")).any():
            _fits_bias(name, node, bias)
            for target, signal in paths(name, _Signal(bias[:, None], len(bias), via=(name,))):
                if target in neurons:
                    biases[target] = biases.get(target, 0) + _bias(name, neurons[target], signal)

    populations = [
        replace(neuron.population, bias=neuron.population.bias + biases.get(name, 0))
        for name, neuron in neurons.items()
    ]
    ordered, rank = _ordered(populations, synapses)
    synapses.sort(key=lambda s: (rank[s.target], rank[s.source], s.name, s.delay))
    return SpikingGraph(
        populations=ordered,
        synapses=_named_apart(_broken_cycles(synapses, rank)),
        dt_s=dt_s,
        outputs=tuple(sorted(set(outputs), key=rank.__getitem__)),
        metadata=metadata,
    )


def _plain(value: Any) -> Any:
    """Metadata as plain Python values: a file gives numbers back as NumPy scalars, and texts as bytes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _dt(metadata: Mapping[str, Any], dt_s: float | None) -> float:
    recorded = metadata.get("dt")
    given = [value for value in (dt_s, recorded) if value is not None]
    if not given:
        raise BadInput("the NIR graph does not say its dt (metadata['dt'], seconds per tick), and none was given")
    for value in given:
        if isinstance(value, bool) or not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise BadInput(f"dt is {value!r}, expected a finite number of seconds above 0")
    if not math.isclose(given[0], given[-1], rel_tol=TICK_TOLERANCE):
        raise BadInput(f"dt was given as {given[0]:g} s, but the graph's metadata says {given[1]:g} s")
    return float(given[-1])


def _flatten(graph: nir.NIRGraph, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes and edges without nested graphs: their nodes are called `outer.inner`, their ends become ports."""
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []
    entry: dict[str, str] = {}
    leave: dict[str, str] = {}
    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inner, inner_edges = _flatten(node, f"{name}.")
        ports = {
            kind: [f"{name}.{k}" for k, n in node.nodes.items() if isinstance(n, kind)]
            for kind in (nir.Input, nir.Output)
        }
        for kind, names in ports.items():
            if len(names) != 1:
                raise BadInput(f"node {name!r}: a nested graph with {len(names)} {kind.__name__} nodes, expected one")
            inner[names[0]] = _Port()
        entry[name], leave[name] = ports[nir.Input][0], ports[nir.Output][0]
        nodes |= inner
        edges += inner_edges
    edges += [
        (leave.get(f"{prefix}{a}", f"{prefix}{a}"), entry.get(f"{prefix}{b}", f"{prefix}{b}")) for a, b in graph.edges
    ]
    return nodes, edges


def _check_edges(nodes: Mapping[str, Any], edges: Sequence[tuple[str, str]]) -> None:
    for edge, count in Counter(edges).items():
        for end in edge:
            if end not in nodes:
                raise BadInput(f"edge {edge[0]!r} -> {edge[1]!r}: there is no node {end!r}")
        if count > 1:
            raise BadInput(f"edge {edge[0]!r} -> {edge[1]!r} is there {count} times, expected once")
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
        if type(node) in CONNECTIONS and name not in feeding:
            raise BadInput(f"node {name!r}: {type(node).__name__} leads nowhere")


def _check_source(source: str, neuron: _Neuron, target: str) -> None:
    if neuron.population.kind == "li":
        raise BadInput(
            f"node {source!r}: an integrator that feeds {target!r}; "
            "only spikes travel between neurons, so it must lead to an Output"
        )


def _check_output(source: str, node: Any, output: str, signal: _Signal) -> None:
    if signal.via and (signal.weight is not None or signal.delay):
        raise BadInput(
            f"node {signal.via[-1]!r}: leads to {output!r} without a neuron between; put an LI or LIF before the Output"
        )
    shape = (node.output_type or {}).get("output")
    if shape is not None and int(np.prod(shape)) != signal.size:
        raise BadInput(f"node {output!r}: takes {int(np.prod(shape))} values, but {source!r} gives {signal.size}")


def _synapses(source: str, target: _Neuron, signal: _Signal) -> Synapses:
    name = target.population.name
    _fits(name, target.population.size, signal if signal.via else replace(signal, via=(source,)))
    weight = signal.matrix()
    if (target.input_factor != 1).any():
        weight = (target.input_factor[:, None] * weight).astype(weight.dtype)
    if not np.isfinite(weight).all():
        raise BadInput(f"node {name!r}: the weights through {' -> '.join(signal.via)} overflow {weight.dtype}")
    return Synapses("+".join(signal.named) or f"{source}->{name}", source, name, weight, signal.delay)


def _fits_bias(name: str, node: Any, bias: npt.NDArray[np.float64]) -> None:
    if len(bias) != node.weight.shape[0]:
        raise BadInput(f"node {name!r}: bias has {len(bias)} values, expected {node.weight.shape[0]}")


def _bias(affine: str, target: _Neuron, signal: _Signal) -> npt.NDArray[np.float64]:
    name = target.population.name
    if signal.delay:
        raise BadInput(f"node {affine!r}: its bias passes a delay to {name!r}; a chip's bias acts from the first tick")
    if (target.population.tau_syn != 1).any():
        raise BadInput(
            f"node {affine!r}: its bias passes the synaptic filter of {name!r}; a chip's bias acts behind the filter"
        )
    _fits(name, target.population.size, signal)
    assert signal.weight is not None
    return target.input_factor * signal.weight[:, 0].astype(np.float64)


def _ordered(
    populations: Sequence[Population], synapses: Sequence[Synapses]
) -> tuple[list[Population], dict[str, tuple[float, str]]]:
    """Populations by (synapses from the nearest input, name): the same whatever the order of nodes in a file."""
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
    """Give one tick to the synapses that do not lead forward inside a cycle without delay."""
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
    """Synapses with unique names: a Linear shared by several paths gets the ends of each, and if need be the delay."""

    def apart(items: Sequence[Synapses], longer: Callable[[Synapses], str]) -> list[Synapses]:
        taken = Counter(s.name for s in items)
        return [replace(s, name=longer(s)) if taken[s.name] > 1 else s for s in items]

    named = apart(synapses, lambda s: f"{s.source}->{s.name}->{s.target}")
    return apart(named, lambda s: f"{s.name}@{s.delay}")
