"""Root as every other user: without the capabilities of Linux by which root reads and writes every file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

import pytest

_VERSION_3 = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2  # capabilities(7)


@contextlib.contextmanager
def no_superuser() -> Iterator[None]:
    """Take these capabilities from this thread while the `with` block runs. The modes of root's own files hold then."""
    if os.geteuid() != 0:
        yield
        return
    if sys.platform != "linux":
        pytest.skip("root may write everywhere")
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    before = (ctypes.c_uint32 * 6)()  # effective, permitted and inheritable, of 32 capabilities each, twice
    _call(libc.capget, header, before)
    fewer = (ctypes.c_uint32 * 6)(*before)
    fewer[0] &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    _call(libc.capset, header, fewer)
    try:
        yield
    finally:
        _call(libc.capset, header, before)


def _call(function: ctypes._NamedFuncPointer, *arguments: ctypes.Array[ctypes.c_uint32]) -> None:
    if function(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
