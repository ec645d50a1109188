"""`map`, `simulate` and `run-lava`: put any network on a chip, and run it there on spikes."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shlex
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muspike.cli import onnx
from muspike.cli.options import (
    Commands,
    add_chip,
    add_json,
    add_lava_python,
    find_chip,
    named,
    number,
    path,
    refuse_unused,
    seconds,
    whole,
)
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput, Failed
from muspike.files import check_file, check_target
from muspike.ranges import RATE, SEED, TICKS, share
from muspike.tables import text_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from muspike.export.from_torch.convert import Converted
    from muspike.hardware.chip import Chip
    from muspike.hardware.graph import SpikingGraph
    from muspike.hardware.mapping.compile import Compiled
    from muspike.hardware.program import Program
    from muspike.hardware.running.classification import Classification
    from muspike.hardware.running.simulate import Simulation
    from muspike.hardware.running.spikes import InputSpikes

RANDOM_TICKS = 100
_DT_S = 1e-3  # of a torch module, which has no seconds
_PYTHON_HELP = (
    "a Python file with a function that returns a torch module of Norse, snnTorch, SpikingJelly or sinabs neurons and "
    "a sample of its input. The file is EXECUTED: it must be your own code, or code that you trust"
)
_LENGTH = ". For a network without input, the length of the run"
_WORKER_HELP = """{}
needs nothing of muspike, only a Python that has lava-nc 0.10.0:
  python lava_worker.py PROGRAM.npz INPUTS.npy OUTPUT.npz [--membranes]
INPUTS.npy is uint8 [ticks, batch, size] (uint16 if inputs are graded), the inputs side by side in the program's order.
OUTPUT.npz holds, for the program's population i, spikes_<i>, and v_<i> and u_<i>."""


def add(commands: Commands) -> None:
    """Add the commands."""
    mapping = commands.add(
        "map",
        _map,
        "Show how a network, from a file or a torch module that a Python file builds, fits a chip, and what the chip's "
        "integers do to it. Status 1: it does not fit.",
        "muspike map network.nir --chip loihi2 --dt 0.001",
    )
    mapping.add_argument(
        "file",
        metavar="FILE.nir|FILE.net|FILE.py:FUNCTION",
        type=path,
        help="a network written by any tool that writes NIR, or by lava-dl's SLAYER (.net), whose integers stay as "
        f"they are; or {_PYTHON_HELP}",
    )
    _add_python(mapping)
    add_chip(mapping, "loihi1")
    mapping.add_argument("--dt", type=seconds, help="seconds per tick, if the file does not say; no .net says it")
    _add_input_bias(mapping)
    _add_reset(mapping)
    _add_scale(mapping)
    _add_graded(mapping)
    mapping.add_argument(
        "--fill",
        type=number(share()),
        default=1.0,
        help="the share of each core's neurons and synaptic memory to use (default: 1, the fewest cores)",
    )
    _add_reads_as(mapping)
    _add_input(mapping, "also run the chip's integers and the float network on these spikes, and say how they agree")
    mapping.add_argument("-o", "--output", type=path, help="write the chip's program to this .npz file")
    _add_report(mapping)
    add_json(mapping, "the report")

    simulate = commands.add(
        "simulate",
        _simulate,
        "Run a network as the integers of a chip on given spikes: every spike, what each core does, what it costs, and "
        "how closely the chip follows the float network.",
        "muspike simulate network.nir --chip loihi1 --input spikes.npz -o out.npz",
    )
    simulate.add_argument(
        "file",
        metavar="FILE.nir|FILE.net|PROGRAM.npz|FILE.onnx|FILE.py:FUNCTION",
        type=path,
        help="a network in NIR or of lava-dl (.net), a program written by map or export, or an ONNX file written by "
        f"export; or {_PYTHON_HELP}",
    )
    _add_python(simulate)
    _add_input(simulate, "the spikes to run on", _LENGTH)
    add_chip(simulate, None, "default loihi1, or the program's")
    simulate.add_argument("--dt", type=seconds, help="seconds per tick, if the file does not say; no .net says it")
    _add_input_bias(simulate)
    _add_reset(simulate)
    _add_scale(simulate)
    _add_reads_as(simulate)
    _add_graded(simulate)
    simulate.add_argument("--no-float", action="store_true", help="leave out the float network of a file")
    simulate.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        help="cuda: multiply matrices on a GPU, for large batches (not yet run on one); cpu: the same on the CPU "
        "(default: follow the spikes, which is faster on the CPU)",
    )
    simulate.add_argument(
        "--picture",
        type=path,
        help="draw the spikes of the first sequence beside the float network's (.png, .svg, .pdf)",
    )
    simulate.add_argument(
        "--labels",
        metavar="FILE|ARRAY",
        type=named,
        help="the right class of each sequence: a .npy or .npz file, or an array of the --input .npz, by name. Tells "
        "accuracy, confusion and energy per correct answer",
    )
    simulate.add_argument(
        "--answer",
        metavar="NAME",
        help="with --labels: the population whose neurons are the classes (default: the output)",
    )
    simulate.add_argument(
        "--decide",
        choices=("spikes", "mean", "last", "max"),
        help="with --labels: the answer is the neuron with the most spikes, or with the largest mean, last or largest "
        "membrane (default: spikes, or mean for a readout)",
    )
    _add_report(simulate)
    _add_output(simulate)
    add_json(simulate, "the result")

    run_lava = commands.add(
        "run-lava",
        _run_lava,
        "Run a chip's program in Lava's fixed-point models and compare every spike, u and v with the simulator's. "
        "Status 1: they differ.",
        "muspike run-lava program.npz --input spikes.npz --python ~/lava/bin/python",
    )
    run_lava.add_argument(
        "program", metavar="PROGRAM.npz", type=path, nargs="?", help="a program written by map or export"
    )
    _add_input(run_lava, "the spikes to run on", _LENGTH)
    add_lava_python(run_lava)
    run_lava.add_argument(
        "--worker",
        action="store_true",
        help="only print the path and the use of the script that runs a program without muspike",
    )
    _add_output(run_lava)
    add_json(run_lava, "the comparison")


def _add_python(sub: argparse.ArgumentParser) -> None:
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


def _add_reset(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reset-every",
        type=whole(TICKS),
        metavar="TICKS",
        help="bring every neuron to rest after so many ticks, for samples that follow one another (default: never)",
    )


def _add_input_bias(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--input-bias",
        metavar="IMAGE.npy",
        type=path,
        help="for a .net whose input layer has neurons: whole numbers [channel, y, x], the image as the biases of "
        "these neurons (default: 0)",
    )


def _add_scale(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--scale",
        choices=("auto", "keep"),
        help="auto: take the numbers of a network as they stand if they are the chip's integers already, else scale "
        "and round them; keep: refuse numbers that are not the chip's integers (default: auto; keep for a .net)",
    )


def _add_reads_as(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reads-as",
        choices=("nir", "sinabs", "snntorch-subtract"),
        help="what the chip is compared with: the float network as NIR defines it, or as the tool ran it that trained "
        "it with spike counts or a reset by subtraction; the chip stays the same (default: nir)",
    )


def _add_graded(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--graded",
        action="store_true",
        help="let an input's spike be the number of its events in a tick, which multiplies the weights, and not 0 or "
        "1, on a chip whose spikes carry a value: --chip loihi2 --graded --input events.npz",
    )


def _add_input(sub: argparse.ArgumentParser, what: str, without_input: str = "") -> None:
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


def _add_report(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--report", metavar="FILE.html", type=path, help="write one self-contained page to send to somebody else"
    )


def _add_output(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("-o", "--output", type=path, help="write spikes and readouts to this .npz file")
    sub.add_argument("--events", action="store_true", help="write spikes as events instead of dense arrays")
    sub.add_argument("--membranes", action="store_true", help="write current and membrane of every population too")


def _map(args: argparse.Namespace) -> int:
    _check_apart(args, args.file, args.input, args.input_bias)
    _check_npz(args.output, "a chip program")
    _check_report(args)
    with waiting("loading the mapping"):
        from muspike.hardware.mapping.compile import compile_graph
        from muspike.hardware.running.report import mapping, mapping_text
        from muspike.hardware.running.simulate import agreement_lines, input_lines, input_shapes, inputs_dict, simulate

    chip = find_chip(args.chip)
    graph, converted = _network(args)
    given = _sample_spikes(args, converted)
    if args.input or args.random:
        shapes = input_shapes(graph)
        given = _spikes(args, shapes, graph.dt_s, graded=shapes if args.graded else ())
    elif given is None:
        refuse_unused(args, "without --input or --random", "ticks", "seed", "reads_as")
    with _about(args.file):
        compiled = compile_graph(
            graph,
            chip,
            must_fit=False,
            fill=args.fill,
            reset_every=args.reset_every,
            scale=_scale(args),
            graded=args.graded,
        )
        run = None
        if given:
            with _ticks_bar(compiled.program, given.ticks, beside_float=True) as progress:
                run = simulate(compiled, given, reads_as=args.reads_as or "nir", progress=progress)
    agreements = run.agreements if run else None
    if args.output and not compiled.misfit:
        compiled.program.save(args.output)
    if args.report:
        _write_report(args, given, chip, compiled=compiled, simulation=run, priced=False)
    if args.json:
        merged = {**inputs_dict(run), "reads_as": run.reads_as} if run else {}
        more: dict[str, Any] = {}
        more |= {} if agreements is None else {"agreement_in_all_sequences": [row.to_dict() for row in agreements]}
        more |= {} if converted is None else {"conversion": converted.to_dict()}
        say_json({"file": str(args.file), **merged, **mapping(compiled), **more})
    else:
        first, reads_as = (input_lines(run), run.reads_as) if run else ((), None)
        lines = ["", *agreement_lines(run)] if run else []
        lines += _conversion_lines(converted)
        say("\n".join([f"{args.file} on {mapping_text(compiled, first, reads_as)}", *lines]))
    if compiled.misfit:
        raise Failed(f"{args.file}: {compiled.misfit}")
    return 0


def _simulate(args: argparse.Namespace) -> int:
    _check_apart(args, args.file, args.input, args.input_bias, _labels_file(args))
    _check_outputs(args)
    if onnx.is_onnx(args.file):
        refuse_unused(args, f"for an ONNX file ({args.file})", "sample", "per_tick", "allow")
        return onnx.simulate(args, lambda file: _spikes(args, {n: (s,) for n, s in file.inputs.items()}, file.dt_s))
    _check_report(args)
    labels, array, labels_from = _labels(args)
    converted = None
    if args.picture:
        check_target(args.picture)
    with waiting("loading the simulator"):
        from muspike.hardware.mapping.compile import compile_graph
        from muspike.hardware.program import Program
        from muspike.hardware.running.classification import answering, check_labels, classify
        from muspike.hardware.running.report import graded_inputs
        from muspike.hardware.running.simulate import (
            arrays,
            input_shapes,
            simulate,
            simulation_dict,
            simulation_text,
        )
        from muspike.hardware.running.spikes import write_spikes

        if args.picture:  # matplotlib takes a second
            from muspike.hardware.running.raster import check_picture, write_raster

            check_picture(args.picture)
    network: Compiled | Program
    if not _python_file(args.file) and _is_program(args.file):
        refuse_unused(args, f"for a program, which has its own ({args.file})", "dt", "reset_every", "scale", "graded")
        refuse_unused(args, f"for a program ({args.file})", "input_bias")
        refuse_unused(args, f"for a program, which has no float network ({args.file})", "no_float", "reads_as")
        refuse_unused(args, f"for a program ({args.file})", "sample", "per_tick", "allow")
        network = program = Program.load(args.file)
        shapes, beside_float = input_shapes(program), False
        with _about(args.file):
            chip = its_chip = find_chip(program.chip if args.chip is None else args.chip)
        if chip.name != program.chip:
            raise BadInput(f"{args.file}: is a program for {program.chip}, not for {chip.name}")
    else:
        its_chip, chip = find_chip("loihi1" if args.chip is None else args.chip), None
        graph, converted = _network(args, labels)
        with _about(args.file):
            network = compile_graph(
                graph,
                its_chip,
                must_fit=False,
                reset_every=args.reset_every,
                scale=_scale(args),
                graded=args.graded,
            )
        program = network.program
        shapes, beside_float = input_shapes(graph), not args.no_float
        if args.no_float:
            refuse_unused(args, "with --no-float", "reads_as")
    given = _sample_spikes(args, converted) or _spikes(args, shapes, program.dt_s, array, graded=graded_inputs(program))
    if labels is not None:
        with _about(args.file):
            output, _ = answering(program, given.ticks, args.answer, args.decide)
        with _about(labels_from):
            check_labels(labels, given.batch, output)
    with _about(args.file), _ticks_bar(program, given.ticks, beside_float) as progress:
        found = simulate(
            network,
            given,
            chip,
            beside_float=beside_float,
            reads_as=args.reads_as or "nir",
            ticks=given.ticks,
            record_membranes=args.membranes,
            device=args.device,
            progress=progress,
        )
    if args.output:
        more = arrays(program, found.run.membrane, found.run.current, args.membranes)
        write_spikes(args.output, found.run.spikes, args.events, program.dt_s, more)
    if args.picture:
        write_raster(found, args.picture)
    answers = None if labels is None else classify(found, labels, args.answer, args.decide)
    if args.report:
        compiled = None if isinstance(network, Program) else network
        _write_report(
            args, given, its_chip, compiled=compiled, simulation=found, classification=answers, labels=labels_from
        )
    if args.json:
        notes = {"notes": list(given.notes), "chip_warnings": list(its_chip.warnings)}
        told = {"file": str(args.file), **notes, **simulation_dict(found)}
        told |= {} if converted is None else {"conversion": converted.to_dict()}
        say_json(told | ({"classification": answers.to_dict() | {"labels_from": labels_from}} if answers else {}))
    else:
        more_lines = ["", f"labels: {labels_from}", *answers.lines()] if answers else []
        more_lines += _conversion_lines(converted)
        say("\n".join([f"{args.file} on {simulation_text(found)}", *more_lines]))
    return 0


def _run_lava(args: argparse.Namespace) -> int:
    if not args.worker:
        if args.program is None:
            raise BadInput("run-lava: a PROGRAM.npz is needed (see muspike run-lava --help)")
        _check_apart(args, args.program, args.input)
        _check_outputs(args)
    with waiting("loading the simulator"):
        from muspike.export import lava_runner
        from muspike.hardware.program import Program
        from muspike.hardware.running.report import graded_inputs
        from muspike.hardware.running.simulate import arrays, delayed, first_lines, given_to, input_shapes
        from muspike.hardware.running.spikes import write_spikes
        from muspike.hardware.simulator.events import as_inputs
    if args.worker:
        refuse_unused(
            args,
            "with --worker",
            "PROGRAM",
            "input",
            "random",
            "ticks",
            "seed",
            "python",
            "output",
            "events",
            "membranes",
            "json",
        )
        say(_WORKER_HELP.format(Path(lava_runner.__file__).with_name("lava_worker.py")))
        return 0
    program = Program.load(args.program)
    problems = _problems(program)
    if problems is None:
        note(f"{args.program}: what it takes is not held against its chip, because {program.chip!r} is not known")
    read = _spikes(args, input_shapes(program), program.dt_s, graded=graded_inputs(program))
    given = delayed(program, given_to(program, read), read.ticks)
    rows, run = lava_runner.verify(program, given, args.python)
    if args.output:
        lif = [p.name for p in program.populations if p.kind == "lif"]
        spikes = as_inputs(program, read.batch, given)[1] | {name: run.spikes[name] for name in lif}
        more = arrays(program, run.membrane, run.current, args.membranes)
        write_spikes(args.output, spikes, args.events, program.dt_s, more)
    equal = all(row.exact for row in rows)
    if args.json:
        told = {"equal": equal, "seconds_per_tick": run.seconds_per_tick, "versions": dict(run.versions)}
        told["problems"] = problems
        say_json({"file": str(args.program), **told, "populations_in_all_sequences": [row.to_dict() for row in rows]})
    else:
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        titles = ("population", "neuron-ticks", "spikes", "different spikes", "different u or v", "first at tick")
        cells = [
            [row.population, *("–" if n is None else f"{n:,}" for n in numbers)]
            for row in rows
            for numbers in [(row.neuron_ticks, row.spikes, row.different_spikes, row.different_states, row.first_tick)]
        ]
        lines = list(text_table(titles, cells))
        lines.append("equal in every spike, u and v" if equal else "NOT EQUAL")
        about = first_lines("problem", problems or ())
        say("\n".join([f"{args.program}: the simulator against Lava ({versions})", *about, *lines]))
    return 0 if equal else 1


def _problems(program: Program) -> list[str] | None:
    """What a program exceeds of the known chip that it names, in sentences; None: it names no known chip."""
    from muspike.hardware.chip import known_chips
    from muspike.hardware.mapping.fit import use_of

    return list(use_of(program, program.chip).problems) if program.chip in known_chips() else None


@contextlib.contextmanager
def _ticks_bar(program: Program, ticks: int, beside_float: bool) -> Iterator[Callable[[int], object]]:
    """A bar on stderr over the ticks of a run.

    The ticks are those of the chip's run on `ticks` of input, and of the float network's run if there is one.
    """
    from muspike.hardware.running.simulate import deepest
    from muspike.progress import bar

    with bar(ticks + deepest(program) + (ticks if beside_float else 0), "tick") as shown:
        yield shown.advance


def _check_npz(output: Path | None, what: str) -> None:
    """Refuse an output of `-o` that cannot be written, before the work."""
    if output and output.suffix != ".npz":
        raise BadInput(f"{output}: {what} ends in .npz")
    if output:
        check_target(output)


def _check_report(args: argparse.Namespace) -> None:
    """Refuse a report that cannot be written, before the work that it is of."""
    if args.report:
        from muspike.hardware.running.page import check_page

        check_page(args.report)
        check_target(args.report)


def _check_apart(args: argparse.Namespace, *inputs: Path | None) -> None:
    """Refuse an output that would replace a file that the command reads, or another output."""
    options = {"-o": "output", "--picture": "picture", "--report": "report"}
    outputs = {option: path for option, name in options.items() if (path := getattr(args, name, None))}
    read = {os.path.realpath(path) for path in inputs if path}
    written: dict[str, str] = {}
    for option, path in outputs.items():
        place = os.path.realpath(path)
        if place in read:
            raise BadInput(f"{path}: {option} would replace what the command reads; choose another file")
        if place in written:
            raise BadInput(f"{path}: {option} would replace the file of {written[place]}; choose another file")
        written[place] = option


def _write_report(
    args: argparse.Namespace,
    given: InputSpikes | None,
    chip: Chip,
    *,
    compiled: Compiled | None,
    simulation: Simulation | None,
    classification: Classification | None = None,
    labels: str = "",
    priced: bool = True,
) -> None:
    """Write the page of `--report`."""
    from muspike.hardware.running.network_page import write_page  # matplotlib takes a second

    made = {"command": shlex.join(["muspike", *args.given]), "network": args.file.name, "sha256": _sha256(args.file)}
    program = simulation.program if simulation else compiled.program if compiled else None
    if program:
        made |= {"chip": program.chip}
        if args.chip and Path(args.chip).suffix == ".toml":
            made |= {"file of the chip": Path(args.chip).name, "sha256 of the chip": _sha256(Path(args.chip))}
        made |= {"tick": f"{program.dt_s:g} s", "program": program.digest}
    if given:
        length = {"input ticks": given.ticks, "sequences": given.batch}
        if args.input:
            made |= {"input": args.input.name, **length, "sha256 of the input": _sha256(args.input)}
        elif args.random:
            source = f"random, {args.random:g} spikes per neuron and tick"
            made |= {"input": source, **length, "seed": args.seed or 0}
        else:
            made |= {"input": "the sample" if args.file.suffix == ".py" else "none", **length}
    write_page(
        args.report,
        args.file.name,
        made,
        compiled=compiled,
        simulation=simulation,
        classification=classification,
        labels=labels,
        priced=priced,
        notes=given.notes if given else (),
        doubts=chip.warnings,
    )


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _labels(args: argparse.Namespace) -> tuple[npt.NDArray[np.int64] | None, str | None, str]:
    """The labels of `--labels`, the array of the input that holds them, and where they are from; else None, None, "".

    A name that ends in .npy or .npz is a file; any other is an array of the input.
    """
    if args.labels is None:
        refuse_unused(args, "without --labels", "answer", "decide")
        return None, None, ""
    if not args.input and not (_python_file(args.file) and not args.random and _labels_file(args)):
        raise BadInput("--labels: labels belong to the sequences of --input SPIKES; give that too")
    from muspike.hardware.running.spikes import read_labels

    own = _labels_file(args)
    file = own or args.input
    labels, array = read_labels(file, None if own else args.labels)
    inside = array is not None and os.path.realpath(file) == os.path.realpath(args.input)
    return labels, array if inside else None, f"{file}" if array is None else f"array {array!r} of {file}"


def _labels_file(args: argparse.Namespace) -> Path | None:
    """The file that `--labels` names; None if it names an array of the input, or is not given."""
    return Path(args.labels) if args.labels and Path(args.labels).suffix in (".npy", ".npz") else None


def _check_outputs(args: argparse.Namespace) -> None:
    if not args.output:
        refuse_unused(args, "without -o", "events", "membranes")
    _check_npz(args.output, "a file of spikes")


@contextlib.contextmanager
def _about(file: Path | str) -> Iterator[None]:
    """Name the file in errors about its content."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{file}: {error}") from error


def _network(
    args: argparse.Namespace, labels: npt.NDArray[np.int64] | None = None
) -> tuple[SpikingGraph, Converted | None]:
    """The network of the file that a command is given; of a torch module, also how it was converted."""
    from muspike.hardware.reader.file import read_nir
    from muspike.hardware.reader.from_nir import from_nir

    python = _python_file(args.file)
    if not _is_net(args.file):
        refuse_unused(args, f"for a file that is no .net ({args.file})", "input_bias")
    if python is None:
        refuse_unused(args, f"for a network in a file ({args.file})", "sample", "per_tick", "allow")
        if _is_net(args.file):
            return _lava_dl_network(args), None
        graph = read_nir(args.file)
        with _about(args.file):
            return from_nir(graph, args.dt), None
    with waiting("loading torch"):
        from muspike.export.from_torch.convert import convert
        from muspike.export.from_torch.python_file import build, read_sample

    given = None if args.sample is None else read_sample(args.sample)
    module, own = build(*python)
    sample = own if given is None else given
    if sample is None:
        raise BadInput(f"{args.file}: returns no sample input of the module; return (module, sample), or give --sample")
    with _about(args.file), contextlib.redirect_stdout(sys.stderr):  # a forward may print
        found = convert(
            module,
            sample,
            dt_s=args.dt or _DT_S,
            per_tick=args.per_tick,
            allow=args.allow or (),
            labels=None if args.input else labels,
        )
        graph = from_nir(found.graph)
    args.file = python[0]
    return graph, found


def _python_file(file: Path) -> tuple[Path, str | None] | None:
    """The Python file and the function that an argument names; None: it names another file."""
    text, colon, function = str(file).rpartition(":")
    if colon and text.endswith(".py") and function.isidentifier():
        return Path(text), function
    return (file, None) if file.suffix == ".py" else None


def _sample_spikes(args: argparse.Namespace, converted: Converted | None) -> InputSpikes | None:
    """The sample of a torch module as the input of a run; None if there is none, or another input is given."""
    from muspike.hardware.running.spikes import InputSpikes

    if converted is None or converted.spikes is None or args.input or args.random:
        return None
    refuse_unused(args, "without --input or --random", "ticks", "seed")
    spikes = converted.spikes
    if spikes.max(initial=0) > 1 and not args.graded:
        raise BadInput(
            f"{args.file}: the sample holds up to {spikes.max()} spikes of an input in a tick, and an input of a chip "
            "spikes once: --graded, on a chip whose spikes carry a value, or a sample of 0 and 1"
        )
    return InputSpikes(len(spikes), spikes.shape[1], {"input": spikes})


def _conversion_lines(converted: Converted | None) -> list[str]:
    return [] if converted is None else ["", *(f"torch module: {line}" for line in converted.told)]


def _lava_dl_network(args: argparse.Namespace) -> SpikingGraph:
    from muspike.hardware.reader.net import read_net

    graph = read_net(args.file, args.dt, None if args.input_bias is None else _image(args.input_bias))
    for told in graph.metadata.get("notes", []):
        note(f"{args.file}: {told}")
    return graph


def _is_net(file: Path) -> bool:
    return file.suffix == ".net"


def _scale(args: argparse.Namespace) -> str:
    """Whether integers of a network have to stay. Those of a `.net` do, unless it is asked otherwise."""
    return args.scale or ("keep" if _is_net(args.file) else "auto")


def _image(file: Path) -> npt.NDArray[np.generic]:
    from muspike.errors import one_line
    from muspike.hardware.npz import UNREADABLE, read_array

    check_file(file)
    with _about(file):
        try:
            return read_array(file.read_bytes())
        except UNREADABLE as error:
            raise BadInput(f"damaged, or no .npy file: {one_line(error)}") from error


def _is_program(file: Path) -> bool:
    """Whether a file is a program, by its first bytes, or by its name if it is empty."""
    if file.is_dir():
        from muspike.hardware.kinds import named

        raise BadInput(named(file, "is a folder, expected a file"))
    check_file(file)
    with file.open("rb") as opened:
        first = opened.read(2)
    return first == b"PK" or (not first and file.suffix == ".npz")


def _spikes(
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
