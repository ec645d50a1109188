"""Jobs in this process and on a Ray cluster, of which a worker is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from muspike.errors import BadInput
from muspike.jobs import results
from ray_cluster import ray_cluster


def square(job: int) -> int:
    return job * job


def refuse(job: int) -> int:
    raise BadInput(f"job {job}: cannot be done")


def test_without_a_cluster_jobs_are_done_one_after_another() -> None:
    assert list(results([3, 1, 2], square, None)) == [(0, 9), (1, 1), (2, 4)]
    with pytest.raises(BadInput, match="job 5: cannot be done"):
        list(results([5], refuse, None))


def test_a_cluster_that_is_not_there_is_refused() -> None:
    with pytest.raises(BadInput, match=r"--cluster 127\.0\.0\.1:1: (no Ray cluster there|ray is not installed)"):
        list(results([1], square, "127.0.0.1:1"))


SLOW = """
import os, sys, time
from pathlib import Path


def slow(job):
    '''Tells which process does the job, and takes a while.'''
    folder, number = job
    Path(folder, f"{number}-{os.getpid()}").touch()
    time.sleep(2)
    return number * number, os.getpid()
"""

DRIVER = """
import json, sys
from slow_jobs import slow
from muspike.jobs import results

for number, (value, process) in results([(sys.argv[2], n) for n in range(6)], slow, sys.argv[1]):
    print(json.dumps([number, value, process]), flush=True)
"""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """A Ray of two workers that was started on this machine. It finds the jobs of this file."""
    (tmp_path / "slow_jobs.py").write_text(SLOW)
    with ray_cluster(tmp_path, tmp_path) as address:
        yield address


@pytest.mark.nightly
def test_nothing_is_lost_and_nothing_is_double_when_a_worker_is_killed(cluster: str, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    env = os.environ | {"PYTHONPATH": str(tmp_path)}
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, cluster, str(seen)],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (marks := list(seen.iterdir())):
        assert time.monotonic() < deadline and driver.poll() is None, driver.communicate()[1]
        time.sleep(0.05)
    killed = int(marks[0].name.partition("-")[2])
    os.kill(killed, 9)
    out, err = driver.communicate(timeout=120)
    assert driver.returncode == 0, err
    found = [json.loads(line) for line in out.splitlines() if line.startswith("[")]  # Ray has things to say too
    assert sorted(number for number, *_ in found) == list(range(6))
    assert all(value == number * number for number, value, _ in found)
    assert killed not in {process for *_, process in found}
    assert len(list(seen.iterdir())) > 6, "the job of the killed worker was begun again"
