"""How far the analysis can be trusted: over many made-up studies, how often an interval holds the true value, how often
a test finds what is not there, and how often a metric is found that ratings follow.

A made-up study has no files. Its listeners are those of `simulate`, whose effects are known.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from muspike import metrics as objective
from muspike.bench.study import alignment, comparisons, design, detection, polarisation, predictor, simulate
from muspike.bench.study.analysis import Form
from muspike.bench.study.effects import Care, Effects, Item, Spreads
from muspike.bench.study.estimates import Clusters, linear, mean_weights
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.selection import select
from muspike.bench.study.study import SINGLE, Stimulus, Study

HUMAN = "human"
METRICS = 12
"""Objective metrics of a made-up study. They are noise, and so have nothing to do with ratings."""
LINKED = "linked"
"""The made-up metric that has to do with ratings."""
Outcomes = Iterator[tuple[str, list[bool]]]
# A logistic noise with a normal one of variance v added is nearly a logistic noise that is wider by sqrt(1 + c v).
_C = (16 * math.sqrt(3) / (15 * math.pi)) ** 2


@dataclass(frozen=True)
class Size:
    """The size of a made-up study.

    Attributes:
        listeners: by group.
        sources: how many, with the human one.
        excerpts: of each source; every listener rates all.
    """

    listeners: Mapping[str, int]
    sources: int
    excerpts: int

    def __str__(self) -> str:
        people = "+".join(str(number) for number in self.listeners.values())
        return f"{people} listeners, {self.sources} sources of {self.excerpts} pieces"


@dataclass(frozen=True)
class Link:
    """What the metric `LINKED` has to do with the primary item.

    Attributes:
        correlation: with what all listeners together think of a piece, within its source.
        apart: by how many of its standard deviations human pieces lie above others.
    """

    correlation: float
    apart: float = 0.0

    def logits(self, spreads: Spreads) -> float:
        """What a standard deviation of the metric adds to the judgement, beside pieces that differ by themselves."""
        own = math.hypot(spreads.piece, spreads.piece_item)
        return own * self.correlation / math.sqrt(1 - self.correlation**2)


@dataclass
class Tally:
    """How often something was so.

    Attributes:
        yes, of: how often, of how many times, by name.
        studies: the share of each study, by name.
    """

    yes: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    of: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    studies: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def count(self, name: str, each: Sequence[bool]) -> None:
        """Count the outcomes of one study."""
        if len(each):
            self.yes[name] += int(sum(each))
            self.of[name] += len(each)
            self.studies[name].append(sum(each) / len(each))

    def add(self, other: Tally) -> None:
        """Count what another one counted."""
        for name in other.of:
            self.yes[name] += other.yes[name]
            self.of[name] += other.of[name]
            self.studies[name] += other.studies[name]

    def share(self, name: str) -> float:
        """How often it was so."""
        return self.yes[name] / self.of[name]

    def error(self, name: str) -> float:
        """The standard error of the share, over studies: outcomes of one study are alike."""
        shares = self.studies[name]
        return float(np.std(shares, ddof=1) / math.sqrt(len(shares))) if len(shares) > 1 else math.nan


def made_study(size: Size, seed: int) -> Study:
    """A study without files: single pieces with the Turing question, no attention checks."""
    names = [HUMAN, *(f"model-{number}" for number in range(1, size.sources))]
    ids = {name: [f"{i:04x}{j:08x}" for j in range(size.excerpts)] for i, name in enumerate(names)}
    stimuli = [Stimulus(id, name, f"{id}.mid", 64, 10.0, "", "") for name, of in ids.items() for id in of]
    return Study(
        title="A made-up study",
        seed=seed,
        human=HUMAN,
        sources=tuple(names),
        stimuli=tuple(stimuli),
        lists=design.lists(ids, size.excerpts, seed=seed),
        turing=SINGLE,
        languages=("en",),
        targets=dict(size.listeners),
        screening=False,
        ask_why=False,
        breaks=0,
    )


def careful(effects: Effects) -> Effects:
    """The same effects without careless listeners, for whom no true value is known."""
    return replace(effects, care=Care(careless=0, slips=0, without_headphones=0, leaving=0))


def tally(
    size: Size,
    questionnaire: Questionnaire,
    effects: Effects,
    plan: Mapping[str, Any],
    seeds: Sequence[int],
    progress: Callable[[], object] = lambda: None,
) -> Tally:
    """Simulate and analyse a study for each seed, and count.

    Args:
        size: of each study.
        questionnaire: what is asked. Only the primary item is modelled.
        effects: what listeners do.
        plan: the choices of the analysis.
        seeds: of the studies.
        progress: is called after each study.
    """
    total = Tally()
    item = next(one for one in questionnaire.items if one.id == plan["primary"])
    effects = replace(careful(effects), items={id: of for id, of in effects.items.items() if id == item.id})
    form = replace(questionnaire, items=(item,))
    study = made_study(size, 0)
    for seed in seeds:
        found = Tally()
        for name, each in _outcomes(Form(study, form, plan), effects, dict(size.listeners), seed):
            found.count(name, each)
        total.add(found)
        progress()
    return total


def _outcomes(form: Form, effects: Effects, listeners: Mapping[str, int], seed: int) -> Outcomes:
    study, plan = form.study, form.plan
    level, alpha, item = plan["level"], plan["alpha"], form.primary
    groups, sources = list(listeners), list(study.sources)
    answers = simulate.listeners(study, form.questionnaire, effects, listeners, seed)
    selected = select(answers, form.questionnaire, None)
    ratings, turing = selected.ratings, selected.turing

    true = {
        (group, source): simulate.true_mean(effects, form.questionnaire, study, group, source, item)
        for group in groups
        for source in sources
    }
    clusters, values = Clusters.of(ratings), ratings["rating"].to_numpy(float)
    of_group, of_source = ratings["group"].to_numpy(object), ratings["source"].to_numpy(object)
    cell = {(g, s): (of_group == g) & (of_source == s) for g, s in true}
    means = {key: linear(values, mean_weights(here), clusters, level) for key, here in cell.items()}
    yield "interval: mean of a source in a group", [of.low <= true[key] <= of.high for key, of in means.items()]
    gaps = []
    for source in sources[1:]:
        weights = sum(mean_weights(cell[g, source]) - mean_weights(cell[g, HUMAN]) for g in groups) / len(groups)
        gap = linear(values, np.asarray(weights), clusters, level)
        truth = np.mean([true[g, source] - true[g, HUMAN] for g in groups])
        gaps.append(bool(gap.low <= truth <= gap.high))
    yield "interval: distance of two sources in points", gaps

    model = comparisons.model_of(ratings, groups, sources)
    if not isinstance(model, str):
        yield from _of_model(form, model, effects, groups, alpha)
    found = detection.singles(turing, HUMAN, sources, groups, level, alpha)
    shares, of_d, of_c = [], [], []
    for group in groups:
        stated = effects.group(group).said_human
        for source, share in found[group]["said_human"].items():
            shares.append(bool(share["low"] <= stated["human" if source == HUMAN else "generated"] <= share["high"]))
        z = scipy.stats.norm.ppf([stated["human"], stated["generated"]])
        of_d.append(bool(found[group]["d_prime"]["low"] <= z[0] - z[1] <= found[group]["d_prime"]["high"]))
        of_c.append(bool(found[group]["criterion"]["low"] <= -z.mean() <= found[group]["criterion"]["high"]))
    yield "interval: share taken for human", shares
    yield "interval: d'", of_d
    yield "interval: criterion", of_c
    if all(of.said_human["human"] == of.said_human["generated"] == 0.5 for of in map(effects.group, groups)):
        rows = [found[group][key] for group in groups for key in ("d_prime", "criterion")]
        yield "false positive: d' or criterion", [row["p"] < alpha for row in rows]
        yield "false positive: family turing, any", [any(row["p_holm"] < alpha for row in rows)]
        recognised = [found[group]["said_human"][HUMAN]["p_holm"] for group in groups]
        yield "false positive: family recognised, any", [any(p < alpha for p in recognised)]
    if len({effects.group(group).taste for group in groups}) == 1 and len({*true.values()}) == 1:
        rows = polarisation.polarisation(ratings, groups, form.points, level)["differences"]
        yield "false positive: polarisation of two groups", [row["p"] < alpha for row in rows]
    yield from _of_metrics(form, ratings, groups, seed)


def _of_model(form: Form, model: comparisons.Model, effects: Effects, groups: Sequence[str], alpha: float) -> Outcomes:
    study, level, item = form.study, form.plan["level"], form.primary
    families = comparisons.families({item: model}, item, HUMAN, study.sources, groups, level)
    tests = comparisons.joint_tests(model, groups, study.sources)

    def logits(group: str, source: str) -> float:
        of = effects.items.get(item, Item())
        at = simulate.level_of_item(effects, form.points, study, group, source, of)
        return at / math.sqrt(1 + _C * (effects.spreads.taste * effects.group(group).taste) ** 2)

    true = {
        "sources": [
            float(np.mean([logits(g, s) - logits(g, HUMAN) for g in groups])) for s in study.sources if s != HUMAN
        ],
        "sources_by_group": [logits(g, s) - logits(g, HUMAN) for g in groups for s in study.sources if s != HUMAN],
    }
    for family, truths in true.items():
        rows = families[family]
        held = [r["logits"]["low"] <= t <= r["logits"]["high"] for r, t in zip(rows, truths, strict=True)]
        yield f"interval: {family}, logits", held
        if not any(truths):
            yield f"false positive: {family}, each", [row["p"] < alpha for row in rows]
            yield f"false positive: family {family}, any", [any(row["p_holm"] < alpha for row in rows)]
    if not any(true["sources_by_group"]):
        rows = families["groups"]
        yield "false positive: groups, each", [row["p"] < alpha for row in rows]
        yield "false positive: family groups, any", [any(row["p_holm"] < alpha for row in rows)]
        for test in tests:
            yield f"false positive: {test['name']} as a whole", [test["p"] < alpha]
    else:
        yield "found: a source differs from the human one", [row["p_holm"] < alpha for row in families["sources"]]


def _of_metrics(form: Form, ratings: pd.DataFrame, groups: Sequence[str], seed: int) -> Outcomes:
    """Metrics that are noise, so that nothing is to be found."""
    study, plan = form.study, form.plan
    metrics = _noise(study, [f"metric-{number}" for number in range(METRICS)], seed)
    means = alignment.piece_means(ratings, groups, form.items)
    source_of = {stimulus.id: stimulus.source for stimulus in study.stimuli}
    together = {alignment.ALL: means[alignment.ALL]}
    rows = _aligned(together, metrics, source_of, plan, seed)
    yield "interval: rank correlation (true: 0)", [row["low"] <= 0 <= row["high"] for row in rows]
    yield "false positive: alignment, any", [any(row["significant"] for row in rows)]
    found = predictor.predict(
        together, metrics, source_of, form.primary, plan["alpha"], plan["permutations"], seed, explained=False
    )[alignment.ALL]
    if "missing" not in found:
        yield "false positive: predictor", [found["ridge"]["beats"]]
        yield "false positive: formula", [found["formula"]["beats"]]


def tally_of_link(
    size: Size,
    questionnaire: Questionnaire,
    effects: Effects,
    link: Link,
    plan: Mapping[str, Any],
    seeds: Sequence[int],
) -> Tally:
    """Simulate a study for each seed, and count how often the metric `LINKED` is found, and others that are noise.

    As many metrics are measured, and as many items rated, as in a study with the questionnaire.

    Args:
        size: of each study.
        questionnaire: what is asked.
        effects: what listeners do; its items are replaced.
        link: what the metric has to do with the primary item. The other items do not follow it.
        plan: the choices of the analysis.
        seeds: of the studies.
    """
    total, study = Tally(), made_study(size, 0)
    form = Form(study, questionnaire, plan)
    driven = {form.primary: Item(metrics={LINKED: link.logits(effects.spreads)})} if link.correlation else {}
    effects = replace(careful(effects), items=driven)
    for seed in seeds:
        found = Tally()
        for name, each in _outcomes_of_link(form, effects, link, dict(size.listeners), seed):
            found.count(name, each)
        total.add(found)
    return total


def _outcomes_of_link(form: Form, effects: Effects, link: Link, listeners: Mapping[str, int], seed: int) -> Outcomes:
    study, plan = form.study, form.plan
    metrics = _noise(study, [LINKED, *(f"noise-{number}" for number in range(1, len(objective.METRICS)))], seed)
    source_of = {stimulus.id: stimulus.source for stimulus in study.stimuli}
    metrics[LINKED] += [link.apart * (source_of[id] == HUMAN) for id in metrics.index]
    answers = simulate.listeners(study, form.questionnaire, effects, listeners, seed, metrics)
    means = alignment.piece_means(answers.ratings, list(listeners), form.items)
    together = {alignment.ALL: means[alignment.ALL]}
    rows = _aligned(together, metrics, source_of, plan, seed)
    for verdict, words in (("significant", "alignment"), ("significant_within", "alignment within sources")):
        yield words, [row[verdict] for row in rows if (row["metric"], row["item"]) == (LINKED, form.primary)]
        yield f"{words}, of noise", [any(row[verdict] for row in rows if row["metric"] != LINKED)]
    found = predictor.predict(
        together, metrics, source_of, form.primary, plan["alpha"], plan["permutations"], seed, explained=False
    )[alignment.ALL]
    for name in ("ridge", "formula"):
        yield name, [found[name]["beats"]]
        yield f"{name} within sources", [found[name]["beats_within"]]
    if found["formula"]["beats"]:
        yield "named first, where there is a formula", [found["terms"]["terms"][0]["metric"] == LINKED]


def _noise(study: Study, names: Sequence[str], seed: int) -> pd.DataFrame:
    """Metrics that have nothing to do with anything."""
    ids = [stimulus.id for stimulus in study.stimuli]
    noise = np.random.default_rng([seed, 1]).normal(size=(len(ids), len(names)))
    return pd.DataFrame(noise, index=ids, columns=list(names))


def _aligned(
    means: Mapping[str, pd.DataFrame],
    metrics: pd.DataFrame,
    source_of: Mapping[str, str],
    plan: Mapping[str, Any],
    seed: int,
) -> list[dict[str, Any]]:
    """The rows of all groups together."""
    level, alpha, draws, permutations = plan["level"], plan["alpha"], plan["draws"], plan["rank_permutations"]
    of = alignment.alignment(means, metrics, source_of, level, alpha, draws, permutations, seed)
    rows: list[dict[str, Any]] = of[alignment.ALL]["rows"]
    return rows
