"""Measuring a network in its forms: each form is the network, what is stopped goes on, what fails fails alone."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fake_meter import Device, FakeCounter
from muspike import architectures
from muspike.bench import forms, machines
from muspike.bench.forms import FORMS, Workshop, network_digest, untrained_twin
from muspike.bench.machines import headline, measure_network, meter_of, remarks, table
from muspike.checkpoint import Model, load_model
from muspike.errors import BadInput
from muspike.hardware.meter.counters import TimeOnly
from muspike.hardware.meter.recorded import Recorded, load_recorded, read_recorded
from muspike.hardware.meter.windows import Settings
from muspike.model_folder import shipped_models
from small_model import small_model

MEASURED = Path(__file__).parents[2] / "docs" / "results" / "measured"
NOTHING = TimeOnly("there is none")
SHORT = Settings(runs=2, window_s=0.05, warm_up_s=0.0)
SMALL_TWINS: dict[str, dict[str, Any]] = {
    "ann-rnn": {"width": 24, "layers": 2, "hears": ("before",)},
    "ann-lstm": {"width": 24, "layers": 1},
    "ann-cnn": {"width": 24, "layers": 3},
    "ann-gan": {"width": 24, "layers": 1, "noise_draws": 2, "noise_values": 4},
    "ann-transformer": {"width": 24, "layers": 2, "heads": 2, "hidden": 48, "window": 6},
}


def small_twin(name: str = "ann-rnn") -> Model:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return Model(name, SMALL_TWINS[name], architectures.build(name, SMALL_TWINS[name]).eval(), {})


@pytest.fixture
def as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch.compile that leaves a function as it is: compiling takes minutes, and is tried at night."""
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


@pytest.fixture
def shop() -> Iterator[Workshop]:
    made = Workshop(small_model(), "cpu", 1, small_twin())
    yield made
    made.close()


def logits(shop: Workshop, name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    runner = shop.build(name)()
    runner.reset(2)
    given = runner.noise.behind(np.ascontiguousarray(shop.words[:16, :2]))
    return np.stack([runner.step(words) for words in given])


SPIKING = [name for name, form in FORMS.items() if not form.twin]


@pytest.mark.parametrize("name", SPIKING)
def test_each_form_is_the_network(shop: Workshop, as_it_is: None, name: str) -> None:
    expected = logits(shop, "eager")
    found = logits(shop, name)
    assert np.abs(expected).max() > 0.01, "a silent network proves nothing"
    # int8 weights move spikes; the file itself is proved equal to the network with these weights when it is written.
    tolerance = 1e-4 if FORMS[name].precision == "float32" else np.abs(expected).max()
    assert np.abs(found - expected).max() <= tolerance


@pytest.mark.parametrize("twin", SMALL_TWINS)
def test_each_form_of_a_twin_is_the_twin(as_it_is: None, twin: str) -> None:
    shop = Workshop(small_model(), "cpu", 1, small_twin(twin))
    expected = logits(shop, "twin-float")
    spread = float(np.abs(expected).max())
    for name in (name for name, form in FORMS.items() if form.twin):
        tolerance = {"float32": 1e-4, None: 0.05 * spread, "int8": 0.3 * spread}[FORMS[name].precision]
        assert np.abs(logits(shop, name) - expected).max() <= tolerance, name
    shop.close()


@pytest.mark.nightly
@pytest.mark.parametrize("name", ["compiled", "twin-compiled"])
def test_compiled_forms_are_the_network(shop: Workshop, name: str) -> None:
    expected = logits(shop, "twin-float" if FORMS[name].twin else "eager")
    assert np.abs(logits(shop, name) - expected).max() <= 1e-4


def test_a_call_is_a_word_in_each_sequence_with_a_full_window() -> None:
    shop = Workshop(small_model(), "cpu", 1, small_twin("ann-transformer"))
    made: list[Any] = []

    def make() -> Any:
        made.append(shop.build("twin-float")())
        return made[-1]

    call = shop.start("twin-float", make, 3)
    keys, _ = made[0].past[0]
    assert keys.shape[0] == 3 and keys.shape[2] == SMALL_TWINS["ann-transformer"]["window"] - 1
    assert call() == 3 == call()
    assert made[0].past[0][0].shape == keys.shape, "the window is full, so a call costs what the one before cost"
    assert shop.words_per_note > 1
    shop.close()


def test_no_memory_on_the_gpu_is_no_memory(shop: Workshop) -> None:
    class Full:
        noise = shop.twin.network.runner().noise

        def reset(self, batch: int) -> None: ...

        def step(self, words: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory\nand much more")

    with pytest.raises(MemoryError, match=r"^CUDA out of memory$"):
        shop.start("twin-float", Full, 2)

    class FullLater(Full):
        steps = 0

        def step(self, words: Any) -> Any:
            self.steps += 1
            return super().step(words) if self.steps > 1 else None

    call = shop.start("eager", FullLater, 2)
    with pytest.raises(MemoryError, match=r"^CUDA out of memory$"):
        call()


def test_the_search_ends_before_the_memory_of_the_cpu_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of n takes n GiB on top of 1 GiB, which are held all the time."""
    peaks = iter([1, 1, 2, 3, 5, 9])
    monkeypatch.setattr(machines, "_peak_bytes", lambda: next(peaks) * 2**30)
    monkeypatch.setattr("psutil.virtual_memory", lambda: types.SimpleNamespace(available=7 * 2**30, total=8 * 2**30))
    held = types.SimpleNamespace(memory_info=lambda: types.SimpleNamespace(rss=2**30))
    monkeypatch.setattr("psutil.Process", lambda: held)
    record = measured(what=["eager"], most_batch=64)
    (best,) = (entry for entry in record.entries if "best" in entry.role)
    assert best.ended == "no memory for a batch of 8: about 8.0 GiB would be needed, 7.0 GiB are free"
    assert [one.batch for one in best.tried] == [1, 2, 4]


def test_the_twin_has_the_preset_of_its_architecture() -> None:
    twin = untrained_twin(small_model())
    assert twin.architecture == "ann-rnn"
    assert twin.settings == architectures.preset("ann-rnn", "small")["network"]
    assert network_digest(twin) == network_digest(untrained_twin(small_model()))
    with pytest.raises(BadInput, match="ann-rnn: has no twin"):
        untrained_twin(twin)
    with pytest.raises(BadInput, match="s-rnn spikes; a twin does not"):
        Workshop(small_model(), "cpu", 1, small_model())


def test_the_digest_is_that_of_what_is_computed() -> None:
    one, other = small_model(), small_model()
    assert network_digest(one) == network_digest(other)
    next(other.network.parameters()).data.view(-1)[0] += 1
    assert network_digest(one) != network_digest(other)
    assert network_digest(one) != network_digest(dataclasses.replace(one, architecture="s-gan"))


def measured(path: Path | None = None, **changes: Any) -> Recorded:
    given: dict[str, Any] = {
        "what": ["eager", "twin-float"], "settings": SHORT, "threads": 1, "most_batch": 2, "look_s": 0.01,
        "twin": small_twin(), **changes,
    }  # fmt: skip
    model = given.pop("model", None) or small_model()
    return measure_network(model, "small", "cpu", given.pop("meter", NOTHING), path=path, **given)


@pytest.mark.parametrize("what", [["eager", "twin-float"], pytest.param(None, marks=pytest.mark.nightly)])
def test_a_record_says_what_ran_where_and_how(tmp_path: Path, what: list[str] | None) -> None:
    threads = torch.get_num_threads()
    record = measured(tmp_path / "small.json", what=what)
    assert torch.get_num_threads() == threads
    assert read_recorded(tmp_path / "small.json") == record
    assert record.network.digest == network_digest(small_model()) and record.matches(record.network.digest)
    assert {entry.form for entry in record.entries} == set(what or FORMS)
    assert record.machine.device == machines.cpu_name() and record.machine.threads == 1
    assert record.versions["torch"] == torch.__version__ and record.versions["muspike"]
    assert record.counter.name is None and record.counter.boundary == "time only: there is none"
    assert record.sessions[0].begun.startswith("20") and record.sessions[0].load is not None
    for entry in record.entries:
        assert entry.failed is None, entry
        assert len(entry.windows) == 2
        assert entry.ran.trained is not FORMS[entry.form].twin or entry.ran.name == "ann-rnn"
        assert entry.batch in (1, 2) and (entry.batch == 1) == entry.role.startswith("one")
        assert bool(entry.tried) == ("best" in entry.role)


def test_what_is_stopped_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "small.json"

    def stop_at(line: str) -> None:
        if ": window 3 of" in line:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(path, told=stop_at)
    stopped = read_recorded(path)
    before = {entry.key: list(entry.windows) for entry in stopped.entries}
    assert sum(map(len, before.values())) == 3
    lines: list[str] = []
    record = measured(path, told=lines.append)
    assert any("goes on with what is missing" in line for line in lines)
    assert len(record.sessions) == 2
    for entry in record.entries:
        assert len(entry.windows) == SHORT.runs
        assert entry.windows[: len(before[entry.key])] == before[entry.key]
    assert {w.session for entry in record.entries for w in entry.windows} == {0, 1}
    again = measured(path)
    assert again == record, "nothing is missing, so nothing is measured"
    more = measured(path, what=["onnx"])
    assert {entry.form for entry in more.entries} == {"eager", "twin-float", "onnx"}


def trained_otherwise() -> Model:
    model = small_model()
    next(model.network.parameters()).data.view(-1)[0] += 1
    return model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": trained_otherwise()}, "is of small with the digest"),
        ({"settings": dataclasses.replace(SHORT, runs=3)}, "was measured with other settings: runs 2, now 3"),
        ({"threads": 2}, "was measured with other machine: threads 1, now 2"),
        ({"twin": small_twin("ann-cnn")}, "twin-float is of ann-rnn with the digest"),
        ({"meter": TimeOnly("of another reason")}, "was measured with other counter: boundary"),
    ],
)
def test_a_record_of_something_else_is_not_gone_on_with(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "small.json"
    measured(path)
    before = path.read_bytes()
    with pytest.raises(BadInput, match=message):
        measured(path, **changes)
    assert path.read_bytes() == before


def test_a_form_that_fails_fails_alone_and_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "small.json"

    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no C++ compiler\nof any kind")

    with monkeypatch.context() as changed:
        changed.setattr(torch, "compile", refuse)
        record = measured(path, what=["eager", "compiled"])
    entries = {entry.form: entry for entry in record.entries}
    assert entries["compiled"].failed == "RuntimeError: no C++ compiler of any kind"
    assert len(entries["eager"].windows) == 2
    assert "compiled: not measured: RuntimeError: no C++ compiler of any kind" in remarks(read_recorded(path))
    assert [entry.form for entry in measured(path, what=["eager"]).entries if entry.failed] == ["compiled"]
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    again = measured(path, what=["eager", "compiled"])
    assert next(len(entry.windows) for entry in again.entries if entry.form == "compiled") == 2
    assert all(entry.failed is None for entry in again.entries)


def test_forms_that_are_not_known_or_do_not_run_there_are_refused() -> None:
    with pytest.raises(BadInput, match="form 'eagle' is not known; known are eager, compiled"):
        measured(what=["eagle"])
    with pytest.raises(BadInput, match="no form is named"):
        measured(what=[])
    with pytest.raises(
        BadInput, match="form eager is of a network that spikes, which ann-rnn does not; those of it are twin-float"
    ):
        measured(model=small_twin(), what=["eager"])
    with pytest.raises(BadInput, match="form onnx does not run on cuda; those that do are eager, compiled, twin-float"):
        measure_network(small_model(), "small", "cuda", NOTHING, what=["onnx"])


def test_a_network_that_does_not_spike_is_its_own_twin() -> None:
    record = measured(model=small_twin(), what=None, twin=None)
    assert {entry.form for entry in record.entries} == {name for name, form in FORMS.items() if form.twin}
    assert all(entry.ran == record.network for entry in record.entries)


@pytest.fixture
def on_a_device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorded]:
    """Measure on a made-up device with a counter: eager takes 10 ms and 2 J a word, everything else the half."""

    def run(device: Device, counter: FakeCounter, **changes: Any) -> Recorded:
        def start(_: Workshop, name: str, make: Any, batch: int) -> Callable[[], int]:
            return device.work(0.01 if name == "eager" else 0.005, samples=batch)

        monkeypatch.setattr(Workshop, "start", start)
        return measured(meter=counter, settings=Settings(), clock=device.clock(), **changes)

    return run


def test_joules_come_with_their_band_and_what_is_above_idle(on_a_device: Callable[..., Recorded]) -> None:
    device = Device()
    record = on_a_device(device, FakeCounter(device, others=1))
    assert record.counter.name == "fake counter" and record.machine.driver == "1.0"
    found = {entry.key: record.measured(entry) for entry in record.entries}
    eager, twin = found["eager x 1"], found["twin-float x 2"]
    assert eager is not None and eager.energy is not None and eager.energy_above_idle is not None
    assert eager.energy.value == pytest.approx(2.7, rel=0.01)
    assert eager.energy_above_idle.value == pytest.approx(2.0, rel=0.02)
    assert twin is not None and twin.energy is not None
    assert twin.energy.value == pytest.approx(2.7 / 4, rel=0.01)
    shown = table(record)
    assert shown.titles[-4:] == ["uJ per word", "band", "above idle", "uJ per note"]
    assert shown.rows[0][9] == "2.7e+06"
    assert any("other processes on the device: 1" in line for line in remarks(record))
    assert "boundary: a device that does not exist" in remarks(record)
    assert "the best batch" not in headline(record)


def test_short_windows_are_refused_before_anything_runs(on_a_device: Callable[..., Recorded]) -> None:
    device = Device()
    with pytest.raises(BadInput, match="2 windows are too few for joules"):
        measured(meter=FakeCounter(device), settings=SHORT, clock=device.clock())
    assert device.now_s == 0


def test_there_is_no_gpu_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(BadInput, match="cuda: torch sees no GPU here"):
        meter_of("cuda")
    with pytest.raises(BadInput, match="device 'tpu' is not known; known are cpu, cuda"):
        meter_of("tpu")


def test_the_gpu_that_torch_computes_on_is_the_one_that_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Properties:
        uuid = "1234"

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: Properties)
    monkeypatch.setattr(machines, "gpu_meter", lambda uuid: TimeOnly(uuid))
    assert meter_of("cuda") == TimeOnly("1234")


def test_half_precision_is_that_of_the_device() -> None:
    assert forms.precision_of(FORMS["twin-half"], "cpu") == "bfloat16"
    assert forms.precision_of(FORMS["twin-half"], "cuda") == "float16"
    assert forms.precision_of(FORMS["onnx-int8"], "cpu") == "int8"


@pytest.mark.skipif(not MEASURED.is_dir(), reason="not a checkout")
def test_the_committed_records_are_of_the_shipped_models() -> None:
    records = {record.network.name: record for record in load_recorded(MEASURED)}
    assert set(records) == set(shipped_models("jsb"))
    for name, record in records.items():
        record.demand(network_digest(load_model(name)), name)
        for entry in record.entries:
            assert not record.missing(entry), f"{name}: {entry.key}"
            assert entry.failed or record.measured(entry)
