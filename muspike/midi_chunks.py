"""The chunks of a Standard MIDI File: its header and where its tracks lie, or what a file is that is none."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muspike.errors import BadInput
from muspike.tables import several

MOST_CHUNKS = 65535  # the largest number that a header can announce

_KINDS = (
    (b"PK\x03\x04", "a zip archive, as .mxl files (compressed MusicXML) are"),
    (b"\x1f\x8b", "gzip data"),
    (b"BZh", "bzip2 data"),
    (b"\xfd7zXZ", "xz data"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"%PDF", "a PDF document"),
    (b"ID3", "MP3 audio"),
    (b"\xff\xfb", "MP3 audio"),
    (b"OggS", "Ogg audio"),
    (b"fLaC", "FLAC audio"),
    (b"FORM", "an IFF file"),
    (b"XMF_", "an XMF file"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"GIF8", "a GIF picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"version https://git-lfs", "a Git LFS pointer: the file itself was not fetched"),
    (b"MTrk", "a MIDI track without the header of a file"),
)
# What tells a kind of XML, also inside a file that begins with the general mark.
_TAGS = (
    (b"<!doctype html", "a web page (HTML)"),
    (b"<html", "a web page (HTML)"),
    (b"<score-partwise", "MusicXML"),
    (b"<score-timewise", "MusicXML"),
    (b"<mei", "MEI"),
    (b"<musescore", "a MuseScore file"),
)
_TEXTS = (
    *_TAGS,
    (b"<?xml", "XML"),
    (b"%abc", "ABC notation"),
    (b"**kern", "Humdrum"),
    (b"\\version", "LilyPond"),
    (b"{", "JSON or other text"),
)


@dataclass(frozen=True)
class Chunks:
    """Where the tracks of a file lie.

    Attributes:
        format: 0 (one track), 1 (simultaneous tracks) or 2 (independent sequences), as the header says.
        ticks_per_beat: ticks in a quarter note.
        starts: int64 `[tracks]`, the first byte of each track's events, counted from the start of the file.
        stops: int64 `[tracks]`, the byte behind each track's events.
        remarks: what was left out or does not agree, a sentence each.
    """

    format: int
    ticks_per_beat: int
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    remarks: list[str]


def find(content: bytes) -> Chunks:
    """The chunks of the MIDI file `content`, which may stand in a RIFF container (RMID).

    Chunks that are not tracks are left out, and so is what follows the last chunk. More tracks than the header
    announces are taken. Fewer cannot be told from a file that was cut short.

    Raises:
        BadInput: this is no MIDI file, it is cut short, it counts time in frames, or a length in it is damaged. The
            message does not name the file.
    """
    start, end, remarks = _without_riff(content)
    if content[start : start + 4] != b"MThd":
        raise BadInput(f"not a MIDI file: {looks_like(content)}")
    if end - start < 14:
        raise BadInput(f"truncated MIDI file: {end - start} bytes, the header alone has 14")
    header_bytes, form, announced, division = struct.unpack_from(">IHHH", content, start + 4)
    if header_bytes < 6:
        raise BadInput(f"its header says that it has {header_bytes} bytes; 6 or more are right")
    if header_bytes > end - start - 8:
        raise BadInput(f"its header says that it has {header_bytes} bytes; only {end - start - 8} follow")
    if division & 0x8000:
        frames, ticks = 256 - (division >> 8), division & 0xFF
        raise BadInput(
            f"its time division is {division:#06x}, {frames} frames per second of {ticks} ticks; ticks per quarter note"
            " (1 to 32767) are wanted"
        )
    if not division:
        raise BadInput("its time division is 0; ticks per quarter note (1 to 32767) are wanted")
    if form > 2:
        remarks.append(f"format {form} is unknown; the tracks were taken as simultaneous (format 1)")
    return _tracks(content, start + 8 + header_bytes, end, (form, announced, division), remarks)


def _tracks(content: bytes, position: int, end: int, header: tuple[int, int, int], remarks: list[str]) -> Chunks:
    form, announced, division = header
    starts: list[int] = []
    stops: list[int] = []
    others: dict[bytes, int] = {}
    chunks = 0
    while position + 8 <= end:
        name, length = content[position : position + 4], int.from_bytes(content[position + 4 : position + 8], "big")
        is_track = name == b"MTrk"
        lacking = position + 8 + length - end
        if is_track and lacking > 0:
            raise BadInput(f"truncated MIDI file: track {len(starts) + 1} lacks {lacking} bytes")
        is_chunk = is_track or (lacking <= 0 and name != b"MThd" and all(0x20 <= byte < 0x7F for byte in name))
        if not is_chunk:
            if chunks < announced:
                raise BadInput(
                    f"truncated MIDI file or damaged length: at byte {position}, where chunk {chunks + 1} of"
                    f" {announced} should start, stands {name!r}"
                )
            break
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise BadInput(f"holds more than {MOST_CHUNKS} chunks, the most that a header can announce")
        position += 8
        if is_track:
            starts.append(position)
            stops.append(position + length)
        else:
            others[name] = others.get(name, 0) + 1
        position += length
    if chunks < announced:
        raise BadInput(f"truncated MIDI file: the header announces {several(announced, 'track')}, it holds {chunks}")
    if others:
        names = ", ".join(name.decode() for name in list(others)[:5])
        remarks.append(f"{several(sum(others.values()), 'chunk')} not of a track left out ({names})")
    if len(starts) != announced:
        found = f"all {len(starts)} were read" if len(starts) > announced else f"the file holds {len(starts)}"
        remarks.append(f"the header announces {several(announced, 'track')}; {found}")
    if position < end:
        what = "another MIDI file" if content[position : position + 4] == b"MThd" else several(end - position, "byte")
        remarks.append(f"{what} behind the last track ignored")
    return Chunks(form, division, np.array(starts, np.int64), np.array(stops, np.int64), remarks)


def _without_riff(content: bytes) -> tuple[int, int, list[str]]:
    """Where the MIDI file inside `content` starts and ends, and remarks on what stands around it.

    In a RIFF file, the MIDI file is the first chunk `data`. Any other content is the MIDI file as a whole.
    """
    if content[:4] != b"RIFF" or content[8:12] != b"RMID":
        return 0, len(content), []
    position, found = 12, []
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "little")
        if content[position : position + 4] == b"data":
            found.append((position + 8, length))
        position += 8 + length + length % 2
    if not found:
        raise BadInput("a RIFF file (RMID) without the chunk 'data', which holds the MIDI file")
    start, length = found[0]
    remarks = []
    if len(found) > 1:
        remarks.append(f"{several(len(found) - 1, 'more chunk')} 'data' of the RIFF file left out")
    if start + length > len(content):
        remarks.append(f"the RIFF file announces {several(length, 'byte')} of MIDI; {len(content) - start:,} are there")
    return start, min(start + length, len(content)), remarks


def looks_like(content: bytes) -> str:
    """What a file that is no MIDI file seems to be, in words, from its first bytes."""
    if not content:
        return "it is empty"
    if not any(content):
        return f"all its {len(content)} bytes are zero"
    if content[:4] == b"RIFF":
        return f"it is a RIFF file of the kind {content[8:12]!r}"
    for start, kind in _KINDS:
        if content.startswith(start):
            return f"it looks like {kind}"
    header = content[:4096].find(b"MThd")
    if header == 128 and content[0] == 0:
        return "it is a MacBinary file, with the MIDI file behind its 128 bytes of header; it must be unpacked first"
    if header > 0:
        return f"the header b'MThd' stands at byte {header}, behind other data; it should be at byte 0"
    beginning = content[:4096]
    if beginning[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16, as some programs write MusicXML
        beginning = beginning.decode("utf-16", errors="ignore").encode()
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, kind in _TEXTS:
        if text.startswith(start):
            inner = next((more for mark, more in _TAGS if mark in text), kind)
            return f"it looks like {inner}"
    if text.startswith(b"x:") and b"\nk:" in text.replace(b"\r", b"\n"):
        return "it looks like ABC notation"
    if all(byte >= 0x20 or byte in b"\t\r\n" for byte in beginning):
        return f"it looks like text, which starts with {content[:12]!r}"
    return f"it starts with {content[:4]!r}, not with b'MThd'"
