"""Excerpts: equal length, cut as the metrics cut them, similar durations; sources that cannot give them are refused."""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import corpora, midi, tokens
from muspike.bench.study import excerpts
from muspike.bench.study.excerpts import (
    ANYWHERE,
    START,
    Excerpt,
    From,
    Length,
    choose,
    find,
    named_sources,
    refuse_too_few,
)
from muspike.errors import BadInput
from muspike.midi import NOTE, TEMPO, Score, table
from muspike.tokens import BAR_BEAT, BarBeat
from noise_corpus import noise_corpus
from pieces import random_piece
from stored_corpus import write_folder, write_midi


def test_an_excerpt_is_cut_as_the_metrics_cut_it(tmp_path: Path) -> None:
    write_folder(tmp_path / "pieces", range(5))
    found = find("x", str(tmp_path / "pieces"), Length(40), 5, START, [0])
    assert len(found.excerpts) == 5
    for one in found.excerpts:
        whole = tokens.encode(midi.read(tmp_path / "pieces" / one.origin), [])
        assert np.array_equal(one.words, whole[:40])
        assert np.array_equal(one.score.notes, tokens.decode(whole[:40]).notes)
        assert one.score.chords is None


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.integers(20, 120), st.integers(1, 40), st.sampled_from([START, ANYWHERE]))
def test_excerpts_have_the_asked_length_and_begin_at_a_bar(seed: int, notes: int, size: int, begin: From) -> None:
    words = random_piece(np.random.default_rng(seed), notes)
    for length in (Length(size + 3), Length(None, size)):
        cut = length.cut(words, begin, np.random.default_rng(seed))
        if cut is None:
            continue
        assert cut[0, BAR_BEAT] == BarBeat.BAR and cut[1, BAR_BEAT] == BarBeat.BEAT
        assert (len(cut) if length.words else int((cut[:, BAR_BEAT] == BarBeat.BAR).sum())) == (
            length.words or length.bars
        )
        assert len(tokens.decode(cut).notes)
        if begin == START:
            assert np.array_equal(cut, words[: len(cut)])
    # A piece of so many words or bars always has an excerpt of them at its start.
    assert Length(len(words)).cut(words, START, np.random.default_rng(0)) is not None
    assert Length(len(words) + 1).cut(words, START, np.random.default_rng(0)) is None


def test_bars_drawn_anywhere_differ_with_the_seed(tmp_path: Path) -> None:
    write_folder(tmp_path / "pieces", range(3))
    begun = {
        find("x", str(tmp_path / "pieces"), Length(None, 2), 3, ANYWHERE, [seed]).excerpts[0].words.tobytes()
        for seed in range(6)
    }
    assert len(begun) > 1


def test_a_corpus_gives_its_test_split(monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = noise_corpus([130] * 6, train=2, validation=1, name="jsb")
    monkeypatch.setattr(corpora, "load", lambda name: corpus)
    monkeypatch.setattr(excerpts, "LONGEST_S", math.inf)  # noise has slow tempos and long bars
    found = find("human", "jsb", Length(128), 3, START, [0])
    assert sorted(one.origin for one in found.excerpts) == sorted(corpus.splits["test"])


def test_what_cannot_be_used_is_left_out_and_named(tmp_path: Path) -> None:
    folder = tmp_path / "pieces"
    write_folder(folder, range(4))
    (folder / "twice.mid").write_bytes((folder / "00.mid").read_bytes())
    (folder / "broken.mid").write_bytes(b"no MIDI")
    write_midi(folder / "drums.mid", 9, drums=True)
    write_midi(folder / "short.mid", 9, notes=3)
    found = find("x", str(folder), Length(40), 9, START, [0])
    assert len(found.excerpts) == 4
    told = " ".join(found.left_out)
    assert "broken.mid" in told and "drums.mid" in told and "has the notes of another one" in told


def test_what_is_in_two_sources_is_in_one_alone(tmp_path: Path) -> None:
    write_folder(tmp_path / "human", range(4))
    write_folder(tmp_path / "net", range(2, 6))
    seen: dict[bytes, str] = {}
    for source, others in (("human", 4), ("net", 2)):
        found = find(source, str(tmp_path / source), Length(40), 4, START, [0], seen=seen)
        assert len(found.excerpts) == others
    assert all("net: " in why and "the notes of another one, human: " in why for why in found.left_out)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_not_utf_8_is_told_in_utf_8(tmp_path: Path) -> None:
    write_folder(tmp_path, range(1))
    os.rename(tmp_path / "00.mid", os.fsencode(tmp_path) + b"/\xfcber.mid")  # noqa: PTH104  # Path takes no bytes
    (found,) = find("x", str(tmp_path), Length(40), 1, START, [0]).excerpts
    assert found.origin == "\\xfcber.mid"


def test_it_looks_at_no_more_pieces_than_it_needs(tmp_path: Path) -> None:
    write_folder(tmp_path / "pieces", range(40))
    found = find("x", str(tmp_path / "pieces"), Length(40), 2, START, [0])
    assert len(found.excerpts) == 2 * excerpts.LOOKED_AT


def test_a_source_of_short_pieces_is_refused_with_the_length_that_would_do(tmp_path: Path) -> None:
    for number, notes in enumerate((40, 40, 12, 10)):
        write_midi(tmp_path / "gen" / f"{number}.mid", number, notes=notes)
    place = str(tmp_path / "gen")
    found = find("s-rnn", place, Length(64), 3, START, [0])
    with pytest.raises(BadInput) as error:
        refuse_too_few("s-rnn", place, found, Length(64), 3)
    told = str(error.value)
    assert told.startswith(f"s-rnn ({place}): 2 usable excerpts of 64 words from 4 pieces, expected 3")
    words = int(re.search(r"with --words (\d+) it has them", told)[1])  # type: ignore[index]
    refuse_too_few("s-rnn", place, find("s-rnn", place, Length(words), 3, START, [0]), Length(words), 3)
    with pytest.raises(BadInput, match="more pieces, or fewer --excerpts"):
        refuse_too_few("s-rnn", place, found, Length(64), 9)


def test_folders_without_midi_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    for place, told in (("empty", "holds no MIDI files"), ("none", "no such folder"), ("file", "is a file")):
        with pytest.raises(BadInput, match=told):
            find("x", str(tmp_path / place), Length(64), 3, START, [0])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("human=a", "has one source"),
        ("human=a,human=b", "source human is there twice"),
        ("human=a,b", "expected NAME=FOLDER"),
        ("human=a,../x=b", "expected NAME=FOLDER"),
        ("human=a,=b", "expected NAME=FOLDER"),
        ("human=,x=b", "expected NAME=FOLDER"),
    ],
)
def test_wrong_sources_are_refused(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        named_sources(text)


def test_sources_are_named_in_order() -> None:
    assert named_sources("s-rnn=gen,human=/a=b") == {"s-rnn": "gen", "human": "/a=b"}


def of_seconds(source: str, seconds: list[float]) -> list[Excerpt]:
    score = Score(480, table([(0, 480, 60, 80, 0)], NOTE), tempos=table([(0, 120.0)], TEMPO))
    return [Excerpt(source, f"{n}.mid", np.zeros((1, 7), np.int16), score, s) for n, s in enumerate(seconds)]


@settings(deadline=None)
@given(st.lists(st.lists(st.floats(1, 90), min_size=4, max_size=20), min_size=2, max_size=4), st.integers(0, 2**31))
def test_chosen_excerpts_are_as_near_to_the_usual_duration_as_there_are(seconds: list[list[float]], seed: int) -> None:
    found = {f"s{n}": of_seconds(f"s{n}", of) for n, of in enumerate(seconds)}
    chosen, left = choose(found, 4, seed)
    usual = float(np.median([np.median(of) for of in seconds]))
    for source, all_of in found.items():
        assert len(chosen[source]) == 4
        assert sorted(one.origin for one in (*chosen[source], *left[source])) == sorted(one.origin for one in all_of)
        off = [abs(np.log(one.seconds / usual)) for one in all_of]
        allowed = max(sorted(off)[3], np.log1p(excerpts.SIMILAR))
        assert all(abs(np.log(one.seconds / usual)) <= allowed + 1e-9 for one in chosen[source])
