"""The report in Debian's Chromium: it sorts, plays, fits a phone, and axe-core has nothing to say against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import chromium
from muspike import midi
from muspike.bench import audio
from muspike.bench.report import Material, write_report
from small_report import made_architecture

if (missing := audio.missing()) is not None:
    pytest.skip(missing, allow_module_level=True)

MOST_BYTES = 10_000_000


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on two networks, the second with fewer bits and more energy."""
    score = midi.Score(480, midi.table([(480 * beat, 480, 60 + beat, 90, 0) for beat in range(8)], midi.NOTE))
    sound = audio.mp3(score)
    dearer = made_architecture()
    dearer["quality"]["nll_bits_per_note"] = {"torch": 2.5, "chip": {"loihi1": 2.6, "loihi2": None}}
    for chip in dearer["chip"].values():
        for energy in chip["energy_uj_per_note"].values():
            energy |= {end: 3 * energy[end] for end in ("value", "low", "high")}
    results: dict[str, Any] = {
        "muspike": "0.1.0",
        "machine": {"cpu": "some CPU"},
        "versions": {"numpy": "2"},
        "settings": {"seed": 0},
        "architectures": {"s-rnn": made_architecture(), "s-cnn": dearer},
    }
    material = {name: Material(score=score, mp3=sound) for name in results["architectures"]}
    page, _ = write_report(results, tmp_path_factory.mktemp("report"), material, {"jsb, a test piece": sound})
    return page


@pytest.fixture(
    params=[("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)], ids=lambda of: f"{of[0]}-{of[1]}"
)
def page(request: pytest.FixtureRequest, browser: Any, report: Path) -> Iterator[Any]:
    """The report as a reader sees it, who prefers light or dark, on a screen of so many pixels."""
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened, said = chromium.opened(context, report)
    chromium.keep(opened, f"report-{scheme}-{width}", full=False)
    yield opened
    assert said == []
    context.close()


def test_the_page_fits_its_screen_and_asks_for_nothing(page: Any, report: Path) -> None:
    assert chromium.fits(page)
    assert chromium.cut_off_on_paper(page) == [] and chromium.folded_on_paper(page) == []
    assert report.stat().st_size < MOST_BYTES


def test_axe_core_finds_nothing(page: Any) -> None:
    assert chromium.violations(page) == []


def test_a_title_sorts_the_table_by_keyboard_too_and_says_so(page: Any) -> None:
    def names() -> list[str]:
        rows: list[str] = page.eval_on_selector_all("table.sortable tbody th", "cells => cells.map(c => c.textContent)")
        return rows

    assert names() == ["s-rnn", "s-cnn"]
    bits = page.get_by_role("button", name="bits, loihi1")
    bits.click()
    assert names() == ["s-cnn", "s-rnn"]
    bits.press("Enter")
    assert names() == ["s-rnn", "s-cnn"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    page.get_by_role("button", name="µJ, loihi1").click()
    assert names() == ["s-rnn", "s-cnn"]


def test_every_piece_plays(page: Any) -> None:
    assert page.locator("audio").count() == 3
    for player in page.locator("audio").all():
        at, length, error = player.evaluate(
            """async player => {
                player.muted = true;
                await player.play();
                for (let i = 0; i < 200 && player.currentTime <= 0.1; i++)
                    await new Promise(done => setTimeout(done, 50));
                player.pause();
                return [player.currentTime, player.duration, player.error];
            }"""
        )
        assert at > 0.1 and 4 < length < 8 and error is None
