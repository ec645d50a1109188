"""Spikes for the inputs of a network: read from files, drawn at random, and written to files.

The first bytes of a file tell its format. If a network has one input and the file has one set of spikes, their names
may differ.

- `.npz`, dense: an array per input, by the input's name: `[ticks, size]`, `[ticks, batch, size]`, or with the input's
  own shape at the end (`[ticks, batch, c, y, x]`); 0 and 1, of any type.
- `.npz`, events: per input `<input>.tick` (integers from 0) or `<input>.time` (seconds); `<input>.neuron`, counted in C
  order; and `<input>.sequence`, if there are several sequences. The numbers `ticks` and `sequences` say how many there
  are if the last event does not.
- `.npy`, dense: the spikes of the one input.
- `.npy`, structured: events of a sensor as tonic has them, with fields `t` (microseconds), `x`, `y` and `p`, for an
  input of shape (p, y, x).
- NIR data (HDF5), as `nir.write_data` writes it: by the name of the Input node, the observable `spikes`, or the only
  observable.

A neuron spikes at most once in a tick. Where several events lie in one tick of a neuron, `InputSpikes.counts` holds how
many. Arrays that hold counts are refused, unless the caller asks for counts.

A number `dt_s` in an `.npz` gives the length of its ticks in seconds. Arrays and nodes that nobody reads are named in a
note.

Labels, the right class of each sequence, are whole numbers `[sequences]` in a `.npy`, or an array of an `.npz`.
"""

from __future__ import annotations

import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import numpy.typing as npt

from muspike.arguments import mapping, number, refuse, seconds, whole
from muspike.arguments import path as path_of
from muspike.errors import BadInput, one_line
from muspike.files import check_file, write_whole
from muspike.hardware.npz import UNREADABLE, read_array
from muspike.hardware.reader.file import read_nir_data
from muspike.hardware.reader.node import TICK_TOLERANCE
from muspike.hardware.readings import MOST_SPIKES
from muspike.hardware.running.merged import Merged, What
from muspike.hardware.running.tick_lengths import TickLengths, tick_lengths

Array = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Spikes = npt.NDArray[np.uint8]
Counts = npt.NDArray[np.uint16]
Shape = tuple[int, ...]

LARGEST_BYTES = 2**31
"""The most bytes of one array in a file, and of all its spikes. A larger file is refused before memory is taken."""

# A time so near to the start of a tick (in ticks) counts as in that tick: times and dt in files are often float32.
_NEAR = 0.01
_MICROSECONDS = 1e6
_AT_ONCE = 1 << 20  # random numbers held at a time
_ZIP, _NPY, _HDF5 = b"PK", b"\x93NUMPY", b"\x89HDF\r\n\x1a\n"
_EVENT_FIELDS = ("tick", "time", "neuron", "sequence")
_NUMBERS = ("ticks", "sequences", "dt_s")
_LABELS = ("labels", "y")
_MOST_NAMES = 8  # printed in one sentence
_BINARY = "spikes are 0 or 1 (counts need graded inputs, --graded)"
_Values = Callable[[str, Array], Spikes | Counts]  # checks the values of an array of that name


@dataclass(frozen=True, eq=False)
class InputSpikes:
    """Spikes for every input of a network.

    Attributes:
        ticks: number of ticks.
        batch: number of sequences.
        spikes: uint8 `[ticks, batch, size]` by input.
        notes: what reading changed, in sentences for people.
        counts: uint16 `[ticks, batch, size]` by input, for every input: how many events lie in each tick of each
            neuron. A count above 1 is one spike in `spikes`. None: no count is above 1.
        merged: what each input loses so. Empty if `counts` is None.
    """

    ticks: int
    batch: int
    spikes: Mapping[str, Spikes]
    notes: tuple[str, ...] = ()
    counts: Mapping[str, Counts] | None = None
    merged: tuple[Merged, ...] = ()


def read_spikes(
    path: str | os.PathLike[str],
    shapes: Mapping[str, int | Sequence[int]],
    dt_s: float,
    ticks: int | None = None,
    *,
    besides: Collection[str] = (),
    counts: bool = False,
) -> InputSpikes:
    """Read spikes for the inputs of a network from a file in one of the formats above.

    >>> import numpy as np
    >>> from muspike.hardware import read_spikes
    >>> np.savez("spikes.npz", input=np.eye(10, 2))
    >>> read_spikes("spikes.npz", {"input": (2,)}, dt_s=1e-3).ticks
    10

    Args:
        path: the file.
        shapes: the size or shape of each input, by name.
        dt_s: seconds per tick of the network. If the file has other ticks, its spikes are moved to the network's ticks;
            each must fall on one. An event falls into the tick in which its time lies.
        ticks: number of ticks to give. A longer file is cut; a shorter one is continued with silence. None: all ticks
            of the file.
        besides: arrays of an `.npz` that the caller reads for other ends, such as labels. They are no spikes.
        counts: whether arrays, and the values of NIR events, may hold whole numbers above 1. They become one spike, and
            stand in `InputSpikes.counts`. False: they are refused. Events that meet in one tick are counted always.

    Raises:
        BadInput: the file does not exist, is of none of the formats, damaged or too large; an input is missing; a
            shape, an index, a time or a value (other than 0 and 1) is wrong; more than `MOST_SPIKES` events lie in one
            tick of a neuron; or an argument is out of its range.
        Failed: NIR data could not be read (`read_nir_data`).
    """
    file = Path(path_of("read_spikes: path", path))
    wanted = _shapes("read_spikes", shapes)
    dt_s = seconds("read_spikes: dt_s", dt_s)
    if ticks is not None:
        ticks = whole("read_spikes: ticks", ticks, 1)
    if not wanted:
        raise BadInput(f"{path}: the network has no input to give spikes to")
    check_file(file)
    with file.open("rb") as opened:
        magic = opened.read(8)
    recordings = read_nir_data(path) if magic == _HDF5 else None  # its errors name the file
    notes: list[str] = []
    values = _counted if counts else _binary
    try:
        if recordings is not None:
            found = _nir_recordings(recordings, wanted, dt_s, values, notes)
        elif magic.startswith(_NPY):
            found = _read_npy(file, wanted, dt_s, values)
        elif magic.startswith(_ZIP):
            found = _read_npz(file, wanted, dt_s, values, besides, notes)
        else:
            raise BadInput("neither an .npz or .npy file nor NIR data (HDF5)")
        read = _together(found, wanted, ticks, dt_s)
        return replace(read, notes=(*read.notes, *notes))
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise BadInput(f"{path}: damaged: {one_line(error)}") from error


def random_spikes(shapes: Mapping[str, int | Sequence[int]], rate: float, ticks: int, seed: int) -> InputSpikes:
    """One sequence of independent random spikes: each neuron spikes in each tick with probability `rate`.

    >>> from muspike.hardware import random_spikes
    >>> random_spikes({"input": (2,)}, rate=0.5, ticks=10, seed=0).spikes["input"].shape  # [ticks, batch, size]
    (10, 1, 2)

    Args:
        shapes: the size or shape of each input, by name.
        rate: from 0 to 1.
        ticks: number of ticks, at least 1.
        seed: a whole number from 0; the same seed gives the same spikes.

    Raises:
        BadInput: there is no input, the spikes would take more than `LARGEST_BYTES`, or an argument is out of its
            range.
    """
    sizes = {name: math.prod(shape) for name, shape in _shapes("random_spikes", shapes).items()}
    rate = number("random_spikes: rate", rate, "spikes per neuron and tick, from 0 to 1", 0, 1)
    ticks, seed = whole("random_spikes: ticks", ticks, 1), whole("random_spikes: seed", seed, 0)
    if not sizes:
        raise BadInput("the network has no input to give spikes to")
    _check_bytes(ticks, 1, sum(sizes.values()))
    rng = np.random.default_rng(seed)
    spikes = {name: np.empty((ticks, 1, size), np.uint8) for name, size in sizes.items()}
    for fired in spikes.values():
        flat = fired.reshape(-1)
        for start in range(0, flat.size, _AT_ONCE):
            part = flat[start : start + _AT_ONCE]
            part[:] = rng.random(part.size, np.float32) < rate
    return InputSpikes(ticks, 1, spikes)


def read_labels(file: str | os.PathLike[str], array: str | None = None) -> tuple[Integers, str | None]:
    """Read labels: the right class of each sequence, counted from 0.

    >>> import numpy as np
    >>> from muspike.hardware import read_labels
    >>> np.savez("spikes.npz", input=np.ones((10, 3, 2)), y=[1, 0, 1])
    >>> read_labels("spikes.npz", "y")[0]
    array([1, 0, 1])

    Args:
        file: a `.npy`, or an `.npz`.
        array: the array of the `.npz`; None: its array called `labels` or `y`, or its only array.

    Returns:
        The labels, int64 `[sequences]`, and the name of the array of the `.npz`; None: the file is a `.npy`.

    Raises:
        BadInput: the file cannot be read, has no such array, or the array is not whole numbers from 0, one for each
            sequence.
    """
    path = Path(file)
    check_file(path)
    with path.open("rb") as opened:
        magic = opened.read(8)
    try:
        if magic.startswith(_ZIP):
            with zipfile.ZipFile(path) as archive:
                opened_archive = _Archive(archive)
                array = _name_of_labels(opened_archive.names, array)
                labels = opened_archive[array]
        elif array is not None:
            raise BadInput(f"is no .npz, so it has no array {array!r}")
        elif not magic.startswith(_NPY):
            raise BadInput("labels are whole numbers [sequences] in a .npy, or an array of an .npz")
        elif path.stat().st_size > LARGEST_BYTES:
            raise BadInput(f"{path.stat().st_size:,} bytes; at most {LARGEST_BYTES:,} are read")
        else:
            labels = read_array(path.read_bytes())
        where = "the array" if array is None else f"array {array!r}"
        if labels.ndim != 1:
            raise BadInput(f"{where} has shape {list(labels.shape)}; labels are [sequences], a class for each")
        return _indices(where, labels, None, "a class, counted from 0"), array
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    except UNREADABLE as error:
        raise BadInput(f"{path}: damaged: {one_line(error)}") from error


def _name_of_labels(names: Sequence[str], wanted: str | None) -> str:
    only = names if len(names) == 1 else ()
    for name in (*_LABELS, *only) if wanted is None else (wanted,):
        if name in names:
            return name
    what = f"no array {wanted!r}" if wanted is not None else f"no array {' or '.join(map(repr, _LABELS))}"
    raise BadInput(f"{what} for the labels; there are {_first(names)}")


def write_spikes(
    path: str | os.PathLike[str],
    spikes: Mapping[str, Array],
    events: bool = False,
    dt_s: float | None = None,
    more: Mapping[str, npt.ArrayLike] | None = None,
) -> None:
    """Write spikes to an `.npz` file, dense or as events. `read_spikes` reads both.

    >>> import numpy as np
    >>> from muspike.hardware import read_spikes, write_spikes
    >>> write_spikes("spikes.npz", {"input": np.ones((10, 1, 2), np.uint8)}, events=True, dt_s=1e-3)
    >>> read_spikes("spikes.npz", {"input": (2,)}, dt_s=1e-3).batch
    1

    Args:
        path: the file.
        spikes: 0 or 1, `[ticks, batch, size]` by population; or uint16, which are counts of events.
        events: whether to write events instead of dense arrays.
        dt_s: seconds per tick; None: not written.
        more: further arrays by name, which reading spikes ignores.

    Raises:
        BadInput: two arrays would have the same name; a shape, a value other than 0 and 1 (but for counts), or `dt_s`
            is wrong.
        Failed: the disk refuses the write.
    """
    path = path_of("write_spikes: path", path)
    if dt_s is not None:
        dt_s = seconds("write_spikes: dt_s", dt_s)
    spikes = _written(mapping("write_spikes: spikes", spikes, "a dict of arrays [ticks, batch, size] by name"))
    arrays: list[tuple[str, npt.ArrayLike]] = [] if dt_s is None else [("dt_s", dt_s)]
    if events:
        ticks, batch = next(iter(spikes.values())).shape[:2] if spikes else (0, 0)
        arrays += [("ticks", ticks), ("sequences", batch)]
        for name, fired in spikes.items():
            places = zip(("tick", "sequence", "neuron"), np.nonzero(fired), strict=True)
            times = fired[fired != 0]  # a count is as many events
            arrays += [(f"{name}.{field}", np.repeat(where.astype(np.int64), times)) for field, where in places]
    else:
        arrays += spikes.items()
    arrays += mapping("write_spikes: more", {} if more is None else more, "a dict of arrays by name").items()
    taken = Counter(name for name, _ in arrays)
    if doubled := [name for name, count in taken.items() if count > 1]:
        raise BadInput(
            f"{path}: two arrays would be called {doubled[0]!r}; a population has the name of what is beside"
        )
    # np.savez cannot be used: its first argument is called `file`, which may also be the name of a population.
    with write_whole(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in arrays:
            with file.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)


def _shapes(where: str, shapes: Mapping[str, int | Sequence[int]]) -> dict[str, Shape]:
    """The shape of each input, checked. A size is a shape of one axis."""
    found = {}
    for name, shape in mapping(
        f"{where}: shapes", shapes, "a dict of shapes by name, as input_shapes gives it"
    ).items():
        what, axes = f"{where}: the shape of {name!r}", (shape,) if isinstance(shape, int | np.integer) else shape
        if not isinstance(axes, Sequence) or isinstance(axes, str | bytes) or not axes:
            raise refuse(what, shape, "a size, or a tuple of sizes")
        found[name] = tuple(whole(what, size, 1) for size in axes)
    return found


def _written(spikes: Mapping[str, Array]) -> dict[str, Array]:
    """Spikes of one length and batch: each 0 or 1, as uint8, or a count, as uint16."""
    found: dict[str, Array] = {}
    for name, fired in spikes.items():
        try:
            array = np.asarray(fired)
        except ValueError as error:  # lists of unequal length
            raise refuse(f"spikes of {name!r}", fired, "an array [ticks, batch, size]") from error
        if array.ndim != 3:
            raise BadInput(f"spikes of {name!r} have shape {list(array.shape)}; expected [ticks, batch, size]")
        found[name] = array if array.dtype == np.uint16 else _binary(f"spikes of {name!r}: ", array)
        first = next(iter(found.values()))
        if array.shape[:2] != first.shape[:2]:
            raise BadInput(
                f"spikes of {name!r} have shape {list(array.shape)}; expected the ticks and the batch of "
                f"{next(iter(found))!r}, {list(first.shape[:2])}"
            )
    return found


# --- what was read, on the ticks of the network -----------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Dense:
    """Spikes, or counts, `array` `[ticks, batch, size]`. Each of its ticks is `every` ticks of the network."""

    array: Spikes | Counts
    every: int = 1
    notes: tuple[str, ...] = ()

    @property
    def ticks(self) -> int:
        return len(self.array) * self.every

    @property
    def sequences(self) -> int:
        return int(self.array.shape[1])

    def put(self, name: str, out: Spikes, dt_s: float) -> _Put:
        kept = -(-len(out) // self.every)
        given = self.array[:kept]
        out[: self.ticks : self.every] = given != 0
        notes = list(self.notes)
        lost = int(self.array[kept:].sum(dtype=np.int64))
        if lost:
            notes.append(_cut(name, lost, len(out)))
        if given.max(initial=0) <= 1:
            return _Put(notes)
        counts = np.zeros(out.shape, np.uint16)
        counts[: self.ticks : self.every] = given
        return _Put(notes, counts, "counts")


@dataclass(frozen=True, eq=False)
class _Events:
    """Spikes as events: each entry of `tick`, `sequence` and `neuron` is a spike, in a run of at least `ticks`.

    `value` is how many events each entry stands for; None: one. `time_s` is its time in seconds; None: the file gives
    ticks.
    """

    tick: Integers
    sequence: Integers
    neuron: Integers
    ticks: int
    sequences: int
    notes: tuple[str, ...] = ()
    value: Integers | None = None
    time_s: Doubles | None = None

    def put(self, name: str, out: Spikes, dt_s: float) -> _Put:
        inside = self.tick < len(out)
        place = np.ravel_multi_index((self.tick[inside], self.sequence[inside], self.neuron[inside]), out.shape)
        value = np.ones(len(self.tick), np.int64) if self.value is None else self.value
        lost = int(value[~inside].sum())
        flat = out.reshape(-1)
        flat[place[value[inside] > 0]] = 1
        merged = int(value[inside].sum()) - int(np.count_nonzero(out))
        notes = list(self.notes)
        if lost:
            notes.append(_cut(name, lost, len(out)))
        if not merged:
            return _Put(notes)
        counts = _count_at(name, place, value[inside], out.shape)
        if self.time_s is None:
            return _Put(notes, counts)
        real = inside & (value > 0)
        lengths = tick_lengths(
            self.time_s[real],
            self.sequence[real],
            self.neuron[real],
            value[real],
            dt_s,
            lambda times, length: _ticks_of(name, times, length),
        )
        return _Put(notes, counts, lengths=lengths)


def _count_at(name: str, place: Integers, value: Integers, shape: Shape) -> Counts:
    """How many events there are at each flat index: `value` of them at each `place`, in an array of this shape."""
    places, which = np.unique(place, return_inverse=True)
    number = np.zeros(len(places), np.int64)
    np.add.at(number, which, value)
    if number.max(initial=0) > MOST_SPIKES:
        tick, _, neuron = np.unravel_index(int(places[number.argmax()]), shape)
        raise BadInput(
            f"{name}: {number.max():,} events of neuron {neuron} in tick {tick}; at most {MOST_SPIKES:,} are counted, "
            "so shorter ticks are needed"
        )
    counts = np.zeros(shape, np.uint16)
    counts.reshape(-1)[places] = number
    return counts


@dataclass(frozen=True, eq=False)
class _Put:
    """What became of a recording on the ticks of the network, beside its spikes.

    `counts` is uint16 `[ticks, batch, size]`, the events in each tick of each neuron; None: none is above 1. `lengths`
    are the ticks that would keep them apart; None: nobody knows.
    """

    notes: Sequence[str]
    counts: Counts | None = None
    what: What = "events"
    lengths: TickLengths | None = None


_Recording = _Dense | _Events


def _cut(name: str, lost: int, ticks: int) -> str:
    return f"{name}: {lost:,} spikes from tick {ticks:,} on are left out"


def _together(
    found: Mapping[str, _Recording], shapes: Mapping[str, Shape], ticks: int | None, dt_s: float
) -> InputSpikes:
    """The spikes of all inputs over the same ticks and sequences."""
    lasts, batch = max(r.ticks for r in found.values()), max(r.sequences for r in found.values())
    for name, recording in found.items():
        if isinstance(recording, _Dense) and (recording.ticks, recording.sequences) != (lasts, batch):
            raise BadInput(
                f"{name!r}: {recording.ticks} ticks of {recording.sequences} sequences, another input has "
                f"{lasts} of {batch}; all have equally many"
            )
    if not lasts or not batch:
        raise BadInput(f"{lasts} ticks of {batch} sequences; at least one of each is needed")
    length = ticks or lasts
    _check_bytes(length, batch, sum(math.prod(shape) for shape in shapes.values()))
    spikes: dict[str, Spikes] = {}
    counts: dict[str, Counts | None] = {}
    notes: list[str] = []
    merged: list[Merged] = []
    for name, shape in shapes.items():
        spikes[name] = np.zeros((length, batch, math.prod(shape)), np.uint8)
        put = found[name].put(name, spikes[name], dt_s)
        counts[name] = put.counts
        if put.counts is not None:
            merged.append(Merged.of(name, put.what, put.counts, dt_s, put.lengths))
        notes += put.notes
    if length > lasts:
        notes.append(f"{length - lasts:,} ticks of silence follow the {lasts:,} of the file")
    # Every input has counts, or none has.
    counted = {name: spikes[name].astype(np.uint16) if of is None else of for name, of in counts.items()}
    return InputSpikes(length, batch, spikes, tuple(notes), counted if merged else None, tuple(merged))


def _check_bytes(ticks: int, batch: int, size: int) -> None:
    if ticks * batch * size > LARGEST_BYTES:
        raise BadInput(
            f"{ticks:,} ticks x {batch:,} sequences x {size:,} neurons; at most {LARGEST_BYTES:,} spikes can be held"
        )


def _chosen(found: Mapping[str, Any], shapes: Mapping[str, Shape], what: str) -> dict[str, Any]:
    """For each input the entry of its name; if the network has one input and there is one entry, that entry."""
    if len(shapes) == 1 and len(found) == 1:
        return dict(zip(shapes, found.values(), strict=True))
    for name in shapes:
        if name not in found:
            raise BadInput(f"no {what} for the input {name!r}; there are {_first(sorted(found))}")
    return {name: found[name] for name in shapes}


def _first(names: Sequence[str]) -> str:
    """The first few of the names, in one line."""
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return (", ".join(map(repr, names[:_MOST_NAMES])) or "none") + more


# --- the formats ------------------------------------------------------------------------------------------------


class _Archive:
    """An `.npz` file, compressed or not. Each array is read when it is asked for.

    Attributes:
        read: the names of the arrays that were asked for and of use.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if len(self._members) < len(archive.infolist()):
            raise BadInput("damaged: it holds two arrays of one name")
        self.read: set[str] = set()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._members)

    def __getitem__(self, name: str) -> Array:
        self.read.add(name)
        info = self._members[name]
        if info.file_size > LARGEST_BYTES:
            raise BadInput(f"array {name!r}: {info.file_size:,} bytes; at most {LARGEST_BYTES:,} are read")
        try:
            with self._archive.open(info) as member:
                return read_array(member.read(info.file_size))
        except BadInput as error:
            raise BadInput(f"array {name!r}: {error}") from error
        except NotImplementedError as error:
            raise BadInput(f"array {name!r}: is compressed in a way that Python does not know") from error

    def number(self, name: str) -> Array | None:
        """The array called `name` if it is there and is a single number; else None."""
        if name not in self._members:
            return None
        known, array = name in self.read, self[name]
        if array.ndim == 0:
            return array
        if not known:
            self.read.remove(name)
        return None


def _read_npz(
    path: Path,
    shapes: Mapping[str, Shape],
    dt_s: float,
    values: _Values,
    besides: Collection[str],
    notes: list[str],
) -> dict[str, _Recording]:
    with zipfile.ZipFile(path) as opened:
        archive = _Archive(opened)
        of: dict[str, list[str]] = {}
        for member in archive.names:
            head, _, tail = member.rpartition(".")
            is_event = tail in _EVENT_FIELDS and member not in shapes
            if member in besides and member not in shapes:
                continue
            if is_event or member not in _NUMBERS or member in shapes:
                of.setdefault(head if is_event else member, []).append(member)
        given_dt = archive.number("dt_s")
        if given_dt is not None and given_dt.dtype.kind not in "fiu":
            raise BadInput(f"array 'dt_s' is of {given_dt.dtype}; it is a number of seconds")
        dt = None if given_dt is None else float(given_dt)
        found: dict[str, _Recording] = {
            name: _dense(f"array {members[0]!r}", archive[members[0]], shapes[name], dt, dt_s, values)
            if members == [key]
            else _npz_events(archive, key, math.prod(shapes[name]), dt, dt_s)
            for name, (key, members) in _chosen({k: (k, m) for k, m in of.items()}, shapes, "spikes").items()
        }
        notes += _unread("array", [name for name in archive.names if name not in archive.read | set(besides)])
        return found


def _unread(what: str, names: Sequence[str]) -> Iterable[str]:
    if names:
        its = "its" if len(names) == 1 else "their"
        yield f"not read, because no input has {its} name: {what}{'s' if len(names) > 1 else ''} {_first(names)}"


def _npz_events(archive: _Archive, key: str, size: int, given_dt: float | None, dt_s: float) -> _Events:
    prefix = f"{key}." if key else ""
    there = [field for field in _EVENT_FIELDS if f"{prefix}{field}" in archive.names]
    if "neuron" not in there or ("tick" in there) == ("time" in there):
        raise BadInput(
            f"events of {key!r}: there are {', '.join(prefix + f for f in there)}; "
            f"wanted are {prefix}neuron and one of {prefix}tick and {prefix}time"
        )
    arrays = {field: archive[f"{prefix}{field}"] for field in there}
    sequence = arrays.get("sequence", np.zeros(arrays["neuron"].shape, np.int64))
    for field, array in (*arrays.items(), ("sequence", sequence)):
        if array.ndim != 1 or len(array) != len(arrays["neuron"]):
            raise BadInput(
                f"array '{prefix}{field}' has shape {list(array.shape)}, '{prefix}neuron' "
                f"{list(arrays['neuron'].shape)}; both are [events]"
            )
    counts = {name: _count(archive, name) for name in ("ticks", "sequences")}
    neuron = _indices(f"array '{prefix}neuron'", arrays["neuron"], size, "the number of a neuron")
    sequence = _indices(f"array '{prefix}sequence'", sequence, counts["sequences"], "the number of a sequence")
    time_s = None
    if "tick" in arrays:
        tick = _indices(f"array '{prefix}tick'", arrays["tick"], counts["ticks"], "the number of a tick")
        tick, ticks = _regridded(f"array '{prefix}tick'", tick, counts["ticks"] or _last(tick), given_dt, dt_s)
    else:
        where = f"array '{prefix}time'"
        tick = _ticks_of(where, arrays["time"], dt_s)
        time_s = arrays["time"].astype(np.float64)
        ticks = counts["ticks"] or _last(tick)
        _indices(where + ", in ticks,", tick, counts["ticks"], "the number of a tick")
    sequences = counts["sequences"] or max(_last(sequence), 1)
    return _Events(tick, sequence, neuron, ticks, sequences, time_s=time_s)


def _count(archive: _Archive, name: str) -> int | None:
    value = archive.number(name)
    if value is None:
        return None
    if value.dtype.kind not in "iu" or not 1 <= int(value) <= LARGEST_BYTES:
        raise BadInput(f"array {name!r} is {value.item()!r}; it is a whole number of 1..{LARGEST_BYTES:,}")
    return int(value)


def _read_npy(path: Path, shapes: Mapping[str, Shape], dt_s: float, values: _Values) -> dict[str, _Recording]:
    if path.stat().st_size > LARGEST_BYTES:
        raise BadInput(f"{path.stat().st_size:,} bytes; at most {LARGEST_BYTES:,} are read")
    array = read_array(path.read_bytes())
    if len(shapes) > 1:
        raise BadInput(f"holds one array; the network has the inputs {', '.join(map(repr, shapes))}: give an .npz")
    ((name, shape),) = shapes.items()
    if array.dtype.names is None:
        return {name: _dense("the array", array, shape, None, dt_s, values)}
    return {name: _sensor_events(array, shape, dt_s)}


def _sensor_events(array: Array, shape: Shape, dt_s: float) -> _Events:
    """The events of a structured array as tonic has it: channels (p, y, x), ticks counted from the first event.

    Ticks are counted as in tonic's ToFrame. As in tonic, an input with one channel ignores the polarity, and a sensor
    without rows has no y.
    """
    fields = tuple(array.dtype.names or ())
    axes = ("p", "y", "x") if "y" in fields else ("p", "x")
    if not {"t", *axes} - {"p"} <= set(fields) or array.ndim != 1:
        raise BadInput(
            f"events {list(array.shape)} with the fields {', '.join(fields)}; wanted are [events] of t, x, y, p"
        )
    if len(shape) == len(axes) - 1:  # the input has no axis for the polarity
        shape = (1, *shape)
    if len(shape) != len(axes):
        raise BadInput(
            f"events with the fields {', '.join(fields)} for an input of shape {list(shape)}; "
            f"it must be [{', '.join(axes)}]"
        )
    if not len(array):
        raise BadInput("there is no event")
    notes: list[str] = []
    neuron = np.zeros(len(array), np.int64)
    for axis, length in zip(axes, shape, strict=True):
        if axis == "p" and length == 1:
            if "p" in fields and (array["p"] != array["p"][0]).any():
                notes.append("the input has one channel: events of every polarity are spikes alike")
            continue
        if axis not in fields:
            raise BadInput(f"events without the field {axis!r} for an input of shape {list(shape)}")
        index = array[axis].astype(np.uint8) if array[axis].dtype == bool else array[axis]
        neuron = neuron * length + _indices(f"field {axis!r}", index, length, f"of an input of shape {list(shape)}")
    time = array["t"]
    if time.dtype.kind not in "iuf" or not np.isfinite(time).all():
        raise BadInput(f"field 't': of {time.dtype}; times are finite numbers of microseconds")
    first, last = time.min(), time.max()
    if float(last) - float(first) >= 2**53:
        raise BadInput(f"field 't': from {first} to {last}; times are microseconds")
    since = (time - first).astype(np.float64)
    tick = _ticks_of("field 't'", since, dt_s * _MICROSECONDS)
    if first > 0:
        notes.append(f"ticks are counted from the first event, at {first / _MICROSECONDS:g} s")
    sequence = np.zeros(len(tick), np.int64)
    return _Events(tick, sequence, neuron, _last(tick), 1, tuple(notes), time_s=since / _MICROSECONDS)


def _nir_recordings(
    data: nir.NIRGraphData, shapes: Mapping[str, Shape], dt_s: float, values: _Values, notes: list[str]
) -> dict[str, _Recording]:
    there = dict(_flat(data))
    nodes = _chosen(there, shapes, "node")
    read = {id(node) for node in nodes.values()}
    notes += _unread("node", [name for name, node in there.items() if id(node) not in read])
    return {name: _observable(name, nodes[name], shape, dt_s, values) for name, shape in shapes.items()}


def _flat(data: nir.NIRGraphData, prefix: str = "") -> Iterable[tuple[str, nir.NIRNodeData]]:
    for name, node in data.nodes.items():
        if isinstance(node, nir.NIRGraphData):
            yield from _flat(node, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", node


def _observable(name: str, node: nir.NIRNodeData, shape: Shape, dt_s: float, values: _Values) -> _Recording:
    there = node.observables
    if "spikes" not in there and len(there) != 1:
        raise BadInput(f"node {name!r}: has the observables {', '.join(there) or 'none'}; expected 'spikes'")
    key = "spikes" if "spikes" in there else next(iter(there))
    data, where = there[key], f"node {name!r}, {key}"
    if isinstance(data, nir.TimeGriddedData):
        return _dense(f"{where}: data", data.data.swapaxes(0, 1), shape, data.dt, dt_s, values, axes="time, sample")
    return _nir_events(where, data, math.prod(shape), dt_s, values)


def _nir_events(where: str, data: nir.EventData, size: int, dt_s: float, values: _Values) -> _Events:
    if data.idx.ndim != 2 or data.idx.dtype.kind not in "iu":
        raise BadInput(f"{where}: idx is {data.idx.dtype} {list(data.idx.shape)}; it is integers [samples, events]")
    if data.n_neurons != size:
        raise BadInput(f"{where}: n_neurons is {data.n_neurons}; the input has {size}")
    real = data.idx != -1  # -1 only fills up the row
    value = None
    if isinstance(data, nir.ValuedEventData):
        value = values(f"{where}: value", np.where(real, data.value, 0))[real].astype(np.int64)
    sequence, event = np.nonzero(real)
    _indices(f"{where}: idx", np.where(real, data.idx, 0), size, "the number of a neuron, or -1 for none")
    time = data.time[real]
    late = np.flatnonzero(~(time <= data.t_max * (1 + TICK_TOLERANCE)))
    if len(late):
        at = f"{sequence[late[0]]}, {event[late[0]]}"
        raise BadInput(f"{where}: time[{at}] is {time[late[0]]}; it is at most t_max = {data.t_max}")
    tick = _ticks_of(f"{where}: time", time, dt_s)
    (end,) = _ticks_of(f"{where}: t_max", np.array([data.t_max]), dt_s, up=True)
    neuron = data.idx[real].astype(np.int64)
    ticks = max(int(end), _last(tick))
    return _Events(tick, sequence, neuron, ticks, len(data.idx), value=value, time_s=time.astype(np.float64))


# --- checks and grids -------------------------------------------------------------------------------------------


def _dense(
    where: str,
    array: Array,
    shape: Shape,
    given_dt: float | None,
    dt_s: float,
    values: _Values,
    axes: str = "ticks, batch",
) -> _Dense:
    size = math.prod(shape)
    if not array.size:
        raise BadInput(f"{where} has shape {list(array.shape)}: it is empty")
    for leading in (1, 2):
        if array.shape[leading:] in ((size,), shape):
            spikes = values(where, array).reshape(len(array), -1, size)
            return _on_grid(where, spikes, given_dt, dt_s)
    own = f", or [{axes}, {', '.join(map(str, shape))}]" if len(shape) > 1 else ""
    raise BadInput(f"{where} has shape {list(array.shape)}; expected [{axes}, {size}]{own}")


def _binary(where: str, array: Array) -> Spikes:
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{where} is of {array.dtype}; {_BINARY}")
    wrong = (array != 0) & (array != 1)
    if wrong.any():
        index = np.unravel_index(int(wrong.argmax()), array.shape)
        raise BadInput(f"{where}[{', '.join(map(str, index))}] is {array[index]}; {_BINARY}")
    return array.astype(np.uint8)


def _counted(where: str, array: Array) -> Counts:
    """Numbers of spikes, whole and from 0."""
    if array.dtype.kind not in "biuf":
        raise BadInput(f"{where} is of {array.dtype}; counts are whole numbers of 0..{MOST_SPIKES:,}")
    if array.dtype.kind == "b":
        return array.astype(np.uint16)
    wrong = ~((array >= 0) & (array <= MOST_SPIKES) & (np.floor(array) == array))  # so NaN is wrong too
    if wrong.any():
        index = np.unravel_index(int(wrong.argmax()), array.shape)
        raise BadInput(
            f"{where}[{', '.join(map(str, index))}] is {array[index]}; counts are whole numbers of 0..{MOST_SPIKES:,}"
        )
    return array.astype(np.uint16)


def _indices(where: str, array: Array, size: int | None, what: str) -> Integers:
    """`array` as int64. Each entry must be in 0..size - 1 (None: no upper limit)."""
    if array.dtype.kind not in "iu":
        raise BadInput(f"{where} is of {array.dtype}; it holds integers")
    most = LARGEST_BYTES if size is None else size - 1
    wrong = (array < 0) | (array > most)
    if wrong.any():
        index = np.unravel_index(int(wrong.argmax()), array.shape)
        raise BadInput(f"{where}[{', '.join(map(str, index))}] is {array[index]}, not in 0..{most} ({what})")
    return array.astype(np.int64)


def _last(indices: Integers) -> int:
    """The smallest number of ticks (or sequences) that holds all `indices`."""
    return int(indices.max()) + 1 if len(indices) else 0


def _ticks_of(where: str, times: Array, dt: float, up: bool = False) -> Integers:
    """The ticks in which the times lie; with `up`, the number of ticks that they fill.

    Times count from 0, in the unit of `dt`.
    """
    if times.dtype.kind not in "fiu":
        raise BadInput(f"{where} is of {times.dtype}; times are numbers")
    exact = times.astype(np.float64) / dt
    wrong = ~((exact > -_NEAR) & (exact < 2**53))
    if wrong.any():
        index = np.unravel_index(int(wrong.argmax()), times.shape)
        raise BadInput(f"{where}[{', '.join(map(str, index))}] is {times[index]}; times count from 0 and are finite")
    exact = np.maximum(exact, 0)  # a time that rounding has put before 0 lies at 0
    whole = np.round(exact)
    near = np.abs(exact - whole) <= np.minimum(TICK_TOLERANCE * np.maximum(whole, 1), _NEAR)
    return np.where(near, whole, np.ceil(exact) if up else np.floor(exact)).astype(np.int64)


def _steps(where: str, given_dt: float | None, dt_s: float) -> tuple[int, int]:
    """The ticks of the network per tick of the file, and of the file per tick of the network. One of the two is 1."""
    if given_dt is None:
        return 1, 1
    if not (math.isfinite(given_dt) and given_dt > 0):
        raise BadInput(f"{where}: dt is {given_dt}; it is a finite number of seconds above 0")
    for ratio, steps in ((given_dt / dt_s, lambda n: (n, 1)), (dt_s / given_dt, lambda n: (1, n))):
        n = round(ratio) if ratio < LARGEST_BYTES else 0
        if n and abs(ratio - n) <= TICK_TOLERANCE * n:
            return steps(n)
    raise BadInput(
        f"{where}: has ticks of {given_dt:g} s, the network of {dt_s:g} s; one must be a multiple of the other"
    )


def _regridded(where: str, tick: Integers, ticks: int, given_dt: float | None, dt_s: float) -> tuple[Integers, int]:
    """Ticks of the file as ticks of the network, and the number of ticks of the network."""
    every, of = _steps(where, given_dt, dt_s)
    off = np.flatnonzero(tick % of)
    if len(off):
        raise BadInput(
            f"{where}: has ticks of {given_dt:g} s, the network of {dt_s:g} s, and a spike at tick {tick[off[0]]}, "
            f"between two of the network's; it is at multiples of {of}"
        )
    return tick * every // of, -(-ticks * every // of)


def _on_grid(where: str, spikes: Spikes | Counts, given_dt: float | None, dt_s: float) -> _Dense:
    every, of = _steps(where, given_dt, dt_s)
    if of > 1:
        _regridded(where, np.flatnonzero(spikes.any((1, 2))), len(spikes), given_dt, dt_s)
    return _Dense(spikes[::of], every)
