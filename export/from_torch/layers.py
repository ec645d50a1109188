"""The layers of torch without a state that a chip can hold, as nodes of NIR.

Linear, convolutions, average and sum pools and batch norms (as trained: in evaluation) are nodes. What only passes on
or rearranges values (Flatten, Identity, Dropout in evaluation) needs no node: `trace` follows each value through it.
Any other module of torch, such as MaxPool2d or ReLU, is refused if a neuron depends on it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
from torch import nn

from muspike.errors import BadInput
from muspike.export.from_torch.neuron import array

Shape = tuple[int, ...]

PASSES: tuple[type[nn.Module], ...] = (
    nn.Flatten,
    nn.Unflatten,
    nn.Identity,
    nn.Dropout,
    nn.Dropout1d,
    nn.Dropout2d,
    nn.Dropout3d,
    nn.AlphaDropout,
    nn.ZeroPad1d,
    nn.ZeroPad2d,
    nn.PixelShuffle,
    nn.PixelUnshuffle,
    nn.ChannelShuffle,
)
"""Modules that change no value in evaluation."""


def dimensions(module: nn.Module, given: Shape) -> int | None:
    """How many of the last dimensions of its input a layer treats as one thing; None: a chip holds no such layer."""
    if isinstance(module, nn.Linear):
        return 1
    if isinstance(module, nn.Conv1d | nn.AvgPool1d):
        return 2
    if isinstance(module, nn.Conv2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d | nn.BatchNorm2d):
        return 3
    if type(module).__name__ == "SumPool2d" and isinstance(module, nn.LPPool2d):
        return 3
    if isinstance(module, nn.LPPool2d) and module.norm_type == 1:
        return 3
    if isinstance(module, nn.BatchNorm1d):
        multi = getattr(module, "step_mode", "s") == "m"
        return 2 if len(given) - multi == 3 else 1
    return None


def node_of(path: str, module: nn.Module, given: Shape) -> tuple[nir.NIRNode, Shape]:
    """The node of a layer, and the shape of what it gives.

    Args:
        path: the module's path, for errors.
        module: a layer of which `dimensions` knows the input.
        given: the shape of its input, without batch and time.

    Raises:
        BadInput: a setting of the layer has no meaning in NIR, or on a chip.
    """
    for kind, make in _NODES.items():
        if isinstance(module, kind):
            return make(path, module, given)
    raise BadInput(f"module {path!r}: {type(module).__name__} {WHY}")


WHY = "is no layer of a chip: neurons see sums of weighted spikes, by Linear, Conv1d, Conv2d, and average or sum pools"


def affine_of(module: Any) -> tuple[Any, Any]:
    """What a batch norm in evaluation multiplies each channel by, and what it adds."""
    scale = 1 / np.sqrt(array(module.running_var) + module.eps)
    if module.weight is not None:
        scale = scale * array(module.weight)
    shift = -array(module.running_mean) * scale
    return scale, shift if module.bias is None else shift + array(module.bias)


def linear_node(weight: Any, bias: Any) -> nir.NIRNode:
    """A Linear, or an Affine if there is a bias."""
    return nir.Linear(weight) if bias is None else nir.Affine(weight, bias)


def _linear(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    weight = module.weight.detach().cpu().numpy()
    bias = None if module.bias is None else array(module.bias)
    return linear_node(weight, bias), (len(weight),)


def _convolution(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    if module.padding_mode != "zeros":
        raise BadInput(
            f"module {path!r}: padding_mode={module.padding_mode!r}; a convolution on a chip sees zeros outside the "
            "picture: use padding_mode='zeros'"
        )
    dims = len(given) - 1
    weight = module.weight.detach().cpu().numpy()
    bias = np.zeros(len(weight)) if module.bias is None else array(module.bias)
    padding = module.padding
    reach = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    sides = {"valid": [0] * dims, "same": reach}.get(padding) if isinstance(padding, str) else [2 * p for p in padding]
    assert sides is not None
    out = tuple(
        (n + side - r - 1) // s + 1 for n, side, r, s in zip(given[1:], sides, reach, module.stride, strict=True)
    )
    if dims == 1:
        stride, dilation = module.stride[0], module.dilation[0]
        node = nir.Conv1d(
            input_shape=given[1],
            weight=weight,
            stride=stride,
            padding=padding if isinstance(padding, str) else padding[0],
            dilation=dilation,
            groups=module.groups,
            bias=bias,
        )
    else:
        node = nir.Conv2d(
            input_shape=given[1:],
            weight=weight,
            stride=module.stride,
            padding=padding,
            dilation=module.dilation,
            groups=module.groups,
            bias=bias,
        )
    return node, (len(weight), *out)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _pooled(given: Shape, kernel: Shape, stride: Shape, padding: Shape) -> Shape:
    sizes = zip(given[1:], kernel, stride, padding, strict=True)
    return (given[0], *((n + 2 * p - k) // s + 1 for n, k, s, p in sizes))


def _average_pool(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    kernel, stride, padding = (_pair(getattr(module, name)) for name in ("kernel_size", "stride", "padding"))
    _whole_windows(path, module.ceil_mode, given, kernel, stride, padding)
    if module.divisor_override is not None or (any(padding) and not module.count_include_pad):
        raise BadInput(
            f"module {path!r}: divisor_override={module.divisor_override}, "
            f"count_include_pad={module.count_include_pad}; a pool on a chip divides by the size of its window: use "
            "divisor_override=None, count_include_pad=True"
        )
    return nir.AvgPool2d(*map(np.array, (kernel, stride, padding))), _pooled(given, kernel, stride, padding)


def _whole_windows(path: str, ceil: bool, given: Shape, kernel: Shape, stride: Shape, padding: Shape) -> None:
    """Refuse a ceil_mode that makes a window which is not whole."""
    sizes = zip(given[1:], kernel, stride, padding, strict=True)
    if ceil and any((n + 2 * p - k) % s for n, k, s, p in sizes):
        raise BadInput(
            f"module {path!r}: ceil_mode=True pools over windows that leave the picture; use ceil_mode=False, or a "
            "size that the windows fill"
        )


def _adaptive_pool(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    wanted = module.output_size
    wanted = (wanted, wanted) if isinstance(wanted, int) or wanted is None else wanted
    out = tuple(n if w is None else int(w) for n, w in zip(given[1:], wanted, strict=True))
    if any(n % w for n, w in zip(given[1:], out, strict=True)):
        raise BadInput(
            f"module {path!r}: pools {list(given[1:])} to {list(out)}, so its windows differ; use sizes that divide"
        )
    kernel = tuple(n // w for n, w in zip(given[1:], out, strict=True))
    return nir.AvgPool2d(np.array(kernel), np.array(kernel), np.array((0, 0))), (given[0], *out)


def _average_pool_1d(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    kernel, stride, padding = (
        value if isinstance(value, int) else value[0] for value in (module.kernel_size, module.stride, module.padding)
    )
    _whole_windows(path, module.ceil_mode, given, (kernel,), (stride,), (padding,))
    if padding and not module.count_include_pad:
        raise BadInput(f"module {path!r}: count_include_pad=False; use count_include_pad=True")
    channels = given[0]
    weight = np.full((channels, 1, kernel), 1 / kernel)
    node = nir.Conv1d(given[1], weight, stride, padding, 1, channels, np.zeros(channels))
    return node, _pooled(given, (kernel,), (stride,), (padding,))


def _sum_pool(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    if module.norm_type != 1:
        raise BadInput(f"module {path!r}: LPPool2d of norm {module.norm_type:g}; a chip can sum: use norm_type=1")
    kernel = _pair(module.kernel_size)
    stride = kernel if module.stride is None else _pair(module.stride)
    _whole_windows(path, module.ceil_mode, given, kernel, stride, (0, 0))
    return nir.SumPool2d(*map(np.array, (kernel, stride, (0, 0)))), _pooled(given, kernel, stride, (0, 0))


def _batch_norm(path: str, module: Any, given: Shape) -> tuple[nir.NIRNode, Shape]:
    if module.running_mean is None:
        raise BadInput(
            f"module {path!r}: track_running_stats=False, so it needs the batch when it runs; train with running "
            "statistics, which become part of the weights"
        )
    scale, shift = affine_of(module)
    if len(given) == 1:
        return nir.Affine(np.diag(scale), shift), given
    lift = (1,) * (len(given) - 1)
    weight = scale.reshape(-1, 1, *lift)
    if len(given) == 2:
        return nir.Conv1d(given[1], weight, 1, 0, 1, len(scale), shift), given
    return nir.Conv2d(given[1:], weight, (1, 1), (0, 0), (1, 1), len(scale), shift), given


_Maker = Callable[[str, Any, Shape], tuple[nir.NIRNode, Shape]]
_NODES: dict[Any, _Maker] = {
    nn.Linear: _linear,
    nn.Conv1d: _convolution,
    nn.Conv2d: _convolution,
    nn.AvgPool2d: _average_pool,
    nn.AdaptiveAvgPool2d: _adaptive_pool,
    nn.AvgPool1d: _average_pool_1d,
    nn.LPPool2d: _sum_pool,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
}


def with_batch_norm(node: nir.NIRNode, module: nn.Module) -> nir.NIRNode | None:
    """A Linear, Affine or convolution followed by a batch norm, as one node; None if it is neither."""
    scale, shift = affine_of(module)
    if isinstance(node, nir.Linear | nir.Affine):
        bias = getattr(node, "bias", 0) * scale + shift
        return nir.Affine(node.weight * scale[:, None], bias)
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        lift = (1,) * (node.weight.ndim - 1)
        weight, bias = node.weight * scale.reshape(-1, *lift), node.bias * scale + shift
        fields = {name: getattr(node, name) for name in ("input_shape", "stride", "padding", "dilation", "groups")}
        return type(node)(weight=weight, bias=bias, **fields)
    return None
