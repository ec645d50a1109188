"""A melody: found in a score, and the highest voice of what is composed to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import midi, tokens
from muspike.beat import on_beat
from muspike.errors import BadInput
from muspike.generation import Logits, Sampling, generate
from muspike.melody import Melody, melody_of
from muspike.midi import Score, Track
from muspike.tokens import BarBeat, Words
from noise_corpus import Noise

CHORALES = Path(__file__).parents[2].parent / "shared" / "data" / "jsb" / "boulanger_midi" / "test"

Row = tuple[int, int, int]


def score(
    *voices: Sequence[Row], tracks: Sequence[Track] | None = None, tempos: Sequence[tuple[int, int]] = ()
) -> Score:
    """A score of voices, each in a track of its own; a note is (onset, duration, pitch), in sixteenths."""
    notes = [
        (120 * onset, 120 * duration, pitch, 80, track)
        for track, voice in enumerate(voices)
        for onset, duration, pitch in voice
    ]
    names = tracks or [Track(f"voice {i}") for i in range(len(voices))]
    return Score(480, midi.table(notes, midi.NOTE), midi.table(tempos, midi.TEMPO), tracks=names, name="song")


def rows(words: Words) -> list[Row]:
    """The notes of a piece as (onset, duration, pitch), in sixteenths."""
    return [(note[0] // 120, note[1] // 120, note[2]) for note in tokens.decode(words).notes.tolist()]


def assert_leads(piece: Words, melody: Words) -> None:
    """Every note of the melody is in the piece as it is, and all that sounds beside it is lower."""
    assert piece[-1, tokens.BAR_BEAT] == BarBeat.END
    found, wanted = tokens.decode(piece), tokens.decode(melody)
    as_rows = [tuple(note) for note in found.notes[["onset", "duration", "pitch", "velocity"]].tolist()]
    for onset, duration, pitch, velocity, _ in wanted.notes.tolist():
        assert as_rows.count((onset, duration, pitch, velocity)) == 1
        sounds = (found.notes["onset"] < onset + duration) & (found.notes["onset"] + found.notes["duration"] > onset)
        assert sorted(found.notes["pitch"][sounds].tolist())[-1] == pitch
        assert (found.notes["pitch"][sounds] == pitch).sum() == 1
    assert np.array_equal(found.time_signatures, wanted.time_signatures)
    assert np.array_equal(found.tempos, wanted.tempos)
    last = wanted.notes[-1]
    assert found.notes["onset"].max() < last["onset"] + last["duration"]


# --- finding it ------------------------------------------------------------------------------------------------------


def test_the_melody_is_the_highest_voice() -> None:
    soprano = [(0, 4, 72), (4, 8, 74), (12, 4, 71)]
    bass = [(0, 2, 48), (2, 2, 50), (4, 4, 52), (8, 4, 53), (12, 4, 55), (20, 4, 48)]
    found = rows(melody_of(score(soprano, bass)))
    # Where the soprano rests, the bass is the highest that sounds.
    assert found == [*soprano, (20, 4, 48)]
    assert rows(melody_of(score(soprano, bass), track=1)) == bass


def test_a_note_that_sounds_into_the_next_one_is_cut_there() -> None:
    assert rows(melody_of(score([(0, 6, 60), (4, 4, 64), (6, 4, 62)]), track=0)) == [(0, 4, 60), (4, 2, 64), (6, 4, 62)]
    # Without a track, the lower note that begins while the higher one sounds belongs to another voice.
    assert rows(melody_of(score([(0, 6, 60), (4, 4, 64), (6, 4, 62)]))) == [(0, 4, 60), (4, 4, 64)]


def test_bars_before_and_behind_the_melody_are_dropped() -> None:
    words = melody_of(score([(20, 4, 72)], [(0, 4, 48), (16, 8, 48), (40, 4, 48)]), track=0)
    assert (words[:, tokens.BAR_BEAT] == BarBeat.BAR).sum() == 1 and rows(words) == [(4, 4, 72)]


@pytest.mark.parametrize(
    ("track", "words"),
    [
        (3, "^song: has no track 3; its tracks are 0 'flute', 1 'drums', 2 'rests'$"),
        (-1, "^song: has no track -1"),
        (1, "^song: track 1 is a drum track"),
        (2, "^song: track 2 has no notes"),
    ],
)
def test_a_track_without_a_melody_is_refused(track: int, words: str) -> None:
    tracks = [Track("flute"), Track("drums", is_drum=True), Track("rests")]
    with pytest.raises(BadInput, match=words):
        melody_of(score([(0, 4, 72)], [(0, 4, 36)], tracks=tracks), track)


def test_a_score_of_drums_has_no_melody() -> None:
    with pytest.raises(BadInput, match="song: no notes to encode"):
        melody_of(score([(0, 4, 36)], tracks=[Track("drums", is_drum=True)]))


@pytest.mark.skipif(not CHORALES.is_dir(), reason=f"no chorales in {CHORALES}")
def test_the_melody_of_bachs_chorales_is_the_soprano() -> None:
    """Measured: 99.7 % of the notes found are the soprano's, and 99.8 % of the soprano's notes are found."""
    both = found = true = 0
    for file in sorted(CHORALES.glob("*.mid")):
        chorale = on_beat(midi.read(file)).score
        highest, soprano = set(rows(melody_of(chorale))), set(rows(melody_of(chorale, 0)))
        both, found, true = both + len(highest & soprano), found + len(highest), true + len(soprano)
    assert true > 1000 and both > 0.98 * found and both > 0.98 * true


# --- composing to it -------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([0.1, 3.0, 30.0]),
    more=st.sampled_from([0, 1, 2, 7, 60, 10_000]),
    chord=st.integers(1, 8),
)
def test_any_logits_keep_the_melody_the_highest_voice(seed: int, scale: float, more: int, chord: int) -> None:
    """The melodies are of random pieces: any metres, rests, empty bars, long notes, the lowest pitches."""
    (source,) = generate(Noise(seed, scale), 1, 40, seed)
    melody = melody_of(tokens.decode(source))
    read = Melody.of(melody)
    length = max(4, read.least_words + more)
    for piece in generate(Noise(seed + 1, scale), 3, length, seed, Sampling(chord=chord), melody=melody):
        assert len(piece) <= min(length, read.most_words(chord))
        assert_leads(piece, melody)


def test_notes_longer_than_32_sixteenths_and_changes_of_tempo_are_kept() -> None:
    line = [(0, 70, 72), (72, 8, 64), (96, 40, 67), (140, 4, 67)]
    melody = melody_of(score(line, tempos=[(0, 90), (120 * 96, 60)]))
    assert rows(melody) == line
    for seed in range(20):
        for piece in generate(Noise(seed, 3.0), 2, 400, seed, melody=melody):
            assert_leads(piece, melody)


def test_the_lowest_pitch_stays_alone() -> None:
    line = [(0, 4, 0), (4, 4, 12), (8, 4, 0)]
    for piece in generate(Noise(0, 3.0), 8, 100, 0, melody=melody_of(score(line))):
        assert [row for row in rows(piece) if row[0] < 4 or row[0] >= 8] == [(0, 4, 0), (8, 4, 0)]


class Wants(Noise):
    """Wants one kind of word above all, and a BEAT at the end of its bar."""

    def __init__(self, kind: BarBeat) -> None:
        super().__init__(0, 0.1)
        self.kind = kind

    def step(self, words: Words) -> Logits:
        logits = super().step(words)
        logits[:, tokens.OFFSETS[tokens.BAR_BEAT] + self.kind] += 30
        logits[:, tokens.OFFSETS[tokens.POSITION] + 15] += 30
        logits[:, tokens.OFFSETS[tokens.POSITION] + 16] += 20
        return logits


def test_a_choice_that_would_pass_an_onset_becomes_the_beat_of_this_onset() -> None:
    line = [(0, 4, 72), (6, 4, 74), (15, 1, 76), (36, 4, 77)]
    for kind in (BarBeat.BAR, BarBeat.BEAT):
        for piece in generate(Wants(kind), 2, 100, 0, melody=melody_of(score(line))):
            beats = piece[piece[:, tokens.BAR_BEAT] == BarBeat.BEAT, tokens.POSITION]
            # The network that wants BEATs gets them where the melody rests, and while its last note sounds.
            assert beats[:5].tolist() == ([0, 6, 15, 4] if kind == BarBeat.BAR else [0, 6, 15, 15, 4])
            assert set(beats[5:].tolist()) <= {5, 6, 7}
            assert rows(piece)[0] == (0, 4, 72)


def test_the_same_seed_gives_the_same_piece_to_a_melody() -> None:
    melody = melody_of(score([(0, 4, 72), (4, 4, 74), (8, 8, 72)]))
    one, same, other = (generate(Noise(0, 1.0), 2, 80, seed, melody=melody) for seed in (5, 5, 6))
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    (first,) = generate(Noise(0, 1.0), 1, 80, 5, batch=1, melody=melody)
    assert np.array_equal(first, generate(Noise(0, 1.0), 1, 80, 5, melody=melody)[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": 7}, "^melody: the melody alone takes 8 words; length 7 must be at least so many"),
        ({"ended": False}, "ended is False and a melody is given"),
        ({"prompt": melody_of(score([(0, 4, 60)]))}, "prompt and melody are both given"),
        ({"melody": tokens.encode(score([(0, 4, 60), (0, 4, 64)]))}, "^melody: token 3 is a second NOTE at its onset"),
        ({"melody": np.zeros((4, 7), np.int16)}, "a piece starts with BAR"),
        ({"melody": np.zeros((4, 6), np.int16)}, "expected whole numbers"),
        ({"melody": melody_of(score([(0, 4, 60)]))[:1]}, "^melody: has no notes"),
    ],
)
def test_a_melody_that_cannot_lead_is_refused(change: dict[str, object], words: str) -> None:
    melody = melody_of(score([(0, 4, 72), (4, 4, 74), (8, 8, 72)]))
    arguments = {"pieces": 1, "length": 80, "seed": 0, "melody": melody} | change
    with pytest.raises(BadInput, match=words):
        generate(Noise(0, 1.0), **arguments)  # type: ignore[arg-type]
