"""Find the beat of a score in its notes alone, and bring the score onto it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from muspike.arguments import instance
from muspike.beat import bars, tracking
from muspike.beat.retime import beat_position, retimed, seconds, ticks
from muspike.beat.settings import GRID
from muspike.jit import njit
from muspike.midi import Score

_CHANCE = 0.25  # the mean distance to the nearest sixteenth of notes that know of no grid
_CHANCE_SPREAD = 12**-0.5 / 2  # the standard deviation of that distance
_FINEST = 4  # ticks of a sixteenth below which no grid can be told
_MOST_BEATS = 2**17  # of a piece whose bars are looked for; POP909's longest has some 700


@dataclass(frozen=True)
class Found:
    """A score on its beat, and what was done for it.

    Attributes:
        score: the same music, whose beats are quarter notes; bars begin at downbeats, and a pickup is a short first
            bar. It is the very score that was given if `method` is "as written".
        method: "as written": the notes lie on the grid that the file states, or there are too few to tell. "phase":
            they lie on a regular grid that begins elsewhere, or whose bars were not stated. "tracked": they lie on no
            regular grid, and the beat was tracked.
        offset_sixteenths: of "phase", by how much the beat lies behind tick 0, 0 to 4 sixteenths of the grid that
            was found; otherwise 0.
        bpm: the median tempo of the beats; None if `method` is "as written".
        beats_per_bar: of most bars; None if `method` is "as written".
        first_bar_beats: beats of the first bar, fewer than the others if it is a pickup; None as above.
        tempo_factor: beats that were found per beat as written: 1, or 2 if the file is written at half its tempo. 1 for
            "tracked".
        parts_per_beat: 4; 6 of "phase" if the notes lie on triplets, which the words cannot say.
        error_before: mean distance of the onsets to the nearest sixteenth as written, in sixteenths; 0.25 is chance.
        error: the same of `score`.
        confidence: 1 if all onsets of `score` lie on the parts of its beats, 0 if they lie no closer than chance.
        bar_confidence: 0.5 if other beats of the bar are as likely the downbeats, near 1 if none are; 1 for "as
            written".
    """

    score: Score
    method: Literal["as written", "phase", "tracked"]
    offset_sixteenths: float
    bpm: float | None
    beats_per_bar: int | None
    first_bar_beats: int | None
    tempo_factor: int
    parts_per_beat: int
    error_before: float
    error: float
    confidence: float
    bar_confidence: float

    @property
    def sentence(self) -> str:
        """What was done, in words."""
        if self.method == "as written":
            return f"the grid is as written; onsets lie {self.error:.3f} sixteenths from it on average"
        error = f"onsets lie {self.error:.3f} sixteenths from it on average, before {self.error_before:.3f}"
        pickup = (
            f" after a pickup of {self.first_bar_beats}"
            if (self.first_bar_beats or 0) < (self.beats_per_bar or 0)
            else ""
        )
        metre = f"bars of {self.beats_per_bar} beats{pickup}, estimated (confidence {self.bar_confidence:.2f})"
        if self.method == "phase":
            twice = ", written at half its tempo" if self.tempo_factor == 2 else ""
            twice += ", in triplets" if self.parts_per_beat == 6 else ""
            return f"the grid begins {self.offset_sixteenths:.2f} sixteenths behind tick 0{twice}; {error}; {metre}"
        return f"the beat was tracked, {self.bpm:.0f} bpm (confidence {self.confidence:.2f}); {error}; {metre}"


def on_beat(score: Score) -> Found:
    """Bring the notes of a score onto the grid of beats and bars that `tokens.encode` writes in.

    Three cases are told apart by the mean distance of the onsets to the nearest sixteenth; `beat.toml` has the bounds.

    - The notes lie on the written grid: nothing changes. The written bars are believed too, unless most of the piece is
      written in bars of one beat (617 files of POP909 are; a pickup of one beat says nothing) or the onsets weigh far
      more on another sixteenth than on the beat.
    - They lie on a regular grid that begins elsewhere: the mean angle of the onsets gives the phase of the sixteenth,
      their weight the beat, and `bars.find` the bars. A file with a beat written as two is rewritten with two.
    - They do not: the beat is tracked (`tracking.track`), and the score gets a tempo for each bar.

    >>> from muspike import Score, midi
    >>> from muspike.beat import on_beat
    >>> late = Score(480, midi.table([(100 + 240 * k, 200, 60 + k % 5, 80, 0) for k in range(64)], midi.NOTE))
    >>> found = on_beat(late)
    >>> found.method, round(found.offset_sixteenths, 2), found.score.notes["onset"][:3].tolist()
    ('phase', 0.83, [0, 240, 480])

    Raises:
        BadInput: `score` is no Score.
    """
    instance("on_beat: score", score, Score, "a Score")
    notes, resolution = score.notes, score.ticks_per_beat
    onsets = notes["onset"]
    written = float(_distance(onsets, 0.0, resolution / 4)) if len(notes) else 0.0
    if len(notes) < GRID["fewest_notes"] or resolution < 4 * _FINEST:
        return _as_written(score, written)
    if written <= GRID["written_error"]:
        offset, error, factor, parts = 0.0, written, 1, 4
    else:
        offset, error, factor, parts = _grid(onsets, resolution)
    if error > min(GRID["regular_error"], _CHANCE - GRID["chance_sigmas"] * _CHANCE_SPREAD / len(notes) ** 0.5):
        return _tracked(score, written)
    part = resolution / (factor * parts)
    lies_on_written = factor == 1 and abs(offset - np.rint(offset / part) * part) <= GRID["written_offset"] * part
    weights = tracking.salience(
        onsets, notes["duration"] / (2.0 * resolution), notes["pitch"].astype(np.int64), notes["velocity"]
    )
    if lies_on_written:
        by_part = _weight_by_part(onsets, weights, 0.0, part, parts)
        # The written beat is believed unless the notes speak plainly for another one: syncopation weighs a lot, too.
        if by_part.max() <= GRID["beat_margin"] * by_part[0]:
            if not _counts_single_beats(score):
                return _as_written(score, written)
            offset = 0.0
        else:
            offset = float(by_part.argmax()) * part
    else:
        offset += float(_weight_by_part(onsets, weights, offset, part, parts).argmax()) * part
    return _shifted(score, offset, factor, parts, written)


def _counts_single_beats(score: Score) -> bool:
    """Whether at least half of a piece is written in 1/4, which says nothing of its bars."""
    signatures, notes = score.time_signatures, score.notes
    end = int((notes["onset"].astype(np.int64) + notes["duration"]).max())
    lengths = np.diff(np.append(np.minimum(signatures["tick"], end), end))
    one = (signatures["numerator"] == 1) & (signatures["denominator"] == 4)
    return bool(lengths[one].sum() * 2 >= end) and bool(one.any())


def _as_written(score: Score, error: float) -> Found:
    return Found(
        score, "as written", 0.0, None, None, None, 1, 4, error, error, max(0.0, 1 - error / _CHANCE), 1.0
    )  # fmt: skip


def _grid(onsets: NDArray[Any], resolution: int) -> tuple[float, float, int, int]:
    """The regular grid that the onsets lie nearest to.

    Returns:
        its offset in ticks; the mean distance to it, in its own parts; its beats per written beat; and parts per beat.
    """
    coarse, fine, triplets = (
        (offset, float(_distance(onsets, offset, part)), factor, parts)
        for factor, parts in ((1, 4), (2, 4), (1, 6))
        for part in (resolution / (factor * parts),)
        for offset in (float(_phase(onsets, part)),)
    )
    # A finer grid is taken where the notes lie between the sixteenths of the coarse one, and on those of the fine one.
    if coarse[1] > GRID["written_error"]:
        for other in (fine, triplets):
            if other[1] <= min(GRID["written_error"], GRID["finer_gain"] * coarse[1]):
                return other
    return coarse


def _shifted(score: Score, offset: float, factor: int, parts: int, written: float) -> Found:
    resolution = score.ticks_per_beat
    beat = resolution / factor
    onsets = score.notes["onset"]
    offset %= beat
    # One beat ahead, since a note may begin a little early.
    first = offset - beat
    n_beats = int((float((onsets + score.notes["duration"]).max()) - first) // beat) + 2
    if n_beats > _MOST_BEATS:
        return _as_written(score, written)
    beats = first + beat * np.arange(max(2, n_beats), dtype=np.float64)
    found = _bars(score, beats)
    moved = retimed(score, beats, found.downbeats, keep_tempos=True)
    return _result(score, moved, "phase", beats, found, written, 4 * offset / beat, factor, parts)


def _tracked(score: Score, written: float) -> Found:
    notes = score.notes
    ends = notes["onset"].astype(np.int64) + notes["duration"]
    begins_s = seconds(score, notes["onset"])
    weights = tracking.salience(
        begins_s, seconds(score, ends) - begins_s, notes["pitch"].astype(np.int64), notes["velocity"]
    )
    beats_s = tracking.track(begins_s, weights)
    if len(beats_s) < 2:
        return _as_written(score, written)
    # More beats of the same length to the end of the last note, so that its bar is seen whole.
    more = np.arange(1, min(16, int((seconds(score, ends).max() - beats_s[-1]) / np.diff(beats_s)[-1]) + 2))
    beats_s = np.concatenate([beats_s, beats_s[-1] + np.diff(beats_s)[-1] * more])
    beats_s = beats_s[beats_s > 0]
    beats = ticks(score, beats_s)
    found = _bars(score, beats)
    return _result(score, retimed(score, beats, found.downbeats), "tracked", beats, found, written, 0.0, 1, 4)


def _bars(score: Score, beats: NDArray[np.float64]) -> bars.Bars:
    notes = score.pitched_notes
    notes = notes if len(notes) else score.notes
    onsets, ends = (
        np.rint(4 * beat_position(at, beats)).astype(np.int64)
        for at in (notes["onset"].astype(np.int64), notes["onset"].astype(np.int64) + notes["duration"])
    )
    return bars.find(onsets, ends, notes["pitch"].astype(np.int64), len(beats))


def _result(
    score: Score, moved: Score, method: Literal["phase", "tracked"], beats: NDArray[np.float64], found: bars.Bars,
    written: float, offset: float, factor: int, parts: int,
) -> Found:  # fmt: skip
    error = float(_distance(moved.notes["onset"], 0.0, moved.ticks_per_beat / 4))
    parts_error = float(_distance(moved.notes["onset"], 0.0, moved.ticks_per_beat / parts))
    bpm = 60 / float(np.median(np.diff(seconds(score, np.maximum(beats, 0.0))[1:]))) if len(beats) > 2 else 120.0
    result = Found(
        moved, method, offset, bpm, found.beats, int(moved.time_signatures["numerator"][0]), factor, parts, written,
        error, max(0.0, 1 - parts_error / _CHANCE), found.confidence,
    )  # fmt: skip
    return replace(result, score=replace(moved, remarks=(*moved.remarks, result.sentence)))


@njit
def _distance(onsets: NDArray[np.int32], offset: float, sixteenth: float) -> float:
    """Mean distance of onsets to the nearest sixteenth, in sixteenths."""
    total = 0.0
    for i in range(len(onsets)):
        at = (onsets[i] - offset) / sixteenth
        total += abs(at - np.rint(at))
    return total / len(onsets)


@njit
def _phase(onsets: NDArray[np.int32], sixteenth: float) -> float:
    """The offset of the grid of sixteenths from tick 0, in ticks: the mean angle of the onsets."""
    real = imaginary = 0.0
    for i in range(len(onsets)):
        angle = 2 * np.pi * (onsets[i] / sixteenth % 1)
        real += np.cos(angle)
        imaginary += np.sin(angle)
    offset: float = np.arctan2(imaginary, real) / (2 * np.pi) % 1 * sixteenth
    return offset


@njit
def _weight_by_part(
    onsets: NDArray[np.int32], weights: NDArray[np.float64], offset: float, part: float, parts: int
) -> NDArray[np.float64]:
    """The summed weight of the onsets on each part of the beat, `[parts]`."""
    found = np.zeros(parts)
    for i in range(len(onsets)):
        found[int(np.rint((onsets[i] - offset) / part)) % parts] += weights[i]
    return found
