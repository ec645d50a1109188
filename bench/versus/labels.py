"""Whether a network listens to a label: EMOPIA's emotions, held-out clips, and what it composes for each emotion.

    python bench/versus/labels.py -o runs/emotion > docs/results/logs/labels.txt

It trains a 192-wide S-RNN on EMOPIA with the label `emotion`, in steps of 8 x 256 words of the preset `small`, or goes
on with the training in the folder. Then it prints

- the bits per note of the clips in the test split, with their own emotion, with the emotions of other clips, and with
  none; the interval at 95 % is the bootstrap over clips;
- what the training clips of each emotion are like, and what is composed for it.

One seed, far from convergence, shows whether the label has an effect; it does not say how large the effect would be.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from muspike import architectures, corpora, generate, tokens, training
from muspike.cli.train import watched
from muspike.evaluation import label_effect
from muspike.files import owned_folder
from muspike.generation import UNCHANGED
from muspike.tables import text_table
from muspike.tokens import Words

LABEL, CORPUS = "emotion", "emopia"
STEPS, BATCH, WORDS, WIDTH = 800, 8, 256, 192
SHUFFLES, PIECES, COMPOSED_WORDS = 5, 32, 256
# The network's own distribution; the default sampling is narrower.
SAMPLING = dataclasses.replace(UNCHANGED, top_p=0.95)
FIGURES = {"notes per beat": 2, "velocity": 1, "pitch": 1}


def trained(folder: Path, corpus: corpora.Corpus, steps: int) -> training.Run:
    """The training in `folder`, to its end."""
    preset = architectures.preset("s-rnn", "small")
    settings = training.Settings(**preset["training"])
    settings = dataclasses.replace(settings, steps=steps, batch=BATCH, tokens=WORDS, precision="float32")
    network = {**preset["network"], "width": WIDTH, "labels": {LABEL: corpus.label_values(LABEL)}}
    with owned_folder(folder):
        run = training.Run(folder, "s-rnn", network, settings, corpus)
        with watched(run, "") as told:
            run.train(told)
    return run


def figures(pieces: Sequence[Words]) -> list[float]:
    """Means over the notes of pieces: how many there are in a beat, their velocity and their pitch."""
    scores = [tokens.decode(words) for words in pieces]
    notes = np.concatenate([score.notes for score in scores])
    beats = sum(float((s.notes["onset"] + s.notes["duration"]).max()) / s.ticks_per_beat for s in scores)
    return [len(notes) / beats, float(notes["velocity"].mean()), float(notes["pitch"].mean())]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the training")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"steps of training (default: {STEPS})")
    args = parser.parse_args(arguments)
    torch.set_flush_denormal(True)
    corpus = corpora.load(CORPUS)
    run = trained(args.output, corpus, args.steps)
    model = training.load_model(run.model_folder)
    network, labels = model.network, model.network.labels

    test, rows = corpus.evaluated("test"), labels.rows(corpus.evaluated_labels("test"))
    shares = {value: int((rows[:, 0] == n).sum()) for n, value in enumerate(labels.table[LABEL])}
    print(f"S-RNN {WIDTH} wide on {corpus.name}, step {model.training['step']} of {args.steps}, each {BATCH} x {WORDS}")
    print(f"words, label dropout {run.settings.label_dropout:g}, seed {run.settings.seed}; torch {torch.__version__}")
    print(f"{len(test)} test clips: {', '.join(f'{count} {value}' for value, count in shares.items())}", flush=True)
    effect = label_effect(network, test, rows, SHUFFLES)
    print(f"mean of {SHUFFLES} shuffles; more bits than with the right labels, interval at 95 %:")
    print(effect.told().replace(", ", "\n").replace("%\n", "%, "), flush=True)

    cells = []
    for value in labels.table[LABEL]:
        of_value = [piece.words for piece in corpus.split("train") if piece.labels[LABEL] == value]
        composed = generate(network.runner(), PIECES, COMPOSED_WORDS, 0, SAMPLING, batch=PIECES, labels={LABEL: value})
        pairs = zip(FIGURES.items(), figures(of_value), figures(composed), strict=True)
        cells.append([value, *(f"{number:.{places}f}" for (_, places), *both in pairs for number in both)])
    titles = [LABEL, *(f"{name},\n{what}" for name in FIGURES for what in ("clips", "composed"))]
    print(f"\ntraining clips, and {PIECES} pieces of at most {COMPOSED_WORDS} words composed for each {LABEL}")
    print("\n".join(text_table(titles, cells, left=(0,))))


if __name__ == "__main__":
    main()
