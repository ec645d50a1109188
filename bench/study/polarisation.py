"""How much the listeners of a group differ about the same piece.

The measure is the variance of the ratings of one piece within the group, as a share of the largest that the scale
allows: 0 if all agree, 1 if one half chooses each end. It is unbiased for any number of listeners, so groups of unequal
size can be compared. Standard errors come from leaving out each listener and each piece in turn: a jackknife over both.
Beside it stands Sarle's bimodality coefficient, above 5/9 for ratings with two peaks rather than one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.stats

from muspike.bench.study.comparisons import holm
from muspike.bench.study.estimates import Estimate

Floats = npt.NDArray[np.float64]
_LEAST_FOR_BIMODALITY = 5


def polarisation(ratings: pd.DataFrame, groups: Sequence[str], points: int, level: float) -> dict[str, Any]:
    """The polarisation of each group, and each two groups compared.

    Args:
        ratings: as in `Selected`.
        groups: of listeners.
        points: of the scale.
        level: of intervals.

    Returns:
        `groups`: by group `variance` (with interval), `bimodality`, `two_peaks` (the share of pieces and items above
        5/9), or {"missing": why}; `differences`: rows with `name`, an estimate, `p` and `p_holm`.
    """
    pieces = sorted(ratings["stimulus"].unique())
    items = sorted(ratings["item"].unique())
    tables = {group: _table(ratings[ratings["group"] == group], pieces, items) for group in groups}
    found: dict[str, Any] = {}
    spreads: dict[str, tuple[float, Floats, Floats]] = {}
    for group, table in tables.items():
        spread = _spread(table, points)
        if spread is None:
            found[group] = {"missing": "no piece has two listeners of this group"}
            continue
        spreads[group] = spread
        found[group] = {"variance": _estimate(spread[0], [spread[1]], spread[2], level).to_dict(), **_peaks(table)}
    rows = []
    for one, other in combinations(spreads, 2):
        (a, a_people, a_pieces), (b, b_people, b_pieces) = spreads[one], spreads[other]
        difference = _estimate(a - b, [a_people, b_people], a_pieces - b_pieces, level)
        rows.append({"name": f"{one} – {other}", **difference.to_dict()})
    return {"groups": found, "differences": holm(rows)}


def _table(of: pd.DataFrame, pieces: Sequence[str], items: Sequence[str]) -> Floats:
    """Ratings `[listeners, pieces, items]`; nan where there is none."""
    listener, names = pd.factorize(of["listener"])
    table = np.full((len(names), len(pieces), len(items)), np.nan)
    table[listener, pd.Index(pieces).get_indexer(of["stimulus"]), pd.Index(items).get_indexer(of["item"])] = of[
        "rating"
    ]
    return table


def _spread(table: Floats, points: int) -> tuple[float, Floats, Floats] | None:
    """The measure, and its values without each listener and without each piece."""
    most = ((points - 1) / 2) ** 2
    known = np.isfinite(table)
    y = np.where(known, table, 0.0)
    n, s1, s2 = known.sum(0), y.sum(0), (y**2).sum(0)

    def variances(n: Any, s1: Floats, s2: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(n > 1, (s2 - s1**2 / n) / (n - 1), np.nan) / most

    all_of = variances(n, s1, s2)
    if not np.isfinite(all_of).any():
        return None
    value = float(np.nanmean(all_of))
    people = np.full(len(table), np.nan)
    for number, (here, of) in enumerate(zip(known, y, strict=True)):
        left = variances(n - here, s1 - of, s2 - of**2)
        if np.isfinite(left).any():
            people[number] = np.nanmean(left)
    by_piece = np.nansum(all_of, axis=1)
    counts = np.isfinite(all_of).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        pieces = (by_piece.sum() - by_piece) / (counts.sum() - counts)
    return value, people, np.where(counts > 0, pieces, value)


def _estimate(value: float, people: Sequence[Floats], pieces: Floats, level: float) -> Estimate:
    parts = []
    for left in (*people, pieces):
        number = len(left)
        if number < 3 or not np.isfinite(left).all():
            return Estimate(value)
        parts.append(((number - 1) / number * float(((left - left.mean()) ** 2).sum()), number - 1))
    variance = sum(part for part, _ in parts)
    if variance <= 1e-24:
        return Estimate(value)
    df = variance**2 / sum(part**2 / number for part, number in parts)
    error = math.sqrt(variance)
    reach = float(scipy.stats.t.ppf(0.5 + level / 2, df)) * error
    p = float(2 * scipy.stats.t.sf(abs(value) / error, df))
    return Estimate(value, value - reach, value + reach, p, error, df)


def _peaks(table: Floats) -> dict[str, Any]:
    n = np.isfinite(table).sum(0)
    varied = (n >= _LEAST_FOR_BIMODALITY) & (np.nanmax(table, 0, initial=-9) > np.nanmin(table, 0, initial=9))
    if not varied.any():
        return {"bimodality": math.nan, "two_peaks": math.nan}
    columns, size = table[:, varied], n[varied]
    skew = scipy.stats.skew(columns, axis=0, bias=False, nan_policy="omit")
    kurtosis = scipy.stats.kurtosis(columns, axis=0, bias=False, nan_policy="omit")
    coefficient = np.asarray((skew**2 + 1) / (kurtosis + 3 * (size - 1) ** 2 / ((size - 2) * (size - 3))), float)
    return {"bimodality": float(np.mean(coefficient)), "two_peaks": float(np.mean(coefficient > 5 / 9))}
