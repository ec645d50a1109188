"""Published formulas of metrics, taken literally, note by note and pair by pair: what the fast ones are held against.

A note is (onset, end, pitch, track) in sixteenths; notes are in the order of their score. `chords` has the set of pitch
classes of each beat that has a chord.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muspike import chords as chord_names
from muspike.metrics.harmony import TONES
from muspike.midi import Score

Notes = Sequence[tuple[int, int, int, int]]
LENGTHS = (96, 48, 24, 12, 6, 72, 36, 18, 9, 32, 16, 8)  # mgeval's classes, in 96ths of a bar of 4/4


def notes_of(score: Score) -> list[tuple[int, int, int, int]]:
    def sixteenth(tick: int) -> int:
        return round(tick * (4 / score.ticks_per_beat))

    return [
        (sixteenth(onset), sixteenth(onset + duration), pitch, track)
        for onset, duration, pitch, _, track in score.notes.tolist()
        if not score.tracks[track].is_drum
    ]


def chord_of_each_beat(score: Score) -> list[int]:
    """The index of the chord that holds where each beat begins, without beats that have none."""
    return [int(chord) for chord in chord_names.recognise(score)[: _beats(score)] if chord > 1]


def _beats(score: Score) -> int:
    return math.ceil(max((end for _, end, _, _ in notes_of(score)), default=0) / 4)


def pitch_interval(notes: Notes) -> float:
    """mgeval avg_pitch_shift."""
    return float(np.mean([abs(b[2] - a[2]) for a, b in itertools.pairwise(notes)]))


def inter_onset_interval(notes: Notes) -> float:
    """mgeval avg_IOI, in beats."""
    onsets = sorted(note[0] for note in notes)
    return float(np.mean([b - a for a, b in itertools.pairwise(onsets)])) / 4


def note_length_transitions(notes: Notes) -> npt.NDArray[np.float64]:
    """mgeval note_length_transition_matrix, normalised by its sum."""
    counts = np.zeros((12, 12))
    for track in {note[3] for note in notes}:
        lengths = [(end - onset) * 6 for onset, end, _, of in notes if of == track]
        classes = [int(np.argmin([abs(length - unit) for unit in LENGTHS])) for length in lengths]
        for before, after in itertools.pairwise(classes):
            counts[before, after] += 1
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return shares


def grooving_similarity(notes: Notes) -> float:
    """MusDr compute_piece_groove_similarity, over all pairs."""
    bars = range(min(note[0] for note in notes) // 16, max(note[0] for note in notes) // 16 + 1)
    patterns = {bar: np.zeros(16, bool) for bar in bars}
    for note in notes:
        patterns[note[0] // 16][note[0] % 16] = True
    return float(np.mean([1 - np.sum(patterns[a] ^ patterns[b]) / 16 for a, b in itertools.combinations(bars, 2)]))


def tonal_centroid(tones: Sequence[int]) -> npt.NDArray[np.float64]:
    """Harte et al. 2006, equation 1, with equal weights."""
    angles = ((1, 7 * math.pi / 6), (1, 3 * math.pi / 2), (0.5, 2 * math.pi / 3))
    points = [
        [value for radius, angle in angles for value in (radius * math.sin(t * angle), radius * math.cos(t * angle))]
        for t in tones
    ]
    centre: npt.NDArray[np.float64] = np.mean(np.array(points), axis=0)
    return centre


def tones_of(chord: int) -> list[int]:
    return [int(tone) for tone in np.flatnonzero(TONES[chord])]


def chord_histogram_entropy(beats: Sequence[int]) -> float:
    shares = [count / len(beats) for count in Counter(beats).values()]
    return -sum(share * math.log(share) for share in shares)


def chord_tonal_distance(beats: Sequence[int]) -> float:
    centres = [tonal_centroid(tones_of(chord)) for chord in beats]
    return float(np.mean([math.dist(a, b) for a, b in itertools.pairwise(centres)]))


def melody_chord_tonal_distance(notes: Notes, score: Score) -> float:
    """Yeh et al. 2021: each sixteenth's highest pitch against the chord of its beat."""
    distances = []
    chords = chord_names.recognise(score)
    for position in range(max(end for _, end, _, _ in notes)):
        sounding = [pitch for onset, end, pitch, _ in notes if onset <= position < end]
        chord = chords[position // 4]
        if sounding and chord > 1:
            distances.append(math.dist(tonal_centroid([max(sounding) % 12]), tonal_centroid(tones_of(chord))))
    return float(np.mean(distances))


def without_repeats(beats: Sequence[int]) -> list[int]:
    return [chord for chord, _ in itertools.groupby(beats)]


def transition_entropy(changes: Sequence[int]) -> float:
    total = len(changes) - 1
    entropy = 0.0
    for chord in set(changes[:-1]):
        followers = Counter(b for a, b in itertools.pairwise(changes) if a == chord)
        leaving = sum(followers.values())
        row = sum(count / leaving * math.log2(count / leaving) for count in followers.values())
        entropy -= leaving / total * row
    return entropy


def pair_entropy(changes: Sequence[int]) -> float:
    total = len(changes) - 1
    return -sum(c / total * math.log2(c / total) for c in Counter(itertools.pairwise(changes)).values())


def progression_irregularity(changes: Sequence[int]) -> float:
    """The share of unique trigrams, all of them counted."""
    trigrams = list(zip(changes, changes[1:], changes[2:], strict=False))
    return len(set(trigrams)) / len(trigrams)


def sonorities(notes: Notes) -> list[list[int]]:
    times = sorted({onset for onset, end, _, _ in notes if end > onset})
    return [sorted({p for onset, end, p, _ in notes if onset <= time < end}) for time in times]


def voice_leading(notes: Notes) -> dict[str, float]:
    """Per 100 transitions, by the rules of the docstrings of muspike.metrics.voices."""
    counts = Counter[str]()
    transitions = 0
    for before, now in itertools.pairwise(sonorities(notes)):
        if len(before) != len(now) or len(now) < 2:
            continue
        transitions += 1
        kinds = set()
        for a, b in itertools.combinations(range(len(now)), 2):
            same = (now[b] - now[a]) % 12 == (before[b] - before[a]) % 12
            up = now[a] > before[a] and now[b] > before[b]
            down = now[a] < before[a] and now[b] < before[b]
            if same and (up or down):
                kinds |= {{7: "parallel_fifths", 0: "parallel_octaves"}.get((now[b] - now[a]) % 12, "other")}
        neighbours = range(len(now) - 1)
        if any(now[v + 1] < before[v] or now[v] > before[v + 1] for v in neighbours):
            kinds.add("voice_crossings")
        if any(abs(n - b) > 9 and abs(n - b) != 12 for b, n in zip(before, now, strict=True)):
            kinds.add("voice_leaps")
        counts.update(kinds)
    names = ("parallel_fifths", "parallel_octaves", "voice_crossings", "voice_leaps")
    return {name: 100 * counts[name] / transitions if transitions else math.nan for name in names}


def bars(notes: Notes) -> list[set[tuple[int, int]]]:
    found: dict[int, set[tuple[int, int]]] = {}
    for onset, _, pitch, _ in notes:
        found.setdefault(onset // 16, set()).add((onset % 16, pitch))
    return [found[bar] for bar in sorted(found)]


def bar_similarities(notes: Notes) -> tuple[float, float]:
    """The mean over all pairs of bars, and the mean of each bar's best among the 64 before it."""
    found = bars(notes)

    def cosine(a: set[tuple[int, int]], b: set[tuple[int, int]]) -> float:
        return len(a & b) / math.sqrt(len(a) * len(b))

    pairs = [cosine(a, b) for a, b in itertools.combinations(found, 2)]
    best = [max(cosine(found[i], found[j]) for j in range(max(0, i - 64), i)) for i in range(1, len(found))]
    return float(np.mean(pairs)), float(np.mean(best))
