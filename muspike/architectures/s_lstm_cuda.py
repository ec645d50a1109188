"""The kernels of the S-LSTM's cells on CUDA (`s_lstm.Kernels`).

Products are in torch, gates and logic in Triton (which CUDA's torch brings). A Triton program computes some cells of
the batch, with their four gates, through the slots of one token, so membranes stay in registers and neither gates nor
logic need a pass of their own. Multiplications and additions are not fused, so spikes are those of plain torch, bit for
bit.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from muspike import kernels_cuda
from muspike.neurons import Clock

products = kernels_cuda


def run(
    membrane: torch.Tensor,
    loop: torch.Tensor,
    rate: torch.Tensor,
    threshold: torch.Tensor,
    clock: Clock,
    spikes: tuple[torch.Tensor, ...],
) -> None:
    """See `s_lstm.Kernels`."""
    hidden, carry = spikes[-1], torch.zeros_like(membrane[0])
    time, _, width = hidden.shape
    for start in range(0, time, clock.slots):
        stop = start + clock.slots
        if start:
            past = hidden[start - clock.slots : start].flatten(0, 1)
            membrane[start:stop].flatten(0, 1).addmm_(past, loop.t())
        kernels_cuda.launch(
            _run, hidden[0],
            membrane, *spikes, carry, rate, threshold, width, clock.slots, clock.idle, start, stop,
        )  # fmt: skip


def run_back(
    grads: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    membrane: torch.Tensor,
    fired: torch.Tensor,
    cell: torch.Tensor,
    constants: tuple[torch.Tensor, torch.Tensor, torch.Tensor, float],
    carry: torch.Tensor,
    clock: Clock,
    start: int,
    stop: int,
) -> None:
    """See `s_lstm.Kernels`."""
    kernels_cuda.launch(
        _run_back, cell[0],
        *grads, membrane, fired, cell, carry, *constants, cell.shape[2], clock.slots, start, stop,
    )  # fmt: skip


# Triton reads annotations as instructions, so arrays and plain numbers have none.
# `row` is the number of cells in a slot, batch times width. Products with it may need 64 bits.


@triton.jit
def _of_gates(first, width, inside):  # type: ignore[no-untyped-def]
    """The numbers of the four gates of a cell: that of `write_gate` is at `first`, the others follow, `width` apart."""
    a = tl.load(first, mask=inside, other=0.0)
    b = tl.load(first + width, mask=inside, other=0.0)
    c = tl.load(first + 2 * width, mask=inside, other=0.0)
    d = tl.load(first + 3 * width, mask=inside, other=0.0)
    return a, b, c, d


@triton.jit
def _store_of_gates(first, width, inside, a, b, c, d):  # type: ignore[no-untyped-def]
    """Store the numbers of the four gates of a cell where `_of_gates` reads them."""
    tl.store(first, a, mask=inside)
    tl.store(first + width, b, mask=inside)
    tl.store(first + 2 * width, c, mask=inside)
    tl.store(first + 3 * width, d, mask=inside)


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
    r0, r1, r2, r3 = _of_gates(rate + n, width, inside)
    h0, h1, h2, h3 = _of_gates(threshold + n, width, inside)
    v0, v1, v2, v3 = _of_gates(carry + first, width, inside)
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
    _store_of_gates(carry + first, width, inside, v0, v1, v2, v3)


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
    r0, r1, r2, r3 = _of_gates(rate + n, width, inside)
    h0, h1, h2, h3 = _of_gates(threshold + n, width, inside)
    # Back through the idle ticks after these slots.
    d0, d1, d2, d3 = _of_gates(idle_decay + n, width, inside)
    b0, b1, b2, b3 = _of_gates(carry + first, width, inside)
    b0 *= d0
    b1 *= d1
    b2 *= d2
    b3 *= d3
    bits = (stop - 1).to(tl.int64) * row + at
    gates = (stop - 1).to(tl.int64) * 4 * row + first
    for _ in range(start, stop):
        write_gate, candidate, erase, mute = _of_gates(fired + gates, width, inside)
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
    _store_of_gates(carry + first, width, inside, b0, b1, b2, b3)
