"""Compound words: what stands in them, that nothing on the grid is lost, and that sampling cannot go wrong."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muspike import chords, midi, tokens
from muspike.errors import BadInput
from muspike.metrics import rhythm
from muspike.midi import NOTE, TEMPO, TIME_SIGNATURE, ChordMark, Score, Track, table
from muspike.tokens import BarBeat, State

DATA = Path(__file__).parents[2].parent / "shared" / "data"
GRID = 120  # ticks per sixteenth at 480 ticks per beat


def make_score(
    notes: list[tuple[int, int, int, int]],
    metres: list[tuple[int, int, int]] | None = None,
    tempos: list[tuple[int, float]] | None = None,
    marks: list[ChordMark] | None = None,
) -> Score:
    """Notes (onset, duration, pitch, velocity) with times in sixteenths."""
    return Score(
        480,
        table([(GRID * onset, GRID * length, pitch, velocity, 0) for onset, length, pitch, velocity in notes], NOTE),
        tempos=table([(GRID * at, bpm) for at, bpm in tempos or []], TEMPO),
        time_signatures=table([(GRID * at, upper, lower) for at, upper, lower in metres or []], TIME_SIGNATURE),
        chords=marks,
    )


def grid_notes(score: Score, velocity_bins: bool = True) -> list[tuple[int, int, int, int]]:
    """(onset, duration, pitch, velocity bin) in sixteenths, sorted."""
    sixteenth = score.ticks_per_beat / 4
    notes = score.notes
    return sorted(
        zip(
            (notes["onset"] / sixteenth).tolist(),
            (notes["duration"] / sixteenth).tolist(),
            notes["pitch"].tolist(),
            ((notes["velocity"] + 1) // 2 if velocity_bins else notes["velocity"]).tolist(),
            strict=True,
        )
    )


def from_first_bar(score: Score, words: NDArray[np.int16]) -> list[tuple[int, int, int, int]]:
    """`grid_notes`, with time 0 at the start of the first bar of `words`."""
    notes = grid_notes(score)
    start = notes[0][0] - int(words[1, tokens.POSITION])
    return [(onset - start, length, pitch, velocity) for onset, length, pitch, velocity in notes]


def test_layout() -> None:
    assert tokens.FEATURES == ("tempo", "chord", "bar_beat", "position", "pitch", "duration", "velocity")
    assert sum(tokens.SIZES) == tokens.N_AXONS == 466
    assert tuple(np.cumsum((0, *tokens.SIZES[:-1]))) == tokens.OFFSETS
    assert [kind.value for kind in BarBeat] == [0, 1, 2, 3, 4]
    assert len(chords.SYMBOLS) == tokens.SIZES[tokens.CHORD]
    predicted = {kind.name: [tokens.FEATURES[f] for f in np.flatnonzero(tokens.PREDICTED[kind])] for kind in BarBeat}
    assert predicted == {
        "PAD": ["bar_beat"],
        "BAR": ["bar_beat", "position", "duration"],
        "BEAT": ["tempo", "chord", "bar_beat", "position"],
        "NOTE": ["bar_beat", "pitch", "duration", "velocity"],
        "END": ["bar_beat"],
    }


def test_a_piece_word_by_word() -> None:
    score = make_score(
        [(4, 4, 60, 80), (4, 2, 67, 127), (8, 4, 62, 1), (28, 3, 64, 64)],
        metres=[(0, 1, 4), (4, 3, 4)],  # an empty pickup, which goes
        tempos=[(0, 100.0), (8, 101.6), (9, 500.0)],
        marks=[ChordMark(480, "C_M"), ChordMark(28 * GRID, "A_m7")],
    )
    c, am7 = chords.index("C_M"), chords.index("A_m7")
    words = tokens.encode(score)
    assert words.dtype == np.int16
    assert words.tolist() == [
        [0, 0, BarBeat.BAR, 12, 0, 4, 0],
        [24, c, BarBeat.BEAT, 0, 0, 0, 0],  # 32 + 3 * 23 = 101 is the bin nearest to 100
        [24, c, BarBeat.NOTE, 0, 68, 2, 64],
        [24, c, BarBeat.NOTE, 0, 61, 4, 40],
        [24, c, BarBeat.BEAT, 4, 0, 0, 0],
        [24, c, BarBeat.NOTE, 4, 63, 4, 1],
        [24, c, BarBeat.BAR, 12, 0, 4, 0],
        [24, c, BarBeat.BAR, 12, 0, 4, 0],
        [65, am7, BarBeat.BEAT, 0, 0, 0, 0],
        [65, am7, BarBeat.NOTE, 0, 65, 3, 32],
        [65, am7, BarBeat.END, 0, 0, 0, 0],
    ]
    goal = tokens.targets(words)
    assert goal[[1, 4, 8], :2].tolist() == [[24, c], [0, 0], [65, am7]]
    others = np.setdiff1d(np.arange(len(words)), [4])
    assert np.array_equal(goal[others], words[others])
    assert np.array_equal(goal[:, 2:], words[:, 2:])


def test_decoding_gives_metre_tempo_chords_and_velocity() -> None:
    score = make_score(
        [(0, 1, 60, 127), (8, 40, 60, 80), (50, 1, 127, 2), (62, 1, 0, 2)],
        metres=[(0, 2, 4), (8, 3, 2), (32, 5, 16), (37, 6, 8), (49, 4, 4)],
        tempos=[(0, 32.0), (8, 224.0)],
        marks=[ChordMark(0, "N"), ChordMark(GRID * 8, "F#_/o7")],
    )
    decoded = tokens.decode(tokens.encode(score), "again")
    assert decoded.name == "again"
    assert grid_notes(decoded, velocity_bins=False) == [
        (0, 1, 60, 127),
        (8, 40, 60, 80),
        (50, 1, 127, 2),
        (62, 1, 0, 2),
    ]
    # the bar at 40, where the note goes on, is one of 6/8 as the bar before
    assert decoded.time_signatures.tolist() == [
        (0, 2, 4), (8 * GRID, 3, 2), (32 * GRID, 5, 16), (37 * GRID, 6, 8), (49 * GRID, 4, 4),
    ]  # fmt: skip
    assert decoded.tempos.tolist() == [(0, 32.0), (8 * GRID, 224.0)]
    assert decoded.chords == [(0, "N"), (8 * GRID, "F#_/o7")]


@pytest.mark.parametrize("lower", [1, 2, 4, 8, 16])
def test_every_metre_of_at_most_32_sixteenths_comes_back(lower: int) -> None:
    for upper in range(1, 2 * lower + 1):
        score = make_score([(0, 1, 60, 80), (16 * upper // lower, 1, 60, 80)], metres=[(0, upper, lower)])
        words = tokens.encode(score)
        bars = words[words[:, tokens.BAR_BEAT] == BarBeat.BAR]
        assert bars[:, [tokens.POSITION, tokens.DURATION]].tolist() == [[16 * upper // lower, 16 // lower]] * 2
        assert tokens.decode(words).time_signatures.tolist() == [(0, upper, lower)]


@pytest.mark.parametrize(
    ("length", "beat", "metre"),
    [(12, 4, (3, 4)), (12, 2, (6, 8)), (16, 8, (2, 2)), (10, 4, (5, 8)), (5, 4, (5, 16)), (3, 16, (3, 16))],
)
def test_a_bar_that_beats_do_not_fill_counts_in_a_fraction(length: int, beat: int, metre: tuple[int, int]) -> None:
    assert tokens.metre(length, beat) == metre
    assert 16 * metre[0] / metre[1] == length


def test_bars_above_32_sixteenths_are_split() -> None:
    words = tokens.encode(make_score([(0, 1, 60, 80), (39, 1, 60, 80), (41, 1, 60, 80)], metres=[(0, 10, 4)]))
    bars = words[words[:, tokens.BAR_BEAT] == BarBeat.BAR]
    assert bars[:, tokens.POSITION].tolist() == [32, 8, 32]


@pytest.mark.parametrize("seed", range(20))
def test_bars_are_those_that_the_groove_counts(seed: int) -> None:
    """Random metres that begin where a bar of the one before ends, or inside it; all lengths are whole sixteenths."""
    rng = np.random.default_rng(seed)
    metres, tick = [], 0
    for _ in range(5):
        metres.append((tick, int(rng.integers(1, 20)), int(rng.choice([4, 8, 16]))))
        tick += GRID * int(rng.integers(1, 60))
    onsets = range(0, tick + 64 * GRID, GRID)  # in every bar
    score = Score(
        4 * GRID,
        table([(onset, GRID, 60, 80, 0) for onset in onsets], NOTE),
        time_signatures=table(metres, TIME_SIGNATURE),
    )
    numbers, places = rhythm._Bars(score).of(np.array(onsets))
    found = bars(tokens.encode(score))
    starts = np.cumsum([0, *found[:-1]])
    # A bar of more than 32 sixteenths becomes several bars of words.
    assert set(np.flatnonzero(places == 0)) <= set(starts.tolist())
    assert [int(start) for start in starts if places[start] % 32 == 0] == starts.tolist()
    assert numbers.tolist() == (np.cumsum(places == 0) - 1).tolist()


def test_a_metre_inside_a_bar_ends_it() -> None:
    words = tokens.encode(make_score([(0, 1, 60, 80), (30, 1, 60, 80)], metres=[(0, 4, 4), (10, 3, 4)]))
    assert words[words[:, tokens.BAR_BEAT] == BarBeat.BAR][:, tokens.POSITION].tolist() == [10, 12, 12]


def bars(words: NDArray[np.int16]) -> list[int]:
    return [int(length) for length in words[words[:, tokens.BAR_BEAT] == BarBeat.BAR][:, tokens.POSITION]]


@pytest.mark.parametrize("ticks_per_beat", [480, 1920, 24, 96])
@pytest.mark.parametrize("metre", [(7, 32), (3, 32), (13, 32), (5, 64), (21, 64), (1, 32), (6, 8), (4, 4), (9, 128)])
def test_bar_lines_stand_at_their_true_times_in_any_metre(metre: tuple[int, int], ticks_per_beat: int) -> None:
    # Times in ticks are whole here, or a multiple of them is taken.
    lines = [Fraction(4 * ticks_per_beat * metre[0] * bar, metre[1]) for bar in range(40)]
    sixteenths = [int(line * 4 / ticks_per_beat + Fraction(1, 2)) for line in lines]
    notes = table([(int(line), 1, 60, 80, 0) for line in lines if line.denominator == 1], NOTE)
    score = Score(ticks_per_beat, notes, time_signatures=table([(0, *metre)], TIME_SIGNATURE))
    words = tokens.encode(score)
    last = max(i for i, line in enumerate(lines) if line.denominator == 1)
    wanted = np.diff(sixteenths)[: last + 1]
    found = bars(words)
    # The last bar is that of the last note; bars that are rounded to nothing are none.
    shared = min(len(found), int(np.count_nonzero(wanted)))
    assert found[: shared - 1] == [length for length in wanted.tolist() if length][: shared - 1]
    assert shared >= len(found) - 1
    notes_at = words[words[:, tokens.BAR_BEAT] == BarBeat.NOTE][:, tokens.POSITION]
    assert (notes_at == 0).all()
    assert np.array_equal(tokens.encode(tokens.decode(words)), words)


def test_bars_of_7_32() -> None:
    notes = table([(420 * i, 400, 60 + i, 80, 0) for i in range(8)], NOTE)
    words = tokens.encode(Score(480, notes, time_signatures=table([(0, 7, 32)], TIME_SIGNATURE)))
    assert bars(words) == [4, 3, 4, 3, 4, 3, 4, 3]


def test_a_metre_between_two_sixteenths_starts_a_bar_there() -> None:
    metres = table([(0, 1, 32), (60, 4, 4)], TIME_SIGNATURE)
    notes = table([(0, 60, 60, 80, 0), *((60 + 480 * i, 480, 60 + i, 80, 0) for i in range(8))], NOTE)
    words = tokens.encode(Score(480, notes, time_signatures=metres))
    assert bars(words) == [1, 16, 16]
    assert words[words[:, tokens.BAR_BEAT] == BarBeat.BEAT][:, tokens.POSITION].tolist() == [0, *(0, 4, 8, 12) * 2]


@pytest.mark.parametrize("offset", [1, 30, 59, 61, 100])
def test_the_grid_starts_anew_at_every_metre(offset: int) -> None:
    """Thirds of a sixteenth after the metre are rounded alike, wherever it begins."""
    metres = table([(0, 1, 32), (480 + offset, 3, 4)], TIME_SIGNATURE)
    ticks = [480 + offset + 40 * i for i in range(30)]
    notes = table([(0, 60, 50, 80, 0), *((tick, 40, 60 + i, 80, 0) for i, tick in enumerate(ticks))], NOTE)
    decoded = tokens.decode(tokens.encode(Score(480, notes, time_signatures=metres)))
    onsets = decoded.notes["onset"][1:] // GRID
    bar = decoded.time_signatures["tick"][decoded.time_signatures["numerator"] == 3][0] // GRID
    assert (onsets - bar).tolist() == [int(i / 3 + 0.5) for i in range(30)]


def test_a_metre_that_is_written_again_on_its_bar_line_changes_nothing() -> None:
    rows = [(420 * i, 400, 60 + i, 80, 0) for i in range(8)]
    once, again = (
        tokens.encode(Score(480, table(rows, NOTE), time_signatures=table(metres, TIME_SIGNATURE)))
        for metres in ([(0, 7, 32)], [(420 * i, 7, 32) for i in range(8)])
    )
    assert np.array_equal(once, again)


CASES = Path(__file__).parents[2].parent / "shared" / "cases" / "midi-time-grid"


@pytest.mark.parametrize(
    ("name", "metre", "remarks"),
    [
        ("metre_6_8", (6, 8), []),
        ("metre_12_8", (12, 8), []),
        ("metre_2_2", (2, 2), []),
        ("pickup_32nd_then_4_4", (4, 4), None),
        ("tempo_120", (4, 4), []),
        ("ritard_20bpm", (4, 4), ["1 tempo slower than 32 bpm written as 32"]),
        ("triplets", (4, 4), None),
        ("thirtyseconds_scale", (4, 4), None),
        ("thirtyseconds_same_pitch", (4, 4), None),
    ],
)
def test_files_that_went_wrong(name: str, metre: tuple[int, int], remarks: list[str] | None) -> None:
    if not CASES.exists():
        pytest.skip("shared/cases is not here")
    score, found = midi.read(CASES / f"{name}.mid"), []  # type: tuple[Score, list[str]]
    decoded = tokens.decode(tokens.encode(score, found))
    assert decoded.time_signatures.tolist()[-1][1:] == metre
    if remarks is not None:
        assert found == remarks
    if name.startswith(("triplets", "thirty")):
        assert any("moved by more than a quarter of a sixteenth" in remark for remark in found)
        onsets = len(np.unique(score.notes["onset"])), len(np.unique(decoded.notes["onset"]))
        assert onsets[0] == onsets[1] or any("joined with the one before" in remark for remark in found)


@pytest.mark.parametrize(
    ("ticks", "remarks"),
    [
        ([0, 120, 240], []),
        ([0, 30, 150, 240], []),  # a quarter of a sixteenth
        ([0, 31, 240], ["1 note of 3 moved by more than a quarter of a sixteenth", "1 onset joined with"]),
        ([0, 160, 320, 480], ["2 notes of 4 moved by more than a quarter of a sixteenth"]),
        ([0, 60, 120, 180], ["2 notes of 4 moved by more than a quarter", "1 onset joined with the one before"]),
    ],
)
def test_what_the_grid_loses_is_said(ticks: list[int], remarks: list[str]) -> None:
    found: list[str] = []
    tokens.encode(Score(480, table([(tick, 60, 60 + i, 80, 0) for i, tick in enumerate(ticks)], NOTE)), found)
    assert len(found) == len(remarks) and all(a in b for a, b in zip(remarks, found, strict=True)), found


@pytest.mark.parametrize(("metre", "parts"), [((4, 1), "longer than 32 sixteenths"), ((7, 32), "whole sixteenths")])
def test_metres_that_bars_cannot_say_are_named(metre: tuple[int, int], parts: str) -> None:
    found: list[str] = []
    tokens.encode(make_score([(0, 1, 60, 80)], metres=[(0, *metre)]), found)
    assert len(found) == 1 and f"bars of {metre[0]}/{metre[1]} are" in found[0] and parts in found[0]


@pytest.mark.parametrize("metre", [(4, 4), (1, 16), (255, 1), (1, 128), (7, 32)])
@pytest.mark.parametrize("division", [1, 480])
def test_absurd_silences_and_notes_are_shortened_and_said(metre: tuple[int, int], division: int) -> None:
    notes = table([(0, 2**28, 60, 80, 0), (0, 1, 40, 80, 0), (2**30, 100, 61, 80, 0)], NOTE)
    score = Score(division, notes, time_signatures=table([(0, *metre), (2**29, 5, 8)], TIME_SIGNATURE))
    remarks: list[str] = []
    words = tokens.encode(score, remarks)
    assert remarks[:2] == [
        "1 note shortened to 4096 sixteenths",
        "1 silence shortened to 4096 sixteenths, in whole bars",
    ]
    decoded = tokens.decode(words)
    assert sorted(decoded.notes["pitch"].tolist()) == [40, 60, 61]
    assert decoded.notes["duration"].max() == 4096 * GRID
    onset = decoded.notes["onset"].max() // GRID
    assert 4096 < onset < 2 * 4096 + 4080  # the note, the silence, and the bar in which the last note begins
    assert np.array_equal(tokens.encode(decoded), words)
    again: list[str] = []
    tokens.encode(decoded, again)
    assert again == []


def test_pauses_of_the_longest_length_stay_as_they_are() -> None:
    longest = tokens.LONGEST_PAUSE
    remarks: list[str] = []
    notes = [(0, longest, 60, 40), (longest, 1, 50, 40), (2 * longest, 1, 61, 40)]
    words = tokens.encode(make_score([(*note[:3], 80) for note in notes]), remarks)
    assert remarks == []
    assert grid_notes(tokens.decode(words)) == notes


def test_pieces_beyond_the_bounds_are_refused() -> None:
    many = [(0, 4096, pitch, 80) for pitch in range(128)] * 65
    with pytest.raises(BadInput, match="tune: needs more than 1048576 compound words"):
        tokens.encode(dataclasses.replace(make_score(many), name="tune"))
    apart = Score(
        4,
        table([(4000 * i, 1, 60, 80, 0) for i in range(4500)], NOTE),
        time_signatures=table([(0, 2, 1)], TIME_SIGNATURE),
    )
    with pytest.raises(BadInput, match=r"lasts 1799.* sixteenths; 16777216 are the most"):
        tokens.encode(apart)
    words = np.zeros((2**19 + 3, 7), np.int16)
    words[:, tokens.BAR_BEAT], words[:, tokens.POSITION], words[:, tokens.DURATION] = BarBeat.BAR, 32, 4
    with pytest.raises(BadInput, match="16777312 sixteenths; 16777216 are the most"):
        tokens.decode(words)


def test_off_grid_notes_go_to_the_nearest_sixteenth() -> None:
    notes = table([(59, 120, 60, 80, 0), (60, 10, 62, 80, 0), (170, 80, 64, 80, 0), (480, 0, 65, 80, 0)], NOTE)
    decoded = tokens.decode(tokens.encode(Score(480, notes)))
    assert grid_notes(decoded) == [(0, 1, 60, 40), (1, 1, 62, 40), (1, 1, 64, 40), (4, 1, 65, 40)]


def test_drums_are_left_out_and_a_piece_of_drums_refused() -> None:
    rows = [(0, 480, 60, 80, 0), (0, 480, 36, 80, 1)]
    words = tokens.encode(Score(480, table(rows, NOTE), tracks=[Track(), Track(is_drum=True)]))
    assert words[words[:, tokens.PITCH] > 0][:, tokens.PITCH].tolist() == [61]
    with pytest.raises(BadInput, match=r"beats\.mid: no notes to encode"):
        tokens.encode(Score(480, table(rows, NOTE), tracks=[Track(is_drum=True)] * 2, name="beats.mid"))


def test_tied_notes_of_one_pitch_do_not_mix() -> None:
    notes = [(0, 144, 60, 90), (0, 64, 60, 20), (32, 40, 60, 60), (32, 33, 60, 40), (64, 4, 60, 10), (0, 144, 60, 90)]
    words = tokens.encode(make_score(notes))
    assert grid_notes(tokens.decode(words), velocity_bins=False) == sorted(notes)
    assert np.array_equal(tokens.encode(tokens.decode(words)), words)


def test_a_tie_without_its_continuation_lasts_32_sixteenths() -> None:
    words = tokens.encode(make_score([(0, 40, 60, 80), (36, 4, 50, 80)]))
    continued = np.flatnonzero(words[:, tokens.DURATION] == 8)
    assert words[continued - 1, tokens.BAR_BEAT].tolist() == [BarBeat.BEAT]
    words = np.delete(words, [continued[0] - 1, continued[0]], axis=0)
    assert grid_notes(tokens.decode(words)) == [(0, 32, 60, 40), (36, 4, 50, 40)]


grid_rows = st.lists(
    st.tuples(st.integers(0, 120), st.integers(1, 150), st.integers(0, 127), st.integers(1, 127)),
    min_size=1,
    max_size=25,
)
metre_rows = st.lists(
    st.tuples(
        st.integers(0, 100),
        st.sampled_from([(4, 4), (3, 4), (6, 8), (3, 2), (2, 4), (7, 16), (9, 4), (7, 32), (5, 64)]),
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(grid_rows, metre_rows, st.integers(0, 20))
def test_every_note_on_the_grid_comes_back(
    notes: list[tuple[int, int, int, int]], metres: list[tuple[int, tuple[int, int]]], doubled: int
) -> None:
    notes = notes + notes[:doubled]  # duplicates come back too
    score = make_score(notes, [(at, *metre) for at, metre in metres])
    words = tokens.encode(score)
    decoded = tokens.decode(words)
    assert grid_notes(decoded) == from_first_bar(score, words)
    assert np.array_equal(tokens.encode(decoded), words)
    assert np.array_equal(completed(words), words)


def completed(words: NDArray[np.int16]) -> NDArray[np.int16]:
    """The words as the sampling loop would fill them in from their targets, each checked against the masks."""
    state = State.start(1)
    rows = []
    for goal in tokens.targets(words):
        assert state.allowed_bar_beat()[0, goal[tokens.BAR_BEAT]]
        mask = state.allowed(goal[[tokens.BAR_BEAT]])[0]
        chosen = np.where(tokens.PREDICTED[goal[tokens.BAR_BEAT]], goal, 0) + np.array(tokens.OFFSETS)
        assert mask[chosen].all() and state.allowed_duration(goal[None])[0, goal[tokens.DURATION]]
        rows.append(state.complete(goal[None])[0])
    assert state.ended.all()
    return np.stack(rows)


def test_every_note_of_every_chorale_file_comes_back() -> None:
    files = sorted((DATA / "jsb").rglob("*.mid"))
    if not files:
        pytest.skip("shared/data is not here")
    off_grid, longest = [], 0.0
    for path in files:
        score = midi.read(path)
        words = tokens.encode(score)
        decoded = tokens.decode(words)
        notes = from_first_bar(score, words)
        if any(onset % 1 or length % 1 for onset, length, *_ in notes):
            off_grid.append(path.stem)
            assert len(decoded.notes) == len(notes)
        else:
            assert grid_notes(decoded) == notes, path.name
        longest = max(longest, *(length for _, length, *_ in notes))
        assert np.array_equal(tokens.encode(decoded), words), path.name
    assert longest == 144
    assert off_grid == ["bwv248.64-s", "bwv36.4-2", "bwv432"]  # thirty-second notes


def test_real_pop_and_piano_files_survive() -> None:
    files = [*sorted((DATA / "lakh").rglob("*.mid"))[::12], *sorted((DATA / "emopia/midis").glob("*.mid"))[::100]]
    if not files:
        pytest.skip("shared/data is not here")
    for path in files:
        words = tokens.encode(midi.read(path))
        assert np.array_equal(tokens.encode(tokens.decode(words)), words), path.name


def sample(batch: int, length: int, seed: int) -> NDArray[np.int16]:
    """Uniformly random tokens under the masks, `[tokens, batch, 7]`."""
    random = np.random.default_rng(seed)
    state = State.start(batch)
    rows = []
    for _ in range(length):
        kinds = state.allowed_bar_beat()
        assert kinds.any(axis=1).all()
        bar_beat = np.argmax(random.random(kinds.shape) * kinds, axis=1)
        mask = state.allowed(bar_beat)
        drawn = random.random(mask.shape) * mask
        blocks = np.split(drawn, tokens.OFFSETS[1:], axis=1)
        assert all(block.any(axis=1).all() for block in blocks)
        sampled = np.stack([block.argmax(axis=1) for block in blocks], axis=1)
        may = blocks[tokens.DURATION] * state.allowed_duration(sampled)
        assert may.any(axis=1).all()
        sampled[:, tokens.DURATION] = may.argmax(axis=1)
        assert (sampled[:, tokens.BAR_BEAT] == bar_beat).all()
        rows.append(state.complete(sampled))
    return np.stack(rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 90))
def test_whatever_is_sampled_decodes(seed: int, length: int) -> None:
    pieces = sample(6, length, seed)
    for words in pieces.swapaxes(0, 1):
        ends = np.flatnonzero(words[:, tokens.BAR_BEAT] == BarBeat.END)
        if not len(ends):
            kinds = words[:, tokens.BAR_BEAT]
            if not (kinds == BarBeat.NOTE).any():
                continue
            words = words[: np.flatnonzero(kinds == BarBeat.NOTE)[-1] + 1]
            words = np.vstack([words, [*words[-1, :2], BarBeat.END, 0, 0, 0, 0]]).astype(np.int16)
        else:
            assert (words[ends[0] + 1 :] == 0).all()
            words = words[: ends[0] + 1]
        decoded = tokens.decode(words)
        untied = words.copy()
        untied[untied[:, tokens.DURATION] == tokens.TIED, tokens.DURATION] = tokens.MAX_DURATION
        assert np.array_equal(tokens.encode(tokens.decode(untied)), untied)
        again = tokens.encode(decoded)
        assert grid_notes(tokens.decode(again)) == grid_notes(decoded)


def test_masks_start_and_follow() -> None:
    state = State.start(3)
    assert np.flatnonzero(state.allowed_bar_beat()[0]).tolist() == [BarBeat.BAR]
    lengths = state.allowed(np.full(3, BarBeat.BAR))[0, tokens.OFFSETS[5] : tokens.OFFSETS[6]]
    assert np.flatnonzero(lengths).tolist() == [1, 2, 4, 8, 16]
    fill = state.allowed_duration(np.array([[0, 0, BarBeat.BAR, 12, 0, 0, 0], [0, 0, BarBeat.NOTE, 0, 5, 0, 0]]))
    assert np.flatnonzero(fill[0, [1, 2, 4, 8, 16]]).tolist() == [0, 1, 2] and fill[1].all()
    state.complete(np.array([[0, 0, BarBeat.BAR, 4, 0, 4, 0]] * 3))
    assert np.flatnonzero(state.allowed_bar_beat()[0]).tolist() == [BarBeat.BEAT]  # the first bar is not empty
    mask = state.allowed(np.full(3, BarBeat.BEAT))[0]
    assert not mask[0] and not mask[tokens.OFFSETS[tokens.CHORD]]  # the first BEAT states tempo and chord
    assert np.flatnonzero(mask[tokens.OFFSETS[3] : tokens.OFFSETS[4]]).tolist() == [0, 1, 2, 3]
    state.complete(np.array([[5, 7, BarBeat.BEAT, 3, 0, 0, 0]] * 3))
    assert np.flatnonzero(state.allowed_bar_beat()[0]).tolist() == [BarBeat.NOTE]
    row = state.complete(np.array([[0, 0, BarBeat.NOTE, 0, 61, 33, 40]] * 3))
    assert row[0].tolist() == [5, 7, BarBeat.NOTE, 3, 61, 33, 40]
    # position 3 is the last of this bar: no BEAT any more
    assert np.flatnonzero(state.allowed_bar_beat()[0]).tolist() == [BarBeat.BAR, BarBeat.NOTE, BarBeat.END]
    pitches = state.allowed(np.full(3, BarBeat.NOTE))[0, tokens.OFFSETS[4] : tokens.OFFSETS[5]]
    assert np.flatnonzero(pitches).tolist() == list(range(1, 62))
    # three different ways on
    rows = state.complete(
        np.array([[0, 0, BarBeat.END, 0, 0, 0, 0], [0, 0, BarBeat.BAR, 30, 0, 2, 0], [0, 0, BarBeat.NOTE, 0, 1, 1, 1]])
    )
    assert rows.tolist() == [[5, 7, 4, 0, 0, 0, 0], [5, 7, 1, 30, 0, 2, 0], [5, 7, 3, 3, 1, 1, 1]]
    assert state.ended.tolist() == [True, False, False]
    allowed = state.allowed_bar_beat()
    assert [np.flatnonzero(row).tolist() for row in allowed] == [[BarBeat.PAD], [1, 2], [1, 3, 4]]
    assert state.complete(np.zeros((3, 7), np.int64))[0].tolist() == [0] * 7
    assert state.ended.tolist() == [True, False, False]


def test_state_after_a_prompt() -> None:
    words = tokens.encode(make_score([(0, 4, 60, 80), (4, 4, 62, 80)], marks=[ChordMark(0, "C_M")]))
    state = State.after(words[:4, None])
    assert (state.tempo.item(), state.chord.item()) == (tokens.tempo_index(120), chords.index("C_M"))
    assert (state.position.item(), state.bar_length.item(), state.bar_beat.item()) == (4, 16, BarBeat.BEAT)


def test_transposing() -> None:
    marks = [ChordMark(0, "B_m7"), ChordMark(480, "N")]
    words = tokens.encode(make_score([(0, 4, 60, 80), (4, 4, 64, 80)], marks=marks))
    up = tokens.transpose(words, 3)
    assert grid_notes(tokens.decode(up)) == [(0, 4, 63, 40), (4, 4, 67, 40)]
    assert tokens.decode(up).chords == [(0, "D_m7"), (480, "N")]
    assert np.array_equal(tokens.transpose(up, -3), words)
    for feature in (tokens.TEMPO_, tokens.BAR_BEAT, tokens.POSITION, tokens.DURATION, tokens.VELOCITY):
        assert np.array_equal(up[:, feature], words[:, feature])
    assert np.array_equal(tokens.transpose(words, 63)[:, tokens.PITCH].max(), 128)
    for semitones in (64, -61):
        with pytest.raises(BadInput, match="outside 0 to 127"):
            tokens.transpose(words, semitones)


BAR, BEAT, NOTE_ = [0, 0, 1, 16, 0, 4, 0], [1, 1, 2, 0, 0, 0, 0], [1, 1, 3, 0, 61, 4, 40]


@pytest.mark.parametrize(
    ("rows", "token"),
    [
        ([], "starts with BAR"),
        ([BEAT, NOTE_], "starts with BAR"),
        ([[0, 0, 1, 0, 0, 0, 0]], "token 0"),
        ([BAR, NOTE_], "token 1"),
        ([BAR, BEAT, BAR], "token 1"),
        ([BAR, BEAT, NOTE_, BEAT, NOTE_], "token 3"),
        ([[0, 0, 1, 4, 0, 4, 0], [1, 1, 2, 4, 0, 0, 0], NOTE_], "token 1"),
        ([[0, 0, 1, 16, 0, 0, 0], BEAT, NOTE_], "token 0 .*: BAR has no beat"),
        ([[0, 0, 1, 16, 0, 3, 0], BEAT, NOTE_], "token 0 .*: BAR has no beat"),
        ([[0, 0, 1, 6, 0, 4, 0], BEAT, NOTE_], "token 0 .*: BAR is not filled by whole beats"),
        ([BAR, [0, 1, 2, 0, 0, 0, 0], NOTE_], "token 1"),
        ([BAR, [1, 0, 2, 0, 0, 0, 0], NOTE_], "token 1"),
        ([BAR, BEAT, [1, 1, 3, 0, 0, 4, 40]], "token 2"),
        ([BAR, BEAT, [1, 1, 3, 0, 61, 34, 40]], "token 2"),
        ([BAR, BEAT, NOTE_, [1, 1, 3, 0, 62, 4, 40]], "token 3"),
    ],
)
def test_words_that_are_no_piece_are_refused(rows: list[list[int]], token: str) -> None:
    with pytest.raises(BadInput, match=token):
        tokens.decode(np.array(rows, np.int16).reshape(-1, 7))


def test_decoding_stops_at_end_or_pad_and_takes_a_piece_that_was_cut() -> None:
    for tail in ([[1, 1, 4, 0, 0, 0, 0], NOTE_], [[0] * 7, NOTE_], [[1, 1, 2, 8, 0, 0, 0]], [BAR, BAR], []):
        words = np.array([BAR, BEAT, NOTE_, *tail], np.int16)
        assert grid_notes(tokens.decode(words)) == [(0, 4, 60, 40)]


def test_annotated_chords_may_come_in_any_order() -> None:
    notes = midi.table([(0, 480, 60, 80, 0), (480, 480, 62, 80, 0)], midi.NOTE)
    marks = [midi.ChordMark(480, "G_M"), midi.ChordMark(0, "C_M")]
    words = tokens.encode(midi.Score(ticks_per_beat=480, notes=notes, tracks=[midi.Track("")], chords=marks))
    beats = words[words[:, tokens.BAR_BEAT] == BarBeat.BEAT]
    assert beats[:, tokens.CHORD].tolist() == [chords.index("C_M"), chords.index("G_M")]
