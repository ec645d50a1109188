"""Standard MIDI Files made byte by byte, sound and damaged ones, for tests of reading."""

from __future__ import annotations

import struct
from collections.abc import Iterable

Event = tuple[int, bytes]  # tick, and the bytes behind the delta time

END = b"\x00\xff\x2f\x00"


def on(pitch: int, channel: int = 0, velocity: int = 80) -> bytes:
    return bytes((0x90 | channel, pitch, velocity))


def off(pitch: int, channel: int = 0) -> bytes:
    return bytes((0x80 | channel, pitch, 0))


def control(number: int, channel: int = 0) -> bytes:
    return bytes((0xB0 | channel, number, 0))


def program(number: int, channel: int = 0) -> bytes:
    return bytes((0xC0 | channel, number))


def meta(kind: int, data: bytes) -> bytes:
    return bytes((0xFF, kind)) + number(len(data)) + data


def tempo(microseconds: int) -> bytes:
    return meta(0x51, microseconds.to_bytes(3, "big"))


def metre(numerator: int, power: int) -> bytes:
    return meta(0x58, bytes((numerator, power, 24, 8)))


def number(value: int) -> bytes:
    """`value` as a number of variable length, as in delta times."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups.append(0x80 | value & 0x7F)
    return bytes(reversed(groups))


def track(events: Iterable[Event], end: bytes = END) -> bytes:
    """A chunk of a track. The events stay in the given order; their ticks must not descend."""
    body, now = b"", 0
    for tick, event in events:
        body += number(tick - now) + event
        now = tick
    return chunk(b"MTrk", body + end)


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">I", len(body)) + body


def smf(*chunks: bytes, form: int = 1, announced: int | None = None, division: int = 480) -> bytes:
    """A file of these chunks. `announced` is the number of tracks in the header, by default that of the chunks."""
    count = len(chunks) if announced is None else announced
    return chunk(b"MThd", struct.pack(">HHH", form, count, division)) + b"".join(chunks)


def scale(length: int = 4, beat: int = 480, channel: int = 0, first: int = 60) -> list[Event]:
    """`length` notes of a beat each, one after the other, upwards."""
    return [
        event
        for i in range(length)
        for event in ((i * beat, on(first + i, channel)), ((i + 1) * beat, off(first + i, channel)))
    ]
