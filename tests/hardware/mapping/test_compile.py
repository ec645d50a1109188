from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import Kind, Population, SpikingGraph, Synapses
from muspike.hardware.interpreter import Spikes, run
from muspike.hardware.mapping.compile import Compiled, compile_graph, spread_over
from muspike.hardware.program import Program
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.report import mapping_text
from muspike.hardware.simulator.events import Simulator
from muspike.hardware.weights import Array
from small_nir import DT, chain, graph, li, lif

PERIOD = 7


def recurrent(inputs: int, hidden: int, outputs: int, seed: int = 0, gain: float = 1.0) -> nir.NIRGraph:
    """input -> LIF with a memory of one period -> the same again -> LI, which also hears the first LIF."""
    rng = np.random.default_rng(seed)

    def linear(target: int, source: int) -> nir.Linear:
        return nir.Linear(rng.normal(0, gain / np.sqrt(source), (target, source)).astype(np.float32))

    nodes = {
        "input": inputs,
        "in_to_first": linear(hidden, inputs),
        "first": lif(hidden),
        "first_memory": nir.Delay(np.full(hidden, PERIOD * DT)),
        "first_to_first": linear(hidden, hidden),
        "first_to_second": linear(hidden, hidden),
        "second": lif(hidden),
        "second_memory": nir.Delay(np.full(hidden, PERIOD * DT)),
        "second_to_second": linear(hidden, hidden),
        "first_to_out": linear(outputs, hidden),
        "second_to_out": linear(outputs, hidden),
        "out": li(outputs),
        "output": outputs,
    }
    ways = [
        "input in_to_first first first_to_second second second_to_out out output",
        "first first_memory first_to_first first",
        "second second_memory second_to_second second",
        "first first_to_out out",
    ]
    edges = [edge for way in ways for edge in chain(*way.split())]
    return graph(nodes, edges, period=PERIOD, ticks=4)


def shifted(run_: Mapping[str, Array], levels: Mapping[str, int], name: str, ticks: int) -> Array:
    return run_[name][levels[name] : levels[name] + ticks]


def test_the_typical_network() -> None:
    compiled = compile_graph(recurrent(466, 512, 466), "loihi1")
    program = compiled.program
    assert {p.name: p.level for p in program.populations} == {"input": 0, "first": 1, "second": 2, "out": 3}
    delays = {s.name: s.delay for s in program.synapses}
    assert delays == {
        "in_to_first": 1,
        "first_to_first": PERIOD,
        "first_to_second": 1,
        "second_to_second": PERIOD,
        "first_to_out": 2,
        "second_to_out": 1,
    }
    assert program.n_synapses == 512 * (466 + 3 * 512 + 2 * 466)
    assert compiled.use.fits and compiled.use.chips == 1
    assert compiled.use.binding == "synaptic_memory_bits_per_core"
    assert all(s.rms_error < 0.01 for s in compiled.quantisation.synapses)
    assert program.metadata == {"dt": DT, "period": PERIOD, "ticks": 4, "outputs": ["out"], "relays": []}


def test_a_file_compiles_to_the_same_program(tmp_path: Path) -> None:
    graph = recurrent(20, 30, 10)
    nir.write(tmp_path / "g.nir", graph)
    read = compile_graph(nir.read(tmp_path / "g.nir", type_check=False), "loihi1").program
    direct = compile_graph(graph, "loihi1").program
    assert read.digest == direct.digest
    direct.save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").digest == direct.digest


def test_the_program_behaves_as_the_float_network() -> None:
    """Rounded to 8 bits, nearly every spike of the first period is the float one; up to the first spike that is not,
    the readout is off by no more than the reported weight errors allow."""
    graph = from_nir(recurrent(40, 60, 20, gain=1.5))
    compiled = compile_graph(graph, "loihi1")
    levels = {p.name: p.level for p in compiled.program.populations}
    ticks, batch = 60, 16
    spikes = (np.random.default_rng(5).random((ticks, batch, 40)) < 0.2).astype(np.uint8)
    ideal, membranes = run(graph, spikes)
    chip = Simulator(compiled.program, batch).run(np.concatenate([spikes, np.zeros((3, batch, 40), np.uint8)]))
    assert sum(chip.overflows.values()) == 0 == sum(chip.readout_resets.values())
    assert 0.02 < ideal["first"].mean() < 0.5  # the network is alive
    equal = np.ones((ticks, batch), bool)
    for name in ("first", "second"):
        same = shifted(chip.spikes, levels, name, ticks) == ideal[name]
        assert same[:PERIOD].mean() > 0.98
        equal &= same.all(axis=2)
    equal = np.logical_and.accumulate(equal)
    assert equal.sum() > batch  # more than one tick of each sequence

    errors = {s.name: s.max_error for s in compiled.quantisation.synapses}
    bound = np.zeros((ticks, batch))
    for t in range(ticks):
        arriving = (
            ideal["first"][t].sum(1) * errors["first_to_out"] + ideal["second"][t].sum(1) * errors["second_to_out"]
        )
        bound[t] = (bound[t - 1] if t else 0) * 0.75 + arriving / 4
    scale = compiled.program.population("out").scale
    off = np.abs(shifted(chip.membrane, levels, "out", ticks) / scale - membranes["out"]).max(axis=2)
    truncation = 4 / scale.min()  # less than one unit per tick, three quarters of which stay
    assert (off[equal] <= bound[equal] + truncation).all()
    assert bound[equal].max() < 0.1 * np.abs(membranes["out"]).max()  # the bound says something


@st.composite
def exact_networks(draw: st.DrawFn) -> tuple[SpikingGraph, Spikes]:
    """Integer weights and neurons without rounding (tau of one tick, or no leak): chip and float must be equal."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 5))

    def population(name: str, kind: Kind, size: int) -> Population:
        tau = rng.choice([1.0, np.inf], size)
        threshold = rng.integers(1, 20, size) if kind == "lif" else np.full(size, np.inf)
        return Population(name, kind, size, tau, np.ones(size), threshold.astype(float), np.zeros(size))

    populations = [population("p0", "input", 3)]
    populations += [population(f"p{i}", "lif", int(rng.integers(1, 4))) for i in range(1, n)]
    populations.append(population("out", "li", 2))
    synapses = []
    for i in range(draw(st.integers(n, 3 * n))):
        a, b = int(rng.integers(0, n)), int(rng.integers(1, n + 1))
        delay = int(rng.choice([0, 0, 1, 2, 7, 70])) if a < b else int(rng.choice([1, 2, 7, 70]))
        weight = rng.integers(-5, 12, (populations[b].size, populations[a].size)).astype(float)
        synapses.append(Synapses(f"s{i}", f"p{a}", populations[b].name, weight, delay))
    spikes = (rng.random((120, 2, 3)) < 0.3).astype(np.uint8)
    return SpikingGraph(populations, synapses, DT, ("out",)), spikes


@settings(max_examples=60, deadline=None)
@given(exact_networks())
def test_exact_networks_are_the_same_on_the_chip_and_in_float(drawn: tuple[SpikingGraph, Spikes]) -> None:
    graph, spikes = drawn
    try:
        compiled = compile_graph(graph, "loihi1")
    except BadInput as error:
        assert "loop" in str(error)
        assume(False)
    assert all(s.rms_error < 1e-9 for s in compiled.quantisation.synapses)
    assert all(p.threshold_error < 1e-9 for p in compiled.quantisation.populations)
    levels = {p.name: p.level for p in compiled.program.populations}
    late = max(levels.values())
    ideal, membranes = run(graph, spikes)
    padded = np.concatenate([spikes, np.zeros((late, 2, 3), np.uint8)])
    chip = Simulator(compiled.program, batch=2).run(padded)
    assume(sum(chip.overflows.values()) == 0 and sum(chip.readout_resets.values()) == 0)
    largest = 2**23 / max(p.scale.max() for p in compiled.program.populations)
    assume(np.abs(membranes["out"]).max() < largest / 2)
    for name in (p.name for p in graph.populations if p.kind == "lif"):
        np.testing.assert_array_equal(shifted(chip.spikes, levels, name, len(spikes)), ideal[name])
    scale = compiled.program.population("out").scale
    np.testing.assert_allclose(shifted(chip.membrane, levels, "out", len(spikes)) / scale, membranes["out"], atol=1e-9)


def test_long_memories_take_relays() -> None:
    graph = from_nir(recurrent(10, 12, 5))
    long = [dataclasses.replace(s, delay=130) if s.name == "first_to_first" else s for s in graph.synapses]
    compiled = compile_graph(dataclasses.replace(graph, synapses=long), "loihi1")
    assert [p.name for p in compiled.program.populations][-2:] == ["first.relay1", "first.relay2"]
    assert compiled.use.relay_neurons == 24
    assert compiled.program.max_delay == 63


def test_what_does_not_fit_is_refused_or_said() -> None:
    chip = load_chip("loihi1")
    small = dataclasses.replace(
        chip.limits, synaptic_memory_bits_per_core=dataclasses.replace(chip.limits.synaptic_delay)
    )
    tiny = dataclasses.replace(chip, limits=small)  # 62 bits
    with pytest.raises(
        BadInput, match=r"does not fit loihi1: core 0 .* bits of synaptic memory, loihi1 holds 62 .*more"
    ):
        compile_graph(recurrent(10, 12, 5), tiny)
    compiled = compile_graph(recurrent(10, 12, 5), tiny, must_fit=False)
    assert not compiled.use.fits and compiled.program.n_cores == 12 + 12 + 5
    assert compiled.misfit == f"does not fit loihi1: {compiled.use.problems[0]}" and len(compiled.use.problems) > 1
    assert compiled.chip is tiny and compile_graph(recurrent(10, 12, 5), "loihi1").misfit is None


def test_spread_over_takes_more_cores_of_the_same_chip_and_changes_nothing_else() -> None:
    chip = load_chip("loihi1")
    compiled = compile_graph(recurrent(40, 300, 20), chip)
    found = spread_over(compiled)
    assert found[0] is compiled
    assert [c.fill for c in found] == [1, 1 / 2, 1 / 4, 1 / 8]
    cores = [len(c.use.cores) for c in found]
    assert cores == sorted(set(cores)) and all(c.use.chips == 1 and c.use.fits for c in found)
    for spread in found[1:]:
        for core in spread.use.cores:
            assert core.per_cent["neurons_per_core"] <= 100 * spread.fill
            assert core.per_cent["synaptic_memory_bits_per_core"] <= 100 * spread.fill
        assert spread.program.digest == compile_graph(recurrent(40, 300, 20), chip, fill=spread.fill).program.digest
    inputs = (np.random.default_rng(0).random((30, 2, 40)) < 0.3).astype(np.uint8)
    runs = [Simulator(c.program, 2).run(inputs) for c in found]
    assert runs[0].spikes["second"].any()
    for run_ in runs[1:]:
        assert all(np.array_equal(run_.spikes[name], array) for name, array in runs[0].spikes.items())
        assert np.array_equal(run_.membrane["out"], runs[0].membrane["out"])


def test_spread_over_stays_on_as_many_chips() -> None:
    chip = load_chip("loihi1")
    graph = recurrent(40, 300, 20)
    fewest, more, *_, most = (len(c.use.cores) for c in spread_over(compile_graph(graph, chip)))
    limit = dataclasses.replace(chip.limits.cores_per_chip, value=more)
    small = dataclasses.replace(chip, limits=dataclasses.replace(chip.limits, cores_per_chip=limit))
    found = spread_over(compile_graph(graph, small))
    assert fewest < more < most and [len(c.use.cores) for c in found] == [fewest, more]
    wide = compile_graph(graph, small, fill=1 / 8)
    assert wide.use.fits and wide.use.chips == -(-most // more) > 1  # it fits, and says on how many chips
    assert f"loihi1: does not fit one loihi1; spread over {wide.use.chips} chips" in mapping_text(wide)
    assert "filled up to 12.5 %" in mapping_text(wide)


def test_spread_over_leaves_out_a_fill_that_one_neuron_exceeds() -> None:
    chip = load_chip("loihi1")
    compiled = compile_graph(recurrent(40, 300, 20), chip)
    assert [c.fill for c in spread_over(compiled, (1 / 2, 0.001))] == [1, 1 / 2]
    with pytest.raises(BadInput, match=r"fill 0.001: one neuron takes .* core's synaptic memory; expected at least"):
        compile_graph(recurrent(40, 300, 20), chip, fill=0.001)


def test_only_a_full_packing_is_called_the_fewest_cores() -> None:
    small = recurrent(4, 3, 2)
    fewest, spread = (mapping_text(compile_graph(small, "loihi1", fill=fill)) for fill in (1, 0.5))
    assert "packed onto the fewest cores" in fewest and " 1 core on 1 chip," in fewest
    assert "fewest" not in spread and "each core filled up to 50 %" in spread


@pytest.mark.parametrize("fill", [0, -1, 1.5, float("nan")])
def test_a_fill_is_a_share(fill: float) -> None:
    with pytest.raises(BadInput, match=r"fill is .* above 0 and at most 1"):
        compile_graph(recurrent(10, 12, 5), "loihi1", fill=fill)


def test_a_cycle_that_the_chip_cannot_turn() -> None:
    nodes = {
        "input": 2,
        "a": lif(2),
        "ab": nir.Linear(np.eye(2)),
        "b": lif(2),
        "ba": nir.Linear(np.eye(2)),
        "output": 2,
    }
    edges = [("input", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a"), ("b", "output")]
    with pytest.raises(BadInput, match="its delay is 1 ticks for 2 synapses"):
        compile_graph(graph(nodes, edges), "loihi1")


def exact(
    bias: Sequence[float], recurrence: float = 0.0, threshold: float = 100.0, tau: float = np.inf
) -> SpikingGraph:
    """input -> a -> b: numbers that the chip holds as they are, so that the integer network is the float one."""
    n = 3
    rng = np.random.default_rng(0)

    def population(name: str, kind: Kind, **changes: Array) -> Population:
        fields: dict[str, Any] = {
            "tau": np.full(n, tau),
            "tau_syn": np.ones(n),
            "v_threshold": np.full(n, threshold),
            "bias": np.zeros(n),
        }
        return Population(name, kind, n, **(fields | changes))

    def synapses(name: str, source: str, target: str, delay: int) -> Synapses:
        return Synapses(name, source, target, 2.0 * rng.integers(-20, 60, (n, n)), delay)

    back = Synapses("back", "b", "b", recurrence * np.eye(n), 3)
    populations = [population("in", "input"), population("a", "lif"), population("b", "lif", bias=np.asarray(bias))]
    return SpikingGraph(populations, [synapses("ia", "in", "a", 0), synapses("ab", "a", "b", 0), back], DT)


def chip_and_ideal(
    compiled: Compiled, graph: SpikingGraph, ticks: int = 60, batch: int = 4
) -> tuple[dict[str, Spikes], dict[str, Spikes]]:
    spikes = (np.random.default_rng(3).random((ticks, batch, 3)) < 0.3).astype(np.uint8)
    ideal, _ = run(graph, spikes)
    late = max(p.level for p in compiled.program.populations)
    chip = Simulator(compiled.program, batch).run(np.concatenate([spikes, np.zeros((late, batch, 3), np.uint8)]))
    return {p.name: chip.spikes[p.name][p.level : p.level + ticks] for p in compiled.program.populations}, ideal


def test_a_bias_behind_a_level_begins_with_ideal_time() -> None:
    """Without the reset, b would start with what its bias added before the first input could have reached it."""
    graph = exact([7.0, -5.0, 30.0])
    compiled = compile_graph(graph, "loihi1")
    assert compiled.program.population("b").level == 2
    chip, ideal = chip_and_ideal(compiled, graph)
    for name in "ab":
        np.testing.assert_array_equal(chip[name], ideal[name])
    assert 0 < ideal["b"].mean() < 1
    assert not any("bias" in risk for risk in compiled.risks)
    unset = [dataclasses.replace(p, reset_interval=0, reset_offset=0) for p in compiled.program.populations]
    program = dataclasses.replace(compiled.program, populations=unset)
    chip, _ = chip_and_ideal(dataclasses.replace(compiled, program=program), graph)
    assert (chip["b"] != ideal["b"]).any()


def test_a_bias_whose_early_spikes_would_outlive_the_reset_comes_as_spikes() -> None:
    """b fires two ticks before its time, and hears itself three ticks later. A bias of 150 takes two of the largest
    weight, so that no weight leaves the grid."""
    graph = exact([150.0, 0, 0], recurrence=50.0)
    compiled = compile_graph(graph, "loihi1")
    bias = compiled.program.population("b.bias")
    assert compiled.graph is graph
    assert (bias.kind, bias.level, bias.size) == ("lif", 0, 2) and not compiled.program.population("b").bias.any()
    assert not any("bias" in risk for risk in compiled.risks)
    chip, ideal = chip_and_ideal(compiled, graph)
    np.testing.assert_array_equal(chip["b"], ideal["b"])
    assert 0 < ideal["b"].mean() < 1
    without_loop = dataclasses.replace(graph, synapses=graph.synapses[:2])
    assert compile_graph(without_loop, "loihi1").program.population("b").bias.any()


def test_a_bias_behind_a_filter_that_fires_early_is_a_risk() -> None:
    graph = exact([150.0, 0, 0], recurrence=50.0)
    filtered = [dataclasses.replace(p, tau_syn=np.full(3, 2.0)) if p.name == "b" else p for p in graph.populations]
    compiled = compile_graph(dataclasses.replace(graph, populations=filtered), "loihi1")
    (risk,) = (risk for risk in compiled.risks if "bias" in risk)
    assert "population 'b': its bias makes it spike before its ideal time begins" in risk


def test_reset_at_intervals_keeps_samples_apart() -> None:
    graph = exact([7.0, -5.0, 30.0])
    compiled = compile_graph(graph, "loihi1", reset_every=20)
    chip, ideal = chip_and_ideal(compiled, graph)
    first = run(graph, (np.random.default_rng(3).random((60, 4, 3)) < 0.3).astype(np.uint8)[20:40])[0]["b"]
    np.testing.assert_array_equal(chip["b"][20:40], first)
    assert (first != ideal["b"][20:40]).any()
    (risk,) = (risk for risk in compiled.risks if "reset" in risk)
    assert "synapses 'back': a spike that is on its way at a reset arrives behind it, up to 3 ticks into the" in risk


def test_dt_and_metadata() -> None:
    graph = recurrent(10, 12, 5)
    graph.metadata = {}
    with pytest.raises(BadInput, match="does not say its dt"):
        compile_graph(graph, "loihi2")
    program = compile_graph(graph, "loihi2", dt_s=DT, metadata={"readout": "out"}).program
    assert (program.chip, program.dt_s) == ("loihi2", DT)
    assert program.metadata == {"outputs": ["out"], "relays": [], "readout": "out"}
    with pytest.raises(BadInput, match="already has one"):
        compile_graph(from_nir(graph, DT), "loihi1", dt_s=DT)
    with pytest.raises(BadInput, match="'loihi9' is not known"):
        compile_graph(graph, "loihi9", dt_s=DT)
