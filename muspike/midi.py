"""Music as notes in time: `Score`, and functions that read it from and write it to Standard MIDI Files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import symusic
from numpy.typing import NDArray

from muspike import midi_chunks, midi_events
from muspike.arguments import instance, listed, refuse, whole
from muspike.arguments import path as path_of
from muspike.errors import BadInput
from muspike.files import write_whole
from muspike.jit import njit
from muspike.tables import several

if TYPE_CHECKING:
    import miditoolkit

_NOTE_FIELDS = ("onset", "duration", "pitch", "velocity", "track")
NOTE = np.dtype([(name, np.int32) for name in _NOTE_FIELDS])
TEMPO = np.dtype([("tick", np.int32), ("bpm", np.float64)])
TIME_SIGNATURE = np.dtype([("tick", np.int32), ("numerator", np.int32), ("denominator", np.int32)])
KEY_SIGNATURE = np.dtype([("tick", np.int32), ("fifths", np.int32), ("minor", np.bool_)])

DEFAULT_BPM = 120.0  # the tempo of a Standard MIDI File that states none
LAST_TICK = 2**31 - 1  # the largest tick that a score and the programs behind it can hold
FINEST_METRE = 7  # the power of two of the largest denominator: 128
MOST_BYTES = 2**25  # of a MIDI file
MOST_NOTES = 2**18  # of a MIDI file; the longest piece seen has 16 thousand

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
        BadInput: the rows are no tuples of as many numbers, or a number does not fit into 32 bits.
    """
    if isinstance(rows, np.ndarray) and rows.dtype == dtype and rows.ndim == 1:
        return rows
    try:
        return np.array([tuple(row) for row in listed("a table of a score", rows, "a list of rows")], dtype=dtype)
    except OverflowError as error:
        raise BadInput(f"{', '.join(dtype.names or ())}: a value is outside -2^31 to {LAST_TICK}: {error}") from error
    except (TypeError, ValueError) as error:
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
        BadInput: `ticks_per_beat` is no whole number of at least 1; a table holds no rows of its dtype; a pitch or
            velocity is outside 0 to 127; an onset, a duration or another tick is negative; a note ends behind
            `LAST_TICK`; or no music has a tempo or a metre.
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
        self.tracks = listed(f"{self.name or 'score'}: tracks", self.tracks, "a list of Track")
        for track in self.tracks:
            instance(f"{self.name or 'score'}: a track", track, Track, "a Track")
        notes = np.array(table(self.notes, NOTE))
        survey = _survey(notes.view(np.int32).reshape(-1, len(_NOTE_FIELDS)))
        first_track, last_track, lowest, highest, softest, loudest, earliest, latest, in_order = survey
        if not 0 <= first_track <= last_track < len(self.tracks) and len(notes):
            raise BadInput(
                f"{self.name or 'score'}: notes of the tracks {first_track} to {last_track}; there are "
                f"{len(self.tracks)} tracks, counted from 0"
            )
        if not 0 <= lowest <= highest <= 127:
            raise BadInput(f"{self.name or 'score'}: pitches {lowest} to {highest}, not 0 to 127")
        if not 0 <= softest <= loudest <= 127:
            raise BadInput(f"{self.name or 'score'}: velocities {softest} to {loudest}, not 0 to 127")
        if earliest < 0:
            raise BadInput(f"{self.name or 'score'}: a note with a negative onset or duration")
        if latest > LAST_TICK:
            raise BadInput(f"{self.name or 'score'}: a note ends behind tick {LAST_TICK}, the last one")
        if not in_order:
            # One integer key (128 pitches per onset) sorts faster than two columns.
            notes = notes[np.argsort(notes["onset"].astype(np.int64) * 128 - notes["pitch"], kind="stable")]
        self.notes = notes
        for name, dtype in (("tempos", TEMPO), ("time_signatures", TIME_SIGNATURE), ("key_signatures", KEY_SIGNATURE)):
            rows = table(getattr(self, name), dtype)
            setattr(self, name, rows[np.argsort(rows["tick"], kind="stable")] if len(rows) > 1 else rows)
        self._check_times()
        if self.chords is not None:
            marks = listed(f"{self.name or 'score'}: chords", self.chords, "a list of ChordMark, or None")
            for mark in marks:
                instance(f"{self.name or 'score'}: a chord", mark, ChordMark, "a ChordMark")
            self.chords = sorted(marks, key=lambda mark: mark.tick)

    def _check_times(self) -> None:
        """Refuse tempos and metres that no music has."""
        name, bpm, metres = self.name or "score", self.tempos["bpm"], self.time_signatures
        if len(bpm) and not (np.isfinite(bpm) & (bpm > 0)).all():
            wrong = bpm[~(np.isfinite(bpm) & (bpm > 0))][0]
            raise BadInput(f"{name}: a tempo of {wrong:g} bpm; a finite number above 0 is wanted")
        upper, lower = metres["numerator"], metres["denominator"]
        if len(metres) and not (possible := (upper > 0) & (lower > 0) & (lower & (lower - 1) == 0)).all():
            first = int(possible.argmin())
            raise BadInput(
                f"{name}: a time signature of {upper[first]}/{lower[first]}; a numerator of at least 1 and a power of"
                " two as the denominator are wanted"
            )
        for what, rows in (("tempo", self.tempos), ("time signature", metres), ("key signature", self.key_signatures)):
            if len(rows) and rows["tick"][0] < 0:
                raise BadInput(f"{name}: a {what} at tick {rows['tick'][0]}; ticks are counted from 0")

    @property
    def pitched_notes(self) -> NDArray[Any]:
        """The notes outside drum tracks, in their order."""
        if not any(track.is_drum for track in self.tracks):
            return self.notes
        is_drum = np.array([track.is_drum for track in self.tracks])
        pitched: NDArray[Any] = self.notes[~is_drum[self.notes["track"]]]
        return pitched

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


@njit
def _survey(notes: NDArray[np.int32]) -> tuple[int, int, int, int, int, int, int, int, bool]:
    """Of notes `[notes, 5]` in the columns of `NOTE`: what a score's checks look at; zeros if there are none.

    The first and last track, the lowest and highest pitch and velocity, the least onset or duration, the latest end,
    and whether the notes are in the order of `Score.notes`.
    """
    if not len(notes):
        return 0, 0, 0, 0, 0, 0, 0, 0, True
    first_track = last_track = notes[0, 4]
    lowest = highest = notes[0, 2]
    softest = loudest = notes[0, 3]
    earliest, latest, in_order = notes[0, 0], 0, True
    for i in range(len(notes)):
        onset, duration, pitch, track = notes[i, 0], notes[i, 1], notes[i, 2], notes[i, 4]
        first_track, last_track = min(first_track, track), max(last_track, track)
        lowest, highest = min(lowest, pitch), max(highest, pitch)
        softest, loudest = min(softest, notes[i, 3]), max(loudest, notes[i, 3])
        earliest, latest = min(earliest, onset, duration), max(latest, np.int64(onset) + duration)
        if i and (onset < notes[i - 1, 0] or (onset == notes[i - 1, 0] and pitch > notes[i - 1, 2])):
            in_order = False
    return first_track, last_track, lowest, highest, softest, loudest, earliest, latest, in_order


def _fifths(key_name: str) -> tuple[int, bool]:
    minor = key_name.endswith("m")
    return (MINOR_KEYS if minor else MAJOR_KEYS).index(key_name) - 7, minor


def read(path: str | os.PathLike[str]) -> Score:
    """Read the Standard MIDI File at `path`, also from a RIFF container (RMID).

    `midi_events.read` says how note-ons and note-offs become notes. An instrument is what has one track of the file,
    one channel and one program; channel 10 is the drum kit. The independent sequences of a file of format 2 are read
    one after another. What has to be changed or left out is in the score's `remarks`: a tempo of 0, a metre that no
    music has, a note without note-off, bytes behind the end.

    Raises:
        BadInput: the file cannot be read, is not a MIDI file, is larger than `MOST_BYTES`, is cut short, has no ticks
            per quarter note, has bytes that are no events, holds no notes or more than `MOST_NOTES`, or holds notes
            behind tick `LAST_TICK`.
    """
    path = Path(path_of("midi.read: path", path))
    try:
        with open(path, "rb", opener=_open) as file:  # Path.open has no opener
            found = os.fstat(file.fileno())
            # A device or a pipe has no size. So many bytes are set aside before they are read.
            content = file.read(min(found.st_size if stat.S_ISREG(found.st_mode) else MOST_BYTES, MOST_BYTES) + 1)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise BadInput(f"{path}: has more than {MOST_BYTES} bytes, the most that are read of a MIDI file")
    try:
        chunks = midi_chunks.find(content)
        events = midi_events.read(content, chunks.starts, chunks.stops)
        return _score(content, chunks, events, path.stem)
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error


def _open(path: str, flags: int) -> int:
    """As `os.open`, but a pipe that nobody writes to ends at once, and does not wait."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if hasattr(os, "O_NONBLOCK"):
        os.set_blocking(handle, True)
    return handle


def _score(content: bytes, chunks: midi_chunks.Chunks, events: midi_events.Events, name: str) -> Score:
    counts, meta, starts = events.counts, events.meta, None
    onset, end, instruments = events.onset, events.end, events.instruments.tolist()
    if not len(onset):
        raise BadInput("holds no notes; a MIDI file with at least one note is wanted")
    remarks = list(chunks.remarks)
    if len(onset) > MOST_NOTES:
        raise BadInput(f"holds {len(onset)} notes; {MOST_NOTES} are the most that are read")
    if chunks.format == 2 and len(events.ends) > 1:
        starts = np.cumsum(events.ends) - events.ends
        shift = starts[events.instruments[:, 0]][events.instrument]
        onset, end = onset + shift, end + shift
        meta = meta.copy()
        meta[:, 2] += starts[meta[:, 1]]
        remarks.append(f"format 2: its {len(starts)} independent sequences were read one after another")
    if end.max() > LAST_TICK:
        raise BadInput(f"a note lasts to tick {end.max()}; {LAST_TICK} is the last one that a score can hold")
    _mended(counts, remarks)
    # One integer key: onset, descending pitch, track; notes that are alike in these stay in the order of the file.
    order = np.argsort((onset * 128 - events.pitch) * len(instruments) + events.instrument, kind="stable")
    notes = _notes(onset, end, events.pitch, events.velocity, events.instrument, order).view(NOTE).ravel()
    named = meta[meta[:, 0] == midi_events.NAME]
    named = named[np.append(named[1:, 1] != named[:-1, 1], True)[: len(named)]]  # the last name of each track
    names = {track: _text(content[first : first + length]) for _, track, _, first, length in named.tolist()}
    tempos, metres, keys = _meta(meta, starts, remarks)
    return Score(
        ticks_per_beat=chunks.ticks_per_beat,
        notes=notes,
        tempos=tempos,
        time_signatures=metres,
        key_signatures=keys,
        tracks=[Track(names.get(track, ""), program, channel == 9) for track, channel, program in instruments],
        name=name,
        remarks=tuple(remarks),
    )


@njit
def _notes(
    onset: NDArray[np.int64],
    end: NDArray[np.int64],
    pitch: NDArray[np.int64],
    velocity: NDArray[np.int64],
    track: NDArray[np.int64],
    order: NDArray[np.int64],
) -> NDArray[np.int32]:
    """The notes in this order, `[notes, 5]`, in the columns of `NOTE`."""
    notes = np.empty((len(order), 5), np.int32)
    for i in range(len(order)):
        note = order[i]
        notes[i, 0], notes[i, 1], notes[i, 2] = onset[note], end[note] - onset[note], pitch[note]
        notes[i, 3], notes[i, 4] = velocity[note], track[note]
    return notes


def _mended(counts: NDArray[np.int64], remarks: list[str]) -> None:
    """Say in `remarks` what `midi_events.read` mended."""
    by_next, by_controller, by_track, strays, misshapen, unended, behind = counts.tolist()
    ends = [
        f"{number} {_last(number)} to {what}"
        for number, what in (
            (by_next, "the next note of that pitch"),
            (by_controller, "a controller that ends all notes"),
            (by_track, "the end of the track"),
        )
        if number
    ]
    if ends:
        remarks.append(f"no note-off for {several(by_next + by_controller + by_track, 'note')}: {', '.join(ends)}")
    if strays:
        remarks.append(f"{several(strays, 'note-off')} without a note ignored")
    if misshapen:
        remarks.append(f"{several(misshapen, 'tempo, metre or key', 'tempos, metres or keys')} of wrong length ignored")
    if unended:
        remarks.append(f"{several(unended, 'track')} without End of Track")
    if behind:
        remarks.append(f"{several(behind, 'byte')} behind an End of Track ignored")


def _meta(
    meta: NDArray[np.int64], starts: NDArray[np.int64] | None, remarks: list[str]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The tempos, metres and keys of `midi_events.Events.meta`; what says nothing is left out and said in `remarks`.

    Each sequence of a file of format 2 starts, at `starts`, with the tempo and metre of a file that states none.
    """
    verdicts = _judged(meta)
    if (verdicts < 0).any():
        _left_out(meta, verdicts, remarks)
    _, _, tick, value, second = meta[verdicts == midi_events.TEMPO].T
    tempos = np.empty(len(tick), TEMPO)
    tempos["tick"], tempos["bpm"] = tick, 60e6 / value
    _, _, tick, value, second = meta[verdicts == midi_events.METRE].T
    metres = np.empty(len(tick), TIME_SIGNATURE)
    metres["tick"], metres["numerator"], metres["denominator"] = tick, value, 1 << second
    _, _, tick, value, second = meta[verdicts == midi_events.KEY].T
    keys = np.empty(len(tick), KEY_SIGNATURE)
    keys["tick"], keys["fifths"], keys["minor"] = tick, (value + 128) % 256 - 128, second == 1
    if starts is not None:
        begun = starts[starts <= LAST_TICK]
        tempos = np.concatenate([table([(start, DEFAULT_BPM) for start in begun], TEMPO), tempos])
        metres = np.concatenate([table([(start, 4, 4) for start in begun], TIME_SIGNATURE), metres])
    return tempos, metres, keys


_LATE, _STILL, _IMPOSSIBLE, _UNKNOWN = -1, -2, -3, -4  # why a meta event is left out


@njit
def _judged(meta: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each of `midi_events.Events.meta`: its kind; 0 for a name; or why it is left out."""
    verdicts = np.zeros(len(meta), np.int64)
    for i in range(len(meta)):
        kind, tick, value, second = meta[i, 0], meta[i, 2], meta[i, 3], meta[i, 4]
        if kind == midi_events.NAME:
            continue
        verdicts[i] = kind
        if tick > LAST_TICK:
            verdicts[i] = _LATE
        elif kind == midi_events.TEMPO and value == 0:
            verdicts[i] = _STILL
        elif kind == midi_events.METRE and (value == 0 or second > FINEST_METRE):
            verdicts[i] = _IMPOSSIBLE
        elif kind == midi_events.KEY and 7 < value < 249:  # flats are counted down from 256
            verdicts[i] = _UNKNOWN
    return verdicts


def _left_out(meta: NDArray[np.int64], verdicts: NDArray[np.int64], remarks: list[str]) -> None:
    """Say in `remarks` what `_judged` left out."""
    if late := int((verdicts == _LATE).sum()):
        what = several(late, "tempo, metre or key", "tempos, metres or keys")
        remarks.append(f"{what} behind tick {LAST_TICK} ignored")
    if still := int((verdicts == _STILL).sum()):
        remarks.append(f"{several(still, 'tempo')} of 0 microseconds per beat ignored")
    if len(impossible := meta[verdicts == _IMPOSSIBLE]):
        value, second = impossible[0, 3:]
        remarks.append(
            f"{several(len(impossible), 'impossible time signature')} ignored ({value}/2^{second}; the numerator is 1"
            f" or more, the denominator up to {2**FINEST_METRE})"
        )
    if unknown := int((verdicts == _UNKNOWN).sum()):
        remarks.append(f"{several(unknown, 'key signature')} of more than 7 sharps or flats ignored")


def _text(raw: bytes) -> str:
    """The name of a track: UTF-8, else Shift-JIS if it looks like it, else Windows-1252 as far as this has letters."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        pass
    # Kana and the common kanji begin with bytes that Latin-1 has no letters for; the quotation marks are Windows'.
    if any(0x80 < byte < 0xA0 and byte not in b"\x91\x92\x93\x94\x96\x97" for byte in raw):
        try:
            return raw.decode("cp932")
        except UnicodeDecodeError:
            pass
    try:
        return raw.decode("cp1252")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _last(number: int) -> str:
    return "lasts" if number == 1 else "last"


def _check_holds(score: Score) -> None:
    """Refuse numbers that a Standard MIDI File cannot hold."""
    name, tempos, metres = score.name or "score", score.tempos["bpm"], score.time_signatures
    slowest = 60e6 / (2**24 - 1)
    for what, values, low, high in (
        ("ticks per beat", np.array([score.ticks_per_beat]), 1, 2**15 - 1),
        ("bpm", tempos, slowest, 60e6),
        ("as the numerator of a time signature", metres["numerator"], 1, 255),
        ("as the denominator of a time signature", metres["denominator"], 1, 2**FINEST_METRE),
        ("sharps (flats are negative)", score.key_signatures["fifths"], -7, 7),
    ):
        if len(wrong := values[(values < low) | (values > high)]):
            raise BadInput(f"{name}: {wrong[0]:g} {what}; a MIDI file holds {low:g} to {high:g}")


def write(score: Score, path: str | os.PathLike[str]) -> None:
    """Write `score` to `path` as a Standard MIDI File (format 1). Annotated chords become markers.

    The file appears whole or not at all. Tempos are rounded to whole microseconds per quarter note. If two notes of one
    pitch sound together on one track, the format cannot say which of them ends first: a reader may exchange their ends.

    Raises:
        BadInput: `score` is no Score, or `path` no path; or the format cannot hold a number: more than 32767 ticks per
            beat, a tempo below 3.58 or above 60,000,000 bpm, a numerator above 255, a denominator above
            `FINEST_METRE`'s, more than 7 sharps or flats.
        Failed: the file cannot be written.
    """
    instance("midi.write: score", score, Score, "a Score")
    path = path_of("midi.write: path", path)
    _check_holds(score)
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


def key_name(fifths: int, minor: bool) -> str:
    """The name of a key from its number of sharps, from -7 (flats) to 7.

    >>> from muspike import midi
    >>> midi.key_name(-3, True), midi.key_name(2, False)
    ('C minor', 'D major')
    """
    name = (MINOR_KEYS if minor else MAJOR_KEYS)[fifths + 7].removesuffix("m")
    return f"{name} {'minor' if minor else 'major'}"
