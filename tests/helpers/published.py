"""Networks that others published and that come with an installed library."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest


def braille_reader() -> Path:
    """The recurrent Braille reader of the NIR paper, in ticks of 1e-4 s, as Norse ships it for its own tests."""
    found = find_spec("norse")
    assert found is not None and found.origin is not None
    path = Path(found.origin).parent / "torch/utils/test/braille.nir"
    if not path.is_file():
        pytest.skip(f"this Norse comes without {path.name}")
    return path
