"""The queue of trainings: what it trains, skips, goes on with and refuses; the tables that are made of its results."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from muspike import adversarial, architectures, corpora, tokens, training
from muspike.bench.marked_tables import filled
from muspike.bench.shipped import measure, queue, recipes, tables
from muspike.bench.shipped.__main__ import main
from muspike.bench.shipped.queue import Place
from muspike.bench.shipped.recipes import Entry, read_recipes
from muspike.checkpoint import load_model
from muspike.corpora import Corpus
from muspike.errors import BadInput, Diverged, Failed
from muspike.files import is_owned, owned_folder
from muspike.recipe import train
from noise_corpus import noise_corpus

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "muspike" / "models"
TINY = """
[s-rnn]
preset = "tiny"
steps = 12
seeds = [0, 3]
twin = "ann-rnn"
ships = true
minutes = 10

[ann-rnn]
preset = "tiny"
steps = 8
minutes = 5
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "runs", tmp_path / "results", tmp_path / "logs", tmp_path / "models")


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    (tmp_path / "recipes.toml").write_text(TINY)
    return read_recipes(tmp_path / "recipes.toml")


@pytest.fixture(autouse=True)
def corpus(monkeypatch: pytest.MonkeyPatch) -> Corpus:
    found = noise_corpus([40] * 12, train=5, validation=3)
    monkeypatch.setattr(corpora, "load", lambda _: found)
    for name, value in {"EXCERPT": 24, "PIECES": 2, "LENGTH": 60}.items():
        monkeypatch.setattr(measure, name, value)
    return found


def silent(line: str) -> None:
    """Say nothing."""


def test_first_the_first_seed_of_all_then_the_second(entries: list[Entry]) -> None:
    assert [entry.name for entry in entries] == ["s-rnn-0", "ann-rnn-0", "s-rnn-3"]
    assert [entry.ships for entry in entries] == ["s-rnn", None, None]
    assert [(entry.recipe.seed, entry.recipe.steps) for entry in entries] == [(0, 12), (0, 8), (3, 12)]


def test_all_is_trained_once_and_measured(entries: list[Entry], place: Place, corpus: Corpus) -> None:
    assert queue.work(entries, place, said=silent) == (["s-rnn-0", "ann-rnn-0", "s-rnn-3"], [])
    assert sorted(file.name for file in place.results.iterdir()) == [
        "ann-rnn-0.json", "s-rnn-0.json", "s-rnn-3.json",
    ]  # fmt: skip
    shipped = load_model(place.models / "s-rnn")
    assert [folder.name for folder in place.models.iterdir()] == ["s-rnn"]
    result = json.loads((place.results / "s-rnn-0.json").read_text())
    test = [piece.words for piece in corpus.split("test")]
    assert result["measured"]["test"] == pytest.approx(measure.nll(shipped, test))
    assert shipped.training["test_bits_per_note"] == result["measured"]["test"]
    assert result["measured"]["test_on_chip"] > 0 and 0 <= result["measured"]["ended"] <= 1
    twin = json.loads((place.results / "ann-rnn-0.json").read_text())
    assert twin["measured"]["test_on_chip"] is None and twin["measured"]["firing_rate"] is None
    log = (place.logs / "s-rnn-0.txt").read_text().splitlines()
    assert log[0].startswith("step 10: training ") and log[1].startswith("step 12: ") and log[2].endswith("on cpu")
    assert queue.work(entries, place, said=silent) == ([], [])
    assert queue.left(entries, place) == []


def test_finished_models_are_measured_again(entries: list[Entry], place: Place) -> None:
    queue.work(entries[:2], place, said=silent)
    before = {file: queue.read_result(file) for file in sorted(place.results.glob("*.json"))}
    for file, result in before.items():
        file.write_text(json.dumps(result | {"measured": result["measured"] | {"ended": -1.0, "pitch_count": -1.0}}))
    # Sampling has two settings more than it had.
    older = next(iter(before))
    result = queue.read_result(older)
    made = dict(result["made"])
    made["sampling"] = {key: made["sampling"][key] for key in ("temperature", "top_p")}
    older.write_text(json.dumps({**result, "made": made}))
    told: list[str] = []
    assert queue.measure_again(entries, place, told.append) == [result["name"] for result in before.values()]
    assert {file: queue.read_result(file) for file in before} == before
    first = next(iter(before))
    first.write_text(json.dumps(before[first] | {"weights": "0" * 64}))
    assert len(queue.measure_again(entries, place, told.append)) == 1
    assert f"{before[first]['name']}: its weights are not here; its result stays as it is" in told
    assert queue.read_result(first) == before[first] | {"weights": "0" * 64}


def test_a_model_that_is_sampled_in_another_way_is_measured_and_not_trained(
    taught: dict[str, Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its teacher's sampling has changed, or the result still tells it."""
    pupil = taught["s-rnn-0"]
    queue.work([pupil], place, said=silent)
    file, run = place.results / "s-rnn-0.json", queue.run_of(pupil, place)
    found = json.loads(file.read_text())
    found["made"]["recipe"]["teacher"]["sampling"] = {"temperature": 0.9}
    file.write_text(json.dumps(found))
    assert queue.result_of(pupil, place) is not None and pupil.teacher is not None
    monkeypatch.setattr(queue, "train", lambda *_, **__: pytest.fail("nothing is to be trained"))
    other = dataclasses.replace(pupil.sampling, end_bias=-20.0)
    changed = dataclasses.replace(pupil, sampling=other, teacher=dataclasses.replace(pupil.teacher, sampling=other))
    assert queue.run_of(changed, place) == run and queue.result_of(changed, place) is None
    (left,) = queue.left([changed], place)
    assert left.trained and left.minutes < pupil.minutes
    assert queue.work([changed], place, said=silent) == (["s-rnn-0"], [])
    assert queue.result_of(changed, place) is not None and queue.result_of(pupil, place) is None
    assert queue.measure_again([pupil], place, silent) == ["older-0", "s-rnn-0"]
    assert queue.result_of(pupil, place) is not None
    # The sampling of a recipe whose model is another one does not count.
    longer = dataclasses.replace(changed, recipe=dataclasses.replace(pupil.recipe, steps=9))
    assert queue.measure_again([longer], place, silent) == ["older-0", "s-rnn-0"]
    assert queue.result_of(pupil, place) is not None


def test_a_model_is_known_again_when_its_figures_have_changed(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.work(entries[:1], place, said=silent)
    file = place.results / "s-rnn-0.json"
    older = queue.read_result(file)
    del older["weights"]  # as results were: the figure of the test split says which model it is
    file.write_text(json.dumps(older))
    with monkeypatch.context() as patched:
        nll = measure.nll
        patched.setattr(measure, "nll", lambda *about: 1.01 * nll(*about))
        for _ in range(2):
            assert queue.measure_again(entries, place, silent) == ["s-rnn-0"]
    test = queue.read_result(file)["measured"]["test"]
    assert test == pytest.approx(1.01 * older["measured"]["test"])
    assert load_model(place.models / "s-rnn").training["test_bits_per_note"] == test
    assert queue.result_of(entries[0], place) is not None


def test_what_cannot_be_measured_again_costs_itself_alone(
    entries: list[Entry], place: Place, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.work(entries[:2], place, said=silent)
    file = place.results / "ann-rnn-0.json"
    result = queue.read_result(file)
    for change, why in (
        ({"recipe": result["made"]["recipe"] | {"data": "pop909"}}, "corpus pop909 is not built here"),
        ({"corpus": "of another edition"}, "corpus noise has another edition now"),
        ({"words": 1}, f"{file}: is of a model of words 1, today's are 2; train the model anew"),
    ):
        file.write_text(json.dumps(result | {"made": result["made"] | change}))
        said: list[str] = []

        def load(name: str) -> Corpus:
            if name == "pop909":
                raise BadInput("corpus pop909 is not built here")
            return corpus

        monkeypatch.setattr(corpora, "load", load)
        assert queue.measure_again(entries, place, said.append) == ["s-rnn-0"]
        assert said[0] == f"ann-rnn-0: {why}; its result stays as it is"
    with owned_folder(place.runs / "s-rnn-0"):
        assert queue.measure_again(entries, place, silent) == []


def stopping(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    step = training.Run.step

    def stopped(self: training.Run, pieces: Sequence[Any]) -> float:
        if self.progress.step == at:
            raise error
        return step(self, pieces)

    monkeypatch.setattr(training.Run, "step", stopped)


def weights(place: Place) -> dict[str, torch.Tensor]:
    return load_model(place.models / "s-rnn").network.state_dict()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Failed("state: cannot be written: No space left on device")])
def test_a_stopped_queue_goes_on_to_the_same_weights(
    error: BaseException, entries: list[Entry], place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = dataclasses.replace(place, runs=tmp_path / "other", models=tmp_path / "other-models")
    with monkeypatch.context() as patched:
        stopping(patched, 11, error)
        with pytest.raises(type(error)):
            queue.work(entries, place, said=silent)
    assert not place.results.exists() and not place.models.exists()
    (row, *_) = queue.left(entries, place)
    assert (row.entry.name, row.step, row.held) == ("s-rnn-0", 10, False)
    assert row.minutes == pytest.approx(10 * 2 / 12)
    queue.work(entries[:1], place, said=silent)
    (place.results / "s-rnn-0.json").unlink()
    queue.work(entries[:1], whole, said=silent)
    assert all(torch.equal(found, weights(whole)[name]) for name, found in weights(place).items())


def test_what_another_process_trains_is_left_to_it_by_name(entries: list[Entry], place: Place) -> None:
    said: list[str] = []
    with owned_folder(place.runs / "s-rnn-0"):
        # Another process: the lock is held by an open file, whoever opened it.
        finished, held = queue.work(entries[:2], place, said=said.append)
        assert [row.held for row in queue.left(entries[:1], place)] == [True]
    assert [row.held for row in queue.left(entries[:1], place)] == [False]
    assert finished == ["ann-rnn-0"] and held == ["s-rnn-0"]
    busy = "s-rnn-0: s-rnn-0: another muspike command is at work in this folder"
    # It is asked for again after the others.
    assert [line.replace(str(place.runs) + "/", "")[: len(busy)] == busy for line in said] == [True, False, False, True]


def test_what_another_process_finished_meanwhile_is_left_as_it_is(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one process trains the first model, another one trains the second."""
    trained: list[str] = []

    def noted(recipe: Any, **more: Any) -> Any:
        trained.append(recipe.architecture)
        if recipe.architecture == "s-rnn":
            queue.work([entries[1]], place, said=silent)
            shutil.rmtree(place.runs / "ann-rnn-0")
        return train(recipe, **more)

    monkeypatch.setattr(queue, "train", noted)
    assert queue.work(entries[:2], place, said=silent) == (["s-rnn-0"], [])
    assert trained == ["s-rnn", "ann-rnn"]


def test_a_model_is_owned_until_its_result_is_written(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = measure.measured

    def watched(*about: Any, **more: Any) -> Any:
        assert is_owned(place.runs / "s-rnn-0")
        said: list[str] = []
        assert queue.work(entries[:1], place, said=said.append) == ([], ["s-rnn-0"])
        assert "another muspike command is at work" in said[0]
        return measured(*about, **more)

    monkeypatch.setattr(measure, "measured", watched)
    assert queue.work(entries[:1], place, said=silent) == (["s-rnn-0"], [])
    assert not is_owned(place.runs / "s-rnn-0")


def test_a_queue_that_is_killed_while_it_measures_leaves_what_ships_as_it_was(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.work(entries[:1], place, said=silent)
    shipped = {file: file.read_bytes() for file in (place.models / "s-rnn").iterdir()}
    longer = dataclasses.replace(entries[0], recipe=dataclasses.replace(entries[0].recipe, steps=14))
    with monkeypatch.context() as patched:
        patched.setattr(measure, "measured", lambda *about: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            queue.work([longer], place, said=silent)
    assert {file: file.read_bytes() for file in (place.models / "s-rnn").iterdir()} == shipped
    assert queue.result_of(entries[0], place) is not None
    assert queue.work([longer], place, said=silent) == (["s-rnn-0"], [])
    assert load_model(place.models / "s-rnn").training["settings"]["steps"] == 14


def test_a_training_that_diverges_does_not_keep_the_others_waiting(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping(monkeypatch, 11, Diverged("training: the loss is nan at step 11"))
    said: list[str] = []
    with pytest.raises(
        Failed, match=r"^s-rnn-0, s-rnn-3: could not be trained; the first: training: the loss is nan at step 11"
    ):
        queue.work(entries, place, said=said.append)
    lower = "(here: with a lower learning_rate in the recipe, from step 0)"
    assert f"s-rnn-0: training: the loss is nan at step 11 {lower}" in said
    assert [file.name for file in place.results.iterdir()] == ["ann-rnn-0.json"]


def test_a_damaged_model_does_not_keep_the_others_waiting(taught: dict[str, Entry], place: Place) -> None:
    """The teacher's weights are damaged: its pupil cannot be trained, another model can."""
    queue.work([taught["older-0"]], place, said=silent)
    (weights,) = (queue.run_of(taught["older-0"], place) / "rounded").glob("weights-*")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(Failed, match=r"^s-rnn-0: could not be trained; the first: .*weights-.*is damaged"):
        queue.work(list(taught.values()), place, said=silent)
    assert (place.results / "s-cnn-0.json").exists()


def test_what_a_killed_process_left_beside_a_result_is_no_result(entries: list[Entry], place: Place) -> None:
    queue.work(entries[1:2], place, said=silent)
    half = place.results / ".ann-rnn-0-x2zk_m1a.json"
    half.write_text("{")
    assert list(tables.read_results(place, [])) == ["ann-rnn"]
    assert queue.measure_again(entries, place, silent) == ["ann-rnn-0"] and not half.exists()


def test_a_log_has_no_lines_of_a_recipe_before(place: Place, tmp_path: Path) -> None:
    """Only a GAN's log keeps the lines of a warm-up."""
    for text, first in (("architecture = 's-gan'\n", "warm-up step"), ("architecture = 's-rnn'\n", "step")):
        (tmp_path / "r.toml").write_text(f"[mine]\n{text}preset = 'tiny'\nsteps = 2\n")
        queue.work(read_recipes(tmp_path / "r.toml"), place, said=silent)
        assert (place.logs / "mine-0.txt").read_text().startswith(f"{first} 2: ")


def test_the_command_takes_the_folder_in_which_it_is_and_no_empty_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.toml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    assert main(["list", "--recipes", "r.toml", "--to", "."]) == 0
    capsys.readouterr()
    for bad, why in ((["--to", ""], "'' is no path"), (["--threads", "0"], "'0' must be"), (["--zz"], "unrecognized")):
        assert main(["train", "--recipes", "r.toml", *bad]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert why in line


def test_the_estimate_counts_the_steps_of_a_warm_up(place: Place, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[s-gan]\npreset = 'tiny'\nsteps = 8\nminutes = 12\n")
    (entry,) = read_recipes(tmp_path / "r.toml")
    more = min(8, architectures.preset("s-gan", "tiny")["adversarial"]["steps"])
    seen: list[float] = []
    with pytest.MonkeyPatch.context() as patched:
        step = adversarial.Run.step

        def watched(self: adversarial.Run, pieces: Any) -> float:
            seen.append(queue.left([entry], place)[0].minutes)
            return step(self, pieces)

        patched.setattr(adversarial.Run, "step", watched)
        queue.work([entry], place, said=silent)
    assert seen[0] == pytest.approx(12 * more / (8 + more)) and queue.left([entry], place) == []


TAUGHT = """
[s-rnn]
preset = "tiny"
steps = 4
teacher = "older"
[older]
architecture = "ann-rnn"
preset = "tiny"
steps = 6
[s-cnn]
preset = "tiny"
steps = 4
"""


@pytest.fixture
def taught(tmp_path: Path) -> dict[str, Entry]:
    (tmp_path / "r.toml").write_text(TAUGHT)
    return {entry.name: entry for entry in read_recipes(tmp_path / "r.toml")}


def test_a_teacher_is_trained_before_its_pupil(
    taught: dict[str, Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    teachers: list[Any] = []

    def noted(recipe: Any, **more: Any) -> Any:
        teachers.append(recipe.teacher)
        return train(recipe, **more)

    monkeypatch.setattr(queue, "train", noted)
    pupil = taught["s-rnn-0"]
    assert queue.work([pupil], place, said=silent) == (["older-0", "s-rnn-0"], [])
    assert teachers == [None, queue.run_of(taught["older-0"], place) / "rounded"]
    record = load_model(queue.run_of(pupil, place) / "model").training
    assert record["teacher"] == training.tensors_digest(load_model(teachers[1]).network.state_dict())
    # Both are finished, also when their runs are removed; another pupil needs the teacher again.
    shutil.rmtree(place.runs)
    assert queue.work([pupil], place, said=silent) == ([], [])
    (place.results / "s-rnn-0.json").unlink()
    assert queue.work([pupil], place, said=silent) == (["older-0", "s-rnn-0"], [])
    # A teacher of another recipe makes another pupil.
    assert pupil.teacher is not None
    longer = dataclasses.replace(pupil.teacher, recipe=dataclasses.replace(pupil.teacher.recipe, steps=7))
    assert queue.result_of(pupil, place) is not None
    assert queue.result_of(dataclasses.replace(pupil, teacher=longer), place) is None


SPARSER = (
    TAUGHT
    + """
[sparser]
architecture = "s-rnn"
preset = "tiny"
init = "s-rnn"
teacher = "older"
steps = 2
target_rate = 0.05
"""
)


def test_a_model_starts_from_the_weights_of_another(
    tmp_path: Path, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other, and what taught it, are trained first; the weights are those that would ship."""
    (tmp_path / "r.toml").write_text(SPARSER)
    entries = {entry.name: entry for entry in read_recipes(tmp_path / "r.toml")}
    sparser = entries["sparser-0"]
    initial: list[Any] = []

    def noted(recipe: Any, **more: Any) -> Any:
        initial.append(recipe.initial)
        return train(recipe, **more)

    monkeypatch.setattr(queue, "train", noted)
    assert queue.work([sparser], place, said=silent) == (["older-0", "s-rnn-0", "sparser-0"], [])
    assert initial == [None, None, queue.run_of(entries["s-rnn-0"], place) / "rounded"]
    record = load_model(queue.run_of(sparser, place) / "model").training
    assert record["initial"] == training.tensors_digest(load_model(initial[2]).network.state_dict())
    assert record["settings"]["target_rate"] == 0.05 and record["teacher"] is not None
    assert queue.work([sparser], place, said=silent) == ([], [])
    # Another recipe of what it starts from makes another model.
    assert sparser.initial is not None
    longer = dataclasses.replace(sparser.initial, recipe=dataclasses.replace(sparser.initial.recipe, steps=7))
    assert queue.result_of(sparser, place) is not None
    assert queue.result_of(dataclasses.replace(sparser, initial=longer), place) is None


def test_a_result_from_before_a_key_was_known_stands(taught: dict[str, Entry], place: Place) -> None:
    """Also where its teacher's recipe lacks the key; with another value than the default it is of another recipe."""
    pupil = taught["s-rnn-0"]
    queue.work([pupil], place, said=silent)
    file = place.results / "s-rnn-0.json"
    found = json.loads(file.read_text())
    for recipe in (found["made"]["recipe"], found["made"]["recipe"]["teacher"]["recipe"]):
        assert recipe.pop("rate_weight") is None
    file.write_text(json.dumps(found))
    assert queue.result_of(pupil, place) is not None
    other = dataclasses.replace(pupil, recipe=dataclasses.replace(pupil.recipe, rate_weight=5.0))
    assert queue.result_of(other, place) is None


def test_pupils_of_a_teacher_that_another_process_trains_come_last(taught: dict[str, Entry], place: Place) -> None:
    said: list[str] = []
    with owned_folder(place.runs / "older-0"):
        assert queue.work(list(taught.values()), place, said=said.append) == (["s-cnn-0"], ["older-0"])
    assert said[-1] == "s-rnn-0: left out: what it learns from is not finished: older-0"
    queue.work([taught["older-0"]], place, said=silent)
    assert queue.work(list(taught.values()), place, said=silent) == (["s-rnn-0"], [])


def test_a_corpus_that_is_not_here_costs_its_own_models_alone(
    place: Place, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def load(name: str) -> Corpus:
        if name == "pop909":
            raise BadInput("corpus pop909 is not built here; muspike data build pop909 downloads it and builds it")
        return corpus

    tables_of_pop909 = "".join(
        f'[s-rnn-{name}]\narchitecture = "s-rnn"\ndata = "pop909"\npreset = "tiny"\nsteps = 4\nminutes = 5\n'
        for name in ("one", "two")
    )
    (tmp_path / "r.toml").write_text(tables_of_pop909 + TINY)
    entries = read_recipes(tmp_path / "r.toml")
    monkeypatch.setattr(corpora, "load", load)
    said: list[str] = []
    chosen = [entry for entry in entries if entry.name != "s-rnn-3" and entry.name != "s-rnn-0"]
    assert queue.work(chosen, place, said=said.append) == (["ann-rnn-0"], [])
    assert said[0] == (
        "s-rnn-one-0, s-rnn-two-0: left out: "
        "corpus pop909 is not built here; muspike data build pop909 downloads it and builds it"
    )
    assert len(said) == 3
    queue.print_left(chosen, place)
    out = capsys.readouterr().out.splitlines()
    assert out[0].endswith("5 min  not begun; corpus pop909 is not here")
    assert out[-1] == "corpus pop909 is not built here; muspike data build pop909 downloads it and builds it"
    # Where the corpus is, the same command trains them; elsewhere their results are then taken as they are.
    monkeypatch.setattr(corpora, "load", lambda _: corpus)
    assert queue.work(chosen, place, said=silent) == (["s-rnn-one-0", "s-rnn-two-0"], [])
    monkeypatch.setattr(corpora, "load", load)
    assert queue.left(chosen, place) == []
    result = place.results / "s-rnn-one-0.json"
    told = json.loads(result.read_text())
    told["made"]["recipe"]["steps"] = 5
    result.write_text(json.dumps(told))
    assert [row.entry.name for row in queue.left(chosen, place)] == ["s-rnn-one-0"]


def test_another_recipe_or_other_words_are_trained_anew(
    entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = entries[1]
    wider = dataclasses.replace(first, recipe=dataclasses.replace(first.recipe, network={"width": 24}))
    longer = dataclasses.replace(first, recipe=dataclasses.replace(first.recipe, steps=9))
    for changed in (longer, wider, first):
        assert queue.result_of(changed, place) is None
        assert queue.work([changed], place, said=silent) == (["ann-rnn-0"], [])
        settings = load_model(queue.run_of(changed, place) / "model").training["settings"]
        assert settings["steps"] == changed.recipe.steps and queue.result_of(changed, place) is not None
    cooler = dataclasses.replace(first, sampling=dataclasses.replace(first.sampling, temperature=0.5))
    assert queue.result_of(cooler, place) is None
    file = place.results / "ann-rnn-0.json"
    other = json.loads(file.read_text())
    other["made"]["words"] = 1
    file.write_text(json.dumps(other))
    assert [row.entry.name for row in queue.left([first], place)] == ["ann-rnn-0"]
    with pytest.raises(BadInput, match=r"ann-rnn-0\.json: is of a model of words 1, today's are 2; train the model"):
        tables.read_results(place, ["ann-rnn"])
    file.write_text("{}")
    with pytest.raises(BadInput, match=r"ann-rnn-0\.json: is no result of the queue"):
        tables.read_results(place, ["ann-rnn"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[s-rnn]\nstep = 3", r"\[s-rnn\]: unknown key 'step'; known are architecture, preset"),
        ("[s-rnn]\nsteps = -3", r"\[s-rnn\]: recipe: steps -3 must be"),
        ("[s-rnn]\npreset = 'huge'", r"\[s-rnn\]: s-rnn: preset 'huge'"),
        ("[s-rnm]", r"\[s-rnm\]: architecture 's-rnm'"),
        ("[s-rnn]\ntwin = 'ann'", r"\[s-rnn\]: twin 'ann' has no table; known are s-rnn"),
        ("[s-rnn]\nteacher = 'ann'", r"\[s-rnn\]: teacher 'ann' has no table; known are s-rnn"),
        ("[s-rnn]\nteacher = 's-rnn'", r"\[s-rnn\]: teacher 's-rnn' has a teacher itself; it must have none"),
        ("", "holds no recipe"),
        ("a = [" + "[" * 5000, "cannot be read"),
        ("['../models/s-rnn']", r"table '../models/s-rnn' is no name: at most 100 letters, digits"),
        ("['/x']", "table .* is no name"),
        ('["a\\u0000"]', "table .* is no name"),
        (f"[{'a' * 101}]", "table .* is no name"),
        ("[s-rnn]\nlearning_rate = true", r"\[s-rnn\]: learning_rate = True is of the wrong type"),
        ("[s-rnn]\nminutes = nan", r"\[s-rnn\]: minutes = nan must be above 0"),
        ("[s-rnn]\nseeds = []", r"\[s-rnn\]: seeds are \[\]; one or more are wanted, each once"),
        ("[s-rnn]\nseeds = [0, 0]", r"\[s-rnn\]: seeds are \[0, 0\]; one or more are wanted, each once"),
        ("[s-rnn]\ntwin = 's-rnn'", r"\[s-rnn\]: is its own twin"),
        ("[s-rnn]\ndata = 'nope'", r"\[s-rnn\]: .*nope"),
        ("[s-rnn]\nnetwork = { x = 1 }", r"\[s-rnn\]: network: unknown key 'x'"),
        ("[s-rnn]\nnetwork = { width = -1 }", r"\[s-rnn\]: S-RNN: width -1 must"),
        ("[s-rnn]\nnetwork = { width = 1979-05-27 }", r"\[s-rnn\]: network: .*width"),
        ("[s-rnn]\nprecision = 'fp8'", r"\[s-rnn\]: training: precision fp8 must be one of"),
        ("[ann-rnn]\ntarget_rate = 0.1", r"\[ann-rnn\]: target_rate 0.1 \(--target-rate\): ann-rnn does not"),
        ("[s-rnn]\ninit = 's-cnn'", r"\[s-rnn\]: init 's-cnn' has no table; known are s-rnn"),
        ("[s-rnn]\ninit = 's-rnn'", r"\[s-rnn\]: init 's-rnn' has an init itself; it must have none"),
        (
            "[s-rnn]\ninit = 's-cnn'\n[s-cnn]",
            r"\[s-rnn\]: init 's-cnn' is of architecture s-cnn, this table of s-rnn; they must be the same",
        ),
        (
            "[s-rnn]\ninit = 'wide'\n[wide]\narchitecture = 's-rnn'\nnetwork = { width = 7 }",
            r"\[s-rnn\]: init 'wide' has network width 7, this table 436; they must be the same",
        ),
        (
            "[s-gan]\n[a]\narchitecture = 's-gan'\ninit = 's-gan'\nteacher = 'ann-rnn'\n[ann-rnn]",
            r"\[a\]: init 's-gan' leaves no warm-up, in which alone a teacher teaches s-gan; leave teacher out",
        ),
        (
            "[s-rnn]\ntwin = 'ann-rnn'\n[ann-rnn]\ndata = 'pop909'",
            r"\[s-rnn\]: twin 'ann-rnn' learns pop909, this table jsb; they must learn the same corpus",
        ),
        (
            "[s-rnn]\nteacher = 'ann-rnn'\n[ann-rnn]\ndata = 'pop909'",
            r"\[s-rnn\]: teacher 'ann-rnn' learns pop909, this table jsb; they must learn the same corpus",
        ),
        ("[s-rnn]\ntable = 'tables'", r"\[s-rnn\]: table 'tables' is none of the documentation; known are quality"),
        ("[s-rnn]\nseeds = 3", r"\[s-rnn\]: seeds = 3 is of the wrong type"),
        ("[s-rnn]\ntemperature = 0", r"\[s-rnn\]: sampling: temperature 0 must be"),
        ("s-rnn = 3", r"\[s-rnn\]: is 3; a table is wanted"),
        ("[s-rnn", "cannot be read"),
    ],
)
def test_recipes_that_are_none_are_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(BadInput, match=rf"r\.toml: {message}"):
        read_recipes(tmp_path / "r.toml")


def test_the_command_line_trains_lists_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "r.toml").write_text(TINY)
    where = ["--recipes", str(tmp_path / "r.toml"), "--to", str(tmp_path / "to")]
    assert main(["list", *where]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 3 models are finished; 0.4 core hours are left"
    assert main(["train", "ann-rnn-0", *where]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 1 models are finished; 0.0 core hours are left"
    assert (tmp_path / "to" / "results" / "ann-rnn-0.json").is_file()
    assert main(["train", "s-rnn-7", *where]) == 2
    error = capsys.readouterr().err
    assert error == "muspike: s-rnn-7: there is no such model in the queue; known are s-rnn-0, ann-rnn-0, s-rnn-3\n"
    assert main(["measure", *where]) == 0
    shutil.rmtree(tmp_path / "to" / "runs")
    assert main(["measure", *where]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"muspike: {tmp_path}/to/results: no model was measured; results are wanted there, and")


@pytest.mark.parametrize("name", ["results", "logs", "models"])
def test_a_place_that_cannot_be_written_is_found_before_training(
    name: str, entries: list[Entry], place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    getattr(place, name).write_text("a file")
    monkeypatch.setattr(queue, "train", lambda *_, **__: pytest.fail("it is to be found before"))
    with pytest.raises(BadInput, match=f"{name}: is a file; a folder is wanted"):
        queue.work(entries, place, said=silent)


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("name",), None), (("family",), 3), (("twin",), []), (("made",), "x"), (("made", "recipe"), None),
        (("made", "recipe", "seed"), math.inf), (("measured", "test"), "x"), (("data",), None),
    ],
)  # fmt: skip
def test_a_damaged_result_is_refused_by_name(
    keys: tuple[str, ...], value: Any, entries: list[Entry], place: Place
) -> None:
    place.results.mkdir()
    found = result("s-rnn", 0, 3.0)
    within = found
    for key in keys[:-1]:
        within = within[key]
    within[keys[-1]] = value
    file = place.results / "s-rnn-0.json"
    file.write_text(json.dumps(found))
    with pytest.raises(BadInput, match=r"s-rnn-0\.json: is no result of the queue"):
        queue.read_result(file)
    assert [row.entry.name for row in queue.left(entries, place)] == ["s-rnn-0", "ann-rnn-0", "s-rnn-3"]


def result(
    family: str,
    seed: int,
    test: float,
    twin: str | None = None,
    chip: float | None = None,
    data_set: str = "jsb",
) -> dict[str, Any]:
    measured = {
        "parameters": 1000, "steps": 10, "validation": test + 0.1, "test": test, "test_on_chip": chip,
        "firing_rate": None if chip is None else 0.05, "pitch_count": 20.0, "pitch_in_scale_rate": 0.9,
        "empty_beat_rate": 0.0, "parallel_rate": 0.05, "ended": 0.5,
    }  # fmt: skip
    data = {
        "pitch_count": 22.0,
        "pitch_in_scale_rate": 0.95,
        "empty_beat_rate": 0.001,
        "parallel_rate": 0.007,
        "ended": 0.96,
    }
    recipe = {"seed": seed, "data": data_set, "steps": 10, "teacher": None, "target_rate": None}
    made = {"words": tokens.VERSION, "recipe": recipe, "preset": {"network": {}}}
    return {
        "name": f"{family}-{seed}",
        "family": family,
        "twin": twin,
        "made": made,
        "measured": measured,
        "data": data,
    }


def test_tables_say_mean_and_spread(place: Place) -> None:
    place.results.mkdir()
    for one in (
        result("s-rnn", 0, 3.0, "ann-rnn", 3.03),
        result("s-rnn", 1, 3.2, "ann-rnn", 3.2),
        result("ann-rnn", 0, 2.5),
    ):
        (place.results / f"{one['name']}.json").write_text(json.dumps(one))
    results = tables.read_results(place, ["s-rnn", "ann-rnn"])
    nothing: dict[str, Any] = {"architectures": {}}
    rows = tables.quality_table(results, nothing).splitlines()
    assert rows[2] == (
        "| s-rnn | 1,000 | 10 | 2 | 3.200 (3.100 to 3.300) | 3.100 (3.000 to 3.200) | +24.0% | +0.50% | "
        "0.050 (0.050 to 0.050) | 20.0 (20.0 to 20.0) | 0.900 (0.900 to 0.900) | 0.0000 (0.0000 to 0.0000) | "
        "5.0% (5.0% to 5.0%) | 50% (50% to 50%) |"
    )
    assert rows[3].startswith("| ann-rnn | 1,000 | 10 | 1 | 2.600 | 2.500 |  |  | – |")
    assert {row.count("|") for row in rows} == {15}
    assert tables.likelihood_table(results, nothing).splitlines()[2] == (
        "| S-RNN | 1,000 | 3.000 | +1.00 % | 2.500 | 0.050 |"
    )


def test_a_twin_that_had_another_chance_is_marked() -> None:
    nothing: dict[str, Any] = {"architectures": {}}
    for key, value in (("steps", 20), ("teacher", {"recipe": {}}), (None, None)):
        results = {"s-rnn": [result("s-rnn", 0, 3.0, "ann-rnn", 3.0)], "ann-rnn": [result("ann-rnn", 0, 2.5)]}
        if key is not None:
            results["s-rnn"][0]["made"]["recipe"][key] = value
        mark = "" if key is None else "*"
        assert f" | +20.0%{mark} | " in tables.quality_table(results, nothing).splitlines()[2]
        assert f" | 2.500{mark} | " in tables.likelihood_table(results, nothing).splitlines()[2]


def test_twins_of_one_teacher_are_trained_alike_though_one_result_is_older() -> None:
    """The older one told the teacher's sampling, and did not know a key of recipes."""
    recipe = {"data": "jsb", "steps": 10}
    results = {"s-rnn": [result("s-rnn", 0, 3.0, "ann-rnn", 3.0)], "ann-rnn": [result("ann-rnn", 0, 2.5)]}
    results["s-rnn"][0]["made"]["recipe"]["teacher"] = {"recipe": recipe, "sampling": {"top_p": 0.8}}
    results["ann-rnn"][0]["made"]["recipe"]["teacher"] = {"recipe": recipe | {"rate_weight": None}}
    assert " | +20.0% | " in tables.quality_table(results, {"architectures": {}}).splitlines()[2]


def test_the_models_of_other_corpora_have_a_table_of_their_own() -> None:
    jsb = {"s-rnn": [result("s-rnn", 0, 3.0, None, 3.03)]}
    pop909 = {"s-rnn-pop909": [result("s-rnn-pop909", 0, 4.0, None, 4.04, "pop909")]}
    files: dict[str, Any] = {tables.BENCH: {"architectures": {}}, tables.TARGETS: {}, tables.LEDGER: {}}
    made = tables.tables({**jsb, **pop909}, files)
    first, other = (made[name]().splitlines() for name in ("quality", "other corpora"))
    assert [line.split(" | ")[0] for line in first[2:]] == ["| s-rnn", "| Bach"]
    assert other[2].startswith("| s-rnn-pop909 | 1,000 | 10 | 1 | 4.100 | 4.000 |  | +1.00% |")
    assert other[3].startswith("| POP909 |") and len(other) == 4
    assert tables.tables(jsb, files)["other corpora"]() == "No model of another corpus has been trained yet."
    assert made["music"]().splitlines()[-1].startswith("| Bach |") and "pop909" not in made["likelihood"]()


def of_recipe(found: dict[str, Any], architecture: str, preset: str, **network: float) -> dict[str, Any]:
    found["made"]["recipe"] |= {"architecture": architecture, "preset": preset, "network": network}
    found["made"]["preset"] = {"network": {"v_threshold": 0.5}}
    return found


def test_the_values_of_the_paper_stand_beside_ours() -> None:
    results = {
        "s-rnn": [of_recipe(result("s-rnn", 0, 3.0), "s-rnn", "small")],
        "s-rnn-other": [of_recipe(result("s-rnn-other", 0, 3.0), "s-rnn", "paper", v_threshold=0.9)],
        "s-rnn-paper": [of_recipe(result("s-rnn-paper", 0, 3.0), "s-rnn", "paper")],
    }
    results["s-rnn-paper"][0]["measured"]["pitch_count"] = 31.26
    rows = tables.published_table(results, tables.read_published()).splitlines()[2:]
    assert rows == [
        "| S-RNN on JSB chorales | `pitch_count` | 43.1 | 31.3 | 20.0 | 22.8 | 22.0 |",
        f"| S-Transformer on JSB chorales | `pitch_in_scale_rate` | 0.870 |{' not trained yet |' * 2}  | 0.950 |",
        "| S-GAN on EMOPIA | `empty_beat_rate` | 0.256 | not trained yet | not trained yet | 0.004 |  |",
    ]


def test_sparse_models_stand_beside_those_that_ship(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        "[s-rnn]\npreset='tiny'\n"
        "[sparse]\narchitecture='s-rnn'\npreset='tiny'\ninit='s-rnn'\ntarget_rate=0.04\nrate_weight=300.0\ntable='sparse'\n"
    )
    results = {name: [of_recipe(result(name, 0, 3.0, None, 3.03), "s-rnn", "small")] for name in ("s-rnn", "sparse")}
    results["sparse"][0]["made"]["recipe"]["target_rate"] = 0.04
    results["sparse"][0]["measured"] |= {"firing_rate": 0.041, "test": 3.006, "test_on_chip": 3.009006}
    files: dict[str, Any] = {tables.BENCH: {"architectures": {}}, tables.TARGETS: {}, tables.LEDGER: {}}
    made = tables.tables(results, files, read_recipes(tmp_path / "r.toml"))
    assert (
        made["published"]().splitlines()[2].startswith("| S-RNN on JSB chorales | `pitch_count` | 43.1 | not trained")
    )
    assert made["sparse"]().splitlines()[2:] == ["| sparse | 0.04 | 0.041 | 0.050 | 3.100 | 3.006 | +0.2% | +0.10% |"]
    assert "| sparse |" not in made["quality"]()
    alone = tables.tables({"sparse": results["sparse"]}, files, read_recipes(tmp_path / "r.toml"))
    assert "| 43.1 | not trained yet | not trained yet |" in alone["published"]()
    assert alone["sparse"]().splitlines()[2] == "| sparse | 0.04 | 0.041 |  | 3.100 | 3.006 |  | +0.10% |"
    del results["sparse"]
    assert tables.tables(results, files, read_recipes(tmp_path / "r.toml"))["sparse"]() == "None has been trained yet."


def test_thresholds_stand_in_their_order_and_in_no_other_table(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(
        "[s-rnn]\npreset='tiny'\n"
        "[low]\narchitecture='s-rnn'\npreset='tiny'\nnetwork={v_threshold=0.3}\ntable='thresholds'\n"
        "[mine]\narchitecture='s-rnn'\npreset='paper'\ntable='paper models'\n"
    )
    results = {
        "s-rnn": [of_recipe(result("s-rnn", 0, 3.0, None, 3.03), "s-rnn", "tiny")],
        "low": [of_recipe(result("low", 0, 3.5, None, 3.5), "s-rnn", "tiny", v_threshold=0.3)],
        "mine": [of_recipe(result("mine", 0, 3.5, None, 3.5), "s-rnn", "paper")],
    }
    files: dict[str, Any] = {tables.BENCH: {"architectures": {}}, tables.TARGETS: {}, tables.LEDGER: {}}
    made = tables.tables(results, files, read_recipes(tmp_path / "r.toml"))
    first = {name: [row.split(" | ")[0] for row in made[name]().splitlines()[2:]] for name in made if name != "targets"}
    assert first["thresholds"] == ["| 0.3", "| 0.5"]
    assert first["quality"] == ["| s-rnn", "| Bach"] and first["paper models"] == ["| mine", "| Bach"]
    assert made["thresholds"]().splitlines()[3].startswith("| 0.5 | 3.100 | 3.000 | +1.00% | 0.050 | 20.0 |")


def test_the_ledger_says_what_each_step_costs_and_what_all_cost_together() -> None:
    rungs = [("s-rnn", 2.0), ("s-rnn", 2.5), ("s-rnn", 2.4), ("s-transformer", 3.0), ("s-transformer", 2.7)]
    made = tables.ledger_table(
        {f"{n}": {"family": family, "about": f"step {n}", "validation": bits} for n, (family, bits) in enumerate(rungs)}
    )
    assert made.splitlines()[2:] == [
        "| **S-RNN** | | | |",
        "| step 0 | 2.000 | | |",
        "| step 1 | 2.500 | +25.0% | +25.0% |",
        "| step 2 | 2.400 | -4.0% | +20.0% |",
        "| **S-Transformer** | | | |",
        "| step 3 | 3.000 | | |",
        "| step 4 | 2.700 | -10.0% | -10.0% |",
    ]


def test_the_change_on_the_chip_is_that_of_the_report_if_it_is_of_this_model(place: Place) -> None:
    made = result("s-rnn", 0, 3.0, "ann-rnn", 3.03)
    model = {"parameters": 1000, "training_steps": 10, "validation_bits_per_note": 3.1}
    quality = {"nll_bits_per_note": {"torch": 3.0, "chip": {"loihi1": 3.06}}}
    bench = {"architectures": {"s-rnn": {"model": model, "quality": quality}}}
    assert tables.on_chip(made, bench) == pytest.approx(0.02)
    model["validation_bits_per_note"] = 3.1000001  # another model of the same size
    assert tables.on_chip(made, bench) == pytest.approx(0.01)
    assert tables.on_chip(result("ann-rnn", 0, 2.5), bench) is None


def test_the_recipes_of_the_checkout_can_be_read_and_every_model_that_ships_has_one() -> None:
    found = read_recipes(recipes.RECIPES)
    shipping = {entry.ships: entry for entry in found if entry.ships}
    there = {folder.name for folder in SHIPPED.iterdir()}
    # Those of other corpora ship when they are trained.
    assert {name for name, entry in shipping.items() if entry.recipe.data == tables.MAIN} <= there <= set(shipping)
    families = {entry.family: entry for entry in found}
    for entry in found:
        if entry.ships and entry.recipe.data == tables.MAIN:
            twin = families[entry.twin or ""]
            assert twin.recipe.steps == entry.recipe.steps and twin.recipe.preset == entry.recipe.preset
            assert twin.teacher is not None and entry.teacher is not None
            assert twin.teacher.name == entry.teacher.name and not twin.teacher.name.startswith("s-")
    # On each corpus of the queue all five spiking architectures, in files of one size.
    for corpus in ("jsb", "pop909", "emopia"):
        of = [entry.recipe for entry in found if entry.ships and entry.recipe.data == corpus]
        assert sorted(recipe.architecture for recipe in of) == ["s-cnn", "s-gan", "s-lstm", "s-rnn", "s-transformer"]
        assert {recipe.preset for recipe in of} == {"small"}
    # A run fits 90 minutes of one core.
    assert all(entry.minutes <= 90 for entry in found)


def test_the_tables_of_the_documentation_are_those_of_the_results() -> None:
    place = Place.of_checkout()
    entries = read_recipes()
    results = tables.read_results(place, [entry.family for entry in entries])
    known = tables.tables(results, tables.read_files(ROOT), entries)
    for page in tables.PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        assert "<!-- table " in text
        assert filled(text, known, page) == text, f"{page}: python -m muspike.bench.shipped tables"
    pages = "".join((ROOT / page).read_text(encoding="utf-8") for page in tables.PAGES)
    assert [name for name in known if f"<!-- table {name} -->" not in pages] == []


def test_what_ships_is_what_was_measured() -> None:
    place = Place.of_checkout()
    for entry in read_recipes():
        if entry.ships and (SHIPPED / entry.ships).is_dir():
            told = queue.read_result(place.results / f"{entry.name}.json")
            training_record = load_model(entry.ships).training
            # Results may have been measured again, on another machine.
            assert training_record["test_bits_per_note"] == pytest.approx(told["measured"]["test"], rel=1e-6)
            assert np.isfinite(training_record["validation_bits_per_note"])
