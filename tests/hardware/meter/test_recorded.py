"""Recorded measurements: written whole, read with every entry checked, and refused for another network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_meter import Device, FakeCounter
from muspike.errors import BadInput
from muspike.hardware.meter.counters import Meter, TimeOnly
from muspike.hardware.meter.recorded import Entry, Machine, Ran, Read, Recorded, load_recorded, read_recorded
from muspike.hardware.meter.windows import Settings, measure

DIGEST = "a" * 64
RAN = Ran("net", DIGEST, True, 1000)


def record(joules: bool = True) -> Recorded:
    device = Device(spread=0.02)
    meter: Meter = FakeCounter(device) if joules else TimeOnly("there is none")
    _, windows, session = measure(device.work(), meter, Settings(), device.clock(), begun="2026-11-27T12:00:00+00:00")
    return Recorded(
        network=RAN,
        sample="a word",
        samples_per={"note": 2.5},
        machine=Machine("cuda", "a device", 2, 1, 7.5, "Linux", None, "1.0"),
        counter=Read.of(meter),
        versions={"torch": "2.13.0"},
        commit=None,
        settings=Settings(),
        sessions=[session],
        entries=[
            Entry("eager", "as it is", RAN, "float32", 1, "one", windows=windows),
            Entry("compiled", "compiled", RAN, "float32", 0, "one", failed="no compiler"),
        ],
    )


@pytest.mark.parametrize("joules", [True, False])
def test_what_is_written_is_read_again(tmp_path: Path, joules: bool) -> None:
    made = record(joules)
    made.save(tmp_path / "record.json")
    found = read_recorded(tmp_path / "record.json")
    assert found == made
    assert found.has_joules is joules and found.date == "2026-11-27T12:00:00+00:00"
    figures = found.measured(found.entries[0])
    assert figures is not None and (figures.energy is not None) is joules
    assert found.measured(found.entries[1]) is None
    assert found.missing(found.entries[0]) == 0
    if figures.energy is not None:
        assert found.per("note", figures.energy).value == pytest.approx(2.5 * figures.energy.value)
        assert found.per("note", figures.energy).tag == "measured"


def test_a_folder_gives_all_its_records(tmp_path: Path) -> None:
    for name in ("b", "a"):
        record().save(tmp_path / f"{name}.json")
    (tmp_path / "README.md").write_text("no record")
    assert [Path(one.path or "").name for one in load_recorded(tmp_path)] == ["a.json", "b.json"]
    assert len(load_recorded(tmp_path / "a.json")) == 1
    (tmp_path / "c.json").write_text("{}")
    with pytest.raises(BadInput, match=r"c\.json: is no recorded measurement"):
        load_recorded(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        load_recorded(tmp_path / "none")


def test_a_record_of_another_network_is_refused_by_name(tmp_path: Path) -> None:
    made = record()
    assert made.matches(DIGEST) and not made.matches("b" * 64)
    made.demand(DIGEST, "net")
    made.save(tmp_path / "record.json")
    with pytest.raises(
        BadInput, match=r"record\.json: is of net with the digest a{12}; s-rnn has b{12}: measure it anew"
    ):
        made.demand("b" * 64, "s-rnn")
    with pytest.raises(BadInput, match="has no samples per bar; it has note"):
        found = made.measured(made.entries[0])
        assert found is not None
        made.per("bar", found.time)


def changed(path: tuple[Any, ...], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(told: dict[str, Any]) -> None:
        place: Any = told
        for key in path[:-1]:
            place = place[key]
        if value is None:
            del place[path[-1]]
        else:
            place[path[-1]] = value

    return change


WINDOW = ("entries", 0, "windows", 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(("format",), "another"), "is no recorded measurement"),
        (changed(("version",), 2), "is of version 2; this muspike reads version 1"),
        (changed(("network",), None), "network is missing"),
        (changed(("network", "digest"), 5), "network: digest is 5, expected a text"),
        (changed(("network", "trained"), 1), "network: trained is 1, expected true or false"),
        (changed(("colour",), "red"), "unknown key 'colour'; known here: network,"),
        (changed(("path",), "elsewhere"), "unknown key 'path'"),
        (changed(("machine", "kind"), "tpu"), "machine: kind is 'tpu', expected one of cpu, cuda"),
        (changed(("settings", "runs"), 1), "measure: runs 1 must be"),
        (changed(("entries",), {}), "entries is {}, expected a list"),
        (changed((*WINDOW, "seconds"), "5"), "entries 0: windows 1: seconds is '5', expected a finite number"),
        (changed((*WINDOW, "seconds"), 1e999), "seconds is inf, expected a finite number"),
        (changed((*WINDOW, "samples"), 0), "entries 0: windows 1: 0 samples in"),
        (changed((*WINDOW, "samples"), 1.5), "samples is 1.5, expected a whole number"),
        (changed((*WINDOW, "session"), 3), "entries 0: windows 1: session is 3; there are 1"),
        (changed((*WINDOW, "joules"), -1.0), "joules is -1.0; expected a number of at least 0"),
        (changed((*WINDOW, "call_s"), [0.1]), "call_s has 1 values, expected 4"),
        (changed(("counter", "name"), ["x"]), r"counter: name is \['x'\], expected a text"),
        (changed(("samples_per", "note"), 0), "samples_per: note is 0.0, expected more than 0"),
        (changed(("versions",), []), r"versions is \[\], expected a table"),
    ],
)
def test_a_damaged_record_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    told = record().to_json()
    change(told)
    (tmp_path / "record.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match=message) as refused:
        read_recorded(tmp_path / "record.json")
    assert str(refused.value).startswith(str(tmp_path / "record.json")) or "measure: runs" in message


def test_an_entry_stands_once(tmp_path: Path) -> None:
    made = record()
    made.entries.append(made.entries[0])
    made.save(tmp_path / "record.json")
    with pytest.raises(BadInput, match="entries: eager x 1 stands twice"):
        read_recorded(tmp_path / "record.json")


@pytest.mark.parametrize("text", ["", "[", "[1]", "nul"])
def test_what_is_no_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(BadInput, match=r"record\.json: is (not JSON|no recorded measurement)"):
        read_recorded(tmp_path / "record.json")
