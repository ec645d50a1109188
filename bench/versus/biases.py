"""What the two biases of sampling do: how many pieces end, how long they are, and how many voices move in parallel.

    python bench/versus/biases.py [MODEL ...] > docs/results/logs/biases.txt

Each model composes with each bias beside the other's default. Bach's line is the validation split's; the test split is
not read. The columns:

- pieces of 100 that end by themselves within 512 words, and the mean words of a piece;
- transitions of 100 in which two voices move in parallel fifths or octaves (the metric `parallel_rate`), in whole
  pieces;
- pitch count, best-scale rate and rate of empty beats of the first 128 words of the pieces that have as many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from muspike import corpora, generate, load_model
from muspike.bench.shipped.measure import music
from muspike.bench.workload import EXCERPT
from muspike.generation import Sampling, ended_by_itself
from muspike.model_folder import shipped_models
from muspike.tokens import Words

PIECES, LENGTH, SEED = 64, 512, 1000
END, PARALLELS = (0.0, 3.0, 4.0, 5.0, 6.0, 8.0), (0.0, -1.0, -2.0, -3.0)
COLUMNS = ("end_bias", "parallels_bias", "ended", "words", "parallels", "pitches", "in scale", "empty beats")


def cells(pieces: Sequence[Words], ended: float) -> list[str]:
    """The figures of some pieces."""
    starts = music([words[:EXCERPT] for words in pieces if len(words) >= EXCERPT])
    whole = music(pieces)
    return [
        f"{100 * ended:.0f}",
        f"{np.mean([len(words) for words in pieces]):.0f}",
        f"{100 * (whole['parallel_rate'] or 0):.2f}",
        *(f"{starts[name]:.4g}" for name in ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate")),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=shipped_models(), metavar="MODEL", help="default: what ships")
    arguments = parser.parse_args()

    def say(name: str, of: Sequence[str]) -> None:
        print(f"{name:<20}" + "".join(f"{text:>16}" for text in of), flush=True)

    say("", COLUMNS)
    bach = [np.asarray(piece.words) for piece in corpora.load("jsb").split("validation")]
    say("Bach, validation", ["", "", *cells(bach, float(np.mean([len(words) <= LENGTH for words in bach])))])
    default = Sampling()
    grid = [replace(default, end_bias=bias) for bias in END]
    grid += [replace(default, parallels_bias=bias) for bias in PARALLELS]
    for name in arguments.models:
        print(f"composing with {name}", file=sys.stderr)
        network = load_model(name).network
        for how in dict.fromkeys(grid):
            pieces = generate(network.runner(), PIECES, LENGTH, SEED, how, batch=PIECES)
            ended = float(np.mean([ended_by_itself(words, LENGTH, how) for words in pieces]))
            say(name, [f"{how.end_bias:g}", f"{how.parallels_bias:g}", *cells(pieces, ended)])


if __name__ == "__main__":
    main()
