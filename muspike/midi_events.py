"""The events of a MIDI file's tracks: notes made of note-ons and note-offs, tempos, metres, keys and names."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from muspike.errors import BadInput
from muspike.jit import njit

Ints = NDArray[np.int64]

_KEYS = 16 * 128  # keys of a track: channel * 128 + pitch
_QUIET = -1  # stands for the velocity of the controllers that end all notes of a channel

TEMPO, METRE, KEY, NAME = 0x51, 0x58, 0x59, 0x03
_END_OF_TRACK = 0x2F

# Why reading stops.
_BAD_DATA, _NO_STATUS, _CUT, _LONG_NUMBER, _BAD_STATUS = range(1, 6)
_REASONS = {
    _BAD_DATA: "a data byte of 0 to 127 is wanted",
    _NO_STATUS: "a status byte of 128 to 255 is wanted, because no event before it has one to go on with",
    _LONG_NUMBER: "a number should have ended: numbers have up to 4 bytes, the last one below 128",
    _BAD_STATUS: "a status byte is wanted that MIDI defines; 0xf4 and 0xf5 are not",
}

# What `Events.counts` counts.
ENDED_BY_NEXT, ENDED_BY_CONTROLLER, ENDED_BY_TRACK, STRAY_OFFS, MISSHAPEN_META, UNENDED_TRACKS, BYTES_BEHIND = range(7)


class Events(NamedTuple):
    """What the tracks of a file hold, in ticks from the start of each track.

    Attributes:
        onset: int64 `[notes]`; notes are in the order of their note-ons, track by track.
        end: int64 `[notes]`.
        pitch: int64 `[notes]`.
        velocity: int64 `[notes]`.
        instrument: int64 `[notes]`, index into `instruments`.
        instruments: int64 `[instruments, 3]`: track of the file, channel, program; sorted by track and channel, the
            programs of a channel in the order of their first notes.
        meta: int64 `[meta events, 5]`: kind (`TEMPO`, `METRE`, `KEY` or `NAME`), track of the file, tick, and two
            values: microseconds per quarter note and 0; numerator and power of two of the denominator; sharps and
            mode; first byte and length of a name.
        ends: int64 `[tracks]`, the tick at which each track of the file ends.
        counts: int64 `[7]`, how often the file had to be mended: see `ENDED_BY_NEXT` and what follows it.
    """

    onset: Ints
    end: Ints
    pitch: Ints
    velocity: Ints
    instrument: Ints
    instruments: Ints
    meta: Ints
    ends: Ints
    counts: Ints


def read(content: bytes, starts: Ints, stops: Ints) -> Events:
    """The events of the tracks of a file, and its notes.

    How note-ons and note-offs become notes. Notes of different tracks, channels or pitches never meet. Among those of
    one track, channel and pitch:

    - A note-off ends the oldest note that sounds (first in, first out). So notes that overlap keep their own ends, if
      none of their note-offs is lost.
    - A note-off at the tick of a note-on ends a note that began earlier, if one sounds. The order of the two in the
      file does not matter.
    - Which note-ons lack a note-off is found from the end of the track backwards: each note-on takes one of the
      note-offs behind it that no later note-on has taken, and lacks one if none is left. Such a note ends at the next
      note-on, or at the next controller that ends the notes of its channel (120, or 123 to 127), or at the end of its
      track, whichever comes first. If the next note-on is at the same tick, both notes end together. So a lost
      note-off or a doubled note-on costs one note and shifts no other.
    - A note that finds its note-off lasts until then, also across such a controller.
    - A note-off without a note is left out.

    A note-on of velocity 0 is a note-off. A status byte is good for the events after it, also across meta events and
    system-exclusive ones.

    Args:
        content: the bytes of the file.
        starts: int64 `[tracks]`, where the events of each track start.
        stops: int64 `[tracks]`, where they stop.

    Raises:
        BadInput: a track has bytes that are no events. The message names track, byte and its value, not the file.
    """
    data = np.frombuffer(content, np.uint8)
    size = int((stops - starts).sum())
    metas = min(content.count(b"\xff"), size // 4)  # each has four bytes or more
    error, place, track, found = _scan(data, starts, stops, size // 3 + 1, metas + 1)
    if error == _CUT:
        raise BadInput(f"truncated track {track + 1}: it ends at byte {place} inside an event")
    if error:
        value = content[place]
        raise BadInput(f"track {track + 1}: byte {place} is {value:#04x} ({value}), where {_REASONS[error]}")
    events = Events(*found)
    order = np.lexsort((events.instruments[:, 1], events.instruments[:, 0]))
    if (np.diff(order) < 0).any():
        rank = np.argsort(order)
        events = events._replace(instruments=events.instruments[order], instrument=rank[events.instrument])
    return events


@njit
def _scan(data, starts, stops, most_events, most_metas):  # type: ignore[no-untyped-def]
    """(reason to stop or 0, its byte, its track, the fields of `Events`)."""
    tick_of = np.empty(most_events, np.int64)
    key_of = np.empty(most_events, np.int16)
    velocity_of = np.empty(most_events, np.int16)
    instrument_of = np.empty(most_events, np.int32)
    meta = np.empty((most_metas, 5), np.int64)
    ends = np.zeros(len(starts), np.int64)
    first_event = np.zeros(len(starts) + 1, np.int64)  # of each track
    counts = np.zeros(7, np.int64)
    instruments = []
    instruments.append((0, 0, 0))  # gives the list its type
    instruments.pop()
    seen = np.full((16, 128), -1, np.int64)  # the latest track with notes of that channel and program
    number = np.zeros((16, 128), np.int32)  # and its instrument
    program = np.zeros(16, np.int64)
    n_events = n_metas = place = track = error = 0

    for track in range(len(starts)):
        place, stop = starts[track], stops[track]
        tick = status = 0
        ended = False
        program[:] = 0
        while place < stop and error == 0:
            # The number that every event starts with: ticks since the event before.
            error, place, delta = _number(data, place, stop)
            if error:
                break
            tick += delta
            if place >= stop:
                error = _CUT
                break
            byte = data[place]
            kind: Any = status
            if byte >= 0x80:
                kind = np.int64(byte)
                place += 1
            elif status == 0:
                error = _NO_STATUS
                break
            if kind < 0xF0:
                status = kind
                n = 1 if 0xC0 <= kind < 0xE0 else 2
            elif kind == 0xFF or kind == 0xF0 or kind == 0xF7:
                n = 0
            elif kind == 0xF4 or kind == 0xF5:
                place, error = place - 1, _BAD_STATUS
                break
            else:
                n = 2 if kind == 0xF2 else 1 if kind == 0xF1 or kind == 0xF3 else 0
            for i in range(n):
                if place + i >= stop:
                    place, error = stop, _CUT
                    break
                if data[place + i] >= 0x80:
                    place, error = place + i, _BAD_DATA
                    break
            if error:
                break

            if kind < 0xF0:
                first, second = np.int64(data[place]), np.int64(data[place + n - 1])
                channel, message = kind & 0x0F, kind & 0xF0
                if message == 0xC0:
                    program[channel] = first
                elif message == 0x80 or message == 0x90:
                    tick_of[n_events] = tick
                    key_of[n_events] = channel * 128 + first
                    velocity_of[n_events] = second if message == 0x90 else 0
                    if message == 0x90 and second:
                        if seen[channel, program[channel]] != track:
                            seen[channel, program[channel]] = track
                            number[channel, program[channel]] = len(instruments)
                            instruments.append((track, channel, program[channel]))
                        instrument_of[n_events] = number[channel, program[channel]]
                    n_events += 1
                elif message == 0xB0 and (first == 120 or first >= 123):
                    tick_of[n_events], key_of[n_events], velocity_of[n_events] = tick, channel * 128, _QUIET
                    n_events += 1
                place += n
            elif n == 0 and (kind == 0xFF or kind == 0xF0 or kind == 0xF7):
                what: Any = 0
                if kind == 0xFF:
                    if place >= stop:
                        error = _CUT
                        break
                    what = np.int64(data[place])
                    if what >= 0x80:
                        error = _BAD_DATA
                        break
                    place += 1
                error, place, length = _number(data, place, stop)
                if error:
                    break
                if place + length > stop:
                    place, error = stop, _CUT
                    break
                if kind == 0xFF and what == _END_OF_TRACK:
                    ended = True
                    place += length
                    break
                if kind == 0xFF and what in (TEMPO, METRE, KEY, NAME):
                    wanted = 3 if what == TEMPO else 2 if what in (METRE, KEY) else 0
                    if length < wanted or (what == TEMPO and length > 3):
                        counts[MISSHAPEN_META] += 1
                    else:
                        a: Any = place
                        b: Any = length
                        if what == TEMPO:
                            a = np.int64(data[place]) << 16 | np.int64(data[place + 1]) << 8 | np.int64(data[place + 2])
                            b = 0
                        elif what != NAME:
                            a, b = np.int64(data[place]), np.int64(data[place + 1])
                        meta[n_metas, 0], meta[n_metas, 1], meta[n_metas, 2] = what, track, tick
                        meta[n_metas, 3], meta[n_metas, 4] = a, b
                        n_metas += 1
                place += length
            else:
                place += n
        if error:
            break
        if not ended and stops[track] > starts[track]:
            counts[UNENDED_TRACKS] += 1
        counts[BYTES_BEHIND] += stops[track] - place
        ends[track] = tick
        first_event[track + 1] = n_events

    end_of = np.full(0 if error else n_events, -1, np.int64)
    if error == 0:
        _pair(tick_of[:n_events], key_of[:n_events], velocity_of[:n_events], first_event, ends, end_of, counts)
    n_notes = 0
    for e in range(len(end_of)):
        if velocity_of[e] > 0:
            n_notes += 1
    columns = np.empty((5, n_notes), np.int64)
    i = 0
    for e in range(len(end_of)):
        if velocity_of[e] > 0:
            columns[0, i], columns[1, i] = tick_of[e], end_of[e]
            columns[2, i], columns[3, i], columns[4, i] = key_of[e] % 128, velocity_of[e], instrument_of[e]
            i += 1
    table = np.empty((len(instruments), 3), np.int64)
    for i in range(len(instruments)):
        table[i, 0], table[i, 1], table[i, 2] = instruments[i]
    found = (columns[0], columns[1], columns[2], columns[3], columns[4], table, meta[:n_metas], ends, counts)
    return error, place, track, found


@njit
def _number(data, place, stop):  # type: ignore[no-untyped-def]
    """(reason to stop or 0, the byte behind the number, the number) that begins at `place`, of seven bits a byte."""
    value = np.int64(0)
    for _ in range(4):
        if place >= stop:
            return _CUT, place, value
        byte = data[place]
        place, value = place + 1, (value << 7) | (byte & 0x7F)
        if byte < 0x80:
            return 0, place, value
    return (_CUT, place, value) if place >= stop else (_LONG_NUMBER, place - 1, value)


@njit
def _pair(tick_of, key_of, velocity_of, first_event, ends, end_of, counts):  # type: ignore[no-untyped-def]
    """Write the tick at which each note-on's note ends into `end_of`, as `read` describes it.

    Three passes over the events of a track. Forwards: which note-offs find no note that sounds. Backwards: which
    note-ons find no note-off. Forwards again: first in, first out among all others.
    """
    none = np.int64(-1)
    sounding = np.zeros(_KEYS, np.int64)  # notes that sound
    fresh = np.zeros(_KEYS, np.int64)  # those of them that began at `fresh_tick`
    fresh_tick = np.full(_KEYS, none)
    offs = np.zeros(_KEYS, np.int64)  # note-offs, further on, that no note-on has yet
    early = np.zeros(_KEYS, np.int64)  # note-offs at `early_tick` that end notes which began before it
    early_tick = np.full(_KEYS, none)
    next_on = np.full(_KEYS, none)  # the next note-on
    quiet = np.full(16, none)  # the tick of the next controller that ends all notes
    oldest = np.full(_KEYS, none)  # the queue of notes that wait for their note-off
    newest = np.full(_KEYS, none)
    following = np.empty(len(tick_of), np.int64)  # in that queue; for a note without note-off, the next note-on
    stray, alone, is_early = 1, 2, 4
    marks = np.zeros(len(tick_of), np.uint8)

    for track in range(len(ends)):
        first, stop = first_event[track], first_event[track + 1]
        for e in range(first, stop):
            key, tick = key_of[e], tick_of[e]
            if velocity_of[e] > 0:
                if fresh_tick[key] != tick:
                    fresh_tick[key], fresh[key] = tick, 0
                fresh[key] += 1
                sounding[key] += 1
            elif velocity_of[e] == 0:
                if sounding[key] == 0:
                    marks[e] = stray
                    counts[STRAY_OFFS] += 1
                    continue
                new = fresh[key] if fresh_tick[key] == tick else 0
                if sounding[key] > new:
                    marks[e] = is_early if new else 0
                else:
                    fresh[key] -= 1
                sounding[key] -= 1

        for e in range(stop - 1, first - 1, -1):
            key, tick = key_of[e], tick_of[e]
            if velocity_of[e] == _QUIET:
                quiet[key // 128] = tick
                continue
            if early[key] and early_tick[key] != tick:
                offs[key] += early[key]
                early[key] = 0
            if velocity_of[e] == 0:
                if marks[e] == is_early:
                    early[key] += 1
                    early_tick[key] = tick
                elif marks[e] != stray:
                    offs[key] += 1
                continue
            if offs[key]:
                offs[key] -= 1
            else:
                marks[e] = alone
                following[e] = none
                end, reason = ends[track], ENDED_BY_TRACK
                if quiet[key // 128] >= 0 and quiet[key // 128] <= end:
                    end, reason = quiet[key // 128], ENDED_BY_CONTROLLER
                if next_on[key] >= 0 and tick_of[next_on[key]] <= end:
                    end, reason = tick_of[next_on[key]], ENDED_BY_NEXT
                    if end == tick:
                        following[e] = next_on[key]
                end_of[e] = end
                counts[reason] += 1
            next_on[key] = e

        for e in range(first, stop):
            key = key_of[e]
            if velocity_of[e] > 0 and marks[e] != alone:
                if oldest[key] == none:
                    oldest[key] = e
                else:
                    following[newest[key]] = e
                newest[key] = e
                following[e] = none
            elif velocity_of[e] == 0 and marks[e] != stray:
                note = oldest[key]
                end_of[note] = tick_of[e]
                oldest[key] = following[note]

        # Notes without note-off end with the next note if it begins at the same tick; and nothing goes on from here.
        for e in range(stop - 1, first - 1, -1):
            key = key_of[e]
            if marks[e] == alone and following[e] >= 0:
                end_of[e] = end_of[following[e]]
            sounding[key] = offs[key] = early[key] = 0
            fresh_tick[key] = early_tick[key] = next_on[key] = oldest[key] = newest[key] = none
            quiet[key // 128] = none
