"""Two runs of one network held against each other, population by population.

There are two questions, and so two answers. Two executions of the same network must be equal, in the same tick:
`exactness` counts what differs. The integer network on a chip can only follow the float network that it was made of,
and each population does so its own number of ticks later: `agreement` counts what both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, Program

Array = npt.NDArray[Any]

_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Exactness:
    """How one population differs between a run and the one that judges it.

    Attributes:
        neuron_ticks: neurons x ticks x sequences compared.
        spikes: those of the judge.
        different_spikes, different_states: neuron-ticks where the spike, or a recorded u or v, differs.
        first_tick: the first that differs, None when none does.
    """

    population: str
    neuron_ticks: int
    spikes: int
    different_spikes: int
    different_states: int
    first_tick: int | None

    @property
    def exact(self) -> bool:
        """Nothing differs."""
        return self.first_tick is None

    @property
    def differences(self) -> int:
        """Neuron-ticks that differ: in the spike, or in a state where these are more."""
        return max(self.different_spikes, self.different_states)

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True)
class SpikeAgreement:
    """How one population that spikes agrees.

    Attributes:
        neuron_ticks: neurons x ticks x sequences compared.
        float_spikes, chip_spikes: of each network.
        both: spikes that both have, of the same neuron in the same ideal tick.
        sequences: compared; in `same_winner` of them the same neuron spikes most often (of several the first).
    """

    population: str
    neuron_ticks: int
    float_spikes: int
    chip_spikes: int
    both: int
    sequences: int
    same_winner: int

    @property
    def agreement(self) -> float | None:
        """Jaccard's index, the share of all spikes that both have; None where neither spikes."""
        either = self.float_spikes + self.chip_spikes - self.both
        return self.both / either if either else None

    @property
    def rate_change(self) -> float | None:
        """By how much the chip spikes more, in parts of the float network's spikes; None where that has none."""
        return self.chip_spikes / self.float_spikes - 1 if self.float_spikes else None

    @classmethod
    def together(cls, name: str, rows: Iterable[SpikeAgreement]) -> SpikeAgreement:
        """Several rows as one called `name`, every number their sum: parts of a run, or several populations."""
        several = list(rows)
        return cls(name, *(sum(getattr(row, field.name) for row in several) for field in fields(cls)[1:]))

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        return asdict(self) | {"agreement": self.agreement, "rate_change": self.rate_change}


@dataclass(frozen=True)
class ReadoutAgreement:
    """How one readout agrees: differences of its membranes, those of the chip divided by its scale, in float units.

    `rms_float` is the root of the mean square of the float membranes, to hold `rms_difference` against.
    """

    population: str
    values: int
    largest_difference: float
    rms_difference: float
    rms_float: float

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        return asdict(self)


def exactness(
    run: Mapping[str, Array],
    judge: Mapping[str, Array],
    states: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]] = (),
) -> tuple[Exactness, ...]:
    """Compare every spike, and every state that both recorded; a row for each population of the judge.

    Args:
        run, judge: spikes `[ticks, batch, size]` by population; the run has all populations of the judge.
        states: what else is compared, such as u and v: pairs of the run's and the judge's, by population.

    Raises:
        BadInput: the run lacks a population, or one has another shape than the judge's.
    """
    rows = []
    for name, theirs in judge.items():
        if name not in run:
            raise BadInput(f"population {name!r}: nothing to compare; the run has {', '.join(run) or 'none'}")
        pairs = [(run[name], theirs), *((ours[name], of[name]) for ours, of in states if name in ours and name in of)]
        for ours, of in pairs:
            _check_shapes(name, ours, "in the run", of, "in its judge")
        fired = different_spikes = different_states = 0
        first_tick = None
        for start, (spikes, *more) in _parts(pairs):
            wrong_spikes = np.not_equal(*spikes)
            wrong_states = np.zeros_like(wrong_spikes)
            for both in more:
                wrong_states |= np.not_equal(*both)
            ticks = np.flatnonzero((wrong_spikes | wrong_states).any(axis=(1, 2)))
            if first_tick is None and len(ticks):
                first_tick = start + int(ticks[0])
            fired += int(np.count_nonzero(spikes[1]))
            different_spikes += int(np.count_nonzero(wrong_spikes))
            different_states += int(np.count_nonzero(wrong_states))
        rows.append(Exactness(name, theirs.size, fired, different_spikes, different_states, first_tick))
    return tuple(rows)


def agreement(
    program: Program,
    float_spikes: Mapping[str, Array],
    float_membranes: Mapping[str, Array],
    chip_spikes: Mapping[str, Array],
    chip_membranes: Mapping[str, Array],
) -> tuple[SpikeAgreement | ReadoutAgreement, ...]:
    """Compare the ticks that both have, the chip's taken back by the level of each population.

    Args:
        program: made of the float network; what it has beside (inputs, relays) is left out.
        float_spikes, float_membranes: `[ticks, batch, size]` in ideal time, as `interpreter.run` gives them.
        chip_spikes, chip_membranes: `[ticks, batch, size]` in chip time, as `Simulator.run` gives them.

    Raises:
        BadInput: a population has another shape in one than in the other.
    """
    rows: list[SpikeAgreement | ReadoutAgreement] = []
    for p in program.populations:
        ours, theirs = (chip_spikes, float_spikes) if p.kind == "lif" else (chip_membranes, float_membranes)
        if p.kind == "input" or p.name not in theirs or p.name not in ours:
            continue
        chip, ideal = ours[p.name][p.level :], theirs[p.name]
        ticks = min(len(chip), len(ideal))
        chip, ideal = chip[:ticks], ideal[:ticks]
        _check_shapes(p.name, chip, "on the chip", ideal, "in floats")
        rows.append((_spikes if p.kind == "lif" else _readout)(p, chip, ideal))
    return tuple(rows)


def _spikes(p: ChipPopulation, chip: Array, ideal: Array) -> SpikeAgreement:
    winners = [np.count_nonzero(spikes, axis=0).argmax(axis=1) for spikes in (chip, ideal)]  # [batch]
    return SpikeAgreement(
        population=p.name,
        neuron_ticks=chip.size,
        float_spikes=int(np.count_nonzero(ideal)),
        chip_spikes=int(np.count_nonzero(chip)),
        both=sum(int(np.count_nonzero(np.logical_and(*spikes))) for _, (spikes,) in _parts([(chip, ideal)])),
        sequences=chip.shape[1],
        same_winner=int(np.count_nonzero(winners[0] == winners[1])),
    )


def _readout(p: ChipPopulation, chip: Array, ideal: Array) -> ReadoutAgreement:
    largest = squares = squares_float = 0.0
    for _, ((ours, theirs),) in _parts([(chip, ideal)]):
        difference = ours / p.scale - theirs
        largest = max(largest, float(np.abs(difference).max(initial=0)))
        squares += float(np.square(difference).sum())
        squares_float += float(np.square(theirs).sum())
    n = max(chip.size, 1)
    return ReadoutAgreement(p.name, chip.size, largest, (squares / n) ** 0.5, (squares_float / n) ** 0.5)


def _check_shapes(name: str, one: Array, where: str, other: Array, elsewhere: str) -> None:
    if one.shape != other.shape:
        raise BadInput(f"population {name!r}: {list(one.shape)} {where}, {list(other.shape)} {elsewhere}")


def _parts(pairs: Sequence[tuple[Array, Array]]) -> Iterator[tuple[int, list[tuple[Array, Array]]]]:
    """Pairs of arrays of one shape, some ticks at a time: what is computed of them is larger than they are.

    With the first tick of each part.
    """
    like = pairs[0][0]
    at_once = max(1, _VALUES_AT_ONCE * len(like) // max(like.size, 1))
    for start in range(0, len(like), at_once):
        part = slice(start, start + at_once)
        yield start, [(one[part], other[part]) for one, other in pairs]
