"""The simulators held against the conformance pack, the pack against its maker, and its power to catch mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import conformance
from conformance import (
    CASES,
    FOLDER,
    coverage,
    coverage_table,
    manifest,
    mutation_table,
    question,
    sha256,
    side_by_side,
)
from conformance_cases import Case, cases
from lava_python import lava_python
from muspike.export.subject import Subject
from muspike.export.targets import TARGETS
from muspike.hardware.simulator.dense import DenseSimulator
from muspike.hardware.simulator.events import Run, Simulator
from mutated_chip import MUTATIONS, simulate

PAGE = FOLDER.parents[1] / "docs" / "conformance.md"
EVERY = {case.name: case for case in cases()}


def assert_equal(case: Case, run: Run) -> None:
    frozen, p = conformance.read(case.name), case.program
    for key, ours in (("u", run.current), ("v", run.membrane)):
        different = np.argwhere(side_by_side(p, ours) != frozen[key])
        assert not len(different), f"{key} at [tick, sequence, neuron] {different[0]}"
    first = 0
    for q in (q for q in p.populations if q.kind != "input"):
        theirs = frozen["s"][:, :, first : first + q.size]
        if q.kind == "lif":
            assert np.array_equal(run.spikes[q.name], theirs), q.name
        else:  # no spikes are kept of a readout, but how often it was reset
            assert run.readout_resets[q.name] == theirs.sum(), q.name
        first += q.size


@pytest.mark.parametrize("name", EVERY)
def test_the_simulator_computes_the_frozen_verdict(name: str) -> None:
    case = EVERY[name]
    assert_equal(case, Simulator(case.program, case.inputs.shape[1]).run(case.inputs, record_membranes=True))


@pytest.mark.parametrize("name", EVERY)
def test_the_integers_of_an_onnx_file_give_the_frozen_verdict(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    case, frozen = EVERY[name], conformance.read(name)
    path, target = tmp_path / "case.onnx", TARGETS["onnx"]
    options = target.chosen({"form": "chip"})
    target.exporter.write(Subject.of(case.program), path, options)
    found = target.exporter.run(path, case.inputs, options)
    for key, ours in (("u", found.current), ("v", found.membrane)):
        assert np.array_equal(side_by_side(case.program, ours), frozen[key]), key
    first = 0
    for q in (q for q in case.program.populations if q.kind != "input"):
        if q.kind == "lif":
            assert np.array_equal(found.spikes[q.name], frozen["s"][:, :, first : first + q.size]), q.name
        first += q.size


@pytest.mark.parametrize("name", EVERY)
def test_the_simulator_for_gpus_computes_the_frozen_verdict(name: str) -> None:
    case = EVERY[name]
    assert_equal(case, DenseSimulator(case.program, case.inputs.shape[1]).run(case.inputs, record_membranes=True))


def test_the_pack_is_whole_and_asks_what_the_maker_asks() -> None:
    rows = manifest()["cases"]
    assert list(rows) == list(EVERY) and 40 <= len(rows) <= 80
    assert {path.stem for path in CASES.glob("*.npz")} == set(rows)
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 5e6
    for name, row in rows.items():
        assert sha256((CASES / f"{name}.npz").read_bytes()) == row["sha256"], name
        frozen, asked = conformance.read(name), question(EVERY[name])
        assert set(frozen) == {*asked, "s", "u", "v"}
        assert all(np.array_equal(asked[key], frozen[key]) for key in asked), name


def test_a_case_is_written_as_the_same_bytes_again() -> None:
    """They depend on zlib, so what is compared was written here."""
    frozen = conformance.read("cycle")
    assert conformance.packed(frozen) == conformance.packed(dict(reversed(frozen.items())))


def test_every_case_shows_what_it_is_for() -> None:
    for name, row in manifest()["cases"].items():
        shown = coverage(conformance.read(name))
        assert sorted(shown) == row["shows"], name
        assert set(EVERY[name].shows) <= shown, name


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_a_wrong_simulator_is_caught(mutation: str) -> None:
    frozen = conformance.read(manifest()["caught"][mutation][0])
    assert any((ours != frozen[key]).any() for key, ours in simulate(frozen, mutation).items())


def test_the_equations_without_a_mistake_pass_every_case() -> None:
    for name in EVERY:
        frozen = conformance.read(name)
        for key, ours in simulate(frozen).items():
            assert np.array_equal(ours, frozen[key]), (name, key)


def test_the_script_of_the_page_passes_every_case_and_sees_a_difference(tmp_path: Path) -> None:
    module: dict[str, Any] = {"__name__": "run_case"}
    exec(compile((FOLDER / "run_case.py").read_text(encoding="utf-8"), "run_case.py", "exec"), module)
    for name in EVERY:
        frozen = conformance.read(name)
        for key, ours in module["simulate"](frozen).items():
            assert np.array_equal(ours, frozen[key]), (name, key)
    frozen = conformance.read("cycle")
    frozen["v"][7, 0, 3] += 1
    (tmp_path / "other.npz").write_bytes(conformance.packed(frozen))
    for path, status, said in (
        (CASES / "cycle.npz", 0, "s: 0 values differ; u: 0 values differ; v: 0 values differ\n"),
        (tmp_path / "other.npz", 1, "s: 0 values differ; u: 0 values differ; v: 1 values differ\n"),
    ):
        command = [sys.executable, str(FOLDER / "run_case.py"), str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (status, said), result.stderr


def test_the_page_has_the_tables_of_the_pack() -> None:
    text, found = PAGE.read_text(encoding="utf-8"), manifest()
    assert coverage_table({name: row["shows"] for name, row in found["cases"].items()}) in text
    assert mutation_table(found["caught"], MUTATIONS) in text
    assert list(found["caught"]) == list(MUTATIONS)


@pytest.mark.nightly
def test_lava_still_gives_the_frozen_verdict() -> None:
    judged, version = conformance.verdicts(list(EVERY.values()), lava_python())
    assert manifest()["judge"] == f"lava-nc {version}, fixed_pt"
    for name, verdict in zip(EVERY, judged, strict=True):
        frozen: dict[str, npt.NDArray[Any]] = conformance.read(name)
        for key, theirs in verdict.items():
            assert np.array_equal(theirs, frozen[key]), f"{name}: Lava's {key} differs from the frozen one"
