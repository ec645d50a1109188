"""Pruning: the weights that matter least become 0 on the schedule and stay 0; a killed run goes on to the same ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from muspike import architectures, pruning
from muspike.checkpoint import Model, load_model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import firing_rate, lined_up
from muspike.host import Timing
from muspike.network import Network, Population, Synapse
from muspike.tokens import N_AXONS
from muspike.training import draw_batch
from noise_corpus import noise_corpus
from small_model import small_model

SETTINGS = pruning.Settings(
    steps=12, batch=3, tokens=24, warmup=2, validate_every=4, dropout=0.1, sparsity=0.8, prune_every=3,
    pruning_share=0.6, learning_rate=0.01, schedule="cosine",
)  # fmt: skip


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus([40] * 10, train=6, validation=2)


def weights(run: pruning.Run) -> dict[str, torch.Tensor]:
    assert isinstance(run.network, Network)
    return {name: w.detach().clone() for name, w in run.network.weights.items()}


def test_the_schedule_by_hand() -> None:
    assert [pruning.scheduled(0.0, 0.8, done) for done in (0, 0.5, 1, 2)] == pytest.approx([0, 0.7, 0.8, 0.8])
    assert pruning.scheduled(0.5, 0.9, 0.25) == pytest.approx(0.9 - 0.4 * 27 / 64)


def test_a_weight_counts_in_relation_to_what_its_target_hears() -> None:
    populations = [
        Population("input", N_AXONS, "input"),
        Population("h", 2),
        Population("o", N_AXONS, "li"),
    ]
    network = Network(populations, [Synapse("input", "h"), Synapse("h", "h", 1), Synapse("h", "o")], Timing(1, 2))
    with torch.no_grad():
        network.weights["input_to_h"][:, :2] = torch.tensor([[3.0, 4.0], [30.0, -40.0]])
        network.weights["h_to_h_after_1"][0, 1] = 5.0
        network.weights["h_to_o"][7, 0] = 1e-3
    found = pruning.scores(network, {"input": 0.5, "h": 0.04})
    # Neuron 0 hears 0.5 (9 + 16) + 0.04 x 25 = 13.5 of variance, neuron 1 ten times the weights from the input alone.
    assert found["input_to_h"][0, :3].tolist() == pytest.approx([3 / 13.5**0.5, 4 / 13.5**0.5, 0])
    assert found["h_to_h_after_1"][0].tolist() == pytest.approx([0, 5 / 13.5**0.5])
    assert found["input_to_h"][1, :2].tolist() == pytest.approx([30 / 1250**0.5, 40 / 1250**0.5])
    assert found["h_to_o"][7].tolist() == pytest.approx([1 / 0.04**0.5, 0])
    assert pruning.sparsity(network) == pytest.approx(1 - 6 / (2 * N_AXONS + 4 + 2 * N_AXONS))


def test_rates_are_those_of_every_tick(corpus: Corpus) -> None:
    network, pieces = small_model().spiking, [piece.words for piece in corpus.pieces[:3]]
    words, _ = lined_up(pieces, [0, 0, 0], 40)
    rates = pruning.population_rates(network, words)
    assert set(rates) == {"input", "layer1"}
    assert rates["layer1"] == pytest.approx(firing_rate(network, pieces), rel=0.05)
    spikes = 0
    state = network.at_rest(3)
    for word in words:
        states = list(network.period(word, state))
        spikes += sum(int(network.firing(one, "input").sum()) for one in states)
        state = states[-1]
    ticks = len(words) * 3 * network.timing.period
    assert rates["input"] == pytest.approx(spikes / (ticks * network.populations["input"].size))


def test_zeros_grow_as_scheduled_and_stay(tmp_path: Path, corpus: Corpus) -> None:
    run = pruning.Run(tmp_path, small_model(), SETTINGS, corpus)
    found, zeros = [], {name: w == 0 for name, w in weights(run).items()}

    def look(*_: object) -> None:
        nonlocal zeros
        now = weights(run)
        assert all((now[name][was] == 0).all() for name, was in zeros.items())
        zeros = {name: w == 0 for name, w in now.items()}
        assert isinstance(run.network, Network)
        found.append(pruning.sparsity(run.network))

    first = weights(run)
    model = run.train(look)
    # 0.6 x 12 is 7 steps: weights are chosen before the third, the sixth and the seventh.
    wanted = [0, 0, *[pruning.scheduled(0, 0.8, 3 / 7)] * 3, pruning.scheduled(0, 0.8, 6 / 7), *[0.8] * 6]
    assert found == pytest.approx(wanted, abs=1e-3)
    kept = ~zeros["input_to_layer1"]
    assert (
        first["input_to_layer1"][kept] != weights(run)["input_to_layer1"][kept]
    ).float().mean() > 0.5  # axons that no word of the corpus uses do not learn
    assert pruning.sparsity(model.spiking) == pytest.approx(0.8, abs=1e-3)
    assert model.training["pruned"]["sparsity"] == pruning.sparsity(model.spiking)
    assert model.training["settings"]["sparsity"] == 0.8 and model.training["step"] > 7
    assert [point["sparsity"] for point in model.training["history"]] == [found[3], found[7], found[11]][
        : len(model.training["history"])
    ]


def test_the_least_important_weights_go_first(tmp_path: Path, corpus: Corpus) -> None:
    begun = small_model()
    run = pruning.Run(tmp_path, begun, dataclasses.replace(SETTINGS, steps=1, learning_rate=1e-9), corpus)
    pieces = [piece.words for piece in corpus.split("train")]
    words, *_ = draw_batch(pieces, run.settings, 0)
    scores = pruning.scores(begun.spiking, pruning.population_rates(begun.spiking, words))
    run.train()
    kept = {name: w != 0 for name, w in weights(run).items()}
    least = min(float(scores[name][k].min()) for name, k in kept.items() if k.any())
    most = max(float(scores[name][~k].max()) for name, k in kept.items() if not k.all())
    assert most < least


@pytest.mark.parametrize("when", [3, 6, 10])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, corpus: Corpus, when: int) -> None:
    whole = pruning.Run(tmp_path / "whole", small_model(), SETTINGS, corpus)
    best = whole.train()

    def kill(step: int, *_: object) -> None:
        if step == when:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pruning.Run(tmp_path / "killed", small_model(), SETTINGS, corpus).train(kill)
    again = pruning.Run(tmp_path / "killed", small_model(), SETTINGS, corpus)
    assert again.progress.step == when // 4 * 4
    resumed = again.train()
    for name, value in weights(whole).items():
        assert torch.equal(value, weights(again)[name]), name
    assert best.training == resumed.training


def test_a_second_round_goes_on_from_the_first(tmp_path: Path, corpus: Corpus) -> None:
    first = pruning.Run(tmp_path / "1", small_model(), SETTINGS, corpus).train()
    more = dataclasses.replace(SETTINGS, sparsity=0.9)
    second = pruning.Run(tmp_path / "2", first, more, corpus).train()
    zero = {name: w == 0 for name, w in first.spiking.weights.items()}
    assert all((second.spiking.weights[name][was] == 0).all() for name, was in zero.items())
    assert pruning.sparsity(second.spiking) == pytest.approx(0.9, abs=1e-3)
    assert second.steps == first.training["step"] + second.training["step"]
    with pytest.raises(BadInput, match=r"holds a run with training sparsity 0\.9"):
        pruning.Run(tmp_path / "2", first, SETTINGS, corpus)


def test_a_model_is_kept_only_with_all_its_zeros(tmp_path: Path, corpus: Corpus) -> None:
    run = pruning.Run(tmp_path, small_model(), SETTINGS, corpus)
    bits = iter((1.0, 3.0, 2.0))  # the best one, at step 4 of 7, is not pruned to the end
    run._evaluate = lambda pieces: (next(bits), 0.1)  # type: ignore[method-assign]
    run.train()
    found = load_model(tmp_path)
    assert found.training["step"] == 12 and found.training["validation_bits_per_note"] == 2.0
    assert pruning.sparsity(found.spiking) == pytest.approx(0.8, abs=1e-3)


def test_what_does_not_spike_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    settings = architectures.preset("ann-rnn", "tiny")["network"]
    twin = Model("ann-rnn", settings, architectures.build("ann-rnn", settings), small_model().training)
    with pytest.raises(BadInput, match="ann-rnn does not spike"):
        pruning.Run(tmp_path, twin, SETTINGS, corpus)
