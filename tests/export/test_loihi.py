"""A model on the chip: its answer comes at the right tick, word by word or all at once, and is the network's."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from muspike import architectures, tokens
from muspike.checkpoint import Model
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner, compile_model
from muspike.export.presentation import Presentation
from muspike.export.words import example_words
from muspike.host import Noise, Timing
from muspike.network import Network, Population, Synapse


def made(**settings: Any) -> Model:
    settings = {"width": 24, "layers": 1, "ticks": 2, **settings}
    torch.manual_seed(2)
    network = architectures.build("s-rnn", settings).eval()
    assert isinstance(network, Network)
    with torch.no_grad():
        network.bias.copy_(torch.randn(tokens.N_AXONS))
    return Model("s-rnn", settings, network, {})


def logits_of(model: Model, words: npt.NDArray[np.int16]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        logits, _ = model.network(torch.from_numpy(words))
    return np.asarray(logits.numpy())


def test_words_are_presented_seven_hot_for_as_many_ticks() -> None:
    words = example_words(made(), 5, batch=2)
    presentation = Presentation(2, 6, Noise(), np.zeros(tokens.N_AXONS))
    spikes = presentation.spikes(words).reshape(5, 6, 2, tokens.N_AXONS)
    assert spikes.dtype == np.uint8 and (spikes[:, 2:] == 0).all()
    for n in range(5):
        for b in range(2):
            axons = sorted(int(offset) + int(value) for offset, value in zip(tokens.OFFSETS, words[n, b], strict=True))
            for tick in range(2):
                assert np.flatnonzero(spikes[n, tick, b]).tolist() == axons and len(axons) == 7


def noisy() -> Model:
    settings = architectures.preset("s-gan", "tiny")["network"]
    torch.manual_seed(3)
    return Model("s-gan", settings, architectures.build("s-gan", settings).eval(), {})


def test_noise_has_axons_of_its_own_behind_those_of_the_words() -> None:
    model = noisy()
    noise, words = model.spiking.noise, example_words(model, 5, batch=2)
    assert (noise.draws, noise.values) == (2, 4) and words.shape == (5, 2, 9)
    metadata = compile_model(model, "loihi1").program.metadata
    spikes = Presentation.read(metadata).spikes(words).reshape(5, -1, 2, tokens.N_AXONS + 8)
    for n, b in np.ndindex(5, 2):
        first, second = (int(value) for value in words[n, b, 7:])
        axons = np.flatnonzero(spikes[n, 0, b])
        assert axons[7:].tolist() == [tokens.N_AXONS + first, tokens.N_AXONS + 4 + second] and len(axons) == 9
        assert axons.tolist() == model.spiking.axons(torch.from_numpy(words[n : n + 1, b : b + 1])).flatten().tolist()


def test_words_without_their_noise_are_refused_and_with_it_torch_and_chip_agree() -> None:
    model = noisy()
    words = example_words(model, 12, batch=3)
    runner = ChipRunner(compile_model(model, "loihi1").program)
    assert runner.noise == model.spiking.runner().noise == model.spiking.noise
    with pytest.raises(
        BadInput, match="words: have 7 columns; this network reads 9, its labels and its noise included"
    ):
        runner.step(words[0, :1, :7])
    bias = model.spiking.bias.detach().numpy()

    def distance(given: npt.NDArray[np.int16]) -> float:
        runner.reset(3)
        chip, wanted = runner.run(given)[0][:2] - bias, logits_of(model, words)[:2] - bias
        return float(np.sqrt(((chip - wanted) ** 2).mean() / (wanted**2).mean()))

    other = words.copy()
    other[..., 7:] = (other[..., 7:] + 1) % 4
    assert distance(words) < 0.3 < 0.6 < distance(other)


@pytest.mark.parametrize(
    "settings", [{}, {"layers": 2, "skip": True}, {"recurrent_delays": ["1 period"], "tau": [2.0, 16.0], "ticks": 4}]
)
def test_word_by_word_in_parts_and_at_once_are_the_same(settings: dict[str, Any]) -> None:
    model = made(**settings)
    words = example_words(model, 12, batch=3)
    runner = ChipRunner(compile_model(model, "loihi1").program)
    runner.reset(3)
    stepped = np.stack([runner.step(word) for word in words])
    runner.reset(3)
    parts = np.concatenate([runner.run(part)[0] for part in (words[:5], words[5:])])
    runner.reset(3)
    whole, run = runner.run(words)
    assert np.array_equal(stepped, whole) and np.array_equal(parts, whole)
    assert stepped.dtype == np.float32 and stepped.shape == (12, 3, tokens.N_AXONS)
    assert all(run.spikes[p].any() for p in model.spiking.populations if p.startswith("layer"))
    runner.reset(1)  # alone, the first piece is what it was among three
    assert np.array_equal(runner.run(words[:, :1])[0], whole[:, :1])


@pytest.mark.parametrize("settings", [{}, {"layers": 2, "skip": True}, {"recurrent_delays": [1, "1 period"]}])
@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_a_network_on_the_grid_of_the_chip_is_met_exactly(settings: dict[str, Any], chip: str) -> None:
    """Weights that are whole multiples of 1/64 and membranes that forget at once leave nothing to round."""
    model = made(tau=[1.0], tau_readout=1.0, **settings)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.spiking.weights.items():
            spread = 12 if name.startswith("input") else 6
            weight.copy_(torch.randint(-spread, spread + 1, weight.shape, generator=generator) / 32)
    words = example_words(model, 16, batch=2)
    runner = ChipRunner(compile_model(model, chip).program)
    runner.reset(2)
    logits, run = runner.run(words)
    assert run.spikes["layer1"].any()
    assert logits == pytest.approx(logits_of(model, words), abs=1e-6)


@pytest.mark.parametrize("settings", [{}, {"recurrent_delays": ["1 period"], "tau": [2.0, 4.0], "tau_readout": 4.0}])
def test_rounding_moves_the_logits_little(settings: dict[str, Any]) -> None:
    model = made(**settings)
    words = example_words(model, 24, batch=4)
    runner = ChipRunner(compile_model(model, "loihi1").program)
    runner.reset(4)
    chip, wanted = runner.run(words)[0], logits_of(model, words)
    bias = model.spiking.bias.detach().numpy()
    error = np.sqrt(((chip - wanted) ** 2).mean() / ((wanted - bias) ** 2).mean())
    # A late word's answer in the place of this one's is as wrong as noise.
    shifted = np.sqrt(((chip[1:] - wanted[:-1]) ** 2).mean() / ((wanted - bias) ** 2).mean())
    assert error < 0.35 < 0.7 < shifted


def test_constants_of_the_logits_are_in_the_program() -> None:
    model = made()
    program = compile_model(model, "loihi1").program
    assert program.metadata["bias"] == pytest.approx(model.spiking.bias.detach().numpy())
    assert program.metadata["ticks"] == 2 and program.metadata["period"] == model.spiking.timing.period
    silent = np.zeros((1, 1, 7), np.int16)
    with torch.no_grad():
        for weight in model.spiking.weights.values():
            weight.zero_()
    logits, _ = ChipRunner(compile_model(model, "loihi1").program).run(silent)
    assert logits[0, 0] == pytest.approx(model.spiking.bias.detach().numpy())


def chain(period: int, size: int = 8) -> Model:
    """input -> a -> b -> readout, presented for 2 ticks: the answer is out in chip tick 2 - 1 + 3."""
    populations = [
        Population("input", tokens.N_AXONS, "input"),
        Population("a", size),
        Population("b", 8),
        Population("readout", tokens.N_AXONS, "li"),
    ]
    synapses = [Synapse("input", "a"), Synapse("a", "b"), Synapse("b", "readout")]
    network = Network(populations, synapses, Timing(2, period))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.weights.values():
            weight.copy_(torch.randn_like(weight))
    return Model("chain", {}, network.eval(), {})


def test_an_answer_that_comes_after_the_next_word_is_refused() -> None:
    message = (
        "readout: its logits are out 5 ticks after a token goes in, the next one goes in after 4; "
        "the period must be at least 5"
    )
    with pytest.raises(BadInput, match=message):
        compile_model(chain(4), "loihi1")
    model = chain(5)
    words = example_words(model, 12, batch=2)
    runner = ChipRunner(compile_model(model, "loihi1").program)
    runner.reset(2)
    chip, wanted = runner.run(words)[0], logits_of(model, words)
    assert np.corrcoef(chip.ravel(), wanted.ravel())[0, 1] > 0.9
    assert np.corrcoef(chip[1:].ravel(), wanted[:-1].ravel())[0, 1] < 0.7


def test_a_model_that_does_not_fit_is_refused_or_said_not_to() -> None:
    model = chain(5, size=4200)
    message = r"does not fit loihi1: core \d+ \(.*'b'.*\): \d+ input axons, loihi1 holds 4096 on a core"
    with pytest.raises(BadInput, match=message):
        compile_model(model, "loihi1")
    use = compile_model(model, "loihi1", must_fit=False).use
    assert not use.fits and re.fullmatch(message.removeprefix("does not fit loihi1: "), use.problems[0])
