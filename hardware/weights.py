"""The synapses between two populations as a matrix `[target, source]`, in one of three forms.

A dense matrix is a NumPy array. `Sparse` holds the entries that are not 0, source by source, as a chip's axons find
them. `Conv` holds a kernel that many targets share. It is only unrolled if an operation needs that. The functions here
work on all three forms. So no other code asks for the form of a matrix, unless the form is the point (its memory on a
chip, the loops of the simulator).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csc_array

from muspike.errors import BadInput

Array = npt.NDArray[Any]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Sparse:
    """A matrix by columns. The targets of source j are `targets[starts[j]:starts[j + 1]]`; `values` are cut alike.

    Args:
        starts: int64 `[sources + 1]`. It begins with 0 and never falls.
        targets: int32 `[synapses]`. Within a source, the numbers rise.
        values: the weights, `[synapses]`.
        shape: (number of targets, number of sources).
    """

    starts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]
    values: Array
    shape: Pair

    @classmethod
    def of(cls, matrix: Any) -> Sparse:
        """Make one from a dense array or any of SciPy's sparse arrays. Zeros are left out."""
        columns = csc_array(matrix)
        if columns is matrix:
            columns = columns.copy()
        columns.sum_duplicates()
        columns.eliminate_zeros()
        shape = (int(columns.shape[0]), int(columns.shape[1]))
        return cls(columns.indptr.astype(np.int64), columns.indices.astype(np.int32), columns.data, shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.values.dtype

    @functools.cached_property
    def sources(self) -> npt.NDArray[np.int64]:
        """The source of each synapse, `[synapses]`."""
        return np.repeat(np.arange(self.shape[1]), np.diff(self.starts))

    @functools.cached_property
    def columns(self) -> Any:
        """The same matrix as SciPy's `csc_array`."""
        return csc_array((self.values, self.targets, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution over two axes, as PyTorch's conv2d. For a convolution over one axis, the first axis is 1 long.

    A group has `g_in = c_in / groups` input channels and `g_out = c_out / groups` output channels. Then

        out[o, y, x] = sum over i, a, b of
            kernel[o, i, a, b] * in[o // g_out * g_in + i, y s_y - p_y + a d_y, x s_x - p_x + b d_x]

    Outside its borders, the input is 0. Neurons are counted channel by channel, row by row (C order).

    Args:
        kernel: `[c_out, c_in / groups, k_y, k_x]`.
        input_shape, output_shape: (channels, y, x).
        stride, dilation: (y, x).
        padding: (y, x), before the first row and column. The padding behind the last follows from `output_shape`.
        groups: the number of groups that the channels are divided into.
    """

    kernel: Array
    input_shape: tuple[int, int, int]
    output_shape: tuple[int, int, int]
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.kernel.dtype

    @property
    def shape(self) -> Pair:
        """(number of targets, number of sources)."""
        return math.prod(self.output_shape), math.prod(self.input_shape)

    def reached(self, axis: int, tap: int) -> tuple[slice, slice]:
        """Along one axis (0: y, 1: x), the outputs that hear an input through this tap, and these inputs."""
        length, out = self.input_shape[axis + 1], self.output_shape[axis + 1]
        stride, first = self.stride[axis], tap * self.dilation[axis] - self.padding[axis]
        begin = max(0, -(first // stride))  # the first output whose input is not before the border
        end = min(out, (length - 1 - first) // stride + 1)
        if begin >= end:
            return slice(0, 0), slice(0, 0)
        return slice(begin, end), slice(begin * stride + first, (end - 1) * stride + first + 1, stride)


Weights = Array | Sparse | Conv


def values(weights: Weights) -> Array:
    """The stored numbers: all of a dense matrix, the non-zero ones of a sparse matrix, the kernel of a convolution."""
    if isinstance(weights, Conv):
        return weights.kernel
    return weights.values if isinstance(weights, Sparse) else weights


def with_values(weights: Weights, numbers: Array) -> Weights:
    """The same matrix with other `values`. A sparse matrix drops the synapses that become 0."""
    if isinstance(weights, Conv):
        return replace(weights, kernel=numbers)
    if isinstance(weights, Sparse):
        stored = numbers != 0
        if stored.all():
            return replace(weights, values=numbers)
        starts = np.concatenate([[0], np.cumsum(stored)])[weights.starts]
        return Sparse(starts, weights.targets[stored], numbers[stored], weights.shape)
    return numbers


def astype(weights: Weights, dtype: npt.DTypeLike) -> Weights:
    """The same matrix with numbers of another type."""
    return with_values(weights, values(weights).astype(dtype))


def identity(size: int, dtype: npt.DTypeLike = np.float32) -> Sparse:
    """The identity matrix."""
    return Sparse(np.arange(size + 1), np.arange(size, dtype=np.int32), np.ones(size, dtype), (size, size))


def unrolled(weights: Weights) -> Sparse:
    """The same matrix as a sparse matrix. Every tap of a convolution is kept, zeros included."""
    if isinstance(weights, Sparse):
        return weights
    if not isinstance(weights, Conv):
        return Sparse.of(weights)
    rows, columns, taps = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, weights.dtype)]
    outputs = np.arange(weights.shape[0]).reshape(weights.output_shape)
    inputs = np.arange(weights.shape[1]).reshape(weights.input_shape)[_heard(weights)]  # [c_out, g_in, y, x]
    for a, b in np.ndindex(weights.kernel.shape[2:]):
        (y, from_y), (x, from_x) = weights.reached(0, a), weights.reached(1, b)
        target = outputs[:, None, y, x]  # [c_out, 1, y, x]
        source = inputs[:, :, from_y, from_x]  # [c_out, g_in, y, x]
        if source.size:
            rows.append(np.broadcast_to(target, source.shape).ravel())
            columns.append(source.ravel())
            taps.append(np.broadcast_to(weights.kernel[:, :, a, b, None, None], source.shape).ravel())
    row, column, value = np.concatenate(rows), np.concatenate(columns), np.concatenate(taps)
    order = np.lexsort((row, column))
    starts = np.concatenate([[0], np.cumsum(np.bincount(column, minlength=weights.shape[1]))])
    return Sparse(starts, row[order].astype(np.int32), value[order], weights.shape)


def dense(weights: Weights) -> Array:
    """The same matrix as a dense matrix."""
    return weights if isinstance(weights, np.ndarray) else np.asarray(unrolled(weights).columns.toarray())


def count(weights: Weights) -> int:
    """The number of synapses.

    A dense matrix has one in each place, a sparse matrix one for each stored number, a convolution one for each output
    and tap that lies inside the input.
    """
    if isinstance(weights, Conv):
        c_out, g_in = weights.kernel.shape[:2]
        taps = [
            sum(
                y.stop - y.start
                for y, _ in (weights.reached(axis, tap) for tap in range(weights.kernel.shape[2 + axis]))
            )
            for axis in (0, 1)
        ]
        return int(c_out * g_in * taps[0] * taps[1])
    return values(weights).size


def fan_out(weights: Weights) -> npt.NDArray[np.int64]:
    """The number of connections of each source neuron whose weight is not 0, `[source]`."""
    if isinstance(weights, Sparse):
        return np.bincount(weights.sources[weights.values != 0], minlength=weights.shape[1])
    if not isinstance(weights, Conv):
        return np.asarray(np.count_nonzero(weights, axis=0))
    per_group = weights.kernel.reshape(weights.groups, -1, *weights.kernel.shape[1:])
    taps = np.count_nonzero(per_group, axis=1).reshape(-1, *weights.kernel.shape[2:])  # [c_in, k_y, k_x]
    reached = np.zeros(weights.input_shape, np.int64)
    for a, b in np.ndindex(taps.shape[1:]):
        reached[:, weights.reached(0, a)[1], weights.reached(1, b)[1]] += taps[:, a, b, None, None]
    return reached.ravel()


def applied(weights: Weights, x: Array) -> Array:
    """The product of the matrix with each row of `x` `[batch, source]`: what reaches the targets `[batch, target]`."""
    if isinstance(weights, Sparse):
        return np.asarray((weights.columns @ x.T).T)
    if not isinstance(weights, Conv):
        return np.asarray(x @ weights.T)
    c_out, g_in = weights.kernel.shape[:2]
    maps = x.reshape(len(x), weights.groups, g_in, *weights.input_shape[1:])
    kernel = weights.kernel.reshape(weights.groups, c_out // weights.groups, g_in, *weights.kernel.shape[2:])
    out = np.zeros(
        (len(x), weights.groups, c_out // weights.groups, *weights.output_shape[1:]), np.result_type(x, kernel)
    )
    for a, b in np.ndindex(kernel.shape[3:]):
        (y, from_y), (x_, from_x) = weights.reached(0, a), weights.reached(1, b)
        part = maps[..., from_y, from_x]  # [batch, groups, g_in, y, x]
        flat = part.reshape(*part.shape[:3], -1)
        out[..., y, x_] += (kernel[..., a, b] @ flat).reshape(*out.shape[:3], *part.shape[3:])
    return out.reshape(len(x), -1)


def per_value(weights: Weights, of_target: Array) -> Array:
    """Spread one number per target, `of_target` `[target]`, to a shape that broadcasts to that of `values(weights)`.

    If the matrix is a convolution, all targets of a channel must have the same number: see `shared`.
    """
    if isinstance(weights, Conv):
        return of_target.reshape(weights.output_shape[0], -1)[:, :1, None, None]
    return of_target[weights.targets] if isinstance(weights, Sparse) else of_target[:, None]


def sum_of_targets(weights: Weights, numbers: Array) -> Array:
    """Add up `numbers`, shaped as `values(weights)`, for each target `[target]`.

    Of a convolution, each target gets the sum over its channel's kernel, taps beyond the border included.
    """
    if isinstance(weights, Conv):
        return np.repeat(numbers.sum(axis=(1, 2, 3)), math.prod(weights.output_shape[1:]))
    if isinstance(weights, Sparse):
        return np.bincount(weights.targets, numbers, weights.shape[0])
    return np.asarray(numbers.sum(axis=1))


def parts(weights: Weights, at_once: int) -> Iterator[tuple[slice, Weights]]:
    """The matrix in pieces, with the targets of each: a dense one some rows at a time, any other whole."""
    if not isinstance(weights, np.ndarray):
        yield slice(0, weights.shape[0]), weights
        return
    step = max(1, at_once // max(weights.shape[1], 1))
    for start in range(0, len(weights), step):
        yield slice(start, start + step), weights[start : start + step]


def shared(weights: Weights, of_target: Array) -> Weights:
    """The same matrix. A convolution is unrolled if targets of one channel differ in `of_target` `[target]`."""
    return weights if _has_channels_alike(weights, of_target, 0) else unrolled(weights)


def rows_scaled(weights: Weights, factor: Array) -> Weights:
    """Multiply each target's synapses with its `factor` `[target]`.

    A convolution stays a convolution if all targets of a channel have the same factor.
    """
    weights = shared(weights, factor)
    return with_values(weights, values(weights) * per_value(weights, factor))


def columns_scaled(weights: Weights, factor: Array) -> Weights:
    """Multiply each source's synapses with its `factor` `[source]`.

    A convolution stays a convolution if all sources of a channel have the same factor.
    """
    if isinstance(weights, Conv) and _has_channels_alike(weights, factor, 1):
        of_channel = factor.reshape(weights.input_shape[0], -1)[:, 0]
        return replace(weights, kernel=weights.kernel * of_channel[_heard(weights)][:, :, None, None])
    if isinstance(weights, Conv):
        weights = unrolled(weights)
    if isinstance(weights, Sparse):
        return with_values(weights, weights.values * factor[weights.sources])
    return weights * factor


def composed(outer: Weights, inner: Weights, most: float = math.inf) -> Weights:
    """The product `outer @ inner`: first `inner`, then `outer`.

    Two convolutions become one if that is exact. A convolution whose channels are scaled, before or after it, stays a
    convolution.

    Raises:
        BadInput: the product could have more than `most` weights.
    """
    if isinstance(outer, Conv) and isinstance(inner, Conv):
        together = _one_convolution(outer, inner, most)
        if together is not None:
            return together
    if (factor := diagonal(outer)) is not None and _has_channels_alike(inner, factor, 0):
        return rows_scaled(inner, factor)
    if (factor := diagonal(inner)) is not None and _has_channels_alike(outer, factor, 1):
        return columns_scaled(outer, factor)
    if max(count(outer), count(inner), bound := _most_in_product(outer, inner)) > most:
        raise BadInput(
            f"has up to {bound} weights once it is multiplied with what is before it, expected at most {most}"
        )
    left, right = (x if isinstance(x, np.ndarray) else unrolled(x).columns for x in (outer, inner))
    product = left @ right
    return product if isinstance(product, np.ndarray) else Sparse.of(product)


def _has_channels_alike(weights: Weights, factor: Array, end: int) -> bool:
    """Whether the targets (`end` 0) or sources (`end` 1) of a matrix can be scaled by `factor` without unrolling it."""
    if not isinstance(weights, Conv):
        return True
    channels = factor.reshape((weights.output_shape, weights.input_shape)[end][0], -1)
    return bool((channels == channels[:, :1]).all())


def diagonal(weights: Weights) -> Array | None:
    """The diagonal of a square sparse matrix that stores all of its diagonal and nothing else; None for any other."""
    if isinstance(weights, Sparse) and weights.shape[0] == weights.shape[1] == weights.values.size:
        one_to_one = np.arange(weights.values.size)
        if (weights.targets == one_to_one).all() and (weights.starts[:-1] == one_to_one).all():
            return weights.values
    return None


def _most_in_product(outer: Weights, inner: Weights) -> int:
    """An upper bound of the stored numbers in the product."""
    size = int(outer.shape[0] * inner.shape[1])
    if isinstance(outer, np.ndarray) or isinstance(inner, np.ndarray):
        return size
    if isinstance(inner, Conv):
        return min(size, count(outer) * math.prod(inner.kernel.shape[1:]))
    if isinstance(outer, Conv):
        return min(size, count(inner) * (len(outer.kernel) // outer.groups) * math.prod(outer.kernel.shape[2:]))
    return min(size, int(np.diff(outer.starts) @ np.bincount(inner.targets, minlength=inner.shape[0])))


def _one_convolution(outer: Conv, inner: Conv, most: float) -> Conv | None:
    """The product of two convolutions as one convolution, or None if that is not exact or too large.

    It is None in three cases: the border of the middle matters; the channels mix in two ways that no single number of
    groups describes; or the kernel would have more than `most` weights.
    """
    depthwise = [w.groups == w.input_shape[0] == w.output_shape[0] for w in (outer, inner)]
    if not any(depthwise) and (outer.groups, inner.groups) != (1, 1):
        return None
    if any(not _border_is_silent(outer, inner, axis) for axis in (0, 1)):
        return None
    axes = [_joined(outer, inner, axis) for axis in (0, 1)]
    stride, padding, dilation, size = ((y, x) for y, x in zip(*axes, strict=True))
    c_out, c_in = len(outer.kernel), inner.input_shape[0]
    if depthwise[1]:  # channel o hears the same channels as in `outer`
        groups, of_middle = outer.groups, _heard(outer)
    elif depthwise[0]:  # channel o hears what its one middle channel hears
        groups, of_middle = inner.groups, np.arange(c_out)[:, None]
    else:
        groups, of_middle = 1, None
    if c_out * (c_in // groups) * math.prod(size) > most:
        return None
    kernel = np.zeros((c_out, c_in // groups, *size), np.result_type(outer.kernel, inner.kernel))
    for a, b in np.ndindex(outer.kernel.shape[2:]):
        for c, e in np.ndindex(inner.kernel.shape[2:]):
            first, second = inner.kernel[:, :, c, e], outer.kernel[:, :, a, b]  # [middle, heard], [c_out, middle]
            taps = second @ first if of_middle is None else second * first[of_middle].reshape(c_out, -1)
            y, x = (
                (i * outer.dilation[axis] * inner.stride[axis] + j * inner.dilation[axis]) // dilation[axis]
                for axis, (i, j) in enumerate(((a, c), (b, e)))
            )
            kernel[:, :, y, x] += taps
    return Conv(kernel, inner.input_shape, outer.output_shape, stride, padding, dilation, groups)


def _heard(conv: Conv) -> npt.NDArray[np.int64]:
    """The input channels that each output channel hears, `[c_out, c_in / groups]`."""
    c_out, g_in = conv.kernel.shape[:2]
    heard: npt.NDArray[np.int64] = np.arange(c_out)[:, None] // (c_out // conv.groups) * g_in + np.arange(g_in)
    return heard


def _joined(outer: Conv, inner: Conv, axis: int) -> tuple[int, int, int, int]:
    """Stride, padding, dilation and kernel size of the joint convolution along one axis."""
    steps = (outer.dilation[axis] * inner.stride[axis], inner.dilation[axis])
    taps = (outer.kernel.shape[2 + axis], inner.kernel.shape[2 + axis])
    dilation = math.gcd(*(step for step, n in zip(steps, taps, strict=True) if n > 1)) or 1
    furthest = sum(step * (n - 1) for step, n in zip(steps, taps, strict=True))
    return (
        outer.stride[axis] * inner.stride[axis],
        outer.padding[axis] * inner.stride[axis] + inner.padding[axis],
        dilation,
        furthest // dilation + 1,
    )


def _border_is_silent(outer: Conv, inner: Conv, axis: int) -> bool:
    """Whether `inner`, if it computed beyond its output, would give 0 wherever `outer` reads beyond its input."""
    length, middle = inner.input_shape[axis + 1], inner.output_shape[axis + 1]
    first = -outer.padding[axis]
    last = (
        (outer.output_shape[axis + 1] - 1) * outer.stride[axis]
        + (outer.kernel.shape[2 + axis] - 1) * outer.dilation[axis]
        - outer.padding[axis]
    )
    reach = (inner.kernel.shape[2 + axis] - 1) * inner.dilation[axis]
    before = -inner.stride[axis] - inner.padding[axis] + reach  # the last input that place -1 of the middle would read
    behind = middle * inner.stride[axis] - inner.padding[axis]  # the first that the place after its end would read
    return (first >= 0 or before < 0) and (last < middle or behind >= length)
