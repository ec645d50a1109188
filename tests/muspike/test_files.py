"""Files appear whole or not at all: on a full disk, in a folder that takes nothing, and when the writer is killed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from muspike.errors import BadInput, Doubt, Failed
from muspike.files import LOCK, check_file, check_target, owned_folder, write_whole
from no_superuser import no_superuser


@contextlib.contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """A disk that refuses what exceeds `size` bytes in a file, as a full one does (Python ignores SIGXFSZ)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


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
    (tmp_path / "folder").mkdir()
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "read-only").touch(mode=0o400)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "round").symlink_to("round")
    before = names(tmp_path)
    for name, why in (
        ("file/below", "file: is a file; a folder is wanted"),
        ("folder", "folder: is a folder; a file is wanted"),
        ("closed/below", f"below: cannot be written in {tmp_path / 'closed'}: Permission denied"),
        ("closed/deeper/below", f"below: cannot be written in {tmp_path / 'closed'}.*: Permission denied"),
        ("read-only", "read-only: cannot be written: Permission denied"),
        ("pipe", "pipe: is a pipe, a device or a standard stream"),
        ("null", "null: is a pipe, a device or a standard stream"),
        ("round", "round: cannot be written: Too many levels of symbolic links"),
        ("n" * 256, "n: cannot be written: File name too long"),
    ):
        for attempt in (check_target, write):
            with no_superuser(), pytest.raises(BadInput, match=why):
                attempt(tmp_path / name)
    for attempt in (check_target, write):
        with pytest.raises(BadInput, match="'': is no path"):
            attempt("")
    assert names(tmp_path) == before and Path("/dev/null").is_char_device()


def write(path: str | Path) -> None:
    with write_whole(path) as temporary:
        temporary.write_text("")


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_text("old")
    (tmp_path / "link").symlink_to("far/file")
    (tmp_path / "dangling").symlink_to("far/new")
    for name, target in (("link", "file"), ("dangling", "new")):
        check_target(tmp_path / name)
        with write_whole(tmp_path / name) as path:
            path.write_text("new")
        assert (tmp_path / name).is_symlink() and (tmp_path / "far" / target).read_text() == "new"
    assert names(tmp_path / "far") == ["file", "new"]


def test_the_file_behind_standard_output_is_not_replaced(tmp_path: Path) -> None:
    code = "from muspike.files import check_target; check_target('link')"
    (tmp_path / "link").symlink_to("/dev/stdout")
    with (tmp_path / "out").open("w") as out:
        ended = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False
        )
    assert "link: is a pipe, a device or a standard stream" in ended.stderr


def test_a_target_is_checked_without_a_trace(tmp_path: Path) -> None:
    check_target(tmp_path / "a" / "b" / "file")
    (tmp_path / "old").write_text("old")
    check_target(tmp_path / "old")
    assert names(tmp_path) == ["old"] and (tmp_path / "old").read_text() == "old"


def test_files_that_cannot_be_read_whole(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "big").write_bytes(bytes(11))
    check_file(tmp_path / "big", 11)
    for name, why in (
        ("pipe", "pipe: is a pipe or a device, expected a file"),
        ("zero", "zero: is a pipe or a device, expected a file"),
        ("", "is a folder, expected a file"),
        ("big", "big: has 11 bytes, expected at most 10"),
        ("no\0thing", "cannot be read: embedded null"),
    ):
        with pytest.raises(BadInput, match=why):
            check_file(tmp_path / name, 10)


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


# --- folders that one command owns ---


def test_a_folder_is_made_and_kept_if_something_is_in_it(tmp_path: Path) -> None:
    with owned_folder(tmp_path / "a" / "b") as folder:
        assert folder == tmp_path / "a" / "b" and names(folder) == [LOCK]
        (folder / "file").touch()
    assert names(tmp_path / "a" / "b") == ["file"]
    with owned_folder(tmp_path / "a"):
        pass
    assert names(tmp_path / "a") == ["b"]


def test_a_folder_that_stays_empty_is_removed_if_it_was_made(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), owned_folder(tmp_path / "old" / "a" / "b"):
        raise RuntimeError
    assert names(tmp_path) == ["old"] and names(tmp_path / "old") == []
    with owned_folder(tmp_path / "old"):
        pass
    assert names(tmp_path) == ["old"]


def test_folders_that_cannot_be_owned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "closed").mkdir(mode=0o555)
    (tmp_path / "unreadable").mkdir(mode=0o300)
    monkeypatch.chdir(tmp_path / "closed")
    for folder, why in (
        (tmp_path / "file", "file: is a file; a folder is wanted"),
        (tmp_path / "file" / "below", "file: is a file; a folder is wanted"),
        (tmp_path / "closed", "closed: no file can be written.*: Permission denied"),
        (tmp_path / "closed" / "a" / "b", f"b: no file can be written in {tmp_path / 'closed'}: Permission denied"),
        (Path(), f"^{tmp_path / 'closed'}: no file can be written"),
        (tmp_path / "unreadable", "unreadable: cannot be read: Permission denied"),
        (Path("/dev/null"), "/dev/null: no file can be written in /dev/null: Not a directory"),
    ):
        with no_superuser(), pytest.raises(BadInput, match=why), owned_folder(folder):
            pass
    with pytest.raises(BadInput, match="'': is no path"), owned_folder(""):
        pass
    assert names(tmp_path) == ["closed", "file", "unreadable"]


def owner(folder: Path) -> subprocess.Popen[bytes]:
    """A process that owns a folder until it is killed. A child that it forks lives on."""
    code = (
        "import os, sys, time; from muspike.files import owned_folder\n"
        "with owned_folder(sys.argv[1]):\n"
        "    if not os.fork(): print('now', flush=True); time.sleep(3); os._exit(0)\n"
        "    time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"now\n"
    return process


def test_a_second_owner_is_refused_until_the_first_one_is_dead(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with owner(folder) as process:
        with (
            pytest.raises(BadInput, match="run: another muspike command is at work in this folder"),
            owned_folder(folder),
        ):
            pass
        assert names(folder) == [LOCK]  # the lock of the first
        process.kill()
    with owned_folder(folder):
        assert names(folder) == [LOCK]
    assert names(folder) == []


def test_an_owner_in_the_same_process_counts_too(tmp_path: Path) -> None:
    with owned_folder(tmp_path):
        link = tmp_path.parent / f"{tmp_path.name}-link"
        link.symlink_to(tmp_path)
        with pytest.raises(BadInput, match="link: another muspike command"), owned_folder(link):
            pass
    with owned_folder(link):
        pass


def test_a_lock_that_goes_away_while_it_is_taken_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner removes the file and ends between our opening and our locking."""
    flock, calls = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        calls.append(handle)
        if len(calls) == 1:
            (tmp_path / LOCK).unlink()
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with owned_folder(tmp_path):
        assert len(calls) == 2 and names(tmp_path) == [LOCK]


def test_a_file_system_without_locks_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.warns(Doubt, match="its file system has no locks"), owned_folder(tmp_path):
        (tmp_path / "file").touch()
    assert names(tmp_path) == ["file"]
