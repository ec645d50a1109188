"""`muspike simulate`, `run-lava` and `map --input`: what they tell is what the modules compute, and bad input."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import chip_programs
from html_page import Page
from lava_python import lava_python
from muspike import progress
from muspike.cli import main
from muspike.export import lava_runner
from muspike.hardware import interpreter
from muspike.hardware.chip import load_chip
from muspike.hardware.cost import activity, energy
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.mapping.keep import SCALES
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.reader import file as reader
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.readings import READINGS
from muspike.hardware.running import simulate as module
from muspike.hardware.running.classification import classify
from muspike.hardware.running.simulate import simulate
from muspike.hardware.running.spikes import InputSpikes, read_spikes
from muspike.hardware.simulator.events import Simulator

TICKS, BATCH = 30, 2
READ: dict[bytes, nir.NIRGraph] = {}


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A good file is read once for all commands: each reading starts a process, and test_file.py is about it."""

    def read(path: str | Path) -> nir.NIRGraph:
        whole = Path(path).read_bytes() if Path(path).is_file() else b""
        if whole not in READ:
            READ[whole] = read_nir(path)
        return copy.deepcopy(READ[whole])

    monkeypatch.setattr(reader, "read_nir", read)


def lif(n: int, v_threshold: float = 0.1) -> nir.LIF:
    one = np.ones(n)
    return nir.LIF(tau=4e-3 * one, r=one, v_leak=0 * one, v_threshold=v_threshold * one, v_reset=0 * one)


def chain(nodes: dict[str, Any], **more: Any) -> nir.NIRGraph:
    return nir.NIRGraph(nodes, list(zip(nodes, list(nodes)[1:], strict=False)), metadata={"dt": 1e-3}, **more)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """8 inputs, two layers of 12, a readout of 3."""
    rng = np.random.default_rng(0)
    nodes = {
        "input": nir.Input(np.array([8])),
        "w_a": nir.Linear(rng.normal(0, 0.4, (12, 8))),
        "a": lif(12),
        "w_b": nir.Linear(rng.normal(0, 0.4, (12, 12))),
        "b": lif(12),
        "w_out": nir.Linear(rng.normal(0, 0.4, (3, 12))),
        "out": nir.LI(tau=np.full(3, 0.01), r=np.ones(3), v_leak=np.zeros(3)),
        "output": nir.Output(np.array([3])),
    }
    file = tmp_path_factory.mktemp("networks") / "net.nir"
    nir.write(file, chain(nodes))
    return file


@pytest.fixture(scope="module")
def spikes(network: Path) -> Path:
    fired = np.random.default_rng(1).random((TICKS, BATCH, 8)) < 0.2
    np.savez_compressed(network.with_name("spikes.npz"), input=fired)
    return network.with_name("spikes.npz")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def told(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """What a command that ends well prints: with --json as data, else as text."""

    def run(*arguments: object, status: int = 0) -> Any:
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        out = capsys.readouterr().out
        return json.loads(out) if "--json" in arguments else out

    return run


@pytest.fixture
def refused(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """A command that must end with a status and one line, and leave the folder as it was."""

    def run(arguments: Sequence[object], status: int = 2) -> str:
        before = {p: p.read_bytes() for p in here.rglob("*") if p.is_file()}
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == status
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("muspike: ") and err.count("\n") == 1, err
        assert {p: p.read_bytes() for p in here.rglob("*") if p.is_file()} == before
        return str(err)

    return run


@pytest.fixture(scope="module")
def compiled(network: Path) -> Program:
    return compile_graph(from_nir(read_nir(network)), "loihi1").program


@pytest.fixture
def program(compiled: Program, here: Path) -> Path:
    compiled.save("program.npz")
    return Path("program.npz")


def by_name(rows: list[dict[str, Any]], key: str = "name") -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in rows}


# --- simulate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_it_tells_what_the_modules_compute(network: Path, spikes: Path, told: Callable[..., Any], chip: str) -> None:
    result = told("simulate", network, "--input", spikes, "--chip", chip, "--json", "-o", "out.npz", "--membranes")
    graph = from_nir(read_nir(network))
    program = compile_graph(graph, chip).program
    given = read_spikes(spikes, {"input": 8}, 1e-3).spikes["input"]
    deepest = max(p.level for p in program.populations)
    assert deepest >= 2 and (result["input_ticks"], result["ticks"], result["sequences"]) == (30, 30 + deepest, 2)
    padded = np.concatenate([given, np.zeros((deepest, BATCH, 8), np.uint8)])
    run = Simulator(program, BATCH).run(padded, record_membranes=True)
    assert result["program"] == program.digest

    rows = by_name(result["populations"])
    assert list(rows) == [p.name for p in program.populations]
    for name, fired in run.spikes.items():
        assert fired.any() and rows[name]["spikes_in_all_sequences"] == fired.sum()
        level = program.population(name).level
        assert (
            rows[name]["spikes_per_neuron_and_tick"]
            == pytest.approx(fired[level : level + TICKS].mean())
            != pytest.approx(fired.mean())
        )
    assert (
        rows["out"]["spikes_in_all_sequences"] is None
        and rows["a"]["overflows_in_all_sequences"] == 0
        and rows["out"]["readout_resets_in_all_sequences"] == 0
    )

    counts = activity.count(program, run.spikes, currents=run.current, membranes=run.membrane)
    assert result["cores_in_all_sequences"]["syn_ops"] == counts.synops.sum((0, 1)).tolist()
    assert result["cores_in_all_sequences"]["dendrite_updates"] == counts.neuron_updates.sum((0, 1)).tolist()
    assert result["cores_in_all_sequences"]["spikes_in"] == counts.spikes_in.sum((0, 1)).tolist()
    assert result["cores_in_all_sequences"]["axon_out"] == counts.messages_out.sum((0, 1)).tolist()
    priced = energy.price_all(counts, load_chip(chip))
    assert [e["costs"] for e in result["energy"]] == [p.costs for p in priced] and result["no_energy"] is None
    for ours, theirs in zip(result["energy"], priced, strict=True):
        for part in ("total", "dynamic", "static"):
            found = ours["energy_uj_per_sequence"][part]
            right = vars((getattr(theirs, part) / BATCH).to("uJ"))
            # The times of ticks are added in another order.
            assert found == {k: pytest.approx(v, rel=1e-12) if isinstance(v, float) else v for k, v in right.items()}
            assert found["low"] <= found["value"] <= found["high"]
        assert ours["latency_us_per_sequence"]["value"] == pytest.approx(theirs.latency.value / 1e3 / BATCH)

    ideal, membranes = interpreter.run(graph, given)
    agreed = by_name(result["agreement_in_all_sequences"], "population")
    for name in ("a", "b"):
        level = program.population(name).level
        fired, exact = run.spikes[name][level : level + TICKS], ideal[name]
        assert agreed[name]["agreement"] == pytest.approx((fired & exact).sum() / (fired | exact).sum())
        assert agreed[name]["agreement"] > 0.8
        assert agreed[name]["rate_change"] == pytest.approx(fired.sum() / exact.sum() - 1)
    p = program.population("out")
    error = run.membrane["out"][p.level : p.level + TICKS] / p.scale - membranes["out"]
    assert agreed["out"]["largest_difference"] == pytest.approx(np.abs(error).max())

    with np.load("out.npz", allow_pickle=False) as out:
        wanted: dict[str, Any] = {"dt_s": 1e-3, **run.spikes} | {f"{n}.membrane": v for n, v in run.membrane.items()}
        wanted |= {f"{n}.current": u for n, u in run.current.items()}
        wanted |= {f"{n}.scale": program.population(n).scale for n in run.membrane}
        assert set(out.files) == set(wanted)
        assert all(np.array_equal(out[name], array) for name, array in wanted.items())


def test_it_prints_the_same_for_people(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    result = told("simulate", network, "--input", spikes, "--json")
    text = told("simulate", network, "--input", spikes)
    assert text.startswith(f"{network} on loihi1: 30 ticks of 0.001 s and ")
    lines = [line.split() for line in text.splitlines()]
    for row in result["populations"][:-1]:
        assert any(line[:1] == [row["name"]] and f"{row['spikes_per_neuron_and_tick']:.4f}" in line for line in lines)
    assert ["all", *(f"{sum(column):,}" for column in result["cores_in_all_sequences"].values())] in lines
    total = result["energy"][0]["energy_uj_per_sequence"]["total"]
    (row,) = [line for line in lines if line[:1] == ["total"]]
    assert row[1] == f"{total['value']:.4g}" and row[-1] == total["tag"]
    assert f"{100 * by_name(result['agreement_in_all_sequences'], 'population')['b']['agreement']:.1f} %" in text
    assert "WARNING" not in text


def test_a_program_runs_as_its_network_does(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    told("map", network, "-o", "program.npz")
    ours = told("simulate", "program.npz", "--input", spikes, "--json", "-o", "a.npz")
    theirs = told("simulate", network, "--input", spikes, "--json", "--no-float", "-o", "b.npz")
    assert (ours["risks"], theirs["risks"]) == (None, [])  # which only its network tells
    different = ("file", "seconds", "ticks_per_second", "sequence_ticks_per_second", "risks")
    assert {k: v for k, v in ours.items() if k not in different} == {
        k: v for k, v in theirs.items() if k not in different
    }
    assert ours["agreement_in_all_sequences"] is None
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()


def test_spikes_are_written_as_events_and_read_again(program: Path, spikes: Path, told: Callable[..., Any]) -> None:
    told("simulate", program, "--input", spikes, "-o", "dense.npz")
    told("simulate", program, "--input", spikes, "-o", "events.npz", "--events")
    shapes = {"input": 8, "a": 12, "b": 12}
    dense, events = (read_spikes(f"{name}.npz", shapes, 1e-3).spikes for name in ("dense", "events"))
    assert all(dense[name].any() and np.array_equal(dense[name], events[name]) for name in shapes)
    with np.load("events.npz") as file:
        assert "a.neuron" in file.files and "a" not in file.files and "out.membrane" in file.files
        assert "a.membrane" not in file.files  # only what is read without --membranes


def test_random_spikes_have_a_seed_a_rate_and_a_length(program: Path, told: Callable[..., Any]) -> None:
    def run(*more: object) -> dict[str, Any]:
        result = told("simulate", program, "--random", "0.25", "--json", *more)
        return {row["name"]: row["spikes_in_all_sequences"] for row in result["populations"]} | {
            "ticks": result["input_ticks"]
        }

    assert run() == run("--seed", "0") != run("--seed", "1")
    assert run()["ticks"] == 100 and abs(run()["input"] / 800 - 0.25) < 0.05
    assert run("--ticks", "7")["ticks"] == 7


def test_ticks_cut_the_input_and_stderr_says_so(
    network: Path, spikes: Path, told: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", str(network), "--input", str(spikes), "--ticks", "10", "--no-float", "--json"]) == 0
    out, err = capsys.readouterr()
    given = read_spikes(spikes, {"input": 8}, 1e-3).spikes["input"]
    assert by_name(json.loads(out)["populations"])["input"]["spikes_in_all_sequences"] == given[:10].sum()
    assert err.splitlines()[0].endswith(f"spikes.npz: input: {given[10:].sum()} spikes from tick 10 on are left out")
    assert json.loads(out)["notes"] == [f"input: {given[10:].sum()} spikes from tick 10 on are left out"]


def test_merged_events_stand_first_in_every_report(
    network: Path, told: Callable[..., Any], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(4)
    n = 400
    events: dict[str, Any] = {"input.time": rng.random(n) * 0.03, "input.neuron": rng.integers(0, 8, n), "ticks": TICKS}
    np.savez(here / "events.npz", **events)
    places = {(int(t // 1e-3), i) for t, i in zip(events["input.time"], events["input.neuron"], strict=True)}
    line = f"input: {n - len(places)} of {n} events ({100 * (n - len(places)) / n:.2g} %) are left out"
    for command in ("simulate", "map"):
        assert main([command, str(network), "--input", "events.npz"]) == 0
        out, err = capsys.readouterr()
        assert f"events.npz: {line}" in err
        assert out.splitlines()[1].startswith(f"WARNING: {line}")
        lines = out.splitlines()[2:5]
        assert lines[0].startswith("input: ticks of ") and "keep all events apart; in ticks of " in lines[0]
        assert (
            lines[1].startswith("the file names its dt, so it has to be written with another one")
            and "a leaky neuron" in lines[2]
        )
        result = told(command, network, "--input", "events.npz", "--json")
        (row,) = result["merged_inputs"]
        assert (row["input"], row["what"], row["events"], row["merged"]) == ("input", "events", n, n - len(places))
        assert result["shorter_ticks"] == lines[1:] and f"ticks of {row['lengths']['apart_s']:g} s keep" in lines[0]
        assert (row["share"], row["ticks"], row["dt_s"]) == ((n - len(places)) / n, TICKS, 1e-3)
        assert list(result).index("merged_inputs") < list(result).index("agreement_in_all_sequences")
        told(command, network, "--input", "events.npz", "--report", "a.html")
        assert line in Page(Path("a.html").read_text(encoding="utf-8")).text
        assert told(command, network, "--random", 0.1, "--json")["merged_inputs"] == []


@pytest.mark.parametrize("scale", SCALES)
def test_every_scale_is_an_option(
    network: Path, told: Callable[..., Any], refused: Callable[..., str], scale: str
) -> None:
    """The network's numbers are no integers of a chip."""
    if scale == "keep":
        assert "cannot be kept as it stands" in refused(["map", network, "--scale", scale])
    else:
        assert told("map", network, "--scale", scale, "--json")["quantisation"]["kept"] is False


@pytest.mark.parametrize("reads_as", READINGS)
def test_counts_go_to_a_float_network_that_is_read_with_counts(
    network: Path, told: Callable[..., Any], here: Path, reads_as: str
) -> None:
    """Each event of a tick for the float network, a spike for the chip; an array of counts is read for such alone."""
    counts = np.random.default_rng(4).poisson(0.4, (TICKS, BATCH, 8))
    places = np.repeat(np.argwhere(counts), counts[counts > 0], axis=0).T
    events: dict[str, Any] = dict(zip(("input.tick", "input.sequence", "input.neuron"), places, strict=True))
    np.savez(here / "events.npz", ticks=TICKS, labels=[1, 2], **events)
    np.savez(here / "counts.npz", input=counts, labels=[1, 2])
    graph = from_nir(read_nir(network))
    spikes = {"input": (counts > 0).astype(np.uint8)}
    reading = READINGS[reads_as]
    given = InputSpikes(TICKS, BATCH, spikes, counts={"input": counts.astype(np.uint16)})
    found = simulate(compile_graph(graph, "loihi1"), given, reads_as=reads_as)
    assert found.agreements is not None
    wanted = [row.to_dict() for row in found.agreements]
    for file in ("events.npz", *(("counts.npz",) if reading.counts else ())):
        common = ("--input", file, "--reads-as", reads_as)
        for command in (("map", network), ("simulate", network, "--labels", "labels")):
            result = told(*command, *common, "--json")
            assert result["agreement_in_all_sequences"] == wanted and result["reads_as"] == reads_as
            (row,) = result["merged_inputs"]
            assert (row["events"], row["merged"]) == (counts.sum(), counts.sum() - np.count_nonzero(counts))
            assert row["what"] == file.removesuffix(".npz")
            text = told(*command, *common)
            assert ("the float network is read as" in text) is (reads_as != "nir")
        assert result["classification"]["reads_as"] == reads_as
        answers = classify(found, [1, 2]).ideal
        assert answers is not None and result["classification"]["float"]["answers"] == answers.answers.tolist()


def test_reset_every_keeps_samples_apart(network: Path, told: Callable[..., Any], here: Path) -> None:
    fired = np.random.default_rng(2).random((20, 1, 8)) < 0.3
    np.savez(here / "one.npz", input=fired)
    np.savez(here / "twice.npz", input=np.concatenate([fired, fired]))
    told("simulate", network, "--input", "one.npz", "-o", "one_out.npz")
    row = told("simulate", network, "--input", "twice.npz", "--reset-every", 20, "-o", "out.npz", "--json")
    for layer, level in (("a", 1), ("b", 2)):
        first = np.load("one_out.npz")[layer][level : level + 20]
        twice = np.load("out.npz")[layer]
        np.testing.assert_array_equal(twice[level + 20 : level + 40], first)
    told("map", network, "--reset-every", 20, "-o", "program.npz")
    again = told("simulate", "program.npz", "--input", "twice.npz", "--json")
    assert again["program"] == row["program"] and again["populations"] == row["populations"]
    assert (
        told("map", network, "--reset-every", 20, "--input", "twice.npz", "--json")["agreement_in_all_sequences"]
        == row["agreement_in_all_sequences"]
    )


def test_graded_inputs_are_told_and_refused_where_they_cannot_be(
    network: Path, spikes: Path, told: Callable[..., Any], refused: Callable[..., str], here: Path
) -> None:
    options = ("--chip", "loihi2", "--graded")
    run = told("simulate", network, "--input", spikes, *options, "--json")
    assert set(run["graded_bits_of_inputs"].values()) == {16}
    mapped = told("map", network, *options, "-o", here / "graded.npz", "--json")
    assert mapped["graded_bits_of_inputs"] == run["graded_bits_of_inputs"]
    again = told("simulate", here / "graded.npz", "--input", spikes, "--json")
    assert again["program"] == run["program"] and again["populations"] == run["populations"]
    assert "graded_spike_bits of loihi1 is 0" in refused(["simulate", network, "--input", spikes, "--graded"])
    assert "--graded" in refused(["simulate", here / "graded.npz", "--input", spikes, "--graded"])


def test_graded_inputs_take_counts_from_a_file(
    network: Path, spikes: Path, told: Callable[..., Any], here: Path
) -> None:
    """Events that meet in one tick: merged into one spike of a binary input, and counted by a graded one."""
    with np.load(spikes) as held:
        ticks, size = held["input"].shape[0], held["input"].shape[-1]
    rng = np.random.default_rng(0)
    where = {"input.tick": rng.integers(0, ticks, 400), "input.neuron": rng.integers(0, size, 400), "ticks": ticks}
    np.savez(here / "events.npz", **where)
    counts = np.zeros((ticks, 1, size), np.uint16)
    np.add.at(counts, (where["input.tick"], 0, where["input.neuron"]), 1)
    np.savez(here / "counts.npz", input=counts)
    binary = told("simulate", network, "--input", "events.npz", "--chip", "loihi2", "--json")
    assert binary["merged_inputs"][0]["merged"] == 400 - np.count_nonzero(counts) > 0
    for name in ("events.npz", "counts.npz"):
        graded = told("simulate", network, "--input", name, "--chip", "loihi2", "--graded", "--json")
        assert graded["merged_inputs"] == [] and graded["populations"] != binary["populations"]
        told("map", network, "--chip", "loihi2", "--graded", "-o", "graded.npz")
        again = told("simulate", "graded.npz", "--input", name, "--json")
        assert again["populations"] == graded["populations"] and again["merged_inputs"] == []


def test_matrix_products_are_the_same_run(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    rows = [told("simulate", network, "--input", spikes, "--json", *more) for more in ((), ("--device", "cpu"))]
    assert rows[0]["populations"] == rows[1]["populations"] and rows[0]["energy"] == rows[1]["energy"]


def test_a_picture_is_drawn(network: Path, spikes: Path, told: Callable[..., Any], here: Path) -> None:
    told("simulate", network, "--input", spikes, "--picture", "raster.png")
    assert (here / "raster.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_in_parts_is_the_run(
    network: Path, spikes: Path, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = told("simulate", network, "--input", spikes, "--json", "-o", "whole.npz", "--membranes")
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 7 * BATCH * 4 * 64)  # 7 ticks of 4 populations, padded
    parts = told("simulate", network, "--input", spikes, "--json", "-o", "parts.npz", "--membranes")
    assert Path("whole.npz").read_bytes() == Path("parts.npz").read_bytes()
    assert all(
        parts[key] == whole[key] for key in ("populations", "cores_in_all_sequences", "agreement_in_all_sequences")
    )
    for ours, theirs in zip(numbers(parts["energy"]), numbers(whole["energy"]), strict=True):
        assert ours == (pytest.approx(theirs, rel=1e-12) if isinstance(theirs, float) else theirs)
    assert "upper bound" not in json.dumps(parts["energy"])


def numbers(data: Any) -> list[Any]:
    """All that is in a JSON value, in order."""
    if isinstance(data, dict):
        return numbers([*data.items()])
    return [leaf for entry in data for leaf in numbers(entry)] if isinstance(data, list | tuple) else [data]


def test_a_layer_that_fires_in_every_tick_has_rate_1(told: Callable[..., Any]) -> None:
    nodes: dict[str, Any] = {"input": nir.Input(np.array([2]))}
    for i in range(20):
        nodes |= {f"w{i}": nir.Linear(np.eye(2)), f"n{i}": lif(2, 0.2)}
    nir.write("deep.nir", chain(nodes | {"output": nir.Output(np.array([2]))}))
    result = told("simulate", "deep.nir", "--random", "1", "--ticks", "10", "--json")
    assert result["ticks"] == 30
    assert {row["spikes_per_neuron_and_tick"] for row in result["populations"]} == {1.0}
    assert {row["spikes_in_all_sequences"] for row in result["populations"]} == {20}


def test_a_long_run_takes_no_more_memory_than_its_spikes(compiled: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CELLS_AT_ONCE", 1 << 18)

    def peak(ticks: int) -> int:
        tracemalloc.start()
        module.simulate(compiled, {"input": np.ones((ticks, 1, 8), np.uint8)})
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(1)
    per_tick = (peak(40_000) - peak(10_000)) / 30_000
    # Three times the input (given, padded, recorded), the spikes of 24 neurons, 3 membranes.
    assert 36 <= per_tick < 80


def test_progress_is_of_chip_and_float_network(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    totals = []

    class Bar(contextlib.AbstractContextManager["Bar"]):
        def __init__(self, total: int, unit: str) -> None:
            totals.append(total)

        def __exit__(self, *_: object) -> None: ...

        def __enter__(self) -> Bar:
            return self

        def advance(self, ticks: int) -> None:
            done.append(ticks)

    monkeypatch.setattr(progress, "bar", Bar)
    for command, float_ticks in ((("simulate",), 9), (("simulate", "--no-float"), 0), (("map",), 9)):
        done.clear()
        assert main([*command, str(network), "--random", "0.1", "--ticks", "9", "--json"]) == 0
        assert sum(done) == totals.pop() == 9 + 3 + float_ticks and done[-float_ticks:].count(1) == float_ticks


def driven_by_biases(path: str) -> None:
    """Three neurons that count up to their threshold, and a fourth that hears them; no input."""
    zeros, ones = np.zeros(3, np.int32), np.ones(3, np.int32)
    scale, core = np.ones(3), np.zeros(3, int)
    alone = ChipPopulation("alone", 3, "lif", 0, 4095 * ones, zeros, ones, np.array([65, 30, 0]), zeros, scale, core)
    z, one = zeros[:1], ones[:1]
    hears = ChipPopulation("hears", 1, "lif", 1, 4095 * one, z, one, z, z, scale[:1], core[:1])
    synapses = [ChipSynapses("w", "alone", "hears", np.full((1, 3), 254), 0, 1)]
    Program("loihi1", 1e-3, [alone, hears], synapses, np.zeros((1, 2), int)).save(path)


def test_a_program_without_input_runs_for_as_long_as_ticks_say(
    told: Callable[..., Any], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    driven_by_biases("own.npz")
    result = told("simulate", "own.npz", "--ticks", "12", "--json", "-o", "out.npz")
    assert (result["input_ticks"], result["ticks"], result["sequences"]) == (12, 13, 1)
    fired = Simulator(Program.load("own.npz")).run(np.zeros((13, 1, 0), np.uint8)).spikes
    assert {row["name"]: row["spikes_in_all_sequences"] for row in result["populations"]} == {
        n: a.sum() for n, a in fired.items()
    }
    assert fired["alone"][:, 0].sum(0).tolist() == [13, 4, 0]  # above 64: each tick, each third
    assert np.array_equal(np.load("out.npz")["hears"], fired["hears"]) and fired["hears"].any()
    assert "no input; --ticks says how long it is to run" in refused(["simulate", "own.npz"])
    assert "no input to give spikes to" in refused(["simulate", "own.npz", "--random", "0.1", "--ticks", "5"])

    def run_lava(loaded: Program, inputs: Any, *more: Any, **options: Any) -> lava_runner.LavaRun:
        assert inputs.shape == (13, 1, 0)
        run = Simulator(loaded).run(inputs, record_membranes=True)
        return lava_runner.LavaRun(run.spikes, run.membrane, run.current, versions={}, seconds_per_tick=1.0)

    monkeypatch.setattr(lava_runner, "run_lava", run_lava)
    assert told("run-lava", "own.npz", "--ticks", "12", "--json", "-o", "lava.npz")["equal"] is True
    assert Path("lava.npz").read_bytes() == Path("out.npz").read_bytes()


def test_what_has_no_price_and_did_not_happen_has_no_row(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    for chip in ("loihi1", "loihi2"):
        result = told("simulate", network, "--input", spikes, "--chip", chip, "--json")
        text = told("simulate", network, "--input", spikes, "--chip", chip)
        for priced in result["energy"]:
            rows = by_name(priced["components"])
            assert rows["host input"]["status"] == "unpriced" and rows["host input"]["count_per_sequence"] > 0
            assert all(row["status"] != "unpriced" or row["count_per_sequence"] for row in rows.values())
        assert "\nhost input" in text and "host output" not in text and "while the host samples" not in text


def test_risks_are_told(network: Path, spikes: Path, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rounding, run = tuple(f"rounding {i}" for i in range(11)), ("a spike crosses a reset", "a bias is early")

    def risky(*arguments: Any, **options: Any) -> Any:
        made = compile_graph(*arguments, **options)
        return replace(made, quantisation=replace(made.quantisation, risks=rounding), risks=(*rounding, *run))

    monkeypatch.setattr("muspike.hardware.mapping.compile.compile_graph", risky)
    arguments = ("simulate", network, "--input", spikes, "--no-float")
    assert told(*arguments, "--json")["risks"] == [*run, *rounding]
    lines = [line for line in told(*arguments).splitlines() if line.startswith("risk: ")]
    assert lines == [*(f"risk: {r}" for r in (*run, *rounding[:8])), "risk: 3 more, which --json lists"]


def test_speed_is_of_all_sequences_and_of_each(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    result = told("simulate", network, "--input", spikes, "--json")
    assert result["ticks_per_second"] == pytest.approx(result["ticks"] / result["seconds"])
    assert result["sequence_ticks_per_second"] == pytest.approx(BATCH * result["ticks_per_second"])
    last = told("simulate", network, "--input", spikes).splitlines()[-1]
    shape = r"simulated ([\d,]+) ticks per second of 2 sequences at once, ([\d,]+) ticks of a sequence"
    match = re.fullmatch(shape, last)
    assert match
    each, all_of_them = (int(number.replace(",", "")) for number in match.groups())
    assert abs(all_of_them - 2 * each) <= 1
    one = told("simulate", network, "--random", "0.1").splitlines()[-1]
    assert re.fullmatch(r"simulated [\d,]+ ticks per second", one)


def overflowing(path: str) -> None:
    """200 inputs of the largest weight into a neuron and a readout of a low threshold."""

    def population(name: str, size: int, kind: str, v_threshold: int = 0) -> ChipPopulation:
        return chip_programs.population(name, size, kind, level=int(kind != "input"), dv=0, v_threshold=v_threshold)

    populations = [population("in", 200, "input"), population("n", 1, "lif", 2**17 - 1), population("out", 1, "li", 5)]
    synapses = [ChipSynapses(t, "in", t, np.full((1, 200), 254), 0, 1) for t in ("n", "out")]
    chip_programs.program(populations, synapses).save(path)


def test_what_is_not_the_chips_is_warned_of(told: Callable[..., Any]) -> None:
    overflowing("program.npz")
    np.save("spikes.npy", np.ones((5, 200), bool))
    result = told("simulate", "program.npz", "--input", "spikes.npy", "--json")
    assert by_name(result["populations"])["n"]["overflows_in_all_sequences"] == 5
    assert by_name(result["populations"])["out"]["readout_resets_in_all_sequences"] > 0
    text = told("simulate", "program.npz", "--input", "spikes.npy")
    assert "WARNING: n: 5 sums left the chip's 16-bit accumulator" in text
    assert "WARNING: out: a readout whose membrane reached" in text
    assert [f"WARNING: {w}" for w in result["warnings"]] == [line for line in text.splitlines() if "WARNING" in line]


def test_what_does_not_fit_has_spikes_but_no_energy(told: Callable[..., Any]) -> None:
    nodes = {
        "input": nir.Input(np.array([5000])),
        "weights": nir.Linear(np.ones((2, 5000), np.float32)),
        "neurons": lif(2),
        "output": nir.Output(np.array([2])),
    }
    nir.write("wide.nir", chain(nodes))
    result = told("simulate", "wide.nir", "--random", "0.01", "--ticks", "5", "--no-float", "--json")
    assert result["energy"] == [] and "5000 input axons, loihi1 holds 4096" in result["no_energy"]
    assert by_name(result["populations"])["neurons"]["spikes_in_all_sequences"] > 0
    assert "no energy: does not fit loihi1: " in told(
        "simulate", "wide.nir", "--random", "0.01", "--ticks", "5", "--no-float"
    )


def test_a_program_that_does_not_fit_has_spikes_but_no_energy(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    driven_by_biases("own.npz")
    made = Program.load("own.npz")
    crowd = chip_programs.population("crowd", 158_509, v_threshold=1)
    Program("loihi1", 1e-3, [*made.populations, crowd], made.synapses, made.core_xy).save("crowd.npz")
    above = "core 0 ('alone', 'hears', 'crowd'): 158513 neurons, loihi1 holds 1024 on a core"
    result = told("simulate", "crowd.npz", "--ticks", "5", "--json")
    assert (result["energy"], result["no_energy"]) == ([], f"does not fit loihi1: {above}")
    assert result["problems"] == [above]
    assert by_name(result["populations"])["alone"]["spikes_in_all_sequences"]
    text = told("simulate", "crowd.npz", "--ticks", "5")
    assert f"\nno energy: does not fit loihi1: {above}\n" in text and f"\nproblem: {above}\n" in text
    # A chip of one's own that holds less.
    told("chips", "--template", "loihi1", "-o", "mine.toml")
    small = re.sub(
        r"(?m)^neurons_per_core = .*",
        'neurons_per_core = { value = 3, source = "nengo_loihi: mine" }',
        Path("mine.toml").read_text(),
    )
    Path("mine.toml").write_text(re.sub(r'(?m)^name = "[^"]*"', 'name = "mine"', small, count=1))
    Program("mine", 1e-3, made.populations, made.synapses, made.core_xy).save("mine.npz")
    result = told("simulate", "mine.npz", "--ticks", "5", "--chip", "mine.toml", "--json")
    assert result["problems"] == ["core 0 ('alone', 'hears'): 4 neurons, mine holds 3 on a core"]
    assert told("simulate", "own.npz", "--ticks", "5", "--json")["problems"] == []

    def run_lava(loaded: Program, inputs: Any, *more: Any, **options: Any) -> lava_runner.LavaRun:
        run = Simulator(loaded).run(inputs, record_membranes=True)
        return lava_runner.LavaRun(run.spikes, run.membrane, run.current, versions={}, seconds_per_tick=1.0)

    monkeypatch.setattr(lava_runner, "run_lava", run_lava)
    assert told("run-lava", "crowd.npz", "--ticks", "5", "--json")["problems"] == [above]
    assert f"\nproblem: {above}\n" in told("run-lava", "crowd.npz", "--ticks", "5")
    assert told("run-lava", "own.npz", "--ticks", "5", "--json")["problems"] == []
    assert told("run-lava", "mine.npz", "--ticks", "5", "--json")["problems"] is None


def test_several_inputs_nested_names_and_nir_data(told: Callable[..., Any]) -> None:
    nodes = {
        "left": nir.Input(np.array([2])),
        "right": nir.Input(np.array([3])),
        "w_left": nir.Linear(np.eye(4, 2)),
        "w_right": nir.Linear(np.eye(4, 3)),
        "n": lif(4, 0.2),
        "output": nir.Output(np.array([4])),
    }
    edges = [("left", "w_left"), ("right", "w_right"), ("w_left", "n"), ("w_right", "n"), ("n", "output")]
    nir.write("two.nir", nir.NIRGraph(nodes, edges, metadata={"dt": 1e-3}))
    left, right = np.ones((6, 1, 2), np.uint8), np.zeros((6, 1, 3), np.uint8)
    right[2:, 0, 2] = 1
    np.savez("dense.npz", left=left, right=right)
    data = {
        name: nir.NIRNodeData({"spikes": nir.TimeGriddedData(fired.swapaxes(0, 1).astype(bool), 1e-3)})
        for name, fired in (("left", left), ("right", right))
    }
    nir.write_data("data.nir", nir.NIRGraphData(data))
    results = [told("simulate", "two.nir", "--input", file, "--json") for file in ("dense.npz", "data.nir")]
    assert results[0]["populations"] == results[1]["populations"]
    rows = by_name(results[0]["populations"])
    assert (rows["left"]["spikes_in_all_sequences"], rows["right"]["spikes_in_all_sequences"]) == (12, 4) and rows["n"][
        "spikes_in_all_sequences"
    ] > 0
    assert by_name(results[0]["agreement_in_all_sequences"], "population")["n"]["agreement"] == 1


def test_a_sensors_events_drive_an_input_of_its_shape(told: Callable[..., Any]) -> None:
    nodes = {
        "input": nir.Input(np.array([2, 3, 3])),
        "conv": nir.Conv2d((3, 3), np.ones((1, 2, 2, 2)), 1, 0, 1, 1, np.zeros(1)),
        "n": nir.LIF(*(np.full((1, 2, 2), v) for v in (4e-3, 1.0, 0.0, 0.2)), v_reset=np.zeros((1, 2, 2))),
        "output": nir.Output(np.array([1, 2, 2])),
    }
    nir.write("conv.nir", chain(nodes))
    events = np.zeros(3, [("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "<i8")])
    events["x"], events["y"], events["t"], events["p"] = [0, 2, 1], [0, 1, 1], [10, 1010, 2010], [1, 0, 1]
    np.save("events.npy", events)
    result = told("simulate", "conv.nir", "--input", "events.npy", "--json")
    # (0, 0) is heard by one target, (2, 1) by two, the middle by all four.
    assert by_name(result["populations"])["n"]["spikes_in_all_sequences"] == 1 + 2 + 4
    assert by_name(result["agreement_in_all_sequences"], "population")["n"]["agreement"] == 1
    told("map", "conv.nir", "-o", "program.npz")
    assert told("simulate", "program.npz", "--input", "events.npy", "--json")["populations"] == result["populations"]


# --- map --input ----------------------------------------------------------------------------------------------------


def test_map_says_how_the_integers_agree(network: Path, spikes: Path, told: Callable[..., Any]) -> None:
    agreed = told("simulate", network, "--input", spikes, "--json")["agreement_in_all_sequences"]
    result = told("map", network, "--input", spikes, "--json")
    assert result["agreement_in_all_sequences"] == agreed and result["fits"] is True
    assert "agreement_in_all_sequences" not in told("map", network, "--json")
    text = told("map", network, "--input", spikes)
    assert text.startswith(told("map", network).rstrip("\n"))
    lines = [line for line in text.splitlines() if line]
    for row in agreed[:-1]:
        shown = f"{100 * row['agreement']:.1f} %"
        assert any(line.split()[0] == row["population"] and shown in line for line in lines)


# --- run-lava --------------------------------------------------------------------------------------------------------


def test_lava_agrees_and_its_spikes_are_written(program: Path, spikes: Path, told: Callable[..., Any]) -> None:
    lava_python()
    arguments = ("run-lava", program, "--input", spikes, "--ticks", "8", "-o", "lava.npz")
    result = told(*arguments, "--json")
    rows = by_name(result["populations_in_all_sequences"], "population")
    assert result["equal"] is True and set(rows) == {"a", "b", "out"} and rows["a"]["spikes"] > 0
    told("simulate", program, "--input", spikes, "--ticks", "8", "-o", "simulated.npz")
    assert Path("lava.npz").read_bytes() == Path("simulated.npz").read_bytes()


@pytest.mark.parametrize("what", ["nothing", "spikes", "current", "membrane"])
def test_one_difference_to_lava_is_status_1(
    program: Path, spikes: Path, told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def run_lava(loaded: Program, inputs: Any, *more: Any, **options: Any) -> lava_runner.LavaRun:
        run = Simulator(loaded, inputs.shape[1]).run(inputs, record_membranes=True)
        fired = {name: run.spikes[name] for name in ("a", "b")} | {"out": np.zeros_like(run.membrane["out"])}
        kinds: dict[str, Any] = {"current": run.current, "membrane": run.membrane, "spikes": fired}
        copies = {kind: {name: array.copy() for name, array in arrays.items()} for kind, arrays in kinds.items()}
        if what in copies:
            copies[what]["b"][7, 1, 3] ^= 1
        return lava_runner.LavaRun(**copies, versions={"lava-nc": "0"}, seconds_per_tick=1.0)

    monkeypatch.setattr(lava_runner, "run_lava", run_lava)
    status = 0 if what == "nothing" else 1
    result = told("run-lava", program, "--input", spikes, "--json", status=status)
    row = by_name(result["populations_in_all_sequences"], "population")["b"]
    assert result["equal"] is (what == "nothing")
    assert row["different_spikes"] == (what == "spikes") and row["different_states"] == (
        what in ("current", "membrane")
    )
    assert row["first_tick"] == (None if what == "nothing" else 7)
    text = told("run-lava", program, "--input", spikes, status=status)
    assert ("NOT EQUAL" in text) is (what != "nothing") and ("equal in every spike" in text) is (what == "nothing")


def test_the_worker_is_named(told: Callable[..., Any]) -> None:
    first, *more = told("run-lava", "--worker").splitlines()
    assert (
        Path(first).is_file() and "INPUTS.npy" in Path(first).read_text(encoding="utf-8") and "PROGRAM.npz" in more[1]
    )


# --- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["simulate", "run-lava", "map"])
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    out = capsys.readouterr().out
    assert end.value.code == 0 and f"example: muspike {name} " in out and "--random RATE" in out


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("simulate NET", "no spikes: give --input SPIKES, or --random RATE"),
        ("simulate NET --input SPIKES --random 0.1", "not allowed with argument --input"),
        ("simulate NET --random 1.1", "'1.1' must be a number above 0 and at most 1"),
        ("simulate NET --random 0.1 --ticks 0", "'0' must be a whole number from 1"),
        ("simulate NET --random 0.1 --ticks 100000000", ": 100,000,003 ticks x 1 sequences x 35 neurons on 1 cores: "),
        ("simulate NET --random 0.1 --ticks 2000000000", "'2000000000' must be a whole number from 1 to 100000000"),
        ("simulate NET --random 0.1 --dt 0.5", "dt was given as 0.5 s, but the graph's metadata says 0.001 s"),
        ("simulate NET --random 0.1 --chip loihi9", "chip 'loihi9' is not known"),
        ("simulate PROGRAM --random 0.1 -o PROGRAM", "program.npz: -o would replace what the command reads"),
        ("simulate NET --input SPIKES -o SPIKES", "spikes.npz: -o would replace what the command reads"),
        ("map NET --input SPIKES -o SPIKES", "spikes.npz: -o would replace what the command reads"),
        ("simulate NET --input SPIKES --labels own.npz -o own.npz", "own.npz: -o would replace what the command reads"),
        ("simulate copy.png --random 0.1 --picture copy.png", "copy.png: --picture would replace what the command"),
        ("simulate NET --random 0.1 --report a.html --picture a.html", "a.html: --report would replace the file of"),
        ("simulate NET --random 0.1 -o loop.npz", "loop.npz: cannot be written: Too many levels of symbolic links"),
        ("simulate NET --input loop.npz -o out.npz", "loop.npz: cannot be read: Too many levels of symbolic links"),
        ("map NET --report loop.html", "loop.html: cannot be written: Too many levels of symbolic links"),
        ("run-lava PROGRAM --input SPIKES -o PROGRAM", "program.npz: -o would replace what the command reads"),
        ("simulate NET --random 0.1 --device tpu", "invalid choice: 'tpu'"),
        ("simulate NET --random 0.1 --events", "--events is not used without -o; leave it out"),
        ("simulate NET --random 0.1 --membranes", "--membranes is not used without -o"),
        ("simulate NET --random 0.1 -o out.nir", "out.nir: a file of spikes ends in .npz"),
        ("simulate NET --input nosuch.npz", "nosuch.npz: cannot be read: No such file"),
        ("simulate NET --input NET", "net.nir: damaged, or not a NIR data file"),
        ("simulate NET --input PROGRAM", "program.npz: no spikes for the input 'input'; there are"),
        ("simulate NET --input graded.npz", "graded.npz: array 'input'[1, 2] is 3; spikes are 0 or 1"),
        ("simulate NET --input narrow.npz", "narrow.npz: array 'input' has shape [4, 7]; expected [ticks, batch, 8]"),
        ("simulate NET --input sensor.npy", "sensor.npy: events with the fields t, x, y, p for an input of shape [8]"),
        ("simulate nosuch.nir --random 0.1", "nosuch.nir: cannot be read: No such file"),
        ("simulate nosuch.npz --random 0.1", "nosuch.npz: cannot be read: No such file"),
        ("simulate SPIKES --random 0.1", "spikes.npz: "),
        ("simulate graded.npz --random 0.1", "graded.npz: "),
        ("simulate text --random 0.1", "text: "),
        ("simulate PROGRAM --random 0.1 --dt 0.001", "--dt is not used for a program, which has its own"),
        ("simulate PROGRAM --random 0.1 --no-float", "--no-float is not used for a program, which has no float"),
        ("simulate NET --seed 3", "no spikes: give --input SPIKES, or --random RATE"),
        ("simulate silent.npz --ticks 5 --seed 3", "--seed is not used without --random"),
        ("simulate NET --input SPIKES --seed 3", "--seed is not used without --random"),
        ("simulate PROGRAM --random 0.1 --chip loihi2", "program.npz: is a program for loihi1, not for loihi2"),
        ("simulate own.npz --random 0.1", "own.npz: chip 'own' is not known"),
        ("simulate silent.npz --random 0.1", "the network has no input to give spikes to"),
        ("map NET --ticks 5", "--ticks is not used without --input or --random"),
        ("map NET --reads-as sinabs", "--reads-as is not used without --input or --random"),
        ("simulate PROGRAM --random 0.1 --reads-as nir", "--reads-as is not used for a program, which has no float"),
        ("simulate NET --random 0.1 --no-float --reads-as sinabs", "--reads-as is not used with --no-float"),
        ("simulate NET --random 0.1 --reads-as norse", "invalid choice: 'norse'"),
        ("simulate NET --input graded.npz --reads-as nir", "graded.npz: array 'input'[1, 2] is 3; spikes are 0 or 1"),
        ("simulate NET --input halves.npz --reads-as sinabs", "halves.npz: array 'input'[0, 0] is 0.5; counts are"),
        ("map NET --seed 0", "--seed is not used without --input or --random"),
        ("map NET --input graded.npz -o new.npz", "graded.npz: array 'input'[1, 2] is 3; spikes are 0 or 1"),
        ("run-lava", "run-lava: a PROGRAM.npz is needed"),
        ("run-lava PROGRAM", "no spikes: give --input SPIKES, or --random RATE"),
        ("run-lava NET --random 0.1", "net.nir: damaged, or not a muspike program"),
        ("run-lava PROGRAM --random 0.1 --events", "--events is not used without -o"),
        ("run-lava PROGRAM --worker", "PROGRAM is not used with --worker"),
        ("run-lava --worker -o out.npz", "--output is not used with --worker"),
        ("run-lava PROGRAM --random 0.1 -o out", "out: a file of spikes ends in .npz"),
        ("run-lava PROGRAM --input graded.npz", "graded.npz: array 'input'[1, 2] is 3"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_leaves_nothing(
    network: Path,
    spikes: Path,
    compiled: Program,
    program: Path,
    refused: Callable[..., str],
    command: str,
    message: str,
) -> None:
    graded = np.ones((4, 8), int)
    graded[1, 2] = 3
    np.savez("graded.npz", input=graded)
    np.savez("halves.npz", input=graded / 2)
    np.savez("narrow.npz", input=np.ones((4, 7), int))
    np.save("sensor.npy", np.zeros(1, [("t", int), ("x", int), ("y", int), ("p", int)]))
    Path("text").write_text("no network\n", encoding="utf-8")
    at = compiled.core_xy
    Program("own", 1e-3, compiled.populations, compiled.synapses, at).save("own.npz")
    Program("loihi1", 1e-3, compiled.populations[1:2], [], at).save("silent.npz")
    for name in ("loop.npz", "loop.html"):
        Path(name).symlink_to(name)
    Path("copy.png").write_bytes(network.read_bytes())
    names = {"NET": network, "SPIKES": spikes, "PROGRAM": program}
    assert message in refused([names.get(word, word) for word in command.split()])


def test_a_run_too_long_to_be_held_is_refused(
    network: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LARGEST_BYTES", 2500)
    line = refused(["simulate", network, "--random", "0.1"])
    # uint8 of 8 + 24 spikes and int32 of 3 membranes; of the float network as many spikes, and float64.
    held = 103 * (32 + 12 + 32 + 24)
    about = "net.nir: 103 ticks x 1 sequences x 35 neurons on 1 cores: "
    assert f"{about}{held:,} bytes of spikes and membranes, at most 5,000 bytes can be held" in line
    assert "run fewer ticks or sequences at a time, or without float network" in line
    line = refused(["simulate", network, "--random", "0.1", "--no-float", "--membranes", "-o", "out.npz"])
    assert f"{103 * (32 + 8 * 27):,} bytes of" in line and line.endswith("or without membranes\n")
    monkeypatch.setattr(module, "LARGEST_BYTES", 200)
    line = refused(["simulate", network, "--random", "0.1"])
    assert "bytes for one tick, at most 400 bytes can be held; run fewer sequences at a time" in line


def test_no_lava_is_status_1_and_leaves_nothing(
    program: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    line = refused(["run-lava", program, "--random", "0.1", "--python", "nosuch-python", "-o", "out.npz"], 1)
    assert "--python nosuch-python: does not run lava-nc==0.10.0" in line


def test_where_nothing_can_be_written_nothing_is_run(
    network: Path, program: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for run in (module, lava_runner):
        monkeypatch.setattr(run, "simulate" if run is module else "verify", None)
    Path("file").write_bytes(b"")
    Path("folder.npz").mkdir()
    for command in (["simulate", network], ["run-lava", program]):
        for output, message in (
            ("file/out.npz", "file: is a file; a folder"),
            ("folder.npz", "folder.npz: is a folder"),
        ):
            assert message in refused([*command, "--random", "0.1", "--ticks", "5", "-o", output])


def test_a_disk_that_fills_leaves_nothing(
    network: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np.lib.format, "write_array", full)
    line = refused(["simulate", network, "--random", "0.1", "--ticks", "5", "--no-float", "-o", "out.npz"], 1)
    assert "out.npz: cannot be written: No space left" in line


@pytest.mark.parametrize("command", ["simulate PIPE", "map PIPE", "run-lava PIPE", "simulate NET --input PIPE"])
def test_a_pipe_is_not_waited_for(network: Path, refused: Callable[..., str], here: Path, command: str) -> None:
    os.mkfifo(here / "pipe.npz")
    words = {"NET": network, "PIPE": "pipe.npz"}
    more = [] if "--input" in command else ["--random", "0.1"]
    line = refused([words.get(word, word) for word in command.split()] + more)
    assert "pipe.npz" in line and ("a pipe or a device" in line or "not a regular file" in line)


def test_names_that_would_meet_in_a_file_are_refused(told: Callable[..., Any], refused: Callable[..., str]) -> None:
    one = np.ones(2)
    nodes = {
        "input": nir.Input(np.array([2])),
        "a.membrane": lif(2),
        "w": nir.Linear(np.eye(2)),
        "a": nir.LI(tau=0.01 * one, r=one, v_leak=0 * one),
        "output": nir.Output(np.array([2])),
    }
    nir.write("col.nir", chain(nodes))
    assert "two arrays would be called 'a.membrane'" in refused(
        ["simulate", "col.nir", "--random", "0.9", "-o", "o.npz"]
    )


def test_closed_stderr_and_names_for_a_terminal(network: Path, here: Path) -> None:
    """`2>&-` is no reason to fail, and what a file calls its nodes is no command for a terminal."""
    nodes = {"in": nir.Input(np.array([2])), "x\x1b[31mRED": lif(2), "output": nir.Output(np.array([2]))}
    nir.write("red.nir", chain(nodes))
    command = f"{sys.executable} -m muspike simulate red.nir --random 0.5 --ticks 5 --no-float 2>&-"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert "x\\x1b[31mRED" in run.stdout and "\x1b" not in run.stdout


# --- labels and reports ---------------------------------------------------------------------------------------------


@pytest.fixture
def labelled(spikes: Path, here: Path) -> Path:
    """The spikes with labels beside them, and labels in files of their own."""
    with np.load(spikes) as file:
        np.savez("labelled.npz", input=file["input"], y=[2, 0])
        np.savez("noted.npz", input=file["input"], y=[2, 0], note=[1.5])
    np.save("labels.npy", [2, 0])
    np.savez("more.npz", labels=[2, 0])
    return Path("labelled.npz")


def test_labels_tell_what_the_module_finds(network: Path, labelled: Path, told: Callable[..., Any]) -> None:
    result = told("simulate", network, "--input", labelled, "--labels", "y", "--json")
    found = result["classification"]
    program = compile_graph(from_nir(read_nir(network)), "loihi1").program
    given = read_spikes(labelled, {"input": 8}, 1e-3, besides=["y"]).spikes
    expected = classify(simulate(compile_graph(from_nir(read_nir(network)), "loihi1"), given), [2, 0])
    assert found == json.loads(json.dumps(expected.to_dict())) | {"labels_from": "array 'y' of labelled.npz"}
    assert (found["output"], found["rule"], found["classes"]) == ("out", "mean", program.population("out").size)
    assert found["float"]["confusion"] != [] and sum(map(sum, found["chip"]["confusion"])) == BATCH
    priced = result["energy"][0]
    assert found["energy_uj_per_sequence"][priced["costs"]] == pytest.approx(priced["energy_uj_per_sequence"]["total"])
    assert result["notes"] == []
    text = told("simulate", network, "--input", labelled, "--labels", "y")
    assert "labels: array 'y' of labelled.npz" in text and "\n".join(expected.lines()) in text
    assert "accuracy" not in told("simulate", network, "--input", labelled)


@pytest.mark.parametrize(
    ("labels", "where"),
    [("labels.npy", "labels.npy"), ("more.npz", "array 'labels' of more.npz"), ("labelled.npz", "array 'y' of")],
)
def test_labels_come_from_files_too(
    network: Path, labelled: Path, told: Callable[..., Any], labels: str, where: str
) -> None:
    found = told("simulate", network, "--input", labelled, "--labels", labels, "--json")["classification"]
    beside = told("simulate", network, "--input", labelled, "--labels", "y", "--json")["classification"]
    assert where in found.pop("labels_from") and beside.pop("labels_from") and found == beside


def test_who_answers_and_how_may_be_chosen(network: Path, labelled: Path, told: Callable[..., Any]) -> None:
    def rule(*more: str) -> tuple[str, str]:
        command = ("simulate", network, "--input", labelled, "--labels", "y", "--json", *more)
        found = told(*command)["classification"]
        return found["output"], found["rule"]

    assert rule("--decide", "last") == ("out", "last")
    assert rule("--answer", "b") == ("b", "spikes")


def test_a_program_answers_as_its_network_does(
    network: Path, program: Path, labelled: Path, told: Callable[..., Any]
) -> None:
    ours, theirs = (
        told("simulate", file, "--input", labelled, "--labels", "y", "--json")["classification"]
        for file in (program, network)
    )
    assert ours["chip"] == theirs["chip"] and ours["float"] is None and theirs["float"] is not None


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("NET --random 0.1 --labels labels.npy", "--labels: labels belong to the sequences of --input SPIKES"),
        ("NET --input SPIKES --answer out", "--answer is not used without --labels"),
        ("NET --input SPIKES --decide mean", "--decide is not used without --labels"),
        ("NET --input SPIKES --labels z", "labelled.npz: no array 'z' for the labels; there are 'input', 'y'"),
        ("NET --input SPIKES --labels float.npy", "float.npy: the array is of float64; it holds integers"),
        ("NET --input SPIKES --labels input", "labelled.npz: array 'input' has shape [30, 2, 8]; labels are"),
        ("NET --input SPIKES --labels nosuch.npy", "nosuch.npy: cannot be read: No such file"),
        ("NET --input PLAIN --labels five.npy", "five.npy: 5 labels for 2 sequences; there is one for each"),
        ("NET --input PLAIN --labels high.npy", "high.npy: label 1 is 3; the output 'out' has 3 neurons, so a class"),
        ("NET --input SPIKES --labels y --decide spikes", "net.nir: rule 'spikes': the output 'out' is of kind li"),
        ("NET --input SPIKES --labels y --answer nosuch", "net.nir: no population 'nosuch' that could answer"),
        ("NET --input SPIKES --labels y --reset-every 10", "net.nir: labels: the network is reset every 10 ticks"),
        ("NET --input SPIKES --report page.pdf", "page.pdf: a report ends in .html, .htm"),
        ("NET --input SPIKES --report labels.npy/a.html", "labels.npy: is a file; a folder is wanted"),
        ("page.html --input SPIKES --report page.html", "page.html: --report would replace what the command reads"),
    ],
)  # fmt: skip
def test_bad_labels_and_reports_are_refused_before_the_run(
    network: Path,
    spikes: Path,
    labelled: Path,
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    message: str,
) -> None:
    np.save("five.npy", [0] * 5)
    np.save("high.npy", [0, 3])
    np.save("float.npy", [0.0, 1.0])
    Path("page.html").write_bytes(network.read_bytes())
    monkeypatch.setattr(module, "simulate", None)
    names = {"NET": network, "SPIKES": labelled, "PLAIN": spikes}
    assert message in refused(["simulate", *(names.get(word, word) for word in command.split())])


def test_a_network_without_input_has_a_page(told: Callable[..., Any]) -> None:
    driven_by_biases("own.npz")
    told("simulate", "own.npz", "--ticks", "30", "--report", "own.html")
    page = Page(Path("own.html").read_text(encoding="utf-8"))
    assert "input none" in page.text and "input ticks 30" in page.text and "seed" not in page.text


def test_reports_are_pages_on_the_run_and_say_the_command(
    network: Path, labelled: Path, told: Callable[..., Any]
) -> None:
    told("simulate", network, "--input", "noted.npz", "--labels", "y", "--report", "sub/run.html")
    page = Page(Path("sub/run.html").read_text(encoding="utf-8"))
    assert f"muspike simulate {network} --input noted.npz --labels y --report sub/run.html" in page.text
    assert "Accuracy of population out" in page.text and "Modelled energy per sequence" in page.text
    assert hashlib.sha256(network.read_bytes()).hexdigest() in page.text
    assert hashlib.sha256(Path("noted.npz").read_bytes()).hexdigest() in page.text
    assert "not read, because no input has its name: array 'note'" in page.text
    told("map", network, "--report", "map.html")
    page = Page(Path("map.html").read_text(encoding="utf-8"))
    assert "Fit on loihi1 fits on 1 chip" in page.text and "µJ" not in page.text
    told("map", network, "--random", "0.1", "--report", "map.html")
    page = Page(Path("map.html").read_text(encoding="utf-8"))
    assert "Agreement with the float network" in page.text and "random, 0.1 spikes per neuron and tick" in page.text


def test_what_does_not_fit_has_a_report(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir.write(
        "wide.nir", chain({"input": nir.Input(np.array([5000])), "w": nir.Linear(np.ones((1, 5000))), "a": lif(1)})
    )
    assert main(["map", "wide.nir", "--report", "wide.html"]) == 1
    assert "does not fit loihi1" in capsys.readouterr().err
    page = Page(Path("wide.html").read_text(encoding="utf-8"))
    assert "Fit on loihi1 does not fit" in page.text and "What it would take: " in page.text


def test_pictures_are_loaded_only_for_who_asks(network: Path, here: Path) -> None:
    code = (
        "import sys; from muspike.cli import main; main(sys.argv[1:]);"
        "print(sorted({'matplotlib', 'jinja2'} & set(sys.modules)), file=sys.stderr)"
    )
    for command in (["map", network], ["simulate", network, "--random", "0.1", "--ticks", "5"]):
        run = subprocess.run(
            [sys.executable, "-c", code, *map(str, command)], capture_output=True, text=True, check=True
        )
        assert run.stderr.splitlines()[-1] == "[]"


def test_two_counts_of_spikes_say_what_they_count(told: Callable[..., Any]) -> None:
    """Those of the whole run, and those of the ticks that answer to the input, which are compared."""
    one = np.ones(2)
    driven = nir.LIF(tau=4e-3 * one, r=one, v_leak=0.2 * one, v_threshold=0.1 * one, v_reset=0 * one)  # by its leak
    nodes = {"input": nir.Input(np.array([2])), "a": driven, "w": nir.Linear(np.eye(2)), "b": lif(2), "c": lif(2)}
    nir.write("driven.nir", chain({**nodes, "output": nir.Output(np.array([2]))}))
    command = ("simulate", "driven.nir", "--random", "0.1", "--ticks", "30")
    result, text = told(*command, "--json"), told(*command)
    whole = by_name(result["populations"])["a"]
    compared = by_name(result["agreement_in_all_sequences"], "population")["a"]
    answered = round(whole["spikes_per_neuron_and_tick"] * 30 * 2)
    assert whole["spikes_in_all_sequences"] > compared["chip_spikes"] == answered
    lines = [line.split() for line in text.splitlines() if line.startswith("a  ")]
    assert str(whole["spikes_in_all_sequences"]) in lines[0] and str(compared["chip_spikes"]) in lines[1]
    assert f"of the whole run ({result['ticks']} ticks)" in text and "rates of the 30 ticks" in text
    assert "spikes of the ticks that answer to the input" in text
