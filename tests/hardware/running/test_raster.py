"""The picture of a run: that every spike of the shown neurons is a dot, in the colour of whoever fired it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib.axes
import nir
import numpy as np
import pytest

import small_nir
from muspike.errors import BadInput
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running.raster import write_raster
from muspike.hardware.running.simulate import Simulation, simulate
from small_nir import chain, li, lif

Dots = list[tuple[str, set[tuple[int, int]]]]  # (tick, neuron) by colour


@pytest.fixture(scope="module")
def simulation() -> Simulation:
    rng = np.random.default_rng(0)
    nodes = {
        "input": 8,
        "w": nir.Linear(rng.normal(0.2, 0.4, (300, 8))),
        "a": lif(300, tau=4.0, v_threshold=0.1),
        "u": nir.Linear(rng.normal(0, 0.1, (3, 300))),
        "out": li(3, tau=10.0),
        "output": 3,
    }
    graph = from_nir(small_nir.graph(nodes, chain(*nodes)))
    spikes = (rng.random((40, 2, 8)) < 0.3).astype(np.uint8)
    return simulate(compile_graph(graph, "loihi1"), {"input": spikes})


@pytest.fixture
def dots(monkeypatch: pytest.MonkeyPatch) -> Dots:
    """The dots that are drawn, (tick, neuron) by colour, per call."""
    drawn: Dots = []

    def scatter(self: object, x: Any, y: Any, *, c: str, **style: Any) -> None:
        drawn.append((c, set(zip(np.asarray(x).tolist(), np.asarray(y).tolist(), strict=True))))

    monkeypatch.setattr(matplotlib.axes.Axes, "scatter", scatter)
    return drawn


def test_every_spike_is_a_dot_of_its_colour(simulation: Simulation, dots: Dots, tmp_path: Path) -> None:
    assert simulation.ideal is not None
    ideal_spikes, _ = simulation.ideal
    write_raster(simulation, tmp_path / "r.svg")
    shown = np.unique(np.linspace(0, 299, 128).astype(int))
    chip = {(t, n) for t, n in np.argwhere(simulation.run.spikes["a"][1:41, 0]).tolist() if n in shown}
    ideal = {(t, n) for t, n in np.argwhere(ideal_spikes["a"][:, 0]).tolist() if n in shown}
    (_, inputs), *layer = dots
    assert inputs == {tuple(x) for x in np.argwhere(simulation.run.spikes["input"][:40, 0]).tolist()}
    assert [spikes for _, spikes in layer] == [chip & ideal, chip - ideal, ideal - chip]
    assert chip and len({colour for colour, _ in layer}) == 3


def test_without_a_float_network_there_is_one_colour(simulation: Simulation, dots: Dots, tmp_path: Path) -> None:
    write_raster(dataclasses.replace(simulation, ideal=None), tmp_path / "r.png")
    assert len(dots) == 2 and (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_a_picture_is_the_same_every_time(simulation: Simulation, tmp_path: Path, ending: str) -> None:
    for name in ("a", "b"):
        write_raster(simulation, tmp_path / f"{name}{ending}")
    first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("a", "b"))
    assert len(first) > 5000 and first == second


def test_other_endings_are_refused(simulation: Simulation, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a picture ends in \.png, \.svg, \.pdf"):
        write_raster(simulation, tmp_path / "r.jpg")
    assert not list(tmp_path.iterdir())
