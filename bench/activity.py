"""Summarise what a network did while it read music: rates and sparsity of each population, events per note."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.export.presentation import Presentation
from muspike.hardware.cost.activity import Counts, operations
from muspike.hardware.program import Program

Array = npt.NDArray[Any]


def summarise(
    program: Program, spikes: Mapping[str, Array], counts: Counts, presentation: Presentation, tokens: int, notes: int
) -> dict[str, Any]:
    """Summarise a run for people.

    Args:
        program: the program that ran.
        spikes: `[ticks, batch, size]` of every input and LIF population.
        counts: what happened on the cores with these spikes.
        presentation: how the words went in.
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
        BadInput: the spikes are not those of the program, or `tokens` or `notes` is not positive.
    """
    if tokens <= 0 or notes <= 0:
        raise BadInput(f"tokens {tokens}, notes {notes}: need at least one of each to give a figure per note")
    totals = operations(program, spikes, counts.ticks)
    relays = program.roles.relays
    run_ticks = counts.synops.shape[0]
    inside = np.arange(run_ticks)[:, None] < counts.ticks
    populations = {}
    spikes_of = {"input": 0, "lif": 0, "relay": 0}
    for population in program.populations:
        if population.kind == "li":
            continue
        fired = (np.asarray(spikes[population.name]) != 0).sum(2) * inside  # [ticks, batch]
        spikes_of["relay" if population.name in relays else population.kind] += int(fired.sum())
        since = np.arange(run_ticks) - population.level
        sees_a_token = (since >= 0) & (since % presentation.period < presentation.ticks)
        rate = _rate(fired, inside, population.size)
        presented = _rate(fired, inside & sees_a_token[:, None], population.size)
        populations[population.name] = {
            "size": population.size,
            "firing_rate": rate,
            "sparsity": 1 - rate,
            "presented_firing_rate": presented,
            "presented_sparsity": 1 - presented,
        }
    return {
        "chip": program.chip,
        "tokens": tokens,
        "notes": notes,
        "spikes_per_note": spikes_of["lif"] / notes,
        **({"relay_spikes_per_note": spikes_of["relay"] / notes} if relays else {}),
        "input_spikes_per_note": spikes_of["input"] / notes,
        "populations": populations,
        "synops_per_note": {
            "dense": totals.dense / notes,
            "effective": totals.effective_acs / notes,
            "chip": int(counts.synops.sum()) / notes,
        },
        "neuron_updates_per_note": int(counts.neuron_updates.sum()) / notes,
        "messages_per_note": int(counts.messages_out.sum()) / notes,
        "host_messages_per_note": int(counts.host_messages.sum()) / notes,
        "hops_per_note": int(counts.hops_x.sum() + counts.hops_y.sum()) / notes,
    }


def _rate(fired: Array, where: Array, size: int) -> float:
    """Spikes per neuron and tick over the (tick, sequence) pairs that are in `where` `[ticks, batch]`."""
    ticks = int(where.sum())
    return float((fired * where).sum() / (ticks * size)) if ticks else 0.0
