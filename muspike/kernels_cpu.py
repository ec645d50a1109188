"""The kernels of `layer.py` for the CPU: they call the loops of `kernels.py` on tensors. See `layer.Kernels`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from muspike import kernels
from muspike.neurons import Clock


def add_gathered(out: torch.Tensor, axons: torch.Tensor, weight: torch.Tensor, clock: Clock, delay: int) -> None:
    """See `layer.Kernels`."""
    kernels.shared_out(
        kernels.add_gathered, out.shape[1], out.numel(),
        out.numpy(), axons.numpy(), _table(weight), clock.slots, clock.presented, delay,
    )  # fmt: skip


def gathered_gradient(
    axons: torch.Tensor, weight: torch.Tensor, grad: torch.Tensor, clock: Clock, delay: int
) -> torch.Tensor:
    """See `layer.Kernels`."""
    table = kernels.summed_over_shares(
        kernels.add_gathered_gradient, _table(weight), grad.shape[1], grad.numel(),
        axons.numpy(), grad.numpy(), clock.slots, clock.presented, delay,
    )  # fmt: skip
    return torch.from_numpy(table).t()


def add_product(
    out: torch.Tensor, spikes: torch.Tensor, kept: torch.Tensor | None, weight: torch.Tensor, delay: int
) -> None:
    """See `layer.Kernels`. Only the spikes cost time."""
    kernels.shared_out(
        kernels.add_product, out.shape[1], out.numel(),
        out.numpy(), _array(spikes), _mask(spikes, kept), _table(weight), delay,
    )  # fmt: skip


def product_gradient(spikes: torch.Tensor, kept: torch.Tensor | None, grad: torch.Tensor, delay: int) -> torch.Tensor:
    """See `layer.Kernels`. Only the spikes cost time."""
    _, batch, neurons = grad.shape
    like = np.empty((spikes.shape[2], neurons), np.float32)
    table = kernels.summed_over_shares(
        kernels.add_product_gradient, like, batch, grad.numel(),
        _array(spikes), _mask(spikes, kept), grad.numpy(), delay,
    )  # fmt: skip
    return torch.from_numpy(table).t()


def scan(
    membrane: torch.Tensor,
    spikes: torch.Tensor,
    rate: torch.Tensor,
    threshold: torch.Tensor,
    clock: Clock,
    weights: Sequence[torch.Tensor],
    delays: Sequence[int],
) -> None:
    """See `layer.Kernels`."""
    # Numba needs at least one table to infer a type.
    tables = tuple(_table(weight) for weight in weights) or (np.zeros((1, 1), np.float32),)
    kernels.shared_out(
        kernels.scan, membrane.shape[1], membrane.numel(),
        membrane.numpy(), spikes.numpy(), rate.numpy(), threshold.numpy(), clock.slots, clock.idle, tables,
        np.asarray(delays, np.int64),
    )  # fmt: skip


def scan_gradient(
    grad: torch.Tensor,
    membrane: torch.Tensor,
    rate: torch.Tensor,
    threshold: torch.Tensor,
    idle_decay: torch.Tensor,
    alpha: float,
    carry: torch.Tensor,
    clock: Clock,
    start: int,
    stop: int,
) -> None:
    """See `layer.Kernels`."""
    kernels.shared_out(
        kernels.scan_gradient, carry.shape[0], (stop - start) * carry.numel(),
        grad.numpy(), membrane.numpy(), rate.numpy(), threshold.numpy(), idle_decay.numpy(), np.float32(alpha),
        carry.numpy(), clock.slots, start, stop,
    )  # fmt: skip


def leaky_answers(out: torch.Tensor, drive: torch.Tensor, rate: float, clock: Clock) -> None:
    """See `layer.Kernels`."""
    kernels.shared_out(
        kernels.leaky_answers, out.shape[1], drive.numel(),
        out.numpy(), drive.numpy(), np.float32(rate), clock.slots, clock.presented - 1, clock.idle,
    )  # fmt: skip


def leaky_answers_gradient(into: torch.Tensor, grad: torch.Tensor, rate: float, clock: Clock) -> None:
    """See `layer.Kernels`."""
    kernels.shared_out(
        kernels.leaky_answers_gradient, grad.shape[1], into.numel(),
        into.numpy(), grad.numpy(), np.float32(rate), clock.slots, clock.presented - 1, clock.idle,
    )  # fmt: skip


def _table(weight: torch.Tensor) -> kernels.Array:
    """`weight` `[target, source]` as a table `[source, target]`."""
    return _array(weight.t())


def _mask(spikes: torch.Tensor, kept: torch.Tensor | None) -> kernels.Kept:
    """`kept` as an array; if it is None, a mask `[batch, sources]` that keeps all sources of `spikes`."""
    mask: kernels.Kept = np.ones(spikes.shape[1:], np.bool_) if kept is None else kept.contiguous().numpy()
    return mask


def _array(values: torch.Tensor) -> kernels.Array:
    array: kernels.Array = values.detach().contiguous().numpy()
    return array
