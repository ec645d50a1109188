"""Compile functions with numba, and keep their machine code from process to process wherever that is possible.

numba keeps it in the folder that NUMBA_CACHE_DIR names, beside the source, or in the user's cache folder. On its own it
ends the program if it can write none of them, if the disk is full, or if a file there is damaged. Here the function is
compiled anew instead, which takes some seconds, and a warning says so.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast, overload

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserWideCacheLocator

from muspike.errors import Doubt, one_line

Compiled = Callable[..., Any]  # a compiled function takes more types than its annotations say


@overload
def njit(function: Callable[..., Any]) -> Compiled: ...


@overload
def njit(**options: Any) -> Callable[[Callable[..., Any]], Compiled]: ...


def njit(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """`numba.njit`, whose machine code is kept if that is possible. Use it as `@njit` or `@njit(nogil=True)`.

    Args:
        function: the function to compile.
        options: options of `numba.njit`, without `cache`.
    """

    def compiled(function: Callable[..., Any]) -> Compiled:
        made = numba.njit(**options)(function)
        if made is not function:  # NUMBA_DISABLE_JIT gives the function back
            try:
                made._cache = _Cache(function)
            except RuntimeError:
                _warn("no folder can be written for it")
        return cast(Compiled, made)

    return compiled if function is None else compiled(function)


_warned = False


def _warn(why: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            f"numba cannot keep compiled code ({why}), so each command compiles it anew; name a folder that can be "
            "written in NUMBA_CACHE_DIR",
            Doubt,
            stacklevel=4,
        )


class _Places(CompileResultCacheImpl):  # type: ignore[misc]  # numba has no types
    @property
    def _locator_classes(self) -> list[Any]:
        places = CompileResultCacheImpl._locator_classes
        # Without a home folder, "~" stays as it is, and numba would make a folder of that name where we are.
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~")  # noqa: PTH111
        return [place for place in places if place is not UserWideCacheLocator or Path(home).is_absolute()]


class _Cache(FunctionCache):  # type: ignore[misc]  # numba has no types
    """numba's cache of one function. What goes wrong in it never ends the program."""

    _impl_class = _Places

    def load_overload(self, *arguments: Any) -> Any:
        """The compiled function from the cache; None if there is none that can be read."""
        try:
            return super().load_overload(*arguments)
        except Exception:  # damaged bytes raise anything when they are unpickled
            self._begin_anew()
            return None

    def save_overload(self, *arguments: Any) -> None:
        """Put a compiled function into the cache, if that can be written."""
        try:
            super().save_overload(*arguments)
        except Exception as error:  # the index was damaged meanwhile, or the disk refuses
            self.disable()
            _warn(_why(error))

    def _begin_anew(self) -> None:
        """Replace the index by an empty one, so that the damaged entries are written again."""
        try:
            self.flush()
        except OSError as error:
            self.disable()
            _warn(_why(error))


def _why(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        where = os.path.dirname(os.fsdecode(error.filename)) if error.filename else ""  # noqa: PTH120
        return f"{where}: {error.strerror}" if where else error.strerror
    return one_line(error)
