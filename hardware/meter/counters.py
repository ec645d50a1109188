"""Counters of energy: a GPU's (NVML) and a CPU's (RAPL), both read through zeus; and what stands in where none is.

A counter counts joules since some moment and never stops. It says what it counts (its boundary), how often it moves and
how far it can be off. A counter that cannot be read becomes `TimeOnly`, with the reason in words: time is still
measured there.

zeus (https://ml.energy/zeus, Apache-2.0) is optional: `pip install 'muspike[measure]'`. The package `zeus-ml` is an old
version of it under another name and is not used.

What is known of each counter, with its source, is in `counters.toml`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

from muspike.errors import Failed, one_line
from muspike.hardware.constant import Constant, constant_of, sourced

INSTALL = "pip install 'muspike[measure]'"

GPU_BOUNDARY = (
    "the whole GPU board: GPU, its memory, its power conversion, and whatever else runs on it; no host, no fans of the "
    "server, no power supply"
)
_NOT_SUPPORTED = 3  # NVML_ERROR_NOT_SUPPORTED
MODULE_BOUNDARY = (
    "the whole module: the Grace CPU, the Hopper GPU and the memories of both, and whatever else runs on them; no fans "
    "of the server, no power supply"
)


@dataclass(frozen=True)
class Sensors:
    """What a device says of itself at a moment. None: it does not say.

    Attributes:
        power_w: a reading of power. It is shown beside the counter and never integrated for a result.
        temperature_c: the temperature of the GPU.
        clock_mhz: the clock of the GPU's cores.
        others: number of other processes that compute on the device.
    """

    power_w: float | None = None
    temperature_c: float | None = None
    clock_mhz: float | None = None
    others: int | None = None


class Counter(Protocol):
    """A counter of energy.

    Attributes:
        name: its name, in words.
        boundary: what it counts, in words.
        period_s: it moves at least so often.
        step_j: its smallest step.
        accuracy: the share by which its joules can be off.
        most_w: more power than the device can draw; a counter that moves faster has jumped.
        driver: the version of the driver that reads it, or "".
    """

    name: str
    boundary: str
    period_s: float
    step_j: float
    accuracy: float
    most_w: float
    driver: str

    def read(self) -> float:
        """Joules since some moment.

        Raises:
            Failed: the counter cannot be read any more.
        """

    def sensors(self) -> Sensors:
        """The state of the device now. What it does not tell is None, and never an error."""


@dataclass(frozen=True)
class TimeOnly:
    """No counter can be read, so only time is measured.

    Attributes:
        why: the reason, in words.
        refused: the machine has a counter, but refuses it; False: there is none.
    """

    why: str
    refused: bool = False


Meter: TypeAlias = Counter | TimeOnly


@cache
def constants(kind: str) -> Mapping[str, Constant]:
    """What is known of a kind of counter, `nvml` or `rapl`, by name."""
    where = "counters.toml"
    table = sourced((resources.files(__package__) / where).read_text(encoding="utf-8"), where).table(kind)
    return {name: constant_of(of, str(of.entries.get("unit"))) for name in table.entries for of in [table.table(name)]}


# --- GPU --------------------------------------------------------------------------------------------------------------


class NvmlCounter:
    """The total energy counter of an NVIDIA GPU (Volta or newer), in zeus.

    Args:
        gpu: zeus's object of the GPU.
        pynvml: the module through which zeus reads it; what zeus does not tell is asked there.
        whole_module: whether the counter counts a Grace Hopper module.
        refusals: the classes of errors with which a sensor says that there is nothing to read.

    The attributes are those of `Counter`.
    """

    def __init__(self, gpu: Any, pynvml: Any, whole_module: bool, refusals: tuple[type[Exception], ...]) -> None:
        known = constants("nvml")
        self._gpu, self._nvml, self._refusals = gpu, pynvml, refusals
        self.name = "NVML total energy counter"
        self.boundary = MODULE_BOUNDARY if whole_module else GPU_BOUNDARY
        self.period_s, self.step_j = known["period_s"].value, known["step_j"].value
        self.accuracy, self.most_w = known["accuracy"].value, known["most_w"].value
        self.driver = str(self._told("nvmlSystemGetDriverVersion") or "")
        self.device = str(gpu.get_name())

    def read(self) -> float:
        """See `Counter.read`."""
        try:
            return float(self._gpu.get_total_energy_consumption()) / 1000
        except Exception as error:  # zeus has classes of its own, which its users need not have
            raise Failed(f"GPU {self.device}: NVML stopped giving the energy: {one_line(error)}") from error

    def sensors(self) -> Sensors:
        """See `Counter.sensors`."""
        power = self._quiet(self._gpu.get_instant_power_usage)
        if power is None:
            power = self._told("nvmlDeviceGetPowerUsage", self._gpu.handle)
        temperature = self._quiet(self._gpu.get_gpu_temperature)
        clock = self._told("nvmlDeviceGetClockInfo", self._gpu.handle, getattr(self._nvml, "NVML_CLOCK_SM", 1))
        return Sensors(
            None if power is None else float(power) / 1000,
            None if temperature is None else float(temperature),
            None if clock is None else float(clock),
            self._others(),
        )

    def _others(self) -> int | None:
        import os

        found = self._told("nvmlDeviceGetComputeRunningProcesses", self._gpu.handle)
        return None if found is None else sum(int(process.pid) != os.getpid() for process in found)

    def _told(self, function: str, *arguments: Any) -> Any:
        asked = getattr(self._nvml, function, None)
        return None if asked is None else self._quiet(asked, *arguments)

    def _quiet(self, asked: Any, *arguments: Any) -> Any:
        """What a sensor answers; None where a device has no such sensor, which differs between GPUs."""
        try:
            return asked(*arguments)
        except self._refusals:
            return None


def gpu_meter(uuid: str | None = None) -> Meter:
    """The energy counter of a GPU, or why there is none.

    Args:
        uuid: the UUID of the GPU that computes, with or without `GPU-`; CUDA and NVML can count GPUs in different
            orders. None: the only GPU.
    """
    try:
        import pynvml
        from zeus.device.gpu.nvidia import NVIDIAGPU, nvml_is_available
        from zeus.exception import ZeusBaseError
    except ImportError as error:
        return TimeOnly(f"GPU: {_missing(error)}", refused=True)
    try:
        nvml_is_available.cache_clear()
        if not nvml_is_available():
            return TimeOnly(f"GPU: NVML does not start: {_why_not(pynvml)}", refused=True)
        index = _index_of(pynvml, uuid)
        if isinstance(index, TimeOnly):
            return index
        gpu = NVIDIAGPU(index)
        if _is_partitioned(pynvml, gpu.handle):
            return TimeOnly(
                "GPU: is divided by MIG, and its counter counts all parts together; measure on a GPU with MIG off",
                refused=True,
            )
        if not gpu.supports_get_total_energy_consumption():
            return TimeOnly("GPU: has no energy counter; GPUs from Volta on have one", refused=True)
        whole_module = bool(getattr(gpu, "_is_grace_hopper", False))
        # zeus has a class of its own for each error of NVML that it knows.
        counter = NvmlCounter(gpu, pynvml, whole_module, (pynvml.NVMLError, ZeusBaseError, OSError))
        counter.read()
    except Failed as error:
        return TimeOnly(str(error), refused=True)
    except Exception as error:  # zeus and NVML have classes of their own
        return TimeOnly(f"GPU: NVML refuses: {one_line(error)}", refused=True)
    return counter


def _missing(error: ImportError) -> str:
    return f"energy is read through the package zeus ({one_line(error)}): {INSTALL}"


def _why_not(pynvml: Any) -> str:
    try:
        pynvml.nvmlInit()
    except Exception as error:  # pynvml makes its classes at run time
        return one_line(error)
    return "for a reason that it does not tell"


def _index_of(pynvml: Any, uuid: str | None) -> int | TimeOnly:
    count = int(pynvml.nvmlDeviceGetCount())
    if uuid is None:
        return 0 if count == 1 else TimeOnly(f"GPU: NVML has {count} GPUs, and none was named", refused=True)
    for index in range(count):
        found = str(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetHandleByIndex(index)))
        if found.removeprefix("GPU-") == uuid.removeprefix("GPU-"):
            return index
    return TimeOnly(
        f"GPU: NVML does not list the GPU that computes ({uuid}); a part of a GPU divided by MIG is not listed",
        refused=True,
    )


def _is_partitioned(pynvml: Any, handle: Any) -> bool:
    try:
        current, _ = pynvml.nvmlDeviceGetMigMode(handle)
    except Exception as error:  # pynvml makes its classes at run time
        if getattr(error, "value", None) == _NOT_SUPPORTED:  # a GPU that cannot be divided does not know the question
            return False
        raise
    return bool(current)


# --- CPU --------------------------------------------------------------------------------------------------------------


NO_RAPL = TimeOnly("CPU: this machine shows no RAPL counter; a virtual machine has none")
_RAPL = "/sys/class/powercap/intel-rapl"


class RaplCounter:
    """The energy counters of all CPU packages of a machine, and of their memory where RAPL has it, in zeus.

    The attributes are those of `Counter`.
    """

    def __init__(self, cpus: Sequence[Any]) -> None:
        known = constants("rapl")
        self._cpus = list(cpus)
        memory = all(cpu.supports_get_dram_energy_consumption() for cpu in self._cpus)
        self._memory = memory
        self.name = f"RAPL of {len(self._cpus)} package{'' if len(self._cpus) == 1 else 's'}"
        self.boundary = (
            f"all CPU packages{' and their memory' if memory else ', without their memory'}, and whatever else runs on "
            "them; no board, no disk, no power supply"
        )
        self.period_s, self.step_j = known["period_s"].value, known["step_j"].value * len(self._cpus)
        self.accuracy, self.most_w = known["accuracy"].value, known["most_w"].value * len(self._cpus)
        self.driver = ""

    def read(self) -> float:
        """See `Counter.read`."""
        try:
            found = [cpu.get_total_energy_consumption() for cpu in self._cpus]
        except Exception as error:  # zeus has classes of its own
            raise Failed(f"CPU: RAPL stopped giving the energy: {one_line(error)}") from error
        return sum(float(one.cpu_mj) + (float(one.dram_mj) if self._memory else 0.0) for one in found) / 1000

    def sensors(self) -> Sensors:
        """See `Counter.sensors`: RAPL has no others."""
        return Sensors()


def cpu_meter() -> Meter:
    """The energy counter of this machine's CPUs, or why there is none."""
    try:
        from zeus.device.cpu.rapl import RAPLCPUs, rapl_is_available
    except ImportError as error:
        return NO_RAPL if not Path(_RAPL).exists() else TimeOnly(f"CPU: {_missing(error)}")
    rapl_is_available.cache_clear()
    if not rapl_is_available():
        return NO_RAPL
    try:
        cpus = RAPLCPUs().cpus
        if not cpus:
            return TimeOnly("CPU: RAPL lists no package")
        counter = RaplCounter(cpus)
        counter.read()
    except Exception as error:  # zeus has classes of its own
        return TimeOnly(f"CPU: RAPL refuses: {one_line(error)}", refused=True)
    return cast(Counter, counter)
