"""The simulator against recordings that others made: one LIF on a real Loihi chip, in Lava, and in Norse.

The recordings are those of the NIR paper (neuromorphs/NIR, `paper/01_lif`, BSD-3-Clause). They are read where they lie.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from muspike.hardware import Program, Simulator, compile_graph, from_nir, interpreter, read_nir
from muspike.hardware.program import ChipPopulation, ChipSynapses

TRACES = Path(__file__).parents[3].parent / "shared" / "traces"
AT_A_SPIKE = 128  # what the chip's probe reads where a neuron has just spiked; Lava and the simulator hold 0


def recorded(name: str) -> tuple[Any, Any, Any]:
    """Input, membrane and spikes `[ticks]` of a recording."""
    path = TRACES / f"{name}.csv"
    if not path.is_file():
        pytest.skip(f"the recordings are not here ({TRACES.name}/{path.name})")
    columns = np.genfromtxt(path, delimiter=",").T
    assert columns.shape == (3, 1000)
    return columns[0], columns[1], columns[2]


def network() -> Path:
    path = TRACES / "lif_norse.nir"
    if not path.is_file():
        pytest.skip(f"the recordings are not here ({TRACES.name}/{path.name})")
    return path


def recorded_neuron() -> Program:
    """The integers that the recordings were made with."""

    def one(value: int) -> Any:
        return np.array([value], np.int32)

    def population(name: str, kind: Literal["input", "lif"], level: int, **registers: int) -> ChipPopulation:
        names = ("du", "dv", "v_threshold", "bias_mant", "bias_exp")
        arrays: dict[str, Any] = {register: one(registers.get(register, 0)) for register in names}
        core = one(-1 if kind == "input" else 0)
        return ChipPopulation(name, 1, kind, level, **arrays, scale=np.array([64.0]), core=core)

    return Program(
        "loihi1",
        1e-4,
        [population("input", "input", 0), population("lif", "lif", 1, du=4095, dv=163, v_threshold=25)],
        [ChipSynapses("w", "input", "lif", np.array([[10]], np.int16), 0, 1)],
        np.zeros((1, 2), np.int32),
        {},
    )


@pytest.mark.parametrize(("name", "at_a_spike"), [("lif_lava_cpu_fixed", 0), ("lif_lava_loihi_fixed", AT_A_SPIKE)])
def test_a_neuron_of_a_real_chip_tick_by_tick(name: str, at_a_spike: int) -> None:
    given, membrane, spikes = recorded(name)
    run = Simulator(recorded_neuron()).run(given.astype(np.uint8).reshape(-1, 1, 1), record_membranes=True)
    fired = run.spikes["lif"][:, 0, 0]
    assert fired.sum() == 4
    np.testing.assert_array_equal(fired, spikes)
    np.testing.assert_array_equal(np.where(fired, at_a_spike, run.membrane["lif"][:, 0, 0]), membrane)
    assert np.unique(membrane).size > 100, "the membrane hardly moves"


def test_the_file_of_that_neuron_fires_as_recorded() -> None:
    """The float network of the file, and its integers as muspike makes them, at the dt that the paper names."""
    given, _, spikes = recorded("lif_norse")
    graph = from_nir(read_nir(network()), 1e-4)
    (name,) = (p.name for p in graph.populations if p.kind == "lif")
    x = given.astype(np.uint8).reshape(-1, 1, 1)
    fired, _ = interpreter.run(graph, x)
    assert spikes.sum() == 4
    np.testing.assert_array_equal(fired[name][:, 0, 0], spikes)
    for chip in ("loihi1", "loihi2"):
        compiled = compile_graph(graph, chip)
        late = next(p.level for p in compiled.program.populations if p.name == name)
        on_chip = Simulator(compiled.program).run(np.concatenate([x, x[:late]])).spikes[name][late:, 0, 0]
        np.testing.assert_array_equal(on_chip, spikes)
