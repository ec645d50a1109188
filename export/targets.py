"""The formats that a model can be exported to. Each is a row of `TARGETS` and a module of this folder.

This module imports only the standard library and what is open to all folders, so that the command line can list the
table at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from muspike.errors import BadInput, MuspikeError
from muspike.files import check_file, check_target, path_error, write_whole

if TYPE_CHECKING:
    from muspike.export.recording import Recording, Spikes
    from muspike.export.subject import Given, Stimulus, Subject
    from muspike.export.verify import Judgement, Proof


Options = Mapping[str, Any]
"""The values of options, by the option's name."""


class Option(NamedTuple):
    """An option that a target takes.

    Attributes:
        what: the option in words, for `--help`.
        default: its value if it is not given.
        local: whether it names something of this machine. It is never kept beside a file, nor taken from there.
    """

    what: str
    default: str | None = None
    local: bool = False


class Exporter(Protocol):
    """The functions that the module of a target has."""

    def write(self, subject: Subject, path: Path, options: Options) -> Mapping[str, Any] | None:
        """Write the network to the file `path`, and what belongs to it beside it. `options` has all of the target's.

        Returns:
            What the options give up against the network, and what that saves, by name; None or empty: nothing.

        Raises:
            BadInput: the format cannot hold the network (the message names the node and the reason), or an option has a
                value that it cannot have.
            Failed: the disk refuses, or something that the proof needs is missing.
        """

    def judgement(self, subject: Subject, options: Options) -> Judgement:
        """How the file of this network, written with `options`, is judged."""

    def expect(self, subject: Subject, stimulus: Stimulus, options: Options) -> Recording:
        """What the reference does on the stimulus.

        Raises:
            BadInput: as `write`.
        """

    def run(self, path: Path, inputs: Spikes, options: Options) -> Recording:
        """Read `path` back and run it, by other code than the reference's, on input spikes `[ticks, batch, size]`.

        Raises:
            BadInput: the file is not one that `write` wrote.
            Failed: the code that runs the file is missing, or stopped with an error.
        """


class Target(NamedTuple):
    """A format.

    Attributes:
        what: the files of the format, in words: "a NIR file".
        suffix: the end of a file's name.
        options: the options that the target takes, by name. On the command line they are `--NAME`.
        module: the name of the module, an `Exporter`, which is imported when it is used.
        forms: sets of options that `muspike targets` tries beside no options.
    """

    what: str
    suffix: str
    options: Mapping[str, Option]
    module: str
    forms: Sequence[Mapping[str, str]] = ()

    @property
    def exporter(self) -> Exporter:
        """The module, imported."""
        return cast(Exporter, importlib.import_module(self.module))

    def chosen(self, given: Options) -> dict[str, Any]:
        """The value of each option: the given one, or its default if it is left out or None."""
        found = {name: given.get(name) for name in self.options}
        return {name: self.options[name].default if value is None else value for name, value in found.items()}


_CHIP = "the chip, by name or as a .toml file"
_PYTHON = "an interpreter that has what runs the file: Lava (see muspike lava --help), snnTorch, or the tool of --for"

TARGETS: Mapping[str, Target] = {
    "nir": Target(
        "a NIR file",
        ".nir",
        {
            "for": Option("the tool that is to run the file: snntorch, spikingjelly, sinabs or norse"),
            "python": Option(_PYTHON, local=True),
        },
        "muspike.export.to_nir_file",
        ({"for": "snntorch"}, {"for": "spikingjelly"}, {"for": "sinabs"}, {"for": "norse"}),
    ),
    "onnx": Target(
        "an ONNX file",
        ".onnx",
        {
            "form": Option("step (with explicit state), scan (over time) or chip (the integers of a chip)", "step"),
            "precision": Option(
                "of a network in floats: float64 (the default of one that spikes), float32, or int8 with a receipt"
            ),
            "chip": Option(f"{_CHIP}, with --form chip (default: loihi1)"),
        },
        "muspike.export.to_onnx",
        ({"form": "scan"}, {"form": "chip", "chip": "loihi2"}, {"precision": "int8"}),
    ),
    "lava": Target(
        "a chip program",
        ".npz",
        {
            "arithmetic": Option("fixed (a chip's integers) or floating (the network's floats)", "fixed"),
            "chip": Option(_CHIP, "loihi1"),
            "python": Option(_PYTHON, local=True),
        },
        "muspike.export.to_lava",
        ({"arithmetic": "floating"},),
    ),
    "snntorch": Target("a Python file", ".py", {"python": Option(_PYTHON, local=True)}, "muspike.export.to_snntorch"),
    "lava-dl": Target(
        "a lava-dl network",
        ".net",
        {
            "chip": Option(_CHIP, "loihi1"),
            "python": Option(_PYTHON, local=True),
        },
        "muspike.export.to_lava_dl",
    ),
}


def export(model: Subject | Given | str | Path, to: str, path: Path, count: int = 16, **options: Any) -> Proof:
    """Write a network to `path` in the format called `to`, and prove that the file is the same network.

    The file is written and proved elsewhere. It has its own name only if the proof holds. What is expected of it lies
    beside it, in `PATH.expected.npz`, for `verify`.

    Args:
        model: a model, a NIR graph or a chip's program; or the name of a model or its folder, or a `.nir`, `.net` or
            `.npz` file; a `Subject.of(file, dt_s)` if the file does not say its dt.
        to: a name in `TARGETS`.
        path: the file, which ends in the target's suffix.
        count: number of compound words to compare on. A model composes them itself.
        options: options of the target. An option that is left out, or is None, has its default.

    Raises:
        BadInput: there is no such target, the target takes no such option, or `path` has another suffix; or
            `Exporter.write` refuses the network or an option; or `path` cannot be written.
        Failed: as `Exporter.write` and `Exporter.run`.
    """
    from muspike.export.subject import Subject
    from muspike.export.verify import Expected, compare, digests, expected_path

    if to not in TARGETS:
        raise BadInput(f"target {to!r} is not known; known are {', '.join(TARGETS)}")
    target = TARGETS[to]
    if stranger := next((name for name in options if name not in target.options), None):
        raise BadInput(f"target {to}: takes no option {stranger!r}; it takes {', '.join(target.options) or 'none'}")
    if path.suffix != target.suffix:
        raise BadInput(f"{path}: {target.what} ends in {target.suffix}")
    check_target(path)
    check_target(expected_path(path))
    if isinstance(model, str | Path) and path.is_file() and Path(model).is_file() and path.samefile(model):
        raise BadInput(f"{path}: is what is exported; give another --output")
    chosen, subject = target.chosen(options), Subject.of(model)
    with _elsewhere(path) as staged:
        receipt = target.exporter.write(subject, staged, chosen) or {}
        _check_beside(path, staged)
        judgement = target.exporter.judgement(subject, chosen)
        stimulus = subject.stimulus(count, judgement.batch)
        recording = target.exporter.expect(subject, stimulus, chosen)
        found = target.exporter.run(staged, stimulus.spikes, chosen)
        proof = dataclasses.replace(compare(str(path), judgement, recording, found), receipt=receipt)
        if proof.holds:
            written = sorted(file.name for file in staged.parent.iterdir())
            kept = {
                name: value
                for name, value in chosen.items()
                if isinstance(value, str) and not target.options[name].local
            }
            sha256 = digests(staged.parent, written)
            Expected(to, kept, judgement, sha256, stimulus.spikes, recording).save(expected_path(staged))
            # All are written before any is in its place. The file itself, which is entered first, comes last.
            with contextlib.ExitStack() as places:
                for name in sorted((file.name for file in staged.parent.iterdir()), key=lambda name: name != path.name):
                    shutil.copyfile(staged.with_name(name), places.enter_context(write_whole(path.with_name(name))))
    return proof


def verify(path: Path, **options: Any) -> Proof:
    """Prove an exported file again, from the file and what lies beside it.

    Args:
        path: the file.
        options: options of its target that differ here, such as the `python` that runs Lava.

    Raises:
        BadInput: the file or what belongs to it is missing, damaged, or was changed after its proof; or its target
            takes no such option.
        Failed: as `Exporter.run`.
    """
    from muspike.export.verify import Expected, compare, digests, expected_path

    check_file(path)
    beside = expected_path(path)
    if not beside.exists():
        raise BadInput(
            f"{beside}: is missing; `muspike export` writes it beside the file, and it travels with the file"
        )
    expected = Expected.load(beside)
    if expected.target not in TARGETS:
        raise BadInput(f"{beside}: target {expected.target!r:.40} is not known; known are {', '.join(TARGETS)}")
    target = TARGETS[expected.target]
    if stranger := next(
        (name for name, value in options.items() if value is not None and name not in target.options), None
    ):
        raise BadInput(f"{path}: target {expected.target} takes no option {stranger!r}")
    if path.suffix != target.suffix:
        raise BadInput(f"{path}: {beside.name} is about {target.what}, which ends in {target.suffix}")
    if path.name not in expected.sha256:
        raise BadInput(
            f"{path}: {beside.name} is about {', '.join(expected.sha256)}; files that belong together keep their names"
        )
    for name, sha256 in digests(path.parent, list(expected.sha256)).items():
        if sha256 != expected.sha256[name]:
            raise BadInput(f"{path.with_name(name)}: was changed after its proof; export the network anew")
    kept = {
        name: v for name, v in expected.options.items() if name in target.options and not target.options[name].local
    }
    chosen = target.chosen({**kept, **{name: v for name, v in options.items() if v is not None}})
    found = target.exporter.run(path, expected.inputs, chosen)
    return compare(str(path), expected.judgement, expected.recording, found)


def _check_beside(path: Path, staged: Path) -> None:
    """Refuse to replace a file beside `path` that no export wrote there.

    Raises:
        BadInput: there is such a file.
    """
    from muspike.export.verify import Expected, expected_path

    ours: Mapping[str, str] = {}
    if (beside := expected_path(path)).exists():
        try:
            ours = Expected.load(beside).sha256
        except BadInput as error:
            raise BadInput(f"{beside}: is there already, and no export wrote it; give another --output") from error
    for file in staged.parent.iterdir():
        other = path.with_name(file.name)
        if file.name in (path.name, *ours) or not other.exists():
            continue
        if not other.is_file() or other.read_bytes() != file.read_bytes():
            raise BadInput(f"{other}: is there already, and the export would replace it; give another --output")


@contextlib.contextmanager
def _elsewhere(path: Path) -> Iterator[Path]:
    """A path of the same name in an empty folder of its own, which is called by its real name in errors."""
    with tempfile.TemporaryDirectory(prefix="muspike-export-") as folder:
        staged = Path(folder) / path.name
        try:
            yield staged
        except MuspikeError as error:
            raise type(error)(str(error).replace(str(staged), str(path))) from error
        except OSError as error:
            raise path_error(f"{path}: cannot be written", error) from error
