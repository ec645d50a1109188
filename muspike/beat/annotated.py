"""Bring a score onto beats that somebody has annotated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muspike.arguments import instance, listed, refuse
from muspike.beat.retime import retimed
from muspike.errors import BadInput
from muspike.midi import Score


def on_annotated_beats(score: Score, beats: Sequence[tuple[float, bool]]) -> Score:
    """The same music with a quarter note from each annotated beat to the next, and bars as annotated.

    A piece that begins before the first downbeat begins with a short bar. Bars get the metre n/4 of their n beats, and
    a tempo with which they last as long as before.

    >>> from muspike import Score, midi
    >>> from muspike.beat import on_annotated_beats
    >>> late = Score(480, midi.table([(100, 200, 60, 80, 0)], midi.NOTE))
    >>> on_annotated_beats(late, [(100 + 500 * k, k % 3 == 0) for k in range(7)]).notes["onset"].tolist()
    [0]

    Args:
        score: the music.
        beats: tick and whether a bar begins there, of each beat. Ticks ascend; they may have fractions.

    Raises:
        BadInput: there are fewer than two beats or no downbeat, or ticks do not ascend.
    """
    instance("on_annotated_beats: score", score, Score, "a Score")
    rows = listed("on_annotated_beats: beats", beats, "a list of (tick, is downbeat)")
    try:
        at = np.array([tick for tick, _ in rows], np.float64)
        down = np.flatnonzero([bool(is_downbeat) for _, is_downbeat in rows])
    except (TypeError, ValueError) as error:
        raise refuse("on_annotated_beats: beats", beats, "a list of (tick, is downbeat)") from error
    name = score.name or "score"
    if len(at) < 2 or not len(down):
        raise BadInput(
            f"{name}: {len(at)} beats with {len(down)} downbeats; at least two beats and one downbeat wanted"
        )
    if not (np.diff(at) > 0).all() or not np.isfinite(at).all():
        wrong = int(np.argmin(np.diff(at) > 0)) + 1
        raise BadInput(
            f"{name}: beat {wrong} at tick {at[wrong]:g} does not come after the one before it; ticks ascend"
        )
    return retimed(score, at, down)
