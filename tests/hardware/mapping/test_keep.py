"""Networks of the chip's integers: taken as they stand, and what is refused as none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from float_populations import population
from muspike.errors import BadInput
from muspike.hardware.graph import SpikingGraph, Synapses, always_firing
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.hardware.running.simulate import simulate
from muspike.hardware.weights import Conv, Sparse, dense


def network(weight: Any, second: Any = None, **neuron: Any) -> SpikingGraph:
    """input -> `weight` -> n; `second` leads from the input too. A unit of a weight is a unit of the chip's sum."""
    n = population("n", "lif", weight.shape[0], **{"tau": 4.0, "v_threshold": 25.0, **neuron})
    scale = n.tau if np.isfinite(n.tau).all() else np.ones(n.size)

    def as_float(x: Any) -> Any:
        if isinstance(x, Conv):
            return Conv(x.kernel * scale[0], x.input_shape, x.output_shape)
        return Sparse.of(dense(x) * scale[:, None]) if isinstance(x, Sparse) else x * scale[:, None]

    synapses = [Synapses("w", "i", "n", as_float(weight), 0)]
    if second is not None:
        synapses.append(Synapses("second", "i", "n", as_float(second), 0))
    return SpikingGraph([population("i", "input", weight.shape[1]), n], synapses, 1e-3, outputs=("n",))


def even(rows: int, columns: int, seed: int = 0) -> Any:
    return 2.0 * np.random.default_rng(seed).integers(-12, 13, (rows, columns))


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_integers_stay_as_they_are(chip: str) -> None:
    weight = even(30, 20)
    compiled = compile_graph(network(weight), chip, scale="keep")
    (n,) = [p for p in compiled.program.populations if p.kind == "lif"]
    assert (n.v_threshold == 25).all() and (n.dv == 1024).all() and (n.du == 4095).all() and (n.scale == 64).all()
    (s,) = compiled.program.synapses
    np.testing.assert_array_equal(s.weight, weight)
    assert compiled.quantisation.kept
    assert compiled.quantisation.populations[0].scale_reason == "kept: the chip's integers already"
    same = compile_graph(network(weight), chip)  # "auto" finds them too
    np.testing.assert_array_equal(same.program.synapses[0].weight, weight)
    assert (same.program.populations[1].v_threshold == 25).all()


def test_rescaling_would_move_spikes() -> None:
    """The reason for all this: the chip rounds its state in every tick, at another scale otherwise."""
    weight = even(60, 40)
    spikes = (np.random.default_rng(1).random((300, 2, 40)) < 0.2).astype(np.uint8)

    def raster(graph: SpikingGraph) -> Any:
        return simulate(compile_graph(graph, "loihi2"), {"i": spikes}, beside_float=False).run.spikes["n"]

    kept = raster(network(weight))
    moved = network(weight * 1.25, v_threshold=25.0 * 1.25)  # the same network, of other numbers
    assert kept.sum() > 1000 and (kept != raster(moved)).any()


def test_float32_is_no_obstacle() -> None:
    graph = network(even(30, 20), tau=np.float64(np.float32(1e-3) / np.float32(2.5e-4)))
    assert compile_graph(graph, "loihi1", scale="keep").quantisation.kept


def test_every_form_of_weights_and_a_bias() -> None:
    sparse = Sparse.of(even(16, 9) * (np.arange(9) % 3 == 0))
    conv = Conv(even(4, 9).reshape(4, 1, 3, 3), (1, 4, 4), (4, 2, 2))
    for weight in (sparse, conv):
        graph = network(weight, bias=4 * 5 / 64)  # 5 units of the membrane
        compiled = compile_graph(graph, "loihi1", scale="keep")
        (n,) = [p for p in compiled.program.populations if p.kind == "lif"]
        assert (n.bias == 5).all() and (n.v_threshold == 25).all()


def test_a_matrix_of_larger_multiples_is_kept_with_an_exponent() -> None:
    compiled = compile_graph(network(even(30, 20), second=even(30, 20, 1) * 2**4), "loihi1", scale="keep")
    exponents = {s.name: s.weight_exp for s in compiled.program.synapses}
    assert exponents == {"w": 0, "second": 1}
    assert (compiled.program.populations[1].v_threshold == 25).all()


def test_a_readout_and_neurons_that_always_fire_do_not_decide() -> None:
    base = network(even(6, 4))
    n = base.population("n")
    graph = SpikingGraph(
        [*base.populations, population("out", "li", 2, tau=3.0), always_firing("bias")],
        [
            *base.synapses,
            Synapses("bias", "bias", "n", np.full((6, 1), 8.0 * n.tau[0]), 0),
            Synapses("out", "n", "out", np.random.default_rng(0).normal(0, 1, (2, 6)), 0),
        ],
        1e-3,
        outputs=("out",),
    )
    compiled = compile_graph(graph, "loihi1", scale="keep")
    assert compiled.quantisation.kept
    assert (compiled.integers.populations[1].v_threshold == 25).all()


@pytest.mark.parametrize(
    ("graph", "what"),
    [
        (network(even(6, 4), v_threshold=25.5), "v_threshold is 25.5, expected a whole number"),
        (network(even(6, 4), v_threshold=119999.9), "v_threshold is 120000, expected a whole number"),
        (network(even(6, 4), v_threshold=200000.0), "v_threshold is 200000, loihi1 holds 0..131071"),
        (network(even(6, 4) * 1e-7, v_threshold=2.5e-7), "v_threshold is 2.5e-07, expected a whole number"),
        (network(even(6, 4), tau=3.0), "the leak, in 4096ths, is 1365.33, expected a whole number"),
        (network(even(6, 4) + 1), r"a spike adds -?\d+, expected a multiple of 2 in -256..254"),
        (network(even(6, 4) * 3e4), r"a spike adds -?[\d.e+]+, expected a multiple of 256 in -32768..32512"),
        (network(even(6, 4), bias=1 / 3), "a bias adds 5.33333 to the membrane, which no bias_mant << bias_exp is"),
        (
            network(even(6, 4), tau_syn=1.5),
            "the decay of the synaptic filter, in 4096ths, is 2730.67, expected a whole",
        ),
    ],
)
def test_what_is_no_integer_of_the_chip_is_refused_by_name(graph: SpikingGraph, what: str) -> None:
    with pytest.raises(BadInput, match=f"population 'n' cannot be kept as it stands: {what}"):
        compile_graph(graph, "loihi1", scale="keep")
    try:
        compiled: Compiled | None = compile_graph(graph, "loihi1", must_fit=False)
    except BadInput:
        compiled = None
    assert compiled is None or not compiled.quantisation.kept


def test_an_unknown_scale_is_refused() -> None:
    with pytest.raises(BadInput, match="compile_graph: scale"):
        compile_graph(network(even(6, 4)), "loihi1", scale="larger")


def test_a_kept_bias_does_not_begin_before_its_time() -> None:
    """An odd bias behind a loop: its even part comes as spikes, and the rest stays in the register."""
    n = population("n", "lif", 8, tau=1.0, v_threshold=13.0, bias=np.array([28.0, 47, 41, 29, 3, 1, 2, 33]))
    loop = 2.0 * np.random.default_rng(3).integers(-3, 3, (8, 8))
    graph = SpikingGraph(
        [population("i", "input", 7), n],
        [Synapses("w", "i", "n", even(8, 7, 5), 0), Synapses("r", "n", "n", loop, 1)],
        1e-3,
        outputs=("n",),
    )
    compiled = compile_graph(graph, "loihi2", scale="keep")
    assert compiled.quantisation.kept and not any("before its ideal time" in risk for risk in compiled.risks)
    spikes = (np.random.default_rng(1).random((60, 4, 7)) < 0.3).astype(np.uint8)
    (row,) = [row for row in simulate(compiled, {"i": spikes}).agreements or () if row.population == "n"]
    assert isinstance(row, SpikeAgreement) and row.float_spikes > 300
    assert row.both == row.float_spikes == row.chip_spikes
