"""What each reader of NIR that muspike writes for does with a neuron: the numbers that it reads, and what it makes of
them.

Every reader has its own tick, and takes the time constants of a file in seconds. A dialect finds the time constant that
gives the reader's own formula the leak that the network has, so far as a float can.

Sources, read in the versions of `readers.toml`: snnTorch `import_nir.py`, `_neurons/leaky.py`, `_neurons/synaptic.py`;
SpikingJelly `nir_exchange/from_nir.py`, `functional` (`lif_step`); Norse `torch/utils/import_nir.py`,
`torch/functional/lif_box.py`; sinabs `nir.py`, `layers/functional/lif.py`; NIRTorch `nir_interpreter.py`,
`graph_executor.py`. The proof runs the reader itself; nothing here is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

NO_LEAK_TICKS = 2.0**60
"""A time constant, in ticks, of which a leak in doubles is 0."""
NEVER = 2.0**100
"""A threshold that no membrane reaches. Readers make arithmetic of it, so it is finite."""
_ULPS = 8


@dataclass(frozen=True)
class Dialect:
    """What a reader does with a neuron.

    Attributes:
        name: the reader.
        dt_s: the tick that it assumes, in seconds.
        leak: tau in seconds -> the part of the membrane that a tick loses in the reader.
        gain_in_weights: whether the reader executes v -= leak v; v += x with r = tau / dt, so that weights carry the
            gain of the neuron. False: it executes v += leak (x - v) and takes no r.
        at_threshold: whether a membrane that equals the threshold fires.
        uniform: the parameters that all neurons of a node must share.
        memoryless_lif: whether a LIF may have a tau of one tick. False: such neurons are written as CubaLIF.
        ordered_by: how it orders nodes in a tick: by `name`, or by following `edges` depth first.
        swallows_cycles: whether it replaces the cycle of a neuron with one Linear by something else.
        spikes_once: whether a spike resets the membrane to 0, and a neuron spikes at most once in a tick.
    """

    name: str
    dt_s: float
    leak: Callable[[Any], Any]
    gain_in_weights: bool
    at_threshold: bool
    uniform: tuple[str, ...]
    memoryless_lif: bool
    ordered_by: str
    swallows_cycles: bool
    spikes_once: bool = True

    def tau_s(self, ticks: Doubles) -> Doubles:
        """Time constants in seconds for which the reader's leak is nearest to 1 / ticks."""
        wanted = 1 / ticks
        best = ticks * self.dt_s
        error = np.abs(self.leak(best) - wanted)
        for direction in (0.0, np.inf):
            tried = ticks * self.dt_s
            for _ in range(_ULPS):
                tried = self._next(tried, direction)
                now = np.abs(self.leak(tried) - wanted)
                best, error = np.where(now < error, tried, best), np.minimum(now, error)
        return np.asarray(best, np.float64)

    def _next(self, tau_s: Doubles, direction: float) -> Doubles:
        if self.name == "norse":  # it reads a file's numbers in float32
            return np.nextafter(tau_s.astype(np.float32), np.float32(direction)).astype(np.float64)
        return np.asarray(np.nextafter(tau_s, direction))


def _norse_leak(tau_s: Any) -> Any:
    inverse = np.float32(1) / np.asarray(tau_s, np.float32)
    return (np.float32(1e-3) * inverse).astype(np.float64)


DIALECTS: Mapping[str, Dialect] = {
    "snntorch": Dialect(
        name="snntorch",
        dt_s=1e-4,
        leak=lambda tau_s: 1 - (1 - 1e-4 / tau_s),
        gain_in_weights=True,
        at_threshold=False,
        uniform=("threshold",),
        memoryless_lif=True,
        ordered_by="name",
        swallows_cycles=True,
    ),
    "spikingjelly": Dialect(
        name="spikingjelly",
        dt_s=1e-4,
        leak=lambda tau_s: 1 / (tau_s / 1e-4),
        gain_in_weights=True,
        at_threshold=True,
        uniform=("threshold", "tau", "tau_syn"),
        memoryless_lif=False,
        ordered_by="name",
        swallows_cycles=False,
    ),
    "norse": Dialect(
        name="norse",
        dt_s=1e-3,
        leak=_norse_leak,
        gain_in_weights=False,
        at_threshold=False,
        uniform=(),
        memoryless_lif=True,
        ordered_by="edges",
        swallows_cycles=False,
    ),
    "sinabs": Dialect(
        name="sinabs",
        dt_s=1.0,
        leak=lambda tau_s: -np.expm1(-1 / tau_s),
        gain_in_weights=True,
        at_threshold=True,
        uniform=(),
        memoryless_lif=True,
        ordered_by="edges",
        swallows_cycles=False,
        spikes_once=False,
    ),
}
"""The readers that muspike writes for, by name."""
