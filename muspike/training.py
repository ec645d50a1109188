"""Training: maximise the likelihood of the next compound word, by gradient descent through the spiking network.

A run lives in a folder. Its `state.safetensors` holds weights, optimiser and step, and settings and history in its JSON
header. A killed run continues from this file and reaches the same weights. `model/` holds the best model so far by
validation NLL.

Step k draws its batch and its noise from (seed, k) alone, so a batch does not depend on the steps before it. Several
processes can share every batch and add up their gradients (`processes.Team`). Their result is that of one process, up
to the order of floating-point sums.
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
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from muspike import architectures, sounding, tokens
from muspike.checkpoint import Model, load_model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput, Diverged
from muspike.evaluation import feature_losses, firing_rate, likelihood, lined_up, parallel_losses, per_neuron
from muspike.files import check_file, remove_temporaries, write_whole
from muspike.labels import UNKNOWN, Rows
from muspike.model_folder import LARGEST_WEIGHTS
from muspike.network import Generator, Network, Rounding
from muspike.processes import ALONE, CPU, Team
from muspike.ranges import (
    LEARNING_RATE,
    RATE,
    SEED,
    STEPS,
    above_0,
    at_least,
    check,
    from_to,
    one_of,
    setting,
    share_below_1,
)
from muspike.tokens import Words

PRECISIONS = ("float32", "bfloat16")
# Weight of the penalty on firing rates, if a recipe asks for a target rate and its preset has no such weight.
RATE_WEIGHT = 10.0
SCHEDULES = ("plateau", "cosine")
_STATE = "state.safetensors"


def precision_on(device: torch.device, wanted: str) -> str:
    """The precision of matrix products to train in on a device, one of `PRECISIONS`, where `wanted` is the settings'.

    A GPU gets bfloat16 if it supports it. A CPU gets what is wanted, but float32 if it has no AVX-512: it would emulate
    products in bfloat16, which takes many times as long.
    """
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    quick = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return wanted if quick else "float32"


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: the most updates of the weights.
        batch: number of excerpts in an update.
        tokens: number of compound words in an excerpt.
        learning_rate: the largest learning rate; `warmup` and `schedule` say how it rises and falls.
        warmup: number of steps in which the learning rate rises in a straight line to its full value.
        weight_decay: weight decay of AdamW, on weight matrices alone.
        clip: the largest norm of the gradient; a longer gradient is shortened to it.
        dropout: in training, the share of a population's neurons that the next populations do not hear, for a whole
            excerpt.
        transpose: the largest transposition of an excerpt, in semitones up or down.
        validate_every: number of steps between two validations.
        patience: number of validations without a gain after which a plateau schedule halves the learning rate.
        halvings: number of times that a plateau schedule halves the learning rate. Training ends with the next halving.
        target_rate: a firing rate of a population above this, in spikes per neuron and tick, is penalised.
        rate_weight: weight of this penalty in the loss. The penalty is the squared excess, summed over populations.
        floor_rate: a neuron that fires below this rate, in spikes per tick, is penalised. It applies to the neurons
            that trained synapses reach, outside composites.
        floor_weight: weight of this penalty in the loss. The penalty is (1 - rate / floor_rate)^2, summed over neurons.
        precision: of matrix products, "float32" or "bfloat16". A spiking network uses it in the backward pass alone; a
            teacher that does not spike computes in it. Membranes, weights and validation are always float32.
        schedule: "plateau" halves the learning rate (see `patience`); "cosine" lowers it to a hundredth over `steps`
            (Loshchilov & Hutter 2017).
        teacher_share: weight of the teacher's distributions in the loss, if there is a teacher. The data have the rest.
        parallels_weight: weight in the loss of the pitches that would move in parallel (`evaluation.parallel_losses`).
        label_dropout: the share of excerpts that are read without some of their labels, so that the network also
            composes without one. Each set of labels that are left out, of one label or more, has the same chance.
        seed: of the first weights, of batches, of dropout and of labels that are left out.

    Raises:
        BadInput: a value is outside its range.
    """

    steps: int = setting(6000, STEPS)
    batch: int = setting(16, at_least(1))
    tokens: int = setting(256, at_least(1))
    learning_rate: float = setting(2e-3, LEARNING_RATE)
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
    floor_rate: float = setting(1e-3, RATE)
    floor_weight: float = setting(0.0, at_least(0))
    precision: str = setting("float32", one_of(PRECISIONS))
    schedule: str = setting("plateau", one_of(SCHEDULES))
    teacher_share: float = setting(0.5, from_to(0, 1))
    parallels_weight: float = setting(0.0, at_least(0))
    label_dropout: float = setting(0.1, from_to(0, 1))
    seed: int = setting(0, SEED)

    def __post_init__(self) -> None:
        check(self, "training")


S = TypeVar("S", bound=Settings)


def fine_tuning(settings: S) -> S:
    """`settings` for a network that is trained already: a tenth of the steps and learning rate, a cosine schedule."""
    steps = max(1, settings.steps // 10)
    return dataclasses.replace(settings, steps=steps, learning_rate=settings.learning_rate / 10, schedule="cosine")


def draw_batch(
    pieces: Sequence[Words], settings: Settings, step: int, labels: Rows | None = None
) -> tuple[torch.Tensor, torch.Tensor, sounding.State]:
    """Draw the batch of step `step`: inputs and targets, each `[tokens, batch, 7]`, and what has sounded before them.

    With the labels of the pieces, `[pieces, names]`, the inputs are `[tokens, batch, 7 + names]`; some labels are left
    out (`label_dropout`). The excerpts are the same with and without labels.

    An excerpt starts at the first bar of its piece or, with a chance of one half, at a random bar. The random bar lies
    more than half an excerpt before the end of the piece, unless it is the first. Excerpts are transposed at random.
    """
    random = np.random.default_rng([settings.seed, step])
    chosen, starts = [], []
    indices = random.integers(len(pieces), size=settings.batch)
    for index in indices:
        piece = pieces[index]
        chosen.append(transposed(piece, settings.transpose, random))
        bars = np.flatnonzero(piece[:, tokens.BAR_BEAT] == tokens.BarBeat.BAR)
        late = bars[bars < max(1, len(piece) - settings.tokens // 2)]
        starts.append(int(random.choice(late)) if random.random() < 0.5 else 0)
    rows = None
    if labels is not None:
        # The second child of the generator; the first one is that of `adversarial.Run`.
        rows = partly_unknown(labels[indices], settings.label_dropout, random.spawn(2)[1])
    words, wanted = lined_up(chosen, starts, settings.tokens, rows)
    # The first input is the word before the excerpt.
    return words, wanted, sounding.heard_before(chosen, [max(0, start - 1) for start in starts])


def partly_unknown(rows: Rows, share: float, random: np.random.Generator) -> Rows:
    """`rows` `[pieces, names]`, where a share of the pieces has some labels or all of them left out.

    Each set of labels that are left out, of one label or more, has the same chance.
    """
    pieces, names = rows.shape
    hit = random.random((pieces, 1)) < share
    sets: npt.NDArray[np.int64] = random.integers(1, 1 << names, size=pieces)
    out = (sets[:, None] >> np.arange(names)) & 1 == 1
    return np.where(hit & out, UNKNOWN, rows).astype(np.int16)


def transposed(piece: Words, largest: int, random: np.random.Generator) -> Words:
    """`piece` transposed at random, by at most `largest` semitones up or down, with every pitch still in 0 to 127."""
    pitch = piece[:, tokens.PITCH]
    pitch = pitch[pitch > 0] - 1
    low = max(-largest, -int(pitch.min())) if len(pitch) else 0
    high = min(largest, 127 - int(pitch.max())) if len(pitch) else 0
    return tokens.transpose(piece, int(random.integers(low, high + 1)))


_NOTHING: Mapping[str, torch.Tensor] = {}


@dataclasses.dataclass
class _Progress:
    """What a run remembers besides weights and optimiser.

    Attributes:
        step: number of updates so far.
        halved: number of times that the learning rate was halved.
        stale: number of regular validations since the last gain or halving.
        best_bits: validation bits per note of the best model.
        best_firing_rate: firing rate of the best model, in spikes per neuron and tick.
        last_gain_bits: validation bits per note at the last gain.
        seconds: time that the run has taken up to the last validation, in all its continuations.
        history: a row for each validation.
    """

    step: int = 0
    halved: int = 0
    stale: int = 0
    best_bits: float = math.inf
    best_firing_rate: float | None = None
    last_gain_bits: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float | None]] = dataclasses.field(default_factory=list)


# Options of glibc's mallopt (malloc.h), each with the value that glibc starts with.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = (-1, 128 * 1024), (-4, 65_536)


@contextlib.contextmanager
def with_held_memory() -> Iterator[None]:
    """Inside the `with` block, let glibc keep freed memory for the next step.

    By default glibc returns large blocks to the system at once. A new block then costs a page fault for each 4 KiB,
    which takes a sixth of the time of a step on the CPU. With other C libraries nothing changes.
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
def without_denormals() -> Iterator[None]:
    """Inside the `with` block, round denormal numbers to 0.

    Membranes and gradients that decay in silence become denormal, and each operation on a denormal number costs a CPU
    tens of cycles. The setting holds for this thread and for the threads that it starts.
    """
    before = not (torch.tensor(1e-38) * 0.1).any()  # torch does not tell
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(bool(before))


def tensors_digest(tensors: Mapping[str, torch.Tensor], *about: Mapping[str, Any]) -> str:
    """The sha256, as hex, of the names and bytes of all tensors and of the JSON-able `about`."""
    sha256 = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        sha256.update(name.encode() + tensors[name].cpu().numpy().tobytes())
    return sha256.hexdigest()


def _decisive(training: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of training that must be the same when a run is continued. Missing ones take their default.

    The learning rate may differ. On a plateau schedule the number of steps may differ too, because the schedule does
    not depend on it.
    """
    whole = dataclasses.asdict(Settings()) | dict(training)
    free = ("learning_rate", "steps") if whole["schedule"] == "plateau" else ("learning_rate",)
    return {key: value for key, value in whole.items() if key not in free}


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str | None:
    """The first entry in which two tables differ, in words; None if they are equal."""
    for key in {**found, **wanted}:
        one, other = found.get(key), wanted.get(key)
        if one != other:
            if isinstance(one, Mapping) and isinstance(other, Mapping):
                return f"{key} {_difference(one, other)}"
            return f"{key} {one}, the recipe has {other}"
    return None


class Batch(NamedTuple):
    """This process's share of the excerpts of a step.

    Attributes:
        words: the network's inputs, `[tokens, pieces, 7]`, with the labels of a network that hears some.
        wanted: the values to predict, `[tokens, pieces, 7]`.
        heard: what has sounded before the words.
        n_words: words to predict in the whole batch, of all processes.
        n_notes: NOTEs to predict in the whole batch, of all processes.
    """

    words: torch.Tensor
    wanted: torch.Tensor
    heard: sounding.State
    n_words: int
    n_notes: int


class State(NamedTuple):
    """The content of `state.safetensors`: the progress of the run, and its tensors by name."""

    progress: _Progress
    tensors: dict[str, torch.Tensor]


class Grid(Protocol):
    """The grid of weights that a chip can hold. `muspike.export.training_grid` makes one."""

    @property
    def chip(self) -> str:
        """The chip's name."""

    def rounding(self, network: Network) -> Rounding:
        """The function that rounds the weights of `network` to the grid."""


class Run:
    """One training run in a folder: a new run, or the continuation of the run that the folder holds.

    Args:
        folder: where the run lives. With a `team`, only the first process writes to it.
        architecture: name of the network's architecture.
        network_settings: settings of the network, for `architectures.build`.
        settings: how to train.
        corpus: the pieces, in the splits train and validation.
        device: where the network is computed.
        initial: a model of the same network, whose weights the run starts with. None: they are drawn from the seed.
        teacher: a model whose distributions are learned beside the data.
        team: the processes that train together. Each makes the same Run and calls `train`.
        grid: the weights that a chip can hold. Training and validation compute with the weights rounded to this grid.
            The kept model has the rounded weights; the state has the weights before rounding.

    Another kind of training is a subclass (`adversarial.Run`). It may override these methods and no others. The first
    process alone calls `observed`, `is_best` and `model`.

        train       the whole training
        step        one update of the weights
        loss        the loss whose gradient an update follows
        observed    what a validation notes besides likelihood and firing rate
        told        the note of `observed`, for people
        is_best     whether the newest model is the one to keep
        model       the model to keep
        tensors     the tensors in the state
        take_up     continuing from a state

    It may call `pause`, which validates and keeps the state, and `refuse_step`, which ends the training.

    Raises:
        BadInput: the folder holds a run with other settings, another model or a damaged state; `initial` is another
            network; a grid is given for a network that does not spike; a split has no notes; the processes cannot share
            a batch evenly; the corpus lacks a label that the network hears, or has other values of it; the teacher
            hears other labels; the settings have a `floor_weight`, and no neuron can have a floor.
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
        # The labels of the pieces, None if the network hears none.
        self.labels = {split: self._rows(split) for split in ("train", "validation")}
        # A spiking network computes its forward pass in float32, so that its spikes are the deployed network's.
        self._autocast = settings.precision == "bfloat16" and not isinstance(self.network, Network)
        if settings.precision == "bfloat16" and isinstance(self.network, Network):
            self.network.low_precision = True
        # The populations whose neurons have a floor under their rate.
        self._floored: list[str] = []
        if settings.floor_weight:
            if isinstance(self.network, Network):
                self._floored = [name for name in self.network.recordable if self.network.is_trained(name)]
            if not self._floored:
                raise BadInput(
                    f"training: floor_weight {settings.floor_weight:g}: {architecture} has no spiking neurons outside "
                    "composites; leave it 0"
                )
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
        # Of the last step: mean spikes per neuron and tick, over all spiking populations.
        self.firing_rate: float | None = None
        if kept:
            self.take_up(kept)

    def _rows(self, split: str) -> Rows | None:
        labels = self.network.labels
        if not labels:
            return None
        return labels.rows(self.corpus.labels(split) if split == "train" else self.corpus.evaluated_labels(split))

    @property
    def _state_file(self) -> Path:
        return self.folder / _STATE

    @property
    def model_folder(self) -> Path:
        """The folder of the best model so far."""
        return self.folder / "model"

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step."""
        warm = min(1.0, (self.progress.step + 1) / self.settings.warmup)
        if self.settings.schedule == "cosine":
            done = self.progress.step / self.settings.steps
            fallen = 0.505 + 0.495 * math.cos(math.pi * done)
            return self.settings.learning_rate * warm * fallen
        return self.settings.learning_rate * warm * 0.5**self.progress.halved

    def train(self, report: Callable[[int, float, float | None], None] = lambda *_: None) -> Model:
        """Train to the end and return the best model.

        Args:
            report: called after each step with its number, the training bits per note, and the validation bits per note
                (None if the step had no validation).

        Raises:
            Failed: the loss, a gradient or a weight is not finite. The last good state stays in the folder.
        """
        settings = self.settings
        training, validation = self.corpus.words("train"), self.corpus.evaluated("validation")
        started = time.monotonic() - self.progress.seconds
        with without_denormals(), with_held_memory():
            while self.progress.step < settings.steps and self.progress.halved <= settings.halvings:
                bits = self.step(training)
                self.progress.step += 1
                validated = None
                due = self.progress.step % settings.validate_every == 0
                if due or self.progress.step == settings.steps:
                    self.progress.seconds = time.monotonic() - started
                    validated, self.progress = self.team.decided(lambda: self.pause(validation, bits, due))  # noqa: B023
                report(self.progress.step, bits, validated)
        return self.team.decided(lambda: load_model(self.model_folder))

    # --- what another kind of training may override; see the docstring of the class ---

    def told(self, point: Mapping[str, float | None]) -> str:
        """The note of `observed` in the row `point` of the history, as text that follows its NLL and firing rate."""
        return ""

    def step(self, pieces: Sequence[Words]) -> float:
        """Update the weights once, with excerpts of `pieces`, and return the training bits per note of the batch."""
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
        """The loss of this process's share of a batch, and the share's NLL in nats; both are scalars.

        The weights receive the sum of the gradients of all processes.
        """
        rates: dict[str, torch.Tensor] = {}
        logits, spikes = self._forward(batch, rates)
        nats = feature_losses(logits, batch.wanted).sum()
        wanted = self._taught(logits, nats, batch)
        if self.settings.parallels_weight:
            wanted = wanted + self.settings.parallels_weight * parallel_losses(
                logits, batch.wanted, batch.words, batch.heard
            )
        return wanted / batch.n_words + self._rate_penalty(rates) + self._floor_penalty(spikes), nats

    def observed(self) -> dict[str, float | None]:
        """Values that a validation adds to the history besides NLL and firing rate, by name; JSON-able."""
        return {}

    def is_best(self, bits: float) -> bool:
        """Whether the newest model is the best so far. It has `bits` per note and the last row of the history."""
        return bits < self.progress.best_bits

    def model(self) -> Model:
        """The network as it would be deployed now, and the record of its training."""
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
        """All tensors that the run needs to continue from here, by name."""
        return tensors_of(self.network, self.optimiser)

    def take_up(self, kept: State) -> None:
        """Continue from the state `kept`. Its tensors are those that `tensors` returned."""
        self.progress = kept.progress
        restore(kept.tensors, self.network, self.optimiser)

    # --- what all kinds of training share ---

    def _examined(self) -> State | None:
        """Check the batch, the corpus and the folder. Return the state of this run in the folder, None without one.

        Raises:
            BadInput: one of these checks fails; see the docstring of the class.
        """
        if self.settings.batch % self.team.size:
            raise BadInput(
                f"training: a batch of {self.settings.batch} pieces cannot be shared evenly by {self.team.size} "
                "processes; start a number of them that divides it"
            )
        for split in ("train", "validation"):
            pieces = self.corpus.words(split)
            if not any((words[:, tokens.BAR_BEAT] == tokens.BarBeat.NOTE).any() for words in pieces):
                raise BadInput(
                    f"corpus {self.corpus.name}: its split {split} holds no notes, in {len(pieces)} pieces (of "
                    f"{len(self.corpus.pieces)}); training needs pieces in train and in validation"
                )
        if (self.folder / "model.json").exists():
            raise BadInput(f"{self.folder}: is the folder of a model; choose another folder for the run with -o")
        remove_temporaries(self._state_file)
        if self._state_file.exists():
            return self._read_state()
        if (self.model_folder / "model.json").exists():
            found = load_model(self.model_folder)
            if differs := self._differs(found):
                raise BadInput(
                    f"{self.model_folder}: holds a trained model of {differs}, which the run would replace; "
                    "choose another folder with -o"
                )
            if not self._makes_again(found):
                raise BadInput(
                    f"{self.model_folder}: holds a trained model, and no {self._state_file.name} beside it to go on "
                    "from; the run would replace it: choose another folder with -o"
                )
        return None

    def _makes_again(self, found: Model) -> bool:
        """Whether this run makes the model `found` again. A run that is killed at its first validation leaves it."""
        record = found.training
        if len(record.get("history", ())) != 1:
            return False
        wanted = {key: self.identity[key] for key in ("training", "corpus", "initial", "teacher", "quantise")}
        its = {key: record.get(key) for key in ("initial", "teacher", "quantise")}
        its |= {"training": _decisive(record["settings"]), "corpus": [record["corpus"], record["corpus_digest"]]}
        return _difference(its, json.loads(json.dumps(wanted))) is None

    def _differs(self, model: Model) -> str | None:
        """How the network of `model` differs from this run's network, in words; None if it does not."""
        wanted = _network_of(self.architecture, self.network_settings)
        return _difference(_network_of(model.architecture, model.settings), wanted)

    def _built(self) -> Generator:
        """The network with its first weights, drawn or from `initial`, and with the rounding of the grid."""
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
        for name, values in network.labels.axes:
            if strange := sorted(set(self.corpus.label_values(name)) - set(values)):
                raise BadInput(
                    f"corpus {self.corpus.name}: has {name} {strange[0]!r:.60}; this network knows {', '.join(values)}"
                )
        if self.teacher and self.teacher.network.labels and self.teacher.network.labels != network.labels:
            raise BadInput(
                f"the teacher knows labels {self.teacher.network.labels.table}, the network {network.labels.table}; "
                "they must be the same, or the teacher must know none"
            )
        return network

    def _draw(self, pieces: Sequence[Words]) -> Batch:
        words, wanted, heard = draw_batch(pieces, self.settings, self.progress.step, self.labels["train"])
        kind = wanted[..., tokens.BAR_BEAT]
        share = self.team.share(self.settings.batch)
        return Batch(
            words[:, share].to(self.device),
            wanted[:, share].to(self.device),
            heard[share],
            int((kind != tokens.BarBeat.PAD).sum()),
            int((kind == tokens.BarBeat.NOTE).sum()),
        )

    def _taught(self, logits: torch.Tensor, nats: torch.Tensor, batch: Batch) -> torch.Tensor:
        """`nats` if there is no teacher, else mixed with the loss against its distributions (Hinton et al. 2015)."""
        if self.teacher is None:
            return nats
        teacher = self.teacher.network.to(self.device)
        words = batch.words if teacher.labels else batch.words[..., : len(tokens.FEATURES)]
        low = self.settings.precision == "bfloat16" and not isinstance(teacher, Network)
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            teacher_logits, _ = teacher(words, heard=batch.heard)
        share = self.settings.teacher_share
        return (1 - share) * nats + share * feature_losses(logits, batch.wanted, teacher_logits.float()).sum()

    def _forward(self, batch: Batch, rates: dict[str, torch.Tensor]) -> tuple[torch.Tensor, Mapping[str, torch.Tensor]]:
        """The logits of `batch` in training, and the spikes of the populations that have a floor, by name.

        `rates` receives the mean firing rate of every population.
        """
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast):
            logits: torch.Tensor
            logits, spikes = self.network(
                batch.words, self._floored, regularise=rates, dropout=self.settings.dropout, heard=batch.heard
            )
        return logits.float(), spikes

    def _rate_penalty(self, rates: Mapping[str, torch.Tensor]) -> torch.Tensor | float:
        """The penalty on firing rates, means over the whole batch, that exceed the target. Sets `firing_rate`."""
        if not isinstance(self.network, Network) or not rates:
            return 0.0
        settings = self.settings
        mean = self.team.mean(torch.stack(list(rates.values())))
        self.firing_rate = per_neuron(self.network, rates, mean)
        if not settings.rate_weight:
            return 0.0
        return settings.rate_weight * ((mean - settings.target_rate).relu() ** 2).sum()

    def _floor_penalty(self, spikes: Mapping[str, torch.Tensor]) -> torch.Tensor | float:
        """The penalty on neurons, of the populations in `spikes`, that fire below the floor in the whole batch.

        A neuron that never fires gets no other gradient than that of its surrogate, which is small where its membrane
        stays far below the threshold. Without the penalty, whole attention heads stay silent.
        """
        if not spikes or not isinstance(self.network, Network):
            return 0.0
        network, settings = self.network, self.settings
        share = {name: network.slots(name) / network.timing.period for name in spikes}
        mean = self.team.mean(torch.cat([share[name] * values.mean((0, 1, 2)) for name, values in spikes.items()]))
        return settings.floor_weight * ((1 - mean / settings.floor_rate).relu() ** 2).sum()

    def _update(self) -> None:
        """Update the weights by their gradients.

        Raises:
            Failed: the norm of the gradient is not finite.
        """
        gradients = {name: p.grad for name, p in self.network.named_parameters() if p.grad is not None}
        norm = torch.nn.utils.get_total_norm(gradients.values())
        if norm.isinf():  # the squares of finite gradients can be above the range of float32
            norm = torch.nn.utils.get_total_norm([gradient.double() for gradient in gradients.values()])
        if not math.isfinite(norm):
            self.team.decided(lambda: self.refuse_step("norm of the gradient", float(norm), gradients))
        torch.nn.utils.clip_grads_with_norm_(self.network.parameters(), self.settings.clip, norm)
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate
        self.optimiser.step()

    def refuse_step(self, what: str, value: float, gradients: Mapping[str, torch.Tensor] = _NOTHING) -> NoReturn:
        """End the training because `what`, a result of this step, has a `value` that is not finite.

        Raises:
            Failed: always. The message names the first tensor of the state that is not finite (weights come first),
                else the first such gradient in `gradients`, else `what`.
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
        raise Diverged(
            f"training: the {what} is {value} at step {self.progress.step}; the same command with a --learning-rate "
            f"below {self.settings.learning_rate:g} {goes_on if kept else 'starts anew: no state was kept yet'}"
        )

    def pause(self, pieces: Sequence[Words], training_bits: float | None, due: bool) -> tuple[float, _Progress]:
        """Validate and keep the state. Return the validation bits per note and the progress."""
        self._refuse_unless_finite("", self.tensors())
        bits = self._validate(pieces, training_bits, due)
        self._keep()
        return bits, self.progress

    def _validate(self, pieces: Sequence[Words], training_bits: float | None, due: bool) -> float:
        """Validate, keep the model if it is the best, and return the validation bits per note.

        `due` says that the validation comes at its regular time: then it counts for the patience.
        """
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
        # Another order of batches changes the result by a thousandth: less, in all since the last gain, is no gain.
        if bits < progress.last_gain_bits * 0.999:
            progress.last_gain_bits, progress.stale = bits, 0
        elif due:
            progress.stale += 1
        if progress.stale >= self.settings.patience and self.settings.schedule == "plateau":
            progress.halved, progress.stale = progress.halved + 1, 0
        return bits

    def _evaluate(self, pieces: Sequence[Words]) -> tuple[float, float | None]:
        """Bits per note of the validation pieces with their labels, computed in float32, and the firing rate."""
        network, labels = self.network.eval(), self.labels["validation"]
        found = likelihood(lambda words: network(words)[0], pieces, device=self.device, labels=labels)
        return found.bits_per_note, firing_rate(network, pieces, labels=labels)

    def _keep(self) -> None:
        tensors = {name: tensor.cpu().contiguous() for name, tensor in self.tensors().items()}
        progress = dataclasses.asdict(self.progress)
        sha256 = tensors_digest(tensors, self.identity, progress)
        header = {"identity": self.identity, "progress": progress, "sha256": sha256}
        blob = save(tensors, metadata={"muspike": json.dumps(header)})
        with write_whole(self._state_file) as path:
            path.write_bytes(blob)

    def _read_state(self) -> State:
        check_file(self._state_file, LARGEST_WEIGHTS)
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


class Kept(NamedTuple):
    """What the state in the folder of a run says of the run: its step, and its settings by name."""

    step: int
    settings: dict[str, Any]


def kept_in(folder: Path) -> Kept | None:
    """What the folder of a run holds; None if it has no state, or one that cannot be read."""
    try:
        check_file(folder / _STATE, LARGEST_WEIGHTS)  # a pipe would keep the reader waiting
        with safe_open(folder / _STATE, "pt") as file:
            header = json.loads(file.metadata()["muspike"])
            return Kept(int(header["progress"]["step"]), dict(header["identity"]["training"]))
    except (BadInput, SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None


def tensors_of(network: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = "") -> dict[str, torch.Tensor]:
    """Weights and optimiser moments by name. Moments that do not exist yet are left out."""
    tensors = {}
    for name, parameter in network.named_parameters():
        tensors[f"{prefix}network.{name}"] = parameter.detach()
        for key, value in optimiser.state.get(parameter, {}).items():
            tensors[f"{prefix}optimiser.{key}.{name}"] = value
    return tensors


def restore(
    tensors: Mapping[str, torch.Tensor], network: nn.Module, optimiser: torch.optim.Optimizer, prefix: str = ""
) -> None:
    """Put `tensors`, as `tensors_of` returned them, back into the network and the optimiser."""
    parameters = dict(network.named_parameters())
    for name, parameter in parameters.items():
        with torch.no_grad():
            parameter.copy_(tensors[f"{prefix}network.{name}"])
    for path, tensor in tensors.items():
        if path.startswith(start := f"{prefix}optimiser."):
            key, _, name = path.removeprefix(start).partition(".")
            parameter = parameters[name]
            # The optimiser keeps its step count on the CPU.
            optimiser.state[parameter][key] = tensor if key == "step" else tensor.to(parameter.device)


def as_deployed(network: Generator) -> Generator:
    """`network`; if training rounds its weights, a new network whose weights are the rounded ones."""
    if not isinstance(network, Network) or network.rounding is None:
        return network
    populations = tuple(network.populations.values())
    beside = network.noise, network.hearing, network.labels
    deployed = Network(populations, network.synapses, network.timing, network.composites, *beside)
    rounded = network.rounding(dict(network.weights))
    deployed.load_state_dict(network.state_dict() | {f"weights.{name}": w for name, w in rounded.items()})
    return deployed


def _network_of(architecture: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The architecture and all its settings, which define a network. Missing settings take their default."""
    config = architectures.configured(architectures.find(architecture).config, settings, f"architecture {architecture}")
    return {"architecture": architecture, "network": dataclasses.asdict(config)}
