"""A study is read as it was written; a damaged one is refused."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muspike.bench.study import screening
from muspike.bench.study import study as studies
from muspike.bench.study.study import Study
from muspike.errors import BadInput
from small_study import small_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    folder = tmp_path_factory.mktemp("study")
    return folder, small_study(folder)


def test_a_study_is_read_as_it_was_written(made: tuple[Path, Study]) -> None:
    folder, study = made
    assert studies.read(folder) == study
    for stimulus in study.stimuli:
        assert (folder / studies.AUDIO / f"{stimulus.id}.mp3").is_file()


def test_the_checks_are_read_as_they_were_written(made: tuple[Path, Study], tmp_path: Path) -> None:
    found = screening.read(made[0])
    (tmp_path / "checks").mkdir()
    screening.write(tmp_path, found)
    assert screening.read(tmp_path) == found


def _set(*path: Any) -> Callable[[Any], None]:
    *way, last, value = path

    def change(content: Any) -> None:
        for key in way:
            content = content[key]
        content[last] = value

    return change


def _pair_of_humans(content: Any) -> None:
    content["lists"][0][-1]["stimuli"] = [one["id"] for one in content["stimuli"] if one["source"] == "human"][:2]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_set("format", 2), "format 2 is of another version"),
        (lambda content: content.pop("format"), "format is missing"),
        (lambda content: content.pop("seed"), "seed: Field required"),
        (_set("seed", "1"), "seed: "),
        (_set("more", 1), "more: "),
        (_set("turing", "maybe"), "turing: "),
        (_set("stimuli", 0, "id", "../../etc/pass"), "expected an id of 12 hexadecimal digits"),
        (lambda content: content["stimuli"].append(content["stimuli"][0]), "is there twice"),
        (_set("stimuli", 0, "source", "other"), "source 'other' of a stimulus is none of human, s-rnn"),
        (_set("human", "s-rnn"), "expected 's-rnn' first"),
        (_set("lists", 0, 0, "stimuli", ["0" * 12]), "list 0, trial 0: stimulus '000000000000' is none of the study's"),
        (_set("lists", 0, 0, "wanted", 3), "list 0, trial 0: wanted is 3"),
        (_set("lists", 0, 0, "stimuli", []), "list 0, trial 0: has 0 stimuli"),
        (_set("lists", [[]]), "lists has an empty list"),
        (_set("stimuli", 0, "seconds", math.nan), "seconds is nan, expected above 0"),
        (_set("stimuli", 0, "seconds", 1e300), "seconds is 1e+300, expected above 0, at most 3600"),
        (_set("breaks", -1), "breaks is -1"),
        (_set("targets", "expert", -1), "targets: 'expert' is -1"),
        (_set("languages", ["en", "en"]), "expected at least one, each once"),
        (_set("lists", 0, 2, "wanted", 0), "list 0, trial 2: wanted is 0"),
        (_set("lists", 0, -1, "similarity", None), "similarity is None, expected a number from 0 to 1"),
        (_pair_of_humans, "expected one of the pair to be of human"),
        (_set("turing", "single"), "is a pair, which turing = single leaves out"),
    ],
)
def test_a_damaged_study_is_refused(
    made: tuple[Path, Study], tmp_path: Path, change: Callable[[Any], None], told: str
) -> None:
    content = json.loads((made[0] / studies.STUDY).read_text())
    change(content)
    (tmp_path / studies.STUDY).write_text(json.dumps(content))
    with pytest.raises(BadInput, match=re.escape(told)) as error:
        studies.read(tmp_path)
    assert str(error.value).startswith(str(tmp_path / studies.STUDY))
    assert "\n" not in str(error.value)


def test_what_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no study"):
        studies.read(tmp_path)
    with pytest.raises(BadInput, match="there is no such folder; muspike study new"):
        studies.read(tmp_path / "none")
    for text in ("", "[", "[1]", "\xff"):
        (tmp_path / studies.STUDY).write_text(text, encoding="latin-1")
        with pytest.raises(BadInput):
            studies.read(tmp_path)
