"""What muspike predicts for published runs on Loihi chips, beside what was measured there.

Predictions are made in `published_networks.py` from networks and chips alone. Measured values and their sources are in
`measured_runs.toml`. This script sets them side by side: docs/results/predictions.json and docs/predictions.md.

    pip download --no-deps --ignore-requires-python lava-dl==0.6.0
    python bench/versus/measured_runs.py lava_dl-0.6.0-py3-none-any.whl
    python bench/versus/measured_runs.py --page      # the page alone, from the results that are there
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.hardware.chip import load_chip

sys.path.insert(0, str(Path(__file__).parent))
from published_networks import (
    Figure,
    Network,
    keyword_spotter,
    keyword_spotter_on_host_spikes,
    pair,
    pilotnet,
    predict,
    scaled_spotter,
)

ROOT = Path(__file__).parents[2]
MEASURED = Path(__file__).with_name("measured_runs.toml")
TEMPLATE = Path(__file__).with_name("measured_runs.template.md")
RESULTS, PAGE = ROOT / "docs/results/predictions.json", ROOT / "docs/predictions.md"
CHIPS = {name: load_chip(name) for name in ("loihi1", "loihi2")}
CIRCULAR = "circular"
INPUTS = ("title", "weights", "known", "assumed")

# By the name of a run: its network, or the two runs of which it is the difference. A Path is lava-dl's wheel.
NETWORKS: Mapping[str, Callable[[Path | None], Network] | tuple[str, str]] = {
    "pilotnet-lif": lambda wheel: pilotnet(_needed(wheel), CHIPS["loihi2"]),
    "pair-25": lambda _: pair(417, CHIPS["loihi2"]),
    "pair-50": lambda _: pair(470, CHIPS["loihi2"]),
    "pair-100": lambda _: pair(640, CHIPS["loihi2"]),
    "keyword-spotter": lambda _: keyword_spotter(CHIPS["loihi1"]),
    "keyword-spotter-host": lambda _: keyword_spotter_on_host_spikes(CHIPS["loihi1"]),
    "scaled-0": lambda _: scaled_spotter(0, CHIPS["loihi1"]),
    "scaled-4": lambda _: scaled_spotter(4, CHIPS["loihi1"]),
    "scaled-10": lambda _: scaled_spotter(10, CHIPS["loihi1"]),
    "scaled-10-less-4": ("scaled-10", "scaled-4"),
}
SHOWN = {
    "dynamic": "dynamic energy",
    "total": "total energy",
    "static_power": "static power",
    "step": "time of a step",
    "synops": "synaptic operations of a step",
    "neuron_updates": "neuron updates of a step",
    "cores": "cores",
}


def _needed(wheel: Path | None) -> Path:
    if wheel is None:
        raise BadInput("PilotNet-LIF needs the wheel of lava-dl 0.6.0; the first lines of this script say where from")
    return wheel


def predictions(names: Iterable[str], wheel: Path | None = None) -> dict[str, dict[str, Figure]]:
    """What is predicted for the runs called `names`: figures by run and name. Nothing measured is read."""
    found: dict[str, dict[str, Figure]] = {}
    for name in names:
        network = NETWORKS[name]
        if isinstance(network, tuple):
            more, less = (found.get(one) or predictions([one], wheel)[one] for one in network)
            found[name] = {"dynamic": more["dynamic"].less(less["dynamic"])}
        else:
            made = network(wheel)
            found[name] = predict(made, CHIPS[made.program.chip])
    return found


# --- what was measured


@dataclass(frozen=True)
class MeasuredValue:
    """A measured value, and its standard error if its source lets it be known."""

    value: float
    spread: float | None = None


def measured(entry: Mapping[str, Any], logs: Mapping[str, Mapping[str, Any]]) -> MeasuredValue:
    """The value of an entry of `measured_runs.toml`: as it stands there, or from the readings of a log."""
    if "readings" not in entry:
        return MeasuredValue(entry["value"], entry.get("spread"))
    if "less" not in entry:
        return measured_from(logs[entry["log"]], entry["readings"])
    more, less = (measured_from(logs[name], entry["readings"]) for name in entry["less"])
    return MeasuredValue(more.value - less.value, math.hypot(more.spread or 0, less.spread or 0))


def measured_from(log: Mapping[str, Any], what: str) -> MeasuredValue:
    """A figure from the readings of a power meter.

    `above_loaded`: energy in uJ per inference above the loaded chip that waits. `loaded`: that chip's power in mW.
    `step`: time of a step in us.
    """
    if what == "step":
        return MeasuredValue(log["seconds"] / log["steps"] * 1e6)
    loaded, loaded_error = _mean(log["loaded_mw"])
    if what == "loaded":
        return MeasuredValue(loaded, loaded_error)
    if what != "above_loaded":
        raise BadInput(f"{MEASURED.name}: readings are {what!r}, not above_loaded, loaded or step")
    running, running_error = _mean(log["running_mw"])
    milliseconds = log["seconds"] * 1e3 / log["inferences"]  # a mW is a uJ per ms
    return MeasuredValue((running - loaded) * milliseconds, math.hypot(running_error, loaded_error) * milliseconds)


def _mean(readings: list[float]) -> tuple[float, float]:
    return statistics.fmean(readings), statistics.stdev(readings) / math.sqrt(len(readings))


# --- side by side


def verdict(predicted: Figure, value: float) -> tuple[bool, float]:
    """Whether the band holds a measured value, and by what factor the value is beyond its nearer end (1 if inside)."""
    if value > predicted.high:
        return False, value / predicted.high
    return (True, 1.0) if value >= predicted.low else (False, value / predicted.low)


def compare(predicted: Mapping[str, Mapping[str, Figure]]) -> dict[str, Any]:
    """Everything that the page shows, JSON-able."""
    told = tomllib.loads(MEASURED.read_text(encoding="utf-8"))
    runs = {run["name"]: run for run in told["run"]}
    out = []
    for name, figures in predicted.items():
        run, rows = runs[name], []
        for entry in run["measured"]:
            figure, value = figures[entry["figure"]], measured(entry, told["logs"])
            inside, beyond = verdict(figure, value.value)
            rows.append(
                {
                    "figure": entry["figure"],
                    "predicted": asdict(figure),
                    "measured": asdict(value),
                    "what": entry["what"],
                    "source": told["sources"][entry["source"]],
                    "inside": inside,
                    "beyond": beyond,
                    "measured_over_predicted": value.value / figure.value,
                    CIRCULAR: entry.get(CIRCULAR),
                }
            )
        kept = {key: run[key] for key in ("name", "title", "chip", "per", "weights", "known", "assumed")}
        out.append(kept | {"rows": rows, "predicted": {key: asdict(figure) for key, figure in figures.items()}})
    return {"sources": told["sources"], "runs": out}


def rounded(value: Any) -> Any:
    """JSON with floats of six digits, so that it does not depend on the order of a sum."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: rounded(one) for key, one in value.items()}
    return [rounded(one) for one in value] if isinstance(value, list) else value


# --- the page


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _in_unit(figure: str, per: str, values: list[float]) -> tuple[list[str], str]:
    unit = {"dynamic": "µJ", "total": "µJ", "static_power": "mW", "step": "µs"}.get(figure, "")
    if per == "step" and unit == "µJ":
        return [_number(value * 1e3) for value in values], "nJ"
    return [_number(value) for value in values], unit


def _rows(runs: list[dict[str, Any]], circular: bool) -> list[str]:
    lines = []
    for run in runs:
        for row in run["rows"]:
            if bool(row[CIRCULAR]) != circular:
                continue
            p, spread = row["predicted"], row["measured"]["spread"]
            numbers = [p["value"], p["low"], p["high"], row["measured"]["value"], spread or 0]
            (value, low, high, found, error), unit = _in_unit(row["figure"], run["per"], numbers)
            band = "unknown" if p["low"] == p["high"] and not p["band_known"] else f"{low} – {high}"
            band = "exact" if p["low"] == p["high"] and p["band_known"] else band
            name = SHOWN[row["figure"]] + (f" / {run['per']}" if row["figure"] in ("dynamic", "total") else "")
            cells = [run["title"], name, f"{value} {unit}".strip(), band]
            cells += [f"{found}{f' ± {error}' if spread else ''} {unit}".strip(), row["what"]]
            cells.append(row[CIRCULAR] if circular else _told(row))
            cells.append(_number(float(f"{row['measured_over_predicted']:.2g}")))
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _score(runs: list[dict[str, Any]]) -> str:
    rows = [row for run in runs for row in run["rows"] if not row[CIRCULAR]]
    return f"{sum(row['inside'] for row in rows)} of {len(rows)}"


def _told(row: Mapping[str, Any]) -> str:
    if row["inside"]:
        return "yes"
    factor = row["beyond"] if row["beyond"] > 1 else 1 / row["beyond"]
    return f"**no**: {factor:.2g} times {'above' if row['beyond'] > 1 else 'below'}"


def page(results: Mapping[str, Any]) -> str:
    """The page of the results."""
    runs = results["runs"]
    told = {public: _score([run for run in runs if (run["weights"] == "public") == public]) for public in (True, False)}
    filled = {
        "loihi1": "\n".join(_rows([run for run in runs if run["chip"] == "loihi1"], False)),
        "loihi2": "\n".join(_rows([run for run in runs if run["chip"] == "loihi2"], False)),
        "circular": "\n".join(_rows(runs, True)),
        "inputs": "\n".join(
            f"| {run['title']} | {run['weights']} | {run['known']} | {run['assumed']} |" for run in runs
        ),
        "sources": "\n".join(f"- {source}." for source in results["sources"].values()),
        "public": told[True],
        "assumed": told[False],
    }
    text = TEMPLATE.read_text(encoding="utf-8")
    for mark, value in filled.items():
        text = text.replace("{{" + mark + "}}", value)
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, nargs="?", help="lava_dl-0.6.0-py3-none-any.whl")
    parser.add_argument("--page", action="store_true", help="write the page from the results that are there")
    options = parser.parse_args()
    if not options.page:
        if options.wheel is None:
            parser.error("give the wheel of lava-dl 0.6.0, or --page")
        results = rounded(compare(predictions(NETWORKS, options.wheel)))
        with write_whole(RESULTS) as temporary:
            temporary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with write_whole(PAGE) as temporary:
        temporary.write_text(page(json.loads(RESULTS.read_text(encoding="utf-8"))), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
