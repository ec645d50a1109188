"""Downloads that go on where they stopped, and are checked against what the authors publish."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from muspike import __version__
from muspike.corpora.source import Archive
from muspike.errors import BadInput, Failed, one_line
from muspike.files import path_error
from muspike.progress import bar

_BLOCK = 1 << 20
_PATIENCE_S = 60.0  # without a byte
_MB = 1_000_000


def fetch(archive: Archive, folder: Path, progress: bool = True) -> Path:
    """The file of `archive` in `folder`; it is downloaded if it is not there.

    What a stopped download has brought stays in a file that ends with `.part`. The next one asks the server for the
    rest. If the server cannot give a part, it begins anew.

    Raises:
        Failed: the server cannot be reached, refuses, or stops halfway; or the disk refuses.
        BadInput: the file has another size or checksum than the authors publish. It is removed.
    """
    whole, part = folder / archive.name, folder / f"{archive.name}.part"
    if whole.exists():
        return whole
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _load(archive, part, progress)
        _check(archive, part)
        part.replace(whole)
    except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as error:
        have = f"; {part.stat().st_size / _MB:.1f} MB are kept, and the same command goes on" if part.exists() else ""
        reason = getattr(error, "reason", error)
        raise Failed(f"{archive.url}: {one_line(reason if isinstance(reason, Exception) else error)}{have}") from error
    except OSError as error:
        raise path_error(f"{part}: cannot be written", error) from error
    return whole


def _load(archive: Archive, part: Path, progress: bool) -> None:
    have = part.stat().st_size if part.exists() else 0
    if archive.size is not None and have >= archive.size:
        return
    request = urllib.request.Request(archive.url, headers={"User-Agent": f"muspike/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with contextlib.ExitStack() as held:
        try:
            answer: Any = held.enter_context(urllib.request.urlopen(request, timeout=_PATIENCE_S))
        except urllib.error.HTTPError as error:
            with error:
                if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # all of it is there, or too much
                    part.unlink()
                    raise Failed(f"{archive.url}: the part that was kept does not fit it and was removed") from error
                raise Failed(f"{archive.url}: the server answers {error.code} {error.reason}") from error
        if have and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            have = 0
        length = answer.length
        total = have + length if length is not None else archive.size or 0
        if archive.size is not None and length is not None and total != archive.size:
            part.unlink(missing_ok=True)
            raise BadInput(f"{archive.url}: has {total:,} bytes; {archive.size:,} are published")
        shown = held.enter_context(
            bar(max(1, total // _MB), "MB", done=have // _MB, what=archive.name, shown=progress, stays=True)
        )
        file = held.enter_context(part.open("ab" if have else "wb"))
        while block := answer.read(_BLOCK):
            file.write(block)
            have += len(block)
            shown.advance(have // _MB - shown.done)
        if have < total:
            raise ConnectionError(f"the server stopped after {have:,} of {total:,} bytes")
        os.fsync(file.fileno())


def _check(archive: Archive, part: Path) -> None:
    size = part.stat().st_size
    if archive.size is not None and size != archive.size:
        part.unlink()
        raise BadInput(f"{archive.url}: brought {size:,} bytes; {archive.size:,} are published; it was removed")
    if archive.md5 is None:
        return
    with part.open("rb") as file:
        found = hashlib.file_digest(file, "md5").hexdigest()
    if found != archive.md5:
        part.unlink()
        raise BadInput(f"{archive.url}: has the MD5 {found}; {archive.md5} is published; it was removed")
