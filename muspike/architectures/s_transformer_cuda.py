"""`registers` of the S-Transformer on CUDA, in Triton (which CUDA's torch brings).

The memory of a slot builds on the same slot of the token before, so the slots of a token are independent. A Triton
program computes one slot of all tokens for one head of one piece, or for some of its values, and the memory never
leaves its registers. All spikes and sums of spikes are those of plain torch.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

# The most bits of memory of a program.
_TILE = 2048


class Registers(torch.autograd.Function):
    """`s_transformer.registers` as a function of autograd."""

    @staticmethod
    def forward(
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, slots: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        q, k, v = (x.detach().to(torch.float32).contiguous() for x in (q, k, v))
        memory = torch.empty((*k.shape, v.shape[3]), dtype=torch.uint8, device=v.device)
        heard, counts = torch.empty_like(v), v.new_empty(_programs(q, v, slots), 4)
        _launch(_run, q, v, slots, q, k, v, memory, heard, counts)
        ctx.save_for_backward(q, k, v, memory)
        ctx.slots = slots
        return heard, counts.double().sum(0).to(torch.float32)  # single precision would round more than 16.7 million

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        q, k, v, memory = ctx.saved_tensors
        grad_heard, grad_counts = (grad.contiguous() for grad in grad_outputs)
        parts = triton.cdiv(v.shape[3], _tile(q, v)[1])
        # Programs with other values of a head each have their part of the gradients of q and k.
        grad_q, grad_k = q.new_empty(2, parts, *q.shape).unbind()
        grad_v = torch.empty_like(v)
        _launch(_run_back, q, v, ctx.slots, grad_heard, grad_counts, q, k, v, memory, grad_q, grad_k, grad_v)
        return grad_q.sum(0), grad_k.sum(0), grad_v, None


def _tile(q: torch.Tensor, v: torch.Tensor) -> tuple[int, int]:
    """Rows and values of a program, powers of two. A program has all rows."""
    rows: int = triton.next_power_of_2(q.shape[3])
    return rows, min(triton.next_power_of_2(v.shape[3]), max(1, _TILE // rows))


def _programs(q: torch.Tensor, v: torch.Tensor, slots: int) -> int:
    _, batch, heads, values = v.shape
    return batch * heads * slots * int(triton.cdiv(values, _tile(q, v)[1]))


def _launch(kernel: Any, q: torch.Tensor, v: torch.Tensor, slots: int, *tensors: torch.Tensor) -> None:
    rows, values = _tile(q, v)
    time, batch, heads, _ = q.shape
    warps = max(1, min(8, rows * values // 256))
    with torch.cuda.device_of(q):  # type: ignore[no-untyped-call]
        kernel[(_programs(q, v, slots),)](
            *tensors, time, slots, batch * heads, q.shape[3], v.shape[3],
            ROWS=rows, VALUES=values, num_warps=warps, enable_fp_fusion=False,
        )  # fmt: skip


# Triton reads annotations as instructions, so arrays and plain numbers have none.
# `columns` is batch times heads. Offsets into a whole tensor may need 64 bits.


@triton.jit  # type: ignore[untyped-decorator]
def _run(  # type: ignore[no-untyped-def]
    q, k, v, memory, heard, counts, time, slots, columns, rows, values, ROWS: tl.constexpr, VALUES: tl.constexpr
):
    """`registers`, forward. `counts` gets the spikes of write, hold, memory and read, four numbers for each program."""
    program = tl.program_id(0)
    slot = program % slots
    column = program // slots % columns
    i = tl.arange(0, ROWS)
    j = program // (slots * columns) * VALUES + tl.arange(0, VALUES)
    in_row = i < rows
    in_value = j < values
    bit = i[:, None] * values + j[None, :]
    inside = in_row[:, None] & in_value[None, :]
    now = tl.zeros((ROWS, VALUES), tl.float32)
    writes = tl.zeros((ROWS, VALUES), tl.float32)
    holds = tl.zeros((ROWS, VALUES), tl.float32)
    reads = tl.zeros((ROWS, VALUES), tl.float32)
    for n in range((time - slot + slots - 1) // slots):
        at = (slot + n * slots).to(tl.int64) * columns + column
        asked = tl.load(q + at * rows + i, mask=in_row, other=0.0)
        key = tl.load(k + at * rows + i, mask=in_row, other=0.0)
        value = tl.load(v + at * values + j, mask=in_value, other=0.0)
        write = key[:, None] * value[None, :]
        hold = now * (1.0 - key[:, None])
        now = write + hold
        read = asked[:, None] * now
        tl.store(memory + at * rows * values + bit, now.to(tl.uint8), mask=inside)
        tl.store(heard + at * values + j, tl.sum(read, axis=0), mask=in_value)
        writes += write
        holds += hold
        reads += read
    wrote = tl.sum(tl.sum(writes, axis=1), axis=0)
    held = tl.sum(tl.sum(holds, axis=1), axis=0)
    tl.store(counts + program * 4, wrote)
    tl.store(counts + program * 4 + 1, held)
    tl.store(counts + program * 4 + 2, wrote + held)
    tl.store(counts + program * 4 + 3, tl.sum(tl.sum(reads, axis=1), axis=0))


@triton.jit  # type: ignore[untyped-decorator]
def _run_back(  # type: ignore[no-untyped-def]
    grad_heard, grad_counts, q, k, v, memory, grad_q, grad_k, grad_v, time, slots, columns, rows, values,
    ROWS: tl.constexpr, VALUES: tl.constexpr,
):  # fmt: skip
    """The adjoint of memory = (1 - k) * past + k * v and heard = sum_i q * memory, run backwards in time."""
    program = tl.program_id(0)
    slot = program % slots
    column = program // slots % columns
    part = program // (slots * columns)
    i = tl.arange(0, ROWS)
    j = part * VALUES + tl.arange(0, VALUES)
    in_row = i < rows
    in_value = j < values
    bit = i[:, None] * values + j[None, :]
    inside = in_row[:, None] & in_value[None, :]
    of_part = part.to(tl.int64) * time * columns * rows
    of_memory = tl.load(grad_counts + 2)
    flow = tl.zeros((ROWS, VALUES), tl.float32)
    tokens = (time - slot + slots - 1) // slots
    for n in range(tokens):
        t = slot + (tokens - 1 - n) * slots
        at = t.to(tl.int64) * columns + column
        asked = tl.load(q + at * rows + i, mask=in_row, other=0.0)
        key = tl.load(k + at * rows + i, mask=in_row, other=0.0)
        value = tl.load(v + at * values + j, mask=in_value, other=0.0)
        g = tl.load(grad_heard + at * values + j, mask=in_value, other=0.0)
        now = tl.load(memory + at * rows * values + bit, mask=inside, other=0).to(tl.float32)
        before = (at - slots * columns) * rows * values + bit
        past = tl.load(memory + before, mask=inside & (before >= 0), other=0).to(tl.float32)
        x = tl.where(inside, flow + asked[:, None] * g[None, :] + of_memory, 0.0)
        to_q = tl.sum(g[None, :] * now, axis=1)
        to_k = tl.sum(x * (value[None, :] - past), axis=1)
        tl.store(grad_q + of_part + at * rows + i, to_q, mask=in_row)
        tl.store(grad_k + of_part + at * rows + i, to_k, mask=in_row)
        tl.store(grad_v + at * values + j, tl.sum(key[:, None] * x, axis=0), mask=in_value)
        flow = (1.0 - key[:, None]) * x
