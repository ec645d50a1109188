from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chip_equations import decay
from integer_populations import population
from muspike.errors import BadInput
from muspike.hardware.chip import load_chip
from muspike.hardware.mapping.quantise import IntegerGraph, IntegerSynapses
from muspike.hardware.mapping.retime import Retimed, retime
from muspike.hardware.weights import dense

CHIP = load_chip("loihi1")
Spikes = npt.NDArray[np.int64]


def net(names: Iterable[str], *synapses: tuple[str, str, int]) -> IntegerGraph:
    """Populations of one neuron, the first an input, and synapses (source, target, ideal delay)."""
    populations = [population(name, "input" if i == 0 else "lif") for i, name in enumerate(names)]
    made = [IntegerSynapses(f"{a}{b}{d}", a, b, np.array([[2]], np.int16), d) for a, b, d in synapses]
    return IntegerGraph(populations, made, 1e-3)


def delays(retimed: Retimed) -> dict[str, int]:
    return {s.name: s.delay for s in retimed.graph.synapses}


def test_levels_are_the_longest_paths() -> None:
    r = retime(
        net("iabc", ("i", "a", 0), ("a", "b", 0), ("i", "b", 0), ("b", "c", 0), ("a", "c", 2), ("c", "c", 1)), CHIP
    )
    assert r.levels == {"i": 0, "a": 1, "b": 2, "c": 3}
    assert delays(r) == {"ia0": 1, "ab0": 1, "ib0": 2, "bc0": 1, "ac2": 4, "cc1": 1}
    assert r.relays == () and r.relay_neurons == 0


def test_an_ideal_delay_needs_no_level() -> None:
    r = retime(net("iab", ("i", "a", 1), ("a", "b", 5), ("b", "a", 2)), CHIP)
    assert r.levels == {"i": 0, "a": 0, "b": 0}
    assert delays(r) == {"ia1": 1, "ab5": 5, "ba2": 2}


def test_a_loop_with_just_enough_delay() -> None:
    r = retime(net("iab", ("i", "a", 0), ("a", "b", 0), ("b", "a", 2)), CHIP)
    assert r.levels == {"i": 0, "a": 1, "b": 2}
    assert delays(r) == {"ia0": 1, "ab0": 1, "ba2": 1}


def test_a_loop_that_is_too_short_is_named() -> None:
    with pytest.raises(BadInput, match=r"loop (a -> b -> a|b -> a -> b) \(.*\): its delay is 1 ticks for 2 synapses"):
        retime(net("iabc", ("i", "a", 0), ("a", "b", 0), ("b", "a", 1), ("b", "c", 0)), CHIP)
    with pytest.raises(BadInput, match=r"loop a -> a \(aa0\): its delay is 0 ticks for 1 synapses"):
        retime(net("ia", ("i", "a", 0), ("a", "a", 0)), CHIP)


def test_the_longest_delay_of_the_chip_needs_no_relay() -> None:
    assert retime(net("ia", ("i", "a", 62)), CHIP).relays == ()
    assert delays(retime(net("ia", ("i", "a", 63)), CHIP)) == {"ia63": 63}
    assert retime(net("ia", ("i", "a", 64)), CHIP).relays == ("i.relay1",)


def test_relays_are_one_chain_per_source() -> None:
    r = retime(net("iab", ("i", "a", 0), ("a", "a", 150), ("a", "b", 64), ("a", "b", 3)), CHIP)
    assert r.relays == ("a.relay1", "a.relay2")
    assert r.levels == {"i": 0, "a": 1, "b": 0, "a.relay1": 64, "a.relay2": 127}
    found = {s.name: (s.source, s.delay) for s in r.graph.synapses}
    assert found == {
        "ia0": ("i", 1),
        "a->a.relay1": ("a", 63),
        "a.relay1->a.relay2": ("a.relay1", 63),
        "aa150": ("a.relay2", 24),
        "ab64": ("a", 63),
        "ab3": ("a", 2),
    }


def execute(graph: IntegerGraph, spikes: Spikes) -> dict[str, Spikes]:
    """The chip's arithmetic, tick by tick, with any delays: 0 means within the tick."""
    ticks = len(spikes)
    order, waiting = [], [p for p in graph.populations if p.kind != "input"]
    while waiting:
        blocked = {s.target for s in graph.synapses if s.delay == 0 and s.source in {p.name for p in waiting}}
        ready = next(p for p in waiting if p.name not in blocked)
        waiting.remove(ready)
        order.append(ready)
    fired = {p.name: np.zeros((ticks, p.size), np.int64) for p in order} | {graph.populations[0].name: spikes}
    v = {p.name: np.zeros(p.size, np.int64) for p in order}
    for t in range(ticks):
        for p in order:
            arriving = [s for s in graph.synapses if s.target == p.name and t >= s.delay]
            a = sum(
                (dense(s.weight).astype(np.int64) @ fired[s.source][t - s.delay] for s in arriving),
                np.zeros(p.size, np.int64),
            )
            v[p.name] = decay(v[p.name], p.dv) + (a << 6)
            fired[p.name][t] = v[p.name] > (p.v_threshold.astype(np.int64) << 6)
            v[p.name][fired[p.name][t] == 1] = 0
    return fired


@st.composite
def networks(draw: st.DrawFn) -> tuple[IntegerGraph, Spikes]:
    """Skips, several synapses between the same two, loops, delays beyond the chip's."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(2, 5))
    populations = [population("p0", "input", 3)]
    populations += [population(f"p{i}", "lif", 3, int(rng.choice([4096, 2048, 300])), 20) for i in range(1, n)]
    synapses = []
    for i in range(draw(st.integers(n, 3 * n))):
        a, b = int(rng.integers(0, n)), int(rng.integers(1, n))
        d = int(rng.choice([0, 0, 1, 2, 3, 7, 70, 140])) if a < b else int(rng.choice([1, 2, 3, 7, 70]))
        weight = 2 * rng.integers(-10, 25, (3, 3)).astype(np.int16)
        synapses.append(IntegerSynapses(f"s{i}", f"p{a}", f"p{b}", weight, d))
    return IntegerGraph(populations, synapses, 1e-3), (rng.random((260, 3)) < 0.4).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(networks())
def test_chip_spikes_are_ideal_spikes_shifted_by_the_level(drawn: tuple[IntegerGraph, Spikes]) -> None:
    graph, spikes = drawn
    try:
        r = retime(graph, CHIP)
    except BadInput:
        assume(False)
    assert all(1 <= s.delay <= 63 for s in r.graph.synapses)
    ideal, chip = execute(graph, spikes), execute(r.graph, spikes)
    for p in graph.populations:
        level = r.levels[p.name]
        np.testing.assert_array_equal(chip[p.name][level:], ideal[p.name][: len(spikes) - level])
        assert not chip[p.name][:level].any()
    for name in r.relays:
        source = name.split(".")[0]
        late = r.levels[name] - r.levels[source]
        np.testing.assert_array_equal(chip[name][late:], chip[source][:-late])


def test_a_relay_name_that_is_taken() -> None:
    graph = net("ia", ("i", "a", 100))
    taken = dataclasses.replace(graph, populations=[*graph.populations, population("i.relay1")])
    assert retime(taken, CHIP).relays == ("i.relay1_",)


def test_delays_that_would_take_too_many_relays() -> None:
    message = r"'ia9000000': a delay of 9000000 ticks takes 142857 relays in a row, .* 1000 \(63063 ticks\)"
    with pytest.raises(BadInput, match=message):
        retime(net("ia", ("i", "a", 9_000_000)), CHIP)
    assert len(retime(net("ia", ("i", "a", 63_062)), CHIP).relays) == 1000
    many, one = population("i", "input", 1000), population("a")
    synapses = IntegerSynapses("w", "i", "a", np.full((1, 1000), 2, np.int16), 10_000)
    with pytest.raises(BadInput, match=r"10000 ticks takes 158000 relay .* loihi1 has \(131072\); .* 8316 ticks"):
        retime(IntegerGraph([many, one], [synapses], 1e-3), CHIP)
