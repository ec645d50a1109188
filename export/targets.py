"""The formats that a model can be exported to. Each is a row of `TARGETS` and a module of this folder.

This module imports only the standard library and what is open to all folders, so that the command line can list the
table at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from muspike.errors import BadInput, MuspikeError
from muspike.files import check_target, write_whole

if TYPE_CHECKING:
    from muspike.checkpoint import Model
    from muspike.export.verify import Proof

Options = Mapping[str, Any]
"""The values of options, by the option's name."""


class Option(NamedTuple):
    """An option that a target takes.

    Attributes:
        what: the option in words, for `--help`.
        default: its value if it is not given.
    """

    what: str
    default: str | None = None


class Exporter(Protocol):
    """The functions that the module of a target has."""

    def write(self, model: Model, path: Path, options: Options) -> None:
        """Write `model` to the file `path`. `options` has all options of the target.

        Raises:
            BadInput: the format cannot hold the model, or an option has a value that it cannot have.
            Failed: the disk refuses, or something that the proof needs is missing.
        """

    def prove(self, model: Model, path: Path, count: int, options: Options) -> Proof:
        """Read `path` back, run it by other code on `count` compound words, and compare every spike.

        Raises:
            Failed: the code that runs the file stopped with an error.
        """


class Target(NamedTuple):
    """A format.

    Attributes:
        what: the files of the format, in words: "a NIR file".
        suffix: the end of a file's name.
        options: the options that the target takes, by name. On the command line they are `--NAME`.
        module: the name of the module, an `Exporter`, which is imported when it is used.
    """

    what: str
    suffix: str
    options: Mapping[str, Option]
    module: str

    @property
    def exporter(self) -> Exporter:
        """The module, imported."""
        return cast(Exporter, importlib.import_module(self.module))

    def chosen(self, given: Options) -> dict[str, Any]:
        """The value of each option: the given one, or its default if it is left out or None."""
        found = {name: given.get(name) for name in self.options}
        return {name: self.options[name].default if value is None else value for name, value in found.items()}


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

    The file is written and proved under a temporary name. It has its own name only if the proof holds.

    Args:
        model: the model.
        to: a name in `TARGETS`.
        path: the file, which ends in the target's suffix.
        count: number of compound words to compare on. The model composes them itself.
        options: options of the target. An option that is left out, or is None, has its default.

    Raises:
        BadInput: there is no such target, the target takes no such option, or `path` has another suffix; or
            `Exporter.write` refuses the model or an option; or `path` cannot be written.
        Failed: as `Exporter.write` and `Exporter.prove`.
    """
    if to not in TARGETS:
        raise BadInput(f"target {to!r} is not known; known are {', '.join(TARGETS)}")
    target = TARGETS[to]
    if stranger := next((name for name in options if name not in target.options), None):
        raise BadInput(f"target {to}: takes no option {stranger!r}; it takes {', '.join(target.options) or 'none'}")
    if path.suffix != target.suffix:
        raise BadInput(f"{path}: {target.what} ends in {target.suffix}")
    check_target(path)
    chosen = target.chosen(options)
    with contextlib.suppress(_Unequal), write_whole(path) as temporary, _called(path, temporary):
        target.exporter.write(model, temporary, chosen)
        proof = dataclasses.replace(target.exporter.prove(model, temporary, count, chosen), file=str(path))
        if not proof.holds:
            raise _Unequal
    return proof


class _Unequal(Exception):
    """The proof does not hold, so the file must not be kept."""


@contextlib.contextmanager
def _called(path: Path, temporary: Path) -> Iterator[None]:
    """Call the temporary file by its own name in errors."""
    try:
        yield
    except MuspikeError as error:
        raise type(error)(str(error).replace(str(temporary), str(path))) from error
