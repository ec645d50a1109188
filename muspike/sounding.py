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

The onset is that of the latest BEAT, or the start of the bar after a BAR.
"""

from __future__ import annotations

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

# Axons and columns of each group. The last axon of `next_end` also stands for later ends.
GROUPS = {
    "before": (PITCHES, MOST),
    "now": (PITCHES, MOST),
    "next_end": (tokens.MAX_BAR, 1),
    "parallel": (PITCHES, MOST),
}
# About as many axons of a group spike with a word of four-part music.
_USUAL = {"before": 4, "now": 3, "next_end": 1, "parallel": 0}

State = npt.NDArray[np.int32]
"""What has sounded, int32 `[batch, 3 + 256]`.

The columns are the onset, the start and the length of the bar, in sixteenths from the first bar on; for each pitch the
time at which it ends; and for each pitch whether it sounded up to the onset.
"""

_BAR, _BEAT, _NOTE = int(tokens.BarBeat.BAR), int(tokens.BarBeat.BEAT), int(tokens.BarBeat.NOTE)
_ONSET, _BAR_START, _BAR_LENGTH, _ENDS = range(4)
_BEFORE, _NOW, _NEXT_END, _PARALLEL, _COLUMNS = 0, MOST, 2 * MOST, 2 * MOST + 1, 3 * MOST + 1
_FIRST_COLUMN = {"before": _BEFORE, "now": _NOW, "next_end": _NEXT_END, "parallel": _PARALLEL}


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
            ends, before = at[_ENDS : _ENDS + PITCHES], at[_ENDS + PITCHES :]
            if kind == _BAR:
                at[_BAR_START] += at[_BAR_LENGTH]
                at[_BAR_LENGTH] = words[n, b, tokens.POSITION]
                at[_ONSET] = at[_BAR_START]
            elif kind == _BEAT:
                at[_ONSET] = at[_BAR_START] + words[n, b, tokens.POSITION]
            elif kind == _NOTE:
                pitch = max(0, words[n, b, tokens.PITCH] - 1)
                end = at[_ONSET] + min(words[n, b, tokens.DURATION], tokens.MAX_DURATION)
                ends[pitch] = max(ends[pitch], end)
            if kind in (_BAR, _BEAT):
                for pitch in range(PITCHES):
                    before[pitch] = ends[pitch] >= at[_ONSET]
            n_before = n_now = 0
            first_end = 0
            for pitch in range(PITCHES - 1, -1, -1):
                if before[pitch] and n_before < MOST:
                    row[_BEFORE + n_before] = pitch
                    n_before += 1
                if ends[pitch] > at[_ONSET]:
                    first_end = ends[pitch] if not first_end else min(first_end, ends[pitch])
                    if n_now < MOST:
                        row[_NOW + n_now] = pitch
                        n_now += 1
            if first_end:
                row[_NEXT_END] = min(first_end - at[_BAR_START], tokens.MAX_BAR) - 1
            if kind == _NOTE:
                _add_parallels(row, n_before, n_now)


@njit
def _add_parallels(row: npt.NDArray[np.int64], n_before: int, n_now: int) -> None:
    size = 0
    for voice in range(min(n_before, n_now)):
        was = row[_BEFORE + voice]
        moves = row[_NOW + voice] - was
        if moves == 0:
            continue
        for lower in range(voice + 1, n_before):
            below = row[_BEFORE + lower]
            pitch = below + moves
            if (was - below) % 12 not in (0, 7) or not 0 <= pitch < PITCHES:
                continue
            place = 0  # where the pitch stands in descending order
            while place < size and row[_PARALLEL + place] > pitch:
                place += 1
            if (place < size and row[_PARALLEL + place] == pitch) or size == MOST:
                continue
            for later in range(size, place, -1):
                row[_PARALLEL + later] = row[_PARALLEL + later - 1]
            row[_PARALLEL + place] = pitch
            size += 1
