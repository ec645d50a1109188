"""Programs whose inputs are graded, and spikes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from muspike.hardware import weights as w
from muspike.hardware.program import Program


def with_graded_inputs(program: Program, bits: Sequence[int]) -> Program:
    """The same program; its inputs have these bits by turns (0: spikes of 0 or 1)."""
    of = {p.name: bits[i % len(bits)] for i, p in enumerate(program.inputs)}
    return replace(program, populations=[replace(p, graded_bits=of.get(p.name, 0)) for p in program.populations])


def graded_spikes(
    seed: int, program: Program, ticks: int, batch: int, rate: float = 0.3, most: int = 2**16
) -> npt.NDArray[np.uint16]:
    """Spikes for the inputs side by side, `[ticks, batch, size]`: of the graded ones below `most`, mostly small."""
    rng = np.random.default_rng(seed)
    parts = [np.zeros((ticks, batch, 0), np.uint16)]
    for p in program.inputs:
        shape = ticks, batch, p.size
        values = rng.geometric(0.5, shape) * np.where(rng.random(shape) < 0.05, 2 ** rng.integers(0, 16, shape), 1)
        fired = rng.random(shape) < rate
        parts.append((fired * np.minimum(values, min(p.largest_spike, most - 1))).astype(np.uint16))
    return np.concatenate(parts, axis=2)


def spikes_that_lava_judges(
    seed: int, program: Program, ticks: int, batch: int, rate: float = 0.3
) -> npt.NDArray[np.uint16]:
    """`graded_spikes` as large as they can be while every synaptic sum stays below 2^18: beyond, Lava wraps u once."""
    for most in (2**16, 2**12, 300, 20, 4):
        found = graded_spikes(seed, program, ticks, batch, rate, most)
        if _largest_sum(program, found) < 2**18:
            return found
    return graded_spikes(seed, program, ticks, batch, rate, 2)


def _largest_sum(program: Program, spikes: npt.NDArray[np.uint16]) -> int:
    """A bound of every |synaptic sum|, as if all neurons spiked."""
    ends = np.cumsum([0, *(p.size for p in program.inputs)])
    given = {p.name: spikes[..., a:b] for p, a, b in zip(program.inputs, ends, ends[1:], strict=False)}
    sums: dict[str, int] = {}
    for s in program.synapses:
        size = s.weight.shape[1]
        x = given.get(s.source, np.ones((1, 1, size), np.int64)).reshape(-1, size).astype(np.int64)
        magnitudes = w.with_values(s.weight, np.abs(w.values(s.weight).astype(np.int64)))
        sums[s.target] = sums.get(s.target, 0) + (int(w.applied(magnitudes, x).max(initial=0)) << s.weight_exp)
    return max(sums.values(), default=0)
