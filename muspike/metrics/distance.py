"""The distance of a generated set of pieces from a reference set, in one metric.

The method is that of Yang & Lerch, "On the evaluation of generative models in music", Neural Computing and Applications
32, 2020. The distances between pieces within the reference set (intra) have a density, and so have the distances
between pieces of the two sets (inter). If the two densities are alike, generated pieces are as far from the reference
pieces as these are from each other. One thing differs from the authors' mgeval: for a KL divergence, mgeval samples
each density on a grid of its own; here both densities share one grid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist

from muspike.jit import njit

N_GRID = 1000

_ROUNDING = 1e-12  # rounding error of distances, relative to the metric's largest value
_NEGLIGIBLE = -40.0  # exp(-40) = 4e-18: below the rounding of the nearest term


@dataclass(frozen=True)
class Distance:
    """The distance of two sets. Both numbers are nan if a density does not exist.

    Attributes:
        overlapping_area: of the two densities, 0 to 1.
        kl_divergence: KL(intra || inter) in nats.
    """

    overlapping_area: float
    kl_divergence: float


def distance(generated: ArrayLike, reference: ArrayLike) -> Distance:
    """The distance of a generated set from a reference set, given the values of one metric.

    Values are `[pieces]`, or `[pieces, classes]` for a histogram. Pieces whose value is nan are left out. Both numbers
    are nan if a density does not exist: the reference has fewer than three pieces, the generated set is empty, or all
    intra or all inter distances are equal.
    """
    generated, reference = _defined(generated), _defined(reference)
    rounding = _ROUNDING * max(np.abs(generated).max(initial=0), np.abs(reference).max(initial=0))
    return compare(intra_set_distances(reference), inter_set_distances(generated, reference), rounding)


def distances(generated: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike]) -> dict[str, Distance]:
    """The `distance` in every metric that both sets have, by name. `evaluate_set` returns such sets."""
    return {name: distance(generated[name], reference[name]) for name in generated if name in reference}


def intra_set_distances(values: ArrayLike) -> NDArray[np.float64]:
    """The Euclidean distance of every piece to every other piece of its set, `[pieces * (pieces - 1)]`.

    Each pair counts twice, as in mgeval, because the bandwidth of the density depends on the number of distances.
    """
    features = _as_features(values)
    all_pairs: NDArray[np.float64] = cdist(features, features)
    return all_pairs[~np.eye(len(features), dtype=bool)]


def inter_set_distances(values: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """The Euclidean distance of every piece of one set to every piece of the other set, `[pieces * others]`."""
    all_pairs: NDArray[np.float64] = cdist(_as_features(values), _as_features(others))
    return all_pairs.ravel()


def compare(intra: NDArray[np.float64], inter: NDArray[np.float64], rounding: float = 0.0) -> Distance:
    """Overlapping area and KL divergence of the Gaussian kernel densities of two sets of distances.

    Distances count as equal if they differ by no more than `rounding`. Both numbers are nan if all distances of a set
    are equal, or if a set has fewer than two.
    """
    if any(len(samples) < 2 or np.ptp(samples) <= rounding for samples in (intra, inter)):
        return Distance(math.nan, math.nan)
    points = np.linspace(min(intra.min(), inter.min()), max(intra.max(), inter.max()), N_GRID)
    log_intra, log_inter = log_density(intra, points), log_density(inter, points)
    overlap = trapezoid(np.exp(np.minimum(log_intra, log_inter)), points)
    # Both are normalised to a sum of 1 over the points, as in scipy.stats.entropy. Logarithms avoid underflow to 0.
    log_p = log_intra - np.logaddexp.reduce(log_intra)
    log_q = log_inter - np.logaddexp.reduce(log_inter)
    return Distance(float(overlap), float((np.exp(log_p) * (log_p - log_q)).sum()))


def log_density(samples: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the Gaussian kernel density of `samples` at `points`, `[points]`.

    The bandwidth follows Scott's rule, as in scipy.
    """
    bandwidth = samples.std(ddof=1) * len(samples) ** -0.2
    centres, counts = np.unique(samples, return_counts=True)  # counting metrics have few different distances
    log_norm = math.log(len(samples) * bandwidth * math.sqrt(2 * math.pi))
    result: NDArray[np.float64] = log_kernel_sum(points, centres, counts.astype(np.float64), bandwidth) - log_norm
    return result


@njit
def log_kernel_sum(
    points: NDArray[np.float64], centres: NDArray[np.float64], counts: NDArray[np.float64], bandwidth: float
) -> NDArray[np.float64]:
    """log(sum_i counts_i exp(-((points - centres_i) / bandwidth)^2 / 2)), `[points]`. `centres` must ascend."""
    result = np.empty_like(points)
    for j, point in enumerate(points):
        above = np.searchsorted(centres, point)
        # Distance to the nearest centre. All terms are relative to this centre's, so that the sum cannot underflow.
        gap = np.inf
        for i in range(max(above - 1, 0), min(above + 1, len(centres))):
            gap = min(gap, abs(point - centres[i]))
        total = 0.0
        for first, end, step in ((above, len(centres), 1), (above - 1, -1, -1)):
            for i in range(first, end, step):
                away = abs(point - centres[i])
                exponent = (gap - away) * (gap + away) / (2 * bandwidth**2)
                if exponent < _NEGLIGIBLE:
                    break
                total += counts[i] * np.exp(exponent)
        result[j] = np.log(total) - gap**2 / (2 * bandwidth**2)
    return result


def _as_features(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _defined(values: ArrayLike) -> NDArray[np.float64]:
    features = _as_features(values)
    return features[~np.isnan(features).any(axis=1)]
