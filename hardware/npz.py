"""Read `.npy` data that nobody should trust: what its header claims is checked against its bytes."""

from __future__ import annotations

import io
import math
import os
import struct
import tokenize
import zipfile
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""The errors that damaged bytes raise in zipfile, in the reader of .npy headers, and in code that reads a header."""


def read_array(data: bytes) -> npt.NDArray[Any]:
    """The array in the bytes of a `.npy` file. Pickled objects are refused.

    np.load is not used, because it would allocate whatever a damaged or hostile header asks for.

    Raises:
        BadInput: the format has another version, or the size of the data is not what the header claims.
        one of UNREADABLE: the bytes are no `.npy` file.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise BadInput("an array is not in version 1.0 of the .npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject:
        raise BadInput(f"an array holds Python objects ({dtype}); numbers are wanted")
    if math.prod(shape) * dtype.itemsize != len(data) - stream.tell() or min(shape, default=0) < 0:
        raise BadInput(f"damaged: an array claims shape {list(shape)} of {dtype}, its data say otherwise")
    array = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if fortran else "C")


def read_archive(path: str | os.PathLike[str], largest_bytes: int, most: int = 10_000) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an `.npz` file by name, compressed or not, of at most `largest_bytes` together and `most` members.

    Raises:
        BadInput: there are more, or an array is damaged. Of the errors in `UNREADABLE`, all others pass through.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if (size := sum(info.file_size for info in members)) > largest_bytes:
            raise BadInput(f"unpacks to {size:,} bytes; expected at most {largest_bytes:,}")
        if len(members) > most:
            raise BadInput(f"has {len(members):,} members; expected at most {most:,}")
        return {info.filename.removesuffix(".npy"): read_array(archive.read(info)) for info in members}
