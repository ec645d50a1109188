"""Ratings predicted from objective metrics, and a metric of our own made of a few of them.

The value of a prediction is that on pieces which it has not seen: R^2 over folds of pieces, and over whole sources, of
which each is left out once. All choices (the strength of the ridge, which metrics the formula has) are made anew within
each fold, on its own part of the pieces. The baseline says 0 by definition: it predicts the mean of the pieces that it
saw. Whether a value above it is chance is told by the same procedure on ratings that were shuffled over the pieces.
Whether metrics say more of a piece than its source does is told by ratings that were shuffled within their source.

What is predicted is the mean rating by the listeners of this study. Listeners are not left out, so the value is for
them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
from sklearn.base import clone
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.linear_model import OrthogonalMatchingPursuit, RidgeCV
from sklearn.model_selection import BaseCrossValidator, KFold, LeaveOneGroupOut
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from muspike.bench.study.alignment import orders_within

Floats = npt.NDArray[np.float64]

LEAST_PIECES = 10
FOLDS = 5
TERMS = 3
"""Metrics in the formula. The number is fixed, so that it need not be chosen from the data."""
_MOST_MISSING = 0.2
"""A metric that is not defined for a larger share of pieces is left out."""
_IMPORTANCE_REPEATS = 3


def ridge(x: Floats) -> Pipeline:
    """The predictor of all metrics. Its strength is chosen by leaving out single pieces."""
    return _pipeline(x, RidgeCV(alphas=np.logspace(-1, 4, 21), alpha_per_target=True))


def formula(x: Floats) -> Pipeline:
    """The predictor of a few: orthogonal matching pursuit, which adds the metric that explains most of what is left."""
    return _pipeline(x, OrthogonalMatchingPursuit(n_nonzero_coefs=min(TERMS, x.shape[1])))


def _pipeline(x: Floats, last: Any) -> Pipeline:
    gaps = [] if np.isfinite(x).all() else [SimpleImputer()]
    return make_pipeline(*gaps, StandardScaler(), last)


def predict(
    means: Mapping[str, pd.DataFrame],
    metrics: pd.DataFrame,
    source_of: Mapping[str, str],
    item: str,
    alpha: float,
    permutations: int,
    seed: int,
    progress: Callable[[], object] | None = None,
    *,
    explained: bool = True,
) -> dict[str, Any]:
    """By group, how well metrics predict the mean ratings of an item.

    Args:
        means: from `alignment.piece_means`.
        metrics: a row for each piece, a column for each metric.
        source_of: by piece.
        item: what is predicted.
        alpha: below which a value is not chance.
        permutations: shuffles of the ratings.
        seed: of folds and shuffles.
        progress: is called after each group.
        explained: whether to say which metrics carry the predictor.

    Returns:
        By group `pieces`, `metrics` (how many), `ridge` and `formula` with `r2`, `r2_by_source`, `spearman`, `p`,
        `p_within` (of ratings shuffled within sources; nan if there is one source), `chance` (the 1 - alpha point of
        shuffled ratings), `beats` (p below alpha) and `beats_within` (both below alpha); `importance`: by metric, the
        loss of R^2 on unseen pieces if it is shuffled; `terms`: of the formula; or {"missing": why}.
    """
    found = {}
    for group, of in means.items():
        found[group] = _group(of[item].dropna(), metrics, source_of, alpha, permutations, seed, explained)
        if progress:
            progress()
    return found


def usable(metrics: pd.DataFrame) -> pd.DataFrame:
    """The metrics that nearly all pieces have, and that vary."""
    kept = metrics.loc[:, metrics.notna().mean() >= 1 - _MOST_MISSING]
    return kept.loc[:, kept.nunique() > 1]


def _group(
    rated: pd.Series,
    metrics: pd.DataFrame,
    source_of: Mapping[str, str],
    alpha: float,
    permutations: int,
    seed: int,
    explained: bool,
) -> dict[str, Any]:
    pieces = rated.index.intersection(metrics.index)
    if len(pieces) < LEAST_PIECES:
        return {"missing": f"{len(pieces)} pieces have ratings and metrics; {LEAST_PIECES} are wanted"}
    table = usable(metrics.loc[pieces])
    y = rated.loc[pieces].to_numpy(float)
    if table.shape[1] < 1 or np.ptp(y) == 0:
        return {"missing": "no metric varies" if np.ptp(y) else "all pieces have the same mean rating"}
    x, names = table.to_numpy(float), list(table.columns)
    sources = np.array([source_of[piece] for piece in pieces])
    folds = KFold(FOLDS, shuffle=True, random_state=seed)
    random = np.random.default_rng(seed)
    shuffled = [random.permutation(len(y)) for _ in range(permutations)]
    random = np.random.default_rng([seed, 1])
    within = list(orders_within(pd.factorize(sources)[0], permutations, random)) if len(np.unique(sources)) > 1 else []
    result: dict[str, Any] = {"pieces": len(pieces), "metrics": len(names)}
    for name, model in (("ridge", ridge(x)), ("formula", formula(x))):
        with warnings.catch_warnings():
            # A pursuit may stop before its last term, when nothing is left to explain.
            warnings.simplefilter("ignore", RuntimeWarning)
            result[name] = _value(model, x, y, sources, folds, shuffled, within, alpha)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        result["terms"] = _terms(x, y, names)
    if explained:
        result["importance"] = _importance(x, y, names, folds, seed)
    return result


def _value(
    model: Pipeline,
    x: Floats,
    y: Floats,
    sources: npt.NDArray[np.str_],
    folds: KFold,
    shuffled: list[npt.NDArray[np.int64]],
    within: list[npt.NDArray[np.int64]],
    alpha: float,
) -> dict[str, Any]:
    # The first column is the ratings, the others are shuffled. All are fitted at once.
    columns = np.column_stack([y, *(y[order] for order in (*shuffled, *within))])
    predicted, baseline = _unseen(model, x, columns, folds)
    r2, *others = _r2(columns, predicted, baseline).tolist()
    chance, chance_within = others[: len(shuffled)], others[len(shuffled) :]
    found: dict[str, Any] = {
        "r2": r2,
        "spearman": _rank_correlation(y, predicted[:, 0]),
        "chance": float(np.quantile(chance, 1 - alpha)) if chance else float("nan"),
        "p": _share_as_good(r2, chance),
        "p_within": _share_as_good(r2, chance_within) if chance_within else float("nan"),
        "r2_by_source": float("nan"),
    }
    if len(np.unique(sources)) > 2:
        left_out = _unseen(model, x, y[:, None], LeaveOneGroupOut(), sources)
        found["r2_by_source"] = float(_r2(y[:, None], *left_out)[0])
    found["beats"] = bool(found["p"] < alpha and r2 > 0)
    found["beats_within"] = bool(found["beats"] and found["p_within"] < alpha)
    return found


def _share_as_good(r2: float, chance: list[float]) -> float:
    """The p of a permutation test: the ratings as they are count as one of the shuffles."""
    return (1 + sum(one >= r2 for one in chance)) / (1 + len(chance))


def _unseen(
    model: Pipeline, x: Floats, y: Floats, folds: BaseCrossValidator, groups: Any = None
) -> tuple[Floats, Floats]:
    """For each piece what is predicted by the pieces of other folds, and their mean. Each column of y is for itself."""
    predicted, baseline = np.empty_like(y), np.empty_like(y)
    for seen, unseen in folds.split(x, y, groups):
        fitted = clone(model).fit(x[seen], y[seen])
        predicted[unseen] = fitted.predict(x[unseen]).reshape(len(unseen), -1)
        baseline[unseen] = y[seen].mean(axis=0)
    return predicted, baseline


def _r2(y: Floats, predicted: Floats, baseline: Floats) -> Floats:
    return np.asarray(1 - ((y - predicted) ** 2).sum(axis=0) / ((y - baseline) ** 2).sum(axis=0))


def _rank_correlation(y: Floats, predicted: Floats) -> float:
    return float(scipy.stats.spearmanr(y, predicted).statistic) if np.ptp(predicted) > 0 else float("nan")


def _importance(x: Floats, y: Floats, names: list[str], folds: KFold, seed: int) -> list[dict[str, Any]]:
    """The loss of R^2 on unseen pieces when a metric is shuffled, the mean over folds; the largest first."""
    losses = []
    for seen, unseen in folds.split(x):
        fitted = ridge(x).fit(x[seen], y[seen])
        of = permutation_importance(
            fitted,
            x[unseen],
            y[unseen],
            n_repeats=_IMPORTANCE_REPEATS,
            random_state=seed,
            scoring="neg_mean_squared_error",
        )
        losses.append(of.importances_mean)
    mean = np.mean(losses, axis=0) / y.var()
    order = np.argsort(-mean, kind="stable")
    return [{"metric": names[i], "loss": float(mean[i])} for i in order]


def _terms(x: Floats, y: Floats, names: list[str]) -> dict[str, Any]:
    """The formula, fitted to all pieces: the constant and, for each metric, its weight, mean and standard deviation."""
    fitted = formula(x).fit(x, y)
    scaler, pursuit = fitted[-2], fitted[-1]
    chosen = np.flatnonzero(pursuit.coef_)
    chosen = chosen[np.argsort(-np.abs(pursuit.coef_[chosen]))]
    terms: list[dict[str, Any]] = [
        {
            "metric": names[i],
            "weight": float(pursuit.coef_[i]),
            "mean": float(scaler.mean_[i]),
            "sd": float(scaler.scale_[i]),
        }
        for i in chosen
    ]
    written = f"{float(pursuit.intercept_):.3f}"
    for term in terms:
        sign = "-" if term["weight"] < 0 else "+"
        written += f" {sign} {abs(term['weight']):.3f} * ({term['metric']} - {term['mean']:.4g}) / {term['sd']:.4g}"
    return {"constant": float(pursuit.intercept_), "terms": terms, "written": written}
