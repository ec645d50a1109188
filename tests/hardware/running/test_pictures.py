"""Pictures of pages: that they are as dark as what they show is dense, and hold any name and any number of cores."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from muspike.hardware.running.pictures import Picture, core_use, density, label


def text_of(picture: Picture) -> str:
    root = ElementTree.fromstring(picture.svg)
    return " ".join("".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text"))


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (100, 12), (64, 1000), (999, 1001)])
@pytest.mark.parametrize("size", [(1, 1), (10, 7), (64, 64), (113, 640)])
def test_the_mean_of_the_pixels_is_the_mean_of_the_spikes(shape: tuple[int, int], size: tuple[int, int]) -> None:
    spikes = np.random.default_rng(0).random(shape) < 0.11
    pixels = density(spikes, *size)
    assert pixels.shape == size and pixels.min() >= 0 and pixels.max() <= 1
    assert pixels.mean() == pytest.approx(spikes.mean(), abs=1e-12)


def test_a_spike_covers_its_cell_and_no_other() -> None:
    spikes = np.zeros((4, 3))  # [ticks, neurons]
    spikes[1, 2] = 5  # whatever is not 0
    larger = density(spikes, 6, 8)
    assert (larger[4:, 2:4] == 1).all() and larger.sum() == 4
    smaller = density(spikes, 3, 2)  # two ticks in a pixel
    assert smaller.tolist() == [[0, 0], [0, 0], [0.5, 0]]
    assert density(spikes, 2, 4).tolist() == [[0, 0, 0, 0], [0, pytest.approx(2 / 3), 0, 0]]


def test_without_spikes_nothing_is_drawn() -> None:
    assert not density(np.zeros((5, 5)), 7, 3).any()


@pytest.mark.parametrize(
    ("name", "shown"),
    [("a", "a"), ("a$b$", r"a\$b\$"), ("x\x1b[31m", r"x\x1b[31m"), ("n" * 40, "n" * 31 + "…"), ("層", "層")],
)
def test_names_are_shown_as_they_are(name: str, shown: str) -> None:
    assert label(name) == shown


def test_a_core_above_its_limit_is_seen() -> None:
    picture = core_use([{"core": 0, "percent": {"neurons_per_core": 150.0}}], "chip $x$")
    assert "above 100 %" in text_of(picture) and "150" in text_of(picture) and "chip $x$" in text_of(picture)
    assert "core 0, 150 %" in picture.alt
    assert "above" not in text_of(core_use([{"core": 0, "percent": {"neurons_per_core": 50.0}}], "c"))


def test_very_many_cores_share_cells_and_the_fullest_is_named() -> None:
    use = [{"core": core, "percent": {"neurons_per_core": 1.0 + 90 * (core == 777)}} for core in range(1000)]
    picture = core_use(use, "loihi1")
    assert "each cell shows the fullest of 5 neighbours" in text_of(picture)
    assert "1000 cores; fullest: neurons of core 777, 91 %" in picture.alt
    assert len(picture.svg) < 100_000
