"""Writing files that appear whole or not at all, and checks of paths before the work that needs them."""

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
    """Give a temporary path to write to; the file moves to `path` when the `with` block ends without an error.

    The temporary path is beside `path`. An error inside the block leaves the old content of `path` unchanged. Missing
    parent folders are made.

    Raises:
        Failed: the folder cannot be made, or the disk refuses the write (full, read-only).
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The temporary name keeps the ending: np.savez adds one if it is missing, and matplotlib chooses the format by
        # it.
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
    """Check that `path` is a regular file that can be read. Reading a pipe or a device could wait without end.

    Raises:
        BadInput: `path` is not such a file.
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
    except ValueError as error:  # a null byte in the path
        raise BadInput(f"{os.fspath(path)!r}: cannot be read: {error}") from error


def check_target(path: str | os.PathLike[str]) -> None:
    """Check that a file can be written to `path`, and make its folder. Call this before work whose result goes there.

    Raises:
        BadInput: `path` is a folder, or its folder is a file.
        Failed: its folder cannot be made or written to.
    """
    if Path(path).is_dir():
        raise BadInput(f"{os.fspath(path)}: is a folder; a file is wanted")
    make_folder(Path(path).parent)


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make the folder `path` if it is missing, check that it can be written to, and return it.

    Call this before work whose result goes there.

    Raises:
        BadInput: `path` is a file.
        Failed: the folder cannot be made or written to.
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
