"""A NIR graph to a chip program: quantise, retime, partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, load_chip
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.nir_graph import from_nir
from muspike.hardware.partition import Use, partition
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.quantise import QuantisationReport, quantise
from muspike.hardware.retime import Retimed, retime
from muspike.hardware.simulator import Simulator

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
    reset_every: int | None = None


def compile_graph(
    graph: nir.NIRGraph | SpikingGraph,
    chip: Chip | str | Path,
    dt_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    must_fit: bool = True,
    fill: float = 1.0,
    reset_every: int | None = None,
) -> Compiled:
    """Make the program of a graph for a chip.

    Args:
        graph: a NIR graph, or one already read by `from_nir`.
        chip: a `Chip`, the name of a known one, or the path of a TOML file.
        dt_s: seconds per tick, where the graph's metadata do not say; not for a `SpikingGraph`, which knows its own.
        metadata: added to that of the graph in `program.metadata`, and stronger.
        must_fit: raise where a limit of the chip is exceeded; else say so in `use`.
        fill: the share of each core's neurons and synaptic memory to use; 1 takes the fewest cores.
        reset_every: bring every neuron to rest after so many ticks, for samples that follow one another.

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
    if reset_every is not None and reset_every < 1:
        raise BadInput(f"reset_every is {reset_every}; expected at least 1 tick")
    integers, report = quantise(graph, chip)
    retimed = retime(integers, chip)
    about = {**graph.metadata, "outputs": list(graph.outputs), "relays": list(retimed.relays), **(metadata or {})}
    program, use = _placed(retimed, chip, fill, graph.dt_s, about, reset_every)
    if must_fit and use.problems:
        more = f" (and {len(use.problems) - 1} more)" if len(use.problems) > 1 else ""
        raise BadInput(f"does not fit {chip.name}: {use.problems[0]}{more}")
    return Compiled(program, report, use, (*report.risks, *_early_spikes(program)), retimed, fill, reset_every)


def _early_spikes(program: Program) -> Iterator[str]:
    """Where a bias makes a population spike before its ideal time begins, and the spikes arrive after that of another.

    What the bias does to the population itself is undone by a reset; this is all that is not.
    """
    levels = {p.name: p.level for p in program.populations}
    if not any(p.bias.any() for p in program.populations) or not (ticks := max(levels.values())):
        return
    silence = {p.name: np.zeros((ticks, 1, p.size), np.uint8) for p in program.inputs}
    run = Simulator(program).run(silence or np.zeros((ticks, 1, 0), np.uint8))
    for s in program.synapses:
        early = np.flatnonzero(run.spikes[s.source][: levels[s.source]].any(axis=(1, 2)))
        if len(early) and early[-1] + s.delay >= levels[s.target]:
            yield (
                f"population {s.source!r}: its bias makes it spike {levels[s.source] - int(early[0])} ticks before its "
                f"ideal time begins, and {s.name!r} brings that into the time of {s.target!r}"
            )


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
        program, use = _placed(compiled.retimed, chip, fill, program.dt_s, program.metadata, compiled.reset_every)
        if use.fits and use.chips == compiled.use.chips and len(use.cores) > len(found[-1].use.cores):
            found.append(replace(compiled, program=program, use=use, fill=fill))
    return tuple(found)


def _placed(
    retimed: Retimed, chip: Chip, fill: float, dt_s: float, metadata: Mapping[str, Any], reset_every: int | None
) -> tuple[Program, Use]:
    places = partition(retimed, chip, fill)
    resets = retimed.resets(reset_every)
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
            reset_interval=resets.get(p.name, (0, 0))[0],
            reset_offset=resets.get(p.name, (0, 0))[1],
        )
        for p in retimed.graph.populations
    ]
    synapses = [
        ChipSynapses(s.name, s.source, s.target, s.weight, 0, s.delay, places.sparse[s.name])
        for s in retimed.graph.synapses
    ]
    return Program(chip.name, dt_s, populations, synapses, places.core_xy, metadata), places.use
