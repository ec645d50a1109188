"""NIR's neurons: the primitives with a state of their own, or that fire. Each becomes a population.

    LI       tau dv/dt = v_leak - v + r x                       CubaLI   tau_syn di/dt = -i + w_in x,  LI of i
    I        dv/dt = r x                                        LIF, IF, CubaLIF: the same; where v > v_threshold
    Threshold  s = x > threshold                                a spike, and v = v_reset

(Pedersen et al., Nature Communications 2024, table 1; docstrings of nir 1.0.8.) How time is cut into ticks stands in
`muspike.hardware.graph`. IF and I have no time constant to hold against dt; they are read as the tools that write them
mean them: a spike brings its whole charge, v += r x, whatever dt (sinabs, Norse, snnTorch, which write r = 1); but
where r is 1 / dt (SpikingJelly), v += dt r x.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import nir
import numpy as np

from muspike.errors import BadInput
from muspike.hardware.graph import Kind, Population
from muspike.hardware.reader import node as nir_node
from muspike.hardware.reader.node import Doubles, Shape

# An r of IF from here on is no resistance but 1 / dt.
_INVERSE_DT = 1000


@dataclass(frozen=True, eq=False)
class Neuron:
    """A population, and the factor `[size]` from what reaches its node to the input that its equation means."""

    population: Population
    input_factor: Doubles


@dataclass(frozen=True)
class _Node:
    """A node of `shape` neurons, as its readers ask for it."""

    name: str
    node: Any
    shape: Shape
    dt_s: float

    def vector(self, field: str) -> Doubles:
        return nir_node.spread(self.name, self.node, field, self.shape)

    def tau(self, field: str) -> Doubles:
        """In ticks."""
        if np.isinf(np.asarray(getattr(self.node, field), np.float64)).any():
            raise BadInput(f"node {self.name!r}: {field} is infinite; a neuron without a leak is an I or an IF")
        seconds = self.vector(field)
        if (seconds <= 0).any():
            raise BadInput(f"node {self.name!r}: {field} holds {seconds.min():g} s, expected more than 0")
        ticks = nir_node.ticks(seconds, self.dt_s)
        if (ticks < 1).any():
            raise BadInput(
                f"node {self.name!r}: {field} holds {seconds.min():g} s, below dt = {self.dt_s:g} s; "
                "forward Euler needs dt <= tau: read with the dt that the tool meant (norse 1.1.0 writes tau too small "
                "by its dt; sinabs counts tau in ticks, so --dt 1), or export with a smaller one"
            )
        return ticks

    def threshold(self, field: str = "v_threshold") -> Doubles:
        threshold = self.vector(field)
        if (threshold < 0).any():
            raise BadInput(f"node {self.name!r}: {field} holds {threshold.min():g}, expected at least 0")
        return threshold

    def refuse_reset_value(self) -> None:
        v_reset = self.vector("v_reset")
        if (v_reset != 0).any():
            bad = v_reset[v_reset != 0][0]
            raise BadInput(
                f"node {self.name!r}: v_reset holds {bad:g}; the chip resets a membrane to 0 and nothing else"
            )

    def neuron(
        self,
        kind: Kind,
        *,
        tau: Doubles | None = None,
        tau_syn: Doubles | None = None,
        v_threshold: Doubles | None = None,
        bias: Doubles | None = None,
        input_factor: Doubles | None = None,
    ) -> Neuron:
        n = int(np.prod(self.shape))
        population = Population(
            self.name,
            kind,
            n,
            tau=np.ones(n) if tau is None else tau,
            tau_syn=np.ones(n) if tau_syn is None else tau_syn,
            v_threshold=np.full(n, np.inf) if v_threshold is None else v_threshold,
            bias=np.zeros(n) if bias is None else bias,
            shape=self.shape,
        )
        return Neuron(population, np.ones(n) if input_factor is None else input_factor)


def _input(p: _Node) -> Neuron:
    return p.neuron("input")


def _li(p: _Node) -> Neuron:
    return p.neuron("li", tau=p.tau("tau"), bias=p.vector("v_leak"), input_factor=p.vector("r"))


def _cuba_li(p: _Node) -> Neuron:
    factor = p.vector("r") * p.vector("w_in")
    return p.neuron("li", tau=p.tau("tau_mem"), tau_syn=p.tau("tau_syn"), bias=p.vector("v_leak"), input_factor=factor)


def _i(p: _Node) -> Neuron:
    r = p.vector("r")
    if (np.abs(r * p.dt_s - 1) <= nir_node.TICK_TOLERANCE).all():
        r = np.ones(len(r))
    elif (r >= _INVERSE_DT).all() and (r == r[0]).all():
        raise BadInput(
            f"node {p.name!r}: r holds {r[0]:g}, as tools write it for a charge of 1 at dt = {1 / r[0]:g} s, "
            f"but dt is {p.dt_s:g} s"
        )
    return p.neuron("li", tau=np.full(len(r), np.inf), input_factor=r)


def _threshold(p: _Node) -> Neuron:
    return p.neuron("lif", v_threshold=p.threshold("threshold"))


def _fires(integrator: Callable[[_Node], Neuron]) -> Callable[[_Node], Neuron]:
    """The spiking neuron on an integrator."""

    def read(p: _Node) -> Neuron:
        p.refuse_reset_value()
        neuron = integrator(p)
        return replace(neuron, population=replace(neuron.population, kind="lif", v_threshold=p.threshold()))

    return read


NEURONS: dict[type, Callable[[_Node], Neuron]] = {
    nir.Input: _input,
    nir.LI: _li,
    nir.LIF: _fires(_li),
    nir.CubaLI: _cuba_li,
    nir.CubaLIF: _fires(_cuba_li),
    nir.I: _i,
    nir.IF: _fires(_i),
    nir.Threshold: _threshold,
}


def own_shape(name: str, node: Any) -> Shape | None:
    """The shape that the node itself says; None where its parameters are single numbers, which hold for any shape."""
    if isinstance(node, nir.Input):
        declared = nir_node.declared_shape(name, node.input_type, "input")
        if declared is None:
            raise BadInput(f"node {name!r}: Input without a shape")
        return declared
    parameters = [f.name for f in fields(node) if f.name not in ("input_type", "output_type", "metadata")]
    shapes = {field: nir_node.array(name, node, field).shape for field in parameters}
    try:
        shape = np.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{field} {list(shape)}" for field, shape in shapes.items())
        raise BadInput(f"node {name!r}: its parameters have different shapes: {listed}") from None
    if 0 in shape:
        raise BadInput(f"node {name!r}: has no neurons, expected at least one")
    return nir_node.shape_of(name, shape, "shape") if shape else None


def read_neuron(name: str, node: Any, shape: Shape, dt_s: float) -> Neuron:
    """The population of a node in `NEURONS`, with ticks of `dt_s`.

    Raises:
        BadInput: a parameter makes no sense, or is one that no chip has.
    """
    return NEURONS[type(node)](_Node(name, node, shape, dt_s))
