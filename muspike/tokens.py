"""Compound words: `encode` turns a piece into tokens of seven features, `decode` turns them back.

`State` says which tokens may follow which. The tokens are the Compound Words of Hsiao et al. (AAAI 2021), regrouped
into the seven features of MuSpike. Ours also have bars of any metre, ties for long notes, and the current context
filled in. docs/architecture.md has the table of features.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muspike import chords
from muspike.arguments import instance, refuse
from muspike.errors import BadInput
from muspike.jit import njit
from muspike.midi import DEFAULT_BPM, NOTE, TEMPO, TIME_SIGNATURE, ChordMark, Score, table
from muspike.tables import several

Words = NDArray[np.int16]

FEATURES = ("tempo", "chord", "bar_beat", "position", "pitch", "duration", "velocity")
SIZES = (66, 134, 5, 33, 129, 34, 65)
OFFSETS = (0, 66, 200, 205, 238, 367, 401)
N_AXONS = 466
TEMPO_, CHORD, BAR_BEAT, POSITION, PITCH, DURATION, VELOCITY = range(7)


class BarBeat(IntEnum):
    """The kinds of token: the values of the feature `bar_beat`."""

    PAD = 0
    BAR = 1
    BEAT = 2
    NOTE = 3
    END = 4


_BAR, _BEAT, _NOTE, _END = (int(kind) for kind in list(BarBeat)[1:])  # numba cannot mix an IntEnum with integers

PREDICTED = np.zeros((5, 7), np.bool_)
PREDICTED[:, BAR_BEAT] = True
PREDICTED[BarBeat.BAR, POSITION] = True
PREDICTED[BarBeat.BEAT, [POSITION, TEMPO_, CHORD]] = True
PREDICTED[BarBeat.NOTE, [PITCH, DURATION, VELOCITY]] = True

MAX_BAR = 32  # sixteenths
MAX_DURATION = 32  # sixteenths of one NOTE
TIED = 33  # the duration of a NOTE of 32 sixteenths that another NOTE continues

TICKS_PER_BEAT = 480  # of decoded scores
_SIXTEENTH = TICKS_PER_BEAT // 4
LONGEST_PAUSE = 4096  # sixteenths of one note, and of empty bars between two notes; the longest note seen has 654
MOST_WORDS = 2**20  # of a piece; the longest seen has 40 thousand
LONGEST_PIECE = 2**24  # sixteenths; its last tick is below `midi.LAST_TICK`
_COLUMNS = ("onset", "duration", "pitch", "velocity")


def tempo_index(bpm: float) -> int:
    """The index of the tempo nearest to `bpm`, from 1 (32 bpm) to 65 (224 bpm)."""
    return min(max(round((bpm - 32) / 3) + 1, 1), 65)


def metre(sixteenths: int) -> tuple[int, int]:
    """The time signature (numerator, denominator) of a bar of `sixteenths` sixteenths.

    16 sixteenths are 4/4, 12 are 3/4, 6 are 3/8, 24 are 3/2, 5 are 5/16.
    """
    if sixteenths >= 24 and sixteenths % 8 == 0:
        return sixteenths // 8, 2
    unit = 4 if sixteenths % 4 == 0 else 2 if sixteenths % 2 == 0 else 1
    return sixteenths // unit, 16 // unit


def encode(score: Score, remarks: list[str] | None = None) -> Words:
    """The compound words of a score, int16 `[tokens, 7]`. Drums are left out, and tracks are merged.

    - Onsets and ends are rounded to the nearest sixteenth, and up if they lie in the middle between two. A note lasts
      at least one sixteenth.
    - Bars follow the time signatures, 4/4 before the first. A time signature inside a bar ends that bar. Bar lines
      are rounded as notes are, each on its own: bars of 7/32 have 4, 3, 4, 3 ... sixteenths. A bar longer than 32
      sixteenths becomes bars of 32 and one with the rest. Bars before the first onset's and after the last onset's are
      dropped.
    - A note longer than `LONGEST_PAUSE` sixteenths is shortened to them. Empty bars are dropped that end later than so
      many sixteenths after the latest onset. Files that are damaged have such notes and such silences.
    - Chords are the annotated ones; without annotations they are recognised.
    - The tempo is 120 bpm until the score writes one.

    >>> from muspike import Score, encode, midi
    >>> c_major = midi.table([(0, 480, pitch, 80, 0) for pitch in (60, 64, 67)], midi.NOTE)
    >>> encode(Score(480, c_major)).shape  # BAR, BEAT, three times NOTE, END
    (6, 7)

    Args:
        score: the piece.
        remarks: gets a sentence for each kind of thing that was shortened.

    Raises:
        BadInput: the score has no notes outside drum tracks, or has more than `MOST_WORDS` words or `LONGEST_PIECE`
            sixteenths.
    """
    notes = instance("encode: score", score, Score, "a Score, such as midi.read gives").pitched_notes
    if not len(notes):
        raise BadInput(f"{score.name or 'score'}: no notes to encode, expected at least one outside the drum tracks")
    beat = score.ticks_per_beat
    onsets, durations, pitches, velocities = (notes[name].astype(np.int64) for name in _COLUMNS)
    name = score.name or "score"
    written, n_long = _quantise(onsets, durations, pitches, velocities, beat)
    metres = score.time_signatures
    upper, lower = metres["numerator"], metres["denominator"]
    bars, n_silences = _bars(
        # 4/4 holds before the first
        np.concatenate(([0], metres["tick"])),
        np.concatenate(([4], upper)),
        np.concatenate(([4], lower)),
        beat,
        written[:, 0],
    )
    if len(written) + len(bars) >= MOST_WORDS:
        raise BadInput(f"{name}: needs more than {MOST_WORDS} compound words, the most of a piece")
    if bars[:, 1].sum() > LONGEST_PIECE:
        raise BadInput(f"{name}: lasts {bars[:, 1].sum()} sixteenths; {LONGEST_PIECE} are the most of a piece")
    if remarks is not None and n_long:
        remarks.append(f"{several(n_long, 'note')} shortened to {LONGEST_PAUSE} sixteenths")
    if remarks is not None and n_silences:
        remarks.append(f"{several(n_silences, 'silence')} shortened to {LONGEST_PAUSE} sixteenths, in whole bars")
    if score.chords is None:
        beats, recognised = chords.recognise_changes(score)
        chord_starts, chord_values = 4 * beats, recognised.astype(np.int64)
    else:
        chord_starts = _sixteenth(np.array([mark.tick for mark in score.chords], np.int64), beat)
        chord_values = np.array([chords.index(mark.symbol) for mark in score.chords], np.int64)
    tempos = score.tempos
    words: Words = _write(
        bars,
        written,
        _sixteenth(tempos["tick"].astype(np.int64), beat),
        np.clip(np.rint((tempos["bpm"] - 32) / 3) + 1, 1, 65).astype(np.int64),  # as `tempo_index`
        tempo_index(DEFAULT_BPM),
        chord_starts,
        chord_values,
    )
    if len(words) > MOST_WORDS:
        raise BadInput(f"{name}: has {len(words)} compound words; {MOST_WORDS} are the most of a piece")
    return words


def _sixteenth(ticks: Any, ticks_per_beat: int) -> Any:
    """`ticks` rounded to sixteenths; the middle between two sixteenths is rounded up."""
    return (8 * ticks + ticks_per_beat) // (2 * ticks_per_beat)


_sixteenth_njit = njit(_sixteenth)


@njit
def _quantise(
    onsets: NDArray[np.int64],
    durations: NDArray[np.int64],
    pitches: NDArray[np.int64],
    velocities: NDArray[np.int64],
    ticks_per_beat: int,
) -> tuple[NDArray[np.int64], int]:
    """The NOTEs of a piece in token order, and how many of its notes were shortened.

    A note longer than 32 sixteenths becomes several NOTEs. No more than `MOST_WORDS` NOTEs are made. The notes arrive
    sorted by onset and the sort is stable. So among NOTEs of one onset and pitch, continuations come first, those of
    the oldest note foremost: `decode` joins them in this order.

    Returns:
        int64 `[NOTEs, 4]`: the onset in sixteenths, and the values of the features pitch, duration and velocity; and
        the number of notes that were longer than `LONGEST_PAUSE`.
    """
    starts = np.empty(len(onsets), np.int64)
    lengths = np.empty(len(onsets), np.int64)
    total = shortened = 0
    for i in range(len(onsets)):
        starts[i] = _sixteenth_njit(onsets[i], ticks_per_beat)
        lengths[i] = max(1, _sixteenth_njit(onsets[i] + durations[i], ticks_per_beat) - starts[i])
        if lengths[i] > LONGEST_PAUSE:
            lengths[i] = LONGEST_PAUSE
            shortened += 1
        total += (lengths[i] - 1) // MAX_DURATION + 1
    total = min(total, MOST_WORDS)
    notes = np.empty((total, 4), np.int64)
    keys = np.empty(total, np.int64)
    size = 0
    for i in range(len(onsets)):
        parts = (lengths[i] - 1) // MAX_DURATION
        for part in range(min(parts + 1, total - size)):
            notes[size, 0] = starts[i] + MAX_DURATION * part
            notes[size, 1] = pitches[i] + 1
            notes[size, 2] = TIED if part < parts else lengths[i] - MAX_DURATION * part
            notes[size, 3] = (min(max(velocities[i], 1), 127) + 1) // 2
            keys[size] = notes[size, 0] * 128 + 127 - pitches[i]
            size += 1
    return notes[np.argsort(keys, kind="mergesort")], shortened


@njit
def _bars(
    ticks: NDArray[np.int64],
    numerators: NDArray[np.int64],
    denominators: NDArray[np.int64],
    ticks_per_beat: int,
    onsets: NDArray[np.int64],
) -> tuple[NDArray[np.int64], int]:
    """The bars from the first onset's to the last onset's, and how many silences were shortened.

    No more than `MOST_WORDS` bars are made. Bar lines are whole numbers in ticks times the denominator, so that none
    drifts.

    Args:
        ticks, numerators, denominators: the metres, the first at tick 0.
        ticks_per_beat: ticks in a quarter note.
        onsets: in sixteenths, ascending.

    Returns:
        int64 `[bars, 2]`, start and length of each bar in sixteenths; and the number of silences that were shortened.
    """
    bars = np.empty((1024, 2), np.int64)
    size = shortened = note = metre = bar = 0
    latest = -1  # onset
    while note < len(onsets) and size < MOST_WORDS:
        onset = onsets[note]
        unit = denominators[metre]
        length = 4 * ticks_per_beat * numerators[metre]  # of a bar; this and the next two in ticks / unit
        line = ticks[metre] * unit + bar * length
        next_line = line + length
        is_last = metre + 1 == len(ticks)
        if not is_last:
            next_line = min(next_line, ticks[metre + 1] * unit)
        start = (8 * line + unit * ticks_per_beat) // (2 * unit * ticks_per_beat)
        end = (8 * next_line + unit * ticks_per_beat) // (2 * unit * ticks_per_beat)
        dropped = latest < 0
        for part in range(start, end, MAX_BAR):
            part_end = min(part + MAX_BAR, end)
            if note == len(onsets):
                break
            if onsets[note] >= part_end and (latest < 0 or part_end > latest + LONGEST_PAUSE):
                # before the first onset, or far from the latest
                shortened += latest >= 0 and not dropped and part <= latest + LONGEST_PAUSE
                dropped = True
                continue
            dropped = False
            while note < len(onsets) and onsets[note] < part_end:
                latest = onsets[note]
                note += 1
            if size == len(bars):
                longer = np.empty((2 * size, 2), np.int64)
                longer[:size] = bars
                bars = longer
            bars[size, 0], bars[size, 1] = part, part_end - part
            size += 1
        bar += 1
        if not is_last and line + length >= ticks[metre + 1] * unit:
            metre, bar = metre + 1, 0
        if dropped:
            # Skip what would be dropped as well: whole metres, then bars that end before the next onset's sixteenth.
            while metre + 1 < len(ticks) and 4 * ticks[metre + 1] <= (onset - 1) * ticks_per_beat:
                metre, bar = metre + 1, 0
            length = 4 * ticks_per_beat * numerators[metre]
            before = ((onset - 1) * ticks_per_beat // 4 - ticks[metre]) * denominators[metre]
            bar = max(bar, before // length)
    return bars[:size], shortened


@njit
def _write(
    bars: NDArray[np.int64],
    notes: NDArray[np.int64],  # as _quantise returns them
    tempo_starts: NDArray[np.int64],
    tempo_values: NDArray[np.int64],
    tempo: int,
    chord_starts: NDArray[np.int64],
    chord_values: NDArray[np.int64],
) -> NDArray[np.int16]:
    words = np.zeros((len(bars) + 2 * len(notes) + 1, 7), np.int16)
    size = note = i_tempo = i_chord = 0
    chord = chords.NO_CHORD
    latest = (0, 0)  # tempo and chord of the latest BEAT
    for bar in range(len(bars)):
        start, length = bars[bar]
        words[size] = (latest[0], latest[1], _BAR, length, 0, 0, 0)
        size += 1
        onset = -1
        while note < len(notes) and notes[note, 0] < start + length:
            if notes[note, 0] != onset:
                onset = notes[note, 0]
                while i_tempo < len(tempo_starts) and tempo_starts[i_tempo] <= onset:
                    tempo, i_tempo = tempo_values[i_tempo], i_tempo + 1
                while i_chord < len(chord_starts) and chord_starts[i_chord] <= onset:
                    chord, i_chord = chord_values[i_chord], i_chord + 1
                latest = (tempo, chord)
                words[size] = (tempo, chord, _BEAT, onset - start, 0, 0, 0)
                size += 1
            words[size] = (tempo, chord, _NOTE, onset - start, notes[note, 1], notes[note, 2], notes[note, 3])
            size += 1
            note += 1
    words[size] = (latest[0], latest[1], _END, 0, 0, 0, 0)
    return words[: size + 1].copy()


def decode(words: Words, name: str = "") -> Score:
    """The score of compound words `[tokens, 7]` whose context is filled in. `name` becomes the score's name.

    Reading stops at END or PAD. END may be missing, as after sampling a fixed number of tokens. A NOTE of duration 33
    is joined with the NOTE of the same pitch 32 sixteenths later, with the first one if there are several; if there is
    none, it lasts 32 sixteenths. If `encode` made `words`, then `encode(decode(words))` equals `words`.

    >>> from muspike import decode, generate, load_model
    >>> piece, = generate(load_model("s-rnn").network.runner(), pieces=1, length=16, seed=0)
    >>> len(decode(piece).notes) > 0
    True

    Raises:
        BadInput: the words are not a piece; the message names the first token that breaks a rule.
    """
    words = checked(words, "compound words")
    stop = np.flatnonzero(np.isin(words[:, BAR_BEAT], (BarBeat.PAD, BarBeat.END)))
    words = words[: stop[0]] if len(stop) else words
    _check(words)
    kinds = words[:, BAR_BEAT]
    is_bar, is_beat, is_note = kinds == BarBeat.BAR, kinds == BarBeat.BEAT, kinds == BarBeat.NOTE
    lengths = words[is_bar, POSITION].astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    if lengths.sum() > LONGEST_PIECE:
        raise BadInput(f"compound words: {lengths.sum()} sixteenths; {LONGEST_PIECE} are the most of a piece")
    latest_beat = np.maximum.accumulate(np.where(is_beat, np.arange(len(words)), 0))
    ticks = _SIXTEENTH * (starts[np.cumsum(is_bar) - 1] + words[latest_beat, POSITION])

    notes = np.empty(is_note.sum(), NOTE)
    notes["onset"], notes["track"] = ticks[is_note], 0
    notes["duration"] = np.minimum(words[is_note, DURATION], MAX_DURATION) * _SIXTEENTH
    notes["pitch"] = words[is_note, PITCH] - 1
    notes["velocity"] = np.minimum(127, 2 * words[is_note, VELOCITY])
    notes = _join(notes, words[is_note, DURATION] == TIED)

    return Score(
        ticks_per_beat=TICKS_PER_BEAT,
        notes=notes,
        tempos=table(
            [(tick, 32 + 3 * (tempo - 1)) for tick, tempo in _changes(ticks[is_beat], words[is_beat, TEMPO_])], TEMPO
        ),
        time_signatures=table(
            [(tick, *metre(length)) for tick, length in _changes(_SIXTEENTH * starts, lengths)], TIME_SIGNATURE
        ),
        chords=[
            ChordMark(tick, chords.SYMBOLS[chord]) for tick, chord in _changes(ticks[is_beat], words[is_beat, CHORD])
        ],
        name=name,
    )


def _changes(ticks: NDArray[np.int64], values: NDArray[np.integer]) -> list[tuple[int, int]]:
    """The (tick, value) of each change of value. The first value holds from tick 0."""
    changed = np.flatnonzero(np.diff(values, prepend=-1))
    return [(int(ticks[i]) if i else 0, int(values[i])) for i in changed]


def _join(notes: NDArray[Any], tied: NDArray[np.bool_]) -> NDArray[Any]:
    if not tied.any():
        return notes
    kept = np.empty(len(notes), np.bool_)
    columns = [notes[name].astype(np.int64) for name in ("onset", "duration", "pitch")]
    _join_durations(*columns, tied, kept)
    notes["duration"] = columns[1]
    return notes[kept]


def checked(words: Any, where: str) -> Words:
    """`words` as an array of compound words, int16 `[tokens, 7]`, with every value inside its feature's size.

    Raises:
        BadInput: they are of another shape or type, or a value is outside. The message begins with `where`.
    """
    try:
        array = np.asarray(words)
    except ValueError as error:  # rows of unequal length
        raise refuse(where, words, f"whole numbers [tokens, {len(FEATURES)}]") from error
    if array.ndim != 2 or array.shape[1] != len(FEATURES) or array.dtype.kind not in "iu":
        found = f"{array.dtype} {list(array.shape)}" if isinstance(words, np.ndarray) else type(words).__name__
        raise BadInput(
            f"{where}: found {found}; expected whole numbers [tokens, {len(FEATURES)}], as encode gives them"
        )
    outside = ((array < 0) | (array >= np.array(SIZES))).any(axis=1)
    if outside.any():
        token = int(outside.argmax())
        raise BadInput(f"{where}: token {token} {array[token].tolist()}: a value is outside the sizes {SIZES}")
    return array.astype(np.int16, copy=False)


@njit
def _join_durations(
    onsets: NDArray[np.int64],
    durations: NDArray[np.int64],
    pitches: NDArray[np.int64],
    tied: NDArray[np.bool_],
    kept: NDArray[np.bool_],
) -> None:
    """Add the durations of continuations to those of the notes that they continue; `kept` gets the other notes."""
    # Of each pitch, a queue of the NOTEs that wait for a continuation. They ascend in time, as the NOTEs do.
    oldest, newest = np.full(128, -1), np.full(128, -1)
    following = np.full(len(onsets), -1)
    note_of = np.arange(len(onsets))  # the note that a NOTE belongs to
    for i in range(len(onsets)):
        pitch = pitches[i]
        waiting = oldest[pitch]
        while waiting >= 0 and onsets[waiting] + MAX_DURATION * _SIXTEENTH < onsets[i]:
            waiting = following[waiting]
        if waiting >= 0 and onsets[waiting] + MAX_DURATION * _SIXTEENTH == onsets[i]:
            note_of[i] = note_of[waiting]
            durations[note_of[i]] += durations[i]
            waiting = following[waiting]
        oldest[pitch] = waiting
        kept[i] = note_of[i] == i
        if tied[i]:
            if oldest[pitch] < 0:
                oldest[pitch] = i
            else:
                following[newest[pitch]] = i
            newest[pitch] = i


def _check(words: Words) -> None:
    if not len(words) or words[0, BAR_BEAT] != BarBeat.BAR:
        raise BadInput("compound words: a piece starts with BAR")
    kind, position = words[:, BAR_BEAT], words[:, POSITION]
    before = np.concatenate(([BarBeat.PAD], kind[:-1]))
    after = np.concatenate((kind[1:], [BarBeat.NOTE]))
    bar = np.maximum.accumulate(np.where(kind == BarBeat.BAR, np.arange(len(words)), 0))
    beat_before = np.maximum.accumulate(np.where(kind == BarBeat.BEAT, np.arange(len(words)), 0))[:-1]
    same_bar = np.concatenate(([False], beat_before > bar[1:]))
    position_before = np.concatenate(([0], position[beat_before]))
    pitch_before = np.concatenate(([0], words[:-1, PITCH]))
    is_bar, is_beat, is_note = kind == BarBeat.BAR, kind == BarBeat.BEAT, kind == BarBeat.NOTE
    rules = (
        (is_bar & (position < 1), "BAR has no length; 1 to 32 sixteenths are right"),
        (is_beat & (after != BarBeat.NOTE), "BEAT is not followed by a NOTE"),
        (is_note & (before != BarBeat.BEAT) & (before != BarBeat.NOTE), "NOTE does not follow a BEAT or NOTE"),
        (is_beat & (position >= position[bar]), "BEAT lies beyond the end of its bar"),
        (is_beat & same_bar & (position <= position_before), "BEAT does not come after the BEAT before it"),
        (is_beat & ((words[:, TEMPO_] < 1) | (words[:, CHORD] < 1)), "BEAT has no tempo or no chord"),
        (is_note & (words[:, [PITCH, DURATION, VELOCITY]] < 1).any(axis=1), "NOTE has no pitch, duration or velocity"),
        (
            is_note & (before == BarBeat.NOTE) & (words[:, PITCH] > pitch_before),
            "NOTE is higher than the NOTE before it",
        ),
    )
    wrong = [(int(np.flatnonzero(broken)[0]), rule) for broken, rule in rules if broken.any()]
    if wrong:
        token, rule = min(wrong)
        raise BadInput(f"compound words: token {token} {words[token].tolist()}: {rule}")


def targets(words: Words) -> Words:
    """The values that a network should predict at each token, int16 `[tokens, 7]`.

    They equal `words`, except that `tempo` and `chord` are 0 on a BEAT that does not change them. Only the features in
    `PREDICTED[bar_beat]` are predicted on a token; its other features are context.
    """
    predicted = words.copy()
    beats = np.flatnonzero(words[:, BAR_BEAT] == BarBeat.BEAT)
    for feature in (TEMPO_, CHORD):
        values = words[beats, feature]
        predicted[beats[1:][values[1:] == values[:-1]], feature] = 0
    return predicted


def transpose(words: Words, semitones: int) -> Words:
    """The piece `words` `[tokens, 7]` moved up by `semitones`, chords included.

    Raises:
        BadInput: a pitch would leave the range 0 to 127.
    """
    moved = words.copy()
    pitched, chorded = words[:, PITCH] > 0, words[:, CHORD] > chords.NO_CHORD
    moved[pitched, PITCH] += semitones
    pitches = moved[pitched, PITCH] - 1
    if len(pitches) and not 0 <= pitches.min() <= pitches.max() <= 127:
        raise BadInput(
            f"transposing by {semitones}: pitches would be {pitches.min()} to {pitches.max()}, outside 0 to 127"
        )
    root_major = moved[chorded, CHORD] - 2
    moved[chorded, CHORD] = 2 + (root_major + len(chords.QUALITIES) * semitones) % (12 * len(chords.QUALITIES))
    return moved


# [kind, next kind]: whether a token of the second kind may follow one of the first. The row PAD stands for the start of
# a piece. `State` adds the rules that depend on more than the two kinds.
_FOLLOWS = np.zeros((5, 5), np.bool_)
_FOLLOWS[BarBeat.PAD, BarBeat.BAR] = True
_FOLLOWS[BarBeat.BAR, [BarBeat.BAR, BarBeat.BEAT]] = True
_FOLLOWS[BarBeat.BEAT, BarBeat.NOTE] = True
_FOLLOWS[BarBeat.NOTE, [BarBeat.BAR, BarBeat.BEAT, BarBeat.NOTE, BarBeat.END]] = True
_FOLLOWS[BarBeat.END, BarBeat.PAD] = True

_FEATURE_OF_AXON = np.repeat(np.arange(7), SIZES)
_VALUE_OF_AXON = np.concatenate([np.arange(size) for size in SIZES])


@dataclass
class State:
    """The state of a batch of growing pieces, which decides the tokens that may come next.

    For every token: sample `bar_beat` under `allowed_bar_beat`, then sample the other features under `allowed`, then
    `complete` the sample into the next input. Pieces sampled in this way always decode:

    - The first token is BAR, and the first bar is not empty.
    - BEATs ascend inside their bar. The NOTEs after a BEAT descend in pitch.
    - The first BEAT states tempo and chord.
    - END comes after a NOTE, and only PAD comes after END.

    All arrays are int64 `[batch]`.

    Attributes:
        bar_beat: of the latest token.
        bar_length: length of the current bar in sixteenths.
        position: of the latest BEAT in this bar, -1 if there is none.
        pitch: the highest pitch value that a NOTE may have at this onset.
        same: number of NOTEs so far at this onset that have the latest pitch.
        tempo: the value that holds, 0 before the first BEAT.
        chord: the value that holds, 0 before the first BEAT.
        unisons: the most NOTEs of one pitch at an onset, None for no limit. A piece may have any number of them, but a
            sampler without a limit can stay on one chord for ever.
    """

    bar_beat: NDArray[np.int64]
    bar_length: NDArray[np.int64]
    position: NDArray[np.int64]
    pitch: NDArray[np.int64]
    same: NDArray[np.int64]
    tempo: NDArray[np.int64]
    chord: NDArray[np.int64]

    unisons: int | None = None

    @classmethod
    def start(cls, batch: int, unisons: int | None = None) -> State:
        """The state before the first token of `batch` pieces."""
        zeros = np.zeros(batch, np.int64)
        return cls(zeros, zeros, zeros - 1, zeros, zeros, zeros, zeros, unisons)

    @classmethod
    def after(cls, words: Words) -> State:
        """The state after prompts of equal length; `words` are their tokens, `[tokens, batch, 7]`."""
        state = cls.start(words.shape[1])
        for row in words:
            state.complete(row)
        return state

    @property
    def ended(self) -> NDArray[np.bool_]:
        """Whether each piece has had its END, `[batch]`."""
        ended: NDArray[np.bool_] = self.bar_beat == BarBeat.END
        return ended

    def allowed_bar_beat(self) -> NDArray[np.bool_]:
        """The kinds of token that may come next, bool `[batch, 5]`."""
        mask: NDArray[np.bool_] = _FOLLOWS[self.bar_beat]
        mask[:, BarBeat.BEAT] &= self.position + 1 < self.bar_length
        mask[:, BarBeat.BAR] &= (self.bar_beat != BarBeat.BAR) | (self.tempo > 0)
        return mask

    def allowed(self, bar_beat: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The values that may come with tokens of the kinds `bar_beat` `[batch]`: bool `[batch, N_AXONS]`.

        A feature that is not predicted on such a token may only be 0. `bar_beat` may only have the given value.
        """
        kind = np.asarray(bar_beat, np.int64)
        first = np.zeros((len(kind), 7), np.int64)
        last = np.zeros_like(first)
        first[:, BAR_BEAT] = last[:, BAR_BEAT] = kind
        bar, beat, note = kind == BarBeat.BAR, kind == BarBeat.BEAT, kind == BarBeat.NOTE
        first[bar, POSITION], last[bar, POSITION] = 1, MAX_BAR
        first[beat, POSITION], last[beat, POSITION] = self.position[beat] + 1, self.bar_length[beat] - 1
        for feature, current in ((TEMPO_, self.tempo), (CHORD, self.chord)):
            first[beat, feature], last[beat, feature] = current[beat] == 0, SIZES[feature] - 1
        for feature in (PITCH, DURATION, VELOCITY):
            first[note, feature], last[note, feature] = 1, SIZES[feature] - 1
        last[note, PITCH] = self.pitch[note]
        if self.unisons is not None:
            # The lowest pitch of all stays possible, so that a NOTE can always follow.
            full = note & (self.same >= self.unisons) & (self.pitch > 1)
            last[full, PITCH] -= 1
        mask: NDArray[np.bool_] = first[:, _FEATURE_OF_AXON] <= _VALUE_OF_AXON
        mask &= last[:, _FEATURE_OF_AXON] >= _VALUE_OF_AXON
        return mask

    def complete(self, sampled: NDArray[np.integer]) -> Words:
        """Advance by the sampled tokens `[batch, 7]` and return them as the next inputs, int16 `[batch, 7]`.

        In the inputs, every unused feature is filled with its context. A `tempo` or `chord` of 0 on a BEAT means the
        value that holds. A token that is an input already is returned unchanged.
        """
        sampled = np.asarray(sampled, np.int64)
        kind = sampled[:, BAR_BEAT]
        bar, beat, note = kind == BarBeat.BAR, kind == BarBeat.BEAT, kind == BarBeat.NOTE
        self.tempo = np.where(beat & (sampled[:, TEMPO_] > 0), sampled[:, TEMPO_], self.tempo)
        self.chord = np.where(beat & (sampled[:, CHORD] > 0), sampled[:, CHORD], self.chord)
        self.bar_length = np.where(bar, sampled[:, POSITION], self.bar_length)
        self.position = np.where(bar, -1, np.where(beat, sampled[:, POSITION], self.position))
        again = (self.same > 0) & (sampled[:, PITCH] == self.pitch)
        self.same = np.where(beat, 0, np.where(note, np.where(again, self.same + 1, 1), self.same))
        self.pitch = np.where(beat, SIZES[PITCH] - 1, np.where(note, sampled[:, PITCH], self.pitch))
        self.bar_beat = np.where(kind == BarBeat.PAD, self.bar_beat, kind)

        words = np.where(PREDICTED[kind], sampled, 0).astype(np.int16)
        used = kind != BarBeat.PAD
        words[used, TEMPO_], words[used, CHORD] = self.tempo[used], self.chord[used]
        words[note, POSITION] = self.position[note]
        return words
