"""The synapses between two populations as a matrix `[target, source]`, in one of three forms.

A dense matrix is a NumPy array. `Sparse` holds what is not 0, source by source, as a chip's axons find it. `Conv` holds
a kernel that many targets share, and is never unrolled unless what is asked of it needs that. The functions here work
on all three, so that nobody else asks which form a matrix has, except where the form is the point (its memory on a
chip, the loops of the simulator).
"""

from __future__ import annotations

import functools
import math
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
    """A matrix by columns: the synapses of source j are `targets[starts[j]:starts[j + 1]]`, with `values` alike.

    Args:
        starts: int64 `[sources + 1]`, from 0, never falling.
        targets: int32 `[synapses]`, rising within a source.
        values: `[synapses]`.
        shape: (targets, sources).
    """

    starts: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int32]
    values: Array
    shape: Pair

    @classmethod
    def of(cls, matrix: Any) -> Sparse:
        """From a dense array or any of SciPy's sparse arrays; what is 0 is left out."""
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
        """The same as SciPy's `csc_array`."""
        return csc_array((self.values, self.targets, self.starts), shape=self.shape)


@dataclass(frozen=True, eq=False)
class Conv:
    """A convolution over two dimensions, as PyTorch's conv2d; over one, the first of them is 1 long.

    With groups of `g_out = c_out / groups` and `g_in = c_in / groups` channels,

        out[o, y, x] = sum over i, a, b of
            kernel[o, i, a, b] * in[o // g_out * g_in + i, y s_y - p_y + a d_y, x s_x - p_x + b d_x]

    where what lies outside the input is 0. Neurons are counted channel by channel, row by row (C order).

    Args:
        kernel: `[c_out, c_in / groups, k_y, k_x]`.
        input_shape, output_shape: (channels, y, x).
        stride, padding, dilation: (y, x); the padding before the first row and column, that behind follows from
            `output_shape`.
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
        """(targets, sources)."""
        return math.prod(self.output_shape), math.prod(self.input_shape)

    def reached(self, axis: int, tap: int) -> tuple[slice, slice]:
        """Of one spatial axis (0: y, 1: x), the outputs that hear their input through a tap, and those inputs."""
        length, out = self.input_shape[axis + 1], self.output_shape[axis + 1]
        stride, first = self.stride[axis], tap * self.dilation[axis] - self.padding[axis]
        begin = max(0, -(first // stride))  # the least output with an input of at least 0
        end = min(out, (length - 1 - first) // stride + 1)
        if begin >= end:
            return slice(0, 0), slice(0, 0)
        return slice(begin, end), slice(begin * stride + first, (end - 1) * stride + first + 1, stride)


Weights = Array | Sparse | Conv


def values(weights: Weights) -> Array:
    """The numbers that are stored: all of a dense matrix, those of a sparse one that are not 0, a kernel."""
    if isinstance(weights, Conv):
        return weights.kernel
    return weights.values if isinstance(weights, Sparse) else weights


def with_values(weights: Weights, numbers: Array) -> Weights:
    """The same synapses with other `values`; of a sparse matrix, those that are 0 now are gone."""
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
    """With numbers of another type."""
    return with_values(weights, values(weights).astype(dtype))


def identity(size: int, dtype: npt.DTypeLike = np.float32) -> Sparse:
    """One to one."""
    return Sparse(np.arange(size + 1), np.arange(size, dtype=np.int32), np.ones(size, dtype), (size, size))


def unrolled(weights: Weights) -> Sparse:
    """As a sparse matrix; of a convolution every tap is kept, zeros too."""
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
    """As a dense matrix."""
    return weights if isinstance(weights, np.ndarray) else np.asarray(unrolled(weights).columns.toarray())


def count(weights: Weights) -> int:
    """Synapses: of a dense matrix all, of a sparse one the stored ones, of a convolution every tap inside the input."""
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


def applied(weights: Weights, x: Array) -> Array:
    """What reaches the targets, `[batch, target]`, of `x` `[batch, source]`."""
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
    """What each target has, `[target]`, for each of `values(weights)`, or broadcast to it.

    The channels of a convolution must have one each: see `shared`.
    """
    if isinstance(weights, Conv):
        return of_target.reshape(weights.output_shape[0], -1)[:, :1, None, None]
    return of_target[weights.targets] if isinstance(weights, Sparse) else of_target[:, None]


def shared(weights: Weights, of_target: Array) -> Weights:
    """The same matrix; a convolution only if all targets of a channel have the same, else unrolled."""
    return weights if _has_channels_alike(weights, of_target, 0) else unrolled(weights)


def rows_scaled(weights: Weights, factor: Array) -> Weights:
    """Each target's synapses times its factor `[target]`; a convolution stays one if its channels have one each."""
    weights = shared(weights, factor)
    return with_values(weights, values(weights) * per_value(weights, factor))


def columns_scaled(weights: Weights, factor: Array) -> Weights:
    """Each source's synapses times its factor `[source]`; a convolution stays one if its channels have one each."""
    if isinstance(weights, Conv) and _has_channels_alike(weights, factor, 1):
        of_channel = factor.reshape(weights.input_shape[0], -1)[:, 0]
        return replace(weights, kernel=weights.kernel * of_channel[_heard(weights)][:, :, None, None])
    if isinstance(weights, Conv):
        weights = unrolled(weights)
    if isinstance(weights, Sparse):
        return with_values(weights, weights.values * factor[weights.sources])
    return weights * factor


def composed(outer: Weights, inner: Weights, most: float = math.inf) -> Weights:
    """The matrix of `inner`, and then `outer`; of two convolutions one, where that is the same.

    A convolution whose channels are scaled, before or behind, stays one.

    Raises:
        BadInput: it could have more than `most` weights.
    """
    if isinstance(outer, Conv) and isinstance(inner, Conv):
        together = _one_convolution(outer, inner, most)
        if together is not None:
            return together
    if (factor := _diagonal(outer)) is not None and _has_channels_alike(inner, factor, 0):
        return rows_scaled(inner, factor)
    if (factor := _diagonal(inner)) is not None and _has_channels_alike(outer, factor, 1):
        return columns_scaled(outer, factor)
    if max(count(outer), count(inner), bound := _most_in_product(outer, inner)) > most:
        raise BadInput(
            f"has up to {bound} weights once it is multiplied with what is before it, expected at most {most}"
        )
    left, right = (x if isinstance(x, np.ndarray) else unrolled(x).columns for x in (outer, inner))
    product = left @ right
    return product if isinstance(product, np.ndarray) else Sparse.of(product)


def _has_channels_alike(weights: Weights, factor: Array, end: int) -> bool:
    """Whether scaling the targets (0) or sources (1) of a matrix needs no unrolling."""
    if not isinstance(weights, Conv):
        return True
    channels = factor.reshape((weights.output_shape, weights.input_shape)[end][0], -1)
    return bool((channels == channels[:, :1]).all())


def _diagonal(weights: Weights) -> Array | None:
    """The diagonal, of a matrix that is nothing else and holds all of it."""
    if isinstance(weights, Sparse) and weights.shape[0] == weights.shape[1] == weights.values.size:
        one_to_one = np.arange(weights.values.size)
        if (weights.targets == one_to_one).all() and (weights.starts[:-1] == one_to_one).all():
            return weights.values
    return None


def _most_in_product(outer: Weights, inner: Weights) -> int:
    size = int(outer.shape[0] * inner.shape[1])
    if isinstance(outer, np.ndarray) or isinstance(inner, np.ndarray):
        return size
    if isinstance(inner, Conv):
        return min(size, count(outer) * math.prod(inner.kernel.shape[1:]))
    if isinstance(outer, Conv):
        return min(size, count(inner) * (len(outer.kernel) // outer.groups) * math.prod(outer.kernel.shape[2:]))
    return min(size, int(np.diff(outer.starts) @ np.bincount(inner.targets, minlength=inner.shape[0])))


def _one_convolution(outer: Conv, inner: Conv, most: float) -> Conv | None:
    """None where the middle's border matters, its channels mix in two ways that no one set of groups describes, or the
    kernel would have more than `most` weights."""
    depthwise = [w.groups == w.input_shape[0] == w.output_shape[0] for w in (outer, inner)]
    if not any(depthwise) and (outer.groups, inner.groups) != (1, 1):
        return None
    if any(not _border_is_silent(outer, inner, axis) for axis in (0, 1)):
        return None
    axes = [_joined(outer, inner, axis) for axis in (0, 1)]
    stride, padding, dilation, size = ((y, x) for y, x in zip(*axes, strict=True))
    c_out, c_in = len(outer.kernel), inner.input_shape[0]
    if depthwise[1]:  # channel o hears what it hears now
        groups, of_middle = outer.groups, _heard(outer)
    elif depthwise[0]:  # channel o hears what its one channel of the middle hears
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
    """Stride, padding, dilation and size of the one convolution, along one axis."""
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
    """Whether what `outer` reads beyond its input is 0 also when `inner` goes on computing there."""
    length, middle = inner.input_shape[axis + 1], inner.output_shape[axis + 1]
    first = -outer.padding[axis]
    last = (
        (outer.output_shape[axis + 1] - 1) * outer.stride[axis]
        + (outer.kernel.shape[2 + axis] - 1) * outer.dilation[axis]
        - outer.padding[axis]
    )
    reach = (inner.kernel.shape[2 + axis] - 1) * inner.dilation[axis]
    before = -inner.stride[axis] - inner.padding[axis] + reach  # the last input that the middle's -1 would read
    behind = middle * inner.stride[axis] - inner.padding[axis]  # the first that the one after its end would
    return (first >= 0 or before < 0) and (last < middle or behind >= length)
