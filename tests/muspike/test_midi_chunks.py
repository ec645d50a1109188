"""Containers and headers of MIDI files, and files that only have the name of one."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path

import pytest

from muspike import midi
from muspike.errors import BadInput
from muspike.midi import Score
from smf import chunk, control, scale, smf, tempo, track

TUNE = smf(track(scale()))


def read(content: bytes, tmp_path: Path) -> Score:
    path = tmp_path / "tune.mid"
    path.write_bytes(content)
    return midi.read(path)


def riff(*chunks: bytes) -> bytes:
    body = b"RMID" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def riff_chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\x00" * (len(body) % 2)


@pytest.mark.parametrize(
    ("content", "remarks"),
    [
        (TUNE, ()),
        (riff(riff_chunk(b"data", TUNE)), ()),
        (riff(riff_chunk(b"INFO", b"abc"), riff_chunk(b"data", TUNE), riff_chunk(b"DLS ", b"1234")), ()),
        (riff(riff_chunk(b"data", TUNE), riff_chunk(b"data", TUNE)),
         ("1 more chunk 'data' of the RIFF file left out",)),
        (riff(b"data\xff\xff\xff\xff" + TUNE),
         (f"the RIFF file announces 4,294,967,295 bytes of MIDI; {len(TUNE)} are there",)),
        (chunk(b"MThd", struct.pack(">HHH", 1, 1, 480) + b"more") + track(scale()), ()),
        (smf(track([(0, tempo(500_000))]), chunk(b"XFIH", b"hello"), track(scale())),
         ("1 chunk not of a track left out (XFIH)", "the header announces 3 tracks; the file holds 2")),
        (smf(track(scale()), announced=0), ("the header announces 0 tracks; all 1 were read",)),
        (smf(track(scale(2)), track(scale(2, first=72)), announced=1),
         ("the header announces 1 track; all 2 were read",)),
        (TUNE + b"\x00\x01garbage", ("9 bytes behind the last track ignored",)),
        (TUNE + b"\x00", ("1 byte behind the last track ignored",)),
        (TUNE + TUNE, ("another MIDI file behind the last track ignored",)),
        (smf(track(scale()), b"", form=9, announced=1),
         ("format 9 is unknown; the tracks were taken as simultaneous (format 1)",)),
        (smf(track([]), track(scale()), chunk(b"MTrk", b"")), ()),
    ],
)  # fmt: skip
def test_four_notes_whatever_stands_around_them(tmp_path: Path, content: bytes, remarks: tuple[str, ...]) -> None:
    score = read(content, tmp_path)
    assert len(score.notes) == 4
    assert score.remarks == remarks


def test_independent_sequences_are_read_one_after_another(tmp_path: Path) -> None:
    score = read(smf(track([(0, tempo(400_000)), *scale(2)]), track(scale(2, first=72)), form=2), tmp_path)
    assert sorted(score.notes[["onset", "pitch"]].tolist()) == [(0, 60), (480, 61), (960, 72), (1440, 73)]
    # The second does not go on in the first one's tempo and bars.
    assert score.tempos.tolist()[-2:] == [(0, 150.0), (960, 120.0)]
    assert score.time_signatures.tolist() == [(0, 4, 4), (960, 4, 4)]
    assert score.remarks == ("format 2: its 2 independent sequences were read one after another",)


def test_a_silent_sequence_behind_the_last_tick_costs_no_notes(tmp_path: Path) -> None:
    far = [((2**28 - 1) * n, control(0)) for n in range(1, 10)]  # behind the tick 2^31 - 1
    score = read(smf(track(scale(2)), track(far), track([]), form=2), tmp_path)
    assert len(score.notes) == 2 and score.tempos["tick"].tolist() == [0, 960]


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("score.xml", "<score-partwise/>")
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a MIDI file: it is empty"),
        (bytes(100), "not a MIDI file: all its 100 bytes are zero"),
        (zipped(), "a zip archive"),
        (gzip.compress(TUNE, mtime=0), "gzip data"),
        (b"\xef\xbb\xbf<!DOCTYPE HTML>\n<html></html>", "a web page"),
        (b'<?xml version="1.0"?>\n<score-partwise version="4.0">', "MusicXML"),
        ('<?xml version="1.0"?>\n<score-partwise version="4.0">'.encode("utf-16"), "MusicXML"),
        (b'<?xml version="1.0"?>\n<museScore version="4.0">', "a MuseScore file"),
        (b"X:1\nT:Tune\nK:C\nCDEF|\n", "ABC notation"),
        (b"%abc-2.1\nX:1\n", "ABC notation"),
        (b"**kern\t**kern\n", "Humdrum"),
        (b"just words", "text, which starts with b'just words'"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a RIFF file of the kind b'WAVE'"),
        (riff(riff_chunk(b"INFO", b"abc")), "without the chunk 'data'"),
        (b"\0" + b"\x04tune" + bytes(122) + TUNE, "a MacBinary file"),
        (b"\x01\x02\x03" + TUNE, "the header b'MThd' stands at byte 3"),
        (track(scale()), "a MIDI track without the header"),
        (b"\x01\x02\x03\x04\x05", "it starts with"),
        (chunk(b"MThd", b"\0\0\0\1\1\xe0") [:7] + b"\x05" + b"\0\1\0\1\1\xe0" + track(scale()), "it has 5 bytes"),
        (smf(track(scale()), division=0), "time division is 0"),
        (smf(track(scale()), division=0xE728), "25 frames per second of 40 ticks"),
        (smf(track(scale()), announced=2), "truncated MIDI file: the header announces 2 tracks, it holds 1"),
        (
            smf(track(scale()), b"\0\1\2\3garbage"),
            "truncated MIDI file or damaged length: at byte 62, where chunk 2 of 2",
        ),
        (smf(*[chunk(b"MTrk", b"")] * 65536, announced=1), "more than 65535 chunks"),
        (smf(track([])), "holds no notes"),
    ],
)  # fmt: skip
def test_what_is_refused_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(BadInput) as error:
        read(content, tmp_path)
    assert message in str(error.value)
    assert str(error.value).startswith(f"{tmp_path / 'tune.mid'}: ")
    assert "\n" not in str(error.value)


def test_too_many_bytes_or_notes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(midi, "MOST_NOTES", 3)
    with pytest.raises(BadInput, match="holds 4 notes; 3 are the most"):
        read(TUNE, tmp_path)
    monkeypatch.setattr(midi, "MOST_BYTES", len(TUNE) - 1)
    with pytest.raises(BadInput, match=f"more than {len(TUNE) - 1} bytes"):
        read(TUNE, tmp_path)
