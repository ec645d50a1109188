"""The Turing answers: how often a piece is taken for a human one, d' and criterion, and pairs.

d' is how well human pieces are told from others, and the criterion is how far a listener leans to the answer "machine"
(Macmillan & Creelman, Detection Theory, 2005). Both are of a group's shares, with half an answer added to each count
(Hautus 1995). Their intervals come from those of the shares by the delta method, so listeners and pieces are in them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats

from muspike.bench.study import mixed_model
from muspike.bench.study.comparisons import holm
from muspike.bench.study.estimates import Clusters, Estimate, linear, mean_weights
from muspike.errors import Failed

_SHARE = (0.0, 1.0)


def singles(
    turing: pd.DataFrame, human: str, sources: Sequence[str], groups: Sequence[str], level: float, alpha: float
) -> Any:
    """Each group's answers on single pieces.

    Args:
        turing: the answers.
        human: the source of human pieces.
        sources, groups: all of them.
        level: of intervals.
        alpha: below which a corrected p decides whether human pieces are recognised.

    Returns:
        By group: `said_human` by source, `accuracy`, `d_prime`, `criterion`, each with an interval, `reverse` (a
        sentence) and `answers`; or {"missing": why}. The families `turing` (d' and criterion) and `recognised`
        (`said_human` of human pieces) have `p_holm`.
    """
    of = turing[turing["form"] == "single"]
    if of.empty:
        return {"missing": "the study has no Turing answers on single pieces"}
    found = {group: _group(of[of["group"] == group], human, sources, level) for group in groups}
    known = [of for of in found.values() if "missing" not in of]
    _correct([of[key] for of in known for key in ("d_prime", "criterion")])
    _correct([of["said_human"][human] for of in known])
    for of in known:
        of["reverse"] = _reverse(of["said_human"][human], of["d_prime"], alpha)
    return found


def _correct(family: Sequence[dict[str, Any]]) -> None:
    """Put `p_holm` beside the p of each estimate of a family."""
    for estimate, row in zip(family, holm(family), strict=True):
        estimate["p_holm"] = row["p_holm"]


def _group(of: pd.DataFrame, human: str, sources: Sequence[str], level: float) -> dict[str, Any]:
    is_human = (of["source"] == human).to_numpy(bool)
    if is_human.all() or not is_human.any():
        side = "any other source" if is_human.any() else "human pieces"
        return {"missing": f"there are no answers on {side}" if len(of) else "there are no answers"}
    said, clusters = of["said_human"].to_numpy(float), Clusters.of(of)
    by_source = {}
    for source in sources:
        here = (of["source"] == source).to_numpy(bool)
        if here.any():
            by_source[source] = linear(said, mean_weights(here), clusters, level, against=0.5, bounds=_SHARE).to_dict()
    hit, alarm = mean_weights(is_human), mean_weights(~is_human)
    right = np.where(is_human, said, 1 - said)
    # Human and other pieces count alike, however many there are of each.
    accuracy = linear(right, (hit + alarm) / 2, clusters, level, against=0.5, bounds=_SHARE)
    shares = [(said[side].sum() + 0.5) / (side.sum() + 1) for side in (is_human, ~is_human)]
    z = scipy.stats.norm.ppf(shares)
    slope = 1 / scipy.stats.norm.pdf(z)
    moved = {
        "d_prime": (z[0] - z[1], hit * slope[0] - alarm * slope[1]),
        "criterion": (-(z[0] + z[1]) / 2, -(hit * slope[0] + alarm * slope[1]) / 2),
    }
    result: dict[str, Any] = {"answers": len(of), "said_human": by_source, "accuracy": accuracy.to_dict()}
    for name, (value, weights) in moved.items():
        result[name] = _moved(linear(said, weights, clusters, level), float(value), level).to_dict()
    return result


def _moved(of: Estimate, value: float, level: float) -> Estimate:
    """The estimate `value` with the standard error of another that moves as it does."""
    if not math.isfinite(of.error):
        return Estimate(value)
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, of.df)) * of.error
    p = float(2 * scipy.stats.t.sf(abs(value) / of.error, of.df))
    return Estimate(value, value - reach, value + reach, p, of.error, of.df)


def _reverse(recognised: dict[str, Any], d_prime: dict[str, Any], alpha: float) -> str:
    """Whether human pieces are recognised less often than by chance, in words."""
    p = recognised["p_holm"]
    if not math.isfinite(p):
        return "not known, because there is no interval"
    if p >= alpha:
        told = f"not decided (p = {p:.2g} after the correction)"
    elif recognised["value"] < 0.5:
        told = "yes, human pieces are taken for machine-made more often than not"
    else:
        told = "no, human pieces are recognised more often than not"
    if d_prime["p_holm"] < alpha and d_prime["value"] < 0:
        told += "; and other pieces are taken for human ones more often than the human pieces"
    return told


def pairs(turing: pd.DataFrame, groups: Sequence[str], level: float) -> Any:
    """The answers on pairs.

    Returns:
        `groups`: by group the `accuracy` (with `p_holm` of the family `pairs`), `d_prime` (its square root of 2 times
        normal quantile) and `answers`; `bins`: the accuracy in thirds of similarity; `slope`: the change in logits per
        0.1 of similarity; `first`: how often the first of the two was chosen; or {"missing": why}.
    """
    of = turing[turing["form"] == "pair"]
    if of.empty:
        return {"missing": "the study has no pairs"}
    of = of.assign(pair=of["stimulus"].astype(str) + " " + of["other"].astype(str))
    clusters = Clusters.of(of.assign(stimulus=of["pair"], source="pair"))
    right = of["said_human"].to_numpy(float)
    by_group: dict[str, Any] = {}
    for group in groups:
        here = (of["group"] == group).to_numpy(bool)
        if not here.any():
            by_group[group] = {"missing": "there are no answers"}
            continue
        accuracy = linear(right, mean_weights(here), clusters, level, against=0.5, bounds=_SHARE)
        share = (right[here].sum() + 0.5) / (here.sum() + 1)
        by_group[group] = {
            "answers": int(here.sum()),
            "accuracy": accuracy.to_dict(),
            "d_prime": math.sqrt(2) * float(scipy.stats.norm.ppf(share)),
        }
    _correct([of["accuracy"] for of in by_group.values() if "missing" not in of])
    similarity = of["similarity"].to_numpy(float, na_value=np.nan)
    chose_first = np.where(of["first"].to_numpy(bool, na_value=False), right, 1 - right)
    everyone = Clusters(clusters.listener, clusters.piece, np.zeros_like(clusters.group), clusters.source)
    first = linear(chose_first, np.full(len(of), 1 / len(of)), everyone, level, against=0.5, bounds=_SHARE)
    return {
        "groups": by_group,
        "bins": _bins(right, similarity, everyone, level),
        "slope": _slope(right, similarity, of, level),
        "first": first.to_dict(),
    }


def _bins(right: Any, similarity: Any, clusters: Clusters, level: float) -> Any:
    known = np.isfinite(similarity)
    if len(np.unique(similarity[known])) < 3:
        return {"missing": "the pairs have fewer than three different similarities"}
    edges = np.quantile(similarity[known], [0, 1 / 3, 2 / 3, 1])
    rows = []
    for number in range(3):
        above = similarity >= edges[number] if number == 0 else similarity > edges[number]
        here = known & above & (similarity <= edges[number + 1])
        if here.any():
            found = linear(right, mean_weights(here), clusters, level, against=0.5, bounds=_SHARE)
            rows.append({"from": edges[number], "to": edges[number + 1], "answers": int(here.sum())})
            rows[-1]["accuracy"] = found.to_dict()
    return rows


def _slope(right: Any, similarity: Any, of: pd.DataFrame, level: float) -> Any:
    """By a logistic mixed model with listener and pair as random effects."""
    if len(np.unique(right)) < 2:
        return {"missing": "all answers are alike"}
    if not np.isfinite(similarity).all() or np.ptp(similarity) < 1e-9:
        return {"missing": "all pairs are equally similar"}
    terms = [pd.factorize(of[name])[0] for name in ("listener", "pair")]
    terms = [term for term in terms if 1 < term.max() + 1 < len(term)]
    if len(terms) < 2:
        return {"missing": "there are too few listeners or pairs"}
    try:
        fit = mixed_model.fit(right.astype(int), (similarity * 10)[:, None], terms, restricted=True)
    except Failed as error:
        return {"missing": str(error)}
    found = fit.contrast([1.0], level)
    return {"value": found.value, "low": found.low, "high": found.high, "p": found.p}


def reasons(turing: pd.DataFrame, most: int = 20) -> Any:
    """The reasons that listeners wrote, the most frequent first: text, how often, and with which answer."""
    of = turing[turing["why"].notna()]
    if of.empty:
        return {"missing": "nobody gave a reason"}
    texts = of["why"].astype(str).str.split().str.join(" ")
    table = of.assign(text=texts, key=texts.str.casefold())
    table = table[table["text"] != ""]
    if table.empty:
        return {"missing": "nobody gave a reason"}
    rows = [
        {
            "text": str(rows["text"].iloc[0]),
            "times": len(rows),
            "said_human": int(rows["said_human"].sum()),
            "groups": {str(name): int(number) for name, number in rows.groupby("group").size().items()},
        }
        for _, rows in table.groupby("key", sort=False)
    ]
    rows.sort(key=lambda row: (-int(str(row["times"])), str(row["text"])))
    return {"answers": len(table), "different": len(rows), "rows": rows, "shown": min(most, len(rows))}
