"""What a trained model is worth: likelihood in torch and on the chip, firing rate, and the music that it composes.

NLL is in bits per note (the bits of all features of all words, divided by the notes) on whole pieces. Music is measured
on excerpts of `EXCERPT` words, which the float network composes, beside excerpts of the test split.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from muspike import corpora, metrics, tokens
from muspike.bench import quality
from muspike.bench.workload import EXCERPT
from muspike.checkpoint import Model
from muspike.evaluation import firing_rate
from muspike.export.loihi import ChipRunner, compile_model
from muspike.generation import Sampling, ended_by_itself, generate
from muspike.network import Network
from muspike.tokens import Words

PIECES, LENGTH = 64, 512
MUSIC = ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate", "parallel_rate")
CHIP = "loihi1"


def music(pieces: Sequence[Words], names: Sequence[str] = MUSIC) -> dict[str, float | None]:
    """The means of the metrics `names` over the pieces for which they are defined; None if there is no such piece."""
    found = metrics.evaluate_set([tokens.decode(piece) for piece in pieces], names)
    return {name: float(np.nanmean(values)) if np.isfinite(values).any() else None for name, values in found.items()}


def of_data(corpus: corpora.Corpus) -> dict[str, Any]:
    """The music of the test split, on excerpts as long as those that a model composes."""
    pieces = corpus.evaluated("test")
    excerpts = [words[:EXCERPT] for words in pieces if len(words) >= EXCERPT]
    ended = sum(len(words) <= LENGTH for words in pieces)
    return {**music(excerpts), "excerpts": len(excerpts), "ended": ended / len(pieces)}


def nll(model: Model, pieces: Sequence[Words], runner: ChipRunner | None = None) -> float:
    """Bits per note, in torch or on a chip, with the same noise."""
    if runner is None:
        return quality.of_network(model.network, pieces, compose=0).likelihood.bits_per_note
    return quality.of_program(runner, pieces, compose=0).likelihood.bits_per_note


def measured(model: Model, corpus: corpora.Corpus, sampling: Sampling, seed: int = 0) -> dict[str, Any]:
    """The figures of one model, JSON-able.

    Args:
        model: the model.
        corpus: the data; its splits validation and test are read.
        sampling: how the host samples.
        seed: of composing.
    """
    test = corpus.evaluated("test")
    runner, sampled = model.network.runner(), (seed, sampling)
    row: dict[str, Any] = {
        "parameters": sum(p.numel() for p in model.network.parameters()),
        "steps": model.steps,
        "validation": nll(model, corpus.evaluated("validation")),
        "test": nll(model, test),
        "firing_rate": firing_rate(model.network, test),
        "test_on_chip": None,
    }
    if isinstance(model.network, Network):
        on_chip = ChipRunner(compile_model(model, CHIP).program)
        row["test_on_chip"] = nll(model, test, on_chip)
        row["overflows"] = on_chip.overflows + on_chip.readout_resets
    row |= music(generate(runner, PIECES, EXCERPT, *sampled, batch=PIECES, ended=False))
    whole = generate(runner, PIECES, LENGTH, *sampled, batch=PIECES)
    row["ended"] = sum(ended_by_itself(words, LENGTH, sampling) for words in whole) / PIECES
    return row | {"machine": platform.machine(), "torch": torch.__version__}
