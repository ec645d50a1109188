"""`bench/versus/sparse_lists.py`: its log is what it prints now, and docs/energy.md says what is in the log."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from muspike.hardware.chip import known_chips, load_chip
from muspike.hardware.mapping.lists import is_cheaper_sparse

ROOT = Path(__file__).parents[3]
LOG = (ROOT / "docs" / "results" / "logs" / "sparse-lists.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("versus_sparse_lists", ROOT / "bench" / "versus" / "sparse_lists.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", known_chips())
def test_the_log_has_the_shares_of_today(script: ModuleType, name: str) -> None:
    chip = load_chip(name)
    table = LOG.partition(f"\n{name}, ")[2]
    found = re.search(r"^share  (.*)$", table, re.MULTILINE)
    assert found is not None
    shares = [f"{script.most_sparse(chip, targets) / targets:.1%}" for targets in script.SHOWN]
    assert shares == found[1].split()


@pytest.mark.parametrize("name", known_chips())
def test_one_more_weight_makes_a_matrix_of_many_sources_dense(script: ModuleType, name: str) -> None:
    chip = load_chip(name)
    stored = script.most_sparse(chip, 256)
    for count, sparse in ((stored, True), (stored + 1, False)):
        weight = np.zeros((256, 40), np.int16)
        weight[:count] = 3
        assert is_cheaper_sparse(weight, 1, chip, 1.0) is sparse


def test_the_page_has_the_range_of_the_log() -> None:
    page = " ".join((ROOT / "docs" / "energy.md").read_text(encoding="utf-8").split())
    ranges = re.findall(r"^from ([\d.]+)% to ([\d.]+)% over", LOG, re.MULTILINE)
    assert len(ranges) == len(known_chips())
    assert all(f"less than {low} to {high} %" in page for low, high in ranges)
