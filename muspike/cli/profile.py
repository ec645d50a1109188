"""`profile`: what a network does on its chip, and what that costs."""

from __future__ import annotations

import argparse

from muspike.cli.formats import add_format, form_of, put
from muspike.cli.given import add_graded, add_network, add_reset, add_scale, add_workload, subject_of, workload_of
from muspike.cli.options import Commands, add_chip, find_chip, path
from muspike.cli.output import waiting
from muspike.files import check_target


def add(commands: Commands) -> None:
    """Add the command."""
    found = commands.add(
        "profile",
        _profile,
        "Run a network as the integers of a chip and tell what it does: firing rates over time, dead and saturated "
        "neurons, sparsity, operations, footprint, and what it costs. Figures are per note, per sample or per tick, as "
        "the input has them.",
        "muspike profile s-rnn --pieces 4 --picture rates.svg",
    )
    add_network(found)
    add_chip(found, None, "default loihi1, or the program's")
    add_workload(found)
    add_reset(found)
    add_scale(found)
    add_graded(found)
    found.add_argument(
        "--picture",
        type=path,
        help="draw the rates of each population over the ticks of a word or sample, and a histogram of its neurons' "
        "rates with the dead and the saturated ones (.png, .svg, .pdf)",
    )
    add_format(found, "the profile")


def _profile(args: argparse.Namespace) -> int:
    form_of(args)
    if args.picture:
        check_target(args.picture)
    chip = None if args.chip is None else find_chip(args.chip)
    subject, converted = subject_of(args)
    with waiting("loading the simulator"):
        from muspike.bench.profile import profile

        if args.picture:  # matplotlib takes a second
            from muspike.bench.rates import write_rates
            from muspike.hardware.running.raster import check_picture

            check_picture(args.picture)
    workload = workload_of(args, subject, converted)
    with waiting(f"running {args.file}"):
        found = profile(
            subject,
            workload,
            chip,
            size=None if converted is None else converted.size,
            scale=args.scale,
            reset_every=args.reset_every,
            graded=args.graded,
        )
    if args.picture:
        write_rates(found, args.picture)
    notes = [f"warning: {line}" for line in found.warnings]
    put(args, found.title, [*found.tables()], notes, found.to_dict())
    return 0
