"""Pictures for pages: SVG with a title, labelled axes, and colours that colour-blind readers can tell apart."""

from __future__ import annotations

import base64
import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import scipy.sparse
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from muspike.errors import printable

Array = npt.NDArray[Any]

# Okabe & Ito 2008, without yellow, which is too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
WIDTH_IN = 8.2
DPI = 200
"""Pixels per inch of what a picture holds as pixels."""
_MOST_CORES = 240  # columns of a picture of cores; more would be narrower than a few pixels
_LONGEST_NAME = 32
_STYLE: Any = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "muspike",
}


@dataclass(frozen=True)
class Picture:
    """An SVG and the text that replaces it for readers who cannot see it."""

    svg: bytes
    alt: str

    @property
    def uri(self) -> str:
        """The picture as a `data:` address."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.svg).decode()


@contextmanager
def figure_of(height_in: float) -> Iterator[Figure]:
    """A figure of the width and style of all pictures of a page."""
    # A Figure without pyplot has no global state and needs no window system.
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        # The SVG holds text as text: the reader's browser has the letters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", r"Glyph \d+")
        yield Figure(figsize=(WIDTH_IN, height_in), layout="constrained")


def settle(figure: Figure) -> None:
    """Lay the figure out, and let it stay so.

    The layout's solver gives the same places up to the last bits, which would change the names inside an SVG; so the
    places are rounded.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = (round(edge, 6) for edge in axes.get_position().bounds)
        axes.set_position((left, bottom, width, height))


def picture_of(figure: Figure, alt: str) -> Picture:
    """The figure as a picture."""
    out = io.BytesIO()
    figure.savefig(out, format="svg", dpi=DPI, metadata={"Date": None, "Creator": None})
    # Text stays text. If DejaVu Sans is not installed, Verdana has nearly the same widths.
    return Picture(out.getvalue().replace(b"'DejaVu Sans'", b"'DejaVu Sans', Verdana, sans-serif"), alt)


def label(name: str) -> str:
    """The name of a node as a picture can hold it: short, without control characters, and never a formula."""
    shown = printable(name)
    shown = shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…"
    return re.sub(r"\$", r"\\$", shown)  # matplotlib reads what stands between two $ as TeX


# --- spikes ---------------------------------------------------------------------------------------------------------


def density(spikes: Array, height: int, width: int) -> npt.NDArray[np.float64]:
    """The share of each pixel that spikes cover, 0 to 1, if each spike covers its cell of neuron and tick.

    The mean of the pixels is exactly the mean of the spikes, whatever the size. So what is seen is as dense as what is.

    Args:
        spikes: `[ticks, neurons]`; a spike is not 0.
        height, width: pixels of the picture: neurons from the top, ticks from the left.

    Returns:
        `[height, width]`.
    """
    ticks, neurons = spikes.shape
    fired = scipy.sparse.csr_array((np.asarray(spikes) != 0).T.astype(np.float64))
    shares: Array = (_overlap(neurons, height) @ fired @ _overlap(ticks, width).T).toarray()
    return np.clip(shares, 0, 1)


def _overlap(cells: int, pixels: int) -> scipy.sparse.csr_array:
    """The share of each of `pixels` that each of `cells` covers, `[pixels, cells]`: both fill the same line evenly."""
    edges = np.union1d(np.arange(cells + 1) * pixels, np.arange(pixels + 1) * cells)  # exact: whole numbers
    lengths, starts = np.diff(edges), edges[:-1]
    shares = lengths / cells  # a pixel is `cells` long
    return scipy.sparse.csr_array((shares, (starts // cells, starts // pixels)), shape=(pixels, cells))


def draw_spikes(figure: Figure, panels: Sequence[tuple[Axes, Mapping[str, Array]]], dpi: float) -> None:
    """Draw spikes into axes of a figure whose places are settled (`settle`).

    A pixel's colour is the mean of what it covers, of each kind of spike in its colour and of white. A spike covers its
    cell, one tick wide and one neuron high, at tick `t` and neuron `n` of the axes, whose limits must be set.

    Args:
        figure: the figure of the axes.
        panels: axes, and by colour the spikes `[ticks, neurons]` to draw there. No cell has two colours.
        dpi: the pixels per inch with which the figure is saved.
    """
    for axes, groups in panels:
        place, (width_in, height_in) = axes.get_position(), figure.get_size_inches()
        width, height = (max(1, round(inches * dpi)) for inches in (place.width * width_in, place.height * height_in))
        image = np.ones((height, width, 3))
        for colour, spikes in groups.items():
            ink = 1 - np.array(matplotlib.colors.to_rgb(colour))
            image -= density(spikes, height, width)[:, :, None] * ink
        left, right = axes.get_xlim()
        ticks, neurons = next(iter(groups.values())).shape
        assert (right - left, sum(axes.get_ylim())) == (ticks, neurons - 1), "the image fills the axes"
        axes.imshow(
            (image.clip(0, 1) * 255).round().astype(np.uint8),
            extent=(left, right, neurons - 0.5, -0.5),
            aspect="auto",
            interpolation="bilinear",  # the pixels are those of the picture, but for a fraction of one
            zorder=-1,
        )


# --- cores ----------------------------------------------------------------------------------------------------------


def core_use(use: Sequence[Mapping[str, Any]], chip: str) -> Picture:
    """Draw how full each core is: a cell for each resource and core.

    If there are very many cores, neighbours share a cell, which shows the fullest of them.

    Args:
        use: a row per core with `core` and `percent` (resource -> percent of the core's limit).
        chip: the chip's name, for the title.
    """
    resources = list(dict.fromkeys(name for row in use for name in row["percent"]))
    table = np.array([[row["percent"].get(name, 0.0) for row in use] for name in resources])
    together = -(-len(use) // _MOST_CORES)
    starts = np.arange(0, len(use), together)
    shown = np.maximum.reduceat(table, starts, axis=1)
    chip = label(chip)
    with figure_of(1.1 + 0.3 * len(resources)) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(
            shown, aspect="auto", cmap="cividis", vmin=0, vmax=100, interpolation="nearest", extent=None
        )
        if len(use) <= 24:
            for (row, column), percent in np.ndenumerate(table):
                colour = "white" if percent < 55 else "black"
                axes.text(column, row, f"{percent:.0f}", ha="center", va="center", color=colour, fontsize=7.5)
        axes.set_yticks(range(len(resources)), [resource(name) for name in resources])
        every = 1 if len(use) <= 24 else 8 if len(use) <= _MOST_CORES else _MOST_CORES // 10
        places = range(0, len(starts), every)
        axes.set_xticks(places, [str(use[starts[place]]["core"]) for place in places])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_xlabel("core" if together == 1 else f"core; each cell shows the fullest of {together} neighbours")
        over = " (above 100 %: too much)" if table.max() > 100 else ""
        axes.set_title(f"Use of each core's limits, {chip}{over}")
        figure.colorbar(image, ax=axes, label="% of limit", pad=0.01, extend="max" if over else "neither")
        row, place = divmod(int(table.argmax()), len(use))
        alt = f"{len(use)} cores; fullest: {resource(resources[row])} of core {use[place]['core']}"
        return picture_of(figure, f"Use of each core's limits, {chip}: {alt}, {table.max():.0f} %.")


def resource(limit: str) -> str:
    """The name of a core's limit in words: `input_axons_per_core` is `input axons`."""
    return limit.removesuffix("_per_core").replace("_", " ")
