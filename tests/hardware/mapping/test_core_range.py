"""Cores and memory on Loihi 2, against the logs of Intel's compiler in lava-dl's notebooks.

The logs print, for each layer, the neurons of a core, the words of synaptic memory of a core, and the cores.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from chip_limits import chip as loihi1_with
from float_populations import population
from muspike.hardware.chip import load_chip
from muspike.hardware.graph import Population, SpikingGraph, Synapses
from muspike.hardware.mapping.compile import Compiled, compile_graph
from muspike.hardware.mapping.core_range import cores_between, intel_cores
from muspike.hardware.mapping.lists import lists
from muspike.hardware.weights import Conv

LOIHI2 = load_chip("loihi2")
TAU = 4.0
WORD = 32

# PilotNet-LIF (pilotnet_snn/benchmark.ipynb): the image of each convolution, its strides and paddings in (y, x), and
# the sizes of the dense layers, each with the cores of the log.
IMAGES = (
    ((3, 66, 200), (2, 2), (0, 0), 13),
    ((24, 32, 99), (2, 2), (0, 0), 25),
    ((36, 15, 49), (2, 2), (0, 0), 13),
    ((48, 7, 24), (2, 2), (0, 0), 3),
    ((64, 4, 22), (2, 1), (1, 0), 3),
    ((64, 2, 20), (1, 1), (0, 0), 2),
)
DENSE = ((100, 12), (50, 1), (10, 1), (1, 1))
# The words of synaptic memory of the last three dense layers, and of the first over all of its cores.
WORDS = {"dense1": 1300, "dense2": 150, "dense3": 10}
FIRST_DENSE_WORDS = 12 * 7253


def image_population(name: str, shape: tuple[int, int, int], bias: float = 0.0) -> Population:
    made = population(name, "lif", int(np.prod(shape)), tau=TAU, v_threshold=25.0, bias=bias)
    return dataclasses.replace(made, shape=shape)


@pytest.fixture(scope="module")
def pilotnet() -> Compiled:
    """The shapes of PilotNet-LIF with random weights, of which 73 % are 0 in the first dense layer as in Intel's."""
    rng = np.random.default_rng(0)

    def weights(*shape: int, zeros: float = 0.1) -> Any:
        return 2 * TAU * rng.integers(-6, 7, shape) * (rng.random(shape) >= zeros)

    populations = [image_population("image0", IMAGES[0][0], bias=TAU * 5 / 64)]
    synapses = []
    for n, (shape, stride, padding, _) in enumerate(IMAGES[1:], 1):
        before = IMAGES[n - 1][0]
        kernel = weights(shape[0], before[0], 3, 3)
        populations.append(image_population(f"image{n}", shape))
        conv = Conv(kernel, before, shape, stride=stride, padding=padding)
        synapses.append(Synapses(f"w{n}", f"image{n - 1}", f"image{n}", conv, 0))
    for n, (size, _) in enumerate(DENSE):
        before_name, before_size = (populations[-1].name, populations[-1].size)
        populations.append(population(f"dense{n}", "lif", size, tau=TAU, v_threshold=25.0))
        matrix = weights(size, before_size, zeros=0.73 if n == 0 else 0.1)
        synapses.append(Synapses(f"d{n}", before_name, f"dense{n}", matrix, 0))
    return compile_graph(SpikingGraph(populations, synapses, 1e-3, outputs=("dense3",)), LOIHI2)


def test_every_layer_of_pilotnet_takes_the_cores_that_intels_log_says(pilotnet: Compiled) -> None:
    expected = {f"image{n}": cores for n, (*_, cores) in enumerate(IMAGES)}
    expected |= {f"dense{n}": cores for n, (_, cores) in enumerate(DENSE)}
    assert sum(expected.values()) == 74
    assert intel_cores(pilotnet.retimed, LOIHI2) == expected
    fewest, most = pilotnet.cores_between or (0, 0)
    assert most == 74 and fewest < pilotnet.program.n_cores < most
    assert pilotnet.quantisation.kept and pilotnet.use.fits


def dense_words(compiled: Compiled, name: str, parts: int = 1) -> int:
    """The words of the dense lists onto a population that is cut into `parts`."""
    (synapses,) = [s for s in compiled.retimed.graph.synapses if s.target == name]
    size = synapses.weight.shape[0]
    of = lists(synapses, False, LOIHI2, np.arange(size))
    length = -(-size // parts)
    return sum(of.on_core(a, min(a + length, size), 0)[0] for a in range(0, size, length)) // WORD


def test_the_memory_of_dense_layers_is_that_of_the_log(pilotnet: Compiled) -> None:
    assert {name: dense_words(pilotnet, name) for name in WORDS} == WORDS
    assert dense_words(pilotnet, "dense0", parts=12) == pytest.approx(FIRST_DENSE_WORDS, abs=12)


@pytest.fixture(scope="module")
def oxford() -> Compiled:
    """200 -> 256 -> 200, dense (oxford/run.ipynb)."""
    rng = np.random.default_rng(0)
    populations = [
        population("input", "input", 200),
        population("a", "lif", 256, tau=TAU, v_threshold=80.0),
        population("b", "lif", 200, tau=TAU, v_threshold=80.0),
    ]
    synapses = [
        Synapses("wa", "input", "a", 2 * TAU * rng.integers(-128, 128, (256, 200)), 0),
        Synapses("wb", "a", "b", 2 * TAU * rng.integers(-128, 128, (200, 256)), 0),
    ]
    return compile_graph(SpikingGraph(populations, synapses, 1e-3, outputs=("b",)), LOIHI2)


def test_what_is_known_of_oxford_and_what_is_not(oxford: Compiled) -> None:
    """The log has 16,200 + 16,128 words on 3 + 2 cores: by its count, it seems, 10 bits a synapse, and not our 8."""
    words = dense_words(oxford, "a") + dense_words(oxford, "b")
    assert words == 27_424 and words / (16_200 + 16_128) == pytest.approx(0.848, abs=0.001)
    ten = dataclasses.replace(LOIHI2.synapse_format, weight_bits=10)
    as_log = sum(
        lists(s, False, dataclasses.replace(LOIHI2, synapse_format=ten), np.arange(s.weight.shape[0])).on_core(
            0, s.weight.shape[0], 0
        )[0]
        for s in oxford.retimed.graph.synapses
    )
    assert as_log / WORD / (16_200 + 16_128) == pytest.approx(1.04, abs=0.01)
    assert intel_cores(oxford.retimed, LOIHI2) == {"a": 2, "b": 2}  # the log: 3 and 2
    assert oxford.cores_between == (1, 4) and oxford.program.n_cores == 3


def test_a_chip_on_which_the_sources_agree_has_no_range(oxford: Compiled) -> None:
    assert cores_between(oxford.retimed, load_chip("loihi1")) is None
    assert compile_graph(oxford.graph, loihi1_with(neurons_per_core=300)).cores_between is None
