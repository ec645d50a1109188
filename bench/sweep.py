"""Models measured with several seeds: the mean and the spread of each figure, as JSON and as a page."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike.files import write_whole
from muspike.hardware.running.page import environment
from muspike.tables import Table

Result = Mapping[str, Any]

_MUSIC = ("pitch_count", "pitch_in_scale_rate", "empty_beat_rate", "parallel_rate")


def _figures(result: Result) -> dict[str, float]:
    """The figures of one run, by name. Those that a run lacks are left out."""
    found = {"bits per note, torch": result["quality"]["nll_bits_per_note"]["torch"]}
    for chip, bits in result["quality"]["nll_bits_per_note"]["chip"].items():
        if bits is not None:
            found[f"bits per note, {chip}"] = bits
    for chip, entry in result["chip"].items():
        if entry["fits"]:
            found[f"µJ per note, {chip}"] = entry["energy_uj_per_note"]["total"]["value"]
            found[f"ms per note, {chip}"] = entry["latency_ms_per_note"]["value"]
    if result.get("activity"):
        found["spikes per note"] = result["activity"]["spikes_per_note"]
    for metric in _MUSIC:
        mean = (result["quality"].get("metrics") or {}).get(metric, {}).get("generated", {}).get("mean")
        if mean is not None:
            found[metric.replace("_", " ")] = mean
    return {name: float(value) for name, value in found.items()}


def spread(runs: Sequence[tuple[str, int, Result]]) -> dict[str, Any]:
    """The figures of all runs, gathered by architecture and by the corpus that the model was trained on.

    Args:
        runs: the name of a model in the report, the seed, and its entry of `bench.json`.

    Returns:
        JSON-able: `groups`, each with `architecture`, `corpus`, `runs` (model and seed) and `figures`: by name the
        `mean`, the sample standard deviation `std` (None for one run), `low`, `high` and `values` in the order of
        `runs`.
    """
    groups: dict[tuple[str, str], list[tuple[str, int, dict[str, float]]]] = {}
    for name, seed, result in runs:
        of = str(result["model"]["architecture"]), str(result["model"]["trained_on"])
        groups.setdefault(of, []).append((name, seed, _figures(result)))
    told = []
    for (architecture, corpus), of_group in groups.items():
        names = [name for name in of_group[0][2] if all(name in figures for *_, figures in of_group)]
        told.append(
            {
                "architecture": architecture,
                "corpus": corpus,
                "runs": [{"model": name, "seed": seed} for name, seed, _ in of_group],
                "figures": {name: _moments([figures[name] for *_, figures in of_group]) for name in names},
            }
        )
    return {"groups": told}


def _moments(values: Sequence[float]) -> dict[str, Any]:
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else None,
        "low": min(values),
        "high": max(values),
        "values": list(values),
    }


def tables(told: Mapping[str, Any]) -> list[Table]:
    """A table for each group: mean, standard deviation, least and most."""
    found = []
    for group in told["groups"]:
        seeds = ", ".join(f"{run['model']} with seed {run['seed']}" for run in group["runs"])
        rows = [
            [name, *(_shown(of[key]) for key in ("mean", "std", "low", "high"))]
            for name, of in group["figures"].items()
        ]
        caption = f"{group['architecture']}, trained on {group['corpus']}: {seeds}"
        found.append(Table(caption, ["figure", "mean", "std", "least", "most"], rows))
    return found


def _shown(value: float | None) -> str:
    return "–" if value is None or not math.isfinite(value) else f"{value:.4g}"


def write_sweep(runs: Sequence[tuple[str, int, Result]], folder: Path) -> None:
    """Write `sweep.json` and `sweep.html` into a folder."""
    told = spread(runs)
    page = environment("muspike.hardware.running").get_template("tables.html")
    notes = [
        "A seed is that of composing: it moves the music, and what is counted on given words stays.",
        "Models of one architecture and one corpus stand together, whatever seed they were trained with.",
    ]
    text = page.render(title="models over seeds", tables=tables(told), notes=notes)
    data = json.dumps(told, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    for name, content in (("sweep.json", data), ("sweep.html", text)):
        with write_whole(folder / name) as temporary:
            temporary.write_text(content, encoding="utf-8")
