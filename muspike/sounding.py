"""What sounds, as input beside a word: axons on which the host spikes for the pitches of the notes that are held.

Words say when a note begins and how long it lasts. To know what sounds at a later word, a network would have to
remember and to add up. The host does that for it, from the words alone and from no later word. A network hears some of
these groups of axons (`GROUPS`):

- `before`: the pitches that sounded up to this onset.
- `now`: the pitches that sound on after this onset, those of the NOTEs so far included.
- `next_end`: where in the bar the first of these ends.
- `parallel`: the pitches that would move in parallel fifths or octaves with a NOTE of this onset. The k-th highest
  pitch before and the k-th highest now are one voice. If a voice moves by some semitones, and a lower voice was a fifth
  or an octave below it, whole octaves aside, then it is the lower voice's pitch moved by as many semitones.
- `parallel_motion`: the pitches with which the next voice would move in parallel fifths or octaves with one that has
  moved, whole octaves aside, up to `WIDEST_LEAP`. Only voices move whose pitch ended at this onset: the k-th highest of
  these goes to the k-th NOTE of the onset.
- `bars`: how often the number of bars has doubled: bar 1, bars 2 and 3, bars 4 to 7, and so on. The number itself
  would let a network learn the pieces of the training by heart.

The onset is that of the latest BEAT, or the start of the bar after a BAR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muspike import tokens
from muspike.errors import BadInput
from muspike.jit import njit
from muspike.tokens import Words

PITCHES = 128
MOST = 16
"""The most pitches of a group that are heard: the highest."""
NONE = -1
WIDEST_LEAP = 24
"""The widest leap of a voice that `parallel_motion` has, in semitones."""

# Axons and columns of each group. The last axon of `next_end` also stands for later ends, that of `bars` too.
GROUPS = {
    "before": (PITCHES, MOST),
    "now": (PITCHES, MOST),
    "next_end": (tokens.MAX_BAR, 1),
    "parallel": (PITCHES, MOST),
    "parallel_motion": (PITCHES, MOST),
    "bars": (8, 1),
}
# About as many axons of a group spike with a word of four-part music.
_USUAL = {"before": 4, "now": 3, "next_end": 1, "parallel": 0, "parallel_motion": 0, "bars": 1}

State = npt.NDArray[np.int32]
"""What has sounded, int32 `[batch, 4 + 256]`.

The columns are the onset, the start and the length of the bar, in sixteenths from the first bar on; the number of bars;
for each pitch the
time at which it ends; and for each pitch what it did at the onset, a sum of `_SOUNDED`, `_ENDED` and `_BEGAN`.
"""

_BAR, _BEAT, _NOTE = int(tokens.BarBeat.BAR), int(tokens.BarBeat.BEAT), int(tokens.BarBeat.NOTE)
_ONSET, _BAR_START, _BAR_LENGTH, _BARS, _ENDS = range(5)
_SOUNDED, _ENDED, _BEGAN = 1, 2, 4
_FIRST_COLUMN = {
    group: sum(columns for _, columns in list(GROUPS.values())[:number]) for number, group in enumerate(GROUPS)
}
_BEFORE, _NOW, _NEXT_END, _PARALLEL, _MOTION, _DOUBLINGS = _FIRST_COLUMN.values()
_BAR_AXONS = GROUPS["bars"][0]
_COLUMNS = sum(columns for _, columns in GROUPS.values())


@dataclass(frozen=True)
class Hearing:
    """The groups of axons that a network hears, in the order of its axons.

    Raises:
        BadInput: there is no such group, or one is named twice.
    """

    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for group in self.groups:
            if group not in GROUPS:
                raise BadInput(f"hears: {group!r} is no group of axons; known are {', '.join(GROUPS)}")
        if len(set(self.groups)) < len(self.groups):
            raise BadInput(f"hears: a group is named twice in {', '.join(self.groups)}")

    def __bool__(self) -> bool:
        return bool(self.groups)

    @property
    def axons(self) -> int:
        """Axons of all groups."""
        return sum(GROUPS[group][0] for group in self.groups)

    def axons_of(self, group: str) -> range:
        """The axons of one of the groups, counted from the first axon of all."""
        before = sum(GROUPS[other][0] for other in self.groups[: self.groups.index(group)])
        return range(before, before + GROUPS[group][0])

    @property
    def usual_spikes(self) -> int:
        """About as many axons spike with a word of four-part music."""
        return sum(_USUAL[group] for group in self.groups)

    def hear(self, words: Words, state: State, first: int = 0) -> npt.NDArray[np.int64]:
        """The axons that spike with each of `words` `[tokens, batch, 7]`, int64 `[tokens, batch, columns]`.

        Args:
            words: they may have more columns, which are not read.
            state: the state before the words; it is brought to the state after them.
            first: the number of the first axon.

        Returns:
            The pitches of a group are in descending order. Columns without a spike hold `NONE`.
        """
        heard = np.full((*words.shape[:2], _COLUMNS), NONE, np.int64)
        _hear(np.ascontiguousarray(words[..., : len(tokens.FEATURES)], np.int64), state, heard)
        parts = [heard[..., :0]]
        for group in self.groups:
            size, columns = GROUPS[group]
            start = _FIRST_COLUMN[group]
            part = heard[..., start : start + columns]
            parts.append(np.where(part < 0, NONE, part + first))
            first += size
        return np.concatenate(parts, axis=2)


def heard_before(pieces: Sequence[Words], starts: Sequence[int]) -> State:
    """What has sounded in each piece before its word at `starts`, `[pieces, 4 + 256]`.

    Args:
        pieces: compound words, each `[tokens, 7]`.
        starts: for each piece the number of a word.
    """
    state = silence(len(pieces))
    for b, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        DEAF.hear(piece[:start, None], state[b : b + 1])
    return state


DEAF = Hearing()
"""Hears nothing of what sounds, only the words."""


def silence(batch: int) -> State:
    """The state before the first word of `batch` pieces."""
    state = np.zeros((batch, _ENDS + 2 * PITCHES), np.int32)
    state[:, _ENDS : _ENDS + PITCHES] = -1
    return state


@njit
def _hear(words: npt.NDArray[np.int64], state: State, heard: npt.NDArray[np.int64]) -> None:
    for n in range(len(words)):
        for b in range(words.shape[1]):
            kind, at, row = words[n, b, tokens.BAR_BEAT], state[b], heard[n, b]
            ends, onset = at[_ENDS : _ENDS + PITCHES], at[_ENDS + PITCHES :]
            if kind == _BAR:
                at[_BAR_START] += at[_BAR_LENGTH]
                at[_BAR_LENGTH] = words[n, b, tokens.POSITION]
                at[_BARS] += 1
                at[_ONSET] = at[_BAR_START]
            elif kind == _BEAT:
                at[_ONSET] = at[_BAR_START] + words[n, b, tokens.POSITION]
            elif kind == _NOTE:
                pitch = max(0, words[n, b, tokens.PITCH] - 1)
                end = at[_ONSET] + min(words[n, b, tokens.DURATION], tokens.MAX_DURATION)
                ends[pitch] = max(ends[pitch], end)
                onset[pitch] |= _BEGAN
            if kind in (_BAR, _BEAT):
                for pitch in range(PITCHES):
                    onset[pitch] = (ends[pitch] >= at[_ONSET]) * _SOUNDED + (ends[pitch] == at[_ONSET]) * _ENDED
            n_before = n_now = 0
            first_end = 0
            for pitch in range(PITCHES - 1, -1, -1):
                if onset[pitch] & _SOUNDED and n_before < MOST:
                    row[_BEFORE + n_before] = pitch
                    n_before += 1
                if ends[pitch] > at[_ONSET]:
                    first_end = ends[pitch] if not first_end else min(first_end, ends[pitch])
                    if n_now < MOST:
                        row[_NOW + n_now] = pitch
                        n_now += 1
            if at[_BARS]:
                doublings = 0
                while at[_BARS] >> (doublings + 1) and doublings < _BAR_AXONS - 1:
                    doublings += 1
                row[_DOUBLINGS] = doublings
            if first_end:
                row[_NEXT_END] = min(first_end - at[_BAR_START], tokens.MAX_BAR) - 1
            if kind == _NOTE:
                _add_parallels(row, n_before, n_now)
                _add_motion(row, onset)


@njit
def _add_parallels(row: npt.NDArray[np.int64], n_before: int, n_now: int) -> None:
    size = 0
    for voice in range(min(n_before, n_now)):
        was = row[_BEFORE + voice]
        moves = row[_NOW + voice] - was
        for lower in range(voice + 1, n_before):
            below = row[_BEFORE + lower]
            if moves != 0 and (was - below) % 12 in (0, 7):
                size = _add(row[_PARALLEL : _PARALLEL + MOST], size, below + moves)


@njit
def _add_motion(row: npt.NDArray[np.int64], onset: npt.NDArray[np.int32]) -> None:
    begun, lowest = 0, PITCHES
    for pitch in range(PITCHES - 1, -1, -1):
        if onset[pitch] & _BEGAN:
            begun, lowest = begun + 1, pitch
    below, voices = PITCHES, -1  # of the voice that the next NOTE belongs to
    while voices < begun:
        below -= 1
        if below < 0:
            return
        voices += (onset[below] & _ENDED) > 0
    size, was, now = 0, PITCHES, PITCHES
    for _ in range(begun):
        was -= 1
        while not onset[was] & _ENDED:
            was -= 1
        now -= 1
        while not onset[now] & _BEGAN:
            now -= 1
        if now == was or (was - below) % 12 not in (0, 7):
            continue
        upwards = 1 if now > was else -1
        leap = (abs(now - was) - 1) % 12 + 1  # 1 to 12
        while leap <= WIDEST_LEAP:
            if below + upwards * leap <= lowest:  # the NOTEs of an onset descend
                size = _add(row[_MOTION : _MOTION + MOST], size, below + upwards * leap)
            leap += 12


@njit
def _add(pitches: npt.NDArray[np.int64], size: int, pitch: int) -> int:
    """Add a pitch to the `size` pitches in descending order, unless it is there. Return how many there are then."""
    if not 0 <= pitch < PITCHES:
        return size
    place = 0
    while place < size and pitches[place] > pitch:
        place += 1
    if (place < size and pitches[place] == pitch) or size == MOST:
        return size
    for later in range(size, place, -1):
        pitches[later] = pitches[later - 1]
    pitches[place] = pitch
    return size + 1
