"""Files that are neither a network nor a program: each is named, and what would be right is said."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from muspike.errors import BadInput
from muspike.hardware import Program, compile_graph, read_nir
from muspike.hardware.kinds import KINDS, named


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")


def slayer(path: Path) -> None:
    with h5py.File(path, "w") as file:
        layer = file.create_group("layer").create_group("0")
        layer["type"], layer["weight"] = np.array([b"dense"]), np.zeros((2, 3))


def onnx(path: Path) -> None:
    path.write_bytes(b"\x08\x0a\x12\x07pytorch\x3a\x05graph")


WRITERS: dict[str, Callable[[Path], object]] = {
    "a Git LFS pointer": lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
    "a torch checkpoint": lambda path: torch.save({"w": torch.zeros(3)}, path),
    "an .npz of arrays": lambda path: path.write_bytes(npz(input=np.zeros((3, 1, 2), np.uint8))),
    "a zip archive": lambda path: zipped(path, "README.md"),
    "a lava-dl network": slayer,
    "an array (.npy)": lambda path: path.write_bytes(npy(np.zeros(3))),
    "compressed with gzip": lambda path: path.write_bytes(gzip.compress(b"x" * 100)),
    "compressed with zstd": lambda path: path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20)),
    "compressed with xz": lambda path: path.write_bytes(lzma.compress(b"x" * 100)),
    "weights without a network": lambda path: save_file({"w": torch.zeros(3)}, path),
    "a Python pickle": lambda path: path.write_bytes(pickle.dumps({"w": [1.0]})),
    "an ONNX network": onnx,
    "a MIDI file": lambda path: path.write_bytes(b"MThd\0\0\0\6\0\1\0\1\1\xe0"),
    "JSON text": lambda path: path.write_text(json.dumps({"format": 1})),
}


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_every_kind_has_its_case() -> None:
    assert len(WRITERS) == len(KINDS)
    assert all(kind.what.startswith(name) for kind, name in zip(KINDS, WRITERS, strict=True))


@pytest.mark.parametrize("what", WRITERS)
@pytest.mark.parametrize("read", [read_nir, Program.load])
def test_a_file_of_another_kind_is_named(what: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "mystery.bin"
    WRITERS[what](path)
    (kind,) = [kind for kind in KINDS if kind.what.startswith(what)]
    with pytest.raises(BadInput) as error:
        read(path)
    assert str(error.value) == f"{path}: is {kind.what}; {kind.right}"


def test_a_program_is_named_where_a_network_is_wanted(tmp_path: Path) -> None:
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    compile_graph(graph, "loihi1", dt_s=1e-3).program.save(tmp_path / "a.npz")
    with pytest.raises(BadInput, match=r"a\.npz: is a chip program; muspike simulate runs it"):
        read_nir(tmp_path / "a.npz")
    assert Program.load(tmp_path / "a.npz").chip == "loihi1"


def test_a_zip_without_members_is_no_set_of_arrays(tmp_path: Path) -> None:
    zipped(tmp_path / "a.zip")
    assert named(tmp_path / "a.zip", "no").endswith("is a zip archive that holds no program; unpack it first")


def test_a_folder_of_a_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text("{}")
    assert named(tmp_path, "no").startswith(f"{tmp_path}: is the folder of a model; write it as NIR first")


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
def test_damaged_networks_and_programs_are_not_taken_for_something_else(keep: float, tmp_path: Path) -> None:
    graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    network, program = tmp_path / "a.nir", tmp_path / "a.npz"
    nir.write(network, graph)
    compile_graph(graph, "loihi1", dt_s=1e-3).program.save(program)
    for path in (network, program):
        data = path.read_bytes()
        path.write_bytes(data[: int(keep * len(data))])
        assert named(path, "damaged") == f"{path}: damaged"


def test_what_nobody_knows_keeps_its_message(tmp_path: Path) -> None:
    for name, content in (("noise", bytes(range(200, 256)) * 3), ("text", b"hello")):
        (tmp_path / name).write_bytes(content)
        assert named(tmp_path / name, "no NIR file") == f"{tmp_path / name}: no NIR file"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert named(tmp_path / "loop", "no NIR file").endswith(": no NIR file")
    assert named("/dev/null", "not a file") == "/dev/null: not a file"
