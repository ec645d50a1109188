"""The whole analysis of a study, from its answers to the content of its report.

What it returns is JSON-able except for nan. A part that cannot be computed is {"missing": why}. An ESTIMATE is
{"value", "low", "high", "p", "error", "df"}; where there is no interval, its ends are nan.

    study            title, sources, human, groups {id: name}, items {id: statement}, points, pieces
    plan             the choices that were followed (`analysis_plan.load`)
    listeners        {group: {"finished", "stopped", "left out": {reason: number}, "used"}}
    means            {item or "all items": {group or "all": {source: ESTIMATE, with "answers"}}}
    models           {item: {"tests", "sds", "answers"} or missing}
    comparisons      {family: [{"name", "logits", "points"?, "p", "p_holm", ...}]}
    turing           of `detection.singles`
    pairs            of `detection.pairs`
    polarisation     of `polarisation.polarisation`
    reliability      of `reliability.reliability`
    alignment        of `alignment.alignment`
    predictor        of `predictor.predict`
    reasons          of `detection.reasons`
    everyone         means of the primary item, comparisons and turing if nobody is left out; missing if nobody was
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from muspike.bench.study import alignment, comparisons, detection, polarisation, predictor, reliability
from muspike.bench.study.answers import Answers
from muspike.bench.study.estimates import Clusters, Floats, linear, mean_weights
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.selection import Selected, select
from muspike.bench.study.study import PAIR, RATING, REPEAT, Study, Trial
from muspike.errors import BadInput

ALL, ALL_ITEMS = "all", "all items"


@dataclass(frozen=True)
class Form:
    """What is analysed: a study, its questionnaire and the choices of the plan.

    Attributes:
        study, questionnaire: as said.
        plan: the choices, whose primary item is one of the questionnaire (`analysis_plan.of_items`).
    """

    study: Study
    questionnaire: Questionnaire
    plan: Mapping[str, Any]

    @property
    def groups(self) -> list[str]:
        """Ids of the groups of listeners."""
        return [group.id for group in self.questionnaire.groups]

    @property
    def items(self) -> list[str]:
        """Ids of the items."""
        return [item.id for item in self.questionnaire.items]

    @property
    def points(self) -> int:
        """Of the scale."""
        return len(self.questionnaire.scale)

    @property
    def primary(self) -> str:
        """The item of the main comparisons."""
        return str(self.plan["primary"])


def check(form: Form, answers: Answers, where: str) -> None:
    """Refuse answers that are not of this study.

    Args:
        form: what is analysed.
        answers: the answers.
        where: where they are from, for errors.

    Raises:
        BadInput: a group, a piece, a source or an item is not the study's; a rating is outside the scale or there
            twice; or a row says other things of a page than the study.
    """
    pieces = {stimulus.id for stimulus in form.study.stimuli}
    ratings, turing = answers.ratings, answers.turing
    known: list[tuple[str, pd.DataFrame, str, set[Any]]] = [
        ("ratings", ratings, "stimulus", pieces),
        ("turing", turing, "stimulus", pieces),
        ("ratings", ratings, "source", set(form.study.sources)),
        ("turing", turing, "source", set(form.study.sources)),
        ("ratings", ratings, "item", set(form.items)),
        *(
            (name, table, column, values)
            for name, table in (("listeners", answers.listeners), ("ratings", ratings), ("turing", turing))
            for column, values in (("group", set(form.groups)), ("listener", set(answers.listeners["listener"])))
        ),
    ]
    for name, table, column, values in known:
        if strange := sorted(set(table[column]) - values, key=str):
            raise BadInput(f"{where}: {name}: {column} {strange[0]!r} is none of the study's; expected one of its own")
    if len(outside := ratings[~ratings["rating"].between(1, form.points)]):
        raise BadInput(f"{where}: ratings: {outside['rating'].iloc[0]} is outside the scale of 1 to {form.points}")
    if len(twice := ratings[ratings.duplicated(["listener", "stimulus", "item", "repeat"])]):
        row = twice.iloc[0]
        raise BadInput(f"{where}: ratings: listener {row['listener']} rated {row['stimulus']} twice in {row['item']}")
    _check_pages(form, answers, where)


def _check_pages(form: Form, answers: Answers, where: str) -> None:
    """Refuse rows that say other things of a page than the study."""
    study, listeners = form.study, answers.listeners
    for name, table, key in (("listeners", listeners, ["listener"]), ("turing", answers.turing, ["listener", "trial"])):
        if len(twice := table[table.duplicated(key)]):
            told = ", ".join(f"{column} {twice.iloc[0][column]}" for column in key)
            raise BadInput(f"{where}: {name}: {told} is there twice; each is there once")
    for number, of_list, asked, missed in listeners[
        ["listener", "list", "attention_asked", "attention_missed"]
    ].itertuples(index=False):
        if not 0 <= of_list < len(study.lists):
            raise BadInput(
                f"{where}: listeners: listener {number} has list {of_list}; the study has {len(study.lists)}"
            )
        if missed > asked:
            raise BadInput(f"{where}: listeners: listener {number} missed {missed} of {asked} attention checks")
    lists = dict(zip(listeners["listener"], listeners["list"], strict=True))
    groups = dict(zip(listeners["listener"], listeners["group"], strict=True))
    source = {stimulus.id: stimulus.source for stimulus in study.stimuli}

    def rated(trial: Trial) -> tuple[Any, ...]:
        return trial.stimuli[0], source[trial.stimuli[0]], trial.kind == REPEAT

    def judged(trial: Trial) -> tuple[Any, ...]:
        if trial.kind != PAIR:
            return trial.stimuli[0], source[trial.stimuli[0]], "single", None, None
        first = source[trial.stimuli[0]] == study.human
        human, other = trial.stimuli if first else trial.stimuli[::-1]
        return human, source[other], "pair", other, first

    for name, table, columns, kinds, row_of in (
        ("ratings", answers.ratings, ("stimulus", "source", "repeat"), (RATING, REPEAT), rated),
        ("turing", answers.turing, ("stimulus", "source", "form", "other", "first"), (RATING, PAIR), judged),
    ):
        for row in table[["listener", "group", "trial", *columns]].drop_duplicates().itertuples(index=False):
            trials, place = study.lists[lists[row[0]]], f"{where}: {name}: listener {row[0]}, trial {row[2]}"
            if row[1] != groups[row[0]]:
                raise BadInput(f"{place}: is of group {row[1]}, expected {groups[row[0]]}, as the listener")
            if not 0 <= row[2] < len(trials) or trials[row[2]].kind not in kinds:
                raise BadInput(f"{place}: the study asks nothing of the kind there")
            found = tuple(None if pd.isna(value) else value for value in row[3:])
            if found != (wanted := row_of(trials[row[2]])):
                at = next(index for index, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
                raise BadInput(f"{place}: {columns[at]} is {found[at]}, expected {wanted[at]}, as in the study")
    sure = answers.turing["confidence"]
    if len(outside := sure[~sure.between(1, 5)]):
        raise BadInput(f"{where}: turing: confidence {outside.iloc[0]} is outside the scale of 1 to 5")


def steps(form: Form) -> int:
    """How often `analyse` calls its progress."""
    return 2 * len(form.items) + len(form.groups) + 6


def analyse(
    form: Form,
    answers: Answers,
    metrics: pd.DataFrame | None,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Analyse a study.

    Args:
        form: what is analysed.
        answers: of all listeners.
        metrics: a row for each piece, by id, and a column for each objective metric; None: pieces were not measured.
        progress: is called `steps(form)` times, or less often.
    """
    plan, study = form.plan, form.study
    selected = select(answers, form.questionnaire, plan["exclusions"])
    progress()
    result: dict[str, Any] = {
        "study": _described(form, selected),
        "plan": dict(plan),
        "listeners": _listeners(form, answers, selected),
        "means": _means(form, selected.ratings, [*form.items, ALL_ITEMS]),
    }
    progress()
    result |= _compared(form, selected, form.items, progress)
    result["turing"] = detection.singles(
        selected.turing, study.human, study.sources, form.groups, plan["level"], plan["alpha"]
    )
    result["pairs"] = detection.pairs(selected.turing, form.groups, plan["level"])
    progress()
    result["polarisation"] = polarisation.polarisation(selected.ratings, form.groups, form.points, plan["level"])
    progress()
    result["reliability"] = reliability.reliability(
        selected.ratings, selected.repeats, form.items, form.groups, form.points, plan["level"], plan["seed"]
    )
    progress()
    result |= _aligned(form, selected, metrics, progress)
    asks = study.ask_why
    result["reasons"] = detection.reasons(selected.turing) if asks else {"missing": "the study does not ask for them"}
    if any(sum(of.values()) for of in selected.excluded.values()):
        everyone = select(answers, form.questionnaire, None)
        turing = detection.singles(
            everyone.turing, study.human, study.sources, form.groups, plan["level"], plan["alpha"]
        )
        result["everyone"] = {
            "means": _means(form, everyone.ratings, [form.primary]),
            **_compared(form, everyone, [form.primary], progress),
            "turing": turing,
        }
    else:
        result["everyone"] = {"missing": "nobody was left out"}
    return result


def _described(form: Form, selected: Selected) -> dict[str, Any]:
    study = form.study
    return {
        "title": study.title,
        "sources": list(study.sources),
        "human": study.human,
        "groups": {group.id: group.name for group in form.questionnaire.groups},
        "items": {item.id: item.statement for item in form.questionnaire.items},
        "reversed": [item.id for item in form.questionnaire.items if item.reverse],
        "primary": form.primary,
        "points": form.points,
        "scale": list(form.questionnaire.scale),
        "pieces": {source: sum(stimulus.source == source for stimulus in study.stimuli) for source in study.sources},
        "answers": {"ratings": len(selected.ratings), "turing": len(selected.turing)},
        "turing": study.turing,
    }


def _listeners(form: Form, answers: Answers, selected: Selected) -> dict[str, Any]:
    used = selected.heard_by
    found = {}
    for group in form.groups:
        people = answers.listeners[answers.listeners["group"] == group]
        finished = int(people["finished"].sum())
        found[group] = {
            "came": len(people),
            "finished": finished,
            "stopped": len(people) - finished,
            "left_out": {reason: of.get(group, 0) for reason, of in selected.excluded.items()},
            "used": used.get(group, 0),
            "wanted": form.study.targets.get(group),
        }
    return found


def _means(form: Form, ratings: pd.DataFrame, items: Sequence[str]) -> dict[str, Any]:
    """Means by item, group and source. In "all", each group counts alike."""
    level, found = form.plan["level"], {}
    for item in items:
        of = _all_items(ratings) if item == ALL_ITEMS else ratings[ratings["item"] == item]
        clusters = Clusters.of(of)
        values = of["rating"].to_numpy(float)
        is_group = {group: (of["group"] == group).to_numpy(bool) for group in form.groups}
        rows: dict[str, dict[str, Any]] = {group: {} for group in (ALL, *form.groups)}
        for source in form.study.sources:
            here = (of["source"] == source).to_numpy(bool)
            parts = {group: here & member for group, member in is_group.items() if (here & member).any()}
            for group, chosen in parts.items():
                rows[group][source] = _mean(values, mean_weights(chosen), clusters, level, form.points, chosen)
            if parts:
                weights = sum(mean_weights(chosen) for chosen in parts.values()) / len(parts)
                rows[ALL][source] = _mean(values, np.asarray(weights), clusters, level, form.points, here)
        found[item] = {group: of for group, of in rows.items() if of}
    return found


def _mean(
    values: Floats, weights: Floats, clusters: Clusters, level: float, points: int, chosen: Any
) -> dict[str, Any]:
    found = linear(values, weights, clusters, level, bounds=(1.0, float(points))).to_dict()
    return found | {"p": float("nan"), "answers": int(chosen.sum())}


def _all_items(ratings: pd.DataFrame) -> pd.DataFrame:
    """The mean over all items of each listener and piece."""
    keys = ["listener", "group", "stimulus", "source"]
    return ratings.groupby(keys, as_index=False, sort=False)["rating"].mean()


def _compared(form: Form, selected: Selected, items: Sequence[str], progress: Callable[[], object]) -> dict[str, Any]:
    """The models of items, and the comparisons of the families that they answer."""
    study, plan = form.study, form.plan
    fitted: dict[str, comparisons.Model] = {}
    models: dict[str, Any] = {}
    for item in items:
        of = selected.ratings[selected.ratings["item"] == item]
        model = comparisons.model_of(of, form.groups, study.sources)
        if isinstance(model, str):
            models[item] = {"missing": model}
        else:
            fitted[item] = model
            models[item] = {
                "tests": comparisons.joint_tests(model, form.groups, study.sources),
                "sds": dict(zip(model.terms, model.fit.sds.tolist(), strict=True)),
                "thresholds": model.fit.thresholds.tolist(),
                "answers": model.answers,
            }
        progress()
    families = comparisons.families(fitted, form.primary, study.human, study.sources, form.groups, plan["level"])
    _with_points(form, selected.ratings, families)
    return {"models": models, "comparisons": families}


def _with_points(form: Form, ratings: pd.DataFrame, families: Mapping[str, list[dict[str, Any]]]) -> None:
    """Put the difference of the means, in points of the scale, beside each comparison of one source."""
    of = ratings[ratings["item"] == form.primary]
    clusters, values = Clusters.of(of), of["rating"].to_numpy(float)
    human = form.study.human

    def difference(source: str, groups: Sequence[str]) -> dict[str, Any]:
        weights, number = np.zeros(len(of)), 0
        for group in groups:
            member = (of["group"] == group).to_numpy(bool)
            sides = [member & (of["source"] == name).to_numpy(bool) for name in (source, human)]
            if all(side.any() for side in sides):
                weights += mean_weights(sides[0]) - mean_weights(sides[1])
                number += 1
        return linear(values, weights / max(number, 1), clusters, form.plan["level"]).to_dict()

    for row in families["sources"]:
        row["points"] = difference(row["name"].removesuffix(f" – {human}"), form.groups)
    for row in families["sources_by_group"]:
        group, _, rest = row["name"].partition(": ")
        row["points"] = difference(rest.removesuffix(f" – {human}"), [group])


def _aligned(
    form: Form, selected: Selected, metrics: pd.DataFrame | None, progress: Callable[[], object]
) -> dict[str, Any]:
    plan = form.plan
    if metrics is None or metrics.empty:
        missing = {"missing": "the pieces of the study were not measured"}
        return {"alignment": missing, "predictor": missing}
    means = alignment.piece_means(selected.ratings, form.groups, form.items)
    if not means:
        missing = {"missing": "there are no ratings"}
        return {"alignment": missing, "predictor": missing}
    source_of = {stimulus.id: stimulus.source for stimulus in form.study.stimuli}
    aligned = alignment.alignment(
        means,
        metrics,
        source_of,
        plan["level"],
        plan["alpha"],
        plan["draws"],
        plan["rank_permutations"],
        plan["seed"],
    )
    progress()
    predicted = predictor.predict(
        means, metrics, source_of, form.primary, plan["alpha"], plan["permutations"], plan["seed"], progress
    )
    return {"alignment": aligned, "predictor": predicted}


def quicker(plan: Mapping[str, Any], draws: int, permutations: int, rank_permutations: int = 1000) -> dict[str, Any]:
    """The plan with fewer draws: for tests and simulations."""
    return dict(plan) | {"draws": draws, "permutations": permutations, "rank_permutations": rank_permutations}
