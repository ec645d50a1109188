"""The fields of a NIR node, checked: finite numbers, of a shape that fits, and no more of them than a chip could use.

Every function takes the node's name for its error messages, and raises BadInput if a field breaks what it checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput

Doubles = npt.NDArray[np.float64]
Shape = tuple[int, ...]

# Times in a file are often float32. A time within this relative error of a whole number of ticks is that whole number.
TICK_TOLERANCE = 1e-6
# The most values that one node may hold: more neurons than 16 chips of the largest kind have. It bounds the memory that
# a small file can ask for, because a shape is a few bytes.
MOST_VALUES = 2**24


def array(name: str, node: Any, field: str) -> npt.NDArray[Any]:
    """A field as an array of finite real numbers."""
    try:
        found = np.asarray(getattr(node, field))
    except (AttributeError, ValueError) as error:
        raise BadInput(f"node {name!r}: {field} is missing, or not an array of numbers") from error
    if found.dtype.kind not in "fiu":
        raise BadInput(f"node {name!r}: {field} has dtype {found.dtype}, expected real numbers")
    if not np.isfinite(found).all():
        bad = found[~np.isfinite(found)].flat[0]
        raise BadInput(f"node {name!r}: {field} holds {bad}, expected finite numbers")
    return found


def spread(name: str, node: Any, field: str, shape: Shape) -> Doubles:
    """A field of one value per neuron, or of fewer that stand for all neurons.

    These are accepted: as many values as the shape has, in any arrangement; one element, however many dimensions it
    has; what NumPy's broadcasting spreads over the shape; and each of these behind dimensions of batch and time along
    which the values repeat.

    Returns:
        float64 `[product of shape]`.

    Raises:
        BadInput: the field cannot be meant for the shape.
    """
    found = array(name, node, field)
    whole = _spread(found, shape)
    if whole is None:
        raise BadInput(
            f"node {name!r}: {field} has shape {list(found.shape)}, expected {list(shape)}, or one value for all"
        )
    return whole.astype(np.float64)


def spreads(name: str, node: Any, field: str, shape: Shape) -> bool:
    """Whether `spread` accepts the field for this shape."""
    return _spread(array(name, node, field), shape) is not None


def _spread(found: npt.NDArray[Any], shape: Shape) -> npt.NDArray[Any] | None:
    """The values of a field for `shape`, flat, as `spread` takes them; None if the field cannot be meant for it."""
    size = math.prod(shape)
    if found.size in (1, size):
        return np.broadcast_to(found.ravel(), size)
    try:
        return np.broadcast_to(found, shape).ravel()
    except ValueError:
        pass
    if end := end_of_size(found.shape, size):
        copies = found.reshape(-1, *end)
        if (copies == copies[0]).all():
            first: npt.NDArray[Any] = copies[0]
            return first.ravel()
    return None


def end_of_size(shape: Shape, size: int) -> Shape | None:
    """The longest end of a shape that has `size` values. Tools put dimensions of batch and time before it."""
    return next((shape[k:] for k in range(len(shape)) if math.prod(shape[k:]) == size), None)


def without_leading(found: npt.NDArray[Any], ndim: int) -> npt.NDArray[Any]:
    """An array without the dimensions of length 1 that stand before its last `ndim`."""
    extra = found.ndim - ndim
    return found.reshape(found.shape[extra:]) if extra > 0 and set(found.shape[:extra]) == {1} else found


def whole_numbers(name: str, node: Any, field: str, length: int, least: int) -> tuple[int, ...]:
    """A field of `length` whole numbers from `least` to `MOST_VALUES`; a single number stands for all."""
    found = array(name, node, field).ravel()
    if len(found) == 1:
        found = np.repeat(found, length)
    if len(found) != length or (found != np.round(found)).any() or (found < least).any() or (found > MOST_VALUES).any():
        raise BadInput(
            f"node {name!r}: {field} is {found.tolist()[:4]}, expected {length} whole numbers of at least {least}"
        )
    return tuple(int(n) for n in found)


def declared_shape(name: str, types: Any, port: str) -> Shape | None:
    """The shape that `types`, a node's `input_type` or `output_type`, states for a port; None if it states none."""
    if types is None or (isinstance(types, Mapping) and types.get(port) is None):
        return None
    if not isinstance(types, Mapping):
        raise BadInput(f"node {name!r}: its {port} type is a {type(types).__name__}, expected a shape for {port!r}")
    return shape_of(name, types[port], "shape")


def shape_of(name: str, value: Any, what: str) -> Shape:
    """A shape that a node declares: each dimension at least 1, and at most `MOST_VALUES` values in all."""
    try:
        found = np.asarray(value).ravel()
    except ValueError:
        raise BadInput(f"node {name!r}: {what} has unequal rows, expected whole numbers of at least 1") from None
    if found.dtype.kind not in "iuf" or (found != np.floor(found)).any() or (found < 1).any() or not len(found):
        raise BadInput(f"node {name!r}: {what} is {found.tolist()!r:.60}, expected whole numbers of at least 1")
    if (size := math.prod(float(n) for n in found)) > MOST_VALUES:
        shown = ", ".join(f"{n:.9g}" for n in found[:4]) + (", ..." if len(found) > 4 else "")
        raise BadInput(f"node {name!r}: {what} [{shown}] has {size:.9g} values, expected at most {MOST_VALUES}")
    return tuple(int(n) for n in found)


def ticks(seconds: Doubles, dt_s: float) -> Doubles:
    """Times in ticks. A number within `TICK_TOLERANCE` of a whole number is made whole."""
    exact = seconds / dt_s
    whole = np.round(exact)
    return np.where(np.abs(exact - whole) <= TICK_TOLERANCE * np.maximum(whole, 1), whole, exact)
