"""Count and price a run as it comes, without keeping the counts of its ticks.

The counts are those of `activity.count` and the times those of `energy.price`. But each tick is counted and timed while
its numbers are at hand, on all mappings of a network at once, and only totals are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.cost import kernels
from muspike.hardware.cost.activity import NOTHING_SPIKES, Counts, arriving, waiting
from muspike.hardware.cost.energy import Meter
from muspike.hardware.cost.plan import Plan, places
from muspike.hardware.cost.timing import of_meter, tables
from muspike.hardware.program import Program
from muspike.hardware.threads import in_threads

Array = npt.NDArray[Any]

BYTES = 12 * 8
"""What is kept of a core, at most, for each sequence and for each tick until the longest delay is over."""


class Account:
    """The account of one network, on one or several mappings, for a run that comes part by part, from rest.

    Args:
        programs: the network, mapped in different ways.
        meters: for each program, the meters that price it.
        batch: number of sequences.
        ticks: the length of each sequence in all parts together, `[batch]`; None: until the last part ends.

    Raises:
        BadInput: the programs are not of one network.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        meters: Sequence[Sequence[Meter]],
        batch: int = 1,
        ticks: Array | None = None,
    ) -> None:
        self._meters = [(m, meter) for m, of in enumerate(meters) for meter in of]
        wanted = {name for _, meter in self._meters for name in meter.timing.wanted}
        self.plan = Plan(programs, sorted(wanted))
        self._before: list[Counts] = []  # of the runs that are over
        self._totals: list[Counts] = []
        self.begin(batch, ticks)

    def begin(self, batch: int, ticks: Array | None = None) -> None:
        """Begin another run, from rest, of other sequences. It comes on top of what was counted so far.

        Args:
            batch, ticks: as for the class.
        """
        shape = len(self.plan.names), self.plan.width
        self._before, self._totals = self.totals, []
        self._batch, self._begun = batch, 0
        self._lengths = np.full(batch, np.iinfo(np.int64).max) if ticks is None else np.asarray(ticks, np.int64)
        self._arriving = np.zeros((batch, self.plan.depth, *shape))
        self._filled = np.zeros((batch, self.plan.depth), np.uint8)
        self._late = np.zeros(shape)

    def add(self, spikes: Mapping[str, Array], active: Mapping[str, Array] | None = None) -> None:
        """Count and time the next ticks, and give the meters what they cost.

        Args:
            spikes: as `Run.spikes` has them.
            active: as `Run.active` has them; None: every update may have been active.

        Raises:
            BadInput: nothing in the program spikes.
        """
        plan, timings = self.plan, [meter.timing for _, meter in self._meters]
        if not plan.sources:
            raise BadInput(NOTHING_SPIKES)
        ticks = len(spikes[plan.sources[0].population.name])
        lengths = np.clip(self._lengths - self._begun, 0, ticks)
        columns = [plan.columns[m].start for m, _ in self._meters]
        widths = [plan.span(m) for m, _ in self._meters]
        firsts = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        meters, spent, times = tables(timings, plan.names, columns, widths, self._batch)
        where, kept = places(spikes, [source.population for source in plan.sources])
        words, kept_words = places(active or {}, [] if active is None else plan.mapped)
        totals = np.zeros((2, self._batch, len(plan.names), plan.width))
        fired = np.zeros((self._batch, plan.neurons), np.int64)
        self._arriving[:, :, -2:] = plan.updates  # what is known of active updates is written over it

        def work(begin: int, end: int) -> None:
            scratch = (*plan.scratch(active is not None), np.zeros_like(times))
            kernels.account_ticks(
                begin, end, ticks, self._begun % plan.depth, lengths, where, words, plan.rows, plan.active, meters,
                firsts, self._arriving, self._filled, totals, fired, spent, scratch,
            )  # fmt: skip

        in_threads(self._batch, ticks, work)
        del kept, kept_words  # the loops knew their addresses
        self._begun += ticks
        happened, late = totals.sum(1)
        self._late += late
        pending = self._arriving.sum((0, 1)) + self._late
        counted = [
            self._counts(m, happened, pending, fired.sum(0), lengths.sum(), active is not None)
            for m in range(len(plan.programs))
        ]
        parts = [[of] for of in counted] if not self._totals else zip(self._totals, counted, strict=True)
        self._totals = [Counts.summed(list(of)) for of in parts]
        for i, (m, meter) in enumerate(self._meters):
            of = counted[m]
            graded = bool(of.synops_graded.any() or of.spikes_in_graded.any())
            if of.ticks.any():
                meter.timing.take(of_meter(spent, meters, i, int(firsts[i])), of.activity_known, graded)
            meter.add_totals(of)

    def _counts(self, m: int, happened: Array, pending: Array, fired: Array, ticks: Any, known: bool) -> Counts:
        """The totals of one part in program `m`."""
        plan, program = self.plan, self.plan.programs[m]
        column = plan.columns[m]
        cores = column.stop - column.start
        found, waits = (
            {name: of[plan.row(name), column].astype(np.int64) for name in plan.names} for of in (happened, pending)
        )
        between, host = plan.messages(m, fired)
        core_xy = np.asarray(program.core_xy, np.int32)
        distance = np.abs(core_xy[:, None] - core_xy).astype(np.int64)
        none = np.zeros(cores, np.int64)
        totals = {
            **arriving(found, none),
            "neuron_updates": found["neuron_updates"],
            "active_updates": found["active_updates"],
            "neuron_spikes": plan.spikes(m, fired),
            "messages_out": between.sum(1),
            "hops_x": (between * distance[..., 0]).sum(1),
            "hops_y": (between * distance[..., 1]).sum(1),
        }
        return Counts(
            chip=program.chip,
            **{name: array[None, None] for name, array in totals.items()},
            host_messages=np.array([[host]]),
            **{name: array[None] for name, array in waiting(waits, none).items()},
            ticks=np.array([ticks]),
            core_xy=core_xy,
            messages_between=between,
            activity_known=known,
        )

    @property
    def totals(self) -> list[Counts]:
        """What happened on the cores so far, for each program, as `Counts.totals` gives it."""
        if not self._before or not self._totals:
            return self._before or self._totals
        joined = [Counts.joined(of) for of in zip(self._before, self._totals, strict=True)]
        return [of.totals() for of in joined]
