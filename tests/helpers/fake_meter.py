"""A device that draws power in a time of its own, and a counter of its energy with all that real ones do wrong."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from muspike.errors import Failed
from muspike.hardware.meter.counters import Sensors
from muspike.hardware.meter.windows import Clock


@dataclass
class Device:
    """A device in simulated time.

    Attributes:
        idle_w, work_w: power at rest, and of a work on top.
        spread: of the work's power, drawn anew every 5 s.
        leak: share by which power rises per degree above 30; the temperature follows the power in `cooling_s`.
        drift_w_per_s: how fast the idle power grows.
        period_s: of the counter's moves.
        scale: what the counter shows of each joule.
        seed: of all that is drawn.
    """

    idle_w: float = 70.0
    work_w: float = 200.0
    spread: float = 0.0
    leak: float = 0.0
    cooling_s: float = 60.0
    drift_w_per_s: float = 0.0
    period_s: float = 0.1
    scale: float = 1.0
    seed: int = 0
    now_s: float = 0.0
    joules: float = 0.0
    shown: float = 0.0
    temperature_c: float = 30.0
    power_w: float = 0.0
    _factor: float = 1.0
    _until_s: float = 0.0
    _moves: int = 0
    _phase: float = field(default=0.0)

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)
        self._phase = float(self.random.random()) * self.period_s

    def spend(self, seconds: float, share: float = 0.0) -> None:
        """Let time go by, with the work at a share of its power."""
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            if self.now_s >= self._until_s:
                self._factor = 1 + self.spread * float(self.random.standard_normal())
                self._until_s = self.now_s + 5.0
            move_s = self._phase + self._moves * self.period_s
            step_s = max(0.0, min(end_s, move_s) - self.now_s)
            if self.leak:
                step_s = min(step_s, 1.0)
            heat = 1 + self.leak * (self.temperature_c - 30)
            drift_w = self.drift_w_per_s * self.now_s
            self.power_w = (self.idle_w + drift_w + share * self.work_w * self._factor) * heat
            self.joules += self.power_w * step_s
            target = 30 + self.power_w / 8
            self.temperature_c += (target - self.temperature_c) * (1 - np.exp(-step_s / self.cooling_s))
            self.now_s += step_s
            if self.now_s >= move_s:
                self.shown, self._moves = self.joules * self.scale, self._moves + 1

    def clock(self) -> Clock:
        return Clock(lambda: self.now_s, self.spend, lambda: self.now_s)

    def work(self, call_s: float = 0.02, share: float = 1.0, samples: int = 1) -> Callable[[], int]:
        def call() -> int:
            self.spend(call_s, share)
            return samples

        return call


class FakeCounter:
    """The counter of a device. See `muspike.hardware.meter.counters.Counter`."""

    name, boundary, driver = "fake counter", "a device that does not exist", "1.0"
    step_j, accuracy, most_w = 1e-3, 0.0, 1000.0

    def __init__(self, device: Device, others: int | None = 0, coverage: float = 1.0) -> None:
        self.device, self.period_s = device, device.period_s
        self.others, self.coverage = others, coverage
        self.offsets: list[tuple[float, float]] = []  # from this second on, so many joules are added
        self.dies_s = float("inf")
        self.clocks: Iterator[float] = itertools.repeat(1000.0)

    def read(self) -> float:
        if self.device.now_s > self.dies_s:
            raise Failed("fake counter: gone")
        moved = sum(joules for second, joules in self.offsets if self.device.now_s >= second)
        return round(self.device.shown + moved, 3)

    def sensors(self) -> Sensors:
        seen = self.device.power_w * self.coverage
        return Sensors(seen, self.device.temperature_c, next(self.clocks), self.others)
