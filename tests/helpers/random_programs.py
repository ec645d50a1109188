"""Chip programs drawn at random: any form of weights, delays, loops, resets, extreme parameters."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from chip_programs import population, program
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse, Weights


@st.composite
def shapes(draw: st.DrawFn) -> tuple[int, int, int]:
    """Channels, y, x of a population; of one dimension too, and beyond the 64 neurons that are looked at together."""
    return draw(st.integers(1, 4)), draw(st.sampled_from([1, 2, 5, 7])), draw(st.integers(1, 6))


@st.composite
def convolutions(draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, int, int]) -> Conv:
    """Any that starts at `shape`, also with more padding than kernel, and with taps that reach nothing."""
    groups = draw(st.sampled_from([n for n in range(1, shape[0] + 1) if shape[0] % n == 0]))
    pairs = {n: st.tuples(st.integers(low, 3), st.integers(low, 3)) for n, low in (("stride", 1), ("dilation", 1))}
    stride, dilation = (draw(pairs[n]) for n in ("stride", "dilation"))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    taps = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    # About as PyTorch's; a border more or less is a padding behind that differs from the one before.
    out = [
        (shape[i + 1] + 2 * padding[i] - dilation[i] * (taps[i] - 1) - 1) // stride[i] + draw(st.integers(0, 2))
        for i in (0, 1)
    ]
    c_out = groups * draw(st.integers(1, 3))
    kernel = 2 * rng.integers(-20, 21, (c_out, shape[0] // groups, *taps))
    return Conv(kernel, shape, (c_out, max(out[0], 1), max(out[1], 1)), stride, padding, dilation, groups)


@st.composite
def programs(draw: st.DrawFn) -> Program:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    extreme = draw(st.booleans())  # weights and exponents that wrap u and clip v, decays that keep all
    maps: dict[str, tuple[int, int, int]] = {}

    def neurons(name: str, kind: str, shape: tuple[int, int, int]) -> ChipPopulation:
        maps[name] = shape
        n = int(np.prod(shape))
        if kind == "input":
            return population(name, n, kind)
        interval = draw(st.sampled_from([0, 0, 1, 5, 64]))
        return population(
            name,
            n,
            kind,
            du=rng.choice([0, 1, 700, 2047, 4094, 4095, 4096], n),
            dv=rng.choice([0, 1, 512, 2048, 4095, 4096], n),
            v_threshold=rng.integers(0, 2**17, n) if extreme else rng.integers(0, 600, n),
            bias_mant=rng.integers(-4096, 4096, n) * rng.integers(0, 2, n),
            bias_exp=rng.integers(0, 8 if extreme else 3, n),
            reset_interval=interval,
            reset_offset=draw(st.integers(0, max(interval - 1, 0))),
        )

    inputs = [neurons(f"in{i}", "input", draw(shapes())) for i in range(draw(st.integers(0, 2)))]
    hidden = [neurons(f"h{i}", "lif", draw(shapes())) for i in range(draw(st.integers(1, 3)))]
    readouts = [neurons(f"out{i}", "li", draw(shapes())) for i in range(draw(st.integers(0, 1)))]
    synapses: list[ChipSynapses] = []

    def connect(source: ChipPopulation, target: ChipPopulation, weight: Weights) -> None:
        exponent, delay = draw(st.integers(0, 7)) if extreme else 0, draw(st.sampled_from([1, 2, 3, 17, 63]))
        synapses.append(ChipSynapses(f"s{len(synapses)}", source.name, target.name, weight, exponent, delay))

    for i in range(draw(st.integers(0, 2))):  # each with a population of its own, which fits
        source = draw(st.sampled_from(inputs + hidden))
        conv = draw(convolutions(rng, maps[source.name]))
        hidden.append(neurons(f"c{i}", "lif", conv.output_shape))
        connect(source, hidden[-1], conv)
    for _ in range(draw(st.integers(0, 7))):  # self-loops and several between the same two included
        source, target = draw(st.sampled_from(inputs + hidden)), draw(st.sampled_from(hidden + readouts))
        weight = rng.choice([-256, 254] if extreme else np.arange(-40, 42, 2), (target.size, source.size))
        weight *= rng.random(weight.shape) < draw(st.sampled_from([0.02, 0.05, 0.5, 1.0]))
        connect(source, target, Sparse.of(weight) if draw(st.booleans()) else weight)
    return program(draw(st.permutations(inputs + hidden + readouts)), synapses)
