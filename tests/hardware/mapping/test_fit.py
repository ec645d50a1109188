from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import chip_programs
from chip_limits import chip
from chip_programs import population
from muspike.hardware.chip import Chip, load_chip
from muspike.hardware.mapping.compile import Compiled, compile_graph, spread_over
from muspike.hardware.mapping.fit import use_of
from muspike.hardware.mapping.lists import entry_bits, list_bits
from muspike.hardware.mapping.partition import RULES, Use
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.weights import Conv, unrolled
from random_nir import random_graph
from small_nir import chain, graph, lif

LOIHI1 = load_chip("loihi1")


def check_equal_uses(compiled: Compiled, path: Path) -> Use:
    """Asserts that the use is the one worked out from the program's file."""
    compiled.program.save(path)
    cores = tuple(dataclasses.replace(core, closed_by=None) for core in compiled.use.cores)
    found = use_of(Program.load(path), compiled.chip)
    assert found == dataclasses.replace(compiled.use, cores=cores)
    return found


def convolutions(channels: int) -> nir.NIRGraph:
    """Two convolutions, a pool, and a readout behind a delay that takes relays on a chip of short delays."""
    rng = np.random.default_rng(channels)

    def conv(to: int, of: int) -> nir.Conv2d:
        return nir.Conv2d(None, rng.normal(size=(to, of, 3, 3)), 1, 1, 1, 1, np.zeros(to))

    nodes = {
        "in": nir.Input(np.array([2, 12, 12])),
        "c1": conv(channels, 2),
        "n1": lif(channels * 144),
        "c2": conv(channels, channels),
        "n2": lif(channels * 144),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([channels, 6, 6])}, 0, -1),
        "w": nir.Linear(rng.normal(size=(5, channels * 36))),
        "late": nir.Delay(np.full(5, 0.08)),
        "n3": lif(5),
        "out": nir.Output(np.array([5])),
    }
    for name in ("n1", "n2"):
        node = nodes[name]
        for field in ("tau", "r", "v_leak", "v_threshold", "v_reset"):
            setattr(node, field, getattr(node, field).reshape(channels, 12, 12))
    return graph(nodes, chain(*nodes), dt=1e-3)


@pytest.mark.parametrize("channels", [4, 16])
@pytest.mark.parametrize(
    "on",
    [
        LOIHI1,
        load_chip("loihi2"),
        chip(neurons_per_core=100),
        chip(input_axons_per_core=3000),
        chip(synaptic_memory_bits_per_core=400_000),
        chip(cores_per_chip=3, neurons_per_core=900),
    ],
    ids=["loihi1", "loihi2", "neurons", "axons", "memory", "several chips"],
)
def test_the_use_of_a_saved_program_is_that_of_the_compiled_network(channels: int, on: Chip, tmp_path: Path) -> None:
    compiled = compile_graph(convolutions(channels), on, must_fit=False)
    assert compiled.use.relay_neurons and compiled.use.fits
    found = check_equal_uses(compiled, tmp_path / "p.npz")
    assert found.chips == -(-len(found.cores) // (on.limits.cores_per_chip.value or 1))
    for spread in spread_over(compiled)[1:]:
        check_equal_uses(spread, tmp_path / "p.npz")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["loihi1", "loihi2"]))
def test_the_use_of_a_saved_random_program(tmp_path_factory: pytest.TempPathFactory, seed: int, on: str) -> None:
    compiled = compile_graph(random_graph(seed), on)
    check_equal_uses(compiled, tmp_path_factory.mktemp("random") / "p.npz")


def test_a_network_that_fits_nowhere_is_told_of_in_the_same_words(tmp_path: Path) -> None:
    # Each neuron alone has too many input axons, so each lies alone, and both say so.
    nodes = {
        "in": nir.Input(np.array([9])),
        "w": nir.Linear(np.ones((2, 9))),
        "n": lif(2),
        "o": nir.Output(np.array([2])),
    }
    compiled = compile_graph(graph(nodes, chain(*nodes), dt=1e-3), chip(input_axons_per_core=8), must_fit=False)
    found = check_equal_uses(compiled, tmp_path / "p.npz")
    assert found.problems[0] == "core 0 ('n'): 9 input axons, loihi1 holds 8 on a core"
    assert found.remedies == ("input_axons_per_core: fewer sources of a neuron",)


def crowded(**fields: Any) -> Program:
    """Three inputs onto six neurons on core 1 of two, from which one goes back to another, after `delay` ticks."""
    delay = fields.pop("delay", 1)
    weight = fields.pop("weight", 2)
    xy = fields.pop("core_xy", np.zeros((2, 2), int))
    populations = [population("i", 3, "input"), population("n", 6, **({"core": 1} | fields))]
    synapses = [
        ChipSynapses("w", "i", "n", np.full((6, 3), weight, np.int16), 0, 1),
        ChipSynapses("back", "n", "n", np.full((6, 6), 2, np.int16), 0, delay),
    ]
    return Program("loihi1", 1e-3, populations, synapses, xy)


def bits(sources: int, targets: int, delay: int = 1) -> int:
    form = LOIHI1.synapse_format
    return sources * int(list_bits(np.array(targets), entry_bits(delay, None, form), form))


@pytest.mark.parametrize(
    ("on", "fields", "message"),
    [
        (chip(neurons_per_core=5), {}, "core 1 ('n'): 6 neurons, loihi1 holds 5 on a core"),
        (
            chip(synaptic_memory_bits_per_core=bits(9, 6) - 1),
            {},
            f"core 1 ('n'): {bits(9, 6)} bits of synaptic memory, loihi1 holds {bits(9, 6) - 1} on a core",
        ),
        (chip(input_axons_per_core=8), {}, "core 1 ('n'): 9 input axons, loihi1 holds 8 on a core"),
        (chip(output_axons_per_core=5), {}, "core 1 ('n'): 6 output axons, loihi1 holds 5 on a core"),
        (
            chip(threshold_configurations_per_core=5),
            {"v_threshold": np.arange(6)},
            "core 1 ('n'): 6 threshold configurations, loihi1 holds 5 on a core",
        ),
        (
            chip(compartment_configurations_per_core=2),
            {"dv": np.array([1, 2, 2, 2, 1, 1]), "du": np.array([1, 1, 1, 2, 2, 2])},
            "core 1 ('n'): 4 compartment configurations, loihi1 holds 2 on a core",
        ),
        (chip(cores_per_chip=1), {}, "chip 0: 2 cores, loihi1 holds 1 on a chip"),
        (chip(synaptic_delay=3), {"delay": 5}, "synapses 'back': a delay of 5 ticks; loihi1 can delay by 1 to 4 ticks"),
    ],
)
def test_every_limit_holds_to_the_last_one_and_is_said(on: Chip, fields: dict[str, Any], message: str) -> None:
    assert use_of(crowded(**fields), on).problems == (message,)
    (name,) = (name for name, limit in vars(on.limits).items() if limit != getattr(LOIHI1.limits, name))
    room = {"synaptic_delay": 4, "compartment_configurations_per_core": 4}.get(name, getattr(on.limits, name).value + 1)
    assert use_of(crowded(**fields), chip(**{name: room})).fits


def test_graded_inputs_are_held_against_the_chip() -> None:
    binary = crowded()
    graded = dataclasses.replace(binary.population("i"), graded_bits=16)
    program = Program("loihi1", 1e-3, [graded, binary.population("n")], binary.synapses, binary.core_xy)
    assert use_of(program, LOIHI1).problems == ("input 'i': graded spikes of 16 bits, a spike of loihi1 carries 0",)
    assert use_of(program, chip(graded_spike_bits=16)).fits


def test_every_limit_has_its_case() -> None:
    named = {rule.limit for rule in RULES} | {"cores_per_chip", "synaptic_delay", "graded_spike_bits"}
    assert named == {field.name for field in dataclasses.fields(LOIHI1.limits)}


def narrower(**ranges: tuple[int, int, int]) -> Chip:
    """A Loihi 1 whose registers hold only (low, high, step)."""
    made = {
        name: dataclasses.replace(getattr(LOIHI1.ranges, name), low=low, high=high, step=step)
        for name, (low, high, step) in ranges.items()
    }
    return dataclasses.replace(LOIHI1, ranges=dataclasses.replace(LOIHI1.ranges, **made))


@pytest.mark.parametrize(
    ("on", "fields", "message"),
    [
        (
            narrower(v_threshold=(0, 99, 1)),
            {},
            "v_threshold of neuron 0 is 100 (and 5 more are outside), loihi1 holds 0 to 99",
        ),
        (
            narrower(dv=(10, 4095, 1)),
            {"dv": np.array([10, 4096, 4095, 9, 10, 10])},
            "dv of neuron 3 is 9, loihi1 holds 10 to 4096",
        ),
        (
            narrower(du=(0, 4094, 1)),
            {"du": np.array([7] * 5 + [4095])},
            "du of neuron 5 is 4095, loihi1 holds 0 to 4094",
        ),
        (
            narrower(bias_mant=(-8, 8, 4)),
            {"bias_mant": np.array([-8, 4, 0, 8, 6, 12])},
            "bias_mant of neuron 4 is 6 (and 1 more are outside), loihi1 holds -8 to 8 in steps of 4",
        ),
        (
            narrower(bias_exp=(0, 3, 1)),
            {"bias_exp": np.array([0, 1, 2, 3, 4, 3])},
            "bias_exp of neuron 4 is 4, loihi1 holds 0 to 3",
        ),
    ],
)
def test_every_register_is_held_against_the_chip(on: Chip, fields: dict[str, Any], message: str) -> None:
    assert use_of(crowded(**fields), on).problems == (f"core 1 ('n'): {message}",)
    assert use_of(crowded(**fields), LOIHI1).fits


def test_weights_are_held_against_the_chip() -> None:
    (problem,) = use_of(crowded(weight=-130), narrower(weight=(-128, 126, 2))).problems
    assert problem == "synapses 'w': a weight is -130 (and 17 more are outside), loihi1 holds -128 to 126 in steps of 2"
    (problem, _) = use_of(crowded(weight=6), narrower(weight=(-256, 252, 4))).problems
    assert problem == "synapses 'w': a weight is 6 (and 17 more are outside), loihi1 holds -256 to 252 in steps of 4"


def test_too_many_cores_on_a_tile() -> None:
    xy = np.array([[1, 2]] * 5)
    assert use_of(crowded(core_xy=xy), LOIHI1).problems == ("tile (1, 2): 5 cores, loihi1 holds 4 on a tile",)


def test_all_that_is_exceeded_is_said() -> None:
    assert (
        len(use_of(crowded(delay=5), chip(neurons_per_core=5, input_axons_per_core=8, synaptic_delay=3)).problems) == 3
    )


def test_a_program_of_inputs_alone_takes_no_core() -> None:
    use = use_of(Program("loihi1", 1e-3, [population("i", 3, "input")], [], np.zeros((0, 2), int)), LOIHI1)
    assert use.fits and (use.cores, use.chips, use.neurons) == ((), 0, 0)


def scattered(core: npt.NDArray[np.int32], conv: Conv) -> Program:
    populations = [population("i", conv.shape[1], "input"), population("n", conv.shape[0], core=core)]
    xy = np.zeros((int(core.max()) + 1, 2), int)
    return Program("loihi1", 1e-3, populations, [ChipSynapses("w", "i", "n", conv, 0, 1)], xy)


@pytest.mark.parametrize("seed", range(8))
def test_lists_of_a_convolution_whose_neurons_lie_anywhere(seed: int) -> None:
    """No two sources share a list that is not the same list but for an offset."""
    rng = np.random.default_rng(seed)
    conv = Conv(2 * rng.integers(-99, 99, (2, 2, 3, 2)).astype(np.int16), (2, 7, 6), (2, 7, 6), padding=(1, 1))
    core = rng.permutation(np.arange(conv.shape[0], dtype=np.int32) % 3)
    dense, form = unrolled(conv).columns.toarray(), LOIHI1.synapse_format
    channels = np.arange(conv.shape[1]) // 42
    taps = unrolled(dataclasses.replace(conv, kernel=np.ones_like(conv.kernel))).columns.toarray() != 0
    for c, found in enumerate(use_of(scattered(core, conv), LOIHI1).cores):
        mine = np.flatnonzero(core == c)
        kept: set[tuple[int, ...]] = set()
        for source in range(conv.shape[1]):
            places = np.flatnonzero(taps[mine, source])
            if len(places):
                weights = dense[mine[places], source]
                kept.add((channels[source], *(places - places[0]).tolist(), *weights.tolist()))
        entry = entry_bits(1, len(mine) - 1, form)
        lengths = np.array([(len(content) - 1) // 2 for content in kept])
        assert found.synaptic_memory_bytes * 8 >= list_bits(lengths, entry, form).sum()
        assert found.neurons == len(mine)


def test_far_too_many_neurons() -> None:
    made = chip_programs.program([population("n", 5000)], [])
    assert use_of(made, "loihi1").problems == ("core 0 ('n'): 5000 neurons, loihi1 holds 1024 on a core",)
