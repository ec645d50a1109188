"""`bench/versus/measured_runs.py`: predictions come from network and chip alone, and the page is what they give."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from muspike.errors import BadInput, Failed
from muspike.export.netx_runner import find_lava_dl

VERSUS = Path(__file__).parents[3] / "bench" / "versus"
NEEDS_LAVA_DL = "pilotnet-lif"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measured_runs", VERSUS / "measured_runs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measured_runs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def kept(script: ModuleType) -> dict[str, Any]:
    results: dict[str, Any] = json.loads(script.RESULTS.read_text(encoding="utf-8"))
    return results


@pytest.fixture(scope="module")
def predicted(script: ModuleType) -> dict[str, Any]:
    """The runs that need no download."""
    found: dict[str, Any] = script.predictions([name for name in script.NETWORKS if name != NEEDS_LAVA_DL])
    return found


def close(found: Any, expected: Any) -> bool:
    """Equal, numbers to a millionth: platforms sum in another order."""
    if isinstance(expected, float | int) and not isinstance(expected, bool):
        return bool(found == pytest.approx(expected, rel=1e-5))
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(close(found[key], one) for key, one in expected.items())
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(close, found, expected))
    return bool(found == expected)


def test_the_page_is_that_of_the_results(script: ModuleType, kept: dict[str, Any]) -> None:
    assert script.PAGE.read_text(encoding="utf-8") == script.page(kept)
    assert [run["name"] for run in kept["runs"]] == list(script.NETWORKS)


def test_the_results_are_those_of_the_networks(
    script: ModuleType, kept: dict[str, Any], predicted: dict[str, Any]
) -> None:
    found = script.rounded(script.compare(predicted))
    assert close(found["runs"], [run for run in kept["runs"] if run["name"] != NEEDS_LAVA_DL])
    assert found["sources"] == kept["sources"]


def test_what_was_measured_has_no_part_in_a_prediction(
    script: ModuleType, predicted: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    networks = sys.modules["published_networks"]
    assert list(inspect.signature(networks.predict).parameters) == ["network", "chip"]
    source = inspect.getsource(networks)
    assert "import tomllib" not in source and "import json" not in source and "import measured_runs" not in source
    before = script.compare(predicted)
    other = re.sub(r"^value = .*$", "value = 12345.0", script.MEASURED.read_text(encoding="utf-8"), flags=re.MULTILINE)
    moved = tmp_path / "measured_runs.toml"
    moved.write_text(re.sub(r"^seconds = .*$", "seconds = 77.0", other, flags=re.MULTILINE), encoding="utf-8")
    monkeypatch.setattr(script, "MEASURED", moved)
    names = ["pair-25", "keyword-spotter"]
    again = script.predictions(names)
    assert again == {name: predicted[name] for name in names}
    after = script.compare(again)
    rows = {run["name"]: run["rows"] for run in before["runs"]}
    for run in after["runs"]:
        by_readings = [row for row in run["rows"] if row["measured"]["value"] != 12345.0]
        assert len(by_readings) < len(run["rows"])
        for row, old in zip(run["rows"], rows[run["name"]], strict=True):
            assert row["predicted"] == old["predicted"]


def test_a_pair_fires_as_often_as_its_authors_say(script: ModuleType) -> None:
    for bias, spikes in ((417, 25), (470, 50), (640, 100)):
        network = script.pair(bias, script.CHIPS["loihi2"], delay=10, ticks=4000)
        fired = {name: s[:, 0, 0] for name, s in network.runs["value"].items()}
        assert fired["source"].sum() == 4 * spikes
        assert np.array_equal(fired["target"][11:], fired["source"][:-11])


def test_a_band_goes_from_silence_to_a_spike_in_every_second_step(script: ModuleType) -> None:
    chip = script.CHIPS["loihi1"]
    network = script.keyword_spotter(chip)
    (first,) = (p for p in network.program.populations if p.name == "first")
    assert len(set(first.core)) == 2, "the paper has the first layer on two cores"
    figures = script.predict(network, chip)
    into_first, into_last = 390 * 256, 256 * 256
    synops = figures["synops"]
    assert (synops.low, synops.value, synops.high) == pytest.approx(
        (into_first, into_first + 0.1 * into_last, into_first + 0.5 * into_last), rel=0.01
    )
    assert figures["neuron_updates"].value == 512 and figures["dynamic"].low < figures["dynamic"].value


def test_a_scaled_spotter_has_a_matrix_for_every_layer_of_every_copy(script: ModuleType) -> None:
    program = script.scaled_spotter(3, script.CHIPS["loihi1"]).program
    assert sum(p.size for p in program.populations if p.kind == "lif") == 3 * 10 * 256 + 512
    ends = [(s.source, s.target) for s in program.synapses]
    assert len(ends) == 1 + 3 * 11 and sum(target == "last" for _, target in ends) == 3
    assert sum(source == "first" for source, _ in ends) == 3


def test_readings_become_energy_above_the_waiting_chip(script: ModuleType) -> None:
    log = {"running_mw": [12.0, 14.0], "loaded_mw": [9.0, 11.0], "seconds": 2.0, "inferences": 500, "steps": 5000}
    energy = script.measured_from(log, "above_loaded")
    assert (energy.value, energy.spread) == pytest.approx((3.0 * 4, 2**0.5 * 4))
    assert script.measured_from(log, "loaded").value == 10 and script.measured_from(log, "step").value == 400
    twice = log | {"running_mw": [20.0, 20.0]}
    entry = {"readings": "above_loaded", "less": ["b", "a"]}
    assert script.measured(entry, {"a": log, "b": twice}).value == pytest.approx(40 - 12)
    with pytest.raises(BadInput, match="readings are 'median'"):
        script.measured_from(log, "median")


def test_a_verdict_names_the_side_and_the_factor(script: ModuleType) -> None:
    figure = script.Figure(2.0, 1.0, 4.0, "uJ", "fitted")
    assert [script.verdict(figure, value) for value in (1.0, 4.0, 8.0, 0.5)] == [
        (True, 1.0),
        (True, 1.0),
        (False, 2.0),
        (False, 0.5),
    ]
    told = [script._told({"inside": False, "beyond": beyond}) for beyond in (2.0, 0.5)]
    assert told == ["**no**: 2 times above", "**no**: 2 times below"]
    assert figure.less(script.Figure(0.5, 0.5, 1.0, "uJ", "fitted")) == script.Figure(1.5, 0.5, 3.0, "uJ", "fitted")


def test_every_measured_value_has_a_source(script: ModuleType) -> None:
    told = tomllib.loads(script.MEASURED.read_text(encoding="utf-8"))
    for run in told["run"]:
        for entry in run["measured"]:
            assert entry["source"] in told["sources"] and entry["what"], run["name"]
            assert ("value" in entry) != ("readings" in entry), run["name"]
    for name, log in told["logs"].items():
        assert len(log["running_mw"]) == len(log["loaded_mw"]) == 20, name


def test_without_the_wheel_it_says_what_is_missing(script: ModuleType) -> None:
    with pytest.raises(BadInput, match=r"PilotNet-LIF needs the wheel of lava-dl 0\.6\.0"):
        script.predictions([NEEDS_LAVA_DL])


@pytest.mark.nightly
def test_pilotnet_is_as_the_page_says(script: ModuleType, kept: dict[str, Any]) -> None:
    try:
        wheel = find_lava_dl()
    except Failed as error:
        pytest.skip(str(error))
    found = script.rounded(script.compare(script.predictions([NEEDS_LAVA_DL], wheel)))
    assert close(found["runs"], [run for run in kept["runs"] if run["name"] == NEEDS_LAVA_DL])
