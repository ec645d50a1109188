"""`map`, `simulate` and `run-lava`: put any network on a chip, and run it there on spikes."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muspike.cli import onnx
from muspike.cli.given import (
    PYTHON_HELP,
    about,
    add_graded,
    add_input,
    add_input_bias,
    add_python,
    add_reset,
    add_scale,
    conversion_lines,
    is_program,
    labels_file,
    python_file,
    read_input,
    read_labels_of,
    read_network,
    sample_spikes,
    scale_of,
)
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
)
from muspike.cli.output import note, say, say_json, waiting
from muspike.errors import BadInput, Failed
from muspike.files import check_target
from muspike.ranges import share
from muspike.tables import text_table

if TYPE_CHECKING:
    from muspike.hardware.chip import Chip
    from muspike.hardware.mapping.compile import Compiled
    from muspike.hardware.program import Program
    from muspike.hardware.running.classification import Classification
    from muspike.hardware.running.simulate import Simulation
    from muspike.hardware.running.spikes import InputSpikes

_LENGTH = ". For a network without input, the length of the run"
_WORKER_HELP = """{}
needs lava_network.py, which lies beside it, and a Python that has lava-nc 0.10.0; nothing else of muspike:
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
        f"they are; or {PYTHON_HELP}",
    )
    add_python(mapping)
    add_chip(mapping, "loihi1")
    mapping.add_argument("--dt", type=seconds, help="seconds per tick, if the file does not say; no .net says it")
    add_input_bias(mapping)
    add_reset(mapping)
    add_scale(mapping)
    add_graded(mapping)
    mapping.add_argument(
        "--fill",
        type=number(share()),
        default=1.0,
        help="the share of each core's neurons and synaptic memory to use (default: 1, the fewest cores)",
    )
    _add_reads_as(mapping)
    add_input(mapping, "also run the chip's integers and the float network on these spikes, and say how they agree")
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
        f"export; or {PYTHON_HELP}",
    )
    add_python(simulate)
    add_input(simulate, "the spikes to run on", _LENGTH)
    add_chip(simulate, None, "default loihi1, or the program's")
    simulate.add_argument("--dt", type=seconds, help="seconds per tick, if the file does not say; no .net says it")
    add_input_bias(simulate)
    add_reset(simulate)
    add_scale(simulate)
    _add_reads_as(simulate)
    add_graded(simulate)
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
    add_input(run_lava, "the spikes to run on", _LENGTH)
    add_lava_python(run_lava)
    run_lava.add_argument(
        "--worker",
        action="store_true",
        help="only print the path and the use of the script that runs a program without muspike",
    )
    _add_output(run_lava)
    add_json(run_lava, "the comparison")


def _add_reads_as(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--reads-as",
        choices=("nir", "sinabs", "snntorch-subtract"),
        help="what the chip is compared with: the float network as NIR defines it, or as the tool ran it that trained "
        "it with spike counts or a reset by subtraction; the chip stays the same (default: nir)",
    )


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
    graph, converted = read_network(args)
    given = sample_spikes(args, converted)
    if args.input or args.random:
        shapes = input_shapes(graph)
        given = read_input(args, shapes, graph.dt_s, graded=shapes if args.graded else ())
    elif given is None:
        refuse_unused(args, "without --input or --random", "ticks", "seed", "reads_as")
    with about(args.file):
        compiled = compile_graph(
            graph,
            chip,
            must_fit=False,
            fill=args.fill,
            reset_every=args.reset_every,
            scale=scale_of(args),
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
        lines += conversion_lines(converted)
        say("\n".join([f"{args.file} on {mapping_text(compiled, first, reads_as)}", *lines]))
    if compiled.misfit:
        raise Failed(f"{args.file}: {compiled.misfit}")
    return 0


def _simulate(args: argparse.Namespace) -> int:
    _check_apart(args, args.file, args.input, args.input_bias, labels_file(args))
    _check_outputs(args)
    if onnx.is_onnx(args.file):
        return onnx.simulate(args, lambda file: read_input(args, {n: (s,) for n, s in file.inputs.items()}, file.dt_s))
    _check_report(args)
    labels, array, labels_from = read_labels_of(args)
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
    if not python_file(args.file) and is_program(args.file):
        refuse_unused(args, f"for a program, which has its own ({args.file})", "dt", "reset_every", "scale", "graded")
        refuse_unused(args, f"for a program ({args.file})", "input_bias")
        refuse_unused(args, f"for a program, which has no float network ({args.file})", "no_float", "reads_as")
        refuse_unused(args, f"for a program ({args.file})", "sample", "per_tick", "allow")
        network = program = Program.load(args.file)
        shapes, beside_float = input_shapes(program), False
        with about(args.file):
            chip = its_chip = find_chip(program.chip if args.chip is None else args.chip)
        if chip.name != program.chip:
            raise BadInput(f"{args.file}: is a program for {program.chip}, not for {chip.name}")
    else:
        its_chip, chip = find_chip("loihi1" if args.chip is None else args.chip), None
        graph, converted = read_network(args, labels)
        with about(args.file):
            network = compile_graph(
                graph,
                its_chip,
                must_fit=False,
                reset_every=args.reset_every,
                scale=scale_of(args),
                graded=args.graded,
            )
        program = network.program
        shapes, beside_float = input_shapes(graph), not args.no_float
        if args.no_float:
            refuse_unused(args, "with --no-float", "reads_as")
    given = sample_spikes(args, converted) or read_input(
        args, shapes, program.dt_s, array, graded=graded_inputs(program)
    )
    if labels is not None:
        with about(args.file):
            output, _ = answering(program, given.ticks, args.answer, args.decide)
        with about(labels_from):
            check_labels(labels, given.batch, output)
    with about(args.file), _ticks_bar(program, given.ticks, beside_float) as progress:
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
        more_lines += conversion_lines(converted)
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
    read = read_input(args, input_shapes(program), program.dt_s, graded=graded_inputs(program))
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


def _check_outputs(args: argparse.Namespace) -> None:
    if not args.output:
        refuse_unused(args, "without -o", "events", "membranes")
    _check_npz(args.output, "a file of spikes")
