"""How a tool that reads NIR is found, and what is said when it refuses a file."""

from __future__ import annotations

import sys
from pathlib import Path

import nir
import numpy as np
import platformdirs
import pytest

from muspike.errors import BadInput, Failed
from muspike.export.readers.dialects import DIALECTS
from muspike.export.readers.run import (
    RefusedByReaderError,
    find_python,
    known_reader,
    readers,
    run_all,
    run_reader,
    versions_in,
)
from reader_python import reader_python

GIVEN = (np.random.default_rng(0).random((6, 2, 3)) < 0.5).astype(np.uint8)


def chain(path: Path, node: object) -> Path:
    nodes = {"input": nir.Input(np.array([3])), "n": node, "output": nir.Output(np.array([3]))}
    nir.write(path, nir.NIRGraph(nodes, [("input", "n"), ("n", "output")], type_check=False))
    return path


def test_every_reader_that_is_written_for_can_be_run() -> None:
    assert set(DIALECTS) <= set(readers())
    assert all(reader.packages and reader.version_of for reader in readers().values())
    with pytest.raises(BadInput, match="reader 'brian2' is not known; known are snntorch"):
        known_reader("brian2")


def test_norse_runs_in_the_python_of_muspike(tmp_path: Path) -> None:
    """muspike needs Norse itself, so no environment has to be made."""
    assert versions_in("norse", sys.executable)["norse"]
    path = chain(tmp_path / "a.nir", nir.Linear(2 * np.eye(3, dtype=np.float32)))
    np.testing.assert_array_equal(run_reader("norse", path, GIVEN, sys.executable).final, 2 * GIVEN)


def test_a_refusal_is_the_readers_own_and_stops_no_other_file(tmp_path: Path) -> None:
    scale = chain(tmp_path / "scale.nir", nir.Scale(np.ones(3)))
    linear = chain(tmp_path / "linear.nir", nir.Linear(np.eye(3, dtype=np.float32)))
    refused, run = run_all("nirtorch", [(scale, GIVEN), (linear, GIVEN)], sys.executable)
    assert isinstance(refused, RefusedByReaderError)
    assert refused.stage == "load"
    assert "Unknown node type" in refused.reason
    assert not isinstance(run, RefusedByReaderError)
    np.testing.assert_array_equal(run.final, GIVEN)
    with pytest.raises(RefusedByReaderError, match=r"scale.nir: nirtorch does not load it: ValueError: Unknown node"):
        run_reader("nirtorch", scale, GIVEN, sys.executable)


def test_a_node_that_norse_drops_is_named(tmp_path: Path) -> None:
    parts = {
        "input": nir.Input(np.array([3])),
        "w": nir.Linear(np.eye(3, dtype=np.float32)),
        "n": nir.Threshold(np.full(3, 0.5)),
        "output": nir.Output(np.array([3])),
    }
    nir.write(tmp_path / "a.nir", nir.NIRGraph(parts, [("input", "w"), ("w", "n"), ("n", "output")], type_check=False))
    assert run_reader("norse", tmp_path / "a.nir", GIVEN, sys.executable).missing == ("n",)


def test_a_python_without_the_reader_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(known_reader("sinabs").variable, str(tmp_path / "python"))
    with pytest.raises(Failed, match=r"python: does not start: No such file"):
        find_python("sinabs")
    with pytest.raises(Failed, match=r"sinabs, from_nir stopped with status 1: .*No module named 'sinabs'"):
        find_python("sinabs", sys.executable)


def test_no_half_made_environment_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(Failed, match=r"sinabs==.* cannot be installed: ERROR: .*sinabs"):
        find_python("sinabs")
    assert list((tmp_path / "muspike").iterdir()) == []


@pytest.mark.parametrize(
    "name", ["snntorch", *(pytest.param(n, marks=pytest.mark.nightly) for n in ("spikingjelly", "sinabs", "rockpool"))]
)
def test_an_environment_shares_torch(name: str) -> None:
    import torch

    assert versions_in(name, reader_python(name))["torch"] == torch.__version__
