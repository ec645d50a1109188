"""A torch module from a function in a Python file of the user's: `model.py:build`.

The file is executed, as `python model.py` would execute it; it is the user's own code. Its folder can be imported from.
What it prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import re
import sys
import traceback
import types
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from muspike.errors import BadInput, MuspikeError
from muspike.files import check_file

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
        _called(file, lambda: exec(compile(source, str(file), "exec"), made.__dict__))
        found = getattr(made, name, None)
        if not callable(found):
            functions = {n: v for n, v in vars(made).items() if isinstance(v, types.FunctionType)}
            own = [n for n, v in functions.items() if v.__module__ == made.__name__]
            raise BadInput(f"{file}: has no function {name!r}; it has {', '.join(own) or 'none'} (FILE.py:FUNCTION)")
        returned = _called(file, found)
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
        found = np.load(file, allow_pickle=False)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise BadInput(f"{file}: is no .npy file of numbers") from error
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "bfiu":
        raise BadInput(f"{file}: is no .npy file of numbers")
    return found


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


def _called(file: Path, run: Callable[[], Any]) -> Any:
    try:
        return run()
    except MuspikeError:
        raise
    except SyntaxError as error:
        raise BadInput(f"{file}, line {error.lineno}: {type(error).__name__}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
        place = f", line {lines[-1]}" if lines else ""
        told = " ".join(str(error).split())[:300]
        raise BadInput(f"{file}{place}: {type(error).__name__}{f': {told}' if told else ''}") from error
