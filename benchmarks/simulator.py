"""How fast the integer simulator is next to Lava, on the same program and the same input, checked to be equal.

    python benchmarks/simulator.py [PROGRAM.npz ...] [--json]

Prints, for three fully connected layers of 256 LIF and for every Program given: Lava `fixed_pt` in ms per tick (one
sequence, building and starting left out), the simulator with one sequence in µs per tick, the simulator with 64
sequences in µs per tick and sequence, and how many times faster each is. The simulator's figure is the best of several
repeats, since other work on the machine can only slow it down; Lava's is the mean over its ticks.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import MuspikeError
from muspike.export import lava
from muspike.hardware.program import ChipPopulation, ChipSynapses, Program
from muspike.hardware.simulator import Simulator

BATCH = 64
SEED = 0


def fully_connected(layers: int = 3, size: int = 256) -> Program:
    """Layers that each spike in about a fifth of the neuron-ticks when a tenth of the inputs do."""
    rng = np.random.default_rng(SEED)

    def population(name: str, kind: Any) -> ChipPopulation:
        constants = {"du": 4095, "dv": 2048, "v_threshold": 200, "bias_mant": 0, "bias_exp": 0}
        return ChipPopulation(
            name=name,
            size=size,
            kind=kind,
            level=0,
            scale=np.ones(size),
            core=np.full(size, -1 if kind == "input" else 0),
            **{key: np.full(size, value) for key, value in constants.items()},
        )

    populations = [population("input", "input")] + [population(f"layer {i + 1}", "lif") for i in range(layers)]
    synapses = [
        ChipSynapses(f"into {b.name}", a.name, b.name, 2 * rng.integers(-40, 41, (size, size)), 0, 1)
        for a, b in itertools.pairwise(populations)
    ]
    return Program("loihi1", 1e-3, populations, synapses, np.zeros((1, 2), int))


def random_spikes(program: Program, ticks: int, batch: int, rate: float) -> npt.NDArray[np.uint8]:
    size = sum(p.size for p in program.inputs)
    return (np.random.default_rng(SEED).random((ticks, batch, size)) < rate).astype(np.uint8)


def seconds_per_tick(program: Program, inputs: npt.NDArray[np.uint8], repeats: int) -> float:
    """Wall time per tick and sequence, the best of `repeats` calls of `run` after one that compiles and warms."""
    simulator = Simulator(program, inputs.shape[1])
    simulator.run(inputs)
    best = np.inf
    for _ in range(repeats):
        start = time.perf_counter()
        simulator.run(inputs)
        best = min(best, time.perf_counter() - start)
    return best / (inputs.shape[0] * inputs.shape[1])


def measure(program: Program, arguments: argparse.Namespace) -> dict[str, Any]:
    single = random_spikes(program, arguments.ticks, 1, arguments.rate)
    rows, judged = lava.verify(program, single[: arguments.lava_ticks], arguments.python)
    batch = random_spikes(program, max(1, arguments.ticks // 8), BATCH, arguments.rate)
    alone = seconds_per_tick(program, single, arguments.repeats)
    together = seconds_per_tick(program, batch, arguments.repeats)
    return {
        "neurons": program.n_neurons,
        "synapses": program.n_synapses,
        "spike_rate": sum(row.spikes for row in rows) / sum(row.neuron_ticks for row in rows),
        "equal_to_lava": all(row.exact for row in rows),
        "lava_ms_per_tick": 1e3 * judged.seconds_per_tick,
        "simulator_us_per_tick": 1e6 * alone,
        "times_faster": judged.seconds_per_tick / alone,
        f"simulator_batch_{BATCH}_us_per_tick_and_sequence": 1e6 * together,
        f"batch_{BATCH}_times_faster": judged.seconds_per_tick / together,
        "lava_versions": dict(judged.versions),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("programs", nargs="*", type=Path, help="chip programs (.npz) to time as well")
    parser.add_argument(
        "--rate", type=float, default=0.1, help="how often an input spikes per tick (default %(default)s)"
    )
    parser.add_argument("--ticks", type=int, default=4000, help="for the simulator (default %(default)s)")
    parser.add_argument("--lava-ticks", type=int, default=500, help="for Lava (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="of the simulator's runs (default %(default)s)")
    parser.add_argument("--python", help="a Python that has lava-nc")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    arguments = parser.parse_args()
    try:
        programs = {"3 x 256 fully connected": fully_connected()}
        programs |= {str(path): Program.load(path) for path in arguments.programs}
        results = {name: measure(program, arguments) for name, program in programs.items()}
    except MuspikeError as error:
        print(f"benchmarks/simulator.py: {error}", file=sys.stderr)
        return error.exit_status
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for name, row in results.items():
            print(f"{name}\n" + "\n".join(f"  {key:<48} {_shown(value)}" for key, value in row.items()))
    return 0 if all(row["equal_to_lava"] for row in results.values()) else 1


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
