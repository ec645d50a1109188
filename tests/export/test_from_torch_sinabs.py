"""sinabs' neurons as NIR's: every spike, and every setting that no chip has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from muspike.errors import BadInput
from muspike.export.from_torch.convert import convert
from torch_runs import BATCH, TICKS, held, lively, nodes, spikes

sl: Any = pytest.importorskip("sinabs.layers")
sa: Any = pytest.importorskip("sinabs.activation")
ONCE = {"spike_fn": sa.SingleSpike, "reset_fn": sa.MembraneReset()}

LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "LIF": (lambda: sl.LIF(tau_mem=6.0, **ONCE), "LIF"),
    "LIF with its whole input": (lambda: sl.LIF(tau_mem=6.0, norm_input=False, **ONCE), "LIF"),
    "LIF with a current": (lambda: sl.LIF(tau_mem=6.0, tau_syn=3.0, norm_input=False, **ONCE), "CubaLIF"),
    "LIF with a normed current": (lambda: sl.LIF(tau_mem=3.0, tau_syn=2.0, **ONCE), "CubaLIF"),
    "LIF by its factors": (lambda: sl.LIF(tau_mem=5.0, train_alphas=True, **ONCE), "LIF"),
    "LIF of each neuron": (lambda: sl.LIF(tau_mem=2 + torch.arange(10.0), norm_input=False, **ONCE), "LIF"),
    "IAF": (lambda: sl.IAF(spike_threshold=torch.tensor(2.0), **ONCE), "IF"),
    "LIFRecurrent": (lambda: sl.LIFRecurrent(tau_mem=4.0, rec_connect=nn.Linear(10, 10), **ONCE), "LIF"),
    "IAFRecurrent": (
        lambda: sl.IAFRecurrent(rec_connect=nn.Sequential(nn.Flatten(), nn.Linear(10, 10)), **ONCE),
        "IF",
    ),
}


def run(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What the module gives from rest; it is at rest afterwards."""

    def reset() -> None:  # sinabs.reset_states leaves recurrent layers as they are
        for part in module.modules():
            getattr(part, "reset_states", lambda: None)()

    reset()
    with torch.no_grad():
        found = module(x)
    reset()
    assert isinstance(found, torch.Tensor)
    return found


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, tmp_path: Path) -> None:
    make, kind = LAYERS[name]
    last = sl.LIF(tau_mem=4.0, norm_input=False, **ONCE)
    module = lively(nn.Sequential(nn.Linear(12, 10), make(), nn.Linear(10, 6), last), 4.0)
    x = spikes(12, batch_first=True)
    found = held(module, x, run(module, x).transpose(0, 1), tmp_path)
    assert nodes(found)["1"] == kind


def test_pictures_with_batch_and_time_merged(tmp_path: Path) -> None:
    merged = {"batch_size": BATCH, **ONCE}
    module = lively(
        nn.Sequential(
            sl.FlattenTime(),
            nn.Conv2d(2, 4, 3),
            sl.LIFSqueeze(tau_mem=8.0, norm_input=False, **merged),
            sl.SumPool2d(2),
            nn.Flatten(),
            nn.Linear(24, 6),
            sl.IAFSqueeze(**merged),
            sl.UnflattenTime(batch_size=BATCH),
        ),
        2.0,
    )
    x = spikes(2, 8, 6, batch_first=True)
    found = held(module, x, run(module, x).transpose(0, 1), tmp_path)
    assert nodes(found)["3"] == "SumPool2d" and found.spikes is not None
    assert found.spikes.shape == (TICKS, BATCH, 96)


def test_a_layer_that_is_told_the_ticks(tmp_path: Path) -> None:
    module = lively(nn.Sequential(nn.Linear(12, 6), sl.LIFSqueeze(tau_mem=4.0, num_timesteps=TICKS, **ONCE)), 6.0)
    x = spikes(12, batch_first=True).flatten(0, 1)
    theirs = run(module, x).reshape(BATCH, TICKS, -1).transpose(0, 1)
    held(module, x, theirs, tmp_path)


def test_a_readout(tmp_path: Path) -> None:
    hidden = sl.LIF(tau_mem=4.0, norm_input=False, **ONCE)
    module = lively(nn.Sequential(nn.Linear(12, 8), hidden, nn.Linear(8, 3), sl.ExpLeak(tau_mem=5.0)))
    x = spikes(12, batch_first=True)
    found = held(module, x, run(module, x).transpose(0, 1), tmp_path)
    assert nodes(found)["3"] == "LI"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: sl.LIF(tau_mem=5.0), "spike_fn=MultiSpike: .*at most once.*train with spike_fn=SingleSpike"),
        (lambda: sl.IAF(spike_fn=sa.SingleSpike), "reset_fn=MembraneSubtract: .*train with reset_fn=MembraneReset"),
        (lambda: sl.IAF(spike_fn=sa.SingleSpike, reset_fn=sa.MembraneReset(0.3)), r"reset_value=0\.3"),
        (lambda: sl.LIF(tau_mem=5.0, min_v_mem=-1.0, **ONCE), "min_v_mem = -1"),
        (lambda: sl.IAF(tau_syn=3.0, **ONCE), "IAF with tau_syn"),
        (lambda: sl.ALIF(tau_mem=5.0, tau_adapt=10.0), "ALIF: it is no neuron of NIR"),
    ],
)
def test_what_no_chip_has_is_named(make: Callable[[], nn.Module], told: str) -> None:
    with pytest.raises(BadInput, match=f"^module '1': .*{told}"):
        convert(nn.Sequential(nn.Linear(12, 10), make()), spikes(12, batch_first=True))


def test_the_defaults_are_measured_on_request() -> None:
    module = lively(nn.Sequential(nn.Linear(12, 10), sl.IAF()), 3.0)
    x = spikes(12, batch_first=True)
    (change,) = convert(module, x, allow={"reset"}).changes
    assert change.own_spikes == int(run(module, x).sum()) > change.converted_spikes
