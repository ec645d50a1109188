"""Means, differences and shares of answers, with intervals that allow for listeners and pieces who both vary.

Answers of one listener are alike, and so are those on one piece. The variance of an estimate is that of sums within
listeners, plus that of sums within pieces, less that within both (Cameron, Gelbach & Miller, Robust inference with
multiway clustering, Journal of Business & Economic Statistics 29, 2011). Each sum is corrected for the number of its
clusters, group by group and source by source. The interval is Student's, with Satterthwaite's degrees of freedom: a
source of eight pieces has no more than about seven.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes:
        value: the estimate.
        low, high: the interval; nan if there is none.
        p: two-sided, of the hypothesis that it is what `against` said; nan if there is none.
        error: its standard error; nan if there is none.
        df: degrees of freedom.
    """

    value: float
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan
    error: float = math.nan
    df: float = math.nan

    def to_dict(self) -> dict[str, Any]:
        """JSON-able except for nan."""
        return asdict(self)


@dataclass(frozen=True)
class Clusters:
    """Who gave each answer, on what.

    Attributes:
        listener, piece: a number for each answer.
        group: of the listener; listeners of several groups differ for themselves.
        source: of the piece.
    """

    listener: npt.NDArray[np.int64]
    piece: npt.NDArray[np.int64]
    group: npt.NDArray[np.int64]
    source: npt.NDArray[np.int64]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Clusters:
        """Of the columns listener, stimulus, group and source of a table of answers."""
        columns = (table[name] for name in ("listener", "stimulus", "group", "source"))
        return cls(*(pd.factorize(column)[0].astype(np.int64) for column in columns))


def linear(
    values: npt.ArrayLike,
    weights: npt.ArrayLike,
    clusters: Clusters,
    level: float,
    *,
    against: float = 0.0,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """The estimate `weights @ values`, where the weights are equal within each group and source.

    Args:
        values: `[answers]`.
        weights: `[answers]`; 0 for answers that do not count.
        clusters: of the answers.
        level: of the interval.
        against: the number that `p` is about.
        bounds: what the interval cannot leave.

    Returns:
        Without an interval if a group has one listener, or a source one piece, or nothing varies.
    """
    y, w = np.asarray(values, float), np.asarray(weights, float)
    value = float(y @ w)
    used = w != 0
    cells = clusters.group * (clusters.source.max(initial=0) + 1) + clusters.source
    _, cell = np.unique(cells[used], return_inverse=True)
    means = np.bincount(cell, y[used]) / np.bincount(cell)
    parts = w[used] * (y[used] - means[cell])
    components = [
        *_within(parts, clusters.listener[used], clusters.group[used]),
        *_within(parts, clusters.piece[used], clusters.source[used]),
    ]
    if not components or any(number < 2 for _, number in components):
        return Estimate(value)
    both = clusters.listener[used] * (clusters.piece.max() + 1) + clusters.piece[used]
    _, inverse = np.unique(both, return_inverse=True)
    shared = float((np.bincount(inverse, parts) ** 2).sum())
    total = sum(variance for variance, _ in components)
    variance = max(total - shared, *(variance for variance, _ in components))
    if variance <= 1e-24:
        return Estimate(value)
    df = variance**2 / sum(part**2 / (number - 1) for part, number in components)
    error = math.sqrt(variance)
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, df)) * error
    p = float(2 * scipy.stats.t.sf(abs(value - against) / error, df))
    low, high = (float(np.clip(end, *bounds)) for end in (value - reach, value + reach))
    return Estimate(value, low, high, p, error, float(df))


def _within(parts: Floats, cluster: npt.NDArray[np.int64], stratum: npt.NDArray[np.int64]) -> list[tuple[float, int]]:
    """For each stratum the variance of sums within its clusters, and how many these are."""
    found = []
    for one in np.unique(stratum):
        here = stratum == one
        _, inverse = np.unique(cluster[here], return_inverse=True)
        sums = np.bincount(inverse, parts[here])
        number = len(sums)
        found.append((float((sums**2).sum()) * number / max(number - 1, 1), number))
    return found


def mean_weights(chosen: npt.NDArray[np.bool_]) -> Floats:
    """The weights of the mean over the chosen answers."""
    return chosen / max(int(chosen.sum()), 1)
