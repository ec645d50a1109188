"""SpikingJelly's neurons as NIR's: every spike, and every setting that no chip has."""

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
from torch_runs import held, lively, nodes, spikes

neuron: Any = pytest.importorskip("spikingjelly.activation_based.neuron")
layer: Any = pytest.importorskip("spikingjelly.activation_based.layer")
functional: Any = pytest.importorskip("spikingjelly.activation_based.functional")

LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "LIF": (lambda: neuron.LIFNode(tau=2.0), "LIF"),
    "LIF with its whole input": (lambda: neuron.LIFNode(tau=3.0, decay_input=False), "LIF"),
    "LIF at another rest": (lambda: neuron.LIFNode(tau=2.5, v_reset=-0.5, v_threshold=0.3), "LIF"),
    "IF": (lambda: neuron.IFNode(v_threshold=2.0), "IF"),
    "IF at another rest": (lambda: neuron.IFNode(v_reset=0.25), "IF"),
    "ParametricLIF": (lambda: neuron.ParametricLIFNode(init_tau=2.3), "LIF"),
    "ParametricLIF with its whole input": (lambda: neuron.ParametricLIFNode(init_tau=4.0, decay_input=False), "LIF"),
}


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the module gives from rest; it is at rest afterwards."""
    functional.reset_net(module)
    with torch.no_grad():
        found = module(x)
    functional.reset_net(module)
    assert isinstance(found, torch.Tensor)
    return found


def multi(*parts: nn.Module, factor: float = 3.0) -> nn.Module:
    module = lively(nn.Sequential(*parts), factor)
    functional.set_step_mode(module, "m")
    return module


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("training", [False, True])
def test_layers(name: str, training: bool, tmp_path: Path) -> None:
    make, kind = LAYERS[name]
    module = multi(layer.Linear(12, 10), make(), layer.Linear(10, 6), neuron.LIFNode()).train(training)
    x = spikes(12)
    found = held(module, x, run(module, x), tmp_path)
    assert nodes(found)["1"] == kind


def test_one_step_at_a_time(tmp_path: Path) -> None:
    module = lively(nn.Sequential(layer.Linear(12, 10), neuron.LIFNode(), layer.Linear(10, 6), neuron.IFNode()), 3.0)
    x = spikes(12)
    gave = torch.stack([module(tick) for tick in x])  # and is left where it is
    held(module, x, gave, tmp_path, per_tick=True)


def test_a_membrane_on_its_threshold_fires(tmp_path: Path) -> None:
    """v >= v_threshold: weights of 1 and a threshold of 2 meet it exactly, and NIR's v > v_threshold does not fire."""
    module = multi(layer.Linear(1, 1, bias=False), neuron.IFNode(v_threshold=2.0))
    with torch.no_grad():
        module[0].weight.fill_(1.0)  # type: ignore[index]
    x = torch.ones(9, 1, 1)
    assert run(module, x).flatten().tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    found = held(module, x, run(module, x), tmp_path)
    np.testing.assert_array_equal(found.graph.nodes["1"].v_threshold, np.nextafter(2.0, 0))


def test_a_picture(tmp_path: Path) -> None:
    conv, norm = layer.Conv2d(2, 4, 3, padding=1, bias=False), layer.BatchNorm2d(4)
    norm.running_mean += 0.1
    norm.running_var *= 0.6
    parts = (conv, norm, neuron.LIFNode(), layer.AvgPool2d(2), layer.Dropout(0.3), layer.Flatten(), layer.Linear(48, 5))
    module = multi(*parts, neuron.LIFNode()).eval()
    x = spikes(2, 8, 6)
    found = held(module, x, run(module, x), tmp_path)
    assert nodes(found) == {
        "input": "Input", "0": "Conv2d", "2": "LIF", "3": "AvgPool2d", "6_flatten": "Flatten", "6": "Affine",
        "7": "LIF", "output": "Output",
    }  # fmt: skip


def test_containers(tmp_path: Path) -> None:
    parts = (
        layer.SeqToANNContainer(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3)),
        neuron.LIFNode(step_mode="m"),
        layer.Flatten(step_mode="m"),
        layer.MultiStepContainer(nn.Sequential(nn.Linear(36, 6), neuron.IFNode())),
    )
    module, x = lively(nn.Sequential(*parts), 4.0).eval(), spikes(1, 5, 6)
    held(module, x, run(module, x), tmp_path)


@pytest.mark.parametrize("kind", ["linear", "sum"])
def test_recurrent_containers(kind: str, tmp_path: Path) -> None:
    inner = neuron.LIFNode(tau=1.5)
    container = (
        layer.LinearRecurrentContainer(inner, in_features=10, out_features=10, step_mode="m")
        if kind == "linear"
        else layer.ElementWiseRecurrentContainer(inner, element_wise_function=lambda y, x: y + x, step_mode="m")
    )
    module = lively(nn.Sequential(layer.Linear(12, 10, step_mode="m"), container), 5.0)
    x = spikes(12)
    found = held(module, x, run(module, x), tmp_path)
    assert [name for name, of in nodes(found).items() if of == "Delay"]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: neuron.LIFNode(v_reset=None), "v_reset=None: a spike subtracts.*train with v_reset=0"),
        (lambda: neuron.IFNode(v_threshold=0.5, v_reset=1.0), r"threshold = -0\.5 above the rest"),
        (lambda: neuron.IFNode(v_threshold=0.0), "threshold = 0 above the rest.*does not fire at rest"),
        (lambda: neuron.QIFNode(), "QIFNode: it is no neuron of NIR"),
        (lambda: neuron.EIFNode(), "EIFNode: it is no neuron of NIR"),
        (lambda: neuron.KLIFNode(), "KLIFNode: it is no neuron of NIR"),
    ],
)
def test_what_no_chip_has_is_named(make: Callable[[], nn.Module], told: str) -> None:
    with pytest.raises(BadInput, match=f"^module '1': .*{told}"):
        convert(multi(layer.Linear(12, 10), make()), spikes(12))


def test_a_pool_of_maxima_and_a_neuron_of_ones_own_are_named() -> None:
    class Own(neuron.LIFNode):  # type: ignore[misc,unused-ignore]
        def neuronal_charge(self, x: torch.Tensor) -> None:
            self.v: Any = self.v + 0.5 * x

    with pytest.raises(BadInput, match="'1': Own is a class of its own"):
        convert(multi(layer.Linear(12, 10), Own()), spikes(12))
    with pytest.raises(BadInput, match=r"'0': MaxPool2d is no layer of a chip.*'2' depends on it.*AvgPool2d"):
        convert(multi(layer.MaxPool2d(2), layer.Flatten(), layer.Linear(4, 3), neuron.IFNode()), spikes(1, 4, 4))


def test_a_soft_reset_is_measured_on_request() -> None:
    module, x = multi(layer.Linear(12, 10), neuron.IFNode(v_reset=None)), spikes(12)
    (change,) = convert(module, x, allow={"reset"}).changes
    assert change.own_spikes == int(run(module, x).sum()) and change.different > 0
