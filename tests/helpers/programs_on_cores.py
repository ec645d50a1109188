"""Programs on four cores, with every form of weights, and spikes for them."""

from __future__ import annotations

from typing import Any

import numpy as np

import chip_programs
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.weights import Conv, Sparse

CORE_XY = np.array([[0, 0], [0, 0], [2, 1], [5, 3]])


def population(name: str, kind: str, cores: list[int], level: int = 0) -> ChipPopulation:
    return chip_programs.population(name, len(cores), kind, core=cores, level=level)


def random_spikes(program: Program, ticks: int, batch: int, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {
        p.name: (rng.random((ticks, batch, p.size)) < 0.3).astype(np.uint8)
        for p in program.populations
        if p.kind != "li"
    }


def random_conv(rng: np.random.Generator) -> Conv:
    groups, g_in, g_out = rng.integers(1, 3, 3).tolist()
    height, width, k_y, k_x = rng.integers(1, 5, 4).tolist()
    (s_y, s_x), (p_y, p_x), (d_y, d_x) = (tuple(rng.integers(low, low + 3, 2).tolist()) for low in (1, 0, 1))
    shape = tuple(rng.integers(1, 4, 2).tolist())
    kernel = 2 * rng.integers(-2, 3, (groups * g_out, g_in, k_y, k_x))
    return Conv(
        kernel.astype(np.int16),
        (groups * g_in, height, width),
        (groups * g_out, *shape),
        (s_y, s_x),
        (p_y, p_x),
        (d_y, d_x),
        groups,
    )


def program_of_all_forms(rng: np.random.Generator) -> Program:
    """x -conv-> a -sparse-> b, b -dense, in either layout-> a, x -sparse-> a; neurons anywhere on four cores."""
    conv = random_conv(rng)
    size, sources = conv.shape
    x, b_size = population("x", "input", [-1] * sources), int(rng.integers(1, 6))
    a, b = (population(n, "lif", rng.integers(0, 4, k).tolist(), level=1) for n, k in (("a", size), ("b", b_size)))

    def some(shape: tuple[int, int]) -> Any:
        return (2 * rng.integers(-9, 9, shape) * (rng.random(shape) < 0.4)).astype(np.int16)

    a_from_x = Sparse.of(some(conv.shape))
    if len(a_from_x.values):
        a_from_x.values[0] = 0  # a zero that is listed is no synapse
    wiring = [
        ("x", "a", conv, False),
        ("x", "a", a_from_x, False),
        ("a", "b", Sparse.of(some((b_size, size))), False),
        ("b", "a", some((size, b_size)), False),
        ("b", "a", some((size, b_size)), True),
    ]
    made = [
        ChipSynapses(f"s{i}", source, target, weight, 0, int(rng.integers(1, 4)), sparse)
        for i, (source, target, weight, sparse) in enumerate(wiring)
    ]
    return Program("loihi1", 1e-3, (x, a, b), tuple(made), CORE_XY, {})
