"""A chip program: populations, synapses and their places as plain integers, in one `.npz` file.

`Program` is what the compiler makes and the simulator runs. A program file needs only NumPy to be read.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from muspike.arguments import instance, listed, refuse, seconds
from muspike.arguments import path as path_of
from muspike.errors import BadInput, one_line
from muspike.files import check_file, write_whole
from muspike.hardware import weights as w
from muspike.hardware.kinds import named
from muspike.hardware.npz import UNREADABLE, read_array
from muspike.hardware.weights import Conv, Sparse, Weights

Kind = Literal["input", "lif", "li"]
Layout = Literal["dense", "sparse", "conv"]

FORMAT = "muspike program"
VERSION = 3
_BEFORE_GRADED = 2  # a program whose inputs are all binary is written in this version, as it always was
VERSIONS = (_BEFORE_GRADED, VERSION)

FULL_DECAY = 4096
"""A full decay. Decays are in 1/4096. 4096 has no 12-bit code, but Lava and the simulator compute with it."""

SHIFT = 6
"""Bits that synaptic sums and thresholds are shifted left by to be in units of the membrane."""

# The ranges that the format holds, by field: low, high, words. They are the registers of a Loihi compartment. A chip's
# registers (`chips/*.toml`) may be narrower, never wider. Lava 0.10.0 checks none of these ranges.
REGISTERS: Mapping[str, tuple[int, int, str]] = {
    "du": (0, FULL_DECAY, "12 bits unsigned, or 4096 for a full decay"),
    "dv": (0, FULL_DECAY, "12 bits unsigned, or 4096 for a full decay"),
    "v_threshold": (0, 2**17 - 1, "17 bits unsigned"),
    "bias_mant": (-(2**12), 2**12 - 1, "13 bits signed"),
    "bias_exp": (0, 7, "3 bits unsigned"),
}
WEIGHT_MIN, WEIGHT_MAX, WEIGHT_STEP = -256, 254, 2  # mixed-sign weights: 8 bits and a sign, the lowest bit cut
WEIGHT_EXP_MAX = 7
GRADED_BITS_MAX = 16  # a spike of more times the smallest weight, 2, is beyond the synaptic sum's 16 bits by itself
MOST_CORES = 2**14  # 128 chips; counts between cores take memory by the square of the cores
DELAY_MAX = 63  # the one tick that every synapse takes, and up to 62 more
# The ranges of the state: the synaptic sum, the current (which wraps) and the membrane (which saturates).
STATE: Mapping[str, tuple[int, int]] = {
    "a_in": (-(2**15), 2**15 - 1),
    "current": (-(2**23) + 1, 2**23),
    "membrane": (-(2**23) + 1, 2**23 - 1),
}
_NEURON_ARRAYS = (*REGISTERS, "scale", "core")
_GEOMETRY = ("input_shape", "output_shape", "stride", "padding", "dilation", "groups")


@dataclass(frozen=True, eq=False)
class ChipPopulation:
    """Neurons of one kind: `input` (spikes come from the host), `lif`, or `li` (the host reads its membrane).

    Every per-neuron array has shape `[size]` and becomes a read-only int32 (`scale` float64).

    Args:
        name: the name, unique in a program.
        size: number of neurons.
        kind: see above.
        level: by how many chip ticks its spikes are later than in ideal time; 0 for an input. The ideal delay of a
            synapse is its delay, plus the level of its source, minus the level of its target.
        du, dv: decays of current and membrane per tick, in 1/4096. The chip adds 1 to `du`.
        v_threshold: in units of 64 membrane units. A membrane that is strictly above the threshold fires.
        bias_mant, bias_exp: `bias_mant << bias_exp` is added to the membrane each tick.
        scale: chip membrane units per unit of the float membrane.
        core: the core of each neuron; -1 for an input.
        reset_interval, reset_offset: at the start of each tick t, counted from 0, with
            `t % reset_interval == reset_offset`, u and v become 0. An interval of 0: never.
        graded_bits: of an input: the bits of a spike. A spike then is a whole number that multiplies the weights; 0 is
            no spike. 0 bits: spikes are 0 or 1.

    Raises:
        BadInput: a shape, type or register range is broken.
    """

    name: str
    size: int
    kind: Kind
    level: int
    du: npt.NDArray[np.int32]
    dv: npt.NDArray[np.int32]
    v_threshold: npt.NDArray[np.int32]
    bias_mant: npt.NDArray[np.int32]
    bias_exp: npt.NDArray[np.int32]
    scale: npt.NDArray[np.float64]
    core: npt.NDArray[np.int32]
    reset_interval: int = 0
    reset_offset: int = 0
    graded_bits: int = 0

    def __post_init__(self) -> None:
        where = f"population {self.name!r}"
        _check_name(self.name, "population")
        if self.kind not in get_args(Kind):
            raise BadInput(f"{where}: kind is {self.kind!r}, not one of {', '.join(get_args(Kind))}")
        _check_int(where, "size", self.size, 1, 2**31 - 1)
        _check_int(where, "level", self.level, 0, 0 if self.kind == "input" else 2**31 - 1)
        _check_int(where, "reset_interval", self.reset_interval, 0, 0 if self.kind == "input" else 2**31 - 1)
        _check_int(where, "reset_offset", self.reset_offset, 0, max(self.reset_interval - 1, 0))
        _check_int(where, "graded_bits", self.graded_bits, 0, GRADED_BITS_MAX if self.kind == "input" else 0)
        for name, (low, high, what) in REGISTERS.items():
            _freeze(self, name, _integers(where, name, getattr(self, name), (self.size,), low, high, what))
        low, high = (-1, -1) if self.kind == "input" else (0, 2**31 - 1)
        what = "-1 for an input" if self.kind == "input" else "the number of a core"
        _freeze(self, "core", _integers(where, "core", self.core, (self.size,), low, high, what))
        if np.asarray(self.scale).dtype.kind not in "fiu":
            raise BadInput(f"{where}: scale has dtype {np.asarray(self.scale).dtype}, not real numbers")
        scale = np.array(self.scale, dtype=np.float64)
        if scale.shape != (self.size,):
            raise BadInput(f"{where}: scale has shape {list(scale.shape)}, not [{self.size}]")
        if self.kind != "input" and not (np.isfinite(scale).all() and (scale > 0).all()):
            bad = scale[~(np.isfinite(scale) & (scale > 0))][0]
            raise BadInput(f"{where}: scale holds {bad}; it is a finite number above 0")
        _freeze(self, "scale", scale)

    @property
    def bias(self) -> npt.NDArray[np.int32]:
        """What is added to the membrane in each tick, int32 `[size]`."""
        return self.bias_mant << self.bias_exp

    @property
    def largest_spike(self) -> int:
        """The largest value of a spike: 1, or what `graded_bits` hold."""
        return (1 << self.graded_bits) - 1 if self.graded_bits else 1


@dataclass(frozen=True, eq=False)
class ChipSynapses:
    """All synapses from one population to another: `(weight @ spikes[t - delay]) << weight_exp` arrives at tick t.

    Args:
        name: the name, unique in a program.
        source, target: the names of the two populations.
        weight: `[target, source]`, even, -256..254, in any form of `muspike.hardware.weights`. Its numbers become
            read-only int16.
        weight_exp: 0..7; see above.
        delay: in chip ticks, 1..63.
        sparse: whether synaptic memory holds lists without the zero weights. It is always true for a `Sparse` matrix
            and has no effect on a `Conv`.

    Raises:
        BadInput: a shape, type or range is broken.
    """

    name: str
    source: str
    target: str
    weight: Weights
    weight_exp: int
    delay: int
    sparse: bool = False

    def __post_init__(self) -> None:
        where = f"synapses {self.name!r}"
        _check_name(self.name, "synapses")
        _check_int(where, "weight_exp", self.weight_exp, 0, WEIGHT_EXP_MAX)
        _check_int(where, "delay", self.delay, 1, DELAY_MAX)
        if not isinstance(self.sparse, bool | np.bool_):
            raise BadInput(f"{where}: sparse is {self.sparse!r}, not true or false")
        what = "mixed-sign weights are even"
        structured = isinstance(self.weight, Conv | Sparse)
        given = w.values(self.weight)
        numbers = _integers(where, "weight", given, None, WEIGHT_MIN, WEIGHT_MAX, what, np.int16)
        if not structured and numbers.ndim != 2:
            raise BadInput(f"{where}: weight has shape {list(numbers.shape)}, not [target, source]")
        odd = (numbers & (WEIGHT_STEP - 1)) != 0
        if odd.any():
            index = tuple(int(i) for i in np.argwhere(odd)[0])
            place = ", ".join(map(str, index))
            raise BadInput(f"{where}: weight[{place}] is {numbers[index]}; {what}")
        numbers.setflags(write=False)
        object.__setattr__(self, "weight", _checked_form(where, self.weight, numbers))
        object.__setattr__(self, "sparse", isinstance(self.weight, Sparse) or bool(self.sparse))

    @property
    def layout(self) -> Layout:
        """How synaptic memory holds the synapses.

        `dense`: lists of all targets. `sparse`: lists of the targets with a weight. `conv`: lists that sources share.
        """
        return "conv" if isinstance(self.weight, Conv) else "sparse" if self.sparse else "dense"

    @property
    def stored(self) -> int:
        """The number of synapses in the lists: with the zero weights, unless the layout is sparse."""
        if self.layout == "sparse":
            return int(np.count_nonzero(w.values(self.weight)))
        return w.count(self.weight)


@dataclass(frozen=True)
class Roles:
    """The populations of a program that have a special role, by name. The program's metadata states them.

    Attributes:
        outputs: populations that are read from outside.
        relays: populations that only make a delay longer.
    """

    outputs: tuple[str, ...] = ()
    relays: tuple[str, ...] = ()

    @classmethod
    def read(cls, metadata: Mapping[str, Any]) -> Roles:
        """Read the roles from metadata. A role without an entry has no population.

        Raises:
            BadInput: an entry is not a list of names.
        """
        found = {}
        for role in ("outputs", "relays"):
            names = metadata.get(role, [])
            if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
                raise BadInput(f"program: {role} of the metadata are {names!r:.60}; expected a list of populations")
            found[role] = tuple(names)
        return cls(**found)

    def to_metadata(self) -> dict[str, list[str]]:
        """The entries of metadata that `read` reads."""
        return {"outputs": list(self.outputs), "relays": list(self.relays)}


@dataclass(frozen=True, eq=False)
class Program:
    """What a chip is loaded with. Two programs are the same if their `digest`s are.

    Args:
        chip: the name of the chip that the integers were made for.
        dt_s: the time that a tick stands for in the network, in seconds.
        populations: in order, with unique names.
        synapses: with unique names. Their sources and targets are populations.
        core_xy: int32 `[cores, 2]`, the place (x, y) of each core on the mesh. The cores of a tile share a place.
        metadata: a JSON-able dict. `roles` reads its entries `outputs` and `relays`.

    Raises:
        BadInput: a name is doubled; synapses name an unknown population; a shape does not fit its populations;
            a core has no place.
    """

    chip: str
    dt_s: float
    populations: Sequence[ChipPopulation]
    synapses: Sequence[ChipSynapses]
    core_xy: npt.NDArray[np.int32]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_name(self.chip, "chip")
        object.__setattr__(self, "dt_s", seconds("program: dt_s", self.dt_s))
        for what, kind in (("populations", ChipPopulation), ("synapses", ChipSynapses)):
            given = listed(f"program: {what}", getattr(self, what), f"a list of {kind.__name__}")
            entries = tuple(instance(f"program: one of the {what}", one, kind, f"a {kind.__name__}") for one in given)
            object.__setattr__(self, what, entries)
        by_name = {p.name: p for p in self.populations}
        if not by_name:
            raise BadInput("program: no populations; at least one is needed")
        _check_unique("population", [p.name for p in self.populations])
        _check_unique("synapses", [s.name for s in self.synapses])
        for s in self.synapses:
            _check_ends(s, by_name)
        deepest = max(self.populations, key=lambda p: p.level)
        if deepest.level > (most := DELAY_MAX * len(by_name)):
            raise BadInput(
                f"population {deepest.name!r}: level is {deepest.level}; no path through {len(by_name)} populations is "
                f"longer than {most} ticks"
            )
        xy = _integers("program", "core_xy", self.core_xy, None, 0, 2**15 - 1, "mesh coordinates count from 0")
        if xy.ndim != 2 or xy.shape[1] != 2:
            raise BadInput(f"program: core_xy has shape {list(xy.shape)}, not [cores, 2]")
        if len(xy) > MOST_CORES:
            raise BadInput(f"program: core_xy lists {len(xy)} cores, expected at most {MOST_CORES}")
        for p in self.populations:
            if p.core.max() >= len(xy):
                raise BadInput(
                    f"population {p.name!r}: core {p.core.max()} has no place; core_xy lists {len(xy)} cores"
                )
        _freeze(self, "core_xy", xy)
        object.__setattr__(self, "metadata", _json_copy(self.metadata))

    def population(self, name: str) -> ChipPopulation:
        """The population called `name`. KeyError if there is none."""
        return self._by_name[name]

    def ideal_delay(self, synapses: ChipSynapses) -> int:
        """The delay of synapses in ideal time, in ticks (see `ChipPopulation.level`)."""
        source, target = self.population(synapses.source), self.population(synapses.target)
        return int(synapses.delay + source.level - target.level)

    @functools.cached_property
    def _by_name(self) -> dict[str, ChipPopulation]:
        return {p.name: p for p in self.populations}

    @functools.cached_property
    def roles(self) -> Roles:
        """The populations that are outputs, and those that are relays, as the metadata says.

        Raises:
            BadInput: an entry is not a list of names, or names no population.
        """
        roles = Roles.read(self.metadata)
        for role, names in roles.to_metadata().items():
            if strange := [name for name in names if name not in self._by_name]:
                raise BadInput(
                    f"program: {role} of the metadata name {strange[0]!r}; there are {', '.join(self._by_name)}"
                )
        return roles

    @property
    def inputs(self) -> tuple[ChipPopulation, ...]:
        """The populations that the host drives, in order."""
        return tuple(p for p in self.populations if p.kind == "input")

    @property
    def readouts(self) -> tuple[ChipPopulation, ...]:
        """The populations whose membrane the host reads, in order."""
        return tuple(p for p in self.populations if p.kind == "li")

    @property
    def n_neurons(self) -> int:
        """The number of neurons on the chip. Inputs are not on the chip."""
        return sum(p.size for p in self.populations if p.kind != "input")

    @property
    def n_synapses(self) -> int:
        """The number of synapses in the lists of synaptic memory: see `ChipSynapses.stored`."""
        return sum(s.stored for s in self.synapses)

    @property
    def n_cores(self) -> int:
        """The number of cores that the program takes."""
        return len(self.core_xy)

    @property
    def max_delay(self) -> int:
        """The longest delay of a synapse, in chip ticks; 0 if there are no synapses."""
        return max((s.delay for s in self.synapses), default=0)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the whole content, in hexadecimal."""
        return _digest(self._header(), self._arrays())

    def _header(self) -> dict[str, Any]:
        graded = any(p.graded_bits for p in self.populations)
        return {
            "format": FORMAT,
            "version": VERSION if graded else _BEFORE_GRADED,
            "chip": self.chip,
            "dt_s": self.dt_s,
            "populations": [
                {
                    "name": p.name,
                    "size": int(p.size),
                    "kind": p.kind,
                    "level": int(p.level),
                    "reset_interval": int(p.reset_interval),
                    "reset_offset": int(p.reset_offset),
                    **({"graded_bits": int(p.graded_bits)} if graded else {}),
                }
                for p in self.populations
            ],
            "synapses": [
                {
                    "name": s.name,
                    "source": s.source,
                    "target": s.target,
                    "weight_exp": int(s.weight_exp),
                    "delay": int(s.delay),
                    "sparse": s.sparse,
                    **_form(s.weight),
                }
                for s in self.synapses
            ],
            "metadata": self.metadata,
        }

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {
            name: np.concatenate([getattr(p, name) for p in self.populations]) for name in _NEURON_ARRAYS
        }
        arrays["core_xy"] = self.core_xy
        for i, s in enumerate(self.synapses):
            arrays[f"weight_{i}"] = w.values(s.weight)
            if isinstance(s.weight, Sparse):
                arrays |= {f"starts_{i}": s.weight.starts, f"targets_{i}": s.weight.targets}
        return arrays

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the program as an `.npz` file.

        The file holds `header`, JSON as UTF-8 bytes, and arrays. Each per-neuron array runs over all populations in
        their order. `weight_<i>` holds the numbers of synapses i: the matrix of a dense form, the values of a sparse
        form (`starts_<i>` and `targets_<i>` say where they belong, see `weights.Sparse`), or the kernel of a
        convolution, whose geometry is in the header. The header also holds the digest of everything else. A program
        without graded inputs is written in version 2 of the format, which does not know them.

        Raises:
            Failed: the disk refuses the write.
        """
        path = path_of("Program.save: path", path)
        header = self._header() | {"digest": self.digest}
        text = np.frombuffer(json.dumps(header, allow_nan=False).encode(), dtype=np.uint8)
        with write_whole(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, header=text, **self._arrays())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Program:
        """Read a program that `save` wrote, and check it as if it were new.

        Raises:
            BadInput: there is no such file; the file is no program, is of another version, is damaged, or breaks a
                range.
        """
        check_file(path_of("Program.load: path", path))
        try:
            arrays = _read_members(Path(path))
            header = _parse_header(arrays.pop("header"))
            digest = header.pop("digest")
            program = _build(header, arrays)
        except BadInput as error:
            raise BadInput(named(path, error)) from error
        except UNREADABLE as error:
            raise BadInput(named(path, f"damaged, or not a {FORMAT} (.npz): {one_line(error)}")) from error
        if program.digest != digest:
            raise BadInput(f"{path}: damaged: the digest of the content is {program.digest[:12]}, not {digest!r:.14}")
        return program


def _check_name(name: object, what: str) -> None:
    if not isinstance(name, str) or not name:
        raise refuse(f"{what}: the name", name, "a text of at least one character")


def _check_unique(what: str, names: list[str]) -> None:
    doubled = sorted(name for name, count in Counter(names).items() if count > 1)
    if doubled:
        raise BadInput(f"{what} {doubled[0]!r}: the name is taken {names.count(doubled[0])} times; names are unique")


def _check_int(where: str, name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise BadInput(f"{where}: {name} is {value!r}; it is an integer in {low}..{high}")


def _check_ends(s: ChipSynapses, populations: Mapping[str, ChipPopulation]) -> None:
    where = f"synapses {s.name!r}"
    for end in (s.source, s.target):
        if end not in populations:
            raise BadInput(f"{where}: no population is called {end!r}; there are {', '.join(populations)}")
    if populations[s.source].kind == "li":
        raise BadInput(f"{where}: the source {s.source!r} is a li population, which never spikes")
    if populations[s.target].kind == "input":
        raise BadInput(f"{where}: the target {s.target!r} is an input, which only the host drives")
    shape = (populations[s.target].size, populations[s.source].size)
    if s.weight.shape != shape:
        raise BadInput(f"{where}: weight has shape {list(s.weight.shape)}, not [target, source] = {list(shape)}")
    source, target = populations[s.source].level, populations[s.target].level
    if s.delay + source - target < 0:
        raise BadInput(
            f"{where}: a delay of {s.delay} from level {source} to level {target} is {s.delay + source - target} ticks "
            "of ideal time; expected at least 0"
        )


def _form(weight: Weights) -> dict[str, Any]:
    if isinstance(weight, Conv):
        return {"form": "conv", "geometry": {name: _plain(getattr(weight, name)) for name in _GEOMETRY}}
    return {"form": "sparse", "shape": list(weight.shape)} if isinstance(weight, Sparse) else {"form": "dense"}


def _plain(value: int | tuple[int, ...]) -> int | list[int]:
    return [int(n) for n in value] if isinstance(value, tuple) else int(value)


def _formed(header: dict[str, Any], i: int, arrays: Mapping[str, npt.NDArray[Any]]) -> Weights:
    """The weight of synapses i. Removes the entries that describe it from `header`, the header of these synapses."""
    form, numbers = header.pop("form"), arrays[f"weight_{i}"]
    if form == "conv":
        geometry: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in header.pop("geometry").items()
        }
        return Conv(numbers, **geometry)
    if form == "sparse":
        return Sparse(arrays[f"starts_{i}"], arrays[f"targets_{i}"], numbers, tuple(header.pop("shape")))
    return numbers


def _checked_form(where: str, weight: Weights, numbers: npt.NDArray[np.int16]) -> Weights:
    """The weight with `numbers`, after a check of its geometry or of the places of its synapses."""
    if isinstance(weight, Conv):
        _check_geometry(where, weight)
        return replace(weight, kernel=numbers)
    if not isinstance(weight, Sparse):
        return numbers
    if len(weight.shape) != 2:
        raise BadInput(f"{where}: shape is {weight.shape}, not (targets, sources)")
    for name, size in zip(("targets", "sources"), weight.shape, strict=True):
        _check_int(where, f"the number of {name}", size, 1, 2**31 - 1)
    n = numbers.size
    starts = _integers(
        where, "starts", weight.starts, (weight.shape[1] + 1,), 0, n, "a place in the list of synapses", np.int64
    )
    targets = _integers(where, "targets", weight.targets, (n,), 0, weight.shape[0] - 1, "the number of a target")
    if numbers.ndim != 1 or starts[0] != 0 or starts[-1] != n or (np.diff(starts) < 0).any():
        raise BadInput(f"{where}: starts do not run from 0 to its {n} synapses without falling")
    inside = np.ones(n, bool)
    inside[starts[:-1][starts[:-1] < n]] = False  # between two sources, targets may fall
    if (np.diff(targets)[inside[1:]] <= 0).any():
        raise BadInput(f"{where}: the targets of a source do not rise")
    for array in (starts, targets):
        array.setflags(write=False)
    return Sparse(starts, targets, numbers, (int(weight.shape[0]), int(weight.shape[1])))


def _check_geometry(where: str, conv: Conv) -> None:
    axes = {"input_shape": (3, 1), "output_shape": (3, 1), "stride": (2, 1), "padding": (2, 0), "dilation": (2, 1)}
    for name, (length, low) in axes.items():
        value = getattr(conv, name)
        if not isinstance(value, tuple) or len(value) != length:
            raise BadInput(f"{where}: {name} is {value!r}, not {length} numbers")
        for n in value:
            _check_int(where, name, n, low, 2**31 - 1)
    _check_int(where, "groups", conv.groups, 1, 2**31 - 1)
    c_out, c_in, shape = conv.output_shape[0], conv.input_shape[0], np.shape(conv.kernel)
    if c_out % conv.groups or c_in % conv.groups:
        raise BadInput(f"{where}: {c_in} channels to {c_out} do not divide into {conv.groups} groups")
    if len(shape) != 4 or shape[:2] != (c_out, c_in // conv.groups) or 0 in shape:
        raise BadInput(
            f"{where}: weight has shape {list(shape)}, not [c_out, c_in / groups, k_y, k_x] = "
            f"[{c_out}, {c_in // conv.groups}, k_y, k_x]"
        )


def _integers(
    where: str,
    name: str,
    value: npt.ArrayLike,
    shape: tuple[int, ...] | None,
    low: int,
    high: int,
    what: str,
    dtype: npt.DTypeLike = np.int32,
) -> npt.NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:  # rows of unequal length
        raise refuse(f"{where}: {name}", value, "an array of integers") from error
    if array.dtype.kind not in "iu":
        raise BadInput(f"{where}: {name} has dtype {array.dtype}, not integers")
    if shape is not None and array.shape != shape:
        raise BadInput(f"{where}: {name} has shape {list(array.shape)}, not {list(shape)}")
    if array.size and not (low <= array.min() and array.max() <= high):
        index = np.argwhere((array < low) | (array > high))[0]
        place = ", ".join(str(i) for i in index)
        raise BadInput(f"{where}: {name}[{place}] is {array[tuple(index)]}, not in {low}..{high} ({what})")
    return np.array(array, dtype=dtype, order="C")


def _freeze(owner: object, name: str, array: npt.NDArray[Any]) -> None:
    array.setflags(write=False)
    object.__setattr__(owner, name, array)


def _json_copy(metadata: Mapping[str, Any]) -> dict[str, Any]:
    try:
        copy = json.loads(json.dumps(metadata, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise BadInput(f"program: metadata is not JSON-able: {one_line(error)}") from error
    if not isinstance(copy, dict):
        raise BadInput(f"program: metadata is a {type(metadata).__name__}, not a dict")
    return copy


def _digest(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True, allow_nan=False).encode())
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _read_members(path: Path) -> dict[str, npt.NDArray[Any]]:
    # np.load would allocate whatever a damaged or hostile array header asks for. Here, members are uncompressed, so no
    # member is larger than the file, and each array must be exactly as large as its member.
    try:
        file = path.open("rb")
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}") from error
    arrays: dict[str, npt.NDArray[Any]] = {}
    with file, zipfile.ZipFile(file) as archive:
        size = path.stat().st_size
        if sum(info.file_size for info in archive.infolist()) > size:
            raise BadInput("damaged, or not written by muspike: its arrays are larger than the file")
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if info.compress_type != zipfile.ZIP_STORED or name in arrays:
                raise BadInput(f"not written by muspike: member {info.filename!r} is compressed or doubled")
            arrays[name] = read_array(archive.read(info))
    if "header" not in arrays:
        raise BadInput(f"not a {FORMAT}: it has no header")
    return arrays


def _parse_header(raw: npt.NDArray[Any]) -> dict[str, Any]:
    try:
        header = json.loads(raw.tobytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not a {FORMAT}: the header is not JSON: {one_line(error)}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise BadInput(f"not a {FORMAT}: the header does not say so")
    if type(header.get("version")) is not int or header["version"] not in VERSIONS:
        known = " and ".join(map(str, VERSIONS))
        raise BadInput(f"version {header.get('version')!r} of the format; this muspike reads versions {known}")
    if header["version"] == _BEFORE_GRADED and any(p.get("graded_bits") for p in header.get("populations", [])):
        raise BadInput(f"damaged: graded inputs in version {_BEFORE_GRADED} of the format, which has none")
    return header


def _build(header: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Program:
    expected = {*_NEURON_ARRAYS, "core_xy"}
    for i, s in enumerate(header["synapses"]):
        expected |= {
            f"{name}_{i}" for name in (("weight", "starts", "targets") if s["form"] == "sparse" else ("weight",))
        }
    if set(arrays) != expected:
        odd = sorted(set(arrays) ^ expected)
        raise BadInput(f"damaged: array {odd[0]!r} is missing or unexpected")
    sizes = [p["size"] for p in header["populations"]]
    for name in _NEURON_ARRAYS:
        if not all(isinstance(n, int) and n > 0 for n in sizes) or arrays[name].shape != (sum(sizes),):
            raise BadInput(f"damaged: {name} has shape {list(arrays[name].shape)}, the populations have sizes {sizes}")
    parts = {name: np.split(arrays[name], np.cumsum(sizes)[:-1]) for name in _NEURON_ARRAYS}
    return Program(
        chip=header["chip"],
        dt_s=header["dt_s"],
        populations=[
            ChipPopulation(**(p | {name: parts[name][i] for name in _NEURON_ARRAYS}))
            for i, p in enumerate(header["populations"])
        ],
        synapses=[ChipSynapses(weight=_formed(s, i, arrays), **s) for i, s in enumerate(map(dict, header["synapses"]))],
        core_xy=arrays["core_xy"],
        metadata=header["metadata"],
    )
