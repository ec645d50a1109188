"""The cells of the S-LSTM: the fused form against the plain one and against the populations that go on a chip."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import architectures
from muspike.architectures import s_lstm
from muspike.architectures.s_lstm import cells, cells_reference
from muspike.network import Network
from muspike.neurons import Clock, LIFParameters
from triton_modules import triton_module


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 6), slots=st.integers(1, 3), idle=st.integers(0, 3), seed=st.integers(0, 1000))
def test_fused_cells_equal_the_plain_ones(tokens: int, slots: int, idle: int, seed: int) -> None:
    equal_to_the_plain_ones(torch.device("cpu"), 7, tokens, Clock(slots, slots, idle), seed)


# Batch times width is less than a program has, and more.
@pytest.mark.parametrize("width", [7, 100])
@pytest.mark.parametrize(("tokens", "clock"), [(5, Clock(3, 3, 2)), (1, Clock(2, 2, 1)), (6, Clock(1, 1, 0))])
def test_cells_in_triton_equal_the_plain_ones(
    tokens: int, clock: Clock, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, device = triton_module("muspike.architectures.s_lstm_cuda")
    monkeypatch.setitem(s_lstm._KERNELS, device.type, lambda: module)
    equal_to_the_plain_ones(device, width, tokens, clock, 5)


def equal_to_the_plain_ones(device: torch.device, width: int, tokens: int, clock: Clock, seed: int) -> None:
    torch.manual_seed(seed)
    batch, slots = 3, clock.slots
    gates = torch.arange(4 * width)
    p = LIFParameters((2.0 ** (gates % 3)).to(device), (0.5 + 0.25 * (gates % 2)).to(device))
    # On a coarse binary grid sums are exact in any order, so that spikes cannot differ by rounding.
    drive = (torch.randn(tokens * slots, batch, 4 * width) * 128).round() / 64
    loop = (torch.randn(4 * width, width) * 64).round() / 64
    outputs, gradients = [], []
    for run in (functools.partial(cells, low_precision=False), cells_reference):
        own = [drive.to(device, copy=True).requires_grad_(True), loop.to(device, copy=True).requires_grad_(True)]
        spikes = run(p, clock, *own)
        generator = torch.Generator().manual_seed(1)
        parts = [(spikes[k] * torch.randn(spikes[k].shape, generator=generator).to(device)).sum() for k in (0, 3, 4)]
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
        outputs.append([s.detach() for s in spikes])
        gradients.append([x.grad if x.grad is not None else torch.zeros_like(x) for x in own])
    for ours, plain in zip(*outputs, strict=True):
        assert torch.equal(ours, plain)
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_cell_remembers_until_it_is_erased() -> None:
    width, clock = 1, Clock(1, 1, 0)
    p = LIFParameters(torch.ones(4), torch.full((4,), 0.5))
    write_gate, candidate, erase = [1, 0, 0, 0, 1], [1, 0, 1, 0, 0], [0, 0, 0, 1, 0]
    drive = torch.tensor([write_gate, candidate, erase, [0, 1, 0, 0, 0]], dtype=torch.float32).t()[:, None]
    _, _, _, cell, hidden = cells(p, clock, drive, torch.zeros(4 * width, width), False)
    assert cell.flatten().tolist() == [1, 1, 1, 0, 0]
    assert hidden.flatten().tolist() == [1, 0, 1, 0, 0]


@pytest.mark.parametrize("embedding", [0, 20])
def test_composite_equals_its_populations(embedding: int) -> None:
    torch.manual_seed(0)
    network = architectures.build("s-lstm", {"width": 24, "layers": 2, "embedding": embedding, "ticks": 2})
    assert isinstance(network, Network)
    words = torch.randint(0, 5, (12, 4, 7))
    record = ["hidden1", "hidden2"]
    logits, spikes = network(words, record)
    composites = network.composites
    plain_logits, plain = network.without_composites()(words, [*record, "cell1", "hold2"])
    assert composites and plain["cell1"].any() and plain["hold2"].any() and plain["hidden2"].any()
    for name in record:
        assert torch.equal(spikes[name], plain[name])
    torch.testing.assert_close(logits, plain_logits)
