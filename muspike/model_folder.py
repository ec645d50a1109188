"""The folder of a model: `model.json` and the safetensors file that it names. This module reads both without torch.

`model.json` holds the sha256 of the weights file and its own. `muspike.checkpoint` builds the network.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from muspike.arguments import refuse
from muspike.errors import BadInput
from muspike.files import check_file

FORMAT = 2
# Formats of before whose models were trained on other compound words.
_OTHER_WORDS = (1,)
# The entries of `model.json` on which every reader relies, by their path, with their type.
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
# Files of networks that are no models, by the ending of their name.
NETWORKS = {".nir": "a NIR file", ".npz": "a chip program"}
"""Files of networks that are no models, by their endings: what they are, in words."""
# The limit of the safetensors format, in bytes.
_LONGEST_HEADER = 100_000_000
# Far above what any network here needs. A larger file would only fill the memory.
_LARGEST_JSON = 2**26
LARGEST_WEIGHTS = 2**35
"""The most bytes of a file of weights."""


def shipped_models(corpus: str | None = None) -> dict[str, Path]:
    """The models that come with muspike: folders by name.

    >>> from muspike import shipped_models
    >>> list(shipped_models("jsb"))
    ['s-cnn', 's-gan', 's-lstm', 's-rnn', 's-transformer']

    Args:
        corpus: only those that were trained on this corpus; None: all.
    """
    root = Path(str(resources.files("muspike") / "models"))
    found = {folder.name: folder for folder in sorted(root.glob("*")) if (folder / "model.json").is_file()}
    if corpus is None:
        return found
    return {name: folder for name, folder in found.items() if read_header(folder)["training"]["corpus"] == corpus}


def find_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of the model `name`.

    `name` is a model's folder, the folder of a training run (its model is in `model`), or the name of a shipped model.

    Raises:
        BadInput: `name` is neither a folder nor the name of a shipped model. For a NIR file or a chip program the
            message says which commands take it.
    """
    shipped = shipped_models()
    known = f"known are {', '.join(shipped)}" if shipped else "there is none"
    if not isinstance(name, str | os.PathLike):
        raise refuse("model", name, f"a folder or the name of a shipped model; {known}")
    folder = Path(name)
    if not folder.is_dir():
        if what := NETWORKS.get(folder.suffix):
            raise BadInput(
                f"{name}: is {what}, not a model that composes; muspike simulate {name} --random 0.1 says what it does "
                "and costs on a chip" + (f", muspike map {name} how it fits" if folder.suffix == ".nir" else "")
            )
        if str(name) not in shipped:
            raise BadInput(f"{name}: neither a model folder nor a shipped model; {known}")
        return shipped[str(name)]
    if not (folder / "model.json").exists() and (folder / "model").is_dir():
        return folder / "model"
    return folder


def read_header(folder: Path) -> dict[str, Any]:
    """The content of `model.json` in `folder`: `architecture`, `settings`, `training`, `weights` (file and sha256).

    Raises:
        BadInput: `model.json` cannot be read, has another format, was changed, lacks an entry or has one of a wrong
            type.
    """
    file = folder / "model.json"
    if not file.exists():
        raise BadInput(f"{file}: cannot be read: No such file or directory; a model folder holds model.json")
    check_file(file, _LARGEST_JSON)
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{file}: is not JSON: {error}") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else type(header).__name__
        if found in _OTHER_WORDS:
            other = f"is of format {found}, for other compound words"
            raise BadInput(f"{file}: {other}; this muspike reads format {FORMAT}: train anew")
        raise BadInput(f"{file}: is of format {found!r}; this muspike reads format {FORMAT}")
    if header.get("digest") != digest(header):
        raise BadInput(f"{file}: does not match its digest: it was changed or damaged after it was written")
    for keys, kind in _HEADER.items():
        value: Any = header
        for key in keys:
            value = value.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            wanted = " or ".join(k.__name__ for k in (kind if isinstance(kind, tuple) else (kind,)))
            raise BadInput(f"{file}: {'.'.join(keys)} is {value!r:.60}; a value of type {wanted} is wanted")
    if Path(header["weights"]["file"]).name != header["weights"]["file"]:
        raise BadInput(f"{file}: its weights are in {header['weights']['file']!r}; a file beside it is wanted")
    return header


def read_weights(folder: Path, header: Mapping[str, Any]) -> bytes:
    """The content of the weights file that `header` names. `header` was read from `folder`.

    Raises:
        BadInput: the file cannot be read, or its sha256 is not the one in `header`.
    """
    file = folder / str(header["weights"]["file"])
    check_file(file, LARGEST_WEIGHTS)
    try:
        with file.open("rb") as opened:
            # By parts, so that a wrong file does not fill the memory first.
            found = hashlib.file_digest(opened, "sha256").hexdigest()
            if found != header["weights"]["sha256"]:
                told = header["weights"]["sha256"][:12]
                raise BadInput(f"{file}: is damaged: its sha256 begins {found[:12]}, model.json says {told}")
            opened.seek(0)
            return opened.read()
    except OSError as error:
        raise BadInput(f"{file}: cannot be read: {error.strerror}") from error


def digest(header: Mapping[str, Any]) -> str:
    """The sha256, as hex, of a header without its entry `digest`."""
    text = json.dumps({k: v for k, v in header.items() if k != "digest"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def count_parameters(folder: Path, header: Mapping[str, Any]) -> int:
    """The number of weights in the weights file that `header` names. `header` was read from `folder`.

    Raises:
        BadInput: as for `read_weights`; or the file is not a safetensors file.
    """
    blob = read_weights(folder, header)
    length = int.from_bytes(blob[:8], "little")
    try:
        if len(blob) < 8 or not 0 < length <= min(len(blob) - 8, _LONGEST_HEADER):
            raise ValueError(f"a header of {length} bytes in a file of {len(blob)}")
        tensors = json.loads(blob[8 : 8 + length])
        return sum(math.prod(t["shape"]) for name, t in tensors.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(f"{folder / header['weights']['file']}: is no safetensors file: {error}") from error


def steps_of(training: Mapping[str, Any]) -> int:
    """Number of training steps up to a model, with the steps of the models that its training started from.

    `training` is the record of the training in the model's header.
    """
    steps = 0
    while training:
        steps += training["step"]
        training = training.get("initial_training") or training.get("warmup") or {}
    return steps
