"""Read NIR files (HDF5) that may come from anywhere.

HDF5's C library hangs on damaged files, crashes, or allocates whatever they ask for. So a child process
(`file_worker.py`), with bounds on its memory, processor time and files, does all that HDF5 does. It passes on plain
arrays and strings. This side checks these again, rebuilds the graph with nir's own classes, and never sees HDF5.

Windows has no `resource` module, so two bounds on the child remain there: what a file may declare, which is checked
before anything is read, and the clock that kills the child. If a file lies about how large its compressed chunks are,
the child's memory is not bounded on Windows.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import math
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import nir
import numpy as np
import numpy.typing as npt

from muspike.arguments import path as path_of
from muspike.errors import BadInput, Failed, MuspikeError, one_line
from muspike.hardware.kinds import PROGRAM, Kind, named
from muspike.hardware.reader.neurons import NEURONS

LIMITS: Mapping[str, int | float] = {
    "bytes": 2**31,  # in all arrays together
    "text_bytes": 2**26,  # in all names and strings together
    "strings": 2 * 10**6,  # of variable length; an edge has two
    "objects": 10**6,  # groups and datasets
    "depth": 100,  # of groups within groups; a nested graph adds two
    "expansion": 8192,  # bytes of an array per byte in the file; gzip reaches 1032, szip less than 8192
    "memory_bytes": 2**29,  # of the child, on top of what the file holds
    "patience_s": 10,  # how long the child may give no sign of life,
    "bytes_per_s": 4e6,  # plus a second for each 4 MB in the file and in its arrays
}
START_S = 60.0
"""How long the child may take to start, before it counts as not starting. NumPy may come from a slow disk."""

_WORKER = Path(__file__).with_name("file_worker.py")
_DTYPE = re.compile(r"[<>|]([biuf][1248]|S[0-9]{1,9})")
_GEOMETRY = {
    *("shape", "input_shape", "input_type", "kernel_size", "stride", "padding", "dilation"),
    *("groups", "start_dim", "end_dim"),
}
_MOST_AXES = 64
"""The most numbers in a shape. nir makes a Python object of each number, so a longer list is refused."""

# The names of dataclass fields in files, and so in `from_dict`, for the classes where they differ.
_STORED_AS: Mapping[str, Mapping[str, str]] = {
    "Input": {"input_type": "shape"},
    "Output": {"output_type": "shape"},
}
_NODES: Mapping[str, type[nir.NIRNode]] = {
    name: kind
    for name, kind in vars(nir.ir).items()
    if name in nir.ir.__all__ and isinstance(kind, type) and issubclass(kind, nir.NIRNode) and kind is not nir.NIRNode
}

Tree = dict[str, Any]
"""A group of an HDF5 file: arrays, numbers, strings and groups by name.

If its attributes were read, they are under `_ATTRIBUTES`.
"""
_ATTRIBUTES = "/"  # HDF5 allows no member of this name


def read_nir(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read the graph in the NIR file (HDF5) at `path`.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import read_nir
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> nir.write("network.nir", graph)
    >>> sorted(read_nir("network.nir").nodes)
    ['if', 'input', 'linear', 'output']

    The graph is what `nir.read` gives without checking types, neither here nor in nested graphs. `from_nir` checks the
    shapes. Whatever the file holds, reading takes no more time and memory than `LIMITS` says.

    Raises:
        BadInput: there is no such file; the file is no NIR file, is damaged, is beyond `LIMITS`, or has a version that
            the installed `nir` does not know.
        Failed: a process for reading cannot be started, or breaks off.
    """
    path = path_of("read_nir: path", path)
    with naming(path):
        tree = read_hdf5(path, members=["version", "node"])
        _check_version(tree.get("version"))
        node = tree.get("node")
        if not isinstance(node, dict):
            raise BadInput("it has no group 'node', which holds the graph")
        if _type(node) != "NIRGraph":
            raise BadInput(f"'node' has the type {kind_of(node.get('type'))}, not 'NIRGraph'")
        return _graph("", node)


def read_nir_data(path: str | os.PathLike[str]) -> nir.NIRGraphData:
    """Read the recordings in the NIR data file (HDF5) at `path`: what `nir.read_data` gives, with nested graphs.

    Raises:
        BadInput, Failed: as `read_nir`.
    """
    with naming(path, "NIR data"):
        root = read_hdf5(path, attributes=["__type__", "dt", "n_neurons", "t_max"])
        if root[_ATTRIBUTES].get("__type__") != "NIRGraphData":
            raise BadInput(f"its __type__ is {kind_of(root[_ATTRIBUTES].get('__type__'))}, not 'NIRGraphData'")
        return _graph_data("", root)


class _Unfit(BadInput):
    """A BadInput whose message needs no addition: it says itself what is wrong with the whole file."""


@contextlib.contextmanager
def naming(path: str | os.PathLike[str], what: str = "NIR", but: Kind | None = None) -> Iterator[None]:
    """Let every error inside name the file, and what it is if it is of a known kind, except the kind `but`."""
    try:
        yield
    except _Unfit as error:
        raise BadInput(named(path, one_line(error))) from error
    except BadInput as error:
        raise BadInput(named(path, f"damaged, or not a {what} file: {one_line(error)}", PROGRAM, but=but)) from error
    except Failed as error:
        raise Failed(f"{os.fspath(path)}: {error}") from error
    except MemoryError as error:
        raise BadInput(f"{os.fspath(path)}: what it holds does not fit the memory") from error


# --- a graph of the arrays ---------------------------------------------------------------------------------------


def _check_version(version: object) -> None:
    major = re.match(r"(\d{1,9})(\.|$)", version) if isinstance(version, str) else None
    if major is None:
        raise BadInput(f"its version is {kind_of(version)}, expected one such as {nir.version!r}")
    if int(major[1]) > int(nir.version.split(".")[0]):
        raise _Unfit(f"is of NIR version {version}; the nir installed here reads up to {nir.version}")


def _graph(name: str, data: Tree) -> nir.NIRGraph:
    where = f"node {name!r} (NIRGraph)" if name else "the graph"
    nodes, edges = data.get("nodes"), data.get("edges")
    odd = sorted(data.keys() - {"type", "nodes", "edges", "metadata"})
    if odd:
        raise BadInput(f"{where}: nothing of a graph is called {odd[0]!r}; it has nodes, edges and metadata")
    if not isinstance(nodes, dict):
        raise BadInput(f"{where} has no group 'nodes'")
    inner = {key: _node(f"{name}/{key}".lstrip("/"), node) for key, node in nodes.items()}
    return _made(where, nir.NIRGraph, inner, _edges(where, edges), metadata=_metadata(where, data), type_check=False)


def _edges(where: str, edges: object) -> list[tuple[str, str]]:
    if not isinstance(edges, np.ndarray):
        raise BadInput(f"{where}: edges are {kind_of(edges)}; pairs of names of nodes are wanted")
    if edges.size == 0:
        return []
    if edges.ndim != 2 or edges.shape[1] != 2 or edges.dtype.kind not in "OS":
        text = "strings" if edges.dtype.kind in "OS" else edges.dtype
        raise BadInput(f"{where}: edges have shape {list(edges.shape)} of {text}; pairs [n, 2] of names are wanted")
    try:
        return [(source.decode(), target.decode()) for source, target in edges.tolist()]
    except UnicodeDecodeError as error:
        raise BadInput(f"{where}: edges hold {error.object!r}; names are UTF-8") from error


def _metadata(where: str, data: Tree) -> Tree:
    metadata = data.get("metadata", {})
    if not isinstance(metadata, dict):
        raise BadInput(f"{where}: metadata is {kind_of(metadata)}; a group is wanted")
    return metadata


def _type(data: Tree) -> str | None:
    kind = data.get("type")
    return kind if isinstance(kind, str) else None


def _node(name: str, data: object) -> nir.NIRNode:
    if not isinstance(data, dict):
        raise BadInput(f"node {name!r} is {kind_of(data)}; a group is wanted")
    kind = _type(data)
    if kind == "NIRGraph":
        return _graph(name, data)
    if kind is None or kind not in _NODES:
        hint = "" if "type" in data else " (HDF5 takes a '/' in a node's name for a group)"
        raise BadInput(
            f"node {name!r}: its type is {kind_of(data.get('type'))}{hint}; nir {nir.version} has {', '.join(_NODES)}"
        )
    where = f"node {name!r} ({kind})"
    _metadata(where, data)
    required, optional = _fields(_NODES[kind])
    for field in sorted(data.keys() - {"type", "metadata", *required, *optional}):
        raise BadInput(f"{where}: no field is called {field!r}; it has {', '.join(required + optional)}")
    for field in required:
        if field not in data:
            raise BadInput(f"{where} has no {field}")
    for field in data.keys() & {*required, *optional}:
        _check_field(where, field, data[field])
    if _NODES[kind] in NEURONS and kind != "Input":
        data = data | _spread_singles({field: data[field] for field in required + optional if field in data})
    if "w_in" in data and "v_leak" in data:
        _check_spreads(where, np.shape(data["w_in"]), np.shape(data["v_leak"]))
    if "input_shape" in optional:
        data = {"input_shape": None} | data  # `from_nir` takes the shape of what comes before
    return _made(where, nir.dict2NIRNode, data)


def _fields(kind: type[nir.NIRNode]) -> tuple[list[str], list[str]]:
    """The names of the fields that a file must have, and of the fields that it may have."""
    stored = _STORED_AS.get(kind.__name__, {})
    required: list[str] = []
    optional: list[str] = []
    for field in dataclasses.fields(kind):
        if field.init and field.name != "metadata":
            given = field.default is not dataclasses.MISSING or field.name in ("input_shape", "input_type")
            name = stored.get(field.name, field.name)
            (optional if given and name == field.name else required).append(name)
    return required, optional


def _check_field(where: str, field: str, value: object) -> None:
    if field == "padding" and isinstance(value, str):
        return
    if not isinstance(value, np.ndarray | np.generic) or value.dtype.kind not in "biuf":
        raise BadInput(f"{where}: {field} is {kind_of(value)}; numbers are wanted")
    if field in _GEOMETRY and value.size > _MOST_AXES:
        raise BadInput(f"{where}: {field} has {value.size} numbers, expected one an axis")


def _spread_singles(parameters: Tree) -> Tree:
    """The parameters of neurons, with each one element spread over the shape of the others.

    nir's own classes refuse a number beside arrays, although it can only stand for all neurons.
    """
    shapes = {np.shape(value) for value in parameters.values()}
    whole = {shape for shape in shapes if math.prod(shape) != 1}
    if len(shapes) < 2 or len(whole) > 1:
        return parameters
    shape = whole.pop() if whole else max(shapes, key=len)
    return {
        field: np.broadcast_to(np.asarray(value).ravel(), math.prod(shape)).reshape(shape)
        if np.size(value) == 1
        else value
        for field, value in parameters.items()
    }


def _check_spreads(where: str, w_in: tuple[int, ...], neurons: tuple[int, ...]) -> None:
    # nir multiplies the two. For the shapes [n, 1] and [m], the product would have n m values.
    try:
        fits = np.broadcast_shapes(w_in, neurons) == neurons
    except ValueError:
        fits = False
    if not fits:
        raise BadInput(f"{where}: w_in has shape {list(w_in)}, the neurons have {list(neurons)}")


def kind_of(value: object) -> str:
    """What stands in a file in the place of what is wanted, in words."""
    if value is None:
        return "missing"
    if isinstance(value, dict):
        return "a group"
    if isinstance(value, np.ndarray):
        return f"an array of {'strings' if value.dtype.kind in 'OS' else value.dtype} of shape {list(value.shape)}"
    return repr(value.item() if isinstance(value, np.generic) else value)


def _made(where: str, make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call nir to make an object. nir raises nearly any exception; each becomes a BadInput that begins with `where`."""
    try:
        with np.errstate(all="ignore"):
            return make(*args, **options)
    except (BadInput, MemoryError):
        raise
    except Exception as error:
        raise BadInput(f"{where}: {error}") from error


# --- recordings --------------------------------------------------------------------------------------------------


def _graph_data(name: str, data: Tree) -> nir.NIRGraphData:
    readers = {"NIRNodeData": _node_data, "NIRGraphData": _graph_data}
    return nir.NIRGraphData(nodes=_by_type(f"node {name!r}" if name else "it", name, data, "nodes", readers))


def _node_data(name: str, data: Tree) -> nir.NIRNodeData:
    readers = {"TimeGriddedData": _gridded, "EventData": _events, "ValuedEventData": _events}
    return nir.NIRNodeData(observables=_by_type(f"node {name!r}", name, data, "observables", readers))


def _by_type(
    where: str, name: str, data: Tree, field: str, readers: Mapping[str, Callable[[str, Tree], Any]]
) -> dict[str, Any]:
    members = data.get(field)
    if not isinstance(members, dict):
        raise BadInput(f"{where} has no group {field!r}")
    read = {}
    for key, member in members.items():
        if key == _ATTRIBUTES:
            continue
        inner = f"{name}/{key}".lstrip("/")
        kind = member[_ATTRIBUTES].get("__type__") if isinstance(member, dict) else None
        if not isinstance(kind, str) or kind not in readers:
            raise BadInput(f"{inner!r}: its __type__ is {kind_of(kind)}, not one of {', '.join(readers)}")
        read[key] = readers[kind](inner, member)
    return read


def _gridded(name: str, data: Tree) -> nir.TimeGriddedData:
    return _made(repr(name), nir.TimeGriddedData, data=_recorded(name, data, "data"), dt=_number(name, data, "dt"))


def _events(name: str, data: Tree) -> nir.EventData:
    kind = getattr(nir, data[_ATTRIBUTES]["__type__"])
    arrays = {key: _recorded(name, data, key) for key in ("idx", "time", "value") if key in _names(kind)}
    neurons = _number(name, data, "n_neurons")
    if neurons != int(neurons):
        raise BadInput(f"{name!r}: n_neurons is {neurons}, not a whole number")
    return _made(repr(name), kind, **arrays, n_neurons=int(neurons), t_max=_number(name, data, "t_max"))


def _names(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _recorded(name: str, data: Tree, field: str) -> npt.NDArray[Any]:
    value = data.get(field)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
        raise BadInput(f"{name!r}: {field} is {kind_of(value)}; an array of numbers is wanted")
    return value


def _number(name: str, data: Tree, attribute: str) -> float:
    value = data[_ATTRIBUTES].get(attribute)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{name!r}: attribute {attribute} is {kind_of(value)}; a finite number is wanted")
    return value if attribute == "n_neurons" else float(value)


# --- the arrays of a file ----------------------------------------------------------------------------------------


def read_hdf5(
    path: str | os.PathLike[str], members: Sequence[str] | None = None, attributes: Sequence[str] = ()
) -> Tree:
    """Read an HDF5 file through a child process: all of it, or only the named `members` of its root group."""
    request = {"members": members, "attributes": attributes, "folders": hdf5_folders(), "limits": dict(LIMITS)}
    with _opened(path) as file, _worker(file, request) as process:
        clock = _Clock(process, START_S)
        content = _Content(process, clock, os.fstat(file.fileno()).st_size)
        try:
            return content.read(with_attributes=bool(attributes))
        except (EOFError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            process.stdout.close()  # type: ignore[union-attr]  # it is a pipe
            raise _why(process.wait(), clock, content.started) from error
        finally:
            clock.stopped.set()


def hdf5_folders() -> list[str]:
    """The folders that h5py and NumPy are imported from. The child has no `site`, so it looks nowhere else."""
    origins = [spec.origin for spec in map(importlib.util.find_spec, ("h5py", "numpy")) if spec and spec.origin]
    return sorted({str(Path(origin).parent.parent) for origin in origins})


@contextlib.contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    try:
        # Opening a pipe would wait until somebody writes to it.
        if not stat.S_ISREG(Path(path).stat().st_mode) and not Path(path).is_dir():
            raise _Unfit("cannot be read: not a regular file")
        file = Path(path).open("rb")  # noqa: SIM115  # errors in the block below are not errors of opening
    except (OSError, ValueError) as error:
        raise _Unfit(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    with file:
        yield file


@contextlib.contextmanager
def _worker(file: IO[bytes], request: Mapping[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    # HDF5 loads no filters from elsewhere, and NumPy starts no threads, which a few copies do not need.
    ours = {"HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"}
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HDF5_")} | ours
    command = [sys.executable, "-I", "-S", str(_WORKER), json.dumps(request)]
    try:
        process = subprocess.Popen(
            command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
    except OSError as error:
        raise Failed(f"no process can be started to read it: {error.strerror}") from error
    with process:
        try:
            yield process
        finally:
            process.kill()


class _Clock(threading.Thread):
    """Kills a process that gives no sign of life for `limit_s` seconds.

    Attributes:
        over: whether the process was killed.
        heard_s: when the last sign of life came.
        stopped: set when nobody waits for the process any more.
    """

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float) -> None:
        super().__init__(daemon=True)
        self.process = process
        self.limit_s = limit_s
        self.over = False
        self.heard_s = time.monotonic()
        self.stopped = threading.Event()
        self.start()

    def run(self) -> None:
        """Wait until the limit has passed, then kill the process; return early if nobody waits for it any more."""
        while (left_s := self.heard_s + self.limit_s - time.monotonic()) > 0:
            if self.stopped.wait(min(left_s, 0.5)):  # not longer, because the limit can become shorter
                return
        self.over = True
        self.process.kill()

    def alive(self, limit_s: float | None = None) -> None:
        """Note a sign of life, and the limit from now on; None: the limit stays."""
        self.heard_s = time.monotonic()
        self.limit_s = self.limit_s if limit_s is None else limit_s


def _why(status: int, clock: _Clock, started: bool) -> MuspikeError:
    """The error that says why the content of a file broke off, from the exit status of the child."""
    late = clock.over or (os.name == "posix" and status == -signal.SIGXCPU)
    if not started:
        cause = f"does not start in {clock.limit_s:g} s" if late else f"does not start (exit status {status})"
        return Failed(f"the process that is to read it {cause}")
    if late:
        return _Unfit(f"HDF5 does not come back from reading it ({clock.limit_s:.0f} s); the file is damaged")
    if 0 <= status < 256:
        return Failed(f"the process that reads it breaks off (exit status {status})")
    how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
    return _Unfit(f"HDF5 crashes on it ({how}); the file is damaged")


class _Content:
    """What the child says. It is checked as if the file said it: a file that steers a crash could say anything."""

    def __init__(self, process: subprocess.Popen[bytes], clock: _Clock, file_bytes: int) -> None:
        assert process.stdout is not None
        self.stream = process.stdout
        self.clock = clock
        self.file_bytes = file_bytes
        self.started = False
        self.left = int(LIMITS["bytes"])

    def read(self, with_attributes: bool) -> Tree:
        """Read the root group. If the child broke off, or says what it should not, nearly any exception is raised."""
        self.line()
        self.started = True
        self.allow(self.file_bytes)
        while (tree := self.line()) == "walking":
            pass
        self.allow(self.file_bytes + self.declared(tree))
        return self.group(tree, with_attributes)

    def allow(self, n_bytes: int) -> None:
        """Allow the child the time that reading so many bytes takes, generously."""
        self.clock.alive(LIMITS["patience_s"] + n_bytes / LIMITS["bytes_per_s"])

    def declared(self, tree: Mapping[str, Any]) -> int:
        """The number of bytes in the arrays of a tree."""
        if "members" in tree:
            return sum(self.declared(node) for node in tree["members"].values())
        return _n_bytes(*_form(tree)) if "dtype" in tree else 0

    def line(self) -> Any:
        """The next line. BadInput if the line says what is wrong with the file."""
        # JSON can take six bytes for one byte of text, and the tree takes some more for each object.
        limit = 6 * int(LIMITS["text_bytes"]) + 200 * int(LIMITS["objects"])
        text = self.stream.readline(limit)
        if not text.endswith(b"\n"):
            raise EOFError
        self.clock.alive()
        line = json.loads(text)
        if isinstance(line, dict) and "error" in line:
            raise BadInput(str(line["error"]))
        return line

    def group(self, tree: Mapping[str, Any], with_attributes: bool) -> Tree:
        """Read a group with all of its content."""
        read: Tree = {_ATTRIBUTES: dict(tree["attributes"])} if with_attributes else {}
        for name, node in tree["members"].items():
            read[name] = self.group(node, with_attributes) if "members" in node else self.dataset(node)
        return read

    def dataset(self, node: Mapping[str, Any]) -> Any:
        """Read a dataset: an array, or a number or string if it has no axes."""
        content = self.line()
        value: Any = (self.array(node) if content == "numbers" else _strings(content, node["shape"]))[()]
        return value.decode() if isinstance(value, bytes) else value

    def array(self, node: Mapping[str, Any]) -> npt.NDArray[Any]:
        """Read an array from the bytes that come next."""
        shape, dtype = _form(node)
        n_bytes = _n_bytes(shape, dtype)
        self.left -= n_bytes
        if self.left < 0:
            raise EOFError
        data = np.empty(n_bytes, np.uint8)
        if self.stream.readinto(data.data) < n_bytes:  # type: ignore[attr-defined]  # it is buffered
            raise EOFError
        return data.view(dtype).reshape(shape)


def _form(node: Mapping[str, Any]) -> tuple[list[int], np.dtype[Any]]:
    shape = node["shape"]
    if not _DTYPE.fullmatch(node["dtype"]) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise ValueError(node)
    return shape, np.dtype(node["dtype"])


def _n_bytes(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    return math.prod(shape) * dtype.itemsize


def _strings(content: Sequence[str], shape: Sequence[int]) -> npt.NDArray[np.object_]:
    """Strings as h5py gives them: an array of bytes objects."""
    array = np.empty(len(content), object)
    array[:] = [text.encode() for text in content]
    return array.reshape(shape)
