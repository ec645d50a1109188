"""Compound words: `encode` turns a piece into tokens of seven features, `decode` turns them back.

`State` says which tokens may follow which. The tokens are the Compound Words of Hsiao et al. (AAAI 2021), regrouped
into the seven features of MuSpike. Ours also have bars of any metre, ties for long notes, and the current context
filled in. docs/architecture.md has the table of features.
"""

from __future__ import annotations

import math
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

# Rises with every change of what words say. 2: a BAR says its beat, and the grid starts anew at every metre.
VERSION = 2
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
PREDICTED[BarBeat.BAR, [POSITION, DURATION]] = True
PREDICTED[BarBeat.BEAT, [POSITION, TEMPO_, CHORD]] = True
PREDICTED[BarBeat.NOTE, [PITCH, DURATION, VELOCITY]] = True

MAX_BAR = 32  # sixteenths
MAX_DURATION = 32  # sixteenths of one NOTE
TIED = 33  # the duration of a NOTE of 32 sixteenths that another NOTE continues
BEATS = (1, 2, 4, 8, 16)  # sixteenths of the beat that a metre counts in: the duration of a BAR

TICKS_PER_BEAT = 480  # of decoded scores
_SIXTEENTH = TICKS_PER_BEAT // 4
LONGEST_PAUSE = 4096  # sixteenths of one note, and of empty bars between two notes; the longest note seen has 654
MOST_WORDS = 2**20  # of a piece; the longest seen has 40 thousand
LONGEST_PIECE = 2**24  # sixteenths; its last tick is below `midi.LAST_TICK`


def tempo_index(bpm: float) -> int:
    """The index of the tempo nearest to `bpm`, from 1 (32 bpm) to 65 (224 bpm)."""
    return min(max(round((bpm - 32) / 3) + 1, 1), 65)


def metre(length: int, beat: int) -> tuple[int, int]:
    """The time signature (numerator, denominator) of a bar of `length` sixteenths that counts in beats of `beat` ones.

    If whole beats do not fill the bar, as in a bar that is cut short, it counts in the longest fraction that does.

    >>> from muspike import tokens
    >>> tokens.metre(12, 2), tokens.metre(12, 4), tokens.metre(3, 4)
    ((6, 8), (3, 4), (3, 16))
    """
    beat = math.gcd(length, beat)
    return length // beat, 16 // beat


def encode(score: Score, remarks: list[str] | None = None) -> Words:
    """The compound words of a score, int16 `[tokens, 7]`. Drums are left out, and tracks are merged.

    - Onsets and ends are rounded to the nearest sixteenth, and up if they lie in the middle between two. The grid of
      sixteenths starts anew at every change of metre. A note lasts at least one sixteenth.
    - Bars follow the time signatures, 4/4 before the first. A time signature inside a bar ends that bar. Bar lines
      are rounded as notes are, each on its own: bars of 7/32 have 4, 3, 4, 3 ... sixteenths. A bar longer than 32
      sixteenths becomes bars of 32 and one with the rest. Bars before the first onset's and after the last onset's are
      dropped.
    - A BAR says the beat that its metre counts in, a sixteenth at least. A bar that is cut short counts in the longest
      fraction of the beat that fills it.
    - A note longer than `LONGEST_PAUSE` sixteenths is shortened to them. Empty bars are dropped that end later than so
      many sixteenths after the latest onset. Files that are damaged have such notes and such silences.
    - Chords are the annotated ones; without annotations they are recognised.
    - The tempo is 120 bpm until the score writes one. It is brought to the nearest of the 65 values of the words.

    >>> from muspike import Score, encode, midi
    >>> c_major = midi.table([(0, 480, pitch, 80, 0) for pitch in (60, 64, 67)], midi.NOTE)
    >>> encode(Score(480, c_major)).shape  # BAR, BEAT, three times NOTE, END
    (6, 7)

    Args:
        score: the piece.
        remarks: gets a sentence for each kind of thing that was changed: shortened, moved by more than a quarter of a
            sixteenth, joined with another onset, brought to the slowest or fastest tempo, or written in another metre.

    Raises:
        BadInput: the score has no notes outside drum tracks, or has more than `MOST_WORDS` words or `LONGEST_PIECE`
            sixteenths.
    """
    notes = instance("encode: score", score, Score, "a Score, such as midi.read gives").pitched_notes
    if not len(notes):
        raise BadInput(f"{score.name or 'score'}: no notes to encode, expected at least one outside the drum tracks")
    beat, name = score.ticks_per_beat, score.name or "score"
    starts, lengths, metres = _laid_on_grid(score, notes)
    pitches, velocities = (notes[column].astype(np.int64) for column in ("pitch", "velocity"))
    written, n_long = _notes(starts, lengths, pitches, velocities)
    bars, n_silences, last_metre = _bars(metres, beat, written[:, 0])
    if len(written) + len(bars) >= MOST_WORDS:
        raise BadInput(f"{name}: needs more than {MOST_WORDS} compound words, the most of a piece")
    if bars[:, 1].sum() > LONGEST_PIECE:
        raise BadInput(f"{name}: lasts {bars[:, 1].sum()} sixteenths; {LONGEST_PIECE} are the most of a piece")
    if score.chords is None:
        beats, recognised = chords.recognise_changes(score)
        chord_starts, chord_values = beats * beat, recognised.astype(np.int64)
    else:
        chord_starts = np.array([mark.tick for mark in score.chords], np.int64)
        chord_values = np.array([chords.index(mark.symbol) for mark in score.chords], np.int64)
    tempos = score.tempos
    words: Words = _write(
        bars,
        written,
        _in_sixteenths(tempos["tick"].astype(np.int64), metres, beat),
        np.clip(np.rint((tempos["bpm"] - 32) / 3) + 1, 1, 65).astype(np.int64),  # as `tempo_index`
        tempo_index(DEFAULT_BPM),
        _in_sixteenths(chord_starts, metres, beat),
        chord_values,
    )
    if len(words) > MOST_WORDS:
        raise BadInput(f"{name}: has {len(words)} compound words; {MOST_WORDS} are the most of a piece")
    if remarks is not None:
        remarks += _counted(score, notes, starts, metres[: last_metre + 1], n_long, n_silences).sentences()
    return words


@dataclass(frozen=True)
class Losses:
    """What the words of a score cannot say, in numbers.

    Attributes:
        notes: notes outside drum tracks.
        drum_notes: notes in drum tracks, which are left out.
        moved: notes whose onset moves by more than a quarter of a sixteenth.
        triplets: of these, the ones that begin within a forty-eighth of a beat of a third or a sixth of it.
        thirty_seconds: of these, the ones that begin as near to an odd eighth of a beat.
        fused_onsets: onsets that come more than a quarter of a sixteenth after the one before and get its sixteenth.
        shortened_notes: notes longer than `LONGEST_PAUSE` sixteenths.
        shortened_silences: silences longer than that.
        tempi: tempi that the score writes.
        slow_tempi: of these, the ones written as 32 bpm because they are slower.
        fast_tempi: of these, the ones written as 224 bpm because they are faster.
        fine_metres: (numerator, denominator) of metres that count in less than a sixteenth, each once.
        long_metres: those whose bars are longer than `MAX_BAR` sixteenths, each once.
    """

    notes: int
    drum_notes: int
    moved: int
    triplets: int
    thirty_seconds: int
    fused_onsets: int
    shortened_notes: int
    shortened_silences: int
    tempi: int
    slow_tempi: int
    fast_tempi: int
    fine_metres: tuple[tuple[int, int], ...]
    long_metres: tuple[tuple[int, int], ...]

    @property
    def tempi_out_of_range(self) -> int:
        """The tempi that are written as the slowest or the fastest one."""
        return self.slow_tempi + self.fast_tempi

    def sentences(self) -> list[str]:
        """A sentence for each kind of thing that is changed, apart from the drums."""
        said = []
        if self.shortened_notes:
            said.append(f"{several(self.shortened_notes, 'note')} shortened to {LONGEST_PAUSE} sixteenths")
        if self.shortened_silences:
            silences = several(self.shortened_silences, "silence")
            said.append(f"{silences} shortened to {LONGEST_PAUSE} sixteenths, in whole bars")
        if self.moved:
            said.append(f"{several(self.moved, 'note')} of {self.notes} moved by more than a quarter of a sixteenth")
        if self.fused_onsets:
            said.append(
                f"{several(self.fused_onsets, 'onset')} joined with the one before, less than a sixteenth earlier"
            )
        for count, how, bound in ((self.slow_tempi, "slower", 32), (self.fast_tempi, "faster", 224)):
            if count:
                said.append(f"{several(count, 'tempo', 'tempi')} {how} than {bound} bpm written as {bound}")
        for upper, lower in sorted(self.fine_metres + self.long_metres):
            if (upper, lower) in self.fine_metres:
                said.append(f"bars of {upper}/{lower} are written in whole sixteenths")
            else:
                said.append(f"bars of {upper}/{lower} are longer than {MAX_BAR} sixteenths and are written as several")
        return said


def losses(score: Score) -> Losses:
    """What `encode` loses of a score, in numbers. A score whose notes are all drums loses them all.

    >>> from muspike import Score, midi, tokens
    >>> triplet = Score(480, midi.table([(0, 160, 60, 80, 0), (160, 160, 62, 80, 0), (320, 160, 64, 80, 0)], midi.NOTE))
    >>> found = tokens.losses(triplet)
    >>> found.notes, found.moved, found.triplets
    (3, 2, 2)
    """
    notes = instance("losses: score", score, Score, "a Score, such as midi.read gives").pitched_notes
    starts, lengths, metres = _laid_on_grid(score, notes)
    written, n_long = _notes(starts, lengths, *(notes[column].astype(np.int64) for column in ("pitch", "velocity")))
    _, n_silences, last_metre = _bars(metres, score.ticks_per_beat, written[:, 0])
    return _counted(score, notes, starts, metres[: last_metre + 1], n_long, n_silences)


def _laid_on_grid(score: Score, notes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First sixteenth and length in sixteenths of `notes`, and the metres of the score."""
    onsets, durations = (notes[column].astype(np.int64) for column in ("onset", "duration"))
    metres = _metres(score)
    starts = _in_sixteenths(onsets, metres, score.ticks_per_beat)
    return starts, _in_sixteenths(onsets + durations, metres, score.ticks_per_beat) - starts, metres


@njit
def _sixteenth(ticks: int, ticks_per_beat: int) -> int:
    """`ticks` rounded to sixteenths; the middle between two sixteenths is rounded up."""
    return (8 * ticks + ticks_per_beat) // (2 * ticks_per_beat)


# The columns of an array of metres, int64 `[metres, 4]`. The grid of sixteenths starts anew at each of them.
_TICK, _UPPER, _LOWER, _START = range(4)  # its first tick, numerator, denominator, first sixteenth


def _metres(score: Score) -> NDArray[np.int64]:
    """The metres of a score: 4/4 from tick 0, and every time signature that changes something."""
    written = score.time_signatures
    metres = np.zeros((len(written) + 1, 4), np.int64)
    metres[0] = 0, 4, 4, 0
    for column, name in ((_TICK, "tick"), (_UPPER, "numerator"), (_LOWER, "denominator")):
        metres[1:, column] = written[name]
    return metres[: _laid_out(metres, score.ticks_per_beat)]


@njit
def _laid_out(metres: NDArray[np.int64], ticks_per_beat: int) -> int:
    """Move the metres that change something to the front, set their first sixteenths, and return their number.

    A metre changes nothing if it is written again where a bar of it begins.
    """
    last = 0
    for i in range(1, len(metres)):
        after = metres[i, _TICK] - metres[last, _TICK]
        same = metres[i, _UPPER] == metres[last, _UPPER] and metres[i, _LOWER] == metres[last, _LOWER]
        if same and after * metres[last, _LOWER] % (4 * ticks_per_beat * metres[last, _UPPER]) == 0:
            continue
        start = metres[last, _START] + _sixteenth(after, ticks_per_beat)
        if after:
            last += 1
        metres[last, :_START], metres[last, _START] = metres[i, :_START], start
    return last + 1


@njit
def _in_sixteenths(ticks: NDArray[np.int64], metres: NDArray[np.int64], ticks_per_beat: int) -> NDArray[np.int64]:
    """Times in sixteenths, each counted from the start of the metre that holds."""
    found = np.empty(len(ticks), np.int64)
    of_metre = np.searchsorted(metres[:, _TICK], ticks, side="right") - 1
    for i in range(len(ticks)):
        metre = max(0, of_metre[i])
        found[i] = metres[metre, _START] + _sixteenth(ticks[i] - metres[metre, _TICK], ticks_per_beat)
    return found


def _counted(
    score: Score,
    notes: NDArray[Any],
    starts: NDArray[np.int64],
    metres: NDArray[np.int64],
    n_long: int,
    n_silences: int,
) -> Losses:
    """The losses of a score.

    Args:
        score: the piece.
        notes: its notes outside drum tracks.
        starts: their first sixteenths.
        metres: those of the bars that are written.
        n_long: notes that are shortened.
        n_silences: silences that are shortened.
    """
    onsets = notes["onset"].astype(np.int64)
    bpm = score.tempos["bpm"]
    kinds = [(upper, lower) for upper, lower in np.unique(metres[:, [_UPPER, _LOWER]], axis=0).tolist()]
    fine = tuple((upper, lower) for upper, lower in kinds if lower > 16)
    long = tuple((upper, lower) for upper, lower in kinds if lower <= 16 and upper * 16 > MAX_BAR * lower)
    moved, triplets, thirty_seconds, fused = _moved(onsets, starts, metres, score.ticks_per_beat)
    return Losses(
        notes=len(notes),
        drum_notes=len(score.notes) - len(notes),
        moved=moved,
        triplets=triplets,
        thirty_seconds=thirty_seconds,
        fused_onsets=fused,
        shortened_notes=n_long,
        shortened_silences=n_silences,
        tempi=len(bpm),
        slow_tempi=int((bpm < 30.5).sum()),
        fast_tempi=int((bpm > 225.5).sum()),
        fine_metres=fine,
        long_metres=long,
    )


@njit
def _moved(
    onsets: NDArray[np.int64], starts: NDArray[np.int64], metres: NDArray[np.int64], beat: int
) -> tuple[int, int, int, int]:
    """Notes that move by more than a quarter of a sixteenth; the triplets and thirty-seconds among them; fused onsets.

    `onsets` are in ticks and ascend, `starts` are the same in sixteenths, `beat` is the length of a beat in ticks.
    """
    moved = triplets = thirty_seconds = fused = 0
    of_metre = np.searchsorted(metres[:, _TICK], onsets, side="right") - 1
    exact_before = 0
    for i in range(len(onsets)):
        metre = of_metre[i]
        after = onsets[i] - metres[metre, _TICK]  # the start of the metre
        exact = metres[metre, _START] * beat + 4 * after  # in sixteenths / beat
        if 4 * abs(exact - starts[i] * beat) > beat:
            moved += 1
            part = (48 * after + beat) // (2 * beat) % 24  # the nearest twenty-fourth of the beat
            triplets += part % 4 == 0 and part % 6 != 0
            thirty_seconds += part % 6 == 3
        # Onsets count as two if they are more than a quarter of a sixteenth apart.
        if i and starts[i] == starts[i - 1] and 4 * (exact - exact_before) > beat:
            fused += 1
        exact_before = exact
    return moved, triplets, thirty_seconds, fused


@njit
def _notes(
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    pitches: NDArray[np.int64],
    velocities: NDArray[np.int64],
) -> tuple[NDArray[np.int64], int]:
    """The NOTEs of a piece in token order, and how many of its notes were shortened.

    A note longer than 32 sixteenths becomes several NOTEs. No more than `MOST_WORDS` NOTEs are made. The notes arrive
    sorted by onset and the sort is stable. So among NOTEs of one onset and pitch, continuations come first, those of
    the oldest note foremost: `decode` joins them in this order.

    Args:
        starts, lengths: in sixteenths; `lengths` is overwritten with the lengths that are written.
        pitches, velocities: as in MIDI.

    Returns:
        int64 `[NOTEs, 4]`: the onset in sixteenths, and the values of the features pitch, duration and velocity; and
        the number of notes that were longer than `LONGEST_PAUSE`.
    """
    total = shortened = 0
    for i in range(len(starts)):
        shortened += lengths[i] > LONGEST_PAUSE
        lengths[i] = min(max(1, lengths[i]), LONGEST_PAUSE)
        total += (lengths[i] - 1) // MAX_DURATION + 1
    total = min(total, MOST_WORDS)
    notes = np.empty((total, 4), np.int64)
    keys = np.empty(total, np.int64)
    size = 0
    for i in range(len(starts)):
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
    metres: NDArray[np.int64], ticks_per_beat: int, onsets: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int, int]:
    """The bars from the first onset's to the last onset's.

    No more than `MOST_WORDS` bars are made. Bar lines are whole numbers in ticks times the denominator, so that none
    drifts within a metre.

    Args:
        metres: as `_metres` gives them.
        ticks_per_beat: ticks in a quarter note.
        onsets: in sixteenths, ascending.

    Returns:
        int64 `[bars, 3]`, start, length and beat of each bar in sixteenths; the number of silences that were shortened;
        and the metre of the last bar.
    """
    bars = np.empty((1024, 3), np.int64)
    size = shortened = note = metre = bar = 0
    latest = -1  # onset
    while note < len(onsets) and size < MOST_WORDS:
        onset = onsets[note]
        unit, first = metres[metre, _LOWER], metres[metre, _START]
        beat = max(1, 16 // unit)
        length = 4 * ticks_per_beat * metres[metre, _UPPER]  # of a bar, in ticks / unit
        line = bar * length  # after the start of the metre; this and the next two in ticks / unit
        next_line = line + length
        is_last = metre + 1 == len(metres)
        if not is_last:
            next_line = min(next_line, (metres[metre + 1, _TICK] - metres[metre, _TICK]) * unit)
        start = first + _sixteenth(line, unit * ticks_per_beat)
        end = first + _sixteenth(next_line, unit * ticks_per_beat)
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
                longer = np.empty((2 * size, 3), np.int64)
                longer[:size] = bars
                bars = longer
            bars[size, 0], bars[size, 1] = part, part_end - part
            bars[size, 2] = math.gcd(part_end - part, beat)
            size += 1
        last = metre
        bar += 1
        if not is_last and next_line >= (metres[metre + 1, _TICK] - metres[metre, _TICK]) * unit:
            metre, bar = metre + 1, 0
        if dropped:
            # Skip what would be dropped as well: whole metres, then bars that end before the next onset's sixteenth.
            while metre + 1 < len(metres) and metres[metre + 1, _START] < onset:
                metre, bar = metre + 1, 0
            length = 4 * ticks_per_beat * metres[metre, _UPPER]
            before = (onset - 1 - metres[metre, _START]) * ticks_per_beat // 4 * metres[metre, _LOWER]
            bar = max(bar, before // length)
    return bars[:size], shortened, last


@njit
def _write(
    bars: NDArray[np.int64],
    notes: NDArray[np.int64],  # as _notes returns them
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
        start, length, beat = bars[bar]
        words[size] = (latest[0], latest[1], _BAR, length, 0, beat, 0)
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
    lengths, beats = words[is_bar, POSITION].astype(np.int64), words[is_bar, DURATION]
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
            [
                (tick, *metre(*divmod(bar, MAX_BAR + 1)))
                for tick, bar in _changes(_SIXTEENTH * starts, lengths * (MAX_BAR + 1) + beats)
            ],
            TIME_SIGNATURE,
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
    kind, position, beat = words[:, BAR_BEAT], words[:, POSITION], words[:, DURATION]
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
        (is_bar & ~np.isin(beat, BEATS), "BAR has no beat; 1, 2, 4, 8 or 16 sixteenths are right"),
        (is_bar & (position % np.maximum(beat, 1) > 0), "BAR is not filled by whole beats"),
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
_NO_DURATION = _FEATURE_OF_AXON != DURATION
_IS_BEAT = np.isin(_VALUE_OF_AXON, BEATS)


@dataclass
class State:
    """The state of a batch of growing pieces, which decides the tokens that may come next.

    For every token: sample `bar_beat` under `allowed_bar_beat`. Then sample the other features under `allowed`;
    `duration` comes after `position` and also under `allowed_duration`. Then `complete` the sample into the next input.
    Pieces sampled in this way always decode:

    - The first token is BAR, and the first bar is not empty.
    - Whole beats fill a bar. BEATs ascend inside their bar. The NOTEs after a BEAT descend in pitch.
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
        first[bar, DURATION], last[bar, DURATION] = BEATS[0], BEATS[-1]
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
        mask[bar] &= _NO_DURATION | _IS_BEAT
        return mask

    @staticmethod
    def allowed_duration(sampled: NDArray[np.integer]) -> NDArray[np.bool_]:
        """The values of `duration` that may come with the other features `sampled` `[batch, 7]`: bool `[batch, 34]`.

        Whole beats must fill a BAR. Other tokens are free.
        """
        beats = np.maximum(np.arange(SIZES[DURATION]), 1)
        mask: NDArray[np.bool_] = sampled[:, [POSITION]] % beats == 0
        mask |= sampled[:, [BAR_BEAT]] != BarBeat.BAR
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
