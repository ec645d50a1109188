"""Compound words: a piece as tokens of seven features, and back, and what may follow what.

After the Compound Word of Hsiao et al. (AAAI 2021), regrouped into the seven features of MuSpike, with bars of any
metre, ties for long notes, and the current context filled in. The table of features stands in docs/architecture.md.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from muspike import chords
from muspike.errors import BadInput
from muspike.midi import Score

Words = NDArray[np.int16]

FEATURES = ("tempo", "chord", "bar_beat", "position", "pitch", "duration", "velocity")
SIZES = (66, 134, 5, 33, 129, 34, 65)
OFFSETS = (0, 66, 200, 205, 238, 367, 401)
N_AXONS = 466
TEMPO_, CHORD, BAR_BEAT, POSITION, PITCH, DURATION, VELOCITY = range(7)


class BarBeat(IntEnum):
    """What a token is: the values of the feature `bar_beat`."""

    PAD = 0
    BAR = 1
    BEAT = 2
    NOTE = 3
    END = 4


_BAR, _BEAT, _NOTE, _END = (int(kind) for kind in list(BarBeat)[1:])  # numba knows no IntEnum among plain integers

PREDICTED = np.zeros((5, 7), np.bool_)
PREDICTED[:, BAR_BEAT] = True
PREDICTED[BarBeat.BAR, POSITION] = True
PREDICTED[BarBeat.BEAT, [POSITION, TEMPO_, CHORD]] = True
PREDICTED[BarBeat.NOTE, [PITCH, DURATION, VELOCITY]] = True

MAX_BAR = 32  # sixteenths
MAX_DURATION = 32  # sixteenths of one NOTE
TIED = 33  # the duration of a NOTE of 32 sixteenths that goes on in another

DEFAULT_BPM = 120.0  # what a Standard MIDI File without a tempo means
TICKS_PER_BEAT = 480  # of decoded scores
_SIXTEENTH = TICKS_PER_BEAT // 4


def tempo_index(bpm: float) -> int:
    """The nearest tempo bin, 1 (32 bpm) to 65 (224 bpm)."""
    return int(np.clip(round((bpm - 32) / 3) + 1, 1, 65))


def metre(sixteenths: int) -> tuple[int, int]:
    """The time signature of a bar of that many sixteenths: 16 is 4/4, 12 is 3/4, 6 is 3/8, 24 is 3/2, 5 is 5/16."""
    if sixteenths >= 24 and sixteenths % 8 == 0:
        return sixteenths // 8, 2
    unit = 4 if sixteenths % 4 == 0 else 2 if sixteenths % 2 == 0 else 1
    return sixteenths // unit, 16 // unit


def encode(score: Score) -> Words:
    """The compound words `[tokens, 7]` of a score; drums and tracks are not part of them.

    Onsets and ends go to the nearest sixteenth (an onset in the middle to the later one), a duration is at least one
    sixteenth. Bars follow the time signatures, 4/4 before the first; a time signature inside a bar ends it there. A bar
    longer than 32 sixteenths becomes bars of 32 and one of the rest. Bars before the first onset and after the last are
    dropped. Chords are the annotated ones, else recognised; the tempo is 120 bpm where none is written.

    Raises:
        BadInput: the score has no notes other than drums.
    """
    notes = score.notes
    if any(track.is_drum for track in score.tracks):
        notes = notes[~np.array([track.is_drum for track in score.tracks])[notes["track"]]]
    if not len(notes):
        raise BadInput(
            f"{score.name or 'score'}: no notes to encode; at least one that is not on a drum track is wanted"
        )
    beat = score.ticks_per_beat
    ends = _sixteenths(notes["onset"] + notes["duration"], beat)
    onsets = _sixteenths(notes["onset"], beat)
    durations = np.maximum(ends - onsets, 1)
    pitches, velocities = (
        notes["pitch"].astype(np.int64),
        (np.clip(notes["velocity"], 1, 127).astype(np.int64) + 1) // 2,
    )

    # A NOTE holds up to 32 sixteenths; `part` counts the NOTEs of a long note after its first.
    parts = (durations - 1) // MAX_DURATION
    if parts.any():
        source = np.repeat(np.arange(len(onsets)), parts + 1)
        part = np.arange(len(source)) - np.repeat(np.cumsum(parts + 1) - (parts + 1), parts + 1)
        onsets, pitches, velocities = onsets[source] + MAX_DURATION * part, pitches[source], velocities[source]
        durations = np.where(part < parts[source], TIED, durations[source] - MAX_DURATION * part)
    else:
        part = parts
    # Among NOTEs of one onset and pitch the ones that go on come first, the longest-held foremost: see `decode`.
    last = part.max()
    order = np.argsort((onsets * 128 + 127 - pitches) * (last + 1) + (last - part), kind="stable")

    if score.chords is None:
        of_beat = chords.recognise(score)
        chord_starts, chord_values = 4 * np.arange(len(of_beat)), of_beat.astype(np.int64)
    else:
        chord_starts = _sixteenths(np.array([mark.tick for mark in score.chords], np.int64), beat)
        chord_values = np.array([chords.index(mark.symbol) for mark in score.chords], np.int64)
    tempos, metres = score.tempos, score.time_signatures
    bars = _bars(
        _sixteenths(metres["tick"], beat),
        np.maximum(16 * metres["numerator"].astype(np.int64) // metres["denominator"], 1),
        int(onsets[order[0]]),
        int(onsets[order[-1]]),
    )
    return _write(  # type: ignore[no-any-return]
        bars,
        np.column_stack((onsets, pitches + 1, durations, velocities))[order],
        _sixteenths(tempos["tick"], beat),
        np.clip(np.rint((tempos["bpm"] - 32) / 3) + 1, 1, 65).astype(np.int64),
        tempo_index(DEFAULT_BPM),
        chord_starts,
        chord_values,
    )


def _sixteenths(ticks: NDArray[np.integer], ticks_per_beat: int) -> NDArray[np.int64]:
    return (8 * ticks.astype(np.int64) + ticks_per_beat) // (2 * ticks_per_beat)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _bars(
    metre_starts: NDArray[np.int64], metre_lengths: NDArray[np.int64], first_onset: int, last_onset: int
) -> NDArray[np.int64]:
    """Start and length in sixteenths, `[bars, 2]`, of the bars from that of the first onset to that of the last."""
    bars = []
    start, length, i = 0, 16, 0
    while start <= last_onset:
        while i < len(metre_starts) and metre_starts[i] <= start:
            length, i = metre_lengths[i], i + 1
        end = start + length
        if i < len(metre_starts):
            end = min(end, metre_starts[i])
        for part in range(start, min(end, last_onset + 1), MAX_BAR):
            if first_onset < min(part + MAX_BAR, end):
                bars.append((part, min(MAX_BAR, end - part)))
        start = end
    return np.array(bars)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _write(
    bars: NDArray[np.int64],
    notes: NDArray[np.int64],  # [notes, 4]: onset in sixteenths, then the values of pitch, duration, velocity
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


def targets(words: Words) -> Words:
    """What a network should predict at each token: `words`, `tempo` and `chord` 0 on a BEAT that does not change them.

    Only the features `PREDICTED` for the token's `bar_beat` are predicted; the others are context. `[tokens, 7]`.
    """
    predicted = words.copy()
    beats = np.flatnonzero(words[:, BAR_BEAT] == BarBeat.BEAT)
    for feature in (TEMPO_, CHORD):
        values = words[beats, feature]
        predicted[beats[1:][values[1:] == values[:-1]], feature] = 0
    return predicted


def transpose(words: Words, semitones: int) -> Words:
    """The same piece `semitones` higher, chords included.

    Raises:
        BadInput: a pitch would leave 0..127.
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
