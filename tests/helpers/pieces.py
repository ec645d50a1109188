"""Random pieces as compound words."""

from __future__ import annotations

import numpy as np

from muspike import tokens
from muspike.midi import NOTE, TIME_SIGNATURE, Score, table
from muspike.tokens import Words

_SIXTEENTH = 120


def random_piece(random: np.random.Generator, notes: int) -> Words:
    """A piece of `notes` notes on the grid, in metres that change: chords, held and repeated notes, silences."""
    onset, rows, metres = 0, [], [(0, 4, 4)]
    for _ in range(notes):
        onset += int(random.choice([0, 0, 0, 1, 2, 4, 4, 20]))
        pitch, length = int(random.integers(40, 60)), int(random.choice([1, 2, 4, 4, 8, 40]))
        rows.append((onset * _SIXTEENTH, length * _SIXTEENTH, pitch, 80, 0))
        if random.random() < 0.05:
            metres.append((onset * _SIXTEENTH, int(random.integers(1, 8)), int(random.choice([2, 4, 8]))))
    return tokens.encode(Score(4 * _SIXTEENTH, table(rows, NOTE), time_signatures=table(metres, TIME_SIGNATURE)))
