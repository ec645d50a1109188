"""Labels of a piece, such as its emotion or its genre, as input beside a word: axons on which the host spikes for them.

A label has a name and one of a few values, which the corpus of the training gives. Each value has an axon. It spikes
with every word of a piece that has this value. If the value is not known, none of the axons of the label spikes.

Beside a word, a label is a column: the number of its value, or `UNKNOWN`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.sounding import NONE
from muspike.tokens import FEATURES, Words

UNKNOWN = -1
"""The value of a label that is not known."""
MOST_NAMES, MOST_VALUES = 16, 4096

Rows = npt.NDArray[np.int16]
"""The labels of some pieces, int16 `[pieces, names]`: the number of each value, or `UNKNOWN`."""


def _check_texts(what: str, texts: Sequence[str]) -> None:
    for text in texts:
        if not isinstance(text, str) or not text:
            raise BadInput(f"{what} have {text!r:.60}; expected texts that are not empty")
    if len(set(texts)) < len(texts):
        raise BadInput(f"{what} have one twice: {', '.join(texts):.80}")


@dataclass(frozen=True)
class Labels:
    """The labels that a network hears, in the order of its axons. `Labels.of` makes them from a table.

    Attributes:
        axes: name and values of each label.

    Raises:
        BadInput: a label has no name, a "=" in its name, or no values; a name or a value is no text, is empty or
            occurs twice; or there are more than `MOST_NAMES` names or `MOST_VALUES` values.
    """

    axes: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        if len(self.axes) > MOST_NAMES or self.axons > MOST_VALUES:
            raise BadInput(
                f"labels: {len(self.axes)} names with {self.axons:,} values; at most {MOST_NAMES} names with "
                f"{MOST_VALUES:,} values"
            )
        _check_texts("labels: the names", self.names)
        for name, values in self.axes:
            if "=" in name:
                raise BadInput(f"labels: the name {name!r:.60} has a '=', which stands between name and value")
            _check_texts(f"labels: the values of {name}", values)
            if not values:
                raise BadInput(f"labels: {name} has no values; at least one is needed")

    @classmethod
    def of(cls, table: Mapping[str, Sequence[str]]) -> Labels:
        """The labels of a table, values by name, such as `{"emotion": ["sad", "happy"]}`.

        Raises:
            BadInput: as for the class; or `table` is another thing. A list of names alone lacks the values.
        """
        if not table:
            return UNLABELLED
        if not isinstance(table, Mapping):
            raise BadInput(
                f"labels: {table!r:.60} has no values; expected a table such as {{'emotion': ['sad', 'happy']}}, which "
                "training takes from its corpus"
            )
        for name, values in table.items():
            if isinstance(values, str) or not isinstance(values, Sequence):
                raise BadInput(f"labels: the values of {name} are {values!r:.60}; expected a list of texts")
        return cls(tuple((name, tuple(values)) for name, values in table.items()))

    @classmethod
    def read(cls, text: str) -> Labels:
        """The labels in a text of `written`.

        Raises:
            BadInput: it is none.
        """
        try:
            table = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            table = text
        if not isinstance(table, dict):
            raise BadInput(f"labels: {text!r:.60} is no table of values by name, as JSON")
        return cls.of(table)

    def written(self) -> str:
        """The table as JSON in one line; "": there are no labels."""
        return json.dumps(self.table) if self else ""

    def __bool__(self) -> bool:
        return bool(self.axes)

    @property
    def table(self) -> dict[str, list[str]]:
        """The values of each label, by its name."""
        return {name: list(values) for name, values in self.axes}

    @property
    def names(self) -> tuple[str, ...]:
        """The names."""
        return tuple(name for name, _ in self.axes)

    @property
    def axons(self) -> int:
        """Axons of all values."""
        return sum(len(values) for _, values in self.axes)

    def row(self, given: Mapping[str, str], where: str) -> Rows:
        """The labels of one piece, `[1, names]`; one that is not given is unknown. An error begins with `where`.

        Raises:
            BadInput: there is no label of a name, or it has no such value. The message says which there are.
        """
        for name, value in given.items():
            asked = f"{where}: label {name}={value}"
            if not self:
                raise BadInput(f"{asked}: this network knows no labels; `muspike train --labels {name}` makes one")
            if name not in self.names:
                raise BadInput(f"{asked}: this network has no label {name!r}; known are {', '.join(self.names)}")
            if value not in (values := dict(self.axes)[name]):
                raise BadInput(f"{asked}: {name} has no value {value!r}; known are {', '.join(values)}")
        return self.rows([given])

    def rows(self, pieces: Iterable[Mapping[str, str]]) -> Rows:
        """The labels of pieces. A value that the network does not know is unknown."""
        numbers = [(name, {value: n for n, value in enumerate(values)}) for name, values in self.axes]
        found = [[number.get(piece.get(name, ""), UNKNOWN) for name, number in numbers] for piece in pieces]
        return np.array(found, np.int16).reshape(len(found), len(self.axes))

    def behind(self, words: Words, rows: Rows | None = None) -> Words:
        """`words` `[tokens, pieces, 7]` followed by the labels, `[tokens, pieces, 7 + names]`; None: unknown."""
        shape = (*words.shape[:2], len(self.axes))
        columns = np.full(shape, UNKNOWN, np.int16) if rows is None else np.broadcast_to(rows, shape)
        return np.concatenate([words, columns], axis=2)

    def spiking(self, columns: npt.NDArray[np.integer], first: int) -> npt.NDArray[np.int64]:
        """The axons that spike for `columns` `[..., names]`, int64; `sounding.NONE` where a label is unknown.

        Args:
            columns: the number of each label's value, or `UNKNOWN`.
            first: the number of the first axon.
        """
        sizes = [len(values) for _, values in self.axes]
        starts = first + np.cumsum([0, *sizes[:-1]]) if sizes else np.zeros(0, np.int64)
        return np.where(columns < 0, NONE, columns.astype(np.int64) + starts)


UNLABELLED = Labels()
"""No labels."""


def of_words(words: npt.NDArray[np.integer], labels: Labels) -> npt.NDArray[np.integer]:
    """The columns of the labels in `words` `[..., 7 + names + draws of noise]`."""
    return words[..., len(FEATURES) : len(FEATURES) + len(labels.axes)]
