"""Random NIR graphs over every primitive, compiled, in the simulator and in Lava: every spike, every u, every v.

As a script, the nightly run with a summary: `python tests/export/test_random_nir_in_lava.py [GRAPHS [TICKS]]`.
"""

import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1] / "helpers"))
from graded_spikes import spikes_that_lava_judges
from joined_programs import joined
from muspike.errors import BadInput
from muspike.export import lava_runner
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.program import Program
from muspike.hardware.running.agreement import Exactness
from random_nir import primitives, random_graph

AT_ONCE = 8  # graphs per start of Lava


def in_lava(programs: list[Program], seed: int, ticks: int, python: Path) -> tuple[Exactness, ...]:
    given = [spikes_that_lava_judges(seed + i, p, ticks, 1, rate=0.2) for i, p in enumerate(programs)]
    return lava_runner.verify(joined(programs), np.concatenate(given, axis=2), python)[0]


def compiled(seeds: range) -> list[Program]:
    return [one_compiled(seed) for seed in seeds]


def one_compiled(seed: int) -> Program:
    """For Loihi 1, or for Loihi 2; there every second one with graded inputs."""
    # Loihi 2 has more room, and each channel a threshold of its own: more of the graphs are kept as they are.
    graph, chip = random_graph(seed), "loihi2" if seed % 2 else "loihi1"
    try:
        return compile_graph(graph, chip, graded=seed % 4 == 3).program
    except BadInput as error:
        assert "takes relays" in str(error)  # a graded spike cannot pass them
        return compile_graph(graph, chip).program


def test_random_graphs_are_lavas(python: Path) -> None:
    rows = in_lava(compiled(range(AT_ONCE)), 0, 60, python)
    assert [row.population for row in rows if not row.exact] == []
    assert sum(row.spikes for row in rows) > 1000
    assert any(p.graded_bits for program in compiled(range(AT_ONCE)) for p in program.populations)


@pytest.mark.nightly
def test_many_random_graphs_are_lavas(python: Path) -> None:
    assert run(240, 200, python) == 0


def run(graphs: int, ticks: int, python: Path) -> int:
    """Compare so many graphs on so many ticks; prints what was compared, and gives the differences."""
    started, totals = time.monotonic(), Counter[str]()
    nodes = Counter(name for seed in range(graphs) for name in primitives(random_graph(seed)))
    for first in range(0, graphs, AT_ONCE):
        programs = compiled(range(first, min(first + AT_ONCE, graphs)))
        totals["programs"] += len(programs)
        for s in (s for p in programs for s in p.synapses):
            totals[f"{s.layout} matrices"] += 1
        for row in in_lava(programs, first, ticks, python):
            totals["populations"] += 1
            totals["neuron-ticks"] += row.neuron_ticks
            totals["spikes"] += row.spikes
            totals["different spikes"] += row.different_spikes
            totals["different u or v"] += row.different_states
        print(f"{time.monotonic() - started:.0f} s: {dict(totals)}", file=sys.stderr, flush=True)
    print("graphs with each primitive:", ", ".join(f"{name} {n}" for name, n in sorted(nodes.items())))
    print("\n".join(f"{name:<18}{n:>14,}" for name, n in totals.items()))
    assert set(nodes) >= {
        "Conv1d",
        "Conv2d",
        "SumPool2d",
        "AvgPool2d",
        "CubaLIF",
        "IF",
        "Threshold",
        "Delay",
        "NIRGraph",
    }
    return totals["different spikes"] + totals["different u or v"]


if __name__ == "__main__":
    graphs, ticks = (int(x) for x in [*sys.argv[1:], *["240", "200"][len(sys.argv) - 1 :]])
    sys.exit(run(graphs, ticks, lava_runner.find_lava_python()) > 0)
