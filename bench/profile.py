"""What a network does on its chip: how its neurons fire, what it computes, how large it is, and what that costs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from muspike.bench.activity import spikes_by_kind
from muspike.bench.reading import Reading
from muspike.bench.workload import Workload
from muspike.errors import BadInput
from muspike.export.loihi import ChipRunner
from muspike.export.size import Size, size_of
from muspike.export.subject import Subject
from muspike.hardware.chip import Chip, as_chip
from muspike.hardware.cost import energy
from muspike.hardware.cost.activity import Counts
from muspike.hardware.cost.energy import Energy
from muspike.hardware.cost.firing import SATURATED, Firing, FiringMeter
from muspike.hardware.cost.footprint import ChipMemory
from muspike.hardware.cost.operations import Operations, operations
from muspike.hardware.cost.opinions import Opinions, opinions
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.mapping.compile import Compiled
from muspike.hardware.mapping.fit import use_of
from muspike.hardware.program import Program
from muspike.hardware.running.simulate import input_shapes, shown_rows, simulate, warnings
from muspike.tables import Table, several

BINS = 20
"""Bars of the histogram of firing rates."""


@dataclass(frozen=True, eq=False)
class Profile:
    """What a network does on its chip, on a workload.

    Attributes:
        network: what the network is called.
        program: the deployed network.
        workload: what it ran on, and what figures are per.
        firings: what each population of spikes did.
        membrane_updates: membrane updates of each mapped population, in the run.
        operations: what the network computes in the run.
        size: how large the network is in floats.
        memory: what it takes on the chip.
        counts: what happened on the cores in the run.
        energies: what the run costs, one for each cost set of the chip.
        opinions: what three energy models say: is it cheaper than the equivalent network without spikes? None: they
            cannot tell.
        warnings: sentences on what makes the figures not those of the chip, and why there are no opinions; mostly none.
    """

    network: str
    program: Program
    workload: Workload
    firings: tuple[Firing, ...]
    membrane_updates: Mapping[str, int]
    operations: Operations
    size: Size
    memory: ChipMemory
    counts: Counts
    energies: tuple[Energy, ...]
    opinions: Opinions | None
    warnings: tuple[str, ...]

    @property
    def own(self) -> tuple[Firing, ...]:
        """What the network's own neurons did: without inputs and relays."""
        return tuple(of for of in self.firings if of.kind == "lif" and not of.relay)

    @property
    def activation_sparsity(self) -> float:
        """NeuroBench's activation sparsity of all own neurons; 0 if there is none, as there."""
        cells = sum(of.size * of.ticks_of_all for of in self.own)
        return 1 - sum(of.spikes for of in self.own) / cells if cells else 0.0

    def to_dict(self) -> dict[str, Any]:
        """The profile as a JSON-able dict. Every figure says in its name what it is per."""
        per, shares, work = self.workload.per, self.workload.shares, self.workload
        return {
            "network": self.network,
            "chip": self.program.chip,
            "program": self.program.digest,
            "dt_s": self.program.dt_s,
            "workload": {
                "what": work.what,
                "per": per,
                "shares_in_run": shares,
                "sequences": work.batch,
                "ticks_of_sequence": work.ticks,
                "words_in_run": work.tokens,
            },
            "saturated_from_share_of_presented_ticks": SATURATED,
            "activation_sparsity": self.activation_sparsity,
            "connection_sparsity": self.operations.connection_sparsity,
            "dead_neurons": sum(int(of.dead.sum()) for of in self.own),
            "saturated_neurons": sum(int(of.saturated.sum()) for of in self.own),
            "populations": [self._population(of) for of in self.firings],
            "readouts": [
                {
                    "name": p.name,
                    "size": p.size,
                    f"membrane_updates_per_{per}": self.membrane_updates[p.name] / shares,
                }
                for p in self.program.readouts
            ],
            f"operations_per_{per}": {name: count / shares for name, count, _ in self._operations()},
            f"events_on_chip_per_{per}": {name: count / shares for name, count, _ in self._events()},
            "connections": [
                {
                    "name": of.name,
                    "source": of.source,
                    "target": of.target,
                    "connections": of.connections,
                    "weights": of.weights,
                    "zero_weights": of.zero_weights,
                    f"dense_per_{per}": of.dense / shares,
                    f"effective_acs_per_{per}": of.effective_acs / shares,
                    f"effective_macs_per_{per}": of.effective_macs / shares,
                }
                for of in self.operations.connections
            ],
            "footprint": {
                "parameters": self.size.parameters,
                "footprint_bytes": self.size.footprint_bytes,
                "of": self.size.of,
                "synaptic_memory_bits": self.memory.used_bits,
                "synaptic_memory_bits_of_these_cores": self.memory.available_bits,
                "cores": self.memory.cores,
                "chips": self.memory.chips,
                "neurons_on_cores": self.memory.neurons,
            },
            "energy": [
                priced.to_dict(shares, per) | {"components": [row.to_dict(shares, per) for row in shown_rows(priced)]}
                for priced in self.energies
            ],
            "opinions": self.opinions and self.opinions.to_dict(),
            "warnings": list(self.warnings),
        }

    def _population(self, of: Firing) -> dict[str, Any]:
        per, shares = self.workload.per, self.workload.shares
        updates = self.membrane_updates.get(of.name)
        counts, edges = rate_histogram(of)
        token = self.workload.period is not None
        return {
            "name": of.name,
            "kind": "relay" if of.relay else of.kind,
            "size": of.size,
            "spikes_per_neuron_and_tick": of.rate,
            "activation_sparsity": of.sparsity,
            "spikes_per_neuron_and_presented_tick": of.presented_rate,
            f"spikes_per_{per}": of.spikes / shares,
            f"membrane_updates_per_{per}": None if updates is None else updates / shares,
            "dead_neurons": int(of.dead.sum()),
            "numbers_of_dead_neurons": np.flatnonzero(of.dead).tolist(),
            "dead_share": float(of.dead.mean()),
            "saturated_neurons": int(of.saturated.sum()),
            "saturated_share": float(of.saturated.mean()),
            f"spikes_per_neuron_and_tick_by_tick_of_{'word' if token else 'sequence'}": of.rate_of_tick.tolist(),
            "spikes_per_neuron_and_tick_by_word": of.rate_of_period.tolist() if token else None,
            "spikes_per_neuron_and_tick_by_sequence": of.rate_of_sequence.tolist(),
            "neurons_by_spikes_per_presented_tick": {"edges": edges.tolist(), "neurons": counts.tolist()},
        }

    def _operations(self) -> Iterator[tuple[str, int, str]]:
        """What the network computes: name, number in the run, and what it is in words."""
        done = self.operations
        yield "synaptic_dense", done.dense, "synaptic operations, dense: every connection in every tick"
        yield "synaptic_effective_acs", done.effective_acs, "effective accumulates (ACs): of spikes of 0 or 1"
        yield "synaptic_effective_macs", done.effective_macs, "effective multiply-accumulates (MACs): of graded spikes"
        yield "neuron_updates", done.neuron_updates, "neuron updates: every neuron in every tick"
        if done.membrane_updates is not None:
            yield "membrane_updates", done.membrane_updates, "membrane updates: the membrane changes"

    def _events(self) -> Iterator[tuple[str, int, str]]:
        """What happens on the chip: name, number in the run, and what it is in words."""
        spikes, counts = spikes_by_kind(self.firings), self.counts
        yield "spikes", spikes["lif"], "spikes of the network's own neurons"
        if any(of.relay for of in self.firings):
            yield "relay_spikes", spikes["relay"], "spikes of relays, which only make a delay longer"
        yield "input_spikes", spikes["input"], "spikes of the inputs"
        yield (
            "synaptic_operations",
            int(counts.synops.sum()),
            "synaptic operations: synapses in memory touched",
        )
        yield "neuron_updates", int(counts.neuron_updates.sum()), "neuron updates, relays included"
        yield "active_updates", int(counts.active_updates.sum()), "neuron updates of which something is not 0"
        yield "messages", int(counts.messages_out.sum()), "messages from core to core"
        yield "host_messages", int(counts.host_messages.sum()), "messages of the host"
        yield "hops", int((counts.hops_x + counts.hops_y).sum()), "links between tiles that messages cross"

    # --- for people --------------------------------------------------------------------------------------------------

    @property
    def title(self) -> str:
        """What is profiled, in a line."""
        return f"{self.network} on {self.program.chip}: {self.workload.what}, {self._shares}"

    @property
    def _shares(self) -> str:
        """How many of what figures are per."""
        return several(self.workload.shares, self.workload.per)

    def tables(self) -> list[Table]:
        """The profile as tables."""
        found = [self._populations(), self._computed(), self._connections(), self._footprint(), self._cost()]
        return [*found, self.opinions.table()] if self.opinions else found

    def _populations(self) -> Table:
        per, shares, token = self.workload.per, self.workload.shares, self.workload.period is not None
        presented = ("of the ticks with a\npresented word",) if token else ()
        titles = (
            "population",
            "kind",
            "neurons",
            "spikes per\nneuron and tick",
            *presented,
            "activation\nsparsity",
            f"spikes\nper {per}",
            f"membrane updates\nper {per}",
            "dead",
            "saturated",
        )
        rows = []
        for of in self.firings:
            updates = self.membrane_updates.get(of.name)
            rows.append(
                [
                    of.name,
                    "relay" if of.relay else of.kind,
                    f"{of.size:,}",
                    f"{of.rate:.4f}",
                    *((f"{of.presented_rate:.4f}",) if token else ()),
                    f"{of.sparsity:.4f}",
                    _number(of.spikes / shares),
                    "–" if updates is None else _number(updates / shares),
                    _share(int(of.dead.sum()), of.size),
                    _share(int(of.saturated.sum()), of.size),
                ]
            )
        for p in self.program.readouts:
            updates_of = _number(self.membrane_updates[p.name] / shares)
            rows.append(
                [p.name, "li", f"{p.size:,}", *["–"] * (len(titles) - 6), updates_of, "–", "–"],
            )
        ticks = "ticks with a presented word" if token else "ticks"
        caption = (
            f"populations, {self._shares} together; dead: never fires, of an input: never given; saturated: fires in "
            f"{100 * SATURATED:g} % or more of the {ticks}"
        )
        return Table(caption, titles, rows, left=(0, 1))

    def _computed(self) -> Table:
        per, shares = self.workload.per, self.workload.shares
        rows = [["network", what, _number(count / shares)] for _, count, what in self._operations()]
        rows += [["chip", what, _number(count / shares)] for _, count, what in self._events()]
        caption = f"operations of the network (as NeuroBench defines them) and events on the chip, per {per}"
        return Table(caption, ("of the", "what", f"per {per}"), rows, left=(0, 1))

    def _connections(self) -> Table:
        per, shares = self.workload.per, self.workload.shares
        titles = ("from", "to", "connections", "weights", "zero weights", "dense", "effective ACs", "effective MACs")
        rows = [
            [
                of.source,
                of.target,
                f"{of.connections:,}",
                f"{of.weights:,}",
                _share(of.zero_weights, of.weights),
                *(_number(count / shares) for count in (of.dense, of.effective_acs, of.effective_macs)),
            ]
            for of in self.operations.connections
        ]
        return Table(f"connections and their synaptic operations per {per}", titles, rows, left=(0, 1))

    def _footprint(self) -> Table:
        memory, size = self.memory, self.size
        used = f"{memory.used_bits / 8:,.0f} bytes"
        if memory.available_bits is not None:
            used += f", {100 * memory.used_bits / memory.available_bits:.1f} % of these cores'"
        neurons = sum(of.size for of in self.own)
        rows = [
            ["parameters", f"{size.parameters:,}"],
            ["footprint", "not known in floats" if size.footprint_bytes is None else f"{size.footprint_bytes:,} bytes"],
            ["that is of", size.of],
            ["connection sparsity", f"{self.operations.connection_sparsity:.4f}"],
            ["activation sparsity", f"{self.activation_sparsity:.4f}"],
            ["dead neurons", _share(sum(int(of.dead.sum()) for of in self.own), neurons)],
            ["saturated neurons", _share(sum(int(of.saturated.sum()) for of in self.own), neurons)],
            ["synaptic memory on the chip", used],
            ["cores", f"{memory.cores:,} on {several(memory.chips, 'chip')}"],
        ]
        return Table("the network as a whole", ("what", "is"), rows, left=(0, 1))

    def _cost(self) -> Table:
        per, shares = self.workload.per, self.workload.shares
        titles = ("cost set", "µJ", "band", "tag", "dynamic", "static", "latency, µs", "band", "waits for")
        rows = []
        for priced in self.energies:
            total, latency = (priced.total / shares).to("uJ"), (priced.latency / shares).to("us")
            parts = ((part / shares).to("uJ") for part in (priced.dynamic, priced.static))
            rows.append(
                [
                    priced.costs,
                    *_band(total),
                    total.tag,
                    *(f"{part.value:.4g}" for part in parts),
                    *_band(latency),
                    priced.bottleneck.resource,
                ]
            )
        caption = f"modelled cost on {self.program.chip}, per {per}; boundary: {energy.BOUNDARY}"
        return Table(caption, titles, rows, left=(0, 3, 8))


def rate_histogram(of: Firing) -> tuple[Any, Any]:
    """How many neurons fire how often: neurons, `[BINS]`, and the edges of the rates, `[BINS + 1]`, from 0 to 1.

    The rate is in spikes per presented tick. A neuron may exceed 1 by nothing.
    """
    counts, edges = np.histogram(of.rate_of_neuron, bins=BINS, range=(0, 1))
    return counts, edges


def profile(
    subject: Subject,
    workload: Workload,
    chip: Chip | str | os.PathLike[str] | None = None,
    *,
    size: Size | None = None,
    scale: str | None = None,
    reset_every: int | None = None,
    graded: bool = False,
    progress: Callable[[int], object] | None = None,
) -> Profile:
    """Run a network on its chip, and measure what it does.

    Args:
        subject: the network.
        workload: what to run it on. If it has words, the chip reads them as in `bench`; else it runs on the spikes, and
            then on silence until the deepest population has received them, as in `simulate`.
        chip: a `Chip`, the name of a known one, or the path of a TOML file; None: loihi1, or a program's own chip.
        size: how large the network is; None: what `size_of` says.
        scale, reset_every, graded: how a graph is compiled, as for `Subject.compiled`.
        progress: called with the number of ticks done since its last call, if the workload has no words.

    Raises:
        BadInput: the network does not spike or does not fit the chip, whose limit is named; there is no such chip; a
            program is for another one; an event has no price; or a program or model cannot be compiled as asked.
    """
    compiled, program, found = _on_chip(subject, chip, scale, reset_every, graded)
    use = compiled.use if compiled else use_of(program, found)
    if use.misfit:
        more = f" (and {len(use.problems) - 1} more)" if len(use.problems) > 1 else ""
        raise BadInput(f"{subject.name}: {use.misfit}{more}; what does not fit has no energy")
    if workload.words is None:
        ran = _on_spikes(compiled or program, workload, found, progress)
    else:
        ran = _on_words(program, workload, found)
    judged, warned = _opinions(program, ran, found)
    return Profile(
        network=subject.name,
        program=program,
        workload=workload,
        firings=ran.meter.firings(),
        membrane_updates=ran.meter.membrane_updates() or {},
        operations=operations(program, ran.meter),
        size=size or size_of(subject),
        memory=ChipMemory.of(use, found),
        counts=ran.counts.totals(),
        energies=ran.energies,
        opinions=judged,
        warnings=(*ran.warnings, *warned),
    )


def _on_chip(
    subject: Subject,
    chip: Chip | str | os.PathLike[str] | None,
    scale: str | None,
    reset_every: int | None,
    graded: bool,
) -> tuple[Compiled | None, Program, Chip]:
    given = subject.given
    if isinstance(given, Program):
        found = as_chip(given.chip if chip is None else chip)
        if found.name != given.chip:
            raise BadInput(f"{subject.name}: is a program for {given.chip}, not for {found.name}")
        if scale is not None or reset_every is not None or graded:
            raise BadInput(f"{subject.name}: a program has its own scale, resets and graded inputs; leave them out")
        return None, given, found
    found = as_chip("loihi1" if chip is None else chip)
    compiled = subject.compiled(found, must_fit=False, scale=scale, reset_every=reset_every, graded=graded)
    return compiled, compiled.program, found


@dataclass(frozen=True, eq=False)
class _Ran:
    """A run: its spikes, its counts in all (but for `ticks`, of each sequence), and how it divides into inferences."""

    meter: FiringMeter
    spikes: Mapping[str, Any]
    counts: Counts
    energies: tuple[Energy, ...]
    warnings: list[str]
    ticks: int
    period: int


def _opinions(program: Program, ran: _Ran, chip: Chip) -> tuple[Opinions | None, list[str]]:
    """What the energy models say of a run, or nothing and why not."""
    try:
        found = opinions(
            program, ran.spikes, ran.counts, ticks=ran.ticks, period=ran.period, chip=chip, energy=ran.energies[0]
        )
    except BadInput as error:  # graded inputs, or silence
        return None, [f"no opinions: {error}"]
    return found, []


def _on_words(program: Program, workload: Workload, chip: Chip) -> _Ran:
    assert workload.words is not None and workload.tokens is not None
    runner = ChipRunner(program)
    read = Reading(runner, [program], workload.words, chip, membranes=True)
    reads = workload.tokens * sum(p.size for p in program.readouts)
    energies = tuple(meter.energy(reads=reads) for meter in read.meters[0])
    warned = []
    if runner.overflows:
        warned.append(f"{runner.overflows:,} sums left the 16-bit accumulator: from then on the chip would differ")
    if runner.readout_resets:
        warned.append(f"readouts reached the largest threshold and were reset {runner.readout_resets:,} times")
    warned += [line for energy in energies for line in energy.warnings]
    presented = runner.presentation
    counts = replace(read.counts[0], ticks=np.full(workload.batch, workload.ticks))
    return _Ran(read.firing, read.spikes, counts, energies, warned, presented.ticks, presented.period)


def _on_spikes(
    network: Compiled | Program, workload: Workload, chip: Chip, progress: Callable[[int], object] | None
) -> _Ran:
    program = network.program if isinstance(network, Compiled) else network
    meter = FiringMeter(program, workload.ticks)
    shapes = input_shapes(network.graph if isinstance(network, Compiled) else network)
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    columns = np.split(workload.spikes, np.cumsum(sizes)[:-1], axis=2)
    run = simulate(
        network,
        dict(zip(shapes, columns, strict=True)) if shapes else {},
        chip if isinstance(network, Program) else None,
        beside_float=False,
        ticks=workload.ticks,
        progress=progress,
        watch=lambda part: meter.add(part.spikes, part.membrane),
    )
    if not run.energies:
        raise BadInput(f"no energy: {run.no_energy}")
    # A sequence is an inference.
    counts = replace(run.counts, ticks=np.full(run.batch, run.ticks))
    return _Ran(meter, run.run.spikes, counts, run.energies, list(warnings(run)), run.ticks, run.ticks)


def _number(value: float) -> str:
    """A number for people: whole if it is large, else with three digits."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _share(count: int, of: int) -> str:
    return f"{count:,} ({100 * count / of:.1f} %)" if count else "0"


def _band(quantity: Quantity) -> tuple[str, str]:
    return f"{quantity.value:.4g}", quantity.band
