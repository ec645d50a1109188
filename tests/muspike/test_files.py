"""Files appear whole or not at all: on a full disk, in a folder that takes nothing, and when the writer is killed."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muspike.errors import BadInput, Failed
from muspike.files import make_folder, write_whole


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """A disk that refuses what exceeds `size` bytes in a file, as a full one does (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may write everywhere; anybody else may not."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_and_its_folders_are_made(tmp_path: Path) -> None:
    with write_whole(tmp_path / "a" / "b" / "new.txt") as path:
        assert not (tmp_path / "a" / "b" / "new.txt").exists()
        assert path.suffix == ".txt"
        path.write_text("whole")
    assert (tmp_path / "a" / "b" / "new.txt").read_text() == "whole"
    assert names(tmp_path / "a" / "b") == ["new.txt"]


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="on the way"), write_whole(target) as path:
        path.write_text("half")
        raise RuntimeError("on the way")
    assert target.read_text() == "old" and names(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old")
    refused = pytest.raises(Failed, match="file: cannot be written: File too large")
    with no_file_above(1000), refused, write_whole(target) as path:
        path.write_bytes(bytes(1001))
    assert target.read_text() == "old" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("old", [None, "old"])
def test_a_killed_writer_leaves_the_old_file_or_none(tmp_path: Path, old: str | None) -> None:
    target = tmp_path / "piece.mid"
    if old:
        target.write_text(old)
    code = (
        "import sys; from muspike.files import write_whole\n"
        "with write_whole(sys.argv[1]) as path:\n"
        "    path.write_text('half'); print('now', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == b"now\n"
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert (target.read_text() if target.exists() else None) == old
    # What it had begun is hidden and is no target of any reader's pattern.
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == (["piece.mid"] if old else [])


def test_places_that_take_no_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused = pytest.raises(Failed, match=r"file/below: cannot be written: (Not a directory|File exists)")
    with refused, write_whole(tmp_path / "file" / "below"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(Failed, match="folder: cannot be written: Is a directory"), write_whole(tmp_path / "folder"):
        pass
    (tmp_path / "closed").mkdir(mode=0o500)
    refused = pytest.raises(Failed, match="below: cannot be written: Permission denied")
    with without_privileges(), refused, write_whole(tmp_path / "closed" / "below"):
        pass
    assert names(tmp_path) == ["closed", "file", "folder"]


def test_a_file_gets_the_rights_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with write_whole(tmp_path / "file") as path:
            path.write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_a_long_name_and_one_beyond_ascii(tmp_path: Path) -> None:
    for name in ("é" * 120 + ".mid", "Präludium 前奏曲.mid"):
        with write_whole(tmp_path / name) as path:
            path.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"


def test_a_folder_is_made_and_tried(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert names(make_folder(tmp_path / "a")) == ["b"]
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="file: is a file; a folder is wanted"):
        make_folder(tmp_path / "file")
    with pytest.raises(Failed, match="below: cannot be written to: Not a directory"):
        make_folder(tmp_path / "file" / "below")
    (tmp_path / "closed").mkdir(mode=0o500)
    with without_privileges(), pytest.raises(Failed, match="closed: cannot be written to: Permission denied"):
        make_folder(tmp_path / "closed")
