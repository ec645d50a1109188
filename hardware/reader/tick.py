"""The tick of a NIR graph, in seconds: read from its metadata or given, and never guessed.

If it is missing, the error says which tick the numbers of the graph suggest. Tools that discretise a neuron write its
equation so that a tick adds the whole input: LIF and LI with r = tau / dt, CubaLIF and CubaLI with w_in = tau_syn / dt
and r = tau_mem / dt, IF and I with r = 1 / dt. If all nodes that look so agree on one dt, it is told.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np

from muspike.arguments import seconds
from muspike.errors import BadInput
from muspike.hardware.reader import node as nir_node
from muspike.hardware.reader.neurons import INVERSE_DT
from muspike.hardware.reader.node import TICK_TOLERANCE, Doubles

DT_S = (1e-12, 1e6)
"""The shortest and longest tick, in seconds. Beyond them, floats no longer hold times in ticks exactly."""

ASSUMED_DT = {
    "norse": "1e-3 (its files of the NIR paper: 1e-4)",
    "snntorch": "1e-4",
    "spikingjelly": "1e-4",
    "sinabs": "1 (it counts tau in ticks)",
}
"""The dt, in seconds, that tools assume for tau when they write or read NIR; the file does not say it.

Read in norse 1.1.0 (`torch/utils/import_nir.py`), snntorch 1.0.0 (`export_nir.py`), spikingjelly 2.0.0
(`nir_exchange/to_nir.py`, the default of a parameter), sinabs 3.1.3 (`nir.py`, which passes tau on unscaled). The
single LIF that Norse wrote for the NIR paper (neuromorphs/NIR, `paper/01_lif`) fires as recorded at 1e-4.
"""

# By type of node: a time constant (None: 1 s), and the factor that is this time over dt if the tool writes it so.
_RATIOS: Mapping[type, tuple[tuple[str | None, str], ...]] = {
    nir.LI: (("tau", "r"),),
    nir.LIF: (("tau", "r"),),
    nir.CubaLI: (("tau_syn", "w_in"), ("tau_mem", "r")),
    nir.CubaLIF: (("tau_syn", "w_in"), ("tau_mem", "r")),
    nir.I: ((None, "r"),),
    nir.IF: ((None, "r"),),
}
_AGREE = 1e-4  # relative; times in a file are often float32
_DEEPEST = 64  # graphs within graphs; deeper ones are refused when the graph is read


def tick_of(graph: nir.NIRGraph, metadata: Mapping[str, Any], dt_s: float | None) -> float:
    """The tick of a graph, in seconds.

    Args:
        graph: the graph.
        metadata: its metadata as plain values.
        dt_s: the tick that the caller gives; None: the metadata say it.

    Raises:
        BadInput: neither says it; they differ; or it is out of `DT_S`.
    """
    given = [value for value in (dt_s, metadata.get("dt")) if value is not None]
    if not given:
        assumed = ", ".join(f"{tool} {dt}" for tool, dt in ASSUMED_DT.items())
        raise BadInput(
            "the NIR graph does not say its dt (seconds per tick, metadata['dt']), and none was given (--dt). "
            f"{_suggestion(graph)}Tools that write NIR assume: {assumed}. With a "
            "wrong dt each spike adds too much or too little: neurons fire at nearly every spike that arrives, or never"
        )
    for value in given:
        seconds("dt", value)
        if not DT_S[0] <= value <= DT_S[1]:
            raise BadInput(f"dt is {value:g} s, expected {DT_S[0]:g} to {DT_S[1]:g} s")
    if not math.isclose(given[0], given[-1], rel_tol=TICK_TOLERANCE):
        raise BadInput(f"dt was given as {given[0]:g} s, but the graph's metadata says {given[1]:g} s")
    return float(given[-1])


def _suggestion(graph: nir.NIRGraph) -> str:
    """A sentence on the dt that the numbers of a graph suggest; empty if they suggest none, or several."""
    found = list(_found(graph, "", 0))
    if not found:
        return ""
    dts = np.array([dt for _, _, _, dt in found])
    dt = float(np.median(dts))
    # One ratio alone can be chance, unless it makes a round number.
    alone = len({(tau, factor) for _, _, (tau, factor), _ in found}) == 1
    if not np.allclose(dts, dt, rtol=_AGREE, atol=0) or (alone and float(f"{dt:.0e}") != float(f"{dt:.4g}")):
        return ""
    name = found[0][0]
    why = " and ".join(dict.fromkeys(words for node, words, _, _ in found if node == name))
    others = len({node for node, *_ in found}) - 1
    more = f" (and {others} more alike)" if others else ""
    return f"Its numbers suggest {dt:.6g}: {why} in node {name!r}{more}. "


def _found(graph: nir.NIRGraph, prefix: str, depth: int) -> Iterator[tuple[str, str, tuple[float, float], float]]:
    """For each factor that could be a time over dt: the node, the equation in words, both numbers, and that dt."""
    for key, node in graph.nodes.items():
        name = f"{prefix}{key}"
        if isinstance(node, nir.NIRGraph):
            if depth < _DEEPEST:
                yield from _found(node, f"{name}.", depth + 1)
            continue
        for tau, factor in _RATIOS.get(type(node), ()):
            pair = _pair(name, node, tau, factor)
            if pair is None:
                continue
            times, factors = pair
            # A factor of 1 is what a tool writes that means something else by it, and dt is at most tau.
            if not ((factors > (1 if tau else INVERSE_DT - 1)).all() and (times > 0).all()):
                continue
            dts = times / factors
            if np.allclose(dts, dts[0], rtol=_AGREE, atol=0) and DT_S[0] <= dts[0] <= DT_S[1]:
                distinct = np.unique(np.stack([times, factors]), axis=1).T.tolist()
                for time, number in distinct[:2]:
                    yield name, f"{factor} = {tau or 1} / {dts[0]:.6g}", (time, number), float(dts[0])


def _pair(name: str, node: Any, tau: str | None, factor: str) -> tuple[Doubles, Doubles] | None:
    """The values of two fields, side by side; None if a field is wrong, which reading the node will say."""
    try:
        times = np.ones(()) if tau is None else nir_node.array(name, node, tau).astype(np.float64)
        both = np.broadcast_arrays(times, nir_node.array(name, node, factor).astype(np.float64))
    except (BadInput, ValueError):
        return None
    return (both[0].ravel(), both[1].ravel()) if both[0].size else None
