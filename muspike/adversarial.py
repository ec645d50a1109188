"""Adversarial training: a critic tells composed excerpts from real ones, and the generator learns to deceive it.

Adversarial training continues from a generator that was trained by likelihood (the warm-up). The likelihood stays in
the loss, beside the critic's score.

A step composes excerpts word by word, as the host does, and chooses each value by the Gumbel-max trick. The network
then reads the composed words once more, all at once. This second pass gives the same logits, with their gradient.
Forwards, the critic reads the composed words themselves. Backwards, each chosen value counts as the softmax of the same
logits and the same Gumbel noise: this is the straight-through Gumbel softmax (Jang et al. 2017, arXiv 1611.01144). No
gradient flows through the feedback: the effect of a chosen word on later words has none, nor has the context that the
host fills in. The critic's loss is the hinge loss (Miyato et al. 2018, arXiv 1802.05957, eq. 16). The critic is never
deployed.

Each validation composes pieces and compares them with excerpts of the same length from the validation split
(`collapsed`, `distance`). The run keeps the model with the smallest `distance` among those that have not collapsed and
have an NLL within 5 % of the warm-up model's. The warm-up model is the first candidate and is kept in any case, so the
run always has a model.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from muspike import metrics, tokens, training
from muspike.checkpoint import Model
from muspike.corpora import Corpus
from muspike.errors import BadInput
from muspike.generation import SHORTEST, UNCHANGED, Logits, Mask, compose, generate
from muspike.host import Runner
from muspike.layer import Source, drive, later, leaky_answers, lif_layer
from muspike.network import Generator, Network
from muspike.neurons import Clock, LIFParameters
from muspike.processes import ALONE, CPU, Team
from muspike.ranges import LEARNING_RATE, TEMPERATURE, check, from_to, setting
from muspike.tokens import Words

WARMUP = "warmup"
_TAU, _V_THRESHOLD = 2.0, 0.5  # of the spiking critic's neurons; tau is in ticks
_NLL_MARGIN = 1.05
# Sampling for the checks stays close to the network's own distribution. The default sampling is narrower, and its
# pieces can look like a collapse.
_CHECKED = dataclasses.replace(UNCHANGED, top_p=0.95)
# The least divisor of a relative difference of empty beat rates: a ratio to a rate near 0 says nothing.
_LEAST_EMPTY_BEATS = 0.02


@dataclasses.dataclass(frozen=True)
class Settings(training.Settings):
    """How to train adversarially.

    The settings of `training.Settings` hold for both losses: `batch` and `tokens` also size the composed excerpts.

    Attributes:
        weight: of the critic's score in the loss, beside the NLL in nats per word.
        temperature: of the Gumbel softmax.
        critic_learning_rate: the critic's largest learning rate; it follows the schedule of the generator's.
        critic_width: neurons or units in each layer of the critic.
        critic_layers: layers of the critic.
        critic_taps: tokens that each layer of the critic reads; in layer k (from 0) they are `critic_taps`^k apart.
        critic_ticks: ticks in which a spiking critic reads each token.
        check_pieces: pieces that a validation composes, at most (fewer if the validation split has fewer excerpts).
        check_tokens: compound words in each of these pieces.

    Raises:
        BadInput: a value is outside its range.
    """

    weight: float = setting(0.1, from_to(0, 1e30))
    temperature: float = setting(1.0, TEMPERATURE)
    critic_learning_rate: float = setting(1e-3, LEARNING_RATE)
    critic_width: int = setting(128, from_to(1, 8192))
    critic_layers: int = setting(3, from_to(1, 8))
    critic_taps: int = setting(3, from_to(1, 16))
    critic_ticks: int = setting(2, from_to(1, 64))
    check_pieces: int = setting(16, from_to(1, 10_000))
    check_tokens: int = setting(128, from_to(SHORTEST, 10_000))

    def __post_init__(self) -> None:
        check(self, "adversarial training")


class Critic(nn.Module, ABC):
    """A causal dilated convolution over tokens. A linear readout of all layers gives a score per token."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, layers, taps = settings.critic_width, settings.critic_layers, settings.critic_taps
        # The weights of each layer, `[taps, target, source]`.
        self.layers = nn.ParameterList(torch.randn(taps, width, s) for s in (tokens.N_AXONS, *[width] * (layers - 1)))
        hot = [len(tokens.FEATURES), *[width] * (layers - 1)]
        with torch.no_grad():
            for k, weight in enumerate(self.layers):
                weight *= self.gain(k) / math.sqrt(taps * hot[k])
        self.head = nn.Linear(layers * width, 1)

    def delays(self, layer: int) -> list[int]:
        """The delay of each tap of a layer, in tokens."""
        taps = len(self.layers[layer])
        return [tap * taps**layer for tap in range(taps)]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores `[batch]` of excerpts `rows` `[tokens, batch, N_AXONS]`, each the mean of the scores of its tokens."""
        scores: torch.Tensor = self.head(torch.cat(self.answers(rows), -1))
        return scores.mean((0, 2))

    @abstractmethod
    def gain(self, layer: int) -> float:
        """Scale of a layer's first random weights: the standard deviation that they give to its sums."""

    @abstractmethod
    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """The values that the readout reads from each layer, `[tokens, batch, width]`."""


class SpikingCritic(Critic):
    """A critic of LIF neurons. Its readout reads leaky integrators of their spikes at each token's last tick."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.clock = Clock(settings.critic_ticks, settings.critic_ticks, 0)
        for name, value in (("_tau", _TAU), ("_v_threshold", _V_THRESHOLD)):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def gain(self, layer: int) -> float:
        """See `Critic.gain`. Spikes are few, so the weights of later layers start larger."""
        return (5.0 if layer else 1.2) * _V_THRESHOLD

    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """See `Critic.answers`."""
        ticks = self.clock.slots
        p = LIFParameters(self.get_buffer("_tau"), self.get_buffer("_v_threshold"))
        shape = (rows.shape[0] * ticks, rows.shape[1], self.layers[0].shape[1])
        # A token does not change while it is presented, so its current is computed once.
        current = drive(Clock(1, 1, 0), (rows.shape[0], *shape[1:]), sources=self._sources(0, rows, 1))
        spikes = [lif_layer(p, self.clock, shape, current=current.repeat_interleave(ticks, 0))]
        for k in range(1, len(self.layers)):
            spikes.append(lif_layer(p, self.clock, shape, sources=self._sources(k, spikes[-1], ticks)))
        return [leaky_answers(s, _TAU, self.clock) for s in spikes]

    def _sources(self, layer: int, spikes: torch.Tensor, slots: int) -> list[Source]:
        taps = zip(self.layers[layer], self.delays(layer), strict=True)
        return [Source(spikes, weight, delay * slots) for weight, delay in taps]


class PlainCritic(Critic):
    """A critic of rectified linear units."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.biases = nn.ParameterList(torch.zeros(settings.critic_width) for _ in self.layers)

    def gain(self, layer: int) -> float:
        """See `Critic.gain`: the value of He et al. 2015."""
        return math.sqrt(2)

    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """See `Critic.answers`."""
        seen = [rows]
        for k, (weights, bias) in enumerate(zip(self.layers, self.biases, strict=True)):
            taps = [later(seen[-1] @ w.t(), d) for w, d in zip(weights, self.delays(k), strict=True)]
            seen.append((torch.stack(taps).sum(0) + bias).relu())
        return seen[1:]


def critic_of(network: Generator, settings: Settings) -> Critic:
    """A critic of the generator's kind (spiking or not). Its weights are drawn from torch's random state."""
    return SpikingCritic(settings) if isinstance(network, Network) else PlainCritic(settings)


def hard_rows(words: torch.Tensor) -> torch.Tensor:
    """Words `[..., 7]` as seven-hot rows `[..., N_AXONS]`, float32."""
    axons = words.long() + torch.tensor(tokens.OFFSETS, device=words.device)
    return torch.zeros(*words.shape[:-1], tokens.N_AXONS, device=words.device).scatter_(-1, axons, 1.0)


class Composed(NamedTuple):
    """Composed excerpts, and how their values were chosen.

    Attributes:
        words: the composed words, `[tokens, batch, 7]`.
        read: the network's input for each word, `[tokens, batch, 7 + labels + draws]`: the word before it, then what
            is beside it.
        gumbel: the Gumbel noise added to the logits, `[tokens, batch, N_AXONS]`.
        allowed: bool, the values that could be chosen, `[tokens, batch, N_AXONS]`.
    """

    words: torch.Tensor
    read: torch.Tensor
    gumbel: torch.Tensor
    allowed: torch.Tensor


class _GumbelMax:
    """A `generation.Chooser` that draws from the softmax of the logits and records the allowed values."""

    def __init__(self, gumbel: Logits) -> None:
        self.gumbel, self.allowed = gumbel, np.zeros(gumbel.shape, np.bool_)

    def __call__(self, n: int, feature: int, logits: Logits, allowed: Mask) -> npt.NDArray[np.int64]:
        axons = slice(tokens.OFFSETS[feature], tokens.OFFSETS[feature] + tokens.SIZES[feature])
        self.allowed[n, :, axons] = allowed
        return np.asarray(np.where(allowed, logits + self.gumbel[n, :, axons], -np.inf).argmax(axis=1), np.int64)


def composed(runner: Runner, gumbel: Logits, beside: Words, device: torch.device = CPU) -> Composed:
    """Compose the starts of pieces, cut at a given number of words.

    Args:
        runner: the generator.
        gumbel: Gumbel noise that decides the choices, `[tokens, batch, N_AXONS]`.
        beside: the labels and the noise that the generator reads beside each word, `[tokens, batch, labels + draws]`.
        device: where the result is put.
    """
    choose = _GumbelMax(gumbel)
    words = compose(runner, beside, choose, UNCHANGED, ended=False)
    read = np.concatenate([np.concatenate([np.zeros_like(words[:1]), words[:-1]]), beside], axis=2)
    return Composed(*(torch.from_numpy(x).to(device) for x in (words, read, gumbel, choose.allowed)))


def straight_through(logits: torch.Tensor, chosen: Composed, temperature: float) -> torch.Tensor:
    """The composed words as rows `[tokens, batch, N_AXONS]`, with the gradient of soft choices.

    Only the features that are predicted on a word (`tokens.PREDICTED`) are choices. For tempo and chord, choosing
    "unchanged" counts as choosing the value that holds.

    Args:
        logits: `[tokens, batch, N_AXONS]`, the network's answer to `chosen.read`.
        chosen: the composed words.
        temperature: of the softmax.
    """
    scores = ((logits + chosen.gumbel) / temperature).masked_fill(~chosen.allowed, -math.inf)
    soft = torch.cat([part.softmax(-1) for part in torch.split(scores, list(tokens.SIZES), -1)], -1)
    kind = chosen.words[..., tokens.BAR_BEAT].long()
    sizes = torch.tensor(tokens.SIZES, device=kind.device)
    soft = soft * torch.as_tensor(tokens.PREDICTED, device=kind.device)[kind].repeat_interleave(sizes, -1)
    axons = torch.arange(tokens.N_AXONS, device=kind.device).expand(soft.shape).clone()
    for feature in (tokens.TEMPO_, tokens.CHORD):
        axons[..., tokens.OFFSETS[feature]] += chosen.read[..., feature].long()
    soft = torch.zeros_like(soft).scatter_add(-1, axons, soft)
    # The order of this sum matters: the bracket is exactly 0, so forwards the rows are exactly the composed words.
    return hard_rows(chosen.words) + (soft - soft.detach())


_NEAR = ("pitch_count", "empty_beat_rate", "pitch_in_scale_rate")


def qualities(pieces: Sequence[Words]) -> dict[str, float]:
    """The means over `pieces` of the watched metrics, and `distinct_pitches`, the number of pitches in all of them."""
    grids = [metrics.on_grid(tokens.decode(words)) for words in pieces]
    # A piece without notes has metrics that are nan: its empty beat rate counts as 1 and its scale rate as 0.
    measured = metrics.evaluate_set(grids, _NEAR)
    measured["empty_beat_rate"] = np.nan_to_num(measured["empty_beat_rate"], nan=1.0)
    means = {name: float(np.nan_to_num(values).mean()) for name, values in measured.items()}
    return means | {"distinct_pitches": float(len(np.unique(np.concatenate([grid.pitch for grid in grids]))))}


def collapsed(found: Mapping[str, Any], data: Mapping[str, float]) -> bool:
    """Whether composed pieces have collapsed.

    They have if they use fewer than half as many pitches as the data, per piece or in all, or if their empty beat rate
    is above the data's by more than 0.1. `found` and `data` are `qualities` of the pieces and of the data.
    """
    fewer = any(found[name] < data[name] / 2 for name in ("pitch_count", "distinct_pitches"))
    return fewer or found["empty_beat_rate"] > data["empty_beat_rate"] + 0.1


def distance(found: Mapping[str, float], data: Mapping[str, float]) -> float:
    """Distance of composed pieces from the data.

    It is the mean of the relative differences of pitch count, empty beat rate (relative to 0.02 at least) and scale
    rate. `found` and `data` are `qualities` of the pieces and of the data.
    """
    least = {"empty_beat_rate": _LEAST_EMPTY_BEATS}
    return float(np.mean([abs(found[name] - data[name]) / max(data[name], least.get(name, 0.0)) for name in _NEAR]))


def is_best(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the model of the last validation in `history` is the one to keep; see the docstring of this module."""
    most = _NLL_MARGIN * history[0]["validation"]
    fit = [not point["collapsed"] and point["validation"] <= most for point in history]
    before = [point["distance"] for point, fits in zip(history[:-1], fit, strict=False) if fits]
    return len(history) == 1 or (fit[-1] and history[-1]["distance"] < min(before, default=math.inf))


def refuse_without_warmup(folder: Path) -> None:
    """Refuse a folder in which a run without a warm-up of its own lies, before a warm-up is put there.

    Raises:
        BadInput: such a run, or a model, lies in the folder.
    """
    if (folder / WARMUP).exists():
        return
    for name in ("state.safetensors", "model", "model.json"):
        if (folder / name).exists():
            raise BadInput(
                f"{folder}: holds {name} and no {WARMUP}; choose another folder with -o, or give --init the model "
                "that the adversarial training is to start from"
            )


class Run(training.Run):
    """The adversarial part of a training, in a folder of its own. It continues from the model `initial`.

    The other arguments are those of `training.Run`.

    Raises:
        BadInput: as for `training.Run`; or a split has no piece with more words than a composed piece.
    """

    settings: Settings
    initial: Model

    def __init__(
        self,
        folder: Path,
        architecture: str,
        network_settings: dict[str, Any],
        settings: Settings,
        corpus: Corpus,
        *,
        initial: Model,
        device: torch.device = CPU,
        team: Team = ALONE,
        grid: training.Grid | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self.critic = critic_of(initial.network, settings).to(device)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), betas=(0.5, 0.98))
        # The critic's loss in the last step.
        self.critic_loss: float | None = None
        super().__init__(
            folder,
            architecture,
            network_settings,
            settings,
            corpus,
            device=device,
            initial=initial,
            team=team,
            grid=grid,
        )
        self._real, self._real_labels = team.decided(lambda: _longer(corpus, "train", settings.tokens))
        excerpts, _ = team.decided(lambda: _longer(corpus, "validation", settings.check_tokens))
        self._check_pieces = min(settings.check_pieces, len(excerpts))
        # The number of pitches in all grows with the number of pieces: count it on as many excerpts as are composed.
        several = excerpts[:: len(excerpts) // self._check_pieces][: self._check_pieces]
        self.of_data = qualities(excerpts) | {"distinct_pitches": qualities(several)["distinct_pitches"]}

    def train(self, report: Callable[[int, float, float | None], None] = lambda *_: None) -> Model:
        """See `training.Run.train`. A new run validates the initial model first."""
        if not self.progress.history:
            torch.manual_seed(self.settings.seed)
            pieces = self.corpus.evaluated("validation")
            _, self.progress = self.team.decided(lambda: self.pause(pieces, None, False))
        return super().train(report)

    def told(self, point: Mapping[str, Any]) -> str:
        """The metrics of the composed pieces as text, with the data's in brackets."""
        names = {"pitch_count": "pitches a piece", "distinct_pitches": "in all", "empty_beat_rate": "empty beats"}
        parts = [f"{point[name]:.3g} {what} ({self.of_data[name]:.3g})" for name, what in names.items()]
        return "; composed: " + ", ".join(parts) + (", COLLAPSED" if point["collapsed"] else "")

    def step(self, pieces: Sequence[Words]) -> float:
        """See `training.Run.step`. The critic is updated first."""
        real, self._composed = self._excerpts()
        self.critic.requires_grad_(True)
        self._teach_critic(hard_rows(real), hard_rows(self._composed.words))
        self.critic.requires_grad_(False)
        return super().step(pieces)

    def _excerpts(self) -> tuple[torch.Tensor, Composed]:
        """This process's share of the real words, `[tokens, batch, 7]`, and of the composed ones."""
        settings, share = self.settings, self.team.share(self.settings.batch)
        # A child of the generator in `draw_batch`: its draws are independent of the batch's.
        random = np.random.default_rng([settings.seed, self.progress.step]).spawn(1)[0]
        indices = random.integers(len(self._real), size=settings.batch)
        chosen = [self._real[i] for i in indices]
        real = np.stack([training.transposed(words, settings.transpose, random) for words in chosen], axis=1)
        runner = training.as_deployed(self.network).runner()
        shape = settings.tokens, settings.batch
        noise = random.integers(max(1, runner.noise.values), size=(*shape, runner.noise.draws), dtype=np.int16)
        gumbel = random.gumbel(size=(*shape, tokens.N_AXONS)).astype(np.float32)
        # Composed excerpts have the labels of the real ones beside which the critic reads them.
        rows = self.network.labels.rows([self._real_labels[i] for i in indices])
        rows = training.partly_unknown(rows, settings.label_dropout, random) if self.network.labels else rows
        beside = np.concatenate([np.broadcast_to(rows, (settings.tokens, *rows.shape)), noise], axis=2)
        words = composed(runner, gumbel[:, share], beside[:, share], self.device)
        return torch.from_numpy(real[:, share]).to(self.device), words

    def _teach_critic(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """Update the critic once, by the hinge loss, with real and composed rows `[tokens, batch, N_AXONS]`."""
        self.critic_optimiser.zero_grad(set_to_none=True)
        loss = ((1 - self.critic(real)).relu() + (1 + self.critic(fake)).relu()).sum() / self.settings.batch
        loss.backward()
        self.critic_loss = float(self.team.sum_gradients(self.critic.parameters(), loss.detach()[None]))
        if not math.isfinite(self.critic_loss):
            self.team.decided(lambda: self.refuse_step("critic's loss", self.critic_loss or math.nan))
        torch.nn.utils.clip_grad_norm_(self.critic.parameters(), self.settings.clip)
        for group in self.critic_optimiser.param_groups:
            group["lr"] = self.settings.critic_learning_rate * self.learning_rate / self.settings.learning_rate
        self.critic_optimiser.step()

    def loss(self, batch: training.Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The likelihood's loss minus the weighted critic's score of the composed excerpts; and the NLL in nats."""
        loss, nats = super().loss(batch)
        # Without autocast: the excerpts were composed in float32 too.
        logits, _ = self.network(self._composed.read)
        scores = self.critic(straight_through(logits, self._composed, self.settings.temperature))
        return loss - self.settings.weight * scores.sum() / self.settings.batch, nats

    def observed(self) -> dict[str, float | None]:
        """Compose pieces and return what is noted about them.

        These are their `qualities`, whether they have `collapsed`, their `distance` from the data, and `critic_loss`.
        """
        runner = training.as_deployed(self.network.eval()).runner()
        seed, length = self.settings.seed, self.settings.check_tokens
        found = qualities(generate(runner, self._check_pieces, length, seed, _CHECKED, ended=False))
        verdict = {"collapsed": collapsed(found, self.of_data), "distance": distance(found, self.of_data)}
        return {**found, **verdict, "critic_loss": self.critic_loss}

    def is_best(self, bits: float) -> bool:
        """See `is_best` of this module: NLL alone does not decide."""
        return is_best(self.progress.history)

    def model(self) -> Model:
        """The model of `training.Run.model`, with the record of the warm-up and the metrics of model and data."""
        model, point = super().model(), self.progress.history[-1]
        check = {"composed": {name: point[name] for name in self.of_data}, "data": self.of_data}
        check |= {name: point[name] for name in ("collapsed", "distance")}
        return dataclasses.replace(model, training=model.training | {"warmup": self.initial.training, "check": check})

    def tensors(self) -> dict[str, torch.Tensor]:
        """The tensors of the generator and of the critic, with their optimisers."""
        return super().tensors() | training.tensors_of(self.critic, self.critic_optimiser, "critic.")

    def take_up(self, kept: training.State) -> None:
        """See `training.Run.take_up`."""
        super().take_up(kept)
        training.restore(kept.tensors, self.critic, self.critic_optimiser, "critic.")


def _longer(corpus: Corpus, split: str, length: int) -> tuple[list[Words], list[Mapping[str, str]]]:
    """The first `length` words of each piece in `split` that has more, and the labels of these pieces.

    Raises:
        BadInput: no piece has more.
    """
    pieces = corpus.evaluated(split)
    labelled = zip(pieces, corpus.evaluated_labels(split), strict=True)
    if not (longer := [(words[:length], dict(labels)) for words, labels in labelled if len(words) > length]):
        raise BadInput(
            f"corpus {corpus.name}: its split {split} has no piece of more than {length} words, to compare composed "
            f"excerpts with; its longest has {max(map(len, pieces))}"
        )
    return [words for words, _ in longer], [labels for _, labels in longer]
