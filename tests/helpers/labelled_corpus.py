"""A corpus in which a label decides what comes: of low and high pieces, only the label tells the first pitch."""

from __future__ import annotations

from muspike import midi
from muspike.corpora import Corpus, Piece
from muspike.tokens import Words, encode

PITCH = {"low": 48, "high": 72}


def melody(first: int, notes: int = 6) -> Words:
    """A scale upwards from the pitch `first`, a quarter each."""
    rows = [(480 * n, 480, first + n, 80, 0) for n in range(notes)]
    return encode(midi.Score(480, midi.table(rows, midi.NOTE)))


def labelled_corpus(name: str = "jsb", pieces: int = 12) -> Corpus:
    """Pieces with the labels `register` and `parity`: 6 for training, the rest for validation and test."""
    registers = list(PITCH)
    made = [
        Piece(
            f"piece{n}",
            melody(PITCH[registers[n % 2]]),
            labels={"register": registers[n % 2], "parity": ("odd", "even", "")[n % 3]},
        )
        for n in range(pieces)
    ]
    names = [piece.name for piece in made]
    return Corpus(name, made, {"train": names[:6], "validation": names[6:9], "test": names[9:]})
