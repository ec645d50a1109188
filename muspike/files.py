"""Files that appear whole or not at all, folders that one command owns, and checks of paths before the work.

What is wrong with a path is bad use (`BadInput`). A path that is right and a disk that refuses, because it is full or
broken, is a failure (`Failed`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from muspike.errors import BadInput, Busy, Doubt, Failed, MuspikeError

if sys.platform != "win32":
    import fcntl

LOCK = ".muspike-lock"
"""The file in a folder that is locked while a command works there."""

# What the system says of a path that is wrong, or that this user may not write.
_WRONG_PATH = {
    errno.EACCES,
    errno.EEXIST,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}


def path_error(what: str, error: OSError) -> MuspikeError:
    """`error` as an error for the user: BadInput if the path is wrong, Failed if the disk refuses.

    `what` is the start of the message: the path, and what cannot be done with it.
    """
    kind = BadInput if error.errno in _WRONG_PATH else Failed
    return kind(f"{what}: {error.strerror or error}")


@contextlib.contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path to write to; the file moves to `path` when the `with` block ends without an error.

    The temporary path is beside `path`. An error inside the block leaves the old content of `path` unchanged. Missing
    parent folders are made. If `path` is a link, the file that it leads to is written, and the link stays.

    Raises:
        BadInput: `path` is a folder, a pipe or a device, or this user may not write it.
        Failed: the disk refuses the write, for example because it is full.
    """
    target = _followed(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # The temporary name keeps the ending: np.savez adds one if it is missing, and matplotlib chooses the format by
        # it.
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem[:40]}-", suffix=target.suffix)
        os.close(handle)
    except OSError as error:
        raise path_error(f"{path}: cannot be written in {target.parent}", error) from error
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
        raise path_error(f"{path}: cannot be written", error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _followed(path: str | os.PathLike[str]) -> Path:
    """The regular file that `path` leads to, through links. It need not exist.

    Raises:
        BadInput: there is something else, or a file that this user may not write.
    """
    shown = os.fspath(path)
    if not shown:
        raise BadInput("'': is no path; the name of a file is wanted")
    try:
        found = Path(path).stat()
    except FileNotFoundError:
        return Path(os.path.realpath(path))
    except OSError as error:
        _refuse_file_above(Path(path))
        raise path_error(f"{shown}: cannot be written", error) from error
    if stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{shown}: is a folder; a file is wanted")
    # Replacing the file behind standard output would tear it from the process that reads it.
    if not stat.S_ISREG(found.st_mode) or any(_leads_to(stream, found) for stream in (1, 2)):
        raise BadInput(f"{shown}: is a pipe, a device or a standard stream; a file is wanted")
    if not os.access(path, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise BadInput(f"{shown}: cannot be written: {os.strerror(errno.EACCES)}")
    return Path(os.path.realpath(path))


def _leads_to(stream: int, file: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.fstat(stream), file)
    except OSError:  # the stream is closed
        return False


def check_file(path: str | os.PathLike[str], largest: int | None = None) -> None:
    """Check that `path` is a regular file that can be read. Reading a pipe or a device could wait without end.

    Args:
        path: the file.
        largest: the most bytes that such a file can have; None: any number.

    Raises:
        BadInput: `path` is not such a file.
    """
    try:
        found = Path(path).stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
            raise BadInput(f"{os.fspath(path)}: is {what}, expected a file")
        if largest is not None and found.st_size > largest:
            raise BadInput(f"{os.fspath(path)}: has {found.st_size:,} bytes, expected at most {largest:,}")
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{os.fspath(path)}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a null byte in the path
        raise BadInput(f"{os.fspath(path)!r}: cannot be read: {error}") from error


def check_target(path: str | os.PathLike[str]) -> None:
    """Check that `write_whole` could write `path`. Nothing is made. Call this before work whose result goes there.

    Raises:
        BadInput: `path` is a folder, a pipe or a device, its folder is a file, or this user may not write there.
        Failed: the disk refuses.
    """
    _check_place(_followed(path).parent, f"{os.fspath(path)}: cannot be written")


def _check_place(folder: Path, what: str) -> list[Path]:
    """Check that the folder takes files, or that it can be made. Return the folders that are missing, deepest first.

    An error message begins with `what`.
    """
    missing = []
    try:
        while not _there(folder):
            missing.append(folder)
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        _refuse_file_above(folder)
        raise path_error(f"{what} in {folder}", error) from error
    return missing


def _refuse_file_above(path: Path) -> None:
    """Raise BadInput if a folder above `path` is a file."""
    for above in path.parents:
        with contextlib.suppress(OSError):  # whoever calls this has an error to raise
            if above.is_file():
                raise BadInput(f"{above}: is a file; a folder is wanted")


def _there(folder: Path) -> bool:
    """Whether the folder exists. Raises OSError if something else does, or if this user may not know."""
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    except FileNotFoundError:
        return False
    return True


@contextlib.contextmanager
def owned_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Own the folder `path` while the `with` block runs. Enter the block before the work whose result goes there.

    The folder is made if it is missing. A second process that wants to own it is refused. The lock ends with the
    process, however that ends. Folders that were made here and are still empty at the end are removed.

    Raises:
        BadInput: `path` is a file, this user may not read or write it, or another process works there.
        Failed: the disk refuses.
    """
    shown = os.fspath(path)
    if not shown:
        raise BadInput("'': is no path; the name of a folder is wanted")
    folder = Path(os.path.realpath(path))
    name = folder if shown == "." else shown  # "." says nothing to whoever reads a log
    with contextlib.suppress(OSError):  # the next check names it
        if folder.is_file():
            raise BadInput(f"{name}: is a file; a folder is wanted")
    missing = _check_place(folder, f"{name}: no file can be written")
    try:
        with _locked(folder, str(name)):
            try:
                os.scandir(folder).close()
            except OSError as error:
                raise path_error(f"{name}: cannot be read", error) from error
            yield Path(path)
    finally:
        for made in missing:
            with contextlib.suppress(OSError):  # it is not empty
                made.rmdir()


def remove_temporaries(path: Path) -> None:
    """Remove what `write_whole` left beside `path` in processes that were killed; only the owner of its folder may."""
    for file in path.parent.glob(f".{path.stem[:40]}-*{path.suffix}"):
        with contextlib.suppress(OSError):
            file.unlink()


def is_owned(folder: Path) -> bool:
    """Whether a process owns `folder` (`owned_folder`) now.

    The question holds the lock for an instant. A process that wants to own the folder in this instant is refused.
    """
    if sys.platform == "win32":
        return False
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # nobody made one
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return False


# The open lock files of this process.
_locks: set[int] = set()


@contextlib.contextmanager
def _locked(folder: Path, name: str) -> Iterator[None]:
    lock = folder / LOCK
    try:
        handle = _open_lock(folder, lock)
    except OSError as error:
        raise path_error(f"{name}: no file can be written in it", error) from error
    if handle is None:
        warnings.warn(
            f"{name}: its file system has no locks; start no second command in this folder", Doubt, stacklevel=4
        )
        yield
        return
    if handle < 0:
        raise Busy(
            f"{name}: another muspike command is at work in this folder; wait for its end, or choose another folder"
        )
    _locks.add(handle)
    try:
        yield
    finally:
        _locks.discard(handle)
        # Removed while it is still locked: whoever opened it meanwhile sees that it is gone, and opens a new one.
        with contextlib.suppress(OSError):
            lock.unlink()
        os.close(handle)


def _open_lock(folder: Path, lock: Path) -> int | None:
    """The open and locked lock file of a folder, which is made; -1 if another process has it; None without locks."""
    if sys.platform == "win32":
        folder.mkdir(parents=True, exist_ok=True)
        return None
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        except FileNotFoundError:  # the other process has just removed the folder that it had made
            continue
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), lock.stat()):
                return handle
        except FileNotFoundError:  # removed by the process that had it
            pass
        except BlockingIOError:
            os.close(handle)
            return -1
        except OSError:
            os.close(handle)
            with contextlib.suppress(OSError):
                lock.unlink()
            return None
        os.close(handle)


def _leave_locks() -> None:
    """Close the lock files in a child process, so that a lock ends with the process that took it."""
    for handle in _locks:
        with contextlib.suppress(OSError):
            os.close(handle)
    _locks.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_locks)
