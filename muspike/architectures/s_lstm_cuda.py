"""`cells` of the S-LSTM on CUDA: products in torch, gates and logic in Triton (which CUDA's torch brings).

A Triton program computes some cells of the batch, with their four gates, through the slots of one token, so membranes
stay in registers and neither gates nor logic need a pass of their own. Multiplications and additions are not fused, so
spikes are those of plain torch, bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from muspike import kernels_cuda
from muspike.layer import dense_products
from muspike.neurons import Clock, LIFParameters

Spikes = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def cells(p: LIFParameters, clock: Clock, drive: torch.Tensor, loop: torch.Tensor, low_precision: bool) -> Spikes:
    """See `s_lstm.cells`."""
    rate = (1.0 / p.tau).to(torch.float32).contiguous()
    threshold = p.v_threshold.to(torch.float32).contiguous()
    spikes: Spikes = _Cells.apply(  # type: ignore[no-untyped-call]
        (p.alpha, clock, low_precision), rate, threshold, drive, loop
    )
    return spikes


class _Cells(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        settings: tuple[float, Clock, bool],
        rate: torch.Tensor,
        threshold: torch.Tensor,
        drive: torch.Tensor,
        loop: torch.Tensor,
    ) -> Spikes:
        _, clock, _ = settings
        time, batch, _ = drive.shape
        width = loop.shape[1]
        membrane = drive.detach().to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        fired, carry = torch.empty_like(membrane), torch.zeros_like(membrane[0])
        write, hold, cell, hidden = membrane.new_empty(4, time, batch, width).unbind()
        for start in range(0, time, clock.slots):
            stop = min(start + clock.slots, time)
            if start:
                past = hidden[start - clock.slots : stop - clock.slots].flatten(0, 1)
                membrane[start:stop].flatten(0, 1).addmm_(past, loop.t())
            kernels_cuda.launch(
                _run, hidden[0],
                membrane, fired, write, hold, cell, hidden, carry, rate, threshold,
                width, clock.slots, clock.idle, start, stop,
            )  # fmt: skip
        ctx.save_for_backward(rate, threshold, loop, membrane, fired, cell, hidden)
        ctx.settings = settings
        ctx.mark_non_differentiable(write, hold)
        ctx.set_materialize_grads(False)
        return fired, write, hold, cell, hidden

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        rate, threshold, loop, membrane, fired, cell, hidden = ctx.saved_tensors
        alpha, clock, low_precision = ctx.settings
        time, _, width = hidden.shape
        products = dense_products(low_precision, kernels_cuda)
        weight = products.weight(loop)
        grad_gates, _, _, grad_cell, grad_hidden = (
            torch.zeros_like(like) if grad is None else grad.clone(memory_format=torch.contiguous_format)
            for grad, like in zip(grad_outputs, (fired, cell, cell, cell, hidden), strict=True)
        )
        carry, idle_decay = torch.zeros_like(membrane[0]), (1 - rate) ** clock.idle
        for start in reversed(range(0, time, clock.slots)):
            stop = min(start + clock.slots, time)
            if stop < time:
                future = grad_gates[stop : stop + clock.slots].flatten(0, 1)
                heard = grad_hidden[start : start + future.shape[0] // hidden.shape[1]].flatten(0, 1)
                products.add_product(heard, future, weight)
            kernels_cuda.launch(
                _run_back, hidden[0],
                grad_gates, grad_cell, grad_hidden, membrane, fired, cell, carry, rate, threshold, idle_decay,
                alpha, width, clock.slots, start, stop,
            )  # fmt: skip
        return None, None, None, grad_gates, products.grad_weight(hidden, None, grad_gates, clock.slots)


# Triton reads annotations as instructions, so arrays and plain numbers have none.
# `row` is the number of cells in a slot, batch times width. Products with it may need 64 bits.


@triton.jit
def _tick(membrane, fired, gate, inside, v, rate, v_threshold):  # type: ignore[no-untyped-def]
    """One tick of one gate. `membrane` holds its current and gets its membrane; the result is its spike."""
    v = v + rate * (tl.load(membrane + gate, mask=inside, other=0.0) - v)
    spike = (v > v_threshold).to(tl.float32)
    tl.store(membrane + gate, v, mask=inside)
    tl.store(fired + gate, spike, mask=inside)
    return tl.where(spike > 0.0, 0.0, v), spike


@triton.jit(do_not_specialize=["start", "stop"])  # type: ignore[untyped-decorator]
def _run(  # type: ignore[no-untyped-def]
    membrane, fired, write, hold, cell, hidden, carry, rate, threshold, width, slots, idle, start, stop,
    row, BLOCK: tl.constexpr,
):  # fmt: skip
    """Run gates and cells over the slots `start..stop` of one token.

    `carry` holds the membranes of the gates before these slots and is overwritten with those after them and the idle
    ticks.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    n = at % width
    first = (at // width) * 4 * width + n  # write_gate; the other gates follow, `width` apart
    r0 = tl.load(rate + n, mask=inside, other=0.0)
    r1 = tl.load(rate + width + n, mask=inside, other=0.0)
    r2 = tl.load(rate + 2 * width + n, mask=inside, other=0.0)
    r3 = tl.load(rate + 3 * width + n, mask=inside, other=0.0)
    h0 = tl.load(threshold + n, mask=inside, other=0.0)
    h1 = tl.load(threshold + width + n, mask=inside, other=0.0)
    h2 = tl.load(threshold + 2 * width + n, mask=inside, other=0.0)
    h3 = tl.load(threshold + 3 * width + n, mask=inside, other=0.0)
    v0 = tl.load(carry + first, mask=inside, other=0.0)
    v1 = tl.load(carry + first + width, mask=inside, other=0.0)
    v2 = tl.load(carry + first + 2 * width, mask=inside, other=0.0)
    v3 = tl.load(carry + first + 3 * width, mask=inside, other=0.0)
    bits = start.to(tl.int64) * row + at
    gates = start.to(tl.int64) * 4 * row + first
    for _ in range(start, stop):
        v0, write_gate = _tick(membrane, fired, gates, inside, v0, r0, h0)
        v1, candidate = _tick(membrane, fired, gates + width, inside, v1, r1, h1)
        v2, erase = _tick(membrane, fired, gates + 2 * width, inside, v2, r2, h2)
        v3, mute = _tick(membrane, fired, gates + 3 * width, inside, v3, r3, h3)
        before = bits - slots * row
        past = tl.load(cell + before, mask=inside & (before >= 0), other=0.0)
        written = write_gate * candidate
        held = past * (1.0 - erase)
        now = tl.maximum(written, held)
        tl.store(write + bits, written, mask=inside)
        tl.store(hold + bits, held, mask=inside)
        tl.store(cell + bits, now, mask=inside)
        tl.store(hidden + bits, now * (1.0 - mute), mask=inside)
        bits += row
        gates += 4 * row
    for _ in range(idle):
        v0 = v0 + r0 * (0.0 - v0)
        v1 = v1 + r1 * (0.0 - v1)
        v2 = v2 + r2 * (0.0 - v2)
        v3 = v3 + r3 * (0.0 - v3)
    tl.store(carry + first, v0, mask=inside)
    tl.store(carry + first + width, v1, mask=inside)
    tl.store(carry + first + 2 * width, v2, mask=inside)
    tl.store(carry + first + 3 * width, v3, mask=inside)


@triton.jit
def _tick_back(grad, membrane, gate, inside, into, back, rate, v_threshold, alpha):  # type: ignore[no-untyped-def]
    """The adjoint of `_tick`, where `into` is what the logic adds to the gradient of the spike."""
    half, bend = 0.5 * alpha, 1.5707963267948966 * alpha
    distance = tl.load(membrane + gate, mask=inside, other=0.0) - v_threshold
    y = bend * distance
    slope = half / (1.0 + y * y)
    g = tl.where(distance > 0, 0.0, back) + (tl.load(grad + gate, mask=inside, other=0.0) + into) * slope
    tl.store(grad + gate, rate * g, mask=inside)
    return (1.0 - rate) * g


@triton.jit(do_not_specialize=["start", "stop"])  # type: ignore[untyped-decorator]
def _run_back(  # type: ignore[no-untyped-def]
    grad, grad_cell, grad_hidden, membrane, fired, cell, carry, rate, threshold, idle_decay,
    alpha, width, slots, start, stop, row, BLOCK: tl.constexpr,
):  # fmt: skip
    """The adjoint of `_run`.

    `grad` holds the gradient of the gates' spikes and is overwritten with that of their current. `carry` holds the
    gradient of the membranes after these slots and is overwritten with that before them. The gradient of the cells of
    the token before is added to `grad_cell`.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    n = at % width
    first = (at // width) * 4 * width + n
    r0 = tl.load(rate + n, mask=inside, other=0.0)
    r1 = tl.load(rate + width + n, mask=inside, other=0.0)
    r2 = tl.load(rate + 2 * width + n, mask=inside, other=0.0)
    r3 = tl.load(rate + 3 * width + n, mask=inside, other=0.0)
    h0 = tl.load(threshold + n, mask=inside, other=0.0)
    h1 = tl.load(threshold + width + n, mask=inside, other=0.0)
    h2 = tl.load(threshold + 2 * width + n, mask=inside, other=0.0)
    h3 = tl.load(threshold + 3 * width + n, mask=inside, other=0.0)
    # Back through the idle ticks after these slots.
    b0 = tl.load(carry + first, mask=inside, other=0.0) * tl.load(idle_decay + n, mask=inside, other=0.0)
    b1 = tl.load(carry + first + width, mask=inside, other=0.0)
    b1 *= tl.load(idle_decay + width + n, mask=inside, other=0.0)
    b2 = tl.load(carry + first + 2 * width, mask=inside, other=0.0)
    b2 *= tl.load(idle_decay + 2 * width + n, mask=inside, other=0.0)
    b3 = tl.load(carry + first + 3 * width, mask=inside, other=0.0)
    b3 *= tl.load(idle_decay + 3 * width + n, mask=inside, other=0.0)
    bits = (stop - 1).to(tl.int64) * row + at
    gates = (stop - 1).to(tl.int64) * 4 * row + first
    for _ in range(start, stop):
        write_gate = tl.load(fired + gates, mask=inside, other=0.0)
        candidate = tl.load(fired + gates + width, mask=inside, other=0.0)
        erase = tl.load(fired + gates + 2 * width, mask=inside, other=0.0)
        mute = tl.load(fired + gates + 3 * width, mask=inside, other=0.0)
        before = bits - slots * row
        there = inside & (before >= 0)
        past = tl.load(cell + before, mask=there, other=0.0)
        g_hidden = tl.load(grad_hidden + bits, mask=inside, other=0.0)
        g_cell = tl.load(grad_cell + bits, mask=inside, other=0.0) + g_hidden * (1.0 - mute)
        # cell = write + hold - write * hold
        g_write = g_cell * (1.0 - past * (1.0 - erase))
        g_hold = g_cell * (1.0 - write_gate * candidate)
        muted = -g_hidden * tl.load(cell + bits, mask=inside, other=0.0)
        b0 = _tick_back(grad, membrane, gates, inside, g_write * candidate, b0, r0, h0, alpha)
        b1 = _tick_back(grad, membrane, gates + width, inside, g_write * write_gate, b1, r1, h1, alpha)
        b2 = _tick_back(grad, membrane, gates + 2 * width, inside, -g_hold * past, b2, r2, h2, alpha)
        b3 = _tick_back(grad, membrane, gates + 3 * width, inside, muted, b3, r3, h3, alpha)
        kept = g_hold * (1.0 - erase)
        tl.store(grad_cell + before, tl.load(grad_cell + before, mask=there, other=0.0) + kept, mask=there)
        bits -= row
        gates -= 4 * row
    tl.store(carry + first, b0, mask=inside)
    tl.store(carry + first + width, b1, mask=inside)
    tl.store(carry + first + 2 * width, b2, mask=inside)
    tl.store(carry + first + 3 * width, b3, mask=inside)
