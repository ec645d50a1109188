"""What the builders of ONNX graphs share: adding nodes and constants, matrix products in every form, files and checks.

The `onnx` package is optional (`pip install 'muspike[onnx]'`).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.weights import Conv, Weights, dense, diagonal

try:
    import onnx
    from onnx import TensorProto, helper, numpy_helper
except ImportError as error:
    raise BadInput(
        f"ONNX needs the package onnx, which is not installed ({error}): pip install 'muspike[onnx]'"
    ) from None

Array = npt.NDArray[Any]

OPSET, IR = 18, 10
"""The operator set and the version of the file format that are written. ONNX Runtime reads them from 1.18 on."""
CLOCK = "clock"
"""The input of a network without inputs. It has no axons, and tells how long the network runs."""
KEY, FORMAT, VERSION = "muspike", "muspike onnx", 1
LARGEST_BYTES = 2**31 - 2**20  # a protobuf ends at 2 GiB
TYPES: Mapping[str, int] = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "uint16": TensorProto.UINT16,
    "bool": TensorProto.BOOL,
}


class Builder:
    """A graph in the making. Every method that adds a node returns the name of its output.

    A body (of a Scan) is a builder of its own, whose constants lie in the outer graph: `Builder(outer)`.
    """

    def __init__(self, outer: Builder | None = None) -> None:
        self.nodes: list[Any] = []
        self.outer = outer
        self.initializers: list[Any] = [] if outer is None else outer.initializers
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {} if outer is None else outer._constants
        self._names: dict[str, int] = {} if outer is None else outer._names
        self._widened: dict[tuple[str, str], str] = {}

    def reserve(self, names: Iterable[str]) -> None:
        """Keep names of inputs and outputs from the nodes.

        Raises:
            BadInput: two are the same.
        """
        for name in names:
            if name in self._names:
                raise BadInput(f"{name!r}: two tensors of the ONNX graph would have this name; rename the population")
            self._names[name] = 1

    def named(self, name: str) -> str:
        """`name`, or, if that is taken, `name` with a number."""
        count = self._names.get(name, 0)
        self._names[name] = count + 1
        return f"{name}_{count}" if count else name

    def add(self, op: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node with one output."""
        output = self.named(name or op.lower())
        self.nodes.append(helper.make_node(op, list(inputs), [output], name=output, **attributes))
        return output

    def called(self, name: str, value: str) -> None:
        """Give `value` the name of an output of the graph."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"to {name}"))

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike, name: str = "c") -> str:
        """A constant. Equal ones are stored once."""
        array = np.ascontiguousarray(np.asarray(value, dtype))
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self._constants:
            self._constants[key] = self.named(name)
            self.initializers.append(numpy_helper.from_array(array, self._constants[key]))
        return self._constants[key]

    def cast(self, value: str, dtype: str) -> str:
        """Cast to a type by NumPy's name."""
        return self.add("Cast", value, to=TYPES[dtype])

    def widened(self, constant: str, dtype: str) -> str:
        """A constant in another type, cast once: in the outer graph, so that no body does it at every step."""
        root = self.outer or self
        if (constant, dtype) not in root._widened:
            root._widened[constant, dtype] = root.cast(constant, dtype)
        return root._widened[constant, dtype]

    def slots(self, value: str, picked: Sequence[int], name: str) -> str:
        """The parts `picked` of a tensor along its first axis: a slice where they follow each other, else a gather."""
        first, count = picked[0], len(picked)
        if list(picked) == list(range(first, first + count)):
            ends = (self.constant([n], np.int64) for n in (first, first + count, 0))
            return self.add("Slice", value, *ends, name=name)
        return self.add("Gather", value, self.constant(picked, np.int64), axis=0, name=name)

    def product(self, spikes: str, weight: Weights, name: str, kind: Product) -> str:
        """What spikes `[..., source]` bring through `weight` `[target, source]`: `[..., target]`.

        A diagonal becomes a Mul. A convolution becomes a Gather of the inputs of each output and a product with its
        kernel. Everything else becomes a product with a dense matrix.

        Raises:
            BadInput: the matrix takes more than an ONNX file can hold.
        """
        if isinstance(weight, Conv):
            return self._convolved(spikes, weight, name, kind)
        one_to_one = diagonal(weight)
        if one_to_one is not None:
            return kind.scaled(self, spikes, one_to_one, name)
        if weight.shape[0] * weight.shape[1] * 4 > LARGEST_BYTES:
            raise BadInput(
                f"synapses {name!r}: as a dense matrix, {weight.shape[0]:,} x {weight.shape[1]:,} weights have more "
                f"than {LARGEST_BYTES:,} bytes, the most that an ONNX file holds"
            )
        return kind.multiplied(self, spikes, np.ascontiguousarray(dense(weight).T), name)

    def _convolved(self, spikes: str, conv: Conv, name: str, kind: Product) -> str:
        taps, places = _taps(conv)
        groups, g_out = conv.groups, conv.output_shape[0] // conv.groups
        # A column of zeros behind the last neuron stands for what lies outside the borders.
        padded = self.add(
            "Pad",
            spikes,
            self.constant([0, 0, 0, 0, 0, 1], np.int64),
            self.constant(0, kind.spikes),
            name=f"{name}.bordered",
        )
        seen = self.add(
            "Gather", padded, self.constant(places, np.int64, f"{name}.places"), axis=2, name=f"{name}.seen"
        )
        # [slots, batch, groups, y x, taps] with [groups, taps, g_out] gives [slots, batch, groups, y x, g_out].
        out = kind.multiplied(self, seen, taps, name)
        turned = self.add("Transpose", out, perm=[0, 1, 2, 4, 3], name=f"{name}.turned")
        shape = self.constant([0, 0, groups * g_out * conv.output_shape[1] * conv.output_shape[2]], np.int64)
        return self.add("Reshape", turned, shape, name=f"{name}.flat")

    def scan(self, body: Any, inputs: Sequence[str], outputs: Sequence[str], scanned: int) -> None:
        """Add a Scan of `body`. The last `scanned` of `inputs` are scanned. The others are states, out first."""
        self.nodes.append(
            helper.make_node(
                "Scan", list(inputs), list(outputs), name=self.named("over_time"), body=body, num_scan_inputs=scanned
            )
        )

    def zeros(self, shape: str, dtype: str, name: str) -> str:
        """Zeros of a shape that is known when the graph runs."""
        return self.add("ConstantOfShape", shape, name=name, value=numpy_helper.from_array(np.zeros(1, dtype)))

    def graph(self, name: str, inputs: Iterable[Any], outputs: Iterable[Any]) -> Any:
        """The graph. A body has no constants of its own."""
        constants = self.initializers if self.outer is None else []
        return helper.make_graph(self.nodes, name, list(inputs), list(outputs), constants)


class Product(ABC):
    """How numbers are multiplied in a graph: `Floats`, `Rounded` or `Integers`."""

    spikes: str
    """The type of spikes in products, by NumPy's name."""

    @abstractmethod
    def multiplied(self, to: Builder, spikes: str, matrix: Array, name: str) -> str:
        """Spikes `[..., source]` times `matrix` `[..., source, target]`."""

    @abstractmethod
    def scaled(self, to: Builder, spikes: str, diagonal: Array, name: str) -> str:
        """Spikes `[..., size]` times `diagonal` `[size]`, element by element."""


class Floats(Product):
    """Products in float32 or float64. The file holds float32 where that is exact, and a Cast widens it."""

    def __init__(self, dtype: str) -> None:
        self.spikes = self.dtype = dtype

    def held(self, to: Builder, array: Array, name: str) -> str:
        """A constant in the type of the products."""
        narrow = array.astype(np.float32)
        if self.dtype == "float32" or not np.array_equal(narrow.astype(array.dtype), array):
            return to.constant(array, self.dtype, name)
        return to.widened(to.constant(narrow, np.float32, name), self.dtype)

    def multiplied(self, to: Builder, spikes: str, matrix: Array, name: str) -> str:
        return to.add("MatMul", spikes, self.held(to, matrix, f"{name}.weight"), name=name)

    def scaled(self, to: Builder, spikes: str, diagonal: Array, name: str) -> str:
        if (diagonal == 1).all():
            return spikes
        return to.add("Mul", spikes, self.held(to, diagonal, f"{name}.weight"), name=name)


class Rounded(Floats):
    """Products with int8 matrices, a scale for each target: exact sums of integers, then one product with the scale.

    Numbers that join neurons one to one stay as they are: they are no matrix.
    """

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.spikes = "uint8"

    def multiplied(self, to: Builder, spikes: str, matrix: Array, name: str) -> str:
        numbers, scale = int8_columns(matrix)
        sums = to.add("MatMulInteger", spikes, to.constant(numbers, np.int8, f"{name}.weight"), name=f"{name}.sum")
        return to.add("Mul", to.cast(sums, self.dtype), to.constant(scale, self.dtype, f"{name}.scale"), name=name)

    def scaled(self, to: Builder, spikes: str, diagonal: Array, name: str) -> str:
        return super().scaled(to, to.cast(spikes, self.dtype), diagonal, name)


INT8_LARGEST = 127
_SCALE_BITS = 16


def int8_columns(matrix: Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
    """`matrix` `[..., source, target]` as int8 and a scale for each target, `[..., 1, target]`.

    Where the numbers of a target are small multiples of one number, as wires are, nothing is lost. Else its largest
    number becomes 127, up to a scale of so few bits that sums of scaled numbers are exact in float64, in any order. So
    no order of adding decides about a neuron that is just at its threshold.
    """
    exact = np.abs(np.asarray(matrix, np.float64))
    smallest = np.where(exact > 0, exact, np.inf).min(axis=-2, keepdims=True)
    smallest = np.where(np.isinf(smallest), 1.0, smallest)
    multiples = exact / smallest
    fits = ((multiples == np.rint(multiples)) & (multiples <= INT8_LARGEST)).all(axis=-2, keepdims=True)
    fraction, exponent = np.frexp(exact.max(axis=-2, keepdims=True) / INT8_LARGEST)
    scale = np.where(fits, smallest, np.ldexp(np.ceil(np.ldexp(fraction, _SCALE_BITS)), exponent - _SCALE_BITS))
    return np.rint(np.asarray(matrix, np.float64) / scale).astype(np.int8), scale


class Integers(Product):
    """Exact integer products. A chip's even weights of nine bits are halved into int8; the result is int32.

    Binary spikes go through MatMulInteger. Graded spikes go through MatMul in int32, because kernels of MatMulInteger
    that add pairs in 16 bits would saturate.
    """

    def __init__(self, graded: bool) -> None:
        self.spikes = "int32" if graded else "uint8"

    def multiplied(self, to: Builder, spikes: str, matrix: Array, name: str) -> str:
        if self.spikes == "int32":
            return to.add("MatMul", spikes, to.constant(matrix, np.int32, f"{name}.weight"), name=name)
        halves = to.constant(matrix // 2, np.int8, f"{name}.half_weight")
        product = to.add("MatMulInteger", spikes, halves, name=f"{name}.half")
        return to.add("Mul", product, to.constant(2, np.int32), name=name)

    def scaled(self, to: Builder, spikes: str, diagonal: Array, name: str) -> str:
        wide = spikes if self.spikes == "int32" else to.cast(spikes, "int32")
        return to.add("Mul", wide, to.constant(diagonal, np.int32, f"{name}.weight"), name=name)


def _taps(conv: Conv) -> tuple[Array, npt.NDArray[np.int64]]:
    """A convolution as a product.

    Returns:
        taps: the kernel of each group, `[groups, taps, g_out]`.
        places: the source of each tap of each output position, `[groups, y x, taps]`. Where a tap lies outside the
            borders, it is the number of sources.
    """
    c_out, g_in, k_y, k_x = conv.kernel.shape
    (c_in, n_y, n_x), (_, y_out, x_out) = conv.input_shape, conv.output_shape
    (s_y, s_x), (p_y, p_x), (d_y, d_x) = conv.stride, conv.padding, conv.dilation
    g, y, x, i, a, b = np.ogrid[: conv.groups, :y_out, :x_out, :g_in, :k_y, :k_x]
    row, column = y * s_y - p_y + a * d_y, x * s_x - p_x + b * d_x
    inside = (row >= 0) & (row < n_y) & (column >= 0) & (column < n_x)
    source = np.where(inside, ((g * g_in + i) * n_y + row) * n_x + column, c_in * n_y * n_x)
    kernel = conv.kernel.reshape(conv.groups, c_out // conv.groups, g_in * k_y * k_x)
    places = source.reshape(conv.groups, y_out * x_out, g_in * k_y * k_x).astype(np.int64)
    return np.ascontiguousarray(kernel.transpose(0, 2, 1)), places


def tensor(name: str, dtype: str, shape: Sequence[int | str]) -> Any:
    """The declaration of an input or output; a text in `shape` is an axis of any length."""
    return helper.make_tensor_value_info(name, TYPES[dtype], list(shape))


def model_of(graph: Any, about: Mapping[str, Any]) -> Any:
    """A graph with what muspike has to know about it, after ONNX's own checks.

    Raises:
        BadInput: it is larger than an ONNX file can be.
    """
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR, producer_name="muspike"
    )
    tell(model, about)
    if model.ByteSize() > LARGEST_BYTES:
        raise BadInput(f"the ONNX file would have {model.ByteSize():,} bytes; it can hold at most {LARGEST_BYTES:,}")
    onnx.checker.check_model(model, full_check=True)
    return model


def tell(model: Any, about: Mapping[str, Any]) -> None:
    """Let a model say what muspike has to know about it."""
    helper.set_model_props(model, {KEY: json.dumps({"format": FORMAT, "version": VERSION, **about})})


def float_products(graph: Any) -> list[str]:
    """The names of the nodes that multiply matrices in floats, in a graph and in the graphs inside it."""
    found = [node.name for node in graph.node if node.op_type in FLOAT_PRODUCTS]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                found += float_products(attribute.g)
    return found


FLOAT_PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum", "RNN", "LSTM", "GRU", "Attention")
"""The operators of ONNX that multiply matrices in floats."""
