"""Leaky neurons: LIF and LI by forward Euler, the ATan surrogate, and a plain scan over many ticks.

    LIF:  v += dt/tau * (I - v);  s = v > v_threshold;  v = 0 where s
    LI:   the same membrane without spikes

v is the membrane, I the current, s the spike (0 or 1). These are NIR's LIF and LI with v_leak = 0, r = 1, v_reset = 0,
and `tau` in ticks. The surrogate derivative is `alpha/2 / (1 + (pi/2 * alpha * (v - v_threshold))^2)` (ATan, Fang et
al. 2021). No gradient flows through the reset.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch


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
    """1 where `distance` (membrane minus threshold) is above 0, else 0; the gradient is the ATan surrogate's."""
    spikes: torch.Tensor = _ATan.apply(distance, alpha)  # type: ignore[no-untyped-call]
    return spikes


class Clock(NamedTuple):
    """How a token's ticks are computed.

    Attributes:
        slots: number of ticks that are computed one by one.
        presented: number of slots, from the first on, in which the token is presented as input.
        idle: number of ticks after the slots, in which a membrane decays without current.
    """

    slots: int
    presented: int
    idle: int


class LIFState(NamedTuple):
    """State of LIF neurons: the membrane `v` after the reset, `[..., neurons]`."""

    v: torch.Tensor


class LIFParameters(NamedTuple):
    """Parameters of LIF neurons.

    Attributes:
        tau: time constant in ticks, `[neurons]` or a scalar tensor.
        v_threshold: threshold, `[neurons]` or a scalar tensor.
        alpha: slope of the surrogate gradient.
    """

    tau: torch.Tensor
    v_threshold: torch.Tensor
    alpha: float = 2.0


def lif_step(
    current: torch.Tensor, state: LIFState, p: LIFParameters, dt: float = 1.0
) -> tuple[torch.Tensor, LIFState]:
    """Compute one tick of the LIF in this module's docstring: the spikes `[..., neurons]`, and the state after it.

    `current` is `[..., neurons]`; `dt` is in ticks.
    """
    v = state.v + dt / p.tau * (current - state.v)
    spikes = atan_spike(v - p.v_threshold, p.alpha)
    return spikes, LIFState(v * (1 - spikes.detach()))


Step = Callable[[torch.Tensor, LIFState, LIFParameters], tuple[torch.Tensor, LIFState]]
"""One tick of neurons, such as `lif_step`: their outputs and the state after it."""


def at_rest(current: torch.Tensor) -> LIFState:
    """The state of neurons at rest: membranes of 0, in the shape of `current` `[..., neurons]`."""
    return LIFState(torch.zeros_like(current))


def rested(state: LIFState, p: LIFParameters, ticks: int) -> LIFState:
    """The state that `state` becomes after `ticks` ticks without current."""
    for _ in range(ticks):
        state = LIFState(state.v + 1 / p.tau * (0 - state.v))
    return state


def lif_scan_reference(
    current: torch.Tensor,
    p: LIFParameters,
    *,
    slots: int = 1,
    idle: int = 0,
    recurrent: Sequence[tuple[int, torch.Tensor]] = (),
    step: Step = lif_step,
) -> torch.Tensor:
    """Spikes `[time, batch, neurons]` of LIF neurons, computed slot by slot with `lif_step`.

    Tests hold every fused scan to this function.

    Args:
        current: `[time, batch, neurons]`, the current in each slot.
        p: parameters of the neurons.
        slots: slots per token.
        idle: ticks without current after a token's last slot, in which the membrane decays.
        recurrent: pairs (delay in slots, at least 1; weight `[neurons, neurons]`, target first). The neurons' own
            spikes of `delay` slots ago add the current `weight @ spikes`.
        step: another tick than `lif_step`, of neurons that put out something else.
    """
    state = at_rest(current[0])
    spikes: list[torch.Tensor] = []
    # Slices of `unbind` have one gradient together; one of `current[t]` would be as large as `current`, for each t.
    for t, driven in enumerate(current.unbind(0)):
        for delay, weight in recurrent:
            if t >= delay:
                driven = driven + spikes[t - delay] @ weight.t()
        fired, state = step(driven, state, p)
        spikes.append(fired)
        if (t + 1) % slots == 0:
            state = rested(state, p, idle)
    return torch.stack(spikes)
