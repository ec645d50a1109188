"""The simulator against a plain NumPy reading of the equations, and what it promises about state and input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chip_equations import trace
from chip_programs import population, program
from graded_spikes import graded_spikes, with_graded_inputs
from muspike.errors import BadInput
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.simulator.events import Run, Simulator
from muspike.hardware.weights import Conv, Sparse
from random_programs import programs

Spikes = npt.NDArray[np.uint8]


def single(weight: int, ticks: list[int], weight_exp: int = 0, delay: int = 1, **values: Any) -> Run:
    """One neuron, one synapse, input spikes at `ticks`, 12 ticks."""
    p = program(
        [population("in", 1, "input"), population("n", 1, **values)],
        [ChipSynapses("s", "in", "n", np.array([[weight]]), weight_exp, delay)],
    )
    inputs = np.zeros((12, 1, 1), np.uint8)
    inputs[ticks] = 1
    return Simulator(p).run(inputs, record_membranes=True)


def assert_equal(p: Program, run: Run, inputs: npt.NDArray[Any]) -> None:
    spikes, u, v, overflows = trace(p, inputs)
    for q in p.populations:
        if q.kind != "li":
            np.testing.assert_array_equal(run.spikes[q.name], spikes[q.name], q.name)
        else:
            assert run.readout_resets[q.name] == spikes[q.name].sum()
        if q.kind != "input":
            np.testing.assert_array_equal(run.current[q.name], u[q.name], q.name)
            np.testing.assert_array_equal(run.membrane[q.name], v[q.name], q.name)
    assert dict(run.overflows) == overflows


@settings(max_examples=200, deadline=None)
@given(programs(), st.integers(1, 3), st.sampled_from([1, 2, 70]), st.integers(0, 99), st.floats(0.05, 1))
def test_equals_the_equations(p: Program, batch: int, ticks: int, seed: int, rate: float) -> None:
    size = sum(q.size for q in p.inputs)
    inputs = (np.random.default_rng(seed).random((ticks, batch, size)) < rate).astype(np.uint8)
    assert_equal(p, Simulator(p, batch).run(inputs, record_membranes=True), inputs)


@settings(max_examples=150, deadline=None)
@given(
    programs(),
    st.integers(1, 3),
    st.sampled_from([1, 2, 70]),
    st.integers(0, 99),
    st.floats(0.05, 1),
    st.lists(st.sampled_from([0, 1, 4, 16]), min_size=1, max_size=3),
)
def test_graded_spikes_are_the_equations(
    p: Program, batch: int, ticks: int, seed: int, rate: float, bits: list[int]
) -> None:
    p = with_graded_inputs(p, bits)
    inputs = graded_spikes(seed, p, ticks, batch, rate, most=300)
    assert_equal(p, Simulator(p, batch).run(inputs, record_membranes=True), inputs)


def one_graded_synapse(weight: int, weight_exp: int = 0) -> Program:
    return program(
        [population("in", 1, "input", graded_bits=16), population("n", 1, v_threshold=2**17 - 1, dv=4096)],
        [ChipSynapses("s", "in", "n", np.array([[weight]]), weight_exp, 1)],
    )


def test_a_graded_spike_multiplies_the_weight_and_its_overflow_is_counted() -> None:
    values = np.array([0, 1, 5, 16383, 16384, 65535, 0])[:, None, None]
    run = Simulator(one_graded_synapse(2)).run(values, record_membranes=True)
    assert run.membrane["n"][1:, 0, 0].tolist() == [0, 128, 640, 16383 * 128, 16384 * 128, 65535 * 128]
    assert run.overflows == {"n": 2}  # 32768 is the first sum beyond 16 bits
    assert run.spikes["in"].dtype == np.uint16 and run.spikes["in"][:, 0, 0].tolist() == values[:, 0, 0].tolist()
    shifted = Simulator(one_graded_synapse(-6, 2)).run(np.full((2, 1, 1), 7), record_membranes=True)
    assert shifted.membrane["n"][1] == -6 * 7 * 4 * 64


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([2**16], r"inputs of 'in': holds 65536; graded spikes of 16 bits are 0 to 65535"),
        ([-1], r"inputs of 'in': holds -1; graded spikes of 16 bits are 0 to 65535"),
        ([1.0], "inputs: dtype float64"),
        (
            [65535],
            r"'in': spikes of together 65,535 in a tick could bring a sum of 'n' to 2,147,450,880; at most 1,073,",
        ),
    ],
)
def test_refuses_graded_spikes(values: list[Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        Simulator(one_graded_synapse(-256, 7)).run(np.array(values)[:, None, None])


def test_graded_and_binary_inputs_side_by_side() -> None:
    p = program(
        [population("a", 2, "input", graded_bits=3), population("b", 1, "input"), population("n", 1)],
        [
            ChipSynapses("a", "a", "n", np.array([[2, 4]]), 0, 1),
            ChipSynapses("b", "b", "n", np.array([[6]]), 0, 1),
        ],
    )
    together = np.array([[[7, 2, 1]], [[0, 0, 0]]])
    by_name = {"a": together[..., :2], "b": together[..., 2:]}
    for given_as in (together, by_name):
        assert Simulator(p).run(given_as, record_membranes=True).membrane["n"][1] == (14 + 8 + 6) * 64
    with pytest.raises(BadInput, match="holds 8; graded spikes of 3 bits are 0 to 7"):
        Simulator(p).run(by_name | {"a": by_name["a"] + 1})
    with pytest.raises(BadInput, match="inputs of 'b': holds 2; spikes are 0 or 1"):
        Simulator(p).run(together + 1 * (together == 1))


def blocks(n: int, size: int) -> npt.NDArray[np.int64]:
    return np.asarray(np.kron(np.eye(n // size), np.ones((size, size))), np.int64)


@pytest.mark.parametrize(
    "mask",
    {
        "one to one": np.eye(300, dtype=int),
        "blocks of 50": blocks(300, 50),
        "blocks of 100": blocks(300, 100),
        "band": (np.abs(np.subtract.outer(np.arange(300), np.arange(300))) < 40).astype(int),
        "some sources": np.ones((300, 300), int) * (np.arange(300) // 64 % 2),
        "one synapse": np.pad(np.ones((1, 1), int), ((170, 129), (299, 0))),
        "none": np.zeros((300, 300), int),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("form", [np.asarray, Sparse.of])
def test_matrices_whose_parts_are_walked_alone(mask: tuple[str, npt.NDArray[np.int64]], form: Any) -> None:
    rng = np.random.default_rng(3)
    weight = mask[1] * 2 * rng.integers(1, 60, (300, 300))
    p = program(
        [population("in", 300, "input"), population("n", 300, du=3000, v_threshold=60)],
        [
            ChipSynapses("masked", "in", "n", form(weight), 1, 2),
            ChipSynapses("all", "in", "n", 2 * rng.integers(-9, 10, (300, 300)), 0, 1),
        ],
    )
    inputs = (rng.random((20, 2, 300)) < 0.2).astype(np.uint8)
    assert_equal(p, Simulator(p, 2).run(inputs, record_membranes=True), inputs)


def test_resets_go_on_over_runs_and_start_anew() -> None:
    """No leak, 1 a tick: v counts the ticks since the last reset, which come at 3, 8, 13 ..."""
    p = program([population("n", 2, bias_mant=1, dv=0, v_threshold=99, reset_interval=5, reset_offset=3)], [])
    sim = Simulator(p)
    silence = np.zeros((4, 1, 0), np.uint8)
    for _ in range(2):
        sim.reset()
        v = np.concatenate([sim.run(silence, record_membranes=True).membrane["n"][:, 0, 0] for _ in range(3)])
        assert v.tolist() == [1, 2, 3, 1, 2, 3, 4, 5, 1, 2, 3, 4]


def test_a_reset_keeps_what_is_under_way() -> None:
    run = single(100, [1], delay=3, du=0, reset_interval=12, reset_offset=4)
    assert run.current["n"][:6, 0, 0].tolist() == [0, 0, 0, 0, 6400, 6398]
    run = single(100, [1], delay=3, du=0, reset_interval=12, reset_offset=5)
    assert run.current["n"][:6, 0, 0].tolist() == [0, 0, 0, 0, 6400, 0]


def test_more_rows_than_a_16_bit_sum_holds() -> None:
    """600 spikes at once, all of the largest weight: summed in blocks, u wraps as 24 bits do."""
    for weight in (-256, 254):
        p = program(
            [population("in", 600, "input"), population("n", 3, du=0, dv=0)],
            [ChipSynapses("s", "in", "n", np.full((3, 600), weight), 0, 1)],
        )
        inputs = np.ones((4, 1, 600), np.uint8)
        run = Simulator(p).run(inputs, record_membranes=True)
        assert_equal(p, run, inputs)
        assert run.overflows == {"n": 9}


@pytest.fixture(scope="module")
def mixed() -> tuple[Program, Spikes]:
    """All forms of weights, a loop, a reset, and 300 ticks of 11 sequences, which is enough for threads."""
    rng = np.random.default_rng(5)
    conv = Conv(2 * rng.integers(-20, 40, (3, 2, 3, 3)), (2, 5, 6), (3, 5, 6), padding=(1, 1))
    loop = Sparse.of(2 * rng.integers(-20, 20, (90, 90)) * (rng.random((90, 90)) < 0.05))
    p = program(
        [
            population("in", 60, "input"),
            population("h", 90, du=1000, reset_interval=37, reset_offset=36),
            population("out", 4, "li", v_threshold=2**17 - 1),
        ],
        [
            ChipSynapses("a", "in", "h", conv, 0, 2),
            ChipSynapses("b", "h", "h", loop, 0, 7),
            ChipSynapses("c", "h", "out", rng.integers(-20, 20, (4, 90)) * 2, 2, 1),
        ],
    )
    return p, (rng.random((300, 11, 60)) < 0.2).astype(np.uint8)


def test_threads_give_the_same(mixed: tuple[Program, Spikes]) -> None:
    p, inputs = mixed
    assert_equal(p, Simulator(p, 11).run(inputs, record_membranes=True), inputs)


def test_a_run_cut_in_pieces_is_the_same_run(mixed: tuple[Program, Spikes]) -> None:
    p, inputs = mixed
    whole = Simulator(p, 11).run(inputs)
    assert whole.spikes["h"].any()
    sim = Simulator(p, 11)
    for _ in range(2):  # the second time after a reset
        sim.reset()
        parts = [sim.run(inputs[a:b]) for a, b in ((0, 1), (1, 1), (1, 38), (38, 229), (229, 300))]
        np.testing.assert_array_equal(np.concatenate([r.spikes["h"] for r in parts]), whole.spikes["h"])
        np.testing.assert_array_equal(np.concatenate([r.membrane["out"] for r in parts]), whole.membrane["out"])


def test_what_a_run_records() -> None:
    p = program(
        [population("out", 2, "li"), population("h", 3), population("in", 1, "input")],
        [ChipSynapses("a", "in", "h", np.full((3, 1), 100), 0, 1)],
    )
    run = Simulator(p, 2).run(np.ones((5, 2, 1), np.uint8))
    assert {n: s.shape for n, s in run.spikes.items()} == {"h": (5, 2, 3), "in": (5, 2, 1)}
    assert {n: v.shape for n, v in run.membrane.items()} == {"out": (5, 2, 2)}
    assert run.current == {}
    assert run.spikes["h"].dtype == np.uint8
    assert run.membrane["out"].dtype == np.int32
    np.testing.assert_array_equal(run.spikes["in"], 1)


def test_one_spike_by_hand() -> None:
    run = single(100, [0, 3], delay=2, du=2047, dv=0, v_threshold=199)
    assert run.current["n"][:, 0, 0].tolist() == [0, 0, 6400, 3200, 1600, 7200, 3600, 1800, 900, 450, 225, 112]
    # 6400 + 3200 + 1600 = 11200; with 7200 more above 199 * 64 = 12736: a spike
    assert run.membrane["n"][:7, 0, 0].tolist() == [0, 0, 6400, 9600, 11200, 0, 3600]
    assert np.flatnonzero(run.spikes["n"]).tolist() == [5]


def test_threshold_is_strict() -> None:
    assert not single(100, [0], v_threshold=100).spikes["n"].any()
    assert single(102, [0], v_threshold=100).spikes["n"].sum() == 1


def test_decay_rounds_toward_zero() -> None:
    run = single(-2, [0], du=4095, dv=4095, v_threshold=100)
    assert run.membrane["n"][1:3, 0, 0].tolist() == [-128, 0]
    run = single(-2, [0], du=0, dv=4096)
    assert run.current["n"][1:4, 0, 0].tolist() == [-128, -127, -126]  # 127.97 and 126.97 lose their fractions


def test_u_wraps_and_v_clips() -> None:
    """2^22 a tick: u goes to 2^23 itself, and then around; v stays at its ends."""
    p = program(
        [population("in", 8, "input"), population("n", 1, "li", du=0, dv=0, v_threshold=2**17 - 1)],
        [ChipSynapses("s", "in", "n", np.full((1, 8), -256), 5, 1)],
    )
    run = Simulator(p).run(np.ones((6, 1, 8), np.uint8), record_membranes=True)
    u = run.current["n"][:, 0, 0].astype(int).tolist()
    assert u[:3] == [0, -(2**22), -(2**22) * 4095 // 4096 + 0 - 2**22]
    assert u[3] == -(abs(u[2]) * 4095 // 4096) - 2**22 + 2**24
    assert run.membrane["n"].min() == -(2**23) + 1
    assert run.overflows == {"n": 5}


def test_a_readout_that_crosses_its_threshold_is_told() -> None:
    p = program([population("out", 1, "li", bias_mant=4095, bias_exp=7, dv=0, v_threshold=2**17 - 1)], [])
    run = Simulator(p).run(np.zeros((20, 1, 0), np.uint8))
    assert run.readout_resets == {"out": 1}  # 16 * 524160 = 8386560; the 17th is beyond 2^23 - 64


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((4, 2, 3), np.uint8), r"shape \[4, 2, 3\], not \[ticks, batch, size\] = \[ticks, 2, 5\]"),
        (np.zeros((4, 1, 5), np.uint8), r"shape \[4, 1, 5\]"),
        (np.zeros((2, 5), np.uint8), r"shape \[2, 5\]"),
        (np.zeros((4, 2, 5)), r"dtype float64"),
        (np.full((4, 2, 5), 2), r"holds 2; spikes are 0 or 1"),
        (np.full((4, 2, 5), -1), r"holds -1"),
        ({"a": np.zeros((4, 2, 2), np.uint8)}, r"given for \['a'\]; the input populations are \['a', 'b'\]"),
        ({"a": np.zeros((4, 2, 2), int), "b": np.zeros((5, 2, 3), int)}, r"equally many ticks, and last 'a' 4, 'b' 5"),
        ({"a": np.zeros((4, 2, 2), int), "b": np.zeros((4, 2, 2), int)}, r"inputs of 'b': shape"),
    ],
)
def test_refuses_inputs(inputs: Any, message: str) -> None:
    p = program([population("a", 2, "input"), population("h", 3), population("b", 3, "input")], [])
    sim = Simulator(p, 2)
    with pytest.raises(BadInput, match=message):
        sim.run(inputs)


def test_inputs_by_name_or_side_by_side() -> None:
    p = program(
        [population("a", 2, "input"), population("h", 3), population("b", 3, "input")],
        [ChipSynapses("s", "b", "h", 200 * np.eye(3, dtype=int), 0, 1)],
    )
    inputs = (np.random.default_rng(2).random((9, 1, 5)) < 0.5).astype(np.uint8)
    joined = Simulator(p).run(inputs)
    named = Simulator(p).run({"b": inputs[:, :, 2:], "a": inputs[:, :, :2]})
    np.testing.assert_array_equal(joined.spikes["h"], named.spikes["h"])
    np.testing.assert_array_equal(joined.spikes["h"][1:], inputs[:-1, :, 2:])
    np.testing.assert_array_equal(Simulator(p).run(inputs.astype(bool)).spikes["h"], joined.spikes["h"])


@pytest.mark.parametrize("batch", [0, -1, 1.0, True])
def test_refuses_a_batch(batch: Any) -> None:
    with pytest.raises(BadInput, match="batch is"):
        Simulator(program([population("h", 1)], []), batch)
