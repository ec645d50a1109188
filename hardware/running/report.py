"""The report on a compiled network, as data and as text: its fit on the chip, and the effect of the chip's integers."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from muspike.errors import printable
from muspike.hardware.chip import Chip
from muspike.hardware.mapping.compile import Compiled
from muspike.hardware.mapping.partition import CoreUse, Use
from muspike.hardware.program import ChipSynapses, Program
from muspike.hardware.readings import READINGS
from muspike.hardware.weights import Conv
from muspike.tables import Table, several, text_table

# If there are more cores, runs of cores share a row; if there are more runs, only the first are shown, then the fullest
# cores. Of problems and risks, only the first so many are shown.
_MOST_ROWS = 40
_LONGEST_NAME = 60
_FULLEST = 5
# The columns of the table of cores: title, amount on the core, its unit, and the limit that it counts against.
_COLUMNS: Sequence[tuple[str, Callable[[CoreUse], float], str, str]] = (
    ("neurons", lambda core: core.neurons, "", "neurons_per_core"),
    ("synaptic memory", lambda core: core.synaptic_memory_bytes, " B", "synaptic_memory_bits_per_core"),
    ("input axons", lambda core: core.input_axons, "", "input_axons_per_core"),
    ("output axons", lambda core: core.output_axons, "", "output_axons_per_core"),
    ("threshold configurations", lambda core: core.threshold_configurations, "", "threshold_configurations_per_core"),
    (
        "compartment configurations",
        lambda core: core.compartment_configurations,
        "",
        "compartment_configurations_per_core",
    ),
)


READING = (
    "neurons are read as NIR defines them, and as lava-dl runs them: after a spike the membrane is 0, and a neuron "
    "spikes at most once in a tick; a file does not say if the network was trained with another reset, such as by "
    "subtraction"
)
"""How a chip executes every network. A file does not show whether it was trained with another kind of reset."""


def float_network(reads_as: str) -> str:
    """What the float network is called, read as this key of `READINGS` says."""
    return "the float network" if reads_as == "nir" else f"the float network, read as {reads_as},"


def reading_lines(reads_as: str | None) -> Iterator[str]:
    """How the float network is read, and how the chip executes the same file. None: there is no float network."""
    if reads_as is not None and reads_as != "nir":
        yield f"the float network is read as {reads_as}: {READINGS[reads_as].told}"
        yield f"on the chip, {READING}"
    else:
        yield READING


def graded_inputs(program: Program) -> dict[str, int]:
    """The inputs whose spikes are graded, by name, and the bits of a spike."""
    return {p.name: p.graded_bits for p in program.inputs if p.graded_bits}


def graded_line(program: Program) -> str | None:
    """The graded inputs in a sentence for people; None if there are none."""
    found = graded_inputs(program)
    told = ", ".join(
        f"{name!r}: whole numbers of 0 to {(1 << bits) - 1:,} ({bits} bits)" for name, bits in found.items()
    )
    return f"graded inputs, whose spikes multiply the weights: {told}" if told else None


def mapping(compiled: Compiled) -> dict[str, Any]:
    """Use of the chip, quantisation, levels and risks as a dict: JSON-able, apart from infinite headrooms."""
    program = compiled.program
    return {
        "chip": program.chip,
        "chip_warnings": list(compiled.chip.warnings),
        "fits": compiled.use.fits,
        "fill": compiled.fill,
        "dt_s": program.dt_s,
        "synapses": program.n_synapses,
        "graded_bits_of_inputs": graded_inputs(program),
        "levels": {p.name: p.level for p in program.populations},
        "use": compiled.use.to_dict(),
        "cores_between": compiled.cores_between,
        "quantisation": compiled.quantisation.to_dict(),
        "risks": list(compiled.risks),
        "reading": READING,
    }


def mapping_text(compiled: Compiled, first: Iterable[str] = (), reads_as: str | None = None) -> str:
    """The same as text.

    Args:
        compiled: the network on its chip.
        first: lines on a run of the network, which come before all but the verdict.
        reads_as: how the float network of that run was read; None: there was no run.
    """
    return "\n".join(_lines(compiled, first, reads_as))


def _lines(compiled: Compiled, first: Iterable[str], reads_as: str | None) -> Iterator[str]:
    use, program = compiled.use, compiled.program
    yield f"{use.chip}: {verdict(use)}"
    yield from first
    if any(p.kind == "lif" for p in program.populations):
        yield from reading_lines(reads_as)
    if told := graded_line(program):
        yield printable(told)
    yield (
        f"{use.neurons:,} neurons ({use.relay_neurons:,} of them relays), {program.n_synapses:,} synapses, "
        f"{several(len(use.cores), 'core')} on {several(use.chips, 'chip')}, ticks of {program.dt_s:g} s"
    )
    yield packing(compiled)
    if between := core_range(compiled):
        yield between
    yield from _limits(use)
    yield ""
    yield from _cores(use)
    yield ""
    for table in (weights_table(compiled), rounding_table(compiled), scales_table(compiled)):
        yield from _first_rows(table)
        yield ""
    for place, (title, entries) in enumerate((("problems", use.problems), ("risks", compiled.risks))):
        if place:
            yield ""
        yield f"{title}: {'none' if not entries else ''}".rstrip()
        yield from (f"- {printable(entry)}" for entry in entries[:_MOST_ROWS])
        if len(entries) > _MOST_ROWS:
            yield f"- and {len(entries) - _MOST_ROWS:,} more (--json has all)"


def weights_table(compiled: Compiled) -> Table:
    """What rounding did to the weights, a row for each set of synapses."""
    of = {synapses.name: synapses for synapses in compiled.program.synapses}
    titles = ("weights", "stored as", "synapses", "relative error", "largest error", "saturated", "exponent", "zero")
    rows = [
        [
            s.name,
            _stored_as(of[s.name]),
            f"{of[s.name].stored:,}",
            f"{100 * s.rms_error:.2f} %",
            f"{s.max_error:.2g}",
            f"{s.saturated:,}",
            f"{s.weight_exp}",
            f"{100 * s.zero_fraction:.1f} %",
            f"{s.vanished:,}",
        ]
        for s in compiled.quantisation.synapses
    ]
    caption = (
        "Weights. Relative error: root of the summed squared errors over that of the summed squared weights. Largest "
        "error: of one weight, as a spike adds it to the neuron's input (your weight times r and w_in). Saturated, "
        "zero, vanished: stored weights that clip at an end of the range, that are 0 on the chip, and of these, that "
        "were not 0 before. Exponent: the chip shifts what these synapses add left by so many bits"
    )
    return Table(caption, (*titles, "of these vanished"), rows)


def rounding_table(compiled: Compiled) -> Table:
    """What rounding did to the neurons, a row for each population."""
    errors = ("weight error", "leak error", "filter error", "threshold error", "bias error")
    rows = [
        [
            p.name,
            f"{100 * p.weight_error:.2g} %",
            f"{100 * p.leak_error:.2g} %",
            f"{100 * p.filter_error:.2g} %",
            "–" if p.kind == "li" else f"{100 * p.threshold_error:.2g} %",
            f"{p.bias_error:.2g}",
            "none" if p.spikes_to_overflow is None else f"{p.spikes_to_overflow:,}",
        ]
        for p in compiled.quantisation.populations
    ]
    caption = (
        "Populations. Weight error: relative, of all weights onto the neuron that rounding changes most. Other errors: "
        "the largest relative error of a neuron's constants; of the bias, as each tick adds it to the neuron's input. "
        "Spikes to overflow: the fewest that must coincide for the sum of a neuron's input to leave its 16 bits"
    )
    return Table(caption, ("population", *errors, "spikes to overflow"), rows)


def scales_table(compiled: Compiled) -> Table:
    """The scale of each population, and why it is not larger."""
    titles = ("population", "scales", "chip membrane units per unit of yours", "chosen because")
    rows = [
        [p.name, f"{p.groups:,}", _between(p.scale_low, p.scale_high), p.scale_reason]
        for p in compiled.quantisation.populations
    ]
    return Table("Scales: how many of the chip's membrane units one unit of yours became", titles, rows)


def limits_table(use: Use, chip: Chip) -> Table:
    """What a core of the chip holds, and the most that a core of the network takes of it."""
    rows = []
    for title, amount, unit, limit in _COLUMNS:
        most = max(use.cores, key=amount)
        of = getattr(chip.limits, limit)
        allowed = "not published" if of.value is None else _amount(of.value, unit)
        if of.high is not None:
            allowed += f" (or up to {_amount(of.high, unit)})"
        share = f"{most.per_cent[limit]:.1f} %" if limit in most.per_cent else "–"
        rows.append([title, allowed, f"{amount(most):,.0f}{unit}", share, f"{most.core}"])
    titles = ("per core", "limit", "fullest core", "share of the limit", "which core")
    caption = (
        f"What a core of {chip.name} holds, and what the fullest core of this network takes. Threshold configurations "
        "are distinct thresholds, compartment configurations distinct time constants"
    )
    return Table(caption, titles, rows)


def _amount(value: int, unit: str) -> str:
    return f"{value / 8 if unit == ' B' else value:,.0f}{unit}"


def cores_table(use: Use) -> Table:
    """What each core holds; of very many cores, as `map` prints them."""
    note, rows = _core_rows(use)
    caption = f"Cores: amount, and share of the limit of a core{f'; {note}' if note else ''}"
    return Table(caption, ("core", *(title for title, *_ in _COLUMNS)), rows)


def _between(low: float, high: float) -> str:
    return f"{low:,.4g}" if low == high else f"{low:,.4g} – {high:,.4g}"


def verdict(use: Use) -> str:
    """Whether the network fits the chip, in words."""
    if not use.fits:
        return "does not fit"
    if use.chips > 1:
        return f"does not fit one {use.chip}; spread over {use.chips} chips"
    return "fits on 1 chip"


def _limits(use: Use) -> Iterator[str]:
    """The limit that binds, the core on which it binds, and what would help."""
    fullest = use.fullest
    share = fullest.per_cent[use.binding]
    where = f"core {fullest.core} ({some_names(fullest.populations)})"
    yield f"{'nearest to its limit' if share <= 100 else 'above its limit'}: {use.binding}, {share:.1f} % on {where}"
    closed = Counter(core.closed_by for core in use.cores if core.closed_by)
    if closed:
        yield f"cores were closed by: {', '.join(f'{limit} {n:,} times' for limit, n in closed.most_common())}"
    if use.chips > 1 and use.cores_per_chip is not None:
        share = len(use.cores) / use.cores_per_chip
        yield f"one chip has {use.cores_per_chip} cores: this takes {share:.3g} times as many"
    if use.remedies:
        yield f"what it would take: {'; '.join(use.remedies)}"
    if use.unchecked:
        yield f"not checked, because not published: {', '.join(use.unchecked)}"


def _cores(use: Use) -> Iterator[str]:
    note, rows = _core_rows(use)
    if note:
        yield note
    yield from text_table(["core", *(title for title, *_ in _COLUMNS)], rows)


def _core_rows(use: Use) -> tuple[str, list[list[str]]]:
    """The rows of the table of cores, and what is to be said of them.

    If there are many cores, equal neighbours share a row; if those rows are still many, neighbours that hold the same
    populations share a row. Such a row shows the most that any of its cores holds, and the fullest cores have rows of
    their own below.
    """
    rows = [[str(core.core), *_cells([core])] for core in use.cores]
    if len(rows) > _MOST_ROWS:
        rows = _runs(use.cores, lambda core: (core.populations, _cells([core])))
    if len(rows) <= _MOST_ROWS:
        return "", rows
    runs = _runs(use.cores, lambda core: core.populations)
    by_share = sorted(use.cores, key=lambda core: -core.per_cent[core.binding])
    rows = runs[:_MOST_ROWS] + [[str(core.core), *_cells([core])] for core in by_share[:_FULLEST]]
    note = f"each row shows the most that any of its cores holds; then the {_FULLEST} fullest cores"
    return note + (f"\nthe first {_MOST_ROWS} of {len(runs):,} rows" if len(runs) > _MOST_ROWS else ""), rows


def _runs(cores: Sequence[CoreUse], alike: Callable[[CoreUse], Any]) -> list[list[str]]:
    """A row for each run of neighbouring cores that are alike."""
    rows = []
    for _, found in itertools.groupby(cores, alike):
        run = list(found)
        numbers = str(run[0].core) if len(run) == 1 else f"{run[0].core}-{run[-1].core}"
        rows.append([f"{numbers} ({some_names(run[0].populations)})", *_cells(run)])
    return rows


def packing(compiled: Compiled) -> str:
    """How the cores are filled, in words."""
    if compiled.fill == 1:
        return "packed onto the fewest cores"
    return f"each core filled up to {100 * compiled.fill:g} % of its neurons and synaptic memory"


def core_range(compiled: Compiled) -> str:
    """Between which numbers of cores the truth lies, in words; empty where the sources agree on what a core holds."""
    if compiled.cores_between is None:
        return ""
    fewest, most = compiled.cores_between
    return (
        f"sources disagree on what a core of {compiled.chip.name} holds: {several(fewest, 'core')} by the largest "
        f"limits, {most:,} by the smallest and placed as Intel's compiler seems to"
    )


def some_names(names: Sequence[str]) -> str:
    """The first few names, each shortened if it is long, and how many more there are."""
    shown = ", ".join(repr(name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}...") for name in names[:3])
    return shown + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _first_rows(table: Table) -> Iterator[str]:
    yield from replace(table, rows=table.rows[:_MOST_ROWS]).lines()
    if len(table.rows) > _MOST_ROWS:
        yield f"and {len(table.rows) - _MOST_ROWS:,} more (--json has all)"


def _cells(cores: Sequence[CoreUse]) -> list[str]:
    """The most that any of the cores holds, one cell per column."""
    most = ((max(cores, key=amount), amount, unit, limit) for _, amount, unit, limit in _COLUMNS)
    return [f"{amount(core):,.0f}{unit}{_per_cent(core, limit)}" for core, amount, unit, limit in most]


def _stored_as(synapses: ChipSynapses) -> str:
    weight = synapses.weight
    if isinstance(weight, Conv):
        return f"conv {'x'.join(map(str, weight.kernel.shape))}"
    return f"{synapses.layout} {'x'.join(map(str, weight.shape))}"


def _per_cent(core: CoreUse, limit: str) -> str:
    return f" ({core.per_cent[limit]:.1f} %)" if limit in core.per_cent else ""
