"""Export a model as the integer program of a chip, in a file that Lava can run too."""

from __future__ import annotations

from pathlib import Path

from muspike.checkpoint import Model
from muspike.export import lava_runner
from muspike.export.loihi import compile_model
from muspike.export.presentation import Presentation
from muspike.export.targets import Options
from muspike.export.verify import Proof
from muspike.export.words import example_words
from muspike.hardware.program import Program


def write(model: Model, path: Path, options: Options) -> None:
    """Write the program; see `targets.Exporter`.

    Without a Python that runs Lava nothing is written, because the file could not be proved.
    """
    program = compile_model(model, options["chip"]).program
    lava_runner.find_lava_python(options["python"])
    program.save(path)


def prove(model: Model, path: Path, count: int, options: Options) -> Proof:
    """Compare Lava's fixed-point models with the integer simulator; see `targets.Exporter`."""
    program = Program.load(path)
    given = Presentation.read(program.metadata).spikes(example_words(model, count, batch=1))
    rows, _ = lava_runner.verify(program, given, options["python"])
    return Proof(str(path), "the integer simulator", "Lava 0.10.0 fixed_pt (spikes, u and v)", rows)
