"""The memory model of Lemaire et al. against its authors' own code, and against sums by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chip_programs
from muspike.errors import BadInput
from muspike.hardware.cost.bill import constants_of, total
from muspike.hardware.cost.inference import Inferences
from muspike.hardware.cost.lemaire import (
    WIDTHS,
    Term,
    formal_neurons,
    formal_rows,
    formal_synapses,
    lemaire,
    spiking_neurons,
    spiking_synapses,
)
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse

# What bench/versus/lemaire.py wrote: the authors' code (qualia-plugin-snn 2.6.0) on some layers.
FROZEN = json.loads((Path(__file__).with_name("lemaire.json")).read_text())


def synapses_of(layer: dict[str, Any]) -> ChipSynapses:
    if "kernel" not in layer:
        weight: Any = np.zeros((layer["outputs"], layer["inputs"]), np.int16)
    else:
        c_in, c_out = layer["input"][0], layer["output"][0]
        kernel = np.zeros((c_out, c_in, *layer["kernel"]), np.int16)
        weight = Conv(kernel, tuple(layer["input"]), tuple(layer["output"]), tuple(layer["stride"]))
    return ChipSynapses("s", "a", "b", weight, 0, 1)


def energy(terms: list[Term], width: int, *names: str) -> float:
    bills = [term.bill(width) for term in terms if not names or term.name in names]  # type: ignore[arg-type]
    return total(bills).energy(constants_of("lemaire")).value


def adds(terms: list[Term]) -> float:
    return sum(term.count for term in terms if term.name == "addressing" and term.kind == "add")


@pytest.mark.parametrize("layer", FROZEN, ids=[f"{layer['layer']}-{layer['width']}" for layer in FROZEN])
def test_each_term_is_that_of_the_authors_code(layer: dict[str, Any]) -> None:
    synapses, width, conv = synapses_of(layer), layer["width"], "kernel" in layer
    outputs, inputs = synapses.weight.shape
    spikes = np.bincount(np.arange(int(layer["spikes_in"])) % inputs, minlength=inputs)
    bias_words = layer["output"][0] if conv else outputs
    spiking = spiking_synapses(synapses, spikes)
    spiking += spiking_neurons(outputs, layer["ticks"], layer["spikes_out"], True, bias_words)
    formal = formal_synapses(synapses, 1) + formal_neurons(outputs, 1, bias_words)
    for terms, theirs in ((spiking, layer["snn"]), (formal, layer["fnn"])):
        assert energy(terms, width, "read weights") == pytest.approx(theirs["mem_weights"])
        assert energy(terms, width, "read biases") == pytest.approx(theirs["mem_bias"])
        assert energy(terms, width, "read inputs", "write outputs") == pytest.approx(theirs["mem_io"])
        operations = ("synaptic operations", "neuron operations", "leak")
        assert energy(terms, width, *operations) == pytest.approx(theirs["ops"])
    potentials = energy(spiking, width, "read potentials", "write potentials")
    assert potentials == pytest.approx(layer["snn"]["mem_pot"])
    assert adds(formal) == layer["fnn"]["addr_adds"]
    # The code leaves out N_in (Eq. 17.2) and C_out (Eq. 16.3), which its own equations have. We follow the equations.
    left_out = layer["output"][0] if conv else inputs
    assert adds(spiking) == pytest.approx(layer["snn"]["addr_adds"] * left_out)
    macs = sum(term.count for term in spiking if term.name == "addressing" and term.kind == "mac")
    assert macs == layer["snn"]["addr_macs"]


def small_program() -> Program:
    """Three inputs, two neurons that hear them and themselves, a readout; a relay beside."""
    populations = [
        chip_programs.population("in", 3, "input"),
        chip_programs.population("a", 2),
        chip_programs.population("relay", 2, dv=4095),
        chip_programs.population("out", 1, "li", dv=0),
    ]
    synapses = [
        ChipSynapses("1", "in", "a", np.full((2, 3), 2, np.int16), 0, 1),
        ChipSynapses("2", "a", "a", Sparse.of(np.array([[0, 2], [0, 0]], np.int16)), 0, 1),
        ChipSynapses("3", "a", "relay", Sparse.of(2 * np.eye(2, dtype=np.int16)), 0, 1),
        ChipSynapses("4", "relay", "out", np.full((1, 2), 2, np.int16), 0, 1),
    ]
    places = np.zeros((1, 2), int)
    return Program("loihi1", 1e-3, populations, synapses, places, {"relays": ["relay"]})


def small_spikes() -> dict[str, np.ndarray]:
    """Six ticks: two inferences of three."""
    return {
        "in": np.array([[1, 0, 1], [0, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 0]], np.uint8)[:, None],
        "a": np.array([[0, 0], [1, 1], [0, 0], [0, 0], [0, 1], [0, 0]], np.uint8)[:, None],
        "relay": np.array([[0, 0], [0, 0], [1, 1], [0, 0], [0, 0], [0, 1]], np.uint8)[:, None],
    }


def test_the_terms_of_a_network_are_sums_over_its_synapses_and_populations() -> None:
    found = lemaire(small_program(), small_spikes(), Inferences(1, 3, (6,)))
    assert found.inferences == 2

    def counts(terms: tuple[Term, ...]) -> dict[str, float]:
        summed: dict[str, float] = {}
        for term in terms:
            summed[term.name] = summed.get(term.name, 0) + term.count
        return summed

    # Spikes: 3 of the inputs, 1 and 2 of the neurons a, as many of the relays. Synapses touched: 3 x 2; 2 x 1, because
    # only a's second neuron has a synapse onto a; 3 x 1. Neurons: 2 + 1, in six ticks. The relay is the chip's.
    touched = 6 + 2 + 3
    assert counts(found.spiking) == {
        "read inputs": 3 + 3 + 3,
        "read weights": touched,
        "read potentials": touched + 18,
        "write potentials": touched + 18,
        "synaptic operations": touched,
        "addressing": touched,
        "neuron operations": 18 + 3,
        "write outputs": 3,
        "leak": 12,
    }
    # Without spikes: 6 + 1 + 2 connections, twice; inputs 3 + 2 + 2; outputs 2 + 1.
    assert counts(found.formal) == {
        "read inputs": 14,
        "read weights": 18,
        "synaptic operations": 18,
        "addressing": 18,
        "neuron operations": 6,
        "write outputs": 6,
    }
    assert json.loads(json.dumps(found.to_dict()))["inferences"] == 2


def test_an_access_costs_what_the_memory_holds_and_the_band_holds_horowitz() -> None:
    constants = constants_of("lemaire")
    for kib, published in ((8, 10), (32, 20), (1024, 100)):
        words = kib * 1024 * 8 // 32
        priced = Term("t", "-", "access", 1, words).bill(32).energy(constants)
        assert priced.low * 0.99 <= published <= priced.high * 1.01
        assert math.isclose(priced.value, 13.2 + 1.09e-5 * words * 32)


def test_rows_of_inputs_are_looked_up_once_where_the_input_is_1() -> None:
    program, spikes = small_program(), small_spikes()
    spikes["in"][1, 0, 0] = 1  # an input that is 1 in two ticks of an inference is looked up once
    found = lemaire(program, spikes, Inferences(2, 3, (6,)))
    rows = {term.name: term for term in formal_rows(program.synapses[0], np.array([1, 1, 1]))}
    assert {name: term.count for name, term in rows.items()} == {
        "read inputs": 3,
        "read weights": 6,
        "synaptic operations": 6,
        "addressing": 6,
    }
    assert rows["read weights"].words == 6
    macs = [sum(t.count for t in of if t.kind == "mac") for of in (found.formal, found.looked_up)]
    assert macs == [18, 6]
    assert energy(list(found.looked_up), 32) < energy(list(found.formal), 32)
    assert found.ratio(rows=True).value > found.ratio().value


def test_a_ratio_falls_with_the_spikes_and_its_band_holds_every_width_and_both_opponents() -> None:
    program, spikes = small_program(), small_spikes()
    inferences = Inferences(1, 3, (6,))
    quiet = {name: np.zeros_like(fired) for name, fired in spikes.items()}
    found, silent = lemaire(program, spikes, inferences), lemaire(program, quiet, inferences)
    assert 0 < silent.ratio().value < found.ratio().value
    whole = found.whole_ratio()
    assert whole.value == found.ratio(32).value and not whole.band_known
    for width in WIDTHS:
        for rows in (False, True):
            one = found.ratio(width, rows)
            assert whole.low <= one.low <= one.high <= whole.high


def test_graded_inputs_and_missing_spikes_are_refused() -> None:
    graded = chip_programs.program(
        [chip_programs.population("in", 2, "input", graded_bits=4), chip_programs.population("a", 2)],
        [ChipSynapses("1", "in", "a", np.full((2, 2), 2, np.int16), 0, 1)],
    )
    ones = {"in": np.ones((3, 1, 2), np.uint8), "a": np.ones((3, 1, 2), np.uint8)}
    with pytest.raises(BadInput, match="in: its spikes are graded"):
        lemaire(graded, ones, Inferences(1, 1, (3,)))
    spikes = small_spikes()
    with pytest.raises(BadInput, match="a: no spikes recorded"):
        lemaire(small_program(), {"in": spikes["in"]}, Inferences(1, 3, (6,)))
    with pytest.raises(BadInput, match=r"in: spikes have shape \(6, 1, 2\); need \[ticks, 1, 3\]"):
        lemaire(small_program(), spikes | {"in": spikes["in"][..., :2]}, Inferences(1, 3, (6,)))
