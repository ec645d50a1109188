"""A torch module from a function in a Python file of the user's: `model.py:build`.

The file is executed, as `python model.py` would execute it; it is the user's own code. Its folder can be imported from.
What it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy.typing as npt
from torch import nn

from muspike.errors import BadInput, MuspikeError
from muspike.files import check_file
from muspike.hardware.npz import UNREADABLE, read_array

T = TypeVar("T")

FUNCTION = "build"
"""The function of a file that names none."""


def build(file: Path, function: str | None = None) -> tuple[nn.Module, Any]:
    """The module and the sample that a function of a file returns; the sample is None if it returns a module alone.

    Args:
        file: a Python file. It is executed.
        function: the function's name; None: `FUNCTION`. It is called without arguments.

    Raises:
        BadInput: the file cannot be read, raises an error, lacks the function, or returns another thing. The message
            names the file, the line and the error.
    """
    name = function or FUNCTION
    check_file(file)
    try:
        source = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror or error}") from error
    made = types.ModuleType(re.sub(r"\W", "_", file.stem))
    made.__file__ = str(file)
    with _in_folder(file, made):
        called(file, lambda: exec(compile(source, str(file), "exec"), made.__dict__))
        found = getattr(made, name, None)
        if not callable(found):
            functions = {n: v for n, v in vars(made).items() if isinstance(v, types.FunctionType)}
            own = [n for n, v in functions.items() if v.__module__ == made.__name__]
            raise BadInput(f"{file}: has no function {name!r}; it has {', '.join(own) or 'none'} (FILE.py:FUNCTION)")
        returned = called(file, found)
    module, sample = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    if not isinstance(module, nn.Module):
        raise BadInput(
            f"{file}: {name}() returns a {type(returned).__name__}; expected a torch module, or (module, sample input)"
        )
    return module, sample


def read_sample(file: Path) -> npt.NDArray[Any]:
    """The sample input in a .npy file.

    Raises:
        BadInput: it is no .npy file of numbers.
    """
    check_file(file)
    try:
        found = read_array(file.read_bytes())
    except (*UNREADABLE, BadInput) as error:
        raise BadInput(f"{file}: is no .npy file of numbers") from error
    if found.dtype.kind not in "bfiu" or found.dtype.itemsize > 8:
        raise BadInput(f"{file}: holds {found.dtype}; expected numbers that torch has")
    return found.astype(found.dtype.newbyteorder("="))


@contextlib.contextmanager
def _in_folder(file: Path, made: types.ModuleType | None) -> Iterator[None]:
    folder, before = str(file.resolve().parent), list(sys.path)
    sys.path.insert(0, folder)
    if made is not None:
        sys.modules.setdefault(made.__name__, made)  # dataclasses look their module up
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path[:] = before


def called(file: Path, run: Callable[[], T]) -> T:
    """What `run` returns, which runs code of the user's file.

    Raises:
        BadInput: the code raises an error, or ends the program. The message names the file, the line and the error.
    """
    place = Path.cwd()
    try:
        return run()
    except MuspikeError:
        raise
    except SyntaxError as error:
        raise BadInput(f"{file}, line {error.lineno}: {type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit, GeneratorExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        where = f", line {lines[-1]}" if lines else ""
        told = " ".join(str(error).split())[:300]
        raise BadInput(f"{file}{where}: {type(error).__name__}{f': {told}' if told else ''}") from error
    finally:
        os.chdir(place)  # the code may have gone elsewhere, and paths of the command are meant from here
