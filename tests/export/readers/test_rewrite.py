"""A graph written for one reader of NIR: it means the same network, and that reader executes it equally.

Without the readers, the rewritten graphs are held against the interpreter, and run by NIRTorch, which all of these
readers use, with neurons that are written here from their documentation.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import nir
import nirtorch
import numpy as np
import pytest
import torch

from muspike.errors import BadInput, Failed
from muspike.export.readers import rewrite as rewriting
from muspike.export.readers.dialects import DIALECTS, NEVER
from muspike.export.readers.rewrite import populations_of, rewrite
from muspike.export.readers.run import ReaderRun, run_all, run_in
from muspike.export.to_nir_file import to_nir
from muspike.hardware import interpreter
from muspike.hardware.reader.from_nir import from_nir
from reader_python import reader_python
from small_model import small_model

DT_S, TICKS, BATCH, SIZE = 1e-3, 50, 3, 5
WRITTEN = ("snntorch", "spikingjelly", "norse")


def of(value: Any, size: int = SIZE) -> np.ndarray[Any, Any]:
    return np.broadcast_to(np.asarray(value, float), size).copy()


def weights(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(seed).integers(-6, 13, shape) / 8).astype(np.float32)


def lif(ticks: Any = 2, threshold: Any = 0.5, **values: Any) -> nir.LIF:
    given = {"r": 1, "v_leak": 0, "v_reset": 0, **values}
    return nir.LIF(tau=of(ticks) * DT_S, v_threshold=of(threshold), **{key: of(v) for key, v in given.items()})


def graph(nodes: dict[str, Any], *edges: str) -> nir.NIRGraph:
    """Edges as `a b c`: from a to b, and from b to c."""
    pairs = [pair for way in edges for pair in zip(way.split()[:-1], way.split()[1:], strict=True)]
    ends = {"input": nir.Input(np.array([SIZE])), "output": nir.Output(np.array([SIZE]))}
    return nir.NIRGraph({**ends, **nodes}, pairs, metadata={"dt": DT_S}, type_check=False)


def one(neuron: Any) -> nir.NIRGraph:
    return graph({"w": nir.Linear(weights(0, SIZE, SIZE)), "n": neuron}, "input w n output")


def cuba() -> nir.CubaLIF:
    taus = {"tau_syn": of(2) * DT_S, "tau_mem": of(4) * DT_S}
    values = {"r": 2, "w_in": 2, "v_leak": 0, "v_reset": 0, "v_threshold": 0.5}
    return nir.CubaLIF(**taus, **{key: of(value) for key, value in values.items()})


def with_a_cycle() -> nir.NIRGraph:
    nodes = {"w": nir.Linear(weights(0, SIZE, SIZE)), "n": lif(), "back": nir.Linear(weights(1, SIZE, SIZE) / 2)}
    return graph(nodes, "input w n output", "n back n")


def with_delays() -> nir.NIRGraph:
    """A delay of 3 ticks forward, of 2 around a population, and a Scale."""
    nodes = {
        "w": nir.Linear(weights(0, SIZE, SIZE)),
        "a": lif(),
        "late": nir.Delay(of(3) * DT_S),
        "u": nir.Linear(weights(2, SIZE, SIZE)),
        "s": nir.Scale(of([1, -0.5, 2, 1, 0.25])),
        "n": lif(4),
        "later": nir.Delay(of(2) * DT_S),
        "back": nir.Linear(weights(1, SIZE, SIZE) / 4),
    }
    return graph(nodes, "input w a s n output", "a late u n", "n later back n")


def joined() -> nir.NIRGraph:
    """Two ways to n, of which the shorter one is named first."""
    nodes = {name: nir.Linear(weights(i, SIZE, SIZE)) for i, name in enumerate("uvw")}
    return graph({**nodes, "z": lif(), "n": lif(4)}, "input u n output", "input v z w n")


def of_two() -> nir.NIRGraph:
    """A cycle through two populations, with a delay of one tick in it."""
    nodes = {
        "w": nir.Linear(weights(0, SIZE, SIZE)),
        "n": lif(),
        "there": nir.Linear(weights(1, SIZE, SIZE)),
        "second": lif(4, 0.25),
        "late": nir.Delay(of(1) * DT_S),
        "back": nir.Linear(weights(2, SIZE, SIZE) / 2),
    }
    return graph(nodes, "input w n output", "n there second late back n")


GRAPHS = {
    "lif": one(lif()),
    "lif, r": one(lif(4, r=4)),
    "one tick": one(lif(1, 1.5)),
    "bias": one(lif(4, v_leak=0.25)),
    "cuba": one(cuba()),
    "if": one(nir.IF(r=of(1), v_threshold=of(1.5), v_reset=of(0))),
    "threshold": one(nir.Threshold(of(0.5))),
    "thresholds": one(lif(2, [0.5, 0.25, 1, 2, 0.5])),
    "cycle": with_a_cycle(),
    "delays": with_delays(),
    "two ways": joined(),
    "two in a cycle": of_two(),
}


def inputs(size: int = SIZE, ticks: int = TICKS, rate: float = 0.3) -> np.ndarray[Any, Any]:
    return (np.random.default_rng(5).random((ticks, BATCH, size)) < rate).astype(np.uint8)


def meant(network: nir.NIRGraph, given: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    fired = interpreter.run(from_nir(network), given)[0]
    fired.pop("input")
    assert all(0.01 < spikes.mean() < 0.99 for spikes in fired.values())
    return fired


def assert_equal(written: nir.NIRGraph, found: dict[str, Any], wanted: dict[str, np.ndarray[Any, Any]]) -> None:
    names = populations_of(written)
    assert set(names.values()) == set(wanted)
    for node, name in names.items():
        np.testing.assert_array_equal(found[node], wanted[name], err_msg=name)


@pytest.mark.parametrize("reader", WRITTEN)
@pytest.mark.parametrize("name", GRAPHS)
def test_a_rewritten_graph_means_the_same(name: str, reader: str) -> None:
    """In NIR's own terms: muspike reads it, in the tick that the reader assumes, as the network that was meant."""
    given = inputs()
    written = rewrite(GRAPHS[name], reader)
    assert written.metadata["dt"] == DIALECTS[reader].dt_s
    read = from_nir(written)
    assert_equal(written, interpreter.run(read, given)[0], meant(GRAPHS[name], given))


class Neuron(torch.nn.Module):
    """A LIF or CubaLIF as a reader discretises it, in float32: `tick` gives the state and the spikes."""

    def __init__(self, tick: Any, keep: list[Any]) -> None:
        super().__init__()
        self.tick, self.keep = tick, keep

    def forward(self, x: torch.Tensor, state: Any = None) -> Any:
        if state is None or state[0].shape != x.shape:
            state = (torch.zeros_like(x), torch.zeros_like(x))
        spikes, state = self.tick(x, *state)
        self.keep.append(spikes.numpy())
        return spikes, state


def discretised(node: Any, dt_s: float, at_threshold: bool, keep: list[Any]) -> Neuron:
    """v -= v dt / tau; v += x r dt / tau, as snnTorch and SpikingJelly do."""

    def numbers(value: Any) -> torch.Tensor:
        return torch.from_numpy(np.asarray(value, np.float32))

    threshold = numbers(node.v_threshold)
    filters = isinstance(node, nir.CubaLIF)
    tau = node.tau_mem if filters else node.tau if hasattr(node, "tau") else np.full(np.shape(node.r), np.inf)
    leak, gain = numbers(dt_s / tau), numbers(np.where(np.isinf(tau), node.r * dt_s, node.r * dt_s / tau))
    leak_syn = numbers(dt_s / node.tau_syn) if filters else torch.ones(())
    gain_syn = numbers(node.w_in * dt_s / node.tau_syn) if filters else torch.ones(())

    def tick(x: torch.Tensor, i: torch.Tensor, v: torch.Tensor) -> Any:
        i = (1 - leak_syn) * i + gain_syn * x
        v = (1 - leak) * v + gain * i
        spikes = (v >= threshold if at_threshold else v > threshold).float()
        return spikes, (i, v * (1 - spikes))

    return Neuron(tick, keep)


def run_by_nirtorch(written: nir.NIRGraph, reader: str, given: np.ndarray[Any, Any]) -> dict[str, Any]:
    dialect = DIALECTS[reader]
    names = {id(node): name for name, node in written.nodes.items()}
    kept: dict[str, list[Any]] = {name: [] for name in written.nodes}

    def made(node: Any) -> Neuron:
        return discretised(node, dialect.dt_s, dialect.at_threshold, kept[names[id(node)]])

    def affine(node: nir.Affine) -> torch.nn.Linear:
        module = torch.nn.Linear(node.weight.shape[1], node.weight.shape[0])
        module.weight.data, module.bias.data = map(torch.from_numpy, (node.weight, node.bias))
        return module

    # The Affine of NIRTorch 2.6 itself loses the bias.
    model = nirtorch.nir_to_torch(written, {nir.Affine: affine, **dict.fromkeys((nir.LIF, nir.CubaLIF, nir.IF), made)})
    state = None
    with torch.no_grad():
        for x in torch.from_numpy(given.astype(np.float32)):
            _, state = model(x) if state is None else model(x, state)
    return {name: np.stack(spikes) for name, spikes in kept.items() if spikes}


@pytest.mark.parametrize("reader", ["snntorch", "spikingjelly"])
@pytest.mark.parametrize("name", GRAPHS)
def test_nirtorch_runs_the_nodes_in_the_order_that_is_meant(name: str, reader: str) -> None:
    given = inputs()
    written = rewrite(GRAPHS[name], reader)
    assert_equal(written, run_by_nirtorch(written, reader, given), meant(GRAPHS[name], given))


@pytest.mark.nightly
@pytest.mark.parametrize("reader", WRITTEN)
def test_the_reader_executes_them_equally(reader: str, tmp_path: Path) -> None:
    python, given = python_of(reader), inputs()
    written = {name: rewrite(network, reader) for name, network in GRAPHS.items()}
    for name, network in written.items():
        nir.write(tmp_path / f"{name}.nir", network)
    runs = run_all(reader, [(tmp_path / f"{name}.nir", given) for name in written], python)
    for (name, network), run in zip(written.items(), runs, strict=True):
        assert isinstance(run, ReaderRun), (name, run)
        assert_equal(network, dict(run.outputs), meant(GRAPHS[name], given))


@functools.cache
def python_of(reader: str) -> Path:
    return Path(sys.executable) if reader == "norse" else reader_python(reader)  # muspike needs Norse itself


@pytest.mark.parametrize("reader", WRITTEN)
def test_a_generator_is_executed_equally(reader: str, tmp_path: Path) -> None:
    """A small S-RNN with a recurrence of a whole token, and a readout that does not spike."""
    python = python_of(reader)
    network = to_nir(small_model("jsb").spiking)
    (size,) = (p.size for p in from_nir(network).populations if p.kind == "input")
    given = inputs(size, ticks=20, rate=0.05)
    written = rewrite(network, reader)
    nir.write(tmp_path / "graph.nir", written)
    wanted = interpreter.run(from_nir(network), given)[0]
    found = run_in(reader, tmp_path / "graph.nir", given, python)
    names = populations_of(written)
    assert names
    for node, name in names.items():
        np.testing.assert_array_equal(found[node], wanted[name], err_msg=name)


def test_a_readout_is_a_lif_that_never_fires() -> None:
    written = rewrite(one(nir.LI(tau=of(4) * DT_S, r=of(1), v_leak=of(0))), "snntorch")
    (readout,) = [node for name, node in written.nodes.items() if name.endswith("_n")]
    assert isinstance(readout, nir.LIF)
    assert (readout.v_threshold == NEVER).all()
    assert populations_of(written) == {}


@pytest.mark.parametrize(
    ("network", "reader", "said"),
    [
        (one(lif()), "sinabs", r"node 'n': sinabs keeps exp\(-1 / tau\) of a membrane"),
        (one(lif([2, 4, 2, 2, 2])), "spikingjelly", "node 'n': tau holds 2 values; spikingjelly reads one"),
        (one(lif(2, [0, 1, 1, 1, 1])), "snntorch", "node 'n': v_threshold holds 0 and other values"),
        (one(lif()), "lava", "reader 'lava' is not known; known are snntorch"),
    ],
)
def test_what_a_reader_cannot_execute_is_refused(network: nir.NIRGraph, reader: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        rewrite(network, reader)


def test_two_inputs_are_refused() -> None:
    nodes = {"w": nir.Linear(weights(0, SIZE, SIZE)), "n": lif(), "other": nir.Input(np.array([SIZE]))}
    with pytest.raises(BadInput, match="node 'other': snntorch reads one Input, not 2"):
        rewrite(graph(nodes, "input w n output", "other w"), "snntorch")


def test_a_delay_that_needs_too_many_relays_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rewriting, "MOST_NODES", 10)
    with pytest.raises(BadInput, match=r"node 'a': its spikes are needed 3 ticks later; .* at most 10 and"):
        rewrite(with_delays(), "snntorch")


def test_a_node_that_gives_no_spikes_is_named(tmp_path: Path) -> None:
    python = python_of("norse")
    written = rewrite(one(lif()), "norse")
    nir.write(tmp_path / "graph.nir", written)
    with pytest.raises(Failed, match=r"norse does not run it: RuntimeError"):
        run_in("norse", tmp_path / "graph.nir", inputs(SIZE + 1), python)
