"""The Python that runs a reader of NIR, or a skipped test where it cannot be had; any other trouble is a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from muspike.errors import Failed
from muspike.export.readers.run import find_python


def reader_python(name: str) -> Path:
    try:
        return find_python(name)
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))
