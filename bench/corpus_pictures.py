"""Pictures of what a corpus holds: its metres and keys, and the values of the features of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from muspike import chords, tokens
from muspike.hardware.running.pictures import COLOURS, Picture, figure_of, picture_of, settle

_MOST = 12  # bars of a bar chart


def pictures(lock: Mapping[str, Any]) -> dict[str, Picture]:
    """The pictures of a corpus by name, of the content of its lock file."""
    return {"contents": _contents(lock), "features": _features(lock)}


def _contents(lock: Mapping[str, Any]) -> Picture:
    groups = {
        "metres, bars": lock["metres"],
        "keys, pieces": lock["keys"],
        "left out, files": lock["left_out"],
    }
    shown = {title: counts for title, counts in groups.items() if counts}
    with figure_of(2.6) as figure:
        for place, (title, counts) in enumerate(shown.items(), start=1):
            axes = figure.add_subplot(1, len(shown), place)
            names, values = list(counts)[:_MOST], list(counts.values())[:_MOST]
            axes.barh(range(len(names)), values, color=COLOURS[0])
            axes.set_yticks(range(len(names)), [name if len(name) < 26 else f"{name[:24]}..." for name in names])
            axes.set_ylim(max(8, len(names)) - 0.4, -0.6)  # from the top, bars of one height
            axes.set_title(title)
            axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        what = "; ".join(f"{title}: {next(iter(c))} {next(iter(c.values())):,}" for title, c in shown.items())
        settle(figure)
        return picture_of(figure, f"What {lock['title']} holds. Most: {what}.")


def _features(lock: Mapping[str, Any]) -> Picture:
    """A chart for each feature but the kind of word."""
    panels = {
        "tempo": ("bpm", 32 + 3 * (np.arange(tokens.SIZES[tokens.TEMPO_]) - 1)),
        "chord": ("root", np.arange(12)),
        "position": ("sixteenth of the bar", np.arange(tokens.SIZES[tokens.POSITION])),
        "pitch": ("MIDI pitch", np.arange(tokens.SIZES[tokens.PITCH]) - 1),
        "duration": ("sixteenths", np.arange(tokens.SIZES[tokens.DURATION])),
        "velocity": ("MIDI velocity", 2 * np.arange(tokens.SIZES[tokens.VELOCITY])),
    }
    with figure_of(4.4) as figure:
        for place, (name, (label, at)) in enumerate(panels.items(), start=1):
            counts = np.array(lock["features"][name], float)
            shares = counts / max(1, counts.sum())
            axes = figure.add_subplot(2, 3, place)
            if name == "chord":  # the first two values are none and N
                shares = shares[2:].reshape(12, len(chords.QUALITIES)).sum(1)
                axes.set_xticks(range(0, 12, 2), [chords.ROOTS[root] for root in range(0, 12, 2)])
            width = at[1] - at[0]
            axes.bar(at, shares, width=width, color=COLOURS[0])
            (seen,) = np.nonzero(shares)
            if len(seen):
                axes.set_xlim(at[seen[0]] - width, at[seen[-1]] + width)
            axes.set_title(name)
            axes.set_xlabel(label)
            axes.yaxis.set_major_locator(MaxNLocator(3))
        settle(figure)
        return picture_of(figure, f"How often the words of {lock['title']} have each value of each feature, as shares.")
