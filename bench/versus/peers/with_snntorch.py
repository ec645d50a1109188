"""snnTorch's `Leaky`, one step per tick.

Its membrane is `beta * mem + input`, so its weights are ours divided by tau. The readout is a `Leaky` without reset.
"""

from __future__ import annotations

import snntorch
import torch
from snntorch import surrogate

from muspike.network import Population
from peers import Neurons, tau_of, v_threshold_of


class SnnTorchNeurons(Neurons):
    def __init__(self, population: Population) -> None:
        super().__init__()
        self.per_current = 1 / tau_of(population)
        self.kept = 1 - 1 / tau_of(population)
        if population.kind == "li":
            self.leaky = snntorch.Leaky(self.kept, surrogate_disable=True, reset_mechanism="none")
        else:
            self.leaky = snntorch.Leaky(
                self.kept, v_threshold_of(population), surrogate.atan(alpha=2.0), reset_mechanism="zero"
            )
        self.spikes = population.kind == "lif"

    def rest(self) -> None:
        self.mem = self.leaky.reset_mem()

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        spikes = []
        for current in currents:
            fired, self.mem = self.leaky(current, self.mem)
            spikes.append(fired)
        self.fired = fired
        return torch.stack(spikes)

    def idle(self, ticks: int) -> None:
        # snnTorch resets at the next step. The reset comes before the decay.
        mem = self.mem * (1 - self.fired.detach()) if self.spikes else self.mem
        self.mem = mem * self.kept**ticks

    def membrane(self) -> torch.Tensor:
        return self.mem
