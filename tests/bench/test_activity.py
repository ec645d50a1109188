"""Rates and events per note, against spikes that were laid by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chip_programs
from muspike.bench.activity import summarise
from muspike.errors import BadInput
from muspike.hardware.cost import activity
from muspike.hardware.cost.firing import FiringMeter, Presented
from muspike.hardware.program import ChipSynapses, Program


@pytest.fixture
def program() -> Program:
    """words -> a -> b -> out, with zero weights in dense lists and a second delay from a to b."""
    rng = np.random.default_rng(5)
    sizes = {"words": 6, "a": 5, "b": 4, "out": 3}
    kinds = {"words": "input", "out": "li"}
    populations = [
        chip_programs.population(name, size, kinds.get(name, "lif"), level=level)
        for level, (name, size) in enumerate(sizes.items())
    ]

    def synapses(source: str, target: str, delay: int) -> ChipSynapses:
        shape = sizes[target], sizes[source]
        weight = 2 * rng.integers(-100, 100, shape) * (rng.random(shape) < 0.3)
        return ChipSynapses(f"{source}>{target}@{delay}", source, target, weight, 0, delay)

    ways = [("words", "a", 1), ("a", "b", 1), ("a", "b", 5), ("b", "out", 1)]
    return chip_programs.program(populations, [synapses(*way) for way in ways])


@pytest.fixture
def spikes(program: Program) -> dict[str, Any]:
    """10 ticks of 2 sequences: a, at level 1, fires in exactly the ticks that see a word of the first sequence.

    Three more ticks follow, until the deepest population has received all of it.
    """
    fired = {p.name: np.zeros((13, 2, p.size), np.uint8) for p in program.populations if p.kind != "li"}
    fired["a"][[1, 2, 6, 7], 0] = 1
    fired["words"][0, 1, :3] = 1
    fired["words"][9, 1, 0] = 1
    return fired


def counted(program: Program, spikes: dict[str, Any]) -> activity.Counts:
    """What happened on the cores in the ticks of the input."""
    return activity.count(program, {name: fired[:10] for name, fired in spikes.items()})


def metered(program: Program, spikes: dict[str, Any]) -> FiringMeter:
    meter = FiringMeter(program, 10, Presented(2, 5))
    meter.add(spikes)
    return meter


def test_rates_are_over_all_and_over_presented_ticks(program: Program, spikes: dict[str, Any]) -> None:
    counts = counted(program, spikes)
    summary = summarise(program, metered(program, spikes), counts, tokens=4, notes=2)
    a = summary["populations"]["a"]
    assert a["firing_rate"] == pytest.approx(4 / 20)
    assert a["presented_firing_rate"] == pytest.approx(4 / 8)
    assert (a["sparsity"], a["presented_sparsity"]) == pytest.approx((1 - 4 / 20, 1 - 4 / 8))
    assert summary["spikes_per_note"] == 4 * 5 / 2
    assert summary["input_spikes_per_note"] == 4 / 2
    assert "out" not in summary["populations"]
    stored = sum(s.weight.size for s in program.synapses if isinstance(s.weight, np.ndarray))
    assert summary["synops_per_note"]["dense"] == stored * 20 / 2
    assert counts.pending_synops.sum() > 0  # acts after the end: not priced, so not here either
    assert summary["synops_per_note"]["chip"] == counts.synops.sum() / 2
    assert summary["chip"] == "loihi1" and "relay_spikes_per_note" not in summary
    effective = 0
    for s in program.synapses:  # what arrives within the 10 ticks, in ideal time
        level, delay = program.population(s.source).level, program.ideal_delay(s)
        assert isinstance(s.weight, np.ndarray)
        effective += int((s.weight != 0).sum(0) @ spikes[s.source][: level + 10 - delay].sum((0, 1)))
    assert summary["synops_per_note"]["effective"] == effective / 2


def test_spikes_of_relays_are_told_apart(program: Program, spikes: dict[str, Any]) -> None:
    spikes["b"][3, 0, :2] = 1
    relayed = Program(
        program.chip, program.dt_s, program.populations, program.synapses, program.core_xy, {"relays": ["a"]}
    )
    summary = summarise(relayed, metered(relayed, spikes), counted(relayed, spikes), tokens=4, notes=2)
    assert (summary["spikes_per_note"], summary["relay_spikes_per_note"]) == (2 / 2, 4 * 5 / 2)


@pytest.mark.parametrize(("tokens_read", "notes"), [(3, 0), (0, 3)])
def test_without_a_note_there_is_no_figure_per_note(
    program: Program, spikes: dict[str, Any], tokens_read: int, notes: int
) -> None:
    with pytest.raises(BadInput, match="at least one of each"):
        summarise(program, metered(program, spikes), counted(program, spikes), tokens_read, notes)
