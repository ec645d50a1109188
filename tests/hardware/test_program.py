"""Program: what it refuses, and that a file is the program or an error."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chip_programs
from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program, Roles


def population(name: str = "hidden", size: int = 3, kind: str = "lif", **changes: Any) -> ChipPopulation:
    fields = {"level": int(kind != "input"), "bias_mant": -7, "bias_exp": 2, "scale": 64.0} | changes
    return chip_programs.population(name, size, kind, **fields)


def synapses(name: str = "in->hidden", **changes: Any) -> ChipSynapses:
    fields: dict[str, Any] = {
        "source": "in",
        "target": "hidden",
        "weight": np.array([[2, -256], [0, 254], [0, 0]], np.int16),
        "weight_exp": 1,
        "delay": 2,
        "sparse": True,
    }
    return ChipSynapses(name=name, **(fields | changes))


def program(**changes: Any) -> Program:
    fields: dict[str, Any] = {
        "chip": "loihi1",
        "dt_s": 1e-3,
        "populations": [population("in", 2, "input"), population(), population("out", 1, "li")],
        "synapses": [
            synapses(),
            synapses("out", source="hidden", target="out", weight=np.full((1, 3), 4), sparse=False, delay=1),
        ],
        "core_xy": [[0, 0]],
        "metadata": {"period": 7, "shape": (1, 2), "note": "é"},
    }
    return Program(**(fields | changes))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: population(du=[0, 4097, 0]), r"population 'hidden': du\[1\] is 4097, not in 0..4096 \(12 bits"),
        (lambda: population(dv=[0, 0, -1]), r"dv\[2\] is -1"),
        (lambda: population(v_threshold=[2**17, 0, 0]), r"v_threshold\[0\] is 131072, not in 0..131071 \(17 bits"),
        (lambda: population(bias_mant=[4096, 0, 0]), r"bias_mant\[0\] is 4096, not in -4096..4095"),
        (lambda: population(bias_exp=[8, 0, 0]), r"bias_exp\[0\] is 8, not in 0..7"),
        (lambda: population(du=[1.5, 0, 0]), r"du has dtype float64, not integers"),
        (lambda: population(du=[1, 2]), r"du has shape \[2\], not \[3\]"),
        (lambda: population(scale=[1.0, np.nan, 1.0]), r"scale holds nan"),
        (lambda: population(scale=[1.0, 0.0, 1.0]), r"scale holds 0.0"),
        (lambda: population(core=[0, -1, 0]), r"core\[1\] is -1"),
        (lambda: population(kind="input", core=[0, 0, 0]), r"core\[0\] is 0, not in -1..-1"),
        (lambda: population(kind="input", level=1), r"level is 1"),
        (lambda: population(kind="alif"), r"kind is 'alif', not one of input, lif, li"),
        (lambda: population(name=""), r"the name is ''"),
        (lambda: synapses(weight=np.array([[2, 3]])), r"synapses 'in->hidden': weight\[0, 1\] is 3; .* even"),
        (lambda: synapses(weight=np.array([[256, 0]])), r"weight\[0, 0\] is 256, not in -256..254"),
        (lambda: synapses(weight=np.array([[2.0]])), r"weight has dtype float64"),
        (lambda: synapses(weight=np.array([2])), r"not \[target, source\]"),
        (lambda: synapses(weight_exp=-1), r"weight_exp is -1; it is an integer in 0..7"),
        (lambda: synapses(delay=0), r"delay is 0; it is an integer in 1..63"),
        (lambda: synapses(delay=64), r"delay is 64"),
        (lambda: synapses(delay=True), r"delay is True"),
        (lambda: program(dt_s=0.0), r"dt_s is 0.0"),
        (lambda: program(populations=[]), r"no populations"),
        (lambda: program(populations=[population(), population()], synapses=[]), r"taken 2 times"),
        (lambda: program(synapses=[synapses(), synapses()]), r"taken 2 times"),
        (lambda: program(synapses=[synapses(source="x")]), r"no population is called 'x'; there are in, hidden, out"),
        (lambda: program(synapses=[synapses(source="out")]), r"'out' is a li population, which never spikes"),
        (lambda: program(synapses=[synapses(target="in")]), r"'in' is an input"),
        (lambda: program(synapses=[synapses(weight=np.zeros((2, 3), int))]), r"\[2, 3\], not .* \[3, 2\]"),
        (lambda: program(core_xy=np.zeros((0, 2), int)), r"core 0 has no place; core_xy lists 0 cores"),
        (lambda: program(core_xy=[0, 0]), r"not \[cores, 2\]"),
        (lambda: program(metadata={"a": np.float32(1)}), r"not JSON-able"),
        (lambda: program(metadata={"a": float("nan")}), r"not JSON-able"),
        (lambda: program(metadata={"relays": "hidden"}).roles, r"relays of the metadata are 'hidden'; expected a list"),
        (lambda: program(metadata={"outputs": [1]}).roles, r"outputs of the metadata are \[1\]; expected a list"),
        (
            lambda: program(metadata={"relays": ["relay"]}).roles,
            r"relays of the metadata name 'relay'; there are in, hidden, ",
        ),
    ],
)
def test_refuses(make: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        make()


def test_takes_the_ends_of_every_range() -> None:
    p = population(
        du=[0, 4095, 4096],
        dv=[0, 4095, 4096],
        v_threshold=[0, 1, 2**17 - 1],
        bias_mant=[-4096, 0, 4095],
        bias_exp=[7] * 3,
    )
    assert p.bias.tolist() == [-4096 * 128, 0, 4095 * 128]
    assert synapses(delay=63, weight_exp=7).delay == 63


def test_counts() -> None:
    p = program()
    assert (p.n_neurons, p.n_synapses, p.n_cores, p.max_delay) == (4, 3 + 3, 1, 2)
    assert [q.name for q in p.inputs + p.readouts] == ["in", "out"]
    assert p.population("hidden").size == 3
    assert (p.roles.outputs, p.roles.relays) == ((), ())
    assert program(metadata={"outputs": ["out"], "relays": ["hidden"]}).roles == Roles(("out",), ("hidden",))


def test_arrays_are_read_only() -> None:
    given = np.zeros(3, np.int32)
    p = population(du=given)
    given[:] = 9
    assert p.du.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match="read-only"):
        p.du[0] = 1


def test_round_trip(tmp_path: Path) -> None:
    p = program()
    p.save(tmp_path / "deep" / "p.npz")
    q = Program.load(tmp_path / "deep" / "p.npz")
    assert q.digest == p.digest
    assert q.metadata == {"period": 7, "shape": [1, 2], "note": "é"}
    assert [s.sparse for s in q.synapses] == [True, False]
    np.testing.assert_array_equal(q.synapses[0].weight, p.synapses[0].weight)
    np.testing.assert_array_equal(q.population("hidden").scale, [64.0] * 3)
    assert q.population("hidden").core.dtype == np.int32


def test_digest_sees_every_field() -> None:
    others = [
        program(dt_s=2e-3),
        program(metadata={}),
        program(core_xy=[[0, 1]]),
        program(synapses=[]),
        program(
            populations=[population("in", 2, "input"), population(dv=[2048, 2048, 2047]), population("out", 1, "li")]
        ),
    ]
    assert len({program().digest, *(p.digest for p in others)}) == 6


def test_numpy_alone_reads_it(tmp_path: Path) -> None:
    program().save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as file:
        header = json.loads(file["header"].tobytes())
        assert [p["name"] for p in header["populations"]] == ["in", "hidden", "out"]
        assert file["v_threshold"].tolist() == [100] * 6
        assert file["weight_0"].tolist() == [[2, -256], [0, 254], [0, 0]]


def test_load_refuses_what_is_not_there_or_not_a_program(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"none\.npz: cannot be read: No such file"):
        Program.load(tmp_path / "none.npz")
    with pytest.raises(BadInput, match="is a folder, expected a file"):
        Program.load(tmp_path)
    path = tmp_path / "p.npz"
    for content in (b"", b"what", b"PK\x03\x04"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"p\.npz: damaged, or not a muspike program"):
            Program.load(path)
    np.savez(path, a=np.zeros(3))
    with pytest.raises(BadInput, match=r"is an \.npz of arrays without a program"):
        Program.load(path)
    np.savez(path, header=np.frombuffer(b"[1]", np.uint8))
    with pytest.raises(BadInput, match="the header does not say so"):
        Program.load(path)
    np.savez_compressed(path, header=np.zeros(10_000, np.uint8))
    with pytest.raises(BadInput, match="larger than the file"):
        Program.load(path)


def rewrite(path: Path, **changed: Any) -> None:
    """Save the Program at `path` anew with other members; None leaves one out."""
    with np.load(path) as file:
        members = {name: file[name] for name in file.files} | changed
    np.savez(path, **{name: array for name, array in members.items() if array is not None})


def test_load_refuses_other_versions_and_changed_content(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    program().save(path)
    with np.load(path) as file:
        header = json.loads(file["header"].tobytes())

    def with_header(**changes: Any) -> None:
        program().save(path)
        rewrite(path, header=np.frombuffer(json.dumps(header | changes).encode(), np.uint8))

    with_header(version=1)
    with pytest.raises(BadInput, match="version 1 of the format; this muspike reads versions 2 and 3"):
        Program.load(path)
    with_header(version=3.0)
    with pytest.raises(BadInput, match=r"version 3\.0 of the format"):
        Program.load(path)
    graded = [p | {"graded_bits": 16} if p["kind"] == "input" else p for p in header["populations"]]
    with_header(populations=graded)
    with pytest.raises(BadInput, match="damaged: graded inputs in version 2 of the format, which has none"):
        Program.load(path)
    with_header(dt_s=5e-3)
    with pytest.raises(BadInput, match="damaged: the digest"):
        Program.load(path)
    with_header(populations=[{"name": "in", "size": 10**12, "kind": "input", "level": 0}])
    with pytest.raises(BadInput, match="the populations have sizes"):
        Program.load(path)
    damages: tuple[dict[str, Any], ...] = (
        {"synapses": 3},
        {"populations": {}},
        {"populations": [{"size": 6}]},
        {"metadata": 1},
        {"dt_s": "x"},
    )
    for broken in damages:
        with_header(**broken)
        with pytest.raises(BadInput):
            Program.load(path)
    program().save(path)
    rewrite(path, weight_1=None)
    with pytest.raises(BadInput, match="array 'weight_1' is missing"):
        Program.load(path)
    program().save(path)
    rewrite(path, du=np.full(6, 9999))
    with pytest.raises(BadInput, match=r"p\.npz: population 'in': du\[0\] is 9999"):
        Program.load(path)


def test_load_refuses_hostile_sizes(tmp_path: Path) -> None:
    path = tmp_path / "p.npz"
    program().save(path)
    member = io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<i4", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(path) as old:
        members = {info.filename: old.read(info) for info in old.infolist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in (members | {"du.npy": member.getvalue() + b"\0" * 24}).items():
            new.writestr(name, data)
    with pytest.raises(BadInput, match="claims shape"):
        Program.load(path)


def test_load_refuses_a_cut_or_changed_byte(tmp_path: Path) -> None:
    original = program()
    original.save(tmp_path / "p.npz")
    data = (tmp_path / "p.npz").read_bytes()
    damaged = tmp_path / "damaged.npz"
    for end in range(0, len(data), 101):
        damaged.write_bytes(data[:end])
        with pytest.raises(BadInput):
            Program.load(damaged)
    refused = 0
    for i in range(0, len(data), 11):
        for flip in (0x01, 0x80):
            damaged.write_bytes(data[:i] + bytes([data[i] ^ flip]) + data[i + 1 :])
            try:  # some bytes of a zip file mean nothing, such as the time of a member
                assert Program.load(damaged).digest == original.digest
            except BadInput as error:
                assert "\n" not in str(error)
                refused += 1
    assert refused > len(data) // 11


def test_levels_are_those_of_paths() -> None:
    """A level decides how long a run is: one that no path reaches would make it endless."""
    p = program()
    late = [dataclasses.replace(q, level=5) if q.name == "hidden" else q for q in p.populations]
    with pytest.raises(BadInput, match=r"a delay of \d from level 0 to level 5 is -\d ticks of ideal time"):
        dataclasses.replace(p, populations=late)
    looped = ChipSynapses("loop", "a", "a", np.array([[2]]), 0, 1)
    alone = chip_programs.population("a", 1, level=64)
    with pytest.raises(BadInput, match="population 'a': level is 64; no path through 1 populations is longer than 63"):
        chip_programs.program([alone], [looped])
