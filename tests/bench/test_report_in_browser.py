"""The report in Debian's Chromium: it sorts, plays, fits a phone, and axe-core has nothing to say against it.

Screenshots are kept in `build/screenshots/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muspike import midi
from muspike.bench import audio
from muspike.bench.report import Material, write_report
from small_report import made_architecture

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra browser is not installed")
if (CHROMIUM := shutil.which("chromium")) is None:
    pytest.skip("Chromium is not installed (on Debian: apt install chromium)", allow_module_level=True)
if (missing := audio.missing()) is not None:
    pytest.skip(missing, allow_module_level=True)

SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
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


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(
    params=[("light", 1100), ("dark", 1100), ("light", 390), ("dark", 390)], ids=lambda of: f"{of[0]}-{of[1]}"
)
def page(request: pytest.FixtureRequest, chromium: Any, report: Path) -> Iterator[Any]:
    """The report as a reader sees it, who prefers light or dark, on a screen of so many pixels."""
    scheme, width = request.param
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    opened.goto(report.as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"report-{scheme}-{width}.png")
    yield opened
    assert said == []
    context.close()


def test_the_page_fits_its_screen_and_asks_for_nothing(page: Any, report: Path) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert report.stat().st_size < MOST_BYTES


def test_axe_core_finds_nothing(page: Any) -> None:
    found = axe.Axe().run(page).response["violations"]
    assert [(of["id"], of["nodes"][0]["html"][:100]) for of in found] == []


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
