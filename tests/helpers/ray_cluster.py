"""A Ray cluster on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def ray_cluster(logs: Path, *modules: Path, env: dict[str, str] | None = None) -> Iterator[str]:
    """Start a Ray of two workers on this machine, and stop it at the end. Gives the address of the cluster.

    Args:
        logs: a folder for what starting it says.
        modules: folders of modules that its jobs import.
        env: further variables of its workers.
    """
    pytest.importorskip("ray", reason="the extra cluster is not installed")
    ray = str(Path(sys.executable).with_name("ray"))
    of_workers = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, modules)), "RAY_DISABLE_IMPORT_WARNING": "1"}
    of_workers |= env or {}
    start = [sys.executable, ray, "start", "--head", "--port=0", "--num-cpus=2", "--include-dashboard=false"]
    with (logs / "start.log").open("w") as log:  # Ray's processes would keep a pipe open
        begun = subprocess.run([*start, "--disable-usage-stats"], env=of_workers, stdout=log, stderr=log, check=False)
    assert begun.returncode == 0, (logs / "start.log").read_text()
    try:
        yield "auto"
    finally:
        stop = [sys.executable, ray, "stop", "--force"]
        subprocess.run(stop, env=of_workers, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
