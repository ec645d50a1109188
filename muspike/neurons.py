"""Leaky neurons: LIF and LI by forward Euler, the ATan surrogate, and their plain scan over many ticks.

    LIF:  v += dt/tau * (I - v);  s = v > v_threshold;  v = 0 where s
    LI:   the same membrane without spikes

These are NIR's LIF and LI with v_leak = 0, r = 1, v_reset = 0, `tau` in ticks. The surrogate derivative is
`alpha/2 / (1 + (pi/2 * alpha * (v - v_threshold))^2)` (ATan, Fang et al. 2021); no gradient flows through the reset.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """1 where `distance` (membrane minus threshold) is above 0, else 0, with the ATan surrogate gradient."""
    spikes: torch.Tensor = _ATan.apply(distance, alpha)  # type: ignore[no-untyped-call]
    return spikes


class Clock(NamedTuple):
    """How the time of a token is computed.

    Attributes:
        slots: ticks that are computed one by one.
        presented: of these, the first so many carry the token's input.
        idle: ticks after the slots, through which a membrane decays without current.
    """

    slots: int
    presented: int
    idle: int


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


def at_rest(current: torch.Tensor) -> LIFState:
    """The state of neurons that nothing has reached; `current` `[..., neurons]` gives the shape."""
    return LIFState(torch.zeros_like(current))


def rested(state: LIFState, p: LIFParameters, ticks: int) -> LIFState:
    """`state` after so many ticks without current."""
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
) -> torch.Tensor:
    """Spikes `[time, batch, neurons]` of LIF neurons driven by `current` of that shape, plainly with `lif_step`.

    Time is a run of slots, `slots` per token, after the last of which the membrane decays through `idle` ticks without
    current. `recurrent` holds (delay in slots, at least 1; weight `[neurons, neurons]`, target first): the neurons' own
    spikes, `delay` slots ago, add `weight @ spikes`. This is the meaning that every fused scan is held to.
    """
    state = at_rest(current[0])
    spikes: list[torch.Tensor] = []
    for t in range(current.shape[0]):
        driven = current[t]
        for delay, weight in recurrent:
            if t >= delay:
                driven = driven + spikes[t - delay] @ weight.t()
        fired, state = lif_step(driven, state, p)
        spikes.append(fired)
        if (t + 1) % slots == 0:
            state = rested(state, p, idle)
    return torch.stack(spikes)
