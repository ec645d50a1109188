"""The analysis of a study: each part against its definition, and studies that are too small for a part."""

from __future__ import annotations

import copy
import itertools
import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pandas", reason="the extra study is not installed")

import krippendorff
import pandas as pd
import pingouin
import scipy.stats
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.multitest import multipletests

from html_page import Page
from muspike.bench.study import (
    alignment,
    analysis,
    analysis_plan,
    comparisons,
    detection,
    effects,
    polarisation,
    predictor,
    questionnaire,
    reliability,
    report,
    simulate,
    study,
    trust,
)
from muspike.bench.study.answers import Answers
from muspike.bench.study.estimates import Clusters, linear, mean_weights
from muspike.bench.study.report_page import page
from muspike.bench.study.report_pictures import pictures
from muspike.bench.study.selection import select
from muspike.errors import BadInput
from small_study import small_study

PLAN = analysis.quicker(analysis_plan.load(), draws=50, permutations=20)
FULL = questionnaire.load()
FORM = replace(FULL, items=tuple(item for item in FULL.items if item.id in ("melody", "overall")))
GROUPS = ["expert", "amateur", "normal"]


def listeners(of: study.Study, counts: dict[str, int], scenario: str = "moderate", seed: int = 0) -> Answers:
    chosen = effects.load(scenario)
    chosen = replace(chosen, items={})
    return simulate.listeners(of, FORM, chosen, counts, seed)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> study.Study:
    return small_study(tmp_path_factory.mktemp("study"), sources=("human", "s-rnn", "s-lstm"), excerpts=4)


@pytest.fixture(scope="module")
def metrics(small: study.Study) -> pd.DataFrame:
    noise = np.random.default_rng(0).normal(size=(len(small.stimuli), 4))
    table = pd.DataFrame(noise, index=[one.id for one in small.stimuli], columns=["a", "b", "c", "flat"])
    table["flat"] = 1.0
    return table


@pytest.fixture(scope="module")
def answers(small: study.Study) -> Answers:
    return listeners(small, {"expert": 8, "amateur": 7, "normal": 7})


@pytest.fixture(scope="module")
def result(small: study.Study, metrics: pd.DataFrame, answers: Answers) -> dict[str, Any]:
    form = analysis.Form(small, FORM, PLAN)
    calls: list[int] = []
    found = analysis.analyse(form, answers, metrics, lambda: calls.append(1))
    assert 0 < len(calls) <= analysis.steps(form)
    return found


def assert_page(result: dict[str, Any], differences: list[str]) -> str:
    """Everything that is made of a result can be made; nothing says nan."""
    drawn = pictures(result)
    text = page(result, differences, drawn, {"answers": "made up"})
    read = Page(text)
    assert "nan" not in read.text.lower().split() and not read.open
    assert all(address.startswith(("data:", "#")) for address in read.addresses)
    assert all(image["alt"] for image in read.images) and len(read.images) == len(drawn)
    assert len(read.ids) == len(set(read.ids))
    for table in report.tables(result, differences):
        assert list(table.lines())
    return read.text


# --- parts ------------------------------------------------------------------------------------------------------------


def test_an_interval_allows_for_listeners_and_pieces() -> None:
    """On tables with crossed random effects of 14 listeners and 6 pieces."""
    random = np.random.default_rng(0)
    held = []
    for _ in range(300):
        people, pieces = 14, 6
        y = random.normal(size=people)[:, None] + random.normal(size=pieces) + random.normal(size=(people, pieces))
        listener, piece = (part.ravel() for part in np.indices(y.shape))
        clusters = Clusters(listener, piece, np.zeros_like(listener), np.zeros_like(listener))
        of = linear(y.ravel(), mean_weights(np.ones(y.size, bool)), clusters, 0.95)
        assert of.value == pytest.approx(y.mean()) and of.low < of.value < of.high
        held.append(of.low <= 0 <= of.high)
    assert np.mean(held) > 0.92


def test_one_cluster_has_no_interval() -> None:
    clusters = Clusters(np.zeros(4, int), np.arange(4), np.zeros(4, int), np.zeros(4, int))
    of = linear([1, 2, 3, 4], np.full(4, 0.25), clusters, 0.95)
    assert of.value == 2.5 and math.isnan(of.low)


def test_d_prime_and_criterion_are_those_of_the_shares() -> None:
    rows = []
    for listener in range(20):
        for piece in range(10):
            human = piece < 5
            said = (listener + piece) % 10 < (8 if human else 3)
            source = "human" if human else "model"
            rows.append([listener, "expert", "single", f"{piece}", source, said])
    table = pd.DataFrame(rows, columns=["listener", "group", "form", "stimulus", "source", "said_human"])
    of = detection.singles(table, "human", ["human", "model"], ["expert"], 0.95, 0.05)["expert"]
    hits, alarms = ((table["said_human"] & (table["source"] == s)).sum() for s in ("human", "model"))
    z = scipy.stats.norm.ppf([(hits + 0.5) / 101, (alarms + 0.5) / 101])
    assert of["d_prime"]["value"] == pytest.approx(z[0] - z[1])
    assert of["criterion"]["value"] == pytest.approx(-z.mean())
    assert of["said_human"]["human"]["value"] == pytest.approx(hits / 100)
    assert of["accuracy"]["value"] == pytest.approx((hits / 100 + 1 - alarms / 100) / 2)


def test_the_reverse_turing_bias_of_experts_is_found() -> None:
    size = trust.Size({"expert": 26, "normal": 26}, 2, 16)
    found = listeners(trust.made_study(size, 0), dict(size.listeners), "muspike-paper")
    of = detection.singles(found.turing, "human", ["human", "model-1"], ["expert", "normal"], 0.95, 0.05)
    assert of["expert"]["said_human"]["human"]["value"] == pytest.approx(0.282, abs=0.12)
    assert of["expert"]["reverse"].startswith("yes") and not of["normal"]["reverse"].startswith("yes")


def test_each_family_of_the_turing_answers_is_corrected_over_the_groups() -> None:
    groups, rows = ["expert", "amateur", "normal"], []
    for number, group in enumerate(groups):
        for listener in range(12):
            for piece in range(20):
                human = piece < 10
                said = (listener + piece) % 10 < (5 - number if human else 5)
                row = [f"{group}{listener}", group, "single", f"{piece}", "human" if human else "model"]
                rows += [[*row, pd.NA, pd.NA, pd.NA, said]]
                if human:
                    rows += [[*row[:2], "pair", *row[3:], f"m{piece}", piece / 20, piece % 2 == 0, said]]
    columns = ["listener", "group", "form", "stimulus", "source", "other", "similarity", "first", "said_human"]
    table = pd.DataFrame(rows, columns=columns).astype({"said_human": bool})
    single = detection.singles(table, "human", ["human", "model"], groups, 0.95, 0.05)
    pair = detection.pairs(table, groups, 0.95)["groups"]
    for family in (
        [single[group]["said_human"]["human"] for group in groups],
        [pair[group]["accuracy"] for group in groups],
    ):
        wanted = multipletests([of["p"] for of in family], method="holm")[1]
        assert [of["p_holm"] for of in family] == pytest.approx(wanted)
        assert family[2]["p"] < family[2]["p_holm"] < family[0]["p_holm"] == pytest.approx(1)
    words = [single[group]["reverse"] for group in groups]
    assert words[0].startswith("not decided") and words[2].startswith("yes"), words
    strict = detection.singles(table, "human", ["human", "model"], groups, 0.95, 1e-12)
    assert strict["normal"]["reverse"].startswith("not decided")


def test_pairs_are_right_more_often_where_alike() -> None:
    random = np.random.default_rng(0)
    rows = []
    for listener in range(30):
        for pair in range(12):
            similarity = pair / 11
            right = random.random() < 0.35 + 0.6 * similarity
            rows.append([listener, "normal", "pair", f"h{pair}", "model", f"m{pair}", similarity, pair % 2 == 0, right])
    columns = ["listener", "group", "form", "stimulus", "source", "other", "similarity", "first", "said_human"]
    of = detection.pairs(pd.DataFrame(rows, columns=columns), ["normal", "expert"], 0.95)
    assert of["slope"]["low"] > 0
    assert of["bins"][2]["accuracy"]["value"] > of["bins"][0]["accuracy"]["value"]
    assert sum(row["answers"] for row in of["bins"]) == 360
    assert of["groups"]["expert"] == {"missing": "there are no answers"}


def test_polarisation_is_the_unbiased_variance_as_a_share_of_the_largest() -> None:
    rows = [[n, "expert", "a", "x", rating] for n, rating in enumerate([1, 5, 1, 5])]
    rows += [[n + 9, "normal", "a", "x", 3] for n in range(4)]
    table = pd.DataFrame(rows, columns=["listener", "group", "stimulus", "item", "rating"])
    of = polarisation.polarisation(table, ["expert", "normal", "amateur"], 5, 0.95)["groups"]
    assert of["expert"]["variance"]["value"] == pytest.approx(np.var([1, 5, 1, 5], ddof=1) / 4)
    assert of["normal"]["variance"]["value"] == 0
    assert of["amateur"] == {"missing": "no piece has two listeners of this group"}


def test_a_group_that_disagrees_more_is_found() -> None:
    size = trust.Size({"expert": 20, "normal": 20}, 2, 8)
    scenario = effects.load("none")
    wide = effects.Group(scenario.default.mean, scenario.default.said_human, taste=5.0)
    scenario = replace(trust.careful(scenario), groups={"expert": wide})
    found = simulate.listeners(trust.made_study(size, 0), FORM, scenario, size.listeners, 0)
    (row,) = polarisation.polarisation(found.ratings, ["expert", "normal"], 5, 0.95)["differences"]
    assert row["low"] > 0 and row["p_holm"] < 0.05


def test_reliability_is_that_of_the_packages(answers: Answers) -> None:
    chosen = select(answers, FORM, None)
    of = reliability.reliability(chosen.ratings, chosen.repeats, ["melody", "overall"], GROUPS, 5, 0.95, 0)
    wide = chosen.ratings.pivot_table(index=["listener", "stimulus"], columns="item", values="rating").astype(float)
    assert of["cronbach"]["all"]["value"] == pytest.approx(pingouin.cronbach_alpha(data=wide.dropna())[0])
    assert of["cronbach"]["all"]["low"] < of["cronbach"]["all"]["value"] < of["cronbach"]["all"]["high"]
    melody = chosen.ratings[chosen.ratings["item"] == "melody"]
    table = melody.pivot(index="listener", columns="stimulus", values="rating").to_numpy(float, na_value=np.nan)
    alpha = krippendorff.alpha(reliability_data=table, level_of_measurement="ordinal")
    assert of["krippendorff"]["melody"]["all"]["value"] == pytest.approx(alpha)
    assert of["retest"]["melody"]["pairs"] == chosen.repeats["listener"].nunique()
    assert 0 <= of["retest"]["all items"]["equal"]["value"] <= of["retest"]["all items"]["within_1"]["value"] <= 1


def test_alignment_is_spearmans_and_is_gone_within_sources(small: study.Study) -> None:
    source_of = {one.id: one.source for one in small.stimuli}
    random = np.random.default_rng(1)
    level = {"human": 3.0, "s-rnn": 2.0, "s-lstm": 1.0}
    ids = list(source_of)
    means = pd.DataFrame({"overall": [level[source_of[id]] + 0.1 * random.normal() for id in ids]}, index=ids)
    metric = pd.DataFrame({"m": [level[source_of[id]] + 0.1 * random.normal() for id in ids], "few": np.nan}, index=ids)
    of = alignment.alignment({"all": means}, metric, source_of, 0.95, 0.05, 200, 2000, 0)["all"]
    (row,) = of["rows"]
    wanted = scipy.stats.spearmanr(metric["m"], means["overall"])
    assert row["rho"] == pytest.approx(wanted.statistic) and wanted.pvalue < row["p"] == 1 / 2001
    assert row["significant"] and row["low"] > 0.5 and abs(row["within_sources"]) < 0.7
    assert not row["significant_within"] and row["p_within"] == row["p_within_bh"] > 0.05
    assert of["left_out"] == {"few": "defined for 0 pieces"}
    tiny = alignment.alignment({"all": means[:3]}, metric, source_of, 0.95, 0.05, 50, 100, 0)["all"]
    assert tiny["missing"].startswith("3 pieces")


def test_the_predictor_sees_what_is_there_and_publishes_its_formula() -> None:
    random = np.random.default_rng(0)
    ids = [f"p{n}" for n in range(40)]
    x = pd.DataFrame(random.normal(size=(40, 6)), index=ids, columns=list("abcdef"))
    y = 3 + 0.8 * x["b"] - 0.5 * x["e"] + 0.2 * random.normal(size=40)
    source_of = {id: f"source {n % 4}" for n, id in enumerate(ids)}
    of = predictor.predict({"all": pd.DataFrame({"overall": y})}, x, source_of, "overall", 0.05, 39, 0)["all"]
    plain = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-1, 4, 21)))
    folds = KFold(5, shuffle=True, random_state=0)
    predicted = cross_val_predict(plain, x.to_numpy(), y.to_numpy(), cv=folds)
    baseline = np.concatenate([np.full(len(b), y.to_numpy()[a].mean()) for a, b in folds.split(x)])
    order = np.concatenate([b for _, b in folds.split(x)])
    wanted = 1 - ((y.to_numpy() - predicted) ** 2).sum() / ((y.to_numpy()[order] - baseline) ** 2).sum()
    assert of["ridge"]["r2"] == pytest.approx(wanted)
    assert of["ridge"]["beats_within"] and of["formula"]["beats_within"] and of["ridge"]["r2_by_source"] > 0.5
    assert report._told_of_formula("All groups", of) == [
        f"All groups, new metric (R² {of['formula']['r2']:.2f} on unseen pieces): {of['terms']['written']}"
    ]
    assert {row["metric"] for row in of["importance"][:2]} == {"b", "e"}
    terms = of["terms"]
    assert [term["metric"] for term in terms["terms"][:2]] == ["b", "e"]
    value = terms["constant"] + sum(t["weight"] * (x[t["metric"]] - t["mean"]) / t["sd"] for t in terms["terms"])
    assert np.corrcoef(value, y)[0, 1] > 0.95
    written = terms["written"]
    assert eval(written, {}, x.iloc[0].to_dict()) == pytest.approx(value.iloc[0], abs=0.01)


def test_the_probability_of_a_rank_correlation_is_exact() -> None:
    """Of six pieces, over all 720 orders."""
    ids, y = [f"p{n}" for n in range(6)], [1.0, 2.0, 2.0, 3.0, 4.0, 5.0]
    x = [1.0, 3.0, 2.0, 4.0, 6.0, 5.0]
    table, means = pd.DataFrame({"m": x}, index=ids), pd.DataFrame({"overall": y}, index=ids)
    source_of = dict(zip(ids, "aaabbb", strict=True))
    (row,) = alignment.alignment({"all": means}, table, source_of, 0.95, 0.05, 20, 40_000, 0)["all"]["rows"]
    rho = scipy.stats.spearmanr(x, y).statistic
    all_of = [scipy.stats.spearmanr(order, y).statistic for order in itertools.permutations(x)]
    assert row["p"] == pytest.approx(np.mean(np.abs(all_of) >= rho - 1e-9), rel=0.1)
    orders = alignment.orders_within(np.array([0, 1, 0, 1, 1]), 500, np.random.default_rng(0))
    assert {tuple(order[[0, 2]]) for order in orders} == {(0, 2), (2, 0)}
    assert {tuple(order[[1, 3, 4]]) for order in orders} == set(itertools.permutations((1, 3, 4)))


def test_the_probability_within_sources_is_that_of_a_partial_correlation() -> None:
    random = np.random.default_rng(0)
    ids, source = [f"p{n}" for n in range(30)], np.repeat(["a", "b", "c"], 10)
    of_source = pd.get_dummies(pd.Series(source, index=ids), drop_first=True).astype(float)
    means = pd.DataFrame({"overall": random.normal(size=30)}, index=ids)
    # The residuals of both are their own ranks already, so that ranking does not change them.
    ranks = np.concatenate([random.permutation(10) - 4.5 for _ in range(3)])
    metric = pd.DataFrame({"m": ranks}, index=ids)
    (row,) = alignment.alignment(
        {"all": means}, metric, dict(zip(ids, source, strict=True)), 0.95, 0.05, 20, 20_000, 0
    )["all"]["rows"]
    left = means["overall"] - means["overall"].groupby(source).transform("mean")
    table = of_source.assign(x=scipy.stats.rankdata(ranks), y=scipy.stats.rankdata(left))
    wanted = pingouin.partial_corr(table, "x", "y", covar=list(of_source.columns))
    assert row["within_sources"] == pytest.approx(wanted["r"].iloc[0], abs=0.02)
    assert row["p_within"] == pytest.approx(wanted["p_val"].iloc[0], abs=0.02)


def test_a_formula_that_knows_sources_alone_says_so() -> None:
    random = np.random.default_rng(3)
    ids = [f"p{n}" for n in range(45)]
    source_of = {id: f"source {n % 3}" for n, id in enumerate(ids)}
    level = np.arange(45) % 3
    x = pd.DataFrame({name: random.normal(size=45) for name in "abcd"}, index=ids)
    x["a"] = level + 0.1 * random.normal(size=45)
    y = pd.DataFrame({"overall": level + 0.5 * random.normal(size=45)}, index=ids)
    of = predictor.predict({"all": y}, x, source_of, "overall", 0.05, 39, 0)["all"]
    for name in ("ridge", "formula"):
        assert of[name]["beats"] and not of[name]["beats_within"] and of[name]["p_within"] > 0.05
    told = " ".join(report._told_of_formula("All groups", of))
    assert "new metric (R²" in told and "may tell sources apart and not pieces" in told


def test_holm_is_within_a_family_and_leaves_out_what_has_no_p() -> None:
    rows = comparisons.holm([{"p": 0.01}, {"p": math.nan}, {"p": 0.04}])
    assert [row["p_holm"] for row in rows if math.isfinite(row["p"])] == pytest.approx([0.02, 0.04])


def test_exclusions_are_those_of_the_plan_and_reversed_items_are_turned(answers: Answers) -> None:
    people = answers.listeners.copy()
    people.loc[0, ["attention_asked", "attention_missed"]] = [2, 1]
    people.loc[1, ["attention_asked", "attention_missed"]] = [0, 0]
    people.loc[2, "headphones"] = False
    people.loc[3, "headphones"] = pd.NA
    people.loc[4:, "headphones"] = True
    people.loc[[1, 2, 3], "attention_missed"] = 0
    people.loc[4:, "attention_missed"] = 0
    people.loc[[0, 1], "headphones"] = True
    form = replace(FORM, items=(replace(FORM.items[0], reverse=True), FORM.items[1]))
    of = select(replace(answers, listeners=people), form, PLAN["exclusions"])
    assert set(people["listener"]) - set(of.listeners["listener"]) == {people["listener"][0], people["listener"][2]}
    assert not of.ratings["listener"].isin([people["listener"][0]]).any()
    before = answers.ratings.loc[of.ratings.index]
    turned = before["item"] == form.items[0].id
    assert (of.ratings.loc[turned, "rating"] == 6 - before.loc[turned, "rating"]).all()
    assert (of.ratings.loc[~turned, "rating"] == before.loc[~turned, "rating"]).all()
    assert len(select(answers, form, None).listeners) == len(people)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_the_report_of_a_study(result: dict[str, Any]) -> None:
    json.dumps(result, default=str)
    assert {"means", "models", "comparisons", "turing", "pairs", "alignment", "predictor"} <= set(result)
    assert list(result["means"]) == ["melody", "overall", "all items"]
    of = result["comparisons"]
    assert [row["name"] for row in of["sources"]] == ["s-rnn – human", "s-lstm – human"]
    assert len(of["sources_by_group"]) == 6 and len(of["groups"]) == 3 and len(of["items"]) == 1
    assert {test["name"] for test in result["models"]["overall"]["tests"]} == {"source", "group", "source x group"}
    text = assert_page(result, ["Fewer listeners came."])
    for words in ("1 difference from the plan", "exploratory", "Krippendorff", "reverse Turing bias", "Holm"):
        assert words in text
    names = {row[0] for table in report.tables(result, []) for row in table.rows}
    assert {"Experts – Amateurs", "Other listeners: s-rnn – human"} <= names  # no ids of groups
    assert not any("expert" in name or "normal" in name for name in names)


def test_degrees_of_freedom_can_be_read(result: dict[str, Any]) -> None:
    many = copy.deepcopy({"models": result["models"], "comparisons": result["comparisons"]})
    many["comparisons"]["items"][0]["df"] = many["models"]["overall"]["tests"][0]["df"] = 12_400.4
    cells = {cell for table in report.tables(result | many, []) for row in table.rows for cell in row}
    assert "> 1,000" in cells and any(re.fullmatch(r"F\(2, > 1,000\) = [0-9.]+", cell) for cell in cells)


def test_points_and_logits_agree_in_sign(result: dict[str, Any]) -> None:
    for row in result["comparisons"]["sources"]:
        if abs(row["points"]["value"]) > 0.3:
            assert row["points"]["value"] * row["logits"]["value"] > 0


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({"normal": 1}, "no interval"),
        ({"normal": 4}, "nobody of this group"),
        ({"expert": 3, "normal": 3}, "nobody of this group"),
        ({}, "There are no ratings"),
    ],
    ids=["one listener", "one group", "two groups", "nobody"],
)
def test_small_studies_say_what_is_missing(
    small: study.Study, metrics: pd.DataFrame, counts: dict[str, int], told: str
) -> None:
    plan = dict(PLAN) | {"exclusions": PLAN["exclusions"] | {"headphones": False, "attention_missed_share": 1.0}}
    form = analysis.Form(small, FORM, plan)
    found = analysis.analyse(form, listeners(small, counts), metrics)
    assert told in assert_page(found, [])


def test_one_source_no_turing_no_repeats_no_metrics(tmp_path: Path) -> None:
    of = small_study(tmp_path, sources=("human",), excerpts=3, turing="none")
    of = replace(of, lists=tuple(tuple(trial for trial in one if trial.kind == "rating") for one in of.lists))
    found = analysis.analyse(analysis.Form(of, FORM, PLAN), listeners(of, {"normal": 4, "expert": 3}), None)
    text = assert_page(found, [])
    for words in (
        "no Turing answers on single pieces",
        "no pairs",
        "no piece was heard twice",
        "pieces of the study were not measured",
        "nothing can be compared",
        "nobody gave a reason",
    ):
        assert words in text, words


def test_answers_that_are_all_alike(small: study.Study, metrics: pd.DataFrame, answers: Answers) -> None:
    flat = answers.ratings.copy()
    flat["rating"] = 3
    turing = answers.turing.copy()
    turing["said_human"] = True
    found = analysis.analyse(analysis.Form(small, FORM, PLAN), replace(answers, ratings=flat, turing=turing), metrics)
    assert found["models"]["overall"] == {"missing": "all ratings are 3"}
    assert "all ratings are 3" in assert_page(found, [])


def test_groups_that_hear_pieces_in_their_own_way_are_compared_with_more_care() -> None:
    size = trust.Size({"expert": 20, "normal": 20}, 2, 8)
    of, models = trust.made_study(size, 0), {}
    for spread in (0.0, 1.0):
        scenario = trust.careful(effects.load("none"))
        scenario = replace(scenario, spreads=replace(scenario.spreads, piece_group=spread))
        ratings = simulate.listeners(of, FORM, scenario, size.listeners, 0).ratings
        model = comparisons.model_of(ratings[ratings["item"] == "overall"], ["expert", "normal"], of.sources)
        assert not isinstance(model, str)
        rows = comparisons.families({"overall": model}, "overall", "human", of.sources, list(size.listeners), 0.95)
        (row,) = rows["groups"]
        models[spread] = dict(zip(model.terms, model.fit.sds, strict=True))["piece at group"], row["error"], row["df"]
    assert models[0.0][0] < 0.4 and models[1.0][0] == pytest.approx(1.0, abs=0.4)
    # The difference of two groups in two sources of eight pieces has the variance 4 / 8 by the pieces alone.
    assert models[1.0][1] > 0.5 > models[0.0][1]
    assert models[1.0][2] < 30  # pieces, not answers


def test_a_source_that_everybody_hates_has_no_level(answers: Answers) -> None:
    table = answers.ratings[answers.ratings["item"] == "overall"].copy()
    table.loc[(table["source"] == "s-rnn") & (table["group"] == "expert"), "rating"] = 1
    told = comparisons.model_of(table, GROUPS, ["human", "s-rnn", "s-lstm"])
    assert told == "all ratings of s-rnn by expert are the lowest that anybody gave, so their level has no bound"


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("rating", 6, "6 is outside the scale of 1 to 5"),
        ("item", "colour", "item 'colour'"),
        ("source", "x", "source 'x'"),
    ],
)
def test_answers_of_another_study_are_refused(
    small: study.Study, answers: Answers, column: str, value: Any, told: str
) -> None:
    wrong = answers.ratings.copy()
    wrong.loc[wrong.index[3], column] = value
    with pytest.raises(BadInput, match=told):
        analysis.check(analysis.Form(small, FORM, PLAN), replace(answers, ratings=wrong), "there")
    twice = pd.concat([answers.ratings, answers.ratings[:1]])
    with pytest.raises(BadInput, match="twice"):
        analysis.check(analysis.Form(small, FORM, PLAN), replace(answers, ratings=twice), "there")
    for name in ("listeners", "turing"):
        table = getattr(answers, name)
        with pytest.raises(BadInput, match=f"{name}: .* twice"):
            twice = replace(answers, **{name: pd.concat([table, table[-1:]])})
            analysis.check(analysis.Form(small, FORM, PLAN), twice, "there")
    analysis.check(analysis.Form(small, FORM, PLAN), answers, "there")


@pytest.mark.parametrize(
    ("table", "column", "value", "told"),
    [
        ("ratings", "trial", 99, "trial 99: the study asks nothing of the kind there"),
        ("ratings", "source", "s-rnn", "source is s-rnn, expected human"),
        ("ratings", "group", "normal", "is of group normal, expected "),
        ("turing", "form", "pair", "form is pair, expected single"),
        ("turing", "confidence", 6, "confidence 6 is outside the scale of 1 to 5"),
        ("turing", "trial", 1, "listener 1, trial 1 is there twice"),
        ("listeners", "list", 99, "has list 99; the study has "),
        ("listeners", "attention_missed", 9, "missed 9 of "),
    ],
)
def test_answers_that_contradict_the_study_are_refused(
    small: study.Study, answers: Answers, table: str, column: str, value: Any, told: str
) -> None:
    wrong = getattr(answers, table).copy()
    wrong.loc[wrong.index[0], column] = value
    with pytest.raises(BadInput, match=told):
        analysis.check(analysis.Form(small, FORM, PLAN), replace(answers, **{table: wrong}), "there")


def test_names_and_reasons_are_escaped(result: dict[str, Any]) -> None:
    evil = "<script>alert(1)</script>"
    reasons = {
        "answers": 1,
        "different": 1,
        "shown": 1,
        "rows": [{"text": evil, "times": 1, "said_human": 1, "groups": {}}],
    }
    changed = dict(result) | {"study": dict(result["study"]) | {"title": evil}, "reasons": reasons}
    assert evil not in page(changed, [evil], {}, {})


def test_the_last_item_is_primary_where_the_plans_is_not_asked() -> None:
    plan = analysis_plan.load()
    assert analysis_plan.of_items(plan, ["melody", "overall"]) == plan
    assert analysis_plan.of_items(plan, ["melody", "taste"])["primary"] == "taste"


def test_the_choices_of_a_plan_rule_and_are_checked() -> None:
    plan = analysis_plan.load()
    mine = analysis_plan.of_study({"level": 0.9, "exclusions": {"headphones": False}}, "plan.json")
    assert mine["level"] == 0.9 and mine["exclusions"]["attention_missed_share"] == 0.5
    assert not mine["exclusions"]["headphones"] and mine["families"] == plan["families"]
    mistakes: list[dict[str, Any]] = [{"level": 2}, {"exclusions": 3}, {"draws": 1}, {"families": [{}]}, {"primary": 1}]
    for wrong in mistakes:
        with pytest.raises(BadInput, match=r"plan\.json: "):
            analysis_plan.of_study(wrong, "plan.json")
    told = " ".join(analysis_plan.sentences(plan))
    assert all(of["about"] in told for of in (*plan["families"], *plan["analyses"]))
