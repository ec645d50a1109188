"""How well a network predicts pieces, and how much it spikes while it does.

The likelihood is that of each compound word given all words before it, over whole pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from muspike import sounding, tokens
from muspike.arguments import instance, listed, refuse, whole
from muspike.errors import BadInput
from muspike.labels import UNKNOWN, Rows
from muspike.network import Generator, Network
from muspike.processes import CPU
from muspike.tokens import Words

Logits = Callable[[torch.Tensor], torch.Tensor]
"""A function from words `[tokens, batch, 7]`, or with labels, to logits `[tokens, batch, N_AXONS]`."""


@dataclass(frozen=True)
class Likelihood:
    """Negative log likelihood (NLL) of a set of pieces, in all and by feature.

    It is the joint NLL of notes, chords, metre and tempo. A feature's part is conditional on the words before, which
    include the chord of the same moment. The grammar of words, which masks impossible words in sampling, is not used.

    Attributes:
        bits_by_feature: NLL in bits, by the name of the feature.
        notes: number of NOTEs in the pieces.
        words: number of words in the pieces.
        of_pieces: bits and notes of each piece, `[pieces, 2]`, in an order that depends
            on the pieces alone; None unless `likelihood` was asked for it.
    """

    bits_by_feature: dict[str, float]
    notes: int
    words: int
    of_pieces: npt.NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def bits_per_note(self) -> float:
        """NLL of all features of all words, BAR and BEAT included, in bits per note."""
        return sum(self.bits_by_feature.values()) / self.notes

    def interval(self, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """The confidence interval of the bits per note of all pieces of the same kind.

        It is the percentile bootstrap over pieces: pieces are drawn with replacement, and their bits are divided by
        their notes (Efron & Tibshirani 1993, section 13.3). A single piece tells no interval, and gives its own value.

        Args:
            level: the share of the drawn sets that the interval holds.
            seed: of the drawing.

        Raises:
            BadInput: `likelihood` was not asked for single pieces.
        """
        bits, notes = self._single().T
        return interval_of_sums((bits, notes), lambda bits, notes: bits / notes, level, seed)

    def change_from(self, other: Likelihood, level: float = 0.95, seed: int = 0) -> tuple[float, float, float]:
        """How many bits per note more this is than `other`, as a share of `other`, and the interval of that share.

        Both must be of the same pieces. They are drawn together, so the interval is far narrower than those of the two.

        Raises:
            BadInput: one of the two has no single pieces, or they are of other pieces.
        """
        (bits, notes), (others, same) = self._single().T, other._single().T
        if not np.array_equal(notes, same):
            raise BadInput("likelihood: a change is that of the same pieces; these have other notes")
        low, high = interval_of_sums((bits, others), lambda bits, others: bits / others - 1, level, seed)
        return self.bits_per_note / other.bits_per_note - 1, low, high

    def _single(self) -> npt.NDArray[np.float64]:
        if self.of_pieces is None:
            raise BadInput("likelihood: has no single pieces; ask for them with each=True")
        return self.of_pieces

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able table: `bits_per_note`, the part of each feature in it, and the number of notes."""
        features = {name: bits / self.notes for name, bits in self.bits_by_feature.items()}
        return {"bits_per_note": self.bits_per_note, "bits_per_note_by_feature": features, "notes": self.notes}


def interval_of_sums(
    sums: tuple[npt.NDArray[np.float64], ...],
    of_sums: Callable[..., npt.NDArray[np.float64]],
    level: float,
    seed: int,
) -> tuple[float, float]:
    """The percentile bootstrap of a function of sums over pieces, at `level` (Efron & Tibshirani 1993, section 13.3).

    Args:
        sums: what is summed over pieces, `[pieces]` each; pieces are drawn together.
        of_sums: the figure, from the sums.
        level: the share of the drawn figures that the interval holds.
        seed: of the drawing.
    """
    from scipy.stats import bootstrap  # it takes half a second to load

    if len(sums[0]) < 2:
        only = float(of_sums(*(of.sum() for of in sums)))
        return only, only
    found = bootstrap(
        sums,
        lambda *drawn, axis: of_sums(*(of.sum(axis) for of in drawn)),
        paired=True,
        vectorized=True,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def feature_losses(logits: torch.Tensor, targets: torch.Tensor, teacher: torch.Tensor | None = None) -> torch.Tensor:
    """The NLL of each feature in nats, `[7]`, summed over the words on which the feature is predicted.

    Args:
        logits: `[tokens, batch, N_AXONS]`.
        targets: the values to predict, `[tokens, batch, 7]`; PAD words are not predicted.
        teacher: logits of another network, `[tokens, batch, N_AXONS]`. With them, the result is the cross entropy
            against that network's distributions instead of the NLL of the values.
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


def parallel_losses(
    logits: torch.Tensor, targets: torch.Tensor, words: torch.Tensor, heard: sounding.State
) -> torch.Tensor:
    """The unlikelihood in nats of the pitches that would move in parallel fifths or octaves, a scalar.

    It is -log(1 - p), summed over the NOTEs, where p is the chance of all such pitches (`sounding`: `parallel_motion`)
    but the right one (Welleck et al. 2019, equation 4). Likelihood alone makes such a pitch as rare as it is after the
    words of the corpus. After words of its own a network meets it more often.

    Args:
        logits: `[tokens, batch, N_AXONS]`.
        targets: the values to predict, `[tokens, batch, 7]`.
        words: the network's inputs, `[tokens, batch, 7 or more]`.
        heard: what has sounded before them.
    """
    inputs = words[..., : len(tokens.FEATURES)].cpu().numpy()
    axons = torch.from_numpy(sounding.Hearing(("parallel_motion",)).hear(inputs, heard.copy())).to(logits.device)
    axons = axons[:, :, (axons != sounding.NONE).any(0).any(0)]  # they come first, so few columns are left
    of_note = targets[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE
    values = axons + 1  # of the feature pitch
    wrong = (axons != sounding.NONE) & (values != targets[..., tokens.PITCH, None]) & of_note[..., None]
    start = tokens.OFFSETS[tokens.PITCH]
    chances = logits[..., start : start + tokens.SIZES[tokens.PITCH]].softmax(-1)
    p = (chances.gather(-1, values) * wrong).sum(-1)
    return -torch.log1p(-p.clamp(max=1 - 1e-6)).sum()


def lined_up(
    pieces: Sequence[Words], starts: Sequence[int], length: int, rows: Rows | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and targets for excerpts of pieces, each `[length, batch, 7]`.

    With the labels of the pieces, `rows` `[batch, names]`, the inputs are `[length, batch, 7 + names]`.

    An excerpt starts at its piece's entry in `starts`. An input is the word before its target; the word before a piece
    is PAD. Excerpts that are shorter than `length` are filled with PAD.
    """
    shape = (length, len(pieces), len(tokens.FEATURES))
    words, wanted = np.zeros(shape, np.int16), np.zeros(shape, np.int16)
    for b, (piece, start) in enumerate(zip(pieces, starts, strict=True)):
        goal = tokens.targets(piece)[start : start + length]
        before = np.concatenate([np.zeros((1, shape[2]), np.int16), piece])[start : start + len(goal)]
        words[: len(goal), b], wanted[: len(goal), b] = before, goal
    if rows is not None:
        words = np.concatenate([words, np.broadcast_to(rows, (length, *rows.shape))], axis=2)
    return torch.from_numpy(words), torch.from_numpy(wanted)


@torch.no_grad()
def likelihood(
    logits_of: Generator | Logits,
    pieces: Sequence[Words],
    at_once: int = 4096,
    device: torch.device | str = CPU,
    *,
    each: bool = False,
    labels: Rows | None = None,
) -> Likelihood:
    """The negative log likelihood of whole pieces.

    >>> from muspike import generate, likelihood, load_model
    >>> network = load_model("s-rnn").network
    >>> pieces = generate(network.runner(), pieces=2, length=32, seed=0)
    >>> likelihood(network, pieces).notes > 0
    True

    Args:
        logits_of: a network; or a function from words `[tokens, batch, 7]` to logits `[tokens, batch, N_AXONS]`.
        pieces: compound words, each `[tokens, 7]`.
        at_once: the most words in one batch, padding included. A piece with more words is a batch of its own.
        device: where `logits_of` needs its words.
        each: whether to keep the bits and notes of each piece, for `Likelihood.interval`.
        labels: the labels of the pieces, int16 `[pieces, names]`, as `network.labels.rows` gives them: the words that
            `logits_of` gets then have a column for each. None: the network reads the pieces without a label.

    Raises:
        BadInput: `logits_of` is neither, there are no pieces or no notes, a piece is no compound words, or there are
            not as many rows of labels as pieces.
    """
    if isinstance(logits_of, Generator):
        network = logits_of.eval()
        logits: Logits = lambda words: network(words)[0]  # noqa: E731
    elif isinstance(logits_of, type) or not callable(logits_of):
        raise refuse("likelihood: logits_of", logits_of, "a network, such as load_model(...).network, or a function")
    else:
        logits = logits_of
    try:
        device = torch.device(device)
    except (RuntimeError, TypeError, ValueError) as error:
        raise refuse("likelihood: device", device, "a torch.device") from error
    pieces = _checked("likelihood", pieces)
    at_once = whole("likelihood: at_once", at_once, 1)
    nats = torch.zeros(len(tokens.FEATURES), dtype=torch.float64)
    notes = words_seen = 0
    of_pieces: list[tuple[float, int]] = []
    rows = _checked_rows("likelihood", labels, pieces)
    for places in _of_like_length(pieces, at_once):
        group = [pieces[place] for place in places]
        beside = None if rows is None else rows[places]
        words, wanted = lined_up(group, [0] * len(group), max(map(len, group)), beside)
        found = logits(words.to(device))
        shape = (*words.shape[:2], tokens.N_AXONS)
        if not isinstance(found, torch.Tensor) or found.shape != shape or not found.is_floating_point():
            what = f"{found.dtype} {list(found.shape)}" if isinstance(found, torch.Tensor) else type(found).__name__
            raise BadInput(f"likelihood: logits_of gave {what}; expected float logits {list(shape)}")
        nats += feature_losses(found, wanted.to(device)).cpu()
        kind = wanted[..., tokens.BAR_BEAT]
        notes += int((kind == tokens.BarBeat.NOTE).sum())
        words_seen += int((kind != tokens.BarBeat.PAD).sum())
        for b in range(len(group) if each else 0):
            one = feature_losses(found[:, b : b + 1], wanted[:, b : b + 1].to(device)).double().sum()
            of_pieces.append((float(one) / math.log(2), int((kind[:, b] == tokens.BarBeat.NOTE).sum())))
    if not notes:
        raise BadInput("likelihood: the pieces hold no NOTE; bits per note need at least one")
    bits = (nats / math.log(2)).tolist()
    by_feature = dict(zip(tokens.FEATURES, bits, strict=True))
    return Likelihood(by_feature, notes, words_seen, np.array(of_pieces) if each else None)


@dataclass(frozen=True)
class LabelEffect:
    """How well a network predicts pieces with their labels, with those of other pieces, and without labels.

    Attributes:
        right: the likelihood with the labels of the pieces.
        shuffled: the mean likelihood with the same labels in another order.
        without: the likelihood with labels that are unknown.
    """

    right: Likelihood
    shuffled: Likelihood
    without: Likelihood

    def told(self) -> str:
        """The three as a sentence, and what other labels and none add, with the interval at 95 %."""
        parts = [f"{self.right.bits_per_note:.3f} bits per note with the right labels"]
        for name, other in (("shuffled", self.shuffled), ("without any", self.without)):
            share, low, high = (100 * part for part in other.change_from(self.right))
            parts.append(f"{other.bits_per_note:.3f} {name} ({share:+.2f} %, {low:+.2f} to {high:+.2f})")
        return ", ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able table: bits per note, and what other labels and none add, a share with its interval at 95 %."""
        found: dict[str, Any] = {name: getattr(self, name).bits_per_note for name in ("right", "shuffled", "without")}
        for name in ("shuffled", "without"):
            share, low, high = getattr(self, name).change_from(self.right)
            found[f"{name}_change"] = {"value": share, "low": low, "high": high}
        return found


def label_effect(
    logits_of: Generator | Logits,
    pieces: Sequence[Words],
    labels: Rows,
    shuffles: int = 1,
    seed: int = 0,
    device: torch.device | str = CPU,
) -> LabelEffect:
    """Measure what labels tell a network about pieces.

    Args:
        logits_of: as for `likelihood`.
        pieces: compound words, each `[tokens, 7]`.
        labels: their labels, int16 `[pieces, names]`.
        shuffles: how many orders of the labels are tried. In each, some pieces keep a right value by chance.
        seed: of these orders.
        device: as for `likelihood`.

    Raises:
        BadInput: as for `likelihood`.
    """
    rows = _checked_rows("label_effect", labels, pieces)
    assert rows is not None
    random = np.random.default_rng(seed)

    def found(these: Rows) -> Likelihood:
        return likelihood(logits_of, pieces, device=device, each=True, labels=these)

    tried = [found(random.permutation(rows)) for _ in range(whole("label_effect: shuffles", shuffles, 1))]
    of_pieces = np.mean([of._single() for of in tried], axis=0)
    by_feature = {name: float(np.mean([of.bits_by_feature[name] for of in tried])) for name in tokens.FEATURES}
    shuffled = Likelihood(by_feature, tried[0].notes, tried[0].words, of_pieces)
    return LabelEffect(found(rows), shuffled, found(np.full_like(rows, UNKNOWN)))


@torch.no_grad()
def firing_rate(
    network: Generator, pieces: Sequence[Words], at_once: int = 4096, *, labels: Rows | None = None
) -> float | None:
    """Mean spikes per neuron and tick of all LIF populations, over whole periods. None if the network does not spike.

    Pieces of similar length run side by side and are cut to the shortest of them, so no padding is counted.

    >>> from muspike import firing_rate, generate, load_model
    >>> network = load_model("s-rnn").network
    >>> 0 < firing_rate(network, generate(network.runner(), pieces=1, length=32, seed=0)) < 1
    True

    `labels` are those of the pieces, as for `likelihood`.

    Raises:
        BadInput: `network` is none, there are no pieces, a piece is no compound words, or there are not as many rows
            of labels as pieces.
    """
    instance("firing_rate: network", network, Generator, "a network, such as load_model(...).network")
    pieces = _checked("firing_rate", pieces)
    at_once = whole("firing_rate: at_once", at_once, 1)
    rates, counts = [], []
    rows = _checked_rows("firing_rate", labels, pieces)
    for places in _of_like_length(pieces, at_once, stretch=1.05):
        group = [pieces[place] for place in places]
        words, _ = lined_up(group, [0] * len(group), len(group[0]), None if rows is None else rows[places])
        by_population: dict[str, torch.Tensor] = {}
        network.eval()(words.to(next(network.parameters()).device), regularise=by_population)
        if not isinstance(network, Network) or not by_population:
            return None
        rates.append(per_neuron(network, by_population, torch.stack(list(by_population.values()))))
        counts.append(words.shape[0] * words.shape[1])
    return float(np.average(rates, weights=counts))


def _checked(where: str, pieces: Sequence[Words]) -> list[Words]:
    found = listed(f"{where}: pieces", pieces, "a list of pieces, each words [tokens, 7]")
    if not found:
        raise BadInput(f"{where}: pieces is empty; expected at least one piece, words [tokens, 7]")
    return [tokens.checked(piece, f"{where}: piece {number}") for number, piece in enumerate(found)]


def _checked_rows(where: str, labels: Rows | None, pieces: Sequence[Words]) -> Rows | None:
    if labels is None:
        return None
    rows = np.asarray(labels)
    if rows.ndim != 2 or len(rows) != len(pieces) or rows.dtype.kind != "i":
        expected = f"int16 [{len(pieces)}, names], a row per piece"
        raise BadInput(f"{where}: labels is {rows.dtype} {list(rows.shape)}; expected {expected}")
    return rows.astype(np.int16)


def per_neuron(network: Network, names: Iterable[str], rates: torch.Tensor) -> float:
    """The mean firing rate over all neurons of the populations `names`. `rates` are their own, `[populations]`."""
    return float(np.average(rates.tolist(), weights=[network.populations[name].size for name in names]))


def _of_like_length(pieces: Sequence[Words], at_once: int, stretch: float = math.inf) -> Iterator[list[int]]:
    """The places of pieces in groups of similar length, in ascending length, so that a batch has little padding.

    A group has at most `at_once` words, padding included, unless it is one piece. No piece of a group is longer than
    `stretch` times the group's shortest.
    """
    group: list[int] = []
    for place in sorted(range(len(pieces)), key=lambda place: len(pieces[place])):
        length = len(pieces[place])
        if group and (length * (len(group) + 1) > at_once or length > stretch * len(pieces[group[0]])):
            yield group
            group = []
        group.append(place)
    if group:
        yield group
