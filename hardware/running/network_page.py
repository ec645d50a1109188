"""Write one HTML page on a network: how it fits its chip, what rounding did, what a run did and what it cost.

The page is one file that asks for nothing outside it, to be sent to somebody else.
"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.hardware.constant import TAGS
from muspike.hardware.cost.energy import Energy
from muspike.hardware.mapping.compile import Compiled
from muspike.hardware.readings import READINGS
from muspike.hardware.running.agreement import SpikeAgreement
from muspike.hardware.running.classification import Classification
from muspike.hardware.running.page import check_page, environment
from muspike.hardware.running.pictures import core_use
from muspike.hardware.running.raster import raster
from muspike.hardware.running.report import (
    READING,
    core_range,
    cores_table,
    graded_line,
    limits_table,
    packing,
    rounding_table,
    scales_table,
    some_names,
    verdict,
    weights_table,
)
from muspike.hardware.running.simulate import (
    Simulation,
    agreement_tables,
    core_events_table,
    populations_table,
    shown_rows,
    warnings,
)

_PACKAGES = ("muspike", "nir", "numpy", "numba")
_MOST = 40  # problems and risks


def write_page(
    path: Path,
    name: str,
    made: Mapping[str, Any],
    *,
    compiled: Compiled | None = None,
    simulation: Simulation | None = None,
    classification: Classification | None = None,
    labels: str = "",
    priced: bool = True,
    notes: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> None:
    """Write the page.

    Args:
        path: the file.
        name: what the network is called, such as the name of its file.
        made: how the page was made, by what it is: the command, the network's file, the input.
        compiled: the network on its chip; None: a program alone, which does not tell its fit or its rounding.
        simulation: a run of it; None: it was not run.
        classification: the answers of the run, held against labels; None: there were no labels.
        labels: where the labels came from, in words.
        priced: whether the page is to tell activity and cost of the run. False: only how it agrees.
        notes: what else is to be said of the input.
        doubts: what is doubtful about the chip's description (`Chip.warnings`).

    Raises:
        BadInput: the name does not end in one of `page.ENDINGS`; or there is neither a network nor a run.
        Failed: the disk refuses the write.
    """
    check_page(path)
    if compiled is None and simulation is None:
        raise BadInput(f"{path}: a report is on a network or a run, and neither is given")
    program = compiled.program if compiled is not None else simulation.program  # type: ignore[union-attr]
    agreements = (simulation.agreements if simulation is not None else None) or ()
    spiking = [row for row in agreements if isinstance(row, SpikeAgreement)]
    told_apart = [(row.agreement, row.population) for row in spiking if row.agreement is not None]
    told = simulation is not None and priced
    text = (
        environment()
        .get_template("network.html")
        .render(
            name=name,
            chip=program.chip,
            tags=TAGS,
            most=_MOST,
            versions={"python": platform.python_version(), **{p: importlib.metadata.version(p) for p in _PACKAGES}},
            fit=None if compiled is None else _fit(compiled),
            run=_run(simulation) if told and simulation is not None else None,
            activity=_activity(simulation) if told and simulation is not None else None,
            agreement=list(agreement_tables(simulation)) if simulation is not None else [],
            reads_as=simulation.reads_as if simulation is not None else "nir",
            meaning=_meaning(simulation),
            together=SpikeAgreement.together("all populations", spiking) if spiking else None,
            answers=None if classification is None else _answers(classification, labels),
            made=made,
            notes=notes,
            doubts=doubts,
            merged=simulation.merged if simulation is not None else [],
            graded=graded_line(program),
            shorter_ticks=simulation.shorter_ticks if simulation is not None else [],
            lowest=min(told_apart) if len(told_apart) > 1 else None,
        )
    )
    with write_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _meaning(simulation: Simulation | None) -> str:
    """How the float network is read, in a sentence."""
    if simulation is None or simulation.reads_as == "nir":
        return "The float network is the file's own meaning in 64-bit floats."
    told = READINGS[simulation.reads_as].told
    return f"The float network, in 64-bit floats, is read as {simulation.reads_as}: {told}. On the chip, {READING}."


def _fit(compiled: Compiled) -> dict[str, Any]:
    use = compiled.use
    fullest = use.fullest
    return {
        "verdict": verdict(use),
        "good": use.fits and use.chips == 1,
        "cores": len(use.cores),
        "chips": use.chips,
        "neurons": use.neurons,
        "relay_neurons": use.relay_neurons,
        "synapses": compiled.program.n_synapses,
        "binding": use.binding.replace("_", " "),
        "share": fullest.per_cent[use.binding],
        "core": fullest.core,
        "populations": some_names(fullest.populations),
        "packing": packing(compiled).capitalize(),
        "core_range": core_range(compiled),
        "problems": use.problems,
        "remedies": [remedy.replace("_", " ") for remedy in use.remedies],
        "unchecked": [limit.replace("_", " ") for limit in use.unchecked],
        "limits": limits_table(use, compiled.chip),
        "picture": core_use([{"core": core.core, "percent": core.per_cent} for core in use.cores], use.chip),
        "table": cores_table(use),
        "reading": READING,
        "rounding": [weights_table(compiled), rounding_table(compiled), scales_table(compiled)],
        "risks": compiled.risks,
    }


def _activity(simulation: Simulation) -> dict[str, Any]:
    return {
        "ticks": simulation.ticks,
        "input_ticks": simulation.input_ticks,
        "populations": populations_table(simulation),
        "raster": raster(simulation),
        "cores": core_events_table(simulation),
    }


def _run(simulation: Simulation) -> dict[str, Any]:
    """The run's cost per sequence."""
    entries = [_cost(priced, simulation.batch) for priced in simulation.energies]
    return {
        "ticks": simulation.ticks,
        "energy": entries[0] if entries else None,
        "others": entries[1:],
        "no_energy": simulation.no_energy,
        "problems": simulation.problems or (),
        "bottleneck": entries[0]["bottleneck"] if entries else None,
        "warnings": list(warnings(simulation)),
    }


def _cost(priced: Energy, sequences: int) -> dict[str, Any]:
    """A cost per sequence, without the rows of what a host would do, if there were one."""
    of = priced.to_dict(sequences, "sequence")
    return of | {
        **of["energy_uj_per_sequence"],
        "latency": of["latency_us_per_sequence"],
        "slowest_tick": of["slowest_tick_us"],
        "waiting": of["static_uj_per_ms_of_waiting"],
        "components": [row.to_dict(sequences, "sequence") for row in shown_rows(priced)],
    }


def _answers(classification: Classification, labels: str) -> dict[str, Any]:
    return {
        "of": classification,
        "labels": labels,
        "first_per_correct": next(iter(classification.per_correct.values()), None),
        "table": classification.table() or classification.mistakes_table(),
    }
