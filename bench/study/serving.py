"""The server of a study as a process: its socket, the password of its admin, its end."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import uvicorn

from muspike.bench.study.admin_pages import SHORTEST_PASSWORD, ensure_password
from muspike.bench.study.app import create, open_server
from muspike.bench.study.database import Url
from muspike.errors import BadInput
from muspike.files import check_file

PASSWORD_VARIABLE = "MUSPIKE_STUDY_ADMIN_PASSWORD"
"""The environment variable with the password of the admin."""
_LONGEST_PASSWORD = 1000
# Listeners who come in the same second wait here.
_BACKLOG = 1024
# Browsers keep a connection while somebody listens and thinks.
_KEEP_ALIVE_S = 75
_LAST_REQUESTS_S = 5


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
            config = uvicorn.Config(
                create(server),
                log_level="warning",
                access_log=False,  # no address of a listener is written anywhere
                server_header=False,
                proxy_headers=True,
                forwarded_allow_ips="127.0.0.1,::1",
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_LAST_REQUESTS_S,
                backlog=_BACKLOG,
            )
            started(f"http://{shown}:{at[1]}/", made)
            uvicorn.Server(config).run([listening])
    finally:
        server.database.close()


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
