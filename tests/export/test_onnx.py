"""ONNX files: every network in every form equals torch, the interpreter or the simulator, in two runtimes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

from chip_programs import population, program
from every_network import NETWORKS, made
from muspike import architectures
from muspike.checkpoint import Model, load_model, save_model
from muspike.errors import BadInput, Failed
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.subject import Subject
from muspike.export.targets import export
from muspike.generation import generate
from muspike.hardware.graph import always_firing
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.program import ChipSynapses
from muspike.hardware.reader.from_nir import from_nir
from random_nir import primitives, random_graph
from small_model import small_model
from small_nir import chain, graph, li, lif
from tried_target import equal, tried

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from muspike.export import onnx_int8  # noqa: E402
from muspike.export.onnx_graph import float_products, int8_columns  # noqa: E402
from muspike.export.onnx_runner import OnnxFile, OnnxRunner  # noqa: E402

FORMS = ("step", "scan", "chip")
CHIP = "loihi2"


def of(form: str) -> dict[str, Any]:
    """The options of a form."""
    return {"form": form, "chip": CHIP} if form == "chip" else {"form": form}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_proved_in_every_form(name: str, form: str, tmp_path: Path) -> None:
    model = made(name)
    proof = export(model, "onnx", tmp_path / "model.onnx", 8, **of(form))
    assert proof.holds, proof.table()
    if form != "chip":
        layers = [p.name for p in model.spiking.populations.values() if p.kind == "lif"]
        assert [row.population for row in proof.rows] == layers and proof.worst_answer is not None


@pytest.mark.parametrize("form", FORMS)
def test_any_graph_that_a_tool_may_write_runs_equally(form: str, tmp_path: Path) -> None:
    seen, spikes = set[str](), 0
    for seed in range(25):
        subject = Subject.of(random_graph(seed))
        try:
            proof = tried("onnx", subject, tmp_path / "graph.onnx", **of(form))
        except BadInput as error:
            assert "has no" in str(error) or form == "chip", error
            continue
        assert equal(proof), f"seed {seed}\n{proof.table()}"
        seen |= primitives(subject.nir_graph())
        spikes += sum(row.spikes for row in proof.rows)
    assert spikes > 1000 and {"LIF", "CubaLIF", "Conv2d", "Linear", "Delay"} <= seen, seen


def reference_outputs(path: Path, given: dict[str, Any]) -> list[Any]:
    """What onnx's own evaluator computes."""
    from onnx.reference import ReferenceEvaluator

    return list(ReferenceEvaluator(str(path)).run(None, given))


@pytest.mark.parametrize("form", FORMS)
def test_the_reference_evaluator_of_onnx_agrees_with_onnx_runtime(form: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert export(made("s-rnn"), "onnx", path, 4, **of(form)).holds
    file = OnnxFile(path)
    spikes = (np.random.default_rng(0).random((2 * file.period, 3, file.size)) < 0.1).astype(np.uint8)
    state = {} if form == "scan" else file.rest(3)
    given = spikes[0] if form == "step" else spikes
    outputs, after = file.call(given, state)
    names = [output.name for output in onnx.load(path).graph.output]
    theirs = dict(zip(names, reference_outputs(path, {**state, next(iter(file.inputs)): given}), strict=True))
    assert {name.replace("past", "present") for name in after} | outputs.keys() == set(names)
    for name in names:
        ours = outputs[name] if name in outputs else after[name.replace("present", "past")]
        if ours.dtype.kind == "f":
            np.testing.assert_allclose(theirs[name], ours, rtol=0, atol=1e-12)
        else:
            assert np.array_equal(theirs[name], ours) and theirs[name].dtype == ours.dtype, name


def test_the_file_says_its_state_as_the_field_does(tmp_path: Path) -> None:
    export(made("s-cnn"), "onnx", tmp_path / "m.onnx", 4)
    model = onnx.load(tmp_path / "m.onnx")
    inputs = {value.name: value for value in model.graph.input}
    outputs = {value.name for value in model.graph.output}
    past = {name for name in inputs if name.startswith("past.")}
    assert inputs.keys() - past == {"input"} and "past.layer1.v" in past and "past.layer1.spikes" in past
    assert {name.replace("past", "present") for name in past} < outputs and "logits" in outputs
    axes = [axis.dim_param for axis in inputs["past.layer1.v"].type.tensor_type.shape.dim]
    assert axes[0] == "batch"
    assert not any(node.op_type in ("Loop", "Scan", "If") for node in model.graph.node)
    assert {entry.domain for entry in model.opset_import} == {""}


def test_the_same_seed_composes_the_same_pieces_as_torch_and_as_the_simulator(tmp_path: Path) -> None:
    model = load_model("s-rnn")
    for form, runner in (
        ("step", model.network.runner()),
        ("chip", ChipRunner(compile_model(model, CHIP).program)),
    ):
        path = tmp_path / f"{form}.onnx"
        export(model, "onnx", path, 4, **of(form))
        ours = generate(OnnxRunner(OnnxFile(path)), pieces=3, length=64, seed=5, batch=2)
        theirs = generate(runner, pieces=3, length=64, seed=5, batch=2)
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_float32_is_proved_too_and_half_as_wide(tmp_path: Path) -> None:
    proof = export(made("s-rnn"), "onnx", tmp_path / "m.onnx", 4, precision="float32")
    assert proof.holds and proof.tolerance == 1e-5
    assert onnx.load(tmp_path / "m.onnx").graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert OnnxFile(tmp_path / "m.onnx").rest(1)["past.layer1.v"].dtype == np.float32


@pytest.mark.parametrize("name", ["s-rnn", "s-cnn", "by hand", "s-transformer, windowed"])
def test_int8_is_the_network_with_rounded_weights_and_has_a_receipt(name: str, tmp_path: Path) -> None:
    model = made(name)
    for form in ("step", "scan"):
        path = tmp_path / f"{form}.onnx"
        proof = export(model, "onnx", path, 8, form=form, precision="int8")
        assert proof.holds and proof.reference.endswith("with the same int8 weights"), proof.table()
        assert float_products(onnx.load(path).graph) == []
        told = proof.receipt
        assert told["bytes"] == path.stat().st_size and 2 * told["bytes"] < told["bytes_float32"] + 50_000
        assert 0 < told["spikes_moved"] < 1 and told["data"].endswith("because its corpus is not at hand")
        assert 0 < abs(told["bits_per_note"] - told["bits_per_note_float"]) < 0.2 * told["bits_per_note_float"]
        assert "spikes moved: 0." in proof.table() and proof.to_dict()["receipt"] == told


def test_int8_keeps_what_is_a_small_multiple_of_one_number() -> None:
    wires = np.array([[0.0, 3.0, 0.25], [-1.0, 0.0, -0.75], [1.0, 1.5, 0.0]])
    numbers, scale = int8_columns(wires)
    assert np.array_equal(numbers * scale, wires) and numbers.dtype == np.int8
    drawn = np.random.default_rng(0).standard_normal((50, 7))
    numbers, scale = int8_columns(drawn)
    assert (np.abs(numbers).max(axis=0) == 127).all() and np.abs(numbers * scale - drawn).max() <= scale.max() / 2
    assert not int8_columns(np.zeros((3, 2)))[0].any()


def test_sums_of_int8_weights_do_not_depend_on_their_order() -> None:
    """A neuron just at its threshold would else spike in one order alone; half precision, as models ship, meets it."""
    random = np.random.default_rng(0)
    for _ in range(20):
        matrix = random.standard_normal((40, 30)).astype(np.float16).astype(np.float64)
        numbers, scale = int8_columns(matrix)
        spikes = random.random((50, 40)) < 0.3
        by_the_file = (spikes.astype(np.int64) @ numbers.astype(np.int64)) * scale
        weights, order = numbers * scale, random.permutation(40)
        for turn in (order, order[::-1]):
            assert np.array_equal(np.add.accumulate(spikes[:, turn, None] * weights[turn], axis=1)[:, -1], by_the_file)


TWINS = ("ann-rnn", "ann-lstm", "ann-cnn", "ann-transformer", "ann-gan")


def twin(name: str, **settings: Any) -> Model:
    torch.manual_seed(2)
    settings = {**architectures.preset(name, "tiny")["network"], "hears": ["now", "parallel"], **settings}
    return Model(name, settings, architectures.build(name, settings).eval(), {})


@pytest.mark.parametrize("form", ["step", "scan"])
@pytest.mark.parametrize("name", TWINS)
def test_twins_are_exported_too(name: str, form: str, tmp_path: Path) -> None:
    model = twin(name)
    proof = export(model, "onnx", tmp_path / "m.onnx", 40, form=form)
    assert proof.holds and not proof.rows and proof.worst_answer is not None and proof.worst_answer < 1e-5
    if name in ("ann-rnn", "ann-lstm", "ann-gan"):
        proof = export(model, "onnx", tmp_path / "d.onnx", 40, form=form, precision="float64")
        assert proof.holds and proof.worst_answer is not None and proof.worst_answer < 1e-12
    proof = export(model, "onnx", tmp_path / "q.onnx", 24, form=form, precision="int8")
    assert proof.holds and proof.reference == "onnx's reference evaluator"
    assert float_products(onnx.load(tmp_path / "q.onnx").graph) == []
    assert proof.receipt["bytes"] < proof.receipt["bytes_float32"] and "spikes_moved" not in proof.receipt


def test_a_twin_that_attends_forgets_what_lies_beyond_its_window(tmp_path: Path) -> None:
    for window in (1, 5):
        proof = export(twin("ann-transformer", window=window), "onnx", tmp_path / "m.onnx", 20)
        assert proof.holds
        file = OnnxFile(tmp_path / "m.onnx")
        state = file.rest(2)
        for _ in range(9):
            _, state = file.call(np.zeros((2, file.size), np.uint8), state)
        assert state["past.layer1.k"].shape[2] == window - 1


def test_a_twin_composes_the_same_pieces_in_onnx_runtime(tmp_path: Path) -> None:
    model = twin("ann-transformer")
    export(model, "onnx", tmp_path / "m.onnx", 20)
    ours, theirs = (
        generate(runner, pieces=2, length=24, seed=1)
        for runner in (OnnxRunner(OnnxFile(tmp_path / "m.onnx")), model.network.runner())
    )
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_a_product_in_float_is_refused_in_int8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_int8, "quantised_twin", lambda model, about: model)
    with pytest.raises(Failed, match=r"m\.onnx: \d+ products of matrices stayed in float, the first is 'embedded'"):
        export(twin("ann-lstm"), "onnx", tmp_path / "m.onnx", precision="int8")
    assert not list(tmp_path.iterdir())


def test_a_chip_program_from_a_file_is_exported_as_it_is(tmp_path: Path) -> None:
    compile_graph(random_graph(3), CHIP, must_fit=False).program.save(tmp_path / "p.npz")
    proof = export(tmp_path / "p.npz", "onnx", tmp_path / "p.onnx", form="chip")
    assert proof.holds, proof.table()
    with pytest.raises(BadInput, match=r"p\.npz: holds the integers of loihi2"):
        export(tmp_path / "p.npz", "onnx", tmp_path / "q.onnx")
    assert {p.name for p in tmp_path.iterdir()} == {"p.npz", "p.onnx", "p.onnx.expected.npz"}


def test_graded_inputs_keep_their_values(tmp_path: Path) -> None:
    inputs, n = population("in", 3, "input", graded_bits=8), population("n", 4, v_threshold=20, dv=3000)
    weight = np.random.default_rng(0).integers(-5, 9, (4, 3)) * 2
    proof = export(
        program([inputs, n], [ChipSynapses("w", "in", "n", weight, 0, 2)]), "onnx", tmp_path / "p.onnx", form="chip"
    )
    assert proof.holds, proof.table()
    assert OnnxFile(tmp_path / "p.onnx").rest(1)["past.in.spikes"].dtype == np.uint16


NO_TORCH = """
import sys
sys.modules["torch"] = sys.modules["norse"] = None
from muspike.__main__ import main
main()
"""


def without_torch(*arguments: str, cwd: Path) -> str:
    """Run a command in a process that cannot import torch."""
    done = subprocess.run(
        [sys.executable, "-c", NO_TORCH, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_composes_and_runs_where_there_is_no_torch(tmp_path: Path) -> None:
    model = small_model("jsb")
    save_model(model, tmp_path / "model")
    export(model, "onnx", tmp_path / "m.onnx", 4)
    export(model, "onnx", tmp_path / "c.onnx", 4, form="chip", chip=CHIP)
    for name in ("m.onnx", "c.onnx"):
        without_torch("generate", name, "-n", "2", "--length", "16", "-o", f"pieces of {name}", cwd=tmp_path)
        assert len(list((tmp_path / f"pieces of {name}").glob("*.mid"))) == 2
    told = json.loads(without_torch("simulate", "c.onnx", "--random", "0.1", "-o", "out.npz", "--json", cwd=tmp_path))
    assert told["form"] == "chip" and all(row["spikes"] >= 0 for row in told["populations"])
    assert (tmp_path / "out.npz").exists()
    told = json.loads(without_torch("simulate", "m.onnx", "--random", "0.1", "--json", cwd=tmp_path))
    assert sum(row["spikes"] for row in told["populations"]) > 0


@pytest.mark.parametrize(
    ("missing", "command"),
    [("onnx", ["export", "model", "--to", "onnx"]), ("onnxruntime", ["simulate", "m.onnx", "--random", "0.1"])],
)
def test_a_missing_package_is_named_with_its_extra(missing: str, command: list[str], tmp_path: Path) -> None:
    save_model(small_model("jsb"), tmp_path / "model")
    code = f"import sys\nsys.modules[{missing!r}] = None\nfrom muspike.cli import main\nsys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and "ONNX needs the package" in line and "pip install 'muspike[onnx]'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["s-cnn", "s-rnn", "s-gan", "s-lstm", "s-transformer"])
def test_whole_pieces_of_the_models_that_ship_are_equal(name: str, tmp_path: Path) -> None:
    for form in ("scan", "step"):
        proof = export(name, "onnx", tmp_path / "m.onnx", 512, form=form)
        assert proof.holds and proof.worst_answer is not None and proof.worst_answer < 1e-9, proof.table()
    ours = generate(OnnxRunner(OnnxFile(tmp_path / "m.onnx")), 2, 512, seed=3)
    theirs = generate(load_model(name).network.runner(), 2, 512, seed=3)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def foreign(model: Any) -> None:
    del model.metadata_props[:]


def later_opset(model: Any) -> None:
    model.opset_import[0].version = 99


def another_version(model: Any) -> None:
    told = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**told, "version": 7})


def elsewhere(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")


def elsewhere_in_a_body(model: Any) -> None:
    (scan,) = [node for node in model.graph.node if node.op_type == "Scan"]
    body = next(attribute.g for attribute in scan.attribute if attribute.name == "body")
    tensor = body.initializer.add(name="x", data_type=1, dims=[1])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../x")


def elsewhere_in_an_attribute(model: Any) -> None:
    node = model.graph.node.add(op_type="Constant", output=["more"])
    attribute = node.attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
    attribute.t.data_type, attribute.t.data_location = 1, onnx.TensorProto.EXTERNAL
    attribute.t.external_data.add(key="location", value="../x")


def told(model: Any, **changes: Any) -> None:
    about = json.loads(model.metadata_props[0].value)
    model.metadata_props[0].value = json.dumps({**about, **changes})


def no_slots(model: Any) -> None:
    told(model, slots={})


def other_size(model: Any) -> None:
    told(model, inputs={"input": 10**12})


def endless(model: Any) -> None:
    told(model, period=10**11)


def loop(model: Any) -> None:
    model.graph.node.add(op_type="Loop", output=["round"])


def not_a_number(model: Any) -> None:
    tensor = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT)
    tensor.raw_data = np.full(len(tensor.raw_data) // 4, np.nan, np.float32).tobytes()


def broken(model: Any) -> None:
    model.graph.node[0].input[0] = "nothing"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (foreign, "is an ONNX file, but not one that `muspike export --to onnx` wrote"),
        (later_opset, r"uses operators 'ai\.onnx' 99; this muspike writes and reads ai\.onnx up to 18"),
        (another_version, "is of version 7; this muspike reads version 1"),
        (elsewhere, "lies in another file"),
        (elsewhere_in_a_body, "lies in another file"),
        (elsewhere_in_an_attribute, "lies in another file"),
        (no_slots, "damaged: it has slots of other populations"),
        (other_size, "damaged: in its graph, 'input' is tensor"),
        (endless, "damaged: 2 of 100000000000 ticks of 0.001 s"),
        (loop, "has the operator 'Loop', which no export of muspike writes"),
        (not_a_number, "holds a number that is not finite"),
        (broken, "ONNX Runtime cannot run it"),
    ],
)
def test_files_that_are_not_ours_are_refused(damage: Callable[[Any], None], message: str, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    export(small_model("jsb"), "onnx", path, 4, form="scan")
    model = onnx.load(path)
    damage(model)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadInput, match=message) as error:
        OnnxFile(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_other_files_are_refused(tmp_path: Path) -> None:
    for content in (b"", b"\x08", b"PK\x03\x04", b"\xff" * 100):
        (tmp_path / "m.onnx").write_bytes(content)
        with pytest.raises(BadInput, match=r"m\.onnx: "):
            OnnxFile(tmp_path / "m.onnx")
    with pytest.raises(BadInput, match="cannot be read"):
        OnnxFile(tmp_path / "none.onnx")


def test_a_scan_does_not_compose_word_by_word(tmp_path: Path) -> None:
    export(small_model("jsb"), "onnx", tmp_path / "m.onnx", 4, form="scan")
    with pytest.raises(BadInput, match="composing goes word by word: export with --form step"):
        OnnxRunner(OnnxFile(tmp_path / "m.onnx"))


def test_a_network_without_words_composes_nothing_and_runs_tick_by_tick(tmp_path: Path) -> None:
    nodes = {"input": 4, "w": nir.Linear(np.full((3, 4), 0.4)), "a": lif(3), "r": nir.Linear(np.eye(2, 3)), "b": li(2)}
    network = graph({**nodes, "output": 2}, chain("input", "w", "a", "r", "b", "output"))
    proof = export(network, "onnx", tmp_path / "m.onnx")
    assert proof.holds and proof.worst_answer is not None
    with pytest.raises(BadInput, match="does not read words"):
        OnnxRunner(OnnxFile(tmp_path / "m.onnx"))
    with pytest.raises(BadInput, match=r"inputs have shape \[3, 1, 5\]; expected \[ticks, batch, 4\]"):
        OnnxFile(tmp_path / "m.onnx").run(np.zeros((3, 1, 5), np.uint8))


def test_input_that_is_no_word_is_refused(tmp_path: Path) -> None:
    export(small_model("jsb"), "onnx", tmp_path / "m.onnx", 4)
    file = OnnxFile(tmp_path / "m.onnx")
    spikes = np.zeros((file.period, 1, file.size), np.uint8)
    spikes[1] = 1
    with pytest.raises(BadInput, match="shows the spikes of a word in the first 2 of every"):
        file.run(spikes)


def test_a_program_without_neurons_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no population of neurons"):
        export(program([population("a", 2, "input")], []), "onnx", tmp_path / "m.onnx", form="chip")


@pytest.mark.parametrize("form", FORMS)
def test_a_network_without_input_runs_on_its_biases(form: str, tmp_path: Path) -> None:
    if form == "chip":
        alone: Any = program([population("a", 2, bias_mant=4000, dv=100)], [])
    else:
        alone = replace(from_nir(random_graph(0)), populations=[always_firing("a", 3)], synapses=[], outputs=["a"])
    proof = export(alone, "onnx", tmp_path / "m.onnx", form=form)
    assert proof.holds, proof.table()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("layer", "readout", "given"),
    [
        ("a.b", "0", "logits"),
        ("spikes.x", "x", "x.v"),
        ("past", "present", "in put"),
        ("step", "scan", "batch"),
        ("tick", "ünï", "step.tick"),
        ("a", "b", "spikes.a"),
        ("a", "b", "past.a.v"),
        ("a", "b", "step.past.a.v"),
        ("a", "b", "present.a.v"),
    ],
)
def test_populations_may_have_any_name(layer: str, readout: str, given: str, form: str, tmp_path: Path) -> None:
    weights = nir.Linear(np.full((3, 4), 0.4)), nir.Linear(np.eye(2, 3))
    ports = nir.Input(np.array([4])), nir.Output(np.array([2]))
    nodes = {given: ports[0], "w": weights[0], layer: lif(3), "r": weights[1], readout: li(2), "out": ports[1]}
    network = graph(nodes, chain(given, "w", layer, "r", readout, "out"))
    try:
        assert export(network, "onnx", tmp_path / "m.onnx", **of(form)).holds
    except BadInput as error:
        assert re.match(
            r"'[\w.]+': two tensors of the ONNX graph would have this name; rename the population", str(error)
        )
        assert re.match("(step.)?(past|present|spikes).", given) and not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["form", "precision"])
def test_an_unknown_choice_is_refused(option: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"{option} 'odd' is not known; known are "):
        export(small_model("jsb"), "onnx", tmp_path / "m.onnx", 4, **{option: "odd"})
    assert not list(tmp_path.iterdir())
