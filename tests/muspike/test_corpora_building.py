"""Building corpora: what is kept, what is left out, what a stopped build keeps, and that the same files give the same
bytes."""

from __future__ import annotations

import csv
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from muspike import corpora, midi, tokens
from muspike.corpora import building, duplicates, reading, shards
from muspike.corpora.corpus import split_by_song
from muspike.corpora.jsb import SAME_MUSIC
from muspike.corpora.pop909 import symbol
from muspike.corpora.source import LeftOut
from muspike.errors import BadInput, Doubt
from muspike.midi import NOTE, Score, table
from no_superuser import no_superuser
from stored_corpus import write_folder, write_midi

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
POP909, EMOPIA, LAKH = SHARED / "pop909" / "POP909", SHARED / "emopia", SHARED / "lakh"


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's cache folder, empty."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Workers read two files at a time."""
    monkeypatch.setattr(building, "CHUNK", 2)
    yield


def manifest(folder: Path) -> dict[str, dict[str, str]]:
    with (folder / shards.MANIFEST).open(newline="", encoding="utf-8") as file:
        return {row["file"]: row for row in csv.DictReader(file)}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_folder_of_midi_files_is_a_corpus(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "My Songs", range(10))
    made = corpora.build(folder, progress=False)
    assert made.anew and made.name.startswith("my-songs-") and len(made.name) == len("my-songs-") + 8
    for name in (made.name, str(folder)):
        corpus = corpora.load(name, progress=False)
        assert corpus.name == made.name
        assert [piece.name for piece in corpus.pieces] == [f"{n:02}" for n in range(10)]
        assert {split: len(names) for split, names in corpus.splits.items()} == {
            "train": 8, "validation": 1, "test": 1,
        }  # fmt: skip
    assert dict(corpora.built()) == {made.name: made.folder}
    # Another folder with the same files is the same corpus; another file makes another one.
    again = corpora.build(folder, progress=False)
    assert (again.anew, again.folder) == (False, made.folder)
    write_midi(folder / "10.mid", 10)
    assert corpora.build(folder, progress=False).name != made.name


def test_the_same_files_give_the_same_bytes(tmp_path: Path, cache: Path, small_chunks: None) -> None:
    write_folder(tmp_path / "a", range(7))
    shutil.copytree(tmp_path / "a", tmp_path / "elsewhere" / "a")
    first = corpora.build(tmp_path / "a", workers=1, progress=False)
    files = contents(first.folder)
    shutil.rmtree(cache)
    second = corpora.build(tmp_path / "elsewhere" / "a", workers=3, progress=False)
    assert contents(second.folder) == files
    lock = shards.read_lock(second.folder)
    assert shards.difference(lock, lock) == ""
    assert shards.difference(lock, {**lock, "files": {}, "tokens": 1}) == f"tokens is {tokens.VERSION}, there 1"


def test_what_is_left_out_is_said_file_by_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(4))
    shutil.copy(folder / "00.mid", folder / "copy.mid")
    score = midi.read(folder / "01.mid")
    notes = score.notes.copy()
    notes["pitch"] += 3
    midi.write(Score(480, notes), folder / "transposed.mid")
    write_midi(folder / "few.mid", 5, notes=15)
    write_midi(folder / "drums.mid", 6, drums=True)
    (folder / "text.mid").write_text("this is no MIDI file")
    (folder / "empty.mid").touch()
    (folder / "cut.mid").write_bytes((folder / "02.mid").read_bytes()[:60])
    (folder / "notes.txt").write_text("not counted")
    (folder / ".hidden.mid").write_text("not counted")
    made = corpora.build(folder, progress=False)
    rows, lock = manifest(made.folder), shards.read_lock(made.folder)
    assert {file: row["kind"] for file, row in rows.items()} == {
        "00.mid": "",
        "01.mid": "",
        "02.mid": "",
        "03.mid": "",
        "copy.mid": "the same file twice",
        "cut.mid": "cannot be read",
        "drums.mid": "fewer than 16 notes",
        "empty.mid": "cannot be read",
        "few.mid": "fewer than 16 notes",
        "text.mid": "cannot be read",
        "transposed.mid": "nearly the same music",
    }
    assert rows["transposed.mid"]["reason"] == "as 01.mid"
    assert rows["drums.mid"]["reason"] == "0 notes, and 40 of drums"
    assert lock["left_out"] == {
        "cannot be read": 3, "fewer than 16 notes": 2, "nearly the same music": 1, "the same file twice": 1,
    }  # fmt: skip
    assert lock["pieces"] == 4 and sum(lock["splits"].values()) == 4
    assert sum(row["split"] != "" for row in rows.values()) == 4


def test_a_build_that_was_stopped_reads_only_what_is_missing(
    tmp_path: Path, cache: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_folder(tmp_path / "midi", range(8))
    whole = contents(corpora.build(folder, progress=False).folder)
    shutil.rmtree(cache)

    read = tmp_path / "read"
    of_one = reading.read_file

    def stopped(source: object, root: Path, file: str) -> object:
        if file == "05.mid":
            raise KeyboardInterrupt
        return of_one(source, root, file)  # type: ignore[arg-type]

    def counted(source: object, root: Path, file: str) -> object:
        with read.open("a") as told:
            told.write(f"{file}\n")
        return of_one(source, root, file)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_file", stopped)
        with pytest.raises(KeyboardInterrupt):
            corpora.build(folder, workers=1, progress=False)
    assert not list((cache / "corpora").glob("*/lock.json"))
    monkeypatch.setattr(reading, "read_file", counted)
    made = corpora.build(folder, workers=1, progress=False)
    assert not {"00.mid", "01.mid", "02.mid", "03.mid"} & set(read.read_text().split())
    assert contents(made.folder) == whole
    assert [path.name for path in (cache / "corpora").iterdir()] == [made.name]


def test_a_file_that_kills_its_reader_is_left_out(
    tmp_path: Path, small_chunks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, of_one = write_folder(tmp_path / "midi", range(6)), reading.read_file

    def killing(source: object, root: Path, file: str) -> object:
        if file == "03.mid":
            os.kill(os.getpid(), signal.SIGKILL)
        return of_one(source, root, file)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_file", killing)
    made = corpora.build(folder, workers=2, progress=False)
    rows = manifest(made.folder)
    assert rows["03.mid"]["reason"] == "its reader was killed"
    assert [file for file, row in rows.items() if row["kind"]] == ["03.mid"]


BUILD = """
import sys, time
from muspike.corpora import building, reading
from muspike.cli import main

of_one, seconds = reading.read_file, float(sys.argv.pop())

def slow(source, root, file):
    time.sleep(seconds)
    return of_one(source, root, file)

building.CHUNK, reading.read_file = 2, slow
sys.exit(main(["data", "build", sys.argv[1], "--workers", "2"]))
"""

# No file of the corpus may have more than 6,000 bytes.
REFUSE = """
import resource
from muspike.corpora import building

assemble = building.assemble

def limited(plan, parts):
    resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, -1))
    assemble(plan, parts)

building.assemble = limited
"""


def begin(folder: Path, cache: Path, seconds_per_file: float = 0.0, before: str = "") -> subprocess.Popen[str]:
    """`muspike data build` of a folder, in a process, with two files to a part, after some code."""
    return subprocess.Popen(
        [sys.executable, "-c", before + BUILD, str(folder), str(seconds_per_file)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def parts_of(cache: Path, driver: subprocess.Popen[str]) -> list[Path]:
    """Wait for the first part of a build."""
    deadline = time.monotonic() + 60
    while not (parts := list(cache.glob("muspike/corpora/*.building/part-*"))):
        assert time.monotonic() < deadline and driver.poll() is None, driver.communicate()[1]
        time.sleep(0.01)
    return parts


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME and signals as Linux has them")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_ended_by_a_signal_leaves_no_process_and_goes_on(tmp_path: Path, how: signal.Signals) -> None:
    folder = write_folder(tmp_path / "midi", range(12))
    driver = begin(folder, tmp_path / "one", 0.2)
    first = parts_of(tmp_path / "one", driver)[0]
    driver.send_signal(how)
    # The pipes are closed when the workers have ended too.
    out, err = driver.communicate(timeout=30)
    assert driver.returncode in (-how, 128 + how) and out == ""
    assert err == ("" if how == signal.SIGKILL else "muspike: interrupted\n")
    assert not list((tmp_path / "one").glob("muspike/corpora/*/lock.json"))
    read = first.stat().st_mtime_ns, first.stat().st_ino
    again = begin(folder, tmp_path / "one", 0.2)
    parts_of(tmp_path / "one", again)
    assert (first.stat().st_mtime_ns, first.stat().st_ino) == read, "what was read is kept"
    out, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    whole = begin(folder, tmp_path / "other")
    assert whole.communicate(timeout=60) and whole.returncode == 0
    one, other = (list((tmp_path / cache).glob("muspike/corpora/*")) for cache in ("one", "other"))
    assert [path.name for path in one] == [path.name for path in other]
    assert contents(one[0]) == contents(other[0])


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME as Linux has it")
def test_of_two_builds_at_once_one_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(8))
    first = begin(folder, tmp_path / "cache", 0.3)
    parts_of(tmp_path / "cache", first)
    first.send_signal(signal.SIGSTOP)
    try:
        second = begin(folder, tmp_path / "cache")
        out, err = second.communicate(timeout=60)
    finally:
        first.send_signal(signal.SIGCONT)
    assert (second.returncode, out) == (2, "") and err.count("\n") == 1
    assert "another muspike command is at work in this folder" in err
    out, err = first.communicate(timeout=60)
    assert first.returncode == 0, err


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME and limits as Linux has them")
def test_a_disk_that_refuses_ends_a_build_with_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(30))
    driver = begin(folder, tmp_path / "cache", before=REFUSE)
    out, err = driver.communicate(timeout=100)
    assert (driver.returncode, out) == (1, "")
    assert err.splitlines()[-1].endswith("cannot be written: File too large") and "Traceback" not in err
    assert not list((tmp_path / "cache").glob("muspike/corpora/*/lock.json"))
    again = begin(folder, tmp_path / "cache")
    assert again.communicate(timeout=60) and again.returncode == 0


def test_odd_names_and_what_is_no_file(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(3))
    no_utf8 = os.fsdecode(b"no utf-8 \xff.mid")
    for seed, name in enumerate(
        ("with space é 音.mid", "a\nline.mid", f"{'l' * 250}.mid", no_utf8, "deep/" * 60 + "a.mid")
    ):
        write_midi(folder / name, 100 + seed)
    os.mkfifo(folder / "pipe.mid")
    (folder / "loop.mid").symlink_to("loop.mid")
    (folder / "nowhere.mid").symlink_to("missing")
    (folder / "itself").symlink_to(folder)
    (folder / "folder.mid").mkdir()
    with (folder / "huge.mid").open("wb") as huge:
        huge.write(b"MThd")
        huge.truncate(40_000_000)
    made = corpora.build(folder, progress=False)
    rows = manifest(made.folder)
    assert {file: row["reason"] for file, row in rows.items() if row["kind"]} == {
        "pipe.mid": "is a pipe or a device, expected a file",
        "loop.mid": "cannot be read: Too many levels of symbolic links",
        "nowhere.mid": "cannot be read: No such file or directory",
        "huge.mid": f"has more than {midi.MOST_BYTES} bytes, the most that are read of a MIDI file",
    }
    assert len(rows) == 12 and "a\nline.mid" in rows and "no utf-8 \\udcff.mid" in rows
    corpus = corpora.load(made.name)
    assert "no utf-8 \\udcff" in [piece.name for piece in corpus.pieces]
    assert sorted(piece.name for split in corpus.splits for piece in corpus.split(split)) == sorted(
        piece.name for piece in corpus.pieces
    )
    assert not corpora.build(folder, progress=False).anew


def test_two_files_that_would_have_one_name_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(2))
    write_midi(folder / os.fsdecode(b"\xff.mid"), 8)
    write_midi(folder / "\\udcff.mid", 9)
    with pytest.raises(BadInput, match=r"would both be called .*udcff\.mid; rename one"):
        corpora.build(folder, progress=False)


def test_a_folder_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(2))
    (folder / "closed").mkdir(mode=0)
    with no_superuser(), pytest.raises(BadInput, match="closed: cannot be read: Permission denied"):
        corpora.build(folder, progress=False)


def test_names_that_are_no_corpus(tmp_path: Path) -> None:
    for find in (corpora.build, corpora.load):
        with pytest.raises(BadInput, match="corpus 'none': there is no such corpus or folder"):
            find("none")
        with pytest.raises(BadInput, match="is ''; expected a path"):
            find("")
    with pytest.raises(
        BadInput, match=r"one\.mid: is a file; the name of a corpus or a folder of MIDI files is wanted"
    ):
        corpora.build(write_midi(tmp_path / "one.mid", 0))


def test_songs_are_never_parted() -> None:
    names = [f"{song}-{clip}" for song in "abcdefghij" for clip in range(5)]
    song_of = {name: name[0] for name in names}
    splits = split_by_song(names, song_of, (0.8, 0.1, 0.1))
    assert sorted(name for split in splits.values() for name in split) == names
    songs = [{name[0] for name in split} for split in splits.values()]
    assert not (songs[0] & songs[1] or songs[1] & songs[2] or songs[0] & songs[2])
    assert list(map(len, splits.values())) == [40, 5, 5]
    for few in range(1, 12):
        sizes = [len(split) for split in split_by_song(names[:few], {}, (0.8, 0.1, 0.1)).values()]
        assert sum(sizes) == few and (few < 3 or min(sizes) > 0), sizes
    with pytest.raises(BadInput, match="shares"):
        split_by_song(names, song_of, (0.8, 0.1, 0.2))


def test_large_corpora_have_several_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_WORDS", 200)
    folder = write_folder(tmp_path / "midi", range(9))
    made = corpora.build(folder, progress=False)
    corpus = corpora.load(made.name)
    assert len(list(made.folder.glob("words-*.npy"))) > 3
    for piece in corpus.pieces:
        assert np.array_equal(piece.words, tokens.encode(midi.read(folder / f"{piece.name}.mid")))
    assert shards.check(made.folder, hashes=True)["pieces"] == 9


def test_a_changed_shard_is_found(tmp_path: Path) -> None:
    made = corpora.build(write_folder(tmp_path / "midi", range(3)), progress=False)
    path = made.folder / "words-00000.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadInput, match=rf"{path.name}: is not the file that was built"):
        corpora.load(made.name)


def test_nothing_to_build_is_refused(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(BadInput, match="none: holds no files of the kind wanted: MIDI files"):
        corpora.build(tmp_path / "none")
    write_midi(tmp_path / "few" / "a.mid", 0, notes=3)
    with pytest.raises(
        BadInput, match=r"no piece in 1 file; 1: fewer than 16 notes \(.*\.mid: .* notes, and 0 of drums\)"
    ):
        corpora.build(tmp_path / "few", progress=False)
    with pytest.raises(BadInput, match="there is no such folder or archive"):
        corpora.build("lakh", tmp_path / "missing.tar.gz")
    with pytest.raises(BadInput, match="is neither a folder nor a zip or tar archive"):
        corpora.build("lakh", write_midi(tmp_path / "one.mid", 0))
    with pytest.raises(BadInput, match=r"XMIDI cannot be downloaded by a program: .*--from PATH"):
        corpora.build("xmidi")
    assert not list(cache.glob("corpora/*/lock.json"))


def test_labels_and_songs_of_xmidi_and_emopia(tmp_path: Path) -> None:
    xmidi = tmp_path / "xmidi"
    for n in range(6):
        write_midi(xmidi / f"XMIDI_{('angry', 'warm')[n % 2]}_{('rock', 'jazz', 'pop')[n % 3]}_{n:08X}.midi", n)
    write_midi(xmidi / "other.midi", 99)
    corpora.build("xmidi", xmidi, progress=False)
    found = corpora.load("xmidi")
    assert {(p.labels["emotion"], p.labels["genre"]) for p in found.pieces} == {
        ("angry", "rock"), ("warm", "jazz"), ("angry", "pop"), ("warm", "rock"), ("angry", "jazz"), ("warm", "pop"),
    }  # fmt: skip
    emopia = tmp_path / "emopia" / "midis"
    for n in range(20):
        write_midi(emopia / f"Q{n % 4 + 1}_song_{n // 4:06}_{n % 4}.mid", n)
    corpora.build("emopia", tmp_path / "emopia", progress=False)
    clips = corpora.load("emopia")
    assert {piece.labels["emotion"] for piece in clips.pieces} == {"Q1", "Q2", "Q3", "Q4"}
    songs = [{piece.song for piece in clips.split(split)} for split in clips.splits]
    assert len(set.union(*songs)) == sum(map(len, songs)) == 5


def test_a_file_that_is_twice_makes_one_song_of_two(tmp_path: Path) -> None:
    folder = tmp_path / "midis"
    for song in range(12):
        for clip in range(3):
            write_midi(folder / f"Q1_song_{song:06}_{clip}.mid", 10 * song + clip)
    for song in range(1, 12):  # every song has a clip of the first one
        shutil.copy(folder / "Q1_song_000000_0.mid", folder / f"Q1_song_{song:06}_9.mid")
    corpora.build("emopia", folder, progress=False)
    found = corpora.load("emopia")
    assert len(found.pieces) == 36 and len({piece.song for piece in found.pieces}) == 1


def test_songs_of_lakh(tmp_path: Path) -> None:
    matched = "A/A/A/TRAAAAA128F425B14B"
    for number, name in enumerate(
        ["Art/Song", "Art/Song.1", "Art/Other.2", f"{matched}/{'0' * 32}", f"{matched}/{'1' * 32}", f"b/{'2' * 32}"]
    ):
        write_midi(tmp_path / f"{name}.mid", number)
    corpora.build("lakh", tmp_path, progress=False)
    assert [piece.song for piece in corpora.load("lakh").pieces] == [
        "TRAAAAA128F425B14B", "TRAAAAA128F425B14B", "Art/Other", "Art/Song", "Art/Song", "",
    ]  # fmt: skip


def test_a_damaged_corpus_is_replaced(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(4))
    for what in (("lakh", folder), (folder,)):
        made = corpora.build(*what, progress=False)
        (made.folder / "index.json").write_text("{}")
        with pytest.raises(BadInput, match=r"index\.json: has 2 bytes; .* --replace makes it anew"):
            corpora.build(*what, progress=False)
        assert corpora.build(*what, replace=True, progress=False).anew
        assert len(corpora.load(made.name).pieces) == 4


def test_a_folder_that_an_older_muspike_read_in_another_way_is_built_anew(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "midi", range(4))
    made = corpora.build(folder, progress=False)
    lock = made.folder / "lock.json"
    whole = lock.read_text()
    lock.write_text(json.dumps(json.loads(whole) | {"version": 1}))
    again = corpora.build(folder, progress=False)
    assert again.anew and again.folder == made.folder and lock.read_text() == whole
    assert not corpora.build(folder, progress=False).anew


def test_annotations_that_are_damaged_leave_a_song_out(tmp_path: Path) -> None:
    for number, (file, text) in enumerate(
        [("beat", "0.5 x 0.0"), ("beat", "0.5 1.0"), ("chord", "1e300 1e301 C:maj"), ("chord", "nan 1 N"), ("beat", "")]
    ):
        song = tmp_path / f"{number:03}"
        write_midi(song / f"{number:03}.mid", number)
        (song / "beat_midi.txt").write_text("".join(f"{n / 2} 1.0 {float(n % 4 == 0)} 7\n" for n in range(60)))
        (song / "chord_midi.txt").write_text("0.0 1.0 N\n")
        (song / f"{file}_midi.txt").write_text(text)
    write_midi(tmp_path / "009" / "009.mid", 9)
    (tmp_path / "009" / "beat_midi.txt").write_text("".join(f"{n / 2} 1.0 {float(n % 4 == 0)} 7\n" for n in range(60)))
    (tmp_path / "009" / "chord_midi.txt").write_text("0.0 1.0 N\n")
    rows = manifest(corpora.build("pop909", tmp_path, progress=False).folder)
    assert [row["kind"] for row in rows.values()] == ["no annotation"] * 5 + [""]
    assert not any(str(tmp_path) in row["reason"] for row in rows.values())


def test_a_corpus_of_other_files_is_kept_until_it_is_replaced(tmp_path: Path) -> None:
    one, other = write_folder(tmp_path / "one", range(4)), write_folder(tmp_path / "other", range(4, 9))
    first = corpora.build("lakh", one, progress=False)
    assert not corpora.build("lakh", one, progress=False).anew
    assert not corpora.build("lakh").anew  # nothing is downloaded
    with pytest.raises(BadInput, match="lakh was built of other files before"):
        corpora.build("lakh", other, progress=False)
    assert corpora.build("lakh", other, replace=True, progress=False).folder == first.folder
    assert len(corpora.load("lakh").pieces) == 5


def test_an_archive_is_unpacked_and_removed_again(tmp_path: Path, cache: Path) -> None:
    write_folder(tmp_path / "files" / "a", range(5))
    archive = Path(shutil.make_archive(str(tmp_path / "lmd"), "gztar", tmp_path / "files"))
    with pytest.warns(Doubt, match=r"is not the published lmd_full\.tar\.gz"):
        corpora.build("lakh", archive, progress=False)
    assert [piece.name for piece in corpora.load("lakh").pieces] == [f"a/{n:02}" for n in range(5)]
    assert not list(cache.glob("downloads/lakh/files*"))


# --- sketches ---


def of_pitches(pitches: list[int]) -> tokens.Words:
    return tokens.encode(Score(480, table([(240 * n, 240, pitch, 80, 0) for n, pitch in enumerate(pitches)], NOTE)))


def test_a_sketch_estimates_the_windows_that_are_shared() -> None:
    random = np.random.default_rng(0)
    first = random.integers(50, 80, 300).tolist()
    for share in (0.0, 0.3, 0.7, 1.0):
        cut = round(share * 300)
        second = first[:cut] + random.integers(50, 80, 300 - cut).tolist()
        one, two = (
            {tuple(np.diff(p[n : n + duplicates.WINDOW])) for n in range(len(p) - duplicates.WINDOW + 1)}
            for p in (first, second)
        )
        wanted = len(one & two) / len(one | two)
        found = duplicates.likeness(duplicates.sketch(of_pitches(first)), duplicates.sketch(of_pitches(second)))
        assert found == pytest.approx(wanted, abs=0.14)  # three standard errors
    assert np.array_equal(
        duplicates.sketch(of_pitches(first)), duplicates.sketch(of_pitches([pitch + 5 for pitch in first]))
    )


def test_one_of_each_group_is_kept() -> None:
    random = np.random.default_rng(1)
    songs = [random.integers(50, 80, 200).tolist() for _ in range(20)]
    pieces = [*songs, [pitch + 2 for pitch in songs[3]], songs[7][:190], songs[3] + songs[3]]
    sketches = np.stack([duplicates.sketch(of_pitches(piece)) for piece in pieces])
    order = sorted(range(len(pieces)), key=lambda n: (-len(pieces[n]), n))
    assert duplicates.nearly_same(sketches, order) == {3: 22, 20: 22, 21: 7}


def pairs_above(words: list[tokens.Words], least: float) -> dict[tuple[int, int], float]:
    sketches = np.stack([duplicates.sketch(piece) for piece in words])
    found: dict[tuple[int, int], float] = {}
    for one in range(len(words)):
        shares = (sketches[one + 1 :] == sketches[one]).mean(1)
        found |= {(one, one + 1 + int(other)): float(shares[other]) for other in np.flatnonzero(shares > least)}
    return found


def test_pairs_of_chorales_lie_far_from_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the user's own cache, where the chorales are
    pieces = list(corpora.load("jsb", progress=False).pieces)
    found = pairs_above([piece.words for piece in pieces], 0.3)
    known = {frozenset(pair) for row in SAME_MUSIC for pair in itertools.combinations(row, 2)}
    known.add(frozenset(("bwv244.15", "bwv244.17")))  # which the table lacks; they are in one split
    assert len(found) == 10 and min(found.values()) > 0.55
    assert all(frozenset((pieces[one].name, pieces[other].name)) in known for one, other in found)


def test_songs_of_pop909_lie_far_from_the_bound() -> None:
    if not POP909.exists():
        pytest.skip("shared/data is not here")
    words = [tokens.encode(midi.read(path)) for path in sorted(POP909.glob("*/*.mid"))]
    assert list(pairs_above(words, 0.2)) == [(16, 17)]


# --- real files ---


def test_chords_of_pop909() -> None:
    wanted = {"N": "N", "Bb:min7/b7": "Bb_m7", "C:maj6/5": "C_M", "G:sus4(b7)": "G_sus4", "F#:hdim7": "F#_/o7"}
    assert {chord: symbol(chord) for chord in wanted} == wanted
    for wrong in ("H:maj", "C", "C:maj9", ""):
        with pytest.raises(LeftOut, match="chord"):
            symbol(wrong)


def test_pop909_has_its_annotated_beats_and_chords(tmp_path: Path) -> None:
    if not POP909.exists():
        pytest.skip("shared/data is not here")
    for number in (1, 2, 3, 17, 18, 34, 62):
        shutil.copytree(POP909 / f"{number:03}", tmp_path / "songs" / f"{number:03}")
    (tmp_path / "songs" / "003" / "beat_midi.txt").unlink()
    (tmp_path / "songs" / "034" / "chord_midi.txt").write_text("0.1 1.0 H:maj\n")
    made = corpora.build("pop909", tmp_path / "songs", progress=False)
    rows = manifest(made.folder)
    # 018 is 017 once more, with fewer notes.
    assert {row["file"][:3]: row["kind"] for row in rows.values()} == {
        "001": "", "002": "", "003": "no annotation", "017": "", "018": "nearly the same music",
        "034": "annotation cannot be used", "062": "",
    }  # fmt: skip
    piece = corpora.load("pop909").pieces[0]
    kind = piece.words[:, tokens.BAR_BEAT]
    bars = piece.words[kind == tokens.BarBeat.BAR]
    assert (bars[:, tokens.POSITION] == 16).mean() > 0.95 and piece.key == (-6, False)
    notes = piece.words[kind == tokens.BarBeat.NOTE]
    assert (notes[:, tokens.POSITION] % 4 == 0).mean() > 0.4
    assert len(set(notes[:, tokens.CHORD].tolist())) == 10


def test_real_folders_build(tmp_path: Path) -> None:
    if not LAKH.exists():
        pytest.skip("shared/data is not here")
    made = corpora.build("lakh", LAKH, progress=False)
    lock = shards.read_lock(made.folder)
    assert lock["left_out"] == {"nearly the same music": 3, "cannot be read": 2}
    assert lock["source"]["files"] == 147 and lock["losses"]["drum_notes"] > 200_000
    emopia = tmp_path / "midis"
    emopia.mkdir()
    for path in sorted((EMOPIA / "midis").glob("Q?_[0-2]*.mid")):
        shutil.copy(path, emopia)
    corpora.build("emopia", emopia, progress=False)
    songs = [{piece.song for piece in corpora.load("emopia").split(split)} for split in corpora.SPLITS]
    assert all(songs) and len(set.union(*songs)) == sum(map(len, songs))


def test_pieces_of_the_same_music_are_of_one_song() -> None:
    songs = ["a", "b", "", "c", "", "b", "d"]
    found = building._same_songs(songs, [(0, 1), (3, 2), (6, 0)])
    # 0 is 1 once more, so a and b are one song. 3 is 2 once more, which had no song. d is the same as a.
    assert found[0] == found[1] == found[5] == found[6] and found[2] == found[3] == "c" and found[4] == ""
    chain = [str(number) for number in range(20_000)]
    assert set(building._same_songs(chain, [(n, n + 1) for n in range(len(chain) - 1)])) == {chain[-1]}
