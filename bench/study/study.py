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

from dataclasses import dataclass
from typing import Literal

FORMAT = 1
"""Version of `study.json`."""

RATING, ATTENTION, REPEAT, PAIR = "rating", "attention", "repeat", "pair"
TrialKind = Literal["rating", "attention", "repeat", "pair"]
"""What a trial asks: the items and, in the single form, the Turing question (`rating`); the same again of a piece that
was heard before (`repeat`); to choose a stated point of the scale, which a voice or the page says (`attention`); which
of two pieces a human composed (`pair`)."""

SINGLE, PAIRS, BOTH, NONE = "single", "pairs", "both", "none"
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
