"""Which ticks would keep the events of a recording apart, and what shorter ticks mean to a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.hardware.graph import SpikingGraph

Integers = npt.NDArray[np.int64]

SHARES = (0.001, 0.01)
"""The shares of merged events for which a tick length is told."""

_MANTISSAS = (5, 2, 1)
_TOLERANCE = 1e-6  # of a gap; times in seconds are often multiples of a microsecond in floats
_SAME = 1e-12  # of the longest time; what is nearer is rounding


@dataclass(frozen=True)
class TickLengths:
    """Round tick lengths (1, 2 or 5 times a power of ten), in seconds, not above the one in use.

    Attributes:
        together: events that no tick keeps apart, because another event of their neuron has the same time.
        apart_s: the largest that is not above the smallest gap between two events of a neuron, so that no others merge;
            None: no tick keeps any more events apart than the one in use.
        at_most_s: for each of `SHARES`, the largest at which no larger share of the events merges; None: there is none.
    """

    together: int
    apart_s: float | None
    at_most_s: tuple[float | None, ...]

    @property
    def told(self) -> str:
        """The same in a sentence."""
        same = f"{self.together:,} events have the time of another event of their neuron, so they merge in any tick"
        if self.apart_s is None:
            return f"{same}, and no shorter tick keeps more apart"
        told = f"ticks of {self.apart_s:g} s keep {'the others' if self.together else 'all events'} apart"
        for share, dt_s in zip(SHARES, self.at_most_s, strict=True):
            if dt_s is not None and dt_s > self.apart_s:
                told += f"; in ticks of {dt_s:g} s at most {100 * share:g} % merge"
        return f"{same}; {told}" if self.together else told

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON-able dict."""
        at_most = {f"{share:g}": dt_s for share, dt_s in zip(SHARES, self.at_most_s, strict=True)}
        return asdict(self) | {"at_most_s": at_most}


def round_lengths(below_s: float) -> Iterator[float]:
    """Round tick lengths, in seconds, the largest first: those of at most `below_s`."""
    power = math.floor(math.log10(below_s)) + 1
    while True:
        for mantissa in _MANTISSAS:
            if (length := float(f"{mantissa}e{power}")) <= below_s:
                yield length
        power -= 1


def tick_lengths(
    time_s: npt.NDArray[np.float64],
    sequence: Integers,
    neuron: Integers,
    value: Integers,
    dt_s: float,
    ticks_of: Callable[[npt.NDArray[np.float64], float], Integers],
) -> TickLengths:
    """Find the tick lengths for events of which some merge in ticks of `dt_s`.

    Args:
        time_s: the time of each event, in seconds.
        sequence, neuron: where each event is.
        value: how many events each stands for, at least one.
        dt_s: the tick in use, in seconds.
        ticks_of: (times, tick length) -> the tick in which each time lies.
    """
    order = np.lexsort((time_s, neuron, sequence))
    time_s, sequence, neuron = np.maximum(time_s[order], 0), sequence[order], neuron[order]
    neighbours = (np.diff(sequence) == 0) & (np.diff(neuron) == 0)
    gaps = np.diff(time_s)[neighbours]
    events = int(value.sum())
    apart = gaps > _SAME * time_s.max(initial=0)
    together = events - len(value) + int(np.count_nonzero(~apart))

    def merged(length_s: float) -> int:
        same = np.diff(ticks_of(time_s, length_s)) == 0
        return events - len(value) + int(np.count_nonzero(same & neighbours))

    if merged(dt_s) <= together:
        return TickLengths(together, None, (None,) * len(SHARES))
    smallest = float(gaps[apart].min()) * (1 + _TOLERANCE)
    apart_s = next(length for length in round_lengths(smallest) if merged(length) <= together)
    found: list[float | None] = [None] * len(SHARES)
    for length in round_lengths(dt_s):
        if length < apart_s or None not in found:
            break
        share = merged(length) / events
        found = [length if of is None and share <= most else of for of, most in zip(found, SHARES, strict=True)]
    return TickLengths(together, apart_s, tuple(found))


def what_shorter_ticks_change(graph: SpikingGraph | None) -> Iterator[str]:
    """What another tick means to a network, in sentences. None: a program, whose tick is fixed."""
    if graph is None:
        yield "a program has one tick; muspike map --dt makes the program of another one from the .nir file"
        return
    if "dt" in graph.metadata:
        how = "the file names its dt, so it has to be written with another one (its metadata, 'dt') for other ticks"
    else:
        how = "--dt reads the network with other ticks"
    yield f"{how}; a network has one tick, for all of its inputs and neurons"
    neurons = [p for p in graph.populations if p.kind != "input" and p.name not in graph.always_firing]
    if of := [p for p in neurons if np.isinf(p.tau).any()]:
        told = "a neuron without a leak (IF) stays the same, because a spike brings its whole charge in any tick"
        biased = any(p.bias.any() for p in of)
        yield told + ("; but its bias acts once in every tick, so it drives more in shorter ticks" if biased else "")
    if any((np.isfinite(p.tau) & ((p.tau > 1) | (p.tau_syn > 1))).any() for p in neurons):
        yield (
            "a leaky neuron (LIF, LI) keeps its time constants, which are in seconds; but a spike acts for one tick "
            "and adds r * weight * dt / tau, so r has to grow as dt shrinks"
        )
    if any(((p.tau == 1) & (p.tau_syn == 1)).any() for p in neurons if p.kind == "lif"):
        yield (
            "a neuron that remembers no longer than a tick (Threshold) hears together only what lies in one tick, so "
            "with shorter ticks it is another network"
        )
