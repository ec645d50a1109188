"""Logic of spikes on the chip: gates of unit weights, loops through several of them, and the wires between."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import nir
import numpy as np
import pytest

import float_populations
import small_nir
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import Population, SpikingGraph, Synapses
from muspike.hardware.interpreter import Spikes, run
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.mapping.partition import partition
from muspike.hardware.mapping.quantise import quantise
from muspike.hardware.mapping.retime import retime
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.simulator.events import Simulator
from muspike.hardware.weights import Array, dense
from small_nir import DT, chain, lif

CHIP = load_chip("loihi1")
PERIOD = 7


def population(name: str, kind: str, size: int, tau: float = 1.0, v_threshold: float = 0.5) -> Population:
    """Without memory, if not said otherwise."""
    return float_populations.population(name, kind, size, tau, v_threshold=v_threshold)


def wire(source: str, target: str, weight: float | Array = 1.0, delay: int = 0, size: int = 1) -> Synapses:
    matrix = np.asarray(weight, np.float32)
    matrix = matrix if matrix.ndim else matrix * np.eye(size, dtype=np.float32)
    return Synapses(f"{source}_{target}_{delay}", source, target, matrix, delay)


def random_spikes(ticks: int, batch: int, size: int, rate: float, seed: int = 0) -> Spikes:
    return (np.random.default_rng(seed).random((ticks, batch, size)) < rate).astype(np.uint8)


def chip_spikes(compiled: Compiled, spikes: Spikes) -> dict[str, Array]:
    """Every population's spikes in ideal time."""
    levels = {p.name: p.level for p in compiled.program.populations}
    silence = np.zeros((max(levels.values()), *spikes.shape[1:]), np.uint8)
    found = Simulator(compiled.program, spikes.shape[1]).run(np.concatenate([spikes, silence])).spikes
    return {name: s[levels[name] : levels[name] + len(spikes)].astype(bool) for name, s in found.items()}


def memory(n: int, extra: Sequence[Population] = (), more: Sequence[Synapses] = ()) -> SpikingGraph:
    """set AND gate -> write; memory = write OR (memory one period ago AND NOT erase); read = ask AND memory."""
    names = ("set", "gate", "erase", "ask")
    pick = {name: np.eye(n, 4 * n, i * n) for i, name in enumerate(names)}
    populations = [
        population("in", "input", 4 * n),
        *(population(name, "lif", n) for name in names),
        population("write", "lif", n, v_threshold=1.5),
        population("hold", "lif", n),
        population("memory", "lif", n),
        population("read", "lif", n, v_threshold=1.5),
        *extra,
    ]
    synapses = [
        *(wire("in", name, pick[name]) for name in names),
        wire("set", "write", size=n),
        wire("gate", "write", size=n),
        wire("memory", "hold", delay=PERIOD, size=n),
        wire("erase", "hold", -1.0, size=n),
        wire("write", "memory", size=n),
        wire("hold", "memory", size=n),
        wire("ask", "read", size=n),
        wire("memory", "read", size=n),
        *more,
    ]
    return SpikingGraph(populations, synapses, DT)


def expected(spikes: Spikes, n: int) -> dict[str, Array]:
    """The same in booleans."""
    set_, gate, erase, ask = np.split(spikes.astype(bool), 4, axis=2)
    remembered = np.zeros_like(set_)
    for t in range(len(spikes)):
        past = remembered[t - PERIOD] if t >= PERIOD else np.zeros_like(set_[0])
        remembered[t] = (set_[t] & gate[t]) | (past & ~erase[t])
    return {"write": set_ & gate, "memory": remembered, "read": ask & remembered}


@pytest.mark.parametrize("beside", [False, True])
def test_a_memory_of_gates_is_what_its_logic_says(beside: bool) -> None:
    """Alone, and beside populations whose weights are rounded, which hear it and share its sources."""
    n, rng = 12, np.random.default_rng(1)
    extra, more = [], []
    if beside:
        extra = [population("rounded", "lif", 30, tau=2.0), population("out", "li", 5, tau=4.0)]
        more = [
            Synapses("r1", "in", "rounded", rng.normal(0, 0.5, (30, 4 * n)), 0),
            Synapses("r2", "read", "rounded", rng.normal(0, 0.5, (30, n)), 0),
            Synapses("r3", "rounded", "rounded", rng.normal(0, 0.3, (30, 30)), 1),
            Synapses("r4", "rounded", "out", rng.normal(0, 0.3, (5, 30)), 0),
        ]
    compiled = compile_graph(memory(n, extra, more), CHIP)
    exact = {p.name: p for p in compiled.quantisation.populations}
    rounded = {s.name: s for s in compiled.quantisation.synapses}
    for name in ("write", "hold", "memory", "read"):
        assert exact[name].threshold_error == exact[name].leak_error == 0
        assert not [risk for risk in compiled.risks if f"'{name}'" in risk]
    for s in compiled.program.synapses:
        if s.target in ("write", "hold", "memory", "read"):
            assert rounded[s.name].max_error == 0 and set(np.unique(dense(s.weight))) in ({0, 254}, {-254, 0})
    spikes = random_spikes(120, 3, 4 * n, 0.3)
    found = chip_spikes(compiled, spikes)
    for name, wanted in expected(spikes, n).items():
        assert np.array_equal(found[name], wanted) and 0.02 < wanted.mean() < 0.8, name
    if beside:
        assert 0.01 < found["rounded"].mean() < 0.9


def test_gates_do_not_feel_that_the_register_of_the_decay_is_short() -> None:
    """dv 4095, which the chip has, in the place of Lava's 4096: 1/4096 of a membrane is kept."""
    spikes = random_spikes(200, 2, 48, 0.4)
    graph = memory(12)
    adder = population("adder", "lif", 12, v_threshold=2.0)  # not a gate: three unit weights, at least three to spike
    sources = [wire(name, "adder", size=12) for name in ("set", "gate", "ask")]
    graph = dataclasses.replace(graph, populations=[*graph.populations, adder], synapses=[*graph.synapses, *sources])
    compiled = compile_graph(graph, CHIP)
    assert [risk for risk in compiled.risks if "dv 4096" in risk] == [r for r in compiled.risks if "'adder'" in r] != []
    program = compiled.program
    short = [dataclasses.replace(p, dv=np.minimum(p.dv, 4095)) for p in program.populations]
    kept = dataclasses.replace(compiled, program=dataclasses.replace(program, populations=short))
    plain, with_rest = chip_spikes(compiled, spikes), chip_spikes(kept, spikes)
    for name, s in plain.items():
        assert np.array_equal(s, with_rest[name]) == (name != "adder"), name


def test_a_loop_through_three_populations_keeps_its_length() -> None:
    graph = memory(2)
    retimed = retime(quantise(graph, CHIP)[0], CHIP)
    level = dict(retimed.levels)
    assert level == {
        "in": 0, "set": 1, "gate": 1, "erase": 1, "ask": 1, "write": 2, "hold": 2, "memory": 3, "read": 4,
    }  # fmt: skip
    ideal = {s.name: s.delay for s in graph.synapses}
    for s in retimed.graph.synapses:
        assert s.delay == ideal[s.name] + level[s.target] - level[s.source] >= 1
    late = {s.name: s.delay for s in retimed.graph.synapses}
    assert late["memory_hold_7"] + late["hold_memory_0"] == PERIOD and late["ask_read_0"] == 3


def test_wires_and_loops_of_a_nir_graph_are_taken_literally() -> None:
    """Scale nodes behind Delay nodes, in loops of one, two and three populations; nothing but the self-loop is cut."""
    n = 4

    def scale(value: float) -> nir.Scale:
        return nir.Scale(np.full(n, value, np.float32))

    nodes = {
        "input": n,
        "wire": scale(1.0),
        "a": lif(n, tau=1.0),
        "b": lif(n, tau=1.0),
        "c": lif(n, tau=1.0),
        "a_a": scale(0.25),
        "a_b": scale(1.0),
        "b_c": scale(0.75),
        "late": nir.Delay(np.full(n, 5 * DT)),
        "c_a": scale(-2.0),
        "later": nir.Delay(np.full(n, 2 * DT)),
        "b_a": nir.Linear(0.5 * np.eye(n, dtype=np.float32)),
        "output": n,
    }
    ways = ["input wire a a_b b b_c c late c_a a", "a a_a a", "b later b_a a", "c output"]
    edges = [edge for way in ways for edge in chain(*way.split())]
    graph = from_nir(small_nir.graph(nodes, edges))
    assert {s.name: s.delay for s in graph.synapses} == {
        "wire": 0, "a_b": 0, "b_c": 0, "c_a": 5, "a_a": 1, "b_a": 2,
    }  # fmt: skip
    weight = {s.name: s.weight for s in graph.synapses}
    assert np.array_equal(dense(weight["c_a"]), -2 * np.eye(n)) and weight["c_a"].dtype == np.float32
    spikes = random_spikes(100, 2, n, 0.2)
    ideal, _ = run(graph, spikes)
    found = chip_spikes(compile_graph(graph, CHIP), spikes)
    wanted = np.zeros((5 + len(spikes), *spikes.shape[1:]), bool)  # after five ticks of silence
    for t in range(5, len(wanted)):  # b and c repeat a
        wanted[t] = (spikes[t - 5].astype(bool) | (wanted[t - 1] & wanted[t - 2])) & ~wanted[t - 5]
    wanted = wanted[5:]
    for name in "abc":
        assert np.array_equal(ideal[name], wanted) and np.array_equal(found[name], wanted)
    assert (wanted & ~spikes.astype(bool)).any() and (~wanted & spikes.astype(bool)).any()


def test_synaptic_memory_of_wires_is_that_of_the_weights_that_are_not_zero() -> None:
    """1,024 neurons joined one to one, 32 rows of 32 from 32 sources, and 1,024 summed into 128."""
    rows = np.kron(np.eye(32), np.ones((32, 1)))
    values = np.kron(np.ones((32, 1)), np.eye(32))
    sums = np.kron(np.ones((1, 8)), np.eye(128))
    populations = [
        population("in", "input", 1024),
        population("row", "input", 32),
        population("value", "input", 32),
        population("each", "lif", 1024),
        population("pair", "lif", 1024, v_threshold=1.5),
        population("sum", "lif", 128),
    ]
    synapses = [
        wire("in", "each", size=1024),
        wire("row", "pair", rows),
        wire("value", "pair", values),
        wire("each", "sum", sums),
    ]
    integers, report = quantise(SpikingGraph(populations, synapses, DT), CHIP)
    assert not report.risks and all(s.max_error == 0 for s in report.synapses)
    places = partition(retime(integers, CHIP), CHIP)
    assert places.use.fits and all(places.sparse.values())
    each, pair, total = places.use.cores
    assert (each.neurons, pair.neurons, total.neurons) == (1024, 1024, 128)
    # A list is a header of 10 bits and per synapse 8 bits of weight and an index of 10 (7 among 128), in words of 64.
    assert each.synaptic_memory_bytes == 1024 * 8 and each.input_axons == 1024
    assert pair.synaptic_memory_bytes == 2 * 32 * -(-(10 + 32 * 18) // 64) * 8 and pair.input_axons == 64
    assert total.synaptic_memory_bytes == 1024 * 8 and total.input_axons == 1024
