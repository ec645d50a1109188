"""Training: likelihood of the next compound word, by gradient through the spiking network.

A run lives in a folder: `state.safetensors` (weights, optimiser, step; its JSON header holds settings and history) from
which a killed run goes on to the same weights, and `model/`, the best model so far by validation NLL. Step k draws its
batch and its noise from (seed, k) alone, so the past of a run does not matter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch.nn import functional

from muspike import architectures, tokens
from muspike.checkpoint import Model, load_model, save_model
from muspike.corpora import Corpus
from muspike.errors import BadInput, Failed
from muspike.files import write_whole
from muspike.network import Generator

Words = npt.NDArray[np.int16]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to train.

    The learning rate halves after `patience` validations without a gain, `halvings` times; then training ends.
    `tokens`: length of a training excerpt; `dropout`: share of the neurons that are silent towards the next populations
    for a whole excerpt, in training only;
    `transpose`: largest transposition in semitones; `rate_weight`: weight of the mean squared firing rate above
    `target_rate` (per tick) in the loss.
    """

    steps: int = 6000
    batch: int = 16
    tokens: int = 256
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.0
    clip: float = 1.0
    dropout: float = 0.0
    transpose: int = 6
    validate_every: int = 100
    patience: int = 4
    halvings: int = 5
    target_rate: float = 1.0
    rate_weight: float = 0.0
    seed: int = 0


@dataclasses.dataclass(frozen=True)
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


def feature_losses(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed NLL in nats of each feature, `[7]`, over the words on which it is predicted.

    `logits` `[tokens, batch, N_AXONS]`; `targets` `[tokens, batch, 7]`, PAD words where there is nothing to predict.
    """
    flat, wanted = logits.flatten(0, -2), targets.flatten(0, -2).long()
    kind = wanted[:, tokens.FEATURES.index("bar_beat")]
    predicted = torch.as_tensor(np.asarray(tokens.PREDICTED))[kind] & (kind != tokens.BarBeat.PAD)[:, None]
    losses = []
    for f, (start, size) in enumerate(zip(tokens.OFFSETS, tokens.SIZES, strict=True)):
        rows = predicted[:, f].nonzero()[:, 0]
        losses.append(functional.cross_entropy(flat[rows, start : start + size], wanted[rows, f], reduction="sum"))
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


def draw_batch(pieces: Sequence[Words], settings: Settings, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The batch of step `step`: excerpts that start at a bar (half of them at the first one), transposed at random."""
    random = np.random.default_rng([settings.seed, step])
    chosen, starts = [], []
    for index in random.integers(len(pieces), size=settings.batch):
        piece = pieces[index]
        low, high = _transpositions(piece, settings.transpose)
        chosen.append(tokens.transpose(piece, int(random.integers(low, high + 1))))
        bars = np.flatnonzero(piece[:, tokens.FEATURES.index("bar_beat")] == tokens.BarBeat.BAR)
        late = bars[bars < max(1, len(piece) - settings.tokens // 2)]
        starts.append(int(random.choice(late)) if random.random() < 0.5 else 0)
    return lined_up(chosen, starts, settings.tokens)


def _transpositions(piece: Words, largest: int) -> tuple[int, int]:
    """The range of semitones, at most `largest` each way, that keeps every pitch a MIDI pitch."""
    pitch = piece[:, tokens.FEATURES.index("pitch")]
    pitch = pitch[pitch > 0] - 1
    return max(-largest, -int(pitch.min())), min(largest, 127 - int(pitch.max()))


Logits = Callable[[torch.Tensor], torch.Tensor]


@torch.no_grad()
def likelihood(logits_of: Logits, pieces: Sequence[Words], at_once: int = 4096) -> Likelihood:
    """NLL of whole pieces under `logits_of` (words `[tokens, batch, 7]` -> logits `[tokens, batch, N_AXONS]`).

    `at_once`: how many words to run side by side, padding included, unless one piece is longer.
    """
    nats = torch.zeros(len(tokens.FEATURES), dtype=torch.float64)
    notes = words_seen = 0
    for group in _of_like_length(pieces, at_once):
        words, wanted = lined_up(group, [0] * len(group), max(map(len, group)))
        nats += feature_losses(logits_of(words), wanted)
        kind = wanted[..., tokens.FEATURES.index("bar_beat")]
        notes += int((kind == tokens.BarBeat.NOTE).sum())
        words_seen += int((kind != tokens.BarBeat.PAD).sum())
    bits = (nats / math.log(2)).tolist()
    return Likelihood(dict(zip(tokens.FEATURES, bits, strict=True)), notes, words_seen)


def _of_like_length(pieces: Sequence[Words], at_once: int) -> Iterator[list[Words]]:
    """Groups of pieces in ascending length, so that little is padding."""
    group: list[Words] = []
    for piece in sorted(pieces, key=len):
        if group and len(piece) * (len(group) + 1) > at_once:
            yield group
            group = []
        group.append(piece)
    if group:
        yield group


@dataclasses.dataclass
class _Progress:
    """What a run remembers besides weights and optimiser."""

    step: int = 0
    halved: int = 0
    stale: int = 0
    best_bits: float = math.inf
    last_gain_bits: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def _without_denormals() -> Iterator[None]:
    """Round denormal numbers to 0, here only: membranes and gradients that decay through silence end in them.

    They cost a CPU tens of cycles each. The setting is the processor's, of this whole process.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _sha256(tensors: Mapping[str, torch.Tensor], *about: Mapping[str, Any]) -> str:
    """Of the bytes of all tensors, by name, and of JSON-able `about`."""
    sha256 = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        sha256.update(name.encode() + tensors[name].numpy().tobytes())
    return sha256.hexdigest()


class Run:
    """One training run in a folder; made anew, or taken up where it stood.

    Raises:
        BadInput: the folder holds a run of other settings, or a damaged state.
    """

    def __init__(
        self, folder: Path, architecture: str, network_settings: dict[str, Any], settings: Settings, corpus: Corpus
    ) -> None:
        self.folder, self.architecture, self.settings, self.corpus = folder, architecture, settings, corpus
        self.network_settings = network_settings
        self.identity = {
            "architecture": architecture,
            "network": network_settings,
            # How long to train is no part of it: a run may be taken up for more steps.
            "training": {key: value for key, value in dataclasses.asdict(settings).items() if key != "steps"},
            "corpus": [corpus.name, corpus.digest],
        }
        torch.manual_seed(settings.seed)
        self.network: Generator = architectures.build(architecture, network_settings)
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
        if self._state_file.exists():
            self._take_up()

    @property
    def _state_file(self) -> Path:
        return self.folder / "state.safetensors"

    @property
    def model_folder(self) -> Path:
        """Where the best model so far lies."""
        return self.folder / "model"

    def train(self, report: Callable[[int, float, float | None], None] = lambda *_: None) -> Model:
        """Train to the end; `report(step, training bits per note, validation bits per note or None)` after each step.

        Returns the best model. Raises Failed where the loss is not a number, leaving the last good state.
        """
        settings, progress = self.settings, self.progress
        training = [piece.words for piece in self.corpus.split("train")]
        validation = [piece.words for piece in self.corpus.split("validation")]
        started = time.monotonic() - progress.seconds
        with _without_denormals():
            while progress.step < settings.steps and progress.halved <= settings.halvings:
                bits = self._step(training)
                progress.step += 1
                validated = None
                due = progress.step % settings.validate_every == 0
                if due or progress.step == settings.steps:
                    validated = self._validate(validation, bits, due)
                    progress.seconds = time.monotonic() - started
                    self._keep()
                report(progress.step, bits, validated)
        return load_model(self.model_folder)

    def _rate(self) -> float:
        warm = min(1.0, (self.progress.step + 1) / self.settings.warmup)
        return self.settings.learning_rate * warm * 0.5**self.progress.halved

    def _step(self, pieces: Sequence[Words]) -> float:
        settings, step = self.settings, self.progress.step
        words, wanted = draw_batch(pieces, settings, step)
        torch.manual_seed(settings.seed * 1_000_003 + step)
        rates: dict[str, torch.Tensor] = {}
        logits, _ = self.network.train()(words, regularise=rates, dropout=settings.dropout)
        kind = wanted[..., tokens.FEATURES.index("bar_beat")]
        nats = feature_losses(logits, wanted).sum()
        loss = nats / (kind != tokens.BarBeat.PAD).sum()
        if settings.rate_weight:
            loss = loss + settings.rate_weight * sum(((r - settings.target_rate).relu() ** 2) for r in rates.values())
        self._refuse_unless_finite("loss", loss.item())
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self._refuse_unless_finite("norm of the gradient", float(norm))
        self.optimiser.step()
        return nats.item() / math.log(2) / max(1, int((kind == tokens.BarBeat.NOTE).sum()))

    def _refuse_unless_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            step = self.progress.step
            raise Failed(
                f"training: the {what} is {value} at step {step}; the last good state is kept in {self.folder}"
            )

    def _validate(self, pieces: Sequence[Words], training_bits: float, due: bool) -> float:
        """Validate, keep the model where it is the best; where `due`, also decide on the learning rate."""
        progress = self.progress
        network = self.network.eval()
        bits = likelihood(lambda words: network(words)[0], pieces).bits_per_note
        self._refuse_unless_finite("validation NLL", bits)
        progress.history.append(
            {"step": progress.step, "train": training_bits, "validation": bits, "rate": self._rate()}
        )
        if bits < progress.best_bits:
            progress.best_bits = bits
            save_model(self._model(), self.model_folder)
        # A thousandth is within what another batch order gives: less, in all, is no gain worth waiting for.
        if bits < progress.last_gain_bits * 0.999:
            progress.last_gain_bits, progress.stale = bits, 0
        elif due:
            progress.stale += 1
        if progress.stale >= self.settings.patience:
            progress.halved, progress.stale = progress.halved + 1, 0
        return bits

    def _model(self) -> Model:
        progress = self.progress
        training = {
            "corpus": self.corpus.name,
            "corpus_digest": self.corpus.digest,
            "settings": self.identity["training"],
            "step": progress.step,
            "validation_bits_per_note": progress.best_bits,
            "history": progress.history,
        }
        return Model(self.architecture, self.network_settings, self.network, training)

    def _tensors(self) -> dict[str, torch.Tensor]:
        """Weights and optimiser moments by name; moments that do not exist yet are left out."""
        tensors = {}
        for name, parameter in self.network.named_parameters():
            tensors[f"network.{name}"] = parameter.detach()
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = value
        return tensors

    def _keep(self) -> None:
        tensors = {k: v.contiguous() for k, v in self._tensors().items()}
        progress = dataclasses.asdict(self.progress)
        sha256 = _sha256(tensors, self.identity, progress)
        header = {"identity": self.identity, "progress": progress, "sha256": sha256}
        blob = save(tensors, metadata={"muspike": json.dumps(header)})
        with write_whole(self._state_file) as path:
            path.write_bytes(blob)

    def _take_up(self) -> None:
        try:
            with safe_open(self._state_file, "pt") as file:
                header = json.loads(file.metadata()["muspike"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            if header["sha256"] != _sha256(tensors, header["identity"], header["progress"]):
                raise ValueError("its content does not match its sha256")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"{self._state_file}: is damaged ({error}); remove it to start anew") from error
        wanted = json.loads(json.dumps(self.identity))
        for key, value in wanted.items():
            if header["identity"].get(key) != value:
                raise BadInput(
                    f"{self.folder}: holds a run with {key} {header['identity'].get(key)}, asked for is {value}; "
                    "choose another folder with -o, or the same settings"
                )
        self.progress = _Progress(**header["progress"])
        for name, parameter in self.network.named_parameters():
            with torch.no_grad():
                parameter.copy_(tensors[f"network.{name}"])
            ending = f".{name}"
            self.optimiser.state[parameter] = {
                key.removeprefix("optimiser.").removesuffix(ending): value
                for key, value in tensors.items()
                if key.startswith("optimiser.") and key.endswith(ending)
            }
