"""Training: likelihood of the next compound word, by gradient through the spiking network.

A run lives in a folder: `state.safetensors` (weights, optimiser, step; its JSON header holds settings and history) from
which a killed run goes on to the same weights, and `model/`, the best model so far by validation NLL. Step k draws its
batch and its noise from (seed, k) alone, so the past of a run does not matter. Several processes share every batch and
add up their gradients (`processes.Team`): they go the way of one, up to the order of floating-point sums.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from muspike import architectures, tokens
from muspike.checkpoint import Model, load_model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput, Failed
from muspike.evaluation import CPU, Words, feature_losses, firing_rate, likelihood, lined_up, per_neuron
from muspike.files import write_whole
from muspike.network import Generator, Network, Rounding
from muspike.processes import ALONE, Team
from muspike.ranges import above_0, at_least, check, from_to, one_of, setting, share_below_1

PRECISIONS = ("float32", "bfloat16")
# Of the penalty on firing rates, where a target rate is asked for and the preset has none.
RATE_WEIGHT = 10.0
SCHEDULES = ("plateau", "cosine")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: updates of the weights, at most.
        batch: excerpts of an update.
        tokens: compound words of an excerpt.
        learning_rate: the largest; `warmup` and `schedule` say how it rises and falls.
        warmup: steps in which the learning rate rises in a straight line to its full height.
        weight_decay: of AdamW, on weight matrices alone.
        clip: the largest norm of the gradient; a longer one is shortened to it.
        dropout: share of the neurons that are silent towards the next populations for a whole excerpt, in training
            only.
        transpose: the largest transposition of an excerpt, in semitones each way.
        validate_every: steps between two validations.
        patience: validations without a gain, after which a plateau schedule halves the learning rate.
        halvings: how many times a plateau schedule does so; then training ends.
        target_rate: spikes per neuron and tick above which the firing of a population costs.
        rate_weight: weight in the loss of that cost, which is the squared excess, summed over populations.
        precision: of matrix products, "float32" or "bfloat16". In a spiking network only the backward pass follows it.
            Membranes, weights and validation are always float32.
        schedule: "plateau", or "cosine": to a hundredth over `steps` (Loshchilov & Hutter 2017).
        teacher_share: weight in the loss of what a teacher says, where there is one; the data have the rest.
        seed: of the first weights, of batches and of dropout.

    Raises:
        BadInput: a value outside its range.
    """

    steps: int = setting(6000, at_least(1))
    batch: int = setting(16, at_least(1))
    tokens: int = setting(256, at_least(1))
    learning_rate: float = setting(2e-3, above_0())
    warmup: int = setting(100, at_least(1))
    weight_decay: float = setting(0.0, at_least(0))
    clip: float = setting(1.0, above_0())
    dropout: float = setting(0.0, share_below_1())
    transpose: int = setting(6, from_to(0, 127))
    validate_every: int = setting(100, at_least(1))
    patience: int = setting(4, at_least(1))
    halvings: int = setting(5, at_least(0))
    target_rate: float = setting(1.0, from_to(0, 1))
    rate_weight: float = setting(0.0, at_least(0))
    precision: str = setting("float32", one_of(PRECISIONS))
    schedule: str = setting("plateau", one_of(SCHEDULES))
    teacher_share: float = setting(0.5, from_to(0, 1))
    seed: int = setting(0, at_least(0))

    def __post_init__(self) -> None:
        check(self, "training")


S = TypeVar("S", bound=Settings)


def fine_tuning(settings: S) -> S:
    """For a trained network: a tenth of the steps and of the learning rate, which falls all the way."""
    steps = max(1, settings.steps // 10)
    return dataclasses.replace(settings, steps=steps, learning_rate=settings.learning_rate / 10, schedule="cosine")


def draw_batch(pieces: Sequence[Words], settings: Settings, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of step `step`: excerpts that start at a bar (half of them at the first one), transposed at random."""
    random = np.random.default_rng([settings.seed, step])
    chosen, starts = [], []
    for index in random.integers(len(pieces), size=settings.batch):
        piece = pieces[index]
        chosen.append(transposed(piece, settings.transpose, random))
        bars = np.flatnonzero(piece[:, tokens.BAR_BEAT] == tokens.BarBeat.BAR)
        late = bars[bars < max(1, len(piece) - settings.tokens // 2)]
        starts.append(int(random.choice(late)) if random.random() < 0.5 else 0)
    return lined_up(chosen, starts, settings.tokens)


def transposed(piece: Words, largest: int, random: np.random.Generator) -> Words:
    """`piece` moved at random, at most `largest` semitones each way and so that every pitch stays a MIDI pitch."""
    pitch = piece[:, tokens.PITCH]
    pitch = pitch[pitch > 0] - 1
    low = max(-largest, -int(pitch.min())) if len(pitch) else 0
    high = min(largest, 127 - int(pitch.max())) if len(pitch) else 0
    return tokens.transpose(piece, int(random.integers(low, high + 1)))


_NOTHING: Mapping[str, torch.Tensor] = {}


@dataclasses.dataclass
class _Progress:
    """What a run remembers besides weights and optimiser."""

    step: int = 0
    halved: int = 0
    stale: int = 0
    best_bits: float = math.inf
    best_firing_rate: float | None = None
    last_gain_bits: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float | None]] = dataclasses.field(default_factory=list)


# Of glibc's malloc.h, with what glibc starts from.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = (-1, 128 * 1024), (-4, 65_536)


@contextlib.contextmanager
def with_held_memory() -> Iterator[None]:
    """Let glibc keep freed blocks for the next step, here only.

    Else it gives large ones back to the system at once, and every new one costs a page fault for each 4 KiB: a sixth
    of the time of a step on the CPU. With other C libraries nothing changes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_M_TRIM_THRESHOLD[0], 2**31 - 1)
        mallopt(_M_MMAP_MAX[0], 0)
    try:
        yield
    finally:
        if mallopt:
            mallopt(*_M_TRIM_THRESHOLD)
            mallopt(*_M_MMAP_MAX)


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Round denormal numbers to 0, here only: membranes and gradients that decay through silence end in them.

    They cost a CPU tens of cycles each. The setting is that of this thread and of threads that it starts.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def tensors_digest(tensors: Mapping[str, torch.Tensor], *about: Mapping[str, Any]) -> str:
    """Of the bytes of all tensors, by name, and of JSON-able `about`."""
    sha256 = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        sha256.update(name.encode() + tensors[name].cpu().numpy().tobytes())
    return sha256.hexdigest()


def _decisive(training: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a run must keep; those that it was made without are as they are by default.

    How fast to train is none of them, nor how long, where the schedule does not hang on it: a run may be taken up
    with another learning rate, and on a plateau schedule for more steps.
    """
    whole = dataclasses.asdict(Settings()) | dict(training)
    free = ("learning_rate", "steps") if whole["schedule"] == "plateau" else ("learning_rate",)
    return {key: value for key, value in whole.items() if key not in free}


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first entry in which two tables differ, in words."""
    for key in {**found, **wanted}:
        one, other = found.get(key), wanted.get(key)
        if one != other:
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                return f"{key} {_difference(one, other)}"
            return f"{key} {one}, asked for is {other}"
    return None


class Batch(NamedTuple):
    """This process's share of the excerpts of a step, `[tokens, pieces, 7]`; the counts are of the whole batch."""

    words: torch.Tensor
    wanted: torch.Tensor
    n_words: int
    n_notes: int


class State(NamedTuple):
    """What `state.safetensors` holds."""

    progress: _Progress
    tensors: dict[str, torch.Tensor]


class Grid(Protocol):
    """The weights that a chip can hold (`muspike.export.training_grid`)."""

    @property
    def chip(self) -> str:
        """The chip's name."""

    def rounding(self, network: Network) -> Rounding:
        """What rounds the weights of `network` to the grid."""


class Run:
    """One training run in a folder; made anew, or taken up where it stood.

    Args:
        folder: of the run. With a `team`, the first process alone writes to it.
        architecture, network_settings: what `architectures.build` makes the network of.
        initial: the model whose weights the run starts from; None: they are drawn.
        teacher: a model whose distributions are learned beside the data.
        team: the processes that train together. Each makes the same Run and calls `train`.
        grid: the weights that a chip can hold. Training and validation compute with the weights rounded to it. The
            model that is kept has the rounded weights, the state has those behind them.

    Another kind of training is a subclass (`adversarial.Run`). It may override these methods and no other; each says
    what it must give, and the first process alone calls `observed`, `is_best` and `model`:

        train       the whole training
        step        one update of the weights
        loss        what an update descends
        observed    what a validation notes besides likelihood and firing rate
        told        that note, for people
        is_best     whether the newest model is the one to keep
        model       the model to keep
        tensors     what the state holds
        take_up     the way back from a state

    Raises:
        BadInput: the folder holds a run of other settings, another model or a damaged state; `initial` is another
            network; a split without notes; a batch that the processes cannot share evenly.
    """

    def __init__(
        self,
        folder: Path,
        architecture: str,
        network_settings: dict[str, Any],
        settings: Settings,
        corpus: Corpus,
        *,
        device: torch.device = CPU,
        initial: Model | None = None,
        teacher: Model | None = None,
        team: Team = ALONE,
        grid: Grid | None = None,
    ) -> None:
        self.folder, self.architecture, self.settings, self.corpus = folder, architecture, settings, corpus
        self.grid = grid
        self.network_settings, self.device, self.initial, self.team = network_settings, device, initial, team
        self.teacher = teacher
        self.identity = {
            "architecture": architecture,
            "network": network_settings,
            "training": _decisive(dataclasses.asdict(settings)),
            "corpus": [corpus.name, corpus.digest],
            "initial": initial and tensors_digest(initial.network.state_dict()),
            "teacher": teacher and tensors_digest(teacher.network.state_dict()),
            "quantise": grid and grid.chip,
        }
        kept, network = team.decided(lambda: (self._examined(), self._built()))
        self.network: Generator = network.to(device)
        # A spiking network keeps to float32 on the way forward: its spikes are those of the deployed network.
        self._autocast = settings.precision == "bfloat16" and not isinstance(self.network, Network)
        if settings.precision == "bfloat16" and isinstance(self.network, Network):
            self.network.low_precision = True
        parameters = list(self.network.parameters())
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [p for p in parameters if p.ndim > 1], "weight_decay": settings.weight_decay},
                {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0},
            ],
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
        )
        self.progress = _Progress()
        # Of the last step: mean per neuron and tick over all spiking populations.
        self.firing_rate: float | None = None
        if kept:
            self.take_up(kept)

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def model_folder(self) -> Path:
        """Where the best model so far lies."""
        return self.folder / "model"

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        warm = min(1.0, (self.progress.step + 1) / self.settings.warmup)
        if self.settings.schedule == "cosine":
            done = self.progress.step / self.settings.steps
            fallen = 0.505 + 0.495 * math.cos(math.pi * done)
            return self.settings.learning_rate * warm * fallen
        return self.settings.learning_rate * warm * 0.5**self.progress.halved

    def train(self, report: Callable[[int, float, float | None], None] = lambda *_: None) -> Model:
        """Train to the end; `report(step, training bits per note, validation bits per note or None)` after each step.

        Returns the best model. Raises Failed where the loss, a gradient or a weight is not a number, leaving the last
        good state.
        """
        settings = self.settings
        training = [piece.words for piece in self.corpus.split("train")]
        validation = [piece.words for piece in self.corpus.split("validation")]
        started = time.monotonic() - self.progress.seconds
        with _without_denormals(), with_held_memory():
            while self.progress.step < settings.steps and self.progress.halved <= settings.halvings:
                bits = self.step(training)
                self.progress.step += 1
                validated = None
                due = self.progress.step % settings.validate_every == 0
                if due or self.progress.step == settings.steps:
                    self.progress.seconds = time.monotonic() - started
                    validated, self.progress = self.team.decided(lambda: self._pause(validation, bits, due))  # noqa: B023
                report(self.progress.step, bits, validated)
        return self.team.decided(lambda: load_model(self.model_folder))

    # --- what another kind of training may override; see the docstring of the class ---

    def told(self, point: Mapping[str, float | None]) -> str:
        """What `observed` noted at the validation `point` of the history, in words that follow its NLL and rate."""
        return ""

    def step(self, pieces: Sequence[Words]) -> float:
        """Update the weights once, with excerpts of `pieces`; training bits per note of its batch."""
        settings, step = self.settings, self.progress.step
        batch = self._draw(pieces)
        torch.manual_seed(settings.seed * 1_000_003 + step)
        self.network.train()
        self.optimiser.zero_grad(set_to_none=True)
        with self.team.drawing():
            loss, nats = self.loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        summed = self.team.sum_gradients(self.network.parameters(), torch.stack([loss.detach(), nats.detach()]))
        total, nats_in_all = summed.tolist()
        if not math.isfinite(total):
            self.team.decided(lambda: self.refuse_step("loss", total))
        self._update()
        return float(nats_in_all) / math.log(2) / max(1, batch.n_notes)

    def loss(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The loss of this process's share of a batch, and its NLL in nats; both are scalars.

        The gradient that the weights receive is the sum of those of all processes.
        """
        rates: dict[str, torch.Tensor] = {}
        logits = self._forward(batch.words, rates)
        nats = feature_losses(logits, batch.wanted).sum()
        return self._taught(logits, nats, batch) / batch.n_words + self._rate_penalty(rates), nats

    def observed(self) -> dict[str, float | None]:
        """What the history notes at a validation besides NLL and firing rate, by name; JSON-able."""
        return {}

    def is_best(self, bits: float) -> bool:
        """Whether the newest validation, of `bits` per note and last in the history, has the best model so far."""
        return bits < self.progress.best_bits

    def model(self) -> Model:
        """The network as it would be deployed now, with the record of its training."""
        progress = self.progress
        training = {
            "corpus": self.corpus.name,
            "corpus_digest": self.corpus.digest,
            "settings": dataclasses.asdict(self.settings),
            "initial": self.identity["initial"],
            "initial_training": self.initial and self.initial.training,
            "teacher": self.identity["teacher"],
            "quantise": self.identity["quantise"],
            "step": progress.step,
            "validation_bits_per_note": progress.best_bits,
            "validation_firing_rate": progress.best_firing_rate,
            "history": progress.history,
        }
        return Model(self.architecture, self.network_settings, as_deployed(self.network), training)

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors that the run needs to go on from here, by name."""
        return tensors_of(self.network, self.optimiser)

    def take_up(self, kept: State) -> None:
        """Go on from `kept`, which holds what `tensors` gave."""
        self.progress = kept.progress
        restore(kept.tensors, self.network, self.optimiser)

    # --- what all kinds of training share ---

    def _examined(self) -> State | None:
        """What the folder holds of this run, if anything, once all that was given is found good."""
        if self.settings.batch % self.team.size:
            raise BadInput(
                f"training: a batch of {self.settings.batch} pieces cannot be shared evenly by {self.team.size} "
                "processes; start a number of them that divides it"
            )
        for split in ("train", "validation"):
            pieces = self.corpus.split(split)
            if not any((piece.words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).any() for piece in pieces):
                raise BadInput(
                    f"corpus {self.corpus.name}: its split {split} holds no notes, in {len(pieces)} pieces (of "
                    f"{len(self.corpus.pieces)}); training needs pieces in train and in validation"
                )
        if (self.folder / "model.json").exists():
            raise BadInput(f"{self.folder}: is the folder of a model; choose another folder for the run with -o")
        if self._state_file.exists():
            return self._read_state()
        if (self.model_folder / "model.json").exists():
            found = load_model(self.model_folder)
            if differs := self._differs(found):
                raise BadInput(
                    f"{self.model_folder}: holds a trained model of {differs}, which the run would replace; "
                    "choose another folder with -o"
                )
        return None

    def _differs(self, model: Model) -> str | None:
        """How the network of `model` is not that of this run, if so."""
        wanted = _network_of(self.architecture, self.network_settings)
        return _difference(_network_of(model.architecture, model.settings), wanted)

    def _built(self) -> Generator:
        torch.manual_seed(self.settings.seed)
        network = architectures.build(self.architecture, self.network_settings)
        if self.initial:
            if differs := self._differs(self.initial):
                raise BadInput(f"the initial model has {differs}; it must be the same network")
            network.load_state_dict(self.initial.network.state_dict())
        if self.grid:
            if not isinstance(network, Network):
                raise BadInput(f"{self.architecture} does not spike: it cannot be trained on the grid of a chip")
            network.rounding = self.grid.rounding(network)
        return network

    def _draw(self, pieces: Sequence[Words]) -> Batch:
        words, wanted = draw_batch(pieces, self.settings, self.progress.step)
        kind = wanted[..., tokens.BAR_BEAT]
        share = self.team.share(self.settings.batch)
        return Batch(
            words[:, share].to(self.device),
            wanted[:, share].to(self.device),
            int((kind != tokens.BarBeat.PAD).sum()),
            int((kind == tokens.BarBeat.NOTE).sum()),
        )

    def _taught(self, logits: torch.Tensor, nats: torch.Tensor, batch: Batch) -> torch.Tensor:
        """`nats`, mixed with what the teacher would have said, where there is one (Hinton et al. 2015)."""
        if self.teacher is None:
            return nats
        with torch.no_grad():
            teacher_logits, _ = self.teacher.network.to(self.device)(batch.words)
        share = self.settings.teacher_share
        return (1 - share) * nats + share * feature_losses(logits, batch.wanted, teacher_logits).sum()

    def _forward(self, words: torch.Tensor, rates: dict[str, torch.Tensor]) -> torch.Tensor:
        """Logits of `words` in training; `rates` receives the mean firing rate of every population."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            logits: torch.Tensor
            logits, _ = self.network(words, regularise=rates, dropout=self.settings.dropout)
        return logits.float()

    def _rate_penalty(self, rates: Mapping[str, torch.Tensor]) -> torch.Tensor | float:
        """Of mean firing rates of the whole batch above the target."""
        if not isinstance(self.network, Network) or not rates:
            return 0.0
        settings = self.settings
        mean = self.team.mean(torch.stack(list(rates.values())))
        self.firing_rate = per_neuron(self.network, rates, mean)
        if not settings.rate_weight:
            return 0.0
        return settings.rate_weight * ((mean - settings.target_rate).relu() ** 2).sum()

    def _update(self) -> None:
        """Move the weights along their gradients, which are finite, or refuse to."""
        gradients = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        norm = torch.nn.utils.get_total_norm(gradients.values())
        if not math.isfinite(norm):
            self.team.decided(lambda: self.refuse_step("norm of the gradient", float(norm), gradients))
        torch.nn.utils.clip_grads_with_norm_(self.network.parameters(), self.settings.clip, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate
        self.optimiser.step()

    def refuse_step(self, what: str, value: float, gradients: Mapping[str, torch.Tensor] = _NOTHING) -> NoReturn:
        """End the training because `what`, a result of this step, has the value `value`, which is not finite.

        Raises:
            Failed: names the first weight, else the first of `gradients`, else `what`, that is not finite.
        """
        self._refuse_unless_finite("", self.tensors())
        self._refuse_unless_finite("gradient of ", gradients)
        self._refuse(what, value)

    def _refuse_unless_finite(self, what: str, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            bad = tensor[~tensor.isfinite()]
            if len(bad):
                self._refuse(f"{what}{name}", float(bad[0]))

    def _refuse(self, what: str, value: float) -> NoReturn:
        kept = self.progress.history[-1]["step"] if self.progress.history else 0
        goes_on = f"goes on from step {kept}, the last good state, kept in {self.folder}"
        raise Failed(
            f"training: the {what} is {value} at step {self.progress.step}; the same command with a --learning-rate "
            f"below {self.settings.learning_rate:g} {goes_on if kept else 'starts anew: no state was kept yet'}"
        )

    def _pause(self, pieces: Sequence[Words], training_bits: float | None, due: bool) -> tuple[float, _Progress]:
        """Validate, and keep the state; validation bits per note."""
        self._refuse_unless_finite("", self.tensors())
        bits = self._validate(pieces, training_bits, due)
        self._keep()
        return bits, self.progress

    def _validate(self, pieces: Sequence[Words], training_bits: float | None, due: bool) -> float:
        """Validate, keep the model where it is the best; where `due`, also decide on the learning rate."""
        progress = self.progress
        bits, rate = self._evaluate(pieces)
        if not math.isfinite(bits):
            self._refuse("validation NLL", bits)
        progress.history.append(
            {
                "step": progress.step,
                "train": training_bits,
                "validation": bits,
                "firing_rate": rate,
                "rate": self.learning_rate,
                **self.observed(),
            }
        )
        if self.is_best(bits):
            progress.best_bits, progress.best_firing_rate = bits, rate
            save_model(self.model(), self.model_folder)
        # A thousandth is within what another batch order gives: less, in all, is no gain worth waiting for.
        if bits < progress.last_gain_bits * 0.999:
            progress.last_gain_bits, progress.stale = bits, 0
        elif due:
            progress.stale += 1
        if progress.stale >= self.settings.patience and self.settings.schedule == "plateau":
            progress.halved, progress.stale = progress.halved + 1, 0
        return bits

    def _evaluate(self, pieces: Sequence[Words]) -> tuple[float, float | None]:
        """Bits per note, in float32, and the firing rate."""
        network = self.network.eval()
        found = likelihood(lambda words: network(words)[0], pieces, device=self.device)
        return found.bits_per_note, firing_rate(network, pieces)

    def _keep(self) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.tensors().items()}
        progress = dataclasses.asdict(self.progress)
        sha256 = tensors_digest(tensors, self.identity, progress)
        header = {"identity": self.identity, "progress": progress, "sha256": sha256}
        blob = save(tensors, metadata={"muspike": json.dumps(header)})
        with write_whole(self._state_file) as path:
            path.write_bytes(blob)

    def _read_state(self) -> State:
        try:
            with safe_open(self._state_file, "pt") as file:
                header = json.loads(file.metadata()["muspike"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            if header["sha256"] != tensors_digest(tensors, header["identity"], header["progress"]):
                raise ValueError("its content does not match its sha256")
            found = header["identity"] | {"training": _decisive(header["identity"]["training"])}
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{self._state_file}: is damaged ({error}); remove it to start anew") from error
        if differs := _difference(found, json.loads(json.dumps(self.identity))):
            raise BadInput(
                f"{self.folder}: holds a run with {differs}; choose another folder with -o, or the same settings"
            )
        return State(_Progress(**header["progress"]), tensors)


def tensors_of(network: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights and optimiser moments by name; moments that do not exist yet are left out."""
    tensors = {}
    for name, parameter in network.named_parameters():
        tensors[f"{prefix}network.{name}"] = parameter.detach()
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{prefix}optimiser.{key}.{name}"] = value
    return tensors


def restore(
    tensors: Mapping[str, torch.Tensor], network: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = ""
) -> None:
    """Take back what `tensors_of` gave."""
    parameters = dict(network.named_parameters())
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"{prefix}network.{name}"])
    for path, tensor in tensors.items():
        if path.startswith(start := f"{prefix}optimiser."):
            key, _, name = path.removeprefix(start).partition(".")
            parameter = parameters[name]
            # AdamW counts its steps on the CPU.
            optimiser.state[parameter][key] = tensor if key == "step" else tensor.to(parameter.device)


def as_deployed(network: Generator) -> Generator:
    """The network; where its weights are rounded in training, one that has them rounded for good."""
    if not isinstance(network, Network) or network.rounding is None:
        return network
    populations = tuple(network.populations.values())
    deployed = Network(populations, network.synapses, network.timing, network.composites, network.noise)
    rounded = network.rounding(dict(network.weights))
    deployed.load_state_dict(network.state_dict() | {f"weights.{name}": w for name, w in rounded.items()})
    return deployed


def _network_of(architecture: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a network, with the defaults of its architecture."""
    config = architectures.configured(architectures.find(architecture).config, settings, f"architecture {architecture}")
    return {"architecture": architecture, "network": dataclasses.asdict(config)}
