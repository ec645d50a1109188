"""What several spiking architectures share: the timing of tokens, delays given in periods, the first weights."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from muspike.errors import BadInput
from muspike.host import SILENT, Noise, Timing, input_axons
from muspike.network import Network, Synapse, reachable
from muspike.sounding import Hearing
from muspike.tokens import FEATURES


def timing(ticks: int, depth: int) -> Timing:
    """The timing of a network with `depth` layers between input and readout.

    A token is presented for `ticks` ticks. The next token comes after `ticks + depth + 1` ticks: on the chip, each
    layer and the readout add one tick before the answer is there.
    """
    return Timing(ticks, ticks + depth + 1)


def in_ticks(delay: int | str, timing: Timing, what: str) -> int:
    """A delay in ticks.

    Args:
        delay: a whole number of ticks of at least 1, or a text such as "2 periods": the value two tokens ago.
        timing: the timing that gives the length of a period.
        what: the start of an error message: what the delay is.

    Raises:
        BadInput: `delay` is neither.
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

    A weight is normal around 0. Its spread is

        gain * threshold of the target / sqrt(source neurons * parallel synapses)

    From the input, the number of spikes of a token counts as the number of source neurons: one for each feature and
    label, and for what sounds as many as are usual. For synapses to the readout, the gain, the threshold and the number
    of parallel synapses are 1. Synapses from a part of a population start at 0.

    Args:
        from_input: gain of synapses from the input.
        forward: gain of synapses between populations. Spikes are few, so these synapses start strong; otherwise some
            populations would have nothing to learn from.
        loop: gain of synapses whose target leads back to their source. They start weak, so that gradients through loops
            do not grow. For them the number of parallel synapses counts as 1.
        by_tau: whether the spread also grows with sqrt(tau of the target / 2). A membrane averages a noisy current over
            about tau ticks, so the spread of the membrane falls as 1 / sqrt(tau).
        order: names of the trained synapses in the order of drawing; None: the order of the network.
    """
    leads_to = {name: {s.source for s in network.synapses if s.target == name} for name in network.populations}
    before = {name: reachable(leads_to, name) for name in network.populations}
    n_spikes = len(FEATURES) + network.hearing.usual_spikes + len(network.labels.axes)
    parallel = Counter((s.source, s.target) for s in network.synapses)
    trained = {s.name: s for s in network.synapses if s.wires is None}
    for name in trained if order is None else order:
        synapse, weight = trained[name], network.weights[name]
        target = network.populations[synapse.target]
        threshold, copies = float(np.mean(target.v_threshold)), parallel[synapse.source, synapse.target]
        if synapse.part is not None:
            spread = 0.0  # it adds to what the network says without it
        elif synapse.target == network.readout:
            spread = 1 / math.sqrt(weight.shape[1])
        elif synapse.source == network.input:
            spread = from_input * threshold / math.sqrt(n_spikes * copies)
        elif synapse.target in before[synapse.source]:
            spread = loop * threshold / math.sqrt(weight.shape[1])
        else:
            spread = forward * threshold / math.sqrt(weight.shape[1] * copies)
        reach = torch.ones(1)
        if by_tau and target.kind == "lif":
            reach = (torch.tensor(target.tau) / 2).sqrt().view(-1, 1)
        with torch.no_grad():
            weight.copy_(torch.randn_like(weight) * (spread * reach))


def direct_synapses(groups: Sequence[str], hearing: Hearing, noise: Noise = SILENT) -> list[Synapse]:
    """Synapses from the axons of some groups of what is heard to the readout, one for each group.

    Args:
        groups: names of groups that `hearing` has.
        hearing: what the network hears.
        noise: the random input before it.

    Raises:
        BadInput: the network does not hear a group, or one is named twice.
    """
    synapses = []
    for group in groups:
        if group not in hearing.groups or groups.count(group) > 1:
            raise BadInput(f"direct: {group!r} must be one of what the network hears, named once: {hearing.groups}")
        axons = hearing.axons_of(group)
        first = input_axons(noise) + axons.start
        synapses.append(Synapse("input", "readout", part=(first, first + len(axons))))
    return synapses
