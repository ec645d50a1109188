"""Reading NIR files: what `nir` writes comes back as it was; whatever else a file holds is an error in one line."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import h5py
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput, Failed
from muspike.hardware.reader import file as nir_file
from muspike.hardware.reader.file import read_nir, read_nir_data

HOSTILE = Path(__file__).with_name("hostile")
posix = pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")

# --- files to start from -----------------------------------------------------------------------------------------


def nodes() -> dict[str, nir.NIRNode]:
    """One of each primitive, with numbers that tell their fields apart."""
    count = iter(range(1, 1000))

    def vector(n: int = 3) -> np.ndarray:
        return np.arange(n, dtype=np.float64) + next(count)

    def neurons(kind: type[nir.NIRNode], n_fields: int) -> nir.NIRNode:
        return kind(*(vector() for _ in range(n_fields)))

    kernel = np.arange(24, dtype=np.float32)
    inner = nir.NIRGraph(
        {"input": nir.Input(np.array([3])), "lif": neurons(nir.LIF, 4), "output": nir.Output(np.array([3]))},
        [("input", "lif"), ("lif", "output")],
    )
    return {
        "input": nir.Input(np.array([3])),
        "affine": nir.Affine(np.arange(9.0).reshape(3, 3), vector()),
        "linear": nir.Linear(np.arange(9, dtype=np.int8).reshape(3, 3)),
        "scale": nir.Scale(vector()),
        "delay": nir.Delay(vector()),
        "threshold": nir.Threshold(vector()),
        "i": nir.I(vector()),
        "if": neurons(nir.IF, 3),
        "li": neurons(nir.LI, 3),
        "lif": neurons(nir.LIF, 5),
        "cuba_li": neurons(nir.CubaLI, 5),
        "cuba_lif": neurons(nir.CubaLIF, 7),
        "conv1d": nir.Conv1d(9, kernel.reshape(4, 2, 3), 1, "same", 1, 1, vector(4)),
        "conv2d": nir.Conv2d((5, 6), kernel.reshape(2, 2, 3, 2), (1, 2), (0, 1), 1, 2, vector(2)),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "avg": nir.AvgPool2d(np.array([2, 1]), np.array([2, 2]), np.array([0, 1])),
        "flatten": nir.Flatten({"input": np.array([2, 3, 4])}, 1, 2),
        "inner": inner,
        "output": nir.Output(np.array([3])),
    }


def graph_of(*names: str) -> nir.NIRGraph:
    """The named nodes in a row, between input and output."""
    row = ("input", *names, "output")
    every = nodes()
    metadata = {"dt": 1e-3, "tool": "muspike", "list": np.array([1, 2]), "more": {"deep": 1}}
    return nir.NIRGraph({n: every[n] for n in row}, list(itertools.pairwise(row)), metadata, type_check=False)


WHOLE = tuple(name for name in nodes() if name not in ("input", "output"))


def written(graph: nir.NIRNode, **options: Any) -> bytes:
    file = io.BytesIO()
    nir.write(file, graph, **options)
    return file.getvalue()


def edited(whole: bytes, edit: Callable[[h5py.File], object]) -> bytes:
    file = io.BytesIO(whole)
    with h5py.File(file, "a") as h5:
        edit(h5)
    return file.getvalue()


def latest(whole: bytes) -> bytes:
    """The same in HDF5's newest structures."""
    file = io.BytesIO()
    with h5py.File(io.BytesIO(whole)) as old, h5py.File(file, "w", libver="latest") as new:
        for name in old:
            old.copy(name, new)
    return file.getvalue()


def same(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "graph.nir"


@pytest.fixture
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nir_file, "LIMITS", {**nir_file.LIMITS, "patience_s": 1})


def refused(path: Path, whole: bytes, read: Callable[[Path], object] = read_nir) -> str:
    path.write_bytes(whole)
    with pytest.raises(BadInput) as error:
        read(path)
    return checked(path, error.value)


def checked(path: Path, error: BadInput) -> str:
    message = str(error)
    assert message.startswith(f"{path}: ") and message.isprintable() and len(message) < 1500 + len(str(path))
    assert "Too many open files" not in message  # the child imports all it needs before it may open no more
    return message.removeprefix(f"{path}: ")


# --- what is right comes back ------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"compression": "lzf"}, {"compression": None}])
def test_every_primitive_is_read_as_nir_reads_it(file: Path, options: dict[str, Any]) -> None:
    file.write_bytes(written(graph_of(*WHOLE), **options))
    ours, theirs = read_nir(file), nir.read(file, type_check=False)
    assert ours.edges == theirs.edges and same(ours.metadata, theirs.metadata)
    assert list(ours.nodes) == list(theirs.nodes)
    for name, node in theirs.nodes.items():
        assert type(ours.nodes[name]) is type(node)
        assert same(ours.nodes[name].to_dict(), node.to_dict()), name
        assert same(ours.nodes[name].input_type, node.input_type), name
        assert same(ours.nodes[name].output_type, node.output_type), name


def test_other_ways_to_store_the_same(file: Path) -> None:
    """Newest structures of HDF5, big-endian numbers, edges of fixed-length strings, no edges, a filter of checksums."""
    file.write_bytes(latest(written(graph_of("lif"))))
    assert same(read_nir(file).to_dict(), nir.read(file).to_dict())

    def others(h5: h5py.File) -> None:
        lif = h5["node/nodes/lif"]
        del lif["tau"], lif["r"], h5["node/edges"], h5["node/metadata"]
        lif.create_dataset("tau", data=np.array([1, 2, 3], ">f4"), fletcher32=True, shuffle=True)
        lif["r"] = np.array([1, 2, 3], ">i2")
        h5["node/edges"] = np.array([[b"input", b"lif"], [b"lif", b"output"]])

    file.write_bytes(edited(written(graph_of("lif")), others))
    graph = read_nir(file)
    assert graph.edges == [("input", "lif"), ("lif", "output")] and graph.metadata == {}
    assert graph.nodes["lif"].tau.tolist() == graph.nodes["lif"].r.tolist() == [1, 2, 3]
    file.write_bytes(written(nir.NIRGraph({}, [], type_check=False)))
    assert read_nir(file).nodes == {} and read_nir(file).edges == []


def test_a_shape_that_nir_would_need_is_left_open(file: Path) -> None:
    def without(h5: h5py.File) -> None:
        del h5["node/nodes/conv2d/input_shape"], h5["node/nodes/flatten/input_type"]

    file.write_bytes(edited(written(graph_of("conv2d", "flatten")), without))
    inner = read_nir(file).nodes
    assert inner["conv2d"].input_shape is None and inner["flatten"].input_type == {"input": None}


def test_inner_graphs_are_left_as_they_are(file: Path) -> None:
    """`nir.read` gives inner graphs the nodes that it thinks they miss."""
    bare = nir.NIRGraph({"a": nodes()["lif"]}, [("a", "a")], type_check=False)
    file.write_bytes(written(nir.NIRGraph({"bare": bare}, [], type_check=False)))
    assert list(read_nir(file).nodes["bare"].nodes) == ["a"]


def test_strings_of_many_blocks(file: Path) -> None:
    edges = [(f"node {i}", "ü") for i in range(5000)]
    file.write_bytes(written(nir.NIRGraph({}, edges, type_check=False)))
    assert read_nir(file).edges == edges


def recordings() -> nir.NIRGraphData:
    spikes = np.random.default_rng(0).random((2, 5, 3)) < 0.5
    times = np.array([[0.1, np.inf]])
    return nir.NIRGraphData(
        {
            "a": nir.NIRNodeData(
                {
                    "spikes": nir.TimeGriddedData(spikes, 1e-3),
                    "v": nir.TimeGriddedData(spikes.astype(np.float32), 1e-3),
                }
            ),
            "b": nir.NIRNodeData(
                {
                    "spikes": nir.EventData(np.array([[2, -1]]), times, 3, 0.5),
                    "graded": nir.ValuedEventData(np.array([[2, -1]]), times, 3, 0.5, np.array([[7.0, 0.0]])),
                }
            ),
        }
    )


def plain(data: object) -> object:
    if isinstance(data, nir.NIRGraphData | nir.NIRNodeData):
        return {key: plain(value) for key, value in next(iter(vars(data).values())).items()}
    return {"type": type(data).__name__, **vars(data)}


def test_recordings_are_read_as_nir_reads_them(file: Path) -> None:
    nir.write_data(file, recordings())
    assert same(plain(read_nir_data(file)), plain(nir.read_data(file)))

    def nest(h5: h5py.File) -> None:  # nir 1.0.8 cannot write them, but reads them
        h5.create_group("nodes/inner/nodes")
        h5["nodes/inner"].attrs["__type__"] = "NIRGraphData"
        h5["nodes/inner/nodes/a"] = h5["nodes/a"]

    file.write_bytes(edited(file.read_bytes(), nest))
    ours = read_nir_data(file)
    assert same(plain(ours), plain(nir.read_data(file)))
    assert same(plain(ours.nodes["inner"].nodes["a"]), plain(ours.nodes["a"]))


# --- what is wrong -----------------------------------------------------------------------------------------------


def put(path: str, value: Any = None, **options: Any) -> Callable[[h5py.File], None]:
    """Put a dataset where something else stood."""

    def edit(h5: h5py.File) -> None:
        if path in h5:
            del h5[path]
        h5.create_dataset(path, data=value, **options)

    return edit


def group(path: str, **members: Any) -> Callable[[h5py.File], None]:
    def edit(h5: h5py.File) -> None:
        if path in h5:
            del h5[path]
        h5.create_group(path)
        for name, value in members.items():
            h5[path][name] = value

    return edit


def drop(path: str) -> Callable[[h5py.File], None]:
    return lambda h5: h5.pop(path)


def name_bytes(raw: bytes) -> Callable[[h5py.File], None]:
    return lambda h5: h5["node/nodes"].id.link(b"/version", raw, h5py.h5g.LINK_HARD)


def deep(h5: h5py.File) -> None:
    at = h5["node"]
    for _ in range(1000):
        at = at.create_group("nodes/n") if "n" not in at.get("nodes", {}) else at["nodes/n"]
        at["type"] = "NIRGraph"


def virtual(h5: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("other.h5", "x", (3,))
    del h5["node/nodes/lif/tau"]
    h5.create_virtual_dataset("node/nodes/lif/tau", layout)


def unknown_filter(h5: h5py.File) -> None:
    del h5["node/nodes/lif/tau"]
    how = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    how.set_chunk((3,))
    how.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
    h5py.h5d.create(h5["node/nodes/lif"].id, b"tau", h5py.h5t.IEEE_F64LE, h5py.h5s.create_simple((3,)), how)


def wide_edges(h5: h5py.File) -> None:
    put("node/edges", shape=(2, 2**19), dtype=h5py.string_dtype(), chunks=(1, 1024))(h5)


LIF = "node/nodes/lif"
WRONG: list[tuple[Callable[[h5py.File], object], str]] = [
    (drop("version"), "its version is missing, expected one such as '1.0.8'"),
    (put("version", "one"), "its version is 'one'"),
    (put("version", 1.0), "its version is 1.0"),
    (put("version", "99.1"), "is of NIR version 99.1; the nir installed here reads up to"),
    (put("version", b"\xff\xfe"), "'version' holds b'\\xff\\xfe'; strings are UTF-8"),
    (put("version", np.array(b"\xff", "S2")), "'version' holds b'\\xff'; strings are UTF-8"),
    (drop("node"), "it has no group 'node'"),
    (put("node", 1), "it has no group 'node'"),
    (put("node/type", "LIF"), "'node' has the type 'LIF', not 'NIRGraph'"),
    (drop("node/nodes"), "the graph has no group 'nodes'"),
    (drop("node/edges"), "the graph: edges are missing"),
    (group("node/edges"), "the graph: edges are a group"),
    (put("node/edges", [["a", "b", "c"]]), "the graph: edges have shape [1, 3] of strings; pairs [n, 2] of names"),
    (put("node/edges", [[1, 2]]), "the graph: edges have shape [1, 2] of int64"),
    (put("node/edges", np.array([[b"\xff", b"b"]])), "the graph: edges hold b'\\xff'; names are UTF-8"),
    (put("node/metadata", 3), "the graph: metadata is 3; a group is wanted"),
    (put("node/extra", 3), "the graph: nothing of a graph is called 'extra'"),
    (put("node/type_check", True), "nothing of a graph is called 'type_check'"),
    (put(LIF, 3), "node 'lif' is 3; a group is wanted"),
    (drop(f"{LIF}/type"), "node 'lif': its type is missing (HDF5 takes a '/' in a node's name for a group)"),
    (put(f"{LIF}/type", "Izhikevich"), "node 'lif': its type is 'Izhikevich'; nir 1.0.8 has Conv1d, Conv2d,"),
    (put(f"{LIF}/type", "NIRNode"), "node 'lif': its type is 'NIRNode'"),
    (put(f"{LIF}/type", [1.0] * 500), "node 'lif': its type is an array of float64 of shape [500]; nir"),
    (drop(f"{LIF}/tau"), "node 'lif' (LIF) has no tau"),
    (put(f"{LIF}/extra", 3), "node 'lif' (LIF): no field is called 'extra'; it has tau, r, v_leak,"),
    (group(f"{LIF}/tau"), "node 'lif' (LIF): tau is a group; numbers are wanted"),
    (put(f"{LIF}/tau", "long"), "node 'lif' (LIF): tau is 'long'; numbers are wanted"),
    (put(f"{LIF}/tau", ["a"] * 3), "tau is an array of strings of shape [3]; numbers are wanted"),
    (put(f"{LIF}/tau", [1.0, 1.0]), "node 'lif' (LIF): All parameters must have the same shape"),
    (put(f"{LIF}/tau", [1j]), "'node/nodes/lif/tau' holds neither numbers nor strings (HDF5 type class 6)"),
    (put(f"{LIF}/tau", np.zeros(3, "V8")), "'node/nodes/lif/tau' holds neither numbers nor strings"),
    (put(f"{LIF}/tau", np.zeros(3, "f8,i4")), "'node/nodes/lif/tau' holds neither numbers nor strings"),
    (put(f"{LIF}/tau", dtype=h5py.ref_dtype, shape=(3,)), "'node/nodes/lif/tau' holds neither numbers nor strings"),
    (
        put(f"{LIF}/tau", dtype=h5py.vlen_dtype(float), shape=(3,)),
        "'node/nodes/lif/tau' holds neither numbers nor strings",
    ),
    (put(f"{LIF}/tau", h5py.Empty("f8")), "'node/nodes/lif/tau' has no value"),
    (put("node/nodes/conv2d/stride", [0, 0]), "node 'conv2d' (Conv2d): cannot convert float infinity to integer"),
    (put("node/nodes/conv2d/stride", np.ones(2**20, "u1"), compression=9), "stride has 1048576 numbers, expected one"),
    (put("node/nodes/conv2d/padding", "wide"), "node 'conv2d' (Conv2d): padding must be 'same', 'valid', or int"),
    (put("node/nodes/cuba_lif/w_in", [[1.0], [2.0]]), "w_in has shape [2, 1], the neurons have [3]"),
    (group("node/nodes/a", b=1), "node 'a': its type is missing (HDF5 takes a '/'"),
    (deep, "groups are nested more than 100 deep at 'node/nodes/n/nodes/n"),
    (lambda h5: h5["node/nodes"].__setitem__("loop", h5["node"]), "'node/nodes/loop' is a group that holds itself"),
    (
        lambda h5: h5["node"].__setitem__("soft", h5py.SoftLink("/node")),
        "'node/soft' is a soft link; the data itself is",
    ),
    (
        lambda h5: h5["node"].__setitem__("away", h5py.ExternalLink("/etc/passwd", "/x")),
        "'node/away' is a link to another file",
    ),
    (lambda h5: h5["node"].__setitem__("named", np.dtype("f8")), "'node/named' is a datatype"),
    (
        put("node/x", shape=(3,), dtype="u1", external=[("/etc/passwd", 0, 3)]),
        "'node/x' keeps its data in other files or datasets",
    ),
    (virtual, "'node/nodes/lif/tau' keeps its data in other files or datasets"),
    (unknown_filter, "'node/nodes/lif/tau' is stored with filter 32015"),
    (put("node/x", np.ones(9), scaleoffset=1), "'node/x' is stored with filter 6"),
    (put("node/x", shape=(2**40, 2**20), dtype="f8", chunks=(1, 1)), "'node/x' it declares 92233720368547"),
    (put("node/x", shape=(2**28,), dtype="u1", chunks=(2**10,)), "declares 268435456 bytes (shape [268435456]), and"),
    (put("node/x", shape=(1,), maxshape=(None,), dtype="f8", chunks=(2**28 + 1,)), "'node/x' it declares 2147483656"),
    (put("node/x", shape=(2**30,), dtype=h5py.string_dtype(), chunks=(2**10,)), "declares strings of shape"),
    (wide_edges, "'node/edges' declares strings of shape [2, 524288]"),
    (name_bytes(b"\xff\xfe"), "'node/nodes' has a member called b'\\xff\\xfe'; names are UTF-8"),
]


@pytest.mark.parametrize(("edit", "message"), WRONG, ids=range(len(WRONG)))
def test_wrong_content_is_named(forks: Forks, file: Path, edit: Callable[[h5py.File], object], message: str) -> None:
    whole = edited(written(graph_of("lif", "conv2d", "cuba_lif")), edit)
    assert message in refused(file, whole)


def test_names_that_hdf5_takes_for_paths(forks: Forks, file: Path) -> None:
    """HDF5 would follow them to wherever links lead; its own writer never writes them."""
    whole = written(graph_of("lif"))
    for old, new, message in (
        (b"tau\0", b"t/u\0", "'node/nodes/lif' has a member called 't/u', which is no name"),
        (b"r\0", b".\0", "'node/nodes/lif' has a member called '.', which is no name"),
        (b"v_reset\0", b"v\0reset\0", "'node/nodes/lif/v': \"Unable to synchronously open object"),
    ):
        assert message in refused(file, whole.replace(old, new))


def test_wrong_recordings_are_named(forks: Forks, file: Path) -> None:
    nir.write_data(file, recordings())
    whole = file.read_bytes()

    def attribute(path: str, name: str, value: Any) -> Callable[[h5py.File], None]:
        return lambda h5: h5[path].attrs.__setitem__(name, value)

    v, spikes = "nodes/a/observables/v", "nodes/b/observables/spikes"
    for edit, message in (
        (attribute("/", "__type__", "Data"), "its __type__ is 'Data', not 'NIRGraphData'"),
        (attribute("nodes/a", "__type__", "X"), "'a': its __type__ is 'X', not one of NIRNodeData, NIRGraphData"),
        (attribute(v, "__type__", 3), "'a/v': its __type__ is 3, not one of TimeGriddedData"),
        (attribute(v, "dt", "soon"), "'a/v': attribute dt is 'soon'; a finite number is wanted"),
        (attribute(v, "dt", np.nan), "'a/v': attribute dt is nan; a finite number"),
        (attribute(v, "dt", [1.0, 2.0]), "'nodes/a/observables/v@dt' is not one value"),
        (attribute(v, "dt", 1j), "'nodes/a/observables/v@dt' holds neither numbers nor strings"),
        (attribute(v, "__type__", b"\xff"), "'nodes/a/observables/v@__type__' holds b'\\xff'; strings are UTF-8"),
        (attribute(spikes, "n_neurons", 2.5), "'b/spikes': n_neurons is 2.5, not a whole number"),
        (drop(f"{v}/data"), "'a/v': data is missing; an array of numbers is wanted"),
        (put(f"{v}/data", [1.0]), "'a/v': Data must be of shape (n_samples, n_time_steps, n_neurons)"),
        (put(f"{spikes}/idx", [1]), "'b/spikes': idx and time must have the same shape"),
        (put(f"{spikes}/idx", "a"), "'b/spikes': idx is 'a'; an array"),
        (drop("nodes/a/observables"), "node 'a' has no group 'observables'"),
        (drop("nodes"), "it has no group 'nodes'"),
        (put("nodes/c", 1), "'c': its __type__ is missing"),
    ):
        assert message in refused(file, edited(whole, edit), read_nir_data)
    assert "damaged, or not a NIR data file" in refused(file, written(graph_of("lif")), read_nir_data)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path, message in (
        (tmp_path / "none.nir", "cannot be read: No such file"),
        (tmp_path, "cannot be read: "),
        (Path("a\0b"), "expected a path"),
    ):
        with pytest.raises(BadInput, match=message):
            read_nir(path)


@posix
def test_a_pipe_is_not_waited_for(file: Path) -> None:
    os.mkfifo(file)
    with pytest.raises(BadInput, match="not a regular file"):
        read_nir(file)


def test_files_cut_short(forks: Forks, file: Path) -> None:
    whole = written(graph_of("lif"))
    for length in (0, 1, 8, 100, 1000, len(whole) // 2, len(whole) - 1):
        assert "damaged, or not a NIR file" in refused(file, whole[:length])


# --- HDF5 at its worst -------------------------------------------------------------------------------------------


def test_a_file_that_hdf5_never_comes_back_from(in_a_hurry: None, file: Path) -> None:
    """An object of HDF5's global heap with a size of 1: it looks for the next one at the same place for ever."""
    message = refused(file, (HOSTILE / "unaligned_heap.nir").read_bytes())
    assert message == "HDF5 does not come back from reading it (1 s); the file is damaged"


def bomb(size: int) -> bytes:
    """A chunk that says it holds 24 bytes, and holds `size` of them."""

    def edit(h5: h5py.File) -> None:
        del h5["node/nodes/lif/tau"]
        tau = h5["node/nodes/lif"].create_dataset("tau", (3,), "f8", chunks=(3,), compression="gzip")
        tau.id.write_direct_chunk((0,), zlib.compress(bytes(size), 1))

    return edited(written(graph_of("lif")), edit)


@posix
def test_memory_is_bounded(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nir_file, "LIMITS", {**nir_file.LIMITS, "memory_bytes": 2**28})
    assert "'node/nodes/lif/tau': " in refused(file, bomb(2**29))


@posix
def test_the_child_can_open_no_file(tmp_path: Path) -> None:
    spec = json.dumps({"folders": nir_file.hdf5_folders()})
    code = (
        "import sys, json, os, runpy; module = runpy.run_path(sys.argv[2], run_name='worker');"
        "limits = dict(memory_bytes=2**30, patience_s=9, bytes_per_s=1e6); module['bound'](limits, 0, 0);"
        "open(os.devnull)"
    )
    command = [sys.executable, "-I", "-c", code, spec, str(nir_file._WORKER)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "Too many open files" in done.stderr


READY = "print('\"ready\"', flush=True);"


@posix
@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        (f"{READY} import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", BadInput, r"crashes on it \(SIGSEGV\)"),
        (f"{READY} import time; time.sleep(60)", BadInput, "HDF5 does not come back from reading it"),
        (f"{READY} print('{{')", Failed, "the process that reads it breaks off"),
        (f"{READY} print('null')", Failed, "the process that reads it breaks off"),
        (f"{READY} print('[' * 100000)", Failed, "the process that reads it breaks off"),
        (f"{READY} raise SystemExit(3)", Failed, r"the process that reads it breaks off \(exit status 3\)"),
        ("raise SystemExit(3)", Failed, r"the process that is to read it does not start \(exit status 3\)"),
        ("import time; time.sleep(60)", Failed, "the process that is to read it does not start in 0.5 s"),
        (
            f'{READY} print(\'{{"members": {{"node": {{"dtype": "<f8", "shape": [99999999999]}}}}}}\');'
            "print('\"numbers\"')",
            Failed,
            "the process that reads it breaks off",
        ),
        (
            f'{READY} print(\'{{"members": {{"node": {{"dtype": "O", "shape": []}}}}}}\');print(\'"numbers"\')',
            Failed,
            "the process that reads it breaks off",
        ),
    ],
)
def test_a_child_that_crashes_stops_or_lies(
    in_a_hurry: None,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    code: str,
    kind: type[Exception],
    message: str,
) -> None:
    (tmp_path / "worker.py").write_text(code)
    (tmp_path / "graph.nir").write_bytes(b"")
    monkeypatch.setattr(nir_file, "_WORKER", tmp_path / "worker.py")
    monkeypatch.setattr(nir_file, "START_S", 0.5 if "sleep" in code and READY not in code else 60.0)
    with pytest.raises(kind, match=message):
        read_nir(tmp_path / "graph.nir")


@posix
@pytest.mark.nightly
def test_a_slow_child_that_gives_signs_of_life_is_waited_for(monkeypatch: pytest.MonkeyPatch, file: Path) -> None:
    walking = "import time; [(time.sleep(2), print('\"walking\"', flush=True)) for _ in range(4)];"
    worker = file.with_name("worker.py")
    worker.write_text(f'{READY} {walking} print(\'{{"error": "as far as this"}}\')')
    monkeypatch.setattr(nir_file, "_WORKER", worker)
    monkeypatch.setattr(nir_file, "LIMITS", {**nir_file.LIMITS, "patience_s": 5})
    assert refused(file, b"") == "damaged, or not a NIR file: as far as this"


# --- fuzzing -----------------------------------------------------------------------------------------------------


class Forks:
    """Stands in for `nir_file._worker`: the same code in forks of one process, since a fresh Python takes 0.1 s."""

    def __init__(self) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-I", "-S", str(HOSTILE / "fork_server.py")]
        arguments = [str(theirs.fileno()), str(nir_file._WORKER), json.dumps(nir_file.hdf5_folders())]
        environment = os.environ | {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            command + arguments, pass_fds=[theirs.fileno()], env=environment, stderr=subprocess.DEVNULL
        )
        theirs.close()

    def close(self) -> None:
        self.channel.close()
        self.server.wait()

    @contextlib.contextmanager
    def worker(self, file: IO[bytes], request: Mapping[str, Any]) -> Iterator[Fork]:
        mine, its = os.pipe()
        with open(mine, "rb") as stdout:  # noqa: PTH123
            socket.send_fds(self.channel, [json.dumps(request).encode()], [file.fileno(), its])
            os.close(its)
            fork = Fork(self.channel, stdout)
            try:
                yield fork
            finally:
                fork.kill()
                fork.wait()


class Fork:
    """What `nir_file` uses of a `Popen`."""

    def __init__(self, channel: socket.socket, stdout: IO[bytes]) -> None:
        self.channel = channel
        self.stdout = stdout
        self.pid = int(channel.recv(64))
        self.status: int | None = None

    def kill(self) -> None:
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):  # it has ended, and the server knows
                os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self.status is None:
            self.status = int(self.channel.recv(64))
        return self.status


@pytest.fixture(scope="module")
def server() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.close()


@pytest.fixture
def forks(server: Forks, monkeypatch: pytest.MonkeyPatch) -> Forks:
    if os.name == "posix":
        monkeypatch.setattr(nir_file, "_worker", server.worker)
    return server


def outcome(path: Path, whole: bytes) -> nir.NIRGraph | str:
    """A graph, or an error in one line; whatever else happens fails the test."""
    path.write_bytes(whole)
    try:
        graph = read_nir(path)
    except BadInput as error:
        return checked(path, error)
    assert isinstance(graph, nir.NIRGraph)
    return graph


BASES = [
    written(graph_of(*WHOLE)),
    written(graph_of("lif", "conv2d")),
    written(graph_of("affine", "delay"), compression=None),
    latest(written(graph_of("linear", "inner"))),
]
HOT = [[i for i, byte in enumerate(base) if byte] for base in BASES]
U32 = st.integers(0, 2**32 - 1)


Edits = tuple[int, list[tuple[int, int, int, int]]]
"""Number of a base, and what is done to it: how, where, with what and n, each taken modulo what there is."""


def edits(n_hows: int) -> st.SearchStrategy[Edits]:
    return st.tuples(
        st.integers(0, 3), st.lists(st.tuples(st.integers(0, n_hows - 1), U32, U32, U32), min_size=1, max_size=6)
    )


def damaged(case: Edits) -> bytes:
    """A base with bytes set, flipped, copied over, set to what lengths and addresses fear, or cut off."""
    base, hot = BASES[case[0]], HOT[case[0]]
    whole = bytearray(base)
    for how, where, what, n in case[1]:
        at = hot[where % len(hot)] if n % 4 else where % len(base)  # most bytes mean nothing, and are 0
        if how <= 2:
            whole[at : at + 1] = bytes([what % 256])
        elif how <= 4:
            whole[at : at + 1] = bytes([base[at] ^ 1 << what % 8])
        elif how == 5:
            whole[at : at + 8] = base[what % len(base) :][:8]
        elif how == 6:
            other = BASES[n % len(BASES)]
            whole[at : at + 64] = other[what % len(other) :][:64]
        elif how == 7:
            words = [0, 1, 2**64 - 1, 2**63, 2**31, at, what % len(base), len(base)]
            whole[at : at + 8] = words[n % len(words)].to_bytes(8, "little")
        elif n % 4 == 0:
            del whole[at:]
    return bytes(whole)


def random_dataset(h5: h5py.File, at: str, what: int, n: int) -> None:
    """A dataset of nearly any type and shape."""
    shape: Sequence[int] = [(), (0,), (1,), (2,), (3,), (1, 3), (3, 1), (2, 2), (1, 1, 1), (65,)][n % 10]
    kinds: list[Callable[[], Any]] = [
        lambda: np.zeros(shape),
        lambda: np.full(shape, np.nan, "f4"),
        lambda: np.full(shape, -1, ">i8"),
        lambda: np.full(shape, 2**64 - 1, "u8"),
        lambda: np.ones(shape, bool),
        lambda: np.ones(shape, "f2"),
        lambda: np.full(shape, "x", h5py.string_dtype()),
        lambda: np.full(shape, b"\xff", "S2"),
        lambda: np.full(shape, 1j),
        lambda: np.zeros(shape, "V3"),
        lambda: np.full(shape, 2**62, "i8"),
    ]
    h5[at] = kinds[what % len(kinds)]()


STRINGS = ["LIF", "NIRGraph", "Input", "Flatten", "Conv2d", "CubaLI", "SumPool2d", "", "lif", "é\n", "x" * 5000, "same"]
NAMES = ["tau", "weight", "type", "nodes", "edges", "metadata", "shape", "..", "é\n", " ", "x" * 3000, "w_in"]


def rebuilt(case: Edits) -> bytes:
    """A base whose groups, datasets and links are moved, replaced and made up."""

    def edit(h5: h5py.File) -> None:
        for how, where, what, n in case[1]:
            paths: list[str] = []
            h5.visit(paths.append)
            if not paths:
                return
            path, other = paths[where % len(paths)], paths[what % len(paths)]
            fresh = f"{h5[path].parent.name}/{NAMES[n % len(NAMES)]}"
            if how < 3 and h5.get(fresh, getlink=True) is None:
                if how == 0:
                    h5[fresh] = h5[other]  # another name for the same, or a cycle
                elif how == 1:
                    random_dataset(h5, fresh, what, n)
                else:
                    links = [h5py.SoftLink(other), h5py.SoftLink("/nowhere"), h5py.ExternalLink("x.h5", "/")]
                    h5[fresh] = links[what % 3]
            elif how == 3:
                h5[path].attrs["x"] = np.zeros(what % 1000)
            elif how >= 4:
                del h5[path]
                if how == 4:
                    h5.create_dataset(path, shape=(n + 999, what + 999), dtype="f8", chunks=(1 + n % 999, 99))
                elif how == 5:
                    h5.create_group(path)
                elif how == 6:
                    h5[path] = STRINGS[what % len(STRINGS)]
                elif how == 7:
                    h5[path] = np.full((n % 4, what % 4), STRINGS[n % len(STRINGS)], h5py.string_dtype())
                elif how == 8:
                    random_dataset(h5, path, what, n)

    return edited(BASES[case[0]], edit)


short = settings(max_examples=50, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
long = settings(max_examples=2000, suppress_health_check=list(HealthCheck))


@posix
@short
@given(case=edits(9))
def test_damaged_files_are_read_or_refused(forks: Forks, in_a_hurry: None, file: Path, case: Edits) -> None:
    outcome(file, damaged(case))


@posix
@short
@given(case=edits(10))
def test_rebuilt_files_are_read_or_refused(forks: Forks, in_a_hurry: None, file: Path, case: Edits) -> None:
    outcome(file, rebuilt(case))


@posix
@pytest.mark.nightly
@long
@given(case=edits(9))
def test_many_damaged_files(forks: Forks, in_a_hurry: None, file: Path, case: Edits) -> None:
    outcome(file, damaged(case))


@posix
@pytest.mark.nightly
@long
@given(case=edits(10))
def test_many_rebuilt_files(forks: Forks, in_a_hurry: None, file: Path, case: Edits) -> None:
    outcome(file, rebuilt(case))
