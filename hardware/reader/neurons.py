"""NIR's neurons: the primitives that have a state of their own, or that fire. Each becomes a population.

The docstring of each reader shows the equation of its primitive (Pedersen et al., Nature Communications 2024, table 1;
docstrings of nir 1.0.8). In these equations:

    x           what reaches the node, one value per neuron: sums of weights times spikes
    v, i        membrane and synaptic current, 0 before the first tick
    s           spikes, 0 or 1
    parameters  one value per neuron, in the shape of the node, or fewer that stand for all (`node.spread`)

`muspike.hardware.graph` says how time is cut into ticks of dt.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import nir
import numpy as np

from muspike.errors import BadInput
from muspike.hardware.graph import Kind, Population
from muspike.hardware.reader import node as nir_node
from muspike.hardware.reader.node import Doubles, Shape

INVERSE_DT = 1000
"""If all r of an I or IF are equal and at least this, r is no resistance but 1 / dt."""


@dataclass(frozen=True, eq=False)
class Neuron:
    """A population as a node means it.

    Attributes:
        population: the neurons, with the equation of `muspike.hardware.graph`.
        input_factor: `[size]`; x times this factor is the synaptic input of that equation.
    """

    population: Population
    input_factor: Doubles


@dataclass(frozen=True)
class _Node:
    """A node of `shape` neurons, and what its readers ask of it. Vectors are float64 `[size]`, `shape` flattened.

    Attributes:
        name: the node's name, for error messages.
        node: the NIR node.
        shape: how its neurons are arranged.
        dt_s: seconds per tick.
    """

    name: str
    node: Any
    shape: Shape
    dt_s: float

    def vector(self, field: str) -> Doubles:
        return nir_node.spread(self.name, self.node, field, self.shape)

    def tau(self, field: str) -> Doubles:
        """A time constant, `field` in seconds, in ticks; BadInput if it is not finite or less than a tick."""
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
        """A firing threshold; BadInput if it is below 0."""
        threshold = self.vector(field)
        if (threshold < 0).any():
            raise BadInput(f"node {self.name!r}: {field} holds {threshold.min():g}, expected at least 0")
        return threshold

    def refuse_reset_value(self) -> None:
        """BadInput if `v_reset` is not 0."""
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
        """The population; a field that is not given has no effect on the neuron's equation."""
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
    """Input: spikes from outside.

        s = x

    s: spikes.
    x: 0 or 1, one value per neuron and tick; the host injects it. `input_type` holds the shape.
    """
    return p.neuron("input")


def _li(p: _Node) -> Neuron:
    """LI, the leaky integrator:

        tau dv/dt = (v_leak - v) + r x

    x, v: input and membrane.
    tau: membrane time constant, in s, at least dt.
    v_leak: what v decays to, in units of v. It becomes the bias.
    r: resistance, in units of v per unit of x. It is multiplied into the weights.
    """
    return p.neuron("li", tau=p.tau("tau"), bias=p.vector("v_leak"), input_factor=p.vector("r"))


def _cuba_li(p: _Node) -> Neuron:
    """CubaLI, the leaky integrator of a filtered current:

        tau_syn di/dt = -i + w_in x
        tau_mem dv/dt = (v_leak - v) + r i

    x, i, v: input, synaptic current and membrane.
    tau_syn: synaptic time constant, in s, at least dt.
    tau_mem: membrane time constant, in s, at least dt.
    w_in: weight of the input, in units of i per unit of x.
    r: resistance, in units of v per unit of i. r and w_in are both multiplied into the weights.
    v_leak: what v decays to, in units of v. It becomes the bias.
    """
    factor = p.vector("r") * p.vector("w_in")
    return p.neuron("li", tau=p.tau("tau_mem"), tau_syn=p.tau("tau_syn"), bias=p.vector("v_leak"), input_factor=factor)


def _i(p: _Node) -> Neuron:
    """I, the integrator without a leak:

        dv/dt = r x

    x, v: input and membrane.
    r: resistance, in units of v per unit of x.

    The equation has no time constant to compare with dt. So I and IF are read as the tools that write them mean them. A
    spike brings its whole charge, v += r x in a tick, whatever dt is (sinabs, Norse and snnTorch, which write r = 1).
    If r is 1 / dt (SpikingJelly), the charge is dt r x = x. An r that is 1 / dt for another dt is refused.
    """
    r = p.vector("r")
    if (np.abs(r * p.dt_s - 1) <= nir_node.TICK_TOLERANCE).all():
        r = np.ones(len(r))
    elif (r >= INVERSE_DT).all() and (r == r[0]).all():
        raise BadInput(
            f"node {p.name!r}: r holds {r[0]:g}, as tools write it for a charge of 1 at dt = {1 / r[0]:g} s, "
            f"but dt is {p.dt_s:g} s"
        )
    return p.neuron("li", tau=np.full(len(r), np.inf), input_factor=r)


def _threshold(p: _Node) -> Neuron:
    """Threshold, a step function without memory:

        s = 1 if x > threshold, else 0

    x, s: input and spikes.
    threshold: at least 0, in units of x.
    """
    return p.neuron("lif", v_threshold=p.threshold("threshold"))


def _fires(integrator: Callable[[_Node], Neuron]) -> Callable[[_Node], Neuron]:
    """The reader of a neuron that integrates as `integrator` says, and fires: LIF on LI, IF on I, CubaLIF on CubaLI.

        LIF      tau dv/dt = (v_leak - v) + r x                                       parameters: see `_li`
        IF       dv/dt = r x                                                          see `_i`
        CubaLIF  tau_syn di/dt = -i + w_in x,  tau_mem dv/dt = (v_leak - v) + r i     see `_cuba_li`

        s = 1 if v > v_threshold, else 0
        v = v_reset if s = 1

    s: spikes.
    v_threshold: firing threshold, at least 0, in units of v.
    v_reset: what v is after a spike. Only 0 is accepted, because a chip resets a membrane to 0.
    """

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
"""The reader of each type of node. It raises BadInput, with the node's name, if a parameter makes no sense."""


def own_shape(name: str, node: Any) -> Shape | None:
    """The shape that the node itself states; None if its parameters have one element, which stands for any shape.

    Raises:
        BadInput: the parameters' shapes contradict each other, or there are no neurons, or too many.
    """
    if isinstance(node, nir.Input):
        declared = nir_node.declared_shape(name, node.input_type, "input")
        if declared is None:
            raise BadInput(f"node {name!r}: Input without a shape")
        return declared
    shapes = {field: nir_node.array(name, node, field).shape for field in _parameters(node)}
    sizes = {math.prod(shape) for shape in shapes.values()} - {1}
    if not sizes:
        return None
    if len(sizes) == 1:  # of equal sizes in different arrangements, the one with the most dimensions
        shape = max((shape for shape in shapes.values() if math.prod(shape) != 1), key=len)
    else:
        try:
            shape = np.broadcast_shapes(*shapes.values())
        except ValueError:
            listed = ", ".join(f"{field} {list(shape)}" for field, shape in shapes.items())
            raise BadInput(f"node {name!r}: its parameters have different shapes: {listed}") from None
    if 0 in shape:
        raise BadInput(f"node {name!r}: has no neurons, expected at least one")
    return nir_node.shape_of(name, shape, "shape")


def shape_for(name: str, node: Any, own: Shape | None, given: Shape) -> Shape | None:
    """The shape of a node to which values of the shape `given` lead; None if they do not fit it.

    The node's own shape `own` (see `own_shape`) holds if it has as many values as `given`. Otherwise each parameter
    must be one that `node.spread` spreads over `given`: one element stands for all neurons, one per channel for all
    neurons of the channel, and dimensions of batch and time before the neurons' shape are left out.
    """
    size = math.prod(given)
    if own is not None and math.prod(own) == size:
        return own
    if isinstance(node, nir.Input):
        return None
    for field in _parameters(node):
        shape = nir_node.array(name, node, field).shape
        # Fewer values than neurons repeat within a channel, not over the first dimension: that may be the batch.
        repeats = 1 < math.prod(shape) < size and (len(shape) != len(given) or shape[0] != given[0])
        if repeats or not nir_node.spreads(name, node, field, given):
            return None
    return (own and nir_node.end_of_size(own, size)) or given


def _parameters(node: Any) -> list[str]:
    return [f.name for f in fields(node) if f.name not in ("input_type", "output_type", "metadata")]


def read_neuron(name: str, node: Any, shape: Shape, dt_s: float) -> Neuron:
    """Read a node whose type is in `NEURONS`.

    Args:
        name: the node's name, which is the population's.
        node: the NIR node.
        shape: how its neurons are arranged.
        dt_s: seconds per tick.

    Raises:
        BadInput: a parameter makes no sense, or has a value that no chip can realise.
    """
    return NEURONS[type(node)](_Node(name, node, shape, dt_s))
