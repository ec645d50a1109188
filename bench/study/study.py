"""A study: its sources, excerpts and trials, as `study.json` in its folder holds them.

DIR/study.json            this
DIR/plan.json, plan.md    the plan of the analysis, with the hashes of all that is asked and heard
DIR/questionnaire.toml    what is asked; questionnaire.LANGUAGE.toml are its translations
DIR/pieces/ID.mid         the excerpts, under names that do not tell their source
DIR/audio/ID.mp3          their sound
DIR/checks/               sounds of the volume check and the headphone screening; screening.json has the answers
DIR/study.db              the answers, unless they are in another database
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from muspike.arguments import shown
from muspike.errors import BadInput
from muspike.files import check_file, write_whole

FORMAT = 1
"""Version of `study.json`."""

STUDY, QUESTIONNAIRE, PIECES, AUDIO, CHECKS = "study.json", "questionnaire.toml", "pieces", "audio", "checks"
"""Names in the folder."""

_ID = re.compile(r"[0-9a-f]{12}")
_LARGEST = 2**26  # bytes of study.json
_LONGEST_S = 3600.0  # of a sound
_MOST = 1_000_000  # listeners of a group, trials between breaks, points of a scale

RATING: Final = "rating"
ATTENTION: Final = "attention"
REPEAT: Final = "repeat"
PAIR: Final = "pair"
TrialKind = Literal["rating", "attention", "repeat", "pair"]
"""What a trial asks: the items and, in the single form, the Turing question (`rating`); the same again of a piece that
was heard before (`repeat`); to choose a stated point of the scale, which a voice or the page says (`attention`); which
of two pieces a human composed (`pair`)."""

SINGLE: Final = "single"
PAIRS: Final = "pairs"
BOTH: Final = "both"
NONE: Final = "none"
Turing = Literal["single", "pairs", "both", "none"]
"""The form of the Turing test: of single pieces, of pairs matched by similarity, both, or none."""


@dataclass(frozen=True)
class Stimulus:
    """One excerpt.

    Attributes:
        id: 12 hexadecimal digits, which do not tell the source.
        source: name of its source, such as "human" or "s-rnn".
        origin: name of the file it was cut from.
        words: its length in compound words.
        seconds: the length of its sound.
        midi_sha256: hash of `pieces/ID.mid`.
        audio_sha256: hash of `audio/ID.mp3`.
    """

    id: str
    source: str
    origin: str
    words: int
    seconds: float
    midi_sha256: str
    audio_sha256: str


@dataclass(frozen=True)
class Trial:
    """One page of a listener.

    Attributes:
        kind: what is asked.
        stimuli: ids of what is heard: one; of a pair two, in the order in which they are offered; an attention check
            has the id of one excerpt, which is not rated.
        wanted: the point of the scale that an attention check asks for, from 1; else None.
        similarity: of a pair, how alike the two are, in [0, 1]; else None.
    """

    kind: TrialKind
    stimuli: tuple[str, ...]
    wanted: int | None = None
    similarity: float | None = None


@dataclass(frozen=True)
class Study:
    """A study, as it was planned. Nothing here changes when listeners come.

    Attributes:
        title: for listeners and the report.
        seed: of all that was drawn.
        human: name of the source that humans composed.
        sources: all sources, the human one first.
        stimuli: all excerpts.
        lists: sequences of trials. A listener hears one of them; within each group the next listener gets the list
            that the fewest listeners of the group have.
        turing: the form of the Turing test.
        languages: of the questionnaire and its translations, the first is the default.
        targets: wanted number of listeners by group id.
        screening: whether headphones are checked.
        ask_why: whether the Turing question asks for the reason.
        breaks: after so many trials there is a break; 0: none.
    """

    title: str
    seed: int
    human: str
    sources: tuple[str, ...]
    stimuli: tuple[Stimulus, ...]
    lists: tuple[tuple[Trial, ...], ...]
    turing: Turing
    languages: tuple[str, ...]
    targets: dict[str, int]
    screening: bool
    ask_why: bool
    breaks: int

    def stimulus(self, id: str) -> Stimulus:
        """The excerpt of this id, which is one of the study's."""
        return next(stimulus for stimulus in self.stimuli if stimulus.id == id)


def write(folder: str | os.PathLike[str], study: Study) -> None:
    """Write `study.json` in `folder`, whole or not at all.

    Raises:
        BadInput, Failed: it cannot be written.
    """
    with write_whole(Path(folder) / STUDY) as temporary:
        content = {"format": FORMAT, **asdict(study)}
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(folder: str | os.PathLike[str]) -> Study:
    """The study in `folder`.

    Raises:
        BadInput: there is no `study.json`, it is of another version, or an entry is missing, unknown or impossible.
    """
    path = Path(folder) / STUDY
    if not path.exists() and (not (here := Path(folder)).exists() or here.is_dir()):
        why = f"holds no study ({STUDY})" if here.is_dir() else "there is no such folder"
        raise BadInput(f"{folder}: {why}; muspike study new {folder} makes one")
    check_file(path, _LARGEST)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, lists in lists in lists
        raise BadInput(f"{path}: not JSON: {error}") from error
    if not isinstance(content, dict) or "format" not in content:
        raise BadInput(f"{path}: format is missing; muspike study new writes such a file")
    if (found := content.pop("format")) != FORMAT:
        raise BadInput(f"{path}: format {shown(found)} is of another version of muspike, which reads format {FORMAT}")
    from pydantic import ValidationError

    try:
        # The same text again, because only JSON has lists where the study has tuples.
        study: Study = _reader().validate_json(json.dumps(content), strict=True, extra="forbid")
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        value = "" if first["type"] == "missing" else f" ({shown(first['input'])})"
        raise BadInput(f"{path}: {place}: {first['msg']}{value}") from error
    _check(study, str(path))
    return study


@cache
def _reader() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Study)


def _check(study: Study, where: str) -> None:
    """Refuse a study that contradicts itself. Ids become names of files, so they are held to their form."""
    ids = [stimulus.id for stimulus in study.stimuli]
    for id in ids:
        if not _ID.fullmatch(id):
            raise BadInput(f"{where}: stimulus {shown(id)}: expected an id of 12 hexadecimal digits")
        if ids.count(id) > 1:
            raise BadInput(f"{where}: stimulus {id} is there twice; each is there once")
    for stimulus in study.stimuli:
        if not 0 < stimulus.seconds <= _LONGEST_S:  # NaN too is refused here
            raise BadInput(
                f"{where}: stimulus {stimulus.id}: seconds is {stimulus.seconds}, "
                f"expected above 0, at most {_LONGEST_S:.0f}"
            )
    if not 0 <= study.breaks <= _MOST:
        raise BadInput(f"{where}: breaks is {study.breaks}, expected 0 to {_MOST:,}")
    for group, wanted in study.targets.items():
        if not 0 <= wanted <= _MOST:
            raise BadInput(f"{where}: targets: {shown(group)} is {wanted}, expected 0 to {_MOST:,} listeners")
    if not study.sources or study.sources[0] != study.human or len(set(study.sources)) < len(study.sources):
        raise BadInput(f"{where}: sources are {shown(study.sources)}, expected {shown(study.human)} first, each once")
    if strange := {stimulus.source for stimulus in study.stimuli} - set(study.sources):
        raise BadInput(f"{where}: source {shown(min(strange))} of a stimulus is none of {', '.join(study.sources)}")
    if not study.lists or not all(study.lists):
        raise BadInput(f"{where}: lists has an empty list, or none; expected trials in each")
    if not study.languages or len(set(study.languages)) < len(study.languages):
        raise BadInput(f"{where}: languages are {shown(study.languages)}, expected at least one, each once")
    source = {stimulus.id: stimulus.source for stimulus in study.stimuli}
    for number, trials in enumerate(study.lists):
        for at, trial in enumerate(trials):
            place = f"{where}: list {number}, trial {at}"
            if len(trial.stimuli) != (2 if trial.kind == PAIR else 1):
                raise BadInput(f"{place}: has {len(trial.stimuli)} stimuli, which is wrong for the kind {trial.kind}")
            if strangers := [id for id in trial.stimuli if id not in source]:
                raise BadInput(f"{place}: stimulus {shown(strangers[0])} is none of the study's")
            if (trial.kind == ATTENTION) != (trial.wanted is not None):
                raise BadInput(f"{place}: wanted is {trial.wanted}; attention checks have a point, others have none")
            if trial.wanted is not None and trial.wanted < 1:
                raise BadInput(f"{place}: wanted is {trial.wanted}, expected a point of the scale, from 1")
            if trial.kind != PAIR:
                continue
            if study.turing not in (PAIRS, BOTH):
                raise BadInput(f"{place}: is a pair, which turing = {study.turing} leaves out")
            if [source[id] for id in trial.stimuli].count(study.human) != 1:
                raise BadInput(f"{place}: expected one of the pair to be of {study.human}, the other of another source")
            if trial.similarity is None or not 0 <= trial.similarity <= 1:
                raise BadInput(f"{place}: similarity is {trial.similarity}, expected a number from 0 to 1")


def check_asked(study: Study, groups: Sequence[str], points: int, where: str) -> None:
    """Refuse a study whose questionnaire lacks what the study needs.

    Args:
        study: the study.
        groups: ids of the questionnaire's groups.
        points: of its scale.
        where: names the study in errors.

    Raises:
        BadInput: a wanted group is none of these, or an attention check asks for a point that the scale lacks.
    """
    if strange := [group for group in study.targets if group not in groups]:
        raise BadInput(
            f"{where}: targets: group {shown(strange[0])} is none of the questionnaire's, {', '.join(groups)}"
        )
    wanted = max((trial.wanted or 0 for trials in study.lists for trial in trials), default=0)
    if wanted > points:
        raise BadInput(
            f"{where}: an attention check asks for point {wanted}; the scale of the questionnaire has {points}"
        )
