"""Populations onto cores within every limit of the chip, and cores onto the mesh.

Cores are filled greedily in the order of levels: each takes as many neurons of the current population as every rule in
`RULES` allows, the rest begins a new core. A rule is one limit of `chips/*.toml` and how much of it a core uses:

- Synaptic memory: every axon of every `ChipSynapses` has a list of its synapses on the core, in the chip's own format
  (`SynapseFormat`; nengo-loihi, `SynapseConfig.bits_per_axon`). Dense or sparse, whichever is smaller for the matrix.
- Input axons: one per source neuron and delay that has a list on the core. A list carries its delay in every synapse,
  but what a spike meets after different delays, we keep on axons of its own. (nengo-loihi counts one axon per source
  neuron and connection, which is the same or more.)
- Output axons: one per neuron, target core and delay, the other end of those input axons. Inputs have none: their
  spikes come from the host.
- Threshold configurations are distinct thresholds, compartment configurations distinct (du, dv); a bias is free
  (nengo-loihi, `hardware/validate.py`).

Packing takes the fewest cores that it can. Latency and static energy depend on that: on more cores each has less to
do in a tick. `fill` below 1 leaves a part of each core's neurons and synaptic memory empty, and so spreads the network;
axons and configurations keep their limits, because spreading multiplies them. A share that one
neuron exceeds alone does not fit.

Where a target's cores are not known before it is packed, the packing is repeated with the output axons it led to.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput
from muspike.hardware.chip import Chip, Limit, SynapseFormat
from muspike.hardware.quantise import IntegerPopulation, IntegerSynapses
from muspike.hardware.retime import Retimed

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Axons = Mapping[tuple[str, int], Mask]
"""By source population and delay: which of its neurons have an axon."""

# Repacking raises the estimate of output axons each time; what has not settled by then will not.
_REPACKINGS = 20


@dataclass(frozen=True, eq=False)
class Load:
    """What lies on one core."""

    neurons: int = 0
    memory_bits: int = 0
    axons: Axons = field(default_factory=dict)
    output_axons: int = 0
    thresholds: frozenset[int] = frozenset()
    compartments: frozenset[tuple[int, int]] = frozenset()

    @property
    def input_axons(self) -> int:
        """Axons that lead onto the core."""
        return sum(int(np.count_nonzero(mask)) for mask in self.axons.values())


@dataclass(frozen=True)
class Rule:
    """One limit of a core: its key in `chips/*.toml`, what is counted, and how.

    `spreads`: on more cores each of them has less of it.
    """

    limit: str
    unit: str
    used: Callable[[Load], int]
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


_OUTPUT_AXONS = Rule("output_axons_per_core", "output axons", lambda load: load.output_axons)
RULES = (
    Rule("neurons_per_core", "neurons", lambda load: load.neurons, spreads=True),
    Rule("synaptic_memory_bits_per_core", "bits of synaptic memory", lambda load: load.memory_bits, spreads=True),
    Rule("input_axons_per_core", "input axons", lambda load: load.input_axons),
    _OUTPUT_AXONS,
    Rule("threshold_configurations_per_core", "threshold configurations", lambda load: len(load.thresholds)),
    Rule("compartment_configurations_per_core", "compartment configurations", lambda load: len(load.compartments)),
)
"""The limits that packing keeps; a delay beyond the chip's is `delay_problems`, cores beyond a chip's take another."""


@dataclass(frozen=True)
class CoreUse:
    """What one core holds, and of each published limit how many per cent."""

    core: int
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

    @property
    def binding(self) -> str:
        """The limit that the core is nearest to."""
        return max(self.per_cent, key=lambda limit: self.per_cent[limit])


@dataclass(frozen=True)
class Use:
    """How much of the chip a program takes.

    Attributes:
        binding: the limit that some core is nearest to.
        unchecked: limits that the maker has not published.
        problems: one message per limit that is exceeded; empty when the program fits.
    """

    chip: str
    neurons: int
    relay_neurons: int
    chips: int
    cores: tuple[CoreUse, ...]
    binding: str
    unchecked: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def fits(self) -> bool:
        """Whether every published limit of a core is kept; it may take several chips, see `chips`."""
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        """As a JSON-able dict."""
        cores = [dataclasses.asdict(core) | {"binding": core.binding} for core in self.cores]
        return dataclasses.asdict(self) | {"fits": self.fits, "cores": cores}


@dataclass(frozen=True, eq=False)
class Partition:
    """Where everything lies: `core` by population, int32 `[size]`, -1 for inputs; `core_xy` int32 `[cores, 2]`.

    `core_xy` of the n-th chip (from 0) is shifted by n meshes in x.
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
    sparse = {s.name: _is_smaller_sparse(s.weight, s.delay, chip, fill) for s in graph.synapses}
    placed = [p for p in graph.populations if p.kind != "input"]
    placed.sort(key=lambda p: retimed.levels[p.name])
    fans = {p.name: [_Lists(s, sparse[s.name], chip) for s in graph.synapses if s.target == p.name] for p in placed}
    sizes = {p.name: p.size for p in graph.populations}
    out = {name: np.zeros(size, np.int64) for name, size in sizes.items()}  # output axons per neuron
    for _ in range(_REPACKINGS):
        core, loads = _pack(placed, fans, out, chip, fill)
        found = _output_axons(loads, sizes)
        loads = _with_output_axons(loads, core, found)
        if all(_OUTPUT_AXONS.holds(load, chip) for load in loads):
            break
        out = {name: np.maximum(out[name], found[name]) for name in out}
    where = {p.name: core.get(p.name, np.full(p.size, -1, np.int32)) for p in graph.populations}
    core_xy = _place(loads, where, chip)
    return Partition(where, core_xy, sparse, _use(retimed, loads, where, core_xy, chip, fill))


# --- synaptic memory -------------------------------------------------------------------------------------------


def list_bits(n: npt.NDArray[Any], entry_bits: int, form: SynapseFormat) -> Ints:
    """Memory of lists of n synapses, in bits, for each n."""

    def block(n: Any) -> Any:
        return -(-(n * entry_bits + form.block_header_bits) // form.word_bits) * form.word_bits

    whole, rest = np.divmod(np.asarray(n, np.int64), form.block_synapses)
    return np.asarray(whole * block(form.block_synapses) + np.where(rest > 0, block(rest), 0))


def entry_bits(delay: int, highest_index: int | None, form: SynapseFormat) -> int:
    """Bits of one synapse: of a dense list, or (with the highest target index on the core) of a sparse one."""
    bits = form.weight_bits + min((delay - 1).bit_length(), form.max_delay_bits)
    if highest_index is None:
        return bits
    needed = highest_index.bit_length()
    return bits + next((b for b in form.sparse_index_bits if b >= needed), needed)


def _is_smaller_sparse(weight: npt.NDArray[np.int16], delay: int, chip: Chip, fill: float) -> bool:
    """Whether the matrix takes less memory as lists without its zeros, on cores filled with its targets."""
    form = chip.synapse_format
    full = max(int((chip.limits.neurons_per_core.value or len(weight)) * fill), 1)
    dense = sparse = 0
    for start in range(0, len(weight), full):
        part = weight[start : start + full]
        sources = part.shape[1]
        dense += sources * int(list_bits(np.array(len(part)), entry_bits(delay, None, form), form))
        stored = np.count_nonzero(part, axis=0)
        sparse += int(list_bits(stored, entry_bits(delay, len(part) - 1, form), form).sum())
    return sparse < dense


class _Lists:
    """The lists of one synapse matrix, for any run of its target neurons."""

    def __init__(self, synapses: IntegerSynapses, sparse: bool, chip: Chip) -> None:
        self.key = (synapses.source, synapses.delay)
        self.delay = synapses.delay
        self.form = chip.synapse_format
        self.sources = synapses.weight.shape[1]
        self.all = np.ones(self.sources, bool)
        self.up_to: npt.NDArray[np.int32] | None = None  # [target + 1, source], non-zero weights before each target
        if sparse:
            self.up_to = np.zeros((len(synapses.weight) + 1, self.sources), np.int32)
            np.cumsum(synapses.weight != 0, axis=0, out=self.up_to[1:])

    def on_core(self, start: int, stop: int, first_index: int) -> tuple[int, Mask]:
        """Memory in bits and the axons of targets `start..stop - 1`, lying on the core from `first_index` on."""
        if self.up_to is None:
            bits = int(list_bits(np.array(stop - start), entry_bits(self.delay, None, self.form), self.form))
            return self.sources * bits, self.all
        stored = self.up_to[stop] - self.up_to[start]
        entry = entry_bits(self.delay, first_index + stop - start - 1, self.form)
        return int(list_bits(stored, entry, self.form).sum()), stored > 0


# --- packing ---------------------------------------------------------------------------------------------------


def _added(load: Load, p: IntegerPopulation, lists: Sequence[_Lists], out: Ints, start: int, stop: int) -> Load:
    """The load with neurons `start..stop - 1` of p on top."""
    memory = load.memory_bits
    axons = dict(load.axons)
    for entry in lists:
        bits, mask = entry.on_core(start, stop, load.neurons)
        memory += bits
        axons[entry.key] = axons[entry.key] | mask if entry.key in axons else mask
    part = slice(start, stop)
    return Load(
        neurons=load.neurons + stop - start,
        memory_bits=memory,
        axons=axons,
        output_axons=load.output_axons + int(out[part].sum()),
        thresholds=load.thresholds | set(p.v_threshold[part].tolist()),
        compartments=load.compartments | set(zip(p.du[part].tolist(), p.dv[part].tolist(), strict=True)),
    )


def _pack(
    populations: Sequence[IntegerPopulation],
    fans: Mapping[str, Sequence[_Lists]],
    out: Mapping[str, Ints],
    chip: Chip,
    fill: float,
) -> tuple[dict[str, npt.NDArray[np.int32]], list[Load]]:
    core = {p.name: np.empty(p.size, np.int32) for p in populations}
    loads = [Load()]
    for p in populations:
        start = 0
        while start < p.size:
            stop = _furthest(loads[-1], p, fans[p.name], out[p.name], start, chip, fill)
            if stop == start and loads[-1].neurons:
                loads.append(Load())
                continue
            stop = max(stop, start + 1)  # alone on its core and still too much: `_use` says so
            loads[-1] = _added(loads[-1], p, fans[p.name], out[p.name], start, stop)
            core[p.name][start:stop] = len(loads) - 1
            start = stop
    return core, loads


def _furthest(
    load: Load, p: IntegerPopulation, lists: Sequence[_Lists], out: Ints, start: int, chip: Chip, fill: float
) -> int:
    """The largest stop at which neurons `start..stop - 1` still fit, by bisection: a smaller stop fits too."""
    low, high = start, p.size
    while low < high:
        middle = (low + high + 1) // 2
        grown = _added(load, p, lists, out, start, middle)
        low, high = (middle, high) if all(rule.holds(grown, chip, fill) for rule in RULES) else (low, middle - 1)
    return low


def _output_axons(loads: Sequence[Load], sizes: Mapping[str, int]) -> dict[str, Ints]:
    out = {name: np.zeros(size, np.int64) for name, size in sizes.items()}
    for load in loads:
        for (source, _), mask in load.axons.items():
            out[source] += mask
    return out


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
    axons = np.zeros((n, n), np.int64)
    for target, load in enumerate(loads):
        for (source, _), mask in load.axons.items():
            cores = core[source][mask]
            np.add.at(axons[target], cores[cores >= 0], 1)
    axons += axons.T
    mesh = chip.mesh
    tiles = np.array([(x, y) for y in range(mesh.tiles_y) for x in range(mesh.tiles_x)])
    per_chip = chip.limits.cores_per_chip.value or len(tiles) * mesh.cores_per_tile
    xy = np.zeros((n, 2), np.int32)
    for c in range(n):
        if c % per_chip == 0:
            free = np.full(len(tiles), mesh.cores_per_tile)
        here = tiles + np.array([c // per_chip * mesh.tiles_x, 0])
        hops = np.abs(here[:, None, :] - xy[None, :c, :]).sum(axis=2)  # [tiles, placed cores]
        cost = np.where(free > 0, hops @ axons[c, :c], np.iinfo(np.int64).max)
        best = int(cost.argmin())
        free[best] -= 1
        xy[c] = here[best]
    return xy


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
    cores = []
    problems = [*_fill_problems(loads, chip, fill), *delay_problems(retimed.graph.synapses, chip)]
    for c, load in enumerate(loads):
        here = ", ".join(repr(name) for name, cores_of in core.items() if (cores_of == c).any())
        problems += [rule.message(f"core {c} ({here})", load, chip) for rule in RULES if not rule.holds(load, chip)]
        cores.append(
            CoreUse(
                core=c,
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
            )
        )
    fullest = max(cores, key=lambda use: use.per_cent[use.binding])
    return Use(
        chip=chip.name,
        neurons=sum(load.neurons for load in loads),
        relay_neurons=retimed.relay_neurons,
        chips=cores[-1].chip + 1,
        cores=tuple(cores),
        binding=fullest.binding,
        unchecked=tuple(rule.limit for rule in RULES if rule.allowed(chip).value is None),
        problems=tuple(problems),
    )
