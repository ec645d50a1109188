"""The report of a study as one HTML page, which opens offline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from muspike import __version__
from muspike.bench.study import report
from muspike.bench.study.analysis_plan import sentences
from muspike.bench.study.report import estimate, probability, share
from muspike.hardware.running.page import environment
from muspike.hardware.running.pictures import Picture

_CAPTIONS = {
    "means": "Mean ratings. Mark: mean; line: interval, over listeners and pieces.",
    "comparisons": "How far other sources are from the human one. Blue: each source in the main item; green: all of "
    "them together in each other item. Mark: estimate; line: interval; filled: significant after Holm's correction.",
    "turing": "Left: pieces taken for human ones; dashed: one half. Right: d' and criterion; dashed: none.",
    "polarisation": "How much the listeners of each group differ about the same piece. Line: interval.",
    "alignment": "Each metric (rows) against each item (columns), over pieces. Dots: significant after the correction.",
    "predictor": "Which metrics carry the prediction, all groups together.",
}
_VERSIONS = ("numpy", "scipy", "pandas", "statsmodels", "pingouin", "scikit-learn", "krippendorff")


def page(
    result: Mapping[str, Any], differences: Sequence[str], pictures: Mapping[str, Picture], made: Mapping[str, Any]
) -> str:
    """The page, as HTML in one piece.

    Args:
        result: what `analysis.analyse` returns.
        differences: from the plan, in sentences.
        pictures: by section.
        made: how it was made, by name.
    """
    template = environment("muspike.bench.study").get_template("report.html")
    return template.render(
        result=result,
        sections=report.sections(result, differences),
        differences=differences,
        pictures=pictures,
        captions=_CAPTIONS,
        cards=_cards(result),
        choices=sentences(result["plan"]),
        made=made,
        versions={"muspike": __version__, **{name: version(name) for name in _VERSIONS}},
    ).rstrip("\n")


def _cards(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the page says first: label, a large figure, and lines below it."""
    people, study, plan = result["listeners"], result["study"], result["plan"]
    used = sum(of["used"] for of in people.values())
    out = sum(sum(of["left_out"].values()) for of in people.values())
    by_group = ", ".join(f"{of['used']} {study['groups'][group].lower()}" for group, of in people.items())
    cards = [
        {
            "label": "Listeners",
            "big": str(used),
            "lines": [by_group, f"{out} left out by the plan", f"{study['answers']['ratings']:,} ratings"],
        }
    ]
    rows = result["comparisons"]["sources"]
    if rows:
        found = [row for row in rows if row["p_holm"] < plan["alpha"]]
        cards.append(
            {
                "label": f"Sources that differ from the human one, item {report.item_name(study['primary'])}",
                "big": f"{len(found)} of {len(rows)}",
                "lines": [f"{row['name']}: {estimate(row.get('points'))} points" for row in rows],
            }
        )
    turing = [(g, of) for g, of in result["turing"].items() if isinstance(of, Mapping) and "said_human" in of]
    if turing:
        cards.append(
            {
                "label": "Human pieces taken for human",
                "big": "",
                "lines": [f"{study['groups'][g]}: {share(of['said_human'].get(study['human']))} %" for g, of in turing],
            }
        )
    predicted = result["predictor"].get("all") if isinstance(result["predictor"], Mapping) else None
    if predicted and "ridge" in predicted:
        ridge = predicted["ridge"]
        cards.append(
            {
                "label": "Ratings from objective metrics, R² on unseen pieces (exploratory)",
                "big": f"{ridge['r2']:.2f}",
                "lines": [
                    "better than chance" if ridge["beats"] else "no better than chance",
                    f"p = {probability(ridge['p'])}; by chance up to {ridge['chance']:.2f}",
                ],
            }
        )
    return cards
