"""Read an HTML page as a test wants to look at it."""

from __future__ import annotations

import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Every address of a page, its visible text, the tags left open, and the captions that scroll with their tables.

    A tag that asks for another file fails. A script of the page's own is no text.
    """

    VOID = ("meta", "img", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.tables = self.captions = self.captions_that_scroll = 0
        self._scrolling: list[bool] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("link", "iframe", "object") and (tag != "script" or not attrs)
        if tag not in self.VOID:
            self.open.append(tag)
            scrolls = ("class", "wide") in attrs or any(self._scrolling[-1:])
            self._scrolling.append(scrolls)
            self.tables += tag == "table"
            self.captions += tag in ("caption", "figcaption")
            self.captions_that_scroll += tag in ("caption", "figcaption") and scrolls
        if tag == "img":
            self.images.append(dict(attrs))
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "action")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"
        self._scrolling.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "script" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))
