"""A chip as data: its limits, number ranges, memory format, mesh and costs, read from `chips/<name>.toml`.

`load_chip` reads a chip and checks every entry of its file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.hardware.changed_numbers import changes
from muspike.hardware.citations import citations_of
from muspike.hardware.constant import Constant, FileTable, constant_of, read_toml, sourced, text_of

EVENTS: Mapping[str, str] = {
    "synop_dense": "a synaptic operation, from a list that holds every target",
    "synop_sparse": "a synaptic operation, from a list of (index, weight)",
    "synop_conv": "a synaptic operation, from weights shared by a convolution",
    "synop_graded": "a synaptic operation of a graded spike, from any list: the weight times the spike's value",
    "neuron_access": "every mapped neuron, every tick",
    "neuron_update": "on top of the access, for a neuron whose state changes",
    "neuron_spike": "on top of the update, for a neuron that fires",
    "message_out": "a spike message to one target core",
    "spike_in": "a message that reaches an input axon",
    "spike_in_graded": "a message with a graded spike's value that reaches an input axon",
    "hop_x": "a message that crosses to the next tile, east or west",
    "hop_y": "a message that crosses to the next tile, north or south",
}
"""The events that a cost set may price, each in pJ (energy) and ns (latency) per event, and what they are."""

GRADED_EVENTS = ("synop_graded", "spike_in_graded")
"""The events that only a network with graded inputs has."""

BARRIER = "barrier"
"""The synchronisation at the end of a tick. Its energy has no price of its own; other prices may cover it."""

STEP_FLOORS: Mapping[str, str] = {
    "step_floor": "the least time of a tick: no network runs faster",
    "step_floor_several_chips": "the least time of a tick of a network on several chips",
}
"""Lower bounds of the latency of a tick, in ns, and what they are."""

_MOST_PLACES = 2**20


@dataclass(frozen=True)
class Limit:
    """The largest count that is allowed.

    Attributes:
        value: the count that is checked; None if the maker has not published it, and nothing checks it then. Where
            sources disagree, it is the smallest of their counts, so that what fits by it fits by all.
        source: where it comes from.
        high: the largest count of the sources, where they disagree; None: they do not.
    """

    value: int | None
    source: str
    high: int | None = None


@dataclass(frozen=True)
class Range:
    """The integers `low, low + step, ..., high` that a register holds."""

    low: int
    high: int
    step: int
    source: str


@dataclass(frozen=True)
class Limits:
    """What one core, or one chip, can hold.

    Attributes:
        cores_per_chip: cores on a chip.
        neurons_per_core: neurons on a core.
        input_axons_per_core: axons that lead onto a core.
        output_axons_per_core: axons that lead from the neurons of a core.
        synaptic_memory_bits_per_core: bits that the lists of synapses take on a core.
        threshold_configurations_per_core: distinct thresholds on a core.
        compartment_configurations_per_core: distinct decays (du, dv) on a core.
        synaptic_delay: ticks of delay that the chip adds to the one tick of every synapse. A chip delay is at most this
            plus one.
        graded_spike_bits: bits of the value that a spike may carry; 0: a spike carries none.
    """

    cores_per_chip: Limit
    neurons_per_core: Limit
    input_axons_per_core: Limit
    output_axons_per_core: Limit
    synaptic_memory_bits_per_core: Limit
    threshold_configurations_per_core: Limit
    compartment_configurations_per_core: Limit
    synaptic_delay: Limit
    graded_spike_bits: Limit


@dataclass(frozen=True)
class Ranges:
    """The ranges of the registers that a program fills (`weight` to `bias_exp`) and of those that hold its state.

    The state is the synaptic sum of a tick (`a_in`), the current u and the membrane v.
    """

    weight: Range
    du: Range
    dv: Range
    v_threshold: Range
    bias_mant: Range
    bias_exp: Range
    a_in: Range
    current: Range
    membrane: Range


@dataclass(frozen=True)
class SynapseFormat:
    """How the list of synapses of one input axon lies in memory.

    A list is cut into blocks. A block of n synapses takes `n * (weight_bits + delay_bits + index_bits) +
    block_header_bits` bits, rounded up to whole words. `delay_bits` is what the list's largest delay needs.
    `index_bits` is 0 for a dense list.

    Attributes:
        word_bits: bits of a word of memory.
        weight_bits: bits of a weight.
        max_delay_bits: the largest `delay_bits`.
        sparse_index_bits: the possible `index_bits` of a sparse list. The smallest that reaches the targets is taken.
        block_synapses: the most synapses in a block.
        block_header_bits: bits of a block besides its synapses.
        axon_offsets: an axon that shares a list with others adds an offset of its own to the targets, of at most
            `axon_offsets` - 1.
        convolution: how the weights of a convolution lie in memory. "lists": a list for each set of taps that lands on
            the core, which the pixels with that set share. "kernel": the kernel alone, without target indices.
        kernel_weight_bits: bits of a weight of a convolution that is stored as its kernel.
        source: where the format comes from.
    """

    word_bits: int
    weight_bits: int
    max_delay_bits: int
    sparse_index_bits: tuple[int, ...]
    block_synapses: int
    block_header_bits: int
    axon_offsets: int
    convolution: Literal["lists", "kernel"]
    kernel_weight_bits: int
    source: str


@dataclass(frozen=True)
class Mesh:
    """A grid of `tiles_x` by `tiles_y` tiles, with `cores_per_tile` cores on each."""

    tiles_x: int
    tiles_y: int
    cores_per_tile: int
    source: str


@dataclass(frozen=True)
class Barrier:
    """The time to synchronise `tiles` tiles at the end of a tick: `latency`, in ns."""

    tiles: int
    latency: Constant


@dataclass(frozen=True)
class CostSet:
    """One consistent set of costs. Terms of two sets must never be mixed.

    Attributes:
        name: the name of the set.
        description: what the set is, in words.
        core_time: whether the latencies of a core's synapses and neurons follow one another (`sum`) or overlap (`max`).
        covers: events (or the barrier) whose energy is contained in the prices of the others. An event that is neither
            in `covers` nor in `energy` is unpriced, which is not the same as free.
        energy: pJ per event.
        latency: ns per event, and the floors of a tick (`STEP_FLOORS`).
        barrier: by rising number of tiles; empty if the chip's barrier is inside the step floor.
        at_step_floor: what is known to be wrong with these costs where the ticks of a network on one chip wait for the
            step floor, as a sentence with its source; "": nothing is known.
    """

    name: str
    description: str
    core_time: Literal["sum", "max"]
    covers: frozenset[str]
    energy: Mapping[str, Constant]
    latency: Mapping[str, Constant]
    barrier: tuple[Barrier, ...] = ()
    at_step_floor: str = ""

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The events, and the barrier, that this set neither prices nor covers.

        Synaptic operations and graded spikes are left out.
        """
        known = {*self.energy, *self.covers, *GRADED_EVENTS}
        return tuple(e for e in (*EVENTS, BARRIER) if not e.startswith("synop") and e not in known)


@dataclass(frozen=True)
class Chip:
    """A neuromorphic chip, as far as this package needs to know it.

    Attributes:
        name: the name that `--chip` takes.
        title: the name for people.
        mesh: the grid of tiles.
        limits: what a core or the chip can hold.
        ranges: the registers.
        synapse_format: how lists of synapses lie in memory.
        static_power: in mW per whole chip.
        costs: the cost sets by name.
        default_costs: the name of the cost set that is used unless another is asked for.
        warnings: what is doubtful about the chip's file, in sentences for people: numbers that were changed and kept
            their old source, or the name of another chip. Empty for the chips that come with muspike.
        citations: the BibTeX entries of its sources, by the key of the source.
    """

    name: str
    title: str
    mesh: Mesh
    limits: Limits
    ranges: Ranges
    synapse_format: SynapseFormat
    static_power: Constant
    costs: Mapping[str, CostSet] = field(repr=False)
    default_costs: str
    warnings: tuple[str, ...] = ()
    citations: Mapping[str, str] = field(default_factory=dict, repr=False)

    def cost_set(self, name: str | None = None) -> CostSet:
        """The cost set called `name`; None: the default one.

        Raises:
            BadInput: the chip has no set of this name.
        """
        chosen = self.default_costs if name is None else name
        if not isinstance(chosen, str) or chosen not in self.costs:
            raise BadInput(f"{self.name}: no cost set {shown(chosen)}; it has {', '.join(sorted(self.costs))}")
        return self.costs[chosen]


def known_chips() -> tuple[str, ...]:
    """The names of the chips that come with the package, sorted: those of the files in `chips/`. It imports no numpy.

    >>> from muspike.hardware import known_chips
    >>> known_chips()
    ('loihi1', 'loihi2')
    """
    folder = resources.files("muspike.hardware") / "chips"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_chip(name_or_path: str | os.PathLike[str]) -> Chip:
    """Load a chip by name (`loihi1`, `loihi2`), or from a TOML file of the same form.

    `Chip.warnings` says what is doubtful about a file. `muspike chips --template` writes a file to start from.

    >>> from muspike.hardware import load_chip
    >>> load_chip("loihi1").limits.neurons_per_core.value
    1024

    Raises:
        BadInput: there is no such chip or file, or the file has a missing, unknown or impossible entry.
    """
    known = f"known: {', '.join(known_chips())}, or give the path of a .toml file"
    if not isinstance(name_or_path, str | os.PathLike):
        raise BadInput(f"chip {shown(name_or_path)} is neither a name nor a path; {known}")
    name = str(os.fspath(name_or_path))
    if name in known_chips():
        return _load_known(name)
    path = Path(name)
    if path.suffix != ".toml":
        if (resources.files("muspike.hardware") / "price_lists" / f"{path.name}.toml").is_file():
            raise BadInput(
                f"chip {shown(name)} is a price list, onto which no network is mapped; compare --on takes it"
            )
        raise BadInput(f"chip {shown(name)} is not known; {known}")
    text = text_of(path)
    if "energy" in (raw := read_toml(text, str(path))) and "limits" not in raw:
        raise BadInput(f"{path}: is a price list, onto which no network is mapped; compare --on takes it")
    chip = parse_chip(text, str(path))
    shipped = {known: tomllib.loads(text_of_known(known)) for known in known_chips()}
    return replace(chip, warnings=tuple(f"{path}: {change}" for change in changes(tomllib.loads(text), shipped)))


def as_chip(chip: Chip | str | os.PathLike[str]) -> Chip:
    """`chip` itself, or the one that `load_chip` loads. It raises what `load_chip` raises."""
    return chip if isinstance(chip, Chip) else load_chip(chip)


def text_of_known(name: str) -> str:
    """The text of the file of the chip `name`, one of `known_chips`."""
    return (resources.files("muspike.hardware") / "chips" / f"{name}.toml").read_text(encoding="utf-8")


@cache
def _load_known(name: str) -> Chip:
    return parse_chip(text_of_known(name), f"{name}.toml")


def parse_chip(text: str, where: str) -> Chip:
    """Read a chip from the text of a TOML file. `where` names the file in errors.

    Raises:
        BadInput: the text is not TOML, or has a missing, unknown or impossible entry.
    """
    # Imported here, because `program` needs numpy, and the command line asks for the chips' names without numpy.
    from muspike.hardware.program import DELAY_MAX

    top = sourced(text, where)
    costs = top.table("costs")
    default = costs.text("default")
    chip = Chip(
        name=top.name("name"),
        title=top.text("title"),
        mesh=_mesh(top.table("mesh")),
        limits=_limits(top.table("limits")),
        ranges=_ranges(top.table("ranges")),
        synapse_format=_synapse_format(top.table("synapse_format")),
        static_power=constant_of(top.table("static_power"), "mW"),
        costs={name: _cost_set(name, costs.table(name)) for name in costs.entries if name != "default"},
        default_costs=default,
        citations=citations_of(top.table("citations")) if "citations" in top.entries else {},
    )
    top.close()
    for name in ("cores_per_chip", "synaptic_delay", "graded_spike_bits"):
        if getattr(chip.limits, name).high is not None:
            raise BadInput(f"{where}: limits: {name} has a high; only the limits of a core may have one")
    places, cores = chip.mesh.tiles_x * chip.mesh.tiles_y * chip.mesh.cores_per_tile, chip.limits.cores_per_chip.value
    if cores is not None and cores > places:
        raise BadInput(f"{where}: limits: cores_per_chip is {cores}, but the mesh has {places} places")
    longest = chip.limits.synaptic_delay.value
    if longest is not None and longest >= DELAY_MAX:
        raise BadInput(f"{where}: limits: synaptic_delay is {longest}, a program holds at most {DELAY_MAX - 1}")
    if default not in chip.costs:
        raise BadInput(f"{where}: costs.default: no cost set {default!r}; it has {', '.join(sorted(chip.costs))}")
    return chip


def _filled(kind: Any, table: FileTable, read: Callable[[FileTable], Any]) -> Any:
    made = kind(**{entry.name: read(table.table(entry.name)) for entry in fields(kind)})
    table.close()
    return made


def _limits(table: FileTable) -> Limits:
    least = {"graded_spike_bits": 0}  # no bits are a number that a maker can tell
    made = Limits(**{e.name: _limit(table.table(e.name), least.get(e.name, 1)) for e in fields(Limits)})
    table.close()
    return made


def _limit(table: FileTable, least: int) -> Limit:
    value: int | None
    if isinstance(given := table.entries.get("value"), str):
        if given != "unpublished":
            raise BadInput(f'{table.where}: value is {shown(given)}, expected a whole number or "unpublished"')
        table.used.add("value")
        value = None
    else:
        value = table.whole("value", least)
    high = table.count("high") if value is not None and "high" in table.entries else None
    if high is not None and value is not None and high <= value:
        raise BadInput(f"{table.where}: high is {high}, expected more than the value, {value}")
    limit = Limit(value, table.source(), high)
    table.close()
    return limit


def _range(table: FileTable) -> Range:
    step = table.count("step") if "step" in table.entries else 1
    made = Range(table.whole("low"), table.whole("high"), step, table.source())
    table.close()
    if made.low > made.high:
        raise BadInput(f"{table.where}: low {made.low} is above high {made.high}")
    return made


def _ranges(table: FileTable) -> Ranges:
    """The chip's ranges. Its registers must lie within those of a Program, its state must have a Program's ranges."""
    from muspike.hardware.program import REGISTERS, STATE, WEIGHT_MAX, WEIGHT_MIN, WEIGHT_STEP

    ranges: Ranges = _filled(Ranges, table, _range)
    for name, (low, high, what) in REGISTERS.items():
        found: Range = getattr(ranges, name)
        if found.low < low or found.high > high:
            raise BadInput(
                f"{table.where}: {name} is {found.low}..{found.high}, a program holds {low}..{high} ({what})"
            )
    weight = ranges.weight
    if weight.low < WEIGHT_MIN or weight.high > WEIGHT_MAX or weight.low % WEIGHT_STEP or weight.step % WEIGHT_STEP:
        raise BadInput(
            f"{table.where}: weight is {weight.low}..{weight.high} in steps of {weight.step}, "
            f"a program holds {WEIGHT_MIN}..{WEIGHT_MAX} in steps of {WEIGHT_STEP}"
        )
    for name in ("weight", "bias_mant"):
        found = getattr(ranges, name)
        if not found.low <= -found.step < found.step <= found.high or found.low % found.step:
            raise BadInput(
                f"{table.where}: {name} is {found.low}..{found.high} in steps of {found.step}, expected a range that "
                "holds 0 and at least a step to either side"
            )
    if ranges.v_threshold.high < 1:
        raise BadInput(f"{table.where}: v_threshold is 0..0, expected a range that reaches at least 1")
    for name, (low, high) in STATE.items():
        found = getattr(ranges, name)
        if (found.low, found.high) != (low, high):
            raise BadInput(f"{table.where}: {name} is {found.low}..{found.high}, programs compute in {low}..{high}")
    return ranges


def _mesh(table: FileTable) -> Mesh:
    mesh = Mesh(table.count("tiles_x"), table.count("tiles_y"), table.count("cores_per_tile"), table.source())
    table.close()
    if (cores := mesh.tiles_x * mesh.tiles_y * mesh.cores_per_tile) > _MOST_PLACES:
        raise BadInput(f"{table.where}: {cores:,} places for cores, expected at most {_MOST_PLACES:,}")
    return mesh


def _synapse_format(table: FileTable) -> SynapseFormat:
    index_bits = table.take("sparse_index_bits", list, "a rising list of whole numbers")
    if not index_bits or any(type(n) is not int for n in index_bits) or sorted(set(index_bits)) != index_bits:
        raise BadInput(
            f"{table.where}: sparse_index_bits is {shown(index_bits)}, expected a rising list of whole numbers"
        )
    if index_bits[0] < 1 or index_bits[-1] > 64:
        raise BadInput(f"{table.where}: sparse_index_bits is {shown(index_bits)}, expected numbers from 1 to 64")
    made = SynapseFormat(
        word_bits=table.count("word_bits"),
        weight_bits=table.count("weight_bits"),
        max_delay_bits=table.count("max_delay_bits"),
        sparse_index_bits=tuple(index_bits),
        block_synapses=table.count("block_synapses"),
        block_header_bits=table.whole("block_header_bits", 0),
        axon_offsets=table.count("axon_offsets"),
        convolution=cast(Literal["lists", "kernel"], table.choice("convolution", ("lists", "kernel"))),
        kernel_weight_bits=table.count("kernel_weight_bits"),
        source=table.source(),
    )
    table.close()
    return made


def _priced(table: FileTable, unit: str, events: Collection[str]) -> dict[str, Constant]:
    for event in table.entries:
        if event not in events:
            raise BadInput(f"{table.where}: unknown key {shown(event)}; known: {', '.join(events)}")
    return {event: constant_of(table.table(event), unit) for event in table.entries}


def _cost_set(name: str, table: FileTable) -> CostSet:
    covers = table.take("covers", list, "a list of events")
    for event in covers:
        if event not in (*EVENTS, BARRIER):
            raise BadInput(f"{table.where}: covers {shown(event)}, which is none of {', '.join((*EVENTS, BARRIER))}")
    rows = table.take("barrier", list, "a list of tables") if "barrier" in table.entries else []
    barrier = [_barrier(FileTable(row, f"{table.where}: barrier {i}", table.sources)) for i, row in enumerate(rows)]
    tiles = [row.tiles for row in barrier]
    if twice := next((n for n in tiles if tiles.count(n) > 1), None):
        raise BadInput(f"{table.where}: barrier: two rows for {twice} tiles; expected one for each number")
    if min(tiles, default=1) != 1:
        raise BadInput(f"{table.where}: barrier: no row for 1 tile; expected the rows to begin there")
    made = CostSet(
        name=name,
        description=table.text("description"),
        core_time=cast(Literal["sum", "max"], table.choice("core_time", ("sum", "max"))),
        covers=frozenset(covers),
        energy=_priced(table.table("energy"), "pJ", EVENTS),
        latency=_priced(table.table("latency"), "ns", (*EVENTS, *STEP_FLOORS)),
        barrier=tuple(sorted(barrier, key=lambda row: row.tiles)),
        at_step_floor=_note(table.table("at_step_floor")) if "at_step_floor" in table.entries else "",
    )
    table.close()
    if both := next((event for event in covers if event in made.energy), None):
        raise BadInput(f"{table.where}: covers {both!r}, which energy prices too; expected one of the two")
    return made


def _note(table: FileTable) -> str:
    made = f"{table.text('note')} ({table.source()})"
    table.close()
    return made


def _barrier(row: FileTable) -> Barrier:
    if not isinstance(row.entries, dict):
        raise BadInput(f"{row.where} is {shown(row.entries)}, expected a table")
    tiles = row.count("tiles")
    constant = {key: value for key, value in row.entries.items() if key != "tiles"}
    return Barrier(tiles, constant_of(FileTable(constant, row.where, row.sources), "ns"))
