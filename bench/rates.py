"""Draw how often the neurons of a profile fire: over the ticks of a word or sample, and how many fire how often."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from muspike.bench.profile import BINS, Profile, rate_histogram
from muspike.files import write_whole
from muspike.hardware.cost.firing import Firing
from muspike.hardware.running.pictures import COLOURS, figure_of, label, settle
from muspike.hardware.running.raster import check_picture
from muspike.tables import several

_RATE, _DEAD, _SATURATED = COLOURS[0], COLOURS[-1], COLOURS[1]
_DPI = 150
_MOST_POPULATIONS = 16
_HEIGHT_IN = 1.5


def write_rates(profile: Profile, path: Path) -> None:
    """Draw the rates of each population, and write the picture to `path`.

    On the left, spikes per neuron in each tick of a word (of a sequence, if there are no words), in ideal time. On the
    right, how many neurons fire how often, of the ticks in which they could; the dead stand to the left of 0, and the
    saturated have a colour of their own. Relays, which only repeat spikes, are left out.

    Raises:
        BadInput: the name does not end as that of a picture.
        Failed: the disk refuses the write.
    """
    check_picture(path)
    own = [of for of in profile.firings if not of.relay]
    shown = own[:_MOST_POPULATIONS]
    of_word = profile.workload.period is not None
    with figure_of(0.8 + _HEIGHT_IN * len(shown)) as figure, write_whole(path) as temporary:
        grid = figure.subplots(len(shown), 2, squeeze=False, sharex="col", width_ratios=(3, 2))
        for (rates, neurons), of in zip(grid, shown, strict=True):
            _draw_rates(rates, of)
            _draw_histogram(neurons, of)
        more = len(own) - len(shown)
        left_out = f"\nleft out: {several(more, 'more population')}" if more else ""
        grid[-1, 0].set_xlabel(f"tick of a {'word' if of_word else 'sequence'}, in ideal time{left_out}")
        grid[-1, 1].set_xlabel("spikes per tick with a presented word" if of_word else "spikes per tick")
        figure.suptitle(label_of_title(profile), fontsize=9)
        settle(figure)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(temporary, format=path.suffix[1:], dpi=_DPI, metadata=metadata)


def label_of_title(profile: Profile) -> str:
    """The heading: which network, on which chip."""
    return f"{label(profile.network)} on {label(profile.program.chip)}"


def _draw_rates(axes: Axes, of: Firing) -> None:
    rate = of.rate_of_tick
    axes.stairs(rate, np.arange(len(rate) + 1) - 0.5, color=_RATE, fill=True)
    axes.set_ylim(0, max(float(rate.max()) * 1.1, 1e-3))
    axes.set_ylabel("spikes\nper neuron")
    axes.set_title(f"{label(of.name)}: {several(of.size, 'neuron')}, {of.rate:.4f} per tick", loc="left", fontsize=8)


def _draw_histogram(axes: Axes, of: Firing) -> None:
    counts, edges = rate_histogram(of)
    dead, saturated = int(of.dead.sum()), int(of.saturated.sum())
    first = counts.copy()
    # The dead have a bar of their own; neurons that fire in other ticks alone stay in the first one.
    first[0] -= dead
    first[-1] -= saturated
    axes.stairs(first, edges, color=_RATE, fill=True)
    axes.bar(-1 / BINS, dead, width=1 / BINS, color=_DEAD)
    axes.bar(1 - 0.5 / BINS, saturated, width=1 / BINS, bottom=first[-1], color=_SATURATED)
    axes.set_xlim(-2 / BINS, 1 + 1 / BINS)
    axes.set_ylim(0, max(int(counts.max()), 1) * 1.15)
    axes.set_ylabel("neurons")
    silent = "never given" if of.kind == "input" else "dead"
    told = f"{dead:,} {silent} (black), {saturated:,} saturated (orange)"
    axes.set_title(told, loc="left", fontsize=8)
