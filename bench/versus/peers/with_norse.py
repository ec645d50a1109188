"""Norse's `LIFBoxCell` and `LIBoxCell`, one step per tick.

Norse has no ATan surrogate. Here its threshold function learns the method "atan", which is muspike's; all other methods
stay as they are. The reset is detached through Norse's own `reset_method`.
"""

from __future__ import annotations

import torch
from norse.torch.functional import lif_box
from norse.torch.functional.leaky_integrator_box import LIBoxParameters
from norse.torch.module.leaky_integrator_box import LIBoxCell
from norse.torch.module.lif_box import LIFBoxCell

from muspike.network import Population
from muspike.neurons import atan_spike
from peers import Neurons, tau_of, v_threshold_of

_norses_threshold = lif_box.threshold


def _threshold(x: torch.Tensor, method: str, alpha: float) -> torch.Tensor:
    return atan_spike(x, float(alpha)) if method == "atan" else _norses_threshold(x, method, alpha)


lif_box.threshold = _threshold


def _reset(z: torch.Tensor, v: torch.Tensor, reset: torch.Tensor, v_th: torch.Tensor) -> torch.Tensor:
    return (1 - z.detach()) * v


class NorseNeurons(Neurons):
    def __init__(self, population: Population) -> None:
        super().__init__()
        rate = 1 / torch.tensor(tau_of(population))
        self.kept = 1 - 1 / tau_of(population)
        if population.kind == "li":
            self.cell = LIBoxCell(LIBoxParameters(tau_mem_inv=rate), dt=1.0)
        else:
            v_th = torch.tensor(v_threshold_of(population))
            self.cell = LIFBoxCell(
                lif_box.LIFBoxParameters(tau_mem_inv=rate, v_th=v_th, method="atan", alpha=2.0, reset_method=_reset),
                dt=1.0,
            )
        self.rest()

    def rest(self) -> None:
        self.state = None

    def forward(self, currents: torch.Tensor) -> torch.Tensor:
        spikes = []
        for current in currents:
            fired, self.state = self.cell(current, self.state)
            spikes.append(fired)
        return torch.stack(spikes)

    def idle(self, ticks: int) -> None:
        self.state = self.state._replace(v=self.state.v * self.kept**ticks)

    def membrane(self) -> torch.Tensor:
        return self.state.v
