"""Pages in Debian's Chromium, as people see them. Screenshots are kept in `build/screenshots/`.

A test module that imports this is skipped where the browser, or what drives it, is not installed. The fixture
`browser` of `conftest.py` opens it.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
_axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="the extra browser is not installed")
if (_CHROMIUM := shutil.which("chromium")) is None:
    pytest.skip("Chromium is not installed (on Debian: apt install chromium)", allow_module_level=True)

_SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"
_A4 = {"width": 688, "height": 1000}  # CSS pixels between the margins of a page


@contextlib.contextmanager
def launched() -> Iterator[Any]:
    """The browser while the `with` block runs."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def said(page: Any) -> list[str]:
    """What the page will say on its console, and its errors: a list that grows."""
    lines: list[str] = []
    page.on("console", lambda message: lines.append(message.text))
    page.on("pageerror", lambda error: lines.append(str(error)))
    return lines


def opened(context: Any, file: Path) -> tuple[Any, list[str]]:
    """A file that is a page of its own, and what it says on its console or asks of others: a list that grows."""
    page = context.new_page()
    lines = said(page)
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else lines.append(asked.url))
    page.goto(file.as_uri())
    return page, lines


def keep(page: Any, name: str, *, full: bool = True) -> None:
    """Keep a picture of the page."""
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=_SCREENSHOTS / f"{name}.png", full_page=full)


def fits(page: Any) -> bool:
    """Whether the page is no wider than its screen."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def violations(page: Any) -> list[tuple[str, str]]:
    """What axe-core has to say against the page: the rule, and the first element that breaks it."""
    found = _axe.Axe().run(page).response["violations"]
    return [(of["id"], of["nodes"][0]["html"][:200]) for of in found]


def cut_off_on_paper(page: Any) -> list[str]:
    """The first words of each table and picture that is wider than paper of size A4."""
    before = page.viewport_size
    page.emulate_media(media="print")
    page.set_viewport_size(_A4)
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("table, img")]
            .filter(it => it.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(it => (it.alt || it.innerText).slice(0, 60))"""
    )
    page.emulate_media(media="screen")
    page.set_viewport_size(before)
    return found


def folded_on_paper(page: Any) -> list[str]:
    """What is folded and would stay so on paper, though a reader of paper cannot unfold it."""
    page.emulate_media(media="print")
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("details")]
            .filter(it => it.checkVisibility() && ![...it.children].every(part => part.checkVisibility()))
            .map(it => it.innerText.slice(0, 60))"""
    )
    page.emulate_media(media="screen")
    return found
