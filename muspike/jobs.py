"""Jobs one after another in this process, in several processes, or side by side on a Ray cluster.

A job whose worker is killed is given to another one. A job's result is handed on once, when it is there, so nothing is
lost and nothing is counted twice, whatever happens to the workers.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from muspike.errors import BadInput, Failed, one_line

J = TypeVar("J")
R = TypeVar("R")

_PATIENCE_S = 5.0
WANTED = "pip install 'muspike[cluster]'"


class Killed:
    """The result of a job whose process was killed, also when it was alone: by a signal, or for want of memory."""


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
    for number, result in on_cluster(jobs, work, cluster, -1):
        if not isinstance(result, Killed):  # a job is done again until it is done
            yield number, result


def on_cluster(
    jobs: Sequence[J], work: Callable[[J], R], cluster: str, retries: int
) -> Iterator[tuple[int, R | Killed]]:
    """As `results`, on a cluster. A job whose worker is killed more than `retries` times has the result `Killed`; with
    -1 it is done again every time.
    """
    ray = _connected(cluster)
    try:
        remote = ray.remote(num_cpus=1, max_retries=retries, retry_exceptions=False)(work)
        waiting = {remote.remote(job): number for number, job in enumerate(jobs)}
        while waiting:
            (ready,), _ = ray.wait(list(waiting), num_returns=1)
            number = waiting.pop(ready)
            try:
                result = ray.get(ready)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from error
            except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
                yield number, Killed()
                continue
            except ray.exceptions.RayError as error:
                raise Failed(f"{cluster}: job {number + 1}: {one_line(error)}") from error
            yield number, result
    finally:
        ray.shutdown()


def in_processes(jobs: Sequence[J], work: Callable[[J], R], workers: int) -> Iterator[tuple[int, R | Killed]]:
    """The number of each job and its result, as soon as it is there, from so many processes of this machine.

    If a process is killed, the jobs that were under way are done again, each alone. One that is killed then too has the
    result `Killed`.

    Args:
        jobs: what to do.
        work: does a job; a function of an importable module.
        workers: number of processes.
    """
    left = list(range(len(jobs)))[::-1]
    while left:
        doubtful: list[int] = []
        with _pool(min(workers, len(left))) as pool:
            running: dict[Future[R], int] = {}
            while left or running:
                # Few jobs wait in the pool, so that few are in doubt if a process is killed.
                while left and len(running) < 2 * workers and not doubtful:
                    number = left.pop()
                    try:
                        running[pool.submit(work, jobs[number])] = number
                    except BrokenProcessPool:
                        doubtful.append(number)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    number = running.pop(future)
                    try:
                        result = future.result()
                    except BrokenProcessPool:
                        doubtful.append(number)
                    else:
                        yield number, result
                if doubtful and not running:
                    break
        for number in sorted(doubtful):
            try:
                with _pool(1) as pool:
                    alone = pool.submit(work, jobs[number]).result()
            except BrokenProcessPool:
                yield number, Killed()
            else:
                yield number, alone


def _pool(workers: int) -> ProcessPoolExecutor:
    """Processes that are forked where the system can, so that they need not load anything again."""
    method = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    with warnings.catch_warnings():
        # Python warns of a fork beside other threads. It is safe here: workers take no lock that a thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        return ProcessPoolExecutor(workers, multiprocessing.get_context(method), _begin_worker)


def _begin_worker() -> None:
    """Let SIGTERM end a worker at once, leave Ctrl-C to the process that started it, and end when this one does."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent is killed would wait for its next job without end."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


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
