"""Jobs one after another in this process, in several processes, or side by side on a Ray cluster.

A job whose worker is killed is given to another one. A job's result is handed on once, when it is there, so nothing is
lost and nothing is counted twice, whatever happens to the workers.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
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
    doubtful = []
    for number, result in _at_once(jobs, range(len(jobs)), work, workers):
        if isinstance(result, Killed):
            doubtful.append(number)
        else:
            yield number, result
    for number in sorted(doubtful):
        yield from _at_once(jobs, [number], work, 1)


@dataclass(frozen=True)
class _Worker:
    process: BaseProcess
    connection: Connection


def _at_once(
    jobs: Sequence[J], numbers: Sequence[int], work: Callable[[J], R], workers: int
) -> Iterator[tuple[int, R | Killed]]:
    """As `in_processes`, for some of the jobs, each of which is done once.

    Why not `concurrent.futures`: Ctrl-C while this thread holds one of its locks leaves the lock taken, and then the
    pool's own thread, and so the command, waits without end. Here nothing is locked.
    """
    left = list(reversed(numbers))
    started: list[_Worker] = []
    idle: list[_Worker] = []
    running: dict[Connection, tuple[_Worker, int]] = {}
    try:
        while left or running:
            while left and len(running) < workers:
                if not idle:
                    idle.append(_start(work, started))
                worker, number = idle.pop(), left.pop()
                running[worker.connection] = worker, number
                with contextlib.suppress(OSError):  # it was killed, which is seen below
                    worker.connection.send(jobs[number])
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                worker, number = running.pop(connection)
                try:
                    done, result = connection.recv()
                except (EOFError, OSError):
                    started.remove(worker)
                    _end(worker)
                    yield number, Killed()
                    continue
                idle.append(worker)
                if not done:
                    raise result
                yield number, result
    finally:
        for worker in started:  # those that a second Ctrl-C leaves end with this process
            _end(worker)


def _start(work: Callable[[J], R], started: list[_Worker]) -> _Worker:
    """Start a process, and add it to those that are to be ended. It is forked where the system can, so that it need not
    load anything again.
    """
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    ours, its = context.Pipe()
    process = context.Process(target=_do_jobs, args=(work, its), daemon=True)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        # Python warns of a fork beside other threads. It is safe here: workers take no lock that a thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        with _signals_afterwards():
            process.start()
            started.append(_Worker(process, ours))
    its.close()  # so that the end of the process is the end of what it sends
    return started[-1]


@contextlib.contextmanager
def _signals_afterwards() -> Iterator[None]:
    """Handle Ctrl-C and SIGTERM after the block: what Python runs after a fork would swallow their exceptions."""
    if threading.current_thread() is not threading.main_thread():  # which signals do not interrupt
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
        if callable(signal.getsignal(number))
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


def _end(worker: _Worker) -> None:
    worker.process.kill()
    worker.process.join()
    worker.connection.close()


def _do_jobs(work: Callable[[J], R], connection: Connection) -> None:
    """In a worker: send whether each job could be done, and its result or what was raised."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it, which ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        job = connection.recv()
        try:
            connection.send((True, work(job)))
        except BaseException as error:  # whatever it is, it is raised by the process that asked
            error.add_note(f"in a worker:\n{traceback.format_exc()}")
            connection.send((False, error))


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
