"""Simulated listeners do what their scenario says, and their tables can be written and read."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("pandas", reason="the extra study is not installed")

import numpy as np
import pandas as pd

from muspike.bench.study import answers, effects, questionnaire, simulate, trust
from muspike.bench.study.effects import Spreads, Turing
from muspike.cli import main
from muspike.errors import BadInput
from small_study import small_study

FORM = questionnaire.load()
SIZE = trust.Size({"expert": 40, "amateur": 40, "normal": 40}, 3, 12)


def test_means_and_shares_are_those_of_the_scenario() -> None:
    study = trust.made_study(SIZE, 0)
    # Without what makes one study differ from the next, its means are the true ones.
    scenario = replace(
        trust.careful(effects.load("moderate")),
        spreads=Spreads(listener=0.3, piece=0, listener_source=0.2, taste=0.5, listener_item=0.2, piece_item=0),
        turing=Turing(listener=0.2, piece=0),
    )
    found = simulate.listeners(study, FORM, scenario, SIZE.listeners, 1)
    means = found.ratings.groupby(["group", "source", "item"])["rating"].mean()
    for (group, source, item), mean in means.items():
        true = simulate.true_mean(scenario, FORM, study, group, source, item)
        assert mean == pytest.approx(true, abs=0.25), (group, source, item)
    overall = found.ratings[found.ratings["item"] == "overall"].groupby(["group", "source"])["rating"].mean()
    assert overall["expert", "human"] == pytest.approx(3.5, abs=0.15)
    assert overall["amateur", "human"] == pytest.approx(3.6, abs=0.15)
    assert overall["amateur", "model-1"] > overall["amateur", "model-2"]  # by the spread of sources
    shares = found.turing.groupby(["group", "source"])["said_human"].mean()
    assert shares["expert", "human"] == pytest.approx(0.42, abs=0.08)
    assert shares["normal", "model-1"] == pytest.approx(0.42, abs=0.08)


def test_the_published_numbers_are_the_true_values_of_their_scenario() -> None:
    scenario, study = effects.load("muspike-paper"), trust.made_study(SIZE, 0)
    for source, mean in (("human", 3.59), ("model-1", 1.56), ("model-2", 1.56)):
        assert simulate.true_mean(scenario, FORM, study, "amateur", source, "melody") == pytest.approx(mean, abs=1e-6)
    assert simulate.true_said_human(scenario, study, "expert", "human") == 0.282


def test_an_item_follows_its_metric_and_the_others_do_not(tmp_path: Path) -> None:
    study = small_study(tmp_path, excerpts=8)
    random = np.random.default_rng(0)
    ids = [stimulus.id for stimulus in study.stimuli]
    metrics = pd.DataFrame({"pitch_class_entropy": random.normal(3, 0.2, size=len(ids))}, index=ids)
    scenario = replace(trust.careful(effects.load("metric")), spreads=Spreads(piece=0, piece_item=0))
    assert scenario.metrics == ("pitch_class_entropy",)
    found = simulate.listeners(study, FORM, scenario, {"normal": 20}, 0, metrics).ratings
    means = found.groupby(["item", "stimulus"])["rating"].mean().unstack("item")
    correlation = means.corrwith(metrics["pitch_class_entropy"])
    assert correlation["overall"] < -0.9 and (correlation.drop("overall").abs() < 0.7).all()
    with pytest.raises(ValueError, match="no stated mean"):
        simulate.true_mean(scenario, FORM, study, "normal", "human", "overall")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (None, "metric pitch_class_entropy: is not measured; known are none"),
        ([2.0] * 8, "metric pitch_class_entropy: is 2 for all pieces"),
        ([1.0, math.nan] * 4, "metric pitch_class_entropy: is not defined for 4 of 8 pieces"),
    ],
)
def test_a_metric_that_no_item_can_follow_is_refused(tmp_path: Path, values: list[float] | None, told: str) -> None:
    study = small_study(tmp_path)
    ids = [stimulus.id for stimulus in study.stimuli]
    metrics = None if values is None else pd.DataFrame({"pitch_class_entropy": values}, index=ids)
    with pytest.raises(BadInput, match=told):
        simulate.listeners(study, FORM, effects.load("metric"), {"normal": 1}, 0, metrics)


def test_a_second_hearing_shares_all_but_the_noise(tmp_path: Path) -> None:
    study = small_study(tmp_path, excerpts=3)
    scenario = replace(trust.careful(effects.load("none")), spreads=Spreads(taste=3.0))
    found = simulate.listeners(study, FORM, scenario, {"normal": 60}, 0).ratings
    keys = ["listener", "stimulus", "item"]
    both = found[~found["repeat"]].merge(found[found["repeat"]], on=keys)
    alike = (both["rating_x"] - both["rating_y"]).abs().mean()
    strangers = (both["rating_x"] - both["rating_y"].sample(frac=1, random_state=0).to_numpy()).abs().mean()
    assert len(both) == 60 * len(FORM.items) and alike < 0.7 * strangers


def test_careless_listeners_miss_attention_checks_and_some_stop_early(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    scenario = effects.load("none")
    scenario = replace(scenario, care=effects.Care(careless=1.0, leaving=0.0))
    people = simulate.listeners(study, FORM, scenario, {"normal": 50}, 0).listeners
    assert people["finished"].all() and people["attention_missed"].mean() == pytest.approx(0.8, abs=0.2)
    scenario = replace(scenario, care=effects.Care(careless=0.0, slips=0.0, leaving=1.0))
    people = simulate.listeners(study, FORM, scenario, {"normal": 20}, 0).listeners
    assert not people["finished"].any() and (people["attention_missed"] == 0).all()


def test_background_answers_lead_to_the_group_and_lists_are_shared_evenly(tmp_path: Path) -> None:
    study = small_study(tmp_path)
    people = simulate.listeners(study, FORM, effects.load("none"), {"expert": 8, "normal": 8}, 0).listeners
    for _, row in people.iterrows():
        given = {name.removeprefix("background_"): row[name] for name in people if name.startswith("background_")}
        numbers = {q.id for q in FORM.background if not q.options}
        assert FORM.group_of({id: int(a) if id in numbers else a for id, a in given.items()}) == row["group"]
    assert (people.groupby(["group", "list"]).size() == 1).all()  # 8 lists, 8 listeners of each group


def test_the_same_seed_makes_the_same_tables_and_they_come_back_from_files(tmp_path: Path) -> None:
    study = small_study(tmp_path / "study")
    first, second = (simulate.listeners(study, FORM, effects.load("moderate"), {"expert": 3}, 7) for _ in range(2))
    answers.write(tmp_path, first)
    back = answers.read(tmp_path)
    for name in ("listeners", "ratings", "turing"):
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name))
        pd.testing.assert_frame_equal(getattr(first, name), getattr(back, name))


@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        ("ratings", "rating,", "points,", "column rating is missing"),
        ("ratings", ",False,", ",maybe,", "expected True or False"),
        ("ratings", ",False,", ",,", "found nothing, expected True or False"),
        ("listeners", "\n1,", "\none,", "found 'one', expected a whole number"),
        ("listeners", "\n1,", "\n1e300,", "found '1e300', expected a whole number from 0 to 2147483647"),
        ("listeners", "\n1,", "\ninf,", "found 'inf', expected a whole number"),
        ("turing", "", None, "turing.csv"),
    ],
)
def test_damaged_tables_are_named(tmp_path: Path, file: str, old: str, new: str | None, told: str) -> None:
    study = small_study(tmp_path / "study")
    answers.write(tmp_path, simulate.listeners(study, FORM, effects.load("none"), {"normal": 2}, 0))
    path = tmp_path / f"{file}.csv"
    if new is None:
        path.unlink()
    else:
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=told):
        answers.read(tmp_path)


def test_tables_appear_together_or_not_at_all(tmp_path: Path) -> None:
    made = simulate.listeners(small_study(tmp_path / "study"), FORM, effects.load("none"), {"normal": 2}, 0)
    (folder := tmp_path / "answers").mkdir()
    (folder / "turing.csv").mkdir()  # what cannot be written comes last
    with pytest.raises(BadInput, match=r"turing\.csv: is a folder"):
        answers.write(folder, made)
    assert [path.name for path in folder.iterdir()] == ["turing.csv"]


GOOD = 'format = 1\nabout = "x"\n[mean]\nhuman = 3\ngenerated = 2\n[said_human]\nhuman = 0.5\ngenerated = 0.4\n'


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GOOD.replace("format = 1", "format = 2"), "reads format 1"),
        (GOOD.replace("human = 3", "human = 5"), "mean.human 5 must lie between 1 and 5"),
        (GOOD.replace("generated = 0.4", ""), "said_human: generated is missing"),
        (GOOD + "[spreads]\nlistner = 1\n", "listner is unknown"),
        (GOOD + "[items.overall.metrics]\npitch_range = 20\n", "items.overall.metrics.pitch_range 20"),
        (GOOD + "[groups.expert]\ntaste = true\n", "groups.expert.taste: found True"),
        ("format = ", "not TOML"),
    ],
)
def test_a_scenario_with_a_mistake_is_refused(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(BadInput, match=told):
        effects.load(str(tmp_path / "mine.toml"))


def test_a_scenario_of_ones_own_and_names_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD, encoding="utf-8")
    assert effects.load(str(tmp_path / "mine.toml")).default.mean == {"human": 3, "generated": 2}
    with pytest.raises(BadInput, match="known are metric, moderate, muspike-paper, none"):
        effects.load("large")
    study = small_study(tmp_path / "study")
    with pytest.raises(BadInput, match="no group 'crowd'"):
        simulate.listeners(study, FORM, effects.load("none"), {"crowd": 1}, 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_study(tmp_path / "study")
    command = ["study", "simulate", str(tmp_path / "study"), "--listeners", "expert=2,normal=1"]
    assert main([*command, "-o", str(tmp_path / "out")]) == 0
    assert "3 listeners" in capsys.readouterr().out
    assert len(answers.read(tmp_path / "out").listeners) == 3
    assert main([*command, "--scenario", "metric", "-o", str(tmp_path / "by-metric")]) == 0
    assert "follows the metric pitch_class_entropy" in capsys.readouterr().out
    assert main([*command, "--scenario", "huge", "-o", str(tmp_path / "other")]) == 2
    assert "no such scenario" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_the_mean_of_a_level_is_that_of_many_draws() -> None:
    random = np.random.default_rng(0)
    cuts = simulate._thresholds(5)
    latent = 0.4 + 0.9 * random.normal(size=400_000) + random.logistic(size=400_000)
    drawn = 1 + (latent[:, None] > cuts).sum(axis=1).mean()
    assert simulate._mean(0.4, 0.9, cuts) == pytest.approx(drawn, abs=0.01)
    assert simulate._level_of(float(drawn), 0.9, 5) == pytest.approx(0.4, abs=0.02)
    assert math.isclose(simulate._mean(0.0, 1.0, cuts), 3.0)
