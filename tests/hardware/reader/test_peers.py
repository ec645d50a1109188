"""Our reading of NIR held against other frameworks: the same graph, the same input, every spike.

Each framework executes only part of NIR as NIR defines it; the comment over its tests says which part, and what it
does otherwise, with the place in the version tested. What a framework does otherwise is not compared.
Parameters are such that single precision holds them (time constants are dyadic in ticks), and everything runs in
double precision: a spike that differs is a rule that differs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from muspike.hardware.interpreter import Spikes, run
from muspike.hardware.reader.file import read_nir
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.readings import READINGS
from muspike.hardware.weights import Array

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:nirtorch"),
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths"),
]

# A node, the same as a function of frames `[n, c, ...]`, and the shape of a frame.
Layer = tuple[Any, Callable[[torch.Tensor], torch.Tensor], tuple[int, ...]]
ThroughAFile = Callable[[nir.NIRGraph], nir.NIRGraph]

DT = 2.0**-10
TICKS, BATCH = 60, 3
TAUS = (1, 2, 4, 8, 16)  # ticks


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def frames(
    rng: np.random.Generator, *shape: int, rate: float = 0.4, ticks: int = TICKS, batch: int = BATCH
) -> torch.Tensor:
    """Random spikes, `[ticks, batch, *shape]`."""
    return torch.from_numpy((rng.random((ticks, batch, *shape)) < rate).astype(np.float64))


def bursts(rng: np.random.Generator, *shape: int, rate: float = 0.7, ticks: int = TICKS) -> torch.Tensor:
    """Random counts, `[ticks, batch, *shape]`, many of them above 1."""
    return torch.from_numpy(rng.poisson(rate, (ticks, BATCH, *shape)).astype(np.float64))


def of(shape: tuple[int, ...], **parameters: Any) -> dict[str, Array]:
    """Each parameter as an array of `shape`."""
    return {key: np.broadcast_to(np.asarray(value, float), shape).copy() for key, value in parameters.items()}


def graph(nodes: dict[str, Any], *edges: tuple[str, str], dt_s: float = DT) -> nir.NIRGraph:
    return nir.NIRGraph(nodes, list(edges), metadata={"dt": dt_s}, type_check=False)


def chain(*nodes: Any, dt_s: float = DT) -> nir.NIRGraph:
    names = [f"n{i}" for i in range(len(nodes))]
    return graph(dict(zip(names, nodes, strict=True)), *itertools.pairwise(names), dt_s=dt_s)


@pytest.fixture
def through_a_file(tmp_path: Path) -> ThroughAFile:
    """What is left of a graph once it is written, and read by us."""

    def written_and_read(nir_graph: nir.NIRGraph) -> nir.NIRGraph:
        nir.write(tmp_path / "peer.nir", nir_graph)
        return read_nir(tmp_path / "peer.nir")

    return written_and_read


def ours(nir_graph: nir.NIRGraph, x: torch.Tensor, dt_s: float | None = None, reads_as: str = "nir") -> Spikes:
    """Spikes of the population that the one Output reads, `[ticks, batch, size]`."""
    read = from_nir(nir_graph, dt_s)
    (output,) = read.outputs
    return run(read, x.numpy().reshape(*x.shape[:2], -1), reading=READINGS[reads_as])[0][output]


def agree(spikes: Spikes, theirs: torch.Tensor) -> None:
    """Every spike is the same, and there are enough of them, and of silence, for this to say something."""
    assert 0.02 < spikes.mean() < 0.9
    one = spikes.reshape(-1, spikes.shape[-1])
    assert (one.any(0) & ~one.all(0)).mean() > 0.25
    np.testing.assert_array_equal(theirs.detach().numpy().reshape(spikes.shape), spikes)


# --- torch.nn.functional: what a layer computes, at any geometry ------------------------------------------------


def whole(rng: np.random.Generator, *shape: int) -> Array:
    """Small whole numbers: sums of them are exact, in whatever order."""
    return rng.integers(-3, 4, shape).astype(np.float64)


def per_dimension(low: int, high: int, dims: int) -> st.SearchStrategy[Any]:
    """As frameworks write it: one number for all dimensions, or one for each."""
    return st.integers(low, high) | st.tuples(*[st.integers(low, high)] * dims)


def pair(value: Any, dims: int = 2) -> tuple[int, ...]:
    return value if isinstance(value, tuple) else (value,) * dims


def sizes(low: Iterable[int], high: int = 8) -> st.SearchStrategy[tuple[int, ...]]:
    """Sizes of a frame, at least `low` in each dimension."""
    return st.tuples(*(st.integers(max(1, n), high) for n in low))


@st.composite
def convolutions(draw: st.DrawFn, dims: int) -> Layer:
    """(node, the same as a function of frames `[n, c, ...]`, shape of a frame)."""
    groups = draw(st.integers(1, 3))
    c_in, c_out = (groups * draw(st.integers(1, 2)) for _ in range(2))
    kernel = draw(st.tuples(*[st.integers(1, 4)] * dims))
    numbers = per_dimension if dims > 1 else lambda low, high, _: st.integers(low, high)  # of Conv1d, NIR knows one
    padding = draw(st.sampled_from(["same", "valid"]) | numbers(0, 2, dims))
    stride = 1 if padding == "same" else draw(numbers(1, 3, dims))
    dilation = draw(numbers(1, 2, dims))
    reach = [d * (k - 1) for d, k in zip(pair(dilation, dims), kernel, strict=True)]
    zeros = {"same": reach, "valid": [0] * dims}.get(padding) or [2 * n for n in pair(padding, dims)]
    size = draw(sizes(r + 1 - z for r, z in zip(reach, zeros, strict=True)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weight, bias = whole(rng, c_out, c_in // groups, *kernel), whole(rng, c_out)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    kind: Any
    function: Any
    kind, function = ((nir.Conv1d, F.conv1d), (nir.Conv2d, F.conv2d))[dims - 1]
    input_shape = (size if dims > 1 else size[0]) if draw(st.booleans()) else None
    node = kind(input_shape=input_shape, weight=weight, bias=bias, **geometry)
    return node, lambda x: function(x, *map(torch.from_numpy, (weight, bias)), **geometry), (c_in, *size)


@st.composite
def pools(draw: st.DrawFn) -> Layer:
    """(node, the same as a function of frames `[n, c, y, x]`, shape of a frame)."""
    kind = draw(st.sampled_from([nir.SumPool2d, nir.AvgPool2d]))
    kernel, stride = draw(per_dimension(1, 4, 2)), draw(per_dimension(1, 3, 2))
    padding = draw(st.just(0) | st.tuples(*(st.integers(0, k // 2) for k in pair(kernel))))
    size = draw(sizes(k - 2 * p for k, p in zip(pair(kernel), pair(padding), strict=True)))
    divisor = 1 if kind is nir.SumPool2d else None
    from_file = draw(st.booleans())
    fields = [np.array(value) if from_file else value for value in (kernel, stride, padding)]
    shape = (draw(st.integers(1, 3)), *size)
    return kind(*fields), lambda x: F.avg_pool2d(x, kernel, stride, padding, divisor_override=divisor), shape


def layer_agrees(
    nodes: Sequence[Any], theirs: Callable[[torch.Tensor], torch.Tensor], shape: tuple[int, ...], exact: bool = True
) -> None:
    """The sums that come out of connections `nodes`, and the spikes of LIF neurons behind them."""
    x = frames(np.random.default_rng(1), *shape, ticks=12, batch=2, rate=0.5)
    threshold = 1 if exact else 0.3  # no ninth, sixteenth ... of a whole number is ever near 0.3
    names = ["input", *(f"layer{i}" for i in range(len(nodes)))]
    parameters = {"r": 1, "v_leak": 0}
    g = graph(
        dict(zip(names, [nir.Input(np.array(shape)), *nodes], strict=True))
        | {
            "sum": nir.LI(**of((), tau=DT, **parameters)),
            "spikes": nir.LIF(**of((), tau=2 * DT, v_threshold=threshold, **parameters)),
            "o1": nir.Output(None),
            "o2": nir.Output(None),
        },
        *itertools.pairwise(names),
        *((names[-1], name) for name in ("sum", "spikes")),
        ("sum", "o1"),
        ("spikes", "o2"),
    )
    read = from_nir(g)
    spikes, membranes = run(read, x.numpy().reshape(12, 2, -1))

    expected = torch.stack([theirs(frame) for frame in x])
    assert read.population("sum").shape == tuple(expected.shape[2:])
    y = expected.numpy().reshape(12, 2, -1)
    v, fired = np.zeros_like(y[0]), []
    for tick in y:
        v = v + (tick - v) / 2
        fired.append(v > threshold)
        v = np.where(fired[-1], 0, v)
    np.testing.assert_allclose(membranes["sum"], y, rtol=0, atol=0 if exact else 1e-12)
    np.testing.assert_array_equal(spikes["spikes"], fired)


@settings(max_examples=60, deadline=None)
@given(convolutions(1))
def test_conv1d(layer: Layer) -> None:
    node, theirs, shape = layer
    layer_agrees([node], theirs, shape)


@settings(max_examples=100, deadline=None)
@given(convolutions(2))
def test_conv2d(layer: Layer) -> None:
    node, theirs, shape = layer
    layer_agrees([node], theirs, shape)


@settings(max_examples=60, deadline=None)
@given(pools())
def test_pools(layer: Layer) -> None:
    node, theirs, shape = layer
    layer_agrees([node], theirs, shape, exact=isinstance(node, nir.SumPool2d))


@settings(max_examples=40, deadline=None)
@given(convolutions(2), st.sampled_from([(i, j) for i in range(3) for j in range(-3, 3) if i <= j % 3]))
def test_flatten(layer: Layer, dimensions: tuple[int, int]) -> None:
    """NIR's dimensions do not count the batch, torch's do."""
    node, theirs, shape = layer
    first, last = dimensions
    flatten = nir.Flatten(None, first, last)
    layer_agrees([node, flatten], lambda x: theirs(x).flatten(first + 1, last if last < 0 else last + 1), shape)


@settings(max_examples=40, deadline=None)
@given(convolutions(2), st.integers(1, 3), st.integers(1, 2), st.integers(0, 2**32 - 1))
def test_layers_without_neurons_between_them(layer: Layer, kernel: int, stride: int, seed: int) -> None:
    node, conv, shape = layer
    silence = torch.zeros(1, *shape, dtype=torch.float64)
    kernel = min(kernel, *conv(silence).shape[2:])

    def pooled(x: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(conv(x), kernel, stride, divisor_override=1).flatten(1)

    n = pooled(silence).shape[1]
    weight, bias = (whole(np.random.default_rng(seed), *size) for size in ((4, n), (4,)))
    nodes = [node, nir.SumPool2d(kernel, stride, 0), nir.Flatten(None, 0, -1), nir.Affine(weight, bias)]
    layer_agrees(nodes, lambda x: F.linear(pooled(x), *map(torch.from_numpy, (weight, bias))), shape)


# --- Norse 1.1.0 ------------------------------------------------------------------------------------------------
#
# Read with norse.torch.from_nir, which takes dt (1e-3 s if not told): LIF with r = 1, CubaLIF, both without v_leak, IF
# with r = 1 (v += x), Affine, Linear, Conv2d, SumPool2d without padding, Flatten, and cycles without a bias, by one
# tick, as NIR defines them. It fires strictly above the threshold, and resets to 0 in the same tick.
# Otherwise (norse/torch/utils/import_nir.py):
# - r of LIF and IF is ignored with a warning (lines 93, 120), and so is the padding of SumPool2d (133);
# - v_leak of CubaLIF also drives the synapse (102), and a membrane starts at v_leak, where ours starts at 0 (NIR does
#   not say where); v_reset is never read;
# - start_dim and end_dim of Flatten go to torch unchanged (86): 0 flattens the batch too, so none in that test;
# - in the first tick, an Affine in a cycle gives 0, not its bias: what NIRTorch starts the last tick's values with
#   (nirtorch/graph_executor.py 130-138; in nir_interpreter.py, _find_input_nodes, alike);
# - nodes are updated in the order of a walk along the edges (NIRTorch's trace_execution), which is not that of the
#   signals where two ways of different lengths meet;
# - LI, CubaLI, Conv1d, AvgPool2d, Delay, Scale and Threshold are not read.
# norse.torch.to_nir writes tau as dt / tau_mem_inv, too short by the factor dt (export_nir.py 29, 37, 44; norse issue
# 411), and CubaLIF without the w_in by which a spike raises norse's current. docs/map.md says how to correct both.


def in_double(module: nn.Module) -> nn.Module:
    """The module with all weights applied in double precision; snnTorch and sinabs give spikes in single precision."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d | nn.AvgPool2d):
            layer.register_forward_pre_hook(lambda _, given: tuple(x.double() for x in given))
    return module.double()


def through_nirtorch(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Frames `[ticks, ...]` through a module that takes and returns its state."""
    state, out = None, []
    with torch.no_grad():
        for frame in x:
            y, state = module(frame, state)
            out.append(y)
    return torch.stack(out)


def norse(nir_graph: nir.NIRGraph, x: torch.Tensor) -> torch.Tensor:
    module = pytest.importorskip("norse.torch").from_nir(nir_graph, dt=DT)
    return through_nirtorch(in_double(module), x)


def norm(rng: np.random.Generator, *shape: int, scale: float = 1.0) -> Array:
    """Normal random numbers that single precision holds; more of them excite than inhibit."""
    return (scale * rng.normal(0.4, 1, shape)).astype(np.float32).astype(np.float64)


def taus(rng: np.random.Generator, *shape: int) -> Array:
    return rng.choice(TAUS, shape) * DT


def lif(rng: np.random.Generator, *shape: int) -> nir.LIF:
    return nir.LIF(**of(shape, tau=taus(rng, *shape), r=1, v_leak=0, v_threshold=0.5))


def cuba_lif(rng: np.random.Generator, *shape: int) -> nir.CubaLIF:
    tau_mem, tau_syn = (taus(rng, *shape) for _ in range(2))
    return nir.CubaLIF(**of(shape, tau_mem=tau_mem, tau_syn=tau_syn, r=2, w_in=1.5, v_leak=0, v_threshold=0.5))


def integrate_and_fire(*shape: int) -> nir.IF:
    return nir.IF(**of(shape, r=1, v_threshold=1))


NEURONS = {
    "LIF": lambda rng: lif(rng, 16),
    "CubaLIF": lambda rng: cuba_lif(rng, 16),
    "IF": lambda rng: integrate_and_fire(16),
}


@pytest.mark.parametrize("cell", ["LIFBoxCell", "LIFCell"])
def test_norse_writes_neurons_that_are_corrected_as_the_docs_say(rng: np.random.Generator, cell: str) -> None:
    norse_torch = pytest.importorskip("norse.torch")
    dt_s = 1e-3  # norse's
    linear = nn.Linear(10, 16, bias=False)
    random_weights(rng, linear, 4.0)
    net = norse_torch.SequentialState(linear, getattr(norse_torch, cell)()).double()
    x = frames(rng, 10)
    g = norse_torch.to_nir(net, torch.zeros(1, 10).double())
    for node in g.nodes.values():
        for tau in ("tau", "tau_mem", "tau_syn"):
            if hasattr(node, tau):
                setattr(node, tau, np.asarray(getattr(node, tau)) / dt_s)
        if isinstance(node, nir.CubaLIF):
            node.w_in = node.tau_syn / dt_s
    agree(ours(g, x, dt_s), through_nirtorch(net, x))


@pytest.mark.parametrize("neuron", NEURONS)
def test_norse_reads_neurons(rng: np.random.Generator, neuron: str) -> None:
    g = chain(
        nir.Input(np.array([10])),
        nir.Affine(norm(rng, 16, 10), norm(rng, 16, scale=0.1)),
        NEURONS[neuron](rng),
        nir.Output(np.array([16])),
    )
    x = frames(rng, 10)
    agree(ours(g, x), norse(g, x))


@pytest.mark.parametrize("neuron", NEURONS)
def test_norse_reads_cycles(rng: np.random.Generator, neuron: str) -> None:
    nodes = {
        "input": nir.Input(np.array([10])),
        "w": nir.Affine(norm(rng, 16, 10), norm(rng, 16, scale=0.1)),
        "n": NEURONS[neuron](rng),
        "back": nir.Linear(norm(rng, 16, 16, scale=0.2)),
        "u": nir.Linear(norm(rng, 16, 16)),
        "m": NEURONS[neuron](rng),
        "output": nir.Output(np.array([16])),
    }
    g = graph(nodes, ("input", "w"), ("w", "n"), ("n", "back"), ("back", "n"), ("n", "u"), ("u", "m"), ("m", "output"))
    x = frames(rng, 10)
    agree(ours(g, x), norse(g, x))


def convolutional(rng: np.random.Generator, neuron: Callable[..., Any], pool: Any) -> nir.NIRGraph:
    """conv -> neurons -> pool -> conv -> neurons -> flatten -> weights -> neurons."""
    return chain(
        nir.Input(np.array([2, 9, 7])),
        nir.Conv2d((9, 7), norm(rng, 4, 2, 3, 2), (2, 1), (1, 0), (1, 2), 1, norm(rng, 4, scale=0.1)),
        neuron(4, 5, 5),
        pool,
        nir.Conv2d((2, 2), norm(rng, 6, 2, 2, 2), 1, "same", 1, 2, norm(rng, 6, scale=0.1)),
        neuron(6, 2, 2),
        nir.Flatten(np.array([6, 2, 2]), 0, -1),
        nir.Affine(norm(rng, 12, 24, scale=0.5), norm(rng, 12, scale=0.1)),
        neuron(12),
        nir.Output(np.array([12])),
    )


def test_norse_reads_convolutions(rng: np.random.Generator) -> None:
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    g = convolutional(rng, lambda *shape: lif(rng, *shape), pool)
    x = frames(rng, 2, 9, 7, batch=1)
    agree(ours(g, x), norse(g, x[:, 0]))


# --- snnTorch 1.0.0 ---------------------------------------------------------------------------------------------
#
# dt is 1e-4 s, whatever the file says (export_nir.py 68, 95, 136, 182; import_nir.py 243, 279, 325, 384). Written
# with export_to_nir and executed by snnTorch itself as NIR defines it: Leaky with reset_mechanism="zero" (reset_delay
# on or off: the membrane is reset before it is next used), Synaptic and RLeaky with "zero" and reset_delay=False,
# Linear, Conv2d, AvgPool2d without padding, Flatten. beta and threshold must be tensors of the layer's shape, and
# ignore_dims=[0] given, or the export refuses its own graph (nir 1.0.8 checks types).
# Read with import_from_nir: LIF and CubaLIF of one threshold, where r dt / tau and w_in dt / tau_syn are the same
# for all neurons; Affine, Linear, Conv2d, AvgPool2d.
# Otherwise:
# - the default reset_mechanism is "subtract", of which nothing is in the file (v_reset = 0 is written all the same);
#   the reading "snntorch-subtract" has it, with reset_delay (the default), for Leaky, Synaptic and RLeaky;
# - with reset_delay (the default) Synaptic, RLeaky and RSynaptic are silent for the tick after a spike: the membrane
#   is set to 0 after it has integrated (_neurons/synaptic.py _base_zero, rleaky.py and rsynaptic.py alike);
# - RSynaptic with reset_delay=False raises, or resets by the spike of the tick before (rsynaptic.py 366-375);
# - AvgPool2d is written with padding 0, whatever it has (export_nir.py 64);
# - IF is read as Leaky(beta=0.9) (import_nir.py 235; issue 416, corrected later in pull request 452);
# - a cycle is read with its input leading into the recurrent weights, not the neurons (import_nir.py 37-42);
# - Flatten is read with the batch counted in (import_nir.py 216): start_dim 0 flattens the batch too;
# - SumPool2d is not read.

SNNTORCH_DT_S = 1e-4


def decay(rng: np.random.Generator, *shape: int) -> torch.Tensor:
    return torch.from_numpy(1 - 1 / rng.choice(TAUS[1:], shape)).float()


def leaky(snn: Any, rng: np.random.Generator, *shape: int, **options: Any) -> Any:
    options = {"reset_mechanism": "zero", "init_hidden": True} | options
    return snn.Leaky(decay(rng, *shape), torch.full(shape, 0.75), **options)


def random_weights(rng: np.random.Generator, net: nn.Module, scale: float) -> None:
    with torch.no_grad():
        for layer in net.modules():
            if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d):
                layer.weight.copy_(torch.from_numpy(norm(rng, *layer.weight.shape, scale=scale)))
                if layer.bias is not None:
                    layer.bias.copy_(torch.from_numpy(norm(rng, *layer.bias.shape, scale=0.05)))


def written_by_snntorch(net: nn.Module, x: torch.Tensor) -> nir.NIRGraph:
    """Its graph, from a network whose modules hold their state."""
    export = pytest.importorskip("snntorch.export_nir", reason="snntorch comes with muspike[peers]")
    return export.export_to_nir(net, x[0, :1].float(), ignore_dims=[0])


def stepped(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return torch.stack([net(frame) for frame in x])


def snntorch_agrees(net: nn.Module, x: torch.Tensor, through_a_file: ThroughAFile, reads_as: str = "nir") -> None:
    g = through_a_file(written_by_snntorch(net, x))
    for module in net.modules():
        if callable(reset := getattr(module, "reset_mem", None)):
            reset()
    theirs = stepped(in_double(net), x)
    agree(ours(g, x, SNNTORCH_DT_S, reads_as), theirs)
    if reads_as != "nir":  # the network is one that tells the readings apart
        plain = ours(g, x.clamp(max=1), SNNTORCH_DT_S)
        assert (plain != theirs.detach().numpy().reshape(plain.shape)).mean() > 0.01


@pytest.mark.parametrize("reset_delay", [False, True])
def test_snntorch_writes_leaky(through_a_file: ThroughAFile, rng: np.random.Generator, reset_delay: bool) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    net = nn.Sequential(
        nn.Linear(10, 16),
        leaky(snn, rng, 16, reset_delay=reset_delay),
        nn.Linear(16, 12, bias=False),
        leaky(snn, rng, 12, reset_delay=reset_delay),
    )
    random_weights(rng, net, 0.4)
    snntorch_agrees(net, frames(rng, 10), through_a_file)


def test_snntorch_writes_synaptic(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    options = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False}
    net = nn.Sequential(nn.Linear(10, 16), snn.Synaptic(decay(rng, 16), decay(rng, 16), torch.ones(16), **options))
    random_weights(rng, net, 0.2)
    snntorch_agrees(net, frames(rng, 10), through_a_file)


@pytest.mark.parametrize("all_to_all", [True, False])
def test_snntorch_writes_recurrence(through_a_file: ThroughAFile, rng: np.random.Generator, all_to_all: bool) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    weights = {"linear_features": 16} if all_to_all else {"V": torch.from_numpy(norm(rng, 16, scale=0.4)).float()}
    cell = snn.RLeaky(
        0.75,
        all_to_all=all_to_all,
        reset_mechanism="zero",
        reset_delay=False,
        init_hidden=True,
        **weights,
    )
    net = nn.Sequential(nn.Linear(10, 16), cell, nn.Linear(16, 12), leaky(snn, rng, 12))
    random_weights(rng, net, 0.4)
    snntorch_agrees(net, frames(rng, 10), through_a_file)


def test_snntorch_writes_convolutions(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
        leaky(snn, rng, 4, 5, 7),
        nn.AvgPool2d(2),
        nn.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False),
        leaky(snn, rng, 6, 2, 3),
        nn.Flatten(),
        nn.Linear(36, 12),
        leaky(snn, rng, 12),
    )
    random_weights(rng, net, 0.5)
    snntorch_agrees(net, frames(rng, 2, 9, 7), through_a_file)


SUBTRACTING: dict[str, Callable[[Any, np.random.Generator], nn.Module]] = {
    "Leaky": lambda snn, rng: leaky(snn, rng, 16, reset_mechanism="subtract"),
    "Synaptic": lambda snn, rng: snn.Synaptic(decay(rng, 16), decay(rng, 16), torch.ones(16), init_hidden=True),
    "RLeaky": lambda snn, rng: snn.RLeaky(0.75, linear_features=16, init_hidden=True),
}


@pytest.mark.parametrize("neuron", SUBTRACTING)
def test_snntorch_subtracts_as_its_reading_says(
    through_a_file: ThroughAFile, rng: np.random.Generator, neuron: str
) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    net = nn.Sequential(nn.Linear(10, 16), SUBTRACTING[neuron](snn, rng))
    random_weights(rng, net, 0.15)
    snntorch_agrees(net, bursts(rng, 10), through_a_file, "snntorch-subtract")


def test_snntorch_subtracts_in_convolutions(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    snn = pytest.importorskip("snntorch", reason="snntorch comes with muspike[peers]")
    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
        leaky(snn, rng, 4, 5, 7, reset_mechanism="subtract"),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(24, 12),
        leaky(snn, rng, 12, reset_mechanism="subtract"),
    )
    random_weights(rng, net, 0.2)
    snntorch_agrees(net, bursts(rng, 2, 9, 7), through_a_file, "snntorch-subtract")


def read_by_snntorch(g: nir.NIRGraph, x: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> torch.Tensor:
    module = pytest.importorskip("snntorch.import_nir", reason="snntorch comes with muspike[peers]")
    net = module.import_from_nir(g)
    capsys.readouterr()  # it prints
    return through_nirtorch(in_double(net), x)


@pytest.mark.parametrize("r", [1.0, 3.0])
def test_snntorch_reads_lif(rng: np.random.Generator, capsys: pytest.CaptureFixture[str], r: float) -> None:
    tau = 4 * SNNTORCH_DT_S
    neurons = [nir.LIF(**of((n,), tau=tau, r=r, v_leak=0, v_threshold=0.5)) for n in (16, 12)]
    g = chain(
        nir.Input(np.array([10])),
        nir.Affine(norm(rng, 16, 10), norm(rng, 16, scale=0.1)),
        neurons[0],
        nir.Linear(norm(rng, 12, 16)),
        neurons[1],
        nir.Output(np.array([12])),
        dt_s=SNNTORCH_DT_S,
    )
    x = frames(rng, 10)
    agree(ours(g, x), read_by_snntorch(g, x, capsys))


def test_snntorch_reads_cuba_lif(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    ticks = np.array([4.0])
    parameters = of((16,), tau_mem=ticks * SNNTORCH_DT_S, tau_syn=2 * SNNTORCH_DT_S, r=4, v_leak=0, v_threshold=1)
    g = chain(
        nir.Input(np.array([10])),
        nir.Affine(norm(rng, 16, 10, scale=0.3), norm(rng, 16, scale=0.05)),
        nir.CubaLIF(**parameters, w_in=np.full(16, 3.0)),
        nir.Output(np.array([16])),
        dt_s=SNNTORCH_DT_S,
    )
    x = frames(rng, 10)
    agree(ours(g, x), read_by_snntorch(g, x, capsys))


def test_snntorch_reads_convolutions(rng: np.random.Generator, capsys: pytest.CaptureFixture[str]) -> None:
    g = chain(
        nir.Input(np.array([2, 9, 7])),
        nir.Conv2d((9, 7), norm(rng, 4, 2, 3, 2), (2, 1), (1, 0), (1, 2), 1, norm(rng, 4, scale=0.1)),
        nir.LIF(**of((4, 5, 5), tau=4 * SNNTORCH_DT_S, r=2, v_leak=0, v_threshold=0.5)),
        nir.AvgPool2d(np.array([2, 3]), np.array([2, 1]), np.array([1, 0])),
        nir.Conv2d((3, 3), norm(rng, 6, 2, 2, 2), (1, 1), "same", (1, 1), 2, norm(rng, 6, scale=0.1)),
        nir.LIF(**of((6, 3, 3), tau=2 * SNNTORCH_DT_S, r=1, v_leak=0, v_threshold=0.25)),
        nir.Output(np.array([6, 3, 3])),
        dt_s=SNNTORCH_DT_S,
    )
    x = frames(rng, 2, 9, 7)
    agree(ours(g, x), read_by_snntorch(g, x, capsys))


# --- SpikingJelly 2.0.0 -----------------------------------------------------------------------------------------
#
# dt is 1e-4 s if not told (nir_exchange/to_nir.py 247, from_nir.py 228). Written and read as NIR defines it: LIFNode
# (decay_input on: r = 1; off: r = tau / dt), ParametricLIFNode and CUBALIFNode with a hard reset, Linear, Conv1d,
# Conv2d without groups, AvgPool2d, Flatten, and cycles of one tick without a bias (see Norse). A soft reset is refused.
# Otherwise:
# - it fires at the threshold too, v >= v_threshold (surrogate.heaviside), where NIR says above it: the same unless a
#   membrane is exactly there;
# - IFNode is written, and read, with r = 1 / dt, as the equation dv/dt = r x literally says, where the other
#   frameworks write r = 1 for v += x.


def spikingjelly() -> tuple[Any, Any, Any]:
    based = pytest.importorskip("spikingjelly.activation_based", reason="spikingjelly comes with muspike[peers]")
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange", reason="comes with muspike[peers]")
    return based.layer, based.neuron, exchange


JELLIES = {
    "LIF": lambda neuron: neuron.LIFNode(tau=4.0, v_threshold=0.25),
    "LIF, input not decayed": lambda neuron: neuron.LIFNode(tau=4.0, decay_input=False),
    "PLIF": lambda neuron: neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.25),
    "CubaLIF": lambda neuron: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_threshold=2.0),
    "IF": lambda neuron: neuron.IFNode(),
}


@pytest.mark.parametrize("kind", JELLIES)
def test_spikingjelly_writes_neurons(through_a_file: ThroughAFile, rng: np.random.Generator, kind: str) -> None:
    layer, neuron, exchange = spikingjelly()
    net = nn.Sequential(
        layer.Linear(10, 16), JELLIES[kind](neuron), layer.Linear(16, 12, bias=False), JELLIES[kind](neuron)
    ).double()
    random_weights(rng, net, 0.7)
    x = frames(rng, 10)
    g = through_a_file(exchange.export_to_nir(net, x[0], dt=DT))
    agree(ours(g, x, DT), stepped(net, x))


def test_spikingjelly_writes_convolutions(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    layer, neuron, exchange = spikingjelly()
    net = nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
        neuron.LIFNode(tau=2.0, v_threshold=0.5),
        layer.AvgPool2d(3, 1, 1),
        layer.Conv2d(4, 6, 3, padding="same", dilation=2, bias=False),
        neuron.LIFNode(tau=4.0, v_threshold=0.5),
        layer.Flatten(),
        layer.Linear(6 * 5 * 7, 12),
        neuron.CUBALIFNode(v_threshold=4.0),
    ).double()
    random_weights(rng, net, 0.3)
    x = frames(rng, 2, 9, 7)
    g = through_a_file(exchange.export_to_nir(net, x[0], dt=DT))
    agree(ours(g, x, DT), stepped(net, x))


def test_spikingjelly_writes_conv1d(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    layer, neuron, exchange = spikingjelly()
    net = nn.Sequential(layer.Conv1d(2, 4, 4, stride=2, padding=3, dilation=2), neuron.LIFNode(v_threshold=0.25))
    net = net.double()
    random_weights(rng, net, 0.5)
    x = frames(rng, 2, 11)
    g = through_a_file(exchange.export_to_nir(net, x[0], dt=DT))
    agree(ours(g, x, DT), stepped(net, x))


def jelly(n: int, cuba: bool) -> Any:
    """A neuron of the few parameters that it reads."""
    parameters = {"v_leak": 0, "v_threshold": 1}
    if cuba:
        return nir.CubaLIF(**of((n,), tau_mem=4 * DT, tau_syn=2 * DT, r=4, w_in=2, **parameters))
    return nir.LIF(**of((n,), tau=4 * DT, r=4, **parameters))


@pytest.mark.parametrize("cuba", [False, True])
def test_spikingjelly_reads_cycles_and_several_ways(rng: np.random.Generator, cuba: bool) -> None:
    """A cycle, and two biased ways of different lengths into one neuron."""
    _, _, exchange = spikingjelly()
    nodes = {
        "input": nir.Input(np.array([10])),
        "w": nir.Affine(norm(rng, 16, 10, scale=0.2), norm(rng, 16, scale=0.05)),
        "n": jelly(16, cuba),
        "back": nir.Linear(norm(rng, 16, 16, scale=-0.1)),
        "u": nir.Affine(norm(rng, 12, 16, scale=-0.2), norm(rng, 12, scale=0.05)),
        "past": nir.Affine(norm(rng, 12, 10, scale=0.3), norm(rng, 12, scale=0.05)),
        "m": jelly(12, cuba),
        "output": nir.Output(np.array([12])),
    }
    ways = ("input", "w", "n", "back", "n"), ("n", "u", "m", "output"), ("input", "past", "m")
    g = graph(nodes, *(edge for way in ways for edge in itertools.pairwise(way)))
    net = exchange.import_from_nir(g, dt=DT, dtype=torch.float64)
    x = frames(rng, 10)
    agree(ours(g, x), through_nirtorch(net, x))


# --- sinabs 3.1.3 -----------------------------------------------------------------------------------------------
#
# It has no dt: its times are in ticks (nir.py, _extract_sinabs_module), so its files are read with dt = 1 s. Written
# and executed as NIR defines it: IAF with spike_fn=SingleSpike, reset_fn=MembraneReset() and no min_v_mem; Conv2d,
# SumPool2d, Flatten, Linear.
# Otherwise:
# - IAF by default emits trunc(v / threshold) spikes in a tick and subtracts the threshold as often (MultiSpike,
#   MembraneSubtract), and read from a file it also stops the membrane at -threshold (nir.py, _import_sinabs_module);
#   of all this nothing is in the file, so the IF of a NIR file is not what a sinabs network trained with its defaults
#   does; the reading "sinabs" is, and has the inputs as counts;
# - it fires at the threshold too, v >= threshold (SingleSpike, MultiSpike);
# - LIF and ExpLeak decay by exp(-1 / tau), not 1 - 1 / tau (functional/lif.py); LIF adds (1 - exp(-1 / tau)) x, ExpLeak
#   adds x, unless norm_input says otherwise, which is not written; the reading "sinabs" has both defaults;
# - tau_syn is not written, and neither is the padding of SumPool2d; AvgPool2d cannot be written.


def test_sinabs_writes_convolutions(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    pytest.importorskip("sinabs", reason="sinabs is not in any extra: it requires samna, which its NIR does not use")
    from sinabs import activation, layers
    from sinabs.nir import to_nir

    def neurons() -> Any:
        one = {"spike_fn": activation.SingleSpike, "reset_fn": activation.MembraneReset()}
        return layers.IAFSqueeze(batch_size=BATCH, spike_threshold=torch.tensor(1.5), **one)

    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
        neurons(),
        layers.SumPool2d((2, 2)),
        nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=False),
        neurons(),
        nn.Flatten(),
        nn.Linear(36, 12, bias=False),
        neurons(),
    ).double()
    random_weights(rng, net, 0.5)
    x = frames(rng, 2, 9, 7)
    by_batch = x.transpose(0, 1).reshape(-1, 2, 9, 7)
    with torch.no_grad():
        theirs = in_double(net)(by_batch).reshape(BATCH, TICKS, 12).transpose(0, 1)
    for module in net.modules():
        if isinstance(module, layers.IAFSqueeze):
            module.reset_states()
    g = to_nir(net, by_batch)
    g.infer_types()  # else the file cannot be written; nir 1.0.8 infers square kernels alone
    agree(ours(through_a_file(g), x, 1.0), theirs)


def test_sinabs_writes_leaky_neurons_that_are_corrected_as_the_docs_say(rng: np.random.Generator) -> None:
    pytest.importorskip("sinabs", reason="sinabs is not in any extra: it requires samna, which its NIR does not use")
    from sinabs import activation, layers
    from sinabs.nir import to_nir

    one = {"spike_fn": activation.SingleSpike, "reset_fn": activation.MembraneReset()}
    neurons: Any = layers.LIFSqueeze(tau_mem=5.0, batch_size=BATCH, **one)
    net = nn.Sequential(nn.Linear(10, 16, bias=False), neurons)
    random_weights(rng, net, 2.0)
    x = frames(rng, 10)
    by_batch = x.transpose(0, 1).reshape(-1, 10)
    with torch.no_grad():
        theirs = in_double(net)(by_batch).reshape(BATCH, TICKS, 16).transpose(0, 1)
    neurons.reset_states()
    g = to_nir(net, by_batch)
    for node in g.nodes.values():
        if isinstance(node, nir.LIF):
            node.tau = 1 / (1 - np.exp(-1 / node.tau))
    agree(ours(g, x, 1.0), theirs)


NO_SINABS = "sinabs is not in any extra: it requires samna, which its NIR does not use"


def by_sinabs(net: nn.Module, x: torch.Tensor, layers: Any) -> tuple[torch.Tensor, nir.NIRGraph]:
    """Its output `[ticks, batch, ...]`, and its graph."""
    from sinabs.nir import to_nir

    by_batch = x.transpose(0, 1).flatten(0, 1)
    with torch.no_grad():
        theirs = in_double(net)(by_batch).unflatten(0, (BATCH, len(x))).transpose(0, 1)
    for module in net.modules():
        if isinstance(module, layers.StatefulLayer):
            module.reset_states()
    return theirs, to_nir(net, by_batch)


def sinabs_agrees(theirs: torch.Tensor, g: nir.NIRGraph, x: torch.Tensor) -> None:
    """Every count of the reading is theirs, and NIR's spikes are others."""
    spikes = ours(g, x, 1.0, "sinabs")
    assert spikes.max() >= 3 and (spikes == 0).mean() > 0.2
    expected = theirs.numpy().reshape(spikes.shape)
    np.testing.assert_array_equal(spikes, expected)
    assert (ours(g, x.clamp(max=1), 1.0) != np.minimum(expected, 1)).mean() > 0.02


@pytest.mark.parametrize("neuron", ["IAF", "LIF"])
def test_sinabs_spikes_several_times_in_a_tick_as_its_reading_says(rng: np.random.Generator, neuron: str) -> None:
    layers = pytest.importorskip("sinabs.layers", reason=NO_SINABS)
    kinds: dict[str, Callable[[float], Any]] = {
        "IAF": lambda threshold: layers.IAFSqueeze(batch_size=BATCH, spike_threshold=torch.tensor(threshold)),
        "LIF": lambda threshold: layers.LIFSqueeze(
            tau_mem=5.0, batch_size=BATCH, spike_threshold=torch.tensor(threshold / 8)
        ),
    }
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False), kinds[neuron](1.5), nn.Linear(16, 12, bias=False), kinds[neuron](2.5)
    )
    random_weights(rng, net, 0.5)
    x = bursts(rng, 10)
    theirs, g = by_sinabs(net, x, layers)
    sinabs_agrees(theirs, g, x)


def test_sinabs_spikes_several_times_in_convolutions(through_a_file: ThroughAFile, rng: np.random.Generator) -> None:
    layers = pytest.importorskip("sinabs.layers", reason=NO_SINABS)

    def neurons() -> Any:
        return layers.IAFSqueeze(batch_size=BATCH, spike_threshold=torch.tensor(1.5))

    net = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=(2, 1), padding=1),
        neurons(),
        layers.SumPool2d((2, 2)),
        nn.Conv2d(4, 6, 3, padding="same", groups=2, bias=False),
        neurons(),
        nn.Flatten(),
        nn.Linear(36, 12, bias=False),
        neurons(),
    ).double()
    random_weights(rng, net, 0.3)
    x = bursts(rng, 2, 9, 7)
    theirs, g = by_sinabs(net, x, layers)
    g.infer_types()
    sinabs_agrees(theirs, through_a_file(g), x)


def test_sinabs_readouts_add_their_input_whole(rng: np.random.Generator) -> None:
    layers = pytest.importorskip("sinabs.layers", reason=NO_SINABS)
    net = nn.Sequential(
        nn.Linear(10, 16, bias=False),
        layers.IAFSqueeze(batch_size=BATCH, spike_threshold=torch.tensor(1.5)),
        nn.Linear(16, 12, bias=False),
        layers.ExpLeakSqueeze(batch_size=BATCH, tau_mem=7.0),
    )
    random_weights(rng, net, 0.5)
    x = bursts(rng, 10)
    theirs, g = by_sinabs(net, x, layers)
    read = from_nir(g, 1.0)
    (output,) = read.outputs
    _, membranes = run(read, x.numpy(), reading=READINGS["sinabs"])
    np.testing.assert_allclose(membranes[output], theirs.numpy(), rtol=1e-12, atol=1e-12)
    assert np.abs(membranes[output]).max() > 1
