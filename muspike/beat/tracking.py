"""Track the beat of a performance: the most likely times of its beats, while the tempo changes slowly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muspike.beat.settings import TRACKING
from muspike.jit import njit

_FRAME_S = TRACKING["frame_s"]
_PERIODS = np.unique(
    np.rint(
        np.geomspace(TRACKING["fastest_beat_s"], TRACKING["slowest_beat_s"], TRACKING["periods"]) / _FRAME_S
    ).astype(np.int64)
)
_PRIOR = -0.5 * (np.log2(_PERIODS * _FRAME_S / TRACKING["likely_beat_s"]) / TRACKING["prior_octaves"]) ** 2


def track(onsets_s: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The times of the beats of a performance, ascending, in seconds; empty if it is too short to have any.

    Beats are chosen together by dynamic programming, as in Ellis (Beat Tracking by Dynamic Programming, J. New Music
    Research 36, 2007), over the time and the period of each beat. A beat gains what begins on it and a part of what
    begins in its middle, for as long as it lasts. A change of period costs, and so does a period far from the middle of
    a log-normal prior.

    Args:
        onsets_s: when notes begin, ascending.
        weights: how much each of them speaks for a beat.
    """
    if len(onsets_s) < 2 or not 0 < onsets_s[-1] - onsets_s[0] <= TRACKING["longest_s"]:
        return np.empty(0)
    start = onsets_s[0] - TRACKING["slowest_beat_s"]
    curve = _curve((onsets_s - start) / _FRAME_S, weights, TRACKING["blur_s"] / _FRAME_S)
    beats = _tracked(
        curve, _PERIODS, _PRIOR * TRACKING["prior_weight"], TRACKING["half_weight"], TRACKING["change_cost"],
        TRACKING["most_steps"], _FRAME_S,
    )  # fmt: skip
    times_s: NDArray[np.float64] = start + beats * _FRAME_S
    return times_s


def salience(
    onsets_s: NDArray[np.float64], lengths_s: NDArray[np.float64], pitches: NDArray[np.int64],
    velocities: NDArray[np.int64],
) -> NDArray[np.float64]:  # fmt: skip
    """How much each note speaks for a beat where it begins: by loudness, by length up to a second, and by depth."""
    loud: NDArray[np.float64] = velocities / 64
    low: NDArray[np.float64] = np.clip((60 - pitches) / 24, 0, 1)
    weights: NDArray[np.float64] = loud * (0.5 + np.minimum(lengths_s, 1)) * (1 + low)
    return weights


@njit
def _curve(frames: NDArray[np.float64], weights: NDArray[np.float64], blur: float) -> NDArray[np.float64]:
    """Onsets as a curve over frames, each a triangle of `2 blur` frames; the square root, mean 1 at the onsets."""
    reach = int(blur) + 1
    curve = np.zeros(int(frames[-1]) + 2 * reach + 2)
    for i in range(len(frames)):
        middle = int(np.rint(frames[i]))
        for frame in range(max(0, middle - reach), middle + reach + 1):
            curve[frame] += weights[i] * max(0.0, 1 - abs(frame - frames[i]) / blur)
    total, count = 0.0, 0
    for i in range(len(frames)):
        total += np.sqrt(curve[int(np.rint(frames[i]))])
        count += 1
    scale = total / count
    for frame in range(len(curve)):
        curve[frame] = np.sqrt(curve[frame]) / scale if scale > 0 else 0.0
    return curve


@njit
def _tracked(
    curve: NDArray[np.float64],
    periods: NDArray[np.int64],
    prior: NDArray[np.float64],
    half_weight: float,
    change_cost: float,
    most_steps: int,
    frame_s: float,
) -> NDArray[np.float64]:
    """The frames of the beats."""
    n, n_periods = len(curve), len(periods)
    best = np.full((n, n_periods), -np.inf, np.float32)
    steps = np.zeros((n, n_periods), np.int8)
    first = periods[n_periods - 1] + 1
    for t in range(n):
        for p in range(n_periods):
            period = periods[p]
            before = t - period
            gain = period * frame_s * (curve[t] + half_weight * curve[max(0, t - period // 2)] + prior[p])
            if t < 2 * first and before < first:
                best[t, p] = gain
                steps[t, p] = 127  # the first beat
            if before >= 0:
                highest, chosen = -np.inf, 0
                for step in range(-most_steps, most_steps + 1):
                    q = p + step
                    if 0 <= q < n_periods:
                        value = best[before, q] - change_cost * step * step * period * frame_s
                        if value > highest:
                            highest, chosen = value, step
                if highest + gain > best[t, p] and highest > 0:
                    best[t, p] = highest + gain
                    steps[t, p] = chosen
    last, p = n - 1, 0
    for t in range(max(0, n - first), n):
        for q in range(n_periods):
            if best[t, q] > best[last, p]:
                last, p = t, q
    path = np.empty(n)
    size, t = 0, last
    while t >= 0:
        path[size] = t
        size += 1
        step = steps[t, p]
        t -= periods[p]
        if step == 127:
            break
        p += step
    return path[:size][::-1].copy()
