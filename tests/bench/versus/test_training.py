"""`bench/versus/training.py` times the same network in several libraries: that it is the same is held here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from muspike import architectures
from muspike.errors import BadInput, Failed
from muspike.host import Timing
from muspike.network import Network, Population, Synapse, and_gate
from muspike.tokens import N_AXONS, SIZES

FOLDER = Path(__file__).parents[3] / "bench" / "versus"
LIBRARIES = ["norse", "snntorch", "spikingjelly"]


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """The script as a module, with its folder on the path, as Python does for scripts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        spec = importlib.util.spec_from_file_location("versus_training", FOLDER / "training.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "versus_training", module)
        spec.loader.exec_module(module)
        yield module


def stack() -> Network:
    settings = {"width": 24, "layers": 3, "ticks": 4, "recurrent_delays": ()}
    return _built(settings)


def looped() -> Network:
    loops = ["1 period", "2 periods"]
    settings = {"width": 24, "layers": 2, "ticks": 3, "recurrent_delays": loops, "tau_readout": 4.0, "skip": True}
    return _built(settings)


def _built(settings: dict[str, object]) -> Network:
    torch.manual_seed(0)
    network = architectures.build("s-rnn", settings)
    assert isinstance(network, Network)
    return network


def tangled() -> Network:
    """Delays of single ticks, a gate on constant weights, and a loop through two populations."""
    populations = [
        Population("input", N_AXONS, "input"),
        Population("a", 16, tau=3.0),
        Population("b", 16, tau=2.0),
        and_gate("both", 16),
        Population("readout", N_AXONS, "li", 4.0),
    ]
    synapses = [
        Synapse("input", "a"),
        Synapse("input", "b", 2),
        Synapse("a", "b", 1),
        Synapse("b", "a", 3),
        Synapse("a", "both", 2, 1.0),
        Synapse("b", "both", 0, 1.0),
        Synapse("both", "readout"),
        Synapse("a", "readout", 1),
    ]
    network = Network(populations, synapses, Timing(3, 5))
    torch.manual_seed(0)
    with torch.no_grad():
        for weight in network.weights.values():
            weight.normal_(std=0.4)
    return network


def excerpt(tokens: int = 12, batch: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    words = torch.stack([torch.randint(size, (tokens, batch)) for size in SIZES], -1)
    return words, torch.randint(N_AXONS, (tokens * batch,))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize(
    ("made", "written"),
    [(stack, "ByPopulation"), (looped, "ByPopulation"), (looped, "ByTick"), (tangled, "ByTick")],
)
def test_peers_have_the_spikes_and_gradients_of_muspike(
    bench: ModuleType, library: str, made: Callable[[], Network], written: str
) -> None:
    pytest.importorskip(library, reason=f"{library} comes with muspike[peers]")
    network = made()
    words, wanted = excerpt()
    _, spikes = bench.step(network, words, wanted, [n for n, p in network.populations.items() if p.kind == "lif"])
    for name, of_layer in spikes.items():
        assert 0.005 < of_layer.mean() < 0.6, f"{name} is silent or never silent: nothing is compared"
    peer = bench.contestant(library, network, getattr(sys.modules["peers"], written))
    found = bench.agreement(network, peer, words, wanted)
    assert found.spikes == 0
    assert found.gradient < 1e-5
    assert found.loss < 1e-5
    found.check(library)


def test_another_network_is_not_timed(bench: ModuleType) -> None:
    """What the benchmark refuses: weights that move spikes, and a gradient that passes through the reset."""
    network, (words, wanted) = stack(), excerpt()
    peer = bench.contestant("norse", network, bench.ByPopulation)
    with torch.no_grad():
        peer.synapses["layer1_to_layer2"].weight *= 1.02
    with pytest.raises(Failed, match="spikes are not muspike's"):
        bench.agreement(network, peer, words, wanted).check("norse")

    peer = bench.contestant("norse", network, bench.ByPopulation)
    for name in ("layer1", "layer2", "layer3"):
        cell = peer.neurons[name].cell
        cell.p = cell.p._replace(reset_method=lambda z, v, reset, v_th: (1 - z) * v)
    found = bench.agreement(network, peer, words, wanted)
    assert found.spikes == 0
    with pytest.raises(Failed, match="a gradient differs"):
        found.check("norse")


def test_graphs_that_are_not_written_by_population_are_refused(bench: ModuleType) -> None:
    network = tangled()
    with pytest.raises(BadInput, match="delays are whole periods, not 2"):
        bench.contestant("norse", network, bench.ByPopulation)
    network = _built({"width": 24, "layers": 1, "ticks": 2, "recurrent_delays": ("1 period",), "tau": (2.0, 4.0)})
    with pytest.raises(BadInput, match="2 values of tau"):
        bench.contestant("norse", network, bench.ByPopulation)


def test_contestants_take_turns(bench: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []
    monkeypatch.setattr(bench, "step", lambda model, *_: turns.append(model[0]))
    monkeypatch.setattr(bench.gc, "collect", lambda: 0)
    models = {"muspike": _Named("m"), "norse": _Named("n")}
    case = bench.Case("", "s-rnn", {}, tokens=2, batch=1)
    times = bench.seconds(models, case, rounds=3)
    assert turns == ["m", "n"] * 3
    assert {name: len(of) for name, of in times.items()} == {"muspike": 3, "norse": 3}


class _Named(str):
    def zero_grad(self, set_to_none: bool) -> None: ...


def test_tensors_alive_at_once_are_counted(bench: ModuleType) -> None:
    mebibyte = 2**18  # float32 values

    def run() -> None:
        kept = torch.ones(3 * mebibyte)
        for _ in range(4):
            torch.ones(5 * mebibyte)
        del kept
        torch.ones(7 * mebibyte)

    assert bench.tensor_bytes(run) == 8 * 2**20


@pytest.mark.nightly
def test_memory_is_that_of_the_step() -> None:
    """Norse keeps at least the membrane and the spikes of every layer until the gradient is there."""
    command = [sys.executable, str(FOLDER / "training.py"), "--peak-of", "norse", "--only", "stack", "--threads", "1"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    found = json.loads(done.stdout)
    kept = 2 * 3 * 512 * 16 * 256 * 4
    assert kept < found["tensor_bytes"] < 10 * kept
    if found["process_bytes"] is not None:
        assert found["tensor_bytes"] < found["process_bytes"] < 20 * kept
