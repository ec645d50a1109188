"""`bench/versus/sanafe.py`: muspike and SANA-FE count and price the same mapped programs alike."""

from __future__ import annotations

import copy
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from muspike.errors import Failed
from muspike.export import environments

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "sanafe.py"
# What SANA-FE 2.2.9 gave, written by `bench/versus/sanafe.py --freeze`.
FROZEN = json.loads(Path(__file__).with_name("sanafe.json").read_text())


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("versus_sanafe", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["versus_sanafe"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def cases(bench: ModuleType) -> dict[str, Any]:
    return {case.name: case for case in bench.small_cases()}


@pytest.fixture
def python(bench: ModuleType) -> Path:
    """A Python that has SANA-FE, or a skipped test where it cannot be had."""
    try:
        found: Path = bench.find_python()
    except Failed as error:
        if "cannot be installed" not in str(error):
            raise
        pytest.skip(str(error))
    return found


def test_the_frozen_results_are_of_the_programs_that_the_script_makes(cases: dict[str, Any]) -> None:
    assert list(cases) == list(FROZEN), "run bench/versus/sanafe.py --freeze"
    for name, case in cases.items():
        assert case.program.digest == FROZEN[name]["digest"], f"{name}: run bench/versus/sanafe.py --freeze"


@pytest.mark.parametrize("name", list(FROZEN))
def test_counts_and_energy_are_sana_fes(bench: ModuleType, cases: dict[str, Any], name: str) -> None:
    case, frozen = cases[name], FROZEN[name]
    network, more = bench.network_of(case)
    assert more == frozen["more_updates"]
    found = bench.compared(case, frozen, network, more)
    assert not found.wrong
    assert all(number for number in found.ours.values())
    # Every kind of list that the program has is priced.
    layouts = {synapses.layout for synapses in case.program.synapses}
    assert found.energy_ours["synapse"] > 0 and layouts <= set(bench.LAYOUTS)


def test_all_kinds_of_lists_are_among_the_programs(cases: dict[str, Any]) -> None:
    assert {s.layout for case in cases.values() for s in case.program.synapses} == {"dense", "sparse", "conv"}
    assert any(s.delay > 1 for case in cases.values() for s in case.program.synapses)
    assert all(len({tuple(place) for place in case.program.core_xy.tolist()}) > 1 for case in cases.values())


@pytest.mark.parametrize("wrong", ["spikes", "packets_sent", "host_packets", "neurons_updated", "hops_x", "hops_y"])
def test_a_count_that_is_off_by_one_is_found(bench: ModuleType, cases: dict[str, Any], wrong: str) -> None:
    frozen = copy.deepcopy(FROZEN["sparse"])
    frozen["detailed"][wrong] += 1
    assert bench.compared(cases["sparse"], frozen, *bench.network_of(cases["sparse"])).wrong


def test_an_energy_that_is_off_is_found(bench: ModuleType, cases: dict[str, Any]) -> None:
    frozen = copy.deepcopy(FROZEN["sparse"])
    frozen["detailed"]["energy"]["network"] *= 1.06
    (equal, percent) = bench.compared(cases["sparse"], frozen, *bench.network_of(cases["sparse"])).wrong
    assert "network energy: SANA-FE has" in equal and "network energy differs by more than 5%" in percent


def test_a_python_without_sana_fe_is_named(bench: ModuleType, cases: dict[str, Any]) -> None:
    network, _ = bench.network_of(cases["dense"])
    with pytest.raises(Failed, match="SANA-FE stopped with status 1: ModuleNotFoundError: No module named 'sanafe'"):
        bench.run_sanafe(network, "simple", Path(sys.executable))


@pytest.mark.nightly
def test_sana_fe_still_gives_the_frozen_results(bench: ModuleType, cases: dict[str, Any], python: Path) -> None:
    for name, case in cases.items():
        network, more = bench.network_of(case)
        results = bench.results_of(network, python)
        assert {"digest": case.program.digest, "more_updates": more, **results} == FROZEN[name]


@pytest.mark.nightly
def test_the_s_rnn_on_words_is_counted_and_priced_as_sana_fe_does(bench: ModuleType, python: Path) -> None:
    case = bench.shipped_case(words=8)
    network, more = bench.network_of(case)
    assert not bench.compared(case, bench.results_of(network, python), network, more).wrong


@pytest.mark.nightly
def test_the_environment_is_made_on_first_use(
    bench: ModuleType, python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(bench.VARIABLE, raising=False)
    monkeypatch.setattr(bench, "cache_folder", lambda: tmp_path)
    made = bench.find_python()
    assert made == bench.find_python() and made.parts[-len(environments.PYTHON_IN_ENVIRONMENT.parts) :]
    assert tmp_path in made.parents
