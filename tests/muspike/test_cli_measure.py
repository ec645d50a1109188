"""`muspike measure` as its user calls it."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from fake_meter import Device, FakeCounter
from muspike.bench import machines
from muspike.bench.forms import Workshop
from muspike.checkpoint import save_model
from muspike.cli import main
from muspike.hardware.meter.counters import TimeOnly
from muspike.hardware.meter.recorded import read_recorded
from small_model import small_model

SHORT = ["--what", "eager,onnx", "--runs", "2", "--window-s", "0.05", "--largest-batch", "2", "--threads", "1"]
NO_RAPL = TimeOnly("CPU: this machine shows no RAPL counter")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machines, "LOOK_S", 0.01)
    monkeypatch.setattr(machines, "meter_of", lambda device: NO_RAPL)
    save_model(small_model(), tmp_path / "small")
    return tmp_path


def test_the_table_says_what_was_measured_and_that_it_is_time_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "./small", *SHORT]) == 0
    shown, progress = capsys.readouterr()
    assert progress.startswith("muspike: time only: CPU: this machine shows no RAPL counter\n")
    assert "window 1 of" in progress
    caption, _, *lines = shown.splitlines()
    assert caption.startswith("./small on ") and "(1 thread of" in caption
    assert next(line.split()[:3] for line in lines if line.startswith(("eager", "onnx"))) == ["eager", "float32", "1"]
    assert "boundary: time only: CPU: this machine shows no RAPL counter" in lines
    assert "uJ" not in shown


def test_a_record_is_written_and_gone_on_with(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["measure", "small", *SHORT, "-o", "out/small.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    record = read_recorded(here / "out" / "small.json")
    assert {key: value for key, value in told.items() if key != "figures"} == record.to_json()
    figures = told["figures"]
    assert {row["form"] for row in figures} == {"eager", "onnx"}
    assert all(row["joules_per_word"] is None and row["words_per_second"]["value"] > 0 for row in figures)
    before = (here / "out" / "small.json").read_bytes()
    assert main(["measure", "small", *SHORT, "-o", "out/small.json"]) == 0
    assert "goes on with what is missing there" in capsys.readouterr().err
    assert (here / "out" / "small.json").read_bytes() == before


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert main(["measure", "small", *arguments]) == 2
    shown, complaint = capsys.readouterr()
    assert shown == ""
    return complaint.splitlines()[-1]


def test_bad_use_is_refused_in_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "form 'eagle' is not known; known are eager," in refused(["--what", "eagle"], capsys)
    assert "'eager,,onnx' must be names with commas between them" in refused(["--what", "eager,,onnx"], capsys)
    assert "--runs is not used with --quick; leave it out" in refused(["--quick", "--runs", "3"], capsys)
    assert "out.txt: a recorded measurement ends in .json" in refused(["-o", "out.txt"], capsys)
    for seconds in ("0.01", "3601", "inf"):
        assert f"'{seconds}' must be a number from 0.05 to 3600.0" in refused(["--window-s", seconds], capsys)
    (here / "note.json").write_text("{}")
    assert "note.json: is no recorded measurement" in refused([*SHORT, "-o", "note.json"], capsys)
    assert (here / "note.json").read_text() == "{}"


@pytest.mark.parametrize(("name", "what"), [("net.nir", "a NIR file"), ("program.npz", "a chip program")])
def test_what_is_no_model_is_told_that_models_only_are_measured(
    here: Path, name: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / name).write_bytes(b"whatever is in it")
    capsys.readouterr()
    assert main(["measure", name]) == 2
    shown, complaint = capsys.readouterr()
    assert shown == "" and complaint.splitlines()[-1] == (
        f"muspike: {name}: is {what}; muspike measure takes models only (a folder, or one of muspike models); muspike "
        f"profile {name} says what it costs on a chip"
    )
    with pytest.raises(SystemExit):
        main(["measure", "--help"])
    assert "Only models are measured" in " ".join(capsys.readouterr().out.split())


def test_cuda_without_a_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    capsys.readouterr()
    assert main(["measure", "s-rnn", "--on", "cuda"]) == 2
    shown, complaint = capsys.readouterr()
    assert shown == "" and complaint.count("\n") == 1
    assert complaint.startswith("muspike: cuda: torch sees no GPU here; measure --on cpu")


def test_nvml_that_refuses_is_status_2_and_the_times_come_all_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machines, "meter_of", lambda device: TimeOnly("GPU: NVML refuses: no permission", refused=True))
    measure = machines.measure_network
    # There is no GPU here, so the forms run on the CPU.
    monkeypatch.setattr(
        machines, "measure_network", lambda model, name, device, *a, **k: measure(model, name, "cpu", *a, **k)
    )
    assert main(["measure", "small", "--on", "cuda", *SHORT]) == 2
    shown, progress = capsys.readouterr()
    assert "muspike: time only: GPU: NVML refuses: no permission\n" in progress
    assert any(line.startswith("eager") for line in shown.splitlines())
    assert "boundary: time only: GPU: NVML refuses: no permission" in shown


def test_quick_measures_time_only_where_there_is_a_counter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: dict[str, Any] = {}

    def measure(model: Any, name: str, device: str, meter: Any, **settings: Any) -> Any:
        given.update(settings, meter=meter)
        raise KeyboardInterrupt

    device = Device()
    monkeypatch.setattr(machines, "meter_of", lambda _: FakeCounter(device))
    monkeypatch.setattr(machines, "measure_network", measure)
    assert main(["measure", "small", "--quick", "--seed", "3"]) == 130
    assert given["meter"] == TimeOnly("--quick has windows that are too short for the fake counter")
    assert (given["settings"].window_s, given["settings"].seed, given["most_batch"]) == (1.0, 3, 64)


def test_joules_are_in_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    device = Device()
    measure = machines.measure_network
    monkeypatch.setattr(machines, "meter_of", lambda _: FakeCounter(device))
    monkeypatch.setattr(Workshop, "start", lambda _, name, make, batch: device.work(0.01, samples=batch))
    monkeypatch.setattr(machines, "measure_network", functools.partial(measure, clock=device.clock()))
    assert main(["measure", "small", "--what", "eager", "--largest-batch", "1"]) == 0
    shown, progress = capsys.readouterr()
    assert "time only" not in progress
    assert "uJ per word" in shown and "2.7e+06" in shown
    assert "boundary: a device that does not exist" in shown
    assert main(["measure", "small", "--window-s", "1"]) == 2
    assert "a window of 1 s is too short for joules: the fake counter moves every 0.1 s; expected at least 5 s" in (
        capsys.readouterr().err
    )
