from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chip_limits import chip
from integer_populations import population
from muspike.hardware import weights as w
from muspike.hardware.chip import SynapseFormat, load_chip
from muspike.hardware.cost import activity
from muspike.hardware.mapping.compile import _placed
from muspike.hardware.mapping.fit import use_of
from muspike.hardware.mapping.lists import (
    Ints,
    entry_bits,
    image_order,
    is_cheaper_sparse,
    is_smaller_sparse,
    list_bits,
    lists,
)
from muspike.hardware.mapping.partition import RULES, Partition, added, delay_problems, partition
from muspike.hardware.mapping.quantise import IntegerGraph, IntegerPopulation, IntegerSynapses
from muspike.hardware.mapping.retime import Retimed, retime
from muspike.hardware.weights import Array, Conv, Sparse, Weights

CHIP = load_chip("loihi1")
FORM = CHIP.synapse_format


def net(populations: Sequence[IntegerPopulation], *synapses: tuple[str, str, Weights, int]) -> Retimed:
    """synapses: (source, target, weight, ideal delay)."""
    made = [
        IntegerSynapses(f"s{i}", a, b, np.asarray(m, np.int16) if isinstance(m, np.ndarray) else m, d)
        for i, (a, b, m, d) in enumerate(synapses)
    ]
    return retime(IntegerGraph(populations, made, 1e-3), CHIP)


def dense(sources: int, targets: int) -> Array:
    return np.full((targets, sources), 2)


def feed(sources: int, targets: int, weight: Weights | None = None, **changes: Any) -> Retimed:
    populations = [population("i", "input", sources), population("n", "lif", targets, **changes)]
    return net(populations, ("i", "n", dense(sources, targets) if weight is None else weight, 0))


def test_bits_of_a_list_by_hand() -> None:
    # 8 bits a synapse, 10 a block, words of 64, blocks of 64 synapses
    np.testing.assert_array_equal(
        list_bits(np.array([0, 1, 6, 7, 64, 65, 128]), 8, FORM), [0, 64, 64, 128, 576, 640, 1152]
    )


def test_bits_of_a_synapse() -> None:
    assert entry_bits(1, None, FORM) == 8
    assert entry_bits(2, None, FORM) == 9
    assert entry_bits(8, None, FORM) == 11
    assert entry_bits(63, None, FORM) == 14
    assert [entry_bits(1, n, FORM) - 8 for n in (0, 63, 64, 1023)] == [6, 6, 7, 10]


def test_use_of_one_small_core_by_hand() -> None:
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


def test_sparse_where_it_is_smaller() -> None:
    few = np.zeros((100, 50))
    few[::10] = 4  # ten synapses a list: 10 * 15 + 10 bits against 100 * 8 + 20
    full = partition(feed(50, 100), CHIP)
    sparse = partition(feed(50, 100, few), CHIP)
    assert full.sparse == {"s0": False} and sparse.sparse == {"s0": True}
    assert full.use.cores[0].synaptic_memory_bytes == 50 * (576 + 320) / 8
    assert sparse.use.cores[0].synaptic_memory_bytes == 50 * 192 / 8


def pruned(sources: int, targets: int, share: float, seed: int = 0) -> Array:
    """A matrix of which at random `share` of the weights are not 0."""
    return dense(sources, targets) * (np.random.default_rng(seed).random((targets, sources)) < share)


def test_sparse_where_memory_and_operations_together_are_cheaper() -> None:
    # Loihi 1: a synapse of 8 bits, or of 15 with its index; 35.5 pJ + 104 mW x 3.8 ns = 430.7 pJ an operation, or
    # 33.6 + 104 x 4.7 = 522.4. So sparse lists are smaller below 8 / 15 = 0.53 of the weights, and cheaper below
    # sqrt(8 / 15 x 430.7 / 522.4) = 0.66 of them.
    for share, smaller, cheaper in ((0.45, True, True), (0.6, False, True), (0.72, False, False), (1, False, False)):
        weight = pruned(50, 100, share)
        assert is_smaller_sparse(weight, 1, CHIP, 1) == smaller, share
        assert is_cheaper_sparse(weight, 1, CHIP, 1) == cheaper, share
        assert partition(feed(50, 100, weight), CHIP).sparse == {"s0": cheaper}, share


def test_lists_that_take_the_same_words_are_sparse_if_that_saves_enough_operations() -> None:
    weight = dense(5, 3)
    weight[0] = 0  # 3 synapses of 8 bits, or 2 of 14, in a word of 64: two thirds of the operations, at 1.21 times each
    assert partition(feed(5, 3, weight), CHIP).sparse == {"s0": True}
    costs = CHIP.cost_set()
    slow = {**costs.latency, "synop_sparse": dataclasses.replace(costs.latency["synop_sparse"], value=6.2)}
    slower = dataclasses.replace(CHIP, costs={costs.name: dataclasses.replace(costs, latency=slow)})
    assert partition(feed(5, 3, weight), slower).sparse == {"s0": False}  # 678 pJ are 1.58 times as much


def test_memory_alone_decides_without_a_price() -> None:
    costs = CHIP.cost_set()
    energy = {event: price for event, price in costs.energy.items() if event != "synop_sparse"}
    unpriced = dataclasses.replace(CHIP, costs={costs.name: dataclasses.replace(costs, energy=energy)})
    for share, smaller in ((0.45, True), (0.6, False)):
        assert partition(feed(50, 100, pruned(50, 100, share)), unpriced).sparse == {"s0": smaller}


def test_cheaper_lists_give_way_to_smaller_ones_that_take_fewer_chips() -> None:
    graph = feed(50, 100, pruned(50, 100, 0.6))  # 44,800 bits dense, some 48,000 sparse
    for cores_per_chip, sparse, cores in ((2, True, 2), (1, False, 1)):
        small = chip(synaptic_memory_bits_per_core=46_000, cores_per_chip=cores_per_chip)
        p = partition(graph, small)
        assert p.sparse == {"s0": sparse} and (len(p.use.cores), p.use.chips) == (cores, 1)


def test_a_pruned_network_pays_only_for_its_weights() -> None:
    rng = np.random.default_rng(1)
    populations = [population("i", "input", 40), population("n", "lif", 100), population("o", "li", 30)]
    first, second = pruned(40, 100, 0.2), pruned(100, 30, 0.3, seed=1)
    retimed = net(populations, ("i", "n", first, 0), ("n", "o", second, 1))
    program, _ = _placed(retimed, CHIP, 1.0, 1e-3, {}, None)
    assert [s.layout for s in program.synapses] == ["sparse", "sparse"]
    spikes = {"i": rng.random((20, 2, 40)) < 0.3, "n": rng.random((20, 2, 100)) < 0.1}
    counts = activity.count(program, {name: fired.astype(np.uint8) for name, fired in spikes.items()})
    paid = counts.synops.sum() + counts.pending_synops.sum()
    assert paid == sum(
        int((fired.sum((0, 1)) * np.count_nonzero(weight, axis=0)).sum())
        for fired, weight in ((spikes["i"], first), (spikes["n"], second))
    )
    assert counts.synops_sparse.sum() == counts.synops.sum() > 0


def test_a_sparse_list_without_synapses_needs_no_axon() -> None:
    weight = np.zeros((100, 50))
    weight[3, :20] = 4
    p = partition(feed(50, 100, weight), CHIP)
    assert p.sparse == {"s0": True} and p.use.cores[0].input_axons == 20
    assert p.use.cores[0].synaptic_memory_bytes == 20 * 64 / 8


def test_axons_are_shared_by_populations_and_not_by_delays() -> None:
    populations = [population("i", "input", 10), population("a", "lif", 4), population("b", "lif", 4)]
    same = net(populations, ("i", "a", dense(10, 4), 0), ("i", "b", dense(10, 4), 0))
    other = net(populations, ("i", "a", dense(10, 4), 0), ("i", "b", dense(10, 4), 3))
    assert partition(same, CHIP).use.cores[0].input_axons == 10
    assert partition(other, CHIP).use.cores[0].input_axons == 20


def cores_of(p: Partition, name: str = "n") -> list[int]:
    return [int(n) for n in np.bincount(p.core[name])]


def test_rule_neurons_per_core() -> None:
    p = partition(feed(2, 25), chip(neurons_per_core=10))
    assert cores_of(p) == [10, 10, 5] and p.use.fits and p.use.binding == "neurons_per_core"


def test_rule_synaptic_memory() -> None:
    # A list of 7 synapses is 128 bits, of 6 is 64: three sources and 192 bits hold six neurons.
    p = partition(feed(3, 15), chip(synaptic_memory_bits_per_core=192))
    assert cores_of(p) == [6, 6, 3] and p.use.binding == "synaptic_memory_bits_per_core"


def test_fill_leaves_room_on_every_core_but_not_of_what_spreading_multiplies() -> None:
    assert cores_of(partition(feed(2, 25), chip(neurons_per_core=10), fill=0.5)) == [5, 5, 5, 5, 5]
    # As in the test of the rule above, with half of twice the memory.
    assert cores_of(partition(feed(3, 15), chip(synaptic_memory_bits_per_core=384), fill=0.5)) == [6, 6, 3]
    few = partition(feed(9, 25), chip(input_axons_per_core=10), fill=0.5)
    assert few.use.fits and cores_of(few) == [25]


def test_a_fill_that_one_neuron_exceeds_does_not_fit_and_says_what_would() -> None:
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


def test_rule_input_axons() -> None:
    populations = [population("i", "input", 5), population("a", "lif", 3), population("b", "lif", 3)]
    graph = net(populations, ("i", "a", dense(5, 3), 0), ("i", "b", dense(5, 3), 2))
    p = partition(graph, chip(input_axons_per_core=9))
    assert (p.core["b"].tolist(), p.core["a"].tolist()) == ([0] * 3, [1] * 3)  # b has the lower level
    assert partition(graph, chip(input_axons_per_core=10)).core["b"].tolist() == [0] * 3


def test_rule_output_axons_repacks() -> None:
    # 8 neurons onto 4 cores are 32 output axons: with 12 to a core, three neurons each.
    populations = [population("i", "input", 1), population("a", "lif", 8), population("b", "lif", 8)]
    graph = net(populations, ("i", "a", dense(1, 8), 0), ("a", "b", dense(8, 8), 0))
    p = partition(graph, chip(synaptic_memory_bits_per_core=64 * 10, output_axons_per_core=12))
    assert p.use.fits
    assert max(core.output_axons for core in p.use.cores) <= 12
    assert len(set(p.core["a"].tolist())) > len(
        set(partition(graph, chip(synaptic_memory_bits_per_core=640)).core["a"])
    )


def test_rule_threshold_configurations() -> None:
    p = partition(feed(2, 20, v_threshold=np.arange(20) + 1), chip(threshold_configurations_per_core=8))
    assert cores_of(p) == [8, 8, 4]


def test_rule_compartment_configurations() -> None:
    p = partition(feed(2, 20, dv=np.arange(20)), chip(compartment_configurations_per_core=7))
    assert cores_of(p) == [7, 7, 6]


def test_rule_delay() -> None:
    too_long = IntegerSynapses("far", "a", "b", np.zeros((1, 1), np.int16), 64)
    assert list(delay_problems([too_long], CHIP)) == [
        "synapses 'far': a delay of 64 ticks; loihi1 can delay by 1 to 63 ticks"
    ]
    assert list(delay_problems([dataclasses.replace(too_long, delay=63)], CHIP)) == []


def test_what_does_not_fit_says_why() -> None:
    p = partition(feed(5000, 2), CHIP)
    assert not p.use.fits
    assert p.use.problems[0] == "core 0 ('n'): 5000 input axons, loihi1 holds 4096 on a core"
    assert cores_of(p) == [1, 1]
    p = partition(feed(20, 1), chip(synaptic_memory_bits_per_core=1000))
    assert p.use.problems == ("core 0 ('n'): 1280 bits of synaptic memory, loihi1 holds 1000 on a core",)


def test_a_network_for_several_chips() -> None:
    p = partition(feed(1, 300), chip(neurons_per_core=1))
    assert p.use.fits and p.use.chips == 3 and len(p.use.cores) == 300
    assert [core.chip for core in p.use.cores] == [c // 128 for c in range(300)]
    x, y = p.core_xy.T
    assert (x // 8 == np.arange(300) // 128).all() and y.max() <= 3
    assert np.unique(p.core_xy, axis=0, return_counts=True)[1].max() == 4


def test_cores_that_talk_lie_near() -> None:
    # Two chains that never meet: each must be shorter than random places would make it.
    names = [f"{c}{i}" for i in range(6) for c in "ab"]
    populations = [population("i", "input", 4)] + [population(n, "lif", 4) for n in names]
    synapses = [("i", "a0", dense(4, 4), 0), ("i", "b0", dense(4, 4), 0)]
    synapses += [(f"{c}{i}", f"{c}{i + 1}", dense(4, 4), 0) for c in "ab" for i in range(5)]
    p = partition(net(populations, *synapses), chip(neurons_per_core=4))
    places = {n: p.core_xy[p.core[n][0]] for n in names}
    hops = [np.abs(places[f"{c}{i}"] - places[f"{c}{i + 1}"]).sum() for c in "ab" for i in range(5)]
    assert max(hops) <= 2 and sum(hops) <= 6


def test_unpublished_limits_are_named() -> None:
    loihi2 = load_chip("loihi2")
    use = partition(feed(9000, 2), loihi2).use
    assert use.fits and "input_axons_per_core" in use.unchecked
    assert "input_axons_per_core" not in use.cores[0].per_cent
    assert json.loads(json.dumps(use.to_dict()))["fits"] is True


# --- sparse matrices and convolutions --------------------------------------------------------------------------


def kernel(*shape: int) -> Array:
    return np.full(shape, 2, np.int16)


def image(conv: Conv, **limits: int) -> Partition:
    """One convolution from an input, on a chip of these limits."""
    return partition(feed(conv.shape[1], conv.shape[0], conv), chip(**limits))


def test_a_given_sparse_matrix_lies_as_a_dense_one_with_sparse_lists() -> None:
    rng = np.random.default_rng(0)
    weight = (2 * rng.integers(-9, 9, (300, 200)) * (rng.random((300, 200)) < 0.05)).astype(np.int16)
    listed = Sparse.of(weight)
    listed.values[:3] = 0  # listed, and no synapse
    made = [partition(feed(200, 300, m), chip(neurons_per_core=70)) for m in (listed.columns.toarray(), listed)]
    assert made[0].sparse == made[1].sparse == {"s0": True}
    assert made[0].use == made[1].use and made[0].core_xy.tolist() == made[1].core_xy.tolist()


def test_what_is_given_as_sparse_has_sparse_lists_even_where_dense_ones_were_smaller() -> None:
    p = partition(feed(5, 8, Sparse.of(dense(5, 8).astype(np.int16))), CHIP)
    assert p.sparse == {"s0": True}
    assert p.use.cores[0].synaptic_memory_bytes == 5 * 128 / 8  # 8 synapses of 14 bits, and 10


def test_a_large_sparse_matrix_is_never_dense() -> None:
    n = 200_000  # dense: 80 GB
    p = partition(feed(n, n, w.astype(w.identity(n), np.int16)), CHIP)
    assert len(p.use.cores) == -(-n // 1024) and p.use.chips == 2
    assert (p.use.cores[0].input_axons, p.use.cores[0].closed_by) == (1024, "neurons_per_core")
    assert p.use.cores[0].synaptic_memory_bytes == 1024 * 64 / 8
    assert p.use.cores[-1].closed_by is None


def test_lists_that_axons_share_by_hand() -> None:
    # 3 x 3 inputs, 2 x 2 taps, 2 x 2 outputs: each of the nine pixels meets another set of taps: 1, 2 or 4 of them,
    # of 8 bits and 6 of index, and 10 a list.
    valid = Conv(kernel(1, 1, 2, 2), (1, 3, 3), (1, 2, 2))
    assert image(valid).use.cores[0].synaptic_memory_bytes == (8 * 64 + 128) / 8
    # 10 x 10 inputs, the same kernel: still nine sets, although there are 100 axons.
    larger = image(Conv(kernel(1, 1, 2, 2), (1, 10, 10), (1, 9, 9))).use.cores[0]
    assert (larger.input_axons, larger.synaptic_memory_bytes) == (100, (8 * 64 + 128) / 8)
    # Two channels have lists of their own; four channels out make lists of 4, 8, and 16 synapses of 8 + 9 bits.
    channels = image(Conv(kernel(4, 2, 2, 2), (2, 10, 10), (4, 9, 9))).use.cores[0]
    assert channels.input_axons == 200
    assert channels.synaptic_memory_bytes == 2 * (4 * 128 + 4 * 192 + 1 * 320) / 8
    # In two groups each channel reaches half of them.
    grouped = image(Conv(kernel(4, 1, 2, 2), (2, 10, 10), (4, 9, 9), groups=2)).use.cores[0]
    assert grouped.synaptic_memory_bytes == 2 * (4 * 64 + 4 * 128 + 1 * 192) / 8


def test_axons_that_lie_beyond_the_largest_offset_have_copies() -> None:
    one_to_one = Conv(kernel(1, 1, 1, 1), (1, 1, 600), (1, 1, 600))
    assert image(one_to_one).use.cores[0].synaptic_memory_bytes == 3 * 64 / 8  # from 0, from 256, from 512
    behind = [population("i", "input", 600), population("a", "lif", 200), population("b", "lif", 600)]
    graph = net(behind, ("i", "a", dense(600, 200), 0), ("i", "b", one_to_one, 0))
    both = partition(graph, chip(synaptic_memory_bits_per_core=2**21)).use.cores[0]
    assert both.synaptic_memory_bytes == 600 * (3 * 576 + 128) / 8 + 4 * 64 / 8  # from 200 on: 0, 256, 512, 768


def of_core(
    conv: Conv, order: Ints, start: int, stop: int, first_index: int
) -> dict[int, tuple[list[tuple[int, int, int]], list[int], list[int]]]:
    """By source neuron: the taps (o, a, b) that land on the core, where on it, and the weights; one tap at a time."""
    g_out, g_in = conv.output_shape[0] // conv.groups, conv.kernel.shape[1]
    found: dict[int, tuple[list[tuple[int, int, int]], list[int], list[int]]] = {}
    for position in range(start, stop):
        o, y, x = np.unravel_index(order[position], conv.output_shape)
        for i, a, b in np.ndindex(conv.kernel.shape[1:]):
            channel = o // g_out * g_in + i
            from_y = y * conv.stride[0] - conv.padding[0] + a * conv.dilation[0]
            from_x = x * conv.stride[1] - conv.padding[1] + b * conv.dilation[1]
            if 0 <= from_y < conv.input_shape[1] and 0 <= from_x < conv.input_shape[2]:
                source = np.ravel_multi_index((channel, from_y, from_x), conv.input_shape)
                taps, places, weights = found.setdefault(int(source), ([], [], []))
                taps.append((o, a, b))
                places.append(first_index + position - start)
                weights.append(int(conv.kernel[o, i, a, b]))
    return found


def shared_bits(
    conv: Conv, delay: int, order: Ints, start: int, stop: int, first_index: int, form: SynapseFormat
) -> int:
    """Memory of the lists of `of_core`, each counted once."""
    pixels = conv.input_shape[1] * conv.input_shape[2]
    shared: dict[Any, Any] = {}
    for source, (taps, places, weights) in of_core(conv, order, start, stop, first_index).items():
        offset = places[0] % form.axon_offsets
        key = (source // pixels, frozenset(taps), places[0] - offset)
        content = [(place - offset, weight) for place, weight in zip(places, weights, strict=True)]
        assert shared.setdefault(key, content) == content  # so that one list does for all of them
    entry = entry_bits(delay, first_index + stop - start - 1, form)
    return int(list_bits(np.array([len(content) for content in shared.values()]), entry, form).sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_axons_share_lists_that_are_the_same_but_for_an_offset(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, g_in, g_out = rng.integers(1, 3, 3).tolist()
    height, width, k_y, k_x, rows, columns = rng.integers(1, 6, 6).tolist()
    kernel_ = 2 * rng.integers(-99, 99, (groups * g_out, g_in, k_y, k_x)).astype(np.int16)
    stride, padding, dilation = (tuple(rng.integers(low, low + 3, 2).tolist()) for low in (1, 0, 1))
    shapes = (groups * g_in, height, width), (groups * g_out, rows, columns)
    conv = Conv(kernel_, *shapes, stride, padding, dilation, groups)
    form = dataclasses.replace(FORM, axon_offsets=int(rng.integers(1, 30)))
    start, stop = sorted(rng.choice(conv.shape[0] + 1, 2, replace=False).tolist())
    first_index, delay = int(rng.integers(0, 100)), int(rng.integers(1, 9))
    synapses = IntegerSynapses("s", "i", "n", conv, delay)
    order = image_order(conv.output_shape, int(rng.choice([1, g_out, groups, groups * g_out])))
    on_chip = dataclasses.replace(CHIP, synapse_format=form)
    bits, axons = lists(synapses, False, on_chip, order).on_core(start, stop, first_index)
    assert sorted(axons.tolist()) == sorted(of_core(conv, order, start, stop, first_index))
    assert bits == shared_bits(conv, delay, order, start, stop, first_index, form)


def sparse_net() -> Retimed:
    return feed(40, 100, Sparse.of(np.where(np.arange(4000).reshape(100, 40) % 7 == 0, 2, 0).astype(np.int16)))


def conv_net() -> Retimed:
    return feed(2 * 36, 3 * 36, Conv(kernel(3, 2, 3, 3), (2, 6, 6), (3, 6, 6), padding=(1, 1)))


@pytest.mark.parametrize("graph", [sparse_net, conv_net])
@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("neurons_per_core", 20),
        ("synaptic_memory_bits_per_core", 4000),
        ("input_axons_per_core", 35),
    ],
)
def test_every_rule_of_what_leads_onto_a_core_holds_in_all_forms(
    graph: Callable[[], Retimed], limit: str, value: int
) -> None:
    use = partition(graph(), chip(**{limit: value})).use
    assert use.fits and len(use.cores) > 2 and use.binding == limit
    assert {core.closed_by for core in use.cores[:-1]} == {limit}
    assert all(core.per_cent[limit] <= 100 for core in use.cores)


@pytest.mark.parametrize(
    "form", [Sparse.of(np.full((8, 8), 2, np.int16)), Conv(kernel(8, 8, 1, 1), (8, 1, 1), (8, 1, 1))]
)
def test_rule_output_axons_repacks_in_all_forms(form: Weights) -> None:
    populations = [population("i", "input", 1), population("a", "lif", 8), population("b", "lif", 8)]
    graph = net(populations, ("i", "a", dense(1, 8), 0), ("a", "b", form, 0))
    few = partition(graph, chip(neurons_per_core=2, output_axons_per_core=4)).use
    assert few.fits and max(core.output_axons for core in few.cores) == 4
    assert "output_axons_per_core" in {core.closed_by for core in few.cores}
    assert few.cores != partition(graph, chip(neurons_per_core=2)).use.cores


@pytest.mark.parametrize(
    ("limit", "value", "form", "problem"),
    [
        (
            "input_axons_per_core",
            8,
            Sparse.of(np.full((2, 9), 2, np.int16)),
            "core 0 ('n'): 9 input axons, loihi1 holds 8 on a core",
        ),
        (
            "synaptic_memory_bits_per_core",
            500,
            Sparse.of(np.full((2, 9), 2, np.int16)),
            "core 0 ('n'): 576 bits of synaptic memory, loihi1 holds 500 on a core",
        ),
        (
            "input_axons_per_core",
            8,
            Conv(kernel(2, 1, 3, 3), (1, 3, 3), (2, 1, 1)),
            "core 0 ('n'): 9 input axons, loihi1 holds 8 on a core",
        ),
        (
            "synaptic_memory_bits_per_core",
            500,
            Conv(kernel(2, 1, 3, 3), (1, 3, 3), (2, 1, 1)),
            "core 0 ('n'): 576 bits of synaptic memory, loihi1 holds 500 on a core",
        ),
    ],
)
def test_what_one_neuron_exceeds_alone_says_why_and_what_it_would_take(
    limit: str, value: int, form: Weights, problem: str
) -> None:
    use = partition(feed(form.shape[1], form.shape[0], form), chip(**{limit: value})).use
    assert not use.fits and use.problems[0] == problem and use.binding == limit
    (remedy,) = use.remedies
    assert remedy.startswith(f"{limit}: fewer ")
    assert use.fullest.per_cent[limit] > 100


def test_a_neuron_that_reaches_too_many_cores_does_not_fit_and_ends() -> None:
    populations = [population("i", "input", 1), population("a", "lif", 1), population("b", "lif", 30)]
    graph = net(populations, ("i", "a", dense(1, 1), 0), ("a", "b", dense(1, 30), 0))
    use = partition(graph, chip(neurons_per_core=1, output_axons_per_core=20)).use
    assert use.problems == ("core 0 ('a'): 30 output axons, loihi1 holds 20 on a core",)
    assert use.remedies == ("output_axons_per_core: a neuron whose targets lie on fewer cores",)


def test_orders_of_an_image_by_hand() -> None:
    assert image_order((4, 1, 2), 1).tolist() == list(range(8))
    assert image_order((4, 1, 2), 2).tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert image_order((4, 1, 2), 4).tolist() == [0, 2, 4, 6, 1, 3, 5, 7]


def test_an_image_of_many_channels_is_cut_by_pixels_where_that_takes_fewer_cores() -> None:
    # 8 channels to 8 on 16 x 16 pixels, with 512 input axons: as many as 64 pixels have.
    conv = Conv(kernel(8, 8, 1, 1), (8, 16, 16), (8, 16, 16))
    p = image(conv, input_axons_per_core=512)
    assert p.use.fits and len(p.use.cores) == 4  # channel by channel, 64 neurons on each of 32 cores
    core = p.core["n"].reshape(8, 256)
    assert (core == core[0]).all() and np.bincount(core[0]).tolist() == [64] * 4
    assert {c.input_axons for c in p.use.cores} == {512}
    # All neurons are on some core once, and the loads are those of the cores that they are on.
    assert [c.neurons for c in p.use.cores] == np.bincount(p.core["n"]).tolist()


def test_what_two_convolutions_see_as_different_images_is_cut_in_its_own_order() -> None:
    first, second = (Conv(kernel(c, 8, 1, 1), (8, 16, 16), (c, 16, x)) for c, x in ((8, 16), (16, 8)))
    populations = [population(n, kind, 2048) for n, kind in (("i", "input"), ("j", "input"), ("n", "lif"))]
    graph = net(populations, ("i", "n", first, 0), ("j", "n", second, 0))
    p = partition(graph, chip(input_axons_per_core=1024))
    assert (np.diff(p.core["n"]) >= 0).all() and len(p.use.cores) > 4


def test_an_image_is_cut_by_channels_where_each_has_a_threshold() -> None:
    conv = Conv(kernel(8, 8, 1, 1), (8, 16, 16), (8, 16, 16))
    thresholds = np.repeat(np.arange(8) + 1, 256)
    graph = feed(2048, 2048, conv, v_threshold=thresholds)
    limits = {"input_axons_per_core": 2048, "threshold_configurations_per_core": 4}
    p = partition(graph, chip(**limits))
    assert p.use.fits and len(p.use.cores) == 2
    for core in p.use.cores:
        assert core.threshold_configurations == len(np.unique(thresholds[p.core["n"] == core.core])) == 4
    # Whatever the order, neurons keep their registers.
    few = partition(graph, chip(input_axons_per_core=512, threshold_configurations_per_core=4))
    assert few.use.fits
    for core in few.use.cores:
        assert core.threshold_configurations == len(np.unique(thresholds[few.core["n"] == core.core]))


def test_thousands_of_cores_find_a_place() -> None:
    n = 3000
    p = partition(feed(n, n, w.astype(w.identity(n), np.int16)), chip(neurons_per_core=1))
    assert p.use.chips == 24 and [core.core for core in p.use.cores] == list(range(n))
    assert np.unique(p.core_xy, axis=0, return_counts=True)[1].max() == 4
    assert p.use.cores[5].populations == ("n",)


def memory_bits(retimed: Retimed, p: Partition, form: SynapseFormat, orders: Mapping[str, Ints]) -> list[int]:
    """Synaptic memory of every core, list by list, if populations are packed in these orders."""
    bits = [0] * len(p.use.cores)
    neurons = [0] * len(bits)  # on the core so far
    placed = [q for q in retimed.graph.populations if q.kind != "input"]
    for q in sorted(placed, key=lambda q: retimed.levels[q.name]):
        order = orders.get(q.name, np.arange(q.size))
        on = p.core[q.name][order]
        for c in np.unique(on):
            start, stop = np.searchsorted(on, [c, c + 1]).tolist()
            for s in retimed.graph.synapses:
                if s.target != q.name:
                    continue
                highest = neurons[c] + stop - start - 1
                if isinstance(s.weight, Conv):
                    bits[c] += shared_bits(s.weight, s.delay, order, start, stop, neurons[c], form)
                    continue
                part = (s.weight if isinstance(s.weight, np.ndarray) else s.weight.columns.toarray())[order[start:stop]]
                each = np.count_nonzero(part, axis=0) if p.sparse[s.name] else np.full(part.shape[1], stop - start)
                entry = entry_bits(s.delay, highest if p.sparse[s.name] else None, form)
                bits[c] += int(list_bits(each, entry, form).sum())
            neurons[c] += stop - start
    return bits


def counted_anew(retimed: Retimed, p: Partition, form: SynapseFormat) -> None:
    """Asserts that the loads agree with the placement alone, neuron by neuron and list by list."""
    graph = retimed.graph
    incoming, outgoing = ([set[Any]() for _ in p.use.cores] for _ in range(2))
    for s in graph.synapses:
        stored: Iterable[Any]
        if isinstance(s.weight, np.ndarray):
            stored = np.argwhere(s.weight != 0 if p.sparse[s.name] else np.ones_like(s.weight))
        else:
            every = w.unrolled(s.weight)
            kept = slice(None) if isinstance(s.weight, Conv) else every.values != 0
            stored = zip(every.targets[kept].tolist(), every.sources[kept].tolist(), strict=True)
        own = s.name if isinstance(s.weight, Conv) else None
        for j, i in stored:
            source, target = p.core[s.source][i], p.core[s.target][j]
            incoming[target].add((s.source, i, s.delay, own))
            if source >= 0:
                outgoing[source].add((s.source, i, s.delay, own, target))
    for core in p.use.cores:
        here = {q: np.flatnonzero(p.core[q.name] == core.core) for q in graph.populations}
        assert core.neurons == sum(map(len, here.values()))
        assert (core.input_axons, core.output_axons) == (len(incoming[core.core]), len(outgoing[core.core]))
        assert core.threshold_configurations == len({int(v) for q, n in here.items() for v in q.v_threshold[n]})
        decays = {pair for q, n in here.items() for pair in zip(q.du[n].tolist(), q.dv[n].tolist(), strict=True)}
        assert core.compartment_configurations == len(decays)
    # The order in which an image was packed is one of those that its cores follow each other in.
    found = []
    images = {s.target: s.weight.output_shape for s in graph.synapses if isinstance(s.weight, Conv)}
    for together in (1, 4, 16, 64, 0):
        orders = {
            name: image_order(shape, together or shape[0])
            for name, shape in images.items()
            if not together or shape[0] % together == 0
        }
        if all((np.diff(p.core[name][order]) >= 0).all() for name, order in orders.items()):
            found.append(memory_bits(retimed, p, form, orders))
    assert [core.synaptic_memory_bytes * 8 for core in p.use.cores] in found


def random_conv(
    rng: np.random.Generator,
    input_shape: tuple[int, int, int],
    channels: int | None = None,
    size: tuple[int, int] | None = None,
) -> Conv:
    """Any kernel, stride, padding, dilation and groups; else than that as large as what it makes of the input."""
    groups = int(rng.choice([g for g in (1, 2, 4) if input_shape[0] % g == 0 and (channels or g) % g == 0]))
    channels = channels or groups * int(rng.choice([1, 2, 4, 8]))
    taps, stride, dilation = rng.integers(1, 4, 2), rng.integers(1, 3, 2), rng.integers(1, 3, 2)
    padding = rng.integers(0, 3, 2)
    size = size or np.maximum((input_shape[1:] + 2 * padding - dilation * (taps - 1) - 1) // stride + 1, 1).tolist()
    values = 2 * rng.integers(-99, 99, (channels, input_shape[0] // groups, *taps)).astype(np.int16)
    y_x = (tuple(pair.tolist()) for pair in (stride, padding, dilation))
    geometry = dict(zip(("stride", "padding", "dilation"), y_x, strict=True))
    return Conv(values, input_shape, (channels, size[0], size[1]), groups=groups, **geometry)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_every_core_keeps_every_rule_counted_anew(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.choice([1, 2, 4])), *rng.integers(2, 8, 2).tolist())
    first = random_conv(rng, shape)
    second = random_conv(rng, first.output_shape)
    onto_second = random_conv(rng, shape, *second.output_shape[:1], second.output_shape[1:])
    sizes = [first.shape[1], first.shape[0], second.shape[0], int(rng.integers(1, 40))]
    channels = [1, first.output_shape[0], second.output_shape[0], 1]
    populations = [population("p0", "input", sizes[0])]
    for i in range(1, 4):
        per_channel = np.repeat(rng.integers(1, 6, channels[i]), sizes[i] // channels[i])
        decay = rng.integers(0, 3, sizes[i]) if rng.random() < 0.3 else 7
        populations.append(population(f"p{i}", "lif", sizes[i], dv=decay, v_threshold=per_channel))
    synapses: list[tuple[str, str, Weights, int]] = [
        ("p0", "p1", first, 0),
        ("p1", "p2", second, int(rng.integers(0, 3))),
    ]
    if rng.random() < 0.3:
        synapses.append(("p0", "p2", onto_second, int(rng.integers(0, 3))))
    for _ in range(rng.integers(0, 4)):
        a, b = rng.integers(0, 4), rng.integers(1, 4)
        given_ = rng.random((sizes[b], sizes[a])) < rng.choice([0.1, 1])
        weight = (2 * rng.integers(-9, 9, given_.shape) * given_).astype(np.int16)
        delay = int(rng.integers(0, 5)) if a < b else int(rng.integers(3, 9))
        synapses.append((f"p{a}", f"p{b}", Sparse.of(weight) if rng.random() < 0.5 else weight, delay))
    retimed = net(populations, *synapses)
    small = chip(
        neurons_per_core=int(rng.integers(20, 200)),
        synaptic_memory_bits_per_core=int(rng.integers(3000, 60000)),
        input_axons_per_core=int(rng.integers(40, 400)),
        output_axons_per_core=int(rng.integers(60, 1000)),
        threshold_configurations_per_core=int(rng.integers(2, 8)),
        compartment_configurations_per_core=5,
    )
    form = dataclasses.replace(FORM, axon_offsets=int(rng.choice([3, 17, 64, 256])))
    small = dataclasses.replace(small, synapse_format=form)
    fill = float(rng.choice([1, 0.5]))
    p = partition(retimed, small, fill)
    counted_anew(retimed, p, form)
    of_the_chip = [problem for problem in p.use.problems if not problem.startswith("fill ")]
    assert (not of_the_chip) == all(max(core.per_cent.values()) <= 100 for core in p.use.cores)
    assert {rule.limit for rule in RULES} == set(p.use.cores[0].per_cent)
    # The same placement, counted from a program that does not tell how it was packed.
    program, use = _placed(retimed, small, fill, 1e-3, {"relays": list(retimed.relays)}, None)
    assert use == p.use
    anew = use_of(program, small)
    cores = tuple(dataclasses.replace(core, closed_by=None) for core in use.cores)
    assert anew.cores == cores and (anew.chips, anew.binding) == (use.chips, use.binding)
    if use.fits:
        assert anew == dataclasses.replace(use, cores=cores)


@pytest.mark.parametrize(
    ("taps", "shape", "memory"),
    [(3, (8, 1), 5000), (3, (8, 1), 6000), (3, (8, 2), 7000), (5, (4, 1), 9000), (5, (4, 2), 15000)],
)
def test_memory_that_convolutions_fill_counted_anew(taps: int, shape: tuple[int, int], memory: int) -> None:
    """Lists that axons share are counted on the whole core: those of parts of it do not add up."""
    to, of = shape
    conv = Conv(kernel(to, of, taps, taps), (of, 8, 8), (to, 8, 8), padding=(taps // 2, taps // 2))
    retimed = feed(conv.shape[1], conv.shape[0], conv)
    p = partition(retimed, chip(synaptic_memory_bits_per_core=memory))
    counted_anew(retimed, p, FORM)
    assert p.use.fits and len(p.use.cores) > 1


def test_convolutions_share_no_axons() -> None:
    # An axon has one offset, and the lists of a and b lie at different ones.
    one, other = (Conv(kernel(c, 1, 3, 3), (1, 8, 8), (c, 8, 8), padding=(1, 1)) for c in (4, 2))
    populations = [population(*args) for args in (("i", "input", 64), ("a", "lif", 256), ("b", "lif", 128))]
    for onto_b in (other, dense(64, 128)):
        retimed = net(populations, ("i", "a", one, 0), ("i", "b", onto_b, 0))
        p = partition(retimed, CHIP)
        assert [core.input_axons for core in p.use.cores] == [128]
        counted_anew(retimed, p, FORM)
    # The other end: a neuron has an output axon for each.
    behind = [population(*args) for args in (("i", "input", 1), ("n", "lif", 64), ("a", "lif", 256), ("b", "lif", 128))]
    p = partition(net(behind, ("i", "n", dense(1, 64), 0), ("n", "a", one, 0), ("n", "b", other, 0)), CHIP)
    assert [core.output_axons for core in p.use.cores] == [128]


def test_a_packing_that_does_not_settle_is_no_limit_of_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    populations = [population("i", "input", 1), population("a", "lif", 8), population("b", "lif", 8)]
    graph = net(populations, ("i", "a", dense(1, 8), 0), ("a", "b", dense(8, 8), 0))
    limits = {"neurons_per_core": 2, "output_axons_per_core": 4}
    assert partition(graph, chip(**limits)).use.fits
    monkeypatch.setattr("muspike.hardware.mapping.partition._REPACKINGS", 1)
    use = partition(graph, chip(**limits)).use
    assert not use.fits
    for c, problem in enumerate(use.problems):
        assert problem.startswith(
            "muspike found no packing in 20 attempts, which does not mean that there is none; in the last one: "
        )
        assert problem.endswith(f"core {c} ('a'): 8 output axons, loihi1 holds 4 on a core")
    assert use.remedies == ("output_axons_per_core: another fill, with which the cores are packed otherwise",)


def test_packings_that_cannot_win_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []
    grown = added

    def counted(*args: Any) -> Any:
        loads.append(args)
        return grown(*args)

    monkeypatch.setattr("muspike.hardware.mapping.partition.added", counted)
    conv = Conv(kernel(16, 16, 1, 1), (16, 16, 16), (16, 16, 16))
    assert len(image(conv, input_axons_per_core=256).use.cores) == 16  # 4 together: 64, one channel after another: 256
    assert len({id(args[0]) for args in loads}) < 16 * 5
