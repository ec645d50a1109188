"""Whose answers the analysis uses: the exclusions of the plan, and ratings as an analysis needs them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from muspike.bench.study.answers import Answers
from muspike.bench.study.questionnaire import Questionnaire


@dataclass(frozen=True)
class Selected:
    """The answers that are analysed.

    Attributes:
        listeners: as in `Answers`.
        ratings: first hearings, items with `reverse` turned round.
        repeats: second hearings, likewise.
        turing: as in `Answers`.
        excluded: for each reason, how many listeners of each group were left out; a listener counts once, for the
            first reason.
    """

    listeners: pd.DataFrame
    ratings: pd.DataFrame
    repeats: pd.DataFrame
    turing: pd.DataFrame
    excluded: dict[str, dict[str, int]]

    @property
    def heard_by(self) -> dict[str, int]:
        """How many listeners each group has, of those with an answer."""
        with_answers = set(self.ratings["listener"]) | set(self.turing["listener"])
        kept = self.listeners[self.listeners["listener"].isin(with_answers)]
        return {str(group): int(number) for group, number in kept.groupby("group", sort=False).size().items()}


def select(answers: Answers, questionnaire: Questionnaire, rules: Mapping[str, Any] | None) -> Selected:
    """The answers without those of the listeners that the rules leave out.

    Args:
        answers: all answers.
        questionnaire: what was asked.
        rules: `exclusions` of the plan; None: nobody is left out.
    """
    people = answers.listeners
    reasons: dict[str, pd.Series] = {}
    if rules is not None:
        share = people["attention_missed"] / people["attention_asked"].where(people["attention_asked"] > 0)
        reasons["missed attention checks"] = (share >= rules["attention_missed_share"]).fillna(False)
        if rules["headphones"]:
            reasons["failed the headphone screening"] = ~people["headphones"].fillna(True)
        if rules["unfinished"]:
            reasons["stopped early"] = ~people["finished"]
    out = pd.Series(False, index=people.index)
    excluded: dict[str, dict[str, int]] = {}
    for reason, meets in reasons.items():
        new = people[meets.astype(bool) & ~out]
        excluded[reason] = {str(group): int(number) for group, number in new.groupby("group").size().items()}
        out |= meets.astype(bool)
    kept = people[~out]
    ratings = answers.ratings[answers.ratings["listener"].isin(kept["listener"])].copy()
    turned = [item.id for item in questionnaire.items if item.reverse]
    here = ratings["item"].isin(turned)
    ratings.loc[here, "rating"] = len(questionnaire.scale) + 1 - ratings.loc[here, "rating"]
    again = ratings["repeat"].astype(bool)
    turing = answers.turing[answers.turing["listener"].isin(kept["listener"])]
    return Selected(kept, ratings[~again], ratings[again], turing, excluded)
