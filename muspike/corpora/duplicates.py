"""Pieces that are nearly the same music: sketches of pieces, and which pieces to keep.

A piece is a set of windows of `WINDOW` onsets in a row. A window says how the highest pitch moves from onset to onset,
and how far the lowest sounding onset pitch lies below it. It says nothing of the key, the tempo or the instruments. Two
pieces are alike as far as they share their windows: the Jaccard index of the two sets, which a sketch of `HASHES`
smallest hash values estimates (MinHash, Broder 1997) with a standard error of 0.04 or less.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from muspike import tokens
from muspike.jit import njit
from muspike.tokens import Words

WINDOW = 4
"""Onsets in a window."""
HASHES = 126
"""Hash values in a sketch."""
ALIKE = 0.4
"""Pieces that share more than this of their windows are nearly the same music. docs/data.md says how it was chosen."""
_ROWS = 3  # hash values of a band: pieces that are alike by 0.4 share one of the 42 bands in 94 % of all cases

Sketch = NDArray[np.uint32]
_BEAT, _NOTE = int(tokens.BarBeat.BEAT), int(tokens.BarBeat.NOTE)
_EMPTY = np.uint32(0xFFFFFFFF)


def sketch(words: Words) -> Sketch:
    """The sketch of a piece, uint32 `[HASHES]`."""
    found: Sketch = _sketch(np.ascontiguousarray(words, np.int16), WINDOW, HASHES)
    return found


@njit
def _mixed(x: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea & Flood 2014): every bit of x moves half of the bits of the result."""
    x = np.uint64(x + np.uint64(0x9E3779B97F4A7C15))
    x = np.uint64((x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9))
    x = np.uint64((x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB))
    return np.uint64(x ^ (x >> np.uint64(31)))


@njit
def _sketch(words: NDArray[np.int16], window: int, hashes: int) -> NDArray[np.uint32]:
    n = 0
    high, low = np.empty(len(words), np.int64), np.empty(len(words), np.int64)
    for i in range(len(words)):
        if words[i, 2] == _NOTE:
            if i and words[i - 1, 2] != _NOTE:
                high[n] = words[i, 4]
                n += 1
            low[n - 1] = words[i, 4]
    steps = np.empty(max(n - 1, 0), np.uint64)
    for i in range(n - 1):
        steps[i] = np.uint64(((high[i + 1] - high[i]) + 128) * 256 + (high[i + 1] - low[i + 1]))
    least = np.full(hashes, _EMPTY, np.uint32)
    for first in range(max(1, n - window + 1)):
        value = np.uint64(0)
        for i in range(first, min(first + window - 1, n - 1)):
            value = _mixed(np.uint64(value ^ steps[i]))
        if n == 1:
            value = np.uint64(high[0] - low[0] + 1)
        for k in range(hashes):
            mixed = np.uint32(_mixed(np.uint64(value ^ (np.uint64(k) << np.uint64(56)))) >> np.uint64(32))
            if mixed < least[k]:
                least[k] = mixed
    return least


def likeness(one: Sketch, other: Sketch) -> float:
    """An estimate of the share of windows that two pieces have in common, from 0 to 1."""
    return float(np.mean(one == other))


def nearly_same(sketches: NDArray[np.uint32], order: Sequence[int]) -> dict[int, int]:
    """The pieces to leave out, each with the piece that is kept in its place.

    Pieces are taken in `order`. One is left out if it is alike, by more than `ALIKE`, to one that is kept already.

    Args:
        sketches: `[pieces, HASHES]`.
        order: the numbers of the pieces, those that should rather be kept first.
    """
    groups, starts = _shared_bands(sketches)
    kept: dict[int, list[int]] = {}
    left_out: dict[int, int] = {}
    for piece in order:
        mine = groups[starts[piece] : starts[piece + 1]].tolist()
        candidates = sorted({other for group in mine for other in kept.get(group, ())})
        best, best_likeness = -1, ALIKE
        for other in candidates:
            found = likeness(sketches[piece], sketches[other])
            if found > best_likeness:
                best, best_likeness = other, found
        if best >= 0:
            left_out[piece] = best
            continue
        for group in mine:
            kept.setdefault(group, []).append(piece)
    return left_out


def _shared_bands(sketches: NDArray[np.uint32]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The bands that several pieces have in common. Only pieces that share a band can be alike.

    Returns:
        the numbers of these bands, those of the first piece first; and where those of each piece begin, `[pieces + 1]`.
    """
    pieces, groups, first = [], [], 0
    for band in range(0, HASHES, _ROWS):
        rows = np.ascontiguousarray(sketches[:, band : band + _ROWS])
        _, of, counts = np.unique(rows.view(f"V{rows.itemsize * _ROWS}"), return_inverse=True, return_counts=True)
        of = of.ravel()
        several = np.flatnonzero(counts[of] > 1)
        pieces.append(several.astype(np.int32))
        groups.append((of[several] + first).astype(np.int32))
        first += len(counts)
    piece = np.concatenate(pieces)
    by_piece = np.argsort(piece, kind="stable")
    starts = np.searchsorted(piece[by_piece], np.arange(len(sketches) + 1))
    return np.concatenate(groups)[by_piece], starts
