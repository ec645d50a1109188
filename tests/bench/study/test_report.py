"""`muspike study report` on the command line: forms, pictures, the plan, and what is refused."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pandas", reason="the extra study is not installed")

from html_page import Page
from muspike.bench.study import analysis_plan, answers, plan, study
from muspike.cli import main
from small_study import small_study


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two items, and the answers of a few listeners in its folder."""
    made = tmp_path_factory.mktemp("study")
    small_study(made, excerpts=4)
    file = made / study.QUESTIONNAIRE
    text = file.read_text(encoding="utf-8")
    items = re.findall(r"\[\[items\]\]\n(?:.+\n)+", text)
    for item in items:
        if 'id = "melody"' not in item and 'id = "overall"' not in item:
            text = text.replace(item, "")
    file.write_text(text, encoding="utf-8")
    command = ["study", "simulate", str(made), "--scenario", "muspike-paper", "--listeners", "expert=5,normal=4"]
    # The scenario has no items of its own, so it fits a questionnaire of two.
    assert main([*command, "-o", str(made / "answers")]) == 0
    return made


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main(["study", "report", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_json_has_all_and_says_that_there_is_no_plan(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = told(capsys, str(folder), "--answers", str(folder / "answers"), "--json")
    assert status == 0, err
    found: dict[str, Any] = json.loads(out)
    assert found["differences_from_the_plan"] == ["There is no plan.json: nothing says what was planned."]
    assert found["plan"] == analysis_plan.load()
    assert list(found["study"]["items"]) == ["melody", "overall"]
    assert found["plan_sha256"] is None
    assert sum(of["came"] for of in found["listeners"].values()) == 9
    assert found["alignment"]["all"]["pieces"] == 8
    assert found["predictor"]["all"] == {"missing": "8 pieces have ratings and metrics; 10 are wanted"}


def test_the_page_and_its_pictures(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--answers", str(folder / "answers"), "-o", str(tmp_path / "r.html"), "--pictures", str(tmp_path / "p")]
    status, out, err = told(capsys, str(folder), *options)
    assert status == 0 and out == f"{tmp_path / 'r.html'}: A small study: report\n", err
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "Who listened" in page.text and "1 difference from the plan" in page.text
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    files = {file.stem for file in (tmp_path / "p").glob("*.svg")}
    assert {"means", "comparisons", "turing", "alignment"} <= files and len(page.images) == len(files)


def test_what_is_refused(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--answers", str(folder / "answers")]
    for arguments, words in (
        ([str(tmp_path)], "holds no study"),
        ([str(folder), *given, "--database", "sqlite:///x.db"], "--database is not used with --answers"),
        ([str(folder), *given, "-o", "report.pdf"], "ends in none of"),
        ([str(folder), "--answers", str(tmp_path)], "listeners.csv"),
    ):
        status, out, err = told(capsys, *arguments)
        assert status == 2 and words in err and err.count("\n") == 1 and not out, err
    wrong = answers.read(folder / "answers")
    wrong.ratings.loc[0, "stimulus"] = "000000000000"
    (tmp_path / "wrong").mkdir()
    answers.write(tmp_path / "wrong", wrong)
    status, _, err = told(capsys, str(folder), "--answers", str(tmp_path / "wrong"))
    assert status == 2 and "stimulus '000000000000' is none of the study's" in err
    (folder / plan.PLAN).write_text("{}", encoding="utf-8")
    try:
        status, _, err = told(capsys, str(folder), *given)
        assert status == 2 and plan.PLAN in err
        content = {"format": 1, "muspike": "0", "files": {}, "listeners": {}, "analysis": {"draws": 10, "alpha": 0.01}}
        (folder / plan.PLAN).write_text(json.dumps(content), encoding="utf-8")
        status, out, err = told(capsys, str(folder), *given, "--json")
        found = json.loads(out)
        assert status == 0 and found["plan"]["alpha"] == 0.01, err
        digest = hashlib.sha256((folder / plan.PLAN).read_bytes()).hexdigest()
        assert found["plan_sha256"] == digest
        status, out, err = told(capsys, str(folder), *given)
        assert status == 0 and digest in out + err
    finally:
        (folder / plan.PLAN).unlink()
