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
# The same for every root: a row per pitch class, and in it 12 roots of the first template, 12 of the second, and so on.
# As floats, which processors multiply several at a time. No sum is rounded: whole numbers below 2^53 are floats.
_WEIGHTS = np.stack([np.roll(_TEMPLATES, root, axis=1) for root in range(12)], axis=1).reshape(-1, 12).T.astype(float)

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
      is taken whose tones sound longest in all; of equal ones, the one whose triad has the root that is the fewest
      semitones above the bass. (An inverted triad may be named as another chord on its bass.)

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
    # Pitches are counted from the octave of the lowest to that of the highest.
    low = pitches.min() // 12 * 12 if n_notes else 0
    width = (pitches.max() - low) // 12 * 12 + 12 if n_notes else 0
    held = np.zeros(width, np.int64)  # how many notes of each pitch sound where the pair starts
    sounding = np.empty((3, width), np.int64)  # ticks that each pitch sounds in each beat of a pair, and in the pair
    chroma, scores, of_root = np.empty(12, np.int64), np.empty(12 * len(_TEMPLATES)), np.empty(12)
    i = j = beat = 0
    latest = -1
    while beat < beats:
        start = beat * ticks_per_beat
        middle, end = start + ticks_per_beat, start + 2 * ticks_per_beat
        for pitch in range(width):
            sounding[0, pitch] = sounding[1, pitch] = held[pitch] * ticks_per_beat
        steady = True
        while i < n_notes and onsets[i] < end:
            steady = False
            pitch = pitches[i] - low
            sounding[0, pitch] += max(0, middle - onsets[i])
            sounding[1, pitch] += end - max(onsets[i], middle)
            held[pitch] += 1
            i += 1
        while j < n_notes and ends[by_end[j]] < end:
            steady = False
            note = by_end[j]
            pitch = pitches[note] - low
            sounding[0, pitch] -= max(0, middle - ends[note])
            sounding[1, pitch] -= end - max(ends[note], middle)
            held[pitch] -= 1
            j += 1
        for pitch in range(width):
            sounding[2, pitch] = sounding[0, pitch] + sounding[1, pitch]
        both, both_score = _match(sounding[2], 2 * ticks_per_beat, chroma, scores, of_root)
        first, first_score = _match(sounding[0], ticks_per_beat, chroma, scores, of_root)
        second = both
        if beat + 1 == beats:
            if 2 * first_score <= both_score:
                first = both
            second = first
        else:
            second, second_score = first, first_score
            if not steady:
                second, second_score = _match(sounding[1], ticks_per_beat, chroma, scores, of_root)
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
            beat = max(beat, pair)
    return changes[:size], chords[:size]


@njit
def _match(
    sounding: NDArray[np.int64],
    window: int,
    chroma: NDArray[np.int64],
    scores: NDArray[np.float64],
    of_root: NDArray[np.float64],
) -> tuple[int, int]:
    """The best chord for a window of `window` ticks, and its score (-1 if no chord is good enough).

    `sounding` is the number of ticks in which each pitch sounds, in whole octaves from a C on. The last three
    arguments are memory to work in.
    """
    chroma[:] = 0
    for octave in range(0, len(sounding), 12):
        for pitch_class in range(12):
            chroma[pitch_class] += sounding[octave + pitch_class]
    scores[:] = 0
    for pitch_class in range(12):
        if chroma[pitch_class]:
            sounds = float(chroma[pitch_class])
            for i in range(12 * len(_TEMPLATES)):
                scores[i] += sounds * _WEIGHTS[pitch_class, i]
    of_root[:] = 0.0
    for template in range(0, 12 * len(_TEMPLATES), 12):
        for root in range(12):
            score = scores[template + root]
            of_root[root] = score if score > of_root[root] else of_root[root]
    highest = 0.0
    for root in range(12):
        if chroma[root]:
            highest = max(highest, of_root[root])
    best = int(highest)
    if best < 10 * window:
        return NO_CHORD, -1
    bass = 0  # the lowest pitch that sounds for an eighth of the window
    while bass < len(sounding) and 8 * sounding[bass] < window:
        bass += 1
    if bass == len(sounding):
        return NO_CHORD, best
    bass %= 12
    chord, most = NO_CHORD, -1
    for above in range(12):
        root = (bass + above) % 12
        if chroma[root] and of_root[root] == highest:
            row = 0  # the first of the root's best templates
            while scores[12 * row + root] != highest:
                row += 1
            root, quality = _named(chroma, bass, root, _TEMPLATE_QUALITY[row])
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
