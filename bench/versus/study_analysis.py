"""The analysis of listening studies on many studies whose effects are known: intervals, false positives, power.

    python bench/versus/study_analysis.py [--studies N] > docs/results/logs/study-analysis.txt
    python bench/versus/study_analysis.py --fill docs/results/logs/study-analysis.txt

The first simulates and analyses; the second puts the table of a log into docs/study.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from muspike.bench.marked_tables import fill
from muspike.bench.study import analysis, analysis_plan, effects, questionnaire, trust

SIZES = (
    trust.Size({"expert": 12, "amateur": 12, "normal": 12}, 3, 8),
    trust.Size({"expert": 12, "amateur": 12, "normal": 12}, 3, 4),
    trust.Size({"expert": 26, "amateur": 25, "normal": 25}, 4, 10),
)
SCENARIOS = ("none", "moderate")
PAGE = Path(__file__).parents[2] / "docs" / "study.md"
TABLE = "study-analysis"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=200, help="of each size and scenario")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(range(len(SIZES))), help="numbers of the sizes")
    parser.add_argument("--fill", type=Path, metavar="LOG", help="put the table of this log into docs/study.md")
    arguments = parser.parse_args()
    if arguments.fill:
        fill(PAGE, {TABLE: lambda: table(arguments.fill.read_text(encoding="utf-8"))}, str(PAGE), every=True)
        return
    plan = analysis.quicker(analysis_plan.load(), draws=300, permutations=99)
    form = questionnaire.load()
    for number in arguments.sizes:
        for scenario in SCENARIOS:
            seeds = range(1000 * number, 1000 * number + arguments.studies)
            print(f"working on {SIZES[number]}, {scenario}", file=sys.stderr, flush=True)
            found = trust.tally(SIZES[number], form, effects.load(scenario), plan, seeds)
            print(f"# {SIZES[number]}; scenario {scenario}; {arguments.studies} studies")
            for name in found.of:
                share, error = 100 * found.share(name), 100 * found.error(name)
                print(f"{name:55} {share:5.1f} % +- {error:.1f} of {found.of[name]}", flush=True)
            print(flush=True)


def table(log: str) -> str:
    """The log as a table: a row for each quantity, a column for each size."""
    columns: list[str] = []
    rows: dict[str, dict[str, str]] = {}
    scenario = size = ""
    for line in log.splitlines():
        if line.startswith("# "):
            size, scenario, studies = line[2:].split("; ")
            size = f"{size} ({studies})"
            scenario = scenario.removeprefix("scenario ")
            if size not in columns:
                columns.append(size)
        elif line.strip():
            name, share, rest = line[:55].strip(), *line[55:].split(" % +- ")
            rows.setdefault(f"{name} | {scenario}", {})[size] = f"{share.strip()} ± {rest.split(' of ')[0]}"
    lines = [f"| in per cent of studies | scenario | {' | '.join(columns)} |", f"|---|---|{'---:|' * len(columns)}"]
    lines += [f"| {name} | {' | '.join(of.get(column, '–') for column in columns)} |" for name, of in rows.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
