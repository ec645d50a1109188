"""The suite on a small model and a made-up corpus: its figures are those that one computes by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch

import small_nir
from muspike import architectures, corpora, metrics, tokens
from muspike.bench import reading, report, suite
from muspike.bench.reading import Reading, parts
from muspike.bench.workload import read_after_pad
from muspike.checkpoint import Model, load_model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import lined_up
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.to_nir_file import to_nir
from muspike.generation import generate
from muspike.hardware.chip import Chip, known_chips, load_chip
from muspike.hardware.cost import activity, energy
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.page import number
from muspike.network import Network
from noise_corpus import noise_corpus
from small_model import small_model


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus((60, 128, 140, 150), train=0, validation=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "small"
    save_model(small_model(), folder)
    return folder


@pytest.fixture(scope="module")
def composed() -> list[Any]:
    """The runner of every composition of the suite, and the pieces that came of it."""
    return []


@pytest.fixture(scope="module")
def results(
    corpus: Corpus, folder: Path, composed: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], Path]:
    def listening(runner: Any, *arguments: Any, **options: Any) -> Any:
        pieces = generate(runner, *arguments, **options)
        composed.append((runner, pieces))
        return pieces

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpora, "load", lambda name: corpus)
        patch.setattr(suite, "generate", listening)
        output = tmp_path_factory.mktemp("output") / "report"
        found, page = suite.bench([str(folder)], output, quick=True, with_lava=False, seeds=[5])
    assert page == output / "report.html"
    return found, output


@pytest.fixture
def entry(results: tuple[dict[str, Any], Path]) -> dict[str, Any]:
    found: dict[str, Any] = results[0]["architectures"]["s-rnn"]
    return found


def test_both_files_hold_the_results(results: tuple[dict[str, Any], Path]) -> None:
    found, output = results
    report.check(found)
    assert sorted(path.name for path in output.iterdir()) == ["bench.json", "parts", "report.html"]
    assert json.loads((output / "bench.json").read_text(encoding="utf-8")) == found
    page = (output / "report.html").read_text(encoding="utf-8")
    nll = found["architectures"]["s-rnn"]["quality"]["nll_bits_per_note"]
    assert number(nll["torch"], 4) in page and "not compared" in page
    assert found["settings"]["seed"] == 5 and found["settings"]["lava_words"] == 0


def test_without_lava_nothing_is_claimed_of_it(entry: dict[str, Any]) -> None:
    assert entry["agreement"]["lava_fixed_spikes"] is None and entry["agreement"]["lava_fixed_differences"] is None


def bits_per_note(logits: np.ndarray, wanted: np.ndarray) -> tuple[float, int]:
    """Summed over every feature that is predicted, word by word, in float64."""
    bits, notes = 0.0, 0
    for row, target in zip(logits.astype(np.float64), wanted, strict=True):
        kind = target[tokens.BAR_BEAT]
        notes += int(kind == tokens.BarBeat.NOTE)
        for f, (start, size) in enumerate(zip(tokens.OFFSETS, tokens.SIZES, strict=True)):
            if tokens.PREDICTED[kind, f]:
                part = row[start : start + size]
                bits += (np.log(np.exp(part - part.max()).sum()) + part.max() - part[target[f]]) / np.log(2)
    return bits, notes


def test_likelihoods_are_of_whole_pieces_on_torch_and_on_each_chip(
    entry: dict[str, Any], corpus: Corpus, folder: Path
) -> None:
    model = load_model(folder)
    runners = {chip: ChipRunner(compile_model(model, chip).program) for chip in known_chips()}
    bits = dict.fromkeys(("torch", *runners), 0.0)
    notes = 0
    for piece in corpus.split("test"):
        words, wanted = lined_up([piece.words], [0], len(piece.words))
        with torch.no_grad():
            logits = {"torch": model.network(words)[0].numpy()[:, 0]}
        for chip, runner in runners.items():
            runner.reset(1)
            logits[chip] = np.stack([runner.step(word)[0] for word in words.numpy()])
        for name, values in logits.items():
            more, count = bits_per_note(values, wanted.numpy()[:, 0])
            bits[name] += more
        notes += count
    nll = entry["quality"]["nll_bits_per_note"]
    assert nll["torch"] == pytest.approx(bits["torch"] / notes, rel=1e-5)
    for chip in runners:
        assert nll["chip"][chip] == pytest.approx(bits[chip] / notes, rel=1e-5)
    change = entry["agreement"]["float_integer"]["nll_change_percent"]
    assert change == pytest.approx(100 * (bits["loihi1"] / bits["torch"] - 1), abs=1e-3)


def test_a_chip_without_the_means_for_a_network_is_a_misfit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A register or relay that a chip lacks is refused by the compiler, whatever must fit; the others go on."""

    def refused(model: Model, chip: Chip, must_fit: bool = True) -> Compiled:
        if chip.name == "loihi1":
            raise BadInput("layer1: takes 2304 relay neurons, more than the chip has")
        return compile_model(model, chip, must_fit)

    monkeypatch.setattr(suite, "compile_model", refused)
    compiled, misfits = suite._on_chips(load_model(folder), [load_chip(name) for name in known_chips()])
    assert set(compiled) == set(known_chips()) - {"loihi1"}
    assert misfits == {"loihi1": "layer1: takes 2304 relay neurons, more than the chip has"}


def test_energy_and_activity_are_of_reading_the_excerpts(entry: dict[str, Any], corpus: Corpus, folder: Path) -> None:
    """The three pieces that are long enough, one after another on the chip, PAD in front and the last word left out."""
    excerpts = [piece.words[:128] for piece in corpus.split("test") if len(piece.words) >= 128]
    assert len(excerpts) == 3
    notes = sum(int((words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum()) for words in excerpts)
    for chip in known_chips():
        program = compile_model(load_model(folder), chip).program
        total = latency = spikes = 0.0
        for words in excerpts:
            runner = ChipRunner(program)
            _, run = runner.run(
                np.concatenate([np.zeros((1, 7), np.int16), words[:-1]])[:, None], record_membranes=True
            )
            counts = activity.count(program, run.spikes, currents=run.current, membranes=run.membrane)
            price = energy.price(counts, load_chip(chip))
            total += price.total.value
            latency += price.latency.value
            spikes += int(run.spikes["layer1"].sum())
        found = entry["chip"][chip]
        assert found["energy_uj_per_note"]["total"]["value"] == pytest.approx(total / notes * 1e-6)
        assert found["latency_ms_per_note"]["value"] == pytest.approx(latency / notes * 1e-6)
        if chip == entry["activity"]["chip"]:
            assert entry["activity"]["spikes_per_note"] == pytest.approx(spikes / notes)
        assert found["fits"] is True and found["energy_uj_per_note"]["total"]["tag"] == price.total.tag
        assert price.total.tag in ("inferred", "fitted", "assumed")
        parts = [row["energy_uj_per_note"]["value"] for row in found["components"] if row["energy_uj_per_note"]]
        assert sum(parts) == pytest.approx(found["energy_uj_per_note"]["total"]["value"])


def test_what_was_read_is_said(entry: dict[str, Any], corpus: Corpus) -> None:
    reading = entry["reading"]
    assert reading["notes"] == entry["activity"]["notes"] > 0
    assert reading == {"pieces": 3, "words": 3 * 128, "notes": reading["notes"], "of_words": 60 + 128 + 140 + 150}


def test_other_prices_other_mappings_and_waiting_stand_beside_the_total(
    entry: dict[str, Any], corpus: Corpus, folder: Path
) -> None:
    words = np.stack([piece.words[:128] for piece in corpus.split("test") if len(piece.words) >= 128], axis=1)
    notes = int((words[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())
    given = np.concatenate([np.zeros_like(words[:1]), words[:-1]])
    network = to_nir(load_model(folder).spiking)
    for name in known_chips():
        chip, found = load_chip(name), entry["chip"][name]

        def priced(fill: float, chip: Chip = chip) -> tuple[int, tuple[energy.Energy, ...]]:
            program = compile_graph(network, chip, fill=fill).program
            runner = ChipRunner(program)
            runner.reset(given.shape[1])
            _, run = runner.run(given, record_membranes=True)
            counts = activity.count(program, run.spikes, currents=run.current, membranes=run.membrane)
            return program.n_cores, energy.price_all(counts, chip)

        assert found["fill"] == 1
        cores_at = {fill: compile_graph(network, chip, fill=fill).program.n_cores for fill in (1, 1 / 2, 1 / 4, 1 / 8)}
        # The least spread mapping of each number of cores.
        assert len(found["mappings"]) == len(set(cores_at.values())) > 1
        assert {of["cores"]: of["fill"] for of in found["mappings"]} == {
            cores: max(fill for fill, n in cores_at.items() if n == cores) for cores in cores_at.values()
        }
        for of in found["mappings"]:
            cores, (default, *others) = priced(of["fill"])
            assert of["cores"] == cores
            assert of["energy_uj_per_note"]["value"] == pytest.approx(default.total.to("uJ").value / notes)
            assert of["latency_ms_per_note"]["value"] == pytest.approx(default.latency.to("ms").value / notes)
            if of["fill"] == 1:
                assert [o["costs"] for o in found["other_costs"]] == [o.costs for o in others]
                for told, other in zip(found["other_costs"], others, strict=True):
                    assert told["energy_uj_per_note"]["value"] == pytest.approx(other.total.to("uJ").value / notes)
                    assert told["latency_ms_per_note"]["value"] == pytest.approx(other.latency.to("ms").value / notes)
        first = found["mappings"][0]
        assert (first["fill"], first["cores"]) == (found["fill"], found["cores"])
        assert first["energy_uj_per_note"] == found["energy_uj_per_note"]["total"]
        assert first["latency_ms_per_note"] == found["latency_ms_per_note"]
        waiting, power = found["static_uj_per_ms_of_waiting"], chip.static_power  # mW are uJ per ms, of one chip here
        assert found["chips"] == 1 and waiting["unit"] == "uJ" and waiting["tag"] == power.tag
        assert [waiting[end] for end in ("value", "low", "high")] == [power.value, power.low, power.high]


def test_metrics_are_of_pieces_composed_by_the_chip_and_of_the_excerpts(
    entry: dict[str, Any], composed: list[Any], corpus: Corpus, folder: Path
) -> None:
    ((runner, pieces),) = composed
    assert runner.program.digest == compile_model(load_model(folder), "loihi1").program.digest
    assert [len(words) for words in pieces] == [128] * 16
    excerpts = [piece.words[:128] for piece in corpus.split("test") if len(piece.words) >= 128]
    assert set(entry["quality"]["metrics"]) == set(metrics.METRICS)
    for name in ("note_count", "pitch_count", "empty_beat_rate"):
        row = entry["quality"]["metrics"][name]
        for words, of in ((pieces, "generated"), (excerpts, "reference")):
            values = [metrics.evaluate(tokens.decode(w), [name])[name] for w in words]
            assert row[of]["mean"] == pytest.approx(np.mean(values)) and row[of]["std"] == pytest.approx(np.std(values))


def test_agreement_of_integer_and_float_spikes(entry: dict[str, Any]) -> None:
    agreement = entry["agreement"]["float_integer"]
    assert 0.5 < agreement["spike_agreement"] < 1 and abs(agreement["rate_change"]) < 0.2


@pytest.mark.parametrize("name", ["s-lstm", "s-gan"])
def test_torch_and_chip_hear_the_same_noise_and_no_population_is_left_out(name: str, corpus: Corpus) -> None:
    """On the chip's grid and with membranes that forget at once, all that could differ is what the two are given."""
    torch.manual_seed(3)
    drawn = architectures.build(name, architectures.preset(name, "tiny")["network"])
    assert isinstance(drawn, Network) and (drawn.composites or drawn.noise.draws)
    populations = [dataclasses.replace(p, tau=1.0) for p in drawn.populations.values()]
    exact = Network(populations, drawn.synapses, drawn.timing, drawn.composites, drawn.noise)
    with torch.no_grad():
        for synapse, weight in drawn.weights.items():
            exact.weights[synapse].copy_((weight * 32).round().clamp(-32, 32) / 32)
    model = Model(name, {}, exact.eval(), {})
    compiled = compile_model(model, "loihi1")
    runner = ChipRunner(compiled.program)
    pieces = [piece.words[:40] for piece in corpus.split("test")]
    nll, intervals = suite.likelihoods(model, {"loihi1": runner}, pieces)
    assert intervals["torch"][0] <= nll["torch"] <= intervals["torch"][1]
    assert nll["chip"]["loihi1"] == pytest.approx(nll["torch"], rel=1e-6)
    given = exact.noise.behind(read_after_pad(np.stack(pieces, axis=1)), seed=1)
    read = Reading(runner, [compiled.program], given, compiled.chip)
    agreement = suite._float_integer(model, compiled, read.spikes, given)
    assert agreement == {"spike_agreement": 1.0, "rate_change": 0.0}
    gates = [p for p in read.spikes if p != "input"]
    assert gates and all(read.spikes[p].any() for p in gates)
    # A spike that is not the network's is counted, in whatever population.
    for p in gates:
        wrong = {**read.spikes, p: 1 - read.spikes[p]}
        lower = suite._float_integer(model, compiled, wrong, given)["spike_agreement"]
        assert lower is not None and lower < 1


def test_sequences_are_read_in_parts_of_bounded_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PART_BYTES", 100)
    assert [(part.start, part.stop) for part in parts(5, 40)] == [(0, 2), (2, 4), (4, 6)]
    assert len(list(parts(5, 1000))) == 5


def test_what_cannot_be_measured_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suite, "shipped_models", lambda corpus=None: {})
    with pytest.raises(BadInput, match="muspike comes without models"):
        suite.bench([], tmp_path / "report", with_lava=False)
    assert not (tmp_path / "report").exists()
    monkeypatch.undo()
    monkeypatch.setattr(corpora, "load", lambda name: noise_corpus((60, 127), train=0, validation=0))
    with pytest.raises(BadInput, match="no piece of its test split has 128 compound words"):
        suite.bench([str(folder)], tmp_path / "report", with_lava=False)


def test_the_raster_begins_when_the_deepest_population_hears_words_and_has_no_relays() -> None:
    """A delay of 130 ticks goes through two relays on Loihi 1."""
    nodes = {
        "input": 2,
        "late": nir.Delay(np.full(2, 0.13)),
        "w": nir.Linear(np.eye(2)),
        "deep": small_nir.lif(2, v_threshold=0.1),
        "w2": nir.Linear(np.eye(2)),
        "out": small_nir.lif(2, v_threshold=0.1),
        "output": 2,
    }
    graph = from_nir(small_nir.graph(nodes, small_nir.chain(*nodes)))
    program = compile_graph(graph, "loihi1").program
    relay, _ = program.roles.relays
    spikes = {p.name: np.full((60, 3, p.size), p.level, np.uint8) for p in program.populations}
    drawn = suite._drawn_spikes(program, spikes, period=2)
    assert set(drawn["spikes"]) == {"input", "deep", "out"} and relay in drawn["relays"]
    assert drawn["relays"][relay] == program.population(relay).size
    assert drawn["spikes"]["out"].shape == (60, 2)  # of one sequence
    level = max(program.population(name).level for name in drawn["spikes"])
    assert level > 0 and (drawn["first_token"] - 1) * 2 < level <= drawn["first_token"] * 2


def test_a_stopped_report_goes_on_and_measures_nothing_twice(
    folder: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    measured: list[tuple[str, int]] = []
    measure = suite.measure

    def stops(job: suite.Job) -> Any:
        if len(measured) == 1:
            raise KeyboardInterrupt
        measured.append((job.name, job.seed))
        return measure(job)

    monkeypatch.setattr(suite, "measure", stops)
    asked: dict[str, Any] = {"quick": True, "with_lava": False, "chips": ["loihi1"], "seeds": [0, 1]}
    with pytest.raises(KeyboardInterrupt):
        suite.bench([str(folder)], tmp_path, **asked)
    assert not (tmp_path / "report.html").exists() and len(list((tmp_path / "parts").iterdir())) == 1

    def counts(job: suite.Job) -> Any:
        measured.append((job.name, job.seed))
        return measure(job)

    monkeypatch.setattr(suite, "measure", counts)
    first, _ = suite.bench([str(folder)], tmp_path, **asked, resume=True)
    assert measured == [("s-rnn", 0), ("s-rnn", 1)]
    again, _ = suite.bench([str(folder)], tmp_path, **asked, resume=True)
    assert again == first and len(measured) == 2
    # Another setting is another part; without resume, everything is measured again.
    suite.bench([str(folder)], tmp_path, **{**asked, "chips": ["loihi2"], "seeds": [0]}, resume=True)
    suite.bench([str(folder)], tmp_path, **{**asked, "seeds": [0]})
    assert len(measured) == 4
    told = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    (group,) = told["groups"]
    assert [run["seed"] for run in group["runs"]] == [0, 1]
    bits = group["figures"]["bits per note, loihi1"]
    on_chip = first["architectures"]["s-rnn"]["quality"]["nll_bits_per_note"]["chip"]["loihi1"]
    assert bits["std"] == 0 and bits["mean"] == pytest.approx(on_chip)
    assert (tmp_path / "sweep.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_a_damaged_part_is_named(folder: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    asked: dict[str, Any] = {"quick": True, "with_lava": False, "chips": ["loihi1"]}
    suite.bench([str(folder)], tmp_path, **asked)
    (part,) = (tmp_path / "parts").iterdir()
    part.write_bytes(part.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"parts/s-rnn-seed-0-[0-9a-f]{16}\.npz: damaged, or no part of a report"):
        suite.bench([str(folder)], tmp_path, **asked, resume=True)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"seeds": []}, "bench: seeds are none; expected each once"),
        ({"seeds": [1, 1]}, "bench: seeds are 1, 1; expected each once"),
        ({"cluster": "127.0.0.1:1"}, "--cluster 127.0.0.1:1: "),
    ],
)
def test_seeds_and_clusters_that_cannot_be_are_refused(
    folder: Path, tmp_path: Path, asked: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        suite.bench([str(folder)], tmp_path, quick=True, with_lava=False, **asked)
