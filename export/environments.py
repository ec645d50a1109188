"""Virtual environments for tools that muspike only runs, and the child processes that run in them.

Such a tool has an environment of its own in the user's cache folder, made on first use. A script that imports nothing
of muspike runs there. What the script prints on stderr counts as progress.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from muspike.errors import Failed

PYTHON_IN_ENVIRONMENT = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")
_SECONDS_BETWEEN_LOOKS = 0.5


def checked(python: str | os.PathLike[str]) -> Path:
    """The path of an interpreter that was just run.

    A bare name would be looked up again, and ./python would be another file.
    """
    return Path(os.path.abspath(shutil.which(os.fspath(python)) or python))  # noqa: PTH100  # links stay


def make(
    target: Path, what: str, install: Callable[[Path], None], check: Callable[[Path], object], way_out: str
) -> Path:
    """Make an environment, which appears whole or not at all, and return its Python.

    If several processes make it at a time, the first one wins and all use its environment.

    Args:
        target: the folder of the environment.
        what: the tool, for errors.
        install: makes the environment in a folder.
        check: called with the new environment's Python; raises if the tool does not run there.
        way_out: what the user can do instead, for errors.

    Raises:
        Failed: the disk refuses; or what `install` and `check` raise.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=target.parent, ignore_cleanup_errors=True) as folder:
            # An environment finds its packages relative to its Python, so it can be moved.
            made = Path(folder) / "environment"
            install(made)
            check(made / PYTHON_IN_ENVIRONMENT)
            if target.exists() and not os.access(target / PYTHON_IN_ENVIRONMENT, os.X_OK):
                target.rename(Path(folder) / "broken")
            if not target.exists():
                _rename_unless_there(made, target)
    except OSError as error:
        raise Failed(
            f"{target}: the environment for {what} cannot be made: {error.strerror or error}; {way_out}"
        ) from error
    return target / PYTHON_IN_ENVIRONMENT


def _rename_unless_there(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.exists():
            raise


def install(
    environment: Path, what: str, steps: Sequence[Sequence[str]], way_out: str, no_pip: str, shared: bool = False
) -> None:
    """Make a virtual environment in an empty folder and install packages into it.

    Args:
        environment: the folder.
        what: the tool, for errors.
        steps: for each call of `pip install`, its arguments.
        way_out: what the user can do instead, for errors.
        no_pip: the same if there is no pip.
        shared: whether the environment also finds the packages of the running Python, such as torch. Its own come
            first.

    Raises:
        Failed: there is no pip, or it refuses.
    """
    # The running Python's pip installs into the environment. If there is no pip (uv), the environment gets its own.
    # Its place is asked of the paths alone: where setuptools hooks imports, `importlib.util.find_spec("pip")` takes its
    # distutils away, and torch.compile then fails for the rest of the process.
    own = importlib.machinery.PathFinder.find_spec("pip") is None
    try:
        venv.create(environment, with_pip=own, symlinks=os.name != "nt")
    except subprocess.CalledProcessError as error:
        raise Failed(
            f"{environment}: no pip at hand, and none can be made (on Debian: apt install python3-venv); {no_pip}"
        ) from error
    python = str(environment / PYTHON_IN_ENVIRONMENT)
    pip = [python, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", python]
    for arguments in steps:
        command = [*pip, "install", "--quiet", "--no-input", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Failed(f"{what} cannot be installed: {cause(result.stderr)}; {way_out}")
    if shared:
        _share_packages(environment)


def _share_packages(environment: Path) -> None:
    # A .pth file adds folders after the environment's own. It is written last: pip must not take what it finds there
    # for installed in the environment.
    folders = [f for f in sys.path if f and Path(f).name in ("site-packages", "dist-packages") and Path(f).is_dir()]
    (own,) = {*environment.glob("lib/python*/site-packages"), *environment.glob("Lib/site-packages")}
    (own / "muspike-shared.pth").write_text("".join(f"{folder}\n" for folder in folders))


def run_worker(
    python: str | os.PathLike[str],
    worker: Path,
    arguments: Sequence[str],
    what: str,
    patience_s: float,
    way_out: str,
    shown: str | None = None,
) -> str:
    """Run a script in another Python and return what it prints on stdout.

    Args:
        python: the Python.
        worker: the script.
        arguments: the arguments of the script.
        what: the tool, for errors.
        patience_s: seconds that may pass without a line on stderr.
        way_out: what the user can do if they pass, for errors.
        shown: lines of stderr that begin so are passed on; None: none.

    Raises:
        Failed: the Python does not start, the script ends with an error, or it makes no progress.
    """
    # Settings for the caller's Python must not reach another Python.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile("w+") as stdout:
        try:
            process = subprocess.Popen(
                [os.fspath(python), "-u", str(worker), *arguments],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=kept,
                start_new_session=True,  # what the script starts must end with it
            )
        except OSError as error:
            raise Failed(f"{os.fspath(python)}: does not start: {error.strerror}") from error
        lines = []
        try:
            for line in _lines(process, patience_s):
                if shown is not None and line.startswith(shown):
                    print(line, end="", file=sys.stderr, flush=True)
                lines.append(line)
            status = process.wait(patience_s)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise Failed(f"{what} made no progress for {patience_s:g} s and was ended; {way_out}") from error
        finally:
            _end(process)
        if status != 0:
            raise Failed(f"{what} stopped with status {status}: {cause(''.join(lines))}")
        stdout.seek(0)
        return stdout.read()


def _lines(process: subprocess.Popen[str], patience_s: float) -> Iterator[str]:
    """The lines of a process's stderr until it ends.

    Raises:
        TimeoutError: no line comes for `patience_s` seconds.
    """
    stderr = process.stderr
    assert stderr is not None
    read: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def reading() -> None:
        with stderr:
            for line in stderr:
                read.put(line)
        read.put(None)

    threading.Thread(target=reading, daemon=True).start()
    last = time.monotonic()
    while True:
        try:
            line = read.get(timeout=_SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            if process.poll() is not None:  # it was killed, and processes that it started hold the pipe open
                return
            if time.monotonic() - last > patience_s:
                raise TimeoutError from None
            continue
        if line is None:
            return
        last = time.monotonic()
        yield line


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process and all processes that it started, if they still run."""
    if process.returncode == 0:  # then none runs
        return
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def cause(text: str) -> str:
    """The first line that says what went wrong in an installer's or a traceback's output; else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"ERROR: |[\w.]*(Error|Exception)(: |$)", line)]
    return (errors[:1] or lines[-1:] or ["it says nothing"])[0]
