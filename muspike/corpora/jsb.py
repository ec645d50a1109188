"""JSB Chorales: the four-part chorales of the Bach corpus in the music21 package.

music21's encodings have keys, metres, pickups and repeated notes, which the sixteenth-grid files of
Boulanger-Lewandowski 2012 have lost.

Each chorale is taken as written:

- Repeats are not expanded: a repeated half would count twice in training and in every metric.
- Pickup bars and split bars are short bars.
- Fermatas and ornaments are ignored.
- Velocity is 80 throughout.
- The tempo is the written one, else 100 bpm (assumed).
- The mode of the key is the soprano's. In many of these files the other voices say major whatever the key is.
- Ten thirty-second notes, in three chorales, are rounded to the sixteenth grid.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from muspike import tokens
from muspike.corpora.source import LeftOut, Source, Taken, stem
from muspike.midi import KEY_SIGNATURE, NOTE, TEMPO, TIME_SIGNATURE, Score, Track, table

VELOCITY = 80
ASSUMED_BPM = 100.0
TICKS_PER_BEAT = 480

# Groups of chorales that are the same music, which stay together in the splits. Two chorales are the same music if they
# share more than half of their notes, transposition aside (the notes that both have / the notes that either has), or a
# third of the six-beat windows of the shorter one. Examples are the same harmonisation in another key or with other
# words, a light revision, and a verse with its repeat written out. The same tune in another harmonisation does not
# count: Bach set many tunes several times, and settings of one tune can be in different splits.
SAME_MUSIC = (
    ("bwv101.7", "bwv102.7"),
    ("bwv114.7", "bwv256", "bwv257", "bwv258"),
    ("bwv117.4", "bwv177.4"),
    ("bwv153.1", "bwv2.6"),
    ("bwv154.3", "bwv359"),
    ("bwv158.4", "bwv279"),
    ("bwv166.6", "bwv197.10", "bwv84.5", "bwv88.7"),
    ("bwv18.5-lz", "bwv18.5-w"),
    ("bwv188.6", "bwv5.7"),
    ("bwv176.6", "bwv280"),
    ("bwv197.7-a", "bwv398"),
    ("bwv20.11", "bwv20.7"),
    ("bwv227.1", "bwv227.11"),
    ("bwv244.15", "bwv244.44", "bwv244.54", "bwv270", "bwv271"),
    ("bwv244.3", "bwv244.46"),
    ("bwv245.11", "bwv395"),
    ("bwv245.15", "bwv245.37"),
    ("bwv245.5", "bwv416"),
    ("bwv253", "bwv414"),
    ("bwv274", "bwv62.6"),
    ("bwv326", "bwv327"),
    ("bwv352", "bwv354"),
    ("bwv36.4-2", "bwv436"),
    ("bwv360", "bwv55.5"),
    ("bwv45.7", "bwv94.8"),
)


def sources() -> list[Path]:
    """The paths of the encodings of Bach's works in music21, one for each work, sorted by name."""
    from music21 import corpus

    paths = [Path(path) for path in corpus.getComposer("bach")]
    by_work = {
        path.stem: path
        for ending in (".krn", ".xml", ".mxl")  # three works have two encodings; MusicXML is the fuller one and wins
        for path in paths
        if path.suffix == ending
    }
    return [by_work[work] for work in sorted(by_work)]


def read(root: Path, path: Path) -> Taken:
    """The chorale at `path`.

    Raises:
        LeftOut: it does not have exactly four parts.
    """
    from music21 import converter

    parsed: Any = converter.parse(path, forceSource=True, storePickle=False)
    if len(parsed.parts) != 4:
        raise LeftOut("not in four parts", f"{len(parsed.parts)} parts")
    for part in parsed.parts:
        part.stripTies(inPlace=True)
    score, tempo_assumed = to_score(parsed, path.stem)
    fifths, minor = score.key_signatures[0].tolist()[1:]
    return Taken(score, key=(fifths, minor), tempo_assumed=tempo_assumed)


def to_score(parsed: Any, name: str) -> tuple[Score, bool]:
    """A `music21.stream.Score` whose ties are stripped as a `Score`, and whether its tempo is assumed."""
    notes = [
        (_ticks(note.offset), _ticks(note.quarterLength), pitch.midi, VELOCITY, number)
        for number, part in enumerate(parsed.parts)
        for note in part.flatten().notes
        if not note.duration.isGrace
        for pitch in note.pitches
    ]
    marks = [mark.getQuarterBPM() for mark in parsed.flatten().getElementsByClass("MetronomeMark")]
    bpm = next((mark for mark in marks if mark), None)
    soprano = parsed.parts[0]
    score = Score(
        ticks_per_beat=TICKS_PER_BEAT,
        notes=table(notes, NOTE),
        tempos=table([(0, bpm or ASSUMED_BPM)], TEMPO),
        time_signatures=table(_metres(soprano), TIME_SIGNATURE),
        key_signatures=table([(0, *_key(parsed, soprano))], KEY_SIGNATURE),
        tracks=[Track(part.partName or "") for part in parsed.parts],
        name=name,
    )
    return score, bpm is None


def _ticks(quarters: Any) -> int:
    return round(float(quarters) * TICKS_PER_BEAT)


def _metres(part: Any) -> list[tuple[int, int, int]]:
    """A time signature (tick, numerator, denominator) for every measure: the written one, or a short measure's own."""
    measures = list(part.getElementsByClass("Measure"))
    ends = [measure.offset for measure in measures[1:]] + [part.highestTime]
    metres, written = [], part.flatten().getElementsByClass("TimeSignature").first()
    for measure, end in zip(measures, ends, strict=True):
        written = measure.timeSignature or written
        quarters = end - measure.offset
        if quarters < written.barDuration.quarterLength and measure is not measures[-1]:
            metre = tokens.metre(max(1, round(4 * quarters)), max(1, 16 // written.denominator))
        else:
            metre = (written.numerator, written.denominator)
        metres.append((_ticks(measure.offset), *metre))
    return metres


def _key(parsed: Any, soprano: Any) -> tuple[int, bool]:
    written = soprano.flatten().getElementsByClass("KeySignature")
    key = next((key for key in written if getattr(key, "mode", None)), None) or parsed.analyze("key")
    return key.sharps, key.mode == "minor"


def folder() -> Path:
    """The folder of music21's works by Bach."""
    return sources()[0].parent


SOURCE = Source(
    version=6,
    title="JSB chorales",
    licence="public-domain music; some of music21's encodings are for non-commercial use",
    read=read,
    files=lambda root: sources(),
    folder=folder,
    shares=(0.6, 0.2, 0.2),
    name=stem,
    packages=("music21",),
    song_of={name: row[0] for row in SAME_MUSIC for name in row},
    keep_alike=True,
    slow=True,
)
