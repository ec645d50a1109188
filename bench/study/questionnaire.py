"""What listeners are asked, as data: `questionnaires/*.toml`, a translation beside each, or a user's own file.

A translation `NAME.LANGUAGE.toml` holds the same ids with other texts. Only the file without a language has rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

FORMAT = 1
"""Version of the files."""


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
