"""Export a network as the integer program of a chip, in a file that Lava can run too."""

from __future__ import annotations

from pathlib import Path

from muspike.export import lava_runner
from muspike.export.recording import Recording, Spikes
from muspike.export.references import chip_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.hardware.program import Program


def write(subject: Subject, path: Path, options: Options) -> None:
    """Write the program; see `targets.Exporter`.

    Without a Python that runs Lava nothing is written, because the file could not be proved.
    """
    program = subject.program(options["chip"])
    lava_runner.find_lava_python(options["python"])
    program.save(path)


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`. Lava runs the sequences of a batch one after another, so there is one."""
    return Judgement("the integer simulator", "Lava 0.10.0 fixed_pt (spikes, u and v)", batch=1)


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    return chip_reference(subject.program(options["chip"]), stimulus.spikes)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the program in the fixed-point models of Lava."""
    program = Program.load(path)
    run = lava_runner.run_lava(program, inputs, options["python"], record_membranes=True)
    fired = {p.name: run.spikes[p.name] for p in program.populations if p.kind == "lif"}
    return Recording(fired, {}, run.membrane, run.current)
