"""A Python that has NeuroBench, in an environment of its own, and what NeuroBench says of a network there.

The environment shares torch and snnTorch with the running Python. It lies beside those of the readers of NIR, and is
made on first use; where it cannot be had (no network), the test is skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from muspike.cache import cache_folder
from muspike.errors import Failed
from muspike.export import environments

PACKAGE = "neurobench==2.3.0"
_WORKER = Path(__file__).with_name("neurobench_worker.py")
_WAY_OUT = "run the other tests"


def _install(environment: Path) -> None:
    environments.install(environment, PACKAGE, [["--no-deps", PACKAGE]], _WAY_OUT, _WAY_OUT, shared=True)


def _run(python: Path, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(environments.run_worker(python, _WORKER, arguments, PACKAGE, 600.0, _WAY_OUT))
    return found


def neurobench_python() -> Path:
    shared = hashlib.sha256(f"{sys.prefix} {PACKAGE}".encode()).hexdigest()[:8]
    folder = cache_folder() / f"{PACKAGE.replace('==', '-')}-{shared}"
    made = folder / environments.PYTHON_IN_ENVIRONMENT
    if os.access(made, os.X_OK):
        return made
    try:
        return environments.make(folder, PACKAGE, _install, lambda python: _run(python, "--versions"), _WAY_OUT)
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))


def neurobench(*names: str) -> dict[str, Any]:
    """NeuroBench's figures of networks of `neurobench_networks`, by name."""
    return _run(neurobench_python(), *names)
