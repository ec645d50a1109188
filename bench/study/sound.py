"""The sound of a study's excerpts: one piano, one loudness, MP3.

Loudness is the integrated loudness of ITU-R BS.1770-4 in LUFS, as EBU R 128 asks for it; the package pyloudnorm
measures it. All excerpts get the same, `TARGET_LUFS`. No sample, and nothing between samples, is above `PEAK_DBTP`, the
limit of EBU R 128. An excerpt that would be above it lowers the target of all, because equal loudness is what listeners
need; no limiter changes the sound. The sound is mono and is measured as such; a browser plays it on both sides, which
is 3 LU louder for all excerpts alike.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muspike.bench.audio import RATE
from muspike.errors import BadInput

TARGET_LUFS = -23.0
"""Programme loudness of EBU R 128."""

PEAK_DBTP = -1.0
"""Highest true peak of EBU R 128."""

WITHIN_LU = 0.5
"""How far excerpts may differ after they were written as MP3."""

SHORTEST_S = 1.0
"""The shortest sound of an excerpt. The measure of loudness needs blocks of 0.4 s."""

_OVERSAMPLING = 4  # BS.1770-4, annex 2, for rates of 48 kHz and below

Wave = npt.NDArray[np.floating]


def loudness_lufs(wave: Wave, rate: int = RATE) -> float:
    """Integrated loudness of a sound, `[samples]` or `[samples, channels]`; minus infinity for silence."""
    import pyloudnorm

    return float(pyloudnorm.Meter(rate).integrated_loudness(np.asarray(wave, np.float64)))


def true_peak_dbtp(wave: Wave) -> float:
    """The highest level of a sound, `[samples]` or `[samples, channels]`, between its samples too."""
    from scipy.signal import resample_poly

    highest = float(np.abs(resample_poly(np.asarray(wave, np.float64), _OVERSAMPLING, 1, axis=0)).max(initial=0))
    return 20 * math.log10(highest) if highest else -math.inf


def equalised(waves: Sequence[Wave], names: Sequence[str], rate: int = RATE) -> tuple[list[Wave], float]:
    """Sounds with one loudness, and that loudness in LUFS: `TARGET_LUFS`, or less if a peak would be too high.

    Args:
        waves: the sounds.
        names: what errors call them.
        rate: samples per second.

    Raises:
        BadInput: a sound is silent, or shorter than `SHORTEST_S`.
    """
    gains_at_0, peaks = [], []
    for wave, name in zip(waves, names, strict=True):
        if (seconds := len(wave) / rate) < SHORTEST_S:
            raise BadInput(f"{name}: its sound takes {seconds:.1f} s, expected at least {SHORTEST_S} s")
        if not math.isfinite(level := loudness_lufs(wave, rate)):
            raise BadInput(f"{name}: its sound is too quiet to be measured; expected notes that are heard")
        gains_at_0.append(-level)
        peaks.append(true_peak_dbtp(wave) - level)
    # A little room for what the encoding of an MP3 adds to peaks.
    target = min(TARGET_LUFS, PEAK_DBTP - 0.5 - max(peaks, default=-math.inf))
    return [wave * 10 ** ((gain + target) / 20) for wave, gain in zip(waves, gains_at_0, strict=True)], target


def mp3(wave: Wave, rate: int = RATE, *, exact: bool = False) -> bytes:
    """A sound as an MP3. `exact` takes more bytes, and keeps how the two sides differ."""
    import soundfile

    written = io.BytesIO()
    soundfile.write(written, wave, rate, format="MP3", **({"compression_level": 0.0} if exact else {}))
    return written.getvalue()
