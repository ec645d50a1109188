"""Run a NIR file in a tool that reads NIR, in a virtual environment of its own.

A tool runs in the first of these Pythons that is given: the argument `python`; the environment variable
`MUSPIKE_<READER>_PYTHON`; the environment in the user's cache folder, which is made on first use. The environment
shares torch with the running Python.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.cache import cache_folder
from muspike.errors import BadInput, Failed
from muspike.export import environments

Floats = npt.NDArray[np.float32]
PATIENCE_S = 600.0
_CHECK_PATIENCE_S = 120.0
_WORKER = Path(__file__).with_name("worker.py")


@dataclass(frozen=True)
class Reader:
    """A tool that reads NIR.

    Attributes:
        name: its name in `readers.toml`.
        what: the tool, and the function of it that reads a graph.
        packages: what pip installs in its environment.
        version_of: the packages whose versions are recorded.
    """

    name: str
    what: str
    packages: tuple[str, ...]
    version_of: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable that names a Python which has the tool."""
        return f"MUSPIKE_{self.name.upper()}_PYTHON"

    @property
    def environment(self) -> Path:
        """The folder of the environment for the running Python, which need not exist."""
        shared = hashlib.sha256(f"{sys.prefix} {self.packages}".encode()).hexdigest()[:8]
        return cache_folder() / f"{self.packages[0].replace('==', '-')}-{shared}"


@functools.cache
def readers() -> Mapping[str, Reader]:
    """The tools of `readers.toml`, by name."""
    table: dict[str, dict[str, Any]] = tomllib.loads(Path(__file__).with_name("readers.toml").read_text())
    return {
        name: Reader(name, row["what"], tuple(row["packages"]), tuple(row["version_of"])) for name, row in table.items()
    }


def known_reader(name: str) -> Reader:
    """The reader called `name`.

    Raises:
        BadInput: there is none.
    """
    if name not in readers():
        raise BadInput(f"reader {name!r} is not known; known are {', '.join(readers())}")
    return readers()[name]


class RefusedByReaderError(Failed):
    """The tool ran, and refused the file or stopped while it ran it.

    Attributes:
        stage: what it did then: `read`, `load` or `run`.
        reason: its own error, in one line.
    """

    def __init__(self, reader: str, path: Path, stage: str, reason: str) -> None:
        super().__init__(f"{path}: {reader} does not {stage} it: {reason}")
        self.stage = stage
        self.reason = reason


@dataclass(frozen=True, eq=False)
class ReaderRun:
    """What a tool made of a file.

    Attributes:
        outputs: what each neuron node gave, by name, float32 `[ticks, batch, size]`. Spikes are 0 or 1 there, but
            sinabs gives counts.
        membranes: v after each tick, of the nodes where the tool shows it.
        final: what the graph as a whole gave.
        missing: neuron nodes for which the tool made no module, although it said nothing.
        unchecked: the error of `nir.read`, if the file could only be read without its check of types.
    """

    outputs: Mapping[str, Floats]
    membranes: Mapping[str, Floats]
    final: Floats
    missing: tuple[str, ...] = ()
    unchecked: str | None = None


def run_reader(
    name: str, path: Path, inputs: npt.NDArray[Any], python: str | os.PathLike[str] | None = None
) -> ReaderRun:
    """Run a NIR file in the tool called `name`, on inputs `[ticks, batch, size]`.

    Args:
        name: the tool, a name in `readers.toml`.
        path: the file.
        inputs: whole numbers, mostly 0 or 1.
        python: a Python that has the tool; None: as the module says.

    Raises:
        BadInput: there is no such tool.
        RefusedByReaderError: the tool refuses the file.
        Failed: no Python can run the tool.
    """
    (found,) = run_all(name, [(path, inputs)], python)
    if isinstance(found, RefusedByReaderError):
        raise found
    return found


def run_all(
    name: str, jobs: Sequence[tuple[Path, npt.NDArray[Any]]], python: str | os.PathLike[str] | None = None
) -> list[ReaderRun | RefusedByReaderError]:
    """Run several files, each on its inputs, in one process of the tool; what it refuses is given, and not raised.

    Raises:
        Failed: as `run_reader`.
    """
    reader = known_reader(name)
    interpreter = find_python(name, python)
    with tempfile.TemporaryDirectory(prefix="muspike-reader-") as made:
        folder = Path(made)
        listed = []
        for i, (path, inputs) in enumerate(jobs):
            np.save(folder / f"{i}.npy", inputs)
            listed.append([str(path), str(folder / f"{i}.npy"), str(folder / f"{i}.npz")])
        (folder / "jobs.json").write_text(json.dumps(listed))
        arguments = [name, str(folder / "jobs.json")]
        way_out = "give it a smaller network"
        notes = json.loads(environments.run_worker(interpreter, _WORKER, arguments, reader.what, PATIENCE_S, way_out))
        return [
            _run_of(folder / f"{i}.npz", note)
            if "error" not in note
            else RefusedByReaderError(name, path, note["stage"], note["error"])
            for i, ((path, _), note) in enumerate(zip(jobs, notes, strict=True))
        ]


def _run_of(output: Path, note: Mapping[str, Any]) -> ReaderRun:
    with np.load(output) as arrays:
        found = {key: arrays[key] for key in arrays.files}
    names = json.loads(str(found["names"]))

    def of(kind: str) -> dict[str, Floats]:
        return {n: found[f"{kind}_{i}"] for i, n in enumerate(names) if f"{kind}_{i}" in found}

    return ReaderRun(of("out"), of("mem"), found["final"], tuple(note.get("no_module", ())), note.get("unchecked"))


def run_in(
    reader: str, path: Path, inputs: npt.NDArray[np.uint8], python: str | os.PathLike[str] | None = None
) -> dict[str, npt.NDArray[np.uint8]]:
    """The spikes of every spiking node of a NIR file in the tool `reader`, by name, uint8 `[ticks, batch, size]`.

    Raises:
        Failed: as `run_reader`; or a node gives what is not 0 or 1.
    """
    spikes = {}
    for name, array in run_reader(reader, path, inputs, python).outputs.items():
        if not np.isin(array, (0, 1)).all():
            wrong = array[~np.isin(array, (0, 1))][0]
            raise Failed(f"{path}: node {name!r} gives {wrong:g} in {reader}; expected 0 or 1")
        spikes[name] = array.astype(np.uint8)
    return spikes


def find_python(name: str, python: str | os.PathLike[str] | None = None) -> Path:
    """A Python that has the tool. If none is given and the cache folder has no environment, the environment is made.

    Raises:
        Failed: the given Python does not have the tool, or the environment cannot be made.
    """
    reader = known_reader(name)
    given = python if python is not None else os.environ.get(reader.variable)
    if given:
        versions_in(name, given)
        return environments.checked(given)
    cached = reader.environment / environments.PYTHON_IN_ENVIRONMENT
    return cached if os.access(cached, os.X_OK) else make_environment(name)


def versions_in(name: str, python: str | os.PathLike[str]) -> dict[str, str]:
    """The versions of the tool and of what it runs on, in a Python that has it.

    Raises:
        Failed: the Python does not run, or cannot import the tool.
    """
    reader = known_reader(name)
    arguments = [name, "--check", *reader.version_of]
    answer = environments.run_worker(python, _WORKER, arguments, reader.what, _CHECK_PATIENCE_S, "try again")
    return {str(package): str(version) for package, version in json.loads(answer)["versions"].items()}


def make_environment(name: str) -> Path:
    """Make the tool's environment, say so on stderr, and return the environment's Python.

    Raises:
        Failed: the disk or the package installer refuses, or the tool does not run in the environment.
    """
    reader = known_reader(name)
    what = reader.packages[0]
    way_out = f"or name a Python that has it in {reader.variable}"
    print(f"muspike: making the environment for {what} in {reader.environment} (once)", file=sys.stderr, flush=True)

    def install(environment: Path) -> None:
        steps = [["--no-deps", *reader.packages]]  # they share torch with the running Python
        environments.install(environment, what, steps, way_out, way_out, shared=True)

    def check(python: Path) -> None:
        versions_in(name, python)

    return environments.make(reader.environment, what, install, check, way_out)
