"""A piece as sound: as long as the piece, as loud as it should be, at the pitch of its notes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from muspike import midi
from muspike.bench import audio
from muspike.bench.sound_font import instrument
from muspike.errors import BadInput, Failed

soundfile = pytest.importorskip("soundfile", reason="the extra audio is not installed")
pytest.importorskip("pretty_midi", reason="the extra audio is not installed")


def piece(pitch: int, beats: int) -> midi.Score:
    notes = [(480 * beat, 480, pitch, 100, 0) for beat in range(beats)]
    return midi.Score(480, midi.table(notes, midi.NOTE))


def heard(score: midi.Score, seconds: float = audio.SECONDS) -> npt.NDArray[np.float64]:
    wave, rate = soundfile.read(io.BytesIO(audio.mp3(score, seconds)))
    assert rate == audio.RATE and wave.ndim == 1
    return np.asarray(wave)


@pytest.mark.parametrize("pitch", [60, 69])
def test_a_note_sounds_at_its_pitch(pitch: int) -> None:
    wave = heard(piece(pitch, 4))
    spectrum = np.abs(np.fft.rfft(wave))
    hertz = np.fft.rfftfreq(len(wave), 1 / audio.RATE)
    near = [spectrum[np.abs(hertz - 440 * 2 ** ((pitch + step - 69) / 12)) < 4].max() for step in (-2, -1, 0, 1, 2)]
    assert np.argmax(near) == 2


def test_the_sound_lasts_as_long_as_the_piece_and_no_longer_than_asked() -> None:
    assert len(heard(piece(60, 4))) / audio.RATE == pytest.approx(4, abs=0.1)  # four beats at 120 bpm, and the release
    assert len(heard(piece(60, 40), seconds=5)) / audio.RATE == pytest.approx(5, abs=0.1)


def test_a_piece_that_is_cut_short_fades_out() -> None:
    wave = heard(piece(60, 40), seconds=6)
    end = np.abs(wave[-audio.RATE // 10 :]).max()
    assert end < 0.1 * np.abs(wave).max() and np.abs(wave).max() == pytest.approx(audio.LOUDEST, abs=0.1)


def test_a_report_can_do_without_and_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert audio.missing() is None
    monkeypatch.setattr(audio, "_NEEDED", ("pretty_midi", "no_such_package"))
    assert audio.missing() == "no_such_package is not installed (pip install 'muspike[audio]')"
    with pytest.raises(Failed, match="sound: no_such_package is not installed"):
        audio.mp3(piece(60, 4))


def test_a_piece_is_as_fast_as_its_tempos_say() -> None:
    score = piece(60, 8)
    slow = midi.Score(480, score.notes, tempos=midi.table([(0, 60.0), (4 * 480, 240.0)], midi.TEMPO))
    release = len(audio.played(piece(60, 1))) / audio.RATE - 0.5
    assert len(audio.played(slow)) / audio.RATE == pytest.approx(4 * 1 + 4 * 0.25 + release, abs=0.01)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no sound font; such a file begins with RIFF and sfbk"),
        (b"RIFF\0\0\0\0sfbkLIST\x04\0\0\0pdta", "is no sound font that can be read: 'phdr'"),
        (b"RIFF\0\0\0\0sfbkphdr\x03\0\0\0abc", "is no sound font that can be read"),
    ],
)
def test_a_file_that_is_no_sound_font_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "broken.sf2"
    file.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        instrument(file)


def test_an_instrument_that_a_font_lacks_is_refused() -> None:
    assert all(zone.keys[0] <= zone.keys[1] and len(zone.wave) for zone in instrument(audio.sound_font()))
    with pytest.raises(BadInput, match="has no instrument 3 in bank 99"):
        instrument(audio.sound_font(), preset=3, bank=99)
