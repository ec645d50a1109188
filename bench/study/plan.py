"""The plan of a study, written before the first listener: what is tested, and the hashes of all that people hear.

`plan.json` is for `muspike study report`, which says what differs from it; `plan.md` is for people and for a register
of studies. Whoever registers the hash of `plan.json` shows that it was not changed later.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muspike import __version__
from muspike.bench.study import analysis_plan
from muspike.bench.study import study as studies
from muspike.bench.study.power import Analysis
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.study import NONE, PAIRS, SINGLE, Study
from muspike.errors import BadInput
from muspike.files import check_file, write_whole
from muspike.tables import several, written

FORMAT = 1
"""Version of `plan.json`."""

PLAN, PLAN_FOR_PEOPLE = "plan.json", "plan.md"

_LARGEST = 2**26  # bytes of plan.json
_TURING = {
    SINGLE: "of single pieces: did a human or a computer compose it?",
    PAIRS: "of pairs: which of the two did a human compose?",
    "both": "of single pieces and of pairs",
}


@dataclass(frozen=True)
class Facts:
    """What a report is made of.

    Attributes:
        groups: listeners in the analysis by group, after exclusions.
        exclusions: the rules by which listeners were left out.
        analysis: the choices that were followed (`analysis_plan.followed`); None: they are not compared.
    """

    groups: Mapping[str, int]
    exclusions: Mapping[str, Any]
    analysis: Mapping[str, Any] | None = None


def write(
    folder: str | os.PathLike[str],
    study: Study,
    questionnaire: Questionnaire,
    power: Analysis,
    design: Mapping[str, Any],
    made: str,
) -> str:
    """Write `plan.json` and `plan.md` in the folder of a study whose other files are all there.

    Args:
        folder: the folder.
        study: the study.
        questionnaire: what is asked.
        power: how many listeners are wanted, and why.
        design: the numbers of the study, by name.
        made: when, UTC, ISO 8601.

    Returns:
        The hash of `plan.json`, SHA-256.
    """
    content = {
        "format": FORMAT,
        "muspike": __version__,
        "made": made,
        "title": study.title,
        "seed": study.seed,
        "design": dict(design),
        "listeners": dict(study.targets),
        "power": power.to_dict(),
        "analysis": analysis_plan.of_items(analysis_plan.of_kind(study), [item.id for item in questionnaire.items]),
        "files": dict(_hashes(Path(folder))),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()
    with write_whole(Path(folder) / PLAN) as temporary:
        temporary.write_text(text, encoding="utf-8")
    with write_whole(Path(folder) / PLAN_FOR_PEOPLE) as temporary:
        temporary.write_text("\n".join(_for_people(study, questionnaire, power, content, digest)), encoding="utf-8")
    return digest


def read(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of `plan.json`.

    Raises:
        BadInput: it is missing, damaged or of another version.
    """
    path = Path(folder) / PLAN
    check_file(path, _LARGEST)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    for name, kind in (("files", dict), ("listeners", dict), ("analysis", dict), ("muspike", str)):
        if not isinstance(content, dict) or not isinstance(content.get(name), kind):
            raise BadInput(f"{path}: {name} is missing; muspike study new writes such a file")
    for name, wanted in (("files", str), ("listeners", int)):
        if strange := [key for key, value in content[name].items() if type(value) is not wanted]:
            raise BadInput(f"{path}: {name}: {strange[0]!r:.80} is {content[name][strange[0]]!r:.80}, which is damaged")
    if content.get("format") != FORMAT:
        raise BadInput(f"{path}: format {content.get('format')!r} is of another version, expected {FORMAT}")
    return dict(content)


def sha256(folder: str | os.PathLike[str]) -> str | None:
    """The hash of `plan.json`, by which a reader knows the registered plan; None if there is no plan."""
    path = Path(folder) / PLAN
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None


def differences(folder: str | os.PathLike[str], facts: Facts) -> list[str]:
    """What differs from the plan, in sentences; none: nothing does.

    Args:
        folder: the folder of the study.
        facts: what the report is made of.

    Raises:
        BadInput: `plan.json` is damaged.
    """
    if not (Path(folder) / PLAN).exists():
        return [f"There is no {PLAN}: nothing says what was planned."]
    plan = read(folder)
    return [
        *changed_files(folder),
        *_changed_groups(plan["listeners"], facts.groups),
        *_changed_choices("exclusions", plan["analysis"].get("exclusions", {}), facts.exclusions),
        *([] if facts.analysis is None else _changed_choices("", _rest(plan["analysis"]), _rest(facts.analysis))),
        *_changed_version(plan["muspike"]),
    ]


def changed_files(folder: str | os.PathLike[str]) -> list[str]:
    """Sentences on the files that differ from the plan; none if there is no plan.

    Raises:
        BadInput: `plan.json` is damaged.
    """
    there = (Path(folder) / PLAN).exists()
    return list(_changed_files(read(folder)["files"], dict(_hashes(Path(folder))))) if there else []


def _rest(analysis: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared besides the exclusions."""
    return {name: value for name, value in analysis.items() if name != "exclusions"}


def _hashes(folder: Path) -> Iterator[tuple[str, str]]:
    """The paths in the folder of all that is asked and heard, and their SHA-256."""
    found = [folder / studies.STUDY, *folder.glob("questionnaire*.toml")]
    for part in (studies.PIECES, studies.AUDIO, studies.CHECKS):
        found += (path for path in (folder / part).glob("*") if not path.name.startswith("."))
    for path in sorted(found):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()


def _changed_files(planned: Mapping[str, str], found: Mapping[str, str]) -> Iterator[str]:
    for name, digest in planned.items():
        if name not in found:
            yield f"{name} is gone."
        elif found[name] != digest:
            yield f"{name} was changed: its SHA-256 is {found[name][:12]}..., planned was {digest[:12]}..."
    for name in found:
        if name not in planned:
            yield f"{name} was added."


def _changed_groups(planned: Mapping[str, int], found: Mapping[str, int]) -> Iterator[str]:
    for group, wanted in planned.items():
        if (number := found.get(group, 0)) != wanted:
            yield f"Group {group} has {several(number, 'listener')} in the analysis; {wanted:,} were planned."
    for group in found:
        if group not in planned:
            yield f"Group {group} was not planned."


def _changed_choices(place: str, planned: Any, found: Any) -> Iterator[str]:
    """Sentences on what differs between two tables, by the path of the entry. Entries of a list go by their id."""
    planned, found = _by_id(planned), _by_id(found)
    if isinstance(planned, Mapping) and isinstance(found, Mapping):
        for name in [*planned, *(name for name in found if name not in planned)]:
            inside = f"{place}.{name}" if place else str(name)
            if name not in found:
                yield f"The analysis leaves out {inside}, which was planned ({_shown(planned[name])})."
            elif name not in planned:
                yield f"The analysis has {inside} ({_shown(found[name])}), which was not planned."
            else:
                yield from _changed_choices(inside, planned[name], found[name])
    elif json.loads(json.dumps(planned)) != json.loads(json.dumps(found)):  # a tuple is a list there
        yield f"The analysis has {place} = {_shown(found)}; {_shown(planned)} was planned."


def _by_id(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(entry, Mapping) and "id" in entry for entry in value):
        return {str(entry["id"]): {name: one for name, one in entry.items() if name != "id"} for entry in value}
    return value


def _changed_version(planned: str) -> Iterator[str]:
    if planned != __version__:
        yield f"This is muspike {__version__}; the plan is of muspike {planned}."


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _for_people(
    study: Study, questionnaire: Questionnaire, power: Analysis, content: Mapping[str, Any], digest: str
) -> Iterator[str]:
    yield f"# {study.title}: the plan"
    yield ""
    yield f"Made on {content['made']} with muspike {content['muspike']}, before the first listener. Seed: {study.seed}."
    yield f"`{PLAN}` says the same for programs. Its SHA-256 is `{digest}`."
    yield ""
    yield "## What is heard"
    yield ""
    yield "| source | excerpts | seconds |"
    yield "|---|---:|---:|"
    for source in study.sources:
        seconds = [stimulus.seconds for stimulus in study.stimuli if stimulus.source == source]
        human = " (composed by humans)" if source == study.human else ""
        yield f"| {source}{human} | {len(seconds)} | {min(seconds):.1f} to {max(seconds):.1f} |"
    yield ""
    for name, value in content["design"].items():
        shown = value if not isinstance(value, bool) else "yes" if value else "no"
        yield f"- {name.replace('_', ' ')}: {shown}"
    yield ""
    yield "## What is asked"
    yield ""
    yield f"The questionnaire `{questionnaire.id}`, in {', '.join(study.languages)}. Each piece is rated on a scale of"
    yield f"{len(questionnaire.scale)} points, from “{questionnaire.scale[0]}” to “{questionnaire.scale[-1]}”:"
    yield ""
    for item in questionnaire.items:
        yield f"- {item.id}: {item.statement}{' (turned round)' if item.reverse else ''}"
    yield ""
    if study.turing != NONE:
        yield f"And a Turing test {_TURING[study.turing]}"
        yield ""
    yield "Groups, the first that fits holds:"
    yield ""
    for group in questionnaire.groups:
        rules = " or ".join(
            f"{rule.question} at least {rule.at_least}"
            if rule.at_least is not None
            else f"{rule.question} is {' or '.join(rule.among)}"
            for rule in group.any_of
        )
        yield f"- {group.id}: {rules or 'all others'}; {several(study.targets[group.id], 'listener')} wanted"
    yield ""
    yield "## How many listeners"
    yield ""
    yield written(power.tables(), "markdown")
    yield ""
    yield "## What is tested"
    yield ""
    yield from (f"- {sentence}" for sentence in analysis_plan.sentences(content["analysis"]))
    yield ""
    yield "## The files"
    yield ""
    yield "| file | SHA-256 |"
    yield "|---|---|"
    yield from (f"| {name} | `{value}` |" for name, value in content["files"].items())
    yield ""
