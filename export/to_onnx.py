"""Export a network to ONNX: a step with explicit state, the same over time as a Scan, or a chip's integer program.

`onnx_float.py` and `onnx_chip.py` say what the files hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muspike.errors import BadInput
from muspike.export.float_run import interpreted
from muspike.export.recording import Recording, Spikes
from muspike.export.references import chip_reference, float_reference
from muspike.export.subject import Stimulus, Subject
from muspike.export.targets import Options
from muspike.export.verify import Judgement
from muspike.tokens import N_AXONS

FORMS = ("step", "scan", "chip")
PRECISIONS: Mapping[str, float] = {"float64": 1e-9, "float32": 1e-5, "int8": 1e-9}
"""In what a network in floats is computed, with the largest difference of an answer."""
TWIN_INT8_TOLERANCE = 0.05
"""Of a network without spikes in int8: its activations are rounded at every word, and runtimes may round otherwise."""


def write(subject: Subject, path: Path, options: Options) -> Mapping[str, Any]:
    """See `targets.Exporter`. The receipt of an int8 file says what it gives up and what it saves."""
    form, precision = _chosen(subject, options)
    model = _model(subject, form, precision, options)
    if precision == "int8":
        from muspike.export.onnx_int8 import check_products

        check_products(path, model)
    path.write_bytes(model.SerializeToString(deterministic=True))
    if precision != "int8" or form == "chip":
        return {}
    from muspike.export.onnx_int8 import receipt

    return receipt(subject, path, _model(subject, form, "float32", options))


def _model(subject: Subject, form: str, precision: str, options: Options) -> Any:
    """The ONNX model in memory."""
    from muspike.export.onnx_graph import Floats, Rounded, model_of

    presentation, twin = subject.presentation, subject.twin
    told = {} if presentation is None else {"presentation": presentation.to_json()}
    if form == "chip":
        from muspike.export.onnx_chip import chip_graph

        program = subject.program(options["chip"] or "loihi1")
        if presentation is not None and len(program.readouts) == 1:
            presentation.answer_tick(program.readouts[0].name, program.readouts[0].level)
        graph, about = chip_graph(program)
        return model_of(graph, {**about, **told})
    if told:
        told["presentation"]["bias"] = [0.0] * N_AXONS  # the graph adds it
    if twin is not None:
        from muspike.export.onnx_twin import twin_graph

        graph, about = twin_graph(twin, "float32" if precision == "int8" else precision, form == "scan")
    else:
        from muspike.export.onnx_float import float_graph

        dtype = "float64" if precision == "int8" else precision
        kind = Rounded(dtype) if precision == "int8" else Floats(dtype)
        graph, about = float_graph(subject.graph, presentation, kind, dtype, form == "scan")
    about = {**about, **told, "precision": precision}
    model = model_of(graph, about)
    if twin is not None and precision == "int8":
        from muspike.export.onnx_int8 import quantised_twin

        return quantised_twin(model, about)
    return model


def judgement(subject: Subject, options: Options) -> Judgement:
    """See `targets.Exporter`."""
    form, precision = _chosen(subject, options)
    if form == "chip":
        return Judgement("the integer simulator", "the integers in ONNX Runtime (spikes, u and v)")
    against = f"ONNX Runtime in {precision}"
    if precision != "int8":
        return Judgement("the network in float64", against, PRECISIONS[precision])
    if subject.twin is None:
        return Judgement("the network in float64 with the same int8 weights", against, PRECISIONS[precision])
    return Judgement("onnx's reference evaluator", against, TWIN_INT8_TOLERANCE, batch=1)


def expect(subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
    """See `targets.Exporter`."""
    form, precision = _chosen(subject, options)
    if form == "chip":
        return chip_reference(subject.program(options["chip"] or "loihi1"), stimulus.spikes)
    if precision != "int8":
        return float_reference(subject, stimulus)
    if subject.twin is None:
        from muspike.export.onnx_int8 import rounded

        return interpreted(rounded(subject.graph), stimulus.spikes)
    from muspike.export.onnx_runner import evaluated

    return evaluated(_model(subject, form, precision, options), stimulus.spikes)


def run(path: Path, inputs: Spikes, options: Options) -> Recording:
    """See `targets.Exporter`: the file in ONNX Runtime."""
    from muspike.export.onnx_runner import OnnxFile

    return OnnxFile(path).run(inputs)


def _chosen(subject: Subject, options: Options) -> tuple[str, str]:
    # ONNX Runtime has no Erf in float64, which two of the networks without spikes need.
    form, precision = options["form"], options["precision"] or ("float64" if subject.twin is None else "float32")
    for name, value, known in (("form", form, FORMS), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise BadInput(f"{name} {value!r} is not known; known are {', '.join(known)}")
    if form != "chip" and options["chip"]:
        raise BadInput(f"chip is not used with form {form}, whose numbers are the network's own; leave it out")
    if form == "chip" and options["precision"]:
        raise BadInput("precision is not used with form chip, whose numbers are the chip's integers; leave it out")
    return form, precision
