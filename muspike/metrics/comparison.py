"""A generated set of pieces beside a reference set: means, distances, intervals, and how far real pieces are apart.

A distance means little alone. So two more things stand beside each: the interval that it would have for other pieces of
the same kind, and the floor. The floor is the distance of one half of the reference from its other half, halved at
random many times. A generated set at the floor is as near to the reference as real pieces are.

- Intervals are percentile bootstraps at 95 %: pieces of both sets are drawn with replacement (Efron & Tibshirani, An
  Introduction to the Bootstrap, 1993, section 13.3). A pair of copies of one piece is no distance, and is left out.
  Drawn sets are rougher than the sets, and so are farther apart. The interval of an area or a divergence is moved by
  the difference of its mean from the value.
- Halves are smaller than the sets, so the floor is a little worse than two whole sets of real pieces would be.
- A Frechet distance depends on the number of pieces far more. It is also given for random sets of as many pieces as a
  half of the reference has, or the generated set if it has fewer, beside the floor of the same size.
- Overlapping areas and divergences of draws and halves are computed on 128 points, where `distance` has 1000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from muspike import metrics
from muspike.jit import njit
from muspike.metrics.copying import LONG, Copied
from muspike.metrics.distance import distance, log_kernel_sum
from muspike.metrics.frechet import frechet_distance
from muspike.tables import Table

LEVEL = 0.95
_POINTS = 128
_ROUNDING = 1e-12  # of values that are equal but for rounding, relative to the largest
Floats = NDArray[np.float64]
Values = Mapping[str, Floats]


@dataclass(frozen=True)
class Estimate:
    """A number, and the interval that holds 95 % of it: over draws of pieces, or over random halves.

    Attributes:
        value: the number; of halves, the mean over them.
        low, high: the interval. nan if the number is.
    """

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able except for nan."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        interval = "" if math.isnan(self.low) else f" [{self.low:.3g}, {self.high:.3g}]"
        return f"{self.value:.3g}{interval}"


@dataclass(frozen=True)
class InMetric:
    """Two sets in one metric. All of a histogram's means are nan.

    Attributes:
        generated, reference: the mean of each set over its pieces that have a value.
        pieces: how many these are, generated and reference.
        overlapping_area, kl_divergence: as in `distance`; the divergence is in nats.
        overlapping_floor, kl_floor: the same between halves of the reference.
    """

    generated: Estimate
    reference: Estimate
    pieces: tuple[int, int]
    overlapping_area: Estimate
    kl_divergence: Estimate
    overlapping_floor: Estimate
    kl_floor: Estimate


@dataclass(frozen=True)
class Comparison:
    """Two sets in all metrics.

    Attributes:
        metrics: by the name of the metric.
        frechet: by name, such as "all metrics", the Frechet distance of the sets, that of random sets of as many pieces
            as the floor's, and the floor.
        in_frechet: the metrics that "all metrics" is made of.
        copies: by what is compared ("melody", "texture"), the longest matches of the generated pieces and of the
            reference with the training pieces.
        sizes: the pieces of the generated set, of the reference and of the training set.
        training: the names of the pieces of the training set, in the order that `Copied.of` counts in.
    """

    metrics: dict[str, InMetric]
    frechet: dict[str, tuple[float, Estimate, Estimate]]
    in_frechet: list[str]
    copies: dict[str, tuple[list[Copied], list[Copied]]]
    sizes: tuple[int, int, int]
    training: Sequence[str] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able except for nan and infinities."""
        rows = {
            name: {
                **{part: getattr(row, part).to_dict() for part in InMetric.__annotations__ if part != "pieces"},
                "pieces": list(row.pieces),
            }
            for name, row in self.metrics.items()
        }
        return {
            "pieces": dict(zip(("generated", "reference", "training"), self.sizes, strict=True)),
            "metrics": rows,
            "frechet_distance": {
                name: {"value": value, "of_equal_sizes": equal.to_dict(), "floor": floor.to_dict()}
                for name, (value, equal, floor) in self.frechet.items()
            },
            "metrics_in_frechet_distance": self.in_frechet,
            "copying": {
                what: {
                    side: [
                        {
                            "notes": c.notes,
                            "training_piece": self.training[c.of] if c.of >= 0 else None,
                            "start_sixteenths": c.start,
                            "share": c.share,
                        }
                        for c in found
                    ]
                    for side, found in zip(("generated", "reference"), both, strict=True)
                }
                for what, both in self.copies.items()
            },
        }

    def tables(self) -> Iterator[Table]:
        """A table for each group of metrics, one for the Frechet distances, one for what is copied."""
        known = metrics.METRICS | metrics.HISTOGRAMS
        groups: dict[str, list[str]] = {}
        for name in self.metrics:
            groups.setdefault(known[name].group, []).append(name)
        for group, names in groups.items():
            rows = [
                [
                    name,
                    known[name].unit,
                    str(row.generated),
                    str(row.reference),
                    str(row.overlapping_area),
                    f"{row.overlapping_floor.value:.3g}" if not math.isnan(row.overlapping_floor.value) else "–",
                    str(row.kl_divergence),
                    f"{row.kl_floor.value:.3g}" if not math.isnan(row.kl_floor.value) else "–",
                ]
                for name in names
                for row in (self.metrics[name],)
            ]
            titles = ["metric", "unit", "generated", "reference", "overlapping area", "floor", "KL, nats", "floor"]
            yield Table(f"{group}: means and distances, with intervals at 95 %", titles, rows, left=(0, 1))
        yield Table(
            f"Frechet distance of the two sets; of random sets of {_size_of_halves(*self.sizes[:2])} pieces; the floor "
            "of that size",
            ["of", "distance", "of equal sizes", "floor"],
            [[name, f"{value:.3g}", str(equal), str(floor)] for name, (value, equal, floor) in self.frechet.items()],
        )
        if self.copies:
            yield Table(
                "longest match of each piece with the training pieces, in notes in a row; in any key, at any tempo",
                ["of", "set", "median", "90 %", "longest", f"share of notes in matches of {LONG} or more"],
                [
                    [what, side, *_match_cells(found)]
                    for what, both in self.copies.items()
                    for side, found in zip(("generated", "reference"), both, strict=True)
                ],
                left=(0, 1),
            )


def _match_cells(found: Sequence[Copied]) -> list[str]:
    if not found:
        return ["–"] * 4
    notes = np.array([copied.notes for copied in found])
    return [*(f"{np.quantile(notes, q):g}" for q in (0.5, 0.9, 1.0)), f"{np.nanmean([c.share for c in found]):.3g}"]


def compare_sets(
    generated: Values,
    reference: Values,
    *,
    draws: int = 200,
    seed: int = 0,
    embeddings: tuple[Floats, Floats] | None = None,
    copies: Mapping[str, tuple[list[Copied], list[Copied]]] | None = None,
    training: Sequence[str] = (),
    progress: Callable[[], object] | None = None,
) -> Comparison:
    """A generated set beside a reference set.

    Args:
        generated, reference: the values of both, as `evaluate_set` gives them, in the same metrics.
        draws: how many times pieces are drawn, and the reference is halved.
        seed: of the drawing.
        embeddings: the vectors of the pieces of both sets under an embedding, `[pieces, dimensions]`.
        copies, training: what goes into `Comparison.copies`, and the names of the training pieces.
        progress: is called after each metric.
    """
    rng = np.random.default_rng(seed)
    rows = {}
    for name in generated:
        rows[name] = _in_metric(generated[name], reference[name], draws, rng)
        if progress:
            progress()
    names = [
        name
        for name in generated
        if generated[name].ndim == 1
        and np.isfinite(generated[name]).all()
        and np.isfinite(reference[name]).all()
        and np.ptp(reference[name]) > _ROUNDING * np.abs(reference[name]).max()
    ]
    frechet = {}
    if names and len(generated[names[0]]):
        both = [np.stack([of[name] for name in names], axis=1) for of in (generated, reference)]
        mean, std = both[1].mean(axis=0), both[1].std(axis=0, ddof=1)
        frechet["all metrics"] = _frechet((both[0] - mean) / std, (both[1] - mean) / std, draws, rng)
    if embeddings is not None:
        frechet["embedding"] = _frechet(*embeddings, draws, rng)
    sizes = tuple(len(next(iter(of.values()), ())) for of in (generated, reference))
    return Comparison(rows, frechet, names, dict(copies or {}), (sizes[0], sizes[1], len(training)), training)


def _in_metric(generated: Floats, reference: Floats, draws: int, rng: np.random.Generator) -> InMetric:
    one, other = (_defined(of) for of in (generated, reference))
    exact = distance(one, other)
    areas, floors = _distances(one, other, draws, rng)
    nothing = Estimate(math.nan, math.nan, math.nan)
    mine, theirs = (_mean(of[:, 0], draws, rng) if of.shape[1] == 1 else nothing for of in (one, other))
    return InMetric(
        mine,
        theirs,
        (len(one), len(other)),
        _estimate(exact.overlapping_area, areas[:, 0], most=1),
        _estimate(exact.kl_divergence, areas[:, 1], most=math.inf),
        _estimate(None, floors[:, 0]),
        _estimate(None, floors[:, 1]),
    )


def _estimate(value: float | None, drawn: Floats, most: float | None = None) -> Estimate:
    """`value`, or the mean of what was drawn, with the interval of what was drawn.

    With `most`, the interval is moved so that the mean of what was drawn lies on the value, and cut to 0 and `most`.
    """
    known = drawn[np.isfinite(drawn)]
    value = (float(known.mean()) if len(known) else math.nan) if value is None else value
    if not len(known) or math.isnan(value):
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    if most is not None:
        low, high = np.clip(np.array([low, high]) + value - known.mean(), 0, most)
    return Estimate(value, float(low), float(high))


def _mean(values: Floats, draws: int, rng: np.random.Generator) -> Estimate:
    if not len(values):
        return Estimate(math.nan, math.nan, math.nan)
    drawn = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
    return _estimate(float(values.mean()), drawn)


def _drawn(size: int, rng: np.random.Generator) -> Floats:
    """How often each of `size` pieces is drawn."""
    return np.bincount(rng.integers(size, size=size), minlength=size).astype(np.float64)


def _halves(size: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = rng.permutation(size)
    return order[: size // 2], order[size // 2 :]


def _distances(one: Floats, other: Floats, draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Overlapping area and divergence of each draw, and of each pair of halves of `other`, `[draws, 2]` each."""
    areas, floors = np.full((draws, 2), math.nan), np.full((draws, 2), math.nan)
    if len(one) < 1 or len(other) < 3:
        return areas, floors
    intra, inter = cdist(other, other), cdist(one, other)
    rounding = _ROUNDING * max(np.abs(one).max(), np.abs(other).max())
    both = _bins([intra, inter], rounding)
    # The floor has bins of its own: it is the reference's alone, whatever stands beside it.
    alone = _bins([intra], rounding)
    if both is None or alone is None:
        return areas, floors
    intra_bins, inter_bins = both
    (bins,) = alone
    for draw in range(draws):
        mine, theirs = _drawn(len(one), rng), _drawn(len(other), rng)
        areas[draw] = _area(intra_bins, theirs, inter_bins, mine, theirs)
        first, second = (np.zeros(len(other)) for _ in range(2))
        for half, members in zip((first, second), _halves(len(other), rng), strict=True):
            half[members] = 1
        floors[draw] = _area(bins, second, bins, first, second)
    return areas, floors


def _bins(distances: Sequence[Floats], rounding: float) -> list[NDArray[np.int64]] | None:
    """Distances as numbers of `_POINTS` points over their range; None: they differ by rounding alone."""
    low, high = min(of.min() for of in distances), max(of.max() for of in distances)
    width = (high - low) / (_POINTS - 1)
    if width <= rounding:
        return None
    return [np.rint((of - low) / width).astype(np.int64) for of in distances]


@njit
def _area(
    intra: NDArray[np.int64], weights: Floats, inter: NDArray[np.int64], rows: Floats, columns: Floats
) -> tuple[float, float]:
    """`distance.compare` of two sets of distances in bins, whose pieces have weights. Distances are in bins."""
    counts = np.zeros((2, _POINTS))
    for i in range(len(intra)):
        for j in range(len(intra)):
            if i != j:
                counts[0, intra[i, j]] += weights[i] * weights[j]
    for i in range(inter.shape[0]):
        for j in range(inter.shape[1]):
            counts[1, inter[i, j]] += rows[i] * columns[j]
    points = np.arange(float(_POINTS))
    logs = np.empty((2, _POINTS))
    for kind in range(2):
        total = counts[kind].sum()
        if total < 2:
            return np.nan, np.nan
        mean = (counts[kind] * points).sum() / total
        variance = (counts[kind] * (points - mean) ** 2).sum() / (total - 1)
        if variance <= 0:
            return np.nan, np.nan
        bandwidth = np.sqrt(variance) * total**-0.2
        filled = counts[kind] > 0
        logs[kind] = log_kernel_sum(points, points[filled], counts[kind][filled], bandwidth)
        logs[kind] -= np.log(total * bandwidth * np.sqrt(2 * np.pi))
    both = np.exp(np.minimum(logs[0], logs[1]))
    overlap = both.sum() - (both[0] + both[-1]) / 2
    divergence = 0.0
    highest = logs[0].max(), logs[1].max()
    sums = [highest[k] + np.log(np.exp(logs[k] - highest[k]).sum()) for k in range(2)]
    for point in range(_POINTS):
        p, q = logs[0, point] - sums[0], logs[1, point] - sums[1]
        divergence += np.exp(p) * (p - q)
    return overlap, divergence


def _size_of_halves(generated: int, reference: int) -> int:
    """The number of pieces of the sets whose Frechet distances are compared."""
    return min(generated, reference // 2)


def _frechet(one: Floats, other: Floats, draws: int, rng: np.random.Generator) -> tuple[float, Estimate, Estimate]:
    drawn, floors = np.empty(draws), np.empty(draws)
    size = _size_of_halves(len(one), len(other))
    for draw in range(draws):
        first, second = (half[:size] for half in _halves(len(other), rng))
        floors[draw] = frechet_distance(other[first], other[second])
        some = rng.permutation(len(one))[:size]
        drawn[draw] = frechet_distance(one[some], other[first])
    return frechet_distance(one, other), _estimate(None, drawn), _estimate(None, floors)


def _defined(values: ArrayLike) -> Floats:
    """The values that are not nan, `[pieces, numbers]`."""
    array = np.asarray(values, np.float64)
    features = array.reshape(len(array), math.prod(array.shape[1:]))
    return features[np.isfinite(features).all(axis=1)]
