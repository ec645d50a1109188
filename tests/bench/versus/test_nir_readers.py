"""The page on readers of NIR is made of its results, and a cause is what the interpreter shows."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import nir
import numpy as np
import pytest

from reader_python import reader_python

VERSUS = Path(__file__).parents[3] / "bench" / "versus"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("nir_readers", VERSUS / "nir_readers.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_that_of_the_results(script: ModuleType) -> None:
    results = json.loads(script.RESULTS.read_text(encoding="utf-8"))
    assert script.PAGE.read_text(encoding="utf-8") == script.page(results)
    assert set(results["cells"]) == {*script.CASES, *script.MODELS}
    assert all(set(cells) == set(script.readers()) for cells in results["cells"].values())


def test_a_cause_is_named_only_if_it_gives_what_the_reader_gave(script: ModuleType) -> None:
    causes = sys.modules["nir_causes"]
    graph = script.CASES["Delay"].make(1e-3)
    given = (np.random.default_rng(0).random((30, 2, script.SIZE)) < 0.3).astype(np.uint8)
    meaning = causes.Meaning(graph, 1e-3)
    edges = [("input", "weights"), ("weights", "neuron"), ("neuron", "output")]
    without = nir.NIRGraph({k: v for k, v in graph.nodes.items() if k != "delay"}, edges, type_check=False)
    found = causes.Meaning(without, 1e-3).run(given)
    del found["input"]  # no reader gives it
    assert causes.first_difference(found, meaning.run(given)) is not None
    assert causes.cause(meaning, given, found) == "Delay is left out"
    noise = {"output": np.random.default_rng(1).random(found["output"].shape)}
    assert causes.cause(meaning, given, noise) is None


@pytest.mark.nightly
def test_the_readers_still_do_what_the_page_says(script: ModuleType) -> None:
    for name in script.readers():
        reader_python(name)
    kept, found = json.loads(script.RESULTS.read_text(encoding="utf-8")), script.measure()
    assert {part: kept[part] for part in ("cells", "written")} == {part: found[part] for part in ("cells", "written")}
