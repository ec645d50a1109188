"""Every architecture on its way to the chip: NIR file, integers, Lava; and a network by hand that has all there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import nir
import numpy as np
import pytest
import torch

from every_network import HEARS, LABELS, LONG, NETWORKS, made
from muspike.export import lava_runner
from muspike.export.float_run import float_run
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.presentation import Presentation
from muspike.export.targets import export
from muspike.export.to_nir_file import to_nir
from muspike.export.words import example_words
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.weights import dense
from muspike.labels import Labels
from muspike.network import Network
from muspike.sounding import Hearing
from muspike.tokens import N_AXONS

each = pytest.mark.parametrize("name", NETWORKS)


def on_the_grid(network: Network) -> Network:
    """The same graph with membranes that forget at once and weights that are multiples of 1/32: nothing to round."""
    populations = [dataclasses.replace(p, tau=1.0) for p in network.populations.values()]
    beside = network.noise, network.hearing, network.labels
    same = Network(populations, network.synapses, network.timing, (), *beside)
    with torch.no_grad():
        for name, weight in network.weights.items():
            same.weights[name].copy_((weight * 32).round().clamp(-32, 32) / 32)
        same.bias.copy_(network.bias)
    return same.eval()


@each
def test_its_nir_file_is_proved_equal(name: str, tmp_path: Path) -> None:
    model = made(name)
    proof = export(model, "nir", tmp_path / "model.nir")
    assert proof.holds, proof.table()
    layers = [p.name for p in model.spiking.populations.values() if p.kind == "lif"]
    assert [row.population for row in proof.rows] == layers
    assert all(row.spikes for row in proof.rows), proof.table()
    graph = read_nir(tmp_path / "model.nir")
    noise = model.spiking.noise
    assert np.array_equal(graph.metadata["noise"], [noise.draws, noise.values])
    hears = HEARS if "hearing" in name else []
    assert graph.metadata["hears"] == " ".join(hears)
    labels = Labels.of(LABELS if "labels" in name else {})
    assert Labels.read(graph.metadata.get("labels", "")) == labels and ("labels" in graph.metadata) == bool(labels)
    axons = N_AXONS + noise.axons + Hearing(tuple(hears)).axons + labels.axons
    assert graph.nodes["input"].input_type["input"] == [axons]


@each
def test_wires_are_scales_and_matrices_that_read_back_as_they_are(name: str) -> None:
    network = made(name).spiking
    graph = to_nir(network)
    read = {s.name: s for s in from_nir(graph).synapses}
    assert read.keys() == {s.name for s in network.synapses}
    for s in network.synapses:
        node, found = graph.nodes[s.name], read[s.name]
        assert type(node) is (nir.Scale if np.isscalar(s.wires) else nir.Linear)
        assert (found.source, found.target, found.delay) == (s.source, s.target, s.delay)
        size = network.populations[s.target].size
        wanted = network.matrix(s, network.weights[s.name].detach()).numpy() if s.wires is None else s.wires
        wanted = np.asarray(wanted) * np.eye(size) if np.isscalar(wanted) else wanted
        assert np.array_equal(dense(found.weight), wanted) and found.weight.dtype == np.float32


@each
def test_without_rounding_the_chip_spikes_as_torch_does(name: str) -> None:
    """Gates, loops, relays and noise, retimed: every population's spikes, its level later, and all logits."""
    model = dataclasses.replace(made(name), network=on_the_grid(made(name).spiking))
    words = example_words(model, 24)
    spikes, logits = float_run(model.spiking, words)
    compiled = compile_model(model, "loihi1")
    assert all(s.max_error < 1e-9 for s in compiled.quantisation.synapses)
    assert all(p.threshold_error < 1e-9 for p in compiled.quantisation.populations)
    runner = ChipRunner(compiled.program)
    runner.reset(words.shape[1])
    found, run = runner.run(words)
    for population, wanted in spikes.items():
        level = compiled.program.population(population).level
        chip = run.spikes[population][level:]
        assert np.array_equal(chip, wanted[: len(chip)]), population
    assert found == pytest.approx(logits, abs=1e-5)
    assert sum(s.any() for s in spikes.values()) > len(spikes) / 2
    assert (runner.overflows, runner.readout_resets) == (0, 0)


@each
def test_on_the_chip_every_gate_is_what_the_spikes_that_reach_it_say(name: str) -> None:
    """Where the weights into its sources are rounded too."""
    model = made(name)
    network, compiled = model.spiking, compile_model(model, "loihi2")
    words = example_words(model, 12)
    runner = ChipRunner(compiled.program)
    runner.reset(words.shape[1])
    spikes = runner.run(words)[1].spikes
    for p in network.populations.values():
        into = [s for s in network.synapses if s.target == p.name]
        if p.kind != "lif" or p.tau != 1.0 or any(s.wires is None for s in into):
            continue
        level = compiled.program.population(p.name).level
        total = np.zeros(spikes[p.name].shape)
        for s in into:
            delay = s.delay + level - compiled.program.population(s.source).level
            late = np.concatenate([np.zeros_like(spikes[s.source][:delay]), spikes[s.source]])[: len(total)]
            assert s.wires is not None
            wires = np.asarray(s.wires)
            total += late @ wires.T if wires.ndim else late * wires
        assert np.array_equal(spikes[p.name], total > p.v_threshold), p.name
        assert not [risk for risk in compiled.risks if f"'{p.name}'" in risk]


@pytest.mark.parametrize(
    "name",
    # Lava's processes wait busily for each other, and a delay of 63 ticks costs it a second a tick for so many neurons.
    [pytest.param(name, marks=[] if name == "by hand" else pytest.mark.nightly) for name in NETWORKS if name != LONG],
)
def test_lava_agrees_in_every_spike_u_and_v(name: str, python: Path) -> None:
    model = made(name)
    program = compile_model(model, "loihi2").program
    rows, _ = lava_runner.verify(
        program, Presentation.read(program.metadata).spikes(example_words(model, 9, batch=1)), python
    )
    assert all(row.exact for row in rows), [row for row in rows if not row.exact]
    assert {row.population for row in rows} == {p.name for p in program.populations if p.kind != "input"}
    assert sum(row.spikes > 0 for row in rows) >= len(rows) / 2, rows  # a readout never spikes
