"""Tick lengths that keep events apart, against trying them; and what shorter ticks do to a network."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import small_nir
from muspike.errors import BadInput
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.spikes import InputSpikes, read_spikes
from muspike.hardware.running.tick_lengths import SHARES, TickLengths, round_lengths, what_shorter_ticks_change
from small_nir import chain, li, lif

TONIC = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])


def merged(read: InputSpikes) -> int:
    return sum(of.merged for of in read.merged)


def lengths(read: InputSpikes) -> TickLengths:
    (of,) = read.merged
    assert of.lengths is not None
    return of.lengths


def test_round_lengths_go_down() -> None:
    found = list(itertools.islice(round_lengths(1e-3), 7))
    assert found == [1e-3, 5e-4, 2e-4, 1e-4, 5e-5, 2e-5, 1e-5]
    assert next(round_lengths(9.99e-7)) == 5e-7 and next(round_lengths(3.0)) == 2.0


def saved(path: Path, form: str, time_us: np.ndarray, neuron: np.ndarray) -> Path:
    """Events of 8 neurons, one sequence, from time 0 on."""
    time = time_us / 1e6
    if form == "tonic":
        events = np.zeros(len(neuron), TONIC)
        events["t"], events["x"] = time_us + 500, neuron
        np.save(path.with_suffix(".npy"), events)
        return path.with_suffix(".npy")
    if form == "npz":
        more: dict[str, Any] = {"in.time": time, "in.neuron": neuron}
        np.savez(path.with_suffix(".npz"), **more)
        return path.with_suffix(".npz")
    data = nir.EventData(neuron[None], time[None], 8, float(time.max()))
    nir.write_data(path, nir.NIRGraphData({"in": nir.NIRNodeData({"spikes": data})}))
    return path


@pytest.mark.parametrize("form", ["tonic", "npz", "nir"])
def test_the_lengths_that_are_told_are_those_that_reading_confirms(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    time_us = np.sort(rng.choice(60_000, 500, replace=False))  # no two events have one time
    time_us[0] = 0
    file = saved(tmp_path / "a", form, time_us, rng.integers(0, 8, 500))
    shapes = {"in": (1, 1, 8)}
    found = lengths(read_spikes(file, shapes, 1e-3))
    assert found.together == 0 and found.apart_s is not None and "keep all events apart" in found.told
    assert read_spikes(file, shapes, found.apart_s).merged == ()
    for share, length in zip(SHARES, found.at_most_s, strict=True):
        assert length is not None and merged(read_spikes(file, shapes, length)) <= share * 500
        larger = itertools.takewhile(lambda n, least=length: n > least, round_lengths(1e-3))  # type: ignore[misc]
        assert all(merged(read_spikes(file, shapes, n)) > share * 500 for n in larger)
    assert all(found.apart_s <= length < 1e-3 for length in found.at_most_s if length is not None)
    assert json.loads(json.dumps(found.to_dict()))["at_most_s"] == {
        "0.001": found.at_most_s[0],
        "0.01": found.at_most_s[1],
    }


def test_no_tick_keeps_events_of_one_time_apart(tmp_path: Path) -> None:
    time_us, neuron = np.array([0, 0, 7000, 7003, 7003, 7003]), np.array([2, 2, 1, 1, 1, 0])
    found = lengths(read_spikes(saved(tmp_path / "a", "npz", time_us, neuron), {"in": 8}, 1e-3))
    assert found == TickLengths(2, 2e-6, (None, None))
    assert found.told == (
        "2 events have the time of another event of their neuron, so they merge in any tick; ticks of 2e-06 s keep the "
        "others apart"
    )
    file = saved(tmp_path / "b", "npz", time_us[[0, 1, 2, 3]], neuron[[0, 1, 2, 5]])
    found = lengths(read_spikes(file, {"in": 8}, 1e-3))
    assert found == TickLengths(1, None, (None, None)) and found.told.endswith("and no shorter tick keeps more apart")


def test_of_ticks_nobody_knows_what_is_between_them(tmp_path: Path) -> None:
    events: dict[str, Any] = {"in.tick": [3, 3], "in.neuron": [1, 1]}
    np.savez(tmp_path / "a.npz", **events)
    (of,) = read_spikes(tmp_path / "a.npz", {"in": 8}, 1e-3).merged
    assert of.lengths is None and "gives ticks, not times" in of.remedy and of.to_dict()["lengths"] is None


@given(st.lists(st.tuples(st.floats(-1e-6, 1e6), st.integers(0, 1)), min_size=2, max_size=12), st.floats(1e-3, 1e3))
@example([(0.0, 0), (-9.999999999999997e-07, 0)], 0.5)
def test_any_times_have_an_answer_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[float, int]], dt_s: float
) -> None:
    file = tmp_path_factory.getbasetemp() / "any.npz"
    more: dict[str, Any] = {"in.time": [t for t, _ in events], "in.neuron": [n for _, n in events]}
    np.savez(file, **more)
    try:
        read = read_spikes(file, {"in": 2}, dt_s, ticks=10)
    except BadInput as error:
        assert "times count from 0" in str(error)
        return
    for of in read.merged:
        assert of.lengths is not None and of.lengths.together <= of.merged
        assert of.lengths.apart_s is None or of.lengths.apart_s > 0


def network(neuron: Any, dt_s: float = small_nir.DT, bias: float = 0.0) -> SpikingGraph:
    nodes = {"input": 2, "w": nir.Affine(np.eye(2), np.full(2, bias)), "n": neuron, "output": 2}
    graph = small_nir.graph(nodes, chain(*nodes))
    graph.metadata.clear()
    return from_nir(graph, dt_s)


IF = nir.IF(r=np.ones(2), v_threshold=np.ones(2), v_reset=np.zeros(2))


@pytest.mark.parametrize(
    ("neuron", "bias", "told"),
    [
        (IF, 0.0, ["without a leak (IF) stays the same, because a spike brings its whole charge in any tick"]),
        (IF, 0.1, ["its bias acts once in every tick"]),
        (lif(2, tau=20.0), 0.0, ["a leaky neuron (LIF, LI) keeps its time constants"]),
        (li(2, tau=20.0), 0.0, ["a leaky neuron (LIF, LI) keeps its time constants"]),
        (nir.Threshold(np.ones(2)), 0.0, ["(Threshold) hears together only what lies in one tick"]),
    ],
)
def test_what_shorter_ticks_mean_is_told_of_the_neurons_that_are_there(
    neuron: Any, bias: float, told: list[str]
) -> None:
    first, *more = what_shorter_ticks_change(network(neuron, bias=bias))
    assert first.startswith("--dt reads the network with other ticks") and len(more) == len(told)
    assert all(part in line for part, line in zip(told, more, strict=True))
    if not bias:
        assert "bias" not in " ".join(more)


def test_a_file_that_names_its_dt_is_not_told_to_be_read_with_another() -> None:
    graph = network(IF)
    named = dataclasses.replace(graph, metadata={**graph.metadata, "dt": small_nir.DT})
    first, *_ = what_shorter_ticks_change(named)
    assert first.startswith("the file names its dt, so it has to be written with another one") and "--dt" not in first


def test_lengths_that_keep_all_apart_are_told_once() -> None:
    assert TickLengths(0, 1e-4, (1e-4, 1e-4)).told == "ticks of 0.0001 s keep all events apart"
    assert TickLengths(0, 1e-4, (1e-4, 1e-3)).told.endswith("apart; in ticks of 0.001 s at most 1 % merge")


def test_what_is_told_of_shorter_ticks_is_what_reading_with_them_does() -> None:
    """A tenth of the tick: the same leak per second, and a tenth of what a spike adds; an IF adds its whole charge."""
    (slow, *_), (fast, *_) = (network(lif(2, tau=20.0), dt_s).populations[1:] for dt_s in (1e-3, 1e-4))
    np.testing.assert_allclose(slow.tau * 1e-3, fast.tau * 1e-4)
    np.testing.assert_allclose(slow.gain, 10 * fast.gain)
    (slow, *_), (fast, *_) = (network(IF, dt_s).populations[1:] for dt_s in (1e-3, 1e-4))
    assert slow.gain.tolist() == fast.gain.tolist() == [1, 1]


def test_a_program_has_its_tick() -> None:
    assert list(what_shorter_ticks_change(None)) == [
        "a program has one tick; muspike map --dt makes the program of another one from the .nir file"
    ]
