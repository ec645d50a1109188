"""Models on disk: weights as safetensors, everything else as JSON, never pickle.

A model is a folder with `model.json` and a weights file. `model.json` names the weights file and holds two sha256: that
of the weights file and its own. Saving writes the weights first, under a new name, and then replaces `model.json`. So
the folder holds a whole model at every moment.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from muspike import architectures
from muspike.arguments import instance, mapping
from muspike.arguments import path as path_of
from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.model_folder import FORMAT, digest, find_folder, read_header, read_weights, steps_of
from muspike.network import Generator, Network


@dataclass(frozen=True)
class Model:
    """A trained network and the record of its training.

    Attributes:
        architecture: name of the architecture, as in `architectures.ARCHITECTURES`.
        settings: settings of the network, for `architectures.build`.
        network: the network with its trained weights.
        training: JSON-able record of the training: data set, steps, seed, validation NLL, ...

    Raises:
        BadInput: `architecture` is no text, `network` no network, or one of the others no dict.
    """

    architecture: str
    settings: dict[str, Any]
    network: Generator
    training: dict[str, Any]

    def __post_init__(self) -> None:
        instance("model: architecture", self.architecture, str, "the name of an architecture")
        instance("model: network", self.network, Generator, "a network, such as architectures.build gives")
        mapping("model: settings", self.settings, "a dict")
        mapping("model: training", self.training, "a dict")

    @property
    def steps(self) -> int:
        """Number of training steps up to these weights, with the steps of the models that the training started from."""
        return steps_of(self.training)

    @property
    def spiking(self) -> Network:
        """The network, as a spiking `Network`.

        Raises:
            BadInput: the network does not spike.
        """
        if not isinstance(self.network, Network):
            raise BadInput(f"{self.architecture} does not spike: there is nothing to put on a neuromorphic chip")
        return self.network


def save_model(model: Model, folder: str | Path, dtype: torch.dtype = torch.float32) -> None:
    """Write `model` to `folder`, with its weights as `dtype`. A model that lies there already is replaced.

    >>> from pathlib import Path
    >>> from muspike import load_model, save_model
    >>> save_model(load_model("s-rnn"), Path("copy"))
    >>> load_model("copy").steps == load_model("s-rnn").steps
    True

    Raises:
        BadInput: `model` is no Model, `folder` no path, or `dtype` no type of torch.
        Failed: the folder or a file cannot be written.
    """
    instance("save_model: model", model, Model, "a Model, such as load_model gives")
    instance("save_model: dtype", dtype, torch.dtype, "a torch.dtype, such as torch.float16")
    folder = Path(path_of("save_model: folder", folder))
    blob = save({k: v.detach().to(dtype).contiguous() for k, v in model.network.state_dict().items()})
    sha256 = hashlib.sha256(blob).hexdigest()
    header: dict[str, Any] = {
        "format": FORMAT,
        "architecture": model.architecture,
        "settings": model.settings,
        "training": model.training,
        "weights": {"file": f"weights-{sha256[:8]}.safetensors", "sha256": sha256},
    }
    header["digest"] = digest(header)
    with write_whole(folder / header["weights"]["file"]) as path:
        path.write_bytes(blob)
    with write_whole(folder / "model.json") as path:
        path.write_text(json.dumps(header, indent=1) + "\n", encoding="utf-8")
    for old in folder.glob("weights-*.safetensors"):
        if old.name != header["weights"]["file"]:
            old.unlink(missing_ok=True)


def load_model(name: str | Path) -> Model:
    """Load the model in the folder `name`, the best model of the run in that folder, or the shipped model `name`.

    >>> from muspike import load_model
    >>> model = load_model("s-rnn")
    >>> model.architecture, model.training["corpus"]
    ('s-rnn', 'jsb')

    Raises:
        BadInput: there is no such model; it has another format or was changed; its weights do not fit the architecture
            or are not finite.
    """
    folder = find_folder(name)
    header = read_header(folder)
    blob = read_weights(folder, header)
    file, weights = folder / "model.json", folder / header["weights"]["file"]
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
