"""A piece as sound: played on a piano of a free sound font that comes with a package, as an MP3 for any browser.

The sound font is TimGM6mb, which comes with the package pretty_midi. The package soundfile writes the MP3. They are the
extra `audio` of muspike. Without them a report has no sound and says how to get it.
"""

from __future__ import annotations

import importlib.util
import io
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from muspike.bench.sound_font import Wave, Zone, instrument
from muspike.errors import Failed
from muspike.midi import Score

RATE = 22_050
"""Samples per second. A piano on small speakers has little above the 11 kHz that this can hold."""

LOUDEST = 0.8
"""The loudest sample, of 1."""

SECONDS = 30.0
"""The most seconds of a piece. It fades out in the last two."""

_FADE = 2.0
_BPM = 120.0
_NEEDED = ("pretty_midi", "soundfile")
WANTED = "pip install 'muspike[audio]'"


def missing() -> str | None:
    """Which package is missing for sound; None: none is."""
    absent = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"{', '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed ({WANTED})" if absent else None


def sound_font() -> Path:
    """The path of the sound font.

    Raises:
        Failed: the package that it comes with is not installed, or has no sound font.
    """
    found = importlib.util.find_spec("pretty_midi")  # its own import would load more than the font
    if found is None or found.origin is None:
        raise Failed(f"sound: pretty_midi, with which the sound font comes, is not installed; {WANTED}")
    font = Path(found.origin).parent / "TimGM6mb.sf2"
    if not font.is_file():
        raise Failed(f"sound: {font} is missing; another version of pretty_midi has it ({WANTED})")
    return font


def mp3(score: Score, seconds: float = SECONDS) -> bytes:
    """The first `seconds` of a piece as an MP3 in mono.

    Raises:
        Failed: a package is missing (`missing`).
    """
    if (why := missing()) is not None:
        raise Failed(f"sound: {why}")
    import soundfile

    wave = played(score, seconds)
    written = io.BytesIO()
    soundfile.write(written, wave, RATE, format="MP3")
    return written.getvalue()


def played(score: Score, seconds: float = SECONDS) -> Wave:
    """The first `seconds` of a piece on a piano: samples at `RATE` per second, the loudest `LOUDEST`.

    Raises:
        Failed: there is no sound font (`sound_font`).
    """
    zones = _piano(sound_font())
    notes = score.notes
    onsets, ends = (seconds_at(score, ticks) for ticks in (notes["onset"], notes["onset"] + notes["duration"]))
    last = min(float(ends.max(initial=0)) + max((zone.release_s for zone in zones), default=0), seconds)
    mixed = np.zeros(int(last * RATE) + 1, np.float32)
    for note, onset, end in zip(notes, onsets, ends, strict=True):
        begin = int(onset * RATE)
        for zone in zones:
            if begin < len(mixed) and zone.plays(int(note["pitch"]), int(note["velocity"])):
                wave = zone.note(int(note["pitch"]), int(note["velocity"]), float(end - onset), RATE)
                mixed[begin : begin + len(wave)] += wave[: len(mixed) - begin]
    if last == seconds:
        fade = int(min(_FADE, seconds / 2) * RATE)
        mixed[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    loudest = float(np.abs(mixed).max(initial=0))
    return mixed * np.float32(LOUDEST / loudest) if loudest else mixed


@cache
def _piano(font: Path) -> list[Zone]:
    return instrument(font)


def seconds_at(score: Score, ticks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Ticks of a piece as times in seconds, by its tempos; 120 bpm until it gives one."""
    given = [(int(tick), float(bpm)) for tick, bpm in score.tempos]
    changes = [(0, _BPM), *given] if not given or given[0][0] > 0 else given
    at = np.array([tick for tick, _ in changes], float)
    per_tick = np.array([60 / bpm / score.ticks_per_beat for _, bpm in changes])
    begun = np.concatenate([[0.0], np.cumsum(np.diff(at) * per_tick[:-1])])
    segment = np.searchsorted(at, ticks, side="right") - 1
    return np.asarray(begun[segment] + (ticks - at[segment]) * per_tick[segment])
