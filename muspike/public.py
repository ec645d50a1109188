"""The names that a package hands out, each imported when it is first asked for (PEP 562)."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazily(
    package: str, modules: Mapping[str, str], submodules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of `package`.

    Args:
        modules: by module of the package, the names that are found in it, with spaces between them.
        submodules: of the package, which are handed out themselves.
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
