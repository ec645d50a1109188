"""Print results on stdout, as text or JSON, and errors on stderr, in one line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from typing import Any

from muspike.errors import Failed, printable


def say(text: str) -> None:
    """Print a text. It is no error if the reader has gone away (`muspike ... | head`).

    Raises:
        Failed: standard output takes no more, for example on a full disk.
    """
    if not sys.stdout:  # closed by the caller (`>&-`)
        return
    encoding = sys.stdout.encoding
    try:
        # A file's name may hold characters that the terminal's encoding lacks.
        print(printable(text, "\n").encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # Python would try to write the rest of the buffer again at its end, and fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failed(f"standard output: cannot be written: {error.strerror}") from error


def say_json(value: Any) -> None:
    """Print a value as JSON. NaN and infinity, which JSON lacks, become null.

    Raises what `say` raises.
    """
    say(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def complain(what: object, status: int) -> int:
    """Print an error in one line on stderr, and return the exit status."""
    note(what)
    return status


def note(what: object) -> None:
    """Print a sentence about the input, such as a warning, in one line on stderr."""
    line = printable(" ".join(str(what).split()))
    with contextlib.suppress(OSError):  # the exit status remains if stderr takes nothing
        print(f"muspike: {line}", file=sys.stderr)
