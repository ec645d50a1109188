"""The report of a study in Debian's Chromium: it fits a phone, asks for nothing, and axe-core finds nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chromium
from muspike.bench.study import analysis, analysis_plan, effects, questionnaire, simulate
from muspike.bench.study.report_page import page
from muspike.bench.study.report_pictures import pictures
from small_study import small_study


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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1100), ("dark", 390)])
def test_it_fits_asks_for_nothing_and_is_accessible(browser: Any, report: Path, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    opened, said = chromium.opened(context, report)
    chromium.keep(opened, f"study-report-{scheme}-{width}")
    assert chromium.fits(opened)
    assert chromium.cut_off_on_paper(opened) == [] and chromium.folded_on_paper(opened) == []
    for summary in opened.locator("summary").all():
        summary.click()
    assert chromium.violations(opened) == []
    assert said == []
    context.close()
