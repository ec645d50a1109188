"""Questionnaires: the one that ships, the errors of one's own, translations."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muspike.bench.study import questionnaire
from muspike.errors import BadInput

OWN = """
format = 1
id = "own"
language = "en"
title = "Listening"
scale = ["no", "so so", "yes"]
[[items]]
id = "good"
statement = "It is good."
[[items]]
id = "dull"
statement = "It is dull."
reverse = true
[[background]]
id = "years"
text = "Years of lessons?"
most = 90
[[background]]
id = "work"
text = "Is music your work?"
options = [{ id = "no", text = "No" }, { id = "yes", text = "Yes" }]
[[groups]]
id = "expert"
name = "Experts"
any_of = [{ question = "work", among = ["yes"] }, { question = "years", at_least = 10 }]
[[groups]]
id = "other"
name = "Others"
[texts]
trial_heading = "Piece {number} of {total}"
thanks_heading = "Thank you."
"""

GERMAN = """
format = 1
id = "own"
language = "de"
title = "Hören"
scale = ["nein", "teils", "ja"]
[[items]]
id = "dull"
statement = "Es ist langweilig."
[[items]]
id = "good"
statement = "Es ist gut."
[[background]]
id = "work"
text = "Ist Musik Ihr Beruf?"
options = [{ id = "yes", text = "Ja" }, { id = "no", text = "Nein" }]
[[background]]
id = "years"
text = "Jahre Unterricht?"
[[groups]]
id = "other"
name = "Andere"
[[groups]]
id = "expert"
name = "Fachleute"
[texts]
thanks_heading = "Danke."
trial_heading = "Stück {number} von {total}"
"""


def test_the_shipped_questionnaire_rates_the_thirteen_items_of_the_paper() -> None:
    shipped = questionnaire.load()
    assert [item.id for item in shipped.items] == [
        "musicality",
        "structure",
        "melody",
        "harmonic_progression",
        "rhythm",
        "tonality",
        "emotion",
        "novelty",
        "pleasantness",
        "musical_impression",
        "autobiographical_association",
        "personal_preference",
        "overall",
    ]
    assert len(shipped.scale) == 5


@pytest.mark.parametrize(
    ("answers", "group"),
    [
        ({"profession": "student", "years_of_lessons": 0, "plays": "never"}, "expert"),
        ({"profession": "no", "years_of_lessons": 10, "plays": "never"}, "expert"),
        ({"profession": "no", "years_of_lessons": 9, "plays": "never"}, "amateur"),
        ({"profession": "no", "years_of_lessons": 0, "plays": "monthly"}, "amateur"),
        ({"profession": "no", "years_of_lessons": 1, "plays": "never", "age": None}, "normal"),
        ({}, "normal"),
    ],
)
def test_groups_are_told_by_the_rules(answers: dict[str, str | int | None], group: str) -> None:
    assert questionnaire.load().group_of(answers) == group


def test_all_shipped_translations_say_the_same_things() -> None:
    found = questionnaire.translations()
    assert list(found) == ["en", "de", "zh"]
    for language, translated in found.items():
        assert translated.language == language
        assert [item.id for item in translated.items] == [item.id for item in found["en"].items]
        assert translated.texts.keys() == found["en"].texts.keys()


def test_a_translation_has_the_order_and_the_rules_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "own.de.toml").write_text(GERMAN)
    first, german = questionnaire.translations(tmp_path / "own.toml").values()
    assert [(item.id, item.reverse) for item in german.items] == [("good", False), ("dull", True)]
    assert german.items[0].statement == "Es ist gut."
    assert [group.id for group in german.groups] == ["expert", "other"]
    assert [question.id for question in german.background] == ["years", "work"]
    assert german.background[0].most == 90
    given: list[dict[str, str | int | None]] = [
        {"work": "yes"},
        {"work": "no", "years": 12},
        {"work": "no", "years": 3},
    ]
    for answers in given:
        assert german.group_of(answers) == first.group_of(answers)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "dull"', 'id = "good"', "item 'good' is there twice"),
        ('id = "work"', 'id = "years"', "background question 'years' is there twice"),
        ('id = "yes", text', 'id = "no", text', "option of work 'no' is there twice"),
        ('question = "work"', 'question = "job"', "question 'job' is not asked; background questions: years, work"),
        ('among = ["yes"]', 'among = ["often"]', "'often' is no option of work, which has no, yes"),
        ('among = ["yes"]', "at_least = 2", "work has options, expected among"),
        ("at_least = 10", 'among = ["ten"]', "years asks for a number, expected at_least"),
        (", at_least = 10", "", "expected either among, with ids of options, or at_least, with a number"),
        (
            'name = "Others"',
            'name = "Others"\nany_of = [{ question = "years", at_least = 1 }]',
            "is the last and has a",
        ),
        ('any_of = [{ question = "work", among = ["yes"] }, { question = "years", at_least = 10 }]', "", "has no rule"),
        ('scale = ["no", "so so", "yes"]', 'scale = ["yes"]', "scale has 1 point, expected 2 to 11"),
        ('"so so"', '"no"', "point of the scale 'no' is there twice"),
        ("format = 1", "format = 9", "format 9 is of another version"),
        ('language = "en"', 'language = "English"', "language is 'English', expected a code"),
        ('statement = "It is dull."', 'statement = " "', "expected a text that is not empty"),
        ('statement = "It is dull."', "", "items 'dull': statement is missing"),
        ("reverse = true", 'reverse = "yes"', "expected true or false"),
        ("reverse = true", "weight = 2", "unknown key 'weight'"),
        ("most = 90", "least = 91\nmost = 90", "least is 91 and most 90"),
        ('id = "good"', 'id = "../good"', "letters, digits, dots"),
        ("[texts]", "[texts", "not TOML"),
        ("thanks_heading", "thanks", "texts: 'thanks' is no text of the pages"),
        ("Piece {number} of", "Piece {piece} of", "has the places ['piece', 'total'], expected ['number', 'total']"),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert OWN.count(old) >= 1
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace(old, new, 1))
    with pytest.raises(BadInput, match=re.escape(told)) as error:
        questionnaire.load(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "own"', 'id = "other"', "id is 'other', expected 'own'"),
        ('language = "de"', 'language = "zh"', "language is 'zh', expected that of its name, de"),
        ('id = "good"', 'id = "gut"', "item good is missing"),
        ('id = "yes", text', 'id = "ja", text', "option of work yes is missing"),
        ('"teils", ', "", "scale has 2 points, expected 3"),
        ('heading = "Danke."', 'heading = "Danke."\nmore = "Mehr"', "texts: 'more' is no text of the pages"),
        ("{total}", "{gesamt}", "trial_heading has the places ['gesamt', 'number'], expected ['number', 'total']"),
        ('statement = "Es ist gut."', 'statement = "Es ist gut."\nreverse = true', "unknown key 'reverse'"),
    ],
)
def test_a_translation_that_differs_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert GERMAN.count(old) >= 1
    (tmp_path / "own.toml").write_text(OWN)
    (tmp_path / "own.de.toml").write_text(GERMAN.replace(old, new, 1))
    with pytest.raises(BadInput, match=re.escape(told)) as error:
        questionnaire.translations(tmp_path / "own.toml")
    assert "own.de.toml" in str(error.value)


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="known: muspike"):
        questionnaire.load("others")
    with pytest.raises(BadInput, match="cannot be read"):
        questionnaire.load(tmp_path / "none.toml")


def test_texts_that_a_file_leaves_out_are_those_of_muspike(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN)
    own, shipped = questionnaire.load(file), questionnaire.load()
    assert own.texts["thanks_heading"] == "Thank you."
    assert own.texts.keys() == shipped.texts.keys()
    assert {name for name in own.texts if own.texts[name] != shipped.texts[name]} == {"thanks_heading", "trial_heading"}
    file.write_text(OWN.partition("[texts]")[0])
    assert questionnaire.load(file).texts == shipped.texts


def test_a_language_that_muspike_lacks_needs_all_texts(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    file.write_text(OWN.replace('language = "en"', 'language = "fr"'))
    with pytest.raises(BadInput, match="is missing, and muspike has no questionnaire in fr to take it from"):
        questionnaire.load(file)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
def test_a_questionnaire_is_read_as_it_was_written(text: str) -> None:
    first = questionnaire.parse(OWN, "own.toml")
    made = replace(first, title=text, items=(replace(first.items[0], statement=text), *first.items[1:]))
    assert questionnaire.parse(questionnaire.written(made), "made.toml") == made


def test_a_translation_is_read_as_it_was_written() -> None:
    first = questionnaire.parse(OWN, "own.toml")
    german = questionnaire.parse(GERMAN, "own.de.toml", of=first)
    assert questionnaire.parse(questionnaire.written(german, translation=True), "made.toml", of=first) == german


def test_more_than_a_form_can_send_is_refused() -> None:
    more = "".join(f'[[items]]\nid = "x{number}"\nstatement = "x"\n' for number in range(questionnaire.MOST_ASKED))
    text = questionnaire.path_of("muspike").read_text(encoding="utf-8")
    with pytest.raises(BadInput, match="has 213 items, expected at most 200"):
        questionnaire.parse(text.replace("[[groups]]", f"{more}[[groups]]", 1), "own.toml")
