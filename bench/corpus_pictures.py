"""Pictures of what a corpus holds: its metres and keys, and the values of the features of its words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

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
            axes.invert_yaxis()
            axes.set_title(title)
            axes.xaxis.get_major_locator().set_params(nbins=3)
        what = "; ".join(f"{title}: {next(iter(c))} {next(iter(c.values())):,}" for title, c in shown.items())
        settle(figure)
        return picture_of(figure, f"What {lock['title']} holds. Most: {what}.")


def _features(lock: Mapping[str, Any]) -> Picture:
    """A chart for each feature but the kind of word."""
    used = [name for name in tokens.FEATURES if name != "bar_beat"]
    values = {
        "tempo": ("bpm", lambda n: 32 + 3 * (np.arange(n) - 1)),
        "chord": ("root, from C", lambda n: np.arange(n)),
        "position": ("sixteenth of the bar", np.arange),
        "pitch": ("MIDI pitch", lambda n: np.arange(n) - 1),
        "duration": ("sixteenths", np.arange),
        "velocity": ("MIDI velocity", lambda n: 2 * np.arange(n)),
    }
    with figure_of(4.4) as figure:
        for place, name in enumerate(used, start=1):
            counts = np.array(lock["features"][name], float)
            label, at = values[name]
            axes = figure.add_subplot(2, 3, place)
            if name == "chord":
                roots = counts[2:].reshape(12, len(chords.QUALITIES))
                axes.bar(range(12), roots.sum(1) / max(1, counts.sum()), color=COLOURS[0])
                axes.set_xticks(range(0, 12, 2), [chords.ROOTS[root] for root in range(0, 12, 2)])
            else:
                axes.bar(at(len(counts)), counts / max(1, counts.sum()), width=at(2)[1] - at(2)[0], color=COLOURS[0])
                (seen,) = np.nonzero(counts)
                if len(seen):
                    step = at(2)[1] - at(2)[0]
                    axes.set_xlim(at(len(counts))[seen[0]] - step, at(len(counts))[seen[-1]] + step)
            axes.set_title(name)
            axes.set_xlabel(label)
            axes.yaxis.get_major_locator().set_params(nbins=3)
        settle(figure)
        return picture_of(figure, f"How often the words of {lock['title']} have each value of each feature, as shares.")
