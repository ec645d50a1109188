"""The LIF against Norse, and the fused scan against the plain one, forward and backward."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.module.lif_box import LIFBoxCell

from muspike.neurons import LIFCell, LIFParameters, atan_spike, leaky_scan, lif_scan, lif_scan_reference


def parameters(neurons: int) -> LIFParameters:
    return LIFParameters(2.0 ** (torch.arange(neurons) % 5), 0.25 + 0.25 * (torch.arange(neurons) % 3))


@pytest.mark.parametrize(("tau", "v_threshold"), [(1.0, 0.5), (2.0, 0.5), (3.0, 0.3), (20.0, 0.7)])
def test_cell_is_norse_lif_box_spike_for_spike(tau: float, v_threshold: float) -> None:
    torch.manual_seed(0)
    ours = LIFCell(LIFParameters(torch.tensor(tau), torch.tensor(v_threshold)))
    # dt = 1 and tau_mem_inv = 1/tau: Norse's parameters in units of ticks.
    norse = LIFBoxCell(LIFBoxParameters(tau_mem_inv=torch.tensor(1 / tau), v_th=torch.tensor(v_threshold)), dt=1.0)
    state = norse_state = None
    fired = 0
    for _ in range(300):
        current = torch.randn(4, 50) * tau**0.5
        spikes, state = ours(current, state)
        norse_spikes, norse_state = norse(current, norse_state)
        assert torch.equal(spikes, norse_spikes)
        assert torch.equal(state.v, norse_state.v)
        fired += int(spikes.sum())
    assert fired > 100


def test_a_membrane_at_the_threshold_does_not_spike() -> None:
    # v = 1/2 * 1.0 = the threshold exactly.
    spikes, state = LIFCell(LIFParameters(torch.tensor(2.0), torch.tensor(0.5)))(torch.ones(1), None)
    assert spikes.item() == 0
    assert state.v.item() == 0.5


def test_surrogate_slope_is_the_derivative_of_atan() -> None:
    x = torch.linspace(-2, 2, 41, dtype=torch.float64, requires_grad=True)
    atan_spike(x, 2.0).sum().backward()
    y = x.detach().clone().requires_grad_(True)
    # Fang et al. 2021: the primitive is atan(pi/2 * alpha * x) / pi + 1/2.
    (torch.atan(torch.pi / 2 * 2.0 * y) / torch.pi).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)


@settings(max_examples=30, deadline=None)
@given(
    tokens=st.integers(1, 5),
    slots=st.integers(1, 4),
    idle=st.integers(0, 3),
    delays=st.lists(st.integers(1, 9), max_size=3, unique=True),
    seed=st.integers(0, 1000),
)
def test_fused_scan_equals_the_plain_one(tokens: int, slots: int, idle: int, delays: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    neurons, p = 15, parameters(15)
    # Values on a coarse binary grid: sums are exact in any order, so that spikes cannot differ by rounding.
    current = (torch.randn(tokens * slots, 2, neurons) * 64).round() / 64
    weights = [(torch.randn(neurons, neurons) * 32).round() / 64 for _ in delays]
    weight_of_result = torch.randn(tokens * slots, 2, neurons)
    gradients = []
    results = []
    for scan in (lif_scan, lif_scan_reference):
        leaves = [x.clone().requires_grad_(True) for x in (current, *weights)]
        spikes = scan(leaves[0], p, slots=slots, idle=idle, recurrent=list(zip(delays, leaves[1:], strict=True)))
        (spikes * weight_of_result).sum().backward()
        results.append(spikes.detach())
        gradients.append([torch.zeros_like(x) if x.grad is None else x.grad for x in leaves])
    assert torch.equal(*results)
    for fused, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(fused, plain, rtol=1e-4, atol=1e-5)


def test_scan_in_two_layouts_is_one_scan() -> None:
    """Idle ticks by decay equal idle ticks spelled out as slots without current."""
    torch.manual_seed(1)
    p = parameters(12)
    presented = torch.randn(6, 3, 2, 12)
    short = lif_scan(presented.flatten(0, 1), p, slots=3, idle=4).view(6, 3, 2, 12)
    spelled = torch.cat([presented, torch.zeros(6, 4, 2, 12)], dim=1)
    long = lif_scan(spelled.flatten(0, 1), p).view(6, 7, 2, 12)
    assert torch.equal(short, long[:, :3])
    assert long[:, 3:].sum() == 0


def test_leaky_scan_is_its_equation_and_its_gradient_is_right() -> None:
    torch.manual_seed(2)
    drive = torch.randn(8, 2, 5, requires_grad=True)
    membranes = leaky_scan(drive, 4.0, slots=2, idle=3)
    plain = drive.detach().clone().requires_grad_(True)
    v, expected = torch.zeros(2, 5), []
    for t in range(8):
        v = v + (plain[t] - v) / 4
        expected.append(v)
        if t % 2:
            v = v * 0.75**3
    torch.testing.assert_close(membranes, torch.stack(expected))
    weight = torch.randn(8, 2, 5)
    (membranes * weight).sum().backward()
    (torch.stack(expected) * weight).sum().backward()
    torch.testing.assert_close(drive.grad, plain.grad)
