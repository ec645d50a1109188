"""Jobs in this process and on a Ray cluster, of which a worker is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from muspike.errors import BadInput
from muspike.jobs import Killed, in_processes, results
from ray_cluster import ray_cluster


def square(job: int) -> int:
    return job * job


def refuse(job: int) -> int:
    raise BadInput(f"job {job}: cannot be done")


def test_without_a_cluster_jobs_are_done_one_after_another() -> None:
    assert list(results([3, 1, 2], square, None)) == [(0, 9), (1, 1), (2, 4)]
    with pytest.raises(BadInput, match="job 5: cannot be done"):
        list(results([5], refuse, None))


def end_for(job: tuple[Path, int]) -> int:
    """A job that is killed when it is 2 or 3; 3 only the first time."""
    folder, number = job
    if number == 2 or (number == 3 and not (folder / "3").exists()):
        (folder / str(number)).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_processes_do_every_job_once() -> None:
    assert sorted(in_processes(range(100), square, 3)) == [(number, number * number) for number in range(100)]
    assert list(in_processes([], square, 3)) == []


def test_what_a_job_raises_in_a_process_says_where() -> None:
    with pytest.raises(BadInput, match="job 5: cannot be done") as raised:
        list(in_processes([5], refuse, 2))
    assert "in refuse" in "".join(raised.value.__notes__)


def test_a_job_whose_process_is_killed_is_done_again_alone(tmp_path: Path) -> None:
    found = dict(in_processes([(tmp_path, number) for number in range(6)], end_for, 2))
    assert isinstance(found.pop(2), Killed)
    assert found == {number: number for number in (0, 1, 3, 4, 5)}


INTERRUPT_OFTEN = """
import faulthandler, random, signal
from muspike.jobs import in_processes

def double(job):
    return 2 * job

faulthandler.dump_traceback_later(60, exit=True)  # says where it stands still
signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
random.seed(0)
ended = stopped = 0
while stopped < 60:
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.03))
        for _ in in_processes(range(400), double, 2):
            pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        ended += 1
    except KeyboardInterrupt:
        stopped += 1
print(stopped)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="timers and signals as Linux has them")
def test_an_interruption_at_any_time_ends_all_processes() -> None:
    # What they print to is closed when the last of them has ended.
    done = subprocess.run([sys.executable, "-c", INTERRUPT_OFTEN], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout == "60\n", done.stderr


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
from muspike.jobs import Killed, in_processes, results

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
