"""Reading `.npy` and `.npz` files that nobody should trust: what they claim is held against what they are."""

from __future__ import annotations

import io
import math
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
"""What zipfile, the reader of .npy headers and a header of the wrong form raise on damaged bytes."""


def read_array(data: bytes) -> npt.NDArray[Any]:
    """The array of a `.npy` file that is these bytes and no more, without pickled objects.

    Not np.load: it would allocate whatever a damaged or hostile header asks for.

    Raises:
        BadInput: another version of the format, or its shape is not that of its data.
        one of UNREADABLE: no `.npy` at all.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise BadInput("an array is not in version 1.0 of the .npy format")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - stream.tell() or min(shape, default=0) < 0:
        raise BadInput(f"damaged: an array claims shape {list(shape)} of {dtype}, its data say otherwise")
    array = np.frombuffer(data, dtype=dtype, offset=stream.tell())
    return array.reshape(shape, order="F" if fortran else "C")
