"""The loops over ticks, compiled for the CPU: sparse products of spikes, the LIF scan, its adjoint, the readout.

Arrays are float32, C-contiguous and `[time, batch, neurons]`. Time is a sequence of slots, `slots` of them per token.
Tables are weights with the source first, `[source, target]`, so that a spike adds one row. Every kernel works on the
pieces `first..last` of the batch. Pieces are independent of each other, so each thread takes a share of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from muspike.jit import njit

Array = npt.NDArray[np.float32]
Axons = npt.NDArray[np.int64]
Kept = npt.NDArray[np.bool_]

# With less work than this (the number of elements that a kernel computes), a thread costs more than it saves.
_WORTH_THREADS = 200_000


def shared_out(kernel: Callable[..., None], batch: int, work: int, *arguments: Any) -> None:
    """Call `kernel(*arguments, first, last)` for each share of the batch, on as many threads as torch uses.

    If there is little work, one call computes the whole batch.
    """
    threads = min(batch, torch.get_num_threads())
    if threads == 1 or work < _WORTH_THREADS:
        kernel(*arguments, 0, batch)
        return
    bounds = np.linspace(0, batch, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda first, last: kernel(*arguments, first, last), bounds[:-1], bounds[1:]):
            pass


def summed_over_shares(kernel: Callable[..., None], like: Array, batch: int, work: int, *arguments: Any) -> Array:
    """The sum of the results of `kernel(out, *arguments, first, last)` for each share of the batch, in `like`'s shape.

    The kernel adds its result to `out`, which is 0 before the call.
    """
    threads = min(batch, torch.get_num_threads()) if work >= _WORTH_THREADS else 1
    outs = np.zeros((threads, *like.shape), np.float32)
    if threads == 1:
        only: Array = outs[0]
        kernel(only, *arguments, 0, batch)
        return only
    bounds = np.linspace(0, batch, threads + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda k: kernel(outs[k], *arguments, bounds[k], bounds[k + 1]), range(threads)):
            pass
    return np.asarray(outs.sum(0), np.float32)


# Sums of weights may use fused multiply-adds, because the order of these sums is free anyway.
_sums = njit(nogil=True, fastmath={"contract", "nsz"})
_exact = njit(nogil=True)


@_sums
def add_gathered(
    out: Array, axons: Axons, table: Array, slots: int, presented: int, delay: int, first: int, last: int
) -> None:
    """Add the current of tokens to `out`.

    `axons` `[tokens, batch, k]` are the axons of each token; a negative number is no axon. The current arrives `delay`
    tokens later and is held for `presented` slots.
    """
    tokens, _, hot = axons.shape
    row = np.empty(table.shape[1], np.float32)
    for n in range(tokens - delay):
        for b in range(first, last):
            row[:] = 0
            for k in range(hot):
                if axons[n, b, k] < 0:
                    continue
                weight = table[axons[n, b, k]]
                for i in range(row.size):
                    row[i] += weight[i]
            for s in range(presented):
                into = out[(n + delay) * slots + s, b]
                for i in range(row.size):
                    into[i] += row[i]


@_sums
def add_gathered_gradient(
    grad_table: Array, axons: Axons, grad: Array, slots: int, presented: int, delay: int, first: int, last: int
) -> None:
    """Add the gradient of `add_gathered`'s table to `grad_table`. `grad` is the gradient of the current."""
    tokens, _, hot = axons.shape
    row = np.empty(grad_table.shape[1], np.float32)
    for n in range(tokens - delay):
        for b in range(first, last):
            row[:] = 0
            for s in range(presented):
                g = grad[(n + delay) * slots + s, b]
                for i in range(row.size):
                    row[i] += g[i]
            for k in range(hot):
                if axons[n, b, k] < 0:
                    continue
                into = grad_table[axons[n, b, k]]
                for i in range(row.size):
                    into[i] += row[i]


@_sums
def add_rows(into: Array, values: Array, kept: Kept, table: Array, active: npt.NDArray[np.int64]) -> None:
    """Compute `into += (values * kept) @ table`, four rows at a time, without the rows that are multiplied by 0.

    `active` is working memory of one number more than there are values.
    """
    count = 0
    for j in range(values.size):
        active[count] = j
        count += (values[j] != 0) & kept[j]
    k = 0
    while k + 4 <= count:
        j0, j1, j2, j3 = active[k], active[k + 1], active[k + 2], active[k + 3]
        w0, w1, w2, w3 = table[j0], table[j1], table[j2], table[j3]
        a0, a1, a2, a3 = values[j0], values[j1], values[j2], values[j3]
        for i in range(into.size):
            into[i] += (a0 * w0[i] + a1 * w1[i]) + (a2 * w2[i] + a3 * w3[i])
        k += 4
    while k < count:
        w, a = table[active[k]], values[active[k]]
        for i in range(into.size):
            into[i] += a * w[i]
        k += 1


@_sums
def add_product(out: Array, spikes: Array, kept: Kept, table: Array, delay: int, first: int, last: int) -> None:
    """Add the current of `spikes` `[time, batch, sources]` through `table`, `delay` slots later, to `out`.

    Only the spikes cost time. `kept` `[batch, sources]` are the sources that are heard.
    """
    active = np.empty(spikes.shape[2] + 1, np.int64)
    for t in range(spikes.shape[0] - delay):
        for b in range(first, last):
            add_rows(out[t + delay, b], spikes[t, b], kept[b], table, active)


@_sums
def add_product_gradient(
    grad_table: Array, spikes: Array, kept: Kept, grad: Array, delay: int, first: int, last: int
) -> None:
    """Add the gradient of `add_product`'s table to `grad_table`. `grad` is the gradient of the current.

    Only the spikes cost time.
    """
    for t in range(spikes.shape[0] - delay):
        for b in range(first, last):
            g, values = grad[t + delay, b], spikes[t, b]
            for j in range(values.size):
                a = values[j]
                if (a != 0) & kept[b, j]:
                    into = grad_table[j]
                    for i in range(g.size):
                        into[i] += a * g[i]


@_exact
def lif(current: Array, rate: Array, threshold: Array, v: Array, spikes: Array) -> None:
    """Compute one tick of LIF neurons. `current` is overwritten with the membrane before the reset, `v` with it after.

    `rate` is 1 / tau.
    """
    for i in range(v.size):
        x = v[i]
        x = x + rate[i] * (current[i] - x)
        current[i] = x
        fired = x > threshold[i]
        spikes[i] = np.float32(1.0) if fired else np.float32(0.0)
        v[i] = np.float32(0.0) if fired else x


@_exact
def scan(
    membrane: Array,
    spikes: Array,
    rate: Array,
    threshold: Array,
    slots: int,
    idle: int,
    tables: tuple[Array, ...],
    delays: npt.NDArray[np.int64],
    first: int,
    last: int,
) -> None:
    """Run LIF neurons over all time: write `spikes`, and overwrite the current in `membrane` with the membrane.

    This is the membrane before each reset. After the last slot of a token, it decays through `idle` ticks. The neurons'
    own spikes come back through `tables[k]`, `delays[k]` slots later. Without recurrence, `delays` is empty.
    """
    time, _, neurons = membrane.shape
    v = np.empty(neurons, np.float32)
    active = np.empty(neurons + 1, np.int64)
    all_kept = np.ones(neurons, np.bool_)
    for b in range(first, last):
        v[:] = 0
        for t in range(time):
            current = membrane[t, b]
            for k in range(delays.size):
                if t >= delays[k]:
                    add_rows(current, spikes[t - delays[k], b], all_kept, tables[k], active)
            lif(current, rate, threshold, v, spikes[t, b])
            if (t + 1) % slots == 0:
                for _ in range(idle):
                    for i in range(neurons):
                        v[i] = v[i] + rate[i] * (np.float32(0.0) - v[i])


@_exact
def scan_gradient(
    grad: Array,
    membrane: Array,
    rate: Array,
    threshold: Array,
    idle_decay: Array,
    alpha: np.float32,
    carry: Array,
    slots: int,
    start: int,
    stop: int,
    first: int,
    last: int,
) -> None:
    """Run the adjoint of `scan`, without the loops, over the slots `start..stop`.

    `grad` holds the gradient of the spikes and is overwritten with the gradient of the current. `carry`
    `[batch, neurons]` holds the gradient of the membrane after slot `stop - 1` and is overwritten with the gradient of
    the membrane after slot `start - 1`.
    """
    half, bend, one = np.float32(0.5) * alpha, np.float32(math.pi / 2) * alpha, np.float32(1.0)
    neurons = rate.size
    for b in range(first, last):
        back = carry[b]
        for t in range(stop - 1, start - 1, -1):
            g_spikes, v = grad[t, b], membrane[t, b]
            if (t + 1) % slots == 0:
                for i in range(neurons):
                    back[i] *= idle_decay[i]
            for i in range(neurons):
                distance = v[i] - threshold[i]
                y = bend * distance
                kept = np.float32(0.0) if distance > 0 else back[i]
                g = kept + g_spikes[i] * half / (one + y * y)
                g_spikes[i] = rate[i] * g
                back[i] = (one - rate[i]) * g


@_exact
def leaky_answers(
    out: Array, drive: Array, rate: np.float32, slots: int, answered: int, idle: int, first: int, last: int
) -> None:
    """Write to `out` `[tokens, batch, neurons]` the membranes of leaky integrators in slot `answered` of each token."""
    v = np.empty(drive.shape[2], np.float32)
    for b in range(first, last):
        v[:] = 0
        for n in range(out.shape[0]):
            for s in range(slots):
                x = drive[n * slots + s, b]
                for i in range(v.size):
                    v[i] += rate * (x[i] - v[i])
                if s == answered:
                    out[n, b] = v
            for _ in range(idle):
                for i in range(v.size):
                    v[i] += rate * (np.float32(0.0) - v[i])


@_exact
def leaky_answers_gradient(
    grad_drive: Array, grad: Array, rate: np.float32, slots: int, answered: int, idle: int, first: int, last: int
) -> None:
    """Run the adjoint of `leaky_answers`, an integrator backwards in time: write `grad_drive`, the drive's gradient."""
    kept = np.float32(1.0) - rate
    decay = kept**idle
    carry = np.empty(grad.shape[2], np.float32)
    for b in range(first, last):
        carry[:] = 0
        for n in range(grad.shape[0] - 1, -1, -1):
            for i in range(carry.size):
                carry[i] *= decay
            for s in range(slots - 1, -1, -1):
                into = grad_drive[n * slots + s, b]
                if s == answered:
                    for i in range(carry.size):
                        carry[i] += grad[n, b, i]
                for i in range(carry.size):
                    into[i] = rate * carry[i]
                    carry[i] *= kept
