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

import contextlib
import hashlib
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from muspike import tokens
from muspike.corpora import SPLITS, Corpus, Piece
from muspike.midi import KEY_SIGNATURE, NOTE, TEMPO, TIME_SIGNATURE, Score, Track, table
from muspike.progress import bar

VERSION = 5
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


def build(progress: bool) -> Corpus:
    """Parse the chorales (about 0.06 s each) and split them: 60 % for training, 20 % for validation, 20 % for the test.

    `progress` shows a progress bar.
    """
    paths = sources()
    with _readers() as each, bar(len(paths), "file", what="JSB chorales", shown=progress, stays=True) as shown:
        pieces = [piece for piece in shown.over(each(read, paths)) if piece is not None]
    return Corpus("jsb", pieces, split([piece.name for piece in pieces]))


@contextlib.contextmanager
def _readers() -> Iterator[Callable[..., Iterable[Piece | None]]]:
    """Give a `map` over files that runs in two processes, so that music21's memory is freed when these end.

    On a system without fork it runs in this process.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        yield map
        return
    with warnings.catch_warnings():
        # Python warns of a fork beside other threads. It is safe here: readers take no lock that a thread may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        with multiprocessing.get_context("fork").Pool(2, _without_handlers) as pool:
            yield lambda function, items: pool.imap(function, items, chunksize=4)


def _without_handlers() -> None:
    """Let SIGTERM end a reader at once, and leave Ctrl-C to the process that started it."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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


def read(path: Path) -> Piece | None:
    """The chorale at `path`; None if it does not have exactly four parts."""
    from music21 import converter

    parsed: Any = converter.parse(path, forceSource=True, storePickle=False)
    if len(parsed.parts) != 4:
        return None
    for part in parsed.parts:
        part.stripTies(inPlace=True)
    score, tempo_assumed = to_score(parsed, path.stem)
    fifths, minor = score.key_signatures[0].tolist()[1:]
    return Piece(path.stem, tokens.encode(score), (fifths, minor), tempo_assumed)


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


def split(names: list[str]) -> dict[str, list[str]]:
    """Split the chorales into 60, 20 and 20 %: names by split. The result is the same on every machine.

    The chorales are ordered by the SHA-256 of their names and cut at 60 and 80 %. Chorales of one row of `SAME_MUSIC`
    stand together in this order, and a cut never divides a row: it falls after the row.
    """
    first_of_row = {name: row[0] for row in SAME_MUSIC for name in row}
    leader = {name: first_of_row.get(name, name) for name in names}
    ordered = sorted(names, key=lambda name: (hashlib.sha256(leader[name].encode()).digest(), name))
    cuts = [0]
    for share in (0.6, 0.8):
        cut = round(share * len(ordered))
        while cut < len(ordered) and leader[ordered[cut]] == leader[ordered[cut - 1]]:
            cut += 1
        cuts.append(cut)
    bounds = zip(SPLITS, cuts, [*cuts[1:], len(ordered)], strict=True)
    return {name: sorted(ordered[start:end]) for name, start, end in bounds}
