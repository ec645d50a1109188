"""A complete small study in a folder, made in a moment: its sounds are short tones."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from muspike import midi, tokens
from muspike.bench.study import questionnaire, screening
from muspike.bench.study import study as studies
from muspike.bench.study.screening import ANTIPHASE, DICHOTIC, HeadphoneTest, Screening, Try
from muspike.bench.study.study import (
    ATTENTION,
    BOTH,
    PAIR,
    PAIRS,
    RATING,
    REPEAT,
    Stimulus,
    Study,
    Trial,
    Turing,
)
from pieces import random_piece

_RATE = 22_050


def small_study(
    folder: Path,
    sources: Sequence[str] = ("human", "s-rnn"),
    excerpts: int = 4,
    turing: Turing = BOTH,
    screened: bool = True,
    seconds: float = 0.3,
    breaks: int = 4,
    languages: Sequence[str] = ("en",),
    ask_why: bool = True,
    seed: int = 0,
) -> Study:
    """Write a study with all its files into `folder`, and return it.

    Each list has every excerpt once, then an attention check, a repeat of the first excerpt and, if the form has them,
    a pair of each further source with the human one. Lists differ in where they begin.
    """
    random = np.random.default_rng(seed)
    for name in (studies.PIECES, studies.AUDIO, studies.CHECKS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    stimuli = []
    for number in range(len(sources) * excerpts):
        id = f"{int(random.integers(2**48)):012x}"
        words = random_piece(random, 12)
        piece, sound = folder / studies.PIECES / f"{id}.mid", folder / studies.AUDIO / f"{id}.mp3"
        midi.write(tokens.decode(words), piece)
        sound.write_bytes(tone(seconds, 220 * 2 ** (number / 12)))
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (piece, sound)]
        source = sources[number // excerpts]
        stimuli.append(Stimulus(id, source, f"{source}-{number % excerpts}.mid", len(words), seconds, *hashes))
    ids = [stimulus.id for stimulus in stimuli]
    lists = []
    for start in range(len(ids)):
        order = ids[start:] + ids[:start]
        trials = [Trial(RATING, (id,)) for id in order]
        trials.insert(2, Trial(ATTENTION, (order[1],), wanted=2))
        trials.append(Trial(REPEAT, (order[0],)))
        if turing in (BOTH, PAIRS):
            for other in range(1, len(sources)):
                pair = (ids[start % excerpts], ids[other * excerpts + start % excerpts])
                trials.append(Trial(PAIR, pair if start % 2 else pair[::-1], similarity=0.5))
        lists.append(tuple(trials))
    tests = tuple(
        HeadphoneTest(id, tuple(Try(f"{id}-{n}.mp3", 1 + n % 3) for n in range(6)), needed)
        for id, needed in ((DICHOTIC, 6), (ANTIPHASE, 5))
    )
    for name in ("volume.mp3", *(one.file for test in tests for one in test.tries)):
        (folder / studies.CHECKS / name).write_bytes(tone(seconds, 440))
    screening.write(folder, Screening("volume.mp3", tests))
    form = questionnaire.path_of("muspike")
    shutil.copyfile(form, folder / studies.QUESTIONNAIRE)
    for language in languages[1:]:
        shutil.copyfile(form.with_suffix(f".{language}.toml"), folder / f"questionnaire.{language}.toml")
    study = Study(
        title="A small study",
        seed=seed,
        human=sources[0],
        sources=tuple(sources),
        stimuli=tuple(stimuli),
        lists=tuple(lists),
        turing=turing,
        languages=tuple(languages),
        targets={group.id: 4 for group in questionnaire.load().groups},
        screening=screened,
        ask_why=ask_why,
        breaks=breaks,
    )
    studies.write(folder, study)
    return study


def tone(seconds: float, hertz: float) -> bytes:
    """A tone as an MP3."""
    import soundfile

    written = io.BytesIO()
    time = np.arange(int(seconds * _RATE)) / _RATE
    soundfile.write(written, 0.2 * np.sin(2 * np.pi * hertz * time), _RATE, format="MP3")
    return written.getvalue()
