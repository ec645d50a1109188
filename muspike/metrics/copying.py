"""How much of a piece is in other pieces already: the longest match, whatever the key and the tempo.

A piece becomes a sequence of steps, one for each onset but the first: how far the highest sounding pitch moves, the
ratio of the time to the next onset to the time since the last one, and, with `texture`, the intervals of all sounding
pitches below the highest. So a copy in another key or at another tempo has the same steps. A match of k steps is k + 1
notes of the melody, or sonorities, in a row.

The steps of all pieces stand in one suffix array. Neighbours in it share the longest beginnings, so one pass over it
finds each piece's longest match exactly (Manber & Myers, "Suffix arrays", SIAM J. Computing 22, 1993; the common
beginnings after Kasai et al., CPM 2001). For n steps in all this takes O(n log^2 n) time and O(n) memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muspike.jit import njit
from muspike.metrics.grid import Grid, on_grid
from muspike.midi import Score

LONG = 8
"""Notes in a row from which on a match counts as copied, in `Copied.share`."""
_BATCH = 2_000_000  # sonorities that are searched together

_Steps = tuple[list[tuple[int, ...]], NDArray[np.int64]]
"""The steps of a piece, and the onset of each of its sonorities in sixteenths."""


@dataclass(frozen=True)
class Copied:
    """What a piece shares with others.

    Attributes:
        notes: the longest match, in notes of the melody or sonorities in a row; 0: not even two.
        of: the number of the piece that has it; -1: none. It is one of them if there are several.
        start: where the match begins in the piece, in sixteenths.
        share: the share of the piece's notes that lie in matches of at least `LONG` notes.
    """

    notes: int
    of: int
    start: int
    share: float


def copied(
    pieces: Iterable[Score | Grid], others: Iterable[Score | Grid] | None = None, *, texture: bool = False
) -> list[Copied]:
    """The longest match of each piece with any of the others.

    >>> from muspike import Score, midi
    >>> from muspike.metrics.copying import copied
    >>> tune = [60, 62, 64, 65, 67, 64, 60, 69]
    >>> def piece(shift, ticks):
    ...     return Score(480, midi.table([(i * ticks, ticks, p + shift, 80, 0) for i, p in enumerate(tune)], midi.NOTE))
    >>> copied([piece(5, 240)], [piece(0, 480)])[0].notes
    8

    Args:
        pieces: the pieces.
        others: what they may have been copied from; None: each piece is compared with the other ones of `pieces`.
        texture: whether all sounding pitches must match. False: the highest ones alone, the melody.
    """
    if others is None:
        pieces = others = list(pieces)
        return _searched(pieces, others, len(pieces), (texture,))[0]
    return _searched(pieces, others, 0, (texture,))[0]


def copied_in_both(
    pieces: Iterable[Score | Grid], others: Iterable[Score | Grid], *, excerpts: int = 0
) -> tuple[list[Copied], list[Copied]]:
    """`copied` for melodies and for textures. The others are drawn once, and few are held in memory at a time.

    Args:
        pieces, others: as in `copied`.
        excerpts: so many of the first pieces are excerpts of the first others, in their order. None of them is compared
            with the piece that it is from.
    """
    melody, texture = _searched(pieces, others, excerpts, (False, True))
    return melody, texture


def _searched(
    pieces: Iterable[Score | Grid], others: Iterable[Score | Grid], excerpts: int, textures: Sequence[bool]
) -> list[list[Copied]]:
    """What is copied by each piece, for each of `textures`."""
    grids = [on_grid(piece) for piece in pieces]
    own = np.where(np.arange(len(grids)) < excerpts, np.arange(len(grids)), -1)
    searches = [_Search([_steps(grid, texture) for grid in grids], own) for texture in textures]
    batch: list[Grid] = []
    first = size = 0
    for other in others:
        batch.append(on_grid(other))
        size += len(batch[-1].sonorities[0])
        if size >= _BATCH:
            for search, texture in zip(searches, textures, strict=True):
                search.add([_steps(grid, texture) for grid in batch], first)
            first, size, batch = first + len(batch), 0, []
    for search, texture in zip(searches, textures, strict=True):
        search.add([_steps(grid, texture) for grid in batch], first)
    return [search.found() for search in searches]


class _Search:
    """The longest match that begins at each place of some pieces, with all that was added."""

    def __init__(self, pieces: Sequence[_Steps], own: NDArray[np.int64]) -> None:
        self._pieces, self._own = pieces, own
        n = sum(len(steps) + 1 for steps, _ in pieces)
        self._length, self._source = np.zeros(n, np.int64), np.full(n, -1, np.int64)

    def add(self, others: Sequence[_Steps], first: int) -> None:
        """Compare the pieces with others, which have the numbers from `first` on."""
        everything = [*self._pieces, *others]
        sizes = np.array([len(steps) + 1 for steps, _ in everything], np.int64)
        numbers: dict[tuple[int, ...], int] = {}
        # A separator of its own ends each piece, so no match goes beyond a piece.
        text = np.concatenate(
            [
                np.array([numbers.setdefault(step, len(numbers)) for step in steps] + [-1 - piece], np.int64)
                for piece, (steps, _) in enumerate(everything)
            ]
            or [np.empty(0, np.int64)]
        )
        owner = np.append(self._own, first + np.arange(len(others)))
        is_source = np.arange(len(everything)) >= len(self._pieces)
        length, source = _matches(text, np.repeat(owner, sizes), np.repeat(is_source, sizes), _suffixes(text))
        mine = slice(len(self._length))
        better = length[mine] > self._length
        self._length[better], self._source[better] = length[mine][better], source[mine][better]

    def found(self) -> list[Copied]:
        """What each piece has copied."""
        found, begin = [], 0
        for steps, times in self._pieces:
            here = slice(begin, begin + len(steps))
            found.append(_summary(self._length[here], self._source[here], times))
            begin += len(steps) + 1
        return found


def _summary(length: NDArray[np.int64], source: NDArray[np.int64], times: NDArray[np.int64]) -> Copied:
    if not len(length) or not length.max():
        return Copied(0, -1, 0, 0.0 if len(times) else math.nan)
    best = int(length.argmax())
    # A match of k steps covers k + 1 notes.
    covered, until = 0, 0
    for at in np.flatnonzero(length >= LONG - 1).tolist():
        end = at + int(length[at]) + 1
        covered += max(0, end - max(until, at))
        until = max(until, end)
    return Copied(int(length[best]) + 1, int(source[best]), int(times[best]), covered / len(times))


def _steps(grid: Grid, texture: bool) -> _Steps:
    times, start, pitch = grid.sonorities
    if len(times) < 2:
        return [], times
    top = pitch[start[1:] - 1]
    gaps = np.diff(times)
    moves = np.diff(top)
    before, after = gaps, np.append(gaps[1:], 0)  # the last step has no onset behind it
    divisor = np.gcd(before, after)
    columns = zip(moves.tolist(), (after // divisor).tolist(), (before // divisor).tolist(), strict=True)
    if not texture:
        return list(columns), times
    below = [tuple((pitch[start[i] : start[i + 1]] - top[i]).tolist()) for i in range(1, len(times))]
    return [(*step, *chord) for step, chord in zip(columns, below, strict=True)], times


def _suffixes(text: NDArray[np.int64]) -> NDArray[np.int64]:
    """The suffix array: where each suffix begins, in lexicographic order. By doubling."""
    rank = np.unique(text, return_inverse=True)[1].astype(np.int64)
    step, order = 1, np.argsort(rank, kind="stable")
    while len(text) and rank.max() < len(text) - 1:
        behind = np.append(rank[step:], np.full(min(step, len(rank)), -1))[: len(rank)]
        pair = rank * (len(text) + 1) + behind + 1
        order = np.argsort(pair, kind="stable")
        ordered = pair[order]
        rank[order] = np.cumsum(np.append(0, ordered[1:] != ordered[:-1]))
        step *= 2
    return order


@njit
def _matches(
    text: NDArray[np.int64], owner: NDArray[np.int64], is_source: NDArray[np.bool_], order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each place, the longest match that begins there with a source of another owner, and that owner."""
    n = len(text)
    place, common = np.empty(n, np.int64), np.zeros(n, np.int64)  # common[i]: of the suffixes i - 1 and i in the order
    for i in range(n):
        place[order[i]] = i
    same = 0
    for i in range(n):
        if place[i]:
            j = order[place[i] - 1]
            while i + same < n and j + same < n and text[i + same] == text[j + same]:
                same += 1
            common[place[i]] = same
            same = max(same - 1, 0)
        else:
            same = 0
    length, source = np.zeros(n, np.int64), np.full(n, -1, np.int64)
    for forward in (True, False):
        # The nearest source, and the nearest source of another owner, with what they share with the place now.
        one, one_shares, two, two_shares = -2, 0, -2, 0
        for step in range(n):
            i = step if forward else n - 1 - step
            shares = 0
            if step:
                shares = common[i] if forward else common[i + 1]
            one_shares, two_shares = min(one_shares, shares), min(two_shares, shares)
            own = owner[order[i]]
            best, best_shares = (two, two_shares) if one == own else (one, one_shares)
            if best >= 0 and best_shares > length[order[i]]:
                length[order[i]], source[order[i]] = best_shares, best
            if is_source[order[i]]:
                if one != own:
                    two, two_shares = one, one_shares
                one, one_shares = own, n
    return length, source
