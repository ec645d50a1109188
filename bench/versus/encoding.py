"""MIDI file to compound words: muspike against MidiTok's CPWord, on the same files in one process.

    python bench/versus/encoding.py FILE_OR_FOLDER...

MidiTok reads the file with symusic, muspike by itself; both end with the integer tokens in memory. MidiTok runs twice:
with the features that muspike encodes (tempo, metre and chords too), and without these three, which is its default. The
encoders take turns to read the whole set several times. A file's time is that of its fastest repetition.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from muspike import midi, tokens
from muspike.errors import BadInput

try:
    import miditok
except ImportError:
    sys.exit("bench/versus/encoding.py needs miditok: pip install 'muspike[benchmark]'")


def ours(path: Path) -> int:
    return len(tokens.encode(midi.read(path)))


def cpword(full: bool) -> Callable[[Path], int]:
    config = miditok.TokenizerConfig(
        beat_res={(0, 32): 4}, num_velocities=64, use_chords=full, use_tempos=full, use_time_signatures=full,
        num_tempos=65, tempo_range=(32, 224), use_programs=False, one_token_stream_for_programs=True,
    )  # fmt: skip
    tokenizer = miditok.CPWord(config)

    def tokens_of(path: Path) -> int:
        encoded = tokenizer(path)
        return sum(len(sequence.ids) for sequence in (encoded if isinstance(encoded, list) else [encoded]))

    return tokens_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path, help="MIDI files, or folders of them")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    files = sorted(
        file for path in arguments.paths for file in (sorted(path.rglob("*.mid")) if path.is_dir() else [path])
    )
    encoders = {
        "muspike": ours,
        "MidiTok CPWord, same features": cpword(True),
        "MidiTok CPWord, notes only": cpword(False),
    }
    words = dict.fromkeys(encoders, 0)
    usable = []
    for file in files:  # this also compiles, and leaves out files that an encoder refuses
        try:
            counts = {name: encode(file) for name, encode in encoders.items()}
        except (BadInput, ValueError, RuntimeError) as error:
            print(f"left out: {file}: {error}", file=sys.stderr)
            continue
        usable.append(file)
        words = {name: words[name] + count for name, count in counts.items()}
    if not usable:
        sys.exit("no usable MIDI file in the given paths")

    times = {name: np.full(len(usable), np.inf) for name in encoders}
    for _ in range(arguments.repeats):
        for name, encode in encoders.items():
            for number, file in enumerate(usable):
                start = time.perf_counter()
                encode(file)
                times[name][number] = min(times[name][number], time.perf_counter() - start)

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("miditok", "symusic", "numpy"))
    print(f"{len(usable)} files; {versions}; fastest of {arguments.repeats} repetitions per file")
    for name, seconds in times.items():
        ratio = seconds.sum() / times["muspike"].sum()
        print(
            f"{name:32} {1e3 * seconds.mean():8.3f} ms per file  median {1e3 * np.median(seconds):8.3f} ms"
            f"  {words[name] / len(usable):8.1f} tokens per file  {ratio:6.1f} x muspike's time"
        )


if __name__ == "__main__":
    main()
