"""The LIF against Norse, and its surrogate."""

from __future__ import annotations

import pytest
import torch
from norse.torch.functional.lif_box import LIFBoxParameters
from norse.torch.module.lif_box import LIFBoxCell

from muspike.neurons import LIFParameters, atan_spike
from muspike.norse_cell import LIFCell


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
    atan_spike(x, 2.0).sum().backward()  # type: ignore[no-untyped-call]
    y = x.detach().clone().requires_grad_(True)
    # Fang et al. 2021: the primitive is atan(pi/2 * alpha * x) / pi + 1/2.
    (torch.atan(torch.pi / 2 * 2.0 * y) / torch.pi).sum().backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(x.grad, y.grad)
