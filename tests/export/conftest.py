"""What the tests of exports share."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from lava_python import lava_python
from muspike.export import lava_runner


@pytest.fixture(scope="module")
def python() -> Iterator[Path]:
    """The Python that runs Lava; that it does is checked once, not before every run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lava_runner, "lava_versions", functools.cache(lava_runner.lava_versions))
        yield lava_python()
