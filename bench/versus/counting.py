"""What counting and pricing a run takes beside simulating it.

    python bench/versus/counting.py [MODEL ...] [--pieces N] [--repeats N] [--json]

For each model and chip, the chip reads excerpts as `muspike bench` has it, on all mappings that the report shows. The
last row is a random network of 100,000 neurons with 100 synapses each, spread over the cores of one Loihi 2, 2 % of the
neurons spiking per tick, priced as `muspike simulate` does.

Times are processor time of all threads, the best of several repeats: other work on the machine moves them less than
wall time. Only their ratio, from one run of this script, says something.

- `simulating`: the run without a record of activity.
- `recording`: what a record of the active updates adds to it.
- `counting`: counting the run on all mappings.
- `pricing`: what timing every tick with all cost sets adds to that, and pricing.
- `preparing`: the tables, which are made once for a network.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from simulator import ACTIVITY, FAN_OUT, NEURONS, random_network

from muspike import corpora, sounding
from muspike.bench.workload import excerpts_of, read_after_pad
from muspike.checkpoint import load_model
from muspike.export.loihi import ChipRunner, compile_model
from muspike.hardware.chip import Chip, known_chips, load_chip
from muspike.hardware.cost.account import Account
from muspike.hardware.cost.energy import Meter, meters
from muspike.hardware.mapping.compile import spread_over
from muspike.hardware.program import Program
from muspike.hardware.simulator.events import Simulator
from muspike.host import completed
from muspike.model_folder import shipped_models
from muspike.tables import text_table

TICKS = 100  # of the random network, after as many as its neurons take to leave their common start
COLUMNS = ("simulating", "recording", "counting", "pricing", "preparing")


def best(work: Callable[[], object], repeats: int) -> float:
    """Seconds of processor time, of all threads."""
    seconds = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        seconds.append(time.process_time() - started)
    return min(seconds)


def measured(
    run: Callable[[bool], Any],
    batch: int,
    programs: Sequence[Program],
    priced: Callable[[], list[tuple[Meter, ...]]],
    repeats: int,
) -> dict[str, float]:
    """The columns, in seconds.

    Args:
        run: simulates; its argument is whether to record activity.
        batch: number of sequences.
        programs: the mappings.
        priced: makes the meters of each mapping.
        repeats: of each measurement.
    """
    done = run(True)  # compiles and warms up
    plain, recorded = best(lambda: run(False), repeats), best(lambda: run(True), repeats)
    found = priced()
    without, account = Account(programs, [() for _ in programs], batch), Account(programs, found, batch)
    account.add(done.spikes, done.active)

    def whole() -> None:
        account.add(done.spikes, done.active)
        for of in found:
            for meter in of:
                meter.energy()

    counting = best(lambda: without.add(done.spikes, done.active), repeats)
    return {
        "simulating": plain,
        "recording": recorded - plain,
        "counting": counting,
        "pricing": best(whole, repeats) - counting,
        "preparing": best(lambda: Account(programs, priced(), batch), repeats),
    }


def reading(name: str, chip: str, pieces: int, repeats: int) -> dict[str, float]:
    """A shipped model that reads excerpts on a chip."""
    model = load_model(name)
    excerpts = excerpts_of(corpora.load(model.training["corpus"]), "test")[:, :pieces]
    mappings = spread_over(compile_model(model, chip))
    runner = ChipRunner(mappings[0].program)
    words = completed(read_after_pad(excerpts), model.spiking)
    spikes = runner.presentation.spikes(words, sounding.silence(words.shape[1]))
    simulator = Simulator(mappings[0].program, words.shape[1])

    def run(record: bool) -> Any:
        simulator.reset()
        return simulator.run(spikes, record_activity=record)

    def priced() -> list[tuple[Meter, ...]]:
        first, *others = mappings
        rest = ((Meter(of.program.core_xy, of.chip, influences=False),) for of in others)
        return [meters(first.program.core_xy, first.chip), *rest]

    return measured(run, words.shape[1], [mapping.program for mapping in mappings], priced, repeats)


def on_cores(program: Program, chip: Chip, cores: int) -> Program:
    """The program with its neurons in equal runs over some cores, tile by tile."""
    per_tile, across = chip.mesh.cores_per_tile, chip.mesh.tiles_x
    tile = np.arange(cores) // per_tile
    populations = [replace(p, core=np.arange(p.size) * cores // p.size) for p in program.populations]
    return replace(program, populations=populations, core_xy=np.stack([tile % across, tile // across], axis=1))


def large(repeats: int) -> dict[str, float]:
    """The random network, which drives itself."""
    chip = load_chip("loihi2")
    program = on_cores(random_network(ACTIVITY, NEURONS, FAN_OUT), chip, 120)
    simulator, silence = Simulator(program), np.zeros((TICKS, 1, 0), np.uint8)
    for _ in range(round(4 / ACTIVITY / TICKS)):
        simulator.run(silence)
    return measured(
        lambda record: simulator.run(silence, record_activity=record),
        1,
        [program],
        lambda: [meters(program.core_xy, chip)],
        repeats,
    )


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", help="names or folders of models (all that ship)")
    parser.add_argument("--pieces", type=int, default=16, help="excerpts that are read (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of each measurement (%(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args(argv)
    found: dict[str, dict[str, float]] = {}
    for name in arguments.models or shipped_models("jsb"):
        for chip in known_chips():
            found[f"{name} on {chip}"] = reading(str(name), chip, arguments.pieces, arguments.repeats)
            print(f"measured: {name} on {chip}", file=sys.stderr)
    found[f"{NEURONS:,} random neurons"] = large(arguments.repeats)
    for row in found.values():
        done = row["recording"] + row["counting"] + row["pricing"]
        row["ratio"] = done / row["simulating"]
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    rows = [
        [name, *(f"{1e3 * row[column]:.1f}" for column in COLUMNS), f"{100 * row['ratio']:.0f} %"]
        for name, row in found.items()
    ]
    titles = ("", *(f"{column}\nms" for column in COLUMNS), "recording, counting,\npricing / simulating")
    print("\n".join(text_table(titles, rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
