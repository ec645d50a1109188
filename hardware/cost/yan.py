"""The test of Yan et al.: a spiking network of T ticks against the equivalent network of ceil(log2(T + 1)) bits.

Z. Yan, Z. Bai, K. Tang, W.-F. Wong, "Reconsidering the Energy Efficiency of Spiking Neural Networks Inference from
Analytical Perspectives", IEEE TCAD 2026, arXiv 2409.08290. Versions differ: version 1 compares with a best-case network
of 8 bits (a sparsity above 93 % at T = 6); versions 2 and 3 compare with the equivalent quantised network and say 6.4 %
(version 2: T from 5 to 10); versions 4 to 6, followed here, say 5.7 % at T = 5.

The full text could not be reached. What is known is the abstracts (read), and a reader's notes on versions 4 to 6 and
another reader's code on version 2 (second-hand). They give the twin's bits, the published break-even rates, the prices
of a move and of an accumulate, and that a weight is read once by the twin and `T s` times by the spiking network. The
equations below are inferred from these. They give the published rates to within 0.1 percentage points, except one: the
notes have 29.7 % for T = 1 and 8 bits, which is above the rate at which spikes are better moved densely.

For each connection (s: the source's spikes per tick; b: bits of the twin; w: bits of a weight; h: hops):

    spiking  T s E_ACC + min(T s (h move_sparse + w weight_bit), T (h move_dense + w weight_bit))
    twin     (1 - gamma) w b mac_bits + h b move_dense + w weight_bit

The first of the two is event by event, the second dense in every tick; a spiking network takes what is cheaper. gamma
is the share of the twin's activations that are 0: an activation stands for the spikes of its neuron in an inference.

For each neuron, in each of the T ticks of the spiking network, its membrane is read and written (`state_bits` x
`weight_bit`, twice) and compared, and each spike is subtracted; the twin compares once.

Inputs that are 0 or 1 and mostly 0 are moved densely and in b bits to the paper's twin. It could take them as events,
once and not T times, as `Layout.twin(prices)` does; the band of the network's ratio holds both twins.

Left out: static power, clock and control, which the notes say favours the spiking network; the leak; idle ticks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy.typing as npt

from muspike.arguments import whole
from muspike.errors import BadInput
from muspike.hardware.constant import Constant
from muspike.hardware.cost.bill import Bill, Ratio, constants_of, ratio_at, total, values_of
from muspike.hardware.cost.inference import Inferences, activity_of, connections, fan_out
from muspike.hardware.program import Program

Array = npt.NDArray[Any]
Prices = Mapping[str, float]

WEIGHT_BITS = 8
"""Bits of a weight, of the chips that muspike knows."""


def twin_bits(ticks: int) -> int:
    """The bits of an activation of the equivalent network, ceil(log2(T + 1)) (Theorem 1)."""
    return math.ceil(math.log2(whole("twin_bits: ticks", ticks, 1) + 1))


def middle_density(ticks: int, spikes: float) -> float:
    """The share of the twin's activations that are not 0, for `spikes` spikes per neuron and inference.

    With a density d, a rate per tick is between d / T and d (Theorem 2). The paper's average case has the rate in the
    middle, d (1 / T + 1) / 2. This is that d, and at most 1.
    """
    return min(1.0, 2 * spikes / (ticks + 1))


@dataclass(frozen=True)
class Group:
    """Connections with sources alike, and the neurons that they reach.

    Attributes:
        connections: their number.
        spikes: spikes of a source per inference, T s, on average over the connections.
        density: share of the twin's activations that are not 0, 1 - gamma, on average over the connections.
        from_host: whether the sources are inputs, which are 0 or 1.
    """

    connections: float
    spikes: float
    density: float
    from_host: bool = False

    def scaled(self, factor: float, ticks: int) -> Group:
        """The same with `factor` times the spikes, at most one in each tick."""
        spikes, density = min(self.spikes * factor, ticks), min(self.density * factor, 1.0)
        return replace(self, spikes=spikes, density=density)


@dataclass(frozen=True)
class Layout:
    """A network as the test sees it, per inference.

    Attributes:
        ticks: T.
        groups: its connections.
        neurons: its neurons, without inputs.
        neuron_spikes: their spikes.
        weight_bits: bits of a weight.
        hops: links that an activation crosses on its way.
        reads_once: whether the spiking network reads a weight once for all ticks, and keeps it.
    """

    ticks: int
    groups: Sequence[Group]
    neurons: float
    neuron_spikes: float
    weight_bits: int = WEIGHT_BITS
    hops: float = 1.0
    reads_once: bool = False

    @classmethod
    def uniform(
        cls,
        ticks: int,
        rate: float,
        weight_bits: int,
        fan_in: int,
        hops: float = 1.0,
        reads_once: bool = False,
    ) -> Layout:
        """One neuron with `fan_in` connections, all neurons spiking at `rate` per tick, as the paper's analysis has."""
        group = Group(fan_in, rate * ticks, middle_density(ticks, rate * ticks))
        return cls(ticks, (group,), 1, rate * ticks, weight_bits, hops, reads_once)

    def scaled(self, factor: float) -> Layout:
        """The same network with `factor` times the spikes."""
        groups = tuple(group.scaled(factor, self.ticks) for group in self.groups)
        spikes = min(self.neuron_spikes * factor, self.neurons * self.ticks)
        return replace(self, groups=groups, neuron_spikes=spikes)

    @property
    def rate(self) -> float:
        """Spikes of a source per tick, on average over the connections."""
        number = sum(group.connections for group in self.groups)
        return sum(group.connections * group.spikes for group in self.groups) / (number * self.ticks)

    def spiking(self, prices: Prices) -> Bill:
        """What the spiking network costs in one inference, with spikes moved in the way that is cheaper at `prices`."""
        state = prices["state_bits"]
        bills = [
            Bill(
                {
                    "compare": self.neurons * self.ticks,
                    "subtract": self.neuron_spikes,
                    "weight_bit": 2 * self.neurons * self.ticks * state,
                }
            )
        ]
        for group in self.groups:
            cheaper = min(self._moves(group), key=lambda bill: bill.at(prices))
            bills += [Bill({"accumulate": group.connections * group.spikes}), cheaper]
        return total(bills)

    def twin(self, events_at: Prices | None = None) -> Bill:
        """What the equivalent network costs in one inference.

        Args:
            events_at: prices by which it takes its inputs as events, each once, where that is cheaper; None: it takes
                all densely, as the paper's.
        """
        bits = twin_bits(self.ticks)
        bills = [Bill({"compare": self.neurons})]
        for group in self.groups:
            dense = Bill(
                {
                    "mac_bits": group.connections * group.density * self.weight_bits * bits,
                    "move_dense": group.connections * self.hops * bits,
                    "weight_bit": group.connections * self.weight_bits,
                }
            )
            if events_at is None or not group.from_host:
                bills.append(dense)
                continue
            events = group.connections * group.density
            counts = {"accumulate": events, "move_sparse": events * self.hops, "weight_bit": events * self.weight_bits}
            bills.append(min(dense, Bill(counts), key=lambda bill: bill.at(events_at)))
        return total(bills)

    def ratio(self, constants: Mapping[str, Constant] | None = None) -> Ratio:
        """The energy of the spiking network, divided by that of its twin.

        Its band also holds the twin that takes its inputs as events where that is cheaper.

        The extremes need not lie where every constant is at an end. The spiking network moves the spikes of a group in
        the way that is cheaper, so its energy is the least of several, and along one constant the ratio can rise up to
        where the cheaper way changes, and fall from there. So these places are looked at too:

        - Where the way of every group is given, both energies are linear in the prices, with `state_bits` at an end.
          The ratio of two such energies has its extremes at the corners of the region in which these ways are the
          cheaper ones. A corner is one of the bands, or lies on an edge between two of them, where both ways of a group
          cost the same. Other corners there are none: both ways cost the same at one ratio of their prices for each
          group, so two groups with different spikes never change at the same prices.
        - The twin with events is the cheapest of several twins, so the ratio to it is the greatest of several ratios,
          and each has its greatest value at these corners. It never costs more than the paper's twin, so the least
          ratio is that to the paper's twin.

        Args:
            constants: other constants than those of `yan.toml`.
        """
        found = constants_of("yan") if constants is None else constants
        turns = [lambda prices, group=group: self._gain(group, prices) for group in self._by_spikes()]

        def to(twin: Callable[[Prices], Bill]) -> Ratio:
            return ratio_at(lambda prices: self.spiking(prices).at(prices) / twin(prices).at(prices), found, turns)

        paper, events = to(lambda _: self.twin()), to(self.twin)
        return replace(paper, high=events.high)

    def _by_spikes(self) -> list[Group]:
        """A group for each number of spikes; those with equal spikes are moved alike."""
        return list({group.spikes: group for group in self.groups}.values())

    def _moves(self, group: Group) -> tuple[Bill, Bill]:
        """What moving a group's spikes, and reading their weights, costs: event by event, and densely in every tick."""
        once = 1.0 / self.ticks if self.reads_once else 1.0
        events, sweeps = group.connections * group.spikes, group.connections * self.ticks
        return (
            Bill({"move_sparse": events * self.hops, "weight_bit": events * once * self.weight_bits}),
            Bill({"move_dense": sweeps * self.hops, "weight_bit": sweeps * once * self.weight_bits}),
        )

    def _gain(self, group: Group, prices: Prices) -> float:
        """What moving a group's spikes event by event saves."""
        sparse, dense = self._moves(group)
        return dense.at(prices) - sparse.at(prices)

    def break_even(self, prices: Prices | None = None) -> float:
        """The rate, in spikes per tick, up to which the spiking network is the cheaper one.

        All neurons spike in the proportions that they have. 0: it is dearer even without a spike.

        Raises:
            BadInput: nothing spikes, so that there are no proportions.
        """
        found = values_of(constants_of("yan")) if prices is None else prices
        if not self.rate:
            raise BadInput("break-even rate: no neuron spikes; expected a run with spikes")

        def dearer(factor: float) -> bool:
            layout = self.scaled(factor)
            return layout.spiking(found).at(found) >= layout.twin().at(found)

        return self.rate * _first(dearer, 1 / self.rate)


def _first(holds: Callable[[float], bool], most: float, steps: int = 200, halvings: int = 40) -> float:
    """The first factor in 0..most at which `holds` is true, or `most`. A span shorter than a step may hide."""
    if holds(0.0):
        return 0.0
    low = 0.0
    for step in range(1, steps + 1):
        # Steps of equal ratio, from a ten-thousandth of the whole.
        high = most * float(1e4 ** (step / steps - 1))
        if holds(high):
            for _ in range(halvings):
                middle = (low + high) / 2
                low, high = (low, middle) if holds(middle) else (middle, high)
            return high
        low = high
    return most


@dataclass(frozen=True)
class Yan:
    """The test of a network.

    Attributes:
        layout: the network as the test sees it.
        bits: of the equivalent network.
        rate: spikes of a source per presented tick, on average over the connections: s_r.
        break_even: the rate up to which the spiking network is the cheaper one, at the constants' values.
        break_even_low, break_even_high: the least and the greatest break-even rate with one constant at an end of its
            band and the others at their values, as the paper's sensitivity study has it.
        ratio: the energy of the spiking network, divided by that of its equivalent. Its band also holds the equivalent
            that takes its inputs as events where that is cheaper.
        fan_in: connections per neuron.
    """

    layout: Layout
    bits: int
    rate: float
    break_even: float
    break_even_low: float
    break_even_high: float
    ratio: Ratio
    fan_in: float

    def to_dict(self) -> dict[str, Any]:
        """The test as a JSON-able dict."""
        return {
            "ticks": self.layout.ticks,
            "bits": self.bits,
            "weight_bits": self.layout.weight_bits,
            "fan_in": self.fan_in,
            "spike_rate": self.rate,
            "break_even_rate": {"value": self.break_even, "low": self.break_even_low, "high": self.break_even_high},
        }


def yan(program: Program, spikes: Mapping[str, Array], inferences: Inferences, weight_bits: int = WEIGHT_BITS) -> Yan:
    """Test a network on the recorded spikes of a run.

    Args:
        program: the deployed network.
        spikes: uint8 `[ticks, batch, size]` in chip time, for every `input` and `lif` population.
        inferences: how the run divides into inferences; T is its `ticks`.
        weight_bits: bits of a weight in both networks.

    Raises:
        BadInput: spikes are missing or of another shape; no neuron spikes; or an input is graded.
    """
    if graded := [p.name for p in program.inputs if p.graded_bits]:
        raise BadInput(f"{graded[0]}: its spikes are graded; the test of Yan et al. is about spikes of 0 or 1")
    happened = {p.name: activity_of(p, spikes, inferences) for p in program.populations}
    groups = []
    for synapses in connections(program):
        fan, did = fan_out(synapses), happened[synapses.source]
        number = float(fan.sum())
        if number:
            spread = number * inferences.number
            from_host = program.population(synapses.source).kind == "input"
            groups.append(Group(number, float(fan @ did.spikes) / spread, float(fan @ did.active) / spread, from_host))
    if not groups:
        raise BadInput("the test of Yan et al.: the network has no connection")
    neurons = [p for p in program.populations if p.kind != "input" and p.name not in program.roles.relays]
    size = sum(p.size for p in neurons)
    own = sum(float(happened[p.name].spikes.sum()) for p in neurons) / inferences.number
    layout = Layout(inferences.ticks, tuple(groups), size, own, weight_bits)
    low, high = sensitivity(layout, constants_of("yan"))
    return Yan(
        layout,
        twin_bits(inferences.ticks),
        layout.rate,
        layout.break_even(),
        low,
        high,
        layout.ratio(),
        sum(group.connections for group in groups) / size,
    )


def sensitivity(
    layout: Layout, constants: Mapping[str, Constant], names: Sequence[str] | None = None
) -> tuple[float, float]:
    """The least and the greatest break-even rate with one of the constants at an end of its band."""
    values = values_of(constants)
    found = [layout.break_even(values)]
    for name in constants if names is None else names:
        found += [layout.break_even(values | {name: end}) for end in {constants[name].low, constants[name].high}]
    return min(found), max(found)
