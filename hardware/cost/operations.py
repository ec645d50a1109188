"""Count what a network computes, by NeuroBench's definitions (Yik et al. 2025, Nature Communications 16, 1545).

These are the operations of the network, whatever runs it. Neither delays nor the layout of synaptic memory matter, and
relays, which only make a delay longer, have no part in them. What the chip does is `activity.Counts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware import weights as w
from muspike.hardware.cost.activity import checked_spikes
from muspike.hardware.program import Program

Array = npt.NDArray[Any]


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
    membrane_updates: int | None
    connections: tuple[Connection, ...]

    @property
    def connection_sparsity(self) -> float:
        """The share of the weights that are 0: of the numbers that are stored, so a kernel counts once."""
        weights = sum(of.weights for of in self.connections)
        return sum(of.zero_weights for of in self.connections) / weights if weights else 0.0


def operations(program: Program, spikes: Mapping[str, Array], ticks: npt.ArrayLike | None = None) -> Operations:
    """Count the operations of a run. Arguments and errors are as for `activity.count`.

    All spikes of the run count, and no membrane.
    """
    recorded = checked_spikes(program, spikes)
    run_ticks, batch = next(iter(recorded.values())).shape[:2]
    lengths = np.full(batch, run_ticks, np.int64) if ticks is None else np.asarray(ticks, np.int64)
    inside = np.arange(run_ticks)[:, None] < lengths
    fired = {name: ((array != 0) & inside[..., None]).sum((0, 1)) for name, array in recorded.items()}
    return operations_of(program, fired, int(lengths.sum()))


def operations_of(
    program: Program, fired: Mapping[str, Array], ticks: int, membrane_updates: int | None = None
) -> Operations:
    """The operations of a network of which it is known how often each neuron fired.

    Args:
        program: the deployed network.
        fired: the spikes of each neuron, int64 `[size]`, for every `input` and `lif` population.
        ticks: the ticks of all sequences together.
        membrane_updates: as in `Operations`.
    """
    relays = program.roles.relays
    connections = []
    for synapses in (synapses for synapses in program.synapses if synapses.target not in relays):
        stored = w.values(synapses.weight)
        effective = int(w.fan_out(synapses.weight) @ fired[synapses.source])
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
    neurons = sum(p.size for p in program.populations if p.kind != "input" and p.name not in relays)
    return Operations(
        dense=_sum(of.dense for of in connections),
        effective_acs=_sum(of.effective_acs for of in connections),
        effective_macs=_sum(of.effective_macs for of in connections),
        neuron_updates=neurons * ticks,
        membrane_updates=membrane_updates,
        connections=tuple(connections),
    )


def _sum(numbers: Iterable[int]) -> int:
    return sum(numbers)
