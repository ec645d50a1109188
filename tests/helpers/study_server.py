"""`muspike study serve` as a process of its own, and the listener who answers its pages by HTTP."""

from __future__ import annotations

import contextlib
import html
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

PASSWORD = "correct horse battery"


@dataclass
class Running:
    """A server that runs.

    Attributes:
        address: of its first page.
        process: the process.
        said: the lines of its standard output so far.
    """

    address: str
    process: subprocess.Popen[str]
    said: list[str]

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """End it as Ctrl-C does, and return its exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)


def start(folder: Path, *options: str, port: int = 0, password: str | None = PASSWORD, before: str = "pass") -> Running:
    """Start a server on a study, after the statement `before`, and wait until listeners can come."""
    environment = dict(os.environ)
    environment.pop("MUSPIKE_STUDY_ADMIN_PASSWORD", None)
    if password is not None:
        environment["MUSPIKE_STUDY_ADMIN_PASSWORD"] = password
    program = f"import sys\n{before}\nfrom muspike.cli import main\nsys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "study", "serve", str(folder), "--port", str(port), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    assert process.stdout is not None
    said: list[str] = []
    for line in process.stdout:
        said.append(line)
        if (found := re.search(r"is open at (\S+)", line)) is not None:
            # Whatever it says later must not fill the pipe.
            threading.Thread(target=lambda: said.extend(process.stdout or ()), daemon=True).start()
            return Running(found[1], process, said)
    raise AssertionError(f"the server ended with status {process.wait()}: {''.join(said)}")


@contextlib.contextmanager
def running(folder: Path, *options: str, password: str | None = PASSWORD, before: str = "pass") -> Iterator[Running]:
    """A server while the `with` block runs."""
    server = start(folder, *options, password=password, before=before)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()


# --- pages -----------------------------------------------------------------------------------------------------------

_INPUT = re.compile(r"<input\b([^>]*)>")
_ATTRIBUTE = re.compile(r'([a-z-]+)(?:="([^"]*)")?')


def hidden_fields(page: str) -> dict[str, str]:
    """The hidden fields of the first form of a page."""
    form = page[page.find("<form") : page.find("</form>")]
    return {of["name"]: of["value"] for of in _inputs(form) if of.get("type") == "hidden"}


def radio_groups(page: str) -> dict[str, list[str]]:
    """The values to choose from by the name of the field."""
    groups: dict[str, list[str]] = {}
    for of in _inputs(page):
        if of.get("type") == "radio":
            groups.setdefault(of["name"], []).append(of["value"])
    return groups


def _inputs(page: str) -> list[dict[str, str]]:
    return [{name: html.unescape(value) for name, value in _ATTRIBUTE.findall(of)} for of in _INPUT.findall(page)]


def sounds(page: str) -> list[str]:
    """The addresses of the sounds of a page."""
    return re.findall(r'<audio[^>]* src="([^"]+)"', page)


class HttpListener:
    """A listener without a browser.

    Args:
        client: keeps the cookies; redirects are not followed by it.
        choose: the value of a field, from its name and the values to choose from.
        background: answers to the background questions by id.
    """

    def __init__(
        self,
        client: httpx.Client,
        choose: Callable[[str, list[str]], str] = lambda name, values: values[0],
        background: Mapping[str, str] | None = None,
    ) -> None:
        self.client = client
        self.choose = choose
        self.background = {"years_of_lessons": "0", "profession": "no", "plays": "never", "age": ""} | dict(
            background or {}
        )
        self.path = "/"
        self.page = ""

    def get(self, path: str) -> httpx.Response:
        """Open a page, through redirects."""
        return self._shown(self.client.get(path, follow_redirects=True))

    def post(self, path: str, fields: Mapping[str, Any], *, csrf: bool = True) -> httpx.Response:
        """Send a form with the hidden fields of the page that is open."""
        hidden = hidden_fields(self.page) if csrf else {}
        return self._shown(self.client.post(path, data=hidden | dict(fields), follow_redirects=True))

    def _shown(self, response: httpx.Response) -> httpx.Response:
        self.page, self.path = response.text, response.url.path
        return response

    def begin(self) -> httpx.Response:
        """Agree, and answer what comes before the first piece."""
        self.get("/")
        self.post("/consent", {"agree": "yes"})
        self.post("/about", {f"background.{id}": value for id, value in self.background.items()})
        self.post("/volume", {})
        if self.path == "/headphones":
            self.post("/headphones", {name: values[0] for name, values in radio_groups(self.page).items()})
            if self.path == "/headphones":
                self.post("/headphones", {"without": "yes"})
        return self.post("/ready", {})

    def answers(self) -> dict[str, str]:
        """What the listener answers on the page that is open."""
        return {name: self.choose(name, values) for name, values in radio_groups(self.page).items()}

    def answer(self, **more: str) -> httpx.Response:
        """Answer the trial that is open; from a break, go on."""
        response = self.post(self.path, self.answers() | more)
        return self.get("/") if self.path == "/break" else response

    @property
    def code(self) -> str:
        """The personal code on the page."""
        found = re.search(r'<p class="code">([^<]+)</p>', self.page)
        assert found is not None
        return found[1]
