"""Networks on machines: energy, rate and latency beside the quality of exactly what ran, and what follows from them.

A row is one network on one machine. There are three kinds of machines. Onto a chip a network is mapped, run as
integers, counted and priced. On a machine with a price list, the operations of the same integers are priced. A CPU or
GPU is measured, here or earlier (a recorded measurement). What cannot be has no figures but a reason, and the other
rows stand.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from muspike import corpora, tokens
from muspike.bench import quality
from muspike.bench.crossover import AXES, Band, Bound, Crossing, Machine, OnChip, OnMachine, Point, crossover_map
from muspike.bench.forms import network_digest, untrained_twin
from muspike.bench.profile import Profile, profile
from muspike.bench.quality import Quality
from muspike.bench.sensitivity import Conclusion, Ends, Priced, conclusions
from muspike.bench.workload import Workload
from muspike.checkpoint import Model
from muspike.errors import BadInput, MuspikeError
from muspike.export.loihi import ChipRunner
from muspike.export.subject import Subject
from muspike.hardware.chip import Chip, known_chips, load_chip
from muspike.hardware.constant import read_toml, text_of
from muspike.hardware.cost.energy import BOUNDARY, Energy
from muspike.hardware.cost.operation_prices import OperationEnergy, price_macs, price_spikes
from muspike.hardware.cost.opinions import Opinions
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.meter.recorded import Recorded
from muspike.hardware.price_list import PriceList, known_price_lists, load_price_list
from muspike.host import completed
from muspike.tables import Table

DEVICES = ("cpu", "cuda")
Device = Literal["cpu", "cuda"]
On = Chip | PriceList | Device
How = Literal["modelled", "measured", "recorded"]

_COUNTED_ON = "loihi1"
"""The chip whose integers give the operations for price lists, whatever other chips there are."""

_NAMED = 3  # constants named in the table; the JSON has all


@dataclass(frozen=True, eq=False)
class Row:
    """A network on a machine.

    Attributes:
        network: what the network is called.
        machine: what the machine is called.
        how: whether its figures are modelled, measured now, or recorded earlier.
        what: what ran, or whose operations are priced.
        precision: of the numbers that it computed with.
        batch: sequences side by side.
        boundary: what the energy contains.
        per: what a figure is per.
        form: in which form a measured network ran; "" if it was modelled.
        energy: uJ, or None if there is none.
        rate: of `per` per second; None: there is none.
        latency: ms; None: there is none.
        quality: of exactly what ran; None: it was not evaluated.
        prices: chip and cost set, or price list; "" if it was measured.
        moves: the energy with each constant at the ends of its band.
        unbanded: names of the constants in the energy that have no published spread.
        curve: the same over batch, demand and wait; None: it has none.
        beside: the network whose twin it is; "": it stands for itself.
        cores, chips: how many a mapped network takes; None: it is mapped onto none.
        opinions: what three energy models say of it, beside a network without spikes; None: they were not asked.
        citations: BibTeX entries of its sources.
        notes: what a reader must know, in sentences.
    """

    network: str
    machine: str
    how: How
    what: str
    precision: str
    batch: int
    boundary: str
    per: str
    energy: Quantity | None
    form: str = ""
    rate: Quantity | None = None
    latency: Quantity | None = None
    quality: Quality | None = None
    prices: str = ""
    moves: Mapping[str, Ends] = field(default_factory=dict)
    unbanded: tuple[str, ...] = ()
    curve: Machine | None = None
    beside: str = ""
    cores: int | None = None
    chips: int | None = None
    opinions: Opinions | None = None
    citations: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Network and machine, and the batch if there are several."""
        form, batch = f", {self.form}" if self.form else "", f", batch {self.batch}" if self.batch > 1 else ""
        return f"{self.network} on {self.machine}{form}{batch}"

    def to_dict(self) -> dict[str, Any]:
        """The row as a JSON-able dict; each figure says in its name what it is per."""
        return {
            "network": self.network,
            "machine": self.machine,
            "how": self.how,
            "form": self.form,
            "what": self.what,
            "precision": self.precision,
            "batch": self.batch,
            "cores": self.cores,
            "chips": self.chips,
            "boundary": self.boundary,
            f"energy_uj_per_{self.per}": self.energy and dict(vars(self.energy)),
            f"{self.per}s_per_second": self.rate and dict(vars(self.rate)),
            f"latency_ms_per_{self.per}": self.latency and dict(vars(self.latency)),
            "quality": self.quality and self.quality.to_dict(),
            "prices": self.prices,
            "opinions": self.opinions and self.opinions.to_dict(),
            "notes": list(self.notes),
        }


@dataclass(frozen=True)
class Missing:
    """A network and a machine without a row, and why."""

    network: str
    machine: str
    why: str


@dataclass(frozen=True, eq=False)
class Comparison:
    """Networks on machines.

    Attributes:
        rows: what could be compared.
        missing: what could not, and why.
        conclusions: which modelled row takes less than which, and whether that survives the bands.
        crossings: chips against the machines that run no spikes, over batch, demand and wait.
        workloads: what each network ran on.
    """

    rows: tuple[Row, ...]
    missing: tuple[Missing, ...]
    conclusions: tuple[Conclusion, ...]
    crossings: tuple[Crossing, ...]
    workloads: Mapping[str, str]

    @property
    def citations(self) -> list[str]:
        """The BibTeX entries of all sources."""
        return [entry for row in self.rows for entry in row.citations]

    def to_dict(self) -> dict[str, Any]:
        """The comparison as a dict, JSON-able apart from infinities."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "missing": [vars(of) for of in self.missing],
            "conclusions": [of.to_dict() for of in self.conclusions],
            "crossover": [of.to_dict() for of in self.crossings],
            "workloads": dict(self.workloads),
            "remarks": self.remarks(),
        }

    def tables(self) -> Iterator[Table]:
        """The comparison for people."""
        yield self._figures()
        yield self._boundaries()
        if any(row.opinions for row in self.rows):
            yield self._opinions()
        if self.conclusions:
            yield self._conclusions()
        if self.crossings:
            told: dict[tuple[str, str], list[str]] = {}
            for of in self.crossings:
                told.setdefault((of.first, of.second), []).append(of.sentence().partition(": ")[2])
            yield Table(
                "who takes less energy per note, each with its own boundary (above); open: the bands overlap, or the "
                "chip is not below what a machine at its largest rate takes",
                ["first", "second", *(what for what, _ in AXES.values())],
                [[*pair, *lines, *["–"] * (len(AXES) - len(lines))] for pair, lines in told.items()],
                left=(0, 1, 2, 3, 4),
            )
        if self.missing:
            yield Table(
                "without figures",
                ["network", "machine", "why"],
                [[of.network, of.machine, of.why] for of in self.missing],
                left=(0, 1, 2),
            )

    def remarks(self) -> list[str]:
        """Sentences that stand below the tables."""
        told = [f"{name} ran on {what}" for name, what in self.workloads.items()]
        told += [f"{row.label}: {line}" for row in self.rows for line in row.notes]
        if not any(row.machine == "cuda" and row.how != "modelled" for row in self.rows):
            told.append("no GPU measured")
        return list(dict.fromkeys(told))

    def _figures(self) -> Table:
        (per, *others) = dict.fromkeys(row.per for row in self.rows) or [""]
        judged, mapped = any(row.quality for row in self.rows), any(row.cores for row in self.rows)
        first = next((row.quality for row in self.rows if row.quality), None)
        rows = []
        for row in self.rows:
            cells = [row.network, row.machine, f"{row.how} {row.form}".rstrip(), row.precision, f"{row.batch:,}"]
            if mapped:
                cells += ["–" if count is None else f"{count:,}" for count in (row.cores, row.chips)]
            if judged:
                cells += _judged(row, first)
            unit = f" per {row.per}" if others else ""
            cells += [*_told(row.energy, unit), _told(row.rate, unit)[0], _told(row.latency, unit)[0]]
            cells.append(row.energy.tag if row.energy else "")
            rows.append(cells)
        titles = ["network", "machine", "", "precision", "batch"]
        titles += ["cores", "chips"] if mapped else []
        titles += ["bits\nper note", "95 %", "against\nthe first"] if judged else []
        of = f"\nper {per}" if not others else ""
        titles += [f"µJ{of}", "band", f"{per or 'share'}s\nper s", f"ms{of}", "tag"]
        left = (0, 1, 2, 3, len(titles) - 1)
        return Table("energy, rate and latency beside the quality of exactly what ran", titles, rows, left)

    def _boundaries(self) -> Table:
        told = dict.fromkeys((row.machine, row.what, row.boundary) for row in self.rows)
        return Table("what ran, and what its energy contains", ["machine", "what", "boundary"], [*told], left=(0, 1, 2))

    def _opinions(self) -> Table:
        judged = [(row, row.opinions) for row in self.rows if row.opinions is not None]
        rows = []
        for row, found in judged:
            ratios = [f"{of.ratio.value:.3g} ({of.ratio.band}): {of.verdict}" for of in found.all]
            rate = f"{found.yan.rate:.1%} | {found.yan.break_even:.1%}"
            rows.append([row.network, row.machine, *ratios, rate, found.verdict])
        titles = ["network", "machine", "its prices", *(of.name for of in judged[0][1].all[1:])]
        return Table(
            "is it cheaper than the equivalent network without spikes? Energy of the spiking network by that of the "
            "other, by three models with a boundary each (muspike profile tells them), the spike rate per presented "
            "tick beside the break-even rate, and the verdict: cheaper only where all agree, with known bands",
            [*titles, "rate | break-even", "verdict"],
            rows,
            left=(0, 1, 2, 3, 4, 6),
        )

    def _conclusions(self) -> Table:
        by = {row.label: row for row in self.rows}
        rows = []
        for of in self.conclusions:
            one, other = by[of.first], by[of.second]
            band = f"{of.low:.3g} – {of.high:.3g}{'' if of.band_known else ' or wider'}"
            held = "yes" if of.holds else "no"
            if of.holds and not of.band_known:
                held = f"over the bands that are published; no band: {_first_of(of.unbanded)}"
            if not of.band_known and not (_spread(one) or _spread(other)):
                held, band = "not known", "no spread is published"
            tags = " | ".join(row.energy.tag for row in (one, other) if row.energy)
            rows.append([of.first, of.second, f"{of.ratio:.3g}", band, held, _first_of(of.flips) or "none", tags])
        boundaries = list(dict.fromkeys(by[of.first].boundary for of in self.conclusions))
        inside = f"boundary: {boundaries[0]}" if len(boundaries) == 1 else "both inside one boundary"
        return Table(
            f"the first takes less energy than the second, modelled, batch 1, {inside}: by which factor, whether that "
            "holds over the bands of all constants, and which single constant turns it over",
            ["first", "second", "factor", "over the bands", "holds", "turned over by", "tags"],
            rows,
            left=(0, 1, 3, 4, 5, 6),
        )


def _first_of(constants: Sequence[str]) -> str:
    """The first of some constants, and how many more there are."""
    more = f" and {len(constants) - _NAMED} more" if constants[_NAMED:] else ""
    return ", ".join(constants[:_NAMED]) + more


def _spread(row: Row) -> bool:
    """Whether any constant of the row's energy has a published spread."""
    return any(low != high for low, high in row.moves.values())


def _judged(row: Row, first: Quality | None) -> list[str]:
    if row.quality is None:
        return ["–", "–", "–"]
    bits = row.quality.bits_per_note
    told = [f"{bits.value:.3f}", f"{bits.low:.2f} – {bits.high:.2f}"]
    if first is None or row.quality is first:
        return [*told, "–"]
    try:
        change = row.quality.change_from(first)
    except BadInput:  # other pieces
        return [*told, "other pieces"]
    return [*told, f"{change.value:+.2%} ({change.low:+.2%} – {change.high:+.2%})"]


def _told(quantity: Quantity | None, unit: str = "") -> tuple[str, str]:
    if quantity is None:
        return "–", "–"
    return f"{quantity.value:.4g}{unit}", quantity.band


def machine_of(name: str) -> On:
    """The machine of this name: a chip, a price list, the file of one, `cpu` or `cuda`.

    Raises:
        BadInput: there is no such machine, or the file is wrong.
    """
    if name in DEVICES:
        return name  # type: ignore[return-value]
    if name in known_price_lists():
        return load_price_list(name)
    if name in known_chips():
        return load_chip(name)
    path = Path(name)
    if path.suffix != ".toml":
        known = ", ".join([*known_chips(), *known_price_lists(), *DEVICES])
        raise BadInput(f"machine {name!r} is not known; known: {known}, or give the path of a .toml file")
    found = load_chip(path) if "limits" in read_toml(text_of(path), str(path)) else load_price_list(path)
    if found.name in DEVICES:
        raise BadInput(f"{path}: name is {found.name!r}, which stands for a machine that is measured; give another one")
    return found


def name_of(on: On) -> str:
    """What a machine is called."""
    return on if isinstance(on, str) else on.name


def can_be_a_side(on: On) -> bool:
    """Whether a machine can stand beside a chip in a crossover: one that is measured, or a whole one without spikes."""
    return isinstance(on, str) or (isinstance(on, PriceList) and on.all_in and on.prices_dense)


def citations_of(on: Sequence[On]) -> list[str]:
    """The BibTeX entries of the sources of machines."""
    return [entry for of in on if not isinstance(of, str) for entry in of.citations.values()]


def rows_of(record: Recorded, subject: Subject, how: How) -> list[Row]:
    """The rows of a measurement that was made now, or recorded earlier, of a model of music.

    Raises:
        BadInput: it is of another network.
    """
    if subject.model is None:
        raise BadInput(f"{subject.name}: a measurement is of a model of music")
    record.demand(network_digest(subject.model), subject.name)
    per_note = _words_per_note(record)
    rows = []
    for entry in record.entries:
        found = record.measured(entry)
        if found is None:
            continue
        same = entry.ran.digest == record.network.digest
        network = subject.name if same else f"{entry.ran.name}{'' if entry.ran.trained else ' (untrained)'}"
        # A note waits for its words one after another; the batch beside it does not make it later.
        latency = found.time * (per_note * entry.batch * 1e3)
        energy = None if found.energy is None else replace(found.energy * (per_note * 1e6), unit="uJ")
        rows.append(
            Row(
                network=network,
                machine=record.machine.kind,
                how=how,
                what=f"{entry.what}; {record.machine.device}, {record.date[:10]}",
                precision=entry.precision,
                batch=entry.batch,
                boundary=record.counter.boundary,
                per="note",
                form=entry.form,
                energy=energy,
                rate=replace(found.rate / per_note, unit="1/s"),
                latency=replace(latency, unit="ms"),
                notes=tuple(found.doubts),
            )
        )
    if not rows:
        raise BadInput(f"{record.path or 'measurement'}: has no form with two windows or more; measure it anew")
    return rows


def _words_per_note(record: Recorded) -> float:
    if "note" not in record.samples_per:
        raise BadInput(f"{record.path or 'measurement'}: samples_per: note is missing, the words of a note")
    return record.samples_per["note"]


def _measured_curves(records: Sequence[Recorded]) -> list[OnMachine]:
    """Energy over the batch, for each form of each record that has joules and a batch of 1."""
    curves = []
    for record in records:
        per_note = _words_per_note(record)
        for form in dict.fromkeys(entry.form for entry in record.entries):
            points = []
            for entry in sorted((e for e in record.entries if e.form == form), key=lambda e: e.batch):
                found = record.measured(entry)
                if found is None or found.energy is None or found.energy_above_idle is None:
                    continue
                above, rate = found.energy_above_idle * (per_note * 1e6), found.rate / per_note
                points.append(Point(entry.batch, _band(above), _band(rate)))
            if points and points[0].batch == 1:
                label = f"{record.network.name}, {form}, on {record.machine.device}"
                curves.append(OnMachine(label, _idle(record), tuple(points), per_note))
    return curves


def _idle(record: Recorded) -> Band:
    """The idle power in W, as it was before and after each session, widened by the counter's accuracy."""
    watts = [of.watts for session in record.sessions for of in (session.idle_before, session.idle_after) if of]
    off = record.counter.accuracy
    return Band(statistics.fmean(watts), min(watts) * (1 - off), max(watts) * (1 + off))


def _band(quantity: Quantity) -> Band:
    return Band(quantity.value, quantity.low, quantity.high, quantity.band_known)


def compare(
    networks: Sequence[tuple[Subject, Workload]],
    on: Sequence[On],
    *,
    compose: int = 16,
    judge: bool = True,
    seed: int = 0,
    measure: Callable[[Subject, Device], Recorded] | None = None,
    recorded: Sequence[Recorded] = (),
    step: Callable[[str], object] = lambda _: None,
) -> Comparison:
    """Compare networks on machines.

    Args:
        networks: each network, and what it runs on.
        on: the machines, as `machine_of` gives them.
        compose: pieces that each network composes on each machine that runs it, for its music; 0: none.
        judge: whether to ask for quality. A network that is not a model of music has none.
        seed: of composing.
        measure: measures a network on a device of this machine; None: nothing is measured.
        recorded: recorded measurements. One of another network is named among what is missing.
        step: is told what is done next.

    Raises:
        BadInput: no network has figures on any machine, and the first reason why.
    """
    for what, names in (("network", [of.name for of, _ in networks]), ("machine", [name_of(of) for of in on])):
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise BadInput(f"compare: {what} {twice} is given twice; expected each once")
    rows: list[Row] = []
    missing: list[Missing] = []
    records: list[Recorded] = []

    def measured(subject: Subject, device: Device) -> Recorded:
        if measure is None:
            raise BadInput(f"{device}: nothing is measured here")
        step(f"{subject.name}: measured on {device}")
        records.append(measure(subject, device))
        return records[-1]

    for subject, workload in networks:
        job = _Job(subject, workload, compose, judge, seed, step)
        for machine in on:
            name = name_of(machine)
            try:
                rows += job.on(machine, measured)
            except MuspikeError as error:
                missing.append(Missing(subject.name, name, str(error)))
        for record in recorded:
            try:
                rows += job.judged(rows_of(record, subject, "recorded"))
                records.append(record)
            except MuspikeError as error:
                missing.append(Missing(subject.name, record.machine.device, str(error)))
    if not rows:
        raise BadInput(f"compare: nothing to compare: {missing[0].machine}: {missing[0].why}")
    return Comparison(
        rows=tuple(rows),
        missing=tuple(missing),
        conclusions=tuple(_conclusions(rows)),
        crossings=tuple(_crossings(rows, records)),
        workloads={subject.name: workload.what for subject, workload in networks},
    )


def _conclusions(rows: Sequence[Row]) -> list[Conclusion]:
    """What follows for modelled rows with one boundary. A factor over two boundaries would mean nothing."""
    groups: dict[tuple[str, str], list[Priced]] = {}
    for row in rows:
        if row.energy is not None and row.how == "modelled":
            groups.setdefault((row.boundary, row.per), []).append(_priced(row))
    return [found for group in groups.values() for found in conclusions(group)]


def _priced(row: Row) -> Priced:
    assert row.energy is not None
    return Priced(row.label, row.prices, row.energy, row.moves, row.unbanded)


def _crossings(rows: Sequence[Row], records: Sequence[Recorded]) -> list[Crossing]:
    """Each chip against the measured forms of its own network and of its twin, and against the bounds of that twin."""
    found = []
    for row in rows:
        if isinstance(row.curve, OnChip):
            measured = _measured_curves([record for record in records if record.network.name == row.network])
            bounds = [of.curve for of in rows if isinstance(of.curve, Bound) and of.beside in ("", row.network)]
            found += crossover_map([row.curve], [*measured, *bounds])
    return found


class _Job:
    """One network, with what is computed for it once."""

    def __init__(
        self, subject: Subject, workload: Workload, compose: int, judge: bool, seed: int, step: Callable[[str], object]
    ) -> None:
        self.subject, self.workload, self.step = subject, workload, step
        self._compose, self._seed = compose, seed
        model = subject.model
        self._pieces = corpora.load(model.training["corpus"]).evaluated("test") if judge and model else None
        self._on_chip: dict[str, tuple[Profile, Quality | None]] = {}
        self._in_torch: Quality | None = None

    def on(self, machine: On, measured: Callable[[Subject, Device], Recorded]) -> list[Row]:
        """The rows of the network on a machine, and of its twin where that prices networks that do not spike.

        Raises:
            MuspikeError: there are none, with the reason.
        """
        if isinstance(machine, str):
            return self.judged(rows_of(measured(self.subject, machine), self.subject, "measured"))
        if isinstance(machine, Chip):
            return [self._chip(machine)]
        if self.subject.twin is not None:
            return [self._dense(machine, self.subject.model)]
        rows = [self._operations(machine)] if machine.prices_spikes else []
        if machine.prices_dense:
            try:
                rows.append(self._dense(machine, self._twin()))
            except BadInput:  # a list that prices both prices the twin too, if there is one
                if not rows:
                    raise
        return rows

    def judged(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of a measurement, with the quality in torch where just this network ran in 32-bit floats."""
        same = [row.network == self.subject.name and row.precision == "float32" for row in rows]
        return [replace(row, quality=self.in_torch() if of else None) for row, of in zip(rows, same, strict=True)]

    def _twin(self) -> Model:
        if self.subject.model is None:
            raise BadInput(f"{self.subject.name}: is no model of muspike, so it has no twin that does not spike")
        return untrained_twin(self.subject.model)

    def in_torch(self) -> Quality | None:
        """The quality of the model in torch; None: it is no model, or quality was not asked for."""
        if self._in_torch is None and self._pieces is not None and self.subject.model is not None:
            self.step(f"{self.subject.name}: likelihood and music in torch")
            self._in_torch = quality.of_network(
                self.subject.model.network.eval(), self._pieces, self._compose, self._seed
            )
        return self._in_torch

    def _run(self, chip: Chip) -> tuple[Profile, Quality | None]:
        if self.subject.twin is not None:
            raise BadInput(f"{self.subject.name}: does not spike, and no spiking chip runs it")
        if chip.name not in self._on_chip:
            self.step(f"{self.subject.name}: counted and priced on {chip.name}")
            found = profile(self.subject, self.workload, chip)
            judged = None
            if self._pieces is not None:
                self.step(f"{self.subject.name}: likelihood and music on {chip.name}")
                judged = quality.of_program(ChipRunner(found.program), self._pieces, self._compose, self._seed)
            self._on_chip[chip.name] = found, judged
        return self._on_chip[chip.name]

    def _chip(self, chip: Chip) -> Row:
        found, judged = self._run(chip)
        cost, shares = found.energies[0], self.workload.shares
        latency = (cost.latency / shares).to("ms")
        return Row(
            network=self.subject.name,
            machine=chip.name,
            how="modelled",
            what="the network as the chip's integers, mapped and counted",
            precision="8-bit weights, 24-bit states",
            batch=1,
            boundary=BOUNDARY,
            per=self.workload.per,
            energy=(cost.total / shares).to("uJ"),
            rate=_rate(latency),
            latency=latency,
            quality=judged,
            prices=f"{chip.name}, {cost.costs}",
            moves=_moves(cost, shares),
            unbanded=cost.unbanded,
            curve=self._curve(chip, cost, latency),
            cores=found.memory.cores,
            chips=found.memory.chips,
            opinions=found.opinions,
            citations=tuple(chip.citations.values()),
            notes=found.warnings,
        )

    def _curve(self, chip: Chip, cost: Energy, latency: Quantity) -> OnChip | None:
        if self.workload.per != "note" or self.workload.tokens is None:
            return None
        words = self.workload.tokens / self.workload.shares
        dynamic = (cost.dynamic / self.workload.shares).to("uJ")
        return OnChip(f"{self.subject.name} on {chip.name}", dynamic, cost.waiting, latency, words)

    def _operations(self, prices: PriceList) -> Row:
        chip = load_chip(_COUNTED_ON)
        found, judged = self._run(chip)
        what = f"the operations of the integers of {chip.name}; whether they fit this machine was not asked"
        return replace(self._listed(price_spikes(found.operations, prices), what), quality=judged)

    def _dense(self, prices: PriceList, model: Model | None) -> Row:
        """The row of a network that does not spike: this one, or the untrained twin of this one."""
        assert model is not None
        own = model is self.subject.model
        row = self._listed(
            price_macs(self._macs(model), prices), "the multiplications in torch, reading whole sequences"
        )
        name = self.subject.name if own else f"{model.architecture} (untrained)"
        # Arithmetic alone would be no machine to hold a chip against.
        whole = row.energy is not None and prices.all_in and self.workload.per == "note"
        bound = Bound(f"{name} on {prices.name}", row.energy) if row.energy and whole else None
        beside = "" if own else self.subject.name
        return replace(row, network=name, quality=self.in_torch() if own else None, curve=bound, beside=beside)

    def _macs(self, model: Model) -> int:
        """Multiplications with an accumulation in the run of a network that does not spike."""
        if self.workload.words is None:
            raise BadInput(f"{self.subject.name}: its twin reads words, and it is run on spikes")
        network = model.network.eval()
        words = completed(self.workload.words[..., : len(tokens.FEATURES)], network)
        # The counter sees neither oneDNN's LSTM nor fused attention; their plain forms do the same multiplications.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch names a setting of another maker's GPUs
            plain = torch.backends.mkldnn.flags(enabled=False), sdpa_kernel(SDPBackend.MATH)
            with torch.no_grad(), plain[0], plain[1], FlopCounterMode(display=False) as counter:
                network(torch.from_numpy(words))
        return int(counter.get_total_flops()) // 2

    def _listed(self, cost: OperationEnergy, what: str) -> Row:
        shares = self.workload.shares
        total = cost.total.value
        moves = {
            row.name: Ends(
                *((total - row.energy.value + end) / shares * 1e-6 for end in (row.energy.low, row.energy.high))
            )
            for row in cost.rows
            if row.energy is not None
        }
        unpriced = [row.name.replace("_", " ") for row in cost.rows if row.status == "unpriced"]
        return Row(
            network=self.subject.name,
            machine=cost.prices.name,
            how="modelled",
            what=what,
            precision=cost.prices.precision,
            batch=1,
            boundary=cost.prices.boundary,
            per=self.workload.per,
            energy=(cost.total / shares).to("uJ"),
            prices=cost.prices.name,
            moves=moves,
            unbanded=tuple(of.name for of in cost.rows if of.energy is not None and not of.energy.band_known),
            citations=tuple(cost.prices.citations.values()),
            notes=tuple(
                f"{name} has no price on {cost.prices.name}, which does not mean that it is free" for name in unpriced
            ),
        )


def _rate(latency_ms: Quantity) -> Quantity:
    value, low, high = latency_ms.value, latency_ms.low, latency_ms.high
    return replace(latency_ms, value=1e3 / value, low=1e3 / high, high=1e3 / low, unit="1/s")


def _moves(cost: Energy, shares: int) -> dict[str, Ends]:
    return {of.name: Ends(of.low / shares * 1e-6, of.high / shares * 1e-6) for of in cost.uncertainty}
