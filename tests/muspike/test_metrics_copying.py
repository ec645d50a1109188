"""The longest match with other pieces: in any key, at any tempo, and exact against a search of all pairs of places."""

from __future__ import annotations

import time
from collections.abc import Sequence

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from muspike.metrics import copying
from muspike.metrics.copying import copied, copied_in_both
from muspike.midi import NOTE, Score, table


def melody(pitches: Sequence[int], beats: Sequence[float] | None = None, shift: int = 0, tempo: float = 1) -> Score:
    rows, at = [], 0.0
    for pitch, beat in zip(pitches, beats or [1.0] * len(pitches), strict=True):
        rows.append((round(at * 480 * tempo), round(beat * 480 * tempo), pitch + shift, 80, 0))
        at += beat
    return Score(480, table(rows, NOTE))


TUNE = [60, 62, 64, 65, 67, 64, 60, 69, 71, 72]
BEATS = [1, 1, 0.5, 0.5, 2, 1, 1, 0.5, 0.5, 2]


def test_a_copy_is_found_in_another_key_and_at_another_tempo() -> None:
    other = melody([50, 70, 50, 71, 50])
    (found,) = copied([melody(TUNE, BEATS, shift=7, tempo=2)], [other, melody(TUNE, BEATS)])
    assert (found.notes, found.of, found.start, found.share) == (10, 1, 0, 1.0)


def test_another_rhythm_is_no_copy() -> None:
    (found,) = copied([melody(TUNE, BEATS[::-1])], [melody(TUNE, BEATS)])
    assert found.notes < 5


def test_a_piece_is_not_its_own_source() -> None:
    repeated = melody(TUNE * 2)
    first, second = copied([repeated, melody([40, 80, 41, 85])])
    assert first.notes < 3 and second.notes < 3
    first, second = copied([repeated, melody(TUNE, shift=1)])
    assert first.notes == second.notes == 10
    assert (first.of, second.of) == (1, 0)


def test_texture_wants_all_voices() -> None:
    def with_bass(bass: int) -> Score:
        notes = melody(TUNE).notes.tolist()
        return Score(480, table([*notes, *((at, 480, bass, 80, 0) for at, *_ in notes)], NOTE))

    assert copied([with_bass(40)], [with_bass(40)], texture=True)[0].notes == 10
    assert copied([with_bass(41)], [with_bass(40)], texture=True)[0].notes == 0
    assert copied([with_bass(41)], [with_bass(40)])[0].notes == 10


def test_without_two_onsets_there_is_no_match() -> None:
    found = copied([Score(480, table([], NOTE)), melody([60])], [melody(TUNE)])
    assert [one.notes for one in found] == [0, 0]
    assert copied([], [melody(TUNE)]) == []


def test_an_excerpt_is_not_copied_from_its_own_piece_and_others_are_searched_to_their_ends() -> None:
    other = melody([40, 80, 41, 85, 42, 83, 41, 86, *TUNE])  # the copy lies beyond a beginning of 8 notes
    whole = melody(TUNE * 2)
    excerpt, stranger = melody(TUNE), melody([40, 80, 41, 85, 40, 79])
    found, _ = copied_in_both([excerpt, stranger], [whole, other], excerpts=1)
    assert (found[0].notes, found[0].of) == (10, 1)
    assert (found[1].notes, found[1].of) == (4, 1)
    found, _ = copied_in_both([excerpt, stranger], [whole, other])
    assert (found[0].notes, found[1].of) == (10, 1)
    found, _ = copied_in_both([excerpt], [whole], excerpts=1)
    assert (found[0].notes, found[0].of) == (0, -1)


def test_batches_of_others_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    pieces = [melody(rng.integers(60, 63, 30).tolist()) for _ in range(20)]
    wanted = copied_in_both(pieces[:8], pieces, excerpts=8)
    monkeypatch.setattr(copying, "_BATCH", 70)
    found = copied_in_both(pieces[:8], iter(pieces), excerpts=8)
    for mine, theirs in zip(found, wanted, strict=True):
        assert [(one.notes, one.share) for one in mine] == [(one.notes, one.share) for one in theirs]
        assert all(one.of != number for number, one in enumerate(mine))
    alone = copied(pieces[:8], pieces[8:])
    assert all(0 <= one.of < 12 for one in alone)


def longest_by_hand(piece: Score, other: Score) -> int:
    """The longest common run of (move, ratio of times), place by place."""

    def steps(score: Score) -> list[tuple[int, float]]:
        onset, pitch = score.notes["onset"].tolist(), score.notes["pitch"].tolist()
        gaps = [*np.diff(onset).tolist(), 0]
        return [(pitch[i] - pitch[i - 1], gaps[i] / gaps[i - 1]) for i in range(1, len(pitch))]

    a, b = steps(piece), steps(other)
    best = 0
    for i in range(len(a)):
        for j in range(len(b)):
            k = 0
            while i + k < len(a) and j + k < len(b) and a[i + k] == b[j + k]:
                k += 1
            best = max(best, k)
    return best + 1 if best else 0


tunes = st.lists(st.tuples(st.integers(60, 63), st.sampled_from([0.5, 1.0])), min_size=2, max_size=30).map(
    lambda rows: melody([pitch for pitch, _ in rows], [beat for _, beat in rows])
)


@settings(max_examples=150, deadline=None)
@given(st.lists(tunes, min_size=1, max_size=4), st.lists(tunes, min_size=1, max_size=4))
def test_the_longest_match_is_exact(pieces: list[Score], others: list[Score]) -> None:
    for piece, found in zip(pieces, copied(pieces, others), strict=True):
        matches = [longest_by_hand(piece, other) for other in others]
        assert found.notes == max(matches)
        assert found.notes == 0 or matches[found.of] == found.notes
    for number, found in enumerate(copied(pieces)):
        rest = [longest_by_hand(pieces[number], pieces[i]) for i in range(len(pieces)) if i != number]
        assert found.notes == max(rest, default=0)


def test_a_long_set_takes_no_quadratic_time() -> None:
    """Equal pieces, the worst case of a search by pairs: 40 times as many notes as 64 chorales beside 219."""
    copied([melody(TUNE)])
    pieces = [melody([60, 62] * 400) for _ in range(50)]
    start = time.process_time()
    assert copied(pieces[:25], pieces[25:])[0].notes == 800
    assert time.process_time() - start < 20
