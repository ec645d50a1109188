"""`bench/versus/opinions.py`: the table of docs/opinions.md is that of the measured file."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from muspike.errors import BadInput
from muspike.model_folder import shipped_models

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "opinions.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("versus_opinions", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["versus_opinions"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_has_the_table_of_the_results(bench: ModuleType) -> None:
    results = json.loads(bench.RESULTS.read_text(encoding="utf-8"))
    page = bench.PAGE.read_text(encoding="utf-8")
    assert bench.filled(page, results) == page
    assert list(results["models"]) == list(shipped_models())


def test_every_verdict_is_what_its_opinions_say(bench: ModuleType) -> None:
    results = json.loads(bench.RESULTS.read_text(encoding="utf-8"))
    for found in results["models"].values():
        for chip in bench.CHIPS:
            said = {opinion["verdict"] for opinion in found[chip]["opinions"]}
            assert found[chip]["verdict"] == (said.pop() if len(said) == 1 else "they disagree")


def test_a_page_without_a_place_for_the_table_is_refused(bench: ModuleType) -> None:
    with pytest.raises(BadInput, match="has no place between <!-- table opinions -->"):
        bench.filled("# A page\n", {"models": {}})
