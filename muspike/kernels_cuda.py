"""The kernels of `layer.py` for CUDA: products in torch, scans over slots in Triton (which CUDA's torch brings).

See `layer.Kernels`. A Triton program computes some neurons of the batch through all slots, so that a membrane never
leaves its register. Multiplications and additions are not fused, so the spikes are those of plain torch, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl

from muspike.neurons import Clock

# Neurons of a program, one for each thread. A scan waits for memory; with small programs, many wait side by side.
_BLOCK = 128


def add_gathered(out: torch.Tensor, axons: torch.Tensor, weight: torch.Tensor, clock: Clock, delay: int) -> None:
    """See `layer.Kernels`."""
    arrived = axons[: max(0, axons.shape[0] - delay)]
    bags = arrived.reshape(-1, arrived.shape[2])
    table = torch.nn.functional.pad(weight.t(), (0, 0, 0, 1))  # the last row is for axons that are none
    none = weight.shape[1]
    rows = torch.nn.functional.embedding_bag(torch.where(bags < 0, none, bags), table, mode="sum", padding_idx=none)
    _by_token(out, clock)[delay:] += rows.view(-1, 1, *out.shape[1:])


def gathered_gradient(
    axons: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor, clock: Clock, delay: int
) -> torch.Tensor:
    """See `layer.Kernels`. It is a dense product: sums of rows by atomic operations would differ from run to run."""
    none = weight.shape[1]
    shown = grad.new_zeros(*axons.shape[:2], none + 1).scatter_add_(
        2, torch.where(axons < 0, none, axons), torch.ones((), device=grad.device).expand(axons.shape)
    )
    return product_gradient(shown[..., :none], None, _by_token(grad, clock).sum(1), delay)


def _by_token(values: torch.Tensor, clock: Clock) -> torch.Tensor:
    """The values in the slots in which each token is presented, `[tokens, presented, batch, neurons]`."""
    return values.view(-1, clock.slots, *values.shape[1:])[:, : clock.presented]


def add_product(
    out: torch.Tensor, spikes: torch.Tensor, kept: torch.Tensor | None, weight: torch.Tensor, delay: int
) -> None:
    """See `layer.Kernels`."""
    out[delay:].flatten(0, 1).addmm_(_arrived(spikes, kept, delay), weight.t())


def product_gradient(spikes: torch.Tensor, kept: torch.Tensor | None, grad: torch.Tensor, delay: int) -> torch.Tensor:
    """See `layer.Kernels`."""
    return grad[delay:].flatten(0, 1).t() @ _arrived(spikes, kept, delay)


def _arrived(spikes: torch.Tensor, kept: torch.Tensor | None, delay: int) -> torch.Tensor:
    """The spikes that arrive before the time is over, `[(time - delay) * batch, sources]`."""
    arrived = spikes[: max(0, spikes.shape[0] - delay)]
    return (arrived if kept is None else arrived * kept).flatten(0, 1)


def scan(
    membrane: torch.Tensor,
    spikes: torch.Tensor,
    rate: torch.Tensor,
    threshold: torch.Tensor,
    clock: Clock,
    weights: Sequence[torch.Tensor],
    delays: Sequence[int],
) -> None:
    """See `layer.Kernels`. Chunks are as long as the shortest delay, so no spike of a chunk is heard within it."""
    time = membrane.shape[0]
    carry = torch.zeros_like(membrane[0])
    chunk = min(delays, default=time)
    for start in range(0, time, chunk):
        stop = min(start + chunk, time)
        for weight, delay in zip(weights, delays, strict=True):
            first = max(start, delay)
            if first < stop:
                past = spikes[first - delay : stop - delay].flatten(0, 1)
                membrane[first:stop].flatten(0, 1).addmm_(past, weight.t())
        launch(
            _scan, carry,
            membrane, spikes, carry, rate, threshold, rate.numel(), clock.slots, clock.idle, start, stop,
        )  # fmt: skip


def scan_gradient(
    grad: torch.Tensor,
    membrane: torch.Tensor,
    rate: torch.Tensor,
    threshold: torch.Tensor,
    idle_decay: torch.Tensor,
    alpha: float,
    carry: torch.Tensor,
    clock: Clock,
    start: int,
    stop: int,
) -> None:
    """See `layer.Kernels`."""
    launch(
        _scan_gradient, carry,
        grad, membrane, carry, rate, threshold, idle_decay, alpha, rate.numel(), clock.slots, start, stop,
    )  # fmt: skip


def leaky_answers(out: torch.Tensor, drive: torch.Tensor, rate: float, clock: Clock) -> None:
    """See `layer.Kernels`."""
    launch(_leaky_answers, out[0], out, drive, rate, out.shape[0], clock.slots, clock.presented - 1, clock.idle)


def leaky_answers_gradient(into: torch.Tensor, grad: torch.Tensor, rate: float, clock: Clock) -> None:
    """See `layer.Kernels`."""
    decay = (1.0 - rate) ** clock.idle
    launch(_leaky_answers_gradient, grad[0], into, grad, rate, decay, grad.shape[0], clock.slots, clock.presented - 1)


def launch(kernel: Any, slot: torch.Tensor, *arguments: Any) -> None:
    """Run `kernel` with enough programs for all elements of `slot`."""
    row = slot.numel()
    with torch.cuda.device_of(slot):  # type: ignore[no-untyped-call]
        kernel[(-(-row // _BLOCK),)](*arguments, row, BLOCK=_BLOCK, num_warps=_BLOCK // 32, enable_fp_fusion=False)


# Triton reads annotations as instructions, so arrays and plain numbers have none.
# `row` is the number of elements in a slot, batch times neurons. Products with it may need 64 bits.


@triton.jit(do_not_specialize=["start", "stop"])  # type: ignore[untyped-decorator]
def _scan(  # type: ignore[no-untyped-def]
    membrane, spikes, carry, rate, threshold, neurons, slots, idle, start, stop, row, BLOCK: tl.constexpr
):
    """`kernels.scan` without recurrence, for the whole batch, over the slots `start..stop`.

    `carry` holds the membrane before these slots and is overwritten with the membrane after them.
    """
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    r = tl.load(rate + at % neurons, mask=inside, other=0.0)
    v_threshold = tl.load(threshold + at % neurons, mask=inside, other=0.0)
    v = tl.load(carry + at, mask=inside, other=0.0)
    membrane += start.to(tl.int64) * row
    spikes += start.to(tl.int64) * row
    for t in range(start, stop):
        v = v + r * (tl.load(membrane + at, mask=inside, other=0.0) - v)
        fired = v > v_threshold
        tl.store(membrane + at, v, mask=inside)
        tl.store(spikes + at, fired.to(tl.float32), mask=inside)
        v = tl.where(fired, 0.0, v)
        if (t + 1) % slots == 0:
            for _ in range(idle):
                v = v + r * (0.0 - v)
        membrane += row
        spikes += row
    tl.store(carry + at, v, mask=inside)


@triton.jit(do_not_specialize=["start", "stop"])  # type: ignore[untyped-decorator]
def _scan_gradient(  # type: ignore[no-untyped-def]
    grad, membrane, carry, rate, threshold, idle_decay, alpha, neurons, slots, start, stop, row, BLOCK: tl.constexpr
):
    """`kernels.scan_gradient`, for the whole batch."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    r = tl.load(rate + at % neurons, mask=inside, other=0.0)
    v_threshold = tl.load(threshold + at % neurons, mask=inside, other=0.0)
    decay = tl.load(idle_decay + at % neurons, mask=inside, other=0.0)
    back = tl.load(carry + at, mask=inside, other=0.0)
    half, bend = 0.5 * alpha, 1.5707963267948966 * alpha
    grad += (stop - 1).to(tl.int64) * row
    membrane += (stop - 1).to(tl.int64) * row
    for k in range(stop - start):
        if (stop - k) % slots == 0:
            back = back * decay
        distance = tl.load(membrane + at, mask=inside, other=0.0) - v_threshold
        y = bend * distance
        slope = half / (1.0 + y * y)
        g = tl.where(distance > 0, 0.0, back) + tl.load(grad + at, mask=inside, other=0.0) * slope
        tl.store(grad + at, r * g, mask=inside)
        back = (1.0 - r) * g
        grad -= row
        membrane -= row
    tl.store(carry + at, back, mask=inside)


@triton.jit  # type: ignore[untyped-decorator]
def _leaky_answers(out, drive, rate, tokens, slots, answered, idle, row, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """`kernels.leaky_answers`, for the whole batch."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    v = tl.full((BLOCK,), 0.0, tl.float32)
    for _ in range(tokens):
        for s in range(slots):
            v = v + rate * (tl.load(drive + at, mask=inside, other=0.0) - v)
            if s == answered:
                tl.store(out + at, v, mask=inside)
            drive += row
        for _ in range(idle):
            v = v + rate * (0.0 - v)
        out += row


@triton.jit(do_not_specialize=["tokens", "slots"])  # type: ignore[untyped-decorator]
def _leaky_answers_gradient(  # type: ignore[no-untyped-def]
    into, grad, rate, idle_decay, tokens, slots, answered, row, BLOCK: tl.constexpr
):
    """`kernels.leaky_answers_gradient`, for the whole batch."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < row
    back = tl.full((BLOCK,), 0.0, tl.float32)
    grad += (tokens - 1).to(tl.int64) * row
    into += (tokens * slots - 1).to(tl.int64) * row
    for _ in range(tokens):
        back = back * idle_decay
        for k in range(slots):
            if slots - 1 - k == answered:
                back = back + tl.load(grad + at, mask=inside, other=0.0)
            tl.store(into + at, rate * back, mask=inside)
            back = (1.0 - rate) * back
            into -= row
        grad -= row
