"""Spiking attention: the fused forms against the plain ones and against the populations that go on a chip."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import architectures
from muspike.architectures import s_transformer
from muspike.architectures.s_transformer import registers, registers_reference
from muspike.network import Network
from triton_modules import triton_module


@settings(max_examples=25, deadline=None)
@given(tokens=st.integers(1, 6), slots=st.integers(1, 3), heads=st.integers(1, 3), seed=st.integers(0, 1000))
def test_fused_registers_equal_the_plain_ones(tokens: int, slots: int, heads: int, seed: int) -> None:
    equal_to_the_plain_ones(torch.device("cpu"), tokens, slots, heads, (4, 5), seed)


# Rows and values beyond a power of two; more bits than a program has; one of each.
@pytest.mark.parametrize(("heads", "size"), [(3, (4, 5)), (1, (1, 1)), (2, (70, 40)), (1, (3, 700))])
@pytest.mark.parametrize(("tokens", "slots"), [(5, 3), (1, 2), (6, 1)])
def test_registers_in_triton_equal_the_plain_ones(
    tokens: int, slots: int, heads: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    module, device = triton_module("muspike.architectures.s_transformer_cuda")
    monkeypatch.setitem(s_transformer._REGISTERS, device.type, lambda: module.Registers)
    equal_to_the_plain_ones(device, tokens, slots, heads, size, 5)


def equal_to_the_plain_ones(
    device: torch.device,
    tokens: int,
    slots: int,
    heads: int,
    size: tuple[int, int],
    seed: int,
) -> None:
    torch.manual_seed(seed)
    time, batch, (rows, values) = tokens * slots, 3, size
    sizes = rows, rows, values
    spikes = [(torch.rand(time, batch, heads, size) < 0.4).float().to(device) for size in sizes]
    weight = torch.randn(time, batch, heads, values).to(device)
    outputs, gradients = [], []
    for run in (registers, registers_reference):
        own = [x.clone().requires_grad_(True) for x in spikes]
        heard, counts = run(own[0], own[1], own[2], slots)
        ((heard * weight).sum() + 0.3 * counts[2]).backward()  # type: ignore[no-untyped-call]
        outputs.append([heard.detach(), counts.detach()])
        gradients.append([x.grad for x in own])
    for ours, plain in zip(*outputs, strict=True):
        assert torch.equal(ours, plain)
    for ours, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-5)


def test_a_register_keeps_what_was_written_last() -> None:
    k = torch.tensor([1, 0, 1, 0]).float().view(4, 1, 1, 1)
    v = torch.tensor([[1, 0], [0, 1], [0, 1], [0, 0]]).float().view(4, 1, 1, 2)
    heard, counts = registers(torch.ones(4, 1, 1, 1), k, v, 1)
    assert heard.view(4, 2).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert counts.tolist() == [2, 2, 4, 4]


@pytest.mark.parametrize("attention", ["linear", "windowed"])
def test_composite_equals_its_populations(attention: str) -> None:
    torch.manual_seed(0)
    sizes = {"blocks": 2, "heads": 3, "rows": 4, "values": 5, "mlp": 16, "ticks": 2, "window": 3}
    network = architectures.build("s-transformer", {**sizes, "attention": attention})
    assert isinstance(network, Network)
    words = torch.randint(0, 5, (9, 4, 7))
    record = ["attended1", "hidden1", "attended2", "hidden2"]
    rates: dict[str, torch.Tensor] = {}
    logits, spikes = network(words, record, rates)
    composites = network.composites
    plain_rates: dict[str, torch.Tensor] = {}
    plain_logits, plain = network.without_composites()(words, record, plain_rates)
    assert composites
    for name in record:
        assert plain[name].any(), name
        assert torch.equal(spikes[name], plain[name])
    torch.testing.assert_close(logits, plain_logits)
    assert set(rates) == set(plain_rates)
    for name, rate in rates.items():
        torch.testing.assert_close(rate, plain_rates[name], rtol=1e-4, atol=1e-6)
    assert all(rates[name] > 0 for name in composites[0].members)
