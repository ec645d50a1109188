"""A new study: its excerpts, their sound, the checks, the questionnaire, who hears what, and the plan."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from muspike import midi
from muspike.bench import audio
from muspike.bench.study import (
    design,
    excerpts,
    pairs,
    plan,
    questionnaire,
    screening,
    sound,
)
from muspike.bench.study import study as studies
from muspike.bench.study.design import Pair
from muspike.bench.study.excerpts import START, Excerpt, From, Length
from muspike.bench.study.power import Analysis, analyse
from muspike.bench.study.power import Design as PowerDesign
from muspike.bench.study.questionnaire import Questionnaire
from muspike.bench.study.study import BOTH, NONE, PAIRS, SINGLE, Stimulus, Study, Turing
from muspike.errors import BadInput
from muspike.files import LOCK, owned_folder, path_error
from muspike.progress import bar
from muspike.ranges import SEED, Range, above_0, check, demand, from_to, one_of, setting, whole

ENOUGH = 16
"""Excerpts that a listener rates, if nothing else is asked for: with thirteen items each, half an hour."""

FEWEST = 2
"""Excerpts of a source. Of one, nobody knows whether it is the piece or the source that people like."""

_STAGING = ".new-"


@dataclass(frozen=True)
class Settings:
    """The numbers of a new study.

    Attributes:
        excerpts: excerpts of each source that are rated.
        or_fewer: whether fewer, of all sources alike, will do where a source has fewer; at least `FEWEST`.
        per_source: how many of each source a listener rates; None: `ENOUGH` in all, or all there are.
        attention: attention checks of a listener; None: two, or as many as there is room for.
        repeats: excerpts that a listener rates twice, for the reliability of test and retest.
        turing: the form of the Turing test.
        pairs: pairs of each source, all of which every listener hears.
        breaks: after so many trials there is a break; 0: none.
        screening: whether headphones are checked.
        ask_why: whether the Turing question asks for the reason.
        effect: the difference of two sources that is to be found, in standard deviations of a rating.
        accuracy: the share of right answers in the Turing test that is to be told from chance.
        alpha: the probability of a false finding.
        power: the probability to find what is there.
        seed: of all that is drawn.
    """

    excerpts: int = setting(8, whole(1, 64))
    or_fewer: bool = False
    per_source: int | None = setting(None, whole(1, 64))
    attention: int | None = setting(None, whole(0, 20))
    repeats: int = setting(0, whole(0, 20))
    turing: Turing = SINGLE
    pairs: int = setting(4, whole(1, 64))
    breaks: int = setting(8, whole(0, 1000))
    screening: bool = True
    ask_why: bool = False
    effect: float = setting(0.5, above_0())
    accuracy: float = setting(0.65, Range(lambda value: 0.5 < value < 1, "be above 0.5 and below 1"))
    alpha: float = setting(0.05, from_to(1e-6, 0.5))
    power: float = setting(0.8, from_to(0.5, 0.999))
    seed: int = setting(0, SEED)

    def __post_init__(self) -> None:
        check(self, "study")
        demand(self.turing, one_of((SINGLE, PAIRS, BOTH, NONE)), "study: turing")

    @property
    def with_pairs(self) -> bool:
        """Whether listeners hear pairs."""
        return self.turing in (PAIRS, BOTH)

    def rated(self, sources: int) -> int:
        """How many excerpts of each source a listener rates."""
        if self.per_source is not None:
            if self.per_source > self.excerpts:
                raise BadInput(f"--per-listener {self.per_source}: expected at most the {self.excerpts} of --excerpts")
            return self.per_source
        return max(1, min(self.excerpts, ENOUGH // sources))

    def checks(self, sources: int) -> int:
        """How many attention checks a listener gets."""
        return min(2, (self.rated(sources) * sources - 1) // 2) if self.attention is None else self.attention

    def power_design(self, sources: int, groups: int = 3) -> PowerDesign:
        """What decides the power of the study."""
        pairs = self.turing == PAIRS
        return PowerDesign(
            sources,
            self.excerpts,
            self.rated(sources),
            turing_answers=self.pairs if pairs else self.rated(sources),
            turing_pieces=self.pairs if pairs else self.excerpts,
            turing_pairs=pairs,
            groups=groups,
            alpha=self.alpha,
            power=self.power,
        )

    def power_analysis(self, sources: int, groups: int = 3) -> Analysis:
        """How many listeners the study needs, of so many groups."""
        accuracy = None if self.turing == NONE else self.accuracy
        return analyse(self.power_design(sources, groups), self.effect, accuracy)


@dataclass(frozen=True)
class Made:
    """A study that was made.

    Attributes:
        study: the study.
        settings: its numbers.
        power: how many listeners it needs.
        plan_sha256: the hash of `plan.json`.
        loudness_lufs: of all excerpts.
        left_out: why pieces were not usable: sentences that name the file.
    """

    study: Study
    settings: Settings
    power: Analysis
    plan_sha256: str
    loudness_lufs: float
    left_out: list[str] = field(repr=False)


def new_study(
    folder: str | os.PathLike[str],
    sources: Mapping[str, str],
    settings: Settings | None = None,
    *,
    human: str | None = None,
    length: Length | None = None,
    begin: From = START,
    asked: str | os.PathLike[str] = "muspike",
    languages: Sequence[str] | None = None,
    title: str | None = None,
    listeners: Mapping[str, int] | None = None,
) -> Made:
    """Make a study in a folder, which is new or empty. After an error nothing is left there.

    Args:
        folder: the folder.
        sources: by name, a folder of MIDI files or a corpus, whose test split is taken.
        settings: the numbers; None: the defaults.
        human: the source that humans composed; None: the one named human, or else the first.
        length: of the excerpts.
        begin: where excerpts begin in their pieces.
        asked: the questionnaire: a name or a file.
        languages: of the questionnaire and its translations, the default first; None: all there are.
        title: for listeners, in all languages; None: that of the questionnaire in each.
        listeners: wanted number by group; None: by the power analysis.

    Raises:
        BadInput: the folder is not empty; a source has no pieces, or too few of that length; the questionnaire is
            wrong, lacks a language or a group; or numbers do not fit each other.
        Failed: the sound cannot be made, or the disk refuses.
    """
    settings, length = settings or Settings(), length or Length()
    if len(sources) < 2:
        raise BadInput(f"--pieces: has {len(sources)} source, expected two or more")
    if human is not None and human not in sources:
        raise BadInput(f"--human {human}: is none of the sources, which are {', '.join(sources)}")
    human = human or ("human" if "human" in sources else next(iter(sources)))
    sources = {human: sources[human], **{name: place for name, place in sources.items() if name != human}}
    forms = questionnaire.translations(asked)
    chosen_languages = _languages(forms, languages)
    if title is not None:
        forms = {language: replace(form, title=title) for language, form in forms.items()}
    first = next(iter(forms.values()))
    targets = dict(listeners or {})
    for group in targets:
        if group not in [known.id for known in first.groups]:
            raise BadInput(
                f"--listeners: group {group} is not known; known are {', '.join(g.id for g in first.groups)}"
            )
    _ = settings.power_analysis(len(sources), len(first.groups)).wanted  # refuses what no study can find
    audio.sound_font()  # before the work
    with owned_folder(folder) as owned, _staged(owned) as staging, _named(owned):
        settings, found = _found(sources, human, settings, length, begin)
        analysed = settings.power_analysis(len(sources), len(first.groups))
        targets = {group.id: targets.get(group.id) or analysed.wanted for group in first.groups}
        chosen, left = excerpts.choose(
            {name: of.excerpts for name, of in found.items()}, settings.excerpts, settings.seed
        )
        paired = _paired(human, left, settings) if settings.with_pairs else []
        heard = [one for of in chosen.values() for one in of]
        heard += [one for pair in paired for one in pair[:2]]
        ids = _ids(len(heard), settings.seed)
        stimuli, target = _rendered(staging, dict(zip(ids, heard, strict=True)))
        id_of = {id(one): name for name, one in zip(ids, heard, strict=True)}
        lists = design.lists(
            {source: [id_of[id(one)] for one in of] for source, of in chosen.items()},
            settings.rated(len(sources)),
            pairs=[Pair(id_of[id(one)], id_of[id(other)], other.source, alike) for one, other, alike in paired],
            attention=settings.checks(len(sources)),
            repeats=settings.repeats,
            points=len(first.scale),
            seed=settings.seed,
        )
        screening.make(staging, settings.seed, target)
        _write_questionnaires(staging, forms, chosen_languages)
        study = Study(
            title=forms[chosen_languages[0]].title,
            seed=settings.seed,
            human=human,
            sources=tuple(sources),
            stimuli=tuple(sorted(stimuli, key=lambda stimulus: stimulus.id)),
            lists=lists,
            turing=settings.turing,
            languages=tuple(chosen_languages),
            targets=targets,
            screening=settings.screening,
            ask_why=settings.ask_why,
            breaks=settings.breaks,
        )
        studies.write(staging, study)
        numbers = _numbers(study, settings, length, begin, target)
        made = datetime.now(UTC).isoformat(timespec="minutes")
        digest = plan.write(staging, study, first, analysed, numbers, made)
    return Made(study, settings, analysed, digest, target, [why for of in found.values() for why in of.left_out])


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """A full disk that refuses a write to an open file names none."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise path_error(f"{folder}: the study cannot be written", error) from error


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder inside, whose content moves up when the `with` block ends without an error. Else it is removed."""
    if (folder / studies.STUDY).exists():
        raise BadInput(f"{folder}: holds a study already, and its listeners answer that one; choose another folder")
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(_STAGING):  # of a command that was killed
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            raise BadInput(f"{folder}: holds {entry.name}; expected a new or empty folder")
    staging = Path(tempfile.mkdtemp(prefix=_STAGING, dir=folder))
    try:
        yield staging
        # The study comes last: a folder that has it has all.
        for entry in sorted(staging.iterdir(), key=lambda entry: entry.name == studies.STUDY):
            entry.rename(folder / entry.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _languages(forms: Mapping[str, Questionnaire], wanted: Sequence[str] | None) -> list[str]:
    for language in wanted or ():
        if language not in forms:
            raise BadInput(f"--languages {language}: the questionnaire is in {', '.join(forms)} alone")
    return list(dict.fromkeys(wanted or forms))


def _write_questionnaires(folder: Path, forms: Mapping[str, Questionnaire], languages: Sequence[str]) -> None:
    for number, (language, form) in enumerate(forms.items()):
        if number == 0:
            (folder / studies.QUESTIONNAIRE).write_text(questionnaire.written(form), encoding="utf-8")
        elif language in languages:
            text = questionnaire.written(form, translation=True)
            (folder / f"questionnaire.{language}.toml").write_text(text, encoding="utf-8")


def _found(
    sources: Mapping[str, str], human: str, settings: Settings, length: Length, begin: From
) -> tuple[Settings, dict[str, excerpts.Found]]:
    """The excerpts of each source, and the settings, with fewer excerpts if they allow it and a source has fewer."""
    found = {}
    seen: dict[bytes, str] = {}  # of all sources: nobody can say who composed what is in two of them
    paired = settings.pairs if settings.with_pairs else 0
    in_pairs = {source: paired * (len(sources) - 1 if source == human else 1) for source in sources}
    wanted = {source: settings.excerpts + in_pairs[source] for source in sources}
    pieces = {source: excerpts.pieces_of(place, [0])[0] for source, place in sources.items()}
    with bar(sum(pieces.values()), "piece", what="reading") as shown:
        for number, (source, place) in enumerate(sources.items()):
            seed = [settings.seed, number]
            found[source] = excerpts.find(source, place, length, wanted[source], begin, seed, shown.advance, seen)
    number = min(settings.excerpts, *(len(found[source].excerpts) - in_pairs[source] for source in sources))
    if settings.or_fewer and max(FEWEST, settings.per_source or 1) <= number < settings.excerpts:
        settings = replace(settings, excerpts=number)
    for source, place in sources.items():
        excerpts.refuse_too_few(source, place, found[source], length, settings.excerpts + in_pairs[source])
    return settings, found


def _paired(
    human: str, left: Mapping[str, Sequence[Excerpt]], settings: Settings
) -> list[tuple[Excerpt, Excerpt, float]]:
    candidates = [one for of in left.values() for one in of]
    with bar(len(candidates), "excerpt", what="measuring") as shown:
        table = pairs.vectors(candidates, shown.advance)
    ends = np.cumsum([len(of) for of in left.values()])[:-1]
    vectors = dict(zip(left, np.split(table, ends), strict=True))
    others = {source: of for source, of in vectors.items() if source != human}
    return [
        (left[human][one], left[source][other], alike)
        for source, matches in pairs.matched(vectors[human], others, settings.pairs).items()
        for one, other, alike in matches
    ]


def _ids(number: int, seed: int) -> list[str]:
    """Ids, none twice."""
    random = np.random.default_rng([seed, 2])
    found: dict[str, None] = {}
    while len(found) < number:
        found[random.bytes(6).hex()] = None
    return list(found)


def _rendered(folder: Path, heard: Mapping[str, Excerpt]) -> tuple[list[Stimulus], float]:
    """Write the excerpts and their sound. Return them, and their loudness in LUFS."""
    (folder / studies.PIECES).mkdir()
    (folder / studies.AUDIO).mkdir()
    with bar(2 * len(heard), "sound", what="rendering") as shown:
        waves: list[sound.Wave] = []
        for one in heard.values():
            waves.append(audio.played(one.score, math.inf))
            shown.advance()
        names = [f"{one.source}: {one.origin}" for one in heard.values()]
        waves, target = sound.equalised(waves, names)
        made = []
        for (id, one), wave in zip(heard.items(), waves, strict=True):
            files = folder / studies.PIECES / f"{id}.mid", folder / studies.AUDIO / f"{id}.mp3"
            midi.write(one.score, files[0])
            files[1].write_bytes(sound.mp3(wave))
            hashes = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
            seconds = round(len(wave) / audio.RATE, 2)
            made.append(Stimulus(id, one.source, one.origin, len(one.words), seconds, *hashes))
            shown.advance()
    return made, target


def _numbers(study: Study, settings: Settings, length: Length, begin: From, target: float) -> dict[str, Any]:
    """The design, for the plan."""
    alike = [trial.similarity for trial in study.lists[0] if trial.similarity is not None]
    numbers: dict[str, Any] = {
        "human_source": study.human,
        "length_of_an_excerpt": str(length),
        "excerpts_begin": "with the piece" if begin == START else "at a bar that is drawn",
        "rated_excerpts_of_each_source": settings.excerpts,
        "rated_by_a_listener_of_each_source": settings.rated(len(study.sources)),
        "rated_twice_by_a_listener": settings.repeats,
        "attention_checks": settings.checks(len(study.sources)),
        "sequences": len(study.lists),
        "trials_of_a_listener": len(study.lists[0]),
        "break_after_trials": study.breaks,
        "turing_test": study.turing,
        "turing_asks_why": study.ask_why,
        "headphones_are_checked": study.screening,
        "loudness_lufs": round(target, 2),
        "peak_limit_dbtp": sound.PEAK_DBTP,
    }
    if alike:
        numbers["pairs_of_each_source"] = settings.pairs
        numbers["similarity_of_pairs"] = f"{min(alike):.2f} to {max(alike):.2f}"
    return numbers
