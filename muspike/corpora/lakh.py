"""Lakh MIDI: 176,581 files from the web, told apart by the MD5 of their content (Raffel 2016).

`lakh` is the full collection, LMD-full. The smaller ones, LMD-matched and Clean MIDI, are taken with `--from`. Files
from the web are of any kind: broken ones, drums alone, the same song in several arrangements. What is the same music is
kept once; the manifest says why a file was left out.
"""

from __future__ import annotations

from muspike.corpora.folder import SOURCE as FOLDER
from muspike.corpora.source import Archive, Source, without_ending

SOURCE = Source(
    version=1,
    title="Lakh MIDI",
    licence="CC BY 4.0 as a collection; the songs have owners",
    read=FOLDER.read,
    files=FOLDER.files,
    archive=Archive(
        "http://hog.ee.columbia.edu/craffel/lmd/lmd_full.tar.gz",
        "lmd_full.tar.gz",
        size=1_768_163_879,
        md5="2536ce3fd2cede53ddaa264f731859ab",
    ),
    name=without_ending,
)
