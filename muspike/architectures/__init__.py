"""The table of architectures.

An architecture is a file with a `Config` and `build(config)`, and a TOML file beside it with its presets. `build`
returns a `Generator`: a `Network` if the architecture spikes, else its twin in plain torch (`ann.py`).
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, NamedTuple

from muspike.architectures import ann, s_cnn, s_gan, s_lstm, s_rnn, s_transformer
from muspike.arguments import mapping, one_of
from muspike.errors import BadInput
from muspike.network import Generator


class Architecture(NamedTuple):
    """One row of the table.

    Attributes:
        config: the dataclass of its settings.
        build: makes the generator from an instance of `config`.
        spikes: False for a twin, which does not spike.
    """

    config: type[Any]
    build: Callable[[Any], Generator]
    spikes: bool = True


ARCHITECTURES: Mapping[str, Architecture] = {
    "s-cnn": Architecture(s_cnn.Config, s_cnn.build),
    "s-rnn": Architecture(s_rnn.Config, s_rnn.build),
    "s-lstm": Architecture(s_lstm.Config, s_lstm.build),
    "s-gan": Architecture(s_gan.Config, s_gan.build),
    "s-transformer": Architecture(s_transformer.Config, s_transformer.build),
    "ann-rnn": Architecture(ann.Recurrent, ann.RNN, spikes=False),
    "ann-lstm": Architecture(ann.Recurrent, ann.LSTM, spikes=False),
    "ann-cnn": Architecture(ann.Convolutional, ann.CNN, spikes=False),
    "ann-gan": Architecture(ann.Adversarial, ann.GAN, spikes=False),
    "ann-transformer": Architecture(ann.Attending, ann.Transformer, spikes=False),
}


def find(name: str) -> Architecture:
    """The architecture called `name`.

    Raises:
        BadInput: there is no such architecture.
    """
    return ARCHITECTURES[one_of("architecture", name, ARCHITECTURES)]


def build(name: str, settings: Mapping[str, Any]) -> Generator:
    """Build the network of the architecture called `name`, with the settings of a preset or a checkpoint.

    Raises:
        BadInput: there is no such architecture, or a setting is unknown, of the wrong type or out of its range.
    """
    architecture = find(name)
    return architecture.build(configured(architecture.config, settings, f"architecture {name}"))


def configured(config: type[Any], settings: Mapping[str, Any], where: str) -> Any:
    """An instance of the dataclass `config` with the values of `settings`. Lists become tuples.

    Args:
        settings: plain data, as TOML or JSON hold it.
        where: the start of an error message.

    Raises:
        BadInput: `config` has no such key, or a value is not of the type of the default.
    """
    fields = {f.name: f for f in dataclasses.fields(config)}
    values = {}
    for key, value in mapping(f"{where}: settings", settings, "a dict").items():
        if key not in fields:
            raise BadInput(f"{where}: unknown key {key!r}; known are {', '.join(fields)}")
        value = tuple(value) if isinstance(value, list) else value
        default = fields[key].default
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if default is not dataclasses.MISSING and type(value) is not type(default):
            raise BadInput(f"{where}: {key} = {value!r} must be of type {type(default).__name__}, as {default!r}")
        if isinstance(value, tuple):
            _check_entries(value, default if isinstance(default, tuple) else (), f"{where}: {key}")
        values[key] = value
    return config(**values)


def _check_entries(values: tuple[Any, ...], default: tuple[Any, ...], what: str) -> None:
    """Refuse entries that are not numbers of the default's type.

    Text is allowed too if `what` is a setting of delays, which can be given in periods; and it is wanted if `what` is
    the setting `hears`, `direct` or `labels`.
    """
    texts = dict.fromkeys(("hears", "direct"), "names of groups of axons") | {"labels": "names of labels"}
    if wanted := texts.get(what.rpartition(": ")[2]):
        for entry in values:
            if not isinstance(entry, str):
                raise BadInput(f"{what} has the entry {entry!r}; {wanted} are wanted")
        return
    whole = all(isinstance(entry, int) for entry in default)
    for entry in values:
        number = isinstance(entry, int if whole else int | float) and not isinstance(entry, bool)
        if not (number or (isinstance(entry, str) and what.endswith("_delays"))):
            raise BadInput(f"{what} has the entry {entry!r}; numbers are wanted, as in {list(default)}")


def presets(name: str) -> dict[str, dict[str, Any]]:
    """The presets of the architecture called `name`, by name. Each has the tables `network` and `training`.

    Raises:
        BadInput: there is no such architecture.
    """
    find(name)
    text = (resources.files(__package__) / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def preset(name: str, which: str) -> dict[str, Any]:
    """The preset called `which` of the architecture called `name`.

    Raises:
        BadInput: there is no such architecture or preset.
    """
    found = presets(name)
    return found[one_of(f"{name}: preset", which, found)]
