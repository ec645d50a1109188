"""The tables about the models, made from results alone and put between marks in the documentation.

The results are those of the queue, and the `bench.json` of the report on the models that ship.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike.bench.shipped.queue import Place, read_result
from muspike.errors import BadInput
from muspike.export.matrix import markdown
from muspike.files import write_whole

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""The results of each family, in the order of their seeds."""

Bench = Mapping[str, Any]
"""The content of a `bench.json`; docs/report.md describes it."""

Measured = Mapping[str, Any]
"""What was measured on the models that ship, by the name of the file in docs/results."""

PAGES = ("README.md", "docs/models.md", "docs/export.md")
_NAMES = {"s-cnn": "S-CNN", "s-rnn": "S-RNN", "s-lstm": "S-LSTM", "s-gan": "S-GAN", "s-transformer": "S-Transformer"}


def read_results(place: Place, order: Sequence[str]) -> Results:
    """All results in the folder of results, the families in the given order, which names all that are known.

    Raises:
        BadInput: there is none, or one cannot be read, or is of models on other words than today's.
    """
    files = sorted(place.results.glob("*.json"))
    if not files:
        raise BadInput(f"{place.results}: holds no results; train first (python -m muspike.bench.shipped train)")
    found = [read_result(file) for file in files]
    by_seed = sorted(found, key=lambda result: int(result["made"]["recipe"]["seed"]))
    families = [*order, *sorted({result["family"] for result in found} - set(order))]
    grouped = {family: [result for result in by_seed if result["family"] == family] for family in families}
    return {family: results for family, results in grouped.items() if results}


def quality_table(results: Results) -> str:
    """Every family beside its twin: likelihood, firing rate and music."""
    lines = [
        "| model | parameters | steps | seeds | validation | test | against its twin | on Loihi 1 | "
        "spikes per neuron and tick | pitch count | best-scale rate | empty beats | ended by itself |",
        "|---" * 13 + "|",
    ]
    for family, found in results.items():
        twin = results.get(found[0]["twin"] or "")
        lines.append(f"| {' | '.join([family, *_quality(found, twin)])} |")
    data = next(iter(results.values()))[0]["data"]
    music = [f"{data['pitch_count']:.1f}", f"{data['pitch_in_scale_rate']:.3f}", f"{data['empty_beat_rate']:.4f}"]
    lines.append(f"| Bach |{' |' * 8} {' | '.join(music)} | {data['ended']:.0%} |")
    return "\n".join(lines)


def _quality(found: Sequence[Mapping[str, Any]], twin: Sequence[Mapping[str, Any]] | None) -> list[str]:
    rows = [result["measured"] for result in found]

    def spread(name: str, form: str) -> str:
        values = [row[name] for row in rows if row[name] is not None]
        if not values:
            return "–"
        mean = format(statistics.fmean(values), form)
        return mean if len(values) < 2 else f"{mean} ({format(min(values), form)} to {format(max(values), form)})"

    test = statistics.fmean(row["test"] for row in rows)
    against = ""
    if twin:
        against = f"{test / statistics.fmean(result['measured']['test'] for result in twin) - 1:+.1%}"
    chip = ""
    if rows[0]["test_on_chip"] is not None:
        chip = f"{statistics.fmean(row['test_on_chip'] / row['test'] - 1 for row in rows):+.2%}"
    return [
        f"{rows[0]['parameters']:,}",
        str(rows[0]["steps"]),
        str(len(rows)),
        spread("validation", ".3f"),
        spread("test", ".3f"),
        against,
        chip,
        spread("firing_rate", ".3f"),
        spread("pitch_count", ".1f"),
        spread("pitch_in_scale_rate", ".3f"),
        spread("empty_beat_rate", ".4f"),
        spread("ended", ".0%"),
    ]


def likelihood_table(results: Results) -> str:
    """The short table of the README: bits per note of what ships, on the chip and beside the twin."""
    lines = [
        "| | parameters | in torch | on Loihi 1 | twin that does not spike | spikes per neuron and tick |",
        "|---" * 6 + "|",
    ]
    for family, name in _NAMES.items():
        if family not in results:
            continue
        row, twin = results[family][0]["measured"], results.get(results[family][0]["twin"] or "")
        chip = f"{row['test_on_chip'] / row['test'] - 1:+.2%}".replace("%", " %")
        other = f"{twin[0]['measured']['test']:.3f}" if twin else ""
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['test']:.3f} | {chip} | {other} | {row['firing_rate']:.3f} |"
        )
    return "\n".join(lines)


def music_table(results: Results) -> str:
    """The table of the README on the music of what ships."""
    lines = ["| | pitch count | best-scale rate (`pitch_in_scale_rate`) | empty beats |", "|---" * 4 + "|"]
    rows = [(name, results[family][0]["measured"]) for family, name in _NAMES.items() if family in results]
    data = next(iter(results.values()))[0]["data"]
    for name, row in [*rows, ("Bach", data)]:
        empty = f"{row['empty_beat_rate']:.4f}" if row["empty_beat_rate"] else "0"
        lines.append(f"| {name} | {row['pitch_count']:.1f} | {row['pitch_in_scale_rate']:.3f} | {empty} |")
    return "\n".join(lines)


def cost_table(chip: str, title: str) -> Callable[[Bench], str]:
    """The table of the README on what the models that ship cost on a chip, on the fewest cores."""

    def made(bench: Bench) -> str:
        lines = [f"| on {title} | cores | µJ per note | latency, ms |", "|---" * 4 + "|"]
        for family, name in _NAMES.items():
            if family in bench["architectures"]:
                on = bench["architectures"][family]["chip"][chip]
                energy, latency = on["energy_uj_per_note"]["total"], on["latency_ms_per_note"]
                least = "" if energy["band_known"] else "at least "
                band = f"{least}{energy['low']:.3g} to {energy['high']:.3g}"
                cores = f"{on['cores']}"
                if between := on.get("cores_between"):
                    cores += f" ({between[0]} to {between[1]})"
                lines.append(f"| {name} | {cores} | {energy['value']:.3g} ({band}) | {latency['value']:.3f} |")
        return "\n".join(lines)

    return made


def spikes_table(bench: Bench) -> str:
    """The table of the README on the spikes of the models that ship, and how many were compared with Lava's."""
    lines = ["| | spikes per note | spikes compared with Lava |", "|---" * 3 + "|"]
    for family, name in _NAMES.items():
        if family in bench["architectures"]:
            of = bench["architectures"][family]
            spikes, differences = of["agreement"]["lava_fixed_spikes"], of["agreement"]["lava_fixed_differences"]
            if differences != 0:
                raise BadInput(f"bench.json: {family} differs from Lava in {differences} spikes; the README says none")
            lines.append(f"| {name} | {of['activity']['spikes_per_note']:.0f} | {spikes:,} |")
    return "\n".join(lines)


TABLES: dict[str, Callable[[Results], str]] = {
    "quality": quality_table,
    "likelihood": likelihood_table,
    "music": music_table,
}
BENCH, TARGETS = "bench.json", "targets.json"
OF_FILES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "loihi1": (BENCH, cost_table("loihi1", "Loihi 1")),
    "loihi2": (BENCH, cost_table("loihi2", "Loihi 2")),
    "spikes": (BENCH, spikes_table),
    "targets": (TARGETS, markdown),
}
"""By the name of a table, the file that it is made of, and what makes it."""


def filled(text: str, results: Results, measured: Measured, where: str) -> str:
    """A page with its tables made anew. A table stands between `<!-- table NAME -->` and `<!-- end -->`.

    Args:
        text: the page.
        results: the results of the queue, for the tables of `TABLES`.
        measured: the content of other files, for the tables of `OF_FILES`.
        where: the name of the page.

    Raises:
        BadInput: a mark names no table, or has no end.
    """
    parts = text.split("<!-- table ")
    made = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition(" -->")
        if name not in TABLES and name not in OF_FILES:
            raise BadInput(f"{where}: there is no table {name!r}; known are {', '.join((*TABLES, *OF_FILES))}")
        _, mark, after = rest.partition("<!-- end -->")
        if not mark:
            raise BadInput(f"{where}: the table {name} has no <!-- end -->")
        if name in TABLES:
            table = TABLES[name](results)
        else:
            file, make = OF_FILES[name]
            table = make(measured[file])
        made.append(f"<!-- table {name} -->\n{table}\n<!-- end -->{after}")
    return "".join(made)


def read_measured(root: Path) -> Measured:
    """The content of the files of `OF_FILES` in `docs/results`."""
    files = {file for file, _ in OF_FILES.values()}
    return {file: json.loads((root / "docs" / "results" / file).read_text(encoding="utf-8")) for file in files}


def fill(root: Path, results: Results) -> list[Path]:
    """Make the tables of all `PAGES` anew, and return the pages that changed."""
    measured = read_measured(root)
    changed = []
    for page in PAGES:
        file = root / page
        text = file.read_text(encoding="utf-8")
        new = filled(text, results, measured, page)
        if new != text:
            with write_whole(file) as path:
                path.write_text(new, encoding="utf-8")
            changed.append(file)
    return changed
