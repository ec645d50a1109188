"""Export a network to ONNX: a step with explicit state, the same over time as a Scan, or a chip's integer program.

`onnx_float.py` and `onnx_chip.py` say what the files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from muspike.errors import BadInput
from muspike.export.recording import Recording, Spikes
from muspike.export.references import chip_reference, float_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.tokens import N_AXONS

FORMS = ("step", "scan", "chip")
PRECISIONS: Mapping[str, float] = {"float64": 1e-9, "float32": 1e-5}
"""The types in which a network in floats is computed, with the largest difference of an answer."""


def write(subject: Subject, path: Path, options: Options) -> None:
    """See `targets.Exporter`."""
    from muspike.export.onnx_graph import save

    form, precision = _chosen(options)
    if not subject.spiking:
        raise BadInput(f"{subject.name}: does not spike")
    presentation = subject.presentation
    told = {} if presentation is None else {"presentation": presentation.to_json()}
    if form == "chip":
        from muspike.export.onnx_chip import chip_graph

        graph, about = chip_graph(subject.program(options["chip"]))
    else:
        from muspike.export.onnx_float import float_graph
        from muspike.export.onnx_graph import Floats

        graph, about = float_graph(subject.graph, presentation, Floats(precision), precision, form == "scan")
        if told:
            told["presentation"]["bias"] = [0.0] * N_AXONS  # the graph adds it
    save(path, graph, {**about, **told})


def judgement(options: Options) -> Judgement:
    """See `targets.Exporter`."""
    form, precision = _chosen(options)
    if form == "chip":
        return Judgement("the integer simulator", "the integers in ONNX Runtime (spikes, u and v)")
    return Judgement("the network in float64", f"ONNX Runtime in {precision}", PRECISIONS[precision])


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    if options["form"] == "chip":
        return chip_reference(subject.program(options["chip"]), stimulus.spikes)
    return float_reference(subject, stimulus)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the file in ONNX Runtime."""
    from muspike.export.onnx_runner import OnnxFile

    return OnnxFile(path).run(inputs)


def _chosen(options: Options) -> tuple[str, str]:
    form, precision = options["form"], options["precision"]
    for name, value, known in (("form", form, FORMS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise BadInput(f"{name} {value!r} is not known; known are {', '.join(known)}")
    return form, precision
