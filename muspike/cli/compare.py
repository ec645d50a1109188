"""`compare`: networks on machines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from muspike.cli.formats import add_format, form_of, put
from muspike.cli.given import add_network, add_workload, subject_of, workload_of
from muspike.cli.options import Commands, path, refuse_unused, whole
from muspike.cli.output import note, say, waiting
from muspike.errors import BadInput
from muspike.files import check_target, write_whole
from muspike.ranges import whole as whole_numbers

if TYPE_CHECKING:
    from muspike.bench.compare import Comparison, Device
    from muspike.export.subject import Subject
    from muspike.hardware.meter.recorded import Recorded

_ON = "loihi1,loihi2"
_COMPOSE = 16


def add(commands: Commands) -> None:
    """Add the command."""
    found = commands.add(
        "compare",
        _compare,
        "Compare networks on machines: energy, rate and latency beside the quality of exactly what ran, as intervals; "
        "which takes less, and whether that survives the bands of the constants; and, against machines that run no "
        "spikes, where over batch, demand and wait. What cannot be compared says why; the other rows stand. Status 2: "
        "nothing can be.",
        "muspike compare s-rnn s-transformer --on loihi1,loihi2,truenorth --pieces 4 -o compare.html",
    )
    add_network(found, several=True)
    found.add_argument(
        "--on",
        type=_names,
        metavar="MACHINE,...",
        help=f"chips and price lists (see muspike chips), or the .toml file of one; cpu or cuda: measured now, which "
        f"takes minutes (default: {_ON})",
    )
    found.add_argument(
        "--recorded",
        type=path,
        metavar="FILE",
        help="recorded measurements of the networks, which muspike measure -o wrote: a file, or a folder of them",
    )
    add_workload(found)
    found.add_argument(
        "--compose",
        type=whole(whole_numbers(0, 10_000)),
        help=f"pieces that a model composes on each machine that runs it, for its music (default: {_COMPOSE})",
    )
    found.add_argument("--no-quality", action="store_true", help="leave out likelihood and music, which take longest")
    found.add_argument(
        "--picture", type=path, help="draw energy over batch, demand and wait, and who takes less where (.svg)"
    )
    found.add_argument("--cite", action="store_true", help="print BibTeX of the machines' sources instead of comparing")
    add_format(found, "the comparison")


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"{text!r} must be names of machines with commas between them")
    return names


def _compare(args: argparse.Namespace) -> int:
    form_of(args)
    if args.picture is not None:
        if args.picture.suffix != ".svg":
            raise BadInput(f"{args.picture}: the picture is an .svg file")
        check_target(args.picture)
    if args.no_quality:
        refuse_unused(args, "with --no-quality", "compose")
    with waiting("loading torch"):
        from muspike.bench import compare

    on = [compare.machine_of(name) for name in args.on or _ON.split(",")]
    for machine in on:
        for warning in () if isinstance(machine, str) else machine.warnings:
            note(f"warning: {warning}")
    if args.cite:
        from muspike.hardware.citations import bibtex

        refuse_unused(args, "with --cite", "format", "json", "output", "picture")
        say(bibtex(compare.citations_of(on)))
        return 0
    if not args.networks:
        raise BadInput("compare: no network; name at least one (see muspike compare --help)")
    recorded = _recorded(args)
    if args.picture is not None and not recorded and not any(compare.can_be_a_side(machine) for machine in on):
        raise _nothing_to_draw(args.picture)
    networks = []
    for name in args.networks:
        one = argparse.Namespace(**{**vars(args), "file": name})
        subject, converted = subject_of(one)
        networks.append((subject, workload_of(one, subject, converted)))
    found = compare.compare(
        networks,
        on,
        compose=_COMPOSE if args.compose is None else args.compose,
        judge=not args.no_quality,
        measure=_measure,
        recorded=recorded,
        step=lambda what: note(f"{what} ..."),
    )
    title = f"{', '.join(args.networks)} on {', '.join(map(compare.name_of, on))}"
    put(args, title, [*found.tables()], found.remarks(), found.to_dict())
    if args.picture is not None:
        _draw(found, args.picture)
    return 0


def _recorded(args: argparse.Namespace) -> list[Recorded]:
    from muspike.hardware.meter.recorded import load_recorded

    return [] if args.recorded is None else load_recorded(args.recorded)


def _measure(subject: Subject, device: Device) -> Recorded:
    """A measurement now, as `muspike measure` makes it: on a GPU with windows that are long enough for its counter."""
    from muspike.bench import machines
    from muspike.hardware.meter.counters import TimeOnly

    if subject.model is None:
        raise BadInput(f"{device}: measures models of music, and {subject.name} is none")
    meter = machines.meter_of(device)
    quick = isinstance(meter, TimeOnly)
    return machines.measure_network(
        subject.model,
        subject.name,
        device,
        meter,
        settings=machines.QUICK if quick else machines.DEFAULT,
        most_batch=machines.QUICK_MOST_BATCH if quick else None,
        look_s=machines.QUICK_LOOK_S if quick else machines.LOOK_S,
        told=note,
    )


def _draw(found: Comparison, picture: Path) -> None:
    from muspike.bench.pictures import crossover

    if not found.crossings:
        raise _nothing_to_draw(picture)
    with write_whole(picture) as temporary:
        temporary.write_bytes(crossover(found.crossings, "Energy per note").svg)


def _nothing_to_draw(picture: Path) -> BadInput:
    return BadInput(
        f"{picture}: nothing to draw: a picture needs a chip and a machine that runs no spikes, such as "
        "--on loihi2,h100-peak-fp16, or one that was measured with joules"
    )
