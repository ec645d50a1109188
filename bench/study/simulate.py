"""Listeners whose effects are known: the answers that a study would have from them.

A rating is an ordered answer to a latent judgement:

    latent = level(group, source, item) + listener + piece + listener at source + piece at group + taste
             + listener at item + piece at item + metrics of the piece that the item follows + logistic noise

and the rating is the number of thresholds below it. The level is found such that the mean rating over all listeners and
pieces is the one that the scenario states, if the item follows no metric. A second hearing of a piece has all but the
noise in common with the first.

A Turing answer is a detection (Macmillan & Creelman, Detection Theory, 2005): a piece sounds so human, and the listener
says so above a criterion. The shares of the scenario hold over all listeners and pieces. In a pair, the more human
sounding piece is chosen.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.optimize
import scipy.special
import scipy.stats

from muspike.bench.study import answers as tables
from muspike.bench.study.answers import Answers
from muspike.bench.study.effects import GENERATED, HUMAN, Effects, Item
from muspike.bench.study.questionnaire import Question, Questionnaire
from muspike.bench.study.study import ATTENTION, BOTH, PAIR, RATING, REPEAT, SINGLE, Study, Trial
from muspike.errors import BadInput

Floats = npt.NDArray[np.float64]

_STARTED = datetime.datetime(2026, 1, 5, 9, 0, tzinfo=datetime.UTC)
_REASONS = {
    True: ("the melody goes somewhere", "it has feeling", "the phrases breathe", "it reminds me of a known style"),
    False: ("it sounds random", "the rhythm is too even", "no clear structure", "strange harmonies", "too simple"),
}
_BACKGROUND_TRIES = 10_000


def listeners(
    study: Study,
    questionnaire: Questionnaire,
    effects: Effects,
    counts: Mapping[str, int],
    seed: int,
    metrics: pd.DataFrame | None = None,
) -> Answers:
    """The answers of made-up listeners.

    Args:
        study: what they hear.
        questionnaire: what they are asked.
        effects: what they do.
        counts: how many there are, by id of the group.
        seed: of all that is drawn.
        metrics: a row for each piece, a column for each metric; wanted where an item of `effects` follows one.

    Raises:
        BadInput: a group or an item is not in the questionnaire; no answers to its background questions lead to a
            group; or a metric that an item follows is not known, not defined for a piece or the same for all.
    """
    _check(questionnaire, effects, counts)
    by_metrics = _by_metrics(study, questionnaire, effects, metrics)
    return _Simulation(study, questionnaire, effects, by_metrics, np.random.default_rng(seed)).run(counts)


def true_mean(
    effects: Effects, questionnaire: Questionnaire, study: Study, group: str, source: str, item: str
) -> float:
    """The mean rating over all listeners and pieces of a kind, from 1: what an analysis should find.

    Answers of careless listeners are not in it. An item with `reverse` is turned round already.

    Raises:
        ValueError: the item follows a metric, so its means depend on the pieces.
    """
    if item in effects.items and effects.items[item].metrics:
        raise ValueError(f"item {item}: follows {', '.join(effects.items[item].metrics)}, so it has no stated mean")
    cuts = _thresholds(len(questionnaire.scale))
    level = level_of_item(effects, len(questionnaire.scale), study, group, source, effects.items.get(item, Item()))
    return _mean(level, _sd(effects, group), cuts)


def true_said_human(effects: Effects, study: Study, group: str, source: str) -> float:
    """The share of answers that a human composed a piece, over all listeners and pieces of a kind."""
    return effects.group(group).said_human[HUMAN if source == study.human else GENERATED]


def _check(questionnaire: Questionnaire, effects: Effects, counts: Mapping[str, int]) -> None:
    groups = [group.id for group in questionnaire.groups]
    for group in (*counts, *effects.groups):
        if group not in groups:
            raise BadInput(f"there is no group {group!r} in the questionnaire; it has {', '.join(groups)}")
    items = [item.id for item in questionnaire.items]
    for item in effects.items:
        if item not in items:
            raise BadInput(f"there is no item {item!r} in the questionnaire; it has {', '.join(items)}")


def _by_metrics(
    study: Study, questionnaire: Questionnaire, effects: Effects, metrics: pd.DataFrame | None
) -> dict[str, Floats]:
    """What metrics add to the judgement of each item, in logits, by piece."""
    ids = [stimulus.id for stimulus in study.stimuli]
    added = np.zeros((len(ids), len(questionnaire.items)))
    measured = pd.DataFrame(index=ids) if metrics is None else metrics.reindex(ids)
    for name in effects.metrics:
        if name not in measured:
            raise BadInput(f"metric {name}: is not measured; known are {', '.join(measured) or 'none'}")
        values = measured[name].to_numpy(float)
        if lacking := int((~np.isfinite(values)).sum()):
            raise BadInput(f"metric {name}: is not defined for {lacking} of {len(ids)} pieces, expected for all")
        if np.ptp(values) == 0:
            raise BadInput(f"metric {name}: is {values[0]:g} for all pieces, so no item can follow it")
        score = (values - values.mean()) / values.std()
        for column, item in enumerate(questionnaire.items):
            if item.id in effects.items:
                added[:, column] += effects.items[item.id].metrics.get(name, 0.0) * score
    return dict(zip(ids, added, strict=True))


def _thresholds(points: int) -> Floats:
    """The thresholds of the scale, in logits: those that split a standard normal of this width evenly."""
    return np.asarray(1.6 * scipy.stats.norm.ppf(np.arange(1, points) / points))


def _sd(effects: Effects, group: str) -> float:
    """The standard deviation of all that a judgement of an item holds beside its level and the logistic noise."""
    of = effects.spreads
    parts = (of.listener, of.piece, of.listener_source, of.piece_group, of.listener_item, of.piece_item)
    return math.sqrt(sum(part**2 for part in parts) + (of.taste * effects.group(group).taste) ** 2)


_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


def _mean(level: float, sd: float, cuts: Floats) -> float:
    above = scipy.special.expit(level + sd * _NODES[:, None] - cuts)
    return float(1 + (above.sum(axis=1) * _WEIGHTS).sum() / _WEIGHTS.sum())


@cache
def _level_of(mean: float, sd: float, points: int) -> float:
    """The level at which the mean rating is `mean`, which is stated for 5 points."""
    cuts = _thresholds(points)
    wanted = 1 + (mean - 1) / 4 * (points - 1)
    return float(scipy.optimize.brentq(lambda level: _mean(level, sd, cuts) - wanted, -60, 60))


def level_of_item(effects: Effects, points: int, study: Study, group: str, source: str, item: Item) -> float:
    """The level of an item in logits, as the module says."""
    of, sd = effects.group(group), _sd(effects, group)
    human, generated = (_level_of(of.mean[kind], sd, points) for kind in (HUMAN, GENERATED))
    if source == study.human:
        return human + item.shift
    others = [name for name in study.sources if name != study.human]
    step = 0.5 - others.index(source) / (len(others) - 1) if len(others) > 1 else 0.0
    return human + item.share * (generated + effects.spread * step - human) + item.shift


class _Simulation:
    def __init__(
        self,
        study: Study,
        questionnaire: Questionnaire,
        effects: Effects,
        by_metrics: Mapping[str, Floats],
        random: np.random.Generator,
    ) -> None:
        self.study, self.form, self.effects, self.random = study, questionnaire, effects, random
        self.by_metrics = by_metrics
        self.points = len(questionnaire.scale)
        self.cuts = _thresholds(self.points)
        self.items = questionnaire.items
        self.source_of = {stimulus.id: stimulus.source for stimulus in study.stimuli}
        spreads, number = effects.spreads, len(self.items)
        self.piece = {id: spreads.piece * random.normal() for id in self.source_of}
        self.piece_item = {id: spreads.piece_item * random.normal(size=number) for id in self.source_of}
        self.piece_group: dict[tuple[str, str], float] = {}
        self.sounds = {id: effects.turing.piece * random.normal() for id in self.source_of}
        self.levels: dict[tuple[str, str], Floats] = {}
        self.listeners: list[dict[str, Any]] = []
        self.ratings: list[dict[str, Any]] = []
        self.turing: list[dict[str, Any]] = []

    def run(self, counts: Mapping[str, int]) -> Answers:
        for group, count in counts.items():
            heard = np.zeros(len(self.study.lists), int)
            for _ in range(count):
                index = int(heard.argmin())  # the list that the fewest of the group have
                heard[index] += 1
                self._listen(len(self.listeners) + 1, group, index)
        background = {f"background_{question.id}": "string" for question in self.form.background}
        return Answers(
            _frame(self.listeners, tables.LISTENERS | background),
            _frame(self.ratings, tables.RATINGS),
            _frame(self.turing, tables.TURING),
        )

    def _levels(self, group: str, source: str) -> Floats:
        """Of each item."""
        if (group, source) not in self.levels:
            items = [self.effects.items.get(item.id, Item()) for item in self.items]
            self.levels[group, source] = np.array(
                [level_of_item(self.effects, self.points, self.study, group, source, item) for item in items]
            )
        return self.levels[group, source]

    def _listen(self, number: int, group: str, index: int) -> None:
        random, care, spreads = self.random, self.effects.care, self.effects.spreads
        careless = bool(random.random() < care.careless)
        trials = self.study.lists[index]
        leaves = bool(random.random() < care.leaving)
        last = int(random.integers(1, len(trials))) if leaves and len(trials) > 1 else len(trials)
        person = {
            "own": spreads.listener * random.normal(),
            "source": {source: spreads.listener_source * random.normal() for source in self.study.sources},
            "item": spreads.listener_item * random.normal(size=len(self.items)),
            "taste": {},
            "bias": self.effects.turing.listener * random.normal(),
        }
        asked = missed = 0
        for at, trial in enumerate(trials[:last]):
            if trial.kind == ATTENTION:
                asked += 1
                missed += bool(random.random() < (1 - 1 / self.points if careless else care.slips))
            elif trial.kind == PAIR:
                self._pair(number, group, at, trial, person, careless)
            else:
                self._rate(number, group, at, trial, person, careless)
        self.listeners.append(
            {
                "listener": number,
                "group": group,
                "language": self.study.languages[0],
                "list": index,
                "started": (_STARTED + datetime.timedelta(minutes=7 * number)).isoformat(timespec="minutes"),
                "finished": last == len(trials),
                "headphones": bool(random.random() >= care.without_headphones) if self.study.screening else pd.NA,
                "attention_asked": asked,
                "attention_missed": missed,
                **self._background(group),
            }
        )

    def _background(self, group: str) -> dict[str, str]:
        """Answers to the background questions that lead to this group, drawn until they do."""
        for _ in range(_BACKGROUND_TRIES):
            drawn = {question.id: self._answer(question) for question in self.form.background}
            if self.form.group_of(drawn) == group:
                return {f"background_{id}": str(answer) for id, answer in drawn.items()}
        raise BadInput(f"group {group!r}: no answers to the background questions were found that lead to it")

    def _answer(self, question: Question) -> str | int:
        if question.options:
            return question.options[int(self.random.integers(len(question.options)))].id
        # Small numbers are as likely as large ones: a group may be that of those with less than two years.
        low, high = math.log1p(0), math.log1p(question.most - question.least)
        return question.least + int(math.expm1(self.random.uniform(low, high)))

    def _rate(self, number: int, group: str, at: int, trial: Trial, person: dict[str, Any], careless: bool) -> None:
        (id,) = trial.stimuli
        source = self.source_of[id]
        spreads = self.effects.spreads
        if id not in person["taste"]:
            person["taste"][id] = spreads.taste * self.effects.group(group).taste * self.random.normal()
        if spreads.piece_group and (id, group) not in self.piece_group:
            self.piece_group[id, group] = spreads.piece_group * self.random.normal()
        latent = (
            self._levels(group, source)
            + person["own"]
            + person["source"][source]
            + person["item"]
            + person["taste"][id]
            + self.piece[id]
            + self.piece_group.get((id, group), 0.0)
            + self.piece_item[id]
            + self.by_metrics[id]
            + self.random.logistic(size=len(self.items))
        )
        points = 1 + (latent[:, None] > self.cuts).sum(axis=1)
        if careless:
            points = self.random.integers(1, self.points + 1, size=len(self.items))
        row = {"listener": number, "group": group, "trial": at}
        plays = 1 + int(self.random.poisson(0.3))
        for item, point in zip(self.items, points, strict=True):
            rating = self.points + 1 - int(point) if item.reverse and not careless else int(point)
            self.ratings.append(
                row
                | {
                    "stimulus": id,
                    "source": source,
                    "item": item.id,
                    "rating": rating,
                    "repeat": trial.kind == REPEAT,
                    "plays": plays,
                }
            )
        if trial.kind == RATING and self.study.turing in (SINGLE, BOTH):
            evidence = self._sounds(group, id) + self.random.normal() - person["bias"]
            self._turing(row, trial, "single", source, evidence, bool(evidence > 0), careless)

    def _sounds(self, group: str, id: str) -> float:
        """How human a piece sounds above the criterion of the group, such that the shares are those stated."""
        share = true_said_human(self.effects, self.study, group, self.source_of[id])
        of = self.effects.turing
        return float(scipy.stats.norm.ppf(share) * math.sqrt(1 + of.listener**2 + of.piece**2)) + self.sounds[id]

    def _pair(self, number: int, group: str, at: int, trial: Trial, person: dict[str, Any], careless: bool) -> None:
        human = next((id for id in trial.stimuli if self.source_of[id] == self.study.human), trial.stimuli[0])
        other = next(id for id in trial.stimuli if id != human)
        gain = self.effects.turing.pair_gain * ((trial.similarity or 0.5) - 0.5)
        difference = self._sounds(group, human) - self._sounds(group, other) + gain
        evidence = (difference + math.sqrt(2) * self.random.normal()) / math.sqrt(2)
        row = {"listener": number, "group": group, "trial": at, "other": other, "similarity": trial.similarity}
        row["first"] = trial.stimuli[0] == human
        self._turing(row, trial, "pair", self.source_of[other], evidence, bool(evidence > 0), careless, human)

    def _turing(
        self,
        row: dict[str, Any],
        trial: Trial,
        form: str,
        source: str,
        evidence: float,
        said: bool,
        careless: bool,
        stimulus: str | None = None,
    ) -> None:
        if careless:
            said, evidence = bool(self.random.random() < 0.5), self.random.normal()
        why: Any = pd.NA
        if self.study.ask_why and self.random.random() < self.effects.turing.reasons:
            why = str(self.random.choice(_REASONS[said]))
        self.turing.append(
            row
            | {
                "form": form,
                "stimulus": stimulus or trial.stimuli[0],
                "source": source,
                "said_human": said,
                "confidence": int(np.clip(1 + abs(evidence) * 2, 1, 5)),
                "why": why,
            }
        )


def _frame(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pd.DataFrame:
    return tables.typed(pd.DataFrame(list(rows), columns=list(columns)), columns)
