"""`map` and `simulate` on a torch module that a function of a Python file builds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muspike.cli import main

norse = pytest.importorskip("norse.torch")

MODEL = """
import norse.torch as norse
import torch
from torch import nn
from beside import FACTOR

print("a file may print")

def build():
    torch.manual_seed(0)
    net = norse.SequentialState(nn.Linear(12, 10), norse.LIF(), nn.Linear(10, 4), norse.LIF())
    with torch.no_grad():
        for p in net.parameters():
            p *= FACTOR
    return net, (torch.rand(30, 3, 12) < 0.4).float()

class Talks(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = build()[0]

    def forward(self, x):
        print("a forward may print")
        return self.net(x)

def talks():
    return Talks(), build()[1]

def alone():
    return build()[0]

def counts():
    net, sample = build()
    return net, sample * 2

def soft():
    p = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0), reset_method=norse.reset_subtract)
    net, sample = build()
    return norse.SequentialState(net[0], norse.LIFBoxCell(p)), sample

def fails():
    return 1 / 0

def leaves():
    raise SystemExit("enough")

def other():
    return 3

class Inner(nn.Module):
    def forward(self, x):
        raise ValueError("a forward\\nthat fails")

def inner():
    return Inner(), torch.zeros(3, 3)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("model.py").write_text(MODEL, encoding="utf-8")
    Path("beside.py").write_text("FACTOR = 6.0\n", encoding="utf-8")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == status
    out, err = capsys.readouterr()
    return out if status == 0 else err


def test_map_compares_the_chip_on_the_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "map", "model.py:build", "--chip", "loihi2", "-o", "program.npz", "--report", "page.html")
    assert out.startswith("model.py on loihi2: fits") and "a file may print" not in out
    assert "torch module: proved against the module in float64: " in out and "float against integers" in out
    assert Path("program.npz").is_file() and "the sample" in Path("page.html").read_text(encoding="utf-8")
    assert not Path("__pycache__/model.cpython-311.pyc").exists()


def test_the_function_is_build_if_none_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: Any = json.loads(said(capsys, "map", "model.py", "--json"))
    named: Any = json.loads(said(capsys, "map", "model.py:build", "--json"))
    assert found == named and found["file"] == "model.py"
    json.loads(said(capsys, "map", "model.py:talks", "--json"))
    assert [row["population"] for row in found["conversion"]["proof"]] == ["1", "3"]
    assert all(row["spikes"] > 0 and row["different_spikes"] == 0 for row in found["conversion"]["proof"])


def test_simulate_with_labels_and_another_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("labels.npy", np.array([0, 1, 2]))
    found: Any = json.loads(said(capsys, "simulate", "model.py:build", "--labels", "labels.npy", "--json"))
    own = found["conversion"]["own_accuracy"]
    assert own == found["conversion"]["converted_accuracy"] == found["classification"]["float"]["accuracy"]
    assert len(found["classification"]["spikes_of_each_sequence"]) == 3
    np.save("sample.npy", (np.random.default_rng(0).random((20, 5, 12)) < 0.4).astype(np.uint8))
    alone: Any = json.loads(said(capsys, "simulate", "model.py:alone", "--sample", "sample.npy", "--json"))
    assert (alone["sequences"], alone["input_ticks"]) == (5, 20)


def test_another_input_is_taken_instead_of_the_sample(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found: Any = json.loads(
        said(capsys, "simulate", "model.py:build", "--random", "0.3", "--ticks", "7", "--dt", "0.01", "--json")
    )
    assert (found["sequences"], found["input_ticks"], found["dt_s"]) == (1, 7, 0.01)
    Path("program.npz").unlink(missing_ok=True)
    said(capsys, "map", "model.py:build", "-o", "program.npz")
    assert "--sample is not used for a program" in said(
        capsys, "simulate", "program.npz", "--random", "0.3", "--sample", "x.npy", status=2
    )


def test_an_allowance(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused = said(capsys, "map", "model.py:soft", "--per-tick", status=2)
    printed, line = refused.splitlines()
    assert printed == "a file may print"
    assert line.startswith("muspike: model.py:soft: module '1': reset_method=reset_subtract: ")
    assert "--allow reset" in line
    out = said(capsys, "map", "model.py:soft", "--per-tick", "--allow", "reset")
    assert "neuron-ticks differ" in out and "proved" not in out


def test_counts_need_graded_spikes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "the sample holds up to 2 spikes" in said(capsys, "simulate", "model.py:counts", status=2)
    out = said(capsys, "simulate", "model.py:counts", "--graded", "--chip", "loihi2")
    assert "proved" in out


def test_a_module_is_exported_as_any_network_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    out = said(capsys, "export", "model.py:build", "--to", "onnx", "-o", "model.onnx")
    assert out.endswith("\nequal\n") and Path("model.onnx").exists()
    said(capsys, "export", "model.py:talks", "--to", "nir")
    assert Path("model.py-talks.nir").exists()
    err = said(capsys, "export", "model.onnx", "--to", "nir", "--allow", "reset", status=2)
    assert "--allow is not used for model.onnx, only for a .py file" in err


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("model.py:fails", "model.py, line 42: ZeroDivisionError: division by zero"),
        ("model.py:leaves", "model.py, line 45: SystemExit: enough"),
        ("model.py:other", "other() returns a int; expected a torch module, or (module, sample input)"),
        ("model.py:nothing", "has no function 'nothing'; it has build, talks, alone, counts, soft, fails"),
        ("model.py:inner", "does not run on a sample of shape [3, 3]: ValueError: a forward that fails"),
        ("model.py:alone", "returns no sample input of the module; return (module, sample), or give --sample"),
        ("syntax.py", "syntax.py, line 2: SyntaxError: "),
        ("missing.py:build", "missing.py: "),
        ("lacks.py", "lacks.py, line 1: ModuleNotFoundError: No module named 'no_such_package'"),
    ],
)
def test_errors_of_the_file_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], argument: str, told: str
) -> None:
    Path("syntax.py").write_text("x = 1\ndef f(:\n", encoding="utf-8")
    Path("lacks.py").write_text("import no_such_package\n", encoding="utf-8")
    for command in (("map",), ("simulate",), ("export", "--to", "nir")):
        err = said(capsys, *command, argument, status=2)
        line = err.splitlines()[-1]
        assert told in line and line.startswith("muspike: "), err
        assert "Traceback" not in err


def test_a_sample_that_is_none_and_options_of_a_nir_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sample.npy").write_text("x", encoding="utf-8")
    assert "sample.npy: is no .npy file of numbers" in said(
        capsys, "map", "model.py:alone", "--sample", "sample.npy", status=2
    )
    Path("network.nir").write_bytes(b"x")
    told = said(capsys, "map", "network.nir", "--allow", "reset", status=2)
    assert "--allow is not used for a network in a file" in told


def test_help_says_that_the_file_is_executed(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("map", "simulate"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert "The file is EXECUTED" in " ".join(capsys.readouterr().out.split())
