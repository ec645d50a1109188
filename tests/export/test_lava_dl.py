"""`.net` files: lava-dl's own reader runs every spike and v of the simulator, and what it cannot is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from chip_programs import population, program
from muspike.errors import BadInput, Failed
from muspike.export import netx_runner
from muspike.export.lava_dl_layers import layers_of
from muspike.export.subject import Subject
from muspike.export.targets import export, verify
from muspike.hardware import compile_graph, read_net
from muspike.hardware import weights as w
from muspike.hardware.mapping.retime import ONCE
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.events import Simulator


@pytest.fixture(scope="module")
def lava(python: Path) -> Path:
    """The Python that runs Lava, where lava-dl's wheel is at hand too."""
    try:
        netx_runner.find_lava_dl()
    except Failed as error:
        pytest.skip(str(error))
    return python


def neurons(rng: np.random.Generator, name: str, size: int, **values: Any) -> ChipPopulation:
    """With decays and thresholds of their own."""
    drawn = {
        "du": rng.integers(400, 4097, size),
        "dv": rng.integers(0, 1000, size),
        "v_threshold": rng.integers(60, 300, size),
    }
    return population(name, size, values.pop("kind", "lif"), **{**drawn, **values})


def matrix(rng: np.random.Generator, target: int, source: int) -> Any:
    return 2 * rng.integers(-40, 64, (target, source))


def late(populations: Sequence[ChipPopulation], synapses: Sequence[ChipSynapses]) -> Program:
    """A chain whose levels count from 1."""
    raised = [p if p.kind == "input" else replace(p, level=i) for i, p in enumerate(populations)]
    return program(raised, synapses)


def dense_net() -> Program:
    """Three layers from full and sparse matrices, with delays, exponents and a readout."""
    rng = np.random.default_rng(0)
    sparse = w.Sparse.of(np.where(rng.random((15, 20)) < 0.5, matrix(rng, 15, 20), 0))
    layers = [
        population("in", 12, "input"),
        neurons(rng, "first", 20),
        neurons(rng, "second", 15),
        neurons(rng, "out", 4, kind="li", v_threshold=np.full(4, 2**17 - 1)),
    ]
    return late(
        layers,
        [
            ChipSynapses("a", "in", "first", 2 * rng.integers(-20, 31, (20, 12)), 2, 1),
            ChipSynapses("b", "first", "second", sparse, 0, 9),
            ChipSynapses("c", "second", "out", matrix(rng, 4, 15), 0, 63),
        ],
    )


def recurrent_net() -> Program:
    rng = np.random.default_rng(1)
    return late(
        [population("in", 12, "input"), neurons(rng, "loops", 20), neurons(rng, "out", 5)],
        [
            ChipSynapses("a", "in", "loops", matrix(rng, 20, 12), 0, 1),
            ChipSynapses("again", "loops", "loops", matrix(rng, 20, 20), 0, 1),
            ChipSynapses("b", "loops", "out", matrix(rng, 5, 20), 0, 1),
        ],
    )


def conv_net(**of_first: Any) -> Program:
    """Convolutions with stride, padding, dilation and groups, thresholds by channel; then a full layer."""
    rng = np.random.default_rng(2)
    by_channel = np.repeat(rng.integers(60, 200, 4), 30)
    first = w.Conv(
        2 * rng.integers(-30, 50, (4, 2, 3, 2)), (2, 9, 8), (4, 5, 6), stride=(2, 1), padding=(1, 0), dilation=(1, 2)
    )
    second = w.Conv(2 * rng.integers(-30, 50, (6, 2, 2, 3)), (4, 5, 6), (6, 4, 4), groups=2)
    even = {"du": np.full(120, 2000), "dv": np.full(120, 300), "v_threshold": by_channel}
    even = {**even, **of_first}
    one = {"du": np.full(96, 3000), "dv": np.full(96, 100), "v_threshold": np.full(96, 90)}
    return late(
        [
            population("in", 144, "input"),
            neurons(rng, "first", 120, **even),
            neurons(rng, "second", 96, **one),
            neurons(rng, "out", 7),
        ],
        [
            ChipSynapses("a", "in", "first", first, 0, 1),
            ChipSynapses("b", "first", "second", second, 0, 1),
            ChipSynapses("c", "second", "out", matrix(rng, 7, 96), 0, 1),
        ],
    )


def biased_net() -> Program:
    """Reset once each, when ideal time begins."""
    rng = np.random.default_rng(3)
    bias = [{"bias_mant": rng.integers(-9, 20, n), "bias_exp": np.full(n, 6)} for n in (20, 6)]
    resets = [{"reset_interval": ONCE, "reset_offset": level} for level in (1, 2)]
    return late(
        [
            population("in", 12, "input"),
            neurons(rng, "first", 20, **bias[0], **resets[0]),
            neurons(rng, "out", 6, **bias[1], **resets[1]),
        ],
        [
            ChipSynapses("a", "in", "first", matrix(rng, 20, 12), 0, 1),
            ChipSynapses("b", "first", "out", matrix(rng, 6, 20), 0, 1),
        ],
    )


def reset_net() -> Program:
    """Brought to rest every 7 ticks."""
    p = conv_net()
    rest = [q if q.kind == "input" else replace(q, reset_interval=7, reset_offset=q.level) for q in p.populations]
    return replace(p, populations=rest)


def trained(weights: Sequence[Any], loop: Any = None) -> nir.NIRGraph:
    """A NIR graph of full layers in floats."""
    rng = np.random.default_rng(4)
    nodes: dict[str, Any] = {"input": nir.Input(np.array([weights[0].shape[1]]))}
    edges, before = [], "input"
    for i, matrix_of_layer in enumerate(weights):
        n = len(matrix_of_layer)
        nodes[f"w{i}"] = nir.Linear(matrix_of_layer)
        nodes[f"layer{i}"] = nir.CubaLIF(
            rng.uniform(2e-3, 5e-3, n), rng.uniform(5e-3, 20e-3, n), np.ones(n), np.zeros(n), np.ones(n)
        )
        edges += [(before, f"w{i}"), (f"w{i}", f"layer{i}")]
        before = f"layer{i}"
    if loop is not None:
        nodes["loop"] = nir.Linear(loop)
        edges += [("layer0", "loop"), ("loop", "layer0")]
    nodes["output"] = nir.Output(np.array([len(weights[-1])]))
    return nir.NIRGraph(nodes, [*edges, (before, "output")], metadata={"dt": 1e-3})


def floats(rng: np.random.Generator, target: int, source: int) -> Any:
    return rng.normal(8.0, 12.0, (target, source))


def perceptron() -> nir.NIRGraph:
    rng = np.random.default_rng(5)
    return trained([floats(rng, 20, 12), floats(rng, 16, 20), floats(rng, 4, 16)])


def recurrent() -> nir.NIRGraph:
    rng = np.random.default_rng(6)
    return trained([floats(rng, 20, 12), floats(rng, 4, 20)], loop=floats(rng, 20, 20) - 12)


@pytest.mark.parametrize(
    "made",
    [
        perceptron,
        conv_net,
        *(
            pytest.param(made, marks=pytest.mark.nightly)
            for made in (dense_net, recurrent_net, biased_net, reset_net, recurrent)
        ),
    ],
)
def test_lava_dls_reader_gives_every_spike_and_v(
    lava: Path, tmp_path: Path, made: Callable[[], Program | nir.NIRGraph]
) -> None:
    path = tmp_path / "network.net"
    proof = export(made(), "lava-dl", path, chip="loihi2", python=str(lava))
    assert proof.holds, proof.table()
    assert all(row.spikes > 0 for row in proof.rows if made is not dense_net or row.population != "out")
    # Our own reader reads the same program from it.
    subject = Subject.of(made())
    given = subject.program("loihi2")
    every = given.populations[1].reset_interval
    graph = read_net(path, 1e-3)
    ours = compile_graph(
        graph, "loihi2", scale="keep", reset_every=every if every not in (0, ONCE) else None, must_fit=False
    ).program
    inputs = subject.stimulus(16, 2).spikes
    runs = [Simulator(p, 2).run(inputs, record_membranes=True) for p in (given, ours)]
    for theirs, mine in zip(given.populations[1:], ours.populations[1:], strict=True):
        later = theirs.level - mine.level  # of a layer with a delay, lava-dl's reader is later than it need be
        v = runs[1].membrane[mine.name]
        assert np.array_equal(runs[0].membrane[theirs.name][later:], v[: len(v) - later])
    if made is dense_net:
        assert verify(path, python=str(lava)).holds


def changed(p: Program, **of: Any) -> Program:
    return replace(p, **of)


def more_synapses(*more: ChipSynapses) -> Program:
    p = recurrent_net()
    return replace(p, synapses=[*p.synapses, *more])


def other_synapses(name: str, **of: Any) -> Program:
    p = recurrent_net()
    return replace(p, synapses=[replace(s, **of) if s.name == name else s for s in p.synapses])


def other_first(**of: Any) -> Program:
    p = biased_net()
    return replace(p, populations=[replace(q, **of) if q.name == "first" else q for q in p.populations])


REFUSED: dict[str, tuple[Callable[[], Program], str]] = {
    "two synapses": (
        lambda: more_synapses(ChipSynapses("skip", "in", "out", np.full((5, 12), 2), 0, 2)),
        r"population 'out': it has 2 synapses, from 'loops', 'in'",
    ),
    "long loop": (lambda: other_synapses("again", delay=2), r"synapses 'again': it is a loop of 2 ticks"),
    "delay and loop": (lambda: other_synapses("a", delay=2), r"synapses 'a': its delay is 2 into 'loops' with a loop"),
    "zeros": (lambda: other_synapses("b", weight=np.zeros((5, 20), int)), r"synapses 'b': all its weights are 0"),
    "exponent": (lambda: other_synapses("b", weight_exp=5), r"synapses 'b': its weight exponent 5 makes a weight"),
    "signs": (
        lambda: other_synapses("b", weight=np.full((5, 20), -64)),
        r"synapses 'b': no weight is above 0 and the least is -64",
    ),
    "bias": (
        lambda: other_first(bias_mant=np.full(20, 3), bias_exp=np.full(20, 2)),
        r"population 'first': a bias adds 12 to the membrane, no multiple of 64",
    ),
    "large bias": (
        lambda: other_first(bias_mant=np.full(20, 4000), bias_exp=np.full(20, 7)),
        r"population 'first': its bias 8000 in units of 64 is outside -4096\.\.4095",
    ),
    "reset": (lambda: other_first(reset_offset=5), r"population 'first': it is reset in tick 5"),
    "neurons of a channel": (
        lambda: conv_net(v_threshold=np.arange(120) + 50),
        r"population 'first': v_threshold differs between neurons of a channel",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_said_is_refused_by_name(name: str) -> None:
    made, message = REFUSED[name]
    with pytest.raises(BadInput, match=message):
        layers_of(made())


def test_a_music_model_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match=r"population 'layer2': .*|synapses '.*': .* lava-dl's \.net cannot say that"):
        layers_of(Subject.of("s-rnn").program("loihi2"))
