"""The corpora: what is in JSB, its splits, and the cache."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from pathlib import Path

import numpy as np
import platformdirs
import pytest

from muspike import corpora, midi, tokens
from muspike.corpora import Corpus, Piece, jsb
from muspike.errors import BadInput, Doubt
from muspike.midi import NOTE, Score, table
from muspike.tokens import BarBeat

EXPORTS = Path(__file__).parents[2].parent / "shared" / "data" / "jsb" / "music21_midi"


@pytest.fixture(scope="module")
def chorales() -> Corpus:
    return corpora.load("jsb", progress=False)


def source(work: str) -> Path:
    return next(path for path in jsb.sources() if path.stem == work)


def read(work: str) -> Piece:
    piece = jsb.read(source(work))
    assert piece is not None
    return piece


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
        assert -7 <= piece.key[0] <= 7
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
    assert jsb.read(source("bwv846")) is None


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
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """Counts how often the corpus is built."""
    built: list[int] = []

    def build(progress: bool) -> Corpus:
        built.append(1)
        pieces = [
            Piece(
                name, tokens.encode(Score(480, table([(0, 480, pitch, 80, 0)], NOTE))), (pitch - 62, pitch > 61), True
            )
            for name, pitch in (("a", 60), ("b", 61), ("c", 62))
        ]
        return Corpus("jsb", pieces, {"train": ["a"], "validation": ["c"], "test": ["b"]})

    monkeypatch.setattr(jsb, "build", build)
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda name: tmp_path / name)
    return built


def assert_same(found: Corpus, wanted: Corpus) -> None:
    assert found.name == wanted.name
    assert found.splits == wanted.splits
    for one, other in zip(found.pieces, wanted.pieces, strict=True):
        assert (one.name, one.key, one.tempo_assumed) == (other.name, other.key, other.tempo_assumed)
        assert one.words.dtype == np.int16
        assert np.array_equal(one.words, other.words)


def test_built_once_then_from_the_cache(tiny: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    first = corpora.load("jsb")
    assert f"jsb-{jsb.VERSION}.npz" == corpora.cache_path("jsb").name
    assert [path.name for path in corpora.cache_path("jsb").parent.iterdir()] == [f"jsb-{jsb.VERSION}.npz"]
    assert_same(corpora.load("jsb"), first)
    assert len(tiny) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "other"])
def test_a_damaged_cache_is_built_again(damage: str, tiny: list[int]) -> None:
    first, cache = corpora.load("jsb"), corpora.cache_path("jsb")
    content = bytearray(cache.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "empty":
        content = bytearray()
    elif damage == "flipped":
        content[60] ^= 0xFF
    if damage == "other":
        np.savez(cache, words=np.zeros((3, 7)))
    else:
        cache.write_bytes(content)
    with pytest.warns(Doubt, match=f"^{cache}: damaged") as warned:
        assert_same(corpora.load("jsb"), first)
    assert len(warned) == 1 and "\n" not in str(warned[0].message)
    assert_same(corpora.load("jsb"), first)
    assert len(tiny) == 2


def test_a_cache_that_cannot_be_written_is_a_warning(
    tiny: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for folder, why in ((tmp_path / "file", "file: is a file"), (Path("~/.cache"), "no home folder")):
        monkeypatch.setattr(platformdirs, "user_cache_path", lambda name, folder=folder: folder / name)
        with pytest.warns(Doubt, match=f"corpus jsb is not cached: .*{why}"):
            assert len(corpora.load("jsb").pieces) == 3
    assert not Path("~").exists()


def test_a_cache_that_is_a_pipe_is_built_again(tiny: list[int]) -> None:
    cache = corpora.cache_path("jsb")
    cache.parent.mkdir(parents=True)
    os.mkfifo(cache)
    with pytest.warns(Doubt, match="is a pipe or a device"), pytest.warns(Doubt, match="is not cached"):
        assert len(corpora.load("jsb").pieces) == 3


def test_an_unknown_corpus_is_refused() -> None:
    with pytest.raises(BadInput, match=r"'bach'.*jsb"):
        corpora.load("bach")
