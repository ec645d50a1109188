"""A chip program held against a chip: what its own placement takes of each limit, and which registers it overfills.

A compiled network is counted while it is packed. A program from a file is counted here, by the same rules
(`partition.RULES`), so that nobody prices what no chip can hold.

A program says on which core each neuron lies, and not in which order. The order decides how many bits an index takes,
and which lists the axons of a convolution share. It is taken to be that of packing: populations in the order of levels,
and the neurons of a population in the last of the orders of `partition.TOGETHER` that never goes back to an earlier
core. If each of them goes back, the neurons on a core are taken in the order of their numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance
from muspike.hardware import weights as w
from muspike.hardware.chip import Chip, Range, as_chip
from muspike.hardware.graph import by_end
from muspike.hardware.mapping.lists import Ints, lists
from muspike.hardware.mapping.partition import (
    TOGETHER,
    Load,
    Use,
    added,
    counted_use,
    delay_problems,
    image_orders,
    images_of,
    in_order,
    output_axons,
    with_output_axons,
)
from muspike.hardware.program import FULL_DECAY, REGISTERS, WEIGHT_STEP, ChipPopulation, Program


def use_of(program: Program, chip: Chip | str | os.PathLike[str]) -> Use:
    """How much of a chip a program takes where it lies, and every limit and register of the chip that it exceeds.

    >>> import nir
    >>> import numpy as np
    >>> from muspike.hardware import compile_graph, use_of
    >>> graph = nir.NIRGraph.from_list(nir.Linear(np.eye(2)), nir.IF(r=np.ones(2), v_threshold=np.full(2, 0.5)))
    >>> use_of(compile_graph(graph, "loihi1", dt_s=1e-3).program, "loihi1").fits
    True

    It equals `Compiled.use` of a network that is compiled for the chip and fits it, except for `CoreUse.closed_by`,
    which only packing knows. Only packing knows, too, why it failed to fill cores as asked (`fill`).

    Args:
        program: the program. Its `chip` is not looked at.
        chip: a `Chip`, the name of a known one, or the path of a TOML file.

    Raises:
        BadInput: there is no such chip; or the program's metadata name relays that it does not have.
    """
    instance("use_of: program", program, Program, "a Program")
    chip = as_chip(chip)
    core = {p.name: p.core for p in program.populations}
    relays = sum(program.population(name).size for name in program.roles.relays)
    problems = [
        *delay_problems(program.synapses, chip),
        *_register_problems(program, chip),
        *_graded_problems(program, chip),
        *_mesh_problems(program, chip),
    ]
    return counted_use(_loads(program, chip), core, program.core_xy, chip, relays, problems, packed=False)


def _loads(program: Program, chip: Chip) -> list[Load]:
    """What lies on each core."""
    into = by_end(program.synapses, "target")
    nothing = {p.name: np.zeros(p.size, np.int64) for p in program.populations}
    loads = [Load() for _ in range(program.n_cores)]
    placed = sorted((p for p in program.populations if p.kind != "input"), key=lambda p: p.level)
    orders = _orders(program, placed)
    for p in placed:
        order = orders[p.name]
        fan = [lists(s, s.sparse, chip, order) for s in into[p.name]]
        ordered, cores = in_order(p, order), p.core[order]
        starts = [0, *(np.flatnonzero(np.diff(cores)) + 1).tolist(), p.size]
        for start, stop in itertools.pairwise(starts):
            c = cores[start]
            loads[c] = added(loads[c], ordered, fan, nothing[p.name], start, stop)
    return with_output_axons(
        loads, {p.name: p.core for p in placed}, output_axons(loads, {p.name: p.size for p in program.populations})
    )


def _orders(program: Program, placed: list[ChipPopulation]) -> dict[str, Ints]:
    """The order of the neurons of each population on its cores, as this module says. Cores never fall in it."""
    images = images_of(program.synapses)
    own = {p.name: np.arange(p.size) for p in placed}
    for together in reversed(TOGETHER):
        orders = own | image_orders(images, together)
        if all((np.diff(p.core[orders[p.name]]) >= 0).all() for p in placed):
            return orders
    return {p.name: np.argsort(p.core, kind="stable") for p in placed}


def _register_problems(program: Program, chip: Chip) -> Iterator[str]:
    """A message for each register of a population, and each matrix, with a number that the chip's register lacks."""
    ranges: Mapping[str, Range] = {name: getattr(chip.ranges, name) for name in REGISTERS}
    # The chip has no code for a full decay of the membrane. It is one of the risks (`quantise`), as Lava computes it.
    ranges = {**ranges, "dv": dataclasses.replace(ranges["dv"], high=FULL_DECAY)}
    for p in program.populations:
        if p.kind == "input":
            continue
        for name, held in ranges.items():
            numbers = getattr(p, name)
            if len(outside := _outside(numbers, held, 1)):
                i = outside[0]
                yield (
                    f"core {p.core[i]} ({p.name!r}): {name} of neuron {i} is {numbers[i]}{_and_more(len(outside))}, "
                    f"{chip.name} holds {_shown(held)}"
                )
    held = chip.ranges.weight
    for s in program.synapses:
        values = w.values(s.weight).ravel()
        if len(outside := _outside(values, held, WEIGHT_STEP)):
            found = f"a weight is {values[outside[0]]}{_and_more(len(outside))}"
            yield f"synapses {s.name!r}: {found}, {chip.name} holds {_shown(held)}"


def _graded_problems(program: Program, chip: Chip) -> Iterator[str]:
    """A message for each input whose spikes have more bits than the chip's can carry."""
    most = chip.limits.graded_spike_bits.value
    for p in program.inputs:
        if most is not None and p.graded_bits > most:
            yield f"input {p.name!r}: graded spikes of {p.graded_bits} bits, a spike of {chip.name} carries {most}"


def _outside(numbers: npt.NDArray[np.integer], held: Range, grid: int) -> npt.NDArray[np.intp]:
    """The places of the numbers that are not in the range. All numbers, and its ends, are multiples of `grid`."""
    # Most matrices are large and inside, so their ends are looked at first.
    inside = not numbers.size or (numbers.min() >= held.low and numbers.max() <= held.high)
    if inside and grid % held.step == 0:
        return np.zeros(0, np.intp)
    return np.flatnonzero((numbers < held.low) | (numbers > held.high) | ((numbers - held.low) % held.step != 0))


def _and_more(n: int) -> str:
    return f" (and {n - 1:,} more are outside)" if n > 1 else ""


def _shown(held: Range) -> str:
    return f"{held.low} to {held.high}" + (f" in steps of {held.step}" if held.step > 1 else "")


def _mesh_problems(program: Program, chip: Chip) -> Iterator[str]:
    """A message for each tile, and each chip, with more cores than there are."""
    mesh, most = chip.mesh, chip.limits.cores_per_chip.value
    tiles = Counter(map(tuple, program.core_xy.tolist()))
    chips: Counter[tuple[int, int]] = Counter()
    for (x, y), n in sorted(tiles.items()):
        chips[x // mesh.tiles_x, y // mesh.tiles_y] += n
        if n > mesh.cores_per_tile:
            yield f"tile ({x}, {y}): {n} cores, {chip.name} holds {mesh.cores_per_tile} on a tile"
    for number, (_, n) in enumerate(sorted(chips.items())):
        if most is not None and n > most:
            yield f"chip {number}: {n} cores, {chip.name} holds {most} on a chip"
