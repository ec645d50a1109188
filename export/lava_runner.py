"""Lava as the judge: run a Program in lava-nc's `fixed_pt` models, in a virtual environment of its own.

Lava runs in the first of these Pythons that is given: the argument `python`; the environment variable
MUSPIKE_LAVA_PYTHON; the environment in the user's cache folder, which is made on first use.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.cache import cache_folder
from muspike.errors import BadInput, Failed
from muspike.export import environments
from muspike.export.environments import PYTHON_IN_ENVIRONMENT
from muspike.hardware.program import Program
from muspike.hardware.running.agreement import Exactness, exactness
from muspike.hardware.simulator.events import Run, Simulator, as_inputs

VARIABLE = "MUSPIKE_LAVA_PYTHON"
LAVA = "lava-nc==0.10.0"
# lava-nc asks for Python 3.10, NumPy below 2, and scikit-learn, which it never imports. The worker runs it on Python
# 3.11 to 3.13 with these packages. 190 of lava-nc's 191 tests of the processes used here pass there.
REQUIREMENTS = ("numpy==2.4.6", "scipy==1.17.1", "networkx==3.6.1", "asteval==1.0.10")
PATIENCE_S = 600.0
_CHECK_PATIENCE_S = 60.0
_WORKER = Path(__file__).with_name("lava_worker.py")


@dataclass(frozen=True, eq=False)
class LavaRun:
    """What Lava computed.

    Attributes:
        spikes: uint8 `[ticks, batch, size]` of every population that is not an input.
        membrane: v after each tick, int32 (of a network in floats float64) `[ticks, batch, size]`, of every `li`
            population; with `record_membranes`, of all populations.
        current: the same for u; empty without `record_membranes`.
        versions: the versions of python, lava-nc and numpy.
        seconds_per_tick: measured after the first 20 ticks, without building and starting; NaN for shorter runs.
    """

    spikes: Mapping[str, npt.NDArray[np.uint8]]
    membrane: Mapping[str, npt.NDArray[Any]]
    current: Mapping[str, npt.NDArray[Any]]
    versions: Mapping[str, str]
    seconds_per_tick: float


def run_lava(
    program: Program | str | os.PathLike[str],
    inputs: npt.NDArray[np.uint8 | np.uint16],
    python: str | os.PathLike[str] | None = None,
    record_membranes: bool = False,
    patience_s: float = PATIENCE_S,
) -> LavaRun:
    """Run a Program, or a program file, in Lava's `fixed_pt` models. The sequences of the batch run one after another.

    Args:
        program: the Program, or the path of its file.
        inputs: 0 or 1, or whole numbers for graded inputs, `[ticks, batch, size]`, the input populations side by side
            in the Program's order.
        python: a Python that has lava-nc 0.10.0; None: as the module says.
        record_membranes: whether to record u and v of all populations.
        patience_s: seconds that Lava may take without progress. It reports progress when the network is built, after
            the first 20 ticks, and then about every 5 seconds, or every tick if a tick takes longer.

    Raises:
        BadInput: the Program is not valid, or the inputs do not fit it.
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
        raise BadInput("program: all populations are inputs; Lava needs at least one population of neurons")
    if size:
        as_inputs(loaded, given.shape[1], given)
    data: npt.NDArray[Any] = given.astype(np.uint16 if any(p.graded_bits for p in loaded.inputs) else np.uint8)
    with tempfile.TemporaryDirectory(prefix="muspike-lava-") as folder:
        path = Path(folder) / "program.npz"
        loaded.save(path)
        return run_file(path, [p.name for p in loaded.populations], data, python, record_membranes, patience_s)


def run_file(
    path: Path,
    names: Sequence[str],
    inputs: npt.NDArray[np.uint8 | np.uint16],
    python: str | os.PathLike[str] | None = None,
    record_membranes: bool = False,
    patience_s: float = PATIENCE_S,
) -> LavaRun:
    """Run a file that `lava_network.py` reads, a program or a network in floats.

    Args:
        path: the file.
        names: the names of its populations, in order.
        inputs, python, record_membranes, patience_s: as for `run_lava`, and checked already.

    Raises:
        Failed: as `run_lava`.
    """
    interpreter = find_lava_python(python)
    with tempfile.TemporaryDirectory(prefix="muspike-lava-") as folder:
        given, written = Path(folder) / "inputs.npy", Path(folder) / "output.npz"
        np.save(given, inputs)
        flags = ["--membranes"] if record_membranes else []
        run_worker(interpreter, [str(path.absolute()), str(given), str(written), *flags], patience_s)
        if not written.is_file():
            raise Failed(f"{interpreter}: ended without an error and wrote nothing; it cannot run Lava")
        with np.load(written) as output:
            results = {name: output[name] for name in output.files}

    def of(kind: str) -> dict[str, npt.NDArray[Any]]:
        keys = ((f"{kind}_{i}", name) for i, name in enumerate(names))
        return {name: results[key] for key, name in keys if key in results}

    return LavaRun(
        spikes={name: spikes.astype(np.uint8) for name, spikes in of("spikes").items()},
        membrane=of("v"),
        current=of("u"),
        versions=json.loads(str(results["versions"])),
        seconds_per_tick=float(results["seconds_per_tick"]),
    )


def compare(run: Run, lava: LavaRun) -> tuple[Exactness, ...]:
    """Compare a run of the simulator with one of Lava on the same inputs: one row per population on the chip.

    Every spike is compared, and every u and v that both recorded.
    """
    # The simulator keeps no spikes of readouts. If only one of the two resets a membrane, v differs.
    spikes = {**lava.spikes, **run.spikes}
    return exactness(spikes, lava.spikes, [(run.current, lava.current), (run.membrane, lava.membrane)])


def verify(
    program: Program | str | os.PathLike[str],
    inputs: npt.NDArray[np.uint8 | np.uint16],
    python: str | os.PathLike[str] | None = None,
    record_membranes: bool = True,
    patience_s: float = PATIENCE_S,
) -> tuple[tuple[Exactness, ...], LavaRun]:
    """Run a Program in the simulator and in Lava, and compare. The Program is proved if every row is `exact`.

    Raises what `run_lava` raises.
    """
    loaded = program if isinstance(program, Program) else Program.load(program)
    lava = run_lava(loaded, inputs, python, record_membranes, patience_s)
    run = Simulator(loaded, inputs.shape[1]).run(inputs, record_membranes)
    return compare(run, lava), lava


def find_lava_python(python: str | os.PathLike[str] | None = None) -> Path:
    """A Python that runs Lava. If none is given and the cache folder has no environment, the environment is made.

    Raises:
        Failed: the given Python does not run lava-nc 0.10.0, or the environment cannot be made.
    """
    given, origin = (python, "--python") if python is not None else (os.environ.get(VARIABLE), VARIABLE)
    if given:
        try:
            lava_versions(given)
        except Failed as error:
            raise Failed(f"{origin} {os.fspath(given)}: does not run {LAVA}: {error}") from error
        return environments.checked(given)
    cached = environment_path() / PYTHON_IN_ENVIRONMENT
    if os.access(cached, os.X_OK):  # follows the link: false if the Python that it was made from is gone
        return cached
    return make_lava_environment()


def environment_path() -> Path:
    """The folder of the environment for this version of Python, which need not exist."""
    version = f"py{sys.version_info.major}.{sys.version_info.minor}"
    return cache_folder() / f"{LAVA.replace('==', '-')}-{version}"


def environment_report(python: str | os.PathLike[str] | None = None) -> dict[str, str]:
    """Say which Python would run Lava, without making anything.

    Returns:
        `python`, `origin`, and the versions or an `error`.
    """
    given = python if python is not None else os.environ.get(VARIABLE)
    chosen = Path(given) if given else environment_path() / PYTHON_IN_ENVIRONMENT
    origin = "--python" if python is not None else VARIABLE if given else "cache"
    report = {"python": str(chosen), "origin": origin}
    if origin == "cache" and not os.access(chosen, os.X_OK):
        return report | {"error": "not made yet; muspike makes it on first use"}
    try:
        return report | {f"{name} version": version for name, version in lava_versions(chosen).items()}
    except Failed as error:
        return report | {"error": str(error)}


def lava_versions(python: str | os.PathLike[str]) -> dict[str, str]:
    """The versions of python, lava-nc and numpy in a Python that can import Lava.

    Raises:
        Failed: the Python does not run, cannot import Lava, or has another version of Lava.
    """
    answer = run_worker(python, ["--check"], _CHECK_PATIENCE_S)
    try:
        versions = {str(name): str(version) for name, version in json.loads(answer).items()}
    except (AttributeError, ValueError):
        versions = {}
    if "lava-nc" not in versions:
        raise Failed(f"it is no Python: it printed {answer.strip()[:40]!r} instead of its packages' versions")
    wanted = LAVA.partition("==")[2]
    if versions["lava-nc"] != wanted:
        raise Failed(f"it has lava-nc {versions['lava-nc']}, not {wanted}")
    return versions


def make_lava_environment() -> Path:
    """Make the environment from the running Python, say so on stderr, and return the environment's Python.

    Raises:
        Failed: the disk or the package installer refuses, or Lava does not run in the environment.
    """
    target = environment_path()
    print(f"muspike: making the environment for {LAVA} in {target} (once, 250 MB)", file=sys.stderr, flush=True)
    return environments.make(target, LAVA, _install, lava_versions, f"or name a Python that has it in {VARIABLE}")


def _install(environment: Path) -> None:
    steps = (["--no-deps", "--ignore-requires-python", LAVA], ["--only-binary=:all:", *REQUIREMENTS])
    no_pip = f"or name a Python that has {LAVA} in {VARIABLE}"
    environments.install(environment, LAVA, steps, f"or name a Python in {VARIABLE}", no_pip)


def run_worker(
    python: str | os.PathLike[str], arguments: list[str], patience_s: float = PATIENCE_S, script: Path | None = None
) -> str:
    """Run a script that uses Lava (None: the worker), pass its progress on to stderr, and return its stdout.

    Raises:
        Failed: the script does not start, ends with an error, or gives no sign of life for `patience_s` seconds.
    """
    way_out = "give it more time (patience_s), or a smaller network"
    return environments.run_worker(python, script or _WORKER, arguments, "Lava", patience_s, way_out, shown="lava: ")
