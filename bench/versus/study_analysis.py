"""The analysis of listening studies on many studies whose effects are known: intervals, false positives, power.

    python bench/versus/study_analysis.py [--studies N] > docs/results/logs/study-analysis.txt
    python bench/versus/study_analysis.py --metrics [--studies N] > docs/results/logs/study-metrics.txt
    python bench/versus/study_analysis.py --fill

The first simulates and analyses. The second asks how often a metric is found that ratings follow. The third puts the
tables of both logs into docs/study.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from muspike.bench.marked_tables import fill
from muspike.bench.study import analysis, analysis_plan, effects, questionnaire, trust

SIZES = (
    trust.Size({"expert": 12, "amateur": 12, "normal": 12}, 3, 8),
    trust.Size({"expert": 12, "amateur": 12, "normal": 12}, 3, 4),
    trust.Size({"expert": 26, "amateur": 25, "normal": 25}, 4, 10),
)
SCENARIOS = ("none", "piece-at-group", "moderate")
LINKS = {
    **{
        f"ratings follow a metric, correlation {number:.1f}": ("none", trust.Link(number))
        for number in (0.0, 0.5, 0.7, 0.9)
    },
    # The metric knows the source, and so do the ratings; of a piece it says nothing.
    "a metric tells human pieces apart": ("muspike-paper", trust.Link(0.0, apart=2.0)),
}
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "study.md"
LOGS = ROOT / "docs" / "results" / "logs"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="of each size and scenario")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(range(len(SIZES))), help="numbers of the sizes")
    parser.add_argument("--metrics", action="store_true", help="how often a metric is found that ratings follow")
    parser.add_argument("--fill", action="store_true", help="put the tables of the logs into docs/study.md")
    arguments = parser.parse_args()
    if arguments.fill:
        tables = {"study-analysis": analysis_table, "study-metrics": metrics_table}
        logs = {name: (LOGS / f"{name}.txt").read_text(encoding="utf-8") for name in tables}
        made = {name: lambda name=name: tables[name](logs[name]) for name in tables}
        fill(PAGE, made, str(PAGE), every=True)
        return
    form = questionnaire.load()
    for number in arguments.sizes:
        seeds = range(1000 * number, 1000 * number + arguments.studies)
        for name in LINKS if arguments.metrics else SCENARIOS:
            print(f"working on {SIZES[number]}, {name}", file=sys.stderr, flush=True)
            if arguments.metrics:
                scenario, link = LINKS[name]
                plan = analysis.quicker(analysis_plan.load(), draws=10, permutations=99, rank_permutations=20_000)
                found = trust.tally_of_link(SIZES[number], form, effects.load(scenario), link, plan, seeds)
            else:
                plan = analysis.quicker(analysis_plan.load(), draws=300, permutations=99)
                found = trust.tally(SIZES[number], form, effects.load(name), plan, seeds)
            print(f"# {SIZES[number]}; scenario {name}; {arguments.studies} studies")
            for quantity in found.of:
                share, error = 100 * found.share(quantity), 100 * found.error(quantity)
                print(f"{quantity:55} {share:5.1f} % +- {error:.1f} of {found.of[quantity]}", flush=True)
            print(flush=True)


def parsed(log: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    """The parts of a log: the size with the number of studies, the scenario, and by quantity its share and error."""
    for part in log.strip().split("\n\n"):
        head, *lines = part.splitlines()
        size, scenario, studies = head.removeprefix("# ").split("; ")
        found = {}
        for line in lines:
            share, rest = line[55:].split(" % +- ")
            error, number = rest.split(" of ")
            # Of one study there is no error.
            found[line[:55].strip()] = (
                f"{share.strip()} ± {error}" if error != "nan" else f"{share.strip()} (of {number})"
            )
        yield f"{size} ({studies})", scenario.removeprefix("scenario "), found


def analysis_table(log: str) -> str:
    """The log as a table: a row for each quantity and scenario, a column for each size."""
    columns: dict[str, None] = {}
    rows: dict[str, dict[str, str]] = {}
    for size, scenario, found in parsed(log):
        columns[size] = None
        for name, cell in found.items():
            rows.setdefault(f"{name} | {scenario}", {})[size] = cell
    lines = [f"| in per cent of studies | scenario | {' | '.join(columns)} |", f"|---|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(of.get(column, '–') for column in columns)} |" for name, of in rows.items()]
    return "\n".join(lines)


def metrics_table(log: str) -> str:
    """The log as a table: a row for each size and scenario, a column for each quantity."""
    parts = list(parsed(log))
    columns = list(dict.fromkeys(name for _, _, found in parts for name in found))
    lines = [f"| in per cent of studies | {' | '.join(columns)} |", f"|---|{'---:|' * len(columns)}"]
    for size, scenario, found in parts:
        lines.append(f"| {size}: {scenario} | {' | '.join(found.get(column, '–') for column in columns)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
