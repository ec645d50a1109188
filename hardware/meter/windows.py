"""Measure a computation in windows: energy and time per sample, with intervals, on any machine that has a counter.

A work is called again and again. A window counts the samples, the seconds and the joules of many calls:

    window: calls until the counter moves | calls for at least `window_s` | calls until the counter moves again
            not counted                     counted, both ends at a move of the counter

So both ends of a window lie at a move of the counter, and the work never stops in between. A move is seen after the
call in which it fell. What the two ends can be off, power x the time between two looks at the counter, is added to the
interval of the figures.

What makes measurements of energy wrong, and what is done about it:

- A counter moves only from time to time: windows are long, their ends lie at moves, short windows are refused.
- Power readings miss most of the time (arXiv 2312.02741): they are never integrated for a result. The integral is kept
  beside the counter's joules, and a difference is reported.
- Heat makes later windows dearer: windows of all works take turns, in an order drawn anew for each round. The
  temperature is kept with each window. Idle power is measured before and after, and its drift goes into the interval.
- A counter can start anew or jump: such a window is thrown away and measured again.

A figure is a ratio of sums: the joules (or seconds) of all windows over the samples of all windows, so that a longer
window counts for more. The interval is Student's t interval of that ratio over the windows (95 %), widened by the
resolution of the counter and, above idle, by half the drift of the idle power. The band of a figure in joules is that
interval, widened by the counter's accuracy.
"""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from scipy import stats

from muspike.errors import BadInput, Failed
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.meter.counters import Counter, Meter, Sensors, TimeOnly
from muspike.ranges import PAUSE_S, WINDOW_S, WINDOWS, check, setting, whole

Work: TypeAlias = Callable[[], int]
"""One call of a computation. It returns when all is computed, and says how many samples that were."""

CONFIDENCE = 0.95
QUANTILES = (0.05, 0.5, 0.95, 0.99)
"""Of the seconds of a call."""

FEWEST_RUNS, SHORTEST_S, PERIODS = 5, 5.0, 50
"""With a counter: the fewest windows, the shortest window, and the fewest periods of the counter in a window.

With 50 periods, the two ends of a window are at most 4 % of it.
"""
DISAGREEMENT = 0.1
"""The share by which joules and integrated power may differ before it is reported.

On one idle GPU they differed by 75 % over 5 s: https://github.com/ml-energy/zeus/issues/181.
"""
_TOLD_DRIFT = 0.02  # of the idle power
_SENSE_S = 0.5
_DEAD_PERIODS = 50  # a counter that stands still for so long while the device works is dead


@dataclass(frozen=True)
class Clock:
    """Where time comes from. Tests give another one.

    Attributes:
        now: seconds since some moment.
        sleep: waits for so many seconds.
        cpu: seconds for which all threads of this process have computed on the CPU.
    """

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep
    cpu: Callable[[], float] = time.process_time


REAL = Clock()


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        runs: windows of each work.
        window_s: least seconds of a window.
        warm_up_s: seconds for which a work is called before each of its windows.
        idle_s: least seconds of idling before and after, where there is a counter.
        seed: of the order of the windows.

    Raises:
        BadInput: a number is outside its range.
    """

    runs: int = setting(5, WINDOWS)
    window_s: float = setting(5.0, WINDOW_S)
    warm_up_s: float = setting(1.0, PAUSE_S)
    idle_s: float = setting(5.0, PAUSE_S)
    seed: int = setting(0, whole(0, 2**32 - 1))

    def __post_init__(self) -> None:
        check(self, "measure")


def refuse_too_short(settings: Settings, meter: Meter) -> None:
    """Refuse windows that are too few or too short for a counter. Time alone can be measured in short ones.

    Raises:
        BadInput: there are too few, or they are too short.
    """
    if isinstance(meter, TimeOnly):
        return
    shortest = max(SHORTEST_S, PERIODS * meter.period_s)
    if settings.runs < FEWEST_RUNS:
        raise BadInput(f"{settings.runs} windows are too few for joules; expected at least {FEWEST_RUNS}")
    for what, found in (("a window", settings.window_s), ("idling", settings.idle_s)):
        if found < shortest:
            raise BadInput(
                f"{what} of {found:g} s is too short for joules: the {meter.name} moves every {meter.period_s:g} s; "
                f"expected at least {shortest:g} s"
            )


@dataclass(frozen=True)
class Window:
    """A window as it was measured.

    Attributes:
        session: number of the session in which it was measured, from 0.
        place: its place in the order of all windows of that session, from 0.
        begun_s: seconds from the beginning of the session.
        seconds, calls, samples: how long it was, and what was computed in it.
        cpu_s: seconds for which all threads of this process computed on the CPU. Where it is less than the seconds of a
            work of one thread, other processes took the rest.
        joules: what the counter counted; None: no counter.
        resolution_j: what the two ends of the window can be off.
        power_w: mean of the power readings in the window; None: the device has none. Not used for any result.
        temperature_c, clock_mhz: of the device, at the beginning and at the end of the window.
        call_s: quantiles of the seconds of a call, one for each of `QUANTILES`.
    """

    session: int
    place: int
    begun_s: float
    seconds: float
    calls: int
    samples: int
    cpu_s: float
    joules: float | None
    resolution_j: float
    power_w: float | None
    temperature_c: list[float | None]
    clock_mhz: list[float | None]
    call_s: list[float]


@dataclass(frozen=True)
class Idle:
    """The device at rest, with everything loaded that will run.

    Attributes:
        seconds, joules: how long, and what the counter counted.
        resolution_j: what the two ends can be off.
        power_w: mean of the power readings; None: the device has none.
        temperature_c: of the device at the end.
    """

    seconds: float
    joules: float
    resolution_j: float
    power_w: float | None
    temperature_c: float | None

    @property
    def watts(self) -> float:
        """The idle power by the counter."""
        return self.joules / self.seconds


@dataclass
class Session:
    """One stretch of measuring, from one idling to the next.

    Attributes:
        begun: the date and the time, as text.
        load: of the machine when it began: processes that ran or waited, mean of a minute; None: not known.
        idle_before, idle_after: None: no counter, or the session was stopped before.
        others: other processes on the device, the most that were seen; None: not known.
        thrown_away: windows that were measured again because the counter started anew or jumped.
    """

    begun: str
    load: float | None = None
    idle_before: Idle | None = None
    idle_after: Idle | None = None
    others: int | None = None
    thrown_away: int = 0


class _Jumped(Exception):
    """The counter went backwards, or faster than the device can draw."""


class _Watch:
    """A counter under watch: it may not go backwards, or faster than the device can draw."""

    def __init__(self, counter: Counter, clock: Clock) -> None:
        self.counter, self.clock = counter, clock
        self.joules, self.looked_s = counter.read(), clock.now()
        self.gap_s = 0.0

    def look(self) -> bool:
        """Read the counter, and say whether it moved. `gap_s` is the time since the look before."""
        joules, now = self.counter.read(), self.clock.now()
        self.gap_s = now - self.looked_s
        # A move can hold the joules of one period before the last look.
        most = self.counter.most_w * (self.gap_s + self.counter.period_s)
        if joules < self.joules or joules - self.joules > most:
            raise _Jumped
        moved = joules > self.joules
        self.joules, self.looked_s = joules, now
        return moved

    def until_moved(self, step: Callable[[], object]) -> None:
        """Repeat `step` until the counter moves.

        Raises:
            Failed: it does not move at all.
        """
        began = self.clock.now()
        while True:
            step()
            if self.look():
                return
            if (stood_s := self.clock.now() - began) > _DEAD_PERIODS * self.counter.period_s:
                raise Failed(f"the {self.counter.name} did not move for {stood_s:.1f} s; its joules mean nothing")

    @property
    def end_s(self) -> float:
        """How long ago the move that was just seen can have been."""
        return min(self.gap_s, self.counter.period_s)


class _Senses:
    """Readings of the sensors while something runs."""

    def __init__(self, counter: Counter, clock: Clock) -> None:
        self.counter, self.clock = counter, clock
        self.readings: list[Sensors] = []
        self.sense()

    def sense(self) -> None:
        self.readings.append(self.counter.sensors())
        self.due_s = self.clock.now() + _SENSE_S

    @property
    def power_w(self) -> float | None:
        found = [r.power_w for r in self.readings if r.power_w is not None]
        return float(np.mean(found)) if found else None

    @property
    def others(self) -> int | None:
        return max((r.others for r in self.readings if r.others is not None), default=None)


def idle(counter: Counter, idle_s: float, clock: Clock = REAL) -> tuple[Idle, int | None]:
    """Measure the device at rest for at least `idle_s` seconds, and how many other processes it has.

    Raises:
        Failed: the counter does not move, or jumps again and again.
    """
    for _ in range(3):
        try:
            watch, senses = _Watch(counter, clock), _Senses(counter, clock)
            nap_s = counter.period_s / 20
            watch.until_moved(lambda: clock.sleep(nap_s))  # noqa: B023
            begun_s, begun_j, end_s = watch.looked_s, watch.joules, watch.end_s
            while (left_s := begun_s + idle_s - clock.now()) > 0:
                clock.sleep(min(left_s, _SENSE_S))
                senses.sense()
                watch.look()
            watch.until_moved(lambda: clock.sleep(nap_s))  # noqa: B023
        except _Jumped:
            continue
        seconds, joules = watch.looked_s - begun_s, watch.joules - begun_j
        off_j = joules / seconds * max(end_s, watch.end_s) + counter.step_j
        return Idle(seconds, joules, off_j, senses.power_w, senses.readings[-1].temperature_c), senses.others
    raise Failed(f"the {counter.name} jumps again and again; its joules mean nothing")


def _window(work: Work, meter: Meter, settings: Settings, clock: Clock, where: tuple[int, int, float]) -> Window:
    """One window, after a warm-up. `where` are its session, its place and the beginning of the session."""
    session, place, session_s = where
    warm_until = clock.now() + settings.warm_up_s
    while clock.now() < warm_until:
        work()
    call_s, samples = array("d"), 0
    if isinstance(meter, TimeOnly):
        begun_s, cpu_s = clock.now(), clock.cpu()
        before = begun_s
        while before - begun_s < settings.window_s:
            samples += work()
            now = clock.now()
            call_s.append(now - before)
            before = now
        return Window(
            session=session,
            place=place,
            begun_s=begun_s - session_s,
            seconds=before - begun_s,
            calls=len(call_s),
            samples=samples,
            cpu_s=clock.cpu() - cpu_s,
            joules=None,
            resolution_j=0.0,
            power_w=None,
            temperature_c=[],
            clock_mhz=[],
            call_s=_quantiles(call_s),
        )

    def call() -> None:
        nonlocal samples
        before = clock.now()
        samples += work()
        call_s.append(clock.now() - before)

    watch = _Watch(meter, clock)
    watch.until_moved(call)
    begun_s, begun_j, end_s, cpu_s = watch.looked_s, watch.joules, watch.end_s, clock.cpu()
    del call_s[:]
    samples = 0
    senses = _Senses(meter, clock)
    while clock.now() - begun_s < settings.window_s:
        call()
        if clock.now() >= senses.due_s:
            senses.sense()
            watch.look()
    watch.look()
    watch.until_moved(call)
    seconds, joules = watch.looked_s - begun_s, watch.joules - begun_j
    off_j = joules / seconds * max(end_s, watch.end_s) + meter.step_j
    cpu_s = clock.cpu() - cpu_s
    senses.sense()
    first, last = senses.readings[0], senses.readings[-1]
    return Window(
        session=session,
        place=place,
        begun_s=begun_s - session_s,
        seconds=seconds,
        calls=len(call_s),
        samples=samples,
        cpu_s=cpu_s,
        joules=joules,
        resolution_j=off_j,
        power_w=senses.power_w,
        temperature_c=[first.temperature_c, last.temperature_c],
        clock_mhz=[first.clock_mhz, last.clock_mhz],
        call_s=_quantiles(call_s),
    )


def _quantiles(seconds: Iterable[float]) -> list[float]:
    found: list[float] = np.quantile(np.fromiter(seconds, np.float64), QUANTILES).tolist()
    return found


def run_session(
    starts: Mapping[str, Callable[[], Work]],
    missing: Mapping[str, int],
    meter: Meter,
    settings: Settings,
    session: Session,
    number: int,
    heard: Callable[[str, Window], object],
    clock: Clock = REAL,
) -> None:
    """Measure windows of several works, which take turns, and the idle power before and after.

    Args:
        starts: by name, what starts a work: it makes the work ready and returns it. It is called before each window, so
            that what is not measured takes no memory.
        missing: by name, how many windows of the work are missing.
        meter: the counter, or why there is none.
        settings: how much is measured.
        session: is filled while the session goes on.
        number: of the session, from 0.
        heard: is called with each window, by name of the work, as soon as it is measured.
        clock: where time comes from.

    Raises:
        BadInput: the windows are too few or too short for the counter.
        Failed: the counter stands still, or jumps again and again.
    """
    refuse_too_short(settings, meter)
    began = clock.now()
    draw = np.random.default_rng([settings.seed, number])
    if not isinstance(meter, TimeOnly):
        session.idle_before, session.others = idle(meter, settings.idle_s, clock)
    left, place = {name: count for name, count in missing.items() if count > 0}, 0
    while left:
        names = sorted(left)
        for n in draw.permutation(len(names)):
            name = names[n]
            work = starts[name]()
            for attempt in range(3):
                try:
                    window = _window(work, meter, settings, clock, (number, place, began))
                    break
                except _Jumped:
                    session.thrown_away += 1
                    if attempt == 2:
                        assert not isinstance(meter, TimeOnly)
                        raise Failed(f"the {meter.name} jumps again and again; its joules mean nothing") from None
            del work
            heard(name, window)
            place += 1
            left[name] -= 1
            if not left[name]:
                del left[name]
    if not isinstance(meter, TimeOnly):
        session.idle_after, others = idle(meter, settings.idle_s, clock)
        session.others = max((n for n in (session.others, others) if n is not None), default=None)


@dataclass(frozen=True)
class Measured:
    """What a work takes per sample. Every figure is tagged `measured`.

    Attributes:
        time: seconds per sample.
        rate: samples per second.
        cpu_time: seconds per sample for which this process computed on the CPU, in all its threads. Other processes
            make it longer only by what they take of the caches.
        energy: joules per sample, all that the counter counted; None: no counter.
        energy_above_idle: the same without the idle power; None: no counter, or no idle power.
        energy_interval, above_idle_interval: the intervals of both without the counter's accuracy.
        call_s: quantiles of the seconds of a call, by quantile (medians over the windows).
        drift_w: how far the idle power moved from before to after, the most of all sessions; None: not known.
        doubts: what a reader must know of this measurement, in sentences.
    """

    time: Quantity
    rate: Quantity
    cpu_time: Quantity
    energy: Quantity | None
    energy_above_idle: Quantity | None
    energy_interval: tuple[float, float] | None
    above_idle_interval: tuple[float, float] | None
    call_s: Mapping[float, float]
    drift_w: float | None
    doubts: Sequence[str] = field(default_factory=tuple)


def measured(windows: Sequence[Window], sessions: Sequence[Session], accuracy: float = 0.0) -> Measured:
    """The figures of windows, at least two, which were measured in `sessions`.

    Args:
        windows: of one work.
        sessions: all sessions, so that the number of a window's session finds it.
        accuracy: of the counter, a share of its joules.

    Raises:
        BadInput: there are fewer than two windows, or a window is of a session that is not there.
    """
    if len(windows) < 2:
        raise BadInput(f"{len(windows)} windows have no spread; expected at least 2")
    if any(not 0 <= w.session < len(sessions) for w in windows):
        raise BadInput(f"a window is of a session that is not among the {len(sessions)} sessions")
    seconds, samples, cpu_s = [w.seconds for w in windows], [w.samples for w in windows], [w.cpu_s for w in windows]
    time_, cpu_time = _quantity(_interval(seconds, samples), "s"), _quantity(_interval(cpu_s, samples), "s")
    rate = _quantity(_interval(samples, seconds), "1/s")
    call_s = {q: float(np.median([w.call_s[n] for w in windows])) for n, q in enumerate(QUANTILES)}
    own = [sessions[n] for n in sorted({w.session for w in windows})]
    drifts = [abs(s.idle_after.watts - s.idle_before.watts) for s in own if s.idle_before and s.idle_after]
    doubts = _doubts(windows, own)
    whole_, above = _joules(windows), _above_idle(windows, sessions)
    if above and above[0] < 0:
        doubts.append("the energy above idle is below 0: the work cannot be told from an idle device")
    return Measured(
        time_,
        rate,
        cpu_time,
        None if whole_ is None else _quantity(whole_, "J", accuracy),
        None if above is None else _quantity(above, "J", accuracy),
        None if whole_ is None else whole_[1:],
        None if above is None else above[1:],
        call_s,
        max(drifts, default=None),
        tuple(doubts),
    )


_Interval: TypeAlias = tuple[float, float, float]


def _interval(tops: Sequence[float], bottoms: Sequence[float], more: float = 0.0) -> _Interval:
    """The ratio of sums, R = sum y / sum x, and the ends of Student's t interval (95 %), each moved out by `more`.

    The mean of the ratios y / x of the windows would count a short window as much as a long one. The standard error of
    R is that of the ratio estimator, s(y - R x) / (mean x * sqrt(n)), with n - 1 degrees of freedom (Cochran, Sampling
    Techniques, 3rd ed. 1977, chapter 6). Windows with equal x have the usual interval of a mean.
    """
    y, x = np.asarray(tops, np.float64), np.asarray(bottoms, np.float64)
    ratio = float(y.sum() / x.sum())
    t = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(y) - 1))
    half = t * float(np.std(y - ratio * x, ddof=1)) / (float(x.mean()) * math.sqrt(len(y))) + more
    return ratio, ratio - half, ratio + half


def _quantity(found: _Interval, unit: str, accuracy: float = 0.0) -> Quantity:
    value, low, high = (max(0.0, number) for number in found)
    return Quantity(value, low * (1 - accuracy), high * (1 + accuracy), unit, "measured")


def _joules(windows: Sequence[Window]) -> _Interval | None:
    joules = [w.joules for w in windows if w.joules is not None]
    if len(joules) < len(windows):
        return None
    return _per_sample(joules, [w.resolution_j for w in windows], windows)


def _above_idle(windows: Sequence[Window], sessions: Sequence[Session]) -> _Interval | None:
    joules, off_j = [], []
    for w in windows:
        around = [i for i in (sessions[w.session].idle_before, sessions[w.session].idle_after) if i is not None]
        if w.joules is None or not around:
            return None
        watts = [i.watts for i in around]
        joules.append(w.joules - float(np.mean(watts)) * w.seconds)
        idle_w = (max(watts) - min(watts)) / 2 + float(np.mean([i.resolution_j / i.seconds for i in around]))
        off_j.append(w.resolution_j + idle_w * w.seconds)
    return _per_sample(joules, off_j, windows)


def _per_sample(joules: Sequence[float], off_j: Sequence[float], windows: Sequence[Window]) -> _Interval:
    """Joules per sample. `off_j` are what the joules of each window can be off, all in the same direction."""
    samples = [w.samples for w in windows]
    return _interval(joules, samples, sum(off_j) / sum(samples))


def _doubts(windows: Sequence[Window], sessions: Sequence[Session]) -> list[str]:
    told = []
    shares = [w.power_w * w.seconds / w.joules for w in windows if w.power_w is not None and w.joules]
    if shares and abs(np.mean(shares) - 1) > DISAGREEMENT:
        told.append(
            f"integrated power readings give {np.mean(shares) * 100:.0f} % of the counter's joules; the figures are "
            "those of the counter"
        )
    if thrown := sum(s.thrown_away for s in sessions):
        told.append(f"the counter started anew or jumped: {thrown} windows were thrown away and measured again")
    if others := max((s.others or 0 for s in sessions), default=0):
        told.append(f"other processes on the device: {others}; their energy is in the figures")
    if any(s.idle_before is not None and s.idle_after is None for s in sessions):
        told.append("a session was stopped before its last idling, so its drift is not known")
    for s in sessions:
        if s.idle_before is not None and s.idle_after is not None:
            before, after = s.idle_before.watts, s.idle_after.watts
            if abs(after - before) > _TOLD_DRIFT * before:
                told.append(f"the idle power moved from {before:.4g} to {after:.4g} W; half of it is in the interval")
    if any(w.joules is not None for w in windows) and len(windows) < FEWEST_RUNS:
        told.append(f"{len(windows)} windows, fewer than {FEWEST_RUNS}")
    clocks = [mhz for w in windows for mhz in w.clock_mhz if mhz is not None]
    if clocks and max(clocks) > 1.05 * min(clocks):
        told.append(f"the clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz")
    return told


def measure(
    work: Work, meter: Meter, settings: Settings = Settings(), clock: Clock = REAL, **about: Any
) -> tuple[Measured, list[Window], Session]:
    """Measure one work: idling, windows, idling. `about` are entries of its `Session`.

    Raises what `run_session` raises.
    """
    session = Session(**{"begun": "", **about})
    windows: list[Window] = []
    run_session(
        {"": lambda: work}, {"": settings.runs}, meter, settings, session, 0, lambda _, w: windows.append(w), clock
    )
    accuracy = 0.0 if isinstance(meter, TimeOnly) else meter.accuracy
    return measured(windows, [session], accuracy), windows, session
