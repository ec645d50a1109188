"""How far ratings can be relied on: items among one another, listeners among one another, and a second hearing.

Intervals are percentile bootstraps: of listeners for Cronbach's alpha and repeats, of pieces for Krippendorff's alpha.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import krippendorff
import numpy as np
import numpy.typing as npt
import pandas as pd
import pingouin
from sklearn.metrics import cohen_kappa_score

from muspike.bench.study.estimates import Estimate

Floats = npt.NDArray[np.float64]
DRAWS = 200
"""Draws of each bootstrap."""


def reliability(
    ratings: pd.DataFrame,
    repeats: pd.DataFrame,
    items: Sequence[str],
    groups: Sequence[str],
    points: int,
    level: float,
    seed: int,
) -> dict[str, Any]:
    """What can be relied on.

    Args:
        ratings, repeats: as in `Selected`.
        items, groups: ids.
        points: of the scale.
        level: of intervals.
        seed: of the draws.

    Returns:
        `cronbach`: by group and for "all", an estimate; `krippendorff`: by item, then by group and for "all";
        `retest`: by item and for "all items" `equal`, `within_1`, `kappa`. Each may be {"missing": why}.
    """
    random = np.random.default_rng(seed)
    named: dict[str, pd.DataFrame] = {"all": ratings, **{group: ratings[ratings["group"] == group] for group in groups}}
    return {
        "cronbach": {name: _cronbach(of, items, level, random) for name, of in named.items()},
        "krippendorff": {
            item: {name: _krippendorff(of[of["item"] == item], points, level, random) for name, of in named.items()}
            for item in items
        },
        "retest": _retest(ratings, repeats, items, points, level, random),
    }


def _interval(value: float, draws: Sequence[float], level: float) -> dict[str, Any]:
    known = [draw for draw in draws if math.isfinite(draw)]
    if len(known) < len(draws) / 2 or not known:
        return Estimate(value).to_dict()
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high)).to_dict()


def _cronbach(of: pd.DataFrame, items: Sequence[str], level: float, random: np.random.Generator) -> Any:
    if len(items) < 2:
        return {"missing": "there is one item"}
    wide = of.pivot_table(index=["listener", "stimulus"], columns="item", values="rating", aggfunc="first")
    wide = wide.reindex(columns=list(items)).dropna()
    if len(wide) < 3:
        return {"missing": "fewer than three pieces were rated in all items"}
    if float(wide.sum(axis=1).astype(float).var()) == 0:
        return {"missing": "the sums over all items do not vary"}
    table = wide.to_numpy(float)
    value = float(pingouin.cronbach_alpha(data=wide.astype(float))[0])
    listener = pd.factorize(wide.index.get_level_values("listener"))[0]
    # alpha of every draw needs only sums within listeners: its formula is pingouin's.
    number = listener.max() + 1
    if number < 3:
        return Estimate(value).to_dict()
    columns = np.column_stack([table, table.sum(axis=1)])
    n = np.bincount(listener)
    s1 = np.array([np.bincount(listener, column) for column in columns.T])
    s2 = np.array([np.bincount(listener, column**2) for column in columns.T])

    def alpha(times: npt.NDArray[np.int64]) -> float:
        rows = float(n @ times)
        variance = (s2 @ times - (s1 @ times) ** 2 / rows) / (rows - 1)
        width = len(items)
        return float(width / (width - 1) * (1 - variance[:-1].sum() / variance[-1])) if variance[-1] > 0 else math.nan

    draws = [alpha(np.bincount(random.integers(number, size=number), minlength=number)) for _ in range(DRAWS)]
    return _interval(value, draws, level)


def _krippendorff(of: pd.DataFrame, points: int, level: float, random: np.random.Generator) -> Any:
    piece, names = pd.factorize(of["stimulus"])
    counts = np.zeros((len(names), points), int)
    np.add.at(counts, (piece, of["rating"].to_numpy(int) - 1), 1)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return {"missing": "no piece was rated by two listeners"}
    if (counts.sum(axis=0) > 0).sum() < 2:
        return {"missing": "all ratings are alike"}
    alpha = _alpha_of(counts)
    draws = [
        _alpha_of(counts[random.integers(len(counts), size=len(counts))])
        for _ in range(DRAWS if len(counts) > 2 else 0)
    ]
    return _interval(alpha, draws, level)


def _alpha_of(counts: npt.NDArray[np.int64]) -> float:
    if (counts.sum(axis=0) > 0).sum() < 2:
        return math.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(
            krippendorff.alpha(
                value_counts=counts, value_domain=list(range(counts.shape[1])), level_of_measurement="ordinal"
            )
        )


def _retest(
    ratings: pd.DataFrame,
    repeats: pd.DataFrame,
    items: Sequence[str],
    points: int,
    level: float,
    random: np.random.Generator,
) -> Any:
    if repeats.empty:
        return {"missing": "no piece was heard twice"}
    keys = ["listener", "stimulus", "item"]
    both = ratings[[*keys, "rating"]].merge(repeats[[*keys, "rating"]], on=keys, suffixes=("_1", "_2"))
    if both.empty:
        return {"missing": "no piece that was heard twice was rated twice"}
    found: dict[str, Any] = {}
    for name in ("all items", *items):
        of = both if name == "all items" else both[both["item"] == name]
        if of.empty:
            found[name] = {"missing": "no piece was rated twice"}
            continue
        first, second = of["rating_1"].to_numpy(int), of["rating_2"].to_numpy(int)
        listener = pd.factorize(of["listener"])[0]
        places = [np.flatnonzero(listener == one) for one in range(listener.max() + 1)]

        def drawn(measure: Callable[..., float], first: Any = first, second: Any = second, places: Any = places) -> Any:
            value = measure(first, second)
            draws = []
            for _ in range(DRAWS if len(places) > 2 else 0):
                rows = np.concatenate([places[one] for one in random.integers(len(places), size=len(places))])
                draws.append(measure(first[rows], second[rows]))
            return _interval(value, draws, level)

        found[name] = {
            "pairs": len(of),
            "equal": drawn(lambda a, b: float((a == b).mean())),
            "within_1": drawn(lambda a, b: float((abs(a - b) <= 1).mean())),
            "kappa": drawn(lambda a, b: _kappa(a, b, points)),
        }
    return found


def _kappa(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64], points: int) -> float:
    """Cohen's kappa with quadratic weights, which is nearly the intraclass correlation."""
    if len(np.unique(np.concatenate([first, second]))) < 2:
        return math.nan
    return float(cohen_kappa_score(first, second, weights="quadratic", labels=list(range(1, points + 1))))
