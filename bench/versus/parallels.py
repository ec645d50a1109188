"""Parallel fifths and octaves: how often a note takes a pitch that the network hears as one, in Bach and in models.

    python bench/versus/parallels.py [MODEL ...] > docs/results/logs/parallels.txt

For the validation split of the chorales and for pieces that each model composes, it prints:

- the axons of the groups `parallel` and `parallel_motion` (`muspike.sounding`) that spike before a note, and beside
  each how many notes of 100 take such a pitch;
- how many transitions of 100 have parallels (the metric `parallel_rate`);
- how many pieces of 100 end by themselves, how many end with dominant and tonic (the metric `ends_in_cadence`), and
  the mean words of a piece;
- the mean chance of END, in per cent, at the true ends of the pieces of the validation split.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
import torch

from muspike import corpora, generate, load_model, sounding, tokens
from muspike.bench.shipped.measure import music
from muspike.generation import ended_by_itself
from muspike.model_folder import shipped_models
from muspike.network import Generator
from muspike.tokens import BarBeat, Words

GROUPS = ("parallel", "parallel_motion")
PIECES, LENGTH, SEED = 64, 512, 1


def heard(pieces: Sequence[Words], group: str) -> tuple[float, float]:
    """The axons of a group that spike before a note, and the notes of 100 that take their pitch."""
    hearing, notes, axons, taken = sounding.Hearing((group,)), 0, 0, 0
    for words in pieces:
        spiking = hearing.hear(words[:, None], sounding.silence(1))[:-1, 0]
        is_note = words[1:, tokens.BAR_BEAT] == BarBeat.NOTE
        pitches = words[1:, tokens.PITCH, None] - 1
        notes += int(is_note.sum())
        axons += int((spiking[is_note] != sounding.NONE).sum())
        taken += int((spiking == pitches)[is_note].any(1).sum())
    return axons / notes, 100 * taken / notes


@torch.no_grad()
def chance_of_end(network: Generator, pieces: Sequence[Words]) -> float:
    """The mean chance of END after the last NOTE of a piece, among the kinds of word that may come."""
    start, found = tokens.OFFSETS[tokens.BAR_BEAT], []
    for words in pieces:
        logits = network(torch.from_numpy(words[:-1, None]))[0][-1, 0]
        kinds = logits[start : start + len(BarBeat)].clone()
        kinds[BarBeat.PAD] = -torch.inf
        found.append(float(kinds.softmax(0)[BarBeat.END]))
    return float(np.mean(found))


def row(name: str, pieces: Sequence[Words], ended: float, end: float | None = None) -> str:
    """A line of the table."""
    means = music(pieces, ("parallel_rate", "ends_in_cadence")).values()
    rate, cadences = (np.nan if mean is None else mean for mean in means)
    shares = "".join(f"{100 * share:>18.0f}" for share in (ended, cadences))
    of_groups = "".join(f"{axons:>18.2f}{taken:>18.2f}" for axons, taken in (heard(pieces, group) for group in GROUPS))
    words = np.mean([len(words) for words in pieces])
    return f"{name:<20}{of_groups}{100 * rate:>18.2f}{shares}{words:>18.0f}" + (
        "" if end is None else f"{100 * end:>18.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=shipped_models(), metavar="MODEL", help="default: what ships")
    arguments = parser.parse_args()
    columns = [text for group in GROUPS for text in (group, "taken of 100")]
    columns += ["parallels of 100", "ended of 100", "cadences of 100", "words", "END, %"]
    print(f"{'':<20}{''.join(f'{text:>18}' for text in columns)}")
    bach = [np.asarray(piece.words) for piece in corpora.load("jsb").split("validation")]
    print(row("Bach, validation", bach, np.mean([len(words) <= LENGTH for words in bach])))
    for name in arguments.models:
        print(f"measuring {name}", file=sys.stderr)
        network = load_model(name).network.eval()
        pieces = generate(network.runner(), pieces=PIECES, length=LENGTH, seed=SEED, batch=PIECES)
        ended = float(np.mean([ended_by_itself(words, LENGTH) for words in pieces]))
        print(row(name, pieces, ended, chance_of_end(network, bach)), flush=True)


if __name__ == "__main__":
    main()
