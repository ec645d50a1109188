"""What listeners are asked, as data: `questionnaires/*.toml`, a translation beside each, or a user's own file.

A translation `NAME.LANGUAGE.toml` holds the same ids with other texts. Only the file without a language has rules.
`[texts]` are those of the pages. What a file leaves out there is taken from muspike's own file in its language.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.hardware.constant import FileTable, read_toml, text_of
from muspike.tables import several

FORMAT = 1
"""Version of the files."""

FEWEST_POINTS, MOST_POINTS = 2, 11
"""Points of a scale."""
MOST_ASKED = 200
"""Items, and background questions. What a browser sends of more would be above what the server of a study takes."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")  # of BCP 47: "de", "pt-BR", "zh-Hant"
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Item:
    """One statement about a piece, rated on the scale.

    Attributes:
        id: its name in tables, such as "melody".
        statement: what the listener reads.
        reverse: agreement means a worse piece; the analysis turns the scale round.
    """

    id: str
    statement: str
    reverse: bool = False


@dataclass(frozen=True)
class Option:
    """One answer of a question with choices."""

    id: str
    text: str


@dataclass(frozen=True)
class Question:
    """One question about the listener.

    Attributes:
        id: its name in tables.
        text: what the listener reads.
        options: the answers to choose from. Empty: the answer is a whole number.
        least: the smallest number, for numbers.
        most: the largest number, for numbers.
        optional: the listener may leave it out.
    """

    id: str
    text: str
    options: tuple[Option, ...] = ()
    least: int = 0
    most: int = 120
    optional: bool = False


@dataclass(frozen=True)
class Condition:
    """It holds if the answer to a question is one of some options, or a number of at least so much.

    Attributes:
        question: id of the question.
        among: ids of options; empty if the question asks for a number.
        at_least: the smallest number; None if the question has options.
    """

    question: str
    among: tuple[str, ...] = ()
    at_least: int | None = None


@dataclass(frozen=True)
class Group:
    """A group of listeners, such as experts.

    Attributes:
        id: its name in tables.
        name: what people read.
        any_of: a listener belongs to it if one of these holds. Empty: whoever is in no group before it.
    """

    id: str
    name: str
    any_of: tuple[Condition, ...] = ()


@dataclass(frozen=True)
class Questionnaire:
    """All that a study asks.

    Attributes:
        id: its name.
        language: of its texts, such as "en".
        title: of the study, for listeners.
        scale: texts of the points of the scale, from the worst (1) to the best (`len(scale)`).
        items: what is rated, in the order of the page.
        background: what is asked about the listener.
        groups: in this order, the first that fits holds; the last has no condition.
        texts: all other texts of the pages by name (consent, instructions, buttons, thanks).
    """

    id: str
    language: str
    title: str
    scale: tuple[str, ...]
    items: tuple[Item, ...]
    background: tuple[Question, ...]
    groups: tuple[Group, ...]
    texts: Mapping[str, str]

    def group_of(self, answers: Mapping[str, str | int | None]) -> str:
        """The id of the first group that fits these answers to the background questions, by id of the question."""
        for group in self.groups:
            if not group.any_of or any(_holds(condition, answers) for condition in group.any_of):
                return group.id
        raise AssertionError("the last group has no condition")


def _holds(condition: Condition, answers: Mapping[str, str | int | None]) -> bool:
    answer = answers.get(condition.question)
    if answer is None:
        return False
    if condition.at_least is not None:
        return isinstance(answer, int) and answer >= condition.at_least
    return answer in condition.among


def known_questionnaires() -> tuple[str, ...]:
    """The names of the questionnaires that come with muspike, sorted."""
    return tuple(sorted({entry.name.partition(".")[0] for entry in _shipped().iterdir() if entry.suffix == ".toml"}))


def path_of(name_or_path: str | os.PathLike[str]) -> Path:
    """The file of a questionnaire that comes with muspike, by its name; or the path of a `.toml` file.

    Raises:
        BadInput: there is no such questionnaire.
    """
    name = os.fspath(name_or_path)
    if name in known_questionnaires():
        return _shipped() / f"{name}.toml"
    if Path(name).suffix != ".toml":
        raise BadInput(
            f"questionnaire {shown(name)} is not known; known: {', '.join(known_questionnaires())}, or give the path "
            "of a .toml file"
        )
    return Path(name)


def load(name_or_path: str | os.PathLike[str] = "muspike") -> Questionnaire:
    """A questionnaire by name, or from a TOML file, in the language that it is written in.

    Raises:
        BadInput: there is no such questionnaire or file; an entry is missing, unknown or impossible; an id is there
            twice; a rule of a group names a question or an option that is not asked; the last group has a rule.
    """
    return parse(text_of(path := path_of(name_or_path)), str(path))


def translations(name_or_path: str | os.PathLike[str] = "muspike") -> dict[str, Questionnaire]:
    """A questionnaire in all its languages, by language; the one that it is written in comes first.

    A translation of `NAME.toml` is the file `NAME.LANGUAGE.toml` beside it. It has the order, the numbers and the rules
    of the first.

    Raises:
        BadInput: as for `load`; or a translation has other ids, texts or points than the first, or another language
            than its name says.
    """
    path = path_of(name_or_path)
    first = load(path)
    found = {first.language: first}
    for beside in sorted(path.parent.glob(f"{path.name.removesuffix('.toml')}.*.toml")):
        language = beside.name.split(".")[-2]
        translated = parse(text_of(beside), str(beside), of=first)
        if translated.language != language:
            raise BadInput(f"{beside}: language is {shown(translated.language)}, expected that of its name, {language}")
        if language in found:
            raise BadInput(f"{beside}: language {language} is that of {path.name} already")
        found[language] = translated
    return found


def parse(text: str, where: str, of: Questionnaire | None = None) -> Questionnaire:
    """Read a questionnaire from the text of a TOML file.

    Args:
        text: the text.
        where: names the file in errors.
        of: the questionnaire of which it is a translation; None: it is none.

    Raises:
        BadInput: as for `load` and `translations`.
    """
    top = FileTable(read_toml(text, where), where, {})
    if (found := top.count("format")) != FORMAT:
        raise BadInput(f"{where}: format {found} is of another version of muspike, which reads format {FORMAT}")
    language = top.text("language")
    if not _LANGUAGE.fullmatch(language):
        raise BadInput(f'{where}: language is {shown(language)}, expected a code such as "en" or "pt-BR"')
    read = Questionnaire(
        id=top.name("id"),
        language=language,
        title=top.text("title"),
        scale=_scale(top),
        items=tuple(_item(table, of is None) for table in _tables(top, "items")),
        background=tuple(_question(table, of is None) for table in _tables(top, "background", fewest=0)),
        groups=tuple(_group(table, of is None) for table in _tables(top, "groups")),
        texts=_texts(top.table("texts") if "texts" in top.entries else FileTable({}, where, {}), where, language),
    )
    top.close()
    for what, entries in (("item", read.items), ("background question", read.background), ("group", read.groups)):
        if len(entries) > MOST_ASKED:
            raise BadInput(f"{where}: has {several(len(entries), what)}, expected at most {MOST_ASKED}")
        _refuse_twice(where, what, [entry.id for entry in entries])
    for question in read.background:
        _refuse_twice(where, f"option of {question.id}", [option.id for option in question.options])
    if of is None:
        _check_rules(read, where)
        return read
    return _in_order_of(of, read, where)


def _shipped() -> Path:
    return Path(str(resources.files("muspike.bench.study") / "questionnaires"))


def _tables(top: FileTable, key: str, fewest: int = 1) -> list[FileTable]:
    if fewest == 0 and key not in top.entries:
        return []
    rows = top.take(key, list, f"tables [[{key}]]")
    if len(rows) < fewest:
        raise BadInput(f"{top.where}: {key} is empty, expected at least one table [[{key}]]")
    found = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadInput(f"{top.where}: {key} {number} is {shown(row)}, expected a table")
        name = row.get("id")
        told = shown(name) if isinstance(name, str) else str(number)
        found.append(FileTable(row, f"{top.where}: {key} {told}", {}))
    return found


def _scale(top: FileTable) -> tuple[str, ...]:
    points = top.take("scale", list, "the texts of its points")
    if not FEWEST_POINTS <= len(points) <= MOST_POINTS:
        raise BadInput(
            f"{top.where}: scale has {several(len(points), 'point')}, expected {FEWEST_POINTS} to {MOST_POINTS}"
        )
    for point in points:
        if not isinstance(point, str) or not point.strip():
            raise BadInput(f"{top.where}: scale has the point {shown(point)}, expected a text that is not empty")
    _refuse_twice(top.where, "point of the scale", points)
    return tuple(points)


def _item(table: FileTable, first: bool) -> Item:
    item = Item(
        id=table.name("id"),
        statement=table.text("statement"),
        reverse=first and "reverse" in table.entries and table.flag("reverse"),
    )
    table.close()
    return item


def _question(table: FileTable, first: bool) -> Question:
    options = []
    if "options" in table.entries:
        for option in _tables(table, "options"):
            options.append(Option(option.name("id"), option.text("text")))
            option.close()
    question = Question(
        id=table.name("id"),
        text=table.text("text"),
        options=tuple(options),
        least=table.whole("least", 0) if first and not options and "least" in table.entries else Question.least,
        most=table.whole("most", 0) if first and not options and "most" in table.entries else Question.most,
        optional=first and "optional" in table.entries and table.flag("optional"),
    )
    if question.least > question.most:
        raise BadInput(f"{table.where}: least is {question.least} and most {question.most}, expected least <= most")
    table.close()
    return question


def _group(table: FileTable, first: bool) -> Group:
    rules = []
    if first and "any_of" in table.entries:
        for rule in _tables(table, "any_of"):
            among = rule.take("among", list, "ids of options") if "among" in rule.entries else []
            at_least = rule.whole("at_least", 0) if "at_least" in rule.entries else None
            if bool(among) == (at_least is not None):
                raise BadInput(f"{rule.where}: expected either among, with ids of options, or at_least, with a number")
            rules.append(Condition(rule.text("question"), tuple(among), at_least))
            rule.close()
    group = Group(table.name("id"), table.text("name"), tuple(rules))
    table.close()
    return group


def _texts(table: FileTable, where: str, language: str) -> dict[str, str]:
    """The texts of the pages: those of the file, and muspike's own for the others."""
    first, own = _of_pages("en"), _of_pages(language)
    given = {name: table.text(name) for name in table.entries}
    for name, text in given.items():
        if name not in first:
            raise BadInput(f"{where}: texts: {shown(name)} is no text of the pages; muspike.toml has them all")
        wanted, found = (sorted(set(_PLACE.findall(one))) for one in (first[name], text))
        if wanted != found:
            raise BadInput(f"{where}: texts: {name} has the places {found or 'none'}, expected {wanted or 'none'}")
    for name in first:
        if name not in given and name not in own:
            raise BadInput(
                f"{where}: texts: {name} is missing, and muspike has no questionnaire in {language} to take it from"
            )
    return {name: given.get(name, own.get(name, "")) for name in first}


@cache
def _of_pages(language: str) -> Mapping[str, str]:
    """The texts of the pages as muspike has them in a language; none if it does not have the language."""
    file = _shipped() / ("muspike.toml" if language == "en" else f"muspike.{language}.toml")
    if not file.is_file():
        return {}
    return dict(read_toml(text_of(file), str(file))["texts"])


def _check_rules(read: Questionnaire, where: str) -> None:
    """Refuse groups that cannot be told from the answers."""
    asked = {question.id: question for question in read.background}
    for group in read.groups[:-1]:
        if not group.any_of:
            raise BadInput(
                f"{where}: group {group.id} has no rule (any_of); only the last group, for all others, has none"
            )
    if read.groups[-1].any_of:
        raise BadInput(
            f"{where}: group {read.groups[-1].id} is the last and has a rule; it is for all others and has none"
        )
    for group in read.groups:
        for rule in group.any_of:
            place = f"{where}: group {group.id}"
            if rule.question not in asked:
                known = ", ".join(asked) or "there are none"
                raise BadInput(f"{place}: question {shown(rule.question)} is not asked; background questions: {known}")
            options = [option.id for option in asked[rule.question].options]
            if rule.at_least is not None and options:
                raise BadInput(f"{place}: {rule.question} has options, expected among instead of at_least")
            if rule.at_least is None and not options:
                raise BadInput(f"{place}: {rule.question} asks for a number, expected at_least instead of among")
            for option in rule.among:
                if option not in options:
                    raise BadInput(
                        f"{place}: {shown(option)} is no option of {rule.question}, which has {', '.join(options)}"
                    )


def _refuse_twice(where: str, what: str, names: Sequence[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BadInput(f"{where}: {what} {shown(name)} is there twice; each is there once")
        seen.add(name)


def _in_order_of(first: Questionnaire, read: Questionnaire, where: str) -> Questionnaire:
    """A translation with the order, the numbers and the rules of the questionnaire that it translates."""
    if read.id != first.id:
        raise BadInput(f"{where}: id is {shown(read.id)}, expected {shown(first.id)}, as in what it translates")
    if len(read.scale) != len(first.scale):
        raise BadInput(f"{where}: scale has {several(len(read.scale), 'point')}, expected {len(first.scale)}")
    items = _by_id(where, "item", first.items, read.items)
    background = _by_id(where, "background question", first.background, read.background)
    groups = _by_id(where, "group", first.groups, read.groups)
    questions = []
    for question in first.background:
        options = _by_id(where, f"option of {question.id}", question.options, background[question.id].options)
        translated = tuple(options[option.id] for option in question.options)
        questions.append(replace(question, text=background[question.id].text, options=translated))
    return replace(
        first,
        language=read.language,
        title=read.title,
        scale=read.scale,
        items=tuple(replace(item, statement=items[item.id].statement) for item in first.items),
        background=tuple(questions),
        groups=tuple(replace(group, name=groups[group.id].name) for group in first.groups),
        texts=read.texts,
    )


def _by_id(where: str, what: str, wanted: Sequence[Any], found: Sequence[Any]) -> dict[str, Any]:
    entries = {entry.id: entry for entry in found}
    for entry in wanted:
        if entry.id not in entries:
            raise BadInput(f"{where}: {what} {entry.id} is missing")
    if more := set(entries) - {entry.id for entry in wanted}:
        raise BadInput(f"{where}: {what} {min(more)} is not in what it translates")
    return entries


def written(questionnaire: Questionnaire, *, translation: bool = False) -> str:
    """A questionnaire as the text of a file that `parse` reads, with all texts of the pages.

    Args:
        questionnaire: what is asked.
        translation: whether it is the translation of another file, and so has no rules.
    """
    lines = [f"format = {FORMAT}"]
    for key in ("id", "language", "title"):
        lines.append(f"{key} = {_quoted(getattr(questionnaire, key))}")
    lines.append(f"scale = [{', '.join(map(_quoted, questionnaire.scale))}]")
    for item in questionnaire.items:
        lines += ["", "[[items]]", f"id = {_quoted(item.id)}", f"statement = {_quoted(item.statement)}"]
        lines += ["reverse = true"] * (item.reverse and not translation)
    for group in questionnaire.groups:
        lines += ["", "[[groups]]", f"id = {_quoted(group.id)}", f"name = {_quoted(group.name)}"]
        if group.any_of and not translation:
            lines += ["any_of = [", *(f"    {_rule(rule)}," for rule in group.any_of), "]"]
    for question in questionnaire.background:
        lines += ["", "[[background]]", f"id = {_quoted(question.id)}", f"text = {_quoted(question.text)}"]
        if question.options:
            options = [f"    {{ id = {_quoted(one.id)}, text = {_quoted(one.text)} }}," for one in question.options]
            lines += ["options = [", *options, "]"]
        elif not translation:
            lines += [f"least = {question.least}", f"most = {question.most}"]
        lines += ["optional = true"] * (question.optional and not translation)
    lines += ["", "[texts]", *(f"{name} = {_quoted(text)}" for name, text in questionnaire.texts.items())]
    return "\n".join(lines) + "\n"


def _rule(rule: Condition) -> str:
    what = (
        f"at_least = {rule.at_least}"
        if rule.at_least is not None
        else f"among = [{', '.join(map(_quoted, rule.among))}]"
    )
    return f"{{ question = {_quoted(rule.question)}, {what} }}"


def _quoted(text: str) -> str:
    """A basic string of TOML. JSON's is one, but for the character 127."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
