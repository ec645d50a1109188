"""Numbers of a chip's file, or of a price list, that were changed and kept the source of the old number.

A source stands for the numbers that it gave. So a file of one's own that names a source of a chip that comes with
muspike must have that chip's numbers, or name another source. The same holds for price lists among themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_Constant = dict[str, Any]


def changes(own: Mapping[str, Any], shipped: Mapping[str, Mapping[str, Any]], kind: str = "chip") -> Iterator[str]:
    """What is doubtful about the content of a chip's file, or of a price list, in sentences.

    A file that has the name of a chip that comes with muspike is compared with that chip. A file of another name is
    compared with all of them: its numbers must be those of one that has the same source, by key and text.

    Args:
        own: the content of the file, a chip that was read without error.
        shipped: the content of the file of each chip that comes with muspike, by the chip's name.
        kind: what the files are of, in words. Price lists are compared with price lists, as chips are with chips.
    """
    name = own["name"]
    if name in shipped and own != shipped[name]:
        yield (
            f"is called {name}, as a {kind} that comes with muspike, and differs from it; results and programs tell "
            "only the name, so give it another one"
        )
    others = {name: shipped[name]} if name in shipped else shipped
    numbers = dict(_constants(own))

    def alike(other: str) -> int:
        return sum(numbers.get(path) == constant for path, constant in _constants(shipped[other]))

    # What differs from several chips is named beside the one that the file is most like.
    others = {other: shipped[other] for other in sorted(others, key=alike, reverse=True)}
    constants = {other: dict(_constants(content)) for other, content in others.items()}
    for path, constant in _constants(own):
        key = _key(constant)
        found = [
            _difference(path, constant, constants[other], other)
            for other, content in others.items()
            if content["sources"].get(key) == own["sources"][key] and _comparable(path, key, constants[other])
        ]
        if found and all(found):
            yield f"{path}: {found[0]}, and its source is still {key!r}; name the source of the new number"


def _key(constant: _Constant) -> str:
    return str(constant["source"]).partition(": ")[0]


def _comparable(path: str, key: str, shipped: Mapping[str, _Constant]) -> bool:
    """Whether a shipped chip has the constant from that source, or has its table without the constant."""
    if path in shipped:
        return _key(shipped[path]) == key
    return any(place.startswith(path.rpartition(".")[0] + ".") for place in shipped)


def _difference(path: str, own: _Constant, shipped: Mapping[str, _Constant], chip: str) -> str:
    """What a constant has that the one of the shipped chip has not; empty if they are equal."""
    if path not in shipped:
        return f"{chip} has no such number"
    old = shipped[path]
    keys = [k for k in dict.fromkeys([*own, *old]) if k != "source" and own.get(k) != old.get(k)]
    return ", ".join(f"{k} is {own.get(k, 'missing')} ({old.get(k, 'missing')} in {chip})" for k in keys)


def _constants(content: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, _Constant]]:
    """Every table that has a source, by its place in the file."""
    for key, value in content.items():
        place = f"{path}{key}"
        if isinstance(value, dict):
            if "source" in value:
                yield place, value
            else:
                yield from _constants(value, f"{place}.")
        elif isinstance(value, list):
            yield from ((f"{place} of {row['tiles']} tiles", row) for row in value if isinstance(row, dict))
