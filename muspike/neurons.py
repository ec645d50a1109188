"""Leaky neurons: LIF and LI by forward Euler, the ATan surrogate, and their scan over many ticks.

    LIF:  v += dt/tau * (I - v);  s = v > v_threshold;  v = 0 where s
    LI:   the same membrane without spikes

These are NIR's LIF and LI with v_leak = 0, r = 1, v_reset = 0, `tau` in ticks. The surrogate derivative is
`alpha/2 / (1 + (pi/2 * alpha * (v - v_threshold))^2)` (ATan, Fang et al. 2021); no gradient flows through the reset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
import numpy.typing as npt
import torch
from norse.torch.module.snn import SNNCell

Array = npt.NDArray[np.float32]


class _ATan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: torch.Tensor, alpha: float) -> torch.Tensor:
        ctx.save_for_backward(distance)
        ctx.alpha = alpha
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        (distance,) = ctx.saved_tensors
        slope = ctx.alpha / 2 / (1 + (math.pi / 2 * ctx.alpha * distance) ** 2)
        return grad_outputs[0] * slope, None


def atan_spike(distance: torch.Tensor, alpha: float = 2.0) -> torch.Tensor:
    """1 where `distance` (membrane minus threshold) is above 0, else 0, with the ATan surrogate gradient."""
    spikes: torch.Tensor = _ATan.apply(distance, alpha)  # type: ignore[no-untyped-call]
    return spikes


class LIFState(NamedTuple):
    """Membrane `v` after the reset, `[..., neurons]`."""

    v: torch.Tensor


class LIFParameters(NamedTuple):
    """`tau` in ticks and `v_threshold`, each `[neurons]` or a scalar tensor; `alpha`, the slope of the surrogate."""

    tau: torch.Tensor
    v_threshold: torch.Tensor
    alpha: float = 2.0


def lif_step(
    current: torch.Tensor, state: LIFState, p: LIFParameters, dt: float = 1.0
) -> tuple[torch.Tensor, LIFState]:
    """One tick of the LIF of this module's docstring; `current` is `[..., neurons]`, `dt` in ticks."""
    v = state.v + dt / p.tau * (current - state.v)
    spikes = atan_spike(v - p.v_threshold, p.alpha)
    return spikes, LIFState(v * (1 - spikes.detach()))


def _rest(current: torch.Tensor) -> LIFState:
    return LIFState(torch.zeros_like(current))


class LIFCell(SNNCell):  # type: ignore[misc]  # norse has no types
    """`lif_step` as a Norse cell; spike for spike Norse's `LIFBoxCell`, with the ATan surrogate that Norse lacks."""

    def __init__(self, p: LIFParameters) -> None:
        super().__init__(lif_step, _rest, p, dt=1.0)


# The scan over time. Time is a run of slots, `slots` of them per token; after the last slot of a token the membrane
# decays through `idle` ticks in which no current arrives (a LIF without current does not spike).


@numba.njit(cache=True, nogil=True)
def _scan_forward(
    current: Array,
    rate: Array,
    threshold: Array,
    v: Array,
    slot: int,
    slots: int,
    idle: int,
    v_out: Array,
    spikes: Array,
) -> None:
    ticks, batch, neurons = current.shape
    for t in range(ticks):
        last = (slot + t + 1) % slots == 0
        for b in range(batch):
            for i in range(neurons):
                x = v[b, i]
                x = x + rate[i] * (current[t, b, i] - x)
                v_out[t, b, i] = x
                fired = x > threshold[i]
                spikes[t, b, i] = np.float32(1.0) if fired else np.float32(0.0)
                v[b, i] = np.float32(0.0) if fired else x
            if last:
                for _ in range(idle):
                    for i in range(neurons):
                        v[b, i] = v[b, i] + rate[i] * (np.float32(0.0) - v[b, i])


@numba.njit(cache=True, nogil=True)
def _scan_backward(
    grad_spikes: Array,
    v_out: Array,
    rate: Array,
    threshold: Array,
    idle_decay: Array,
    alpha: np.float32,
    grad_v: Array,
    slot: int,
    slots: int,
    grad_current: Array,
) -> None:
    ticks, batch, neurons = v_out.shape
    half = np.float32(0.5) * alpha
    bend = np.float32(math.pi / 2) * alpha
    one = np.float32(1.0)
    for t in range(ticks - 1, -1, -1):
        last = (slot + t + 1) % slots == 0
        for b in range(batch):
            if last:
                for i in range(neurons):
                    grad_v[b, i] *= idle_decay[i]
            for i in range(neurons):
                distance = v_out[t, b, i] - threshold[i]
                y = bend * distance
                kept = np.float32(0.0) if distance > 0 else grad_v[b, i]
                g = kept + grad_spikes[t, b, i] * half / (one + y * y)
                grad_current[t, b, i] = rate[i] * g
                grad_v[b, i] = (one - rate[i]) * g


class _LIFScan(torch.autograd.Function):
    """`lif_scan` as one node: the fused loops, and matrix products for the recurrence, chunk by chunk."""

    @staticmethod
    def forward(
        ctx: Any,
        current: torch.Tensor,
        rate: torch.Tensor,
        threshold: torch.Tensor,
        alpha: float,
        slots: int,
        idle: int,
        delays: tuple[int, ...],
        *weights: torch.Tensor,
    ) -> torch.Tensor:
        time, batch, neurons = current.shape
        chunk = min(delays, default=time)
        driven = current.clone(memory_format=torch.contiguous_format) if delays else current.contiguous()
        v_out, spikes = torch.empty_like(driven), torch.empty_like(driven)
        v = np.zeros((batch, neurons), np.float32)
        constants = rate.numpy(), threshold.numpy()
        transposed = [weight.detach().t() for weight in weights]
        for start in range(0, time, chunk):
            stop = min(start + chunk, time)
            for delay, weight in zip(delays, transposed, strict=True):
                first = max(start, delay)
                if first < stop:
                    past = spikes[first - delay : stop - delay].view(-1, neurons)
                    driven[first:stop].view(-1, neurons).addmm_(past, weight)
            here = slice(start, stop)
            _scan_forward(
                driven[here].numpy(), *constants, v, start, slots, idle, v_out[here].numpy(), spikes[here].numpy()
            )
        ctx.save_for_backward(rate, threshold, v_out, spikes, *weights)
        ctx.settings = alpha, slots, idle, delays, chunk
        return spikes

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[Any, ...]:
        rate, threshold, v_out, spikes, *weights = ctx.saved_tensors
        alpha, slots, idle, delays, chunk = ctx.settings
        time, batch, neurons = v_out.shape
        grad = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        grad_current = torch.empty_like(grad)
        grad_v = np.zeros((batch, neurons), np.float32)
        idle_decay = ((1 - rate) ** idle).numpy()
        constants = rate.numpy(), threshold.numpy(), idle_decay, np.float32(alpha)
        for start in reversed(range(0, time, chunk)):
            stop = min(start + chunk, time)
            for delay, weight in zip(delays, weights, strict=True):
                end = min(stop + delay, time)
                if start + delay < end:
                    future = grad_current[start + delay : end].view(-1, neurons)
                    grad[start : end - delay].view(-1, neurons).addmm_(future, weight)
            here = slice(start, stop)
            _scan_backward(
                grad[here].numpy(), v_out[here].numpy(), *constants, grad_v, start, slots, grad_current[here].numpy()
            )
        grad_weights = [
            grad_current[delay:].reshape(-1, neurons).t() @ spikes[: time - delay].reshape(-1, neurons)
            if delay < time
            else torch.zeros_like(weight)
            for delay, weight in zip(delays, weights, strict=True)
        ]
        return (grad_current, None, None, None, None, None, None, *grad_weights)


def lif_scan(
    current: torch.Tensor,
    p: LIFParameters,
    *,
    slots: int = 1,
    idle: int = 0,
    recurrent: Sequence[tuple[int, torch.Tensor]] = (),
) -> torch.Tensor:
    """Spikes `[time, batch, neurons]` of LIF neurons driven by `current` of that shape, float32, on the CPU.

    `recurrent` holds (delay in slots, at least 1; weight `[neurons, neurons]`, target first): the neurons' own spikes,
    `delay` slots ago, add `weight @ spikes` to the current. Every `slots` slots the membrane decays through `idle`
    ticks without current. Equal to `lif_scan_reference`, forward and backward.
    """
    neurons = current.shape[-1]
    rate = (1.0 / p.tau).to(torch.float32).expand(neurons).contiguous()
    threshold = p.v_threshold.to(torch.float32).expand(neurons).contiguous()
    delays = tuple(delay for delay, _ in recurrent)
    spikes: torch.Tensor = _LIFScan.apply(  # type: ignore[no-untyped-call]
        current, rate, threshold, p.alpha, slots, idle, delays, *(weight for _, weight in recurrent)
    )
    return spikes


def lif_scan_reference(
    current: torch.Tensor,
    p: LIFParameters,
    *,
    slots: int = 1,
    idle: int = 0,
    recurrent: Sequence[tuple[int, torch.Tensor]] = (),
) -> torch.Tensor:
    """`lif_scan` written plainly with `lif_step`, on any device: the meaning that the fused scan is held to."""
    state = _rest(current[0])
    spikes: list[torch.Tensor] = []
    for t in range(current.shape[0]):
        driven = current[t]
        for delay, weight in recurrent:
            if t >= delay:
                driven = driven + spikes[t - delay] @ weight.t()
        fired, state = lif_step(driven, state, p)
        spikes.append(fired)
        if (t + 1) % slots == 0:
            for _ in range(idle):
                state = LIFState(state.v + 1 / p.tau * (0 - state.v))
    return torch.stack(spikes)


@numba.njit(cache=True, nogil=True)
def _leaky_backward(grad: Array, rate: np.float32, idle_decay: np.float32, slots: int) -> None:
    """The adjoint of a leaky integrator, in place: the integrator run backwards in time."""
    ticks, batch, neurons = grad.shape
    carry = np.zeros((batch, neurons), np.float32)
    kept = np.float32(1.0) - rate
    for t in range(ticks - 1, -1, -1):
        decay = idle_decay if (t + 1) % slots == 0 else np.float32(1.0)
        for b in range(batch):
            for i in range(neurons):
                x = carry[b, i] * decay + grad[t, b, i]
                grad[t, b, i] = rate * x
                carry[b, i] = kept * x


class _LeakyScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, drive: torch.Tensor, rate: float, slots: int, idle: int) -> torch.Tensor:
        drive = drive.contiguous()
        trace, unused = torch.empty_like(drive), torch.empty_like(drive)
        neurons = drive.shape[-1]
        rates = np.full(neurons, rate, np.float32)
        never = np.full(neurons, np.inf, np.float32)
        v = np.zeros(drive.shape[1:], np.float32)
        _scan_forward(drive.numpy(), rates, never, v, 0, slots, idle, trace.numpy(), unused.numpy())
        ctx.settings = rate, slots, idle
        return trace

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        rate, slots, idle = ctx.settings
        grad = grad_outputs[0].clone(memory_format=torch.contiguous_format)
        _leaky_backward(grad.numpy(), np.float32(rate), np.float32((1 - rate) ** idle), slots)
        return grad, None, None, None


def leaky_scan(drive: torch.Tensor, tau: float, *, slots: int = 1, idle: int = 0) -> torch.Tensor:
    """Membranes `[time, batch, neurons]` of LI neurons with a common `tau` (ticks), driven by `drive` of that shape."""
    membranes: torch.Tensor = _LeakyScan.apply(drive, 1.0 / tau, slots, idle)  # type: ignore[no-untyped-call]
    return membranes
