"""What the data of the benchmark say at several lengths of excerpt, and what files say that are taken as they are.

    python bench/versus/excerpt_lengths.py [FOLDER...] > docs/results/logs/excerpt-lengths.txt

The excerpts are the first words of the pieces of the test split. MuSpike does not say how long its excerpts are; this
shows how much hangs on it. A FOLDER of MIDI files is measured whole, on the beat that the files state.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muspike import corpora, metrics, midi, tokens
from muspike.errors import BadInput
from muspike.metrics.files import midi_files
from muspike.midi import Score

METRICS = ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate")
CORPORA = ("jsb", "pop909", "emopia")
LENGTHS = (64, 128, 256, 512, None)
LEAST = 10
"""The fewest pieces that a mean is taken of."""


def told(what: str, scores: Sequence[Score]) -> str:
    """A line: what was measured, how many pieces, and the mean of each metric."""
    found = metrics.evaluate_set(scores, METRICS)
    return f"{what}, {len(scores)} pieces: " + ", ".join(f"{name} {np.nanmean(found[name]):.4g}" for name in METRICS)


def main(folders: Sequence[str]) -> None:
    """Print the lines."""
    for name in CORPORA:
        try:
            pieces = corpora.load(name).evaluated("test")
        except BadInput as error:
            print(error)
            continue
        for length in LENGTHS:
            long_enough = [words[:length] for words in pieces if length is None or len(words) >= length]
            if len(long_enough) >= LEAST:
                size = "whole" if length is None else f"{length} words"
                print(told(f"{name}, {size}", [tokens.decode(words) for words in long_enough]), flush=True)
    for folder in folders:
        files = midi_files([Path(folder)])
        print(told(f"the files of {Path(folder).name} as they are, whole", [midi.read(file) for file in files]))


if __name__ == "__main__":
    main(sys.argv[1:])
