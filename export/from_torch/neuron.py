"""What a neuron layer of a torch library computes in a tick, in the terms of NIR; and what a chip cannot do.

One module of this folder for each library (`norse.py`, `sinabs.py`, `snntorch.py`, `spikingjelly.py`) reads a layer's
settings as a `Neuron`. With x the input of a tick, every neuron of NIR that a tool can mean is

    i = (1 - 1 / tau_syn) i + synaptic_gain x          tau_syn = 1: i = synaptic_gain x
    v = (1 - 1 / tau) v + gain i                       tau = inf: v = v + gain i
    s = v > threshold (or >=);  v = 0 where s          a readout never fires

where v counts from the membrane's rest. Times are in ticks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import nir
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

Doubles = npt.NDArray[np.float64]
Layout = Literal["tick", "time first", "batch first", "merged"]
"""How a layer's input holds time: one call per tick; `[ticks, batch, ...]`; `[batch, ticks, ...]`; or batch and ticks
as one dimension, sequence after sequence."""


class Refusal(NamedTuple):
    """What a chip cannot do.

    Attributes:
        setting: the setting as it is: `reset_mechanism="subtract"`.
        why: what the chip does instead.
        instead: what to do about it.
        allowance: the name under which it can be converted all the same, changed; None: it cannot.
    """

    setting: str
    why: str
    instead: str
    allowance: str | None = None


@dataclass(frozen=True, eq=False)
class Neuron:
    """A layer of neurons. Arrays are float64, of one value or of one value per neuron.

    Attributes:
        tau, tau_syn: time constants in ticks; inf: no leak; 1: no synaptic filter.
        gain, synaptic_gain: what a unit adds to membrane and current.
        threshold: of the membrane, counted from its rest; None: a readout, which never fires.
        reaches: whether a neuron fires as soon as its membrane reaches the threshold (>=). False: above it (>).
        layout: how the input holds time.
        batch: for the layout `merged`, the number of sequences.
        recurrent: what the layer's own spikes of the last tick pass through on their way back into it: a Linear or
            Conv2d, or one weight per neuron; None: nothing.
        recurrent_late: whether the bias of `recurrent` acts from the second tick on. False: from the first.
        weights: what the input passes through inside the layer, `[neurons, inputs]`.
        refusals: what of the layer a chip cannot do.
        membrane: which tensor of the layer's output a readout's membrane is; the spikes are always the first.
        state_given: whether the layer begins at rest in every call that gives it no state.
        reset: brings the state to rest.
    """

    tau: Doubles
    gain: Doubles
    threshold: Doubles | None
    reaches: bool
    layout: Layout
    tau_syn: Doubles = field(default_factory=lambda: np.ones(1))
    synaptic_gain: Doubles = field(default_factory=lambda: np.ones(1))
    batch: int = 0
    recurrent: nn.Module | Doubles | None = None
    recurrent_late: bool = False
    weights: Doubles | None = None
    refusals: Sequence[Refusal] = ()
    membrane: int = 0
    state_given: bool = False
    reset: Callable[[], object] = lambda: None

    def node(self, shape: Sequence[int], dt_s: float) -> nir.NIRNode:
        """The NIR node of neurons in this shape."""

        def spread(value: Doubles) -> Doubles:
            return np.broadcast_to(
                value.reshape(value.shape if value.ndim != 1 or len(value) > 1 else ()), shape
            ).copy()

        tau, zero = spread(self.tau), np.zeros(shape)
        threshold = None
        if self.threshold is not None:
            threshold = spread(self.threshold)
            if self.reaches:  # in float64, v >= t is the same as v > the largest number below t
                threshold = np.nextafter(threshold, -np.inf)
        fires = {} if threshold is None else {"v_threshold": threshold, "v_reset": zero}
        if (self.tau_syn != 1).any():
            tau_syn = spread(self.tau_syn)
            times = {"tau_syn": tau_syn * dt_s, "tau_mem": tau * dt_s}
            gains = {"w_in": _over(spread(self.synaptic_gain), tau_syn), "r": _over(spread(self.gain), tau)}
            kind = nir.CubaLI if threshold is None else nir.CubaLIF
            return kind(**times, **gains, v_leak=zero, **fires)
        gain = spread(self.gain) * spread(self.synaptic_gain)
        if np.isinf(tau).all():
            return nir.I(r=gain) if threshold is None else nir.IF(r=gain, **fires)
        kind = nir.LI if threshold is None else nir.LIF
        return kind(tau=tau * dt_s, r=_over(gain, tau), v_leak=zero, **fires)


def _over(gain: Doubles, tau: Doubles) -> Doubles:
    """The r for which r / tau is the gain, also in float64 where a neighbouring number makes it so."""
    r = gain * tau
    for candidate in (np.nextafter(r, -np.inf), np.nextafter(r, np.inf)):
        r = np.where((r * (1 / tau) != gain) & (candidate * (1 / tau) == gain), candidate, r)
    return np.asarray(r)


def leak(kept: Any, path: str) -> tuple[Doubles, list[Refusal]]:
    """The time constant of a state that keeps this part of itself in a tick, and what is wrong with the part."""
    kept = array(kept)
    refusals = []
    if (kept < 0).any() or (kept > 1).any():
        refusals.append(Refusal(f"{path} = {kept.min():g}", "a state keeps 0 to 1 of itself in a tick", "train it so"))
        kept = np.clip(kept, 0, 1)
    if (kept == 1).any() and not (kept == 1).all():
        refusals.append(
            Refusal(f"{path} is 1 for some neurons only", "NIR has no leak for all of a layer or for none", "split it")
        )
    with np.errstate(divide="ignore"):
        return 1 / (1 - kept), refusals


def array(value: Any) -> Doubles:
    """A number or tensor as float64 of at least one dimension."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    return np.atleast_1d(np.asarray(value, np.float64))


def fires_at_rest(threshold: Doubles, reaches: bool = False) -> list[Refusal]:
    """The refusal of a threshold at which a neuron at rest fires; empty if there is none."""
    if (threshold > 0 if reaches else threshold >= 0).all():
        return []
    return [
        Refusal(
            f"threshold = {threshold.min():g} above the rest",
            "a neuron of a chip does not fire at rest",
            "clamp it in training, or give it a range",
        )
    ]


def own_forward(module: nn.Module, library: str) -> list[Refusal]:
    """The refusal of a class of the user's that computes something else than the library's; empty if it does not."""
    if type(module).forward.__module__.startswith(library):
        return []
    return [
        Refusal(
            f"{type(module).__name__} has a forward of its own",
            f"only {library}'s own neurons have an equation that is known",
            "use the library's class",
        )
    ]
