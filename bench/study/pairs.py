"""Pairs of a human and another piece that are alike.

In Figueiredo et al., "Echoes of Humanity" (arXiv 2509.25601), listeners told the human piece of a random pair by
chance, and that of a similar pair in 66 % of cases. Here two pieces are alike if their objective metrics are: each
metric in standard deviations over all candidates. All pairs together are as alike as they can be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from muspike import metrics
from muspike.bench.study.excerpts import Excerpt

Vectors = npt.NDArray[np.float64]


def vectors(excerpts: Sequence[Excerpt], progress: Callable[[], object] | None = None) -> Vectors:
    """The metrics of excerpts, `[excerpts, metrics]`: those that all have and in which they vary, standardised.

    Args:
        excerpts: the excerpts.
        progress: is called after each.
    """
    rows = []
    for excerpt in excerpts:
        grid = metrics.on_grid(excerpt.score)
        rows.append([float(metric.function(grid)) for metric in metrics.METRICS.values() if not metric.whole])
        if progress:
            progress()
    table = np.array(rows)
    kept = table[:, np.isfinite(table).all(axis=0) & (np.ptp(table, axis=0) > 0)]
    return np.asarray((kept - kept.mean(axis=0)) / kept.std(axis=0))


def similarity(one: Vectors, other: Vectors) -> Vectors:
    """How alike pieces are, from 0 to 1, `[pieces, others]`: 1 / (1 + d).

    d is the root mean square over the metrics of their difference, in standard deviations. Two pieces that are drawn at
    random differ by the root of 2, which gives 0.41.

    Args:
        one: `[pieces, metrics]`.
        other: `[others, metrics]`.
    """
    squares = ((one[:, None] - other[None]) ** 2).mean(axis=2)
    return np.asarray(1 / (1 + np.sqrt(squares)))


def matched(human: Vectors, others: Mapping[str, Vectors], number: int) -> dict[str, list[tuple[int, int, float]]]:
    """So many pairs for each source, no piece in two pairs, with the highest sum of similarities over all sources.

    It is an assignment problem (Kuhn 1955, solved by scipy). Rows are human pieces, and for each source as many places
    for its unmatched pieces as there must be; columns are the others' pieces, and places for unmatched human ones.

    Args:
        human: `[pieces, metrics]`, at least as many as all pairs.
        others: by source, `[pieces, metrics]`, at least `number` each.
        number: pairs of each source.

    Returns:
        By source, the numbers of the human and the other piece and their similarity, the most similar first.
    """
    from scipy.optimize import linear_sum_assignment

    counts = [len(of) for of in others.values()]
    alike = similarity(human, np.concatenate(list(others.values())))
    places, columns = sum(counts) - number * len(counts), sum(counts)
    unmatched = len(human) - number * len(counts)
    gain = np.full((len(human) + places, columns + unmatched), -1e6)
    gain[: len(human), :columns] = alike
    gain[: len(human), columns:] = 0
    row, column, begins = len(human), 0, {}
    for source, count in zip(others, counts, strict=True):
        gain[row : row + count - number, column : column + count] = 0
        begins[source] = column
        row, column = row + count - number, column + count
    found: dict[str, list[tuple[int, int, float]]] = {source: [] for source in others}
    for row, column in zip(*linear_sum_assignment(gain, maximize=True), strict=True):
        if row < len(human) and column < columns:
            source = max((name for name in begins if begins[name] <= column), key=lambda name: begins[name])
            found[source].append((int(row), int(column - begins[source]), float(alike[row, column])))
    return {source: sorted(pairs, key=lambda pair: -pair[2]) for source, pairs in found.items()}
