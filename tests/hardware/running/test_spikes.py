"""Spikes from files: every format says the same, what is written is read, and what is wrong is named."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware.readings import MOST_SPIKES
from muspike.hardware.running import spikes as module
from muspike.hardware.running.spikes import random_spikes, read_labels, read_spikes, write_spikes

DT = 1e-3
SHAPES: Mapping[str, int | tuple[int, ...]] = {"in": (2, 3, 4)}
TONIC = np.dtype([("x", "<i2"), ("y", "<i2"), ("t", "<i8"), ("p", "?")])


def example_spikes(ticks: int = 7, batch: int = 3, size: int = 24, seed: int = 0) -> npt.NDArray[np.uint8]:
    fired = (np.random.default_rng(seed).random((ticks, batch, size)) < 0.3).astype(np.uint8)
    fired[-1, -1, -1] = 1  # so that events know the ends of all three
    return fired


def events_of(fired: npt.NDArray[np.uint8], prefix: str = "in.") -> dict[str, Any]:
    return dict(zip((f"{prefix}tick", f"{prefix}sequence", f"{prefix}neuron"), np.nonzero(fired), strict=True))


def nir_data(path: Path, **nodes: Any) -> Path:
    held = {name: nir.NIRNodeData({"spikes": data}) for name, data in nodes.items()}
    nir.write_data(path, nir.NIRGraphData(held))
    return path


def savez(path: Path, **arrays: Any) -> None:
    np.savez(path, **arrays)


# --- every format ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, ">i4", np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7, 3, 24), (7, 3, 2, 3, 4)])
def test_dense_arrays(tmp_path: Path, dtype: Any, shape: tuple[int, ...]) -> None:
    fired = example_spikes()
    array = np.asfortranarray(fired.reshape(shape).astype(dtype))
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **{"in": array})  # type: ignore[arg-type]
        read = read_spikes(tmp_path / "a.npz", SHAPES, DT)
        assert read.spikes["in"].dtype == np.uint8 and (read.ticks, read.batch) == (7, 3)
        assert np.array_equal(read.spikes["in"], fired) and read.notes == ()


@pytest.mark.parametrize("shape", [(7, 24), (7, 2, 3, 4)])
def test_dense_arrays_of_one_sequence(tmp_path: Path, shape: tuple[int, ...]) -> None:
    fired = example_spikes(batch=1)
    np.save(tmp_path / "a.npy", fired.reshape(shape))
    np.savez(tmp_path / "a.npz", spikes=fired.reshape(shape))  # the only array, for the only input
    for name in ("a.npy", "a.npz"):
        assert np.array_equal(read_spikes(tmp_path / name, SHAPES, DT).spikes["in"], fired)


def test_events(tmp_path: Path) -> None:
    fired = example_spikes()
    np.savez(tmp_path / "ticks.npz", **events_of(fired))
    np.savez(tmp_path / "bare.npz", **events_of(fired, ""))
    told = events_of(fired)
    # In the middle of each tick, and at its beginning as float32 says it.
    np.savez(tmp_path / "middle.npz", **(told | {"in.time": (told.pop("in.tick") + 0.5) * DT}))
    told = events_of(fired)
    np.savez(tmp_path / "start.npz", **(told | {"in.time": (told.pop("in.tick") * DT).astype(np.float32)}))
    for name in ("ticks", "bare", "middle", "start"):
        read = read_spikes(tmp_path / f"{name}.npz", SHAPES, DT)
        assert np.array_equal(read.spikes["in"], fired) and read.notes == ()


def test_events_without_a_sequence_are_one_and_counts_make_room(tmp_path: Path) -> None:
    savez(tmp_path / "a.npz", **{"in.tick": [0, 2], "in.neuron": [5, 1]})
    read = read_spikes(tmp_path / "a.npz", SHAPES, DT).spikes["in"]
    assert read.shape == (3, 1, 24) and [tuple(map(int, at)) for at in np.argwhere(read)] == [(0, 0, 5), (2, 0, 1)]
    savez(tmp_path / "b.npz", ticks=9, sequences=2, **{"in.tick": [0, 2], "in.neuron": [5, 1]})
    assert read_spikes(tmp_path / "b.npz", SHAPES, DT).spikes["in"].shape == (9, 2, 24)


def test_two_events_in_one_place_are_one_spike_and_counted(tmp_path: Path) -> None:
    savez(tmp_path / "a.npz", **{"in.time": [0.001, 0.0012, 0.0019, 0.002], "in.neuron": [5, 5, 5, 5]})
    read = read_spikes(tmp_path / "a.npz", SHAPES, DT)
    assert read.spikes["in"].sum() == 2
    (merged,) = read.merged
    assert (merged.input, merged.what, merged.events, merged.merged, merged.most) == ("in", "events", 4, 2, 3)
    assert read.notes == ()


def test_events_of_one_place_are_counted(tmp_path: Path) -> None:
    """By input, for every input; without two events in one place there are no counts."""
    fired = example_spikes(size=5)
    times = {"a.time": [0.0, 0.0012, 0.0012, 0.0019, 0.002, 0.05], "a.sequence": [0, 2, 2, 2, 2, 2]}
    savez(tmp_path / "a.npz", **times, **{"a.neuron": [3, 3, 3, 3, 3, 0]}, **events_of(fired, "b."))
    read = read_spikes(tmp_path / "a.npz", {"a": 4, "b": 5}, DT, ticks=7)
    assert read.counts is not None and [of.dtype for of in read.counts.values()] == [np.uint16] * 2
    assert np.array_equal(read.counts["b"], fired)
    expected = np.zeros((7, 3, 4), int)
    expected[0, 0, 3], expected[1, 2, 3], expected[2, 2, 3] = 1, 3, 1
    assert np.array_equal(read.counts["a"], expected) and np.array_equal(read.spikes["a"], expected > 0)
    savez(tmp_path / "b.npz", **events_of(fired, "b."))
    read = read_spikes(tmp_path / "b.npz", {"b": 5}, DT)
    assert read.counts is None and read.merged == ()
    assert random_spikes({"b": 5}, 0.5, 7, 0).counts is None


def test_more_events_of_one_place_than_can_be_counted_are_refused(tmp_path: Path) -> None:
    n = MOST_SPIKES + 1
    savez(tmp_path / "a.npz", **{"in.tick": np.full(n, 2), "in.neuron": np.full(n, 5)})
    with pytest.raises(BadInput, match="in: 65,536 events of neuron 5 in tick 2; at most 65,535 are counted"):
        read_spikes(tmp_path / "a.npz", SHAPES, DT)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
def test_arrays_may_hold_counts_if_a_caller_asks(tmp_path: Path, dtype: Any) -> None:
    counts = np.random.default_rng(0).poisson(0.7, (7, 3, 24)).astype(dtype)
    assert counts.max() > 2
    savez(tmp_path / "a.npz", **{"in": counts})
    data = nir.TimeGriddedData(counts.swapaxes(0, 1), DT)
    events = np.argwhere(counts.swapaxes(0, 1)[:1])
    valued = nir.ValuedEventData(events[None, :, 2], (events[None, :, 1] + 0.5) * DT, 24, 7 * DT, counts[:, :1][
        tuple(events[:, [1, 0, 2]].T)
    ][None])  # fmt: skip
    for file, expected in (
        (tmp_path / "a.npz", counts),
        (nir_data(tmp_path / "b", **{"in": data}), counts),
        (nir_data(tmp_path / "c", **{"in": valued}), counts[:, :1]),
    ):
        read = read_spikes(file, SHAPES, DT, counts=True)
        assert read.counts is not None and np.array_equal(read.counts["in"], expected)
        assert np.array_equal(read.spikes["in"], expected > 0)
        (merged,) = read.merged
        assert merged.what == ("events" if file.name == "c" else "counts")
        assert (merged.events, merged.merged) == (expected.sum(), expected.sum() - np.count_nonzero(expected))
        with pytest.raises(BadInput, match="spikes are 0 or 1"):
            read_spikes(file, SHAPES, DT)
    # Ticks of the file that are three of the network's, and a longer run.
    savez(tmp_path / "d.npz", **{"in": counts}, dt_s=3 * DT)
    read = read_spikes(tmp_path / "d.npz", SHAPES, DT, 30, counts=True)
    assert read.counts is not None and np.array_equal(read.counts["in"][:21:3], counts)
    assert read.counts["in"].sum() == counts.sum() and read.counts["in"].shape == (30, 3, 24)
    savez(tmp_path / "e.npz", **{"in": example_spikes() == 1})
    assert read_spikes(tmp_path / "e.npz", SHAPES, DT, counts=True).counts is None


@pytest.mark.parametrize("value", [-1, 0.5, 65536, np.nan, np.inf])
def test_counts_are_whole_numbers(tmp_path: Path, value: float) -> None:
    wrong = np.zeros((7, 24))
    wrong[2, 5] = value
    savez(tmp_path / "a.npz", **{"in": wrong})
    with pytest.raises(BadInput, match=r"array 'in'\[2, 5\] is .*; counts are whole numbers of 0..65,535"):
        read_spikes(tmp_path / "a.npz", SHAPES, DT, counts=True)


def test_several_inputs_go_by_their_names(tmp_path: Path) -> None:
    a, b = example_spikes(size=2), example_spikes(size=5, seed=1)
    np.savez(tmp_path / "a.npz", a=a, other=np.zeros(3), **events_of(b, "net.b."))
    read = read_spikes(tmp_path / "a.npz", {"a": 2, "net.b": 5}, DT).spikes
    assert np.array_equal(read["a"], a) and np.array_equal(read["net.b"], b)
    with pytest.raises(BadInput, match=r"no spikes for the input 'c'; there are 'a', 'net.b', 'other'"):
        read_spikes(tmp_path / "a.npz", {"a": 2, "c": 5}, DT)


def test_populations_may_have_the_names_of_the_files_own(tmp_path: Path) -> None:
    """`ticks`, `dt_s` and `file` are names like others, and `x.time` is no time of an input `x`."""
    spikes = {name: example_spikes(seed=i) for i, name in enumerate(("ticks", "dt_s", "file", "x", "x.time"))}
    shapes = dict.fromkeys(spikes, 24)
    for events in (False, True):
        write_spikes(tmp_path / "a.npz", spikes, events, None if not events else DT)
        read = read_spikes(tmp_path / "a.npz", shapes, DT).spikes
        assert all(np.array_equal(read[name], spikes[name]) for name in spikes)


@pytest.mark.parametrize("events", [False, True])
def test_what_is_written_is_read(tmp_path: Path, events: bool) -> None:
    spikes = {"in": example_spikes(), "silent": np.zeros((7, 3, 2), np.uint8)}
    write_spikes(tmp_path / "a.npz", spikes, events, DT, {"in.membrane": np.zeros((7, 3, 24), np.int32)})
    read = read_spikes(tmp_path / "a.npz", {"in": 24, "silent": 2}, DT).spikes
    assert all(np.array_equal(read[name], spikes[name]) for name in spikes)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert ("in.tick" in file.files) is events and ("in" in file.files) is not events
        assert file["dt_s"] == DT and file["in.membrane"].shape == (7, 3, 24)
    first = (tmp_path / "a.npz").read_bytes()
    write_spikes(tmp_path / "a.npz", spikes, events, DT, {"in.membrane": np.zeros((7, 3, 24), np.int32)})
    assert (tmp_path / "a.npz").read_bytes() == first


def test_nir_data(tmp_path: Path) -> None:
    fired = example_spikes()
    gridded = nir.TimeGriddedData(fired.swapaxes(0, 1).astype(bool), DT)
    events = gridded.to_event(n_events=7 * 24, time_shift=0.3 * DT)
    values = nir.ValuedEventData(events.idx, events.time, events.n_neurons, events.t_max, np.ones(events.idx.shape))
    for data in (gridded, events, values):
        file = nir_data(tmp_path / "a.nird", **{"in": data, "neurons": gridded})
        assert np.array_equal(read_spikes(file, SHAPES, DT).spikes["in"], fired)
    nested = nir.NIRGraphData({"in": nir.NIRNodeData({"anything": gridded})})
    nir.write_data(tmp_path / "b.nird", nested)
    assert np.array_equal(
        read_spikes(tmp_path / "b.nird", {"by another name": 24}, DT).spikes["by another name"], fired
    )


def test_tonic_events_have_the_places_of_its_frames(tmp_path: Path) -> None:
    """Frames of tonic's ToFrame are [time, p, y, x]; its windows start at the first event."""
    rng = np.random.default_rng(0)
    n = 200
    events = np.zeros(n, TONIC)
    events["x"], events["y"], events["p"] = rng.integers(0, 4, n), rng.integers(0, 3, n), rng.integers(0, 2, n)
    events["t"] = np.sort(rng.integers(50_000, 60_000, n))
    frames = np.zeros((10, 2, 3, 4), int)
    for e in events:
        frames[(e["t"] - events["t"][0]) // 1000, int(e["p"]), e["y"], e["x"]] += 1
    np.save(tmp_path / "a.npy", events)
    read = read_spikes(tmp_path / "a.npy", SHAPES, DT, ticks=10)
    assert np.array_equal(read.spikes["in"][:, 0].reshape(10, 2, 3, 4), frames > 0)
    merged = int((frames - (frames > 0)).sum())
    assert merged > 0 and [(of.merged, of.events) for of in read.merged] == [(merged, n)]
    assert any("counted from the first event" in note for note in read.notes)


def test_tonic_events_without_rows_or_of_one_channel(tmp_path: Path) -> None:
    sound = np.zeros(3, [("t", "<i8"), ("x", "<i8"), ("p", "<i8")])
    sound["t"], sound["x"], sound["p"] = [0, 1500, 2000], [5, 6, 0], 1  # as tonic's SHD: one channel, called 1
    np.save(tmp_path / "a.npy", sound)
    for shape in ((7,), (1, 7)):
        read = read_spikes(tmp_path / "a.npy", {"in": shape}, DT)
        assert [tuple(map(int, at)) for at in np.argwhere(read.spikes["in"])] == [(0, 0, 5), (1, 0, 6), (2, 0, 0)]
        assert read.notes == ()
    sound["p"] = [0, 1, 0]
    np.save(tmp_path / "b.npy", sound)
    assert "events of every polarity are spikes alike" in read_spikes(tmp_path / "b.npy", {"in": 7}, DT).notes[0]
    assert read_spikes(tmp_path / "b.npy", {"in": (2, 7)}, DT).spikes["in"].nonzero()[2].tolist() == [5, 13, 0]


# --- ticks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["dense", "events", "nir"])
def test_longer_is_cut_and_shorter_goes_on_in_silence(tmp_path: Path, form: str) -> None:
    fired = example_spikes()
    if form == "nir":
        file = nir_data(tmp_path / "a", **{"in": nir.TimeGriddedData(fired.swapaxes(0, 1).astype(bool), DT)})
    else:
        file = tmp_path / "a.npz"
        write_spikes(file, {"in": fired}, form == "events")
    cut = read_spikes(file, SHAPES, DT, ticks=4)
    assert np.array_equal(cut.spikes["in"], fired[:4])
    assert cut.notes == (f"in: {fired[4:].sum()} spikes from tick 4 on are left out",)
    more = read_spikes(file, SHAPES, DT, ticks=9)
    assert np.array_equal(more.spikes["in"][:7], fired) and not more.spikes["in"][7:].any() and more.ticks == 9
    assert more.notes == ("2 ticks of silence follow the 7 of the file",)


@pytest.mark.parametrize("events", [False, True])
def test_spikes_on_another_grid_are_moved_only_where_that_is_exact(tmp_path: Path, events: bool) -> None:
    fired = example_spikes()
    file = tmp_path / "a.npz"
    write_spikes(file, {"in": fired}, events, dt_s=3 * DT)  # coarser: each tick lies on one of the network's
    read = read_spikes(file, SHAPES, DT)
    assert np.array_equal(read.spikes["in"][::3], fired) and read.spikes["in"].sum() == fired.sum() and read.ticks == 21
    cut = read_spikes(file, SHAPES, DT, ticks=5)
    assert np.array_equal(cut.spikes["in"][::3], fired[:2]) and cut.spikes["in"].sum() == fired[:2].sum()
    fine = np.zeros((21, 3, 24), np.uint8)
    fine[::3] = fired
    write_spikes(file, {"in": fine}, events, dt_s=DT / 3)
    assert np.array_equal(read_spikes(file, SHAPES, DT).spikes["in"], fired)
    fine[4, 0, 0] = 1
    write_spikes(file, {"in": fine}, events, dt_s=DT / 3)
    with pytest.raises(BadInput, match="a spike at tick 4, between two of the network's; it is at multiples of 3"):
        read_spikes(file, SHAPES, DT)
    write_spikes(file, {"in": fired}, events, dt_s=1.5 * DT)
    with pytest.raises(BadInput, match=r"has ticks of 0\.0015 s, the network of 0\.001 s; one must be a multiple"):
        read_spikes(file, SHAPES, DT)


def test_a_time_at_the_end_of_a_recording_has_its_tick(tmp_path: Path) -> None:
    data = nir.EventData(np.array([[3, -1]]), np.array([[0.004, np.inf]]), 24, 0.004)
    assert read_spikes(nir_data(tmp_path / "a", **{"in": data}), SHAPES, DT).spikes["in"].nonzero()[0].tolist() == [4]
    data = nir.EventData(np.array([[3]]), np.array([[0.001]]), 24, np.float32(0.01))
    assert read_spikes(nir_data(tmp_path / "b", **{"in": data}), SHAPES, DT).ticks == 10


def test_random_spikes_have_their_rate_and_seed() -> None:
    shapes: dict[str, int | Sequence[int]] = {"a": 50, "b": (2, 5, 10)}
    one = random_spikes(shapes, 0.1, 200, seed=3)
    assert one.spikes["a"].shape == (200, 1, 50) and one.spikes["b"].shape == (200, 1, 100)
    assert all(abs(fired.mean() - 0.1) < 0.01 and set(np.unique(fired)) == {0, 1} for fired in one.spikes.values())
    again, other = random_spikes(shapes, 0.1, 200, seed=3), random_spikes(shapes, 0.1, 200, seed=4)
    assert all(np.array_equal(one.spikes[n], again.spikes[n]) for n in shapes)
    assert not np.array_equal(one.spikes["a"], other.spikes["a"])


# --- what is wrong ----------------------------------------------------------------------------------------------------


def bad(**changes: Any) -> dict[str, Any]:
    """An array of ones with one wrong value."""
    fired = np.ones((4, 1, 24), changes.pop("dtype", np.float64))
    fired[2, 0, 5] = changes.pop("value")
    return {"in": fired}


EVENTS = {"in.tick": [0, 1], "in.neuron": [3, 4]}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (bad(value=2, dtype=np.int64), r"array 'in'\[2, 0, 5\] is 2; spikes are 0 or 1 \(counts need graded inputs"),
        (bad(value=-1, dtype=np.int8), r"array 'in'\[2, 0, 5\] is -1; spikes are 0 or 1"),
        (bad(value=0.5), r"array 'in'\[2, 0, 5\] is 0\.5; spikes are 0 or 1"),
        (bad(value=np.nan), r"array 'in'\[2, 0, 5\] is nan; spikes are 0 or 1"),
        ({"in": np.ones((4, 24), complex)}, "array 'in' is of complex128; spikes are 0 or 1"),
        ({"in": np.full((4, 24), "1")}, "array 'in' is of <U1; spikes are 0 or 1"),
        ({"in": np.ones(24)}, r"shape \[24\]; expected \[ticks, batch, 24\], or \[ticks, batch, 2, 3, 4\]"),
        ({"in": np.ones((4, 25))}, r"array 'in' has shape \[4, 25\]; expected"),
        ({"in": np.ones((4, 4, 3, 2))}, r"array 'in' has shape \[4, 4, 3, 2\]; expected"),
        ({"in": np.ones((0, 24))}, "it is empty"),
        ({"in": np.ones((3, 0, 24))}, "it is empty"),
        ({"a": np.ones((4, 24)), "b": np.ones((4, 24))}, "no spikes for the input 'in'; there are 'a', 'b'"),
        ({"ticks": 4}, "no spikes for the input 'in'; there are none"),
        (EVENTS | {"in.neuron": [3, 24]}, r"array 'in.neuron'\[1\] is 24, not in 0\.\.23 \(the number of a neuron\)"),
        (EVENTS | {"in.neuron": [-1, 2]}, r"array 'in.neuron'\[0\] is -1, not in 0\.\.23"),
        (EVENTS | {"in.neuron": [3.0, 2.0]}, "array 'in.neuron' is of float64; it holds integers"),
        (EVENTS | {"in.neuron": [3]}, r"array 'in.tick' has shape \[2\], 'in.neuron' \[1\]; both are \[events\]"),
        (EVENTS | {"in.tick": [[0, 1]], "in.neuron": [[1, 2]]}, r"array 'in.tick' has shape \[1, 2\]"),
        (EVENTS | {"in.tick": [0, -2]}, r"array 'in.tick'\[1\] is -2, not in 0"),
        (EVENTS | {"in.tick": np.array([0, 2**63], np.uint64)}, r"'in.tick'\[1\] is 9223372036854775808, not in 0"),
        (EVENTS | {"ticks": 1}, r"array 'in.tick'\[1\] is 1, not in 0\.\.0 \(the number of a tick\)"),
        (EVENTS | {"ticks": 2.5}, r"array 'ticks' is 2\.5; it is a whole number"),
        (EVENTS | {"ticks": 0}, "array 'ticks' is 0; it is a whole number of 1"),
        (EVENTS | {"sequences": 1, "in.sequence": [0, 1]}, r"array 'in.sequence'\[1\] is 1, not in 0\.\.0"),
        (EVENTS | {"in.time": [0.0, 0.1]}, "wanted are in.neuron and one of in.tick and in.time"),
        ({"in.tick": [0, 1]}, "events of 'in': there are in.tick; wanted are in.neuron and one of"),
        ({"in.time": [0.0, -0.1], "in.neuron": [1, 2]}, r"array 'in.time'\[1\] is -0\.1; times count from 0"),
        ({"in.time": [0.0, np.inf], "in.neuron": [1, 2]}, r"array 'in.time'\[1\] is inf; times count from 0"),
        ({"in.time": [0.0, np.nan], "in.neuron": [1, 2]}, r"array 'in.time'\[1\] is nan; times count from 0"),
        ({"in.time": [0.0, 1e30], "in.neuron": [1, 2]}, r"array 'in.time'\[1\] is 1e\+30; times count from 0"),
        ({"in.time": ["a", "b"], "in.neuron": [1, 2]}, "array 'in.time' is of <U1; times are numbers"),
        ({"in.tick": np.zeros(0, int), "in.neuron": np.zeros(0, int)}, "0 ticks of 1 sequences; at least one of each"),
        ({"in.tick": [2**31], "in.neuron": [1]}, "at most 2,147,483,648 spikes can be held"),
        ({"in.tick": [10**8], "in.neuron": [1]}, r"100,000,001 ticks x 1 sequences x 24 neurons; at most"),
        (EVENTS | {"in.sequence": [0, 10**9]}, r"2 ticks x 1,000,000,001 sequences x 24 neurons; at most"),
        ({"in": np.ones((4, 24)), "dt_s": -1.0}, r"dt is -1\.0; it is a finite number of seconds above 0"),
        ({"in": np.ones((4, 24)), "dt_s": "x"}, "array 'dt_s' is of <U1; it is a number of seconds"),
        ({"in": np.ones((4, 24)), "dt_s": 1e300}, "one must be a multiple of the other"),
    ],
)  # fmt: skip
def test_wrong_arrays_are_named(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(BadInput, match=message) as refused:
        read_spikes(tmp_path / "a.npz", SHAPES, DT)
    assert str(refused.value).startswith(f"{tmp_path / 'a.npz'}: ") and "\n" not in str(refused.value)


def test_inputs_that_do_not_last_equally_long_are_refused(tmp_path: Path) -> None:
    shapes = {"a": 2, "b": 2}
    np.savez(tmp_path / "a.npz", a=np.ones((4, 1, 2)), b=np.ones((5, 1, 2)))
    with pytest.raises(BadInput, match="'a': 4 ticks of 1 sequences, another input has 5 of 1"):
        read_spikes(tmp_path / "a.npz", shapes, DT)
    savez(tmp_path / "a.npz", a=np.ones((4, 1, 2)), **{"b.tick": [9], "b.neuron": [0]})
    with pytest.raises(BadInput, match="'a': 4 ticks of 1 sequences, another input has 10 of 1"):
        read_spikes(tmp_path / "a.npz", shapes, DT)
    savez(tmp_path / "a.npz", a=np.ones((4, 1, 2)), **{"b.tick": [1], "b.neuron": [0]})
    assert read_spikes(tmp_path / "a.npz", shapes, DT).ticks == 4


TIMES, PLACES = np.array([[0.0, 0.001]]), np.array([[1, 2]])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (nir.EventData(PLACES, TIMES, 23, 0.01), "node 'in', spikes: n_neurons is 23; the input has 24"),
        (nir.EventData(PLACES + 22, TIMES, 24, 0.01), r"node 'in', spikes: idx\[0, 1\] is 24, not in 0\.\.23"),
        (nir.EventData(PLACES - 3, TIMES, 24, 0.01), r"idx\[0, 0\] is -2, not in 0\.\.23"),
        (nir.EventData(PLACES, TIMES, 24, 0.0005), r"time\[0, 1\] is 0\.001; it is at most t_max = 0\.0005"),
        (nir.EventData(PLACES, TIMES * np.nan, 24, 0.01), r"time\[0, 0\] is nan; it is at most"),
        (nir.EventData(PLACES, TIMES - 1, 24, 0.01), "is -1.0; times count from 0"),
        (nir.EventData(PLACES, TIMES, 24, np.inf), "t_max is inf"),
        (nir.EventData(PLACES, TIMES, 24, 1e12), "at most 2,147,483,648 spikes can be held"),
        (nir.EventData(PLACES[0], TIMES[0], 24, 0.01), r"idx is int64 \[2\]; it is integers \[samples, events\]"),
        (nir.EventData(PLACES * 1.0, TIMES, 24, 0.01), r"idx is float64 \[1, 2\]; it is integers"),
        (nir.ValuedEventData(PLACES, TIMES, 24, 0.01, np.array([[1, 0.5]])), r"value\[0, 1\] is 0\.5; spikes are"),
        (nir.TimeGriddedData(np.full((1, 4, 24), 0.3), DT), r"data\[0, 0, 0\] is 0\.3; spikes are 0 or 1"),
        (nir.TimeGriddedData(np.ones((1, 4, 23)), DT), r"data has shape \[4, 1, 23\]; expected \[time, sample, 24\]"),
        (nir.TimeGriddedData(np.ones((1, 4, 24)), 0.7 * DT), "one must be a multiple of the other"),
    ],
)  # fmt: skip
def test_wrong_nir_data_is_named(tmp_path: Path, data: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_spikes(nir_data(tmp_path / "a", **{"in": data}), SHAPES, DT)


def test_nir_data_without_the_input_or_its_spikes(tmp_path: Path) -> None:
    data = nir.TimeGriddedData(np.ones((1, 4, 24)), DT)
    file = nir_data(tmp_path / "a", a=data, b=data)
    with pytest.raises(BadInput, match="no node for the input 'in'; there are 'a', 'b'"):
        read_spikes(file, SHAPES, DT)
    nir.write_data(tmp_path / "b", nir.NIRGraphData({"in": nir.NIRNodeData({"u": data, "v": data})}))
    with pytest.raises(BadInput, match="has the observables u, v; expected 'spikes'"):
        read_spikes(tmp_path / "b", SHAPES, DT)


def sensor(**columns: Any) -> Callable[[], npt.NDArray[Any]]:
    def made() -> npt.NDArray[Any]:
        held = {"t": np.array([0, 1000]), "x": np.array([0, 1]), "y": np.array([0, 1]), "p": np.array([0, 1])} | columns
        held = {name: np.asarray(column) for name, column in held.items() if column is not None}
        array = np.zeros(2, [(name, column.dtype) for name, column in held.items()])
        for name, column in held.items():
            array[name] = column
        return array

    return made


@pytest.mark.parametrize(
    ("array", "shape", "message"),
    [
        (sensor(x=[0, 4]), (2, 3, 4), r"field 'x'\[1\] is 4, not in 0\.\.3 \(of an input of shape \[2, 3, 4\]\)"),
        (sensor(y=[3, 0]), (2, 3, 4), r"field 'y'\[0\] is 3, not in 0\.\.2"),
        (sensor(p=[-1, 1]), (2, 3, 4), r"field 'p'\[0\] is -1, not in 0\.\.1"),
        (sensor(p=None), (2, 3, 4), r"without the field 'p' for an input of shape \[2, 3, 4\]"),
        (sensor(), (24,), r"for an input of shape \[24\]; it must be \[p, y, x\]"),
        (sensor(t=None), (2, 3, 4), r"with the fields x, y, p; wanted are \[events\] of t, x, y, p"),
        (sensor(t=[0.0, np.nan]), (2, 3, 4), "field 't': of float64; times are finite numbers of microseconds"),
        (sensor(t=[-(2**63), 2**63 - 1]), (2, 3, 4), "field 't': from -9223372036854775808 to"),
        (sensor(t=[0, 10**15]), (2, 3, 4), "at most 2,147,483,648 spikes can be held"),
        (lambda: sensor()()[:0], (2, 3, 4), "there is no event"),
    ],
)  # fmt: skip
def test_wrong_sensor_events_are_named(
    tmp_path: Path, array: Callable[[], Any], shape: tuple[int, ...], message: str
) -> None:
    np.save(tmp_path / "a.npy", array())
    with pytest.raises(BadInput, match=message):
        read_spikes(tmp_path / "a.npy", {"in": shape}, DT)


def test_sensor_times_are_taken_from_the_first_event_however_large(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", sensor(t=np.array([2**64 - 1, 2**64 - 2002], np.uint64))())
    read = read_spikes(tmp_path / "a.npy", SHAPES, DT)
    assert read.spikes["in"].nonzero()[0].tolist() == [0, 2]


def test_files_that_are_none(tmp_path: Path) -> None:
    def refused(name: str, content: bytes | None, message: str, **shapes: int) -> None:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(BadInput, match=message):
            read_spikes(tmp_path / name, shapes or SHAPES, DT)

    refused("nosuch.npz", None, "nosuch.npz: cannot be read: No such file")
    refused(".", None, "is a folder, expected a file")
    refused("empty", b"", "neither an .npz or .npy file nor NIR data")
    refused("text.npz", b"0 1 0 1\n", "neither an .npz or .npy file nor NIR data")
    refused("cut.npz", b"PK\x03\x04", "cut.npz: damaged: ")
    refused("cut.npy", b"\x93NUMPY\x01\x00", "cut.npy: damaged: ")
    refused("cut.h5", b"\x89HDF\r\n\x1a\n", "cut.h5: damaged, or not a NIR data file: ")
    graph = tmp_path / "graph.nir"
    nir.write(graph, nir.NIRGraph({"a": nir.Input(np.array([2])), "b": nir.Output(np.array([2]))}, [("a", "b")]))
    refused("graph.nir", None, "graph.nir: damaged, or not a NIR data file: ")
    array = io.BytesIO()
    np.save(array, np.ones((4, 24)))
    refused("one.npy", array.getvalue(), "holds one array; the network has the inputs 'a', 'b'", a=24, b=24)
    with pytest.raises(BadInput, match="the network has no input"):
        read_spikes(graph, {}, DT)
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], object), allow_pickle=True)
    refused("pickled.npy", pickled.getvalue(), "an array holds Python objects \\(object\\)")


def test_huge_claims_take_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def header(shape: tuple[int, ...]) -> bytes:
        out = io.BytesIO()
        np.lib.format.write_array_header_1_0(out, {"descr": "|u1", "fortran_order": False, "shape": shape})
        return out.getvalue()

    (tmp_path / "a.npy").write_bytes(header((2**40, 24)))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("in.npy", header((2**40, 24)))
    monkeypatch.setattr(module, "LARGEST_BYTES", 1 << 24)
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:  # says how large it is
        file.writestr("in.npy", header((2**19, 48)) + bytes(24 << 20))
    lying = bytearray((tmp_path / "bomb.npz").read_bytes())  # says that it is small
    at = lying.rindex(b"PK\x01\x02")
    lying[at + 24 : at + 28] = struct.pack("<I", 1000)
    (tmp_path / "lying.npz").write_bytes(lying)
    tracemalloc.start()
    for name, message in (
        ("a.npy", "an array claims shape"),
        ("a.npz", "an array claims shape"),
        ("bomb.npz", "array 'in': 25,165,952 bytes; at most 16,777,216 are read"),
        ("lying.npz", "damaged: Bad CRC-32"),
    ):
        with pytest.raises(BadInput, match=message):
            read_spikes(tmp_path / name, SHAPES, DT)
    assert tracemalloc.get_traced_memory()[1] < 1 << 22
    tracemalloc.stop()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(["dense", "events", "npy", "tonic"]),
    at=st.integers(0, 2**16),
    flips=st.integers(1, 255),
    cut=st.integers(0, 400),
)
@example(form="events", at=0, flips=1, cut=0)
def test_damage_is_read_as_spikes_or_refused_in_one_line(
    tmp_path: Path, form: str, at: int, flips: int, cut: int
) -> None:
    file = tmp_path / "a"
    if form == "npy":
        with file.open("wb") as opened:
            np.save(opened, example_spikes(batch=1)[:, 0])
    elif form == "tonic":
        with file.open("wb") as opened:
            np.save(opened, sensor()())
    else:
        write_spikes(tmp_path / "a.npz", {"in": example_spikes()}, form == "events", DT)
        file = tmp_path / "a.npz"
    data = bytearray(file.read_bytes())
    data[at % len(data)] ^= flips
    file.write_bytes(bytes(data[: len(data) - cut]))
    try:
        read = read_spikes(file, SHAPES, DT, ticks=20).spikes["in"]
    except BadInput as error:
        assert str(error).startswith(f"{file}: ") and "\n" not in str(error)
    else:
        assert read.shape[::2] == (20, 24) and read.max() <= 1


# --- what nobody reads, and labels ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "note"),
    [
        ({"y": [1, 2]}, "not read, because no input has its name: array 'y'"),
        ({"other": np.ones((7, 3, 24)), "y": [1]}, "not read, because no input has their name: arrays 'other', 'y'"),
        ({"other.tick": [1], "other.neuron": [1]}, "arrays 'other.tick', 'other.neuron'"),
        ({"ticks": 7}, "array 'ticks'"),  # of events, which are not here
        ({"dt_s": [1e-3]}, "array 'dt_s'"),  # no number
        ({f"a{n}": 0 for n in range(20)}, "'a6', 'a7' and 12 more"),
    ],
)
def test_arrays_that_nobody_reads_are_named(tmp_path: Path, more: dict[str, Any], note: str) -> None:
    savez(tmp_path / "a.npz", **{"in": example_spikes()}, **more)
    read = read_spikes(tmp_path / "a.npz", SHAPES, DT)
    assert len(read.notes) == 1 and note in read.notes[0]
    assert np.array_equal(read.spikes["in"], example_spikes())


def test_what_is_read_is_not_named(tmp_path: Path) -> None:
    fired = example_spikes()
    savez(tmp_path / "dense.npz", **{"in": fired}, dt_s=DT)
    savez(tmp_path / "events.npz", **events_of(fired), ticks=7, sequences=3, dt_s=DT)
    for name in ("dense", "events"):
        assert read_spikes(tmp_path / f"{name}.npz", SHAPES, DT).notes == ()


def test_labels_are_no_spikes_and_no_rest(tmp_path: Path) -> None:
    """With labels beside them, the only spikes of a file still are those of the only input, whatever their name."""
    savez(tmp_path / "a.npz", x=example_spikes(), y=[0, 1, 2])
    with pytest.raises(BadInput, match="no spikes for the input 'in'; there are 'x', 'y'"):
        read_spikes(tmp_path / "a.npz", SHAPES, DT)
    read = read_spikes(tmp_path / "a.npz", SHAPES, DT, besides=["y"])
    assert np.array_equal(read.spikes["in"], example_spikes()) and read.notes == ()


def test_nodes_that_nobody_reads_are_named(tmp_path: Path) -> None:
    data = nir.TimeGriddedData(data=example_spikes().swapaxes(0, 1), dt=DT)
    path = nir_data(tmp_path / "a.nir", **{"in": data, "hidden": data})
    assert read_spikes(path, SHAPES, DT).notes == ("not read, because no input has its name: node 'hidden'",)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, ">i2"])
def test_labels_from_a_file_of_their_own_or_beside_the_spikes(tmp_path: Path, dtype: Any) -> None:
    given = np.array([2, 0, 1], dtype)
    np.save(tmp_path / "a.npy", given)
    savez(tmp_path / "b.npz", x=np.zeros(3), labels=given)
    savez(tmp_path / "c.npz", y=given, z=np.zeros(3))
    savez(tmp_path / "d.npz", target=given)
    savez(tmp_path / "e.npz", labels=np.zeros(3), mine=given)
    for name, array, read_array in (
        ("a.npy", None, None), ("b.npz", None, "labels"), ("c.npz", None, "y"), ("d.npz", None, "target"),
        ("e.npz", "mine", "mine"),
    ):  # fmt: skip
        labels, read = read_labels(tmp_path / name, array)
        assert labels.dtype == np.int64 and labels.tolist() == [2, 0, 1] and read == read_array


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("nosuch.npy", None, "cannot be read: No such file"),
        ("text.npy", None, r"labels are whole numbers \[sequences\] in a .npy, or an array of an .npz"),
        ("hot.npy", None, r"the array has shape \[3, 3\]; labels are \[sequences\], a class for each"),
        ("float.npy", None, "the array is of float64; it holds integers"),
        ("negative.npy", None, r"the array\[1\] is -1, not in 0\.\."),
        ("object.npy", None, "object.npy: "),
        ("cut.npy", None, "cut.npy: damaged"),
        ("hot.npy", "y", "is no .npz, so it has no array 'y'"),
        ("several.npz", None, "no array 'labels' or 'y' for the labels; there are 'a', 'b'"),
        ("several.npz", "y", "no array 'y' for the labels; there are 'a', 'b'"),
        ("several.npz", "b", r"array 'b' has shape \[\]"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, name: str, array: str | None, message: str) -> None:
    (tmp_path / "text.npy").write_text("0 1 2\n", encoding="utf-8")
    np.save(tmp_path / "hot.npy", np.eye(3, dtype=int))
    np.save(tmp_path / "float.npy", np.zeros(3))
    np.save(tmp_path / "negative.npy", np.array([0, -1, 2]))
    np.save(tmp_path / "object.npy", np.array([0, "a"], object), allow_pickle=True)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "negative.npy").read_bytes()[:-5])
    savez(tmp_path / "several.npz", a=np.zeros(3, int), b=3)
    with pytest.raises(BadInput, match=message) as error:
        read_labels(tmp_path / name, array)
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
