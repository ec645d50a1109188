"""Our LIF as a Norse cell, for networks that are built from Norse's modules. Only this module imports Norse."""

from __future__ import annotations

from norse.torch.module.snn import SNNCell

from muspike.neurons import LIFParameters, at_rest, lif_step


class LIFCell(SNNCell):  # type: ignore[misc]  # norse has no types
    """`neurons.lif_step` as a Norse cell: it computes one tick of a LIF population and returns its state.

    The spikes equal those of Norse's `LIFBoxCell` with `tau_mem_inv` = 1/tau and dt = 1. The gradient is the ATan
    surrogate's, which Norse lacks.

    Args:
        p: `tau` in ticks, `v_threshold`, and `alpha` of the surrogate.
    """

    def __init__(self, p: LIFParameters) -> None:
        super().__init__(lif_step, at_rest, p, dt=1.0)
