"""Random graphs over every primitive: what is read, and what the chip spikes where nothing had to be rounded."""

from __future__ import annotations

import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from equal_graphs import check_equal_graphs
from literal_nir import Literal
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.interpreter import Spikes, run
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.simulator.events import Simulator
from random_nir import DT_S, graphs, loosened, primitives, random_graph

EVERY_PRIMITIVE = {
    "Affine", "AvgPool2d", "Conv1d", "Conv2d", "CubaLI", "CubaLIF", "Delay", "Flatten", "I", "IF", "Input", "LI", "LIF",
    "Linear", "NIRGraph", "Output", "Scale", "SumPool2d", "Threshold",
}  # fmt: skip


def spikes_for(graph: SpikingGraph, seed: int, ticks: int = 40, batch: int = 2) -> dict[str, Spikes]:
    rng = np.random.default_rng(seed)
    inputs = [p for p in graph.populations if p.kind == "input"]
    return {p.name: (rng.random((ticks, batch, p.size)) < 0.3).astype(np.uint8) for p in inputs}


def test_every_primitive_is_drawn_and_read() -> None:
    found = set()
    for seed in range(100):
        graph = random_graph(seed)
        found |= primitives(graph)
        from_nir(graph)
    assert found == EVERY_PRIMITIVE


def check_meaning(nir_graph: nir.NIRGraph, seed: int, ticks: int = 25) -> int:
    """Populations and matrices, interpreted, are the graph taken literally: every spike, and membranes to 1e-9."""
    graph = from_nir(nir_graph)
    spikes = spikes_for(graph, seed, ticks)
    fired, membranes = run(graph, spikes)
    literal = Literal(nir_graph, spikes, DT_S)
    for p in graph.populations:
        if p.kind == "input" or p.name not in literal.nodes:  # the neuron that brings biases is none of the file's
            continue
        expected = literal.run(p.name)
        if p.kind == "lif":
            np.testing.assert_array_equal(fired[p.name], expected)
        else:
            np.testing.assert_allclose(membranes[p.name], expected, rtol=1e-9, atol=1e-9)
    return sum(int(s.sum()) for s in fired.values())


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_the_populations_mean_what_the_nodes_mean() -> None:
    assert sum(check_meaning(random_graph(seed), seed) for seed in range(80)) > 10_000


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.integers(0, 2**32 - 1))
def test_many_populations_mean_what_the_nodes_mean(graph: nir.NIRGraph, seed: int) -> None:
    check_meaning(graph, seed)


def check_loosened(nir_graph: nir.NIRGraph, seed: int) -> None:
    """A looser way to write a graph does not change what is read."""
    check_equal_graphs(from_nir(loosened(nir_graph, seed)), from_nir(nir_graph))


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_looser_way_to_write_a_graph_changes_nothing() -> None:
    for seed in range(150):
        check_loosened(random_graph(seed), seed)


@pytest.mark.nightly
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@settings(max_examples=5000, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(), st.integers(0, 2**32 - 1))
def test_many_looser_ways_to_write_a_graph_change_nothing(graph: nir.NIRGraph, seed: int) -> None:
    check_loosened(graph, seed)


def check_exact(nir_graph: nir.NIRGraph, seed: int, ticks: int = 40) -> int:
    """Chip spikes are float spikes, shifted by the level, wherever the report says that nothing was rounded."""
    graph = from_nir(nir_graph)
    compiled = compile_graph(graph, "loihi2")
    report = compiled.quantisation
    rounded = any(s.rms_error for s in report.synapses) or any(
        p.threshold_error or p.bias_error for p in report.populations
    )
    if rounded:
        return 0
    program = compiled.program
    spikes = spikes_for(graph, seed, ticks)
    late = max(p.level for p in program.populations)
    silence = {name: np.zeros((late, *s.shape[1:]), np.uint8) for name, s in spikes.items()}
    chip = Simulator(program, 2).run({name: np.concatenate([s, silence[name]]) for name, s in spikes.items()})
    if any(chip.overflows.values()):
        return 0
    ideal, _ = run(graph, spikes)
    fired = 0
    for p in graph.populations:
        if p.kind == "lif":
            level = program.population(p.name).level
            np.testing.assert_array_equal(chip.spikes[p.name][level : level + ticks], ideal[p.name])
            fired += int(ideal[p.name].sum())
    return fired


def test_what_needs_no_rounding_spikes_on_the_chip_as_in_floats() -> None:
    fired = [check_exact(random_graph(seed, gentle=True), seed) for seed in range(60)]
    assert sum(n > 0 for n in fired) >= 25  # the others were rounded


@pytest.mark.nightly
@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(graphs(gentle=True), st.integers(0, 2**32 - 1))
def test_much_that_needs_no_rounding(graph: nir.NIRGraph, seed: int) -> None:
    check_exact(graph, seed)
