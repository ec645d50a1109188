"""`muspike data`: what it prints, its JSON, its pictures, and its answers to bad use."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from muspike.cli import main
from stored_corpus import write_folder, write_midi


@pytest.fixture(autouse=True)
def own(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `own` of ten small pieces and a broken one; the cache is empty."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: here / "cache")
    folder = write_folder(here / "own", range(10))
    (folder / "broken.mid").write_text("no MIDI")
    return folder


def told(capsys: pytest.CaptureFixture[str], command: str, status: int = 0) -> tuple[str, str]:
    assert main(command.split()) == status
    shown = capsys.readouterr()
    return shown.out, shown.err


def test_build_says_what_was_kept_and_why_not(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = told(capsys, "data build own --workers 2")
    name, _, rest = out.partition(": ")
    assert name.startswith("own-") and rest.startswith("10 pieces in ") and rest.endswith("; built\n")
    assert "left out: 1 file, cannot be read\n" in err and f"its name is {name}" in err
    out, err = told(capsys, "data build own")
    assert "was built before, nothing changed" in out and "its name" not in err
    found = json.loads(told(capsys, "data build own --json")[0])
    assert found["name"] == name and found["built"] is False and found["lock"]["pieces"] == 10


def test_show_counts_and_draws(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    out, _ = told(capsys, "data show own --pictures pictures")
    assert "pieces   10 (8 train, 1 validation, 1 test)" in out and "cannot be read        1" in out
    assert "as written                  10" in out
    found = json.loads(told(capsys, "data show own --json")[0])
    assert found["pieces"] == 10 and found["totals"]["notes"] == 400
    assert sum(found["features"]["pitch"]) == 400 and sum(found["metres"].values()) == found["bars"]
    for kind in ("contents", "features"):
        root = ET.parse(here / "pictures" / f"{found['corpus']}-{kind}.svg").getroot()
        assert root.tag.endswith("svg")


def test_check_finds_what_changed(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    told(capsys, "data build own")
    assert "all 3 files in" in told(capsys, "data check own")[0]
    (words,) = (here / "cache").rglob("words-00000.npy")
    content = bytearray(words.read_bytes())
    content[200] ^= 1
    words.write_bytes(content)
    out, err = told(capsys, "data check own", 2)
    assert out == "" and err.count("\n") == 1 and "is not the file that was built" in err


def test_list_has_the_five_and_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "data build own")
    rows = json.loads(told(capsys, "data list --json")[0])
    assert [row["name"] for row in rows][:5] == ["jsb", "pop909", "lakh", "emopia", "xmidi"]
    assert [row["built"] for row in rows] == [False] * 5 + [True] and rows[5]["pieces"] == 10
    assert "not built" in told(capsys, "data list")[0]


def test_the_same_files_have_the_same_lock(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    told(capsys, "data build own")
    (lock,) = (here / "cache").rglob("lock.json")
    lock.rename(here / "lock.json")
    (here / "cache").rename(here / "before")
    told(capsys, "data build own --lock lock.json")
    write_midi(here / "own" / "more.mid", 11)
    out, err = told(capsys, "data build own --lock lock.json", 2)
    assert out == "" and err.endswith(
        "own: is not as lock.json has it: its files are others (12 here, 11 there; manifest.csv has the SHA-256 of "
        "each)\n"
    )


def test_a_model_trained_on_ones_own_files_is_measured_on_them(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    write_midi(here / "own" / "long-1.mid", 50, notes=90)
    for number in range(12, 30):
        write_midi(here / "own" / f"{number}.mid", number, notes=90)
    told(capsys, "train s-rnn --preset tiny --steps 1 --data own -o run")
    trained = json.loads((here / "run" / "model" / "model.json").read_text())["training"]["corpus"]
    assert trained.startswith("own-")
    assert "note" in told(capsys, "profile run/model")[0]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("data build nowhere", "corpus 'nowhere': there is no such corpus or folder; known are jsb, pop909"),
        ("data build own --from own", "--from own: own is a folder already; leave one of the two out"),
        ("data build lakh --from nowhere", "nowhere: there is no such folder or archive"),
        ("data build lakh --from own/00.mid", "own/00.mid: is neither a folder nor a zip or tar archive"),
        ("data build xmidi", "XMIDI cannot be downloaded by a program"),
        ("data build own --workers 0", "argument --workers: '0' must be a whole number at least 1"),
        ("data build own --lock nowhere.json", "nowhere.json: cannot be read"),
        ("data build own --lock own/00.mid", "own/00.mid: is no lock file of a corpus"),
        ("data show pop909", "corpus pop909 is not built here; muspike data build pop909 downloads it and builds it"),
        (
            "data show lakh",
            "corpus lakh is not built here; muspike data build lakh downloads it (1,768 MB) and builds it",
        ),
        ("data check xmidi", "corpus xmidi is not built here: download it from"),
        ("data", "the following arguments are required"),
        ("train s-rnn --preset tiny --data emopia", "corpus emopia is not built here"),
    ],
)
def test_bad_use_is_one_line(command: str, message: str, capsys: pytest.CaptureFixture[str], here: Path) -> None:
    out, err = told(capsys, command, 2)
    assert out == "" and err.count("\n") == 1 and message in err
    assert not list((here / "cache").rglob("lock.json")) if (here / "cache").exists() else True


def leaves(table: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all tables, lists and values in a lock."""
    keys = table if isinstance(table, dict) else range(min(1, len(table))) if isinstance(table, list) else ()
    return [path, *(found for key in keys for found in leaves(table[key], (*path, key)))]


def test_a_damaged_lock_is_said_in_one_line(capsys: pytest.CaptureFixture[str], here: Path) -> None:
    told(capsys, "data build own")
    (file,) = (here / "cache").rglob("lock.json")
    whole = file.read_text()
    name = file.parent.name
    unused = {"md5", "shares", "near_duplicates", "alike", "window", "tempo_assumed"}
    paths = [path for path in leaves(json.loads(whole)) if not unused & set(path)]
    assert len(paths) > 50
    for path in paths:
        for value in ([None], {"x": None}, 0.5, True, "text"):
            lock: Any = json.loads(whole)
            if path:
                *parents, key = path
                at = lock
                for parent in parents:
                    at = at[parent]
                if isinstance(at[key], str | None) and value == "text":  # this may be any text
                    continue
                at[key] = value
            else:
                lock = value
            file.write_text(json.dumps(lock))
            out, err = told(capsys, f"data show {name}", 2)
            assert out == "" and err.count("\n") == 1, (path, value)
    file.write_text("[" * 100_000)
    assert "is no lock file of a corpus" in told(capsys, "data check own", 2)[1]
    lock = json.loads(whole)
    lock["files"]["../../../secret"] = lock["files"]["index.json"]
    file.write_text(json.dumps(lock))
    assert "files has ../../../secret, which is no file of a corpus" in told(capsys, "data check own", 2)[1]
