"""A NIR graph to a chip program: quantise, retime, partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nir

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, load_chip
from muspike.hardware.graph import SpikingGraph, from_nir
from muspike.hardware.partition import Use, partition
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.quantise import QuantisationReport, quantise
from muspike.hardware.retime import retime


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program, what quantisation did to the network, how much of the chip it takes, and what may still go wrong.

    `risks` holds every way in which the program's spikes may differ from the float network's beyond the reported
    rounding; an empty tuple means there is none that is known.
    """

    program: Program
    quantisation: QuantisationReport
    use: Use
    risks: tuple[str, ...]


def compile_graph(
    graph: nir.NIRGraph | SpikingGraph,
    chip: Chip | str | Path,
    dt_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    must_fit: bool = True,
) -> Compiled:
    """Make the program of a graph for a chip.

    Args:
        graph: a NIR graph, or one already read by `from_nir`.
        chip: a `Chip`, the name of a known one, or the path of a TOML file.
        dt_s: seconds per tick, where the graph's metadata do not say; not for a `SpikingGraph`, which knows its own.
        metadata: added to that of the graph in `program.metadata`, and stronger.
        must_fit: raise where a limit of the chip is exceeded; else say so in `use`.

    Raises:
        BadInput: the graph makes no sense (`from_nir`), or the chip cannot run it: a register's range, a loop that is
            too short, with `must_fit` a limit. The message names the node, population, loop or limit.
    """
    if not isinstance(chip, Chip):
        chip = load_chip(chip)
    if isinstance(graph, SpikingGraph):
        if dt_s is not None:
            raise BadInput(f"dt was given as {dt_s:g} s for a graph that already has one, {graph.dt_s:g} s")
    else:
        graph = from_nir(graph, dt_s)
    integers, report = quantise(graph, chip)
    retimed = retime(integers, chip)
    places = partition(retimed, chip)
    if must_fit and places.use.problems:
        more = f" (and {len(places.use.problems) - 1} more)" if len(places.use.problems) > 1 else ""
        raise BadInput(f"does not fit {chip.name}: {places.use.problems[0]}{more}")
    populations = [
        ChipPopulation(
            name=p.name,
            size=p.size,
            kind=p.kind,
            level=retimed.levels[p.name],
            du=p.du,
            dv=p.dv,
            v_threshold=p.v_threshold,
            bias_mant=p.bias_mant,
            bias_exp=p.bias_exp,
            scale=p.scale,
            core=places.core[p.name],
        )
        for p in retimed.graph.populations
    ]
    synapses = [
        ChipSynapses(s.name, s.source, s.target, s.weight, 0, s.delay, places.sparse[s.name])
        for s in retimed.graph.synapses
    ]
    about = {**graph.metadata, "outputs": list(graph.outputs), "relays": list(retimed.relays), **(metadata or {})}
    program = Program(chip.name, graph.dt_s, populations, synapses, places.core_xy, about)
    return Compiled(program, report, places.use, (*report.risks, *retimed.risks))
