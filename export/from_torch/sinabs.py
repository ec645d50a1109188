"""sinabs' neurons (read in sinabs 3.1.3, `layers/lif.py`, `layers/functional/lif.py`).

With a = exp(-1 / tau_mem) and b = exp(-1 / tau_syn):

    i = b (i + x)                                   without tau_syn: i = x
    v = a v + (1 - a) i                             norm_input=False, and IAF (a = 1): v = a v + i

A neuron fires where v >= spike_threshold with `spike_fn=SingleSpike`; `MembraneReset()` sets it to 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from muspike.export.from_torch.neuron import Layout, Neuron, Refusal, array, fires_at_rest, leak, own_forward

LIBRARY = "sinabs"


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of this library that has a state."""
    return any(cls.__name__ == "StatefulLayer" and cls.__module__.startswith("sinabs") for cls in type(module).__mro__)


def read(module: Any) -> Neuron:
    """A layer as a `Neuron`."""
    kinds = [cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("sinabs")]
    if "LIF" not in kinds or "ALIF" in kinds:
        what = Refusal(f"sinabs {kinds[0]}", "it is no neuron of NIR", "use LIF, IAF or ExpLeak")
        return Neuron(np.ones(1), np.ones(1), np.ones(1), True, "batch first", refusals=[what])
    refusals = own_forward(module, "sinabs")
    fires = module.spike_fn is not None
    if fires:
        refusals += _firing(module)
    if module.min_v_mem is not None:
        refusals.append(
            Refusal(
                f"min_v_mem = {array(module.min_v_mem).flat[0]:g}",
                "a chip's membrane has no lower bound that a network could set",
                "train with min_v_mem=None",
            )
        )
    kept = array(module.alpha_mem_calculated)
    tau, wrong = leak(kept, "exp(-1 / tau_mem)")
    refusals += wrong
    tau_syn, synaptic_gain = np.ones(1), np.ones(1)
    if (alpha := module.alpha_syn_calculated) is not None:
        tau_syn, wrong = leak(alpha, "exp(-1 / tau_syn)")
        refusals += wrong
        synaptic_gain = array(alpha)
        if np.isinf(tau).any():
            refusals.append(
                Refusal("IAF with tau_syn", "NIR has no filtered current without a membrane leak", "leave tau_syn out")
            )
    threshold = array(module.spike_threshold) if fires else None
    if threshold is not None:
        refusals += fires_at_rest(threshold, reaches=True)
    merged = any(name.endswith("Squeeze") for name in kinds)
    layout: Layout = "merged" if merged else "batch first"
    batch = 0
    if merged:
        batch = module.batch_size if module.batch_size > 0 else -module.num_timesteps
    recurrent = None
    if "LIFRecurrent" in kinds:
        recurrent, wrong = _recurrent(module.rec_connect)
        refusals += wrong
    return Neuron(
        tau=tau,
        gain=1 - kept if module.norm_input else np.ones(1),
        threshold=threshold,
        reaches=True,
        layout=layout,
        tau_syn=tau_syn,
        synaptic_gain=synaptic_gain,
        batch=batch,
        recurrent=recurrent,
        recurrent_late=True,
        refusals=refusals,
        reset=module.reset_states,
    )


def _firing(module: Any) -> list[Refusal]:
    """What a chip cannot do of how a layer fires and resets."""
    refusals = []
    fires = module.spike_fn if isinstance(module.spike_fn, type) else type(module.spike_fn)
    once = fires.__name__ == "SingleSpike" or getattr(module.spike_fn, "max_num_spikes_per_bin", None) == 1
    if not once:
        refusals.append(
            Refusal(
                f"spike_fn={fires.__name__}",
                "a neuron of it fires several times in a tick, and one of a chip at most once",
                "train with spike_fn=SingleSpike",
                "reset",
            )
        )
    resets = type(module.reset_fn).__name__
    if resets != "MembraneReset":
        refusals.append(
            Refusal(
                f"reset_fn={resets}",
                "a spike subtracts from the membrane, and a chip sets it to 0",
                "train with reset_fn=MembraneReset()",
                "reset",
            )
        )
    elif module.reset_fn.reset_value != 0:
        refusals.append(
            Refusal(
                f"MembraneReset(reset_value={module.reset_fn.reset_value:g})",
                "a chip sets the membrane to 0",
                "train with reset_value=0",
                "reset",
            )
        )
    return refusals


def _recurrent(module: nn.Module) -> tuple[nn.Module | None, list[Refusal]]:
    """The one Linear or Conv2d of a recurrent connection, which may be among modules that only rearrange."""
    leaves = [leaf for leaf in module.modules() if not list(leaf.children())]
    weighted = [leaf for leaf in leaves if isinstance(leaf, nn.Linear | nn.Conv2d)]
    if len(weighted) == 1 and all(
        isinstance(x, nn.Flatten | nn.Unflatten | nn.Identity) or x in weighted for x in leaves
    ):
        return weighted[0], []
    return None, [Refusal("rec_connect", "it is not one Linear or Conv2d", "make it one")]
