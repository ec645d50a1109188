"""The pictures of the report on music: pieces, spikes, energy, metrics. Their style is that of every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from muspike.bench.answer import Costed, front
from muspike.bench.crossover import AXES, Axis, Band, Crossing
from muspike.hardware.running.pictures import (
    COLOURS,
    DPI,
    Picture,
    core_use,
    draw_spikes,
    figure_of,
    picture_of,
    settle,
)
from muspike.hardware.running.pictures import (
    label as named,
)
from muspike.midi import Score

__all__ = [
    "Picture",
    "core_use",
    "crossover",
    "energy_against_likelihood",
    "energy_by_component",
    "metric_distributions",
    "piano_roll",
    "spike_raster",
]

Array = npt.NDArray[Any]

GENERATED, REFERENCE = COLOURS[1], COLOURS[0]


def piano_roll(score: Score, bars: int = 16) -> Picture:
    """Draw the first `bars` bars of a piece: notes coloured by track, bar lines, annotated chords above."""
    starts = _bar_starts(score)
    shown = min(bars, len(starts) - 1)
    end = starts[shown]
    notes = score.notes[score.notes["onset"] < end]
    low, high = (int(notes["pitch"].min()), int(notes["pitch"].max())) if len(notes) else (60, 72)
    part = "" if shown == len(starts) - 1 else f", the first {shown} of {len(starts) - 1} bars"
    title = f"{score.name or 'Generated piece'}{part}"
    with figure_of(1.4 + max(1.5, 0.055 * (high - low + 1))) as figure:
        axes = figure.add_subplot()
        tracks = np.unique(notes["track"])
        for colour, track in zip(_cycle(len(tracks)), tracks, strict=True):
            of_track = notes[notes["track"] == track]
            axes.barh(
                of_track["pitch"],
                np.minimum(of_track["duration"], end - of_track["onset"]) - 0.06 * score.ticks_per_beat,
                left=of_track["onset"],
                height=0.9,
                color=colour,
                label=score.tracks[track].name or f"track {track + 1}",
            )
        for start in starts[: shown + 1]:
            axes.axvline(start, color="0.75", linewidth=0.7, zorder=0)
        for chord in score.chords or ():
            if chord.tick < end:
                axes.annotate(
                    chord.symbol, (chord.tick, high + 2.2), fontsize=7, rotation=45, annotation_clip=False, va="bottom"
                )
        if len(tracks) > 1:
            figure.legend(loc="outside lower center", ncols=min(len(tracks), 6), frameon=False)
        octaves = [pitch for pitch in range(0, 128, 12) if low - 2 <= pitch <= high + 2]
        axes.set_yticks(octaves, [f"C{pitch // 12 - 1}" for pitch in octaves])
        axes.yaxis.grid(True, color="0.9")
        axes.set_xticks(starts[:shown], [str(bar + 1) for bar in range(shown)])
        axes.set(xlim=(0, end), ylim=(low - 2, high + 2), xlabel="bar", ylabel="pitch (C4 = MIDI 60)")
        axes.set_title(title, pad=34 if score.chords else 8)
        return picture_of(figure, f"Piano roll: {title}; {len(notes)} notes between MIDI {low} and {high}.")


def _bar_starts(score: Score) -> list[int]:
    """Ticks of the bar lines, from 0 to the first one at or after the end of the last note.

    The metre is 4/4 until the piece gives one.
    """
    end = max(int((score.notes["onset"] + score.notes["duration"]).max(initial=0)), 1)
    metres = [(0, 4, 4), *((int(tick), int(upper), int(lower)) for tick, upper, lower in score.time_signatures)]
    starts = [0]
    while starts[-1] < end:
        tick = starts[-1]
        _, upper, lower = [metre for metre in metres if metre[0] <= tick][-1]
        bar_end = tick + max(score.ticks_per_beat * 4 * upper // lower, 1)
        starts.append(min([bar_end, *(metre[0] for metre in metres if tick < metre[0])]))
    return starts


def spike_raster(spikes: Mapping[str, Array], period: int, tokens: int = 8, first: int = 0) -> Picture:
    """Draw the spikes of each population over a few tokens, one panel per population.

    A spike covers its cell of neuron and tick; a pixel that holds several cells shows the share of them that spike. So
    a panel is as dark as its population is active, at any size, and the panel says how active it is.

    Args:
        spikes: `[ticks, size]` for each population in chip time, in the order of drawing.
        period: ticks per token.
        tokens: number of tokens to draw.
        first: the first token to draw.
    """
    begin = first * period
    ticks = min(next(iter(spikes.values())).shape[0], begin + tokens * period)
    shown = {name: np.asarray(array[begin:ticks]) != 0 for name, array in spikes.items()}
    rates = {name: float(array.mean()) if array.size else 0.0 for name, array in shown.items()}
    heights = [max(np.sqrt(array.shape[1]), 6.0) for array in shown.values()]
    title = f"Spikes over {-(-(ticks - begin) // period)} tokens of {period} ticks"
    with figure_of(1.1 + 0.055 * sum(heights)) as figure:
        grid = figure.subplots(len(shown), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        colours = _cycle(len(shown))
        for axes, colour, (name, array) in zip(grid, colours, shown.items(), strict=True):
            for edge in range(begin, ticks + 1, period):
                axes.axvline(edge - 0.5, color="0.5", linewidth=0.5, alpha=0.5)
            axes.set_ylim(array.shape[1] - 0.5, -0.5)
            axes.set_yticks([0, array.shape[1] - 1])
            axes.set_ylabel(
                f"{named(name)}\n{rates[name]:.1%}", rotation=0, ha="right", va="center", color=colour, labelpad=4
            )
        grid[-1].set_xticks(range(begin, ticks + 1, period))
        grid[-1].set_xlim(begin - 0.5, ticks - 0.5)
        grid[-1].set_xlabel("chip tick (grey lines: a new token goes in)")
        figure.suptitle(title + "; rows: neurons; per cent: spikes per neuron and tick", fontsize=10)
        settle(figure)
        panels = [(axes, {colour: array}) for axes, colour, array in zip(grid, colours, shown.values(), strict=True)]
        draw_spikes(figure, panels, DPI)
        told = ", ".join(f"{name} {rate:.1%}" for name, rate in rates.items())
        return picture_of(figure, f"{title}. Firing rates here: {told}.")


def energy_by_component(components: Mapping[str, Sequence[Mapping[str, Any]]], unit: str) -> Picture:
    """Draw the energy of every priced component with its band, in one colour and mark per chip.

    Args:
        components: by chip, rows with `name`, `value`, `low` and `high`, all in `unit`. Rows without a value, or of 0,
            are left out, because the scale is logarithmic.
        unit: the unit of the energies.
    """
    names = list(dict.fromkeys(row["name"] for rows in components.values() for row in rows if row.get("value")))
    with figure_of(1.2 + 0.36 * max(len(names), 1)) as figure:
        axes = figure.add_subplot()
        step = 0.6 / max(len(components), 1)
        for index, (chip, rows) in enumerate(components.items()):
            priced = [row for row in rows if row.get("value")]
            y = np.array([names.index(row["name"]) for row in priced]) + (index - (len(components) - 1) / 2) * step
            value = np.array([row["value"] for row in priced])
            # A logarithmic axis has no 0. A bound of 0 becomes so small that its line leaves the picture.
            low = np.array([row["low"] or row["value"] * 1e-6 for row in priced])
            high = np.array([row["high"] for row in priced])
            axes.errorbar(
                value,
                y,
                xerr=[value - low, high - value],
                fmt="os^Dv"[index % 5],
                color=_cycle(len(components))[index],
                capsize=3,
                markersize=5,
                label=chip,
            )
        axes.set_xscale("log")
        values = [row["value"] for rows in components.values() for row in rows if row.get("value")]
        if values:
            highs = [row["high"] for rows in components.values() for row in rows if row.get("value")]
            axes.set_xlim(min(values) / 5, max(highs) * 1.6)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.xaxis.grid(True, color="0.9")
        axes.set_xlabel(f"{unit} per note, logarithmic (mark: value, line: band)")
        axes.set_title("Modelled energy by component")
        figure.legend(loc="outside lower center", ncols=len(components), frameon=False)
        largest = "; ".join(
            f"{chip}: most in {max(rows, key=lambda row: row.get('value') or 0)['name']}"
            for chip, rows in components.items()
            if rows
        )
        return picture_of(figure, f"Modelled energy per note by component, with bands. {largest}.")


def energy_against_likelihood(points: Mapping[str, Sequence[Costed]]) -> Picture:
    """Draw energy per note against bits per note, with the band of the energy and the Pareto front, one panel per chip.

    Args:
        points: by chip, the networks on it.
    """
    names = list(dict.fromkeys(point.name for of in points.values() for point in of))
    with figure_of(3.6) as figure:
        grid = figure.subplots(1, len(points), squeeze=False, sharex=True, sharey=True)[0]
        for axes, (chip, of) in zip(grid, points.items(), strict=True):
            best = front(of)
            axes.plot(
                [point.bits for point in best],
                [point.energy["value"] for point in best],
                color="0.6",
                linewidth=1.2,
                drawstyle="steps-post",
                zorder=1,
            )
            drawn: list[Costed] = []
            for point in of:
                value, low, high = (point.energy[end] for end in ("value", "low", "high"))
                axes.errorbar(
                    point.bits,
                    value,
                    yerr=[[value - low], [high - value]],
                    fmt="o",
                    color=_cycle(len(names))[names.index(point.name)],
                    markersize=7 if point in best else 5,
                    markerfacecolor=None if point in best else "white",
                    capsize=3,
                )
                # A name stands below its mark where it would stand on the name of a neighbour.
                near = any(abs(p.bits - point.bits) < 0.05 and 0.8 < p.energy["value"] / value < 1.25 for p in drawn)
                place = (6, -11 if near else 4)
                axes.annotate(named(point.name), (point.bits, value), xytext=place, textcoords="offset points")
                drawn.append(point)
            axes.set_yscale("log")
            axes.margins(x=0.16)
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.yaxis.grid(True, color="0.9")
            axes.set_title(chip)
            axes.set_xlabel("bits per note on the chip (fewer are better)")
        grid[0].set_ylabel("µJ per note, logarithmic")
        figure.suptitle("Energy against likelihood (mark: value, line: band; grey: the front)", fontsize=10)
        told = "; ".join(
            f"{chip}: " + ", ".join(f"{p.name} {p.bits:.3f} bits {p.energy['value']:.3g} µJ" for p in of)
            for chip, of in points.items()
        )
        return picture_of(figure, f"Modelled energy per note against bits per note. {told}.")


def crossover(crossings: Sequence[Crossing], title: str) -> Picture:
    """Draw who takes less energy per note where: a column of panels for each axis.

    Above, each machine's energy with its band. Below, a strip for each pair of machines: in the colour of the one that
    takes less for certain, grey where the bands overlap, so that both sides of a comparison are drawn alike.

    Args:
        crossings: pairs of machines over axes, as `crossover_map` gives them.
        title: the title, without what the axes say.
    """
    axes_of: dict[Axis, list[Crossing]] = {}
    for of in crossings:
        axes_of.setdefault(of.axis, []).append(of)
    machines = list(dict.fromkeys(label for of in crossings for label in (of.first, of.second)))
    colours = dict(zip(machines, _cycle(len(machines)), strict=True))
    pairs = max(len(of) for of in axes_of.values())
    with figure_of(4.3 + 0.3 * pairs + 0.34 * -(-len(machines) // 3)) as figure:
        grid = figure.subplots(
            2, len(axes_of), squeeze=False, sharex="col", sharey="row", height_ratios=[3.2, 0.3 * pairs]
        )
        for above, below, (axis, crossed) in zip(grid[0], grid[1], axes_of.items(), strict=True):
            drawn: set[str] = set()
            for crossing in crossed:
                for label, bands in zip(
                    (crossing.first, crossing.second), zip(*crossing.bands, strict=True), strict=True
                ):
                    if label not in drawn:
                        drawn.add(label)
                        _energy_band(above, crossing.at, bands, colours[label], label)
            for row, crossing in enumerate(crossed):
                owner = {"first": colours[crossing.first], "second": colours[crossing.second], "open": "0.8"}
                regions = crossing.regions
                ends = [*(low for low, *_ in regions[1:]), crossing.at[-1]]
                for (low, _, who), end in zip(regions, ends, strict=True):
                    below.barh(row, end - low, left=low, height=0.8, color=owner[who])
            above.set(xscale="log", yscale="log")
            above.yaxis.grid(True, color="0.9")
            below.set_xlabel(AXES[axis][0])
            below.set_ylim(pairs - 0.5, -0.5)
            below.set_yticks([])
        first = next(iter(axes_of.values()))
        grid[1][0].set_yticks(
            range(len(first)), [f"{named(of.first)} |\n{named(of.second)}" for of in first], fontsize=6
        )
        grid[0][0].set_ylabel("µJ per note, logarithmic")
        figure.suptitle(f"{title} (line: value, shade: band; below: who takes less, grey: open)", fontsize=9)
        figure.legend(
            *grid[0][0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(len(machines), 3),
            frameon=False,
        )
        return picture_of(figure, f"{title}. {'. '.join(of.sentence() for of in crossings)}.")


def _energy_band(axes: Axes, at: Sequence[float], bands: Sequence[Band], colour: str, label: str) -> None:
    value, low, high = (np.array([getattr(band, end) for band in bands]) for end in ("value", "low", "high"))
    if np.isfinite(high).all():
        axes.plot(at, value, color=colour, linewidth=1.4, label=_two_lines(label))
        axes.fill_between(at, low, high, color=colour, alpha=0.2, linewidth=0)
    else:  # a bound from below
        axes.plot(at, low, color=colour, linewidth=1.4, linestyle="--", label=_two_lines(label))


def _two_lines(label: str) -> str:
    """Network and machine, one above the other, each as long as a picture can hold it."""
    network, on, machine = label.partition(" on ")
    return f"{named(network)}\n{on.strip()} {named(machine)}" if on else named(label)


def metric_distributions(samples: Mapping[str, Mapping[str, npt.ArrayLike]]) -> Picture:
    """Draw the distribution of each metric over generated and reference pieces, one panel per metric.

    Args:
        samples: by metric, `generated` and `reference`: a value per piece, NaN if the piece has none.
    """
    columns = 4 if len(samples) > 3 else max(len(samples), 1)
    rows = -(-len(samples) // columns)
    with figure_of(0.7 + 1.55 * rows) as figure:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (name, of_set) in zip(grid, samples.items(), strict=False):
            _panel(axes, name, {label: np.asarray(of_set[label], float) for label in ("reference", "generated")})
        for axes in grid[len(samples) :]:
            axes.set_visible(False)
        for axes in grid[::columns]:
            axes.set_ylabel("share of pieces")
        figure.suptitle("Metrics: generated against reference pieces (dashed: means)", fontsize=10)
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
        return picture_of(figure, f"Distributions of {len(samples)} metrics over generated and reference pieces.")


def _panel(axes: Axes, name: str, values: Mapping[str, Array]) -> None:
    # Equal values may differ by rounding, which no axis can show.
    finite = {label: np.round(array[np.isfinite(array)], 12) for label, array in values.items()}
    pooled = np.concatenate(list(finite.values()))
    edges = np.histogram_bin_edges(pooled, bins=16) if len(pooled) else np.linspace(0, 1, 17)
    for (label, array), colour in zip(finite.items(), (REFERENCE, GENERATED), strict=True):
        share = np.histogram(array, edges)[0] / max(len(array), 1)
        axes.stairs(share, edges, fill=label == "reference", color=colour, alpha=0.45, label=None)
        axes.stairs(share, edges, color=colour, linewidth=1.3, label=label)
        if len(array):
            axes.axvline(array.mean(), color=colour, linestyle="--", linewidth=1)
    if len(pooled) and pooled.min() == pooled.max():  # an axis around a single value would mean nothing
        axes.set_xticks(pooled[:1], [f"{pooled[0]:.4g}"])
    axes.set_xlabel(name.replace("_", " "))
    axes.tick_params(labelsize=7.5)
    axes.set_yticks([])


def _cycle(number: int) -> list[str]:
    return [COLOURS[index % len(COLOURS)] for index in range(number)]
