"""Lava as the judge: runs a Program in lava-nc's `fixed_pt` models, in a virtual environment of its own.

Which Python runs Lava, in this order: the argument `python`, the environment variable MUSPIKE_LAVA_PYTHON, the
environment in the user's cache folder, which is made on first use.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs

from muspike.errors import BadInput, Failed
from muspike.hardware.program import Program
from muspike.hardware.running.agreement import Exactness, exactness
from muspike.hardware.simulator.events import Run, Simulator

VARIABLE = "MUSPIKE_LAVA_PYTHON"
LAVA = "lava-nc==0.10.0"
# lava-nc asks for Python 3.10, NumPy below 2 and scikit-learn, which it never imports. The worker runs it on 3.11 to
# 3.13 with these, and 190 of its own 191 tests of the processes used here pass.
REQUIREMENTS = ("numpy==2.4.6", "scipy==1.17.1", "networkx==3.6.1", "asteval==1.0.10")
PATIENCE_S = 600.0
_CHECK_PATIENCE_S = 60.0
_SECONDS_BETWEEN_LOOKS = 0.5
_WORKER = Path(__file__).with_name("lava_worker.py")
_PYTHON_IN_ENVIRONMENT = Path("Scripts/python.exe" if os.name == "nt" else "bin/python")


@dataclass(frozen=True, eq=False)
class LavaRun:
    """What Lava computed.

    Attributes:
        spikes: uint8 `[ticks, batch, size]` of every population that is not an input.
        membrane: int32 `[ticks, batch, size]`, v after the tick, of every `li`; of all with `record_membranes`.
        current: the same for u, empty without `record_membranes`.
        versions: of python, lava-nc and numpy.
        seconds_per_tick: measured after the first 20 ticks, building and starting left out; NaN for fewer.
    """

    spikes: Mapping[str, npt.NDArray[np.uint8]]
    membrane: Mapping[str, npt.NDArray[np.int32]]
    current: Mapping[str, npt.NDArray[np.int32]]
    versions: Mapping[str, str]
    seconds_per_tick: float


def run_lava(
    program: Program | str | os.PathLike[str],
    inputs: npt.NDArray[np.uint8],
    python: str | os.PathLike[str] | None = None,
    record_membranes: bool = False,
    patience_s: float = PATIENCE_S,
) -> LavaRun:
    """Run a Program, or the file of one, in Lava's `fixed_pt` models; the sequences of the batch one after another.

    Args:
        inputs: 0 or 1, `[ticks, batch, size]`, the input populations side by side in their order.
        python: a Python that has lava-nc 0.10.0.
        patience_s: how long Lava may be without progress. It makes some when the network is built, after the first 20
            ticks, and then about every 5 seconds, or each tick if one takes longer.

    Raises:
        BadInput: the Program or the inputs do not hold.
        Failed: no Python can run Lava, Lava stopped with an error, or it made no progress.
    """
    loaded = program if isinstance(program, Program) else Program.load(program)
    given = np.asarray(inputs)
    size = sum(p.size for p in loaded.inputs)
    if given.ndim != 3 or given.shape[2] != size or 0 in given.shape[:2] or given.dtype.kind not in "biu":
        raise BadInput(
            f"inputs: {given.dtype} {list(given.shape)}; Lava needs integers [ticks, batch, {size}], not none"
        )
    if not loaded.n_neurons:
        raise BadInput("program: all populations are inputs; Lava needs one of neurons")
    if size and (given.max() > 1 or given.min() < 0):
        raise BadInput(f"inputs: hold {given.min()}..{given.max()}; spikes are 0 or 1")
    interpreter = find_lava_python(python)
    with tempfile.TemporaryDirectory(prefix="muspike-lava-") as folder:
        paths = [Path(folder) / name for name in ("program.npz", "inputs.npy", "output.npz")]
        loaded.save(paths[0])
        np.save(paths[1], given.astype(np.uint8))
        flags = ["--membranes"] if record_membranes else []
        _worker(interpreter, [*map(str, paths), *flags], patience_s)
        if not paths[2].is_file():
            raise Failed(f"{interpreter}: ended without an error and wrote nothing; it is no Python that runs Lava")
        with np.load(paths[2]) as output:
            results = {name: output[name] for name in output.files}

    def of(kind: str) -> dict[str, npt.NDArray[np.int32]]:
        names = ((f"{kind}_{i}", p.name) for i, p in enumerate(loaded.populations))
        return {name: results[key] for key, name in names if key in results}

    return LavaRun(
        spikes={name: spikes.astype(np.uint8) for name, spikes in of("spikes").items()},
        membrane=of("v"),
        current=of("u"),
        versions=json.loads(str(results["versions"])),
        seconds_per_tick=float(results["seconds_per_tick"]),
    )


def compare(run: Run, lava: LavaRun) -> tuple[Exactness, ...]:
    """Hold a run of the simulator against one of Lava on the same inputs: one row per population of the chip.

    Every spike is compared, and every u and v that both recorded.
    """
    # The simulator keeps no spikes of readouts; a membrane that one reset and the other did not shows in v.
    spikes = {**lava.spikes, **run.spikes}
    return exactness(spikes, lava.spikes, [(run.current, lava.current), (run.membrane, lava.membrane)])


def verify(
    program: Program | str | os.PathLike[str],
    inputs: npt.NDArray[np.uint8],
    python: str | os.PathLike[str] | None = None,
    record_membranes: bool = True,
    patience_s: float = PATIENCE_S,
) -> tuple[tuple[Exactness, ...], LavaRun]:
    """Run a Program in the simulator and in Lava, and compare; it is proved where every row is `exact`.

    Raises: as `run_lava`.
    """
    loaded = program if isinstance(program, Program) else Program.load(program)
    lava = run_lava(loaded, inputs, python, record_membranes, patience_s)
    run = Simulator(loaded, inputs.shape[1]).run(inputs, record_membranes)
    return compare(run, lava), lava


def find_lava_python(python: str | os.PathLike[str] | None = None) -> Path:
    """A Python that runs Lava; makes the environment in the cache folder where nothing else is given or there.

    Raises:
        Failed: the Python given does not run lava-nc 0.10.0, or the environment cannot be made.
    """
    given, origin = (python, "--python") if python is not None else (os.environ.get(VARIABLE), VARIABLE)
    if given:
        try:
            lava_versions(given)
        except Failed as error:
            raise Failed(f"{origin} {os.fspath(given)}: does not run {LAVA}: {error}") from error
        # As it was found: a name alone would be looked up again, and ./python become another.
        return Path(os.path.abspath(shutil.which(os.fspath(given)) or given))  # noqa: PTH100  # links stay
    cached = environment_path() / _PYTHON_IN_ENVIRONMENT
    if os.access(cached, os.X_OK):  # follows the link: false when the Python it was made from has gone
        return cached
    return make_lava_environment()


def environment_path() -> Path:
    """Where the environment for this version of Python lives; it need not exist."""
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return platformdirs.user_cache_path("muspike") / f"{LAVA.replace('==', '-')}-{version}"


def environment_report(python: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Which Python would run Lava, without making anything: `python`, `origin`, and its versions or an `error`."""
    given = python if python is not None else os.environ.get(VARIABLE)
    chosen = Path(given) if given else environment_path() / _PYTHON_IN_ENVIRONMENT
    origin = "--python" if python is not None else VARIABLE if given else "cache"
    report = {"python": str(chosen), "origin": origin}
    if origin == "cache" and not os.access(chosen, os.X_OK):
        return report | {"error": "not made yet; it is on first use"}
    try:
        return report | {f"{name} version": version for name, version in lava_versions(chosen).items()}
    except Failed as error:
        return report | {"error": str(error)}


def lava_versions(python: str | os.PathLike[str]) -> dict[str, str]:
    """The versions of python, lava-nc and numpy in a Python that can import Lava.

    Raises:
        Failed: it does not run, cannot import Lava, or has another version of it.
    """
    answer = _worker(python, ["--check"], _CHECK_PATIENCE_S)
    try:
        versions = {str(name): str(version) for name, version in json.loads(answer).items()}
    except (AttributeError, ValueError):
        versions = {}
    if "lava-nc" not in versions:
        raise Failed(f"it is no Python: asked for its versions, it answered {answer.strip()[:40]!r}")
    wanted = LAVA.partition("==")[2]
    if versions["lava-nc"] != wanted:
        raise Failed(f"it has lava-nc {versions['lava-nc']}, not {wanted}")
    return versions


def make_lava_environment() -> Path:
    """Make the environment from the running Python, and say so on stderr; gives its Python.

    It appears whole or not at all, and of several makers at a time the first wins and all use its.

    Raises:
        Failed: the disk or the package installer refuses, or Lava does not run in it.
    """
    target = environment_path()
    print(f"muspike: making the environment for {LAVA} in {target} (once, 250 MB)", file=sys.stderr, flush=True)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".lava-", dir=target.parent, ignore_cleanup_errors=True) as folder:
            # A virtual environment's packages are found relative to its Python: it runs from wherever it is moved to.
            made = Path(folder) / "environment"
            _install(made)
            lava_versions(made / _PYTHON_IN_ENVIRONMENT)
            if target.exists() and not os.access(target / _PYTHON_IN_ENVIRONMENT, os.X_OK):
                target.rename(Path(folder) / "broken")
            if not target.exists():
                _rename_unless_there(made, target)
    except OSError as error:
        raise Failed(f"{target}: the environment for {LAVA} cannot be made: {error.strerror or error}") from error
    return target / _PYTHON_IN_ENVIRONMENT


def _rename_unless_there(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if not target.exists():
            raise


def _install(environment: Path) -> None:
    # The pip at hand installs into it; where there is none (uv), the environment gets one of its own.
    own = importlib.util.find_spec("pip") is None
    try:
        venv.create(environment, with_pip=own, symlinks=os.name != "nt")
    except subprocess.CalledProcessError as error:
        raise Failed(
            f"{environment}: no pip at hand, and none can be made (on Debian: apt install python3-venv); or name a "
            f"Python that has {LAVA} in {VARIABLE}"
        ) from error
    python = str(environment / _PYTHON_IN_ENVIRONMENT)
    pip = [python, "-m", "pip"] if own else [sys.executable, "-m", "pip", "--python", python]
    for arguments in (["--no-deps", "--ignore-requires-python", LAVA], ["--only-binary=:all:", *REQUIREMENTS]):
        command = [*pip, "install", "--quiet", "--no-input", *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise Failed(f"{LAVA} cannot be installed: {_cause(result.stderr)}; or name a Python in {VARIABLE}")


def _worker(python: str | os.PathLike[str], arguments: list[str], patience_s: float = PATIENCE_S) -> str:
    """Run the worker, pass its progress on to stderr, and give its stdout."""
    # Unrelated settings of the caller's Python must not reach another one.
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    with tempfile.TemporaryFile("w+") as stdout:
        try:
            process = subprocess.Popen(
                [os.fspath(python), "-u", str(_WORKER), *arguments],
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=kept,
                start_new_session=True,  # Lava starts a process per population and synapses: they end together
            )
        except OSError as error:
            raise Failed(f"{os.fspath(python)}: does not start: {error.strerror}") from error
        lines = []
        try:
            for line in _lines(process, patience_s):
                if line.startswith("lava: "):
                    print(line, end="", file=sys.stderr, flush=True)
                lines.append(line)
            status = process.wait(patience_s)
        except (TimeoutError, subprocess.TimeoutExpired) as error:
            raise Failed(
                f"Lava made no progress for {patience_s:g} s and was ended; give it more time (patience_s), or a "
                "smaller network"
            ) from error
        finally:
            _end(process)
        if status != 0:
            raise Failed(f"Lava stopped with status {status}: {_cause(''.join(lines))}")
        stdout.seek(0)
        return stdout.read()


def _lines(process: subprocess.Popen[str], patience_s: float) -> Iterator[str]:
    """The lines of a process's stderr until it ends; TimeoutError when none comes for so many seconds."""
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
            if process.poll() is not None:  # killed: what it started still holds the pipe
                return
            if time.monotonic() - last > patience_s:
                raise TimeoutError from None
            continue
        if line is None:
            return
        last = time.monotonic()
        yield line


def _end(process: subprocess.Popen[str]) -> None:
    """Kill the process and all that it started, as far as they are still there."""
    if process.returncode == 0:  # then nothing is
        return
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _cause(text: str) -> str:
    """The line of an installer's or a traceback's output that says what went wrong first, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"ERROR: |[\w.]*(Error|Exception)(: |$)", line)]
    return (errors[:1] or lines[-1:] or ["it says nothing"])[0]
