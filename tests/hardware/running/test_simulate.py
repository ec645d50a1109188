"""`simulate` takes from a compiled network what it knows, and of a bare program what its name tells.

What it tells of a run is held against the modules in `tests/muspike/test_cli_simulate.py`.
"""

from __future__ import annotations

from dataclasses import replace

import nir
import numpy as np
import pytest

from chip_limits import chip
from float_populations import population
from muspike.errors import BadInput
from muspike.hardware import interpreter
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import SpikingGraph, Synapses
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.mapping.fit import use_of
from muspike.hardware.readings import READINGS
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.hardware.running.merged import Merged
from muspike.hardware.running.simulate import simulate, simulation_dict, simulation_text, warnings
from muspike.hardware.running.spikes import InputSpikes

INPUTS = {"in": (np.random.default_rng(3).random((50, 2, 3)) < 0.3).astype(np.uint8)}


def network(bias: float = 7.0) -> SpikingGraph:
    """in -> a -> b, and b -> b three ticks later: numbers that a chip holds as they are. `bias` is that of b."""
    rng = np.random.default_rng(0)
    synapses = [
        Synapses("ia", "in", "a", 2.0 * rng.integers(-20, 60, (3, 3)), 0),
        Synapses("ab", "a", "b", 2.0 * rng.integers(-20, 60, (3, 3)), 0),
        Synapses("bb", "b", "b", 50.0 * np.eye(3), 3),
    ]
    a, b = (population(name, "lif", 3, tau=np.inf, v_threshold=100.0, bias=of) for name, of in (("a", 0), ("b", bias)))
    populations = [population("in", "input", 3), a, b]
    return SpikingGraph(populations, synapses, 1e-3)


@pytest.fixture(scope="module")
def compiled() -> Compiled:
    return compile_graph(network(), "loihi1")


def test_a_compiled_network_brings_its_graph_chip_and_resets() -> None:
    # A bias that comes as spikes: the float network beside is the one that was given, without that population.
    graph = network(bias=150.0)
    compiled = compile_graph(graph, "loihi1", reset_every=20)
    assert "b.bias" in {p.name for p in compiled.program.populations}
    found = simulate(compiled, INPUTS)
    assert found.ideal is not None
    ideal, never_reset = (interpreter.run(graph, INPUTS, reset_every=every)[0] for every in (20, None))
    assert set(found.ideal[0]) == {"in", "a", "b"}
    assert all(np.array_equal(found.ideal[0][name], ideal[name]) for name in ideal)
    assert not np.array_equal(ideal["a"], never_reset["a"])
    assert found.risks and "on its way at a reset" in found.risks[0]  # of the run before those of rounding
    assert sorted(found.risks) == sorted(compiled.risks) and found.risks != compiled.risks
    assert [e.chip for e in found.energies] == ["loihi1"] * len(load_chip("loihi1").costs) and found.no_energy is None


def test_the_float_network_may_stay_out(compiled: Compiled) -> None:
    found = simulate(compiled, INPUTS, beside_float=False)
    assert found.ideal is None and found.agreements is None
    assert found.energies and found.risks == compiled.risks


def test_what_does_not_fit_has_spikes_and_no_energy(compiled: Compiled) -> None:
    wide = replace(compiled, use=replace(compiled.use, problems=("core 0: too much", "core 1: too much")))
    found = simulate(wide, INPUTS)
    assert (found.energies, found.no_energy) == ((), "does not fit loihi1: core 0: too much")
    assert found.problems == ("core 0: too much", "core 1: too much")
    assert found.run.spikes["b"].any() and found.agreements


def test_a_program_is_priced_by_the_chip_of_its_name_or_the_one_given(compiled: Compiled) -> None:
    whole, bare = simulate(compiled, INPUTS), simulate(compiled.program, INPUTS)
    assert [e.total for e in bare.energies] == [e.total for e in whole.energies]
    assert bare.ideal is None and bare.risks is None
    strange = replace(compiled.program, chip="mine")
    unpriced = simulate(strange, INPUTS)
    assert unpriced.energies == () and "chip 'mine' is not known" in str(unpriced.no_energy)
    assert np.array_equal(unpriced.run.spikes["b"], whole.run.spikes["b"]) and whole.run.spikes["b"].any()
    given = simulate(strange, INPUTS, replace(load_chip("loihi1"), name="mine"))
    assert [e.total for e in given.energies] == [e.total for e in whole.energies]


def test_a_program_that_does_not_fit_has_spikes_and_no_energy(compiled: Compiled) -> None:
    small = chip(neurons_per_core=5, input_axons_per_core=8)
    found, whole = simulate(compiled.program, INPUTS, small), simulate(compiled.program, INPUTS)
    assert found.energies == () and whole.energies and whole.problems == ()
    assert found.problems == use_of(compiled.program, small).problems and len(found.problems) == 2
    assert found.no_energy == "does not fit loihi1: core 0 ('a', 'b'): 6 neurons, loihi1 holds 5 on a core"
    assert np.array_equal(found.run.spikes["b"], whole.run.spikes["b"])
    assert simulation_dict(found)["problems"] == list(found.problems)
    lines = simulation_text(found).splitlines()
    assert f"no energy: {found.no_energy}" in lines
    assert [line for line in lines if line.startswith("problem: ")] == [f"problem: {p}" for p in found.problems]
    many = replace(found, problems=tuple(f"core {i}: too much" for i in range(25)))
    lines = [line for line in simulation_text(many).splitlines() if line.startswith("problem: ")]
    assert len(lines) == 11 and lines[-1] == "problem: 15 more, which --json lists"
    unknown = simulate(replace(compiled.program, chip="mine"), INPUTS)
    assert unknown.problems is None and simulation_dict(unknown)["problems"] is None


def test_a_compiled_network_has_its_own_chip(compiled: Compiled) -> None:
    with pytest.raises(BadInput, match="chip loihi2 is given for a network that is compiled for loihi1"):
        simulate(compiled, INPUTS, load_chip("loihi2"))


def counted() -> InputSpikes:
    """Input in which events meet, with what was merged."""
    counts = np.random.default_rng(1).poisson(0.6, (50, 2, 3)).astype(np.uint16)
    merged = Merged.of("in", "events", counts, 1e-3)
    return InputSpikes(50, 2, {"in": (counts > 0).astype(np.uint8)}, counts={"in": counts}, merged=(merged,))


@pytest.mark.parametrize("reads_as", READINGS)
def test_the_float_network_is_run_in_a_reading_and_the_chip_is_not(compiled: Compiled, reads_as: str) -> None:
    given = counted()
    assert given.counts is not None
    found, plain = simulate(compiled, given, reads_as=reads_as), simulate(compiled, given.spikes)
    assert all(np.array_equal(found.run.spikes[name], spikes) for name, spikes in plain.run.spikes.items())
    assert [e.total for e in found.energies] == [e.total for e in plain.energies] and found.counts.synops.any()
    reading = READINGS[reads_as]
    shown = given.counts if reading.counts else given.spikes
    ideal, _ = interpreter.run(compiled.graph, shown, reading=reading)
    assert found.ideal is not None and all(np.array_equal(found.ideal[0][name], ideal[name]) for name in ideal)
    assert found.reads_as == simulation_dict(found)["reads_as"] == reads_as
    assert found.merged == given.merged and plain.merged == () and plain.reads_as == "nir"
    text = simulation_text(found)
    assert text.splitlines()[1] == f"WARNING: {given.merged[0].told}"
    assert text.splitlines()[2] == given.merged[0].remedy and text.splitlines()[3].startswith(
        "neurons are read as NIR defines them" if reads_as == "nir" else f"the float network is read as {reads_as}: "
    )
    assert ("on the chip, neurons are read as NIR" in text) is (reads_as != "nir")
    assert (f"float network, read as {reads_as}, against" in text or "float against" in text) and reading.told


def test_a_network_that_was_trained_on_counts_agrees_less_with_its_own_float_network(compiled: Compiled) -> None:
    shares = {}
    for reads_as in ("nir", "sinabs"):
        agreements = simulate(compiled, counted(), reads_as=reads_as).agreements
        assert agreements is not None
        shares[reads_as] = [row.agreement for row in agreements if isinstance(row, SpikeAgreement)]
    assert shares["nir"] == [1.0, 1.0] and all(share is not None and share < 0.9 for share in shares["sinabs"])


def test_an_unknown_reading_is_refused(compiled: Compiled) -> None:
    with pytest.raises(BadInput, match="simulate: reads_as 'norse' is not known; known are nir, sinabs"):
        simulate(compiled, INPUTS, reads_as="norse")


def test_what_cannot_run_is_named(compiled: Compiled) -> None:
    with pytest.raises(BadInput, match="simulate: chip loihi2 is given for a program for loihi1"):
        simulate(compiled.program, INPUTS, load_chip("loihi2"))
    with pytest.raises(BadInput, match="simulate: str cannot run; compile_graph makes a network"):
        simulate("network.nir", INPUTS)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"from_nir: network\.nir is the name of a file; give what read_nir reads"):
        compile_graph("network.nir", "loihi1")


def fed(size: int) -> Compiled:
    """As many neurons as inputs, on Loihi 2, each with a synapse from every input."""
    weight = np.random.default_rng(0).uniform(0.1, 0.4, (size, size))
    settings = {"tau": 0.01, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0}
    lif = nir.LIF(**{name: np.full(size, value) for name, value in settings.items()})
    return compile_graph(nir.NIRGraph.from_list(nir.Linear(weight), lif), "loihi2", dt_s=1e-3)


def test_a_network_at_the_floor_of_a_step_warns_of_what_is_not_priced() -> None:
    """The sentence and its source are those of the chip's file."""
    small, large = (
        simulate(fed(size), {"input": np.ones((20, 1, size), np.uint8)}, beside_float=False) for size in (2, 2000)
    )
    assert small.energies[0].bottleneck.resource == "step floor"
    (told,) = warnings(small)
    assert told.startswith("loihi2: at the floor of a step") and "30 nJ" in told and "NECOTIS" in told
    assert simulation_dict(small)["warnings"] == [told]
    assert large.energies[0].bottleneck.resource != "step floor"
    assert not any("step" in line for line in warnings(large))
    on_loihi1 = simulate(compile_graph(network(), "loihi1"), INPUTS, beside_float=False)
    assert not any(energy.warnings for energy in on_loihi1.energies)
