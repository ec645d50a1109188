"""What one inference of a network is, and what its neurons do in one.

Models of inference energy compare a network that spikes for some ticks with one that is evaluated once. For a network
that reads tokens, an inference is a token: its input is presented for `ticks` of the `period` ticks that it owns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.arguments import whole
from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Inferences:
    """How a run divides into inferences.

    Attributes:
        ticks: ticks in which the input of an inference is presented, T.
        period: ticks that an inference takes, `>= ticks`.
        lengths: ticks of each sequence, `[batch]`. What is left after whole periods belongs to no inference.

    Raises:
        BadInput: a number is out of range, or no sequence is as long as an inference.
    """

    ticks: int
    period: int
    lengths: tuple[int, ...]

    def __post_init__(self) -> None:
        whole("inferences: period", self.period, 1)
        whole("inferences: ticks", self.ticks, 1, self.period)
        if not self.number:
            longest = max(self.lengths, default=0)
            raise BadInput(f"inferences: the longest sequence has {longest} ticks; one inference takes {self.period}")

    @property
    def number(self) -> int:
        """The number of inferences in the run."""
        return sum(length // self.period for length in self.lengths)


@dataclass(frozen=True, eq=False)
class Activity:
    """What each neuron of a population does in the inferences of a run, `[size]` each.

    Attributes:
        spikes: its spikes.
        active: the inferences in which it spikes.
    """

    spikes: Array
    active: Array


def activity_of(population: ChipPopulation, spikes: Mapping[str, Array], inferences: Inferences) -> Activity:
    """The activity of a population. An inference reaches it `level` ticks later than the inputs.

    Raises:
        BadInput: the population's spikes are missing or of another shape.
    """
    if population.kind == "li":
        return Activity(np.zeros(population.size, np.int64), np.zeros(population.size, np.int64))
    if population.name not in spikes:
        raise BadInput(f"{population.name}: no spikes recorded; need those of every input and lif population")
    fired = np.asarray(spikes[population.name]) != 0
    if fired.ndim != 3 or fired.shape[1:] != (len(inferences.lengths), population.size):
        raise BadInput(
            f"{population.name}: spikes have shape {fired.shape}; "
            f"need [ticks, {len(inferences.lengths)}, {population.size}]"
        )
    total, active = np.zeros(population.size, np.int64), np.zeros(population.size, np.int64)
    for sequence, length in enumerate(inferences.lengths):
        begin, end = population.level, population.level + length // inferences.period * inferences.period
        window = fired[begin : min(end, length), sequence]
        window = np.pad(window, ((0, end - begin - len(window)), (0, 0)))  # what comes after the end of the run
        inside = window.reshape(-1, inferences.period, population.size)
        total += inside.sum((0, 1))
        active += inside.any(1).sum(0)
    return Activity(total, active)


def connections(program: Program) -> list[ChipSynapses]:
    """The synapses of the network. Those into a relay only make a delay longer, and are the chip's."""
    return [synapses for synapses in program.synapses if synapses.target not in program.roles.relays]


def fan_out(synapses: ChipSynapses) -> Array:
    """The number of synapses of each source neuron, `[source]`.

    As `operations.py` counts them: every connection of a dense matrix, those that a `Sparse` holds, and every tap
    of a convolution that lies inside its input.
    """
    weight = synapses.weight
    if isinstance(weight, Sparse):
        return np.diff(weight.starts)
    if not isinstance(weight, Conv):
        return np.full(weight.shape[1], weight.shape[0])
    taps = np.zeros(weight.input_shape, np.int64)
    for a, b in np.ndindex(weight.kernel.shape[2:]):
        taps[:, weight.reached(0, a)[1], weight.reached(1, b)[1]] += weight.kernel.shape[0] // weight.groups
    return taps.ravel()
