"""Checks of what a caller gives to a public function. What is wrong is a `BadInput` that says what would be right."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeVar

from muspike.errors import BadInput

T = TypeVar("T")
_LARGEST = 2**63 - 1
_MOST_NAMES = 20  # that an error lists


def shown(value: object) -> str:
    """A value as an error message shows it, on one line of at most 80 characters."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a whole number of more digits than Python prints
        text = "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:60]} ... {text[-16:]}"


def refuse(what: str, value: object, expected: str) -> BadInput:
    """The error that `what` is `value`, and that `expected` would be right."""
    named = isinstance(value, str | bytes | bool | Real | type(None) | os.PathLike)
    found = shown(value) if named else f"of type {type(value).__name__}"
    return BadInput(f"{what} is {found}; expected {expected}")


def is_number(value: Any, kind: Any = Real) -> bool:
    """Whether `value` is a number, one of NumPy's too. True and False are none.

    Args:
        value: anything.
        kind: `numbers.Real`, or `numbers.Integral` for whole numbers alone.
    """
    return isinstance(value, kind) and not isinstance(value, bool)


def whole(what: str, value: Any, least: int, most: int = _LARGEST) -> int:
    """`value` as an int from `least` to `most`.

    Raises:
        BadInput: it is another number, or no whole number. True and False are none.
    """
    if not is_number(value, Integral) or not least <= value <= most:
        limits = f"of at least {least}" if most == _LARGEST else f"from {least} to {most}"
        raise refuse(what, value, f"a whole number {limits}")
    return int(value)


def number(what: str, value: Any, expected: str, low: float, high: float, *, above: bool = False) -> float:
    """`value` as a float from `low` to `high`; with `above`, above `low`.

    Args:
        what: what the number is, for the error.
        value: what the caller gave.
        expected: the range in words.
        low, high: the range. Infinities and NaN are never in it.
        above: whether `low` itself is refused.

    Raises:
        BadInput: it is no number, or not in the range.
    """
    if not is_number(value) or not low <= value <= high or (above and value == low):
        raise refuse(what, value, expected)
    try:
        found = float(value)
    except OverflowError as error:
        raise refuse(what, value, expected) from error
    if not math.isfinite(found):
        raise refuse(what, value, expected)
    return found


def seconds(what: str, value: Any) -> float:
    """`value` as a time in seconds, finite and above 0.

    Raises:
        BadInput: it is not.
    """
    return number(what, value, "a finite number of seconds above 0", 0, math.inf, above=True)


def instance(what: str, value: Any, kind: type[T] | tuple[type[T], ...], expected: str) -> T:
    """`value`, if it is of `kind`.

    Raises:
        BadInput: it is of another type; `expected` says in words what would be right.
    """
    if not isinstance(value, kind):
        raise refuse(what, value, expected)
    return value


def path(what: str, value: Any) -> str:
    """`value` as the path of a file or folder.

    Raises:
        BadInput: it is neither a text nor a path, or is one that no file can have.
    """
    if not isinstance(value, str | os.PathLike) or isinstance(found := os.fspath(value), bytes):
        raise refuse(what, value, "a path")
    if not found or "\0" in found:
        raise refuse(what, value, "a path")
    return found


def mapping(what: str, value: Any, expected: str) -> Mapping[str, Any]:
    """`value`, if it is a mapping from names.

    Raises:
        BadInput: it is none, or a key of it is no text.
    """
    if not isinstance(value, Mapping):
        raise refuse(what, value, expected)
    for key in value:
        if not isinstance(key, str):
            raise refuse(f"a name in {what}", key, "a text")
    return value


def listed(what: str, value: Any, expected: str) -> list[Any]:
    """The entries of `value`, any iterable except a text and a mapping.

    Raises:
        BadInput: it is none; `expected` says in words what would be right.
    """
    if isinstance(value, str | bytes | Mapping):
        raise refuse(what, value, expected)
    try:
        return list(value)
    except TypeError as error:
        raise refuse(what, value, expected) from error


def one_of(what: str, value: Any, known: Iterable[str]) -> str:
    """`value`, if it is one of the texts `known`.

    Raises:
        BadInput: it is another one, which the message names with the known ones, those that it resembles first; of
            many, the first `_MOST_NAMES`.
    """
    names = list(known)
    if not isinstance(value, str) or value not in names:
        found = shown(value) if isinstance(value, str) else f"of type {type(value).__name__}"
        if len(names) > _MOST_NAMES:
            near = difflib.get_close_matches(value, names, _MOST_NAMES) if isinstance(value, str) else []
            first = [*near, *(name for name in names if name not in near)][:_MOST_NAMES]
            raise BadInput(
                f"{what} {found} is not known; known are {', '.join(first)} and {len(names) - len(first)} others"
            )
        raise BadInput(f"{what} {found} is not known; known are {', '.join(names)}")
    return value
