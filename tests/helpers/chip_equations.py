"""A chip program taken literally: its equations in 64-bit integers, tick by tick."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from muspike.hardware import weights as w
from muspike.hardware.program import Program

Ints = npt.NDArray[np.integer[Any]]


class Trace(NamedTuple):
    """By population, `[ticks, batch, size]`; for inputs, only their spikes. A readout "spikes" where it is reset."""

    spikes: dict[str, npt.NDArray[np.int64]]
    u: dict[str, npt.NDArray[np.int64]]
    v: dict[str, npt.NDArray[np.int64]]
    overflows: dict[str, int]


def decay(x: Ints, d: Ints) -> npt.NDArray[np.int64]:
    """What is left after a tick of a decay in 1/4096, rounded toward zero."""
    return np.asarray(np.sign(x) * ((np.abs(x) * (4096 - d.astype(np.int64))) >> 12))


def trace(p: Program, inputs: npt.NDArray[Any]) -> Trace:
    """What the program does with the spikes `[ticks, batch, size]` of its inputs, side by side."""
    ticks, batch, _ = inputs.shape
    matrices = [w.unrolled(w.astype(y.weight, np.int64)).columns for y in p.synapses]
    given = np.split(inputs.astype(np.int64), np.cumsum([q.size for q in p.inputs]), axis=2)
    spikes = {q.name: part for q, part in zip(p.inputs, given[:-1], strict=True)}
    neurons = [q for q in p.populations if q.kind != "input"]
    fired, u, v = ({q.name: np.zeros((ticks, batch, q.size), np.int64) for q in neurons} for _ in range(3))
    spikes |= fired
    overflows = dict.fromkeys(u, 0)
    for t in range(ticks):
        for q in neurons:
            a = np.zeros((batch, q.size), np.int64)
            for y, matrix in zip(p.synapses, matrices, strict=True):
                if y.target == q.name and t >= y.delay:
                    a += (matrix @ spikes[y.source][t - y.delay].T).T << y.weight_exp
            overflows[q.name] += int(((a < -(2**15)) | (a > 2**15 - 1)).sum())
            last_u, last_v = u[q.name][t - 1], v[q.name][t - 1]  # at the first tick: the last, which is still 0
            if q.reset_interval and t % q.reset_interval == q.reset_offset:
                last_u, last_v = np.zeros_like(last_u), np.zeros_like(last_v)
            now = decay(last_u, np.minimum(q.du + 1, 4096)) + (a << 6)
            now = (now + 2**23 - 1) % 2**24 - (2**23 - 1)
            bias = q.bias_mant.astype(np.int64) * 2 ** q.bias_exp.astype(np.int64)
            membrane = np.clip(decay(last_v, q.dv) + now + bias, -(2**23) + 1, 2**23 - 1)
            above = membrane > q.v_threshold.astype(np.int64) << 6
            spikes[q.name][t], u[q.name][t], v[q.name][t] = above, now, np.where(above, 0, membrane)
    return Trace(spikes, u, v, overflows)
