"""Files for snnTorch: every network equals torch or the interpreter, in a Python that cannot import muspike."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from safetensors.numpy import save_file

from every_network import NETWORKS, made
from muspike.cli import main
from muspike.errors import BadInput, Failed
from muspike.export import to_snntorch
from muspike.export.readers.run import known_reader
from muspike.export.subject import Subject
from muspike.export.targets import export, verify
from muspike.export.to_snntorch import attribute_names, python_file
from muspike.hardware.graph import Population, SpikingGraph, Synapses
from muspike.hardware.weights import Sparse
from random_nir import primitives, random_graph
from tried_target import equal, tried

HERE = importlib.util.find_spec("snntorch") is not None or known_reader("snntorch").environment.exists()
needs_snntorch = pytest.mark.skipif(not HERE, reason="needs the extra snntorch")


HARMFUL = 'x"""\nraise SystemExit(9)\n"""'
FEW = ("s-rnn", "s-gan, hearing and labels", "by hand", "s-transformer, windowed", "0", "class", "größe", HARMFUL)
"""Every proof starts a Python with torch and snnTorch, so the other networks and names are for the night."""


def each(names: Iterable[str]) -> pytest.MarkDecorator:
    """A parameter `name`."""
    marks: dict[bool, Any] = {True: (), False: pytest.mark.nightly}
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks[name in FEW]) for name in names])


@needs_snntorch
@each(NETWORKS)
def test_every_network_is_proved(name: str, tmp_path: Path) -> None:
    model = made(name)
    proof = export(model, "snntorch", tmp_path / "model.py", 8)
    assert proof.holds, proof.table()
    assert {row.population for row in proof.rows} == {
        p.name for p in model.spiking.populations.values() if p.kind == "lif"
    }
    assert proof.worst_answer is not None
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "model.py",
        "model.py.expected.npz",
        "model.safetensors",
    ]


@needs_snntorch
@pytest.mark.nightly
def test_any_graph_that_a_tool_may_write_runs_equally(tmp_path: Path) -> None:
    seen, spikes = set[str](), 0
    for seed in range(12):
        subject = Subject.of(random_graph(seed))
        proof = tried("snntorch", subject, tmp_path / "graph.py")
        assert equal(proof), f"seed {seed}\n{proof.table()}"
        seen |= primitives(subject.nir_graph())
        spikes += sum(row.spikes for row in proof.rows)
    assert spikes > 500 and {"LIF", "CubaLIF", "Linear", "Delay"} <= seen, seen


def odd(name: str, other: str, threshold: float = 0.5, bias: float = 0.0) -> SpikingGraph:
    """An input and two populations with these names, one with a synaptic filter and parameters for each neuron."""
    one, two = np.ones(3), np.array([2.0, 3.0, np.inf])
    return SpikingGraph(
        [
            Population("in", "input", 3, one, one, one * np.inf, one * 0),
            Population(name, "lif", 3, two, one, one * threshold, one * bias),
            Population(other, "lif", 3, one * 3, two[:1].repeat(3) + np.arange(3), one * 0.1, one * bias),
        ],
        [
            Synapses(f"in->{name}", "in", name, Sparse.of(np.diag([1.0, 2.0, 0.7])), 0),
            Synapses(f"{name}->{other}", name, other, np.full((3, 3), 0.9), 2),
        ],
        1e-3,
    )


NAMES = [
    "0",
    "a-b",
    "class",
    "layer.1",
    "größe",
    HARMFUL,
    "a'b\\",
    "forward",
    "state",
    "spikes",
    "load",
    "self",
    "a/b",
    "file",
]


@needs_snntorch
@each(NAMES)
def test_a_name_is_data_and_never_code(name: str, tmp_path: Path) -> None:
    source, _ = python_file(odd(name, f"{name}_current"), None, name)
    calls = {ast.unparse(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Raise)}
    assert len(calls) == 1 and "lacks" in calls.pop()
    assert source.isascii()
    recording = file_of(odd(name, f"{name}_current"), name, tmp_path)
    assert set(recording.spikes) == {name, f"{name}_current"}
    assert all(array.any() for array in recording.spikes.values())


def file_of(network: SpikingGraph, name: str, folder: Path) -> Any:
    """The recording of a graph's file on random spikes, held against the interpreter."""
    from muspike.export.float_run import interpreted

    path = folder / "net.py"
    source, tensors = python_file(network, None, name)
    path.write_text(source)
    save_file(tensors, path.with_suffix(".safetensors"))
    spikes = (np.random.default_rng(0).random((40, 2, 3)) < 0.4).astype(np.uint8)
    found, wanted = to_snntorch.run(path, spikes, {"python": None}), interpreted(network, spikes)
    assert found.spikes.keys() == wanted.spikes.keys()
    for key, fired in wanted.spikes.items():
        assert np.array_equal(found.spikes[key], fired), key
    return found


@needs_snntorch
@pytest.mark.parametrize(("threshold", "bias"), [(-0.2, 0.0), (-0.2, -0.7), (0.0, 0.0), (0.5, 0.3), (np.inf, 0.3)])
def test_thresholds_of_any_sign_and_biases_are_exact(threshold: float, bias: float, tmp_path: Path) -> None:
    file_of(odd("a", "b", threshold, bias), "net", tmp_path)


def test_names_become_attributes_of_a_module() -> None:
    assert attribute_names(["layer1", "0", "class", "a-b", "a.b", "train"]) == [
        "layer1",
        "n0",
        "class_",
        "a_b",
        "a_b_",
        "train_",
    ]


def test_a_matrix_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(to_snntorch, "MOST_ENTRIES", 8)
    with pytest.raises(BadInput, match=r"synapses 'a->b': 3 x 3 entries; .* at most 8"):
        python_file(odd("a", "b"), None, "net")


@needs_snntorch
def test_an_edited_file_is_refused_before_it_is_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "m.py", tmp_path / "ran"
    assert export(made("s-rnn"), "snntorch", path, 4).holds
    assert verify(path).holds
    path.write_text(path.read_text() + f"\nPath({str(mark)!r}).touch()\n")
    with pytest.raises(BadInput, match="was changed after its proof"):
        verify(path)
    assert not mark.exists()


@needs_snntorch
def test_another_equation_fails_the_proof(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = python_file
    edits = [('mechanism="zero"', 'mechanism="subtract"'), ("0.5 * current", "0.25 * current")]
    for old, new in edits:

        def wrong(*given: Any, old: str = old, new: str = new) -> Any:
            source, tensors = right(*given)
            assert old in source
            return source.replace(old, new), tensors

        monkeypatch.setattr(to_snntorch, "python_file", wrong)
        assert not export(made("s-rnn"), "snntorch", tmp_path / "m.py", 4).holds
    assert not list(tmp_path.iterdir())


@needs_snntorch
def test_where_the_file_runs_muspike_cannot_be_imported(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    for name in ("muspike", "muspike.hardware"):
        path.write_text(f"import {name}\n")
        with pytest.raises(Failed, match=r"ended with status 1: ModuleNotFoundError: .*muspike"):
            to_snntorch.run(path, np.zeros((1, 1, 1), np.uint8), {"python": None})


@needs_snntorch
def test_a_file_that_writes_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("")
    with pytest.raises(BadInput, match="wrote no spikes"):
        to_snntorch.run(path, np.zeros((1, 1, 1), np.uint8), {"python": None})


def test_a_missing_snntorch_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.nir"
    nir.write(path, random_graph(3))
    right = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "snntorch" else right(name, *more)
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(["export", str(path), "--to", "snntorch", "-o", str(tmp_path / "m.py")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'muspike[snntorch]'" in line and not (tmp_path / "m.py").exists()


def test_an_interpreter_without_snntorch_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    python = bare / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    for name, message in ((python, "snnTorch is missing"), (tmp_path / "none", "cannot be started")):
        with pytest.raises(BadInput, match=message):
            to_snntorch.run(tmp_path / "m.py", np.zeros((1, 1, 1), np.uint8), {"python": str(name)})
