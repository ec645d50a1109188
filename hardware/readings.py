"""How a neuron fires and resets: as NIR defines it, or as a tool trains whose files do not say it.

A file of sinabs or snnTorch holds neurons of NIR, whatever reset the network was trained with. A reading gives such a
file the meaning that its tool gave it. It is for the float network alone; a chip fires and resets as NIR says.

With x the synaptic input of a tick and `leak`, `gain` the constants of a reading, every neuron first integrates:

    v += -leak * v + gain * (x + bias)

| reading             | spikes s                     | reset                                            |
|---------------------|------------------------------|--------------------------------------------------|
| nir                 | 1 if v > threshold           | v = 0 where s                                    |
| sinabs              | trunc(v / threshold), v > 0  | v -= s * threshold                               |
| snntorch-subtract   | 1 if v > threshold           | v -= s * threshold in the next tick, after it has integrated |

Sources: sinabs 3.1.3, `activation/spike_generation.py` (MultiSpike), `activation/reset_mechanism.py`
(MembraneSubtract), `layers/functional/lif.py`; snnTorch 1.0.0, `_neurons/leaky.py` and `_neurons/synaptic.py`
(`_base_sub`, with reset_delay). Both are the tool's defaults. Tests hold the float network to both tools, spike for
spike (`tests/hardware/reader/test_peers.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware.graph import Population

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating[Any]]

MOST_SPIKES = 2**16 - 1
"""The most spikes of a neuron in a tick, and the largest count of an input."""


@dataclass(frozen=True, eq=False)
class Reading:
    """How the neurons of a graph integrate, fire and reset.

    Attributes:
        told: what the reading is, in a sentence.
        counts: whether inputs are counts. False: they are 0 or 1.
        leak: the part of the membrane that a tick loses, `[size]`, of a population.
        gain: what one unit of input adds to the membrane in its tick, `[size]`.
        fire: (v, threshold) -> the number of spikes of each neuron.
        reset: (v, spikes, threshold) -> v after these spikes.
        delayed: whether the reset acts in the next tick, after the neuron has integrated. False: in the tick itself.
        refuses: why a population has no meaning in this reading; None: it has one.
    """

    told: str
    counts: bool
    leak: Callable[[Population], Doubles]
    gain: Callable[[Population], Doubles]
    fire: Callable[[Floats, Floats], Floats]
    reset: Callable[[Floats, Floats, Floats], Floats]
    delayed: bool
    refuses: Callable[[Population], str | None]


def _once(v: Floats, threshold: Floats) -> Floats:
    return (v > threshold).astype(v.dtype)


def _several(v: Floats, threshold: Floats) -> Floats:
    return np.where(v > 0, np.trunc(v / threshold), 0).astype(v.dtype)


def _to_zero(v: Floats, spikes: Floats, threshold: Floats) -> Floats:
    return np.where(spikes > 0, 0, v).astype(v.dtype)


def _by_subtraction(v: Floats, spikes: Floats, threshold: Floats) -> Floats:
    return v - np.multiply(spikes, threshold, where=spikes > 0, out=np.zeros_like(v))  # a threshold may be infinite


def _sinabs_leak(p: Population) -> Doubles:
    # With a tau of one tick the graph has what keeps nothing, such as sums; sinabs has nothing to decay there.
    return np.where(p.tau == 1, 1.0, -np.expm1(-1 / p.tau))


def _sinabs_gain(p: Population) -> Doubles:
    # LIF has norm_input=True, ExpLeak has norm_input=False; an IAF, which does not leak, adds its input as it is.
    return np.where(np.isinf(p.tau) | (p.kind == "li"), 1.0, _sinabs_leak(p))


def _sinabs_refuses(p: Population) -> str | None:
    if (p.tau_syn != 1).any():
        return "has a synaptic filter, which sinabs does not write"
    if p.kind == "lif" and (p.v_threshold <= 0).any():
        return f"has the threshold {p.v_threshold.min():g}, of which no membrane is a multiple"
    return None


READINGS: Mapping[str, Reading] = {
    "nir": Reading(
        told="after a spike the membrane is 0, and a neuron spikes at most once in a tick",
        counts=False,
        leak=lambda p: p.leak,
        gain=lambda p: p.gain,
        fire=_once,
        reset=_to_zero,
        delayed=False,
        refuses=lambda p: None,
    ),
    "sinabs": Reading(
        told="a neuron spikes as often in a tick as its membrane holds the threshold, each spike subtracts the "
        "threshold, inputs are counts, and a membrane with a time constant keeps exp(-1 / tau) of itself in a tick, "
        "with tau as sinabs writes it",
        counts=True,
        leak=_sinabs_leak,
        gain=_sinabs_gain,
        fire=_several,
        reset=_by_subtraction,
        delayed=False,
        refuses=_sinabs_refuses,
    ),
    "snntorch-subtract": Reading(
        told="a neuron spikes at most once in a tick, a spike subtracts the threshold in the next tick, and inputs are "
        "counts",
        counts=True,
        leak=lambda p: p.leak,
        gain=lambda p: p.gain,
        fire=_once,
        reset=_by_subtraction,
        delayed=True,
        refuses=lambda p: None,
    ),
}
"""The readings by name."""
