"""The layers of CUDA against plain torch: on CUDA, or where there is none, by Triton's interpreter on the CPU."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import torch

from muspike import layer
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
)
from muspike.neurons import Clock, LIFParameters
from triton_modules import triton_module

# Batch times neurons is more than a program of the kernels takes, and no multiple of it.
NEURONS, AXONS, SOURCES, BATCH, TOKENS = 47, 9, 11, 3, 4


@pytest.fixture(scope="module")
def device() -> Iterator[torch.device]:
    """Where layers are computed by `kernels_cuda`."""
    module, where = triton_module("muspike.kernels_cuda")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(layer._KERNELS, where.type, lambda: module)
        yield where


def coarse(*shape: int, scale: float = 1.0) -> torch.Tensor:
    """Values on a coarse binary grid: sums are exact in any order, so that spikes cannot differ by rounding."""
    return (torch.randn(shape) * 64 * scale).round() / 64


def own(x: torch.Tensor) -> torch.Tensor:
    return x.clone().requires_grad_(True)


def ran(
    function: Callable[..., torch.Tensor],
    device: torch.device,
    clock: Clock,
    gathers: Sequence[int],
    sources: Sequence[int],
    loops: Sequence[int] | None,
    masked: bool = False,
    low_precision: bool = False,
) -> list[torch.Tensor]:
    """What `function` gives for random parts of these delays, then the gradients of all that is given to it."""
    torch.manual_seed(1)
    time = TOKENS * clock.slots
    kept = (torch.rand(BATCH, SOURCES) < 0.7).to(device) if masked else None
    g = [
        Gather(torch.randint(-1, AXONS, (TOKENS, BATCH, 2)).to(device), own(coarse(NEURONS, AXONS).to(device)), delay)
        for delay in gathers
    ]
    s = [
        Source(
            own((torch.rand(time, BATCH, SOURCES) < 0.3).float().to(device)),
            own(coarse(NEURONS, SOURCES, scale=0.5).to(device)),
            delay,
            kept,
        )
        for delay in sources
    ]
    current = own(coarse(time, BATCH, NEURONS).to(device))
    given = [x.weight for x in g] + [x for each in s for x in each[:2]] + [current]
    precision = {"low_precision": True} if low_precision else {}
    shape = time, BATCH, NEURONS
    if loops is None:
        out = function(clock, shape, g, s, current, **precision)
    else:
        n = torch.arange(NEURONS, device=device)
        p = LIFParameters(2.0 ** (n % 5), 0.25 + 0.25 * (n % 3))
        r = [Loop(own(coarse(NEURONS, NEURONS, scale=0.25).to(device)), delay) for delay in loops]
        given += [x.weight for x in r]
        out = function(p, clock, shape, g, s, r, current, **precision)
    (out * torch.randn(out.shape).to(device)).sum().backward()  # type: ignore[no-untyped-call]
    return [out.detach(), *(torch.zeros_like(x) if x.grad is None else x.grad for x in given)]


@pytest.mark.parametrize(
    ("clock", "gathers", "sources", "loops", "masked"),
    [
        (Clock(1, 1, 0), [0], [], [], False),
        (Clock(3, 2, 2), [0, 1], [0, 4], [], True),
        (Clock(3, 3, 1), [], [1], [1], False),
        (Clock(2, 1, 3), [1], [0], [2, 5], True),
        # Chunks that begin in the middle of a token, and delays that nothing outlasts.
        (Clock(3, 2, 1), [9], [50], [4, 50], False),
        (Clock(2, 2, 0), [], [], [3], False),
    ],
)
def test_layer_equals_the_plain_one(
    device: torch.device, clock: Clock, gathers: list[int], sources: list[int], loops: list[int], masked: bool
) -> None:
    spikes, *gradients = ran(lif_layer, device, clock, gathers, sources, loops, masked)
    expected, *expected_gradients = ran(lif_layer_reference, device, clock, gathers, sources, loops, masked)
    assert 0 < expected.mean() < 1
    assert torch.equal(spikes, expected)
    for ours, theirs in zip(gradients, expected_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_drive_equals_the_plain_one(device: torch.device) -> None:
    results = [
        ran(function, device, Clock(3, 2, 1), [0, 1], [0, 4], None, True) for function in (drive, drive_reference)
    ]
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_low_precision_leaves_spikes_alone_and_gradients_close(device: torch.device) -> None:
    full, low = (ran(lif_layer, device, Clock(2, 2, 1), [0], [0], [2], True, low) for low in (False, True))
    assert torch.equal(full[0], low[0])
    assert any(not torch.equal(one, other) for one, other in zip(full[1:], low[1:], strict=True))
    for one, other in zip(full[1:], low[1:], strict=True):
        assert (one - other).abs().max() < 0.03 * one.abs().max()


def test_autocast_leaves_spikes_alone(device: torch.device) -> None:
    alone = ran(lif_layer, device, Clock(2, 2, 1), [0], [0], [2])[0]
    with torch.autocast(device.type, torch.bfloat16):
        assert torch.equal(ran(lif_layer, device, Clock(2, 2, 1), [0], [0], [2])[0], alone)


@pytest.mark.parametrize("clock", [Clock(3, 2, 3), Clock(1, 1, 0), Clock(2, 1, 1)])
def test_leaky_answers_equal_the_plain_ones(device: torch.device, clock: Clock) -> None:
    torch.manual_seed(2)
    values, results = torch.randn(TOKENS * clock.slots, BATCH, NEURONS), []
    for function in (leaky_answers, leaky_answers_reference):
        torch.manual_seed(3)
        given = own(values.to(device))
        answers = function(given, 4.0, clock)
        (answers * torch.randn(answers.shape).to(device)).sum().backward()  # type: ignore[no-untyped-call]
        assert given.grad is not None
        results.append((answers.detach(), given.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_without_triton_plain_torch_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "muspike.kernels_cuda", raising=False)
    monkeypatch.delattr("muspike.kernels_cuda", raising=False)
    layer.on_cuda.cache_clear()
    monkeypatch.setitem(layer._KERNELS, "cpu", layer._KERNELS["cuda"])
    try:
        with pytest.warns(UserWarning, match="no module triton") as warned:
            ours = [ran(lif_layer, torch.device("cpu"), Clock(2, 2, 1), [0], [0], [2]) for _ in range(2)]
        assert len(warned) == 1
    finally:
        layer.on_cuda.cache_clear()
    theirs = ran(lif_layer_reference, torch.device("cpu"), Clock(2, 2, 1), [0], [0], [2])
    assert all(torch.equal(one, other) for one, other in zip(ours[1], theirs, strict=True))


def test_all_kernels_compile_for_gpus_that_are_not_here(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="no triton, which CUDA's torch brings")
    script = Path(__file__).parents[1] / "helpers" / "compile_triton.py"
    environment = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    compiled = {tuple(line.split()[:2]) for line in done.stdout.splitlines()}
    modules = ("muspike.kernels_cuda", "muspike.architectures.s_lstm_cuda", "muspike.architectures.s_transformer_cuda")
    written = set()
    for name in modules:
        spec = importlib.util.find_spec(name)
        assert spec is not None and spec.origin is not None
        text = Path(spec.origin).read_text(encoding="utf-8")
        # Those that are launched; others are parts of them.
        written |= {(name, kernel) for kernel in re.findall(r"launch\(\s*(_\w+),", text)}
    assert compiled == written
    assert all(int(line.split()[-1]) > 0 for line in done.stdout.splitlines())
