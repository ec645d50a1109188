"""Excerpts are equally loud, measured on what listeners get."""

from __future__ import annotations

import io

import numpy as np
import pytest

from muspike.bench import audio
from muspike.bench.study import sound
from muspike.errors import BadInput
from muspike.midi import NOTE, Score, table

soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
pytest.importorskip("pyloudnorm", reason="the extra study is not installed")


def piece(pitch: int, notes: int, apart: int = 240, lasting: int = 200) -> Score:
    rows = [(apart * n, lasting, pitch + n % 5, 80, 0) for n in range(notes)]
    return Score(480, table(rows, NOTE))


def test_a_sine_of_997_hz_at_0_dbfs_has_minus_3_lufs() -> None:
    """The reference of BS.1770-4: such a tone on one front channel gives -3.01 LKFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(5 * 48_000) / 48_000)
    assert sound.loudness_lufs(tone, 48_000) == pytest.approx(-3.01, abs=0.05)
    assert sound.true_peak_dbtp(tone) == pytest.approx(0, abs=0.1)


def test_a_peak_between_samples_is_seen() -> None:
    quarter = np.sin(np.pi / 4 + np.pi / 2 * np.arange(4000))  # samples at 0.707, the wave between them at 1
    assert 20 * np.log10(np.abs(quarter).max()) == pytest.approx(-3, abs=0.1)
    assert sound.true_peak_dbtp(quarter[100:-100]) == pytest.approx(0, abs=0.3)


def test_dense_and_sparse_high_and_low_pieces_become_equally_loud_within_half_a_lu() -> None:
    scores = [piece(60, 24), piece(36, 20, lasting=2000), piece(90, 6, apart=960, lasting=60), piece(100, 30)]
    waves = [audio.played(score, 90) for score in scores]
    before = [sound.loudness_lufs(wave) for wave in waves]
    assert max(before) - min(before) > 2
    made, target = sound.equalised(waves, ["a", "b", "c", "d"])
    heard = [soundfile.read(io.BytesIO(sound.mp3(wave)))[0] for wave in made]
    after = [sound.loudness_lufs(wave) for wave in heard]
    assert max(after) - min(after) < sound.WITHIN_LU
    assert np.abs(np.array(after) - target).max() < sound.WITHIN_LU
    assert max(map(sound.true_peak_dbtp, heard)) < sound.PEAK_DBTP
    assert target <= sound.TARGET_LUFS


def test_a_sound_with_high_peaks_lowers_the_loudness_of_all() -> None:
    random = np.random.default_rng(0)
    even = random.standard_normal(3 * audio.RATE) * 0.1
    clicks = random.standard_normal(3 * audio.RATE) * 0.001
    clicks[:: audio.RATE // 4] = 0.5
    made, target = sound.equalised([even, clicks], ["even", "clicks"])
    assert target < sound.TARGET_LUFS
    assert [sound.loudness_lufs(wave) for wave in made] == pytest.approx([target, target], abs=0.05)
    assert max(map(sound.true_peak_dbtp, made)) <= sound.PEAK_DBTP


def test_silence_and_moments_are_refused() -> None:
    with pytest.raises(BadInput, match=r"quiet: its sound is too quiet"):
        sound.equalised([np.zeros(3 * audio.RATE)], ["quiet"])
    with pytest.raises(BadInput, match=r"brief: its sound takes 0\.5 s, expected at least 1\.0 s"):
        sound.equalised([np.ones(audio.RATE // 2)], ["brief"])
