"""What `map`, `simulate` and `run-lava` are given: a network in one of several files, spikes and labels."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from muspike.cli.options import named, number, path, refuse_unused, seconds, whole
from muspike.cli.output import note, waiting
from muspike.errors import BadInput
from muspike.files import check_file
from muspike.ranges import RATE, SEED, TICKS
from muspike.ranges import whole as whole_numbers

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from muspike.bench.workload import Workload
    from muspike.export.from_torch.convert import Converted
    from muspike.export.subject import Subject
    from muspike.hardware.graph import SpikingGraph
    from muspike.hardware.running.spikes import InputSpikes

RANDOM_TICKS = 100
_LENGTH = ". For a network without input, the length of the run"
_DT_S = 1e-3  # of a torch module, which has no seconds
PYTHON_HELP = (
    "a Python file with a function that returns a torch module of Norse, snnTorch, SpikingJelly or sinabs neurons and "
    "a sample of its input. The file is EXECUTED: it must be your own code, or code that you trust"
)


def add_python(sub: argparse.ArgumentParser) -> None:
    """Add the options of a Python file that builds a torch module."""
    sub.add_argument(
        "--sample",
        metavar="FILE.npy",
        type=path,
        help="of a .py file: the sample input of the module, instead of the one that the function returns",
    )
    sub.add_argument(
        "--per-tick",
        action="store_true",
        help="of a .py file: the module's forward computes one tick; the sample is [ticks, ...]",
    )
    sub.add_argument(
        "--allow",
        metavar="NAME",
        action="append",
        choices=("reset", "input"),
        help="of a .py file: convert neurons that reset otherwise than a chip (reset), and tell the difference; or "
        "a sample that holds no spikes (input)",
    )


def add_input_bias(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--input-bias",
        metavar="IMAGE.npy",
        type=path,
        help="for a .net whose input layer has neurons: whole numbers [channel, y, x], the image as the biases of "
        "these neurons (default: 0)",
    )


def add_reset(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reset-every",
        type=whole(TICKS),
        metavar="TICKS",
        help="bring every neuron to rest after so many ticks, for samples that follow one another (default: never)",
    )


def add_scale(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--scale",
        choices=("auto", "keep"),
        help="auto: take the numbers of a network as they stand if they are the chip's integers already, else scale "
        "and round them; keep: refuse numbers that are not the chip's integers (default: auto; keep for a .net)",
    )


def add_graded(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--graded",
        action="store_true",
        help="let an input's spike be the number of its events in a tick, which multiplies the weights, and not 0 or "
        "1, on a chip whose spikes carry a value: --chip loihi2 --graded --input events.npz",
    )


def add_input(sub: argparse.ArgumentParser, what: str, without_input: str = "") -> None:
    """Add the options that give a network spikes. `without_input` ends the help of --ticks."""
    given = sub.add_mutually_exclusive_group()
    given.add_argument("--input", metavar="SPIKES", type=path, help=f"{what}: .npz, .npy or NIR data")
    given.add_argument(
        "--random", metavar="RATE", type=number(RATE), help="random input instead: spikes per neuron and tick"
    )
    sub.add_argument(
        "--ticks",
        type=whole(TICKS),
        help="length of the input: longer input is cut, silence follows shorter input (default: all of the file; "
        f"{RANDOM_TICKS} for --random){without_input}",
    )
    sub.add_argument("--seed", type=whole(SEED), help="seed of --random (default: 0)")


def add_network(sub: argparse.ArgumentParser, several: bool = False) -> None:
    """Add the argument NETWORK, which `subject_of` reads, and the options of a file that it may name.

    With `several`, any number of networks may be given, as `networks`.
    """
    sub.add_argument(
        "networks" if several else "file",
        metavar="NETWORK",
        nargs="*" if several else None,
        type=named,
        help="a shipped model (see muspike models), the folder of a model, a .nir file of any tool, a .net of lava-dl, "
        f"a chip program (.npz); or FILE.py:FUNCTION, {PYTHON_HELP}",
    )
    sub.add_argument("--dt", type=seconds, help="seconds per tick of a .nir or .net file that does not say them")
    add_python(sub)


def add_workload(sub: argparse.ArgumentParser) -> None:
    """Add the options that say what a network is run on, which `workload_of` reads."""
    sub.add_argument(
        "--pieces",
        type=whole(whole_numbers(1, 10_000)),
        help="of a network that reads music: the most test pieces to read, 128 words of each (default: 16)",
    )
    sub.add_argument("--data", help="the data set whose test pieces are read (default: the one it was trained on)")
    add_input(sub, "the spikes to run on, instead of music; each sequence is a sample", _LENGTH)


def subject_of(args: argparse.Namespace) -> tuple[Subject, Converted | None]:
    """The network of the argument NETWORK; of a torch module, also how it was converted.

    Raises:
        BadInput: there is no such network, or it cannot be read.
    """
    with waiting("loading torch"):
        from muspike.export.subject import Subject

    python = python_file(Path(args.file))
    if python is None:
        refuse_unused(args, f"for {args.file}, only for a .py file", "sample", "per_tick", "allow")
        subject = Subject.of(args.file, args.dt)
        if _is_net(Path(args.file)):
            for told in subject.graph.metadata.get("notes", []):
                note(f"{args.file}: {told}")
        return subject, None
    found = read_module(args, python)
    return Subject(args.file, found.graph), found


def workload_of(args: argparse.Namespace, subject: Subject, converted: Converted | None = None) -> Workload:
    """What the options of `add_workload` ask to run a network on.

    Raises:
        BadInput: options contradict each other, or the network cannot be run on what they ask for.
    """
    from muspike.bench import workload
    from muspike.hardware.program import Program
    from muspike.hardware.running.report import graded_inputs
    from muspike.hardware.running.simulate import input_shapes

    given = None
    if converted is not None or args.input or args.random or args.ticks:
        refuse_unused(args, "with spikes; it is for music", "pieces", "data")
        network = subject.given if isinstance(subject.given, Program) else subject.graph
        shapes = input_shapes(network)
        counting = graded_inputs(network) if isinstance(network, Program) else shapes if _graded(args) else ()
        given = sample_spikes(args, converted) or read_input(args, shapes, network.dt_s, graded=counting)
    else:
        refuse_unused(args, "without --random", "seed")
    drawn = given is not None and (bool(args.random) or not given.spikes)
    return workload.workload_of(
        subject,
        given,
        per="tick" if drawn else "sample",
        pieces=args.pieces or workload.PIECES,
        corpus=args.data,
        graded=_graded(args),
    )


def _graded(args: argparse.Namespace) -> bool:
    """Whether the command has the option of `add_graded`, and it is given."""
    return bool(getattr(args, "graded", False))


def read_network(
    args: argparse.Namespace, labels: npt.NDArray[np.int64] | None = None
) -> tuple[SpikingGraph, Converted | None]:
    """The network of the file that a command is given; of a torch module, also how it was converted."""
    from muspike.hardware.reader.file import read_nir
    from muspike.hardware.reader.from_nir import from_nir

    python = python_file(args.file)
    if not _is_net(args.file):
        refuse_unused(args, f"for a file that is no .net ({args.file})", "input_bias")
    if python is None:
        refuse_unused(args, f"for a network in a file ({args.file})", "sample", "per_tick", "allow")
        if _is_net(args.file):
            return _lava_dl_network(args), None
        graph = read_nir(args.file)
        with about(args.file):
            return from_nir(graph, args.dt), None
    found = read_module(args, python, None if args.input else labels)
    with about(args.file):
        graph = from_nir(found.graph)
    args.file = python[0]
    return graph, found


def read_module(
    args: argparse.Namespace, python: tuple[Path, str | None], labels: npt.NDArray[np.int64] | None = None
) -> Converted:
    """The torch module that a function of a Python file builds, as a graph."""
    with waiting("loading torch"):
        from muspike.export.from_torch.convert import convert
        from muspike.export.from_torch.python_file import build, called, read_sample

    given = None if args.sample is None else read_sample(args.sample)
    module, own = build(*python)
    sample = own if given is None else given
    if sample is None:
        raise BadInput(f"{python[0]}: returns no sample input of the module; return (module, sample), or give --sample")
    file, function = python
    with (
        about(f"{file}:{function}" if function else file),
        contextlib.redirect_stdout(sys.stderr),
    ):  # a forward may print
        return called(
            python[0],
            lambda: convert(
                module,
                sample,
                dt_s=args.dt or _DT_S,
                per_tick=args.per_tick,
                allow=args.allow or (),
                labels=labels,
            ),
        )


def python_file(file: Path) -> tuple[Path, str | None] | None:
    """The Python file and the function that an argument names; None: it names another file."""
    text, colon, function = str(file).rpartition(":")
    if colon and text.endswith(".py") and function.isidentifier():
        return Path(text), function
    return (file, None) if file.suffix == ".py" else None


def _lava_dl_network(args: argparse.Namespace) -> SpikingGraph:
    from muspike.hardware.reader.net import read_net

    graph = read_net(args.file, args.dt, None if args.input_bias is None else _image(args.input_bias))
    for told in graph.metadata.get("notes", []):
        note(f"{args.file}: {told}")
    return graph


def _is_net(file: Path) -> bool:
    return file.suffix == ".net"


def _image(file: Path) -> npt.NDArray[np.generic]:
    from muspike.errors import one_line
    from muspike.hardware.npz import UNREADABLE, read_array

    check_file(file)
    with about(file):
        try:
            return read_array(file.read_bytes())
        except UNREADABLE as error:
            raise BadInput(f"damaged, or no .npy file: {one_line(error)}") from error


def is_program(file: Path) -> bool:
    """Whether a file is a program, by its first bytes, or by its name if it is empty."""
    if file.is_dir():
        from muspike.hardware.kinds import named

        raise BadInput(named(file, "is a folder, expected a file"))
    check_file(file)
    with file.open("rb") as opened:
        first = opened.read(2)
    return first == b"PK" or (not first and file.suffix == ".npz")


def scale_of(args: argparse.Namespace) -> str:
    """Whether integers of a network have to stay. Those of a `.net` do, unless it is asked otherwise."""
    return args.scale or ("keep" if _is_net(args.file) else "auto")


def read_input(
    args: argparse.Namespace,
    shapes: Mapping[str, Sequence[int]],
    dt_s: float,
    labels: str | None = None,
    graded: Collection[str] = (),
) -> InputSpikes:
    """The input spikes that the options ask for; notes about them go to stderr.

    --input or --random gives spikes to inputs of these shapes. --ticks alone is enough for a network without inputs.
    `labels` is the array of the input that holds labels. The inputs in `graded` take counts, and lose nothing.
    """
    from muspike.hardware.readings import READINGS
    from muspike.hardware.running.spikes import InputSpikes, random_spikes, read_spikes

    if not shapes and args.input is None and not args.random:
        if not args.ticks:
            raise BadInput("the network has no input; --ticks says how long it is to run")
        refuse_unused(args, "without --random", "seed")
        return InputSpikes(args.ticks, 1, {})
    if args.random:
        return random_spikes(shapes, args.random, args.ticks or RANDOM_TICKS, args.seed or 0)
    if args.input is None:
        raise BadInput("no spikes: give --input SPIKES, or --random RATE")
    refuse_unused(args, "without --random", "seed")
    # A float network that counts takes counts, and so do graded inputs; any other input gets one spike for each.
    counts = READINGS[getattr(args, "reads_as", None) or "nir"].counts or bool(graded)
    given = read_spikes(args.input, shapes, dt_s, args.ticks, besides=[labels] if labels else [], counts=counts)
    for found in (*(merged.told for merged in given.merged if merged.input not in graded), *given.notes):
        note(f"{args.input}: {found}")
    return given


def sample_spikes(args: argparse.Namespace, converted: Converted | None) -> InputSpikes | None:
    """The sample of a torch module as the input of a run; None if there is none, or another input is given."""
    from muspike.hardware.running.spikes import InputSpikes

    if converted is None or converted.spikes is None or args.input or args.random:
        return None
    refuse_unused(args, "without --input or --random", "ticks", "seed")
    spikes = converted.spikes
    if spikes.max(initial=0) > 1 and not _graded(args):
        raise BadInput(
            f"{args.file}: the sample holds up to {spikes.max()} spikes of an input in a tick, and an input of a chip "
            "spikes once: --graded, on a chip whose spikes carry a value, or a sample of 0 and 1"
        )
    return InputSpikes(len(spikes), spikes.shape[1], {"input": spikes})


def conversion_lines(converted: Converted | None) -> list[str]:
    return [] if converted is None else ["", *(f"torch module: {line}" for line in converted.told)]


def read_labels_of(args: argparse.Namespace) -> tuple[npt.NDArray[np.int64] | None, str | None, str]:
    """The labels of `--labels`, the array of the input that holds them, and where they are from; else None, None, "".

    A name that ends in .npy or .npz is a file; any other is an array of the input.
    """
    if args.labels is None:
        refuse_unused(args, "without --labels", "answer", "decide")
        return None, None, ""
    if not args.input and not (python_file(args.file) and not args.random and labels_file(args)):
        raise BadInput("--labels: labels belong to the sequences of --input SPIKES; give that too")
    from muspike.hardware.running.spikes import read_labels

    own = labels_file(args)
    file = own or args.input
    labels, array = read_labels(file, None if own else args.labels)
    inside = array is not None and bool(args.input) and os.path.realpath(file) == os.path.realpath(args.input)
    return labels, array if inside else None, f"{file}" if array is None else f"array {array!r} of {file}"


def labels_file(args: argparse.Namespace) -> Path | None:
    """The file that `--labels` names; None if it names an array of the input, or is not given."""
    return Path(args.labels) if args.labels and Path(args.labels).suffix in (".npy", ".npz") else None


@contextlib.contextmanager
def about(file: Path | str) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error
