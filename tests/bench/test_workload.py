"""What a network is run on: music as in the report, or the spikes that are given, and what a figure is then per."""

from __future__ import annotations

import nir
import numpy as np
import pytest

import chip_programs
import small_nir
from muspike import architectures, corpora, tokens
from muspike.bench import workload
from muspike.bench.workload import EXCERPT, Workload, workload_of
from muspike.checkpoint import Model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.export.subject import Subject
from muspike.export.to_nir_file import to_nir
from muspike.hardware.running.spikes import InputSpikes, random_spikes
from noise_corpus import noise_corpus
from small_model import small_model


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return noise_corpus((60, 128, 140, 150), train=0, validation=0, name="jsb")


@pytest.fixture(autouse=True)
def loaded(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpora, "load", lambda name: corpus)


def linear(*, inputs: int = 3) -> Subject:
    nodes = {"input": inputs, "w": nir.Linear(np.ones((2, inputs))), "a": small_nir.lif(2), "output": 2}
    return Subject.of(small_nir.graph(nodes, small_nir.chain("input", "w", "a", "output")))


@pytest.mark.parametrize(("pieces", "expected"), [(2, 2), (16, 3)])
def test_a_model_reads_the_excerpts_that_are_long_enough(corpus: Corpus, pieces: int, expected: int) -> None:
    found = workload_of(Subject.of(small_model("jsb")), pieces=pieces)
    heard = [piece.words[:EXCERPT] for piece in corpus.split("test") if len(piece.words) >= EXCERPT][:pieces]
    assert len(heard) == expected
    assert found.words is not None and found.words.shape == (EXCERPT, expected, 7)
    for i, words in enumerate(heard):
        np.testing.assert_array_equal(found.words[0, i], 0)  # PAD
        np.testing.assert_array_equal(found.words[1:, i], words[:-1])
    notes = sum(int((words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum()) for words in heard)
    assert (found.per, found.shares, found.tokens) == ("note", notes, EXCERPT * expected)
    network = small_model("jsb").spiking
    assert found.period == network.timing.period and found.ticks == EXCERPT * network.timing.period
    assert found.batch == expected
    assert found.spikes.sum() == EXCERPT * expected * 7 * network.timing.ticks  # one axon for each feature
    assert f"{EXCERPT} words of {expected} test pieces of jsb" in found.what


def test_a_graph_that_reads_words_is_told_which_music() -> None:
    subject = Subject.of(to_nir(small_model("jsb").spiking))
    with pytest.raises(BadInput, match="does not say on which music it was trained; name a corpus"):
        workload_of(subject)
    given, of_model = workload_of(subject, corpus="jsb"), workload_of(Subject.of(small_model("jsb")))
    np.testing.assert_array_equal(given.spikes, of_model.spikes)
    assert given.shares == of_model.shares


def test_music_that_is_not_at_hand_is_said() -> None:
    with pytest.raises(BadInput, match=r"was trained on 'mine', whose test pieces are not at hand; name a corpus"):
        workload_of(Subject.of(small_model("mine")))


def test_spikes_are_put_side_by_side_in_the_order_of_the_inputs() -> None:
    populations = [chip_programs.population(name, size, "input") for name, size in (("b", 2), ("a", 3))]
    program = chip_programs.program([*populations, chip_programs.population("c", 2, level=1)], [])
    spikes = {name: random_spikes({name: size}, 0.5, 7, size).spikes[name] for name, size in (("a", 3), ("b", 2))}
    found = workload_of(Subject.of(program), InputSpikes(7, 1, spikes))
    np.testing.assert_array_equal(found.spikes, np.concatenate([spikes["b"], spikes["a"]], axis=2))
    assert (found.per, found.shares, found.tokens, found.words) == ("sample", 1, None, None)


@pytest.mark.parametrize(("per", "shares"), [("sample", 4), ("tick", 20)])
def test_what_a_figure_is_per(per: workload.Per, shares: int) -> None:
    given = InputSpikes(5, 4, {"input": np.ones((5, 4, 3), np.uint8)})
    found = workload_of(linear(), given, per=per)
    assert (found.per, found.shares, found.ticks, found.batch) == (per, shares, 5, 4)
    assert found.what == "4 sequences of 5 ticks"


def test_an_input_of_another_shape_is_named() -> None:
    with pytest.raises(BadInput, match=r"input 'input' is given an array \[5, 1, 2\]; expected spikes \[5, 1, 3\]"):
        workload_of(linear(), InputSpikes(5, 1, {"input": np.ones((5, 1, 2), np.uint8)}))
    with pytest.raises(BadInput, match="input 'input' is given none"):
        workload_of(linear(), InputSpikes(5, 1, {"other": np.ones((5, 1, 3), np.uint8)}))


def test_a_network_that_reads_no_words_needs_spikes() -> None:
    with pytest.raises(BadInput, match="reads no words; give it spikes"):
        workload_of(linear())


def test_counts_go_to_a_graded_input_and_one_spike_to_any_other() -> None:
    graded = chip_programs.population("g", 2, "input", graded_bits=8)
    program = chip_programs.program(
        [graded, chip_programs.population("a", 2, "input"), chip_programs.population("c", 2, level=1)], []
    )
    counts = {name: np.full((3, 1, 2), 5, np.uint16) for name in ("g", "a")}
    spikes = {name: np.ones((3, 1, 2), np.uint8) for name in ("g", "a")}
    found = workload_of(Subject.of(program), InputSpikes(3, 1, spikes, counts=counts))
    assert found.spikes[0, 0].tolist() == [5, 5, 1, 1]


def test_a_figure_needs_something_that_it_is_per() -> None:
    with pytest.raises(BadInput, match="has no note"):
        Workload("silence", np.zeros((5, 1, 3), np.uint8), None, "note", 0)
    with pytest.raises(BadInput, match="0 ticks of 1 sequences"):
        Workload("nothing", np.zeros((0, 1, 3), np.uint8), None, "tick", 1)


def test_a_twin_reads_the_same_words() -> None:
    settings = {"width": 8, "layers": 1}
    twin = Model("ann-rnn", settings, architectures.build("ann-rnn", settings), {"corpus": "jsb"})
    found = workload_of(Subject.of(twin), pieces=2)
    assert found.words is not None
    np.testing.assert_array_equal(found.words, workload_of(Subject.of(small_model("jsb")), pieces=2).words)
