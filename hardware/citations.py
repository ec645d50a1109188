"""BibTeX for the sources of figures: the entries of `references.bib`, and those that a file of one's own brings.

A chip's file or a price list may have a table `[citations]`. It gives, for a key of `[sources]`, the key of an entry in
`references.bib`, or a whole entry, which begins with an `@`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources

from muspike.errors import BadInput
from muspike.hardware.constant import FileTable

_ENTRY = re.compile(r"@\w+\{([^,\s]+),.*\}\s*", re.DOTALL)


@cache
def references() -> Mapping[str, str]:
    """The entries of `references.bib`, by key."""
    text = (resources.files("muspike.hardware") / "references.bib").read_text(encoding="utf-8")
    entries = [entry.strip() for entry in re.split(r"\n(?=@)", text)]
    return {_key(entry): entry for entry in entries}


def _key(entry: str, where: str = "") -> str:
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise BadInput(f"{where}BibTeX entry {entry[:40]!r}; expected @kind{{key, fields}}")
    return found[1]


def citations_of(table: FileTable) -> Mapping[str, str]:
    """The BibTeX entry for each source that the table `[citations]` names, by the key of the source.

    Raises:
        BadInput: a key is none of `[sources]`, or a value neither a key of `references.bib` nor an entry.
    """
    found = {}
    for source in table.entries:
        if source not in table.sources:
            raise BadInput(f"{table.where}: {source} is not in [sources], which has {', '.join(table.sources)}")
        given = table.text(source)
        if given.startswith("@"):
            _key(given.strip(), f"{table.where}: {source}: ")
            found[source] = given.strip()
        elif given in references():
            found[source] = references()[given]
        else:
            raise BadInput(
                f"{table.where}: {source} is {given!r}; expected a BibTeX entry, or one of {', '.join(references())}"
            )
    return found


def bibtex(entries: Iterable[str]) -> str:
    """The entries, each once, sorted by key."""
    return "\n\n".join(entry for _, entry in sorted({_key(entry): entry for entry in entries}.items()))
