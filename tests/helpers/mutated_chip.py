"""The equations of the chip with one deliberate mistake: wrong simulators, which the conformance pack must catch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

MUTATIONS = {
    "fires at >=": "a membrane that meets its threshold fires",
    "u floors": "the decay of u rounds toward minus infinity",
    "v floors": "the decay of v rounds toward minus infinity",
    "du without + 1": "the decay of u is du",
    "dv + 1": "the decay of v is dv + 1",
    "du + 1 uncapped": "du 4096 decays by 4097 / 4096",
    "u wraps at 2^23": "u is in [-2^23, 2^23)",
    "u saturates": "u is clipped at the ends of its 24 bits",
    "u unbounded": "u has no ends",
    "v wraps": "v wraps at 24 bits",
    "v clips at -2^23": "the lower end of v is -2^23",
    "bias before decay": "the bias leaks in its own tick",
    "bias to u": "the bias is added to the current",
    "bias_exp ignored": "every bias exponent is 0",
    "bias_mant 12 bits": "bias_mant is clipped to -2048..2047",
    "reset after dynamics": "u and v become 0 at the end of the tick",
    "resets count from 1": "the first tick is tick 1 to the resets",
    "resets count on": "resets count through all sequences",
    "reset of v alone": "a reset leaves u as it is",
    "reset of u alone": "a reset leaves v as it is",
    "delay + 1": "every synapse takes one tick more",
    "delay at most 62": "delays are clipped to 62",
    "delay ignored": "every delay is 1",
    "input late": "synapses from inputs take one tick more",
    "kernel flipped": "convolutions flip their kernel",
    "stride swapped": "strides are (x, y)",
    "padding swapped": "paddings are (x, y)",
    "dilation ignored": "every dilation is 1",
    "groups ignored": "each output channel hears the first group's input channels",
    "exponent ignored": "every weight exponent is 0",
    "exponent of u": "the weight exponent is at most 6",
    "u reset at spike": "a spike resets u too",
    "soft reset": "a spike takes the threshold off v",
    "no reset": "a spike leaves v as it is",
    "readouts keep v": "a readout that passes its threshold is not reset",
    "sum wraps at 16 bits": "the synaptic sum has 16 bits",
    "sum clips at 16 bits": "the synaptic sum is clipped to 16 bits",
    "threshold 16 bits": "thresholds are cut to 16 bits",
    "threshold unshifted": "thresholds are in units of the membrane",
    "weights 8 bits": "weights are clipped to -128..127",
    "weight -256 clipped": "weights are clipped to -254..254",
    "graded as binary": "any graded spike counts 1",
    "graded 8 bits": "graded spikes are cut to 8 bits",
    "last synapses only": "of several synapses between two populations, only the last hold",
    "v hears the last u": "v adds the u of the tick before",
    "state goes on": "a sequence begins with the state that the one before left",
}


def simulate(case: Mapping[str, Any], mutation: str = "") -> dict[str, Ints]:
    """s, u and v `[ticks, batch, neurons]` of a case of the pack, with a mistake of `MUTATIONS`, or none."""
    m = mutation
    header = json.loads(bytes(case["header"]))
    populations, synapses = header["populations"], header["synapses"]
    at = {p["name"]: slice(*p["columns"]) for p in populations}
    given = {p["name"] for p in populations if p["kind"] == "input"}
    x, du, dv, threshold, mant, exp = (
        case[k].astype(np.int64) for k in ("inputs", "du", "dv", "v_threshold", "bias_mant", "bias_exp")
    )
    if m.startswith("graded"):
        x = np.minimum(x, 1) if m == "graded as binary" else x & 255
    du = du if m == "du without + 1" else du + 1
    du = du if m == "du + 1 uncapped" else np.minimum(du, 4096)
    dv = np.minimum(dv + 1, 4096) if m == "dv + 1" else dv
    if m == "bias_mant 12 bits":
        mant = np.clip(mant, -2048, 2047)
    bias = mant if m == "bias_exp ignored" else mant << exp
    if m == "threshold 16 bits":
        threshold = threshold & 0xFFFF
    threshold = threshold if m == "threshold unshifted" else threshold << 6
    resets_v = np.ones(len(du), bool)
    for p in populations:
        if p["kind"] == "li" and m == "readouts keep v":
            resets_v[at[p["name"]]] = False
    if m == "last synapses only":
        last = {(y["source"], y["target"]): i for i, y in enumerate(synapses)}
        used = set(last.values())
    else:
        used = set(range(len(synapses)))
    paths = [(y, _matrix(case, i, y, m).T) for i, y in enumerate(synapses) if i in used]
    ticks, batch, _ = x.shape
    s, u, v = (np.zeros((ticks, batch, len(du)), np.int64) for _ in "suv")

    def run(b: slice, first_u: Any = 0, first_v: Any = 0) -> None:
        for t in range(ticks):
            a = np.zeros_like(u[t, b])
            last_u = u[t - 1, b].copy() if t else np.zeros_like(a) + first_u
            last_v = v[t - 1, b].copy() if t else np.zeros_like(a) + first_v
            for y, matrix in paths:
                delay = _delay(y, given, m)
                if t >= delay:
                    heard = (x if y["source"] in given else s)[t - delay, b][:, at[y["source"]]] @ matrix
                    a[:, at[y["target"]]] += heard << _exponent(y, m)
            if m == "sum wraps at 16 bits":
                a = (a + 2**15) % 2**16 - 2**15
            elif m == "sum clips at 16 bits":
                a = np.clip(a, -(2**15), 2**15 - 1)
            due = _due(populations, at, t, b, ticks, len(du), m)
            if m != "reset after dynamics":
                last_u[:, due & (m != "reset of v alone")] = 0
                last_v[:, due & (m != "reset of u alone")] = 0
            now = _decayed(last_u, du, m == "u floors") + (a << 6) + bias * (m == "bias to u")
            now = _bounded(now, m)
            left = _decayed(last_v + bias * (m == "bias before decay"), dv, m == "v floors")
            membrane = left + (last_u if m == "v hears the last u" else now)
            membrane = membrane + bias * (m not in ("bias before decay", "bias to u"))
            if m == "v wraps":
                membrane = (membrane + 2**23) % 2**24 - 2**23
            low = -(2**23) + (m != "v clips at -2^23")
            membrane = np.clip(membrane, low, 2**23 - 1)
            fired = (membrane >= threshold) if m == "fires at >=" else (membrane > threshold)
            after = membrane - threshold if m == "soft reset" else membrane if m == "no reset" else 0 * membrane
            s[t, b], u[t, b], v[t, b] = fired, now, np.where(fired & resets_v, after, membrane)
            if m == "u reset at spike":
                u[t, b][fired] = 0
            if m == "reset after dynamics":
                u[t, b][:, due], v[t, b][:, due] = 0, 0

    if m in ("state goes on", "resets count on"):
        for i in range(batch):
            start = (u[-1, i - 1].copy(), v[-1, i - 1].copy()) if i and m == "state goes on" else ()
            run(slice(i, i + 1), *start)
    else:
        run(slice(0, batch))
    return {"s": s, "u": u, "v": v}


def _decayed(x: Ints, d: Ints, floors: bool) -> Ints:
    if floors:
        return (x * (4096 - d)) >> 12
    return np.asarray(np.sign(x) * ((np.abs(x) * (4096 - d)) >> 12))


def _bounded(u: Ints, m: str) -> Ints:
    if m == "u unbounded":
        return u
    if m == "u saturates":
        return np.clip(u, -(2**23) + 1, 2**23)
    low = 2**23 if m == "u wraps at 2^23" else 2**23 - 1
    return (u + low) % 2**24 - low


def _delay(y: Mapping[str, Any], given: set[str], m: str) -> int:
    delay = int(y["delay"])
    if m == "delay ignored":
        return 1
    if m == "delay at most 62":
        return min(delay, 62)
    return delay + (m == "delay + 1" or (m == "input late" and y["source"] in given))


def _exponent(y: Mapping[str, Any], m: str) -> int:
    e = int(y["weight_exp"])
    return 0 if m == "exponent ignored" else min(e, 6) if m == "exponent of u" else e


def _due(populations: Any, at: Any, t: int, b: slice, ticks: int, size: int, m: str) -> npt.NDArray[np.bool_]:
    due = np.zeros(size, bool)
    tick = t + (m == "resets count from 1") + (b.start * ticks if m == "resets count on" else 0)
    for p in populations:
        if p["reset_interval"] and tick % p["reset_interval"] == p["reset_offset"]:
            due[at[p["name"]]] = True
    return due


def _matrix(case: Mapping[str, Any], i: int, y: Mapping[str, Any], m: str) -> Ints:
    kernel = f"kernel_{i}"
    given = convolution_matrix(case[kernel], y["geometry"], m) if kernel in case else case[f"matrix_{i}"]
    matrix: Ints = given.astype(np.int64)
    if m == "weights 8 bits":
        return np.clip(matrix, -128, 127)
    return np.clip(matrix, -254, 254) if m == "weight -256 clipped" else matrix


def convolution_matrix(kernel: Any, geometry: Mapping[str, Any], m: str = "") -> npt.NDArray[np.int16]:
    """The matrix `[target, source]` of a convolution, tap by tap."""
    c_out, g_in, k_y, k_x = kernel.shape
    (c_in, n_y, n_x), (_, y_out, x_out) = geometry["input_shape"], geometry["output_shape"]
    s_y, s_x = geometry["stride"][::-1] if m == "stride swapped" else geometry["stride"]
    p_y, p_x = geometry["padding"][::-1] if m == "padding swapped" else geometry["padding"]
    d_y, d_x = (1, 1) if m == "dilation ignored" else geometry["dilation"]
    kernel = kernel[:, :, ::-1, ::-1] if m == "kernel flipped" else kernel
    matrix = np.zeros((c_out, y_out, x_out, c_in, n_y, n_x), np.int16)
    for o, i, a, b, y, x in np.ndindex(c_out, g_in, k_y, k_x, y_out, x_out):
        group = 0 if m == "groups ignored" else o // (c_out // geometry["groups"])
        from_y, from_x = y * s_y - p_y + a * d_y, x * s_x - p_x + b * d_x
        if 0 <= from_y < n_y and 0 <= from_x < n_x:
            matrix[o, y, x, group * g_in + i, from_y, from_x] += kernel[o, i, a, b]
    return matrix.reshape(c_out * y_out * x_out, c_in * n_y * n_x)
