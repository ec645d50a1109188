"""A network that does not spike as an ONNX graph: a step with explicit state, or all words of a piece at once.

The graph reads the same input as a spiking network: the axons of a word, 0 or 1. Their embeddings are summed by one
product with the table of embeddings.

    inputs      input                  uint8 [batch, axons]; over time [words, batch, axons]
                past.<layer>...        the memory of a layer after the last word; 0, or of length 0, at the start
    outputs     logits                 [batch, 466]; over time [words, batch, 466]
                present.<layer>...     the memory after this word

The memory of a recurrent layer is its state `h` (and `c`), `[batch, width]`; of a convolution its last inputs `x`,
`[reach, batch, width]`; of an attention its keys `k` and values `v`, `[batch, heads, past, size]`, at most `window - 1`
of them. Over time, recurrent layers are a Scan, and all else is computed for all words at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from muspike.architectures.ann import CNN, RNN, Transformer, Twin
from muspike.errors import BadInput
from muspike.export.onnx_graph import Builder, tensor
from muspike.export.recording import LOGITS

BATCH, PAST, STEPS = "batch", "past", "steps"
Shape = tuple[int | str, ...]


def twin_graph(twin: Twin, dtype: str, over_time: bool) -> tuple[Any, dict[str, Any]]:
    """The graph of a twin, and what muspike has to know about it.

    Args:
        twin: the network.
        dtype: the type of all numbers, `float32` or `float64`.
        over_time: all words at once instead of a step.

    Raises:
        BadInput: the network is of a kind that is not known here.
    """
    made = _Twin(dtype, over_time)
    to = made.to
    shown = to.cast("input", dtype)
    if not over_time:
        shown = to.add("Unsqueeze", shown, to.constant([0], np.int64), name="word")
    x = to.add("MatMul", shown, made.held(twin.embedding.weight), name="embedded")
    for kind, trunk in TRUNKS.items():
        if isinstance(twin, kind):
            x = trunk(made, twin, x)
            break
    else:
        raise BadInput(f"{type(twin).__name__}: is not known as a network without spikes")
    logits = made.linear(twin.head, made.normed(twin.norm, x))
    if not over_time:
        logits = to.add("Squeeze", logits, to.constant([0], np.int64), name="answer")
    to.called(LOGITS, logits)
    for name, value in made.present.items():
        to.called(f"present.{name}", value)
    size = twin.embedding.num_embeddings
    before: Shape = (STEPS, BATCH) if over_time else (BATCH,)
    graph = to.graph(
        "twin",
        [tensor("input", "uint8", (*before, size)), *(tensor(f"past.{n}", dtype, s) for n, s in made.state.items())],
        [
            tensor(LOGITS, dtype, (*before, twin.head.out_features)),
            *(tensor(f"present.{n}", dtype, made.shape_after.get(n, s)) for n, s in made.state.items()),
        ],
    )
    about = {
        "form": "scan" if over_time else "step",
        "dtype": dtype,
        "dt_s": twin.timing.dt_s,
        "ticks": 1,
        "period": 1,
        "inputs": {"input": size},
        "slots": {},
        "state": {name: [dtype, list(shape)] for name, shape in made.state.items()},
    }
    return graph, about


class _Twin:
    """A graph in the making, with the states that its layers ask for."""

    def __init__(self, dtype: str, over_time: bool) -> None:
        self.to, self.dtype, self.over_time = Builder(), dtype, over_time
        self.state: dict[str, Shape] = {}
        self.shape_after: dict[str, Shape] = {}
        self.present: dict[str, str] = {}

    def held(self, parameter: torch.Tensor, name: str = "weight") -> str:
        """A parameter as a constant."""
        return self.to.constant(parameter.detach().numpy(), self.dtype, name)

    def past(self, name: str, shape: Shape, after: Shape | None = None) -> str:
        """The memory called `name`, an input of the graph."""
        self.state[name] = shape
        if after is not None:
            self.shape_after[name] = after
        return f"past.{name}"

    def linear(self, layer: Any, x: str) -> str:
        """A fully connected layer (`nn.Linear`)."""
        to = self.to
        out = to.add("MatMul", x, self.held(layer.weight.t()), name="linear")
        return to.add("Add", out, self.held(layer.bias, "bias"), name="biased") if layer.bias is not None else out

    def normed(self, layer: Any, x: str) -> str:
        """A layer norm (`nn.LayerNorm`) over the last axis. ONNX Runtime has no such operator in float64."""
        to, axis = self.to, self.to.constant([-1], np.int64)
        off = to.add("Sub", x, to.add("ReduceMean", x, axis, name="mean"), name="centred")
        spread = to.add("ReduceMean", to.add("Mul", off, off, name="squares"), axis, name="variance")
        root = to.add("Sqrt", to.add("Add", spread, to.constant(layer.eps, self.dtype), name="lifted"), name="spread")
        scaled = to.add("Mul", to.add("Div", off, root, name="unit"), self.held(layer.weight), name="scaled")
        return to.add("Add", scaled, self.held(layer.bias, "bias"), name="normed")

    def gelu(self, x: str) -> str:
        """x times the normal distribution function of x (`nn.GELU`)."""
        to = self.to
        share = to.add("Erf", to.add("Mul", x, to.constant(1 / math.sqrt(2), self.dtype), name="erf_of"), name="erf")
        share = to.add("Add", share, to.constant(1, self.dtype), name="one_more")
        return to.add("Mul", to.add("Mul", x, share, name="gated"), to.constant(0.5, self.dtype), name="gelu")


def _recurrent(made: _Twin, twin: Any, x: str) -> str:
    """Elman's layers, or LSTM, with residuals."""
    for number, (layer, norm) in enumerate(zip(twin.layers, twin.norms, strict=True)):
        parts = ("h", "c") if isinstance(layer, nn.LSTM) else ("h",)
        width = layer.hidden_size
        names = [f"layer{number + 1}.{part}" for part in parts]
        into = made.normed(norm, x)
        weight, bias = (
            made.held(layer.weight_ih_l0.t()),
            made.held(layer.bias_ih_l0.double() + layer.bias_hh_l0.double(), "bias"),
        )
        drive = made.to.add("Add", made.to.add("MatMul", into, weight, name="driven"), bias, name="drive")
        cell = _lstm if isinstance(layer, nn.LSTM) else _elman
        if made.over_time:
            more = _scanned(made, cell, layer, names, drive, width)
        else:
            now = made.to.add("Squeeze", drive, made.to.constant([0], np.int64), name="now")
            after = cell(made, made.to, layer, now, [made.past(name, (BATCH, width)) for name in names])
            made.present |= dict(zip(names, after, strict=True))
            more = made.to.add("Unsqueeze", after[0], made.to.constant([0], np.int64), name="more")
        x = made.to.add("Add", x, more, name="residual")
    return x


def _scanned(
    made: _Twin, cell: Callable[..., Sequence[str]], layer: Any, names: Sequence[str], drive: str, width: int
) -> str:
    """A recurrent layer over all words, from rest."""
    outer, body = made.to, Builder(made.to)
    states = [f"step.{name}" for name in names]
    after = cell(made, body, layer, f"step.{names[0]}.drive", states)
    ends = [f"{state}.after" for state in states]
    for end, value in zip((*ends, f"step.{names[0]}.out"), (*after, after[0]), strict=True):
        body.called(end, value)
    gates = layer.weight_hh_l0.shape[0]
    graph = body.graph(
        "cell",
        [
            *(tensor(s, made.dtype, (BATCH, width)) for s in states),
            tensor(f"step.{names[0]}.drive", made.dtype, (BATCH, gates)),
        ],
        [tensor(name, made.dtype, (BATCH, width)) for name in (*ends, f"step.{names[0]}.out")],
    )
    batch = outer.slots(outer.add("Shape", drive, name="shape"), [1], "batch")
    shape = outer.add("Concat", batch, outer.constant([width], np.int64), axis=0, name="state_shape")
    rest = outer.zeros(shape, made.dtype, "rest")
    out = outer.named("over_time")
    outer.scan(graph, [*[rest] * len(names), drive], [*(outer.named("end") for _ in names), out], 1)
    return out


def _elman(made: _Twin, to: Builder, layer: Any, drive: str, before: Sequence[str]) -> Sequence[str]:
    loop = to.add("MatMul", before[0], made.held(layer.weight_hh_l0.t()), name="loop")
    return [to.add("Tanh", to.add("Add", drive, loop, name="sum"), name="h")]


def _lstm(made: _Twin, to: Builder, layer: Any, drive: str, before: Sequence[str]) -> Sequence[str]:
    """Gates in torch's order: input, forget, cell, output."""
    loop = to.add("MatMul", before[0], made.held(layer.weight_hh_l0.t()), name="loop")
    summed, width = to.add("Add", drive, loop, name="sum"), layer.hidden_size
    axis = to.constant([1], np.int64)
    ends = [to.constant([n * width], np.int64) for n in range(5)]
    parts = [to.add("Slice", summed, *ends[n : n + 2], axis, name="part") for n in range(4)]
    gates = ("Sigmoid", "Sigmoid", "Tanh", "Sigmoid")
    i, f, g, o = (to.add(gate, part, name=name) for gate, part, name in zip(gates, parts, "ifgo", strict=True))
    kept, written = to.add("Mul", f, before[1], name="kept"), to.add("Mul", i, g, name="written")
    c = to.add("Add", kept, written, name="c")
    return [to.add("Mul", o, to.add("Tanh", c, name="shown"), name="h"), c]


def _convolutional(made: _Twin, twin: Any, x: str) -> str:
    """Causal dilated convolutions with residuals."""
    to, axis = made.to, made.to.constant([0], np.int64)
    for number, layer in enumerate(twin.layers):
        name, reach, width = f"layer{number + 1}.x", layer.delays[0], layer.out.in_features
        now = made.normed(layer.norm, x)
        if made.over_time:
            shape = to.add("Shape", now, name="shape")
            sizes = to.constant([reach], np.int64), to.slots(shape, [1, 2], "sizes")
            silence = to.zeros(to.add("Concat", *sizes, axis=0, name="before"), made.dtype, "silence")
            seen = to.add("Concat", silence, now, axis=0, name="seen")
        else:
            seen = to.add("Concat", made.past(name, (reach, BATCH, width)), now, axis=0, name="seen")
            made.present[name] = to.slots(seen, list(range(1, reach + 1)), "kept")
        taps = []
        for delay in layer.delays:
            # Of words and their past, the last as many as there are words, `delay` words earlier.
            end = to.constant([2**62 if delay == 0 else -delay], np.int64)
            taps.append(to.add("Slice", seen, to.constant([reach - delay], np.int64), end, axis, name="tap"))
        joined = to.add("Concat", *taps, axis=2, name="taps")
        more = made.linear(layer.out, made.gelu(made.linear(layer.taps, joined)))
        x = to.add("Add", x, more, name="residual")
    return x


def _attending(made: _Twin, twin: Any, x: str) -> str:
    """Causal softmax attention with rotary positions, and MLPs, with residuals."""
    to = made.to
    for number, (attention, mlp) in enumerate(zip(twin.attentions, twin.mlps, strict=True)):
        x = to.add("Add", x, _attention(made, attention, x, f"layer{number + 1}"), name="residual")
        inner = made.gelu(made.linear(mlp[1], made.normed(mlp[0], x)))
        x = to.add("Add", x, made.linear(mlp[3], inner), name="residual")
    return x


def _attention(made: _Twin, attention: Any, x: str, name: str) -> str:
    to, heads = made.to, attention.heads
    width = attention.out.in_features
    size = width // heads
    projected = made.linear(attention.qkv, made.normed(attention.norm, x))
    split = to.add("Reshape", projected, to.constant([0, 0, 3, heads, size], np.int64), name="split")
    turned = to.add("Transpose", split, perm=[2, 1, 3, 0, 4], name="qkv")  # [3, batch, heads, words, size]
    first = to.constant([0], np.int64)
    q, k, v = (to.add("Squeeze", to.slots(turned, [n], "part"), first, name="qkv"[n]) for n in range(3))
    if not made.over_time:
        before, after = (BATCH, heads, PAST, size), (BATCH, heads, "kept", size)
        axis, last = to.constant([2], np.int64), to.constant([2**62], np.int64)
        # A window of one word keeps none.
        first = to.constant([1 - attention.window if attention.window > 1 else 2**62], np.int64)
        joined = []
        for part, value in (("k", k), ("v", v)):
            whole = to.add("Concat", made.past(f"{name}.{part}", before, after), value, axis=2, name=part)
            made.present[f"{name}.{part}"] = to.add("Slice", whole, first, last, axis, name=f"kept_{part}")
            joined.append(whole)
        k, v = joined
    shape = to.add("Shape", k, name="shape")
    seen, words = to.slots(shape, [2], "seen"), to.slots(to.add("Shape", q, name="shape"), [2], "words")
    scalar = to.constant([], np.int64)
    count = to.add("Reshape", seen, scalar, name="count")
    position = to.add("Range", to.constant(0, np.int64), count, to.constant(1, np.int64), name="position")
    axis = to.constant([0], np.int64)
    own = to.add("Slice", position, to.add("Sub", seen, words, name="from"), seen, axis, name="own")
    rotated = [_rotated(made, value, at, size) for value, at in ((q, own), (k, position))]
    keys = to.add("Transpose", rotated[1], perm=[0, 1, 3, 2], name="keys")
    scores = to.add("MatMul", rotated[0], keys, name="products")
    scores = to.add("Mul", scores, to.constant(1 / math.sqrt(size), made.dtype), name="scores")
    if made.over_time:
        distance = to.add(
            "Sub", to.add("Unsqueeze", own, to.constant([1], np.int64), name="of"), position, name="distance"
        )
        near = to.add("Less", distance, to.constant(attention.window, np.int64), name="near")
        past = to.add("GreaterOrEqual", distance, to.constant(0, np.int64), name="not_later")
        may = to.add("And", near, past, name="may_see")
        scores = to.add("Where", may, scores, to.constant(-np.inf, made.dtype), name="masked")
    answer = to.add("MatMul", to.add("Softmax", scores, axis=-1, name="shares"), v, name="answer")
    flat = to.add("Transpose", answer, perm=[2, 0, 1, 3], name="by_word")
    return made.linear(attention.out, to.add("Reshape", flat, to.constant([0, 0, width], np.int64), name="joined"))


def _rotated(made: _Twin, x: str, position: str, size: int) -> str:
    """Pairs of units, turned by angles in proportion to the position (arXiv 2104.09864)."""
    to, half = made.to, size // 2
    speed = 10000.0 ** (-np.arange(half) / half)
    at = to.add("Unsqueeze", to.cast(position, made.dtype), to.constant([1], np.int64), name="at")
    angle = to.add("Mul", at, to.constant(speed, made.dtype), name="angle")
    cos, sin = (to.add(op, angle, name=op.lower()) for op in ("Cos", "Sin"))
    axis = to.constant([3], np.int64)
    a, b = (
        to.add("Slice", x, to.constant([first], np.int64), to.constant([first + half], np.int64), axis, name="half")
        for first in (0, half)
    )
    left = to.add("Sub", to.add("Mul", a, cos, name="ac"), to.add("Mul", b, sin, name="bs"), name="left")
    right = to.add("Add", to.add("Mul", a, sin, name="as"), to.add("Mul", b, cos, name="bc"), name="right")
    return to.add("Concat", left, right, axis=3, name="rotated")


TRUNKS: dict[type[Twin], Callable[[_Twin, Any, str], str]] = {
    RNN: _recurrent,  # and LSTM and GAN, which are RNNs
    CNN: _convolutional,
    Transformer: _attending,
}
