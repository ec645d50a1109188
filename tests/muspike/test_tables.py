"""Columns stand flush, titles above them, and a cell cannot reach the terminal."""

from __future__ import annotations

import pytest

from muspike.tables import text_table


def test_columns_are_flush_and_as_wide_as_their_widest_cell() -> None:
    lines = list(text_table(["name", "n", "note"], [["a", "1,000", "x"], ["longer", "7", ""]], left=(0, 2)))
    assert lines == ["name        n  note", "a       1,000  x", "longer      7"]


def test_the_first_column_alone_is_flush_left_by_default() -> None:
    assert list(text_table(["a", "b"], [["xx", "yyy"]])) == ["a     b", "xx  yyy"]


def test_a_title_may_stand_on_several_lines() -> None:
    assert list(text_table(["file", "mean\nof\nall"], [["a", "1"]])) == [
        "      mean",
        "        of",
        "file   all",
        "a        1",
    ]


def test_a_cell_cannot_move_the_terminal() -> None:
    assert list(text_table(["name", "n"], [["a\x1b[31m\nb", "1"]]))[1:] == [r"a\x1b[31m\nb  1"]


def test_a_table_without_rows_is_its_titles() -> None:
    assert list(text_table(["name", "n"], [])) == ["name  n"]


@pytest.mark.parametrize("row", [["a"], ["a", "1", "2"]])
def test_a_row_of_another_length_is_refused(row: list[str]) -> None:
    with pytest.raises(ValueError, match="argument"):
        list(text_table(["name", "n"], [row]))
