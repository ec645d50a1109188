"""`bench/versus/opinions.py`: the table of docs/opinions.md is that of the measured file."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from muspike import corpora
from muspike.bench.marked_tables import filled
from muspike.export.subject import Subject
from muspike.model_folder import shipped_models
from noise_corpus import noise_corpus
from small_model import small_model

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
    assert filled(page, bench.tables(results), "opinions.md", every=True) == page
    assert list(results["models"]) == list(shipped_models("jsb"))


def test_every_verdict_is_what_its_opinions_say(bench: ModuleType) -> None:
    results = json.loads(bench.RESULTS.read_text(encoding="utf-8"))
    for found in results["models"].values():
        for chip in bench.CHIPS:
            for opinion in found[chip]["opinions"]:
                ratio = opinion["ratio"]
                holds_one = ratio["low"] <= 1 <= ratio["high"]
                assert (opinion["verdict"] == "within the band") == holds_one
                if not holds_one and not ratio["band_known"]:
                    assert opinion["verdict"] == "band unknown"
            said = {opinion["verdict"] for opinion in found[chip]["opinions"]}
            known = said - {"band unknown"}
            expected = "they disagree" if len(known) > 1 else said.pop() if len(said) == 1 else "band unknown"
            assert found[chip]["verdict"] == expected


def test_a_model_is_measured_on_both_chips(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = noise_corpus((128, 140), train=0, validation=0, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name: made)
    monkeypatch.setattr(bench.Subject, "of", lambda name: Subject(name, small_model("jsb")))
    found = bench.measured("small", pieces=1)
    assert (found["corpus"], found["pieces"], found["words"]) == ("jsb", 1, 128)
    for chip in bench.CHIPS:
        assert len(found[chip]["opinions"]) == 3 and found[chip]["inferences"] == 128
    assert "| small |" in bench.table({"models": {"small": found}})
