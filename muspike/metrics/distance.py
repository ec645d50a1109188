"""How far a generated set is from a reference set in one metric.

Yang & Lerch, "On the evaluation of generative models in music", Neural Computing and Applications 32, 2020. Distances
between pieces within a set (intra) and across the two sets (inter) each give a density; the reference's intra density
against the inter density says whether a generated piece is as far from the reference pieces as these are from each
other. The authors' mgeval samples the two densities of a KL divergence on a grid each; here both share one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist

N_GRID = 1000

_ROUNDING = 1e-12  # relative to the values of the metric
_NEGLIGIBLE = -40.0  # exp(-40) = 4e-18: below the rounding of the nearest term


@dataclass(frozen=True)
class Distance:
    """Overlapping area (0..1) and KL divergence in nats, KL(intra || inter); nan where a density does not exist."""

    overlapping_area: float
    kl_divergence: float


def distance(generated: ArrayLike, reference: ArrayLike) -> Distance:
    """Distance of two sets in one metric, whose values are `[pieces]` or, of a histogram, `[pieces, classes]`.

    Pieces for which the metric is nan are left out. Both numbers are nan where there is no density: fewer than three
    pieces in the reference, no piece generated, or all distances of a kind equal.
    """
    generated, reference = _defined(generated), _defined(reference)
    rounding = _ROUNDING * max(np.abs(generated).max(initial=0), np.abs(reference).max(initial=0))
    return compare(intra_set_distances(reference), inter_set_distances(generated, reference), rounding)


def distances(generated: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike]) -> dict[str, Distance]:
    """`distance` for every metric that both sets have, as `evaluate_set` returns them."""
    return {name: distance(generated[name], reference[name]) for name in generated if name in reference}


def intra_set_distances(values: ArrayLike) -> NDArray[np.float64]:
    """Euclidean distance of every piece to every other of its set, `[pieces * (pieces - 1)]`.

    Each pair counts twice, as in mgeval: the bandwidth of the density depends on it.
    """
    features = _as_features(values)
    all_pairs: NDArray[np.float64] = cdist(features, features)
    return all_pairs[~np.eye(len(features), dtype=bool)]


def inter_set_distances(values: ArrayLike, others: ArrayLike) -> NDArray[np.float64]:
    """Euclidean distance of every piece of one set to every piece of the other, `[pieces * others]`."""
    all_pairs: NDArray[np.float64] = cdist(_as_features(values), _as_features(others))
    return all_pairs.ravel()


def compare(intra: NDArray[np.float64], inter: NDArray[np.float64], rounding: float = 0.0) -> Distance:
    """Overlapping area and KL divergence of the Gaussian kernel densities of two sets of distances.

    Distances that differ by no more than `rounding` are equal; both numbers are nan where all distances of a set are.
    """
    if any(len(samples) < 2 or np.ptp(samples) <= rounding for samples in (intra, inter)):
        return Distance(math.nan, math.nan)
    points = np.linspace(min(intra.min(), inter.min()), max(intra.max(), inter.max()), N_GRID)
    log_intra, log_inter = log_density(intra, points), log_density(inter, points)
    overlap = trapezoid(np.exp(np.minimum(log_intra, log_inter)), points)
    # Normalised to sum to 1 over the points, as scipy.stats.entropy does; in logarithms, so nothing underflows to 0.
    log_p = log_intra - np.logaddexp.reduce(log_intra)
    log_q = log_inter - np.logaddexp.reduce(log_inter)
    return Distance(float(overlap), float((np.exp(log_p) * (log_p - log_q)).sum()))


def log_density(samples: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of the Gaussian kernel density of `samples` at `points`, the bandwidth by Scott's rule (scipy's)."""
    bandwidth = samples.std(ddof=1) * len(samples) ** -0.2
    centres, counts = np.unique(samples, return_counts=True)  # metrics that count give few different distances
    log_norm = math.log(len(samples) * bandwidth * math.sqrt(2 * math.pi))
    result: NDArray[np.float64] = _log_kernel_sum(points, centres, counts.astype(np.float64), bandwidth) - log_norm
    return result


@njit(cache=True)
def _log_kernel_sum(
    points: NDArray[np.float64], centres: NDArray[np.float64], counts: NDArray[np.float64], bandwidth: float
) -> NDArray[np.float64]:
    """log of sum_i counts_i exp(-((points - centres_i) / bandwidth)^2 / 2); the centres ascend."""
    result = np.empty_like(points)
    for j, point in enumerate(points):
        above = np.searchsorted(centres, point)
        gap = np.inf  # to the nearest centre: all terms are relative to its, so that the sum cannot underflow
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
