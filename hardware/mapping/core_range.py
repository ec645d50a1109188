"""How many cores a network may take where sources disagree on what a core of the chip holds.

The fewest are packed by the largest limits of the sources (`chip.Limit.high`). The most are those of Intel's compiler
for Loihi 2, by the smallest limits. Intel has not published how that compiler places a network. Its logs of two
benchmarks in lava-dl (`tutorials/lava/lib/dl/netx/pilotnet_snn/benchmark.ipynb`, `oxford/run.ipynb`) show this much:

- A core holds neurons of one population.
- An image is cut into tiles of whole columns: as many as a power of two, and no more than the image has. This gives all
  six images of PilotNet-LIF the number of cores, and the columns of a core, that the log has.
- Another population is cut into as many equal parts as the fullest limit is exceeded, and these again until they fit.
  This gives the four dense layers of PilotNet-LIF the number of cores that the log has. It gives those of Oxford 2
  each, where the log has 2 and 3.
- Dense matrices are stored with their zeros. (A large one that is almost all zeros is a sparse one in our program, and
  goes to Lava as such.)
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable

import numpy as np

from muspike.hardware.chip import Chip
from muspike.hardware.graph import by_end
from muspike.hardware.mapping.lists import Ints, lists
from muspike.hardware.mapping.partition import RULES, Load, added, fewest_cores, in_order
from muspike.hardware.mapping.retime import Retimed
from muspike.hardware.weights import Conv, Sparse


def cores_between(retimed: Retimed, chip: Chip) -> tuple[int, int] | None:
    """The fewest and the most cores that a network may take; None if the sources agree on what a core holds."""
    limits = {entry.name: getattr(chip.limits, entry.name) for entry in dataclasses.fields(chip.limits)}
    wide = {name: dataclasses.replace(limit, value=limit.high) for name, limit in limits.items() if limit.high}
    if not wide:
        return None
    widest = dataclasses.replace(chip, limits=dataclasses.replace(chip.limits, **wide))
    by_population = intel_cores(retimed, chip)
    return fewest_cores(retimed, widest), sum(by_population.values())


def intel_cores(retimed: Retimed, chip: Chip) -> dict[str, int]:
    """The cores of each population, as far as the logs tell how Intel's compiler places it."""
    into = by_end(retimed.graph.synapses, "target")
    found = {}
    for p in retimed.graph.populations:
        if p.kind == "input":
            continue
        shapes = {s.weight.output_shape for s in into[p.name] if isinstance(s.weight, Conv)}
        shapes |= {
            s.weight.input_shape for s in retimed.graph.synapses if s.source == p.name and isinstance(s.weight, Conv)
        }
        image = shapes.pop() if len(shapes) == 1 else None
        order: Ints = np.arange(p.size)
        if image is not None:
            order = np.ascontiguousarray(order.reshape(image).transpose(2, 0, 1)).ravel()  # column after column
        fans = [lists(s, isinstance(s.weight, Sparse), chip, order) for s in into[p.name]]
        ordered = in_order(p, order)
        none = np.zeros(p.size, np.int64)

        def load(start: int, stop: int) -> Load:
            return added(Load(), ordered, fans, none, start, min(stop, len(none)))  # noqa: B023

        tiles = _in_columns(p.size, image[2], load, chip) if image is not None else None
        found[p.name] = tiles or _in_parts(p.size, load, chip)
    return found


def _in_columns(size: int, width: int, load: Callable[[int, int], Load], chip: Chip) -> int | None:
    """The number of tiles of whole columns; None if not even one column fits a core."""
    column = size // width
    for n in range(int(math.log2(width)), -1, -1):
        tile = column << n
        if all(_excess(load(start, start + tile), chip) <= 1 for start in range(0, size, tile)):
            return -(-width // (1 << n))
    return None


def _in_parts(size: int, load: Callable[[int, int], Load], chip: Chip) -> int:
    """The number of equal parts."""
    parts = 1
    while parts < size:
        length = math.ceil(size / parts)
        excess = max(
            _excess(load(start, stop), chip) for start, stop in itertools.pairwise([*range(0, size, length), size])
        )
        if excess <= 1:
            return math.ceil(size / length)
        parts *= math.ceil(excess)
    return size


def _excess(load: Load, chip: Chip) -> float:
    """How many times the load is the limit that it exceeds the most."""
    return max(
        (rule.used(load) / value for rule in RULES if (value := rule.allowed(chip).value) is not None), default=0.0
    )
