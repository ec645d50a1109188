"""Labels of a piece: their axons, what training and composing hear of them, and what is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import torch

from labelled_corpus import PITCH, labelled_corpus, melody
from muspike import architectures, corpora, sounding, tokens, training
from muspike.checkpoint import load_model, save_model
from muspike.cli import main
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.evaluation import firing_rate, label_effect, likelihood
from muspike.export.targets import export
from muspike.generation import first_bars, generate
from muspike.host import Noise as NoiseAxons
from muspike.host import completed, input_axons
from muspike.labels import MOST_NAMES, MOST_VALUES, UNKNOWN, UNLABELLED, Labels
from muspike.melody import melody_of
from muspike.network import Network
from muspike.recipe import Recipe, train
from muspike.training import draw_batch, partly_unknown
from noise_corpus import Noise, noise_corpus, whole_pieces
from small_model import small_model
from stored_corpus import write_midi

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
TABLE = {"emotion": ["sad", "happy", "calm"], "genre": ["rock", "jazz"]}
LABELS = Labels.of(TABLE)
# Small networks of every architecture, as in test_sounding.py.
SMALL: dict[str, dict[str, Any]] = {
    "s-rnn": {"width": 20, "layers": 2, "ticks": 2, "recurrent_delays": ["1 period"], "skip": True},
    "s-cnn": {"width": 20, "dilations": [1, 2], "ticks": 2},
    "s-lstm": {"width": 12, "layers": 1, "ticks": 2},
    "s-transformer": {"blocks": 1, "heads": 2, "rows": 4, "values": 4, "mlp": 16, "ticks": 2},
    "s-gan": {"width": 20, "layers": 1, "ticks": 2, "noise_draws": 2, "noise_values": 3},
    "ann-rnn": {"width": 16, "layers": 1},
    "ann-lstm": {"width": 16, "layers": 1},
    "ann-cnn": {"width": 16, "layers": 2},
    "ann-gan": {"width": 16, "layers": 1, "noise_draws": 2, "noise_values": 3},
    "ann-transformer": {"width": 16, "layers": 1, "heads": 2, "hidden": 16, "window": 8},
}


def built(name: str, **settings: Any) -> Any:
    torch.manual_seed(0)
    return architectures.build(name, {**SMALL[name], "labels": TABLE, **settings}).eval()


def words_of(pieces: int, length: int = 24) -> Any:
    return np.stack(whole_pieces(pieces, length), axis=1)


# --- the labels themselves -------------------------------------------------------------------------------------------


def test_every_value_has_an_axon_and_an_unknown_label_has_none() -> None:
    assert LABELS.names == ("emotion", "genre") and LABELS.axons == 5 and LABELS.table == TABLE
    rows = LABELS.rows([{"genre": "jazz", "emotion": "sad"}, {"emotion": "calm"}, {"emotion": "angry"}, {}])
    assert rows.tolist() == [[0, 1], [2, UNKNOWN], [UNKNOWN, UNKNOWN], [UNKNOWN, UNKNOWN]]
    assert LABELS.spiking(rows, 100).tolist() == [
        [100, 104], [102, sounding.NONE], [sounding.NONE] * 2, [sounding.NONE] * 2,
    ]  # fmt: skip
    assert not UNLABELLED and UNLABELLED.rows([{"emotion": "sad"}]).shape == (1, 0)
    assert UNLABELLED.spiking(UNLABELLED.rows([{}]), 100).shape == (1, 0)


def test_a_text_holds_the_labels_and_gives_them_back() -> None:
    assert Labels.read(LABELS.written()) == LABELS
    assert Labels.read("") == UNLABELLED and UNLABELLED.written() == ""


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (("emotion",), r"labels: \('emotion',\) has no values; expected a table such as"),
        ("emotion", "labels: 'emotion' has no values"),
        ({"emotion": "sad"}, "labels: the values of emotion are 'sad'; expected a list of texts"),
        ({"emotion": []}, "labels: emotion has no values; at least one is needed"),
        ({"emotion": ["sad", "sad"]}, "labels: the values of emotion have one twice: sad, sad"),
        ({"emotion": ["sad", 3]}, "labels: the values of emotion have 3; expected texts that are not empty"),
        ({"": ["sad"]}, "labels: the names have ''; expected texts that are not empty"),
        ({"a=b": ["sad"]}, "labels: the name 'a=b' has a '=', which stands between name and value"),
        ({"n": [str(i) for i in range(MOST_VALUES + 1)]}, "labels: 1 names with 4,097 values; at most 16 names with"),
        ({str(i): ["x"] for i in range(MOST_NAMES + 1)}, "labels: 17 names with 17 values; at most 16 names with"),
    ],
)
def test_labels_that_are_none_are_refused(table: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Labels.of(table)


@pytest.mark.parametrize("text", ["[]", "{", "3", '"emotion"', "[" * 10_000])
def test_a_text_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"labels: '.* is no table of values by name, as JSON"):
        Labels.read(text)


@pytest.mark.parametrize(
    ("labels", "given", "message"),
    [
        (LABELS, {"mood": "sad"}, "here: label mood=sad: this network has no label 'mood'; known are emotion, genre"),
        (LABELS, {"emotion": "up"}, "emotion=up: emotion has no value 'up'; known are sad, happy, calm"),
        (UNLABELLED, {"emotion": "sad"}, "emotion=sad: this network knows no labels; .*--labels emotion"),
    ],
)
def test_an_unknown_label_or_value_is_refused_with_those_that_are_known(
    labels: Labels, given: dict[str, str], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        labels.row(given, "here")


def test_words_get_the_columns_that_they_lack() -> None:
    network = built("s-gan")
    words = words_of(2)
    full = completed(words, network)
    assert full.shape == (24, 2, 7 + 2 + 2) and (full[..., 7:9] == UNKNOWN).all()
    rows = LABELS.rows([{"emotion": "sad"}, {"genre": "jazz"}])
    labelled = completed(LABELS.behind(words, rows), network)
    assert np.array_equal(labelled[..., 9:], full[..., 9:]) and np.array_equal(labelled[5, :, 7:9], rows)
    assert np.array_equal(completed(labelled, network), labelled)
    for columns in (8, 10, 12):
        with pytest.raises(BadInput, match=rf"words: have {columns} columns; this network reads 7 or 9 or 11: 7 feat"):
            completed(np.zeros((4, 2, columns), np.int16), network)
        with pytest.raises(BadInput, match=rf"words: have {columns} columns"):
            network(torch.zeros(4, 2, columns, dtype=torch.int16))


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
def test_composing_hears_what_training_hears(name: str) -> None:
    network = built(name, hears=["now", "next_end"])
    rows = LABELS.rows([{"emotion": "sad", "genre": "jazz"}, {"emotion": "calm"}, {}])
    given = completed(LABELS.behind(words_of(3), rows), network)
    runner = network.runner()
    runner.reset(3)
    stepped = np.stack([runner.step(row) for row in given])
    with torch.no_grad():
        at_once = network(torch.from_numpy(given))[0].numpy()
    np.testing.assert_allclose(stepped, at_once, atol=2e-5)
    without: Any = architectures.build(name, {**SMALL[name], "hears": ["now", "next_end"]})
    size, mine = (
        of.embedding.num_embeddings if name.startswith("ann") else of.populations["input"].size
        for of in (without, network)
    )
    assert mine == size + LABELS.axons == input_axons(network.noise, network.hearing, LABELS)


@pytest.mark.parametrize("name", SMALL)
def test_without_a_label_a_network_is_the_one_without_label_axons(name: str) -> None:
    network = built(name)
    plain: Any = architectures.build(name, SMALL[name]).eval()
    kept = input_axons(network.noise)
    state = {key: of[..., :kept] if "input" in key else of for key, of in network.state_dict().items()}
    if name.startswith("ann"):
        state["embedding.weight"] = network.state_dict()["embedding.weight"][:kept]
    plain.load_state_dict(state)
    words = torch.from_numpy(words_of(2))
    sad = torch.from_numpy(LABELS.behind(words.numpy(), LABELS.rows([{"emotion": "sad"}] * 2)))
    with torch.no_grad():
        unknown, same, labelled = network(words)[0], plain(words)[0], network(sad)[0]
    torch.testing.assert_close(unknown, same, atol=1e-5, rtol=0)
    assert (labelled - unknown).abs().max() > 1e-4


def test_the_gradient_reaches_the_axon_of_the_label_alone() -> None:
    network = built("s-rnn").train()
    assert isinstance(network, Network)
    words = LABELS.behind(words_of(1), LABELS.rows([{"emotion": "happy"}]))
    network(torch.from_numpy(words))[0].square().sum().backward()
    grad = network.weights["input_to_layer1"].grad
    assert grad is not None
    first = input_axons()
    assert grad[:, first + 1].any()
    assert not grad[:, [first, first + 2, first + 3, first + 4]].any()


def test_a_network_refuses_names_without_values() -> None:
    with pytest.raises(BadInput, match=r"labels: .* has no values; expected a table"):
        built("s-rnn", labels=["emotion"])
    with pytest.raises(BadInput, match="labels has the entry 3; names of labels are wanted"):
        built("s-rnn", labels=[3])


def test_a_model_keeps_its_labels_and_a_model_without_any_says_nothing_of_them(tmp_path: Path) -> None:
    settings = {**SMALL["s-rnn"], "labels": TABLE}
    about = {"corpus": "jsb", "step": 0, "validation_bits_per_note": 30.0}
    model = dataclasses.replace(small_model(), settings=settings, network=built("s-rnn"), training=about)
    save_model(model, tmp_path / "model")
    found = load_model(tmp_path / "model")
    assert found.network.labels == LABELS and found.settings == settings
    save_model(small_model(), tmp_path / "plain")
    assert "labels" not in (tmp_path / "plain" / "model.json").read_text(encoding="utf-8")
    assert load_model(tmp_path / "plain").network.labels == UNLABELLED


# --- corpora ---------------------------------------------------------------------------------------------------------


def test_the_values_of_a_label_are_those_of_the_training_pieces() -> None:
    corpus = labelled_corpus()
    assert corpus.label_values("register") == ["high", "low"]
    assert corpus.label_values("parity") == ["even", "odd"], "an empty value is none"
    assert [labels["register"] for labels in corpus.labels("train")] == ["low", "high"] * 3
    assert list(corpus.evaluated_labels("validation")) == list(corpus.labels("validation"))
    with pytest.raises(BadInput, match="corpus jsb: its training pieces have no label 'mood'; it has parity, register"):
        corpus.label_values("mood")
    with pytest.raises(BadInput, match="its training pieces have no label 'mood'; it has no labels"):
        noise_corpus([40] * 3, train=1, validation=1).label_values("mood")


def test_labels_of_a_corpus_in_files_are_read_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    for n in range(12):
        emotion, genre = ("angry", "warm")[n % 2], ("rock", "jazz", "pop")[n % 3]
        write_midi(tmp_path / "xmidi" / f"XMIDI_{emotion}_{genre}_{n:08X}.midi", n)
    corpora.build("xmidi", tmp_path / "xmidi", progress=False)
    corpus = corpora.load("xmidi")
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("words were read"))
    assert corpus.label_values("emotion") == ["angry", "warm"]
    assert corpus.label_values("genre") == ["jazz", "pop", "rock"]
    for split, names in corpus.splits.items():
        for name, labels in zip(names, corpus.labels(split), strict=True):
            assert name.startswith(f"XMIDI_{labels['emotion']}_{labels['genre']}_")


@pytest.mark.skipif(not (SHARED / "emopia").exists(), reason="needs shared/data/emopia")
def test_a_network_learns_on_clips_of_emopia_with_their_emotion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    (tmp_path / "clips").mkdir()
    for quadrant in range(1, 5):
        for file in sorted((SHARED / "emopia" / "midis").glob(f"Q{quadrant}_*.mid"))[::40]:
            (tmp_path / "clips" / file.name).write_bytes(file.read_bytes())
    corpora.build("emopia", tmp_path / "clips", progress=False)
    recipe = Recipe("s-rnn", "emopia", "tiny", tmp_path / "run", steps=2, labels=["emotion"])
    model = train(recipe).model
    assert model.network.labels.table == {"emotion": ["Q1", "Q2", "Q3", "Q4"]}
    corpus = corpora.load("emopia")
    rows = model.network.labels.rows(corpus.labels("validation"))
    assert (rows >= 0).all()
    effect = label_effect(model.network, corpus.evaluated("validation"), rows)
    assert model.training["validation_bits_per_note"] == pytest.approx(effect.right.bits_per_note)


# --- training --------------------------------------------------------------------------------------------------------


def test_a_share_of_pieces_loses_every_set_of_labels_equally_often() -> None:
    rows = np.tile(np.array([[1, 2]], np.int16), (20_000, 1))
    found = partly_unknown(rows, 0.3, np.random.default_rng(0))
    sets, counts = np.unique(found == UNKNOWN, axis=0, return_counts=True)
    shares = {tuple(of): count / 20_000 for of, count in zip(sets.tolist(), counts.tolist(), strict=True)}
    assert shares[False, False] == pytest.approx(0.7, abs=0.02)
    assert all(shares[of] == pytest.approx(0.1, abs=0.01) for of in ((True, False), (False, True), (True, True)))
    assert np.array_equal(found[found != UNKNOWN], rows[found != UNKNOWN])
    assert np.array_equal(partly_unknown(rows, 0.0, np.random.default_rng(0)), rows)
    assert (partly_unknown(rows[:, :1], 1.0, np.random.default_rng(0)) == UNKNOWN).all()


def test_excerpts_are_the_same_with_and_without_labels() -> None:
    corpus = labelled_corpus()
    labels = Labels.of({"register": corpus.label_values("register")})
    settings = training.Settings(batch=64, tokens=12, transpose=0, label_dropout=0.5)
    plain, wanted, _ = draw_batch(corpus.words("train"), settings, 3)
    words, same, _ = draw_batch(corpus.words("train"), settings, 3, labels.rows(corpus.labels("train")))
    assert torch.equal(words[..., :7], plain) and torch.equal(wanted, same)
    column = words[..., 7]
    assert (column == column[0]).all(), "a label is heard with every word, also before the first"
    assert 0.3 < (column[0] == UNKNOWN).float().mean() < 0.7
    high = (plain[..., tokens.PITCH] >= PITCH["high"] + 1).any(0)
    assert (column[0][high & (column[0] != UNKNOWN)] == 0).all() and (column[0][~high] != 0).all()


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    """Found by any name; the working folder is empty."""
    made = labelled_corpus()
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    monkeypatch.chdir(tmp_path)
    return made


def test_a_network_that_is_trained_with_a_label_listens_to_it(corpus: Corpus) -> None:
    """Only the label says whether a piece is low or high; without it, each is as likely."""
    settings = training.Settings(steps=150, batch=8, tokens=10, learning_rate=2e-2, transpose=0, validate_every=150)
    network = {"width": 32, "layers": 1, "ticks": 2, "labels": {"register": corpus.label_values("register")}}
    model = training.Run(Path("run"), "s-rnn", network, settings, corpus).train()
    labels = model.network.labels
    pieces, rows = corpus.evaluated("test"), labels.rows(corpus.labels("test"))
    effect = label_effect(model.network, pieces, rows, shuffles=4)
    right, shuffled, without = (
        of.bits_per_note * 6
        for of in (effect.right, effect.shuffled, effect.without)  # six notes in a piece
    )
    assert right + 0.5 < without < right + 3 and shuffled > right + 1
    assert likelihood(model.network, pieces).bits_per_note == pytest.approx(effect.without.bits_per_note)
    for of in ("shuffled", "without"):
        assert effect.to_dict()[f"{of}_change"]["value"] > 0
    assert "with the right labels" in effect.told() and "without any (+" in effect.told()
    for register, pitch in PITCH.items():
        for words in generate(model.network.runner(), 4, 12, seed=0, labels={"register": register}):
            first = int(words[words[:, tokens.PITCH] > 0, tokens.PITCH][0]) - 1
            assert abs(first - pitch) < 12
    rate = firing_rate(model.network, pieces, labels=rows)
    assert rate is not None and 0 < rate < 1


def test_a_recipe_takes_the_values_from_the_corpus_and_a_fine_tuning_those_of_its_model(corpus: Corpus) -> None:
    run, model = train(Recipe("s-rnn", preset="tiny", steps=2, labels=["register"]))
    assert run.folder == Path("runs/s-rnn-jsb-tiny-0-register")
    assert model.settings["labels"] == {"register": ["high", "low"]}
    assert model.training["settings"]["label_dropout"] == 0.1
    folder = run.model_folder
    tuned = train(Recipe("s-rnn", preset="tiny", steps=2, initial=folder, folder=Path("tuned"), label_dropout=0.5))
    assert tuned.model.settings["labels"] == model.settings["labels"]
    assert tuned.model.training["settings"]["label_dropout"] == 0.5
    with pytest.raises(BadInput, match=r"the initial model has network labels .*; it must be the same network"):
        train(Recipe("s-rnn", preset="tiny", steps=2, initial=folder, folder=Path("no"), labels=["parity"]))
    taught = train(Recipe("s-rnn", preset="tiny", steps=2, teacher=folder, folder=Path("t"), labels=["register"]))
    assert taught.model.network.labels == model.network.labels
    with pytest.raises(BadInput, match=r"the teacher knows labels \{'register': .*, or the teacher must know none"):
        train(Recipe("s-rnn", preset="tiny", steps=2, teacher=folder, folder=Path("no"), labels=["parity"]))


def test_an_unlabelled_teacher_teaches_a_network_with_labels(corpus: Corpus) -> None:
    train(Recipe("ann-rnn", preset="tiny", steps=2, folder=Path("teacher")))
    model = train(Recipe("s-rnn", preset="tiny", steps=2, teacher="teacher", labels=["register", "parity"])).model
    assert model.network.labels.names == ("register", "parity")


def test_what_a_recipe_cannot_do_with_labels_is_refused(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match=r"label_dropout 0\.5 \(--label-dropout\): there are no labels; leave it out"):
        train(Recipe("s-rnn", preset="tiny", steps=2, label_dropout=0.5))
    with pytest.raises(BadInput, match="have no label 'mood'; it has parity, register"):
        train(Recipe("s-rnn", preset="tiny", steps=2, labels=["mood"]))
    model = train(Recipe("s-rnn", preset="tiny", steps=2, labels=["register"])).run.model_folder
    strange = [dataclasses.replace(p, labels={"register": "middle"}) for p in corpus.pieces]
    other = dataclasses.replace(corpus, pieces=strange)
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: other)
    with pytest.raises(BadInput, match="corpus jsb: has register 'middle'; this network knows high, low"):
        train(Recipe("s-rnn", preset="tiny", steps=2, initial=model, folder=Path("no")))


@pytest.mark.parametrize("name", ["s-gan", "ann-gan"])
def test_an_adversarial_training_composes_with_labels(
    name: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = [dataclasses.replace(p, words=melody(PITCH[p.labels["register"]] - 12, 40)) for p in corpus.pieces]
    made = dataclasses.replace(corpus, pieces=long)
    monkeypatch.setattr(corpora, "load", lambda name, progress=True: made)
    model = train(Recipe(name, preset="tiny", steps=2, labels=["register"])).model
    assert model.network.labels.names == ("register",)
    assert generate(model.network.runner(), 1, 20, seed=0, labels={"register": "low"})


def test_likelihood_wants_a_row_of_labels_for_each_piece() -> None:
    network, pieces = built("s-rnn"), whole_pieces(2, 20)
    with pytest.raises(BadInput, match=r"likelihood: labels is int16 \[1, 2\]; expected int16 \[2, names\], a row per"):
        likelihood(network, pieces, labels=LABELS.rows([{}]))
    with pytest.raises(BadInput, match="words: have 8 columns; this network reads 7 or 9"):
        likelihood(network, pieces, labels=LABELS.rows([{}, {}])[:, :1])


# --- composing -------------------------------------------------------------------------------------------------------


class Heard(Noise):
    """Knows labels and draws noise, and keeps what it is given."""

    noise, labels = NoiseAxons(2, 3), LABELS

    def reset(self, batch: int) -> None:
        super().reset(batch)
        self.words: list[Any] = []

    def step(self, words: Any) -> Any:
        self.words.append(words)
        return super().step(words)


def test_the_host_gives_the_labels_with_every_word_of_a_piece_a_prompt_and_a_melody() -> None:
    runner, piece = Heard(), melody(60, 12)
    for more in ({}, {"prompt": first_bars(piece, 1)}, {"melody": melody_of(tokens.decode(piece))}):
        generate(runner, 2, 100, seed=1, labels={"genre": "jazz"}, **more)  # type: ignore[arg-type]
        heard = np.stack(runner.words)
        assert heard.shape[1:] == (2, 7 + 2 + 2)
        assert (heard[..., 7:9] == [UNKNOWN, 1]).all()
        assert np.array_equal(heard[..., 9:], Heard.noise.drawn(1, range(2), 100)[: len(heard)])


def test_labels_that_are_not_heard_move_no_word() -> None:
    one = generate(Noise(3), 2, 30, seed=4)
    other = generate(Heard(3), 2, 30, seed=4, labels={"emotion": "sad"})
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_runner_that_says_nothing_of_labels_knows_none() -> None:
    with pytest.raises(BadInput, match="generate: label emotion=sad: this network knows no labels"):
        generate(Noise(), 1, 30, seed=0, labels={"emotion": "sad"})
    with pytest.raises(BadInput, match="generate: labels is 'sad'; expected a dict, values by name"):
        generate(Noise(), 1, 30, seed=0, labels="sad")  # type: ignore[arg-type]


# --- the commands ----------------------------------------------------------------------------------------------------


def command(line: str) -> int:
    return main(line.split())


def test_train_and_generate_with_labels(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "train",
                "s-rnn",
                "--preset",
                "tiny",
                "--steps",
                "2",
                "-o",
                "run",
                "--json",
                "--labels",
                "register",
                "parity",
            ]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["labels"] == {"register": ["high", "low"], "parity": ["even", "odd"]}
    assert told["label_effect"]["right"] == pytest.approx(told["validation_bits_per_note"])
    assert set(told["label_effect"]["without_change"]) == {"value", "low", "high"}
    assert command("generate run --label register=low -n 2 --length 16 -o pieces --json") == 0
    assert json.loads(capsys.readouterr().out)["labels"] == {"register": "low", "parity": None}
    assert (
        main(
            [
                "generate",
                "run",
                "--label",
                "register=low",
                "--label",
                "parity=odd",
                "-n",
                "2",
                "--length",
                "16",
                "-o",
                "pieces",
            ]
        )
        == 0
    )
    assert capsys.readouterr().out.splitlines()[1] == "register low; parity odd"
    assert (
        main(
            ["generate", "run", "-n", "2", "--length", "16", "-o", "pieces", "--label", "parity=odd", "--on", "loihi2"]
        )
        == 0
    )
    assert "parity odd; without a value of register (high, low)" in capsys.readouterr().out
    assert command("train s-rnn --preset tiny --steps 2 -o second --labels register") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("register: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("generate run --label mood=low", "run: label mood=low: this network has no label 'mood'; known are register"),
        ("generate run --label register=up", "run: label register=up: register has no value 'up'; known are high, low"),
        ("generate plain --label register=up", "plain: label register=up: this network knows no labels"),
        ("generate run --label register", "argument --label: 'register' is no label; NAME=VALUE is wanted"),
        ("generate run --label register=low --label register=high", "register is low already; give one value"),
        ("generate run --label register=up --on loihi2", "register has no value 'up'"),
    ],
)
def test_wrong_labels_are_refused_in_one_line(
    arguments: str, message: str, corpus: Corpus, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = {"register": ["high", "low"]}
    model = small_model("jsb")
    save_model(model, "plain")
    settings = {**model.settings, "labels": labels}
    save_model(dataclasses.replace(model, settings=settings, network=architectures.build("s-rnn", settings)), "run")
    assert main([*arguments.split(), "-o", "pieces"]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.strip().splitlines()) == 1
    assert not Path("pieces").exists()


def test_train_refuses_a_label_that_the_corpus_has_not(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("train s-rnn --preset tiny -o run --labels mood") == 2
    assert "corpus jsb: its training pieces have no label 'mood'; it has parity, register" in capsys.readouterr().err
    assert not Path("run").exists()


def test_an_onnx_file_composes_with_labels_as_torch_does(corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    model = train(Recipe("s-rnn", preset="tiny", steps=2, labels=["register"])).model
    assert export(model, "onnx", Path("model.onnx"), 4).holds
    assert (
        main(
            [
                "generate",
                "model.onnx",
                "--label",
                "register=low",
                "-n",
                "2",
                "--length",
                "40",
                "-o",
                "there",
                "--seed",
                "3",
                "--json",
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["labels"] == {"register": "low"}
    from muspike.generation import write_pieces

    here = write_pieces(generate(model.network.runner(), 2, 40, seed=3, labels={"register": "low"}), Path("here"))
    assert [(Path("there") / file.name).read_bytes() for file in here] == [file.read_bytes() for file in here]
    assert command("generate model.onnx --label register=up -o there") == 2
    assert "model.onnx: label register=up: register has no value 'up'" in capsys.readouterr().err
