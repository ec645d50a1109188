"""The command line. Errors are one line on stderr.

Exit status 0: done; 1: it failed; 2: bad use or bad input; 128 + the number of a signal: ended by it, as shells report
it. So 130 is Ctrl-C, 143 is SIGTERM, and 141 says that the reader of standard output went away before the result was
whole. Status 0 would say there that the reader has all of it.

Each module here is a family of commands. Its `add(commands)` adds their parsers, with every option beside the command
that takes it. What a command does is a function of the library; the command reads its options, calls the function and
prints. So this package alone may import from everywhere in muspike. It imports inside the commands, to start quickly.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from muspike import __version__
from muspike.cli import (
    bench,
    chips,
    compare,
    data,
    evaluate,
    export,
    measure,
    models,
    music,
    network,
    profile,
    prune,
    study,
    train,
)
from muspike.cli.options import Commands, Parser
from muspike.cli.output import ReaderGone, complain, note
from muspike.errors import Doubt, MuspikeError
from muspike.files import path_error

FAMILIES = (
    data,
    train,
    prune,
    music,
    evaluate,
    export,
    network,
    profile,
    compare,
    bench,
    study,
    measure,
    models,
    chips,
)


def parser() -> Parser:
    """The parser of `muspike`, with all commands."""
    made = Parser(
        prog="muspike",
        description="Train spiking music generators, put them on neuromorphic chips, and report what they cost there.",
        epilog="example: muspike generate s-rnn -n 4 --length 128 -o pieces --seed 0 --on loihi",
    )
    made.add_argument("--version", action="version", version=f"muspike {__version__}")
    commands = Commands(made)
    for family in FAMILIES:
        family.add(commands)
    return made


class _Terminated(KeyboardInterrupt):
    """SIGTERM. It ends a command as Ctrl-C does, so that no half-written file is left."""


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    process = os.getpid()

    def stop(*_: object) -> NoReturn:
        if os.getpid() != process:  # a worker, which has nothing to tidy up and nothing to say
            os._exit(128 + signal.SIGTERM)
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # Python takes signals in the main thread only
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _doubts_in_one_line() -> Iterator[None]:
    """Print warnings that are meant for the user as a line. Others are for programmers and stay as they are."""
    before = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if issubclass(category, Doubt):
            note(f"warning: {message}")
        else:
            before(message, category, *where, **more)

    warnings.showwarning = show
    # It warns, in several lines, if it cannot keep its list of fonts. It then makes the list anew, which is no loss.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        yield
    finally:
        warnings.showwarning = before


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        argv: the arguments; None: the arguments of the process.
    """

    def command() -> int:
        args = parser().parse_args(argv)
        args.given = list(sys.argv[1:] if argv is None else argv)  # a report says how it was made
        return int(args.run(args))

    return guarded(command)


def guarded(command: Callable[[], int]) -> int:
    """Run `command` and return its exit status. An error, and being stopped, become a line on stderr and a status."""
    if sys.stderr is None:  # closed by the caller (`2>&-`)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # open as long as the process runs
    if sys.stdout is None:  # before the work, whose result has no place to go to
        return complain("standard output: is closed; send it to a file, or to /dev/null", 1)
    try:
        with _terminable(), _doubts_in_one_line():
            return command()
    except MuspikeError as error:
        return complain(error, error.exit_status)
    except OSError as error:
        return complain(*_of_system(error))
    except MemoryError as error:
        return complain(f"out of memory: {error}", 1)
    except ReaderGone:
        return 128 + 13  # SIGPIPE, which not every system has
    except KeyboardInterrupt as stop:
        return complain(str(stop) or "interrupted", 128 + (signal.SIGTERM if isinstance(stop, _Terminated) else 2))


def _of_system(error: OSError) -> tuple[str, int]:
    """The message and the exit status for an error of the system that nothing else has named."""
    if not error.filename:
        return error.strerror or str(error), 1
    told = path_error(os.fsdecode(error.filename), error)
    return str(told), told.exit_status
