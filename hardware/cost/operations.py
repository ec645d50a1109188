"""Count what a network computes, by NeuroBench's definitions (Yik et al. 2025, Nature Communications 16, 1545).

These are the operations of the network, whatever runs it. Neither delays nor the layout of synaptic memory matter, and
relays, which only make a delay longer, have no part in them. What the chip does is `activity.Counts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muspike.hardware import weights as w
from muspike.hardware.cost.firing import FiringMeter
from muspike.hardware.program import Program


@dataclass(frozen=True)
class Connection:
    """The operations of the synapses from one population to another: totals over ticks and sequences.

    Attributes:
        name: the name of the synapses.
        source, target: the names of the populations.
        connections: the connections: every place of a dense matrix; what a `Sparse` matrix, such as wires, holds; every
            tap of a convolution inside its input.
        weights: the numbers that stand for them. A kernel has fewer than connections.
        zero_weights: how many of these are 0.
        dense, effective_acs, effective_macs: as in `Operations`.
    """

    name: str
    source: str
    target: str
    connections: int
    weights: int
    zero_weights: int
    dense: int
    effective_acs: int
    effective_macs: int


@dataclass(frozen=True)
class Operations:
    """What a network computes: totals over ticks and sequences.

    Attributes:
        dense: synaptic operations if everything fired: every connection in every tick.
        effective_acs: connections with a weight other than 0, in ticks in which their source spikes with 0 or 1.
        effective_macs: the same for sources whose spikes are graded; 0 without graded inputs.
        neuron_updates: neurons x ticks.
        membrane_updates: neurons and ticks in which the membrane after the tick is another than before it; every neuron
            counts in the first tick of a sequence. None: membranes were not recorded.
        connections: the synaptic operations of each connection.
    """

    dense: int
    effective_acs: int
    effective_macs: int
    neuron_updates: int
    membrane_updates: int | None = None
    connections: tuple[Connection, ...] = ()

    @property
    def connection_sparsity(self) -> float:
        """The share of the weights that are 0: of the numbers that are stored, so a kernel counts once."""
        weights = sum(of.weights for of in self.connections)
        return sum(of.zero_weights for of in self.connections) / weights if weights else 0.0


def operations(program: Program, firing: FiringMeter) -> Operations:
    """The operations of a run, in ideal time.

    A synaptic operation counts in the tick in which its spike arrives, so not if that is after the end of the run.

    Args:
        program: the deployed network.
        firing: what its neurons did.

    Raises:
        BadInput: there is no run.
    """
    firings = {of.name: of for of in firing.firings()}
    ticks = next(iter(firings.values())).ticks_of_all
    relays = program.roles.relays
    connections = []
    for synapses in (synapses for synapses in program.synapses if synapses.target not in relays):
        stored = w.values(synapses.weight)
        source = firings[synapses.source]
        arriving = source.of_neuron - source.of_neuron_late[program.ideal_delay(synapses)]
        effective = int(w.fan_out(synapses.weight) @ arriving)
        graded = program.population(synapses.source).graded_bits > 0
        connections.append(
            Connection(
                name=synapses.name,
                source=synapses.source,
                target=synapses.target,
                connections=w.count(synapses.weight),
                weights=stored.size,
                zero_weights=int(stored.size - np.count_nonzero(stored)),
                dense=w.count(synapses.weight) * ticks,
                effective_acs=0 if graded else effective,
                effective_macs=effective if graded else 0,
            )
        )
    updates = firing.membrane_updates()
    neurons = sum(p.size for p in program.populations if p.kind != "input" and p.name not in relays)
    return Operations(
        dense=sum(of.dense for of in connections),
        effective_acs=sum(of.effective_acs for of in connections),
        effective_macs=sum(of.effective_macs for of in connections),
        neuron_updates=neurons * ticks,
        membrane_updates=None if updates is None else sum(n for name, n in updates.items() if name not in relays),
        connections=tuple(connections),
    )
