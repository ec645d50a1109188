"""Jobs one after another in this process, or side by side on a Ray cluster.

Ray gives a job to another worker if the one that had it is killed. A job's result is handed on once, when it is there,
so nothing is lost and nothing is counted twice, whatever happens to the workers.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from muspike.errors import BadInput, Failed, one_line

J = TypeVar("J")
R = TypeVar("R")

_PATIENCE_S = 5.0
WANTED = "pip install 'muspike[cluster]'"


def results(jobs: Sequence[J], work: Callable[[J], R], cluster: str | None) -> Iterator[tuple[int, R]]:
    """The number of each job and its result, as soon as it is there: in any order on a cluster.

    Args:
        jobs: what to do. On a cluster, each must be picklable.
        work: does a job. On a cluster, it must be a function of an importable module, and every node needs the same
            muspike.
        cluster: the address of a Ray cluster, such as "auto" or "10.0.0.1:6379"; None: this process.

    Raises:
        BadInput: Ray is not installed, or there is no cluster at the address.
        Failed: a job failed on the cluster for a reason of the cluster's. What `work` raises is raised as it is.
    """
    if cluster is None:
        for number, job in enumerate(jobs):
            yield number, work(job)
        return
    ray = _connected(cluster)
    try:
        remote = ray.remote(num_cpus=1, max_retries=-1, retry_exceptions=False)(work)
        waiting = {remote.remote(job): number for number, job in enumerate(jobs)}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            number = waiting.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from error
            except ray.exceptions.RayError as error:
                raise Failed(f"{cluster}: job {number + 1}: {one_line(error)}") from error
            yield number, result
    finally:
        ray.shutdown()


def _connected(address: str) -> Any:
    try:
        import ray
    except ImportError as error:
        raise BadInput(f"--cluster {address}: ray is not installed; {WANTED}") from error
    _knock(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError, TimeoutError, ray.exceptions.RayError) as error:
        raise BadInput(f"--cluster {address}: no Ray cluster there: {one_line(error)}") from error
    return ray


def _knock(address: str) -> None:
    """Refuse an address at which nobody listens. Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address:  # such as "auto"
        return
    try:
        with socket.create_connection((host, int(port)), _PATIENCE_S):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise BadInput(f"--cluster {address}: no Ray cluster there: {one_line(error)}") from error
