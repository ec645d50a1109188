"""The counters of GPU and CPU: zeus's own code over a made-up NVML and made-up RAPL files; and every refusal."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from muspike.errors import Failed
from muspike.hardware.constant import TAGS
from muspike.hardware.meter import counters
from muspike.hardware.meter.counters import NvmlCounter, RaplCounter, Sensors, TimeOnly, cpu_meter, gpu_meter

UUID = "GPU-11111111-2222-3333-4444-555555555555"


class Nvml:
    """An NVML with one GPU, whose answers a test changes."""

    def __init__(self) -> None:
        self.energy_mj = 5_000_000
        self.answers: dict[str, Callable[..., Any]] = {
            "nvmlInit": lambda: None,
            "nvmlShutdown": lambda: None,
            "nvmlDeviceGetCount": lambda: 1,
            "nvmlDeviceGetHandleByIndex": lambda index: f"handle {index}",
            "nvmlDeviceGetUUID": lambda handle: UUID,
            "nvmlDeviceGetName": lambda handle: "NVIDIA H100 80GB HBM3",
            "nvmlDeviceGetArchitecture": lambda handle: 9,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: self.energy_mj,
            "nvmlDeviceGetFieldValues": lambda handle, fields: [
                SimpleNamespace(nvmlReturn=0, value=SimpleNamespace(uiVal=123_000))
            ],
            "nvmlDeviceGetTemperatureV": lambda handle, sensor: 41,
            "nvmlDeviceGetClockInfo": lambda handle, which: 1980,
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [SimpleNamespace(pid=1)],
            "nvmlDeviceGetC2cModeInfoV": lambda handle: SimpleNamespace(isC2cEnabled=False),
            "nvmlDeviceGetMigMode": lambda handle: (0, 0),
            "nvmlSystemGetDriverVersion": lambda: "580.65.06",
        }

    def raises(self, function: str, error: BaseException) -> None:
        def refuse(*_: Any) -> Any:
            raise error

        self.answers[function] = refuse


class StandInGpu:
    """What `NvmlCounter` needs of zeus's class, for where zeus is not installed."""

    def __init__(self, index: int) -> None:
        self.nvml: Any = sys.modules["pynvml"]
        self.handle = self.nvml.nvmlDeviceGetHandleByIndex(index)
        self._is_grace_hopper = self.nvml.nvmlDeviceGetC2cModeInfoV(self.handle).isC2cEnabled

    def get_name(self) -> str:
        return str(self.nvml.nvmlDeviceGetName(self.handle))

    def supports_get_total_energy_consumption(self) -> bool:
        return bool(self.nvml.nvmlDeviceGetArchitecture(self.handle) >= 5)

    def get_total_energy_consumption(self) -> int:
        return int(self.nvml.nvmlDeviceGetTotalEnergyConsumption(self.handle))

    def get_instant_power_usage(self) -> int:
        return int(self.nvml.nvmlDeviceGetFieldValues(self.handle, [])[0].value.uiVal)

    def get_gpu_temperature(self) -> int:
        return int(self.nvml.nvmlDeviceGetTemperatureV(self.handle, 0))


class StandInError(Exception):
    """What pynvml's class is, for where it is not installed."""


@pytest.fixture(params=["zeus", "stand-in"])
def nvml(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nvml]:
    """The made-up NVML below zeus's own code, and below a stand-in for it."""
    fake = Nvml()

    def asked(name: str) -> Callable[..., Any]:
        return lambda *arguments: fake.answers[name](*arguments)

    if request.param == "zeus":
        pytest.importorskip("zeus.device.gpu.nvidia", reason="zeus is not installed")
        for name in fake.answers:
            monkeypatch.setattr(f"pynvml.{name}", asked(name))
        yield fake
        return
    module: Any = types.ModuleType("pynvml")
    module.NVMLError = StandInError
    exceptions: Any = types.ModuleType("zeus.exception")
    exceptions.ZeusBaseError = type("ZeusBaseError", (Exception,), {})
    for name in fake.answers:
        setattr(module, name, asked(name))
    nvidia: Any = types.ModuleType("zeus.device.gpu.nvidia")

    def available() -> bool:
        try:
            module.nvmlInit()
        except Exception:
            return False
        return True

    nvidia.NVIDIAGPU, nvidia.nvml_is_available = StandInGpu, available
    nvidia.nvml_is_available.cache_clear = lambda: None
    for name in ("zeus", "zeus.device", "zeus.device.gpu"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "zeus.device.gpu.nvidia", nvidia)
    monkeypatch.setitem(sys.modules, "zeus.exception", exceptions)
    monkeypatch.setitem(sys.modules, "pynvml", module)
    yield fake


def error(name: str, code: int) -> BaseException:
    """An error of NVML, of pynvml's class where that is installed."""
    pynvml: Any = sys.modules["pynvml"]
    kind = pynvml.NVMLError
    made: Any = StandInError(name) if kind is StandInError else kind(code)
    made.value = code
    assert isinstance(made, Exception)
    return made


def test_a_gpu_gives_joules_and_says_what_they_are_of(nvml: Nvml) -> None:
    meter = gpu_meter(UUID)
    assert isinstance(meter, NvmlCounter)
    assert meter.read() == 5000.0
    nvml.energy_mj += 1500
    assert meter.read() == 5001.5
    assert meter.sensors() == Sensors(123.0, 41.0, 1980.0, 1)
    assert meter.driver == "580.65.06" and meter.device == "NVIDIA H100 80GB HBM3"
    assert meter.period_s == 0.1 and meter.step_j == 1e-3
    assert meter.boundary.startswith("the whole GPU board") and "no host" in meter.boundary


def test_a_sensor_that_a_gpu_lacks_is_none_and_no_error(nvml: Nvml) -> None:
    for name in ("FieldValues", "TemperatureV", "ClockInfo", "ComputeRunningProcesses"):
        nvml.raises(f"nvmlDeviceGet{name}", error("Not Supported", 3))
    meter = gpu_meter()
    assert not isinstance(meter, TimeOnly)
    assert meter.sensors() == Sensors()


def test_a_sensor_that_the_system_refuses_is_none_and_a_mistake_of_ours_is_not_hidden(nvml: Nvml) -> None:
    meter = gpu_meter()
    assert not isinstance(meter, TimeOnly)
    nvml.raises("nvmlDeviceGetClockInfo", PermissionError(13, "Permission denied"))
    assert meter.sensors() == Sensors(123.0, 41.0, None, 1)
    nvml.raises("nvmlDeviceGetClockInfo", TypeError("takes 2 positional arguments but 3 were given"))
    with pytest.raises(TypeError, match="3 were given"):
        meter.sensors()


def test_grace_hopper_counts_the_whole_module(nvml: Nvml) -> None:
    nvml.answers["nvmlDeviceGetC2cModeInfoV"] = lambda handle: SimpleNamespace(isC2cEnabled=True)
    meter = gpu_meter(UUID)
    assert not isinstance(meter, TimeOnly)
    assert meter.boundary.startswith("the whole module: the Grace CPU, the Hopper GPU")


def refused(meter: object) -> str:
    assert isinstance(meter, TimeOnly) and meter.refused
    assert "\n" not in meter.why
    return meter.why


def test_mig_is_refused_in_one_line(nvml: Nvml) -> None:
    nvml.answers["nvmlDeviceGetMigMode"] = lambda handle: (1, 1)
    assert "is divided by MIG, and its counter counts all parts together" in refused(gpu_meter(UUID))
    nvml.answers["nvmlDeviceGetMigMode"] = lambda handle: (0, 0)
    assert "does not list the GPU that computes" in refused(gpu_meter("MIG-0000"))


def test_a_gpu_that_cannot_be_divided_is_measured(nvml: Nvml) -> None:
    nvml.raises("nvmlDeviceGetMigMode", error("Not Supported", 3))
    assert isinstance(gpu_meter(UUID), NvmlCounter)
    nvml.raises("nvmlDeviceGetMigMode", error("Insufficient Permissions", 4))
    assert "NVML refuses: Insufficient Permissions" in refused(gpu_meter(UUID))


def test_the_gpu_that_computes_is_found_by_its_uuid(nvml: Nvml) -> None:
    """CUDA and NVML may count in different orders."""
    nvml.answers["nvmlDeviceGetCount"] = lambda: 2
    nvml.answers["nvmlDeviceGetUUID"] = lambda handle: "GPU-other" if handle == "handle 0" else UUID
    nvml.answers["nvmlDeviceGetTotalEnergyConsumption"] = lambda handle: {"handle 0": 1, "handle 1": 7000}[handle]
    meter = gpu_meter(UUID.removeprefix("GPU-"))
    assert not isinstance(meter, TimeOnly)
    assert meter.read() == 7.0
    assert "has 2 GPUs, and none was named" in refused(gpu_meter())


def test_nvml_that_refuses_says_so(nvml: Nvml) -> None:
    nvml.raises("nvmlDeviceGetTotalEnergyConsumption", error("Insufficient Permissions", 4))
    assert "NVML stopped giving the energy: Insufficient Permissions" in refused(gpu_meter(UUID))
    nvml.answers["nvmlDeviceGetArchitecture"] = lambda handle: 4  # Pascal
    assert "has no energy counter; GPUs from Volta on have one" in refused(gpu_meter(UUID))
    nvml.raises("nvmlDeviceGetHandleByIndex", error("Unknown Error", 999))
    assert "NVML refuses: Unknown Error" in refused(gpu_meter())
    nvml.raises("nvmlInit", error("Driver Not Loaded", 9))
    assert "NVML does not start: Driver Not Loaded" in refused(gpu_meter(UUID))


def test_a_counter_that_stops_answering_is_a_failure_in_words(nvml: Nvml) -> None:
    meter = gpu_meter(UUID)
    assert not isinstance(meter, TimeOnly)
    nvml.raises("nvmlDeviceGetTotalEnergyConsumption", error("GPU is lost", 15))
    with pytest.raises(Failed, match="H100 80GB HBM3: NVML stopped giving the energy: GPU is lost"):
        meter.read()


def test_without_zeus_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zeus", None)
    monkeypatch.setitem(sys.modules, "zeus.device.gpu.nvidia", None)
    monkeypatch.setitem(sys.modules, "zeus.device.cpu.rapl", None)
    monkeypatch.setitem(sys.modules, "pynvml", types.ModuleType("pynvml"))
    monkeypatch.setattr(counters, "_RAPL", str(tmp_path))
    for meter in (gpu_meter(), cpu_meter()):
        assert isinstance(meter, TimeOnly)
        assert meter.why.endswith("pip install 'muspike[measure]'")
    monkeypatch.setattr(counters, "_RAPL", str(tmp_path / "none"))
    assert cpu_meter() == counters.NO_RAPL


# --- RAPL -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up /sys/class/powercap/intel-rapl with one package and its memory, below zeus's own code."""
    rapl = pytest.importorskip("zeus.device.cpu.rapl", reason="zeus is not installed")

    class NoTracker:  # the real one starts a process that looks for wraps
        def __init__(self, *_: object) -> None: ...

        def get_num_wraparounds(self) -> int:
            return 0

    folder = tmp_path / "intel-rapl"
    zone(folder / "intel-rapl:0", "package-0", 2_000_000)
    zone(folder / "intel-rapl:0" / "intel-rapl:0:1", "dram", 500_000)
    monkeypatch.setattr(rapl, "RAPL_DIR", str(folder))
    monkeypatch.setattr(rapl, "CONTAINER_RAPL_DIR", str(tmp_path / "none"))
    monkeypatch.setattr(rapl, "RaplWraparoundTracker", NoTracker)
    monkeypatch.delenv("ZEUSD_SOCK_PATH", raising=False)
    return folder


def zone(folder: Path, name: str, joules_e6: int) -> None:
    folder.mkdir(parents=True)
    (folder / "name").write_text(name)
    (folder / "energy_uj").write_text(f"{joules_e6}\n")
    (folder / "max_energy_range_uj").write_text("262143328850\n")


def test_rapl_gives_the_joules_of_package_and_memory(powercap: Path) -> None:
    meter = cpu_meter()
    assert isinstance(meter, RaplCounter)
    assert meter.read() == pytest.approx(2.5)
    (powercap / "intel-rapl:0" / "energy_uj").write_text("3000000\n")
    assert meter.read() == pytest.approx(3.5)
    assert meter.name == "RAPL of 1 package" and meter.boundary.startswith("all CPU packages and their memory")
    assert meter.sensors() == Sensors()
    (powercap / "intel-rapl:0" / "energy_uj").unlink()
    with pytest.raises(Failed, match="RAPL stopped giving the energy"):
        meter.read()


def test_a_package_without_memory_says_so(powercap: Path) -> None:
    for file in (powercap / "intel-rapl:0" / "intel-rapl:0:1").iterdir():
        file.write_text("core")
    (powercap / "intel-rapl:0" / "intel-rapl:0:1" / "energy_uj").write_text("1")
    (powercap / "intel-rapl:0" / "intel-rapl:0:1" / "max_energy_range_uj").write_text("9")
    meter = cpu_meter()
    assert isinstance(meter, RaplCounter)
    assert meter.boundary.startswith("all CPU packages, without their memory")
    assert meter.read() == pytest.approx(2.0)


def test_rapl_that_only_root_may_read_is_refused(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rapl = pytest.importorskip("zeus.device.cpu.rapl")
    before = open

    def locked(file: Any, *arguments: Any) -> Any:
        if str(file).endswith("energy_uj"):
            raise PermissionError(13, "Permission denied", str(file))
        return before(file, *arguments)

    monkeypatch.setattr(rapl, "open", locked, raising=False)
    assert "RAPL refuses" in refused(cpu_meter()) and "root" in refused(cpu_meter())


def test_a_machine_without_rapl_measures_time_only(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zeus.device.cpu.rapl.RAPL_DIR", str(powercap / "none"))
    assert cpu_meter() == counters.NO_RAPL


# --- what is known of the counters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nvml", "rapl"])
def test_every_number_of_a_counter_has_a_band_a_tag_and_a_source(kind: str) -> None:
    known = counters.constants(kind)
    assert {"period_s", "step_j", "accuracy", "most_w"} <= set(known)
    for name, constant in known.items():
        assert constant.low <= constant.value <= constant.high, name
        assert constant.tag in TAGS and len(constant.source) > 20, name
