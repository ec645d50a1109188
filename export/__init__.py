"""One file per target format, and the proof that what was written is the same network; and torch modules as NIR.

`to_nir` is both: the module that writes muspike's own networks as NIR, and the function that takes any torch module.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the same names, for type checkers
    from muspike.export.from_torch import to_nir as to_nir

__all__ = ["to_nir"]


class _ToNir(types.ModuleType):
    """The module `to_nir`, which can be called."""

    def __call__(self, module: Any, sample: Any = None, **options: Any) -> Any:
        from muspike.export.from_torch import to_nir

        return to_nir(module, sample, **options)


class _Export(types.ModuleType):
    """This package. Python binds a module here when it first imports it; `to_nir` can be called from then on."""

    def __setattr__(self, name: str, value: object) -> None:
        if name == "to_nir" and isinstance(value, types.ModuleType):
            value.__class__ = _ToNir
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name == "to_nir":
        return importlib.import_module("muspike.export.to_nir")
    raise AttributeError(f"module 'muspike.export' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return __all__


sys.modules[__name__].__class__ = _Export
