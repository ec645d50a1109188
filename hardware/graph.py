"""A spiking network as populations of neurons and the synapses between them, in ideal time.

Between two populations lie one matrix and one delay for each path. Every neuron has the same equation. With x the
synaptic input of a tick:

    i += (x - i) / tau_syn            tau_syn = 1: no synaptic filter
    v += (i + bias - v) / tau         tau = inf: v += i + bias
    s  = v > v_threshold;  v = 0 where s        (li: never)

This is forward Euler on the equations in NIR's docstrings (Pedersen et al., Nature Communications 2024), with time in
ticks of dt. A filtered current acts on the membrane in the tick in which the current changes, as on Loihi.
"""

from __future__ import annotations

import functools
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.weights import Weights, values

Floats = npt.NDArray[np.floating[Any]]
Kind = Literal["input", "lif", "li"]


# The most neurons that a population's bias is divided among, if the bias comes as spikes.
_MOST_BIAS_NEURONS = 64


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons that share a name and a kind. Every array is float64 `[size]`.

    Args:
        name: the name, unique in a graph.
        kind: `input` (spikes come from outside), `lif` (it fires), or `li` (its membrane is read).
        size: number of neurons.
        tau: membrane time constant in ticks, at least 1; inf: no leak.
        tau_syn: synaptic time constant in ticks, at least 1; 1: no synaptic filter.
        v_threshold: firing threshold in units of the membrane; inf unless `kind` is `lif`.
        bias: added to the synaptic current in every tick, in units of the synaptic input.
        shape: how the neurons are arranged, in C order: `(size,)`, or (channels, y, x). Not given: `(size,)`.

    Raises:
        BadInput: `shape` does not hold `size` neurons.
    """

    name: str
    kind: Kind
    size: int
    tau: npt.NDArray[np.float64]
    tau_syn: npt.NDArray[np.float64]
    v_threshold: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    shape: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", self.shape or (self.size,))
        if math.prod(self.shape) != self.size:
            raise BadInput(f"population {self.name!r}: shape {list(self.shape)} for {self.size} neurons")

    @property
    def leak(self) -> npt.NDArray[np.float64]:
        """The part of the membrane that is lost per tick, `[size]`."""
        return np.asarray(1 / self.tau)

    @property
    def gain(self) -> npt.NDArray[np.float64]:
        """What one unit of input adds to the membrane in its tick, `[size]`."""
        return np.where(np.isinf(self.tau), 1.0, 1 / self.tau)


@dataclass(frozen=True, eq=False)
class Synapses:
    """All synapses of one path from a population to another.

    Args:
        name: the name, unique in a graph.
        source, target: the names of the two populations.
        weight: `[target, source]`, in any form of `muspike.hardware.weights`.
        delay: in ideal ticks, at least 0.
    """

    name: str
    source: str
    target: str
    weight: Weights
    delay: int


def always_firing(name: str, size: int = 1) -> Population:
    """A population of neurons that fire in every tick, from the first on."""
    one = np.ones(size)
    return Population(name, "lif", size, tau=one * np.inf, tau_syn=one, v_threshold=one / 2, bias=one)


class _Joins(Protocol):
    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...


Joining = TypeVar("Joining", bound=_Joins)


def by_end(synapses: Iterable[Joining], end: Literal["source", "target"]) -> Mapping[str, list[Joining]]:
    """Group synapses, of any type, by the population at one end. Each group keeps their order; it may be empty."""
    groups: defaultdict[str, list[Joining]] = defaultdict(list)
    for s in synapses:
        groups[getattr(s, end)].append(s)
    return groups


@dataclass(frozen=True, eq=False)
class SpikingGraph:
    """A spiking network in ideal time.

    Args:
        populations: ordered from the inputs on; names unique.
        synapses: ordered by target, source, name; names unique.
        dt_s: seconds per tick.
        outputs: names of the populations that are read from outside.
        metadata: plain Python values by name.

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
        """The population called `name`. KeyError if there is none."""
        return self._by_name[name]

    @functools.cached_property
    def _by_name(self) -> dict[str, Population]:
        return {p.name: p for p in self.populations}

    @functools.cached_property
    def always_firing(self) -> frozenset[str]:
        """The populations of which every neuron fires in every tick, whatever the input: those that carry a bias."""
        return frozenset(
            p.name
            for p, into in self.with_incoming()
            if p.kind == "lif" and not into and (p.tau_syn == 1).all() and (p.gain * p.bias > p.v_threshold).all()
        )

    def update_order(self) -> list[Population]:
        """The populations in an order in which every synapse without delay leads from an earlier to a later one.

        Raises:
            BadInput: synapses without delay form a cycle.
        """
        sources = {p.name: {s.source for s in into if s.delay == 0} for p, into in self.with_incoming()}
        try:
            return [self.population(name) for name in TopologicalSorter(sources).static_order()]
        except CycleError as error:
            way = " -> ".join(error.args[1])
            raise BadInput(f"a cycle without delay runs through {way}; one synapse of it needs a tick") from None

    def with_biases_as_synapses(self, names: Collection[str], step: float = 0.0) -> SpikingGraph:
        """The same network, in which the biases of these populations come as spikes of neurons that always fire.

        The bias of a population is divided among so many neurons (64 at most) that no new weight is larger than the
        largest weight that leads to the population already. A population with a synaptic filter keeps its bias, because
        a bias does not pass the filter, and spikes do.

        Args:
            names: the populations.
            step: above 0: what a spike adds to a membrane must be a multiple of this number; the rest of a bias, less
                than one step, stays where it is.
        """
        populations, synapses = [], list(self.synapses)
        for p, into in self.with_incoming():
            if p.name not in names or not p.bias.any() or (p.tau_syn != 1).any():
                populations.append(p)
                continue
            largest = max((float(np.abs(values(s.weight)).max(initial=0)) for s in into), default=0.0)
            parts = math.ceil(np.abs(p.bias).max() / largest) if largest else 1
            parts = min(parts, _MOST_BIAS_NEURONS)
            stays = np.fmod(p.bias * p.gain, step) / p.gain if step else np.zeros(p.size)
            rest, weight = p.bias - stays, np.zeros((p.size, parts))
            for i in range(parts):
                weight[:, i] = rest if i == parts - 1 else np.clip(rest, -largest, largest)
                rest -= weight[:, i]
            name = f"{p.name}.bias"
            while name in self._by_name:
                name += "_"
            populations.append(always_firing(name, parts))
            populations.append(replace(p, bias=stays))
            synapses.append(Synapses(f"{name}->{p.name}", name, p.name, weight, 0))
        return replace(self, populations=populations, synapses=synapses)

    def with_incoming(self) -> list[tuple[Population, list[Synapses]]]:
        """Every population, each with the synapses that lead to it."""
        into = by_end(self.synapses, "target")
        return [(p, into[p.name]) for p in self.populations]
