"""SpikingJelly's `LIFNode` in multi-step mode: one operator for the ticks of a token, forward and backward.

On a CPU it has one implementation, in PyTorch. The readout is a `LIFNode` with an infinite threshold.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from spikingjelly.activation_based import neuron, surrogate

from muspike.network import Population
from peers import Neurons, tau_of, v_threshold_of


class SpikingJellyNeurons(Neurons):
    def __init__(self, population: Population) -> None:
        super().__init__()
        tau = tau_of(population)
        self.kept = 1 - 1 / tau
        # SpikingJelly spikes at the threshold, muspike above it. So the threshold is the next float32.
        above = float(np.nextafter(np.float32(v_threshold_of(population)), np.float32(np.inf)))
        options = {
            "v_threshold": math.inf if population.kind == "li" else above,
            "v_reset": 0.0,
            "surrogate_function": surrogate.ATan(alpha=2.0),
            "detach_reset": True,
            "step_mode": "m",
        }
        # LIFNode refuses a tau of one tick. Its membrane would be its input, so an IFNode is used that forgets each
        # tick.
        self.forgets = tau == 1
        self.node = neuron.IFNode(**options) if self.forgets else neuron.LIFNode(tau=tau, decay_input=True, **options)

    def rest(self) -> None:
        self.node.reset()

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        if not self.forgets:
            return self.node(currents)
        spikes = []
        for current in currents:
            self.node.reset()
            spikes.append(self.node(current[None]))
        return torch.cat(spikes)

    def idle(self, ticks: int) -> None:
        self.node.v = self.node.v * self.kept**ticks

    def membrane(self) -> torch.Tensor:
        return self.node.v
