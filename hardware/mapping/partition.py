"""Populations onto cores within every limit of the chip, and cores onto the mesh.

Cores are filled greedily in the order of levels: each takes as many neurons of the current population as every rule in
`RULES` allows, in one run, the rest begins a new core. A rule is one limit of `chips/*.toml` and how much of it a core
uses:

- Synaptic memory: every axon of every `ChipSynapses` has a list of its synapses on the core, in the chip's own format
  (`mapping.lists`). A dense matrix is stored as dense or sparse lists, whichever is smaller; the axons of a
  convolution share theirs.
- Input axons: one per source neuron and delay that has a list on the core. A list carries its delay in every synapse,
  but what a spike meets after different delays, we keep on axons of its own; and so what it meets through each
  convolution, whose axons have offsets. (nengo-loihi counts one axon per source neuron and connection, which is the
  same or more; of a convolution one per pixel, which is less: see `muspike.hardware.mapping.lists`.)
- Output axons: one for each of those input axons, on the core of the neuron. Inputs have none: their spikes come from
  the host.
- Threshold configurations are distinct thresholds, compartment configurations distinct (du, dv); a bias is free
  (nengo-loihi, `hardware/validate.py`).

Packing takes the fewest cores that it can. Latency and static energy depend on that: on more cores each has less to
do in a tick. `fill` below 1 leaves a part of each core's neurons and synaptic memory empty, and so spreads the network;
axons and configurations keep their limits, because spreading multiplies them. A share that one
neuron exceeds alone does not fit.

Where a target's cores are not known before it is packed, the packing is repeated with the output axons it led to. It
may not settle; the use then names that as a failure of the packing, which is no limit of the chip.

A population is cut in the order of its neurons, an image so in C order [channel, y, x]. Where another limit than that
of neurons closes cores, packings that keep 4, 16, 64 or all channels of a pixel together are tried too, for all images
alike, and the one with the fewest cores is taken: fewer pixels of the source then have an axon on a core, but its lists
and thresholds are more. A packing is given up as soon as it takes more cores than another did.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, Limit
from muspike.hardware.graph import by_end
from muspike.hardware.mapping.lists import Ints, Lists, Neurons, image_order, is_smaller_sparse, lists
from muspike.hardware.mapping.quantise import IntegerGraph, IntegerPopulation, IntegerSynapses
from muspike.hardware.mapping.retime import Retimed
from muspike.hardware.weights import Conv

Axons = Mapping[tuple[str, int, str | None], Neurons]
"""By source population, delay and `Lists.own`: the neurons that have an axon."""
Cores = dict[str, npt.NDArray[np.int32]]
"""By population: the core of each neuron."""

# Channels of a pixel that are packed together; 0: all. Only what divides them can be. First what takes few cores most
# often, so that the others are soon given up.
_TOGETHER = (16, 64, 0, 4, 1)
# Repacking raises the estimate of output axons each time; what has not settled by then will not.
_REPACKINGS = 20
_UNSETTLED = (
    f"packing failed, and not for a limit of the chip: it has not settled in {_REPACKINGS} repackings, the last: "
)


@dataclass(frozen=True, eq=False)
class Load:
    """What lies on one core; `closed_by` is the limit that the next neuron would have exceeded."""

    neurons: int = 0
    memory_bits: int = 0
    axons: Axons = field(default_factory=dict)
    output_axons: int = 0
    thresholds: frozenset[int] = frozenset()
    compartments: frozenset[int] = frozenset()
    closed_by: str | None = None

    @property
    def input_axons(self) -> int:
        """Axons that lead onto the core."""
        return sum(len(neurons) for neurons in self.axons.values())


@dataclass(frozen=True)
class Rule:
    """One limit of a core: its key in `chips/*.toml`, what is counted, and how.

    `remedy`: what makes room where one neuron exceeds it alone. `spreads`: on more cores each of them has less of it.
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
        """Whether the load is within the limit, or `fill` of it; true where the limit is unpublished."""
        value = self.allowed(chip).value
        return value is None or self.used(load) <= value * (fill if self.spreads else 1)

    def message(self, where: str, load: Load, chip: Chip) -> str:
        """What to tell a person when it does not hold."""
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
"""The limits that packing keeps; a delay beyond the chip's is `delay_problems`, cores beyond a chip's take another."""


@dataclass(frozen=True)
class CoreUse:
    """What one core holds, and of each published limit how many per cent.

    Attributes:
        populations: those with neurons on it.
        closed_by: the limit that kept the next neuron off it; None: there was no next, or it would have fitted.
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
        """The limit that the core is nearest to."""
        return max(self.per_cent, key=lambda limit: self.per_cent[limit])


@dataclass(frozen=True)
class Use:
    """How much of the chip a program takes.

    Attributes:
        cores_per_chip: those of one chip; None: unpublished.
        binding: the limit that some core is nearest to.
        unchecked: limits that the maker has not published.
        problems: one message per limit that is exceeded; empty when the program fits.
        remedies: what it would take, for each limit that one neuron exceeds alone, or that the packing did not keep.
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
        """Whether every published limit of a core is kept; it may take several chips, see `chips`."""
        return not self.problems

    @property
    def fullest(self) -> CoreUse:
        """The core that is nearest to the binding limit."""
        return max(self.cores, key=lambda core: core.per_cent[self.binding])

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        cores = [dataclasses.asdict(core) | {"binding": core.binding} for core in self.cores]
        return dataclasses.asdict(self) | {"fits": self.fits, "cores": cores}


@dataclass(frozen=True, eq=False)
class Partition:
    """Where everything lies: `core` by population, int32 `[size]`, -1 for inputs; `core_xy` int32 `[cores, 2]`.

    `core_xy` of the n-th chip (from 0) is shifted by n meshes in x. `sparse`: as `ChipSynapses` takes it.
    """

    core: Mapping[str, npt.NDArray[np.int32]]
    core_xy: npt.NDArray[np.int32]
    sparse: Mapping[str, bool]
    use: Use


def partition(retimed: Retimed, chip: Chip, fill: float = 1.0) -> Partition:
    """Place a retimed graph on as few cores as the greedy packing needs.

    A neuron that exceeds a limit alone has a core to itself, and the use says that it does not fit.

    Args:
        fill: the share of each core's neurons and synaptic memory to use; one that a single neuron exceeds is a problem
            of the use, and so does not fit.

    Raises:
        BadInput: `fill` is not above 0 and at most 1.
    """
    if not 0 < fill <= 1:
        raise BadInput(f"fill is {fill}; it is a share of a core, above 0 and at most 1")
    graph = retimed.graph
    sparse = {s.name: is_smaller_sparse(s.weight, s.delay, chip, fill) for s in graph.synapses}
    placed = [p for p in graph.populations if p.kind != "input"]
    placed.sort(key=lambda p: retimed.levels[p.name])
    shapes: dict[str, set[tuple[int, int, int]]] = {}
    for s in graph.synapses:
        if isinstance(s.weight, Conv):
            shapes.setdefault(s.target, set()).add(s.weight.output_shape)
    images = {name: found.pop() for name, found in shapes.items() if len(found) == 1}
    core, loads = _Packer(graph, placed, images, sparse, chip, fill).best()
    where = {p.name: core.get(p.name, np.full(p.size, -1, np.int32)) for p in graph.populations}
    core_xy = _place(loads, where, chip)
    return Partition(where, core_xy, sparse, _use(retimed, loads, where, core_xy, chip, fill))


# --- packing ---------------------------------------------------------------------------------------------------


class _Packer:
    """Packs the neurons of a graph onto cores of a chip, each filled up to the share `fill`.

    Attributes:
        placed: the populations with neurons on the chip, in the order in which they are packed.
        images: channels, y and x of those that a convolution reaches.
        sparse: by synapses, whether their lists leave out zeros.
    """

    def __init__(
        self,
        graph: IntegerGraph,
        placed: Sequence[IntegerPopulation],
        images: Mapping[str, tuple[int, int, int]],
        sparse: Mapping[str, bool],
        chip: Chip,
        fill: float,
    ) -> None:
        self.placed, self.images, self.sparse, self.chip, self.fill = placed, images, sparse, chip, fill
        self.into = by_end(graph.synapses, "target")
        self.sizes = {p.name: p.size for p in graph.populations}

    def best(self) -> tuple[Cores, list[Load]]:
        """The packing of least cost, and of equal ones that in the order in which neurons are counted."""
        best: tuple[Cores, list[Load]] | None = None
        for together in _TOGETHER:
            orders = {
                name: image_order(shape, together or shape[0])
                for name, shape in self.images.items()
                if shape[0] > 1 and together != 1 and not (together and shape[0] % together)
            }
            if together == 1 or (orders and not (best and _is_fullest(best[1]))):
                most = self._cost(best[1]) if best else None
                best = self._packing(orders, most) or best
        assert best is not None  # the first has nothing to exceed
        return best

    def _fits(self, load: Load) -> bool:
        """Whether the load is within every limit, or the share of it that is to be used."""
        return all(rule.holds(load, self.chip, self.fill) for rule in RULES)

    def _exceeds(self, load: Load) -> bool:
        """Whether the load is above a limit of the chip."""
        return not all(rule.holds(load, self.chip) for rule in RULES)

    def _cost(self, loads: Sequence[Load]) -> tuple[int, int]:
        """Cores above a limit, and cores."""
        return sum(map(self._exceeds, loads)), len(loads)

    def _packing(self, orders: Mapping[str, Ints], most: tuple[int, int] | None) -> tuple[Cores, list[Load]] | None:
        """The core of each neuron, and the loads, with neurons packed in the given orders (else as they are counted).

        None where that costs more than `most`.
        """
        order = {p.name: orders.get(p.name, np.arange(p.size)) for p in self.placed}
        fans = {
            p.name: [lists(s, self.sparse[s.name], self.chip, order[p.name]) for s in self.into[p.name]]
            for p in self.placed
        }
        ordered = [
            dataclasses.replace(p, **{name: getattr(p, name)[order[p.name]] for name in ("du", "dv", "v_threshold")})
            for p in self.placed
        ]
        out = {name: np.zeros(size, np.int64) for name, size in self.sizes.items()}  # output axons per neuron
        for _ in range(_REPACKINGS):
            made = self._pack(ordered, fans, {name: out[name][order[name]] for name in order}, most)
            if made is None:
                return None
            packed, loads = made
            core = {name: np.empty_like(cores) for name, cores in packed.items()}
            for name, cores in packed.items():
                core[name][order[name]] = cores
            found = _output_axons(loads, self.sizes)
            loads = _with_output_axons(loads, core, found)
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
        """One packing, with that many output axons of each neuron; None as soon as it costs more than `most`."""
        core = {p.name: np.empty(p.size, np.int32) for p in populations}
        loads = [Load()]
        above = 0  # cores that one neuron alone exceeds
        for p in populations:

            def grown(start: int, stop: int, p: IntegerPopulation = p) -> Load:
                return _added(loads[-1], p, fans[p.name], out[p.name], start, stop)

            start = 0
            while start < p.size:
                stop = self._furthest(grown, start, p.size)
                alone = stop == start and not loads[-1].neurons
                if alone:  # and still too much: `_use` says so
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
        """The largest stop at which neurons `start..stop - 1` still fit: a smaller stop fits too.

        It doubles before it bisects, so that its work follows from what fits, not from what is left. (The memory of a
        convolution may also fall when an image is completed. What is found then fits, but need not be the largest.)
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
    """Whether every core but the last has as many neurons as it may: no order needs fewer of them."""
    return all(load.closed_by == "neurons_per_core" for load in loads[:-1])


def _added(load: Load, p: IntegerPopulation, fan: Sequence[Lists], out: Ints, start: int, stop: int) -> Load:
    """The load with neurons `start..stop - 1` of p on top."""
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


def _output_axons(loads: Sequence[Load], sizes: Mapping[str, int]) -> dict[str, Ints]:
    out = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    for load in loads:
        for (source, *_), neurons in load.axons.items():
            out[source][neurons] += 1
    return out


def _equal(one: Mapping[str, Ints], other: Mapping[str, Ints]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def _with_output_axons(
    loads: Sequence[Load], core: Mapping[str, npt.NDArray[np.int32]], out: Mapping[str, Ints]
) -> list[Load]:
    totals = np.zeros(len(loads), np.int64)
    for name, cores in core.items():
        np.add.at(totals, cores, out[name])
    return [dataclasses.replace(load, output_axons=int(n)) for load, n in zip(loads, totals, strict=True)]


# --- the mesh --------------------------------------------------------------------------------------------------


def _place(loads: Sequence[Load], core: Mapping[str, npt.NDArray[np.int32]], chip: Chip) -> npt.NDArray[np.int32]:
    """Each core in turn onto the free place with the fewest hops, weighted by axons, to the cores placed before it."""
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
    """Axons between each two cores, in either direction: SciPy's `csr_array` `[cores, cores]`."""
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


def delay_problems(synapses: Sequence[IntegerSynapses], chip: Chip) -> Iterator[str]:
    """The rule of the longest delay: a message for each matrix of synapses that breaks it."""
    longest = chip.limits.synaptic_delay.value
    for s in synapses:
        if s.delay < 1 or (longest is not None and s.delay > longest + 1):
            yield f"synapses {s.name!r}: a delay of {s.delay} ticks, {chip.name} has 1..{(longest or 0) + 1}"


def _fill_problems(loads: Sequence[Load], chip: Chip, fill: float) -> Iterator[str]:
    """A message for each limit of which one neuron alone, which has its core to itself, takes more than `fill`."""
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


def _use(
    retimed: Retimed,
    loads: Sequence[Load],
    core: Mapping[str, npt.NDArray[np.int32]],
    core_xy: npt.NDArray[np.int32],
    chip: Chip,
    fill: float,
) -> Use:
    per_chip = chip.limits.cores_per_chip.value or len(loads)
    on_core: list[list[str]] = [[] for _ in loads]
    for name, cores_of in core.items():
        for c in np.unique(cores_of[cores_of >= 0]).tolist():
            on_core[c].append(name)
    cores, remedies = [], {}
    problems = [*_fill_problems(loads, chip, fill), *delay_problems(retimed.graph.synapses, chip)]
    for c, load in enumerate(loads):
        where = f"core {c} ({', '.join(map(repr, on_core[c]))})"
        for rule in RULES:
            if not rule.holds(load, chip):
                # Only one neuron alone may be too much, but for output axons that were not yet known.
                settled = load.neurons == 1
                problems.append(("" if settled else _UNSETTLED) + rule.message(where, load, chip))
                remedy = rule.remedy if settled else "another fill, to pack it otherwise"
                remedies[rule.limit, settled] = f"{rule.limit}: {remedy}"
        cores.append(
            CoreUse(
                core=c,
                populations=tuple(on_core[c]),
                chip=c // per_chip,
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
    fullest = max(cores, key=lambda use: use.per_cent[use.binding])
    return Use(
        chip=chip.name,
        neurons=sum(load.neurons for load in loads),
        relay_neurons=retimed.relay_neurons,
        chips=cores[-1].chip + 1,
        cores_per_chip=chip.limits.cores_per_chip.value,
        cores=tuple(cores),
        binding=fullest.binding,
        unchecked=tuple(rule.limit for rule in RULES if rule.allowed(chip).value is None),
        problems=tuple(problems),
        remedies=tuple(remedies.values()),
    )
