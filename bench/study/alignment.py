"""Do objective metrics say what listeners say? Each metric against each item, over the pieces.

The correlation is Spearman's, of the metric's value with the mean rating that a group gave to the piece. Beside it
stands the correlation within sources: of what is left of both when the mean of each source is taken off. If it is gone
there, the metric tells sources apart, which anybody knew, and not pieces. Intervals are percentile bootstraps over
pieces. Each p is by permutation of the pieces, or of those within their source, and is corrected over all metrics and
items of a group by Benjamini and Hochberg's method. Student's approximation is too small far out, where that correction
looks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats
from statsmodels.stats.multitest import multipletests

Floats = npt.NDArray[np.float64]
LEAST_PIECES = 5
ALL = "all"


def piece_means(ratings: pd.DataFrame, groups: Sequence[str], items: Sequence[str]) -> dict[str, pd.DataFrame]:
    """By group and for "all", the mean rating of each piece in each item: a row for each piece, a column for each item.

    Each group counts alike in "all".
    """
    found = {}
    for group in groups:
        of = ratings[ratings["group"] == group]
        if len(of):
            means = of.pivot_table(index="stimulus", columns="item", values="rating", aggfunc="mean")
            found[group] = means.reindex(columns=list(items)).astype(float)
    if found:
        together = pd.concat(found.values())
        found[ALL] = together.groupby(level=0).mean()
    return {name: found[name] for name in (ALL, *groups) if name in found}


def alignment(
    means: Mapping[str, pd.DataFrame],
    metrics: pd.DataFrame,
    source_of: Mapping[str, str],
    level: float,
    alpha: float,
    draws: int,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Every metric against every item in every group.

    Args:
        means: from `piece_means`.
        metrics: a row for each piece, a column for each metric; nan where it is not defined.
        source_of: by piece.
        level: of intervals.
        alpha: below which a corrected p is significant.
        draws: of the bootstrap.
        permutations: of the pieces; no p is below 1 / (1 + permutations).
        seed: of the draws.

    Returns:
        By group `pieces`; `rows` with `metric`, `item`, `pieces`, `rho`, `low`, `high`, `p`, `p_bh`, `significant`,
        `within_sources`, `p_within`, `p_within_bh`, `significant_within`; how many are `significant` and
        `significant_within`; `left_out`: why, by metric that could not be correlated; or {"missing": why}.
    """
    return {
        group: _group(of, metrics, source_of, level, alpha, draws, permutations, seed) for group, of in means.items()
    }


def _group(
    means: pd.DataFrame,
    metrics: pd.DataFrame,
    source_of: Mapping[str, str],
    level: float,
    alpha: float,
    draws: int,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    pieces = means.index.intersection(metrics.index)
    if len(pieces) < LEAST_PIECES:
        return {"missing": f"{len(pieces)} pieces have ratings and metrics; {LEAST_PIECES} are wanted"}
    means, metrics = means.loc[pieces], metrics.loc[pieces]
    sources = pd.factorize(pd.Series([source_of[piece] for piece in pieces]))[0]
    rows: list[dict[str, Any]] = []
    left_out = {}
    complete = means.notna().all(axis=1).to_numpy()
    ratings: dict[bytes, _Ratings] = {}
    for name in metrics.columns:
        x = metrics[name].to_numpy(float)
        known = np.isfinite(x) & complete
        if known.sum() < LEAST_PIECES:
            left_out[name] = f"defined for {int(known.sum())} pieces"
        elif np.ptp(x[known]) == 0:
            left_out[name] = "the same for all pieces"
        else:
            if (key := known.tobytes()) not in ratings:
                ratings[key] = _Ratings(means.to_numpy(float)[known], sources[known], draws, permutations, seed)
            rows += _against(name, x[known], ratings[key], list(means.columns), level)
    _correct(rows, "p", "significant", alpha)
    _correct(rows, "p_within", "significant_within", alpha)
    return {
        "pieces": len(pieces),
        "rows": rows,
        "significant": sum(row["significant"] for row in rows),
        "significant_within": sum(row["significant_within"] for row in rows),
        "left_out": left_out,
    }


def _correct(rows: Sequence[dict[str, Any]], p: str, verdict: str, alpha: float) -> None:
    """Put the corrected probability and the verdict beside each `p`. A row whose p is missing is not counted."""
    for row in rows:
        row |= {f"{p}_bh": math.nan, verdict: False}
    known = [row for row in rows if math.isfinite(row[p])]
    if known:
        reject, corrected, *_ = multipletests([row[p] for row in known], alpha=alpha, method="fdr_bh")
        for row, one, yes in zip(known, corrected, reject, strict=True):
            row |= {f"{p}_bh": float(one), verdict: bool(yes)}


class _Ratings:
    """The mean ratings of some pieces `[pieces, items]`, and their ranks in every draw.

    Attributes:
        chosen: `[draws, pieces]`, which pieces were drawn.
        ranks, drawn: ranks as `_ranks` scales them, `[1, pieces, items]` and `[draws, pieces, items]`.
        orders: `[permutations, pieces]`.
        within: the ranks of what is left when the mean of each source is taken off; None if a source is all there is.
        orders_within: orders in which each piece stands where one of its source stood.
    """

    def __init__(self, y: Floats, sources: npt.NDArray[np.int64], draws: int, permutations: int, seed: int) -> None:
        self.chosen = np.random.default_rng(seed).integers(len(y), size=(draws, len(y)))
        self.ranks, self.drawn = _ranks(y[None]), _ranks(y[self.chosen])  # scaled to length 1
        self.sources = sources
        counts = np.bincount(sources)
        random = np.random.default_rng([seed, 1])
        self.orders = orders_within(np.zeros_like(sources), permutations, random)
        self.orders_within = orders_within(sources, permutations, random)
        self.within = _ranks(_centred(y, sources)[None]) if (counts > 1).any() and len(counts) > 1 else None


def _against(name: str, x: Floats, of: _Ratings, items: Sequence[str], level: float) -> list[dict[str, Any]]:
    """One metric against all items."""
    ranks = _ranks(x[None, :, None])
    rho = _correlation(ranks, of.ranks)[0]
    p = _probability(rho, ranks, of.ranks, of.orders)
    drawn = _correlation(_ranks(x[of.chosen][:, :, None]), of.drawn)
    ends = np.full((2, len(items)), np.nan)
    for column, values in enumerate(drawn.T):
        known = values[np.isfinite(values)]  # a draw of one piece alone has no ranks
        if len(known) > len(values) / 2:
            ends[:, column] = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    within = p_within = np.full(len(items), np.nan)
    if of.within is not None:
        ranks = _ranks(_centred(x[:, None], of.sources)[None])
        within = _correlation(ranks, of.within)[0]
        p_within = _probability(within, ranks, of.within, of.orders_within)
    return [
        {
            "metric": name,
            "item": item,
            "pieces": len(x),
            "rho": float(rho[i]),
            "low": float(ends[0, i]),
            "high": float(ends[1, i]),
            "p": float(p[i]),
            "within_sources": float(within[i]),
            "p_within": float(p_within[i]),
        }
        for i, item in enumerate(items)
    ]


def orders_within(sources: npt.NDArray[np.int64], number: int, random: np.random.Generator) -> npt.NDArray[np.int64]:
    """Orders of the pieces, `[number, pieces]`, in which each stands where a piece of its source stood."""
    drawn = np.argsort(sources + random.random((number, len(sources))), axis=1)
    orders = np.empty_like(drawn)
    orders[:, np.argsort(sources, kind="stable")] = drawn
    return orders


def _probability(rho: Floats, x: Floats, y: Floats, orders: npt.NDArray[np.int64]) -> Floats:
    """Two-sided, that correlations of ranks `[1, pieces, 1]` and `[1, pieces, items]` are 0; nan where rho is."""
    drawn = x[0, :, 0].astype(np.float32)[orders] @ y[0].astype(np.float32)
    as_large = (np.abs(drawn) >= np.abs(rho) - 1e-5).sum(axis=0)  # what is equal up to rounding counts
    return np.where(np.isfinite(rho), (1 + as_large) / (1 + len(orders)), np.nan)


def _centred(values: Floats, sources: npt.NDArray[np.int64]) -> Floats:
    """Less the mean of the source, rounded so that equal values stay equal."""
    counts = np.bincount(sources)[:, None]
    sums = np.array([np.bincount(sources, column) for column in values.T]).T
    return np.round(values - (sums / counts)[sources], 9)


def _ranks(values: Floats) -> Floats:
    """The ranks of the pieces, along the second axis of `[draws, pieces, columns]`, less their mean, of length 1.

    They are nan where the values do not vary.
    """
    ranks = scipy.stats.rankdata(values, axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(ranks / np.sqrt((ranks**2).sum(axis=1, keepdims=True)))


def _correlation(a: Floats, b: Floats) -> Floats:
    """Of ranks `[draws, pieces, 1]` with each column of `[draws, pieces, items]`; nan where one does not vary."""
    return np.asarray(np.clip((a.transpose(0, 2, 1) @ b)[:, 0], -1, 1))
