"""How a compiled network sits on its chip, and what the chip's integers did to it: as data, and for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from muspike.hardware.compile import Compiled
from muspike.hardware.partition import CoreUse

# The columns of the table of cores: its title, what the core holds, and the limit that it counts against.
_COLUMNS: Sequence[tuple[str, Callable[[CoreUse], str], str]] = (
    ("neurons", lambda core: f"{core.neurons:,}", "neurons_per_core"),
    ("synaptic memory", lambda core: f"{core.synaptic_memory_bytes:,.0f} B", "synaptic_memory_bits_per_core"),
    ("input axons", lambda core: f"{core.input_axons:,}", "input_axons_per_core"),
    ("output axons", lambda core: f"{core.output_axons:,}", "output_axons_per_core"),
    ("thresholds", lambda core: str(core.threshold_configurations), "threshold_configurations_per_core"),
    ("compartments", lambda core: str(core.compartment_configurations), "compartment_configurations_per_core"),
)


def mapping(compiled: Compiled) -> dict[str, Any]:
    """Use of the chip, quantisation, retiming and risks, JSON-able but for infinite headrooms."""
    program = compiled.program
    return {
        "chip": program.chip,
        "fits": compiled.use.fits,
        "fill": compiled.fill,
        "dt_s": program.dt_s,
        "synapses": program.n_synapses,
        "levels": {p.name: p.level for p in program.populations},
        "use": compiled.use.to_dict(),
        "quantisation": compiled.quantisation.to_dict(),
        "risks": list(compiled.risks),
    }


def mapping_text(compiled: Compiled) -> str:
    """The same for people."""
    return "\n".join(_lines(compiled))


def _lines(compiled: Compiled) -> Iterator[str]:
    use, program = compiled.use, compiled.program
    fullest = max(use.cores, key=lambda core: core.per_cent[use.binding])
    chips = f"on {use.chips} chip{'s' if use.chips > 1 else ''}"
    yield f"{use.chip}: {f'fits {chips}' if use.fits else 'does not fit'}"
    yield (
        f"{use.neurons:,} neurons ({use.relay_neurons:,} of them relays), {program.n_synapses:,} synapses, "
        f"{len(use.cores)} core{'s' if len(use.cores) > 1 else ''} {chips}, ticks of {program.dt_s:g} s"
    )
    if compiled.fill == 1:
        yield "packed onto the fewest cores"
    else:
        yield f"each core filled up to {100 * compiled.fill:g} % of its neurons and synaptic memory"
    yield f"nearest to its limit: {use.binding}, {fullest.per_cent[use.binding]:.1f} % on core {fullest.core}"
    if use.unchecked:
        yield f"not checked, because not published: {', '.join(use.unchecked)}"
    yield ""
    yield from _table(
        ["core", *(title for title, _, _ in _COLUMNS)],
        [
            [str(core.core), *(value(core) + _per_cent(core, limit) for _, value, limit in _COLUMNS)]
            for core in use.cores
        ],
    )
    yield ""
    yield from _table(
        ["weights", "relative error", "largest error", "saturated", "zero", "of these vanished"],
        [
            [
                s.name,
                f"{100 * s.rms_error:.2f} %",
                f"{s.max_error:.2g}",
                f"{s.saturated:,}",
                f"{100 * s.zero_fraction:.1f} %",
                f"{s.vanished:,}",
            ]
            for s in compiled.quantisation.synapses
        ],
    )
    yield ""
    yield from _table(
        ["population", "leak error", "filter error", "threshold error", "bias error", "spikes to overflow"],
        [
            [
                p.name,
                f"{100 * p.leak_error:.2g} %",
                f"{100 * p.filter_error:.2g} %",
                "–" if p.kind == "li" else f"{100 * p.threshold_error:.2g} %",
                f"{p.bias_error:.2g}",
                "none" if p.spikes_to_overflow is None else f"{p.spikes_to_overflow:,}",
            ]
            for p in compiled.quantisation.populations
        ],
    )
    for title, entries in (("problems", use.problems), ("risks", compiled.risks)):
        yield ""
        yield f"{title}: {'none' if not entries else ''}".rstrip()
        yield from (f"- {entry}" for entry in entries)


def _per_cent(core: CoreUse, limit: str) -> str:
    return f" {core.per_cent[limit]:5.1f} %" if limit in core.per_cent else ""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        first, *others = row
        yield "  ".join([first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(others, widths[1:], strict=True))])
