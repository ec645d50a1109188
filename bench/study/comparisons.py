"""The mixed model of each item, and the comparisons that it answers.

The model has a level for each group and source that was heard, so the interaction is in it, and an empty group costs
only what is about it. Listener, piece, listener at source, and piece at group are random (Barr et al., Random effects
structure for confirmatory hypothesis testing, Journal of Memory and Language 68, 2013). Without the third, the
comparison of two sources would count every answer of a listener as news. Without the last, that of two groups would
count every answer on a piece as news, though a group may hear a piece in its own way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from statsmodels.stats.multitest import multipletests

from muspike.bench.study import mixed_model
from muspike.bench.study.mixed_model import Fit, Floats
from muspike.errors import Failed

Cell = tuple[str, str]
"""Group and source."""


@dataclass(frozen=True)
class Model:
    """The model of an item.

    Attributes:
        cells: groups and sources that have answers. The first is where the scale lies.
        fit: the model. Its beta is the distance of each further cell to the first.
        terms: the names of the random terms, as in `fit.sds`.
        answers: how many there are.
    """

    cells: tuple[Cell, ...]
    fit: Fit
    terms: tuple[str, ...]
    answers: int

    def weights(self, parts: Sequence[tuple[Cell, float]]) -> Floats:
        """A sum of levels of cells, as weights of beta. The numbers must add up to 0."""
        row = np.zeros(len(self.cells))
        for cell, number in parts:
            row[self.cells.index(cell)] += number
        assert abs(row.sum()) < 1e-9, "only distances are known"
        return row[1:]


def model_of(ratings: pd.DataFrame, groups: Sequence[str], sources: Sequence[str]) -> Model | str:
    """The model of the ratings of one item, or why there is none.

    Args:
        ratings: as in `Selected`, of one item.
        groups, sources: in the order of the cells.
    """
    if ratings.empty:
        return "there are no ratings"
    points = ratings["rating"].to_numpy(np.int64)
    names, places = np.unique(points, return_inverse=True)
    if len(names) < 2:
        return f"all ratings are {names[0]}"
    of_group, of_source = (ratings[name].to_numpy(object) for name in ("group", "source"))
    cells = [
        (group, source) for group in groups for source in sources if ((of_group == group) & (of_source == source)).any()
    ]
    member = [(of_group == group) & (of_source == source) for group, source in cells]
    for (group, source), here in zip(cells, member, strict=True):
        if len(cells) > 1 and len(ends := np.unique(places[here])) == 1 and ends[0] in (0, len(names) - 1):
            end = "lowest" if ends[0] == 0 else "highest"
            return f"all ratings of {source} by {group} are the {end} that anybody gave, so their level has no bound"
    terms = _terms(ratings)
    if not terms:
        return "one listener or one piece alone says nothing about others"
    effects = np.array([here.astype(float) for here in member[1:]]).T.reshape(len(places), len(cells) - 1)
    try:
        fit = mixed_model.fit(places, effects, list(terms.values()), restricted=True)
    except Failed as error:
        return str(error)
    return Model(tuple(cells), fit, tuple(terms), len(places))


def _terms(ratings: pd.DataFrame) -> dict[str, npt.NDArray[np.int64]]:
    """The random terms that these answers can tell apart from one another, and from the noise of an answer."""
    listener, piece = (pd.factorize(ratings[name])[0].astype(np.int64) for name in ("listener", "stimulus"))
    source = pd.factorize(ratings["source"])[0].astype(np.int64)
    group = pd.factorize(ratings["group"])[0].astype(np.int64)
    numbers = {
        "listener": listener,
        "piece": piece,
        "listener at source": pd.factorize(listener * (source.max() + 1) + source)[0].astype(np.int64),
        "piece at group": pd.factorize(piece * (group.max() + 1) + group)[0].astype(np.int64),
    }
    counts = {name: int(of.max()) + 1 for name, of in numbers.items()}
    if min(counts["listener"], counts["piece"]) < 2:
        return {}
    kept = {name: of for name, of in numbers.items() if counts[name] < len(ratings)}
    for finer, coarser in (("listener at source", "listener"), ("piece at group", "piece")):
        if counts[finer] == counts[coarser]:
            kept.pop(finer, None)
    return kept


def source_parts(model: Model, human: str, sources: Sequence[str], groups: Sequence[str]) -> list[tuple[Cell, float]]:
    """The mean distance of `sources` to the human one, over the groups that heard both."""
    parts: list[tuple[Cell, float]] = []
    for group in groups:
        known = [source for source in sources if (group, source) in model.cells]
        if known and (group, human) in model.cells:
            parts.append(((group, human), -1.0))
            parts += [((group, source), 1 / len(known)) for source in known]
    number = sum(weight < 0 for _, weight in parts)
    return [(cell, weight / number) for cell, weight in parts]


def compare(model: Model, parts: Sequence[tuple[Cell, float]], name: str, level: float) -> dict[str, Any] | None:
    """One comparison, in logits, or None if no group heard both sides."""
    if not parts:
        return None
    found = model.fit.contrast(model.weights(parts), level)
    return {
        "name": name,
        "logits": {"value": found.value, "low": found.low, "high": found.high},
        "error": found.error,
        "df": found.df,
        "p": found.p,
    }


def families(
    models: dict[str, Model], primary: str, human: str, sources: Sequence[str], groups: Sequence[str], level: float
) -> dict[str, list[dict[str, Any]]]:
    """The comparisons of ratings by family, corrected by Holm's method within each.

    Args:
        models: by item, those that could be fitted.
        primary: the item of the main comparisons.
        human: the human source.
        sources: all sources.
        groups: all groups.
        level: of intervals.
    """
    others = [source for source in sources if source != human]
    found: dict[str, list[dict[str, Any] | None]] = {name: [] for name in ("sources", "sources_by_group", "groups")}
    if (model := models.get(primary)) is not None:
        for source in others:
            parts = source_parts(model, human, [source], groups)
            found["sources"].append(compare(model, parts, f"{source} – {human}", level))
        for group in groups:
            for source in others:
                parts = source_parts(model, human, [source], [group])
                found["sources_by_group"].append(compare(model, parts, f"{group}: {source} – {human}", level))
        for one, other in combinations(groups, 2):
            sides = [source_parts(model, human, others, [group]) for group in (one, other)]
            if all(sides):
                parts = sides[0] + [(cell, -weight) for cell, weight in sides[1]]
                found["groups"].append(compare(model, parts, f"{one} – {other}", level))
    found["items"] = [
        compare(of, source_parts(of, human, others, groups), item, level)
        for item, of in models.items()
        if item != primary
    ]
    return {name: holm([row for row in rows if row is not None]) for name, rows in found.items()}


def holm(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `p_holm` beside `p`. A row whose p is missing is not counted."""
    known = [row for row in rows if np.isfinite(row["p"])]
    corrected = multipletests([row["p"] for row in known], method="holm")[1] if known else []
    by_row = dict(zip(map(id, known), corrected, strict=True))
    return [row | {"p_holm": float(by_row.get(id(row), np.nan))} for row in rows]


def joint_tests(model: Model, groups: Sequence[str], sources: Sequence[str]) -> list[dict[str, Any]]:
    """Source, group and their interaction, each tested as a whole. Only if all cells have answers."""
    groups = [group for group in groups if any(cell[0] == group for cell in model.cells)]
    sources = [source for source in sources if any(cell[1] == source for cell in model.cells)]
    if len(model.cells) < len(groups) * len(sources):
        return []
    rows: dict[str, list[Floats]] = {"source": [], "group": [], "source x group": []}
    for source in sources[1:]:
        parts = [((group, s), sign) for group in groups for s, sign in ((source, 1.0), (sources[0], -1.0))]
        rows["source"].append(model.weights(parts))
    for group in groups[1:]:
        parts = [((g, source), sign) for source in sources for g, sign in ((group, 1.0), (groups[0], -1.0))]
        rows["group"].append(model.weights(parts))
        for source in sources[1:]:
            square = [(group, source, 1.0), (group, sources[0], -1.0), (groups[0], source, -1.0)]
            cross = [((g, s), sign) for g, s, sign in (*square, (groups[0], sources[0], 1.0))]
            rows["source x group"].append(model.weights(cross))
    found = []
    for name, weights in rows.items():
        if weights:
            test = model.fit.joint(np.array(weights))
            found.append({"name": name, "f": test.f, "numerator": test.numerator, "df": test.df, "p": test.p})
    return found
