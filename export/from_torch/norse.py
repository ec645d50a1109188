"""Norse's neurons (read in norse 1.1.0, `torch/functional/*.py`).

With a = dt * tau_mem_inv and b = dt * tau_syn_inv, and v counted from v_leak:

    LIF, LICell         i = (1 - b) i + x;  v += a (i - v)      the current acts in the tick in which it changes
    LIFBox, LIBox       v += a (x - v)
    IAF                 v += x

A neuron fires where v > v_th, and is set to v_reset, which must be its rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from muspike.export.from_torch.neuron import Neuron, Refusal, array, fires_at_rest, leak, own_forward

LIBRARY = "norse"
_CURRENT = ("LIF", "LIFCell", "LIFRecurrent", "LIFRecurrentCell", "LI", "LICell", "LILinearCell")
_BOX = ("LIFBoxCell", "LIBoxCell")
_IAF = ("IAF", "IAFCell")
_BASES = ("SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell", "LILinearCell")


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of this library that has a state."""
    return any(cls.__name__ in _BASES and cls.__module__.startswith("norse.") for cls in type(module).__mro__)


def read(module: Any) -> Neuron:
    """A layer as a `Neuron`."""
    kind = next(cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("norse."))
    layout: Any = "tick" if kind.endswith("Cell") else "time first"
    if kind not in _CURRENT + _BOX + _IAF:
        what = Refusal(f"norse.torch.{kind}", "it is no neuron of NIR", "use LIF, LIFBox, IAF or LI, or their cells")
        return Neuron(np.ones(1), np.ones(1), np.ones(1), False, layout, refusals=[what])
    refusals = own_forward(module, "norse.")
    p, dt = module.p, module.dt
    fires = "LI" not in kind.replace("LIF", "")
    rest = array(p.v_leak) if kind not in _IAF else array(p.v_reset)
    if fires and (array(p.v_reset) != rest).any():
        refusals.append(
            Refusal(
                f"v_reset = {array(p.v_reset).flat[0]:g} and v_leak = {rest.flat[0]:g}",
                "a chip's neuron rests and resets at one value",
                "train with v_reset = v_leak",
                "reset",
            )
        )
    if not fires and (rest != 0).any():
        refusals.append(
            Refusal(f"v_leak = {rest.flat[0]:g}", "a readout of the chip rests at 0", "train with v_leak = 0")
        )
    method = getattr(getattr(p, "reset_method", None), "__name__", "reset_value")
    if method != "reset_value":
        refusals.append(
            Refusal(
                f"reset_method={method}",
                "a spike subtracts the threshold, and a chip sets the membrane to 0",
                "train with reset_method=reset_value",
                "reset",
            )
        )
    tau, tau_syn, gain = np.array([np.inf]), np.ones(1), np.ones(1)
    if kind not in _IAF:
        a = _share(dt, p.tau_mem_inv)
        tau, wrong = leak(1 - a, "1 - dt * tau_mem_inv")
        tau, gain = 1 / a, a
        refusals += wrong
    if kind in _CURRENT:
        b = _share(dt, p.tau_syn_inv)
        _, wrong = leak(1 - b, "1 - dt * tau_syn_inv")
        tau_syn = 1 / b
        refusals += wrong
    threshold = array(p.v_th) - rest if fires else None
    if threshold is not None:
        refusals += fires_at_rest(threshold)
    recurrent = weights = None
    if "Recurrent" in kind:
        recurrent, weights = _linear(module.recurrent_weights), array(module.input_weights)
    if kind == "LILinearCell":
        weights = array(module.input_weights)
    return Neuron(
        tau=tau,
        gain=gain,
        threshold=threshold,
        reaches=False,
        layout=layout,
        tau_syn=tau_syn,
        recurrent=recurrent,
        weights=weights,
        refusals=refusals,
        state_given=layout == "tick",
    )


def _share(dt: float, inverse: Any) -> Any:
    """dt * tau_inv as Norse rounds it: a tensor of one number keeps its own precision."""
    product = dt * inverse
    return array(product.detach() if isinstance(product, torch.Tensor) else product)


def _linear(weight: torch.Tensor) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    made.weight = nn.Parameter(weight.detach().clone())
    return made
