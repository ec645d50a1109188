"""Measure a network on the machine at hand, in all forms, at batch 1 and at the best batch; stop and go on.

One call is one word in each sequence of the batch, with the state kept, as in composing; the host's choice of the next
word is not in it. What a word takes times the words of a note gives what a note takes.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import psutil
import torch

from muspike import __version__
from muspike.arguments import one_of, whole
from muspike.bench.forms import FORMS, Make, Workshop, network_digest, precision_of
from muspike.checkpoint import Model
from muspike.errors import BadInput, MuspikeError, one_line
from muspike.files import check_target
from muspike.hardware.meter.batches import find_best
from muspike.hardware.meter.counters import Meter, TimeOnly, cpu_meter, gpu_meter
from muspike.hardware.meter.recorded import Entry, Machine, Ran, Read, Recorded, read_recorded
from muspike.hardware.meter.windows import REAL, Clock, Session, Settings, Window, Work, refuse_too_short, run_session
from muspike.tables import Table

_WHOLE_CORE = 0.95
SAMPLE = "a word of one sequence, read with the state kept; the host's choice of the next word is not in it"
PACKAGES = ("torch", "onnxruntime", "numpy", "zeus", "triton")
DEVICES = ("cpu", "cuda")
MOST_BATCH, LOOK_S = {"cpu": 1024, "cuda": 65536}, 1.0
DEFAULT = Settings()
QUICK = Settings(runs=5, window_s=1.0, warm_up_s=0.3)
QUICK_MOST_BATCH, QUICK_LOOK_S = 64, 0.3
"""`--quick`: windows that are long enough for time, but not for joules."""


def meter_of(device: str) -> Meter:
    """The energy counter of a device, or why there is none.

    Raises:
        BadInput: there is no such device here.
    """
    if one_of("device", device, DEVICES) == "cpu":
        return cpu_meter()
    if not torch.cuda.is_available():
        raise BadInput(
            "cuda: torch sees no GPU here; measure --on cpu, or install torch for CUDA on a machine with a GPU"
        )
    return gpu_meter(str(torch.cuda.get_device_properties(torch.cuda.current_device()).uuid))


def measure_network(
    model: Model,
    name: str,
    device: str,
    meter: Meter,
    what: Sequence[str] | None = None,
    settings: Settings = DEFAULT,
    threads: int | None = None,
    most_batch: int | None = None,
    look_s: float = LOOK_S,
    path: str | os.PathLike[str] | None = None,
    twin: Model | None = None,
    told: Callable[[str], object] = lambda _: None,
    clock: Clock = REAL,
) -> Recorded:
    """Measure a model in several forms, and return the record.

    The record is written to `path` after each window. If `path` holds a record of the same network, machine, packages
    and settings, only what is missing there is measured.

    Args:
        model: the model.
        name: its name.
        device: `cpu` or `cuda`.
        meter: the counter, as `meter_of` gives it.
        what: names of `FORMS`; None: all that run on the device.
        settings: how much is measured.
        threads: threads that compute on the CPU; None: as many as there are cores for this process.
        most_batch: the largest batch to look at; None: `MOST_BATCH` of the device.
        look_s: seconds for each look at a batch.
        path: the file of the record; None: none is written.
        twin: a trained twin; None: an untrained one.
        told: is called with what happens, a line each.
        clock: where time comes from.

    Raises:
        BadInput: a form is not known or does not run on the device, windows are too short for the counter, or `path`
            holds another record.
        Failed: the counter stands still, or jumps again and again.
    """
    names = _chosen(what, device, model)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = cores if threads is None else whole("threads", threads, 1, 1024)
    most_batch = MOST_BATCH[device] if most_batch is None else whole("the largest batch", most_batch, 1)
    refuse_too_short(settings, meter)
    if path is not None:
        check_target(path)
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads)
    shop: Workshop | None = None
    try:
        told(f"{name}: composing the words on which it is measured")
        shop = Workshop(model, device, threads, twin)
        record = Recorded(
            network=_ran(model, name, True),
            sample=SAMPLE,
            samples_per={"note": shop.words_per_note},
            machine=_machine(device, cores, threads, meter),
            counter=Read.of(meter),
            versions=_versions(),
            commit=_commit(),
            settings=settings,
        )
        if path is not None and Path(path).exists():
            record = _gone_on(record, shop, path)
            told(f"{path}: goes on with what is missing there")

        def save() -> None:
            if path is not None:
                record.save(path)

        makes: dict[str, Make] = {}
        # What failed is tried again.
        record.entries = [entry for entry in record.entries if not entry.failed or entry.form not in names]
        for form in names:
            told(f"{name}: {form}: {FORMS[form].what}")
            try:
                _prepare(shop, record, form, makes, meter, most_batch, look_s, clock)
            except _PASSED_ON as error:
                record.entries.append(_failed(shop, record, form, error))
                told(f"{name}: {form}: not measured: {record.entries[-1].failed}")
            save()
        _measure_missing(shop, record, makes, meter, name, told, save, clock)
        return record
    finally:
        torch.set_num_threads(threads_before)
        if shop is not None:
            shop.close()


# What ends one form and no other. A compiler that is missing or refuses is a RuntimeError of torch.
_PASSED_ON = (MuspikeError, RuntimeError, MemoryError, NotImplementedError, OSError)


def _chosen(what: Sequence[str] | None, device: str, model: Model) -> list[str]:
    """The forms to measure. A model that does not spike has only those of a twin."""
    from muspike.network import Network

    spikes = isinstance(model.network, Network)
    runs = [name for name, form in FORMS.items() if device in form.devices and (spikes or form.twin)]
    if what is None:
        return runs
    if not what:
        raise BadInput(f"no form is named; known are {', '.join(FORMS)}")
    for name in what:
        one_of("form", name, FORMS)
        if device not in FORMS[name].devices:
            raise BadInput(f"form {name} does not run on {device}; those that do are {', '.join(runs)}")
        if name not in runs:
            raise BadInput(
                f"form {name} is of a network that spikes, which {model.architecture} does not; those of it are "
                f"{', '.join(runs)}"
            )
    return [name for name in FORMS if name in what]


def _ran(model: Model, name: str, trained: bool) -> Ran:
    return Ran(name, network_digest(model), trained, sum(p.numel() for p in model.network.parameters()))


def _prepare(
    shop: Workshop,
    record: Recorded,
    form: str,
    makes: dict[str, Make],
    meter: Meter,
    most_batch: int,
    look_s: float,
    clock: Clock,
) -> None:
    """Build a form, and find its best batch unless the record has it. Entries without windows are added."""
    known = [entry for entry in record.entries if entry.form == form]
    if known and not any(record.missing(entry) for entry in known):
        return
    makes[form] = shop.build(form)
    if known:
        return
    room = _Room(shop.device)

    def start(batch: int) -> Work:
        room.check(batch)
        return shop.start(form, makes[form], batch)

    found = find_best(start, meter, most_batch, look_s, clock)

    def entry(batch: int, role: Literal["one", "best", "one and best"]) -> Entry:
        made = Entry(form, FORMS[form].what, _ran_in(shop, record, form), _precision(shop, form), batch, role)
        if role != "one":
            made.tried, made.ended = found.tried, found.ended
        return made

    if found.best == 1:
        record.entries.append(entry(1, "one and best"))
    else:
        record.entries += [entry(1, "one"), entry(found.best, "best")]


class _Room:
    """The memory of the CPU, of which a system does not say that it ends: it ends the process."""

    def __init__(self, device: str) -> None:
        self.watched = device == "cpu" and sys.platform != "win32"
        self.peak = _peak_bytes()

    def check(self, batch: int) -> None:
        """Refuse a batch if it would take more than is free, by what the peak grew with the batch before.

        Raises:
            MemoryError: it is not.
        """
        if not self.watched:
            return
        peak = _peak_bytes()
        # The peak of twice the batch grows by twice as much again; what is held now is taken already.
        takes = peak + 2 * (peak - self.peak) - psutil.Process().memory_info().rss
        free, self.peak = psutil.virtual_memory().available, peak
        if batch > 1 and takes > free:
            raise MemoryError(f"about {takes / 2**30:.1f} GiB would be needed, {free / 2**30:.1f} GiB are free")


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _precision(shop: Workshop, form: str) -> str:
    return precision_of(FORMS[form], shop.device)


def _ran_in(shop: Workshop, record: Recorded, form: str) -> Ran:
    if not FORMS[form].twin or not shop.spiking:
        return record.network
    return _ran(shop.twin, shop.twin.architecture, shop.twin_is_trained)


def _failed(shop: Workshop, record: Recorded, form: str, error: BaseException) -> Entry:
    why = one_line(error) if isinstance(error, Exception) else type(error).__name__
    if not isinstance(error, MuspikeError):
        why = f"{type(error).__name__}: {why}"
    ran = _ran_in(shop, record, form)
    return Entry(form, FORMS[form].what, ran, _precision(shop, form), 0, "one", failed=why)


def _measure_missing(
    shop: Workshop,
    record: Recorded,
    makes: dict[str, Make],
    meter: Meter,
    name: str,
    told: Callable[[str], object],
    save: Callable[[], None],
    clock: Clock,
) -> None:
    """One session with all windows that are missing."""
    entries = {entry.key: entry for entry in record.entries if entry.form in makes}
    missing = {key: record.missing(entry) for key, entry in entries.items() if record.missing(entry)}
    if not missing:
        return
    session = Session(datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), _load())
    record.sessions.append(session)
    count, done = sum(missing.values()), 0

    def heard(key: str, window: Window) -> None:
        nonlocal done
        done += 1
        entries[key].windows.append(window)
        save()
        told(f"{name}: window {done} of {count}: {key}: {window.samples / window.seconds:,.0f} words/s")

    def starts(entry: Entry) -> Callable[[], Work]:
        return lambda: shop.start(entry.form, makes[entry.form], entry.batch)

    try:
        run_session(
            {key: starts(entries[key]) for key in missing},
            missing,
            meter,
            record.settings,
            session,
            len(record.sessions) - 1,
            heard,
            clock,
        )
    finally:
        save()


def _gone_on(new: Recorded, shop: Workshop, path: str | os.PathLike[str]) -> Recorded:
    """The record in the file, if what is missing in it can be measured now.

    Raises:
        BadInput: it is of another network, machine, version or setting.
    """
    old = read_recorded(path)
    old.demand(new.network.digest, new.network.name)
    for what, before, now in (
        ("machine", old.machine, new.machine),
        ("counter", old.counter, new.counter),
        ("versions", old.versions, new.versions),
        ("settings", old.settings, new.settings),
    ):
        if before != now:
            raise BadInput(
                f"{path}: was measured with other {what}: {_differing(before, now)}; measure into another file, or "
                "remove this one"
            )
    for entry in old.entries:
        if entry.form in FORMS and entry.ran != (ran := _ran_in(shop, old, entry.form)):
            raise BadInput(
                f"{path}: {entry.form} is of {entry.ran.name} with the digest {entry.ran.digest[:12]}; now it is "
                f"{ran.name} with {ran.digest[:12]}; measure into another file, or remove this one"
            )
    return old


def _differing(before: Any, now: Any) -> str:
    pairs = [(dict(one) if isinstance(one, dict) else vars(one)) for one in (before, now)]
    keys = [key for key in {**pairs[0], **pairs[1]} if pairs[0].get(key) != pairs[1].get(key)]
    return ", ".join(f"{key} {pairs[0].get(key)!r}, now {pairs[1].get(key)!r}" for key in keys)


# --- what is said of the machine --------------------------------------------------------------------------------------


def _machine(device: str, cores: int, threads: int, meter: Meter) -> Machine:
    gpu = device == "cuda"
    return Machine(
        kind=cast(Literal["cpu", "cuda"], device),
        device=torch.cuda.get_device_name() if gpu else cpu_name(),
        cores=cores,
        threads=threads,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        system=platform.platform(),
        virtual=_is_virtual(),
        driver="" if isinstance(meter, TimeOnly) else meter.driver,
    )


def cpu_name() -> str:
    """The processor, as /proc/cpuinfo names it; elsewhere as Python does."""
    found = _cpuinfo("model name")
    return found or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == key), "")


def _is_virtual() -> bool | None:
    flags = _cpuinfo("flags")
    return "hypervisor" in flags.split() if flags else None


def _load() -> float | None:
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _versions() -> dict[str, str]:
    found = {"muspike": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # it took no part
    return found


def _commit() -> str | None:
    """The commit of the checkout that this is; None: it is none."""
    here = Path(__file__).resolve().parents[1]
    if not (here / ".git").exists():
        return None
    git = ["git", "-C", str(here)]
    try:
        head, changes = (
            subprocess.run([*git, *arguments], capture_output=True, text=True, check=True).stdout.strip()
            for arguments in (["rev-parse", "HEAD"], ["status", "--porcelain", "--untracked-files=no"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}{'+' if changes else ''}"


# --- for people -------------------------------------------------------------------------------------------------------


def table(record: Recorded) -> Table:
    """The figures of a record as a table, with their intervals."""
    joules = record.has_joules
    titles = ["form", "numbers", "batch", "words/s", "95 %", "ms per call,\nmedian", "\n99 %"]
    on_cpu = record.machine.kind == "cpu"
    titles += ["us per word\non the CPU", "95 %"] if on_cpu else []
    titles += ["uJ per word", "band", "above idle", "uJ per note"] if joules else []
    rows = []
    for entry in record.entries:
        found = record.measured(entry)
        if found is None:
            rows.append(
                [entry.form, entry.precision, "–" if not entry.batch else f"{entry.batch:,}"]
                + ["–"] * (len(titles) - 3)
            )
            continue
        cells = [entry.form, entry.precision, f"{entry.batch:,}", f"{found.rate.value:,.0f}"]
        cells += [f"{found.rate.low:,.0f} – {found.rate.high:,.0f}"]
        cells += [f"{found.call_s[q] * 1e3:.3g}" for q in (0.5, 0.99)]
        if on_cpu:
            cells += [f"{found.cpu_time.value * 1e6:,.3g}"]
            cells += [f"{found.cpu_time.low * 1e6:,.3g} – {found.cpu_time.high * 1e6:,.3g}"]
        if joules:
            assert found.energy is not None
            word = found.energy.to("uJ")
            cells += [f"{word.value:,.3g}", word.band]
            cells += ["–" if found.energy_above_idle is None else f"{found.energy_above_idle.to('uJ').value:,.3g}"]
            cells += [f"{record.per('note', word).value:,.3g}"]
        rows.append(cells)
    return Table(headline(record), titles, rows, left=(0, 1))


def headline(record: Recorded) -> str:
    """What was measured, where and when, in one line."""
    machine, load = record.machine, record.sessions[0].load if record.sessions else None
    cores = f"{machine.threads} thread{'' if machine.threads == 1 else 's'} of {machine.cores} cores"
    virtual = ", a virtual machine" if machine.virtual else ""
    busy = "" if load is None else f", load {load:.1f} when it began"
    return f"{record.network.name} on {machine.device} ({cores}{virtual}), {record.date[:10]}{busy}"


def remarks(record: Recorded) -> list[str]:
    """What a reader of the table must know, a sentence each."""
    told = [f"boundary: {record.counter.boundary}"]
    if any(not entry.ran.trained for entry in record.entries):
        told.append("the twin has untrained weights: the same operations, other numbers")
    told.append(f"a note is {record.samples_per['note']:.2f} words")
    for entry in record.entries:
        found = record.measured(entry)
        if entry.failed:
            told.append(f"{entry.form}: not measured: {entry.failed}")
        elif found is None:
            told.append(f"{entry.key}: stopped after {len(entry.windows)} of {record.settings.runs} windows")
        else:
            told += [f"{entry.key}: {doubt}" for doubt in found.doubts]
    if (share := _share_of_a_core(record)) is not None and share < _WHOLE_CORE:
        told.append(
            f"other work ran beside it: this one thread had {share * 100:.0f} % of a core, so on an idle "
            "machine a word takes less; us on the CPU count only the time that it had"
        )
    return told


def _share_of_a_core(record: Recorded) -> float | None:
    """The share of the time for which one thread on the CPU did compute; None: there were more threads, or a GPU."""
    windows = [window for entry in record.entries for window in entry.windows]
    if record.machine.kind != "cpu" or record.machine.threads != 1 or not windows:
        return None
    return sum(w.cpu_s for w in windows) / sum(w.seconds for w in windows)
