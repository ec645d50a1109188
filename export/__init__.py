"""One file per target format, and the proof that what was written is the same network; and torch modules as NIR."""

from typing import TYPE_CHECKING

from muspike.public import lazily

if TYPE_CHECKING:  # the same names, for type checkers
    from muspike.export.from_torch import to_nir as to_nir

__getattr__, __dir__ = lazily(__name__, {"from_torch": "to_nir"})

__all__ = __dir__()
