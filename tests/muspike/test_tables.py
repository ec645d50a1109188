"""Columns stand flush, titles above them, and a cell cannot reach the terminal."""

from __future__ import annotations

import csv
import re

import pytest

from muspike.errors import BadInput
from muspike.tables import Table, text_table, written


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


SMALL = Table("spikes of 50 % | a_b", ["name", "n\nper note"], [["a|b", "1,234"], ["c & d", "12,345.5"]])


def test_csv_is_read_back_and_its_numbers_are_numbers() -> None:
    caption, *lines = written([SMALL], "csv").splitlines()
    assert caption == "# spikes of 50 % | a_b"
    rows = list(csv.reader(lines))
    assert rows == [["name", "n per note"], ["a|b", "1234"], ["c & d", "12345.5"]]
    assert [float(row[1]) for row in rows[1:]] == [1234, 12345.5]


def test_csv_keeps_commas_that_are_not_between_thousands() -> None:
    table = Table("t", ["a"], [["1,2"], ["at 3,4567"], ["x, y"], ["1,234,567"]])
    assert [row[0] for row in csv.reader(written([table], "csv").splitlines()[2:])] == [
        "1,2",
        "at 3,4567",
        "x, y",
        "1234567",
    ]


def test_markdown_has_a_cell_for_each_title_whatever_the_cell_holds() -> None:
    assert written([SMALL], "markdown", "a title").splitlines()[:2] == ["# a title", ""]
    lines = written([SMALL], "markdown").splitlines()
    assert lines[3] == "|---|---:|"
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines[2:]} == {3}


def test_latex_escapes_what_tex_would_act_on() -> None:
    told = written([SMALL], "latex")
    assert r"\caption{spikes of 50 \% | a\_b}" in told
    assert r"c \& d & 12,345.5 \\" in told
    assert r"\begin{tabular}{lr}" in told


def test_an_unknown_form_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(BadInput, match="format 'xml' is not known; known are table, csv, markdown, latex"):
        written([SMALL], "xml")
