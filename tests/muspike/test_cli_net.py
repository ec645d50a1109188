"""`muspike map` and `muspike simulate` on `.net` files of lava-dl."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from muspike.cli import main
from muspike.hardware import Program
from net_files import even, neuron, write_net


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    return write_net(
        tmp_path / "network.net",
        [
            {"type": "input", "shape": [12]},
            {"type": "dense", "shape": [20], "weight": even(rng, 20, 12), "neuron": neuron()},
            {"type": "dense", "shape": [6], "weight": even(rng, 6, 20), "neuron": neuron()},
            {"type": "average", "shape": [3]},
        ],
    )


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file whose input layer has neurons."""
    weight = even(np.random.default_rng(0), 20, 12)
    layers: list[dict[str, Any]] = [
        {"type": "input", "shape": [1, 3, 4], "neuron": neuron()},
        {"type": "flatten", "shape": [12]},
        {"type": "dense", "shape": [20], "weight": weight, "neuron": neuron()},
    ]
    return write_net(tmp_path / "picture.net", layers)


def told(capsys: pytest.CaptureFixture[str], *arguments: str | Path, status: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main([str(argument) for argument in arguments]) == status
    out, err = capsys.readouterr()
    return out, err


def test_map_keeps_the_integers(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, "map", file, "--dt", "0.001", "--chip", "loihi2", "-o", tmp_path / "p.npz")
    assert "network.net on loihi2: fits on 1 chip" in out and "kept: the chip's integers already" in out
    assert "layer 3 (average) is left to the host: output k of 3" in err
    program = Program.load(tmp_path / "p.npz")
    assert [(p.name, p.level) for p in program.populations] == [("input", 0), ("layer1", 1), ("layer2", 2)]
    assert json.loads(told(capsys, "map", file, "--dt", "0.001", "--json")[0])["quantisation"]["kept"] is True


def test_a_file_and_its_program_fire_alike(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "map", file, "--dt", "0.001", "--chip", "loihi2", "-o", tmp_path / "p.npz")
    run = ("--random", "0.3", "--ticks", "50", "--chip", "loihi2", "-o")
    out, _ = told(capsys, "simulate", file, "--dt", "0.001", *run, tmp_path / "a.npz", "--report", tmp_path / "r.html")
    assert "layer2" in out and "µJ" in out and (tmp_path / "r.html").stat().st_size > 10_000
    told(capsys, "simulate", tmp_path / "p.npz", *run, tmp_path / "b.npz")
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert a["layer2"].any()
        for name in ("layer1", "layer2"):
            np.testing.assert_array_equal(a[name], b[name])


def test_an_image_goes_in_as_biases(picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "image.npy", np.arange(12).reshape(1, 3, 4) * 4)
    run = ("simulate", picture, "--dt", "0.001", "--ticks", "32", "--reset-every", "16", "-o", tmp_path / "out.npz")
    told(capsys, *run, "--input-bias", tmp_path / "image.npy")
    with np.load(tmp_path / "out.npz") as out:
        spikes = out["layer0"][:32].reshape(2, 16, 12)
        assert spikes.any() and out["layer2"].any()
        np.testing.assert_array_equal(spikes[0], spikes[1])
    told(capsys, *run)
    with np.load(tmp_path / "out.npz") as out:
        assert not out["layer0"].any()


def test_errors_name_the_file(file: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = told(capsys, "map", file, status=2)
    assert err == (f"muspike: {file}: a .net does not say how long a tick is; give its dt in seconds (--dt)\n")
    np.save(tmp_path / "image.npy", np.arange(11))
    _, err = told(capsys, "map", picture, "--dt", "1", "--input-bias", tmp_path / "image.npy", status=2)
    assert f"{picture}: input_bias has shape [11]; layer 0 has neurons [1, 3, 4]" in err
    (tmp_path / "image.npy").write_bytes(b"no array")
    _, err = told(capsys, "map", picture, "--dt", "1", "--input-bias", tmp_path / "image.npy", status=2)
    assert f"{tmp_path / 'image.npy'}: damaged, or no .npy file" in err


def test_the_image_is_for_net_files_alone(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "image.npy", np.arange(2))
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    nir.write(tmp_path / "a.nir", graph)
    told(capsys, "map", file, "--dt", "0.001", "-o", tmp_path / "p.npz")
    for command in (["map", "a.nir", "--dt", "1"], ["simulate", "a.nir", "--dt", "1"], ["simulate", "p.npz"]):
        name = tmp_path / command[1]
        _, err = told(
            capsys, command[0], name, *command[2:], "--input-bias", tmp_path / "image.npy", "--random", "0.1", status=2
        )
        assert "--input-bias" in err
