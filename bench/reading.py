"""A chip reads words: its spikes, what happened on its cores, what its neurons did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from muspike.export.loihi import ChipRunner
from muspike.hardware.cost import activity
from muspike.hardware.cost.firing import FiringMeter, Presented
from muspike.hardware.program import Program
from muspike.hardware.running.simulate import deepest
from muspike.tokens import Words

# Sequences are computed in parts that take at most so many bytes.
_PART_BYTES = 2**27


class Reading:
    """The spikes and counts of a chip that reads given words `[tokens, batch, 7 + draws]`.

    Some sequences are read at a time: membranes are needed to know which updates move a state, and are too large to
    keep.

    Args:
        runner: the network on its chip.
        mappings: programs of the same network whose cores are counted; the placement of cores alone may differ.
        words: the words, with their noise.

    Attributes:
        counts: what happened on the cores, for each mapping.
        spikes: every spike, by population.
        firing: what the neurons did. So that deep populations answer to the last word too, silence follows the words;
            what happens then is neither in `counts` nor in `spikes`.
    """

    def __init__(self, runner: ChipRunner, mappings: Sequence[Program], words: Words) -> None:
        spikes: list[Mapping[str, npt.NDArray[np.uint8]]] = []
        counts: list[list[activity.Counts]] = [[] for _ in mappings]
        program, presentation = runner.program, runner.presentation
        ticks = len(words) * presentation.period
        self.firing = FiringMeter(program, ticks, Presented(presentation.ticks, presentation.period))
        for part in parts(words.shape[1], 8 * ticks * sum(p.size for p in program.populations)):  # bytes of u and v
            read = words[:, part]
            runner.reset(read.shape[1])
            _, run = runner.run(read, record_membranes=True)
            for mapping, of in zip(mappings, counts, strict=True):
                of.append(activity.count(mapping, run.spikes, currents=run.current, membranes=run.membrane))
            spikes.append(run.spikes)
            self.firing.begin()
            self.firing.add(run.spikes, run.membrane)
            rest = runner.silence(deepest(program))
            self.firing.add(rest.spikes, rest.membrane)
        self.counts = [activity.Counts.joined(of) for of in counts]
        self.spikes = {name: np.concatenate([s[name] for s in spikes], axis=1) for name in spikes[0]}


def parts(sequences: int, bytes_each: int) -> Iterator[slice]:
    """Sequences in parts that take some 100 MB, at least one sequence at a time."""
    at_once = max(1, _PART_BYTES // bytes_each)
    for start in range(0, sequences, at_once):
        yield slice(start, start + at_once)
