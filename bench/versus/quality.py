"""What each model is worth beside its twin that does not spike, and on the chip: the table of docs/models.md.

    python bench/versus/quality.py s-rnn:runs/ann-rnn s-cnn:runs/ann-cnn s-gan

Models are given by name or folder, each with its twin after a colon if there is one. NLL is in bits per note (the bits
of all features of all words, divided by the notes) on whole pieces of the test split. The music is 64 excerpts of 128
words, composed by the float network with the sampling of `muspike generate`, beside excerpts of the test split.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from muspike import corpora, metrics, tokens
from muspike.checkpoint import Model, load_model
from muspike.evaluation import firing_rate, likelihood
from muspike.export.loihi import ChipRunner, compile_model
from muspike.generation import Sampling, generate
from muspike.network import Network
from muspike.tokens import Words

EXCERPT, PIECES = 128, 64
MUSIC = ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate")
CHIP = "loihi1"


def music(pieces: Sequence[Words]) -> dict[str, float]:
    """The means of the metrics of interest."""
    return {
        name: float(np.nanmean([metrics.METRICS[name].function(tokens.decode(piece)) for piece in pieces]))
        for name in MUSIC
    }


def nll(model: Model, pieces: Sequence[Words], runner: ChipRunner | None = None) -> float:
    """Bits per note, in torch or on a chip, with the same noise."""

    def logits_of(words: torch.Tensor) -> torch.Tensor:
        given = model.network.runner().noise.behind(words.numpy())
        if runner is None:
            logits: torch.Tensor = model.network(torch.from_numpy(given))[0]
            return logits
        runner.reset(words.shape[1])
        return torch.from_numpy(runner.run(given)[0])

    return likelihood(logits_of, pieces).bits_per_note


def measured(model: Model, corpus: corpora.Corpus, sampling: Sampling) -> dict[str, Any]:
    """The figures of one model."""
    test = [piece.words for piece in corpus.split("test")]
    row: dict[str, Any] = {
        "architecture": model.architecture,
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "steps": model.steps,
        "validation": nll(model, [piece.words for piece in corpus.split("validation")]),
        "test": nll(model, test),
        "firing_rate": firing_rate(model.network, test),
    }
    if isinstance(model.network, Network):
        runner = ChipRunner(compile_model(model, CHIP).program)
        row["test_on_chip"] = nll(model, test, runner)
        row["overflows"] = runner.overflows + runner.readout_resets
    row |= music(generate(model.network.runner(), PIECES, EXCERPT, 0, sampling, batch=32, ended=False))
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL[:TWIN]")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_flush_denormal(True)
    corpus, sampling = corpora.load("jsb"), Sampling()
    names = [name for pair in args.models for name in pair.split(":")]
    rows = {name: measured(load_model(name), corpus, sampling) for name in names}
    long_enough = [piece.words[:EXCERPT] for piece in corpus.split("test") if len(piece.words) >= EXCERPT]
    data = music(long_enough)
    if args.json:
        print(json.dumps({"data": data, "models": rows}, indent=1))
        return
    print(f"{platform.platform()}, {os.cpu_count()} cores, torch {torch.__version__}; {sampling}")
    print(f"test split, {len(long_enough)} excerpts of {EXCERPT} words: {_music(data)}")
    head = f"{'model':<15}{'parameters':>11}{'steps':>7}{'valid.':>8}{'test':>7}{'/ twin':>8}{'on chip':>9}{'rate':>7}"
    print(head + f"{'pitches':>9}{'scale':>7}{'empty':>7}")
    for pair in args.models:
        model, *twin = (rows[name] for name in pair.split(":"))
        for row in (model, *twin):
            against = f"{row['test'] / twin[0]['test'] - 1:+.1%}" if twin and row is model else ""
            chip = f"{row['test_on_chip'] / row['test'] - 1:+.2%}" if "test_on_chip" in row else ""
            rate = row["firing_rate"] if row["firing_rate"] is not None else math.nan
            print(
                f"{row['architecture']:<15}{row['parameters']:>11,}{row['steps']:>7}{row['validation']:>8.3f}"
                f"{row['test']:>7.3f}{against:>8}{chip:>9}{rate:>7.3f}"
                f"{row['pitch_count']:>9.1f}{row['pitch_in_scale_rate']:>7.3f}{row['empty_beat_rate']:>7.4f}"
            )


def _music(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in values.items())


if __name__ == "__main__":
    main()
