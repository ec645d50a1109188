"""The script beside a file for Lava builds the network without muspike; networks in floats in Lava's float models."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from chip_programs import population, program
from muspike.errors import BadInput
from muspike.export import to_lava
from muspike.export.lava_floats import FloatNetwork
from muspike.export.subject import Subject
from muspike.export.targets import export, verify
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.simulator.events import Simulator


def small_program() -> Program:
    rng = np.random.default_rng(0)
    return program(
        [population("in", 6, "input"), population("hidden", 9, level=1), population("out", 3, "li", level=2)],
        [
            ChipSynapses("a", "in", "hidden", 2 * rng.integers(-20, 40, (9, 6)), 1, 1),
            ChipSynapses("again", "hidden", "hidden", 2 * rng.integers(-20, 20, (9, 9)), 0, 4),
            ChipSynapses("b", "hidden", "out", 2 * rng.integers(-20, 40, (3, 9)), 0, 1),
        ],
    )


def test_the_script_beside_the_file_runs_it_without_muspike(python: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.npz"
    proof = export(small_program(), "lava", path, python=str(python))
    assert proof.holds, proof.table()
    inputs = (np.random.default_rng(1).random((30, 6)) < 0.3).astype(np.uint8)
    np.save(tmp_path / "input.npy", inputs)
    command = [str(python), "-I", "small.py", "small.npz", "input.npy", "output.npz"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    run = Simulator(small_program()).run(inputs[:, None])
    with np.load(tmp_path / "output.npz") as found:
        assert set(found.files) == {"hidden", "v out"}
        assert np.array_equal(found["hidden"], run.spikes["hidden"][:, 0])
        assert np.array_equal(found["v out"], run.membrane["out"][:, 0])
    assert run.spikes["hidden"].any()
    assert said == f"hidden: {run.spikes['hidden'].sum()} spikes\n"


def test_only_our_own_script_is_accepted(tmp_path: Path) -> None:
    small_program().save(tmp_path / "small.npz")
    (tmp_path / "small.py").write_text("print('something else')\n")
    options = {"arithmetic": "fixed", "chip": "loihi1", "python": None}
    with pytest.raises(BadInput, match=r"small\.py: is not the script that this muspike writes"):
        to_lava.run(tmp_path / "small.npz", np.zeros((3, 1, 6), np.uint8), options)


def test_a_script_of_yours_is_not_replaced(python: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("print('mine')\n")
    with pytest.raises(BadInput, match=r"mine\.py: is there already, and the export would replace it"):
        export(small_program(), "lava", tmp_path / "mine.npz", python=str(python))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.py"]
    (tmp_path / "mine.py").unlink()
    for _ in range(2):  # what an export wrote, the next one may replace
        assert export(small_program(), "lava", tmp_path / "mine.npz", python=str(python)).holds


def float_graph() -> nir.NIRGraph:
    """Synaptic filters, biases, a skip, delays, a loop, a convolution and a readout."""
    rng = np.random.default_rng(2)

    def neurons(*shape: int, bias: float = 0.0) -> nir.CubaLIF:
        return nir.CubaLIF(
            tau_syn=rng.uniform(1e-3, 4e-3, shape),
            tau_mem=rng.uniform(2e-3, 9e-3, shape),
            r=np.ones(shape),
            v_leak=np.full(shape, bias),
            v_threshold=np.full(shape, 1.0),
        )

    nodes: dict[str, Any] = {
        "input": nir.Input(np.array([2, 5, 4])),
        "conv": nir.Conv2d((5, 4), rng.normal(1, 3, (3, 2, 3, 3)), 1, 1, 1, 1, np.zeros(3)),
        "image": neurons(3, 5, 4),
        "flat": nir.Flatten({"input": np.array([3, 5, 4])}, start_dim=0, end_dim=-1),
        "down": nir.Linear(rng.normal(1, 2, (8, 60))),
        "hidden": neurons(8, bias=0.5),
        "loop": nir.Linear(rng.normal(0, 2, (8, 8))),
        "wait": nir.Delay(np.full(8, 5e-3)),
        "read": nir.Linear(rng.normal(0, 1, (2, 8))),
        "readout": nir.LI(np.full(2, 4e-3), np.ones(2), np.zeros(2)),
        "output": nir.Output(np.array([2])),
    }
    edges = [("input", "conv"), ("conv", "image"), ("image", "flat"), ("flat", "down"), ("down", "hidden")]
    edges += [("hidden", "wait"), ("wait", "loop"), ("loop", "hidden"), ("hidden", "read"), ("read", "readout")]
    return nir.NIRGraph(nodes, [*edges, ("readout", "output")], metadata={"dt": 1e-3})


def test_a_network_in_floats_is_lavas(python: Path, tmp_path: Path) -> None:
    path = tmp_path / "floats.npz"
    proof = export(float_graph(), "lava", path, arithmetic="floating", python=str(python))
    assert proof.holds, proof.table()
    assert len(proof.rows) == 2 and all(row.spikes for row in proof.rows)
    assert proof.worst_answer is not None
    assert verify(path, python=str(python)).holds
    assert {p.name: p.level for p in FloatNetwork.load(path).populations}["readout"] == 3


def test_a_model_in_floats_is_lavas(python: Path, tmp_path: Path) -> None:
    proof = export("s-rnn", "lava", tmp_path / "s-rnn.npz", count=2, arithmetic="floating", python=str(python))
    assert proof.holds, proof.table()
    assert proof.worst_answer is not None and proof.worst_answer < 1e-9


def test_what_holds_no_floats_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds the integers of loihi1"):
        FloatNetwork.of(Subject.of(small_program()))
    with pytest.raises(BadInput, match="arithmetic 'exact' is not known; known are fixed, floating"):
        export(small_program(), "lava", tmp_path / "a.npz", arithmetic="exact")
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(BadInput, match=r"b\.npz: damaged, or not a muspike floats"):
        FloatNetwork.load(tmp_path / "b.npz")
