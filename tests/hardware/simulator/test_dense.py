"""The simulator by matrix products against the event-driven one: the same s, u, v and counts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chip_programs import population, program
from graded_spikes import graded_spikes, with_graded_inputs
from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.dense import DenseSimulator
from muspike.hardware.simulator.events import Run, Simulator
from muspike.hardware.weights import Conv, Sparse

Spikes = npt.NDArray[np.uint8]


def random_population(rng: np.random.Generator, name: str, kind: str, size: int, interval: int = 0) -> ChipPopulation:
    """Any registers, most of them so that the neurons fire now and then."""
    registers = {
        "du": rng.choice([0, 1, 700, 2047, 4095, 4096], size),
        "dv": rng.choice([0, 512, 2048, 4095, 4096], size),
        "v_threshold": rng.integers(0, 2000, size),
        "bias_mant": rng.integers(-4096, 4096, size) * rng.integers(0, 2, size),
        "bias_exp": rng.integers(0, 4, size),
    }
    return population(name, size, kind, reset_interval=interval, reset_offset=interval // 2, **registers)


def random_program(
    seed: int, stride: int = 1, padding: int = 1, dilation: int = 1, groups: int = 1, extra: int = 0
) -> Program:
    """Input -> convolution -> loop of lists -> dense to a readout, and the input past it with the largest weights."""
    rng = np.random.default_rng(seed)
    out = [(n + 2 * padding - 2 * dilation - 1) // stride + 1 + extra for n in (7, 8)]
    conv = Conv(
        2 * rng.integers(-60, 80, (4, 4 // groups, 3, 3)), (4, 7, 8), (4, out[0], out[1]),
        (stride, stride), (padding, padding), (dilation, dilation), groups,
    )  # fmt: skip
    hidden = conv.shape[0]
    loop = 2 * rng.integers(-90, 90, (hidden, hidden)) * (rng.random((hidden, hidden)) < 0.1)
    populations = [
        random_population(rng, "in", "input", 224),
        random_population(rng, "h", "lif", hidden, interval=9),
        random_population(rng, "out", "li", 5),
    ]
    synapses = [
        ChipSynapses("conv", "in", "h", conv, 0, 2),
        ChipSynapses("loop", "h", "h", Sparse.of(loop), 1, 3),
        ChipSynapses("dense", "h", "out", 2 * rng.integers(-128, 128, (5, hidden)), 0, 1),
        ChipSynapses("past", "in", "out", rng.choice([-256, 254], (5, 224)), 7, 1),
    ]
    return program(populations, synapses)


def spikes(seed: int, ticks: int, batch: int) -> Spikes:
    rng = np.random.default_rng(seed)
    return (rng.random((ticks, batch, 224)) < rng.choice([0.02, 0.3, 1], (ticks, 1, 1))).astype(np.uint8)


def assert_same(ours: Run, events: Run) -> None:
    for mine, theirs in (
        (ours.spikes, events.spikes),
        (ours.membrane, events.membrane),
        (ours.current, events.current),
    ):
        assert mine.keys() == theirs.keys()
        for name in theirs:
            assert mine[name].dtype == theirs[name].dtype
            np.testing.assert_array_equal(mine[name], theirs[name], name)
    assert dict(ours.overflows) == dict(events.overflows)
    assert dict(ours.readout_resets) == dict(events.readout_resets)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 99), st.integers(1, 3), st.integers(0, 2), st.integers(1, 2), st.sampled_from([1, 2, 4]),
    st.integers(0, 2), st.sampled_from([1, 3]), st.booleans(),
)  # fmt: skip
def test_equals_the_event_driven_one(
    seed: int, stride: int, padding: int, dilation: int, groups: int, extra: int, batch: int, record: bool
) -> None:
    p = random_program(seed, stride, padding, dilation, groups, extra)
    inputs = spikes(seed, 25, batch)
    events = Simulator(p, batch).run(inputs, record)
    assert events.spikes["h"].any()
    assert_same(DenseSimulator(p, batch).run(inputs, record), events)


@pytest.mark.parametrize("bits", [[1], [4], [16]])
def test_graded_spikes_are_those_of_the_event_driven_one(bits: list[int]) -> None:
    p = with_graded_inputs(random_program(3), bits)
    inputs = graded_spikes(4, p, ticks=30, batch=3, rate=0.1, most=400)
    ours, events = (
        simulator.run(inputs, record_membranes=True) for simulator in (DenseSimulator(p, 3), Simulator(p, 3))
    )
    assert_same(ours, events)
    assert sum(events.overflows.values()) > 0 and events.spikes["h"].any()


def test_sums_beyond_float32() -> None:
    """140,000 spikes at once of the largest weight and one of the smallest: beyond 2^25 float32 has no 4 n + 2."""
    rng = np.random.default_rng(0)
    weight = np.full((2, 140_001), -256)
    weight[1], weight[:, -1] = 254, 2
    p = program(
        [random_population(rng, "in", "input", 140_001), random_population(rng, "out", "li", 2)],
        [ChipSynapses("s", "in", "out", weight, 0, 1)],
    )
    assert np.float32(weight[0].sum()) != weight[0].sum()
    inputs = np.ones((3, 1, 140_001), np.uint8)
    assert_same(DenseSimulator(p).run(inputs, True), Simulator(p).run(inputs, True))


def test_a_run_cut_in_pieces_is_the_same_run() -> None:
    p = random_program(4)
    inputs = spikes(4, 40, 2)
    whole = Simulator(p, 2).run(inputs)
    sim = DenseSimulator(p, 2)
    for _ in range(2):  # the second time after a reset
        sim.reset()
        parts = [sim.run(inputs[a:b]) for a, b in ((0, 1), (1, 1), (1, 8), (8, 29), (29, 40))]
        np.testing.assert_array_equal(np.concatenate([r.spikes["h"] for r in parts]), whole.spikes["h"])
        np.testing.assert_array_equal(np.concatenate([r.membrane["out"] for r in parts]), whole.membrane["out"])


def test_a_program_without_inputs() -> None:
    rng = np.random.default_rng(1)
    p = program([random_population(rng, "h", "lif", 9)], [])
    silence = np.zeros((30, 2, 0), np.uint8)
    events = Simulator(p, 2).run(silence, True)
    assert events.spikes["h"].any()
    assert_same(DenseSimulator(p, 2).run(silence, True), events)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_equals_the_event_driven_one_on_cuda() -> None:
    p = random_program(3, stride=2, groups=2)
    inputs = spikes(3, 60, 17)
    assert_same(DenseSimulator(p, 17, "cuda").run(inputs, True), Simulator(p, 17).run(inputs, True))


def test_what_it_refuses() -> None:
    p = random_program(0)
    with pytest.raises(BadInput, match="batch is 0"):
        DenseSimulator(p, 0)
    with pytest.raises(BadInput, match="device is 'abacus'"):
        DenseSimulator(p, 1, "abacus")
    with pytest.raises(BadInput, match="shape"):
        DenseSimulator(p, 2).run(np.zeros((4, 1, 224), np.uint8))
