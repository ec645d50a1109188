"""Archives unpacked into a folder. Nothing outside this folder is ever written."""

from __future__ import annotations

import contextlib
import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, NamedTuple

from muspike.errors import BadInput, printable
from muspike.files import check_file, path_error
from muspike.progress import bar

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_BYTES = 64 * 2**30
"""The most bytes that an archive may unpack to. The largest known one, LMD-full, has 6 GiB."""
MOST_FILES = 2_000_000
"""The most files in an archive. The largest known one has 178,561."""
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    UnicodeError,
)


class _Member(NamedTuple):
    name: str
    size: int
    content: IO[bytes] | None  # None: of a folder


def is_archive(path: Path) -> bool:
    """Whether the name of `path` ends as an archive's does."""
    return path.name.lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a zip or tar file into `folder`. The folder appears whole or not at all.

    Raises:
        BadInput: the archive is damaged, holds a link or a device, holds a path that leads out of the folder, or is
            larger than `MOST_BYTES` or `MOST_FILES`. The message names the member.
        Failed: the disk refuses.
    """
    check_file(archive)
    building = folder.with_name(f"{folder.name}.unpacking")
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir(parents=True)
        _unpack(archive, building, progress)
        building.replace(folder)
    except _DAMAGE as error:
        raise BadInput(f"{archive}: is damaged or no archive ({printable(str(error))})") from error
    except OSError as error:
        # gzip and bz2 say OSError of damaged data, which has no error number.
        if error.errno is None:
            raise BadInput(f"{archive}: is damaged ({printable(str(error))})") from error
        raise path_error(f"{folder}: cannot be unpacked to", error) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _unpack(archive: Path, folder: Path, progress: bool) -> None:
    written = files = 0
    made_ns = archive.stat().st_mtime_ns
    with bar(archive.stat().st_size >> 20 or 1, "MB", what=f"unpacking {archive.name}", shown=progress) as shown:
        for member, position in _members(archive):
            target = folder.joinpath(*_inside(archive, member.name))
            if member.content is None:
                target.mkdir(parents=True, exist_ok=True)
                continue
            files += 1
            if files > MOST_FILES:
                raise BadInput(f"{archive}: holds more than {MOST_FILES:,} files")
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.content as source, target.open("wb") as to:
                while block := source.read(1 << 20):
                    written += len(block)
                    if written > MOST_BYTES:
                        raise BadInput(f"{archive}: unpacks to more than {MOST_BYTES >> 30} GiB")
                    to.write(block)
            os.utime(target, ns=(made_ns, made_ns))  # a build that goes on knows the file again
            shown.advance((position >> 20) - shown.done)


def _inside(archive: Path, name: str) -> tuple[str, ...]:
    """The parts of a member's path.

    Raises:
        BadInput: it could lead out of the folder, on any system.
    """
    parts = PurePosixPath(name).parts
    windows = PureWindowsPath(name)
    if name.startswith("/") or windows.drive or windows.root or ".." in (*parts, *windows.parts) or "\0" in name:
        raise BadInput(f"{archive}: its member {printable(name)!r} leads out of the folder; nothing was unpacked")
    return parts


def _members(archive: Path) -> Iterator[tuple[_Member, int]]:
    """Each member, and how far in the archive it ends, in bytes."""
    with contextlib.ExitStack() as held:
        if zipfile.is_zipfile(archive):
            zipped = held.enter_context(zipfile.ZipFile(archive))
            end = 0
            for info in zipped.infolist():
                mode = info.external_attr >> 16
                if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise _no_file(archive, info.filename)
                _inside(archive, info.filename)
            for info in zipped.infolist():
                end += info.compress_size
                content = None if info.is_dir() else zipped.open(info)
                yield _Member(info.filename, info.file_size, content), end
            return
        file = held.enter_context(archive.open("rb"))
        tar = held.enter_context(tarfile.open(fileobj=file, mode="r|*"))
        for entry in tar:
            if not entry.isfile() and not entry.isdir():
                raise _no_file(archive, entry.name)
            content = tar.extractfile(entry) if entry.isfile() else None
            yield _Member(entry.name, entry.size, content), file.tell()
            tar.members = []  # type: ignore[attr-defined]  # it remembers each, at a kilobyte


def _no_file(archive: Path, name: str) -> BadInput:
    return BadInput(f"{archive}: its member {printable(name)!r} is a link or a device; nothing was unpacked")
