"""What a network computes, against NeuroBench's definitions by hand; tests/bench/test_neurobench.py has NeuroBench."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import chip_programs
import float_populations
from muspike.hardware import weights
from muspike.hardware.cost.firing import FiringMeter
from muspike.hardware.cost.operations import operations
from muspike.hardware.graph import SpikingGraph, Synapses
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.simulator.events import Simulator

population = chip_programs.population


def metered(program: Program, ticks: int, spikes: dict[str, Any]) -> FiringMeter:
    """What the neurons did that fire so, in ideal time: `spikes` `[ticks, size]` of one sequence."""
    deepest = max(p.level for p in program.populations)
    on_chip = {}
    for name, fired in spikes.items():
        level = program.population(name).level
        on_chip[name] = np.pad(np.array(fired, np.uint8), ((level, deepest - level), (0, 0)))[:, None]
    meter = FiringMeter(program, ticks)
    meter.add(on_chip)
    return meter


def test_a_small_feed_forward_network_by_hand() -> None:
    """As NeuroBench counts two Linear layers over three time steps: see the sums in the comments."""
    x = population("x", 2, "input")
    h = population("h", 3, level=1)
    y = population("y", 1, "li", level=2)
    first = ChipSynapses("first", "x", "h", np.array([[2, 0], [2, 4], [0, 0]], np.int16), 0, 1)
    second = ChipSynapses("second", "h", "y", np.array([[2, 2, 0]], np.int16), 0, 1)
    program = chip_programs.program([x, h, y], [first, second])
    spikes = {"x": [[1, 1], [0, 1], [0, 0]], "h": [[0, 0, 0], [1, 0, 1], [0, 1, 0]]}
    found = operations(program, metered(program, 3, spikes))
    assert found.dense == 3 * (6 + 3)  # every connection in every step
    assert found.effective_acs == (1 * 2 + 2 * 1) + (1 * 1 + 1 * 1 + 1 * 0)  # x0 once, x1 twice; h0, h1, h2 once each
    assert found.effective_macs == 0  # spikes are binary: nothing is multiplied
    assert found.neuron_updates == 3 * (3 + 1)
    assert found.membrane_updates is None  # no membranes were recorded
    assert found.connection_sparsity == pytest.approx(4 / 9)
    assert [(of.dense, of.effective_acs, of.zero_weights) for of in found.connections] == [(18, 4, 3), (9, 2, 1)]
    relayed = Program("loihi1", 1e-3, (x, h, y), (first, second), np.zeros((1, 2), np.int32), {"relays": ["h"]})
    without = operations(relayed, metered(relayed, 3, spikes))
    assert (without.dense, without.neuron_updates) == (3 * 3, 3 * 1)


def test_a_spike_that_arrives_after_the_end_does_nothing() -> None:
    """A loop of two ticks, after three ticks of input: what is fired in the last two of them is not heard."""
    x, a = population("x", 1, "input"), population("a", 1, level=1)
    into = ChipSynapses("into", "x", "a", np.array([[2]], np.int16), 0, 1)
    loop = ChipSynapses("loop", "a", "a", np.array([[2]], np.int16), 0, 2)
    program = chip_programs.program([x, a], [into, loop])
    assert [program.ideal_delay(s) for s in program.synapses] == [0, 2]
    found = operations(program, metered(program, 3, {"x": [[1], [1], [1]], "a": [[1], [1], [1]]}))
    assert [of.effective_acs for of in found.connections] == [3, 1]
    assert [of.dense for of in found.connections] == [3, 3]  # the loop is a connection in the first ticks too


def test_membranes_of_relays_are_not_the_networks() -> None:
    populations = [population("x", 1, "input"), population("r", 2, level=1), population("a", 3, level=2)]
    made = chip_programs.program(populations, [])
    program = Program(made.chip, made.dt_s, populations, (), made.core_xy, {"relays": ["r"]})
    meter = FiringMeter(program, 4)
    spikes = {p.name: np.zeros((6, 1, p.size), np.uint8) for p in populations}
    membranes = {name: np.arange(6)[:, None, None] * np.ones((1, 1, size), int) for name, size in (("r", 2), ("a", 3))}
    meter.add(spikes, membranes)
    assert operations(program, meter).membrane_updates == 4 * 3


def test_relays_are_no_part_of_the_network() -> None:
    """A loop of 100 ticks takes a relay: its synapses are the chip's, not the network's."""
    rng = np.random.default_rng(2)
    n, ticks = 6, 250
    graph = SpikingGraph(
        [float_populations.population("x", "input", 4), float_populations.population("a", "lif", n)],
        [
            Synapses("in", "x", "a", rng.normal(0, 1, (n, 4)), 0),
            Synapses("loop", "a", "a", rng.normal(0, 1, (n, n)), 100),
        ],
        1e-3,
        ("a",),
    )
    program = compile_graph(graph, "loihi1").program
    assert program.metadata["relays"] == ["a.relay1"]
    deepest = max(p.level for p in program.populations)
    inputs = np.pad((rng.random((ticks, 1, 4)) < 0.2).astype(np.uint8), ((0, deepest), (0, 0), (0, 0)))
    spikes = Simulator(program).run(inputs).spikes
    meter = FiringMeter(program, ticks)
    meter.add(spikes)
    found = operations(program, meter)
    assert found.dense == ticks * (4 * n + n * n)
    fan_out = {s.source: weights.fan_out(s.weight) for s in program.synapses if s.target == "a"}
    assert set(fan_out) == {"x", "a.relay1"}
    level = program.population("a").level
    heard = spikes["a"][level : level + ticks - 100, 0].sum(0, dtype=int)  # what the loop brings within the run
    assert heard.sum() > 0
    assert found.effective_acs == inputs[:, 0].sum(0, dtype=int) @ fan_out["x"] + heard @ fan_out["a.relay1"]
