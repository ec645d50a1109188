"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from muspike.errors import BadInput, Failed


@contextlib.contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; it becomes `path` when the block ends without an error.

    An error inside the block leaves whatever stood at `path` before. Missing parent folders are made.

    Raises:
        Failed: the folder cannot be made, or the disk refuses the write (full, read-only).
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The name keeps its ending: writers such as np.savez and matplotlib choose the format, or add one, by it.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}-", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise Failed(f"{target}: cannot be written: {error.strerror}") from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise Failed(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def check_file(path: str | os.PathLike[str]) -> None:
    """See that `path` is a file that can be read, and no pipe or device that could be waited for without end.

    Raises:
        BadInput: it is not.
    """
    try:
        mode = Path(path).stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
            raise BadInput(f"{os.fspath(path)}: is {what}, expected a file")
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error


def check_target(path: str | os.PathLike[str]) -> None:
    """See that a file could be written to `path`, before the work whose result it is to hold; makes its folder.

    Raises:
        BadInput: it is a folder, or its folder a file.
        Failed: the folder cannot be made, or written to.
    """
    if Path(path).is_dir():
        raise BadInput(f"{os.fspath(path)}: is a folder; a file is wanted")
    make_folder(Path(path).parent)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """The folder `path`, made if need be, and tried: for before the work whose result would have no place.

    Raises:
        BadInput: it is a file.
        Failed: it cannot be made, or written to.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError as error:
        raise BadInput(f"{folder}: is a file; a folder is wanted") from error
    except OSError as error:
        raise Failed(f"{folder}: cannot be written to: {error.strerror}") from error
    return folder
