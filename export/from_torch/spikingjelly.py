"""SpikingJelly's neurons (read in spikingjelly 0.0.0.0.14 and 2.0.0, `activation_based/neuron`).

With v counted from v_reset, which is also the rest and the first membrane:

    IFNode              v += x
    LIFNode             v += (x - v) / tau;      decay_input=False: v += x - v / tau
    ParametricLIFNode   the same with 1 / tau = sigmoid(w)

A neuron fires where v >= v_threshold - v_reset, and is then at rest. So a v_reset other than 0 is exact.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from muspike.export.from_torch.neuron import Neuron, Refusal, array, fires_at_rest, own_forward

LIBRARY = "spikingjelly"


def is_neuron(module: nn.Module) -> bool:
    """Whether a module is a layer of this library that fires."""
    return any(
        cls.__name__ in ("BaseNode", "SimpleBaseNode") and cls.__module__.startswith("spikingjelly")
        for cls in type(module).__mro__
    ) or (type(module).__module__.startswith("spikingjelly") and type(module).__name__ == "PSN")


def read(module: Any) -> Neuron:
    """A layer as a `Neuron`."""
    kind = next(cls.__name__ for cls in type(module).__mro__ if cls.__module__.startswith("spikingjelly"))
    if kind not in ("IFNode", "LIFNode", "ParametricLIFNode"):
        what = Refusal(f"spikingjelly {kind}", "it is no neuron of NIR", "use IFNode, LIFNode or ParametricLIFNode")
        return Neuron(np.ones(1), np.ones(1), np.ones(1), True, "tick", refusals=[what])
    refusals = own_forward(module, "spikingjelly")
    if type(module).__module__.split(".")[0] != "spikingjelly":
        refusals.append(
            Refusal(
                f"{type(module).__name__} is a class of its own",
                f"it may charge, fire or reset otherwise than {kind}",
                f"use {kind}",
            )
        )
    rest = 0.0 if module.v_reset is None else float(module.v_reset)
    if module.v_reset is None:
        refusals.append(
            Refusal(
                "v_reset=None",
                "a spike subtracts the threshold, and a chip sets the membrane to 0",
                "train with v_reset=0.0",
                "reset",
            )
        )
    if kind == "IFNode":
        tau = math.inf
    elif kind == "LIFNode":
        tau = float(module.tau)
    else:
        tau = 1 / float(module.w.detach().double().sigmoid())
    decays = kind != "IFNode" and module.decay_input
    threshold = array(module.v_threshold) - rest
    refusals += fires_at_rest(threshold, reaches=True)
    return Neuron(
        tau=np.array([tau]),
        gain=np.array([1 / tau if decays else 1.0]),
        threshold=None if np.isinf(threshold).all() else threshold,
        reaches=True,
        layout="time first" if module.step_mode == "m" else "tick",
        refusals=refusals,
        reset=module.reset,
    )
