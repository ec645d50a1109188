"""The sounds of the checks are what the two papers describe, measured after they were written as MP3."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from muspike.bench.study import screening, sound
from muspike.bench.study.screening import ANTIPHASE, DICHOTIC, HeadphoneTest, Screening, Try
from muspike.errors import BadInput

soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
pytest.importorskip("pyloudnorm", reason="the extra study is not installed")

RATE = screening.RATE
Wave = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Screening]:
    folder = tmp_path_factory.mktemp("study")
    return folder, screening.make(folder, seed=3, target_lufs=-23)


def heard(folder: Path, name: str) -> tuple[Wave, int]:
    wave, rate = soundfile.read(folder / "checks" / name)
    return np.asarray(wave), rate


def test_of(screenings: Screening, id: str) -> HeadphoneTest:
    return next(test for test in screenings.tests if test.id == id)


test_of.__test__ = False  # type: ignore[attr-defined]


def likeness(wave: Wave, low: float, high: float) -> float:
    """How alike the two sides are in a band: 1 the same, -1 opposite."""
    spectrum = np.fft.rfft(wave, axis=0)
    hertz = np.fft.rfftfreq(len(wave), 1 / RATE)
    left, right = spectrum[(hertz >= low) & (hertz <= high)].T
    return float((left * right.conj()).sum().real / np.sqrt((abs(left) ** 2).sum() * (abs(right) ** 2).sum()))


def parts(wave: Wave, seconds: float, between: float) -> list[Wave]:
    """The three sounds of a trial, without their ends."""
    starts = [int(n * (seconds + between) * RATE) for n in range(3)]
    inset = int(0.15 * RATE)
    return [wave[start + inset : start + int(seconds * RATE) - inset] for start in starts]


def test_the_noise_of_the_answer_alone_has_a_band_in_opposite_phase(made: tuple[Path, Screening]) -> None:
    folder, found = made
    for one in test_of(found, DICHOTIC).tries:
        wave, rate = heard(folder, one.file)
        assert rate == RATE and wave.shape[1] == 2
        for number, part in enumerate(parts(wave, 1.0, 1.0), 1):
            assert likeness(part, 300, 540) > 0.99 and likeness(part, 660, 5000) > 0.99
            inside = likeness(part, 575, 625)
            assert inside < -0.9 if number == one.answer else inside > 0.99


def test_one_ear_alone_has_no_trace_of_the_tone(made: tuple[Path, Screening]) -> None:
    folder, found = made
    inside, outside = [], []
    for one in test_of(found, DICHOTIC).tries:
        part = parts(heard(folder, one.file)[0], 1.0, 1.0)[one.answer - 1]
        power = np.abs(np.fft.rfft(part[:, 1])) ** 2
        hertz = np.fft.rfftfreq(len(part), 1 / RATE)
        inside.append(power[np.abs(hertz - 600) < 36].mean())
        outside.append(power[np.abs(hertz - 600) < 300].mean())
    assert np.mean(inside) == pytest.approx(np.mean(outside), rel=0.3)


def test_loudspeakers_make_another_tone_the_softest(made: tuple[Path, Screening]) -> None:
    folder, found = made
    for one in test_of(found, ANTIPHASE).tries:
        tones = parts(heard(folder, one.file)[0], 1.0, 0.5)
        left = [20 * np.log10(np.sqrt((tone[:, 0] ** 2).mean())) for tone in tones]
        assert int(np.argmin(left)) + 1 == one.answer
        assert sorted(left)[1] - sorted(left)[0] == pytest.approx(6, abs=0.2)
        assert max(left) - sorted(left)[1] < 0.2
        mixed = [np.sqrt((tone.sum(axis=1) ** 2).mean()) for tone in tones]
        assert int(np.argmin(mixed)) + 1 != one.answer
        assert min(mixed) < 0.02 * max(mixed)
        for tone in tones:
            spectrum = np.abs(np.fft.rfft(tone[:, 0]))
            assert np.fft.rfftfreq(len(tone), 1 / RATE)[spectrum.argmax()] == pytest.approx(200, abs=1)


def test_each_answer_comes_twice_and_the_seed_decides_their_order(tmp_path: Path) -> None:
    orders: list[list[int]] = []
    for seed in (0, 0, 1):
        found = screening.make(tmp_path / f"s{len(orders)}", seed, -23)
        for test in found.tests:
            assert sorted(one.answer for one in test.tries) == [1, 1, 2, 2, 3, 3]
        orders.append([one.answer for test in found.tests for one in test.tries])
    assert orders[0] == orders[1]
    assert len(set(map(tuple, orders))) == 2


def test_names_do_not_tell_the_answer(made: tuple[Path, Screening]) -> None:
    for test in made[1].tests:
        assert [one.file for one in test.tries] == [f"{test.id}-{number}.mp3" for number in range(1, 7)]


def test_the_checks_are_as_loud_as_the_excerpts(made: tuple[Path, Screening]) -> None:
    folder, found = made
    wave, rate = heard(folder, found.volume)
    assert sound.loudness_lufs(wave, rate) == pytest.approx(-23, abs=sound.WITHIN_LU)
    assert 4 < len(wave) / rate < 12
    for test in found.tests:
        for one in test.tries:
            left = heard(folder, one.file)[0][:, 0]
            # Silences between the sounds are gated.
            assert sound.loudness_lufs(left, RATE) == pytest.approx(-23, abs=3)


@pytest.mark.parametrize(
    ("id", "wrong", "passes"),
    [(DICHOTIC, 0, True), (DICHOTIC, 1, False), (ANTIPHASE, 1, True), (ANTIPHASE, 2, False)],
)
def test_the_rules_of_the_papers(made: tuple[Path, Screening], id: str, wrong: int, passes: bool) -> None:
    test = test_of(made[1], id)
    answers = [1 + one.answer % 3 if number < wrong else one.answer for number, one in enumerate(test.tries)]
    assert test.passed(answers) is passes


def test_a_damaged_screening_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "checks" / "screening.json"
    file.parent.mkdir()
    test = HeadphoneTest(DICHOTIC, (Try("../../secret.mp3", 1),), 1)
    screening.write(tmp_path, Screening("volume.mp3", (test,)))
    with pytest.raises(BadInput, match="no name of a file in checks"):
        screening.read(tmp_path)
    for text in ("", "{}", '{"format": 2}', '{"format": 1, "volume": "v", "tests": [{}]}', "[" * 9999):
        file.write_text(text)
        with pytest.raises(BadInput, match=r"screening\.json"):
            screening.read(tmp_path)
    for test, told in (
        (HeadphoneTest("x", (Try("a.mp3", 1),), 1), "has the tests"),
        (HeadphoneTest(DICHOTIC, (Try("a.mp3", 1),), 2), "needs 2 of the right answers"),
        (HeadphoneTest(DICHOTIC, (Try("a.mp3", 4),), 1), "each 1, 2 or 3"),
    ):
        screening.write(tmp_path, Screening("volume.mp3", (test,)))
        with pytest.raises(BadInput, match=told):
            screening.read(tmp_path)
