"""The choices of the analysis, as data: `analysis.toml`. A study's plan holds a copy from before anybody listened."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from muspike.arguments import instance, number, whole
from muspike.bench.study.study import BOTH, NONE, PAIRS, SINGLE, Study
from muspike.errors import BadInput


@cache
def _content() -> str:
    return (resources.files("muspike.bench.study") / "analysis.toml").read_text(encoding="utf-8")


def load() -> dict[str, Any]:
    """The choices, JSON-able: level, alpha, primary, draws, permutations, rank_permutations, seed, exclusions, families
    and analyses.
    """
    return tomllib.loads(_content())


def of_kind(study: Study) -> dict[str, Any]:
    """The choices for a new study: those of `load`, without analyses of what it does not ask."""
    single, pairs = study.turing in (SINGLE, BOTH), study.turing in (PAIRS, BOTH)
    asked = {"turing": single, "recognised": single, "pairs": pairs, "reasons": study.ask_why and study.turing != NONE}
    choices = load()
    for name in ("families", "analyses"):
        choices[name] = [of for of in choices[name] if asked.get(of["id"], True)]
    return choices


def of_study(plan: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The choices of a study's plan, which rule; what the plan leaves open is as `load` has it.

    Args:
        plan: the part `analysis` of `plan.json`.
        where: the name of the file, for errors.

    Raises:
        BadInput: a choice is not of its kind, or out of its range.
    """
    default = load()
    merged = default | {name: plan[name] for name in default if name in plan}
    rules = instance(f"{where}: exclusions", merged["exclusions"], dict, "a table")
    merged["exclusions"] = rules = default["exclusions"] | rules
    number(f"{where}: attention_missed_share", rules["attention_missed_share"], "a share above 0", 0, 1, above=True)
    for name in ("level", "alpha"):
        number(f"{where}: {name}", merged[name], "a number between 0 and 1", 0.001, 0.999)
    instance(f"{where}: primary", merged["primary"], str, "the id of an item")
    for name, most in (("draws", 100_000), ("permutations", 100_000), ("rank_permutations", 1_000_000)):
        whole(f"{where}: {name}", merged[name], 10, most)
    whole(f"{where}: seed", merged["seed"], 0, 2**32 - 1)
    for name, keys in (("families", ("id", "about")), ("analyses", ("id", "about", "planned"))):
        for entry in instance(f"{where}: {name}", merged[name], list, "a list"):
            if not isinstance(entry, dict) or not set(keys) <= set(entry):
                raise BadInput(f"{where}: {name}: found {entry!r:.60}, expected a table with {', '.join(keys)}")
    return merged


def of_items(plan: Mapping[str, Any], items: Sequence[str]) -> dict[str, Any]:
    """The choices for these items: if the primary one is not asked, the last one is primary."""
    return dict(plan) | {"primary": plan["primary"] if plan["primary"] in items else items[-1]}


def followed(plan: Mapping[str, Any], study: Study) -> dict[str, Any]:
    """The choices with the families and analyses that this version has for the study, which no plan can change."""
    here = of_kind(study)
    return dict(plan) | {name: here[name] for name in ("families", "analyses")}


def sentences(plan: Mapping[str, Any]) -> list[str]:
    """The choices as sentences, for people."""
    rules, percent = plan["exclusions"], f"{100 * plan['level']:g} %"
    missed = f"{100 * rules['attention_missed_share']:g} % of the attention checks"
    told = [
        f"The main comparisons are about the item {plan['primary']}. Intervals are at {percent}; a hypothesis is "
        f"rejected below {plan['alpha']:g} after the correction.",
        f"Listeners are left out who missed at least {missed}"
        + (", or who had no headphones or did not pass their check, if there was one" if rules["headphones"] else "")
        + (", or who stopped early." if rules["unfinished"] else ". Those who stopped early stay in.")
        + " The main results with everybody are reported as well.",
    ]
    told += [f"Holm's correction, family {of['id']}: {of['about']}." for of in plan["families"]]
    for of in plan["analyses"]:
        told.append(f"{'Planned' if of['planned'] else 'Exploratory'}: {of['about']}")
    return told
