"""The Python that runs Lava, or a skipped test where it cannot be had (no network); any other trouble is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from muspike.errors import Failed
from muspike.export import lava_runner


def lava_python() -> Path:
    try:
        return lava_runner.find_lava_python()
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))
