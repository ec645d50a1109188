"""An instrument of a sound font (SoundFont 2.04), and a note played on it.

It plays samples at the pitch, loudness and length of a note, with loops and the volume envelope. It leaves out filters,
modulation, reverberation and stereo: enough to hear a piece, not to judge a timbre. (symusic 0.5.9 and 0.6.0 were
tried first: the one plays TimGM6mb at wrong pitches, the other cannot hand its sound to Python.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike.errors import BadInput

Wave = npt.NDArray[np.float32]

# Generators of the format that are used here, by their numbers (section 8.1.2 of the specification).
_START, _END, _LOOP_START, _LOOP_END = 0, 1, 2, 3
_START_COARSE, _END_COARSE, _LOOP_START_COARSE, _LOOP_END_COARSE = 4, 12, 45, 50
_DELAY, _ATTACK, _HOLD, _DECAY, _SUSTAIN, _RELEASE = 33, 34, 35, 36, 37, 38
_INSTRUMENT, _KEYS, _VELOCITIES, _ATTENUATION = 41, 43, 44, 48
_COARSE, _FINE, _SAMPLE, _MODE, _SCALE, _ROOT = 51, 52, 53, 54, 56, 58
_DEFAULTS = {_DELAY: -12000, _ATTACK: -12000, _HOLD: -12000, _DECAY: -12000, _RELEASE: -12000, _SCALE: 100, _ROOT: -1}
_ALL = (0, 127)

_HEADER = np.dtype([("name", "S20"), ("preset", "<u2"), ("bank", "<u2"), ("bag", "<u2"), ("more", "V12")])
_INST = np.dtype([("name", "S20"), ("bag", "<u2")])
_BAG = np.dtype([("generators", "<u2"), ("modulators", "<u2")])
_GENERATOR = np.dtype([("what", "<u2"), ("amount", "<i2")])
_SAMPLE_HEADER = np.dtype(
    [
        ("name", "S20"),
        ("start", "<u4"),
        ("end", "<u4"),
        ("loop_start", "<u4"),
        ("loop_end", "<u4"),
        ("rate", "<u4"),
        ("root", "u1"),
        ("cents", "i1"),
        ("link", "<u2"),
        ("kind", "<u2"),
    ]
)
_QUIET_DB = 100.0  # an envelope's decay and release are given for a fall by so much


@dataclass(frozen=True)
class Zone:
    """A sample and the notes that it is for.

    Attributes:
        keys, velocities: the first and the last MIDI key and velocity.
        wave: the sample.
        rate: its samples per second.
        loop: the first sample of its loop and the one after the last, or None.
        root: the key at which it sounds as recorded, with fractions.
        cents_per_key: how far apart keys are, 100 as a rule.
        gain: its loudness, from 0 to 1.
        attack_s, hold_s, decay_s, release_s: of the volume envelope.
        sustain_db: how far the envelope decays.
    """

    keys: tuple[int, int]
    velocities: tuple[int, int]
    wave: Wave = field(repr=False)
    rate: int
    loop: tuple[int, int] | None
    root: float
    cents_per_key: int
    gain: float
    attack_s: float
    hold_s: float
    decay_s: float
    release_s: float
    sustain_db: float

    def plays(self, key: int, velocity: int) -> bool:
        """Whether a note is played with this sample."""
        return self.keys[0] <= key <= self.keys[1] and self.velocities[0] <= velocity <= self.velocities[1]

    def note(self, key: int, velocity: int, seconds: float, rate: int) -> Wave:
        """A note as mono samples at `rate` per second: held for `seconds`, and then released."""
        count = int((seconds + self.release_s) * rate)
        step = self.rate / rate * 2 ** ((key - self.root) * self.cents_per_key / 1200)
        at = np.arange(count) * step
        if self.loop is not None:
            begin, end = self.loop
            at = np.where(at < end, at, begin + (at - begin) % (end - begin))
        at = at[at < len(self.wave) - 1]
        whole = at.astype(np.int64)
        part = (at - whole).astype(np.float32)
        played = self.wave[whole] * (1 - part) + self.wave[whole + 1] * part
        loudness = self.gain * (velocity / 127) ** 2 * self._envelope(np.arange(len(played)) / rate, seconds)
        return np.asarray(played * loudness, np.float32)

    def _envelope(self, time: npt.NDArray[np.float64], held: float) -> npt.NDArray[np.float64]:
        since = np.maximum(np.minimum(time, held) - self.attack_s - self.hold_s, 0)
        db = np.minimum(since / max(self.decay_s, 1e-3) * _QUIET_DB, self.sustain_db)
        db += np.maximum(time - held, 0) / max(self.release_s, 1e-3) * _QUIET_DB
        return np.asarray(np.minimum(time / max(self.attack_s, 1e-3), 1) * 10 ** (-db / 20))


def instrument(path: Path, preset: int = 0, bank: int = 0) -> list[Zone]:
    """The zones of an instrument of a sound font.

    Args:
        path: an `.sf2` file.
        preset: the program of General MIDI, from 0 (a piano).
        bank: the bank; 128 has the drums.

    Raises:
        BadInput: the file is no sound font, or has no such instrument.
    """
    chunks = _chunks(path)
    try:
        headers = np.frombuffer(chunks["phdr"], _HEADER)
        waves = np.frombuffer(chunks["smpl"], "<i2")
        found = np.flatnonzero((headers["preset"][:-1] == preset) & (headers["bank"][:-1] == bank))
        if not len(found):
            raise BadInput(f"{path}: has no instrument {preset} in bank {bank}")
        insts = np.frombuffer(chunks["inst"], _INST)
        samples = np.frombuffer(chunks["shdr"], _SAMPLE_HEADER)
        zones = []
        for outer in _bags(chunks, "p", headers["bag"], int(found[0]), _INSTRUMENT):
            for inner in _bags(chunks, "i", insts["bag"], outer[_INSTRUMENT], _SAMPLE):
                zones += _zone(outer, inner, samples, waves)
    except (KeyError, ValueError, IndexError) as error:
        raise BadInput(f"{path}: is no sound font that can be read: {error}") from error
    return zones


def _chunks(path: Path) -> Mapping[str, bytes]:
    """The chunks of a RIFF file, those inside its lists too, by their four letters."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"sfbk":
        raise BadInput(f"{path}: is no sound font; such a file begins with RIFF and sfbk")
    found: dict[str, bytes] = {}
    ends, at = [len(data)], 12
    while at + 8 <= ends[0]:
        name, size = struct.unpack_from("<4sI", data, at)
        if name == b"LIST":
            at += 12
            continue
        found[name.decode("latin1")] = data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return found


def _bags(chunks: Mapping[str, bytes], level: str, first: Any, number: int, leaf: int) -> Iterator[dict[int, Any]]:
    """The generators of each zone of a preset (level `p`) or an instrument (`i`) that leads on, defaults filled in.

    A first zone that does not lead on holds what is common to the others.
    """
    bags = np.frombuffer(chunks[f"{level}bag"], _BAG)
    generators = np.frombuffer(chunks[f"{level}gen"], _GENERATOR)
    common: dict[int, Any] = {}
    for bag in range(int(first[number]), int(first[number + 1])):
        own: dict[int, Any] = {}
        for what, amount in generators[int(bags["generators"][bag]) : int(bags["generators"][bag + 1])]:
            pair = (int(amount) & 0xFF, (int(amount) >> 8) & 0xFF)
            own[int(what)] = pair if int(what) in (_KEYS, _VELOCITIES) else int(amount)
        if leaf in own:
            yield {**common, **own}
        elif bag == int(first[number]):
            common = own


def _zone(outer: Mapping[int, Any], inner: Mapping[int, Any], samples: Any, waves: npt.NDArray[np.int16]) -> list[Zone]:
    def value(what: int) -> int:
        """The instrument's value, with the preset's on top of it."""
        return int(inner.get(what, _DEFAULTS.get(what, 0))) + int(outer.get(what, 0))

    def seconds(what: int) -> float:
        return float(2 ** (value(what) / 1200))

    def both(what: int) -> tuple[int, int]:
        one, other = outer.get(what, _ALL), inner.get(what, _ALL)
        return max(one[0], other[0]), min(one[1], other[1])

    sample = samples[inner[_SAMPLE]]
    if int(sample["kind"]) & 0x8000:  # in the memory of a sound card
        return []
    start = int(sample["start"]) + inner.get(_START, 0) + 32768 * inner.get(_START_COARSE, 0)
    end = int(sample["end"]) + inner.get(_END, 0) + 32768 * inner.get(_END_COARSE, 0)
    loop = (
        int(sample["loop_start"]) + inner.get(_LOOP_START, 0) + 32768 * inner.get(_LOOP_START_COARSE, 0) - start,
        int(sample["loop_end"]) + inner.get(_LOOP_END, 0) + 32768 * inner.get(_LOOP_END_COARSE, 0) - start,
    )
    root = inner.get(_ROOT, -1)
    tuned = (root if root >= 0 else int(sample["root"])) - int(sample["cents"]) / 100
    return [
        Zone(
            keys=both(_KEYS),
            velocities=both(_VELOCITIES),
            wave=waves[start:end].astype(np.float32) / np.float32(32768),
            rate=int(sample["rate"]),
            loop=loop if inner.get(_MODE, 0) & 1 and 0 <= loop[0] < loop[1] <= end - start else None,
            root=tuned - value(_COARSE) - value(_FINE) / 100,
            cents_per_key=value(_SCALE),
            gain=float(10 ** (-0.4 * value(_ATTENUATION) / 200)),  # as synthesisers since the first have read it
            attack_s=seconds(_DELAY) + seconds(_ATTACK),
            hold_s=seconds(_HOLD),
            decay_s=seconds(_DECAY),
            release_s=min(seconds(_RELEASE), 2.0),
            sustain_db=min(max(value(_SUSTAIN), 0) / 10, _QUIET_DB),
        )
    ]
