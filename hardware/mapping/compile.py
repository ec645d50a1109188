"""Compile a NIR graph to a chip program: quantise, retime, partition."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nir
import numpy as np

from muspike.arguments import instance, listed, mapping, number, one_of, refuse, whole
from muspike.errors import BadInput
from muspike.hardware.chip import Chip, as_chip
from muspike.hardware.graph import SpikingGraph
from muspike.hardware.mapping.core_range import cores_between
from muspike.hardware.mapping.keep import SCALES
from muspike.hardware.mapping.partition import Use, partition
from muspike.hardware.mapping.quantise import IntegerGraph, QuantisationReport, quantise
from muspike.hardware.mapping.retime import Retimed, retime
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program, Roles
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.simulator.events import Simulator

FILLS = (1 / 2, 1 / 4, 1 / 8)
"""The shares of each core that `spread_over` fills, one mapping each."""

_A_SHARE = "a share of each core, above 0 and at most 1"
_LONGEST_RESET = 2**31 - 1  # a Program holds the interval in 32 bits


@dataclass(frozen=True, eq=False)
class Compiled:
    """A program, its graph and chip, and what compiling did to the network.

    Attributes:
        graph: the float network that the caller gave, as `from_nir` reads it.
        chip: the chip that the program was made for.
        program: the program.
        quantisation: what rounding did to the network.
        use: how much of the chip the program takes.
        risks: every way in which the program's spikes may differ from those of the float network beyond the reported
            rounding; an empty tuple means that no way is known.
        retimed: the integer network in chip time. It may have a population that `graph` lacks: one whose spikes stand
            for a bias.
        integers: the same network in ideal time.
        fill: the share of each core that the packing used.
        reset_every: ticks of ideal time after which every neuron is brought to rest; None: never.
    """

    graph: SpikingGraph
    chip: Chip
    program: Program
    quantisation: QuantisationReport
    use: Use
    risks: tuple[str, ...]
    retimed: Retimed
    integers: IntegerGraph
    fill: float
    reset_every: int | None = None

    @property
    def misfit(self) -> str | None:
        """`Use.misfit`: the first limit that the program exceeds; None if the program fits."""
        return self.use.misfit

    @functools.cached_property
    def cores_between(self) -> tuple[int, int] | None:
        """The fewest and the most cores, where sources disagree on what a core holds (`core_range`); else None."""
        return cores_between(self.retimed, self.chip)


def compile_graph(
    graph: nir.NIRGraph | SpikingGraph,
    chip: Chip | str | os.PathLike[str],
    dt_s: float | None = None,
    metadata: Mapping[str, Any] | None = None,
    must_fit: bool = True,
    fill: float = 1.0,
    reset_every: int | None = None,
    scale: str = "auto",
    graded: bool = False,
) -> Compiled:
    """Compile a graph to a program for a chip.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> compiled = compile_graph(graph, "loihi1", dt_s=1e-3)
    >>> compiled.use.fits, compiled.program.n_cores, compiled.risks
    (True, 1, ())

    Args:
        graph: a NIR graph, or one already read by `from_nir`.
        chip: a `Chip`, the name of a known one, or the path of a TOML file.
        dt_s: seconds per tick, if the graph's metadata do not say. A `SpikingGraph` has its own, so do not give it
            then.
        metadata: added to the graph's metadata in `program.metadata`; replaces equal keys.
        must_fit: whether to raise if a limit of the chip is exceeded. False: only `use` reports the limit.
        fill: the share of each core's neurons and synaptic memory to use; 1 takes the fewest cores.
        reset_every: ticks after which every neuron is brought to rest, for samples that follow one another. Spikes on
            their way are not stopped (see `risks`).
        scale: "auto" takes the numbers of a network that are the chip's integers already as they stand, and scales and
            rounds those of any other; "keep" refuses any other.
        graded: whether spikes of the inputs are whole numbers that multiply the weights, such as counts of events, and
            not 0 or 1. They have 16 bits (`ChipPopulation.graded_bits`), or as many as the chip's. The spikes of
            neurons stay 0 or 1.

    Raises:
        BadInput: `from_nir` refuses the graph; the chip cannot run it, because of a register's range or a loop that is
            too short; with `must_fit`, a limit is exceeded; with scale "keep", a number is not an integer of the chip;
            or, with `graded`, the chip's spikes carry no value, or a delay from an input takes relays. The message
            names the node, population, loop or limit.
    """
    chip = as_chip(chip)
    if reset_every is not None:
        reset_every = whole("compile_graph: reset_every", reset_every, 1, _LONGEST_RESET)
    if metadata is not None:
        mapping("compile_graph: metadata", metadata, "a dict")
    if isinstance(graph, SpikingGraph):
        if dt_s is not None:
            raise BadInput(f"dt was given as {dt_s} s for a graph that already has one, {graph.dt_s:g} s")
    else:
        graph = from_nir(graph, dt_s)
    fill = number("compile_graph: fill", fill, _A_SHARE, 0, 1, above=True)
    one_of("compile_graph: scale", scale, SCALES)
    if not isinstance(graded, bool):
        raise refuse("compile_graph: graded", graded, "True or False")
    compiled = _compiled(graph, chip, metadata, fill, reset_every, scale, graded)
    if early := _early(compiled):
        kept = compiled.quantisation.kept
        by_spikes = graph.with_biases_as_synapses(early, chip.ranges.weight.step if kept else 0)
        otherwise = _compiled(by_spikes, chip, metadata, fill, reset_every, "auto", graded)
        if otherwise.quantisation.kept or not kept:
            compiled = otherwise
    risks = [*compiled.quantisation.risks, *_early_risks(compiled), *_reset_risks(compiled)]
    if must_fit and compiled.misfit:
        more = f" (and {len(compiled.use.problems) - 1} more)" if len(compiled.use.problems) > 1 else ""
        raise BadInput(f"{compiled.misfit}{more}")
    return replace(compiled, graph=graph, risks=tuple(risks))


def _compiled(
    graph: SpikingGraph,
    chip: Chip,
    metadata: Mapping[str, Any] | None,
    fill: float,
    reset_every: int | None,
    scale: str,
    graded: bool,
) -> Compiled:
    integers, report = quantise(graph, chip, scale, graded)
    retimed = retime(integers, chip)
    roles = Roles(tuple(graph.outputs), retimed.relays)
    about = {**graph.metadata, **roles.to_metadata(), **(metadata or {})}
    program, use = _placed(retimed, chip, fill, graph.dt_s, about, reset_every)
    return Compiled(graph, chip, program, report, use, (), retimed, integers, fill, reset_every)


def _early(compiled: Compiled) -> list[str]:
    """The populations whose bias makes them spike before their ideal time begins.

    Empty if no early spike reaches a population whose ideal time has started: then the resets undo all early spikes.
    """
    levels = compiled.retimed.levels
    biased = {p.name for p in compiled.integers.populations if p.bias_mant.any() and levels[p.name]}
    if not biased:
        return []
    # The run may be shorter than the levels of relays, which may be deep: the ideal delays below include the relays.
    ticks = max(levels[p.name] for p in compiled.integers.populations)
    silence = {p.name: np.zeros((ticks, 1, p.size), np.uint8) for p in compiled.program.inputs}
    run = Simulator(compiled.program).run(silence or np.zeros((ticks, 1, 0), np.uint8))
    last: dict[str, int] = {}  # the last early spike, as a (negative) tick of ideal time
    for p in compiled.integers.populations:
        if p.kind == "lif" and len(early := np.flatnonzero(run.spikes[p.name][: levels[p.name]].any(axis=(1, 2)))):
            last[p.name] = int(early[-1]) - levels[p.name]
    if not any(s.source in last and last[s.source] + s.delay >= 0 for s in compiled.integers.synapses):
        return []
    return [name for name in last if name in biased]


def _early_risks(compiled: Compiled) -> Iterator[str]:
    for name in _early(compiled):
        population = compiled.graph.population(name)
        if (population.tau_syn != 1).any():
            reason = "the population has a synaptic filter"
        elif compiled.quantisation.kept:
            reason = "the population is kept as it stands"
        else:
            reason = "the bias is what rounding left of a constant input"
        yield (
            f"population {name!r}: its bias makes it spike before its ideal time begins, and delays carry these spikes "
            f"into ideal time; the bias cannot come as spikes instead, because {reason}"
        )


def _reset_risks(compiled: Compiled) -> Iterator[str]:
    if compiled.reset_every is None:
        return
    for s in compiled.integers.synapses:
        if s.delay:
            yield (
                f"synapses {s.name!r}: a spike that is on its way at a reset arrives behind it, up to {s.delay} ticks "
                "into the next sample"
            )


def spread_over(compiled: Compiled, fills: Sequence[float] = FILLS) -> tuple[Compiled, ...]:
    """Map the same network onto chips of the same kind and number, filling the cores less and less.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph, spread_over
    >>> wide = nir.NIRGraph.from_list(nir.Linear(np.eye(2000)), nir.IF(r=np.ones(2000), v_threshold=np.ones(2000)))
    >>> [mapping.program.n_cores for mapping in spread_over(compile_graph(wide, "loihi1", dt_s=1e-3))]
    [2, 4, 8, 16]

    The first mapping is `compiled` itself. A mapping is left out if it does not fit, takes more chips, or takes no more
    cores than the mapping before it. Integers, delays and spikes are those of `compiled`; only what depends on the
    mapping has to be counted and priced again.

    Raises:
        BadInput: a fill is not above 0 and at most 1.
    """
    instance("spread_over: compiled", compiled, Compiled, "what compile_graph gives")
    given = listed("spread_over: fills", fills, "a list of shares above 0 and at most 1")
    shares = [number("spread_over: fill", fill, _A_SHARE, 0, 1, above=True) for fill in given]
    found, before = [compiled], compiled.program
    for fill in sorted(shares, reverse=True):
        program, use = _placed(
            compiled.retimed, compiled.chip, fill, before.dt_s, before.metadata, compiled.reset_every
        )
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
            graded_bits=p.graded_bits,
        )
        for p in retimed.graph.populations
    ]
    synapses = [
        ChipSynapses(s.name, s.source, s.target, s.weight, s.weight_exp, s.delay, places.sparse[s.name])
        for s in retimed.graph.synapses
    ]
    return Program(chip.name, dt_s, populations, synapses, places.core_xy, metadata), places.use
