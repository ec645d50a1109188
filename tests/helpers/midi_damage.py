"""MIDI files damaged at random, read and measured; as a script, in a process with bounds on memory and time.

    python tests/helpers/midi_damage.py score|corpus FIRST COUNT [FOLDER]

damages the files of FOLDER, or small ones made here, COUNT times with the seeds from FIRST on. `score` reads a file,
measures it, and takes it through words and a file; `corpus` takes it from its bytes to the words of a corpus. It prints
how many files were read and how many refused, the slowest one and the peak of memory, and fails at the first file that
ends otherwise.
"""

from __future__ import annotations

import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from muspike import corpora, metrics, midi, tokens
from muspike.corpora import reading
from muspike.errors import BadInput
from smf import control, meta, metre, number, off, on, program, scale, smf, tempo, track

CPU_SECONDS = {"score": 20, "corpus": 2}
"""Of one file. The first is far above what any needs, so that only an endless one is stopped."""
MEMORY = 2**30  # bytes of address space beyond that of the process before the first file


def sources() -> list[bytes]:
    """Small files with every kind of event that reading looks at."""
    chords = [
        event for bar in range(6) for pitch in (48, 60, 64, 67) for event in (
            (1920 * bar, on(pitch)), (1920 * bar + 1800, off(pitch)),
        )
    ]  # fmt: skip
    chords.sort(key=lambda event: event[0])
    head = [(0, tempo(500_000)), (0, metre(6, 3)), (0, meta(0x59, b"\x02\x00")), (0, meta(0x03, b"Piano"))]
    long = [(0, on(40)), (100_000, off(40)), (300_000, on(41)), (300_480, off(41))]
    return [
        smf(track([*head, *scale(16, 240)]), form=0),
        smf(track([*head, (5760, metre(7, 5)), (9000, tempo(300_000))]), track(chords), track(scale(12, channel=9))),
        smf(
            track([(0, program(5)), *scale(8), (3840, control(123)), *((t + 3840, e) for t, e in scale(8))]), track([])
        ),
        smf(track(long), track(scale(40, 120, 3, 50)), division=96),
        smf(track(scale(4)), track(scale(4)), form=2, division=24),
    ]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """`content` with one to four faults: bytes changed, lost, doubled or moved, numbers and lengths that lie."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if not changed:
            break
        at = chance.randrange(len(changed))
        match chance.randrange(10):
            case 0:
                changed[at] ^= 1 << chance.randrange(8)
            case 1:
                changed[at] = chance.choice((0, 0x7F, 0x80, 0x90, 0xFF, chance.randrange(256)))
            case 2:
                del changed[at : at + chance.choice((1, 1, 2, 3, 9))]
            case 3:
                changed[at:at] = chance.randbytes(chance.choice((1, 2, 4)))
            case 4:
                piece = changed[at : at + chance.randrange(1, 40)]
                changed[at:at] = piece * chance.choice((1, 1, 2, 50))
            case 5:
                del changed[at:]
            case 6:  # the length of a chunk, or what the header says
                heads = [place for place in range(len(changed) - 8) if changed[place : place + 2] in (b"MT",)]
                if heads:
                    place = chance.choice(heads) + chance.randrange(4, 8 if chance.random() < 0.7 else 14)
                    if place < len(changed):
                        changed[place] = chance.randrange(256)
            case 7:  # a delay before an event, where one may stand
                changed[at:at] = number(chance.choice((2**28 - 1, 2**21, 10_000, 128))) + bytes(
                    (60, chance.choice((0, 80)))
                )
            case 8:
                event = chance.choice((
                    tempo(chance.choice((0, 1, 2**24 - 1))),
                    metre(chance.randrange(256), chance.choice((0, 3, 5, 7, 8, 34, 255))),
                    control(chance.choice((120, 123))),
                    meta(0x2F, b""),
                    meta(0x03, chance.randbytes(3)),
                    meta(0x01, b"") + number(2**28 - 1),
                ))  # fmt: skip
                changed[at:at] = b"\x00" + event
            case _:
                other = chance.randrange(len(changed))
                changed[at], changed[other] = changed[other], changed[at]
    return bytes(changed)


def survive(path: Path) -> str:
    """Read the file at `path`, measure it, and take it through words and a file. Only `BadInput` may be raised."""
    try:
        score = midi.read(path)
    except BadInput as error:
        assert str(error).startswith(f"{path}: ") and "\n" not in str(error), error
        return "refused"
    metrics.evaluate_set([score])
    try:
        words = tokens.encode(score)
    except BadInput as error:
        assert "drum" in str(error) or "words" in str(error) or "sixteenths" in str(error), error
        return "no words"
    decoded = tokens.decode(words)
    assert np.array_equal(tokens.encode(decoded), words)
    metrics.evaluate(decoded)
    midi.write(decoded, path)
    again = midi.read(path)
    assert len(again.notes) == len(decoded.notes)
    assert not again.remarks, again.remarks
    return "mended" if score.remarks else "read"


def build(path: Path) -> str:
    """Take the file at `path` from its bytes to the words of a corpus, as a build does. Nothing may be raised."""
    source = corpora.source_of("")
    record, words = reading.read_file(source, path.parent, path.name)
    assert record.bytes == path.stat().st_size and len(record.sha256) == 64
    said = [record.kind, record.reason, record.method, *record.remarks]
    assert not any("\n" in text or str(path.parent) in text for text in said), said
    part = reading.Part.of([record], [] if words is None else [words])
    if words is None:
        assert record.kind in ("cannot be read", "fewer than 16 notes", "too long for words") and record.reason, record
        return record.kind
    assert not record.kind and record.words == len(words) and record.notes >= 1
    tokens.checked(words, "words")
    assert np.array_equal(part.words, words)
    assert all(count > 0 for count in record.losses.values())
    return record.method


WAYS = {"score": survive, "corpus": build}


def main(way: str, first: int, count: int, folder: str | None) -> None:
    contents = [path.read_bytes() for path in sorted(Path(folder).rglob("*.mid"))] if folder else sources()
    take = WAYS[way]
    results: Counter[str] = Counter()
    slowest = (0.0, -1)
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "damaged.mid"
        for content in sources():  # compiles, and is sound
            path.write_bytes(content)
            survive(path)
            build(path)
            path.write_bytes(content)
            assert take(path) in ("read", "mended", "as written", "phase", "tracked", "fewer than 16 notes")
        page = resource.getpagesize()
        used = int(Path("/proc/self/statm").read_text().split()[0]) * page
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        for seed in range(first, first + count):
            chance = random.Random(seed)
            content = damaged(chance.choice(contents), chance)
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS[way])  # ends the process, also inside compiled code
            start = time.process_time()
            try:
                results[take(path)] += 1
            except BaseException:
                print(f"seed {seed} of {folder or 'the files made here'}: {content[:2000].hex()}", file=sys.stderr)
                raise
            slowest = max(slowest, (time.process_time() - start, seed))
            signal.setitimer(signal.ITIMER_PROF, 0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(dict(results), f"slowest {slowest[0]:.2f} s of CPU (seed {slowest[1]}), at most {peak} MiB")


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
