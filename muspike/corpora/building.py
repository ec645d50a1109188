"""Building a corpus: every file is read, and what is kept of it goes into shards.

    files of the source -> chunks -> parts -> which pieces stay, which split -> shards, index, manifest, lock

A chunk is some files in a row; a worker makes a part of it (`reading`). A build that is stopped keeps its parts, and
the next one reads only what is missing. Everything follows from the names and the content of the files alone, so the
same files give the same bytes, whatever the number of workers.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muspike import __version__, jobs, midi, tokens
from muspike.corpora import duplicates, shards
from muspike.corpora.corpus import SPLITS, add_to_digest, digest_of, split_by_song
from muspike.corpora.reading import LOSSES, Chunk, FileRecord, Part, read_chunk
from muspike.corpora.source import Source
from muspike.errors import BadInput, printable
from muspike.files import owned_folder, path_error, write_whole
from muspike.progress import bar
from muspike.tables import several
from muspike.tokens import Words

CHUNK, SLOW_CHUNK = 128, 4
"""Files that a worker reads before it writes a part; the second, where reading one takes long."""
_RETRIES = 3  # of a chunk on a cluster, before its files are read one by one
_NO_TEXT = "backslashreplace"  # names of files may hold bytes that are no UTF-8: they are written as escapes
SAME_FILE, NEARLY_SAME = "the same file twice", "nearly the same music"


@dataclass(frozen=True)
class Plan:
    """What to build, and where.

    Attributes:
        name: the corpus.
        key: the name of its source in `CORPORA`; "" for a folder of MIDI files.
        source: where its files come from.
        root: the folder of the source.
        files: paths in this folder, sorted.
        work: the folder of the parts, which is removed at the end.
        folder: where the corpus is put. What is there is replaced when the new one is whole.
        workers: number of processes.
        cluster: the address of a Ray cluster that reads the files; its nodes must see `root` and `work`. None: this
            machine.
        progress: whether to show a progress bar.
    """

    name: str
    key: str
    source: Source
    root: Path
    files: Sequence[str]
    work: Path
    folder: Path
    workers: int = 1
    cluster: str | None = None
    progress: bool = True


@dataclass(frozen=True)
class _Kept:
    """The pieces that stay, in the order of the files: their names, songs, splits, and by file why others do not."""

    names: Mapping[str, str]
    songs: Mapping[str, str]
    splits: Mapping[str, list[str]]
    left_out: Mapping[str, tuple[str, str]]


def build(plan: Plan) -> None:
    """Build a corpus. A build that was stopped goes on.

    Raises:
        BadInput: there are no files, or none of them holds a piece; or another build is at work on this corpus.
        Failed: the disk refuses.
    """
    if not plan.files:
        raise BadInput(f"{plan.root}: holds no files of the kind wanted: {plan.source.title}")
    with owned_folder(plan.work):
        assemble(plan, _read_all(plan))
        shutil.rmtree(plan.work, ignore_errors=True)


def assemble(plan: Plan, parts: Sequence[Path]) -> None:
    """Make the corpus of the parts of all its files, in order.

    Raises:
        BadInput: no file holds a piece.
        Failed: the disk refuses.
    """
    kept = _chosen(plan, parts)
    building = plan.work / "corpus"
    shutil.rmtree(building, ignore_errors=True)
    try:
        building.mkdir()
        _write(plan, parts, kept, building)
        plan.folder.parent.mkdir(parents=True, exist_ok=True)
        if plan.folder.exists():
            shutil.rmtree(plan.work / "before", ignore_errors=True)
            plan.folder.replace(plan.work / "before")
        building.replace(plan.folder)
    except OSError as error:
        raise path_error(f"{plan.folder}: cannot be written", error) from error


# --- reading ---


def _read_all(plan: Plan) -> list[Path]:
    """The parts of all chunks, in order. Those that an earlier build left are taken as they are."""
    size = SLOW_CHUNK if plan.source.slow else CHUNK
    about = (__version__, tokens.VERSION, plan.source.version, shards.FORMAT, str(plan.root.resolve()))
    chunks = []
    for first in range(0, len(plan.files), size):
        files = tuple(plan.files[first : first + size])
        stats = [_stat(plan.root / file) for file in files]
        digest = hashlib.sha256(repr((about, files, stats)).encode()).hexdigest()[:16]
        part = plan.work / f"part-{first // size:06}-{digest}.npz"
        chunks.append(Chunk(plan.key, str(plan.root), files, str(part)))
    missing = [chunk for chunk in chunks if not Path(chunk.part).exists()]
    done = len(plan.files) - sum(len(chunk.files) for chunk in missing)
    with bar(len(plan.files), "file", done=done, what=plan.source.title, shown=plan.progress, stays=True) as shown:
        for number, result in _results(plan, missing):
            if isinstance(result, jobs.Killed):
                _read_one_by_one(missing[number])
            shown.advance(len(missing[number].files))
    return [Path(chunk.part) for chunk in chunks]


def _stat(path: Path) -> tuple[int, int]:
    """Size and time of a file, which tell whether it has changed since a build was stopped."""
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _results(plan: Plan, chunks: Sequence[Chunk]) -> Iterator[tuple[int, jobs.Killed | None]]:
    if plan.cluster is not None:
        return jobs.on_cluster(chunks, read_chunk, plan.cluster, _RETRIES)
    return jobs.in_processes(chunks, read_chunk, plan.workers)


def _read_one_by_one(chunk: Chunk) -> None:
    """Read the files of a chunk that kills its worker, each in a process of its own. One that kills it is left out."""
    parts = []
    for number, file in enumerate(chunk.files):
        one = Chunk(chunk.source, chunk.root, (file,), f"{chunk.part}.{number}.npz")
        ((_, result),) = jobs.in_processes([one], read_chunk, 1)
        if isinstance(result, jobs.Killed):
            record = FileRecord(file, kind="cannot be read", reason="its reader was killed")
            with contextlib.suppress(OSError):
                path = Path(chunk.root) / file
                record.bytes, record.sha256 = path.stat().st_size, shards.sha256_of(path)
            parts.append(Part.of([record], []))
        else:
            parts.append(Part.load(Path(one.part)))
            Path(one.part).unlink()
    Part.joined(parts).save(Path(chunk.part))


# --- choosing ---


def _records(parts: Iterable[Path]) -> Iterator[FileRecord]:
    for path in parts:
        yield from Part.load_records(path)


def _chosen(plan: Plan, parts: Sequence[Path]) -> _Kept:
    files: list[str] = []
    songs: list[str] = []
    notes: list[int] = []
    seen: dict[bytes, int] = {}
    same_music: list[tuple[int, int]] = []
    left_out: dict[str, tuple[str, str]] = {}
    for record in _records(parts):
        if record.kind:
            continue
        first = seen.setdefault(bytes.fromhex(record.sha256), len(files))
        if first < len(files):
            left_out[record.file] = (SAME_FILE, f"as {files[first]}")
            same_music.append((len(files), first))
        files.append(record.file)
        notes.append(record.notes)
        songs.append(_text(record.song) or plan.source.song_of.get(plan.source.name(record.file), ""))
    del seen
    names = _names(plan.source, files)
    if not plan.source.keep_alike:
        once = [number for number, file in enumerate(files) if file not in left_out]
        once.sort(key=lambda number: (-notes[number], files[number]))
        for number, other in duplicates.nearly_same(_sketches(parts, len(files)), once).items():
            left_out[files[number]] = (NEARLY_SAME, f"as {files[other]}")
            same_music.append((number, other))
    songs = _same_songs(songs, same_music)
    of_song = {name: song for file, name, song in zip(files, names, songs, strict=True) if file not in left_out}
    stay = {file: name for file, name in zip(files, names, strict=True) if file not in left_out}
    if not stay:
        raise BadInput(f"{plan.root}: no piece in {several(len(plan.files), 'file')}{_why(parts)}")
    return _Kept(stay, of_song, split_by_song(list(stay.values()), of_song, plan.source.shares), left_out)


def _same_songs(songs: Sequence[str], same_music: Iterable[tuple[int, int]]) -> list[str]:
    """The song of each piece, where pieces of the same music are of one song, whatever they are called.

    Args:
        songs: what the files say; "" nothing.
        same_music: pairs of pieces: one that is left out, and the one that is kept in its place.
    """
    found = list(songs)
    also_called: dict[str, str] = {}

    def called(song: str) -> str:
        passed = []
        while song in also_called:
            passed.append(song)
            song = also_called[song]
        also_called.update(dict.fromkeys(passed, song))
        return song

    for left_out, kept in same_music:
        found[kept] = found[kept] or found[left_out]
        one, same = called(found[left_out]), called(found[kept])
        if one and one != same:
            also_called[one] = same
    return [called(song) for song in found]


def _sketches(parts: Sequence[Path], pieces: int) -> NDArray[np.uint32]:
    found, first = np.empty((pieces, duplicates.HASHES), np.uint32), 0
    for path in parts:
        some = Part.load_sketches(path)
        found[first : first + len(some)] = some
        first += len(some)
    return found


def _why(parts: Sequence[Path]) -> str:
    """Why files are left out, each reason with a file that it is true of."""
    kinds: Counter[str] = Counter()
    such: dict[str, FileRecord] = {}
    for record in _records(parts):
        kinds[record.kind] += 1
        such.setdefault(record.kind, record)
    told = [
        f"; {count:,}: {kind} ({printable(such[kind].file)}: {such[kind].reason})"
        for kind, count in kinds.most_common(3)
    ]
    return "".join(told)


def _names(source: Source, files: Sequence[str]) -> list[str]:
    """The name of the piece of each file; if two would have one name, the paths of all.

    Raises:
        BadInput: two files have one name all the same.
    """
    names = [_text(source.name(file)) for file in files]
    once = set(names)
    if len(once) < len(names):
        often = Counter(names)
        names = [_text(file) if max(often.values()) > 1 else name for file, name in zip(files, names, strict=True)]
        (name, count), *_ = Counter(names).most_common(1)
        if count > 1:
            alike = [file for file, called in zip(files, names, strict=True) if called == name]
            raise BadInput(f"{' and '.join(map(repr, alike))} would both be called {printable(name)}; rename one")
    return names


def _text(name: str) -> str:
    """`name` with bytes that are no UTF-8 as escapes, so that it can be written."""
    return name.encode(errors=_NO_TEXT).decode()


# --- writing ---


def _write(plan: Plan, parts: Sequence[Path], kept: _Kept, folder: Path) -> None:
    columns: dict[str, list[Any]] = {column: [] for column in shards.COLUMNS}
    labels: dict[str, list[str]] = {label: [] for label in plan.source.labels}
    split_of = {name: split for split, names in kept.splits.items() for name in names}
    totals: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    losses: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    sources = hashlib.sha256()
    with (
        write_whole(folder / shards.MANIFEST) as path,
        path.open("w", newline="", encoding="utf-8", errors=_NO_TEXT) as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(MANIFEST_COLUMNS)
        for record in _records(parts):
            kind, reason = kept.left_out.get(record.file, (record.kind, record.reason))
            name = kept.names.get(record.file, "")
            sources.update(shards.source_line(record.file, record.sha256))
            if kind:
                kinds[kind] += 1
            table.writerow(
                [
                    record.file, record.sha256, record.bytes, "left out" if kind else "kept", kind, reason, name,
                    split_of.get(name, ""), kept.songs.get(name, ""), record.words, record.notes, record.method,
                    *(record.losses.get(loss, "") for loss in LOSSES), " | ".join(record.remarks),
                ]
            )  # fmt: skip
            if not name:
                continue
            totals.update(words=record.words, notes=record.notes, tempo_assumed=record.tempo_assumed)
            losses.update(record.losses)
            methods[record.method] += 1
            fifths, minor = record.key if record.key is not None else (None, None)
            row = (split_of[name], record.words, record.notes, kept.songs[name], fifths, minor, record.tempo_assumed)
            columns["name"].append(name)
            names = ("split", "words", "notes", "song", "fifths", "minor", "tempo_assumed")
            for column, value in zip(names, row, strict=True):
                columns[column].append(value)
            for label in labels:
                labels[label].append(record.labels.get(label, ""))
    columns["shard"], columns["first"], sizes = shards.plan(columns["words"])
    digest, contents = _write_shards(parts, kept, folder, sizes)
    with write_whole(folder / shards.INDEX) as path:
        path.write_text(
            json.dumps({**columns, "labels": labels}, ensure_ascii=False), encoding="utf-8", errors=_NO_TEXT
        )
    source = plan.source
    lock = {
        "format": shards.FORMAT,
        "corpus": plan.name,
        "title": source.title,
        "licence": source.licence,
        "source": {
            "url": source.archive.url if source.archive else None,
            "md5": source.archive.md5 if source.archive else None,
            "files": len(plan.files),
            "sha256": sources.hexdigest(),
        },
        "version": source.version,
        "muspike": __version__,
        "tokens": tokens.VERSION,
        "packages": {package: importlib.metadata.version(package) for package in source.packages},
        "shares": list(source.shares),
        "near_duplicates": None if source.keep_alike else {"window": duplicates.WINDOW, "alike": duplicates.ALIKE},
        "pieces": len(columns["name"]),
        "splits": {split: len(kept.splits[split]) for split in SPLITS},
        "totals": dict(totals),
        **contents.to_dict(),
        "keys": _keys(columns),
        "methods": dict(sorted(methods.items())),
        "losses": dict(losses),
        "left_out": dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0]))),
        "digest": digest,
        "files": shards.described(sorted(folder.iterdir())),
    }
    with write_whole(folder / shards.LOCK) as path:
        path.write_text(json.dumps(lock, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


MANIFEST_COLUMNS = (
    "file", "sha256", "bytes", "outcome", "kind", "reason", "piece", "split", "song", "words", "notes", "beat",
    *LOSSES, "remarks",
)  # fmt: skip


def _keys(columns: Mapping[str, list[Any]]) -> dict[str, int]:
    """How many pieces are in each key, by the name of the key."""
    pairs = zip(columns["fifths"], columns["minor"], strict=True)
    found = Counter(midi.key_name(fifths, minor) for fifths, minor in pairs if fifths is not None)
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


class _Contents:
    """What the pieces of a corpus hold, counted as they go by."""

    def __init__(self) -> None:
        self.features = [np.zeros(size, np.int64) for size in tokens.SIZES]
        self.metres = np.zeros((tokens.SIZES[tokens.POSITION], tokens.SIZES[tokens.DURATION]), np.int64)

    def add(self, words: Words) -> None:
        """Count a piece."""
        kind = words[:, tokens.BAR_BEAT]
        for feature, counts in enumerate(self.features):
            values = words[tokens.PREDICTED[kind, feature] & (kind != tokens.BarBeat.BAR), feature]
            counts += np.bincount(values, minlength=len(counts))
        bars = words[kind == tokens.BarBeat.BAR]
        np.add.at(self.metres, (bars[:, tokens.POSITION], bars[:, tokens.DURATION]), 1)

    def to_dict(self) -> dict[str, Any]:
        """Bars, metres and the values of all features but those of bars, by name."""
        lengths, beats = np.nonzero(self.metres)
        of = {
            "/".join(map(str, tokens.metre(int(length), int(beat)))): int(self.metres[length, beat])
            for length, beat in zip(lengths, beats, strict=True)
        }
        return {
            "bars": int(self.metres.sum()),
            "metres": dict(sorted(of.items(), key=lambda item: (-item[1], item[0]))),
            "features": {name: c.tolist() for name, c in zip(tokens.FEATURES, self.features, strict=True)},
        }


def _write_shards(parts: Sequence[Path], kept: _Kept, folder: Path, sizes: Sequence[int]) -> tuple[str, _Contents]:
    """Write the words of all pieces that stay. Return the digest of the corpus, and what it holds."""
    contents = _Contents()
    sha256 = digest_of(kept.splits)
    number, written = -1, 0
    file: Any = None
    try:
        for path in parts:
            part, first = Part.load(path), 0
            for record in part.records:
                if record.kind:
                    continue
                words, first = part.words[first : first + record.words], first + record.words
                if record.file not in kept.names:
                    continue
                if file is None or written == sizes[number]:
                    if file is not None:
                        file.close()
                    number, written = number + 1, 0
                    file = shards.begin(folder / f"words-{number:05}.npy", sizes[number])
                file.write(words.tobytes())
                written += len(words)
                as_words = words.astype(np.int16)
                add_to_digest(sha256, kept.names[record.file], as_words)
                contents.add(as_words)
    finally:
        if file is not None:
            file.close()
    return sha256.hexdigest(), contents
