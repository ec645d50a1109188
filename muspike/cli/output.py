"""What commands print: results on stdout, as text or JSON; errors on stderr, in one line."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from typing import Any

from muspike.errors import Failed, printable


def say(text: str) -> None:
    """Print. A reader that has gone away (`muspike ... | head`) is no error.

    Raises:
        Failed: standard output takes no more (a full disk).
    """
    if not sys.stdout:  # closed by the caller (`>&-`)
        return
    encoding = sys.stdout.encoding
    try:
        # A file's name may hold what the terminal's encoding does not.
        print(printable(text, "\n").encode(encoding, "backslashreplace").decode(encoding), flush=True)
    except OSError as error:
        # What is left in the buffer would fail once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise Failed(f"standard output: cannot be written: {error.strerror}") from error


def say_json(value: Any) -> None:
    """Print as JSON. Numbers that JSON has not, NaN and infinity, become null.

    Raises: as `say`.
    """
    say(json.dumps(_finite(value), indent=1, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def complain(what: object, status: int) -> int:
    """Tell an error in one line on stderr, and give back the exit status."""
    line = printable(" ".join(str(what).split()))
    with contextlib.suppress(OSError):  # when stderr takes nothing, the exit status still tells
        print(f"muspike: {line}", file=sys.stderr)
    return status
