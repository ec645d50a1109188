"""How the integer network on the chip follows the float network that it was made of, population by population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, Program

Array = npt.NDArray[Any]

_VALUES_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class SpikeAgreement:
    """Of one population that spikes.

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

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        return asdict(self) | {"agreement": self.agreement, "rate_change": self.rate_change}


@dataclass(frozen=True)
class ReadoutAgreement:
    """Of one readout: differences of its membranes, those of the chip divided by its scale, in float units.

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
        if chip.shape != ideal.shape:
            raise BadInput(f"population {p.name!r}: {list(chip.shape)} on the chip, {list(ideal.shape)} in floats")
        rows.append((_spikes if p.kind == "lif" else _readout)(p, chip, ideal))
    return tuple(rows)


def _spikes(p: ChipPopulation, chip: Array, ideal: Array) -> SpikeAgreement:
    winners = [np.count_nonzero(spikes, axis=0).argmax(axis=1) for spikes in (chip, ideal)]  # [batch]
    return SpikeAgreement(
        population=p.name,
        neuron_ticks=chip.size,
        float_spikes=int(np.count_nonzero(ideal)),
        chip_spikes=int(np.count_nonzero(chip)),
        both=sum(int(np.count_nonzero(np.logical_and(*part))) for part in _parts(chip, ideal)),
        sequences=chip.shape[1],
        same_winner=int(np.count_nonzero(winners[0] == winners[1])),
    )


def _readout(p: ChipPopulation, chip: Array, ideal: Array) -> ReadoutAgreement:
    largest = squares = squares_float = 0.0
    for ours, theirs in _parts(chip, ideal):
        difference = ours / p.scale - theirs
        largest = max(largest, float(np.abs(difference).max(initial=0)))
        squares += float(np.square(difference).sum())
        squares_float += float(np.square(theirs).sum())
    n = max(chip.size, 1)
    return ReadoutAgreement(p.name, chip.size, largest, (squares / n) ** 0.5, (squares_float / n) ** 0.5)


def _parts(chip: Array, ideal: Array) -> Iterator[tuple[Array, Array]]:
    """Some ticks at a time: what is computed of them is larger than they are."""
    at_once = max(1, _VALUES_AT_ONCE * len(chip) // max(chip.size, 1))
    for start in range(0, len(chip), at_once):
        yield chip[start : start + at_once], ideal[start : start + at_once]
