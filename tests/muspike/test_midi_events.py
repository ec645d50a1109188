"""Events of a MIDI file, and the notes that are made of note-ons and note-offs, also where some are lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muspike import metrics, midi
from muspike.errors import BadInput
from muspike.midi import Score
from smf import Event, control, meta, metre, off, on, program, scale, smf, tempo, track

BAR = 1920


def read(content: bytes, tmp_path: Path) -> Score:
    path = tmp_path / "tune.mid"
    path.write_bytes(content)
    return midi.read(path)


def notes(score: Score) -> list[tuple[int, int, int]]:
    """(onset, duration, pitch), sorted."""
    return sorted(score.notes[["onset", "duration", "pitch"]].tolist())


def beats(count: int = 8, pitch: int = 60) -> list[Event]:
    """The same pitch, struck for a beat at the start of each of `count` bars."""
    return [event for b in range(count) for event in ((b * BAR, on(pitch)), (b * BAR + 480, off(pitch)))]


def test_a_doubled_note_on_shifts_no_later_note(tmp_path: Path) -> None:
    events = beats()
    events.insert(1, (240, on(60)))
    score = read(smf(track(events)), tmp_path)
    assert notes(score) == [(0, 240, 60), (240, 240, 60), *((b * BAR, 480, 60) for b in range(1, 8))]
    assert score.remarks == ("no note-off for 1 note: 1 lasts to the next note of that pitch",)
    sound = read(smf(track(beats())), tmp_path)
    assert sound.remarks == ()
    assert metrics.evaluate(score, ["empty_beat_rate"]) == metrics.evaluate(sound, ["empty_beat_rate"])


@pytest.mark.parametrize("bar", range(8))
def test_a_lost_note_off_costs_one_note(tmp_path: Path, bar: int) -> None:
    events = beats()
    del events[2 * bar + 1]
    score = read(smf(track([*events, (8 * BAR, meta(0x01, b"end"))])), tmp_path)
    assert notes(score) == [(b * BAR, BAR if b == bar else 480, 60) for b in range(8)]
    assert len(score.remarks) == 1


def test_a_lost_note_off_between_notes_that_touch_costs_one_note(tmp_path: Path) -> None:
    events = [(0, on(60))]
    for i in range(1, 6):
        events += [(480 * i, on(60)), (480 * i, off(60))]  # the note-off ends the note before
    score = read(smf(track([*events, (3000, meta(0x01, b"end"))])), tmp_path)
    assert notes(score) == [*((480 * i, 480, 60) for i in range(5)), (2400, 600, 60)]


def test_a_note_on_doubled_at_its_tick_ends_with_the_note(tmp_path: Path) -> None:
    events = beats(3)
    events.insert(2, (BAR, on(60)))
    assert notes(read(smf(track(events)), tmp_path)) == [
        (0, 480, 60), (BAR, 480, 60), (BAR, 480, 60), (2 * BAR, 480, 60),
    ]  # fmt: skip


def test_notes_that_overlap_keep_their_own_ends(tmp_path: Path) -> None:
    score = read(smf(track([(0, on(60)), (240, on(60)), (480, off(60)), (720, off(60))])), tmp_path)
    assert notes(score) == [(0, 480, 60), (240, 480, 60)]
    assert score.remarks == ()


@pytest.mark.parametrize("number", [120, 123, 127])
def test_notes_without_note_off_last_to_the_controller_that_ends_all(tmp_path: Path, number: int) -> None:
    events = [(0, on(60)), (0, on(62, 1)), (480, control(number)), (960, on(64)), (1440, off(64))]
    score = read(smf(track(events)), tmp_path)
    assert notes(score) == [(0, 480, 60), (0, 1440, 62), (960, 480, 64)]
    assert score.remarks == (
        "no note-off for 2 notes: 1 lasts to a controller that ends all notes, 1 lasts to the end of the track",
    )


def test_such_a_controller_ends_no_note_that_has_a_note_off(tmp_path: Path) -> None:
    score = read(smf(track([(0, on(60)), (240, control(123)), (480, off(60))])), tmp_path)
    assert notes(score) == [(0, 480, 60)]
    assert score.remarks == ()


def test_notes_without_any_note_off_are_notes(tmp_path: Path) -> None:
    score = read(smf(track([(0, on(60)), (480, on(62)), (960, on(64))])), tmp_path)
    assert notes(score) == [(0, 960, 60), (480, 480, 62), (960, 0, 64)]
    assert score.remarks == ("no note-off for 3 notes: 3 last to the end of the track",)


def test_a_note_off_without_a_note_is_said(tmp_path: Path) -> None:
    score = read(smf(track([(0, off(60)), *scale(2), (960, off(61)), (960, on(62, 0, 0))])), tmp_path)
    assert len(score.notes) == 2
    assert score.remarks == ("3 note-offs without a note ignored",)


def by_definition(events: list[tuple[int, bool]], end: int) -> list[tuple[int, int]]:
    """(onset, end) of the notes of one pitch, from (tick, is a note-on) in the order of a file."""
    ordered: list[tuple[int, bool]] = []
    for tick in sorted({tick for tick, _ in events}):
        # Note-offs that end an older note come before the note-ons of their tick.
        open_before = 0
        for _, is_on in ordered:
            open_before = max(0, open_before + (1 if is_on else -1))
        here: list[tuple[int, bool]] = []
        early = 0
        for _, is_on in (event for event in events if event[0] == tick):
            if not is_on and open_before:
                here.insert(early, (tick, False))
                early += 1
                open_before -= 1
            else:
                here.append((tick, is_on))
        ordered += here
    stack: list[int] = []
    used = set()
    for i, (_, is_on) in enumerate(ordered):
        if is_on:
            stack.append(i)
        elif stack:
            used |= {stack.pop(), i}
    ons = [i for i, (_, is_on) in enumerate(ordered) if is_on]
    ends: dict[int, int] = {}
    queue = []
    for i, (tick, is_on) in enumerate(ordered):
        if i in used and is_on:
            queue.append(i)
        elif i in used:
            ends[queue.pop(0)] = tick
    for i in reversed(ons):
        if i in used:
            continue
        following = [j for j in ons if j > i]
        ends[i] = min(end, ordered[following[0]][0]) if following else end
        if following and ends[i] == ordered[i][0]:
            ends[i] = ends[following[0]]
    return [(ordered[i][0], ends[i]) for i in ons]


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, 12), st.booleans(), st.sampled_from([60, 61])), max_size=40))
def test_pairing_is_as_defined(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, bool, int]]) -> None:
    rows = sorted(rows, key=lambda row: row[0])
    wanted = [
        (onset, end - onset, pitch)
        for pitch in (60, 61)
        for onset, end in by_definition([(tick, is_on) for tick, is_on, p in rows if p == pitch], 15)
    ]
    events = [(tick, on(pitch) if is_on else off(pitch)) for tick, is_on, pitch in rows]
    content = smf(track([*events, (15, meta(0x01, b""))]))
    path = tmp_path_factory.getbasetemp() / "pairing.mid"
    path.write_bytes(content)
    if not wanted:
        with pytest.raises(BadInput, match="holds no notes"):
            midi.read(path)
        return
    assert notes(midi.read(path)) == sorted(wanted)


def test_running_status_goes_on_behind_meta_and_system_exclusive_events(tmp_path: Path) -> None:
    events = [
        (0, on(60)),
        (100, meta(0x01, b"words")),
        (200, bytes((60, 0))),
        (200, bytes((62, 80))),
        (300, b"\xf0\x03\x01\x02\xf7"),
        (400, bytes((62, 0))),
        (400, b"\xf8"),
        (400, b"\xf2\x01\x02"),
        (400, bytes((64, 80))),
        (500, b"\xf7\x02\xff\xff"),
        (600, bytes((64, 0))),
    ]
    score = read(smf(track(events)), tmp_path)
    assert notes(score) == [(0, 200, 60), (200, 200, 62), (400, 200, 64)]
    assert score.remarks == ()


def test_an_instrument_is_a_track_a_channel_and_a_program(tmp_path: Path) -> None:
    first = [
        (0, meta(0x03, b"before")),
        (0, program(5)),
        *scale(1),
        (480, program(7)),
        (480, on(61)),
        (500, program(5)),
        (600, off(61)),
        (600, on(62)),
        (600, on(36, 9)),
        (700, off(62)),
        (700, off(36, 9)),
        (700, meta(0x03, b"Piano")),
    ]
    score = read(smf(track(first), track(scale(1, first=72)), track([])), tmp_path)
    assert list(score.tracks) == [("Piano", 5, False), ("Piano", 7, False), ("Piano", 0, True), ("", 0, False)]
    assert sorted(score.notes[["onset", "pitch", "track"]].tolist()) == [
        (0, 60, 0), (0, 72, 3), (480, 61, 1), (600, 36, 2), (600, 62, 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("Flöte".encode(), "Flöte"),
        ("Flöte".encode("latin-1"), "Flöte"),
        ("ピアノ".encode("cp932"), "ピアノ"),
        ("主旋律".encode("cp932"), "主旋律"),
        (b"Don\x92t", "Don\u2019t"),
        (b"\x81", "\x81"),
    ],
)
def test_names_of_tracks(tmp_path: Path, raw: bytes, name: str) -> None:
    assert read(smf(track([(0, meta(0x03, raw)), *scale(1)])), tmp_path).tracks[0].name == name


def test_tempos_metres_and_keys_that_say_nothing_are_ignored_and_said(tmp_path: Path) -> None:
    events = [
        (0, tempo(0)),
        (0, metre(3, 34)),
        (0, metre(0, 2)),
        (0, meta(0x59, b"\xff\x00")),
        (0, meta(0x59, b"\x09\x00")),
        (0, meta(0x51, b"\x01")),
        *scale(1),
        (480, metre(6, 3)),
        (480, tempo(400_000)),
    ]
    score = read(smf(track(events)), tmp_path)
    assert score.tempos.tolist() == [(480, 150.0)]
    assert score.time_signatures.tolist() == [(480, 6, 8)]
    assert score.key_signatures.tolist() == [(0, -1, False)]
    assert score.remarks == (
        "1 tempo, metre or key of wrong length ignored",
        "1 tempo of 0 microseconds per beat ignored",
        "2 impossible time signatures ignored (3/2^34; the numerator is 1 or more, the denominator up to 128)",
        "1 key signature of more than 7 sharps or flats ignored",
    )


def test_what_is_behind_the_end_of_a_track_is_said(tmp_path: Path) -> None:
    score = read(
        smf(track(scale(1), end=b"\x00\xff\x2f\x00" + b"\x00\x90\x3c\x50"), track(scale(1), end=b"")), tmp_path
    )
    assert len(score.notes) == 2
    assert score.remarks == ("1 track without End of Track", "4 bytes behind an End of Track ignored")


FAR = [(tick * (2**28 - 1), meta(0x01, b"")) for tick in range(1, 18)]  # beyond 32 bits


def test_ticks_behind_32_bits_never_wrap(tmp_path: Path) -> None:
    far = 18 * (2**28 - 1)
    score = read(smf(track([*scale(1), *FAR, (far, tempo(200_000))])), tmp_path)
    assert len(score.tempos) == 0
    assert score.remarks == ("1 tempo, metre or key behind tick 2147483647 ignored",)
    for events in ([*scale(1), *FAR, (far, on(64)), (far + 1, off(64))], [(0, on(60)), *FAR, (far, off(60))]):
        with pytest.raises(BadInput, match=rf"tune\.mid: a note lasts to tick ({far}|{far + 1}); 2147483647 is"):
            read(smf(track(events)), tmp_path)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"\x00\x90\x3c\x84", r"track 2: byte 46 is 0x84 \(132\), where a data byte of 0 to 127 is wanted"),
        (b"\x00\xff\x80\x00", r"track 2: byte 45 is 0x80 \(128\), where a data byte"),
        (b"\x00\x3c\x50", r"track 2: byte 44 is 0x3c \(60\), where a status byte of 128 to 255 is wanted"),
        (b"\xff\xff\xff\xff\x7f\x90", r"track 2: byte 46 is 0xff \(255\), where a number should have ended"),
        (b"\x00\xf4", r"track 2: byte 44 is 0xf4 \(244\), where a status byte"),
        (b"\x00\x90\x3c", "truncated track 2: it ends at byte 46 inside an event"),
        (b"\x00\xff\x01\x09abc", "truncated track 2: it ends at byte 50 inside an event"),
        (b"\x83", "truncated track 2: it ends at byte 44 inside an event"),
    ],
)
def test_bytes_that_are_no_events_are_refused_by_track_byte_and_value(
    tmp_path: Path, body: bytes, message: str
) -> None:
    with pytest.raises(BadInput, match=rf"tune\.mid: {message}"):
        read(smf(track(scale(1)), track([], end=body)), tmp_path)
