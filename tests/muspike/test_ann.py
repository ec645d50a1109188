"""The twins that do not spike: causal, the same token by token, of their partners' size, and not for a chip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import architectures, corpora, evaluation, tokens, training
from muspike.architectures.ann import Twin
from muspike.checkpoint import Model, load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus, Piece
from muspike.errors import BadInput
from noise_corpus import whole_pieces

TWINS = ["ann-rnn", "ann-lstm", "ann-cnn", "ann-gan", "ann-transformer"]


def twin(name: str, preset: str = "tiny") -> Twin:
    torch.manual_seed(0)
    network = architectures.build(name, architectures.preset(name, preset)["network"])
    assert isinstance(network, Twin)
    return network.eval()


def random_words(length: int, batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    columns = [torch.randint(0, size, (length, batch), generator=generator) for size in tokens.SIZES]
    return torch.stack(columns, -1).to(torch.int16)


def heard(network: Twin, words: torch.Tensor) -> torch.Tensor:
    """`words` with noise behind, where the network hears noise."""
    return torch.from_numpy(network.noise.behind(words.numpy()))


@pytest.mark.parametrize("preset", ["tiny", "small"])
@pytest.mark.parametrize("name", TWINS)
def test_a_token_changes_what_follows_and_nothing_before(name: str, preset: str) -> None:
    network, words = twin(name, preset), random_words(40, 2)
    other = words.clone()
    other[20, 1] = random_words(1, 1, seed=1)[0, 0]
    with torch.no_grad():
        logits, changed = network(heard(network, words))[0], network(heard(network, other))[0]
    # Products of matrices may be summed in another order where another row differs.
    torch.testing.assert_close(logits[:20], changed[:20], rtol=0, atol=1e-6)
    torch.testing.assert_close(logits[:, 0], changed[:, 0], rtol=0, atol=1e-6)
    for later in (20, 21, 25):
        assert (logits[later, 1] - changed[later, 1]).abs().max() > 1e-4, later


@pytest.mark.parametrize("name", TWINS)
def test_all_tokens_at_once_equal_token_by_token(name: str) -> None:
    """Past the length of training excerpts, the transformer's window and what the convolutions reach."""
    preset = architectures.preset(name, "tiny")
    length = 3 * preset["training"]["tokens"]
    network = twin(name)
    words = heard(network, random_words(length, 3))
    with torch.no_grad():
        wanted = network(words)[0]
    runner = network.runner()
    for batch in (1, 3):  # a second piece starts at rest
        runner.reset(batch)
        found = np.stack([runner.step(word[:batch].numpy()) for word in words])
        np.testing.assert_allclose(found, wanted[:, :batch].numpy(), atol=2e-5)


def test_attention_ends_at_the_window() -> None:
    """One layer attends to `window` tokens and remembers as many: the token before them changes nothing."""
    torch.manual_seed(0)
    settings = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "window": 8}
    network, words = architectures.build("ann-transformer", settings).eval(), random_words(30, 1)
    other = words.clone()
    other[10] = random_words(1, 1, seed=1)
    with torch.no_grad():
        moved = (network(words)[0] - network(other)[0]).abs().amax((1, 2))
    assert (moved[10:18] > 1e-4).all()
    assert (moved[18:] == 0).all()


def test_distance_and_not_position_is_what_attention_sees() -> None:
    torch.manual_seed(0)
    settings = {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "window": 8}
    network, words = architectures.build("ann-transformer", settings).eval(), random_words(12, 1)
    with torch.no_grad():
        late = network(torch.cat([random_words(50, 1, seed=2), words]))[0][50:]
        torch.testing.assert_close(late[7:], network(words)[0][7:], atol=2e-5, rtol=0)
        swapped = words.clone()
        swapped[[2, 3]] = words[[3, 2]]
        assert (network(swapped)[0][7] - network(words)[0][7]).abs().max() > 1e-5, "the order of tokens is not seen"


@pytest.mark.parametrize("name", TWINS)
def test_dropout_is_the_same_for_all_tokens_of_a_piece_and_only_in_training(name: str) -> None:
    network = twin(name)
    words = heard(network, random_words(20, 3))
    ones = torch.ones(6, 3, 50)
    mask = network.train().dropped(ones, 0.4)
    assert set(mask.unique().tolist()) == {0.0, ones.new_tensor(1 / 0.6).item()}  # type: ignore[no-untyped-call]
    assert torch.equal(mask, mask[:1].expand_as(mask))
    assert not torch.equal(mask[:, 0], mask[:, 1])
    with torch.no_grad():
        torch.manual_seed(1)
        plain = network(words)[0]
        torch.manual_seed(1)
        assert not torch.allclose(plain, network(words, dropout=0.4)[0])
        network.eval()
        assert torch.equal(network(words)[0], network(words, dropout=0.4)[0])


def test_noise_moves_the_generator_of_the_adversarial_pair() -> None:
    network, words = twin("ann-gan"), random_words(10, 2)
    noise = torch.zeros(10, 2, network.noise.draws, dtype=torch.int16)
    other = noise.clone()
    other[5] = 1
    with torch.no_grad():
        moved = network(torch.cat([words, noise], -1))[0] - network(torch.cat([words, other], -1))[0]
        assert (moved[:5] == 0).all() and (moved[5:].abs().amax((1, 2)) > 1e-5).all()
        # Where none is given: the same in every evaluation, another in every training step.
        assert torch.equal(network(words)[0], network(words)[0])
        assert not torch.equal(network(words)[0], network(torch.cat([words, noise], -1))[0])
        network.train()
        assert not torch.equal(network(words)[0], network(words)[0])


@pytest.mark.parametrize("name", TWINS)
def test_there_is_nothing_to_record_or_regularise(name: str) -> None:
    network, words = twin(name), random_words(4, 1)
    rates: dict[str, torch.Tensor] = {}
    assert network(words, regularise=rates)[1] == {} and rates == {}
    with pytest.raises(BadInput, match="record layer1: a network that does not spike has no spikes"):
        network(words, record=["layer1"])


@pytest.mark.parametrize("name", TWINS)
def test_presets_build_networks_in_ascending_size(name: str) -> None:
    def parameters(preset: str) -> int:
        return sum(p.numel() for p in twin(name, preset).parameters())

    assert set(architectures.presets(name)) == {"tiny", "small", "base"}
    assert parameters("tiny") < 50_000
    assert 2.5 * parameters("small") < parameters("base") < 3.5 * parameters("small")
    for preset in architectures.presets(name).values():
        architectures.configured(training.Settings, preset["training"], name)


@pytest.mark.parametrize("name", TWINS)
def test_twins_match(name: str) -> None:
    """The same number of parameters within 5 %, so that the distance between them is that of spikes."""
    partner = name.replace("ann-", "s-")
    spiking, plain = (
        sum(p.numel() for p in architectures.build(n, architectures.preset(n, "small")["network"]).parameters())
        for n in (partner, name)
    )
    assert abs(plain / spiking - 1) < 0.05, f"{name} has {plain} parameters, {partner} {spiking}"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("ann-rnn", {"width": 0}, "width 0 must lie between 1 and 8192"),
        ("ann-gan", {"noise_draws": 0}, "noise_draws 0 must lie between 1 and 64"),
        ("ann-cnn", {"layers": 17}, "at most 16"),
        ("ann-transformer", {"width": 36, "heads": 4}, "width 36 must be a multiple of 2 x 4 heads"),
        ("ann-lstm", {"depth": 2}, "unknown key 'depth'; known are width, layers"),
    ],
)
def test_sizes_that_cannot_be_are_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        architectures.build(name, settings)


@pytest.fixture
def corpus(monkeypatch: pytest.MonkeyPatch) -> Corpus:
    pieces = [Piece(f"piece{i}", words, (0, False)) for i, words in enumerate(whole_pieces(6, 40))]
    names = [piece.name for piece in pieces]
    found = Corpus("noise", pieces, {"train": names[:3], "validation": names[3:5], "test": names[5:]})
    monkeypatch.setattr(corpora, "load", lambda _: found)
    return found


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_trains_comes_back_composes_and_stays_off_chips(
    name: str, corpus: Corpus, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", name, "--preset", "tiny", "--steps", "12", "-o", str(tmp_path / "run")]) == 0
    model = load_model(tmp_path / "run")
    assert model.architecture == name
    untrained = evaluation.likelihood(lambda words: twin(name)(words)[0], [p.words for p in corpus.split("validation")])
    assert model.training["validation_bits_per_note"] < untrained.bits_per_note
    for key, value in twin(name).named_parameters():  # drawn from the seed of the run
        assert not torch.equal(value, model.network.get_parameter(key)), f"{key} was not trained"
    save_model(model, tmp_path / "copy")
    copy = load_model(tmp_path / "copy")
    words = heard(twin(name), random_words(50, 2))
    with torch.no_grad():
        assert torch.equal(model.network(words)[0], copy.network(words)[0])
    assert main(["generate", str(tmp_path / "run"), "-n", "1", "--length", "16", "-o", str(tmp_path / "pieces")]) == 0
    assert len(list((tmp_path / "pieces").glob("*.mid"))) == 1
    capsys.readouterr()
    assert main(["export", str(tmp_path / "run"), "--to", "nir", "-o", str(tmp_path / "twin.nir")]) == 2
    said = capsys.readouterr().err.strip()
    assert said.endswith(f"{name} does not spike: there is nothing to put on a neuromorphic chip")
    assert "\n" not in said and not (tmp_path / "twin.nir").exists()


def test_weights_of_another_twin_do_not_fit(tmp_path: Path) -> None:
    about = {"corpus": "jsb", "step": 0, "validation_bits_per_note": 30.0}
    save_model(Model("ann-lstm", {"width": 32, "layers": 1}, twin("ann-rnn"), about), tmp_path)
    with pytest.raises(BadInput, match="does not fit ann-lstm"):
        load_model(tmp_path)
