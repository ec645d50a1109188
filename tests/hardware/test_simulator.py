"""The simulator against a plain NumPy reading of the equations, and what it promises about state and input."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.errors import BadInput
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator import Run, Simulator

Spikes = npt.NDArray[np.uint8]


def population(name: str, size: int, kind: str = "lif", **values: Any) -> ChipPopulation:
    defaults = {"du": 4095, "dv": 2048, "v_threshold": 100, "bias_mant": 0, "bias_exp": 0}
    arrays = {key: np.broadcast_to(np.asarray(values.get(key, value)), size) for key, value in defaults.items()}
    core = np.full(size, -1 if kind == "input" else 0)
    return ChipPopulation(name=name, size=size, kind=kind, level=0, scale=np.ones(size), core=core, **arrays)  # type: ignore[arg-type]


def program(populations: list[ChipPopulation], synapses: list[ChipSynapses]) -> Program:
    return Program("loihi1", 1e-3, populations, synapses, np.zeros((1, 2), int))


def single(weight: int, ticks: list[int], weight_exp: int = 0, delay: int = 1, **values: Any) -> Run:
    """One neuron, one synapse, input spikes at `ticks`, 12 ticks."""
    p = program(
        [population("in", 1, "input"), population("n", 1, **values)],
        [ChipSynapses("s", "in", "n", np.array([[weight]]), weight_exp, delay)],
    )
    inputs = np.zeros((12, 1, 1), np.uint8)
    inputs[ticks] = 1
    return Simulator(p).run(inputs, record_membranes=True)


def decay(x: npt.NDArray[np.int64], d: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return np.sign(x) * ((np.abs(x) * (4096 - d)) >> 12)


def reference(p: Program, inputs: Spikes) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, int]]:
    """Spikes, u, v and overflows of every population, straight from the equations, in 64-bit integers."""
    ticks, batch, _ = inputs.shape
    s, u, v = ({q.name: np.zeros((ticks + 1, batch, q.size), np.int64) for q in p.populations} for _ in range(3))
    overflows = {q.name: 0 for q in p.populations if q.kind != "input"}
    column = 0
    for q in p.inputs:
        s[q.name][:ticks] = inputs[:, :, column : column + q.size]
        column += q.size
    for t in range(ticks):
        for q in p.populations:
            if q.kind == "input":
                continue
            a = np.zeros((batch, q.size), np.int64)
            for y in p.synapses:
                if y.target == q.name and t >= y.delay:
                    a += (s[y.source][t - y.delay] @ y.weight.T.astype(np.int64)) << y.weight_exp
            overflows[q.name] += int(((a < -(2**15)) | (a > 2**15 - 1)).sum())
            # Index -1 of the arrays is all zeros: the tick before the first.
            now = decay(u[q.name][t - 1], np.minimum(q.du.astype(np.int64) + 1, 4096)) + (a << 6)
            now = (now + 2**23 - 1) % 2**24 - (2**23 - 1)
            bias = q.bias_mant.astype(np.int64) * 2 ** q.bias_exp.astype(np.int64)
            membrane = decay(v[q.name][t - 1], q.dv.astype(np.int64)) + now + bias
            membrane = np.clip(membrane, -(2**23) + 1, 2**23 - 1)
            s[q.name][t] = membrane > q.v_threshold * 64
            u[q.name][t] = now
            v[q.name][t] = np.where(s[q.name][t] == 1, 0, membrane)
    return *({name: x[:-1] for name, x in d.items()} for d in (s, u, v)), overflows  # type: ignore[return-value]


def assert_equal(p: Program, run: Run, inputs: Spikes) -> None:
    s, u, v, overflows = reference(p, inputs)
    for q in p.populations:
        if q.kind != "li":
            np.testing.assert_array_equal(run.spikes[q.name], s[q.name], q.name)
        else:
            assert run.readout_resets[q.name] == s[q.name].sum()
        if q.kind != "input":
            np.testing.assert_array_equal(run.current[q.name], u[q.name], q.name)
            np.testing.assert_array_equal(run.membrane[q.name], v[q.name], q.name)
    assert dict(run.overflows) == overflows


@st.composite
def programs(draw: st.DrawFn) -> Program:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extreme = draw(st.booleans())  # weights and exponents that wrap u and clip v, decays that keep all
    size = st.integers(1, draw(st.sampled_from([3, 40])))

    def neurons(name: str, kind: str) -> ChipPopulation:
        n = draw(size)
        return population(
            name,
            n,
            kind,
            du=rng.choice([0, 1, 700, 2047, 4094, 4095, 4096], n),
            dv=rng.choice([0, 1, 512, 2048, 4095, 4096], n),
            v_threshold=rng.integers(0, 2**17, n) if extreme else rng.integers(0, 600, n),
            bias_mant=rng.integers(-4096, 4096, n) * rng.integers(0, 2, n),
            bias_exp=rng.integers(0, 8 if extreme else 3, n),
        )

    inputs = [population(f"in{i}", draw(size), "input") for i in range(draw(st.integers(0, 2)))]
    hidden = [neurons(f"h{i}", "lif") for i in range(draw(st.integers(1, 3)))]
    readouts = [neurons(f"out{i}", "li") for i in range(draw(st.integers(0, 1)))]
    order = draw(st.permutations(inputs + hidden + readouts))
    synapses = []
    for i in range(draw(st.integers(0, 7))):  # self-loops and several between the same two included
        source, target = draw(st.sampled_from(inputs + hidden)), draw(st.sampled_from(hidden + readouts))
        weight = rng.choice([-256, 254] if extreme else np.arange(-40, 42, 2), (target.size, source.size))
        weight *= rng.random(weight.shape) < draw(st.sampled_from([0.05, 0.5, 1.0]))
        exponent = draw(st.integers(0, 7)) if extreme else 0
        delay = draw(st.sampled_from([1, 2, 3, 17, 63]))
        synapses.append(ChipSynapses(f"s{i}", source.name, target.name, weight, exponent, delay))
    return program(order, synapses)


@settings(max_examples=150, deadline=None)
@given(programs(), st.integers(1, 3), st.sampled_from([1, 2, 70]), st.integers(0, 99), st.floats(0.05, 1))
def test_equals_the_equations(p: Program, batch: int, ticks: int, seed: int, rate: float) -> None:
    size = sum(q.size for q in p.inputs)
    inputs = (np.random.default_rng(seed).random((ticks, batch, size)) < rate).astype(np.uint8)
    assert_equal(p, Simulator(p, batch).run(inputs, record_membranes=True), inputs)


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


def test_threads_give_the_same() -> None:
    rng = np.random.default_rng(5)
    p = program(
        [population("in", 30, "input"), population("h", 50), population("out", 4, "li", v_threshold=2**17 - 1)],
        [
            ChipSynapses("a", "in", "h", rng.integers(-20, 20, (50, 30)) * 2, 0, 1),
            ChipSynapses("b", "h", "h", rng.integers(-20, 20, (50, 50)) * 2, 0, 3),
            ChipSynapses("c", "h", "out", rng.integers(-20, 20, (4, 50)) * 2, 2, 2),
        ],
    )
    inputs = (rng.random((300, 11, 30)) < 0.2).astype(np.uint8)
    assert_equal(p, Simulator(p, 11).run(inputs, record_membranes=True), inputs)


def test_a_run_cut_in_pieces_is_the_same_run() -> None:
    rng = np.random.default_rng(1)
    p = program(
        [population("in", 9, "input"), population("h", 20, du=1000), population("out", 2, "li")],
        [
            ChipSynapses("a", "in", "h", rng.integers(-30, 60, (20, 9)) * 2, 0, 2),
            ChipSynapses("b", "h", "h", rng.integers(-30, 30, (20, 20)) * 2, 0, 7),
            ChipSynapses("c", "h", "out", rng.integers(-30, 30, (2, 20)) * 2, 0, 1),
        ],
    )
    inputs = (rng.random((40, 3, 9)) < 0.3).astype(np.uint8)
    whole = Simulator(p, 3).run(inputs)
    assert whole.spikes["h"].any()
    sim = Simulator(p, 3)
    for _ in range(2):  # the second time after a reset
        sim.reset()
        parts = [sim.run(inputs[a:b]) for a, b in ((0, 1), (1, 1), (1, 8), (8, 29), (29, 40))]
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
