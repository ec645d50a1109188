"""A NIR graph to a chip program: quantise, retime, partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, load_chip
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.nir_graph import from_nir
from muspike.hardware.partition import Use, partition
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.quantise import QuantisationReport, quantise
from muspike.hardware.retime import Retimed, retime

FILLS = (1 / 2, 1 / 4, 1 / 8)
"""How full the cores of the mappings are that `spread_over` tries."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program, what quantisation did to the network, how much of the chip it takes, and what may still go wrong.

    `risks` holds every way in which the program's spikes may differ from the float network's beyond the reported
    rounding; an empty tuple means there is none that is known. `fill` is the share of each core that the packing used,
    `retimed` what it packed.
    """

    program: Program
    quantisation: QuantisationReport
    use: Use
    risks: tuple[str, ...]
    retimed: Retimed
    fill: float


def compile_graph(
    graph: nir.NIRGraph | SpikingGraph,
    chip: Chip | str | Path,
    dt_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    must_fit: bool = True,
    fill: float = 1.0,
) -> Compiled:
    """Make the program of a graph for a chip.

    Args:
        graph: a NIR graph, or one already read by `from_nir`.
        chip: a `Chip`, the name of a known one, or the path of a TOML file.
        dt_s: seconds per tick, where the graph's metadata do not say; not for a `SpikingGraph`, which knows its own.
        metadata: added to that of the graph in `program.metadata`, and stronger.
        must_fit: raise where a limit of the chip is exceeded; else say so in `use`.
        fill: the share of each core's neurons and synaptic memory to use; 1 takes the fewest cores.

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
    about = {**graph.metadata, "outputs": list(graph.outputs), "relays": list(retimed.relays), **(metadata or {})}
    program, use = _placed(retimed, chip, fill, graph.dt_s, about)
    if must_fit and use.problems:
        more = f" (and {len(use.problems) - 1} more)" if len(use.problems) > 1 else ""
        raise BadInput(f"does not fit {chip.name}: {use.problems[0]}{more}")
    return Compiled(program, report, use, (*report.risks, *retimed.risks), retimed, fill)


def spread_over(compiled: Compiled, chip: Chip, fills: Sequence[float] = FILLS) -> tuple[Compiled, ...]:
    """The same network on as many chips, its cores filled less and less; first `compiled` itself.

    What fits no longer, takes more chips, or takes no more cores than the mapping before it, is left out. Integers,
    delays and so spikes are those of `compiled`: only what depends on the mapping has to be counted and priced again.

    Raises:
        BadInput: a fill is not above 0 and at most 1.
    """
    found = [compiled]
    for fill in sorted(fills, reverse=True):
        program = compiled.program
        program, use = _placed(compiled.retimed, chip, fill, program.dt_s, program.metadata)
        if use.fits and use.chips == compiled.use.chips and len(use.cores) > len(found[-1].use.cores):
            found.append(replace(compiled, program=program, use=use, fill=fill))
    return tuple(found)


def _placed(retimed: Retimed, chip: Chip, fill: float, dt_s: float, metadata: Mapping[str, Any]) -> tuple[Program, Use]:
    places = partition(retimed, chip, fill)
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
    return Program(chip.name, dt_s, populations, synapses, places.core_xy, metadata), places.use
