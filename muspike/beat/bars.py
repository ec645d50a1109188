"""Find the bars of a piece whose beats are known: its metre, and which beats are downbeats."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from muspike.beat.settings import BARS
from muspike.jit import njit

_WEIGHTS = np.array(BARS["weights"])
_LONG, _BASS_LENGTH, _BASS_CHANGE, _CHROMA_2, _CHROMA_4, _HELD, _BASS_DEPTH = range(7)
_LONGEST = 32  # sixteenths of a note that count


class Bars(NamedTuple):
    """The bars of a piece.

    Attributes:
        downbeats: ascending indices of beats, `[bars]`.
        beats: beats in most bars, 3 or 4.
        confidence: 0.5 if another beat of the bar is as likely the downbeat, near 1 if none is.
    """

    downbeats: NDArray[np.int64]
    beats: int
    confidence: float


def find(onsets: NDArray[np.int64], ends: NDArray[np.int64], pitches: NDArray[np.int64], n_beats: int) -> Bars:
    """The most likely bars of three or four beats, with a bar of another length where the notes speak for it.

    A beat is likely a downbeat if long notes and long, low notes begin there, if the bass or the harmony changes, and
    if few notes are held across it. `beat.toml` has the weights. A bar of another length costs. The best sequence of
    bars is found by dynamic programming.

    Args:
        onsets, ends: in sixteenths after the first beat, of notes outside drum tracks.
        pitches: of these notes.
        n_beats: the number of beats, at least 1.
    """
    found = _features(onsets, ends, pitches, n_beats)
    odds = ((found - found.mean(0)) / (found.std(0) + 1e-6)) @ _WEIGHTS + BARS["intercept"]
    half, other = BARS["half_bar_cost"], BARS["other_bar_cost"]
    in_four = _best(
        odds, np.array([4, 2, 6, 3, 5]), np.array([0, half, half + 2, other, other]), BARS["first_downbeat"]
    )
    in_three = _best(odds, np.array([3, 6, 4, 5, 2]), np.array([0, half, other, other, other]), BARS["first_downbeat"])
    totals = []
    for beats, downbeats in ((4, in_four), (3, in_three)):
        odd = np.count_nonzero(np.diff(downbeats) != beats)
        totals.append(odds[downbeats].sum() - odd * half - (beats == 3) * BARS["three_beats_cost"] * n_beats)
    beats, downbeats = (4, in_four) if totals[0] >= totals[1] else (3, in_three)
    rivals = [odds[(downbeats + later)[downbeats + later < n_beats]] for later in range(1, beats)]
    margin = odds[downbeats].mean() - max([values.mean() for values in rivals if len(values)], default=0.0)
    return Bars(downbeats, beats, float(1 / (1 + np.exp(-margin))))


@njit
def _features(
    onsets: NDArray[np.int64], ends: NDArray[np.int64], pitches: NDArray[np.int64], n_beats: int
) -> NDArray[np.float64]:
    """What speaks for a downbeat at each beat, `[beats, features]`, in the order of `beat.toml`."""
    found = np.zeros((n_beats, 7))
    chroma = np.zeros((n_beats, 12))
    bass = np.full(n_beats, -1)  # the lowest pitch that sounds for half the beat
    last = 4 * n_beats
    for i in range(len(onsets)):
        if onsets[i] < 0 or onsets[i] >= last:
            continue
        length = min(max(1, ends[i] - onsets[i]), _LONGEST)
        if onsets[i] % 4 == 0:
            found[onsets[i] // 4, _LONG] += min(length, 16)
        # What is held for very long is counted for 256 beats: time must not grow with the ticks of a damaged file.
        stop, at = min(ends[i], last, onsets[i] + 1024), onsets[i]
        while at < stop:
            beat = at // 4
            until = min(4 * beat + 4, stop)
            chroma[beat, pitches[i] % 12] += until - at
            if at == 4 * beat and at > onsets[i]:
                found[beat, _HELD] += 1
            if until - at >= 2 and (bass[beat] < 0 or pitches[i] < bass[beat]):
                bass[beat] = pitches[i]
            at = until
    for i in range(len(onsets)):
        if 0 <= onsets[i] < last and onsets[i] % 4 == 0 and pitches[i] == bass[onsets[i] // 4]:
            beat = onsets[i] // 4
            found[beat, _BASS_LENGTH] += min(max(1, ends[i] - onsets[i]), 16)
            found[beat, _BASS_DEPTH] = max(found[beat, _BASS_DEPTH], float(60 - pitches[i]))
    for beat in range(n_beats):
        if beat and bass[beat] >= 0 and bass[beat - 1] >= 0 and bass[beat] % 12 != bass[beat - 1] % 12:
            found[beat, _BASS_CHANGE] = 1
        for feature, reach in ((_CHROMA_2, 2), (_CHROMA_4, 4)):
            product = squares = squares_before = 0.0
            for pitch_class in range(12):
                now = before = 0.0
                for k in range(reach):
                    if beat + k < n_beats:
                        now += chroma[beat + k, pitch_class]
                    if beat - 1 - k >= 0:
                        before += chroma[beat - 1 - k, pitch_class]
                product += now * before
                squares += now * now
                squares_before += before * before
            if squares > 0 and squares_before > 0:
                found[beat, feature] = 1 - product / np.sqrt(squares * squares_before)
            elif squares + squares_before > 0:
                found[beat, feature] = 1
    return found


@njit
def _best(
    odds: NDArray[np.float64], lengths: NDArray[np.int64], costs: NDArray[np.float64], first: int
) -> NDArray[np.int64]:
    """The downbeats with the greatest sum of log odds less the costs of the bars between them."""
    n = len(odds)
    best, previous = np.full(n, -np.inf), np.full(n, -1)
    for k in range(n):
        if k < first:
            best[k] = odds[k]
        for j in range(len(lengths)):
            i = k - lengths[j]
            if i >= 0 and best[i] + odds[k] - costs[j] > best[k]:
                best[k], previous[k] = best[i] + odds[k] - costs[j], i
    k = max(0, n - first)
    for i in range(k + 1, n):
        if best[i] > best[k]:
            k = i
    size, path = 0, np.empty(n, np.int64)
    while k >= 0:
        path[size] = k
        size, k = size + 1, previous[k]
    return path[:size][::-1].copy()
