"""Distances of sets against mgeval's own recipe (Yang & Lerch 2020), written with scipy's kernel density."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import integrate, stats

from muspike.metrics import Distance, distance, distances, evaluate_set
from muspike.metrics.distance import inter_set_distances, intra_set_distances, log_density
from muspike.midi import NOTE, Score

Doubles = npt.NDArray[np.float64]


def mgeval_distances(generated: Doubles, reference: Doubles) -> tuple[Doubles, Doubles]:
    """Intra distances of the reference and inter distances, piece by piece as mgeval's __main__ collects them."""
    intra = [
        np.linalg.norm(reference[i] - reference[j])
        for i in range(len(reference))
        for j in range(len(reference))
        if i != j
    ]
    inter = [np.linalg.norm(one - other) for one in generated for other in reference]
    return np.array(intra), np.array(inter)


def mgeval_overlap(a: Doubles, b: Doubles) -> float:
    density_a, density_b = stats.gaussian_kde(a), stats.gaussian_kde(b)
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    return float(integrate.quad(lambda x: min(density_a(x)[0], density_b(x)[0]), low, high, limit=200)[0])


def kl_on_a_common_grid(a: Doubles, b: Doubles) -> float:
    points = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 1000)
    return float(stats.entropy(stats.gaussian_kde(a)(points), stats.gaussian_kde(b)(points)))


def sets(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    match kind:
        case "continuous":
            return rng.normal(0.5, 1, 12), rng.normal(0, 0.7, 15)
        case "counts":
            return rng.integers(10, 40, 14).astype(float), rng.integers(15, 30, 10).astype(float)
        case "histograms":
            return rng.dirichlet(np.ones(12), 11), rng.dirichlet(np.full(12, 0.3), 13)
        case _:
            raise AssertionError(kind)


@pytest.mark.parametrize("kind", ["continuous", "counts", "histograms"])
def test_equal_to_mgeval_on_a_common_grid(kind: str) -> None:
    generated, reference = sets(kind)
    intra, inter = mgeval_distances(generated, reference)
    np.testing.assert_allclose(np.sort(intra_set_distances(reference)), np.sort(intra), atol=1e-12)
    np.testing.assert_allclose(np.sort(inter_set_distances(generated, reference)), np.sort(inter), atol=1e-12)
    found = distance(generated, reference)
    assert found.overlapping_area == pytest.approx(mgeval_overlap(intra, inter), abs=1e-4)
    assert found.kl_divergence == pytest.approx(kl_on_a_common_grid(intra, inter), rel=1e-9)


def test_density_equals_scipy() -> None:
    samples = np.random.default_rng(1).integers(0, 9, 200).astype(float)
    points = np.linspace(-5, 20, 300)
    np.testing.assert_allclose(np.exp(log_density(samples, points)), stats.gaussian_kde(samples)(points), rtol=1e-10)


def test_a_set_far_away_overlaps_little_and_its_divergence_stays_finite() -> None:
    rng = np.random.default_rng(2)
    reference = rng.normal(0, 1, 20)
    near, far = distance(rng.normal(0, 1, 20), reference), distance(rng.normal(1000, 0.1, 20), reference)
    assert near.overlapping_area > 0.8
    assert far.overlapping_area < 1e-6
    assert near.kl_divergence < 0.1 < 100 < far.kl_divergence < math.inf
    apart = distance(rng.normal(1e6, 1e-3, 20), rng.normal(0, 1e-3, 20))
    assert apart.overlapping_area < 1e-6
    assert 1e6 < apart.kl_divergence < math.inf


def test_a_set_against_a_copy_of_itself() -> None:
    # Not quite alike: the inter distances hold the zero of every piece to its own copy.
    values = np.random.default_rng(3).normal(size=40)
    assert distance(values, values).overlapping_area > 0.9


@pytest.mark.parametrize(
    ("generated", "reference"),
    [
        ([], []),
        ([], [1.0, 2.0, 4.0]),
        ([1.0, 2.0], [1.0, 5.0]),
        ([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]),
        ([0.1 + 0.2, 0.3], [0.3, 0.1 + 0.2, 0.3]),
        ([math.nan], [1.0, 2.0, 4.0]),
    ],
)
def test_without_a_density_both_are_nan(generated: Any, reference: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = distance(generated, reference)
    assert math.isnan(found.overlapping_area)
    assert math.isnan(found.kl_divergence)


def test_pieces_without_a_value_are_left_out() -> None:
    generated, reference = sets("continuous")
    assert distance([*generated, math.nan], [math.nan, *reference]) == distance(generated, reference)


def test_distances_of_evaluated_sets() -> None:
    rng = np.random.default_rng(4)

    def score() -> Score:
        onsets = np.sort(rng.integers(0, 64, 20)) * 120
        notes = [(onset, 120 * rng.integers(1, 9), rng.integers(48, 80), 64, 0) for onset in onsets]
        return Score(480, np.array(notes, NOTE))

    generated, reference = evaluate_set([score() for _ in range(6)]), evaluate_set([score() for _ in range(8)])
    found = distances(generated, reference)
    assert list(found) == list(generated)
    assert found["pitch_count"] == distance(generated["pitch_count"], reference["pitch_count"])
    assert isinstance(found["note_length_histogram"], Distance)
    assert 0 < found["note_length_histogram"].overlapping_area <= 1
    assert list(distances(generated, {"polyphony": reference["polyphony"]})) == ["polyphony"]
