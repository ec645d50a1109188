"""The command line. Exit status 0: done; 1: it failed; 2: bad use or bad input. Errors are one line on stderr.

Each module here is a family of commands. Its `add(commands)` adds their parsers, with every option beside the command
that takes it. What a command does is a function of the library; the command reads its options, calls the function and
prints. So this package alone may import from everywhere in muspike. It imports inside the commands, to start quickly.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

from muspike import __version__
from muspike.cli import bench, chips, export, models, music, network, train
from muspike.cli.options import Commands, Parser
from muspike.cli.output import complain
from muspike.errors import MuspikeError

FAMILIES = (train, music, export, network, bench, models, chips)


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
    def stop(*_: object) -> NoReturn:
        raise _Terminated

    if threading.current_thread() is not threading.main_thread():  # Python takes signals in the main thread only
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Args:
        argv: the arguments; None: the arguments of the process.
    """
    if sys.stderr is None:  # closed by the caller (`2>&-`)
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # open as long as the process runs
    with _terminable():
        try:
            args = parser().parse_args(argv)
            return int(args.run(args))
        except MuspikeError as error:
            return complain(error, error.exit_status)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return complain(f"{where}{error.strerror or error}", 1)
        except MemoryError as error:
            return complain(f"out of memory: {error}", 1)
        except KeyboardInterrupt as stop:
            # 128 + the signal's number, as shells report it.
            return complain(str(stop) or "interrupted", 143 if isinstance(stop, _Terminated) else 130)
