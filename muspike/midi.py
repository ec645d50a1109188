"""Music as notes in time: `Score`, and functions that read it from and write it to Standard MIDI Files."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import symusic
from numpy.typing import NDArray

from muspike.arguments import instance, listed, refuse, whole
from muspike.arguments import path as path_of
from muspike.errors import BadInput
from muspike.files import write_whole

if TYPE_CHECKING:
    import miditoolkit

NOTE = np.dtype([(name, np.int32) for name in ("onset", "duration", "pitch", "velocity", "track")])
TEMPO = np.dtype([("tick", np.int32), ("bpm", np.float64)])
TIME_SIGNATURE = np.dtype([("tick", np.int32), ("numerator", np.int32), ("denominator", np.int32)])
KEY_SIGNATURE = np.dtype([("tick", np.int32), ("fifths", np.int32), ("minor", np.bool_)])

MAJOR_KEYS = ("Cb", "Gb", "Db", "Ab", "Eb", "Bb", "F", "C", "G", "D", "A", "E", "B", "F#", "C#")
MINOR_KEYS = ("Abm", "Ebm", "Bbm", "Fm", "Cm", "Gm", "Dm", "Am", "Em", "Bm", "F#m", "C#m", "G#m", "D#m", "A#m")


class Track(NamedTuple):
    """One instrument.

    Attributes:
        name: may be empty.
        program: General MIDI program, 0 to 127.
        is_drum: whether the instrument is the drum kit.
    """

    name: str = ""
    program: int = 0
    is_drum: bool = False


class ChordMark(NamedTuple):
    """A chord that holds from `tick` on. `symbol` is a name of `muspike.chords` ("C_M7", "F#_m", "N")."""

    tick: int
    symbol: str


def table(rows: Iterable[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """`rows` (tuples) as a structured array of `dtype`: `NOTE`, `TEMPO`, `TIME_SIGNATURE` or `KEY_SIGNATURE`.

    Raises:
        BadInput: the rows are no tuples of as many numbers.
    """
    if isinstance(rows, np.ndarray) and rows.dtype == dtype and rows.ndim == 1:
        return rows
    try:
        return np.array([tuple(row) for row in listed("a table of a score", rows, "a list of rows")], dtype=dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise refuse("a table of a score", rows, f"rows of ({', '.join(dtype.names or ())})") from error


@dataclass
class Score:
    """Notes, tempos, metre, keys and chords of a piece, with all times in ticks.

    `table` makes the arrays from tuples. The constructor sorts them.

    Attributes:
        ticks_per_beat: ticks in a quarter note.
        notes: `[notes]` of dtype `NOTE`, sorted by onset, then by descending pitch; equal notes keep their order.
        tempos: of dtype `TEMPO`, sorted by tick.
        time_signatures: of dtype `TIME_SIGNATURE`, sorted by tick.
        key_signatures: of dtype `KEY_SIGNATURE`, sorted by tick; `fifths` counts sharps as positive, flats as negative.
        tracks: the instruments; `track` of a note is an index into them.
        chords: the annotated chords, sorted by tick; None if the piece has no annotation.
        name: may be empty.
        remarks: what reading had to change or leave out, a sentence each: "2 notes had no note-off". Empty for a file
            that holds together, and for a score that was not read from a file.

    Raises:
        BadInput: `ticks_per_beat` is no whole number of at least 1; a table holds no rows of its dtype; a pitch is
            outside 0 to 127; or an onset or duration is negative.
    """

    ticks_per_beat: int
    notes: NDArray[Any]
    tempos: NDArray[Any] = field(default_factory=lambda: np.empty(0, TEMPO))
    time_signatures: NDArray[Any] = field(default_factory=lambda: np.empty(0, TIME_SIGNATURE))
    key_signatures: NDArray[Any] = field(default_factory=lambda: np.empty(0, KEY_SIGNATURE))
    tracks: Sequence[Track] = (Track(),)
    chords: Sequence[ChordMark] | None = None
    name: str = ""
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        instance("score: name", self.name, str, "a text")
        whole(f"{self.name or 'score'}: ticks_per_beat", self.ticks_per_beat, 1)
        for track in listed(f"{self.name or 'score'}: tracks", self.tracks, "a list of Track"):
            instance(f"{self.name or 'score'}: a track", track, Track, "a Track")
        notes = table(self.notes, NOTE)
        if len(notes) and not 0 <= notes["track"].min() <= notes["track"].max() < len(self.tracks):
            raise BadInput(
                f"{self.name or 'score'}: notes of the tracks {notes['track'].min()} to {notes['track'].max()}; there "
                f"are {len(self.tracks)} tracks, counted from 0"
            )
        if len(notes) and not 0 <= notes["pitch"].min() <= notes["pitch"].max() <= 127:
            raise BadInput(
                f"{self.name or 'score'}: pitches {notes['pitch'].min()} to {notes['pitch'].max()}, not 0 to 127"
            )
        if len(notes) and min(notes["onset"].min(), notes["duration"].min()) < 0:
            raise BadInput(f"{self.name or 'score'}: a note with a negative onset or duration")
        # One integer key (128 pitches per onset) sorts faster than two columns.
        self.notes = notes[np.argsort(notes["onset"].astype(np.int64) * 128 - notes["pitch"], kind="stable")]
        for name, dtype in (("tempos", TEMPO), ("time_signatures", TIME_SIGNATURE), ("key_signatures", KEY_SIGNATURE)):
            rows = table(getattr(self, name), dtype)
            setattr(self, name, rows[np.argsort(rows["tick"], kind="stable")] if len(rows) > 1 else rows)
        if self.chords is not None:
            for mark in listed(f"{self.name or 'score'}: chords", self.chords, "a list of ChordMark, or None"):
                instance(f"{self.name or 'score'}: a chord", mark, ChordMark, "a ChordMark")
            self.chords = sorted(self.chords, key=lambda mark: mark.tick)

    @classmethod
    def from_miditoolkit(cls, midi: miditoolkit.MidiFile, name: str = "") -> Score:
        """The score of a `miditoolkit.MidiFile`: its notes, tempos and signatures.

        Controls, pitch bends, lyrics and markers are dropped.
        """
        notes = [
            (note.start, note.end - note.start, note.pitch, note.velocity, number)
            for number, instrument in enumerate(midi.instruments)
            for note in instrument.notes
        ]
        keys = [(key.time, *_fifths(key.key_name)) for key in midi.key_signature_changes]
        return cls(
            ticks_per_beat=midi.ticks_per_beat,
            notes=table(notes, NOTE),
            tempos=table([(tempo.time, tempo.tempo) for tempo in midi.tempo_changes], TEMPO),
            time_signatures=table(
                [(metre.time, metre.numerator, metre.denominator) for metre in midi.time_signature_changes],
                TIME_SIGNATURE,
            ),
            key_signatures=table(keys, KEY_SIGNATURE),
            tracks=[Track(track.name, track.program, track.is_drum) for track in midi.instruments],
            name=name,
        )

    def to_miditoolkit(self) -> miditoolkit.MidiFile:
        """The score as a `miditoolkit.MidiFile`. Annotated chords become markers."""
        import miditoolkit
        from miditoolkit.midi import containers

        midi = miditoolkit.MidiFile(ticks_per_beat=self.ticks_per_beat)
        midi.instruments = [containers.Instrument(track.program, track.is_drum, track.name) for track in self.tracks]
        for onset, duration, pitch, velocity, track in self.notes.tolist():
            midi.instruments[track].notes.append(containers.Note(velocity, pitch, onset, onset + duration))
        midi.tempo_changes = [containers.TempoChange(bpm, tick) for tick, bpm in self.tempos.tolist()]
        midi.time_signature_changes = [
            containers.TimeSignature(numerator, denominator, tick)
            for tick, numerator, denominator in self.time_signatures.tolist()
        ]
        midi.key_signature_changes = [
            containers.KeySignature((MINOR_KEYS if minor else MAJOR_KEYS)[fifths + 7], tick)
            for tick, fifths, minor in self.key_signatures.tolist()
        ]
        midi.markers = [containers.Marker(symbol, tick) for tick, symbol in self.chords or ()]
        midi.max_tick = int((self.notes["onset"] + self.notes["duration"]).max(initial=-1)) + 1
        return midi


def _fifths(key_name: str) -> tuple[int, bool]:
    minor = key_name.endswith("m")
    return (MINOR_KEYS if minor else MAJOR_KEYS).index(key_name) - 7, minor


def read(path: str | os.PathLike[str]) -> Score:
    """Read the Standard MIDI File at `path`.

    Raises:
        BadInput: the file cannot be read, is not a MIDI file, is cut short, has no ticks per quarter note, or holds no
            notes.
    """
    path = Path(path_of("midi.read: path", path))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    _check_whole(path, content)
    try:
        midi: Any = symusic.Score.from_midi(content)
    except Exception as error:  # symusic's parser raises several kinds; each means that the bytes are not valid MIDI.
        raise BadInput(f"{path}: not a valid MIDI file: {str(error).splitlines()[0]}") from error
    columns = [track.notes.numpy() for track in midi.tracks]
    notes = np.empty(sum(len(column["pitch"]) for column in columns), NOTE)
    if not len(notes):
        raise BadInput(f"{path}: holds no notes; a MIDI file with at least one note is wanted")
    for name, source in (("onset", "time"), ("duration", "duration"), ("pitch", "pitch"), ("velocity", "velocity")):
        notes[name] = np.concatenate([column[source] for column in columns])
    notes["track"] = np.repeat(np.arange(len(columns)), [len(column["pitch"]) for column in columns])
    # Unknown keys (255 occurs in real files) and metres without beats or note value say nothing and are dropped.
    keys = [(key.time, key.key, key.tonality == 1) for key in midi.key_signatures if -7 <= key.key <= 7]
    metres = [
        (metre.time, metre.numerator, metre.denominator)
        for metre in midi.time_signatures
        if metre.numerator > 0 and metre.denominator > 0
    ]
    return Score(
        ticks_per_beat=midi.ticks_per_quarter,
        notes=notes,
        tempos=table([(tempo.time, tempo.qpm) for tempo in midi.tempos], TEMPO),
        time_signatures=table(metres, TIME_SIGNATURE),
        key_signatures=table(keys, KEY_SIGNATURE),
        tracks=[Track(track.name, track.program, track.is_drum) for track in midi.tracks],
        name=path.stem,
    )


def _check_whole(path: Path, content: bytes) -> None:
    """Refuse a file that is not a MIDI file or lacks tracks. symusic reads a file cut between two tracks silently.

    Raises:
        BadInput: the file is refused.
    """
    if content[:4] != b"MThd":
        raise BadInput(f"{path}: not a MIDI file: it starts with {content[:4]!r}, not with b'MThd'")
    if len(content) < 14:
        raise BadInput(f"{path}: truncated MIDI file: {len(content)} bytes, the header alone has 14")
    header_bytes, _, announced, division = struct.unpack(">IHHH", content[4:14])
    if division & 0x8000 or not division:
        raise BadInput(f"{path}: its time division is {division:#06x}; ticks per quarter note (1 to 32767) are wanted")
    position, found = 8 + header_bytes, 0
    while position + 8 <= len(content):
        length = int.from_bytes(content[position + 4 : position + 8], "big")
        is_track = content[position : position + 4] == b"MTrk"
        position += 8 + length
        if is_track:
            if position > len(content):
                raise BadInput(f"{path}: truncated MIDI file: track {found + 1} lacks {position - len(content)} bytes")
            found += 1
    if found < announced:
        raise BadInput(f"{path}: truncated MIDI file: the header announces {announced} tracks, it holds {found}")


def write(score: Score, path: str | os.PathLike[str]) -> None:
    """Write `score` to `path` as a Standard MIDI File (format 1). Annotated chords become markers.

    The file appears whole or not at all. If two notes of one pitch sound together on one track, the format cannot say
    which of them ends first: a reader may exchange their ends.

    Raises:
        BadInput: `score` is no Score, or `path` no path.
        Failed: the file cannot be written.
    """
    instance("midi.write: score", score, Score, "a Score")
    path = path_of("midi.write: path", path)
    midi: Any = symusic.Score(score.ticks_per_beat)
    notes = score.notes
    for number, track in enumerate(score.tracks):
        own = notes[notes["track"] == number]
        written: Any = symusic.Track(name=track.name, program=track.program, is_drum=track.is_drum)
        note: Any = symusic.Note
        written.notes = note.from_numpy(
            *(np.ascontiguousarray(own[name]) for name in ("onset", "duration")),
            *(own[name].astype(np.int8) for name in ("pitch", "velocity")),
            "tick",
        )
        midi.tracks.append(written)
    for tick, bpm in score.tempos.tolist():
        midi.tempos.append(symusic.Tempo(tick, bpm))
    for tick, numerator, denominator in score.time_signatures.tolist():
        midi.time_signatures.append(symusic.TimeSignature(tick, numerator, denominator))
    for tick, fifths, minor in score.key_signatures.tolist():
        midi.key_signatures.append(symusic.KeySignature(tick, fifths, int(minor)))
    for tick, symbol in score.chords or ():
        midi.markers.append(symusic.TextMeta(tick, symbol))
    with write_whole(path) as temporary:
        temporary.write_bytes(midi.dumps_midi())
