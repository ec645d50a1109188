"""How well exactly that network does its job that is priced beside it: likelihood and music, as intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from muspike import metrics, tokens
from muspike.bench.workload import EXCERPT
from muspike.evaluation import Likelihood, interval_of_sums, likelihood
from muspike.export.loihi import ChipRunner
from muspike.generation import generate
from muspike.host import Runner, completed
from muspike.network import Generator
from muspike.tokens import Words

MUSIC = ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate", "parallel_rate")
"""The metrics of composed pieces that stand beside the cost. `muspike bench` has all of them."""

_LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over pieces, and the interval at 95 % of the mean over all pieces of the same kind."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """The interval as a JSON-able dict."""
        return dict(vars(self))


@dataclass(frozen=True)
class Quality:
    """What a network is worth.

    Attributes:
        likelihood: of whole test pieces.
        music: by metric, the mean over composed pieces; empty if none were composed.
    """

    likelihood: Likelihood
    music: dict[str, Interval]

    @property
    def bits_per_note(self) -> Interval:
        """The negative log likelihood."""
        return Interval(self.likelihood.bits_per_note, *self.likelihood.interval(_LEVEL))

    def change_from(self, other: Quality) -> Interval:
        """How many bits per note more than `other`, as a share, on the same pieces."""
        return Interval(*self.likelihood.change_from(other.likelihood, _LEVEL))

    def to_dict(self) -> dict[str, Any]:
        """The quality as a JSON-able dict."""
        return {
            "bits_per_note": self.bits_per_note.to_dict(),
            "music": {name: of.to_dict() for name, of in self.music.items()},
        }


def of_program(runner: ChipRunner, pieces: Sequence[Words], compose: int, seed: int = 0) -> Quality:
    """The quality of a network as the integers of a chip.

    Args:
        runner: the network on its chip.
        pieces: whole pieces, whose likelihood is asked.
        compose: how many excerpts of `EXCERPT` words it composes; 0: none.
        seed: of composing.
    """
    return Quality(
        likelihood(lambda words: chip_logits(runner, words), pieces, each=True), _music(runner, compose, seed)
    )


def of_network(network: Generator, pieces: Sequence[Words], compose: int, seed: int = 0) -> Quality:
    """The quality of a network in torch. Arguments are as for `of_program`."""
    runner = network.runner()

    def logits_of(words: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = network(torch.from_numpy(completed(words.numpy(), runner)))[0]
        return logits

    return Quality(likelihood(logits_of, pieces, each=True), _music(runner, compose, seed))


def chip_logits(runner: ChipRunner, words: torch.Tensor) -> torch.Tensor:
    """The logits of a chip that reads words `[tokens, batch, 7]` from rest, with the noise that torch has too."""
    runner.reset(words.shape[1])
    given = completed(words.numpy(), runner)
    # In parts, to save memory; the simulator keeps its state from part to part.
    parts = [runner.run(given[start : start + EXCERPT])[0] for start in range(0, len(given), EXCERPT)]
    return torch.from_numpy(np.concatenate(parts))


def _music(runner: Runner, compose: int, seed: int) -> dict[str, Interval]:
    if not compose:
        return {}
    # Chords are recognised anew: those that a network chose itself would be another judge.
    pieces = [
        replace(tokens.decode(words), chords=None) for words in generate(runner, compose, EXCERPT, seed, ended=False)
    ]
    found = {}
    for name, values in metrics.evaluate_set(pieces, MUSIC).items():
        known = values[np.isfinite(values)]
        if len(known):
            found[name] = _mean(known)
    return found


def _mean(values: np.ndarray[Any, np.dtype[np.float64]]) -> Interval:
    sums = values, np.ones_like(values)
    return Interval(float(values.mean()), *interval_of_sums(sums, lambda total, count: total / count, _LEVEL, seed=0))
