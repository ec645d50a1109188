"""The corpora by name: `load("jsb")` gives a `Corpus` of pieces as compound words, with its splits.

A corpus is a row in `CORPORA` and the module that the row names, whose `SOURCE` says where its files come from and how
one is read. `build` makes a corpus from them once; it lies in the user's cache folder from then on. A folder of MIDI
files is a corpus too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muspike.arguments import path as path_of
from muspike.cache import cache_folder
from muspike.corpora import shards
from muspike.corpora.archives import is_archive, unpack
from muspike.corpora.corpus import SPLITS, Corpus, Piece
from muspike.corpora.download import fetch
from muspike.corpora.source import Source
from muspike.errors import BadInput, Busy, Doubt, Failed, MuspikeError, printable
from muspike.files import check_file, owned_folder
from muspike.progress import bar

__all__ = ["CORPORA", "SPLITS", "Built", "Corpus", "Piece", "build", "built", "folder_of", "load", "source_of"]

CORPORA: Mapping[str, str] = {
    "jsb": "muspike.corpora.jsb",
    "pop909": "muspike.corpora.pop909",
    "lakh": "muspike.corpora.lakh",
    "emopia": "muspike.corpora.emopia",
    "xmidi": "muspike.corpora.xmidi",
}
"""The module of each corpus, by the corpus's name."""
_FOLDER = "muspike.corpora.folder"
_WAIT_S = 0.2


@dataclass(frozen=True)
class Built:
    """A corpus on disk.

    Attributes:
        name: what `load` finds it by.
        folder: where it lies.
        anew: whether it was built just now.
    """

    name: str
    folder: Path
    anew: bool


def source_of(name: str) -> Source:
    """Where the files of a corpus come from; "": of a folder of MIDI files.

    Raises:
        BadInput: there is no such corpus.
    """
    if name and name not in CORPORA:
        raise BadInput(_unknown(name))
    source: Source = importlib.import_module(CORPORA[name] if name else _FOLDER).SOURCE
    return source


def load(name: str | os.PathLike[str], progress: bool = True) -> Corpus:
    """A corpus that is built, or that can be built from files that are here already.

    Args:
        name: a name in `CORPORA`; the name that `build` gave to a folder of MIDI files; or such a folder.
        progress: whether to show a bar on stderr while building.

    Raises:
        BadInput: there is no such corpus, or it must be built first.
        Failed: the disk refuses.
    """
    name = path_of("corpora.load: name", name)
    if name in CORPORA and source_of(name).folder is not None:
        return _comes_along(name, progress)
    return shards.open_corpus(folder_of(name, progress))


def folder_of(what: str | os.PathLike[str], progress: bool = True) -> Path:
    """The folder of a built corpus. One whose files are here already is built if it is not.

    Args:
        what: as `load` takes it.
        progress: as `load`.

    Raises:
        BadInput, Failed: as `load`.
    """
    name = path_of("corpora.folder_of: what", what)
    if (name not in CORPORA and Path(name).is_dir()) or (name in CORPORA and source_of(name).folder is not None):
        return build(name, progress=progress).folder
    folder = _cached(name) if name not in CORPORA else cache_folder() / "corpora" / f"{name}-{source_of(name).version}"
    if folder is None:
        raise BadInput(_unknown(name))
    if not os.path.lexists(folder):
        raise BadInput(_not_built(name))
    return folder


def built() -> Iterator[tuple[str, Path]]:
    """The corpora that are built: name and folder of each, sorted by name."""
    try:
        place = cache_folder() / "corpora"
    except Failed:
        return
    for folder in sorted(place.glob("*")):
        if (folder / shards.LOCK).exists():
            with contextlib.suppress(BadInput):
                name = str(shards.read_lock(folder)["corpus"])
                if name not in CORPORA or folder.name == f"{name}-{source_of(name).version}":
                    yield name, folder


def build(
    what: str | os.PathLike[str],
    given: str | os.PathLike[str] | None = None,
    *,
    workers: int | None = None,
    cluster: str | None = None,
    replace: bool = False,
    progress: bool = True,
) -> Built:
    """Build a corpus, if it is not there. A build that was stopped goes on.

    Args:
        what: a name in `CORPORA`, or a folder of MIDI files.
        given: the folder or archive of its files; None: they are downloaded, or come with an installed package.
        workers: number of processes that read; None: one for each core.
        cluster: the address of a Ray cluster that reads.
        replace: build it anew if it was built of other files before.
        progress: whether to show progress on stderr.

    Raises:
        BadInput: there is no such corpus; it has no files here; they are not as published; or it was built of other
            files.
        Failed: a download stops, or the disk refuses.
    """
    from muspike.corpora.building import Plan
    from muspike.corpora.building import build as build_from

    name = path_of("corpora.build: what", what)
    key = name if name in CORPORA else ""
    source = source_of(key)
    if not key:
        if not name or not Path(name).is_dir():
            raise BadInput(_unknown(name))
        if given is not None:
            raise BadInput(f"--from {os.fspath(given)}: {name} is a folder already; leave one of the two out")
        given = name
    place = cache_folder() / "corpora"
    if key and given is None and not replace and os.path.lexists(folder := place / f"{key}-{source.version}"):
        _checked(folder, name, False)
        return Built(key, folder, False)
    with _files_of(key, source, given, progress) as root:
        files = _files_in(source, root)
        if not files:
            raise BadInput(f"{root}: holds no files of the kind wanted: {source.title}")
        if not key:
            digest = _digest(root, files, progress)
            slug = re.sub(r"[^a-z0-9]+", "-", Path(os.path.realpath(name)).name.lower()).strip("-")[:40] or "midi"
            called, folder = f"{slug}-{digest[:8]}", place / f"{slug}-{digest[:8]}"
            lock = _checked(folder, name, replace) if os.path.lexists(folder) else None
            if lock and lock["version"] == source.version:  # else another muspike read the files in another way
                return Built(called, folder, False)
        else:
            called, folder = key, place / f"{key}-{source.version}"
            if os.path.lexists(folder) and (lock := _checked(folder, name, replace)):
                if _digest(root, files, progress) == lock["source"]["sha256"]:
                    return Built(key, folder, False)
                if not replace:
                    raise BadInput(
                        f"{given}: {key} was built of other files before ({folder}); --replace builds it of these"
                    )
        work = place / f"{folder.name}.building"
        plan = Plan(called, key, source, root, files, work, folder, workers or os.cpu_count() or 1, cluster, progress)
        build_from(plan)
    return Built(called, folder, True)


def _files_in(source: Source, root: Path) -> list[str]:
    """The paths of a source's files in its folder, sorted."""
    return sorted(path.relative_to(root).as_posix() for path in source.files(root))


def _checked(folder: Path, name: str, replace: bool) -> dict[str, Any] | None:
    """The lock of a built corpus; None: it is not whole, and is to be replaced."""
    try:
        return shards.check(folder, hashes=False)
    except BadInput as error:
        if not replace:
            raise BadInput(f"{error}; muspike data build {printable(name)} --replace makes it anew") from error
        return None


@contextlib.contextmanager
def _files_of(key: str, source: Source, given: str | os.PathLike[str] | None, progress: bool) -> Iterator[Path]:
    """The folder of a source's files: given, unpacked for the time of the `with` block, downloaded or installed."""
    if given is None and source.folder is not None:
        yield source.folder()
        return
    if given is not None and Path(given).is_dir():
        yield Path(given).resolve()  # the nodes of a cluster work in other folders
        return
    downloads = cache_folder() / "downloads" / (key or "folder")
    if given is not None:
        archive = Path(given)
        if not os.path.lexists(archive):
            raise BadInput(f"{archive}: there is no such folder or archive")
        if not is_archive(archive):
            raise BadInput(f"{archive}: is neither a folder nor a zip or tar archive")
        _doubt_md5(archive, source)
    elif source.archive is None:
        raise BadInput(f"{source.title} cannot be downloaded by a program: {source.how}, and give it with --from PATH")
    with owned_folder(downloads):
        if given is None:
            assert source.archive is not None
            archive = fetch(source.archive, downloads, progress)
        unpacked = downloads / "files"
        shutil.rmtree(unpacked, ignore_errors=True)
        try:
            unpack(archive, unpacked, progress)
        except BadInput as error:
            if given is not None:
                raise
            archive.unlink(missing_ok=True)
            raise BadInput(f"{error}; it was removed, and the same command downloads it again") from error
        try:
            yield unpacked
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _doubt_md5(archive: Path, source: Source) -> None:
    if source.archive is None or source.archive.md5 is None:
        return
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != source.archive.md5:
        warnings.warn(
            f"{archive}: is not the published {source.archive.name} (MD5 {found}, published {source.archive.md5})",
            Doubt,
            stacklevel=2,
        )


def _digest(root: Path, files: list[str], progress: bool) -> str:
    """The SHA-256 of the paths and contents of all files, as a lock has it."""
    sha256 = hashlib.sha256()
    with bar(len(files), "file", what="comparing", shown=progress) as shown:
        for file in shown.over(files):
            try:
                check_file(root / file)
                found = shards.sha256_of(root / file)
            except (BadInput, OSError):
                found = ""
            sha256.update(shards.source_line(file, found))
    return sha256.hexdigest()


def _cached(name: str) -> Path | None:
    """The folder of a corpus that was made of a folder of MIDI files; it may be damaged."""
    folder = cache_folder() / "corpora" / name
    return folder if re.fullmatch(r"[a-z0-9-]+", name) and os.path.lexists(folder) else None


def _comes_along(name: str, progress: bool) -> Corpus:
    """A corpus whose files come with an installed package: from the cache, or built."""
    try:
        folder = cache_folder() / "corpora" / f"{name}-{source_of(name).version}"
        if os.path.lexists(folder):
            try:
                return shards.open_corpus(folder)
            except BadInput as error:
                warnings.warn(f"{folder}: damaged ({error}); building the corpus again", Doubt, stacklevel=3)
                _remove(folder)
        return shards.open_corpus(_built_or_waited_for(name, folder, progress))
    except MuspikeError as error:
        warnings.warn(f"corpus {name} is not cached: {error}", Doubt, stacklevel=3)
    with tempfile.TemporaryDirectory(prefix="muspike-") as temporary:
        place = Path(temporary) / "corpus"
        _build_in(name, place, progress)
        found = shards.open_corpus(place)
        # The files go with the folder, so the pieces are read now.
        return dataclasses.replace(found, pieces=list(found.pieces))


def _built_or_waited_for(name: str, folder: Path, progress: bool) -> Path:
    """Build the corpus, or wait while another process does."""
    while not (folder / shards.LOCK).exists():
        try:
            _build_in(name, folder, progress)
        except Busy:
            time.sleep(_WAIT_S)
    return folder


def _build_in(name: str, folder: Path, progress: bool) -> None:
    from muspike.corpora.building import Plan
    from muspike.corpora.building import build as build_from

    source = source_of(name)
    assert source.folder is not None
    root = source.folder()
    files = _files_in(source, root)
    work = folder.parent / f"{folder.name}.building"
    build_from(Plan(name, name, source, root, files, work, folder, os.cpu_count() or 1, None, progress))


def _remove(folder: Path) -> None:
    try:
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
        else:
            folder.unlink()
    except OSError as error:
        raise Failed(f"{folder}: cannot be removed: {error.strerror}") from error


def _not_built(name: str) -> str:
    source = source_of(name)
    if source.archive is None:
        return f"corpus {name} is not built here: {source.how}, and build it with muspike data build {name} --from PATH"
    size = f" ({source.archive.size / 1e6:,.0f} MB)" if source.archive.size else ""
    return f"corpus {name} is not built here; muspike data build {name} downloads it{size} and builds it"


def _unknown(name: str) -> str:
    if name not in CORPORA and Path(name).is_file():
        return f"{name}: is a file; the name of a corpus or a folder of MIDI files is wanted"
    others = [called for called, _ in built() if called not in CORPORA]
    return (
        f"corpus {name!r}: there is no such corpus or folder; known are {', '.join([*CORPORA, *others])}, and any "
        "folder of MIDI files"
    )
