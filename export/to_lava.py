"""Export a network to Lava: the integer program of a chip, or the network in floats, with a script that builds it.

`lava_network.py` is the script. It is written beside the file, so whoever has Lava needs nothing of muspike.
"""

from __future__ import annotations

from pathlib import Path

from muspike.errors import BadInput
from muspike.export import lava_floats, lava_runner
from muspike.export.recording import LOGITS, Recording, Spikes
from muspike.export.references import chip_reference, float_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.hardware.program import Program

ARITHMETICS = ("fixed", "floating")
SCRIPT = Path(__file__).with_name("lava_network.py")
FLOAT_TOLERANCE = 1e-9
"""Lava computes in float64 too, but v (1 - 1/tau) + i / tau where the network has v + (i - v) / tau."""


def write(subject: Subject, path: Path, options: Options) -> None:
    """Write the network and its script; see `targets.Exporter`.

    Without a Python that runs Lava nothing is written, because the file could not be proved.
    """
    floating = _is_floating(options)
    if floating:
        network = lava_floats.FloatNetwork.of(subject)
        lava_runner.find_lava_python(options["python"])
        network.save(path)
    else:
        program = subject.program(options["chip"])
        lava_runner.find_lava_python(options["python"])
        program.save(path)
    _script(path).write_bytes(SCRIPT.read_bytes())


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`. Lava runs the sequences of a batch one after another, so there is one."""
    if _is_floating(options):
        return Judgement("the network in float64", "Lava 0.10.0 floating_pt", FLOAT_TOLERANCE, batch=1)
    return Judgement("the integer simulator", "Lava 0.10.0 fixed_pt (spikes, u and v)", batch=1)


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    if _is_floating(options):
        return float_reference(subject, stimulus)
    return chip_reference(subject.program(options["chip"]), stimulus.spikes)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the network in Lava, built by the script that lies beside it.

    Only the script that this muspike writes is run: one that differs is refused.
    """
    script = _script(path)
    if script.exists() and script.read_bytes() != SCRIPT.read_bytes():
        raise BadInput(f"{script}: is not the script that this muspike writes; export the network anew")
    if _is_floating(options):
        return _run_floats(path, inputs, options)
    program = Program.load(path)
    run = lava_runner.run_lava(program, inputs, options["python"], record_membranes=True)
    fired = {p.name: run.spikes[p.name] for p in program.populations if p.kind == "lif"}
    return Recording(fired, {}, run.membrane, run.current)


def _run_floats(path: Path, inputs: Spikes, options: Options) -> Recording:
    network = lava_floats.FloatNetwork.load(path)
    late = network.padded(inputs)
    run = lava_runner.run_file(path, network.names, late, options["python"])
    ticks = len(inputs)
    fired = {p.name: run.spikes[p.name][p.level : p.level + ticks] for p in network.populations if p.kind == "lif"}
    membranes = {p.name: run.membrane[p.name][p.level : p.level + ticks] for p in network.populations if p.kind == "li"}
    if network.presentation is None:
        return Recording(fired, membranes)
    (readout,) = membranes.values()
    return Recording(fired, {LOGITS: network.presentation.answers(readout)})


def _script(path: Path) -> Path:
    return path.with_suffix(".py")


def _is_floating(options: Options) -> bool:
    chosen = options["arithmetic"]
    if chosen not in ARITHMETICS:
        raise BadInput(f"arithmetic {chosen!r} is not known; known are {', '.join(ARITHMETICS)}")
    return bool(chosen == "floating")
