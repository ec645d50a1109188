import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.hardware.chip import Limit, load_chip
from muspike.hardware.lists import entry_bits, list_bits
from muspike.hardware.partition import RULES, delay_problems, partition
from muspike.hardware.quantise import IntegerGraph, IntegerPopulation, IntegerSynapses
from muspike.hardware.retime import retime

CHIP = load_chip("loihi1")
FORM = CHIP.synapse_format


def chip(**limits):
    made = {name: Limit(value, "test") for name, value in limits.items()}
    return dataclasses.replace(CHIP, limits=dataclasses.replace(CHIP.limits, **made))


def population(name, kind, size, dv=2048, v_threshold=100):
    def per_neuron(value):
        return np.broadcast_to(np.asarray(value, np.int32), (size,)).copy()

    settings_ = (per_neuron(value) for value in (4095, dv, v_threshold, 0, 0))
    return IntegerPopulation(name, kind, size, *settings_, np.ones(size))


def net(populations, *synapses):
    """synapses: (source, target, weight, ideal delay)."""
    made = [IntegerSynapses(f"s{i}", a, b, np.asarray(w, np.int16), d) for i, (a, b, w, d) in enumerate(synapses)]
    return retime(IntegerGraph(populations, made, 1e-3), CHIP)


def dense(sources, targets):
    return np.full((targets, sources), 2)


def feed(sources, targets, weight=None, **changes):
    populations = [population("i", "input", sources), population("n", "lif", targets, **changes)]
    return net(populations, ("i", "n", dense(sources, targets) if weight is None else weight, 0))


def test_bits_of_a_list_by_hand():
    # 8 bits a synapse, 10 a block, words of 64, blocks of 64 synapses
    np.testing.assert_array_equal(
        list_bits(np.array([0, 1, 6, 7, 64, 65, 128]), 8, FORM), [0, 64, 64, 128, 576, 640, 1152]
    )


def test_bits_of_a_synapse():
    assert entry_bits(1, None, FORM) == 8
    assert entry_bits(2, None, FORM) == 9
    assert entry_bits(8, None, FORM) == 11
    assert entry_bits(63, None, FORM) == 14
    assert [entry_bits(1, n, FORM) - 8 for n in (0, 63, 64, 1023)] == [6, 6, 7, 10]


def test_use_of_one_small_core_by_hand():
    # 10 inputs to 65 neurons, dense: 10 lists of 640 bits; 65 neurons to 3 readouts with delay 2: 65 lists of 64 bits.
    populations = [
        population("i", "input", 10),
        population("n", "lif", 65),
        population("o", "li", 3, v_threshold=131071),
    ]
    p = partition(net(populations, ("i", "n", dense(10, 65), 0), ("n", "o", dense(65, 3), 1)), CHIP)
    (core,) = p.use.cores
    assert (core.neurons, core.synaptic_memory_bytes) == (68, (10 * 640 + 65 * 64) / 8)
    assert (core.input_axons, core.output_axons) == (75, 65)
    assert (core.threshold_configurations, core.compartment_configurations) == (2, 1)
    assert core.per_cent["neurons_per_core"] == pytest.approx(100 * 68 / 1024)
    assert core.binding == p.use.binding == "threshold_configurations_per_core"
    assert p.use.fits and p.use.chips == 1 and p.use.unchecked == ()
    assert (p.core["i"] == -1).all() and (p.core["n"] == 0).all() and (p.core["o"] == 0).all()
    assert p.core_xy.tolist() == [[0, 0]]


def test_sparse_where_it_is_smaller():
    few = np.zeros((100, 50))
    few[::10] = 4  # ten synapses a list: 10 * 15 + 10 bits against 100 * 8 + 20
    full = partition(feed(50, 100), CHIP)
    sparse = partition(feed(50, 100, few), CHIP)
    assert full.sparse == {"s0": False} and sparse.sparse == {"s0": True}
    assert full.use.cores[0].synaptic_memory_bytes == 50 * (576 + 320) / 8
    assert sparse.use.cores[0].synaptic_memory_bytes == 50 * 192 / 8


def test_a_sparse_list_without_synapses_needs_no_axon():
    weight = np.zeros((100, 50))
    weight[3, :20] = 4
    p = partition(feed(50, 100, weight), CHIP)
    assert p.sparse == {"s0": True} and p.use.cores[0].input_axons == 20
    assert p.use.cores[0].synaptic_memory_bytes == 20 * 64 / 8


def test_axons_are_shared_by_populations_and_not_by_delays():
    populations = [population("i", "input", 10), population("a", "lif", 4), population("b", "lif", 4)]
    same = net(populations, ("i", "a", dense(10, 4), 0), ("i", "b", dense(10, 4), 0))
    other = net(populations, ("i", "a", dense(10, 4), 0), ("i", "b", dense(10, 4), 3))
    assert partition(same, CHIP).use.cores[0].input_axons == 10
    assert partition(other, CHIP).use.cores[0].input_axons == 20


def cores_of(p, name="n"):
    return np.bincount(p.core[name]).tolist()


def test_rule_neurons_per_core():
    p = partition(feed(2, 25), chip(neurons_per_core=10))
    assert cores_of(p) == [10, 10, 5] and p.use.fits and p.use.binding == "neurons_per_core"


def test_rule_synaptic_memory():
    # A list of 7 synapses is 128 bits, of 6 is 64: three sources and 192 bits hold six neurons.
    p = partition(feed(3, 15), chip(synaptic_memory_bits_per_core=192))
    assert cores_of(p) == [6, 6, 3] and p.use.binding == "synaptic_memory_bits_per_core"


def test_fill_leaves_room_on_every_core_but_not_of_what_spreading_multiplies():
    assert cores_of(partition(feed(2, 25), chip(neurons_per_core=10), fill=0.5)) == [5, 5, 5, 5, 5]
    # As in the test of the rule above, with half of twice the memory.
    assert cores_of(partition(feed(3, 15), chip(synaptic_memory_bits_per_core=384), fill=0.5)) == [6, 6, 3]
    few = partition(feed(9, 25), chip(input_axons_per_core=10), fill=0.5)
    assert few.use.fits and cores_of(few) == [25]


def test_a_fill_that_one_neuron_exceeds_does_not_fit_and_says_what_would():
    memory = chip(synaptic_memory_bits_per_core=30 * 64)  # a neuron takes 20 of the 30 lists
    alone = partition(feed(20, 2), memory, fill=0.5)
    assert cores_of(alone) == [1, 1]
    assert alone.use.problems == (
        "fill 0.5: one neuron takes 66.7 % of a core's synaptic memory; expected at least 0.667",
    )
    assert partition(feed(20, 2), memory, fill=0.667).use.fits
    (problem,) = partition(feed(2, 3), chip(neurons_per_core=8), fill=0.1).use.problems
    assert problem == "fill 0.1: one neuron takes 12.5 % of a core's neurons; expected at least 0.125"
    # What is above the limit itself is so at any fill.
    (limit,) = partition(feed(20, 1), chip(synaptic_memory_bits_per_core=1000), fill=0.5).use.problems
    assert limit == "core 0 ('n'): 1280 bits of synaptic memory, loihi1 holds 1000 on a core"


def test_rule_input_axons():
    populations = [population("i", "input", 5), population("a", "lif", 3), population("b", "lif", 3)]
    graph = net(populations, ("i", "a", dense(5, 3), 0), ("i", "b", dense(5, 3), 2))
    p = partition(graph, chip(input_axons_per_core=9))
    assert (p.core["b"].tolist(), p.core["a"].tolist()) == ([0] * 3, [1] * 3)  # b has the lower level
    assert partition(graph, chip(input_axons_per_core=10)).core["b"].tolist() == [0] * 3


def test_rule_output_axons_repacks():
    # 8 neurons onto 4 cores are 32 output axons: with 12 to a core, three neurons each.
    populations = [population("i", "input", 1), population("a", "lif", 8), population("b", "lif", 8)]
    graph = net(populations, ("i", "a", dense(1, 8), 0), ("a", "b", dense(8, 8), 0))
    p = partition(graph, chip(synaptic_memory_bits_per_core=64 * 10, output_axons_per_core=12))
    assert p.use.fits
    assert max(core.output_axons for core in p.use.cores) <= 12
    assert len(set(p.core["a"].tolist())) > len(
        set(partition(graph, chip(synaptic_memory_bits_per_core=640)).core["a"])
    )


def test_rule_threshold_configurations():
    p = partition(feed(2, 20, v_threshold=np.arange(20) + 1), chip(threshold_configurations_per_core=8))
    assert cores_of(p) == [8, 8, 4]


def test_rule_compartment_configurations():
    p = partition(feed(2, 20, dv=np.arange(20)), chip(compartment_configurations_per_core=7))
    assert cores_of(p) == [7, 7, 6]


def test_rule_delay():
    too_long = IntegerSynapses("far", "a", "b", np.zeros((1, 1), np.int16), 64)
    assert list(delay_problems([too_long], CHIP)) == ["synapses 'far': a delay of 64 ticks, loihi1 has 1..63"]
    assert list(delay_problems([dataclasses.replace(too_long, delay=63)], CHIP)) == []


def test_what_does_not_fit_says_why():
    p = partition(feed(5000, 2), CHIP)
    assert not p.use.fits
    assert p.use.problems[0] == "core 0 ('n'): 5000 input axons, loihi1 holds 4096 on a core"
    assert cores_of(p) == [1, 1]
    p = partition(feed(20, 1), chip(synaptic_memory_bits_per_core=1000))
    assert p.use.problems == ("core 0 ('n'): 1280 bits of synaptic memory, loihi1 holds 1000 on a core",)


def test_a_network_for_several_chips():
    p = partition(feed(1, 300), chip(neurons_per_core=1))
    assert p.use.fits and p.use.chips == 3 and len(p.use.cores) == 300
    assert [core.chip for core in p.use.cores] == [c // 128 for c in range(300)]
    x, y = p.core_xy.T
    assert (x // 8 == np.arange(300) // 128).all() and y.max() <= 3
    assert np.unique(p.core_xy, axis=0, return_counts=True)[1].max() == 4


def test_cores_that_talk_lie_near():
    # Two chains that never meet: each must be shorter than random places would make it.
    names = [f"{c}{i}" for i in range(6) for c in "ab"]
    populations = [population("i", "input", 4)] + [population(n, "lif", 4) for n in names]
    synapses = [("i", "a0", dense(4, 4), 0), ("i", "b0", dense(4, 4), 0)]
    synapses += [(f"{c}{i}", f"{c}{i + 1}", dense(4, 4), 0) for c in "ab" for i in range(5)]
    p = partition(net(populations, *synapses), chip(neurons_per_core=4))
    places = {n: p.core_xy[p.core[n][0]] for n in names}
    hops = [np.abs(places[f"{c}{i}"] - places[f"{c}{i + 1}"]).sum() for c in "ab" for i in range(5)]
    assert max(hops) <= 2 and sum(hops) <= 6


def test_unpublished_limits_are_named():
    loihi2 = load_chip("loihi2")
    use = partition(feed(9000, 2), loihi2).use
    assert use.fits and "input_axons_per_core" in use.unchecked
    assert "input_axons_per_core" not in use.cores[0].per_cent
    assert json.loads(json.dumps(use.to_dict()))["fits"] is True


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_core_keeps_every_rule_counted_anew(seed):
    """Loads recomputed from the placement alone, neuron by neuron, agree with the report and keep the limits."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, 4).tolist()
    populations = [population("p0", "input", sizes[0])]
    populations += [
        population(f"p{i}", "lif", sizes[i], dv=rng.integers(0, 6, sizes[i]), v_threshold=rng.integers(1, 6, sizes[i]))
        for i in range(1, 4)
    ]
    synapses = []
    for _ in range(6):
        a, b = rng.integers(0, 4), rng.integers(1, 4)
        weight = (
            2 * rng.integers(-9, 9, (sizes[b], sizes[a])) * (rng.random((sizes[b], sizes[a])) < rng.choice([0.1, 1]))
        )
        synapses.append((f"p{a}", f"p{b}", weight, int(rng.integers(0, 5)) if a < b else int(rng.integers(3, 9))))
    retimed = net(populations, *synapses)
    small = chip(
        neurons_per_core=30,
        synaptic_memory_bits_per_core=40000,
        input_axons_per_core=150,
        output_axons_per_core=60,
        threshold_configurations_per_core=4,
        compartment_configurations_per_core=5,
    )
    p = partition(retimed, small)
    sources = {q.name: q for q in populations}
    for core in p.use.cores:
        here = {name: np.flatnonzero(c == core.core) for name, c in p.core.items()}
        assert core.neurons == sum(map(len, here.values()))
        incoming, outgoing = set(), set()
        for s in retimed.graph.synapses:
            stored = (s.weight != 0) | (not p.sparse[s.name])
            for j, i in np.argwhere(stored):
                source, target = p.core[s.source][i], p.core[s.target][j]
                if target == core.core:
                    incoming.add((s.source, i, s.delay))
                if source == core.core:
                    outgoing.add((s.source, i, s.delay, target))
        assert (core.input_axons, core.output_axons) == (len(incoming), len(outgoing))
        thresholds = {int(v) for name, n in here.items() for v in sources[name].v_threshold[n]}
        assert core.threshold_configurations == len(thresholds)
    assert p.use.fits == all(max(core.per_cent.values()) <= 100 for core in p.use.cores)
    if p.use.fits:
        assert {rule.limit for rule in RULES} == set(p.use.cores[0].per_cent)
    assert partition(retimed, small).core_xy.tolist() == p.core_xy.tolist()
