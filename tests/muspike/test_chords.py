"""Chord names, and the recogniser against the published one, chorder 0.1.4."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import miditoolkit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muspike import chords, evaluate, midi, tokens
from muspike.errors import BadInput
from muspike.midi import NOTE, Score, Track, table

DATA = Path(__file__).parents[2].parent / "shared" / "data"

# Without /o7, which the published templates rate as o.
RECOGNISED = [quality for quality in chords.QUALITIES if quality != "/o7"]


def chorder(score: midi.Score) -> list[int]:
    from chorder import Dechorder

    return [
        2 + 11 * chord.root_pc + chords.QUALITIES.index(chord.quality) if chord.is_complete() else chords.NO_CHORD
        for chord in Dechorder.dechord(score.to_miditoolkit())
    ]


def up(score: Score, semitones: int) -> Score:
    notes = score.notes.copy()
    notes["pitch"] += semitones
    return Score(score.ticks_per_beat, notes, tracks=score.tracks)


def down(recognised: Sequence[int] | NDArray[np.integer[Any]], semitones: int) -> list[int]:
    """The chords of a piece `semitones` lower."""
    return [c if c == chords.NO_CHORD else 2 + (c - 2 - 11 * semitones) % 132 for c in map(int, recognised)]


def check_against_chorder(score: Score) -> tuple[int, int]:
    """Ours are the same in every key, and chorder's where those are. Returns the beats, and those where not."""
    ours = chords.recognise(score).tolist()
    theirs = np.array([down(chorder(up(score, semitones)), semitones) for semitones in range(12)])
    same = (theirs == theirs[0]).all(axis=0)
    np.testing.assert_array_equal(np.array(ours)[same], theirs[0][same])
    for semitones in range(12):
        assert down(chords.recognise(up(score, semitones)), semitones) == ours
    return len(ours), int((~same).sum())


def test_vocabulary() -> None:
    assert len(chords.SYMBOLS) == 134
    for index, symbol in enumerate(chords.SYMBOLS[1:], start=1):
        assert chords.index(symbol) == index
    assert chords.index("C_M") == 2
    assert chords.index("Bb_/o7") == chords.index("A#_/o7") == 2 + 11 * 10 + 8
    assert chords.index("N") == chords.NO_CHORD == 1


@pytest.mark.parametrize("symbol", ["", "C", "H_M", "C_maj9", "N_N", "_M"])
def test_unknown_symbols_are_refused(symbol: str) -> None:
    with pytest.raises(BadInput, match="chord"):
        chords.index(symbol)


@pytest.mark.parametrize("root", range(12))
@pytest.mark.parametrize("quality", RECOGNISED)
def test_every_chord_in_root_position(root: int, quality: str) -> None:
    notes = [(0, 960, 48 + root + tone, 80, 0) for tone in chords.TONES[quality]]
    score = Score(480, table(notes, NOTE))
    assert chords.recognise(score).tolist()[:2] == [2 + 11 * root + chords.QUALITIES.index(quality)] * 2
    assert chords.recognised_marks(score)[0].symbol == f"{chords.ROOTS[root]}_{quality}"


def test_silence_and_drums_have_no_chord() -> None:
    triad = [(0, 480, pitch, 80, 0) for pitch in (60, 64, 67)]
    kit = [(0, 480, pitch, 80, 1) for pitch in (35, 38, 42)]
    score = Score(480, table([*triad, *kit], NOTE), tracks=[Track(), Track(is_drum=True)])
    assert chords.recognise(score)[0] == chords.index("C_M")
    assert (chords.recognise(Score(480, table(kit, NOTE), tracks=[Track(), Track(is_drum=True)])) == 1).all()
    far = Score(480, table([(480 * 9, 480, 60, 80, 0)], NOTE))
    assert (chords.recognise(far) == chords.NO_CHORD).all()


# At most ten onsets before any note ends, so that chorder sees every sounding note.
random_notes = st.lists(st.tuples(st.integers(0, 60), st.integers(1, 12), st.integers(30, 90)), min_size=1, max_size=11)


@settings(max_examples=60, deadline=None)
@given(random_notes)
def test_agrees_with_chorder_on_random_notes_where_the_key_does_not_matter(notes: list[tuple[int, int, int]]) -> None:
    rows = [(onset * 60, length * 60, pitch, 80, 0) for onset, length, pitch in notes]
    check_against_chorder(Score(480, table(rows, NOTE)))


# Voicings of a chord: its quality, the tone in the bass, a tone that is doubled, the octaves of the others.
voicings = st.tuples(
    st.sampled_from(chords.QUALITIES),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.integers(0, 2), min_size=5, max_size=5),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(voicings, min_size=1, max_size=4))
def test_a_transposed_piece_has_the_transposed_chords(voiced: list[tuple[str, int, int, list[int]]]) -> None:
    rows = []
    for number, (quality, bass, doubled, octaves) in enumerate(voiced):
        tones = list(chords.TONES[quality])
        tones = [*tones, tones[doubled % len(tones)]]
        pitches = [
            36 + tones[bass % len(tones)],
            *(48 + tone + 12 * octave for tone, octave in zip(tones, octaves, strict=False)),
        ]
        rows += [(480 * number, 480, pitch, 80, 0) for pitch in pitches]
    score = Score(480, table(rows, NOTE))
    found = chords.recognise(score).tolist()
    marks = chords.recognised_marks(score)
    harmony = evaluate(score, ["chord_tone_ratio", "pitch_consonance_score"])
    for semitones in range(1, 12):
        higher = up(score, semitones)
        assert down(chords.recognise(higher), semitones) == found
        assert evaluate(higher, list(harmony)) == pytest.approx(harmony, nan_ok=True)
        moved = tokens.transpose(tokens.encode(score), semitones)
        np.testing.assert_array_equal(tokens.encode(higher), moved)
    assert len(marks) == len(np.flatnonzero(np.diff(found, prepend=0)))


@pytest.mark.parametrize("root", range(12))
def test_ties_go_to_the_chord_that_explains_most_then_to_the_bass(root: int) -> None:
    def name(*steps: int) -> str:
        notes = [(0, 960, 36 + root + step, 80, 0) for step in steps]
        return chords.recognised_marks(Score(480, table(notes, NOTE)))[0].symbol

    def chord(step: int, quality: str) -> str:
        return f"{chords.ROOTS[(root + step) % 12]}_{quality}"

    # The dominant seventh on its third, its root doubled, and once as long: as much a diminished triad as a major one.
    assert name(4, 7, 10, 12) == chord(0, "7") and name(4, 7, 10, 24) == chord(0, "7")
    for inversion in ((0, 3, 6, 9), (3, 6, 9, 12), (6, 9, 12, 15)):
        assert name(*inversion) == chord(inversion[0], "o7")  # four roots sound the same: it is named by its bass
    for augmented in ((0, 4, 8), (4, 8, 12), (8, 12, 16)):
        assert name(*augmented) == chord(augmented[0], "+")


def test_agrees_with_chorder_on_every_chorale_looked_at() -> None:
    files = sorted((DATA / "jsb/music21_midi").glob("*.mid"))[::6]
    if not files:
        pytest.skip("shared/data is not here")
    found = [check_against_chorder(midi.read(path)) for path in files]
    beats, in_doubt = np.sum(found, axis=0)
    assert beats > 3000 and 0 < in_doubt < 0.08 * beats


def test_agrees_with_chorder_on_pop_but_for_notes_it_overlooks() -> None:
    path = DATA / "pop909/POP909/005/005.mid"
    if not path.exists():
        pytest.skip("shared/data is not here")
    score = midi.read(path)
    ours, theirs = chords.recognise(score), np.array(chorder(Score.from_miditoolkit(miditoolkit.MidiFile(str(path)))))
    onsets = np.unique(score.notes["onset"])
    ends = score.notes["onset"] + score.notes["duration"]
    different = np.flatnonzero(ours != theirs)
    assert 0 < len(different) < 0.02 * len(ours)
    for beat in different:
        # The two-beat window around the beat holds a note that began more than ten onsets before the window.
        starts = [480 * beat, 480 * (beat - beat % 2), 480 * (beat + 1)]
        overlooked = [
            (ends > start) & (score.notes["onset"] < onsets[max(0, int(np.searchsorted(onsets, start)) - 10)])
            for start in starts
        ]
        assert np.any(overlooked), beat


def test_chord_metrics_are_equal_in_every_key_on_real_files() -> None:
    files = [*sorted((DATA / "jsb/music21_midi").glob("*.mid"))[1::8], *sorted((DATA / "pop909").rglob("*.mid"))[::40]]
    files += sorted((DATA / "emopia").rglob("*.mid"))[::40]
    if len(files) < 90:
        pytest.skip("shared/data is not here")
    names = ["chord_tone_ratio", "pitch_consonance_score"]
    looked_at = 0
    for path in files:
        score = midi.read(path)
        pitches = score.notes["pitch"]
        if pitches.min() < 6 or pitches.max() > 121:
            continue
        looked_at += 1
        recognised = [down(chords.recognise(up(score, semitones)), semitones) for semitones in range(-6, 6)]
        assert all(found == recognised[0] for found in recognised), path
        values = [evaluate(up(score, semitones), names) for semitones in range(-6, 6)]
        assert all(found == pytest.approx(values[0], nan_ok=True) for found in values), path
    assert looked_at >= 90


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(36, 84)), min_size=1, max_size=12))
def test_long_stretches_in_which_nothing_changes_have_the_chords_of_their_beats(
    notes: list[tuple[int, int, int]],
) -> None:
    # Beat by beat, each pair of beats is a piece of its own.
    rows = table([(24 * onset, 24 * length, pitch, 80, 0) for onset, length, pitch in notes], NOTE)
    score = Score(48, rows)
    ends = rows["onset"] + rows["duration"]
    beats = int(ends.max()) // 48 + 1
    wanted = []
    for beat in range(0, beats, 2):
        first = np.maximum(rows["onset"], beat * 48)
        last = np.minimum(ends, (beat + 2) * 48)
        heard = last > first
        cut = [(first[i] - beat * 48, last[i] - first[i], rows["pitch"][i], 80, 0) for i in np.flatnonzero(heard)]
        # A silent note keeps the pair complete.
        length = min(2, beats - beat)
        found = chords.recognise(Score(48, table([*cut, (length * 48 - 1, 0, 0, 80, 0)], NOTE))).tolist()
        wanted += found[:length]
    assert chords.recognise(score).tolist() == wanted
    starts, values = chords.recognise_changes(score)
    assert (np.diff(values) != 0).all()
    assert starts[0] == 0


def test_a_note_of_any_length_takes_few_steps() -> None:
    starts, values = chords.recognise_changes(Score(1, table([(0, 2**31 - 1, 60, 80, 0), (0, 4, 64, 80, 0)], NOTE)))
    assert len(starts) <= 3
    assert chords.SYMBOLS[values[np.argmax(np.diff(starts, append=2**31 - 1))]] == "C_M"
