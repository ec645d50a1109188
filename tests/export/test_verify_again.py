"""`verify`: a proof is made again from the files alone, and a file that was changed is refused before it is run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from muspike.cli import main
from muspike.errors import BadInput
from muspike.export import to_nir_file
from muspike.export.targets import TARGETS, export, verify
from muspike.export.verify import Expected, expected_path
from small_model import small_model


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(small_model("jsb"), "nir", folder / "m.nir", 4)
    return folder


@pytest.fixture
def copied(exported: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exported, tmp_path / "elsewhere")) / "m.nir"


def test_the_proof_is_made_again_elsewhere(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proof = verify(copied)
    assert proof.holds and proof.file == str(copied) and proof.reference == "the network in float64"
    assert main(["verify", str(copied), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"] and told["populations_in_all_sequences"]


def test_what_runs_the_file_otherwise_is_noticed(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Expected.load(expected_path(copied))
    (name,) = expected.recording.spikes
    expected.recording.spikes[name][-1, 0, 0] ^= 1
    expected.save(expected_path(copied))
    proof = verify(copied)
    last = len(expected.inputs) - 1
    assert not proof.holds and proof.rows[0].differences == 1
    assert f"first difference: {name}, tick {last}\nNOT EQUAL" in proof.table()


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def no_proof(path: Path) -> None:
    expected_path(path).unlink()


def renamed(path: Path) -> None:
    path.rename(path.with_name("n.nir"))
    shutil.copy(path.with_name("n.nir"), path)
    shutil.copy(expected_path(path), expected_path(path.with_name("n.nir")))
    shutil.copy(expected_path(path.with_name("n.nir")), expected_path(path))
    path.with_name("n.nir").rename(path.with_name("m.nir"))
    expected_path(path).write_bytes(b"")


def damaged(path: Path) -> None:
    content = bytearray(expected_path(path).read_bytes())
    content[len(content) // 2] ^= 0xFF
    content[-30:] = b"\0" * 30
    expected_path(path).write_bytes(content)


def other_arrays(path: Path) -> None:
    np.savez(expected_path(path), header=np.zeros(3))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (grown, r"m\.nir: was changed after its proof; export the network anew"),
        (no_proof, r"m\.nir\.expected\.npz: is missing; `muspike export` writes it beside the file"),
        (renamed, r"m\.nir\.expected\.npz: is not what an export writes beside its file, or is damaged"),
        (damaged, r"m\.nir\.expected\.npz: is not what an export writes beside its file, or is damaged"),
        (other_arrays, r"m\.nir\.expected\.npz: is not what an export writes beside its file, or is damaged"),
        (folder, r"m\.nir: is a folder, expected a file"),
    ],
)
def test_what_was_changed_is_refused_before_it_is_run(
    copied: Path, change: Callable[[Path], None], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the file was run")

    monkeypatch.setattr(to_nir_file, "run", never)
    change(copied)
    with pytest.raises(BadInput, match=message) as error:
        verify(copied)
    assert "\n" not in str(error.value)


def test_a_file_under_another_name_is_refused(copied: Path) -> None:
    other = copied.with_name("other.nir")
    copied.rename(other)
    expected_path(copied).rename(expected_path(other))
    with pytest.raises(BadInput, match=r"other\.nir\.expected\.npz is about m\.nir; files that belong together keep"):
        verify(other)


def test_a_target_that_is_not_known_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TARGETS, "nir")
    with pytest.raises(BadInput, match="target 'nir' is not known; known are "):
        verify(copied)


def test_a_file_that_was_never_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.onnx: cannot be read"):
        verify(tmp_path / "none.onnx")
