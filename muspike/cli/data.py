"""`data`: build corpora, show what they hold, check them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muspike.cli.options import Commands, add_json, path, whole
from muspike.cli.output import note, say, say_json
from muspike.errors import BadInput
from muspike.files import owned_folder, write_whole
from muspike.ranges import at_least
from muspike.tables import several, text_table

_MOST = 8  # rows of a table of metres, keys or reasons


def add(commands: Commands) -> None:
    """Add the commands."""
    data = commands.group("data", "Build corpora, show what they hold, and check them.", "muspike data build pop909")
    build = data.add(
        "build",
        _build,
        "Build a corpus: download its files or take them from here, find their beat, write them as compound words, "
        "leave out what is twice, and split it. A build that is stopped goes on.",
        "muspike data build my-midi-files",
    )
    build.add_argument(
        "corpus", metavar="NAME|FOLDER", help="jsb, pop909, lakh, emopia, xmidi, or a folder of MIDI files"
    )
    build.add_argument(
        "--from",
        dest="source",
        metavar="PATH",
        type=path,
        help="folder or archive of its files (default: they are downloaded)",
    )
    build.add_argument("--workers", type=whole(at_least(1)), help="processes that read (default: one for each core)")
    build.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="read on the Ray cluster there, such as 10.0.0.1:6379, or auto; its nodes see the files and the cache",
    )
    build.add_argument("--replace", action="store_true", help="build it anew if it was built of other files before")
    build.add_argument(
        "--lock", type=path, metavar="FILE", help="end with status 2 unless it comes out as this lock.json has it"
    )
    add_json(build, "the lock of the corpus")

    show = data.add(
        "show",
        _show,
        "Show what a corpus holds: pieces, notes, bars, metres, keys, features, and what was left out and why.",
        "muspike data show jsb",
    )
    show.add_argument("corpus", metavar="NAME|FOLDER")
    show.add_argument("--pictures", type=path, metavar="FOLDER", help="write pictures (SVG) there")
    add_json(show, "the content of its lock file")

    check = data.add("check", _check, "Check all files of a corpus against their hashes.", "muspike data check jsb")
    check.add_argument("corpus", metavar="NAME|FOLDER")
    add_json(check, "the result")

    known = data.add("list", _list, "List the corpora: what is built, and where.", "muspike data list")
    add_json(known, "the list")


def _build(args: argparse.Namespace) -> int:
    from muspike import corpora
    from muspike.corpora import shards

    if args.lock is not None:
        wanted = shards.lock_in(args.lock)
    made = corpora.build(args.corpus, args.source, workers=args.workers, cluster=args.cluster, replace=args.replace)
    lock = shards.read_lock(made.folder)
    if args.lock is not None and (differs := shards.difference(lock, wanted)):
        raise BadInput(f"{args.corpus}: is not as {args.lock} has it: {differs}")
    if args.json:
        say_json({"name": made.name, "folder": str(made.folder), "built": made.anew, "lock": lock})
        return 0
    how = "built" if made.anew else "was built before, nothing changed"
    say(f"{made.name}: {lock['pieces']:,} pieces in {made.folder}; {how}")
    for kind, count in lock["left_out"].items():
        note(f"left out: {several(count, 'file')}, {kind}")
    note(f"licence: {lock['licence']}")
    if made.name != args.corpus and made.anew:
        note(f"its name is {made.name}; --data takes this name, or the folder")
    return 0


def _show(args: argparse.Namespace) -> int:
    lock = _lock_of(args.corpus)
    if args.pictures is not None:
        from muspike.bench.corpus_pictures import pictures

        with owned_folder(args.pictures) as folder:
            for name, picture in pictures(lock).items():
                with write_whole(folder / f"{lock['corpus']}-{name}.svg") as temporary:
                    temporary.write_bytes(picture.svg)
    if args.json:
        say_json({key: value for key, value in lock.items() if key != "files"})
    else:
        say("\n".join(_told(lock)))
    return 0


def _told(lock: Mapping[str, Any]) -> list[str]:
    totals, splits = lock["totals"], lock["splits"]
    rows = [
        ["pieces", f"{lock['pieces']:,} ({', '.join(f'{count:,} {split}' for split, count in splits.items())})"],
        ["notes", f"{totals['notes']:,}"],
        ["bars", f"{lock['bars']:,}"],
        ["words", f"{totals['words']:,}"],
        ["licence", lock["licence"]],
        ["source", f"{lock['source']['files']:,} files{_from(lock)}"],
        ["made by", f"muspike {lock['muspike']}, words of version {lock['tokens']}{_packages(lock)}"],
        ["digest", lock["digest"][:16]],
    ]
    lines = [f"{lock['corpus']}: {lock['title']}", "", *filter(str.strip, text_table(("", ""), rows, left=(0, 1)))]
    keys = dict(lock["keys"])
    if keys and (unknown := lock["pieces"] - sum(keys.values())):
        keys["not stated"] = unknown
    tables = (
        ("metre", "bars", lock["metres"]),
        ("key as the files state it", "pieces", keys),
        ("how the beat was found", "pieces", lock["methods"]),
        ("what words cannot say", "in all pieces", lock["losses"]),
        ("left out because", "files", lock["left_out"]),
    )
    for title, unit, counts in tables:
        if counts:
            rest = list(counts.items())[_MOST:]
            cells = [[name, f"{count:,}"] for name, count in list(counts.items())[:_MOST]]
            if rest:
                cells.append([f"{len(rest)} others", f"{sum(count for _, count in rest):,}"])
            lines += ["", *text_table((title, unit), cells, left=(0,))]
    return lines


def _from(lock: Mapping[str, Any]) -> str:
    return f", published at {lock['source']['url']}" if lock["source"]["url"] else ""


def _packages(lock: Mapping[str, Any]) -> str:
    return "".join(f", {name} {version}" for name, version in lock["packages"].items())


def _lock_of(corpus: str) -> dict[str, Any]:
    from muspike import corpora
    from muspike.corpora import shards

    return shards.read_lock(corpora.folder_of(corpus))


def _check(args: argparse.Namespace) -> int:
    from muspike import corpora
    from muspike.corpora import shards

    folder: Path = corpora.folder_of(args.corpus)
    lock = shards.check(folder, hashes=True)
    if args.json:
        say_json({"corpus": lock["corpus"], "folder": str(folder), "files": len(lock["files"]), "whole": True})
    else:
        say(f"{lock['corpus']}: all {len(lock['files'])} files in {folder} are as they were built")
    return 0


def _list(args: argparse.Namespace) -> int:
    from muspike import corpora
    from muspike.corpora import shards

    there = dict(corpora.built())
    rows: list[dict[str, Any]] = []
    for name in [*corpora.CORPORA, *(name for name in there if name not in corpora.CORPORA)]:
        lock = shards.read_lock(there[name]) if name in there else None
        source = corpora.source_of(name if name in corpora.CORPORA else "")
        rows.append(
            {
                "name": name,
                "title": source.title,
                "licence": source.licence,
                "built": lock is not None,
                "pieces": lock and lock["pieces"],
                "folder": str(there[name]) if name in there else None,
            }
        )
    if args.json:
        say_json(rows)
    else:
        cells = [
            [
                row["name"],
                f"{row['pieces']:,}" if row["built"] else "not built",
                str(row["folder"] or ""),
                row["licence"],
            ]
            for row in rows
        ]
        say("\n".join(text_table(("corpus", "pieces", "folder", "licence"), cells, left=(0, 2, 3))))
    return 0
