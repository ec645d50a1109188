"""snnTorch's neurons as NIR's: every spike, and every setting that no chip has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from muspike.errors import BadInput
from muspike.export.from_torch.convert import convert
from muspike.hardware import interpreter
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.readings import READINGS
from torch_runs import held, lively, nodes, spikes

snn: Any = pytest.importorskip("snntorch")
ZERO = {"reset_mechanism": "zero"}
AT_ONCE = {"reset_mechanism": "zero", "reset_delay": False}


class Net(nn.Module):
    """A loop as in snnTorch's tutorials: each layer returns its spikes and its states, and is given the states."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.fc1, self.lif1, self.fc2, self.lif2 = nn.Linear(12, 10), first, nn.Linear(10, 6), second

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        states1, states2 = self._states(self.lif1), self._states(self.lif2)
        spk_rec, mem_rec = [], []
        for tick in x:
            spk, *states = self.lif1(self.fc1(tick), *states1)
            states1 = [spk, *states] if hasattr(self.lif1, "recurrent") else states
            out, *states = self.lif2(self.fc2(spk), *states2)
            states2 = [out, *states] if hasattr(self.lif2, "recurrent") else states
            spk_rec.append(out)
            mem_rec.append(states[-1])
        return torch.stack(spk_rec), torch.stack(mem_rec)

    @staticmethod
    def _states(layer: Any) -> list[torch.Tensor]:
        found = layer.reset_mem()
        return list(found) if isinstance(found, tuple) else [found]


LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "Leaky": (lambda: snn.Leaky(0.9, **ZERO), "LIF"),
    "Leaky at once": (lambda: snn.Leaky(0.9, **AT_ONCE), "LIF"),
    "Leaky of each neuron": (lambda: snn.Leaky(torch.rand(10), threshold=0.5 + torch.rand(10), **ZERO), "LIF"),
    "Leaky without leak": (lambda: snn.Leaky(1.0, **ZERO), "IF"),
    "Leaky without memory": (lambda: snn.Leaky(0.0, **ZERO), "LIF"),
    "learned": (lambda: snn.Leaky(0.7, learn_beta=True, learn_threshold=True, **ZERO), "LIF"),
    "Synaptic": (lambda: snn.Synaptic(0.6, 0.8, **AT_ONCE), "CubaLIF"),
    "RLeaky": (lambda: snn.RLeaky(0.8, linear_features=10, **AT_ONCE), "LIF"),
    "RLeaky one to one": (lambda: snn.RLeaky(0.8, V=0.7, all_to_all=False, **AT_ONCE), "LIF"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_layers(layer: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    make, kind = LAYERS[layer]
    module, x = lively(Net(make(), snn.Leaky(0.85, **ZERO))), spikes(12)
    found = held(module, x, module(x)[0], tmp_path)
    assert nodes(found)["lif1"] == kind
    assert ("lif1_recurrent" in found.graph.nodes) == layer.startswith("RLeaky")


def test_a_recurrent_convolution(tmp_path: Path) -> None:
    class Conv(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 3, 3, padding=1)
            self.lif = snn.RLeaky(0.8, conv2d_channels=3, kernel_size=3, **AT_ONCE)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            spk, mem = self.lif.reset_mem()
            gave = []
            for tick in x:
                spk, mem = self.lif(self.conv(tick), spk, mem)
                gave.append(spk)
            return torch.stack(gave)

    module, x = lively(Conv(), 0.5), spikes(2, 6, 5)
    assert nodes(held(module, x, module(x), tmp_path))["lif_recurrent"] == "Conv2d"


def test_hidden_states_left_by_a_training(tmp_path: Path) -> None:
    """Layers with init_hidden, one tick a call, whose membranes are still part of a graph of gradients."""
    layers = (nn.Linear(12, 10), snn.Leaky(0.9, init_hidden=True, **ZERO), nn.Dropout(0.5), nn.Linear(10, 4))
    module = lively(nn.Sequential(*layers, snn.Leaky(0.8, init_hidden=True, output=True, **ZERO)), 2.0).eval()
    x = spikes(12)
    gave = torch.stack([module(tick)[0] for tick in x])
    torch.autograd.backward(gave.sum())
    module.train()
    held(module, x, gave, tmp_path, per_tick=True)


def test_a_membrane_that_is_never_reset_is_a_readout(tmp_path: Path) -> None:
    module, x = lively(Net(snn.Leaky(0.9, **ZERO), snn.Leaky(0.9, reset_mechanism="none", threshold=1e9))), spikes(12)
    found = held(module, x, module(x)[1], tmp_path)
    assert nodes(found)["lif2"] == "LI"
    with pytest.raises(
        BadInput, match="'lif1': 'fc2' depends on it, but it is a readout, without a threshold or a reset"
    ):
        convert(Net(snn.Leaky(0.9, reset_mechanism="none"), snn.Leaky(0.9, **ZERO)), x)


@pytest.mark.parametrize(
    ("layer", "told"),
    [
        (lambda: snn.Leaky(0.9), r'reset_mechanism="subtract": .*one tick later.*train with reset_mechanism="zero"'),
        (
            lambda: snn.Leaky(0.9, reset_delay=False),
            r'reset_mechanism="subtract": a spike subtracts the threshold, and',
        ),
        (
            lambda: snn.Synaptic(0.5, 0.9, **ZERO),
            "drops the input of the tick after a spike.*train with reset_delay=False",
        ),
        (lambda: snn.RLeaky(0.9, linear_features=10, **ZERO), "RLeaky.*train with reset_delay=False"),
        (lambda: snn.RSynaptic(0.5, 0.9, linear_features=10, **AT_ONCE), "RSynaptic.*never resets"),
        (lambda: snn.Lapicque(0.9, **ZERO), "Lapicque.*use Leaky"),
        (lambda: snn.Leaky(0.9, inhibition=True, **ZERO), "inhibition=True"),
        (lambda: snn.Leaky(0.9, graded_spikes_factor=2.0, **ZERO), "graded_spikes_factor = 2"),
        (lambda: snn.Leaky(0.9, threshold=-0.5, **ZERO), r"threshold = -0\.5"),
        (lambda: snn.Leaky(0.9, state_quant=lambda x: x, **ZERO), "state_quant"),
        (lambda: snn.Leaky(torch.tensor([1.0] + [0.5] * 9), **ZERO), "beta is 1 for some neurons only"),
        (lambda: snn.Synaptic(1.0, 0.9, **AT_ONCE), "alpha or beta = 1"),
    ],
)
@pytest.mark.filterwarnings("ignore:Inhibition")
def test_what_no_chip_has_is_named(layer: Callable[[], nn.Module], told: str) -> None:
    with pytest.raises(BadInput, match=rf"^module 'lif1': .*{told}") as raised:
        convert(Net(layer(), snn.Leaky(0.85, **ZERO)), spikes(12))
    assert "\n" not in str(raised.value)


def test_the_same_setting_of_several_layers_is_told_once() -> None:
    with pytest.raises(BadInput, match=r"^module 'lif1', 'lif2': reset_mechanism=.*--allow reset"):
        convert(Net(snn.Leaky(0.9), snn.Leaky(0.9)), spikes(12))


def test_another_kind_of_neuron_and_a_class_of_ones_own() -> None:
    class Own(snn.Leaky):  # type: ignore[misc,unused-ignore]
        def forward(self, input_: Any, mem: Any = None) -> Any:
            return super().forward(2 * input_, mem)

    with pytest.raises(BadInput, match="'lif1': Own has a forward of its own"):
        convert(Net(Own(0.9, **ZERO), snn.Leaky(0.9, **ZERO)), spikes(12))
    with pytest.raises(BadInput, match=r"'1': snntorch\.Alpha: it is no neuron of NIR"):
        convert(nn.Sequential(nn.Linear(12, 4), snn.Alpha(0.9, 0.8, init_hidden=True)), spikes(12), per_tick=True)


def test_a_code_in_forward_is_no_layer() -> None:
    spikegen = pytest.importorskip("snntorch.spikegen")

    class Rate(Net):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return super().forward(spikegen.rate(x, num_steps=8))

    with pytest.raises(BadInput, match="'fc1': its input is computed by torch's bernoulli"):
        convert(Rate(snn.Leaky(0.9, **ZERO), snn.Leaky(0.9, **ZERO)), spikes(12)[0])


def test_the_default_reset_is_measured_on_request() -> None:
    module, x = lively(Net(snn.Leaky(0.9), snn.Leaky(0.9))), spikes(12)
    found = convert(module, x, allow={"reset"})
    theirs = module(x)[0]
    assert {change.population for change in found.changes} == {"lif1", "lif2"}
    assert found.changes[1].own_spikes == int(theirs.sum()) and found.changes[0].different > 0


def test_what_was_changed_is_what_the_reading_of_the_tool_gives_back() -> None:
    """The graph of `allow={"reset"}`, read as snnTorch trained it, fires as the module does."""
    module, x = lively(nn.Sequential(nn.Linear(12, 10), snn.Leaky(0.9, init_hidden=True))), spikes(12)
    found = convert(module, x, per_tick=True, allow={"reset"})
    theirs = torch.stack([module(tick) for tick in x]).detach().numpy()
    assert found.spikes is not None
    fired, _ = interpreter.run(from_nir(found.graph), found.spikes, reading=READINGS["snntorch-subtract"])
    np.testing.assert_array_equal(fired["1"], theirs)
    assert found.changes[0].different > 0
