"""The report of a study in Debian's Chromium: it fits a phone, asks for nothing, and axe-core has nothing against it.

Screenshots are kept in `build/screenshots/`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from muspike.bench.study import analysis, analysis_plan, effects, questionnaire, simulate
from muspike.bench.study.report_page import page
from muspike.bench.study.report_pictures import pictures
from small_study import small_study

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra browser is not installed")
if (CHROMIUM := shutil.which("chromium")) is None:
    pytest.skip("Chromium is not installed (on Debian: apt install chromium)", allow_module_level=True)

SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on three sources and two items, of which one metric tells the sources apart."""
    folder = tmp_path_factory.mktemp("study")
    study = small_study(folder, sources=("human", "s-rnn", "s-lstm"), excerpts=4)
    whole = questionnaire.load()
    form = replace(whole, items=tuple(item for item in whole.items if item.id in ("melody", "overall")))
    plan = analysis.quicker(analysis_plan.load(), draws=50, permutations=20)
    answers = simulate.listeners(
        study, form, effects.load("muspike-paper"), {"expert": 6, "amateur": 6, "normal": 6}, 0
    )
    ids = [one.id for one in study.stimuli]
    metrics = pd.DataFrame(np.random.default_rng(0).normal(size=(len(ids), 3)), index=ids, columns=list("abc"))
    metrics["c"] += [3.0 * (one.source == "human") for one in study.stimuli]
    result = analysis.analyse(analysis.Form(study, form, plan), answers, metrics)
    file = folder / "report.html"
    file.write_text(page(result, ["A difference."], pictures(result), {"answers": "made up"}), encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_it_fits_asks_for_nothing_and_is_accessible(chromium: Any, report: Path, scheme: str, width: int) -> None:
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened = context.new_page()
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("request", lambda asked: said.append(asked.url) if not asked.url.startswith(("file:", "data:")) else None)
    opened.goto(report.as_uri())
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    opened.screenshot(path=SCREENSHOTS / f"study-report-{scheme}-{width}.png", full_page=True)
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    for summary in opened.locator("summary").all():
        summary.click()
    found = axe.Axe().run(opened).response["violations"]
    assert [(of["id"], of["nodes"][0]["html"][:100]) for of in found] == []
    assert said == []
    context.close()
