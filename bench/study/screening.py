"""The checks before the first piece: the sound of the volume check, and two tests of headphones.

- Dichotic pitch (Milne et al., "An online headphone screening test based on dichotic pitch", Behavior Research Methods
  53, 2021): three noises of a second. In one of them, a narrow band around 600 Hz is in opposite phase on the right.
  Through headphones, a faint tone is heard there. Loudspeakers mix the sides, and nothing is heard. Headphones: 6 of 6.
- Antiphase tones (Woods et al., "Headphone screening to facilitate web-based auditory experiments", Attention,
  Perception & Psychophysics 79, 2017): three tones of 200 Hz. One is 6 dB softer, and another is in opposite phase on
  the right. Loudspeakers cancel that one, so it seems the softest. Headphones: 5 of 6.

The first paper measured that loudspeakers pass its test in 20 % of cases, and both tests in about 7 %.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import permutations
from pathlib import Path

import numpy as np

from muspike.bench import audio
from muspike.bench.study import sound
from muspike.bench.study.sound import Wave
from muspike.bench.study.study import CHECKS
from muspike.errors import BadInput
from muspike.files import check_file, write_whole
from muspike.midi import NOTE, Score, table

FORMAT = 1
"""Version of `screening.json`."""

SCREENING = "screening.json"
DICHOTIC, ANTIPHASE = "dichotic", "antiphase"
"""The tests: which of three noises has a tone in it; which of three tones is the softest."""

TRIES = 6
NEEDED = {DICHOTIC: 6, ANTIPHASE: 5}
"""Right answers of `TRIES` that pass a test, by the two papers."""

RATE = 44_100
"""Samples per second of the sounds of the tests."""

PITCH_HZ, BAND = 600.0, 0.06
"""The middle of the band that is in opposite phase, and its width to each side, as a share."""

TONE_HZ, SOFTER_DB = 200.0, 6.0
"""The tones, and how much softer the softest is."""

_NOISE_S, _BETWEEN_NOISES_S = 1.0, 1.0  # as in the sounds of Milne et al.
_TONE_S, _BETWEEN_TONES_S, _RAMP_S = 1.0, 0.5, 0.1
_NOISE_RAMP_S = 0.01  # without a click


@dataclass(frozen=True)
class Try:
    """One trial of a test: three sounds, one after another in one file.

    Attributes:
        file: its name in `checks/`.
        answer: which of the three it is: 1, 2 or 3.
    """

    file: str
    answer: int


@dataclass(frozen=True)
class HeadphoneTest:
    """One test.

    Attributes:
        id: `DICHOTIC` or `ANTIPHASE`.
        tries: its trials, in order.
        needed: right answers that pass it.
    """

    id: str
    tries: tuple[Try, ...]
    needed: int

    def passed(self, answers: Sequence[int]) -> bool:
        """Whether answers to all trials, each 1, 2 or 3 and in their order, pass it."""
        right = sum(answer == one.answer for answer, one in zip(answers, self.tries, strict=True))
        return right >= self.needed


@dataclass(frozen=True)
class Screening:
    """The checks of a study.

    Attributes:
        volume: name in `checks/` of the sound of the volume check.
        tests: the tests of headphones. A listener who passes all of them wears headphones.
    """

    volume: str
    tests: tuple[HeadphoneTest, ...]


def write(folder: str | os.PathLike[str], screening: Screening) -> None:
    """Write `checks/screening.json` in the folder of a study, whole or not at all."""
    with write_whole(Path(folder) / CHECKS / SCREENING) as temporary:
        temporary.write_text(json.dumps({"format": FORMAT, **asdict(screening)}, indent=1) + "\n", encoding="utf-8")


def read(folder: str | os.PathLike[str]) -> Screening:
    """The checks of the study in `folder`.

    Raises:
        BadInput: the file is missing, of another version or damaged.
    """
    path = Path(folder) / CHECKS / SCREENING
    check_file(path, 2**20)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise BadInput(f"{path}: format {content['format']} is of another version, expected {FORMAT}")
        tests = tuple(
            HeadphoneTest(
                test["id"], tuple(Try(t["file"], int(t["answer"])) for t in test["tries"]), int(test["needed"])
            )
            for test in content["tests"]
        )
        made = Screening(content["volume"], tests)
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise BadInput(f"{path}: is no screening.json of muspike study new: {error!r:.200}") from error
    if (ids := [test.id for test in tests]) not in ([DICHOTIC, ANTIPHASE], [DICHOTIC], [ANTIPHASE]):
        raise BadInput(f"{path}: has the tests {ids!r:.80}, expected {DICHOTIC} and {ANTIPHASE}, or one of them")
    for test in tests:
        answers = [one.answer for one in test.tries]
        if not 1 <= test.needed <= len(answers) or not {1, 2, 3}.issuperset(answers):
            raise BadInput(
                f"{path}: {test.id}: needs {test.needed} of the right answers {answers!r:.80}, "
                "expected at most all of them, each 1, 2 or 3"
            )
    for name in (made.volume, *(one.file for test in tests for one in test.tries)):
        if not isinstance(name, str) or Path(name).name != name:
            raise BadInput(f"{path}: {name!r} is no name of a file in {CHECKS}")
    return made


def make(folder: str | os.PathLike[str], seed: int, target_lufs: float) -> Screening:
    """Make the sounds of the checks in `checks/` of the folder of a study, and `screening.json`.

    All are as loud as the excerpts. The places of the right answers are drawn; each of the three comes twice in a test.

    Args:
        folder: the folder of the study.
        seed: of what is drawn.
        target_lufs: loudness of the excerpts, measured in mono.
    """
    random = np.random.default_rng(seed)
    place = Path(folder) / CHECKS
    place.mkdir(parents=True, exist_ok=True)
    phrase = audio.played(volume_phrase(), audio.SECONDS)
    (place / "volume.mp3").write_bytes(sound.mp3(phrase * _gain(phrase, audio.RATE, target_lufs)))
    answers = random.permutation(np.tile([1, 2, 3], TRIES // 3)).tolist()
    orders = random.permutation(np.array(list(permutations(("plain", "soft", "opposite"))))).tolist()
    sounds = {
        DICHOTIC: [(dichotic_pitch(answer, random, target_lufs), answer) for answer in answers],
        ANTIPHASE: [(antiphase_tones(order, target_lufs), order.index("soft") + 1) for order in orders],
    }
    tests = []
    for test, made in sounds.items():
        tries = []
        for number, (wave, answer) in enumerate(made, 1):
            tries.append(Try(f"{test}-{number}.mp3", answer))
            (place / tries[-1].file).write_bytes(sound.mp3(wave, RATE, exact=True))
        tests.append(HeadphoneTest(test, tuple(tries), NEEDED[test]))
    screening = Screening("volume.mp3", tuple(tests))
    write(folder, screening)
    return screening


def dichotic_pitch(answer: int, random: np.random.Generator, target_lufs: float) -> Wave:
    """Three noises, `[samples, 2]`; a tone is heard through headphones in number `answer`, from 1."""
    parts = []
    for number in (1, 2, 3):
        noise = random.standard_normal(int(_NOISE_S * RATE))
        noise *= _gain(noise, RATE, target_lufs)
        spectrum = np.fft.rfft(noise)
        hertz = np.fft.rfftfreq(len(noise), 1 / RATE)
        if number == answer:
            spectrum[np.abs(hertz - PITCH_HZ) <= BAND * PITCH_HZ] *= -1
        right = np.fft.irfft(spectrum, len(noise))
        parts.append(np.stack([noise, right], axis=1) * _ramps(len(noise), _NOISE_RAMP_S))
    return _one_after_another(parts, _BETWEEN_NOISES_S)


def antiphase_tones(order: Sequence[str], target_lufs: float) -> Wave:
    """Three tones, `[samples, 2]`, in the order of "plain", "soft" and "opposite"."""
    time = np.arange(int(_TONE_S * RATE)) / RATE
    tone = np.sin(2 * np.pi * TONE_HZ * time)
    tone *= _gain(tone, RATE, target_lufs) * _ramps(len(tone), _RAMP_S)[:, 0]
    sides = {
        "plain": (tone, tone),
        "soft": (tone * 10 ** (-SOFTER_DB / 20), tone * 10 ** (-SOFTER_DB / 20)),
        "opposite": (tone, -tone),
    }
    return _one_after_another([np.stack(sides[kind], axis=1) for kind in order], _BETWEEN_TONES_S)


def volume_phrase() -> Score:
    """A phrase for piano that is in no study: four chords, with a melody above them."""
    beat, velocity = 480, 80
    chords = [(48, 60, 64, 67), (53, 60, 65, 69), (55, 59, 65, 67), (48, 60, 64, 67)]
    melody = [(72, 76), (77, 74), (71, 74), (72, 72)]
    notes = []
    for bar, (chord, (one, other)) in enumerate(zip(chords, melody, strict=True)):
        start = bar * 4 * beat
        notes += [(start, 4 * beat, pitch, velocity, 0) for pitch in chord]
        notes += [(start, 2 * beat, one, velocity, 0), (start + 2 * beat, 2 * beat, other, velocity, 0)]
    return Score(beat, table(sorted(notes, key=lambda note: (note[0], -note[2])), NOTE))


def _gain(wave: Wave, rate: int, target_lufs: float) -> float:
    return float(10 ** ((target_lufs - sound.loudness_lufs(wave, rate)) / 20))


def _ramps(samples: int, seconds: float) -> Wave:
    """An envelope, `[samples, 1]`, that rises and falls as a cosine."""
    ramp = (1 - np.cos(np.pi * np.arange(int(seconds * RATE)) / int(seconds * RATE))) / 2
    envelope = np.ones(samples)
    envelope[: len(ramp)] = ramp
    envelope[samples - len(ramp) :] = ramp[::-1]
    return envelope[:, None]


def _one_after_another(parts: Sequence[Wave], silence_s: float) -> Wave:
    silence = np.zeros((int(silence_s * RATE), 2))
    return np.concatenate([parts[0], silence, parts[1], silence, parts[2]])
