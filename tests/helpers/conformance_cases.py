"""The cases of the conformance pack: small chip programs, their inputs, and what each must show.

`cases()` is deterministic. Lava computes the verdict on them in `tests/conformance/make.py`.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from chip_programs import population, program
from graded_spikes import spikes_that_lava_judges
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse, Weights

Spikes = npt.NDArray[np.uint16]
V_THRESHOLD_MAX, DIAL_MAX = 2**17 - 1, 2**15 - 2
_BITS = 14  # of a dial: 2, 4 ... 2^14


@dataclass(frozen=True, eq=False)
class Case:
    """A program with inputs.

    Attributes:
        name: the name of its file.
        tests: what it tests, in a sentence.
        program: see `muspike.hardware.program`.
        inputs: uint16 `[ticks, batch, inputs]`.
        shows: what the verdict must show, by names of `conformance.COVERAGE`; else the case tests nothing.
    """

    name: str
    tests: str
    program: Program
    inputs: Spikes
    shows: tuple[str, ...]


def cases() -> list[Case]:
    """All cases, in the order of the pack."""
    parts = (
        _decays,
        _membranes,
        _currents,
        _biases,
        _weights,
        _convolutions,
        _delays,
        _paths,
        _graded,
        _resets,
        _mixed,
    )
    return [case for part in parts for case in part()]


def random_of(name: str) -> np.random.Generator:
    """A generator of random numbers for the case of this name."""
    return np.random.default_rng(zlib.crc32(name.encode()))


def binary(name: str, p: Program, ticks: int = 60, batch: int = 2, rate: float = 0.3) -> Spikes:
    size = sum(q.size for q in p.inputs)
    return (random_of(name).random((ticks, batch, size)) < rate).astype(np.uint16)


# --- a dial: 28 binary axons that set the synaptic sum of a tick to any even number in +-32766 ---


def dial(values: npt.ArrayLike) -> Spikes:
    """The spikes of a dial for synaptic sums `[ticks, batch]`; they arrive one tick later."""
    sums = np.asarray(values, dtype=np.int64)[..., None]
    assert (sums % 2 == 0).all() and np.abs(sums).max() <= DIAL_MAX
    bits = (np.abs(sums) >> np.arange(1, _BITS + 1)) & 1
    return np.concatenate([bits * (sums > 0), bits * (sums < 0)], axis=2).astype(np.uint16)


def dialled(target: ChipPopulation, source: str = "dial") -> list[ChipSynapses]:
    """The synapses of a dial: all neurons of `target` hear the same sum."""
    low = np.where(np.arange(_BITS) < 7, 2 ** (np.arange(_BITS) % 7 + 1), 0)
    high = np.where(np.arange(_BITS) < 7, 0, 2 ** (np.arange(_BITS) % 7 + 1))
    return [
        ChipSynapses(f"{name} to {target.name}", source, target.name, np.tile(np.r_[row, -row], (target.size, 1)), e, 1)
        for name, row, e in (("low", low, 0), ("high", high, 7))
    ]


def dial_case(name: str, tests: str, sums: npt.ArrayLike, shows: Sequence[str], *targets: ChipPopulation) -> Case:
    """Populations that all hear one dial."""
    populations = [population("dial", 2 * _BITS, "input"), *targets]
    return Case(name, tests, program(populations, [s for q in targets for s in dialled(q)]), dial(sums), tuple(shows))


def sums_for(name: str, ticks: int, batch: int, most: int, silent: float = 0.4) -> npt.NDArray[np.int64]:
    rng = random_of(name)
    sums = rng.integers(-most // 2, most // 2 + 1, (ticks, batch)) * 2
    return np.where(rng.random(sums.shape) < silent, 0, sums)


# --- families ---


def _decays() -> list[Case]:
    du, dv = (0, 1, 2, 100, 2047, 2048, 4093, 4094, 4095, 4096), (0, 1, 2, 100, 2047, 2048, 4094, 4095, 4096)
    both = np.array(list(itertools.product((0, 1, 2047, 4094, 4095, 4096), (0, 1, 2048, 4095, 4096))))
    quiet: dict[str, Any] = {"v_threshold": V_THRESHOLD_MAX}
    remainders = ("u < 0 decays with a remainder", "v < 0 decays with a remainder")
    return [
        dial_case(
            "decay-u-limits",
            "du from 0 to 4096, of positive and negative currents",
            sums_for("du", 60, 2, 3000),
            ("u < 0 decays with a remainder", "du 0", "du 1", "du 4094", "du 4095", "du 4096"),
            population("n", len(du), du=np.array(du), dv=4096, **quiet),
        ),
        dial_case(
            "decay-v-limits",
            "dv from 0 to 4096, of positive and negative membranes",
            sums_for("dv", 60, 2, 3000),
            ("v < 0 decays with a remainder", "dv 0", "dv 1", "dv 2048", "dv 4095", "dv 4096"),
            population("n", len(dv), du=4095, dv=np.array(dv), **quiet),
        ),
        dial_case(
            "decay-both",
            "every pair of du and dv at their limits, with spikes",
            sums_for("both", 60, 2, 600),
            (*remainders, "a spike", "u stays at a spike"),
            population("n", len(both), du=both[:, 0], dv=both[:, 1], v_threshold=300),
        ),
        dial_case(
            "decay-to-zero",
            "small states of both signs die out, rounded toward 0",
            [[2, -2]] + [[0, 0]] * 39,
            remainders,
            population("n", 6, du=np.array([0, 100, 2047, 3000, 4000, 4094]), dv=np.array([1, 9, 99, 999, 2000, 4000])),
        ),
        dial_case(
            "decay-random",
            "random decays of each neuron",
            sums_for("random", 60, 2, 1500),
            (*remainders, "a spike"),
            population("n", 12, du=random_of("du").integers(0, 4097, 12), dv=random_of("dv").integers(0, 4097, 12)),
        ),
    ]


def _membranes() -> list[Case]:
    thresholds = np.array([0, 1, 2, 3, 100, 101, 2**16 - 1, 2**16])
    met = [0, 2, 4, 100, 102, 2**15 - 2, 0, -2]
    # 1 (its bias) in every tick: 2^17 - 1 after 7 ticks, in which four sums of 32766 came.
    largest = [[DIAL_MAX]] * 4 + [[0]] * 8 + [[2]] * 3 + [[DIAL_MAX]] * 8
    above = [[DIAL_MAX]] * 3 + [[32000]] + [[0]] * 3 + [[DIAL_MAX]] * 12
    loud = sums_for("loud", 60, 2, DIAL_MAX, 0.1)
    return [
        dial_case(
            "threshold-met",
            "a membrane that meets its threshold exactly does not fire; one step above, it fires",
            np.tile(np.array(met * 4)[:, None], (1, 2)),
            ("v meets its threshold", "a spike", "v_threshold 0", "v_threshold 1"),
            population("no bias", 8, v_threshold=thresholds, dv=4096),
            population("bias of one", 8, v_threshold=thresholds, dv=4096, bias_mant=1, bias_exp=6),
            population("bias of a 64th", 8, v_threshold=thresholds, dv=4096, bias_mant=1),
        ),
        dial_case(
            "threshold-largest",
            "the largest threshold, met exactly and exceeded by one step",
            largest,
            ("v meets its threshold", "a spike", "v_threshold 131071"),
            population("n", 2, v_threshold=V_THRESHOLD_MAX, dv=0, bias_mant=1, bias_exp=6),
            population("less", 2, v_threshold=V_THRESHOLD_MAX - 1, dv=0, bias_mant=1, bias_exp=6),
        ),
        dial_case(
            "threshold-zero",
            "thresholds 0 and 1: any membrane above them fires, none below",
            sums_for("zero", 40, 2, 4),
            ("v meets its threshold", "a spike", "v_threshold 0", "v_threshold 1"),
            population("n", 4, v_threshold=np.array([0, 0, 1, 1]), dv=np.array([0, 4096, 0, 4096])),
        ),
        dial_case(
            "v-saturates-above",
            "a membrane that would pass 2^23 - 1 fires",
            above,
            ("v saturates above", "a spike"),
            population("n", 3, v_threshold=V_THRESHOLD_MAX, dv=0, du=np.array([0, 2047, 4095])),
        ),
        dial_case(
            "v-saturates-below",
            "a membrane stays at -(2^23) + 1, and leaves it again",
            [[-DIAL_MAX, -DIAL_MAX]] * 8 + [[0, -2]] * 6 + [[2, DIAL_MAX]] * 10,
            ("v saturates below", "v at -(2^23) + 1"),
            population("n", 4, dv=np.array([0, 1, 100, 0]), du=np.array([4095, 4095, 2047, 4000])),
        ),
        dial_case(
            "v-saturates-below-by-bias",
            "the most negative bias drives membranes to their lower end",
            sums_for("below", 40, 1, DIAL_MAX),
            ("v saturates below", "v at -(2^23) + 1", "bias_mant -4096"),
            population("n", 3, dv=np.array([0, 1, 20]), bias_mant=-4096, bias_exp=7),
        ),
        dial_case(
            "fires-in-every-tick",
            "neurons that fire in each tick, and a current that a spike leaves as it is",
            [[20000, 200]] * 30,
            ("a spike", "spikes in a row", "u stays at a spike"),
            population("n", 4, du=np.array([0, 1000, 4000, 4095]), v_threshold=np.array([0, 1, 100, 150])),
        ),
        dial_case(
            "membranes-loud",
            "large sums of both signs with all decays of the membrane",
            loud,
            ("a spike", "v < 0 decays with a remainder"),
            population("n", 9, dv=np.arange(9) * 512, v_threshold=np.arange(9) * 4000, du=4095),
        ),
        dial_case(
            "readout-integrates",
            "membranes of readouts, whose thresholds are not reached",
            sums_for("readout", 60, 2, 400),
            ("a readout", "v < 0 decays with a remainder"),
            population("n", 4, "li", dv=np.array([0, 163, 2048, 4096]), du=3000, v_threshold=V_THRESHOLD_MAX),
        ),
        dial_case(
            "readout-at-its-threshold",
            "a readout whose membrane passes its threshold is reset as any neuron",
            sums_for("reached", 60, 2, 400, 0.1) // 4 * 4 + 20,
            ("a readout", "a readout is reset"),
            population("n", 3, "li", dv=0, v_threshold=np.array([50, 300, 1000])),
        ),
    ]


def _exact_wrap(sign: int) -> list[int]:
    """Sums, each within 16 bits, that bring a current of du 0 to exactly 2^23 (before it wraps, if negative)."""
    kept, sums = 0, []
    for _ in range(3):
        sums.append(DIAL_MAX)
        kept = (kept * 4095 >> 12) + 64 * DIAL_MAX
    for a in range(DIAL_MAX, 0, -2):
        left = ((kept * 4095 >> 12) + 64 * a) * 4095 >> 12
        last, rest = divmod(2**23 - left, 64)
        if rest == 0 and last % 2 == 0 and 0 < last <= DIAL_MAX:
            return [sign * x for x in (*sums, a, last)]
    raise AssertionError("no such sums")


def _currents() -> list[Case]:
    slow: dict[str, Any] = {
        "du": np.array([0, 0, 1, 30]),
        "dv": np.array([4096, 0, 2048, 100]),
        "v_threshold": V_THRESHOLD_MAX,
    }
    up, down = [[DIAL_MAX, -DIAL_MAX]] * 12, sums_for("wraps", 50, 2, DIAL_MAX, 0) // 8 * 2
    exact = np.array([_exact_wrap(1) + [0, 2, 0, -4] * 3, _exact_wrap(-1) + [0, 2, 0, -4] * 3]).T
    wide = ("u wraps downward", "u wraps upward")
    bound = _bound_of_u()
    limits = np.zeros((4, 4), int)
    limits[0, 0], limits[1, 1] = -256, 254  # << 7: -32768 and 32512; with 254: 32766
    limits[2] = [-128, 0, -128, 0]
    limits[3] = [0, 254, 0, 2]
    at_limits = program(
        [population("in", 4, "input"), population("n", 4, v_threshold=V_THRESHOLD_MAX, du=4095, dv=4096)],
        [
            ChipSynapses("exp 7", "in", "n", limits, 7, 1),
            ChipSynapses("exp 0", "in", "n", np.array([[0] * 4, [0, 254, 0, 0], [0] * 4, [0, -2, 0, 0]]), 0, 1),
        ],
    )
    rng = random_of("beyond")
    beyond = program(
        [
            population("in", 7, "input"),
            population("n", 8, du=np.arange(8) * 585, v_threshold=rng.integers(0, 2**17, 8)),
        ],
        [ChipSynapses("in", "in", "n", rng.choice([-256, 254], (8, 7)), 7, 1)],
    )
    return [
        dial_case(
            "u-wraps",
            "slow currents leave their 24 bits at both ends and wrap, while each sum is within 16 bits",
            np.concatenate([up, -np.array(up), down]),
            wide,
            population("n", 4, **slow),
        ),
        dial_case(
            "u-meets-its-bound",
            "a current of exactly 2^23 stays, one of -(2^23) becomes 2^23; sums are within 16 bits",
            exact,
            ("u at 2^23",),
            population("n", 2, du=0, dv=np.array([0, 4096]), v_threshold=V_THRESHOLD_MAX),
        ),
        bound,
        Case(
            "sums-at-16-bits",
            "synaptic sums of -32768 and 32766, the ends of 16 bits",
            at_limits,
            binary("at limits", at_limits, rate=0.5),
            ("sum -32768", "sum 32766", "exponent 7"),
        ),
        Case(
            "sums-beyond-16-bits",
            "sums beyond 16 bits are not cut, and wrap in the current",
            beyond,
            binary("beyond", beyond, rate=0.6),
            ("sum beyond 16 bits", *wide, "a spike"),
        ),
    ]


def _bound_of_u() -> Case:
    """Sums of 2^17: beyond 16 bits, at the bound of u at once, with any decay."""
    rows = np.zeros((2, 10), int)
    rows[0, :4], rows[0, 4] = 254, 8  # << 7: 131072
    rows[1, 5:9] = -256
    rows[:, 9] = 2
    p = program(
        [population("in", 10, "input"), population("n", 2, du=np.array([0, 4095]), dv=4096, v_threshold=1000)],
        [ChipSynapses("in", "in", "n", rows, 7, 1)],
    )
    spikes = np.zeros((24, 2, 10), np.uint16)
    spikes[2::8, 0, :5] = spikes[2::8, 1, 5:9] = 1
    spikes[3::8, 0, 5:9] = spikes[3::8, 1, :5] = 1
    spikes[5::8, :, 9] = 1
    return Case(
        "u-meets-its-bound-at-once",
        "one sum of 2^17 or -(2^17) brings the current to its bound",
        p,
        spikes,
        ("u at 2^23", "sum beyond 16 bits"),
    )


def _biases() -> list[Case]:
    every: dict[str, Any] = {"bias_mant": np.repeat([-4096, -1, 1, 4095], 8), "bias_exp": np.tile(np.arange(8), 4)}
    exponents = tuple(f"bias_exp {e}" for e in range(8))
    alone = program([population("n", 32, **every, dv=100, v_threshold=20000)], [])
    unreached = program(
        [
            population("in", 3, "input"),
            population("heard", 2),
            population("unreached", 3, bias_mant=np.array([0, 300, -300]), bias_exp=np.array([0, 3, 3]), dv=300),
            population("silent", 2, v_threshold=1),
        ],
        [ChipSynapses("in", "in", "heard", np.array([[100, 50, -20], [20, 120, 80]]), 0, 1)],
    )
    return [
        Case(
            "bias-exponents",
            "the least, the greatest and the smallest bias with every exponent, without any synapse",
            alone,
            np.zeros((40, 1, 0), np.uint16),
            (*exponents, "bias_mant -4096", "bias_mant 4095", "a spike"),
        ),
        dial_case(
            "bias-and-leak",
            "a bias is added after the leak of the membrane, and not to the current",
            sums_for("bias", 50, 2, 300),
            ("a spike", "v < 0 decays with a remainder"),
            population("n", 6, bias_mant=np.array([-700, -33, -1, 1, 33, 700]), bias_exp=2, dv=2000, du=3000),
        ),
        Case(
            "unreached",
            "populations that no synapse reaches, with a bias and without",
            unreached,
            binary("unreached", unreached, 50),
            ("a population without synapses", "a spike"),
        ),
    ]


def _weights() -> list[Case]:
    found = []
    for name, tests, low, high, shows in (
        ("weights-mixed", "weights of both signs at their limits", -128, 127, ("weight -256", "weight 254")),
        ("weights-negative", "negative weights, with a bias against them", -128, -1, ("weight -256",)),
        ("weights-positive", "positive weights", 0, 127, ("weight 254",)),
    ):
        rng = random_of(name)
        matrix = rng.integers(low, high + 1, (8, 10)) * 2
        matrix.flat[:6] = [low * 2, high * 2] * 3
        n = population("n", 8, v_threshold=400, bias_mant=0 if high > 0 else 3000, bias_exp=3, du=3000)
        p = program([population("in", 10, "input"), n], [ChipSynapses("in", "in", "n", matrix, 0, 1)])
        found.append(Case(name, tests, p, binary(name, p), (*shows, "a spike")))
    for form in ("dense", "sparse", "conv"):
        name = f"exponents-{form}"
        rng = random_of(name)
        parts: list[ChipPopulation] = [population("in", 12, "input")]
        synapses = []
        for e in range(8):
            matrix = rng.integers(-20, 25, (4, 12)) * 2
            weight: Weights = matrix
            if form == "sparse":
                weight = Sparse.of(np.where(rng.random(matrix.shape) < 0.5, matrix, 0))
            elif form == "conv":
                weight = Conv(rng.integers(-20, 25, (2, 1, 2, 2)) * 2, (1, 2, 6), (2, 1, 2), (1, 3), (0, 0))
            parts.append(population(f"exponent {e}", 4, v_threshold=40 << e, dv=1000))
            synapses.append(ChipSynapses(f"{e}", "in", f"exponent {e}", weight, e, 1))
        p = program(parts, synapses)
        shown = (*(f"exponent {e}" for e in range(8)), form, "a spike")
        found.append(Case(name, f"exponents 0 to 7 of {form} synapses", p, binary(name, p, 40), shown))
    rng = random_of("sparse")
    matrix = np.where(rng.random((9, 14)) < 0.3, rng.integers(-40, 120, (9, 14)) * 2, 0)
    matrix[[2, 8]], matrix[:, [0, 5, 13]] = 0, 0
    for name, tests, weight, form in (
        ("sparse-with-gaps", "sources and targets without synapses", Sparse.of(matrix), "sparse"),
        ("dense-with-zeros", "the same synapses as a dense matrix with zeros", matrix, "dense"),
    ):
        p = program(
            [population("in", 14, "input"), population("n", 9, dv=900, v_threshold=150)],
            [ChipSynapses("in", "in", "n", weight, 0, 1)],
        )
        found.append(Case(name, tests, p, binary("gaps", p), (form, "a spike")))
    return found


_IMAGE = (2, 5, 4)  # channels, y, x


def _convolution(rng: np.random.Generator, **geometry: Any) -> Conv:
    taps, shape = geometry.pop("taps", (3, 2)), geometry.pop("input_shape", _IMAGE)
    groups, c_out, output = geometry.get("groups", 1), geometry.pop("c_out", 4), geometry.pop("output", None)
    conv = Conv(rng.integers(-60, 100, (c_out, shape[0] // groups, *taps)) * 2, shape, (c_out, 1, 1), **geometry)
    axes = zip(shape[1:], conv.padding, conv.dilation, taps, conv.stride, strict=True)
    usual = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in axes)
    return replace(conv, output_shape=(c_out, *(output or usual)))


_CONVOLUTIONS: dict[str, tuple[str, dict[str, Any], tuple[int, int]]] = {
    # name: what, geometry, (exponent, delay)
    "plain": ("a kernel without symmetry", {}, (0, 1)),
    "stride": ("strides that differ by axis", {"stride": (2, 3), "taps": (2, 2)}, (0, 1)),
    "padding": ("padding that differs by axis", {"padding": (1, 2)}, (0, 1)),
    "dilation": ("dilation that differs by axis", {"dilation": (2, 3), "padding": (3, 1)}, (0, 1)),
    "groups": ("two groups of channels", {"groups": 2, "c_out": 6, "padding": (2, 0)}, (0, 1)),
    "depthwise": ("a group for each channel", {"groups": 4, "c_out": 4, "input_shape": (4, 4, 4)}, (0, 1)),
    "one-axis": ("a convolution over one axis", {"input_shape": (3, 1, 12), "taps": (1, 4), "padding": (0, 3)}, (0, 1)),
    "taps-outside": ("taps that are always outside", {"taps": (5, 4), "padding": (4, 3), "stride": (3, 1)}, (0, 1)),
    "larger-output": ("more padding behind than before", {"output": (4, 4), "dilation": (2, 3)}, (0, 1)),
    "smaller-output": (
        "an output that leaves the last rows out",
        {"output": (2, 2), "groups": 2, "stride": (2, 1), "padding": (1, 0)},
        (0, 1),
    ),
    "delayed": ("a convolution with a delay and an exponent", {"padding": (1, 1), "stride": (2, 1)}, (2, 7)),
    "everything": (
        "stride, padding, dilation, groups, exponent and delay at once",
        {"stride": (2, 1), "padding": (2, 1), "dilation": (2, 1), "groups": 2, "c_out": 4},
        (1, 3),
    ),
}


def _convolutions() -> list[Case]:
    found = []
    for key, (what, geometry, (weight_exp, delay)) in _CONVOLUTIONS.items():
        name = f"conv-{key}"
        conv = _convolution(random_of(name), **dict(geometry))
        p = program(
            [
                population("in", conv.shape[1], "input"),
                population("n", conv.shape[0], v_threshold=150 << weight_exp, du=3500, dv=1500),
            ],
            [ChipSynapses("in", "in", "n", conv, weight_exp, delay)],
        )
        found.append(Case(name, what, p, binary(name, p, 30, rate=0.25), ("conv", "a spike")))
    return found


def _delays() -> list[Case]:
    found = []
    for first in (1, 17, 33, 49):
        delays = range(first, min(first + 16, 64))
        name = f"delays-{first:02}-to-{delays[-1]}"
        n = population("n", len(delays), dv=4096, v_threshold=50)
        synapses = []
        for i, delay in enumerate(delays):
            matrix = np.zeros((len(delays), 2), int)
            matrix[i] = [60, -20]
            synapses.append(ChipSynapses(f"{delay}", "in", "n", Sparse.of(matrix) if i % 2 else matrix, 0, delay))
        p = program([population("in", 2, "input"), n], synapses)
        shows = tuple(f"delay {delay}" for delay in delays)
        found.append(
            Case(
                name,
                f"every delay from {first} to {delays[-1]}",
                p,
                binary(name, p, delays[-1] + 25),
                (*shows, "a spike"),
            )
        )
    relay: dict[str, Any] = {"du": 4095, "dv": 4096, "v_threshold": 1}
    one = Sparse.of(2 * np.eye(3, dtype=int))
    p = program(
        [
            population("in", 3, "input"),
            population("relay", 3, **relay),
            population("second relay", 3, **relay),
            population("n", 2, dv=1000, v_threshold=60),
        ],
        [
            ChipSynapses("to relay", "in", "relay", one, 0, 63),
            ChipSynapses("to second", "relay", "second relay", one, 0, 40),
            ChipSynapses("to n", "second relay", "n", np.array([[40, 60, -30], [90, 20, 10]]), 0, 2),
            ChipSynapses("at once", "in", "n", np.array([[30, 10, 20], [-10, 40, 4]]), 0, 1),
        ],
    )
    found.append(
        Case(
            "relays",
            "relays make a delay of 105 ticks",
            p,
            binary("relays", p, 140, 1),
            ("delay 63", "delay 40", "a spike"),
        )
    )
    return found


def _paths() -> list[Case]:
    found = []
    rng = random_of("loops")
    for delay in (1, 5):
        name = f"self-loop-{delay}"
        loop = rng.integers(-40, 60, (5, 5)) * 2
        p = program(
            [population("in", 4, "input"), population("n", 5, du=3000, dv=1000, v_threshold=150)],
            [
                ChipSynapses("in", "in", "n", rng.integers(-20, 60, (5, 4)) * 2, 0, 1),
                ChipSynapses("loop", "n", "n", loop, 0, delay),
            ],
        )
        ways = ("a self-loop", "a spike")
        found.append(Case(name, f"a population that hears itself after {delay} ticks", p, binary(name, p), ways))
    names = ("a", "b", "c")
    p = program(
        [population("in", 4, "input"), *(population(n, 4, du=3500, dv=500, v_threshold=120) for n in names)],
        [
            ChipSynapses("in", "in", "a", rng.integers(-10, 70, (4, 4)) * 2, 0, 1),
            *(
                ChipSynapses(f"{s} to {t}", s, t, rng.integers(-20, 80, (4, 4)) * 2, 0, d)
                for s, t, d in zip(names, "bca", (1, 4, 2), strict=True)
            ),
        ],
    )
    found.append(Case("cycle", "three populations in a ring", p, binary("cycle", p), ("a cycle", "a spike")))
    p = program(
        [population("in", 5, "input"), population("n", 6, dv=800, v_threshold=200)],
        [
            ChipSynapses(f"{i}", "in", "n", Sparse.of(m) if sparse else m, e, d)
            for i, (sparse, e, d) in enumerate(
                [(False, 0, 1), (True, 0, 1), (False, 2, 1), (True, 1, 6), (False, 0, 6)]
            )
            for m in [rng.integers(-20, 40, (6, 5)) * 2]
        ],
    )
    ways = ("several synapses between two populations", "a spike")
    found.append(Case("parallel-synapses", "five synapses between the same two", p, binary("parallel", p), ways))
    p = program(
        [
            population("n", 4, dv=500, v_threshold=150),
            population("first", 3, "input"),
            population("readout", 2, "li", dv=100, v_threshold=V_THRESHOLD_MAX),
            population("second", 2, "input"),
            population("third", 4, "input"),
        ],
        [
            ChipSynapses(f"{s} to {t}", s, t, rng.integers(-30, 60, (size, source)) * 2, 0, d)
            for s, source, t, size, d in (
                ("first", 3, "n", 4, 1),
                ("second", 2, "n", 4, 3),
                ("third", 4, "readout", 2, 2),
                ("n", 4, "readout", 2, 1),
            )
        ],
    )
    found.append(
        Case(
            "inputs", "three inputs, listed among the neurons", p, binary("inputs", p), ("several inputs", "a readout")
        )
    )
    return found


def _graded() -> list[Case]:
    found = []
    for first in (1, 9):
        widths = range(first, first + 8)
        name = f"graded-{first:02}-to-{widths[-1]:02}-bits"
        rng = random_of(name)
        parts: list[ChipPopulation] = [population(f"{b} bits", 2, "input", graded_bits=b) for b in widths]
        parts.append(population("n", 8, dv=1000, v_threshold=2 ** np.array(widths)))
        synapses = []
        for i, b in enumerate(widths):
            matrix = np.zeros((8, 2), int)
            matrix[i] = [2, -2]
            synapses.append(ChipSynapses(f"{b}", f"{b} bits", "n", matrix, 0, 1))
        p = program(parts, synapses)
        most = np.repeat(2 ** np.array(widths) - 1, 2)
        inputs = (rng.integers(0, most + 1, (50, 2, 16)) * (rng.random((50, 2, 16)) < 0.6)).astype(np.uint16)
        inputs[5], inputs[6] = most, most * (np.arange(16) % 2 == 0)
        shows = (*(f"{b} bits full" for b in widths), "a spike")
        found.append(
            Case(name, f"graded inputs of {first} to {widths[-1]} bits, up to their largest value", p, inputs, shows)
        )
    rng = random_of("graded")
    matrix = rng.integers(-20, 30, (6, 40)) * 2
    forms: dict[str, Weights] = {
        "dense": matrix,
        "sparse": Sparse.of(np.where(rng.random(matrix.shape) < 0.2, matrix, 0)),
        "conv": _convolution(rng, stride=(2, 1), padding=(1, 1), groups=2),
    }
    for (form, weight), bits in zip(forms.items(), (6, 8, 10), strict=True):
        parts = [population("in", 40, "input", graded_bits=bits), population("binary", 3, "input")]
        synapses = []
        for weight_exp, delay in ((0, 1), (2, 4)):
            n = population(f"delay {delay}", weight.shape[0], dv=1500, v_threshold=400 << weight_exp)
            parts.append(n)
            synapses.append(ChipSynapses(n.name, "in", n.name, weight, weight_exp, delay))
            heard = rng.integers(-40, 60, (n.size, 3)) * 2
            synapses.append(ChipSynapses(f"binary {delay}", "binary", n.name, heard, 0, 2))
        p = program(parts, synapses)
        name = f"graded-{form}"
        inputs = spikes_that_lava_judges(zlib.crc32(name.encode()), p, 40, 2)
        found.append(
            Case(
                name,
                f"graded and binary inputs through {form} synapses",
                p,
                inputs,
                (form, "a graded spike", "a spike"),
            )
        )
    return found


def _resets() -> list[Case]:
    found = []
    for interval, offset in ((1, 0), (2, 1), (3, 0), (3, 2), (7, 5), (16, 0), (64, 9)):
        name = f"reset-every-{interval}-at-{offset}"
        n = population(
            "n",
            4,
            du=np.array([0, 1000, 3000, 4095]),
            dv=np.array([0, 500, 0, 100]),
            v_threshold=900,
            bias_mant=np.array([10, -300, 700, 0]),
            bias_exp=3,
            reset_interval=interval,
            reset_offset=offset,
        )
        shows = ("a reset",)
        tests = f"u and v become 0 before the dynamics of each tick t with t % {interval} = {offset}"
        found.append(dial_case(name, tests, sums_for(name, 50, 2, 900, 0.2), shows, n))
    name = "reset-in-each-sequence"
    n = population("n", 4, du=2000, dv=100, v_threshold=700, reset_interval=4, reset_offset=3)
    readout = population("readout", 2, "li", dv=0, v_threshold=V_THRESHOLD_MAX, reset_interval=6, reset_offset=1)
    other = population("not reset", 2, du=2000, dv=100, v_threshold=700)
    tests = "resets count anew in each of five sequences of 10 ticks, and only in their populations"
    sums = sums_for(name, 10, 5, 900, 0.2)
    found.append(dial_case(name, tests, sums, ("a reset", "several sequences", "a readout"), n, readout, other))
    return found


def _mixed() -> list[Case]:
    found = []
    n = population("n", 6, du=100, dv=20, v_threshold=900, bias_mant=5, bias_exp=3)
    sums = sums_for("batch", 25, 8, 900, 0.2)
    sums[-3:] = 900
    found.append(
        dial_case(
            "batch-of-eight",
            "sequences begin in silence, whatever came before",
            sums,
            ("several sequences", "a spike"),
            n,
        )
    )
    found.append(
        dial_case(
            "one-tick",
            "sequences of a single tick: only the bias has come",
            [[900, 2, -2]],
            ("a spike",),
            population("n", 3, bias_mant=np.array([1, 4000, -4000]), bias_exp=np.array([0, 5, 5])),
        )
    )
    # The neuron whose currents and spikes a Loihi chip recorded for the NIR paper (01_lif), with other spikes.
    p = program(
        [population("in", 1, "input"), population("n", 1, du=4095, dv=163, v_threshold=25)],
        [ChipSynapses("in", "in", "n", np.array([[10]]), 0, 1)],
    )
    found.append(
        Case("one-neuron", "one neuron with one synapse over 300 ticks", p, binary("one", p, 300, 1), ("a spike",))
    )
    for seed, extreme in itertools.product(range(3), (False, True)):
        name = f"recurrent-{'extreme' if extreme else 'gentle'}-{seed}"
        found.append(_recurrent(name, extreme))
    return found


def _recurrent(name: str, extreme: bool) -> Case:
    rng = random_of(name)

    def neurons(called: str, size: int, kind: str = "lif", **fields: Any) -> ChipPopulation:
        return population(
            called,
            size,
            kind,
            du=rng.choice([0, 100, 2047, 4095, 4096], size),
            dv=rng.choice([0, 512, 2048, 4095, 4096], size),
            v_threshold=rng.integers(0, 2**17 if extreme else 400, size),
            bias_mant=rng.integers(-4096 if extreme else -30, 4096 if extreme else 90, size),
            bias_exp=rng.integers(0, 8 if extreme else 4, size),
            **fields,
        )

    parts = [
        neurons("first", 8),
        population("in", 5, "input"),
        neurons("second", 6, reset_interval=11, reset_offset=4),
        neurons("readout", 3, "li"),
        population("other in", 4, "input"),
        neurons("alone", 2),
    ]
    size = {p.name: p.size for p in parts}
    paths: tuple[tuple[str, str, int], ...] = (
        ("in", "first", 1),
        ("in", "first", 5),
        ("other in", "second", 3),
        ("first", "first", 1),
    )
    paths += (("first", "second", 30), ("second", "first", 2), ("second", "second", 7), ("first", "readout", 1))
    synapses = []
    for i, (source, target, delay) in enumerate(paths):
        shape, weight_exp = (size[target], size[source]), int(rng.integers(3, 6) if extreme else rng.integers(0, 2))
        matrix = rng.choice([-256, 254], shape) if extreme else rng.integers(-30, 40, shape) * 2
        weight: Weights = Sparse.of(np.where(rng.random(shape) < 0.7, matrix, 0)) if i % 3 == 2 else matrix
        synapses.append(ChipSynapses(f"{i}", source, target, weight, weight_exp, delay))
    p = program(parts, synapses)
    shows = ["a spike", "a self-loop", "a cycle", "several inputs", "a readout", "a reset"]
    what = "at the limits of its parameters" if extreme else "with usual parameters"
    return Case(name, f"a recurrent network of four populations, {what}", p, binary(name, p, 70), tuple(shows))
