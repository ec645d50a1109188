"""The executions that exported files are held against: the network in float64, and the integer simulator."""

from __future__ import annotations

import copy

import torch

from muspike.export.float_run import float_run, interpreted
from muspike.export.recording import LOGITS, Recording, Spikes
from muspike.export.subject import Stimulus, Subject
from muspike.hardware.program import Program
from muspike.hardware.simulator.events import Simulator
from muspike.network import Network


def float_reference(subject: Subject, stimulus: Stimulus) -> Recording:
    """A network in float64: a model in torch, which need not spike; a NIR graph by the interpreter of `hardware`.

    Raises:
        BadInput: as `Subject.graph`.
    """
    model = subject.model
    if model is None:
        return interpreted(subject.graph, stimulus.spikes)
    assert stimulus.words is not None  # every model reads words
    if isinstance(model.network, Network):
        spikes, logits = float_run(model.network, stimulus.words)
        return Recording(spikes, {LOGITS: logits})
    with torch.no_grad():
        logits = copy.deepcopy(model.network).double()(torch.from_numpy(stimulus.words))[0].numpy()
    return Recording({}, {LOGITS: logits})


def chip_reference(program: Program, inputs: Spikes) -> Recording:
    """A program in the integer simulator, with every u and v."""
    run = Simulator(program, inputs.shape[1]).run(inputs, record_membranes=True)
    fired = {p.name: run.spikes[p.name] for p in program.populations if p.kind == "lif"}
    return Recording(fired, {}, run.membrane, run.current)
