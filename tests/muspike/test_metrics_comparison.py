"""Sets beside each other: intervals, floors, the Frechet distance against its published formula, embeddings."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.linalg

from muspike import metrics
from muspike.errors import BadInput
from muspike.metrics.comparison import compare_sets
from muspike.metrics.distance import distance
from muspike.metrics.frechet import frechet_distance, frechet_music_distance
from muspike.midi import NOTE, Score, table


def values(rng: np.random.Generator, pieces: int, shift: float = 0) -> dict[str, Any]:
    return {
        "pitch_count": rng.normal(20 + shift, 3, pieces),
        "polyphony": rng.normal(3 + shift / 10, 0.5, pieces),
        "pitch_class_histogram": rng.dirichlet(np.ones(12), pieces),
    }


@pytest.mark.parametrize("sizes", [(200, 150), (12, 30)])
def test_frechet_distance_is_that_of_gaussians(sizes: tuple[int, int]) -> None:
    """As the package frechet-music-distance computes it: means, np.cov and scipy's matrix square root."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(8, 8))
    one, other = rng.normal(size=(sizes[0], 8)) @ mix, rng.normal(0.3, 1.2, size=(sizes[1], 8))
    covariances = [np.cov(of, rowvar=False) for of in (one, other)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1]).real
    centres = one.mean(axis=0) - other.mean(axis=0)
    expected = centres @ centres + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_equal_shifted_and_too_small_sets() -> None:
    vectors = np.random.default_rng(1).normal(size=(30, 4))
    assert frechet_distance(vectors, vectors) == pytest.approx(0, abs=1e-12)
    assert frechet_distance(vectors + np.array([3, 0, 0, 4]), vectors) == pytest.approx(25)
    assert math.isnan(frechet_distance(vectors[:1], vectors))


def piece(*pitches: int) -> Score:
    return Score(480, table([(i * 480, 480, pitch, 80, 0) for i, pitch in enumerate(pitches)], NOTE))


def test_any_function_embeds() -> None:
    def embed(score: Score) -> list[float]:
        return [float(score.notes["pitch"].mean()), float(len(score.notes))]

    low, high = [piece(60, 62), piece(61, 65, 67)], [piece(70, 72), piece(71, 75, 77)]
    assert frechet_music_distance(high, low, embed) == pytest.approx(100)


@pytest.mark.parametrize(
    ("embed", "what"),
    [
        (lambda score: [1.0] * len(score.notes), "3 numbers|2 numbers"),
        (lambda score: "text", "a str for piece 0"),
        (lambda score: [math.nan], "not finite"),
        (lambda score: 1.0, "a vector is wanted"),
    ],
)
def test_what_is_no_vector_is_refused(embed: Any, what: str) -> None:
    with pytest.raises(BadInput, match=what):
        frechet_music_distance([piece(60, 62), piece(60, 62, 64)], [piece(60)], embed)


def test_values_are_those_of_distance_and_lie_in_their_intervals() -> None:
    rng = np.random.default_rng(2)
    one, other = values(rng, 40), values(rng, 50)
    found = compare_sets(one, other, draws=100)
    for name, row in found.metrics.items():
        exact = distance(one[name], other[name])
        for estimate, value in (
            (row.overlapping_area, exact.overlapping_area),
            (row.kl_divergence, exact.kl_divergence),
        ):
            assert estimate.value == value
            assert estimate.low <= value <= estimate.high
        assert row.pieces == (40, 50)
    row = found.metrics["pitch_count"]
    assert row.generated.value == one["pitch_count"].mean()
    # The width of the interval of a mean is that of the normal distribution, 2 x 1.96 s / sqrt(n).
    wanted = 2 * 1.96 * one["pitch_count"].std() / math.sqrt(40)
    assert row.generated.high - row.generated.low == pytest.approx(wanted, rel=0.3)
    assert math.isnan(found.metrics["pitch_class_histogram"].generated.value)


def test_sets_of_one_kind_are_at_the_floor_and_others_are_not() -> None:
    rng = np.random.default_rng(3)
    reference = values(rng, 80)
    near, far = (compare_sets(values(rng, 60, shift), reference, draws=60) for shift in (0, 30))
    name = "pitch_count"
    assert near.metrics[name].overlapping_area.value > near.metrics[name].overlapping_floor.low
    assert far.metrics[name].overlapping_area.high < far.metrics[name].overlapping_floor.low
    assert far.metrics[name].kl_divergence.low > far.metrics[name].kl_floor.high
    (_, equal, floor), (_, away, _) = near.frechet["all metrics"], far.frechet["all metrics"]
    assert floor.low <= equal.value <= floor.high < away.low
    assert near.in_frechet == ["pitch_count", "polyphony"]


def test_frechet_distances_beside_a_floor_are_of_as_many_pieces() -> None:
    """Six pieces of the reference's own kind are at the floor, although a distance of six is far above one of forty."""
    rng = np.random.default_rng(9)
    reference, few = values(rng, 80), values(rng, 6)
    found = compare_sets(few, reference, draws=100)
    _, equal, floor = found.frechet["all metrics"]
    assert floor.low <= equal.value <= floor.high
    large = compare_sets(values(rng, 60), reference, draws=100).frechet["all metrics"][2]
    assert floor.value > 2 * large.value
    (table,) = (table for table in found.tables() if table.caption.startswith("Frechet"))
    assert "of random sets of 6 pieces" in table.caption


def test_a_floor_is_the_references_alone() -> None:
    """However far away the other set is, no area of the floor is above 1, and all floors are about the same."""
    rng = np.random.default_rng(7)
    reference = values(rng, 60)
    floors = [
        compare_sets(values(rng, 40, shift), reference, draws=60).metrics["pitch_count"].overlapping_floor
        for shift in (0, 1000, 1_000_000)
    ]
    for floor in floors:
        assert floor.high <= 1 and floor.value == pytest.approx(floors[0].value, abs=0.02)


def test_few_points_change_areas_little() -> None:
    """Draws are computed on 128 points: where every piece is drawn once, the area is that of `distance`."""
    from muspike.metrics.comparison import _distances

    class EachOnce:
        def integers(self, high: int, size: int) -> Any:
            return np.arange(size)

        def permutation(self, size: int) -> Any:
            return np.arange(size)

    rng = np.random.default_rng(4)
    for one, other in ((rng.normal(0, 1, (40, 1)), rng.normal(0.5, 2, (60, 1))), (rng.random((30, 12)),) * 2):
        areas, _ = _distances(one, other, 1, EachOnce())  # type: ignore[arg-type]
        exact = distance(one, other)
        assert areas[0] == pytest.approx([exact.overlapping_area, exact.kl_divergence], abs=0.005)


def test_a_metric_that_is_not_defined_or_never_varies_has_no_distance() -> None:
    nothing = {"drum_pattern_consistency": np.full(8, math.nan), "empty_beat_rate": np.zeros(8)}
    found = compare_sets(nothing, nothing, draws=20)
    for name, row in found.metrics.items():
        assert math.isnan(row.overlapping_area.value) and math.isnan(row.overlapping_floor.value), name
    assert found.metrics["empty_beat_rate"].generated.value == 0
    assert found.frechet == {}
    assert next(iter(found.tables())).rows[-1][2:] == ["0 [0, 0]", "0 [0, 0]", "–", "–", "–", "–"]


def test_the_same_seed_gives_the_same_numbers() -> None:
    rng = np.random.default_rng(5)
    one, other = values(rng, 10), values(rng, 12)
    first, again, others = (compare_sets(one, other, draws=30, seed=seed).to_dict() for seed in (1, 1, 2))
    assert str(first) == str(again) != str(others)
    assert set(first["metrics"]) <= {*metrics.METRICS, *metrics.HISTOGRAMS}
