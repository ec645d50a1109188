"""Building corpora: the time against MidiTok's CPWord, the files per second, and the memory.

    python bench/versus/corpora.py pop909 FOLDER
    python bench/versus/corpora.py small
    python bench/versus/corpora.py memory [COUNT...]
    python bench/versus/corpora.py lakh FOLDER

- `pop909` builds POP909 with one worker, from MIDI files to shards, with its annotations and as a plain folder whose
  beat is found. MidiTok's CPWord encodes the same files in the same run, with the features that muspike
  encodes, to integers in memory. Beats, duplicates, losses, splits and disk are within muspike's time alone.
- `small` reads 2,000 made files of 60 notes in this process, as a worker does: such that lie on the grid that they
  state, and such that lie beside it.
- `memory` builds folders of made files, each in a process of its own, and says the most memory of this process and of
  its largest worker. A worker's memory contains what it shares with the process that it is forked from.
- `lakh` reads the files of a folder in this process, as a worker does, and builds them. It projects the time that all
  of Lakh would take.

Times are of all processes' CPU, so that they do not follow what else the machine does; `pop909` and `memory` give the
time on the clock too.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import platformdirs

from muspike import corpora
from muspike.corpora import building, reading, shards
from muspike.corpora.source import Source

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "helpers"))
from smf import off, on, smf, track

SMALL, NOTES = 2_000, 60
LAKH_FILES = 176_581
LAKH_CORES = 2


def cpu() -> float:
    """The CPU seconds of this process and of its workers that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def built(key: str, root: Path, workers: int = 1) -> dict[str, float]:
    """Build a corpus in a temporary cache: seconds of CPU, of the clock, of what follows reading; and the pieces."""
    seconds: dict[str, float] = {}
    assemble = building.assemble

    def timed(plan: building.Plan, parts: Sequence[Path]) -> None:
        start = time.process_time()
        assemble(plan, parts)
        seconds["assembling"] = time.process_time() - start

    building.assemble = timed
    try:
        with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as cache:
            # A cache of its own: the user's corpora stay as they are.
            platformdirs.user_cache_path = lambda *_: Path(cache)  # type: ignore[assignment]
            what, given = (key, root) if key else (str(root), None)
            start, clock = cpu(), time.perf_counter()
            made = corpora.build(what, given, workers=workers, progress=False)
            seconds["cpu"], seconds["clock"] = cpu() - start, time.perf_counter() - clock
            seconds["pieces"] = shards.read_lock(made.folder)["pieces"]
    finally:
        building.assemble = assemble
    return seconds


def reader(source: Source, root: Path, files: Sequence[str]) -> Callable[[], None]:
    """What a worker does of `files`: read them and write parts."""

    def read() -> None:
        with tempfile.TemporaryDirectory() as work:
            for first in range(0, len(files), building.CHUNK):
                chunk = files[first : first + building.CHUNK]
                found = [reading.read_file(source, root, file) for file in chunk]
                part = reading.Part.of([record for record, _ in found], [w for _, w in found if w is not None])
                part.save(Path(work) / f"{first}.npz")

    return read


def fastest(function: Callable[[], None], repeats: int) -> float:
    """Seconds of this process's time, the least of several runs after one that compiles."""
    function()
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        function()
        best = min(best, time.process_time() - start)
    return best


def pop909(folder: Path, repeats: int) -> None:
    from encoding import cpword

    source = corpora.source_of("pop909")
    files = sorted(source.files(folder))
    encode = cpword(True)
    encode(files[0])
    with tempfile.TemporaryDirectory() as songs:
        plain = Path(songs) / "songs"
        plain.mkdir()
        for file in files:
            (plain / file.name).symlink_to(file.resolve())
        ways = {"with its annotations": ("pop909", folder), "as a plain folder": ("", plain)}
        for key, root in ways.values():  # compiles
            built(key, root)
        start, clock = cpu(), time.perf_counter()
        for file in files:
            encode(file)
        theirs, clock = cpu() - start, time.perf_counter() - clock
        versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("miditok", "symusic", "numpy"))
        print(f"POP909, {len(files)} files; {versions}; one worker; muspike: the fastest of {repeats} builds")
        each = 1e3 / len(files)
        print(
            f"MidiTok CPWord, same features   {theirs:7.2f} s  {each * theirs:7.2f} ms per file (clock {clock:.1f} s)"
        )
        for name, (key, root) in ways.items():
            best = min((built(key, root) for _ in range(repeats)), key=lambda run: run["cpu"])
            print(
                f"muspike, {name:22} {best['cpu']:7.2f} s  {each * best['cpu']:7.2f} ms per file "
                f"(clock {best['clock']:.1f} s), {best['assembling']:.2f} s of it after reading; "
                f"{best['pieces']:,} pieces; CPWord takes {theirs / best['cpu']:.1f} times as long"
            )


def make(folder: Path, count: int, late: int = 0) -> None:
    """Write made files, 1,000 in a folder, each of other random eighths, `late` ticks behind the grid."""
    for number in range(count):
        path = folder / f"{number // 1000:03}" / f"{number:06}.mid"
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        pitches = random.Random(number).choices(range(48, 84), k=NOTES)
        events = [
            event
            for n, pitch in enumerate(pitches)
            for event in ((240 * n + late, on(pitch)), (240 * n + late + 240, off(pitch)))
        ]
        path.write_bytes(smf(track(events)))


def small(repeats: int) -> None:
    for name, late in (("on the written grid", 0), ("off the written grid", 37)):
        with tempfile.TemporaryDirectory() as temporary:
            root, source = Path(temporary), corpora.source_of("")
            make(root, SMALL, late)
            files = [path.relative_to(root).as_posix() for path in source.files(root)]
            seconds = fastest(reader(source, root, files), repeats)
            size = sum((root / file).stat().st_size for file in files) / len(files)
            print(
                f"{len(files):,} files of {NOTES} notes {name} ({size:.0f} bytes each): "
                f"{len(files) / seconds:,.0f} files per second and core; the fastest of {repeats}"
            )


def peak_mib() -> float:
    """The most memory that this process had resident."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory(counts: Sequence[int], folder: Path | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        root = (folder or Path(temporary)) / "made"
        before: tuple[int, float, float] | None = None
        for count in counts:
            make(root, count)
            done = subprocess.run(
                [sys.executable, __file__, "one", str(root)], stdout=subprocess.PIPE, check=True, text=True
            )
            said = json.loads(done.stdout)
            slope = ""
            if before is not None:
                more = count - before[0]
                slope = (
                    f"; {1024**2 * (said['parent'] - before[1]) / more:,.0f} bytes of the parent and "
                    f"{1024**2 * (said['worker'] - before[2]) / more:,.0f} of a worker for each further file"
                )
            before = (count, said["parent"], said["worker"])
            print(
                f"{count:7,} files: {said['cpu']:6.1f} s of CPU on two workers (clock {said['clock']:.1f} s), "
                f"{said['assembling']:5.2f} s of it after reading; "
                f"parent {said['parent']:.0f} MiB, worker {said['worker']:.0f} MiB{slope}",
                flush=True,
            )


def one(root: Path) -> None:
    seconds = built("", root, workers=2)
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(json.dumps({**seconds, "parent": peak_mib(), "worker": worker}))


def lakh(folder: Path, repeats: int) -> None:
    source = corpora.source_of("lakh")
    files = [path.relative_to(folder).as_posix() for path in source.files(folder)]
    read = fastest(reader(source, folder, files), repeats) / len(files)
    after = min(built("lakh", folder)["assembling"] for _ in range(repeats)) / len(files)
    hours = LAKH_FILES * (read / LAKH_CORES + after) / 3600
    print(
        f"{len(files)} files of Lakh: {1e3 * read:.2f} ms of CPU per file to read, {1e3 * after:.2f} ms per file after "
        f"reading\nprojection for {LAKH_FILES:,} files on {LAKH_CORES} cores, unpacking left out: "
        f"{60 * hours:.1f} minutes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("pop909", "small", "memory", "lakh", "one"))
    parser.add_argument("given", nargs="*", help="FOLDER, or COUNT...")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--made", type=Path, metavar="FOLDER", help="keep the made files of `memory` there")
    arguments = parser.parse_args()
    match arguments.what:
        case "small":
            small(arguments.repeats)
        case "memory":
            memory([int(count) for count in arguments.given] or [1_000, 10_000, 100_000], arguments.made)
        case _ if len(arguments.given) != 1:
            parser.error(f"{arguments.what}: one FOLDER is wanted")
        case "pop909":
            pop909(Path(arguments.given[0]), arguments.repeats)
        case "lakh":
            lakh(Path(arguments.given[0]), arguments.repeats)
        case "one":
            one(Path(arguments.given[0]))


if __name__ == "__main__":
    main()
