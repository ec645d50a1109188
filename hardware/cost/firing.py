"""What the neurons of each population did in a run: how often each fired, and when; which are dead, which saturated.

Everything is in ideal time. A population answers to the ticks of the input in the ticks that start at its level, so
its tick 0 is the chip's tick `level`. A run must go on for as many ticks after its input as the deepest level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.graph import by_end
from muspike.hardware.program import ChipPopulation, Kind, Program

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

SATURATED = 0.99
"""A neuron is saturated if it fires in at least this share of the ticks in which it could. A definition of muspike."""


class Presented(NamedTuple):
    """When input comes: in the first `ticks` ticks of each `period`. A neuron could fire in these ticks."""

    ticks: int
    period: int


@dataclass(frozen=True, eq=False)
class Firing:
    """What one spiking population, or input, did.

    Attributes:
        name, kind, size: those of the population.
        relay: whether it only makes a delay longer.
        ticks: the ticks of each sequence.
        presented: when its input came.
        of_neuron: spikes of each neuron, int64 `[size]`.
        of_neuron_presented: its spikes in the presented ticks, int64 `[size]`.
        of_tick: spikes of all neurons and sequences, by tick, int64 `[ticks]`.
        of_sequence: spikes of all neurons, by sequence, int64 `[batch]`.
        of_neuron_late: for each ideal delay with which synapses leave, the spikes of each neuron in the last so many
            ticks, int64 `[size]`: they arrive after the end.
    """

    name: str
    kind: Kind
    size: int
    relay: bool
    ticks: int
    presented: Presented
    of_neuron: Integers
    of_neuron_presented: Integers
    of_tick: Integers
    of_sequence: Integers
    of_neuron_late: Mapping[int, Integers]

    @property
    def batch(self) -> int:
        """The number of sequences."""
        return len(self.of_sequence)

    @property
    def ticks_of_all(self) -> int:
        """The ticks of all sequences together."""
        return self.ticks * self.batch

    @property
    def spikes(self) -> int:
        """All spikes of the run."""
        return int(self.of_neuron.sum())

    @property
    def rate(self) -> float:
        """Spikes per neuron and tick."""
        return self.spikes / (self.size * self.ticks_of_all)

    @property
    def sparsity(self) -> float:
        """NeuroBench's activation sparsity: the share of neurons and ticks without a spike."""
        return 1 - self.rate

    @property
    def chances(self) -> int:
        """The presented ticks, of all sequences together: those in which a neuron could fire."""
        return int(_is_presented(self.ticks, self.presented).sum()) * self.batch

    @property
    def presented_rate(self) -> float:
        """Spikes per neuron and presented tick, of these ticks."""
        return int(self.of_neuron_presented.sum()) / (self.size * self.chances)

    @property
    def dead(self) -> npt.NDArray[np.bool_]:
        """The neurons that never fired, `[size]`."""
        return np.asarray(self.of_neuron == 0)

    @property
    def saturated(self) -> npt.NDArray[np.bool_]:
        """The neurons that fired in at least the share `SATURATED` of the presented ticks, `[size]`."""
        return np.asarray(self.of_neuron_presented >= SATURATED * self.chances)

    @property
    def rate_of_tick(self) -> npt.NDArray[np.float64]:
        """Spikes per neuron and sequence in each tick of a period, averaged over the periods, `[period]`.

        If input comes in every tick, in each tick of a sequence, `[ticks]`.
        """
        rate: npt.NDArray[np.float64] = self._periods().mean(0) / (self.size * self.batch)
        return rate

    @property
    def rate_of_period(self) -> npt.NDArray[np.float64]:
        """Spikes per neuron and tick in each period, such as a token, averaged over the sequences, `[periods]`."""
        rate: npt.NDArray[np.float64] = self._periods().mean(1) / (self.size * self.batch)
        return rate

    @property
    def rate_of_sequence(self) -> npt.NDArray[np.float64]:
        """Spikes per neuron and tick in each sequence, `[batch]`."""
        return np.asarray(self.of_sequence / (self.size * self.ticks))

    @property
    def rate_of_neuron(self) -> npt.NDArray[np.float64]:
        """Spikes of each neuron per presented tick, of these ticks, `[size]`: 1 is as often as it could."""
        return np.asarray(self.of_neuron_presented / self.chances)

    def _periods(self) -> Integers:
        return self.of_tick.reshape(-1, self.presented.period)


def _is_presented(ticks: int, presented: Presented) -> npt.NDArray[np.bool_]:
    return np.asarray(np.arange(ticks) % presented.period < presented.ticks)


class FiringMeter:
    """Counts the firing of a run that comes part by part: parts of ticks, or of sequences, or both.

    Args:
        program: the deployed network.
        ticks: the ticks of the input, of each sequence.
        presented: when the input comes; None: in every tick.

    Raises:
        BadInput: the ticks are no multiple of the period.
    """

    def __init__(self, program: Program, ticks: int, presented: Presented | None = None) -> None:
        self._program, self._ticks = program, ticks
        self._presented = presented or Presented(ticks, ticks)
        if ticks % self._presented.period:
            raise BadInput(f"firing: {ticks} ticks are no multiple of the period, {self._presented.period}")
        self._inside = _is_presented(ticks, self._presented)
        self._spiking = [p for p in program.populations if p.kind != "li"]
        sizes = {p.name: p.size for p in self._spiking}
        self._of_neuron = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
        self._of_neuron_presented = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
        self._of_tick = {name: np.zeros(ticks, np.int64) for name in sizes}
        self._of_sequence: dict[str, list[Integers]] = {name: [] for name in sizes}
        leaving = by_end(program.synapses, "source")
        self._of_neuron_late = {
            p.name: {program.ideal_delay(s): np.zeros(p.size, np.int64) for s in leaving[p.name]} for p in self._spiking
        }
        self._updates: dict[str, int] = {p.name: 0 for p in program.populations if p.kind != "input"}
        self._has_membranes = True
        self._begun = 0
        self._membrane: dict[str, Array] = {}

    def begin(self) -> None:
        """Other sequences follow, from rest."""
        self._begun, self._membrane = 0, {}

    def add(self, spikes: Mapping[str, Array], membranes: Mapping[str, Array] | None = None) -> None:
        """Count the next ticks of the sequences.

        Args:
            spikes: `[ticks, batch, size]` in chip time, of every `input` and `lif` population, as `Run.spikes`.
            membranes: the same of every mapped population, as `Run.membrane`; None: membrane updates are not known.
        """
        length, batch = next(iter(spikes.values())).shape[:2]
        for population in self._spiking:
            name = population.name
            if not self._begun:
                self._of_sequence[name].append(np.zeros(batch, np.int64))
            part, first = self._answers(population, length)
            fired = np.asarray(spikes[name])[part] != 0
            if fired.size:
                inside = self._inside[first : first + len(fired)]
                self._of_tick[name][first : first + len(fired)] += fired.sum((1, 2))
                self._of_sequence[name][-1] += fired.sum((0, 2))
                self._of_neuron[name] += fired.sum((0, 1))
                self._of_neuron_presented[name] += fired[inside].sum((0, 1))
                for delay, late in self._of_neuron_late[name].items():
                    late += fired[max(self._ticks - delay - first, 0) :].sum((0, 1))
        if membranes is None:
            self._has_membranes = False
        else:
            for name in self._updates:
                self._update(self._program.population(name), np.asarray(membranes[name]))
        self._begun += length

    def _answers(self, population: ChipPopulation, length: int) -> tuple[slice, int]:
        """Of the next `length` ticks, those in which a population answers, and the tick in ideal time of the first."""
        start = min(max(population.level - self._begun, 0), length)
        stop = min(max(population.level + self._ticks - self._begun, 0), length)
        return slice(start, stop), self._begun + start - population.level

    def _update(self, population: ChipPopulation, membrane: Array) -> None:
        part, first = self._answers(population, len(membrane))
        after = membrane[part]
        if len(after):
            changed = int((after[1:] != after[:-1]).sum())
            # In the first tick there is no tick before: NeuroBench counts every neuron.
            before = membrane[part.start - 1] if part.start else self._membrane.get(population.name)
            changed += after[0].size if first == 0 or before is None else int((after[0] != before).sum())
            self._updates[population.name] += changed
        if len(membrane):
            self._membrane[population.name] = membrane[-1].copy()

    def firings(self) -> tuple[Firing, ...]:
        """What each spiking population and input did, in the order of the program.

        Raises:
            BadInput: nothing was added.
        """
        if not all(self._of_sequence.values()):
            raise BadInput("the run has no tick: there is nothing to count")
        relays = self._program.roles.relays
        return tuple(
            Firing(
                name=p.name,
                kind=p.kind,
                size=p.size,
                relay=p.name in relays,
                ticks=self._ticks,
                presented=self._presented,
                of_neuron=self._of_neuron[p.name],
                of_neuron_presented=self._of_neuron_presented[p.name],
                of_tick=self._of_tick[p.name],
                of_sequence=np.concatenate(self._of_sequence[p.name]),
                of_neuron_late=self._of_neuron_late[p.name],
            )
            for p in self._spiking
        )

    def membrane_updates(self) -> dict[str, int] | None:
        """Membrane updates (`operations.Operations`) of each mapped population, relays and readouts too.

        None: membranes were not recorded.
        """
        return dict(self._updates) if self._has_membranes else None
