"""NIR's connections: the primitives that are linear in the spikes, and whose only memory is a delay.

The docstring of each reader shows the equation of its primitive. x is what reaches the node, `[given.shape]`, in units
of weights times spikes; y is what leaves it, `[step.shape]`, in the same units. Values are counted in C order.

Shapes are worked out here, not taken from nir: nir infers wrong shapes if kernels are not square or channels are
grouped. Convolutions are PyTorch's (cross-correlations). Pools drop the rows and columns that do not fill a window, and
an average counts the zeros of the padding, as PyTorch's does by default.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.reader import node as nir_node
from muspike.hardware.reader.node import Doubles, Shape
from muspike.hardware.weights import Conv, Pair, Weights, identity, rows_scaled

Singles = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Given:
    """What reaches a node.

    Attributes:
        shape: how the values are arranged.
        by: the node that gives them, for error messages; None: the messages name no node.
    """

    shape: Shape
    by: str | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def fits(self, name: str, size: int) -> None:
        """Raise BadInput if this is not `size` values, the number that the node `name` takes."""
        if size != self.size:
            before = f"{self.by!r} gives {self.size}" if self.by else f"it is given {self.size}"
            raise BadInput(f"node {name!r}: takes {size} values, but {before}")


@dataclass(frozen=True)
class Step:
    """What a node does to x: y(t) = weights @ x(t - delays) + bias.

    Attributes:
        shape: how the values of y are arranged.
        weights: `[values of y, values of x]`; None: y has the values of x.
        delays: int64 `[values of x]`, in ticks; None: no delay. A node has either weights or delays.
        bias: float64 `[values of y]`, added in every tick; None: 0.
    """

    shape: Shape
    weights: Weights | None = None
    delays: npt.NDArray[np.int64] | None = None
    bias: Doubles | None = None


def _linear(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Linear:

        y = W x

    x: any shape of n_in values.
    W: `weight`, `[n_out, n_in]`.
    y: `[n_out]`.
    """
    weight = nir_node.without_leading(nir_node.array(name, node, "weight"), 2)
    if weight.ndim != 2:
        raise BadInput(f"node {name!r}: weight has shape {list(weight.shape)}, expected [output, input]")
    given.fits(name, weight.shape[1])
    return Step((len(weight),), _as_float(weight))


def _as_float(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A float32 array unchanged, any other as float64."""
    return weight if weight.dtype == np.float32 else weight.astype(np.float64)


def _affine(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Affine:

        y = W x + b

    x, W, y: see `_linear`.
    b: `bias`, `[n_out]` or a single number, in units of y; added in every tick.
    """
    step = _linear(name, node, given, dt_s)
    return Step(step.shape, step.weights, bias=nir_node.spread(name, node, "bias", step.shape))


def _scale(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Scale, value by value:

        y[i] = s[i] x[i]

    x, y: the same shape.
    s: `scale`, in that shape or broadcast to it.
    """
    scale = _spread_over(name, node, "scale", given)
    dtype = np.float32 if np.asarray(node.scale).dtype == np.float32 else np.float64
    return Step(given.shape, rows_scaled(identity(given.size, dtype), scale.astype(dtype)))


def _delay(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Delay, value by value:

        y[i](t) = x[i](t - tau[i])

    x, y: the same shape.
    tau: `delay`, in that shape or broadcast to it, in s. It is at least 0 and a whole number of ticks of `dt_s`.
    """
    seconds = _spread_over(name, node, "delay", given)
    if (seconds < 0).any():
        raise BadInput(f"node {name!r}: delay holds {seconds.min():g} s, expected at least 0")
    ticks = nir_node.ticks(seconds, dt_s)
    if (broken := ticks != np.round(ticks)).any():
        raise BadInput(
            f"node {name!r}: delay holds {seconds[broken][0]:g} s, which is {ticks[broken][0]:.6g} ticks "
            f"of {dt_s:g} s; expected a whole number of ticks"
        )
    if (ticks > nir_node.MOST_VALUES).any():
        raise BadInput(
            f"node {name!r}: delay holds {seconds.max():g} s, which is {ticks.max():g} ticks; no chip waits that long"
        )
    return Step(given.shape, delays=ticks.astype(np.int64))


def _spread_over(name: str, node: Any, field: str, given: Given) -> Doubles:
    """The values of a field, spread over what is given."""
    if not nir_node.spreads(name, node, field, given.shape):
        given.fits(name, nir_node.array(name, node, field).size)
    return nir_node.spread(name, node, field, given.shape)


def _same(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Port, an end of a nested graph:

        y = x

    x, y: the same shape.
    """
    return Step(given.shape)


def _flatten(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Flatten:

        y = x, with the dimensions start_dim to end_dim of its shape merged into one

    start_dim, end_dim: the first and the last merged dimension; negative numbers count from the end.
    """
    dims = len(given.shape)
    (first,), (last,) = (nir_node.whole_numbers(name, node, field, 1, -dims) for field in ("start_dim", "end_dim"))
    first, last = (n + dims if n < 0 else n for n in (first, last))
    # Some tools count a dimension of the batch, others do not. In both cases the order of the values stays the same.
    first, last = min(first, dims - 1), min(max(first, last), dims - 1)
    return Step((*given.shape[:first], math.prod(given.shape[first : last + 1]), *given.shape[last + 1 :]))


def _conv2d(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Conv2d, a convolution over two axes as PyTorch's conv2d (a cross-correlation):

        y[o, i, j] = b[o] + sum over c, m, n of W[o, c, m, n] x[g(o) + c, i s_h - p_h + m d_h, j s_w - p_w + n d_w]

    x outside its borders is 0. g(o) = floor(o / (c_out / groups)) (c_in / groups) is the first channel that output
    channel o hears.

    x: `[c_in, h, w]`; `input_shape` states (h, w) if the signal is flat.
    W: `weight`, `[c_out, c_in / groups, k_h, k_w]`.
    b: `bias`, `[c_out]`, a single number, or None (0), in units of y; added in every tick.
    s, p, d: `stride`, `padding`, `dilation`, whole numbers (along h, along w), or one for both. The padding is on both
        sides. It can also be `valid` (none) or `same` (stride 1 only; of an odd padding, the larger half is behind).
    groups: the number of groups that the channels are divided into.
    y: `[c_out, h_out, w_out]`, where h_out = floor((h + 2 p_h - d_h (k_h - 1) - 1) / s_h) + 1, and w_out alike.
    """
    return _convolution(name, node, given, 2)


def _conv1d(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """Conv1d, a convolution over one axis:

        y[o, j] = b[o] + sum over c, n of W[o, c, n] x[g(o) + c, j s - p + n d]

    x: `[c_in, w]`.
    W: `weight`, `[c_out, c_in / groups, k]`.
    y: `[c_out, w_out]`.
    g(o), b, s, p, d, groups: see `_conv2d`, with one number instead of two.
    """
    return _convolution(name, node, given, 1)


def _convolution(name: str, node: Any, given: Given, dims: int) -> Step:
    kernel = nir_node.without_leading(nir_node.array(name, node, "weight"), dims + 2)
    if kernel.ndim != dims + 2 or 0 in kernel.shape:
        raise BadInput(
            f"node {name!r}: weight has shape {list(kernel.shape)}, expected [c_out, c_in / groups, "
            f"{'k_y, k_x' if dims == 2 else 'k'}]"
        )
    kernel = _as_float(kernel)
    (groups,) = nir_node.whole_numbers(name, node, "groups", 1, 1)
    c_out, c_in = kernel.shape[0], kernel.shape[1] * groups
    if c_out % groups:
        raise BadInput(f"node {name!r}: {c_out} channels do not divide into {groups} groups")
    shape = _maps(name, node, given, c_in, dims)
    stride = nir_node.whole_numbers(name, node, "stride", dims, 1)
    dilation = nir_node.whole_numbers(name, node, "dilation", dims, 1)
    reach = [d * (k - 1) for d, k in zip(dilation, kernel.shape[2:], strict=True)]
    before, whole = _padding(name, node, reach, stride)
    out = [(n + pad - r - 1) // s + 1 for n, pad, r, s in zip(shape[1:], whole, reach, stride, strict=True)]
    _check_output(name, shape, c_out, out)
    lift = (1,) * (2 - dims)  # a convolution over one axis is one over two, of which the first is 1 long
    conv = Conv(
        kernel.reshape(*kernel.shape[:2], *lift, *kernel.shape[2:]),
        _maps_of(c_in, lift, shape[1:]),
        _maps_of(c_out, lift, out),
        _pair(lift, stride),
        _pair((0,) * len(lift), before),
        _pair(lift, dilation),
        groups,
    )
    bias = np.zeros(c_out) if node.bias is None else nir_node.spread(name, node, "bias", (c_out,))
    return Step((c_out, *out), conv, bias=np.repeat(bias, math.prod(out)))


def _maps_of(channels: int, lift: Shape, spatial: Sequence[int]) -> tuple[int, int, int]:
    y, x = (*lift, *spatial)
    return channels, y, x


def _pair(lift: Shape, numbers: Shape) -> Pair:
    y, x = (*lift, *numbers)
    return y, x


def _maps(name: str, node: Any, given: Given, channels: int, dims: int) -> Shape:
    """The shape (channels, ...) that a convolution reads: the given one; for a flat signal, the one the node states."""
    declared = None
    if getattr(node, "input_shape", None) is not None:
        stated = nir_node.array(name, node, "input_shape").ravel()  # some tools put channels and batch before it
        declared = (channels, *nir_node.whole_numbers(name, node, "input_shape", max(dims, len(stated)), 1)[-dims:])
    # Leading dimensions of 1 do not count: tools put one there for the batch.
    for shape in (given.shape[-dims - 1 :], declared):
        if shape is not None and len(shape) == dims + 1 and shape[0] == channels and math.prod(shape) == given.size:
            if declared is not None and shape != declared:
                raise BadInput(
                    f"node {name!r}: input_shape is {list(declared[1:])}, but it is given {list(given.shape)}"
                )
            return shape
    wanted = f"[{channels}, {'y, x' if dims == 2 else 'x'}]" if declared is None else str(list(declared))
    before = f"{given.by!r} gives" if given.by else "it is given"
    raise BadInput(f"node {name!r}: takes {wanted}, but {before} {list(given.shape)}")


def _padding(name: str, node: Any, reach: list[int], stride: Shape) -> tuple[Shape, Shape]:
    """For each axis: the number of zeros before the input, and the number of zeros before and behind it."""
    text = node.padding.decode() if isinstance(node.padding, bytes) else node.padding
    if isinstance(text, np.ndarray) and text.dtype.kind in "SUO" and text.size == 1:
        text = text.astype(str).item()
    if not isinstance(text, str):
        before = nir_node.whole_numbers(name, node, "padding", len(reach), 0)
        return before, tuple(2 * n for n in before)
    if text == "valid":
        return (0,) * len(reach), (0,) * len(reach)
    if text != "same" or set(stride) != {1}:
        raise BadInput(
            f"node {name!r}: padding is {text!r} at stride {list(stride)}; expected whole numbers, 'valid', or 'same' "
            "at stride 1"
        )
    return tuple(n // 2 for n in reach), tuple(reach)


def _check_output(name: str, shape: Shape, channels: int, out: list[int]) -> None:
    if min(out) < 1:
        raise BadInput(f"node {name!r}: its kernel does not fit {list(shape)}, not even with its padding")
    if (size := channels * math.prod(out)) > nir_node.MOST_VALUES:
        raise BadInput(
            f"node {name!r}: gives {[channels, *out]}, {size} values, expected at most {nir_node.MOST_VALUES}"
        )


def _sum_pool(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """SumPool2d:

        y[c, i, j] = sum over m < k_h, n < k_w of x[c, i s_h - p_h + m, j s_w - p_w + n]

    x outside its borders is 0.

    x: `[channels, h, w]`.
    k, s, p: `kernel_size`, `stride`, `padding`, whole numbers (along h, along w), or one for both. The padding is on
        both sides.
    y: `[channels, h_out, w_out]`, where h_out = floor((h + 2 p_h - k_h) / s_h) + 1, and w_out alike.
    """
    return _pool(name, node, given, lambda channels, kernel: np.ones((channels, 1, *kernel), np.float32))


def _average_pool(name: str, node: Any, given: Given, dt_s: float) -> Step:
    """AvgPool2d:

        y[c, i, j] = 1 / (k_h k_w) sum over m < k_h, n < k_w of x[c, i s_h - p_h + m, j s_w - p_w + n]

    x, y, k, s, p: see `_sum_pool`. The zeros of the padding count in the average.
    """
    return _pool(name, node, given, lambda channels, kernel: np.full((channels, 1, *kernel), 1 / math.prod(kernel)))


def _pool(name: str, node: Any, given: Given, weight: Callable[[int, Shape], Doubles | Singles]) -> Step:
    shape = given.shape[-3:]
    if len(shape) != 3 or math.prod(shape) != given.size:
        before = f"{given.by!r} gives" if given.by else "it is given"
        raise BadInput(f"node {name!r}: takes [channels, y, x], but {before} {list(given.shape)}")
    kernel, stride = (nir_node.whole_numbers(name, node, field, 2, 1) for field in ("kernel_size", "stride"))
    padding = nir_node.whole_numbers(name, node, "padding", 2, 0)
    channels = shape[0]
    sizes = zip(shape[1:], kernel, stride, padding, strict=True)
    out = [(n + 2 * p - k) // s + 1 for n, k, s, p in sizes]
    _check_output(name, shape, channels, out)
    conv = Conv(
        weight(channels, kernel),
        _maps_of(channels, (), shape[1:]),
        _maps_of(channels, (), out),
        _pair((), stride),
        _pair((), padding),
        groups=channels,
    )
    return Step((channels, *out), conv)


class Port(nir.NIRNode):  # type: ignore[misc]
    """The place where a nested graph began or ended, after the nested graph has been taken apart."""

    def __init__(self) -> None:
        pass


CONNECTIONS: dict[type, Callable[[str, Any, Given, float], Step]] = {
    nir.Linear: _linear,
    nir.Affine: _affine,
    nir.Conv1d: _conv1d,
    nir.Conv2d: _conv2d,
    nir.SumPool2d: _sum_pool,
    nir.AvgPool2d: _average_pool,
    nir.Scale: _scale,
    nir.Delay: _delay,
    nir.Flatten: _flatten,
    Port: _same,
}
"""The reader of each type of node. It takes the node's name, the node, what reaches the node, and the seconds per tick.

It raises BadInput, with the node's name, if a parameter makes no sense or does not fit what reaches the node.
"""
