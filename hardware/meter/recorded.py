"""A recorded measurement: one JSON file that says what ran, where, when, how it was measured, and every window.

The figures are not in the file. They are computed from its windows whenever it is read, so they cannot contradict them.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from muspike.arguments import path as path_of
from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.files import check_file, write_whole
from muspike.hardware.cost.quantity import Quantity
from muspike.hardware.meter.batches import Tried
from muspike.hardware.meter.counters import Meter, TimeOnly
from muspike.hardware.meter.windows import QUANTILES, Measured, Session, Settings, Window, measured

FORMAT, VERSION = "muspike measurement", 1
LARGEST_BYTES = 64 << 20
_MOST = 10**12  # of samples, calls and sequences: more is no measurement
T = TypeVar("T")


@dataclass(frozen=True)
class Ran:
    """A network that ran.

    Attributes:
        name: its name.
        digest: sha256 of what it computes: its architecture and all weights.
        trained: whether its weights are trained. An untrained network does the same operations.
        parameters: number of its weights.
    """

    name: str
    digest: str
    trained: bool
    parameters: int


@dataclass(frozen=True)
class Machine:
    """What a measurement ran on.

    Attributes:
        kind: `cpu` or `cuda`.
        device: the name of the processor or GPU, as the system gives it.
        cores: cores that the process may use.
        threads: threads that computed on the CPU.
        memory_gib: of the machine.
        system: the operating system.
        virtual: whether it is a virtual machine; None: not known.
        driver: the GPU's driver, or "".
    """

    kind: Literal["cpu", "cuda"]
    device: str
    cores: int
    threads: int
    memory_gib: float
    system: str
    virtual: bool | None
    driver: str


@dataclass(frozen=True)
class Read:
    """The counter that was read.

    Attributes:
        name: its name; None: time only.
        boundary: what it counts, in words; or why there is none.
        period_s, step_j, accuracy: as in `counters.Counter`; 0 without a counter.
    """

    name: str | None
    boundary: str
    period_s: float
    step_j: float
    accuracy: float

    @classmethod
    def of(cls, meter: Meter) -> Read:
        """The counter in use."""
        if isinstance(meter, TimeOnly):
            return cls(None, f"time only: {meter.why}", 0.0, 0.0, 0.0)
        return cls(meter.name, meter.boundary, meter.period_s, meter.step_j, meter.accuracy)


@dataclass
class Entry:
    """One form of the network at one batch.

    Attributes:
        form: the name of the form.
        what: the form in words.
        ran: the network that ran in it.
        precision: the type of its numbers.
        batch: sequences side by side; 0 if the form failed before a batch was found.
        role: `one`, `best`, or `one and best`, where a larger batch gives no more.
        tried: the looks at batches; empty for batch 1.
        ended: why the search for the best batch ended, or "".
        failed: why there are no windows; None: nothing failed.
        windows: every window.
    """

    form: str
    what: str
    ran: Ran
    precision: str
    batch: int
    role: Literal["one", "best", "one and best"]
    tried: list[Tried] = field(default_factory=list)
    ended: str = ""
    failed: str | None = None
    windows: list[Window] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What tells it from other entries of a record."""
        return f"{self.form} x {self.batch}"


@dataclass
class Recorded:
    """A recorded measurement of a network in several forms on one machine.

    Attributes:
        network: the network that was asked for.
        sample: what a sample is, in words.
        samples_per: samples for one of something larger, by its name: `{"note": 2.3}`.
        machine: what it ran on.
        counter: the counter that was read.
        versions: of the packages, by name.
        commit: of muspike's repository, with `+` if the tree had changes; None: it was no checkout.
        settings: how much was measured.
        sessions: the stretches of measuring.
        entries: the forms.
        path: the file; None: it is in none yet.
    """

    network: Ran
    sample: str
    samples_per: dict[str, float]
    machine: Machine
    counter: Read
    versions: dict[str, str]
    commit: str | None
    settings: Settings
    sessions: list[Session] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    path: str | None = None

    @property
    def date(self) -> str:
        """When it was measured: the first session's beginning; "" if there is none."""
        return self.sessions[0].begun if self.sessions else ""

    @property
    def has_joules(self) -> bool:
        """Whether joules were measured."""
        return self.counter.name is not None

    def matches(self, digest: str) -> bool:
        """Whether it is a measurement of the network with this digest."""
        return self.network.digest == digest

    def demand(self, digest: str, name: str) -> None:
        """Refuse a measurement of another network than the one called `name`.

        Raises:
            BadInput: the digests differ.
        """
        if not self.matches(digest):
            raise BadInput(
                f"{self.path or 'measurement'}: is of {self.network.name} with the digest {self.network.digest[:12]}; "
                f"{name} has {digest[:12]}: measure it anew with muspike measure {name}"
            )

    def missing(self, entry: Entry) -> int:
        """How many windows of an entry are missing."""
        return 0 if entry.failed else max(0, self.settings.runs - len(entry.windows))

    def measured(self, entry: Entry) -> Measured | None:
        """The figures of an entry; None: it failed, or has fewer than two windows yet."""
        if len(entry.windows) < 2:
            return None
        return measured(entry.windows, self.sessions, self.counter.accuracy)

    def per(self, what: str, quantity: Quantity) -> Quantity:
        """A quantity per sample as one per `what`, a key of `samples_per`.

        Raises:
            BadInput: it has no such key.
        """
        if what not in self.samples_per:
            raise BadInput(
                f"{self.path or 'measurement'}: has no samples per {what}; it has {', '.join(self.samples_per)}"
            )
        return quantity * self.samples_per[what]

    def to_json(self) -> dict[str, Any]:
        """The record as JSON-able data."""
        told = dataclasses.asdict(self)
        del told["path"]
        return {"format": FORMAT, "version": VERSION, **told}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record, whole or not at all.

        Raises as `files.write_whole`.
        """
        with write_whole(path) as temporary:
            temporary.write_text(json.dumps(self.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
        self.path = os.fspath(path)


def read_recorded(path: str | os.PathLike[str]) -> Recorded:
    """Read a recorded measurement and check every entry.

    Raises:
        BadInput: the file cannot be read, is no recorded measurement, is of another version, or an entry is missing,
            unknown or impossible.
    """
    file = Path(path_of("read_recorded: path", path))
    check_file(file, LARGEST_BYTES)
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON: {error}") from error
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise BadInput(f"{file}: is no recorded measurement; muspike measure -o writes one")
    if told.get("version") != VERSION:
        raise BadInput(f"{file}: is of version {shown(told.get('version'))}; this muspike reads version {VERSION}")
    content = {key: value for key, value in told.items() if key not in ("format", "version")}
    found = _filled(Recorded, content, str(file), absent=("path",))
    found.path = str(file)
    _check(found, str(file))
    return found


def load_recorded(path: str | os.PathLike[str]) -> list[Recorded]:
    """The recorded measurements of a file, or of all `.json` files of a folder, sorted by name.

    Raises:
        BadInput: there is no such file or folder, or a file in it is no recorded measurement.
    """
    place = Path(path_of("load_recorded: path", path))
    files = sorted(place.glob("*.json")) if place.is_dir() else [place]
    if not files:
        raise BadInput(f"{place}: holds no recorded measurement; muspike measure -o FILE.json writes one")
    return [read_recorded(file) for file in files]


def _check(found: Recorded, where: str) -> None:
    keys = [entry.key for entry in found.entries if not entry.failed]
    if twice := next((key for key in keys if keys.count(key) > 1), None):
        raise BadInput(f"{where}: entries: {twice} stands twice")
    for what, number in found.samples_per.items():
        if number <= 0:
            raise BadInput(f"{where}: samples_per: {what} is {number}, expected more than 0")
    for n, entry in enumerate(found.entries):
        if not entry.failed and not 1 <= entry.batch <= _MOST:
            raise BadInput(f"{where}: entries {n}: batch is {shown(entry.batch)}, expected 1 to {_MOST:,}")
        for m, window in enumerate(entry.windows):
            at = f"{where}: entries {n}: windows {m}"
            if not 0 <= window.session < len(found.sessions):
                raise BadInput(f"{at}: session is {window.session}; there are {len(found.sessions)}")
            if window.seconds <= 0 or window.samples < 1 or window.calls < 1:
                raise BadInput(
                    f"{at}: {window.samples} samples in {window.calls} calls and {window.seconds} s; expected more "
                    "than 0"
                )
            if max(window.samples, window.calls) > _MOST or window.samples != window.calls * entry.batch:
                raise BadInput(
                    f"{at}: {shown(window.samples)} samples in {shown(window.calls)} calls of {entry.batch}; expected "
                    f"calls x batch, at most {_MOST:,}"
                )
            if not 1e-6 <= window.seconds <= 1e9:
                raise BadInput(f"{at}: seconds is {window.seconds}, expected 1e-6 to 1e9")
            if (window.joules is not None) != found.has_joules or (window.joules or 0) < 0:
                right = "a number of at least 0" if found.has_joules else "null"
                raise BadInput(f"{at}: joules is {window.joules}; expected {right}")
            if len(window.call_s) != len(QUANTILES):
                raise BadInput(f"{at}: call_s has {len(window.call_s)} values, expected {len(QUANTILES)}")


def _filled(kind: type[T], told: Any, where: str, absent: tuple[str, ...] = ()) -> T:
    """An instance of a dataclass from JSON data, with every type checked."""
    if not isinstance(told, dict):
        raise BadInput(f"{where}: is {shown(told)}, expected a table")
    wanted = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind) if f.name not in absent]  # type: ignore[arg-type]
    if unknown := next((key for key in told if key not in names), None):
        raise BadInput(f"{where}: unknown key {shown(unknown)}; known here: {', '.join(names)}")
    if missing := next((name for name in names if name not in told), None):
        raise BadInput(f"{where}: {missing} is missing")
    return kind(**{name: _as(wanted[name], told[name], f"{where}: {name}") for name in names})


def _as(kind: Any, told: Any, where: str) -> Any:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if told is None:
            return None
        (rest,) = [one for one in inner if one is not type(None)]
        return _as(rest, told, where)
    if origin is Literal:
        if told not in inner:
            raise BadInput(f"{where} is {shown(told)}, expected one of {', '.join(map(str, inner))}")
        return told
    if origin is list:
        if not isinstance(told, list):
            raise BadInput(f"{where} is {shown(told)}, expected a list")
        return [_as(inner[0], one, f"{where} {n}") for n, one in enumerate(told)]
    if origin is dict:
        if not isinstance(told, dict):
            raise BadInput(f"{where} is {shown(told)}, expected a table")
        return {str(key): _as(inner[1], one, f"{where}: {key}") for key, one in told.items()}
    if dataclasses.is_dataclass(kind):
        return _filled(cast(type[Any], kind), told, where)
    number = isinstance(told, int | float) and not isinstance(told, bool)
    if kind is float and number and math.isfinite(told):
        return float(told)
    if kind in (int, bool, str) and type(told) is kind:
        return told
    names = {float: "a finite number", int: "a whole number", bool: "true or false", str: "a text"}
    raise BadInput(f"{where} is {shown(told)}, expected {names[kind]}")
