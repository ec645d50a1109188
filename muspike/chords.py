"""Chords: their vocabulary, their names, and a recogniser.

A chord is a value of the feature `chord` of `muspike.tokens`: 0 is none or unchanged, 1 is no chord (`N`), and
`2 + 11 root + quality` is a chord whose root is a pitch class (C = 0). Its name is root, underscore, quality: "C_M7",
"F#_/o7".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muspike.errors import BadInput
from muspike.jit import njit
from muspike.midi import ChordMark, Score

ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
QUALITIES = ("M", "m", "o", "+", "7", "M7", "m7", "o7", "/o7", "sus2", "sus4")
NO_CHORD = 1
SYMBOLS = ("", "N", *(f"{root}_{quality}" for root in ROOTS for quality in QUALITIES))

TONES = {
    "M": (0, 4, 7),
    "m": (0, 3, 7),
    "o": (0, 3, 6),
    "+": (0, 4, 8),
    "7": (0, 4, 7, 10),
    "M7": (0, 4, 7, 11),
    "m7": (0, 3, 7, 10),
    "o7": (0, 3, 6, 9),
    "/o7": (0, 3, 6, 10),
    "sus2": (0, 2, 7),
    "sus4": (0, 5, 7),
}
"""The tones of each quality, in semitones above the root."""

_FLATS = {"Db": "C#", "Eb": "D#", "Fb": "E", "Gb": "F#", "Ab": "G#", "Bb": "A#", "Cb": "B", "E#": "F", "B#": "C"}
_INDEX = {symbol: index for index, symbol in enumerate(SYMBOLS) if index}

_M, _m, _o, _aug, _7, _M7, _m7, _o7, _ho7, _sus2, _sus4 = range(11)

# The templates of chorder 0.1.4 (Dechorder.chord_weights): a row per quality, a weight per interval above the root.
_TEMPLATES = np.array([
    [10, -2, -1, -2, 10, -5, -2, 10, -2, -1, -2, 0],  # M
    [10, -2, -1, 10, -2, -5, -2, 10, -1, -2, 0, -2],  # m
    [10, -2, -1, 10, -2, -1, 10, -2, -2, 1, -1, -2],  # o
    [10, -2, -1, -2, 10, -1, -2, -2, 10, -1, -2, 0],  # +
    [10, -2, 5, -2, -1, -5, -2, 5, -2, -1, -2, 0],  # sus2
    [10, -2, -1, -2, -5, 5, -2, 5, -2, -1, -2, 0],  # sus4
])  # fmt: skip
_TEMPLATE_QUALITY = np.array([_M, _m, _o, _aug, _sus2, _sus4])

# Renames a chord whose bass is not its root: [quality, root above the bass in semitones] -> the quality of the chord
# whose root is the bass. -1: the chord keeps its name.
_ON_BASS = np.full((11, 12), -1)
for _quality, _interval, _renamed in (
    (_o, 4, _7), (_o, 3, _o7), (_M, 3, _m7), (_m, 4, _M7), (_m, 3, _ho7), (_sus2, 5, _sus4), (_sus4, 7, _sus2),
):  # fmt: skip
    _ON_BASS[_quality, _interval] = _renamed


# The tones of each quality: 1 where there is one, [quality, semitones above the root].
_IS_TONE = np.array([[int(step in TONES[quality]) for step in range(12)] for quality in QUALITIES])


def index(symbol: str) -> int:
    """The index of a chord, given a symbol such as "C_M7", "Bb_m" or "N".

    Raises:
        BadInput: the symbol is not in the vocabulary.
    """
    root, _, quality = symbol.partition("_")
    found = _INDEX.get(f"{_FLATS.get(root, root)}_{quality}" if quality else symbol)
    if found is None:
        raise BadInput(f"chord {symbol!r}: not N or ROOT_QUALITY with a quality of {', '.join(QUALITIES)}")
    return found


def recognise(score: Score) -> NDArray[np.int16]:
    """Recognise the chord of every quarter-note beat from tick 0 to the end of the last note: int16 `[beats]`.

    Weighted templates are matched with the duration-weighted chroma of each beat and of each pair of beats. A pair gets
    one chord, unless both of its beats score at least as well on their own. Drums are left out. A transposed piece has
    the transposed chords.

    This is `Dechorder.dechord` of chorder 0.1.4, with two differences:

    - chorder overlooks sounding notes that began more than ten onsets before the beat.
    - If two roots score the same, chorder takes the lower pitch class, so its answer depends on the key. Here the chord
      is taken whose tones sound longest in all; of equal ones, the one whose root is the fewest semitones above the
      bass.

    `recognise_changes` gives the same in memory that does not grow with the length of the piece.
    """
    beats, chords = recognise_changes(score)
    _, ends, _ = _pitched(score)
    length = int(ends.max()) // score.ticks_per_beat + 1 if len(ends) else 0
    return np.repeat(chords, np.diff(beats, append=length))


def recognise_changes(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    """The chords of `recognise`, one for each change: the beats `[changes]` at which they start, and the chords.

    The time and memory that this takes grow with the number of notes alone.
    """
    onsets, ends, pitches = _pitched(score)
    beats, chords = _recognise(onsets, ends, pitches, np.argsort(ends, kind="stable"), score.ticks_per_beat)
    return beats, chords


def recognised_marks(score: Score) -> list[ChordMark]:
    """The chords of `recognise` as marks, one for each change of chord."""
    beats, chords = recognise_changes(score)
    ticks = (beats * score.ticks_per_beat).tolist()
    return [ChordMark(tick, SYMBOLS[chord]) for tick, chord in zip(ticks, chords.tolist(), strict=True)]


def _pitched(score: Score) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Onsets (ascending), ends and pitches of the notes outside drum tracks, in ticks."""
    notes = score.pitched_notes
    onsets = notes["onset"].astype(np.int64)
    return onsets, onsets + notes["duration"], notes["pitch"].astype(np.int64)


@njit
def _recognise(
    onsets: NDArray[np.int64],
    ends: NDArray[np.int64],
    pitches: NDArray[np.int64],
    by_end: NDArray[np.int64],
    ticks_per_beat: int,
) -> tuple[NDArray[np.int64], NDArray[np.int16]]:
    n_notes = len(onsets)
    # A pair of beats is looked at where a note begins or ends, and the one after it: until then all stays the same.
    beats = ends[by_end[n_notes - 1]] // ticks_per_beat + 1 if n_notes else 0
    changes = np.empty(min(8 * n_notes, beats) + 2, np.int64)
    chords = np.empty(min(8 * n_notes, beats) + 2, np.int16)
    size = 0
    held = np.zeros(128, np.int64)  # how many notes of each pitch sound where the pair starts
    sounding = np.empty((3, 128), np.int64)  # ticks that each pitch sounds in each beat of a pair, and in the pair
    memory = np.empty((_MEMORY, 128), np.int64)  # what was matched of late, with the results
    results = np.full((_MEMORY, 3), -1)  # window, chord, score
    i = j = beat = 0
    latest = -1
    while beat < beats:
        start = beat * ticks_per_beat
        middle, end = start + ticks_per_beat, start + 2 * ticks_per_beat
        for pitch in range(128):
            sounding[0, pitch] = sounding[1, pitch] = held[pitch] * ticks_per_beat
        steady = True
        while i < n_notes and onsets[i] < end:
            steady = False
            sounding[0, pitches[i]] += max(0, middle - onsets[i])
            sounding[1, pitches[i]] += end - max(onsets[i], middle)
            held[pitches[i]] += 1
            i += 1
        while j < n_notes and ends[by_end[j]] < end:
            steady = False
            note = by_end[j]
            sounding[0, pitches[note]] -= max(0, middle - ends[note])
            sounding[1, pitches[note]] -= end - max(ends[note], middle)
            held[pitches[note]] -= 1
            j += 1
        for pitch in range(128):
            sounding[2, pitch] = sounding[0, pitch] + sounding[1, pitch]
        both, both_score = _remembered(sounding[2], 2 * ticks_per_beat, memory, results)
        first, first_score = _remembered(sounding[0], ticks_per_beat, memory, results)
        second = both
        if beat + 1 == beats:
            if 2 * first_score <= both_score:
                first = both
            second = first
        else:
            second, second_score = first, first_score
            if not steady:
                second, second_score = _remembered(sounding[1], ticks_per_beat, memory, results)
            if 2 * first_score < both_score or 2 * second_score < both_score:
                first = second = both
        for part in range(2):
            chord = first if part == 0 else second
            if chord != latest:
                changes[size], chords[size] = beat + part, chord
                size += 1
                latest = chord
        beat += 2
        if steady:
            # Nothing changes before the next onset or end. The last pair may lack its second beat: it is looked at.
            until = ends[by_end[n_notes - 1]] if j == n_notes else ends[by_end[j]]
            if i < n_notes:
                until = min(until, onsets[i])
            pair = min(until // ticks_per_beat, beats - 1) // 2 * 2
            if first == second:
                beat = max(beat, pair)
    return changes[:size], chords[:size]


_MEMORY = 128  # a power of two


@njit
def _remembered(
    sounding: NDArray[np.int64], window: int, memory: NDArray[np.int64], results: NDArray[np.int64]
) -> tuple[int, int]:
    """`_match`, or its result from `memory` if that has the same input."""
    place = window
    for pitch in range(128):
        place += sounding[pitch] * (2654435761 * pitch + 40503) ^ (sounding[pitch] >> 3)
    place = (place ^ place >> 15 ^ place >> 31) & (_MEMORY - 1)
    if results[place, 0] == window:
        same = True
        for pitch in range(128):
            same &= memory[place, pitch] == sounding[pitch]
        if same:
            return results[place, 1], results[place, 2]
    chord, score = _match(sounding, window)
    memory[place] = sounding
    results[place, 0], results[place, 1], results[place, 2] = window, chord, score
    return chord, score


@njit
def _match(sounding: NDArray[np.int64], window: int) -> tuple[int, int]:
    """The best chord for a window of `window` ticks, and its score (-1 if no chord is good enough).

    `sounding` `[128]` is the number of ticks in which each pitch sounds.
    """
    chroma = np.zeros(12, np.int64)
    bass = -1  # the lowest pitch that sounds for an eighth of the window
    for pitch in range(128):
        if sounding[pitch]:
            chroma[pitch % 12] += sounding[pitch]
            if bass < 0 and 8 * sounding[pitch] >= window:
                bass = pitch % 12
    best = 0
    scores = np.zeros(12, np.int64)  # of the best template of each root, 0 if none is above 0
    rows = np.zeros(12, np.int64)
    for root in range(12):
        if chroma[root] == 0:
            continue
        for row in range(len(_TEMPLATES)):
            score = 0
            for interval in range(12):
                score += chroma[(root + interval) % 12] * _TEMPLATES[row, interval]
            if score > scores[root]:
                scores[root], rows[root] = score, row
        best = max(best, scores[root])
    if best < 10 * window:
        return NO_CHORD, -1
    if bass < 0:
        return NO_CHORD, best
    chord, most = NO_CHORD, -1
    for above in range(12):
        root = (bass + above) % 12
        if scores[root] == best:
            root, quality = _named(chroma, bass, root, _TEMPLATE_QUALITY[rows[root]])
            covered = 0
            for interval in range(12):
                covered += chroma[(root + interval) % 12] * _IS_TONE[quality, interval]
            if covered > most:
                chord, most = 2 + 11 * root + quality, covered
    return chord, best


@njit
def _named(chroma: NDArray[np.int64], bass: int, root: int, quality: int) -> tuple[int, int]:
    """Root and quality of the chord that a triad of the templates is part of, given its bass and its sevenths."""
    on_bass = _ON_BASS[quality, (root - bass) % 12]
    if on_bass >= 0:
        root, quality = bass, on_bass
    minor_seventh, major_seventh = chroma[(root + 10) % 12], chroma[(root + 11) % 12]
    if quality == _M and major_seventh > minor_seventh:
        quality = _M7
    elif quality == _M and minor_seventh > major_seventh:
        quality = _7
    elif quality == _m and minor_seventh > 0:
        quality = _m7
    return root, quality
