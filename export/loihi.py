"""A model on Loihi: the model's program, and the host's side that feeds it words and reads logits."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from muspike import sounding
from muspike.arguments import instance
from muspike.checkpoint import Model
from muspike.export.presentation import Presentation
from muspike.export.to_nir_file import to_nir
from muspike.hardware.chip import Chip
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.program import Program
from muspike.hardware.simulator.events import Run, Simulator
from muspike.tokens import Words

Logits = npt.NDArray[np.float32]


def compile_model(model: Model, chip: Chip | str | os.PathLike[str], must_fit: bool = True) -> Compiled:
    """Compile a model for a chip. The program's metadata holds the model's `Presentation`.

    Args:
        model: a model that spikes.
        chip: a `Chip`, the name of a known one, or the path of its TOML file.
        must_fit: whether to raise if a limit of the chip is exceeded.

    Raises:
        BadInput: the chip cannot hold the model (only with `must_fit`), or the logits are not out when the next token
            goes in.
    """
    instance("compile_model: model", model, Model, "a Model, such as load_model gives")
    compiled = compile_graph(to_nir(model.spiking), chip, must_fit=must_fit)
    _answer_tick(compiled.program, Presentation.read(compiled.program.metadata))
    return compiled


def _answer_tick(program: Program, presentation: Presentation) -> int:
    """The chip tick of each period at which the readout holds the logits."""
    (readout,) = program.readouts
    return presentation.answer_tick(readout.name, readout.level)


class ChipRunner:
    """The integer network as a runner for `generation`: a word goes in, one period of chip ticks runs, logits come out.

    Attributes:
        program: the program that runs.
        presentation: how words go in and logits come out, as the program's metadata says.
        noise: what the host draws for each word.
        labels: the labels that the network hears.
        overflows, readout_resets: the counts of `simulator.events.Run`, summed over populations and over all runs so
            far. The spikes and logits are the chip's only if both are 0.

    Raises:
        BadInput: the metadata does not say how words go in, or the logits are not out when the next token goes in.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.presentation = Presentation.read(program.metadata)
        self.noise, self.labels = self.presentation.noise, self.presentation.labels
        self.overflows = self.readout_resets = 0
        self._answer = _answer_tick(self.program, self.presentation)
        (readout,) = self.program.readouts
        self._readout, self._scale = readout.name, readout.scale
        self._inputs = sum(p.size for p in program.inputs)
        self.reset(1)

    def reset(self, batch: int) -> None:
        """Bring the chip to rest, and make it ready for `batch` pieces side by side."""
        self._batch = batch
        self._simulator = Simulator(self.program, batch)
        self._heard = sounding.silence(batch)

    def step(self, words: Words) -> Logits:
        """The logits `[batch, N_AXONS]` of the word that follows `words` `[batch, 7 + labels + draws]`."""
        logits: Logits = self.run(words[None])[0][0]
        return logits

    def run(self, words: Words, record_membranes: bool = False, record_activity: bool = False) -> tuple[Logits, Run]:
        """Run all of `words` `[tokens, batch, 7 + labels + draws]`; the other arguments are as for `Simulator.run`.

        Returns:
            logits: float32 `[tokens, batch, N_AXONS]`.
            run: all that happened on the chip.
        """
        spikes = self.presentation.spikes(words, self._heard)
        run = self._simulator.run(spikes, record_membranes, record_activity)
        self.overflows += sum(run.overflows.values())
        self.readout_resets += sum(run.readout_resets.values())
        membrane = run.membrane[self._readout][self._answer :: self.presentation.period]
        return (membrane / self._scale + self.presentation.bias).astype(np.float32), run

    def silence(self, ticks: int, record_membranes: bool = False) -> Run:
        """Run ticks without input."""
        return self._simulator.run(np.zeros((ticks, self._batch, self._inputs), np.uint8), record_membranes)
