"""The tables about the models, made from results alone and put between marks in the documentation.

The results are those of the queue, and the `bench.json` of the report on the models that ship.
"""

from __future__ import annotations

import json
import statistics
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from muspike import corpora
from muspike.bench.marked_tables import Tables, filled
from muspike.bench.marked_tables import fill as fill_page
from muspike.bench.shipped.queue import Place, read_result, result_files
from muspike.bench.shipped.recipes import TABLES, Entry, told_apart
from muspike.errors import BadInput
from muspike.export.matrix import markdown

Results = Mapping[str, Sequence[Mapping[str, Any]]]
"""The results of each family, in the order of their seeds."""

Bench = Mapping[str, Any]
"""The content of a `bench.json`; docs/report.md describes it."""

Files = Mapping[str, Any]
"""The content of files in docs/results, by their names."""

PUBLISHED = Path(__file__).with_name("published.toml")
PAGES = ("README.md", "docs/models.md", "docs/export.md")
MAIN = "jsb"
"""The corpus of the models whose table comes first, and of the README."""
_NAMES = {"s-cnn": "S-CNN", "s-rnn": "S-RNN", "s-lstm": "S-LSTM", "s-gan": "S-GAN", "s-transformer": "S-Transformer"}


def read_results(place: Place, order: Sequence[str]) -> Results:
    """All results in the folder of results, the families in the given order, which names all that are known.

    Raises:
        BadInput: there is none, or one cannot be read, or is of models on other words than today's.
    """
    files = result_files(place)
    if not files:
        raise BadInput(f"{place.results}: holds no results; train first (python -m muspike.bench.shipped train)")
    found = [read_result(file) for file in files]
    by_seed = sorted(found, key=lambda result: int(result["made"]["recipe"]["seed"]))
    families = [*order, *sorted({result["family"] for result in found} - set(order))]
    grouped = {family: [result for result in by_seed if result["family"] == family] for family in families}
    return {family: results for family, results in grouped.items() if results}


def by_corpus(results: Results) -> dict[str, Results]:
    """The results of each corpus, by its name, in the order of the families."""
    found: dict[str, dict[str, Sequence[Mapping[str, Any]]]] = {}
    for family, of_family in results.items():
        found.setdefault(str(of_family[0]["made"]["recipe"]["data"]), {})[family] = of_family
    return dict(found)


def quality_table(results: Results, bench: Bench) -> str:
    """Every family beside its twin: likelihood, firing rate and music; what the chip changes is as `on_chip` says.

    Below the families of a corpus stands the music of its test split.
    """
    lines = [
        "| model | parameters | steps | seeds | validation | test | against its twin | on Loihi 1 | "
        "spikes per neuron and tick | pitch count | best-scale rate | empty beats | parallels | ended by itself |",
        "|---" * 14 + "|",
    ]
    for corpus, families in by_corpus(results).items():
        for family, found in families.items():
            twin = results.get(found[0]["twin"] or "")
            lines.append(f"| {' | '.join([family, *_quality(found, twin, bench)])} |")
        data = next(iter(families.values()))[0]["data"]
        music = [f"{data['pitch_count']:.1f}", f"{data['pitch_in_scale_rate']:.3f}", f"{data['empty_beat_rate']:.4f}"]
        music.append(f"{data['parallel_rate']:.1%}")
        lines.append(f"| {_of_whom(corpus)} |{' |' * 8} {' | '.join(music)} | {data['ended']:.0%} |")
    return "\n".join(lines)


def _of_whom(corpus: str) -> str:
    return "Bach" if corpus == MAIN else corpora.source_of(corpus).title


def other_corpora_table(results: Results, bench: Bench) -> str:
    """`quality_table` of the models of all corpora but the main one; a sentence if there is none."""
    others = {family: found for family, found in results.items() if found[0]["made"]["recipe"]["data"] != MAIN}
    return quality_table(others, bench) if others else "No model of another corpus has been trained yet."


def published_table(results: Results, published: Sequence[Mapping[str, Any]]) -> str:
    """What the MuSpike paper says of its networks, beside the same of ours: the presets `paper`, and those of today.

    Args:
        results: all results.
        published: the values of `PUBLISHED`.
    """
    every = [found[0] for found in results.values()]

    def ours(value: Mapping[str, Any], preset: str) -> str:
        wanted = {"architecture": value["architecture"], "data": value["corpus"], "preset": preset, "network": {}}
        wanted |= {"target_rate": None}
        for found in every:
            if wanted.items() <= found["made"]["recipe"].items():
                return _metric(found["measured"][value["metric"]])
        return "not trained yet"

    def data(value: Mapping[str, Any]) -> str:
        of = (found["data"] for found in every if found["made"]["recipe"]["data"] == value["corpus"])
        return next((_metric(found[value["metric"]]) for found in of), "")

    lines = [
        "| | metric | MuSpike | ours, preset `paper` | ours, preset `small` | MuSpike's data | our data |",
        "|---" * 7 + "|",
    ]
    for value in published:
        cells = [
            f"{_NAMES[value['architecture']]} on {corpora.source_of(value['corpus']).title}",
            f"`{value['metric']}`",
            _metric(value["network"]),
            ours(value, "paper"),
            ours(value, "small"),
            _metric(value.get("data")),
            data(value),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def read_published(path: Path = PUBLISHED) -> Sequence[Mapping[str, Any]]:
    """The paper's known values."""
    found: Sequence[Mapping[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["value"]
    return found


def _metric(value: float | None) -> str:
    """A count with one digit after the point, a share with three."""
    if value is None:
        return ""
    return f"{value:.1f}" if value > 1 else f"{value:.3f}"


def thresholds_table(results: Results, trained_anew: Sequence[str], bench: Bench) -> str:
    """The S-RNN at the threshold of its preset and at others, each trained anew.

    What the chip changes is as `on_chip` says.

    Args:
        results: all results.
        trained_anew: the families of other thresholds.
        bench: the report on the models that ship.
    """
    found = [results[family][0] for family in ("s-rnn", *trained_anew) if family in results]
    lines = [
        "| v_threshold | validation | test | on Loihi 1 | spikes per neuron and tick | pitch count | best-scale rate | "
        "empty beats |",
        "|---" * 8 + "|",
    ]

    def threshold(result: Mapping[str, Any]) -> float:
        made = result["made"]
        return float({**made["preset"]["network"], **made["recipe"]["network"]}["v_threshold"])

    for result in sorted(found, key=threshold):
        row = result["measured"]
        lines.append(
            f"| {threshold(result):g} | {row['validation']:.3f} | {row['test']:.3f} | {_change(result, bench)} | "
            f"{row['firing_rate']:.3f} | {row['pitch_count']:.1f} | {row['pitch_in_scale_rate']:.3f} | "
            f"{row['empty_beat_rate']:.4f} |"
        )
    return "\n".join(lines)


def sparse_table(results: Results, sparse: Sequence[str], bench: Bench) -> str:
    """The models of a lower target rate, each beside the one of the same architecture that ships.

    What the chip changes is as `on_chip` says.

    Args:
        results: all results.
        sparse: the families of a lower target rate.
        bench: the report on the models that ship.
    """
    lines = [
        "| model | target rate | spikes per neuron and tick | of the one that ships | validation | test | "
        "against the one that ships | on Loihi 1 |",
        "|---" * 8 + "|",
    ]
    for family in sparse:
        result = results[family][0]
        recipe, row = result["made"]["recipe"], result["measured"]
        beside, rate = ["", ""], recipe["target_rate"]
        if of := results.get(recipe["architecture"]):
            shipped = of[0]["measured"]
            beside = [f"{shipped['firing_rate']:.3f}", f"{row['test'] / shipped['test'] - 1:+.1%}"]
        lines.append(
            f"| {family} | {'' if rate is None else f'{rate:g}'} | {row['firing_rate']:.3f} | {beside[0]} | "
            f"{row['validation']:.3f} | {row['test']:.3f} | {beside[1]} | {_change(result, bench)} |"
        )
    return "\n".join(lines)


def on_chip(result: Mapping[str, Any], bench: Bench) -> float | None:
    """By what share the bits per note are more on Loihi 1 than in torch; None: the network does not spike.

    If the report on the models that ship is of this very model, the figure is the report's, so that no two figures of
    one model stand in the documentation. Of any other model it is that of the queue.
    """
    row = result["measured"]
    found = bench["architectures"].get(result["family"])
    keys = {"parameters": "parameters", "steps": "training_steps", "validation": "validation_bits_per_note"}
    if found and all(row[own] == found["model"][told] for own, told in keys.items()):
        bits = found["quality"]["nll_bits_per_note"]
        return float(bits["chip"]["loihi1"] / bits["torch"] - 1)
    return None if row["test_on_chip"] is None else row["test_on_chip"] / row["test"] - 1


def _change(result: Mapping[str, Any], bench: Bench) -> str:
    change = on_chip(result, bench)
    return "" if change is None else f"{change:+.2%}"


def same_chance(result: Mapping[str, Any], twin: Mapping[str, Any]) -> bool:
    """Whether a network and its twin were trained alike: for as many steps, by the same teacher, on what both hear."""

    def chance(of: Mapping[str, Any]) -> tuple[Any, ...]:
        recipe, network = of["made"]["recipe"], of["made"]["preset"]["network"]
        return recipe["steps"], recipe["teacher"] and told_apart(recipe["teacher"]), network.get("hears")

    return chance(result) == chance(twin)


def _quality(found: Sequence[Mapping[str, Any]], twin: Sequence[Mapping[str, Any]] | None, bench: Bench) -> list[str]:
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
        against += "" if same_chance(found[0], twin[0]) else "*"
    changes = [change for result in found if (change := on_chip(result, bench)) is not None]
    chip = f"{statistics.fmean(changes):+.2%}" if changes else ""
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
        spread("parallel_rate", ".1%"),
        spread("ended", ".0%"),
    ]


def likelihood_table(results: Results, bench: Bench) -> str:
    """The short table of the README: bits per note of what ships, on the chip and beside the twin."""
    lines = [
        "| | parameters | in torch | on Loihi 1 | twin that does not spike | spikes per neuron and tick |",
        "|---" * 6 + "|",
    ]
    for family, name in _NAMES.items():
        if family not in results:
            continue
        row, twin = results[family][0]["measured"], results.get(results[family][0]["twin"] or "")
        change = on_chip(results[family][0], bench)
        chip = "" if change is None else f"{change:+.2%}".replace("%", " %")
        other = ""
        if twin:
            other = f"{twin[0]['measured']['test']:.3f}" + ("" if same_chance(results[family][0], twin[0]) else "*")
        lines.append(
            f"| {name} | {row['parameters']:,} | {row['test']:.3f} | {chip} | {other} | {row['firing_rate']:.3f} |"
        )
    return "\n".join(lines)


def music_table(results: Results) -> str:
    """The table of the README on the music of what ships."""
    lines = [
        "| | pitch count | best-scale rate (`pitch_in_scale_rate`) | empty beats | parallels | ended by itself |",
        "|---" * 6 + "|",
    ]
    rows = [(name, results[family][0]["measured"]) for family, name in _NAMES.items() if family in results]
    data = next(iter(results.values()))[0]["data"]
    for name, row in [*rows, ("Bach", data)]:
        empty = f"{row['empty_beat_rate']:.4f}" if row["empty_beat_rate"] else "0"
        cells = f"{row['pitch_count']:.1f} | {row['pitch_in_scale_rate']:.3f} | {empty}"
        lines.append(f"| {name} | {cells} | {row['parallel_rate']:.1%} | {row['ended']:.0%} |")
    return "\n".join(lines)


def cost_table(chip: str, title: str, bench: Bench) -> str:
    """The table of the README on what the models that ship cost on a chip, on the fewest cores."""
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


def ledger_table(ledger: Mapping[str, Any]) -> str:
    """The gap ledger: each rung's bits per note, and its change against the rung above and against the first one."""
    lines = ["| | bits per note | change | from the twin on |", "|---" * 4 + "|"]
    first = above = 0.0
    family = None
    for rung in ledger.values():
        bits = rung["validation"]
        if rung["family"] != family:
            family, first = rung["family"], bits
            lines.append(f"| **{_NAMES[family]}** | | | |")
            lines.append(f"| {rung['about']} | {bits:.3f} | | |")
        else:
            lines.append(f"| {rung['about']} | {bits:.3f} | {bits / above - 1:+.1%} | {bits / first - 1:+.1%} |")
        above = bits
    return "\n".join(lines)


BENCH, TARGETS, LEDGER = "bench.json", "targets.json", "ledger.json"
FILES = (BENCH, TARGETS, LEDGER)
"""The files in docs/results of which tables are made, beside the results of the queue."""


def tables(results: Results, files: Files, entries: Sequence[Entry] = ()) -> Tables:
    """All tables, by their names on the pages.

    Args:
        results: the results of the queue.
        files: the content of `FILES`.
        entries: the recipes, which say in which table a family stands; without a recipe, in the first one.
    """
    bench, targets = files[BENCH], files[TARGETS]
    table_of = {entry.family: entry.table for entry in entries}
    everything = results

    def of_table(table: str) -> Results:
        return {family: found for family, found in everything.items() if table_of.get(family, TABLES[0]) == table}

    every, of_paper, of_thresholds, sparse = (of_table(table) for table in TABLES)
    results = by_corpus(every).get(MAIN, {})
    return {
        "quality": lambda: quality_table(results, bench),
        "other corpora": lambda: other_corpora_table(every, bench),
        "paper models": lambda: quality_table(of_paper, bench) if of_paper else "None has been trained yet.",
        "published": lambda: published_table(everything, read_published()),
        "thresholds": lambda: thresholds_table(everything, list(of_thresholds), bench),
        "sparse": lambda: sparse_table(everything, list(sparse), bench) if sparse else "None has been trained yet.",
        "likelihood": lambda: likelihood_table(results, bench),
        "music": lambda: music_table(results),
        "loihi1": lambda: cost_table("loihi1", "Loihi 1", bench),
        "loihi2": lambda: cost_table("loihi2", "Loihi 2", bench),
        "spikes": lambda: spikes_table(bench),
        "targets": lambda: markdown(targets),
        "ledger": lambda: ledger_table(files[LEDGER]),
    }


def read_files(root: Path) -> Files:
    """The content of `FILES`.

    Raises:
        BadInput: one of them cannot be read.
    """
    found = {}
    for name in FILES:
        file = root / "docs" / "results" / name
        try:
            found[name] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{file}: cannot be read ({error}); a file of results is wanted") from error
    return found


def fill(root: Path, results: Results, entries: Sequence[Entry]) -> list[Path]:
    """Make the tables of all `PAGES` anew, and return the pages that changed.

    Raises:
        BadInput: a file of results lacks something, or a page has a mark of no table. All pages stay as they are.
    """
    made = tables(results, read_files(root), entries)
    try:
        for page in PAGES:  # before the first page is written
            filled((root / page).read_text(encoding="utf-8"), made, page)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{root / 'docs' / 'results'}: the tables cannot be made of its files: {error!r:.80}") from error
    return [root / page for page in PAGES if fill_page(root / page, made, page)]
