"""Counts derived from spikes against counting event by event."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_counts
from muspike.hardware.cost import activity
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse, dense, unrolled, with_values
from programs_on_cores import CORE_XY, population, program_of_all_forms, random_spikes


def synapses(
    rng: np.random.Generator, source: ChipPopulation, target: ChipPopulation, delay: int, sparse: bool
) -> ChipSynapses:
    weight = 2 * rng.integers(-100, 100, (target.size, source.size)) * (rng.random((target.size, source.size)) < 0.3)
    weight[:, 0] = 0  # a neuron whose weights are all zero: silent in a sparse list, not in a dense one
    name = f"{source.name}>{target.name}@{delay}"
    return ChipSynapses(name, source.name, target.name, weight.astype(np.int16), 0, delay, sparse)


@pytest.fixture
def program() -> Program:
    rng = np.random.default_rng(5)
    words = population("words", "input", [-1] * 6)
    a = population("a", "lif", [0, 0, 1, 1, 2], level=1)
    b = population("b", "lif", [1, 3, 3, 2], level=2)
    out = population("out", "li", [3, 3, 0], level=3)
    wiring = [
        (words, a, 1, False),
        (words, b, 4, True),
        (a, a, 1, False),
        (a, b, 1, True),
        (a, b, 5, False),  # a second delay onto the same cores: no second message
        (b, a, 2, True),
        (b, out, 1, False),
    ]
    made = [synapses(rng, *wire) for wire in wiring]
    return Program("loihi1", 1e-3, (words, a, b, out), tuple(made), CORE_XY)


def listed(s: ChipSynapses) -> Any:
    """Which weights are not zero, `[target, source]`."""
    return dense(s.weight) != 0


def stored(s: ChipSynapses) -> Any:
    """Which synapses lie in memory, `[target, source]`."""
    if isinstance(s.weight, Conv):  # every tap inside the input, zeros too
        return unrolled(with_values(s.weight, np.ones_like(s.weight.kernel))).columns.toarray() != 0
    weight = s.weight.columns.toarray() if isinstance(s.weight, Sparse) else s.weight
    return (weight != 0) | (s.layout == "dense")


def by_event(program: Program, spikes: dict[str, Any], lengths: list[int]) -> dict[str, Any]:
    """The same counts, one spike and one synapse at a time."""
    ticks, batch = next(iter(spikes.values())).shape[:2]
    shape = (ticks, batch, len(program.core_xy))
    counts: dict[str, Any] = defaultdict(lambda: np.zeros(shape, np.int64))
    pending = {name: np.zeros(shape[1:], np.int64) for name in ("synops", "spikes_in")}
    counts["host_messages"] = np.zeros(shape[:2], np.int64)

    def arrive(name: str, t: int, b: int, core: int) -> None:
        if t < lengths[b]:
            counts[name][t, b, core] += 1
        elif name in pending:
            pending[name][b, core] += 1

    for name, array in spikes.items():
        source = program.population(name)
        for t, b, n in np.argwhere(array):
            if t >= lengths[b]:
                continue
            earliest: dict[int, int] = {}
            for s in program.synapses:
                if s.source != name:
                    continue
                for m in np.flatnonzero(stored(s)[:, n]):
                    core = int(program.population(s.target).core[m])
                    arrive("synops", t + s.delay, b, core)
                    if s.layout != "dense":
                        arrive(f"synops_{s.layout}", t + s.delay, b, core)
                    earliest[core] = min(earliest.get(core, 99), s.delay)
            for core, delay in earliest.items():
                arrive("spikes_in", t + delay, b, core)
                if source.kind == "input":
                    counts["host_messages"][t, b] += 1
                else:
                    home = int(source.core[n])
                    counts["messages_out"][t, b, home] += 1
                    counts["hops_x"][t, b, home] += abs(CORE_XY[home, 0] - CORE_XY[core, 0])
                    counts["hops_y"][t, b, home] += abs(CORE_XY[home, 1] - CORE_XY[core, 1])
            if source.kind == "lif":
                counts["neuron_spikes"][t, b, source.core[n]] += 1
    for b, length in enumerate(lengths):
        for p in program.populations:
            for core in p.core[p.core >= 0]:
                counts["neuron_updates"][:length, b, core] += 1
    return counts | {f"pending_{name}": array for name, array in pending.items()}


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_form_of_weights_is_counted_as_if_unrolled(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = program_of_all_forms(rng)
    spikes = random_spikes(program, 4, 2, seed)
    lengths = rng.integers(0, 5, 2).tolist()
    expected = by_event(program, spikes, lengths)
    for counts in (activity.count(program, spikes, lengths), plain_counts.count(program, spikes, lengths)):
        for name, array in expected.items():
            assert np.array_equal(getattr(counts, name), array), name
        assert np.array_equal(counts.messages_between.sum(1), counts.messages_out.sum((0, 1)))


def test_profile_has_the_totals_of_each_core(program: Program) -> None:
    counts = activity.count(program, random_spikes(program, 11, 3))
    profile = counts.profile()
    assert list(profile) == ["syn_ops", "dendrite_updates", "spikes_in", "axon_out", "hops"]
    assert all(array.shape == (4,) and array.dtype == np.int64 for array in profile.values())
    assert profile["syn_ops"].sum() == counts.synops.sum() > 0
    assert profile["dendrite_updates"].tolist() == [11 * 3 * n for n in (3, 3, 2, 4)]
    assert profile["hops"].tolist() == (counts.hops_x + counts.hops_y).sum((0, 1)).tolist()
    assert (profile["spikes_in"][1], profile["axon_out"][2]) == (
        counts.spikes_in[..., 1].sum(),
        counts.messages_out[..., 2].sum(),
    )


@pytest.mark.parametrize("lengths", [None, [11, 4, 0]])
def test_counts_equal_counting_event_by_event(program: Program, lengths: list[int] | None) -> None:
    spikes = random_spikes(program, 11, 3)
    counts = activity.count(program, spikes, lengths)
    expected = by_event(program, spikes, lengths or [11, 11, 11])
    assert expected["pending_synops"].sum() > 0 and expected["synops_sparse"].sum() > 0
    for name, array in expected.items():
        assert np.array_equal(getattr(counts, name), array), name
    assert np.array_equal(counts.messages_between.sum(1), counts.messages_out.sum((0, 1)))
    distance = np.abs(CORE_XY[:, None] - CORE_XY).astype(int)
    for axis, hops in enumerate((counts.hops_x, counts.hops_y)):
        assert (counts.messages_between * distance[..., axis]).sum() == hops.sum()
    parts = [activity.count(program, {n: a[:, b : b + 1] for n, a in spikes.items()}) for b in range(3)]
    if lengths is None:
        assert np.array_equal(activity.Counts.joined(parts).messages_between, counts.messages_between)


def test_an_event_is_counted_once_wherever_the_run_is_cut(program: Program) -> None:
    spikes = random_spikes(program, 20, 1)
    whole = activity.count(program, spikes)
    short = activity.count(program, {name: array[:12] for name, array in spikes.items()})
    sent = {name: array * (np.arange(20) < 12)[:, None, None] for name, array in spikes.items()}
    assert short.synops.sum() + short.pending_synops.sum() == activity.count(program, sent).synops.sum()
    assert whole.synops.sum() > short.synops.sum()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_counts_of_parts_are_those_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = program_of_all_forms(rng)
    ticks, batch = 12, 2
    cuts = [0, *sorted(rng.integers(0, ticks + 1, 3).tolist()), ticks]  # parts shorter than delays, empty ones too
    lengths = rng.integers(0, ticks + 1, batch) if seed % 2 else None
    spikes = random_spikes(program, ticks, batch, seed)
    states = {
        kind: {name: rng.integers(-1, 1, a.shape) * (rng.random(a.shape) < 0.2) for name, a in spikes.items()}
        for kind in ("currents", "membranes")
    }
    whole = activity.count(program, spikes, lengths, **states)
    counter = activity.Counter(program, batch, lengths)
    parts = [
        counter.count(
            {name: a[begin:end] for name, a in spikes.items()},
            **{kind: {name: a[begin:end] for name, a in arrays.items()} for kind, arrays in states.items()},
        )
        for begin, end in pairwise(cuts)
    ]
    joined = activity.Counts.joined(parts, "ticks")
    for field in fields(activity.Counts):
        assert np.array_equal(getattr(joined, field.name), getattr(whole, field.name)), field.name
    summed = activity.Counts.summed(parts)
    assert summed.synops.shape == (1, 1, 4) and summed.ticks.tolist() == [whole.ticks.sum()]
    assert all(np.array_equal(a, whole.profile()[name]) for name, a in summed.profile().items())
    assert np.array_equal(summed.pending_synops, whole.pending_synops.sum(0)[None])


def test_counts_stay_exact_beyond_single_precision() -> None:
    size = 4200  # 4200 * 4200 synapses on one core: more than 2^24 in one tick
    source = population("source", "input", [-1] * size)
    target = population("target", "lif", [0] * size, level=1)
    weight = np.full((size, size), 2, np.int16)
    weight[0, 0] = 0
    dense = ChipSynapses("w", "source", "target", weight, 0, 1, True)
    program = Program("loihi2", 1e-3, (source, target), (dense,), np.zeros((1, 2), np.int32), {})
    spikes = {"source": np.ones((2, 1, size), np.uint8), "target": np.zeros((2, 1, size), np.uint8)}
    assert activity.count(program, spikes).synops[1, 0, 0] == size * size - 1


def test_active_updates_are_those_whose_state_is_not_zero(program: Program) -> None:
    spikes = {name: np.zeros_like(array) for name, array in random_spikes(program, 3, 1).items()}
    spikes["a"][1, 0, 4] = 1  # on core 2; its membrane is 0 after the spike
    state = {p.name: np.zeros((3, 1, p.size), np.int32) for p in program.populations if p.kind != "input"}
    membranes = state | {"out": state["out"].copy()}
    membranes["out"][2, 0, 0] = -7  # on core 3
    counts = activity.count(program, spikes, currents=state, membranes=membranes)
    assert np.argwhere(counts.active_updates).tolist() == [[1, 0, 2], [2, 0, 3]]
    membranes["out"][:, 0, 0] = [-7, 0, 0]  # decays to 0 in the second tick: that update is active too
    counts = activity.count(program, spikes, currents=state, membranes=membranes)
    assert np.argwhere(counts.active_updates).tolist() == [[0, 0, 3], [1, 0, 2], [1, 0, 3]]
    assert counts.activity_known
    unknown = activity.count(program, spikes)
    assert not unknown.activity_known
    assert np.array_equal(unknown.active_updates, unknown.neuron_updates)
