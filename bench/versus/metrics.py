"""Metrics of pieces: muspike against MusPy, the eleven that both have, on the same files in one process.

    python bench/versus/metrics.py FILE_OR_FOLDER...

Both have read the files and hold their notes; MusPy's are on four positions per beat already, which is not timed, while
muspike brings them to its grid within its time. Values must be equal. The two take turns several times, all files at
each turn. A file's time is that of its fastest repetition.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from muspike import metrics, midi
from muspike.errors import BadInput

try:
    import muspy
except ImportError:
    sys.exit("bench/versus/metrics.py needs muspy: pip install 'muspike[test]'")

MUSPY: dict[str, Callable[[muspy.Music], float]] = {
    "pitch_count": muspy.n_pitches_used,
    "pitch_classes_used": muspy.n_pitch_classes_used,
    "pitch_range": muspy.pitch_range,
    "pitch_entropy": muspy.pitch_entropy,
    "pitch_class_entropy": muspy.pitch_class_entropy,
    "pitch_in_scale_rate": muspy.scale_consistency,
    "polyphony": muspy.polyphony,
    "polyphony_rate": muspy.polyphony_rate,
    "empty_beat_rate": muspy.empty_beat_rate,
    "empty_measure_rate": lambda music: muspy.empty_measure_rate(music, 16),
    "groove_consistency": lambda music: muspy.groove_consistency(music, 16),
}


def theirs(music: muspy.Music) -> dict[str, float]:
    return {name: float(function(music)) for name, function in MUSPY.items()}


def ours(score: midi.Score) -> dict[str, float]:
    return metrics.evaluate(score, MUSPY)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="MIDI files, or folders of them")
    parser.add_argument("--first", type=int, default=150, help="how many files, by name")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    files = [f for path in arguments.paths for f in (sorted(path.rglob("*.mid")) if path.is_dir() else [path])]
    pairs = []
    for file in files[: arguments.first]:
        try:
            score, music = midi.read(file), muspy.read_midi(file)
        except (BadInput, ValueError, OSError, IndexError) as error:
            print(f"left out: {file.name}: {error}", file=sys.stderr)
            continue
        music.tracks = [track for track in music.tracks if not track.is_drum]
        for track in music.tracks:  # MusPy lets pedals and lyrics after the last note lengthen the piece
            track.annotations, track.lyrics = [], []
        music.adjust_resolution(4)
        if not np.allclose(list(ours(score).values()), list(theirs(music).values()), atol=1e-9, equal_nan=True):
            print(f"left out: {file.name}: values differ", file=sys.stderr)
            continue
        pairs.append((score, music))
    if not pairs:
        sys.exit("no usable MIDI file in the given paths")
    best = np.full((2, len(pairs)), np.inf)
    for _ in range(arguments.repeats):
        for who, function in enumerate((ours, theirs)):
            for number, pair in enumerate(pairs):
                start = time.perf_counter()
                function(pair[who])
                best[who, number] = min(best[who, number], time.perf_counter() - start)
    mine, other = best.mean(axis=1) * 1e3
    print(
        f"{len(pairs)} of {min(len(files), arguments.first)} files, {len(MUSPY)} metrics with equal values; muspy "
        f"{importlib.metadata.version('muspy')}; fastest of {arguments.repeats} repetitions per file\n"
        f"muspike {mine:.4f} ms per file, MusPy {other:.3f} ms per file: {other / mine:.1f} times"
    )


if __name__ == "__main__":
    main()
