"""The corpora: what is in JSB, its splits, and the cache."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from muspike import corpora, midi, tokens
from muspike.corpora import Corpus, Piece, jsb
from muspike.corpora.folder import SOURCE as FOLDER
from muspike.corpora.folder import midi_files
from muspike.corpora.source import LeftOut, Source
from muspike.errors import BadInput, Doubt
from muspike.tokens import BarBeat
from stored_corpus import write_folder, write_midi

EXPORTS = Path(__file__).parents[2].parent / "shared" / "data" / "jsb" / "music21_midi"


@pytest.fixture(scope="module")
def chorales() -> Corpus:
    return corpora.load("jsb", progress=False)


def source(work: str) -> Path:
    return next(path for path in jsb.sources() if path.stem == work)


def read(work: str) -> Piece:
    path = source(work)
    taken = jsb.read(path.parent, path)
    return Piece(work, tokens.encode(taken.score), taken.key, taken.tempo_assumed)


def bars(piece: Piece) -> list[int]:
    is_bar = piece.words[:, tokens.BAR_BEAT] == BarBeat.BAR
    return [int(length) for length in piece.words[is_bar, tokens.POSITION]]


def test_chorales_and_splits(chorales: Corpus) -> None:
    names = [piece.name for piece in chorales.pieces]
    assert len(names) == 365
    assert sorted(set(names)) == names
    assert {split: len(pieces) for split, pieces in chorales.splits.items()} == {
        "train": 219, "validation": 73, "test": 73,
    }  # fmt: skip
    assert sorted(name for pieces in chorales.splits.values() for name in pieces) == names
    assert [piece.name for piece in chorales.split("test")] == chorales.splits["test"]
    split_of = {name: split for split, pieces in chorales.splits.items() for name in pieces}
    for row in jsb.SAME_MUSIC:
        assert len({split_of[name] for name in row}) == 1, row


def test_every_chorale_is_a_valid_piece(chorales: Corpus) -> None:
    for piece in chorales.pieces:
        assert piece.words.dtype == np.int16
        decoded = tokens.decode(piece.words)
        assert np.array_equal(tokens.encode(decoded), piece.words), piece.name
        assert set(decoded.notes["velocity"]) == {jsb.VELOCITY}
        assert piece.key is not None and -7 <= piece.key[0] <= 7
    lengths = Counter(length for piece in chorales.pieces for length in bars(piece))
    assert set(lengths) == {4, 8, 12, 16, 24}
    assert lengths[16] > 3500


def test_no_chorale_is_near_another_split(chorales: Corpus) -> None:
    split_of = {name: split for split, pieces in chorales.splits.items() for name in pieces}
    sets = {}
    for piece in chorales.pieces:
        notes = tokens.decode(piece.words).notes
        sets[piece.name] = {(onset, pitch - notes["pitch"][0]) for onset, pitch in notes[["onset", "pitch"]].tolist()}
    names = list(sets)
    for i, first in enumerate(names):
        for second in names[:i]:
            if split_of[first] != split_of[second]:
                shared = len(sets[first] & sets[second])
                assert shared <= 0.5 * (len(sets[first]) + len(sets[second]) - shared), (first, second)


def windows(piece: Piece, beats: int = 6) -> set[tuple[tuple[int, ...], ...]]:
    """The chords on every `beats` beats in a row, relative to the first top note: where they stand does not matter."""
    notes = tokens.decode(piece.words).notes
    ends = notes["onset"] + notes["duration"]
    sounding = [
        tuple(sorted(notes["pitch"][(notes["onset"] <= at) & (ends > at)].tolist()))
        for at in range(0, int(ends.max()), tokens.TICKS_PER_BEAT)
    ]
    rows = [sounding[i : i + beats] for i in range(len(sounding) - beats + 1)]
    return {tuple(tuple(p - row[0][-1] for p in chord) for chord in row) for row in rows if row[0]}


def test_no_chorale_is_contained_in_another_split(chorales: Corpus) -> None:
    """Inserted bars and repeats written out hide a copy from the test above, not from this one."""
    split_of = {name: split for split, pieces in chorales.splits.items() for name in pieces}
    found = {piece.name: windows(piece) for piece in chorales.pieces}
    having: dict[tuple[tuple[int, ...], ...], list[str]] = {}
    for name, rows in found.items():
        for row in rows:
            having.setdefault(row, []).append(name)
    shared = Counter(pair for names in having.values() for pair in itertools.combinations(names, 2))
    assert shared[("bwv20.11", "bwv20.7")] > 20, "the measure does not see a known copy"
    for (first, second), count in shared.items():
        if split_of[first] != split_of[second]:
            assert count <= min(len(found[first]), len(found[second])) / 3, (first, second)


def test_a_chorale_with_a_pickup() -> None:
    piece = read("bwv253")
    assert bars(piece)[:2] == [4, 16]
    assert piece.key == (3, False)
    assert piece.tempo_assumed
    assert piece.words[1, tokens.TEMPO_] == tokens.tempo_index(100)
    # BWV 253, A major: the pickup chord is A (pitches a4, e4, c#4, a3 sounding over it)
    first = piece.words[2:6]
    assert (first[:, tokens.BAR_BEAT] == BarBeat.NOTE).all()
    assert set((first[:, tokens.PITCH] - 1) % 12) <= {9, 1, 4}


@pytest.mark.parametrize(
    ("work", "key", "bar"), [("bwv123.6", (2, True), 24), ("bwv10.7", (-2, True), 16), ("bwv62.6", (-2, True), 16)]
)
def test_keys_and_metres(work: str, key: tuple[int, bool], bar: int) -> None:
    piece = read(work)
    assert piece.key == key
    assert Counter(bars(piece)).most_common(1)[0][0] == bar


def test_works_of_other_than_four_parts_are_left_out() -> None:
    with pytest.raises(LeftOut, match="2 parts"):
        jsb.read(jsb.folder(), source("bwv846"))


@pytest.mark.parametrize("work", ["bwv10.7", "bwv253", "bwv62.6"])
def test_notes_are_those_of_an_independent_export(work: str) -> None:
    if not EXPORTS.exists():
        pytest.skip("shared/data is not here")
    exported, ours = midi.read(EXPORTS / f"{work}.mid"), tokens.decode(read(work).words)
    columns = ["onset", "duration", "pitch"]
    assert sorted(ours.notes[columns].tolist()) == sorted(exported.notes[columns].tolist())


def test_all_chorales_against_the_exports(chorales: Corpus) -> None:
    if not EXPORTS.exists():
        pytest.skip("shared/data is not here")
    assert {piece.name for piece in chorales.pieces} == {path.stem for path in EXPORTS.glob("*.mid")}
    equal = shorter = 0
    for piece in chorales.pieces:
        columns = ["onset", "duration", "pitch"]
        exported = midi.read(EXPORTS / f"{piece.name}.mid").notes[columns]
        ours = tokens.decode(piece.words).notes[columns]
        if len(ours) < len(exported):  # the exports play the repeats
            shorter += 1
        else:
            equal += sorted(ours.tolist()) == sorted(exported.tolist())
    assert (equal, shorter) == (210, 153)  # two more have thirty-second notes


# The cache, with a small corpus of its own.


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's cache folder, empty."""
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache: Path) -> Source:
    """The chorales are five small MIDI files, one of them with too few notes."""
    folder = write_folder(tmp_path / "works", range(4))
    write_midi(folder / "few.mid", 9, notes=3)
    source = replace(jsb.SOURCE, read=FOLDER.read, files=midi_files, folder=lambda: folder, packages=(), song_of={})
    monkeypatch.setattr(jsb, "SOURCE", source)
    return source


def assert_same(found: Corpus, wanted: Corpus) -> None:
    assert (found.name, found.digest) == (wanted.name, wanted.digest)
    assert found.splits == wanted.splits
    for one, other in zip(found.pieces, wanted.pieces, strict=True):
        assert (one.name, one.key, one.tempo_assumed) == (other.name, other.key, other.tempo_assumed)
        assert one.words.dtype == np.int16
        assert np.array_equal(one.words, other.words)


def test_built_once_then_from_the_cache(
    tiny: Source, cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = corpora.load("jsb")
    assert sorted(path.name for path in cache.glob("corpora/*")) == [f"jsb-{tiny.version}"]
    assert [piece.name for piece in first.pieces] == ["00", "01", "02", "03"]
    assert {split: len(names) for split, names in first.splits.items()} == {"train": 2, "validation": 1, "test": 1}
    monkeypatch.setattr("muspike.corpora.building.build", lambda plan: pytest.fail("built again"))
    assert_same(corpora.load("jsb"), first)
    assert capsys.readouterr() == ("", "")


def test_what_is_read_is_what_the_files_hold(tiny: Source) -> None:
    found = corpora.load("jsb")
    assert tiny.folder is not None
    for piece in found.pieces:
        assert np.array_equal(piece.words, tokens.encode(midi.read(tiny.folder() / f"{piece.name}.mid")))
    plain = Corpus(found.name, list(found.pieces), found.splits)
    assert plain.digest == found.digest
    for split in found.splits:
        assert [len(words) for words in found.words(split)] == [len(piece.words) for piece in found.split(split)]


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "missing"])
@pytest.mark.parametrize("file", ["words-00000.npy", "index.json", "lock.json"])
def test_a_damaged_cache_is_built_again(damage: str, file: str, tiny: Source, cache: Path) -> None:
    first, path = corpora.load("jsb"), cache / f"corpora/jsb-{tiny.version}" / file
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flipped":
        content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    if damage == "missing":
        path.unlink()
    with pytest.warns(Doubt, match="damaged") as warned:
        assert_same(corpora.load("jsb"), first)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert_same(corpora.load("jsb"), first)


def test_a_cache_that_cannot_be_written_is_a_warning(
    tiny: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "file: is a file"), (Path("~/.cache"), "no home folder")):
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, folder=folder: folder / name)
        with pytest.warns(Doubt, match=f"corpus jsb is not cached: .*{why}"):
            assert len(corpora.load("jsb").pieces) == 4
    assert not Path("~").exists()


def test_a_cache_that_is_a_pipe_is_built_again(tiny: Source, cache: Path) -> None:
    (cache / "corpora").mkdir(parents=True)
    os.mkfifo(cache / f"corpora/jsb-{tiny.version}")
    with pytest.warns(Doubt, match="damaged"):
        assert len(corpora.load("jsb").pieces) == 4


def test_an_unknown_corpus_is_refused(cache: Path) -> None:
    with pytest.raises(BadInput, match=r"'bach'.*jsb"):
        corpora.load("bach")
    with pytest.raises(BadInput, match=r"corpus pop909 is not built here; muspike data build pop909"):
        corpora.load("pop909")
    with pytest.raises(BadInput, match=r"corpus xmidi is not built here: download it from .*--from PATH"):
        corpora.load("xmidi")


def test_figures_of_a_large_split_are_of_pieces_all_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [Piece(f"{n:03}", np.full((50, 7), n % 5, np.int16)) for n in range(100)]
    corpus = Corpus("many", pieces, {"train": [], "validation": [piece.name for piece in pieces], "test": []})
    assert len(corpus.evaluated("validation")) == 100
    monkeypatch.setattr("muspike.corpora.corpus.EVALUATED_WORDS", 500)
    found = corpus.evaluated("validation")
    assert sum(map(len, found)) == 500
    assert [words[0, 0] for words in found] == [n % 5 for n in range(0, 100, 10)]
