"""`verify`: a proof is made again from the files alone, and a file that was changed is refused before it is run."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import pytest

from muspike.cli import main
from muspike.errors import BadInput
from muspike.export import to_nir_file
from muspike.export.recording import Recording
from muspike.export.targets import TARGETS, export, verify
from muspike.export.verify import Expected, Judgement, compare, expected_path
from small_model import small_model
from small_nir import chain, graph, lif


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


def test_one_spike_that_differs_is_noticed(copied: Path) -> None:
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


def emptied(path: Path) -> None:
    expected_path(path).write_bytes(b"")


def header_with(path: Path, **changes: object) -> None:
    """Change entries of the header of what is expected."""
    with np.load(expected_path(path)) as file:
        arrays = {name: file[name] for name in file.files}
    header = {**json.loads(arrays["header"].tobytes()), **changes}
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with expected_path(path).open("wb") as out:
        np.savez(out, **arrays)


def elsewhere(path: Path) -> None:
    header_with(path, sha256={"../m.nir": "0"})


def tolerant(path: Path) -> None:
    loaded = Expected.load(expected_path(path)).judgement
    header_with(path, judgement={**dataclasses.asdict(loaded), "tolerance": float("inf")})


def other_target(path: Path) -> None:
    header_with(path, target="snntorch")


def larger(path: Path) -> None:
    header_with(path, shapes={"inputs": [64, 4, 10**12]})


def no_ticks(path: Path) -> None:
    header_with(path, shapes={"inputs": [0, 4, 3]})


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
        (elsewhere, r"m\.nir\.expected\.npz: names '\.\./m\.nir'; expected files of its own folder"),
        (tolerant, r"m\.nir\.expected\.npz: tolerates inf; expected 0 to 0\.05"),
        (other_target, r"m\.nir: m\.nir\.expected\.npz is about a Python file, which ends in \.py"),
        (larger, r"m\.nir\.expected\.npz: inputs is uint8 \[\d+, 4, \d+\], which does not fit the shape"),
        (no_ticks, r"m\.nir\.expected\.npz: inputs is uint8 \[\d+, 4, \d+\], which does not fit the shape"),
        (emptied, r"m\.nir\.expected\.npz: is not what an export writes beside its file, or is damaged"),
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


def test_an_interpreter_that_the_file_names_is_not_run(copied: Path) -> None:
    header_with(copied, options={"for": None, "python": "/nowhere/python"})
    assert verify(copied).holds
    kept = json.loads(np.load(expected_path(copied))["header"].tobytes())["options"]
    export(small_model("jsb"), "nir", copied, 4)
    assert "python" in kept and "python" not in Expected.load(expected_path(copied)).options


@pytest.mark.parametrize("size", [1, 7, 8, 9])
def test_populations_of_every_size_are_kept(size: int, tmp_path: Path) -> None:
    weights = nir.Linear(np.full((size, size), 0.9 / size))
    nodes = {"input": size, "w": weights, "a": lif(size, v_threshold=0.1), "output": size}
    network = graph(nodes, chain("input", "w", "a", "output"))
    assert export(network, "nir", tmp_path / "m.nir").holds
    assert verify(tmp_path / "m.nir").holds


def test_a_recording_without_a_state_is_refused() -> None:
    state = {"a": np.zeros((2, 1, 3), np.int32)}
    spikes = {"a": np.ones((2, 1, 3), np.uint8)}
    expected = Recording(spikes, {}, state, state)
    with pytest.raises(BadInput, match="x: gives no current of a"):
        compare("x", Judgement("a", "b"), expected, Recording(spikes, {}, state))


def test_what_is_exported_is_not_replaced(copied: Path) -> None:
    before = copied.read_bytes()
    with pytest.raises(BadInput, match=r"m\.nir: is what is exported; give another --output"):
        export(copied, "nir", copied)
    other = copied.with_name("o.nir")
    expected_path(other).write_text("mine")
    with pytest.raises(BadInput, match=r"o\.nir\.expected\.npz: is there already, and no export wrote it"):
        export(copied, "nir", other)
    assert copied.read_bytes() == before and expected_path(other).read_text() == "mine" and not other.exists()


def test_a_file_under_another_name_is_refused(copied: Path) -> None:
    other = copied.with_name("other.nir")
    copied.rename(other)
    expected_path(copied).rename(expected_path(other))
    with pytest.raises(BadInput, match=r"other\.nir\.expected\.npz is about m\.nir; files that belong together keep"):
        verify(other)


def test_a_target_that_is_not_known_is_refused(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not taken out of the table itself: it would come back at its end, and other tests know its order.
    others = {name: target for name, target in TARGETS.items() if name != "nir"}
    monkeypatch.setattr("muspike.export.targets.TARGETS", others)
    with pytest.raises(BadInput, match="target 'nir' is not known; known are "):
        verify(copied)


def test_a_file_that_was_never_exported_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.onnx: cannot be read"):
        verify(tmp_path / "none.onnx")
