"""A melody that a piece is composed to: found in a score, and held to while a network composes.

The melody is one voice. Its notes stand in the piece as they are, and no other note that sounds is as high: so it stays
the melody. `melody_of` finds it; `Accompaniment` says which words may come while pieces are composed to it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muspike import tokens
from muspike.arguments import instance
from muspike.errors import BadInput
from muspike.midi import NOTE, Score, table
from muspike.tokens import BarBeat, State, Words

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def melody_of(score: Score, track: int | None = None) -> Words:
    """The melody of a score as compound words, int16 `[tokens, 7]`: one NOTE at each onset.

    It is the highest note at each onset of the grid. Without `track`, a note that begins while a higher note of the
    melody sounds is left out: it belongs to another voice. A note that sounds on when the next one begins is cut there,
    because one voice sings one note at a time. Bars before the first note and after the last one are dropped.

    >>> from muspike import Score, midi, tokens
    >>> from muspike.melody import melody_of
    >>> notes = [(0, 960, 72, 80, 0), (0, 480, 60, 80, 0), (480, 480, 59, 80, 0), (960, 480, 74, 80, 0)]
    >>> words = melody_of(Score(480, midi.table(notes, midi.NOTE)))
    >>> words[words[:, 2] == tokens.BarBeat.NOTE, 4].tolist()  # pitch + 1
    [73, 75]

    Args:
        score: the piece, on its beat (`muspike.beat.on_beat`).
        track: the number of the track that is the melody, from 0; None: all tracks but drums are searched.

    Raises:
        BadInput: there is no such track, it is a drum track, or there are no notes; or as for `tokens.encode`.
    """
    name = instance("melody_of: score", score, Score, "a Score").name or "score"
    if track is not None:
        known = ", ".join(f"{i} {entry.name!r}" for i, entry in enumerate(score.tracks))
        if not 0 <= track < len(score.tracks):
            raise BadInput(f"{name}: has no track {track}; its tracks are {known}")
        if score.tracks[track].is_drum:
            raise BadInput(f"{name}: track {track} is a drum track and has no melody; its tracks are {known}")
        if not (score.notes["track"] == track).any():
            raise BadInput(f"{name}: track {track} has no notes; its tracks are {known}")
        score = dataclasses.replace(score, notes=score.notes[score.notes["track"] == track])
    on_grid = tokens.decode(tokens.encode(score), score.name)
    kept = list[list[int]]()
    for onset, duration, pitch, velocity, _ in on_grid.notes.tolist():
        if kept:
            last_onset, last_duration, last_pitch = kept[-1][:3]
            under = track is None and pitch <= last_pitch and onset < last_onset + last_duration
            if onset == last_onset or under:
                continue
            kept[-1][1] = min(last_duration, onset - last_onset)
        kept.append([onset, duration, pitch, velocity, 0])
    return tokens.encode(dataclasses.replace(on_grid, notes=table(kept, NOTE)))


@dataclass(frozen=True)
class Melody:
    """The bars and the onsets of a melody. Each array of onsets has one more entry, which stands for none to come.

    Attributes:
        lengths, beats: of each bar, in sixteenths.
        starts: the first sixteenth of each bar.
        bar: the bar of each onset.
        position: its sixteenth in this bar.
        time: its sixteenth from the first bar on.
        notes: the values of the features pitch, duration and velocity, `[onsets + 1, 3]`.
        tempo: the value of the tempo from this onset on.
    """

    lengths: Ints
    beats: Ints
    starts: Ints
    bar: Ints
    position: Ints
    time: Ints
    notes: Ints
    tempo: Ints

    @classmethod
    def of(cls, words: Words) -> Melody:
        """The melody that `words` `[tokens, 7]` are.

        Raises:
            BadInput: they are no piece, have no notes, or have several NOTEs at an onset.
        """
        score = tokens.decode(words, "melody")
        if not len(score.notes):
            raise BadInput("melody: has no notes; at least one is needed")
        words = tokens.encode(score).astype(np.int16)  # without empty bars at its ends
        kind = words[:, tokens.BAR_BEAT]
        is_bar, is_beat, is_note = kind == BarBeat.BAR, kind == BarBeat.BEAT, kind == BarBeat.NOTE
        second = np.flatnonzero(is_note[1:] & is_note[:-1])
        if len(second):
            raise BadInput(
                f"melody: token {second[0] + 1} is a second NOTE at its onset; a melody has one at each "
                "(muspike.melody.melody_of finds the highest)"
            )
        wide = words.astype(np.int64)
        lengths = wide[is_bar, tokens.POSITION]
        starts = np.cumsum(lengths) - lengths
        bar = (np.cumsum(is_bar) - 1)[is_beat]
        position = wide[is_beat, tokens.POSITION]
        far = int(lengths.sum()) + tokens.TIED + 1

        def with_none(values: Ints, none: Any) -> Ints:
            return np.concatenate([values, np.array([none], np.int64)])

        return cls(
            lengths=lengths,
            beats=wide[is_bar, tokens.DURATION],
            starts=starts,
            bar=with_none(bar, len(lengths)),
            position=with_none(position, tokens.MAX_BAR),
            time=with_none(starts[bar] + position, far),
            notes=with_none(wide[is_note][:, [tokens.PITCH, tokens.DURATION, tokens.VELOCITY]], [0, 0, 0]),
            tempo=with_none(wide[is_beat, tokens.TEMPO_], wide[is_beat, tokens.TEMPO_][-1]),
        )

    @property
    def onsets(self) -> int:
        """The number of onsets."""
        return len(self.bar) - 1

    @property
    def least_words(self) -> int:
        """The words of the melody alone: a BAR for each bar, BEAT and NOTE for each onset, END."""
        return len(self.lengths) + 2 * self.onsets + 1

    def most_words(self, chord: int) -> int:
        """The words that a piece cannot exceed: with `chord` NOTEs at every sixteenth of its bars."""
        return len(self.lengths) + (1 + chord) * int(self.lengths.sum()) + 1

    def demand_room(self, length: int, name: str = "melody", option: str = "length") -> None:
        """Refuse a `length` in words that the melody alone exceeds. The error names melody and option so.

        Raises:
            BadInput: it does.
        """
        if self.least_words > length:
            raise BadInput(
                f"{name}: the melody alone takes {self.least_words} words; {option} {length} must be at least so many"
            )


class Accompaniment:
    """A batch of pieces that are composed to a melody: which words may come, and which values are the melody's.

    - Bars and tempos are those of the melody.
    - BEATs may come between its onsets. A choice that would pass an onset becomes the BEAT of this onset.
    - The first NOTE at an onset of the melody is its note. All other NOTEs lie below the latest note of the melody,
      and below every note of it that begins while they sound.
    - The piece ends after the melody's last onset and in its last bar. More chords may come there while the last note
      sounds.
    - Where words run out, only those of the melody come.

    For each word: `kinds`, then `kind` for the one that was chosen, `allowed` and `forced` for each feature, in their
    order, and `advance`.
    """

    def __init__(self, melody: Melody, batch: int) -> None:
        self._melody = melody
        self._bar = np.full(batch, -1, np.int64)
        self._now = np.zeros(batch, np.int64)  # sixteenths from the first bar to the latest onset
        self._next = np.zeros(batch, np.int64)  # the onset to come
        self._is_melody = np.zeros(batch, np.bool_)  # whether the next NOTE is the melody's
        self._forced = np.zeros(batch, np.bool_)  # whether the BEAT that comes is that of the next onset
        self._room = np.zeros(batch, np.bool_)  # whether a BEAT that is not the melody's may come

    @property
    def _over(self) -> Mask:
        """Whether all onsets have been."""
        return np.asarray(self._next == self._melody.onsets)

    @property
    def _pending(self) -> Mask:
        """Whether an onset is still to come in this bar."""
        return np.asarray(self._melody.bar[self._next] == self._bar)

    @property
    def _ceiling(self) -> Ints:
        """The highest value that the pitch of a NOTE that is not the melody's may have."""
        return np.asarray(self._melody.notes[np.maximum(self._next - 1, 0), 0] - 1)

    def _last_position(self) -> Ints:
        """The sixteenths of the last bar from which on nothing begins: there the melody's last note has ended."""
        melody, last = self._melody, self._melody.onsets - 1
        return np.full(len(self._bar), melody.position[last] + min(melody.notes[last, 1], tokens.MAX_DURATION))

    def kinds(self, state: State, left: int) -> Mask:
        """The kinds of word that may be chosen, bool `[batch, 5]`. A BAR may be chosen where another kind follows.

        Args:
            state: the state before this word.
            left: words that are missing, this one included.
        """
        melody = self._melody
        needed = len(melody.lengths) - 1 - self._bar + 2 * (melody.onsets - self._next) + 1 + self._is_melody
        low = self._ceiling >= 1
        has_place = ~self._over | (state.position + 1 < self._last_position())
        self._room = low & has_place & (left >= needed + 2)
        may = np.ones((len(self._bar), len(BarBeat)), np.bool_)
        may[:, BarBeat.NOTE] = (state.bar_beat == BarBeat.BEAT) | (low & (left > needed))
        may[:, BarBeat.BEAT] = self._pending | self._room
        may[:, BarBeat.END] = self._over
        return may

    def kind(self, chosen: Ints, kinds: Mask, thin: Mask) -> Ints:
        """The kinds of word that come where those `chosen` would pass an onset or the end of the melody, `[batch]`.

        Args:
            chosen: the kinds that were chosen.
            kinds: those that may come, `[batch, 5]`.
            thin: whether the chord before is incomplete; it is filled before the piece ends.
        """
        passes = chosen == BarBeat.BAR
        self._forced = self._pending & (passes | ((chosen == BarBeat.BEAT) & ~self._room))
        last = np.where(thin & kinds[:, BarBeat.NOTE], int(BarBeat.NOTE), int(BarBeat.END))
        found = np.where(passes & self._pending, int(BarBeat.BEAT), np.where(passes & self._over, last, chosen))
        return np.asarray(found, np.int64)

    def allowed(self, feature: int, sampled: Ints) -> Mask:
        """The values of a feature that may come besides those that are forced, bool `[batch, values]`.

        Args:
            feature: index of the feature.
            sampled: the word's values; those of the features before are chosen, `[batch, 7]`.
        """
        values = np.arange(tokens.SIZES[feature])
        most = np.full(len(sampled), tokens.SIZES[feature])
        kind = sampled[:, tokens.BAR_BEAT]
        free = (kind == BarBeat.NOTE) & ~self._is_melody
        if feature == tokens.POSITION:
            most = np.where((kind == BarBeat.BEAT) & self._over, self._last_position() - 1, most)
        elif feature == tokens.PITCH:
            most = np.where(free, self._ceiling, most)
        elif feature == tokens.DURATION:
            most = np.where(free, self._until_crossed(sampled[:, tokens.PITCH]), most)
        return np.asarray(values <= most[:, None])

    def _until_crossed(self, pitch: Ints) -> Ints:
        """Sixteenths until the melody comes down to `pitch`, `[batch]`: as long a note may last.

        A tied NOTE counts as 33: it must not be continued by the melody.
        """
        melody = self._melody
        ahead = np.arange(melody.onsets + 1) >= self._next[:, None]
        first = (ahead & (melody.notes[:, 0] <= pitch[:, None])).argmax(axis=1)  # the last entry, at the latest
        return np.asarray(melody.time[first] - self._now)

    def forced(self, feature: int, sampled: Ints) -> Ints:
        """The values of a feature, `[batch]`: the melody's where it has one, otherwise those that were chosen.

        Args:
            feature: index of the feature.
            sampled: the word's values, this feature's included; `[batch, 7]`.
        """
        melody, values, kind = self._melody, sampled[:, feature], sampled[:, tokens.BAR_BEAT]
        if feature in (tokens.POSITION, tokens.DURATION):
            bars = melody.lengths if feature == tokens.POSITION else melody.beats
            bar = np.minimum(self._bar + 1, len(bars) - 1)
            values = np.where(kind == BarBeat.BAR, bars[bar], values)
        if feature == tokens.POSITION:
            at = melody.position[self._next]
            here = np.where(self._forced, at, np.where(self._pending, np.minimum(values, at), values))
            values = np.where(kind == BarBeat.BEAT, here, values)
        notes = {tokens.PITCH: 0, tokens.DURATION: 1, tokens.VELOCITY: 2}
        if feature in notes:
            note = melody.notes[np.maximum(self._next - 1, 0), notes[feature]]
            values = np.where((kind == BarBeat.NOTE) & self._is_melody, note, values)
        return np.asarray(values, np.int64)

    def tempo(self, sampled: Ints) -> Ints:
        """The tempo of a word whose position is chosen, `[batch]`."""
        latest = np.where(self._is_onset(sampled), self._next, np.maximum(self._next - 1, 0))
        beat = sampled[:, tokens.BAR_BEAT] == BarBeat.BEAT
        return np.where(beat, self._melody.tempo[latest], sampled[:, tokens.TEMPO_])

    def _is_onset(self, words: npt.NDArray[np.integer]) -> Mask:
        """Whether words are the BEATs of the next onset, `[batch]`."""
        at = words[:, tokens.POSITION] == self._melody.position[self._next]
        return np.asarray((words[:, tokens.BAR_BEAT] == BarBeat.BEAT) & self._pending & at)

    def advance(self, words: Words) -> int:
        """Go on to the words `[batch, 7]`, and return how many of them are the melody's own."""
        kind = words[:, tokens.BAR_BEAT]
        is_onset = self._is_onset(words)
        own = is_onset | (self._is_melody & (kind == BarBeat.NOTE)) | np.isin(kind, (BarBeat.BAR, BarBeat.END))
        self._is_melody = is_onset | (self._is_melody & (kind != BarBeat.NOTE))
        self._next = self._next + is_onset
        self._bar = self._bar + (kind == BarBeat.BAR)
        self._now = self._melody.starts[np.maximum(self._bar, 0)] + words[:, tokens.POSITION]
        return int(own.sum())
