"""A chip as data: its limits, number ranges, memory format, mesh and costs, read from `chips/<name>.toml`."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal, cast

from muspike.errors import BadInput
from muspike.files import check_file

Tag = Literal["measured", "fitted", "simulated", "inferred", "assumed"]
TAGS: tuple[Tag, ...] = ("measured", "fitted", "simulated", "inferred", "assumed")
"""How a constant came to be, strongest first."""

EVENTS = (
    "synop_dense",  # a synaptic operation, from a list that holds every target
    "synop_sparse",  # a synaptic operation, from a list of (index, weight)
    "synop_conv",  # a synaptic operation, from weights shared by a convolution
    "neuron_access",  # every mapped neuron, every tick
    "neuron_update",  # on top of the access, for a neuron whose state changes
    "neuron_spike",  # on top of the update, for a neuron that fires
    "message_out",  # a spike message to one target core
    "spike_in",  # a message that reaches an input axon
    "hop_x",  # a message that crosses to the next tile, east or west
    "hop_y",  # the same, north or south
)
"""What a cost set may price; energy in pJ, latency in ns, each per event."""

BARRIER = "barrier"
"""The synchronisation at the end of a tick: its energy may be covered by other prices, but has none of its own."""

STEP_FLOORS = ("step_floor", "step_floor_several_chips")
"""Latencies of a whole tick, below which no network runs, in ns."""


@dataclass(frozen=True)
class Constant:
    """A number with its band, unit, tag and source; `low <= value <= high`.

    Where `band_known` is false nobody has published how far it may be off, and `low` and `high` are the value itself.
    """

    value: float
    low: float
    high: float
    unit: str
    tag: Tag
    source: str
    band_known: bool = True


@dataclass(frozen=True)
class Limit:
    """A largest allowed count; `value` is None where the maker has not published it (the rule is then unchecked)."""

    value: int | None
    source: str


@dataclass(frozen=True)
class Range:
    """The integers `low, low + step, ..., high` that a register holds."""

    low: int
    high: int
    step: int
    source: str


@dataclass(frozen=True)
class Limits:
    """What one core, or one chip, can hold."""

    cores_per_chip: Limit
    neurons_per_core: Limit
    input_axons_per_core: Limit
    output_axons_per_core: Limit
    synaptic_memory_bits_per_core: Limit
    threshold_configurations_per_core: Limit
    compartment_configurations_per_core: Limit
    synaptic_delay: Limit
    """Ticks of delay that the chip adds to the one tick of every synapse: a chip delay is at most this plus one."""


@dataclass(frozen=True)
class Ranges:
    """The registers that a program fills or that its state lives in."""

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
    """How one input axon's list of synapses lies in memory.

    Blocks of at most `block_synapses`; a block of n takes `n * (weight_bits + delay_bits + index_bits) +
    block_header_bits`, rounded up to whole words. `index_bits` is 0 for a dense list, else the smallest of
    `sparse_index_bits` that reaches the targets; `delay_bits` is what the list's largest delay needs. An axon that
    shares a list with others adds an offset of its own to the targets, of at most `axon_offsets` - 1.
    """

    word_bits: int
    weight_bits: int
    max_delay_bits: int
    sparse_index_bits: tuple[int, ...]
    block_synapses: int
    block_header_bits: int
    axon_offsets: int
    source: str


@dataclass(frozen=True)
class Mesh:
    """Tiles in a grid, `cores_per_tile` cores on each."""

    tiles_x: int
    tiles_y: int
    cores_per_tile: int
    source: str


@dataclass(frozen=True)
class Barrier:
    """Time to synchronise `tiles` tiles at the end of a tick."""

    tiles: int
    latency: Constant


@dataclass(frozen=True)
class CostSet:
    """One consistent set of costs: never mix terms of two sets.

    An event in `covers` (or the barrier) is contained in the prices of the others; what is neither in `energy` nor in
    `covers` is unpriced, which is not the same as free.
    """

    name: str
    description: str
    core_time: Literal["sum", "max"]
    """Whether the latencies of a core's synapses and neurons follow one another or overlap."""
    covers: frozenset[str]
    energy: Mapping[str, Constant]
    latency: Mapping[str, Constant]
    barrier: tuple[Barrier, ...] = ()
    """By rising number of tiles; empty where the chip's barrier is inside the step floor."""

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Events, and the barrier, whose energy this set neither gives nor covers; synaptic operations aside."""
        known = {*self.energy, *self.covers}
        return tuple(e for e in (*EVENTS, BARRIER) if not e.startswith("synop") and e not in known)


@dataclass(frozen=True)
class Chip:
    """A neuromorphic chip, as far as this package needs to know it."""

    name: str
    title: str
    mesh: Mesh
    limits: Limits
    ranges: Ranges
    synapse_format: SynapseFormat
    static_power: Constant
    """mW per whole chip."""
    costs: Mapping[str, CostSet] = field(repr=False)
    default_costs: str

    def cost_set(self, name: str | None = None) -> CostSet:
        """The named cost set, or the default one.

        Raises:
            BadInput: the chip has no set of that name.
        """
        chosen = name or self.default_costs
        if chosen not in self.costs:
            raise BadInput(f"{self.name}: no cost set {chosen!r}; it has {', '.join(sorted(self.costs))}")
        return self.costs[chosen]


def known_chips() -> tuple[str, ...]:
    """Names of the chips that come with the package: of the files in `chips/`, sorted. It imports no numpy.

    >>> from muspike.hardware import known_chips
    >>> known_chips()
    ('loihi1', 'loihi2')
    """
    folder = resources.files("muspike.hardware") / "chips"
    return tuple(sorted(entry.name[:-5] for entry in folder.iterdir() if entry.name.endswith(".toml")))


def load_chip(name_or_path: str | Path) -> Chip:
    """A chip by name (`loihi1`, `loihi2`), or from a TOML file of the same form.

    >>> from muspike.hardware import load_chip
    >>> load_chip("loihi1").limits.neurons_per_core.value
    1024

    Raises:
        BadInput: no such chip or file, or the file has a missing, unknown or impossible entry.
    """
    name = str(name_or_path)
    if name in known_chips():
        return _load_known(name)
    path = Path(name_or_path)
    if path.suffix != ".toml":
        raise BadInput(
            f"chip {name!r} is not known; known: {', '.join(known_chips())}, or give the path of a .toml file"
        )
    check_file(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not a UTF-8 text file") from error
    return parse_chip(text, str(path))


@cache
def _load_known(name: str) -> Chip:
    entry = resources.files("muspike.hardware") / "chips" / f"{name}.toml"
    return parse_chip(entry.read_text(encoding="utf-8"), f"{name}.toml")


def parse_chip(text: str, where: str) -> Chip:
    """A chip from the text of a TOML file; `where` names it in errors.

    Raises:
        BadInput: not TOML, or a missing, unknown or impossible entry.
    """
    # Imported here, because a program needs numpy, and the command line asks for the chips' names without it.
    from muspike.hardware.program import DELAY_MAX

    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{where}: not TOML: {error}") from error
    sources = _Table(raw, where, {}).table("sources")
    top = _Table(raw, where, {key: sources.text(key) for key in sources.entries})
    top.used.add("sources")
    costs = top.table("costs")
    default = costs.text("default")
    chip = Chip(
        name=top.text("name"),
        title=top.text("title"),
        mesh=_mesh(top.table("mesh")),
        limits=_filled(Limits, top.table("limits"), _limit),
        ranges=_ranges(top.table("ranges")),
        synapse_format=_synapse_format(top.table("synapse_format")),
        static_power=_constant(top.table("static_power"), "mW"),
        costs={name: _cost_set(name, costs.table(name)) for name in costs.entries if name != "default"},
        default_costs=default,
    )
    top.close()
    places, cores = chip.mesh.tiles_x * chip.mesh.tiles_y * chip.mesh.cores_per_tile, chip.limits.cores_per_chip.value
    if cores is not None and cores > places:
        raise BadInput(f"{where}: limits: cores_per_chip is {cores}, but the mesh has {places} places")
    longest = chip.limits.synaptic_delay.value
    if longest is not None and longest >= DELAY_MAX:
        raise BadInput(f"{where}: limits: synaptic_delay is {longest}, a program holds at most {DELAY_MAX - 1}")
    if default not in chip.costs:
        raise BadInput(f"{where}: costs.default: no cost set {default!r}; it has {', '.join(sorted(chip.costs))}")
    return chip


class _Table:
    """One TOML table that knows its place in the file and which of its keys have been used."""

    def __init__(self, entries: Mapping[str, Any], where: str, sources: Mapping[str, str]) -> None:
        self.entries = entries
        self.where = where
        self.sources = sources
        self.used: set[str] = set()

    def take(self, key: str, kind: type | tuple[type, ...], named: str) -> Any:
        if key not in self.entries:
            raise BadInput(f"{self.where}: {key} is missing (expected {named})")
        value = self.entries[key]
        if not isinstance(value, kind) or isinstance(value, bool):
            raise BadInput(f"{self.where}: {key} is {value!r}, expected {named}")
        self.used.add(key)
        return value

    def table(self, key: str) -> _Table:
        return _Table(self.take(key, dict, "a table"), f"{self.where}: {key}", self.sources)

    def text(self, key: str) -> str:
        return str(self.take(key, str, "a text"))

    def choice(self, key: str, choices: tuple[str, ...]) -> str:
        value = self.text(key)
        if value not in choices:
            raise BadInput(f"{self.where}: {key} is {value!r}, expected one of {', '.join(choices)}")
        return value

    def whole(self, key: str) -> int:
        return int(self.take(key, int, "a whole number"))

    def count(self, key: str) -> int:
        value = self.whole(key)
        if value < 1:
            raise BadInput(f"{self.where}: {key} is {value}, expected at least 1")
        return value

    def number(self, key: str) -> float:
        value = float(self.take(key, (int, float), "a number"))
        if not math.isfinite(value):
            raise BadInput(f"{self.where}: {key} is {value}, expected a finite number")
        return value

    def source(self) -> str:
        """`source` is a key of [sources], optionally followed by `: ` and a remark of its own."""
        key, _, remark = self.text("source").partition(": ")
        if key not in self.sources:
            raise BadInput(f"{self.where}: source {key!r} is not in [sources], which has {', '.join(self.sources)}")
        return f"{self.sources[key]} ({remark})" if remark else self.sources[key]

    def close(self) -> None:
        unknown = [key for key in self.entries if key not in self.used]
        if unknown:
            raise BadInput(f"{self.where}: unknown key {unknown[0]!r}; known here: {', '.join(sorted(self.used))}")


def _filled(kind: Any, table: _Table, read: Callable[[_Table], Any]) -> Any:
    made = kind(**{entry.name: read(table.table(entry.name)) for entry in fields(kind)})
    table.close()
    return made


def _limit(table: _Table) -> Limit:
    if table.entries.get("value") == "unpublished":
        table.used.add("value")
        value = None
    else:
        value = table.count("value")
    limit = Limit(value, table.source())
    table.close()
    return limit


def _range(table: _Table) -> Range:
    step = table.count("step") if "step" in table.entries else 1
    made = Range(table.whole("low"), table.whole("high"), step, table.source())
    table.close()
    if made.low > made.high:
        raise BadInput(f"{table.where}: low {made.low} is above high {made.high}")
    return made


def _ranges(table: _Table) -> Ranges:
    """The chip's ranges: registers within what a Program holds, a state equal to the one that its dynamics have."""
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
    for name, (low, high) in STATE.items():
        found = getattr(ranges, name)
        if (found.low, found.high) != (low, high):
            raise BadInput(f"{table.where}: {name} is {found.low}..{found.high}, programs compute in {low}..{high}")
    return ranges


def _mesh(table: _Table) -> Mesh:
    mesh = Mesh(table.count("tiles_x"), table.count("tiles_y"), table.count("cores_per_tile"), table.source())
    table.close()
    return mesh


def _synapse_format(table: _Table) -> SynapseFormat:
    index_bits = table.take("sparse_index_bits", list, "a rising list of whole numbers")
    if not index_bits or any(type(n) is not int for n in index_bits) or sorted(set(index_bits)) != index_bits:
        raise BadInput(f"{table.where}: sparse_index_bits is {index_bits!r}, expected a rising list of whole numbers")
    made = SynapseFormat(
        word_bits=table.count("word_bits"),
        weight_bits=table.count("weight_bits"),
        max_delay_bits=table.count("max_delay_bits"),
        sparse_index_bits=tuple(index_bits),
        block_synapses=table.count("block_synapses"),
        block_header_bits=table.whole("block_header_bits"),
        axon_offsets=table.count("axon_offsets"),
        source=table.source(),
    )
    table.close()
    return made


def _constant(table: _Table, unit: str) -> Constant:
    value = table.number("value")
    unknown = "band" in table.entries and table.choice("band", ("unknown",)) == "unknown"
    constant = Constant(
        value=value,
        low=value if unknown else table.number("low"),
        high=value if unknown else table.number("high"),
        band_known=not unknown,
        unit=table.choice("unit", (unit,)),
        tag=cast(Tag, table.choice("tag", TAGS)),
        source=table.source(),
    )
    if not 0 <= constant.low <= value <= constant.high:
        raise BadInput(
            f"{table.where}: expected 0 <= low <= value <= high, found {constant.low}, {value}, {constant.high}"
        )
    if constant.low == constant.high and not unknown:
        raise BadInput(f'{table.where}: low and high are both {value}; a number without a spread says band = "unknown"')
    table.close()
    return constant


def _priced(table: _Table, unit: str, events: tuple[str, ...]) -> dict[str, Constant]:
    for event in table.entries:
        if event not in events:
            raise BadInput(f"{table.where}: unknown key {event!r}; known: {', '.join(events)}")
    return {event: _constant(table.table(event), unit) for event in table.entries}


def _cost_set(name: str, table: _Table) -> CostSet:
    covers = table.take("covers", list, "a list of events")
    if stranger := next((event for event in covers if event not in (*EVENTS, BARRIER)), None):
        raise BadInput(f"{table.where}: covers {stranger!r}, which is none of {', '.join((*EVENTS, BARRIER))}")
    rows = table.take("barrier", list, "a list of tables") if "barrier" in table.entries else []
    barrier = [_barrier(_Table(row, f"{table.where}: barrier {i}", table.sources)) for i, row in enumerate(rows)]
    if min((row.tiles for row in barrier), default=1) != 1:
        raise BadInput(f"{table.where}: barrier: no row for 1 tile; expected the rows to begin there")
    made = CostSet(
        name=name,
        description=table.text("description"),
        core_time=cast(Literal["sum", "max"], table.choice("core_time", ("sum", "max"))),
        covers=frozenset(covers),
        energy=_priced(table.table("energy"), "pJ", EVENTS),
        latency=_priced(table.table("latency"), "ns", EVENTS + STEP_FLOORS),
        barrier=tuple(sorted(barrier, key=lambda row: row.tiles)),
    )
    table.close()
    return made


def _barrier(row: _Table) -> Barrier:
    if not isinstance(row.entries, dict):
        raise BadInput(f"{row.where} is {row.entries!r}, expected a table")
    tiles = row.count("tiles")
    constant = {key: value for key, value in row.entries.items() if key != "tiles"}
    return Barrier(tiles, _constant(_Table(constant, row.where, row.sources), "ns"))
