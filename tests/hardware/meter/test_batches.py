"""The search for the best batch, on works whose costs are known."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from fake_meter import Device, FakeCounter
from muspike.errors import BadInput, Failed
from muspike.hardware.meter.batches import find_best
from muspike.hardware.meter.counters import TimeOnly
from muspike.hardware.meter.windows import Work

NOTHING = TimeOnly("there is none")


def works(
    device: Device, seconds_of: Callable[[int], float], share_of: Callable[[int], float] = lambda _: 1.0
) -> Callable[[int], Work]:
    return lambda batch: device.work(seconds_of(batch), share_of(batch), batch)


def test_the_batch_doubles_until_it_pays_no_more() -> None:
    device = Device()
    # 16 sequences go side by side, more wait for one another.
    found = find_best(works(device, lambda b: 0.01 * max(1, b / 16)), NOTHING, 1024, 0.1, device.clock())
    assert found.best == 16
    assert [t.batch for t in found.tried] == [1, 2, 4, 8, 16, 32, 64]
    assert found.tried[4].rate == pytest.approx(1600) and found.tried[4].per_joule is None
    assert found.ended == "larger batches give no more samples per second"


def test_calls_that_others_held_up_do_not_mislead_the_search() -> None:
    """Every fourth call takes 50 times as long, because the machine is busy."""
    device = Device()

    def start(batch: int) -> Work:
        calls = itertools.count()

        def call() -> int:
            device.spend(0.01 * max(1, batch / 16) * (50 if next(calls) % 4 == 3 else 1))
            return batch

        return call

    assert find_best(start, NOTHING, 1024, 0.2, device.clock()).best == 16


def test_with_a_counter_joules_decide() -> None:
    """A batch of 64 is the fastest; at 8 a joule gives most."""
    device = Device(idle_w=0.0)
    start = works(device, lambda b: 0.01 * max(1, b / 64), lambda b: 0.1 if b <= 8 else 3.0)
    found = find_best(start, FakeCounter(device), 1024, 0.1, device.clock())
    assert found.best == 8
    assert found.ended == "larger batches give no more samples per joule"
    assert found.tried[3].per_joule == pytest.approx(8 / (0.01 * 20), rel=0.1)


def test_one_batch_that_is_no_better_does_not_end_the_search() -> None:
    device = Device()
    seconds = {1: 0.01, 2: 0.02, 4: 0.01, 8: 0.02, 16: 0.04}
    assert find_best(works(device, lambda b: seconds[b]), NOTHING, 16, 0.1, device.clock()).best == 4


@pytest.mark.parametrize("when", ["made ready", "called"])
def test_the_end_of_memory_ends_the_search(when: str) -> None:
    device = Device()

    def start(batch: int) -> Work:
        def call() -> int:
            if batch > 8:
                raise MemoryError("8 GiB are taken")
            device.spend(0.01)
            return batch

        if when == "made ready" and batch > 8:
            raise MemoryError("8 GiB are taken")
        return call

    found = find_best(start, NOTHING, 1024, 0.1, device.clock())
    assert (found.best, found.ended) == (8, "no memory for a batch of 16: 8 GiB are taken")


def test_no_memory_at_all_and_limits_are_refused() -> None:
    def start(batch: int) -> Work:
        raise MemoryError

    with pytest.raises(BadInput, match=r"^no memory for a batch of 1$"):
        find_best(start, NOTHING, 1024, 0.1)
    with pytest.raises(BadInput, match="the largest batch is 0"):
        find_best(start, NOTHING, 0, 0.1)


def test_the_largest_batch_ends_the_search() -> None:
    device = Device()
    found = find_best(works(device, lambda b: 0.01), NOTHING, 48, 0.1, device.clock())
    assert found.best == 32 and found.ended == "the largest batch to look at is 48"


def test_a_counter_that_does_not_move_is_refused() -> None:
    device = Device(scale=0.0)
    with pytest.raises(Failed, match="fake counter does not move"):
        find_best(works(device, lambda b: 0.01), FakeCounter(device), 8, 0.1, device.clock())
