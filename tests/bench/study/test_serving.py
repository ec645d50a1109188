"""The server as a process: its start, its end, being killed; `study export`."""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import socket
import sqlite3
import stat
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

import study_server
from muspike.bench.study import answers, database, plan, protection, questionnaire, serving
from muspike.bench.study import study as studies
from muspike.bench.study.app import create, open_server
from muspike.bench.study.serving import PASSWORD_VARIABLE, read_password
from muspike.cli import main
from muspike.errors import BadInput
from small_study import small_study
from study_server import HttpListener, hidden_fields, radio_groups, running, start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    # So short that nobody waits for the end of a sound.
    small_study(tmp_path, excerpts=3, screened=False, seconds=0.12)
    return tmp_path


def found_in(folder: Path) -> answers.Answers:
    study, form = studies.read(folder), questionnaire.load(folder / studies.QUESTIONNAIRE)
    return database.answers(database.url_of(folder), study, form)


def at(server: study_server.Running, listener: HttpListener | None = None) -> httpx.Client:
    """A browser at a server, with the cookies of a listener."""
    cookies = listener.client.cookies if listener else None
    kept = httpx.Limits(keepalive_expiry=None)  # as long as the server keeps them
    return httpx.Client(base_url=server.address, cookies=cookies, timeout=30, trust_env=False, limits=kept)


# --- being killed ----------------------------------------------------------------------------------------------------


@dataclass
class Sender:
    """A listener who answers as fast as pages come, and remembers what the server has acknowledged."""

    drawn: random.Random
    listener: HttpListener
    acknowledged: dict[int, dict[str, str]] = field(default_factory=dict)
    sent: dict[int, list[dict[str, str]]] = field(default_factory=dict)
    finished: bool = False
    number: int = 0

    def run(self) -> None:
        """Answer until the last page, or until the server is gone."""
        with contextlib.suppress(httpx.TransportError):
            self.listener.get("/")
            if not self.listener.path.startswith(("/trial/", "/thanks")):
                self.listener.begin()
            while self.listener.path.startswith("/trial/"):
                trial = int(self.listener.path.rpartition("/")[2]) - 1
                fields = hidden_fields(self.listener.page)
                chosen = {name: self.drawn.choice(of) for name, of in radio_groups(self.listener.page).items()}
                self.sent.setdefault(trial, []).append(chosen)
                response = self.listener.client.post(self.listener.path, data=fields | chosen)
                assert response.status_code == 303, response.text
                self.acknowledged[trial] = chosen
                self.listener.get("/")
            self.finished = self.listener.path == "/thanks"


def check(folder: Path, senders: list[Sender]) -> None:
    """Every acknowledged answer is there as it was sent; others are whole and were sent, or are not there."""
    study = studies.read(folder)
    with contextlib.closing(sqlite3.connect(folder / database.FILE)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = found_in(folder)
    stored: dict[tuple[int, int], dict[str, str]] = {}
    for row in found.ratings.itertuples():
        stored.setdefault((row.listener, row.trial), {})[f"item.{row.item}"] = str(row.rating)
    for row in found.turing.itertuples():
        one = stored.setdefault((row.listener, row.trial), {})
        one["confidence"] = str(row.confidence)
    by_listener: dict[int, dict[int, dict[str, str]]] = {}
    for (listener, trial), chosen in stored.items():
        by_listener.setdefault(listener, {})[trial] = chosen

    def told(chosen: dict[str, str]) -> dict[str, str]:
        return {name: value for name, value in chosen.items() if name not in ("turing", "attention")}

    for sender in senders:
        if not sender.acknowledged:
            continue
        mine = by_listener.get(sender.number, {})
        for trial, chosen in sender.acknowledged.items():
            if told(chosen):  # an attention check is counted below
                assert mine.get(trial) == told(chosen), (sender.number, trial)
        for trial, chosen in mine.items():
            assert chosen in [told(one) for one in sender.sent[trial]]
    asked = int(found.listeners["attention_asked"].sum())
    of_list = dict(zip(found.listeners["listener"], found.listeners["list"], strict=True))
    acknowledged = sum(
        study.lists[of_list[sender.number]][trial].kind == "attention"
        for sender in senders
        for trial in sender.acknowledged
    )
    assert asked >= acknowledged


def number_of(folder: Path, sender: Sender) -> int:
    """The number of a listener in the tables, by the cookie."""
    token = sender.listener.client.cookies.get("muspike-study") or ""
    with contextlib.closing(sqlite3.connect(folder / database.FILE)) as connection:
        row = connection.execute("SELECT id FROM listeners WHERE token_sha256 = ?", [database.sha256(token)]).fetchone()
    return int(row[0]) if row else 0


@pytest.mark.parametrize("kills", [2, pytest.param(12, marks=pytest.mark.nightly)])
def test_no_acknowledged_answer_is_lost_when_the_server_is_killed(folder: Path, kills: int) -> None:
    drawn = random.Random(kills)
    senders: list[Sender] = []
    for kill in range(kills + 1):
        server = start(folder)
        last = kill == kills
        going = [sender for sender in senders if not sender.finished]
        for sender in going:
            sender.listener.client = at(server, sender.listener)
        while len(going) < 6 and not last:
            sender = Sender(random.Random(drawn.random()), HttpListener(at(server)))
            senders.append(sender)
            going.append(sender)
        threads = [threading.Thread(target=sender.run) for sender in going]
        for thread in threads:
            thread.start()
        if last:
            for thread in threads:
                thread.join()
            server.kill()
        else:
            before = sum(len(sender.acknowledged) for sender in senders)
            while sum(len(sender.acknowledged) for sender in senders) < before + 8:  # it is at work
                time.sleep(0.01)
            time.sleep(drawn.random() / 2)
            server.kill()
            for thread in threads:
                thread.join()
        for sender in senders:
            sender.number = number_of(folder, sender)
        check(folder, senders)
    # Whoever was interrupted has gone on to the end.
    assert senders and all(sender.finished for sender in senders if sender.number)
    assert found_in(folder).listeners["finished"].sum() >= len(senders) - kills


def test_a_commit_is_on_the_disk_before_it_is_acknowledged(folder: Path) -> None:
    opened = database.Database(database.url_of(folder), studies.read(folder))
    with opened._raw() as cursor:
        settings = {name: cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    opened.close()
    assert settings == {"journal_mode": "wal", "synchronous": 2}  # 2: FULL


# --- start and end ---------------------------------------------------------------------------------------------------


def test_the_first_start_makes_a_password_and_prints_it_once(folder: Path) -> None:
    passwords = []
    for _ in range(2):
        server = start(folder, password=None)
        deadline = time.monotonic() + 20
        while not any("admin logs in" in line for line in server.said) and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        assert server.stop() == 0
        said = "".join(server.said)
        assert "stopped; all answers that were sent are stored" in said
        passwords += [line.split()[-1] for line in server.said if "password is" in line]
    (password,) = passwords
    with running(folder, password=None) as again:
        admin = HttpListener(at(again))
        admin.get("/admin/login")
        assert admin.post("/admin/login", {"password": password}).url.path == "/admin"
    assert password.encode() not in b"".join(path.read_bytes() for path in folder.glob("study.db*"))


def test_sounds_that_are_not_those_of_the_plan_are_told(folder: Path) -> None:
    sound, *_ = sorted((folder / studies.AUDIO).iterdir())
    planned = {path.relative_to(folder).as_posix(): "0" * 64 for path in (folder / studies.AUDIO).iterdir()}
    empty = {"listeners": {}, "analysis": {}, "muspike": "0", "format": plan.FORMAT}
    (folder / plan.PLAN).write_text(json.dumps(empty | {"files": planned}), encoding="utf-8")
    server = start(folder)
    while not any("other file" in line for line in server.said) and server.process.poll() is None:
        time.sleep(0.05)
    server.stop()
    told = "".join(server.said)
    assert f"since the plan, {sound.relative_to(folder)} was changed: its SHA-256" in told
    assert told.count("since the plan") == 6


def test_sigterm_ends_it_like_a_service(folder: Path) -> None:
    server = start(folder)
    with at(server) as client:
        assert client.get("/").status_code == 200
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) in (0, 128 + signal.SIGTERM)
    assert not (folder / "study.db-wal").exists()  # the log of SQLite is written back


def test_connections_on_which_nothing_comes_are_closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "HEAD_S", 0.2)
    monkeypatch.setattr(protection, "BODY_S", 0.2)
    server = open_server(folder, database.url_of(folder))
    form = b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\na"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        web = serving._Server(serving._config(create(server)))
        thread = threading.Thread(target=web.run, args=([listening],))
        thread.start()
        try:
            for sent, answer in (
                (b"", b""),
                (b"GET / HT", b""),
                (b"GET /withdrawn HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 "),
                (b"POST /consent HTTP/1.1\r\nHost: x\r\n" + form, b"HTTP/1.1 408 "),
            ):
                with socket.create_connection(listening.getsockname(), timeout=60) as stranger:
                    stranger.sendall(sent)
                    got = bytearray()
                    while more := stranger.recv(65536):  # until it is closed
                        got += more
                        if got.endswith((b"</html>\n", b"</html>")):
                            stranger.sendall(b"GET / HT")  # half of the next request
                    assert got.startswith(answer) and bool(got) == bool(answer), sent
            with httpx.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}", trust_env=False) as client:
                assert client.get("/").status_code == 200
        finally:
            web.should_exit = True
            thread.join()
            server.database.close()


def test_more_connections_than_files_cost_neither_the_log_nor_the_others(folder: Path) -> None:
    limit = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (120, 120))"
    with running(folder, before=limit) as server, contextlib.ExitStack() as opened:
        host, port = server.address.removeprefix("http://").rstrip("/").split(":")
        with at(server) as client:  # a listener who was there before
            assert client.get("/").status_code == 200
            strangers = [opened.enter_context(socket.create_connection((host, int(port)))) for _ in range(120)]
            assert client.get("/").status_code == 200
            for stranger in strangers:
                stranger.close()
            while True:
                with contextlib.suppress(httpx.TransportError), at(server) as other:
                    if other.get("/").status_code == 200:
                        break
        assert len("".join(server.said)) < 1000


def test_half_a_request_holds_no_end_up_and_is_no_defect(folder: Path) -> None:
    server = start(folder)
    host, port = server.address.removeprefix("http://").rstrip("/").split(":")
    with socket.create_connection((host, int(port))) as stranger, at(server) as client:
        stranger.sendall(b"POST /consent HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n")
        stranger.sendall(b"Content-Type: application/x-www-form-urlencoded\r\n\r\na")
        assert client.get("/").status_code == 200
        server.stop()
    assert "Traceback" not in "".join(server.said)


def test_behind_a_proxy_with_https_cookies_are_secure(folder: Path) -> None:
    with running(folder) as server, at(server) as client:
        headers = {"x-forwarded-proto": "https", "x-forwarded-for": "203.0.113.9"}
        cookie = client.get("/", headers=headers).headers["set-cookie"]
        assert cookie.startswith("__Host-") and "Secure" in cookie
        assert "server" not in client.get("/").headers
    assert "203.0.113.9" not in "".join(server.said)


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["study", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_a_port_that_is_taken(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        line = said(capsys, "serve", str(folder), "--port", str(taken.getsockname()[1]))
    assert "--port" in line and "choose another port" in line
    assert "no address of this machine" in said(capsys, "serve", str(folder), "--host", "no-such-host.invalid")
    assert "is no name of a machine" in said(capsys, "serve", str(folder), "--host", f"{'x' * 64}.example")
    assert "cannot be had" in said(capsys, "serve", str(folder), "--host", "203.0.113.1", "--port", "0")


def test_a_study_that_is_not_whole(folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (empty := tmp_path / "empty").mkdir()
    assert "holds no study" in said(capsys, "serve", str(empty))
    sound = next((folder / studies.AUDIO).iterdir())
    content = sound.read_bytes()
    sound.unlink()
    assert str(sound) in said(capsys, "serve", str(folder))
    sound.write_bytes(content)
    text = (folder / studies.QUESTIONNAIRE).read_text(encoding="utf-8")
    (folder / studies.QUESTIONNAIRE).write_text(re.sub("scale = .*", 'scale = ["no"]', text), encoding="utf-8")
    assert "scale has 1 point" in said(capsys, "serve", str(folder))
    (folder / studies.QUESTIONNAIRE).write_text(re.sub("scale = .*", 'scale = ["no", "yes"]', text), encoding="utf-8")
    study = studies.read(folder)
    studies.write(folder, replace(study, targets={"nobody": 3}))
    assert "group 'nobody' is none of the questionnaire's" in said(capsys, "serve", str(folder))
    lists = tuple(tuple(replace(one, wanted=one.wanted and 3) for one in trials) for trials in study.lists)
    studies.write(folder, replace(study, lists=lists))
    assert "asks for point 3; the scale of the questionnaire has 2" in said(capsys, "serve", str(folder))
    (folder / studies.QUESTIONNAIRE).write_text("nonsense", encoding="utf-8")
    assert studies.QUESTIONNAIRE in said(capsys, "serve", str(folder))
    assert not (folder / database.FILE).exists()


def test_where_a_password_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(PASSWORD_VARIABLE, raising=False)
    assert read_password(None) is None
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the environment")
    assert read_password(None) == "from the environment"
    file = tmp_path / "password"
    file.write_text("from the file\r\nand no more\n", encoding="utf-8")
    file.chmod(stat.S_IRUSR)
    assert read_password(file) == "from the file"
    file = tmp_path / "short"
    file.write_text("short\n", encoding="utf-8")
    with pytest.raises(BadInput, match="has 5 characters; expected 8 to 1000"):
        read_password(file)
    assert str(file) in said(capsys, "serve", str(folder), "--admin-password-file", str(file))


# --- export ----------------------------------------------------------------------------------------------------------


def test_export_writes_what_the_database_has(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with running(folder) as server, at(server) as client:
        listener = HttpListener(client)
        listener.begin()
        time.sleep(0.3)
        listener.answer(why='because, "really"\n= so')
        assert main(["study", "export", str(folder), "-o", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == {"listeners": 1, "ratings": 13, "turing": 1}
    read = answers.read(tmp_path / "out")
    found = found_in(folder)
    for name in ("listeners", "ratings", "turing"):
        assert getattr(read, name).equals(getattr(found, name)), name
