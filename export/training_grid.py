"""A chip's weight grid in training: the forward pass computes with the weights that the chip will hold.

The network keeps its float weights. They receive the gradient as if nothing had been rounded (straight-through, Bengio
et al. 2013, arXiv 1308.3432). The rounding is that of `hardware.mapping.scale`. The neurons of a population that
share tau and threshold have one scale, and constant wires count in it. Each neuron of the readout has a scale of its
own.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import torch

from muspike.export.to_nir_file import to_nir
from muspike.hardware.chip import Chip, as_chip, known_chips, load_chip
from muspike.hardware.mapping.scale import on_grid
from muspike.hardware.reader.from_nir import from_nir
from muspike.network import Network


class TrainingGrid:
    """The weight grid of a chip, for `training.Run`.

    Args:
        chip: a `Chip`, the name of a known one, or the path of its TOML file.

    Raises:
        BadInput: there is no such chip.
    """

    def __init__(self, chip: Chip | str | os.PathLike[str]) -> None:
        self._chip = as_chip(chip)

    @property
    def chip(self) -> str:
        """The chip's name; for a chip of one's own with a digest of its registers, so that a run that is continued is
        known to be for the same chip."""
        name = self._chip.name
        if name in known_chips() and self._chip == load_chip(name):
            return name
        ranges = [(r.low, r.high, r.step) for r in vars(self._chip.ranges).values()]
        limits = [limit.value for limit in vars(self._chip.limits).values()]
        return f"{name}-{hashlib.sha256(repr((ranges, limits)).encode()).hexdigest()[:8]}"

    def rounding(self, network: Network) -> Rounding:
        """The rounding to set as `Network.rounding` of this network. The network must be on the CPU."""
        return Rounding(network, self._chip)


class Rounding:
    """Rounds the weights of a network, by synapse, as the compiled program will hold them.

    The rounded weights are in units of the float weights. The scales depend on the weights, so they are found anew
    whenever a weight has changed, and only then.
    """

    def __init__(self, network: Network, chip: Chip) -> None:
        graph = from_nir(to_nir(network))
        self._chip, self._network = chip, network
        self._synapses = {s.name: s for s in network.synapses}
        # The populations that trained synapses reach, each with all synapses into it in the graph's order.
        self._into = []
        for population, incoming in graph.with_incoming():
            if any(s.name in network.weights for s in incoming):
                self._into.append((population, incoming))
        self._of: list[tuple[torch.Tensor, int, torch.device]] = []
        self._rounded: dict[str, torch.Tensor] = {}

    def __call__(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Round `weights`, all that the network trains. The gradient of the result goes to `weights` unchanged."""
        of = [(w, w._version, w.device) for w in weights.values()]
        if len(of) != len(self._of) or any(
            a is not b or one != other for (a, *one), (b, *other) in zip(of, self._of, strict=True)
        ):
            self._rounded, self._of = self._round(weights), of
        return {name: _StraightThrough.apply(w, self._rounded[name]) for name, w in weights.items()}  # type: ignore[no-untyped-call]

    def _round(self, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rounded = {}
        for population, incoming in self._into:
            held = [
                self._network.matrix(self._synapses[s.name], weights[s.name].detach().cpu()).numpy()
                if s.name in weights
                else s.weight  # wires
                for s in incoming
            ]
            for s, w in zip(incoming, on_grid(population, held, self._chip), strict=True):
                if s.name in weights:
                    part = self._synapses[s.name].neurons
                    rounded[s.name] = torch.from_numpy(w)[:, part].to(weights[s.name])
        return rounded


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, rounded: torch.Tensor) -> torch.Tensor:
        return rounded.view_as(rounded)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grad_outputs[0], None
