"""What the inputs of a network lose on a chip, because a neuron spikes at most once in a tick: events that meet.

A network may have been trained with several events in one tick of a neuron, as counts. The chip gets one spike instead.
So a report on a run says first how many events were merged.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from muspike.hardware.running.tick_lengths import TickLengths

What = Literal["events", "counts"]

_CAUSE = {
    "events": "their neuron has another event in the same tick",
    "counts": "the file counts several in one tick of a neuron",
}


@dataclass(frozen=True)
class Merged:
    """What one input loses.

    Attributes:
        input: the name of the input.
        what: what the file holds: `events`, each of its own, or an array of `counts`.
        events: events within the run, all sequences together.
        merged: how many of them are left out, because another event is the spike of their tick and neuron.
        shared: neuron-ticks in which several events lie.
        most: the most events in one tick of a neuron.
        ticks: ticks of a sequence.
        dt_s: seconds per tick.
        lengths: the tick lengths that would keep the events apart; None: the file gives ticks, not times.
    """

    input: str
    what: What
    events: int
    merged: int
    shared: int
    most: int
    ticks: int
    dt_s: float
    lengths: TickLengths | None = None

    @classmethod
    def of(
        cls,
        name: str,
        what: What,
        counts: npt.NDArray[np.uint16],
        dt_s: float,
        lengths: TickLengths | None = None,
    ) -> Merged:
        """What an input loses that has these counts, `[ticks, batch, size]`."""
        events, kept = int(counts.sum(dtype=np.int64)), int(np.count_nonzero(counts))
        shared, most = int(np.count_nonzero(counts > 1)), int(counts.max(initial=0))
        return cls(name, what, events, events - kept, shared, most, len(counts), dt_s, lengths)

    @property
    def share(self) -> float:
        """The share of the events that is left out."""
        return self.merged / self.events if self.events else 0.0

    @property
    def told(self) -> str:
        """The same in a sentence."""
        return (
            f"{self.input}: {self.merged:,} of {self.events:,} events ({_per_cent(self.share)} %) are left out: "
            f"{_CAUSE[self.what]}, and a neuron spikes at most once in a tick (ticks of {self.dt_s:g} s, at most "
            f"{self.most:,} events in one)"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as a JSON-able dict."""
        return asdict(self) | {"share": self.share, "lengths": self.lengths and self.lengths.to_dict()}

    @property
    def remedy(self) -> str:
        """Which ticks would keep the events apart, in a sentence."""
        if self.lengths is None:
            return (
                f"{self.input}: the file gives ticks, not times, so it does not say which would keep its events apart"
            )
        return f"{self.input}: {self.lengths.told}"


def _per_cent(share: float) -> str:
    """A share in per cent: two digits, and never all of it where a part is left."""
    return f"{100 * share:.2g}" if share < 0.095 else f"{math.floor(100 * share)}"
