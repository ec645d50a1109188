"""`bench/versus/simulator.py` at tiny sizes, with no other simulator: what it counts, compares, draws and prints."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from muspike.errors import Failed
from muspike.hardware.simulator.events import Simulator

SCRIPT = Path(__file__).parents[3] / "bench" / "versus" / "simulator.py"
NOWHERE = ["--brian2", "nowhere/python", "--nengo-loihi", "nowhere/python"]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script as a module, its large network 2,000 neurons with 8 synapses each."""
    spec = importlib.util.spec_from_file_location("versus_simulator", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "versus_simulator", module)
    spec.loader.exec_module(module)
    for name, value in {
        "NEURONS": 2000, "FAN_OUT": 8, "ACTIVITIES": (0.05, 0.2), "SILENT_FAN_OUTS": (0, 8), "CHUNK": 10
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    yield module


def test_the_large_network_is_what_it_is_said_to_be(bench: ModuleType) -> None:
    program = bench.random_network(0.05, 2000, 8)
    assert program.n_neurons == 2000
    assert program.n_synapses == 16_000
    assert sorted(s.delay for s in program.synapses) == [1, 2, 3, 4]
    row = bench.settled(program, 0.05, repeats=2)
    assert (row["neurons"], row["synapses"]) == (2000, 16_000)
    assert row["activity"] == pytest.approx(0.05, rel=0.2)
    assert row["spikes_per_tick"] == pytest.approx(2000 * row["activity"])
    assert row["synaptic_events_per_tick"] == pytest.approx(8 * row["spikes_per_tick"])
    events = row["ns_per_synaptic_event"] * row["synaptic_events_per_tick"]
    assert events == pytest.approx(1e6 * row["simulator_ms_per_tick"])


def test_silent_neurons_add_synapses_and_no_spikes(bench: ModuleType) -> None:
    few, many = (bench.random_network(0.2, 500, 8, 1500, fan) for fan in (0, 8))
    assert many.n_synapses == few.n_synapses + 1500 * 8
    silence = np.zeros((40, 1, 0), np.uint8)
    runs = [Simulator(p).run(silence).spikes for p in (few, many)]
    assert runs[0]["spiking"].any() and not runs[1]["silent"].any()
    np.testing.assert_array_equal(runs[0]["spiking"], runs[1]["spiking"])


def test_a_spike_in_another_tick_is_found(bench: ModuleType) -> None:
    program = bench.fully_connected(2, 32)
    inputs = bench.random_spikes(program, 40, 1, 0.3)
    spikes = Simulator(program).run(inputs).spikes
    found = {name: np.flatnonzero(spikes[name]) for name in ("layer 1", "layer 2")}
    assert all(len(at) for at in found.values())
    assert bench.different_spikes(program, inputs, found) == []
    later = found["layer 2"].copy()
    later[-1] -= 32  # the same neuron a tick before, and so as many spikes
    assert bench.different_spikes(program, inputs, found | {"layer 2": np.sort(later)}) == ["layer 2"]
    assert bench.different_spikes(program, inputs, {"layer 2": found["layer 2"]}) == ["layer 1"]


def test_the_curves_are_a_table_and_a_picture(bench: ModuleType, tmp_path: Path) -> None:
    found = bench.curves(argparse.Namespace(repeats=1))
    over_activity, over_synapses = found.values()
    assert [row["synapses"] for row in over_activity] == [16_000, 16_000]
    assert over_activity[0]["spikes_per_tick"] < over_activity[1]["spikes_per_tick"]
    assert [row["synapses"] for row in over_synapses] == [1600, 1600 + 8 * 1800]
    assert over_synapses[0]["spikes_per_tick"] == over_synapses[1]["spikes_per_tick"]
    lines = bench.table(over_activity).splitlines()
    assert len(lines) == 3
    assert len({len(line) for line in lines}) == 1
    picture = tmp_path / "curves.svg"
    bench.draw(found, picture)
    assert picture.read_text().rstrip().endswith("</svg>")
    assert list(tmp_path.iterdir()) == [picture]


def test_json_has_what_was_measured_before_an_error(
    bench: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_lava(*_: Any) -> None:
        raise Failed("no Lava here")

    monkeypatch.setattr(bench.lava_runner, "verify", no_lava)
    assert bench.main(["--json", "--repeats", "1", *NOWHERE]) == 1
    out, err = capsys.readouterr()
    (row,) = json.loads(out).values()
    assert row["neurons"] == 2000
    assert row["brian2"].startswith("not installed")
    assert "no Lava here" in err
