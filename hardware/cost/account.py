"""Count and price a run as it comes, without keeping the counts of its ticks.

The counts are those of `activity.count` and the times those of `energy.price`. But only totals are kept, of all
mappings of a network at once. Totals follow from how often each neuron spiked, and the ticks are timed from the spikes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.cost import signals
from muspike.hardware.cost import ticks as loops
from muspike.hardware.cost.activity import NOTHING_SPIKES, Counts, arriving, waiting
from muspike.hardware.cost.energy import Meter
from muspike.hardware.cost.plan import SENT, Group, Plan, places
from muspike.hardware.cost.timing import nothing_spent, of_meter, tables
from muspike.hardware.program import Program
from muspike.hardware.threads import in_threads

Array = npt.NDArray[Any]


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
        needed = {name for _, meter in self._meters for name in meter.timing.rows}
        self.plan = plan = Plan(programs, sorted(needed & set(SENT)))
        self._names = [
            sorted({name for meter in of for name in meter.timing.rows if name in plan.names}) for of in meters
        ]
        self._of_program = np.concatenate([[0], np.cumsum([len(of) for of in meters])]).astype(np.int64)
        columns, widths = ([of(m) for m, _ in self._meters] for of in (lambda m: plan.columns[m].start, plan.span))
        self._priced = tables([meter.timing for _, meter in self._meters], plan.names, columns, widths)
        self._first_cores = np.concatenate([[0], np.cumsum(widths)]).astype(np.int64)
        self._tables: dict[bool, loops.Tables] = {}  # by whether active updates are known
        self._sources = _sources(plan)
        self._group_rows = [_GroupRows(plan, group) for group in plan.groups]
        self._before: list[Counts] = []  # of the runs that are over
        self._totals: list[Counts] = []
        self.begin(batch, ticks)

    def begin(self, batch: int, ticks: Array | None = None) -> None:
        """Begin another run, from rest, of other sequences. It comes on top of what was counted so far.

        Args:
            batch, ticks: as for the class.
        """
        self._before, self._totals = self.totals, []
        self._batch, self._begun = batch, 0
        self._lengths = np.full(batch, np.iinfo(np.int64).max) if ticks is None else np.asarray(ticks, np.int64)
        # The last spikes of each sequence; and by delay, how many of each neuron's spikes have not arrived in time.
        self._recent = np.zeros((batch, int(self._sources.word[-1]), self.plan.depth - 1), np.uint64)
        self._waiting = np.zeros(self._late, np.int64)

    @property
    def _late(self) -> int:
        """The number of neurons, each once for every delay with which its spikes leave."""
        sizes = [source.population.size for source in self.plan.sources]
        return int(np.dot(np.diff(self._sources.pairs), sizes))

    def add(self, spikes: Mapping[str, Array], active: Mapping[str, Array] | None = None) -> None:
        """Count and time the next ticks, and give the meters what they cost.

        Args:
            spikes: as `Run.spikes` has them.
            active: as `Run.active` has them; None: every update may have been active.

        Raises:
            BadInput: nothing in the program spikes.
        """
        plan, known = self.plan, active is not None
        if not plan.sources:
            raise BadInput(NOTHING_SPIKES)
        ticks = len(spikes[plan.sources[0].population.name])
        lengths = np.clip(self._lengths - self._begun, 0, ticks)
        spent = nothing_spent(self._priced, self._batch)
        if known not in self._tables:
            self._tables[known] = signals.tables(plan, self._names, self._priced, known)
        of_spikes = self._tables[known]
        where, kept = places(spikes, [source.population for source in plan.sources])
        words, kept_words = places(active or {}, [] if active is None else plan.mapped)
        found: list[tuple[Array, ...]] = []

        def work(begin: int, end: int) -> None:
            fired, acted = np.zeros(plan.neurons, np.int64), np.zeros(plan.width, np.int64)
            before, after = np.zeros((2, len(self._waiting)), np.int64)
            loops.account_ticks(
                begin, end, lengths, where, words, self._sources, plan.active, loops.with_scratch(of_spikes),
                self._priced, self._of_program, self._first_cores, self._recent, fired, before, after, acted, spent,
                loops.scratch(len(plan.names), plan.width, self._priced),
                loops.room(of_spikes, self._recent.shape[1:], plan.words if known else 0),
            )  # fmt: skip
            found.append((fired, before, after, acted))

        in_threads(self._batch, ticks, work)
        del kept, kept_words  # the loops knew their addresses
        self._begun += ticks
        fired, before, after, acted = (np.sum(of, axis=0) for of in zip(*found, strict=True))
        self._waiting += after - before
        arrived = self._of_neurons(fired) + before - after
        happened = self._arriving(arrived)
        pending = self._arriving(self._waiting)
        updates = plan.updates.astype(np.int64) * lengths.sum()
        counted = [
            self._counts(m, happened[m], pending[m], acted if known else updates, updates, fired, lengths.sum(), known)
            for m in range(len(plan.programs))
        ]
        parts = [[of] for of in counted] if not self._totals else zip(self._totals, counted, strict=True)
        self._totals = [Counts.summed(list(of)) for of in parts]
        for i, (m, meter) in enumerate(self._meters):
            of = counted[m]
            graded = bool(of.synops_graded.any() or of.spikes_in_graded.any())
            if of.ticks.any():
                meter.timing.take(
                    of_meter(spent, self._priced, i, int(self._first_cores[i])), of.activity_known, graded
                )
            meter.add_totals(of)

    def _of_neurons(self, fired: Array) -> Array:
        """A number of each neuron, for every delay with which its spikes leave."""
        pairs, of = self._sources.pairs, self.plan.sources
        parts = [
            np.tile(fired[source.first : source.first + source.population.size], pairs[s + 1] - pairs[s])
            for s, source in enumerate(of)
        ]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def _arriving(self, spikes: Array) -> list[dict[str, Array]]:
        """What spikes bring on the cores of each program, by rows of counts; `spikes` are by delay and neuron."""
        plan, pairs, delays = self.plan, self._sources.pairs, self._sources.delay
        found: list[dict[str, Array]] = [{} for _ in plan.programs]
        for group, rows in zip(plan.groups, self._group_rows, strict=True):
            own = slice(int(pairs[group.source]), int(pairs[group.source + 1]))
            q = own.start + int(np.searchsorted(delays[own], group.delay))
            first = int(self._sources.first[q])
            of_neurons = spikes[first : first + plan.sources[group.source].population.size]
            if not of_neurons.any():
                continue
            touched, arriving = rows.times(of_neurons)
            for m, column in enumerate(plan.columns):
                for name, number in ((group.touches[m], touched), (group.arrives, arriving)):
                    found[m][name] = found[m].get(name, 0) + number[column]
        return found

    def _counts(
        self,
        m: int,
        found: Mapping[str, Array],
        waits: Mapping[str, Array],
        acted: Array,
        updates: Array,
        fired: Array,
        ticks: Any,
        known: bool,
    ) -> Counts:
        """The totals of one part in program `m`."""
        plan, program = self.plan, self.plan.programs[m]
        column = plan.columns[m]
        between, host = plan.messages(m, fired)
        core_xy = np.asarray(program.core_xy, np.int32)
        distance = np.abs(core_xy[:, None] - core_xy).astype(np.int64)
        none = np.zeros(column.stop - column.start, np.int64)
        totals = {
            **arriving(found, none),
            "neuron_updates": updates[column],
            "active_updates": acted[column],
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


def _sources(plan: Plan) -> loops.Sources:
    """The populations that spike, with the delays of what leaves them."""
    sizes = [source.population.size for source in plan.sources]
    delays = [sorted({group.delay for group in plan.groups if group.source == s}) for s in range(len(sizes))]
    repeated = [size for size, of in zip(sizes, delays, strict=True) for _ in of]
    return loops.Sources(
        word=signals.first_words(sizes),
        pairs=np.concatenate([[0], np.cumsum([len(of) for of in delays])]).astype(np.int64),
        delay=np.array([delay for of in delays for delay in of], np.int64),
        first=np.concatenate([[0], np.cumsum(repeated)])[: len(repeated)].astype(np.int64),
    )


class _GroupRows:
    """What a group of spikes brings, in as few bytes as hold it."""

    def __init__(self, plan: Plan, group: Group) -> None:
        self._classes, self._width = group.classes, plan.width
        rows = np.concatenate([group.touched, group.arriving], axis=1)
        self._rows = signals.compact(rows)

    def times(self, spikes: Array) -> tuple[Array, Array]:
        """Synaptic operations and axon events of some spikes of each neuron, int64 `[columns]` each."""
        n = len(self._rows)
        if self._classes is None:
            by_class = np.array([spikes.sum()])
        else:  # exact: whole numbers far below 2^53
            by_class = np.bincount(self._classes, spikes, n).astype(np.int64)
        total = np.zeros(self._rows.shape[1], np.int64)
        loops.sum_rows(by_class, self._rows, total)
        return total[: self._width], total[self._width : 2 * self._width]
