"""Ideal time to chip time: levels, chip delays, and relays for delays that the chip does not have.

In ideal time, a spike may cross a synapse within its tick. On the chip, every synapse takes at least one tick. Each
population gets a level, so that for every synapse from u to v

    delay_chip(u -> v) = delay_ideal(u -> v) + level(v) - level(u) >= 1

Then every population's chip spikes are exactly its ideal spikes, `level` ticks later. This holds for any graph. Around
a loop the levels cancel, so a loop keeps its length. All paths between two populations are late by the same amount (the
argument of retiming, Leiserson & Saxe 1991). Levels exist if each loop's ideal delay is at least its number of
synapses. The levels chosen are the least ones, with 0 at the inputs: the longest paths, by Bellman and Ford.

The one exception is a bias. On the chip, a bias acts from the first tick, `level` ticks before the population's ideal
time begins. A reset at the last of these ticks undoes what the bias did (`Retimed.resets`).

A delay that is longer than the chip's becomes a chain of relays. A relay is a population without memory that repeats
the spikes of its source. There is one chain per source, and each long synapse leaves the chain where its delay asks.
Relays are neurons, whose spikes are 0 or 1. So the spikes of a graded input cannot pass them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from muspike.errors import BadInput
from muspike.hardware.chip import Chip
from muspike.hardware.graph import by_end
from muspike.hardware.mapping.quantise import IntegerGraph, IntegerPopulation, IntegerSynapses
from muspike.hardware.program import FULL_DECAY, SHIFT
from muspike.hardware.weights import identity, with_values

ONCE = 2**31 - 1
"""A reset interval that is longer than any run: the reset happens once."""

MOST_STAGES = 1000
"""The most relays in a row: 63 s in ticks of 1 ms. A longer delay is a mistake, such as a dt that is not the file's."""

# The smallest threshold above 0, and the smallest even weight above it: one spike, 2 > 1, makes a relay fire.
_RELAY_WEIGHT, _RELAY_THRESHOLD = 2, 1


class _Named(Protocol):
    @property
    def name(self) -> str: ...


class _Joins(_Named, Protocol):
    """Synapses, in floats or in integers."""

    @property
    def source(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def delay(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Retimed:
    """A graph in chip time.

    Args:
        graph: the graph, relays included. Its synapses' `delay` is in chip ticks, and at least 1.
        levels: for each population, by how many chip ticks its spikes are later than in ideal time.
        relays: names of the relay populations.
    """

    graph: IntegerGraph
    levels: Mapping[str, int]
    relays: tuple[str, ...] = ()

    def resets(self, every: int | None = None) -> dict[str, tuple[int, int]]:
        """Interval and offset of each population's resets, in chip ticks, as in `ChipPopulation`.

        Args:
            every: bring the network to rest every so many ticks of ideal time. None: reset once each population that a
                bias moves before its ideal time, directly or through others, when its ideal time begins.
        """
        if every is not None:
            return {p.name: (every, self.levels[p.name] % every) for p in self.graph.populations if p.kind != "input"}
        biased = (p.name for p in self.graph.populations if p.bias_mant.any())
        return once_resets(biased, self.graph.synapses, self.levels)

    @property
    def relay_neurons(self) -> int:
        """The number of neurons in relays, which do nothing but wait."""
        return sum(p.size for p in self.graph.populations if p.name in self.relays)


def once_resets(
    biased: Iterable[str], synapses: Iterable[_Joins], levels: Mapping[str, int]
) -> dict[str, tuple[int, int]]:
    """Interval and offset of the one reset of each population that a bias moves before its ideal time.

    Args:
        biased: names of the populations that have a bias.
        synapses: what else the biases move, through others.
        levels: by population, the chip tick at which its ideal time begins.
    """
    moved, joins = set(biased), list(synapses)
    while more := {s.target for s in joins if s.source in moved} - moved:
        moved |= more
    return {name: (ONCE, levels[name]) for name in moved if levels[name]}


def retime(graph: IntegerGraph, chip: Chip) -> Retimed:
    """Put a graph into chip time, with the least levels.

    Raises:
        BadInput: a loop's ideal delay is less than its number of synapses; a delay takes more than `MOST_STAGES` relays
            in a row, or more relay neurons than a whole chip has; or a delay from a graded input takes a relay.
    """
    levels = levels_of(graph.populations, graph.synapses)
    late = [replace(s, delay=s.delay + levels[s.target] - levels[s.source]) for s in graph.synapses]
    longest = chip.limits.synaptic_delay.value
    if longest is None:
        return Retimed(replace(graph, synapses=late), levels)
    _check_relays(late, graph, longest + 1, chip)
    leaving = by_end(late, "source")
    populations = list(graph.populations)
    synapses: list[IntegerSynapses] = []
    relays: list[str] = []
    for population in graph.populations:
        outgoing = leaving[population.name]
        reach = longest + 1  # the one tick that every synapse takes, and the longest delay that the chip adds
        chain = [population.name]
        for n in range(1, max((_stages(s.delay, reach) for s in outgoing), default=0) + 1):
            relay = _relay(_free_name(f"{population.name}.relay{n}", levels), population.size)
            hop = with_values(identity(population.size), np.full(population.size, _RELAY_WEIGHT, np.int16))
            synapses.append(IntegerSynapses(f"{chain[-1]}->{relay.name}", chain[-1], relay.name, hop, reach))
            levels[relay.name] = levels[chain[-1]] + reach
            populations.append(relay)
            chain.append(relay.name)
        relays += chain[1:]
        for s in outgoing:
            n = _stages(s.delay, reach)
            synapses.append(replace(s, source=chain[n], delay=s.delay - n * reach))
    return Retimed(replace(graph, populations=populations, synapses=synapses), levels, tuple(relays))


def _check_relays(late: Sequence[IntegerSynapses], graph: IntegerGraph, reach: int, chip: Chip) -> None:
    sizes = {p.name: p.size for p in graph.populations}
    graded = {p.name for p in graph.populations if p.graded_bits}
    limits = chip.limits
    most = (limits.cores_per_chip.value or 1) * (limits.neurons_per_core.value or 1)
    for s in late:
        if (stages := _stages(s.delay, reach)) > MOST_STAGES:
            raise BadInput(
                f"synapses {s.name!r}: a delay of {s.delay} ticks takes {stages} relays in a row, expected at most "
                f"{MOST_STAGES} ({(MOST_STAGES + 1) * reach} ticks)"
            )
        if s.source in graded and _stages(s.delay, reach):
            raise BadInput(
                f"synapses {s.name!r}: a delay of {s.delay} chip ticks from the graded input {s.source!r} takes "
                f"relays, which pass on spikes of 0 or 1 alone; expected at most {reach} ticks"
            )
        if (needed := _stages(s.delay, reach) * sizes[s.source]) > most:
            raise BadInput(
                f"synapses {s.name!r}: a delay of {s.delay} ticks takes {needed} relay neurons, more than a whole "
                f"{chip.name} has ({most}); expected at most {(most // sizes[s.source] + 1) * reach} ticks"
            )


def _stages(delay: int, reach: int) -> int:
    """The number of relays that a spike passes, so that at least 1 and at most `reach` ticks remain after them."""
    return (delay - 1) // reach


def _relay(name: str, size: int) -> IntegerPopulation:
    def same(value: int) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
        return np.full(size, value, np.int32)

    return IntegerPopulation(
        name=name,
        kind="lif",
        size=size,
        du=same(FULL_DECAY - 1),
        dv=same(FULL_DECAY),
        v_threshold=same(_RELAY_THRESHOLD),
        bias_mant=same(0),
        bias_exp=same(0),
        scale=np.full(size, float(_RELAY_WEIGHT << SHIFT)),
    )


def _free_name(name: str, taken: Mapping[str, int]) -> str:
    while name in taken:
        name += "_"
    return name


def levels_of(populations: Iterable[_Named], synapses: Sequence[_Joins]) -> dict[str, int]:
    """The least level of each population, by name, with 0 at the inputs.

    Raises:
        BadInput: a loop's ideal delay is less than its number of synapses.
    """
    levels = {p.name: 0 for p in populations}
    came_by: dict[str, _Joins] = {}
    last: _Joins | None = None
    for _ in range(len(levels) + 1):
        last = None
        for s in synapses:
            if levels[s.target] < levels[s.source] + 1 - s.delay:
                levels[s.target] = levels[s.source] + 1 - s.delay
                came_by[s.target] = last = s
        if last is None:
            return levels
    assert last is not None
    raise BadInput(_impossible_loop(last, came_by))


def _impossible_loop(last: _Joins, came_by: Mapping[str, _Joins]) -> str:
    name = last.source
    for _ in came_by:  # after so many steps back, `name` lies in the loop itself
        name = came_by[name].source
    loop = [came_by[name]]
    while loop[-1].source != name:
        loop.append(came_by[loop[-1].source])
    loop.reverse()
    way = " -> ".join([loop[0].source, *(s.target for s in loop)])
    return (
        f"loop {way} ({', '.join(s.name for s in loop)}): its delay is {sum(s.delay for s in loop)} ticks "
        f"for {len(loop)} synapses; on a chip every synapse takes a tick, so it needs at least {len(loop)}"
    )
