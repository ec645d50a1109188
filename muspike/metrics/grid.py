"""The notes that every metric reads: the notes of pitched tracks, on a grid of sixteenths."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from muspike.arguments import instance
from muspike.midi import Score

POSITIONS_PER_BEAT = 4
POSITIONS_PER_BAR = 16
N_PITCHES = 128


@dataclass(frozen=True, eq=False)
class Grid:
    """The notes of a score on a grid of sixteenths, counted from tick 0. Drum tracks are left out.

    Onsets and ends are rounded to the nearest sixteenth, halves to even, as in `muspy.Music.adjust_resolution(4)`. A
    note shorter than a sixteenth may get length 0; such a note never sounds.

    Attributes:
        score: the score.
        onset: int64 `[notes]`, in sixteenths.
        end: int64 `[notes]`, in sixteenths.
        pitch: int64 `[notes]`, MIDI pitch.
    """

    score: Score
    onset: NDArray[np.int64]
    end: NDArray[np.int64]
    pitch: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.pitch)

    @cached_property
    def length(self) -> int:
        """End of the last note in sixteenths; 0 if there are no notes."""
        return int(self.end.max(initial=0))

    @cached_property
    def roll(self) -> NDArray[np.bool_]:
        """Piano roll, bool `[length, 128]`: the pitches that sound in each sixteenth."""
        changes = np.zeros((self.length + 1) * N_PITCHES, dtype=np.int16)
        np.add.at(changes, self.onset * N_PITCHES + self.pitch, 1)
        np.add.at(changes, self.end * N_PITCHES + self.pitch, -1)
        sounding: NDArray[np.bool_] = changes.reshape(-1, N_PITCHES).cumsum(axis=0, dtype=np.int16)[:-1] > 0
        return sounding

    @cached_property
    def polyphony(self) -> NDArray[np.int64]:
        """Number of pitches that sound in each sixteenth, `[length]`."""
        sounding: NDArray[np.int64] = np.count_nonzero(self.roll, axis=1)
        return sounding

    @cached_property
    def skyline(self) -> NDArray[np.int64]:
        """The highest pitch that sounds in each sixteenth, -1 if none does, `[length]`."""
        highest = N_PITCHES - 1 - self.roll[:, ::-1].argmax(axis=1)
        return np.where(self.polyphony > 0, highest, -1)


def on_grid(music: Score | Grid) -> Grid:
    """The notes of `music` on the grid. A `Grid` is returned unchanged, so that many metrics can share one.

    Raises:
        BadInput: `music` is neither a score nor a grid.
    """
    if isinstance(music, Grid):
        return music
    instance("music", music, Score, "a Score, such as midi.read or decode gives")
    is_drum = np.array([track.is_drum for track in music.tracks], dtype=bool)
    notes = music.notes[~is_drum[music.notes["track"]]]
    positions_per_tick = POSITIONS_PER_BEAT / music.ticks_per_beat
    onset = notes["onset"].astype(np.int64)
    end = onset + notes["duration"]
    return Grid(
        score=music,
        onset=np.rint(onset * positions_per_tick).astype(np.int64),
        end=np.rint(end * positions_per_tick).astype(np.int64),
        pitch=notes["pitch"].astype(np.int64),
    )
