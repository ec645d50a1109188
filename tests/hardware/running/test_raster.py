"""The picture of a run: that every spike is drawn, in the colour of whoever fired it, and as dense as it is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import matplotlib.colors
import matplotlib.image
import nir
import numpy as np
import pytest

import small_nir
from muspike.errors import BadInput
from muspike.hardware.mapping.compile import compile_graph
from muspike.hardware.reader.from_nir import from_nir
from muspike.hardware.running import raster as module
from muspike.hardware.running.pictures import COLOURS, draw_spikes
from muspike.hardware.running.raster import raster, write_raster
from muspike.hardware.running.simulate import Simulation, simulate
from small_nir import chain, li, lif

Spikes = list[dict[str, np.ndarray]]  # by colour, `[ticks, neurons]`, for each panel


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
def drawn(monkeypatch: pytest.MonkeyPatch) -> Spikes:
    """The spikes that are drawn, for each panel, in the order of the panels."""
    found: Spikes = []

    def draw(figure: Any, panels: Any, dpi: float) -> None:
        found.extend(dict(groups) for _, groups in panels)
        draw_spikes(figure, panels, dpi)

    monkeypatch.setattr(module, "draw_spikes", draw)
    return found


def test_every_spike_is_drawn_in_its_colour(simulation: Simulation, drawn: Spikes, tmp_path: Path) -> None:
    assert simulation.ideal is not None
    ideal_spikes, _ = simulation.ideal
    write_raster(simulation, tmp_path / "r.svg")
    chip, ideal = simulation.run.spikes["a"][1:41, 0] != 0, ideal_spikes["a"][:, 0] != 0
    (inputs, layer) = drawn
    assert [np.array_equal(s, simulation.run.spikes["input"][:40, 0]) for s in inputs.values()] == [True]
    both, alone, theirs = layer.values()
    assert np.array_equal(both, chip & ideal) and both.any()
    assert np.array_equal(alone, chip & ~ideal) and np.array_equal(theirs, ideal & ~chip) and alone.any()
    assert len({*layer, *inputs}) == 4


def test_the_picture_is_as_dark_as_the_network_is_active(simulation: Simulation, tmp_path: Path) -> None:
    """Of a population with more neurons than pixels, too: a picture of half the spikes has half the ink."""

    def ink(spikes: np.ndarray) -> float:
        found = dataclasses.replace(simulation.run, spikes={**simulation.run.spikes, "a": spikes})
        write_raster(dataclasses.replace(simulation, run=found, ideal=None), tmp_path / "r.png")
        pixels = matplotlib.image.imread(tmp_path / "r.png")[..., :3]
        blue = np.array(matplotlib.colors.to_rgb(COLOURS[0]))
        return float((1 - pixels)[..., 0].sum() - (1 - pixels)[..., 2].sum()) / float((1 - blue)[0] - (1 - blue)[2])

    silent = np.zeros((len(simulation.run.spikes["a"]), 2, 300), np.uint8)
    rng = np.random.default_rng(0)
    nothing, all_of_it, some = (ink(spikes) for spikes in (silent, silent + 1, rng.random(silent.shape) < 0.11))
    assert (some - nothing) / (all_of_it - nothing) == pytest.approx(0.11, rel=0.05)


def test_without_a_float_network_there_is_one_colour(simulation: Simulation, drawn: Spikes, tmp_path: Path) -> None:
    write_raster(dataclasses.replace(simulation, ideal=None), tmp_path / "r.png")
    assert [len(groups) for groups in drawn] == [1, 1] and (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG")


def test_relays_are_left_out_and_the_picture_says_so(tmp_path: Path) -> None:
    nodes = {
        "input": 2,
        "late": nir.Delay(np.full(2, 0.2)),
        "w": nir.Linear(np.eye(2)),
        "$\\nosuch{$": lif(2, v_threshold=0.1),
        "output": 2,
    }
    graph = from_nir(small_nir.graph(nodes, chain(*nodes)))
    found = simulate(compile_graph(graph, "loihi1"), {"input": np.ones((250, 1, 2), np.uint8)})
    assert found.program.roles.relays
    write_raster(found, tmp_path / "r.svg")
    text = (tmp_path / "r.svg").read_text(encoding="utf-8")
    neurons = sum(found.program.population(name).size for name in found.program.roles.relays)
    assert f"left out: {neurons} relay neurons, which only repeat spikes" in text and "relay1" not in text
    assert "$\\nosuch{$: 2 neurons, chip " in text  # a name, not a formula
    assert raster(found).alt.startswith("Spikes of the first sequence, 250 ticks, of input, $")


def test_readouts_say_what_is_drawn(simulation: Simulation, tmp_path: Path) -> None:
    write_raster(simulation, tmp_path / "r.svg")
    text = (tmp_path / "r.svg").read_text(encoding="utf-8")
    assert "out: membranes of 3 neurons; dashed: of the float network" in text
    assert "input: 8 neurons, " in text and "a: 300 neurons, chip " in text and "spikes per neuron and tick" in text


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
