"""MIDI files of some 10 MB, each with as much as possible of one thing, for tests of what reading costs.

    python tests/helpers/large_midi.py score|corpus

takes each of them a way of `midi_damage`, in a process with bounds on memory and time, and prints what it took. An
error other than `BadInput` ends it.
"""

from __future__ import annotations

import resource
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from midi_damage import CPU_SECONDS, MEMORY, WAYS, sources
from muspike.midi import MOST_NOTES
from smf import END, chunk, meta, number, smf

_NOTE = b"\x00\x90\x3c\x40\x10\x3c\x00"


def large() -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file."""

    def one(body: bytes, division: int = 480) -> bytes:
        return smf(chunk(b"MTrk", body + END), division=division)

    many = MOST_NOTES - 1
    yield "notes", one(b"\x00\x90\x3c\x40" + b"\x00\x3c\x40" * 3_300_000)
    yield "hanging notes", one(b"\x00\x90\x3c\x40" + b"".join(b"\x78" + bytes((i * 7 % 128, 64)) for i in range(many)))
    clusters = b"".join(
        (number(60_000) if pitch == 0 else b"\x00") + bytes((pitch, 64)) for _ in range(2047) for pitch in range(128)
    )
    yield "clusters", one(b"\x00\x90\x00\x40" + clusters)
    steps = b"".join(b"\x01" + bytes((i * 37 % 128, 64 * (i < many))) for i in range(2 * many))
    for division in (1, 480, 32_767):
        yield f"a note each tick of 1/{division}", one(b"\x00\x90\x00\x40" + steps, division)
    yield "tempos", one(_NOTE + b"".join(b"\x01\xff\x51\x03\x07" + bytes((i % 256, 1)) for i in range(1_400_000)))
    metres = (b"\x01\xff\x58\x04" + bytes((1 + i % 5, 7, 24, 8)) for i in range(1_200_000))
    yield "metres", one(b"\x00\x90\x3c\x40" + b"".join(metres) + b"\x60\x3c\x00\x10\x40\x40\x10\x40\x00")
    each = (
        b"\x10" + meta(0x58, bytes((1 + i % 255, 7, 24, 8))) + b"\x01\x90" + bytes((i % 128, 64, 7, i % 128, 0))
        for i in range(250_000)
    )
    yield "notes and metres", one(b"".join(each), 24)
    yield "tracks", smf(*[chunk(b"MTrk", _NOTE + b"\x00" + meta(3, b"ab"))] * 65_535)
    yield "sequences", smf(*[chunk(b"MTrk", _NOTE)] * 65_535, form=2)
    yield "chunks", smf(chunk(b"MTrk", _NOTE + END)) + chunk(b"XFIH", b"") * 1_200_000
    each = (bytes((0, 0xC0 | i % 16, i // 16 % 128, 0, 0x90 | i % 16, 60, 64, 1, 60, 0)) for i in range(250_000))
    yield "instruments", one(b"".join(each))
    yield "controllers", one(b"\x00\x90\x3c\x40\x00\xb0\x7b\x00" * 250_000)
    yield "names", one(_NOTE + b"\x00\xff\x03\x00" * 2_400_000)
    yield "keys", one(_NOTE + b"\x01\xff\x59\x02\x01\x00" * 1_600_000)
    yield "system-exclusive events", one(_NOTE + b"\x00\xf0\x00" * 3_000_000)


def main(way: str) -> None:
    take = WAYS[way]
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "large.mid"
        for content in sources():  # compiles
            path.write_bytes(content)
            take(path)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        for name, content in large():
            assert 10_000_000 > len(content) > 500_000, (name, len(content))
            path.write_bytes(content)
            size = len(content)
            del content
            resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, resource.RLIM_INFINITY))
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS[way])
            start = time.process_time()
            outcome = take(path)
            print(f"{name}: {size:,} bytes, {outcome}, {time.process_time() - start:.2f} s of CPU")
            signal.setitimer(signal.ITIMER_PROF, 0)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    print(f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")


if __name__ == "__main__":
    main(sys.argv[1])
