"""Move a score onto beats: each beat becomes a quarter note, and bars begin at the downbeats."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muspike.midi import DEFAULT_BPM, KEY_SIGNATURE, LAST_TICK, TEMPO, TIME_SIGNATURE, ChordMark, Score, table

_TEMPO_STEP = 0.5  # bpm; smaller changes from bar to bar are not written


def seconds(score: Score, ticks: NDArray[Any]) -> NDArray[np.float64]:
    """When `ticks` of the score sound, in seconds after tick 0."""
    when_s: NDArray[np.float64] = np.interp(ticks, *_tempo_map(score, ticks))
    return when_s


def ticks(score: Score, times_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """The ticks of the score, with fractions, that sound `times_s` after tick 0."""
    fastest = max(DEFAULT_BPM, float(score.tempos["bpm"].max(initial=0)))
    last = (max(float(times_s.max(initial=0)), 0.0) + 1) * fastest / 60 * score.ticks_per_beat
    at, when = _tempo_map(score, np.array([last]))
    return np.interp(times_s, when, at)


def _tempo_map(score: Score, upto: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corners of the line from ticks to seconds: at tick 0, at each tempo, and behind all of `upto`."""
    tempos = score.tempos
    at = np.concatenate([[0.0], tempos["tick"]])
    at = np.append(at, max(at[-1], float(np.max(upto, initial=0))) + score.ticks_per_beat)
    bpm = np.concatenate([[DEFAULT_BPM], tempos["bpm"]])
    when = np.concatenate([[0.0], np.cumsum(np.diff(at) * 60 / (bpm * score.ticks_per_beat))])
    return at, when


def beat_position(at: NDArray[Any], beats: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times `at` in beats: 0 at the first of `beats` (at least two, ascending), 1 at the second, and so on.

    Before the first beat and behind the last one, beats are as long as the one beside them.
    """
    i = np.clip(np.searchsorted(beats, at, side="right") - 1, 0, len(beats) - 2)
    positions: NDArray[np.float64] = i + (at - beats[i]) / (beats[i + 1] - beats[i])
    return positions


def retimed(score: Score, beats: NDArray[np.float64], downbeats: NDArray[np.int64], keep_tempos: bool = False) -> Score:
    """The same music with a quarter note from each beat to the next, and bars from each downbeat to the next.

    The piece begins with the last downbeat before its first onset. If there is none, it begins with the beat of that
    onset: a pickup, which is a short bar. Bars behind the last downbeat are as long as most bars.

    Args:
        score: the music; a note may begin up to half a sixteenth before the beat that it is played on.
        beats: ascending ticks with fractions, `[beats]`, at least two.
        downbeats: ascending indices of beats, at least one. What counts as a beat may be any whole number, also one
            before or behind `beats`.
        keep_tempos: whether to write all of the score's tempos, each brought to the length of its beat. Otherwise a bar
            gets one tempo, with which it lasts as long as before.
    """
    resolution, notes = score.ticks_per_beat, score.notes.copy()
    onsets = beat_position(notes["onset"], beats)
    first = int(np.floor(onsets[0] + 0.125)) if len(notes) else 0
    before = downbeats[downbeats <= first]
    starts = downbeats[downbeats >= before[-1]] if len(before) else np.concatenate([[first], downbeats])
    origin = int(starts[0])
    lengths = np.diff(downbeats)
    usual = int(np.bincount(lengths).argmax()) if len(lengths) else 4

    def moved(at: NDArray[Any]) -> NDArray[np.int64]:
        new = np.rint((beat_position(at, beats) - origin) * resolution)
        return np.clip(new, 0, LAST_TICK - 1).astype(np.int64)

    ends = moved(notes["onset"].astype(np.int64) + notes["duration"])
    notes["onset"] = moved(notes["onset"])
    notes["duration"] = np.maximum(ends - notes["onset"], np.minimum(score.notes["duration"], 1))
    bars = np.append(np.diff(starts), usual)
    changed = np.flatnonzero(np.diff(bars, prepend=0))
    keys = score.key_signatures.copy()
    keys["tick"] = moved(keys["tick"])
    return dataclasses.replace(
        score,
        notes=notes,
        tempos=_moved_tempos(score, beats, moved) if keep_tempos else _bar_tempos(score, beats, starts, usual),
        time_signatures=table([((starts[i] - origin) * resolution, bars[i], 4) for i in changed], TIME_SIGNATURE),
        key_signatures=table(keys, KEY_SIGNATURE),
        chords=None
        if score.chords is None
        else [
            ChordMark(int(tick), mark.symbol)
            for tick, mark in zip(moved(np.array([m.tick for m in score.chords])), score.chords, strict=True)
        ],
    )


def _moved_tempos(score: Score, beats: NDArray[np.float64], moved: Any) -> NDArray[Any]:
    tempos = score.tempos.copy()
    if not len(tempos) or tempos["tick"][0] > 0:
        tempos = np.concatenate([table([(0, DEFAULT_BPM)], TEMPO), tempos])
    i = np.clip(np.searchsorted(beats, tempos["tick"], side="right") - 1, 0, len(beats) - 2)
    # Rounded, so that a grid that is shifted alone, by a fraction of a tick, keeps its tempos as they are.
    tempos["bpm"] *= np.round(score.ticks_per_beat / np.diff(beats)[i], 9)
    tempos["tick"] = moved(tempos["tick"])
    kept: NDArray[Any] = tempos[np.append(np.diff(tempos["tick"]) > 0, True)]  # the last of those that meet at tick 0
    return kept


def _bar_tempos(score: Score, beats: NDArray[np.float64], starts: NDArray[np.int64], usual: int) -> NDArray[Any]:
    """A tempo for each bar with which it lasts as long as before; those that change by less than a step left out."""
    lines = np.append(starts, starts[-1] + usual)
    lines = lines[(lines >= 0) & (lines < len(beats))]
    if len(lines) < 2:
        lines = np.array([0, len(beats) - 1])
    when = seconds(score, beats[lines])
    bpm = 60 * np.diff(lines) / np.maximum(np.diff(when), 1e-3)
    rows: list[tuple[int, float]] = []
    latest = -np.inf
    for line, value in zip(lines.tolist(), bpm.tolist(), strict=False):
        if abs(value - latest) >= _TEMPO_STEP:
            rows.append((max(0, line - int(starts[0])) * score.ticks_per_beat if rows else 0, value))
            latest = value
    return table(rows, TEMPO)
