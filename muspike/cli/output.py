"""Print results on stdout, as text or JSON, and errors and notes on stderr, in one line each."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Iterator
from typing import Any

from muspike.errors import Failed, printable


class ReaderGone(Exception):
    """Who read standard output has gone away, as `head` does. The command ends without a word."""


# What `waiting` shows on the terminal now.
_shown = ""


def say(text: str) -> None:
    """Print a text.

    Raises:
        ReaderGone: nobody reads standard output any more.
        Failed: standard output is closed, or takes no more, for example on a full disk.
    """
    if sys.stdout is None:  # closed by the caller (`>&-`)
        raise Failed("standard output: is closed; the result has no place to go to")
    encoding = sys.stdout.encoding
    try:
        # A file's name may hold characters that the terminal's encoding lacks.
        print(printable(text, "\n").encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # Python would try to write the rest of the buffer again at its end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            raise ReaderGone from error
        raise Failed(f"standard output: cannot be written: {error.strerror}") from error


def say_json(value: Any) -> None:
    """Print a value as JSON. NaN and infinity, which JSON lacks, become null.

    Raises what `say` raises.
    """
    say(json.dumps(finite(value), indent=1, allow_nan=False))


def finite(value: Any) -> Any:
    """A value with None in place of NaN and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def complain(what: object, status: int) -> int:
    """Print an error in one line on stderr, and return the exit status."""
    note(what)
    return status


def note(what: object) -> None:
    """Print a sentence about the input, such as a warning, in one line on stderr."""
    line = printable(" ".join(str(what).split()))
    _show("")
    with contextlib.suppress(OSError):  # the exit status remains if stderr takes nothing
        print(f"muspike: {line}", file=sys.stderr)


@contextlib.contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say on a terminal what takes a while, and erase it when the `with` block ends. Elsewhere nothing is said."""
    if sys.stderr is not None and sys.stderr.isatty():
        _show(f"muspike: {what} ...")
    try:
        yield
    finally:
        _show("")


def _show(text: str) -> None:
    """Replace the line that `waiting` shows."""
    global _shown
    if text or _shown:
        with contextlib.suppress(OSError):
            print(f"\r{' ' * len(_shown)}\r{text}", end="", file=sys.stderr, flush=True)
    _shown = text
