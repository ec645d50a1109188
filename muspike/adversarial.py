"""Adversarial training: a critic tells composed excerpts from real ones, the generator learns to deceive it.

It goes on from a generator that was trained by likelihood, and that loss stays beside the critic's. A step composes
excerpts as the host does, word by word, choosing by the Gumbel-max trick. The composed words then go through the
network once more, all at once, which gives the same logits, now with their gradient. The critic reads the composed
words themselves; backwards, each chosen value is the softmax of the same logits and the same Gumbel noise (the
straight-through Gumbel softmax of Jang et al. 2017, arXiv 1611.01144). No gradient flows through the feedback: neither
through what a chosen word changes in the words after it, nor through the context that the host fills in.
The critic's loss is the hinge loss (Miyato et al. 2018, arXiv 1802.05957, eq. 16). It is never deployed.

At every validation pieces are composed and measured beside as long excerpts of the validation split (`collapsed`). The
model that is kept is the one nearest to the data (`distance`) among those that have not collapsed and whose NLL is
within 5 % of that of the warm-up's model, which is the first of them; so something is kept always.
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
from muspike.evaluation import CPU
from muspike.generation import SHORTEST, Logits, Mask, Sampling, compose, generate
from muspike.layer import Source, drive, later, leaky_answers, lif_layer
from muspike.network import Generator, Network, Runner, Words
from muspike.neurons import Clock, LIFParameters
from muspike.processes import ALONE, Team

WARMUP = "warmup"
_TAU, _V_THRESHOLD = 2.0, 0.5  # of the spiking critic, in ticks and in units of its membranes
_NLL_MARGIN = 1.05
# Nearly as the network says: what people hear is chosen more carefully, which can look like a collapse.
_CHECKED = Sampling(temperature=1.0, top_p=0.95)
# Below, an empty beat rate is as good as none: how many times another it is says nothing.
_LEAST_EMPTY_BEATS = 0.02

_ABOVE_0 = ("temperature", "critic_learning_rate")
_LIMITS = {
    "weight": (0, 1e30), "critic_width": (1, 8192), "critic_layers": (1, 8), "critic_taps": (1, 16),
    "critic_ticks": (1, 64), "check_pieces": (1, 10_000), "check_tokens": (SHORTEST, 10_000),
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Settings(training.Settings):
    """How to train adversarially. What `training.Settings` has, `batch` and `tokens` too, holds for both losses.

    `weight` of the critic's score beside the NLL in nats per word; `temperature` of the Gumbel softmax; the critic:
    layer k reads `critic_taps` tokens, `critic_taps`^k apart, each for `critic_ticks` ticks where it spikes; its
    learning rate follows the schedule too. `check_pieces` pieces of `check_tokens` words are composed at a validation.

    Raises:
        BadInput: a value outside its range.
    """

    weight: float = 0.1
    temperature: float = 1.0
    critic_learning_rate: float = 1e-3
    critic_width: int = 128
    critic_layers: int = 3
    critic_taps: int = 3
    critic_ticks: int = 2
    check_pieces: int = 16
    check_tokens: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in _ABOVE_0:
            if not 0 < (value := getattr(self, name)) <= 1e30:
                raise BadInput(f"adversarial training: {name} {value} must be above 0 and at most 1e30")
        for name, (least, most) in _LIMITS.items():
            if not least <= (value := getattr(self, name)) <= most:
                raise BadInput(f"adversarial training: {name} {value} must be from {least} to {most}")


class Critic(nn.Module, ABC):
    """A causal dilated convolution over tokens; every layer is read out into a score per token."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, layers, taps = settings.critic_width, settings.critic_layers, settings.critic_taps
        # [taps, target, source]
        self.layers = nn.ParameterList(torch.randn(taps, width, s) for s in (tokens.N_AXONS, *[width] * (layers - 1)))
        hot = [len(tokens.FEATURES), *[width] * (layers - 1)]
        with torch.no_grad():
            for k, weight in enumerate(self.layers):
                weight *= self.gain(k) / math.sqrt(taps * hot[k])
        self.head = nn.Linear(layers * width, 1)

    def delays(self, layer: int) -> list[int]:
        """What each tap of a layer reads, in tokens ago."""
        taps = len(self.layers[layer])
        return [tap * taps**layer for tap in range(taps)]

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Scores `[batch]`, the means over all tokens, of excerpts `rows` `[tokens, batch, N_AXONS]`."""
        scores: torch.Tensor = self.head(torch.cat(self.answers(rows), -1))
        return scores.mean((0, 2))

    @abstractmethod
    def gain(self, layer: int) -> float:
        """Spread of the sums that a layer's weights start with."""

    @abstractmethod
    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """What the readout reads of each layer, `[tokens, batch, width]`."""


class SpikingCritic(Critic):
    """Of LIF neurons; the readout reads leaky membranes at a token's last tick."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.clock = Clock(settings.critic_ticks, settings.critic_ticks, 0)
        for name, value in (("_tau", _TAU), ("_v_threshold", _V_THRESHOLD)):
            self.register_buffer(name, torch.tensor(value), persistent=False)

    def gain(self, layer: int) -> float:
        """Spikes are few: synapses from them start strong."""
        return (5.0 if layer else 1.2) * _V_THRESHOLD

    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """See `Critic.answers`."""
        ticks = self.clock.slots
        p = LIFParameters(self.get_buffer("_tau"), self.get_buffer("_v_threshold"))
        shape = (rows.shape[0] * ticks, rows.shape[1], self.layers[0].shape[1])
        # A token stands still while it is presented, so its current is computed once.
        current = drive(Clock(1, 1, 0), (rows.shape[0], *shape[1:]), sources=self._sources(0, rows, 1))
        spikes = [lif_layer(p, self.clock, shape, current=current.repeat_interleave(ticks, 0))]
        for k in range(1, len(self.layers)):
            spikes.append(lif_layer(p, self.clock, shape, sources=self._sources(k, spikes[-1], ticks)))
        return [leaky_answers(s, _TAU, self.clock) for s in spikes]

    def _sources(self, layer: int, spikes: torch.Tensor, slots: int) -> list[Source]:
        taps = zip(self.layers[layer], self.delays(layer), strict=True)
        return [Source(spikes, weight, delay * slots) for weight, delay in taps]


class PlainCritic(Critic):
    """Of rectified linear units."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.biases = nn.ParameterList(torch.zeros(settings.critic_width) for _ in self.layers)

    def gain(self, layer: int) -> float:
        """He et al. 2015."""
        return math.sqrt(2)

    def answers(self, rows: torch.Tensor) -> list[torch.Tensor]:
        """See `Critic.answers`."""
        seen = [rows]
        for k, (weights, bias) in enumerate(zip(self.layers, self.biases, strict=True)):
            taps = [later(seen[-1] @ w.t(), d) for w, d in zip(weights, self.delays(k), strict=True)]
            seen.append((torch.stack(taps).sum(0) + bias).relu())
        return seen[1:]


def critic_of(network: Generator, settings: Settings) -> Critic:
    """A critic of the generator's kind, spiking or not, with weights drawn from torch's random state."""
    return SpikingCritic(settings) if isinstance(network, Network) else PlainCritic(settings)


def hard_rows(words: torch.Tensor) -> torch.Tensor:
    """Seven-hot rows `[..., N_AXONS]` of words `[..., 7]`."""
    axons = words.long() + torch.tensor(tokens.OFFSETS, device=words.device)
    return torch.zeros(*words.shape[:-1], tokens.N_AXONS, device=words.device).scatter_(-1, axons, 1.0)


class Composed(NamedTuple):
    """Excerpts as they were chosen: `words` `[tokens, batch, 7]`, and what the network `read`, noise behind, for each.

    `gumbel` and `allowed` `[tokens, batch, N_AXONS]`: the noise added to the logits, and the values to choose from.
    """

    words: torch.Tensor
    read: torch.Tensor
    gumbel: torch.Tensor
    allowed: torch.Tensor


class _GumbelMax:
    """A `generation.Chooser` that draws from the softmax of the logits, and remembers what was allowed."""

    def __init__(self, gumbel: Logits) -> None:
        self.gumbel, self.allowed = gumbel, np.zeros(gumbel.shape, np.bool_)

    def __call__(self, n: int, feature: int, logits: Logits, allowed: Mask) -> npt.NDArray[np.int64]:
        axons = slice(tokens.OFFSETS[feature], tokens.OFFSETS[feature] + tokens.SIZES[feature])
        self.allowed[n, :, axons] = allowed
        return np.asarray(np.where(allowed, logits + self.gumbel[n, :, axons], -np.inf).argmax(axis=1), np.int64)


def composed(runner: Runner, gumbel: Logits, noise: Words, device: torch.device = CPU) -> Composed:
    """Starts of pieces, by `gumbel` `[tokens, batch, N_AXONS]` and `noise` `[tokens, batch, draws]`."""
    choose = _GumbelMax(gumbel)
    words = compose(runner, noise, choose, ended=False)
    read = np.concatenate([np.concatenate([np.zeros_like(words[:1]), words[:-1]]), noise], axis=2)
    return Composed(*(torch.from_numpy(x).to(device) for x in (words, read, gumbel, choose.allowed)))


def straight_through(logits: torch.Tensor, chosen: Composed, temperature: float) -> torch.Tensor:
    """Rows `[tokens, batch, N_AXONS]` that are the composed words and have the gradient of soft choices.

    `logits` are those of `chosen.read`. Only what is predicted on a word (`tokens.PREDICTED`) is a choice. Where tempo
    or chord may stay, that is a choice of the value that holds.
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
    # In this order forward exactly the composed words.
    return hard_rows(chosen.words) + (soft - soft.detach())


_NEAR = ("pitch_count", "empty_beat_rate", "pitch_in_scale_rate")


def qualities(pieces: Sequence[Words]) -> dict[str, float]:
    """The metrics that are watched, their means over the pieces, and `distinct_pitches`, how many there are in all."""
    grids = [metrics.on_grid(tokens.decode(words)) for words in pieces]
    # A piece without notes has no scale; it has empty beats alone.
    measured = metrics.evaluate_set(grids, _NEAR)
    measured["empty_beat_rate"] = np.nan_to_num(measured["empty_beat_rate"], nan=1.0)
    means = {name: float(np.nan_to_num(values).mean()) for name, values in measured.items()}
    return means | {"distinct_pitches": float(len(np.unique(np.concatenate([grid.pitch for grid in grids]))))}


def collapsed(found: Mapping[str, Any], data: Mapping[str, float]) -> bool:
    """Fewer than half of the data's pitches, in a piece or in all, or a tenth more of empty beats."""
    fewer = any(found[name] < data[name] / 2 for name in ("pitch_count", "distinct_pitches"))
    return fewer or found["empty_beat_rate"] > data["empty_beat_rate"] + 0.1


def distance(found: Mapping[str, float], data: Mapping[str, float]) -> float:
    """From the data: the mean relative difference of pitch count, empty beat rate (to at least 0.02) and scale rate."""
    least = {"empty_beat_rate": _LEAST_EMPTY_BEATS}
    return float(np.mean([abs(found[name] - data[name]) / max(data[name], least.get(name, 0.0)) for name in _NEAR]))


def is_best(history: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the model of the last validation is the one to keep so far; see the top of this file."""
    most = _NLL_MARGIN * history[0]["validation"]
    fit = [not point["collapsed"] and point["validation"] <= most for point in history]
    before = [point["distance"] for point, fits in zip(history[:-1], fit, strict=False) if fits]
    return len(history) == 1 or (fit[-1] and history[-1]["distance"] < min(before, default=math.inf))


def refuse_without_warmup(folder: Path) -> None:
    """Refuse the folder of a run that had no warm-up of its own, before one is made.

    Raises:
        BadInput: it is one.
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
    """The adversarial part of a training, in a folder of its own; see `training.Run`.

    Raises:
        BadInput: as there; or a split without a piece of more words than are composed.
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
        # Of the last step.
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
        self._real = team.decided(lambda: _longer(corpus, "train", settings.tokens))
        excerpts = team.decided(lambda: _longer(corpus, "validation", settings.check_tokens))
        self._check_pieces = min(settings.check_pieces, len(excerpts))
        # As many pieces have as many pitches in all.
        several = excerpts[:: len(excerpts) // self._check_pieces][: self._check_pieces]
        self.of_data = qualities(excerpts) | {"distinct_pitches": qualities(several)["distinct_pitches"]}

    def train(self, report: Callable[[int, float, float | None], None] = lambda *_: None) -> Model:
        """See `training.Run.train`. The model to start from is validated first."""
        if not self.progress.history:
            torch.manual_seed(self.settings.seed)
            pieces = [piece.words for piece in self.corpus.split("validation")]
            _, self.progress = self.team.decided(lambda: self._pause(pieces, None, False))
        return super().train(report)

    def told(self, point: Mapping[str, Any]) -> str:
        """What was composed, the data in brackets."""
        names = {"pitch_count": "pitches a piece", "distinct_pitches": "in all", "empty_beat_rate": "empty beats"}
        parts = [f"{point[name]:.3g} {what} ({self.of_data[name]:.3g})" for name, what in names.items()]
        return "; composed: " + ", ".join(parts) + (", COLLAPSED" if point["collapsed"] else "")

    def step(self, pieces: Sequence[Words]) -> float:
        """See `training.Run.step`. The critic is updated before."""
        real, self._composed = self._excerpts()
        self.critic.requires_grad_(True)
        self._teach_critic(hard_rows(real), hard_rows(self._composed.words))
        self.critic.requires_grad_(False)
        return super().step(pieces)

    def _excerpts(self) -> tuple[torch.Tensor, Composed]:
        """This process's share of real words `[tokens, batch, 7]` and of composed ones."""
        settings, share = self.settings, self.team.share(self.settings.batch)
        # `draw_batch` draws from the parent.
        random = np.random.default_rng([settings.seed, self.progress.step]).spawn(1)[0]
        chosen = [self._real[i] for i in random.integers(len(self._real), size=settings.batch)]
        real = np.stack([training.transposed(words, settings.transpose, random) for words in chosen], axis=1)
        runner = training.as_deployed(self.network).runner()
        shape = settings.tokens, settings.batch
        noise = random.integers(max(1, runner.noise.values), size=(*shape, runner.noise.draws), dtype=np.int16)
        gumbel = random.gumbel(size=(*shape, tokens.N_AXONS)).astype(np.float32)
        words = composed(runner, gumbel[:, share], noise[:, share], self.device)
        return torch.from_numpy(real[:, share]).to(self.device), words

    def _teach_critic(self, real: torch.Tensor, fake: torch.Tensor) -> None:
        """One update of the critic by the hinge loss."""
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
        """The loss of likelihood, and what the critic thinks of the composed excerpts."""
        loss, nats = super().loss(batch)
        # In float32, as they were composed.
        logits, _ = self.network(self._composed.read)
        scores = self.critic(straight_through(logits, self._composed, self.settings.temperature))
        return loss - self.settings.weight * scores.sum() / self.settings.batch, nats

    def observed(self) -> dict[str, float | None]:
        """Metrics of composed pieces, whether they have collapsed, their distance from the data; the critic's loss."""
        runner = training.as_deployed(self.network.eval()).runner()
        seed, length = self.settings.seed, self.settings.check_tokens
        found = qualities(generate(runner, self._check_pieces, length, seed, _CHECKED, ended=False))
        verdict = {"collapsed": collapsed(found, self.of_data), "distance": distance(found, self.of_data)}
        return {**found, **verdict, "critic_loss": self.critic_loss}

    def is_best(self, bits: float) -> bool:
        """See `is_best` of this module; NLL alone does not decide."""
        return is_best(self.progress.history)

    def model(self) -> Model:
        """With the record of the warm-up, and the check of this model beside the data."""
        model, point = super().model(), self.progress.history[-1]
        check = {"composed": {name: point[name] for name in self.of_data}, "data": self.of_data}
        check |= {name: point[name] for name in ("collapsed", "distance")}
        return dataclasses.replace(model, training=model.training | {"warmup": self.initial.training, "check": check})

    def tensors(self) -> dict[str, torch.Tensor]:
        """Those of the generator, and of the critic."""
        return super().tensors() | training.tensors_of(self.critic, self.critic_optimiser, "critic.")

    def take_up(self, kept: training.State) -> None:
        """See `training.Run.take_up`."""
        super().take_up(kept)
        training.restore(kept.tensors, self.critic, self.critic_optimiser, "critic.")


def _longer(corpus: Corpus, split: str, length: int) -> list[Words]:
    """The first `length` words of the pieces that have more."""
    pieces = [piece.words for piece in corpus.split(split)]
    if not (longer := [words[:length] for words in pieces if len(words) > length]):
        raise BadInput(
            f"corpus {corpus.name}: its split {split} has no piece of more than {length} words, to compare composed "
            f"excerpts with; its longest has {max(map(len, pieces))}"
        )
    return longer
