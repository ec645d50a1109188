"""The formats that a model can be exported to, each a row of `TARGETS` and a module of this folder.

The table imports only the standard library, so that the command line can list it at once.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from muspike.errors import BadInput

if TYPE_CHECKING:
    from muspike.checkpoint import Model
    from muspike.export.verify import Proof

Options = Mapping[str, Any]
"""By name of an option, its value."""


class Option(NamedTuple):
    """An option that a target takes.

    Attributes:
        what: the option in words, for `--help`.
        default: its value if it is not given.
    """

    what: str
    default: str | None = None


class Exporter(Protocol):
    """What the module of a target has."""

    def write(self, model: Model, path: Path, options: Options) -> None:
        """Write `model` to the file `path`; `options` has all options of the target.

        Raises:
            BadInput: the format cannot hold the model, or an option is none that it can have.
            Failed: the disk refuses, or what the proof needs is not there.
        """

    def prove(self, model: Model, path: Path, count: int, options: Options) -> Proof:
        """Read `path` back, run it by other code on `count` compound words, and compare every spike.

        Raises:
            Failed: what runs the file stopped with an error.
        """


class Target(NamedTuple):
    """A format.

    Attributes:
        what: its files, in words: "a NIR file".
        suffix: how a file's name ends.
        options: the options that it takes, by name. On the command line they are `--NAME`.
        module: an `Exporter`, imported when it is used.
    """

    what: str
    suffix: str
    options: Mapping[str, Option]
    module: str

    @property
    def exporter(self) -> Exporter:
        """The module."""
        return cast(Exporter, importlib.import_module(self.module))


TARGETS: Mapping[str, Target] = {
    "nir": Target("a NIR file", ".nir", {}, "muspike.export.to_nir"),
    "lava": Target(
        "a chip program",
        ".npz",
        {
            "chip": Option("the chip, by name or as a .toml file", "loihi1"),
            "python": Option("an interpreter that has Lava (see muspike lava --help)"),
        },
        "muspike.export.to_lava",
    ),
}


def export(model: Model, to: str, path: Path, count: int = 16, **options: Any) -> Proof:
    """Write a model to `path` in the format called `to`, and prove that the file is the same network.

    Args:
        count: compound words, which the model composes itself, to compare on.
        options: of the target; one that is left out, or None, is its default.

    Raises:
        BadInput: there is no such target, it takes no such option, or its files end otherwise; or as `Exporter.write`.
        Failed: as `Exporter.write` and `Exporter.prove`.
    """
    if to not in TARGETS:
        raise BadInput(f"target {to!r} is not known; there is: {', '.join(TARGETS)}")
    target = TARGETS[to]
    if stranger := next((name for name in options if name not in target.options), None):
        raise BadInput(f"target {to}: takes no option {stranger!r}; it takes {', '.join(target.options) or 'none'}")
    if path.suffix != target.suffix:
        raise BadInput(f"{path}: {target.what} ends in {target.suffix}")
    given = {name: value for name, value in options.items() if value is not None}
    chosen = {name: given.get(name, option.default) for name, option in target.options.items()}
    target.exporter.write(model, path, chosen)
    return target.exporter.prove(model, path, count, chosen)
