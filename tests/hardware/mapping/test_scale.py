"""Which neurons share a scale, and whether a few large weights can hide what rounding does to the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from float_populations import population
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import SpikingGraph, Synapses
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.mapping.scale import Fidelity, scales
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.hardware.running.simulate import simulate
from muspike.hardware.weights import Conv, Sparse, Weights

LOIHI1, LOIHI2 = load_chip("loihi1"), load_chip("loihi2")
Doubles = npt.NDArray[np.float64]


def uniform(neurons: int, sources: int, seed: int = 0) -> Doubles:
    return np.random.default_rng(seed).uniform(-0.2, 0.8, (neurons, sources))


def compiled(weight: Weights, chip: str, recurrent: Weights | None = None, **neuron: Any) -> Compiled:
    """input -> `weight` -> n, of tau 4 and threshold 0.5 -> `recurrent` -> n, one tick later."""
    neurons, sources = weight.shape
    synapses = [Synapses("w", "i", "n", weight, 0)]
    if recurrent is not None:
        synapses.append(Synapses("r", "n", "n", recurrent, 1))
    n = population("n", "lif", neurons, **{"tau": 4.0, "v_threshold": 0.5, **neuron})
    graph = SpikingGraph([population("i", "input", sources), n], synapses, 1e-3, outputs=("n",))
    return compile_graph(graph, chip)


def agreement(network: Compiled, ticks: int = 300, rate: float = 0.3) -> SpikeAgreement:
    size = network.graph.population("i").size
    spikes = (np.random.default_rng(1).random((ticks, 1, size)) < rate).astype(np.uint8)
    agreements = simulate(network, {"i": spikes}).agreements
    assert agreements is not None
    (row,) = agreements
    assert isinstance(row, SpikeAgreement) and row.float_spikes > 100
    return row


def share_in_both(network: Compiled) -> float:
    return agreement(network).agreement or 0.0


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@pytest.mark.parametrize("form", [np.asarray, Sparse.of])
@pytest.mark.parametrize("outlier", [30.0, -30.0, 250.0, 1e6])
def test_one_large_weight_does_not_ruin_the_other_neurons(chip: str, form: Any, outlier: float) -> None:
    weight = uniform(32, 16)
    weight[3, 5] = outlier
    network = compiled(form(weight), chip)
    report = network.quantisation.populations[0]
    assert report.groups > 1 and share_in_both(network) > 0.93
    risks = [risk for risk in network.risks if "weights become 0" in risk]
    if abs(outlier) > 100:  # its neuron has one scale for it and for the others
        (risk,) = risks
        assert risk.startswith("population 'n': 1 of 32 neurons lose weights that together are not small")
    assert report.neurons_changed == len(risks)


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_rows_of_very_different_sizes_keep_their_meaning(chip: str) -> None:
    weight = uniform(40, 30) * np.repeat([1.0, 1e3, 1e-3, 1e5], 10)[:, None]
    threshold = 0.5 * np.repeat([1.0, 1e3, 1e-3, 1e5], 10)
    network = compiled(weight, chip, v_threshold=threshold)
    assert network.quantisation.populations[0].weight_error < 0.02
    assert not any("become 0" in risk for risk in network.risks)
    assert share_in_both(network) > 0.9


def test_convolutions_of_different_channels_are_unrolled_if_one_scale_ruins_a_neuron() -> None:
    """Two convolutions, of 2 and of 4 channels, onto the same 32 neurons; the channels are of very different sizes."""
    rng = np.random.default_rng(0)

    def conv(channels: int, side: tuple[int, int], sizes: Sequence[float]) -> Conv:
        kernel = rng.uniform(0.5, 1, (channels, 1, 1, 1)) * np.array(sizes)[:, None, None, None]
        return Conv(kernel, (1, *side), (channels, *side))

    graph = SpikingGraph(
        [
            population("a", "input", 16),
            population("b", "input", 8),
            population("n", "lif", 32, tau=4.0, v_threshold=0.02),
        ],
        [
            Synapses("a", "a", "n", conv(2, (4, 4), (1, 0.002)), 0),
            Synapses("b", "b", "n", conv(4, (2, 4), (1, 1, 0.002, 0.002)), 0),
        ],
        1e-3,
        outputs=("n",),
    )
    for chip in ("loihi1", "loihi2"):
        found = compile_graph(graph, chip).quantisation.populations[0]
        assert found.groups > 1 and found.neurons_changed == 0


def test_where_a_core_has_too_few_thresholds_the_risk_says_what_more_would_gain() -> None:
    weight = uniform(50, 16) * 30.0 ** (np.arange(50) % 3)[:, None] / 30
    threshold = np.linspace(0.5, 1.0, 10).repeat(5)  # one register each leaves 6 of a core's 16
    network = compiled(weight, "loihi1", v_threshold=threshold)
    report = network.quantisation.populations[0]
    assert any("neurons by over 10 %" in risk for risk in network.risks)
    assert report.groups == 10 and report.neurons_changed > 10
    assert (
        "population 'n': loihi1 has 16 thresholds for a core; with one for each neuron, rounding would change 0 "
        f"neurons as much, not {report.neurons_changed}" in network.risks
    )
    other = compiled(weight, "loihi2", v_threshold=threshold).quantisation.populations[0]
    assert (other.groups, other.neurons_changed) == (50, 0)


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
def test_a_large_matrix_gets_an_exponent_so_that_a_small_one_keeps_its_bits(chip: str) -> None:
    network = compiled(uniform(32, 16), chip, recurrent=np.eye(32) * -200.0)
    exponents = {s.name: s.weight_exp for s in network.program.synapses}
    assert exponents["w"] == 0 and 6 <= exponents["r"] <= 7
    of = {s.name: s for s in network.quantisation.synapses}
    assert of["w"].rms_error < 0.03 and of["w"].weight_exp == 0 and of["r"].weight_exp == exponents["r"]
    assert not network.risks and share_in_both(network) > 0.7
    (report,) = network.quantisation.populations
    assert report.sum_worst <= 2**15 - 1 and report.spikes_to_overflow is None


def test_no_exponent_makes_the_synaptic_sum_overflow() -> None:
    """So many sources that an exponent of 1 could overflow the sum, which none does without it."""
    weight, recurrent = np.abs(uniform(30, 300)), np.full((30, 30), -4.0)
    for chip in (LOIHI1, LOIHI2):
        n = population("n", "lif", 30, tau=4.0, v_threshold=0.5)
        for more in (1, 3):
            found = scales(n, [np.hstack([weight] * more), recurrent], chip)
            sums = np.hstack([weight] * more).sum(axis=1) / 4 * found.k
            assert sums.max() <= 2**15 - 1 or found.exponents == (0, 0)
        assert scales(n, [weight[:, :20], recurrent], chip).exponents[1] > 0


def test_populations_that_share_a_core_share_out_its_thresholds() -> None:
    """Neurons of very different rows: each population would use all 16 thresholds of a core."""
    rng = np.random.default_rng(0)
    sizes = {"a": 90, "b": 60, "c": 10}
    nodes = [population("i", "input", 20)]
    nodes += [population(name, "lif", n, tau=4.0, v_threshold=0.5) for name, n in sizes.items()]
    nodes.append(population("out", "li", 4, tau=4.0))
    synapses = [
        Synapses(name, "i", name, rng.uniform(-0.2, 0.8, (n, 20)) * rng.uniform(0.2, 1, (n, 1)), 0)
        for name, n in sizes.items()
    ]
    synapses.append(Synapses("out", "a", "out", rng.uniform(-1, 1, (4, 90)), 0))
    network = compile_graph(SpikingGraph(nodes, synapses, 1e-3, outputs=("out",)), "loihi1")
    groups = {p.name: p.groups for p in network.quantisation.populations}
    assert network.program.n_cores == 1 and groups["a"] > groups["b"] > groups["c"] >= 1
    assert len({t for p in network.program.populations if p.kind != "input" for t in p.v_threshold.tolist()}) <= 16


def test_what_a_large_recurrent_matrix_does_to_a_small_input_matrix_is_a_risk() -> None:
    """Too large for any exponent. Each neuron has one scale for both, so the pooled error is small."""
    for chip in ("loihi1", "loihi2"):
        network = compiled(uniform(32, 16), chip, recurrent=np.eye(32) * -2e4)
        assert network.quantisation.populations[0].weight_error < 0.1
        assert any(risk.startswith("synapses 'w': rounding changes the weights by ") for risk in network.risks)
        assert any("32 of 32 neurons lose weights that together are not small" in risk for risk in network.risks)


def test_a_network_on_the_grid_keeps_one_scale_whatever_the_chip_has() -> None:
    weight = 2.0 * np.random.default_rng(0).integers(-128, 128, (50, 20))
    for chip in (LOIHI1, LOIHI2):
        found = scales(population("n", "lif", 50, tau=4.0, v_threshold=100.0), [weight / 37], chip)
        assert found.groups == 1 and (found.fidelity.error < 1e-6).all()


def test_thresholds_are_spent_only_where_they_help() -> None:
    n = population("n", "lif", 50, tau=4.0, v_threshold=0.5)
    weight = uniform(50, 20)
    assert scales(n, [weight], LOIHI1).groups == 1
    assert scales(n, [weight], LOIHI2).groups == 50
    weight[0, 0] = 100.0
    assert scales(n, [weight], LOIHI1).groups == 2
    weight[1, 0] = 1e5
    assert scales(n, [weight], LOIHI1).groups == 3 or scales(n, [weight], LOIHI1).groups == 4
    differing = population("n", "lif", 50, tau=4.0, v_threshold=np.linspace(0.5, 1, 10).repeat(5))
    assert scales(differing, [weight], LOIHI1).groups == 10  # 6 registers are left: not two for each threshold


def test_large_channels_do_not_ruin_small_ones() -> None:
    rng = np.random.default_rng(0)
    for channels in (8, 40):
        kernel = rng.uniform(-0.2, 0.8, (channels, 2, 3, 3))
        kernel[3, 1, 1, 1] = 1e4
        conv = Conv(kernel, (2, 6, 6), (channels, 6, 6), padding=(1, 1))
        network = compiled(conv, "loihi1")
        report = network.quantisation.populations[0]
        assert report.neurons_changed == 36 and any("36 of" in risk for risk in network.risks)
        assert share_in_both(network) > 0.9


def test_fidelity_counts_for_each_neuron_in_every_form() -> None:
    weight = np.array([[1.0, 0.4, -0.3, 0.0], [0.2, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    grid = LOIHI1.ranges.weight  # even numbers
    n = population("n", "lif", 3, tau=1.0, v_threshold=0.35)
    for form in (weight, Sparse.of(weight)):
        found = Fidelity.of(n, [form], np.array([2.0, 10.0, 1.0]), (0,), grid)
        assert found.weights.tolist() == [3, 1, 0] and found.vanished.tolist() == [2, 0, 0]
        np.testing.assert_allclose(found.error, [np.hypot(0.4, 0.3) / np.sqrt(1.25), 0, 0])
        assert found.starved.tolist() == [True, False, False] and found.changed.tolist() == [True, False, False]
    halves = [weight[:, :2], weight[:, 2:]]
    together = Fidelity.of(n, halves, np.array([2.0, 10.0, 1.0]), (0, 0), grid)
    np.testing.assert_allclose(together.error, found.error)
    wide = np.full((1, 3000), 0.4)
    wide[0, 0] = 1000.0
    many = Fidelity.of(population("n", "lif", 1, v_threshold=1e9), [wide], np.array([0.1]), (0,), grid)
    assert many.error[0] < 0.1 and many.vanished[0] == 2999 and many.changed[0]  # half of what it hears in all
