"""A profile's figures are those of the runs that other commands make, and of the spikes themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nir
import numpy as np
import pytest

import chip_limits
import chip_programs
import small_nir
from muspike import architectures, corpora
from muspike.bench import profile as module
from muspike.bench.profile import Profile, profile
from muspike.bench.rates import write_rates
from muspike.bench.workload import Workload, workload_of
from muspike.checkpoint import Model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.size import size_of
from muspike.export.subject import Subject
from muspike.hardware.chip import load_chip
from muspike.hardware.cost import activity, energy
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.program import ChipSynapses
from muspike.hardware.running.simulate import simulate, simulation_dict
from muspike.hardware.running.spikes import InputSpikes
from noise_corpus import noise_corpus
from small_model import small_model

SPIKES = (np.random.default_rng(0).random((30, 4, 5)) < 0.3).astype(np.uint8)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus((128, 140, 150), train=0, validation=0, name="jsb")


@pytest.fixture(scope="module")
def of_music(corpus: Corpus) -> Profile:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "load", lambda name: corpus)
        subject = Subject.of(small_model("jsb"))
        return profile(subject, workload_of(subject, pieces=2))


def graph() -> nir.NIRGraph:
    """5 inputs, layers of 6 and 3, where one neuron of the first never fires; a readout of 2 behind."""
    rng = np.random.default_rng(1)
    first = rng.normal(0.3, 0.4, (6, 5))
    first[2] = -1
    nodes = {
        "input": 5,
        "w1": nir.Linear(first),
        "a": small_nir.lif(6),
        "w2": nir.Linear(rng.normal(0.3, 0.4, (3, 6))),
        "b": small_nir.lif(3),
        "w3": nir.Linear(rng.normal(0, 0.4, (2, 3))),
        "out": small_nir.li(2),
        "output": 2,
    }
    return small_nir.graph(nodes, small_nir.chain("input", "w1", "a", "w2", "b", "w3", "out", "output"))


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject.of(graph())


@pytest.fixture(scope="module")
def workload(subject: Subject) -> Workload:
    return workload_of(subject, InputSpikes(30, 4, {"input": SPIKES}))


@pytest.fixture(scope="module")
def of_spikes(subject: Subject, workload: Workload) -> Profile:
    return profile(subject, workload, "loihi1")


def test_music_costs_what_the_report_says(of_music: Profile) -> None:
    program = compile_model(small_model("jsb"), "loihi1").program
    words = of_music.workload.words
    assert words is not None
    runner = ChipRunner(program)
    runner.reset(2)
    _, run = runner.run(words, record_membranes=True)
    counts = activity.count(program, run.spikes, currents=run.current, membranes=run.membrane)
    reads = 2 * 128 * program.readouts[0].size
    expected = energy.price_all(counts, load_chip("loihi1"), reads=reads)
    assert [e.costs for e in of_music.energies] == [e.costs for e in expected]
    for found, other in zip(of_music.energies, expected, strict=True):
        assert found.total.value == pytest.approx(other.total.value, rel=1e-12)
        assert [(row.name, row.count, row.status) for row in found.rows] == [
            (row.name, row.count, row.status) for row in other.rows
        ]
    assert of_music.program.digest == program.digest
    told = of_music.to_dict()
    notes = of_music.workload.shares
    assert told["energy"][0]["energy_uj_per_note"]["total"]["value"] == pytest.approx(
        expected[0].total.to("uJ").value / notes
    )
    assert told["events_on_chip_per_note"]["synaptic_operations"] == counts.synops.sum() / notes
    assert told["workload"] == {
        "what": "the first 128 words of 2 test pieces of jsb",
        "per": "note",
        "shares_in_run": notes,
        "sequences": 2,
        "ticks_of_sequence": run.spikes["layer1"].shape[0],
        "words_in_run": 256,
    }


def test_the_last_word_is_answered_too(of_music: Profile) -> None:
    """A deep population answers after the words' last tick; the chip's counts end there, and its neurons do not."""
    program, words = of_music.program, of_music.workload.words
    assert words is not None
    deepest = max(p.level for p in program.populations)
    layer = next(of for of in of_music.firings if of.name == "layer1")
    level = program.population("layer1").level
    assert 0 < level < deepest
    runner = ChipRunner(program)
    runner.reset(2)
    _, run = runner.run(words)
    fired = np.concatenate([run.spikes["layer1"], runner.silence(deepest).spikes["layer1"]])
    assert layer.of_tick.tolist() == fired[level : level + layer.ticks].sum((1, 2)).tolist()
    period = of_music.workload.period
    assert period is not None and len(layer.rate_of_tick) == period and len(layer.rate_of_period) == 128


def test_spikes_cost_what_simulate_says(of_spikes: Profile, subject: Subject) -> None:
    run = simulate(compile_graph(subject.graph, "loihi1"), {"input": SPIKES}, record_membranes=True)
    assert [e.total for e in of_spikes.energies] == [e.total for e in run.energies]
    told, other = of_spikes.to_dict(), simulation_dict(run)
    rates = {p["name"]: p["spikes_per_neuron_and_tick"] for p in other["populations"] if p["kind"] != "li"}
    assert {p["name"]: p["spikes_per_neuron_and_tick"] for p in told["populations"]} == pytest.approx(rates)
    assert told["energy"][0]["energy_uj_per_sample"] == other["energy"][0]["energy_uj_per_sequence"]
    for name, level in (("a", 1), ("b", 2), ("out", 3)):
        assert of_spikes.program.population(name).level == level
        v = run.run.membrane[name][level : level + 30]
        assert of_spikes.membrane_updates[name] == (v[1:] != v[:-1]).sum() + v[0].size


def test_the_neuron_that_cannot_fire_is_dead(of_spikes: Profile) -> None:
    told = of_spikes.to_dict()
    dead = {p["name"]: p["dead_neurons"] for p in told["populations"]}
    assert dead["input"] == 0 and dead["a"] >= 1
    a = next(of for of in of_spikes.firings if of.name == "a")
    assert a.dead[2] and told["dead_neurons"] == dead["a"] + dead["b"]
    histogram = next(p for p in told["populations"] if p["name"] == "a")["neurons_by_spikes_per_presented_tick"]
    assert sum(histogram["neurons"]) == 6 and len(histogram["edges"]) == len(histogram["neurons"]) + 1


def test_the_sparsity_of_the_network_is_that_of_its_own_neurons(of_spikes: Profile) -> None:
    spikes = sum(of.spikes for of in of_spikes.firings if of.name in "ab")
    assert of_spikes.activation_sparsity == pytest.approx(1 - spikes / (30 * 4 * 9))
    own = [replace(of, relay=True) if of.name == "b" else of for of in of_spikes.firings]
    relayed = replace(of_spikes, firings=tuple(own))
    assert relayed.activation_sparsity == next(of for of in of_spikes.firings if of.name == "a").sparsity
    assert relayed.to_dict()["populations"][2]["kind"] == "relay"


def test_a_program_has_the_same_profile_without_floats(of_spikes: Profile, workload: Workload) -> None:
    found = profile(Subject.of(of_spikes.program), workload)
    told, whole = found.to_dict(), of_spikes.to_dict()
    assert told["footprint"].pop("footprint_bytes") is None
    for name in ("footprint", "network"):
        del told[name], whole[name]
    assert told == whole


def test_the_size_of_each_kind_of_network(of_spikes: Profile) -> None:
    size = size_of(Subject.of(graph()))
    weights, constants = 6 * 5 + 3 * 6 + 2 * 3, 5 * (6 + 3) + 3 * 2  # of LIF: tau, r, v_leak, v_threshold, v_reset
    assert (size.parameters, size.footprint_bytes) == (weights, 4 * (weights + constants))
    model = small_model()
    arrays = [*model.network.parameters(), *model.network.buffers()]
    size = size_of(Subject.of(model))
    assert size.parameters == sum(p.numel() for p in model.network.parameters())
    assert size.footprint_bytes == sum(a.nbytes for a in arrays)
    assert size_of(Subject.of(of_spikes.program))[:2] == (weights, None)
    memory = of_spikes.to_dict()["footprint"]
    assert 0 < memory["synaptic_memory_bits"] < memory["synaptic_memory_bits_of_these_cores"]


def test_figures_say_what_they_are_per(of_music: Profile, of_spikes: Profile) -> None:
    json.dumps(of_music.to_dict(), allow_nan=False)
    for found, per, other in ((of_music, "note", "sample"), (of_spikes, "sample", "note")):
        names = json.dumps(found.to_dict())
        assert f"operations_per_{per}" in names and f"spikes_per_{per}" in names and f"_per_{other}" not in names
        tables = found.tables()
        assert len(tables) == 6 and all(len(row) == len(table.titles) for table in tables for row in table.rows)
        captions = [table.caption for table in tables]
        assert sum(f"per {per}" in caption for caption in captions) == 3
        assert energy.BOUNDARY in captions[4]
        assert [row[0] for row in tables[4].rows] == [e.costs for e in found.energies]
        assert found.opinions is not None and f"verdict: {found.opinions.verdict}" in captions[5]


def test_random_spikes_are_per_tick(subject: Subject) -> None:
    given = InputSpikes(30, 4, {"input": SPIKES})
    found = profile(subject, workload_of(subject, given, per="tick"))
    a = next(of for of in found.firings if of.name == "a")
    assert found.to_dict()["populations"][1]["spikes_per_tick"] == pytest.approx(a.spikes / 120)


def test_what_does_not_fit_has_no_energy_and_names_the_limit(subject: Subject, workload: Workload) -> None:
    with pytest.raises(BadInput, match=r"graph: does not fit mini: .*, mini holds .* on a core.*no energy"):
        profile(subject, workload, replace(chip_limits.chip(synaptic_memory_bits_per_core=10), name="mini"))


def test_a_program_goes_to_its_own_chip(of_spikes: Profile, workload: Workload) -> None:
    with pytest.raises(BadInput, match="program: is a program for loihi1, not for loihi2"):
        profile(Subject.of(of_spikes.program), workload, "loihi2")
    strange = replace(of_spikes.program, chip="unheard")
    with pytest.raises(BadInput, match="unheard"):
        profile(Subject.of(strange), workload)


def test_a_network_that_does_not_spike_has_no_profile(workload: Workload) -> None:
    settings = {"width": 8, "layers": 1}
    twin = Model("ann-rnn", settings, architectures.build("ann-rnn", settings), {"corpus": "jsb"})
    with pytest.raises(BadInput, match="does not spike"):
        profile(Subject.of(twin), workload)


def test_sums_that_overflow_are_said() -> None:
    """A neuron that hears more than 16 bits hold."""
    x = chip_programs.population("x", 200, "input")
    y = chip_programs.population("y", 1, level=1, v_threshold=2**17 - 1)
    weight = np.full((1, 200), 254, np.int16)
    program = chip_programs.program([x, y], [ChipSynapses("w", "x", "y", weight, 0, 1)])
    subject = Subject.of(program)
    ones = InputSpikes(3, 1, {"x": np.ones((3, 1, 200), np.uint8)})
    found = profile(subject, workload_of(subject, ones))
    assert any("16-bit accumulator" in line for line in found.warnings)


def test_music_on_a_chip_whose_ticks_wait_for_the_floor_of_a_step_is_warned_of(corpus: Corpus) -> None:
    """A chip like Loihi 2, whose floor is a microsecond, or a millisecond."""
    chip = load_chip("loihi2")
    costs = chip.cost_set()
    slow = replace(costs.latency["step_floor"], value=1e6, low=1e6, high=1e6)
    floored = replace(costs, latency={**costs.latency, "step_floor": slow})
    subject = Subject.of(small_model("jsb"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "load", lambda name: corpus)
        workload = workload_of(subject, pieces=1)
    for on, warned in ((chip, False), (replace(chip, costs={costs.name: floored}), True)):
        found = profile(subject, workload, on)
        assert (found.energies[0].bottleneck.resource == "step floor") is warned
        assert any(line.startswith("loihi2: at the floor of a step") for line in found.warnings) is warned


def test_the_picture_marks_the_dead_and_the_saturated(of_spikes: Profile, of_music: Profile, tmp_path: Path) -> None:
    for name, found, axis in (("a.svg", of_spikes, "tick of a sequence"), ("b.svg", of_music, "tick of a word")):
        write_rates(found, tmp_path / name)
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert axis in text and "dead" in text and "saturated" in text
        for of in found.firings:
            assert f"{of.name}: {of.size}" in text
    with pytest.raises(BadInput, match="a picture ends in"):
        write_rates(of_spikes, tmp_path / "a.gif")


def test_the_histogram_counts_each_neuron_once(of_spikes: Profile) -> None:
    for of in of_spikes.firings:
        counts, edges = module.rate_histogram(of)
        assert counts.sum() == of.size and len(edges) == module.BINS + 1
