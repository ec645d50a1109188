"""Settings of the whole test run."""

from __future__ import annotations

import os

# Before anything imports torch or NumPy: the tests are many small computations, which only lose by sharing them out.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

# No test may depend on how busy the machine is.
settings.register_profile("muspike", deadline=None)
settings.load_profile("muspike")
