"""Exports that are proved: what was written is read back, run by somebody else, and compared spike for spike."""

from __future__ import annotations

import copy
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from muspike.checkpoint import Model
from muspike.errors import BadInput
from muspike.export import lava_runner
from muspike.export.loihi import compile_model, presented
from muspike.export.to_nir import write_nir
from muspike.generation import SHORTEST, generate
from muspike.hardware import interpreter
from muspike.hardware.program import Program
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.agreement import Exactness, exactness
from muspike.network import Network
from muspike.tables import text_table

Spikes = npt.NDArray[np.uint8]

# Logits of two executions in float64 that add up in another order.
_LOGIT_TOLERANCE = 1e-9


@dataclasses.dataclass(frozen=True)
class Proof:
    """What was written, what ran it, and how every population compares; `worst_logit` where logits were compared."""

    file: str
    reference: str
    against: str
    rows: Sequence[Exactness]
    worst_logit: float | None = None

    @property
    def holds(self) -> bool:
        """Nothing differs, and something was there to differ."""
        equal = all(row.exact for row in self.rows)
        close = self.worst_logit is None or self.worst_logit <= _LOGIT_TOLERANCE
        return equal and close and any(row.spikes for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """All fields, and whether it holds."""
        rows = [
            {"population": r.population, "compared": r.neuron_ticks, "spikes": r.spikes, "differences": r.differences}
            for r in self.rows
        ]
        return {**dataclasses.asdict(self), "rows": rows, "holds": self.holds}

    def table(self) -> str:
        """For people."""
        lines = [f"{self.file}: {self.reference} against {self.against}"]
        rows = [[r.population, f"{r.neuron_ticks:,}", f"{r.spikes:,}", f"{r.differences:,}"] for r in self.rows]
        lines += text_table(["population", "neuron-ticks", "spikes", "differences"], rows)
        if self.worst_logit is not None:
            lines.append(f"largest difference of a logit: {self.worst_logit:.1e} (at most {_LOGIT_TOLERANCE:.0e})")
        lines.append("equal" if self.holds else "NOT EQUAL")
        return "\n".join(lines)


def example_words(model: Model, count: int, batch: int = 4) -> npt.NDArray[np.int16]:
    """Words `[count, batch, 7 + draws]` that the model composes itself: what it meets in use, without a data set."""
    runner = model.network.runner()
    pieces = generate(runner, batch, max(count, SHORTEST), seed=0)
    return runner.noise.behind(np.stack(pieces, axis=1)[:count])


def float_run(network: Network, words: npt.NDArray[np.int16]) -> tuple[dict[str, Spikes], npt.NDArray[np.float64]]:
    """Every tick of `network` in float64: spikes `[ticks, batch, size]` of each LIF population, and all logits.

    The logits, `[tokens, batch, N_AXONS]`, are the readout's membrane at the answering tick of each word, and the
    constants that the host adds.
    """
    exact = copy.deepcopy(network).double()
    timing = exact.timing
    layers = [p.name for p in exact.populations.values() if p.kind == "lif"]
    record: dict[str, list[Spikes]] = {name: [] for name in layers}
    logits = []
    state = exact.at_rest(words.shape[1])
    with torch.no_grad():
        for word in torch.from_numpy(words):
            for t, state in enumerate(exact.period(word, state)):  # noqa: B020  # each period starts where one ended
                for name in layers:
                    record[name].append(exact.firing(state, name).numpy().astype(np.uint8))
                if t == timing.ticks - 1:
                    logits.append((state[exact.readout] + exact.bias).numpy())
    return {name: np.stack(spikes) for name, spikes in record.items()}, np.stack(logits)


def export_nir(model: Model, path: Path, count: int) -> Proof:
    """Write `path` and prove it: the file, read back and run by `hardware`'s interpreter, against torch; in float64.

    Raises:
        BadInput, Failed: as `write_nir`.
    """
    write_nir(model, path)
    words = example_words(model, count)
    spikes, logits = float_run(model.spiking, words)
    graph = from_nir(read_nir(path))
    timing = model.spiking.timing
    read_spikes, read_membranes = interpreter.run(graph, presented(words, graph.metadata))
    (membrane,) = read_membranes.values()
    rows = exactness(read_spikes, spikes)
    answers = membrane[timing.ticks - 1 :: timing.period] + np.asarray(graph.metadata["bias"])
    worst = float(np.abs(answers - logits).max())
    return Proof(str(path), "torch in float64", "the file read back and interpreted", rows, worst)


def export_lava(model: Model, path: Path, chip: str, count: int, python: str | os.PathLike[str] | None = None) -> Proof:
    """Write the chip program to `path` and prove it: Lava's fixed-point models against the integer simulator.

    Raises:
        BadInput: the name does not end in `.npz`, or the chip cannot hold the model.
        Failed: the disk refuses, or no Python can run Lava.
    """
    if path.suffix != ".npz":
        raise BadInput(f"{path}: a chip program ends in .npz")
    program = compile_model(model, chip).program
    python = lava_runner.find_lava_python(python)  # before anything is written
    program.save(path)
    words = example_words(model, count, batch=1)
    return lava_proof(path, program, words, python)


def lava_proof(
    path: Path, program: Program, words: npt.NDArray[np.int16], python: str | os.PathLike[str] | None = None
) -> Proof:
    """The program in the file `path`, on `words`, in Lava's fixed-point models against the integer simulator."""
    rows, _ = lava_runner.verify(path, presented(words, program.metadata), python)
    return Proof(str(path), "the integer simulator", "Lava 0.10.0 fixed_pt (spikes, u and v)", rows)
