"""Graded inputs from compiling to pricing: what is declared, refused, multiplied, counted and priced."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from chip_limits import chip
from float_populations import population
from muspike.errors import BadInput
from muspike.hardware import interpreter
from muspike.hardware.chip import load_chip
from muspike.hardware.cost import activity
from muspike.hardware.cost.energy import Energy, price
from muspike.hardware.cost.firing import FiringMeter
from muspike.hardware.cost.operations import operations
from muspike.hardware.graph import SpikingGraph, Synapses
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.program import Program
from muspike.hardware.running.report import mapping, mapping_text
from muspike.hardware.running.simulate import given_to, simulate, simulation_dict, simulation_text
from muspike.hardware.running.spikes import InputSpikes, write_spikes

COUNTS = np.array([[3, 0, 1], [0, 300, 2], [0, 0, 0], [1, 1, 1]], np.uint16)[:, None]


def network(delay: int = 0) -> SpikingGraph:
    """in -> a -> b, and in -> b `delay` ticks later: numbers that a chip holds as they are."""
    rng = np.random.default_rng(0)

    def weights() -> npt.NDArray[Any]:
        return 2.0 * rng.integers(-20, 60, (3, 3))

    synapses = [
        Synapses("ia", "in", "a", weights(), 0),
        Synapses("ab", "a", "b", weights(), 0),
        Synapses("ib", "in", "b", weights(), delay),
    ]
    a, b = (population(name, "lif", 3, tau=np.inf, v_threshold=900.0) for name in "ab")
    return SpikingGraph([population("in", "input", 3), a, b], synapses, 1e-3, ("b",))


def test_an_input_has_the_bits_that_it_needs_or_that_the_chip_has(tmp_path: Path) -> None:
    compiled = compile_graph(network(), "loihi2", graded=True)
    assert [p.graded_bits for p in compiled.program.populations] == [16, 0, 0]
    assert compiled.program.population("in").largest_spike == 65535
    few = replace(chip(graded_spike_bits=5), name="few")
    assert compile_graph(network(), few, graded=True).program.inputs[0].largest_spike == 31
    unpublished = replace(chip(graded_spike_bits=None), name="unpublished")
    assert compile_graph(network(), unpublished, graded=True).program.inputs[0].graded_bits == 16
    told = "graded inputs, whose spikes multiply the weights: 'in': whole numbers of 0 to 65,535 (16 bits)"
    assert told in mapping_text(compiled) and mapping(compiled)["graded_bits_of_inputs"] == {"in": 16}
    binary = compile_graph(network(), "loihi2")
    assert "graded" not in mapping_text(binary) and mapping(binary)["graded_bits_of_inputs"] == {}


def test_grading_changes_no_integer_of_the_network() -> None:
    graded, binary = (compile_graph(network(), "loihi2", graded=graded).program for graded in (True, False))
    assert graded.digest != binary.digest
    plain = [replace(p, graded_bits=0) for p in graded.populations]
    assert replace(graded, populations=plain).digest == binary.digest


def test_the_sum_that_could_overflow_is_a_risk_with_the_least_events_that_do_it() -> None:
    graded, binary = (compile_graph(network(), "loihi2", graded=graded) for graded in (True, False))
    assert not any("synaptic sum" in risk for risk in binary.risks)
    (a, _) = graded.quantisation.populations
    weights = graded.program.synapses[0]
    assert weights.name == "ia" and isinstance(weights.weight, np.ndarray)
    largest = int(weights.weight.max())
    assert a.spikes_to_overflow == (2**15 - 1) // largest + 1
    assert a.sum_worst == np.maximum(weights.weight, 0).astype(np.int64).sum(axis=1).max() * 65535
    wanted = f"'a': {a.spikes_to_overflow} spikes in one tick could overflow the 16-bit synaptic sum (worst case"
    assert any(wanted in risk and "a graded spike counts as many as its value" in risk for risk in graded.risks)
    # And that many do: one input neuron with that value.
    source = int(np.argwhere(weights.weight == largest)[0, 1])
    inputs = np.zeros((2, 1, 3), np.uint16)
    inputs[0, 0, source] = a.spikes_to_overflow
    assert simulate(graded, {"in": inputs}).run.overflows["a"] == 1
    inputs[0, 0, source] -= 1
    assert simulate(graded, {"in": inputs}).run.overflows["a"] == 0


@pytest.mark.parametrize(
    ("name", "delay", "message"),
    [
        (
            "loihi1",
            0,
            r"^graded: graded_spike_bits of loihi1 is 0, so its spikes are 0 or 1; graded inputs need a chip",
        ),
        (
            "loihi2",
            70,
            r"^synapses 'ib': a delay of 72 chip ticks from the graded input 'in' takes relays.*most 63 tick",
        ),
    ],
)
def test_what_cannot_be_graded_is_refused(name: str, delay: int, message: str) -> None:
    compile_graph(network(delay), name)
    with pytest.raises(BadInput, match=message):
        compile_graph(network(delay), name, graded=True)
    with pytest.raises(BadInput, match="compile_graph: graded"):
        compile_graph(network(), "loihi2", graded=1)  # type: ignore[arg-type]


def test_a_program_keeps_its_graded_inputs_and_a_binary_one_its_old_form(tmp_path: Path) -> None:
    for graded, version in ((True, 3), (False, 2)):
        program = compile_graph(network(), "loihi2", graded=graded).program
        program.save(tmp_path / "p.npz")
        with np.load(tmp_path / "p.npz") as file:
            header = bytes(file["header"]).decode()
        assert f'"version": {version}' in header and ("graded_bits" in header) is graded
        again = Program.load(tmp_path / "p.npz")
        assert again.digest == program.digest and again.inputs[0].graded_bits == (16 if graded else 0)
    for name, bits in (("in", 17), ("a", 1)):
        with pytest.raises(BadInput, match=f"population {name!r}: graded_bits is {bits}; it is an integer in 0"):
            replace(program.population(name), graded_bits=bits)


def test_the_float_network_multiplies_the_weights_with_the_values() -> None:
    graph = network()
    spikes, _ = interpreter.run(graph, COUNTS, graded=["in"])
    assert np.array_equal(spikes["in"], COUNTS)
    weight = np.asarray(graph.synapses[0].weight)
    assert np.array_equal(spikes["a"][0, 0], weight @ [3, 0, 1] > 900)
    for wrong, what in ((COUNTS + 0.5, r"holds \d+\.5"), (-COUNTS.astype(int), "holds -3")):
        with pytest.raises(BadInput, match=f"spikes of 'in': {what}, expected whole numbers from 0"):
            interpreter.run(graph, wrong, graded=["in"])
    with pytest.raises(BadInput, match="holds 3, expected 0 or 1"):
        interpreter.run(graph, COUNTS)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_the_chip_follows_the_float_network(dtype: Any, device: str | None) -> None:
    found = simulate(compile_graph(network(), "loihi2", graded=True), {"in": COUNTS.astype(dtype)}, device=device)
    assert found.agreements is not None
    assert all(row.float_spikes == row.chip_spikes == row.both > 0 for row in found.agreements)  # type: ignore[union-attr]
    assert simulation_dict(found)["graded_bits_of_inputs"] == {"in": 16}
    assert "graded inputs, whose spikes" in simulation_text(found)
    merged = simulate(compile_graph(network(), "loihi2"), {"in": (COUNTS != 0).astype(np.uint8)})
    assert merged.run.spikes["a"].sum() < found.run.spikes["a"].sum()
    with pytest.raises(BadInput, match="inputs of 'in': holds 3; spikes are 0 or 1"):
        simulate(compile_graph(network(), "loihi2"), {"in": COUNTS.astype(dtype)})


def metered(program: Program, spikes: Mapping[str, Any]) -> FiringMeter:
    meter = FiringMeter(program, len(COUNTS))
    meter.add(spikes)
    return meter


def test_a_graded_spike_is_one_message_and_one_operation_for_each_synapse() -> None:
    compiled = compile_graph(network(), "loihi2", graded=True)
    found = simulate(compiled, {"in": COUNTS}).counts
    spikes = int((COUNTS != 0).sum())
    assert found.spikes_in_graded.sum() == found.host_messages.sum() == spikes
    assert found.synops_graded.sum() == spikes * 6  # onto a and b
    assert found.synops.sum() > found.synops_graded.sum() and found.spikes_in.sum() > spikes
    run = simulate(compiled, {"in": COUNTS}).run
    binary = replace(compiled.program, populations=[replace(p, graded_bits=0) for p in compiled.program.populations])
    done, whole = (operations(of, metered(of, run.spikes)) for of in (compiled.program, binary))
    assert done.effective_macs > 0 < done.effective_acs
    assert (whole.effective_acs, whole.effective_macs) == (done.effective_acs + done.effective_macs, 0)
    with pytest.raises(BadInput, match="in: spikes hold 70000; each is 0 to 65535"):
        activity.count(compiled.program, {**run.spikes, "in": np.full_like(run.spikes["in"], 1, np.int64) * 70000})


def rows(energy: Energy) -> dict[str, Any]:
    return {row.name: row for row in energy.rows}


def test_operations_of_graded_spikes_are_priced_apart_and_only_if_there_are_some() -> None:
    graded, binary = (
        simulate(compile_graph(network(), "loihi2", graded=graded), {"in": (COUNTS != 0).astype(np.uint8)})
        for graded in (True, False)
    )
    (theirs,), (ours,) = binary.energies, graded.energies
    name, arriving = "synaptic operations of graded spikes", "axon events in, graded"
    assert name not in rows(theirs) and arriving not in rows(theirs)
    assert rows(theirs)["synaptic operations, dense lists"].energy.tag == theirs.dynamic.tag == "inferred"
    row = rows(ours)[name]
    assert row.count == graded.counts.synops_graded.sum() and row.energy.tag == ours.dynamic.tag == "assumed"
    assert rows(ours)[arriving].status == "covered"
    assert ours.dynamic.value == pytest.approx(theirs.dynamic.value)  # the same spikes, at the price of binary ones
    assert ours.dynamic.low == pytest.approx(theirs.dynamic.low)
    assert ours.dynamic.high == pytest.approx(theirs.dynamic.high + 30 * row.count)
    assert not any("graded" in influence.name for influence in theirs.uncertainty)
    assert any("graded" in influence.name for influence in ours.uncertainty)
    # A chip without a price for them prices nothing in their place.
    loihi2 = load_chip("loihi2")
    costs = loihi2.cost_set()
    bare = replace(costs, energy={event: c for event, c in costs.energy.items() if event != "synop_graded"})
    with pytest.raises(BadInput, match="no price for synop_graded, of which the run has some"):
        price(graded.counts, loihi2, bare)
    price(binary.counts, loihi2, bare)


@dataclass(frozen=True, eq=False)
class CountedSpikes(InputSpikes):
    """Spikes of a file that also tells how many events each stands for."""

    counts: dict[str, npt.NDArray[np.uint16]] | None = None


def test_counts_of_a_file_go_to_graded_inputs() -> None:
    graded, binary = (compile_graph(network(), "loihi2", graded=graded).program for graded in (True, False))
    merged = {"in": (COUNTS != 0).astype(np.uint8)}
    read = CountedSpikes(4, 1, merged, counts={"in": COUNTS})
    assert given_to(graded, read)["in"] is COUNTS
    assert given_to(binary, read)["in"] is merged["in"]
    for without in (CountedSpikes(4, 1, merged), InputSpikes(4, 1, merged)):
        assert given_to(graded, without)["in"] is merged["in"]


def test_counts_are_written_as_they_are_or_as_so_many_events(tmp_path: Path) -> None:
    write_spikes(tmp_path / "dense.npz", {"in": COUNTS})
    write_spikes(tmp_path / "events.npz", {"in": COUNTS}, events=True)
    with np.load(tmp_path / "dense.npz") as file:
        assert np.array_equal(file["in"], COUNTS)
    with np.load(tmp_path / "events.npz") as file:
        again = np.zeros_like(COUNTS)
        np.add.at(again, (file["in.tick"], file["in.sequence"], file["in.neuron"]), 1)
    assert np.array_equal(again, COUNTS)
