"""Run an exported ONNX file in ONNX Runtime. Nothing here imports torch.

The packages `onnx` and `onnxruntime` are optional (`pip install 'muspike[onnx]'`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike import sounding
from muspike.errors import BadInput, Failed, one_line
from muspike.export.onnx_graph import FORMAT, KEY, LARGEST_BYTES, OPSET, VERSION
from muspike.export.presentation import MOST_TICKS, Presentation
from muspike.export.recording import LOGITS, Array, Recording, Spikes
from muspike.files import check_file
from muspike.tokens import Words

try:
    import onnx
    import onnxruntime
except ImportError as error:
    raise BadInput(
        f"ONNX needs the packages onnx and onnxruntime ({error.name} is missing): pip install 'muspike[onnx]'"
    ) from None

Logits = npt.NDArray[np.float32]
_FORMS = ("step", "scan", "chip")
_FREE = ("batch", "past")  # axes of a state that have any length
# What onnx_float, onnx_chip and onnx_twin write, and what ONNX Runtime's quantisation makes of the last.
OPERATORS = frozenset({
    "Abs", "Add", "And", "Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Cos", "Div",
    "DynamicQuantizeLinear", "Equal", "Erf", "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "MatMul",
    "MatMulInteger", "Mod", "Mul", "Pad", "Range", "ReduceMean", "Reshape", "Scan", "Shape", "Sigmoid", "Sign",
    "Sin", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze", "Where",
})  # fmt: skip


class OnnxFile:
    """An ONNX file that muspike wrote, ready to run.

    Args:
        path: the file.
        threads: threads of ONNX Runtime; 0: as it likes.

    Attributes:
        about: what the file says of itself.
        form: `step`, `scan` or `chip`.
        presentation: how words go in; None: the network does not read words.

    Raises:
        BadInput: the file cannot be read, is not one of muspike's, is of a later version, or refers to other files.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        self.path = path
        check_file(path, LARGEST_BYTES)
        content = path.read_bytes()
        try:
            model = onnx.load_model_from_string(content)
        except Exception as error:  # protobuf raises classes of its own that are not public
            raise BadInput(f"{path}: is no ONNX file, or is damaged: {one_line(error)}") from error
        self.about = _about(path, model)
        self.form = str(self.about["form"])
        _refuse_elsewhere(path, model)
        _refuse_strangers(path, model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            onnx.checker.check_model(model)
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BadInput(f"{path}: ONNX Runtime cannot run it: {one_line(error)}") from error
        try:
            told = self.about.get("presentation")
            self.presentation = None if told is None else Presentation.read(told)
            self.inputs: Mapping[str, int] = {str(k): int(v) for k, v in self.about["inputs"].items()}
            self._state = {name: (str(dtype), list(shape)) for name, (dtype, shape) in self.about["state"].items()}
            self._slots = {name: list(slots) for name, slots in self.about.get("slots", {}).items()}
            self.ticks, self.period = int(self.about.get("ticks", 1)), int(self.about.get("period", 1))
            self.dt_s = float(self.about["dt_s"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise BadInput(f"{path}: what it says of itself is damaged: {one_line(error)}") from error
        self._types = {value.name: value.type[len("tensor(") : -1] for value in self._session.get_inputs()}
        self._check_ends()
        self._outputs = [output.name for output in self._session.get_outputs()]

    def _check_ends(self) -> None:
        """Refuse a file that says of itself what its graph is not.

        Raises:
            BadInput: the inputs and outputs of the graph, or the ticks of a word, are not those that the file names.
        """
        continued = self.form != "scan"
        inputs = {*self.inputs, *(f"past.{name}" for name in self._state if continued)}
        outputs = {f"present.{name}" for name in self._state if continued} | {f"spikes.{name}" for name in self._slots}
        has = {value.name for value in self._session.get_outputs()}
        if inputs != set(self._types) or not outputs <= has:
            wrong = sorted((inputs ^ set(self._types)) | (outputs - has))
            raise BadInput(f"{self.path}: what it says of itself is damaged: {wrong[0]!r:.60} is not in its graph")
        fired = {name.removeprefix("spikes.") for name in has if name.startswith("spikes.")}
        if self.form != "chip" and fired != set(self._slots):
            raise BadInput(f"{self.path}: what it says of itself is damaged: it has slots of other populations")
        for value in self._session.get_inputs():
            if value.name in self.inputs:
                right = value.shape[-1] == self.inputs[value.name]
            else:
                dtype, axes = self._state[value.name.removeprefix("past.")]
                told = {"float64": "double", "float32": "float"}.get(dtype, dtype)
                right = told == self._types[value.name] and len(axes) == len(value.shape)
                right = right and all(
                    n == m if isinstance(n, int) else n in _FREE and not isinstance(m, int)
                    for n, m in zip(axes, value.shape, strict=True)
                )
            if not right:
                raise BadInput(
                    f"{self.path}: what it says of itself is damaged: in its graph, {value.name!r:.60} is {value.type} "
                    f"{value.shape}"
                )
        if not 1 <= self.ticks <= self.period <= MOST_TICKS or not 0 < self.dt_s < float("inf"):
            raise BadInput(
                f"{self.path}: what it says of itself is damaged: {self.ticks} of {self.period} ticks of {self.dt_s} s"
            )
        if any(not 0 <= tick < self.period for slots in self._slots.values() for tick in slots):
            raise BadInput(f"{self.path}: what it says of itself is damaged: a slot beyond the period")

    @property
    def size(self) -> int:
        """The axons of all inputs."""
        return sum(self.inputs.values())

    def rest(self, batch: int) -> dict[str, Array]:
        """The state of a network at rest, by the names of the file's inputs: zeros."""
        return _rest(self._state, batch)

    def call(self, spikes: Spikes, state: Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run the file once on input spikes `[..., size]`, all inputs side by side.

        Returns:
            The outputs by name, and the state after them, to be given to the next call.
        """
        given: dict[str, Array] = dict(state)
        first = 0
        for name, size in self.inputs.items():
            part = spikes[..., first : first + size]
            given[name] = part.astype(self._types[name]) if part.dtype != self._types[name] else part
            first += size
        try:
            values = dict(zip(self._outputs, self._session.run(None, given), strict=True))
        except Exception as error:  # ONNX Runtime raises classes of its own that are not public
            raise Failed(f"{self.path}: ONNX Runtime stopped: {one_line(error)}") from error
        after = {f"past.{name}": values.pop(f"present.{name}") for name in self._state} if state else {}
        return values, after

    def run(self, inputs: Spikes) -> Recording:
        """Run the file from rest on input spikes `[ticks, batch, size]`.

        A step or a Scan reads the spikes at the first tick of each period, because it shows them in all of `ticks`.

        Raises:
            BadInput: the inputs have another size.
        """
        if inputs.ndim != 3 or inputs.shape[2] != self.size:
            raise BadInput(f"{self.path}: inputs have shape {list(inputs.shape)}; expected [ticks, batch, {self.size}]")
        if self.form == "chip":
            return self._run_chip(inputs)
        shown = self._shown(inputs)
        if self.form == "scan":
            outputs, _ = self.call(shown, {})
        else:
            outputs = _stacked(self._steps(shown))
        return self._recorded(outputs, len(inputs))

    def as_shown(self, inputs: Spikes) -> Spikes:
        """`inputs` with the spikes of the first tick of each period in all of its first `ticks`, and in no other."""
        if self.form == "chip":
            return inputs
        shown = inputs[:: self.period]
        again = np.zeros((len(shown), self.period, *shown.shape[1:]), inputs.dtype)
        again[:, : self.ticks] = shown[:, None]
        return again.reshape(len(shown) * self.period, *shown.shape[1:])[: len(inputs)]

    def _shown(self, inputs: Spikes) -> Spikes:
        """The spikes of each period, which a step shows in all of the first ticks of the period."""
        shown = inputs[:: self.period]
        if not np.array_equal(self.as_shown(inputs), inputs):
            raise BadInput(
                f"{self.path}: shows the spikes of a word in the first {self.ticks} of every {self.period} ticks; the "
                "input has others"
            )
        return shown

    def _steps(self, shown: Spikes) -> Iterator[dict[str, Array]]:
        state = self.rest(shown.shape[1])
        for spikes in shown:
            outputs, state = self.call(spikes, state)
            yield outputs

    def _recorded(self, outputs: Mapping[str, Array], ticks: int) -> Recording:
        spikes, answers = {}, {}
        for name, array in outputs.items():
            if name.startswith("spikes."):
                population = name.removeprefix("spikes.")
                steps, _, batch, size = array.shape
                whole = np.zeros((steps, self.period, batch, size), np.uint8)
                whole[:, self._slots[population]] = array
                spikes[population] = whole.reshape(steps * self.period, batch, size)[:ticks]
            else:
                answers[name.removeprefix("membrane.")] = array
        return Recording(spikes, answers)

    def _run_chip(self, inputs: Spikes) -> Recording:
        """Tick by tick, because the state after each call is every u and v."""
        state = self.rest(inputs.shape[1])
        rows: list[dict[str, Array]] = []
        for spikes in inputs:
            outputs, state = self.call(spikes[None], state)
            rows.append({**outputs, **{name: value[None] for name, value in state.items()}})

        def found(start: str, end: str = "") -> dict[str, Array]:
            names = [name for name in rows[0] if name.startswith(start) and name.endswith(end)]
            return {
                name.removeprefix(start).removesuffix(end): np.concatenate([row[name] for row in rows])
                for name in names
            }

        return Recording(found("spikes."), {}, found("past.", ".v"), found("past.", ".u"))


class OnnxRunner:
    """An exported file as a runner for `generation`: a word goes in, a period runs, logits come out.

    Attributes:
        noise: what the host draws for each word.
        labels: the labels that the network hears.

    Raises:
        BadInput: the network does not read words, or the file is a Scan, which cannot stop between words.
    """

    def __init__(self, file: OnnxFile) -> None:
        if file.presentation is None:
            raise BadInput(f"{file.path}: its network does not read words, so it composes nothing")
        if file.form == "scan":
            raise BadInput(
                f"{file.path}: is a Scan, which runs whole pieces; composing goes word by word: export with --form step"
            )
        self.file, self.presentation = file, file.presentation
        self.noise, self.labels = self.presentation.noise, self.presentation.labels
        if file.form == "chip":
            if "readout" not in file.about:
                raise BadInput(f"{file.path}: has several readouts, or none; a network that composes has one")
            about = file.about["readout"]
            self._readout, self._scale = f"membrane.{about['name']}", np.asarray(about["scale"], np.float64)
            self._answer = self.presentation.answer_tick(str(about["name"]), int(about["level"]))
        self.reset(1)

    def reset(self, batch: int) -> None:
        """Bring the network to rest, for `batch` pieces side by side."""
        self._state, self._heard = self.file.rest(batch), sounding.silence(batch)

    def step(self, words: Words) -> Logits:
        """The logits `[batch, N_AXONS]` of the word that follows `words` `[batch, 7 + labels + draws]`."""
        spikes = self.presentation.spikes(words[None], self._heard)
        if self.file.form == "chip":
            outputs, self._state = self.file.call(spikes, self._state)
            logits = outputs[self._readout][self._answer] / self._scale + self.presentation.bias
        else:
            outputs, self._state = self.file.call(spikes[0], self._state)
            logits = outputs[LOGITS]
        return np.asarray(logits, np.float32)


def evaluated(model: Any, inputs: Spikes) -> Recording:
    """Run the ONNX model of a network without spikes, whose period is one tick, in onnx's own reference evaluator."""
    from onnx.reference import ReferenceEvaluator

    evaluator, about = ReferenceEvaluator(model), _about(Path("model"), model)
    names, (name,) = [output.name for output in model.graph.output], about["inputs"]

    def run(given: Mapping[str, Array]) -> dict[str, Array]:
        values: Any = evaluator.run(None, dict(given))
        return dict(zip(names, values, strict=True))

    if about["form"] == "scan":
        return Recording({}, run({name: inputs}))
    state, answers = _rest(about["state"], inputs.shape[1]), []
    for spikes in inputs:
        values = run({name: spikes, **state})
        state = {past: values[past.replace("past.", "present.", 1)] for past in state}
        answers.append(values[LOGITS])
    return Recording({}, {LOGITS: np.stack(answers)})


def _rest(state: Mapping[str, tuple[str, list[int | str]]], batch: int) -> dict[str, Array]:
    lengths = {"batch": batch, "past": 0}
    return {
        f"past.{name}": np.zeros([n if isinstance(n, int) else lengths[n] for n in shape], dtype)
        for name, (dtype, shape) in state.items()
    }


def _stacked(rows: Iterator[dict[str, Array]]) -> dict[str, Array]:
    found = list(rows)
    return {name: np.stack([row[name] for row in found]) for name in found[0]}


def _about(path: Path, model: Any) -> dict[str, Any]:
    told = {entry.key: entry.value for entry in model.metadata_props}
    if KEY not in told:
        raise BadInput(f"{path}: is an ONNX file, but not one that `muspike export --to onnx` wrote")
    try:
        about = json.loads(told[KEY])
        form, version = about["form"], about["version"]
        if about["format"] != FORMAT or form not in _FORMS:
            raise ValueError(f"format {about['format']!r:.40}, form {form!r:.40}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: what it says of itself is damaged: {one_line(error)}") from error
    if version != VERSION:
        raise BadInput(f"{path}: is of version {version!r:.20}; this muspike reads version {VERSION}: export it anew")
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx") or opset.version > OPSET:
            raise BadInput(
                f"{path}: uses operators {opset.domain or 'ai.onnx'!r} {opset.version}; this muspike writes and reads "
                f"ai.onnx up to {OPSET}"
            )
    return about  # type: ignore[no-any-return]


def _refuse_elsewhere(path: Path, model: Any) -> None:
    """Refuse tensors whose numbers lie in other files: muspike writes none, and a path could lead anywhere."""
    for graph in _graphs(model.graph):
        attributes = [attribute for node in graph.node for attribute in node.attribute]
        held = [tensor for attribute in attributes for tensor in (attribute.t, *attribute.tensors)]
        for one in (*graph.initializer, *held):
            if one.data_location == onnx.TensorProto.EXTERNAL or one.external_data:
                raise BadInput(
                    f"{path}: tensor {one.name!r:.60} lies in another file; muspike writes files that are whole"
                )


def _refuse_strangers(path: Path, model: Any) -> None:
    """Refuse operators that no export writes, such as loops without an end, and numbers that are not finite."""
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.op_type not in OPERATORS or node.domain not in ("", "ai.onnx"):
                raise BadInput(f"{path}: has the operator {node.op_type!r:.40}, which no export of muspike writes")
        for one in graph.initializer:
            if one.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
                try:
                    array = onnx.numpy_helper.to_array(one)
                except ValueError as error:
                    raise BadInput(f"{path}: tensor {one.name!r:.60} is damaged: {one_line(error)}") from error
                if np.isnan(array).any():
                    raise BadInput(f"{path}: tensor {one.name!r:.60} holds a number that is not finite")


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from _graphs(inner) if inner.node else ()
