"""An account of a run, and its times, against those of whole arrays: `plain_counts` and `plain_times`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import plain_counts
from graded_spikes import graded_spikes, with_graded_inputs
from muspike.errors import BadInput
from muspike.hardware.chip import BARRIER, Chip, CostSet, load_chip
from muspike.hardware.constant import Constant
from muspike.hardware.cost import activity
from muspike.hardware.cost.account import Account
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.energy import Energy, Meter, price_all
from muspike.hardware.cost.timing import Timing
from muspike.hardware.program import Program
from muspike.hardware.simulator.dense import DenseSimulator
from muspike.hardware.simulator.events import Run, Simulator
from plain_times import PlainTiming
from programs_on_cores import program_of_all_forms, random_spikes
from random_programs import programs


def spread(p: Program, seed: int, cores: int) -> Program:
    """The same network with its neurons anywhere on some cores, and its lists of either layout."""
    rng = np.random.default_rng(seed)
    # Runs of neurons of many lengths, and single neurons.
    mapped = [
        replace(
            q,
            core=np.sort(rng.integers(0, cores, q.size, np.int32))
            if rng.random() < 0.5
            else rng.integers(0, cores, q.size, np.int32),
        )
        for q in p.populations
        if q.kind != "input"
    ]
    by_name = {q.name: q for q in mapped}
    populations = [by_name.get(q.name, q) for q in p.populations]
    synapses = [replace(s, sparse=bool(rng.integers(0, 2))) for s in p.synapses]
    xy = np.stack([np.arange(cores) % 3, np.arange(cores) // 12], axis=1).astype(np.int32)
    return Program(p.chip, p.dt_s, populations, synapses, xy, p.metadata)


def same_counts(ours: Counts, theirs: Counts) -> None:
    for field in fields(Counts):
        found, wanted = getattr(ours, field.name), getattr(theirs, field.name)
        assert np.array_equal(found, wanted), field.name
        assert getattr(found, "dtype", None) == getattr(wanted, "dtype", None), field.name


def same_energy(ours: Energy, theirs: Energy) -> None:
    """The figures to 12 digits, because times are added in another order, and everything else to the letter.

    Influences are sorted by their width, so two that are equally wide may stand either way round.
    """
    by_name = [vars(of) | {"uncertainty": sorted(of.uncertainty, key=lambda i: i.name)} for of in (ours, theirs)]
    for one, other in zip(*map(_leaves, by_name), strict=True):
        assert one == (pytest.approx(other, rel=1e-12, abs=1e-300) if isinstance(other, float) else other)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for of in value.items() for leaf in _leaves(of)]
    if isinstance(value, list | tuple):
        return [leaf for of in value for leaf in _leaves(of)]
    return _leaves(vars(value)) if hasattr(value, "__dict__") else [value]


def cut(run: Run, part: slice) -> tuple[dict[str, Any], dict[str, Any]]:
    return tuple({name: a[part] for name, a in of.items()} for of in (run.spikes, run.active))  # type: ignore[return-value]


@settings(max_examples=60, deadline=None)
@given(programs(), st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from([1, 2, 40]), st.booleans())
def test_counts_of_a_simulated_run_are_those_of_products(
    p: Program, seed: int, batch: int, ticks: int, graded: bool
) -> None:
    p = spread(with_graded_inputs(p, [3, 0, 16]) if graded else p, seed, 7)
    inputs = graded_spikes(seed, p, ticks, batch, most=300)
    run = Simulator(p, batch).run(inputs, record_membranes=True, record_activity=True)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, ticks + 1, batch) if seed % 2 else None
    states = {"currents": run.current, "membranes": run.membrane}
    theirs = plain_counts.count(p, run.spikes, lengths, **states)
    same_counts(activity.count(p, run.spikes, lengths, **states), theirs)
    same_counts(activity.count(p, run.spikes, lengths, active=run.active), theirs)
    dense = DenseSimulator(p, batch).run(inputs, record_activity=True)
    assert all(np.array_equal(dense.active[name], run.active[name]) for name in run.active)


@settings(max_examples=60, deadline=None)
@given(programs(), st.integers(0, 2**32 - 1), st.integers(1, 3), st.sampled_from(["loihi1", "loihi2"]), st.booleans())
def test_an_account_in_parts_is_that_of_the_whole_run(
    p: Program, seed: int, batch: int, name: str, known: bool
) -> None:
    """On two mappings at once, with lengths, and with all cost sets of the chip."""
    rng, chip = np.random.default_rng(seed), load_chip(name)
    p = replace(with_graded_inputs(p, [0, 2]) if seed % 3 == 0 else p, chip=name)
    mappings = [spread(p, seed, 2), spread(p, seed + 1, 11)]
    ticks = int(rng.integers(1, 90))
    inputs = graded_spikes(seed, p, ticks, batch, most=4)
    lengths = rng.integers(0, ticks + 1, batch) if seed % 2 else np.full(batch, ticks)
    lengths[0] = max(lengths[0], 1)
    run = Simulator(p, batch).run(inputs, True, True)
    meters = [[Meter(m.core_xy, chip, costs) for costs in chip.costs] for m in mappings]
    account = Account(mappings, meters, batch, lengths)
    for begin, end in pairwise([0, *sorted(rng.integers(0, ticks + 1, 2).tolist()), ticks]):
        spikes, active = cut(run, slice(begin, end))
        account.add(spikes, active if known else None)
    states = {"currents": run.current, "membranes": run.membrane} if known else {}
    for mapping, of, totals in zip(mappings, meters, account.totals, strict=True):
        whole = plain_counts.count(mapping, run.spikes, lengths, **states)
        same_counts(totals, Counts.summed([whole]))
        briefly = Meter(mapping.core_xy, chip, influences=False)
        briefly.add(whole)
        same_times(briefly.timing, whole, chip.cost_set(None), chip)
        for meter, costs in zip(of, chip.costs.values(), strict=True):
            same_times(meter.timing, whole, costs, chip)
            theirs = Meter(mapping.core_xy, chip, costs)
            theirs.add(whole)
            same_times(theirs.timing, whole, costs, chip)
            if totals.synops_graded.any() and "synop_graded" not in {*costs.energy, *costs.covers}:
                with pytest.raises(BadInput, match="no price for synop_graded"):
                    meter.energy()
            else:
                same_energy(meter.energy(reads=2), theirs.energy(reads=2))


def same_times(ours: Timing, counts: Counts, costs: CostSet, chip: Chip) -> None:
    """Every case, what the ticks waited for, and the slowest cores."""
    theirs = PlainTiming(counts.core_xy, costs, 1, ours.constants.get(BARRIER))
    theirs.add(counts)
    assert ours.cases == theirs.cases[: len(ours.cases)] and ours.activity_known == theirs.activity_known
    for case in ours.cases:
        assert ours.sums[case] == pytest.approx(theirs.sums[case], rel=1e-12), case
        assert ours._longest[case] == pytest.approx(theirs.longest[case], rel=1e-12), case
    assert ours._waited == {n: pytest.approx(theirs.waited[n], rel=1e-12) for n in ours._waited}
    np.testing.assert_allclose(ours._slowest, theirs.slowest, rtol=1e-12)
    assert ours._graded == theirs.graded


def with_bands(costs: CostSet, of: Sequence[float]) -> CostSet:
    """The same events at prices for which no core, or every core, is far ahead: also 0, and bands down to 0."""
    latency = {
        name: Constant(value, value * (i % 3) / 2, value * (1 + i % 2), "ns", "assumed", "made up")
        for i, (name, value) in enumerate(zip(costs.latency, of, strict=False))
    }
    return replace(costs, latency=latency)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["loihi1", "loihi2"]))
def test_times_at_any_price_are_those_of_whole_arrays(seed: int, name: str) -> None:
    rng, chip = np.random.default_rng(seed), load_chip(name)
    program = replace(program_of_all_forms(rng), chip=name)
    spikes = random_spikes(program, 30, 2, seed)
    costs = with_bands(chip.cost_set(None), rng.choice([0, 1, 2, 4, 1000], 20).tolist())
    meter = Meter(program.core_xy, chip, costs)
    account = Account([program], [[meter]], 2)
    account.add(spikes)
    same_times(meter.timing, plain_counts.count(program, spikes), costs, chip)


def test_prices_of_given_counts_are_those_of_an_account() -> None:
    chip = load_chip("loihi1")
    program = program_of_all_forms(np.random.default_rng(4))
    spikes = random_spikes(program, 30, 2)
    meters = [
        Meter(program.core_xy, chip, costs) for costs in sorted(chip.costs, key=lambda c: c != chip.default_costs)
    ]
    account = Account([program], [meters], 2)
    account.add(spikes)
    for meter, theirs in zip(meters, price_all(activity.count(program, spikes), chip), strict=True):
        same_energy(meter.energy(), theirs)
    assert account.totals[0].synops.sum() > 0


def test_spikes_of_any_arrays_are_found() -> None:
    """Of other types, in another order of memory, and beside other numbers."""
    program = program_of_all_forms(np.random.default_rng(7))
    spikes = random_spikes(program, 9, 3)
    theirs = plain_counts.count(program, spikes)
    shapes: list[Any] = [
        lambda a: a.astype(bool),
        lambda a: a.astype(np.float64),
        np.asfortranarray,
        lambda a: np.pad(a, ((0, 0), (0, 0), (3, 5)), constant_values=1)[:, :, 3:-5],
        lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
        lambda a: a[::-1].copy()[::-1],
    ]
    for shape in shapes:
        same_counts(activity.count(program, {name: shape(a) for name, a in spikes.items()}), theirs)


def test_programs_of_different_networks_are_not_counted_together() -> None:
    one, other = (program_of_all_forms(np.random.default_rng(seed)) for seed in (1, 2))
    with pytest.raises(BadInput, match="not of one network"):
        Account([one, other], [[], []])
    later = replace(one, synapses=[replace(s, delay=s.delay + 1) for s in one.synapses])
    with pytest.raises(BadInput, match="not of one network"):
        Account([one, later], [[], []])


def test_activity_of_another_run_is_refused() -> None:
    program = program_of_all_forms(np.random.default_rng(3))
    spikes = random_spikes(program, 5, 1)
    with pytest.raises(BadInput, match="a: no activity recorded; run the simulator with record_activity=True"):
        activity.count(program, spikes, active={})
    words = {name: np.zeros((5, 2, 1), np.uint64) for name in spikes}
    with pytest.raises(BadInput, match=r"a: its recorded activity is uint64 \[5, 2, 1\]; need that of the run"):
        activity.count(program, spikes, active=words)
