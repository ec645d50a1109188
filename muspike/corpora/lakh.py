"""Lakh MIDI: 176,581 files from the web, told apart by the MD5 of their content (Raffel 2016).

`lakh` is the full collection, LMD-full. The smaller ones, LMD-matched and Clean MIDI, are taken with `--from`. Files
from the web are of any kind: broken ones, drums alone, the same song in several arrangements. What is the same music is
kept once; the manifest says why a file was left out.
"""

from __future__ import annotations

import re
from pathlib import Path

from muspike.corpora.folder import midi_files, read_midi
from muspike.corpora.source import Archive, Source, Taken, without_ending

_TRACK = re.compile(r"TR[A-Z0-9]{16}")  # of the Million Song Dataset
_MD5 = re.compile(r"[0-9a-f]{32}")


def read(root: Path, path: Path) -> Taken:
    """A file, brought onto its beat.

    Its song is the track of LMD-matched (`.../TRAAAGR128F425B14B/md5.mid`), or artist and title of Clean MIDI
    (`Artist/Title.mid`, `Artist/Title.1.mid`). LMD-full does not say it.

    Raises:
        BadInput: it cannot be read.
    """
    folder, song = path.parent.name, ""
    if _TRACK.fullmatch(folder):
        song = folder
    elif not _MD5.fullmatch(path.stem) and path.parent != root:
        song = f"{folder}/{re.sub(r'[.][0-9]+$', '', path.stem)}"
    return read_midi(path, song)


SOURCE = Source(
    version=2,
    title="Lakh MIDI",
    licence="CC BY 4.0 as a collection; the songs have owners",
    read=read,
    files=midi_files,
    archive=Archive(
        "http://hog.ee.columbia.edu/craffel/lmd/lmd_full.tar.gz",
        "lmd_full.tar.gz",
        size=1_768_163_879,
        md5="2536ce3fd2cede53ddaa264f731859ab",
    ),
    name=without_ending,
)
