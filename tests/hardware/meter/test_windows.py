"""Windows of energy and time, on a device in simulated time whose true energy is known."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fake_meter import Device, FakeCounter
from muspike.errors import BadInput, Failed
from muspike.hardware.meter.counters import TimeOnly
from muspike.hardware.meter.windows import (
    REAL,
    Session,
    Settings,
    Window,
    Work,
    idle,
    measure,
    measured,
    run_session,
)

TRUE = 270.0 * 0.02  # joules of a call of 20 ms with the power of `Device`
ABOVE = 200.0 * 0.02
NOTHING = TimeOnly("there is none")


def test_the_energy_of_a_call_is_found() -> None:
    device = Device()
    found, windows, session = measure(device.work(), FakeCounter(device), clock=device.clock())
    assert found.energy is not None and found.energy_above_idle is not None
    assert found.energy.value == pytest.approx(TRUE, rel=0.01)
    assert found.energy.low <= TRUE <= found.energy.high
    assert found.energy_above_idle.value == pytest.approx(ABOVE, rel=0.015)
    assert (found.energy.unit, found.energy.tag) == ("J", "measured")
    assert found.time.value == pytest.approx(0.02) and found.rate.value == pytest.approx(50)
    assert found.call_s[0.5] == pytest.approx(0.02) and found.cpu_time.value == pytest.approx(0.02)
    assert session.idle_before is not None and session.idle_before.watts == pytest.approx(70, rel=0.01)
    assert len(windows) == 5 and all(w.seconds >= 5 for w in windows)
    assert [w.place for w in windows] == [0, 1, 2, 3, 4]
    assert found.doubts == ()


@pytest.mark.parametrize("call_s", [0.0005, 0.007, 0.02, 0.13, 0.4])
def test_both_ends_lie_at_a_move_and_what_they_can_be_off_covers_each_window(call_s: float) -> None:
    """Each single window holds the true energy, however long a call is beside the counter's period."""
    device = Device(seed=3)
    settings = Settings(warm_up_s=0.0)
    _, windows, _ = measure(device.work(call_s), FakeCounter(device), settings, device.clock())
    for window in windows:
        assert window.joules is not None
        assert abs(window.joules - 270.0 * window.seconds) <= window.resolution_j
        assert window.resolution_j <= 270.0 * 0.1 + 0.01
        assert window.samples == window.calls


def test_a_counter_that_moves_every_100_ms_is_useless_in_short_windows() -> None:
    """The trap itself: without alignment, windows of 120 ms find 1 or 2 moves, and are off by half."""
    device = Device(seed=1)
    counter, work = FakeCounter(device), device.work(0.02)
    found = []
    for _ in range(50):
        begun = counter.read()
        for _ in range(6):
            work()
        found.append((counter.read() - begun) / 6)
        device.spend(0.013)
    assert max(found) > 1.3 * TRUE or min(found) < 0.7 * TRUE
    for settings in (Settings(window_s=0.12), Settings(window_s=4.9), Settings(idle_s=1.0), Settings(runs=3)):
        with pytest.raises(BadInput, match="expected at least"):
            measure(work, counter, settings, device.clock())
    slow = Device(period_s=1.0)
    with pytest.raises(BadInput, match=r"moves every 1 s; expected at least 50 s"):
        measure(slow.work(), FakeCounter(slow), clock=slow.clock())


def runs(make: Callable[[int], Device], truth: float, above: float, count: int = 100) -> tuple[float, float]:
    """The shares of simulated measurements whose intervals hold the true energy, in all and above idle."""
    hits = np.zeros(2)
    for seed in range(count):
        device = make(seed)
        found, _, _ = measure(device.work(), FakeCounter(device), Settings(warm_up_s=0.1), device.clock())
        assert found.energy_interval is not None and found.above_idle_interval is not None
        hits[0] += found.energy_interval[0] <= truth <= found.energy_interval[1]
        hits[1] += found.above_idle_interval[0] <= above <= found.above_idle_interval[1]
    return hits[0] / count, hits[1] / count


def test_the_interval_holds_the_true_energy_in_nine_of_ten_runs() -> None:
    for make in (lambda seed: Device(spread=0.02, seed=seed), lambda seed: Device(spread=0.1, seed=seed)):
        assert min(runs(make, TRUE, ABOVE)) >= 0.9


def test_a_drifting_idle_power_goes_into_the_interval() -> None:
    """The idle power grows by 7 W from before to after; what is above idle stays the same."""

    def make(seed: int) -> Device:
        return Device(spread=0.02, drift_w_per_s=0.15, seed=seed)

    covered = 0
    for seed in range(50):
        device = make(seed)
        found, _, session = measure(device.work(), FakeCounter(device), Settings(warm_up_s=0.1), device.clock())
        assert found.drift_w is not None and 4 < found.drift_w < 10
        assert any(re.fullmatch(r"the idle power moved from 7\d\.\d+ to 7\d\.\d+ W; .*", d) for d in found.doubts)
        assert found.above_idle_interval is not None
        covered += found.above_idle_interval[0] <= ABOVE <= found.above_idle_interval[1]
        assert session.idle_before is not None and session.idle_after is not None
    assert covered >= 45


def test_a_band_holds_a_counter_that_is_off_by_its_accuracy() -> None:
    device = Device(scale=1.04)
    counter = FakeCounter(device)
    counter.accuracy = 0.05
    found, _, _ = measure(device.work(), counter, clock=device.clock())
    assert found.energy is not None and found.energy_interval is not None
    assert not found.energy_interval[0] <= TRUE <= found.energy_interval[1]
    assert found.energy.low <= TRUE <= found.energy.high


def test_heat_does_not_make_the_later_work_dearer() -> None:
    """Two equal works on a device that warms up. One after the other the second looks dearer; taking turns, it does
    not."""

    def hot() -> Device:
        return Device(leak=0.008, seed=5)

    device = hot()
    counter, clock = FakeCounter(device), device.clock()
    one, _, _ = measure(device.work(), counter, Settings(warm_up_s=0.0, idle_s=5.0), clock)
    two, _, _ = measure(device.work(), counter, Settings(warm_up_s=0.0, idle_s=5.0), clock)
    assert one.energy and two.energy
    in_turn = two.energy.value / one.energy.value - 1

    device = hot()
    windows: dict[str, list[Window]] = {"a": [], "b": []}
    session = Session("")
    starts: dict[str, Callable[[], Work]] = dict.fromkeys(windows, device.work)
    run_session(
        starts,
        {"a": 5, "b": 5},
        FakeCounter(device),
        Settings(warm_up_s=0.0, seed=1),
        session,
        0,
        lambda name, window: windows[name].append(window),
        device.clock(),
    )
    a, b = (measured(windows[name], [session]).energy for name in "ab")
    assert a and b
    assert in_turn > 0.05
    assert abs(b.value / a.value - 1) < in_turn / 2
    order = [name for _, name in sorted((w.place, name) for name, all_of in windows.items() for w in all_of)]
    assert all({*order[n : n + 2]} == {"a", "b"} for n in range(0, 10, 2)), "each round has a window of both"
    assert order != ["a", "b"] * 5 and order != ["b", "a"] * 5, "the order is drawn anew for each round"
    temperatures = [w.temperature_c[1] for w in windows["a"]]
    assert temperatures[-1] > temperatures[0] + 5  # type: ignore[operator]


def test_a_seed_fixes_the_order() -> None:
    def order(seed: int) -> list[str]:
        device, names = Device(), []
        starts: dict[str, Callable[[], Work]] = dict.fromkeys("abc", device.work)
        settings = Settings(runs=5, window_s=0.1, warm_up_s=0.0, seed=seed)
        run_session(
            starts, dict.fromkeys("abc", 5), NOTHING, settings, Session(""), 0,
            lambda name, _: names.append(name), device.clock(),
        )  # fmt: skip
        return names

    assert order(1) == order(1) != order(2)


def test_power_readings_that_see_a_quarter_change_no_figure_and_are_reported() -> None:
    device = Device()
    seen, _, _ = measure(device.work(), FakeCounter(device), clock=device.clock())
    device = Device()
    missed, windows, _ = measure(device.work(), FakeCounter(device, coverage=0.25), clock=device.clock())
    assert missed.energy == seen.energy
    assert any("integrated power readings give 25 % of the counter's joules" in doubt for doubt in missed.doubts)
    assert windows[0].power_w == pytest.approx(270 / 4)


@pytest.mark.parametrize("joules", [-1e6, 1e6, -1000.0])
def test_a_window_in_which_the_counter_jumps_is_measured_again(joules: float) -> None:
    """It starts anew, wraps, or is told too late that it wrapped."""
    device = Device()
    counter = FakeCounter(device)
    counter.offsets = [(19.3, joules)]
    found, windows, session = measure(device.work(), counter, clock=device.clock())
    assert session.thrown_away == 1
    assert found.energy is not None and found.energy.value == pytest.approx(TRUE, rel=0.01)
    assert len(windows) == 5
    assert any("1 windows were thrown away" in doubt for doubt in found.doubts)


def test_a_counter_that_jumps_always_or_never_moves_is_refused() -> None:
    device = Device()
    counter = FakeCounter(device)
    counter.offsets = [(second, -1e6) for second in range(1, 500)]
    with pytest.raises(Failed, match="fake counter jumps again and again"):
        measure(device.work(), counter, clock=device.clock())
    device = Device()
    counter = FakeCounter(device)
    device.scale = 0.0
    with pytest.raises(Failed, match=r"fake counter did not move for 5\.\d s"):
        idle(counter, 5.0, device.clock())


def test_other_processes_and_moving_clocks_are_told() -> None:
    device = Device()
    counter = FakeCounter(device, others=2)
    counter.clocks = iter([1000.0, 1980.0] * 1000)
    found, _, session = measure(device.work(), counter, clock=device.clock())
    assert session.others == 2
    assert any("other processes on the device: 2" in doubt for doubt in found.doubts)
    assert any("the clock moved between 1000 and 1980 MHz" in doubt for doubt in found.doubts)


def test_a_work_that_cannot_be_told_from_idling_says_so() -> None:
    device = Device(work_w=0.0, drift_w_per_s=-0.1)
    found, _, _ = measure(device.work(), FakeCounter(device), clock=device.clock())
    assert found.above_idle_interval is not None and found.above_idle_interval[0] <= 0 <= found.above_idle_interval[1]
    assert found.energy_above_idle is not None and found.energy_above_idle.low == 0


def test_a_counter_that_dies_ends_the_session_and_keeps_its_windows() -> None:
    device = Device()
    counter = FakeCounter(device)
    counter.dies_s = 25.0
    windows: list[Window] = []
    with pytest.raises(Failed, match="gone"):
        run_session(
            {"a": device.work}, {"a": 5}, counter, Settings(), Session(""), 0,
            lambda _, window: windows.append(window), device.clock(),
        )  # fmt: skip
    assert len(windows) == 3


def test_time_is_measured_without_a_counter() -> None:
    device = Device()
    found, windows, session = measure(
        device.work(0.01, samples=4), NOTHING, Settings(runs=2, window_s=0.1, warm_up_s=0.0), device.clock()
    )
    assert found.energy is None and found.energy_above_idle is None and found.drift_w is None
    assert found.rate.value == pytest.approx(400) and found.time.value == pytest.approx(1 / 400)
    assert session.idle_before is None
    assert [w.joules for w in windows] == [None, None]
    assert windows[0].cpu_s == pytest.approx(windows[0].seconds)


def test_the_real_clock_measures_a_real_work() -> None:
    def work() -> int:
        np.linalg.eigvals(np.eye(20))
        return 1

    found, windows, _ = measure(work, NOTHING, Settings(runs=2, window_s=0.05, warm_up_s=0.0), REAL)
    assert found.rate.low <= found.rate.value <= found.rate.high
    assert all(w.seconds >= 0.05 and w.calls == w.samples > 0 and w.cpu_s > 0 for w in windows)


def test_figures_need_two_windows_and_their_sessions() -> None:
    device = Device()
    _, windows, session = measure(device.work(), FakeCounter(device), clock=device.clock())
    with pytest.raises(BadInput, match="1 windows have no spread"):
        measured(windows[:1], [session])
    with pytest.raises(BadInput, match="session that is not among the 1"):
        measured([*windows, replace(windows[0], session=1)], [session])
    stopped = replace(session, idle_after=None)
    assert any("stopped before its last idling" in doubt for doubt in measured(windows, [stopped]).doubts)
    assert measured(windows, [stopped]).drift_w is None


def uneven(seconds: float, samples: int, joules: float) -> Window:
    return Window(0, 0, 0.0, seconds, 1, samples, seconds / 2, joules, 0.0, None, [], [], [seconds] * 4)


def test_a_figure_is_a_ratio_of_sums_so_that_a_long_window_counts_for_more() -> None:
    """Windows of 1, 1 and 4 s. Their own ratios would average 0.0778 s; all together took 6 s for 80 samples."""
    windows = [uneven(1, 10, 100), uneven(1, 30, 150), uneven(4, 40, 430)]
    found = measured(windows, [Session("")])
    assert found.time.value == pytest.approx(6 / 80) and found.rate.value == pytest.approx(80 / 6)
    assert found.cpu_time.value == pytest.approx(3 / 80)
    assert found.energy is not None and found.energy.value == pytest.approx(680 / 80)
    # The residuals of the seconds are 0.25, -1.25 and 1: half the interval is 4.3027 * 1.1456 / (26.667 * sqrt(3)).
    assert found.time.high - found.time.value == pytest.approx(0.10672, rel=1e-4)
    # Those of the samples are -10/3, 50/3 and -40/3: s is 15.275, the mean window 2 s.
    assert found.rate.high - found.rate.value == pytest.approx(18.973, rel=1e-4)


def test_what_every_window_can_be_off_is_off_in_all_of_them() -> None:
    """Windows that agree have no spread, so that the resolution alone makes the interval."""
    windows = [replace(uneven(n, 10 * n, 50.0 * n), resolution_j=2.0) for n in (1, 2, 5)]
    found = measured(windows, [Session("")])
    assert found.energy_interval == pytest.approx((5 - 6 / 80, 5 + 6 / 80))


@pytest.mark.parametrize("seconds", [0.01, 3601.0, float("inf")])
def test_a_window_lasts_an_hour_at_most(seconds: float) -> None:
    with pytest.raises(BadInput, match=r"measure: window_s .* must be from 0\.05 to 3600"):
        Settings(window_s=seconds)


@pytest.mark.parametrize("name", ["warm_up_s", "idle_s"])
@pytest.mark.parametrize("seconds", [-0.1, 3601.0, float("inf"), float("nan")])
def test_a_pause_lasts_an_hour_at_most(name: str, seconds: float) -> None:
    with pytest.raises(BadInput, match=rf"measure: {name} .* must be from 0 to 3600"):
        Settings(**{name: seconds})  # type: ignore[arg-type]
