"""Every form of a matrix against the dense matrix that it stands for, and convolutions against PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware import weights as w
from muspike.hardware.weights import Array, Conv, Sparse, Weights


def pair(draw: st.DrawFn, low: int, high: int) -> tuple[int, int]:
    return draw(st.integers(low, high)), draw(st.integers(low, high))


@st.composite
def convolutions(draw: st.DrawFn, input_shape: tuple[int, int, int] | None = None) -> Conv:
    c_in, y, x = input_shape or (draw(st.sampled_from([1, 2, 4])), *pair(draw, 1, 8))
    groups = draw(st.sampled_from([g for g in (1, 2, 4, c_in) if c_in % g == 0]))
    c_out = groups * draw(st.integers(1, 3))
    kernel, stride, padding, dilation = pair(draw, 1, 3), pair(draw, 1, 3), pair(draw, 0, 2), pair(draw, 1, 2)
    sizes = zip((y, x), kernel, stride, padding, dilation, strict=True)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]
    # What does not fit without padding gets as much as it needs.
    if min(out) < 1:
        kernel, dilation = (1, 1), (1, 1)
        out = [(n + 2 * p - 1) // s + 1 for n, s, p in zip((y, x), stride, padding, strict=True)]
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-9, 10, (c_out, c_in // groups, *kernel))
    return Conv(numbers.astype(float), (c_in, y, x), (c_out, out[0], out[1]), stride, padding, dilation, groups)


@st.composite
def matrices(draw: st.DrawFn, shape: tuple[int, int]) -> Weights:
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1))).integers(-2, 3, shape).astype(float)
    return numbers if draw(st.booleans()) else Sparse.of(numbers)


@st.composite
def any_form(draw: st.DrawFn) -> Weights:
    if draw(st.booleans()):
        return draw(convolutions())
    return draw(matrices(pair(draw, 1, 6)))


def by_torch(conv: Conv, x: Array) -> Array:
    images = torch.tensor(x).reshape(len(x), *conv.input_shape)
    settings: dict[str, Any] = {name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups")}
    return np.asarray(torch.nn.functional.conv2d(images, torch.tensor(conv.kernel), **settings).reshape(len(x), -1))


def inputs(weights: Weights, batch: int = 3) -> Array:
    return np.random.default_rng(0).integers(-3, 4, (batch, weights.shape[1])).astype(float)


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_a_convolution_is_that_of_torch(conv: Conv) -> None:
    x = inputs(conv)
    expected = by_torch(conv, x)
    np.testing.assert_array_equal(w.applied(conv, x), expected)
    np.testing.assert_array_equal(x @ w.dense(conv).T, expected)
    flat = w.unrolled(conv)
    assert w.count(conv) == len(flat.values) == w.count(flat)


@settings(max_examples=100, deadline=None)
@given(any_form(), st.integers(0, 2**32 - 1))
def test_every_form_does_what_its_dense_matrix_does(weights: Weights, seed: int) -> None:
    rng = np.random.default_rng(seed)
    dense, x = w.dense(weights), inputs(weights)
    assert dense.shape == weights.shape
    np.testing.assert_array_equal(w.applied(weights, x), x @ dense.T)
    of_target, of_source = (rng.integers(-2, 3, n).astype(float) for n in weights.shape)
    np.testing.assert_array_equal(w.dense(w.rows_scaled(weights, of_target)), of_target[:, None] * dense)
    np.testing.assert_array_equal(w.dense(w.columns_scaled(weights, of_source)), of_source * dense)
    np.testing.assert_array_equal(w.dense(w.astype(weights, np.int16)), dense.astype(np.int16))
    np.testing.assert_array_equal(w.dense(w.unrolled(weights)), dense)
    np.testing.assert_array_equal(w.fan_out(weights), (dense != 0).sum(0))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_composed_is_the_product(data: st.DataObject) -> None:
    inner = data.draw(any_form())
    middle = inner.output_shape if isinstance(inner, Conv) else None
    outer: Weights
    if middle is not None and data.draw(st.booleans()):
        outer = data.draw(convolutions(middle))
    else:
        outer = data.draw(matrices((data.draw(st.integers(1, 5)), inner.shape[0])))
    product = w.composed(outer, inner)
    np.testing.assert_array_equal(w.dense(product), w.dense(outer) @ w.dense(inner))


def test_products_beyond_a_bound_are_refused() -> None:
    column, row = np.ones((5, 1)), Sparse.of(np.ones((1, 7)))
    conv = Conv(np.ones((2, 1, 3, 3)), (1, 6, 6), (2, 4, 4))
    assert w.composed(column, row, 35).shape == (5, 7)
    for outer, inner, most in (
        (column, row, 34),
        (np.ones((1, 32)), conv, 35),
        (conv, Sparse.of(np.ones((36, 2))), 63),
    ):
        with pytest.raises(BadInput, match=f"weights once it is multiplied with what is before it, .* {most}"):
            w.composed(outer, inner, most)


def channels(conv: Conv, factors: Sequence[float]) -> Array:
    return np.repeat(factors, math.prod(conv.output_shape[1:]))


def test_a_convolution_stays_one_where_its_channels_are_alike() -> None:
    conv = Conv(np.ones((2, 3, 2, 2)), (3, 4, 4), (2, 3, 3))
    before, behind = (w.rows_scaled(w.identity(n), 2.0 * np.ones(n)) for n in (48, 18))
    for product in (w.composed(conv, before), w.composed(behind, conv)):
        assert isinstance(product, Conv)
        np.testing.assert_array_equal(product.kernel, 2 * conv.kernel)
    uneven = w.rows_scaled(w.identity(48), 1.0 + np.arange(48))
    product = w.composed(conv, uneven)
    assert isinstance(product, Sparse)
    np.testing.assert_array_equal(w.dense(product), w.dense(conv) * (1.0 + np.arange(48)))
    assert isinstance(w.rows_scaled(conv, channels(conv, [2.0, 3.0])), Conv)
    assert isinstance(w.rows_scaled(conv, np.arange(18.0)), Sparse)
    assert isinstance(w.columns_scaled(conv, np.repeat([1.0, 2.0, 3.0], 16)), Conv)
    assert isinstance(w.columns_scaled(conv, np.arange(48.0)), Sparse)


@pytest.mark.parametrize(("size", "padding", "stays"), [(8, 1, True), (9, 0, True), (9, 1, False)])
def test_a_pool_before_a_convolution_is_one_convolution_unless_its_border_shows(
    size: int, padding: int, stays: bool
) -> None:
    """At 9 the pool drops the last row; a padded convolution would read zeros there, one convolution the row."""
    half = size // 2
    before = Conv(np.ones((2, 1, 2, 2)), (2, size, size), (2, half, half), (2, 2), groups=2)
    n = half + 2 * padding - 2
    after = Conv(np.arange(54.0).reshape(3, 2, 3, 3), (2, half, half), (3, n, n), padding=(padding, padding))
    product = w.composed(after, before)
    assert isinstance(product, Conv) == stays
    np.testing.assert_array_equal(w.dense(product), w.dense(after) @ w.dense(before))


def test_sparse_has_no_zeros_and_sorted_targets() -> None:
    matrix = np.array([[0.0, 2.0], [3.0, 0.0], [1.0, 4.0]])
    found = Sparse.of(matrix)
    assert found.starts.tolist() == [0, 2, 4] and found.targets.tolist() == [1, 2, 0, 2]
    assert found.values.tolist() == [3, 1, 2, 4] and found.sources.tolist() == [0, 0, 1, 1]
    fewer = w.with_values(found, np.array([3.0, 0.0, 2.0, 0.0]))
    assert isinstance(fewer, Sparse)
    assert fewer.starts.tolist() == [0, 1, 2] and fewer.targets.tolist() == [1, 0]
