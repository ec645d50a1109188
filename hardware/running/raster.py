"""Draw a run: the spikes of the chip together with those of the float network, population by population."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.hardware.program import ChipPopulation
from muspike.hardware.running.pictures import COLOURS, DPI, Picture, draw_spikes, figure_of, label, picture_of, settle
from muspike.hardware.running.simulate import Simulation
from muspike.tables import several

Array = npt.NDArray[Any]

FORMATS = (".png", ".svg", ".pdf")
_BOTH, _CHIP, _FLOAT, _INPUT = "#777777", COLOURS[0], COLOURS[1], COLOURS[-1]
_FILE_DPI = 150
_MOST_POPULATIONS = 16
_TALLEST = 256  # neurons; a larger population is drawn as tall, and its pixels show the mean of several neurons
_MOST_MEMBRANES = 6
_MOST_POINTS = 2000  # of a line that is kept as a line; a longer one becomes pixels


def check_picture(path: Path) -> None:
    """Refuse a name that is not that of a picture.

    Raises:
        BadInput: the name does not end in one of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise BadInput(f"{path}: a picture ends in {', '.join(FORMATS)}")


def write_raster(simulation: Simulation, path: Path) -> None:
    """Draw the first sequence of a run, in ideal time, and write the picture to `path`.

    A spike covers its cell of neuron and tick; a pixel that holds several cells has the mean of their colours. So a
    population is as dark as it is active, at any size. If there is a float network, a spike that both have is grey, and
    a spike of one alone has the colour of that network. Readouts show their membranes. Relays, which only repeat
    spikes, are left out, and the picture says so.

    Raises:
        BadInput: the name does not end in one of `FORMATS`.
        Failed: the disk refuses the write.
    """
    check_picture(path)
    with _drawn(simulation, _FILE_DPI) as figure, write_whole(path) as temporary:
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(temporary, format=path.suffix[1:], dpi=_FILE_DPI, metadata=metadata)


def raster(simulation: Simulation) -> Picture:
    """The same picture for a page."""
    with _drawn(simulation, DPI) as figure:
        shown = ", ".join(p.name for p in _shown(simulation))
        return picture_of(figure, f"Spikes of the first sequence, {simulation.input_ticks} ticks, of {shown}.")


def _shown(simulation: Simulation) -> list[ChipPopulation]:
    relays = simulation.program.roles.relays
    return [p for p in simulation.program.populations if p.name not in relays][:_MOST_POPULATIONS]


@contextmanager
def _drawn(simulation: Simulation, dpi: float) -> Iterator[Figure]:
    program, ticks = simulation.program, simulation.input_ticks
    shown = _shown(simulation)
    heights = [0.45 + min(p.size, _TALLEST) ** 0.5 / 9 for p in shown]
    with figure_of(1.1 + sum(heights)) as figure:
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        panels: list[tuple[Axes, Mapping[str, Array]]] = []
        for axes, p in zip(grid, shown, strict=True):
            if p.kind == "li":
                _draw_membranes(axes, p, simulation)
                continue
            panels.append((axes, _groups(p, simulation)))
            axes.set_yticks([0, p.size - 1] if p.size > 1 else [0])
            axes.set_ylim(p.size - 0.5, -0.5)
            axes.set_ylabel("neuron")
            axes.set_title(_title(p, simulation), loc="left", fontsize=8)
        grid[0].set_xlim(-0.5, ticks - 0.5)
        grid[-1].set_xlabel(f"tick of {program.dt_s:g} s, in ideal time{_left_out(simulation)}")
        if simulation.ideal is not None:
            names = {"spikes of both": _BOTH, "chip alone": _CHIP, "float network alone": _FLOAT}
            figure.legend(
                handles=[Patch(color=colour, label=name) for name, colour in names.items()],
                loc="outside upper right",
                ncols=3,
                frameon=False,
            )
        settle(figure)
        draw_spikes(figure, panels, dpi)
        yield figure


def _left_out(simulation: Simulation) -> str:
    program = simulation.program
    relays = [p.size for p in program.populations if p.name in program.roles.relays]
    more = len(program.populations) - len(relays) - _MOST_POPULATIONS
    parts = [several(more, "more population")] if more > 0 else []
    parts += [f"{several(sum(relays), 'relay neuron')}, which only repeat spikes"] if relays else []
    return f"\nleft out: {'; '.join(parts)}" if parts else ""


def _groups(p: ChipPopulation, simulation: Simulation) -> dict[str, Array]:
    """By colour, spikes `[ticks, size]` of the first sequence in ideal time."""
    chip = simulation.run.spikes[p.name][simulation.ideal_ticks(p.name), 0] != 0
    ideal = simulation.ideal[0].get(p.name) if simulation.ideal is not None and p.kind == "lif" else None
    if ideal is None:
        return {_INPUT if p.kind == "input" else _CHIP: chip}
    theirs = ideal[:, 0] != 0  # also where it counts several
    return {_BOTH: chip & theirs, _CHIP: chip & ~theirs, _FLOAT: theirs & ~chip}


def _title(p: ChipPopulation, simulation: Simulation) -> str:
    """The population's name, size, and activity in the picture, in spikes per neuron and tick."""
    chip = float(simulation.run.spikes[p.name][simulation.ideal_ticks(p.name), 0].mean())
    ideal = simulation.ideal[0].get(p.name) if simulation.ideal is not None and p.kind == "lif" else None
    told = f"{chip:.4f}" if ideal is None else f"chip {chip:.4f}, float {float(ideal[:, 0].mean()):.4f}"
    return f"{label(p.name)}: {several(p.size, 'neuron')}, {told} spikes per neuron and tick"


def _draw_membranes(axes: Axes, p: ChipPopulation, simulation: Simulation) -> None:
    neurons = np.unique(np.linspace(0, p.size - 1, min(p.size, _MOST_MEMBRANES)).astype(np.int64))
    chip = (simulation.run.membrane[p.name][simulation.ideal_ticks(p.name), 0] / p.scale)[:, neurons]
    as_pixels = len(chip) > _MOST_POINTS
    axes.plot(chip, color=_CHIP, lw=0.8, rasterized=as_pixels)
    told = ""
    if simulation.ideal is not None and p.name in simulation.ideal[1]:
        ideal = simulation.ideal[1][p.name][:, 0][:, neurons]
        axes.plot(ideal, color=_FLOAT, lw=0.8, ls=(0, (2, 2)), rasterized=as_pixels)
        told = "; dashed: of the float network"
    part = "" if len(neurons) == p.size else f"{len(neurons)} of "
    axes.set_ylabel("membrane")
    axes.set_title(
        f"{label(p.name)}: membranes of {part}{several(p.size, 'neuron')}{told}",
        loc="left",
        fontsize=8,
    )
