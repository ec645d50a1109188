"""Compare two runs of one network, population by population.

`exactness` compares two executions of the same network, which must be equal in every tick: it counts what differs.
`agreement` compares the integer network on a chip with the float network that it was made from. The integer network can
only follow the float network, each population a number of ticks later: `agreement` counts the spikes that both have.
Where the float network counts several spikes of a neuron in a tick, the chip has at most one of them.
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
    """How one population differs between a run and its judge, the run that it must equal.

    Attributes:
        population: its name.
        neuron_ticks: neurons x ticks x sequences compared.
        spikes: spikes of the judge.
        different_spikes: neuron-ticks in which the spike differs.
        different_states: neuron-ticks in which a recorded u or v differs.
        first_tick: the first tick in which something differs; None: nothing differs.
    """

    population: str
    neuron_ticks: int
    spikes: int
    different_spikes: int
    different_states: int
    first_tick: int | None

    @property
    def exact(self) -> bool:
        """Whether nothing differs."""
        return self.first_tick is None

    @property
    def differences(self) -> int:
        """The number of neuron-ticks that differ, in the spike or in a state, whichever is more."""
        return max(self.different_spikes, self.different_states)

    def to_dict(self) -> dict[str, Any]:
        """The row as a JSON-able dict."""
        return asdict(self)


@dataclass(frozen=True)
class SpikeAgreement:
    """How the chip's spikes agree with the float network's in one population.

    Attributes:
        population: its name.
        neuron_ticks: neurons x ticks x sequences compared.
        float_spikes: spikes of the float network. Each of several in a tick counts.
        chip_spikes: spikes of the chip.
        both: spikes that both have, of the same neuron in the same ideal tick: the sum of the smaller numbers.
        sequences: sequences compared.
        same_winner: sequences in which the same neuron spikes most often (the first one, if several do).
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
        """The share of all spikes that both have; None if neither spikes.

        It is the sum of the smaller over the sum of the larger numbers of spikes of a neuron and tick. If these are 0
        and 1, it is Jaccard's index.
        """
        either = self.float_spikes + self.chip_spikes - self.both
        return self.both / either if either else None

    @property
    def rate_change(self) -> float | None:
        """How much more the chip spikes, relative to the float network; None if the float network has no spikes."""
        return self.chip_spikes / self.float_spikes - 1 if self.float_spikes else None

    @classmethod
    def together(cls, name: str, rows: Iterable[SpikeAgreement]) -> SpikeAgreement:
        """Several rows as one row called `name`, whose numbers are sums. The rows are parts of a run or populations."""
        several = list(rows)
        return cls(name, *(sum(getattr(row, field.name) for row in several) for field in fields(cls)[1:]))

    def to_dict(self) -> dict[str, Any]:
        """The row as a JSON-able dict."""
        return asdict(self) | {"agreement": self.agreement, "rate_change": self.rate_change}


@dataclass(frozen=True)
class ReadoutAgreement:
    """How the chip's membranes agree with the float network's in one readout.

    The membranes of the chip are divided by their scale, so all differences are in float units.

    Attributes:
        population: its name.
        values: membranes compared.
        largest_difference: the largest absolute difference.
        rms_difference: the root mean square of the differences.
        rms_float: the root mean square of the float membranes, to compare `rms_difference` with.
    """

    population: str
    values: int
    largest_difference: float
    rms_difference: float
    rms_float: float

    def to_dict(self) -> dict[str, Any]:
        """The row as a JSON-able dict."""
        return asdict(self)


def exactness(
    run: Mapping[str, Array],
    judge: Mapping[str, Array],
    states: Sequence[tuple[Mapping[str, Array], Mapping[str, Array]]] = (),
) -> tuple[Exactness, ...]:
    """Compare every spike, and every state that both runs recorded; a row for each population of the judge.

    Args:
        run: spikes `[ticks, batch, size]` by population, for at least the populations of the judge.
        judge: spikes `[ticks, batch, size]` by population.
        states: other arrays to compare, such as u and v: pairs of the run's and the judge's arrays, by population.

    Raises:
        BadInput: the run lacks a population, or a population does not have the shape that it has in the judge.
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
    """Compare the ticks that both networks have. The chip's ticks are shifted back by the level of each population.

    Args:
        program: made from the float network. Populations that the float network lacks, such as relays, and inputs are
            left out.
        float_spikes, float_membranes: `[ticks, batch, size]` in ideal time, as `interpreter.run` gives them.
        chip_spikes, chip_membranes: `[ticks, batch, size]` in chip time, as `Simulator.run` gives them.

    Raises:
        BadInput: a population has different shapes in the two networks.
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
    winners = [spikes.sum(axis=0, dtype=np.int64).argmax(axis=1) for spikes in (chip, ideal)]  # [batch]
    return SpikeAgreement(
        population=p.name,
        neuron_ticks=chip.size,
        float_spikes=int(ideal.sum(dtype=np.int64)),
        chip_spikes=int(chip.sum(dtype=np.int64)),
        both=sum(int(np.minimum(*spikes).sum(dtype=np.int64)) for _, (spikes,) in _parts([(chip, ideal)])),
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
    """Pairs of arrays of one shape, some ticks at a time, each part with its first tick.

    Comparing a part takes more memory than the part, so the arrays are not compared at once.
    """
    like = pairs[0][0]
    at_once = max(1, _VALUES_AT_ONCE * len(like) // max(like.size, 1))
    for start in range(0, len(like), at_once):
        part = slice(start, start + at_once)
        yield start, [(one[part], other[part]) for one, other in pairs]
