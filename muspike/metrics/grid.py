"""The notes that every metric reads: the notes of pitched tracks, on a grid of sixteenths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from muspike import chords
from muspike.arguments import instance
from muspike.jit import njit
from muspike.midi import NOTE, Score

T = TypeVar("T")

POSITIONS_PER_BEAT = 4
POSITIONS_PER_BAR = 16
N_PITCHES = 128


class Spans(NamedTuple):
    """Stretches of time in which the same pitches sound. They follow each other from sixteenth 0 to the end.

    So what is computed from them costs what the notes cost, however long the piece is.

    Attributes:
        start: int64 `[spans]`, in sixteenths.
        width: int64 `[spans]`, in sixteenths, 1 or more.
        polyphony: int64 `[spans]`, number of pitches that sound.
        highest: int64 `[spans]`, the highest of them; -1 if none sounds.
    """

    start: NDArray[np.int64]
    width: NDArray[np.int64]
    polyphony: NDArray[np.int64]
    highest: NDArray[np.int64]


class Sonorities(NamedTuple):
    """The sets of pitches that sound where at least one note begins, held notes included, in the order of time.

    Attributes:
        time: int64 `[sonorities]`, in sixteenths.
        start: int64 `[sonorities + 1]`: the pitches of sonority i are `pitch[start[i]:start[i + 1]]`.
        pitch: int64, the pitches, ascending within a sonority.
    """

    time: NDArray[np.int64]
    start: NDArray[np.int64]
    pitch: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grid:
    """The notes of a score on a grid of sixteenths, counted from tick 0. Drum tracks are left out.

    Onsets and ends are rounded to the nearest sixteenth, halves to even, as in `muspy.Music.adjust_resolution(4)`. A
    note shorter than a sixteenth may get length 0; such a note never sounds.

    Attributes:
        score: the score.
        onset: int64 `[notes]`, in sixteenths, ascending.
        end: int64 `[notes]`, in sixteenths.
        pitch: int64 `[notes]`, MIDI pitch.
        track: int64 `[notes]`, the number of the note's track.
        length: end of the last note in sixteenths; 0 if there are no notes.
        pitch_counts: how many notes each pitch has, int64 `[128]`.
        pitch_class_counts: how many notes each pitch class has, int64 `[12]`.
    """

    score: Score
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]
    track: NDArray[np.int64]
    length: int
    pitch_counts: NDArray[np.int64]
    pitch_class_counts: NDArray[np.int64]
    _made: dict[Callable[[Grid], Any], Any] = field(default_factory=dict, init=False, repr=False)

    def __len__(self) -> int:
        return len(self.pitch)

    def once(self, make: Callable[[Grid], T]) -> T:
        """`make(grid)`, computed the first time and kept, so that several metrics share it."""
        if make not in self._made:
            self._made[make] = make(self)
        found: T = self._made[make]
        return found

    @cached_property
    def pitch_class_lengths(self) -> NDArray[np.int64]:
        """The sum of the lengths of the notes of each pitch class, in sixteenths, int64 `[12]`."""
        lengths: NDArray[np.int64] = _lengths(self.onset, self.end, self.pitch)
        return lengths

    @cached_property
    def sonorities(self) -> Sonorities:
        """The pitches that sound together wherever a note begins."""
        return Sonorities(*_sonorities(self.onset, self.end, self.pitch))

    @cached_property
    def spans(self) -> Spans:
        """What sounds when."""
        return Spans(*_spans(self.onset, self.end, self.pitch, self.length))

    @cached_property
    def polyphony_times(self) -> NDArray[np.int64]:
        """In how many sixteenths no pitch sounds, one pitch, two pitches, and so on, int64 `[129]`.

        `spans` says this too, and takes longer.
        """
        times: NDArray[np.int64] = _polyphony_times(self.onset, self.end, self.pitch, self.length)
        return times

    @cached_property
    def recognised(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The chords that `muspike.chords` recognises: where each starts, in sixteenths, and its index."""
        beats, values = chords.recognise_changes(self.score)
        return beats * POSITIONS_PER_BEAT, values.astype(np.int64)


@njit
def _lengths(onset: NDArray[np.int64], end: NDArray[np.int64], pitch: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = np.zeros(12, np.int64)
    for i in range(len(onset)):
        lengths[pitch[i] % 12] += end[i] - onset[i]
    return lengths


@njit
def _sonorities(onset, end, pitch):  # type: ignore[no-untyped-def]
    times = np.empty(len(onset), np.int64)
    starts = np.zeros(len(onset) + 1, np.int64)
    pitches = np.empty(4 * len(onset) + N_PITCHES, np.int64)
    ends = np.full(N_PITCHES, -1, np.int64)
    low, high = N_PITCHES, -1
    count = size = note = 0
    while note < len(onset):
        time = onset[note]
        begins = False
        while note < len(onset) and onset[note] == time:
            ends[pitch[note]] = max(ends[pitch[note]], end[note])
            begins |= end[note] > time
            low, high = min(low, pitch[note]), max(high, pitch[note])
            note += 1
        if not begins:
            continue
        if size + N_PITCHES > len(pitches):
            longer = np.empty(2 * len(pitches), np.int64)
            longer[:size] = pitches[:size]
            pitches = longer
        for p in range(low, high + 1):
            if ends[p] > time:
                pitches[size] = p
                size += 1
        times[count] = time
        count += 1
        starts[count] = size
    return times[:count], starts[: count + 1], pitches[:size].copy()


@njit
def _by_end(end: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """The notes by their end, those of one end in their order."""
    if length > 16 * len(end):  # no memory may grow with the length of a piece of few notes
        return np.argsort(end, kind="mergesort")
    place = np.zeros(length + 2, np.int64)
    for i in range(len(end)):
        place[end[i] + 1] += 1
    for time in range(length + 1):
        place[time + 1] += place[time]
    order = np.empty(len(end), np.int64)
    for i in range(len(end)):
        order[place[end[i]]] = i
        place[end[i]] += 1
    return order


@njit
def _spans(onset, end, pitch, length):  # type: ignore[no-untyped-def]
    by_end = _by_end(end, length)
    most = 2 * len(onset) + 1
    start, width = np.empty(most, np.int64), np.empty(most, np.int64)
    polyphony, highest = np.empty(most, np.int64), np.empty(most, np.int64)
    sounding = np.zeros(N_PITCHES, np.int64)
    different, top = 0, -1
    time = size = i = j = 0
    while time < length:
        while i < len(onset) and onset[i] <= time:
            if end[i] > onset[i]:
                sounding[pitch[i]] += 1
                if sounding[pitch[i]] == 1:
                    different += 1
                top = max(top, pitch[i])
            i += 1
        while j < len(onset) and end[by_end[j]] <= time:
            note = by_end[j]
            if end[note] > onset[note]:
                sounding[pitch[note]] -= 1
                if sounding[pitch[note]] == 0:
                    different -= 1
            j += 1
        while top >= 0 and sounding[top] == 0:
            top -= 1
        until = length
        if i < len(onset):
            until = min(until, onset[i])
        if j < len(onset):
            until = min(until, end[by_end[j]])
        start[size], width[size], polyphony[size], highest[size] = time, until - time, different, top
        size += 1
        time = until
    return start[:size], width[:size], polyphony[:size], highest[:size]


@njit
def _polyphony_times(onset, end, pitch, length):  # type: ignore[no-untyped-def]
    by_end = _by_end(end, length)
    times = np.zeros(N_PITCHES + 1, np.int64)
    sounding = np.zeros(N_PITCHES, np.int64)
    different = time = i = 0
    for j in range(len(onset)):
        ending = by_end[j]
        while i < len(onset) and onset[i] <= end[ending]:
            times[different] += onset[i] - time
            time = onset[i]
            if end[i] > onset[i]:
                different += sounding[pitch[i]] == 0
                sounding[pitch[i]] += 1
            i += 1
        times[different] += end[ending] - time
        time = end[ending]
        if end[ending] > onset[ending]:
            sounding[pitch[ending]] -= 1
            different -= sounding[pitch[ending]] == 0
    return times


_FIELDS = list(NOTE.fields or ())
_ONSET, _DURATION, _PITCH, _TRACK = (_FIELDS.index(name) for name in ("onset", "duration", "pitch", "track"))


@njit
def _gridded(notes, positions_per_tick):  # type: ignore[no-untyped-def]
    onset, end = np.empty(len(notes), np.int64), np.empty(len(notes), np.int64)
    pitch, track = np.empty(len(notes), np.int64), np.empty(len(notes), np.int64)
    pitch_counts, pitch_class_counts, length = np.zeros(N_PITCHES, np.int64), np.zeros(12, np.int64), 0
    for i in range(len(notes)):
        tick = np.int64(notes[i, _ONSET])
        onset[i] = np.rint(tick * positions_per_tick)
        end[i] = np.rint((tick + notes[i, _DURATION]) * positions_per_tick)
        pitch[i] = notes[i, _PITCH]
        track[i] = notes[i, _TRACK]
        pitch_counts[pitch[i]] += 1
        pitch_class_counts[pitch[i] % 12] += 1
        length = max(length, end[i])
    return onset, end, pitch, track, length, pitch_counts, pitch_class_counts


def on_grid(music: Score | Grid) -> Grid:
    """The notes of `music` on the grid. A `Grid` is returned unchanged, so that many metrics can share one.

    Raises:
        BadInput: `music` is neither a score nor a grid.
    """
    if isinstance(music, Grid):
        return music
    notes = instance("music", music, Score, "a Score, such as midi.read or decode gives").pitched_notes
    fields = np.ascontiguousarray(notes).view(np.int32).reshape(-1, len(_FIELDS))
    return Grid(music, *_gridded(fields, POSITIONS_PER_BEAT / music.ticks_per_beat))
