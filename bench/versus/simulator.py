"""How fast the integer simulator is: beside other simulators on the same programs and input, and over activity.

    python bench/versus/simulator.py [PROGRAM.npz ...] [--curve PICTURE] [--json]

Three kinds of network are timed:

- the large network: 100,000 neurons with 100 synapses each, delays of 1 to 4 ticks, 2 % of the neurons spiking per
  tick;
- three fully connected layers of 256 LIF neurons, also in Lava `fixed_pt`;
- every given PROGRAM.npz, also in Lava `fixed_pt`.

The first two also run in Brian2 and in nengo-loihi's emulator, each in an environment of its own:

    python -m venv ENV && ENV/bin/pip install brian2 'numpy<2'             --brian2 ENV/bin/python
    python -m venv ENV && ENV/bin/pip install nengo-loihi 'nengo<4' 'numpy<2'    --nengo-loihi ENV/bin/python

Without these options the two environments are looked for in muspike's cache folder, under `brian2` and `nengo-loihi`.
Every simulator must find exactly the spikes that ours finds, each in its tick; else the exit status is 1. `--curve`
also measures the time per tick over activity, and over the number of synapses at constant spikes.

Times are per tick of one sequence, without building and starting. Beside Brian2 and nengo-loihi, all simulators run the
same program from rest, and the ticks after the first quarter are timed. `*_ours_ms_per_tick` is then our time, the best
of several repeats, because other work on the machine can only slow it down. Brian2's time is also the best of several
repeats; the other simulators' times are means over their ticks. `simulator_*` is our time when no other simulator runs
the same ticks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import platformdirs
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MultipleLocator, NullFormatter

from muspike.errors import MuspikeError
from muspike.export import lava_runner
from muspike.files import write_whole
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator.events import Simulator
from muspike.hardware.weights import Sparse

BATCH = 64
SEED = 0
PEERS = {"brian2": "run_brian2.py", "nengo-loihi": "run_nengo_loihi.py"}

NEURONS, FAN_OUT, DELAYS = 100_000, 100, (1, 2, 3, 4)
ACTIVITY = 0.02
ACTIVITIES = (0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
SILENT_FAN_OUTS = (0, 20, 60, 100, 200)
CHUNK = 50  # ticks of a repeat
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "simulator-scaling.svg"
DRIFT = 80  # added to a membrane per tick by the bias, in units of the threshold


def population(name: str, kind: Any, size: int, **constants: Any) -> ChipPopulation:
    values = {"du": 4095, "dv": 2048, "v_threshold": 200, "bias_mant": 0, "bias_exp": 0} | constants
    core = np.full(size, -1 if kind == "input" else 0)
    arrays = {key: np.broadcast_to(value, size) for key, value in values.items()}
    return ChipPopulation(name=name, size=size, kind=kind, level=0, scale=np.ones(size), core=core, **arrays)


def fully_connected(layers: int = 3, size: int = 256) -> Program:
    """Layers that each spike in about a fifth of the neuron-ticks if a tenth of the inputs do."""
    rng = np.random.default_rng(SEED)
    names = [f"layer {i + 1}" for i in range(layers)]
    populations = [population("input", "input", size), *(population(name, "lif", size) for name in names)]
    synapses = [
        ChipSynapses(f"into {b.name}", a.name, b.name, 2 * rng.integers(-40, 41, (size, size)), 0, 1)
        for a, b in itertools.pairwise(populations)
    ]
    return Program("loihi1", 1e-3, populations, synapses, np.zeros((1, 2), int))


def random_network(activity: float, spiking: int, fan_out: int, silent: int = 0, silent_fan_out: int = 0) -> Program:
    """A population that its bias makes fire, and one that never fires.

    In each tick, the share `activity` of the first population fires. Neurons of both populations have synapses onto the
    first one. Their targets are drawn at random and spread evenly over the delays; their weights cancel each other on
    average. Thresholds differ by a factor of up to 3, so that the neurons do not fire together.
    """
    rng = np.random.default_rng(SEED)
    threshold = np.round(DRIFT / activity * rng.uniform(0.5, 1.5, spiking)).astype(int)
    populations = [
        population("spiking", "lif", spiking, dv=0, v_threshold=threshold, bias_mant=DRIFT, bias_exp=6),
        *([population("silent", "lif", silent)] if silent else []),
    ]
    fans = {"spiking": fan_out, "silent": silent_fan_out}
    synapses = [
        ChipSynapses(f"{p.name} {d}", p.name, "spiking", random_lists(rng, spiking, p.size, n // len(DELAYS)), 0, d)
        for p in populations
        for d in DELAYS
        if (n := fans[p.name])
    ]
    return Program("loihi2", 1e-3, populations, synapses, np.zeros((1, 2), int))


def random_lists(rng: np.random.Generator, targets: int, sources: int, fan_out: int) -> Sparse:
    """Synapses from each source to `fan_out` targets: one target out of each of `fan_out` equal ranges."""
    each = targets // fan_out
    places = rng.integers(0, each, (sources, fan_out), np.int32) + each * np.arange(fan_out, dtype=np.int32)
    values = rng.choice(np.array([-8, -6, -4, -2, 2, 4, 6, 8], np.int16), sources * fan_out)
    return Sparse(np.arange(sources + 1) * fan_out, places.ravel(), values, (targets, sources))


def random_spikes(program: Program, ticks: int, batch: int, rate: float) -> npt.NDArray[np.uint8]:
    size = sum(p.size for p in program.inputs)
    return (np.random.default_rng(SEED).random((ticks, batch, size)) < rate).astype(np.uint8)


def seconds_per_tick(program: Program, inputs: npt.NDArray[np.uint8], repeats: int) -> float:
    """Wall time per tick and sequence: the best of `repeats` runs, after one run that compiles and warms up."""
    simulator = Simulator(program, inputs.shape[1])
    simulator.run(inputs)
    return min(_timed(simulator, inputs) for _ in range(repeats)) / (inputs.shape[0] * inputs.shape[1])


def _timed(simulator: Simulator, inputs: npt.NDArray[np.uint8]) -> float:
    start = time.perf_counter()
    simulator.run(inputs)
    return time.perf_counter() - start


def against_lava(program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    single = random_spikes(program, arguments.ticks, 1, arguments.rate)
    rows, judged = lava_runner.verify(program, single[: arguments.lava_ticks], arguments.python)
    batch = random_spikes(program, max(1, arguments.ticks // 8), BATCH, arguments.rate)
    alone = seconds_per_tick(program, single, arguments.repeats)
    together = seconds_per_tick(program, batch, arguments.repeats)
    return {
        "neurons": program.n_neurons,
        "synapses": program.n_synapses,
        "spike_rate": sum(row.spikes for row in rows) / sum(row.neuron_ticks for row in rows),
        "lava_equal": all(row.exact for row in rows),
        "lava_ms_per_tick": 1e3 * judged.seconds_per_tick,
        "simulator_us_per_tick": 1e6 * alone,
        "times_faster": judged.seconds_per_tick / alone,
        f"simulator_batch_{BATCH}_us_per_tick_and_sequence": 1e6 * together,
        f"batch_{BATCH}_times_faster": judged.seconds_per_tick / together,
        "lava_versions": dict(judged.versions),
    }


def against_peer(
    name: str, program: Program, inputs: npt.NDArray[np.uint8], python: Path, repeats: int
) -> dict[str, Any]:
    """The time per tick of a peer and of our simulator, from rest, and whether all spikes are equal.

    Args:
        inputs: uint8 `[ticks, 1, size]`.
        python: an interpreter that has the peer.
    """
    if not os.access(python, os.X_OK):
        return {name: f"not installed ({python} is not there)"}
    warm = len(inputs) // 4
    with tempfile.TemporaryDirectory(prefix="muspike-benchmark-") as folder:
        paths = [Path(folder, file) for file in ("program.npz", "inputs.npy", "spikes.npz")]
        program.save(paths[0])
        np.save(paths[1], inputs[:, 0])
        command = [python, Path(__file__).parent / "peers" / PEERS[name], *paths[:2], str(warm), paths[2]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return {name: f"failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"}
        with np.load(paths[2]) as file:
            spikes = dict(file)
    found = json.loads(done.stdout.splitlines()[-1])
    seconds = from_rest(program, inputs, warm, repeats)
    return {
        f"{name}_equal": not different_spikes(program, inputs, spikes),
        f"{name}_ms_per_tick": 1e3 * found["seconds_per_tick"],
        f"{name}_ours_ms_per_tick": 1e3 * seconds,
        f"times_faster_than_{name}": found["seconds_per_tick"] / seconds,
        f"{name}_versions": found["versions"],
    }


def different_spikes(
    program: Program, inputs: npt.NDArray[np.uint8], found: Mapping[str, npt.NDArray[np.int64]]
) -> list[str]:
    """The `lif` populations whose spikes differ between `found` and our simulator, or that `found` lacks.

    Args:
        found: by population, offsets of the spikes in its array `[ticks, size]`, rising.
    """
    ours = Simulator(program).run(inputs).spikes
    names = [p.name for p in program.populations if p.kind == "lif"]
    return [n for n in names if n not in found or not np.array_equal(np.flatnonzero(ours[n]), found[n])]


def from_rest(program: Program, inputs: npt.NDArray[np.uint8], warm: int, repeats: int) -> float:
    """Seconds per tick of the ticks after the first `warm` ticks, run from rest: the best of `repeats` runs."""
    simulator = Simulator(program, inputs.shape[1])
    best = np.inf
    for _ in range(repeats):
        simulator.reset()
        simulator.run(inputs[:warm])
        best = min(best, _timed(simulator, inputs[warm:]))
    return float(best) / (len(inputs) - warm)


def settled(program: Program, activity: float, repeats: int) -> dict[str, Any]:
    """Time and spikes per tick of a network that drives itself, after its neurons have left their common start."""
    built = time.perf_counter()
    simulator = Simulator(program)
    built = time.perf_counter() - built
    for _ in range(round(4 / activity / CHUNK) + 1):
        simulator.run(np.zeros((CHUNK, 1, 0), np.uint8))
    chunk = np.zeros((CHUNK, 1, 0), np.uint8)
    best, spikes = np.inf, 0
    for _ in range(repeats):
        start = time.perf_counter()
        run = simulator.run(chunk)
        best = min(best, time.perf_counter() - start)
        spikes += int(run.spikes["spiking"].sum())
    per_tick = spikes / repeats / CHUNK
    return {
        "neurons": program.n_neurons,
        "synapses": program.n_synapses,
        "spikes_per_tick": per_tick,
        "activity": per_tick / program.population("spiking").size,
        "synaptic_events_per_tick": per_tick * FAN_OUT,
        "simulator_ms_per_tick": 1e3 * best / CHUNK,
        "ns_per_synaptic_event": 1e9 * best / CHUNK / (per_tick * FAN_OUT),
        "seconds_to_pack": built,
    }


def large(arguments: argparse.Namespace) -> dict[str, Any]:
    start = time.perf_counter()
    program = random_network(ACTIVITY, NEURONS, FAN_OUT)
    row: dict[str, Any] = {"seconds_to_build": time.perf_counter() - start} | settled(
        program, ACTIVITY, arguments.repeats * 4
    )
    row["ticks_per_second"] = 1e3 / row["simulator_ms_per_tick"]
    row["peak_GB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    ticks = np.zeros((arguments.peer_ticks, 1, 0), np.uint8)
    row |= against_peer("brian2", program, ticks, arguments.brian2, arguments.repeats)
    at_once = replace(program, synapses=[replace(s, delay=1) for s in program.synapses])
    row |= against_peer("nengo-loihi", at_once, ticks, arguments.nengo_loihi, arguments.repeats)
    return row | {"nengo-loihi_delays": "all 1, ours beside it too: the emulator knows no others"}


def layered(program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    row = against_lava(program, arguments)
    inputs = random_spikes(program, arguments.lava_ticks, 1, arguments.rate)
    for name in PEERS:
        python = getattr(arguments, name.replace("-", "_"))
        row |= against_peer(name, program, inputs, python, arguments.repeats)
    return row


def curves(arguments: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The time per tick over the share of neurons that spike, and, at constant spikes, over the number of synapses."""
    over_activity = [settled(random_network(a, NEURONS, FAN_OUT), a, arguments.repeats) for a in ACTIVITIES]
    tenth = NEURONS // 10
    over_synapses = [
        settled(random_network(0.2, tenth, FAN_OUT, NEURONS - tenth, fan_out), 0.2, arguments.repeats)
        for fan_out in SILENT_FAN_OUTS
    ]
    return {"time over activity": over_activity, "time over synapses, at constant spikes": over_synapses}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    columns = {
        "synapses": "synapses",
        "activity": "activity %",
        "spikes_per_tick": "spikes/tick",
        "synaptic_events_per_tick": "events/tick",
        "simulator_ms_per_tick": "ms/tick",
        "ns_per_synaptic_event": "ns/event",
    }
    scale = {"activity": 100}
    lines = ["".join(f"{title:>14}" for title in columns.values())]
    for row in rows:
        lines.append("".join(f"{row[key] * scale.get(key, 1):>14,.4g}" for key in columns))
    return "\n".join(lines)


def draw(found: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draw two panels: milliseconds per tick over spikes, and over synapses."""
    over_spikes, over_synapses = found.values()
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, rows, x in ((left, over_spikes, "spikes_per_tick"), (right, over_synapses, "synapses")):
        axes.plot([row[x] for row in rows], [row["simulator_ms_per_tick"] for row in rows], "o-", color="#1f6f8b")
        axes.set_ylabel("ms per tick")
        axes.grid(alpha=0.3)
    left.set(xscale="log", yscale="log", xlabel="spikes per tick")
    left.set_title(f"{NEURONS:,} neurons, {over_spikes[0]['synapses'] / 1e6:.0f} M synapses")
    for axis, subs in ((left.xaxis, (1,)), (left.yaxis, (1, 2, 5))):
        axis.set_major_locator(LogLocator(subs=subs))
        axis.set_major_formatter(lambda value, _: f"{value:,g}")
        axis.set_minor_formatter(NullFormatter())
    right.set(xlim=(0, None), ylim=(0, 1.4 * max(row["simulator_ms_per_tick"] for row in over_synapses)))
    right.set_xlabel("synapses; what is added belongs to silent neurons")
    right.set_title(f"{NEURONS:,} neurons, {over_synapses[0]['spikes_per_tick']:,.0f} spikes per tick")
    right.xaxis.set_major_locator(MultipleLocator(5e6))
    right.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g} M")
    with write_whole(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip("."))


def main(argv: Sequence[str] | None = None) -> int:
    cache = platformdirs.user_cache_path("muspike")
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("programs", nargs="*", type=Path, help="chip programs (.npz) to time as well, beside Lava")
    parser.add_argument("--rate", type=float, default=0.1, help="how often an input spikes per tick (%(default)s)")
    parser.add_argument("--ticks", type=int, default=4000, help="for the simulator (default %(default)s)")
    parser.add_argument("--lava-ticks", type=int, default=500, help="for Lava and its peers (default %(default)s)")
    parser.add_argument("--peer-ticks", type=int, default=200, help="of the large network (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of the simulator's runs (default %(default)s)")
    parser.add_argument("--python", help="a Python that has lava-nc")
    for name in PEERS:
        default = cache / name / "bin" / "python"
        parser.add_argument(f"--{name}", type=Path, default=default, help=f"a Python that has {name} (%(default)s)")
    parser.add_argument(
        "--curve",
        type=Path,
        nargs="?",
        const=PICTURE,
        help="measure the curves too, and draw them there (.svg, .png; without a name in docs/images)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args(argv)
    results: dict[str, Any] = {}

    def tell(name: str, found: Any, shown: str) -> None:
        results[name] = found
        if not arguments.json:
            print(f"{name}\n{shown}", flush=True)

    status = 0
    try:
        # The large network comes first, so that the process's peak memory is that of the large network.
        row = large(arguments)
        tell(f"{NEURONS:,} neurons, {FAN_OUT} synapses each, delays 1 to 4", row, _listed(row))
        row = layered(fully_connected(), arguments)
        tell("3 x 256 fully connected", row, _listed(row))
        for path in arguments.programs:
            row = against_lava(Program.load(path), arguments)
            tell(str(path), row, _listed(row))
        if arguments.curve:
            found = curves(arguments)
            draw(found, arguments.curve)
            for name, rows in found.items():
                tell(name, rows, table(rows))
    except MuspikeError as error:
        print(f"bench/versus/simulator.py: {error}", file=sys.stderr)
        status = error.exit_status  # what was measured before the error is printed all the same
    if arguments.json:
        print(json.dumps(results, indent=2))
    rows = (row for row in results.values() if isinstance(row, dict))
    equal = all(value for row in rows for key, value in row.items() if key.endswith("_equal"))
    return status or (0 if equal else 1)


def _listed(row: Mapping[str, Any]) -> str:
    return "\n".join(f"  {key:<48} {_shown(value)}" for key, value in row.items())


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
