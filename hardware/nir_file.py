"""Reading a NIR file."""

from __future__ import annotations

import os
from pathlib import Path

import nir

from muspike.errors import BadInput


def read_nir(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """The graph in the NIR file (HDF5) at `path`; its shapes are for `from_nir` to check.

    Raises:
        BadInput: no such file, not a NIR file, damaged, or of a version that the installed `nir` does not know.
    """
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    try:
        version = nir.serialization.read_version(path)
        if int(version.split(".")[0]) > int(nir.version.split(".")[0]):
            raise BadInput(f"{path}: is of NIR version {version}; the nir installed here reads up to {nir.version}")
        graph = nir.read(path, type_check=False)
    except BadInput:
        raise
    except MemoryError as error:
        raise BadInput(f"{path}: an array of it does not fit the memory: {error}") from error
    except Exception as error:  # h5py and nir raise nearly everything, and each means that they cannot make sense of it
        cause = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{path}: damaged, or not a NIR file: {cause}") from error
    return graph
