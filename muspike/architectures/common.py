"""What several spiking architectures share: how a token's ticks are counted, delays in periods, the first weights."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch

from muspike.errors import BadInput
from muspike.network import Network, Timing, reachable
from muspike.tokens import FEATURES


def timing(ticks: int, depth: int) -> Timing:
    """When tokens come: each is presented for `ticks` ticks, the next one after as many as the answer takes.

    Each of the `depth` layers before the readout, and the readout, costs the chip one tick.
    """
    return Timing(ticks, ticks + depth + 1)


def in_ticks(delay: int | str, timing: Timing, what: str) -> int:
    """A delay in ticks: of a whole number of ticks, or of a text such as "2 periods", the value so many tokens ago.

    `what` it is begins the error.

    Raises:
        BadInput: neither, or below 1.
    """
    if isinstance(delay, str) and (match := re.fullmatch(r"([1-9]\d*) periods?", delay)):
        return int(match[1]) * timing.period
    if isinstance(delay, int) and delay >= 1:
        return delay
    raise BadInput(f'{what} {delay!r} must be such as "2 periods", or a whole number of ticks >= 1')


def draw_weights(
    network: Network,
    *,
    from_input: float = 1.2,
    forward: float,
    loop: float = 0.6,
    by_tau: bool = False,
    order: Iterable[str] | None = None,
) -> None:
    """Draw the trained weights from torch's random state, so that every population fires now and then.

    A weight is normal around 0. Its spread is a gain, times the threshold of the target, over the square root of the
    number of neurons that the synapse comes from (of a token: one per feature) and of parallel synapses. Synapses to
    the readout have gain and threshold 1.

    Args:
        from_input: gain of synapses from the input.
        forward: gain between populations. Spikes are few, so these synapses start strong, that every population has
            something to learn from.
        loop: gain where the target leads back to the source. Loops start weak, so that gradients through them do not
            grow; parallel ones count each as one.
        by_tau: whether the spread also grows as the square root of the target's tau: a membrane sums a noisy current
            over about tau ticks, so its spread falls as 1 / sqrt(tau).
        order: names of the trained synapses, in the order to draw them in; None: that of the network.
    """
    leads_to = {name: {s.source for s in network.synapses if s.target == name} for name in network.populations}
    before = {name: reachable(leads_to, name) for name in network.populations}
    parallel = Counter((s.source, s.target) for s in network.synapses)
    trained = {s.name: s for s in network.synapses if s.wires is None}
    for name in trained if order is None else order:
        synapse, weight = trained[name], network.weights[name]
        target = network.populations[synapse.target]
        threshold, copies = float(np.mean(target.v_threshold)), parallel[synapse.source, synapse.target]
        if synapse.target == network.readout:
            spread = 1 / math.sqrt(weight.shape[1])
        elif synapse.source == network.input:
            spread = from_input * threshold / math.sqrt(len(FEATURES) * copies)
        elif synapse.target in before[synapse.source]:
            spread = loop * threshold / math.sqrt(weight.shape[1])
        else:
            spread = forward * threshold / math.sqrt(weight.shape[1] * copies)
        reach = torch.ones(1)
        if by_tau and target.kind == "lif":
            reach = (torch.tensor(target.tau) / 2).sqrt().view(-1, 1)
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * (spread * reach))
