"""Training on a chip's weight grid: what is trained with is what the compiled program holds, weight by weight."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from muspike import architectures
from muspike.checkpoint import Model, load_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import likelihood, lined_up
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.to_nir_file import to_nir
from muspike.export.training_grid import TrainingGrid
from muspike.hardware.chip import load_chip
from muspike.hardware.mapping.quantise import quantise
from muspike.hardware.program import SHIFT, Program
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.weights import dense
from muspike.network import Network
from muspike.processes import CPU
from muspike.training import Run, Settings, fine_tuning
from noise_corpus import noise_corpus

TINY = {
    **{name: (name, {}) for name in ("s-cnn", "s-rnn", "s-lstm", "s-gan", "s-transformer")},
    "windowed": ("s-transformer", {"attention": "windowed"}),
    # Two thresholds' worth of groups: neurons of unlike tau have scales of their own.
    "several tau": ("s-rnn", {"tau": [2.0, 3.0, 7.0], "v_threshold": 0.37}),
}
SETTINGS = Settings(steps=4, batch=2, tokens=16, learning_rate=0.02, warmup=1, validate_every=2)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus([24] * 4, train=2, validation=2)


def settings_of(name: str) -> tuple[str, dict[str, Any]]:
    architecture, changes = TINY[name]
    return architecture, architectures.preset(architecture, "tiny")["network"] | changes


def network_of(name: str) -> Network:
    torch.manual_seed(3)
    network = architectures.build(*settings_of(name))
    assert isinstance(network, Network)
    return network


def in_float(program: Program, network: Network, weight: npt.NDArray[Any], target: str) -> npt.NDArray[np.float64]:
    """Integer weights in units of the float ones."""
    (population,) = [p for p in program.populations if p.name == target]
    gain = 1 / np.broadcast_to(network.populations[target].tau, population.size)
    return np.asarray((weight.astype(np.float64) * 2**SHIFT) / (population.scale * gain)[:, None])


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@pytest.mark.parametrize("name", TINY)
def test_the_compiler_meets_the_rounded_weights_exactly(name: str, chip: str) -> None:
    network = network_of(name)
    drawn = {name: weight.detach().numpy().copy() for name, weight in network.weights.items()}
    rounded = TrainingGrid(chip).rounding(network)(dict(network.weights))
    assert set(rounded) == set(network.weights)
    with torch.no_grad():
        for of, weight in network.weights.items():
            weight.copy_(rounded[of])
    graph = from_nir(to_nir(network))
    integers, _ = quantise(graph, load_chip(chip))
    for synapses in integers.synapses:
        if synapses.name in rounded:
            (p,) = [p for p in integers.populations if p.name == synapses.target]
            factor = graph.population(p.name).gain * p.scale / 2**SHIFT
            found = (synapses.weight / factor[:, None]).astype(np.float32)
            np.testing.assert_allclose(found, rounded[synapses.name].detach().numpy(), rtol=2e-7, atol=0)
            assert (found != drawn[synapses.name]).mean() > 0.9


@pytest.mark.parametrize("name", TINY)
def test_a_trained_model_is_compiled_to_the_weights_that_it_was_trained_with(
    name: str, corpus: Corpus, tmp_path: Path
) -> None:
    """After training: every weight of the program is that of the model and of training; wires and thresholds too."""
    architecture, network_settings = settings_of(name)
    grid = TrainingGrid("loihi2")
    settings = dataclasses.replace(SETTINGS, validate_every=4)  # once, at the end: the last weights are the best
    run = Run(tmp_path / "run", architecture, network_settings, settings, corpus, grid=grid)
    model = run.train()
    network = model.spiking
    program = compile_model(model, "loihi2").program
    compiled = {s.name: s for s in program.synapses}
    assert isinstance(run.network, Network) and run.network.rounding is not None
    trained_with = run.network.rounding(dict(run.network.weights))
    for synapse in network.synapses:
        found = in_float(program, network, dense(compiled[synapse.name].weight), synapse.target)
        if synapse.wires is None:
            weight = network.weights[synapse.name].detach().numpy()
            # float32, and so is what was trained with.
            np.testing.assert_allclose(found, weight, rtol=2e-7, atol=0)
            np.testing.assert_array_equal(weight, trained_with[synapse.name].detach().numpy())
            assert not np.array_equal(weight, run.network.weights[synapse.name].detach().numpy())
        else:
            p = network.populations[synapse.target]
            wires = np.asarray(synapse.wires, np.float64)
            # Gates' wires are met exactly; what attention reads out, one spike of which is enough, to a grid step.
            tolerance = 1e-6 if p.tau == 1 else 0.005
            np.testing.assert_allclose(found, wires if wires.ndim else np.eye(p.size) * wires, rtol=tolerance, atol=0)
    for population in program.populations:
        if population.kind == "lif" and population.name in network.populations:
            p = network.populations[population.name]
            k = population.scale / 2**SHIFT
            np.testing.assert_allclose(population.v_threshold / k, p.v_threshold, rtol=1e-6)
            # Leaks are a whole number of 1/4096: exact for the tau of the presets, 2 and 4 and the 1 of gates.
            leak = 1 / np.broadcast_to(p.tau, p.size)
            np.testing.assert_allclose(
                population.dv / 4096, leak, rtol=0, atol=0.5 / 4096 if name == "several tau" else 0
            )


def test_the_float_network_of_a_quantised_model_is_that_of_the_chip(corpus: Corpus, tmp_path: Path) -> None:
    """Not so, where the weights were not trained on the grid: only then do logits differ by more than truncation."""
    architecture, network_settings = settings_of("s-rnn")
    words, _ = lined_up([corpus.pieces[0].words], [0], 24)

    def distance(grid: TrainingGrid | None, folder: str) -> float:
        model = Run(tmp_path / folder, architecture, network_settings, SETTINGS, corpus, grid=grid).train()
        runner = ChipRunner(compile_model(model, "loihi2").program)
        with torch.no_grad():
            logits, _ = model.network(words)
        return float(np.abs(runner.run(words.numpy())[0] - logits.numpy()).mean())

    assert distance(TrainingGrid("loihi2"), "on") < 0.5 * distance(None, "off")


def test_validation_is_of_the_rounded_weights(corpus: Corpus, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", *settings_of("s-rnn"), SETTINGS, corpus, grid=TrainingGrid("loihi2"))
    model = run.train()
    pieces = [piece.words for piece in corpus.split("validation")]
    kept = likelihood(lambda words: model.network(words)[0], pieces).bits_per_note
    assert model.training["validation_bits_per_note"] == pytest.approx(kept, rel=1e-6)
    (point,) = [p for p in model.training["history"] if p["step"] == model.training["step"]]
    assert point["validation"] == pytest.approx(kept, rel=1e-6)


def test_gradients_pass_as_if_nothing_were_rounded() -> None:
    network = network_of("s-rnn")
    rounding = TrainingGrid("loihi2").rounding(network)
    rounded = rounding(dict(network.weights))
    torch.stack([(w * w).sum() for w in rounded.values()]).sum().backward()  # type: ignore[no-untyped-call]
    for name, weight in network.weights.items():
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, 2 * rounded[name].detach(), rtol=0, atol=0)


def test_rounding_follows_every_change_of_the_weights_and_is_kept_between() -> None:
    network = network_of("s-rnn")
    rounding = TrainingGrid("loihi2").rounding(network)

    def now() -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {name: w.clone() for name, w in rounding(dict(network.weights)).items()}

    def fresh() -> dict[str, torch.Tensor]:
        return TrainingGrid("loihi2").rounding(network)(dict(network.weights))

    before = rounding(dict(network.weights))
    again = rounding(dict(network.weights))
    assert all(w.data_ptr() == again[name].data_ptr() for name, w in before.items())
    optimiser = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.zeros(3, 1, 7, dtype=torch.int16))[0].sum().backward()
    optimiser.step()
    changed = [name for name, w in now().items() if not torch.equal(w, before[name])]
    assert "layer1_to_readout" in changed
    for name, weight in fresh().items():
        assert torch.equal(now()[name], weight)
    state = {name: 2 * w for name, w in network.state_dict().items()}
    network.load_state_dict(state)
    for name, weight in fresh().items():
        assert torch.equal(now()[name], weight)


def test_tick_by_tick_is_the_same_network(corpus: Corpus) -> None:
    network = network_of("s-lstm").eval()
    network.rounding = TrainingGrid("loihi2").rounding(network)
    words, _ = lined_up([corpus.pieces[0].words], [0], 12)
    with torch.no_grad():
        at_once, _ = network(words)
        network.rounding = None
        unrounded, _ = network(words)
        network.rounding = TrainingGrid("loihi2").rounding(network)
    runner = network.runner()
    one_by_one = np.stack([runner.step(word) for word in words.numpy()])
    np.testing.assert_allclose(one_by_one, at_once.numpy(), rtol=0, atol=1e-5)
    assert np.abs(at_once.numpy() - unrounded.numpy()).max() > 1e-3


def test_the_chip_is_part_of_the_run_and_of_the_model(corpus: Corpus, tmp_path: Path) -> None:
    def run(chip: str | None, **changes: Any) -> Run:
        settings = dataclasses.replace(SETTINGS, **changes)
        grid = TrainingGrid(chip) if chip else None
        return Run(tmp_path / "run", *settings_of("s-rnn"), settings, corpus, grid=grid)

    first = run("loihi2", steps=2)
    assert first.train().training["quantise"] == "loihi2"
    written = json.loads((first.model_folder / "model.json").read_text(encoding="utf-8"))
    assert written["training"]["quantise"] == "loihi2"
    for other in ("loihi1", None):
        with pytest.raises(BadInput, match=f"quantise loihi2, the recipe has {other}"):
            run(other)
    # What goes on is the unrounded state: the same as in one go.
    whole = Run(tmp_path / "whole", *settings_of("s-rnn"), SETTINGS, corpus, grid=TrainingGrid("loihi2"))
    whole.train()
    taken_up = run("loihi2")
    assert taken_up.progress.step == 2
    taken_up.train()
    for name, weight in whole.network.state_dict().items():
        assert torch.equal(taken_up.network.state_dict()[name], weight)


def test_starts_from_a_trained_model(corpus: Corpus, tmp_path: Path) -> None:
    trained: Model = Run(tmp_path / "run", *settings_of("s-rnn"), SETTINGS, corpus).train()
    tuning = fine_tuning(dataclasses.replace(SETTINGS, steps=40))
    assert (tuning.steps, tuning.learning_rate, tuning.schedule) == (4, SETTINGS.learning_rate / 10, "cosine")
    run = Run(
        tmp_path / "tuned", *settings_of("s-rnn"), tuning, corpus, device=CPU, initial=trained,
        grid=TrainingGrid("loihi2"),
    )  # fmt: skip
    for name, weight in trained.network.state_dict().items():
        assert torch.equal(run.network.state_dict()[name], weight)
    run.train()
    assert load_model(tmp_path / "tuned").training["initial"] == run.identity["initial"] is not None


def test_what_does_not_spike_has_no_grid(corpus: Corpus, tmp_path: Path) -> None:
    network = architectures.preset("ann-rnn", "tiny")["network"]
    with pytest.raises(BadInput, match="ann-rnn does not spike"):
        Run(tmp_path / "run", "ann-rnn", network, SETTINGS, corpus, grid=TrainingGrid("loihi2"))
    assert not (tmp_path / "run").exists()
