"""Runs one case of the conformance pack in plain NumPy: `python run_case.py CASE.npz`."""

import json
import sys
from typing import Any

import numpy as np


def simulate(case: Any) -> dict[str, Any]:
    """s, u and v of every neuron after every tick, `[ticks, batch, neurons]`."""
    header = json.loads(bytes(case["header"]))
    at = {p["name"]: slice(*p["columns"]) for p in header["populations"]}
    inputs = {p["name"] for p in header["populations"] if p["kind"] == "input"}
    x, du, dv, threshold = (case[k].astype(np.int64) for k in ("inputs", "du", "dv", "v_threshold"))
    bias = case["bias_mant"].astype(np.int64) << case["bias_exp"]
    matrices = [case[f"matrix_{i}"].T.astype(np.int64) for i in range(len(header["synapses"]))]
    s, u, v = (np.zeros((*x.shape[:2], len(du)), np.int64) for _ in "suv")
    for t in range(len(x)):
        a, last_u, last_v = np.zeros_like(u[t]), (u[t - 1] if t else u[t]).copy(), (v[t - 1] if t else v[t]).copy()
        for y, matrix in zip(header["synapses"], matrices, strict=True):
            if t >= y["delay"]:
                source = x if y["source"] in inputs else s
                a[:, at[y["target"]]] += source[t - y["delay"]][:, at[y["source"]]] @ matrix << y["weight_exp"]
        for p in header["populations"]:
            if p["reset_interval"] and t % p["reset_interval"] == p["reset_offset"]:
                last_u[:, at[p["name"]]] = last_v[:, at[p["name"]]] = 0
        u[t] = np.sign(last_u) * (abs(last_u) * (4096 - np.minimum(du + 1, 4096)) >> 12) + (a << 6)
        u[t] = (u[t] + 2**23 - 1) % 2**24 - 2**23 + 1
        v[t] = np.clip(np.sign(last_v) * (abs(last_v) * (4096 - dv) >> 12) + u[t] + bias, 1 - 2**23, 2**23 - 1)
        s[t] = v[t] > threshold << 6
        v[t][s[t] == 1] = 0
    return {"s": s, "u": u, "v": v}


if __name__ == "__main__":
    with np.load(sys.argv[1]) as file:
        different = {name: int((x != file[name]).sum()) for name, x in simulate(file).items()}
    print("; ".join(f"{name}: {n} values differ" for name, n in different.items()))
    sys.exit(any(different.values()))
