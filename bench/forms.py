"""The forms in which a network runs on an ordinary machine, each as a runner: torch, compiled torch, ONNX Runtime.

A spiking network stands beside its twin, which does not spike, in floats, in half precision and in int8. A twin's
weights do not come with muspike. Without them, a twin of the same preset with untrained weights stands for it: it does
the same operations on numbers of the same types.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
import torch

from muspike import architectures, tokens
from muspike.architectures.ann import Transformer, Twin, TwinRunner
from muspike.checkpoint import Model
from muspike.errors import BadInput, Failed
from muspike.export.words import example_words
from muspike.host import Runner, completed
from muspike.network import Generator, Network
from muspike.tokens import Words

WORDS, PIECES = 64, 8
"""Of the music on which a network runs, which it composes itself: words of a piece, and pieces."""
TWIN_PRESET = "small"
_PROVED_ON = 4  # words on which an exported file is proved equal before it is measured

Make: TypeAlias = Callable[[], Runner]


@dataclass(frozen=True)
class Form:
    """One row of the table of forms.

    Attributes:
        what: the form in words.
        precision: the type of its numbers; None: it depends on the device.
        twin: whether it is a form of the twin.
        devices: where it runs.
        build: makes what makes a runner of it.
    """

    what: str
    precision: str | None
    twin: bool
    devices: tuple[str, ...]
    build: Callable[[Workshop, Generator], Make]


class Workshop:
    """A model and its twin, ready to be put into any form on one device.

    Args:
        model: the model. If it does not spike, it is its own twin.
        device: `cpu` or `cuda`.
        threads: threads that compute on the CPU.
        twin: a trained twin; None: one of the preset `small`, untrained.

    Attributes:
        words: what the networks read, int16 `[WORDS, PIECES, 7]`, without noise.
        words_per_note: words of a piece for one note.

    Raises:
        BadInput: `twin` spikes.
    """

    def __init__(self, model: Model, device: str, threads: int, twin: Model | None = None) -> None:
        self.model, self.device, self.threads = model, device, threads
        self.spiking = isinstance(model.network, Network)
        if twin is not None and isinstance(twin.network, Network):
            raise BadInput(f"{twin.architecture} spikes; a twin does not")
        self.twin = model if not self.spiking else untrained_twin(model) if twin is None else twin
        self.twin_is_trained = not self.spiking or twin is not None
        words = example_words(model, WORDS, PIECES)
        self.words = words[..., : len(tokens.FEATURES)]
        notes = int((self.words[..., tokens.BAR_BEAT] == tokens.BarBeat.NOTE).sum())
        if notes == 0:
            raise Failed(
                f"{model.architecture}: composes no note in {WORDS} words, so there is nothing to count per note"
            )
        self.words_per_note = WORDS * PIECES / notes
        self._made = TemporaryDirectory(prefix="muspike-measure-")
        self.folder = Path(self._made.name)

    def close(self) -> None:
        """Remove the files that were made."""
        self._made.cleanup()

    def network(self, form: Form) -> Model:
        """The model whose network runs in a form."""
        return self.twin if form.twin else self.model

    def build(self, name: str) -> Make:
        """What makes runners of the form called `name`.

        Raises:
            BadInput: the form does not run on this device, or the model has no such form.
            Failed: it cannot be built here.
        """
        form = FORMS[name]
        if self.device not in form.devices:
            raise BadInput(f"{name}: does not run on {self.device}; it runs on {', '.join(form.devices)}")
        if not form.twin and not self.spiking:
            raise BadInput(f"{name}: is a form of a network that spikes; {self.model.architecture} does not")
        return form.build(self, self.network(form).network)

    def start(self, name: str, make: Make, batch: int) -> Callable[[], int]:
        """A call that reads one word in each of `batch` sequences, in the form called `name`, and returns `batch`.

        The state is that of late in a piece: a window of attention is full.

        Raises:
            MemoryError: there is no memory for this batch.
        """
        try:
            runner = make()
            runner.reset(batch)
            given = _words_for(runner, self.words, batch)
            window = _window(self.network(FORMS[name]).network)
            for n in range(window):
                runner.step(given[n % len(given)])
        except torch.OutOfMemoryError as error:
            raise MemoryError(str(error).splitlines()[0]) from error
        at = 0

        def call() -> int:
            nonlocal at
            try:
                runner.step(given[at])
            except torch.OutOfMemoryError as error:
                raise MemoryError(str(error).splitlines()[0]) from error
            at = (at + 1) % len(given)
            return batch

        return call


def _window(network: Generator) -> int:
    """The words after which a step of the network costs no more than the one before."""
    return network.window if isinstance(network, Transformer) else 1


def _words_for(runner: Runner, words: Words, batch: int) -> Words:
    """The words for `batch` sequences, `[WORDS, batch, columns]`, with the noise that this network hears."""
    pieces = np.resize(np.arange(words.shape[1]), batch)
    return completed(np.ascontiguousarray(words[:, pieces]), runner)


def untrained_twin(model: Model) -> Model:
    """The twin of a spiking model, of the preset `small`, with untrained weights and the same groups of axons.

    Raises:
        BadInput: the architecture has no twin.
    """
    name = model.architecture.replace("s-", "ann-", 1)
    if name == model.architecture or name not in architectures.ARCHITECTURES:
        raise BadInput(f"{model.architecture}: has no twin; there are {', '.join(_twins())}")
    settings = architectures.preset(name, TWIN_PRESET)["network"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = architectures.build(name, settings).eval()
    return Model(name, settings, network, {})


def _twins() -> list[str]:
    return [name for name, row in architectures.ARCHITECTURES.items() if not row.spikes]


def network_digest(model: Model) -> str:
    """sha256 of what a network computes: its architecture, and the names, shapes and float32 bytes of its weights."""
    found = hashlib.sha256(model.architecture.encode())
    for name, tensor in sorted(model.network.state_dict().items()):
        found.update(f"\n{name} {list(tensor.shape)} ".encode())
        found.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return found.hexdigest()


# --- how a form is built ----------------------------------------------------------------------------------------------


def _eager(shop: Workshop, network: Generator) -> Make:
    placed = copy.deepcopy(network).to(shop.device)
    return placed.runner


def _compiled(shop: Workshop, network: Generator) -> Make:
    """torch.compile of a tick of a spiking network, or of all of a twin but the host's part."""
    torch._dynamo.config.recompile_limit = 256  # a tick is compiled anew for every shape
    placed = copy.deepcopy(network).to(shop.device)
    if isinstance(placed, Network):
        placed.tick = torch.compile(placed.tick, dynamic=False)  # type: ignore[method-assign]
        return placed.runner
    assert isinstance(placed, Twin)
    step = torch.compile(lambda x, past: _answer(placed, x, past), dynamic=False)
    return lambda: _CompiledTwin(placed, step)


def _answer(twin: Twin, x: torch.Tensor, past: list[Any]) -> tuple[torch.Tensor, list[Any]]:
    more, after = twin.trunk(x, past, 0.0)
    return twin.head(more), after


class _CompiledTwin(TwinRunner):
    """A twin whose trunk and head are compiled. While its memory still grows, it is computed as it is."""

    def __init__(self, twin: Twin, compiled: Callable[..., Any]) -> None:
        self.compiled = compiled
        super().__init__(twin)

    def reset(self, batch: int) -> None:
        super().reset(batch)
        self.seen = 0

    @torch.no_grad()
    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        self.seen += 1
        if self.seen <= _window(self.twin):
            return super().step(words)
        token = torch.as_tensor(np.asarray(words), device=self.twin.head.weight.device)[None]
        logits, self.past = self.compiled(self.twin.embedded(token, self.heard), self.past)
        return np.asarray(logits[0].cpu().numpy(), np.float32)


class _HalfTwin(TwinRunner):
    """A twin in half precision, whose logits come out in float32."""

    @torch.no_grad()
    def step(
        self, words: np.ndarray[tuple[int, int], np.dtype[np.int16]]
    ) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        token = torch.as_tensor(np.asarray(words), device=self.twin.head.weight.device)[None]
        logits, self.past = _answer(self.twin, self.twin.embedded(token, self.heard), self.past)
        return np.asarray(logits[0].float().cpu().numpy(), np.float32)


def _half(shop: Workshop, network: Generator) -> Make:
    placed = copy.deepcopy(network).to(shop.device, HALF[shop.device])
    assert isinstance(placed, Twin)
    return lambda: _HalfTwin(placed)


def _onnx(precision: str, twin: bool) -> Callable[[Workshop, Generator], Make]:
    def build(shop: Workshop, network: Generator) -> Make:
        from muspike.export.onnx_runner import OnnxFile, OnnxRunner
        from muspike.export.targets import export

        path = shop.folder / f"{'twin' if twin else 'network'}-{precision}.onnx"
        proof = export(shop.twin if twin else shop.model, "onnx", path, _PROVED_ON, precision=precision)
        if not proof.holds:
            raise Failed(f"{path.name}: is not equal to the network, so it is not measured")
        file = OnnxFile(path, shop.threads)
        return lambda: OnnxRunner(file)

    return build


HALF: Mapping[str, torch.dtype] = {"cpu": torch.bfloat16, "cuda": torch.float16}
"""Half precision by device."""

_BOTH, _CPU = ("cpu", "cuda"), ("cpu",)
FORMS: Mapping[str, Form] = {
    "eager": Form("torch, as it is", "float32", False, _BOTH, _eager),
    "compiled": Form("torch.compile of a tick", "float32", False, _BOTH, _compiled),
    "onnx": Form("ONNX Runtime, step by step", "float32", False, _CPU, _onnx("float32", False)),
    "onnx-int8": Form("ONNX Runtime, int8 weights", "int8", False, _CPU, _onnx("int8", False)),
    "twin-float": Form("the twin in torch, as it is", "float32", True, _BOTH, _eager),
    "twin-compiled": Form("the twin in compiled torch", "float32", True, _BOTH, _compiled),
    "twin-onnx": Form("the twin in ONNX Runtime", "float32", True, _CPU, _onnx("float32", True)),
    "twin-half": Form("the twin in torch, half precision", None, True, _BOTH, _half),
    "twin-int8": Form("the twin in ONNX Runtime, dynamic int8", "int8", True, _CPU, _onnx("int8", True)),
}
"""The forms by name."""


def precision_of(form: Form, device: str) -> str:
    """The type of a form's numbers on a device."""
    return form.precision or str(HALF[device]).removeprefix("torch.")
