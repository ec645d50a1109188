"""The server of a study as a process: its socket, the password of its admin, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from muspike.bench.study.admin_pages import SHORTEST_PASSWORD, ensure_password
from muspike.bench.study.app import create, open_server
from muspike.bench.study.database import Url
from muspike.errors import BadInput
from muspike.files import check_file

if sys.platform != "win32":
    import resource

PASSWORD_VARIABLE = "MUSPIKE_STUDY_ADMIN_PASSWORD"
"""The environment variable with the password of the admin."""
_LONGEST_PASSWORD = 1000
# Listeners who come in the same second wait here.
_BACKLOG = 1024
# Browsers keep a connection while somebody listens and thinks.
_KEEP_ALIVE_S = 75
_LAST_REQUESTS_S = 5
_OPEN_FILES = 2**16
"""Wanted; each connection is one, and so is the sound that it asks for."""
_OWN_FILES = 64
HEAD_S = 20.0
"""How long a connection may stay open before the head of a request has come."""


def serve(
    folder: Path,
    url: Url,
    host: str = "127.0.0.1",
    port: int = 8000,
    password: str | None = None,
    started: Callable[[str, str | None], None] = lambda address, made: None,
) -> None:
    """Serve a study until the process is told to end. Then requests that are under way are answered.

    Args:
        folder: of the study.
        url: of the database.
        host: the address to listen at.
        port: the port; 0: any that is free.
        password: of the admin; None: the one that the study has, or a new one.
        started: is told the address, and the password if it was made up, once listeners can come.

    Raises:
        BadInput: the study or its database is not as it should be, or the port cannot be had.
        KeyboardInterrupt: the process was told to end.
    """
    server = open_server(folder, url)
    try:
        made = ensure_password(server.database, password)
        with _listening(host, port) as listening:
            at = listening.getsockname()
            shown = f"[{at[0]}]" if listening.family == socket.AF_INET6 else at[0]
            started(f"http://{shown}:{at[1]}/", made)
            _hold_signals(signal.SIG_BLOCK)
            try:
                _Server(_config(create(server))).run([listening])
            finally:
                _hold_signals(signal.SIG_UNBLOCK)
    finally:
        server.database.close()


def _open_files() -> int:
    """How many files this process may open, of which it takes as many as it gets."""
    if sys.platform == "win32":
        return _OPEN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES:
        soft = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return soft


def _config(app: FastAPI) -> uvicorn.Config:
    files = min(_open_files(), _OPEN_FILES)
    backlog = min(_BACKLOG, files // 4)  # so many are accepted at one go

    class Bounded(_Impatient):
        # A server without a file left could accept nothing, and would say so a thousand times a second.
        most = max(4, (files - backlog - _OWN_FILES) // 2)

    return uvicorn.Config(
        app,
        http=Bounded,
        ws="none",
        log_level="error",  # its warnings are about what strangers send
        access_log=False,  # no address of a listener is written anywhere
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1,::1",
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_REQUESTS_S,
        backlog=backlog,
    )


class _Server(uvicorn.Server):
    """A server that takes Ctrl-C once its loop runs. Before, an interruption would break the loop that is half made."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve."""
        await super().startup(sockets)
        _hold_signals(signal.SIG_UNBLOCK)


def _hold_signals(how: int) -> None:
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(how, {signal.SIGINT, signal.SIGTERM})


class _Impatient(H11Protocol):
    """A connection that is closed if the head of a request takes more than `HEAD_S`: else strangers keep them all.

    Attributes:
        most: connections at once. Further ones are closed.
    """

    most: int
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.close()
        else:
            self._watch()

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        super().connection_lost(exc)
        self._wait_no_longer()

    def _watch(self) -> None:
        waits = self.cycle is None or self.cycle.response_complete
        if waits and self._late is None:
            self._late = asyncio.get_running_loop().call_later(HEAD_S, self.transport.close)
        elif not waits:
            self._wait_no_longer()

    def _wait_no_longer(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        BadInput: the address or the port cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        made = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a machine is of such letters
        why = error.strerror if isinstance(error, OSError) else "is no name of a machine"
        raise BadInput(f"--host: {host} is no address of this machine: {why}") from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        made.close()
        raise BadInput(f"--port: {host}:{port} cannot be had: {error.strerror}; choose another port") from error
    return made


def read_password(file: Path | None) -> str | None:
    """The password of the admin from a file, whose first line it is, or else from the environment; None: from neither.

    Raises:
        BadInput: the file cannot be read, or the password is too short or too long.
    """
    if file is None:
        if (given := os.environ.get(PASSWORD_VARIABLE)) is None:
            return None
        where = PASSWORD_VARIABLE
    else:
        check_file(file, 2**16)
        try:
            given = file.read_text(encoding="utf-8").partition("\n")[0].rstrip("\r")
        except UnicodeDecodeError as error:
            raise BadInput(f"{file}: is no text in UTF-8; the password is its first line") from error
        where = str(file)
    if not SHORTEST_PASSWORD <= len(given) <= _LONGEST_PASSWORD:
        raise BadInput(
            f"{where}: the password has {len(given)} characters; expected {SHORTEST_PASSWORD} to {_LONGEST_PASSWORD}"
        )
    return given
