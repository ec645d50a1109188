"""The child of `reader.file`: reads an HDF5 file that may be damaged or hostile, and passes on its plain content.

    python -I -S file_worker.py REQUEST <FILE >CONTENT

On bytes made to that end, HDF5 hangs, crashes, or asks for any amount of memory. So HDF5 meets such bytes only here, in
a process with bounds. The process has no file but FILE. If the platform has `resource`, the process can open no other
file, so no link leads out of FILE.

REQUEST is JSON: the `members` of the root group to read (null: all), the names of the `attributes` to read of each
group, the `folders` to import h5py and NumPy from, and the `limits` (`file.LIMITS`).

CONTENT is lines of JSON. First comes `"ready"`, then `"walking"` every thousand objects, then the tree. After it comes
the content of each dataset, in the order of the tree: `"numbers"` and the bytes of the array, or a list of strings. Any
line after the first can be `{"error": what}` instead, which is then the last line. In the tree, a group is
`{"members": {name: node}, "attributes": {name: value}}`, a dataset is `{"dtype", "shape"}`, and a dataset of strings of
variable length is `{"shape"}`.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

if __name__ == "__main__":
    sys.path += json.loads(sys.argv[1])["folders"]

import numpy as np
from h5py import File, h5a, h5d, h5g, h5l, h5o, h5s, h5t, h5z

if TYPE_CHECKING or os.name == "posix":
    import resource

FILTERS = (h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32, h5z.FILTER_SZIP, h5z.FILTER_LZF)
LAYOUTS = (h5d.COMPACT, h5d.CONTIGUOUS, h5d.CHUNKED)
LINKS = {h5l.TYPE_SOFT: "a soft link", h5l.TYPE_EXTERNAL: "a link to another file"}
STRINGS_AT_ONCE = 4096
for encoding in ("ascii", "latin-1", "utf-8"):
    codecs.lookup(encoding)  # else it is imported on first use, when no file can be opened any more


class Refused(Exception):
    """The file is refused. The message says where in the file, what was found there, and what would be right."""


class WholeReads(io.BufferedReader):
    """A file whose short reads are errors. HDF5 would go on with whatever its buffer held before."""

    def readinto(self, buffer: Any) -> int:
        """Fill all of `buffer`. EOFError if the file ends too early."""
        n = super().readinto(buffer)
        if n < len(buffer):
            raise EOFError(f"it ends {len(buffer) - n} bytes before what it says it holds")
        return n


def bound(limits: dict[str, Any], n_bytes: int, time_bytes: int) -> None:
    """Limit this process to the memory that `n_bytes` take, and to the time that reading `time_bytes` takes."""
    if os.name != "posix":
        return
    for what, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"] + 2 * n_bytes),
        # This clock never starts again. The parent's does, with each sign of life.
        (resource.RLIMIT_CPU, math.ceil(10 * (limits["patience_s"] + time_bytes / limits["bytes_per_s"]))),
        (resource.RLIMIT_NOFILE, 0),  # files that are open stay open
        (resource.RLIMIT_FSIZE, 0),  # no file can be written; a pipe is no file
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        # macOS refuses some of these limits. The parent's clock and the checks of what is declared remain.
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (value if hard == resource.RLIM_INFINITY else min(value, hard), hard))


class Reader:
    """One walk over the file, which counts what the file holds against `limits`.

    Attributes:
        limits: `file.LIMITS`.
        attributes: the names of the attributes to read of each group.
        alive: called every thousand objects.
        datasets: path and declaration of each dataset found, in the order of the tree.
        objects, bytes, strings, text_bytes: counts so far of the limits with these names.
        largest: bytes of the largest array or chunk so far.
    """

    def __init__(self, limits: dict[str, Any], attributes: list[str], alive: Callable[[], None]) -> None:
        self.limits = limits
        self.attributes = attributes
        self.alive = alive
        self.datasets: list[tuple[str, dict[str, Any]]] = []
        self.objects = 0
        self.bytes = 0
        self.largest = 0
        self.strings = 0
        self.text_bytes = 0

    def group(self, group: h5g.GroupID, path: str, above: tuple[int, ...], members: list[str] | None) -> dict[str, Any]:
        """The tree below a group. `above` holds the addresses of the groups that it lies in."""
        address = h5o.get_info(group).addr
        if address in above:
            raise Refused(f"{path!r} is a group that holds itself")
        if len(above) >= self.limits["depth"]:
            raise Refused(f"groups are nested more than {self.limits['depth']} deep at {path[:200]!r}")
        links: list[tuple[bytes, int]] = []

        def collect(name: bytes, info: h5l.LinkInfo) -> bool | None:
            links.append((name, info.type))
            return len(links) > self.limits["objects"] or None

        group.links.iterate(collect, info=True)
        tree: dict[str, Any] = {}
        for raw, kind in links:
            name = self.name(raw, path)
            if name in tree:
                raise Refused(f"{path or '/'!r} has two members called {name!r}")
            if members is None or name in members:
                tree[name] = self.member(group, raw, kind, f"{path}/{name}".lstrip("/"), (*above, address))
        return {"members": tree, "attributes": self.read_attributes(group, path)}

    def name(self, raw: bytes, path: str) -> str:
        """The name of a member. A name that HDF5 would take for a path is refused."""
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise Refused(f"{path or '/'!r} has a member called {raw!r}; names are UTF-8") from None
        self.count_text(len(raw), path)
        if name in ("", ".") or "/" in name:
            raise Refused(f"{path or '/'!r} has a member called {name!r}, which is no name")
        return name

    def member(self, group: h5g.GroupID, raw: bytes, link: int, path: str, above: tuple[int, ...]) -> dict[str, Any]:
        """The tree of one member of a group."""
        if link != h5l.TYPE_HARD:
            raise Refused(f"{path!r} is {LINKS.get(link, 'a link of an unknown kind')}; the data itself is wanted")
        self.objects += 1
        if self.objects > self.limits["objects"]:
            raise Refused(f"it holds more than {self.limits['objects']} groups and datasets")
        if self.objects % 1000 == 0:
            self.alive()
        with reading(path):
            item = h5o.open(group, raw)
            if isinstance(item, h5g.GroupID):
                return self.group(item, path, above, None)
            if not isinstance(item, h5d.DatasetID):
                raise Refused(f"{path!r} is a datatype; a group or a dataset is wanted")
            declared = self.dataset(item, path)
            self.datasets.append((path, declared))
            return declared

    def dataset(self, dataset: h5d.DatasetID, path: str) -> dict[str, Any]:
        """What the file declares of a dataset, checked before any of the data is read."""
        how = dataset.get_create_plist()
        if how.get_external_count() or how.get_layout() not in LAYOUTS:
            raise Refused(f"{path!r} keeps its data in other files or datasets; the data itself is wanted")
        for code, _, _, name in (how.get_filter(i) for i in range(how.get_nfilters())):
            if code not in FILTERS:
                raise Refused(f"{path!r} is stored with filter {code} ({name[:40]!r}); gzip, lzf and szip are read")
        space, kind = dataset.get_space(), dataset.get_type()
        if space.get_simple_extent_type() == h5s.NULL:
            raise Refused(f"{path!r} has no value")
        shape = [int(n) for n in space.shape]
        if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
            self.strings += math.prod(shape)
            if self.strings > self.limits["strings"] or len(shape) > 2 or math.prod(shape[1:]) > STRINGS_AT_ONCE:
                raise Refused(f"{path!r} declares strings of shape {shape}; {self.limits['strings']} in all are read")
            return {"shape": shape}
        dtype = plain(kind, path)
        chunk = math.prod(how.get_chunk()) * dtype.itemsize if how.get_layout() == h5d.CHUNKED else 0
        n_bytes, stored = math.prod(shape) * dtype.itemsize, dataset.get_storage_size()
        self.bytes += n_bytes
        self.largest = max(self.largest, n_bytes, chunk)
        if max(self.bytes, chunk) > self.limits["bytes"]:
            raise Refused(f"up to {path!r} it declares {max(self.bytes, chunk)} bytes; {self.limits['bytes']} are read")
        if n_bytes > stored * self.limits["expansion"]:
            raise Refused(f"{path!r} declares {n_bytes} bytes (shape {shape}), and the file holds {stored} of them")
        return {"dtype": dtype.str, "shape": shape}

    def read_attributes(self, group: h5g.GroupID, path: str) -> dict[str, Any]:
        """The wanted attributes that the group has, by name."""
        values: dict[str, Any] = {}
        for name in self.attributes:
            if not h5a.exists(group, name.encode()):
                continue
            where = f"{path}@{name}"
            with reading(where):
                attribute = h5a.open(group, name.encode())
                kind, space = attribute.get_type(), attribute.get_space()
                if space.get_simple_extent_type() != h5s.SCALAR:
                    raise Refused(f"{where!r} is not one value")
                variable = isinstance(kind, h5t.TypeStringID) and kind.is_variable_str()
                array = np.zeros((), kind.dtype if variable else plain(kind, where))
                attribute.read(array)
                value: Any = array.item()
                values[name] = self.text(value, where) if array.dtype.kind in "OS" else value
        return values

    def read_strings(self, dataset: h5d.DatasetID, path: str) -> list[str]:
        """The strings of a dataset in C order. A few are read at a time, because all may point to one long string."""
        shape, dtype, strings = dataset.shape, dataset.dtype, []
        rows = shape[0] if shape else 1
        step = max(STRINGS_AT_ONCE // max(math.prod(shape[1:]), 1), 1)
        for start in range(0, rows if math.prod(shape) else 0, step):
            block = (min(step, rows - start), *shape[1:]) if shape else ()
            array = np.empty(block, dtype)
            here = dataset.get_space()
            if shape:
                here.select_hyperslab((start, *(0 for _ in shape[1:])), block)
            dataset.read(h5s.create_simple(block) if shape else h5s.ALL, here if shape else h5s.ALL, array)
            strings += [self.text(value, path) for value in array.flat]
        return strings

    def text(self, value: object, path: str) -> str:
        """A string of the file, decoded and counted."""
        if not isinstance(value, bytes):
            raise Refused(f"{path!r} holds a string without a value")
        self.count_text(len(value), path)
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Refused(f"{path!r} holds {value[:40]!r}; strings are UTF-8") from None

    def count_text(self, n_bytes: int, path: str) -> None:
        """Count a name or string against the limit. Its bytes count each time, also if many point to one string."""
        self.text_bytes += n_bytes
        if self.text_bytes > self.limits["text_bytes"]:
            raise Refused(f"up to {path[:200]!r} it holds more than {self.limits['text_bytes']} bytes of text")


def plain(kind: h5t.TypeID, path: str) -> np.dtype[Any]:
    """The dtype of numbers, truth values or strings of fixed length. Any other type is refused."""
    if kind.get_class() not in (h5t.INTEGER, h5t.FLOAT, h5t.ENUM, h5t.STRING):
        raise Refused(f"{path!r} holds neither numbers nor strings (HDF5 type class {kind.get_class()})")
    dtype: np.dtype[Any] = np.dtype(kind.dtype.str)
    if dtype.kind not in "biufS" or (dtype.kind != "S" and dtype.itemsize > 8):
        raise Refused(f"{path!r} has dtype {dtype}; numbers of at most 64 bits or strings are wanted")
    return dtype


@contextlib.contextmanager
def reading(path: str) -> Iterator[None]:
    """If HDF5 meets something that it cannot read, refuse the file and name `path`."""
    try:
        yield
    except (Refused, MemoryError, RecursionError):
        raise
    except Exception as error:  # h5py raises nearly everything
        raise Refused(f"{path!r}: {' '.join(str(error).split()) or type(error).__name__}") from error


def read(file: IO[bytes], request: dict[str, Any], alive: Callable[[], None]) -> Iterator[Any]:
    """Give the tree, then the content of each dataset: strings of variable length as a list, others as an array."""
    limits, members = request["limits"], request["members"]
    file_bytes = file.seek(0, os.SEEK_END)
    bound(limits, file_bytes, file_bytes)
    with reading("/"):
        h5 = File(file, "r")
        root = h5o.open(h5.id, b"/")
    reader = Reader(limits, request["attributes"], alive)
    with reading("/"):
        tree = reader.group(root, "", (), members)
    bound(limits, file_bytes + reader.largest, file_bytes + reader.bytes)
    yield tree
    for path, declared in reader.datasets:
        with reading(path):
            # Datasets do not stay open after the walk: a million of them would take gigabytes.
            dataset = h5o.open(root, path.encode())
            if list(dataset.shape) != declared["shape"]:
                raise Refused(f"{path!r} has shape {list(dataset.shape)}, after {declared['shape']} before")
            if "dtype" in declared:
                # Zeros, because HDF5 leaves the places alone that were never written.
                content: Any = np.zeros(declared["shape"], declared["dtype"])
                if content.size:
                    dataset.read(h5s.ALL, h5s.ALL, content)
                if content.dtype.kind == "S" and not content.shape:
                    reader.text(content.item(), path)
            else:
                content = reader.read_strings(dataset, path)
        yield content


def serve(file: IO[bytes], out: IO[bytes], request: dict[str, Any]) -> None:
    """Answer `request`: write CONTENT (see the top of this file) to `out`."""

    def say(line: object, *numbers: bytes | memoryview) -> None:
        out.write(json.dumps(line).encode() + b"\n")
        out.writelines(numbers)
        out.flush()

    say("ready")
    try:
        for item in read(file, request, lambda: say("walking")):
            if isinstance(item, np.ndarray):
                say("numbers", item.reshape(-1).view(np.uint8).data if item.size else b"")
            else:
                say(item)
    except Refused as error:
        say({"error": str(error)})
    except MemoryError:
        say({"error": "it needs more memory than what it declares to hold"})
    except RecursionError:
        say({"error": "groups are nested too deep"})


if __name__ == "__main__":
    serve(WholeReads(io.FileIO(sys.stdin.fileno())), sys.stdout.buffer, json.loads(sys.argv[1]))
    os._exit(0)  # because closing a damaged file, too, can hang or crash
