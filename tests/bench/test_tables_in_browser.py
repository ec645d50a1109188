"""Pages of tables in Debian's Chromium: nothing is cut off on a phone or on paper, and axe-core finds nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import chromium
from muspike import midi, tokens
from muspike.cli import main
from muspike.hardware.running.page import environment
from muspike.tables import Table
from pieces import random_piece


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of `muspike evaluate` on two small sets."""
    folder, random = tmp_path_factory.mktemp("evaluation"), np.random.default_rng(0)
    for name, number in (("pieces", 4), ("others", 8)):
        (folder / name).mkdir()
        for index in range(number):
            midi.write(tokens.decode(random_piece(random, 60)), folder / name / f"{index}.mid")
    page, sets = folder / "page.html", (str(folder / "pieces"), "--reference", str(folder / "others"))
    assert main(["evaluate", *sets, "--length", "24", "--draws", "10", "-o", str(page)]) == 0
    return page


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table whose last column holds sentences, as that of `muspike bench --data` does."""
    page = tmp_path_factory.mktemp("tables") / "page.html"
    source = "MuSpike, arXiv 2508.19251 (printed as about 0.87; that it is the rate of the best scale is our reading)"
    rows = [["jsb", "s-transformer", "pitch_in_scale_rate", "0.87", "no model", "inferred", source]]
    table = Table(
        "paper and ours", ["corpus", "network", "metric", "paper", "ours", "tag", "source"], rows, left=(1, 6)
    )
    template = environment("muspike.hardware.running").get_template("tables.html")
    page.write_text(template.render(title="a table", tables=[table], notes=["a note", "a sentence."]), encoding="utf-8")
    return page


@pytest.mark.parametrize("name", ["evaluation", "tables"])
@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_nothing_is_cut_off(request: pytest.FixtureRequest, browser: Any, name: str, scheme: str, width: int) -> None:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page, said = chromium.opened(context, request.getfixturevalue(name))
    chromium.keep(page, f"{name}-{scheme}-{width}")
    assert chromium.fits(page)
    assert chromium.cut_off_on_paper(page) == []
    assert chromium.violations(page) == []
    assert said == []
    if name == "tables":
        notes = page.locator("p.soft").all_inner_texts()
        assert notes == ["A note.", "A sentence."]
        # On a wide screen the sentences wrap instead of running out of the table.
        wide = page.locator("div.wide").evaluate("it => it.scrollWidth > it.clientWidth")
        assert not wide or width == 390
    context.close()
