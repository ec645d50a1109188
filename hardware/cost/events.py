"""The events that a cost set may price, by the names that chips' files have for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy.typing as npt

from muspike.hardware.cost.activity import Counts

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Event:
    """An event that a cost set may price.

    Attributes:
        name: the name of its row.
        group: whose time it takes.
        row: the row of counts that it has in a `Plan`.
        count: finds its count in the counts of a run.
        note: what the count contains.
    """

    name: str
    group: Literal["synapses", "neurons", "spikes", "mesh"]
    row: str
    count: Callable[[Counts], Array]
    note: str


EVENTS: Mapping[str, Event] = {
    "synop_dense": Event(
        "synaptic operations, dense lists",
        "synapses",
        "dense",
        lambda counts: counts.synops - counts.synops_sparse - counts.synops_conv - counts.synops_graded,
        "every stored synapse of an arriving spike, zero weights included",
    ),
    "synop_sparse": Event(
        "synaptic operations, sparse lists",
        "synapses",
        "sparse",
        lambda counts: counts.synops_sparse,
        "every stored synapse of an arriving spike",
    ),
    "synop_conv": Event(
        "synaptic operations, shared lists",
        "synapses",
        "conv",
        lambda counts: counts.synops_conv,
        "every tap of a convolution that an arriving spike meets, zero weights included",
    ),
    "synop_graded": Event(
        "synaptic operations of graded spikes",
        "synapses",
        "graded",
        lambda counts: counts.synops_graded,
        "every stored synapse of an arriving graded spike, whatever its value, in lists of any kind",
    ),
    "neuron_access": Event(
        "neuron updates, access",
        "neurons",
        "neuron_updates",
        lambda counts: counts.neuron_updates,
        "every mapped neuron, every tick",
    ),
    "neuron_update": Event(
        "neuron updates, active",
        "neurons",
        "active_updates",
        lambda counts: counts.active_updates,
        "added to the access if the state is not 0 before or after the update, or if the neuron spikes",
    ),
    "neuron_spike": Event(
        "spikes", "neurons", "neuron_spikes", lambda counts: counts.neuron_spikes, "on top of the update"
    ),
    "message_out": Event(
        "messages out",
        "spikes",
        "messages_out",
        lambda counts: counts.messages_out,
        "one per spike and target core, the neuron's own core included",
    ),
    "spike_in": Event(
        "axon events in",
        "spikes",
        "spikes_in_binary",
        lambda counts: counts.spikes_in - counts.spikes_in_graded,
        "one per spike and target core, spikes of the host included",
    ),
    "spike_in_graded": Event(
        "axon events in, graded",
        "spikes",
        "spikes_in_graded",
        lambda counts: counts.spikes_in_graded,
        "one per graded spike and target core, whatever its value",
    ),
    "hop_x": Event(
        "hops east-west", "mesh", "hops_x", lambda counts: counts.hops_x, "between tiles, without messages of the host"
    ),
    "hop_y": Event(
        "hops north-south",
        "mesh",
        "hops_y",
        lambda counts: counts.hops_y,
        "between tiles, without messages of the host",
    ),
}
