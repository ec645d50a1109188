"""Summarise what a network did while it read music: rates and sparsity of each population, events per note."""

from __future__ import annotations

from typing import Any

from muspike.errors import BadInput
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.firing import Firing, FiringMeter
from muspike.hardware.cost.operations import operations
from muspike.hardware.program import Program


def summarise(program: Program, firing: FiringMeter, counts: Counts, tokens: int, notes: int) -> dict[str, Any]:
    """Summarise a run for people.

    Args:
        program: the program that ran.
        firing: what its neurons did.
        counts: what happened on the cores.
        tokens: input words presented in the run, over all sequences.
        notes: notes among these words; the events are divided by it.

    Returns:
        A JSON-able dict. `chip` is the chip that the program was made for.

        Of a population: `firing_rate` is spikes per neuron and tick over all ticks; `sparsity` is 1 minus the firing
        rate (NeuroBench's activation sparsity). `presented_firing_rate` and `presented_sparsity` are the same over the
        ticks in which the population sees a presented token, `(t - level) mod period < ticks`.

        Per note: `spikes_per_note` counts the network's own neurons, `relay_spikes_per_note` those of relays, which
        only repeat spikes (absent without relays), and `input_spikes_per_note` those of the host. In `synops_per_note`,
        `chip` is what the energy table prices: operations that act before the end of the run. `messages_per_note`
        counts messages to cores, the neuron's own core included.

    Raises:
        BadInput: there is no run, or `tokens` or `notes` is not positive.
    """
    if tokens <= 0 or notes <= 0:
        raise BadInput(f"tokens {tokens}, notes {notes}: need at least one of each to give a figure per note")
    firings = firing.firings()
    done = operations(program, firing)
    spikes = spikes_by_kind(firings)
    return {
        "chip": program.chip,
        "tokens": tokens,
        "notes": notes,
        "spikes_per_note": spikes["lif"] / notes,
        **({"relay_spikes_per_note": spikes["relay"] / notes} if program.roles.relays else {}),
        "input_spikes_per_note": spikes["input"] / notes,
        "populations": {
            of.name: {
                "size": of.size,
                "firing_rate": of.rate,
                "sparsity": of.sparsity,
                "presented_firing_rate": of.presented_rate,
                "presented_sparsity": 1 - of.presented_rate,
            }
            for of in firings
        },
        "synops_per_note": {
            "dense": done.dense / notes,
            "effective": done.effective_acs / notes,
            "chip": int(counts.synops.sum()) / notes,
        },
        "neuron_updates_per_note": int(counts.neuron_updates.sum()) / notes,
        "messages_per_note": int(counts.messages_out.sum()) / notes,
        "host_messages_per_note": int(counts.host_messages.sum()) / notes,
        "hops_per_note": int(counts.hops_x.sum() + counts.hops_y.sum()) / notes,
    }


def spikes_by_kind(firings: tuple[Firing, ...]) -> dict[str, int]:
    """All spikes of inputs (`input`), of the network's own neurons (`lif`), and of relays (`relay`)."""
    spikes = {"input": 0, "lif": 0, "relay": 0}
    for of in firings:
        spikes["relay" if of.relay else of.kind] += of.spikes
    return spikes
