from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from float_populations import population
from muspike.errors import BadInput
from muspike.hardware.graph import Population, SpikingGraph, Synapses, always_firing
from muspike.hardware.interpreter import Spikes, run
from muspike.hardware.readings import MOST_SPIKES, READINGS


def net(*parts: Population | tuple[str, str, Any, int]) -> SpikingGraph:
    """Populations and (source, target, weight, delay)."""
    populations = [p for p in parts if isinstance(p, Population)]
    synapses = [
        Synapses(f"s{i}", s[0], s[1], np.atleast_2d(np.asarray(s[2], float)), s[3])
        for i, s in enumerate(p for p in parts if isinstance(p, tuple))
    ]
    return SpikingGraph(populations, synapses, dt_s=1e-3)


def train(*values: int) -> Spikes:
    return np.array(values, np.uint8).reshape(-1, 1, 1)


def test_membrane_of_a_leaky_integrator_by_hand() -> None:
    g = net(population("i", "input"), population("o", "li", tau=2), ("i", "o", 4, 0))
    _, membranes = run(g, train(1, 0, 1, 0))
    np.testing.assert_array_equal(membranes["o"].ravel(), [2, 1, 2.5, 1.25])


def test_lif_fires_strictly_above_threshold_and_resets_to_zero() -> None:
    # v: 0.5 (not above), 0.75 fires, 0 -> 0.5, 0.25, 0.625 fires
    g = net(population("i", "input"), population("n", "lif"), ("i", "n", 1, 0))
    spikes, _ = run(g, train(1, 1, 1, 0, 1))
    np.testing.assert_array_equal(spikes["n"].ravel(), [0, 1, 0, 0, 1])


def test_integrate_and_fire_keeps_everything() -> None:
    g = net(population("i", "input"), population("n", "lif", tau=np.inf, v_threshold=2.5), ("i", "n", 1, 0))
    spikes, _ = run(g, train(1, 0, 1, 0, 0, 1, 0))
    np.testing.assert_array_equal(spikes["n"].ravel(), [0, 0, 0, 0, 0, 1, 0])


def test_synaptic_filter_and_bias() -> None:
    # i: 2, 1, 0.5; v = i + bias with tau = 1
    g = net(population("i", "input"), population("o", "li", tau=1, tau_syn=2, bias=10), ("i", "o", 4, 0))
    _, membranes = run(g, train(1, 0, 0))
    np.testing.assert_array_equal(membranes["o"].ravel(), [12, 11, 10.5])


def test_delays_and_recurrence() -> None:
    # A memoryless unit that keeps itself firing every third tick, and a reader two ticks behind it.
    unit: dict[str, Any] = {"tau": 1, "v_threshold": 0.5}
    g = net(
        population("i", "input"),
        population("n", "lif", **unit),
        population("m", "lif", **unit),
        ("i", "n", 1, 0),
        ("n", "n", 1, 3),
        ("n", "m", 1, 2),
    )
    spikes, _ = run(g, train(1, 0, 0, 0, 0, 0, 0, 0))
    np.testing.assert_array_equal(spikes["n"].ravel(), [1, 0, 0, 1, 0, 0, 1, 0])
    np.testing.assert_array_equal(spikes["m"].ravel(), [0, 0, 1, 0, 0, 1, 0, 0])


def test_zero_delay_crosses_several_populations_in_one_tick_whatever_their_order() -> None:
    unit: dict[str, Any] = {"tau": 1, "v_threshold": 0.5}
    g = net(
        population("c", "lif", **unit),
        population("b", "lif", **unit),
        population("i", "input"),
        ("i", "b", 1, 0),
        ("b", "c", 1, 0),
    )
    spikes, _ = run(g, train(0, 1, 0))
    np.testing.assert_array_equal(spikes["c"].ravel(), [0, 1, 0])


def test_batches_are_independent_and_inputs_come_by_name() -> None:
    g = net(
        population("i", "input", 2),
        population("j", "input", 1),
        population("o", "li", 2, tau=1),
        ("i", "o", [[1, 2], [3, 4]], 0),
        ("j", "o", [[10], [20]], 1),
    )
    i = np.zeros((2, 3, 2), np.uint8)
    j = np.zeros((2, 3, 1), np.uint8)
    i[0, 1] = [0, 1]
    j[0, 2] = 1
    _, membranes = run(g, {"i": i, "j": j})
    np.testing.assert_array_equal(membranes["o"][0], [[0, 0], [2, 4], [0, 0]])
    np.testing.assert_array_equal(membranes["o"][1], [[0, 0], [0, 0], [10, 20]])


def test_float32_is_computed_in_float32() -> None:
    g = net(population("i", "input"), population("o", "li", tau=3), ("i", "o", 0.1, 0))
    _, membranes = run(g, train(1, 1), dtype=np.float32)
    third, x = np.float32(1 / 3), np.float32(0.1)
    first = third * x
    np.testing.assert_array_equal(membranes["o"].ravel(), [first, first + third * (x - first)])
    assert membranes["o"].dtype == np.float32


def test_a_cycle_without_delay_has_no_meaning() -> None:
    g = net(population("i", "input"), population("n", "lif"), ("i", "n", 1, 0), ("n", "n", 1, 0))
    with pytest.raises(BadInput, match="a cycle without delay runs through n"):
        run(g, train(1))


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        (np.zeros((3, 1, 2)), r"shape \[3, 1, 2\], expected \[ticks, batch, 1\]"),
        (np.full((3, 1, 1), 2), "holds 2, expected 0 or 1"),
        ({"x": np.zeros((3, 1, 1))}, "given for ['x']"),
    ],
)
def test_inputs_that_do_not_fit(spikes: Any, message: str) -> None:
    g = net(population("i", "input"), population("n", "lif"), ("i", "n", 1, 0))
    with pytest.raises(BadInput) as caught:
        run(g, spikes)
    assert message.replace("\\", "") in str(caught.value)


def test_reset_brings_the_network_to_rest_and_leaves_what_is_under_way() -> None:
    """A spike that is still on its way when everything is reset arrives all the same, as on a chip."""
    n = population("n", "lif", 1, tau=np.inf, v_threshold=1.5)
    graph = SpikingGraph([population("in", "input", 1), n], [Synapses("w", "in", "n", np.ones((1, 1)), 1)], 1e-3)
    spikes = np.zeros((8, 1, 1), np.uint8)
    spikes[[0, 3, 4]] = 1
    fired, _ = run(graph, spikes, reset_every=4)
    assert np.flatnonzero(run(graph, spikes)[0]["n"]).tolist() == [4]
    assert np.flatnonzero(fired["n"]).tolist() == [5]


def test_a_graph_without_input_runs_on_its_biases_and_tells_every_tick() -> None:
    graph = net(population("n", "lif", tau=1, bias=1, v_threshold=0.5))
    done: list[int] = []
    spikes, membranes = run(graph, np.zeros((5, 2, 0), np.uint8), progress=done.append)
    assert set(spikes) == {"n"} and spikes["n"].shape == (5, 2, 1) and spikes["n"].all() and not membranes
    assert done == [1] * 5
    with pytest.raises(BadInput, match=r"shape \[5, 2, 1\], expected \[ticks, batch, 0\]"):
        run(graph, np.zeros((5, 2, 1), np.uint8))


def test_sinabs_neurons_spike_as_often_as_the_threshold_fits_and_keep_the_rest() -> None:
    g = net(population("i", "input"), population("n", "lif", tau=np.inf, v_threshold=2), ("i", "n", 1, 0))
    counts = train(5, 0, 1, 2, 0, 9)
    # v: 5 (2 spikes, 1 is left), 1, 2 (1, 0 is left), 2 (1), 0, 9 (4)
    spikes, _ = run(g, counts, reading=READINGS["sinabs"])
    assert spikes["n"].dtype == np.uint16 and spikes["n"].ravel().tolist() == [2, 0, 1, 1, 0, 4]
    np.testing.assert_array_equal(spikes["i"], counts)


def test_sinabs_membranes_below_zero_do_not_spike_and_are_not_clipped() -> None:
    g = net(population("i", "input", 2), population("n", "lif", tau=np.inf, v_threshold=2), ("i", "n", [[-5, 9]], 0))
    given = np.zeros((3, 1, 2), np.uint8)
    given[0, 0, 0] = given[1, 0, 1] = 1
    assert run(g, given, reading=READINGS["sinabs"])[0]["n"].ravel().tolist() == [0, 2, 0]


def test_sinabs_membranes_decay_by_an_exponential() -> None:
    """A readout adds its input whole, a neuron that fires by what it loses; sums, which keep nothing, are sums."""
    g = net(
        population("i", "input"),
        population("o", "li", tau=4),
        population("s", "li", tau=1),
        population("n", "lif", tau=4, v_threshold=0.8 * -np.expm1(-1 / 4)),
        *(("i", name, 3, 0) for name in "osn"),
    )
    spikes, membranes = run(g, train(1, 0, 1), reading=READINGS["sinabs"])
    kept = np.exp(-1 / 4)
    np.testing.assert_allclose(membranes["o"].ravel(), [3, 3 * kept, 3 * kept**2 + 3])
    assert membranes["s"].ravel().tolist() == [3, 0, 3]
    # In units of 1 - kept: 3, of which 0.6 are left; 0.467; 3.364
    assert spikes["n"].ravel().tolist() == [3, 0, 4]


def test_snntorch_subtracts_in_the_next_tick_after_the_leak() -> None:
    g = net(population("i", "input"), population("n", "lif", tau=2, v_threshold=1), ("i", "n", 8, 0))
    # v: 4; 4/2 + 0 - 1 = 1, not above; 1/2; 1/4 + 4; 2.125 - 1; 0.5625 - 1
    spikes, _ = run(g, train(1, 0, 0, 1, 0, 0), reading=READINGS["snntorch-subtract"])
    assert spikes["n"].ravel().tolist() == [1, 0, 0, 1, 1, 0]
    spikes, _ = run(g, train(1, 0, 0, 1, 0, 0), reading=READINGS["snntorch-subtract"], reset_every=4)
    assert spikes["n"].ravel().tolist() == [1, 0, 0, 1, 0, 0]  # the subtraction that was to come is gone, and so is v


def test_neurons_that_carry_a_bias_fire_once_in_every_reading() -> None:
    for reading in READINGS.values():
        g = net(always_firing("bias"), population("o", "li", tau=1), ("bias", "o", 3, 0))
        spikes, membranes = run(g, np.zeros((4, 1, 0)), reading=reading)
        assert spikes["bias"].ravel().tolist() == [1] * 4 and membranes["o"].ravel().tolist() == [3] * 4


@pytest.mark.parametrize(
    ("neuron", "counts", "message"),
    [
        (
            {"tau_syn": 2},
            train(1),
            "population 'n': has a synaptic filter, which sinabs does not write; read it as NIR",
        ),
        ({"v_threshold": 0}, train(1), "population 'n': has the threshold 0, of which no membrane is a multiple"),
        (
            {"v_threshold": 2.0**-30},
            train(1),
            "population 'n': 536,870,912 spikes of a neuron in tick 0, at most 65,535",
        ),
        ({}, np.full((3, 1, 1), 0.5), "spikes of 'i': holds 0.5, expected whole numbers of 0..65,535"),
        ({}, np.full((3, 1, 1), -1), "spikes of 'i': holds -1, expected whole numbers"),
        ({}, np.full((3, 1, 1), np.nan), "spikes of 'i': holds nan, expected whole numbers"),
        ({}, np.full((3, 1, 1), MOST_SPIKES + 1), "spikes of 'i': holds 65536, expected whole numbers"),
    ],
)
def test_what_has_no_meaning_in_a_reading_is_named(neuron: dict[str, Any], counts: Any, message: str) -> None:
    g = net(population("i", "input"), population("n", "lif", **{"tau": np.inf} | neuron), ("i", "n", 0.5, 0))
    with pytest.raises(BadInput) as caught:
        run(g, counts, reading=READINGS["sinabs"])
    assert message in str(caught.value)
