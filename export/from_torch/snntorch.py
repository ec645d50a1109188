"""snnTorch's neurons (read in snntorch 1.0.0, `_neurons/*.py`).

`Leaky` computes mem = beta * mem + input, fires where mem > threshold, and resets the membrane in the next tick, before
it integrates: with `reset_mechanism="zero"` that is what NIR's LIF does. `Synaptic`, `Lapicque`, `RLeaky` and
`RSynaptic` set the membrane of the next tick to 0 as a whole, so the input of the tick after a spike is lost; with
`reset_delay=False` they reset at once, as NIR does. `RSynaptic` never resets then: it changes a local variable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from muspike.export.from_torch.neuron import Neuron, Refusal, array, fires_at_rest, leak, own_forward

LIBRARY = "snntorch"


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of this library that has a state."""
    return any(
        cls.__name__ == "SpikingNeuron" and cls.__module__.startswith("snntorch") for cls in type(module).__mro__
    )


def read(module: Any) -> Neuron:
    """A layer as a `Neuron`."""
    kind = next(cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("snntorch"))
    refusals = own_forward(module, "snntorch")
    if kind not in ("Leaky", "Synaptic", "RLeaky", "RSynaptic", "Lapicque"):
        return _unknown(module, kind)
    reset = module.reset_mechanism
    at_once = not getattr(module, "reset_delay", True)
    if reset == "subtract":
        delay = "" if at_once else " one tick later"
        refusals.append(
            Refusal(
                'reset_mechanism="subtract"',
                f"a spike subtracts the threshold{delay}, and a chip sets the membrane to 0",
                'train with reset_mechanism="zero"' + ("" if kind == "Leaky" else ", reset_delay=False"),
                "reset",
            )
        )
    elif reset == "zero" and kind == "Lapicque":
        refusals.append(
            Refusal(
                'Lapicque with reset_mechanism="zero"',
                "it drops the input of the tick after a spike, and a chip does not",
                'use Leaky(beta, reset_mechanism="zero")',
                "reset",
            )
        )
    elif reset == "zero" and kind == "RSynaptic":
        refusals.append(
            Refusal(
                'RSynaptic with reset_mechanism="zero"',
                "it drops the input of the tick after a spike (reset_delay=True), or never resets (reset_delay=False)",
                "use Synaptic(reset_delay=False) and a Linear from its spikes of the last tick",
                "reset",
            )
        )
    elif reset == "zero" and kind != "Leaky" and not at_once:
        refusals.append(
            Refusal(
                f'{kind} with reset_mechanism="zero", reset_delay=True',
                "it drops the input of the tick after a spike, and a chip does not",
                "train with reset_delay=False",
                "reset",
            )
        )
    if module.inhibition:
        refusals.append(
            Refusal("inhibition=True", "on a chip every neuron fires for itself", "leave it out, or wire inhibition")
        )
    if module.state_quant:
        refusals.append(
            Refusal(
                "state_quant", "a chip's states are integers of its own grid", "leave it out; muspike map quantises"
            )
        )
    if (array(module.graded_spikes_factor) != 1).any():
        factor = array(module.graded_spikes_factor).flat[0]
        refusals.append(
            Refusal(
                f"graded_spikes_factor = {factor:g}", "a neuron's spike is 0 or 1", "multiply it into the next weights"
            )
        )
    if kind == "Lapicque":
        r, c, step = (array(getattr(module, name)) for name in ("R", "C", "time_step"))
        kept, gain = 1 - step / (r * c), step / c
    else:
        kept, gain = np.clip(array(module.beta), 0, 1), np.ones(1)
    tau, wrong = leak(kept, "beta")
    refusals += wrong
    tau_syn = np.ones(1)
    if kind in ("Synaptic", "RSynaptic"):
        tau_syn, wrong = leak(np.clip(array(module.alpha), 0, 1), "alpha")
        refusals += wrong
        if np.isinf(tau_syn).any() or np.isinf(tau).any():
            refusals.append(
                Refusal("alpha or beta = 1", "a filtered current and membrane leak in NIR", "set it below 1")
            )
    threshold = array(module.threshold)
    refusals += fires_at_rest(threshold)
    return Neuron(
        tau=tau,
        gain=gain,
        threshold=None if reset == "none" else threshold,
        reaches=False,
        layout="tick",
        tau_syn=tau_syn,
        recurrent=_recurrent(module) if kind in ("RLeaky", "RSynaptic") else None,
        refusals=refusals,
        membrane=-1,
        reset=module.reset_mem,
    )


def _recurrent(module: Any) -> Any:
    inner = module.recurrent
    return inner if isinstance(inner, nn.Linear | nn.Conv2d) else array(inner.V)


def _unknown(module: nn.Module, kind: str) -> Neuron:
    what = Refusal(f"snntorch.{kind}", "it is no neuron of NIR", "use Leaky, Synaptic or RLeaky")
    return Neuron(np.ones(1), np.ones(1), np.ones(1), False, "tick", refusals=[what])
