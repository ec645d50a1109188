"""The fused LIF layer against the plain one, forward and backward, and the leaky readout against its equation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike.layer import (
    Gather,
    Loop,
    Source,
    drive,
    drive_reference,
    leaky_answers,
    leaky_answers_reference,
    lif_layer,
    lif_layer_reference,
    project,
)
from muspike.neurons import Clock, LIFParameters

NEURONS, AXONS, SOURCES, BATCH = 13, 9, 11, 3


def parameters() -> LIFParameters:
    n = torch.arange(NEURONS)
    return LIFParameters(2.0 ** (n % 5), 0.25 + 0.25 * (n % 3))


def coarse(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Values on a coarse binary grid: sums are exact in any order, so that spikes cannot differ by rounding."""
    return (torch.randn(shape) * 64 * scale).round() / 64


def parts(
    clock: Clock, tokens: int, gathers: Sequence[int], sources: Sequence[int], loops: Sequence[int], masked: bool
) -> tuple[list[Gather], list[Source], list[Loop]]:
    time = tokens * clock.slots
    kept = torch.rand(BATCH, SOURCES) < 0.7 if masked else None
    return (
        [Gather(torch.randint(-1, AXONS, (tokens, BATCH, 2)), coarse(NEURONS, AXONS), d) for d in gathers],
        [
            Source((torch.rand(time, BATCH, SOURCES) < 0.3).float(), coarse(NEURONS, SOURCES, scale=0.5), d, kept)
            for d in sources
        ],
        [Loop(coarse(NEURONS, NEURONS, scale=0.5), d) for d in loops],
    )


def leaves(
    gathers: Sequence[Gather], sources: Sequence[Source], loops: Sequence[Loop]
) -> tuple[list[Gather], list[Source], list[Loop], list[torch.Tensor]]:
    """The same, with tensors of their own that gradients gather in."""

    def own(x: torch.Tensor) -> torch.Tensor:
        return x.clone().requires_grad_(True)

    g = [x._replace(weight=own(x.weight)) for x in gathers]
    s = [x._replace(weight=own(x.weight), spikes=own(x.spikes)) for x in sources]
    r = [x._replace(weight=own(x.weight)) for x in loops]
    return g, s, r, [x.weight for x in g] + [t for x in s for t in (x.weight, x.spikes)] + [x.weight for x in r]


def gradients(spikes: torch.Tensor, given_to: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    (spikes * torch.randn(spikes.shape, generator=generator)).sum().backward()  # type: ignore[no-untyped-call]
    return [torch.zeros_like(x) if x.grad is None else x.grad for x in given_to]


@settings(max_examples=40, deadline=None)
@given(
    tokens=st.integers(1, 5),
    slots=st.integers(1, 4),
    idle=st.integers(0, 3),
    gathers=st.lists(st.integers(0, 6), max_size=2),
    sources=st.lists(st.integers(0, 9), max_size=2),
    loops=st.lists(st.integers(1, 9), max_size=3, unique=True),
    extra=st.booleans(),
    masked=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_fused_layer_equals_the_plain_one(
    tokens: int,
    slots: int,
    idle: int,
    gathers: list[int],
    sources: list[int],
    loops: list[int],
    extra: bool,
    masked: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    clock = Clock(slots, max(1, slots - 1), idle)
    shape = tokens * slots, BATCH, NEURONS
    given_parts = parts(clock, tokens, gathers, sources, loops, masked)
    current = coarse(*shape) if extra or not (gathers or sources) else None
    results = []
    for layer in (lif_layer, lif_layer_reference):
        g, s, r, own = leaves(*given_parts)
        i = None if current is None else current.clone().requires_grad_(True)
        spikes = layer(parameters(), clock, shape, g, s, r, i)
        results.append((spikes.detach(), gradients(spikes, own if i is None else [*own, i])))
    (fused, fused_gradients), (plain, plain_gradients) = results
    assert torch.equal(fused, plain)
    for ours, theirs in zip(fused_gradients, plain_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_drive_equals_the_plain_one() -> None:
    torch.manual_seed(3)
    clock, shape = Clock(3, 2, 1), (12, BATCH, NEURONS)
    given_parts = parts(clock, 4, [0, 1], [0, 4], [], True)
    results = []
    for function in (drive, drive_reference):
        g, s, _, own = leaves(*given_parts)
        current = function(clock, shape, g, s)
        results.append([current.detach(), *gradients(current, own)])
    assert results[0][0].any()
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_threads_share_a_batch_and_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, shape = Clock(3, 3, 1), (60, BATCH, NEURONS)
    results = []
    for worth, threads in ((10**9, 1), (0, 2)):
        torch.manual_seed(4)
        monkeypatch.setattr("muspike.kernels._WORTH_THREADS", worth)
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        g, s, r, own = leaves(*parts(clock, 20, [0], [1], [3], False))
        spikes = lif_layer(parameters(), clock, shape, g, s, r)
        results.append([spikes.detach(), *gradients(spikes, own)])
    assert torch.equal(results[0][0], results[1][0])
    for one, two in zip(*results, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_low_precision_leaves_spikes_alone_and_gradients_close() -> None:
    clock, shape = Clock(2, 2, 1), (40, BATCH, NEURONS)
    results = []
    for low in (False, True):
        torch.manual_seed(5)
        g, s, r, own = leaves(*parts(clock, 20, [0], [0], [2], True))
        spikes = lif_layer(parameters(), clock, shape, g, s, r, None, low)
        results.append([spikes.detach(), *gradients(spikes, own)])
    assert torch.equal(results[0][0], results[1][0])
    for full, low_ones in zip(results[0][1:], results[1][1:], strict=True):
        # bfloat16 has 8 bits: a per cent of the largest is what sums of rounded products may be off.
        assert (full - low_ones).abs().max() < 0.03 * full.abs().max()
        assert not torch.equal(full, low_ones) or full.shape == (NEURONS, AXONS)


def test_projection_in_low_precision() -> None:
    torch.manual_seed(6)
    values, weight = torch.randn(5, 3, 8), torch.randn(4, 8)
    results = []
    for low in (False, True):
        own = [values.clone().requires_grad_(True), weight.clone().requires_grad_(True)]
        out = project(own[0], own[1], low)
        results.append([out.detach(), *gradients(out, own)])
    torch.testing.assert_close(results[0][0], results[1][0])
    for full, low_ones in zip(results[0][1:], results[1][1:], strict=True):
        torch.testing.assert_close(low_ones, full, rtol=0.03, atol=0.03 * float(full.abs().max()))


def test_layer_in_two_layouts_is_one_layer() -> None:
    """Idle ticks by decay equal idle ticks spelled out as slots without current."""
    torch.manual_seed(1)
    p = parameters()
    presented = torch.randn(6, 3, 2, NEURONS)
    short = lif_layer(p, Clock(3, 3, 4), (18, 2, NEURONS), current=presented.flatten(0, 1)).unflatten(0, (6, 3))  # type: ignore[no-untyped-call]
    spelled = torch.cat([presented, torch.zeros(6, 4, 2, NEURONS)], dim=1)
    long = lif_layer(p, Clock(7, 3, 0), (42, 2, NEURONS), current=spelled.flatten(0, 1)).unflatten(0, (6, 7))  # type: ignore[no-untyped-call]
    assert torch.equal(short, long[:, :3])
    assert short.any() and not long[:, 3:].any()


@pytest.mark.parametrize("function", [leaky_answers, leaky_answers_reference])
def test_leaky_answers_are_their_equation_and_the_gradient_is_right(
    function: Callable[[torch.Tensor, float, Clock], torch.Tensor],
) -> None:
    torch.manual_seed(2)
    given_drive = torch.randn(12, 2, 5, requires_grad=True)
    answers = function(given_drive, 4.0, Clock(3, 2, 3))
    plain = given_drive.detach().clone().requires_grad_(True)
    v, expected = torch.zeros(2, 5), []
    for t in range(12):
        v = v + (plain[t] - v) / 4
        if t % 3 == 1:
            expected.append(v)
        if t % 3 == 2:
            v = v * 0.75**3
    torch.testing.assert_close(answers, torch.stack(expected))
    (ours,), (theirs,) = gradients(answers, [given_drive]), gradients(torch.stack(expected), [plain])
    torch.testing.assert_close(ours, theirs)
