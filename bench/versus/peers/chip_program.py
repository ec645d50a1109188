"""A Program file as plain arrays, read with NumPy alone, for the simulators that `bench/versus/simulator.py` times.

Each simulator has a script, `run_*.py PROGRAM.npz INPUTS.npy WARM SPIKES.npz`, for a Python that has the simulator and
need not have muspike. The script runs the program from rest on INPUTS, uint8 `[ticks, size]`. For each `lif` population
it writes the spikes to SPIKES: rising offsets into the population's array `[ticks, size]` in C order. It prints a line
of JSON with `versions` and `seconds_per_tick`, the time of the ticks after the first WARM ticks.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass
class Population:
    name: str
    size: int
    kind: str
    du: Ints
    dv: Ints
    v_threshold: Ints
    bias: Ints


@dataclass
class Synapses:
    """Synapses of one delay between two populations.

    A spike of neuron `sources[i]` adds `values[i]` to the input of neuron `targets[i]`. `sources` rises.
    """

    source: str
    target: str
    delay: int
    sources: Ints
    targets: Ints
    values: Ints


def read(path: str) -> tuple[list[Population], list[Synapses]]:
    """The populations and synapses of a program file.

    Raises:
        SystemExit: the program has a convolution, a reset or a readout.
    """
    arrays = np.load(path)
    header = json.loads(arrays["header"].tobytes())
    populations, first = [], 0
    for p in header["populations"]:
        if p["reset_interval"] or p["kind"] == "li":
            raise SystemExit(f"population {p['name']}: resets and readouts are not written for this simulator")
        at = slice(first, first + p["size"])
        first = at.stop
        du, dv, threshold, mant, exp = (
            arrays[n][at].astype(np.int64) for n in ("du", "dv", "v_threshold", "bias_mant", "bias_exp")
        )
        populations.append(Population(p["name"], p["size"], p["kind"], du, dv, threshold, mant << exp))
    synapses = []
    for i, s in enumerate(header["synapses"]):
        values = arrays[f"weight_{i}"]
        if s["form"] == "sparse":
            starts, targets = arrays[f"starts_{i}"], arrays[f"targets_{i}"]
            sources = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        elif s["form"] == "dense":
            sources, targets = np.nonzero(values.T)
            values = values.T[sources, targets]
        else:
            raise SystemExit(f"synapses {s['name']}: convolutions are not written for this simulator")
        numbers = (a.astype(np.int64) for a in (sources, targets, values.astype(np.int64) << s["weight_exp"]))
        synapses.append(Synapses(s["source"], s["target"], s["delay"], *numbers))
    return populations, synapses


def inputs(populations: list[Population]) -> dict[str, npt.NDArray[np.uint8]]:
    """The spikes of each input population, `[ticks, size]`, from the script's second argument."""
    given = np.load(sys.argv[2])
    spikes, first = {}, 0
    for p in populations:
        if p.kind == "input":
            spikes[p.name] = given[:, first : first + p.size]
            first += p.size
    return spikes


def report(versions: dict[str, str], seconds_per_tick: float, spikes: dict[str, Ints]) -> None:
    np.savez(sys.argv[4], **spikes)
    print(json.dumps({"versions": versions, "seconds_per_tick": seconds_per_tick}))
