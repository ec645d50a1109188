"""`bench/versus/netx.py`: random files, read by muspike and by lava-dl's own reader, are equal in every spike."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from lava_python import lava_python
from muspike.errors import Failed
from muspike.export.netx_runner import WHEEL, find_lava_dl

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "netx.py"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("versus_netx", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "versus_netx", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def lava_dl() -> Path:
    """lava-dl's wheel, or a skipped test where it, or Lava, cannot be had."""
    lava_python()
    try:
        return find_lava_dl()
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))


def test_a_convolution_with_biases_and_resets_is_lava_dls(bench: ModuleType, lava_dl: Path, tmp_path: Path) -> None:
    cases = {case.name: case for case in bench.made(tmp_path, np.random.default_rng(0))}
    layers, ticks, spikes, other_spikes, other_membranes = bench.compared(cases["convolutions"], lava_dl)
    assert layers == 3 and ticks > 10_000 and spikes > 100
    assert (other_spikes, other_membranes) == (0, 0)


@pytest.mark.nightly
def test_every_kind_of_file_is_lava_dls(bench: ModuleType, lava_dl: Path, tmp_path: Path) -> None:
    for case in bench.made(tmp_path, np.random.default_rng(1)):
        _, _, spikes, other_spikes, other_membranes = bench.compared(case, lava_dl)
        assert spikes and (other_spikes, other_membranes) == (0, 0), case.name


def test_a_wheel_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=rf"none\.whl: is not there; expected {WHEEL}"):
        find_lava_dl(tmp_path / "none.whl")
