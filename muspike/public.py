"""Lazy public names of a package: each is imported when it is first used (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, modules: Mapping[str, str], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions `__getattr__` and `__dir__` for `package`.

    Args:
        package: name of the package.
        modules: public names by the module of the package that defines them, separated by spaces.
        submodules: modules of the package that are public themselves.
    """
    module_of = {name: module for module, names in modules.items() for name in names.split()}

    def look_up(name: str) -> Any:
        if name in submodules:
            return importlib.import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}; it has {', '.join(listed())}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    def listed() -> list[str]:
        return sorted([*module_of, *submodules])

    return look_up, listed
