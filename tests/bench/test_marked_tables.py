"""Tables between marks in Markdown pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from muspike.bench.marked_tables import fill, filled
from muspike.errors import BadInput

TABLES = {"one": lambda: "| 1 |", "two": lambda: "| 2 |"}
PAGE = "a\n<!-- table two -->\nold\nrows\n<!-- end -->\nb\n<!-- table one -->\n<!-- end -->\n"
MADE = "a\n<!-- table two -->\n| 2 |\n<!-- end -->\nb\n<!-- table one -->\n| 1 |\n<!-- end -->\n"


def test_what_stands_between_the_marks_is_made_anew_and_nothing_else() -> None:
    assert filled(PAGE, TABLES, "page.md") == MADE
    assert filled(MADE, TABLES, "page.md", every=True) == MADE
    assert filled("a page\n", TABLES, "page.md") == "a page\n"


def test_a_mark_that_is_wrong_or_missing_is_named() -> None:
    with pytest.raises(BadInput, match=r"page\.md: there is no table 'other'; known are one, two"):
        filled("<!-- table other -->\n<!-- end -->", TABLES, "page.md")
    with pytest.raises(BadInput, match=r"page\.md: the table one has no <!-- end -->"):
        filled("<!-- table one -->\n", TABLES, "page.md")
    with pytest.raises(BadInput, match=r"page\.md: has no place for the table two: <!-- table two -->"):
        filled("<!-- table one -->\n<!-- end -->", TABLES, "page.md", every=True)


def test_a_page_is_written_only_if_it_changes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert fill(page, TABLES, "page.md") and page.read_text(encoding="utf-8") == MADE
    before = page.stat().st_mtime_ns
    assert not fill(page, TABLES, "page.md") and page.stat().st_mtime_ns == before
