"""What a report says first, from figures that are easy to judge."""

from __future__ import annotations

from typing import Any

from muspike.bench.answer import costed, front, sentences


def results(**networks: tuple[float, float, float, float]) -> dict[str, Any]:
    """Networks on one chip: bits, energy, and the ends of its band."""
    return {
        "architectures": {
            name: {
                "quality": {"nll_bits_per_note": {"torch": bits, "chip": {"loihi1": bits, "loihi2": None}}},
                "chip": {
                    "loihi1": {
                        "fits": True,
                        "energy_uj_per_note": {
                            "total": {"value": value, "low": low, "high": high, "tag": "fitted", "band_known": True}
                        },
                    },
                    "loihi2": {"fits": False, "reason": "too large"},
                },
            }
            for name, (bits, value, low, high) in networks.items()
        }
    }


def test_the_front_has_those_that_none_beats_in_both() -> None:
    found = costed(
        results(best=(2.5, 90, 80, 100), cheap=(3, 10, 8, 12), middle=(2.7, 40, 30, 50), beaten=(2.8, 60, 50, 70))
    )
    assert list(found) == ["loihi1"]
    assert [point.name for point in front(found["loihi1"])] == ["best", "middle", "cheap"]


def test_of_equal_bits_the_cheaper_one_is_on_the_front() -> None:
    found = costed(results(dear=(2.5, 90, 80, 100), cheap=(2.5, 10, 8, 12)))["loihi1"]
    assert [point.name for point in front(found)] == ["cheap"]


def test_the_answer_names_the_best_the_cheapest_and_the_beaten() -> None:
    (told,) = sentences(results(best=(2.5, 90, 80, 100), cheap=(3, 10, 8, 12), beaten=(3.1, 60, 50, 70)))
    assert told == (
        "On loihi1, best predicts best: 2.500 bits per note at 90 µJ (80 to 100, fitted) per note. cheap takes the "
        "least energy: 10 µJ (8 to 12, fitted), with 3.000 bits. beaten lies behind: another has fewer bits and less "
        "energy."
    )


def test_overlapping_bands_are_said_and_one_network_is_no_comparison() -> None:
    (told,) = sentences(results(best=(2.5, 90, 8, 100), cheap=(3, 10, 8, 95), between=(2.9, 50, 40, 60)))
    assert "; the bands of the two overlap. between lies between them." in told
    (told,) = sentences(results(both=(2.5, 9, 8, 10), worse=(3, 10, 8, 95)))
    assert "It takes the least energy too. worse lies behind: another has fewer bits and less energy." in told
    assert sentences(results(alone=(2.5, 9, 8, 10))) == []
