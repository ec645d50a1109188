"""Place neurons onto cores within every limit of the chip, and cores onto the mesh.

Cores are filled greedily, population by population in the order of levels. A core takes as many of the next neurons as
every rule in `RULES` allows; the rest begin a new core. A rule is one limit of `chips/*.toml` and a count of what a
core uses:

- Synaptic memory. Every axon of every `ChipSynapses` has a list of its synapses on the core, in the chip's own format
  (`mapping.lists`). A dense matrix is stored as dense or as sparse lists, whichever are cheaper in memory and in what
  a spike costs (`lists.is_cheaper_sparse`); whichever are smaller, if the network would else not fit or take more
  chips. The axons of a convolution share lists.
- Input axons. Each source neuron with a list on the core has an input axon there. Each delay, and each convolution,
  gets its own axon. (A list carries its delay in every synapse, so the chip might share axons between delays; we do
  not. The axons of a convolution have offsets. nengo-loihi counts one axon per source neuron and connection, which is
  the same or more. For a convolution it counts one per pixel, which is less: see `mapping.lists`.)
- Output axons. For each of its input axons, a source neuron has an output axon on its own core. Inputs have none,
  because their spikes come from the host.
- Threshold configurations are the distinct thresholds on a core; compartment configurations are the distinct pairs
  (du, dv). A bias is free (nengo-loihi, `hardware/validate.py`).

Packing takes the fewest cores it can find. Latency and static energy depend on that choice: on more cores, each core
has less to do in a tick. A `fill` below 1 leaves a part of each core's neurons and synaptic memory empty, and so
spreads the network. Axons and configurations keep their full limits, because spreading multiplies them. If one neuron
alone needs more than `fill`, the network does not fit at that `fill`.

The number of output axons of a neuron depends on the cores of its targets, and targets may be packed later. So packing
is repeated with the numbers that the last packing led to. If the numbers do not settle, `Use` reports a failure of the
packing, which is not a limit of the chip.

A population is cut in the order of its neurons; an image is in C order [channel, y, x]. If a limit other than that of
neurons closes cores, packings that keep 4, 16, 64 or all channels of a pixel together are tried too, the same number
for all images. The packing with the fewest cores is taken. Keeping channels together means that fewer pixels of the
source have an axon on a core, but the core has more lists and thresholds. A packing is given up as soon as it takes
more cores than an earlier one did.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, Limit
from muspike.hardware.graph import by_end
from muspike.hardware.mapping.lists import (
    Ints,
    Lists,
    Neurons,
    image_order,
    is_cheaper_sparse,
    is_smaller_sparse,
    lists,
)
from muspike.hardware.mapping.quantise import IntegerGraph, IntegerPopulation, IntegerSynapses
from muspike.hardware.mapping.retime import Retimed
from muspike.hardware.program import ChipPopulation, ChipSynapses
from muspike.hardware.weights import Conv, Weights

Axons = Mapping[tuple[str, int, str | None], Neurons]
"""The source neurons that have an axon, by source population, delay and `Lists.own`."""
Cores = dict[str, npt.NDArray[np.int32]]
"""The core of each neuron, by population."""
Image = tuple[int, int, int]
"""Channels, y and x."""

TOGETHER = (16, 64, 0, 4, 1)
"""How many channels of a pixel to pack together, each number for images whose channels it divides; 0: all channels.

The numbers that most often lead to few cores come first, so that the other packings are soon given up. Of packings that
cost the same, the last one is taken.
"""
# Each repacking raises the estimate of output axons. A packing that has not settled after so many will not settle.
_REPACKINGS = 20
_UNSETTLED = (
    f"muspike found no packing in {_REPACKINGS} attempts, which does not mean that there is none; in the last one: "
)

_FEWER_ON_CORE = "fewer neurons on the core; muspike map places the neurons of a .nir file within every limit"


@dataclass(frozen=True, eq=False)
class Load:
    """The content of one core.

    Attributes:
        neurons: number of neurons.
        memory_bits: bits of synaptic memory.
        axons: the source neurons that have an input axon on the core.
        output_axons: output axons of all neurons together.
        thresholds: the distinct thresholds.
        compartments: the distinct pairs (du, dv), each as one integer.
        closed_by: the limit that the next neuron would have exceeded; None: there was no next neuron, or it would have
            fitted.
    """

    neurons: int = 0
    memory_bits: int = 0
    axons: Axons = field(default_factory=dict)
    output_axons: int = 0
    thresholds: frozenset[int] = frozenset()
    compartments: frozenset[int] = frozenset()
    closed_by: str | None = None

    @property
    def input_axons(self) -> int:
        """The number of axons that lead onto the core."""
        return sum(len(neurons) for neurons in self.axons.values())


@dataclass(frozen=True)
class Rule:
    """One limit of a core.

    Attributes:
        limit: its key in `chips/*.toml`.
        unit: the unit of the count, in words.
        used: how much of it a load takes.
        remedy: what would make room if one neuron alone exceeds the limit.
        spreads: whether a core has less of it when the network takes more cores.
    """

    limit: str
    unit: str
    used: Callable[[Load], int]
    remedy: str
    spreads: bool = False

    def allowed(self, chip: Chip) -> Limit:
        """The chip's limit."""
        limit: Limit = getattr(chip.limits, self.limit)
        return limit

    def holds(self, load: Load, chip: Chip, fill: float = 1.0) -> bool:
        """Whether the load is within the limit, or within the share `fill` of it if `spreads`.

        An unpublished limit always holds.
        """
        value = self.allowed(chip).value
        return value is None or self.used(load) <= value * (fill if self.spreads else 1)

    def message(self, where: str, load: Load, chip: Chip) -> str:
        """The message for a person if the limit does not hold."""
        return f"{where}: {self.used(load)} {self.unit}, {chip.name} holds {self.allowed(chip).value} on a core"


_OUTPUT_AXONS = Rule(
    "output_axons_per_core", "output axons", lambda load: load.output_axons, "a neuron whose targets lie on fewer cores"
)
RULES = (
    Rule("neurons_per_core", "neurons", lambda load: load.neurons, "fewer neurons", spreads=True),
    Rule(
        "synaptic_memory_bits_per_core",
        "bits of synaptic memory",
        lambda load: load.memory_bits,
        "fewer synapses onto a neuron, or onto neurons that share a kernel",
        spreads=True,
    ),
    Rule("input_axons_per_core", "input axons", lambda load: load.input_axons, "fewer sources of a neuron"),
    _OUTPUT_AXONS,
    Rule(
        "threshold_configurations_per_core",
        "threshold configurations",
        lambda load: len(load.thresholds),
        "fewer distinct thresholds",
    ),
    Rule(
        "compartment_configurations_per_core",
        "compartment configurations",
        lambda load: len(load.compartments),
        "fewer distinct decays",
    ),
)
"""The limits that packing keeps. `delay_problems` checks delays. Cores beyond a chip's limit go onto another chip."""


@dataclass(frozen=True)
class CoreUse:
    """What one core holds.

    Attributes:
        core: its number in the program.
        populations: names of the populations with neurons on it.
        chip: number of its chip, from 0.
        x, y: its place on the mesh.
        neurons, synaptic_memory_bytes, input_axons, output_axons, threshold_configurations, compartment_configurations:
            how much it uses of each limit.
        per_cent: the same in per cent of each published limit.
        closed_by: the limit that kept the next neuron off the core; None: there was no next neuron, or it would have
            fitted. A program does not tell how it was packed; there it is None.
    """

    core: int
    populations: tuple[str, ...]
    chip: int
    x: int
    y: int
    neurons: int
    synaptic_memory_bytes: float
    input_axons: int
    output_axons: int
    threshold_configurations: int
    compartment_configurations: int
    per_cent: Mapping[str, float]
    closed_by: str | None

    @property
    def binding(self) -> str:
        """The limit of which the core uses the largest share."""
        return max(self.per_cent, key=lambda limit: self.per_cent[limit])


@dataclass(frozen=True)
class Use:
    """How much of the chip a program takes.

    Attributes:
        chip: the chip's name.
        neurons: neurons on cores, relays included.
        relay_neurons: neurons that only make a delay longer.
        chips: chips that the program takes.
        cores_per_chip: cores of one chip; None: unpublished.
        cores: one entry per core in use.
        binding: the limit of which some core uses the largest share.
        unchecked: limits that the maker has not published.
        problems: a message for each limit that is exceeded; empty if the program fits.
        remedies: what would help, for each limit that one neuron alone exceeds or that the packing did not keep.
    """

    chip: str
    neurons: int
    relay_neurons: int
    chips: int
    cores_per_chip: int | None
    cores: tuple[CoreUse, ...]
    binding: str
    unchecked: tuple[str, ...]
    problems: tuple[str, ...]
    remedies: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every published limit of a core is kept. The program may take several chips; see `chips`."""
        return not self.problems

    @property
    def misfit(self) -> str | None:
        """The first limit that the program exceeds, "does not fit loihi1: ..."; None if the program fits."""
        return f"does not fit {self.chip}: {self.problems[0]}" if self.problems else None

    @property
    def fullest(self) -> CoreUse:
        """The core that uses the largest share of the binding limit."""
        return max(self.cores, key=lambda core: core.per_cent[self.binding])

    def to_dict(self) -> dict[str, Any]:
        """The use as a JSON-able dict."""
        cores = [dataclasses.asdict(core) | {"binding": core.binding} for core in self.cores]
        return dataclasses.asdict(self) | {"fits": self.fits, "cores": cores}


@dataclass(frozen=True, eq=False)
class Partition:
    """The place of everything.

    Attributes:
        core: by population, the core of each neuron, int32 `[size]`; -1 for inputs.
        core_xy: the place of each core on the mesh, int32 `[cores, 2]`. On the n-th chip (from 0), x is shifted by n
            meshes.
        sparse: by synapses, whether their lists leave out zeros, as `ChipSynapses` takes it.
        use: how much of the chip is used.
    """

    core: Mapping[str, npt.NDArray[np.int32]]
    core_xy: npt.NDArray[np.int32]
    sparse: Mapping[str, bool]
    use: Use


def partition(retimed: Retimed, chip: Chip, fill: float = 1.0) -> Partition:
    """Place a retimed graph on as few cores as the greedy packing needs.

    If one neuron alone exceeds a limit, it gets a core to itself and the use says that the program does not fit.

    Args:
        fill: the share of each core's neurons and synaptic memory to use. If one neuron alone needs more, the use has a
            problem, so the program does not fit.

    Raises:
        BadInput: `fill` is not above 0 and at most 1.
    """
    if not 0 < fill <= 1:
        raise BadInput(f"fill is {fill}; it is a share of a core, above 0 and at most 1")
    graph = retimed.graph
    cheaper = _packer(retimed, chip, fill, is_cheaper_sparse)
    smaller = _packer(retimed, chip, fill, is_smaller_sparse)
    packer, (core, loads) = cheaper, cheaper.best()
    if cheaper.sparse != smaller.sparse:
        least = smaller.best()
        if smaller.takes(least[1]) < cheaper.takes(loads):
            packer, (core, loads) = smaller, least
    where = {p.name: core.get(p.name, np.full(p.size, -1, np.int32)) for p in graph.populations}
    core_xy = _place(loads, where, chip)
    problems = [*_fill_problems(loads, chip, fill), *delay_problems(graph.synapses, chip)]
    use = counted_use(loads, where, core_xy, chip, retimed.relay_neurons, problems)
    return Partition(where, core_xy, packer.sparse, use)


def fewest_cores(retimed: Retimed, chip: Chip) -> int:
    """The number of cores that the greedy packing takes, with every matrix in the layout that takes less memory."""
    return len(_packer(retimed, chip, 1.0, is_smaller_sparse).best()[1])


def _packer(
    retimed: Retimed, chip: Chip, fill: float, is_sparse: Callable[[Weights, int, Chip, float], bool]
) -> _Packer:
    graph = retimed.graph
    sparse = {s.name: is_sparse(s.weight, s.delay, chip, fill) for s in graph.synapses}
    placed = [p for p in graph.populations if p.kind != "input"]
    placed.sort(key=lambda p: retimed.levels[p.name])
    return _Packer(graph, placed, images_of(graph.synapses), sparse, chip, fill)


def images_of(synapses: Iterable[IntegerSynapses | ChipSynapses]) -> dict[str, Image]:
    """For each population that convolutions of one output shape reach, that shape: its channels, y and x."""
    shapes: dict[str, set[Image]] = {}
    for s in synapses:
        if isinstance(s.weight, Conv):
            shapes.setdefault(s.target, set()).add(s.weight.output_shape)
    return {name: found.pop() for name, found in shapes.items() if len(found) == 1}


def image_orders(images: Mapping[str, Image], together: int) -> dict[str, Ints]:
    """The orders of packing if `together` channels of a pixel, one of `TOGETHER`, stand side by side.

    Populations that are not in the result are packed in the order of their neurons.
    """
    return {
        name: image_order(shape, together or shape[0])
        for name, shape in images.items()
        if shape[0] > 1 and together != 1 and not (together and shape[0] % together)
    }


# --- packing ---------------------------------------------------------------------------------------------------


class _Packer:
    """Packs the neurons of a graph onto cores of a chip. Each core is filled up to the share `fill`.

    Attributes:
        placed: the populations with neurons on the chip, in the order of packing.
        images: for each population that a convolution reaches, its channels, y and x.
        sparse: by synapses, whether their lists leave out zeros.
    """

    def __init__(
        self,
        graph: IntegerGraph,
        placed: Sequence[IntegerPopulation],
        images: Mapping[str, Image],
        sparse: Mapping[str, bool],
        chip: Chip,
        fill: float,
    ) -> None:
        self.placed, self.images, self.sparse, self.chip, self.fill = placed, images, sparse, chip, fill
        self.into = by_end(graph.synapses, "target")
        self.sizes = {p.name: p.size for p in graph.populations}

    def best(self) -> tuple[Cores, list[Load]]:
        """The packing of least cost.

        If several packings cost the same, the last one tried is taken; it keeps the neurons in their own order.
        """
        best: tuple[Cores, list[Load]] | None = None
        for together in TOGETHER:
            orders = image_orders(self.images, together)
            if together == 1 or (orders and not (best and _is_fullest(best[1]))):
                most = self._cost(best[1]) if best else None
                best = self._packing(orders, most) or best
        assert best is not None  # the first packing has no cost to exceed
        return best

    def takes(self, loads: Sequence[Load]) -> tuple[int, int]:
        """The number of cores above a limit, then the number of chips."""
        above, cores = self._cost(loads)
        mesh, limits = self.chip.mesh, self.chip.limits
        return above, -(-cores // (limits.cores_per_chip.value or mesh.tiles_x * mesh.tiles_y * mesh.cores_per_tile))

    def _fits(self, load: Load) -> bool:
        """Whether the load is within every limit, or within the share `fill` of the limits that spread."""
        return all(rule.holds(load, self.chip, self.fill) for rule in RULES)

    def _exceeds(self, load: Load) -> bool:
        """Whether the load is above any limit of the chip."""
        return not all(rule.holds(load, self.chip) for rule in RULES)

    def _cost(self, loads: Sequence[Load]) -> tuple[int, int]:
        """The number of cores above a limit, then the number of cores."""
        return sum(map(self._exceeds, loads)), len(loads)

    def _packing(self, orders: Mapping[str, Ints], most: tuple[int, int] | None) -> tuple[Cores, list[Load]] | None:
        """The core of each neuron, and the loads; None if the packing costs more than `most`.

        Args:
            orders: by population, the order in which its neurons are packed. The other populations are packed in the
                order of their neurons.
            most: the cost (see `_cost`) of the best packing so far; None: there is none.
        """
        order = {p.name: orders.get(p.name, np.arange(p.size)) for p in self.placed}
        fans = {
            p.name: [lists(s, self.sparse[s.name], self.chip, order[p.name]) for s in self.into[p.name]]
            for p in self.placed
        }
        ordered = [in_order(p, order[p.name]) for p in self.placed]
        out = {name: np.zeros(size, np.int64) for name, size in self.sizes.items()}  # output axons per neuron
        for _ in range(_REPACKINGS):
            made = self._pack(ordered, fans, {name: out[name][order[name]] for name in order}, most)
            if made is None:
                return None
            packed, loads = made
            core = {name: np.empty_like(cores) for name, cores in packed.items()}
            for name, cores in packed.items():
                core[name][order[name]] = cores
            found = output_axons(loads, self.sizes)
            loads = with_output_axons(loads, core, found)
            more = {name: np.maximum(out[name], found[name]) for name in out}
            if all(_OUTPUT_AXONS.holds(load, self.chip) for load in loads) or _equal(more, out):
                break
            out = more
        return None if most is not None and self._cost(loads) > most else (core, loads)

    def _pack(
        self,
        populations: Sequence[IntegerPopulation],
        fans: Mapping[str, Sequence[Lists]],
        out: Mapping[str, Ints],
        most: tuple[int, int] | None,
    ) -> tuple[Cores, list[Load]] | None:
        """Pack once; None as soon as the packing costs more than `most`. `out` has the output axons of each neuron."""
        core = {p.name: np.empty(p.size, np.int32) for p in populations}
        loads = [Load()]
        above = 0  # cores on which one neuron alone exceeds a limit
        for p in populations:

            def grown(start: int, stop: int, p: IntegerPopulation = p) -> Load:
                return added(loads[-1], p, fans[p.name], out[p.name], start, stop)

            start = 0
            while start < p.size:
                stop = self._furthest(grown, start, p.size)
                alone = stop == start and not loads[-1].neurons
                if alone:  # one neuron on an empty core is too much; `_use` reports it
                    stop = start + 1
                closed_by = None
                if stop < p.size:
                    too_much = grown(start, stop + 1)
                    broken = (rule.limit for rule in RULES if not rule.holds(too_much, self.chip, self.fill))
                    closed_by = next(broken, None)
                if stop > start:
                    loads[-1] = grown(start, stop)
                    core[p.name][start:stop] = len(loads) - 1
                    above += alone and self._exceeds(loads[-1])
                    start = stop
                if start < p.size:
                    loads[-1] = dataclasses.replace(loads[-1], closed_by=closed_by)
                    loads.append(Load())
                if most is not None and (above, len(loads)) > most:
                    return None
        return core, loads

    def _furthest(self, grown: Callable[[int, int], Load], start: int, end: int) -> int:
        """The largest stop at which neurons `start..stop - 1` still fit.

        The search doubles before it bisects, so its work depends on how many neurons fit, not on how many are left. It
        assumes that a smaller stop fits too. (The memory of a convolution can fall when an image is completed. Then the
        stop that is found fits, but a larger one may fit as well.)
        """
        beyond = 1
        while beyond <= end - start and self._fits(grown(start, start + beyond)):
            beyond *= 2
        n, beyond = beyond // 2, min(beyond, end - start + 1)
        while beyond - n > 1:
            middle = (n + beyond) // 2
            n, beyond = (middle, beyond) if self._fits(grown(start, start + middle)) else (n, middle)
        return start + n


def _is_fullest(loads: Sequence[Load]) -> bool:
    """Whether every core except the last has all the neurons it may have, so that no other order needs fewer cores."""
    return all(load.closed_by == "neurons_per_core" for load in loads[:-1])


P = TypeVar("P", IntegerPopulation, ChipPopulation)


def in_order(p: P, order: Ints) -> P:
    """The population with the registers that a load counts in the order of packing, `[size]`."""
    return dataclasses.replace(p, du=p.du[order], dv=p.dv[order], v_threshold=p.v_threshold[order])


def added(
    load: Load, p: IntegerPopulation | ChipPopulation, fan: Sequence[Lists], out: Ints, start: int, stop: int
) -> Load:
    """The load with neurons `start..stop - 1` of p added.

    Args:
        load: what is on the core so far.
        p: the population. Its neurons are in the order of packing, as are those of `fan` and `out`.
        fan: the lists of the synapses onto p.
        out: the output axons of each neuron.
        start, stop: see above.
    """
    memory = load.memory_bits
    axons = dict(load.axons)
    for entry in fan:
        bits, neurons = entry.on_core(start, stop, load.neurons)
        memory += bits
        key = (entry.source, entry.delay, entry.own)
        axons[key] = np.union1d(axons[key], neurons) if key in axons else neurons
    part = slice(start, stop)
    decays = p.du[part].astype(np.int64) << 32 | p.dv[part]
    return Load(
        neurons=load.neurons + stop - start,
        memory_bits=memory,
        axons=axons,
        output_axons=load.output_axons + int(out[part].sum()),
        thresholds=load.thresholds.union(np.unique(p.v_threshold[part]).tolist()),
        compartments=load.compartments.union(np.unique(decays).tolist()),
    )


def output_axons(loads: Sequence[Load], sizes: Mapping[str, int]) -> dict[str, Ints]:
    """The output axons of each neuron, by population: one for each of its input axons on a core."""
    out = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    for load in loads:
        for (source, *_), neurons in load.axons.items():
            out[source][neurons] += 1
    return out


def _equal(one: Mapping[str, Ints], other: Mapping[str, Ints]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def with_output_axons(
    loads: Sequence[Load], core: Mapping[str, npt.NDArray[np.int32]], out: Mapping[str, Ints]
) -> list[Load]:
    """The loads with the output axons of their neurons, where neuron n of population p has `out[p][n]`."""
    totals = np.zeros(len(loads), np.int64)
    for name, cores in core.items():
        np.add.at(totals, cores, out[name])
    return [dataclasses.replace(load, output_axons=int(n)) for load, n in zip(loads, totals, strict=True)]


# --- the mesh --------------------------------------------------------------------------------------------------


def _place(loads: Sequence[Load], core: Mapping[str, npt.NDArray[np.int32]], chip: Chip) -> npt.NDArray[np.int32]:
    """Place each core in turn on the free tile that is nearest to the cores placed before it.

    Nearest means the fewest hops, summed over these cores and weighted by the axons between.

    Returns:
        int32 `[cores, 2]`.
    """
    n = len(loads)
    axons = _axons_between(loads, core)
    mesh = chip.mesh
    tiles = np.array([(x, y) for y in range(mesh.tiles_y) for x in range(mesh.tiles_x)])
    per_chip = chip.limits.cores_per_chip.value or len(tiles) * mesh.cores_per_tile
    xy = np.zeros((n, 2), np.int32)
    for c in range(n):
        if c % per_chip == 0:
            free = np.full(len(tiles), mesh.cores_per_tile)
        here = tiles + np.array([c // per_chip * mesh.tiles_x, 0])
        row = slice(axons.indptr[c], axons.indptr[c + 1])
        others, weight = axons.indices[row], axons.data[row]
        placed = others < c
        hops = np.abs(here[:, None, :] - xy[others[placed]]).sum(axis=2)  # [tiles, placed cores]
        cost = np.where(free > 0, hops @ weight[placed], np.iinfo(np.int64).max)
        best = int(cost.argmin())
        free[best] -= 1
        xy[c] = here[best]
    return xy


def _axons_between(loads: Sequence[Load], core: Mapping[str, npt.NDArray[np.int32]]) -> Any:
    """The number of axons between each two cores, in both directions: SciPy's `csr_array` `[cores, cores]`."""
    n = len(loads)
    sources, numbers, starts = [], [], [0]
    for load in loads:
        from_core = [core[source][neurons] for (source, *_), neurons in load.axons.items()]
        found = np.concatenate([np.zeros(0, np.int32), *from_core])
        per_core = np.bincount(found[found >= 0], minlength=1)
        sources.append(np.flatnonzero(per_core))
        numbers.append(per_core[sources[-1]])
        starts.append(starts[-1] + len(sources[-1]))
    onto = csr_array((np.concatenate(numbers), np.concatenate(sources), np.array(starts)), shape=(n, n))
    return (onto + onto.T).tocsr()


# --- the report ------------------------------------------------------------------------------------------------


def delay_problems(synapses: Iterable[IntegerSynapses | ChipSynapses], chip: Chip) -> Iterator[str]:
    """Check the longest delay: a message for each matrix of synapses whose delay the chip does not have."""
    longest = chip.limits.synaptic_delay.value
    for s in synapses:
        if s.delay < 1 or (longest is not None and s.delay > longest + 1):
            can = "at least 1 tick" if longest is None else f"1 to {longest + 1} ticks"
            yield f"synapses {s.name!r}: a delay of {s.delay} ticks; {chip.name} can delay by {can}"


def _fill_problems(loads: Sequence[Load], chip: Chip, fill: float) -> Iterator[str]:
    """A message for each limit of which one neuron alone needs more than `fill`."""
    for rule in RULES:
        value = rule.allowed(chip).value
        above = [load for load in loads if rule.holds(load, chip) and not rule.holds(load, chip, fill)]
        if value is not None and above:
            share = max(map(rule.used, above)) / value
            name = rule.limit.removesuffix("_per_core").removesuffix("_bits").replace("_", " ")
            yield (
                f"fill {fill:g}: one neuron takes {100 * share:.3g} % of a core's {name}; "
                f"expected at least {math.ceil(1000 * share) / 1000:g}"
            )


def counted_use(
    loads: Sequence[Load],
    core: Mapping[str, npt.NDArray[np.int32]],
    core_xy: npt.NDArray[np.int32],
    chip: Chip,
    relay_neurons: int,
    problems: Iterable[str],
    packed: bool = True,
) -> Use:
    """The use of a chip, from what lies on each core.

    Args:
        loads: the content of each core.
        core: by population, the core of each neuron; -1 for inputs.
        core_xy: the place of each core on the mesh.
        chip: the chip.
        relay_neurons: neurons that only make a delay longer.
        problems: what else does not fit; the problems of the cores follow.
        packed: whether `_Packer` placed the neurons. Then a core of several neurons above a limit is a failure of the
            packing.
    """
    on_core: list[list[str]] = [[] for _ in loads]
    for name, cores_of in core.items():
        for c in np.unique(cores_of[cores_of >= 0]).tolist():
            on_core[c].append(name)
    chip_of = _chip_numbers(core_xy, chip)
    cores, remedies = [], {}
    messages = list(problems)
    for c, load in enumerate(loads):
        where = f"core {c} ({', '.join(map(repr, on_core[c]))})"
        for rule in RULES:
            if not rule.holds(load, chip):
                alone = load.neurons == 1
                messages.append(("" if alone or not packed else _UNSETTLED) + rule.message(where, load, chip))
                elsewhere = "another fill, with which the cores are packed otherwise" if packed else _FEWER_ON_CORE
                remedies[rule.limit, alone] = f"{rule.limit}: {rule.remedy if alone else elsewhere}"
        cores.append(
            CoreUse(
                core=c,
                populations=tuple(on_core[c]),
                chip=chip_of[c],
                x=int(core_xy[c, 0]),
                y=int(core_xy[c, 1]),
                neurons=load.neurons,
                synaptic_memory_bytes=load.memory_bits / 8,
                input_axons=load.input_axons,
                output_axons=load.output_axons,
                threshold_configurations=len(load.thresholds),
                compartment_configurations=len(load.compartments),
                per_cent={
                    rule.limit: 100 * rule.used(load) / value
                    for rule in RULES
                    if (value := rule.allowed(chip).value) is not None
                },
                closed_by=load.closed_by,
            )
        )
    fullest = max(cores, key=lambda use: use.per_cent[use.binding], default=None)
    return Use(
        chip=chip.name,
        neurons=sum(load.neurons for load in loads),
        relay_neurons=relay_neurons,
        chips=len(set(chip_of)),
        cores_per_chip=chip.limits.cores_per_chip.value,
        cores=tuple(cores),
        binding=fullest.binding if fullest else RULES[0].limit,
        unchecked=tuple(rule.limit for rule in RULES if rule.allowed(chip).value is None),
        problems=tuple(messages),
        remedies=tuple(remedies.values()),
    )


def _chip_numbers(core_xy: npt.NDArray[np.int32], chip: Chip) -> list[int]:
    """The number of each core's chip, from 0. Chips lie side by side, each with a mesh of its own."""
    meshes = core_xy // np.array([chip.mesh.tiles_x, chip.mesh.tiles_y])
    numbers: list[int] = np.unique(meshes, axis=0, return_inverse=True)[1].ravel().tolist()
    return numbers
