"""The best batch: doubled as long as samples per joule rise, or samples per second where there are no joules.

This is a search and no measurement: each batch gets one short look. What is found is measured afterwards, in windows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from muspike.arguments import whole
from muspike.errors import BadInput, Failed
from muspike.hardware.meter.counters import Meter, TimeOnly
from muspike.hardware.meter.windows import REAL, Clock, Work

GAIN = 1.02
"""A batch is better only if it gives so much more per joule or second: less is noise."""
PATIENCE = 2
"""After so many batches that are no better, the search ends."""
FEWEST_PERIODS = 50
"""Periods of the counter in a look."""
_FEWEST_CALLS = 5


@dataclass(frozen=True)
class Tried:
    """One look at a batch.

    Attributes:
        batch: samples of a call.
        rate: samples per second, by the median of the calls.
        per_joule: samples per joule; None: no counter.
    """

    batch: int
    rate: float
    per_joule: float | None


@dataclass(frozen=True)
class Batches:
    """What the search found.

    Attributes:
        best: the best batch.
        tried: every batch that was looked at, in rising order.
        ended: why the search ended, in words.
    """

    best: int
    tried: list[Tried]
    ended: str


def find_best(start: Callable[[int], Work], meter: Meter, most: int, look_s: float, clock: Clock = REAL) -> Batches:
    """Double the batch until it pays no more.

    Args:
        start: makes a work of this batch ready. A batch for which there is no memory raises MemoryError, here or when
            the work is called.
        meter: the counter, or why there is none.
        most: the largest batch to look at.
        look_s: seconds for each batch. With a counter, at least `FEWEST_PERIODS` of its periods are taken.
        clock: where time comes from.

    Raises:
        BadInput: not even a batch of 1 has memory.
        Failed: the counter does not move.
    """
    whole("the largest batch", most, 1)
    tried: list[Tried] = []
    ended = f"the largest batch to look at is {most:,}"
    batch, best = 1, 0
    while batch <= most:
        try:
            tried.append(_look(start(batch), batch, meter, look_s, clock))
        except MemoryError as error:
            ended = f"no memory for a batch of {batch:,}{f': {error}' if str(error) else ''}"
            break
        if _gain(tried[-1]) > _gain(tried[best]) * GAIN:
            best = len(tried) - 1
        elif len(tried) - 1 - best >= PATIENCE:
            per = "second" if isinstance(meter, TimeOnly) else "joule"
            ended = f"larger batches give no more samples per {per}"
            break
        batch *= 2
    if not tried:
        raise BadInput(ended)
    return Batches(tried[best].batch, tried, ended)


def _gain(tried: Tried) -> float:
    return tried.rate if tried.per_joule is None else tried.per_joule


def _look(work: Work, batch: int, meter: Meter, look_s: float, clock: Clock) -> Tried:
    work()
    if isinstance(meter, TimeOnly):
        return Tried(batch, _called(work, look_s, clock)[1], None)
    for _ in range(3):
        joules = meter.read()
        samples, rate = _called(work, max(look_s, FEWEST_PERIODS * meter.period_s), clock)
        if (spent := meter.read() - joules) > 0:
            return Tried(batch, rate, samples / spent)
    raise Failed(f"the {meter.name} does not move, or starts anew again and again; its joules mean nothing")


def _called(work: Work, look_s: float, clock: Clock) -> tuple[int, float]:
    """Samples of calls that take at least `look_s` seconds, and samples per second by the median of the calls.

    On a busy machine some calls take many times as long as they need. The median leaves them out.
    """
    samples: list[int] = []
    call_s: list[float] = []
    begun = clock.now()
    while clock.now() - begun < look_s or len(samples) < _FEWEST_CALLS:
        before = clock.now()
        samples.append(work())
        call_s.append(clock.now() - before)
    return sum(samples), float(np.mean(samples) / np.median(call_s))
