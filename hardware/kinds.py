"""What a file is that is not what was asked for: its name, and what would be right instead.

Only files that could not be read are looked at here, so a wrong guess misnames a file and refuses none.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_EXPORT = "export the network as NIR from the tool that trained it"
_HEAD = 1 << 16  # bytes of a file that are looked at


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        what: what it is, as "is ..." goes on.
        right: what would be right instead.
        begins: a pattern that the file's first bytes match.
        members: of a zip: tells it by the names of its members; None: the file is no zip.
    """

    what: str
    right: str
    begins: bytes
    members: Callable[[Collection[str]], bool] | None = None


def _torch(names: Collection[str]) -> bool:
    return any(name.split("/")[-1] == "data.pkl" for name in names)


def _arrays(names: Collection[str]) -> bool:
    return bool(names) and "header.npy" not in names and all(name.endswith(".npy") for name in names)


def _no_program(names: Collection[str]) -> bool:
    return "header.npy" not in names


_ZIP = rb"PK"
NET = Kind(
    "a lava-dl network (.net)",
    "muspike map and muspike simulate take it under a name that ends in .net",
    rb"\x89HDF(?s:(?!.*\0node\0).*)\0layer\0",
)
KINDS = (
    Kind("a Git LFS pointer, not the file itself", "fetch the file with `git lfs pull`", rb"version https://git-lfs"),
    Kind("a torch checkpoint", _EXPORT, _ZIP, _torch),
    Kind("an .npz of arrays without a program", "if they are spikes, give them as --input", _ZIP, _arrays),
    Kind("a zip archive that holds no program", "unpack it first", _ZIP, _no_program),
    NET,
    Kind("an array (.npy)", "if it holds spikes, give it as --input", rb"\x93NUMPY"),
    Kind("compressed with gzip", "unpack it first", rb"\x1f\x8b"),
    Kind("compressed with zstd", "unpack it first", rb"\x28\xb5\x2f\xfd"),
    Kind("compressed with xz", "unpack it first", rb"\xfd7zXZ"),
    Kind("weights without a network (safetensors)", _EXPORT, rb"(?s:.{5}\0{3})\{"),
    Kind("a Python pickle, such as an old torch checkpoint", _EXPORT, rb"\x80[\x02-\x05]"),
    Kind("an ONNX network", _EXPORT, rb"\x08[\x01-\x20](?:\x12|\x3a|\x42)"),
    Kind("a MIDI file", "a NIR file or a chip program", rb"MThd"),
    Kind("JSON text", "a NIR file or a chip program", rb"\s*[\[{]\s*[\"\[{\]}\d]"),
)
"""Every kind that is recognised, in the order in which they are tried."""


PROGRAM = Kind("a chip program", "muspike simulate runs it", _ZIP, lambda names: "header.npy" in names)
"""Not in `KINDS`, because some commands take it."""


def named(path: str | os.PathLike[str], otherwise: object, *more: Kind, but: Kind | None = None) -> str:
    """The message for a file that could not be read: what it is, if that is known, else `otherwise`.

    `more` are kinds that are no others' business, such as `PROGRAM` where only a network is taken. `but` is the kind
    that the file should be.
    """
    for kind in _kinds_of(Path(path), [kind for kind in (*KINDS, *more) if kind is not but]):
        return f"{os.fspath(path)}: is {kind.what}; {kind.right}"
    return f"{os.fspath(path)}: {otherwise}"


def _kinds_of(path: Path, known: Sequence[Kind]) -> Iterator[Kind]:
    try:
        if (path / "model.json").is_file():
            yield Kind("the folder of a model", f"write it as NIR first: muspike export {path} --to nir", b"")
        if not path.is_file():
            return
        with path.open("rb") as file:
            head = file.read(_HEAD)
        names = set(zipfile.ZipFile(path).namelist()) if re.match(_ZIP, head) else None
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return  # the caller has its own message for a file that nobody can look into
    for kind in known:
        fits = names is None if kind.members is None else names is not None and kind.members(names)
        if fits and re.match(kind.begins, head):
            yield kind
