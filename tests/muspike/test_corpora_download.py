"""Archives from a server, and unpacking them: what stops halfway goes on, and nothing leaves the folder."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import shutil
import stat
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import platformdirs
import pytest

from muspike import corpora
from muspike.cli import main
from muspike.corpora import lakh
from muspike.corpora.archives import unpack
from muspike.corpora.download import fetch
from muspike.corpora.source import Archive
from muspike.errors import BadInput, Failed
from stored_corpus import write_folder

CONTENT = os.urandom(300_000)


@dataclass
class Server:
    """What a server on this machine gives, and what it was asked for.

    Attributes:
        content: of every address.
        most: bytes after which it hangs up; None: it gives all.
        ranges: whether it gives the rest of a file.
        status: of every answer, if not 200.
        asked: the ranges that were asked for.
    """

    content: bytes = CONTENT
    most: int | None = None
    ranges: bool = True
    status: int | None = None
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    given = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = self.headers.get("Range")
            given.asked.append(asked)
            if given.status is not None:
                self.send_error(given.status)
                return
            first = int(asked.removeprefix("bytes=").rstrip("-")) if asked and given.ranges else 0
            if first >= len(given.content):
                self.send_error(416)
                return
            self.send_response(206 if first else 200)
            self.send_header("Content-Length", str(len(given.content) - first))
            self.end_headers()
            end = len(given.content) if given.most is None else first + given.most
            self.wfile.write(given.content[first:end])

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        given.url = f"http://127.0.0.1:{running.server_port}/file.tar.gz"
        yield given
        running.shutdown()


def archive(server: Server, content: bytes = CONTENT) -> Archive:
    return Archive(server.url, "file.tar.gz", len(content), hashlib.md5(content).hexdigest())


def test_a_download_that_stops_goes_on(server: Server, tmp_path: Path) -> None:
    server.most = 100_000
    for _ in range(2):
        with pytest.raises(Failed, match=r"the server stopped after \d+,000 of 300,000 bytes; 0\.\d MB are kept"):
            fetch(archive(server), tmp_path, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["file.tar.gz.part"]
    server.most = None
    whole = fetch(archive(server), tmp_path, progress=False)
    assert whole.read_bytes() == CONTENT
    assert server.asked == [None, "bytes=100000-", "bytes=200000-"]
    assert fetch(archive(server), tmp_path, progress=False) == whole and len(server.asked) == 3
    assert [path.name for path in tmp_path.iterdir()] == ["file.tar.gz"]


def test_a_server_without_ranges_begins_anew(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.tar.gz.part").write_bytes(b"x" * 1000)
    assert fetch(archive(server), tmp_path, progress=False).read_bytes() == CONTENT


def test_what_is_not_as_published_is_removed(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has the MD5 [0-9a-f]{32}; 0+ is published; it was removed"):
        fetch(replace(archive(server), md5="0" * 32), tmp_path, progress=False)
    with pytest.raises(BadInput, match=r"has 300,000 bytes; 299,999 are published"):
        fetch(replace(archive(server), size=299_999), tmp_path, progress=False)
    (tmp_path / "file.tar.gz.part").write_bytes(b"x" * 400_000)
    with pytest.raises(BadInput, match=r"brought 400,000 bytes; 300,000 are published; it was removed"):
        fetch(archive(server), tmp_path, progress=False)
    (tmp_path / "file.tar.gz.part").write_bytes(b"x" * 400_000)
    with pytest.raises(Failed, match="does not fit it and was removed"):
        fetch(Archive(server.url, "file.tar.gz"), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("status", [404, 403, 500, 503])
def test_a_server_that_refuses_is_said(status: int, server: Server, tmp_path: Path) -> None:
    server.status = status
    with pytest.raises(Failed, match=rf"^{server.url}: the server answers {status} ") as failed:
        fetch(archive(server), tmp_path, progress=False)
    assert "\n" not in str(failed.value)


def test_no_server_is_said(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r"^http://127\.0\.0\.1:9/x: .*refused"):
        fetch(Archive("http://127.0.0.1:9/x", "x"), tmp_path, progress=False)


def test_build_downloads_unpacks_and_reads(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    write_folder(tmp_path / "files" / "lmd_full" / "0", range(6))
    packed = Path(shutil.make_archive(str(tmp_path / "file"), "gztar", tmp_path / "files")).read_bytes()
    server.content, server.most = packed, len(packed) // 2
    monkeypatch.setattr(lakh, "SOURCE", replace(lakh.SOURCE, archive=archive(server, packed)))
    assert main(["data", "build", "lakh"]) == 1
    assert "the server stopped" in capsys.readouterr().err
    server.most = None
    assert main(["data", "build", "lakh", "--workers", "2"]) == 0
    shown = capsys.readouterr()
    assert "lakh: 6 pieces in" in shown.out and "licence: CC BY 4.0" in shown.err
    asked = len(server.asked)
    assert main(["data", "build", "lakh"]) == 0 and len(server.asked) == asked
    assert "was built before, nothing changed" in capsys.readouterr().out
    assert len(corpora.load("lakh").pieces) == 6


def test_a_download_that_is_no_archive_is_removed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    monkeypatch.setattr(lakh, "SOURCE", replace(lakh.SOURCE, archive=archive(server)))
    with pytest.raises(BadInput, match=r"is damaged.*; it was removed, and the same command downloads it again"):
        corpora.build("lakh", progress=False)
    assert not list((tmp_path / "cache").rglob("*.tar.gz"))


# --- unpacking ---


def tar_of(path: Path, *members: tarfile.TarInfo | tuple[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                entry = tarfile.TarInfo(member[0])
                entry.size = len(member[1])
                tar.addfile(entry, io.BytesIO(member[1]))
    return path


def zip_of(path: Path, *members: tuple[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in members:
            zipped.writestr(zipfile.ZipInfo(name), content)
    return path


def test_files_and_folders_come_out(tmp_path: Path) -> None:
    for made in (
        tar_of(tmp_path / "a.tar.gz", ("a/b.mid", b"one"), ("c.mid", b"two")),
        zip_of(tmp_path / "a.zip", ("a/", b""), ("a/b.mid", b"one"), ("c.mid", b"two")),
    ):
        folder = tmp_path / f"out-{made.suffix}"
        unpack(made, folder, progress=False)
        assert (folder / "a" / "b.mid").read_bytes() == b"one" and (folder / "c.mid").read_bytes() == b"two"


@pytest.mark.parametrize("name", ["../out.mid", "/tmp/out.mid", "a/../../out.mid", "C:\\out.mid", "a\\..\\..\\out.mid"])
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_paths_that_lead_out_are_refused(name: str, make: Callable[..., Path], tmp_path: Path) -> None:
    made = make(tmp_path / "a.tar.gz", ("good.mid", b"one"), (name, b"two"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(
        BadInput, match=r"^.*a\.tar\.gz: its member '.*' leads out of the folder; nothing was unpacked$"
    ):
        unpack(made, tmp_path / "in" / "folder", progress=False)
    assert not list((tmp_path / "in").iterdir())
    assert sorted(path for path in tmp_path.iterdir() if path.name != "in") == before


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("link.mid")
    entry.type, entry.linkname = kind, "/etc/passwd"
    with pytest.raises(BadInput, match=r"'link\.mid' is a link or a device"):
        unpack(tar_of(tmp_path / "a.tar.gz", ("b.mid", b"one"), entry), tmp_path / "out", progress=False)
    info = zipfile.ZipInfo("link.mid")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(info, "/etc/passwd")
    with pytest.raises(BadInput, match=r"'link\.mid' is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_damaged_archives_are_refused(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "a.tar.gz", ("a.mid", os.urandom(20_000))).read_bytes()
    zipped = zip_of(tmp_path / "a.zip", ("a.mid", os.urandom(20_000))).read_bytes()
    broken = bytearray(zipped)
    broken[5000] ^= 0xFF
    cases = {
        "cut.tar.gz": whole[:9000],
        "none.zip": b"PK",
        "text.tar": b"hello",
        "broken.zip": bytes(broken),
        "e.tar": b"",
    }
    for name, content in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(BadInput, match=rf"{name}: is damaged") as refused:
            unpack(path, tmp_path / "out", progress=False)
        assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("out*"))


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tar_of(tmp_path / "a.tar.gz", *((f"{n}.mid", bytes(1000)) for n in range(20)))
    with monkeypatch.context() as patch:
        patch.setattr("muspike.corpora.archives.MOST_BYTES", 10_000)
        with pytest.raises(BadInput, match="unpacks to more than"):
            unpack(made, tmp_path / "out", progress=False)
    monkeypatch.setattr("muspike.corpora.archives.MOST_FILES", 10)
    with pytest.raises(BadInput, match="holds more than 10 files"):
        unpack(made, tmp_path / "out", progress=False)
    assert not list(tmp_path.glob("out*"))
