"""How well a network predicts pieces, and how much it spikes meanwhile.

The likelihood is that of the next compound word, given those before it, over whole pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from muspike import tokens
from muspike.network import Generator, Network

Words = npt.NDArray[np.int16]
Logits = Callable[[torch.Tensor], torch.Tensor]
"""Words `[tokens, batch, 7]` to logits `[tokens, batch, N_AXONS]`."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Likelihood:
    """Negative log likelihood of a set of pieces, in bits, whole and by feature.

    It is joint, of notes, chords, metre and tempo; a feature's share is conditional on the words before, the chord
    of the same moment included. The grammar of words, which masks the impossible in sampling, is not used here.
    """

    bits_by_feature: dict[str, float]
    notes: int
    words: int

    @property
    def bits_per_note(self) -> float:
        """Bits of all features of all words, BAR and BEAT included, per note."""
        return sum(self.bits_by_feature.values()) / self.notes

    def to_dict(self) -> dict[str, Any]:
        """`bits_per_note`, and what each feature adds to it."""
        features = {name: bits / self.notes for name, bits in self.bits_by_feature.items()}
        return {"bits_per_note": self.bits_per_note, "bits_per_note_by_feature": features, "notes": self.notes}


def feature_losses(logits: torch.Tensor, targets: torch.Tensor, teacher: torch.Tensor | None = None) -> torch.Tensor:
    """Summed NLL in nats of each feature, `[7]`, over the words on which it is predicted.

    `logits` `[tokens, batch, N_AXONS]`; `targets` `[tokens, batch, 7]`, PAD words where there is nothing to predict.
    With `teacher`, logits of another network, the cross entropy against its distributions instead of the values.
    """
    flat, wanted = logits.flatten(0, -2), targets.flatten(0, -2).long()
    kind = wanted[:, tokens.BAR_BEAT]
    predicted = (
        torch.as_tensor(np.asarray(tokens.PREDICTED), device=kind.device)[kind] & (kind != tokens.BarBeat.PAD)[:, None]
    )
    losses = []
    for f, (start, size) in enumerate(zip(tokens.OFFSETS, tokens.SIZES, strict=True)):
        rows = predicted[:, f].nonzero()[:, 0]
        goal = wanted[rows, f]
        if teacher is not None:
            goal = teacher.flatten(0, -2)[rows, start : start + size].softmax(-1)
        losses.append(functional.cross_entropy(flat[rows, start : start + size], goal, reduction="sum"))
    return torch.stack(losses)


def lined_up(pieces: Sequence[Words], starts: Sequence[int], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets `[length, batch, 7]`: excerpts from `starts` on; an input is the word before its target.

    Before the first word of a piece stands PAD.
    """
    shape = (length, len(pieces), len(tokens.FEATURES))
    words, wanted = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
    for b, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        goal = tokens.targets(piece)[start : start + length]
        before = np.concatenate([np.zeros((1, shape[2]), np.int16), piece])[start : start + len(goal)]
        words[: len(goal), b], wanted[: len(goal), b] = before, goal
    return torch.from_numpy(words), torch.from_numpy(wanted)


@torch.no_grad()
def likelihood(
    logits_of: Logits, pieces: Sequence[Words], at_once: int = 4096, device: torch.device = CPU
) -> Likelihood:
    """The negative log likelihood of whole pieces.

    >>> from muspike import generate, likelihood, load_model
    >>> network = load_model("s-rnn").network
    >>> pieces = generate(network.runner(), pieces=2, length=32, seed=0)
    >>> likelihood(lambda words: network(words)[0], pieces).notes > 0
    True

    Args:
        logits_of: the network: words `[tokens, batch, 7]` to logits `[tokens, batch, N_AXONS]`.
        pieces: compound words, each `[tokens, 7]`.
        at_once: how many words run side by side, padding included, unless one piece is longer.
        device: where `logits_of` wants its words.
    """
    nats = torch.zeros(len(tokens.FEATURES), dtype=torch.float64)
    notes = words_seen = 0
    for group in _of_like_length(pieces, at_once):
        words, wanted = lined_up(group, [0] * len(group), max(map(len, group)))
        nats += feature_losses(logits_of(words.to(device)), wanted.to(device)).cpu()
        kind = wanted[..., tokens.BAR_BEAT]
        notes += int((kind == tokens.BarBeat.NOTE).sum())
        words_seen += int((kind != tokens.BarBeat.PAD).sum())
    bits = (nats / math.log(2)).tolist()
    return Likelihood(dict(zip(tokens.FEATURES, bits, strict=True)), notes, words_seen)


@torch.no_grad()
def firing_rate(network: Generator, pieces: Sequence[Words], at_once: int = 4096) -> float | None:
    """Mean spikes per neuron and tick, of all LIF populations over whole periods; None where the network has none.

    Pieces of like length run side by side as far as the shortest of them goes: no padding counts.

    >>> from muspike import firing_rate, generate, load_model
    >>> network = load_model("s-rnn").network
    >>> 0 < firing_rate(network, generate(network.runner(), pieces=1, length=32, seed=0)) < 1
    True
    """
    rates, counts = [], []
    for group in _of_like_length(pieces, at_once, stretch=1.05):
        words, _ = lined_up(group, [0] * len(group), len(group[0]))
        by_population: dict[str, torch.Tensor] = {}
        network.eval()(words.to(next(network.parameters()).device), regularise=by_population)
        if not isinstance(network, Network) or not by_population:
            return None
        rates.append(per_neuron(network, by_population, torch.stack(list(by_population.values()))))
        counts.append(words.shape[0] * words.shape[1])
    return float(np.average(rates, weights=counts))


def per_neuron(network: Network, names: Iterable[str], rates: torch.Tensor) -> float:
    """The mean over all neurons of the rates of populations, `names`."""
    return float(np.average(rates.tolist(), weights=[network.populations[name].size for name in names]))


def _of_like_length(pieces: Sequence[Words], at_once: int, stretch: float = math.inf) -> Iterator[list[Words]]:
    """Groups of pieces in ascending length, so that little is padding; none exceeds `stretch` times the first."""
    group: list[Words] = []
    for piece in sorted(pieces, key=len):
        if group and (len(piece) * (len(group) + 1) > at_once or len(piece) > stretch * len(group[0])):
            yield group
            group = []
        group.append(piece)
    if group:
        yield group
