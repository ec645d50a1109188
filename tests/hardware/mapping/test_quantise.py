from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from float_populations import population
from muspike.errors import BadInput
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import Population, SpikingGraph, Synapses, always_firing
from muspike.hardware.mapping.quantise import (
    IntegerPopulation,
    PopulationReport,
    QuantisationReport,
    SynapsesReport,
    quantise,
)
from muspike.hardware.weights import Conv, dense

CHIP = load_chip("loihi1")


def into(
    target: Population, weight: Any, delay: int = 0
) -> tuple[IntegerPopulation, Any, PopulationReport, SynapsesReport, Sequence[str]]:
    """The synapses are Any: their matrix is a dense one."""
    weight = np.asarray(weight, float)
    graph = SpikingGraph(
        [population("i", "input", weight.shape[1]), target], [Synapses("w", "i", target.name, weight, delay)], dt_s=1e-3
    )
    integers, report = quantise(graph, CHIP)
    return integers.populations[1], integers.synapses[0], report.populations[0], report.synapses[0], report.risks


def test_weights_on_the_grid_are_met_exactly() -> None:
    # gain 1/2 and threshold 3: k is a whole number of thirds of a unit, so weights and threshold are exact.
    w = np.array([[4.0, -8.0, 12.0], [20.0, 0.0, -100.0]])
    p, s, about, about_synapses, _ = into(population("n", "lif", 2, v_threshold=3.0), w)
    k = p.scale[0] / 64
    np.testing.assert_allclose(s.weight, w / 2 * k, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(p.v_threshold, np.round(3 * k))
    assert about_synapses.rms_error < 1e-12 and about.threshold_error < 1e-12
    assert (about_synapses.saturated, about_synapses.zero_fraction, about_synapses.vanished) == (0, 1 / 6, 0)
    assert (p.dv.tolist(), p.du.tolist()) == ([2048] * 2, [4095] * 2)


def test_a_quantised_network_keeps_its_own_scale() -> None:
    k = 37.25
    w = np.array([[254, -32, 2], [0, 100, -56]]) / k * 2
    p, s, about, about_synapses, _ = into(population("n", "lif", 2, v_threshold=19 / k), w.astype(np.float32))
    np.testing.assert_array_equal(s.weight, [[254, -32, 2], [0, 100, -56]])
    assert p.scale[0] == pytest.approx(64 * k) and (p.v_threshold == 19).all()
    assert about_synapses.rms_error < 1e-6 and about.threshold_error < 1e-6


def test_weights_on_the_grid_do_not_cost_the_threshold() -> None:
    # Only k = 1/2 puts these weights on the grid, and there the threshold 3 would be 1.5 units, so 2: off by a third.
    w = 2 * np.array([[508.0, -404.0, 4.0, 12.0]])
    _, _, about, about_synapses, _ = into(population("n", "lif", 1, v_threshold=3.0), w)
    assert np.hypot(about.threshold_error, about_synapses.rms_error) < 1 / 3


def test_a_weight_that_is_nearly_nothing_does_not_set_the_scale() -> None:
    p, s, *_ = into(population("n", "lif", 1), [[1.0, 1e-4]])
    assert s.weight.tolist() == [[254, 0]] and p.v_threshold[0] == 254


def test_random_weights_within_half_a_step_and_an_exact_threshold() -> None:
    rng = np.random.default_rng(1)
    w = rng.uniform(-1, 1, (40, 60))
    p, s, about, about_synapses, _risks = into(population("n", "lif", 40), w)
    k = p.scale[0] / 64
    assert (p.scale == p.scale[0]).all() and (p.v_threshold == p.v_threshold[0]).all()
    assert about.threshold_error < 1e-12
    assert (s.weight % 2 == 0).all() and s.weight.max() <= 254 and s.weight.min() >= -256
    unclipped = np.abs(w / 2 * k) <= 254
    assert np.abs(s.weight / k * 2 - w)[unclipped].max() <= 2 / k + 1e-12
    assert about_synapses.rms_error == pytest.approx(np.linalg.norm(s.weight / k * 2 - w) / np.linalg.norm(w))
    assert about_synapses.rms_error < 0.005  # uniform: step / sqrt(12) over range / sqrt(3)


def test_outliers_are_clipped_only_when_that_pays_and_never_silently() -> None:
    rng = np.random.default_rng(2)
    w = rng.normal(0, 0.1, (1600, 200))
    w[::100, 0] = 1.5
    threshold = np.linspace(0.5, 1, 16).repeat(100)  # they take all registers of a core, so no neuron is set apart
    _, s, _, about, risks = into(population("n", "lif", 1600, v_threshold=threshold), w)
    without = np.abs(w).max() / 254 * np.sqrt(1 / 3) / 0.1  # rms of rounding with steps of 2 units, nothing clipped
    assert about.rms_error < without
    assert 1 <= about.saturated <= (np.abs(s.weight) >= 254).sum()
    assert any(f"'w': {about.saturated} weights clipped" in risk for risk in risks)


def test_one_scale_per_setting_of_tau_and_threshold() -> None:
    rng = np.random.default_rng(3)
    tau = np.array([1.0, 2.0, 8.0] * 4)
    threshold = np.array([0.5] * 6 + [1.0] * 6)
    p, _, about, _, _ = into(population("n", "lif", 12, tau=tau, v_threshold=threshold), rng.normal(size=(12, 9)))
    assert about.groups == 6
    pairs = set(zip(tau, threshold, p.scale, p.v_threshold, strict=True))
    assert len(pairs) == 6 == len(set(p.scale))
    np.testing.assert_array_equal(p.dv, np.round(4096 / tau))


def test_a_readout_has_a_scale_per_neuron_and_never_fires() -> None:
    rng = np.random.default_rng(4)
    w = rng.normal(size=(5, 30)) * np.array([[1e-3], [1], [10], [1e3], [0]])
    p, s, about, about_synapses, _ = into(population("o", "li", 5, tau=4), w)
    assert len(set(p.scale)) == 5 and about.groups == 5
    assert (p.v_threshold == 131071).all()
    assert (np.abs(s.weight[:4]).max(axis=1) >= 250).all()
    assert about_synapses.rms_error < 0.01


def test_vanishing_weights_are_reported() -> None:
    _, s, _, about, _ = into(population("n", "lif", 1), [[1.0, 1e-4, -1e-4, 0.0, np.pi / 4]])
    assert about.vanished == 2 and about.zero_fraction == 3 / 5
    assert s.weight[0, 1] == s.weight[0, 2] == 0


def test_bias_finds_mantissa_and_exponent() -> None:
    bias = np.array([0.0, 0.01, -0.5, 30.0])
    p, _, about, _, _ = into(population("n", "lif", 4, bias=bias), np.full((4, 2), 1.0))
    value = (p.bias_mant << p.bias_exp) / p.scale * 2
    np.testing.assert_allclose(value, bias, rtol=1e-3, atol=1 / p.scale[0])
    assert np.abs(p.bias_mant).max() <= 4095 and (p.bias_exp <= 7).all()
    assert p.bias_exp[3] > 0 == p.bias_exp[1]
    assert about.bias_error == pytest.approx(np.abs(value - bias).max())


def test_a_large_bias_or_threshold_bounds_the_scale() -> None:
    p, *_ = into(population("n", "lif", 1, bias=1e4), [[1.0]])
    assert (p.bias_mant << p.bias_exp) / p.scale * 2 == pytest.approx([1e4], rel=1e-3)
    p, _, about, synapses, _ = into(population("n", "lif", 1, v_threshold=1e4), [[1.0, 0.7]])
    assert p.v_threshold[0] >= 131070
    assert about.threshold_error < 1e-4
    assert synapses.rms_error > 0.01  # and says what it cost


def test_filters_and_integrators() -> None:
    p, s, about, _, _ = into(population("n", "lif", 1, tau=np.inf, tau_syn=4, v_threshold=2.0), [[1.0]])
    assert (p.du[0], p.dv[0]) == (1023, 0)
    assert s.weight[0, 0] / 4 * 16 == pytest.approx(p.scale[0] / 64)
    assert about.leak_error == 0 and about.filter_error == 0
    with pytest.raises(BadInput, match="tau_syn is 10000 ticks"):
        into(population("n", "lif", 1, tau_syn=1e4), [[1.0]])


def test_worst_cases_are_risks() -> None:
    w = np.full((1, 300), 1.0)
    w[0, :100] = -0.5
    _p, s, about, _, risks = into(population("n", "lif", 1), w)
    up = s.weight[s.weight > 0].sum()
    assert about.sum_worst == up > 32767
    assert about.spikes_to_overflow == -(-32768 // int(s.weight.max()))
    assert any(f"{about.spikes_to_overflow} spikes in one tick could overflow the 16-bit" in risk for risk in risks)
    few = into(population("n", "lif", 1), w[:, :110])
    assert few[2].spikes_to_overflow is None and not any("overflow" in risk for risk in few[4])


def test_headroom_of_a_readout() -> None:
    # 10 sources of one unit each, tau = 2: the membrane rises to 20 weights.
    _p, s, about, _, risks = into(population("o", "li", 1), np.ones((1, 10)))
    assert about.membrane_headroom == pytest.approx(131071 / (10 * s.weight[0, 0] * 2))
    assert not risks
    _, _, about, _, risks = into(population("o", "li", 1, tau=np.inf), np.ones((1, 10)))
    assert about.membrane_headroom == 0 and any("without bound; it would be reset" in risk for risk in risks)


def test_tau_of_one_tick_says_that_the_register_is_short_where_that_can_matter() -> None:
    def says(weight: list[list[float]], v_threshold: float, **settings: float) -> bool:
        p, *_, risks = into(population("n", "lif", len(weight), tau=1, v_threshold=v_threshold, **settings), weight)
        assert p.dv[0] == 4096
        return any("dv 4096" in risk for risk in risks)

    # What is kept of a membrane can tip a sum that is equal to the threshold, or outweigh half a step.
    assert says([[1.0]], 2.0) and says([[1.0] + 40 * [-1.0]], 0.5) and says([[1.0]], 0.5, bias=0.1)
    assert not says([[1.0, 1.0]], 1.5) and not says([[1.0]], 0.5) and not says([[1.0, -1.0]], 0.5)  # gates


def test_an_error_that_makes_another_network_is_a_risk() -> None:
    # The bias takes all of the scale: weights and threshold are far below one of the chip's units.
    *_, about, about_synapses, risks = into(population("n", "lif", 1, v_threshold=0.5, bias=1e6), [[1e-3, 2e-3]])
    assert about_synapses.rms_error == 1 and about.threshold_error > 0.1
    assert "synapses 'w': rounding changes the weights by 100 %: 2 become 0, largest error 0.002" in risks
    assert any(risk.startswith("population 'n': rounding changes the threshold by ") for risk in risks)
    *_, about, about_synapses, risks = into(population("n", "lif", 1), [[1.0, 0.7]])
    assert max(about_synapses.rms_error, about.threshold_error) < 0.1
    assert not any("rounding changes" in risk for risk in risks)


def test_no_weights_at_all() -> None:
    p, s, about, about_synapses, _ = into(population("n", "lif", 2, bias=1.0), np.zeros((2, 3)))
    assert about.threshold_error < 1e-12 and about_synapses.rms_error == 0 and (s.weight == 0).all()
    np.testing.assert_allclose((p.bias_mant << p.bias_exp) / p.scale * 2, 1, rtol=1e-2)


def test_report_is_json() -> None:
    graph = SpikingGraph(
        [population("i", "input", 2), population("n", "lif", 1)], [Synapses("w", "i", "n", np.ones((1, 2)), 0)], 1e-3
    )
    _, report = quantise(graph, CHIP)
    assert json.loads(json.dumps(report.to_dict()))["synapses"][0]["name"] == "w"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-8, 8), st.floats(1, 30), st.floats(-3, 3))
def test_registers_are_in_range_and_the_membrane_unit_is_one(
    seed: int, magnitude: float, tau: float, threshold: float
) -> None:
    """Whatever the magnitudes: integers in range, and weight / threshold / bias share the unit 1/k."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(4, 6)) * 10**magnitude
    bias = rng.normal(size=4) * 10**magnitude
    target = population("n", "lif", 4, tau=tau, v_threshold=10**threshold, bias=bias)
    p, s, _about, about_synapses, _ = into(target, w)
    k = p.scale / 64
    assert s.weight.min() >= -256 and s.weight.max() <= 254 and (s.weight % 2 == 0).all()
    assert p.v_threshold.min() >= 0 and p.v_threshold.max() <= 131071
    assert p.bias_mant.min() >= -4096 and p.bias_mant.max() <= 4095
    exact = w / tau * k[:, None]
    inside = (exact < 255) & (exact > -257)
    assert np.abs(s.weight - exact)[inside].max(initial=0) <= 1 + 1e-6
    assert np.abs(p.v_threshold - target.v_threshold * k).max() <= 0.5 + 1e-6
    assert np.abs(p.bias_mant * 2.0**p.bias_exp - bias / tau * p.scale).max() <= 2.0 ** (p.bias_exp.max() - 1) + 1e-6
    assert np.isfinite(list(vars(about_synapses).values())[1:]).all()


def test_ways_of_one_source_and_delay_overflow_together() -> None:
    """Two synapses from the same neuron bring the sum of both with every spike: half as many overflow it."""
    weight = np.full((1, 400), 1.0)
    target = population("n", "lif", 1, v_threshold=50.0)

    def fewest(*delays: int) -> int | None:
        synapses = [Synapses(f"w{i}", "i", "n", weight, d) for i, d in enumerate(delays)]
        graph = SpikingGraph([population("i", "input", 400), target], synapses, dt_s=1e-3)
        integers, report = quantise(graph, CHIP)
        assert dense(integers.synapses[0].weight).max() == 254
        return report.populations[0].spikes_to_overflow

    assert fewest(0) == fewest(0, 1) == 130 and fewest(0, 0) == 65


def test_large_errors_of_leak_filter_and_bias_are_risks() -> None:
    def risks(**settings: float) -> Sequence[str]:
        return into(population("n", "lif", 1, **settings), [[0.5]])[4]

    assert not any("rounding changes" in risk for risk in risks())
    assert any("rounding changes the leak by 33" in risk for risk in risks(tau=2735.0))
    assert any("rounding changes the synaptic filter by" in risk for risk in risks(tau_syn=2735.0))
    assert any("rounding changes 1 biases by over 10 %: the smallest was 0." in risk for risk in risks(bias=2e-5))


def convolved(channels: int, size: int = 8, spread: float = 1.5) -> tuple[IntegerPopulation, float, QuantisationReport]:
    """A population of `channels` x `size` x `size` behind a convolution whose channels differ in magnitude."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (channels, 4, 3, 3)) * np.logspace(-spread, 0, channels)[:, None, None, None]
    conv = Conv(kernel, (4, size, size), (channels, size, size), padding=(1, 1))
    n = channels * size * size
    graph = SpikingGraph(
        [population("i", "input", 4 * size * size), population("n", "lif", n)], [Synapses("w", "i", "n", conv, 0)], 1e-3
    )
    integers, report = quantise(graph, CHIP)
    found = integers.synapses[0].weight
    assert isinstance(found, Conv)
    scale = integers.populations[1].scale.reshape(channels, -1)[:, 0] / 64 / 2
    error = np.abs(found.kernel / scale[:, None, None, None] - kernel)
    return integers.populations[1], (error.max((1, 2, 3)) / np.abs(kernel).max((1, 2, 3))).max(), report


def test_channels_have_scales_of_their_own_as_far_as_a_core_has_thresholds() -> None:
    """16 threshold registers on a core: maps of 8 x 8 put 17 channels onto one."""
    for channels, groups in ((12, 12), (17, 16), (64, 16)):
        p, worst, report = convolved(channels)
        assert report.populations[0].groups <= groups
        assert len(np.unique(p.v_threshold)) <= groups
        assert worst < 0.02, channels
    assert len(np.unique(convolved(64, size=32)[0].v_threshold)) == 64  # a core holds two of these channels


def test_what_rounding_takes_from_a_constant_input_goes_to_the_bias() -> None:
    """A bias behind a synaptic filter comes from a neuron that fires in every tick; the filter makes it a constant."""
    rng = np.random.default_rng(0)
    n = population("n", "lif", 20, tau=10.0, tau_syn=2.5, v_threshold=1.0)
    synapses = [
        Synapses("w", "i", "n", rng.normal(0, 0.5, (20, 8)), 0),
        Synapses("b", "bias", "n", rng.normal(0, 0.3, (20, 1)), 0),
    ]
    graph = SpikingGraph([population("i", "input", 8), n, always_firing("bias")], synapses, 1e-3, outputs=("n",))
    integers, report = quantise(graph, CHIP)
    chip = integers.populations[1]
    weight = dense(integers.synapses[1].weight)[:, 0].astype(float)
    wanted = synapses[1].weight[:, 0] / 10 * chip.scale  # type: ignore[index]
    by_weight = (weight * 64) * 2.5
    assert np.abs(by_weight - wanted).max() > 20  # in membrane units: what rounding alone would leave, in every tick
    assert np.abs(by_weight + (chip.bias_mant << chip.bias_exp) - wanted).max() <= 0.5 + 1e-9
    assert report.populations[0].bias_error < 1e-3 and not any("biases" in risk for risk in report.risks)


def test_a_constant_that_would_act_long_before_it_rises_is_not_given_back() -> None:
    """Behind a filter of 200 ticks, a step would bring the neuron to its threshold long before the constant does.

    300 sources leave no headroom for an exponent, which would keep the small weight.
    """
    for tau_syn, given_back in ((2.5, True), (200.0, False)):
        n = population("n", "lif", tau=np.inf, tau_syn=tau_syn, v_threshold=1.0)
        synapses = [
            Synapses("w", "i", "n", np.ones((1, 300)), 0),
            Synapses("b", "bias", "n", np.full((1, 1), 0.0035), 0),
        ]
        graph = SpikingGraph([population("i", "input", 300), n, always_firing("bias")], synapses, 1e-3, outputs=("n",))
        integers, report = quantise(graph, CHIP)
        assert integers.populations[1].bias_mant.any() == given_back
        assert any("synapses 'b': rounding changes the weights" in risk for risk in report.risks)
