"""Settings of the whole test run."""

from __future__ import annotations

import os

# Before anything imports torch or NumPy: the tests are many small computations, which only lose by sharing them out.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import math
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

from muspike import progress

# A shell that starts the tests in the background has them ignore Ctrl-C, and so what they start; some tests send it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may depend on how busy the machine is.
settings.register_profile("muspike", deadline=None)
settings.load_profile("muspike")


@pytest.fixture(autouse=True)
def _no_progress_on_slow_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that takes long on a busy machine prints lines of its progress, which no test expects on stderr."""
    monkeypatch.setattr(progress, "_LEAST_S", math.inf)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, for test modules that import the helper `chromium`."""
    from chromium import launched

    with launched() as opened:
        yield opened
