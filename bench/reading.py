"""A chip reads words: its spikes, what happened on its cores, what that costs, what its neurons did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from muspike.export.loihi import ChipRunner
from muspike.hardware.chip import Chip
from muspike.hardware.cost.account import Account
from muspike.hardware.cost.energy import Meter, meters
from muspike.hardware.cost.firing import FiringMeter, Presented
from muspike.hardware.program import Program
from muspike.hardware.running.simulate import deepest
from muspike.tokens import Words

# Sequences are computed in parts that take at most so many bytes.
_PART_BYTES = 2**28


class Reading:
    """The spikes and costs of a chip that reads given words `[tokens, batch, 7 + draws]`.

    Args:
        runner: the network on its chip.
        mappings: programs of the same network whose cores are counted; the placement of cores alone may differ.
        words: the words, with their noise.
        chip: the chip, which prices.
        membranes: whether `firing` tells membrane updates, which takes memory and time.

    Attributes:
        counts: what happened on the cores in all, for each mapping.
        meters: what it costs: of the first mapping with each of the chip's cost sets, of the others with the default.
        spikes: every spike, by population.
        firing: what the neurons did. So that deep populations answer to the last word too, silence follows the words;
            what happens then is neither in `counts` nor in `spikes`.
    """

    def __init__(
        self,
        runner: ChipRunner,
        mappings: Sequence[Program],
        words: Words,
        chip: Chip,
        membranes: bool = False,
    ) -> None:
        spikes: list[Mapping[str, npt.NDArray[np.uint8]]] = []
        first, *others = mappings
        self.meters: list[tuple[Meter, ...]] = [
            meters(first.core_xy, chip),
            *((Meter(of.core_xy, chip, influences=False),) for of in others),
        ]
        account = Account(mappings, self.meters)
        program, presentation = runner.program, runner.presentation
        ticks = len(words) * presentation.period
        self.firing = FiringMeter(program, ticks, Presented(presentation.ticks, presentation.period))
        each = sum(p.size * (8 if membranes else 4 if p.kind == "li" else 1) for p in program.populations)
        for part in parts(words.shape[1], ticks * each):
            read = words[:, part]
            runner.reset(read.shape[1])
            account.begin(read.shape[1])
            _, run = runner.run(read, record_membranes=membranes, record_activity=True)
            account.add(run.spikes, run.active)
            spikes.append(run.spikes)
            self.firing.begin()
            self.firing.add(run.spikes, run.membrane if membranes else None)
            rest = runner.silence(deepest(program), record_membranes=membranes)
            self.firing.add(rest.spikes, rest.membrane if membranes else None)
        self.counts = account.totals
        self.spikes = {
            name: array if len(spikes) == 1 else np.concatenate([s[name] for s in spikes], axis=1)
            for name, array in spikes[0].items()
        }


def parts(sequences: int, bytes_each: int) -> Iterator[slice]:
    """Sequences in parts that take some 100 MB, at least one sequence at a time."""
    at_once = max(1, _PART_BYTES // bytes_each)
    for start in range(0, sequences, at_once):
        yield slice(start, start + at_once)
