"""Models on disk: weights as safetensors, everything else as JSON, never pickle.

A model is a folder with `model.json`, which names its weights file and holds the sha256 of it and of itself. The
weights are written first, under a name of their own; then `model.json` replaces the old one. So a folder holds a whole
model at every moment.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from muspike import architectures
from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.network import Generator, Network

FORMAT = 1


@dataclass(frozen=True)
class Model:
    """A trained network and how it came to be (`training`: data set, steps, seed, validation NLL, ...)."""

    architecture: str
    settings: dict[str, Any]
    network: Generator
    training: dict[str, Any]

    @property
    def steps(self) -> int:
        """Steps of training up to these weights, with those of the models that it went on from."""
        steps, training = 0, self.training
        while training:
            steps += training["step"]
            training = training.get("initial_training") or training.get("warmup") or {}
        return steps

    @property
    def spiking(self) -> Network:
        """The network, where it spikes.

        Raises:
            BadInput: it does not.
        """
        if not isinstance(self.network, Network):
            raise BadInput(f"{self.architecture} does not spike: there is nothing to put on a neuromorphic chip")
        return self.network


def _digest(header: Mapping[str, Any]) -> str:
    text = json.dumps({k: v for k, v in header.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def save_model(model: Model, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `model` to `folder`, its weights as `dtype`.

    Raises:
        Failed: the disk refuses.
    """
    blob = save({k: v.detach().to(dtype).contiguous() for k, v in model.network.state_dict().items()})
    sha256 = hashlib.sha256(blob).hexdigest()
    header: dict[str, Any] = {
        "format": FORMAT,
        "architecture": model.architecture,
        "settings": model.settings,
        "training": model.training,
        "weights": {"file": f"weights-{sha256[:8]}.safetensors", "sha256": sha256},
    }
    header["digest"] = _digest(header)
    with write_whole(folder / header["weights"]["file"]) as path:
        path.write_bytes(blob)
    with write_whole(folder / "model.json") as path:
        path.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    for old in folder.glob("weights-*.safetensors"):
        if old.name != header["weights"]["file"]:
            old.unlink(missing_ok=True)


def load_model(name: str | Path) -> Model:
    """The model in the folder `name`, the best of the run in that folder, or the shipped one of that name.

    Raises:
        BadInput: no such model, another format, a flipped byte, weights that do not fit the architecture.
    """
    folder = Path(name)
    if not folder.is_dir():
        shipped = shipped_models()
        if str(name) not in shipped:
            raise BadInput(f"{name}: neither a model folder nor a shipped model ({', '.join(shipped) or 'none'})")
        folder = shipped[str(name)]
    elif not (folder / "model.json").exists() and (folder / "model").is_dir():
        folder = folder / "model"
    file = folder / "model.json"
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}; a model folder holds model.json") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        raise BadInput(f"{file}: is of format {found!r}; this muspike reads format {FORMAT}")
    if header.get("digest") != _digest(header):
        raise BadInput(f"{file}: does not match its digest: it was changed or damaged after it was written")
    _check_header(header, file)
    weights = folder / header["weights"]["file"]
    try:
        blob = weights.read_bytes()
    except OSError as error:
        raise BadInput(f"{weights}: cannot be read: {error.strerror}") from error
    if (found := hashlib.sha256(blob).hexdigest()) != header["weights"]["sha256"]:
        raise BadInput(
            f"{weights}: is damaged: its sha256 begins {found[:12]}, "
            f"{file.name} says {header['weights']['sha256'][:12]}"
        )
    try:
        with torch.random.fork_rng(devices=[]):
            network = architectures.build(header["architecture"], header["settings"])
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
    except (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(f"{file}: {header['architecture']} cannot be built with these settings: {error}") from error
    try:
        tensors = {name: tensor.float() for name, tensor in load(blob).items()}
        network.load_state_dict(tensors)
    except (SafetensorError, RuntimeError, KeyError) as error:
        cause = str(error).splitlines()[-1].strip()
        raise BadInput(f"{weights}: does not fit {header['architecture']}: {cause}") from error
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise BadInput(f"{weights}: {name} holds values that are not finite")
    return Model(header["architecture"], header["settings"], network.eval(), header["training"])


# What every reader of a model relies on: the path in `model.json`, and the type.
_HEADER: Mapping[tuple[str, ...], type | tuple[type, ...]] = {
    ("architecture",): str,
    ("settings",): dict,
    ("training",): dict,
    ("training", "corpus"): str,
    ("training", "step"): int,
    ("training", "validation_bits_per_note"): (int, float),
    ("weights",): dict,
    ("weights", "file"): str,
    ("weights", "sha256"): str,
}


def _check_header(header: Mapping[str, Any], file: Path) -> None:
    for keys, kind in _HEADER.items():
        value: Any = header
        for key in keys:
            value = value.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise BadInput(f"{file}: {'.'.join(keys)} is {value!r:.60}; a value of type {wanted} is wanted")
    if Path(header["weights"]["file"]).name != header["weights"]["file"]:
        raise BadInput(f"{file}: its weights are in {header['weights']['file']!r}; a file beside it is wanted")


def shipped_models() -> dict[str, Path]:
    """The models that come with muspike, by name."""
    root = Path(str(resources.files("muspike") / "models"))
    return {folder.name: folder for folder in sorted(root.glob("*")) if (folder / "model.json").is_file()}
