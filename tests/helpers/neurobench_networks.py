"""Networks of snnTorch whose numbers are a chip's integers, so that a chip's spikes are the module's, and their input.

NeuroBench and muspike both run them, so the file imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import snntorch as snn
import torch
from torch import nn

Made = tuple[nn.Module, torch.Tensor]

TICKS, BATCH = 40, 3
BETA = 0.5  # half of the membrane stays: exact in floats, and on the chip but for its last bits


def leaky(**more: Any) -> Any:
    """A layer that resets to 0 in the tick in which it fires, as NIR's LIF does."""
    usual = {"beta": BETA, "threshold": 60.0, "reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
    return snn.Leaky(**(usual | more))


class Net(nn.Module):
    """Layers one behind the other; forward computes a tick, and gives what NeuroBench expects of it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, None]:
        gave = self.layers(spikes)
        return gave[-1] if isinstance(gave, tuple) else gave, None  # of a readout, the membrane


def whole_numbers(net: nn.Module, seed: int = 0) -> nn.Module:
    """The same module with even weights from -40 to 60, a quarter of them 0, and no biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
                continue
            drawn = 2.0 * torch.randint(-20, 31, parameter.shape, generator=generator)
            parameter.copy_(drawn * (torch.rand(parameter.shape, generator=generator) > 0.25))
    return net.eval()


def spikes(*shape: int, rate: float = 0.3) -> torch.Tensor:
    """Random spikes `[ticks, batch, ...]`."""
    generator = torch.Generator().manual_seed(1)
    return (torch.rand(TICKS, BATCH, *shape, generator=generator) < rate).float()


def mlp() -> Made:
    layers = [nn.Linear(12, 16), leaky(), nn.Linear(16, 8), leaky(), nn.Linear(8, 4), leaky()]
    return whole_numbers(Net(*layers)), spikes(12)


def conv() -> Made:
    layers = [
        nn.Conv2d(2, 4, 3, padding=1),
        leaky(beta=1.0),
        nn.Conv2d(4, 3, 3, stride=2, bias=False),
        leaky(beta=1.0),
        nn.Flatten(),
        nn.Linear(27, 5),
        leaky(beta=1.0),
    ]
    return whole_numbers(Net(*layers)), spikes(2, 8, 8, rate=0.1)


class Loop(nn.Module):
    """One layer that hears its own spikes of the last tick, and a layer behind it.

    Args:
        functional: whether the recurrent weights are multiplied by a function, and not by a module.
    """

    def __init__(self, functional: bool = False) -> None:
        super().__init__()
        self.into, self.again, self.out = nn.Linear(10, 12), nn.Linear(12, 12, bias=False), nn.Linear(12, 4)
        self.first, self.second = leaky(), leaky()
        self.functional = functional
        self.fired: torch.Tensor | None = None

    def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, None]:
        fired = torch.zeros(len(spikes), 12) if self.fired is None else self.fired
        back = nn.functional.linear(fired, self.again.weight) if self.functional else self.again(fired)
        self.fired = self.first(self.into(spikes) + back)
        return self.second(self.out(self.fired)), None


def recurrent() -> Made:
    return whole_numbers(Loop()), spikes(10)


EQUAL: Mapping[str, Callable[[], Made]] = {"mlp": mlp, "conv": conv, "recurrent": recurrent}
"""Networks that NeuroBench's hooks take whole."""


# --- what the hooks miss: a network, and the same one as muspike reads it ---------------------------------------------


def functional() -> Made:
    return whole_numbers(Loop(functional=True)), spikes(10)


def _rleaky(**more: Any) -> Made:
    made = {"beta": BETA, "threshold": 60.0, "reset_mechanism": "zero", "reset_delay": False, "init_hidden": True}
    layers = [nn.Linear(10, 12), snn.RLeaky(**made, **more), nn.Linear(12, 4), leaky()]
    return whole_numbers(Net(*layers)), spikes(10)


def rleaky() -> Made:
    """snnTorch computes the recurrent product twice in each tick: for the membrane, and for its reset to zero."""
    return _rleaky(linear_features=12)


def one_to_one() -> Made:
    return _rleaky(all_to_all=False, V=torch.ones(12))


class Branches(nn.Module):
    """One Linear that two branches share, each a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        shared = nn.Linear(12, 8, bias=False)
        self.one, self.other = nn.Sequential(shared, leaky()), nn.Sequential(shared, leaky(threshold=100.0))

    def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, None]:
        return torch.cat([self.one(spikes), self.other(spikes)], 1), None


def shared() -> Made:
    return whole_numbers(Branches()), spikes(12)


class Integrator(nn.Module):
    """A readout that somebody wrote for himself: v = v / 2 + input."""

    def __init__(self) -> None:
        super().__init__()
        self.v: torch.Tensor | float = 0.0

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        self.v = self.v / 2 + current
        return self.v


def own_readout() -> Made:
    layers = [nn.Linear(12, 16), leaky(), nn.Linear(16, 8), Integrator()]
    return whole_numbers(Net(*layers)), spikes(12)


def leaky_readout() -> Made:
    """The same readout as a neuron that never fires: its silence counts as sparsity."""
    readout = leaky(threshold=1e9, reset_mechanism="none", output=True)
    return whole_numbers(Net(nn.Linear(12, 16), leaky(), nn.Linear(16, 8), readout)), spikes(12)


def late_reset() -> Made:
    """snnTorch's default: a membrane stays above the threshold for a tick, and is reset in the next."""
    return whole_numbers(Net(nn.Linear(12, 16), leaky(reset_delay=True))), spikes(12)


class Threshold(nn.Module):
    """A neuron of another library: beta 0.5, threshold 60, reset to 0."""

    def __init__(self) -> None:
        super().__init__()
        self.v: torch.Tensor | float = 0.0

    def forward(self, current: torch.Tensor) -> torch.Tensor:
        v = self.v / 2 + current
        fired = (v > 60.0).float()
        self.v = v * (1 - fired)
        return fired


def other_library() -> Made:
    layers = [nn.Linear(12, 16), Threshold(), nn.Linear(16, 8), Threshold(), nn.Linear(8, 4), Threshold()]
    return whole_numbers(Net(*layers)), spikes(12)


def pooled() -> Made:
    layers = [nn.AvgPool2d(2), nn.Conv2d(2, 4, 3, bias=False), leaky(threshold=20.0)]
    return whole_numbers(Net(*layers)), spikes(2, 8, 8)


def counts() -> Made:
    """Graded input: the events of a tick, of which there are seldom more than one."""
    many = spikes(12, rate=0.1) + spikes(12, rate=0.1).flip(0) * (torch.arange(TICKS) % 4 == 0)[:, None, None]
    return whole_numbers(Net(nn.Linear(12, 16), leaky())), many


def wide() -> Made:
    """More operations in a tick than single precision counts: 1,001 x 1,001 connections, 17 sequences."""
    generator = torch.Generator().manual_seed(1)
    sample = (torch.rand(1, 17, 1001, generator=generator) < 0.5).float()
    return whole_numbers(Net(nn.Linear(1001, 1001, bias=False), leaky())), sample


def rnn_layer() -> Made:
    """Its layer of nn.RNN is one that NeuroBench does not know how to count."""

    class WithRNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.neurons, self.rnn = nn.Linear(12, 16), leaky(), nn.RNN(16, 8)

        def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, None]:
            return self.rnn(self.neurons(self.into(spikes))[None])[0][0], None

    return whole_numbers(WithRNN()), spikes(12)


def lstm_cell(rate: float = 0.3) -> Made:
    """A cell whose states are 0 at first, and stay so in silence."""

    class WithCell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTMCell(12, 8)
            self.state = torch.zeros(BATCH, 8), torch.zeros(BATCH, 8)

        def forward(self, spikes: torch.Tensor) -> tuple[torch.Tensor, None]:
            self.state = self.cell(spikes, self.state)
            return self.state[0], None

    return whole_numbers(WithCell()), spikes(12, rate=rate)


def lstm_cell_in_silence() -> Made:
    return lstm_cell(rate=0.0)


MISSED: Mapping[str, tuple[Callable[[], Made], Callable[[], Made]]] = {
    "functional": (functional, recurrent),
    "rleaky": (rleaky, rleaky),
    "one_to_one": (one_to_one, one_to_one),
    "shared": (shared, shared),
    "own_readout": (own_readout, leaky_readout),
    "leaky_readout": (leaky_readout, leaky_readout),
    "late_reset": (late_reset, late_reset),
    "other_library": (other_library, mlp),
    "pooled": (pooled, pooled),
    "counts": (counts, counts),
    "wide": (wide, wide),
}
"""What the hooks see otherwise than it is: the network, and the same network as muspike reads it."""
CELLS: Mapping[str, Callable[[], Made]] = {
    "rnn_layer": rnn_layer,
    "lstm_cell": lstm_cell,
    "lstm_cell_in_silence": lstm_cell_in_silence,
}
"""Recurrent layers of torch, which do not spike and so are none of muspike's."""
ALL: Mapping[str, Callable[[], Made]] = {**EQUAL, **{name: made for name, (made, _) in MISSED.items()}, **CELLS}
