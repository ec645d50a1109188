"""The page of `muspike evaluate`: for each group of metrics its table and its picture, then distances and copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muspike.hardware.running.page import environment
from muspike.hardware.running.pictures import Picture
from muspike.metrics.comparison import Comparison


def page(title: str, found: Comparison, pictures: Mapping[str, Picture], notes: Sequence[str]) -> str:
    """The page, as HTML in one piece.

    Args:
        title: its heading.
        found: the comparison.
        pictures: by group of metrics.
        notes: how it was made, in sentences.
    """
    template = environment("muspike.bench").get_template("evaluation.html")
    tables = [(table.caption.partition(":")[0], table) for table in found.tables()]
    return template.render(title=title, tables=tables, pictures=pictures, notes=notes).rstrip("\n")
