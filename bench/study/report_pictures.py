"""The pictures of a study's report."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from muspike.bench.study.analysis import ALL, ALL_ITEMS
from muspike.bench.study.report import item_name
from muspike.hardware.running.pictures import COLOURS, Picture, figure_of, label, picture_of

_MARKS = "osD^vP*X"


def pictures(result: Mapping[str, Any]) -> dict[str, Picture]:
    """By the id of the section that it belongs to; without those for which there is nothing to draw."""
    made = {
        "means": _means(result),
        "comparisons": _comparisons(result),
        "turing": _turing(result),
        "polarisation": _polarisation(result),
        "alignment": _alignment(result),
        "predictor": _predictor(result),
    }
    return {name: picture for name, picture in made.items() if picture is not None}


def _interval(axes: Any, x: float, of: Mapping[str, Any], factor: float = 1.0, **style: Any) -> None:
    value, low, high = (factor * of.get(name, math.nan) for name in ("value", "low", "high"))
    axes.plot([x], [value], linestyle="none", **style)
    if math.isfinite(low):
        axes.plot([x, x], [low, high], color=style["color"], linewidth=1.6)


def _grouped(
    axes: Any, by_group: Mapping[str, Mapping[str, Any]], groups: Mapping[str, str], sources: Any, factor: float = 1.0
) -> None:
    """A place on the axis for each source, and there a mark with its interval for each group."""
    shown = [group for group in groups if group in by_group]
    for number, group in enumerate(shown):
        shift = (number - (len(shown) - 1) / 2) * min(0.18, 0.7 / max(len(shown), 1))
        style: dict[str, Any] = {
            "color": COLOURS[number % len(COLOURS)],
            "marker": _MARKS[number % len(_MARKS)],
            "markersize": 5.5,
        }
        named = label(groups[group])
        for place, source in enumerate(sources):
            if source in by_group[group]:
                _interval(axes, place + shift, by_group[group][source], factor, label=named, **style)
                named = "_nolegend_"
    axes.set_xticks(range(len(sources)), [label(source) for source in sources])
    axes.set_xlim(-0.5, len(sources) - 0.5)
    axes.yaxis.grid(True, color="0.9")


def _means(result: Mapping[str, Any]) -> Picture | None:
    study, means = result["study"], result["means"]
    primary, points = study["primary"], study["points"]
    items = [item for item in (primary, ALL_ITEMS) if means.get(item)]
    if not items:
        return None
    with figure_of(3.3) as figure:
        grid = figure.subplots(1, len(items), squeeze=False, sharey=True)[0]
        for axes, item in zip(grid, items, strict=True):
            _grouped(axes, means[item], study["groups"], study["sources"])
            axes.set_ylim(0.9, points + 0.1)
            axes.set_yticks(range(1, points + 1))
            axes.set_title(item_name(item))
        grid[0].set_ylabel(f"mean rating, 1 to {points}")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        told = "; ".join(
            f"{group} {source} {of['value']:.2f}"
            for group, by_source in means[items[0]].items()
            for source, of in by_source.items()
        )
        return picture_of(figure, f"Mean ratings by source and group. {item_name(items[0])}: {told}.")


def _comparisons(result: Mapping[str, Any]) -> Picture | None:
    """The distance of the other sources to the human one in each item."""
    rows, main = result["comparisons"]["items"], result["comparisons"]["sources"]
    if not rows and not main:
        return None
    alpha = result["plan"]["alpha"]
    drawn = [*main, *rows]
    with figure_of(1.1 + 0.24 * len(drawn)) as figure:
        axes = figure.add_subplot()
        for place, row in enumerate(drawn):
            colour = COLOURS[0] if place < len(main) else COLOURS[2]
            found = row["p_holm"] < alpha
            inside = colour if found else "white"
            axes.plot([row["logits"]["value"]], [place], "o", color=colour, markersize=5.5, markerfacecolor=inside)
            axes.plot([row["logits"]["low"], row["logits"]["high"]], [place, place], color=colour, linewidth=1.6)
        axes.axvline(0, color="0.4", linewidth=1)
        primary = item_name(result["study"]["primary"])
        names = [
            f"{label(row['name'])}, {primary}" if i < len(main) else item_name(row["name"])
            for i, row in enumerate(drawn)
        ]
        axes.set_yticks(range(len(drawn)), names)
        axes.set_ylim(len(drawn) - 0.4, -0.6)
        axes.xaxis.grid(True, color="0.9")
        axes.set_xlabel("distance to the human source in logits (left of 0: rated lower; filled: significant)")
        told = ", ".join(f"{row['name']} {row['logits']['value']:.2f}" for row in drawn)
        return picture_of(figure, f"Distance of other sources to the human one in logits: {told}.")


def _turing(result: Mapping[str, Any]) -> Picture | None:
    of, study = result["turing"], result["study"]
    found = {group: one for group, one in of.items() if isinstance(one, Mapping) and "said_human" in one}
    if not found:
        return None
    with figure_of(3.1) as figure:
        left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
        shares = {group: one["said_human"] for group, one in found.items()}
        _grouped(left, shares, study["groups"], study["sources"], 100.0)
        left.axhline(50, color="0.4", linewidth=1, linestyle="--")
        left.set_ylim(0, 100)
        left.set_ylabel("taken for human, % of answers")
        measures = {group: {"d'": one["d_prime"], "criterion": one["criterion"]} for group, one in found.items()}
        _grouped(right, measures, study["groups"], ["d'", "criterion"])
        right.axhline(0, color="0.4", linewidth=1, linestyle="--")
        right.set_ylabel("standard deviations")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
        told = "; ".join(f"{group}: d' {one['d_prime']['value']:.2f}" for group, one in found.items())
        return picture_of(figure, f"Shares of pieces taken for human ones, d' and criterion by group. {told}.")


def _polarisation(result: Mapping[str, Any]) -> Picture | None:
    of = result["polarisation"]["groups"]
    found = {group: {"": one["variance"]} for group, one in of.items() if "variance" in one}
    if len(found) < 2:
        return None
    names = result["study"]["groups"]
    with figure_of(1.0 + 0.3 * len(found)) as figure:
        axes = figure.add_subplot()
        for place, (_group, one) in enumerate(found.items()):
            value = one[""]
            axes.plot(
                [value["value"]], [place], marker=_MARKS[place % len(_MARKS)], color=COLOURS[place % len(COLOURS)]
            )
            axes.plot([value["low"], value["high"]], [place] * 2, color=COLOURS[place % len(COLOURS)], linewidth=1.6)
        axes.set_yticks(range(len(found)), [label(names[group]) for group in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        axes.xaxis.grid(True, color="0.9")
        axes.set_xlabel("variance among listeners about the same piece, as a share of the largest possible")
        told = ", ".join(f"{names[group]} {one['']['value']:.3f}" for group, one in found.items())
        return picture_of(figure, f"How much listeners differ about a piece: {told}.")


def _alignment(result: Mapping[str, Any]) -> Picture | None:
    of = result["alignment"].get(ALL)
    if not of or "rows" not in of or not of["rows"]:
        return None
    metrics = list(dict.fromkeys(row["metric"] for row in of["rows"]))
    items = list(dict.fromkeys(row["item"] for row in of["rows"]))
    table = np.full((len(metrics), len(items)), np.nan)
    marks = []
    for row in of["rows"]:
        at = metrics.index(row["metric"]), items.index(row["item"])
        table[at] = row["rho"]
        if row["significant"]:
            marks.append(at)
    with figure_of(1.9 + 0.2 * len(metrics)) as figure:
        axes = figure.add_subplot()
        image = axes.imshow(table, cmap="PuOr", vmin=-1, vmax=1, aspect="auto", interpolation="nearest")
        for y, x in marks:
            axes.plot([x], [y], marker="o", color="black", markersize=3)
        axes.set_yticks(range(len(metrics)), [label(name.replace("_", " ")) for name in metrics], fontsize=7.5)
        axes.set_xticks(
            range(len(items)), [label(item_name(item)) for item in items], rotation=40, ha="right", fontsize=8
        )
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        axes.set_title("Rank correlation of metrics with mean ratings, all groups (dot: significant)")
        figure.colorbar(image, ax=axes, label="Spearman's rho", pad=0.01)
        best = max(of["rows"], key=lambda row: abs(row["rho"]) if math.isfinite(row["rho"]) else -1)
        told = f"The largest is {best['metric']} with {item_name(best['item'])}, {best['rho']:.2f}"
        return picture_of(figure, f"Rank correlations of {len(metrics)} metrics with {len(items)} items. {told}.")


def _predictor(result: Mapping[str, Any]) -> Picture | None:
    of = result["predictor"].get(ALL)
    if not of or "importance" not in of or not of["ridge"]["beats"]:
        return None
    rows = of["importance"][:12]
    with figure_of(1.0 + 0.22 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.barh(range(len(rows)), [row["loss"] for row in rows], color=COLOURS[0], height=0.7)
        axes.set_yticks(range(len(rows)), [label(row["metric"].replace("_", " ")) for row in rows])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.xaxis.grid(True, color="0.9")
        axes.set_xlabel("loss of R² on unseen pieces when the metric is shuffled")
        told = ", ".join(f"{row['metric']} {row['loss']:.3f}" for row in rows[:3])
        return picture_of(figure, f"Which metrics carry the prediction of all groups: {told}.")
