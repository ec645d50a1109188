"""Draw a run: the spikes of the chip together with those of the float network, population by population."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.hardware.program import ChipPopulation
from muspike.hardware.running.simulate import Simulation

Array = npt.NDArray[Any]

FORMATS = (".png", ".svg", ".pdf")
# Okabe & Ito 2008: colours that colour-blind readers can tell apart.
_BOTH, _CHIP, _FLOAT = "#777777", "#0072B2", "#D55E00"
_MOST_POPULATIONS = 16
_MOST_NEURONS = 128  # of one population; more rows of dots could not be told apart
_MOST_MEMBRANES = 6
_STYLE: Any = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "muspike"}


def check_picture(path: Path) -> None:
    """Refuse a name that is not that of a picture.

    Raises:
        BadInput: the name does not end in one of `FORMATS`.
    """
    if path.suffix not in FORMATS:
        raise BadInput(f"{path}: a picture ends in {', '.join(FORMATS)}")


def write_raster(simulation: Simulation, path: Path) -> None:
    """Draw the first sequence of a run, in ideal time, and write the picture to `path`.

    A dot is a spike. If there is a float network, a spike that both have is grey, and a spike of one alone has the
    colour of that network. Readouts show their membranes. A large population shows some neurons, evenly spread; its
    title says how many.

    Raises:
        BadInput: the name does not end in one of `FORMATS`.
        Failed: the disk refuses the write.
    """
    check_picture(path)
    shown = [p for p in simulation.program.populations if p.name not in simulation.program.roles.relays]
    shown, left_out = shown[:_MOST_POPULATIONS], len(shown) - _MOST_POPULATIONS
    heights = [0.5 + min(p.size, _MOST_NEURONS) ** 0.5 / 9 for p in shown]
    # A Figure without pyplot has no global state and needs no window system.
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(8, 0.9 + sum(heights)), layout="constrained", dpi=150)
        axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for axis, p in zip(axes, shown, strict=True):
            (_draw_membranes if p.kind == "li" else _draw_spikes)(axis, p, simulation)
        axes[-1].set_xlabel(
            f"tick of {simulation.program.dt_s:g} s" + (f" ({left_out} more populations)" if left_out > 0 else "")
        )
        axes[0].set_xlim(-0.5, simulation.input_ticks - 0.5)
        if simulation.ideal is not None:
            names = {"both": _BOTH, "chip alone": _CHIP, "float network alone": _FLOAT}
            dots = [Line2D([], [], color=c, marker="o", ls="", ms=4, label=name) for name, c in names.items()]
            figure.legend(handles=dots, loc="outside upper right", ncols=3, frameon=False)
        with write_whole(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], metadata={"Date": None} if path.suffix == ".svg" else {})


def _some(p: ChipPopulation, most: int) -> npt.NDArray[np.int64]:
    return np.unique(np.linspace(0, p.size - 1, min(p.size, most)).astype(np.int64))


def _title(axis: Axes, p: ChipPopulation, chosen: Array) -> None:
    part = "" if len(chosen) == p.size else f", {len(chosen)} of {p.size:,}"
    axis.set_title(f"{p.name}{part}", loc="left", fontsize=8)


def _draw_spikes(axis: Axes, p: ChipPopulation, simulation: Simulation) -> None:
    neurons = _some(p, _MOST_NEURONS)
    chip = simulation.run.spikes[p.name][simulation.ideal_ticks(p.name), 0][:, neurons] != 0
    ideal = simulation.ideal[0].get(p.name) if simulation.ideal is not None and p.kind == "lif" else None
    groups: Mapping[str, Array] = {"black" if p.kind == "input" else _CHIP: chip}
    if ideal is not None:
        theirs = ideal[:, 0][:, neurons] != 0
        groups = {_BOTH: chip & theirs, _CHIP: chip & ~theirs, _FLOAT: theirs & ~chip}
    height, width = 72 * len(neurons) ** 0.5 / 9 / len(neurons), 72 * 7 / simulation.input_ticks  # points per spike
    size = min(9.0, max(0.6, height, 0.8 * min(width, 2 * height)) ** 2)
    for colour, spikes in groups.items():
        tick, row = np.nonzero(spikes)
        axis.scatter(tick, neurons[row], s=size, c=colour, linewidths=0, rasterized=True)
    axis.set_ylim(p.size - 0.5, -0.5)
    axis.set_ylabel("neuron")
    _title(axis, p, neurons)


def _draw_membranes(axis: Axes, p: ChipPopulation, simulation: Simulation) -> None:
    neurons = _some(p, _MOST_MEMBRANES)
    chip = (simulation.run.membrane[p.name][simulation.ideal_ticks(p.name), 0] / p.scale)[:, neurons]
    axis.plot(chip, color=_CHIP, lw=0.8)
    if simulation.ideal is not None and p.name in simulation.ideal[1]:
        axis.plot(simulation.ideal[1][p.name][:, 0][:, neurons], color=_FLOAT, lw=0.8, ls=(0, (2, 2)))
    axis.set_ylabel("membrane")
    _title(axis, p, neurons)
